/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/table_writer.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/table/block_builder.h"
#include "engine/table/compress.h"
#include "engine/table/filter.h"
#include "engine/table/format.h"
#include "engine/table/index.h"
#include "engine/table/props_block.h"

/* Bytes gathered before they go to the file. */
#define BUFFER_LEN (256u << 10)
/* A block that is nine tenths full is closed when an entry does not fit. */
#define FULL_PARTS 9u
#define FULL_OF    10u
#define NO_NAME    "nullptr"
#define COMPARATOR "leveldb.BytewiseComparator"
/* Of external tables: from this one on they have a global sequence number. */
#define EXTERNAL_VERSION 2

_Static_assert((int)CAIRN_ENTRY_DELETE == (int)KIND_DELETE &&
		       (int)CAIRN_ENTRY_PUT == (int)KIND_PUT &&
		       (int)CAIRN_ENTRY_MERGE == (int)KIND_MERGE &&
		       (int)CAIRN_ENTRY_SINGLE_DELETE ==
			       (int)KIND_SINGLE_DELETE &&
		       (int)CAIRN_ENTRY_RANGE_DELETE == (int)KIND_RANGE_DELETE,
	       "public and private kinds are the same");
/* From so many on a block is one of tombstones, or when half of its bytes are
 * (Pebble's values). */
#define TOMBS_OF_BLOCK 100

struct table_writer {
	struct wfile *file;
	char *path;
	struct table_write_options opts;
	int failed; /* the first failure; nothing works after it */

	/* Of the file: offset is where the next block goes. */
	struct buf pending;
	uint64_t offset;
	uint64_t written;
	uint64_t hinted;

	struct block_builder data;
	struct compressor compressor;
	struct index_builder index;
	struct filter_builder filter;
	struct table_props props;
	void *collecting; /* the collector's state; NULL: nothing is collected
			   */
	unsigned tombs;   /* in the block being gathered, and bytes of them */
	size_t tomb_bytes;

	/* The last block, until the key that follows it is known. */
	bool has_closed;
	struct block_handle closed;

	struct buf first_key; /* internal keys */
	struct buf last_key;
	/* The range tombstones, the first one's key, the farthest end. */
	struct block_builder ranges;
	struct buf first_range;
	struct buf last_end; /* a user key */
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
};

static int set_name(char **to, const char *name)
{
	char *s = strdup(name);

	if (!s)
		return error_nomem();
	free(*to);
	*to = s;
	return CAIRN_OK;
}

static int set_collectors(struct table_props *p,
			  const struct cairn_table_collector *c)
{
	struct buf names = { 0 };
	int err = buf_printf(&names, "[%s]", c ? c->name : "");

	if (!err)
		err = buf_append(&names, "", 1);
	if (!err)
		err = set_name(&p->collectors, (const char *)names.data);
	buf_fini(&names);
	return err;
}

static int init_props(struct table_writer *w)
{
	struct table_props *p = &w->props;
	const struct cairn_prefix_extractor *px = w->opts.prefix;
	int err = table_props_init(p);

	if (!err)
		err = set_name(&p->comparator, COMPARATOR);
	if (!err)
		err = set_name(&p->compression, codec_property(w->opts.codec));
	if (!err)
		err = set_name(&p->merge_operator,
			       w->opts.merge_operator ? w->opts.merge_operator
						      : NO_NAME);
	if (!err)
		err = set_name(&p->prefix_extractor, px ? px->name : NO_NAME);
	if (!err && w->filter.millibits)
		err = set_name(&p->filter_policy, FILTER_POLICY_NAME);
	if (!err)
		err = set_collectors(p, w->opts.collector);
	p->index_type = TABLE_INDEX_BINARY;
	p->index_value_is_delta = true;
	p->whole_key_filtering = true;
	p->prefix_filtering = px != NULL;
	p->creation_time = w->opts.creation_time;
	p->file_creation_time = w->opts.creation_time;
	p->oldest_key_time = w->opts.creation_time;
	if (w->opts.external) {
		p->family_id = PROPS_FAMILY_UNKNOWN;
		p->has_external_version = true;
		p->external_version = EXTERNAL_VERSION;
		p->has_global_seqno = true;
	}
	return err;
}

