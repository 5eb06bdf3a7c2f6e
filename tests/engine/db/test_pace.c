/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast background jobs write, and when they hurry. */
#include <pthread.h>

#include "tests/support/db_test.h"

static const struct cairn_slice all = { NULL, 0 };

/* A rate of 1 byte per second: what is paced does not end in a test's time. */
static void begin(struct test_db *t, const char *paced)
{
	tdb_init(t, NULL);
	tdb_set(t, "compression", "none");
	tdb_set(t, "auto_compactions", "false");
	if (paced)
		tdb_set(t, paced, "1");
}

static void put_many(struct test_db *t, int n)
{
	char key[16];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%06d", i);
		tdb_put(t, key, "twenty bytes of text");
	}
}

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

static void begin_paced_flush(struct test_db *t)
{
	begin(t, "flush_rate");
	tdb_open(t);
	put_many(t, 2000);
	CK_OK(cairn_flush(t->db, false));
	while (!metrics_of(t).flush_running)
		env_sleep_us(t->mem, 500);
	env_sleep_us(t->mem, 30000);
	ck_assert_uint_eq(metrics_of(t).flushes, 0);
}

START_TEST(a_flush_that_nobody_waits_for_takes_its_time)
{
	struct test_db t;

	begin_paced_flush(&t);
	/* Reads and writes go on meanwhile. */
	tdb_expect(&t, "000007", "twenty bytes of text");
	tdb_put(&t, "more", "1");
	ck_assert_uint_eq(metrics_of(&t).flush_running, 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_flush_hurries_for_who_waits_for_it)
{
	struct test_db t;

	begin_paced_flush(&t);
	if (_i == 0)
		CK_OK(cairn_flush(t.db, true));
	else
		CK_OK(cairn_wait_idle(t.db));
	ck_assert_uint_ge(metrics_of(&t).flushes, 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_flush_keeps_up_with_writers)
{
	struct test_db t;

	begin(&t, "flush_rate");
	tdb_set(&t, "write_buffer_size", "64K");
	tdb_open(&t);
	/* Many memtables: a writer that has to wait for a flush of one byte per
	 * second would take the whole day. */
	put_many(&t, 20000);
	ck_assert_uint_ge(metrics_of(&t).flushes, 3);
	tdb_fini(&t);
}
END_TEST

START_TEST(compactions_go_at_a_rate_and_closing_ends_them)
{
	struct test_db t;

	begin(&t, "compaction_rate");
	tdb_set(&t, "auto_compactions", "true");
	tdb_set(&t, "l0_compaction_trigger", "2");
	tdb_open(&t);
	for (int i = 0; i < 2; i++) {
		put_many(&t, 2000);
		CK_OK(cairn_flush(t.db, true));
	}
	while (!metrics_of(&t).compactions_running)
		env_sleep_us(t.mem, 500);
	env_sleep_us(t.mem, 30000);
	ck_assert_uint_eq(metrics_of(&t).compactions, 0);
	/* Flushes come first. */
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	ck_assert_uint_eq(metrics_of(&t).compactions_running, 1);
	tdb_fini(&t);
}
END_TEST

struct compacter {
	struct test_db *t;
	pthread_t thread;
	_Bool volatile cancel;
	int result;
};

static void *compact(void *arg)
{
	struct compacter *c = arg;

	c->result = cairn_compact_range(c->t->db, all, all, &c->cancel);
	return NULL;
}

START_TEST(a_compaction_at_a_rate_ends_when_it_is_cancelled)
{
	struct compacter c = { 0 };
	struct test_db t;

	begin(&t, "compaction_rate");
	tdb_open(&t);
	for (int i = 0; i < 2; i++) {
		put_many(&t, 2000);
		CK_OK(cairn_flush(t.db, true));
	}
	c.t = &t;
	ck_assert_int_eq(pthread_create(&c.thread, NULL, compact, &c), 0);
	while (!metrics_of(&t).compactions_running)
		env_sleep_us(t.mem, 500);
	/* So that it sleeps. */
	env_sleep_us(t.mem, 30000);
	__atomic_store_n(&c.cancel, true, __ATOMIC_RELAXED);
	pthread_join(c.thread, NULL);
	CK_CODE(c.result, CAIRN_EABORTED);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_compaction_leaves_the_last_bytes_of_the_disk)
{
	static char filler[16 << 20];
	struct env_space before, after;
	struct cairn_metrics m;
	struct test_db t;
	struct wfile *w;

	begin(&t, NULL);
	tdb_set(&t, "disk_reserve", "512K");
	tdb_open(&t);
	/* What is left is a part of the whole disk. */
	CK_OK(env_open_write(t.mem, "/filler", &w));
	CK_OK(wfile_append(w, filler, sizeof(filler)));
	CK_OK(wfile_close(w));
	for (int i = 0; i < 2; i++) {
		put_many(&t, 20000);
		CK_OK(cairn_flush(t.db, true));
	}
	/* The logs are gone. */
	while (tdb_count_files(&t, ".log") > 1)
		env_sleep_us(t.mem, 500);
	env_mem_set_capacity(t.mem, env_mem_bytes(t.mem) + (600 << 10));
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	while (tdb_count_files(&t, ".log") > 1)
		env_sleep_us(t.mem, 500);
	CK_OK(env_free_space(t.mem, TEST_DIR, &before));
	CK_CODE(cairn_compact_range(t.db, all, all, NULL), CAIRN_ENOSPC);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "last bytes"));
	/* It took nothing along. */
	while (tdb_count_files(&t, ".log") > 1)
		env_sleep_us(t.mem, 500);
	CK_OK(env_free_space(t.mem, TEST_DIR, &after));
	ck_assert_uint_ge(after.free + 4096, before.free);
	m = metrics_of(&t);
	ck_assert_int_eq(m.background_error, CAIRN_OK);
	tdb_put(&t, "b", "2");
	env_mem_set_capacity(t.mem, 0);
	CK_OK(cairn_compact_range(t.db, all, all, NULL));
	tdb_expect(&t, "000007", "twenty bytes of text");
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pace");
	TCase *tc = tcase_create("pace");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_flush_that_nobody_waits_for_takes_its_time);
	tcase_add_loop_test(tc, a_flush_hurries_for_who_waits_for_it, 0, 2);
	tcase_add_test(tc, a_flush_keeps_up_with_writers);
	tcase_add_test(tc, compactions_go_at_a_rate_and_closing_ends_them);
	tcase_add_test(tc, a_compaction_at_a_rate_ends_when_it_is_cancelled);
	tcase_add_test(tc, a_compaction_leaves_the_last_bytes_of_the_disk);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
