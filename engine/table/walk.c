/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/walk.h"

#include <inttypes.h>

#include "engine/base/error.h"
#include "engine/kv/kind.h"
#include "engine/table/table_priv.h"
#include "engine/table/walk_priv.h"

#define WINDOW_LEN    (1u << 20)
#define STACK_KEY_LEN 512

const char *walk_kind_name(enum walk_kind kind)
{
	static const char *const names[] = {
		"data block",       "index block",     "filter block",
		"dictionary block", "range-del block", "properties block",
		"metaindex block",  "footer",          "block",
	};

	return names[kind];
}

void walk_result_fini(struct walk_result *r)
{
	buf_fini(&r->smallest);
	buf_fini(&r->largest);
}

/* ----------------------------------------------------------- walking */

struct walker {
	struct table_walk *w;
	const struct walk_visitor *v;
	struct walk_result *out;
	struct read_window window;
	struct buf reuse;

	struct buf last_key; /* internal; of the entry before */
	bool any;
	uint64_t prev_end; /* of the data block before */

	/* Bad blocks in a row. */
	struct walk_span span;
	struct buf from;

	/* Of the block. */
	const struct index *leaf;
	uint32_t i;
	struct block_handle handle;
	bool spoiled; /* it has been told of */
	bool filter_told;
	bool limits_told;

	int stop; /* what a callback returned */

	/* A part of the filter. */
	uint32_t filter_part;
	bool has_filter_part;
	struct bloom part;
	struct buf part_bytes;
};

/* What a callback returned: no failure of the file, whatever it is. */
static int called(struct walker *k, int err)
{
	if (!err)
		return CAIRN_OK;
	k->stop = err;
	return CAIRN_EABORTED;
}

static int tell(struct walker *k, int err, enum walk_kind kind,
		const struct block_handle *h)
{
	struct walk_damage d = { .code = err, .kind = kind };

	if (!walk_is_damage(err))
		return err;
	if (h) {
		d.has_place = true;
		d.place = *h;
	}
	k->out->damages++;
	k->out->unknown |= err == CAIRN_ENOTSUP;
	k->out->tombs_lost |= kind == WALK_RANGE_DEL;
	return k->v->damage ? called(k, k->v->damage(k->v->ctx, &d)) : CAIRN_OK;
}

/* A failure about the bytes of the present data block. */
static int tell_block(struct walker *k, int err)
{
	if (!walk_is_damage(err))
		return err;
	err = block_failure(&k->w->source, k->handle, err);
	return tell(k, err, WALK_DATA, &k->handle);
}

static int tell_notes(struct walker *k)
{
	for (size_t i = 0; i < k->w->n_notes; i++) {
		const struct walk_note *n = &k->w->notes[i];
		int err;

		error_set(n->damage.code, "%s", n->message);
		k->out->damages++;
		k->out->unknown |= n->damage.code == CAIRN_ENOTSUP;
		err = k->v->damage
			      ? called(k, k->v->damage(k->v->ctx, &n->damage))
			      : CAIRN_OK;
		if (err)
			return err;
	}
	return CAIRN_OK;
}

