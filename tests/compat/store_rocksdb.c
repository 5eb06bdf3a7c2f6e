/* SPDX-License-Identifier: BSD-3-Clause */
#include <rocksdb/c.h>
#include <stdlib.h>

#include "tests/compat/die.h"
#include "tests/compat/store.h"

struct theirs {
	struct store base;
	rocksdb_t *db;
	rocksdb_options_t *opts;
	rocksdb_readoptions_t *ro;
	rocksdb_writeoptions_t *wo[3]; /* by enum write_mode */
	rocksdb_flushoptions_t *fo;
};

struct their_cursor {
	struct cursor base;
	rocksdb_readoptions_t *ro;
	rocksdb_iterator_t *it;
};

static void check(char *err, const char *what)
{
	if (err)
		die("RocksDB: %s: %s", what, err);
}

static const char *chars(struct cairn_slice s)
{
	return s.data ? (const char *)s.data : "";
}

static struct cairn_slice slice_of_chars(const char *data, size_t len)
{
	return slice_of(data, len);
}

/* --------------------------------------------------------------- opening */

/* What never varies: RocksDB is to object to whatever it can object to, and
 * to start no threads of its own for statistics. */
#define ALWAYS                                                                 \
	"create_if_missing=true;paranoid_checks=true;"                         \
	"force_consistency_checks=true;keep_log_file_num=2;"                   \
	"info_log_level=WARN_LEVEL;stats_dump_period_sec=0;"                   \
	"stats_persist_period_sec=0;arena_block_size=4096;"

/* What this build of cairn can read, and what it writes itself most often. */
#define CODECS                                                                 \
	"kNoCompression|kSnappyCompression|kSnappyCompression|kZSTD|kZSTD"
#ifdef HAVE_LZ4
#define LZ4_CODECS "|kLZ4Compression|kLZ4HCCompression"
#else
#define LZ4_CODECS
#endif
#ifdef HAVE_ZLIB
#define ZLIB_CODECS "|kZlibCompression"
#else
#define ZLIB_CODECS
#endif
#ifdef HAVE_BZIP2
#define BZIP2_CODECS "|kBZip2Compression"
#else
#define BZIP2_CODECS
#endif

static const struct choice choices[] = {
	{ "paranoid_file_checks", "true|false" },
	{ "write_buffer_size", "65536|65536|131072|524288" },
	{ "target_file_size_base", "4096|16384|65536|262144" },
	{ "target_file_size_multiplier", "1|2" },
	{ "max_bytes_for_level_base", "16384|65536|262144" },
	{ "max_bytes_for_level_multiplier", "2|4|10" },
	{ "level0_file_num_compaction_trigger", "1|2|4|8" },
	{ "level_compaction_dynamic_level_bytes", "true|false" },
	{ "disable_auto_compactions", "false|false|false|false|true" },
	{ "compaction_style",
	  "kCompactionStyleLevel|kCompactionStyleLevel|kCompactionStyleLevel|"
	  "kCompactionStyleLevel|kCompactionStyleLevel|"
	  "kCompactionStyleUniversal" },
	{ "max_background_jobs", "1|2|4" },
	{ "max_subcompactions", "1|3" },
	{ "recycle_log_file_num", "0|0|2" },
	{ "avoid_flush_during_recovery", "true|false" },
	{ "max_manifest_file_size", "1000|16384|1073741824" },
	{ "enable_pipelined_write", "true|false" },
	{ "max_successive_merges", "0|0|3" },
	{ "optimize_filters_for_hits", "false|false|true" },
	{ "max_open_files", "-1|20" },
};

static const struct choice table_choices[] = {
	{ "format_version", "0|1|2|3|4|4|5|5|5" },
	{ "checksum", "kCRC32c|kxxHash|kxxHash64|kXXH3|kXXH3" },
	{ "metadata_block_size", "128|4096" },
	{ "filter_policy",
	  "nullptr|bloomfilter:10|bloomfilter:10|bloomfilter:3|ribbonfilter:10|"
	  "ribbonfilter:10" },
	{ "block_size", "64|256|1024|4096|16384" },
	{ "block_restart_interval", "1|2|16|16" },
	{ "data_block_index_type",
	  "kDataBlockBinarySearch|kDataBlockBinaryAndHash" },
	{ "enable_index_compression", "true|false" },
	{ "index_shortening",
	  "kNoShortening|kShortenSeparators|kShortenSeparatorsAndSuccessor" },
	{ "cache_index_and_filter_blocks", "false|true" },
};

static void add_choices(struct theirs *s, struct rng *rng,
			const struct choice *c, size_t n)
{
	char value[256];

	for (size_t i = 0; i < n; i++) {
		draw(rng, c[i].values, value);
		settings_add(&s->base, "%s=%s;", c[i].name, value);
	}
}

