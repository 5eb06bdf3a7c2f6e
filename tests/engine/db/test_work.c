/* SPDX-License-Identifier: BSD-3-Clause */
/* Flushes, compactions, what they leave on disk, and background errors. */
#include <pthread.h>

#include "engine/db/commit.h"
#include "engine/db/db.h"
#include "engine/db/work.h"
#include "engine/version/filename.h"
#include "tests/support/db_test.h"
#include "tests/support/gate_env.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct cairn_slice open_end = { 0 };

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

/* n keys of about 100 bytes, all with the given value. */
static void put_many(struct test_db *t, int n, const char *value)
{
	char key[96];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%080d", i);
		tdb_put(t, key, value);
	}
}

static void expect_many(struct test_db *t, int n, const char *value)
{
	char key[96];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%080d", i);
		tdb_expect(t, key, value);
	}
}

static void begin(struct test_db *t, bool auto_compactions)
{
	static const char *const settings[][2] = {
		{ "l0_compaction_trigger", "2" },
		{ "l0_slowdown", "100" },
		{ "l0_stop", "100" },
		{ "base_level_size", "16K" },
		{ "target_file_size", "8K" },
	};

	tdb_init(t, NULL);
	for (size_t i = 0; i < N(settings); i++)
		tdb_set(t, settings[i][0], settings[i][1]);
	tdb_set(t, "auto_compactions", auto_compactions ? "true" : "false");
}

/* Files that nobody needs go in the background: wait for it. */
static void await_files(struct test_db *t, const char *end, size_t n)
{
	while (tdb_count_files(t, end) != n)
		env_sleep_us(t->mem, 1000);
}

/* ----------------------------------------------------------------- flushes */

START_TEST(a_flush_makes_a_table_and_the_log_obsolete)
{
	struct test_db t;

	begin(&t, false);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 1);
	ck_assert_uint_eq(metrics_of(&t).flushes, 1);
	ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 1);
	await_files(&t, ".log", 1);
	tdb_expect(&t, "a", "1");
	/* There is nothing to flush now. */
	CK_OK(cairn_flush(t.db, true));
	ck_assert_uint_eq(metrics_of(&t).flushes, 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_full_memtable_is_flushed_by_itself)
{
	struct test_db t;

	begin(&t, false);
	tdb_set(&t, "write_buffer_size", "8K");
	tdb_open(&t);
	put_many(&t, 400, "value");
	CK_OK(cairn_wait_idle(t.db));
	ck_assert_uint_gt(metrics_of(&t).flushes, 2);
	ck_assert_uint_eq(metrics_of(&t).memtable_count, 1);
	expect_many(&t, 400, "value");
	tdb_reopen(&t);
	expect_many(&t, 400, "value");
	tdb_fini(&t);
}
END_TEST

