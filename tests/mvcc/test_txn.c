/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdio.h>

#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_fini(&f);
}

static struct mvcc_txn *begin(void)
{
	struct mvcc_txn *t;

	ck_ok(mvcc_txn_new(f.m, &t));
	return t;
}

static int64_t commit(struct mvcc_txn *t)
{
	int64_t rev = 0;

	ck_ok(mvcc_txn_commit(t, false, &rev));
	mvcc_txn_free(t);
	return rev;
}

static struct mvcc_pinned_row row_at(const char *key, int64_t rev)
{
	struct mvcc_pinned_row r = { 0 };

	ck_ok(mvcc_get(f.m, S(key), rev, &r));
	return r;
}

START_TEST(an_empty_store_is_at_revision_1)
{
	ck_assert_int_eq(mvcc_current(f.m), 1);
	ck_assert_int_eq(mvcc_oldest(f.m), 1);
	ck_value(f.m, "a", 0, NULL);
	ck_value(f.m, "a", 1, NULL);
	fixture_reopen(&f);
	ck_assert_int_eq(mvcc_current(f.m), 1);
}
END_TEST

START_TEST(every_put_is_a_revision_and_stays_readable)
{
	ck_assert_int_eq(put(f.m, "a", "1"), 2);
	ck_assert_int_eq(put(f.m, "a", "2"), 3);
	ck_assert_int_eq(put(f.m, "b", "x"), 4);
	ck_assert_int_eq(put(f.m, "a", "2"), 5); /* the same value */
	for (int round = 0; round < 2; round++) {
		ck_value(f.m, "a", 1, NULL);
		ck_value(f.m, "a", 2, "1");
		ck_value(f.m, "a", 3, "2");
		ck_value(f.m, "a", 4, "2");
		ck_value(f.m, "a", 0, "2");
		ck_value(f.m, "b", 3, NULL);
		ck_value(f.m, "b", -7, "x");
		ck_assert_int_eq(mvcc_current(f.m), 5);
		fixture_reopen(&f);
	}
}
END_TEST

START_TEST(generations_begin_with_a_put_and_end_with_a_delete)
{
	struct mvcc_pinned_row r;

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	r = row_at("a", 0);
	ck_assert(r.row.main == 3 && r.row.create_rev == 2 &&
		  r.row.version == 2 && r.row.lease == 0);
	mvcc_row_release(&r);
	ck_assert_int_eq(del(f.m, "a"), 4);
	ck_value(f.m, "a", 0, NULL);
	ck_value(f.m, "a", 3, "2");
	put(f.m, "a", "3");
	r = row_at("a", 0);
	ck_assert(r.row.main == 5 && r.row.create_rev == 5 &&
		  r.row.version == 1);
	mvcc_row_release(&r);
	mvcc_row_release(&r);
}
END_TEST

START_TEST(deleting_nothing_changes_nothing)
{
	ck_assert_int_eq(del(f.m, "a"), 1);
	put(f.m, "a", "1");
	ck_assert_int_eq(del(f.m, "a"), 3);
	ck_assert_int_eq(del(f.m, "a"), 3);
	ck_assert_int_eq(mvcc_current(f.m), 3);
}
END_TEST

START_TEST(the_changes_of_a_transaction_share_a_revision_in_order)
{
	struct mvcc_txn *t = begin();
	struct mvcc_pinned_row r;

	put(f.m, "old", "x");
	ck_ok(mvcc_txn_put(t, S("a"), S("1"), NULL));
	ck_ok(mvcc_txn_delete(t, S("none")));
	ck_ok(mvcc_txn_delete(t, S("old")));
	ck_ok(mvcc_txn_put(t, S("b"), S("2"), NULL));
	ck_assert_int_eq(commit(t), 3);
	r = row_at("a", 0);
	ck_assert(r.row.main == 3 && r.row.sub == 0);
	mvcc_row_release(&r);
	r = row_at("b", 0);
	ck_assert(r.row.main == 3 && r.row.sub == 2);
	mvcc_row_release(&r);
	ck_value(f.m, "old", 0, NULL);
	ck_value(f.m, "old", 2, "x");
}
END_TEST

