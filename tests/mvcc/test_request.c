/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "mvcc/lease.h"
#include "mvcc/request.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

#define N(list) (sizeof(list) / sizeof((list)[0]))

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_fini(&f);
}

/* ------------------------------------------------------------ short words */

static struct cairn_slice text(const char *s)
{
	return s ? S(s) : none();
}

/* "0" as the end: all keys from the first on. */
static struct cairn_slice end_of(const char *s)
{
	return s && strcmp(s, "0") == 0 ? slice_of("", 1) : text(s);
}

static struct mvcc_request PUT(const char *key, const char *value) {
	return (struct mvcc_request){ .kind = MVCC_REQUEST_PUT,
				      .put = { .key = text(key),
					       .value = text(value) } };
}

static struct mvcc_request
RANGE(const char *key, const char *end) {
	return (struct mvcc_request){ .kind = MVCC_REQUEST_RANGE,
				      .range = { .key = text(key),
						 .end = end_of(end) } };
}

static struct mvcc_request
RANGE_AT(const char *key, const char *end, int64_t rev) {
	struct mvcc_request r = RANGE(key, end);

	r.range.rev = rev;
	return r;
}

static struct mvcc_request
DEL(const char *key, const char *end) {
	return (struct mvcc_request){ .kind = MVCC_REQUEST_DELETE,
				      .del = { .key = text(key),
					       .end = end_of(end) } };
}

static struct mvcc_request
TXN(const struct mvcc_request *success, size_t n,
    const struct mvcc_request *failure, size_t m) {
	return (struct mvcc_request){ .kind = MVCC_REQUEST_TXN,
				      .txn = { .success = success,
					       .n_success = n,
					       .failure = failure,
					       .n_failure = m } };
}

static struct mvcc_request
PUT_FLAGS(const char *key, const char *value, int64_t lease, bool ignore_value,
	  bool ignore_lease) {
	struct mvcc_request r = PUT(key, value);

	r.put.lease = lease;
	r.put.ignore_value = ignore_value;
	r.put.ignore_lease = ignore_lease;
	return r;
}

static struct mvcc_answer
ask(struct mvcc_request r)
{
	struct mvcc_answer a;

	ck_ok(mvcc_request(f.m, &r, NULL, &a));
	ck_assert_int_eq(a.refusal, MVCC_REFUSAL_NONE);
	return a;
}

static void done(struct mvcc_request r)
{
	struct mvcc_answer a = ask(r);

	mvcc_answer_free(&a);
}

/* It is refused so, in etcd's words, and nothing happens. */
static void ck_refused(const struct mvcc_request *r, enum mvcc_refusal why)
{
	int64_t before = mvcc_current(f.m);
	struct mvcc_answer a;
	int err = mvcc_request(f.m, r, NULL, &a);

	ck_assert_msg(a.refusal == why, "refused as %d (%s), not %d", a.refusal,
		      cairn_errmsg(), why);
	ck_assert_int_eq(err, mvcc_refusal_code(why));
	ck_assert_str_eq(cairn_errmsg(), mvcc_refusal_text(why));
	ck_assert_int_eq(mvcc_current(f.m), before);
	ck_assert_uint_eq(a.n_rows + a.n_answers, 0);
}

/* The keys of an answer, each one byte long. */
static void ck_keys(const struct mvcc_answer *a, const char *keys)
{
	char got[64];
	size_t n = 0;

	for (; n < a->n_rows && n < sizeof(got) - 1; n++)
		got[n] = (char)a->rows[n].key.data[0];
	got[n] = '\0';
	ck_assert_str_eq(got, keys);
}

static void ck_text(struct cairn_slice got, const char *want)
{
	ck_assert_msg(slice_eq(got, S(want)), "%.*s, not %s", (int)got.len,
		      (const char *)got.data, want);
}

/* ---------------------------------------------------------------- refusals */

START_TEST(refusals_have_the_words_and_the_status_of_etcd)
{
	static const struct {
		enum mvcc_refusal why;
		int status;
		const char *words;
	} table[] = {
		{ MVCC_REFUSAL_NONE, 0, "" },
		{ MVCC_REFUSAL_EMPTY_KEY, 3,
		  "etcdserver: key is not provided" },
		{ MVCC_REFUSAL_VALUE_GIVEN, 3,
		  "etcdserver: value is provided" },
		{ MVCC_REFUSAL_LEASE_GIVEN, 3,
		  "etcdserver: lease is provided" },
		{ MVCC_REFUSAL_NO_KEY, 3, "etcdserver: key not found" },
		{ MVCC_REFUSAL_NO_LEASE, 5,
		  "etcdserver: requested lease not found" },
		{ MVCC_REFUSAL_LEASE_EXISTS, 9,
		  "etcdserver: lease already exists" },
		{ MVCC_REFUSAL_LEASE_TTL, 11,
		  "etcdserver: too large lease TTL" },
		{ MVCC_REFUSAL_TOO_MANY_OPS, 3,
		  "etcdserver: too many operations in txn request" },
		{ MVCC_REFUSAL_DUPLICATE_KEY, 3,
		  "etcdserver: duplicate key given in txn request" },
		{ MVCC_REFUSAL_TOO_LARGE, 3,
		  "etcdserver: request is too large" },
		{ MVCC_REFUSAL_NO_SPACE, 8,
		  "etcdserver: mvcc: database space exceeded" },
		{ MVCC_REFUSAL_COMPACTED, 11,
		  "etcdserver: mvcc: required revision has been compacted" },
		{ MVCC_REFUSAL_FUTURE, 11,
		  "etcdserver: mvcc: required revision is a future revision" },
		{ MVCC_REFUSAL_SORT, 3, "etcdserver: invalid sort option" },
	};

	for (size_t i = 0; i < N(table); i++) {
		ck_assert_str_eq(mvcc_refusal_text(table[i].why),
				 table[i].words);
		ck_assert_int_eq(mvcc_refusal_status(table[i].why),
				 table[i].status);
		ck_assert_int_eq(mvcc_refusal_code(table[i].why) == CAIRN_OK,
				 table[i].why == MVCC_REFUSAL_NONE);
	}
}
END_TEST

START_TEST(a_put_is_refused_for_the_first_reason_there_is)
{
	const struct {
		struct mvcc_request r;
		enum mvcc_refusal why;
	} table[] = {
		{ PUT("", "v"), MVCC_REFUSAL_EMPTY_KEY },
		{ PUT_FLAGS("", "v", 7, true, true), MVCC_REFUSAL_EMPTY_KEY },
		{ PUT_FLAGS("no", "v", 7, true, true),
		  MVCC_REFUSAL_VALUE_GIVEN },
		{ PUT_FLAGS("no", "", 7, true, true),
		  MVCC_REFUSAL_LEASE_GIVEN },
		{ PUT_FLAGS("no", "", 7, true, false), MVCC_REFUSAL_NO_LEASE },
		{ PUT_FLAGS("no", "", -1, true, false), MVCC_REFUSAL_NO_LEASE },
		{ PUT_FLAGS("no", "", 0, true, false), MVCC_REFUSAL_NO_KEY },
		{ PUT_FLAGS("no", "v", 0, false, true), MVCC_REFUSAL_NO_KEY },
		{ PUT_FLAGS("was", "v", 0, false, true), MVCC_REFUSAL_NO_KEY },
	};

	done(PUT("was", "1"));
	done(DEL("was", NULL));
	for (size_t i = 0; i < N(table); i++)
		ck_refused(&table[i].r, table[i].why);
	done(PUT("was", "2"));
	done(PUT_FLAGS("was", "v", 0, false, true));
	done(PUT_FLAGS("was", "", 0, true, true));
	ck_value(f.m, "was", 0, "v");
}
END_TEST

