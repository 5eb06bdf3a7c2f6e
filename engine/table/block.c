/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/block.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/table/prefix.h"

#define HASH_INDEX_BIT    0x80000000u
#define OFFSET_NARROW_MAX 0x10000u
#define KEY_BUF_MIN       256u

static int bad_entry(void)
{
	return error_set(CAIRN_ECORRUPT, "entry does not fit its block");
}

/* The fixed parts at the end, from the footer backward. */
int block_layout_decode(struct cairn_slice contents, struct block_layout *out)
{
	size_t end = contents.len;
	uint32_t footer, n, prev = 0;

	if (end < 4)
		return error_set(CAIRN_ECORRUPT, "block of %zu bytes", end);
	end -= 4;
	footer = load_le32(contents.data + end);
	n = footer & ~HASH_INDEX_BIT;
	if (footer & HASH_INDEX_BIT) {
		uint16_t buckets;

		if (end < 2)
			return error_set(CAIRN_ECORRUPT,
					 "hash index without its size");
		end -= 2;
		buckets = load_le16(contents.data + end);
		if (buckets > end)
			return error_set(CAIRN_ECORRUPT,
					 "%u hash buckets do not fit", buckets);
		end -= buckets;
	}
	if (n > end / 4)
		return error_set(CAIRN_ECORRUPT, "%u restart points do not fit",
				 n);
	end -= (size_t)n * 4;
	out->entries = slice_of(contents.data, end);
	out->restarts = contents.data + end;
	out->n_restarts = n;
	if (n == 0 && end != 0)
		return error_set(CAIRN_ECORRUPT, "no restart point");
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = load_le32(out->restarts + (size_t)i * 4);

		/* A block without entries has one restart point all the same.
		 */
		if (i == 0 ? at != 0 : at <= prev || at >= end)
			return error_set(CAIRN_ECORRUPT,
					 "restart point %u is at %u", i, at);
		prev = at;
	}
	return CAIRN_OK;
}

/* The lengths before a key suffix, decoded. */
struct entry {
	uint32_t shared;
	uint32_t unshared;
	uint32_t value_len;
	const uint8_t *suffix;
};

/*
 * Decode what stands at p, which is before limit; false when it is malformed
 * or reaches beyond limit. Nearly always all three lengths are one byte.
 */
static inline bool entry_decode(const uint8_t *p, const uint8_t *limit,
				struct entry *e)
{
	if (limit - p < 3)
		return false;
	e->shared = p[0];
	e->unshared = p[1];
	e->value_len = p[2];
	if ((e->shared | e->unshared | e->value_len) < 0x80) {
		p += 3;
	} else {
		p = read_varint32(p, limit, &e->shared);
		if (p)
			p = read_varint32(p, limit, &e->unshared);
		if (p)
			p = read_varint32(p, limit, &e->value_len);
		if (!p)
			return false;
	}
	e->suffix = p;
	return (uint64_t)e->unshared + e->value_len <= (uint64_t)(limit - p);
}

static inline const uint8_t *entry_end(const struct entry *e)
{
	return e->suffix + e->unshared + e->value_len;
}

/* -------------------------------------------------------------- cursor */

int block_cursor_init(struct block_cursor *c, struct cairn_slice contents,
		      bool bare)
{
	struct block_layout l;
	int err = block_layout_decode(contents, &l);

	*c = (struct block_cursor){ .bare = bare };
	if (err)
		return err;
	c->p = l.entries.data;
	c->limit = l.entries.data + l.entries.len;
	return CAIRN_OK;
}

void block_cursor_fini(struct block_cursor *c)
{
	buf_fini(&c->key);
}

/* An entry whose value has no length: it takes all that is left. */
static bool bare_decode(const uint8_t *p, const uint8_t *limit, struct entry *e)
{
	p = read_varint32(p, limit, &e->shared);
	if (p)
		p = read_varint32(p, limit, &e->unshared);
	if (!p || e->unshared > limit - p)
		return false;
	e->suffix = p;
	e->value_len = 0;
	return true;
}