START_TEST(a_transaction_is_empty_after_its_commit)
{
	struct mvcc_txn *t = begin();
	int64_t rev;

	ck_ok(mvcc_txn_put(t, S("a"), S("1"), NULL));
	ck_ok(mvcc_txn_commit(t, true, &rev));
	ck_assert_int_eq(rev, 2);
	ck_ok(mvcc_txn_commit(t, false, NULL));
	ck_assert_int_eq(mvcc_current(f.m), 2);
	ck_ok(mvcc_txn_put(t, S("a"), S("2"), NULL));
	ck_assert_int_eq(commit(t), 3);
}
END_TEST

START_TEST(a_key_in_two_ops_is_refused)
{
	static const int pairs[][2] = {
		{ 0, 0 }, { 0, 1 }, { 0, 2 }, { 1, 2 },
		{ 2, 2 }, { 3, 0 }, { 3, 2 }, { 4, 0 }
	};
	struct mvcc_txn *t = begin();

	put(f.m, "k", "v");
	put(f.m, "l", "v");
	for (int i = 0; i < 2; i++) {
		switch (pairs[_i][i]) {
		case 0:
			ck_ok(mvcc_txn_put(t, S("k"), S("1"), NULL));
			break;
		case 1:
			ck_ok(mvcc_txn_delete(t, S("k")));
			break;
		case 2:
			ck_ok(mvcc_txn_move(t, S("k"), S("other")));
			break;
		case 3:
			ck_ok(mvcc_txn_move(t, S("l"), S("k")));
			break;
		default:
			ck_ok(mvcc_txn_exchange(t, S("l"), S("k")));
			break;
		}
	}
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	ck_assert_int_eq(mvcc_current(f.m), 3);
	mvcc_txn_free(t);
}
END_TEST

START_TEST(keys_and_values_out_of_bounds_are_refused)
{
	static uint8_t key[MVCC_KEY_MAX + 1];
	struct mvcc_pinned_row r = { 0 };

	memset(key, 0, sizeof(key)); /* zeros take two bytes each */
	ck_code(mvcc_put(f.m, none(), S("v"), NULL, NULL), CAIRN_EINVAL);
	ck_code(mvcc_put(f.m, slice_of(key, sizeof(key)), S("v"), NULL, NULL),
		CAIRN_EINVAL);
	ck_code(mvcc_get(f.m, none(), 0, &r), CAIRN_EINVAL);
	ck_ok(mvcc_put(f.m, slice_of(key, MVCC_KEY_MAX), S("v"), NULL, NULL));
	ck_ok(mvcc_get(f.m, slice_of(key, MVCC_KEY_MAX), 0, &r));
	mvcc_row_release(&r);
}
END_TEST

START_TEST(revisions_out_of_reach_have_their_own_codes)
{
	struct mvcc_pinned_row r = { 0 };

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	ck_code(mvcc_get(f.m, S("a"), 4, &r), CAIRN_EFUTURE);
	ck_ok(mvcc_forget(f.m, 3));
	ck_code(mvcc_get(f.m, S("a"), 2, &r), CAIRN_EFORGOTTEN);
	ck_value(f.m, "a", 3, "2");
	ck_value(f.m, "a", 0, "2");
}
END_TEST

