/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tables say becomes garbage, and that space comes back by that, without
 * anybody asking for a compaction.
 */
#include "mvcc/table_garbage.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "mvcc/table_revs.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

/* ----------------------------------------------------------------- counting */

/* Bytes that g says are garbage at horizon. */
static uint64_t told(const struct table_garbage *g, int64_t horizon)
{
	struct table_garbage_step step[TABLE_GARBAGE_STEPS];
	size_t n = table_garbage_steps(g, step);

	ck_assert_uint_le(n, TABLE_GARBAGE_STEPS);
	for (size_t i = 1; i < n; i++) {
		ck_assert_int_gt(step[i].main, step[i - 1].main);
		ck_assert_uint_gt(step[i].bytes, step[i - 1].bytes);
	}
	while (n && step[n - 1].main > horizon)
		n--;
	return n ? step[n - 1].bytes : 0;
}

static void add_row(struct table_garbage *g, const char *key, int64_t main,
		    size_t value_len)
{
	static const uint8_t value[256];
	struct buf k = { 0 };

	ck_ok(enc_row_key(&k, S(key), main, 0));
	table_garbage_add(g, buf_slice(&k), slice_of(value, value_len));
	buf_fini(&k);
}

#define ROW_LEN(key) (1 + strlen(key) + 2 + 12)

START_TEST(a_version_is_garbage_from_the_next_one_on)
{
	struct table_garbage g = { 0 };

	add_row(&g, "a", 9, 10);
	add_row(&g, "a", 7, 20);
	add_row(&g, "a", 3, 40);
	add_row(&g, "ab", 5, 80);
	ck_assert_uint_eq(told(&g, 6), 0);
	ck_assert_uint_eq(told(&g, 7), ROW_LEN("a") + 40);
	ck_assert_uint_eq(told(&g, 8), ROW_LEN("a") + 40);
	ck_assert_uint_eq(told(&g, 9), 2 * ROW_LEN("a") + 60);
	ck_assert_uint_eq(told(&g, INT64_MAX), 2 * ROW_LEN("a") + 60);
	table_garbage_fini(&g);
}
END_TEST

START_TEST(a_log_entry_is_garbage_above_its_revision)
{
	struct table_garbage g = { 0 };
	struct buf k = { 0 }, v = { 0 };

	ck_ok(enc_log_key(&k, 5, 1));
	ck_ok(enc_log_value(&v, false, S("a")));
	table_garbage_add(&g, buf_slice(&k), buf_slice(&v));
	ck_assert_uint_eq(told(&g, 5), 0);
	ck_assert_uint_eq(told(&g, 6), k.len + v.len);
	/* What the filter does not understand it keeps. */
	table_garbage_add(&g, buf_slice(&k), none());
	ck_assert_uint_eq(told(&g, 6), k.len + v.len);
	buf_fini(&k);
	buf_fini(&v);
	table_garbage_fini(&g);
}
END_TEST

START_TEST(a_chunk_is_garbage_from_its_next_version_on)
{
	static const int64_t versions[] = { 8, 4, 0 };
	struct table_garbage g = { 0 };
	uint8_t key[ENC_CHUNK_KEY];

	for (size_t i = 0; i < 3; i++) {
		enc_chunk_key(key, &(struct enc_chunk){ 1, 2, versions[i] });
		table_garbage_add(&g, slice_of(key, sizeof(key)), S("12345"));
	}
	enc_chunk_key(key, &(struct enc_chunk){ 1, 3, 2 });
	table_garbage_add(&g, slice_of(key, sizeof(key)), S("12345"));
	ck_assert_uint_eq(told(&g, 3), 0);
	ck_assert_uint_eq(told(&g, 4), sizeof(key) + 5);
	ck_assert_uint_eq(told(&g, 8), 2 * (sizeof(key) + 5));
	table_garbage_fini(&g);
}
END_TEST

START_TEST(marks_and_what_is_malformed_are_no_garbage)
{
	static const char *const keys[] = { "",  "k",  "ka",  "r",  "rx",
					    "c", "cx", "m/a", "l1", "x" };
	struct table_garbage g = { 0 };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		for (int twice = 0; twice < 2; twice++)
			table_garbage_add(&g, S(keys[i]), S("P"));
	ck_assert_uint_eq(told(&g, INT64_MAX), 0);
	table_garbage_fini(&g);
}
END_TEST

