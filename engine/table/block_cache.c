/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/block_cache.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"
#include "engine/table/block_cache_pin.h"

#define SHARDS_MAX 16u
/* Below this a shard holds too few blocks to evict well. */
#define SHARD_BYTES_MIN (512u << 10)
#define CHUNK_ENTRIES   32u
#define BUCKETS_MIN     16u
/* What malloc adds to the two allocations of a block. */
#define VALUE_OVERHEAD 32u
#define CACHE_LINE     64

/* Entries come in chunks that stay until the cache goes. */
struct chunk {
	struct block_handle_ref entry[CHUNK_ENTRIES];
};

struct cache_shard {
	_Alignas(CACHE_LINE) struct mutex mu;
	struct cond loaded;

	/* Guarded by mu. */
	size_t capacity;
	size_t bytes; /* charges, and the memory of what follows */
	struct block_handle_ref **bucket;
	size_t n_buckets; /* a power of two, or 0 */
	size_t n_linked;
	struct chunk **chunk;
	size_t n_chunks;
	size_t chunks_cap;
	struct block_handle_ref *unused;
	size_t hand; /* of the clock: the next entry to look at */
	size_t n_waiting;
	uint64_t hits; /* those that have been taken out of the entries */
	uint64_t misses;
};

struct block_cache {
	_Atomic size_t capacity;
	size_t n_shards; /* a power of two */
	struct cache_shard *shard;
	struct decompress_pool pool;
};

static size_t shards_for(size_t capacity)
{
	size_t n = 1;

	while (n < SHARDS_MAX && capacity / (2 * n) >= SHARD_BYTES_MIN)
		n *= 2;
	return n;
}

int block_cache_new(size_t capacity, struct block_cache **out)
{
	struct block_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return error_nomem();
	c->n_shards = shards_for(capacity);
	c->shard = aligned_alloc(CACHE_LINE, c->n_shards * sizeof(*c->shard));
	if (!c->shard) {
		free(c);
		return error_nomem();
	}
	atomic_init(&c->capacity, capacity);
	for (size_t i = 0; i < c->n_shards; i++) {
		struct cache_shard *s = &c->shard[i];

		*s = (struct cache_shard){ .capacity = capacity / c->n_shards };
		mutex_init(&s->mu);
		cond_init(&s->loaded);
	}
	*out = c;
	return CAIRN_OK;
}

static void shard_fini(struct cache_shard *s)
{
	for (size_t i = 0; i < s->n_chunks; i++) {
		for (size_t k = 0; k < CHUNK_ENTRIES; k++) {
			struct block_handle_ref *f = &s->chunk[i]->entry[k];

			assert(!(f->state & PIN_COUNT_MASK));
			assert(!(f->state & PIN_DOOMED));
			if (f->state & PIN_LIVE)
				f->value->free(f->value);
		}
		free(s->chunk[i]);
	}
	free(s->chunk);
	free(s->bucket);
	cond_fini(&s->loaded);
	mutex_fini(&s->mu);
}

void block_cache_free(struct block_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_shards; i++)
		shard_fini(&c->shard[i]);
	free(c->shard);
	decompress_pool_fini(&c->pool);
	free(c);
}

struct decompress_pool *block_cache_pool(struct block_cache *c)
{
	return &c->pool;
}

/* ------------------------------------------------- inside one shard */

static uint64_t hash_of(struct cache_key key)
{
	uint64_t h = (key.file * UINT64_C(0x9e3779b97f4a7c15)) ^ key.where;

	h *= UINT64_C(0xbf58476d1ce4e5b9);
	h ^= h >> 32;
	return h * UINT64_C(0x94d049bb133111eb);
}

static struct cache_shard *shard_of(struct block_cache *c, struct cache_key key)
{
	return &c->shard[(hash_of(key) >> 60) & (c->n_shards - 1)];
}

static struct block_handle_ref **bucket_of(struct cache_shard *s,
					   struct cache_key key)
{
	return &s->bucket[(hash_of(key) >> 24) & (s->n_buckets - 1)];
}

static struct cache_key key_of(const struct block_handle_ref *f)
{
	return (struct cache_key){ f->file, f->where };
}

static struct block_handle_ref *find(struct cache_shard *s,
				     struct cache_key key)
{
	struct block_handle_ref *f;

	if (!s->n_buckets)
		return NULL;
	f = *bucket_of(s, key);
	while (f && (f->file != key.file || f->where != key.where))
		f = f->next;
	return f;
}

static void unlink_entry(struct cache_shard *s, struct block_handle_ref *f)
{
	struct block_handle_ref **p = bucket_of(s, key_of(f));

	assert(f->linked);
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	f->linked = false;
	s->n_linked--;
}

/* An entry that is neither live nor linked may be used for something else. */
static void put_unused(struct cache_shard *s, struct block_handle_ref *f)
{
	f->next = s->unused;
	s->unused = f;
}