START_TEST(expectations_decide_whether_a_commit_happens)
{
	static const struct {
		const char *key;
		int64_t main;
		int want;
	} cases[] = {
		{ "a", 3, CAIRN_OK },          { "a", 2, CAIRN_EABORTED },
		{ "a", 0, CAIRN_EABORTED },    { "none", 0, CAIRN_OK },
		{ "none", 2, CAIRN_EABORTED }, { "gone", 0, CAIRN_OK },
		{ "gone", 5, CAIRN_EABORTED },
	};
	struct mvcc_txn *t = begin();

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	put(f.m, "gone", "x");
	del(f.m, "gone");
	ck_ok(mvcc_txn_expect(t, S("a"), 3));
	ck_ok(mvcc_txn_expect(t, S(cases[_i].key), cases[_i].main));
	ck_ok(mvcc_txn_put(t, S("b"), S("x"), NULL));
	ck_code(mvcc_txn_commit(t, false, NULL), cases[_i].want);
	ck_value(f.m, "b", 0, cases[_i].want ? NULL : "x");
	mvcc_txn_free(t);
}
END_TEST

START_TEST(a_failed_commit_can_be_repaired_and_tried_again)
{
	struct mvcc_txn *t = begin();

	ck_ok(mvcc_txn_put(t, S("b"), S("x"), NULL));
	ck_ok(mvcc_txn_move(t, S("a"), S("c")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_NOT_FOUND);
	ck_assert_int_eq(mvcc_current(f.m), 1);
	ck_value(f.m, "b", 0, NULL);
	put(f.m, "a", "moved");
	ck_assert_int_eq(commit(t), 3);
	ck_value(f.m, "b", 0, "x");
	ck_value(f.m, "c", 0, "moved");
	ck_value(f.m, "a", 0, NULL);
}
END_TEST

START_TEST(a_move_takes_value_and_attributes_along)
{
	struct mvcc_attrs attrs = { .has_mode = true, .mode = 0640 };
	struct mvcc_txn *t = begin();
	struct mvcc_pinned_row r;

	ck_ok(mvcc_put(f.m, S("a"), S("value"), &attrs, NULL));
	put(f.m, "b", "replaced");
	put(f.m, "b", "replaced again");
	ck_ok(mvcc_txn_move(t, S("a"), S("b")));
	ck_assert_int_eq(commit(t), 5);
	ck_value(f.m, "a", 0, NULL);
	ck_value(f.m, "b", 0, "value");
	ck_value(f.m, "b", 4, "replaced again");
	r = row_at("b", 0);
	ck_assert(r.row.attrs.has_mode && r.row.attrs.mode == 0640);
	/* To b it is a put like any other. */
	ck_assert(r.row.version == 3 && r.row.create_rev == 3);
	mvcc_row_release(&r);
}
END_TEST

START_TEST(an_exchange_swaps_two_keys)
{
	struct mvcc_attrs attrs = { .has_uid = true, .uid = 7 };
	struct mvcc_txn *t = begin();
	struct mvcc_pinned_row r;

	ck_ok(mvcc_put(f.m, S("a"), S("of a"), &attrs, NULL));
	ck_ok(mvcc_txn_exchange(t, S("a"), S("b")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_NOT_FOUND);
	put(f.m, "b", "of b");
	ck_assert_int_eq(commit(t), 4);
	ck_value(f.m, "a", 0, "of b");
	ck_value(f.m, "b", 0, "of a");
	ck_value(f.m, "a", 3, "of a");
	r = row_at("b", 0);
	ck_assert(r.row.attrs.has_uid && r.row.version == 2);
	mvcc_row_release(&r);
}
END_TEST

START_TEST(attributes_change_without_the_value)
{
	struct mvcc_attrs attrs = { .has_mtime = true, .mtime_ns = 5 };
	struct mvcc_txn *t = begin();
	struct mvcc_pinned_row r;

	ck_ok(mvcc_txn_set_attrs(t, S("a"), &attrs));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_NOT_FOUND);
	put(f.m, "a", "value");
	ck_assert_int_eq(commit(t), 3);
	ck_value(f.m, "a", 0, "value");
	r = row_at("a", 0);
	ck_assert(r.row.attrs.has_mtime && r.row.attrs.mtime_ns == 5 &&
		  r.row.version == 2);
	mvcc_row_release(&r);
	r = row_at("a", 2);
	ck_assert(!r.row.attrs.has_mtime);
	mvcc_row_release(&r);
}
END_TEST

START_TEST(directory_records_are_empty_and_end_in_a_slash)
{
	const struct mvcc_attrs dir = { .type = MVCC_DIR };
	struct mvcc_txn *t;

	ck_ok(mvcc_put(f.m, S("d/"), none(), &dir, NULL));
	ck_code(mvcc_put(f.m, S("d/"), S("x"), &dir, NULL), CAIRN_EINVAL);
	ck_code(mvcc_put(f.m, S("d"), none(), &dir, NULL), CAIRN_EINVAL);
	put(f.m, "f", "");
	t = begin();
	ck_ok(mvcc_txn_set_attrs(t, S("f"), &dir));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	mvcc_txn_free(t);
	t = begin();
	ck_ok(mvcc_txn_move(t, S("d/"), S("e")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	mvcc_txn_free(t);
	t = begin();
	ck_ok(mvcc_txn_move(t, S("d/"), S("e/")));
	commit(t);
}
END_TEST

START_TEST(commit_times_never_go_back)
{
	int64_t last = 0;

	for (int i = 0; i < 50; i++) {
		struct mvcc_pinned_row r;

		put(f.m, "a", "x");
		if (i % 10 == 0)
			fixture_reopen(&f);
		r = row_at("a", 0);
		ck_assert_int_ge(r.row.time_ns, last);
		last = r.row.time_ns;
		mvcc_row_release(&r);
	}
}
END_TEST

START_TEST(rows_left_out_of_the_cache_are_read_from_the_engine)
{
	struct mvcc_options mo = { .chunk_size = 64 << 10,
				   .row_cache_bytes = 1 };
	struct mvcc_pinned_row r;
	struct mvcc *m;
	uint8_t *value = calloc(1, 60000);

	/* A cache for nothing, then a value of which it keeps the head only. */
	for (int i = 0; i < 2; i++) {
		struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
		struct cairn_options *o = small_options(env);

		mo.engine = o;
		ck_ok(mvcc_open("/db", &mo, &m));
		memset(value, 'v', 60000);
		ck_ok(mvcc_put(m, S("k"), slice_of(value, 60000), NULL, NULL));
		for (int j = 0; j < 2; j++) {
			r = (struct mvcc_pinned_row){ 0 };
			ck_ok(mvcc_get(m, S("k"), 0, &r));
			ck_assert_uint_eq(r.row.value.len, 60000);
			ck_assert(!memcmp(r.row.value.data, value, 60000));
			mvcc_row_release(&r);
		}
		ck_ok(mvcc_close(m));
		cairn_options_free(o);
		env_mem_free(env);
		mo.row_cache_bytes = 0;
	}
	free(value);
}
END_TEST

struct heard {
	int64_t last;
	size_t changes;
	const void *origin;
};

static void hear(void *ctx, int64_t rev, const void *origin,
		 const struct mvcc_change *changes, size_t n)
{
	struct heard *h = ctx;

	ck_assert_int_eq(rev, h->last + 1);
	for (size_t i = 0; i < n; i++)
		ck_assert(changes[i].main == rev &&
			  changes[i].sub == (int32_t)i &&
			  changes[i].key.len == 1);
	/* It is readable. */
	ck_assert_int_eq(mvcc_current(f.m), rev);
	h->last = rev;
	h->changes += n;
	h->origin = origin;
}

START_TEST(the_listener_hears_every_commit_once_and_in_order)
{
	struct heard h = { .last = 1 };
	const struct mvcc_listener l = { &h, hear };
	struct mvcc_txn *t;

	mvcc_set_listener(f.m, &l);
	put(f.m, "a", "1");
	ck_assert_ptr_null(h.origin);
	del(f.m, "b"); /* no change, not heard */
	t = begin();
	ck_ok(mvcc_txn_put(t, S("b"), S("1"), NULL));
	ck_ok(mvcc_txn_delete(t, S("a")));
	mvcc_txn_set_origin(t, &h);
	commit(t);
	ck_assert_ptr_eq(h.origin, &h);
	ck_assert(h.last == 3 && h.changes == 3);
	mvcc_set_listener(f.m, NULL);
}
END_TEST

START_TEST(a_store_in_use_does_not_close)
{
	struct mvcc_txn *t = begin();

	ck_code(mvcc_close(f.m), CAIRN_EBUSY);
	mvcc_txn_free(t);
	ck_ok(mvcc_pin(f.m, 1));
	ck_code(mvcc_close(f.m), CAIRN_EBUSY);
	mvcc_unpin(f.m, 1);
	put(f.m, "a", "still works");
}
END_TEST

START_TEST(a_plain_store_and_a_newer_format_are_refused)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o };
	struct cairn_db *db;
	struct mvcc *m;

	/* Empty: the caller may create, so it becomes a revision store. */
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_close(db));
	ck_ok(cairn_options_set(o, "create_if_missing", "false"));
	ck_code(mvcc_open("/db", &mo, &m), CAIRN_EKIND);
	ck_ok(cairn_options_set(o, "create_if_missing", "true"));
	ck_ok(mvcc_open("/db", &mo, &m));
	ck_ok(mvcc_close(m));

	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_put(db, NULL, S("m/format"),
			slice_of("\0\0\0\0\0\0\0\2", 8)));
	ck_ok(cairn_close(db));
	ck_code(mvcc_open("/db", &mo, &m), CAIRN_ENOTSUP);
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_put(db, NULL, S("m/format"), S("1")));
	ck_ok(cairn_close(db));
	ck_code(mvcc_open("/db", &mo, &m), CAIRN_ECORRUPT);
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_delete(db, NULL, S("m/format")));
	ck_ok(cairn_put(db, NULL, S("some"), S("thing")));
	ck_ok(cairn_close(db));
	ck_code(mvcc_open("/db", &mo, &m), CAIRN_EKIND);
	cairn_options_free(o);
	env_mem_free(env);
}
END_TEST

