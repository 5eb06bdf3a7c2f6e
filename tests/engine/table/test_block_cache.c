/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/block_cache.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/base/sync.h"
#include "engine/table/block_cache_pin.h"
#include "tests/support/runner.h"

/* A value that knows its key and is counted while it exists. */
struct item {
	struct cache_value base;
	uint64_t file;
	uint64_t offset;
	_Atomic int *alive;
	uint8_t room[];
};

static void item_free(struct cache_value *v)
{
	struct item *i = (struct item *)v;

	atomic_fetch_sub(i->alive, 1);
	/* Whoever still looks is to see it. */
	i->file = i->offset = UINT64_MAX;
	free(i);
}

/* What a loader is to do. */
struct source {
	uint64_t file;
	uint64_t offset;
	size_t bytes;
	int fail;
	_Atomic int *alive;
	_Atomic int *loads;
	/* Holds the loader until so many wait for it, if not 0. */
	_Atomic int *arrived;
	int wait_for;
};

static int item_load(void *ctx, struct cache_value **out)
{
	struct source *s = ctx;
	struct item *i;

	atomic_fetch_add(s->loads, 1);
	while (s->wait_for && atomic_load(s->arrived) < s->wait_for)
		sched_yield();
	if (s->fail)
		return error_set(s->fail, "cannot load");
	i = malloc(sizeof(*i) + s->bytes);
	ck_assert_ptr_nonnull(i);
	i->base.free = item_free;
	i->base.bytes = sizeof(*i) + s->bytes;
	i->file = s->file;
	i->offset = s->offset;
	i->alive = s->alive;
	atomic_fetch_add(s->alive, 1);
	*out = &i->base;
	return CAIRN_OK;
}

struct world {
	struct block_cache *cache;
	_Atomic int alive;
	_Atomic int loads;
};

static void setup(struct world *w, size_t capacity)
{
	atomic_init(&w->alive, 0);
	atomic_init(&w->loads, 0);
	ck_assert(!block_cache_new(capacity, &w->cache));
}

static void teardown(struct world *w)
{
	block_cache_free(w->cache);
	ck_assert_int_eq(atomic_load(&w->alive), 0);
}

static int pin_with(struct world *w, struct source *s,
		    _Atomic(struct block_handle_ref *) *slot, bool fill,
		    struct cache_pin *p)
{
	const struct cache_loader loader = { item_load, s };
	struct cache_key key = cache_key_of(s->file, CACHE_DATA, s->offset);
	int err = CAIRN_OK;

	s->alive = &w->alive;
	s->loads = &w->loads;
	if (!cache_pin_hint(slot, key, p))
		err = block_cache_pin(w->cache, key, slot, &loader, fill, p);
	if (!err) {
		ck_assert(((struct item *)p->value)->file == s->file);
		ck_assert(((struct item *)p->value)->offset == s->offset);
	}
	return err;
}

/* Pin file and offset, 1000 bytes. */
static struct cache_pin pin(struct world *w, uint64_t file, uint64_t offset)
{
	struct source s = { .file = file, .offset = offset, .bytes = 1000 };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct cache_pin p;

	ck_assert(!pin_with(w, &s, &slot, true, &p));
	return p;
}

static void touch(struct world *w, uint64_t file, uint64_t offset)
{
	struct cache_pin p = pin(w, file, offset);

	cache_pin_release(&p);
}

static struct block_cache_stats stats(struct world *w)
{
	struct block_cache_stats st;

	block_cache_stats(w->cache, &st);
	return st;
}

START_TEST(a_block_is_loaded_once)
{
	struct world w;
	struct cache_pin a, b;

	setup(&w, 1u << 20);
	a = pin(&w, 1, 100);
	b = pin(&w, 1, 100);
	ck_assert_ptr_nonnull(a.ref);
	ck_assert_ptr_eq(a.ref, b.ref);
	ck_assert_ptr_eq(a.value, b.value);
	ck_assert_int_eq(atomic_load(&w.loads), 1);
	cache_pin_release(&a);
	cache_pin_release(&b);
	cache_pin_release(&b); /* twice is nothing */
	touch(&w, 1, 100);
	ck_assert_int_eq(atomic_load(&w.loads), 1);
	ck_assert_uint_eq(stats(&w).hits, 2);
	ck_assert_uint_eq(stats(&w).misses, 1);
	teardown(&w);
}
END_TEST

