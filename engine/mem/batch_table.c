/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/batch_table.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"

struct entry {
	uint64_t prefix;    /* key_prefix() */
	const uint8_t *key; /* in the block; the value is behind it */
	uint32_t number;    /* of the operation */
	uint16_t key_len;
	uint8_t kind;
};

struct batch_table {
	struct batch_block *block;
	size_t len; /* of the block's bytes that are the batch */
	uint32_t count;
	struct entry *entries;
	size_t n;
	/* Their numbers count from 0 until the batch has its own. NULL: none.
	 */
	struct range_dels *dels;
	/* Release when the table is complete; readers load it with acquire. */
	_Atomic uint64_t seqno;
};

static struct cairn_slice key_of(const struct entry *e)
{
	return slice_of(e->key, e->key_len);
}

static struct cairn_slice value_of(const struct batch_table *t,
				   const struct entry *e)
{
	const uint8_t *behind = e->key + e->key_len;
	const uint8_t *end = t->block->data + t->len;
	struct cairn_slice rest = slice_of(behind, (size_t)(end - behind));
	struct cairn_slice value = slice_of(behind, 0);
	bool whole;

	if (e->kind != KIND_PUT && e->kind != KIND_MERGE)
		return value;
	whole = get_lp_slice(&rest, &value);
	assert(whole);
	(void)whole;
	return value;
}

/* ---------------------------------------------------------------- building */

static int cmp_entries(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	int c;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	c = slice_cmp(key_of(x), key_of(y));
	if (c)
		return c;
	return (x->number < y->number) - (x->number > y->number);
}

static int add_range(struct range_del_list *l, const struct batch_op *op,
		     uint32_t number)
{
	const struct range_del d = { op->key, op->value, number };

	assert(slice_cmp(op->key, op->value) < 0);
	return range_del_list_add(l, &d);
}

