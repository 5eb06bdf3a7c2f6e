/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merge operands and single deletions exchanged with the real RocksDB: each
 * side merges on top of what the other left, flushes and compacts it, and a
 * model in memory says what both must show. Who did not make the store knows
 * the merge operator from OPTIONS alone.
 */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

/* The last third is put and deleted singly, and nothing else: RocksDB's single
 * deletion must not meet merges or deletions. */
#define KEYS        300
#define SINGLE_FROM 200

struct model {
	struct buf value[KEYS];
	bool there[KEYS];
	struct rng rng;
	unsigned step;
	bool numbers; /* uint64add; else stringappend */
};

static char dir[SCRATCH_LEN];

static void make_dir(void)
{
	scratch_make(dir);
}

static void remove_dir(void)
{
	scratch_remove(dir);
}

static struct cairn_slice key_of(unsigned i, char text[32])
{
	return slice_of(
		text, (size_t)snprintf(text, 32, "key%05u", i * 7919 % 100003));
}

/* ---------------------------------------------------------------- changes */

enum change { PUT, DELETE, SINGLE_DELETE, MERGE };

/* What to do next to key i, and with what; the model has it already. */
static enum change model_change(struct model *m, unsigned i,
				struct buf *operand)
{
	struct buf *value = &m->value[i];
	bool was_there = m->there[i];
	enum change what;

	m->step++;
	buf_clear(operand);
	if (i >= SINGLE_FROM) {
		what = was_there ? SINGLE_DELETE : PUT;
	} else {
		static const enum change whats[] = { PUT,   DELETE, MERGE,
						     MERGE, MERGE,  MERGE };

		what = whats[rng_below(&m->rng, 6)];
	}
	if (m->numbers)
		must(buf_append_le64(operand, m->step * UINT64_C(0x9e3779b9)));
	else
		must(buf_printf(operand, "%u", m->step));
	/* Malformed numbers count as 0. */
	if (m->numbers && i < SINGLE_FROM && rng_one_in(&m->rng, 20))
		operand->len = (size_t)rng_below(&m->rng, 8);
	m->there[i] = what == PUT || what == MERGE;
	if (what == PUT) {
		must(buf_set(value, buf_slice(operand)));
	} else if (what == MERGE && m->numbers) {
		uint64_t sum = was_there && value->len == 8
				       ? load_le64(value->data)
				       : 0;

		if (operand->len == 8)
			sum += load_le64(operand->data);
		buf_clear(value);
		must(buf_append_le64(value, sum));
	} else if (what == MERGE) {
		if (was_there)
			must(buf_append(value, ",", 1));
		else
			buf_clear(value);
		must(buf_append(value, operand->data, operand->len));
	}
	return what;
}

/* Hot keys have long rows of operands. */
static unsigned pick(struct model *m)
{
	return (unsigned)(rng_one_in(&m->rng, 2) ? rng_below(&m->rng, 20)
						 : rng_below(&m->rng, KEYS));
}

/* --------------------------------------------------------------- our side */

static struct cairn_db *open_ours(const struct model *m, bool makes_it)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;

	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_options_set(o, "paranoid_checks", "true"));
	must(cairn_options_set(o, "write_buffer_size", "32K"));
	must(cairn_options_set(o, "target_file_size", "8K"));
	must(cairn_options_set(o, "base_level_size", "16K"));
	must(cairn_options_set(o, "level_multiplier", "3"));
	if (makes_it)
		must(cairn_options_set(o, "merge_operator",
				       m->numbers ? "uint64add"
						  : "stringappend"));
	must(cairn_open(dir, o, &db));
	cairn_options_free(o);
	return db;
}

static void ours_check(struct cairn_db *db, const struct model *m)
{
	unsigned live = 0, seen[2] = { 0 };
	struct cairn_iter *it;

	for (unsigned i = 0; i < KEYS; i++) {
		struct cairn_pinned got = { 0 };
		char key[32];
		int err = cairn_get(db, NULL, key_of(i, key), &got);

		if (!m->there[i]) {
			ck_assert_msg(err == CAIRN_NOT_FOUND,
				      "deleted key %u: %s", i, cairn_errmsg());
			continue;
		}
		must(err);
		live++;
		ck_assert_msg(slice_eq(got.value, buf_slice(&m->value[i])),
			      "we get another value of key %u", i);
		cairn_pinned_release(&got);
	}
	must(cairn_iter_new(db, NULL, &it));
	for (int way = 0; way < 2; way++) {
		for (way ? cairn_iter_last(it) : cairn_iter_first(it);
		     cairn_iter_valid(it);
		     way ? cairn_iter_prev(it) : cairn_iter_next(it)) {
			struct cairn_pinned got = { 0 };

			must(cairn_get(db, NULL, cairn_iter_key(it), &got));
			ck_assert(slice_eq(cairn_iter_value(it), got.value));
			cairn_pinned_release(&got);
			seen[way]++;
		}
		must(cairn_iter_status(it));
	}
	cairn_iter_free(it);
	ck_assert_uint_eq(seen[0], live);
	ck_assert_uint_eq(seen[1], live);
}