START_TEST(a_remembered_place_is_found_without_the_lock)
{
	struct source s = { .file = 3, .offset = 7, .bytes = 10 };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct cache_key key = cache_key_of(3, CACHE_DATA, 7);
	struct cache_key other = cache_key_of(3, CACHE_INDEX, 7);
	struct world w;
	struct cache_pin p;

	setup(&w, 1u << 20);
	ck_assert(!cache_pin_hint(&slot, key, &p));
	ck_assert(!pin_with(&w, &s, &slot, true, &p));
	cache_pin_release(&p);
	for (int i = 0; i < 5; i++) {
		ck_assert(cache_pin_hint(&slot, key, &p));
		cache_pin_release(&p);
		/* One place read as another kind of block is another key. */
		ck_assert(!cache_pin_hint(&slot, other, &p));
	}
	ck_assert_uint_eq(stats(&w).hits, 5);
	block_cache_evict_file(w.cache, 3);
	ck_assert(!cache_pin_hint(&slot, key, &p));
	ck_assert_int_eq(atomic_load(&w.alive), 0);
	ck_assert_uint_eq(stats(&w).hits, 5);
	teardown(&w);
}
END_TEST

START_TEST(capacity_is_never_exceeded)
{
	static const size_t capacities[] = { 0,     1,      100,     3000,
					     10000, 100000, 2u << 20 };
	struct world w;

	for (size_t c = 0; c < sizeof(capacities) / sizeof(size_t); c++) {
		setup(&w, capacities[c]);
		for (uint64_t i = 0; i < 4000; i++) {
			touch(&w, i % 5, i / 5 * 1000);
			ck_assert_uint_le(stats(&w).bytes, capacities[c]);
		}
		ck_assert_uint_eq(stats(&w).capacity, capacities[c]);
		/* And what there is of it is used. */
		if (capacities[c] >= 10000)
			ck_assert_uint_gt(stats(&w).bytes,
					  capacities[c] / 10 * 7);
		teardown(&w);
	}
}
END_TEST

START_TEST(without_capacity_every_block_is_the_callers_own)
{
	struct world w;
	struct cache_pin a, b;

	setup(&w, 0);
	a = pin(&w, 1, 100);
	b = pin(&w, 1, 100);
	ck_assert_ptr_null(a.ref);
	ck_assert_ptr_ne(a.value, b.value);
	cache_pin_release(&a);
	ck_assert_int_eq(atomic_load(&w.alive), 1);
	cache_pin_release(&b);
	teardown(&w);
}
END_TEST

START_TEST(pinned_blocks_stay_and_then_inserts_are_refused)
{
	struct cache_pin pins[100];
	struct world w;
	int kept = 0;

	setup(&w, 50000);
	for (uint64_t i = 0; i < 100; i++) {
		pins[i] = pin(&w, 1, i);
		kept += pins[i].ref != NULL;
	}
	ck_assert_int_gt(kept, 30);
	ck_assert_int_lt(kept, 50);
	ck_assert_int_eq(atomic_load(&w.alive), 100);
	for (uint64_t i = 0; i < 100; i++) {
		ck_assert(((struct item *)pins[i].value)->offset == i);
		cache_pin_release(&pins[i]);
	}
	ck_assert_int_eq(atomic_load(&w.alive), kept);
	/* There is room again. */
	pins[0] = pin(&w, 2, 0);
	ck_assert_ptr_nonnull(pins[0].ref);
	cache_pin_release(&pins[0]);
	teardown(&w);
}
END_TEST

START_TEST(a_block_larger_than_its_share_evicts_nothing)
{
	struct source s = { .file = 9, .offset = 9, .bytes = 60000 };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct world w;
	struct cache_pin p;
	int alive;

	setup(&w, 50000);
	for (uint64_t i = 0; i < 20; i++)
		touch(&w, 1, i);
	alive = atomic_load(&w.alive);
	ck_assert(!pin_with(&w, &s, &slot, true, &p));
	ck_assert_ptr_null(p.ref);
	cache_pin_release(&p);
	ck_assert_int_eq(atomic_load(&w.alive), alive);
	teardown(&w);
}
END_TEST

START_TEST(blocks_in_use_survive_a_scan)
{
	struct world w;
	int before;

	setup(&w, 100000);
	for (uint64_t i = 0; i < 2000; i++) {
		touch(&w, 1, i % 10);   /* hot */
		touch(&w, 2, i * 1000); /* passes by */
	}
	before = atomic_load(&w.loads);
	for (uint64_t i = 0; i < 10; i++)
		touch(&w, 1, i);
	ck_assert_int_eq(atomic_load(&w.loads), before);
	teardown(&w);
}
END_TEST

START_TEST(without_fill_nothing_is_added)
{
	struct source s = { .file = 1, .offset = 1, .bytes = 10 };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct world w;
	struct cache_pin p;

	setup(&w, 1u << 20);
	for (int i = 0; i < 3; i++) {
		ck_assert(!pin_with(&w, &s, &slot, false, &p));
		ck_assert_ptr_null(p.ref);
		cache_pin_release(&p);
	}
	ck_assert_int_eq(atomic_load(&w.loads), 3);
	touch(&w, 1, 1);
	ck_assert(!pin_with(&w, &s, &slot, false, &p));
	ck_assert_ptr_nonnull(p.ref); /* it is looked for, though */
	cache_pin_release(&p);
	teardown(&w);
}
END_TEST