/* Gather the operations; *sorted tells whether they came in order. */
static int gather(struct batch_table *t, struct range_del_list *l, bool *sorted)
{
	struct batch_reader r;
	struct batch_op op;
	uint32_t number = 0;
	int err;

	*sorted = true;
	err = batch_reader_init(&r, slice_of(t->block->data, t->len));
	if (err)
		return err;
	while ((err = batch_reader_next(&r, &op)) == CAIRN_OK) {
		struct entry *e = &t->entries[t->n];

		assert(op.family == 0);
		if (op.kind == KIND_LOG_DATA)
			continue;
		assert(number < t->count);
		if (op.kind == KIND_RANGE_DELETE) {
			err = add_range(l, &op, number++);
			if (err)
				return err;
			continue;
		}
		*e = (struct entry){
			.prefix = key_prefix(op.key),
			.key = op.key.data,
			.key_len = (uint16_t)op.key.len,
			.number = number++,
			.kind = op.kind,
		};
		if (t->n && cmp_entries(e - 1, e) > 0)
			*sorted = false;
		t->n++;
	}
	assert(err != CAIRN_NOT_FOUND || number == t->count);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int build(struct batch_table *t)
{
	struct range_del_list l = { 0 };
	bool sorted;
	int err = gather(t, &l, &sorted);

	if (!err)
		err = range_dels_new(&l, &t->dels);
	range_del_list_fini(&l);
	if (!err && !sorted)
		qsort(t->entries, t->n, sizeof(t->entries[0]), cmp_entries);
	return err;
}

int batch_table_new(const struct cairn_batch *b, struct batch_table **out)
{
	struct batch_table *t = calloc(1, sizeof(*t));
	int err;

	assert(b->count);
	if (!t)
		return error_nomem();
	atomic_init(&t->seqno, 0);
	t->entries = calloc(b->count, sizeof(t->entries[0]));
	if (!t->entries) {
		free(t);
		return error_nomem();
	}
	t->block = batch_share(b);
	t->len = b->bytes.len;
	t->count = b->count;
	err = build(t);
	if (err)
		batch_table_free(t);
	else
		*out = t;
	return err;
}

void batch_table_free(struct batch_table *t)
{
	if (!t)
		return;
	batch_block_unref(t->block);
	range_dels_unref(t->dels);
	free(t->entries);
	free(t);
}

void batch_table_number(struct batch_table *t, uint64_t seqno)
{
	assert(seqno && !batch_table_seqno(t));
	if (t->dels)
		range_dels_shift(t->dels, seqno);
	atomic_store_explicit(&t->seqno, seqno, memory_order_release);
}

uint64_t batch_table_seqno(const struct batch_table *t)
{
	return atomic_load_explicit(&t->seqno, memory_order_acquire);
}

/* ----------------------------------------------------------------- reading */

/* The first entry at or after the target, by the numbers of the database. */
static size_t lower_bound(const struct batch_table *t,
			  const struct ikey *target, uint64_t seqno)
{
	uint64_t prefix = key_prefix(target->user_key);
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct entry *e = &t->entries[mid];
		bool before = e->prefix < prefix;

		if (e->prefix == prefix) {
			struct ikey k = ikey_make(key_of(e), seqno + e->number,
						  e->kind);

			before = ikey_cmp(&k, target) < 0;
		}
		if (before)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int batch_table_get(const struct batch_table *t, struct cairn_slice user_key,
		    uint64_t snapshot, uint64_t *trailer,
		    struct cairn_slice *value)
{
	const struct ikey target = ikey_seek(user_key, snapshot);
	uint64_t seqno = batch_table_seqno(t);
	const struct entry *e;
	size_t i;

	if (!seqno || snapshot < seqno)
		return CAIRN_NOT_FOUND;
	i = lower_bound(t, &target, seqno);
	e = &t->entries[i];
	if (i == t->n || !slice_eq(key_of(e), user_key))
		return CAIRN_NOT_FOUND;
	*trailer = ikey_pack(seqno + e->number, e->kind);
	*value = value_of(t, e);
	return CAIRN_OK;
}

uint64_t batch_table_cover(const struct batch_table *t,
			   struct cairn_slice user_key, uint64_t snapshot)
{
	if (!t->dels || !batch_table_seqno(t))
		return 0;
	return range_dels_cover(t->dels, user_key, snapshot);
}

struct range_dels *batch_table_range_dels(const struct batch_table *t)
{
	if (!t->dels || !batch_table_seqno(t))
		return NULL;
	return range_dels_ref(t->dels);
}

int batch_table_list_range_dels(const struct batch_table *t,
				struct range_del_list *l)
{
	int err = CAIRN_OK;

	if (!t->dels || !batch_table_seqno(t))
		return CAIRN_OK;
	for (size_t i = 0; !err && i < t->dels->n_tombs; i++) {
		const struct range_del d = range_dels_tomb(t->dels, i);

		err = range_del_list_add(l, &d);
	}
	return err;
}

uint32_t batch_table_count(const struct batch_table *t)
{
	return t->count;
}

uint64_t batch_table_ranges(const struct batch_table *t)
{
	return t->dels && batch_table_seqno(t) ? t->dels->n_tombs : 0;
}

size_t batch_table_bytes(const struct batch_table *t)
{
	return t->len + t->count * sizeof(t->entries[0]) +
	       (t->dels ? t->dels->memory : 0);
}

/* --------------------------------------------------------------- iterators */

struct table_iter {
	struct iter base;
	const struct batch_table *t;
	uint64_t seqno;
	size_t n; /* entries; 0 while they have no numbers */
	size_t i;
	struct range_dels *dels;
	struct range_scope scope;
	void (*release)(void *ctx);
	void *ctx;
};

/* i == n: at neither end. */
static void stand_at(struct iter *it, size_t i)
{
	struct table_iter *ti = (struct table_iter *)it;
	const struct entry *e;

	ti->i = i;
	it->valid = i < ti->n;
	if (!it->valid)
		return;
	e = &ti->t->entries[i];
	it->key = ikey_make(key_of(e), ti->seqno + e->number, e->kind);
	it->value = value_of(ti->t, e);
}

static void table_first(struct iter *it)
{
	stand_at(it, 0);
}

static void table_last(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	stand_at(it, ti->n ? ti->n - 1 : 0);
}

static size_t find(const struct table_iter *ti, const struct ikey *target)
{
	return ti->n ? lower_bound(ti->t, target, ti->seqno) : 0;
}

static void table_seek_ge(struct iter *it, const struct ikey *target)
{
	stand_at(it, find((struct table_iter *)it, target));
}

static void table_prev_of(struct iter *it, size_t i)
{
	struct table_iter *ti = (struct table_iter *)it;

	stand_at(it, i ? i - 1 : ti->n);
}

static void table_seek_lt(struct iter *it, const struct ikey *target)
{
	table_prev_of(it, find((struct table_iter *)it, target));
}

static void table_next(struct iter *it)
{
	assert(it->valid);
	stand_at(it, ((struct table_iter *)it)->i + 1);
}

static void table_prev(struct iter *it)
{
	assert(it->valid);
	table_prev_of(it, ((struct table_iter *)it)->i);
}

static void table_close(struct iter *it)
{
	struct table_iter *ti = (struct table_iter *)it;

	range_dels_unref(ti->dels);
	ti->release(ti->ctx);
	free(ti);
}

static const struct iter_ops table_ops = {
	.first = table_first,
	.last = table_last,
	.seek_ge = table_seek_ge,
	.seek_lt = table_seek_lt,
	.next = table_next,
	.prev = table_prev,
	.close = table_close,
};

int batch_table_iter_new(struct batch_table *t, void (*release)(void *ctx),
			 void *ctx, struct iter **out)
{
	struct table_iter *ti = calloc(1, sizeof(*ti));

	if (!ti)
		return error_nomem();
	ti->base.ops = &table_ops;
	ti->t = t;
	ti->seqno = batch_table_seqno(t);
	ti->n = ti->seqno ? t->n : 0;
	ti->dels = ti->seqno ? batch_table_range_dels(t) : NULL;
	ti->release = release;
	ti->ctx = ctx;
	if (ti->dels) {
		ti->scope.set = ti->dels;
		ti->base.scope = &ti->scope;
	}
	*out = &ti->base;
	return CAIRN_OK;
}
