/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Range deletions exchanged with the real RocksDB. Both sides write and compact
 * with tables so small that most tombstones reach over several of them, and
 * hold snapshots meanwhile; each must show what a model in memory says, also of
 * what the other left.
 */
#include <rocksdb/c.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/rng.h"
#include "engine/base/slice.h"
#include "engine/cairn.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define KEYS      1500
#define VALUE_MAX 200
#define SNAPS     2

struct state {
	uint32_t generation[KEYS]; /* 0: the key is absent */
};

struct model {
	struct rng rng;
	struct state now;
	struct state then[SNAPS]; /* as the snapshots of this turn see it */
	uint32_t last;
};

static size_t key_of(unsigned i, char text[32])
{
	return (size_t)snprintf(text, 32, "key%06u", i);
}

static size_t value_of(unsigned i, uint32_t generation, char *value)
{
	size_t n = (i * 31 + generation * 17) % VALUE_MAX;

	for (size_t j = 0; j < n; j++)
		value[j] = (char)('a' + (i + generation + j * j) % 26);
	return n;
}

/* ------------------------------------------------------- what is to be done */

struct change {
	enum { PUT, DELETE, DELETE_RANGE } what;
	unsigned from;
	unsigned to;
	char key[32], end[32], value[VALUE_MAX];
	size_t key_len, end_len, value_len;
};

/* Make one up, and do it to the model. */
static void next_change(struct model *m, struct change *c)
{
	uint64_t what = rng_below(&m->rng, 40);

	c->from = (unsigned)rng_below(&m->rng, KEYS);
	c->key_len = key_of(c->from, c->key);
	if (what == 0) {
		uint64_t most = rng_one_in(&m->rng, 6) ? KEYS : 100;

		c->what = DELETE_RANGE;
		c->to = c->from + 1 + (unsigned)rng_below(&m->rng, most);
		c->end_len = key_of(c->to, c->end);
		for (unsigned i = c->from; i < c->to && i < KEYS; i++)
			m->now.generation[i] = 0;
	} else if (what < 8) {
		c->what = DELETE;
		m->now.generation[c->from] = 0;
	} else {
		c->what = PUT;
		m->now.generation[c->from] = ++m->last;
		c->value_len = value_of(c->from, m->last, c->value);
	}
}

/* ------------------------------------------------------------- our side */

static char dir[SCRATCH_LEN];

static struct cairn_db *open_ours(void)
{
	static const char *const settings[][2] = {
		{ "create_if_missing", "true" }, { "paranoid_checks", "true" },
		{ "write_buffer_size", "32K" },  { "target_file_size", "8K" },
		{ "base_level_size", "32K" },    { "level_multiplier", "4" },
		{ "block_size", "1K" },
	};
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		must(cairn_options_set(o, settings[i][0], settings[i][1]));
	must(cairn_open(dir, o, &db));
	cairn_options_free(o);
	return db;
}

static void ours_change(struct cairn_db *db, const struct change *c)
{
	struct cairn_slice key = slice_of(c->key, c->key_len);

	switch (c->what) {
	case PUT:
		must(cairn_put(db, NULL, key,
			       slice_of(c->value, c->value_len)));
		break;
	case DELETE:
		must(cairn_delete(db, NULL, key));
		break;
	case DELETE_RANGE:
		must(cairn_delete_range(db, NULL, key,
					slice_of(c->end, c->end_len)));
		break;
	}
}

static void ours_check(struct cairn_db *db, const struct cairn_snapshot *snap,
		       const struct state *s)
{
	struct cairn_read_options ro = { .snapshot = snap };
	char key[32], value[VALUE_MAX];
	struct cairn_iter *it;
	bool on;

	must(cairn_iter_new(db, &ro, &it));
	on = cairn_iter_first(it);
	for (unsigned i = 0; i < KEYS; i++) {
		struct cairn_slice k = slice_of(key, key_of(i, key));
		struct cairn_pinned got = { 0 };
		struct cairn_slice want;
		int err = cairn_get(db, &ro, k, &got);

		if (!s->generation[i]) {
			ck_assert_msg(err == CAIRN_NOT_FOUND, "%s: %d %s", key,
				      err, cairn_errmsg());
			continue;
		}
		must(err);
		want = slice_of(value, value_of(i, s->generation[i], value));
		ck_assert(slice_eq(got.value, want));
		cairn_pinned_release(&got);
		ck_assert(on && slice_eq(cairn_iter_key(it), k));
		ck_assert(slice_eq(cairn_iter_value(it), want));
		on = cairn_iter_next(it);
	}
	ck_assert(!on);
	must(cairn_iter_status(it));
	on = cairn_iter_last(it);
	for (unsigned i = KEYS; i-- > 0;) {
		if (!s->generation[i])
			continue;
		ck_assert(on && slice_eq(cairn_iter_key(it),
					 slice_of(key, key_of(i, key))));
		on = cairn_iter_prev(it);
	}
	ck_assert(!on);
	must(cairn_iter_status(it));
	cairn_iter_free(it);
}

