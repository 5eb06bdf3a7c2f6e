/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches that are memtables by themselves, on their way through the store. */
#include "tests/support/db_test.h"

#include <pthread.h>

#include "engine/base/rng.h"
#include "engine/db/db.h"
#include "tests/support/gate_env.h"

#define KEYS 200

static const struct cairn_write_options with_sync = { .sync = true };
static const struct cairn_write_options unlogged = { .disable_wal = true };
static const struct cairn_write_options at_once = { .no_slowdown = true };

/* A batch that is large where write_buffer_size is this. */
#define BUFFER "32K"

static void b_put(struct cairn_batch *b, const char *key, const char *value)
{
	CK_OK(cairn_batch_put(b, slice_str(key), slice_str(value)));
}

/* k000 to k199, each with a value of 101 bytes that begins with mark. */
static struct cairn_batch *large_batch(char mark)
{
	struct cairn_batch *b = cairn_batch_new();
	char key[16], value[102];

	ck_assert_ptr_nonnull(b);
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	value[0] = mark;
	/* Not in order. */
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%03d", i * 7 % KEYS);
		b_put(b, key, value);
	}
	return b;
}

/* mark 0: the key is not there. */
static void expect_mark(struct test_db *t, const char *key, char mark)
{
	struct cairn_pinned p = { 0 };
	int err = cairn_get(t->db, NULL, slice_str(key), &p);

	if (!mark) {
		CK_CODE(err, CAIRN_NOT_FOUND);
		return;
	}
	CK_OK(err);
	ck_assert_int_eq(p.value.data[0], mark);
	cairn_pinned_release(&p);
}

static void expect_all(struct test_db *t, char mark)
{
	struct cairn_iter *it;
	int i = 0;
	char key[16];

	CK_OK(cairn_iter_new(t->db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		snprintf(key, sizeof(key), "k%03d", i++);
		ck_assert(slice_eq(cairn_iter_key(it), slice_str(key)));
		ck_assert_int_eq(cairn_iter_value(it).data[0], mark);
	}
	CK_OK(cairn_iter_status(it));
	ck_assert_int_eq(i, mark ? KEYS : 0);
	cairn_iter_free(it);
	for (i = 0; i < KEYS; i += 13) {
		snprintf(key, sizeof(key), "k%03d", i);
		expect_mark(t, key, mark);
	}
}

static void open_small(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "write_buffer_size", BUFFER);
	tdb_set(t, "merge_operator", "stringappend");
	tdb_set(t, "auto_compactions", "false");
	tdb_open(t);
}

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

START_TEST(a_large_batch_is_flushed_without_waiting_for_another)
{
	struct cairn_batch *b = large_batch('1');
	struct cairn_metrics m;
	struct test_db t;

	open_small(&t);
	CK_OK(cairn_write(t.db, NULL, b));
	expect_all(&t, '1');
	CK_OK(cairn_wait_idle(t.db));
	m = metrics_of(&t);
	ck_assert_uint_eq(m.flushes, 1);
	ck_assert_uint_eq(m.memtable_count, 1);
	ck_assert_uint_lt(m.memtable_bytes, 1000);
	expect_all(&t, '1');
	/* Nothing was copied: numbers and log are those of one batch. */
	ck_assert_uint_eq(m.seqno, KEYS);
	ck_assert_uint_eq(m.wal_in_bytes, cairn_batch_bytes(b));
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

/* It takes over the log of an empty memtable. */
START_TEST(each_of_a_row_of_large_batches_takes_one_log)
{
	struct test_db t;
	uint64_t before, after;

	open_small(&t);
	for (int i = 0; i < 5; i++) {
		struct cairn_batch *b = large_batch((char)('1' + i));

		CK_OK(cairn_wait_idle(t.db));
		before = metrics_of(&t).next_file_number;
		CK_OK(cairn_write(t.db, NULL, b));
		CK_OK(cairn_wait_idle(t.db));
		after = metrics_of(&t).next_file_number;
		/* A table and a log. */
		ck_assert_uint_eq(after, before + 2);
		cairn_batch_free(b);
	}
	expect_all(&t, '5');
	tdb_fini(&t);
}
END_TEST

START_TEST(the_batch_belongs_to_the_caller_again)
{
	struct cairn_batch *b =
		_i ? cairn_batch_new_indexed() : cairn_batch_new();
	struct stalled {
		struct test_db t;
		struct gate_env gate;
	} s;
	char key[16];

	tdb_init(&s.t, NULL);
	gate_init(&s.gate, s.t.env, ".sst");
	cairn_options_set_env(s.t.opts, &s.gate.base);
	tdb_set(&s.t, "write_buffer_size", BUFFER);
	tdb_open(&s.t);
	/* It stays in memory. */
	gate_set(&s.gate, false);
	CK_OK(cairn_batch_set_savepoint(b));
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%03d", i);
		b_put(b, key, "the first value");
	}
	CK_OK(cairn_write(s.t.db, NULL, b));
	CK_OK(cairn_batch_rollback(b));
	for (int i = 0; i < 1500; i++)
		b_put(b, "other", "OTHER VALUE");
	cairn_batch_clear(b);
	for (int i = 0; i < 1500; i++)
		b_put(b, "third", "THIRD VALUE");
	cairn_batch_free(b);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%03d", i);
		tdb_expect(&s.t, key, "the first value");
	}
	tdb_expect(&s.t, "other", NULL);
	gate_set(&s.gate, true);
	tdb_fini(&s.t);
	gate_fini(&s.gate);
}
END_TEST

