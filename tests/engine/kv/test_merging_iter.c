/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/merging_iter.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

#define CHILDREN_MAX 9

/* The merged iterator under test, and what it is made of. */
struct merged {
	struct vector all;
	struct vector part[CHILDREN_MAX];
	struct iter *child[CHILDREN_MAX];
	struct iter *it;
};

static void merged_open(struct merged *m, size_t n)
{
	vector_sort(&m->all);
	for (size_t i = 0; i < n; i++) {
		vector_sort(&m->part[i]);
		m->child[i] = vector_iter_new(&m->part[i]);
	}
	ck_assert_int_eq(merging_iter_new(m->child, n, &m->it), CAIRN_OK);
}

static void merged_close(struct merged *m)
{
	iter_close(m->it);
	vector_fini(&m->all);
	for (size_t i = 0; i < CHILDREN_MAX; i++)
		vector_fini(&m->part[i]);
}

static void assert_same(const struct iter *got, const struct iter *want)
{
	ck_assert_int_eq(got->status, want->status);
	ck_assert_int_eq(got->valid, want->valid);
	if (!want->valid)
		return;
	ck_assert_int_eq(ikey_cmp(&got->key, &want->key), 0);
	ck_assert(slice_eq(got->value, want->value));
}

static void random_key(struct rng *r, char *key, size_t size)
{
	/* Common prefixes longer than eight bytes, short keys, and the empty
	 * one. */
	static const char *const stems[] = { "", "a", "prefixed-", "prefixed-a",
					     "b\1" };
	int n = snprintf(key, size, "%s%s", stems[rng_below(r, 5)],
			 rng_one_in(r, 2) ? "x" : "");

	ck_assert(n >= 0 && (size_t)n < size);
}

static void merged_fill(struct merged *m, struct rng *r, size_t n_children,
			size_t n_entries)
{
	for (uint64_t seqno = 1; seqno <= n_entries; seqno++) {
		char key[32], value[32];
		size_t part = rng_below(r, n_children);
		uint8_t kind = rng_one_in(r, 4) ? KIND_DELETE : KIND_PUT;

		random_key(r, key, sizeof(key));
		snprintf(value, sizeof(value), "v%llu",
			 (unsigned long long)seqno);
		vector_add(&m->all, slice_str(key), seqno, kind,
			   slice_str(value));
		vector_add(&m->part[part], slice_str(key), seqno, kind,
			   slice_str(value));
	}
}

static void random_step(struct rng *r, struct iter *a, struct iter *b)
{
	uint64_t what = rng_below(r, 12);
	struct ikey target;
	char key[32];

	random_key(r, key, sizeof(key));
	target = ikey_make(slice_str(key), rng_below(r, 60),
			   rng_one_in(r, 2) ? 0xff : KIND_PUT);
	if (what >= 4 && !a->valid)
		what %= 4;
	switch (what) {
	case 0:
		iter_first(a);
		iter_first(b);
		break;
	case 1:
		iter_last(a);
		iter_last(b);
		break;
	case 2:
		iter_seek_ge(a, &target);
		iter_seek_ge(b, &target);
		break;
	case 3:
		iter_seek_lt(a, &target);
		iter_seek_lt(b, &target);
		break;
	default:
		if (what % 2) {
			iter_next(a);
			iter_next(b);
		} else {
			iter_prev(a);
			iter_prev(b);
		}
	}
}

START_TEST(any_walk_over_many_children_is_that_over_one)
{
	uint64_t seed = 1000 + (uint64_t)_i;
	struct merged m = { 0 };
	struct iter *model;
	struct rng r;

	rng_init(&r, seed);
	merged_fill(&m, &r, (size_t)_i % CHILDREN_MAX + 1, (size_t)_i * 3);
	merged_open(&m, (size_t)_i % CHILDREN_MAX + 1);
	model = vector_iter_new(&m.all);
	iter_first(m.it);
	iter_first(model);
	for (int step = 0; step < 2000; step++) {
		assert_same(m.it, model);
		random_step(&r, m.it, model);
	}
	iter_close(model);
	merged_close(&m);
}
END_TEST

