/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * External tables and checkpoints, exchanged with the real RocksDB: tables that
 * one side wrote are ingested by the other, again and again into the same
 * directory, and a model in memory says what both must show.
 */
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/rng.h"
#include "engine/base/slice.h"
#include "engine/cairn.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define KEYS      2000
#define VALUE_MAX 200
#define TABLES    3

/* Generation of key i, of which its value is made; 0: the key is absent. */
struct state {
	uint32_t generation[KEYS];
};

static struct state now;
static uint32_t last_generation;
static struct rng rng;
static char dir[SCRATCH_LEN]; /* of the database */
static char root[64];         /* of all */

static size_t key_of(unsigned i, char text[32])
{
	return (size_t)snprintf(text, 32, "key%06u", i * 3);
}

static size_t value_of(unsigned i, uint32_t generation, char *value)
{
	size_t n = (i * 31 + generation * 17) % VALUE_MAX;

	for (size_t j = 0; j < n; j++)
		value[j] = (char)('a' + (i + generation + j / 7) % 26);
	return n;
}

static void begin(uint64_t seed)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%.40s/external-XXXXXX",
		 tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%.50s/db", root);
	now = (struct state){ 0 };
	last_generation = 0;
	rng_init(&rng, seed);
}

static void end(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", root);
	ck_assert_int_eq(system(cmd), 0);
}

static void theirs_must(char *err, const char *what)
{
	ck_assert_msg(!err, "RocksDB %s: %s", what, err ? err : "");
}

/* ------------------------------------------------------------- the tables */

/* Consecutive keys, some of them left out. */
struct span {
	unsigned first;
	unsigned last;
};

/* Disjoint spans, anywhere. */
static void draw_spans(struct span s[TABLES])
{
	unsigned width = 20 + (unsigned)rng_below(&rng, KEYS / TABLES - 20);

	for (unsigned i = 0; i < TABLES; i++) {
		s[i].first =
			i * (KEYS / TABLES) +
			(unsigned)rng_below(&rng, KEYS / TABLES - width + 1);
		s[i].last = s[i].first + width - 1;
	}
}

static bool next_change(unsigned i, uint32_t *generation)
{
	if (rng_one_in(&rng, 3))
		return false;
	*generation = rng_one_in(&rng, 5) ? 0 : ++last_generation;
	now.generation[i] = *generation;
	return true;
}

static void table_path(unsigned i, char path[96])
{
	snprintf(path, 96, "%s/table%u.sst", root, i);
}

/* Now and then a table also deletes some of its span, but for what it puts. */
static bool draw_range(const struct span *s, unsigned *from, unsigned *to)
{
	if (rng_one_in(&rng, 2))
		return false;
	*from = s->first + (unsigned)rng_below(&rng, s->last - s->first + 1);
	*to = *from + (unsigned)rng_below(&rng, s->last - *from + 1);
	if (*from == *to)
		return false;
	for (unsigned i = *from; i < *to; i++)
		now.generation[i] = 0;
	return true;
}

