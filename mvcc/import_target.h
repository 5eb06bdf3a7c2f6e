/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store that an import makes. It is built in its place, so that the
 * directory keeps its owner and may be a mount point. Its format mark is 0 to
 * begin with, which no store has: until the last step, which is one synced
 * write, whoever opens it is told that it is not finished.
 *
 * Batches are bounded, and not logged: tables are written instead of a WAL.
 */
#ifndef CAIRN_MVCC_IMPORT_TARGET_H
#define CAIRN_MVCC_IMPORT_TARGET_H

#include "mvcc/encode.h"
#include "mvcc/import.h"

struct import_target {
	struct cairn_env *env;
	char *dir;
	bool made_dir;
	bool engine_tried;
	struct cairn_db *db; /* NULL: not open */
	struct cairn_batch *batch;
	uint32_t chunk_size;
	int64_t time_ns;
	/* By the caller, before rows: entries of the log are made from here on.
	 * 0: nothing was forgotten. */
	int64_t forgotten;
	uint64_t next_object;
	struct buf key;
	struct buf value;
};

/* Make the store; t is zeroed before. After any result but CAIRN_OK there is
 * nothing to undo, and nothing has changed. */
MUST_CHECK int import_target_open(struct import_target *t, const char *dir,
				  const struct mvcc_import_options *opts);

/* Add an entry. */
MUST_CHECK int import_target_put(struct import_target *t,
				 struct cairn_slice key,
				 struct cairn_slice value);

/*
 * Add a row and its entry in the log. row->value is all of the value, however
 * long; size, object and time are set here.
 */
MUST_CHECK int import_target_row(struct import_target *t, struct mvcc_row *row);

/* Write what was added so far, so that it can be read. */
MUST_CHECK int import_target_write(struct import_target *t);

/*
 * Everything was added. On success the store is closed, durable and complete,
 * and t done with. On failure import_target_abandon() is due.
 */
MUST_CHECK int import_target_finish(struct import_target *t);

/* After the failure code, whose message stays: remove what was made. */
void import_target_abandon(struct import_target *t, int code);

#endif
