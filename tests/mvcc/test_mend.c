/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "mvcc/encode.h"
#include "mvcc/lease.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

#define N 300

static void change(struct mvcc *m, unsigned i, const char *value)
{
	struct mvcc_txn *t;
	char key[32];

	snprintf(key, sizeof(key), "dir/key%03u", i % 50);
	ck_ok(mvcc_txn_new(m, &t));
	if (i % 7 == 6)
		ck_ok(mvcc_txn_delete(t, S(key)));
	else
		ck_ok(mvcc_txn_put(t, S(key), S(value), NULL));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
}

/* All changes as text. */
static void changes(struct mvcc *m, struct buf *out)
{
	struct mvcc_changes *c;
	struct mvcc_change one;
	int err;

	buf_clear(out);
	ck_ok(mvcc_changes_new(m, mvcc_oldest(m), INT64_MAX, &c));
	while (!(err = mvcc_changes_next(c, &one)))
		ck_ok(buf_printf(out, "%d.%d %c %.*s\n", (int)one.main,
				 (int)one.sub, one.deleted ? 'D' : 'P',
				 (int)one.key.len, (const char *)one.key.data));
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	mvcc_changes_free(c);
}

static struct cairn_db *open_engine(struct cairn_env *env)
{
	struct cairn_options *o = small_options(env);
	struct cairn_db *db;

	ck_ok(cairn_open("/db", o, &db));
	cairn_options_free(o);
	return db;
}

/* Delete the keys from from to before to, as a lost block would. */
static void lose(struct cairn_env *env, const char *from, const char *to)
{
	const struct cairn_read_options o = { .lower = S(from),
					      .upper = S(to) };
	struct cairn_db *db = open_engine(env);
	struct cairn_iter *it;
	unsigned n = 0;

	ck_ok(cairn_iter_new(db, &o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		ck_ok(cairn_delete(db, NULL, cairn_iter_key(it)));
		n++;
	}
	ck_ok(cairn_iter_status(it));
	cairn_iter_free(it);
	ck_assert_uint_gt(n, 0);
	ck_ok(cairn_close(db));
}

static void mend(struct cairn_env *env, struct mvcc_mend_report *r)
{
	struct cairn_options *o = small_options(env);

	ck_ok(mvcc_mend("/db", o, r));
	cairn_options_free(o);
}

static const struct {
	const char *from, *to;
	bool marks; /* those are lost */
} losses[] = {
	{ "r", "s", false },
	{ "m", "n", true },
	{ "m", "s", true },
};

START_TEST(the_log_and_the_marks_come_back)
{
	char value[500];
	struct buf before = { 0 }, after = { 0 };
	struct mvcc_mend_report r;
	struct fixture f;
	int64_t current;

	memset(value, 'v', sizeof(value));
	fixture_init(&f);
	for (unsigned i = 0; i < N; i++) {
		/* Some of them in chunks. */
		value[i % 20 ? 10 + i % 40 : 400] = '\0';
		change(f.m, i, value);
		value[i % 20 ? 10 + i % 40 : 400] = 'v';
	}
	current = mvcc_current(f.m);
	changes(f.m, &before);
	ck_ok(mvcc_close(f.m));
	lose(f.env, losses[_i].from, losses[_i].to);
	if (losses[_i].marks)
		ck_code(store_open_at(f.env, &f.m), CAIRN_EKIND);

	mend(f.env, &r);
	ck_assert(r.revisions);
	ck_ok(store_open_at(f.env, &f.m));
	ck_assert_int_eq(mvcc_current(f.m), current);
	/* Without log and marks nobody knows what had been forgotten. */
	ck_assert(r.history_forgotten == (_i == 2));
	if (!r.history_forgotten) {
		changes(f.m, &after);
		ck_assert(slice_eq(buf_slice(&before), buf_slice(&after)));
	}
	/* A new object has a number that no chunk has. */
	value[400] = '\0';
	change(f.m, 0, value);
	ck_assert_int_eq(mvcc_current(f.m), current + 1);
	ck_ok(mvcc_close(f.m));
	mend(f.env, &r);
	ck_assert_uint_eq(r.log_entries + r.marks, 0);
	buf_fini(&before);
	buf_fini(&after);
	env_mem_free(f.env);
}
END_TEST

/* The number of the object that is the value of key. */
static uint64_t object_number(struct mvcc *m, const char *key)
{
	struct mvcc_pinned_row r = { 0 };
	uint64_t n;

	ck_ok(mvcc_get(m, S(key), 0, &r));
	n = r.row.object;
	ck_assert_uint_ne(n, 0);
	mvcc_row_release(&r);
	return n;
}

/* A value of nothing but zeros. */
static void put_hole(struct mvcc *m, const char *key)
{
	struct mvcc_object *o;
	struct mvcc_txn *t;

	ck_ok(mvcc_object_new(m, &o));
	ck_ok(mvcc_object_truncate(o, 10 * CHUNK));
	ck_ok(mvcc_txn_new(m, &t));
	ck_ok(mvcc_txn_put_object(t, S(key), o, NULL));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	mvcc_object_free(o);
}

START_TEST(numbers_of_values_without_chunks_are_taken_too)
{
	struct mvcc_mend_report r;
	struct fixture f;
	uint64_t hole;

	fixture_init(&f);
	put_hole(f.m, "hole");
	hole = object_number(f.m, "hole");
	ck_assert_uint_eq(count_entries(f.m, "c"), 0);
	ck_ok(mvcc_close(f.m));
	lose(f.env, "m", "n");
	mend(f.env, &r);
	ck_assert(r.revisions);
	ck_ok(store_open_at(f.env, &f.m));
	put_hole(f.m, "other");
	ck_assert_uint_gt(object_number(f.m, "other"), hole);
	ck_ok(mvcc_close(f.m));
	env_mem_free(f.env);
}
END_TEST

START_TEST(numbers_of_values_being_written_are_taken_too)
{
	struct buf key = { 0 }, value = { 0 };
	struct mvcc_mend_report r;
	struct cairn_db *db;
	struct fixture f;

	fixture_init(&f);
	put(f.m, "k", "v");
	ck_ok(mvcc_close(f.m));
	/* All that is left of a value that was staged. */
	db = open_engine(f.env);
	ck_ok(enc_staged_key(&key, 77));
	ck_ok(enc_number(&value, 0));
	ck_ok(cairn_put(db, NULL, buf_slice(&key), buf_slice(&value)));
	ck_ok(cairn_close(db));
	lose(f.env, "m", "n");
	mend(f.env, &r);
	ck_assert(r.revisions);
	ck_ok(store_open_at(f.env, &f.m));
	put_hole(f.m, "hole");
	ck_assert_uint_gt(object_number(f.m, "hole"), 77);
	ck_ok(mvcc_close(f.m));
	buf_fini(&key);
	buf_fini(&value);
	env_mem_free(f.env);
}
END_TEST

/* A key that no revision store has, and with it no mark. */
START_TEST(without_its_mark_a_store_must_look_the_part)
{
	struct mvcc_mend_report r;
	struct cairn_db *db;
	struct fixture f;

	fixture_init(&f);
	put(f.m, "k", "v");
	ck_ok(mvcc_close(f.m));
	lose(f.env, "m", "n");
	db = open_engine(f.env);
	ck_ok(cairn_put(db, NULL, S("zebra"), S("value")));
	ck_ok(cairn_close(db));
	mend(f.env, &r);
	ck_assert(!r.revisions && !r.marks && !r.log_entries);
	ck_code(store_open_at(f.env, &f.m), CAIRN_EKIND);
	env_mem_free(f.env);
}
END_TEST

START_TEST(a_plain_store_stays_one)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct mvcc_mend_report r;
	struct cairn_db *db;

	ck_assert_ptr_nonnull(env);
	db = open_engine(env);
	ck_ok(cairn_put(db, NULL, S("key"), S("value")));
	ck_ok(cairn_put(db, NULL, S("m/object"), S("value")));
	ck_ok(cairn_close(db));
	mend(env, &r);
	ck_assert(!r.revisions && !r.marks && !r.log_entries);
	env_mem_free(env);
}
END_TEST

