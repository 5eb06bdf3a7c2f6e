/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A value being written, below mvcc_object_*(). Two shapes: a small value is
 * bytes in memory; a large one is an object: a number that is never used
 * again, and chunks in the engine and in memory.
 *
 * Chunks below base_high may be shown by committed rows. Their new contents
 * stay in memory and get the version of the commit. Chunks from base_high on
 * were never shown. They go to the engine early with version 0 ("staged"),
 * together with a mark in table 'o' that the commit removes; a mark that
 * outlives its object says what must be deleted.
 *
 * A truncation that cuts chunks which the base row shows leaves them alone:
 * rows that end before them do not read them. When the value grows over them
 * again, the commit gives an empty version to those not written since.
 */
#ifndef CAIRN_MVCC_OBJECT_H
#define CAIRN_MVCC_OBJECT_H

#include "mvcc/store.h"

/* How much of a value stays in memory, and the like. */
void object_limits_init(struct mvcc *m);

/*
 * Outside of write_mu: bring o into a state that object_emit() can commit with
 * a bounded batch to a key whose newest row is prev (NULL: not live). What it
 * writes to the engine is invisible.
 */
MUST_CHECK int object_prepare(struct mvcc_object *o,
			      const struct mvcc_row *prev);

/* Whether what object_prepare() relied on still holds. */
bool object_prepared(const struct mvcc_object *o, const struct mvcc_row *prev);

/*
 * Append o's chunks to b, as of (row->main, row->sub), and set size, value,
 * object, chunk_size and chunks_high of row; the value borrows from o. *ended:
 * chunks that were cut off have got an entry in table 'e'.
 */
MUST_CHECK int object_emit(const struct mvcc_object *o, struct cairn_batch *b,
			   struct mvcc_row *row, bool *ended);

/* The batch is committed as revision main. */
void object_committed(struct mvcc_object *o, int64_t main);

/* Whether some handle has object number open; objects_mu is held. */
bool object_is_open(struct mvcc *m, uint64_t number);

#endif