/* Those that do not go with all others. */
static void add_dependent(struct theirs *s, struct rng *rng, char *index)
{
	char codec[128], prefix[64];

	draw(rng,
	     "nullptr|nullptr|nullptr|rocksdb.FixedPrefix.4|"
	     "rocksdb.CappedPrefix.6",
	     prefix);
	draw(rng,
	     "kBinarySearch|kBinarySearch|kBinarySearchWithFirstKey|"
	     "kTwoLevelIndexSearch|kTwoLevelIndexSearch|kHashSearch",
	     index);
	/* The hash index wants a prefix of every key; a fixed one has none of
	 * short keys, and RocksDB trips over an assertion of its own. */
	if (strcmp(index, "kHashSearch") == 0)
		strcpy(prefix, "rocksdb.CappedPrefix.6");
	settings_add(&s->base, "prefix_extractor=%s;", prefix);
	draw(rng, CODECS LZ4_CODECS ZLIB_CODECS BZIP2_CODECS, codec);
	settings_add(&s->base, "compression=%s;", codec);
	if (strcmp(codec, "kZSTD") == 0 && rng_one_in(rng, 2))
		settings_add(&s->base,
			     "compression_opts={max_dict_bytes=2048;"
			     "zstd_max_train_bytes=%d};",
			     rng_one_in(rng, 2) ? 16384 : 0);
	if (rng_one_in(rng, 4))
		settings_add(&s->base, "bottommost_compression=kZSTD;");
}

static void draw_settings(struct theirs *s, struct rng *rng)
{
	char index[64];

	add_choices(s, rng, choices, sizeof(choices) / sizeof(choices[0]));
	add_dependent(s, rng, index);
	settings_add(&s->base, "block_based_table_factory={index_type=%s;",
		     index);
	if (strcmp(index, "kTwoLevelIndexSearch") == 0)
		settings_add(&s->base, "partition_filters=%s;",
			     rng_one_in(rng, 3) ? "false" : "true");
	if (strcmp(index, "kHashSearch") != 0 && rng_one_in(rng, 3))
		settings_add(&s->base, "index_block_restart_interval=8;");
	add_choices(s, rng, table_choices,
		    sizeof(table_choices) / sizeof(table_choices[0]));
	settings_add(&s->base, "whole_key_filtering=%s};",
		     rng_one_in(rng, 4) ? "false" : "true");
}

static struct store *theirs_open(const char *dir, const struct wish *w)
{
	struct theirs *s = must_have(calloc(1, sizeof(*s)));
	rocksdb_options_t *defaults = rocksdb_options_create();
	char *err = NULL;

	s->base.ops = &rocksdb_store;
	s->opts = rocksdb_options_create();
	settings_add(&s->base, ALWAYS);
	if (w->merge)
		settings_add(&s->base, "merge_operator=%s;", w->merge);
	/* There must be a filter policy for filters to be read. */
	if (w->rng)
		draw_settings(s, w->rng);
	else
		settings_add(&s->base, "block_based_table_factory={"
				       "filter_policy=bloomfilter:10};");
	/* To split a job among threads it looks into the properties of each
	 * table, and follows a null pointer where LevelDB wrote none. */
	if (w->upgraded)
		settings_add(&s->base, "max_subcompactions=1;");
	rocksdb_get_options_from_string(defaults, s->base.settings, s->opts,
					&err);
	check(err, s->base.settings);
	rocksdb_options_destroy(defaults);
	if (w->read_only)
		s->db = rocksdb_open_for_read_only(s->opts, dir, 0, &err);
	else
		s->db = rocksdb_open(s->opts, dir, &err);
	check(err, "open");
	s->ro = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(s->ro, 1);
	for (int i = 0; i < 3; i++)
		s->wo[i] = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(s->wo[WRITE_SYNCED], 1);
	rocksdb_writeoptions_disable_WAL(s->wo[WRITE_UNLOGGED], 1);
	s->fo = rocksdb_flushoptions_create();
	return &s->base;
}

static void theirs_close(struct store *base)
{
	struct theirs *s = (struct theirs *)base;

	rocksdb_close(s->db);
	rocksdb_options_destroy(s->opts);
	rocksdb_readoptions_destroy(s->ro);
	for (int i = 0; i < 3; i++)
		rocksdb_writeoptions_destroy(s->wo[i]);
	rocksdb_flushoptions_destroy(s->fo);
	free(s);
}

/* ---------------------------------------------------------------- writes */

static void put(rocksdb_writebatch_t *b, const struct change *c)
{
	rocksdb_writebatch_put(b, chars(c->key), c->key.len, chars(c->value),
			       c->value.len);
}

static void del(rocksdb_writebatch_t *b, const struct change *c)
{
	rocksdb_writebatch_delete(b, chars(c->key), c->key.len);
}

