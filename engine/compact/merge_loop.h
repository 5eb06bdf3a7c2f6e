/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of the entries that a flush or compaction reads live on.
 *
 * Snapshots cut the sequence numbers into stripes; in each stripe only the
 * newest version of a user key survives. A tombstone goes when it is in the
 * oldest stripe and nothing older can exist below the output. At the bottom the
 * seqno of a put that every snapshot sees becomes 0 (never in level 0).
 *
 * Entries above the last snapshot, which is the visible seqno, are not yet
 * published: a snapshot taken a moment from now may fall between any two of
 * them, so all of them live on.
 *
 * Entries that a range tombstone of the same stripe covers do not live on
 * either, whatever they are; what becomes of the tombstones themselves is in
 * range_out.h.
 *
 * There are no merge operators yet: merge operands live on, and so does the
 * entry they are to be applied to. A single deletion is kept as a deletion is;
 * it never vanishes together with a put.
 */
#ifndef CAIRN_COMPACT_MERGE_LOOP_H
#define CAIRN_COMPACT_MERGE_LOOP_H

#include "engine/base/buf.h"
#include "engine/kv/iter.h"
#include "engine/kv/range_del.h"

/* How many entries are read between two calls of poll. */
#define MERGE_LOOP_POLL_ENTRIES 256

struct merge_loop_options {
	/* Seqnos that must stay readable, ascending, borrowed. The visible
	 * seqno at the start of the job must be among them. */
	const uint64_t *snapshots;
	size_t n_snapshots;
	/*
	 * Explicit snapshots only: the newest of them, 0 when there are none.
	 * Entries at or below it are not offered to the filter.
	 */
	uint64_t newest_user_snapshot;
	/* Whether an older version of user_key may be below the output. Asked
	 * in ascending key order. */
	bool (*exists_below)(void *ctx, struct cairn_slice user_key);
	/* The same for a range of keys, in any order. Needed with range_dels.
	 */
	bool (*range_exists_below)(void *ctx, struct cairn_slice start,
				   struct cairn_slice end);
	void *exists_ctx;
	/* All range tombstones of the inputs, cut to where they count. NULL:
	 * none. Borrowed. */
	const struct range_dels *range_dels;
	bool zero_seqnos; /* allowed where exists_below() says no */
	const struct cairn_compaction_filter *filter; /* NULL: none */
	void *filter_job;                             /* from filter->begin() */
	/* Called now and then with the number of entries read so far; true
	 * ends the loop with CAIRN_EABORTED. NULL: never called. */
	bool (*poll)(void *ctx, uint64_t n_in);
	void *poll_ctx;
};

struct merge_loop {
	struct iter *in; /* borrowed, positioned by merge_loop_first() */
	struct merge_loop_options opts;
	bool valid;
	int status;
	struct ikey key; /* of the entry that lives on; until the next call */
	struct cairn_slice value;
	bool new_key;       /* no newer version of its user key lived on */
	uint64_t n_in;      /* entries read */
	uint64_t n_dropped; /* entries that do not live on */
	uint64_t n_pinned;  /* kept only because a user snapshot sees them */

	/* Private: about the user key whose versions are being read. */
	bool have_key;
	struct buf user_key;
	uint64_t trailer; /* of the last version read */
	bool first;       /* that was its first version */
	bool shadowing;   /* older versions in stripe do not live on */
	size_t stripe;    /* of the last version that was not shadowed */
	uint64_t n_kept;  /* of its versions */
	size_t span;      /* of range_dels, looked at last */
};

/* The stripe of a seqno: the index of the first snapshot that sees it, and
 * n_snapshots when none does. */
size_t merge_loop_stripe(const struct merge_loop_options *o, uint64_t seqno);

/* opts is copied. */
void merge_loop_init(struct merge_loop *l, struct iter *in,
		     const struct merge_loop_options *opts);
void merge_loop_fini(struct merge_loop *l);

/*
 * Position on the first, or the next, entry that lives on. When there is none,
 * valid is clear and status tells the end from a failure: of the input, of the
 * order of its keys (CAIRN_ECORRUPT), or CAIRN_EABORTED by poll.
 */
void merge_loop_first(struct merge_loop *l);
void merge_loop_next(struct merge_loop *l);

#endif
