/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and closing: what is created, refused, kept and left alone. */
#include "engine/base/buf.h"
#include "engine/db/db.h"
#include "tests/support/db_test.h"

/* ----------------------------------------------------------- small helpers */

static void write_file(struct cairn_env *e, const char *name, const char *text)
{
	char path[256];
	struct wfile *f;

	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	CK_OK(env_open_write(e, path, &f));
	CK_OK(wfile_append(f, text, strlen(text)));
	CK_OK(wfile_sync(f));
	CK_OK(wfile_close(f));
	CK_OK(env_sync_dir(e, TEST_DIR));
}

/* Names and contents of everything but LOCK, in one text. */
static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void picture(struct cairn_env *e, struct buf *out)
{
	struct env_names names;
	char path[512];

	buf_clear(out);
	CK_OK(env_list(e, TEST_DIR, &names));
	qsort(names.names, names.n, sizeof(char *), by_name);
	for (size_t i = 0; i < names.n; i++) {
		struct buf text = { 0 };

		if (strcmp(names.names[i], "LOCK") == 0)
			continue;
		snprintf(path, sizeof(path), TEST_DIR "/%s", names.names[i]);
		CK_OK(env_read_file(e, path, 1 << 24, &text));
		CK_OK(buf_append_lp(out, slice_str(names.names[i])));
		CK_OK(buf_append_lp(out, buf_slice(&text)));
		buf_fini(&text);
	}
	env_names_free(&names);
}

static void expect_message(const char *part)
{
	ck_assert_msg(strstr(cairn_errmsg(), part), "\"%s\" is not in: %s",
		      part, cairn_errmsg());
}

/* ---------------------------------------------------------------- creating */

START_TEST(a_new_database_has_the_files_that_rocksdb_expects)
{
	struct test_db t;
	struct env_stat st;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_OK(env_stat(t.mem, TEST_DIR "/CURRENT", &st));
	CK_OK(env_stat(t.mem, TEST_DIR "/LOCK", &st));
	CK_OK(env_stat(t.mem, TEST_DIR "/LOG", &st));
	CK_OK(env_stat(t.mem, TEST_DIR "/IDENTITY", &st));
	ck_assert_uint_eq(st.size, 36);
	ck_assert_uint_eq(tdb_count_files(&t, ".log"), 1);
	ck_assert_uint_eq(tdb_count_files(&t, ".dbtmp"), 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(the_first_write_has_number_1)
{
	struct cairn_metrics m;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 0);
	tdb_put(&t, "a", "1");
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 1);
	tdb_reopen(&t);
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(nothing_is_made_unless_asked_for)
{
	struct env_names names;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_set(&t, "create_if_missing", "false");
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ENOENT);
	ck_assert_int_eq(env_list(t.mem, TEST_DIR, &names), CAIRN_NOT_FOUND);
	CK_OK(env_mkdir(t.mem, TEST_DIR));
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ENOENT);
	CK_OK(env_list(t.mem, TEST_DIR, &names));
	ck_assert_uint_eq(names.n, 0);
	env_names_free(&names);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_existing_database_can_be_an_error)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	tdb_set(&t, "error_if_exists", "true");
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_EEXIST);
	tdb_set(&t, "error_if_exists", "false");
	tdb_open(&t);
	tdb_expect(&t, "a", "1");
	tdb_fini(&t);
}
END_TEST

START_TEST(identity_stays_and_is_made_again_when_missing)
{
	struct buf first = { 0 }, second = { 0 };
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(env_read_file(t.mem, TEST_DIR "/IDENTITY", 100, &first));
	tdb_reopen(&t);
	CK_OK(env_read_file(t.mem, TEST_DIR "/IDENTITY", 100, &second));
	ck_assert(slice_eq(buf_slice(&first), buf_slice(&second)));
	tdb_close(&t);
	CK_OK(env_unlink(t.mem, TEST_DIR "/IDENTITY"));
	tdb_open(&t);
	CK_OK(env_read_file(t.mem, TEST_DIR "/IDENTITY", 100, &second));
	ck_assert_uint_eq(second.len, 36);
	buf_fini(&first);
	buf_fini(&second);
	tdb_fini(&t);
}
END_TEST