static void ours_write_table(const char *path, const struct span *s)
{
	static const char *const codecs[] = { "none", "snappy", "zstd" };
	struct cairn_options *o = cairn_options_new();
	char key[32], value[VALUE_MAX];
	struct cairn_sst_writer *w;
	unsigned from, to;
	uint32_t g;

	must(cairn_options_set(o, "compression", codecs[rng_below(&rng, 3)]));
	must(cairn_options_set(o, "bloom_bits_per_key",
			       rng_one_in(&rng, 3) ? "0" : "10"));
	must(cairn_options_set(o, "block_size",
			       rng_one_in(&rng, 2) ? "256" : "4K"));
	must(cairn_sst_writer_open(path, o, &w));
	if (draw_range(s, &from, &to))
		must(cairn_sst_writer_delete_range(
			w, slice_of(key, key_of(from, key)),
			slice_of(value, key_of(to, value))));
	for (unsigned i = s->first; i <= s->last; i++) {
		/* A table needs an entry. */
		bool change = next_change(i, &g);
		struct cairn_slice k;

		if (!change && i != s->last)
			continue;
		if (!change)
			g = now.generation[i] = ++last_generation;
		k = slice_of(key, key_of(i, key));
		must(g ? cairn_sst_writer_put(
				 w, k, slice_of(value, value_of(i, g, value)))
		       : cairn_sst_writer_delete(w, k));
	}
	must(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	cairn_options_free(o);
}

static rocksdb_options_t *their_options(unsigned format_version)
{
	rocksdb_block_based_table_options_t *t =
		rocksdb_block_based_options_create();
	rocksdb_options_t *o = rocksdb_options_create();

	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_block_based_options_set_filter_policy(
		t, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_block_based_options_set_format_version(t, (int)format_version);
	rocksdb_block_based_options_set_block_size(t, 512);
	if (format_version == 4)
		rocksdb_block_based_options_set_index_type(
			t,
			rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_options_set_write_buffer_size(o, 64 << 10);
	rocksdb_options_set_target_file_size_base(o, 32 << 10);
	rocksdb_options_set_max_bytes_for_level_base(o, 64 << 10);
	rocksdb_options_set_compression(o, rng_one_in(&rng, 2)
						   ? rocksdb_snappy_compression
						   : rocksdb_zstd_compression);
	rocksdb_block_based_options_destroy(t);
	return o;
}

static void theirs_write_table(const char *path, const struct span *s)
{
	rocksdb_envoptions_t *eo = rocksdb_envoptions_create();
	rocksdb_options_t *o = their_options(2 + (unsigned)rng_below(&rng, 4));
	rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(eo, o);
	char key[32], value[VALUE_MAX], *err = NULL;
	unsigned from, to;
	uint32_t g;

	rocksdb_sstfilewriter_open(w, path, &err);
	theirs_must(err, "begins a table");
	if (draw_range(s, &from, &to))
		rocksdb_sstfilewriter_delete_range(w, key, key_of(from, key),
						   value, key_of(to, value),
						   &err);
	theirs_must(err, "deletes a range in a table");
	for (unsigned i = s->first; i <= s->last; i++) {
		bool change = next_change(i, &g);

		if (!change && i != s->last)
			continue;
		if (!change)
			g = now.generation[i] = ++last_generation;
		if (g)
			rocksdb_sstfilewriter_put(w, key, key_of(i, key), value,
						  value_of(i, g, value), &err);
		else
			rocksdb_sstfilewriter_delete(w, key, key_of(i, key),
						     &err);
		theirs_must(err, "adds to a table");
	}
	rocksdb_sstfilewriter_finish(w, &err);
	theirs_must(err, "finishes a table");
	rocksdb_sstfilewriter_destroy(w);
	rocksdb_options_destroy(o);
	rocksdb_envoptions_destroy(eo);
}

static void write_tables(char paths[TABLES][96])
{
	struct span s[TABLES];

	draw_spans(s);
	for (unsigned i = 0; i < TABLES; i++) {
		table_path(i, paths[i]);
		(void)unlink(paths[i]);
		if (rng_one_in(&rng, 2))
			ours_write_table(paths[i], &s[i]);
		else
			theirs_write_table(paths[i], &s[i]);
	}
}

/* --------------------------------------------------------------- our side */

static struct cairn_db *open_ours(const char *at)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;

	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_options_set(o, "paranoid_checks", "true"));
	must(cairn_options_set(o, "write_buffer_size", "64K"));
	must(cairn_options_set(o, "target_file_size", "32K"));
	must(cairn_options_set(o, "base_level_size", "64K"));
	must(cairn_open(at, o, &db));
	cairn_options_free(o);
	return db;
}

static void ours_check(struct cairn_db *db, const struct cairn_snapshot *s,
		       const struct state *want)
{
	const struct cairn_read_options o = { .snapshot = s };
	struct cairn_iter *it;
	unsigned live = 0, seen = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		char key[32], value[VALUE_MAX];
		struct cairn_pinned got = { 0 };
		int err =
			cairn_get(db, &o, slice_of(key, key_of(i, key)), &got);

		if (!want->generation[i]) {
			ck_assert_msg(err == CAIRN_NOT_FOUND, "key %u is there",
				      i);
			continue;
		}
		ck_assert_msg(err == CAIRN_OK, "key %u: %s", i,
			      err < 0 ? cairn_errmsg() : "missing");
		live++;
		ck_assert(slice_eq(
			got.value,
			slice_of(value,
				 value_of(i, want->generation[i], value))));
		cairn_pinned_release(&got);
	}
	must(cairn_iter_new(db, &o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		seen++;
	must(cairn_iter_status(it));
	ck_assert_uint_eq(seen, live);
	seen = 0;
	for (bool on = cairn_iter_last(it); on; on = cairn_iter_prev(it))
		seen++;
	must(cairn_iter_status(it));
	cairn_iter_free(it);
	ck_assert_uint_eq(seen, live);
}

static void ours_write(struct cairn_db *db, unsigned n)
{
	char key[32], value[VALUE_MAX];
	uint32_t g;

	while (n--) {
		unsigned i = (unsigned)rng_below(&rng, KEYS);
		struct cairn_slice k = slice_of(key, key_of(i, key));

		if (!next_change(i, &g))
			continue;
		must(g ? cairn_put(db, NULL, k,
				   slice_of(value, value_of(i, g, value)))
		       : cairn_delete(db, NULL, k));
		if (rng_one_in(&rng, 40)) {
			const struct span all = { i, KEYS - 1 };
			unsigned from, to;

			if (draw_range(&all, &from, &to))
				must(cairn_delete_range(
					db, NULL,
					slice_of(key, key_of(from, key)),
					slice_of(value, key_of(to, value))));
		}
	}
}

static void ours_ingest(struct cairn_db *db)
{
	static const enum cairn_ingest_mode modes[] = { CAIRN_INGEST_COPY,
							CAIRN_INGEST_LINK,
							CAIRN_INGEST_MOVE };
	const struct cairn_ingest_options o = { modes[rng_below(&rng, 3)] };
	char paths[TABLES][96];
	const char *list[TABLES];

	write_tables(paths);
	for (unsigned i = 0; i < TABLES; i++)
		list[i] = paths[TABLES - 1 - i];
	must(cairn_ingest(db, list, TABLES, &o));
}

static void ours_turn(void)
{
	const struct cairn_slice all = { 0 };
	struct cairn_db *db = open_ours(dir);
	struct cairn_snapshot *s;
	struct state before;

	ours_check(db, NULL, &now);
	ours_write(db, 300);
	before = now;
	s = cairn_snapshot_new(db);
	for (unsigned n = 0; n < 3; n++) {
		ours_ingest(db);
		ours_check(db, NULL, &now);
		ours_write(db, 100);
	}
	if (rng_one_in(&rng, 2))
		must(cairn_compact_range(db, all, all, NULL));
	ours_check(db, s, &before);
	cairn_snapshot_release(s);
	if (rng_one_in(&rng, 2))
		must(cairn_compact_range(db, all, all, NULL));
	ours_ingest(db);
	ours_check(db, NULL, &now);
	must(cairn_close(db));
}

/* ------------------------------------------------------------- their side */

static void theirs_check(rocksdb_t *db, const rocksdb_snapshot_t *s,
			 const struct state *want)
{
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	rocksdb_iterator_t *it;
	unsigned live = 0, seen = 0;
	char *err = NULL;

	rocksdb_readoptions_set_verify_checksums(ro, 1);
	rocksdb_readoptions_set_snapshot(ro, s);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32], value[VALUE_MAX];
		size_t len, n;
		char *got =
			rocksdb_get(db, ro, key, key_of(i, key), &len, &err);

		theirs_must(err, "gets");
		if (!want->generation[i]) {
			ck_assert_msg(!got, "RocksDB sees deleted key %u", i);
			continue;
		}
		ck_assert_msg(got != NULL, "RocksDB misses key %u", i);
		n = value_of(i, want->generation[i], value);
		ck_assert_uint_eq(len, n);
		ck_assert_mem_eq(got, value, n);
		rocksdb_free(got);
		live++;
	}
	it = rocksdb_create_iterator(db, ro);
	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it);
	     rocksdb_iter_next(it))
		seen++;
	rocksdb_iter_get_error(it, &err);
	theirs_must(err, "scans");
	rocksdb_iter_destroy(it);
	rocksdb_readoptions_destroy(ro);
	ck_assert_uint_eq(seen, live);
}

