/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/engine/env/contract.h"

static void make_dir(char dir[256])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, 256, "%s/cairn-env-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

/* Two levels are all that these tests make. */
static void remove_dir(const char *dir, int depth)
{
	struct env_names l;

	ck_ok(env_list(env_posix(), dir, &l));
	for (size_t i = 0; i < l.n; i++) {
		struct paths p = in(dir, l.names[i]);

		if (unlink(p.at)) {
			ck_assert_int_lt(depth, 3);
			remove_dir(p.at, depth + 1);
		}
	}
	env_names_free(&l);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct cairn_env *contract_begin(char dir[256])
{
	make_dir(dir);
	return env_posix();
}

static void contract_end(struct cairn_env *e, const char *dir)
{
	(void)e;
	remove_dir(dir, 0);
}

/* The descriptor that is open on path; -1: none. */
static int find_fd(const char *path)
{
	struct stat want, st;

	if (stat(path, &want))
		return -1;
	for (int fd = 0; fd < 100; fd++) {
		if (fstat(fd, &st) == 0 && st.st_ino == want.st_ino &&
		    st.st_dev == want.st_dev)
			return fd;
	}
	return -1;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_mode & 07777;
}

START_TEST(new_files_and_directories_are_private)
{
	struct cairn_env *e = env_posix();
	struct env_lock *l = NULL;
	char dir[256];

	umask(0);
	make_dir(dir);
	put_file(e, in(dir, "f").at, "");
	ck_ok(env_mkdir(e, in(dir, "d").at));
	ck_ok(env_lock(e, in(dir, "LOCK").at, "", &l));
	ck_assert_int_eq(mode_of(in(dir, "f").at), 0640);
	ck_assert_int_eq(mode_of(in(dir, "d").at), 0750);
	ck_assert_int_eq(mode_of(in(dir, "LOCK").at), 0640);
	env_unlock(e, l);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(descriptors_are_closed_on_exec_and_when_done)
{
	struct cairn_env *e = env_posix();
	struct paths f, g, lock;
	struct wfile *w = NULL;
	struct rfile *r = NULL;
	struct env_lock *l = NULL;
	char dir[256];

	make_dir(dir);
	f = in(dir, "f");
	g = in(dir, "g");
	lock = in(dir, "LOCK");
	put_file(e, g.at, "x");
	ck_assert_int_eq(find_fd(g.at), -1);
	ck_ok(env_open_write(e, f.at, &w));
	ck_ok(env_open_read(e, g.at, &r));
	ck_ok(env_lock(e, lock.at, "", &l));
	ck_assert_int_eq(fcntl(find_fd(f.at), F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(find_fd(g.at), F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(find_fd(lock.at), F_GETFD), FD_CLOEXEC);
	ck_ok(env_sync_dir(e, dir));
	ck_ls(e, dir, "LOCK f g ");
	ck_assert_int_eq(find_fd(dir), -1);
	ck_ok(wfile_close(w));
	rfile_close(r);
	env_unlock(e, l);
	ck_assert_int_eq(find_fd(f.at), -1);
	ck_assert_int_eq(find_fd(g.at), -1);
	ck_assert_int_eq(find_fd(lock.at), -1);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(no_file_becomes_standard_input_output_or_error)
{
	struct cairn_env *e = env_posix();
	struct wfile *w = NULL;
	struct paths f;
	char dir[256];
	int saved[3], fd;

	make_dir(dir);
	f = in(dir, "f");
	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 50);
		close(i);
	}
	fd = env_open_write(e, f.at, &w) ? -2 : find_fd(f.at);
	for (int i = 0; i < 3; i++) {
		if (saved[i] >= 0)
			dup2(saved[i], i);
	}
	ck_assert_int_ge(fd, 3);
	ck_ok(wfile_close(w));
	remove_dir(dir, 0);
}
END_TEST

START_TEST(what_is_not_a_regular_file_is_refused_without_waiting)
{
	struct cairn_env *e = env_posix();
	struct rfile *r = NULL;
	struct env_lock *l = NULL;
	struct cairn_holder h;
	struct paths f;
	char dir[256];

	make_dir(dir);
	f = in(dir, "fifo");
	ck_assert_int_eq(mkfifo(f.at, 0600), 0);
	ck_assert_int_eq(env_open_read(e, f.at, &r), CAIRN_EIO);
	ck_names_path(f.at);
	ck_assert_int_eq(env_lock(e, f.at, "", &l), CAIRN_EIO);
	ck_names_path(f.at);
	ck_assert_int_eq(env_holder(e, f.at, &h), CAIRN_EIO);
	ck_assert_int_eq(find_fd(f.at), -1);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(a_planted_link_is_not_locked_and_its_target_stays)
{
	struct cairn_env *e = env_posix();
	struct env_lock *l = NULL;
	struct paths lock, precious;
	char dir[256];

	make_dir(dir);
	lock = in(dir, "LOCK");
	precious = in(dir, "precious");
	put_file(e, precious.at, "precious");
	ck_assert_int_eq(symlink(precious.at, lock.at), 0);
	ck_assert_int_lt(env_lock(e, lock.at, "", &l), 0);
	ck_names_path(lock.at);
	ck_file(e, precious.at, "precious");
	remove_dir(dir, 0);
}
END_TEST

START_TEST(a_write_cut_short_goes_on_until_it_fails)
{
	struct cairn_env *e = env_posix();
	struct rlimit limit = { 1000, 1000 };
	struct wfile *w = NULL;
	struct env_stat st = { 0 };
	struct paths f;
	char dir[256], bytes[1500] = { 0 };

	make_dir(dir);
	f = in(dir, "f");
	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_ok(env_open_write(e, f.at, &w));
	ck_assert_int_eq(wfile_append(w, bytes, sizeof(bytes)), CAIRN_EIO);
	ck_names_path(f.at);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "write"));
	ck_ok(env_stat(e, f.at, &st));
	ck_assert_uint_eq(st.size, 1000);
	ck_ok(wfile_close(w));
	remove_dir(dir, 0);
}
END_TEST

START_TEST(a_failed_sync_stays_failed)
{
	struct cairn_env *e = env_posix();
	struct wfile *w = NULL;
	struct paths f;
	char dir[256], first[1024];
	int fd, good;

	make_dir(dir);
	f = in(dir, "f");
	ck_ok(env_open_write(e, f.at, &w));
	ck_ok(wfile_append(w, "abc", 3));
	ck_ok(wfile_sync(w));
	/* Take the descriptor away, and bring it back for the second sync. */
	fd = find_fd(f.at);
	ck_assert_int_ge(fd, 3);
	good = dup(fd);
	close(fd);
	ck_assert_int_eq(wfile_sync(w), CAIRN_EIO);
	ck_names_path(f.at);
	snprintf(first, sizeof(first), "%s", cairn_errmsg());
	ck_assert_int_eq(dup2(good, fd), fd);
	ck_assert_int_eq(wfile_sync(w), CAIRN_EIO);
	ck_assert_str_eq(cairn_errmsg(), first);
	ck_ok(wfile_close(w));
	close(good);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(a_failed_close_is_told_and_frees_all_the_same)
{
	struct cairn_env *e = env_posix();
	struct wfile *w = NULL;
	struct paths f;
	char dir[256];

	make_dir(dir);
	f = in(dir, "f");
	ck_ok(env_open_write(e, f.at, &w));
	close(find_fd(f.at));
	ck_assert_int_eq(wfile_close(w), CAIRN_EIO);
	ck_names_path(f.at);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(reserved_space_is_given_back_at_close)
{
	struct cairn_env *e = env_posix();
	struct wfile *w = NULL;
	struct stat st;
	struct paths f;
	char dir[256];

	make_dir(dir);
	f = in(dir, "f");
	ck_ok(env_open_write(e, f.at, &w));
	if (wfile_preallocate(w, 8 << 20) == CAIRN_OK) {
		ck_assert_int_eq(stat(f.at, &st), 0);
		ck_assert_int_ge(st.st_blocks * 512, 8 << 20);
		ck_assert_int_eq(st.st_size, 0);
	}
	ck_ok(wfile_append(w, "abc", 3));
	ck_ok(wfile_close(w));
	ck_assert_int_eq(stat(f.at, &st), 0);
	ck_assert_int_eq(st.st_size, 3);
	ck_assert_int_lt(st.st_blocks * 512, 1 << 20);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(offsets_beyond_four_gigabytes_work)
{
	struct cairn_env *e = env_posix();
	const uint64_t far = 5ull << 30;
	struct rfile *r = NULL;
	uint64_t size = 0;
	struct paths f;
	char dir[256], bytes[10];
	size_t got = 0;
	int fd;

	make_dir(dir);
	f = in(dir, "f");
	fd = open(f.at, O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, "xyz", 3, (off_t)far), 3);
	close(fd);
	ck_ok(env_open_read(e, f.at, &r));
	ck_ok(rfile_size(r, &size));
	ck_assert_uint_eq(size, far + 3);
	ck_ok(rfile_read(r, far - 1, bytes, sizeof(bytes), &got));
	ck_assert_uint_eq(got, 4);
	ck_assert_mem_eq(bytes, "\0xyz", 4);
	rfile_close(r);
	remove_dir(dir, 0);
}
END_TEST

/* Run fn in a child; its result. */
static int in_child(int (*fn)(const char *path), const char *path)
{
	int status = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(fn(path));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int plain_fcntl_fails(const char *path)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR);

	return fd >= 0 && fcntl(fd, F_SETLK, &fl) < 0 &&
	       (errno == EAGAIN || errno == EACCES);
}

START_TEST(another_program_is_shut_out_by_a_posix_lock)
{
	struct cairn_env *e = env_posix();
	struct env_lock *l = NULL, *again = NULL;
	struct cairn_holder h;
	struct paths lock;
	char dir[256];

	make_dir(dir);
	lock = in(dir, "LOCK");
	ck_ok(env_lock(e, lock.at, "me", &l));
	ck_assert_int_eq(in_child(plain_fcntl_fails, lock.at), 1);
	/* Asking and failing must not drop the lock. */
	ck_ok(env_holder(e, lock.at, &h));
	ck_assert_int_eq(env_lock(e, lock.at, "me", &again), CAIRN_EBUSY);
	ck_assert_int_eq(in_child(plain_fcntl_fails, lock.at), 1);
	env_unlock(e, l);
	ck_assert_int_eq(in_child(plain_fcntl_fails, lock.at), 0);
	remove_dir(dir, 0);
}
END_TEST

/* A child that holds path, by env_lock() or as RocksDB does, until told. */
struct keeper {
	pid_t pid;
	int go_on;
};

static void keep_lock(const char *path, bool plain, int ready, int go_on)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct env_lock *l = NULL;
	char byte = 'x';

	if (plain) {
		int fd = open(path, O_RDWR | O_CREAT, 0644);

		if (fd < 0 || fcntl(fd, F_SETLK, &fl))
			_exit(1);
	} else if (env_lock(env_posix(), path, "keeper", &l)) {
		_exit(1);
	}
	if (write(ready, &byte, 1) != 1 || read(go_on, &byte, 1) != 1)
		_exit(1);
	_exit(0); /* without unlocking: the kernel does */
}

static struct keeper start_keeper(const char *path, bool plain)
{
	int ready[2], go_on[2];
	struct keeper k;
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(go_on), 0);
	k.pid = fork();
	ck_assert_int_ge(k.pid, 0);
	if (k.pid == 0)
		keep_lock(path, plain, ready[1], go_on[0]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(go_on[0]);
	k.go_on = go_on[1];
	return k;
}

static void end_keeper(struct keeper *k)
{
	int status = 0;

	ck_assert_int_eq(write(k->go_on, "x", 1), 1);
	ck_assert_int_eq(waitpid(k->pid, &status, 0), k->pid);
	ck_assert_int_eq(status, 0);
	close(k->go_on);
}

START_TEST(a_lock_of_another_process_is_seen_with_its_holder)
{
	struct cairn_env *e = env_posix();
	struct cairn_holder h = { 0 };
	struct env_lock *l = NULL;
	struct keeper k;
	struct paths lock;
	char dir[256], want[64];

	make_dir(dir);
	lock = in(dir, "LOCK");
	k = start_keeper(lock.at, false);
	ck_assert_int_eq(env_lock(e, lock.at, "me", &l), CAIRN_EBUSY);
	snprintf(want, sizeof(want), "pid %ld keeper since ", (long)k.pid);
	ck_names_path(lock.at);
	ck_names_path(want);
	ck_ok(env_holder(e, lock.at, &h));
	ck_assert_int_eq(h.pid, k.pid);
	ck_assert_int_eq(strncmp(h.note, want, strlen(want)), 0);
	ck_assert_ptr_null(strchr(h.note, '\n'));
	end_keeper(&k);

	/* Its text is still there, but nobody holds it. */
	ck_assert_int_eq(env_holder(e, lock.at, &h), CAIRN_NOT_FOUND);
	ck_ok(env_lock(e, lock.at, "me", &l));
	ck_ok(env_holder(e, lock.at, &h));
	ck_assert_int_eq(h.pid, getpid());
	env_unlock(e, l);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(a_lock_of_rocksdb_is_seen_with_its_pid)
{
	struct cairn_env *e = env_posix();
	struct cairn_holder h = { 0 };
	struct env_lock *l = NULL;
	struct keeper k;
	struct paths lock;
	char dir[256];

	make_dir(dir);
	lock = in(dir, "LOCK");
	k = start_keeper(lock.at, true);
	ck_assert_int_eq(env_lock(e, lock.at, "me", &l), CAIRN_EBUSY);
	ck_ok(env_holder(e, lock.at, &h));
	ck_assert_int_eq(h.pid, k.pid);
	ck_assert_str_eq(h.note, "");
	end_keeper(&k);
	remove_dir(dir, 0);
}
END_TEST

START_TEST(a_longer_text_of_before_leaves_nothing_behind)
{
	struct cairn_env *e = env_posix();
	struct env_lock *l = NULL;
	struct paths lock;
	char dir[256], text[256];
	size_t n;

	make_dir(dir);
	lock = in(dir, "LOCK");
	put_file(e, lock.at,
		 "pid 1 a holder who was killed and had a note much longer "
		 "than ours since 2000-01-01T00:00:00Z\nand more\n");
	ck_ok(env_lock(e, lock.at, "me", &l));
	n = strlen(get_file(e, lock.at, text));
	ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
	/* Reading it above dropped the system's lock, not the registry's. */
	env_unlock(e, l);
	remove_dir(dir, 0);
}
END_TEST

/* As somebody who may do nothing in dir; 0 when all is as it should be. */
static int forbidden_everywhere(const char *dir)
{
	struct cairn_env *e = env_posix();
	struct wfile *w = NULL;
	struct rfile *r = NULL;
	struct env_lock *l = NULL;
	struct env_names names;
	struct paths f = in(dir, "f");

	if (geteuid() == 0 && seteuid(65534))
		return 1;
	if (env_open_write(e, f.at, &w) != CAIRN_EACCES ||
	    !strstr(cairn_errmsg(), f.at))
		return 2;
	if (env_open_read(e, f.at, &r) != CAIRN_EACCES)
		return 3;
	if (env_list(e, dir, &names) != CAIRN_EACCES)
		return 4;
	if (env_lock(e, f.at, "", &l) != CAIRN_EACCES)
		return 5;
	return 0;
}

START_TEST(a_directory_without_permission_gives_eacces)
{
	struct paths d;
	char dir[256];

	make_dir(dir);
	d = in(dir, "d");
	ck_ok(env_mkdir(env_posix(), d.at));
	put_file(env_posix(), in(d.at, "f").at, "x");
	ck_assert_int_eq(chmod(d.at, 0), 0);
	ck_assert_int_eq(in_child(forbidden_everywhere, d.at), 0);
	ck_assert_int_eq(chmod(d.at, 0700), 0);
	remove_dir(dir, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("env_posix");
	TCase *t = tcase_create("files");

	add_contract(s);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, new_files_and_directories_are_private);
	tcase_add_test(t, descriptors_are_closed_on_exec_and_when_done);
	tcase_add_test(t, no_file_becomes_standard_input_output_or_error);
	tcase_add_test(t,
		       what_is_not_a_regular_file_is_refused_without_waiting);
	tcase_add_test(t, a_write_cut_short_goes_on_until_it_fails);
	tcase_add_test(t, a_failed_sync_stays_failed);
	tcase_add_test(t, a_failed_close_is_told_and_frees_all_the_same);
	tcase_add_test(t, reserved_space_is_given_back_at_close);
	tcase_add_test(t, offsets_beyond_four_gigabytes_work);
	tcase_add_test(t, a_directory_without_permission_gives_eacces);
	suite_add_tcase(s, t);

	t = tcase_create("locks");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, another_program_is_shut_out_by_a_posix_lock);
	tcase_add_test(t, a_lock_of_another_process_is_seen_with_its_holder);
	tcase_add_test(t, a_lock_of_rocksdb_is_seen_with_its_pid);
	tcase_add_test(t, a_longer_text_of_before_leaves_nothing_behind);
	tcase_add_test(t, a_planted_link_is_not_locked_and_its_target_stays);
	suite_add_tcase(s, t);
	return run_suite_apart(s);
}
