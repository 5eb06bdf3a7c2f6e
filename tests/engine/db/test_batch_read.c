/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a batch on top of a database: by itself, and in long random histories
 * against a model.
 */
#include "tests/support/db_test.h"

#include "engine/base/buf.h"
#include "engine/base/rng.h"

/* ----------------------------------------------------------------- the calls
 */

static void b_put(struct cairn_batch *b, const char *key, const char *value)
{
	CK_OK(cairn_batch_put(b, slice_str(key), slice_str(value)));
}

static void b_merge(struct cairn_batch *b, const char *key, const char *operand)
{
	CK_OK(cairn_batch_merge(b, slice_str(key), slice_str(operand)));
}

static void b_delete(struct cairn_batch *b, const char *key)
{
	CK_OK(cairn_batch_delete(b, slice_str(key)));
}

static void b_delete_range(struct cairn_batch *b, const char *start,
			   const char *end)
{
	CK_OK(cairn_batch_delete_range(b, slice_str(start), slice_str(end)));
}

static void merge(struct test_db *t, const char *key, const char *operand)
{
	CK_OK(cairn_merge(t->db, NULL, slice_str(key), slice_str(operand)));
}

/* value NULL: there is none. */
static void b_expect(struct test_db *t, const struct cairn_batch *b,
		     const struct cairn_snapshot *snap, const char *key,
		     const char *value)
{
	struct cairn_read_options o = { .snapshot = snap };
	struct cairn_pinned p = { 0 };
	int err = cairn_batch_get(t->db, &o, b, slice_str(key), &p);

	if (!value) {
		ck_assert_msg(err == CAIRN_NOT_FOUND, "%s is there (%d: %s)",
			      key, err, cairn_errmsg());
		return;
	}
	ck_assert_msg(!err, "%s: %d, %s", key, err, cairn_errmsg());
	ck_assert_msg(slice_eq(p.value, slice_str(value)), "%s: %.*s, not %s",
		      key, (int)p.value.len, (const char *)p.value.data, value);
	cairn_pinned_release(&p);
}

static struct cairn_iter *b_iter(struct test_db *t, const struct cairn_batch *b,
				 const struct cairn_snapshot *snap)
{
	struct cairn_read_options o = { .snapshot = snap };
	struct cairn_iter *it;

	CK_OK(cairn_batch_iter_new(t->db, &o, b, &it));
	return it;
}

/* "a=1 b=2", and the same from behind. */
static void walk_is(struct cairn_iter *it, const char *want)
{
	char got[2][1000] = { "", "" };

	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		size_t at = strlen(got[0]);

		snprintf(got[0] + at, sizeof(got[0]) - at, "%s%.*s=%.*s",
			 at ? " " : "", (int)cairn_iter_key(it).len,
			 (const char *)cairn_iter_key(it).data,
			 (int)cairn_iter_value(it).len,
			 (const char *)cairn_iter_value(it).data);
	}
	CK_OK(cairn_iter_status(it));
	for (bool on = cairn_iter_last(it); on; on = cairn_iter_prev(it)) {
		char was[1000];

		memcpy(was, got[1], sizeof(was));
		snprintf(got[1], sizeof(got[1]), "%.*s=%.*s%s%.900s",
			 (int)cairn_iter_key(it).len,
			 (const char *)cairn_iter_key(it).data,
			 (int)cairn_iter_value(it).len,
			 (const char *)cairn_iter_value(it).data,
			 *was ? " " : "", was);
	}
	CK_OK(cairn_iter_status(it));
	ck_assert_str_eq(got[0], want);
	ck_assert_str_eq(got[1], want);
}

static void b_walk(struct test_db *t, const struct cairn_batch *b,
		   const struct cairn_snapshot *snap, const char *want)
{
	struct cairn_iter *it = b_iter(t, b, snap);

	walk_is(it, want);
	cairn_iter_free(it);
}

static void compact_all(struct test_db *t)
{
	const struct cairn_slice all = { 0 };

	CK_OK(cairn_compact_range(t->db, all, all, NULL));
}

static void open_merging(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "merge_operator", "stringappend");
	tdb_open(t);
}

