/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/salvage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/table/filter.h"
#include "engine/table/props_block.h"
#include "engine/table/table_priv.h"
#include "engine/table/walk_priv.h"

/* A restart point and the number of them, and one entry. */
#define BLOCK_LEN_MIN 12

/* The longest block that is looked for from a place where one must begin, and
 * from one where it may. */
#define FIND_LEN_MAX  (4u << 20)
#define GUESS_LEN_MAX (64u << 10)

/* The highest number of a codec that a block may have. */
#define CODEC_MAX TABLE_CODEC_ZSTD

/* Metaindex and properties are looked for in so many bytes at most. */
#define META_LEN_MAX  (16u << 10)
#define TOMBS_LEN_MAX (256u << 10)

/* Bytes to hash at most while looking for the blocks of one table, which is a
 * matter of some ten seconds; a try costs as much as so many. */
#define HASH_BYTES_MAX ((uint64_t)64 << 30)
#define HASH_TRY_COST  64

/* Read at a time, and searched. */
#define PIECE_LEN (8u << 20)

void salvage_blocks_fini(struct salvage_blocks *b)
{
	free(b->handle);
	*b = (struct salvage_blocks){ 0 };
}

static bool is_known(uint8_t kind)
{
	return table_kind_among(kind, TABLE_KINDS);
}

static int add_block(struct salvage_blocks *b, struct block_handle h)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? 2 * b->cap : 64;
		struct block_handle *more =
			realloc(b->handle, cap * sizeof(*more));

		if (!more)
			return error_nomem();
		b->handle = more;
		b->cap = cap;
	}
	b->handle[b->n++] = h;
	return CAIRN_OK;
}

/* ------------------------------------------------------- the outline */

static const enum table_checksum checksums[] = {
	TABLE_CHECKSUM_XXH3,
	TABLE_CHECKSUM_CRC32C,
	TABLE_CHECKSUM_XXH64,
	TABLE_CHECKSUM_XXH32,
};
#define N_CHECKSUMS (sizeof(checksums) / sizeof(checksums[0]))

static bool is_codec(uint8_t codec)
{
	return codec <= CODEC_MAX;
}

static bool checksum_fits(enum table_checksum type, const uint8_t *p,
			  size_t len)
{
	return block_checksum(type, p, len) == load_le32(p + len + 1);
}

/* Whether the names of an uncompressed meta block are of the given kind. */
static bool has_names(struct cairn_slice contents, const char *const *starts,
		      size_t n)
{
	struct block_cursor c = { 0 };
	bool any = false, ok = true;
	int err = block_cursor_init(&c, contents, false);

	while (!err && ok) {
		err = block_cursor_next(&c, NULL);
		if (err)
			break;
		ok = false;
		for (size_t i = 0; i < n && !ok; i++)
			ok = slice_starts_with(buf_slice(&c.key),
					       slice_str(starts[i]));
		any = any || ok;
	}
	block_cursor_fini(&c);
	return ok && any && err == CAIRN_NOT_FOUND;
}

static bool is_metaindex(struct cairn_slice contents)
{
	static const char *const starts[] = { "rocksdb.", "fullfilter.",
					      "partitionedfilter.", "filter." };

	return has_names(contents, starts, 4);
}

static bool is_props(struct cairn_slice contents)
{
	static const char *const starts[] = { "rocksdb.block.based.table.",
					      "rocksdb." };

	return has_names(contents, starts, 2);
}

/* Every entry is a range tombstone. */
static bool is_tombs(struct cairn_slice contents)
{
	struct block_cursor c = { 0 };
	bool any = false, ok = true;
	int err = block_cursor_init(&c, contents, false);

	while (!err && ok) {
		struct ikey k;

		err = block_cursor_next(&c, NULL);
		if (err)
			break;
		ok = ikey_decode(buf_slice(&c.key), &k) &&
		     ikey_kind(&k) == KIND_RANGE_DELETE &&
		     slice_cmp(k.user_key, c.value) <= 0;
		any = any || ok;
	}
	block_cursor_fini(&c);
	return ok && any && err == CAIRN_NOT_FOUND;
}

