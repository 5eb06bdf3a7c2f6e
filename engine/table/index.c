/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/index.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/table/block.h"
#include "engine/table/prefix.h"

/*
 * Separators can be this many times as long as the block that holds them,
 * because they share prefixes; beyond that somebody is making fun of us.
 */
#define KEY_EXPANSION_MAX 256u
#define KEY_BYTES_MIN     65536u

/* Walks an index block in whatever dialect it is. */
struct index_cursor {
	struct block_cursor block;
	struct index_format format;
	struct block_handle handle; /* of the present entry */
};

/* A delta: the block lies behind the one before, its size differs by d. */
static int decode_delta(struct index_cursor *c, struct cairn_slice *value)
{
	struct block_handle h;
	uint64_t zigzag, d;

	if (!get_varint64(value, &zigzag))
		return error_set(CAIRN_ECORRUPT, "index value is malformed");
	d = (zigzag >> 1) ^ (0 - (zigzag & 1));
	/* Wraps are harmless: what comes out is checked against the file. */
	h.offset = c->handle.offset + c->handle.size + BLOCK_TRAILER_LEN;
	h.size = c->handle.size + d;
	if (!block_handle_fits(h, c->format.file_len))
		return error_set(CAIRN_ECORRUPT,
				 "index entry leads outside the file");
	c->handle = h;
	return CAIRN_OK;
}

static int index_cursor_next(struct index_cursor *c)
{
	struct cairn_slice value, first;
	bool shared;
	int err = block_cursor_next(&c->block, &shared);

	if (err)
		return err;
	if (!c->format.user_keys && c->block.key.len < IKEY_TRAILER_LEN)
		return error_set(CAIRN_ECORRUPT, "separator of %zu bytes",
				 c->block.key.len);
	value = c->block.value;
	if (c->format.delta && shared)
		err = decode_delta(c, &value);
	else
		err = block_handle_decode(&value, c->format.file_len,
					  &c->handle);
	if (!err && c->format.first_key && !get_lp_slice(&value, &first))
		err = error_set(CAIRN_ECORRUPT, "index value is malformed");
	if (err)
		return err;
	if (c->format.delta)
		c->block.p = value.data;
	else if (value.len)
		return error_set(CAIRN_ECORRUPT,
				 "%zu bytes behind an index value", value.len);
	return CAIRN_OK;
}

/* What a first walk over the block finds. */
struct survey {
	uint32_t n;
	size_t common_len;
	size_t key_bytes;
	struct buf first;
};

static size_t user_len(const struct index_cursor *c)
{
	size_t len = c->block.key.len;

	return c->format.user_keys ? len : len - IKEY_TRAILER_LEN;
}

