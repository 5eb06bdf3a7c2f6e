/* SPDX-License-Identifier: BSD-3-Clause */
/* What is read of a table before its blocks are walked. */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/table/filter.h"
#include "engine/table/props_block.h"
#include "engine/table/table_priv.h"
#include "engine/table/walk_priv.h"

#define TAIL_LEN   (64u << 10)
#define COMPARATOR "leveldb.BytewiseComparator"

/* The number of a table that belongs to no family in particular. */
#define FAMILY_UNKNOWN 0x7fffffff

/* Remember the failure err, to be told when the walk begins. */
static int note(struct table_walk *w, int err, enum walk_kind kind,
		const struct block_handle *h)
{
	struct walk_note *more;

	if (!walk_is_damage(err))
		return err;
	more = realloc(w->notes, (w->n_notes + 1) * sizeof(*more));
	if (!more)
		return error_nomem();
	w->notes = more;
	more[w->n_notes] = (struct walk_note){
		.damage = { .code = err, .kind = kind },
		.message = strdup(cairn_errmsg()),
	};
	if (!more[w->n_notes].message)
		return error_nomem();
	if (h) {
		more[w->n_notes].damage.has_place = true;
		more[w->n_notes].damage.place = *h;
	}
	w->n_notes++;
	return CAIRN_OK;
}

int table_walk_read(struct table_walk *w, struct read_window *window,
		    struct block_handle h, bool data, struct buf *reuse,
		    struct cairn_slice *contents, uint8_t *codec)
{
	bool in_window;
	int err;

	if (data && w->dict_bad)
		return error_set(CAIRN_ECORRUPT,
				 "%s: block at %" PRIu64 ", %" PRIu64
				 " bytes: its dictionary cannot be read",
				 w->path, h.offset, h.size);
	err = block_read_reusing(&w->source, h, window, data ? w->dict : NULL,
				 reuse, contents);
	if (err || !codec)
		return err;
	in_window = read_window_has(window, h);
	*codec = in_window ? window->bytes[h.offset - window->off + h.size]
			   : reuse->data[h.size];
	return CAIRN_OK;
}

/* Where a kind of block of the metaindex is kept; NULL: of no interest. */
static struct walk_meta *meta_of(struct table_walk *w, struct cairn_slice name)
{
	if (slice_eq(name, slice_str("rocksdb.properties")) ||
	    slice_eq(name, slice_str("rocksdb.stats")))
		return &w->props_block;
	if (slice_eq(name, slice_str("rocksdb.range_del")))
		return &w->range_del;
	if (slice_eq(name, slice_str("rocksdb.compression_dict")))
		return &w->dict_block;
	if (slice_eq(name, slice_str(FILTER_FULL_KEY)))
		return &w->filter_block;
	if (slice_eq(name, slice_str(FILTER_PARTITIONED_KEY))) {
		w->filter_parted = true;
		return &w->filter_block;
	}
	return NULL;
}

static int read_metaindex(struct table_walk *w, struct read_window *tail)
{
	struct block_handle h = w->metaindex.handle;
	struct block_cursor c = { 0 };
	struct buf reuse = { 0 };
	struct cairn_slice contents;
	int err = table_walk_read(w, tail, h, false, &reuse, &contents, NULL);

	if (err)
		goto out;
	err = block_cursor_init(&c, contents, false);
	while (!err) {
		struct walk_meta *m;

		err = block_cursor_next(&c, NULL);
		if (err)
			break;
		m = meta_of(w, buf_slice(&c.key));
		if (!m)
			continue;
		err = block_handle_decode(&c.value,
					  w->source.file_len - w->footer.len,
					  &m->handle);
		m->there = !err;
	}
	block_cursor_fini(&c);
	if (err == CAIRN_NOT_FOUND)
		err = CAIRN_OK;
	if (err)
		err = block_failure(&w->source, h, err);
out:
	buf_fini(&reuse);
	return err;
}

/*
 * RocksDB may have written the number of an ingested table into the properties
 * without renewing their checksum: it is that with zeros there.
 */
static int check_without_seqno(const struct table_walk *w, uint8_t *stored,
			       size_t len)
{
	uint8_t saved[8];
	size_t at;
	int err = block_check(w->source.checksum, stored, len);

	if (!err || stored[len] != TABLE_CODEC_NONE ||
	    props_find_global_seqno(slice_of(stored, len), &at))
		return block_check(w->source.checksum, stored, len);
	memcpy(saved, stored + at, sizeof(saved));
	memset(stored + at, 0, sizeof(saved));
	err = block_check(w->source.checksum, stored, len);
	memcpy(stored + at, saved, sizeof(saved));
	return err ? block_check(w->source.checksum, stored, len) : CAIRN_OK;
}