/* The second memtable's log must outlive the flush of the first. */
START_TEST(a_log_stays_until_its_own_memtable_is_flushed)
{
	struct gate_env gate;
	struct test_db t, u;

	begin(&t, false);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_set(&t, "max_write_buffers", "10");
	tdb_open(&t);
	gate_set(&gate, false);
	tdb_put(&t, "first", "1");
	CK_OK(cairn_flush(t.db, false));
	gate_await(&gate, 1);
	tdb_put(&t, "second", "2");
	CK_OK(cairn_flush(t.db, false));
	tdb_put(&t, "third", "3");
	gate_pass(&gate);
	/* The first is done, and the second stands before the gate. */
	while (!metrics_of(&t).flushes)
		env_sleep_us(t.mem, 100);
	gate_await(&gate, 1);
	await_files(&t, ".log", 2);
	tdb_init(&u, env_mem_crash_clone(t.mem, 1, 100));
	tdb_open(&u);
	tdb_expect(&u, "first", "1");
	tdb_expect(&u, "second", "2");
	tdb_expect(&u, "third", "3");
	tdb_fini(&u);
	gate_set(&gate, true);
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

/* The memtable that takes writes, with one more writer. */
static struct memtable *hold_memtable(struct test_db *t)
{
	struct memtable *m;

	commit_lock_log(t->db->commit);
	m = t->db->mem;
	ck_assert(memtable_reserve(m, 1));
	commit_unlock_log(t->db->commit);
	return m;
}

static void let_memtable_go(struct test_db *t, struct memtable *m)
{
	memtable_writer_unref(m);
	work_flush_ready(t->db->work);
}

/* Of two that wait only the older one has all its entries. */
START_TEST(the_older_memtable_is_flushed_and_the_log_of_the_younger_stays)
{
	struct memtable *older, *younger;
	struct test_db t, u;

	begin(&t, false);
	tdb_set(&t, "max_write_buffers", "10");
	tdb_open(&t);
	older = hold_memtable(&t);
	tdb_put(&t, "k", "1");
	tdb_put(&t, "first", "1");
	CK_OK(cairn_flush(t.db, false));
	younger = hold_memtable(&t);
	tdb_put(&t, "k", "2");
	CK_OK(cairn_flush(t.db, false));
	tdb_put(&t, "third", "3");
	let_memtable_go(&t, older);
	while (!metrics_of(&t).flushes)
		env_sleep_us(t.mem, 100);
	await_files(&t, ".log", 2);
	tdb_expect(&t, "k", "2");
	tdb_init(&u, env_mem_crash_clone(t.mem, 1, 100));
	tdb_open(&u);
	tdb_expect(&u, "first", "1");
	tdb_expect(&u, "k", "2");
	tdb_expect(&u, "third", "3");
	tdb_fini(&u);
	let_memtable_go(&t, younger);
	tdb_reopen(&t);
	tdb_expect(&t, "k", "2");
	tdb_fini(&t);
}
END_TEST

/* The younger one waits while the older one's flush fails. */
START_TEST(after_a_failed_flush_the_younger_memtable_is_not_overtaken)
{
	struct gate_env gate;
	struct test_db t;

	begin(&t, false);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_set(&t, "max_write_buffers", "10");
	tdb_open(&t);
	gate_set(&gate, false);
	tdb_put(&t, "k", "1");
	CK_OK(cairn_flush(t.db, false));
	gate_await(&gate, 1);
	tdb_put(&t, "k", "2");
	CK_OK(cairn_flush(t.db, false));
	tdb_fail(&t, ENV_FAULT_SYNC, ".sst", 1, false, CAIRN_EIO);
	gate_set(&gate, true);
	while (!metrics_of(&t).flushes)
		env_sleep_us(t.mem, 100);
	CK_OK(cairn_resume(t.db));
	CK_OK(cairn_flush(t.db, true));
	tdb_expect(&t, "k", "2");
	tdb_reopen(&t);
	tdb_expect(&t, "k", "2");
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	tdb_expect(&t, "k", "2");
	tdb_close(&t);
	gate_fini(&gate);
	tdb_fini(&t);
}
END_TEST

START_TEST(memtables_that_wait_are_flushed_together)
{
	struct gate_env gate;
	struct test_db t;

	begin(&t, false);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_set(&t, "max_write_buffers", "10");
	tdb_open(&t);
	gate_set(&gate, false);
	for (int i = 0; i < 4; i++) {
		put_many(&t, 1, i < 3 ? "old" : "new");
		CK_OK(cairn_flush(t.db, false));
		gate_await(&gate, 1);
	}
	ck_assert_uint_eq(metrics_of(&t).memtable_count, 5);
	ck_assert_uint_eq(metrics_of(&t).flush_running, 1);
	gate_set(&gate, true);
	CK_OK(cairn_flush(t.db, true));
	ck_assert_uint_eq(metrics_of(&t).flushes, 2);
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 2);
	expect_many(&t, 1, "new");
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

/* ------------------------------------------------------------- compactions */

START_TEST(level_0_is_compacted_when_it_has_enough_sublevels)
{
	struct test_db t;

	begin(&t, true);
	tdb_open(&t);
	for (int i = 0; i < 2; i++) {
		put_many(&t, 50, i ? "new" : "old");
		CK_OK(cairn_flush(t.db, true));
	}
	CK_OK(cairn_wait_idle(t.db));
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 0);
	ck_assert_uint_ge(metrics_of(&t).level[6].files, 1);
	ck_assert_uint_eq(metrics_of(&t).compactions, 1);
	await_files(&t, ".sst", (size_t)metrics_of(&t).level[6].files);
	expect_many(&t, 50, "new");
	tdb_reopen(&t);
	expect_many(&t, 50, "new");
	tdb_fini(&t);
}
END_TEST

