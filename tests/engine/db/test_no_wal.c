/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes that are kept out of the WAL, and log data, which is nothing else. */
#include "tests/support/db_test.h"

#include "engine/base/rng.h"
#include "engine/db/commit.h"
#include "engine/db/db.h"
#include "engine/db/db_log.h"

static const struct cairn_write_options with_sync = { .sync = true };
static const struct cairn_write_options unlogged = { .disable_wal = true };

static void open_without_wal(struct test_db *t, struct cairn_env *mem)
{
	tdb_init(t, mem);
	tdb_set(t, "disable_wal", "true");
	tdb_open(t);
}

/* What the directory is after the process died, or the power was cut. */
static void open_after(struct test_db *t, struct test_db *after, bool power_cut)
{
	struct cairn_env *clone =
		env_mem_crash_clone(t->mem, 1, power_cut ? 0 : 100);

	ck_assert_ptr_nonnull(clone);
	tdb_init(after, clone);
	tdb_open(after);
}

START_TEST(nothing_is_written_to_a_log)
{
	struct cairn_batch *b = cairn_batch_new();
	struct cairn_metrics m;
	struct test_db t;

	open_without_wal(&t, NULL);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_batch_put(b, slice_str("b"), slice_str("1")));
	CK_OK(cairn_write(t.db, &unlogged, b));
	cairn_batch_free(b);
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.wal_in_bytes, 0);
	ck_assert_uint_eq(m.wal_written_bytes, 0);
	tdb_expect(&t, "a", "1");
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_flush_is_what_a_crash_does_not_take_back)
{
	struct test_db t, after;

	open_without_wal(&t, NULL);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "b", "1");
	CK_OK(cairn_flush(t.db, true));
	tdb_put(&t, "b", "2");
	tdb_put(&t, "c", "2");
	open_after(&t, &after, _i);
	tdb_expect(&after, "a", "1");
	tdb_expect(&after, "b", "1");
	tdb_expect(&after, "c", NULL);
	/* With a log from now on. */
	tdb_put(&after, "c", "3");
	tdb_reopen(&after);
	tdb_expect(&after, "c", "3");
	tdb_fini(&after);
	tdb_fini(&t);
}
END_TEST

/* Numbers in ascending order, flushed now and then by themselves and on
 * demand: what is left is the first so many, and all up to the last flush. */
START_TEST(what_a_crash_leaves_is_how_it_was_at_some_moment)
{
	struct test_db t, after;
	int n = 0, kept = 0, there = 0;
	struct rng rng;
	char key[16];
	static char value[200];

	memset(value, 'v', sizeof(value) - 1);
	rng_init(&rng, 7 + (uint64_t)_i);
	tdb_init(&t, NULL);
	tdb_set(&t, "disable_wal", "true");
	tdb_set(&t, "write_buffer_size", "16K");
	tdb_open(&t);
	for (int round = 0; round < 60; round++) {
		for (uint64_t k = rng_below(&rng, 40); k--;) {
			snprintf(key, sizeof(key), "%06d", n++);
			tdb_put(&t, key, value);
		}
		if (rng_one_in(&rng, 10)) {
			CK_OK(cairn_flush(t.db, true));
			kept = n;
		}
	}
	open_after(&t, &after, _i % 2);
	for (int i = 0; i < n; i++) {
		struct cairn_pinned p = { 0 };

		snprintf(key, sizeof(key), "%06d", i);
		if (cairn_get(after.db, NULL, slice_str(key), &p))
			continue;
		ck_assert_int_eq(i, there);
		there++;
		cairn_pinned_release(&p);
	}
	ck_assert_int_ge(there, kept);
	tdb_fini(&after);
	tdb_fini(&t);
}
END_TEST