int table_writer_new(struct wfile *f, const char *path,
		     const struct table_write_options *opts,
		     struct table_writer **out)
{
	struct table_writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return error_nomem();
	w->file = f;
	w->opts = *opts;
	w->smallest_seqno = SEQNO_MAX;
	block_builder_init(&w->data, opts->restart_interval);
	block_builder_init(&w->ranges, 1);
	filter_builder_init(&w->filter, opts->bloom_bits_per_key, opts->prefix);
	w->path = strdup(path);
	err = w->path ? init_props(w) : error_nomem();
	if (!err)
		err = compressor_init(&w->compressor, opts->codec,
				      opts->zstd_level);
	if (!err)
		err = buf_reserve(&w->pending, BUFFER_LEN);
	if (!err && opts->collector)
		w->collecting = opts->collector->begin(opts->collector->ctx);
	if (err)
		table_writer_free(w);
	else
		*out = w;
	return err;
}

void table_writer_free(struct table_writer *w)
{
	if (!w)
		return;
	if (w->collecting)
		w->opts.collector->end(w->collecting);
	buf_fini(&w->pending);
	block_builder_fini(&w->data);
	compressor_fini(&w->compressor);
	index_builder_fini(&w->index);
	filter_builder_fini(&w->filter);
	table_props_fini(&w->props);
	buf_fini(&w->first_key);
	buf_fini(&w->last_key);
	block_builder_fini(&w->ranges);
	buf_fini(&w->first_range);
	buf_fini(&w->last_end);
	free(w->path);
	free(w);
}

/* ---------------------------------------------------------------- output */

/* Hand what is pending to the file. */
static int flush_pending(struct table_writer *w)
{
	struct buf *b = &w->pending;
	int err;

	if (!b->len)
		return CAIRN_OK;
	err = wfile_append(w->file, b->data, b->len);
	if (err)
		return err;
	w->written += b->len;
	buf_clear(b);
	if (w->opts.bytes_per_sync &&
	    w->written - w->hinted >= w->opts.bytes_per_sync) {
		wfile_flush_hint(w->file, w->hinted, w->written - w->hinted);
		w->hinted = w->written;
	}
	return CAIRN_OK;
}

/* Append bytes, around the buffer when they are many. */
static int put_bytes(struct table_writer *w, const uint8_t *p, size_t len)
{
	struct buf *b = &w->pending;
	int err = CAIRN_OK;

	if (b->len + len > BUFFER_LEN)
		err = flush_pending(w);
	if (err)
		return err;
	w->offset += len;
	if (len <= BUFFER_LEN)
		return buf_append(b, p, len);
	err = wfile_append(w->file, p, len);
	if (!err)
		w->written += len;
	return err;
}

/* Append a block as stored, and its trailer. */
static int put_block(struct table_writer *w, struct cairn_slice stored,
		     uint8_t codec, struct block_handle *h)
{
	uint8_t trailer[BLOCK_TRAILER_LEN];
	int err;

	*h = (struct block_handle){ w->offset, stored.len };
	block_trailer_encode(codec, stored.data, stored.len, trailer);
	err = put_bytes(w, stored.data, stored.len);
	return err ? err : put_bytes(w, trailer, sizeof(trailer));
}

static int put_raw(struct table_writer *w, struct cairn_slice contents,
		   struct block_handle *h)
{
	return put_block(w, contents, TABLE_CODEC_NONE, h);
}

static int put_compressed(struct table_writer *w, struct cairn_slice contents,
			  struct block_handle *h)
{
	struct cairn_slice stored;
	uint8_t codec;
	int err = compressor_run(&w->compressor, contents, &codec, &stored);

	return err ? err : put_block(w, stored, codec, h);
}

/* --------------------------------------------------------------- entries */

/* Write the data block that has been gathered. */
static int close_block(struct table_writer *w)
{
	struct cairn_slice contents;
	int err = block_builder_finish(&w->data, &contents);

	if (w->tombs >= TOMBS_OF_BLOCK ||
	    2 * w->tomb_bytes >= block_builder_size(&w->data))
		w->props.tombstone_blocks++;
	w->tombs = 0;
	w->tomb_bytes = 0;

	if (!err)
		err = put_compressed(w, contents, &w->closed);
	if (err)
		return err;
	block_builder_reset(&w->data);
	w->has_closed = true;
	w->props.data_blocks++;
	return CAIRN_OK;
}

