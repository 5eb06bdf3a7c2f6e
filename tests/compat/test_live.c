/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A RocksDB process writes, flushes and compacts while cairn opens the
 * directory read-only: a state that was there at one moment, or a clear
 * refusal, and never a change of the directory. Needs no time to pass: either
 * answer is right at any moment.
 */
#include <dirent.h>
#include <rocksdb/c.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/db_test.h"

/* Keys of a batch; all have the batch's number as their value. */
#define KEYS 50

static char dir[] = "/tmp/cairn-live.XXXXXX";

static void child_fail(const char *what, const char *err)
{
	fprintf(stderr, "child: %s: %s\n", what, err);
	_exit(1);
}

/* One batch: every key gets the value n. */
static void write_batch(rocksdb_t *db, unsigned n)
{
	rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	char value[600], *err = NULL;

	memset(value, 'x', sizeof(value));
	snprintf(value, sizeof(value), "%08u", n);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key/%04u", i);
		rocksdb_writebatch_put(b, key, strlen(key), value,
				       sizeof(value));
	}
	rocksdb_write(db, wo, b, &err);
	if (err)
		child_fail("write", err);
	rocksdb_writebatch_destroy(b);
	rocksdb_writeoptions_destroy(wo);
}

static rocksdb_t *child_open(void)
{
	rocksdb_options_t *o = rocksdb_options_create();
	char *err = NULL;
	rocksdb_t *db;

	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_write_buffer_size(o, 64 << 10);
	rocksdb_options_set_target_file_size_base(o, 32 << 10);
	rocksdb_options_set_level0_file_num_compaction_trigger(o, 2);
	rocksdb_options_set_info_log_level(o, 4);
	db = rocksdb_open(o, dir, &err);
	if (err)
		child_fail("open", err);
	rocksdb_options_destroy(o);
	return db;
}

/* Write n batches, and then until killed hold the store open. */
static void run_child(int ready, unsigned from, unsigned n, bool forever)
{
	rocksdb_t *db = child_open();
	rocksdb_flushoptions_t *fo = rocksdb_flushoptions_create();
	char *err = NULL;

	for (unsigned i = 0; i < n || forever; i++) {
		write_batch(db, from + i);
		if (i % 7 == 3)
			rocksdb_flush(db, fo, &err);
		if (i % 20 == 19)
			rocksdb_compact_range(db, NULL, 0, NULL, 0);
		if (i == 0 && write(ready, "r", 1) != 1)
			_exit(1);
	}
	rocksdb_flushoptions_destroy(fo);
	rocksdb_close(db);
	_exit(0);
}

static pid_t start_child(unsigned from, unsigned n, bool forever)
{
	int fds[2];
	char c;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		run_child(fds[1], from, n, forever);
	close(fds[1]);
	ck_assert_int_eq(read(fds[0], &c, 1), 1);
	close(fds[0]);
	return pid;
}

/* All keys are of one batch, whose number is returned. */
static unsigned ck_consistent(struct cairn_db *db)
{
	struct cairn_iter *it;
	unsigned n = 0, first = 0, value;

	CK_OK(cairn_iter_new(db, NULL, &it));
	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it)) {
		char text[9] = "";

		ck_assert_uint_eq(cairn_iter_value(it).len, 600);
		memcpy(text, cairn_iter_value(it).data, 8);
		value = (unsigned)strtoul(text, NULL, 10);
		if (n++ == 0)
			first = value;
		ck_assert_uint_eq(value, first);
	}
	/* Another may have come since it was opened. */
	if (cairn_iter_status(it) != CAIRN_OK) {
		ck_assert_int_eq(cairn_iter_status(it), CAIRN_EIO);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "another program "
							     "has changed"));
		first = 0;
	} else {
		ck_assert_uint_eq(n, KEYS);
	}
	cairn_iter_free(it);
	return first;
}

static int open_read_only(struct cairn_db **db)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	CK_OK(cairn_options_set(o, "read_only", "true"));
	err = cairn_open(dir, o, db);
	cairn_options_free(o);
	return err;
}

static void remove_dir(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(while_rocksdb_has_it_open_it_is_refused_with_the_process)
{
	struct cairn_db *db;
	char who[64];
	pid_t pid;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	pid = start_child(1, 0, true);
	snprintf(who, sizeof(who), "held by process %d", (int)pid);
	for (int i = 0; i < 100; i++) {
		CK_CODE(open_read_only(&db), CAIRN_EBUSY);
		ck_assert_msg(strstr(cairn_errmsg(), who) != NULL, "%s",
			      cairn_errmsg());
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* What it left is read, log and all. */
	CK_OK(open_read_only(&db));
	ck_assert_uint_gt(ck_consistent(db), 0);
	CK_OK(cairn_close(db));
	remove_dir();
}
END_TEST

START_TEST(between_its_runs_every_state_is_one_that_was_there)
{
	unsigned seen = 0, opened = 0, refused = 0;
	pid_t pid;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (unsigned run = 0; run < 12; run++) {
		bool ends = false;

		pid = start_child(1 + run * 100, 40, false);
		while (!ends) {
			struct cairn_db *db;
			int err = open_read_only(&db);

			ends = waitpid(pid, NULL, WNOHANG) == pid;
			if (err == CAIRN_EBUSY) {
				refused++;
				continue;
			}
			CK_OK(err);
			if (run % 2 && !ends) {
				/* The next one comes under our eyes. */
				pid_t more;

				waitpid(pid, NULL, 0);
				more = start_child(1 + run * 100 + 50, 20,
						   false);
				ck_consistent(db);
				CK_OK(cairn_close(db));
				waitpid(more, NULL, 0);
				opened++;
				break;
			}
			err = (int)ck_consistent(db);
			ck_assert(!err || (unsigned)err >= seen);
			seen = err ? (unsigned)err : seen;
			opened++;
			CK_OK(cairn_close(db));
		}
	}
	ck_assert_uint_gt(opened, 0);
	ck_assert_uint_gt(refused, 0);
	remove_dir();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("live");
	TCase *tc = tcase_create("a RocksDB process at work");

	tcase_set_timeout(tc, 120);
	tcase_add_test(
		tc, while_rocksdb_has_it_open_it_is_refused_with_the_process);
	tcase_add_test(tc, between_its_runs_every_state_is_one_that_was_there);
	suite_add_tcase(s, tc);
	return run_suite_apart(s);
}