START_TEST(a_transaction_looks_for_the_key_before_the_lease)
{
	struct mvcc_request op = PUT_FLAGS("no", "", 7, true, false);
	struct mvcc_request t = TXN(&op, 1, NULL, 0);

	ck_refused(&t, MVCC_REFUSAL_NO_KEY);
	done(PUT("no", "1"));
	ck_refused(&t, MVCC_REFUSAL_NO_LEASE);
}
END_TEST

START_TEST(a_key_that_is_too_long_is_no_key)
{
	static char key[MVCC_KEY_MAX + 2];
	struct mvcc_request r = PUT(NULL, "v");
	struct mvcc_answer a;

	memset(key, 'k', MVCC_KEY_MAX);
	done(PUT(key, "longest"));
	memset(key, 'k', MVCC_KEY_MAX + 1);
	r.put.key = S(key);
	ck_code(mvcc_request(f.m, &r, NULL, &a), CAIRN_EINVAL);
	ck_assert_int_eq(a.refusal, MVCC_REFUSAL_NONE);
	a = ask(RANGE(key, NULL));
	ck_assert_int_eq(a.count, 0);
	mvcc_answer_free(&a);
	/* As a bound it is as good as any other. */
	a = ask(RANGE(key, "0"));
	ck_assert_int_eq(a.count, 0);
	mvcc_answer_free(&a);
	a = ask(RANGE("a", key));
	ck_assert_int_eq(a.count, 1);
	mvcc_answer_free(&a);
	a = ask(DEL(key, NULL));
	ck_assert_int_eq(a.count, 0);
	mvcc_answer_free(&a);
}
END_TEST

START_TEST(a_range_is_refused_for_its_revision)
{
	struct mvcc_request r;
	struct mvcc_answer a;

	done(PUT("a", "1"));
	done(PUT("a", "2"));
	done(PUT("a", "3")); /* 4 */
	r = RANGE("", NULL);
	r.range.rev = 99;
	ck_refused(&r, MVCC_REFUSAL_EMPTY_KEY);
	r = RANGE_AT("a", NULL, 5);
	ck_refused(&r, MVCC_REFUSAL_FUTURE);
	ck_ok(mvcc_pin(f.m, 2));
	ck_ok(mvcc_compact(f.m, 3, true, NULL));
	/* That it is kept for somebody else is nobody's business. */
	r = RANGE_AT("a", NULL, 2);
	ck_refused(&r, MVCC_REFUSAL_COMPACTED);
	mvcc_unpin(f.m, 2);
	a = ask(RANGE_AT("a", NULL, 3));
	ck_assert_int_eq(a.rev, 4);
	ck_text(a.rows[0].value, "2");
	mvcc_answer_free(&a);
	a = ask(RANGE_AT("a", NULL, -7));
	ck_text(a.rows[0].value, "3");
	mvcc_answer_free(&a);
	r = RANGE("a", NULL);
	r.range.order = (enum mvcc_sort_order)3;
	ck_refused(&r, MVCC_REFUSAL_SORT);
	r = RANGE("a", NULL);
	r.range.target = (enum mvcc_sort_target)5;
	ck_refused(&r, MVCC_REFUSAL_SORT);
}
END_TEST

START_TEST(a_range_in_a_transaction_is_refused_before_anything_is_done)
{
	struct mvcc_request ops[] = { PUT("x", "1"), RANGE_AT("a", NULL, 3) };
	struct mvcc_request t = TXN(ops, 2, NULL, 0);

	done(PUT("a", "1"));
	ck_refused(&t, MVCC_REFUSAL_FUTURE); /* though it would become 3 */
	/* No revision is below -1, the bound of a store never compacted. */
	ops[1].range.rev = -1;
	done(t);
	ops[1].range.rev = -2;
	ck_refused(&t, MVCC_REFUSAL_COMPACTED);
	ck_ok(mvcc_compact(f.m, 0, false, NULL));
	ops[1].range.rev = -1;
	ck_refused(&t, MVCC_REFUSAL_COMPACTED);
	/* Puts are checked first, wherever they stand. */
	ops[0] = RANGE_AT("a", NULL, 77);
	ops[1] = PUT_FLAGS("none", "", 0, true, false);
	ck_refused(&t, MVCC_REFUSAL_NO_KEY);
	/* The other branch does not count. */
	t = TXN(NULL, 0, ops, 2);
	done(t);
}
END_TEST

START_TEST(a_delete_needs_a_key)
{
	struct mvcc_request r = DEL("", "0");

	ck_refused(&r, MVCC_REFUSAL_EMPTY_KEY);
}
END_TEST

START_TEST(compaction_is_refused_in_the_words_of_etcd)
{
	enum mvcc_refusal why;

	done(PUT("a", "1"));
	ck_code(mvcc_compact(f.m, -1, false, &why), CAIRN_EFORGOTTEN);
	ck_assert_int_eq(why, MVCC_REFUSAL_COMPACTED);
	ck_assert_str_eq(cairn_errmsg(), mvcc_refusal_text(why));
	ck_ok(mvcc_compact(f.m, 0, true, &why));
	ck_assert_int_eq(why, MVCC_REFUSAL_NONE);
	ck_code(mvcc_compact(f.m, 0, false, &why), CAIRN_EFORGOTTEN);
	ck_code(mvcc_compact(f.m, 3, false, &why), CAIRN_EFUTURE);
	ck_assert_int_eq(why, MVCC_REFUSAL_FUTURE);
	ck_assert_str_eq(cairn_errmsg(), mvcc_refusal_text(why));
	ck_ok(mvcc_compact(f.m, 2, true, NULL));
}
END_TEST

/* ------------------------------------------------------------ transactions */

START_TEST(a_list_has_128_entries_at_most)
{
	struct mvcc_request ops[129], inner[129], outer[128], t;
	struct mvcc_compare compares[129];

	for (size_t i = 0; i < 129; i++) {
		ops[i] = RANGE("a", NULL);
		inner[i] = RANGE("a", NULL);
		compares[i] = (struct mvcc_compare){ .key = S("a") };
	}
	/* It is noticed before what else is wrong with it. */
	ops[0] = PUT("", NULL);
	t = TXN(ops, 129, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_TOO_MANY_OPS);
	t = TXN(NULL, 0, ops, 129);
	ck_refused(&t, MVCC_REFUSAL_TOO_MANY_OPS);
	ops[0] = RANGE("a", NULL);
	t = TXN(NULL, 0, NULL, 0);
	t.txn.compares = compares;
	t.txn.n_compares = 129;
	ck_refused(&t, MVCC_REFUSAL_TOO_MANY_OPS);
	t.txn.n_compares = 128;
	t.txn.success = ops;
	t.txn.n_success = 128;
	done(t);
	/* One outer op leaves 127, and 128 leave none. */
	outer[0] = TXN(inner, 127, NULL, 0);
	t = TXN(outer, 1, NULL, 0);
	done(t);
	outer[0] = TXN(inner, 128, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_TOO_MANY_OPS);
	outer[0] = TXN(NULL, 0, inner, 127);
	t.txn.compares = compares;
	t.txn.n_compares = 2;
	ck_refused(&t, MVCC_REFUSAL_TOO_MANY_OPS);
	for (size_t i = 0; i < 128; i++)
		outer[i] = TXN(NULL, 0, NULL, 0);
	t = TXN(outer, 128, NULL, 0);
	done(t);
	outer[77] = TXN(inner, 1, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_TOO_MANY_OPS);
}
END_TEST

