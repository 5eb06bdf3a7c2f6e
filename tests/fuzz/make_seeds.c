/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * make_seeds DIRECTORY: takes the golden directories apart into inputs of the
 * fuzz targets, DIRECTORY/TARGET/NAME, and takes files of bbolt as they are.
 * Contents that are there already, under whatever name, are written once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/table/block.h"
#include "engine/table/block_reader.h"
#include "engine/table/filter.h"
#include "engine/table/index.h"
#include "engine/table/props_block.h"
#include "engine/version/filename.h"
#include "engine/wal/reader.h"
#include "tests/fuzz/bytes.h"
#include "tests/support/golden.h"

#define BLOCKS_PER_TABLE 3
#define RECORDS_PER_LOG  4
#define TABLE_LEN_MAX    ((size_t)32 << 10)
#define FOOTER_CHECKSUM  FOOTER_LEN /* from the end of the file */

static const char *out_dir;

/* One file of a golden directory. */
struct maker {
	const char *file;
	struct cairn_slice bytes;
};

static void die(const char *what)
{
	fprintf(stderr, "make_seeds: %s: %s\n", what,
		errno ? strerror(errno) : cairn_errmsg());
	exit(EXIT_FAILURE);
}

/* The name is the hash of the contents, so that equal ones are one file. */
static void put(const char *target, struct cairn_slice head,
		struct cairn_slice body)
{
	struct buf all = { 0 };
	char path[4096];
	FILE *f;

	if (buf_append(&all, head.data, head.len) ||
	    buf_append(&all, body.data, body.len))
		die(target);
	snprintf(path, sizeof(path), "%s/%s", out_dir, target);
	if (mkdir(path, 0777) && errno != EEXIST)
		die(path);
	snprintf(path, sizeof(path), "%s/%s/%016llx", out_dir, target,
		 (unsigned long long)hash64(all.data, all.len));
	f = fopen(path, "wb");
	if (!f || fwrite(all.data, 1, all.len, f) != all.len || fclose(f))
		die(path);
	buf_fini(&all);
}

static void put_flagged(const char *target, uint8_t flags,
			struct cairn_slice body)
{
	put(target, slice_of(&flags, 1), body);
}

/* ------------------------------------------------------------------ tables */

struct parts {
	struct block_source source;
	struct bytes_file file;
	struct footer footer;
	struct block_dict *dict;
	struct buf dict_bytes;
	bool user_keys;
	bool delta;
	enum table_index_type type;
	bool has_filter_index;
	struct block_handle filter_index;
};

/* The contents of a block, to be freed. false: it cannot be read. */
static bool contents(struct parts *p, struct block_handle h, bool is_data,
		     void **memory, struct cairn_slice *out)
{
	size_t len;

	if (block_read(&p->source, h, NULL, is_data ? p->dict : NULL, 0, memory,
		       &len))
		return false;
	*out = slice_of(*memory, len);
	return true;
}

static void put_stored(struct parts *p, struct block_handle h)
{
	struct cairn_slice dict = buf_slice(&p->dict_bytes);
	struct stored_block st;
	uint8_t *scratch = malloc((size_t)h.size + BLOCK_TRAILER_LEN);
	uint8_t head[3 + 255] = { 0 };

	if (!scratch)
		die("malloc");
	if (block_read_stored(&p->source, h, NULL, scratch, &st) == CAIRN_OK &&
	    st.codec) {
		head[0] = st.codec;
		head[1] = (uint8_t)p->footer.version;
		if (dict.len > 255)
			dict.len = 255;
		head[2] = (uint8_t)dict.len;
		if (dict.len)
			memcpy(head + 3, dict.data, dict.len);
		put("decompress", slice_of(head, 3 + dict.len), st.bytes);
	}
	free(scratch);
}

static uint8_t index_flags(const struct parts *p)
{
	return (uint8_t)((p->user_keys ? 1 : 0) | (p->delta ? 2 : 0) |
			 (p->type == TABLE_INDEX_FIRST_KEY ? 4 : 0));
}

