/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Directories exchanged with the real RocksDB: each side continues on what the
 * other left, and a model in memory says what both must show.
 */
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/rng.h"
#include "engine/base/slice.h"
#include "engine/cairn.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define KEYS      4000
#define VALUE_MAX 300

/* Value of key i is made of its generation; 0: the key is absent. */
struct model {
	uint32_t generation[KEYS];
	struct rng rng;
	uint32_t last;
};

static size_t key_of(unsigned i, char text[32])
{
	return (size_t)snprintf(text, 32, "key%06u", i * 7919 % 1000003);
}

static size_t value_of(unsigned i, uint32_t generation, char *value)
{
	size_t n = (i * 31 + generation * 17) % VALUE_MAX;

	for (size_t j = 0; j < n; j++)
		value[j] = (char)('a' + (i + generation + j / 7) % 26);
	return n;
}

static char dir[SCRATCH_LEN];

static void make_dir(void)
{
	scratch_make(dir);
}

static void remove_dir(void)
{
	scratch_remove(dir);
}

/* ------------------------------------------------------------- our side */

static struct cairn_db *open_ours(void)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;

	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_options_set(o, "paranoid_checks", "true"));
	/* Small, so that a short run fills several levels. */
	must(cairn_options_set(o, "write_buffer_size", "64K"));
	must(cairn_options_set(o, "target_file_size", "32K"));
	must(cairn_options_set(o, "base_level_size", "128K"));
	must(cairn_open(dir, o, &db));
	cairn_options_free(o);
	return db;
}

static void ours_change(struct cairn_db *db, struct model *m, unsigned i)
{
	char key[32], value[VALUE_MAX];
	size_t klen = key_of(i, key);

	if (rng_one_in(&m->rng, 4)) {
		m->generation[i] = 0;
		must(cairn_delete(db, NULL, slice_of(key, klen)));
	} else {
		m->generation[i] = ++m->last;
		must(cairn_put(db, NULL, slice_of(key, klen),
			       slice_of(value, value_of(i, m->last, value))));
	}
}

