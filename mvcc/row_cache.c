/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/row_cache.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"

struct row_cache_entry {
	struct row_cache_entry *next; /* in the bucket */
	struct list lru;
	uint64_t hash;
	int64_t main;
	int32_t sub;
	int64_t none_below;
	size_t full_len;
	size_t key_len;
	size_t value_len;
	uint8_t bytes[]; /* key, then value */
};

#define BUCKETS_FIRST 64u

void row_cache_init(struct row_cache *c, size_t bytes)
{
	memset(c, 0, sizeof(*c));
	c->part_bytes = bytes / ROW_CACHE_PARTS;
	for (size_t i = 0; i < ROW_CACHE_PARTS; i++) {
		mutex_init(&c->parts[i].mu);
		list_init(&c->parts[i].lru);
	}
}

static size_t entry_bytes(const struct row_cache_entry *e)
{
	return sizeof(*e) + e->key_len + e->value_len + sizeof(e);
}

static struct cairn_slice entry_key(const struct row_cache_entry *e)
{
	return slice_of(e->bytes, e->key_len);
}

static struct row_cache_part *part_of(struct row_cache *c, uint64_t hash)
{
	return &c->parts[hash >> 60];
}

/* The pointer that points to the entry of key, or to where it would be. */
static struct row_cache_entry **find(struct row_cache_part *p, uint64_t hash,
				     struct cairn_slice key)
{
	struct row_cache_entry **at = &p->buckets[hash & (p->n_buckets - 1)];

	while (*at && ((*at)->hash != hash || !slice_eq(entry_key(*at), key)))
		at = &(*at)->next;
	return at;
}

/* Remove e, to which *at points. */
static void drop(struct row_cache_part *p, struct row_cache_entry **at,
		 struct row_cache_entry *e)
{
	*at = e->next;
	list_remove(&e->lru);
	p->bytes -= entry_bytes(e);
	p->n--;
	free(e);
}

void row_cache_fini(struct row_cache *c)
{
	for (size_t i = 0; i < ROW_CACHE_PARTS; i++) {
		struct row_cache_part *p = &c->parts[i];

		list_for_each_safe (pos, tmp, &p->lru)
			free(list_entry(pos, struct row_cache_entry, lru));
		free(p->buckets);
		mutex_fini(&p->mu);
	}
}

/* Double the buckets. Without memory the chains just get longer. */
static void grow(struct row_cache_part *p)
{
	size_t n = p->n_buckets ? 2 * p->n_buckets : BUCKETS_FIRST;
	struct row_cache_entry **buckets =
		calloc(n, sizeof(struct row_cache_entry *));

	if (!buckets)
		return;
	list_for_each (pos, &p->lru) {
		struct row_cache_entry *e =
			list_entry(pos, struct row_cache_entry, lru);

		e->next = buckets[e->hash & (n - 1)];
		buckets[e->hash & (n - 1)] = e;
	}
	free(p->buckets);
	p->buckets = buckets;
	p->n_buckets = n;
}

static void evict(struct row_cache_part *p, size_t limit)
{
	while (p->bytes > limit) {
		struct row_cache_entry *e =
			list_entry(p->lru.prev, struct row_cache_entry, lru);

		drop(p, find(p, e->hash, entry_key(e)), e);
	}
}

static struct row_cache_entry *entry_new(uint64_t hash, struct cairn_slice key,
					 const struct cached_row *row)
{
	struct row_cache_entry *e =
		malloc(sizeof(*e) + key.len + row->value.len);

	if (!e)
		return NULL;
	e->hash = hash;
	e->main = row->main;
	e->sub = row->sub;
	e->none_below = 0;
	e->full_len = row->full_len;
	e->key_len = key.len;
	e->value_len = row->value.len;
	if (key.len)
		memcpy(e->bytes, key.data, key.len);
	if (row->value.len)
		memcpy(e->bytes + key.len, row->value.data, row->value.len);
	return e;
}

/* Replace what is known of key; p->mu is held. */
static void replace(struct row_cache *c, struct row_cache_part *p,
		    uint64_t hash, struct cairn_slice key,
		    const struct cached_row *row)
{
	struct row_cache_entry *e = entry_new(hash, key, row);
	struct row_cache_entry **at;

	assert_held(&p->mu);
	if (p->n >= p->n_buckets)
		grow(p);
	if (!p->n_buckets) {
		free(e);
		return;
	}
	at = find(p, hash, key);
	/* The row of a key says nothing about the keys below it. */
	if (*at && e)
		e->none_below = (*at)->none_below;
	if (*at)
		drop(p, at, *at);
	if (!e)
		return;
	e->next = p->buckets[hash & (p->n_buckets - 1)];
	p->buckets[hash & (p->n_buckets - 1)] = e;
	list_add_head(&p->lru, &e->lru);
	p->bytes += entry_bytes(e);
	p->n++;
	evict(p, c->part_bytes);
}

