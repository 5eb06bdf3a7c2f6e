/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of range tombstones, against looking at each of them. */
#include "engine/kv/range_del.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"

#define TOMBS_MAX 40
#define KEYS      14

/* "start-end#seqno", parted by blanks. */
static void parse(struct range_del_list *l, const char *text)
{
	while (*text) {
		const char *dash = strchr(text, '-');
		const char *hash = strchr(text, '#');
		struct range_del d;
		char *end;

		ck_assert(dash && hash && dash < hash);
		d.start = slice_of(text, (size_t)(dash - text));
		d.end = slice_of(dash + 1, (size_t)(hash - dash - 1));
		d.seqno = strtoull(hash + 1, &end, 10);
		ck_assert_int_eq(range_del_list_add(l, &d), CAIRN_OK);
		text = *end ? end + 1 : end;
	}
}

static struct range_dels *make(const char *text)
{
	struct range_del_list l = { 0 };
	struct range_dels *d;

	parse(&l, text);
	ck_assert_int_eq(range_dels_new(&l, &d), CAIRN_OK);
	range_del_list_fini(&l);
	return d;
}

START_TEST(what_deletes_nothing_makes_no_set)
{
	ck_assert_ptr_null(make(""));
	ck_assert_ptr_null(make("a-a#5 c-b#6"));
	range_dels_unref(NULL);
}
END_TEST

static const struct {
	const char *tombs;
	const char *key;
	uint64_t seqno;
	uint64_t want;
} covers[] = {
	{ "b-d#5", "a", 9, 0 },
	{ "b-d#5", "b", 9, 5 },
	{ "b-d#5", "c", 9, 5 },
	{ "b-d#5", "d", 9, 0 },
	{ "b-d#5", "b", 4, 0 },
	{ "b-d#5", "b", 5, 5 },
	/* The newest that is seen, also in a fragment with newer ones. */
	{ "a-c#5 a-c#3 a-c#1 c-e#5", "b", 4, 3 },
	{ "a-c#5 a-c#3 a-c#1 c-e#5", "c", 4, 0 },
	{ "a-c#5 a-c#3 a-c#1 c-e#5", "d", 5, 5 },
	/* Nested, and side by side with a gap. */
	{ "a-z#2 b-y#4 c-d#3", "c", 9, 4 },
	{ "a-z#2 b-y#4 c-d#3", "c", 3, 3 },
	{ "a-z#2 b-y#4 c-d#3", "a", 9, 2 },
	{ "a-b#2 c-d#3", "b", 9, 0 },
	/* The empty key is a key. */
	{ "-b#2", "", 9, 2 },
	{ "-b#2", "a", 9, 2 },
	/* At number 0 there is nothing older. */
	{ "a-z#0 b-c#2", "a", 9, 0 },
	/* Twice the same. */
	{ "a-b#2 a-b#2", "a", 9, 2 },
};

START_TEST(the_newest_visible_tombstone_over_a_key_is_found)
{
	struct range_dels *d = make(covers[_i].tombs);

	ck_assert_uint_eq(range_dels_cover(d, slice_str(covers[_i].key),
					   covers[_i].seqno),
			  covers[_i].want);
	range_dels_unref(d);
}
END_TEST

struct random_set {
	struct range_del_list list;
	struct range_dels *set;
	char start[TOMBS_MAX][8];
	char end[TOMBS_MAX][8];
	uint64_t seqno[TOMBS_MAX];
	int n;
};

static void key_text(char out[8], uint64_t i)
{
	snprintf(out, 8, "k%02d", (int)i);
}

