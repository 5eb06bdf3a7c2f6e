/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mutex that knows whether its caller holds it, and a condition on it. The
 * pthread calls used here fail only when misused, so failures are assertions.
 */
#ifndef CAIRN_BASE_SYNC_H
#define CAIRN_BASE_SYNC_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct mutex {
	pthread_mutex_t m;
#ifndef NDEBUG
	/* Written by the holder only; others compare with themselves. */
	_Atomic(pthread_t) holder;
	_Atomic bool held;
#endif
};

struct cond {
	pthread_cond_t c;
};

static inline void mutex_init(struct mutex *mu)
{
	int err = pthread_mutex_init(&mu->m, NULL);

	assert(!err);
	(void)err;
#ifndef NDEBUG
	mu->held = false;
#endif
}

static inline void mutex_fini(struct mutex *mu)
{
	int err = pthread_mutex_destroy(&mu->m);

	assert(!err);
	(void)err;
}

static inline void mutex_set_held(struct mutex *mu, bool held)
{
#ifndef NDEBUG
	if (held)
		mu->holder = pthread_self();
	mu->held = held;
#else
	(void)mu;
	(void)held;
#endif
}

static inline void mutex_lock(struct mutex *mu)
{
	int err = pthread_mutex_lock(&mu->m);

	assert(!err);
	(void)err;
	mutex_set_held(mu, true);
}

static inline bool mutex_trylock(struct mutex *mu)
{
	if (pthread_mutex_trylock(&mu->m))
		return false;
	mutex_set_held(mu, true);
	return true;
}

static inline void mutex_unlock(struct mutex *mu)
{
	int err;

	mutex_set_held(mu, false);
	err = pthread_mutex_unlock(&mu->m);
	assert(!err);
	(void)err;
}

static inline void assert_held(struct mutex *mu)
{
#ifndef NDEBUG
	assert(mu->held && pthread_equal(mu->holder, pthread_self()));
#else
	(void)mu;
#endif
}

static inline void cond_init(struct cond *c)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	assert(!err);
	/* Waits must not stretch or shrink when somebody sets the clock. */
	err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	assert(!err);
	err = pthread_cond_init(&c->c, &attr);
	assert(!err);
	(void)err;
	pthread_condattr_destroy(&attr);
}

static inline void cond_fini(struct cond *c)
{
	pthread_cond_destroy(&c->c);
}

static inline void cond_wait(struct cond *c, struct mutex *mu)
{
	mutex_set_held(mu, false);
	pthread_cond_wait(&c->c, &mu->m);
	mutex_set_held(mu, true);
}

/* Wait at most us microseconds; false when the time is up. */
static inline bool cond_wait_us(struct cond *c, struct mutex *mu, uint64_t us)
{
	struct timespec ts;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(us / 1000000);
	ts.tv_nsec += (long)(us % 1000000) * 1000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	mutex_set_held(mu, false);
	err = pthread_cond_timedwait(&c->c, &mu->m, &ts);
	mutex_set_held(mu, true);
	return err == 0;
}

static inline void cond_signal(struct cond *c)
{
	pthread_cond_signal(&c->c);
}

static inline void cond_broadcast(struct cond *c)
{
	pthread_cond_broadcast(&c->c);
}

#endif