int row_cache_get(struct row_cache *c, struct cairn_slice key,
		  struct cached_row *out, uint8_t **own)
{
	uint64_t hash = hash64(key.data, key.len);
	struct row_cache_part *p = part_of(c, hash);
	struct row_cache_entry *e;
	uint8_t *copy;
	int err = CAIRN_NOT_FOUND;

	mutex_lock(&p->mu);
	e = p->n_buckets ? *find(p, hash, key) : NULL;
	if (!e) {
		p->misses++;
		goto out;
	}
	copy = malloc(e->key_len + e->value_len + 1);
	if (!copy) {
		err = error_nomem();
		goto out;
	}
	memcpy(copy, e->bytes, e->key_len + e->value_len);
	out->main = e->main;
	out->sub = e->sub;
	out->none_below = e->none_below;
	out->full_len = e->full_len;
	out->value = slice_of(copy + e->key_len, e->value_len);
	*own = copy;
	list_remove(&e->lru);
	list_add_head(&p->lru, &e->lru);
	p->hits++;
	err = CAIRN_OK;
out:
	mutex_unlock(&p->mu);
	return err;
}

bool row_cache_has(struct row_cache *c, struct cairn_slice key)
{
	uint64_t hash = hash64(key.data, key.len);
	struct row_cache_part *p = part_of(c, hash);
	bool has;

	mutex_lock(&p->mu);
	has = p->n_buckets && *find(p, hash, key);
	mutex_unlock(&p->mu);
	return has;
}

void row_cache_put(struct row_cache *c, struct cairn_slice key,
		   const struct cached_row *row)
{
	uint64_t hash = hash64(key.data, key.len);
	struct row_cache_part *p = part_of(c, hash);

	mutex_lock(&p->mu);
	replace(c, p, hash, key, row);
	mutex_unlock(&p->mu);
}

void row_cache_fill(struct row_cache *c, struct cairn_slice key,
		    const struct cached_row *row, const _Atomic int64_t *begun,
		    int64_t rev)
{
	uint64_t hash = hash64(key.data, key.len);
	struct row_cache_part *p = part_of(c, hash);

	mutex_lock(&p->mu);
	/*
	 * A writer stores *begun before it takes this lock to replace the
	 * entry: either that is seen here, or the writer comes after us.
	 */
	if (atomic_load(begun) == rev)
		replace(c, p, hash, key, row);
	mutex_unlock(&p->mu);
}

void row_cache_none_below(struct row_cache *c, struct cairn_slice key,
			  const _Atomic int64_t *begun, int64_t rev)
{
	uint64_t hash = hash64(key.data, key.len);
	struct row_cache_part *p = part_of(c, hash);
	struct row_cache_entry *e;

	mutex_lock(&p->mu);
	e = p->n_buckets ? *find(p, hash, key) : NULL;
	/* As in row_cache_fill(). */
	if (e && !e->none_below && atomic_load(begun) == rev)
		e->none_below = rev;
	mutex_unlock(&p->mu);
}

static void clear_below(struct row_cache *c, struct cairn_slice key)
{
	uint64_t hash = hash64(key.data, key.len);
	struct row_cache_part *p = part_of(c, hash);
	struct row_cache_entry *e;

	mutex_lock(&p->mu);
	e = p->n_buckets ? *find(p, hash, key) : NULL;
	if (e)
		e->none_below = 0;
	mutex_unlock(&p->mu);
}

void row_cache_made(struct row_cache *c, struct cairn_slice key)
{
	for (size_t i = 0; i < key.len; i++)
		if (key.data[i] == '/')
			clear_below(c, slice_of(key.data, i));
}

void row_cache_stats(struct row_cache *c, struct row_cache_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < ROW_CACHE_PARTS; i++) {
		struct row_cache_part *p = &c->parts[i];

		mutex_lock(&p->mu);
		out->hits += p->hits;
		out->misses += p->misses;
		out->bytes += p->bytes + p->n_buckets * sizeof(void *);
		mutex_unlock(&p->mu);
	}
}