int block_cursor_next(struct block_cursor *c, bool *shared)
{
	struct entry e;
	int err;

	if (c->p >= c->limit)
		return CAIRN_NOT_FOUND;
	if (!(c->bare ? bare_decode(c->p, c->limit, &e)
		      : entry_decode(c->p, c->limit, &e)) ||
	    e.shared > c->key.len)
		return bad_entry();
	c->key.len = e.shared;
	err = buf_append(&c->key, e.suffix, e.unshared);
	if (err)
		return err;
	c->p = entry_end(&e);
	c->value = slice_of(e.suffix + e.unshared, e.value_len);
	if (c->bare)
		c->value.len = (size_t)(c->limit - c->p);
	if (shared)
		*shared = e.shared != 0;
	return CAIRN_OK;
}

/* ------------------------------------------------------- indexed blocks */

int block_init(struct block *b, struct cairn_slice contents)
{
	struct block_layout l;
	int err = block_layout_decode(contents, &l);

	if (err)
		return err;
	assert(contents.len <= UINT32_MAX);
	*b = (struct block){ .data = contents.data,
			     .len = (uint32_t)contents.len,
			     .limit = (uint32_t)l.entries.len,
			     .n_restarts = l.n_restarts };
	return CAIRN_OK;
}

void block_fini(struct block *b)
{
	if (b->owned)
		free(b->arrays);
	b->arrays = NULL;
	b->owned = false;
	b->indexed = false;
}

static size_t offset_width(const struct block *b)
{
	return b->wide ? sizeof(uint32_t) : sizeof(uint16_t);
}

size_t block_index_bytes(const struct block *b)
{
	return b->n * (sizeof(uint32_t) + offset_width(b));
}

static inline uint32_t *prefixes(const struct block *b)
{
	return b->arrays;
}

static inline const uint8_t *end_of_entries(const struct block *b)
{
	return b->data + b->limit;
}

static inline const uint8_t *entry_at(const struct block *b, uint32_t i)
{
	const uint32_t *offsets = prefixes(b) + b->n;

	return b->data +
	       (b->wide ? offsets[i]
			: ((const uint16_t *)(const void *)offsets)[i]);
}

static void set_entry_at(struct block *b, uint32_t i, const uint8_t *p)
{
	uint32_t *offsets = prefixes(b) + b->n;
	size_t off = (size_t)(p - b->data);

	if (b->wide)
		offsets[i] = (uint32_t)off;
	else
		((uint16_t *)(void *)offsets)[i] = (uint16_t)off;
}

static const uint8_t *restart_at(const struct block *b, uint32_t i)
{
	return b->data + load_le32(end_of_entries(b) + (size_t)i * 4);
}

/*
 * Check all entries, count them, and find the longest prefix that all user
 * keys have. Keys are not put together for that: what an entry takes over from
 * its neighbour has been looked at there.
 */
int block_survey(struct block *b)
{
	const uint8_t *p = b->data, *limit = end_of_entries(b);
	const uint8_t *first = NULL;
	size_t key_len = 0, common = 0;
	uint32_t restarts = 0;
	struct entry e;

	b->n = 0;
	for (; p < limit; p = entry_end(&e)) {
		size_t user_len, i;

		if (!entry_decode(p, limit, &e) || e.shared > key_len)
			return bad_entry();
		if (restarts < b->n_restarts && p == restart_at(b, restarts)) {
			if (e.shared)
				return bad_entry();
			restarts++;
		}
		key_len = (size_t)e.shared + e.unshared;
		if (key_len < IKEY_TRAILER_LEN)
			return error_set(CAIRN_ECORRUPT,
					 "internal key of %zu bytes", key_len);
		user_len = key_len - IKEY_TRAILER_LEN;
		if (b->n++ == 0) {
			first = e.suffix;
			common = user_len;
		}
		if (common > user_len)
			common = user_len;
		for (i = e.shared; i < common; i++)
			if (e.suffix[i - e.shared] != first[i])
				common = i;
		if (b->key_len_max < key_len)
			b->key_len_max = (uint32_t)key_len;
	}
	if (b->n && restarts != b->n_restarts)
		return error_set(CAIRN_ECORRUPT,
				 "restart point %u is not at an entry",
				 restarts);
	b->common = first ? (uint32_t)(first - b->data) : 0;
	b->common_len = (uint32_t)common;
	b->wide = b->len > OFFSET_NARROW_MAX;
	b->surveyed = true;
	return CAIRN_OK;
}

