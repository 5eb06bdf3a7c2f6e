/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/jobs.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/list.h"
#include "engine/base/sync.h"

struct jobs {
	struct mutex mu;
	struct cond changed; /* a job ended, was interrupted, or all stops */
	/* Guarded by mu. */
	unsigned n_running;
	bool stop;
};

struct job {
	struct jobs *jobs;
	int (*fn)(void *arg);
	void *arg;
	/* Guarded by jobs->mu. */
	unsigned refs; /* the thread, and who waits */
	bool done;
	bool interrupted;
	int err;
};

int jobs_new(struct jobs **out)
{
	struct jobs *j = calloc(1, sizeof(*j));

	if (!j)
		return ENOMEM;
	mutex_init(&j->mu);
	cond_init(&j->changed);
	*out = j;
	return 0;
}

void jobs_refuse(struct jobs *j)
{
	mutex_lock(&j->mu);
	j->stop = true;
	cond_broadcast(&j->changed);
	mutex_unlock(&j->mu);
}

void jobs_stop(struct jobs *j)
{
	jobs_refuse(j);
	mutex_lock(&j->mu);
	while (j->n_running)
		cond_wait(&j->changed, &j->mu);
	mutex_unlock(&j->mu);
}

void jobs_free(struct jobs *j)
{
	if (!j)
		return;
	cond_fini(&j->changed);
	mutex_fini(&j->mu);
	free(j);
}

/* Called with jobs->mu. */
static void drop(struct job *job)
{
	if (--job->refs == 0)
		free(job);
}

static void *job_main(void *arg)
{
	struct job *job = arg;
	struct jobs *j = job->jobs;
	int err = job->fn(job->arg);

	mutex_lock(&j->mu);
	job->done = true;
	job->err = err;
	j->n_running--;
	drop(job);
	cond_broadcast(&j->changed);
	mutex_unlock(&j->mu);
	return NULL;
}

/* Only wakes who waits: the reply is theirs alone. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct job *job = data;

	(void)req;
	mutex_lock(&job->jobs->mu);
	job->interrupted = true;
	cond_broadcast(&job->jobs->changed);
	mutex_unlock(&job->jobs->mu);
}

static int start(struct jobs *j, struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err = pthread_attr_init(&attr);

	if (err)
		return err;
	mutex_lock(&j->mu);
	err = j->stop ? ESHUTDOWN : 0;
	if (!err)
		err = pthread_attr_setdetachstate(&attr,
						  PTHREAD_CREATE_DETACHED);
	if (!err)
		err = pthread_create(&thread, &attr, job_main, job);
	if (!err)
		j->n_running++;
	mutex_unlock(&j->mu);
	pthread_attr_destroy(&attr);
	return err;
}

int jobs_run(struct jobs *j, fuse_req_t req, int (*fn)(void *arg), void *arg,
	     bool *started)
{
	struct job *job = calloc(1, sizeof(*job));
	int err;

	*started = false;
	if (!job)
		return ENOMEM;
	*job = (struct job){ .jobs = j, .fn = fn, .arg = arg, .refs = 2 };
	err = start(j, job);
	if (err) {
		free(job);
		return err;
	}
	*started = true;
	fuse_req_interrupt_func(req, on_interrupt, job);
	mutex_lock(&j->mu);
	while (!job->done && !job->interrupted && !j->stop)
		cond_wait(&j->changed, &j->mu);
	err = job->done ? job->err : job->interrupted ? EINTR : ESHUTDOWN;
	mutex_unlock(&j->mu);
	/* After this, on_interrupt() does not run and will not. */
	fuse_req_interrupt_func(req, NULL, NULL);
	mutex_lock(&j->mu);
	drop(job);
	mutex_unlock(&j->mu);
	return err;
}
