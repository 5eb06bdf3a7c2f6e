/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/table_cache.h"

#include <pthread.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "tests/engine/table/table_support.h"
#include "tests/support/runner.h"

#define DIR      "/db"
#define N_FILES  20
#define N_KEYS   40
#define MAX_OPEN 5

/* Tables 1 to N_FILES; table n has the keys key00000 ..., values of n bytes. */
struct world {
	struct cairn_env *mem;
	struct cairn_env *env; /* can be made to fail */
	struct table_read_options opts;
	struct table_cache *cache;
	uint64_t size[N_FILES + 1];
};

static void put_file(struct world *w, uint64_t number, const char *suffix)
{
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct wfile *f;
	char path[64];

	numbered(&v, N_KEYS, number);
	write_table(&v, &plain_options, &bytes, NULL);
	snprintf(path, sizeof(path), DIR "/%06llu.%s",
		 (unsigned long long)number, suffix);
	ck_assert(!env_open_write(w->mem, path, &f));
	ck_assert(!wfile_append(f, bytes.data, bytes.len));
	ck_assert(!wfile_close(f));
	w->size[number] = bytes.len;
	buf_fini(&bytes);
	vector_fini(&v);
}

static void setup(struct world *w, size_t max_open, size_t cache_bytes)
{
	*w = (struct world){ .mem = env_mem_new(ENV_MEM_STRICT) };
	ck_assert_ptr_nonnull(w->mem);
	w->env = env_fault_new(w->mem);
	ck_assert_ptr_nonnull(w->env);
	ck_assert(!env_mkdir(w->mem, DIR));
	for (uint64_t n = 1; n <= N_FILES; n++)
		put_file(w, n, n % 3 ? "sst" : "ldb");
	ck_assert(!block_cache_new(cache_bytes, &w->opts.cache));
	ck_assert(!table_cache_new(w->env, DIR, max_open, &w->opts, &w->cache));
}

static void teardown(struct world *w)
{
	table_cache_free(w->cache);
	block_cache_free(w->opts.cache);
	env_fault_free(w->env);
	env_mem_free(w->mem);
}

static struct table_ref *get(struct world *w, uint64_t number)
{
	struct table_ref *r;
	int err = table_cache_get(w->cache, number, w->size[number], &r);

	ck_assert_msg(!err, "%s", cairn_errmsg());
	ck_assert_uint_eq(table_props(table_ref_table(r))->raw_value_bytes,
			  number * N_KEYS);
	return r;
}

static void touch(struct world *w, uint64_t number)
{
	table_cache_release(w->cache, get(w, number));
}

static uint64_t opens(struct world *w)
{
	return env_fault_count(w->env, ENV_FAULT_OPEN_READ);
}

START_TEST(a_table_is_opened_once_and_found_again)
{
	struct table_ref *a, *b;
	struct world w;
	uint64_t n;

	setup(&w, MAX_OPEN, 1u << 20);
	a = get(&w, 1);
	n = opens(&w);
	b = get(&w, 1);
	ck_assert_ptr_eq(table_ref_table(a), table_ref_table(b));
	table_cache_release(w.cache, a);
	table_cache_release(w.cache, b);
	touch(&w, 1);
	ck_assert_uint_eq(opens(&w), n);
	ck_assert_uint_eq(table_cache_open_count(w.cache), 1);
	ck_assert_uint_eq(table_cache_memory(w.cache),
			  table_memory(table_ref_table(a)));
	teardown(&w);
}
END_TEST

START_TEST(tables_of_leveldb_have_another_name)
{
	struct world w;

	setup(&w, MAX_OPEN, 1u << 20);
	touch(&w, 3);
	teardown(&w);
}
END_TEST