/*
 * The block that ends, trailer included, at end: uncompressed, at most max
 * bytes long, and accepted by is(). CAIRN_NOT_FOUND.
 */
static int find_ending_at(struct table_walk *w, uint64_t end, size_t max,
			  bool (*is)(struct cairn_slice contents),
			  struct block_handle *h)
{
	size_t len = end < max ? (size_t)end : max;
	uint8_t *bytes;
	size_t got;
	int err;

	if (len < BLOCK_LEN_MIN + BLOCK_TRAILER_LEN)
		return CAIRN_NOT_FOUND;
	bytes = malloc(len);
	if (!bytes)
		return error_nomem();
	err = rfile_read(w->source.file, end - len, bytes, len, &got);
	if (err || got != len) {
		free(bytes);
		return CAIRN_NOT_FOUND;
	}
	err = CAIRN_NOT_FOUND;
	/* Those codec byte belongs to the block; who writes it writes 0. */
	for (size_t n = BLOCK_LEN_MIN; n + BLOCK_TRAILER_LEN <= len; n++) {
		const uint8_t *p = bytes + len - BLOCK_TRAILER_LEN - n;

		if (p[n] != TABLE_CODEC_NONE ||
		    !checksum_fits(w->source.checksum, p, n) ||
		    !is(slice_of(p, n)))
			continue;
		h->offset = end - BLOCK_TRAILER_LEN - n;
		h->size = n;
		err = CAIRN_OK;
		break;
	}
	free(bytes);
	return err;
}

/* The index is between the filter, or the data, and the other meta blocks. */
static bool find_index_handle(struct table_walk *w, struct block_handle *h)
{
	uint64_t from = 0, to = w->metaindex.handle.offset;
	const struct walk_meta *behind[] = { &w->range_del, &w->dict_block,
					     &w->props_block };

	if (!w->filter_block.there || w->filter_parted)
		return false;
	from = w->filter_block.handle.offset + w->filter_block.handle.size +
	       BLOCK_TRAILER_LEN;
	for (size_t i = 0; i < 3; i++)
		if (behind[i]->there && behind[i]->handle.offset < to &&
		    behind[i]->handle.offset >= from)
			to = behind[i]->handle.offset;
	if (to <= from + BLOCK_TRAILER_LEN)
		return false;
	*h = (struct block_handle){ from, to - from - BLOCK_TRAILER_LEN };
	return true;
}

/* What reading the outline set before it failed, so that it can be repeated. */
static void forget_outline(struct table_walk *w)
{
	for (size_t i = 0; i < w->n_leaves; i++)
		index_fini(&w->leaf[i].index);
	free(w->leaf);
	w->leaf = NULL;
	w->n_leaves = 0;
	index_fini(&w->top);
	w->top = (struct index){ 0 };
	w->index_bad = true;
}

/* A footer that cannot be read: find what it should point to. */
static int find_footer(struct table_walk *w)
{
	static const size_t lens[] = { FOOTER_LEN, FOOTER_LEGACY_LEN };
	struct block_handle h;
	int err = CAIRN_NOT_FOUND;

	for (size_t i = 0; i < 2 && err == CAIRN_NOT_FOUND; i++) {
		if (w->source.file_len < lens[i])
			break;
		for (size_t t = 0; t < N_CHECKSUMS; t++) {
			w->source.checksum = checksums[t];
			err = find_ending_at(w, w->source.file_len - lens[i],
					     META_LEN_MAX, is_metaindex, &h);
			if (err != CAIRN_NOT_FOUND)
				break;
		}
		w->footer.len = lens[i];
	}
	if (err)
		return err;
	/* Of versions 3 and up only the properties make a difference. */
	w->footer.version = w->footer.len == FOOTER_LEN ? FOOTER_VERSION : 0;
	w->footer.checksum = w->source.checksum;
	w->source.version = (uint8_t)w->footer.version;
	w->footer.metaindex = h;
	w->footer.index = (struct block_handle){ 0, 0 };
	w->metaindex = (struct walk_meta){ true, h };
	w->format.file_len = w->source.file_len - w->footer.len;
	w->has_footer = true;
	return CAIRN_OK;
}