/* What is read of a batch on top is what is there once it is committed. */
START_TEST(every_change_is_read_as_it_will_be)
{
	static const char want[] = "a=1 b=2,x c=new e=y,z g=7 h=8";
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_iter *it;
	struct test_db t;

	open_merging(&t);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "b", "2");
	tdb_put(&t, "c", "3");
	tdb_put(&t, "d", "4");
	tdb_put(&t, "e", "5");
	tdb_put(&t, "f", "6");
	tdb_put(&t, "g", "7");
	if (_i == 1)
		CK_OK(cairn_flush(t.db, true));
	if (_i == 2)
		compact_all(&t);
	b_merge(b, "b", "x");
	b_put(b, "c", "never seen");
	b_put(b, "dd", "never seen");
	CK_OK(cairn_batch_single_delete(b, slice_str("d")));
	b_delete_range(b, "c", "g");
	CK_OK(cairn_batch_log_data(b, slice_str("of no account")));
	b_put(b, "c", "new");
	b_merge(b, "e", "y");
	b_merge(b, "e", "z");
	b_put(b, "h", "8");
	b_put(b, "i", "9");
	b_delete(b, "i");
	b_expect(&t, b, NULL, "a", "1");
	b_expect(&t, b, NULL, "b", "2,x");
	b_expect(&t, b, NULL, "c", "new");
	b_expect(&t, b, NULL, "d", NULL);
	b_expect(&t, b, NULL, "dd", NULL);
	b_expect(&t, b, NULL, "e", "y,z");
	b_expect(&t, b, NULL, "f", NULL);
	b_expect(&t, b, NULL, "h", "8");
	b_expect(&t, b, NULL, "i", NULL);
	b_expect(&t, b, NULL, "j", NULL);
	b_walk(&t, b, NULL, want);
	/* Nobody else sees it. */
	tdb_expect(&t, "c", "3");
	tdb_expect(&t, "h", NULL);
	CK_OK(cairn_write(t.db, NULL, b));
	cairn_batch_free(b);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	walk_is(it, want);
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