#define MAINS 400

/* What a revision is times, and what is added: near and far apart. */
static const struct {
	int64_t times, plus;
} scales[] = {
	{ 1, 0 },
	{ 1, INT64_MAX - 2 * MAINS },
	{ 1000003, 17 },
	{ INT64_MAX / MAINS - 1, 0 },
};

START_TEST(many_steps_are_rounded_to_too_late_never_too_early)
{
	static uint64_t exact[MAINS + 1];
	struct table_garbage g = { 0 };
	uint64_t sum = 0, all = 0;
	bool half = false;
	char key[16];
	struct rng r;

	rng_init(&r, 1);
	memset(exact, 0, sizeof(exact));
	for (int k = 0; k < 300; k++) {
		int newer = 0;
		int main = MAINS;

		snprintf(key, sizeof(key), "%04d", k);
		while ((main -= 1 + (int)rng_below(&r, 150)) > 0) {
			size_t len = rng_below(&r, 200);

			add_row(&g, key,
				main * scales[_i].times + scales[_i].plus, len);
			if (newer) {
				exact[newer] += ROW_LEN(key) + len;
				all += ROW_LEN(key) + len;
			}
			newer = main;
		}
	}
	for (int h = 0; h <= MAINS; h++) {
		int64_t horizon = h * scales[_i].times + scales[_i].plus;
		uint64_t got = told(&g, horizon);

		sum += exact[h];
		ck_assert_uint_le(got, sum);
		/* No more than a step too late, and a bit. */
		if (sum >= all / 2 && !half) {
			half = true;
			ck_assert_uint_gt(got, all / 3);
		}
	}
	ck_assert(half);
	ck_assert_uint_eq(told(&g, INT64_MAX), all);
	table_garbage_fini(&g);
}
END_TEST

/* --------------------------------------------------------------- collecting */

#define KEYS      400
#define VALUE_LEN 1000

static struct cairn_env *env;
static struct mvcc *m;

static void open_store(void)
{
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o };

	ck_ok(cairn_options_set(o, "write_buffer_size", "64K"));
	ck_ok(mvcc_open("/db", &mo, &m));
	cairn_options_free(o);
}

static void setup(void)
{
	env = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(env);
	open_store();
}

static void teardown(void)
{
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}

static void idle(void)
{
	ck_ok(cairn_wait_idle(mvcc_db(m)));
}

/* A new value for each key, which does not compress. */
static void put_round(struct rng *r)
{
	uint8_t value[VALUE_LEN];
	char key[16];

	for (int k = 0; k < KEYS; k++) {
		for (size_t i = 0; i < sizeof(value); i++)
			value[i] = (uint8_t)rng_next(r);
		snprintf(key, sizeof(key), "key%04d", k);
		ck_ok(mvcc_put(m, S(key), slice_of(value, sizeof(value)), NULL,
			       NULL));
	}
}

static struct cairn_metrics metrics(void)
{
	struct cairn_metrics x;

	cairn_metrics_get(mvcc_db(m), &x);
	return x;
}

static uint64_t written(void)
{
	struct cairn_metrics x = metrics();
	uint64_t n = 0;

	for (int l = 0; l < CAIRN_LEVELS; l++)
		n += x.level[l].compacted_bytes;
	return n;
}

START_TEST(space_comes_back_by_itself_when_history_is_forgotten)
{
	const uint64_t live = KEYS * VALUE_LEN;
	struct cairn_metrics x;
	uint64_t before, work;
	struct rng r;

	rng_init(&r, 1);
	for (int i = 0; i < 12; i++)
		put_round(&r);
	flush(m);
	idle();
	before = metrics().live_table_bytes;
	/* Nothing may go as long as it can be read. */
	ck_assert_uint_gt(before, 11 * live);
	ck_assert_uint_eq(metrics().compactions_garbage, 0);
	work = written();
	ck_ok(mvcc_forget(m, mvcc_current(m)));
	idle();
	x = metrics();
	ck_assert_uint_eq(x.compactions_manual, 0);
	ck_assert_uint_gt(x.compactions_garbage, 0);
	/* What tables of level 0 and the base level have of a key that is in
	 * another one as well stays, which is as much again, each less than
	 * 30 % garbage. */
	ck_assert_uint_lt(x.live_table_bytes, 4 * live);
	/* 2.4 bytes for each that comes free. */
	ck_assert_uint_lt(written() - work,
			  (before - x.live_table_bytes) * 24 / 10);
}
END_TEST