START_TEST(keys_are_put_back_on_their_leases)
{
	struct mvcc_mend_report r;
	struct mvcc_txn *t;
	struct fixture f;
	int64_t id = 5, ttl;

	fixture_init(&f);
	ck_ok(mvcc_lease_grant(f.m, 1000, &id, &ttl));
	ck_ok(mvcc_txn_new(f.m, &t));
	for (unsigned i = 0; i < N; i++) {
		char key[32];

		snprintf(key, sizeof(key), "dir/key%03u", i);
		ck_ok(mvcc_txn_put(t, S(key), S("v"), NULL));
		ck_ok(mvcc_txn_set_lease(t, id));
	}
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	/* Of the newest rows only. */
	put(f.m, "dir/key000", "w");
	del(f.m, "dir/key001");
	ck_ok(mvcc_close(f.m));
	lose(f.env, "a", "b");
	mend(f.env, &r);
	ck_assert_uint_eq(r.attached, N - 2);
	ck_ok(store_open_at(f.env, &f.m));
	ck_ok(mvcc_lease_revoke(f.m, id, NULL));
	ck_value(f.m, "dir/key000", 0, "w");
	ck_value(f.m, "dir/key002", 0, NULL);
	ck_assert_uint_eq(count_entries(f.m, "a"), 0);
	ck_ok(mvcc_close(f.m));
	mend(f.env, &r);
	ck_assert(r.revisions && !r.attached);
	env_mem_free(f.env);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("mend");
	TCase *t = tcase_create("mend");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, the_log_and_the_marks_come_back, 0, 3);
	tcase_add_test(t, keys_are_put_back_on_their_leases);
	tcase_add_test(t, numbers_of_values_without_chunks_are_taken_too);
	tcase_add_test(t, numbers_of_values_being_written_are_taken_too);
	tcase_add_test(t, without_its_mark_a_store_must_look_the_part);
	tcase_add_test(t, a_plain_store_stays_one);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
