/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening a table: from the footer to all that is kept in memory. */
#include "engine/table/table.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/kv/kind.h"
#include "engine/table/filter.h"
#include "engine/table/props_block.h"
#include "engine/table/table_priv.h"

/* The end of the file that is read at once: mostly all of the meta blocks. */
#define TAIL_LEN   (64u << 10)
#define COMPARATOR "leveldb.BytewiseComparator"

/*
 * The keys of range tombstones take at most so many times the length of their
 * block: more than restart points every 16 entries allow. (RocksDB has one at
 * each.) A block of crafted entries that share one long key could ask for any
 * amount of memory.
 */
#define RANGE_KEYS_FACTOR 64

struct metas {
	struct block_handle props;
	struct block_handle range_del;
	struct block_handle dict;
	struct block_handle filter;
	bool has_props;
	bool has_range_del;
	bool has_dict;
	enum table_filter_kind filter_kind;
};

static int note_meta(const struct table *t, struct cairn_slice name,
		     struct cairn_slice value, struct metas *m)
{
	struct block_handle h;
	int err = block_handle_decode(&value,
				      t->source.file_len - t->footer.len, &h);

	/* Values of entries that nobody knows may be anything. */
	if (slice_eq(name, slice_str("rocksdb.properties")) ||
	    slice_eq(name, slice_str("rocksdb.stats"))) {
		m->has_props = true;
		m->props = h;
	} else if (slice_eq(name, slice_str(RANGE_DEL_KEY))) {
		m->has_range_del = true;
		m->range_del = h;
	} else if (slice_eq(name, slice_str("rocksdb.compression_dict"))) {
		m->has_dict = true;
		m->dict = h;
	} else if (slice_eq(name, slice_str(FILTER_FULL_KEY))) {
		m->filter_kind = TABLE_FILTER_FULL;
		m->filter = h;
	} else if (slice_eq(name, slice_str(FILTER_PARTITIONED_KEY))) {
		m->filter_kind = TABLE_FILTER_PARTITIONED;
		m->filter = h;
	} else {
		return CAIRN_OK;
	}
	return err;
}

static int read_metaindex(struct table *t, const struct read_window *tail,
			  struct metas *m)
{
	struct block_handle h = t->footer.metaindex;
	struct block_cursor c = { 0 };
	void *contents;
	size_t len;
	int err = block_read(&t->source, h, tail, NULL, 0, &contents, &len);

	if (err)
		return err;
	err = block_cursor_init(&c, slice_of(contents, len), false);
	while (!err) {
		err = block_cursor_next(&c, NULL);
		if (!err)
			err = note_meta(t, buf_slice(&c.key), c.value, m);
	}
	block_cursor_fini(&c);
	free(contents);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK
				      : block_failure(&t->source, h, err);
}

/*
 * RocksDB may have written the sequence number of an ingested table into the
 * properties without renewing their checksum: it is that with zeros there.
 */
static int check_without_seqno(const struct table *t, uint8_t *stored,
			       size_t len)
{
	uint8_t saved[8];
	size_t at;
	int err = block_check(t->source.checksum, stored, len);

	if (err != CAIRN_ECORRUPT || stored[len] != TABLE_CODEC_NONE ||
	    props_find_global_seqno(slice_of(stored, len), &at))
		return err ? block_check(t->source.checksum, stored, len)
			   : CAIRN_OK;
	memcpy(saved, stored + at, sizeof(saved));
	memset(stored + at, 0, sizeof(saved));
	err = block_check(t->source.checksum, stored, len);
	memcpy(stored + at, saved, sizeof(saved));
	return err ? block_check(t->source.checksum, stored, len) : CAIRN_OK;
}

static int decode_props(struct table *t, struct cairn_slice bytes)
{
	struct table_props p;
	int err = table_props_decode(bytes, &p);

	if (err)
		return err;
	table_props_fini(&t->props);
	t->props = p;
	t->has_props = true;
	return CAIRN_OK;
}

static int read_props(struct table *t, const struct read_window *tail,
		      struct block_handle h)
{
	size_t len = (size_t)h.size;
	uint8_t *copy = malloc(len + BLOCK_TRAILER_LEN);
	struct stored_block st;
	void *contents;
	int err;

	if (!copy)
		return error_nomem();
	err = block_read_stored(&t->source, h, tail, copy, &st);
	if (err)
		goto out;
	if (st.bytes.data != copy)
		memcpy(copy, st.bytes.data, len + BLOCK_TRAILER_LEN);
	err = check_without_seqno(t, copy, len);
	if (!err && st.codec == TABLE_CODEC_NONE) {
		err = decode_props(t, slice_of(copy, len));
	} else if (!err) {
		/* Nobody compresses this block, but the type byte may say so.
		 */
		err = block_read(&t->source, h, tail, NULL, 0, &contents, &len);
		if (err)
			goto out;
		err = decode_props(t, slice_of(contents, len));
		free(contents);
	}
	if (err)
		err = block_failure(&t->source, h, err);
out:
	free(copy);
	return err;
}

