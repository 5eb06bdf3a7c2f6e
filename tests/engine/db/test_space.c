/* SPDX-License-Identifier: BSD-3-Clause */
/* Quota, the last bytes of the disk, and deleting at a rate. */
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/support/db_test.h"
#include "tests/support/gate_env.h"

#define VALUE_LEN 1000

/* What the listener heard; it runs on any thread. */
struct heard {
	_Atomic int reached, cleared, low, over;
	_Atomic uint64_t in_use;
};

static void hear(void *ctx, const struct cairn_event *e)
{
	struct heard *h = ctx;

	if (e->kind == CAIRN_EVENT_QUOTA_REACHED) {
		h->in_use = e->bytes_in;
		h->reached++;
	}
	h->cleared += e->kind == CAIRN_EVENT_QUOTA_CLEARED;
	h->low += e->kind == CAIRN_EVENT_LOW_DISK;
	h->over += e->kind == CAIRN_EVENT_LOW_DISK_OVER;
}

/* Another thread may be about to deliver it. */
static void await(struct test_db *t, _Atomic int *count, int n)
{
	while (*count < n)
		env_sleep_us(t->mem, 500);
	ck_assert_int_eq(*count, n);
}

static void begin(struct test_db *t, struct heard *h)
{
	static const char *const options[][2] = {
		{ "write_buffer_size", "64K" },
		{ "compression", "none" },
		{ "target_file_size", "64K" },
		{ "base_level_size", "256K" },
	};
	struct cairn_listener l = { h, hear };

	*h = (struct heard){ 0 };
	tdb_init(t, NULL);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		tdb_set(t, options[i][0], options[i][1]);
	cairn_options_set_listener(t->opts, &l);
}

/* Values that do not compress; key i. */
static int put_large(struct test_db *t, int i)
{
	char key[16], value[VALUE_LEN + 1];
	unsigned x = (unsigned)i * 2654435761u + 1;

	for (int k = 0; k < VALUE_LEN; k++) {
		x = x * 1664525u + 1013904223u;
		value[k] = (char)('a' + (x >> 24) % 26);
	}
	value[VALUE_LEN] = '\0';
	snprintf(key, sizeof(key), "%06d", i);
	return tdb_try_put(t, key, value);
}

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

/* Put until something is refused with code; the number of keys. */
static int fill(struct test_db *t, int code, int max)
{
	for (int i = 0; i < max; i++) {
		int err = put_large(t, i);

		if (!err)
			continue;
		ck_assert_msg(err == code, "put %d: %s", i, cairn_errmsg());
		return i;
	}
	ck_abort_msg("%d puts went through", max);
}

static void delete_first(struct test_db *t, int n)
{
	char key[16];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%06d", i);
		tdb_delete(t, key);
	}
}

/* ------------------------------------------------------------------- quota */