static rocksdb_t *open_theirs(const char *at, rocksdb_options_t **opts)
{
	char *err = NULL;
	rocksdb_t *db;

	*opts = their_options(5);
	db = rocksdb_open(*opts, at, &err);
	theirs_must(err, "opens what we wrote");
	return db;
}

static void theirs_ingest(rocksdb_t *db)
{
	rocksdb_ingestexternalfileoptions_t *io =
		rocksdb_ingestexternalfileoptions_create();
	unsigned char move = (unsigned char)rng_below(&rng, 2);
	char paths[TABLES][96];
	const char *list[TABLES];
	char *err = NULL;

	write_tables(paths);
	for (unsigned i = 0; i < TABLES; i++)
		list[i] = paths[i];
	rocksdb_ingestexternalfileoptions_set_move_files(io, move);
	rocksdb_ingest_external_file(db, list, TABLES, io, &err);
	theirs_must(err, "ingests");
	rocksdb_ingestexternalfileoptions_destroy(io);
}

static void theirs_turn(void)
{
	const rocksdb_snapshot_t *s;
	rocksdb_options_t *opts;
	rocksdb_t *db = open_theirs(dir, &opts);
	struct state before = now;

	theirs_check(db, NULL, &now);
	s = rocksdb_create_snapshot(db);
	for (unsigned n = 0; n < 3; n++)
		theirs_ingest(db);
	if (rng_one_in(&rng, 2))
		rocksdb_compact_range(db, NULL, 0, NULL, 0);
	theirs_check(db, s, &before);
	rocksdb_release_snapshot(db, s);
	theirs_ingest(db);
	theirs_check(db, NULL, &now);
	rocksdb_close(db);
	rocksdb_options_destroy(opts);
}