static void ours_change(struct cairn_db *db, struct model *m, unsigned i,
			struct buf *operand)
{
	enum change what = model_change(m, i, operand);
	struct cairn_slice v = buf_slice(operand);
	char key[32];
	struct cairn_slice k = key_of(i, key);

	must(what == PUT      ? cairn_put(db, NULL, k, v)
	     : what == DELETE ? cairn_delete(db, NULL, k)
	     : what == MERGE  ? cairn_merge(db, NULL, k, v)
			      : cairn_single_delete(db, NULL, k));
}

static void ours_turn(struct model *m, unsigned changes, bool makes_it)
{
	struct cairn_slice all = { 0 };
	struct cairn_db *db = open_ours(m, makes_it);
	struct cairn_snapshot *snapshot = NULL;
	struct buf operand = { 0 };

	ours_check(db, m);
	for (unsigned n = 0; n < changes; n++) {
		if (rng_one_in(&m->rng, 300)) {
			cairn_snapshot_release(snapshot);
			snapshot = cairn_snapshot_new(db);
		}
		if (rng_one_in(&m->rng, 300))
			must(cairn_flush(db, true));
		ours_change(db, m, pick(m), &operand);
	}
	switch (rng_below(&m->rng, 4)) {
	case 0:
		must(cairn_flush(db, true));
		break;
	case 1:
		must(cairn_compact_range(db, all, all, NULL));
		break;
	case 2:
		must(cairn_wait_idle(db));
		break;
	default:
		break;
	}
	ours_check(db, m);
	cairn_snapshot_release(snapshot);
	must(cairn_close(db));
	buf_fini(&operand);
}

/* ------------------------------------------------------------- their side */

/* A new store. */
static void make_theirs(const struct model *m)
{
	rocksdb_options_t *base = rocksdb_options_create();
	rocksdb_options_t *o = rocksdb_options_create();
	char *err = NULL;
	rocksdb_t *db;

	rocksdb_get_options_from_string(
		base,
		m->numbers ? "create_if_missing=true;"
			     "merge_operator=UInt64AddOperator"
			   : "create_if_missing=true;merge_operator="
			     "{id=StringAppendOperator;delimiter=,;}",
		o, &err);
	ck_assert_msg(!err, "RocksDB: %s", err);
	rocksdb_options_set_write_buffer_size(o, 32 << 10);
	rocksdb_options_set_target_file_size_base(o, 8 << 10);
	rocksdb_options_set_max_bytes_for_level_base(o, 16 << 10);
	db = rocksdb_open(o, dir, &err);
	ck_assert_msg(!err, "RocksDB makes a store: %s", err);
	rocksdb_close(db);
	rocksdb_options_destroy(o);
	rocksdb_options_destroy(base);
}

/* With what OPTIONS says and no more. */
static rocksdb_t *open_theirs(void)
{
	rocksdb_cache_t *cache = rocksdb_cache_create_lru(1 << 20);
	rocksdb_env_t *env = rocksdb_create_default_env();
	rocksdb_options_t *opts, **family_opts;
	rocksdb_column_family_handle_t *family;
	char *err = NULL;
	char **names;
	rocksdb_t *db;
	size_t n;

	rocksdb_load_latest_options(dir, env, false, cache, &opts, &n, &names,
				    &family_opts, &err);
	ck_assert_msg(!err, "RocksDB loads OPTIONS: %s", err);
	ck_assert_uint_eq(n, 1);
	rocksdb_options_set_paranoid_checks(opts, 1);
	db = rocksdb_open_column_families(
		opts, dir, 1, (const char *const *)names,
		(const rocksdb_options_t *const *)family_opts, &family, &err);
	ck_assert_msg(!err, "RocksDB opens what we wrote: %s", err);
	rocksdb_column_family_handle_destroy(family);
	rocksdb_load_latest_options_destroy(opts, names, family_opts, n);
	rocksdb_cache_destroy(cache);
	rocksdb_env_destroy(env);
	return db;
}