START_TEST(puts_stop_at_the_quota_and_deletions_do_not)
{
	static const struct cairn_write_options reserve = { .use_reserve =
								    true };
	struct cairn_metrics m;
	struct cairn_batch *b;
	struct test_db t;
	struct heard h;
	int n;

	begin(&t, &h);
	tdb_set(&t, "quota", "1M");
	/* The thread that makes room must not, yet. */
	tdb_set(&t, "auto_compactions", "false");
	tdb_open(&t);
	ck_assert_uint_eq(metrics_of(&t).quota_bytes, 1 << 20);
	ck_assert(!metrics_of(&t).quota_reached);
	CK_OK(cairn_check_space(t.db));
	n = fill(&t, CAIRN_EDQUOT, 2000);
	/* Nine tenths of what it says, with a little for each entry. */
	ck_assert_int_gt(n, 900);
	ck_assert_int_lt(n, 1049);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "quota"));
	m = metrics_of(&t);
	ck_assert(m.quota_reached);
	/* A flush may just have added what a table has beside its entries. */
	ck_assert_uint_le(m.size_in_use_bytes,
			  m.quota_bytes + m.quota_bytes / 64);
	ck_assert_uint_ge(m.size_in_use_bytes,
			  m.live_table_bytes + m.wal_bytes);
	await(&t, &h.reached, 1);
	ck_assert_uint_ge(h.in_use, m.quota_bytes - m.quota_bytes / 10);

	/* Also what would fit, until there is room again. */
	CK_CODE(tdb_try_put(&t, "k", "v"), CAIRN_EDQUOT);
	CK_CODE(cairn_check_space(t.db), CAIRN_EDQUOT);
	b = cairn_batch_new();
	CK_OK(cairn_batch_delete(b, slice_str("000000")));
	CK_OK(cairn_batch_put(b, slice_str("k"), slice_str("v")));
	CK_CODE(cairn_write(t.db, NULL, b), CAIRN_EDQUOT);
	tdb_expect(&t, "k", NULL);
	cairn_batch_clear(b);
	CK_OK(cairn_batch_delete(b, slice_str("000000")));
	CK_OK(cairn_batch_single_delete(b, slice_str("000001")));
	CK_OK(cairn_batch_delete_range(b, slice_str("000002"),
				       slice_str("000004")));
	CK_OK(cairn_write(t.db, NULL, b));
	cairn_batch_free(b);
	CK_OK(cairn_delete(t.db, NULL, slice_str("000005")));
	CK_OK(cairn_put(t.db, &reserve, slice_str("gone"), slice_str("")));
	tdb_expect(&t, "000000", NULL);
	tdb_expect(&t, "000003", NULL);
	tdb_expect(&t, "gone", "");
	ck_assert_int_eq(h.reached, 1);
	ck_assert_int_eq(h.cleared, 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(the_quota_clears_by_itself_when_enough_was_deleted)
{
	struct test_db t;
	struct heard h;
	int n;

	begin(&t, &h);
	tdb_set(&t, "quota", "1M");
	tdb_open(&t);
	n = fill(&t, CAIRN_EDQUOT, 2000);
	delete_first(&t, n / 2);
	/* Nobody asks for a flush or compaction. */
	while (metrics_of(&t).quota_reached)
		env_sleep_us(t.mem, 1000);
	ck_assert_int_eq(put_large(&t, 0), CAIRN_OK);
	while (!h.cleared)
		env_sleep_us(t.mem, 1000);
	ck_assert_uint_lt(metrics_of(&t).size_in_use_bytes, 950 << 10);
	/* And again. */
	CK_OK(cairn_check_space(t.db));
	(void)fill(&t, CAIRN_EDQUOT, 2000);
	await(&t, &h.reached, 2);
	tdb_fini(&t);
}
END_TEST

START_TEST(what_was_replaced_makes_room_when_the_quota_is_reached)
{
	struct test_db t;
	struct heard h;
	int err = CAIRN_OK;

	begin(&t, &h);
	tdb_set(&t, "write_buffer_size", "4M");
	tdb_set(&t, "quota", "1M");
	tdb_open(&t);
	/* The log has a thousand values, of which ten are needed. */
	for (int i = 0; !err && i < 2000; i++)
		err = put_large(&t, i % 10);
	CK_CODE(err, CAIRN_EDQUOT);
	while (cairn_check_space(t.db))
		env_sleep_us(t.mem, 1000);
	ck_assert_uint_lt(metrics_of(&t).size_in_use_bytes, 100 << 10);
	await(&t, &h.cleared, 1);
	ck_assert_int_eq(h.reached, 1);
	ck_assert_int_eq(put_large(&t, 10), CAIRN_OK);
	tdb_fini(&t);
}
END_TEST

START_TEST(one_put_that_is_too_large_bars_no_others)
{
	struct test_db t;
	struct heard h;
	char *value = calloc(1, 1 << 20);

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', (1 << 20) - 1);
	begin(&t, &h);
	tdb_set(&t, "quota", "512K");
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_CODE(tdb_try_put(&t, "large", value), CAIRN_EDQUOT);
	ck_assert(!metrics_of(&t).quota_reached);
	tdb_put(&t, "b", "2");
	ck_assert_int_eq(h.reached, 0);
	free(value);
	tdb_fini(&t);
}
END_TEST

START_TEST(the_quota_holds_over_a_reopen_and_is_a_matter_of_opening)
{
	struct test_db t;
	struct heard h;

	begin(&t, &h);
	tdb_set(&t, "quota", "256K");
	tdb_set(&t, "auto_compactions", "false");
	tdb_open(&t);
	(void)fill(&t, CAIRN_EDQUOT, 2000);
	tdb_reopen(&t);
	while (put_large(&t, 7) == CAIRN_OK)
		;
	CK_CODE(put_large(&t, 7), CAIRN_EDQUOT);
	tdb_close(&t);
	tdb_set(&t, "quota", "0");
	tdb_open(&t);
	ck_assert_int_eq(put_large(&t, 7), CAIRN_OK);
	ck_assert_uint_gt(metrics_of(&t).size_in_use_bytes, 200 << 10);
	tdb_fini(&t);
}
END_TEST

START_TEST(closing_does_not_wait_for_room_to_be_made)
{
	struct test_db t;
	struct heard h;

	for (int i = 0; i < 5; i++) {
		begin(&t, &h);
		tdb_set(&t, "quota", "512K");
		tdb_open(&t);
		delete_first(&t, fill(&t, CAIRN_EDQUOT, 2000));
		env_sleep_us(t.mem, 60000 * (uint64_t)i);
		tdb_fini(&t);
	}
}
END_TEST

/* -------------------------------------------------------------------- disk */

START_TEST(the_last_bytes_of_the_disk_are_for_deletions)
{
	struct env_space space;
	struct test_db t;
	struct heard h;
	int n;

	begin(&t, &h);
	env_mem_set_capacity(t.mem, 8 << 20);
	tdb_open(&t);
	n = fill(&t, CAIRN_ENOSPC, 10000);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "disk_reserve"));
	CK_CODE(cairn_check_space(t.db), CAIRN_ENOSPC);
	ck_assert(metrics_of(&t).disk_low);
	while (!h.low)
		env_sleep_us(t.mem, 500);
	/* No write has failed for it. */
	CK_OK(cairn_background_error(t.db, NULL, 0));
	CK_OK(env_free_space(t.mem, TEST_DIR, &space));
	ck_assert_uint_gt(space.free, 0);
	ck_assert_uint_lt(space.free, 2 << 20);
	/* As many as the log has room for. */
	delete_first(&t, n / 8);
	tdb_expect(&t, "000000", NULL);
	/* Somebody else makes room. */
	env_mem_set_capacity(t.mem, 64 << 20);
	ck_assert_int_eq(put_large(&t, n), CAIRN_OK);
	while (!h.over)
		env_sleep_us(t.mem, 500);
	ck_assert(!metrics_of(&t).disk_low);
	tdb_fini(&t);
}
END_TEST

