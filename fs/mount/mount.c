/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/mount/memory.h"
#include "fs/mount/mounts.h"
#include "fs/mount/ops.h"

/* How often the housekeeper looks while something waits for it. */
#define TICK_US 200000u
/* Points in time remembered for history=TIME. */
#define MARKS 64

/* Which revision was current when. */
struct mark {
	uint64_t us;
	int64_t rev;
};

struct mount {
	struct fs fs;
	const char *mnt;
	struct mount_options o;
	bool mounted;

	pthread_t keeper;
	bool keeper_runs;
	struct mutex mu;
	struct cond work;
	/* Guarded by mu. */
	bool has_work; /* keyfiles_tick() has */
	bool stop;

	/* Of the housekeeper alone. */
	uint64_t synced_us;
	struct mark marks[MARKS];
	size_t n_marks;
	uint64_t looked_us; /* at the history */
};

/* ---------------------------------------------------------- housekeeping */

/* Once for many: with every file that is written there is work for a moment. */
static void keeper_wake(void *ctx)
{
	struct mount *mt = ctx;

	mutex_lock(&mt->mu);
	if (!mt->has_work) {
		mt->has_work = true;
		cond_signal(&mt->work);
	}
	mutex_unlock(&mt->mu);
}

/* Forget what is older than history_us: what was current that long ago. */
static int64_t rev_by_age(struct mount *mt, uint64_t now)
{
	int64_t current = mvcc_current(mt->fs.m), rev = 0;
	uint64_t gap = mt->o.history_us / (MARKS / 2);
	size_t old = 0;

	while (old < mt->n_marks && now - mt->marks[old].us >= mt->o.history_us)
		rev = mt->marks[old++].rev;
	memmove(mt->marks, mt->marks + old,
		(mt->n_marks - old) * sizeof(mt->marks[0]));
	mt->n_marks -= old;
	if (mt->n_marks < MARKS &&
	    (!mt->n_marks || now - mt->marks[mt->n_marks - 1].us >= gap))
		mt->marks[mt->n_marks++] = (struct mark){ now, current };
	return rev;
}

static void keep_history(struct mount *mt, uint64_t now)
{
	int64_t current = mvcc_current(mt->fs.m), rev = 0;
	int64_t keep = (int64_t)mt->o.history;
	int err;

	if (mt->o.history_us)
		rev = rev_by_age(mt, now);
	else if (current > keep)
		rev = current - keep + 1;
	if (rev <= mvcc_oldest(mt->fs.m))
		return;
	/* A failure of the store shows in its stats. */
	err = mvcc_forget(mt->fs.m, rev);
	(void)err;
}

/* Whether forgetting has to be looked at in time. */
static bool has_history_limit(const struct mount *mt)
{
	return !mt->o.read_only && (mt->o.history || mt->o.history_us);
}

static uint64_t history_period(const struct mount *mt)
{
	uint64_t us = mt->o.history_us / MARKS;

	return mt->o.history || us < 1000000 ? 1000000 : us;
}

static void keep_house(struct mount *mt)
{
	uint64_t now = keyfiles_now_us();
	bool more = keyfiles_tick(mt->fs.ks, now);

	if (mt->o.sync_us && now - mt->synced_us >= mt->o.sync_us) {
		/* A failure latches in the engine: the next fsync tells. */
		int err = mvcc_sync(mt->fs.m);

		(void)err;
		mt->synced_us = now;
	}
	if (has_history_limit(mt) &&
	    now - mt->looked_us >= history_period(mt)) {
		keep_history(mt, now);
		mt->looked_us = now;
	}
	mutex_lock(&mt->mu);
	mt->has_work |= more;
	mutex_unlock(&mt->mu);
}

static void *keeper_main(void *arg)
{
	struct mount *mt = arg;
	uint64_t idle_us = UINT64_MAX;

	if (has_history_limit(mt))
		idle_us = history_period(mt);
	if (mt->o.sync_us && mt->o.sync_us < idle_us)
		idle_us = mt->o.sync_us;
	mutex_lock(&mt->mu);
	while (!mt->stop) {
		if (!mt->has_work && idle_us == UINT64_MAX)
			cond_wait(&mt->work, &mt->mu);
		else if (!mt->has_work)
			cond_wait_us(&mt->work, &mt->mu, idle_us);
		/* None of it is due at once, and most is done by then. */
		if (mt->has_work && !mt->stop)
			cond_wait_us(&mt->work, &mt->mu, TICK_US);
		if (mt->stop)
			break;
		mt->has_work = false;
		mutex_unlock(&mt->mu);
		keep_house(mt);
		mutex_lock(&mt->mu);
	}
	mutex_unlock(&mt->mu);
	return NULL;
}