START_TEST(no_more_than_the_limit_stay_open)
{
	static const size_t limits[] = { 0, 1, MAX_OPEN, 100 };
	struct world w;

	setup(&w, limits[_i], 1u << 20);
	for (uint64_t round = 0; round < 10; round++)
		for (uint64_t n = 1; n <= N_FILES; n++) {
			touch(&w, n);
			ck_assert_uint_le(table_cache_open_count(w.cache),
					  limits[_i]);
		}
	if (limits[_i] >= N_FILES)
		ck_assert_uint_eq(table_cache_open_count(w.cache), N_FILES);
	else
		ck_assert_uint_eq(table_cache_open_count(w.cache), limits[_i]);
	if (limits[_i] == 0)
		ck_assert_uint_eq(table_cache_memory(w.cache), 0);
	teardown(&w);
}
END_TEST

START_TEST(tables_in_use_stay_open_beyond_the_limit)
{
	struct table_ref *r[N_FILES + 1];
	struct world w;
	uint64_t n;

	setup(&w, MAX_OPEN, 1u << 20);
	for (uint64_t i = 1; i <= N_FILES; i++)
		r[i] = get(&w, i);
	ck_assert_uint_eq(table_cache_open_count(w.cache), N_FILES);
	n = opens(&w);
	for (uint64_t i = 1; i <= N_FILES; i++)
		touch(&w, i);
	ck_assert_uint_eq(opens(&w), n);
	for (uint64_t i = 1; i <= N_FILES; i++)
		table_cache_release(w.cache, r[i]);
	ck_assert_uint_eq(table_cache_open_count(w.cache), MAX_OPEN);
	teardown(&w);
}
END_TEST

START_TEST(a_table_in_steady_use_is_not_the_one_to_go)
{
	struct world w;
	uint64_t n;

	setup(&w, MAX_OPEN, 1u << 20);
	for (uint64_t round = 0; round < 5; round++)
		for (uint64_t i = 2; i <= N_FILES; i++) {
			touch(&w, 1);
			touch(&w, i);
		}
	n = opens(&w);
	touch(&w, 1);
	ck_assert_uint_eq(opens(&w), n);
	teardown(&w);
}
END_TEST

START_TEST(a_failure_to_open_is_reported_and_not_remembered)
{
	struct env_fault_rule rule = { .ops = ENV_FAULT_READ,
				       .nth = 1,
				       .code = CAIRN_EIO };
	struct table_ref *r;
	struct world w;

	setup(&w, MAX_OPEN, 1u << 20);
	for (int i = 0; i < 20; i++) {
		rule.ops = i % 2 ? ENV_FAULT_READ : ENV_FAULT_OPEN_READ;
		env_fault_set(w.env, &rule);
		ck_assert_int_eq(table_cache_get(w.cache, 1, w.size[1], &r),
				 CAIRN_EIO);
		ck_assert_uint_eq(table_cache_open_count(w.cache), 0);
	}
	env_fault_set(w.env, NULL);
	ck_assert_int_eq(table_cache_get(w.cache, 1, w.size[1] + 1, &r),
			 CAIRN_ECORRUPT);
	touch(&w, 1);
	teardown(&w);
}
END_TEST

START_TEST(a_missing_table_is_named)
{
	struct table_ref *r;
	struct iter *it;
	struct world w;

	setup(&w, MAX_OPEN, 1u << 20);
	ck_assert_int_eq(table_cache_get(w.cache, 99, 1000, &r),
			 CAIRN_ECORRUPT);
	ck_assert_str_eq(cairn_errmsg(), DIR "/000099.sst: table is missing");
	ck_assert_int_eq(
		table_cache_iter_new(w.cache, 99, 1000, TABLE_SCAN_CACHED, &it),
		CAIRN_ECORRUPT);
	teardown(&w);
}
END_TEST