START_TEST(what_was_committed_behind_a_snapshot_lies_below_no_batch)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_snapshot *snap;
	struct test_db t;

	open_merging(&t);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "b", "1");
	tdb_put(&t, "d", "1");
	tdb_put(&t, "e", "1");
	snap = cairn_snapshot_new(t.db);
	/* More versions than are passed one by one, when there are any. */
	for (int i = 0; i < _i; i++) {
		tdb_put(&t, "a", "unseen");
		merge(&t, "b", "unseen");
		tdb_put(&t, "c", "unseen");
		tdb_delete(&t, "d");
		tdb_put(&t, "e", "unseen");
	}
	b_merge(b, "a", "2");
	b_merge(b, "b", "2");
	b_merge(b, "c", "2");
	b_merge(b, "d", "2");
	b_merge(b, "a", "3");
	for (int place = 0; place < 2; place++) {
		b_expect(&t, b, snap, "a", "1,2,3");
		b_expect(&t, b, snap, "b", "1,2");
		b_expect(&t, b, snap, "c", "2");
		b_expect(&t, b, snap, "d", "1,2");
		b_expect(&t, b, snap, "e", "1");
		b_walk(&t, b, snap, "a=1,2,3 b=1,2 c=2 d=1,2 e=1");
		CK_OK(cairn_flush(t.db, true));
	}
	if (_i)
		b_walk(&t, b, NULL,
		       _i == 1 ? "a=unseen,2,3 b=1,unseen,2 "
				 "c=unseen,2 d=2 e=unseen"
			       : "a=unseen,2,3 "
				 "b=1,unseen,unseen,2 "
				 "c=unseen,2 d=2 e=unseen");
	cairn_batch_clear(b);
	b_walk(&t, b, snap, "a=1 b=1 d=1 e=1");
	cairn_snapshot_release(snap);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(many_unseen_versions_are_passed_over)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_snapshot *snap;
	struct test_db t;

	open_merging(&t);
	tdb_put(&t, "b", "1");
	merge(&t, "b", "2");
	snap = cairn_snapshot_new(t.db);
	for (int i = 0; i < 30; i++) {
		tdb_put(&t, "a", "unseen");
		tdb_put(&t, "b", "unseen");
		tdb_put(&t, "c", "unseen");
		if (i == 15)
			CK_OK(cairn_flush(t.db, true));
	}
	b_put(b, "a", "x");
	b_merge(b, "b", "x");
	b_walk(&t, b, snap, "a=x b=1,2,x");
	b_merge(b, "c", "x");
	b_walk(&t, b, snap, "a=x b=1,2,x c=x");
	for (int i = 0; i < 20; i++)
		b_put(b, "a", "y");
	b_delete(b, "c");
	b_walk(&t, b, snap, "a=y b=1,2,x");
	cairn_snapshot_release(snap);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_value_stays_whatever_becomes_of_the_batch)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_pinned p[3] = { 0 };
	struct test_db t;

	open_merging(&t);
	CK_OK(cairn_batch_set_savepoint(b));
	b_put(b, "k", "first");
	CK_OK(cairn_batch_get(t.db, NULL, b, slice_str("k"), &p[0]));
	for (int i = 0; i < 100; i++)
		b_put(b, "l", "makes it grow");
	CK_OK(cairn_batch_rollback(b));
	b_put(b, "k", "2nd");
	CK_OK(cairn_batch_get(t.db, NULL, b, slice_str("k"), &p[1]));
	cairn_batch_clear(b);
	b_put(b, "k", "third one");
	CK_OK(cairn_batch_get(t.db, NULL, b, slice_str("k"), &p[2]));
	CK_OK(cairn_write(t.db, NULL, b));
	cairn_batch_free(b);
	ck_assert(slice_eq(p[0].value, slice_str("first")));
	ck_assert(slice_eq(p[1].value, slice_str("2nd")));
	ck_assert(slice_eq(p[2].value, slice_str("third one")));
	for (int i = 0; i < 3; i++)
		cairn_pinned_release(&p[i]);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_iterator_sees_a_changed_batch_when_it_is_refreshed)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_iter *it;
	struct test_db t;

	open_merging(&t);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "b", "1");
	it = b_iter(&t, b, NULL);
	b_put(b, "c", "2");
	tdb_put(&t, "d", "later");
	walk_is(it, "a=1 b=1");
	CK_OK(cairn_batch_iter_refresh(it, b));
	ck_assert(!cairn_iter_valid(it));
	CK_OK(cairn_iter_status(it));
	walk_is(it, "a=1 b=1 c=2");
	/* The first range of all. */
	b_delete_range(b, "b", "c");
	ck_assert(cairn_iter_seek_ge(it, slice_str("b")));
	CK_OK(cairn_batch_iter_refresh(it, b));
	walk_is(it, "a=1 c=2");
	ck_assert(cairn_iter_seek_ge(it, slice_str("b")));
	ck_assert(slice_eq(cairn_iter_key(it), slice_str("c")));
	cairn_batch_clear(b);
	walk_is(it, "a=1 c=2");
	CK_OK(cairn_batch_iter_refresh(it, b));
	walk_is(it, "a=1 b=1");
	cairn_batch_free(b);
	walk_is(it, "a=1 b=1");
	cairn_iter_free(it);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	b = cairn_batch_new_indexed();
	CK_CODE(cairn_batch_iter_refresh(it, b), CAIRN_EINVAL);
	cairn_iter_free(it);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_batch_without_an_index_is_refused)
{
	struct cairn_batch *b = cairn_batch_new();
	struct cairn_pinned p = { 0 };
	struct cairn_iter *it = NULL;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_CODE(cairn_batch_get(t.db, NULL, b, slice_str("k"), &p),
		CAIRN_EINVAL);
	CK_CODE(cairn_batch_iter_new(t.db, NULL, b, &it), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "new_indexed"));
	ck_assert_ptr_null(it);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(operands_without_an_operator_are_refused)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_pinned p = { 0 };
	struct cairn_iter *it;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	b_merge(b, "b", "1");
	b_expect(&t, b, NULL, "a", "1");
	CK_CODE(cairn_batch_get(t.db, NULL, b, slice_str("b"), &p),
		CAIRN_ENOTSUP);
	it = b_iter(&t, b, NULL);
	ck_assert(cairn_iter_first(it));
	ck_assert(!cairn_iter_next(it));
	CK_CODE(cairn_iter_status(it), CAIRN_ENOTSUP);
	ck_assert(!cairn_iter_last(it));
	CK_CODE(cairn_iter_status(it), CAIRN_ENOTSUP);
	cairn_iter_free(it);
	CK_CODE(cairn_write(t.db, NULL, b), CAIRN_ENOTSUP);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

