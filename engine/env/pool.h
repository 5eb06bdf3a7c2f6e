/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads for background work, and two queues of jobs for them. HIGH has one
 * thread of its own, so that a flush never waits behind a long compaction; LOW
 * has as many as asked for. Each queue is served first come, first served;
 * with one thread, jobs of a queue run one after the other in that order.
 *
 * A job is a struct of the caller's, so scheduling allocates nothing and
 * cannot fail. The pool does not touch a job from the moment fn begins: fn may
 * free it, or schedule it again. What happens before pool_schedule() is seen
 * by fn, and what fn did is seen after pool_cancel() returned false for a job
 * that has ended, pool_drain() or pool_free().
 *
 * All signals are blocked in the threads: they belong to the caller's.
 */
#ifndef CAIRN_ENV_POOL_H
#define CAIRN_ENV_POOL_H

#include "engine/base/list.h"
#include "engine/base/slice.h"

enum pool_queue {
	POOL_HIGH,
	POOL_LOW,
};

/* Zero it before the first use; the members belong to the pool. */
struct pool_job {
	void (*fn)(void *arg);
	void *arg;
	/* Guarded by the pool's mutex. */
	struct list link;
	enum pool_queue queue;
	bool queued;
};

struct pool;

/* Start one thread for HIGH and n_low > 0 for LOW. */
MUST_CHECK int pool_new(unsigned n_low, struct pool **out);

/* Run what is queued, end the threads, free. Nothing may be scheduled from
 * outside any more, only by the jobs themselves. NULL is allowed. */
void pool_free(struct pool *p);

/*
 * Queue job: some thread of q calls fn(arg) soon. The struct must stay until
 * then, and must not be queued already (it may be running). Callable with
 * locks held, also with those that fn takes.
 */
void pool_schedule(struct pool *p, enum pool_queue q, struct pool_job *job,
		   void (*fn)(void *arg), void *arg);

/*
 * Take job out of its queue. True: fn will not be called. False: it was not
 * queued, because it is running, has run, or was never scheduled; when it may
 * be running, the caller must know that the struct still exists.
 */
bool pool_cancel(struct pool *p, struct pool_job *job);

/* Return at a moment when nothing is queued or running. Not from a job. */
void pool_drain(struct pool *p);

/* Jobs that wait in q. */
size_t pool_queued(struct pool *p, enum pool_queue q);

#endif