START_TEST(a_failed_load_leaves_nothing)
{
	struct source s = { .file = 1, .offset = 1, .fail = CAIRN_EIO };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct world w;
	struct cache_pin p;

	setup(&w, 1u << 20);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(pin_with(&w, &s, &slot, true, &p), CAIRN_EIO);
	s.fail = 0;
	ck_assert(!pin_with(&w, &s, &slot, true, &p));
	cache_pin_release(&p);
	teardown(&w);
}
END_TEST

START_TEST(an_evicted_file_is_gone_and_its_pins_are_good)
{
	struct world w;
	struct cache_pin p;
	uint64_t bytes;

	setup(&w, 1u << 20);
	for (uint64_t i = 0; i < 50; i++)
		touch(&w, 1 + i % 2, i);
	p = pin(&w, 1, 0);
	bytes = stats(&w).bytes;
	block_cache_evict_file(w.cache, 1);
	ck_assert_int_eq(atomic_load(&w.alive), 26);
	ck_assert_uint_lt(stats(&w).bytes, bytes);
	ck_assert(((struct item *)p.value)->file == 1);
	/* The same key is loaded anew while the old block is still held. */
	touch(&w, 1, 0);
	ck_assert_int_eq(atomic_load(&w.alive), 27);
	cache_pin_release(&p);
	ck_assert_int_eq(atomic_load(&w.alive), 26);
	block_cache_evict_file(w.cache, 1);
	ck_assert_int_eq(atomic_load(&w.alive), 25);
	block_cache_evict_file(w.cache, 77);
	teardown(&w);
}
END_TEST

START_TEST(the_capacity_can_change)
{
	struct world w;

	setup(&w, 1u << 20);
	for (uint64_t i = 0; i < 500; i++)
		touch(&w, 1, i);
	ck_assert_int_eq(atomic_load(&w.alive), 500);
	block_cache_set_capacity(w.cache, 200000);
	ck_assert_uint_le(stats(&w).bytes, 200000);
	ck_assert_int_gt(atomic_load(&w.alive), 50);
	block_cache_set_capacity(w.cache, 0);
	ck_assert_int_eq(atomic_load(&w.alive), 0);
	touch(&w, 1, 1);
	ck_assert_int_eq(atomic_load(&w.alive), 0);
	block_cache_set_capacity(w.cache, 1u << 20);
	touch(&w, 1, 1);
	ck_assert_int_eq(atomic_load(&w.alive), 1);
	teardown(&w);
}
END_TEST

START_TEST(hits_are_not_lost_when_the_counter_in_the_word_is_full)
{
	struct source s = { .file = 1, .offset = 1 };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct world w;
	struct cache_pin p;
	uint64_t many = UINT64_C(1) << 35;

	setup(&w, 1u << 20);
	ck_assert(!pin_with(&w, &s, &slot, true, &p));
	/* As if it had been pinned so often. */
	atomic_fetch_add(&p.ref->state, many << PIN_EVER_SHIFT);
	cache_pin_release(&p);
	ck_assert(!pin_with(&w, &s, &slot, true, &p));
	ck_assert_uint_eq(atomic_load(&p.ref->state) >> PIN_EVER_SHIFT, 0);
	cache_pin_release(&p);
	ck_assert_uint_eq(stats(&w).hits, many + 1);
	teardown(&w);
}
END_TEST

/* ------------------------------------------------------------- threads */

#define THREADS 4

struct crowd {
	struct world *w;
	_Atomic int *arrived;
	int fail;
	size_t bytes;
	int result;
};

static void *want_one(void *arg)
{
	struct crowd *c = arg;
	struct source s = { .file = 1,
			    .offset = 1,
			    .bytes = c->bytes,
			    .fail = c->fail,
			    .arrived = c->arrived,
			    .wait_for = THREADS };
	_Atomic(struct block_handle_ref *) slot = NULL;
	struct cache_pin p;

	atomic_fetch_add(c->arrived, 1);
	c->result = pin_with(c->w, &s, &slot, true, &p);
	if (!c->result)
		cache_pin_release(&p);
	return NULL;
}

/* All want one block at once; returns how often it was loaded. */
static int crowd(size_t capacity, size_t bytes, int fail)
{
	struct crowd c[THREADS];
	pthread_t thread[THREADS];
	_Atomic int arrived = 0;
	struct world w;
	int loads;

	setup(&w, capacity);
	for (int i = 0; i < THREADS; i++) {
		c[i] = (struct crowd){ &w, &arrived, fail, bytes, 1 };
		ck_assert(!pthread_create(&thread[i], NULL, want_one, &c[i]));
	}
	for (int i = 0; i < THREADS; i++) {
		ck_assert(!pthread_join(thread[i], NULL));
		ck_assert_int_eq(c[i].result, fail);
	}
	loads = atomic_load(&w.loads);
	teardown(&w);
	return loads;
}