START_TEST(it_comes_to_rest)
{
	uint64_t work;
	struct rng r;

	rng_init(&r, 2);
	for (int i = 0; i < 6; i++)
		put_round(&r);
	flush(m);
	/* Beyond the last revision in tables: what their log entries say of it
	 * becomes garbage after it. */
	ck_ok(mvcc_put(m, S("other"), S("1"), NULL, NULL));
	ck_ok(mvcc_forget(m, mvcc_current(m)));
	idle();
	work = metrics().compactions;
	/* From here on the bound moves over nothing that is in them. */
	for (int i = 0; i < 10; i++) {
		ck_ok(mvcc_put(m, S("other"), S("1"), NULL, NULL));
		ck_ok(mvcc_forget(m, mvcc_current(m)));
		idle();
	}
	ck_assert_uint_eq(metrics().compactions, work);
	env_sleep_us(env, 20000);
	idle();
	ck_assert_uint_eq(metrics().compactions, work);
}
END_TEST

START_TEST(what_a_reader_has_pinned_stays_until_it_goes)
{
	uint64_t before;
	int64_t rev;
	struct rng r;

	rng_init(&r, 3);
	/* Before all: log entries of what comes earlier may go. */
	ck_ok(mvcc_pin_current(m, &rev));
	put_round(&r);
	for (int i = 0; i < 10; i++)
		put_round(&r);
	flush(m);
	idle();
	before = metrics().live_table_bytes;
	ck_ok(mvcc_forget(m, mvcc_current(m)));
	idle();
	ck_assert_uint_eq(metrics().compactions_garbage, 0);
	ck_assert_uint_eq(metrics().live_table_bytes, before);
	mvcc_unpin(m, rev);
	idle();
	ck_assert_uint_lt(metrics().live_table_bytes, before / 2);
}
END_TEST

START_TEST(a_store_that_is_opened_goes_on_with_it)
{
	uint64_t before;
	int64_t rev;
	struct rng r;

	rng_init(&r, 4);
	/* Held until the store closes, so that all is yet to be done. */
	ck_ok(mvcc_pin_current(m, &rev));
	put_round(&r);
	for (int i = 0; i < 10; i++)
		put_round(&r);
	flush(m);
	ck_ok(mvcc_forget(m, mvcc_current(m)));
	idle();
	before = metrics().live_table_bytes;
	ck_assert_uint_eq(metrics().compactions_garbage, 0);
	/* No reader survives that. */
	struct cairn_env *after = env_mem_crash_clone(env, 1, 0);

	mvcc_unpin(m, rev);
	teardown();
	env = after;
	ck_assert_ptr_nonnull(env);
	open_store();
	while (metrics().live_table_bytes >= before / 2)
		env_sleep_us(env, 1000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table_garbage");
	TCase *count = tcase_create("counting");
	TCase *collect = tcase_create("collecting");

	tcase_add_test(count, a_version_is_garbage_from_the_next_one_on);
	tcase_add_test(count, a_log_entry_is_garbage_above_its_revision);
	tcase_add_test(count, a_chunk_is_garbage_from_its_next_version_on);
	tcase_add_test(count, marks_and_what_is_malformed_are_no_garbage);
	tcase_add_loop_test(count,
			    many_steps_are_rounded_to_too_late_never_too_early,
			    0, sizeof(scales) / sizeof(scales[0]));
	suite_add_tcase(s, count);
	tcase_set_timeout(collect, 60);
	tcase_add_checked_fixture(collect, setup, teardown);
	tcase_add_test(collect,
		       space_comes_back_by_itself_when_history_is_forgotten);
	tcase_add_test(collect, it_comes_to_rest);
	tcase_add_test(collect, what_a_reader_has_pinned_stays_until_it_goes);
	tcase_add_test(collect, a_store_that_is_opened_goes_on_with_it);
	suite_add_tcase(s, collect);
	return run_suite(s);
}
