/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replay of the write-ahead logs that a database was left with.
 *
 * The batches of the logs must form an unbroken sequence, but for what RocksDB
 * wrote without a log: numbers may be left out inside of a log of its own, and
 * between two of them when tables have them. A log may end in the
 * middle of a record only if nothing was written after it: when it is the last
 * one with a batch, or when the next batch has exactly the number that follows.
 * Anything else is damage, and refused: what follows it would be lost silently.
 *
 * A log of cairn's also says, in its notes (db_log.h), which of its bytes were
 * synced and which numbers were left out on purpose. Bytes that were not synced
 * may have holes after a power cut, with whole records behind them: such a log
 * ends at the first hole.
 */
#ifndef CAIRN_DB_RECOVER_H
#define CAIRN_DB_RECOVER_H

#include "engine/db/db.h"

struct recovery {
	struct memtable **mems; /* oldest first; owned, with references */
	size_t n_mems;
	size_t mems_cap;
	size_t mems_bytes;   /* capacity of all */
	uint64_t last_seqno; /* of what was replayed, 0: nothing */
	/* Where it began, or what was left out on purpose before it. */
	uint64_t first_seqno;
	uint64_t first_log; /* the number of that log */
};

/*
 * Replay the logs given by number, ascending. When more than a few write
 * buffers are full, spill (NULL: never) is called: it may write the memtables
 * to a table and drop them with recovery_clear().
 */
MUST_CHECK int recover_logs(struct cairn_db *db, const uint64_t *numbers,
			    size_t n, int (*spill)(void *ctx), void *ctx,
			    struct recovery *r);

/*
 * Whether the logs could be replayed; nothing is, and no memtables are made. Of
 * db only env, dir and versions count. On failure *failed is the index of the
 * log that it is about, and which cannot be gone past. *n_records is increased
 * by the number of batches that would be applied.
 */
MUST_CHECK int recover_check_logs(struct cairn_db *db, const uint64_t *numbers,
				  size_t n, struct recovery *r, size_t *failed,
				  uint64_t *n_records);

/* Drop the memtables. */
void recovery_clear(struct recovery *r);
void recovery_fini(struct recovery *r);

#endif
