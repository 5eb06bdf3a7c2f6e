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
	bool sync_running; /* of the log, which is kept meanwhile */
	struct cond sync_done;
	bool stalled;  /* the one who has the log waits for a flush */
	bool draining; /* ... or for in_flight to become empty */
	struct cond drained;
	char failure[1024];   /* message of the last failed group */
	struct memtable *mem; /* takes writes; changed with log_taken, too */

	/* Of the one who has the log. Changed with mu held, too. */
	struct db_log *log;
	/* The rest without. */
	uint64_t next_seqno;
	uint64_t last_unlogged; /* see commit_last_unlogged() */
	size_t mem_empty;       /* memtable_bytes() of the empty one */
	size_t capacity;        /* of a memtable */
	size_t log_room;        /* laid out for the present log */

	/* Until commit_recovered(). Set by the one who has the log or syncs it;
	 * relaxed, for the log is given up whoever sees it when. */
	_Atomic bool failed;
	/* db_log_size(). Stored with release, loaded with acquire by who syncs
	 * so much; and for the metrics. */
	_Atomic uint64_t log_size;
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

/* The log is in an unknown state: nothing more may be written to it. No locks.
 */
void commit_log_latch(struct commit *c, int err);

/*
 * Sync what the log has, others adding to it meanwhile; failures are latched.
 * For the one who has set c->sync_running. c->mu held, let go for the sync.
 */
MUST_CHECK int commit_log_sync_shared(struct commit *c);

/* c->sync_running is given back; somebody who waits for a sync does the next.
 * c->mu held. */
void commit_sync_ended(struct commit *c);

/* Those who wait for a sync of a log that is given up. c->mu held. */
void commit_fail_syncing(struct commit *c, int err);

/* The functions below are for the one who has the log, without c->mu. */

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
