/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last changes, in memory, so that watchers that keep up need not read the
 * log: at most 4,096 changes or 4 MiB of them, a block per revision. Needs its
 * caller's lock, but for blocks that were taken out: these are shared and do
 * not change.
 */
#ifndef CAIRN_MVCC_WATCH_RING_H
#define CAIRN_MVCC_WATCH_RING_H

#include <stdatomic.h>

#include "engine/base/slice.h"

struct commit;

#define WATCH_RING_CHANGES 4096u /* a power of two */
#define WATCH_RING_BYTES   ((size_t)4 << 20)

struct watch_block_change {
	struct cairn_slice key; /* into the block */
	bool deleted;
};

/* The changes of a revision; sub is their index. */
struct watch_block {
	_Atomic uint32_t refs;
	int64_t main;
	size_t bytes; /* of all this */
	size_t n;
	struct watch_block_change changes[];
};

/* Of a commit; NULL when it is too large for a ring, or there is no memory:
 * then the log has to do. The caller has a reference. */
struct watch_block *watch_block_new(const struct commit *c);
/* NULL is allowed. */
void watch_block_unref(struct watch_block *b);

/* Zeroed: usable, and empty. It has the revisions [low, high). */
struct watch_ring {
	struct watch_block **blocks; /* of revision r at r % 4096 */
	int64_t low;
	int64_t high;
	size_t n;
	size_t bytes;
};

/* The ring can be used and is empty; CAIRN_ENOMEM. */
MUST_CHECK int watch_ring_start(struct watch_ring *r);
/* The ring is as zeroed. */
void watch_ring_stop(struct watch_ring *r);

/*
 * Add b, whose reference is taken over, as revision main. Without b, or when
 * main does not follow, the ring is first emptied.
 */
void watch_ring_push(struct watch_ring *r, int64_t main, struct watch_block *b);

/* References to the blocks of at most max revisions from rev on; 0: the ring
 * does not have rev. */
size_t watch_ring_take(const struct watch_ring *r, int64_t rev,
		       struct watch_block **out, size_t max);

#endif