START_TEST(compact_range_leaves_one_level_and_no_garbage)
{
	struct cairn_iter *it;
	struct test_db t;
	char key[96];

	begin(&t, false);
	tdb_open(&t);
	for (int i = 0; i < 5; i++) {
		put_many(&t, 200, i % 2 ? "odd" : "even");
		CK_OK(cairn_flush(t.db, true));
	}
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "%080d", i);
		if (i != 77)
			tdb_delete(&t, key);
	}
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	for (int l = 0; l < 6; l++)
		ck_assert_uint_eq(metrics_of(&t).level[l].files, 0);
	ck_assert_uint_eq(metrics_of(&t).level[6].files, 1);
	ck_assert_uint_eq(metrics_of(&t).estimated_entries, 1);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	ck_assert(cairn_iter_first(it));
	ck_assert(!cairn_iter_next(it));
	cairn_iter_free(it);
	/* Once more changes nothing that can be seen. */
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	ck_assert_uint_eq(metrics_of(&t).estimated_entries, 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(compact_range_takes_an_empty_database_and_an_empty_range)
{
	struct test_db t;

	begin(&t, true);
	tdb_open(&t);
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	tdb_put(&t, "m", "1");
	CK_OK(cairn_compact_range(t.db, slice_str("x"), slice_str("a"), NULL));
	ck_assert_uint_eq(metrics_of(&t).flushes, 0);
	CK_OK(cairn_compact_range(t.db, slice_str("a"), slice_str("b"), NULL));
	tdb_expect(&t, "m", "1");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_cancelled_compaction_leaves_all_as_it_was)
{
	struct test_db t;
	bool cancel = true;

	begin(&t, false);
	tdb_open(&t);
	for (int i = 0; i < 3; i++) {
		put_many(&t, 100, "v");
		CK_OK(cairn_flush(t.db, true));
	}
	CK_CODE(cairn_compact_range(t.db, open_end, open_end, &cancel),
		CAIRN_EABORTED);
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 3);
	ck_assert_uint_eq(metrics_of(&t).compactions_failed, 0);
	expect_many(&t, 100, "v");
	cancel = false;
	CK_OK(cairn_compact_range(t.db, open_end, open_end, &cancel));
	expect_many(&t, 100, "v");
	tdb_fini(&t);
}
END_TEST

struct compact_arg {
	struct test_db *t;
	int result;
};

static void *compact_all(void *arg)
{
	struct compact_arg *a = arg;

	a->result = cairn_compact_range(a->t->db, open_end, open_end, NULL);
	return NULL;
}

START_TEST(manual_compactions_wait_for_one_another)
{
	struct compact_arg args[3];
	pthread_t threads[3];
	struct test_db t;

	begin(&t, true);
	tdb_open(&t);
	for (int i = 0; i < 6; i++) {
		put_many(&t, 200, "v");
		CK_OK(cairn_flush(t.db, true));
	}
	for (int i = 0; i < 3; i++) {
		args[i].t = &t;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, compact_all,
						&args[i]),
				 0);
	}
	put_many(&t, 200, "w");
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		CK_OK(args[i].result);
	}
	expect_many(&t, 200, "w");
	CK_OK(cairn_wait_idle(t.db));
	tdb_fini(&t);
}
END_TEST

