/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/hist.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"

static struct hist *new_hist(void)
{
	struct hist *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	return h;
}

static void assert_close(double got, double truth)
{
	double diff = got > truth ? got - truth : truth - got;

	ck_assert_msg(diff <= truth * 0.125, "%f for %f", got, truth);
}

START_TEST(an_empty_histogram_is_all_zero)
{
	struct hist *h = new_hist();
	struct cairn_latency l = { .count = 9, .p50_us = 9 };

	hist_summary(h, 1000, &l);
	ck_assert_uint_eq(l.count, 0);
	ck_assert_uint_eq(l.sum_us, 0);
	ck_assert_uint_eq(l.max_us, 0);
	ck_assert_double_eq(l.p50_us, 0);
	ck_assert_double_eq(l.p99_us, 0);
	ck_assert_double_eq(l.p999_us, 0);
	free(h);
}
END_TEST

START_TEST(a_single_value_is_every_percentile_within_an_eighth)
{
	struct rng r;

	rng_init(&r, 1);
	for (unsigned bits = 0; bits <= 64; bits++) {
		for (int i = 0; i < 20; i++) {
			uint64_t v = bits ? rng_next(&r) >> (64 - bits) : 0;
			struct hist *h = new_hist();
			struct cairn_latency l;

			hist_add(h, v);
			hist_summary(h, 1, &l);
			ck_assert_uint_eq(l.count, 1);
			ck_assert_uint_eq(l.sum_us, v);
			ck_assert_uint_eq(l.max_us, v);
			assert_close(l.p50_us, (double)v);
			assert_close(l.p999_us, (double)v);
			ck_assert_double_le(l.p999_us, (double)v);
			free(h);
		}
	}
}
END_TEST

START_TEST(small_values_are_exact)
{
	for (uint64_t v = 0; v < 16; v++) {
		struct hist *h = new_hist();
		struct cairn_latency l;

		hist_add(h, v);
		hist_add(h, 100);
		hist_add(h, 100);
		hist_add(h, v);
		hist_summary(h, 1, &l);
		ck_assert_double_eq(l.p50_us, (double)v);
		free(h);
	}
}
END_TEST

START_TEST(percentiles_of_a_uniform_run_are_within_an_eighth)
{
	struct hist *h = new_hist();
	struct cairn_latency l;

	for (uint64_t v = 1; v <= 100000; v++)
		hist_add(h, v * 1000);
	hist_summary(h, 1000, &l);
	ck_assert_uint_eq(l.count, 100000);
	ck_assert_uint_eq(l.sum_us, 5000050000u);
	ck_assert_uint_eq(l.max_us, 100000);
	assert_close(l.p50_us, 50000);
	assert_close(l.p99_us, 99000);
	assert_close(l.p999_us, 99900);
	free(h);
}
END_TEST

START_TEST(a_rare_slow_one_shows_in_the_last_percentile_only)
{
	struct hist *h = new_hist();
	struct cairn_latency l;

	for (int i = 0; i < 998; i++)
		hist_add(h, 10);
	hist_add(h, 50000);
	hist_add(h, 50000);
	hist_summary(h, 1, &l);
	assert_close(l.p50_us, 10);
	assert_close(l.p99_us, 10);
	assert_close(l.p999_us, 50000);
	free(h);
}
END_TEST

static void *record(void *arg)
{
	struct hist *h = arg;

	for (uint64_t i = 1; i <= 20000; i++)
		hist_add(h, i);
	return NULL;
}

START_TEST(no_record_of_several_threads_is_lost)
{
	struct hist *h = new_hist();
	struct cairn_latency l;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, record, h),
				 0);
	hist_summary(h, 1, &l);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	hist_summary(h, 1, &l);
	ck_assert_uint_eq(l.count, 80000);
	ck_assert_uint_eq(l.sum_us, 4 * 200010000u);
	ck_assert_uint_eq(l.max_us, 20000);
	free(h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hist");
	TCase *t = tcase_create("hist");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_empty_histogram_is_all_zero);
	tcase_add_test(t, a_single_value_is_every_percentile_within_an_eighth);
	tcase_add_test(t, small_values_are_exact);
	tcase_add_test(t, percentiles_of_a_uniform_run_are_within_an_eighth);
	tcase_add_test(t, a_rare_slow_one_shows_in_the_last_percentile_only);
	tcase_add_test(t, no_record_of_several_threads_is_lost);
	suite_add_tcase(s, t);
	return run_suite(s);
}
