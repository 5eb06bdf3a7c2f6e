/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting a thread of the database's own. */
#ifndef CAIRN_DB_THREAD_H
#define CAIRN_DB_THREAD_H

#include <pthread.h>
#include <signal.h>

#include "engine/base/error.h"

/* All signals are blocked in it: they belong to the caller's threads. */
static inline int thread_start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	err = pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!err) {
		err = pthread_create(t, NULL, fn, arg);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	return err ? error_errno(err, "cannot start", "thread") : CAIRN_OK;
}

#endif
