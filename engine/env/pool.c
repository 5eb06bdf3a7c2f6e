/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/env/pool.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"

#define N_QUEUES 2

struct queue {
	struct list jobs;
	struct cond more; /* a job came, or stop was set */
	size_t n;
};

struct worker {
	struct pool *pool;
	struct queue *queue;
	const char *name;
	pthread_t thread;
};

struct pool {
	struct mutex mu; /* guards what follows, and every queued job */
	struct queue queue[N_QUEUES];
	struct cond idle; /* nothing queued, nothing running */
	size_t running;
	bool stop;

	/* Constant once started. */
	unsigned n_workers;
	struct worker worker[];
};

static bool is_idle(struct pool *p)
{
	assert_held(&p->mu);
	return !p->running && !p->queue[POOL_HIGH].n && !p->queue[POOL_LOW].n;
}

static void dequeue(struct pool *p, struct pool_job *job)
{
	struct queue *q = &p->queue[job->queue];

	assert(job->queued && q->n > 0);
	list_remove(&job->link);
	job->queued = false;
	q->n--;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	struct queue *q = w->queue;

	pthread_setname_np(pthread_self(), w->name);
	mutex_lock(&p->mu);
	for (;;) {
		struct pool_job *job;
		void (*fn)(void *arg);

		while (list_empty(&q->jobs) && !p->stop)
			cond_wait(&q->more, &p->mu);
		if (list_empty(&q->jobs))
			break;
		job = list_entry(q->jobs.next, struct pool_job, link);
		dequeue(p, job);
		fn = job->fn;
		arg = job->arg;
		p->running++;
		mutex_unlock(&p->mu);
		fn(arg); /* job may be gone from here on */
		mutex_lock(&p->mu);
		p->running--;
		if (is_idle(p))
			cond_broadcast(&p->idle);
	}
	mutex_unlock(&p->mu);
	return NULL;
}

/* End the threads that were started, and free. */
static void stop_and_free(struct pool *p)
{
	mutex_lock(&p->mu);
	p->stop = true;
	for (int i = 0; i < N_QUEUES; i++)
		cond_broadcast(&p->queue[i].more);
	mutex_unlock(&p->mu);
	for (unsigned i = 0; i < p->n_workers; i++) {
		int err = pthread_join(p->worker[i].thread, NULL);

		assert(!err);
		(void)err;
	}
	for (int i = 0; i < N_QUEUES; i++) {
		assert(list_empty(&p->queue[i].jobs));
		cond_fini(&p->queue[i].more);
	}
	cond_fini(&p->idle);
	mutex_fini(&p->mu);
	free(p);
}

static int start(struct pool *p, enum pool_queue q)
{
	struct worker *w = &p->worker[p->n_workers];
	sigset_t all, before;
	int err;

	w->pool = p;
	w->queue = &p->queue[q];
	w->name = q == POOL_HIGH ? "cairn-flush" : "cairn-compact";
	/* A new thread inherits the mask of the one that starts it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return error_errno(err, "start", w->name);
	p->n_workers++;
	return CAIRN_OK;
}

int pool_new(unsigned n_low, struct pool **out)
{
	struct pool *p;
	int err;

	assert(n_low > 0);
	p = calloc(1, sizeof(*p) + (n_low + 1) * sizeof(p->worker[0]));
	if (!p)
		return error_nomem();
	mutex_init(&p->mu);
	cond_init(&p->idle);
	for (int i = 0; i < N_QUEUES; i++) {
		list_init(&p->queue[i].jobs);
		cond_init(&p->queue[i].more);
	}
	err = start(p, POOL_HIGH);
	for (unsigned i = 0; i < n_low && !err; i++)
		err = start(p, POOL_LOW);
	if (err) {
		stop_and_free(p);
		return err;
	}
	*out = p;
	return CAIRN_OK;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	/* First, because a last LOW job may yet schedule a HIGH one. */
	pool_drain(p);
	stop_and_free(p);
}

void pool_schedule(struct pool *p, enum pool_queue q, struct pool_job *job,
		   void (*fn)(void *arg), void *arg)
{
	struct queue *queue = &p->queue[q];

	mutex_lock(&p->mu);
	assert(!job->queued && !p->stop);
	job->fn = fn;
	job->arg = arg;
	job->queue = q;
	job->queued = true;
	list_add_tail(&queue->jobs, &job->link);
	queue->n++;
	cond_signal(&queue->more);
	mutex_unlock(&p->mu);
}

bool pool_cancel(struct pool *p, struct pool_job *job)
{
	bool queued;

	mutex_lock(&p->mu);
	queued = job->queued;
	if (queued) {
		dequeue(p, job);
		if (is_idle(p))
			cond_broadcast(&p->idle);
	}
	mutex_unlock(&p->mu);
	return queued;
}

void pool_drain(struct pool *p)
{
	mutex_lock(&p->mu);
	while (!is_idle(p))
		cond_wait(&p->idle, &p->mu);
	mutex_unlock(&p->mu);
}

size_t pool_queued(struct pool *p, enum pool_queue q)
{
	size_t n;

	mutex_lock(&p->mu);
	n = p->queue[q].n;
	mutex_unlock(&p->mu);
	return n;
}