static void theirs_check(rocksdb_t *db, const struct model *m)
{
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	unsigned live = 0, seen = 0;
	rocksdb_iterator_t *it;
	char *err = NULL;

	rocksdb_readoptions_set_verify_checksums(ro, 1);
	for (unsigned i = 0; i < KEYS; i++) {
		char text[32];
		struct cairn_slice k = key_of(i, text);
		size_t len;
		char *got = rocksdb_get(db, ro, (const char *)k.data, k.len,
					&len, &err);

		ck_assert_msg(!err, "RocksDB gets: %s", err);
		ck_assert_msg(!got == !m->there[i],
			      "RocksDB and key %u, which is%s there", i,
			      m->there[i] ? "" : " not");
		if (!got)
			continue;
		ck_assert_msg(
			slice_eq(slice_of(got, len), buf_slice(&m->value[i])),
			"RocksDB gets another value of key %u", i);
		rocksdb_free(got);
		live++;
	}
	it = rocksdb_create_iterator(db, ro);
	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it);
	     rocksdb_iter_next(it))
		seen++;
	rocksdb_iter_get_error(it, &err);
	ck_assert_msg(!err, "RocksDB scans: %s", err);
	rocksdb_iter_destroy(it);
	rocksdb_readoptions_destroy(ro);
	ck_assert_uint_eq(seen, live);
}

static void theirs_change(rocksdb_t *db, rocksdb_writeoptions_t *wo,
			  struct model *m, unsigned i, struct buf *operand)
{
	enum change what = model_change(m, i, operand);
	const char *v = (const char *)operand->data;
	char text[32];
	struct cairn_slice k = key_of(i, text);
	const char *key = (const char *)k.data;
	char *err = NULL;

	switch (what) {
	case PUT:
		rocksdb_put(db, wo, key, k.len, v, operand->len, &err);
		break;
	case DELETE:
		rocksdb_delete(db, wo, key, k.len, &err);
		break;
	case SINGLE_DELETE:
		rocksdb_singledelete(db, wo, key, k.len, &err);
		break;
	case MERGE:
		rocksdb_merge(db, wo, key, k.len, v, operand->len, &err);
		break;
	}
	ck_assert_msg(!err, "RocksDB writes: %s", err);
}

static void theirs_turn(struct model *m, unsigned changes)
{
	rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
	rocksdb_flushoptions_t *fo = rocksdb_flushoptions_create();
	const rocksdb_snapshot_t *snapshot = NULL;
	struct buf operand = { 0 };
	rocksdb_t *db = open_theirs();
	char *err = NULL;

	theirs_check(db, m);
	for (unsigned n = 0; n < changes; n++) {
		if (rng_one_in(&m->rng, 300)) {
			if (snapshot)
				rocksdb_release_snapshot(db, snapshot);
			snapshot = rocksdb_create_snapshot(db);
		}
		if (rng_one_in(&m->rng, 300))
			rocksdb_flush(db, fo, &err);
		ck_assert_msg(!err, "RocksDB flushes: %s", err);
		theirs_change(db, wo, m, pick(m), &operand);
	}
	switch (rng_below(&m->rng, 3)) {
	case 0:
		rocksdb_flush(db, fo, &err);
		break;
	case 1:
		rocksdb_compact_range(db, NULL, 0, NULL, 0);
		break;
	default:
		break;
	}
	ck_assert_msg(!err, "RocksDB flushes: %s", err);
	theirs_check(db, m);
	if (snapshot)
		rocksdb_release_snapshot(db, snapshot);
	rocksdb_close(db);
	rocksdb_writeoptions_destroy(wo);
	rocksdb_flushoptions_destroy(fo);
	buf_fini(&operand);
}

static struct model model;

START_TEST(each_side_merges_on_top_of_what_the_other_left)
{
	rng_init(&model.rng, (uint64_t)_i + 11);
	model.numbers = _i % 2;
	make_dir();
	if (_i / 2)
		make_theirs(&model);
	for (unsigned turn = 0; turn < 5; turn++) {
		ours_turn(&model, 1500, turn == 0 && _i / 2 == 0);
		theirs_turn(&model, 1500);
	}
	ours_turn(&model, 0, false);
	for (unsigned i = 0; i < KEYS; i++)
		buf_fini(&model.value[i]);
	remove_dir();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rocksdb_merge");
	TCase *t = tcase_create("exchange");

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, each_side_merges_on_top_of_what_the_other_left,
			    0, 4);
	suite_add_tcase(s, t);
	return run_suite_apart(s);
}