START_TEST(there_is_nothing_to_sync)
{
	struct cairn_batch *b = cairn_batch_new();
	struct test_db t;

	open_without_wal(&t, NULL);
	CK_CODE(tdb_put_sync(&t, "a", "1"), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "cairn_flush()"));
	CK_CODE(cairn_write(t.db, &with_sync, b), CAIRN_EINVAL);
	CK_CODE(cairn_wal_sync(t.db), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "disable_wal"));
	tdb_expect(&t, "a", NULL);
	tdb_put(&t, "a", "2");
	CK_OK(cairn_flush(t.db, true));
	CK_CODE(cairn_wal_sync(t.db), CAIRN_EINVAL);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_checkpoint_has_everything)
{
	struct test_db t;
	struct cairn_db *copy;

	open_without_wal(&t, NULL);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_checkpoint(t.db, "/copy"));
	CK_OK(cairn_open("/copy", t.opts, &copy));
	for (int i = 0; i < 2; i++) {
		struct cairn_pinned p = { 0 };

		CK_OK(cairn_get(copy, NULL, slice_str("a"), &p));
		ck_assert(slice_eq(p.value, slice_str("1")));
		cairn_pinned_release(&p);
	}
	CK_OK(cairn_close(copy));
	tdb_fini(&t);
}
END_TEST

/* The log does for what is in it, and only for that. */
static const struct {
	bool first_logged;
	bool second_logged;
	bool flushed_between;
	bool lost;
	const char *first; /* after it was opened again */
	const char *second;
} closings[] = {
	{ true, true, false, false, "1", "2" },
	{ false, false, false, true, NULL, NULL },
	{ true, false, false, true, "1", NULL },
	{ false, true, false, true, NULL, "2" },
	{ false, true, true, false, "1", "2" },
};

START_TEST(closing_tells_of_what_is_lost)
{
	struct test_db t;
	int err;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_OK(cairn_put(t.db, closings[_i].first_logged ? NULL : &unlogged,
			slice_str("a"), slice_str("1")));
	if (closings[_i].flushed_between)
		CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_put(t.db, closings[_i].second_logged ? NULL : &unlogged,
			slice_str("b"), slice_str("2")));
	tdb_fail(&t, ENV_FAULT_CREATE, ".sst", 1, true, CAIRN_EIO);
	err = cairn_close(t.db);
	t.db = NULL;
	if (!closings[_i].lost)
		CK_CODE(err, CAIRN_OK);
	else
		ck_assert_msg(err < 0 && strstr(cairn_errmsg(), "are lost"),
			      "%d: %s", err, cairn_errmsg());
	env_fault_set(t.env, NULL);
	tdb_open(&t);
	tdb_expect(&t, "a", closings[_i].first);
	tdb_expect(&t, "b", closings[_i].second);
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------------------- log data */

/* What is visited of a log. */
struct seen {
	char data[64];
	unsigned records;
	unsigned entries;
};

static int see_record(void *ctx, const struct cairn_wal_record *r)
{
	struct seen *s = ctx;

	if (!r->note)
		s->records++;
	return CAIRN_OK;
}

static int see_entry(void *ctx, const struct cairn_entry *e)
{
	struct seen *s = ctx;

	if (e->kind != KIND_LOG_DATA)
		s->entries++;
	else if (!slice_starts_with(e->value, slice_str(LOG_NOTE_MAGIC)))
		snprintf(s->data + strlen(s->data),
			 sizeof(s->data) - strlen(s->data), "[%.*s]",
			 (int)e->value.len, (const char *)e->value.data);
	return CAIRN_OK;
}

static void visit_log(struct test_db *t, struct seen *s)
{
	const struct cairn_wal_visitor v = { .ctx = s,
					     .record = see_record,
					     .entry = see_entry };
	uint64_t number, size;
	char path[64];

	commit_lock_log(t->db->commit);
	commit_log_position(t->db->commit, &number, &size);
	commit_unlock_log(t->db->commit);
	snprintf(path, sizeof(path), TEST_DIR "/%06llu.log",
		 (unsigned long long)number);
	*s = (struct seen){ 0 };
	CK_OK(cairn_wal_visit(path, t->opts, &v));
}