static int read_props_bytes(struct table_walk *w, struct read_window *tail)
{
	struct block_handle h = w->props_block.handle;
	size_t len = (size_t)h.size;
	struct buf copy = { 0 };
	struct cairn_slice contents;
	struct stored_block st;
	int err = buf_reserve(&copy, len + BLOCK_TRAILER_LEN);

	if (!err)
		err = block_read_stored(&w->source, h, tail, copy.data, &st);
	if (err)
		goto out;
	if (st.codec != TABLE_CODEC_NONE) {
		err = table_walk_read(w, tail, h, false, &copy, &contents,
				      NULL);
		if (!err)
			err = buf_set(&w->props_bytes, contents);
		goto out;
	}
	if (st.bytes.data != copy.data)
		memcpy(copy.data, st.bytes.data, len + BLOCK_TRAILER_LEN);
	err = check_without_seqno(w, copy.data, len);
	if (err)
		err = block_failure(&w->source, h, err);
	else
		err = buf_set(&w->props_bytes, slice_of(copy.data, len));
out:
	buf_fini(&copy);
	return err;
}

/* What table_props does not have. */
static int find_family(struct table_walk *w)
{
	struct block_cursor c = { 0 };
	int err = block_cursor_init(&c, buf_slice(&w->props_bytes), false);

	while (!err) {
		struct cairn_slice v;
		uint64_t id;

		err = block_cursor_next(&c, NULL);
		v = c.value;
		if (!err &&
		    slice_eq(buf_slice(&c.key),
			     slice_str("rocksdb.column.family.id")) &&
		    get_varint64(&v, &id))
			w->other_family = id != 0 && id != FAMILY_UNKNOWN;
	}
	block_cursor_fini(&c);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int read_props(struct table_walk *w, struct read_window *tail)
{
	struct block_handle h = w->props_block.handle;
	struct table_props p;
	int err = read_props_bytes(w, tail);

	if (err)
		return err;
	err = table_props_decode(buf_slice(&w->props_bytes), &p);
	if (err)
		return block_failure(&w->source, h, err);
	table_props_fini(&w->props);
	w->props = p;
	w->has_props = true;
	err = find_family(w);
	if (err)
		return block_failure(&w->source, h, err);
	if (!*p.comparator || !strcmp(p.comparator, COMPARATOR))
		return CAIRN_OK;
	w->foreign_order = true;
	return error_set(CAIRN_ENOTSUP,
			 "%s: keys are ordered by %s; only " COMPARATOR
			 " is supported",
			 w->path, p.comparator);
}

/* The sequence number that stands in for those of an ingested table. */
static int find_global_seqno(struct table_walk *w)
{
	const struct table_props *p = &w->props;
	const struct walk_limits *l = &w->limits;
	bool known = l->known && l->seqnos_known;
	uint64_t seqno = p->global_seqno;

	if (!p->has_external_version || p->external_version < 2) {
		if (!p->has_global_seqno)
			return CAIRN_OK;
		return error_set(CAIRN_ECORRUPT,
				 "%s: has a global sequence number, but is not "
				 "an external table",
				 w->path);
	}
	if (known && seqno && seqno != l->largest_seqno)
		return error_set(CAIRN_ECORRUPT,
				 "%s: ingested at sequence number %" PRIu64
				 ", the MANIFEST says %" PRIu64,
				 w->path, seqno, l->largest_seqno);
	w->seqno_unknown = !known && !seqno;
	if (!seqno && known)
		seqno = l->largest_seqno;
	w->seqno_bits = ikey_pack(seqno, 0);
	return CAIRN_OK;
}

static int read_dict(struct table_walk *w, struct read_window *tail)
{
	struct buf reuse = { 0 };
	struct cairn_slice contents;
	int err = table_walk_read(w, tail, w->dict_block.handle, false, &reuse,
				  &contents, NULL);

	/* An empty one is written when there was nothing to sample. */
	if (!err && contents.len)
		err = block_dict_new(contents, &w->dict);
	buf_fini(&reuse);
	w->dict_bad = err != CAIRN_OK;
	return err;
}

static int read_index_block(struct table_walk *w, struct read_window *window,
			    struct block_handle h, struct index *out)
{
	struct buf reuse = { 0 };
	struct cairn_slice contents;
	int err = table_walk_read(w, window, h, false, &reuse, &contents, NULL);

	if (!err) {
		err = index_decode(contents, &w->format, out);
		if (err)
			err = block_failure(&w->source, h, err);
	}
	buf_fini(&reuse);
	return err;
}

/* The dialects of an index, likely ones first. */
static int guess_index(struct table_walk *w, struct read_window *tail,
		       struct index *out)
{
	int err = CAIRN_OK;

	/* Old tables know one dialect only. */
	w->format_guessed = w->footer.version >= 3;
	for (unsigned i = 0; i < 8; i++) {
		if (w->footer.version < 3 && i > 0)
			break;
		w->format.user_keys = w->footer.version >= 3 && !(i & 1);
		w->format.delta = w->footer.version >= 3 && !(i & 2);
		w->format.first_key = i & 4;
		err = read_index_block(w, tail, w->footer.index, out);
		if (!err)
			break;
		if (!walk_is_damage(err))
			return err;
	}
	/* The blocks of an index in parts come behind the data. */
	w->two_level = !err && w->format_guessed && out->n &&
		       out->entry[0].offset != 0;
	return err;
}

static int add_leaf(struct table_walk *w, struct block_handle h,
		    struct read_window *window)
{
	struct walk_leaf *leaf = &w->leaf[w->n_leaves];
	int err;

	*leaf = (struct walk_leaf){ .handle = h };
	w->n_leaves++;
	err = read_index_block(w, window, h, &leaf->index);
	if (err && walk_is_damage(err)) {
		leaf->bad = true;
		w->index_bad = true;
	}
	return err;
}

static int read_index(struct table_walk *w, struct read_window *tail)
{
	struct block_handle h = w->footer.index;
	struct index ix = { 0 };
	int err;

	if (w->has_props) {
		w->two_level = w->props.index_type == TABLE_INDEX_TWO_LEVEL;
		err = read_index_block(w, tail, h, &ix);
	} else {
		err = guess_index(w, tail, &ix);
	}
	if (err) {
		w->index_bad = true;
		return walk_is_damage(err) ? note(w, err, WALK_INDEX, &h) : err;
	}
	w->leaf = calloc(w->two_level ? (size_t)ix.n + 1 : 1, sizeof(*w->leaf));
	if (!w->leaf) {
		index_fini(&ix);
		return error_nomem();
	}
	w->top_handle = h;
	if (!w->two_level) {
		w->leaf[0] = (struct walk_leaf){ .handle = h, .index = ix };
		w->n_leaves = 1;
		return CAIRN_OK;
	}
	w->top = ix;
	for (uint32_t i = 0; i < ix.n && !err; i++) {
		h = index_handle(&ix, i);
		err = add_leaf(w, h, tail);
		if (err)
			err = note(w, err, WALK_INDEX, &h);
	}
	return err;
}

static int read_filter(struct table_walk *w, struct read_window *tail)
{
	struct block_handle h = w->filter_block.handle;
	struct buf reuse = { 0 };
	struct cairn_slice contents, copy;
	int err;

	if (w->filter_parted)
		return read_index_block(w, tail, h, &w->filter_parts);
	err = table_walk_read(w, tail, h, false, &reuse, &contents, NULL);
	if (!err)
		err = slice_dup(contents, &copy);
	if (!err) {
		w->filter = (uint8_t *)(uintptr_t)copy.data;
		bloom_open(&w->bloom, copy);
	}
	buf_fini(&reuse);
	return err;
}

static int read_footer(struct table_walk *w, const struct read_window *tail)
{
	int err = footer_decode(slice_of(tail->bytes, tail->len),
				w->source.file_len, &w->footer);

	if (err)
		return error_set(err, "%s: %s", w->path, cairn_errmsg());
	w->has_footer = true;
	w->source.checksum = w->footer.checksum;
	w->source.version = (uint8_t)w->footer.version;
	w->metaindex = (struct walk_meta){ true, w->footer.metaindex };
	w->format.file_len = w->source.file_len - w->footer.len;
	return CAIRN_OK;
}

/* What the properties say of the rest. */
static int apply_props(struct table_walk *w)
{
	w->format.user_keys = w->props.index_key_is_user_key;
	w->format.delta = w->props.index_value_is_delta;
	w->format.first_key = w->props.index_type == TABLE_INDEX_FIRST_KEY;
	w->format_guessed = false;
	return find_global_seqno(w);
}

/* Metaindex, properties and dictionary. */
static int read_metas(struct table_walk *w, struct read_window *tail)
{
	int err = CAIRN_OK;

	if (!w->props_block.there) {
		err = read_metaindex(w, tail);
		if (err)
			err = note(w, err, WALK_METAINDEX,
				   &w->metaindex.handle);
	}
	if (!err && w->props_block.there) {
		err = read_props(w, tail);
		if (err)
			err = note(w, err, WALK_PROPS, &w->props_block.handle);
	}
	if (!err && w->has_props) {
		err = apply_props(w);
		if (err)
			err = note(w, err, WALK_PROPS, NULL);
	}
	if (!err && w->dict_block.there && !w->dict) {
		err = read_dict(w, tail);
		if (err)
			err = note(w, err, WALK_DICT, &w->dict_block.handle);
	}
	return err;
}

/* Everything but the data; failures are noted. */
static int read_outline(struct table_walk *w, struct read_window *tail)
{
	uint64_t size = w->source.file_len;
	size_t want = size < TAIL_LEN ? (size_t)size : TAIL_LEN;
	struct block_handle end = { size - want, want };
	int err = read_window_fill(&w->source, tail, size - want, want);

	if (!err && tail->len != want)
		err = error_set(CAIRN_ECORRUPT, "%s: file ends early", w->path);
	if (!err)
		err = read_footer(w, tail);
	if (err) {
		w->index_bad = true;
		return note(w, err, WALK_FOOTER, &end);
	}
	err = read_metas(w, tail);
	if (!err)
		err = read_index(w, tail);
	if (!err && w->filter_block.there) {
		err = read_filter(w, tail);
		if (err)
			err = note(w, err, WALK_FILTER,
				   &w->filter_block.handle);
	}
	return err;
}

int table_walk_reread_metas(struct table_walk *w)
{
	struct read_window none = { 0 };

	return read_metas(w, &none);
}

int table_walk_reread_index(struct table_walk *w)
{
	struct read_window none = { 0 };

	w->index_bad = false;
	return read_index(w, &none);
}

static int keep_limits(struct table_walk *w, const struct walk_limits *l)
{
	int err = CAIRN_OK;

	if (!l || !l->known)
		return CAIRN_OK;
	w->limits = *l;
	err = buf_set(&w->smallest, l->smallest.user_key);
	if (!err)
		err = buf_set(&w->largest, l->largest.user_key);
	w->limits.smallest.user_key = buf_slice(&w->smallest);
	w->limits.largest.user_key = buf_slice(&w->largest);
	return err;
}

int table_walk_open(struct rfile *f, const char *path, uint64_t size,
		    const struct walk_limits *limits, struct table_walk **out)
{
	struct table_walk *w = calloc(1, sizeof(*w));
	struct read_window tail = { 0 };
	int err;

	if (!w) {
		rfile_close(f);
		return error_nomem();
	}
	w->source.file = f;
	w->source.file_len = size;
	w->path = strdup(path);
	w->source.path = w->path;
	w->source.version = FOOTER_VERSION; /* until it is known */
	err = w->path ? table_props_init(&w->props) : error_nomem();
	if (!err)
		err = keep_limits(w, limits);
	if (!err)
		err = read_outline(w, &tail);
	read_window_fini(&tail);
	if (err)
		table_walk_close(w);
	else
		*out = w;
	return err;
}

void table_walk_close(struct table_walk *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n_notes; i++)
		free(w->notes[i].message);
	free(w->notes);
	for (size_t i = 0; i < w->n_leaves; i++)
		index_fini(&w->leaf[i].index);
	free(w->leaf);
	index_fini(&w->top);
	index_fini(&w->filter_parts);
	free(w->filter);
	block_dict_free(w->dict);
	table_props_fini(&w->props);
	buf_fini(&w->props_bytes);
	buf_fini(&w->smallest);
	buf_fini(&w->largest);
	rfile_close(w->source.file);
	free(w->path);
	free(w);
}

