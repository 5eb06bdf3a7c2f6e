/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/object_impl.h"

#include <stdlib.h>

#include "engine/base/error.h"

/* ----------------------------------------------------------------- buffers */

/* The first buffer with an index >= index. */
size_t object_bufs_index(const struct mvcc_object *o, uint64_t index)
{
	size_t lo = 0, hi = o->n_bufs;

	/* Most writes go to the end. */
	if (hi && o->bufs[hi - 1]->index < index)
		return hi;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->bufs[mid]->index < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct chunk_buf *object_bufs_find(const struct mvcc_object *o, uint64_t index)
{
	size_t i = object_bufs_index(o, index);

	if (i < o->n_bufs && o->bufs[i]->index == index)
		return o->bufs[i];
	return NULL;
}

int object_bufs_reserve(struct mvcc_object *o, size_t more)
{
	size_t cap = o->cap_bufs ? o->cap_bufs : 16;
	struct chunk_buf **bufs;

	if (more <= o->cap_bufs - o->n_bufs)
		return CAIRN_OK;
	while (cap - o->n_bufs < more)
		cap *= 2;
	bufs = realloc(o->bufs, cap * sizeof(struct chunk_buf *));
	if (!bufs)
		return error_nomem();
	o->bufs = bufs;
	o->cap_bufs = cap;
	return CAIRN_OK;
}

/* Room was reserved. */
void object_bufs_insert(struct mvcc_object *o, struct chunk_buf *b)
{
	size_t i = object_bufs_index(o, b->index);

	memmove(&o->bufs[i + 1], &o->bufs[i],
		(o->n_bufs - i) * sizeof(o->bufs[0]));
	o->bufs[i] = b;
	o->n_bufs++;
	atomic_fetch_add(&o->m->dirty_bytes, o->chunk_size);
}

/* Forget the buffers [from, to). */
void object_bufs_drop(struct mvcc_object *o, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		free(o->bufs[i]);
	if (to > from)
		memmove(&o->bufs[from], &o->bufs[to],
			(o->n_bufs - to) * sizeof(o->bufs[0]));
	o->n_bufs -= to - from;
	atomic_fetch_sub(&o->m->dirty_bytes,
			 (uint64_t)(to - from) * o->chunk_size);
}

struct chunk_buf *object_buf_new(const struct mvcc_object *o, uint64_t index)
{
	struct chunk_buf *b = malloc(sizeof(*b) + o->chunk_size);

	if (!b)
		return NULL;
	b->index = index;
	b->len = 0;
	return b;
}

/* ------------------------------------------------------------------ chunks */

/*
 * The version of a chunk that is in the engine and belongs to the value, apart
 * from buffers: -1 for none.
 */
static int64_t stored_version(const struct mvcc_object *o, uint64_t index)
{
	if (index < o->base_high)
		return index < o->low ? o->base_main : -1;
	return index < o->stage_end && index < o->stale_from ? 0 : -1;
}

/* *r is made at the first need (it NULL); *out borrows from buffer or reader.
 */
int object_view(const struct mvcc_object *o, struct chunk_reader *r,
		uint64_t index, struct cairn_slice *out)
{
	const struct chunk_buf *b = object_bufs_find(o, index);
	int64_t version = stored_version(o, index);
	int err;

	if (b) {
		*out = slice_of(b->data, b->len);
		return CAIRN_OK;
	}
	if (version < 0) {
		*out = slice_of(NULL, 0);
		return CAIRN_OK;
	}
	if (!r->it) {
		err = chunk_reader_init(r, o->m, o->number, o->chunk_size,
					INT64_MAX);
		if (err)
			return err;
	}
	return chunk_reader_get(r, index, version, out);
}

/* Make b hold what its chunk is now. */
int object_load(const struct mvcc_object *o, struct chunk_reader *r,
		struct chunk_buf *b)
{
	struct cairn_slice c;
	int err = object_view(o, r, b->index, &c);

	if (err)
		return err;
	if (c.len)
		memcpy(b->data, c.data, c.len);
	b->len = (uint32_t)c.len;
	return CAIRN_OK;
}

int object_put_chunk(struct cairn_batch *b, const struct mvcc_object *o,
		     uint64_t index, int64_t version, struct cairn_slice bytes)
{
	struct enc_chunk c = { o->number, index, version };
	uint8_t key[ENC_CHUNK_KEY];

	enc_chunk_key(key, &c);
	return cairn_batch_put(b, slice_of(key, sizeof(key)), bytes);
}