static int show_properties(struct walker *k)
{
	struct block_cursor c = { 0 };
	int err;

	if (!k->v->property || !k->w->has_props)
		return CAIRN_OK;
	err = block_cursor_init(&c, buf_slice(&k->w->props_bytes), false);
	while (!err) {
		err = block_cursor_next(&c, NULL);
		if (!err)
			err = called(k, k->v->property(k->v->ctx,
						       buf_slice(&c.key),
						       c.value));
	}
	block_cursor_fini(&c);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* ---- spans of bad blocks */

static int add_to_span(struct walker *k, struct block_handle h)
{
	int err = CAIRN_OK;

	if (!k->span.blocks && k->any) {
		struct ikey last;

		if (ikey_decode(buf_slice(&k->last_key), &last))
			err = buf_set(&k->from, last.user_key);
		k->span.from = buf_slice(&k->from);
		/* The empty key is a key. */
		if (!k->span.from.data)
			k->span.from.data = (const uint8_t *)"";
	}
	k->span.blocks++;
	k->span.bytes += h.size + BLOCK_TRAILER_LEN;
	k->out->bad_blocks++;
	k->out->bad_bytes += h.size + BLOCK_TRAILER_LEN;
	return err;
}

/* to NULL: the table ends. */
static int end_span(struct walker *k, const struct cairn_slice *to)
{
	int err = CAIRN_OK;

	if (!k->span.blocks)
		return CAIRN_OK;
	if (to) {
		k->span.to = *to;
		if (!to->data)
			k->span.to.data = (const uint8_t *)"";
	}
	if (k->v->lost)
		err = called(k, k->v->lost(k->v->ctx, &k->span));
	k->span = (struct walk_span){ 0 };
	return err;
}

/* ---- entries */

static void count(struct walk_result *r, const struct ikey *key, size_t key_len,
		  size_t value_len)
{
	uint64_t seqno = ikey_seqno(key);

	if (!(r->entries + r->range_dels) || seqno < r->smallest_seqno)
		r->smallest_seqno = seqno;
	if (!(r->entries + r->range_dels) || seqno > r->largest_seqno)
		r->largest_seqno = seqno;
	r->raw_key_bytes += key_len;
	r->raw_value_bytes += value_len;
	switch (ikey_kind(key)) {
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
		r->deletions++;
		break;
	case KIND_MERGE:
		r->merges++;
		break;
	case KIND_RANGE_DELETE:
		r->deletions++;
		r->range_dels++;
		return;
	default:
		break;
	}
	r->entries++;
}

static int set_key(struct buf *b, const struct ikey *key)
{
	int err;

	buf_clear(b);
	err = buf_reserve(b, key->user_key.len + IKEY_TRAILER_LEN);
	if (!err)
		b->len = (size_t)(ikey_encode(b->data, key) - b->data);
	return err;
}

int walk_result_extend(struct walk_result *r, const struct ikey *low,
		       const struct ikey *high)
{
	struct ikey have;
	int err = CAIRN_OK;

	if (!ikey_decode(buf_slice(&r->smallest), &have) ||
	    ikey_cmp(low, &have) < 0)
		err = set_key(&r->smallest, low);
	if (!err && (!ikey_decode(buf_slice(&r->largest), &have) ||
		     ikey_cmp(high, &have) > 0))
		err = set_key(&r->largest, high);
	return err;
}

static int check_seqno(const struct walker *k, uint64_t seqno)
{
	const struct walk_limits *l = &k->w->limits;

	if (seqno >= SEQNO_MAX)
		return error_set(CAIRN_ECORRUPT, "sequence number %" PRIu64,
				 seqno);
	if (!l->known || !l->seqnos_known ||
	    (seqno >= l->smallest_seqno && seqno <= l->largest_seqno))
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "sequence number %" PRIu64 " is not between %" PRIu64
			 " and %" PRIu64 ", as the MANIFEST says",
			 seqno, l->smallest_seqno, l->largest_seqno);
}

static int check_limits(struct walker *k, const struct ikey *key)
{
	const struct walk_limits *l = &k->w->limits;
	int err;

	if (k->limits_told)
		return CAIRN_OK;
	err = check_seqno(k, ikey_seqno(key));
	if (!err && l->known &&
	    (ikey_cmp(key, &l->smallest) < 0 || ikey_cmp(key, &l->largest) > 0))
		err = error_set(CAIRN_ECORRUPT,
				"a key is outside of the bounds that the "
				"MANIFEST has for the file");
	k->limits_told = err;
	k->out->misfit |= err != CAIRN_OK;
	return err;
}

/* Load the part of the filter that key would be in. */
static int load_filter_part(struct walker *k, const struct ikey *key)
{
	struct table_walk *w = k->w;
	uint32_t i = index_seek(&w->filter_parts, key);
	struct read_window none = { 0 };
	struct cairn_slice contents;
	int err;

	if (i == w->filter_parts.n)
		i = w->filter_parts.n - 1;
	if (k->has_filter_part && i == k->filter_part)
		return CAIRN_OK;
	k->filter_part = i;
	k->has_filter_part = true;
	k->part = (struct bloom){ .kind = BLOOM_ALWAYS };
	err = table_walk_read(w, &none, index_handle(&w->filter_parts, i),
			      false, &k->part_bytes, &contents, NULL);
	if (!err)
		bloom_open(&k->part, contents);
	else if (walk_is_damage(err)) {
		struct block_handle h = index_handle(&w->filter_parts, i);

		err = tell(k, err, WALK_FILTER, &h);
	}
	return err;
}

