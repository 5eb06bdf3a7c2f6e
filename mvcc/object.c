/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/object_impl.h"

#include <stdlib.h>

#include "engine/base/error.h"

/* ------------------------------------------------------------------ public */

static struct mvcc_object *object_alloc(struct mvcc *m)
{
	struct mvcc_object *o = malloc(sizeof(*o));

	if (!o)
		return NULL;
	*o = (struct mvcc_object){ .m = m, .chunk_size = m->chunk_size };
	object_reset_base(o);
	store_use(m);
	mutex_lock(&m->objects_mu);
	list_add_tail(&m->objects, &o->node);
	mutex_unlock(&m->objects_mu);
	return o;
}

int mvcc_object_new(struct mvcc *m, struct mvcc_object **out)
{
	struct mvcc_object *o = object_alloc(m);

	if (!o)
		return error_nomem();
	*out = o;
	return CAIRN_OK;
}

bool object_is_open(struct mvcc *m, uint64_t number)
{
	assert_held(&m->objects_mu);
	list_for_each (pos, &m->objects) {
		const struct mvcc_object *o =
			list_entry(pos, struct mvcc_object, node);

		if (o->number == number)
			return true;
	}
	return false;
}

/* From here on the chunks of number are not removed under us. */
static int claim_number(struct mvcc_object *o, uint64_t number)
{
	bool open;

	mutex_lock(&o->m->objects_mu);
	open = object_is_open(o->m, number);
	if (!open)
		o->number = number;
	mutex_unlock(&o->m->objects_mu);
	return open ? error_set(CAIRN_EBUSY, "the value is being written")
		    : CAIRN_OK;
}

static int open_chunks(struct mvcc_object *o, const struct mvcc_row *row)
{
	struct found f = { 0 };
	int err = claim_number(o, row->object);

	if (err)
		return err;
	o->chunk_size = row->chunk_size;
	err = store_latest(o->m, row->key, false, &f);
	if (!err && (!found_live(&f) || f.row.object != row->object))
		err = error_set(CAIRN_EABORTED, "the key has changed");
	if (!err)
		err = forget_leftover_now(o->m, row->object);
	if (!err) {
		o->size = f.row.size;
		o->chunk_size = f.row.chunk_size;
		o->base_main = f.row.main;
		o->base_size = f.row.size;
		o->base_high = f.row.chunks_high;
		o->low = object_chunk_count(o);
	}
	found_release(&f);
	return err;
}

int mvcc_object_open(struct mvcc *m, const struct mvcc_row *row,
		     struct mvcc_object **out)
{
	struct mvcc_object *o;
	int err;

	if (row->deleted || (!row->object && row->value.len != row->size))
		return error_set(CAIRN_EINVAL, "row without a value");
	o = object_alloc(m);
	if (!o)
		return error_nomem();
	if (row->object) {
		err = open_chunks(o, row);
	} else {
		o->size = row->size;
		err = buf_append(&o->small, row->value.data, row->value.len);
	}
	if (err) {
		mvcc_object_free(o);
		return err;
	}
	*out = o;
	return CAIRN_OK;
}

void mvcc_object_free(struct mvcc_object *o)
{
	struct mvcc *m;

	if (!o)
		return;
	m = o->m;
	object_bufs_drop(o, 0, o->n_bufs);
	free(o->bufs);
	buf_fini(&o->small);
	mutex_lock(&m->objects_mu);
	list_remove(&o->node);
	mutex_unlock(&m->objects_mu);
	object_give_up_mark(o);
	if (atomic_load(&m->worker.skipped))
		forget_kick(m);
	free(o);
	store_unuse(m);
}

uint64_t mvcc_object_size(const struct mvcc_object *o)
{
	return o->size;
}

size_t mvcc_object_dirty(const struct mvcc_object *o)
{
	return o->small.len + o->n_bufs * o->chunk_size;
}

bool mvcc_object_changed(const struct mvcc_object *o)
{
	return o->changed;
}