/* Places a large batch can be in when it is read. */
enum place { IN_MEMORY, IN_LOG, IN_TABLE, N_PLACES };

static void move_to(struct test_db *t, int place)
{
	struct cairn_env *clone;

	if (place == IN_TABLE) {
		CK_OK(cairn_flush(t->db, true));
	} else if (place == IN_LOG) {
		/* The process died, before anything was flushed if possible. */
		clone = env_mem_crash_clone(t->mem, 1, 100);
		ck_assert_ptr_nonnull(clone);
		tdb_fini(t);
		tdb_init(t, clone);
		tdb_set(t, "write_buffer_size", BUFFER);
		tdb_set(t, "merge_operator", "stringappend");
		tdb_open(t);
	}
}

START_TEST(its_own_later_changes_survive_a_range_and_earlier_ones_do_not)
{
	struct cairn_batch *b;
	struct test_db t;

	open_small(&t);
	tdb_put(&t, "k", "before");
	tdb_put(&t, "old", "before");
	tdb_put(&t, "zz", "before");
	b = large_batch('1');
	b_put(b, "old", "earlier");
	CK_OK(cairn_batch_merge(b, slice_str("zz"), slice_str("more")));
	CK_OK(cairn_batch_delete_range(b, slice_str("k"), slice_str("p")));
	b_put(b, "k100", "later");
	CK_OK(cairn_batch_single_delete(b, slice_str("zzz")));
	CK_OK(cairn_write(t.db, NULL, b));
	cairn_batch_free(b);
	tdb_put(&t, "k200", "after");
	for (int place = 0; place < 2; place++) {
		tdb_expect(&t, "k", NULL);
		tdb_expect(&t, "old", NULL);
		tdb_expect(&t, "k000", NULL);
		tdb_expect(&t, "k199", NULL);
		tdb_expect(&t, "k100", "later");
		tdb_expect(&t, "k200", "after");
		tdb_expect(&t, "zz", "before,more");
		move_to(&t, _i);
	}
	tdb_fini(&t);
}
END_TEST