/* The block closed before gets its index entry; next may be NULL. */
static int index_closed(struct table_writer *w, const struct ikey *next)
{
	struct ikey last;

	if (!w->has_closed)
		return CAIRN_OK;
	w->has_closed = false;
	if (!ikey_decode(buf_slice(&w->last_key), &last))
		return error_set(CAIRN_EINVAL, "%s: no key before a block",
				 w->path);
	return index_builder_add(&w->index, &last, next, w->closed);
}

static bool must_close(const struct table_writer *w, size_t entry)
{
	size_t size = block_builder_size(&w->data);
	size_t limit = w->opts.block_size;

	if (block_builder_empty(&w->data))
		return false;
	if (size >= limit)
		return true;
	/* What is larger than a block has one of its own. */
	return size + entry > limit &&
	       (entry >= limit || size > limit / FULL_OF * FULL_PARTS);
}

static void count(struct table_writer *w, const struct ikey *key,
		  struct cairn_slice value)
{
	struct table_props *p = &w->props;
	uint64_t seqno = ikey_seqno(key);
	uint8_t kind = ikey_kind(key);

	p->entries++;
	p->deletions += kind == KIND_DELETE || kind == KIND_SINGLE_DELETE ||
			kind == KIND_RANGE_DELETE;
	p->range_deletions += kind == KIND_RANGE_DELETE;
	p->merges += kind == KIND_MERGE;
	p->raw_key_bytes += key->user_key.len + IKEY_TRAILER_LEN;
	p->raw_value_bytes += value.len;
	if (kind == KIND_DELETE || kind == KIND_SINGLE_DELETE) {
		w->tombs++;
		w->tomb_bytes += key->user_key.len + IKEY_TRAILER_LEN;
	}
	if (seqno < w->smallest_seqno)
		w->smallest_seqno = seqno;
	if (seqno > w->largest_seqno)
		w->largest_seqno = seqno;
	if (w->collecting)
		w->opts.collector->add(w->collecting,
				       (enum cairn_entry_kind)kind,
				       key->user_key, value);
}

static int set_ikey(struct buf *b, const struct ikey *key)
{
	size_t len = key->user_key.len + IKEY_TRAILER_LEN;
	int err;

	buf_clear(b);
	err = buf_reserve(b, len);
	if (err)
		return err;
	ikey_encode(b->data, key);
	b->len = len;
	return CAIRN_OK;
}

static int remember_key(struct table_writer *w, const struct ikey *key)
{
	int err = set_ikey(&w->last_key, key);

	if (err)
		return err;
	return w->first_key.len
		       ? CAIRN_OK
		       : buf_set(&w->first_key, buf_slice(&w->last_key));
}

static void assert_ascends(const struct table_writer *w, const struct ikey *key)
{
#ifndef NDEBUG
	struct ikey last;

	assert(!ikey_decode(buf_slice(&w->last_key), &last) ||
	       ikey_cmp(&last, key) < 0);
#else
	(void)w;
	(void)key;
#endif
}

static int add(struct table_writer *w, const struct ikey *key,
	       struct cairn_slice value)
{
	size_t key_len = key->user_key.len + IKEY_TRAILER_LEN;
	uint8_t trailer[IKEY_TRAILER_LEN];
	int err = CAIRN_OK;

	if (must_close(w, block_builder_entry_size(key_len, value.len)))
		err = close_block(w);
	if (!err)
		err = index_closed(w, key);
	if (!err)
		err = filter_builder_add(&w->filter, key->user_key);
	put_le64(trailer, key->trailer);
	if (!err)
		err = block_builder_add(&w->data, key->user_key,
					slice_of(trailer, sizeof(trailer)),
					value);
	if (!err)
		err = remember_key(w, key);
	if (!err)
		count(w, key, value);
	return err;
}

int table_writer_add(struct table_writer *w, const struct ikey *key,
		     struct cairn_slice value)
{
	assert(!w->failed);
	assert(!w->opts.external || ikey_seqno(key) == 0);
	assert_ascends(w, key);
	w->failed = add(w, key, value);
	return w->failed;
}