static void delete_range(rocksdb_writebatch_t *b, const struct change *c)
{
	rocksdb_writebatch_delete_range(b, chars(c->key), c->key.len,
					chars(c->value), c->value.len);
}

static void single_delete(rocksdb_writebatch_t *b, const struct change *c)
{
	rocksdb_writebatch_singledelete(b, chars(c->key), c->key.len);
}

static void merge(rocksdb_writebatch_t *b, const struct change *c)
{
	rocksdb_writebatch_merge(b, chars(c->key), c->key.len, chars(c->value),
				 c->value.len);
}

static void (*const kinds[N_CHANGE_KINDS])(rocksdb_writebatch_t *b,
					   const struct change *c) = {
	[CHANGE_PUT] = put,
	[CHANGE_DELETE] = del,
	[CHANGE_DELETE_RANGE] = delete_range,
	[CHANGE_SINGLE_DELETE] = single_delete,
	[CHANGE_MERGE] = merge,
};

static void theirs_write(struct store *base, const struct changes *c,
			 enum write_mode mode)
{
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	struct theirs *s = (struct theirs *)base;
	char *err = NULL;

	for (size_t i = 0; i < c->n; i++)
		kinds[c->v[i].kind](b, &c->v[i]);
	rocksdb_write(s->db, s->wo[mode], b, &err);
	check(err, "write");
	rocksdb_writebatch_destroy(b);
}

/* ----------------------------------------------------------------- reads */

static bool theirs_get(struct store *base, void *snapshot,
		       struct cairn_slice key, struct buf *value)
{
	struct theirs *s = (struct theirs *)base;
	char *err = NULL, *got;
	size_t len;

	rocksdb_readoptions_set_snapshot(s->ro, snapshot);
	got = rocksdb_get(s->db, s->ro, chars(key), key.len, &len, &err);
	check(err, "get");
	if (!got)
		return false;
	must(buf_set(value, slice_of_chars(got, len)), "get");
	rocksdb_free(got);
	return true;
}

static void seek_lt(rocksdb_iterator_t *it, struct cairn_slice key)
{
	const char *at;
	size_t len;

	rocksdb_iter_seek_for_prev(it, chars(key), key.len);
	if (!rocksdb_iter_valid(it))
		return;
	at = rocksdb_iter_key(it, &len);
	if (slice_eq(key, slice_of_chars(at, len)))
		rocksdb_iter_prev(it);
}

static bool their_cursor_move(struct cursor *base, enum move how,
			      struct cairn_slice key)
{
	struct their_cursor *c = (struct their_cursor *)base;
	char *err = NULL;
	const char *data;
	size_t len;

	switch (how) {
	case MOVE_FIRST:
		rocksdb_iter_seek_to_first(c->it);
		break;
	case MOVE_LAST:
		rocksdb_iter_seek_to_last(c->it);
		break;
	case MOVE_NEXT:
		rocksdb_iter_next(c->it);
		break;
	case MOVE_PREV:
		rocksdb_iter_prev(c->it);
		break;
	case MOVE_SEEK_GE:
		rocksdb_iter_seek(c->it, chars(key), key.len);
		break;
	case MOVE_SEEK_LT:
		seek_lt(c->it, key);
		break;
	case N_MOVES:
		die("no such move");
	}
	rocksdb_iter_get_error(c->it, &err);
	check(err, move_names[how]);
	if (!rocksdb_iter_valid(c->it))
		return false;
	data = rocksdb_iter_key(c->it, &len);
	base->key = slice_of_chars(data, len);
	data = rocksdb_iter_value(c->it, &len);
	base->value = slice_of_chars(data, len);
	return true;
}

static void their_cursor_free(struct cursor *base)
{
	struct their_cursor *c = (struct their_cursor *)base;

	rocksdb_iter_destroy(c->it);
	rocksdb_readoptions_destroy(c->ro);
	free(c);
}

static struct cursor *theirs_cursor(struct store *base, void *snapshot,
				    const struct bounds *b)
{
	struct their_cursor *c = must_have(calloc(1, sizeof(*c)));
	struct theirs *s = (struct theirs *)base;

	c->base.move = their_cursor_move;
	c->base.free = their_cursor_free;
	c->ro = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(c->ro, 1);
	/* Prefix filters are for seeks that ask for them. */
	rocksdb_readoptions_set_total_order_seek(c->ro, 1);
	rocksdb_readoptions_set_snapshot(c->ro, snapshot);
	if (b && b->lower.data)
		rocksdb_readoptions_set_iterate_lower_bound(
			c->ro, chars(b->lower), b->lower.len);
	if (b && b->upper.data)
		rocksdb_readoptions_set_iterate_upper_bound(
			c->ro, chars(b->upper), b->upper.len);
	c->it = rocksdb_create_iterator(s->db, c->ro);
	return &c->base;
}

