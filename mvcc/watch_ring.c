/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch_ring.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/txn_impl.h"

struct watch_block *watch_block_new(const struct commit *c)
{
	struct watch_block *b;
	size_t len = sizeof(*b) + c->n * sizeof(b->changes[0]);
	uint8_t *at;

	if (c->n > WATCH_RING_CHANGES)
		return NULL;
	for (size_t i = 0; i < c->n; i++)
		len += c->changes[i].key.len;
	if (len > WATCH_RING_BYTES)
		return NULL;
	b = malloc(len);
	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->main = c->main;
	b->bytes = len;
	b->n = c->n;
	at = (uint8_t *)&b->changes[c->n];
	for (size_t i = 0; i < c->n; i++) {
		struct cairn_slice key = c->changes[i].key;

		if (key.len)
			memcpy(at, key.data, key.len);
		b->changes[i].key = slice_of(at, key.len);
		b->changes[i].deleted = c->changes[i].deleted;
		at += key.len;
	}
	return b;
}

void watch_block_unref(struct watch_block *b)
{
	/* Release and acquire: whoever frees it comes after all readers. */
	if (b &&
	    atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

static struct watch_block **slot(const struct watch_ring *r, int64_t rev)
{
	return &r->blocks[(uint64_t)rev % WATCH_RING_CHANGES];
}

static void drop_oldest(struct watch_ring *r)
{
	struct watch_block **s = slot(r, r->low);

	r->n -= (*s)->n;
	r->bytes -= (*s)->bytes;
	r->low++;
	watch_block_unref(*s);
	*s = NULL;
}

static void empty(struct watch_ring *r)
{
	while (r->low < r->high)
		drop_oldest(r);
}

int watch_ring_start(struct watch_ring *r)
{
	assert(!r->blocks);
	r->blocks = calloc(WATCH_RING_CHANGES, sizeof(struct watch_block *));
	return r->blocks ? CAIRN_OK : error_nomem();
}

void watch_ring_stop(struct watch_ring *r)
{
	empty(r);
	free(r->blocks);
	*r = (struct watch_ring){ 0 };
}

void watch_ring_push(struct watch_ring *r, int64_t main, struct watch_block *b)
{
	if (!b || main != r->high) {
		empty(r);
		r->low = main;
		r->high = main;
	}
	if (!b) {
		r->low++;
		r->high++;
		return;
	}
	assert(b->main == main && b->n > 0);
	/* Each revision has a change, so that no slot is taken twice. */
	while (r->low < r->high && (r->n + b->n > WATCH_RING_CHANGES ||
				    r->bytes + b->bytes > WATCH_RING_BYTES))
		drop_oldest(r);
	*slot(r, main) = b;
	r->n += b->n;
	r->bytes += b->bytes;
	r->high++;
}

size_t watch_ring_take(const struct watch_ring *r, int64_t rev,
		       struct watch_block **out, size_t max)
{
	size_t n = 0;

	if (rev < r->low)
		return 0;
	for (; rev < r->high && n < max; rev++) {
		struct watch_block *b = *slot(r, rev);

		/* The ring has a reference, so that nobody frees it. */
		atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
		out[n++] = b;
	}
	return n;
}