START_TEST(log_data_is_in_the_log_and_takes_no_number)
{
	struct cairn_batch *b = cairn_batch_new();
	struct test_db t, after;
	struct seen seen;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_batch_log_data(b, slice_str("alone")));
	CK_OK(cairn_write(t.db, _i ? &with_sync : NULL, b));
	ck_assert_uint_eq(atomic_load(&t.db->visible), 1);
	CK_OK(cairn_batch_put(b, slice_str("b"), slice_str("2")));
	CK_OK(cairn_batch_log_data(b, slice_str("together")));
	CK_OK(cairn_write(t.db, NULL, b));
	ck_assert_uint_eq(atomic_load(&t.db->visible), 2);
	/* After a sync a note comes first, after what was left out as well. */
	CK_OK(cairn_wal_sync(t.db));
	CK_OK(cairn_put(t.db, &unlogged, slice_str("c"), slice_str("3")));
	cairn_batch_clear(b);
	CK_OK(cairn_batch_log_data(b, slice_str("later")));
	CK_OK(cairn_write(t.db, NULL, b));
	tdb_put(&t, "d", "4");
	CK_OK(cairn_write(t.db, NULL, b));
	visit_log(&t, &seen);
	ck_assert_str_eq(seen.data, "[alone][alone][together][later][later]");
	ck_assert_uint_eq(seen.records, 6);
	ck_assert_uint_eq(seen.entries, 3);
	/* Kept out of the log there is nothing to write. */
	CK_OK(cairn_write(t.db, &unlogged, b));
	visit_log(&t, &seen);
	ck_assert_uint_eq(seen.records, 6);

	open_after(&t, &after, false);
	tdb_expect(&after, "a", "1");
	tdb_expect(&after, "b", "2");
	tdb_expect(&after, "c", NULL);
	tdb_expect(&after, "d", "4");
	tdb_fini(&after);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(log_data_that_reads_as_a_note_is_refused)
{
	struct cairn_batch *b = cairn_batch_new();
	char note[LOG_NOTE_LEN] = LOG_NOTE_MAGIC;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_OK(cairn_batch_log_data(b, slice_of(note, sizeof(note))));
	CK_CODE(cairn_write(t.db, NULL, b), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "notes"));
	/* With anything else it is no note. */
	CK_OK(cairn_batch_put(b, slice_str("a"), slice_str("1")));
	CK_OK(cairn_write(t.db, NULL, b));
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(log_data_that_does_not_reach_the_log_is_a_failure)
{
	struct cairn_batch *b = cairn_batch_new();
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_set(&t, "auto_resume", "false");
	tdb_open(&t);
	CK_OK(cairn_batch_log_data(b, slice_str("blob")));
	tdb_fail(&t, ENV_FAULT_APPEND, ".log", 1, false, CAIRN_EIO);
	CK_CODE(cairn_write(t.db, NULL, b), CAIRN_EIO);
	CK_CODE(cairn_close(t.db), CAIRN_EROFS);
	t.db = NULL;
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("no_wal");
	TCase *tc = tcase_create("no_wal");

	tcase_add_test(tc, nothing_is_written_to_a_log);
	tcase_add_loop_test(tc, a_flush_is_what_a_crash_does_not_take_back, 0,
			    2);
	tcase_add_loop_test(
		tc, what_a_crash_leaves_is_how_it_was_at_some_moment, 0, 6);
	tcase_add_test(tc, there_is_nothing_to_sync);
	tcase_add_test(tc, a_checkpoint_has_everything);
	tcase_add_loop_test(tc, closing_tells_of_what_is_lost, 0,
			    (int)(sizeof(closings) / sizeof(closings[0])));
	suite_add_tcase(s, tc);

	tc = tcase_create("log data");
	tcase_add_loop_test(tc, log_data_is_in_the_log_and_takes_no_number, 0,
			    2);
	tcase_add_test(tc, log_data_that_reads_as_a_note_is_refused);
	tcase_add_test(tc, log_data_that_does_not_reach_the_log_is_a_failure);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
