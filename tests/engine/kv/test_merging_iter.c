/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/merging_iter.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/kv/range_del.h"
#include "tests/support/iter_pair.h"
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

/* Where a stands already, or further on: what iter_seek_forward() is for. */
static bool is_ahead(const struct iter *a, const struct ikey *target)
{
	return a->valid && ikey_cmp(&a->key, target) <= 0;
}

static void random_step(struct rng *r, struct iter *a, struct iter *b)
{
	struct ikey target;
	char key[32];

	random_key(r, key, sizeof(key));
	target = ikey_make(slice_str(key), rng_below(r, 60),
			   rng_one_in(r, 2) ? 0xff : KIND_PUT);
	if (is_ahead(a, &target) && rng_one_in(r, 6)) {
		iter_seek_forward(a, &target);
		iter_seek_ge(b, &target);
		return;
	}
	iter_pair_move(r, a, b, &target);
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
		iter_pair_same(m.it, model);
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

START_TEST(a_seek_forward_moves_only_who_is_behind)
{
	const struct ikey to_c = ikey_seek(slice_str("c"), 9);
	const struct ikey to_z = ikey_seek(slice_str("z"), 9);
	struct merged m = { 0 };
	size_t calls[3];

	vector_parse(&m.part[0], "a#1p b#1p c#1p z#1p");
	vector_parse(&m.part[1], "d#1p x#1p");
	vector_parse(&m.part[2], "a#2p");
	merged_open(&m, 3);
	iter_first(m.it);
	iter_next(m.it);
	iter_next(m.it);
	ck_assert(slice_eq(m.it->key.user_key, slice_str("b")));
	for (int i = 0; i < 3; i++)
		calls[i] = vector_iter_calls(m.child[i]);
	iter_seek_forward(m.it, &to_c);
	ck_assert(slice_eq(m.it->key.user_key, slice_str("c")));
	ck_assert_uint_eq(vector_iter_calls(m.child[0]), calls[0] + 1);
	ck_assert_uint_eq(vector_iter_calls(m.child[1]), calls[1]);
	ck_assert_uint_eq(vector_iter_calls(m.child[2]), calls[2]);
	/* When bounds have moved, he who had ended is asked again. */
	iter_bounds_moved(m.it);
	iter_seek_forward(m.it, &to_z);
	ck_assert(slice_eq(m.it->key.user_key, slice_str("z")));
	ck_assert_uint_eq(vector_iter_calls(m.child[2]), calls[2] + 1);
	merged_close(&m);
}
END_TEST

START_TEST(who_was_sought_by_prefix_is_sought_anew)
{
	const struct ikey to_b = ikey_seek(slice_str("b"), 9);
	const struct ikey to_c = ikey_seek(slice_str("c"), 9);
	struct merged m = { 0 };

	vector_parse(&m.part[0], "b#1p");
	vector_parse(&m.part[1], "bx#1p c#1p");
	merged_open(&m, 2);
	/* Its filter says that "b" is not there: it stands nowhere. */
	vector_iter_exclude(m.child[1], "b");
	iter_seek_prefix_ge(m.it, &to_b, slice_str("b"));
	ck_assert(slice_eq(m.it->key.user_key, slice_str("b")));
	iter_seek_forward(m.it, &to_c);
	ck_assert(m.it->valid);
	ck_assert(slice_eq(m.it->key.user_key, slice_str("c")));
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

/* ------------------------------------------------------- what is hidden */

#define HIDING_CHILDREN 5
#define TOMBS           4

/* Children as the levels of a store: what is newer is further in front. */
struct hiding {
	struct vector part[HIDING_CHILDREN];
	struct range_dels *set[HIDING_CHILDREN];
	struct range_scope scope[HIDING_CHILDREN];
	struct vector model;
	struct iter *it;
};

static void hiding_fill(struct hiding *h, struct rng *r, uint64_t reader)
{
	struct vector all = { 0 };

	for (size_t i = 0; i < HIDING_CHILDREN; i++) {
		uint64_t low = 1 + 20 * (HIDING_CHILDREN - 1 - i);
		struct range_del_list l = { 0 };

		for (uint64_t s = low; s < low + 16; s++) {
			char key[8];

			snprintf(key, sizeof(key), "%02d",
				 (int)rng_below(r, 40));
			vector_add(&h->part[i], slice_str(key), s, KIND_PUT,
				   slice_str(""));
			vector_add(&all, slice_str(key), s, KIND_PUT,
				   slice_str(""));
		}
		for (uint64_t n = rng_below(r, TOMBS); n > 0; n--) {
			char start[8], end[8];
			uint64_t from = rng_below(r, 40);
			struct range_del d = { .seqno =
						       low + rng_below(r, 16) };

			snprintf(start, sizeof(start), "%02d", (int)from);
			snprintf(end, sizeof(end), "%02d",
				 (int)(from + 1 + rng_below(r, 20)));
			d.start = slice_str(start);
			d.end = slice_str(end);
			ck_assert_int_eq(range_del_list_add(&l, &d), CAIRN_OK);
		}
		ck_assert_int_eq(range_dels_new(&l, &h->set[i]), CAIRN_OK);
		range_del_list_fini(&l);
		vector_sort(&h->part[i]);
	}
	vector_sort(&all);
	for (size_t k = 0; k < all.n; k++) {
		const struct vector_entry *e = &all.entries[k];
		bool hidden = false;

		for (size_t i = 0; i < HIDING_CHILDREN; i++)
			hidden |=
				h->set[i] &&
				range_dels_cover(h->set[i], e->key.user_key,
						 reader) > ikey_seqno(&e->key);
		if (!hidden)
			vector_add(&h->model, e->key.user_key,
				   ikey_seqno(&e->key), KIND_PUT, e->value);
	}
	vector_fini(&all);
}

static void hiding_open(struct hiding *h, uint64_t reader)
{
	struct iter *children[HIDING_CHILDREN];

	for (size_t i = 0; i < HIDING_CHILDREN; i++) {
		children[i] = vector_iter_new(&h->part[i]);
		h->scope[i].set = h->set[i];
		if (h->set[i])
			children[i]->scope = &h->scope[i];
	}
	ck_assert_int_eq(merging_iter_new_hiding(children, HIDING_CHILDREN,
						 reader, &h->it),
			 CAIRN_OK);
}

static void hiding_close(struct hiding *h)
{
	iter_close(h->it);
	vector_fini(&h->model);
	for (size_t i = 0; i < HIDING_CHILDREN; i++) {
		vector_fini(&h->part[i]);
		range_dels_unref(h->set[i]);
	}
}

static void hiding_step(struct rng *r, struct iter *a, struct iter *b)
{
	uint64_t what = rng_below(r, 18);
	char key[8];
	struct ikey target;

	snprintf(key, sizeof(key), "%02d", (int)rng_below(r, 41));
	target = (struct ikey){ slice_str(key), UINT64_MAX };
	if (what >= 4 && !a->valid)
		what %= 4;
	if (what == 0) {
		iter_first(a);
		iter_first(b);
	} else if (what == 1) {
		iter_last(a);
		iter_last(b);
	} else if (what == 2) {
		iter_seek_ge(a, &target);
		iter_seek_ge(b, &target);
	} else if (what == 3) {
		iter_seek_lt(a, &target);
		iter_seek_lt(b, &target);
	} else if (what > 14) {
		if (is_ahead(a, &target))
			iter_seek_forward(a, &target);
		else
			iter_seek_ge(a, &target);
		iter_seek_ge(b, &target);
	} else if (what % 2) {
		iter_next(a);
		iter_next(b);
	} else {
		iter_prev(a);
		iter_prev(b);
	}
}

START_TEST(what_tombstones_cover_is_not_there_in_any_walk)
{
	uint64_t reader = (uint64_t)(_i % 5) * 25 + 10;
	struct hiding h = { 0 };
	struct iter *model;
	struct rng r;

	rng_init(&r, (uint64_t)_i + 1);
	hiding_fill(&h, &r, reader);
	hiding_open(&h, reader);
	model = vector_iter_new(&h.model);
	for (int i = 0; i < 400; i++) {
		hiding_step(&r, h.it, model);
		iter_pair_same(h.it, model);
	}
	iter_close(model);
	hiding_close(&h);
}
END_TEST

START_TEST(many_covered_entries_are_passed_by_a_seek)
{
	struct range_del_list l = { 0 };
	const struct range_del d = { slice_str("0100"), slice_str("0900"),
				     5000 };
	struct vector top = { 0 }, low = { 0 };
	struct range_scope scope = { 0 };
	struct range_dels *set;
	struct iter *child[2], *it;

	for (int i = 0; i < 1000; i++) {
		char key[8];

		snprintf(key, sizeof(key), "%04d", i);
		vector_add(&low, slice_str(key), (uint64_t)i, KIND_PUT,
			   slice_str(""));
	}
	ck_assert_int_eq(range_del_list_add(&l, &d), CAIRN_OK);
	ck_assert_int_eq(range_dels_new(&l, &set), CAIRN_OK);
	range_del_list_fini(&l);
	scope.set = set;
	child[0] = vector_iter_new(&top);
	child[0]->scope = &scope;
	child[1] = vector_iter_new(&low);
	ck_assert_int_eq(merging_iter_new_hiding(child, 2, SEQNO_MAX, &it),
			 CAIRN_OK);
	for (int way = 0; way < 2; way++) {
		size_t calls = vector_iter_calls(child[1]);
		size_t n = 0;

		if (way == 0)
			iter_first(it);
		else
			iter_last(it);
		while (it->valid) {
			n++;
			if (way == 0)
				iter_next(it);
			else
				iter_prev(it);
		}
		ck_assert_uint_eq(n, 200);
		ck_assert_uint_lt(vector_iter_calls(child[1]) - calls, 215);
	}
	iter_close(it);
	range_dels_unref(set);
	vector_fini(&low);
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
	tcase_add_test(tc, a_seek_forward_moves_only_who_is_behind);
	tcase_add_test(tc, who_was_sought_by_prefix_is_sought_anew);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_failing_child_ends_the_walk_with_its_failure,
			    0, 4);
	tcase_add_test(tc, a_failure_while_turning_round_is_not_an_end);
	tcase_add_test(tc, an_absolute_positioning_clears_a_failure);
	suite_add_tcase(s, tc);
	{
		TCase *hidden = tcase_create("hidden");

		tcase_add_loop_test(
			hidden, what_tombstones_cover_is_not_there_in_any_walk,
			0, 200);
		tcase_add_test(hidden,
			       many_covered_entries_are_passed_by_a_seek);
		suite_add_tcase(s, hidden);
	}
	return s;
}

int main(void)
{
	return run_suite(merging_iter_suite());
}