START_TEST(a_running_compaction_is_shown)
{
	struct compact_arg arg;
	struct cairn_job job;
	struct gate_env gate;
	pthread_t thread;
	struct test_db t;

	begin(&t, false);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_open(&t);
	for (int i = 0; i < 3; i++) {
		put_many(&t, 100, "v");
		CK_OK(cairn_flush(t.db, true));
	}
	ck_assert_uint_eq(cairn_jobs(t.db, &job, 1), 0);
	gate_set(&gate, false);
	arg.t = &t;
	ck_assert_int_eq(pthread_create(&thread, NULL, compact_all, &arg), 0);
	gate_await(&gate, 1);
	ck_assert_uint_eq(cairn_jobs(t.db, NULL, 0), 2);
	ck_assert_uint_eq(cairn_jobs(t.db, &job, 1), 2);
	ck_assert(job.running);
	ck_assert_int_eq(job.from_level, 0);
	ck_assert_int_eq(job.to_level, 6);
	ck_assert_int_eq(job.files, 3);
	ck_assert_str_eq(job.kind, "compaction");
	ck_assert_str_eq(job.reason, "manual");
	ck_assert_uint_eq(metrics_of(&t).compactions_running, 1);
	gate_set(&gate, true);
	pthread_join(thread, NULL);
	CK_OK(arg.result);
	ck_assert_uint_eq(metrics_of(&t).compactions_running, 0);
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

/* ------------------------------------------------------ pieces and progress
 */

struct progress {
	struct test_db *t;
	unsigned calls;
	uint64_t cancel_at; /* bytes; 0: never */
	struct cairn_compact_progress last;
	unsigned listed; /* as "manual" among the jobs */
};

static void note_progress(void *ctx, const struct cairn_compact_progress *p)
{
	struct cairn_job jobs[8];
	struct progress *n = ctx;
	size_t n_jobs = cairn_jobs(n->t->db, jobs, N(jobs));

	ck_assert_uint_le(p->bytes_done, p->bytes_total);
	if (n->calls) {
		ck_assert_uint_ge(p->bytes_done, n->last.bytes_done);
		ck_assert_int_ge(p->level, n->last.level);
		ck_assert_uint_eq(p->job, n->last.job);
	}
	for (size_t i = 0; i < n_jobs && i < N(jobs); i++) {
		if (strcmp(jobs[i].kind, "manual"))
			continue;
		ck_assert_uint_eq(jobs[i].job, p->job);
		ck_assert_uint_ge(jobs[i].bytes, jobs[i].bytes_done);
		n->listed++;
	}
	n->calls++;
	n->last = *p;
	if (n->cancel_at && p->bytes_done >= n->cancel_at)
		CK_OK(cairn_cancel_job(n->t->db, p->job));
}

/* Two levels of many small tables, too much for one job. */
static void make_levels(struct test_db *t, bool in_place)
{
	begin(t, false);
	tdb_set(t, "target_file_size", "1K");
	tdb_set(t, "compression", "none");
	tdb_open(t);
	for (int i = 0; i < (in_place ? 1 : 2); i++) {
		put_many(t, 4000, i ? "new" : "old");
		CK_OK(cairn_compact_range(t->db, open_end, open_end, NULL));
	}
	if (in_place)
		return;
	/* Every tenth key is in level 0. */
	for (int i = 0; i < 4000; i += 10) {
		char key[96];

		snprintf(key, sizeof(key), "%080d", i);
		tdb_put(t, key, "newest");
	}
}

START_TEST(a_manual_compaction_goes_in_pieces_and_tells_how_far_it_is)
{
	struct progress p = { 0 };
	struct cairn_compact_options o = { .progress = note_progress,
					   .ctx = &p };
	struct cairn_metrics before, after;
	struct test_db t;

	make_levels(&t, _i);
	p.t = &t;
	before = metrics_of(&t);
	CK_OK(cairn_compact(t.db, &o));
	after = metrics_of(&t);
	ck_assert_uint_gt(p.calls, 2);
	ck_assert_uint_ge(p.listed, p.calls - 1);
	ck_assert_uint_eq(p.last.bytes_done, p.last.bytes_total);
	ck_assert_uint_ge(p.last.bytes_done, before.live_table_bytes);
	if (_i)
		ck_assert_uint_gt(after.compactions_manual,
				  before.compactions_manual + 2);
	for (int l = 0; l < 6; l++)
		ck_assert_uint_eq(after.level[l].files, 0);
	ck_assert_uint_eq(after.estimated_entries, 4000);
	ck_assert_uint_eq(cairn_jobs(t.db, NULL, 0), 0);
	CK_CODE(cairn_cancel_job(t.db, p.last.job), CAIRN_NOT_FOUND);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_manual_compaction_ends_when_another_wants_it)
{
	struct progress p = { 0 };
	struct cairn_compact_options o = { .progress = note_progress,
					   .ctx = &p };
	struct cairn_metrics before;
	struct test_db t;

	make_levels(&t, true);
	p.t = &t;
	before = metrics_of(&t);
	p.cancel_at = before.live_table_bytes / 2;
	CK_CODE(cairn_compact(t.db, &o), CAIRN_EABORTED);
	ck_assert_uint_ge(p.last.bytes_done, p.cancel_at);
	ck_assert_uint_lt(p.last.bytes_done, before.live_table_bytes);
	/* The pieces that were done stay. */
	ck_assert_uint_gt(metrics_of(&t).compactions_manual,
			  before.compactions_manual);
	ck_assert_uint_eq(metrics_of(&t).compactions_failed, 0);
	expect_many(&t, 4000, "old");
	ck_assert_uint_eq(cairn_jobs(t.db, NULL, 0), 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_iterator_keeps_its_files_until_it_goes)
{
	struct cairn_iter *it;
	struct test_db t;
	int n = 0;

	begin(&t, false);
	tdb_open(&t);
	for (int i = 0; i < 3; i++) {
		put_many(&t, 100, "v");
		CK_OK(cairn_flush(t.db, true));
	}
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	/* The second log goes after whatever could go with the first one. */
	for (int i = 0; i < 2; i++) {
		tdb_put(&t, "z", "v");
		CK_OK(cairn_flush(t.db, true));
		await_files(&t, ".log", 1);
	}
	ck_assert_uint_eq(metrics_of(&t).level[6].files, 1);
	ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 3 + 1 + 2);
	ck_assert_uint_gt(metrics_of(&t).tables_zombie_bytes, 0);
	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it))
		n++;
	ck_assert_int_eq(n, 100);
	cairn_iter_free(it);
	await_files(&t, ".sst", 1 + 2);
	/* Deleted, but not yet counted as such, perhaps. */
	while (metrics_of(&t).tables_zombie_bytes ||
	       metrics_of(&t).tables_obsolete_bytes)
		env_sleep_us(t.mem, 1000);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_iterator_keeps_its_memtables_until_it_goes)
{
	struct cairn_iter *it;
	struct test_db t;
	uint64_t bytes;

	begin(&t, false);
	tdb_open(&t);
	put_many(&t, 100, "v");
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	bytes = metrics_of(&t).memtable_bytes;
	ck_assert_uint_eq(metrics_of(&t).memtable_zombie_bytes, 0);
	CK_OK(cairn_flush(t.db, true));
	ck_assert_uint_eq(metrics_of(&t).memtable_zombie_bytes, bytes);
	cairn_iter_free(it);
	/* The flush itself may hold it for a moment longer. */
	while (metrics_of(&t).memtable_zombie_bytes)
		env_sleep_us(t.mem, 1000);
	tdb_fini(&t);
}
END_TEST