const struct footer *table_walk_footer(const struct table_walk *w)
{
	return w->has_footer ? &w->footer : NULL;
}

const struct table_props *table_walk_props(const struct table_walk *w)
{
	return &w->props;
}

bool table_walk_has_props(const struct table_walk *w)
{
	return w->has_props;
}

uint64_t table_walk_blocks(const struct table_walk *w)
{
	uint64_t n = 0;

	for (size_t i = 0; i < w->n_leaves; i++)
		n += w->leaf[i].index.n;
	return w->index_bad ? 0 : n;
}

bool table_walk_index_is_whole(const struct table_walk *w)
{
	return !w->index_bad;
}

bool table_walk_other_family(const struct table_walk *w)
{
	return w->other_family;
}

bool table_walk_seqno_unknown(const struct table_walk *w)
{
	return w->seqno_unknown;
}

uint64_t table_walk_data_end(const struct table_walk *w)
{
	const struct walk_meta *metas[] = {
		&w->metaindex,   &w->range_del,    &w->dict_block,
		&w->props_block, &w->filter_block,
	};
	uint64_t end = w->source.file_len;

	if (w->has_footer)
		end -= w->footer.len;
	for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]); i++)
		if (metas[i]->there && metas[i]->handle.offset < end)
			end = metas[i]->handle.offset;
	if (w->has_footer && w->footer.index.size &&
	    w->footer.index.offset < end)
		end = w->footer.index.offset;
	for (size_t i = 0; i < w->n_leaves; i++)
		if (w->leaf[i].handle.offset < end)
			end = w->leaf[i].handle.offset;
	for (uint32_t i = 0; i < w->filter_parts.n; i++)
		if (w->filter_parts.entry[i].offset < end)
			end = w->filter_parts.entry[i].offset;
	return end;
}