/* The handles in an index block, at most BLOCKS_PER_TABLE of them. */
static size_t handles(struct parts *p, struct cairn_slice block,
		      struct block_handle *out)
{
	struct index_format f = {
		.user_keys = p->user_keys,
		.delta = p->delta,
		.first_key = p->type == TABLE_INDEX_FIRST_KEY,
		.file_len = p->source.file_len,
	};
	struct index ix = { 0 };
	size_t n;

	if (index_decode(block, &f, &ix))
		return 0;
	n = ix.n < BLOCKS_PER_TABLE ? ix.n : BLOCKS_PER_TABLE;
	for (size_t i = 0; i < n; i++)
		out[i] = index_handle(&ix, (uint32_t)i);
	index_fini(&ix);
	return n;
}

static void take_data(struct parts *p, struct block_handle h)
{
	struct cairn_slice block;
	void *memory;

	put_stored(p, h);
	if (!contents(p, h, true, &memory, &block))
		return;
	put("block", slice_of(NULL, 0), block);
	free(memory);
}

static void take_filter(struct parts *p, struct block_handle h)
{
	struct cairn_slice block;
	void *memory;

	if (!contents(p, h, false, &memory, &block))
		return;
	put("filter", slice_of(NULL, 0), block);
	free(memory);
}

/* An index and what its entries name: depth 1 data or filters, 2 indexes. */
static void take_index(struct parts *p, struct block_handle h, int depth,
		       void (*leaf)(struct parts *p, struct block_handle h))
{
	struct block_handle h2[BLOCKS_PER_TABLE];
	struct cairn_slice block;
	void *memory;
	size_t n;

	if (!contents(p, h, false, &memory, &block))
		return;
	put_flagged("index", index_flags(p), block);
	n = handles(p, block, h2);
	for (size_t i = 0; i < n; i++) {
		if (depth > 1)
			take_index(p, h2[i], depth - 1, leaf);
		else
			leaf(p, h2[i]);
	}
	free(memory);
}

static void take_props(struct parts *p, struct cairn_slice block)
{
	struct table_props props;

	put("props", slice_of(NULL, 0), block);
	if (table_props_decode(block, &props))
		return;
	p->user_keys = props.index_key_is_user_key;
	p->delta = props.index_value_is_delta;
	p->type = props.index_type;
	table_props_fini(&props);
}

static void take_meta(struct parts *p, struct cairn_slice name,
		      struct block_handle h)
{
	struct cairn_slice block;
	void *memory;

	if (slice_eq(name, slice_str(FILTER_FULL_KEY)))
		take_filter(p, h);
	if (slice_eq(name, slice_str(FILTER_PARTITIONED_KEY))) {
		p->has_filter_index = true;
		p->filter_index = h;
	}
	if (!contents(p, h, false, &memory, &block))
		return;
	if (slice_eq(name, slice_str("rocksdb.properties")))
		take_props(p, block);
	if (slice_eq(name, slice_str("rocksdb.range_del"))) {
		put("block", slice_of(NULL, 0), block);
		put("range_del", slice_of(NULL, 0), block);
	}
	if (slice_eq(name, slice_str("rocksdb.compression_dict")) &&
	    block.len) {
		if (buf_set(&p->dict_bytes, block) ||
		    block_dict_new(block, &p->dict))
			die("dictionary");
	}
	free(memory);
}

static void take_metas(struct parts *p)
{
	struct block_cursor c = { 0 };
	struct cairn_slice block;
	void *memory;

	if (!contents(p, p->footer.metaindex, false, &memory, &block))
		return;
	put("block", slice_of(NULL, 0), block);
	if (block_cursor_init(&c, block, false) == CAIRN_OK) {
		while (block_cursor_next(&c, NULL) == CAIRN_OK) {
			struct cairn_slice value = c.value;
			struct block_handle h;

			if (block_handle_decode(&value, p->source.file_len,
						&h) == CAIRN_OK)
				take_meta(p, buf_slice(&c.key), h);
		}
	}
	block_cursor_fini(&c);
	free(memory);
}