static const struct {
	const char *mark;
	uint64_t n;
	const char *words;
} marks[] = {
	{ "m/compact", (uint64_t)INT64_MAX + 1, "m/compact is out of range" },
	{ "m/compact", INT64_MAX, "no revision is left" },
	{ "m/object", 0, "m/object is out of range" },
};

START_TEST(marks_that_cannot_be_are_refused)
{
	struct fixture g;
	struct cairn_options *o;
	struct mvcc_options mo;
	struct cairn_db *db;
	uint8_t n[8];

	fixture_init(&g);
	put(g.m, "a", "1");
	ck_ok(mvcc_close(g.m));
	o = small_options(g.env);
	mo = (struct mvcc_options){ .engine = o };
	ck_ok(cairn_open("/db", o, &db));
	put_be64(n, marks[_i].n);
	ck_ok(cairn_put(db, NULL, S(marks[_i].mark), slice_of(n, 8)));
	ck_ok(cairn_close(db));
	ck_code(mvcc_open("/db", &mo, &g.m), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(), "/db: ") &&
			      strstr(cairn_errmsg(), marks[_i].words),
		      "%s", cairn_errmsg());
	/* It is not held open by that. */
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
	env_mem_free(g.env);
}
END_TEST

START_TEST(chunks_have_a_size_that_can_be)
{
	static const struct {
		uint32_t size;
		bool good;
	} sizes[] = { { 15, false },
		      { 16, true },
		      { 16u << 20, true },
		      { (16u << 20) + 1, false } };
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_options *o = small_options(env);
	struct mvcc *m;

	for (size_t i = 0; i < 4; i++) {
		struct mvcc_options mo = { .engine = o,
					   .chunk_size = sizes[i].size };

		if (sizes[i].good) {
			ck_ok(mvcc_open("/db", &mo, &m));
			ck_ok(mvcc_close(m));
			continue;
		}
		ck_code(mvcc_open("/db", &mo, &m), CAIRN_EINVAL);
		ck_assert_ptr_nonnull(
			strstr(cairn_errmsg(), "16 to 16777216 are allowed"));
	}
	cairn_options_free(o);
	env_mem_free(env);
}
END_TEST

