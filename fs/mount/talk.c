/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversations of ctl/run as open files. An answer may be long in coming: it
 * is read on a thread of its own, into the conversation, so that a client that
 * is interrupted meanwhile loses nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/base/sync.h"
#include "fs/mount/ops_impl.h"
#include "fs/text/errmap.h"

#define PIECE (64u * 1024)

struct talk {
	struct fs *fs;
	struct run *run;

	struct mutex mu;
	/* Guarded by mu. */
	bool reading; /* a thread is in run_read(), and owns answer */
	bool closed;  /* the handle is gone: the thread ends it all */
	bool ended;
	int err;
	size_t at; /* answer[at, len) is still to be given out */
	size_t len;
	uint8_t answer[PIECE];
};

int talk_open(struct fs *fs, struct talk **out)
{
	struct talk *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return ENOMEM;
	t->fs = fs;
	err = errmap_errno(run_open(fs->m, fs->dir, &fs->counters, &t->run));
	if (err) {
		free(t);
		return err;
	}
	mutex_init(&t->mu);
	*out = t;
	return 0;
}

static void destroy(struct talk *t)
{
	run_close(t->run);
	mutex_fini(&t->mu);
	free(t);
}

int talk_write(struct talk *t, const void *data, size_t len)
{
	bool busy;
	int err;

	mutex_lock(&t->mu);
	busy = t->reading;
	mutex_unlock(&t->mu);
	if (busy)
		return EINVAL;
	workers_wait_begin(t->fs->workers);
	err = errmap_errno(run_write(t->run, data, len));
	workers_wait_end(t->fs->workers);
	return err;
}

/* On a thread of its own. */
static int read_piece(void *arg)
{
	struct talk *t = arg;
	bool closed;
	size_t got = 0;
	int err;

	err = errmap_errno(run_read(t->run, t->answer, PIECE, &got));
	/* Who reads this may go on to look at what the command changed. */
	notify_drain(t->fs->notify);
	mutex_lock(&t->mu);
	t->reading = false;
	t->at = 0;
	t->len = got;
	t->err = err;
	t->ended = !err && got == 0;
	closed = t->closed;
	mutex_unlock(&t->mu);
	if (closed)
		destroy(t);
	return err;
}

/* Give out what is there. False when there is nothing yet. */
static bool take(struct talk *t, void *dst, size_t len, size_t *got, int *err)
{
	size_t n = t->len - t->at;

	*got = 0;
	*err = t->err;
	if (t->err || t->ended)
		return true;
	if (n > len)
		n = len;
	memcpy(dst, t->answer + t->at, n);
	t->at += n;
	*got = n;
	return n > 0;
}

int talk_read(struct talk *t, fuse_req_t req, void *dst, size_t len,
	      size_t *got)
{
	bool started, busy, have;
	int err;

	mutex_lock(&t->mu);
	busy = t->reading;
	have = !busy && take(t, dst, len, got, &err);
	if (!have && !busy)
		t->reading = true;
	mutex_unlock(&t->mu);
	if (have)
		return err;
	if (busy)
		return EAGAIN; /* the answer to an interrupted read */
	workers_wait_begin(t->fs->workers);
	err = jobs_run(t->fs->jobs, req, read_piece, t, &started);
	workers_wait_end(t->fs->workers);
	mutex_lock(&t->mu);
	if (!started)
		t->reading = false;
	else if (!err && !take(t, dst, len, got, &err))
		err = EINTR;
	mutex_unlock(&t->mu);
	return err;
}

void talk_cancel(struct talk *t)
{
	run_cancel(t->run);
}

void talk_close(struct talk *t)
{
	struct workers *w = t->fs->workers;
	bool reading;

	mutex_lock(&t->mu);
	reading = t->reading;
	t->closed = true;
	/* A command that says nothing would otherwise never hear of it. */
	run_cancel(t->run);
	mutex_unlock(&t->mu);
	if (reading)
		return; /* read_piece() does it */
	workers_wait_begin(w);
	destroy(t);
	workers_wait_end(w);
}