int table_salvage_outline(struct table_walk *w)
{
	bool had_footer = w->has_footer;
	struct block_handle h;
	int err = CAIRN_OK;

	if (!had_footer) {
		err = find_footer(w);
		if (!err) {
			forget_outline(w);
			err = table_walk_reread_metas(w);
		}
	} else if (w->metaindex.there && !w->props_block.there &&
		   w->footer.version > 0) {
		/* Not in the metaindex, or that is gone. */
		err = find_ending_at(w, w->metaindex.handle.offset,
				     META_LEN_MAX, is_props, &h);
		if (!err) {
			w->props_block = (struct walk_meta){ true, h };
			forget_outline(w);
			err = table_walk_reread_metas(w);
		}
		if (!err && w->has_props && w->props.range_deletions &&
		    !w->range_del.there) {
			err = find_ending_at(w, w->props_block.handle.offset,
					     TOMBS_LEN_MAX, is_tombs, &h);
			if (!err)
				w->range_del = (struct walk_meta){ true, h };
		}
	} else {
		return CAIRN_OK;
	}
	if (err && err != CAIRN_NOT_FOUND)
		return err;
	if (!had_footer && w->has_footer && find_index_handle(w, &h)) {
		w->footer.index = h;
		err = table_walk_reread_index(w);
	} else if (had_footer && !w->n_leaves) {
		err = table_walk_reread_index(w);
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* ------------------------------------------------ looking for blocks */

struct search {
	struct table_walk *w;
	uint64_t hashed;
	bool exhausted;
	uint64_t at;     /* where a block is looked for */
	struct buf last; /* internal key of the last block found */
	bool any;
	struct buf reuse;
};

/* Whether a value is a block handle and nothing else, as in an index. */
static bool is_handle(const struct search *s, struct cairn_slice value)
{
	struct block_handle h;

	return !block_handle_decode(&value, s->w->source.file_len, &h) &&
	       !value.len;
}

/*
 * Whether the n bytes at p, with the codec behind them, are a data block that
 * follows the last one; remembers its last key. An index is known by where it
 * is: its keys are not above those before it. Only when there are none before
 * it must it be told by its values.
 */
static int accept(struct search *s, const uint8_t *p, size_t n, bool *yes)
{
	bool handles = !s->any;
	const struct stored_block stored = {
		.bytes = slice_of(p, n),
		.codec = p[n],
		.version = s->w->source.version,
	};
	struct cairn_slice contents;
	struct block b = { 0 };
	struct block_iter it;
	struct ikey last;
	uint8_t key[512];
	size_t len;
	int err;

	*yes = false;
	err = decompressed_len(&stored, s->w->dict, &len);
	if (err)
		return CAIRN_OK;
	buf_clear(&s->reuse);
	err = buf_reserve(&s->reuse, len);
	if (err)
		return err;
	if (decompress(&stored, s->w->dict, NULL, s->reuse.data, len))
		return CAIRN_OK;
	contents = slice_of(s->reuse.data, len);
	if (block_init(&b, contents) || block_survey(&b) || !b.n)
		return CAIRN_OK;
	block_iter_init(&it, 0, key, sizeof(key));
	block_iter_set(&it, &b);
	err = block_iter_first(&it);
	*yes = !err && (!s->any || (ikey_decode(buf_slice(&s->last), &last) &&
				    ikey_cmp(&last, &it.key) < 0));
	while (!err && *yes) {
		/* Separators of an index carry the highest number. */
		*yes = is_known(ikey_kind(&it.key)) &&
		       ikey_seqno(&it.key) < SEQNO_MAX;
		handles = handles && s->at > 0 && is_handle(s, it.value);
		if (*yes)
			err = block_iter_next(&it);
	}
	*yes = *yes && !handles;
	if (err == CAIRN_NOT_FOUND)
		err = CAIRN_OK;
	else if (err == CAIRN_ECORRUPT)
		*yes = false, err = CAIRN_OK;
	if (!err && *yes) {
		s->any = true;
		err = buf_set(&s->last, slice_of(it.buf, it.key_len));
	}
	block_iter_fini(&it);
	block_fini(&b);
	return err;
}

/* Whether a block may begin at p: an entry that shares nothing, or the length
 * and frame of compressed contents. */
static bool may_begin(const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	uint32_t raw;

	/* The key has a trailer of 8 bytes at least. */
	if (p[0] == 0)
		return p[1] >= IKEY_TRAILER_LEN;
	p = read_varint32(p, end, &raw);
	if (!p || raw < 8 || raw > BLOCK_LEN_MAX || end - p < 4)
		return false;
	if (load_le32(p) == 0xfd2fb528u)
		return true;
	/* Snappy begins with a literal. */
	return (p[0] & 3) == 0;
}

/*
 * The block that begins at p; len bytes are there. *n 0: none does. sure: one
 * should begin there.
 */
static int find_at(struct search *s, const uint8_t *p, size_t len, bool sure,
		   size_t *n)
{
	size_t max = sure ? FIND_LEN_MAX : GUESS_LEN_MAX;
	enum table_checksum type = s->w->source.checksum;
	uint32_t crc = 0;
	size_t done = 0;

	*n = 0;
	if (len < BLOCK_LEN_MIN + BLOCK_TRAILER_LEN ||
	    (!sure && !may_begin(p, len)))
		return CAIRN_OK;
	if (max > len - BLOCK_TRAILER_LEN)
		max = len - BLOCK_TRAILER_LEN;
	for (size_t k = BLOCK_LEN_MIN; k <= max; k++) {
		bool fits, yes;
		int err;

		/* Compressed contents begin with their length. */
		if (!is_codec(p[k]) ||
		    (!sure && (p[0] == 0) != (p[k] == TABLE_CODEC_NONE)))
			continue;
		s->hashed += HASH_TRY_COST;
		if (type == TABLE_CHECKSUM_CRC32C) {
			/* This one can be continued. */
			crc = crc32c_extend(crc, p + done, k - done);
			s->hashed += k - done;
			done = k;
			fits = crc32c_mask(crc32c_extend(crc, p + k, 1)) ==
			       load_le32(p + k + 1);
		} else {
			s->hashed += k;
			fits = checksum_fits(type, p, k);
		}
		if (s->hashed > HASH_BYTES_MAX) {
			s->exhausted = true;
			return CAIRN_OK;
		}
		if (!fits)
			continue;
		err = accept(s, p, k, &yes);
		if (err)
			return err;
		if (yes) {
			*n = k;
			return CAIRN_OK;
		}
	}
	return CAIRN_OK;
}

/* Look for blocks in [from, to) and add them. */
static int search_hole(struct search *s, uint64_t from, uint64_t to,
		       struct salvage_blocks *out)
{
	uint8_t *bytes = malloc(PIECE_LEN);
	uint64_t at = from, base = from;
	size_t got = 0;
	bool sure = true; /* a block begins at at */
	int err = bytes ? CAIRN_OK : error_nomem();

	while (!err && at < to && !s->exhausted) {
		size_t in = (size_t)(at - base), n;
		uint64_t want = to - at;

		if (want > PIECE_LEN)
			want = PIECE_LEN;
		/* Half a piece is more than any block that is looked for. */
		if (!got || (got - in < PIECE_LEN / 2 && got - in < want)) {
			base = at;
			in = 0;
			err = rfile_read(s->w->source.file, at, bytes,
					 (size_t)want, &got);
			if (err == CAIRN_EIO) {
				err = CAIRN_OK;
				break;
			}
			if (err || !got)
				break;
		}
		s->at = at;
		err = find_at(s, bytes + in, got - in, sure, &n);
		if (err)
			break;
		if (n) {
			err = add_block(out, (struct block_handle){ at, n });
			at += n + BLOCK_TRAILER_LEN;
			sure = true;
		} else {
			out->bytes_lost++;
			at++;
			sure = false;
		}
	}
	if (at < to)
		out->bytes_lost += to - at;
	free(bytes);
	return err;
}

/* Which checksums the table has, when not even the footer is known. */
static int find_checksum(struct search *s, uint64_t end)
{
	size_t want = end < GUESS_LEN_MAX * 2 ? (size_t)end : GUESS_LEN_MAX * 2;
	uint8_t *bytes = malloc(want + 1);
	size_t got, n = 0;
	int err;

	if (!bytes)
		return error_nomem();
	err = rfile_read(s->w->source.file, 0, bytes, want, &got);
	for (size_t at = 0; !err && at < got && !n; at++) {
		for (size_t t = 0; t < N_CHECKSUMS && !n && !err; t++) {
			s->w->source.checksum = checksums[t];
			err = find_at(s, bytes + at, got - at, at == 0, &n);
		}
	}
	free(bytes);
	s->any = false;
	s->hashed = 0;
	s->exhausted = false;
	return err == CAIRN_EIO ? CAIRN_OK : err;
}

/* --------------------------------------------------------- gathering */

/* A block that the index names: whole and in order? */
static int try_block(struct search *s, struct block_handle h,
		     struct salvage_blocks *out)
{
	struct read_window none = { 0 };
	struct cairn_slice contents;
	struct buf stored = { 0 };
	struct block b = { 0 };
	int err =
		table_walk_read(s->w, &none, h, true, &stored, &contents, NULL);

	if (!err)
		err = block_init(&b, contents);
	if (!err)
		err = block_survey(&b);
	buf_fini(&stored);
	if (!err)
		return add_block(out, h);
	if (err != CAIRN_ECORRUPT && err != CAIRN_EIO)
		return err;
	out->bytes_lost += h.size + BLOCK_TRAILER_LEN;
	return CAIRN_OK;
}

static int last_key_of(struct search *s, struct block_handle h)
{
	struct read_window none = { 0 };
	struct cairn_slice contents;
	struct buf reuse = { 0 };
	struct block_cursor c = { 0 };
	int err =
		table_walk_read(s->w, &none, h, true, &reuse, &contents, NULL);

	if (!err)
		err = block_cursor_init(&c, contents, false);
	while (!err) {
		err = block_cursor_next(&c, NULL);
		if (!err) {
			s->any = true;
			err = buf_set(&s->last, buf_slice(&c.key));
		}
	}
	block_cursor_fini(&c);
	buf_fini(&reuse);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* Where the data of the first leaf from i on begins that can be read. */
static uint64_t next_known(const struct table_walk *w, size_t i)
{
	for (; i < w->n_leaves; i++)
		if (!w->leaf[i].bad && w->leaf[i].index.n)
			return w->leaf[i].index.entry[0].offset;
	return table_walk_data_end(w);
}

static int gather(struct search *s, struct salvage_blocks *out)
{
	struct table_walk *w = s->w;
	uint64_t at = 0;
	int err = CAIRN_OK;

	if (!w->n_leaves)
		return search_hole(s, 0, table_walk_data_end(w), out);
	for (size_t p = 0; p < w->n_leaves && !err; p++) {
		const struct index *leaf = &w->leaf[p].index;

		if (w->leaf[p].bad) {
			uint64_t to = next_known(w, p + 1);

			if (to > at && out->n)
				err = last_key_of(s, out->handle[out->n - 1]);
			if (!err && to > at)
				err = search_hole(s, at, to, out);
			at = to > at ? to : at;
			continue;
		}
		for (uint32_t i = 0; i < leaf->n && !err; i++) {
			struct block_handle h = index_handle(leaf, i);

			err = try_block(s, h, out);
			at = h.offset + h.size + BLOCK_TRAILER_LEN;
		}
	}
	return err;
}

int table_salvage_indexed(struct table_walk *w, struct salvage_blocks *out)
{
	int err = CAIRN_OK;

	*out = (struct salvage_blocks){ 0 };
	for (size_t p = 0; p < w->n_leaves && !err; p++) {
		const struct index *leaf = &w->leaf[p].index;

		for (uint32_t i = 0; i < leaf->n && !err; i++)
			err = add_block(out, index_handle(leaf, i));
	}
	out->checksum = w->source.checksum;
	if (err)
		salvage_blocks_fini(out);
	return err;
}

int table_salvage_blocks(struct table_walk *w, struct salvage_blocks *out)
{
	struct search s = { .w = w };
	int err = CAIRN_OK;

	*out = (struct salvage_blocks){ 0 };
	if (w->foreign_order)
		return error_set(CAIRN_ENOTSUP,
				 "%s: keys are ordered by %s, which is not "
				 "supported",
				 w->path, w->props.comparator);
	if (!w->has_footer)
		err = find_checksum(&s, w->source.file_len);
	if (!err)
		err = gather(&s, out);
	out->checksum = w->source.checksum;
	buf_fini(&s.last);
	buf_fini(&s.reuse);
	if (err)
		salvage_blocks_fini(out);
	return err;
}

/* ---------------------------------------------------------- iterator */

struct salvage_iter {
	struct iter base;
	struct table_walk *w;
	const struct salvage_blocks *blocks;
	size_t next; /* block */
	struct read_window window;
	struct buf reuse;
	struct block block;
	struct block_iter entry;
	bool in_block;
	struct buf last; /* as stored */
	bool any;
};

/* The next block that can still be read. */
static int open_block(struct salvage_iter *s)
{
	for (;;) {
		struct block_handle h;
		struct cairn_slice contents;
		size_t want;
		int err = CAIRN_OK;

		if (s->next == s->blocks->n)
			return CAIRN_NOT_FOUND;
		h = s->blocks->handle[s->next++];
		want = (size_t)h.size + BLOCK_TRAILER_LEN;
		if (want < GUESS_LEN_MAX * 4)
			want = GUESS_LEN_MAX * 4;
		if (!read_window_has(&s->window, h))
			err = read_window_fill(&s->w->source, &s->window,
					       h.offset, want);
		if (err == CAIRN_EIO) {
			s->window.len = 0;
			err = CAIRN_OK;
		}
		if (!err)
			err = table_walk_read(s->w, &s->window, h, true,
					      &s->reuse, &contents, NULL);
		if (!err)
			err = block_init(&s->block, contents);
		if (!err)
			err = block_survey(&s->block);
		if (!err) {
			block_iter_set(&s->entry, &s->block);
			s->in_block = true;
			return CAIRN_OK;
		}
		/* It could be read a moment ago. */
		return err;
	}
}

/* Whether the entry may be passed on: known, and behind the one before. */
static bool is_usable(const struct salvage_iter *s, struct cairn_slice stored)
{
	struct ikey last, key;

	if (!ikey_decode(stored, &key) || !is_known(ikey_kind(&key)) ||
	    ikey_seqno(&key) >= SEQNO_MAX)
		return false;
	return !s->any || (ikey_decode(buf_slice(&s->last), &last) &&
			   ikey_cmp(&last, &key) < 0);
}

static void advance(struct salvage_iter *s)
{
	struct cairn_slice stored;
	int err = CAIRN_OK;

	s->base.valid = false;
	for (;;) {
		if (!s->in_block) {
			err = open_block(s);
			if (!err)
				err = block_iter_first(&s->entry);
		} else {
			err = block_iter_next(&s->entry);
		}
		if (err == CAIRN_NOT_FOUND && s->in_block) {
			s->in_block = false;
			continue;
		}
		if (err)
			break;
		stored = slice_of(s->entry.buf, s->entry.key_len);
		if (!is_usable(s, stored))
			continue;
		err = buf_set(&s->last, stored);
		if (err)
			break;
		s->any = true;
		s->base.valid = true;
		s->base.key = s->entry.key;
		s->base.value = s->entry.value;
		return;
	}
	s->base.status = err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static void salvage_first(struct iter *it)
{
	struct salvage_iter *s = (struct salvage_iter *)it;

	s->next = 0;
	s->in_block = false;
	s->any = false;
	it->status = CAIRN_OK;
	advance(s);
}

static void salvage_next(struct iter *it)
{
	advance((struct salvage_iter *)it);
}

/* Nobody seeks in or goes back through what is being rewritten. */
static void salvage_no_last(struct iter *it)
{
	it->valid = false;
	it->status = error_set(CAIRN_ENOTSUP, "salvage goes forward only");
}

static void salvage_no_seek(struct iter *it, const struct ikey *target)
{
	(void)target;
	salvage_no_last(it);
}

static void salvage_close(struct iter *it)
{
	struct salvage_iter *s = (struct salvage_iter *)it;

	block_iter_fini(&s->entry);
	read_window_fini(&s->window);
	buf_fini(&s->reuse);
	buf_fini(&s->last);
	free(s);
}

int table_salvage_iter(struct table_walk *w,
		       const struct salvage_blocks *blocks, uint64_t seqno,
		       struct iter **out)
{
	static const struct iter_ops ops = {
		.first = salvage_first,
		.last = salvage_no_last,
		.seek_ge = salvage_no_seek,
		.seek_lt = salvage_no_seek,
		.next = salvage_next,
		.prev = salvage_no_last,
		.close = salvage_close,
	};
	struct salvage_iter *s = calloc(1, sizeof(*s));

	if (!s)
		return error_nomem();
	s->base.ops = &ops;
	s->w = w;
	s->blocks = blocks;
	w->source.checksum = blocks->checksum;
	block_iter_init(&s->entry,
			w->seqno_unknown ? ikey_pack(seqno, 0) : w->seqno_bits,
			NULL, 0);
	*out = &s->base;
	return CAIRN_OK;
}

int table_salvage_range_dels(struct table_walk *w, uint64_t seqno,
			     int (*fn)(void *ctx, const struct ikey *start,
				       struct cairn_slice end),
			     void *ctx)
{
	uint64_t bits = w->seqno_unknown ? ikey_pack(seqno, 0) : w->seqno_bits;
	struct read_window none = { 0 };
	struct block_cursor c = { 0 };
	struct buf reuse = { 0 };
	struct cairn_slice contents;
	int err;

	if (!w->range_del.there)
		return CAIRN_OK;
	err = table_walk_read(w, &none, w->range_del.handle, false, &reuse,
			      &contents, NULL);
	if (!err)
		err = block_cursor_init(&c, contents, false);
	while (!err) {
		struct ikey k;

		err = block_cursor_next(&c, NULL);
		if (err)
			break;
		if (!ikey_decode(buf_slice(&c.key), &k) ||
		    ikey_kind(&k) != KIND_RANGE_DELETE ||
		    slice_cmp(k.user_key, c.value) >= 0)
			continue;
		k.trailer |= bits;
		err = fn(ctx, &k, c.value);
	}
	block_cursor_fini(&c);
	buf_fini(&reuse);
	/* What cannot be read has been told of by the walk. */
	return err == CAIRN_NOT_FOUND || err == CAIRN_ECORRUPT ||
			       err == CAIRN_EIO
		       ? CAIRN_OK
		       : err;
}