START_TEST(a_read_only_store_reads_and_refuses_writes)
{
	struct cairn_options *o = small_options(f.env);
	struct mvcc_options mo = { .engine = o, .chunk_size = CHUNK };
	char large[3 * CHUNK];
	struct mvcc_object *obj;
	struct mvcc *m;

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	put(f.m, "a", "1");
	put(f.m, "b", large);
	ck_ok(mvcc_close(f.m));
	ck_ok(cairn_options_set(o, "read_only", "true"));
	ck_ok(mvcc_open("/db", &mo, &m));
	ck_value(m, "a", 0, "1");
	ck_value(m, "b", 0, large);
	ck_code(mvcc_put(m, S("a"), S("2"), NULL, NULL), CAIRN_EROFS);
	ck_code(mvcc_put(m, S("b"), S(large), NULL, NULL), CAIRN_EROFS);
	ck_code(mvcc_forget(m, 2), CAIRN_EROFS);
	ck_ok(mvcc_object_new(m, &obj));
	ck_code(mvcc_object_write(obj, 0, large, sizeof(large)), CAIRN_EROFS);
	mvcc_object_free(obj);
	ck_ok(mvcc_close(m));
	ck_ok(store_open_at(f.env, &f.m));
	ck_assert_int_eq(mvcc_current(f.m), 3);
	cairn_options_free(o);
}
END_TEST

