/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One lock for all files; nothing that may wait is done under it. A file's
 * watcher and text belong to whoever has made it busy. The store calls
 * on_ready() with a lock of its own held, so the store is not called under
 * ours.
 */
#include "fs/mount/watchfile.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "engine/base/sync.h"
#include "fs/cmd/watch_line.h"
#include "fs/mount/ops_impl.h"
#include "fs/text/errmap.h"
#include "fs/text/keytext.h"

/* The longest request: a revision and an escaped key. */
#define REQUEST_MAX (64u * 1024)

struct watchfiles {
	struct fs *fs;
	pthread_t thread;
	struct mutex mu;
	struct cond due_more;
	struct cond idle; /* a file is not busy any more */
	/* Guarded by mu. */
	bool running;
	bool stop;
	struct list files;
	struct list due; /* struct watchfile, to be served by the thread */
};

struct watchfile {
	struct watchfiles *all;
	/* Of whoever is busy with it; text by the one reader as well. */
	struct mvcc_watch *w;
	struct buf text;
	off_t base; /* where in the stream text begins */
	size_t at;  /* text[at, len) is still to be given out */
	int err;    /* what reading fails with for good */

	/* Guarded by all->mu. */
	struct list node;
	struct list due;
	bool queued;
	bool busy;
	bool ready; /* the watcher may have something since it was asked */
	bool reading;
	bool interrupted; /* the read */
	fuse_req_t req;   /* the read that waits, or NULL */
	size_t size;      /* bytes it wants */
	struct fuse_pollhandle *ph;
};

/* ---------------------------------------------------------------- queueing */

static bool has_answer(const struct watchfile *f)
{
	return f->err || f->at < f->text.len;
}

/* mu is held. */
static void queue(struct watchfile *f)
{
	assert_held(&f->all->mu);
	if (f->queued)
		return;
	f->queued = true;
	list_add_tail(&f->all->due, &f->due);
	cond_signal(&f->all->due_more);
}

/* A commit or a cancellation; locks of the store are held. */
static void on_ready(void *ctx)
{
	struct watchfile *f = ctx;

	mutex_lock(&f->all->mu);
	f->ready = true;
	if (f->req || f->ph)
		queue(f);
	mutex_unlock(&f->all->mu);
}

static void begin_work(struct watchfile *f)
{
	assert_held(&f->all->mu);
	while (f->busy)
		cond_wait(&f->all->idle, &f->all->mu);
	f->busy = true;
	f->ready = false;
}

/* What came meanwhile is not lost. */
static void end_work(struct watchfile *f)
{
	assert_held(&f->all->mu);
	f->busy = false;
	if (f->req &&
	    (has_answer(f) || f->ready || f->interrupted || f->all->stop))
		queue(f);
	if (f->ph && f->ready)
		queue(f);
	cond_broadcast(&f->all->idle);
}

/* ------------------------------------------------------------------ lines */

static int add_lines(struct watchfile *f, const struct mvcc_watch_message *msg)
{
	static const struct cmd_key_opts escaped = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; i < msg->n && !err; i++)
		err = watch_line(&escaped, &msg->events[i], false, &f->text);
	return err;
}

/*
 * Get lines, if there are any and none are left. An errno is of this moment
 * only. f is busy.
 */
static int fill(struct watchfile *f)
{
	struct mvcc_watch_message msg;
	bool some = false;
	int err = CAIRN_OK;

	while (!has_answer(f)) {
		f->base += (off_t)f->text.len;
		f->at = 0;
		buf_clear(&f->text);
		err = mvcc_watch_next(f->w, 0, &msg);
		if (err)
			break;
		some = true;
		if (msg.canceled)
			f->err = ESTALE;
		else if (add_lines(f, &msg))
			f->err = ENOMEM; /* there would be a gap */
		mvcc_watch_message_fini(&msg);
	}
	/* Who reads of a change may go on to look at it. */
	if (some && f->all->fs->notify)
		notify_drain(f->all->fs->notify);
	return err == CAIRN_NOT_FOUND ? 0 : errmap_errno(err);
}

/* Take up to size bytes, in memory from malloc; mu is held. */
static int take(struct watchfile *f, size_t size, char **out, size_t *len)
{
	size_t n = f->text.len - f->at;

	*out = NULL;
	*len = 0;
	if (!n)
		return f->err;
	if (n > size)
		n = size;
	*out = malloc(n + 1);
	if (!*out)
		return ENOMEM;
	memcpy(*out, f->text.data + f->at, n);
	f->at += n;
	*len = n;
	return 0;
}

/* ---------------------------------------------------------------- reading */

static void reply(fuse_req_t req, int err, const char *bytes, size_t len)
{
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_buf(req, bytes, len);
}

/* Only says so: the reply is the thread's. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct watchfile *f = data;

	mutex_lock(&f->all->mu);
	f->interrupted = true;
	if (f->req == req)
		queue(f);
	mutex_unlock(&f->all->mu);
}

/*
 * Answer the read req, which nobody else knows of any more. Afterwards f may be
 * gone. mu is not held.
 */
