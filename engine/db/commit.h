/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write path. A batch goes through these steps:
 *
 *   1. It queues. The first in the queue, when nobody has the log, takes the
 *      log and leads: for itself and those queued behind it.
 *   2. The leader gives out sequence numbers, reserves memtable space, frames
 *      the batches and hands them to the system in one write(2). The order of
 *      the log is that of the sequence numbers.
 *   3. Every writer inserts its batch into the memtable, all at once; one that
 *      is waiting inserts the batch of another that has not begun.
 *   4. Batches become visible in the order of their numbers.
 *
 * For writers that want it the log is synced after that, once for all who have
 * come so far: one of them does it while others go on to add to the log, and
 * who comes meanwhile shares the next sync. Only replacing the log waits for
 * it.
 *
 * A large batch is a memtable by itself. It gets a log of its own, too: the
 * leader begins both before it gives the batch its number, and others behind
 * it. So a memtable never shares its log with another.
 *
 * Whoever has the log may also change it: rotation, resume and close take it
 * through the same queue.
 */
#ifndef CAIRN_DB_COMMIT_H
#define CAIRN_DB_COMMIT_H

#include "engine/db/db.h"

struct commit;

/*
 * The first batch gets next_seqno. Makes a log of the given number, durably,
 * and an empty memtable, which is db->mem afterwards. Not part of a rotation:
 * the database is being opened.
 */
MUST_CHECK int commit_new(struct cairn_db *db, uint64_t next_seqno,
			  uint64_t log_number, struct commit **out);
/* The same without a log, which there was no space for: as after a failure of
 * the log, batches are refused until commit_replace_log() made one. */
MUST_CHECK int commit_new_without_log(struct cairn_db *db, uint64_t next_seqno,
				      uint64_t log_number, struct commit **out);
/* Close the log without syncing it. No writer may be left. NULL is allowed. */
void commit_free(struct commit *c);

struct commit_batch {
	uint8_t *bytes; /* its number is written into it; NULL: only sync */
	size_t len;
	uint32_t count; /* 0: log data only, or bytes is NULL */
	bool sync;
	bool no_slowdown;
	bool disable_wal;
	/* Made of the batch (memtable_new_of_batch()), to be used in place of a
	 * copy; a reference is taken. NULL: a copy. */
	struct memtable *large;
	bool use_reserve; /* space.h */
};

/* The whole way, until the batch is visible and, with sync, durable. Results as
 * of cairn_write(). */
MUST_CHECK int commit_batch(struct commit *c, const struct commit_batch *b);

/*
 * Take the log, waiting for one's turn; no batch gets a number until
 * commit_unlock_log(). The functions below are for the one who has it.
 */
void commit_lock_log(struct commit *c);
void commit_unlock_log(struct commit *c);

/* Whether the memtable has or will have entries. */
bool commit_memtable_in_use(struct commit *c);

/*
 * New log, new memtable; the old one queues for flushing, its log synced. A
 * failure leaves everything as it was, but one of the sync is latched as a
 * background error.
 */
MUST_CHECK int commit_rotate(struct commit *c);

/*
 * The same after the log failed: it is given up unsynced. Batches are refused
 * until commit_recovered().
 */
MUST_CHECK int commit_replace_log(struct commit *c);
void commit_recovered(struct commit *c);
bool commit_log_failed(struct commit *c); /* the present log, or no log */

/* Return when every batch that has a number is visible. */
void commit_drain(struct commit *c);

/*
 * The next n sequence numbers, for changes that do not go through the log.
 * Nobody sees them before commit_publish(), which tells the last of them after
 * the log was drained; they are lost, and never used again, without.
 */
uint64_t commit_take_seqnos(struct commit *c, uint64_t n);
void commit_publish(struct commit *c, uint64_t last);

/* The last batch that was kept out of the log: its last number; 0: none. */
uint64_t commit_last_unlogged(struct commit *c);

/* The log that takes batches, and how much of it the system has. */
void commit_log_position(struct commit *c, uint64_t *number, uint64_t *size);

/* Make what was committed durable. For the one who has the log. */
MUST_CHECK int commit_sync(struct commit *c);

/* The log's size and those of its bytes that are not yet durable. Any thread,
 * mu held. */
uint64_t commit_wal_bytes(struct commit *c);

#endif
