/* SPDX-License-Identifier: BSD-3-Clause */
/* Making tables in memory, for the tests of tables. */
#ifndef CAIRN_TESTS_ENGINE_TABLE_TABLE_SUPPORT_H
#define CAIRN_TESTS_ENGINE_TABLE_TABLE_SUPPORT_H

#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/table/block_builder.h"
#include "engine/table/format.h"
#include "engine/table/props_block.h"
#include "engine/table/table_priv.h"
#include "engine/table/table_writer.h"
#include "tests/support/bytes_file.h"
#include "tests/support/vector_iter.h"

static const struct table_write_options plain_options = {
	.block_size = 4096,
	.restart_interval = 16,
	.codec = TABLE_CODEC_NONE,
	.zstd_level = 1,
	.bloom_bits_per_key = 10,
	.creation_time = 1700000000,
};

static inline size_t capped2(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len < 2 ? key.len : 2;
}

static inline size_t fixed2(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len < 2 ? SIZE_MAX : 2;
}

static const struct cairn_prefix_extractor px_capped = {
	"rocksdb.CappedPrefix.2", NULL, capped2
};
static const struct cairn_prefix_extractor px_fixed = { "rocksdb.FixedPrefix.2",
							NULL, fixed2 };

/* A table with the entries of v, which are sorted. */
static inline void write_table(const struct vector *v,
			       const struct table_write_options *o,
			       struct buf *out, struct table_summary *summary)
{
	struct bytes_wfile f;
	struct table_writer *w;
	struct table_summary s;

	bytes_wfile_init(&f);
	ck_assert(!table_writer_new(&f.base, "new.sst", o, &w));
	for (size_t i = 0; i < v->n; i++)
		ck_assert(!table_writer_add(w, &v->entries[i].key,
					    v->entries[i].value));
	ck_assert_uint_eq(table_writer_entries(w), v->n);
	ck_assert(!table_writer_finish(w, &s));
	ck_assert_uint_eq(s.size, f.bytes.len);
	ck_assert_uint_eq(table_writer_size(w) >= s.size, 1);
	table_writer_free(w);
	ck_assert(!buf_set(out, buf_slice(&f.bytes)));
	ck_assert(!wfile_close(&f.base));
	if (summary)
		*summary = s;
	else
		table_summary_fini(&s);
}

static inline int open_bytes(struct cairn_slice bytes, uint64_t number,
			     const struct table_read_options *o,
			     struct table **out)
{
	return table_open(bytes_rfile_new(bytes, NULL), "test.sst", number,
			  bytes.len, o, out);
}

/* Entries key00000 and so on, seqnos from 1. */
static inline void numbered(struct vector *v, size_t n, size_t value_len)
{
	uint8_t *value = calloc(1, value_len + 1);

	ck_assert_ptr_nonnull(value);
	for (size_t i = 0; i < n; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key%05zu", i);
		memset(value, (int)('a' + i % 26), value_len);
		vector_add(v, slice_str(key), i + 1, KIND_PUT,
			   slice_of(value, value_len));
	}
	free(value);
}

/* ------------------------------- tables that others would write */

/* What replaces the meta blocks of a table. */
struct meta {
	void (*edit)(struct table_props *p); /* may be NULL */
	const char *extra;                   /* another metaindex entry */
	const char *extra_block;
	size_t extra_len;
	uint64_t patch_seqno; /* into the properties, checksum unchanged */
};

static inline void put_block(struct buf *out, struct cairn_slice bytes,
			     struct block_handle *h)
{
	uint8_t trailer[BLOCK_TRAILER_LEN];

	block_trailer_encode(0, bytes.data, bytes.len, trailer);
	*h = (struct block_handle){ out->len, bytes.len };
	ck_assert(!buf_append(out, bytes.data, bytes.len));
	ck_assert(!buf_append(out, trailer, sizeof(trailer)));
}

static inline void add_handle(struct block_builder *b, const char *name,
			      struct block_handle h)
{
	uint8_t value[BLOCK_HANDLE_MAX_LEN];
	uint8_t *end = block_handle_encode(value, h);

	ck_assert(!block_builder_add(b, slice_str(name), slice_of(NULL, 0),
				     slice_of(value, (size_t)(end - value))));
}

/* The table in bytes, without filter, its meta blocks as m wants them. */
static inline void rewrite_meta(struct buf *bytes, const struct meta *m)
{
	struct table_read_options ro = { 0 };
	struct block_handle props, extra, metaindex;
	struct block_builder b;
	struct cairn_slice contents;
	struct buf encoded = { 0 };
	uint8_t tail[FOOTER_LEN];
	struct footer footer;
	struct table *t;
	size_t at;

	ck_assert(!open_bytes(buf_slice(bytes), 1, &ro, &t));
	footer = t->footer;
	if (m->edit)
		m->edit(&t->props);
	ck_assert(!table_props_encode(&t->props, &encoded));
	table_close(t);
	/* Data and index stay where they are. */
	bytes->len =
		footer.index.offset + footer.index.size + BLOCK_TRAILER_LEN;
	put_block(bytes, buf_slice(&encoded), &props);
	if (m->patch_seqno) {
		uint8_t *p = bytes->data + props.offset;

		ck_assert(!props_find_global_seqno(
			slice_of(p, (size_t)props.size), &at));
		put_le64(p + at, m->patch_seqno);
	}
	block_builder_init(&b, 1);
	add_handle(&b, "rocksdb.properties", props);
	if (m->extra) {
		put_block(bytes, slice_of(m->extra_block, m->extra_len),
			  &extra);
		add_handle(&b, m->extra, extra);
	}
	ck_assert(!block_builder_finish(&b, &contents));
	put_block(bytes, contents, &metaindex);
	block_builder_fini(&b);
	footer.metaindex = metaindex;
	footer_encode(&footer, tail);
	ck_assert(!buf_append(bytes, tail, sizeof(tail)));
	buf_fini(&encoded);
}

#endif
