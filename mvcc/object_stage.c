/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/object_impl.h"

#include <stdlib.h>

#include "engine/base/error.h"

/* Unshown chunks are staged when more bytes of them than this are in memory. */
#define STAGE_BYTES ((size_t)1 << 20)

/* Object numbers are reserved this many at a time. */
#define OBJECT_BLOCK 1024u

/*
 * Empty versions in one commit. Up to SOME of them are always written: copying
 * what is left of the value could cost more. MANY would make the batch too big.
 */
#define EMPTIES_SOME 4096u
#define EMPTIES_MANY (UINT64_C(1) << 20)

void object_limits_init(struct mvcc *m)
{
	m->stage_bytes = STAGE_BYTES;
	m->empties_some = EMPTIES_SOME;
}

/* Chunks the object ever had, once it is committed as it is now. */
static uint64_t chunks_high(const struct mvcc_object *o)
{
	uint64_t n = object_chunk_count(o);

	if (n < o->base_high)
		n = o->base_high;
	return n < o->stage_end ? o->stage_end : n;
}

/* ----------------------------------------------------------------- staging */

/*
 * Append to b the mark of unshown chunks of number, from index from on, and
 * make the leftover that says the same.
 */
static int mark_new(struct cairn_batch *b, uint64_t number, uint64_t from,
		    struct leftover **out)
{
	struct leftover *l = calloc(1, sizeof(*l));
	struct buf k = { 0 }, v = { 0 };
	int err = l ? enc_staged_key(&k, number) : error_nomem();

	if (!err)
		err = enc_number(&v, from);
	if (!err)
		err = cairn_batch_put(b, buf_slice(&k), buf_slice(&v));
	buf_fini(&v);
	buf_fini(&k);
	if (err) {
		free(l);
		return err;
	}
	l->object = number;
	l->from = from;
	*out = l;
	return CAIRN_OK;
}

/* The mark has become somebody else's to remove. */
void object_give_up_mark(struct mvcc_object *o)
{
	struct leftover *l = o->mark;

	o->mark = NULL;
	if (l)
		forget_leftover(o->m, l);
}

static int put_staged(struct mvcc_object *o, struct cairn_batch *b)
{
	for (size_t i = object_bufs_index(o, o->base_high); i < o->n_bufs;
	     i++) {
		const struct chunk_buf *c = o->bufs[i];
		int err;

		if (c->index == o->last)
			continue;
		err = object_put_chunk(b, o, c->index, 0,
				       slice_of(c->data, c->len));
		if (err)
			return err;
	}
	return CAIRN_OK;
}

/* Drop the buffers that put_staged() has written. */
static void staged(struct mvcc_object *o)
{
	size_t from = object_bufs_index(o, o->base_high);
	size_t keep;

	if (o->n_bufs > from && o->stage_end <= o->bufs[o->n_bufs - 1]->index)
		o->stage_end = o->bufs[o->n_bufs - 1]->index + 1;
	keep = object_bufs_index(o, o->last);
	if (keep < o->n_bufs && o->bufs[keep]->index == o->last &&
	    keep >= from) {
		object_bufs_drop(o, keep + 1, o->n_bufs);
		object_bufs_drop(o, from, keep);
	} else {
		object_bufs_drop(o, from, o->n_bufs);
	}
}

/*
 * Write the unshown chunks in memory to the engine, but for the one written
 * last, which a sequential writer has not finished.
 */
static int stage(struct mvcc_object *o)
{
	struct cairn_batch *b = cairn_batch_new();
	struct leftover *mark = NULL;
	int err = b ? CAIRN_OK : error_nomem();

	if (!err && !o->mark)
		err = mark_new(b, o->number, o->base_high, &mark);
	if (!err)
		err = put_staged(o, b);
	if (!err)
		err = cairn_write(o->m->db, NULL, b);
	cairn_batch_free(b);
	if (err) {
		free(mark);
		return err;
	}
	if (mark)
		o->mark = mark;
	staged(o);
	return CAIRN_OK;
}

int object_stage_if_many(struct mvcc_object *o)
{
	size_t n = o->n_bufs - object_bufs_index(o, o->base_high);

	if (n <= 4 || n <= o->m->stage_bytes / o->chunk_size)
		return CAIRN_OK;
	return stage(o);
}

/* Delete staged chunks that were cut off. */
int object_wipe_stale(struct mvcc_object *o)
{
	int err;

	if (o->stale_from < o->stage_end) {
		err = chunk_delete(o->m, o->number, o->stale_from, o->stage_end,
				   0, NULL);
		if (err)
			return err;
		o->stage_end = o->stale_from;
	}
	o->stale_from = UINT64_MAX;
	return CAIRN_OK;
}

/* ------------------------------------------------------------------ shapes */