/* Many small changes, small files, several jobs at once, readers in between. */
static void *write_many(void *arg)
{
	struct compact_arg *a = arg;

	for (int i = 0; i < 6; i++)
		put_many(a->t, 300, "x");
	return NULL;
}

START_TEST(jobs_at_once_keep_the_levels_in_order)
{
	struct compact_arg arg;
	pthread_t thread;
	struct test_db t;

	begin(&t, true);
	tdb_set(&t, "write_buffer_size", "8K");
	tdb_set(&t, "max_background_jobs", "4");
	tdb_set(&t, "target_file_size", "1K");
	tdb_set(&t, "base_level_size", "2K");
	tdb_open(&t);
	put_many(&t, 300, "x");
	arg.t = &t;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_many, &arg), 0);
	for (int i = 0; i < 5; i++)
		expect_many(&t, 300, "x");
	pthread_join(thread, NULL);
	CK_OK(cairn_wait_idle(t.db));
	expect_many(&t, 300, "x");
	tdb_reopen(&t);
	expect_many(&t, 300, "x");
	CK_OK(cairn_verify_checksums(t.db));
	tdb_fini(&t);
}
END_TEST

START_TEST(a_full_manifest_is_replaced_and_removed)
{
	struct test_db t;
	char key[16];
	struct env_names names;
	size_t n = 0;

	begin(&t, false);
	tdb_set(&t, "max_manifest_size", "1");
	tdb_open(&t);
	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "%d", i);
		tdb_put(&t, key, key);
		CK_OK(cairn_flush(t.db, true));
	}
	tdb_close(&t);
	CK_OK(env_list(t.mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		n += strncmp(names.names[i], "MANIFEST-", 9) == 0;
	env_names_free(&names);
	ck_assert_uint_eq(n, 1);
	tdb_open(&t);
	tdb_expect(&t, "11", "11");
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------------- background errors
 */

static const struct {
	const char *name;
	unsigned op;
	const char *path;
	int code;
} flush_faults[] = {
	{ "create", ENV_FAULT_CREATE, ".sst", CAIRN_EIO },
	{ "append", ENV_FAULT_APPEND, ".sst", CAIRN_EIO },
	{ "no space", ENV_FAULT_APPEND, ".sst", CAIRN_ENOSPC },
	{ "sync", ENV_FAULT_SYNC, ".sst", CAIRN_EIO },
	{ "close", ENV_FAULT_CLOSE, ".sst", CAIRN_EIO },
	{ "MANIFEST append", ENV_FAULT_APPEND, "MANIFEST", CAIRN_EIO },
	{ "MANIFEST sync", ENV_FAULT_SYNC, "MANIFEST", CAIRN_EIO },
};

START_TEST(a_failing_flush_stops_writes_and_heals_by_itself)
{
	struct test_db t;
	int refusal = flush_faults[_i].code == CAIRN_ENOSPC ? CAIRN_ENOSPC
							    : CAIRN_EROFS;
	char message[1024];
	int err;

	begin(&t, false);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_fail(&t, flush_faults[_i].op, flush_faults[_i].path, 1, true,
		 flush_faults[_i].code);
	CK_CODE(cairn_flush(t.db, true), refusal);
	CK_CODE(cairn_background_error(t.db, message, sizeof(message)),
		flush_faults[_i].code);
	ck_assert_ptr_nonnull(strstr(message, "injected"));
	ck_assert_int_eq(metrics_of(&t).background_error,
			 flush_faults[_i].code);
	ck_assert_uint_gt(metrics_of(&t).error_latched_us, 0);
	CK_CODE(tdb_try_put(&t, "b", "2"), refusal);
	CK_CODE(cairn_resume(t.db), flush_faults[_i].code);
	tdb_expect(&t, "a", "1");
	/* The log is sound. */
	CK_OK(cairn_wal_sync(t.db));
	env_fault_set(t.env, NULL);
	do
		err = tdb_try_put(&t, "b", "2");
	while (err == refusal);
	CK_OK(err);
	ck_assert_int_eq(metrics_of(&t).background_error, 0);
	CK_OK(cairn_flush(t.db, true));
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	tdb_expect(&t, "b", "2");
	tdb_fini(&t);
}
END_TEST

START_TEST(resume_is_quicker_than_waiting)
{
	struct test_db t;

	begin(&t, false);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_fail(&t, ENV_FAULT_SYNC, ".sst", 1, true, CAIRN_EIO);
	CK_CODE(cairn_flush(t.db, true), CAIRN_EROFS);
	env_fault_set(t.env, NULL);
	CK_OK(cairn_resume(t.db));
	tdb_put(&t, "b", "2");
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 1);
	/* There is nothing to recover from. */
	CK_OK(cairn_resume(t.db));
	tdb_fini(&t);
}
END_TEST

START_TEST(a_failing_compaction_leaves_writes_alone_and_is_tried_again)
{
	struct test_db t;

	begin(&t, true);
	tdb_open(&t);
	put_many(&t, 50, "v");
	CK_OK(cairn_flush(t.db, true));
	put_many(&t, 50, "w");
	/* The second table is the flush's. */
	tdb_fail(&t, ENV_FAULT_CREATE, ".sst", 2, false, CAIRN_ENOSPC);
	CK_OK(cairn_flush(t.db, true));
	while (!metrics_of(&t).compactions_failed)
		env_sleep_us(t.mem, 1000);
	put_many(&t, 10, "x");
	while (metrics_of(&t).level[0].files)
		env_sleep_us(t.mem, 1000);
	while (metrics_of(&t).background_error)
		env_sleep_us(t.mem, 1000);
	CK_OK(cairn_wait_idle(t.db));
	expect_many(&t, 10, "x");
	tdb_fini(&t);
}
END_TEST

START_TEST(waiting_ends_when_compactions_keep_failing)
{
	struct test_db t;

	begin(&t, true);
	tdb_open(&t);
	put_many(&t, 50, "v");
	CK_OK(cairn_flush(t.db, true));
	put_many(&t, 50, "w");
	tdb_fail(&t, ENV_FAULT_CREATE, ".sst", 2, true, CAIRN_EIO);
	CK_OK(cairn_flush(t.db, true));
	CK_CODE(cairn_wait_idle(t.db), CAIRN_EIO);
	tdb_put(&t, "still", "writable");
	env_fault_set(t.env, NULL);
	CK_OK(cairn_resume(t.db));
	CK_OK(cairn_wait_idle(t.db));
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_compaction_that_meets_damage_stops_there_and_reports_it)
{
	struct cairn_table_list l;
	struct test_db t;
	char path[64];

	begin(&t, true);
	tdb_set(&t, "compression", "none");
	tdb_set(&t, "block_cache_size", "0");
	tdb_open(&t);
	put_many(&t, 50, "v");
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_tables(t.db, 0, &l));
	ck_assert_uint_eq(l.n, 1);
	snprintf(path, sizeof(path), "%s", l.tables[0].path);
	cairn_table_list_free(&l);
	CK_OK(env_mem_damage(t.mem, path, 100, 1));
	put_many(&t, 50, "w");
	CK_OK(cairn_flush(t.db, true));
	CK_CODE(cairn_wait_idle(t.db), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), path));
	ck_assert_int_eq(metrics_of(&t).background_error, CAIRN_ECORRUPT);
	CK_CODE(cairn_compact_range(t.db, open_end, open_end, NULL),
		CAIRN_ECORRUPT);
	/* Nothing was rewritten around the damage, and all else works. */
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 2);
	tdb_put(&t, "still", "writable");
	expect_many(&t, 50, "w");
	/* The damaged byte makes no difference to those who close. */
	tdb_close(&t);
	CK_OK(env_mem_damage(t.mem, path, 100, 1));
	tdb_open(&t);
	CK_OK(cairn_wait_idle(t.db));
	expect_many(&t, 50, "w");
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------------ closing */

