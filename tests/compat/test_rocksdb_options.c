/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What RocksDB's OPTIONS says of a store is kept when cairn works on it: the
 * prefix extractor, with filters that both sides' prefix seeks rely on, and the
 * compression.
 */
#include <glob.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/slice.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define PREFIXES 400
#define OF_EACH  3

static char dir[SCRATCH_LEN];

static void make_dir(void)
{
	scratch_make(dir);
}

static void remove_dir(void)
{
	scratch_remove(dir);
}

static struct cairn_slice key_of(unsigned prefix, unsigned n, char text[16])
{
	return slice_of(text,
			(size_t)snprintf(text, 16, "%04u-%02u", prefix, n));
}

static void make_theirs(const char *settings)
{
	rocksdb_options_t *base = rocksdb_options_create();
	rocksdb_options_t *o = rocksdb_options_create();
	char *err = NULL;
	rocksdb_t *db;

	rocksdb_get_options_from_string(base, settings, o, &err);
	ck_assert_msg(!err, "RocksDB: %s", err);
	rocksdb_options_set_create_if_missing(o, 1);
	db = rocksdb_open(o, dir, &err);
	ck_assert_msg(!err, "RocksDB makes a store: %s", err);
	rocksdb_close(db);
	rocksdb_options_destroy(o);
	rocksdb_options_destroy(base);
}

/* Even prefixes are there. In level 0 and at the bottom. */
static void fill_ours(void)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_slice all = { 0 };
	struct cairn_db *db;
	char key[16];

	must(cairn_open(dir, o, &db));
	for (unsigned n = 0; n < OF_EACH; n++) {
		for (unsigned p = 0; p < PREFIXES; p += 2)
			must(cairn_put(db, NULL, key_of(p, n, key),
				       slice_str("a value")));
		if (n == 0)
			must(cairn_compact_range(db, all, all, NULL));
	}
	must(cairn_flush(db, true));
	must(cairn_close(db));
	cairn_options_free(o);
}

static void seek_ours(void)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_metrics m;
	struct cairn_iter *it;
	struct cairn_db *db;
	char key[16];

	must(cairn_open(dir, o, &db));
	must(cairn_iter_new(db, NULL, &it));
	for (unsigned p = 0; p < PREFIXES; p++) {
		unsigned n = 0;

		for (bool on = cairn_iter_seek_prefix_ge(it, key_of(p, 0, key));
		     on; on = cairn_iter_next(it))
			n++;
		must(cairn_iter_status(it));
		ck_assert_uint_eq(n, p % 2 ? 0 : OF_EACH);
	}
	cairn_iter_free(it);
	cairn_metrics_get(db, &m);
	ck_assert_uint_gt(m.filter_negatives, PREFIXES / 4);
	must(cairn_close(db));
	cairn_options_free(o);
}

static unsigned long ticker(rocksdb_options_t *o, const char *name)
{
	char *text = rocksdb_options_statistics_get_string(o);
	char *at = strstr(text, name);
	unsigned long n = 0;

	if (at && sscanf(at + strlen(name), " COUNT : %lu", &n) != 1)
		n = 0;
	rocksdb_free(text);
	return n;
}

static void seek_theirs(void)
{
	rocksdb_cache_t *cache = rocksdb_cache_create_lru(1 << 20);
	rocksdb_env_t *env = rocksdb_create_default_env();
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	rocksdb_options_t *opts, **family_opts;
	rocksdb_column_family_handle_t *family;
	rocksdb_iterator_t *it;
	char *err = NULL, **names;
	rocksdb_t *db;
	size_t n_families;

	rocksdb_load_latest_options(dir, env, false, cache, &opts, &n_families,
				    &names, &family_opts, &err);
	ck_assert_msg(!err, "RocksDB loads OPTIONS: %s", err);
	rocksdb_options_enable_statistics(opts);
	db = rocksdb_open_column_families(
		opts, dir, 1, (const char *const *)names,
		(const rocksdb_options_t *const *)family_opts, &family, &err);
	ck_assert_msg(!err, "RocksDB opens what we wrote: %s", err);
	rocksdb_readoptions_set_prefix_same_as_start(ro, 1);
	it = rocksdb_create_iterator(db, ro);
	for (unsigned p = 0; p < PREFIXES; p++) {
		unsigned n = 0;
		char text[16];
		struct cairn_slice k = key_of(p, 0, text);

		for (rocksdb_iter_seek(it, (const char *)k.data, k.len);
		     rocksdb_iter_valid(it); rocksdb_iter_next(it))
			n++;
		rocksdb_iter_get_error(it, &err);
		ck_assert_msg(!err, "RocksDB seeks: %s", err);
		ck_assert_uint_eq(n, p % 2 ? 0 : OF_EACH);
	}
	rocksdb_iter_destroy(it);
	ck_assert_uint_gt(ticker(opts, "rocksdb.bloom.filter.prefix.useful"),
			  PREFIXES / 4);
	rocksdb_readoptions_destroy(ro);
	rocksdb_column_family_handle_destroy(family);
	rocksdb_close(db);
	rocksdb_load_latest_options_destroy(opts, names, family_opts,
					    n_families);
	rocksdb_cache_destroy(cache);
	rocksdb_env_destroy(env);
}

