/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may still be written: the quota, and what the disk has left.
 *
 * Size in use is the live tables and the logs that are still needed. A put that
 * does not fit into the quota is refused; once nine tenths are in use, so are
 * all puts after it, until compactions have brought it below that again.
 *
 * The option disk_reserve holds back the last bytes of the disk in the same
 * way, with CAIRN_ENOSPC: flushes, compactions and deletions need some to make
 * room. It is looked at now and then, so what others write counts, too.
 *
 * When the quota is reached a thread flushes and compacts, in case the log and
 * the tables have much that was replaced; and again after deletions, which go
 * through, until there is room.
 */
#ifndef CAIRN_DB_SPACE_H
#define CAIRN_DB_SPACE_H

#include "engine/db/commit.h"

struct space;

/* With a quota the thread runs from here on. */
MUST_CHECK int space_new(struct cairn_db *db, struct space **out);
/* End the thread and its compaction. NULL is allowed, and twice. */
void space_stop(struct space *s);
void space_free(struct space *s); /* NULL is allowed */

/*
 * Whether the batch may be written: CAIRN_EDQUOT or CAIRN_ENOSPC when it is
 * refused. No locks.
 */
MUST_CHECK int space_before_write(struct cairn_db *db,
				  const struct commit_batch *b);

/* The same for so many bytes of something else. */
MUST_CHECK int space_check(struct cairn_db *db, uint64_t bytes);

/* Whether a batch may use what is held back: it only deletes, or says so. */
bool space_may_use_reserve(const struct commit_batch *b);

/* Judge anew, after the version or the logs changed. mu held; events_drain()
 * later. */
void space_update(struct cairn_db *db);

/*
 * Ask the system how much the disk has left. No locks but the log; reads no
 * file. events_drain() later.
 */
void space_look(struct cairn_db *db);

/* The log has so many bytes: space_look() when it is time. For the one who has
 * the log. */
void space_log_grown(struct cairn_db *db, uint64_t log_bytes);

/* Bytes that a compaction leaves for the log and for flushes. */
uint64_t space_floor(const struct space *s);
/* Whether the disk has so little left that files are deleted at once. Asks the
 * system. No locks. */
bool space_is_scarce(struct cairn_db *db);

/* Any thread. */
uint64_t space_in_use(const struct space *s);

struct space_state {
	uint64_t in_use;
	uint64_t quota; /* 0: none */
	bool quota_reached;
	bool disk_low;
	uint64_t reserve; /* of the disk */
};
/* mu held. */
void space_state(const struct space *s, struct space_state *out);

#endif
