/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iterator a user sees: the versions of all sources merged, of each key
 * the newest one at or below the iterator's seqno, deletions left out. What a
 * range tombstone covers does not come out of the merge.
 *
 * Going forward the input stands on the entry shown, whose key and value are
 * the input's own memory. Going backward the versions of a key come oldest
 * first, so the input has already gone before all of them when the newest one
 * is known; key and value are copies then. So they are of a key that merge
 * operands were applied to: then the input has gone past the operands, to the
 * value below them or further.
 *
 * A batch that is to be committed is one source more, the newest.
 */
#ifndef CAIRN_DB_DB_ITER_H
#define CAIRN_DB_DB_ITER_H

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/db/read_state.h"
#include "engine/kv/batch_index.h"
#include "engine/kv/iter.h"
#include "engine/kv/merge.h"
#include "engine/version/level_iter.h"

struct cairn_iter {
	struct list link; /* in db->iterators; guarded by db->mu */
	struct cairn_db *db;
	uint64_t created_us; /* monotonic */

	/* The rest is of the thread that uses the iterator. */
	struct read_state *state;
	struct iter *in;
	uint64_t seqno;
	/*
	 * A batch on top of the state, whose entries have numbers from
	 * BATCH_SEQNO on and are all seen, too; what lies between these and
	 * seqno is not. Searches begin at top, the highest number that may be.
	 */
	struct batch_view batch;
	bool has_batch;
	uint64_t top; /* seqno without a batch */
	bool fill_cache;
	const struct cairn_table_filter *filter; /* NULL: none */
	struct level_bounds bounds; /* the input looks at them, too */

	/*
	 * The input goes forward, and stands on the first entry at or above
	 * floor, or further, with nothing visible in between. A seek to a key
	 * at or above floor may go on from there (iter_seek_forward()).
	 */
	bool floor_known;
	bool valid;
	bool backward; /* which of the two ways above; only when valid */
	bool merged;   /* the third way; only when valid and not backward */
	bool prefix_mode;
	int status;
	int64_t sample_left; /* bytes to show until a read is sampled */
	struct cairn_slice key;
	struct cairn_slice value;

	struct buf key_copy;   /* the key shown, or one to be passed over */
	struct buf value_copy; /* backward only */
	struct buf prefix;     /* in prefix mode */
	struct buf floor;      /* only when floor_known */

	struct merge_operands operands; /* of one key */
	struct buf merged_copy;         /* what they became */
};

#endif