static void ours_check(struct cairn_db *db, const struct model *m)
{
	struct cairn_iter *it;
	unsigned live = 0, seen = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		char key[32], value[VALUE_MAX];
		struct cairn_pinned got = { 0 };
		int err = cairn_get(db, NULL, slice_of(key, key_of(i, key)),
				    &got);

		if (!m->generation[i]) {
			ck_assert_int_eq(err, CAIRN_NOT_FOUND);
			continue;
		}
		must(err);
		live++;
		ck_assert(slice_eq(
			got.value,
			slice_of(value, value_of(i, m->generation[i], value))));
		cairn_pinned_release(&got);
	}
	must(cairn_iter_new(db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		seen++;
	must(cairn_iter_status(it));
	cairn_iter_free(it);
	ck_assert_uint_eq(seen, live);
}

static void ours_turn(struct model *m, unsigned changes)
{
	struct cairn_slice all = { 0 };
	struct cairn_db *db = open_ours();

	ours_check(db, m);
	for (unsigned n = 0; n < changes; n++)
		ours_change(db, m, (unsigned)rng_below(&m->rng, KEYS));
	/* Leave the state in the log, in level 0, or in deep levels. */
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
	must(cairn_close(db));
}

/* ----------------------------------------------------------- their side */

static rocksdb_t *open_theirs(rocksdb_options_t **opts)
{
	rocksdb_block_based_table_options_t *t =
		rocksdb_block_based_options_create();
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_t *db;
	char *err = NULL;

	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_block_based_options_set_filter_policy(
		t, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_options_set_write_buffer_size(o, 64 << 10);
	rocksdb_options_set_target_file_size_base(o, 32 << 10);
	rocksdb_options_set_max_bytes_for_level_base(o, 128 << 10);
	db = rocksdb_open(o, dir, &err);
	ck_assert_msg(!err, "RocksDB opens what we wrote: %s", err);
	rocksdb_block_based_options_destroy(t);
	*opts = o;
	return db;
}

static void theirs_check(rocksdb_t *db, const struct model *m)
{
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	rocksdb_iterator_t *it;
	unsigned live = 0, seen = 0;
	char *err = NULL;

	rocksdb_readoptions_set_verify_checksums(ro, 1);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32], value[VALUE_MAX];
		size_t len, want;
		char *got =
			rocksdb_get(db, ro, key, key_of(i, key), &len, &err);

		ck_assert_msg(!err, "RocksDB gets: %s", err);
		if (!m->generation[i]) {
			ck_assert_msg(!got, "RocksDB sees deleted key %u", i);
			continue;
		}
		ck_assert_msg(got != NULL, "RocksDB misses key %u", i);
		want = value_of(i, m->generation[i], value);
		ck_assert_uint_eq(len, want);
		ck_assert_mem_eq(got, value, want);
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
			  struct model *m, unsigned i)
{
	char key[32], value[VALUE_MAX];
	size_t klen = key_of(i, key);
	char *err = NULL;

	if (rng_one_in(&m->rng, 4)) {
		m->generation[i] = 0;
		rocksdb_delete(db, wo, key, klen, &err);
	} else {
		m->generation[i] = ++m->last;
		rocksdb_put(db, wo, key, klen, value,
			    value_of(i, m->last, value), &err);
	}
	ck_assert_msg(!err, "RocksDB writes: %s", err);
}

static void theirs_turn(struct model *m, unsigned changes)
{
	rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
	rocksdb_flushoptions_t *fo = rocksdb_flushoptions_create();
	rocksdb_options_t *opts;
	rocksdb_t *db = open_theirs(&opts);
	char *err = NULL;

	theirs_check(db, m);
	for (unsigned n = 0; n < changes; n++)
		theirs_change(db, wo, m, (unsigned)rng_below(&m->rng, KEYS));
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
	rocksdb_close(db);
	rocksdb_options_destroy(opts);
	rocksdb_writeoptions_destroy(wo);
	rocksdb_flushoptions_destroy(fo);
}

static struct model model;

START_TEST(each_side_continues_on_what_the_other_left)
{
	rng_init(&model.rng, (uint64_t)_i + 1);
	make_dir();
	for (unsigned turn = 0; turn < 8; turn++) {
		ours_turn(&model, 3000);
		theirs_turn(&model, 1500);
	}
	ours_turn(&model, 0);
	remove_dir();
}
END_TEST

/*
 * Small flushes over a large base level are merged among themselves, and
 * RocksDB takes the seqnos of what comes out.
 */
START_TEST(level_0_merged_within_itself_is_read_by_rocksdb)
{
	struct cairn_slice all = { 0 };
	struct cairn_metrics before, after;
	struct cairn_db *db;

	rng_init(&model.rng, 77);
	make_dir();
	db = open_ours();
	for (unsigned n = 0; n < 4 * KEYS; n++)
		ours_change(db, &model, n % KEYS);
	must(cairn_compact_range(db, all, all, NULL));
	cairn_metrics_get(db, &before);
	for (unsigned flush = 0; flush < 30; flush++) {
		for (unsigned n = 0; n < 3; n++)
			ours_change(db, &model,
				    (unsigned)rng_below(&model.rng, KEYS));
		must(cairn_flush(db, true));
		must(cairn_wait_idle(db));
	}
	cairn_metrics_get(db, &after);
	ck_assert_uint_gt(after.level[0].compacted_bytes,
			  before.level[0].compacted_bytes);
	ck_assert_uint_gt(after.level[0].files, 0);
	/* 90 changes: one merge into the base at most. */
	for (int l = 1; l < CAIRN_LEVELS; l++)
		ck_assert_uint_le(after.level[l].compacted_bytes,
				  before.level[l].compacted_bytes +
					  before.live_table_bytes + (64 << 10));
	ours_check(db, &model);
	must(cairn_close(db));
	theirs_turn(&model, 100);
	ours_turn(&model, 0);
	remove_dir();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rocksdb");
	TCase *t = tcase_create("exchange");

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, each_side_continues_on_what_the_other_left, 0,
			    3);
	tcase_add_test(t, level_0_merged_within_itself_is_read_by_rocksdb);
	suite_add_tcase(s, t);
	return run_suite_apart(s);
}
