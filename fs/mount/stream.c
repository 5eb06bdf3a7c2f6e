/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One lock for all files; nothing that may wait is done under it. A file's
 * source and text belong to whoever has made it busy. Sources call on_ready()
 * with locks of their own held, so they are not called under ours.
 */
#include "fs/mount/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "engine/base/sync.h"
#include "fs/mount/ops_impl.h"

struct streams {
	struct fs *fs;
	pthread_t thread;
	struct mutex mu;
	struct cond due_more;
	struct cond idle; /* a file is not busy any more */
	/* Guarded by mu. */
	bool running;
	bool stop;
	struct list files;
	struct list due; /* struct stream, to be served by the thread */
};

struct stream {
	struct streams *all;
	/* Of whoever is busy with it; text by the one reader as well. */
	struct stream_source *src;
	struct buf text;
	off_t base; /* where in the stream text begins */
	size_t at;  /* text[at, len) is still to be given out */
	int err;    /* what reading fails with for good */

	/* Guarded by all->mu. */
	struct list node;
	struct list due;
	bool queued;
	bool busy;
	bool ready; /* the source may have something since it was asked */
	bool reading;
	bool interrupted; /* the read */
	fuse_req_t req;   /* the read that waits, or NULL */
	size_t size;      /* bytes it wants */
	struct fuse_pollhandle *ph;
};

/* ---------------------------------------------------------------- queueing */

static bool has_answer(const struct stream *f)
{
	return f->err || f->at < f->text.len;
}

/* mu is held. */
static void queue(struct stream *f)
{
	assert_held(&f->all->mu);
	if (f->queued)
		return;
	f->queued = true;
	list_add_tail(&f->all->due, &f->due);
	cond_signal(&f->all->due_more);
}

/* Locks of the source are held. */
static void on_ready(void *ctx)
{
	struct stream *f = ctx;

	mutex_lock(&f->all->mu);
	f->ready = true;
	if (f->req || f->ph)
		queue(f);
	mutex_unlock(&f->all->mu);
}

static void begin_work(struct stream *f)
{
	assert_held(&f->all->mu);
	while (f->busy)
		cond_wait(&f->all->idle, &f->all->mu);
	f->busy = true;
	f->ready = false;
}

/* What came meanwhile is not lost. */
static void end_work(struct stream *f)
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

/*
 * Get lines, if there are any and none are left. An errno is of this moment
 * only. f is busy.
 */
static int fill(struct stream *f)
{
	bool some = false;
	int err = 0;

	while (!has_answer(f)) {
		f->base += (off_t)f->text.len;
		f->at = 0;
		buf_clear(&f->text);
		err = f->src->kind->next(f->src, &f->text, &f->err);
		if (err)
			break;
		some = true;
	}
	if (some && f->src->kind->before)
		f->src->kind->before(f->all->fs);
	return err == EAGAIN ? 0 : err;
}

/* Take up to size bytes, in memory from malloc; mu is held. */
static int take(struct stream *f, size_t size, char **out, size_t *len)
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
	struct stream *f = data;

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
static void answer(struct stream *f, fuse_req_t req, int err, const char *bytes,
		   size_t len)
{
	struct streams *all = f->all;

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
static int look(struct stream *f, size_t size, char **bytes, size_t *len)
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
static bool go_to(struct stream *f, off_t off)
{
	if (off < f->base || off - f->base > (off_t)f->text.len)
		return false;
	f->at = (size_t)(off - f->base);
	return true;
}

void stream_read(struct stream *f, const struct op *op, size_t size, off_t off,
		 bool nonblock)
{
	struct streams *all = f->all;
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
static void serve(struct stream *f)
{
	struct streams *all = f->all;
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
	struct streams *all = arg;

	mutex_lock(&all->mu);
	for (;;) {
		struct stream *f;

		if (list_empty(&all->due) && all->stop)
			break;
		if (list_empty(&all->due)) {
			cond_wait(&all->due_more, &all->mu);
			continue;
		}
		f = list_entry(all->due.next, struct stream, due);
		list_remove(&f->due);
		f->queued = false;
		serve(f);
	}
	mutex_unlock(&all->mu);
	return NULL;
}

int streams_new(struct fs *fs, struct streams **out)
{
	struct streams *all = calloc(1, sizeof(*all));

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

void streams_stop(struct streams *all)
{
	bool running;

	mutex_lock(&all->mu);
	all->stop = true;
	list_for_each (pos, &all->files) {
		struct stream *f = list_entry(pos, struct stream, node);

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

void streams_free(struct streams *all)
{
	if (!all)
		return;
	streams_stop(all);
	assert(list_empty(&all->files));
	cond_fini(&all->idle);
	cond_fini(&all->due_more);
	mutex_fini(&all->mu);
	free(all);
}

/* ------------------------------------------------------------------ files */

/* Have the thread run; all but the first call do nothing. */
static int start_thread(struct streams *all)
{
	int err = 0;

	assert_held(&all->mu);
	if (!all->running && !all->stop) {
		err = pthread_create(&all->thread, NULL, thread_main, all);
		all->running = !err;
	}
	return err;
}

int stream_open(struct streams *all, struct stream_source *src,
		struct stream **out)
{
	struct stream *f = calloc(1, sizeof(*f));
	int err;

	if (!f) {
		src->kind->free(src);
		return ENOMEM;
	}
	f->all = all;
	f->src = src;
	src->kind->on_ready(src, on_ready, f);
	mutex_lock(&all->mu);
	err = start_thread(all);
	list_add_tail(&all->files, &f->node);
	mutex_unlock(&all->mu);
	if (err)
		stream_close(f);
	else
		*out = f;
	return err;
}

void stream_close(struct stream *f)
{
	struct streams *all = f->all;
	struct stream_source *src = f->src;

	/* Then it is called no more. */
	src->kind->on_ready(src, NULL, NULL);
	mutex_lock(&all->mu);
	while (f->busy)
		cond_wait(&all->idle, &all->mu);
	list_remove(&f->node);
	if (f->queued)
		list_remove(&f->due);
	mutex_unlock(&all->mu);
	if (f->ph)
		fuse_pollhandle_destroy(f->ph);
	src->kind->free(src);
	buf_fini(&f->text);
	free(f);
}

int stream_write(struct stream *f, const char *data, size_t len, off_t off)
{
	const struct stream_kind *kind = f->src->kind;
	struct streams *all = f->all;
	struct stream_source *src = NULL;
	bool reading;
	int err;

	if (!kind->choose)
		return EBADF;
	err = kind->choose(all->fs, data, len, &src);
	if (err)
		return err;
	kind->on_ready(src, on_ready, f);
	mutex_lock(&all->mu);
	reading = f->reading;
	if (!reading) {
		struct stream_source *old;

		begin_work(f);
		old = f->src;
		f->src = src;
		src = old;
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
	kind->on_ready(src, NULL, NULL);
	kind->free(src);
	return reading ? EBUSY : 0;
}

unsigned stream_poll(struct stream *f, struct fuse_pollhandle *ph)
{
	struct streams *all = f->all;
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