static int check_comparator(const struct table *t)
{
	const char *name = t->props.comparator;

	if (!*name || !strcmp(name, COMPARATOR))
		return CAIRN_OK;
	return error_set(CAIRN_ENOTSUP,
			 "%s: keys are ordered by %s; only " COMPARATOR
			 " is supported",
			 t->path, name);
}

/* The sequence number that stands in for those of an ingested table. */
static int find_global_seqno(struct table *t)
{
	const struct table_props *p = &t->props;
	uint64_t seqno = p->global_seqno;

	if (!p->has_external_version || p->external_version < 2) {
		if (!p->has_global_seqno)
			return CAIRN_OK;
		return error_set(CAIRN_ECORRUPT,
				 "%s: has a global sequence number, but is not "
				 "an external table",
				 t->path);
	}
	if (t->opts.external)
		return CAIRN_OK;
	if (t->opts.seqno_known && seqno && seqno != t->opts.seqno)
		return error_set(CAIRN_ECORRUPT,
				 "%s: ingested at sequence number %" PRIu64
				 ", the MANIFEST says %" PRIu64,
				 t->path, seqno, t->opts.seqno);
	if (!t->opts.seqno_known && !seqno)
		return error_set(CAIRN_ENOTSUP,
				 "%s: an ingested table whose sequence number "
				 "is not known",
				 t->path);
	if (!seqno)
		seqno = t->opts.seqno;
	t->seqno_bits = ikey_pack(seqno, 0);
	return CAIRN_OK;
}

/* One entry of the range-del block: start at seqno, and end. */
static int note_range_del(const struct table *t, struct cairn_slice key,
			  struct cairn_slice end, struct range_del_list *l)
{
	struct range_del d = { .end = end };
	struct ikey k;

	if (!ikey_decode(key, &k) || ikey_kind(&k) != KIND_RANGE_DELETE)
		return error_set(CAIRN_ECORRUPT, "entry is no range tombstone");
	if (slice_cmp(k.user_key, end) > 0)
		return error_set(CAIRN_ECORRUPT,
				 "range tombstone ends before it begins");
	d.start = k.user_key;
	d.seqno = (k.trailer | t->seqno_bits) >> 8;
	return range_del_list_add(l, &d);
}

/* In any order and overlapping as they like: not all writers cut them up. */
static int read_range_dels(struct table *t, const struct read_window *tail,
			   struct block_handle h)
{
	struct range_del_list list = { 0 };
	struct block_cursor c = { 0 };
	void *contents;
	size_t len;
	int err = block_read(&t->source, h, tail, NULL, 0, &contents, &len);

	if (err)
		return err;
	err = block_cursor_init(&c, slice_of(contents, len), false);
	while (!err) {
		err = block_cursor_next(&c, NULL);
		if (!err)
			err = note_range_del(t, buf_slice(&c.key), c.value,
					     &list);
		if (!err && list.keys.len / RANGE_KEYS_FACTOR > len)
			err = error_set(CAIRN_ECORRUPT,
					"range tombstones share too much");
		t->n_range_dels += !err;
	}
	if (err == CAIRN_NOT_FOUND)
		err = range_dels_new(&list, &t->range_dels);
	range_del_list_fini(&list);
	block_cursor_fini(&c);
	free(contents);
	return err ? block_failure(&t->source, h, err) : CAIRN_OK;
}

static int read_dict(struct table *t, const struct read_window *tail,
		     struct block_handle h)
{
	void *contents;
	size_t len;
	int err = block_read(&t->source, h, tail, NULL, 0, &contents, &len);

	if (err)
		return err;
	/* An empty one is written when there was nothing to sample. */
	if (len)
		err = block_dict_new(slice_of(contents, len), &t->dict);
	free(contents);
	return err ? block_failure(&t->source, h, err) : CAIRN_OK;
}

static int read_filter(struct table *t, const struct read_window *tail,
		       const struct metas *m)
{
	const struct cairn_prefix_extractor *px = t->opts.prefix;
	struct table_filter *f = &t->filter;
	int err = CAIRN_OK;

	f->kind = m->filter_kind;
	f->whole = t->props.whole_key_filtering;
	f->prefix = px && t->props.prefix_filtering &&
		    !strcmp(px->name, t->props.prefix_extractor);
	if (f->kind == TABLE_FILTER_FULL)
		err = table_load_filter(t, m->filter, tail, &f->full);
	else if (f->kind == TABLE_FILTER_PARTITIONED)
		err = table_load_index(t, m->filter, tail, &f->parts);
	return err;
}

static int read_index(struct table *t, const struct read_window *tail)
{
	t->two_level = t->props.index_type == TABLE_INDEX_TWO_LEVEL;
	t->index_format.first_key =
		t->props.index_type == TABLE_INDEX_FIRST_KEY;
	return table_load_index(t, t->footer.index, tail, &t->index);
}