START_TEST(checks_go_through_compares_success_and_failure_in_order)
{
	struct mvcc_compare c = { .key = none() };
	struct mvcc_request value = PUT_FLAGS("k", "v", 0, true, false);
	struct mvcc_request lease = PUT_FLAGS("k", "", 7, false, true);
	struct mvcc_request nothing = { .kind = MVCC_REQUEST_NONE };
	struct mvcc_request nested = TXN(NULL, 0, &lease, 1);
	struct mvcc_request same[] = { PUT("k", "1"), PUT("k", "2") };
	struct mvcc_request t = TXN(&value, 1, &lease, 1);

	t.txn.compares = &c;
	t.txn.n_compares = 1;
	ck_refused(&t, MVCC_REFUSAL_EMPTY_KEY);
	t.txn.n_compares = 0;
	ck_refused(&t, MVCC_REFUSAL_VALUE_GIVEN);
	t = TXN(&lease, 1, &value, 1);
	ck_refused(&t, MVCC_REFUSAL_LEASE_GIVEN);
	t = TXN(&nested, 1, &value, 1);
	ck_refused(&t, MVCC_REFUSAL_LEASE_GIVEN);
	t = TXN(&nothing, 1, &value, 1);
	ck_refused(&t, MVCC_REFUSAL_NO_KEY);
	ck_refused(&nothing, MVCC_REFUSAL_NO_KEY);
	/* Keys in two places are looked for at last. */
	t = TXN(same, 2, &value, 1);
	ck_refused(&t, MVCC_REFUSAL_VALUE_GIVEN);
	t = TXN(same, 2, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
	t = TXN(NULL, 0, same, 2);
	ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
	/* A key may be in both lists. */
	t = TXN(&same[0], 1, &same[1], 1);
	done(t);
}
END_TEST

START_TEST(what_changes_a_key_twice_is_refused)
{
	const struct {
		struct mvcc_request a, b;
		bool refused;
	} table[] = {
		{ PUT("b", ""), PUT("b", ""), true },
		{ PUT("b", ""), PUT("c", ""), false },
		{ PUT("b", ""), DEL("b", NULL), true },
		{ PUT("b", ""), DEL("a", NULL), false },
		{ PUT("b", ""), DEL("a", "b"), false },
		{ PUT("b", ""), DEL("b", "c"), true },
		{ PUT("b", ""), DEL("a", "bb"), true },
		{ PUT("b", ""), DEL("c", "a"), false },
		{ PUT("b", ""), DEL("b", "0"), true }, /* etcd overlooks it */
		{ PUT("b", ""), DEL("c", "0"), false },
		{ DEL("a", "z"), DEL("b", "0"), false },
		{ PUT("b", ""), RANGE("b", NULL), false },
	};

	for (size_t i = 0; i < N(table); i++) {
		struct mvcc_request ops[2] = { table[i].a, table[i].b };
		struct mvcc_request back[2] = { table[i].b, table[i].a };
		struct mvcc_request t = TXN(ops, 2, NULL, 0);
		struct mvcc_request u = TXN(NULL, 0, back, 2);

		if (!table[i].refused) {
			done(t);
			done(u);
			continue;
		}
		ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
		ck_refused(&u, MVCC_REFUSAL_DUPLICATE_KEY);
	}
}
END_TEST

START_TEST(branches_of_a_nested_transaction_exclude_each_other)
{
	struct mvcc_request put = PUT("b", ""), del = DEL("a", "c");
	struct mvcc_request ops[2];
	struct mvcc_request t = TXN(ops, 2, NULL, 0);

	ops[0] = TXN(&put, 1, &put, 1);
	ops[1] = RANGE("b", NULL);
	done(t);
	ops[0] = TXN(&put, 1, &del, 1);
	done(t);
	ops[1] = TXN(&put, 1, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
	/* etcd overlooks this one, but not the other way round. */
	ops[0] = TXN(&put, 1, NULL, 0);
	ops[1] = TXN(NULL, 0, &del, 1);
	ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
	ops[0] = TXN(NULL, 0, &del, 1);
	ops[1] = TXN(&put, 1, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
	ops[0] = put;
	ops[1] = TXN(&del, 1, NULL, 0);
	ck_refused(&t, MVCC_REFUSAL_DUPLICATE_KEY);
}
END_TEST

/* --------------------------------- overlaps, against looking at all pairs */

static uint64_t state = 88172645463325252u;

static unsigned rnd(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

/* A tree of ops, with the branches that lead to each put and delete. */
#define DEPTH_MAX 4
struct leaf {
	struct mvcc_request r;
	int depth;
	int txn[DEPTH_MAX];    /* op of its list that is a transaction */
	int branch[DEPTH_MAX]; /* of it: 0 or 1 */
};

struct tree {
	struct mvcc_request ops[512];
	size_t n_ops;
	struct leaf leaves[512];
	size_t n_leaves;
};

static const char *const names[] = { "a", "b", "bb", "c", "d",
				     "e", "f", "g",  "h", "i" };

static struct mvcc_request random_leaf(void)
{
	const char *key = names[rnd(N(names))];

	switch (rnd(4)) {
	case 0:
		return DEL(key, NULL);
	case 1:
		return DEL(key, rnd(8) ? names[rnd(N(names))] : "0");
	default:
		return PUT(key, "v");
	}
}

static const struct mvcc_request *grow(struct tree *t, struct leaf at,
				       size_t *n)
{
	struct mvcc_request *list = &t->ops[t->n_ops];

	*n = rnd(3);
	if (t->n_ops + *n > N(t->ops) || at.depth == DEPTH_MAX)
		*n = 0;
	t->n_ops += *n;
	for (size_t i = 0; i < *n; i++) {
		struct leaf next = at;

		if (rnd(3) || at.depth + 1 >= DEPTH_MAX) {
			list[i] = next.r = random_leaf();
			next.txn[at.depth] = (int)i;
			next.depth = at.depth + 1;
			next.branch[at.depth] = -1;
			t->leaves[t->n_leaves++] = next;
			continue;
		}
		next.txn[at.depth] = (int)i;
		next.depth = at.depth + 1;
		list[i] = (struct mvcc_request){ .kind = MVCC_REQUEST_TXN };
		next.branch[at.depth] = 0;
		list[i].txn.success = grow(t, next, &list[i].txn.n_success);
		next.branch[at.depth] = 1;
		list[i].txn.failure = grow(t, next, &list[i].txn.n_failure);
	}
	return list;
}

/* In two branches of the same transaction. */
static bool exclusive(const struct leaf *a, const struct leaf *b)
{
	for (int i = 0; i < a->depth && i < b->depth; i++) {
		if (a->txn[i] != b->txn[i])
			return false;
		if (a->branch[i] != b->branch[i])
			return true;
	}
	return false;
}

static bool covers(const struct mvcc_delete_request *d, struct cairn_slice key)
{
	if (!d->end.len)
		return slice_eq(d->key, key);
	if (slice_cmp(key, d->key) < 0)
		return false;
	return slice_eq(d->end, slice_of("", 1)) || slice_cmp(key, d->end) < 0;
}

static bool clash(const struct leaf *a, const struct leaf *b)
{
	if (a->r.kind == MVCC_REQUEST_DELETE &&
	    b->r.kind == MVCC_REQUEST_DELETE)
		return false;
	if (a->r.kind == MVCC_REQUEST_DELETE)
		return covers(&a->r.del, b->r.put.key);
	if (b->r.kind == MVCC_REQUEST_DELETE)
		return covers(&b->r.del, a->r.put.key);
	return slice_eq(a->r.put.key, b->r.put.key);
}

START_TEST(overlaps_are_those_that_looking_at_all_pairs_finds)
{
	struct tree *t = malloc(sizeof(*t));
	size_t refused = 0, rounds = 5000;

	ck_assert_ptr_nonnull(t);
	for (size_t round = 0; round < rounds; round++) {
		struct mvcc_request r = { .kind = MVCC_REQUEST_TXN };
		struct mvcc_answer a;
		bool want = false;
		int err;

		t->n_ops = 0;
		t->n_leaves = 0;
		r.txn.success = grow(t, (struct leaf){ 0 }, &r.txn.n_success);
		for (size_t i = 0; i < t->n_leaves; i++) {
			for (size_t j = 0; j < i; j++)
				want |= !exclusive(&t->leaves[i],
						   &t->leaves[j]) &&
					clash(&t->leaves[i], &t->leaves[j]);
		}
		err = mvcc_request(f.m, &r, NULL, &a);
		ck_assert_msg((a.refusal == MVCC_REFUSAL_DUPLICATE_KEY) == want,
			      "round %zu: %d", round, a.refusal);
		ck_assert_int_eq(err != CAIRN_OK, want);
		refused += want;
		mvcc_answer_free(&a);
	}
	/* Of both enough to mean something. */
	ck_assert_uint_gt(refused, rounds / 20);
	ck_assert_uint_lt(refused, rounds - rounds / 20);
	free(t);
}
END_TEST

/* ---------------------------------------------------------------- compares */

static bool holds(const char *key, const char *end,
		  enum mvcc_compare_target target,
		  enum mvcc_compare_result result, int64_t number,
		  const char *value)
{
	struct mvcc_compare c = { .key = S(key),
				  .end = end_of(end),
				  .target = target,
				  .result = result,
				  .number = number,
				  .value = text(value) };
	struct mvcc_request t = TXN(NULL, 0, NULL, 0);
	struct mvcc_answer a;
	bool ok;

	t.txn.compares = &c;
	t.txn.n_compares = 1;
	a = ask(t);
	ok = a.succeeded;
	mvcc_answer_free(&a);
	return ok;
}

START_TEST(compares_look_at_numbers_and_values)
{
	static const struct {
		const char *key, *end;
		enum mvcc_compare_target target;
		int64_t number;
		const char *value;
		int order; /* of the key's and this; 2: none, never holds */
	} table[] = {
		{ "a", NULL, MVCC_COMPARE_VERSION, 2, NULL, 0 },
		{ "a", NULL, MVCC_COMPARE_VERSION, 1, NULL, 1 },
		{ "a", NULL, MVCC_COMPARE_CREATE, 2, NULL, 0 },
		{ "a", NULL, MVCC_COMPARE_CREATE, 3, NULL, -1 },
		{ "a", NULL, MVCC_COMPARE_MOD, 3, NULL, 0 },
		{ "a", NULL, MVCC_COMPARE_MOD, -3, NULL, 1 },
		{ "a", NULL, MVCC_COMPARE_LEASE, 0, NULL, 0 },
		{ "a", NULL, MVCC_COMPARE_VALUE, 0, "two", 0 },
		{ "a", NULL, MVCC_COMPARE_VALUE, 0, "tw", 1 },
		{ "a", NULL, MVCC_COMPARE_VALUE, 0, "u", -1 },
		{ "no", NULL, MVCC_COMPARE_VERSION, 0, NULL, 0 },
		{ "no", NULL, MVCC_COMPARE_MOD, 1, NULL, -1 },
		{ "no", NULL, MVCC_COMPARE_VALUE, 0, "", 2 },
		{ "n", "o", MVCC_COMPARE_VALUE, 0, "x", 2 },
		{ "n", "o", MVCC_COMPARE_CREATE, -1, NULL, 1 },
		{ "z", "b", MVCC_COMPARE_CREATE, 0, NULL, 0 },
		{ "a", "c", MVCC_COMPARE_MOD, 5, NULL, -1 },
		{ "a", "0", MVCC_COMPARE_CREATE, 0, NULL, 1 },
		{ "a", "0", MVCC_COMPARE_VERSION, 1, NULL, 3 },
	};

	done(PUT("a", "one"));
	done(PUT("a", "two"));
	done(PUT("b", "x"));
	for (size_t i = 0; i < N(table); i++) {
		int o = table[i].order;
		bool got[4];

		for (int r = MVCC_COMPARE_EQUAL; r <= MVCC_COMPARE_NOT_EQUAL;
		     r++)
			got[r] = holds(table[i].key, table[i].end,
				       table[i].target,
				       (enum mvcc_compare_result)r,
				       table[i].number, table[i].value);
		/* 3: the keys differ in it, so that nothing holds for all. */
		ck_assert_msg(got[MVCC_COMPARE_EQUAL] == (o == 0) &&
				      got[MVCC_COMPARE_GREATER] == (o == 1) &&
				      got[MVCC_COMPARE_LESS] == (o == -1) &&
				      got[MVCC_COMPARE_NOT_EQUAL] ==
					      (o == 1 || o == -1),
			      "entry %zu", i);
	}
}
END_TEST

START_TEST(values_in_chunks_are_compared_to_their_end)
{
	static char value[200 * CHUNK];

	for (size_t i = 0; i < sizeof(value) - 1; i++)
		value[i] = (char)('a' + i % 23);
	done(PUT("a", value));
	ck_assert(holds("a", NULL, MVCC_COMPARE_VALUE, MVCC_COMPARE_EQUAL, 0,
			value));
	value[sizeof(value) - 2]++;
	ck_assert(holds("a", NULL, MVCC_COMPARE_VALUE, MVCC_COMPARE_LESS, 0,
			value));
	value[sizeof(value) - 2] = '\0';
	ck_assert(holds("a", NULL, MVCC_COMPARE_VALUE, MVCC_COMPARE_GREATER, 0,
			value));
	value[3]--;
	ck_assert(holds("a", NULL, MVCC_COMPARE_VALUE, MVCC_COMPARE_GREATER, 0,
			value));
}
END_TEST

START_TEST(all_compares_look_at_the_state_before_the_transaction)
{
	struct mvcc_compare absent = { .key = S("k") };
	struct mvcc_request yes = PUT("yes", ""), no = PUT("no", "");
	struct mvcc_request ops[2] = { PUT("k", "1"), TXN(&yes, 1, &no, 1) };
	struct mvcc_request t = TXN(ops, 2, NULL, 0);
	struct mvcc_answer a;

	ops[1].txn.compares = &absent;
	ops[1].txn.n_compares = 1;
	a = ask(t);
	ck_assert_int_eq(a.rev, 2);
	ck_assert(a.answers[1].succeeded);
	ck_assert_int_eq(a.answers[1].rev, 0);
	ck_assert_int_eq(a.answers[1].answers[0].rev, 2);
	mvcc_answer_free(&a);
	ck_value(f.m, "yes", 0, "");
	ck_value(f.m, "no", 0, NULL);
	a = ask(t);
	ck_assert(!a.answers[1].succeeded);
	mvcc_answer_free(&a);
	ck_value(f.m, "no", 0, "");
}
END_TEST

/* ------------------------------------------------------------------ running */

START_TEST(ops_see_what_earlier_ones_did)
{
	struct mvcc_request ops[] = {
		RANGE("a", "0"),       DEL("a", NULL),   RANGE("a", "0"),
		PUT("c", "new"),       DEL("x", "y"),    RANGE("a", "0"),
		RANGE_AT("a", "0", 3), RANGE("c", NULL), RANGE("a", NULL),
		DEL("a", "b"),
	};
	struct mvcc_answer a;

	done(PUT("a", "1"));
	done(PUT("b", "2")); /* 3 */
	done(PUT("d", "3"));
	ops[5].range.order = MVCC_SORT_DESCEND;
	ops[7].range.keys_only = true;
	a = ask(TXN(ops, N(ops), NULL, 0));
	ck_assert_int_eq(a.rev, 5);
	ck_assert_int_eq(a.answers[0].rev, 4);
	ck_keys(&a.answers[0], "abd");
	ck_assert_int_eq(a.answers[1].rev, 5);
	ck_assert_int_eq(a.answers[1].count, 1);
	ck_assert_int_eq(a.answers[2].rev, 5);
	ck_keys(&a.answers[2], "bd");
	ck_assert_int_eq(a.answers[3].rev, 5);
	ck_assert_int_eq(a.answers[4].count, 0);
	ck_keys(&a.answers[5], "dcb");
	ck_text(a.answers[5].rows[1].value, "new");
	ck_assert_int_eq(a.answers[5].rows[1].main, 5);
	ck_assert_int_eq(a.answers[5].rows[1].sub, 1);
	ck_keys(&a.answers[6], "ab");
	ck_keys(&a.answers[7], "c");
	ck_assert_ptr_null(a.answers[7].rows[0].value.data);
	ck_assert_uint_eq(a.answers[7].rows[0].size, 3);
	ck_assert_int_eq(a.answers[8].count, 0);
	/* What is deleted is not deleted again. */
	ck_assert_int_eq(a.answers[9].count, 0);
	mvcc_answer_free(&a);
}
END_TEST

START_TEST(a_transaction_that_changes_nothing_is_no_revision)
{
	struct mvcc_request ops[] = { DEL("x", NULL), RANGE("a", NULL) };
	struct mvcc_answer a;

	done(PUT("a", "1"));
	a = ask(TXN(ops, 2, NULL, 0));
	ck_assert_int_eq(a.rev, 2);
	ck_assert_int_eq(a.answers[0].rev, 2);
	mvcc_answer_free(&a);
	ck_assert_int_eq(mvcc_current(f.m), 2);
}
END_TEST

START_TEST(old_rows_are_told_when_asked_for)
{
	struct mvcc_request r = PUT("a", "1");
	struct mvcc_answer a;

	r.put.prev = true;
	a = ask(r);
	ck_assert_uint_eq(a.n_rows, 0);
	mvcc_answer_free(&a);
	r.put.value = S("2");
	a = ask(r);
	ck_assert_uint_eq(a.n_rows, 1);
	ck_text(a.rows[0].value, "1");
	ck_assert_int_eq(a.rows[0].main, 2);
	mvcc_answer_free(&a);
	done(PUT("b", "3"));
	r = DEL("a", "0");
	r.del.prev = true;
	a = ask(r);
	ck_assert_int_eq(a.count, 2);
	ck_keys(&a, "ab");
	ck_text(a.rows[0].value, "2");
	ck_assert_int_eq(a.rev, 5);
	mvcc_answer_free(&a);
	/* One revision, its changes counted in order of the keys. */
	ck_assert_int_eq(mvcc_current(f.m), 5);
}
END_TEST

START_TEST(large_values_are_put_read_kept_and_deleted)
{
	static char value[10 * CHUNK];
	struct mvcc_request ops[4];
	struct mvcc_answer a;

	memset(value, 'v', sizeof(value) - 1);
	ops[0] = PUT("big", value);
	ops[1] = RANGE("big", NULL);
	ops[2] = PUT("other", value);
	ops[3] = RANGE("a", "0");
	a = ask(TXN(ops, N(ops), NULL, 0));
	ck_text(a.answers[1].rows[0].value, value);
	ck_assert_uint_eq(a.answers[3].n_rows, 2);
	ck_text(a.answers[3].rows[1].value, value);
	mvcc_answer_free(&a);
	ops[0] = PUT_FLAGS("big", "", 0, true, false);
	ops[2] = RANGE("other", NULL);
	a = ask(TXN(ops, 3, NULL, 0));
	ck_text(a.answers[1].rows[0].value, value);
	ck_assert_int_eq(a.answers[1].rows[0].version, 2);
	mvcc_answer_free(&a);
	fixture_reopen(&f);
	ck_value(f.m, "big", 0, value);
	ck_value(f.m, "big", 2, value);
	ck_value(f.m, "other", 0, value);
	/* Nothing of a branch that is not taken stays. */
	ops[0] = PUT("never", value);
	done(TXN(NULL, 0, ops, 1));
	ck_value(f.m, "never", 0, NULL);
	done(DEL("a", "0"));
	ck_ok(mvcc_forget(f.m, mvcc_current(f.m)));
	fixture_reopen(&f);
	compact(f.m);
	ck_value(f.m, "big", 0, NULL);
}
END_TEST

START_TEST(a_kept_value_keeps_its_attributes)
{
	const struct mvcc_attrs attrs = { .has_mode = true, .mode = 0640 };
	struct mvcc_request r = PUT("a", "1");
	struct mvcc_answer a;

	r.put.attrs = &attrs;
	done(r);
	done(PUT_FLAGS("a", "", 0, true, false));
	a = ask(RANGE("a", NULL));
	ck_assert(a.rows[0].attrs.has_mode);
	ck_assert_uint_eq(a.rows[0].attrs.mode, 0640);
	ck_assert_int_eq(a.rows[0].version, 2);
	mvcc_answer_free(&a);
	done(PUT("a", "2"));
	a = ask(RANGE("a", NULL));
	ck_assert(!a.rows[0].attrs.has_mode);
	mvcc_answer_free(&a);
}
END_TEST

START_TEST(a_row_that_is_told_has_its_xattrs)
{
	/* user.a is 1, user.b is empty. */
	static const char xattrs[] = "\x06user.a\x01"
				     "1\x06user.b\x00";
	const struct mvcc_attrs attrs = {
		.xattrs = slice_of(xattrs, sizeof(xattrs) - 1),
	};
	struct mvcc_request r = PUT("a", "value");
	struct mvcc_answer a;

	r.put.attrs = &attrs;
	done(r);
	r = RANGE("a", NULL);
	a = ask(r);
	ck_assert(slice_eq(a.rows[0].attrs.xattrs, attrs.xattrs));
	ck_text(a.rows[0].value, "value");
	mvcc_answer_free(&a);
	r.range.keys_only = true;
	a = ask(r);
	ck_assert(slice_eq(a.rows[0].attrs.xattrs, attrs.xattrs));
	ck_assert_uint_eq(a.rows[0].value.len, 0);
	mvcc_answer_free(&a);
}
END_TEST

START_TEST(puts_attach_keys_to_leases)
{
	int64_t id = 77, granted;
	struct mvcc_answer a;

	ck_ok(mvcc_lease_grant(f.m, 60, &id, &granted));
	done(PUT_FLAGS("a", "1", 77, false, false));
	done(PUT_FLAGS("a", "2", 0, false, true));
	done(PUT_FLAGS("b", "1", 77, false, false));
	done(PUT("b", "2"));
	a = ask(RANGE("a", "0"));
	ck_assert_int_eq(a.rows[0].lease, 77);
	ck_assert_int_eq(a.rows[1].lease, 0);
	mvcc_answer_free(&a);
	ck_ok(mvcc_lease_revoke(f.m, 77, NULL));
	ck_value(f.m, "a", 0, NULL);
	ck_value(f.m, "b", 0, "2");
}
END_TEST

/* ------------------------------------------------------------------- ranges */

START_TEST(sorting_filtering_and_cutting_off_come_in_this_order)
{
	static const struct {
		struct mvcc_range_request q;
		const char *keys;
		int64_t count;
		bool more;
	} table[] = {
		{ { .limit = 2 }, "ab", 4, true },
		{ { .limit = 4 }, "abcd", 4, false },
		{ { .limit = -3 }, "abcd", 4, false },
		{ { .limit = 2, .order = MVCC_SORT_DESCEND }, "dc", 4, true },
		{ { .target = MVCC_SORT_VALUE }, "dcba", 4, false },
		{ { .target = MVCC_SORT_VALUE, .keys_only = true, .limit = 1 },
		  "d",
		  4,
		  true },
		{ { .target = MVCC_SORT_MOD, .order = MVCC_SORT_DESCEND },
		  "adcb",
		  4,
		  false },
		/* Ties in order of the keys, in both directions. */
		{ { .target = MVCC_SORT_VERSION }, "bcda", 4, false },
		{ { .target = MVCC_SORT_VERSION, .order = MVCC_SORT_DESCEND },
		  "abcd",
		  4,
		  false },
		{ { .target = MVCC_SORT_VERSION, .limit = 2 }, "bc", 4, true },
		{ { .target = MVCC_SORT_CREATE,
		    .order = MVCC_SORT_DESCEND,
		    .limit = 3 },
		  "dcb",
		  4,
		  true },
		{ { .min_mod = 4 }, "acd", 4, false },
		{ { .max_mod = 4 }, "bc", 4, false },
		{ { .min_create = 3, .max_create = 4 }, "bc", 4, false },
		{ { .min_create = 3, .limit = 2 }, "bc", 4, true },
		{ { .min_create = 3, .limit = 3 }, "bcd", 4, false },
		{ { .count_only = true, .limit = 1, .min_mod = 99 },
		  "",
		  4,
		  false },
		{ { .no_count = true, .limit = 2 }, "ab", 3, true },
		{ { .no_count = true, .limit = 4 }, "abcd", 4, false },
		{ { .no_count = true, .target = MVCC_SORT_VALUE, .limit = 1 },
		  "d",
		  4,
		  true },
	};

	done(PUT("a", "1")); /* 2 */
	done(PUT("b", "8"));
	done(PUT("c", "7"));
	done(PUT("d", "6"));
	done(PUT("a", "9")); /* 6 */
	for (size_t i = 0; i < N(table); i++) {
		struct mvcc_request r = { .kind = MVCC_REQUEST_RANGE,
					  .range = table[i].q };
		struct mvcc_answer a;

		r.range.key = S("a");
		r.range.end = slice_of("", 1);
		a = ask(r);
		ck_keys(&a, table[i].keys);
		ck_assert_msg(a.count == table[i].count &&
				      a.more == table[i].more && a.rev == 6,
			      "entry %zu: %lld %d", i, (long long)a.count,
			      a.more);
		mvcc_answer_free(&a);
	}
}
END_TEST

START_TEST(a_limit_of_many_rows_sorts_the_best_ones_out)
{
	struct mvcc_request r = RANGE("k", "l");
	struct mvcc_answer a;
	char key[16], value[16];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%04d", i);
		snprintf(value, sizeof(value), "%04d", i * 7919 % 2000);
		done(PUT(key, value));
	}
	r.range.target = MVCC_SORT_VALUE;
	r.range.limit = 5;
	a = ask(r);
	ck_assert_uint_eq(a.n_rows, 5);
	for (int i = 0; i < 5; i++) {
		snprintf(value, sizeof(value), "%04d", i);
		ck_text(a.rows[i].value, value);
	}
	ck_assert_int_eq(a.count, 2000);
	ck_assert(a.more);
	mvcc_answer_free(&a);
}
END_TEST

/* The answer to a range asked in a transaction, after its changes, is the one
 * that is given to everybody afterwards. */
START_TEST(the_view_of_a_transaction_is_what_it_leaves_behind)
{
	for (int round = 0; round < 600; round++) {
		struct mvcc_request ops[8], last;
		struct mvcc_answer in, after;
		size_t n = 0;

		for (size_t i = 0; i < N(names); i++) {
			unsigned what = rnd(4);

			if (what == 0 && n < 7)
				ops[n++] = PUT(names[i], names[rnd(N(names))]);
			else if (what == 1 && n < 7)
				ops[n++] = DEL(names[i], NULL);
		}
		ops[n] = RANGE(names[rnd(N(names))],
			       rnd(3) ? "0" : names[rnd(N(names))]);
		if (!rnd(6))
			ops[n].range.end = none();
		ops[n].range.order = (enum mvcc_sort_order)rnd(3);
		ops[n].range.target = (enum mvcc_sort_target)rnd(5);
		ops[n].range.limit = rnd(2) ? 0 : rnd(4);
		last = ops[n++];
		in = ask(TXN(ops, n, NULL, 0));
		after = ask(last);
		ck_assert_int_eq(in.rev, after.rev);
		ck_assert_int_eq(in.answers[n - 1].count, after.count);
		ck_assert_int_eq(in.answers[n - 1].more, after.more);
		ck_assert_uint_eq(in.answers[n - 1].n_rows, after.n_rows);
		for (size_t i = 0; i < after.n_rows; i++) {
			const struct mvcc_row *x = &in.answers[n - 1].rows[i];
			const struct mvcc_row *y = &after.rows[i];

			ck_assert(slice_eq(x->key, y->key));
			ck_assert(slice_eq(x->value, y->value));
			ck_assert_int_eq(x->main, y->main);
			ck_assert_int_eq(x->sub, y->sub);
			ck_assert_int_eq(x->create_rev, y->create_rev);
			ck_assert_int_eq(x->version, y->version);
		}
		mvcc_answer_free(&in);
		mvcc_answer_free(&after);
		if (!rnd(100))
			compact(f.m);
	}
}
END_TEST

struct seen {
	size_t n;
	size_t stop_at;
	int stop_with;
	uint64_t bytes;
};

static int see(void *ctx, const struct mvcc_row *row)
{
	struct seen *s = ctx;
	char *value;

	if (++s->n == s->stop_at)
		return s->stop_with;
	if (row->value.data || row->object) {
		value = read_row(f.m, row);
		s->bytes += strlen(value);
		free(value);
	}
	return CAIRN_OK;
}

START_TEST(rows_are_given_one_by_one)
{
	static char value[4 * CHUNK];
	struct mvcc_range_request q = { .key = S("a"), .end = slice_of("", 1) };
	struct seen s = { 0 };
	struct mvcc_answer a;

	memset(value, 'v', sizeof(value) - 1);
	done(PUT("a", "1"));
	done(PUT("b", value));
	done(PUT("c", ""));
	ck_ok(mvcc_range(f.m, &q, NULL, see, &s, &a));
	ck_assert_uint_eq(s.n, 3);
	ck_assert_uint_eq(s.bytes, 4 * CHUNK);
	ck_assert_int_eq(a.count, 3);
	ck_assert_uint_eq(a.n_rows, 0);
	mvcc_answer_free(&a);
	q.keys_only = true;
	q.target = MVCC_SORT_MOD;
	s = (struct seen){ 0 };
	ck_ok(mvcc_range(f.m, &q, NULL, see, &s, &a));
	ck_assert_uint_eq(s.n, 3);
	ck_assert_uint_eq(s.bytes, 0);
	mvcc_answer_free(&a);
	/* Whatever it returns ends it. */
	for (int with = -5; with <= 5; with++) {
		s = (struct seen){ .stop_at = 2, .stop_with = with };
		q.target = with % 2 ? MVCC_SORT_KEY : MVCC_SORT_MOD;
		ck_code(mvcc_range(f.m, &q, NULL, see, &s, &a), with);
		ck_assert_uint_eq(s.n, with ? 2 : 3);
		mvcc_answer_free(&a);
	}
	q.key = none();
	ck_code(mvcc_range(f.m, &q, NULL, see, &s, &a), CAIRN_EINVAL);
	ck_assert_int_eq(a.refusal, MVCC_REFUSAL_EMPTY_KEY);
}
END_TEST

/* ------------------------------------------------------------------- limits */

/* A put of key k: two bytes and the key, four and the value. */
START_TEST(a_request_may_be_a_mebibyte_and_a_half)
{
	const size_t max = (size_t)3 << 19, other = 3 + 4;
	char *value = malloc(max);
	struct mvcc_request r = PUT("k", NULL), t;
	struct mvcc_request_options o = { .request_bytes_max = 20 };
	struct mvcc_answer a;

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', max);
	r.put.value = slice_of(value, max - other);
	done(r);
	r.put.value.len++;
	ck_refused(&r, MVCC_REFUSAL_TOO_LARGE);
	t = TXN(NULL, 0, &r, 1);
	ck_refused(&t, MVCC_REFUSAL_TOO_LARGE);
	/* What is wrong with it otherwise is told first. */
	r.put.ignore_value = true;
	ck_refused(&r, MVCC_REFUSAL_VALUE_GIVEN);
	/* Only what changes something has to be passed around. */
	r = RANGE("a", NULL);
	r.range.key = slice_of(value, max);
	done(r);
	r = PUT("k", "fourteen bytes");
	ck_ok(mvcc_request(f.m, &r, &o, &a));
	mvcc_answer_free(&a);
	o.request_bytes_max = 18;
	ck_code(mvcc_request(f.m, &r, &o, &a), CAIRN_EINVAL);
	ck_assert_int_eq(a.refusal, MVCC_REFUSAL_TOO_LARGE);
	free(value);
}
END_TEST

START_TEST(an_answer_that_is_too_long_is_none)
{
	struct mvcc_request_options o = { .answer_bytes_max = 1000 };
	struct mvcc_request r = RANGE("a", "0"), t;
	struct mvcc_request ops[2] = { PUT("z", "1"), r };
	struct seen s = { 0 };
	struct mvcc_answer a;

	done(PUT("a", "1"));
	ck_ok(mvcc_request(f.m, &r, &o, &a));
	mvcc_answer_free(&a);
	for (char key[] = "b"; key[0] <= 'k'; key[0]++)
		done(PUT(key, "0123456789"));
	ck_code(mvcc_request(f.m, &r, &o, &a), CAIRN_EINVAL);
	ck_assert_int_eq(a.refusal, MVCC_REFUSAL_NONE);
	ck_assert_uint_eq(a.n_rows, 0);
	t = TXN(ops, 2, NULL, 0);
	ck_code(mvcc_request(f.m, &t, &o, &a), CAIRN_EINVAL);
	ck_value(f.m, "z", 0, NULL);
	ck_ok(mvcc_range(f.m, &r.range, &o, see, &s, &a));
	ck_assert_uint_eq(s.n, 11);
	r.range.limit = 3;
	ck_ok(mvcc_request(f.m, &r, &o, &a));
	ck_keys(&a, "abc");
	mvcc_answer_free(&a);
}
END_TEST

/* -------------------------------------------------------------------- quota */

START_TEST(a_full_store_refuses_requests_with_a_put_in_any_branch)
{
	char large[30000] = "";
	struct mvcc_request del = DEL("fill0000", NULL), put = PUT("k", "v");
	struct mvcc_request nested = TXN(NULL, 0, &put, 1);
	struct mvcc_request full[] = {
		put,
		PUT_FLAGS("fill0000", NULL, 0, true, true),
		/* Before it is looked whether there is such a lease. */
		PUT_FLAGS("k", "v", 77, false, false),
		TXN(&put, 1, NULL, 0),
		TXN(&del, 1, &put, 1),
		TXN(&nested, 1, NULL, 0),
	};
	struct mvcc_request others[] = {
		RANGE("fill0000", "0"), RANGE_AT("fill0000", NULL, 2),
		DEL("fill0001", NULL),  TXN(&del, 1, NULL, 0),
		TXN(NULL, 0, &put, 0),
	};
	struct mvcc_request bad = PUT("", "v");
	struct mvcc_answer a;
	int n = fixture_fill(&f);

	for (size_t i = 0; i < N(full); i++)
		ck_refused(&full[i], MVCC_REFUSAL_NO_SPACE);
	ck_refused(&bad, MVCC_REFUSAL_EMPTY_KEY);
	ck_value(f.m, "k", 0, NULL);
	for (size_t i = 0; i < N(others); i++)
		done(others[i]);
	ck_value(f.m, "fill0000", 0, NULL);
	ck_value(f.m, "fill0001", 0, NULL);
	a = ask(RANGE("fill0000", "0"));
	ck_assert_int_eq(a.count, n - 2);
	mvcc_answer_free(&a);
	/* Nothing of a large value stays behind, either. */
	memset(large, 'v', sizeof(large) - 1);
	put = PUT("k", large);
	ck_refused(&put, MVCC_REFUSAL_NO_SPACE);
	ck_assert_uint_eq(count_entries(f.m, "c"), 0);
	ck_assert_uint_eq(count_entries(f.m, "o"), 0);
}
END_TEST

START_TEST(a_full_store_takes_puts_again_when_enough_was_deleted_and_compacted)
{
	struct mvcc_request put = PUT("k", "v");
	enum mvcc_refusal why;
	struct mvcc_answer a;

	(void)fixture_fill(&f);
	ck_refused(&put, MVCC_REFUSAL_NO_SPACE);
	done(DEL("fill", "fill9"));
	ck_ok(mvcc_compact(f.m, mvcc_current(f.m), false, &why));
	ck_assert_int_eq(why, MVCC_REFUSAL_NONE);
	/* Nobody flushes, compacts or clears an alarm. */
	while (mvcc_request(f.m, &put, NULL, &a)) {
		ck_assert_int_eq(a.refusal, MVCC_REFUSAL_NO_SPACE);
		usleep(1000);
	}
	mvcc_answer_free(&a);
	ck_value(f.m, "k", 0, "v");
}
END_TEST

START_TEST(a_put_that_is_too_large_for_what_is_left_is_refused_alone)
{
	char *value = calloc(1, (1 << 20) + 1);
	struct cairn_options *o = small_options(f.env);
	struct mvcc_options mo = { .engine = o };
	struct mvcc_request put;
	struct mvcc_answer a;

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', 1 << 20);
	ck_ok(mvcc_close(f.m));
	ck_ok(cairn_options_set(o, "quota", "256K"));
	/* One row, or many chunks. */
	mo.chunk_size = _i ? 1 << 20 : 0;
	ck_ok(mvcc_open("/db", &mo, &f.m));
	cairn_options_free(o);
	put = PUT("k", value);
	ck_refused(&put, MVCC_REFUSAL_NO_SPACE);
	put = PUT("k", "small");
	while (mvcc_request(f.m, &put, NULL, &a)) {
		/* What had been written of it must go first. */
		ck_assert_int_eq(_i, 0);
		ck_assert_int_eq(a.refusal, MVCC_REFUSAL_NO_SPACE);
		usleep(1000);
	}
	mvcc_answer_free(&a);
	ck_value(f.m, "k", 0, "small");
	ck_assert_uint_eq(count_entries(f.m, "c"), 0);
	free(value);
}
END_TEST

START_TEST(a_plain_store_answers_no_requests)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o, .plain = true };
	struct mvcc_request r = RANGE("a", NULL);
	struct mvcc_answer a;
	struct cairn_db *db;
	struct mvcc *m;

	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_put(db, NULL, S("a"), S("1")));
	ck_ok(cairn_close(db));
	ck_ok(mvcc_open("/db", &mo, &m));
	ck_code(mvcc_request(m, &r, NULL, &a), CAIRN_EKIND);
	ck_code(mvcc_compact(m, 1, false, NULL), CAIRN_EKIND);
	ck_ok(mvcc_close(m));
	cairn_options_free(o);
	env_mem_free(env);
}
END_TEST