static int check_filter(struct walker *k, const struct ikey *key)
{
	const struct table_walk *w = k->w;
	const struct bloom *f = &w->bloom;
	int err;

	if (k->filter_told || (w->has_props && !w->props.whole_key_filtering) ||
	    (!w->has_props && !w->filter_parts.n))
		return CAIRN_OK;
	if (w->filter_parts.n) {
		err = load_filter_part(k, key);
		if (err)
			return err;
		f = &k->part;
	} else if (!w->filter) {
		return CAIRN_OK;
	}
	if (bloom_may_contain(f, key->user_key))
		return CAIRN_OK;
	k->filter_told = true;
	return error_set(CAIRN_ECORRUPT,
			 "the filter denies a key that is there");
}

static int check_order(const struct walker *k, const struct ikey *key)
{
	struct ikey last;

	if (!k->any || (ikey_decode(buf_slice(&k->last_key), &last) &&
			ikey_cmp(&last, key) < 0))
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT, "keys are out of order");
}

/* One entry, its key as it is stored and with the number it has. */
static int take_entry(struct walker *k, const struct block_iter *it)
{
	struct cairn_slice stored = slice_of(it->buf, it->key_len);
	struct walk_entry e = {
		.key = it->key,
		.value = it->value,
		.block = k->handle,
	};
	struct ikey as_stored = it->key;
	int err;

	as_stored.trailer = load_le64(it->buf + it->key.user_key.len);
	err = check_order(k, &as_stored);
	if (!err && !table_kind_among(ikey_kind(&it->key), TABLE_KINDS))
		err = kind_refuse(ikey_kind(&it->key), "data");
	if (!err)
		err = check_limits(k, &it->key);
	if (!err)
		err = check_filter(k, &as_stored);
	if (err && !k->spoiled) {
		k->spoiled = true;
		err = tell_block(k, err);
	} else if (walk_is_damage(err)) {
		err = CAIRN_OK; /* one for each block is enough */
	}
	if (err)
		return err;
	count(k->out, &it->key, it->key_len, it->value.len);
	err = walk_result_extend(k->out, &it->key, &it->key);
	if (!err)
		err = buf_set(&k->last_key, stored);
	k->any = true;
	if (!err && k->v->entry)
		err = called(k, k->v->entry(k->v->ctx, &e));
	return err;
}

/* ---- data blocks */

static int separators_wrong(struct walker *k, const char *what)
{
	if (k->spoiled || k->w->format_guessed)
		return CAIRN_OK;
	k->spoiled = true;
	return tell_block(k, error_set(CAIRN_ECORRUPT, "%s", what));
}

static int take_entries(struct walker *k, struct block_iter *it,
			struct walk_block *b)
{
	bool first = true;
	int err;

