/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries are found by a lock-free look at where the file number was seen last
 * (pin.h), else in a hash table under the mutex. Tables are opened and closed
 * without the mutex.
 */
#include "engine/table/table_cache.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"
#include "engine/table/pin.h"
#include "engine/table/table_priv.h"

#define HINTS_MIN    64u
#define HINTS_MAX    65536u
#define BUCKETS_MIN  64u
#define NAME_MAX_LEN 32u

/* An entry. Its memory lives as long as the cache. */
struct table_ref {
	_Atomic uint64_t state; /* see pin.h */
	/* Written while not live, read with a pin. */
	uint64_t number;
	struct table *table;
	struct table_cache *cache; /* never changes */
	/* Guarded by the cache's lock. */
	struct table_ref *next; /* same bucket, or unused */
	struct table_ref *all;  /* every entry, for the clock */
	bool linked;
	bool opening;
	bool doomed; /* evicted while it was being opened */
};

/* What the MANIFEST told of an ingested table. */
struct told_seqno {
	uint64_t number;
	uint64_t seqno;
};

struct table_cache {
	struct cairn_env *env;
	char *dir;
	size_t max_open;
	struct table_read_options opts;

	/* Where file number n was last seen: hint[n & hint_mask]. */
	_Atomic(struct table_ref *) *hint;
	size_t hint_mask;

	/* Those being opened or closed included. Changed under mu, but a look
	 * without it says whether there is anything to do. */
	_Atomic size_t n_open;

	struct mutex mu;
	struct cond opened;
	/* Guarded by mu. */
	struct table_ref **bucket;
	size_t n_buckets; /* a power of two */
	size_t n_linked;
	struct table_ref *all;
	struct table_ref *hand; /* of the clock; NULL: the first entry */
	struct table_ref *unused;
	size_t n_entries;
	size_t memory;
	struct told_seqno *told; /* sorted by number */
	size_t n_told;
	size_t told_cap;
};

static size_t power_of_two(size_t at_least, size_t min, size_t max)
{
	size_t n = min;

	while (n < max && n < at_least)
		n *= 2;
	return n;
}

int table_cache_new(struct cairn_env *env, const char *dir, size_t max_open,
		    const struct table_read_options *opts,
		    struct table_cache **out)
{
	struct table_cache *c = calloc(1, sizeof(*c));
	size_t n_hints = power_of_two(max_open * 2, HINTS_MIN, HINTS_MAX);

	if (!c)
		return error_nomem();
	mutex_init(&c->mu);
	cond_init(&c->opened);
	c->env = env;
	c->max_open = max_open;
	c->opts = *opts;
	c->hint_mask = n_hints - 1;
	c->n_buckets = BUCKETS_MIN;
	c->dir = strdup(dir);
	c->hint = calloc(n_hints, sizeof(*c->hint));
	c->bucket = calloc(c->n_buckets, sizeof(struct table_ref *));
	if (!c->dir || !c->hint || !c->bucket) {
		table_cache_free(c);
		return error_nomem();
	}
	*out = c;
	return CAIRN_OK;
}

void table_cache_free(struct table_cache *c)
{
	struct table_ref *r, *next;

	if (!c)
		return;
	for (r = c->all; r; r = next) {
		next = r->all;
		assert(!(r->state & PIN_COUNT_MASK));
		if (r->state & PIN_LIVE)
			table_close(r->table);
		free(r);
	}
	free(c->told);
	free(c->bucket);
	free((void *)(uintptr_t)c->hint);
	free(c->dir);
	cond_fini(&c->opened);
	mutex_fini(&c->mu);
	free(c);
}

struct table *table_ref_table(struct table_ref *r)
{
	return r->table;
}

/* ------------------------------------------------- guarded by the mutex */

static struct table_ref **bucket_of(struct table_cache *c, uint64_t number)
{
	/* Numbers come one after the other: no need to hash them. */
	return &c->bucket[number & (c->n_buckets - 1)];
}

static struct table_ref *find(struct table_cache *c, uint64_t number)
{
	struct table_ref *r = *bucket_of(c, number);

	while (r && r->number != number)
		r = r->next;
	return r;
}

static void link_entry(struct table_cache *c, struct table_ref *r)
{
	struct table_ref **b = bucket_of(c, r->number);

	r->next = *b;
	*b = r;
	r->linked = true;
	c->n_linked++;
}

