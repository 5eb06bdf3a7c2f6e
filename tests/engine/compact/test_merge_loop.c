/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/merge_loop.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Keys are below the output when they are in this string of letters. */
static bool below(void *ctx, struct cairn_slice user_key)
{
	const char *letters = ctx;

	return user_key.len && strchr(letters, user_key.data[0]);
}

/* Everything in one line: what lived on, or the failure. */
static void run(struct iter *in, const struct merge_loop_options *opts,
		struct buf *out, struct merge_loop *counts)
{
	struct merge_loop l;

	buf_clear(out);
	merge_loop_init(&l, in, opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		vector_format(out, &l.key, l.value);
	if (l.status)
		ck_assert_int_eq(buf_printf(out, "%s%s", out->len ? " " : "",
					    cairn_strerror(l.status)),
				 CAIRN_OK);
	merge_loop_fini(&l);
	if (counts)
		*counts = l;
}

static const struct {
	const char *name;
	const char *in;
	uint64_t snapshots[4]; /* ended by a 0 */
	uint64_t newest_user;
	const char *below;
	bool zero;
	const char *want;
} cases[] = {
	{ "the newest version of a stripe lives on",
	  "a#9p9 a#5p5 a#2p2 b#3p3",
	  { 9 },
	  0,
	  "ab",
	  false,
	  "a#9p9 b#3p3" },
	{ "a snapshot keeps the version it sees",
	  "a#9p9 a#5p5 a#2p2",
	  { 5, 9 },
	  5,
	  "a",
	  false,
	  "a#9p9 a#5p5" },
	{ "a snapshot between versions sees the older one",
	  "a#9p9 a#5p5 a#2p2",
	  { 4, 9 },
	  4,
	  "a",
	  false,
	  "a#9p9 a#2p2" },
	{ "a snapshot at a version's seqno sees that version",
	  "a#9p9 a#5p5 a#2p2",
	  { 2, 9 },
	  2,
	  "a",
	  false,
	  "a#9p9 a#2p2" },
	{ "snapshots that see the same version keep it once",
	  "a#9p9 a#2p2",
	  { 3, 5, 9 },
	  5,
	  "a",
	  false,
	  "a#9p9 a#2p2" },
	{ "unpublished versions all live on",
	  "a#9p9 a#8p8 a#7d a#5p5 a#2p2",
	  { 6 },
	  0,
	  "a",
	  false,
	  "a#9p9 a#8p8 a#7d a#5p5" },
	{ "a deletion over what may be below is kept",
	  "a#9d a#5p5",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9d" },
	{ "a deletion with nothing below goes, with what it deletes",
	  "a#9d a#5p5 b#3p3",
	  { 9 },
	  0,
	  "",
	  false,
	  "b#3p3" },
	{ "a deletion that a snapshot does not see is kept",
	  "a#9d a#5p5",
	  { 5, 9 },
	  5,
	  "",
	  false,
	  "a#9d a#5p5" },
	{ "a deletion in the oldest stripe goes under a newer put",
	  "a#9p9 a#5d a#2p2",
	  { 5, 9 },
	  5,
	  "",
	  false,
	  "a#9p9" },
	{ "a deletion under a put of its stripe goes in any case",
	  "a#9p9 a#5d",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9p9" },
	{ "a single deletion is kept as a deletion is",
	  "a#9s a#5p5 b#8s b#4p4",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9s" },
	{ "a single deletion and a put never vanish together",
	  "a#9s a#5p5 a#2p2",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9s" },
	{ "puts that all see are zeroed at the bottom",
	  "a#9p9 b#3p3",
	  { 9 },
	  0,
	  "",
	  true,
	  "a#0p9 b#0p3" },
	{ "only the put in the oldest stripe is zeroed",
	  "a#9p9 a#5p5",
	  { 5, 9 },
	  5,
	  "",
	  true,
	  "a#9p9 a#0p5" },
	{ "no put is zeroed over what may be below",
	  "a#9p9 b#3p3",
	  { 9 },
	  0,
	  "a",
	  true,
	  "a#9p9 b#0p3" },
	{ "a deletion is not zeroed", "a#9d", { 9 }, 0, "a", true, "a#9d" },
	{ "unpublished puts are not zeroed",
	  "a#9p9",
	  { 8 },
	  0,
	  "",
	  true,
	  "a#9p9" },
	{ "merge operands stay on their base",
	  "a#9m3 a#8m2 a#5p1 a#4p0",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9m3 a#8m2 a#5p1" },
	{ "merge operands under a put go",
	  "a#9p9 a#8m2 a#5p1",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9p9" },
	{ "a deletion under merge operands with nothing below goes",
	  "a#9m3 a#8d a#5p1",
	  { 9 },
	  0,
	  "",
	  false,
	  "a#9m3" },
	{ "the base below merge operands may be zeroed",
	  "a#9m3 a#5p1",
	  { 9 },
	  0,
	  "",
	  true,
	  "a#9m3 a#0p1" },
	{ "nothing in, nothing out", "", { 9 }, 0, "", true, "" },
	{ "everything may go", "a#9d b#8d", { 9 }, 0, "", true, "" },
	{ "the empty key is a key",
	  "#9p9 #5p5 a#3p3",
	  { 9 },
	  0,
	  "",
	  false,
	  "#9p9 a#3p3" },
	{ "an entry twice is an entry",
	  "a#9p9 a#9p9",
	  { 3 },
	  0,
	  "",
	  false,
	  "a#9p9" },
	{ "a range deletion among points is corruption",
	  "a#9p9 b#3r",
	  { 9 },
	  0,
	  "",
	  false,
	  "a#9p9 corruption" },
	{ "an unknown kind is corruption",
	  "a#9?",
	  { 9 },
	  0,
	  "",
	  false,
	  "corruption" },
};

START_TEST(of_the_entries_read_the_right_ones_live_on)
{
	struct vector v = { 0 };
	struct merge_loop_options opts = {
		.snapshots = cases[_i].snapshots,
		.newest_user_snapshot = cases[_i].newest_user,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t)cases[_i].below,
		.zero_seqnos = cases[_i].zero,
	};
	struct buf out = { 0 };
	struct iter *in;

	while (opts.n_snapshots < N(cases[_i].snapshots) &&
	       cases[_i].snapshots[opts.n_snapshots])
		opts.n_snapshots++;
	vector_parse(&v, cases[_i].in);
	in = vector_iter_new(&v);
	run(in, &opts, &out, NULL);
	ck_assert_msg(slice_eq(buf_slice(&out), slice_str(cases[_i].want)),
		      "%s: got \"%.*s\", want \"%s\"", cases[_i].name,
		      (int)out.len, (const char *)out.data, cases[_i].want);
	iter_close(in);
	buf_fini(&out);
	vector_fini(&v);
}
END_TEST

static const char *const disorders[] = {
	"b#9p a#8p",  "a#5p a#9p",
	"a#5d a#5p", /* the greater kind comes first */
	"ab#1p a#1p", "a#1p #1p",
};

START_TEST(keys_out_of_order_are_corruption)
{
	static const uint64_t snapshot = 20;
	struct vector v = { 0 };
	struct merge_loop_options opts = {
		.snapshots = &snapshot,
		.n_snapshots = 1,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t) "",
	};
	struct merge_loop l;
	struct iter *in;

	vector_parse(&v, disorders[_i]);
	in = vector_iter_new(&v);
	merge_loop_init(&l, in, &opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		;
	ck_assert_int_eq(l.status, CAIRN_ECORRUPT);
	merge_loop_fini(&l);
	iter_close(in);
	vector_fini(&v);
}
END_TEST

START_TEST(new_key_tells_where_a_table_may_end)
{
	static const uint64_t snapshots[] = { 3, 6, 9 };
	struct merge_loop_options opts = {
		.snapshots = snapshots,
		.n_snapshots = 3,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t) "b",
	};
	/* a's first two versions go; c has only what goes. */
	static const bool want[] = { true, false, true, true, false };
	struct vector v = { 0 };
	struct merge_loop l;
	struct iter *in;
	size_t n = 0;

	vector_parse(&v, "a#5p a#4p a#1p b#2d c#1d d#9p d#5p d#4p");
	in = vector_iter_new(&v);
	merge_loop_init(&l, in, &opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		ck_assert(l.new_key == want[n++]);
	ck_assert_int_eq(l.status, CAIRN_OK);
	ck_assert_uint_eq(n, N(want));
	merge_loop_fini(&l);
	iter_close(in);
	vector_fini(&v);
}
END_TEST

START_TEST(the_counters_tell_what_was_read_dropped_and_pinned)
{
	static const uint64_t snapshots[] = { 3, 6, 20 };
	struct merge_loop_options opts = {
		.snapshots = snapshots,
		.n_snapshots = 3,
		.newest_user_snapshot = 6,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t) "",
	};
	struct vector v = { 0 };
	struct buf out = { 0 };
	struct merge_loop l;
	struct iter *in;

	/* a: #5 for snapshot 6, #2 for snapshot 3. b: only #4, pinned by
	 * nobody. c: the deletion goes. */
	vector_parse(&v, "a#9p a#8p a#5p a#4p a#2p b#4p c#2d");
	in = vector_iter_new(&v);
	run(in, &opts, &out, &l);
	ck_assert_uint_eq(l.n_in, 7);
	ck_assert_uint_eq(l.n_dropped, 3);
	ck_assert_uint_eq(l.n_pinned, 2);
	iter_close(in);
	buf_fini(&out);
	vector_fini(&v);
}
END_TEST

/* ---------------------------------------------------------------- filter */

struct drops {
	const char *letters; /* drop puts of these keys */
	struct buf asked;
};

static bool drop(void *job, struct cairn_slice key, struct cairn_slice value)
{
	struct drops *d = job;

	ck_assert_int_eq(buf_printf(&d->asked, "%.*s=%.*s ", (int)key.len,
				    (const char *)key.data, (int)value.len,
				    (const char *)value.data),
			 CAIRN_OK);
	return key.len && strchr(d->letters, key.data[0]);
}

static const struct {
	const char *name;
	const char *in;
	uint64_t snapshots[4];
	uint64_t newest_user;
	bool zero;
	const char *asked;
	const char *want;
} filter_cases[] = {
	{ "the newest put of each key is offered",
	  "a#9p9 a#5p5 b#3p3",
	  { 9 },
	  0,
	  false,
	  "a=9 b=3 ",
	  "b#3p3" },
	{ "deletions are not",
	  "a#9d a#5p5 b#3p3",
	  { 9 },
	  0,
	  false,
	  "b=3 ",
	  "a#9d b#3p3" },
	{ "what is dropped takes older versions of its stripe along",
	  "a#9p9 a#8d a#7p7 a#6p6",
	  { 9 },
	  0,
	  false,
	  "a=9 ",
	  "" },
	{ "but not those of older stripes",
	  "a#9p9 a#4p4 a#3p3",
	  { 5, 9 },
	  5,
	  false,
	  "a=9 ",
	  "a#4p4" },
	{ "puts that a snapshot sees are not offered",
	  "a#5p5 b#6p6",
	  { 5, 9 },
	  5,
	  false,
	  "b=6 ",
	  "a#5p5 b#6p6" },
	{ "unpublished puts are not, nor what is under them",
	  "a#9p9 a#5p5 b#3p3",
	  { 6 },
	  0,
	  false,
	  "b=3 ",
	  "a#9p9 a#5p5 b#3p3" },
	{ "zeroed puts are offered",
	  "a#0p0 b#0p0",
	  { 9 },
	  0,
	  true,
	  "a=0 b=0 ",
	  "b#0p0" },
	{ "zeroed puts are not while there is a snapshot",
	  "a#0p0",
	  { 5, 9 },
	  5,
	  true,
	  "",
	  "a#0p0" },
	{ "merge operands are not",
	  "a#9m9 a#5p5",
	  { 9 },
	  0,
	  false,
	  "",
	  "a#9m9 a#5p5" },
};

START_TEST(the_filter_is_offered_what_it_may_drop)
{
	struct drops d = { .letters = "a" };
	struct cairn_compaction_filter f = { .name = "test", .drop = drop };
	struct merge_loop_options opts = {
		.snapshots = filter_cases[_i].snapshots,
		.newest_user_snapshot = filter_cases[_i].newest_user,
		.exists_below = below,
		.exists_ctx =
			(void *)(uintptr_t)(filter_cases[_i].zero ? "" : "ab"),
		.zero_seqnos = filter_cases[_i].zero,
		.filter = &f,
		.filter_job = &d,
	};
	struct vector v = { 0 };
	struct buf out = { 0 };
	struct iter *in;

	while (filter_cases[_i].snapshots[opts.n_snapshots])
		opts.n_snapshots++;
	vector_parse(&v, filter_cases[_i].in);
	in = vector_iter_new(&v);
	run(in, &opts, &out, NULL);
	ck_assert_msg(
		slice_eq(buf_slice(&out), slice_str(filter_cases[_i].want)),
		"%s: got \"%.*s\"", filter_cases[_i].name, (int)out.len,
		(const char *)out.data);
	ck_assert_msg(slice_eq(buf_slice(&d.asked),
			       slice_str(filter_cases[_i].asked)),
		      "%s: asked \"%.*s\"", filter_cases[_i].name,
		      (int)d.asked.len, (const char *)d.asked.data);
	iter_close(in);
	buf_fini(&d.asked);
	buf_fini(&out);
	vector_fini(&v);
}
END_TEST

/* -------------------------------------------------------------- failures */

START_TEST(a_failing_input_is_not_the_end_of_it)
{
	static const uint64_t snapshot = 20;
	struct merge_loop_options opts = {
		.snapshots = &snapshot,
		.n_snapshots = 1,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t) "",
	};
	struct vector v = { 0 };
	struct merge_loop l;
	struct iter *in;

	/* The deletions are passed over inside one call. */
	vector_parse(&v, "a#9p b#9d c#9d d#9p d#8p");
	in = vector_iter_new(&v);
	vector_iter_fail_at(in, (size_t)_i, CAIRN_EIO);
	merge_loop_init(&l, in, &opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		;
	ck_assert_int_eq(l.status, CAIRN_EIO);
	ck_assert_uint_eq(l.n_in, (uint64_t)_i);
	merge_loop_fini(&l);
	iter_close(in);
	vector_fini(&v);
}
END_TEST

static bool stop_at(void *ctx, uint64_t n_in)
{
	uint64_t *limit = ctx;

	return n_in >= *limit;
}

START_TEST(a_job_is_cancelled_amid_entries_that_do_not_live_on)
{
	static const uint64_t snapshot = 1 << 20;
	uint64_t limit = 1000;
	struct merge_loop_options opts = {
		.snapshots = &snapshot,
		.n_snapshots = 1,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t) "",
		.poll = stop_at,
		.poll_ctx = &limit,
	};
	struct vector v = { 0 };
	struct merge_loop l;
	struct iter *in;

	for (uint64_t i = 5000; i > 0; i--)
		vector_add(&v, slice_str("a"), i, KIND_DELETE, slice_str(""));
	in = vector_iter_new(&v);
	merge_loop_init(&l, in, &opts);
	merge_loop_first(&l);
	ck_assert(!l.valid);
	ck_assert_int_eq(l.status, CAIRN_EABORTED);
	ck_assert_uint_le(l.n_in, limit + MERGE_LOOP_POLL_ENTRIES);
	merge_loop_fini(&l);
	iter_close(in);
	vector_fini(&v);
}
END_TEST

/* ----------------------------------------------------------- by a model */

/* What a reader at seqno sees of key: the entry, or NULL for nothing. */
static const struct vector_entry *
read_at(const struct vector *v, struct cairn_slice key, uint64_t seqno)
{
	const struct vector_entry *best = NULL;

	for (size_t i = 0; i < v->n; i++) {
		const struct vector_entry *e = &v->entries[i];

		if (slice_eq(e->key.user_key, key) &&
		    ikey_seqno(&e->key) <= seqno &&
		    (!best || e->key.trailer > best->key.trailer))
			best = e;
	}
	return best && ikey_kind(&best->key) == KIND_PUT ? best : NULL;
}

START_TEST(no_reader_sees_a_difference)
{
	static const char *const keys[] = { "a", "b", "c", "d", "e" };
	struct vector v = { 0 }, after = { 0 };
	struct merge_loop_options opts = {
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t)(_i % 2 ? "ace" : ""),
		.zero_seqnos = _i % 3 == 0,
	};
	uint64_t snapshots[8];
	struct merge_loop l;
	struct iter *in;
	struct rng r;

	rng_init(&r, 77 + (uint64_t)_i);
	for (uint64_t seqno = 1; seqno <= 60; seqno++)
		vector_add(&v, slice_str(keys[rng_below(&r, N(keys))]), seqno,
			   rng_one_in(&r, 3) ? KIND_DELETE : KIND_PUT,
			   slice_of(&seqno, sizeof(seqno)));
	vector_sort(&v);
	for (uint64_t s = rng_below(&r, 20); s < 50 && opts.n_snapshots < 7;
	     s += 1 + rng_below(&r, 20))
		snapshots[opts.n_snapshots++] = s;
	opts.newest_user_snapshot =
		opts.n_snapshots ? snapshots[opts.n_snapshots - 1] : 0;
	snapshots[opts.n_snapshots++] = 50 + rng_below(&r, 11);
	opts.snapshots = snapshots;

	in = vector_iter_new(&v);
	merge_loop_init(&l, in, &opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		vector_add(&after, l.key.user_key, ikey_seqno(&l.key),
			   ikey_kind(&l.key), l.value);
	ck_assert_int_eq(l.status, CAIRN_OK);
	ck_assert_uint_eq(l.n_in, v.n);
	ck_assert_uint_eq(l.n_dropped, v.n - after.n);

	for (size_t k = 0; k < N(keys); k++) {
		for (size_t i = 0; i < opts.n_snapshots + 11; i++) {
			uint64_t at =
				i < opts.n_snapshots
					? snapshots[i]
					: snapshots[opts.n_snapshots - 1] + i -
						  opts.n_snapshots;
			const struct vector_entry *was =
				read_at(&v, slice_str(keys[k]), at);
			const struct vector_entry *is =
				read_at(&after, slice_str(keys[k]), at);

			ck_assert_msg(!was == !is, "key %s at %llu, seed %d",
				      keys[k], (unsigned long long)at, _i);
			if (was)
				ck_assert(slice_eq(was->value, is->value));
		}
	}
	merge_loop_fini(&l);
	iter_close(in);
	vector_fini(&after);
	vector_fini(&v);
}
END_TEST

static Suite *merge_loop_suite(void)
{
	Suite *s = suite_create("merge_loop");
	TCase *tc = tcase_create("entries");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, of_the_entries_read_the_right_ones_live_on, 0,
			    (int)N(cases));
	tcase_add_test(tc, new_key_tells_where_a_table_may_end);
	tcase_add_test(tc, the_counters_tell_what_was_read_dropped_and_pinned);
	tcase_add_loop_test(tc, no_reader_sees_a_difference, 0, 300);
	suite_add_tcase(s, tc);

	tc = tcase_create("filter");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, the_filter_is_offered_what_it_may_drop, 0,
			    (int)N(filter_cases));
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, keys_out_of_order_are_corruption, 0,
			    (int)N(disorders));
	tcase_add_loop_test(tc, a_failing_input_is_not_the_end_of_it, 0, 6);
	tcase_add_test(tc, a_job_is_cancelled_amid_entries_that_do_not_live_on);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(merge_loop_suite());
}