static int start_keeper(struct mount *mt)
{
	int err;

	if (mt->o.read_only)
		return CAIRN_OK;
	err = pthread_create(&mt->keeper, NULL, keeper_main, mt);
	if (err)
		return error_errno(err, "cannot start a thread", mt->mnt);
	mt->keeper_runs = true;
	return CAIRN_OK;
}

static void stop_keeper(struct mount *mt)
{
	if (!mt->keeper_runs)
		return;
	mutex_lock(&mt->mu);
	mt->stop = true;
	cond_signal(&mt->work);
	mutex_unlock(&mt->mu);
	pthread_join(mt->keeper, NULL);
	mt->keeper_runs = false;
}

/* --------------------------------------------------------------- changes */

/* What did not come through this mount, the kernel does not know. */
static void on_commit(void *ctx, int64_t rev, const void *origin,
		      const struct mvcc_change *changes, size_t n)
{
	struct mount *mt = ctx;

	(void)rev;
	if (origin == &mt->fs || !mt->fs.notify)
		return;
	if (!n)
		notify_all(mt->fs.notify);
	for (size_t i = 0; i < n; i++)
		notify_key(mt->fs.notify, changes[i].key, changes[i].deleted);
}

/* ------------------------------------------------------------ the session */

static unsigned worker_count(const struct mount_options *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (o->threads)
		return (unsigned)o->threads;
	return cores < 2 ? 2 : cores > 8 ? 8 : (unsigned)cores;
}

/* A value of a mount option: ',' and '\' are escaped. */
static int append_escaped(struct buf *b, const char *s)
{
	int err = CAIRN_OK;

	for (; *s && !err; s++) {
		if (*s == ',' || *s == '\\')
			err = buf_append(b, "\\", 1);
		if (!err)
			err = buf_append(b, s, 1);
	}
	return err;
}

static int session_options(const struct mount *mt, struct buf *b)
{
	int err = buf_printf(
		b,
		"-osubtype=cairn%s%s%s,fsname=", mt->o.read_only ? ",ro" : "",
		mt->o.noexec ? ",noexec" : "",
		/* Otherwise one user's permission would be
		 * another's. */
		mt->o.allow_other ? ",allow_other,default_permissions" : "");

	if (!err)
		err = append_escaped(b, mt->fs.dir);
	return err ? err : buf_append(b, "", 1);
}

static int new_session(struct mount *mt)
{
	char name[] = "cairn", debug[] = "-d";
	struct buf opts = { 0 };
	int err = session_options(mt, &opts);
	char *argv[] = { name, (char *)opts.data, debug, NULL };
	struct fuse_args args = { .argc = mt->o.debug ? 3 : 2, .argv = argv };

	if (!err) {
		mt->fs.se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops),
					     &mt->fs);
		fuse_opt_free_args(&args);
		if (!mt->fs.se)
			err = error_set(CAIRN_EIO,
					"%s: cannot start a FUSE session",
					mt->mnt);
	}
	buf_fini(&opts);
	return err;
}

/* The last line of what was written to fd, without its newline. */
static void last_line(int fd, char *line, size_t size)
{
	char text[1024];
	size_t len;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *start;

	line[0] = '\0';
	if (n <= 0)
		return;
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	start = strrchr(text, '\n');
	start = start ? start + 1 : text;
	len = strnlen(start, size - 1);
	memcpy(line, start, len);
	line[len] = '\0';
}

/*
 * libfuse and fusermount3 print why they failed instead of returning it:
 * standard error goes to a file meanwhile.
 */
static int session_mount(struct mount *mt)
{
	int err, kept, fd = memfd_create("cairn-mount", MFD_CLOEXEC);
	char why[256] = "";

	if (fd < 0)
		return error_errno(errno, "cannot make a file", mt->mnt);
	fflush(stderr);
	kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(fd, STDERR_FILENO);
	err = fuse_session_mount(mt->fs.se, mt->mnt);
	fflush(stderr);
	if (kept >= 0) {
		dup2(kept, STDERR_FILENO);
		close(kept);
	}
	last_line(fd, why, sizeof(why));
	close(fd);
	if (err)
		return error_set(CAIRN_EIO, "%s: cannot mount: %s", mt->mnt,
				 *why ? why : "fuse failed without a word");
	mt->mounted = true;
	return CAIRN_OK;
}