struct closing {
	struct test_db t;
	struct gate_env gate;
	struct cairn_listener listener;
	_Atomic bool closed; /* all work has ended */
};

static void note_close(void *ctx, const struct cairn_event *e)
{
	struct closing *c = ctx;

	if (e->kind == CAIRN_EVENT_CLOSE)
		c->closed = true;
}

static void *close_it(void *arg)
{
	struct closing *c = arg;

	CK_OK(cairn_close(c->t.db));
	c->t.db = NULL;
	return NULL;
}

/* And does not wait until it has done all it was to do. */
START_TEST(closing_waits_for_a_compaction_to_give_up)
{
	struct closing c = { .closed = false };
	struct cairn_metrics m;
	pthread_t thread;

	begin(&c.t, true);
	tdb_set(&c.t, "target_file_size", "1K");
	gate_init(&c.gate, c.t.env, ".sst");
	c.listener = (struct cairn_listener){ &c, note_close };
	cairn_options_set_env(c.t.opts, &c.gate.base);
	cairn_options_set_listener(c.t.opts, &c.listener);
	tdb_open(&c.t);
	gate_set(&c.gate, false);
	for (int i = 0; i < 2; i++) {
		put_many(&c.t, 200, i ? "new" : "old");
		gate_pass(&c.gate);
		CK_OK(cairn_flush(c.t.db, true));
	}
	gate_await(&c.gate, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, close_it, &c), 0);
	/* Long enough for it to close, if it does not wait. */
	env_sleep_us(c.t.mem, 20000);
	ck_assert(!c.closed);
	gate_set(&c.gate, true);
	pthread_join(thread, NULL);
	tdb_set(&c.t, "auto_compactions", "false");
	tdb_open(&c.t);
	m = metrics_of(&c.t);
	ck_assert_uint_eq(m.level[0].files, 2);
	expect_many(&c.t, 200, "new");
	tdb_fini(&c.t);
	gate_fini(&c.gate);
}
END_TEST