START_TEST(metrics_say_what_happened)
{
	struct mvcc_metrics x;

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	ck_ok(mvcc_pin(f.m, 2));
	ck_ok(mvcc_pin(f.m, 3));
	ck_ok(mvcc_pin(f.m, 3));
	ck_ok(mvcc_forget(f.m, 2));
	mvcc_metrics_get(f.m, &x);
	ck_assert_int_eq(x.current, 3);
	ck_assert_int_eq(x.oldest, 2);
	ck_assert_uint_eq(x.commits, 2);
	ck_assert_uint_eq(x.pins, 3);
	ck_assert_int_eq(x.oldest_pin, 2);
	ck_assert_uint_gt(x.row_cache_hits, 0);
	ck_assert_uint_gt(x.memory_bytes, 0);
	mvcc_unpin(f.m, 2);
	mvcc_unpin(f.m, 3);
	mvcc_unpin(f.m, 3);
	mvcc_unpin(f.m, 3); /* one too many does no harm */
	mvcc_metrics_get(f.m, &x);
	ck_assert(x.pins == 0 && x.oldest_pin == 0);
}
END_TEST

struct writer {
	pthread_t thread;
	int id;
};

static void *write_many(void *arg)
{
	const struct writer *w = arg;

	for (int i = 0; i < 200; i++) {
		char key[16], value[16];
		int64_t rev;

		snprintf(key, sizeof(key), "%d-%d", w->id, i % 10);
		snprintf(value, sizeof(value), "%d", i);
		ck_ok(mvcc_put(f.m, S(key), S(value), NULL, &rev));
		/* What was committed is read back at once. */
		ck_value(f.m, key, 0, value);
		ck_value(f.m, key, rev, value);
	}
	return NULL;
}

START_TEST(threads_write_and_read_their_own_writes)
{
	struct writer w[4];
	struct mvcc_changes *c;
	struct mvcc_change ch;
	int64_t next = 2;

	for (int i = 0; i < 4; i++) {
		w[i].id = i;
		ck_assert(
			!pthread_create(&w[i].thread, NULL, write_many, &w[i]));
	}
	for (int i = 0; i < 4; i++)
		pthread_join(w[i].thread, NULL);
	ck_assert_int_eq(mvcc_current(f.m), 801);
	ck_ok(mvcc_changes_new(f.m, 1, INT64_MAX, &c));
	while (mvcc_changes_next(c, &ch) == CAIRN_OK)
		ck_assert_int_eq(ch.main, next++);
	ck_assert_int_eq(next, 802);
	mvcc_changes_free(c);
}
END_TEST