static int next_number(struct mvcc *m, uint64_t *out)
{
	struct buf k = { 0 }, v = { 0 };
	int err = CAIRN_OK;

	mutex_lock(&m->objects_mu);
	if (m->next_object == m->reserved_object) {
		uint64_t bound = m->reserved_object + OBJECT_BLOCK;

		if (bound < OBJECT_BLOCK)
			err = error_set(CAIRN_ECORRUPT,
					"m/object: no number is left");
		if (!err)
			err = enc_mark(&k, "object");
		if (!err)
			err = enc_number(&v, bound);
		/* No sync: what uses the numbers comes later in the log. */
		if (!err)
			err = cairn_put(m->db, NULL, buf_slice(&k),
					buf_slice(&v));
		if (!err)
			m->reserved_object = bound;
	}
	if (!err)
		*out = m->next_object++;
	mutex_unlock(&m->objects_mu);
	buf_fini(&v);
	buf_fini(&k);
	return err;
}

static void set_number(struct mvcc_object *o, uint64_t number)
{
	mutex_lock(&o->m->objects_mu);
	o->number = number;
	mutex_unlock(&o->m->objects_mu);
	/* The old one may be waiting for us. */
	if (atomic_load(&o->m->worker.skipped))
		forget_kick(o->m);
}

/* Nothing of the value is in the engine. */
void object_reset_base(struct mvcc_object *o)
{
	o->base_main = 0;
	o->base_size = 0;
	o->base_high = 0;
	o->low = 0;
	o->stage_end = 0;
	o->stale_from = UINT64_MAX;
}

/* From small to chunks, all in memory. */
int object_to_chunks(struct mvcc_object *o)
{
	uint32_t cs = o->m->chunk_size;
	uint64_t n = enc_chunk_count(o->small.len, cs);
	uint64_t number;
	int err;

	o->chunk_size = cs;
	err = object_bufs_reserve(o, (size_t)n);
	if (!err)
		err = next_number(o->m, &number);
	for (uint64_t i = 0; !err && i < n; i++) {
		struct chunk_buf *b = object_buf_new(o, i);
		size_t left = o->small.len - (size_t)i * cs;

		if (!b) {
			err = error_nomem();
			break;
		}
		b->len = left < cs ? (uint32_t)left : cs;
		memcpy(b->data, o->small.data + (size_t)i * cs, b->len);
		object_bufs_insert(o, b);
	}
	if (err) {
		object_bufs_drop(o, 0, o->n_bufs);
		return err;
	}
	object_reset_base(o);
	set_number(o, number);
	buf_fini(&o->small);
	return CAIRN_OK;
}

/* From chunks to small, cut to size. */
int object_to_small(struct mvcc_object *o, uint64_t size)
{
	struct buf bytes = { 0 };
	size_t got = 0;
	int err = buf_reserve(&bytes, (size_t)size);

	if (!err && size)
		err = mvcc_object_read(o, 0, bytes.data, (size_t)size, &got);
	if (err) {
		buf_fini(&bytes);
		return err;
	}
	bytes.len = got;
	object_bufs_drop(o, 0, o->n_bufs);
	object_give_up_mark(o);
	object_reset_base(o);
	set_number(o, 0);
	buf_fini(&o->small);
	o->small = bytes;
	o->size = size;
	return CAIRN_OK;
}

/*
 * Copy stored chunks that are not in memory, from *index on, to a batch of
 * about a megabyte. *index is object_chunk_count() when all are.
 */
static int copy_some(const struct mvcc_object *o, struct mvcc_object *to,
		     struct cairn_batch *b, uint64_t *index)
{
	struct chunk_reader r;
	int err = chunk_reader_init(&r, o->m, o->number, o->chunk_size,
				    INT64_MAX);

	while (!err && *index < object_chunk_count(o) &&
	       cairn_batch_bytes(b) < OBJECT_PIECE_BYTES) {
		bool shown = *index < o->base_high;
		uint64_t end = shown ? o->low : o->stage_end;
		struct cairn_slice c;

		/* The index after the chunks of this kind. */
		if (*index >= end) {
			*index = shown ? o->base_high : object_chunk_count(o);
			continue;
		}
		err = chunk_reader_next(&r, end, shown ? o->base_main : 0,
					index);
		if (err || *index >= end)
			continue;
		if (!object_bufs_find(o, *index)) {
			err = object_view(o, &r, *index, &c);
			if (!err && c.len)
				err = object_put_chunk(b, to, *index, 0, c);
			if (to->stage_end <= *index)
				to->stage_end = *index + 1;
		}
		++*index;
	}
	chunk_reader_fini(&r);
	return err;
}

/*
 * Give the value a number of its own, for when its old one has ended, or when
 * hiding the chunks that were cut off would take too many empty versions.
 */
