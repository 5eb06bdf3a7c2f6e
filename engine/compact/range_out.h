/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of the range tombstones that a flush or compaction reads live on, as
 * fragments in key order.
 *
 * In each stripe between two snapshots only the newest tombstone over a key
 * matters, those that are not yet published all do. In the oldest stripe they
 * go when nothing below the output is in their range: what they covered among
 * the inputs does not live on. (See merge_loop.h for stripes.)
 */
#ifndef CAIRN_COMPACT_RANGE_OUT_H
#define CAIRN_COMPACT_RANGE_OUT_H

#include "engine/compact/merge_loop.h"

struct range_out {
	const struct merge_loop_options *opts; /* borrowed */
	bool valid;
	/* [start, end) at each of the seqnos, descending. The keys live as long
	 * as opts->range_dels, the seqnos until the next call. */
	struct cairn_slice start;
	struct cairn_slice end;
	uint64_t *seqnos;
	size_t n;

	/* Private: the span to come, and what lives on in it. */
	size_t span;
	uint64_t *next_seqnos;
	size_t n_next;
	size_t cap; /* of both arrays */
};

/* Position on the first fragment, or the next. CAIRN_ENOMEM; valid is clear
 * when there is none. */
MUST_CHECK int range_out_first(struct range_out *r,
			       const struct merge_loop_options *opts);
MUST_CHECK int range_out_next(struct range_out *r);
void range_out_fini(struct range_out *r); /* safe on a zeroed struct */

/*
 * Whether the tombstones delete, for everyone who might look, all entries there
 * can be of user keys from smallest to largest, both included, with seqnos in
 * the given bounds: a table of such entries need not be read.
 */
bool range_out_covers(const struct merge_loop_options *opts,
		      struct cairn_slice smallest, struct cairn_slice largest,
		      uint64_t smallest_seqno, uint64_t largest_seqno);

#endif
