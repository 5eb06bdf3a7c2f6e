/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many iterators seen as one, in internal-key order. Entries of all children
 * appear; equal internal keys do not occur. An error of any child ends it.
 */
#ifndef CAIRN_KV_MERGING_ITER_H
#define CAIRN_KV_MERGING_ITER_H

#include "engine/kv/iter.h"

/*
 * Takes the n children over, also on failure; the array stays the caller's.
 * Children should be given newest first: ties in position cost less then.
 */
MUST_CHECK int merging_iter_new(struct iter **children, size_t n,
				struct iter **out);

/*
 * As above, but what the children's range tombstones delete for a reader at
 * seqno does not appear, nor do boundaries. Children must be given newest
 * first: where a tombstone of one covers many entries of one behind it, these
 * are passed over by a seek.
 */
MUST_CHECK int merging_iter_new_hiding(struct iter **children, size_t n,
				       uint64_t seqno, struct iter **out);

#endif