/* Fill the arrays in; the entries have been checked. */
static int fill_in(struct block *b, void *room)
{
	const uint8_t *p = b->data, *limit = end_of_entries(b);
	size_t common = b->common_len;
	uint8_t window[4] = { 0 }; /* internal key bytes behind the prefix */
	uint32_t *prefix;
	struct entry e;

	b->arrays = room;
	prefix = prefixes(b);
	for (uint32_t i = 0; i < b->n; i++, p = entry_end(&e)) {
		size_t user_len, at;

		if (!entry_decode(p, limit, &e))
			return bad_entry();
		set_entry_at(b, i, p);
		user_len = (size_t)e.shared + e.unshared - IKEY_TRAILER_LEN;
		at = e.shared > common ? e.shared : common;
		for (; at < common + 4 && at < e.shared + e.unshared; at++)
			window[at - common] = e.suffix[at - e.shared];
		prefix[i] = load_be32(window);
		/* What is behind the user key counts as zeros. */
		if (user_len - common < 4)
			prefix[i] &= ~(UINT32_MAX >> (8 * (user_len - common)));
		if (i > 0 && prefix[i] < prefix[i - 1])
			return error_set(CAIRN_ECORRUPT,
					 "keys are out of order");
	}
	b->indexed = true;
	return CAIRN_OK;
}

int block_index(struct block *b)
{
	void *room;
	int err = CAIRN_OK;

	if (b->indexed)
		return CAIRN_OK;
	if (!b->surveyed)
		err = block_survey(b);
	if (err)
		return err;
	room = malloc(block_index_bytes(b) + 1);
	if (!room)
		return error_nomem();
	b->owned = true;
	err = fill_in(b, room);
	if (err)
		block_fini(b);
	return err;
}

int block_index_at(struct block *b, void *room, const uint8_t *p)
{
	assert(b->surveyed && !b->indexed);
	b->data = p;
	return fill_in(b, room);
}

/* -------------------------------------------------------------- iterator */

void block_iter_init(struct block_iter *it, uint64_t seqno_bits, uint8_t *buf,
		     size_t cap)
{
	*it = (struct block_iter){ .seqno_bits = seqno_bits,
				   .buf = buf,
				   .buf_cap = cap };
}

void block_iter_fini(struct block_iter *it)
{
	if (it->buf_owned)
		free(it->buf);
	it->buf_owned = false;
	it->buf = NULL;
}

void block_iter_set(struct block_iter *it, const struct block *b)
{
	it->block = b;
	it->p = b->data;
	it->key_len = 0;
}

/* Make room for a key of len bytes, keeping those of the present one. */
static int grow(struct block_iter *it, size_t len)
{
	size_t cap = it->buf_cap * 2 > len ? it->buf_cap * 2 : len;
	uint8_t *buf = malloc(cap > KEY_BUF_MIN ? cap : KEY_BUF_MIN);

	if (!buf)
		return error_nomem();
	if (it->key_len)
		memcpy(buf, it->buf, it->key_len);
	if (it->buf_owned)
		free(it->buf);
	it->buf = buf;
	it->buf_cap = cap > KEY_BUF_MIN ? cap : KEY_BUF_MIN;
	it->buf_owned = true;
	return CAIRN_OK;
}

/* Present the entry e, whose key is in the buffer. */
static inline void show(struct block_iter *it, const struct entry *e)
{
	size_t user_len = it->key_len - IKEY_TRAILER_LEN;

	it->key.user_key = slice_of(it->buf, user_len);
	it->key.trailer = load_le64(it->buf + user_len) | it->seqno_bits;
	it->value = slice_of(e->suffix + e->unshared, e->value_len);
	it->p = entry_end(e);
}

/* Decode the entry at p, which follows the one the iterator stands on. */
static inline int step(struct block_iter *it)
{
	const uint8_t *limit = end_of_entries(it->block);
	struct entry e;
	size_t len;

	if (it->p >= limit)
		return CAIRN_NOT_FOUND;
	if (!entry_decode(it->p, limit, &e) || e.shared > it->key_len)
		return bad_entry();
	len = (size_t)e.shared + e.unshared;
	if (len < IKEY_TRAILER_LEN)
		return error_set(CAIRN_ECORRUPT, "internal key of %zu bytes",
				 len);
	if (len > it->buf_cap) {
		int err = grow(it, len);

		if (err)
			return err;
	}
	memcpy(it->buf + e.shared, e.suffix, e.unshared);
	it->key_len = len;
	show(it, &e);
	return CAIRN_OK;
}