START_TEST(no_children_make_an_empty_iterator)
{
	struct ikey target = ikey_seek(slice_str("a"), 5);
	struct iter *it;

	ck_assert_int_eq(merging_iter_new(NULL, 0, &it), CAIRN_OK);
	iter_first(it);
	ck_assert(!it->valid && it->status == CAIRN_OK);
	iter_last(it);
	ck_assert(!it->valid && it->status == CAIRN_OK);
	iter_seek_ge(it, &target);
	ck_assert(!it->valid && it->status == CAIRN_OK);
	iter_seek_lt(it, &target);
	ck_assert(!it->valid && it->status == CAIRN_OK);
	iter_close(it);
}
END_TEST

START_TEST(a_child_that_stays_in_front_is_not_compared_with_all)
{
	struct merged m = { 0 };
	size_t other_calls;

	vector_parse(&m.part[0], "a#1p b#1p c#1p d#1p e#1p");
	vector_parse(&m.part[1], "x#1p");
	vector_parse(&m.part[2], "y#1p");
	merged_open(&m, 3);
	iter_first(m.it);
	other_calls = vector_iter_calls(m.child[1]);
	for (int i = 0; i < 4; i++)
		iter_next(m.it);
	ck_assert(slice_eq(m.it->key.user_key, slice_str("e")));
	ck_assert_uint_eq(vector_iter_calls(m.child[1]), other_calls);
	merged_close(&m);
}
END_TEST

START_TEST(a_failing_child_ends_the_walk_with_its_failure)
{
	/* Entry _i of the second child cannot be read; entry 3 is the end. */
	for (int backward = 0; backward < 2; backward++) {
		struct merged m = { 0 };
		int n = 0;

		vector_parse(&m.part[0], "a#1p c#1p e#1p g#1p");
		vector_parse(&m.part[1], "b#1p d#1p f#1p");
		merged_open(&m, 2);
		vector_iter_fail_at(m.child[1], (size_t)_i, CAIRN_EIO);
		for (backward ? iter_last(m.it) : iter_first(m.it); m.it->valid;
		     backward ? iter_prev(m.it) : iter_next(m.it))
			n++;
		ck_assert_int_eq(m.it->status, CAIRN_EIO);
		ck_assert_int_lt(n, 7);
		merged_close(&m);
	}
}
END_TEST

START_TEST(a_failure_while_turning_round_is_not_an_end)
{
	struct merged m = { 0 };
	struct ikey target = ikey_seek(slice_str("c"), 5);

	vector_parse(&m.part[0], "a#1p c#1p");
	vector_parse(&m.part[1], "b#1p d#1p");
	merged_open(&m, 2);
	iter_seek_ge(m.it, &target);
	ck_assert(m.it->valid);
	vector_iter_fail_at(m.child[1], 0, CAIRN_ECORRUPT);
	iter_prev(m.it);
	ck_assert(!m.it->valid);
	ck_assert_int_eq(m.it->status, CAIRN_ECORRUPT);
	merged_close(&m);
}
END_TEST

START_TEST(an_absolute_positioning_clears_a_failure)
{
	struct merged m = { 0 };
	struct ikey target = ikey_seek(slice_str("e"), 5);

	vector_parse(&m.part[0], "a#1p c#1p e#1p");
	vector_parse(&m.part[1], "b#1p d#1p f#1p");
	merged_open(&m, 2);
	vector_iter_fail_at(m.child[1], 0, CAIRN_EIO);
	iter_first(m.it);
	ck_assert_int_eq(m.it->status, CAIRN_EIO);
	iter_seek_ge(m.it, &target);
	ck_assert(m.it->valid);
	ck_assert_int_eq(m.it->status, CAIRN_OK);
	ck_assert(slice_eq(m.it->key.user_key, slice_str("e")));
	merged_close(&m);
}
END_TEST

static Suite *merging_iter_suite(void)
{
	Suite *s = suite_create("merging_iter");
	TCase *tc = tcase_create("order");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, any_walk_over_many_children_is_that_over_one, 0,
			    30);
	tcase_add_test(tc, no_children_make_an_empty_iterator);
	tcase_add_test(tc,
		       a_child_that_stays_in_front_is_not_compared_with_all);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_failing_child_ends_the_walk_with_its_failure,
			    0, 4);
	tcase_add_test(tc, a_failure_while_turning_round_is_not_an_end);
	tcase_add_test(tc, an_absolute_positioning_clears_a_failure);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(merging_iter_suite());
}