/* Free the contents of an entry that nobody can get at any more. */
static void drop_value(struct cache_shard *s, struct block_handle_ref *f)
{
	s->hits += pin_drain(&f->state);
	s->bytes -= f->charge;
	f->value->free(f->value);
	f->value = NULL;
	f->charge = 0;
	put_unused(s, f);
}

/*
 * Turn the clock until an entry goes that has no pins and has not been used
 * since the hand passed it. False when there is none after two rounds.
 */
static bool evict_one(struct cache_shard *s)
{
	size_t n = s->n_chunks * CHUNK_ENTRIES;

	for (size_t left = 2 * n; left > 0; left--) {
		size_t i = s->hand;
		struct block_handle_ref *f =
			&s->chunk[i / CHUNK_ENTRIES]->entry[i % CHUNK_ENTRIES];
		uint64_t state =
			atomic_load_explicit(&f->state, memory_order_relaxed);

		s->hand = i + 1 == n ? 0 : i + 1;
		if (!(state & PIN_LIVE) || (state & PIN_COUNT_MASK))
			continue;
		if (state & PIN_USED) {
			atomic_fetch_and_explicit(&f->state, ~PIN_USED,
						  memory_order_relaxed);
			continue;
		}
		if (!pin_retire(&f->state))
			continue;
		unlink_entry(s, f);
		drop_value(s, f);
		return true;
	}
	return false;
}

static bool make_room(struct cache_shard *s, size_t bytes)
{
	if (bytes > s->capacity)
		return false;
	while (s->bytes > s->capacity - bytes)
		if (!evict_one(s))
			return false;
	return true;
}

/* Double the buckets when they are short, if there is room for that. */
static void grow_buckets(struct cache_shard *s)
{
	size_t n = s->n_buckets ? s->n_buckets * 2 : BUCKETS_MIN;
	struct block_handle_ref **bucket, **old = s->bucket;
	size_t n_old = s->n_buckets;

	if (s->n_linked < n_old ||
	    !make_room(s, (n - n_old) * sizeof(struct block_handle_ref *)))
		return;
	bucket = calloc(n, sizeof(struct block_handle_ref *));
	if (!bucket)
		return;
	s->bucket = bucket;
	s->n_buckets = n;
	s->bytes += (n - n_old) * sizeof(struct block_handle_ref *);
	for (size_t i = 0; i < n_old; i++) {
		struct block_handle_ref *f = old[i];

		while (f) {
			struct block_handle_ref *next = f->next;
			struct block_handle_ref **b = bucket_of(s, key_of(f));

			f->next = *b;
			*b = f;
			f = next;
		}
	}
	free(old);
}

/* More entries, if their memory is within the capacity as things are. */
static bool add_chunk(struct cache_shard *s)
{
	/* The array of chunks is at least half full. */
	size_t bytes = sizeof(struct chunk) + 2 * sizeof(struct chunk *);
	struct chunk *chunk;

	if (s->bytes > s->capacity || bytes > s->capacity - s->bytes)
		return false;
	if (s->n_chunks == s->chunks_cap) {
		size_t cap = s->chunks_cap ? s->chunks_cap * 2 : 8;
		struct chunk **p = realloc(s->chunk, cap * sizeof(*p));

		if (!p)
			return false;
		s->chunk = p;
		s->chunks_cap = cap;
	}
	/* An entry is a cache line, so that a hit touches one. */
	_Static_assert(sizeof(chunk->entry[0]) == CACHE_LINE,
		       "entry is a line");
	chunk = aligned_alloc(CACHE_LINE, sizeof(*chunk));
	if (!chunk)
		return false;
	memset(chunk, 0, sizeof(*chunk));
	for (size_t i = CHUNK_ENTRIES; i-- > 0;) {
		chunk->entry[i].shard = s;
		put_unused(s, &chunk->entry[i]);
	}
	s->chunk[s->n_chunks++] = chunk;
	s->bytes += bytes;
	return true;
}

/*
 * An entry for key, linked and loading, so that others wait for it. NULL when
 * none can be had.
 */
static struct block_handle_ref *reserve(struct cache_shard *s,
					struct cache_key key)
{
	struct block_handle_ref *f, **b;

	grow_buckets(s);
	if (!s->n_buckets || (!s->unused && !add_chunk(s) && !evict_one(s)))
		return NULL;
	f = s->unused;
	s->unused = f->next;
	f->file = key.file;
	f->where = key.where;
	f->linked = true;
	f->loading = true;
	f->doomed = false;
	b = bucket_of(s, key);
	f->next = *b;
	*b = f;
	s->n_linked++;
	return f;
}

/* Loading is over: keep value in f, pinned once, or give f up. */
static bool settle(struct cache_shard *s, struct block_handle_ref *f,
		   struct cache_value *value)
{
	bool keep = value && !f->doomed &&
		    make_room(s, value->bytes + VALUE_OVERHEAD);