/* ------------------------------------------------------------------ threads */

#define N_THREADS 4
#define N_STEPS   150

/* Add one to a counter if nobody else has meanwhile. */
static void *count(void *arg)
{
	(void)arg;
	for (int done_steps = 0; done_steps < N_STEPS;) {
		struct mvcc_request get = RANGE("n", NULL), put, t;
		struct mvcc_compare c = { .key = S("n"),
					  .target = MVCC_COMPARE_MOD };
		struct mvcc_answer a;
		char value[24];
		long n = 0;

		ck_ok(mvcc_request(f.m, &get, NULL, &a));
		if (a.n_rows) {
			snprintf(value, sizeof(value), "%.*s",
				 (int)a.rows[0].value.len,
				 (const char *)a.rows[0].value.data);
			n = strtol(value, NULL, 10);
			c.number = a.rows[0].main;
		}
		mvcc_answer_free(&a);
		snprintf(value, sizeof(value), "%ld", n + 1);
		put = PUT("n", value);
		t = TXN(&put, 1, &get, 1);
		t.txn.compares = &c;
		t.txn.n_compares = 1;
		ck_ok(mvcc_request(f.m, &t, NULL, &a));
		done_steps += a.succeeded;
		mvcc_answer_free(&a);
	}
	return NULL;
}

