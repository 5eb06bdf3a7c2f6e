/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/mount/eventlog.h"
#include "fs/mount/mount.h"

/*
 * What the daemon tells the parent: one byte, the exit status, and the text to
 * print. Nothing at all: it died.
 */
struct report {
	int fd; /* -1: in the foreground */
	bool quiet;
};

/* False when nobody is there to be told. */
static bool tell(const struct report *r, int status, const char *text)
{
	uint8_t head = (uint8_t)status;

	if (r->fd < 0) {
		if (status)
			fputs(text, stderr);
		else if (isatty(STDOUT_FILENO) && !r->quiet)
			fputs(text, stdout);
		fflush(stdout);
		return true;
	}
	return write(r->fd, &head, 1) == 1 &&
	       write(r->fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* The failure of an engine call, by its message. */
static int tell_failure(const struct report *r, const struct daemon_options *o,
			int code)
{
	const char *what = cairn_errmsg();
	struct buf text = { 0 };
	int status = cmd_exit_of(code), err;

	if (!*what)
		what = cairn_strerror(code);
	/* A message that does not name its object gets one. */
	err = buf_printf(&text, "cairn mount: %s%s%s\n",
			 strchr(what, '/') ? "" : o->shown_dir,
			 strchr(what, '/') ? "" : ": ", what);
	if (!err && code == CAIRN_ENOENT && !o->create)
		err = buf_printf(&text, "hint: --create makes a store there\n");
	if (!err && code == CAIRN_ENOTSUP && strstr(what, "(upgrade)"))
		err = buf_printf(&text,
				 "hint: --upgrade converts it; -o ro shows it "
				 "as it is\n");
	else if (!err && code == CAIRN_ENOTSUP && strstr(what, "read-only"))
		err = buf_printf(&text, "hint: cairn mount -o ro %s %s\n",
				 o->shown_dir, o->shown_mnt);
	if (!err)
		err = buf_append(&text, "", 1);
	tell(r, status,
	     err ? "cairn mount: out of memory\n" : (const char *)text.data);
	buf_fini(&text);
	return status;
}

static void tell_success(const struct report *r, const struct daemon_options *o,
			 struct mvcc *m, double seconds)
{
	struct cairn_metrics em;
	uint64_t tables = 0;
	char text[512], what[48];

	if (mvcc_is_plain(m))
		snprintf(what, sizeof(what), "plain store");
	else
		snprintf(what, sizeof(what), "revision %lld",
			 (long long)mvcc_current(m));
	cairn_metrics_get(mvcc_db(m), &em);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		tables += em.level[i].files;
	snprintf(text, sizeof(text),
		 "mounted %.100s at %.100s: %llu tables, %lluM, %s, "
		 "opened in %.2fs\n",
		 o->shown_dir, o->shown_mnt, (unsigned long long)tables,
		 (unsigned long long)(em.live_table_bytes >> 20), what,
		 seconds);
	tell(r, EXIT_YES, text);
}

/* -------------------------------------------------------------- the store */

/*
 * When the tables and logs in dir were last written: nothing in them can be
 * newer. 0 when there are none.
 */
static int64_t newest_ns(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	int64_t newest = 0;
	struct stat st;

	while (d && (e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');
		int64_t ns;

		if (!dot || (strcmp(dot, ".sst") && strcmp(dot, ".ldb") &&
			     strcmp(dot, ".log")))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, 0) || !st.st_size)
			continue;
		ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
		     st.st_mtim.tv_nsec;
		if (ns > newest)
			newest = ns;
	}
	if (d)
		closedir(d);
	return newest;
}

static int open_store(const struct daemon_options *o, struct eventlog *events,
		      struct mvcc **m)
{
	const struct cairn_listener listener = { events, eventlog_add };
	struct cairn_options *engine = cairn_options_new();
	struct mvcc_options mo = { 0 };
	struct buf note = { 0 };
	int err;

	if (!engine)
		return error_nomem();
	cairn_options_set_listener(engine, &listener);
	err = mount_options_apply(&o->mount, engine, &mo.row_cache_bytes);
	if (!err && o->create)
		err = cairn_options_set(engine, "create_if_missing", "true");
	if (!err)
		err = buf_printf(&note, "mount %s%c", o->mnt, 0);
	if (!err)
		err = cairn_options_set_lock_note(engine,
						  (const char *)note.data);
	mo.engine = engine;
	mo.plain = true;
	mo.plain_time_ns = newest_ns(o->dir);
	mo.plain_value_max = mount_options_plain_value(&o->mount);
	if (!err)
		err = mvcc_open(o->dir, &mo, m);
	if (!err && mvcc_is_plain(*m) &&
	    (o->mount.history || o->mount.history_us)) {
		err = mvcc_close(*m);
		if (!err)
			err = error_set(CAIRN_EKIND,
					"-o history: a plain store keeps no "
					"revisions");
	}
	buf_fini(&note);
	cairn_options_free(engine);
	return err;
}

/* ---------------------------------------------------------------- signals */

/* What ends the service: a signal, or the mount being taken away. */
struct ending {
	int signals; /* signalfd */
	int gone;    /* eventfd */
};

static void on_gone(void *ctx)
{
	const struct ending *e = ctx;
	uint64_t one = 1;
	ssize_t n = write(e->gone, &one, sizeof(one));

	(void)n; /* the counter does not overflow by one */
}

static int ending_init(struct ending *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* Inherited by every thread: only the descriptor sees them. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	e->signals = signalfd(-1, &set, SFD_CLOEXEC);
	e->gone = eventfd(0, EFD_CLOEXEC);
	if (e->signals < 0 || e->gone < 0)
		return error_errno(errno, "cannot wait for signals", "mount");
	return CAIRN_OK;
}

static void ending_wait(const struct ending *e)
{
	struct pollfd p[2] = { { .fd = e->signals, .events = POLLIN },
			       { .fd = e->gone, .events = POLLIN } };
	struct signalfd_siginfo si;
	sigset_t set;
	ssize_t n;

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (p[0].revents & POLLIN) {
		n = read(e->signals, &si, sizeof(si));
		(void)n;
	}
	/* A second signal ends the process at once. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void ending_fini(struct ending *e)
{
	if (e->signals >= 0)
		close(e->signals);
	if (e->gone >= 0)
		close(e->gone);
}

/* ------------------------------------------------------------ the process */

/* Keep the heap from holding on to what large requests once needed. */
static void tame_malloc(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static int serve(const struct daemon_options *o, struct report *r,
		 const struct mount_store *s, struct ending *end,
		 const struct timespec *start)
{
	struct mount *mt;
	bool heard = true;
	int err = mount_open(s, o->mnt, &o->mount, on_gone, end, &mt);

	if (err)
		return tell_failure(r, o, err);
	tell_success(r, o, s->m, seconds_since(start));
	if (r->fd >= 0) {
		/* Nobody there who could tell that it is mounted? */
		heard = write(r->fd, "\n", 1) == 1;
		close(r->fd);
		r->fd = -1;
		leave_terminal();
	}
	if (heard)
		ending_wait(end);
	err = mount_close(mt);
	return err ? cmd_exit_of(err) : EXIT_YES;
}

static int be_daemon(const struct daemon_options *o, struct report *r)
{
	struct ending end = { -1, -1 };
	struct mount_store s = { .dir = o->dir };
	struct timespec start;
	int status, err;

	clock_gettime(CLOCK_MONOTONIC, &start);
	tame_malloc();
	err = ending_init(&end);
	if (!err)
		err = eventlog_new(&s.events);
	if (!err)
		err = open_store(o, s.events, &s.m);
	if (err) {
		status = tell_failure(r, o, err);
	} else {
		status = serve(o, r, &s, &end, &start);
		err = mvcc_close(s.m);
		if (err && !status)
			status = cmd_exit_of(err);
	}
	eventlog_free(s.events);
	ending_fini(&end);
	return status;
}

/* --------------------------------------------------------------- starting */

/* What comes through the pipe until its end, or the time is up. */
static bool hear(int fd, unsigned timeout_s, struct buf *out)
{
	struct timespec start;
	uint8_t piece[512];

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		double left = timeout_s - seconds_since(&start);
		ssize_t n;
		int got;

		if (left <= 0)
			return false;
		got = poll(&p, 1, (int)(left * 1000) + 1);
		if (got < 0 && errno != EINTR)
			return false;
		if (got <= 0)
			continue;
		n = read(fd, piece, sizeof(piece));
		if (n < 0 && errno != EINTR)
			return false;
		if (n == 0)
			return true;
		if (n > 0 && buf_append(out, piece, (size_t)n))
			return false;
	}
}

static int wait_for_child(const struct daemon_options *o, pid_t child, int fd)
{
	struct buf said = { 0 };
	int status = EXIT_SYSTEM;
	bool in_time = hear(fd, o->timeout_s, &said);

	if (!in_time) {
		kill(child, SIGTERM);
		fprintf(stderr,
			"cairn mount: %s: not mounted within %u seconds\n",
			o->shown_mnt, o->timeout_s);
		status = EXIT_BUSY;
	} else if (said.len == 0) {
		int how = 0;

		if (waitpid(child, &how, 0) == child && WIFSIGNALED(how))
			fprintf(stderr,
				"cairn mount: %s: the daemon was ended by "
				"signal %d while starting\n",
				o->shown_mnt, WTERMSIG(how));
		else
			fprintf(stderr,
				"cairn mount: %s: the daemon ended while "
				"starting\n",
				o->shown_mnt);
	} else {
		status = said.data[0];
		if (status)
			fwrite(said.data + 1, 1, said.len - 1, stderr);
		else if (isatty(STDOUT_FILENO) && !o->quiet)
			/* Without the newline that tells it was heard. */
			fwrite(said.data + 1, 1, said.len - 2, stdout);
		fflush(stdout);
	}
	buf_fini(&said);
	return status;
}

int daemon_run(const struct daemon_options *o)
{
	struct report r = { -1, o->quiet };
	int fds[2], status;
	pid_t child;

	if (o->foreground)
		return be_daemon(o, &r);
	if (pipe2(fds, O_CLOEXEC)) {
		fprintf(stderr, "cairn mount: %s: cannot make a pipe: %s\n",
			o->shown_mnt, strerror(errno));
		return EXIT_SYSTEM;
	}
	child = fork();
	if (child < 0) {
		fprintf(stderr, "cairn mount: %s: cannot fork: %s\n",
			o->shown_mnt, strerror(errno));
		close(fds[0]);
		close(fds[1]);
		return EXIT_SYSTEM;
	}
	if (child == 0) {
		close(fds[0]);
		r.fd = fds[1];
		setsid();
		if (chdir("/"))
			_exit(EXIT_SYSTEM);
		_exit(be_daemon(o, &r));
	}
	close(fds[1]);
	status = wait_for_child(o, child, fds[0]);
	close(fds[0]);
	return status;
}