static int check_size(const struct table *t)
{
	uint64_t size;
	int err = rfile_size(t->source.file, &size);

	if (err)
		return err;
	if (size == t->source.file_len)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "%s: file has %" PRIu64 " bytes, should have %" PRIu64,
			 t->path, size, t->source.file_len);
}

static int read_footer(struct table *t, const struct read_window *tail)
{
	struct footer *f = &t->footer;
	int err = footer_decode(slice_of(tail->bytes, tail->len),
				t->source.file_len, f);

	if (err)
		return error_set(err, "%s: %s", t->path, cairn_errmsg());
	t->source.checksum = f->checksum;
	t->source.version = (uint8_t)f->version;
	return CAIRN_OK;
}

static int read_metas(struct table *t, const struct read_window *tail)
{
	struct metas m = { .has_props = false };
	int err = read_metaindex(t, tail, &m);

	if (!err && m.has_props)
		err = read_props(t, tail, m.props);
	if (!err)
		err = check_comparator(t);
	if (!err)
		err = find_global_seqno(t);
	if (!err && m.has_range_del)
		err = read_range_dels(t, tail, m.range_del);
	if (!err && m.has_dict)
		err = read_dict(t, tail, m.dict);
	t->index_format = (struct index_format){
		.user_keys = t->props.index_key_is_user_key,
		.delta = t->props.index_value_is_delta,
		.file_len = t->source.file_len - t->footer.len,
	};
	if (!err)
		err = read_filter(t, tail, &m);
	return err;
}

static size_t memory_of(const struct table *t)
{
	return sizeof(*t) + strlen(t->path) + t->index.bytes +
	       t->filter.parts.bytes +
	       (t->filter.full ? t->filter.full->base.bytes : 0) +
	       (t->range_dels ? t->range_dels->memory : 0) +
	       user_props_memory(&t->props.user) + block_dict_memory(t->dict);
}

static int open_table(struct table *t)
{
	struct read_window tail = { 0 };
	uint64_t size = t->source.file_len;
	uint64_t tail_len = size < TAIL_LEN ? size : TAIL_LEN;
	int err = check_size(t);

	if (!err)
		err = read_window_fill(&t->source, &tail, size - tail_len,
				       (size_t)tail_len);
	if (!err && tail.len != tail_len)
		err = error_set(CAIRN_ECORRUPT, "%s: file ends early", t->path);
	if (!err)
		err = read_footer(t, &tail);
	if (!err)
		err = read_metas(t, &tail);
	if (!err)
		err = read_index(t, &tail);
	read_window_fini(&tail);
	if (err)
		return err;
	t->kinds = TABLE_KINDS;
	if (table_foreign_merge(t))
		t->kinds &= ~(1u << KIND_MERGE);
	t->memory = memory_of(t);
	return t->opts.verify_at_open ? table_verify(t) : CAIRN_OK;
}

int table_open(struct rfile *f, const char *path, uint64_t file_number,
	       uint64_t size, const struct table_read_options *opts,
	       struct table **out)
{
	struct table *t = calloc(1, sizeof(*t));
	int err;

	if (!t) {
		rfile_close(f);
		return error_nomem();
	}
	t->number = file_number;
	t->opts = *opts;
	t->source.file = f;
	t->source.file_len = size;
	t->source.stats = opts->stats;
	if (opts->cache)
		t->source.pool = block_cache_pool(opts->cache);
	t->path = strdup(path);
	t->source.path = t->path;
	err = t->path ? table_props_init(&t->props) : error_nomem();
	if (!err)
		err = open_table(t);
	if (err)
		table_close(t);
	else
		*out = t;
	return err;
}

void table_close(struct table *t)
{
	if (!t)
		return;
	rfile_close(t->source.file);
	if (t->filter.full)
		t->filter.full->base.free(&t->filter.full->base);
	index_fini(&t->filter.parts);
	index_fini(&t->index);
	range_dels_unref(t->range_dels);
	block_dict_free(t->dict);
	table_props_fini(&t->props);
	free(t->path);
	free(t);
}

const struct table_props *table_props(const struct table *t)
{
	return &t->props;
}

const struct range_dels *table_range_dels(const struct table *t)
{
	return t->range_dels;
}

const char *table_foreign_merge(const struct table *t)
{
	const char *theirs = t->props.merge_operator;
	const char *ours = t->opts.merge_operator;

	/* RocksDB keeps operands also where it was given no operator. */
	if (!t->props.merges || !ours || !*theirs ||
	    !strcmp(theirs, "nullptr") || !strcmp(theirs, ours))
		return NULL;
	return theirs;
}

int table_refuse_kind(const struct table *t, uint8_t kind)
{
	if (kind == KIND_MERGE)
		return error_set(CAIRN_ENOTSUP,
				 "%s: has merge operands of %s, while the "
				 "merge operator is %s",
				 t->path, t->props.merge_operator,
				 t->opts.merge_operator);
	return kind_refuse(kind, t->path);
}

size_t table_memory(const struct table *t)
{
	return t->memory;
}