START_TEST(options_are_written_when_they_change_and_two_are_kept)
{
	static const char *const sizes[] = { "1M", "2M", "3M", "4M", "4M" };
	struct env_names names;
	struct test_db t;
	size_t n = 0;

	tdb_init(&t, NULL);
	for (size_t i = 0; i < 5; i++) {
		tdb_set(&t, "base_level_size", sizes[i]);
		tdb_open(&t);
		tdb_close(&t);
	}
	CK_OK(env_list(t.mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		n += strncmp(names.names[i], "OPTIONS-", 8) == 0;
	ck_assert_uint_eq(n, 2);
	env_names_free(&names);
	tdb_fini(&t);
}
END_TEST

/* ----------------------------------------------------------------- leaving */

START_TEST(a_closed_database_leaves_nothing_to_replay)
{
	struct cairn_metrics m;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	tdb_open(&t);
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.flushes, 0);
	ck_assert_uint_eq(m.level[0].files, 1);
	ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 1);
	tdb_expect(&t, "a", "1");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_closed_database_survives_a_cut)
{
	struct cairn_env *clone;
	struct test_db t, u;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	clone = env_mem_crash_clone(t.mem, 1, 0);
	tdb_fini(&t);
	tdb_init(&u, clone);
	tdb_open(&u);
	tdb_expect(&u, "a", "1");
	tdb_fini(&u);
}
END_TEST

START_TEST(closing_is_refused_while_something_is_open)
{
	struct cairn_snapshot *s;
	struct cairn_iter *it;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	s = cairn_snapshot_new(t.db);
	CK_CODE(cairn_close(t.db), CAIRN_EBUSY);
	expect_message("1 snapshots");
	cairn_snapshot_release(s);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	CK_CODE(cairn_close(t.db), CAIRN_EBUSY);
	tdb_put(&t, "still", "works");
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

START_TEST(on_a_full_disk_the_log_keeps_what_no_table_can)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_fail(&t, ENV_FAULT_CREATE | ENV_FAULT_APPEND, ".sst", 1, true,
		 CAIRN_ENOSPC);
	tdb_close(&t);
	env_fault_set(t.env, NULL);
	tdb_open(&t);
	tdb_expect(&t, "a", "1");
	tdb_fini(&t);
}
END_TEST

/* ----------------------------------------------------------------- locking */

START_TEST(a_second_open_is_refused)
{
	struct cairn_db *other;
	struct test_db t;

	tdb_init(&t, NULL);
	CK_OK(cairn_options_set_lock_note(t.opts, "mount /mnt/app"));
	tdb_open(&t);
	CK_CODE(cairn_open(TEST_DIR, t.opts, &other), CAIRN_EBUSY);
	expect_message("mount /mnt/app");
	tdb_set(&t, "read_only", "true");
	tdb_set(&t, "create_if_missing", "false");
	CK_CODE(cairn_open(TEST_DIR, t.opts, &other), CAIRN_EBUSY);
	expect_message("mount /mnt/app");
	tdb_fini(&t);
}
END_TEST

/* --------------------------------------------------------------- read-only */

START_TEST(read_only_sees_the_log_and_changes_nothing)
{
	static const struct cairn_slice all = { 0 };
	struct buf before = { 0 }, after = { 0 };
	struct cairn_env *clone;
	struct cairn_metrics m;
	struct test_db t, u;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	tdb_put(&t, "a", "2");
	tdb_put(&t, "b", "3");
	clone = env_mem_crash_clone(t.mem, 1, 100);
	tdb_fini(&t);

	tdb_init(&u, clone);
	tdb_set(&u, "read_only", "true");
	picture(u.mem, &before);
	tdb_open(&u);
	tdb_expect(&u, "a", "2");
	tdb_expect(&u, "b", "3");
	tdb_expect(&u, "c", NULL);
	CK_CODE(tdb_try_put(&u, "c", "4"), CAIRN_EROFS);
	CK_CODE(tdb_put_sync(&u, "c", "4"), CAIRN_EROFS);
	CK_CODE(cairn_wal_sync(u.db), CAIRN_EROFS);
	CK_CODE(cairn_flush(u.db, true), CAIRN_EROFS);
	CK_CODE(cairn_compact_range(u.db, all, all, NULL), CAIRN_EROFS);
	CK_CODE(cairn_resume(u.db), CAIRN_EROFS);
	CK_OK(cairn_wait_idle(u.db));
	CK_OK(cairn_background_error(u.db, NULL, 0));
	CK_OK(cairn_verify_checksums(u.db));
	cairn_metrics_get(u.db, &m);
	ck_assert_uint_eq(m.seqno, 3);
	ck_assert_uint_eq(cairn_jobs(u.db, NULL, 0), 0);
	tdb_close(&u);
	ck_assert_uint_eq(env_fault_count(u.env, ENV_FAULT_WRITES), 0);
	picture(u.mem, &after);
	ck_assert(slice_eq(buf_slice(&before), buf_slice(&after)));
	buf_fini(&before);
	buf_fini(&after);
	tdb_fini(&u);
}
END_TEST