/* It is tried every two seconds at most, which a busy machine may not show. */
static void wait_until_writable(struct test_db *t)
{
	int err;

	while ((err = tdb_put_sync(t, "again", "works"))) {
		CK_CODE(err, CAIRN_ENOSPC);
		env_sleep_us(t->mem, 1000);
	}
}

/* Everything that writes meets a full disk, at any moment. */
START_TEST(a_full_disk_stops_writers_and_nothing_else)
{
	for (unsigned extra = 0; extra < 12; extra++) {
		struct test_db t;
		struct heard h;
		char key[16];
		int n;

		begin(&t, &h);
		tdb_set(&t, "write_buffer_size", "16K");
		tdb_set(&t, "disk_reserve", "0");
		env_mem_set_capacity(t.mem, (256 << 10) + 2003 * extra);
		tdb_open(&t);
		n = fill(&t, CAIRN_ENOSPC, 10000);
		for (int i = 0; i < n; i += 7) {
			struct cairn_pinned p = { 0 };

			snprintf(key, sizeof(key), "%06d", i);
			CK_OK(cairn_get(t.db, NULL, slice_str(key), &p));
			ck_assert_uint_eq(p.value.len, VALUE_LEN);
			cairn_pinned_release(&p);
		}
		env_mem_set_capacity(t.mem, 64 << 20);
		wait_until_writable(&t);
		ck_assert_int_eq(put_large(&t, n), CAIRN_OK);
		tdb_reopen(&t);
		for (int i = 0; i <= n; i++) {
			struct cairn_pinned p = { 0 };

			snprintf(key, sizeof(key), "%06d", i);
			CK_OK(cairn_get(t.db, NULL, slice_str(key), &p));
			cairn_pinned_release(&p);
		}
		tdb_expect(&t, "again", "works");
		tdb_fini(&t);
	}
}
END_TEST

static uint64_t used(struct test_db *t)
{
	return env_mem_bytes(t->mem);
}