int mvcc_object_read(struct mvcc_object *o, uint64_t off, void *dst, size_t len,
		     size_t *got)
{
	struct chunk_reader r = { 0 };
	uint8_t *out = dst;
	size_t done = 0;
	int err = CAIRN_OK;

	if (off >= o->size)
		len = 0;
	else if (len > o->size - off)
		len = (size_t)(o->size - off);
	if (!o->number) {
		if (len)
			memcpy(dst, o->small.data + off, len);
		*got = len;
		return CAIRN_OK;
	}
	while (done < len) {
		uint64_t index = (off + done) / o->chunk_size;
		size_t skip = (size_t)((off + done) % o->chunk_size);
		size_t n = o->chunk_size - skip;
		size_t have = 0;
		struct cairn_slice c;

		err = object_view(o, &r, index, &c);
		if (err)
			break;
		if (n > len - done)
			n = len - done;
		if (c.len > skip)
			have = c.len - skip < n ? c.len - skip : n;
		if (have)
			memcpy(out + done, c.data + skip, have);
		memset(out + done + have, 0, n - have);
		done += n;
	}
	chunk_reader_fini(&r);
	if (!err)
		*got = len;
	return err;
}

/* ----------------------------------------------------------------- writing */

static int extend_small(struct mvcc_object *o, size_t size)
{
	int err;

	if (size <= o->small.len)
		return CAIRN_OK;
	err = buf_reserve(&o->small, size - o->small.len);
	if (err)
		return err;
	memset(o->small.data + o->small.len, 0, size - o->small.len);
	o->small.len = size;
	o->size = size;
	return CAIRN_OK;
}

/*
 * Buffers for those of the chunks [first, first + n) that have none, in out,
 * NULL for the others. They are loaded where [off, end) leaves something of
 * them.
 */
static int new_bufs(struct mvcc_object *o, uint64_t first, size_t n,
		    uint64_t off, uint64_t end, struct chunk_buf **out)
{
	struct chunk_reader r = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++) {
		uint64_t start = (first + i) * o->chunk_size;
		uint64_t stop = start + o->chunk_size;

		if (object_bufs_find(o, first + i))
			continue;
		out[i] = object_buf_new(o, first + i);
		if (!out[i])
			err = error_nomem();
		else if (off > start || (end < stop && end < o->size))
			err = object_load(o, &r, out[i]);
	}
	chunk_reader_fini(&r);
	return err;
}

static void copy_in(struct mvcc_object *o, uint64_t off, const uint8_t *data,
		    size_t len)
{
	while (len) {
		struct chunk_buf *b = object_bufs_find(o, off / o->chunk_size);
		uint32_t skip = (uint32_t)(off % o->chunk_size);
		uint32_t n = o->chunk_size - skip;

		assert(b);
		if (n > len)
			n = (uint32_t)len;
		if (skip > b->len)
			memset(b->data + b->len, 0, skip - b->len);
		memcpy(b->data + skip, data, n);
		if (b->len < skip + n)
			b->len = skip + n;
		o->last = b->index;
		off += n;
		data += n;
		len -= n;
	}
}

/* All that can fail comes first, so that o changes by all of it or not. */
static int write_piece(struct mvcc_object *o, uint64_t off, const uint8_t *data,
		       size_t len)
{
	uint64_t end = off + len;
	uint64_t first = off / o->chunk_size;
	size_t n = (size_t)((end - 1) / o->chunk_size - first) + 1;
	struct chunk_buf **fresh;
	int err = object_stage_if_many(o);

	if (!err && enc_chunk_count(end, o->chunk_size) > o->stale_from)
		err = object_wipe_stale(o);
	if (!err)
		err = object_bufs_reserve(o, n);
	if (err)
		return err;
	fresh = calloc(n, sizeof(struct chunk_buf *));
	if (!fresh)
		return error_nomem();
	err = new_bufs(o, first, n, off, end, fresh);
	for (size_t i = 0; i < n; i++) {
		if (err)
			free(fresh[i]);
		else if (fresh[i])
			object_bufs_insert(o, fresh[i]);
	}
	free(fresh);
	if (err)
		return err;
	copy_in(o, off, data, len);
	if (o->size < end)
		o->size = end;
	o->changed = true;
	return CAIRN_OK;
}