static int add_range(struct table_writer *w, const struct range_del *d)
{
	struct ikey key = ikey_make(d->start, d->seqno, KIND_RANGE_DELETE);
	uint8_t trailer[IKEY_TRAILER_LEN];
	int err = CAIRN_OK;

	if (block_builder_empty(&w->ranges))
		err = set_ikey(&w->first_range, &key);
	put_le64(trailer, key.trailer);
	if (!err)
		err = block_builder_add(&w->ranges, d->start,
					slice_of(trailer, sizeof(trailer)),
					d->end);
	if (!err && slice_cmp(buf_slice(&w->last_end), d->end) < 0)
		err = buf_set(&w->last_end, d->end);
	if (!err)
		count(w, &key, d->end);
	return err;
}

static bool range_ascends(const struct table_writer *w,
			  const struct range_del *d)
{
	struct ikey key = ikey_make(d->start, d->seqno, KIND_RANGE_DELETE);
	struct ikey last;

	return !ikey_decode(block_builder_last_key(&w->ranges), &last) ||
	       ikey_cmp(&last, &key) <= 0;
}

int table_writer_add_range(struct table_writer *w, const struct range_del *d)
{
	bool in_order = range_ascends(w, d);

	assert(!w->failed);
	assert(in_order);
	assert(slice_cmp(d->start, d->end) < 0);
	(void)in_order;
	w->failed = add_range(w, d);
	return w->failed;
}

uint64_t table_writer_size(const struct table_writer *w)
{
	return w->offset + block_builder_size(&w->data) +
	       index_builder_size(&w->index) + filter_builder_size(&w->filter) +
	       (block_builder_empty(&w->ranges)
			? 0
			: block_builder_size(&w->ranges));
}

uint64_t table_writer_entries(const struct table_writer *w)
{
	return w->props.entries;
}

/* ---------------------------------------------------------------- finish */

static int put_filter(struct table_writer *w, struct block_handle *h)
{
	struct buf block = { 0 };
	int err = filter_builder_finish(&w->filter, &block);

	if (!err)
		err = put_raw(w, buf_slice(&block), h);
	w->props.filter_bytes = block.len;
	w->props.filter_entries = filter_builder_entries(&w->filter);
	buf_fini(&block);
	return err;
}

static int put_index(struct table_writer *w, struct block_handle *h)
{
	struct block_builder b;
	struct cairn_slice contents;
	int err;

	block_builder_init(&b, 1);
	err = index_builder_finish(&w->index, &b, &contents,
				   &w->props.index_key_is_user_key);
	if (!err) {
		w->props.index_bytes = contents.len + BLOCK_TRAILER_LEN;
		err = put_compressed(w, contents, h);
	}
	block_builder_fini(&b);
	return err;
}

static int put_props(struct table_writer *w, struct block_handle *h)
{
	struct buf block = { 0 };
	int err = CAIRN_OK;

	if (w->collecting)
		err = w->opts.collector->finish(w->collecting, &w->props.user);
	if (!err)
		err = table_props_encode(&w->props, &block);

	if (!err)
		err = put_raw(w, buf_slice(&block), h);
	buf_fini(&block);
	return err;
}

static int add_meta(struct block_builder *b, const char *name,
		    struct block_handle h)
{
	uint8_t value[BLOCK_HANDLE_MAX_LEN];
	uint8_t *end = block_handle_encode(value, h);

	return block_builder_add(b, slice_str(name), slice_of(NULL, 0),
				 slice_of(value, (size_t)(end - value)));
}

/* Uncompressed: RocksDB takes a compressed one for damage. */
static int put_ranges(struct table_writer *w, struct block_handle *h)
{
	struct cairn_slice contents;
	int err = block_builder_finish(&w->ranges, &contents);

	return err ? err : put_raw(w, contents, h);
}

/* The blocks that the metaindex names; NULL: there is none. */
struct meta_blocks {
	const struct block_handle *filter;
	const struct block_handle *props;
	const struct block_handle *ranges;
};

/* Names in bytewise order. */
static int put_metaindex(struct table_writer *w, const struct meta_blocks *m,
			 struct block_handle *h)
{
	struct block_builder b;
	struct cairn_slice contents;
	int err = CAIRN_OK;