/* The proof that it works: a request of our own is answered. */
static int see_answer(struct mount *mt)
{
	struct stat st;

	if (stat(mt->mnt, &st))
		return error_errno(errno, "mounted, but does not answer",
				   mt->mnt);
	mt->fs.dev = st.st_dev;
	return CAIRN_OK;
}

static int start(struct mount *mt, void (*ended)(void *ctx), void *ctx)
{
	struct mvcc_listener l = { mt, on_commit };
	int err = new_session(mt);

	if (err)
		return err;
	err = notify_start(mt->fs.se, mt->fs.m, mt->fs.inodes,
			   mt->o.flat ? mt->fs.root : NULL, &mt->fs.notify);
	if (err)
		return err;
	mvcc_set_listener(mt->fs.m, &l);
	err = session_mount(mt);
	if (err)
		return err;
	err = workers_start(mt->fs.se, worker_count(&mt->o), ended, ctx,
			    &mt->fs.workers);
	if (err)
		return error_errno(err, "cannot start threads", mt->mnt);
	err = start_keeper(mt);
	return err ? err : see_answer(mt);
}

static struct fs_options fs_options_of(const struct mount_store *s,
				       const struct mount_options *o)
{
	struct memory_split split = memory_split(mount_options_memory(o));
	uint64_t value_max = mvcc_value_max(s->m), dirty = split.dirty;
	bool plain = mvcc_is_plain(s->m);

	if (value_max > o->max_value)
		value_max = o->max_value;
	if (plain)
		dirty = split.whole > value_max ? split.whole : value_max;
	return (struct fs_options){
		.uid = (uid_t)o->uid,
		.gid = (gid_t)o->gid,
		.umask = (mode_t)o->umask,
		.read_only = o->read_only,
		.slow_us = o->slow_us,
		.commit_us = o->commit_us,
		.dirty_max = (size_t)dirty,
		.value_max = value_max,
		.whole_values = plain,
		.sync = o->sync_always,
		.flat = o->flat,
		.events = s->events,
	};
}

int mount_open(const struct mount_store *s, const char *mnt,
	       const struct mount_options *o, void (*ended)(void *ctx),
	       void *ctx, struct mount **out)
{
	struct fs_options fo = fs_options_of(s, o);
	struct mount *mt = calloc(1, sizeof(*mt));
	int err, e;

	if (!mt)
		return error_nomem();
	err = fs_init(&mt->fs, s->m, s->dir, &fo);
	if (err) {
		free(mt);
		return err;
	}
	mt->mnt = mnt;
	mt->o = *o;
	mt->o.engine = NULL; /* not ours */
	mutex_init(&mt->mu);
	cond_init(&mt->work);
	mt->fs.wake = keeper_wake;
	mt->fs.wake_ctx = mt;
	err = start(mt, ended, ctx);
	if (!err) {
		*out = mt;
		return CAIRN_OK;
	}
	/* Closing must not take the place of the message. */
	{
		char why[1024];

		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		e = mount_close(mt);
		(void)e;
		return error_set(err, "%s", why);
	}
}

/* Nothing is asked and nothing is done any more. */
static void stop_serving(struct mount *mt)
{
	ctl_cancel(mt->fs.ctl);
	/* No new ones, then an end of those there are. */
	jobs_refuse(mt->fs.jobs);
	fs_cancel_all(&mt->fs);
	streams_stop(mt->fs.streams);
	jobs_stop(mt->fs.jobs);
	if (mt->fs.workers)
		workers_stop(mt->fs.workers);
	stop_keeper(mt);
}

/* libfuse takes an aborted connection for one that is unmounted already. */
static void unmount(const struct mount *mt)
{
	struct stat st;
	int err = 0;

	fuse_session_unmount(mt->fs.se);
	if (stat(mt->mnt, &st) && errno == ENOTCONN)
		err = mounts_unmount(mt->mnt, true);
	(void)err; /* the next mount there says what is in the way */
}

int mount_close(struct mount *mt)
{
	struct mvcc_listener none = { NULL, NULL };
	struct workers *w = mt->fs.workers;
	int err = CAIRN_OK;

	stop_serving(mt);
	if (!mt->o.read_only)
		err = keyfiles_commit_all(mt->fs.ks, true);
	if (mt->mounted)
		unmount(mt);
	fs_close_all(&mt->fs);
	mt->fs.workers = NULL;
	workers_free(w);
	notify_stop(mt->fs.notify);
	mt->fs.notify = NULL;
	mvcc_set_listener(mt->fs.m, &none);
	fs_fini(&mt->fs);
	if (mt->fs.se)
		fuse_session_destroy(mt->fs.se);
	cond_fini(&mt->work);
	mutex_fini(&mt->mu);
	free(mt);
	return err;
}
