/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of the write path, shared by commit.c (writers) and commit_log.c
 * (the log and the memtable, and replacing them). */
#ifndef CAIRN_DB_COMMIT_IMPL_H
#define CAIRN_DB_COMMIT_IMPL_H

#include <time.h>

#include "engine/db/commit.h"
#include "engine/db/db_log.h"

struct commit {
	struct cairn_db *db;

	struct mutex mu;
	/* Guarded by mu. */
	struct list queue;     /* of writers, WRITER_QUEUED */
	struct list in_flight; /* logged and not yet visible, by number */
	struct list syncing;   /* to be told about the next sync */
	bool log_taken;
	bool stalled;  /* the one who has the log waits for a flush */
	bool draining; /* ... or for in_flight to become empty */
	struct cond drained;
	char failure[1024];   /* message of the last failed group */
	struct memtable *mem; /* takes writes; changed with log_taken, too */

	/* Of the one who has the log. */
	struct db_log *log;
	bool failed; /* until commit_recovered() */
	uint64_t next_seqno;
	uint64_t last_unlogged; /* see commit_last_unlogged() */
	size_t mem_empty;       /* memtable_bytes() of the empty one */
	size_t capacity;        /* of a memtable */
	size_t log_room;        /* laid out for the present log */

	_Atomic uint64_t log_size; /* db_log_size(), for the metrics */
};

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Those that do not want to wait are sent away from the queue with CAIRN_EBUSY.
 * c->mu held. */
void commit_turn_away(struct commit *c);

/* The functions below are for the one who has the log, without c->mu. */

/* The log is in an unknown state: nothing more may be written to it. */
void commit_log_latch(struct commit *c, int err);

/* Sync the log, if there is anything to sync. Failures are latched. */
MUST_CHECK int commit_log_sync(struct commit *c);

/* The memtable has no room for cost bytes: wait until there may be another one,
 * and begin it. Results as of stall_for_memtable(), and of I/O. */
MUST_CHECK int commit_make_room(struct commit *c, size_t cost,
				bool no_slowdown);

/* The same for a large batch: the memtable made of it is the one that takes
 * writes. */
MUST_CHECK int commit_begin_large(struct commit *c, struct memtable *large,
				  bool no_slowdown);
/* The memtable that takes writes is such a one: begin another, unless that
 * would be to wait. */
MUST_CHECK int commit_end_large(struct commit *c);

#endif