static void ours_compact(struct cairn_db *db, struct model *m)
{
	struct cairn_slice from = { 0 }, to = { 0 };
	char key[32];

	switch (rng_below(&m->rng, 4)) {
	case 0:
		must(cairn_flush(db, true));
		break;
	case 1:
		must(cairn_compact_range(db, from, to, NULL));
		break;
	case 2:
		from = slice_of(
			key, key_of((unsigned)rng_below(&m->rng, KEYS), key));
		must(cairn_compact_range(db, from, to, NULL));
		break;
	default:
		must(cairn_wait_idle(db));
		break;
	}
}

static void ours_turn(struct model *m, unsigned changes)
{
	struct cairn_snapshot *snap[SNAPS];
	struct cairn_db *db = open_ours();
	struct change c;

	ours_check(db, NULL, &m->now);
	for (unsigned i = 0; i < SNAPS; i++) {
		for (unsigned n = 0; n < changes; n++) {
			next_change(m, &c);
			ours_change(db, &c);
		}
		snap[i] = cairn_snapshot_new(db);
		ck_assert_ptr_nonnull(snap[i]);
		m->then[i] = m->now;
	}
	for (unsigned n = 0; n < changes / 2; n++) {
		next_change(m, &c);
		ours_change(db, &c);
	}
	ours_compact(db, m);
	ours_check(db, NULL, &m->now);
	for (unsigned i = 0; i < SNAPS; i++) {
		ours_check(db, snap[i], &m->then[i]);
		cairn_snapshot_release(snap[i]);
	}
	/* Leave it in the log, or in whatever tables. */
	if (rng_one_in(&m->rng, 2))
		ours_compact(db, m);
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

	/* Consistency checks are on unless somebody turns them off. */
	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_block_based_options_set_filter_policy(
		t, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_options_set_write_buffer_size(o, 64 << 10);
	rocksdb_options_set_target_file_size_base(o, 8 << 10);
	rocksdb_options_set_max_bytes_for_level_base(o, 32 << 10);
	rocksdb_options_set_max_bytes_for_level_multiplier(o, 4);
	rocksdb_options_set_max_subcompactions(o, 3);
	db = rocksdb_open(o, dir, &err);
	ck_assert_msg(!err, "RocksDB opens what we wrote: %s", err);
	rocksdb_block_based_options_destroy(t);
	*opts = o;
	return db;
}

static void theirs_change(rocksdb_t *db, const rocksdb_writeoptions_t *wo,
			  const struct change *c)
{
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	char *err = NULL;

	switch (c->what) {
	case PUT:
		rocksdb_writebatch_put(b, c->key, c->key_len, c->value,
				       c->value_len);
		break;
	case DELETE:
		rocksdb_writebatch_delete(b, c->key, c->key_len);
		break;
	case DELETE_RANGE:
		rocksdb_writebatch_delete_range(b, c->key, c->key_len, c->end,
						c->end_len);
		break;
	}
	rocksdb_write(db, wo, b, &err);
	ck_assert_msg(!err, "RocksDB writes: %s", err);
	rocksdb_writebatch_destroy(b);
}

static void theirs_stand_on(rocksdb_iterator_t *it, unsigned i)
{
	char key[32];
	size_t len, want = key_of(i, key);
	const char *got;

	ck_assert_msg(rocksdb_iter_valid(it), "RocksDB's scan lacks %s", key);
	got = rocksdb_iter_key(it, &len);
	ck_assert_msg(len == want && !memcmp(got, key, len),
		      "RocksDB's scan has %.*s, not %s", (int)len, got, key);
}

static void theirs_check(rocksdb_t *db, const rocksdb_snapshot_t *snap,
			 const struct state *s)
{
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	char key[32], value[VALUE_MAX];
	rocksdb_iterator_t *it;
	char *err = NULL;

	rocksdb_readoptions_set_verify_checksums(ro, 1);
	if (snap)
		rocksdb_readoptions_set_snapshot(ro, snap);
	it = rocksdb_create_iterator(db, ro);
	rocksdb_iter_seek_to_first(it);
	for (unsigned i = 0; i < KEYS; i++) {
		size_t len;
		char *got =
			rocksdb_get(db, ro, key, key_of(i, key), &len, &err);

		ck_assert_msg(!err, "RocksDB gets: %s", err);
		if (!s->generation[i]) {
			ck_assert_msg(!got, "RocksDB sees deleted %s", key);
			continue;
		}
		ck_assert_msg(got != NULL, "RocksDB misses %s", key);
		ck_assert_uint_eq(len, value_of(i, s->generation[i], value));
		ck_assert_mem_eq(got, value, len);
		rocksdb_free(got);
		theirs_stand_on(it, i);
		rocksdb_iter_next(it);
	}
	ck_assert(!rocksdb_iter_valid(it));
	rocksdb_iter_seek_to_last(it);
	for (unsigned i = KEYS; i-- > 0;) {
		if (!s->generation[i])
			continue;
		theirs_stand_on(it, i);
		rocksdb_iter_prev(it);
	}
	ck_assert(!rocksdb_iter_valid(it));
	rocksdb_iter_get_error(it, &err);
	ck_assert_msg(!err, "RocksDB scans: %s", err);
	rocksdb_iter_destroy(it);
	rocksdb_readoptions_destroy(ro);
}

static void theirs_compact(rocksdb_t *db, struct model *m)
{
	rocksdb_flushoptions_t *fo = rocksdb_flushoptions_create();
	unsigned i = (unsigned)rng_below(&m->rng, KEYS);
	char from[32], to[32], *err = NULL;
	size_t from_len = key_of(i, from), to_len = key_of(i + 300, to);

	rocksdb_flush(db, fo, &err);
	ck_assert_msg(!err, "RocksDB flushes: %s", err);
	rocksdb_flushoptions_destroy(fo);
	switch (rng_below(&m->rng, 3)) {
	case 0:
		rocksdb_compact_range(db, NULL, 0, NULL, 0);
		break;
	case 1:
		rocksdb_compact_range(db, from, from_len, to, to_len);
		break;
	default:
		break;
	}
}

static void theirs_turn(struct model *m, unsigned changes)
{
	rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
	const rocksdb_snapshot_t *snap[SNAPS];
	rocksdb_options_t *opts;
	rocksdb_t *db = open_theirs(&opts);
	struct change c;

	theirs_check(db, NULL, &m->now);
	for (unsigned i = 0; i < SNAPS; i++) {
		for (unsigned n = 0; n < changes; n++) {
			next_change(m, &c);
			theirs_change(db, wo, &c);
		}
		snap[i] = rocksdb_create_snapshot(db);
		m->then[i] = m->now;
	}
	for (unsigned n = 0; n < changes / 2; n++) {
		next_change(m, &c);
		theirs_change(db, wo, &c);
	}
	theirs_compact(db, m);
	theirs_check(db, NULL, &m->now);
	for (unsigned i = 0; i < SNAPS; i++) {
		theirs_check(db, snap[i], &m->then[i]);
		rocksdb_release_snapshot(db, snap[i]);
	}
	if (rng_one_in(&m->rng, 2))
		theirs_compact(db, m);
	rocksdb_close(db);
	rocksdb_options_destroy(opts);
	rocksdb_writeoptions_destroy(wo);
}

/* ------------------------------------------------------------------ tests */

static struct model model;

static void make_dir(void)
{
	scratch_make(dir);
}

static void remove_dir(void)
{
	scratch_remove(dir);
}

static uint64_t first_seed(void)
{
	const char *seed = getenv("CAIRN_SEED");

	return seed ? strtoull(seed, NULL, 10) : 1;
}

START_TEST(ranges_deleted_by_either_side_are_deleted_for_both)
{
	uint64_t seed = first_seed() + (uint64_t)_i;

	fprintf(stderr, "CAIRN_SEED=%llu\n", (unsigned long long)seed);
	rng_init(&model.rng, seed);
	make_dir();
	for (unsigned turn = 0; turn < 5; turn++) {
		ours_turn(&model, 800);
		theirs_turn(&model, 500);
	}
	ours_turn(&model, 10);
	remove_dir();
}
END_TEST

/* ------------------------------------------------------------- ingestion */

/* A table of RocksDB's that deletes [100, 200), with or without an entry. */
static void make_external(const char *path, bool with_entry)
{
	rocksdb_envoptions_t *eo = rocksdb_envoptions_create();
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(eo, o);
	char key[32], from[32], to[32], value[VALUE_MAX], *err = NULL;
	size_t from_len = key_of(100, from), to_len = key_of(200, to);

	rocksdb_sstfilewriter_open(w, path, &err);
	ck_assert_msg(!err, "%s", err);
	if (with_entry) {
		rocksdb_sstfilewriter_put(w, key, key_of(150, key), value,
					  value_of(150, 77, value), &err);
		ck_assert_msg(!err, "%s", err);
	}
	rocksdb_sstfilewriter_delete_range(w, from, from_len, to, to_len, &err);
	ck_assert_msg(!err, "%s", err);
	rocksdb_sstfilewriter_finish(w, &err);
	ck_assert_msg(!err, "%s", err);
	rocksdb_sstfilewriter_destroy(w);
	rocksdb_options_destroy(o);
	rocksdb_envoptions_destroy(eo);
}

/* Tombstones of an external table delete what was before, not its entries. */
START_TEST(a_table_of_rocksdb_with_deleted_ranges_is_ingested)
{
	struct cairn_slice all = { 0 };
	char path[96];
	const char *paths[] = { path };
	rocksdb_options_t *opts;
	struct cairn_db *db;
	rocksdb_t *theirs;
	struct change c;

	rng_init(&model.rng, 1);
	make_dir();
	snprintf(path, sizeof(path), "%s.sst", dir);
	db = open_ours();
	for (int i = 0; i < 5000; i++) {
		next_change(&model, &c);
		ours_change(db, &c);
	}
	if (_i & 1)
		must(cairn_compact_range(db, all, all, NULL));
	make_external(path, _i & 2);
	must(cairn_ingest(db, paths, 1, NULL));
	for (unsigned i = 100; i < 200; i++)
		model.now.generation[i] = 0;
	if (_i & 2)
		model.now.generation[150] = 77;
	ours_check(db, NULL, &model.now);
	must(cairn_close(db));

	theirs = open_theirs(&opts);
	theirs_check(theirs, NULL, &model.now);
	rocksdb_close(theirs);
	rocksdb_options_destroy(opts);

	db = open_ours();
	ours_check(db, NULL, &model.now);
	must(cairn_compact_range(db, all, all, NULL));
	ours_check(db, NULL, &model.now);
	must(cairn_close(db));
	ck_assert_int_eq(unlink(path), 0);
	remove_dir();
}
END_TEST

/* Nothing but what each side does alone, looked at by the other in the end. */
START_TEST(ranges_deleted_by_one_side_are_deleted_for_the_other)
{
	uint64_t seed = first_seed() + (uint64_t)_i;
	rocksdb_options_t *opts;
	rocksdb_t *theirs;

	fprintf(stderr, "CAIRN_SEED=%llu\n", (unsigned long long)seed);
	rng_init(&model.rng, seed);
	make_dir();
	for (unsigned turn = 0; turn < 6; turn++) {
		ours_turn(&model, 600);
		theirs = open_theirs(&opts);
		theirs_check(theirs, NULL, &model.now);
		rocksdb_close(theirs);
		rocksdb_options_destroy(opts);
	}
	remove_dir();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("range_del");
	TCase *t = tcase_create("exchange");
	const char *n = getenv("CAIRN_HISTORIES");
	int histories = n ? atoi(n) : 3;

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t,
			    ranges_deleted_by_either_side_are_deleted_for_both,
			    0, histories);
	tcase_add_loop_test(
		t, ranges_deleted_by_one_side_are_deleted_for_the_other, 0,
		histories);
	tcase_add_loop_test(
		t, a_table_of_rocksdb_with_deleted_ranges_is_ingested, 0, 4);
	suite_add_tcase(s, t);
	return run_suite_apart(s);
}