/* The whole table, once as it is and once without checksums. */
static void put_table(const struct parts *p, struct cairn_slice bytes)
{
	struct buf copy = { 0 };

	if (bytes.len > TABLE_LEN_MAX)
		return;
	put("table", slice_of(NULL, 0), bytes);
	if (!p->footer.version)
		return;
	if (buf_set(&copy, bytes))
		die("table");
	copy.data[copy.len - FOOTER_CHECKSUM] = TABLE_CHECKSUM_NONE;
	put("table", slice_of(NULL, 0), buf_slice(&copy));
	buf_fini(&copy);
}

static void take_table(const struct maker *m)
{
	size_t tail = m->bytes.len < FOOTER_LEN ? m->bytes.len : FOOTER_LEN;
	struct parts p = { .file = bytes_file_of(m->bytes) };
	struct cairn_slice end =
		slice_of(m->bytes.data + m->bytes.len - tail, tail);
	uint8_t len[8];

	put_le64(len, m->bytes.len);
	put("footer", slice_of(len, sizeof(len)), end);
	if (footer_decode(end, m->bytes.len, &p.footer))
		return;
	p.source = (struct block_source){
		.file = &p.file.base,
		.path = m->file,
		.file_len = m->bytes.len - p.footer.len,
		.checksum = p.footer.checksum,
		.version = (uint8_t)p.footer.version,
	};
	put_table(&p, m->bytes);
	take_metas(&p);
	take_index(&p, p.footer.index, p.type == TABLE_INDEX_TWO_LEVEL ? 2 : 1,
		   take_data);
	if (p.has_filter_index)
		take_index(&p, p.filter_index, 1, take_filter);
	block_dict_free(p.dict);
	buf_fini(&p.dict_bytes);
}

/* -------------------------------------------------------------- the others */

static void take_log(const struct maker *m, uint64_t number, const char *target,
		     const char *records)
{
	struct bytes_file f = bytes_file_of(m->bytes);
	struct cairn_slice record;
	struct log_reader *r;

	put_flagged(target, 0, m->bytes);
	put_flagged(target, 1, m->bytes);
	if (log_reader_new(&f.base, m->file, number, &r))
		die(m->file);
	for (int i = 0;
	     i < RECORDS_PER_LOG && log_reader_next(r, &record) == CAIRN_OK;
	     i++)
		put(records, slice_of(NULL, 0), record);
	log_reader_free(r);
}

static void take_file(const struct maker *m)
{
	uint64_t number;
	enum file_kind kind = filename_parse(m->file, &number);

	if (kind == FILE_TABLE || kind == FILE_TABLE_LDB)
		take_table(m);
	else if (kind == FILE_WAL)
		take_log(m, number, "wal", "batch");
	else if (kind == FILE_MANIFEST)
		take_log(m, 0, "manifest", "edit");
	else if (kind == FILE_OPTIONS)
		put("options", slice_of(NULL, 0), m->bytes);
}

static void take_bbolt(const char *name)
{
	const char *srcdir = getenv("srcdir");
	struct buf bytes = { 0 };
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/data/bbolt/%s",
		 srcdir ? srcdir : "..", name);
	if (env_read_file(env_posix(), path, 1 << 20, &bytes))
		die(path);
	put_flagged("bbolt", 0, buf_slice(&bytes));
	put_flagged("bbolt", 1, buf_slice(&bytes));
	buf_fini(&bytes);
}

int main(int argc, char **argv)
{
	struct env_names names;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	out_dir = argv[1];
	if (mkdir(out_dir, 0777) && errno != EEXIST)
		die(out_dir);
	golden_names(&names);
	for (size_t i = 0; i < names.n; i++) {
		struct golden g;

		golden_load(names.names[i], &g);
		for (size_t k = 0; k < g.n; k++) {
			struct maker m = {
				.file = g.files[k].name,
				.bytes = buf_slice(&g.files[k].bytes),
			};

			take_file(&m);
		}
		golden_fini(&g);
	}
	env_names_free(&names);
	take_bbolt("empty.db");
	take_bbolt("small.db");
	return 0;
}