START_TEST(on_a_full_store_commits_that_only_delete_go_through)
{
	struct mvcc_txn *t;
	int64_t now;

	put(f.m, "dir/last", "1");
	(void)fixture_fill(&f);
	now = mvcc_current(f.m);
	t = begin();
	ck_ok(mvcc_txn_delete(t, S("fill0000")));
	ck_ok(mvcc_txn_delete(t, S("fill0001")));
	ck_assert_int_eq(commit(t), ++now);
	ck_value(f.m, "fill0001", 0, NULL);

	/* Those that do not, not in part either, unless they ask for it. */
	t = begin();
	ck_ok(mvcc_txn_delete(t, S("dir/last")));
	ck_ok(mvcc_txn_put(t, S("dir/"), none(), NULL));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EDQUOT);
	ck_value(f.m, "dir/last", 0, "1");
	ck_assert_int_eq(mvcc_current(f.m), now);
	mvcc_txn_use_reserve(t);
	ck_ok(mvcc_txn_commit(t, false, &now));
	ck_value(f.m, "dir/last", 0, NULL);
	ck_value(f.m, "dir/", 0, "");
	/* Once. */
	ck_ok(mvcc_txn_put(t, S("k"), S("v"), NULL));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EDQUOT);
	mvcc_txn_free(t);
	t = begin();
	ck_ok(mvcc_txn_move(t, S("fill0002"), S("k")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EDQUOT);
	mvcc_txn_free(t);
	ck_ok(mvcc_forget(f.m, now));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("txn");
	TCase *tc = tcase_create("txn");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_empty_store_is_at_revision_1);
	tcase_add_test(tc, every_put_is_a_revision_and_stays_readable);
	tcase_add_test(tc, generations_begin_with_a_put_and_end_with_a_delete);
	tcase_add_test(tc, deleting_nothing_changes_nothing);
	tcase_add_test(tc,
		       the_changes_of_a_transaction_share_a_revision_in_order);
	tcase_add_test(tc, a_transaction_is_empty_after_its_commit);
	tcase_add_loop_test(tc, a_key_in_two_ops_is_refused, 0, 8);
	tcase_add_test(tc, keys_and_values_out_of_bounds_are_refused);
	tcase_add_test(tc, revisions_out_of_reach_have_their_own_codes);
	tcase_add_loop_test(tc, expectations_decide_whether_a_commit_happens, 0,
			    7);
	tcase_add_test(tc, a_failed_commit_can_be_repaired_and_tried_again);
	tcase_add_test(tc, a_move_takes_value_and_attributes_along);
	tcase_add_test(tc, an_exchange_swaps_two_keys);
	tcase_add_test(tc, attributes_change_without_the_value);
	tcase_add_test(tc, directory_records_are_empty_and_end_in_a_slash);
	tcase_add_test(tc, commit_times_never_go_back);
	tcase_add_test(tc, rows_left_out_of_the_cache_are_read_from_the_engine);
	tcase_add_test(tc, the_listener_hears_every_commit_once_and_in_order);
	tcase_add_test(tc, a_store_in_use_does_not_close);
	tcase_add_test(tc, a_plain_store_and_a_newer_format_are_refused);
	tcase_add_loop_test(tc, marks_that_cannot_be_are_refused, 0,
			    sizeof(marks) / sizeof(marks[0]));
	tcase_add_test(tc, chunks_have_a_size_that_can_be);
	tcase_add_test(tc, a_read_only_store_reads_and_refuses_writes);
	tcase_add_test(tc, metrics_say_what_happened);
	tcase_add_test(tc, threads_write_and_read_their_own_writes);
	tcase_add_test(tc, on_a_full_store_commits_that_only_delete_go_through);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