START_TEST(threads_that_want_one_block_load_it_once)
{
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(crowd(1u << 20, 1000, 0), 1);
}
END_TEST

START_TEST(a_failure_goes_to_every_thread)
{
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(crowd(1u << 20, 1000, CAIRN_ECORRUPT),
				 THREADS);
}
END_TEST

START_TEST(a_block_that_does_not_fit_goes_to_every_thread)
{
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(crowd(10000, 20000, 0), THREADS);
}
END_TEST

struct worker {
	struct world *w;
	_Atomic(struct block_handle_ref *) *slots;
	uint64_t seed;
	int rounds;
};

#define FILES  3
#define BLOCKS 64

static void *churn(void *arg)
{
	struct worker *k = arg;
	struct cache_pin held[4] = { { NULL, NULL } };
	struct rng r;

	rng_init(&r, k->seed);
	for (int i = 0; i < k->rounds; i++) {
		struct cache_pin *p = &held[rng_below(&r, 4)];
		struct source s = { .file = rng_below(&r, FILES),
				    .offset = rng_below(&r, BLOCKS),
				    .bytes = 500 + (size_t)rng_below(&r, 1000),
				    .fail = rng_one_in(&r, 50) ? CAIRN_EIO
							       : 0 };

		if (rng_one_in(&r, 200))
			block_cache_evict_file(k->w->cache, s.file);
		if (rng_one_in(&r, 300))
			block_cache_set_capacity(k->w->cache,
						 20000 + rng_below(&r, 90000));
		if (rng_one_in(&r, 100))
			(void)stats(k->w);
		if (p->value) {
			struct item *it = (struct item *)p->value;

			ck_assert(it->file < FILES && it->offset < BLOCKS);
		}
		cache_pin_release(p);
		if (pin_with(k->w, &s, &k->slots[s.file * BLOCKS + s.offset],
			     !rng_one_in(&r, 10), p))
			*p = (struct cache_pin){ NULL, NULL };
	}
	for (int i = 0; i < 4; i++)
		cache_pin_release(&held[i]);
	return NULL;
}

START_TEST(threads_in_a_small_cache_see_only_what_they_asked_for)
{
	_Atomic(struct block_handle_ref *) slots[FILES * BLOCKS];
	struct worker k[THREADS];
	pthread_t thread[THREADS];
	struct block_cache_stats st;
	struct world w;

	for (int i = 0; i < FILES * BLOCKS; i++)
		atomic_init(&slots[i], NULL);
	setup(&w, 60000);
	for (int i = 0; i < THREADS; i++) {
		k[i] = (struct worker){ &w, slots, (uint64_t)i, 20000 };
		ck_assert(!pthread_create(&thread[i], NULL, churn, &k[i]));
	}
	for (int i = 0; i < THREADS; i++)
		ck_assert(!pthread_join(thread[i], NULL));
	/* Every pin was a hit or a miss; those that failed were misses. */
	st = stats(&w);
	ck_assert_uint_eq(st.hits + st.misses, THREADS * 20000);
	ck_assert_uint_le(st.bytes, 110000);
	teardown(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block_cache");
	TCase *tc = tcase_create("one thread");
	TCase *threads = tcase_create("threads");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_block_is_loaded_once);
	tcase_add_test(tc, a_remembered_place_is_found_without_the_lock);
	tcase_add_test(tc, capacity_is_never_exceeded);
	tcase_add_test(tc, without_capacity_every_block_is_the_callers_own);
	tcase_add_test(tc, pinned_blocks_stay_and_then_inserts_are_refused);
	tcase_add_test(tc, a_block_larger_than_its_share_evicts_nothing);
	tcase_add_test(tc, blocks_in_use_survive_a_scan);
	tcase_add_test(tc, without_fill_nothing_is_added);
	tcase_add_test(tc, a_failed_load_leaves_nothing);
	tcase_add_test(tc, an_evicted_file_is_gone_and_its_pins_are_good);
	tcase_add_test(tc, the_capacity_can_change);
	tcase_add_test(tc,
		       hits_are_not_lost_when_the_counter_in_the_word_is_full);
	suite_add_tcase(s, tc);
	tcase_set_timeout(threads, 60);
	tcase_add_test(threads, threads_that_want_one_block_load_it_once);
	tcase_add_test(threads, a_failure_goes_to_every_thread);
	tcase_add_test(threads, a_block_that_does_not_fit_goes_to_every_thread);
	tcase_add_test(threads,
		       threads_in_a_small_cache_see_only_what_they_asked_for);
	suite_add_tcase(s, threads);
	return run_suite(s);
}