START_TEST(an_evicted_table_is_closed_when_nobody_holds_it)
{
	struct block_cache_stats st;
	struct table_ref *a, *b;
	struct world w;
	struct iter *it;
	uint64_t n;

	setup(&w, MAX_OPEN, 1u << 20);
	touch(&w, 1);
	table_cache_evict(w.cache, 1);
	ck_assert_uint_eq(table_cache_open_count(w.cache), 0);
	table_cache_evict(w.cache, 1);
	table_cache_evict(w.cache, 99);

	a = get(&w, 1);
	n = opens(&w);
	table_cache_evict(w.cache, 1);
	ck_assert_uint_eq(table_cache_open_count(w.cache), 1);
	/* Still good for its holder, but no more found. */
	ck_assert(!table_iter_new(table_ref_table(a), TABLE_SCAN_CACHED, &it));
	iter_first(it);
	ck_assert(it->valid);
	iter_close(it);
	b = get(&w, 1);
	ck_assert_uint_eq(opens(&w), n + 1);
	ck_assert_ptr_ne(table_ref_table(a), table_ref_table(b));
	table_cache_release(w.cache, b);
	table_cache_evict(w.cache, 1);
	table_cache_release(w.cache, a);
	ck_assert_uint_eq(table_cache_open_count(w.cache), 0);
	ck_assert_uint_eq(table_cache_memory(w.cache), 0);
	/* Nor is there anything left of what was read through it. */
	block_cache_stats(w.opts.cache, &st);
	n = st.bytes;
	block_cache_evict_file(w.opts.cache, 1);
	block_cache_stats(w.opts.cache, &st);
	ck_assert_uint_eq(st.bytes, n);
	teardown(&w);
}
END_TEST

START_TEST(an_iterator_holds_its_table)
{
	struct world w;
	struct iter *it;
	size_t n = 0;

	setup(&w, 0, 1u << 20);
	ck_assert(!table_cache_iter_new(w.cache, 7, w.size[7],
					TABLE_SCAN_CACHED, &it));
	touch(&w, 1);
	table_cache_evict(w.cache, 7);
	ck_assert_uint_eq(table_cache_open_count(w.cache), 1);
	for (iter_first(it); it->valid; iter_next(it))
		n++;
	ck_assert(!it->status && n == N_KEYS);
	iter_close(it);
	ck_assert_uint_eq(table_cache_open_count(w.cache), 0);
	teardown(&w);
}
END_TEST

static void external(struct table_props *p)
{
	p->has_external_version = true;
	p->external_version = 2;
	p->has_global_seqno = true;
}

/* A table as ingested: its entries are numbered 0. Returns its size. */
static uint64_t put_ingested(struct world *w, uint64_t number)
{
	const struct meta m = { .edit = external };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct wfile *f;
	char path[64];
	uint64_t size;

	vector_parse(&v, "a#0p1 b#0p2");
	write_table(&v, &plain_options, &bytes, NULL);
	rewrite_meta(&bytes, &m);
	snprintf(path, sizeof(path), DIR "/%06llu.sst",
		 (unsigned long long)number);
	ck_assert(!env_open_write(w->mem, path, &f));
	ck_assert(!wfile_append(f, bytes.data, bytes.len));
	ck_assert(!wfile_close(f));
	size = bytes.len;
	buf_fini(&bytes);
	vector_fini(&v);
	return size;
}

START_TEST(what_was_told_of_sequence_numbers_is_given_to_the_table)
{
	struct table_ref *r;
	struct world w;
	uint64_t size = 0;
	struct iter *it;

	setup(&w, MAX_OPEN, 1u << 20);
	for (uint64_t n = 50; n < 90; n++)
		size = put_ingested(&w, n);
	for (uint64_t n = 50; n < 90; n++) {
		/* In no order, and the last word counts. */
		uint64_t number = 50 + n * 7 % 40;

		ck_assert(!table_cache_set_seqno(w.cache, number, 1));
		ck_assert(!table_cache_set_seqno(w.cache, number, number * 3));
	}
	for (uint64_t n = 50; n < 90; n++) {
		ck_assert(!table_cache_iter_new(w.cache, n, size,
						TABLE_SCAN_CACHED, &it));
		iter_first(it);
		ck_assert(it->valid);
		ck_assert_uint_eq(ikey_seqno(&it->key), n * 3);
		iter_close(it);
		/* A forgotten number is not taken for 0. */
		table_cache_evict(w.cache, n);
		ck_assert_int_eq(table_cache_get(w.cache, n, size, &r),
				 CAIRN_ENOTSUP);
	}
	teardown(&w);
}
END_TEST