START_TEST(transactions_of_several_threads_lose_nothing)
{
	pthread_t threads[N_THREADS];
	char want[24];

	for (int i = 0; i < N_THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL),
				 0);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	snprintf(want, sizeof(want), "%d", N_THREADS * N_STEPS);
	ck_value(f.m, "n", 0, want);
	ck_assert_int_eq(mvcc_current(f.m), 1 + N_THREADS * N_STEPS);
}
END_TEST

START_TEST(what_was_answered_with_sync_survives_a_power_cut)
{
	const struct mvcc_request_options sync = { .sync = true };
	struct mvcc_request r = PUT("a", "1");
	struct cairn_env *cut;
	struct mvcc_answer a;
	struct mvcc *m;

	ck_ok(mvcc_request(f.m, &r, &sync, &a));
	mvcc_answer_free(&a);
	cut = env_mem_crash_clone(f.env, 1, 0);
	ck_assert_ptr_nonnull(cut);
	ck_ok(store_open_at(cut, &m));
	ck_value(m, "a", 0, "1");
	ck_ok(mvcc_close(m));
	env_mem_free(cut);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("request");
	TCase *tc = tcase_create("request");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, refusals_have_the_words_and_the_status_of_etcd);
	tcase_add_test(tc, a_put_is_refused_for_the_first_reason_there_is);
	tcase_add_test(tc, a_transaction_looks_for_the_key_before_the_lease);
	tcase_add_test(tc, a_key_that_is_too_long_is_no_key);
	tcase_add_test(tc, a_range_is_refused_for_its_revision);
	tcase_add_test(
		tc,
		a_range_in_a_transaction_is_refused_before_anything_is_done);
	tcase_add_test(tc, a_delete_needs_a_key);
	tcase_add_test(tc, compaction_is_refused_in_the_words_of_etcd);
	tcase_add_test(tc, a_list_has_128_entries_at_most);
	tcase_add_test(tc,
		       checks_go_through_compares_success_and_failure_in_order);
	tcase_add_test(tc, what_changes_a_key_twice_is_refused);
	tcase_add_test(tc, branches_of_a_nested_transaction_exclude_each_other);
	tcase_add_test(tc, overlaps_are_those_that_looking_at_all_pairs_finds);
	tcase_add_test(tc, compares_look_at_numbers_and_values);
	tcase_add_test(tc, values_in_chunks_are_compared_to_their_end);
	tcase_add_test(tc,
		       all_compares_look_at_the_state_before_the_transaction);
	tcase_add_test(tc, ops_see_what_earlier_ones_did);
	tcase_add_test(tc, a_transaction_that_changes_nothing_is_no_revision);
	tcase_add_test(tc, old_rows_are_told_when_asked_for);
	tcase_add_test(tc, large_values_are_put_read_kept_and_deleted);
	tcase_add_test(tc, a_kept_value_keeps_its_attributes);
	tcase_add_test(tc, a_row_that_is_told_has_its_xattrs);
	tcase_add_test(tc, puts_attach_keys_to_leases);
	tcase_add_test(tc,
		       sorting_filtering_and_cutting_off_come_in_this_order);
	tcase_add_test(tc, a_limit_of_many_rows_sorts_the_best_ones_out);
	tcase_add_test(tc, the_view_of_a_transaction_is_what_it_leaves_behind);
	tcase_add_test(tc, rows_are_given_one_by_one);
	tcase_add_test(tc, a_request_may_be_a_mebibyte_and_a_half);
	tcase_add_test(tc, an_answer_that_is_too_long_is_none);
	tcase_add_test(tc,
		       a_full_store_refuses_requests_with_a_put_in_any_branch);
	tcase_add_test(
		tc,
		a_full_store_takes_puts_again_when_enough_was_deleted_and_compacted);
	tcase_add_loop_test(
		tc, a_put_that_is_too_large_for_what_is_left_is_refused_alone,
		0, 2);
	tcase_add_test(tc, a_plain_store_answers_no_requests);
	tcase_add_test(tc, transactions_of_several_threads_lose_nothing);
	tcase_add_test(tc, what_was_answered_with_sync_survives_a_power_cut);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