/* What their tool says of a directory that nobody has open. */
static void check_consistency(const char *at)
{
	char cmd[160];

	if (system("ldb --version >/dev/null 2>&1"))
		return;
	snprintf(cmd, sizeof(cmd),
		 "ldb --db='%s' checkconsistency >/dev/null 2>&1", at);
	ck_assert_msg(system(cmd) == 0, "ldb finds %s inconsistent", at);
}

START_TEST(each_side_ingests_what_either_wrote)
{
	begin((uint64_t)_i + 1);
	for (unsigned turn = 0; turn < 4; turn++) {
		ours_turn();
		check_consistency(dir);
		theirs_turn();
	}
	ours_turn();
	end();
}
END_TEST

static void copy_path(unsigned i, char path[96])
{
	snprintf(path, 96, "%s/copy%u", root, i);
}

/* Each copy is opened by both, and written to; the database stays as it is. */
START_TEST(both_sides_open_a_checkpoint_and_see_its_moment)
{
	struct state at[4];
	struct cairn_db *db;
	char path[96];

	begin((uint64_t)_i + 100);
	if (rng_one_in(&rng, 2)) {
		rocksdb_options_t *o = NULL;

		rocksdb_close(open_theirs(dir, &o));
		rocksdb_options_destroy(o);
	}
	db = open_ours(dir);
	for (unsigned i = 0; i < 4; i++) {
		ours_write(db, 500);
		if (rng_one_in(&rng, 2))
			ours_ingest(db);
		at[i] = now;
		copy_path(i, path);
		must(cairn_checkpoint(db, path));
	}
	for (unsigned i = 0; i < 4; i++) {
		rocksdb_options_t *o;
		rocksdb_t *theirs;
		struct cairn_db *ours;

		copy_path(i, path);
		check_consistency(path);
		if (rng_one_in(&rng, 2)) {
			theirs = open_theirs(path, &o);
			theirs_check(theirs, NULL, &at[i]);
			rocksdb_compact_range(theirs, NULL, 0, NULL, 0);
			theirs_check(theirs, NULL, &at[i]);
			rocksdb_close(theirs);
			rocksdb_options_destroy(o);
		}
		ours = open_ours(path);
		ours_check(ours, NULL, &at[i]);
		must(cairn_close(ours));
		theirs = open_theirs(path, &o);
		theirs_check(theirs, NULL, &at[i]);
		rocksdb_close(theirs);
		rocksdb_options_destroy(o);
	}
	ours_check(db, NULL, &now);
	must(cairn_close(db));
	db = open_ours(dir);
	ours_check(db, NULL, &now);
	must(cairn_close(db));
	end();
}
END_TEST