/* -------------------------------------------------------------- threads */

#define THREADS 4

struct worker {
	struct world *w;
	uint64_t seed;
	bool evict;
};

static void *churn(void *arg)
{
	struct worker *k = arg;
	struct table_ref *held[3] = { NULL };
	struct rng r;

	rng_init(&r, k->seed);
	for (int i = 0; i < 3000; i++) {
		uint64_t number = 1 + rng_below(&r, N_FILES);
		struct table_ref **h = &held[rng_below(&r, 3)];
		struct cairn_pinned value = { 0 };
		uint64_t trailer;

		if (*h)
			table_cache_release(k->w->cache, *h);
		*h = get(k->w, number);
		ck_assert(!table_get(table_ref_table(*h), slice_str("key00007"),
				     SEQNO_MAX, true, &trailer, &value));
		ck_assert_uint_eq(value.value.len, number);
		cairn_pinned_release(&value);
		if (k->evict && rng_one_in(&r, 20))
			table_cache_evict(k->w->cache, number);
	}
	for (int i = 0; i < 3; i++)
		if (held[i])
			table_cache_release(k->w->cache, held[i]);
	return NULL;
}

static void run_threads(bool evict, struct world *w)
{
	struct worker k[THREADS];
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++) {
		k[i] = (struct worker){ w, (uint64_t)i, evict };
		ck_assert(!pthread_create(&thread[i], NULL, churn, &k[i]));
	}
	for (int i = 0; i < THREADS; i++)
		ck_assert(!pthread_join(thread[i], NULL));
}

START_TEST(threads_share_few_open_tables)
{
	struct world w;

	setup(&w, MAX_OPEN, 20000);
	run_threads(_i == 1, &w);
	ck_assert_uint_le(table_cache_open_count(w.cache), MAX_OPEN);
	teardown(&w);
}
END_TEST

START_TEST(threads_that_want_one_table_open_it_once)
{
	struct world w;
	uint64_t n;

	setup(&w, 100, 1u << 20);
	n = opens(&w);
	run_threads(false, &w);
	/* Those called .ldb are looked for as .sst first. */
	ck_assert_uint_eq(opens(&w) - n, N_FILES + N_FILES / 3);
	ck_assert_uint_eq(table_cache_open_count(w.cache), N_FILES);
	teardown(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table_cache");
	TCase *tc = tcase_create("one thread");
	TCase *threads = tcase_create("threads");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_table_is_opened_once_and_found_again);
	tcase_add_test(tc, tables_of_leveldb_have_another_name);
	tcase_add_loop_test(tc, no_more_than_the_limit_stay_open, 0, 4);
	tcase_add_test(tc, tables_in_use_stay_open_beyond_the_limit);
	tcase_add_test(tc, a_table_in_steady_use_is_not_the_one_to_go);
	tcase_add_test(tc, a_failure_to_open_is_reported_and_not_remembered);
	tcase_add_test(tc, a_missing_table_is_named);
	tcase_add_test(tc, an_evicted_table_is_closed_when_nobody_holds_it);
	tcase_add_test(tc, an_iterator_holds_its_table);
	tcase_add_test(tc,
		       what_was_told_of_sequence_numbers_is_given_to_the_table);
	suite_add_tcase(s, tc);
	tcase_set_timeout(threads, 60);
	tcase_add_loop_test(threads, threads_share_few_open_tables, 0, 2);
	tcase_add_test(threads, threads_that_want_one_table_open_it_once);
	suite_add_tcase(s, threads);
	return run_suite(s);
}