static void random_make(struct random_set *s, struct rng *rng)
{
	*s = (struct random_set){ .n = 1 + (int)rng_below(rng, TOMBS_MAX) };
	for (int i = 0; i < s->n; i++) {
		uint64_t a = rng_below(rng, KEYS);
		uint64_t b = a + 1 + rng_below(rng, KEYS - a);
		struct range_del d;

		key_text(s->start[i], a);
		key_text(s->end[i], b);
		s->seqno[i] = 1 + rng_below(rng, 30);
		d = (struct range_del){ slice_str(s->start[i]),
					slice_str(s->end[i]), s->seqno[i] };
		ck_assert_int_eq(range_del_list_add(&s->list, &d), CAIRN_OK);
	}
	ck_assert_int_eq(range_dels_new(&s->list, &s->set), CAIRN_OK);
	/* The set is on its own. */
	range_del_list_fini(&s->list);
}

static uint64_t one_by_one(const struct random_set *s, const char *key,
			   uint64_t seqno)
{
	uint64_t newest = 0;

	for (int i = 0; i < s->n; i++)
		if (s->seqno[i] <= seqno && s->seqno[i] > newest &&
		    strcmp(s->start[i], key) <= 0 && strcmp(key, s->end[i]) < 0)
			newest = s->seqno[i];
	return newest;
}

START_TEST(a_set_answers_as_its_tombstones_do_one_by_one)
{
	struct random_set s;
	struct rng rng;

	rng_init(&rng, (uint64_t)_i + 1);
	random_make(&s, &rng);
	for (uint64_t k = 0; k <= KEYS; k++) {
		for (uint64_t seqno = 0; seqno <= 32; seqno++) {
			char key[8];
			size_t hint = rng_below(&rng, s.set->n + 2);
			size_t span;
			uint64_t want;

			key_text(key, k);
			want = one_by_one(&s, key, seqno);
			ck_assert_uint_eq(
				range_dels_cover(s.set, slice_str(key), seqno),
				want);
			span = range_dels_find(s.set, slice_str(key), hint);
			ck_assert_uint_eq(range_dels_newest(s.set, span, seqno),
					  want);
		}
	}
	range_dels_unref(s.set);
}
END_TEST

START_TEST(tombstones_come_back_the_newest_first)
{
	struct range_dels *d = make("m-p#7 a-c#9 b-z#8");
	static const struct {
		const char *start, *end;
		uint64_t seqno;
	} want[] = { { "a", "c", 9 }, { "b", "z", 8 }, { "m", "p", 7 } };

	ck_assert_uint_eq(d->n_tombs, 3);
	for (size_t i = 0; i < 3; i++) {
		struct range_del t = range_dels_tomb(d, i);

		ck_assert(slice_eq(t.start, slice_str(want[i].start)));
		ck_assert(slice_eq(t.end, slice_str(want[i].end)));
		ck_assert_uint_eq(t.seqno, want[i].seqno);
	}
	range_dels_unref(d);
}
END_TEST

START_TEST(nested_tombstones_take_little_memory)
{
	struct range_del_list l = { 0 };
	struct range_dels *d;
	const int n = 20000;

	/* Each within the one before: lists per span would hold n * n / 2. */
	for (int i = 0; i < n; i++) {
		char start[16], end[16];
		struct range_del t = { .seqno = 1 + (uint64_t)i };

		snprintf(start, sizeof(start), "%06d", i);
		snprintf(end, sizeof(end), "%06d", 2 * n - i);
		t.start = slice_str(start);
		t.end = slice_str(end);
		ck_assert_int_eq(range_del_list_add(&l, &t), CAIRN_OK);
	}
	ck_assert_int_eq(range_dels_new(&l, &d), CAIRN_OK);
	ck_assert_uint_lt(d->memory, (size_t)n * 512);
	ck_assert_uint_eq(range_dels_cover(d, slice_str("019999x"), SEQNO_MAX),
			  20000);
	ck_assert_uint_eq(range_dels_cover(d, slice_str("000100x"), SEQNO_MAX),
			  101);
	ck_assert_uint_eq(range_dels_cover(d, slice_str("000100x"), 50), 50);
	range_dels_unref(d);
	range_del_list_fini(&l);
}
END_TEST