int block_iter_first(struct block_iter *it)
{
	it->p = it->block->data;
	it->key_len = 0;
	it->pos = 0;
	return step(it);
}

int block_iter_next(struct block_iter *it)
{
	it->pos++;
	return step(it);
}

/*
 * Go to entry i: its own key bytes first, then back over the entries before it
 * for those it shares, as far as the prefix that the first entry holds.
 */
static int go_to(struct block_iter *it, uint32_t i)
{
	const struct block *b = it->block;
	struct entry e, before;
	size_t len, need;

	assert(b->indexed && i < b->n);
	if (!entry_decode(entry_at(b, i), end_of_entries(b), &e))
		return bad_entry();
	len = (size_t)e.shared + e.unshared;
	if (len > it->buf_cap) {
		int err = grow(it, b->key_len_max);

		if (err)
			return err;
	}
	it->pos = i;
	it->key_len = len;
	memcpy(it->buf + e.shared, e.suffix, e.unshared);
	for (need = e.shared; need > b->common_len && i > 0;) {
		if (!entry_decode(entry_at(b, --i), end_of_entries(b), &before))
			return bad_entry();
		if (before.shared >= need)
			continue;
		memcpy(it->buf + before.shared, before.suffix,
		       need - before.shared);
		need = before.shared;
	}
	memcpy(it->buf, b->data + b->common, need);
	show(it, &e);
	return CAIRN_OK;
}

/* The first place whose 4 bytes are not below want. */
static uint32_t prefix_lower_bound(const struct block *b, uint32_t want)
{
	const uint32_t *first = prefixes(b);
	const uint32_t *base = first;
	uint32_t n = b->n;

	/* Compiles to conditional moves: the branch would be a coin toss. */
	while (n > 1) {
		uint32_t half = n / 2;

		base += base[half - 1] < want ? half : 0;
		n -= half;
	}
	return (uint32_t)(base - first) + (n == 1 && *base < want);
}

/*
 * The ordinal of the first entry >= *target, n when there is none. When the
 * iterator happens to stand on that entry afterwards, *there is set.
 */
static int find(struct block_iter *it, const struct ikey *target,
		uint32_t *found, bool *there)
{
	const struct block *b = it->block;
	uint32_t want, lo, hi;
	int c;

	*there = false;
	c = prefix_compare(target->user_key, b->data + b->common,
			   b->common_len);
	if (c || b->n == 0) {
		*found = c > 0 ? b->n : 0;
		return CAIRN_OK;
	}
	want = prefix_load32(target->user_key, b->common_len);
	lo = prefix_lower_bound(b, want);
	hi = lo;
	if (lo < b->n && prefixes(b)[lo] == want)
		hi = want == UINT32_MAX ? b->n
					: prefix_lower_bound(b, want + 1);
	/* Only the entries of [lo, hi) need a look at their whole keys. Mostly
	 * that is one; the keys of a run are tried from its middle. */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int err = go_to(it, mid);

		if (err)
			return err;
		*there = ikey_cmp(&it->key, target) >= 0;
		if (*there)
			hi = mid;
		else
			lo = mid + 1;
	}
	*there = *there && it->pos == lo;
	*found = lo;
	return CAIRN_OK;
}

int block_iter_seek_ge(struct block_iter *it, const struct ikey *target)
{
	uint32_t i;
	bool there;
	int err = find(it, target, &i, &there);

	if (err || there)
		return err;
	return i < it->block->n ? go_to(it, i) : CAIRN_NOT_FOUND;
}

int block_iter_seek_lt(struct block_iter *it, const struct ikey *target)
{
	uint32_t i;
	bool there;
	int err = find(it, target, &i, &there);

	if (err)
		return err;
	return i > 0 ? go_to(it, i - 1) : CAIRN_NOT_FOUND;
}

int block_iter_last(struct block_iter *it)
{
	assert(it->block->indexed);
	return it->block->n ? go_to(it, it->block->n - 1) : CAIRN_NOT_FOUND;
}

int block_iter_prev(struct block_iter *it)
{
	return it->pos > 0 ? go_to(it, it->pos - 1) : CAIRN_NOT_FOUND;
}
