/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happened: events are numbered when they are queued, and delivered in
 * that order, by one thread at a time, with no lock held: to the listener and,
 * as text, to the LOG file.
 */
#ifndef CAIRN_DB_EVENT_H
#define CAIRN_DB_EVENT_H

#include "engine/env/env.h"

struct events;

/* listener is copied, dir too; env is borrowed. No LOG is written yet. */
MUST_CHECK int events_new(struct cairn_env *env, const char *dir,
			  const struct cairn_listener *listener,
			  struct events **out);

/*
 * Deliver what is queued, close LOG, free. NULL is allowed. No other thread
 * may be using ev any more.
 */
void events_free(struct events *ev);

/*
 * Begin a new LOG; the old one becomes LOG.old.MICROS, of which a few are kept.
 * A LOG that cannot be written is done without: it informs, no more.
 */
void events_open_log(struct events *ev);

/*
 * Number e and put it into the queue; strings are copied, time_us and seq are
 * filled in. Any locks may be held; somebody must call events_drain() later.
 */
void events_queue(struct events *ev, const struct cairn_event *e);

/* Deliver what is queued, unless another thread is at it: it delivers these,
 * too. Called without locks. */
void events_drain(struct events *ev);

/* Both. Called without locks. */
void events_post(struct events *ev, const struct cairn_event *e);

/* A line for LOG alone, delivered in order with the events. Any locks. */
void events_log(struct events *ev, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
