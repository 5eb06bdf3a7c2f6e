/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program of RocksDB's on a revision store of ours:
 *
 *     rocksdb_touch DIR MAIN KEY VALUE
 *
 * Opens DIR read-write with paranoid checks, reads every key by scan, gets each
 * by point lookup with bloom filters in use and compares, asks for as many keys
 * that are absent, then writes what revision MAIN of KEY would be, flushes,
 * compacts and closes. Prints how many keys it got.
 */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

#include "mvcc/encode.h"

static void die(const char *what, const char *err)
{
	fprintf(stderr, "rocksdb_touch: %s: %s\n", what, err);
	exit(1);
}

static rocksdb_t *open_db(const char *dir, rocksdb_options_t **opts)
{
	rocksdb_block_based_table_options_t *t =
		rocksdb_block_based_options_create();
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_t *db;
	char *err = NULL;

	rocksdb_options_set_paranoid_checks(o, 1);
	/* The policy only has to be there for filters to be read. */
	rocksdb_block_based_options_set_filter_policy(
		t, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_options_enable_statistics(o);
	db = rocksdb_open(o, dir, &err);
	if (err)
		die("open", err);
	rocksdb_block_based_options_destroy(t);
	*opts = o;
	return db;
}

/* Point lookup of each key that a scan finds, and of one that is not there. */
static unsigned long get_every_key(rocksdb_t *db)
{
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	rocksdb_iterator_t *it = rocksdb_create_iterator(db, ro);
	unsigned long n = 0;
	char *err = NULL;

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it);
	     rocksdb_iter_next(it)) {
		size_t klen, vlen, got;
		const char *k = rocksdb_iter_key(it, &klen);
		const char *v = rocksdb_iter_value(it, &vlen);
		char absent[65600];
		char *value = rocksdb_get(db, ro, k, klen, &got, &err);

		if (err)
			die("get", err);
		if (!value || got != vlen || memcmp(value, v, vlen) != 0)
			die("get", "a key that the scan shows is not found");
		rocksdb_free(value);
		memcpy(absent, k, klen);
		absent[klen] = 1;
		value = rocksdb_get(db, ro, absent, klen + 1, &got, &err);
		if (err || value)
			die("get", err ? err : "an absent key is found");
		n++;
	}
	rocksdb_iter_get_error(it, &err);
	if (err)
		die("scan", err);
	rocksdb_iter_destroy(it);
	rocksdb_readoptions_destroy(ro);
	return n;
}

static void put(rocksdb_writebatch_t *b, const struct buf *k,
		const struct buf *v)
{
	rocksdb_writebatch_put(b, (const char *)k->data, k->len,
			       (const char *)v->data, v->len);
}

/* What mvcc_put() would write: the row and its log entry. */
static void write_revision(rocksdb_t *db, int64_t main_rev, const char *key,
			   const char *value)
{
	struct mvcc_row row = {
		.key = slice_str(key),
		.main = main_rev,
		.create_rev = main_rev,
		.version = 1,
		.time_ns = INT64_C(1700000000000000000),
		.value = slice_str(value),
	};
	rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	struct buf k = { 0 }, v = { 0 };
	char *err = NULL;

	row.size = row.value.len;
	if (enc_row_key(&k, row.key, main_rev, 0) ||
	    enc_row_value(&v, &row, slice_of(NULL, 0)))
		die("encode", cairn_errmsg());
	put(b, &k, &v);
	if (enc_log_key(&k, main_rev, 0) || enc_log_value(&v, false, row.key))
		die("encode", cairn_errmsg());
	put(b, &k, &v);
	rocksdb_write(db, wo, b, &err);
	if (err)
		die("write", err);
	rocksdb_writebatch_destroy(b);
	rocksdb_writeoptions_destroy(wo);
	buf_fini(&k);
	buf_fini(&v);
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

int main(int argc, char **argv)
{
	rocksdb_flushoptions_t *fo = rocksdb_flushoptions_create();
	rocksdb_options_t *opts;
	rocksdb_t *db;
	unsigned long n, useful;
	char *err = NULL;

	if (argc != 5)
		die("usage", "rocksdb_touch DIR MAIN KEY VALUE");
	db = open_db(argv[1], &opts);
	n = get_every_key(db);
	useful = ticker(opts, "rocksdb.bloom.filter.useful");
	write_revision(db, atoll(argv[2]), argv[3], argv[4]);
	rocksdb_flush(db, fo, &err);
	if (err)
		die("flush", err);
	rocksdb_compact_range(db, NULL, 0, NULL, 0);
	if (get_every_key(db) != n + 2)
		die("get", "compaction lost or added a key");
	printf("%lu keys, %lu absent ones told by filters\n", n, useful);
	rocksdb_close(db);
	rocksdb_options_destroy(opts);
	rocksdb_flushoptions_destroy(fo);
	return 0;
}