/* Both read the same index of the same tables. */
START_TEST(both_sides_say_the_same_of_the_size_of_ranges)
{
	const struct cairn_slice all = { 0 };
	uint64_t ours[20], theirs[20];
	struct cairn_range ranges[20];
	char keys[40][32];
	const char *from[20], *to[20];
	size_t from_len[20], to_len[20];
	rocksdb_options_t *o;
	struct cairn_db *db;
	rocksdb_t *rdb;
	char *err = NULL;

	begin(7);
	db = open_ours(dir);
	ours_write(db, 6000);
	must(cairn_compact_range(db, all, all, NULL));
	ours_ingest(db);
	for (unsigned i = 0; i < 20; i++) {
		unsigned a = (unsigned)rng_below(&rng, KEYS);
		unsigned b = a + (unsigned)rng_below(&rng, KEYS - a);

		from[i] = keys[2 * i];
		to[i] = keys[2 * i + 1];
		from_len[i] = key_of(a, keys[2 * i]);
		to_len[i] = key_of(b, keys[2 * i + 1]);
		ranges[i].from = slice_of(from[i], from_len[i]);
		ranges[i].to = slice_of(to[i], to_len[i]);
	}
	must(cairn_approximate_sizes(db, ranges, 20, ours));
	must(cairn_close(db));
	o = their_options(5);
	rdb = rocksdb_open_for_read_only(o, dir, 0, &err);
	theirs_must(err, "opens for reading");
	rocksdb_approximate_sizes(rdb, 20, from, from_len, to, to_len, theirs,
				  &err);
	theirs_must(err, "tells sizes");
	for (unsigned i = 0; i < 20; i++) {
		uint64_t more = ours[i] > theirs[i] ? ours[i] - theirs[i]
						    : theirs[i] - ours[i];

		/* A block at each end, of each of a few tables. */
		ck_assert_msg(more <= 6 * 4096 + theirs[i] / 4,
			      "range %u: %" PRIu64 ", by RocksDB %" PRIu64, i,
			      ours[i], theirs[i]);
	}
	rocksdb_close(rdb);
	rocksdb_options_destroy(o);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("external");
	TCase *t = tcase_create("exchange");

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, each_side_ingests_what_either_wrote, 0, 2);
	tcase_add_loop_test(t, both_sides_open_a_checkpoint_and_see_its_moment,
			    0, 3);
	tcase_add_test(t, both_sides_say_the_same_of_the_size_of_ranges);
	suite_add_tcase(s, t);
	return run_suite(s);
}