static void *theirs_snapshot(struct store *base)
{
	const rocksdb_snapshot_t *snap =
		rocksdb_create_snapshot(((struct theirs *)base)->db);

	return must_have((void *)(uintptr_t)snap);
}

static void theirs_release(struct store *base, void *snapshot)
{
	rocksdb_release_snapshot(((struct theirs *)base)->db, snapshot);
}

/* ---------------------------------------------------------------- upkeep */

static void theirs_flush(struct store *base)
{
	struct theirs *s = (struct theirs *)base;
	char *err = NULL;

	rocksdb_flush(s->db, s->fo, &err);
	check(err, "flush");
}

static void theirs_compact(struct store *base, const struct bounds *b)
{
	struct theirs *s = (struct theirs *)base;
	static const struct bounds all;

	b = b ? b : &all;
	rocksdb_compact_range(s->db, (const char *)b->lower.data, b->lower.len,
			      (const char *)b->upper.data, b->upper.len);
}

/* Scans verify what they read; the C interface has no more than that. */
static void theirs_verify(struct store *base)
{
	(void)base;
}

static void theirs_checkpoint(struct store *base, const char *dir)
{
	struct theirs *s = (struct theirs *)base;
	rocksdb_checkpoint_t *c;
	char *err = NULL;

	c = rocksdb_checkpoint_object_create(s->db, &err);
	check(err, "checkpoint");
	/* Logs of less than this are copied, not flushed. */
	rocksdb_checkpoint_create(c, dir, 1 << 20, &err);
	check(err, "checkpoint");
	rocksdb_checkpoint_object_destroy(c);
}

/* ------------------------------------------------------- external tables */

static void sst_put(rocksdb_sstfilewriter_t *w, const struct change *c,
		    char **err)
{
	rocksdb_sstfilewriter_put(w, chars(c->key), c->key.len, chars(c->value),
				  c->value.len, err);
}

static void sst_delete(rocksdb_sstfilewriter_t *w, const struct change *c,
		       char **err)
{
	rocksdb_sstfilewriter_delete(w, chars(c->key), c->key.len, err);
}

static void sst_delete_range(rocksdb_sstfilewriter_t *w, const struct change *c,
			     char **err)
{
	rocksdb_sstfilewriter_delete_range(w, chars(c->key), c->key.len,
					   chars(c->value), c->value.len, err);
}

static void sst_merge(rocksdb_sstfilewriter_t *w, const struct change *c,
		      char **err)
{
	rocksdb_sstfilewriter_merge(w, chars(c->key), c->key.len,
				    chars(c->value), c->value.len, err);
}

static void (*const table_kinds[N_CHANGE_KINDS])(rocksdb_sstfilewriter_t *w,
						 const struct change *c,
						 char **err) = {
	[CHANGE_PUT] = sst_put,
	[CHANGE_DELETE] = sst_delete,
	[CHANGE_DELETE_RANGE] = sst_delete_range,
	[CHANGE_MERGE] = sst_merge,
};

static void theirs_table(struct store *base, const char *path,
			 const struct changes *c)
{
	rocksdb_envoptions_t *eo = rocksdb_envoptions_create();
	struct theirs *s = (struct theirs *)base;
	rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(eo, s->opts);
	char *err = NULL;

	rocksdb_sstfilewriter_open(w, path, &err);
	check(err, "table");
	for (size_t i = 0; i < c->n; i++) {
		table_kinds[c->v[i].kind](w, &c->v[i], &err);
		check(err, "table");
	}
	rocksdb_sstfilewriter_finish(w, &err);
	check(err, "table");
	rocksdb_sstfilewriter_destroy(w);
	rocksdb_envoptions_destroy(eo);
}

static void theirs_ingest(struct store *base, const char *const *paths,
			  size_t n, bool move)
{
	rocksdb_ingestexternalfileoptions_t *io =
		rocksdb_ingestexternalfileoptions_create();
	struct theirs *s = (struct theirs *)base;
	char *err = NULL;

	rocksdb_ingestexternalfileoptions_set_move_files(io, move);
	rocksdb_ingest_external_file(s->db, paths, n, io, &err);
	check(err, "ingest");
	rocksdb_ingestexternalfileoptions_destroy(io);
}

const struct store_ops rocksdb_store = {
	.name = "RocksDB",
	.kinds = (1u << N_CHANGE_KINDS) - 1,
	.open = theirs_open,
	.close = theirs_close,
	.write = theirs_write,
	.get = theirs_get,
	.cursor = theirs_cursor,
	.snapshot = theirs_snapshot,
	.release = theirs_release,
	.flush = theirs_flush,
	.compact = theirs_compact,
	.verify = theirs_verify,
	.checkpoint = theirs_checkpoint,
	.table = theirs_table,
	.ingest = theirs_ingest,
};