START_TEST(a_snapshot_taken_before_does_not_see_it)
{
	struct cairn_batch *b = large_batch('2');
	struct cairn_snapshot *snap;
	struct cairn_read_options o = { 0 };
	struct cairn_pinned p = { 0 };
	struct cairn_iter *it, *old;
	struct test_db t;

	open_small(&t);
	tdb_put(&t, "k001", "1");
	snap = cairn_snapshot_new(t.db);
	o.snapshot = snap;
	CK_OK(cairn_iter_new(t.db, NULL, &old));
	CK_OK(cairn_write(t.db, NULL, b));
	for (int i = 0; i < 2; i++) {
		CK_OK(cairn_get(t.db, &o, slice_str("k001"), &p));
		ck_assert(slice_eq(p.value, slice_str("1")));
		cairn_pinned_release(&p);
		CK_CODE(cairn_get(t.db, &o, slice_str("k002"), &p),
			CAIRN_NOT_FOUND);
		CK_OK(cairn_iter_new(t.db, &o, &it));
		ck_assert(cairn_iter_first(it));
		ck_assert(slice_eq(cairn_iter_value(it), slice_str("1")));
		ck_assert(!cairn_iter_next(it));
		CK_OK(cairn_iter_status(it));
		cairn_iter_free(it);
		CK_OK(cairn_flush(t.db, true));
	}
	ck_assert(cairn_iter_last(old));
	ck_assert(slice_eq(cairn_iter_value(old), slice_str("1")));
	ck_assert(!cairn_iter_prev(old));
	cairn_iter_free(old);
	expect_all(&t, '2');
	cairn_snapshot_release(snap);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

/* One value alone is a large batch, too. */
START_TEST(a_large_value_is_a_large_batch)
{
	char *value = malloc(100001);
	struct test_db t;

	memset(value, 'x', 100000);
	value[100000] = 0;
	open_small(&t);
	tdb_put(&t, "a", value);
	CK_OK(cairn_merge(t.db, NULL, slice_str("b"), slice_str(value)));
	tdb_delete(&t, "c");
	for (int place = 0; place < N_PLACES; place++) {
		tdb_expect(&t, "a", value);
		tdb_expect(&t, "b", value);
		tdb_expect(&t, "c", NULL);
		move_to(&t, place);
	}
	ck_assert_uint_eq(atomic_load(&t.db->visible), 3);
	free(value);
	tdb_fini(&t);
}
END_TEST

START_TEST(what_was_synced_survives_a_power_cut)
{
	struct cairn_batch *b = large_batch('1');
	struct test_db t, after;
	struct gate_env gate;

	tdb_init(&t, NULL);
	tdb_set(&t, "write_buffer_size", BUFFER);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_open(&t);
	tdb_put(&t, "a", "before");
	/* No table can be made; the log has all. */
	gate_set(&gate, false);
	CK_OK(cairn_write(t.db, &with_sync, b));
	tdb_init(&after, env_mem_crash_clone(t.mem, 1, 0));
	tdb_open(&after);
	tdb_expect(&after, "a", "before");
	tdb_delete(&after, "a");
	expect_all(&after, '1');
	tdb_fini(&after);
	cairn_batch_free(b);
	gate_set(&gate, true);
	tdb_reopen(&t);
	expect_mark(&t, "k003", '1');
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

START_TEST(without_a_log_a_flush_makes_it_durable)
{
	struct cairn_batch *b = large_batch('1');
	struct test_db t, after;

	open_small(&t);
	CK_OK(cairn_write(t.db, &unlogged, b));
	ck_assert_uint_eq(metrics_of(&t).wal_in_bytes, 0);
	CK_OK(cairn_flush(t.db, true));
	tdb_init(&after, env_mem_crash_clone(t.mem, 1, 0));
	tdb_open(&after);
	expect_all(&after, '1');
	tdb_fini(&after);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

/* Every operation on logs of a large write fails once. */
START_TEST(a_failure_is_told_and_nothing_of_the_batch_is_seen)
{
	static const unsigned ops[] = { ENV_FAULT_CREATE, ENV_FAULT_APPEND,
					ENV_FAULT_SYNC };
	struct cairn_batch *b = large_batch('1');
	struct test_db t;
	int failures = 0;

	for (uint64_t nth = 1; nth < 6; nth++) {
		int err;

		open_small(&t);
		tdb_put(&t, "a", "before");
		tdb_fail(&t, ops[_i], ".log", nth, false, CAIRN_EIO);
		err = cairn_write(t.db, &with_sync, b);
		env_fault_set(t.env, NULL);
		failures += err != CAIRN_OK;
		/* A write that fails to sync may be seen. */
		if (err && ops[_i] != ENV_FAULT_SYNC)
			expect_mark(&t, "k003", 0);
		if (err) {
			ck_assert(err == CAIRN_EIO || err == CAIRN_EROFS);
			err = cairn_resume(t.db);
			CK_OK(err);
			CK_OK(cairn_write(t.db, &with_sync, b));
		} else if (cairn_background_error(t.db, NULL, 0)) {
			CK_OK(cairn_resume(t.db));
		}
		tdb_expect(&t, "a", "before");
		expect_mark(&t, "k003", '1');
		tdb_put(&t, "b", "after");
		tdb_reopen(&t);
		tdb_expect(&t, "b", "after");
		tdb_delete(&t, "a");
		tdb_delete(&t, "b");
		expect_all(&t, '1');
		tdb_fini(&t);
	}
	ck_assert_int_gt(failures, 0);
	cairn_batch_free(b);
}
END_TEST

START_TEST(who_does_not_want_to_wait_is_sent_away)
{
	struct cairn_batch *b = large_batch('1');
	struct gate_env gate;
	struct test_db t;
	int n = 0, err;

	tdb_init(&t, NULL);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_set(&t, "write_buffer_size", BUFFER);
	tdb_open(&t);
	gate_set(&gate, false);
	while ((err = cairn_write(t.db, &at_once, b)) == CAIRN_OK)
		ck_assert_int_lt(++n, 10);
	CK_CODE(err, CAIRN_EBUSY);
	ck_assert_int_gt(n, 1);
	expect_all(&t, '1');
	/* Nor does a small one find room. */
	CK_CODE(cairn_put(t.db, &at_once, slice_str("a"), slice_str("1")),
		CAIRN_EBUSY);
	gate_set(&gate, true);
	CK_OK(cairn_write(t.db, NULL, b));
	CK_OK(cairn_wait_idle(t.db));
	expect_all(&t, '1');
	ck_assert_uint_eq(atomic_load(&t.db->visible),
			  (uint64_t)(n + 1) * KEYS);
	cairn_batch_free(b);
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

/* ------------------------------------------------------------ many at once */

#define N_THREADS 4
#define N_ROUNDS  40

struct writer_arg {
	struct test_db *t;
	int id;
};

/* Each writer has keys of its own, all of which have the same value: readers
 * see a batch whole or not at all. */
static void write_round(struct writer_arg *a, int round)
{
	struct cairn_batch *b = cairn_batch_new();
	int n = round % 3 ? 5 : KEYS; /* small ones and large ones */
	char key[32], value[120];

	memset(value, '.', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	value[snprintf(value, sizeof(value), "%06d", round)] = ' ';
	for (int i = n; i-- > 0;) {
		snprintf(key, sizeof(key), "%d-%03d", a->id, i);
		b_put(b, key, value);
	}
	CK_OK(cairn_write(a->t->db, round % 7 ? NULL : &with_sync, b));
	cairn_batch_free(b);
}

static void *write_all(void *arg)
{
	struct writer_arg *a = arg;
	struct cairn_read_options o = { 0 };
	struct cairn_pinned p[2] = { 0 };
	char key[2][32];

	for (int round = 0; round < N_ROUNDS; round++) {
		struct cairn_snapshot *snap;
		int other = (a->id + round) % N_THREADS;

		write_round(a, round);
		snap = cairn_snapshot_new(a->t->db);
		o.snapshot = snap;
		/* 0 to 4 are always written together. */
		snprintf(key[0], sizeof(key[0]), "%d-000", other);
		snprintf(key[1], sizeof(key[1]), "%d-004", other);
		if (!cairn_get(a->t->db, &o, slice_str(key[0]), &p[0])) {
			CK_OK(cairn_get(a->t->db, &o, slice_str(key[1]),
					&p[1]));
			ck_assert(slice_eq(p[0].value, p[1].value));
			cairn_pinned_release(&p[0]);
			cairn_pinned_release(&p[1]);
		}
		cairn_snapshot_release(snap);
	}
	return NULL;
}

static void expect_last_rounds(struct test_db *t)
{
	for (int id = 0; id < N_THREADS; id++)
		for (int i = 0; i < KEYS; i++) {
			struct cairn_pinned p = { 0 };
			char key[32], value[32];
			int last = N_ROUNDS - 1;

			/* The last round that had the key. */
			while (i >= 5 && last % 3)
				last--;
			snprintf(key, sizeof(key), "%d-%03d", id, i);
			snprintf(value, sizeof(value), "%06d ", last);
			CK_OK(cairn_get(t->db, NULL, slice_str(key), &p));
			ck_assert(slice_starts_with(p.value, slice_str(value)));
			cairn_pinned_release(&p);
		}
}

START_TEST(large_and_small_batches_of_many_writers_keep_their_order)
{
	struct writer_arg args[N_THREADS];
	pthread_t threads[N_THREADS];
	struct test_db t, after;

	open_small(&t);
	for (int i = 0; i < N_THREADS; i++) {
		args[i] = (struct writer_arg){ &t, i };
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, write_all, &args[i]),
			0);
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	expect_last_rounds(&t);
	tdb_init(&after, env_mem_crash_clone(t.mem, 1, 100));
	tdb_open(&after);
	expect_last_rounds(&after);
	tdb_fini(&after);
	tdb_reopen(&t);
	expect_last_rounds(&t);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("large_batch");
	TCase *tc = tcase_create("large_batch");

	tcase_add_test(tc,
		       a_large_batch_is_flushed_without_waiting_for_another);
	tcase_add_test(tc, each_of_a_row_of_large_batches_takes_one_log);
	tcase_add_loop_test(tc, the_batch_belongs_to_the_caller_again, 0, 2);
	tcase_add_loop_test(
		tc,
		its_own_later_changes_survive_a_range_and_earlier_ones_do_not,
		0, N_PLACES);
	tcase_add_test(tc, a_snapshot_taken_before_does_not_see_it);
	tcase_add_test(tc, a_large_value_is_a_large_batch);
	tcase_add_test(tc, what_was_synced_survives_a_power_cut);
	tcase_add_test(tc, without_a_log_a_flush_makes_it_durable);
	tcase_add_loop_test(
		tc, a_failure_is_told_and_nothing_of_the_batch_is_seen, 0, 3);
	tcase_add_test(tc, who_does_not_want_to_wait_is_sent_away);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);

	tc = tcase_create("threads");
	tcase_add_test(
		tc, large_and_small_batches_of_many_writers_keep_their_order);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
