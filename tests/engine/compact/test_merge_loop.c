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
	{ "a deletion right under a put lives on over what may be below",
	  "a#9p9 a#5d a#4p4 b#9p9 b#5d b#4p4",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9p9 a#5d b#9p9" },
	{ "a deletion further down in its stripe goes",
	  "a#9p9 a#7p7 a#5d a#4p4",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9p9" },
	{ "of deletions on top of one another the newest lives on",
	  "a#9p9 a#7d a#5s a#4d",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9p9 a#7d" },
	{ "a deletion under a put above an older stripe lives on",
	  "a#9p9 a#7d a#5p5",
	  { 5, 9 },
	  5,
	  "",
	  false,
	  "a#9p9 a#7d a#5p5" },
	{ "a single deletion and its put vanish together",
	  "a#9s a#5p5 b#8s b#4p4",
	  { 9 },
	  0,
	  "a",
	  false,
	  "" },
	{ "they vanish from above the deletion that was under the put",
	  "a#9s a#5p5 a#4d",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#4d" },
	{ "they vanish from under a put",
	  "a#9p9 a#7s a#5p5 a#4d a#3p3",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9p9 a#4d" },
	{ "a single deletion of a put that a snapshot sees lives on",
	  "a#9s a#5p5",
	  { 5, 9 },
	  5,
	  "a",
	  false,
	  "a#9s a#5p5" },
	{ "both vanish where no snapshot is between them",
	  "a#9p9 a#4s a#3p3",
	  { 5, 9 },
	  5,
	  "a",
	  false,
	  "a#9p9" },
	{ "a single deletion with nothing under it lives on",
	  "a#9s",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9s" },
	{ "a single deletion with nothing anywhere goes",
	  "a#9s b#8s",
	  { 9 },
	  0,
	  "b",
	  false,
	  "b#8s" },
	{ "a single deletion on another does nothing",
	  "a#9s a#8s a#5p5",
	  { 9 },
	  0,
	  "a",
	  false,
	  "" },
	{ "a single deletion on a deletion does nothing",
	  "a#9s a#8d a#5p5",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#8d" },
	{ "a single deletion of two puts is a deletion",
	  "a#9s a#5p5 a#2p2 b#9s b#5p5 b#2p2",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9d" },
	{ "a single deletion of two puts in two stripes is a deletion",
	  "a#9s a#5p5 a#2p2",
	  { 2, 9 },
	  2,
	  "a",
	  false,
	  "a#9d a#2p2" },
	{ "a single deletion of an operand is a deletion",
	  "a#9s a#8m1 a#5p5",
	  { 9 },
	  0,
	  "a",
	  false,
	  "a#9d" },
	{ "unpublished single deletions live on",
	  "a#9s a#8p8 a#5p5",
	  { 5 },
	  0,
	  "a",
	  false,
	  "a#9s a#8p8 a#5p5" },
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

/* ---------------------------------------------------------------- merging */

/* Joins with commas; cannot bear an operand of "!". */
static int join(void *ctx, struct cairn_slice key,
		const struct cairn_slice *existing,
		const struct cairn_slice *operands, size_t n,
		struct cairn_merge_result *out)
{
	int err = CAIRN_OK;

	(void)ctx;
	(void)key;
	if (existing)
		err = cairn_merge_append(out, existing->data, existing->len);
	for (size_t i = 0; i < n && !err; i++) {
		if (slice_eq(operands[i], slice_str("!")))
			return CAIRN_EINVAL;
		if (existing || i)
			err = cairn_merge_append(out, ",", 1);
		if (!err)
			err = cairn_merge_append(out, operands[i].data,
						 operands[i].len);
	}
	return err;
}

static int join_partially(void *ctx, struct cairn_slice key,
			  const struct cairn_slice *operands, size_t n,
			  struct cairn_merge_result *out)
{
	return join(ctx, key, NULL, operands, n, out);
}

static const struct cairn_merge_operator joining = {
	.name = "join", .full = join, .partial = join_partially
};
static const struct cairn_merge_operator full_only = { .name = "full",
						       .full = join };

static const struct {
	const char *name;
	const char *in;
	uint64_t snapshots[4]; /* ended by a 0 */
	const char *below;
	bool zero;
	const struct cairn_merge_operator *op;
	const char *want;
	uint64_t n_unmerged;
} merge_cases[] = {
	{ "operands on a put become a put",
	  "a#9m3 a#8m2 a#5p1 a#4p0 b#3p3",
	  { 9 },
	  "a",
	  false,
	  &joining,
	  "a#9p1,2,3 b#3p3",
	  0 },
	{ "operands on a deletion become a put above it",
	  "a#9m3 a#8m2 a#5d a#4p0 b#9m3 b#5s b#4p0 c#9m3 c#5d",
	  { 9 },
	  "ab",
	  false,
	  &joining,
	  "a#9p2,3 a#5d b#9p3 c#9p3",
	  0 },
	{ "operands on nothing become a put",
	  "a#9m3 a#8m2 b#7m1",
	  { 9 },
	  "b",
	  false,
	  &joining,
	  "a#9p2,3 b#7m1",
	  0 },
	{ "operands on what may be below become one operand",
	  "a#9m3 a#8m2 a#7m1",
	  { 9 },
	  "a",
	  false,
	  &joining,
	  "a#9m1,2,3",
	  0 },
	{ "a merged put that all see is zeroed at the bottom",
	  "a#9m3 a#8m2 a#5p1 b#8m3",
	  { 9 },
	  "",
	  true,
	  &joining,
	  "a#0p1,2,3 b#0p3",
	  0 },
	{ "operands stay in their stripe",
	  "a#9m4 a#8m3 a#5m2 a#4m1 a#3p0",
	  { 5, 9 },
	  "a",
	  false,
	  &joining,
	  "a#9m3,4 a#5p0,1,2",
	  0 },
	{ "operands on the put of an older stripe stay operands",
	  "a#9m4 a#8m3 a#5p0",
	  { 5, 9 },
	  "",
	  false,
	  &joining,
	  "a#9m3,4 a#5p0",
	  0 },
	{ "operands of a younger stripe with nothing under them become a put",
	  "a#9m4 a#8m3 a#5p0 b#9m4 b#8m3",
	  { 5, 9 },
	  "",
	  true,
	  &joining,
	  "a#9m3,4 a#0p0 b#9p3,4",
	  0 },
	{ "unpublished operands are not touched",
	  "a#9m4 a#8m3 a#6m2 a#5p1",
	  { 7 },
	  "",
	  false,
	  &joining,
	  "a#9m4 a#8m3 a#6p1,2",
	  0 },
	{ "operands under a put go",
	  "a#9p9 a#8m2 a#7d a#5p1",
	  { 9 },
	  "a",
	  false,
	  &joining,
	  "a#9p9",
	  0 },
	{ "an operator that only merges fully leaves operands apart",
	  "a#9m3 a#8m2 a#7m1 b#9m2 b#8p1",
	  { 9 },
	  "ab",
	  false,
	  &full_only,
	  "a#9m3 a#8m2 a#7m1 b#9p1,2",
	  0 },
	{ "operands that cannot be applied stay, and what is under them",
	  "a#9m3 a#8m! a#5p1 a#4p0 b#9m! b#8d b#7p7 c#9m! d#9p9",
	  { 9 },
	  "ab",
	  false,
	  &joining,
	  "a#9m3 a#8m! a#5p1 b#9m! b#8d c#9m! d#9p9",
	  3 },
	{ "operands that cannot be joined stay",
	  "a#9m3 a#8m! a#7m1 a#4d",
	  { 4, 9 },
	  "a",
	  false,
	  &joining,
	  "a#9m3 a#8m! a#7m1 a#4d",
	  0 },
	{ "an operand twice is an operand",
	  "a#9m3 a#9m3 a#8m2 a#8m2 a#8m2 a#5p1 a#5p1",
	  { 9 },
	  "a",
	  false,
	  &joining,
	  "a#9p1,2,3",
	  0 },
	{ "operands of no bytes are operands",
	  "a#9m a#8m a#5p b#9m b#8m",
	  { 9 },
	  "",
	  false,
	  &joining,
	  "a#9p,, b#9p,",
	  0 },
	{ "the operands of the last key are merged",
	  "a#9p9 b#9m3 b#8m2",
	  { 9 },
	  "b",
	  false,
	  &joining,
	  "a#9p9 b#9m2,3",
	  0 },
	{ "a single deletion on operands is a deletion",
	  "a#9s a#8m2 a#7m1 a#5p0",
	  { 9 },
	  "a",
	  false,
	  &joining,
	  "a#9d",
	  0 },
	{ "an unknown kind under operands is corruption",
	  "a#9m3 a#8?",
	  { 9 },
	  "a",
	  false,
	  &joining,
	  "a#9m3 corruption",
	  0 },
};

static bool range_below(void *ctx, struct cairn_slice start,
			struct cairn_slice end)
{
	(void)ctx;
	(void)start;
	(void)end;
	return true;
}

/* Key k is deleted with its range at 7, and there may be more below. */
static const struct {
	const char *name;
	const char *in;
	uint64_t snapshots[4];
	const char *want;
} range_cases[] = {
	{ "operands on a deleted range become a put",
	  "k#9m2 k#8m1 k#5p0 k#4p0",
	  { 20 },
	  "k#9p1,2" },
	{ "operands on a deleted operand become a put",
	  "k#9m2 k#8m1 k#6m0 k#5m0",
	  { 20 },
	  "k#9p1,2" },
	{ "operands on a deleted range without entries become a put",
	  "k#9m2 k#8m1",
	  { 20 },
	  "k#9p1,2" },
	{ "operands on a put on a deleted range become a put",
	  "k#9m2 k#8p1 k#5p0",
	  { 20 },
	  "k#9p1,2" },
	{ "operands of a younger stripe than the deletion stay operands",
	  "k#9m2 k#8m1 k#6m0 k#5p0",
	  { 7, 20 },
	  "k#9m1,2" },
	{ "operands of an older stripe than the deletion are not touched by it",
	  "k#9m2 k#6m1 k#5m0",
	  { 6, 20 },
	  "k#9p2 k#6m0,1" },
	{ "a single deletion of a put that the range deleted lives on",
	  "k#9s k#5p0",
	  { 20 },
	  "k#9s" },
	{ "a single deletion of a put on the deleted range takes it along",
	  "k#9s k#8p1 k#5p0",
	  { 20 },
	  "" },
};

START_TEST(operands_end_where_a_range_was_deleted)
{
	const struct range_del deleted = { slice_str("k"), slice_str("l"), 7 };
	struct merge_loop_options opts = {
		.snapshots = range_cases[_i].snapshots,
		.exists_below = below,
		.range_exists_below = range_below,
		.exists_ctx = (void *)(uintptr_t) "k",
		.merge = &joining,
	};
	struct range_del_list list = { 0 };
	struct range_dels *ranges;
	struct merge_loop counts;
	struct vector v = { 0 };
	struct buf out = { 0 };
	struct iter *in;

	ck_assert_int_eq(range_del_list_add(&list, &deleted), CAIRN_OK);
	ck_assert_int_eq(range_dels_new(&list, &ranges), CAIRN_OK);
	opts.range_dels = ranges;
	while (range_cases[_i].snapshots[opts.n_snapshots])
		opts.n_snapshots++;
	vector_parse(&v, range_cases[_i].in);
	in = vector_iter_new(&v);
	run(in, &opts, &out, &counts);
	ck_assert_msg(
		slice_eq(buf_slice(&out), slice_str(range_cases[_i].want)),
		"%s: got \"%.*s\", want \"%s\"", range_cases[_i].name,
		(int)out.len, (const char *)out.data, range_cases[_i].want);
	ck_assert_uint_eq(counts.n_in, v.n);
	iter_close(in);
	range_dels_unref(ranges);
	range_del_list_fini(&list);
	buf_fini(&out);
	vector_fini(&v);
}
END_TEST

START_TEST(operands_become_what_they_mean)
{
	struct vector v = { 0 };
	struct merge_loop_options opts = {
		.snapshots = merge_cases[_i].snapshots,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t)merge_cases[_i].below,
		.zero_seqnos = merge_cases[_i].zero,
		.merge = merge_cases[_i].op,
	};
	struct merge_loop counts;
	struct buf out = { 0 };
	struct iter *in;

	while (merge_cases[_i].snapshots[opts.n_snapshots])
		opts.n_snapshots++;
	vector_parse(&v, merge_cases[_i].in);
	in = vector_iter_new(&v);
	run(in, &opts, &out, &counts);
	ck_assert_msg(
		slice_eq(buf_slice(&out), slice_str(merge_cases[_i].want)),
		"%s: got \"%.*s\", want \"%s\"", merge_cases[_i].name,
		(int)out.len, (const char *)out.data, merge_cases[_i].want);
	ck_assert_uint_eq(counts.n_unmerged, merge_cases[_i].n_unmerged);
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
	  "a#9p9 a#7p7 a#7d a#6p6",
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
	{ "a deletion under what is dropped stays",
	  "a#9p9 a#5d a#4p4",
	  { 9 },
	  0,
	  false,
	  "a=9 ",
	  "a#5d" },
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

START_TEST(the_filter_is_offered_what_operands_became)
{
	static const uint64_t snapshots[] = { 4, 20 };
	struct drops d = { .letters = "a" };
	struct cairn_compaction_filter f = { .name = "test", .drop = drop };
	struct merge_loop_options opts = {
		.snapshots = snapshots,
		.n_snapshots = 2,
		.newest_user_snapshot = 4,
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t) "bc",
		.merge = &joining,
		.filter = &f,
		.filter_job = &d,
	};
	struct vector v = { 0 };
	struct merge_loop counts;
	struct buf out = { 0 };
	struct iter *in;

	vector_parse(&v, "a#9m2 a#5p1 a#3p0 aa#9m2 aa#8m1 b#9m3 b#8p2 "
			 "c#9m2 c#8m1 d#4m2 d#3p1");
	in = vector_iter_new(&v);
	run(in, &opts, &out, &counts);
	ck_assert_msg(slice_eq(buf_slice(&out),
			       slice_str("a#3p0 b#9p2,3 c#9m1,2 d#4p1,2")),
		      "got \"%.*s\"", (int)out.len, (const char *)out.data);
	ck_assert_msg(
		slice_eq(buf_slice(&d.asked), slice_str("a=1,2 aa=1,2 b=2,3 ")),
		"asked \"%.*s\"", (int)d.asked.len, (const char *)d.asked.data);
	ck_assert_uint_eq(counts.n_dropped, v.n - 4);
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
		.merge = &joining,
	};
	struct vector v = { 0 };
	struct merge_loop l;
	struct iter *in;

	/* The deletions are passed over inside one call. */
	vector_parse(&v, "a#9p b#9d c#9d d#9p d#8p e#9s e#8p f#9m f#8m f#7p");
	in = vector_iter_new(&v);
	vector_iter_fail_at(in, (size_t)_i, CAIRN_EIO);
	merge_loop_init(&l, in, &opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		/* Nothing is made of operands of which some are missing. */
		ck_assert_uint_ne(l.key.user_key.data[0], 'f');
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

/*
 * The value of key at seqno with everything applied; false: there is none. What
 * is below the entries, for keys of which something is, is a put of "below".
 * ranges NULL: there are none.
 */
static bool value_at(const struct vector *v, const struct range_dels *ranges,
		     struct cairn_slice key, uint64_t seqno, bool has_below,
		     struct buf *value)
{
	uint64_t deleted = ranges ? range_dels_cover(ranges, key, seqno) : 0;
	bool there = has_below && !deleted;

	ck_assert_int_eq(buf_set(value, slice_str("below")), CAIRN_OK);
	/* Of a key the newest comes first. */
	for (size_t i = v->n; i-- > 0;) {
		const struct vector_entry *e = &v->entries[i];

		if (!slice_eq(e->key.user_key, key) ||
		    ikey_seqno(&e->key) > seqno ||
		    ikey_seqno(&e->key) < deleted)
			continue;
		switch (ikey_kind(&e->key)) {
		case KIND_MERGE:
			if (there)
				ck_assert_int_eq(buf_append(value, ",", 1),
						 CAIRN_OK);
			else
				buf_clear(value);
			ck_assert_int_eq(
				buf_append(value, e->value.data, e->value.len),
				CAIRN_OK);
			there = true;
			break;
		case KIND_PUT:
			ck_assert_int_eq(buf_set(value, e->value), CAIRN_OK);
			there = true;
			break;
		default:
			there = false;
			break;
		}
	}
	return there;
}

/* One change of a key, such that it keeps what single deletions ask for. */
static uint8_t next_kind(struct rng *r, unsigned *puts)
{
	switch (rng_below(r, 6)) {
	case 0:
	case 1:
		++*puts;
		return KIND_PUT;
	case 2:
		*puts = 0;
		return KIND_DELETE;
	case 3:
		if (*puts > 1) {
			*puts = 0;
			return KIND_DELETE;
		}
		*puts = 0;
		return KIND_SINGLE_DELETE;
	default:
		*puts = 2; /* not to be deleted singly */
		return KIND_MERGE;
	}
}

START_TEST(no_reader_sees_that_operands_were_merged)
{
	static const char *const keys[] = { "a", "b", "c", "d", "e" };
	const char *letters = _i % 2 ? "ace" : "";
	struct vector v = { 0 }, after = { 0 };
	struct merge_loop_options opts = {
		.exists_below = below,
		.exists_ctx = (void *)(uintptr_t)letters,
		.zero_seqnos = _i % 3 == 0,
		.merge = _i % 5 == 4   ? NULL
			 : _i % 5 == 3 ? &full_only
				       : &joining,
	};
	struct buf was = { 0 }, is = { 0 };
	struct range_del_list list = { 0 };
	struct range_dels *ranges = NULL;
	unsigned puts[N(keys)];
	uint64_t snapshots[8];
	struct merge_loop l;
	struct iter *in;
	struct rng r;

	rng_init(&r, 1234 + (uint64_t)_i);
	for (size_t k = 0; k < N(keys); k++)
		puts[k] = strchr(letters, *keys[k]) && *letters;
	for (uint64_t seqno = 1; seqno <= 60; seqno++) {
		size_t k = (size_t)rng_below(&r, N(keys));
		uint8_t kind;
		char text[8];

		/* Keys k to the end. */
		if (_i % 4 == 1 && rng_one_in(&r, 12)) {
			struct range_del d = { slice_str(keys[k]),
					       slice_str("f"), seqno };

			ck_assert_int_eq(range_del_list_add(&list, &d),
					 CAIRN_OK);
			memset(&puts[k], 0, (N(keys) - k) * sizeof(puts[0]));
			continue;
		}
		kind = next_kind(&r, &puts[k]);
		snprintf(text, sizeof(text), "%d", (int)seqno);
		vector_add(&v, slice_str(keys[k]), seqno, kind,
			   slice_str(kind == KIND_PUT || kind == KIND_MERGE
					     ? text
					     : ""));
	}
	vector_sort(&v);
	for (uint64_t s = rng_below(&r, 20); s < 50 && opts.n_snapshots < 7;
	     s += 1 + rng_below(&r, 20))
		snapshots[opts.n_snapshots++] = s;
	opts.newest_user_snapshot =
		opts.n_snapshots ? snapshots[opts.n_snapshots - 1] : 0;
	snapshots[opts.n_snapshots++] = 50 + rng_below(&r, 11);
	opts.snapshots = snapshots;

	ck_assert_int_eq(range_dels_new(&list, &ranges), CAIRN_OK);
	opts.range_dels = ranges;
	opts.range_exists_below = range_below;
	in = vector_iter_new(&v);
	merge_loop_init(&l, in, &opts);
	for (merge_loop_first(&l); l.valid; merge_loop_next(&l))
		vector_add(&after, l.key.user_key, ikey_seqno(&l.key),
			   ikey_kind(&l.key), l.value);
	ck_assert_int_eq(l.status, CAIRN_OK);
	ck_assert_uint_eq(l.n_in, v.n);
	ck_assert_uint_eq(l.n_dropped, v.n - after.n);

	for (size_t k = 0; k < N(keys); k++) {
		bool has_below = *letters && strchr(letters, *keys[k]);

		for (size_t i = 0; i < opts.n_snapshots + 11; i++) {
			uint64_t at =
				i < opts.n_snapshots
					? snapshots[i]
					: snapshots[opts.n_snapshots - 1] + i -
						  opts.n_snapshots;
			bool had = value_at(&v, ranges, slice_str(keys[k]), at,
					    has_below, &was);
			bool has = value_at(&after, ranges, slice_str(keys[k]),
					    at, has_below, &is);

			ck_assert_msg(had == has, "key %s at %llu, seed %d",
				      keys[k], (unsigned long long)at, _i);
			if (had)
				ck_assert(slice_eq(buf_slice(&was),
						   buf_slice(&is)));
		}
	}
	merge_loop_fini(&l);
	iter_close(in);
	buf_fini(&was);
	buf_fini(&is);
	range_dels_unref(ranges);
	range_del_list_fini(&list);
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
	tcase_add_loop_test(tc, operands_become_what_they_mean, 0,
			    (int)N(merge_cases));
	tcase_add_loop_test(tc, operands_end_where_a_range_was_deleted, 0,
			    (int)N(range_cases));
	tcase_add_test(tc, new_key_tells_where_a_table_may_end);
	tcase_add_test(tc, the_counters_tell_what_was_read_dropped_and_pinned);
	tcase_add_loop_test(tc, no_reader_sees_a_difference, 0, 300);
	tcase_add_loop_test(tc, no_reader_sees_that_operands_were_merged, 0,
			    300);
	suite_add_tcase(s, tc);

	tc = tcase_create("filter");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, the_filter_is_offered_what_it_may_drop, 0,
			    (int)N(filter_cases));
	tcase_add_test(tc, the_filter_is_offered_what_operands_became);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, keys_out_of_order_are_corruption, 0,
			    (int)N(disorders));
	tcase_add_loop_test(tc, a_failing_input_is_not_the_end_of_it, 0, 10);
	tcase_add_test(tc, a_job_is_cancelled_amid_entries_that_do_not_live_on);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(merge_loop_suite());
}