START_TEST(opening_needs_no_space)
{
	struct cairn_env *killed;
	struct test_db t;
	struct heard h;
	char why[1024];
	uint64_t full;
	int n = 200;

	/* A database that was killed: tables, and two logs to be replayed. */
	begin(&t, &h);
	tdb_set(&t, "max_write_buffers", "4");
	tdb_open(&t);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(put_large(&t, i), CAIRN_OK);
	CK_OK(cairn_flush(t.db, true));
	tdb_fail(&t, ENV_FAULT_CREATE, ".sst", 1, true, CAIRN_ENOSPC);
	while (put_large(&t, n) == CAIRN_OK)
		n++;
	killed = env_mem_crash_clone(t.mem, 1, 100);
	env_fault_set(t.env, NULL);
	tdb_fini(&t);

	for (uint64_t room = 0; room < 400 << 10; room += 9000) {
		struct cairn_env *mem = env_mem_crash_clone(killed, 1, 100);

		tdb_init(&t, mem);
		tdb_set(&t, "write_buffer_size", "64K");
		full = used(&t);
		env_mem_set_capacity(t.mem, full + room);
		tdb_open(&t);
		tdb_expect(&t, "nothing", NULL);
		if (cairn_background_error(t.db, why, sizeof(why))) {
			ck_assert_int_eq(
				cairn_background_error(t.db, why, sizeof(why)),
				CAIRN_ENOSPC);
			CK_CODE(tdb_try_put(&t, "a", "1"), CAIRN_ENOSPC);
			CK_CODE(cairn_flush(t.db, true), CAIRN_ENOSPC);
			ck_assert_uint_eq(used(&t), full);
		} else {
			/* There was enough. */
			ck_assert_uint_gt(room, 20000);
		}
		for (int i = 0; i < n; i++) {
			struct cairn_pinned p = { 0 };
			char key[16];

			snprintf(key, sizeof(key), "%06d", i);
			CK_OK(cairn_get(t.db, NULL, slice_str(key), &p));
			cairn_pinned_release(&p);
		}
		/* Closed, it is as it was, and opens again. */
		if (room % 2000) {
			tdb_close(&t);
			tdb_open(&t);
		}
		env_mem_set_capacity(t.mem, full + (8 << 20));
		CK_OK(cairn_resume(t.db));
		CK_OK(tdb_put_sync(&t, "b", "2"));
		tdb_reopen(&t);
		tdb_expect(&t, "b", "2");
		while (tdb_count_files(&t, ".log") > 1)
			env_sleep_us(t.mem, 1000);
		ck_assert_uint_eq(tdb_count_files(&t, ".dbtmp"), 0);
		tdb_fini(&t);
	}
	env_mem_free(killed);
}
END_TEST

START_TEST(a_database_opened_on_a_full_disk_is_finished_by_itself)
{
	struct test_db t;
	struct heard h;

	begin(&t, &h);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	env_mem_set_capacity(t.mem, used(&t));
	tdb_open(&t);
	CK_CODE(tdb_try_put(&t, "a", "2"), CAIRN_ENOSPC);
	tdb_expect(&t, "a", "1");
	env_mem_set_capacity(t.mem, 0);
	wait_until_writable(&t);
	/* A power cut now finds it whole. */
	{
		struct test_db u;

		tdb_init(&u, env_mem_crash_clone(t.mem, 1, 0));
		tdb_open(&u);
		tdb_expect(&u, "a", "1");
		tdb_expect(&u, "again", "works");
		tdb_fini(&u);
	}
	tdb_fini(&t);
}
END_TEST

/* Until the thread that makes up for opening is at the file OPTIONS. Before it
 * CURRENT is written twice, as after a failure. */
static void await_finish(struct test_db *t, struct gate_env *g)
{
	for (int i = 0; i < 2; i++) {
		bool passed = false;

		gate_await(g, 1);
		gate_pass(g);
		while (!passed) {
			env_sleep_us(t->mem, 500);
			mutex_lock(&g->mu);
			passed = !g->n_allowed;
			mutex_unlock(&g->mu);
		}
	}
	while (cairn_background_error(t->db, NULL, 0))
		env_sleep_us(t->mem, 500);
	gate_await(g, 1);
}