/* ---------------------------------------------------------------- refusing */

START_TEST(directories_of_others_are_refused_by_name)
{
	struct test_db t;

	tdb_init(&t, NULL);
	CK_OK(env_mkdir(t.mem, TEST_DIR));
	write_file(t.mem, "marker.format-version.000001.013", "");
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ENOTSUP);
	expect_message("Pebble");
	tdb_fini(&t);
}
END_TEST

START_TEST(tables_without_current_are_not_overwritten)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	CK_OK(env_rename(t.mem, TEST_DIR "/CURRENT", TEST_DIR "/saved"));
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ECORRUPT);
	expect_message("CURRENT");
	CK_OK(env_rename(t.mem, TEST_DIR "/saved", TEST_DIR "/CURRENT"));
	tdb_open(&t);
	tdb_expect(&t, "a", "1");
	tdb_fini(&t);
}
END_TEST

static const struct {
	const char *text;
	int want;
	const char *message;
} option_files[] = {
	{ "[Version]\n[DBOptions]\n[CFOptions \"default\"]\n"
	  "  comparator=rocksdb.ReverseBytewiseComparator\n",
	  CAIRN_ENOTSUP, "ReverseBytewise" },
	{ "[Version]\n[DBOptions]\n  wal_dir=/elsewhere\n"
	  "[CFOptions \"default\"]\n",
	  CAIRN_ENOTSUP, "/elsewhere" },
	{ "[Version]\n[DBOptions]\n  wal_dir=" TEST_DIR "/\n"
	  "[CFOptions \"default\"]\n",
	  CAIRN_OK, NULL },
	{ "[Version]\n[Options]\n", CAIRN_OK, NULL },
	{ "", CAIRN_OK, NULL },
};

START_TEST(options_that_cannot_be_honoured_are_refused)
{
	struct test_db t;
	int err;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_close(&t);
	write_file(t.mem, "OPTIONS-000999", option_files[_i].text);
	err = cairn_open(TEST_DIR, t.opts, &t.db);
	ck_assert_msg(err == option_files[_i].want, "%d: %s", err,
		      cairn_errmsg());
	if (err)
		t.db = NULL;
	if (option_files[_i].message)
		expect_message(option_files[_i].message);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_missing_or_cut_table_is_refused_by_name)
{
	char path[64], aside[64];
	struct env_names names;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	CK_OK(env_list(t.mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		if (strstr(names.names[i], ".sst")) {
			snprintf(path, sizeof(path), TEST_DIR "/%.20s",
				 names.names[i]);
			snprintf(aside, sizeof(aside), TEST_DIR "/%.20s.aside",
				 names.names[i]);
		}
	env_names_free(&names);
	CK_OK(env_rename(t.mem, path, aside));
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ECORRUPT);
	expect_message(path);
	write_file(t.mem, path + strlen(TEST_DIR) + 1, "short");
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ECORRUPT);
	expect_message(path);
	CK_OK(env_rename(t.mem, aside, path));
	tdb_open(&t);
	tdb_expect(&t, "a", "1");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_failed_open_changes_nothing)
{
	struct buf before = { 0 }, after = { 0 };
	struct buf current = { 0 }, now = { 0 };
	struct cairn_env *base;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	CK_OK(tdb_put_sync(&t, "a", "2"));
	base = env_mem_crash_clone(t.mem, 1, 100);
	tdb_fini(&t);

	CK_OK(env_read_file(base, TEST_DIR "/CURRENT", 99, &current));
	for (uint64_t k = 1;; k++) {
		int err;

		tdb_init(&t, env_mem_crash_clone(base, 1, 100));
		tdb_set(&t, "base_level_size", "1M");
		picture(t.mem, &before);
		tdb_fail(&t, ENV_FAULT_WRITES, NULL, k, false, CAIRN_EIO);
		err = cairn_open(TEST_DIR, t.opts, &t.db);
		env_fault_set(t.env, NULL);
		if (err) {
			t.db = NULL;
			CK_OK(env_read_file(t.mem, TEST_DIR "/CURRENT", 99,
					    &now));
			picture(t.mem, &after);
			/* If CURRENT names the new MANIFEST that one must
			 * stay, and what it names. */
			ck_assert_msg(slice_eq(buf_slice(&before),
					       buf_slice(&after)) ||
					      !slice_eq(buf_slice(&now),
							buf_slice(&current)),
				      "operation %llu left something",
				      (unsigned long long)k);
			tdb_open(&t);
		}
		tdb_expect(&t, "a", "2");
		tdb_fini(&t);
		if (!err && k > 40)
			break;
	}
	env_mem_free(base);
	buf_fini(&before);
	buf_fini(&after);
	buf_fini(&current);
	buf_fini(&now);
}
END_TEST