/* A scope of "b-m#5 m-p#7 q-s#3", bounded as said. */
static struct range_scope scope_of(struct range_dels *d, struct ikey *lower,
				   struct ikey *upper)
{
	return (struct range_scope){ .set = d, .lower = lower, .upper = upper };
}

START_TEST(a_scope_ends_at_the_bounds_of_its_file)
{
	struct range_dels *d = make("b-m#5 m-p#7 q-s#3");
	struct ikey lower = { slice_str("d"), UINT64_MAX };
	struct ikey sentinel =
		ikey_make(slice_str("n"), SEQNO_MAX, KIND_RANGE_DELETE);
	struct ikey entry = ikey_make(slice_str("n"), 4, KIND_PUT);
	struct range_scope s = scope_of(d, &lower, &sentinel);
	struct ikey k;

	k = ikey_make(slice_str("c"), 1, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(&s, &k, 9), 0);
	k = ikey_make(slice_str("d"), 99, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(&s, &k, 9), 5);
	k = ikey_make(slice_str("m"), 1, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(&s, &k, 9), 7);
	/* The sentinel is before all of its key ... */
	k = ikey_make(slice_str("n"), 9, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(&s, &k, 9), 0);
	/* ... an entry among its versions. */
	s = scope_of(d, &lower, &entry);
	k = ikey_make(slice_str("n"), 4, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(&s, &k, 9), 7);
	k = ikey_make(slice_str("n"), 3, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(&s, &k, 9), 0);
	range_dels_unref(d);
}
END_TEST

START_TEST(a_swath_goes_through_neighbouring_fragments)
{
	struct range_dels *d = make("b-m#5 m-p#7 q-s#3");
	struct ikey lower = { slice_str("d"), UINT64_MAX };
	struct ikey upper =
		ikey_make(slice_str("n"), SEQNO_MAX, KIND_RANGE_DELETE);
	struct range_scope s = scope_of(d, NULL, NULL);
	struct ikey to;

	ck_assert(range_scope_to_end(&s, slice_str("c"), 9, &to));
	ck_assert(slice_eq(to.user_key, slice_str("p")));
	ck_assert(to.trailer == UINT64_MAX);
	range_scope_to_start(&s, slice_str("o"), 9, &to);
	ck_assert(slice_eq(to.user_key, slice_str("b")));
	/* Not through what the reader does not see. */
	ck_assert(range_scope_to_end(&s, slice_str("c"), 6, &to));
	ck_assert(slice_eq(to.user_key, slice_str("m")));
	/* Nor beyond the bounds. */
	s = scope_of(d, &lower, &upper);
	ck_assert(range_scope_to_end(&s, slice_str("e"), 9, &to));
	ck_assert(slice_eq(to.user_key, slice_str("n")));
	range_scope_to_start(&s, slice_str("m"), 9, &to);
	ck_assert(slice_eq(to.user_key, slice_str("d")));
	range_dels_unref(d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("range_del");
	TCase *sets = tcase_create("sets");
	TCase *scopes = tcase_create("scopes");

	tcase_add_test(sets, what_deletes_nothing_makes_no_set);
	tcase_add_loop_test(sets,
			    the_newest_visible_tombstone_over_a_key_is_found, 0,
			    sizeof(covers) / sizeof(covers[0]));
	tcase_add_loop_test(sets, a_set_answers_as_its_tombstones_do_one_by_one,
			    0, 100);
	tcase_add_test(sets, tombstones_come_back_the_newest_first);
	tcase_add_test(sets, nested_tombstones_take_little_memory);
	suite_add_tcase(s, sets);
	tcase_add_test(scopes, a_scope_ends_at_the_bounds_of_its_file);
	tcase_add_test(scopes, a_swath_goes_through_neighbouring_fragments);
	suite_add_tcase(s, scopes);
	return run_suite(s);
}