	block_builder_init(&b, 1);
	if (m->filter)
		err = add_meta(&b, FILTER_FULL_KEY, *m->filter);
	if (!err)
		err = add_meta(&b, "rocksdb.properties", *m->props);
	if (!err && m->ranges)
		err = add_meta(&b, RANGE_DEL_KEY, *m->ranges);
	if (!err)
		err = block_builder_finish(&b, &contents);
	if (!err)
		err = put_raw(w, contents, h);
	block_builder_fini(&b);
	return err;
}

static int put_footer(struct table_writer *w, const struct footer *f)
{
	uint8_t bytes[FOOTER_LEN];
	int err;

	footer_encode(f, bytes);
	err = put_bytes(w, bytes, sizeof(bytes));
	return err ? err : flush_pending(w);
}

static int finish_file(struct table_writer *w)
{
	struct footer footer = { .version = FOOTER_VERSION,
				 .checksum = TABLE_CHECKSUM_WRITTEN };
	struct block_handle filter, props, ranges;
	struct meta_blocks metas = { .props = &props };
	int err = CAIRN_OK;

	if (!block_builder_empty(&w->data))
		err = close_block(w);
	if (!err)
		err = index_closed(w, NULL);
	w->props.data_bytes = w->offset;
	/* Without point entries there is nothing to filter. */
	if (w->filter.millibits && w->first_key.len)
		metas.filter = &filter;
	if (!block_builder_empty(&w->ranges))
		metas.ranges = &ranges;
	if (!err && metas.filter)
		err = put_filter(w, &filter);
	if (!err)
		err = put_index(w, &footer.index);
	if (!err && metas.ranges)
		err = put_ranges(w, &ranges);
	if (!err)
		err = put_props(w, &props);
	if (!err)
		err = put_metaindex(w, &metas, &footer.metaindex);
	return err ? err : put_footer(w, &footer);
}

static void free_bytes(struct cairn_slice *s)
{
	/* slice_dup() made it; only lending it out made it const. */
	free((void *)(uintptr_t)s->data);
	*s = slice_of(NULL, 0);
}

void table_summary_fini(struct table_summary *s)
{
	free_bytes(&s->smallest);
	free_bytes(&s->largest);
	free_bytes(&s->first_key);
	free_bytes(&s->last_key);
}

/* The greater of the two if sign is 1, the less if it is -1; an empty one does
 * not count. */
static struct cairn_slice outer(struct cairn_slice a, struct cairn_slice b,
				int sign)
{
	struct ikey x, y;

	if (!ikey_decode(a, &x))
		return b;
	if (!ikey_decode(b, &y))
		return a;
	return ikey_cmp(&x, &y) * sign >= 0 ? a : b;
}

static int summarize(struct table_writer *w, struct table_summary *out)
{
	struct table_summary s = {
		.size = w->offset,
		.entries = w->props.entries,
		.deletions = w->props.deletions,
		.range_deletions = w->props.range_deletions,
		.dense = table_props_is_dense(&w->props),
		.smallest_seqno = w->smallest_seqno,
		.largest_seqno = w->largest_seqno,
	};
	struct cairn_slice first = buf_slice(&w->first_key);
	struct cairn_slice last = buf_slice(&w->last_key);
	struct buf end = { 0 };
	int err = CAIRN_OK;

	if (w->first_range.len) {
		struct ikey key = ikey_make(buf_slice(&w->last_end), SEQNO_MAX,
					    KIND_RANGE_DELETE);

		err = set_ikey(&end, &key);
	}
	if (!err)
		err = slice_dup(outer(first, buf_slice(&w->first_range), -1),
				&s.smallest);
	if (!err)
		err = slice_dup(outer(last, buf_slice(&end), 1), &s.largest);
	if (!err)
		err = slice_dup(first, &s.first_key);
	if (!err)
		err = slice_dup(last, &s.last_key);
	buf_fini(&end);
	if (err)
		table_summary_fini(&s);
	else
		*out = s;
	return err;
}

int table_writer_finish(struct table_writer *w, struct table_summary *out)
{
	assert(!w->failed);
	assert(w->props.entries > 0);
	w->failed = finish_file(w);
	if (!w->failed)
		w->failed = summarize(w, out);
	return w->failed;
}