static void unlink_entry(struct table_cache *c, struct table_ref *r)
{
	struct table_ref **p = bucket_of(c, r->number);

	assert(r->linked);
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	r->linked = false;
	c->n_linked--;
}

/* Double the buckets when they are short. Failing does not matter much. */
static void grow_buckets(struct table_cache *c)
{
	size_t n_old = c->n_buckets;
	struct table_ref **old = c->bucket;
	struct table_ref **bucket;

	if (c->n_linked < n_old)
		return;
	bucket = calloc(n_old * 2, sizeof(struct table_ref *));
	if (!bucket)
		return;
	c->bucket = bucket;
	c->n_buckets = n_old * 2;
	c->n_linked = 0;
	for (size_t i = 0; i < n_old; i++) {
		struct table_ref *r = old[i];

		while (r) {
			struct table_ref *next = r->next;

			link_entry(c, r);
			r = next;
		}
	}
	free(old);
}

static void put_unused(struct table_cache *c, struct table_ref *r)
{
	r->table = NULL;
	r->next = c->unused;
	c->unused = r;
}

/* Take the table out of an entry that nobody can get at any more; the caller
 * closes it when the mutex is free, and then says so by closed(). */
static struct table *take_table(struct table_cache *c, struct table_ref *r)
{
	struct table *t = r->table;

	pin_drain(&r->state);
	c->memory -= table_memory(t);
	put_unused(c, r);
	return t;
}

/*
 * Turn the clock until a table goes that is not in use and has not been used
 * since the hand passed it. NULL when there is none after two rounds.
 */
static struct table *evict_one(struct table_cache *c)
{
	for (size_t left = 2 * c->n_entries; left > 0; left--) {
		struct table_ref *r = c->hand ? c->hand : c->all;
		uint64_t state =
			atomic_load_explicit(&r->state, memory_order_relaxed);

		c->hand = r->all;
		if (!(state & PIN_LIVE) || (state & PIN_COUNT_MASK))
			continue;
		if (state & PIN_USED) {
			atomic_fetch_and_explicit(&r->state, ~PIN_USED,
						  memory_order_relaxed);
			continue;
		}
		if (!pin_retire(&r->state))
			continue;
		unlink_entry(c, r);
		return take_table(c, r);
	}
	return NULL;
}

/* An entry for number, linked and opening, so that others wait for it. */
static struct table_ref *reserve(struct table_cache *c, uint64_t number)
{
	struct table_ref *r = c->unused;

	if (r) {
		c->unused = r->next;
	} else {
		r = calloc(1, sizeof(*r));
		if (!r)
			return NULL;
		r->cache = c;
		r->all = c->all;
		c->all = r;
		c->n_entries++;
	}
	grow_buckets(c);
	r->number = number;
	r->opening = true;
	r->doomed = false;
	link_entry(c, r);
	c->n_open++;
	return r;
}