START_TEST(finishing_takes_no_tables_from_readers)
{
	const struct cairn_slice all = { NULL, 0 };
	struct cairn_iter *it;
	struct gate_env gate;
	struct test_db t;
	struct heard h;
	int n = 0;

	begin(&t, &h);
	gate_init(&gate, t.env, ".dbtmp");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_set(&t, "auto_compactions", "false");
	tdb_set(&t, "max_open_files", "1");
	tdb_open(&t);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 10; k++)
			ck_assert_int_eq(put_large(&t, 3 * k + i), CAIRN_OK);
		CK_OK(cairn_flush(t.db, true));
	}
	tdb_close(&t);
	/* So that there is an OPTIONS to be written. */
	tdb_set(&t, "write_buffer_size", "128K");
	env_mem_set_capacity(t.mem, used(&t));
	tdb_open(&t);
	CK_CODE(tdb_try_put(&t, "a", "1"), CAIRN_ENOSPC);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	gate_set(&gate, false);
	env_mem_set_capacity(t.mem, 0);
	await_finish(&t, &gate);
	/* Writes go on. The iterator has these tables to itself now. */
	CK_OK(cairn_compact_range(t.db, all, all, NULL));
	tdb_put(&t, "a", "1");
	gate_set(&gate, true);
	while (tdb_count_files(&t, ".log") > 1 ||
	       tdb_count_files(&t, ".dbtmp") > 0)
		env_sleep_us(t.mem, 1000);
	ck_assert_uint_gt(tdb_count_files(&t, ".sst"), 3);
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		n++;
	CK_OK(cairn_iter_status(it));
	ck_assert_int_eq(n, 30);
	cairn_iter_free(it);
	while (tdb_count_files(&t, ".sst") > 1)
		env_sleep_us(t.mem, 1000);
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

/* ---------------------------------------------------------------- deleting */

/* Two tables and then none that hold anything. */
static void make_garbage(struct test_db *t)
{
	const struct cairn_slice all = { NULL, 0 };

	for (int i = 0; i < 2; i++) {
		tdb_put(t, "a", "1");
		tdb_put(t, "b", "1");
		CK_OK(cairn_flush(t->db, true));
	}
	CK_OK(cairn_compact_range(t->db, all, all, NULL));
}

START_TEST(files_are_deleted_at_a_rate)
{
	struct test_db t;
	struct heard h;

	begin(&t, &h);
	tdb_set(&t, "delete_rate", "1");
	tdb_set(&t, "auto_compactions", "false");
	tdb_open(&t);
	make_garbage(&t);
	/* The first one goes; the others have some hundred seconds. */
	while (metrics_of(&t).tables_zombie_bytes)
		env_sleep_us(t.mem, 1000);
	env_sleep_us(t.mem, 20000);
	ck_assert_uint_gt(
		tdb_count_files(&t, ".sst") + tdb_count_files(&t, ".log"), 2);
	ck_assert_uint_gt(metrics_of(&t).disk_usage_bytes,
			  metrics_of(&t).live_table_bytes);
	/* Closing waits for none of them. */
	tdb_close(&t);
	ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_disk_that_is_nearly_full_gets_its_space_back_at_once)
{
	struct test_db t;
	struct heard h;

	begin(&t, &h);
	tdb_set(&t, "delete_rate", "1");
	tdb_set(&t, "auto_compactions", "false");
	/* Less than what two rounds of memtables may need. */
	env_mem_set_capacity(t.mem, 300 << 10);
	tdb_open(&t);
	make_garbage(&t);
	while (tdb_count_files(&t, ".sst") > 1)
		env_sleep_us(t.mem, 1000);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("space");
	TCase *tc = tcase_create("quota");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, puts_stop_at_the_quota_and_deletions_do_not);
	tcase_add_test(tc, the_quota_clears_by_itself_when_enough_was_deleted);
	tcase_add_test(tc,
		       what_was_replaced_makes_room_when_the_quota_is_reached);
	tcase_add_test(tc, one_put_that_is_too_large_bars_no_others);
	tcase_add_test(
		tc, the_quota_holds_over_a_reopen_and_is_a_matter_of_opening);
	tcase_add_test(tc, closing_does_not_wait_for_room_to_be_made);
	suite_add_tcase(s, tc);

	tc = tcase_create("disk");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_last_bytes_of_the_disk_are_for_deletions);
	tcase_add_test(tc, a_full_disk_stops_writers_and_nothing_else);
	tcase_add_test(tc, opening_needs_no_space);
	tcase_add_test(tc,
		       a_database_opened_on_a_full_disk_is_finished_by_itself);
	tcase_add_test(tc, finishing_takes_no_tables_from_readers);
	tcase_add_test(tc, files_are_deleted_at_a_rate);
	tcase_add_test(tc,
		       a_disk_that_is_nearly_full_gets_its_space_back_at_once);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
