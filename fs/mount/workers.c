/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/workers.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "fs/mount/fuse.h"

/* All threads together; those beyond the first few wait for something. */
#define THREADS_MAX 512u
/* A spare thread sleeps when it was not needed for this many requests. */
#define IDLE_REQUESTS 4096u
/* Ends a read of /dev/fuse; nothing else uses it. */
#define WAKE_SIGNAL SIGUSR2

struct worker {
	struct list node;
	struct workers *w;
	pthread_t thread;
	_Atomic bool done;
	unsigned wait_depth; /* of its own thread only */
};

struct workers {
	struct fuse_session *se;
	unsigned base;
	void (*ended)(void *ctx);
	void *ctx;
	_Atomic bool stop;
	_Atomic unsigned since_need; /* requests since a spare was needed */
	/* Whoever waits is counted before he looks whether the others are
	 * enough; whoever goes to sleep is counted out before he looks whether
	 * he is needed. Sequentially consistent, so one of them sees it. */
	_Atomic unsigned n_active;  /* not asleep; changed with mu */
	_Atomic unsigned n_waiting; /* of these, from wait_begin to wait_end */

	struct mutex mu;
	struct cond wake;
	/* Guarded by mu. */
	struct list all;
	unsigned n_all;
	unsigned n_asleep;
	unsigned n_wakes; /* sleepers that are to wake */
	bool told;        /* ended was called */
};

/* Which worker the running thread is, if any: per thread, as errno is. */
static _Thread_local struct worker *self;

static void *worker_main(void *arg);

static void wake_handler(int sig)
{
	(void)sig;
}

/* One more thread that takes requests. Called with mu. */
static int add_thread(struct workers *w)
{
	struct worker *me;
	pthread_attr_t attr;
	int err;

	assert_held(&w->mu);
	if (w->n_all >= THREADS_MAX)
		return EAGAIN;
	me = calloc(1, sizeof(*me));
	if (!me)
		return ENOMEM;
	me->w = w;
	err = pthread_attr_init(&attr);
	if (!err) {
		/* Requests are answered on small stacks. */
		err = pthread_attr_setstacksize(&attr, 512 * 1024);
		if (!err)
			err = pthread_create(&me->thread, &attr, worker_main,
					     me);
		pthread_attr_destroy(&attr);
	}
	if (err) {
		free(me);
		return err;
	}
	list_add_tail(&w->all, &me->node);
	w->n_all++;
	w->n_active++;
	return 0;
}

static void start_or_wake(struct workers *w)
{
	if (w->n_asleep > w->n_wakes) {
		w->n_wakes++;
		w->n_active++;
		cond_signal(&w->wake);
		return;
	}
	/* Without another thread, requests wait until one is free. */
	(void)add_thread(w);
}

void workers_wait_begin(struct workers *w)
{
	if (!self || self->w != w || self->wait_depth++)
		return;
	if (++w->n_waiting < w->n_active)
		return;
	mutex_lock(&w->mu);
	if (w->n_active <= w->n_waiting && !w->stop) {
		w->since_need = 0;
		start_or_wake(w);
	}
	mutex_unlock(&w->mu);
}

void workers_wait_end(struct workers *w)
{
	if (!self || self->w != w || --self->wait_depth)
		return;
	w->n_waiting--;
}

/* One less takes requests, unless all others wait by now. */
static bool count_out(struct workers *w)
{
	assert_held(&w->mu);
	if (--w->n_active > w->n_waiting)
		return true;
	w->n_active++;
	return false;
}

/* Sleep if there are enough others. */
static void maybe_sleep(struct workers *w, struct fuse_buf *buf)
{
	if (atomic_fetch_add_explicit(&w->since_need, 1, memory_order_relaxed) <
	    IDLE_REQUESTS)
		return;
	mutex_lock(&w->mu);
	if (w->n_active > w->n_waiting + w->base && !w->stop && count_out(w)) {
		free(buf->mem);
		*buf = (struct fuse_buf){ 0 };
		w->n_asleep++;
		while (!w->n_wakes && !w->stop)
			cond_wait(&w->wake, &w->mu);
		if (w->n_wakes)
			w->n_wakes--;
		else
			w->n_active++;
		w->n_asleep--;
	}
	mutex_unlock(&w->mu);
}

static void tell_ended(struct workers *w)
{
	bool first;

	mutex_lock(&w->mu);
	first = !w->told;
	w->told = true;
	mutex_unlock(&w->mu);
	if (first)
		w->ended(w->ctx);
}

static void *worker_main(void *arg)
{
	struct worker *me = arg;
	struct workers *w = me->w;
	struct fuse_buf buf = { 0 };
	int n;

	self = me;
	while (!w->stop && !fuse_session_exited(w->se)) {
		n = fuse_session_receive_buf(w->se, &buf);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(w->se, &buf);
		maybe_sleep(w, &buf);
	}
	free(buf.mem);
	tell_ended(w);
	me->done = true;
	return NULL;
}

int workers_start(struct fuse_session *se, unsigned n, void (*ended)(void *ctx),
		  void *ctx, struct workers **out)
{
	struct sigaction sa = { .sa_handler = wake_handler };
	struct workers *w = calloc(1, sizeof(*w));
	int err = 0;

	if (!w)
		return ENOMEM;
	w->se = se;
	w->base = n;
	w->ended = ended;
	w->ctx = ctx;
	mutex_init(&w->mu);
	cond_init(&w->wake);
	list_init(&w->all);
	/* No SA_RESTART: it is to interrupt. */
	sigemptyset(&sa.sa_mask);
	if (sigaction(WAKE_SIGNAL, &sa, NULL))
		err = errno;
	*out = w; /* the threads' callbacks use it */
	mutex_lock(&w->mu);
	for (unsigned i = 0; i < n && !err; i++)
		err = add_thread(w);
	mutex_unlock(&w->mu);
	if (err) {
		workers_stop(w);
		workers_free(w);
		*out = NULL;
	}
	return err;
}

static bool all_done(struct workers *w)
{
	bool done = true;

	mutex_lock(&w->mu);
	list_for_each (pos, &w->all) {
		struct worker *x = list_entry(pos, struct worker, node);

		if (!x->done) {
			done = false;
			pthread_kill(x->thread, WAKE_SIGNAL);
		}
	}
	mutex_unlock(&w->mu);
	return done;
}

void workers_stop(struct workers *w)
{
	mutex_lock(&w->mu);
	w->stop = true;
	cond_broadcast(&w->wake);
	mutex_unlock(&w->mu);
	fuse_session_exit(w->se);
	/* The signal is lost on a thread that is about to read: again. */
	while (!all_done(w))
		usleep(1000);
	list_for_each (pos, &w->all)
		pthread_join(list_entry(pos, struct worker, node)->thread,
			     NULL);
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	list_for_each_safe (pos, next, &w->all)
		free(list_entry(pos, struct worker, node));
	cond_fini(&w->wake);
	mutex_fini(&w->mu);
	free(w);
}