static void answer(struct watchfile *f, fuse_req_t req, int err,
		   const char *bytes, size_t len)
{
	struct watchfiles *all = f->all;

	/* After this, on_interrupt() does not run and will not. */
	fuse_req_interrupt_func(req, NULL, NULL);
	mutex_lock(&all->mu);
	f->reading = false;
	end_work(f);
	mutex_unlock(&all->mu);
	reply(req, err, bytes, len);
}

/*
 * What a read gets. EAGAIN: nothing, it may wait. f is busy; mu is held,
 * released meanwhile, and held again.
 */
static int look(struct watchfile *f, size_t size, char **bytes, size_t *len)
{
	int err = 0;

	do {
		f->ready = false;
		mutex_unlock(&f->all->mu);
		err = fill(f);
		mutex_lock(&f->all->mu);
	} while (!err && !has_answer(f) && f->ready);
	*bytes = NULL;
	*len = 0;
	if (err)
		return err;
	if (has_answer(f))
		return take(f, size, bytes, len);
	if (f->all->stop)
		return 0; /* the end */
	return f->interrupted ? EINTR : EAGAIN;
}

/* Continue at off, if what is there is known. f is busy. */
static bool go_to(struct watchfile *f, off_t off)
{
	if (off < f->base || off - f->base > (off_t)f->text.len)
		return false;
	f->at = (size_t)(off - f->base);
	return true;
}

void watchfile_read(struct watchfile *f, const struct op *op, size_t size,
		    off_t off, bool nonblock)
{
	struct watchfiles *all = f->all;
	char *bytes = NULL;
	size_t len = 0;
	int err;

	mutex_lock(&all->mu);
	if (f->reading) {
		mutex_unlock(&all->mu);
		op_reply_err(op, EBUSY);
		return;
	}
	f->reading = true;
	f->interrupted = false;
	mutex_unlock(&all->mu);
	fuse_req_interrupt_func(op->req, on_interrupt, f);

	workers_wait_begin(all->fs->workers);
	mutex_lock(&all->mu);
	begin_work(f);
	err = EINVAL;
	if (go_to(f, off))
		err = look(f, size, &bytes, &len);
	if (err == EAGAIN && !nonblock) {
		f->req = op->req;
		f->size = size;
		end_work(f);
		mutex_unlock(&all->mu);
	} else {
		mutex_unlock(&all->mu);
		answer(f, op->req, err, bytes, len);
		err = err == EAGAIN || err == EINTR ? 0 : err;
	}
	workers_wait_end(all->fs->workers);
	op_end(op, err == EAGAIN ? 0 : err);
	free(bytes);
}

/* ----------------------------------------------------------------- thread */

/* For whom f is due; mu is held, released meanwhile, and held again. */
static void serve(struct watchfile *f)
{
	struct watchfiles *all = f->all;
	struct fuse_pollhandle *ph;
	char *bytes = NULL;
	size_t len = 0;
	fuse_req_t req;
	int err = EAGAIN;

	assert_held(&all->mu);
	/* end_work() queues it again when that is still needed; at the end
	 * nobody would come for it. */
	if (f->busy && !all->stop)
		return;
	begin_work(f);
	ph = f->ph;
	f->ph = NULL;
	if (f->req)
		err = look(f, f->size, &bytes, &len);
	req = err == EAGAIN ? NULL : f->req;
	if (req)
		f->req = NULL;
	if (!req)
		end_work(f);
	mutex_unlock(&all->mu);
	if (ph) {
		/* The kernel asks again, which brings another handle. */
		(void)fuse_lowlevel_notify_poll(ph);
		fuse_pollhandle_destroy(ph);
	}
	if (req)
		answer(f, req, err, bytes, len);
	free(bytes);
	mutex_lock(&all->mu);
}

static void *thread_main(void *arg)
{
	struct watchfiles *all = arg;

	mutex_lock(&all->mu);
	for (;;) {
		struct watchfile *f;

		if (list_empty(&all->due) && all->stop)
			break;
		if (list_empty(&all->due)) {
			cond_wait(&all->due_more, &all->mu);
			continue;
		}
		f = list_entry(all->due.next, struct watchfile, due);
		list_remove(&f->due);
		f->queued = false;
		serve(f);
	}
	mutex_unlock(&all->mu);
	return NULL;
}

int watchfiles_new(struct fs *fs, struct watchfiles **out)
{
	struct watchfiles *all = calloc(1, sizeof(*all));

	if (!all)
		return ENOMEM;
	all->fs = fs;
	mutex_init(&all->mu);
	cond_init(&all->due_more);
	cond_init(&all->idle);
	list_init(&all->files);
	list_init(&all->due);
	*out = all;
	return 0;
}

void watchfiles_stop(struct watchfiles *all)
{
	bool running;

	mutex_lock(&all->mu);
	all->stop = true;
	list_for_each (pos, &all->files) {
		struct watchfile *f = list_entry(pos, struct watchfile, node);

		if (f->req || f->ph)
			queue(f);
	}
	running = all->running;
	all->running = false;
	cond_signal(&all->due_more);
	mutex_unlock(&all->mu);
	if (running)
		pthread_join(all->thread, NULL);
}