	f->loading = false;
	if (keep) {
		f->value = value;
		f->charge = value->bytes + VALUE_OVERHEAD;
		s->bytes += f->charge;
		pin_publish(&f->state);
	} else {
		unlink_entry(s, f);
		put_unused(s, f);
	}
	if (s->n_waiting)
		cond_broadcast(&s->loaded);
	return keep;
}

/* ------------------------------------------------------------- pinning */

/* Find key, waiting for a thread that is loading it. *waited: one was. */
static struct block_handle_ref *find_loaded(struct cache_shard *s,
					    struct cache_key key, bool *waited)
{
	struct block_handle_ref *f;

	*waited = false;
	while ((f = find(s, key)) && f->loading) {
		*waited = true;
		s->n_waiting++;
		cond_wait(&s->loaded, &s->mu);
		s->n_waiting--;
	}
	return f;
}

int block_cache_pin(struct block_cache *c, struct cache_key key,
		    _Atomic(struct block_handle_ref *) *slot,
		    const struct cache_loader *loader, bool fill,
		    struct cache_pin *out)
{
	struct cache_shard *s = shard_of(c, key);
	struct cache_value *value = NULL;
	struct block_handle_ref *f;
	bool waited;
	int err;

	mutex_lock(&s->mu);
	f = find_loaded(s, key, &waited);
	if (f) {
		pin_take(&f->state);
		*out = (struct cache_pin){ f, f->value };
		mutex_unlock(&s->mu);
		/* Pairs with the acquire of cache_pin_hint(). */
		atomic_store_explicit(slot, f, memory_order_release);
		return CAIRN_OK;
	}
	s->misses++;
	/* Who waited in vain does not make others wait. */
	if (fill && !waited)
		f = reserve(s, key);
	mutex_unlock(&s->mu);

	err = loader->load(loader->ctx, &value);
	if (f) {
		mutex_lock(&s->mu);
		if (!settle(s, f, value))
			f = NULL;
		mutex_unlock(&s->mu);
	}
	if (f)
		atomic_store_explicit(slot, f, memory_order_release);
	if (!err)
		*out = (struct cache_pin){ f, value };
	return err;
}

void block_cache_bury(struct block_handle_ref *ref)
{
	struct cache_shard *s = ref->shard;

	mutex_lock(&s->mu);
	if (pin_bury(&ref->state))
		drop_value(s, ref);
	mutex_unlock(&s->mu);
}

void block_cache_unpin(void *ref)
{
	struct block_handle_ref *f = ref;

	if (pin_drop(&f->state))
		block_cache_bury(f);
}

void block_cache_free_value(void *value)
{
	struct cache_value *v = value;

	v->free(v);
}

void block_cache_drain(struct block_handle_ref *ref)
{
	struct cache_shard *s = ref->shard;

	mutex_lock(&s->mu);
	s->hits += pin_drain(&ref->state);
	mutex_unlock(&s->mu);
}

/* ---------------------------------------------------------- whole cache */

void block_cache_set_capacity(struct block_cache *c, size_t capacity)
{
	atomic_store_explicit(&c->capacity, capacity, memory_order_relaxed);
	for (size_t i = 0; i < c->n_shards; i++) {
		struct cache_shard *s = &c->shard[i];

		mutex_lock(&s->mu);
		s->capacity = capacity / c->n_shards;
		while (s->bytes > s->capacity && evict_one(s))
			;
		mutex_unlock(&s->mu);
	}
}

static void shard_stats(struct cache_shard *s, struct block_cache_stats *out)
{
	mutex_lock(&s->mu);
	for (size_t i = 0; i < s->n_chunks; i++)
		for (size_t k = 0; k < CHUNK_ENTRIES; k++)
			s->hits += pin_drain(&s->chunk[i]->entry[k].state);
	out->bytes += s->bytes;
	out->hits += s->hits;
	out->misses += s->misses;
	mutex_unlock(&s->mu);
}

void block_cache_stats(struct block_cache *c, struct block_cache_stats *out)
{
	struct block_cache_stats st = {
		.capacity = atomic_load_explicit(&c->capacity,
						 memory_order_relaxed),
	};

	for (size_t i = 0; i < c->n_shards; i++)
		shard_stats(&c->shard[i], &st);
	*out = st;
}

static void evict_entry(struct cache_shard *s, struct block_handle_ref *f)
{
	if (f->loading) {
		f->doomed = true;
		return;
	}
	unlink_entry(s, f);
	pin_doom(&f->state);
	if (pin_bury(&f->state))
		drop_value(s, f);
}

void block_cache_evict_file(struct block_cache *c, uint64_t file_number)
{
	for (size_t i = 0; i < c->n_shards; i++) {
		struct cache_shard *s = &c->shard[i];

		mutex_lock(&s->mu);
		for (size_t k = 0; k < s->n_chunks * CHUNK_ENTRIES; k++) {
			struct block_handle_ref *f =
				&s->chunk[k / CHUNK_ENTRIES]
					 ->entry[k % CHUNK_ENTRIES];

			if (f->linked && f->file == file_number)
				evict_entry(s, f);
		}
		mutex_unlock(&s->mu);
	}
}