START_TEST(closing_ends_running_compactions)
{
	struct test_db t;

	for (int round = 0; round < 5; round++) {
		begin(&t, true);
		tdb_set(&t, "write_buffer_size", "8K");
		tdb_open(&t);
		put_many(&t, 300 + 40 * round, "v");
		tdb_close(&t);
		tdb_open(&t);
		expect_many(&t, 300, "v");
		tdb_fini(&t);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("work");
	TCase *tc = tcase_create("flush");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_flush_makes_a_table_and_the_log_obsolete);
	tcase_add_test(tc, a_full_memtable_is_flushed_by_itself);
	tcase_add_test(tc, a_log_stays_until_its_own_memtable_is_flushed);
	tcase_add_test(
		tc,
		the_older_memtable_is_flushed_and_the_log_of_the_younger_stays);
	tcase_add_test(
		tc, after_a_failed_flush_the_younger_memtable_is_not_overtaken);
	tcase_add_test(tc, memtables_that_wait_are_flushed_together);
	suite_add_tcase(s, tc);

	tc = tcase_create("compaction");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, level_0_is_compacted_when_it_has_enough_sublevels);
	tcase_add_test(tc, compact_range_leaves_one_level_and_no_garbage);
	tcase_add_test(
		tc, compact_range_takes_an_empty_database_and_an_empty_range);
	tcase_add_test(tc, a_cancelled_compaction_leaves_all_as_it_was);
	tcase_add_test(tc, manual_compactions_wait_for_one_another);
	tcase_add_test(tc, a_running_compaction_is_shown);
	tcase_add_loop_test(
		tc, a_manual_compaction_goes_in_pieces_and_tells_how_far_it_is,
		0, 2);
	tcase_add_test(tc, a_manual_compaction_ends_when_another_wants_it);
	tcase_add_test(tc, an_iterator_keeps_its_files_until_it_goes);
	tcase_add_test(tc, an_iterator_keeps_its_memtables_until_it_goes);
	tcase_add_test(tc, jobs_at_once_keep_the_levels_in_order);
	tcase_add_test(tc, a_full_manifest_is_replaced_and_removed);
	suite_add_tcase(s, tc);

	tc = tcase_create("background errors");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc,
			    a_failing_flush_stops_writes_and_heals_by_itself, 0,
			    (int)N(flush_faults));
	tcase_add_test(tc, resume_is_quicker_than_waiting);
	tcase_add_test(
		tc,
		a_failing_compaction_leaves_writes_alone_and_is_tried_again);
	tcase_add_test(tc, waiting_ends_when_compactions_keep_failing);
	tcase_add_test(
		tc, a_compaction_that_meets_damage_stops_there_and_reports_it);
	tcase_add_test(tc, closing_waits_for_a_compaction_to_give_up);
	tcase_add_test(tc, closing_ends_running_compactions);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