/* The first place whose number is not below number. */
static size_t told_place(const struct table_cache *c, uint64_t number)
{
	size_t lo = 0, hi = c->n_told;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->told[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool was_told(const struct table_cache *c, uint64_t number, size_t *at)
{
	*at = told_place(c, number);
	return *at < c->n_told && c->told[*at].number == number;
}

static void forget_told(struct table_cache *c, uint64_t number)
{
	size_t at;

	if (!was_told(c, number, &at))
		return;
	c->n_told--;
	memmove(&c->told[at], &c->told[at + 1],
		(c->n_told - at) * sizeof(*c->told));
}

int table_cache_set_seqno(struct table_cache *c, uint64_t file_number,
			  uint64_t seqno)
{
	int err = CAIRN_OK;
	size_t at;

	mutex_lock(&c->mu);
	if (!was_told(c, file_number, &at)) {
		if (c->n_told == c->told_cap) {
			size_t cap = c->told_cap ? c->told_cap * 2 : 16;
			struct told_seqno *p =
				realloc(c->told, cap * sizeof(*p));

			if (!p) {
				err = error_nomem();
				goto out;
			}
			c->told = p;
			c->told_cap = cap;
		}
		memmove(&c->told[at + 1], &c->told[at],
			(c->n_told - at) * sizeof(*c->told));
		c->n_told++;
	}
	c->told[at] = (struct told_seqno){ file_number, seqno };
out:
	mutex_unlock(&c->mu);
	return err;
}

/* -------------------------------------------------------------- opening */

/* DIR/NNNNNN.sst, or when there is none what LevelDB calls it. */
static int open_file(struct table_cache *c, uint64_t number, char *path,
		     size_t path_len, struct rfile **out)
{
	static const char *const suffix[] = { "sst", "ldb" };
	int err = CAIRN_NOT_FOUND;

	for (size_t i = 0; i < 2 && err == CAIRN_NOT_FOUND; i++) {
		snprintf(path, path_len, "%s/%06" PRIu64 ".%s", c->dir, number,
			 suffix[i]);
		err = env_open_read(c->env, path, out);
	}
	if (err == CAIRN_NOT_FOUND)
		return error_set(CAIRN_ECORRUPT,
				 "%s/%06" PRIu64 ".sst: table is missing",
				 c->dir, number);
	return err;
}

static int open_table(struct table_cache *c, uint64_t number, uint64_t size,
		      const struct table_read_options *opts, struct table **out)
{
	size_t path_len = strlen(c->dir) + NAME_MAX_LEN;
	char *path = malloc(path_len);
	struct rfile *f;
	int err;

	if (!path)
		return error_nomem();
	err = open_file(c, number, path, path_len, &f);
	if (!err)
		err = table_open(f, path, number, size, opts, out);
	free(path);
	return err;
}

/*
 * Keep a newly opened table in its entry, pinned once, or give the entry up
 * when t is NULL. One that was evicted meanwhile goes with its last pin.
 */
static void settle(struct table_cache *c, struct table_ref *r, struct table *t)
{
	r->opening = false;
	if (t) {
		r->table = t;
		c->memory += table_memory(t);
		pin_publish(&r->state);
		if (r->doomed) {
			unlink_entry(c, r);
			pin_doom(&r->state);
		}
	} else {
		unlink_entry(c, r);
		put_unused(c, r);
		c->n_open--;
	}
	cond_broadcast(&c->opened);
}

static void close_evicted(struct table_cache *c, struct table *t)
{
	if (!t)
		return;
	table_close(t);
	mutex_lock(&c->mu);
	c->n_open--;
	mutex_unlock(&c->mu);
}

/* The entry when it is there, waiting for a thread that is opening it. */
static struct table_ref *find_opened(struct table_cache *c, uint64_t number)
{
	struct table_ref *r;

	while ((r = find(c, number)) && r->opening)
		cond_wait(&c->opened, &c->mu);
	return r;
}

static void remember(struct table_cache *c, uint64_t number,
		     struct table_ref *r)
{
	/* Pairs with the acquire of pin_hint(). */
	atomic_store_explicit(&c->hint[number & c->hint_mask], r,
			      memory_order_release);
}

static int get_slowly(struct table_cache *c, uint64_t number, uint64_t size,
		      struct table_ref **out)
{
	struct table_read_options opts = c->opts;
	struct table *t = NULL, *evicted = NULL;
	struct table_ref *r;
	size_t told;
	int err;

	mutex_lock(&c->mu);
	r = find_opened(c, number);
	if (r) {
		pin_take(&r->state);
		mutex_unlock(&c->mu);
		remember(c, number, r);
		*out = r;
		return CAIRN_OK;
	}
	r = reserve(c, number);
	if (r && c->n_open > c->max_open)
		evicted = evict_one(c);
	if (was_told(c, number, &told)) {
		opts.seqno_known = true;
		opts.seqno = c->told[told].seqno;
	}
	mutex_unlock(&c->mu);
	if (!r)
		return error_nomem();

	close_evicted(c, evicted);
	err = open_table(c, number, size, &opts, &t);
	mutex_lock(&c->mu);
	settle(c, r, err ? NULL : t);
	mutex_unlock(&c->mu);
	if (err)
		return err;
	remember(c, number, r);
	*out = r;
	return CAIRN_OK;
}

/* An entry of no more use: close its table if this is the one to do it. */
static void bury(struct table_ref *r)
{
	struct table_cache *c = r->cache;
	struct table *t = NULL;
	uint64_t number = 0;

	mutex_lock(&c->mu);
	if (pin_bury(&r->state)) {
		number = r->number;
		t = take_table(c, r);
	}
	mutex_unlock(&c->mu);
	if (!t)
		return;
	close_evicted(c, t);
	/* Blocks that were read since the file was evicted. */
	if (c->opts.cache)
		block_cache_evict_file(c->opts.cache, number);
}

static bool pin_hint(struct table_cache *c, uint64_t number,
		     struct table_ref **out)
{
	struct table_ref *r = atomic_load_explicit(
		&c->hint[number & c->hint_mask], memory_order_acquire);
	uint64_t state;

	if (!r)
		return false;
	state = pin_take(&r->state);
	if ((state & PIN_LIVE) && r->number == number) {
		/* Nobody wants to know; only the word must not overflow. */
		if (state & PIN_EVER_FULL)
			pin_drain(&r->state);
		*out = r;
		return true;
	}
	if (pin_undo(&r->state))
		bury(r);
	return false;
}

int table_cache_get(struct table_cache *c, uint64_t file_number, uint64_t size,
		    struct table_ref **out)
{
	return pin_hint(c, file_number, out)
		       ? CAIRN_OK
		       : get_slowly(c, file_number, size, out);
}

/* More than max_open were in use at some time: go back to it. */
static void shrink(struct table_cache *c)
{
	struct table *t = NULL;

	mutex_lock(&c->mu);
	if (c->n_open > c->max_open)
		t = evict_one(c);
	mutex_unlock(&c->mu);
	close_evicted(c, t);
}

void table_cache_release(struct table_cache *c, struct table_ref *r)
{
	if (pin_drop(&r->state))
		bury(r);
	else if (atomic_load_explicit(&c->n_open, memory_order_relaxed) >
		 c->max_open)
		shrink(c);
}

/* ------------------------------------------------------------ iterators */

static void release_table(void *ctx)
{
	struct table_ref *r = ctx;

	table_cache_release(r->cache, r);
}

/* The iterator, if there is one, takes the reference over. */
static int hand_over(struct table_ref *r, int err, struct iter **it)
{
	if (err)
		table_cache_release(r->cache, r);
	else
		table_iter_on_close(*it, release_table, r);
	return err;
}

int table_cache_iter_new(struct table_cache *c, uint64_t file_number,
			 uint64_t size, enum table_scan scan, struct iter **out)
{
	struct table_ref *r;
	int err = table_cache_get(c, file_number, size, &r);

	if (err)
		return err;
	err = table_iter_new(r->table, scan, out);
	return hand_over(r, err, out);
}

int cairn_table_property(const struct cairn_table_facts *t, const char *name,
			 struct cairn_slice *value)
{
	return user_props_find(&table_props(t->table)->user, slice_str(name),
			       value);
}

int table_cache_filtered_iter_new(struct table_cache *c,
				  const struct cairn_table_facts *facts,
				  const struct cairn_table_filter *filter,
				  enum table_scan scan, struct iter **out)
{
	struct cairn_table_facts f = *facts;
	struct table_ref *r;
	int err = table_cache_get(c, f.number, f.size_bytes, &r);

	if (err)
		return err;
	f.table = r->table;
	err = filter->skip(filter->ctx, &f)
		      ? table_tombs_iter_new(r->table, out)
		      : table_iter_new(r->table, scan, out);
	return hand_over(r, err, out);
}

/* ----------------------------------------------------------------- rest */

void table_cache_evict(struct table_cache *c, uint64_t file_number)
{
	struct table *t = NULL;
	struct table_ref *r;

	mutex_lock(&c->mu);
	forget_told(c, file_number);
	r = find(c, file_number);
	if (r && r->opening) {
		r->doomed = true;
	} else if (r) {
		unlink_entry(c, r);
		pin_doom(&r->state);
		if (pin_bury(&r->state))
			t = take_table(c, r);
	}
	mutex_unlock(&c->mu);
	close_evicted(c, t);
	if (c->opts.cache)
		block_cache_evict_file(c->opts.cache, file_number);
}

size_t table_cache_open_count(struct table_cache *c)
{
	return atomic_load_explicit(&c->n_open, memory_order_relaxed);
}

size_t table_cache_memory(struct table_cache *c)
{
	size_t n;

	mutex_lock(&c->mu);
	n = c->memory;
	mutex_unlock(&c->mu);
	return n;
}