	for (err = block_iter_first(it); !err; err = block_iter_next(it)) {
		struct ikey stored = it->key;

		stored.trailer = load_le64(it->buf + it->key.user_key.len);
		if (first) {
			err = end_span(k, &it->key.user_key);
			if (!err && k->i > 0 &&
			    index_compare(k->leaf, k->i - 1, &stored) >= 0)
				err = separators_wrong(
					k, "begins before the separator that "
					   "should precede it");
		}
		first = false;
		if (!err)
			err = take_entry(k, it);
		if (err)
			return err;
		b->entries++;
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* Entries that could be read before err is met count, but the block is bad. */
static int take_block(struct walker *k, struct cairn_slice contents,
		      struct walk_block *b)
{
	uint8_t key[STACK_KEY_LEN];
	struct block_iter it;
	struct block blk = { 0 };
	struct ikey last;
	int err = block_init(&blk, contents);

	if (!err)
		err = block_survey(&blk);
	if (err)
		return err;
	block_iter_init(&it, k->w->seqno_bits, key, sizeof(key));
	block_iter_set(&it, &blk);
	err = take_entries(k, &it, b);
	if (!err && b->entries && ikey_decode(buf_slice(&k->last_key), &last)) {
		b->last_key = buf_slice(&k->last_key);
		if (index_compare(k->leaf, k->i, &last) < 0)
			err = separators_wrong(
				k, "ends behind its separator in the index");
	}
	block_iter_fini(&it);
	block_fini(&blk);
	return err;
}

static int read_block(struct walker *k, struct block_handle h,
		      struct cairn_slice *contents, uint8_t *codec)
{
	size_t want = (size_t)h.size + BLOCK_TRAILER_LEN;
	int err = CAIRN_OK;

	if (want < WINDOW_LEN)
		want = WINDOW_LEN;
	if (!read_window_has(&k->window, h))
		err = read_window_fill(&k->w->source, &k->window, h.offset,
				       want);
	/* Reading much at once may fail for what is behind the block. */
	if (err == CAIRN_EIO) {
		k->window.len = 0;
		err = CAIRN_OK;
	}
	if (!err)
		err = table_walk_read(k->w, &k->window, h, true, &k->reuse,
				      contents, codec);
	return err;
}

static int walk_block(struct walker *k)
{
	struct block_handle h = index_handle(k->leaf, k->i);
	struct walk_block b = { .kind = WALK_DATA, .handle = h };
	struct cairn_slice contents = { 0 };
	int err, told;

	k->handle = h;
	k->spoiled = false;
	k->out->blocks++;
	if (h.offset < k->prev_end) {
		err = tell_block(k, error_set(CAIRN_ECORRUPT,
					      "overlaps the block before it"));
		if (err)
			return err;
		k->spoiled = true;
	}
	k->prev_end = h.offset + h.size + BLOCK_TRAILER_LEN;
	err = read_block(k, h, &contents, &b.codec);
	if (!err) {
		b.raw_len = contents.len;
		err = take_block(k, contents, &b);
		if (walk_is_damage(err))
			err = block_failure(&k->w->source, h, err);
	}
	if (walk_is_damage(err)) {
		b.bad = true;
		told = tell(k, err, WALK_DATA, &h);
		err = told ? told : add_to_span(k, h);
	}
	if (!err && k->v->block)
		err = called(k, k->v->block(k->v->ctx, &b));
	return err;
}

/* ---- other blocks */

static int show_block(struct walker *k, enum walk_kind kind,
		      struct block_handle h, bool bad, uint64_t entries)
{
	struct walk_block b = {
		.kind = kind,
		.handle = h,
		.bad = bad,
		.entries = entries,
	};

	return k->v->block ? called(k, k->v->block(k->v->ctx, &b)) : CAIRN_OK;
}

static int take_tombstone(struct walker *k, struct cairn_slice start,
			  struct cairn_slice end)
{
	struct walk_entry e = { .block = k->w->range_del.handle, .value = end };
	struct ikey bound = ikey_make(end, SEQNO_MAX, KIND_RANGE_DELETE);
	int err;

	if (!ikey_decode(start, &e.key))
		return error_set(CAIRN_ECORRUPT, "internal key of %zu bytes",
				 start.len);
	if (ikey_kind(&e.key) != KIND_RANGE_DELETE)
		return error_set(CAIRN_ECORRUPT,
				 "entry of kind 0x%02x among range tombstones",
				 ikey_kind(&e.key));
	if (slice_cmp(e.key.user_key, end) > 0)
		return error_set(CAIRN_ECORRUPT,
				 "range tombstone ends before it begins");
	e.key.trailer |= k->w->seqno_bits;
	err = check_seqno(k, ikey_seqno(&e.key));
	if (err)
		return err;
	count(k->out, &e.key, start.len, end.len);
	err = walk_result_extend(k->out, &e.key, &bound);
	if (!err && k->v->entry)
		err = called(k, k->v->entry(k->v->ctx, &e));
	return err;
}

static int walk_range_dels(struct walker *k)
{
	struct block_handle h = k->w->range_del.handle;
	struct block_cursor c = { 0 };
	struct cairn_slice contents;
	uint64_t before = k->out->range_dels;
	int err;

	if (!k->w->range_del.there)
		return CAIRN_OK;
	err = table_walk_read(k->w, &k->window, h, false, &k->reuse, &contents,
			      NULL);
	if (!err) {
		err = block_cursor_init(&c, contents, false);
		while (!err) {
			err = block_cursor_next(&c, NULL);
			if (!err)
				err = take_tombstone(k, buf_slice(&c.key),
						     c.value);
		}
		block_cursor_fini(&c);
		if (err == CAIRN_NOT_FOUND)
			return show_block(k, WALK_RANGE_DEL, h, false,
					  k->out->range_dels - before);
		if (walk_is_damage(err))
			err = block_failure(&k->w->source, h, err);
	}
	if (!walk_is_damage(err))
		return err;
	err = tell(k, err, WALK_RANGE_DEL, &h);
	return err ? err : show_block(k, WALK_RANGE_DEL, h, true, 0);
}

static int walk_filter_parts(struct walker *k)
{
	const struct index *parts = &k->w->filter_parts;

	for (uint32_t i = 0; i < parts->n; i++) {
		struct block_handle h = index_handle(parts, i);
		struct cairn_slice contents;
		bool bad = false;
		int err = table_walk_read(k->w, &k->window, h, false, &k->reuse,
					  &contents, NULL);

		if (walk_is_damage(err)) {
			bad = true;
			err = tell(k, err, WALK_FILTER, &h);
		}
		if (!err)
			err = show_block(k, WALK_FILTER, h, bad, 0);
		if (err)
			return err;
	}
	return CAIRN_OK;
}

/* Blocks that were read when the file was opened. */
static int show_outline(struct walker *k)
{
	const struct table_walk *w = k->w;
	int err = CAIRN_OK;

	if (!k->v->block)
		return CAIRN_OK;
	if (w->filter_block.there)
		err = show_block(k, WALK_FILTER, w->filter_block.handle,
				 !w->filter && !w->filter_parts.memory,
				 w->filter_parts.n);
	for (size_t i = 0; i < w->n_leaves && !err; i++)
		err = show_block(k, WALK_INDEX, w->leaf[i].handle,
				 w->leaf[i].bad, w->leaf[i].index.n);
	if (!err && w->two_level)
		err = show_block(k, WALK_INDEX, w->top_handle, false, w->top.n);
	if (!err && w->dict_block.there)
		err = show_block(k, WALK_DICT, w->dict_block.handle,
				 w->dict_bad, 0);
	if (!err && w->props_block.there)
		err = show_block(k, WALK_PROPS, w->props_block.handle,
				 !w->has_props, 0);
	if (!err && w->metaindex.there)
		err = show_block(k, WALK_METAINDEX, w->metaindex.handle, false,
				 0);
	return err;
}

/* ---- the whole */

static int walk_data(struct walker *k)
{
	int err = CAIRN_OK;

	for (size_t p = 0; p < k->w->n_leaves && !err; p++) {
		k->leaf = &k->w->leaf[p].index;
		for (k->i = 0; k->i < k->leaf->n && !err; k->i++)
			err = walk_block(k);
	}
	return err ? err : end_span(k, NULL);
}

struct figure {
	const char *what;
	uint64_t is;
	uint64_t should;
};

/* The counts of a table that could be read as a whole. */
static int check_counts(struct walker *k)
{
	const struct table_walk *w = k->w;
	const struct table_props *p = &w->props;
	const struct walk_result *r = k->out;
	const struct figure figures[] = {
		{ "entries", r->entries + r->range_dels, p->entries },
		{ "deletions", r->deletions, p->deletions },
		{ "merge operands", r->merges, p->merges },
		{ "range tombstones", r->range_dels, p->range_deletions },
		{ "data blocks", r->blocks, p->data_blocks },
		{ "bytes of keys", r->raw_key_bytes, p->raw_key_bytes },
		{ "bytes of values", r->raw_value_bytes, p->raw_value_bytes },
	};
	const struct block_handle *h = &w->props_block.handle;

	if (!w->has_props || r->bad_blocks || w->index_bad || r->damages)
		return CAIRN_OK;
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		const struct figure *f = &figures[i];
		int err;

		if (f->is == f->should)
			continue;
		err = tell(k,
			   error_set(CAIRN_ECORRUPT,
				     "%s: %" PRIu64
				     " %s, by the properties %" PRIu64,
				     w->path, f->is, f->what, f->should),
			   WALK_PROPS, h);
		if (err)
			return err;
	}
	return CAIRN_OK;
}

int table_walk_run(struct table_walk *w, const struct walk_visitor *v,
		   struct walk_result *out)
{
	struct walker k = { .w = w, .v = v, .out = out };
	int err = tell_notes(&k);

	if (!err)
		err = show_properties(&k);
	if (!err && !w->foreign_order)
		err = walk_data(&k);
	if (!err)
		err = walk_filter_parts(&k);
	if (!err && !w->foreign_order)
		err = walk_range_dels(&k);
	if (!err)
		err = show_outline(&k);
	if (!err)
		err = check_counts(&k);
	read_window_fini(&k.window);
	buf_fini(&k.reuse);
	buf_fini(&k.last_key);
	buf_fini(&k.from);
	buf_fini(&k.part_bytes);
	return k.stop ? k.stop : err;
}