/* A failure below is one, and never the end. */
START_TEST(a_table_that_cannot_be_read_is_a_failure)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_pinned p = { 0 };
	struct cairn_iter *it;
	struct test_db t;

	open_merging(&t);
	tdb_put(&t, "b", "1");
	tdb_set(&t, "block_cache_size", "0");
	tdb_reopen(&t);
	b_put(b, "a", "2");
	b_merge(b, "b", "2");
	it = b_iter(&t, b, NULL);
	tdb_fail(&t, ENV_FAULT_READ | ENV_FAULT_OPEN_READ, ".sst", 1, true,
		 CAIRN_EIO);
	b_expect(&t, b, NULL, "a", "2");
	CK_CODE(cairn_batch_get(t.db, NULL, b, slice_str("b"), &p), CAIRN_EIO);
	ck_assert(!cairn_iter_first(it));
	CK_CODE(cairn_iter_status(it), CAIRN_EIO);
	ck_assert(!cairn_iter_last(it));
	CK_CODE(cairn_iter_status(it), CAIRN_EIO);
	env_fault_set(t.env, NULL);
	walk_is(it, "a=2 b=1,2");
	cairn_iter_free(it);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_database_is_in_use_while_such_an_iterator_is_open)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_iter *it;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	b_put(b, "k", "v");
	it = b_iter(&t, b, NULL);
	cairn_batch_free(b);
	CK_CODE(cairn_close(t.db), CAIRN_EBUSY);
	walk_is(it, "k=v");
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_batch_is_read_on_top_of_a_database_that_cannot_be_written)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct test_db t;

	open_merging(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	tdb_set(&t, "read_only", "true");
	tdb_open(&t);
	b_merge(b, "a", "2");
	b_put(b, "b", "3");
	b_walk(&t, b, NULL, "a=1,2 b=3");
	CK_CODE(cairn_write(t.db, NULL, b), CAIRN_EROFS);
	b_expect(&t, b, NULL, "a", "1,2");
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------- the model */

#define KEYS    56
#define SINGLES 48 /* keys from here on are put by batches only */
#define OPS     400
#define ITERS   4
#define SNAPS   3
#define TEXT    48

struct entry {
	bool there;
	unsigned puts; /* since it was new or deleted */
	char text[TEXT];
};

struct state {
	struct entry e[KEYS];
};

struct op {
	enum { PUT, DELETE, SINGLE, MERGE, RANGE } what;
	int i;
	int to; /* of RANGE */
	char text[8];
};

struct reader {
	struct cairn_iter *it; /* NULL: none */
	struct state state;
	struct state store; /* without the batch */
	int begin;          /* bounds */
	int end;
	char low[16];
	char high[16];
	int at; /* KEYS: nowhere */
};

struct history {
	struct test_db t;
	struct rng rng;
	struct state now;
	struct cairn_batch *b;
	struct op op[OPS]; /* of b */
	size_t n;
	size_t save[OPS];
	size_t n_saves;
	int last; /* value given last */
	struct {
		struct cairn_snapshot *snap; /* NULL: none */
		struct state state;
	} snaps[SNAPS];
	struct reader r[ITERS];
};

static struct cairn_slice key_of(char out[16], int i)
{
	return slice_of(out, (size_t)snprintf(out, 16, "k%03d", i));
}

static void apply_op(struct state *s, const struct op *op)
{
	struct entry *e = &s->e[op->i];
	size_t len = strlen(e->text);

	switch (op->what) {
	case PUT:
		e->there = true;
		e->puts++;
		strcpy(e->text, op->text);
		break;
	case MERGE:
		if (e->there)
			snprintf(e->text + len, TEXT - len, ",%s", op->text);
		else
			strcpy(e->text, op->text);
		e->there = true;
		e->puts = 99;
		break;
	case DELETE:
	case SINGLE:
		*e = (struct entry){ 0 };
		break;
	case RANGE:
		for (int i = op->i; i < op->to; i++)
			s->e[i] = (struct entry){ 0 };
		break;
	}
}

static void apply_batch(const struct history *h, struct state *s)
{
	for (size_t i = 0; i < h->n; i++)
		apply_op(s, &h->op[i]);
}

/* An operation that makes sense in that state, with keys below limit. */
static void random_op(struct history *h, const struct state *s, int limit,
		      struct op *op)
{
	uint64_t what = rng_below(&h->rng, 14);

	*op = (struct op){ .i = (int)rng_below(&h->rng, (uint64_t)limit) };
	snprintf(op->text, sizeof(op->text), "%d", ++h->last % 100000);
	if (what < 2) {
		uint64_t most = rng_one_in(&h->rng, 8) ? KEYS : 8;

		op->what = RANGE;
		op->to = op->i + (int)rng_below(&h->rng, most);
		if (op->to > limit)
			op->to = limit;
	} else if (what < 4) {
		op->what = DELETE;
	} else if (what < 8 && op->i < SINGLES &&
		   strlen(s->e[op->i].text) < TEXT - 8) {
		op->what = MERGE;
	} else if (what < 11 && s->e[op->i].puts == 1) {
		op->what = SINGLE;
	} else if (op->i >= SINGLES && s->e[op->i].puts) {
		op->what = DELETE;
	} else {
		op->what = PUT;
	}
	if (op->what == SINGLE && op->i < SINGLES)
		op->what = DELETE;
}

static void add_op(struct cairn_batch *b, const struct op *op)
{
	char k[16], e[16];
	struct cairn_slice key = key_of(k, op->i);

	switch (op->what) {
	case PUT:
		CK_OK(cairn_batch_put(b, key, slice_str(op->text)));
		break;
	case MERGE:
		CK_OK(cairn_batch_merge(b, key, slice_str(op->text)));
		break;
	case DELETE:
		CK_OK(cairn_batch_delete(b, key));
		break;
	case SINGLE:
		CK_OK(cairn_batch_single_delete(b, key));
		break;
	case RANGE:
		CK_OK(cairn_batch_delete_range(b, key, key_of(e, op->to)));
		break;
	}
}

/* Into the batch, and the list of what is in it; empty ranges are in none. */
static void change_batch(struct history *h)
{
	struct state s = h->now;
	struct op op;

	if (h->n == OPS)
		return;
	apply_batch(h, &s);
	random_op(h, &s, KEYS, &op);
	add_op(h->b, &op);
	if (op.what != RANGE || op.to > op.i)
		h->op[h->n++] = op;
	ck_assert_uint_eq(cairn_batch_count(h->b), h->n);
}

static void write_store(struct history *h)
{
	struct cairn_batch *b = cairn_batch_new();
	struct op op;

	for (uint64_t n = 1 + rng_below(&h->rng, 12); n--;) {
		random_op(h, &h->now, SINGLES, &op);
		add_op(b, &op);
		apply_op(&h->now, &op);
	}
	CK_OK(cairn_write(h->t.db, NULL, b));
	cairn_batch_free(b);
}

static void commit(struct history *h)
{
	CK_OK(cairn_write(h->t.db, NULL, h->b));
	apply_batch(h, &h->now);
	cairn_batch_clear(h->b);
	h->n = 0;
	h->n_saves = 0;
}

static void expect_entry(struct cairn_slice got, const struct entry *e)
{
	ck_assert_msg(slice_eq(got, slice_str(e->text)), "%.*s, not %s",
		      (int)got.len, (const char *)got.data, e->text);
}

static void check_gets(struct history *h)
{
	uint64_t which = rng_below(&h->rng, SNAPS + 1);
	struct cairn_read_options o = { 0 };
	struct state s = h->now;

	if (which < SNAPS && h->snaps[which].snap) {
		o.snapshot = h->snaps[which].snap;
		s = h->snaps[which].state;
	}
	apply_batch(h, &s);
	for (int i = 0; i < KEYS; i++) {
		struct cairn_pinned p = { 0 };
		char key[16];
		int err =
			cairn_batch_get(h->t.db, &o, h->b, key_of(key, i), &p);

		if (!s.e[i].there) {
			ck_assert_msg(err == CAIRN_NOT_FOUND, "%s: %d, %s", key,
				      err, cairn_errmsg());
			continue;
		}
		ck_assert_msg(!err, "%s: %d, %s", key, err, cairn_errmsg());
		expect_entry(p.value, &s.e[i]);
		cairn_pinned_release(&p);
	}
}

static int forward_from(const struct reader *r, int i)
{
	if (i < r->begin)
		i = r->begin;
	while (i < r->end && !r->state.e[i].there)
		i++;
	return i < r->end ? i : KEYS;
}

static int backward_from(const struct reader *r, int i)
{
	if (i >= r->end)
		i = r->end - 1;
	while (i >= r->begin && !r->state.e[i].there)
		i--;
	return i >= r->begin ? i : KEYS;
}

static void expect_at(struct reader *r, bool on)
{
	char key[16];

	CK_OK(cairn_iter_status(r->it));
	ck_assert_int_eq(on, r->at < KEYS);
	ck_assert_int_eq(cairn_iter_valid(r->it), r->at < KEYS);
	if (r->at == KEYS)
		return;
	ck_assert_msg(slice_eq(cairn_iter_key(r->it), key_of(key, r->at)),
		      "%.*s, not %s", (int)cairn_iter_key(r->it).len,
		      (const char *)cairn_iter_key(r->it).data, key);
	expect_entry(cairn_iter_value(r->it), &r->state.e[r->at]);
}

static void open_reader(struct history *h, struct reader *r)
{
	uint64_t which = rng_below(&h->rng, SNAPS + 2);
	struct cairn_read_options o = { 0 };

	r->store = h->now;
	if (which < SNAPS && h->snaps[which].snap) {
		o.snapshot = h->snaps[which].snap;
		r->store = h->snaps[which].state;
	}
	r->begin = 0;
	r->end = KEYS;
	if (rng_one_in(&h->rng, 2)) {
		r->begin = (int)rng_below(&h->rng, KEYS);
		r->end = r->begin +
			 (int)rng_below(&h->rng, (uint64_t)(KEYS - r->begin));
		o.lower = key_of(r->low, r->begin);
		o.upper = key_of(r->high, r->end);
	}
	r->state = r->store;
	apply_batch(h, &r->state);
	CK_OK(cairn_batch_iter_new(h->t.db, &o, h->b, &r->it));
	r->at = KEYS;
}

static void refresh_reader(struct history *h, struct reader *r)
{
	CK_OK(cairn_batch_iter_refresh(r->it, h->b));
	r->state = r->store;
	apply_batch(h, &r->state);
	r->at = KEYS;
}

static void close_reader(struct reader *r)
{
	cairn_iter_free(r->it);
	r->it = NULL;
}

static void step_reader(struct history *h, struct reader *r)
{
	int to = (int)rng_below(&h->rng, KEYS);
	char key[16];
	struct cairn_slice k = key_of(key, to);
	bool on;

	switch (rng_below(&h->rng, r->at < KEYS ? 14 : 4)) {
	case 0:
		r->at = forward_from(r, 0);
		on = cairn_iter_first(r->it);
		break;
	case 1:
		r->at = backward_from(r, KEYS);
		on = cairn_iter_last(r->it);
		break;
	case 2:
		r->at = forward_from(r, to);
		on = cairn_iter_seek_ge(r->it, k);
		break;
	case 3:
		r->at = backward_from(r, to - 1);
		on = cairn_iter_seek_lt(r->it, k);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		r->at = forward_from(r, r->at + 1);
		on = cairn_iter_next(r->it);
		break;
	default:
		r->at = backward_from(r, r->at - 1);
		on = cairn_iter_prev(r->it);
		break;
	}
	expect_at(r, on);
}

static void use_readers(struct history *h)
{
	struct reader *one = &h->r[rng_below(&h->rng, ITERS)];

	if (!one->it)
		open_reader(h, one);
	else if (rng_one_in(&h->rng, 20))
		close_reader(one);
	else if (rng_one_in(&h->rng, 10))
		refresh_reader(h, one);
	for (int i = 0; i < ITERS; i++)
		for (int n = 0; h->r[i].it && n < 6; n++)
			step_reader(h, &h->r[i]);
}

static void close_all(struct history *h)
{
	for (int i = 0; i < ITERS; i++)
		if (h->r[i].it)
			close_reader(&h->r[i]);
	for (int i = 0; i < SNAPS; i++) {
		cairn_snapshot_release(h->snaps[i].snap);
		h->snaps[i].snap = NULL;
	}
}

static void toggle_snapshot(struct history *h)
{
	int i = (int)rng_below(&h->rng, SNAPS);

	if (h->snaps[i].snap) {
		cairn_snapshot_release(h->snaps[i].snap);
		h->snaps[i].snap = NULL;
		return;
	}
	h->snaps[i].snap = cairn_snapshot_new(h->t.db);
	ck_assert_ptr_nonnull(h->snaps[i].snap);
	h->snaps[i].state = h->now;
}

static void savepoints(struct history *h)
{
	switch (rng_below(&h->rng, 5)) {
	case 0:
	case 1:
		CK_OK(cairn_batch_set_savepoint(h->b));
		if (h->n_saves < OPS)
			h->save[h->n_saves++] = h->n;
		else
			CK_OK(cairn_batch_pop_savepoint(h->b));
		break;
	case 2:
	case 3:
		CK_CODE(cairn_batch_rollback(h->b),
			h->n_saves ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (h->n_saves)
			h->n = h->save[--h->n_saves];
		break;
	default:
		CK_CODE(cairn_batch_pop_savepoint(h->b),
			h->n_saves ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (h->n_saves)
			h->n_saves--;
		break;
	}
}

static void step(struct history *h)
{
	switch (rng_below(&h->rng, 60)) {
	case 0:
		CK_OK(cairn_flush(h->t.db, true));
		break;
	case 1:
		if (rng_one_in(&h->rng, 3))
			compact_all(&h->t);
		break;
	case 2:
		if (!rng_one_in(&h->rng, 8))
			break;
		close_all(h);
		tdb_reopen(&h->t);
		break;
	case 3:
	case 4:
		toggle_snapshot(h);
		break;
	case 5:
		if (rng_one_in(&h->rng, 2))
			commit(h);
		break;
	case 6:
		if (!rng_one_in(&h->rng, 8))
			break;
		cairn_batch_clear(h->b);
		h->n = 0;
		h->n_saves = 0;
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		savepoints(h);
		break;
	case 11:
	case 12:
	case 13:
		check_gets(h);
		break;
	case 14:
	case 15:
	case 16:
	case 17:
	case 18:
	case 19:
		write_store(h);
		break;
	default:
		change_batch(h);
		use_readers(h);
		break;
	}
}

static uint64_t first_seed(void)
{
	const char *seed = getenv("CAIRN_SEED");

	return seed ? strtoull(seed, NULL, 10) : 1;
}

START_TEST(any_history_reads_as_the_model_says)
{
	static const char *const settings[][2] = {
		{ "write_buffer_size", "8K" },
		{ "l0_compaction_trigger", "2" },
		{ "base_level_size", "4K" },
		{ "target_file_size", "2K" },
		{ "level_multiplier", "3" },
		{ "block_size", "256" },
		{ "compression", "none" },
		{ "merge_operator", "stringappend" },
	};
	static struct history h;

	memset(&h, 0, sizeof(h));
	rng_init(&h.rng, first_seed() + (uint64_t)_i);
	tdb_init(&h.t, NULL);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		tdb_set(&h.t, settings[i][0], settings[i][1]);
	tdb_open(&h.t);
	h.b = cairn_batch_new_indexed();
	ck_assert_ptr_nonnull(h.b);
	for (int i = 0; i < 1500; i++)
		step(&h);
	cairn_batch_free(h.b);
	for (int i = 0; i < ITERS; i++)
		for (int n = 0; h.r[i].it && n < 50; n++)
			step_reader(&h, &h.r[i]);
	close_all(&h);
	tdb_fini(&h.t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batch_read");
	TCase *tc = tcase_create("calls");

	tcase_add_loop_test(tc, every_change_is_read_as_it_will_be, 0, 3);
	tcase_add_loop_test(
		tc, what_was_committed_behind_a_snapshot_lies_below_no_batch, 0,
		3);
	tcase_add_test(tc, many_unseen_versions_are_passed_over);
	tcase_add_test(tc, a_value_stays_whatever_becomes_of_the_batch);
	tcase_add_test(tc,
		       an_iterator_sees_a_changed_batch_when_it_is_refreshed);
	tcase_add_test(tc, a_batch_without_an_index_is_refused);
	tcase_add_test(tc, operands_without_an_operator_are_refused);
	tcase_add_test(tc, a_table_that_cannot_be_read_is_a_failure);
	tcase_add_test(tc, a_database_is_in_use_while_such_an_iterator_is_open);
	tcase_add_test(
		tc,
		a_batch_is_read_on_top_of_a_database_that_cannot_be_written);
	suite_add_tcase(s, tc);

	tc = tcase_create("model");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, any_history_reads_as_the_model_says, 0, 10);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