/* ---------------------------------------------------------------- sweeping */

START_TEST(what_a_crash_left_is_swept_and_the_rest_stays)
{
	struct env_stat st;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_close(&t);
	write_file(t.mem, "000900.sst", "orphan");
	write_file(t.mem, "000901.ldb", "orphan");
	write_file(t.mem, "000902.dbtmp", "temporary");
	write_file(t.mem, "OPTIONS-000903.dbtmp", "temporary");
	write_file(t.mem, "MANIFEST-000904", "orphan");
	write_file(t.mem, "notes.txt", "somebody's");
	write_file(t.mem, "CAIRN-OPTIONS", "ours");
	CK_OK(env_mkdir(t.mem, TEST_DIR "/000905.sst"));
	tdb_open(&t);
	tdb_close(&t);
	ck_assert_uint_eq(tdb_count_files(&t, ".dbtmp"), 0);
	ck_assert_uint_eq(tdb_count_files(&t, ".ldb"), 0);
	/* The directory and the live one. */
	ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 2);
	ck_assert_int_eq(env_stat(t.mem, TEST_DIR "/MANIFEST-000904", &st),
			 CAIRN_NOT_FOUND);
	CK_OK(env_stat(t.mem, TEST_DIR "/notes.txt", &st));
	CK_OK(env_stat(t.mem, TEST_DIR "/CAIRN-OPTIONS", &st));
	tdb_open(&t);
	tdb_put(&t, "b", "2");
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	tdb_expect(&t, "b", "2");
	tdb_fini(&t);
}
END_TEST

START_TEST(old_info_logs_are_kept_but_not_for_ever)
{
	struct env_names names;
	struct test_db t;
	size_t n = 0;

	tdb_init(&t, NULL);
	for (int i = 0; i < 12; i++) {
		tdb_open(&t);
		tdb_close(&t);
	}
	CK_OK(env_list(t.mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		n += strncmp(names.names[i], "LOG.old.", 8) == 0;
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_le(n, 5);
	env_names_free(&names);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("open");
	TCase *tc = tcase_create("open");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_new_database_has_the_files_that_rocksdb_expects);
	tcase_add_test(tc, the_first_write_has_number_1);
	tcase_add_test(tc, nothing_is_made_unless_asked_for);
	tcase_add_test(tc, an_existing_database_can_be_an_error);
	tcase_add_test(tc, identity_stays_and_is_made_again_when_missing);
	tcase_add_test(tc,
		       options_are_written_when_they_change_and_two_are_kept);
	tcase_add_test(tc, a_closed_database_leaves_nothing_to_replay);
	tcase_add_test(tc, a_closed_database_survives_a_cut);
	tcase_add_test(tc, closing_is_refused_while_something_is_open);
	tcase_add_test(tc, on_a_full_disk_the_log_keeps_what_no_table_can);
	tcase_add_test(tc, a_second_open_is_refused);
	tcase_add_test(tc, read_only_sees_the_log_and_changes_nothing);
	tcase_add_test(tc, directories_of_others_are_refused_by_name);
	tcase_add_test(tc, tables_without_current_are_not_overwritten);
	tcase_add_loop_test(
		tc, options_that_cannot_be_honoured_are_refused, 0,
		(int)(sizeof(option_files) / sizeof(option_files[0])));
	tcase_add_test(tc, a_missing_or_cut_table_is_refused_by_name);
	tcase_add_test(tc, a_failed_open_changes_nothing);
	tcase_add_test(tc, what_a_crash_left_is_swept_and_the_rest_stays);
	tcase_add_test(tc, old_info_logs_are_kept_but_not_for_ever);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
