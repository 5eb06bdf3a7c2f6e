/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The side of the block cache that tables see: getting a block, loading it
 * when it is missing, and holding on to it.
 */
#ifndef CAIRN_TABLE_BLOCK_CACHE_PIN_H
#define CAIRN_TABLE_BLOCK_CACHE_PIN_H

#include "engine/table/block_cache.h"
#include "engine/table/compress.h"
#include "engine/table/pin.h"

/* What is cached: the first member of a struct that knows how to free it. */
struct cache_value {
	void (*free)(struct cache_value *v);
	size_t bytes; /* of memory, all told */
};

/*
 * What a block is read as. Part of the key: a damaged file may name one place
 * as two kinds of block, and their structs differ.
 */
enum cache_kind {
	CACHE_DATA,
	CACHE_INDEX,
	CACHE_FILTER,
};

struct cache_key {
	uint64_t file;
	uint64_t where; /* kind in the upper two bits, offset */
};

static inline struct cache_key cache_key_of(uint64_t file, enum cache_kind kind,
					    uint64_t offset)
{
	return (struct cache_key){ file, (uint64_t)kind << 62 | offset };
}

struct cache_shard;

/* An entry. Its memory lives as long as the cache; see pin.h. */
struct block_handle_ref {
	_Atomic uint64_t state;
	/* Written while not live, read with a pin. */
	uint64_t file;
	uint64_t where;
	struct cache_value *value;
	struct cache_shard *shard; /* never changes */
	/* Guarded by the shard's lock. */
	struct block_handle_ref *next; /* same bucket, or free */
	size_t charge;
	bool linked;  /* in its bucket */
	bool loading; /* being loaded; not live */
	bool doomed;  /* its file was evicted while it was loading */
};

/* A value that stays put: an entry's, or with ref NULL one of one's own. */
struct cache_pin {
	struct block_handle_ref *ref;
	struct cache_value *value; /* NULL: nothing is pinned */
};

struct cache_loader {
	int (*load)(void *ctx, struct cache_value **out);
	void *ctx;
};

/* Slow ends of the functions below. */
void block_cache_bury(struct block_handle_ref *ref);
void block_cache_drain(struct block_handle_ref *ref);

/*
 * Pin what *slot remembers, if that is still there and still is key. Takes no
 * lock.
 */
static inline bool cache_pin_hint(_Atomic(struct block_handle_ref *) *slot,
				  struct cache_key key, struct cache_pin *out)
{
	/* Pairs with the release of block_cache_pin(). */
	struct block_handle_ref *ref =
		atomic_load_explicit(slot, memory_order_acquire);
	uint64_t state;

	if (!ref)
		return false;
	state = pin_take(&ref->state);
	if ((state & PIN_LIVE) && ref->file == key.file &&
	    ref->where == key.where) {
		if (state & PIN_EVER_FULL)
			block_cache_drain(ref);
		*out = (struct cache_pin){ ref, ref->value };
		return true;
	}
	if (pin_undo(&ref->state))
		block_cache_bury(ref);
	return false;
}

/* Add a pin to what p, which has a ref, has pinned; block_cache_unpin() drops
 * it. */
static inline void cache_pin_again(const struct cache_pin *p)
{
	if (pin_take(&p->ref->state) & PIN_EVER_FULL)
		block_cache_drain(p->ref);
}

/*
 * Pin key, loading it when it is missing; slot is made to remember it. With
 * fill a missing block is added to the cache, and others that want it wait for
 * this thread to load it; without, or when it cannot be added, it is loaded
 * for the caller alone. Returns what the loader returned.
 */
MUST_CHECK int block_cache_pin(struct block_cache *c, struct cache_key key,
			       _Atomic(struct block_handle_ref *) *slot,
			       const struct cache_loader *loader, bool fill,
			       struct cache_pin *out);

/* Both are safe to give to others as the release function of a value. */
void block_cache_unpin(void *ref);        /* struct block_handle_ref * */
void block_cache_free_value(void *value); /* struct cache_value * */

/* Empty and full pins alike. */
static inline void cache_pin_release(struct cache_pin *p)
{
	if (p->ref)
		block_cache_unpin(p->ref);
	else if (p->value)
		p->value->free(p->value);
	*p = (struct cache_pin){ NULL, NULL };
}

/* Shared by all tables of the cache. */
struct decompress_pool *block_cache_pool(struct block_cache *c);

#endif