/* Whether the newest OPTIONS has that line. */
static bool options_say(const char *line)
{
	char pattern[96], text[65536];
	glob_t found;
	size_t len;
	FILE *f;

	snprintf(pattern, sizeof(pattern), "%s/OPTIONS-*", dir);
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	f = fopen(found.gl_pathv[found.gl_pathc - 1], "r");
	ck_assert_ptr_nonnull(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = '\0';
	fclose(f);
	globfree(&found);
	return strstr(text, line) != NULL;
}

static const char *const extractors[] = { "rocksdb.FixedPrefix.4",
					  "rocksdb.CappedPrefix.4" };

START_TEST(prefix_seeks_of_both_use_the_filters_of_the_other)
{
	char text[160];

	make_dir();
	snprintf(text, sizeof(text),
		 "block_based_table_factory={filter_policy=bloomfilter:10:"
		 "false};prefix_extractor=%s",
		 extractors[_i]);
	make_theirs(text);
	fill_ours();
	snprintf(text, sizeof(text), "\n  prefix_extractor=%s\n",
		 extractors[_i]);
	ck_assert(options_say(text));
	seek_ours();
	seek_theirs();
	seek_ours();
	remove_dir();
}
END_TEST

static const struct {
	const char *settings;
	const char *line; /* of what cairn writes */
} compressions[] = {
	{ "compression=kSnappyCompression",
	  "compression_per_level=kSnappyCompression:kSnappyCompression:"
	  "kSnappyCompression:kSnappyCompression:kSnappyCompression:kZSTD:"
	  "kZSTD\n" },
	{ "compression=kNoCompression",
	  "compression_per_level=kNoCompression:kNoCompression:"
	  "kNoCompression:kNoCompression:kNoCompression:kNoCompression:"
	  "kNoCompression\n" },
	{ "compression_per_level=kNoCompression:kSnappyCompression",
	  "compression_per_level=kNoCompression:kSnappyCompression:"
	  "kSnappyCompression:kSnappyCompression:kSnappyCompression:"
	  "kSnappyCompression:kSnappyCompression\n" },
	{ "compression=kNoCompression;bottommost_compression=kZSTD",
	  "compression_per_level=kNoCompression:kNoCompression:"
	  "kNoCompression:kNoCompression:kNoCompression:kNoCompression:"
	  "kZSTD\n" },
	{ "compression=kLZ4Compression",
	  "compression_per_level=kSnappyCompression:kSnappyCompression:"
	  "kSnappyCompression:kSnappyCompression:kSnappyCompression:kZSTD:"
	  "kZSTD\n" },
};

START_TEST(compression_is_what_the_store_says)
{
	make_dir();
	make_theirs(compressions[_i].settings);
	fill_ours();
	ck_assert_msg(options_say(compressions[_i].line), "%s",
		      compressions[_i].settings);
	/* And once more from what cairn wrote. */
	fill_ours();
	ck_assert(options_say(compressions[_i].line));
	remove_dir();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rocksdb_options");
	TCase *t = tcase_create("options");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(
		t, prefix_seeks_of_both_use_the_filters_of_the_other, 0,
		(int)(sizeof(extractors) / sizeof(extractors[0])));
	tcase_add_loop_test(
		t, compression_is_what_the_store_says, 0,
		(int)(sizeof(compressions) / sizeof(compressions[0])));
	suite_add_tcase(s, t);
	return run_suite(s);
}