void watchfiles_free(struct watchfiles *all)
{
	if (!all)
		return;
	watchfiles_stop(all);
	assert(list_empty(&all->files));
	cond_fini(&all->idle);
	cond_fini(&all->due_more);
	mutex_fini(&all->mu);
	free(all);
}

/* ------------------------------------------------------------------ files */

/* A watcher that tells f. */
static int new_watch(struct watchfile *f, int64_t start,
		     struct cairn_slice prefix, struct mvcc_watch **out)
{
	struct mvcc *m = f->all->fs->m;
	struct mvcc_watch_request r = { .start = start };
	struct cairn_slice end;
	int err;

	/* Better said now than by the first read. */
	if (start && start < mvcc_oldest(m))
		return ESTALE;
	err = watch_prefix(prefix, &r, &end);
	if (!err)
		err = mvcc_watch_new(m, &r, out);
	free((void *)(uintptr_t)end.data);
	if (!err)
		mvcc_watch_on_ready(*out, on_ready, f);
	return errmap_errno(err);
}

/* Have the thread run; all but the first call do nothing. */
static int start_thread(struct watchfiles *all)
{
	int err = 0;

	assert_held(&all->mu);
	if (!all->running && !all->stop) {
		err = pthread_create(&all->thread, NULL, thread_main, all);
		all->running = !err;
	}
	return err;
}

int watchfile_open(struct watchfiles *all, struct watchfile **out)
{
	struct watchfile *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return ENOMEM;
	f->all = all;
	err = new_watch(f, 0, slice_of(NULL, 0), &f->w);
	if (err) {
		free(f);
		return err;
	}
	mutex_lock(&all->mu);
	err = start_thread(all);
	list_add_tail(&all->files, &f->node);
	mutex_unlock(&all->mu);
	if (err)
		watchfile_close(f);
	else
		*out = f;
	return err;
}

void watchfile_close(struct watchfile *f)
{
	struct watchfiles *all = f->all;
	struct mvcc_watch *w = f->w;

	/* Then it is called no more. */
	mvcc_watch_on_ready(w, NULL, NULL);
	mutex_lock(&all->mu);
	while (f->busy)
		cond_wait(&all->idle, &all->mu);
	list_remove(&f->node);
	if (f->queued)
		list_remove(&f->due);
	mutex_unlock(&all->mu);
	if (f->ph)
		fuse_pollhandle_destroy(f->ph);
	mvcc_watch_free(w);
	buf_fini(&f->text);
	free(f);
}

/* "REV", "REV PREFIX", and at most one newline behind. */
static int parse_request(const char *data, size_t len, int64_t *start,
			 struct buf *prefix)
{
	char *text, *end;
	int err = 0;

	if (len > REQUEST_MAX || memchr(data, 0, len))
		return EINVAL;
	text = strndup(data, len);
	if (!text)
		return ENOMEM;
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	errno = 0;
	*start = strtoll(text, &end, 10);
	if (*text < '0' || *text > '9' || errno || (*end && *end != ' '))
		err = EINVAL;
	else if (*end)
		err = errmap_errno(keytext_unescape(end + 1, prefix));
	free(text);
	return err;
}

int watchfile_write(struct watchfile *f, const char *data, size_t len,
		    off_t off)
{
	struct watchfiles *all = f->all;
	struct mvcc_watch *w = NULL;
	struct buf prefix = { 0 };
	int64_t start;
	bool reading;
	int err = parse_request(data, len, &start, &prefix);

	if (!err)
		err = new_watch(f, start, buf_slice(&prefix), &w);
	buf_fini(&prefix);
	if (err)
		return err;
	mutex_lock(&all->mu);
	reading = f->reading;
	if (!reading) {
		struct mvcc_watch *old;

		begin_work(f);
		old = f->w;
		f->w = w;
		w = old;
		f->err = 0;
		/* Writing has moved the reader's place, too. */
		f->base = off + (off_t)len;
		f->at = 0;
		buf_clear(&f->text);
		f->ready = true; /* perhaps */
		end_work(f);
	}
	mutex_unlock(&all->mu);
	/* The old one, or one that is not wanted. */
	mvcc_watch_free(w);
	return reading ? EBUSY : 0;
}

unsigned watchfile_poll(struct watchfile *f, struct fuse_pollhandle *ph)
{
	struct watchfiles *all = f->all;
	struct fuse_pollhandle *old = NULL;
	unsigned events = POLLOUT | POLLWRNORM;
	int err;

	workers_wait_begin(all->fs->workers);
	mutex_lock(&all->mu);
	begin_work(f);
	if (ph) {
		old = f->ph;
		f->ph = ph;
	}
	mutex_unlock(&all->mu);
	if (old)
		fuse_pollhandle_destroy(old);
	err = fill(f);
	mutex_lock(&all->mu);
	/* Reading would tell what is wrong. */
	if (err || has_answer(f) || all->stop)
		events |= POLLIN | POLLRDNORM;
	end_work(f);
	mutex_unlock(&all->mu);
	workers_wait_end(all->fs->workers);
	return events;
}