static int rebase(struct mvcc_object *o)
{
	struct mvcc_object to = { .m = o->m, .chunk_size = o->chunk_size };
	struct cairn_batch *b = cairn_batch_new();
	struct leftover *mark = NULL;
	uint64_t index = 0;
	bool written = false;
	int err = b ? next_number(o->m, &to.number) : error_nomem();

	if (!err)
		err = mark_new(b, to.number, 0, &mark);
	do {
		if (!err)
			err = copy_some(o, &to, b, &index);
		if (!err)
			err = cairn_write(o->m->db, NULL, b);
		if (!err) {
			written = true;
			cairn_batch_clear(b);
		}
	} while (!err && index < object_chunk_count(o));
	cairn_batch_free(b);
	if (err) {
		if (mark && written)
			forget_leftover(o->m, mark);
		else
			free(mark);
		return err;
	}
	object_give_up_mark(o);
	object_reset_base(o);
	o->stage_end = to.stage_end;
	o->mark = mark;
	set_number(o, to.number);
	return CAIRN_OK;
}

/* --------------------------------------------------------------- committing */

/* Chunks that the value has, the base row does not show, and nobody wrote, but
 * of which older rows may have left versions: [low, *end) less buffers. */
static uint64_t count_empties(const struct mvcc_object *o, uint64_t *end)
{
	uint64_t n = object_chunk_count(o);

	*end = n < o->base_high ? n : o->base_high;
	if (*end <= o->low)
		return 0;
	return *end - o->low -
	       (object_bufs_index(o, *end) - object_bufs_index(o, o->low));
}

static bool too_many_empties(const struct mvcc_object *o)
{
	uint64_t end;
	uint64_t n = count_empties(o, &end);

	return n > EMPTIES_MANY || (n > o->m->empties_some && n > o->low);
}

bool object_prepared(const struct mvcc_object *o, const struct mvcc_row *prev)
{
	return !o->base_main || (prev && prev->object == o->number);
}

int object_prepare(struct mvcc_object *o, const struct mvcc_row *prev)
{
	int err;

	if (!o->number)
		return CAIRN_OK;
	err = object_wipe_stale(o);
	if (err)
		return err;
	if (!object_prepared(o, prev) || too_many_empties(o))
		return rebase(o);
	return CAIRN_OK;
}

static int emit_chunks(const struct mvcc_object *o, struct cairn_batch *b,
		       int64_t main)
{
	uint64_t index = o->low, end;
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < o->n_bufs; i++) {
		const struct chunk_buf *c = o->bufs[i];

		err = object_put_chunk(b, o, c->index,
				       c->index < o->base_high ? main : 0,
				       slice_of(c->data, c->len));
	}
	if (count_empties(o, &end) == 0)
		return err;
	for (; !err && index < end; index++) {
		if (!object_bufs_find(o, index))
			err = object_put_chunk(b, o, index, main,
					       slice_of(NULL, 0));
	}
	return err;
}

static int emit_marks(const struct mvcc_object *o, struct cairn_batch *b,
		      const struct mvcc_row *row, bool *ended)
{
	const struct enc_ended cut = {
		.main = row->main,
		.sub = row->sub,
		.object = o->number,
		.from = o->low,
		.to = o->base_high,
	};
	struct buf k = { 0 }, v = { 0 };
	int err = CAIRN_OK;

	if (o->mark) {
		err = enc_staged_key(&k, o->number);
		if (!err)
			err = cairn_batch_delete(b, buf_slice(&k));
	}
	*ended = o->base_main &&
		 o->low < enc_chunk_count(o->base_size, o->chunk_size);
	if (!err && *ended) {
		err = enc_ended(&k, &v, &cut);
		if (!err)
			err = cairn_batch_put(b, buf_slice(&k), buf_slice(&v));
	}
	buf_fini(&v);
	buf_fini(&k);
	return err;
}

int object_emit(const struct mvcc_object *o, struct cairn_batch *b,
		struct mvcc_row *row, bool *ended)
{
	int err;

	*ended = false;
	row->size = o->size;
	row->object = o->number;
	row->value = slice_of(NULL, 0);
	if (!o->number) {
		row->value = buf_slice(&o->small);
		return CAIRN_OK;
	}
	row->chunk_size = o->chunk_size;
	row->chunks_high = chunks_high(o);
	err = emit_chunks(o, b, row->main);
	if (!err)
		err = emit_marks(o, b, row, ended);
	return err;
}

void object_committed(struct mvcc_object *o, int64_t main)
{
	o->changed = false;
	if (!o->number)
		return;
	object_bufs_drop(o, 0, o->n_bufs);
	o->base_high = chunks_high(o);
	o->base_main = main;
	o->base_size = o->size;
	o->low = object_chunk_count(o);
	o->stage_end = 0;
	o->stale_from = UINT64_MAX;
	free(o->mark);
	o->mark = NULL;
}