static int survey(struct index_cursor *c, size_t contents_len, struct survey *s)
{
	size_t max = contents_len * KEY_EXPANSION_MAX + KEY_BYTES_MIN;
	int err;

	while (!(err = index_cursor_next(c))) {
		const struct buf *key = &c->block.key;
		size_t i = 0;

		if (s->n++ == 0) {
			err = buf_set(&s->first, buf_slice(key));
			if (err)
				return err;
			s->common_len = user_len(c);
		}
		if (s->common_len > user_len(c))
			s->common_len = user_len(c);
		while (i < s->common_len && key->data[i] == s->first.data[i])
			i++;
		s->common_len = i;
		s->key_bytes += key->len;
		if (s->key_bytes > max || s->key_bytes > UINT32_MAX)
			return error_set(CAIRN_ECORRUPT,
					 "separators of more than %zu bytes",
					 max);
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* One allocation, the arrays with the widest elements first. */
static int allocate(struct index *ix, const struct survey *s)
{
	size_t n = s->n;
	size_t arrays = n * (sizeof(*ix->prefix) + sizeof(*ix->entry));
	size_t keys = s->key_bytes - n * s->common_len;
	uint8_t *p;

	ix->bytes = arrays + s->common_len + keys;
	p = malloc(ix->bytes + 1);
	if (!p)
		return error_nomem();
	ix->memory = p;
	ix->n = s->n;
	ix->common_len = (uint32_t)s->common_len;
	ix->prefix = ix->memory;
	ix->entry = (void *)(ix->prefix + n);
	ix->common = p + arrays;
	ix->keys = ix->common + s->common_len;
	if (s->common_len)
		memcpy(ix->common, s->first.data, s->common_len);
	return CAIRN_OK;
}

static int fill_in(struct index *ix, struct index_cursor *c)
{
	uint32_t key_end = 0;

	for (uint32_t i = 0; i < ix->n; i++) {
		struct cairn_slice key;
		int err = index_cursor_next(c);

		if (err)
			return err;
		key = buf_slice(&c->block.key);
		ix->prefix[i] = prefix_load64(slice_of(key.data, user_len(c)),
					      ix->common_len);
		if (i > 0 && ix->prefix[i] < ix->prefix[i - 1])
			return error_set(CAIRN_ECORRUPT,
					 "separators are out of order");
		slice_advance(&key, ix->common_len);
		if (key.len)
			memcpy(ix->keys + key_end, key.data, key.len);
		key_end += (uint32_t)key.len;
		ix->entry[i].offset = c->handle.offset;
		ix->entry[i].size = (uint32_t)c->handle.size;
		ix->entry[i].key_end = key_end;
		atomic_init(&ix->entry[i].slot, NULL);
	}
	return CAIRN_OK;
}

int index_decode(struct cairn_slice contents, const struct index_format *f,
		 struct index *out)
{
	struct index_cursor c = { .format = *f };
	struct index ix = { .user_keys = f->user_keys };
	struct survey s = { 0 };
	int err;

	_Static_assert(BLOCK_LEN_MAX <= UINT32_MAX, "sizes fit their field");
	err = block_cursor_init(&c.block, contents, f->delta);
	if (!err)
		err = survey(&c, contents.len, &s);
	if (!err)
		err = allocate(&ix, &s);
	block_cursor_fini(&c.block);
	if (err)
		goto out;
	err = block_cursor_init(&c.block, contents, f->delta);
	if (!err)
		err = fill_in(&ix, &c);
	block_cursor_fini(&c.block);
	if (err)
		goto out;
	*out = ix;
	ix.memory = NULL;
out:
	buf_fini(&s.first);
	index_fini(&ix);
	return err;
}

void index_fini(struct index *ix)
{
	free(ix->memory);
	*ix = (struct index){ 0 };
}

int index_compare(const struct index *ix, uint32_t i, const struct ikey *key)
{
	uint32_t begin = i ? ix->entry[i - 1].key_end : 0;
	size_t len = ix->entry[i].key_end - begin;
	struct cairn_slice user = key->user_key;
	struct ikey sep;
	int c = prefix_compare(user, ix->common, ix->common_len);

	if (c)
		return -c;
	slice_advance(&user, ix->common_len);
	if (ix->user_keys)
		return slice_cmp(slice_of(ix->keys + begin, len), user);
	sep.user_key = slice_of(ix->keys + begin, len - IKEY_TRAILER_LEN);
	sep.trailer = load_le64(ix->keys + begin + len - IKEY_TRAILER_LEN);
	return ikey_cmp(&sep, &(struct ikey){ user, key->trailer });
}

/* The first place whose 8 bytes are not below want. */
static uint32_t prefix_lower_bound(const struct index *ix, uint64_t want)
{
	const uint64_t *base = ix->prefix;
	uint32_t n = ix->n;

	/* Compiles to conditional moves: the branch would be a coin toss. */
	while (n > 1) {
		uint32_t half = n / 2;

		base += base[half - 1] < want ? half : 0;
		n -= half;
	}
	return (uint32_t)(base - ix->prefix) + (n == 1 && *base < want);
}

uint32_t index_seek(const struct index *ix, const struct ikey *target)
{
	uint64_t want;
	uint32_t lo, hi;
	int c;

	if (ix->n == 0)
		return 0;
	c = prefix_compare(target->user_key, ix->common, ix->common_len);
	if (c)
		return c < 0 ? 0 : ix->n;
	want = prefix_load64(target->user_key, ix->common_len);
	lo = prefix_lower_bound(ix, want);
	if (lo == ix->n || ix->prefix[lo] != want)
		return lo;
	/* Equal as far as the numbers go: whole keys decide. */
	hi = want == UINT64_MAX ? ix->n : prefix_lower_bound(ix, want + 1);
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (index_compare(ix, mid, target) >= 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Whether separator i is >= *target, whose number is want. Looks at the keys,
 * which are far from the numbers, only when it must. */
static bool at_or_behind(const struct index *ix, uint32_t i, uint64_t want,
			 const struct ikey *target)
{
	return ix->prefix[i] != want ? ix->prefix[i] > want
				     : index_compare(ix, i, target) >= 0;
}

uint32_t index_seek_near(const struct index *ix, const struct ikey *target,
			 uint32_t from)
{
	uint64_t want;

	if (prefix_compare(target->user_key, ix->common, ix->common_len))
		return index_seek(ix, target);
	want = prefix_load64(target->user_key, ix->common_len);
	for (uint32_t i = from; i < ix->n && i < from + 2; i++)
		if (at_or_behind(ix, i, want, target))
			return i;
	return index_seek(ix, target);
}

/* ------------------------------------------------------------- writing */

void index_builder_fini(struct index_builder *b)
{
	buf_fini(&b->entries);
}

int index_separator(struct cairn_slice a, struct cairn_slice b, struct buf *out)
{
	size_t n = a.len < b.len ? a.len : b.len;
	size_t i = 0;

	while (i < n && a.data[i] == b.data[i])
		i++;
	if (i == n)
		return buf_append(out, a.data, a.len);
	assert(a.data[i] < b.data[i]);
	if (i + 1 == b.len && a.data[i] + 1 == b.data[i]) {
		/* Raising this byte would make it b: raise a later one. */
		for (i++; i < a.len && a.data[i] == 0xff; i++)
			;
		if (i == a.len)
			return buf_append(out, a.data, a.len);
	}
	if (buf_append(out, a.data, i + 1))
		return CAIRN_ENOMEM;
	out->data[out->len - 1]++;
	return CAIRN_OK;
}

/*
 * Entries are kept as: separator (length-prefixed user key), trailer, handle.
 */
int index_builder_add(struct index_builder *b, const struct ikey *last,
		      const struct ikey *next, struct block_handle h)
{
	struct buf sep = { 0 };
	uint64_t trailer = last->trailer;
	int err;

	if (next && slice_eq(last->user_key, next->user_key)) {
		b->straddle = true;
		next = NULL;
	}
	if (next)
		err = index_separator(last->user_key, next->user_key, &sep);
	else
		err = buf_set(&sep, last->user_key);
	if (!err && slice_cmp(buf_slice(&sep), last->user_key) > 0)
		trailer = ikey_pack(SEQNO_MAX, KIND_SEEK);
	if (!err)
		err = buf_append_lp(&b->entries, buf_slice(&sep));
	if (!err)
		err = buf_append_le64(&b->entries, trailer);
	if (!err)
		err = buf_append_varint(&b->entries, h.offset);
	if (!err)
		err = buf_append_varint(&b->entries, h.size);
	if (!err)
		b->n++;
	buf_fini(&sep);
	return err;
}

size_t index_builder_size(const struct index_builder *b)
{
	return b->entries.len;
}

int index_builder_finish(struct index_builder *b, struct block_builder *out,
			 struct cairn_slice *contents, bool *user_keys)
{
	struct cairn_slice in = buf_slice(&b->entries);
	struct buf key = { 0 };
	int err = CAIRN_OK;

	while (!err && in.len) {
		uint8_t value[BLOCK_HANDLE_MAX_LEN];
		struct cairn_slice sep;
		struct block_handle h;
		uint64_t trailer;
		uint8_t *end;

		if (!get_lp_slice(&in, &sep) || !get_le64(&in, &trailer) ||
		    !get_varint64(&in, &h.offset) ||
		    !get_varint64(&in, &h.size)) {
			err = error_set(CAIRN_ECORRUPT,
					"index entries in memory are damaged");
			break;
		}
		end = block_handle_encode(value, h);
		err = buf_set(&key, sep);
		if (!err && b->straddle)
			err = buf_append_le64(&key, trailer);
		if (!err)
			err = block_builder_add_bare(
				out, buf_slice(&key),
				slice_of(value, (size_t)(end - value)));
	}
	buf_fini(&key);
	if (!err)
		err = block_builder_finish(out, contents);
	if (!err)
		*user_keys = !b->straddle;
	return err;
}