static int too_large(const struct mvcc_object *o)
{
	return error_set(CAIRN_EINVAL, "value over %llu bytes",
			 (unsigned long long)o->m->value_max);
}

int mvcc_object_write(struct mvcc_object *o, uint64_t off, const void *data,
		      size_t len)
{
	const uint8_t *in = data;
	int err;

	if (!len)
		return CAIRN_OK;
	if (off > o->m->value_max || len > o->m->value_max - off)
		return too_large(o);
	if (!o->number && off + len <= o->m->chunk_size) {
		err = extend_small(o, (size_t)(off + len));
		if (err)
			return err;
		memcpy(o->small.data + off, data, len);
		o->changed = true;
		return CAIRN_OK;
	}
	if (!o->number) {
		err = object_to_chunks(o);
		if (err)
			return err;
	}
	while (len) {
		size_t n = len < OBJECT_PIECE_BYTES ? len : OBJECT_PIECE_BYTES;

		err = write_piece(o, off, in, n);
		if (err)
			return err;
		off += n;
		in += n;
		len -= n;
	}
	return CAIRN_OK;
}

/* The chunk that the new end lies in must end there, too, or what is cut off
 * would come back when the value grows. */
static int cut_last_chunk(struct mvcc_object *o, uint64_t size)
{
	uint32_t rest = (uint32_t)(size % o->chunk_size);
	uint64_t index = size / o->chunk_size;
	struct chunk_buf *b = rest ? object_bufs_find(o, index) : NULL;
	struct chunk_reader r = { 0 };
	int err;

	if (!rest)
		return CAIRN_OK;
	if (b) {
		if (b->len > rest)
			b->len = rest;
		return CAIRN_OK;
	}
	err = object_bufs_reserve(o, 1);
	if (err)
		return err;
	b = object_buf_new(o, index);
	if (!b)
		return error_nomem();
	err = object_load(o, &r, b);
	chunk_reader_fini(&r);
	if (err || b->len <= rest) {
		free(b);
		return err;
	}
	b->len = rest;
	object_bufs_insert(o, b);
	return CAIRN_OK;
}

static int shrink(struct mvcc_object *o, uint64_t size)
{
	uint64_t n = enc_chunk_count(size, o->chunk_size);
	uint64_t stale = n > o->base_high ? n : o->base_high;
	int err = cut_last_chunk(o, size);

	if (err)
		return err;
	object_bufs_drop(o, object_bufs_index(o, n), o->n_bufs);
	o->size = size;
	if (o->low > n)
		o->low = n;
	if (stale < o->stage_end && stale < o->stale_from)
		o->stale_from = stale;
	return CAIRN_OK;
}

static int grow(struct mvcc_object *o, uint64_t size)
{
	int err;

	if (enc_chunk_count(size, o->chunk_size) > o->stale_from) {
		err = object_wipe_stale(o);
		if (err)
			return err;
	}
	o->size = size;
	return CAIRN_OK;
}

int mvcc_object_truncate(struct mvcc_object *o, uint64_t size)
{
	int err = CAIRN_OK;

	if (size > o->m->value_max)
		return too_large(o);
	if (size == o->size)
		return CAIRN_OK;
	if (!o->number && size > o->size && size > o->m->chunk_size)
		err = object_to_chunks(o);
	if (err)
		return err;
	if (!o->number && size > o->size) {
		err = extend_small(o, (size_t)size);
	} else if (!o->number) {
		o->small.len = (size_t)size;
		o->size = size;
	} else if (size <= o->m->chunk_size) {
		err = object_to_small(o, size);
	} else if (size < o->size) {
		err = shrink(o, size);
	} else {
		err = grow(o, size);
	}
	if (!err)
		o->changed = true;
	return err;
}
