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
 * Merge operands of a stripe become a put when the value that they change is
 * there, or when it is certain that there is none; else one operand, if the
 * merge operator can do that. They never go together with those of another
 * stripe. Operands that the operator cannot apply stay as they are.
 *
 * A single deletion and the put below it vanish together. That is safe only
 * while what the put replaced stays deleted, so the newest tombstone directly
 * below a put (or below operands that became one) lives on in its stripe as if
 * nothing were above it, until nothing older can exist. RocksDB drops it: in
 * tables that RocksDB compacted, single deletion is as safe as with RocksDB. A
 * single deletion that meets what it must not meet (two puts, or an operand)
 * becomes a deletion.
 */
#ifndef CAIRN_COMPACT_MERGE_LOOP_H
#define CAIRN_COMPACT_MERGE_LOOP_H

#include "engine/base/buf.h"
#include "engine/kv/iter.h"
#include "engine/kv/merge.h"
#include "engine/kv/range_del.h"

/* How many entries are read between two calls of poll, at most. */
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
	/* NULL: operands stay as they are. */
	const struct cairn_merge_operator *merge;
	bool zero_seqnos; /* allowed where exists_below() says no */
	const struct cairn_compaction_filter *filter; /* NULL: none */
	void *filter_job;                             /* from filter->begin() */
	/* Called now and then with the number of entries read so far; true
	 * ends the loop with CAIRN_EABORTED. NULL: never called. */
	bool (*poll)(void *ctx, uint64_t n_in);
	void *poll_ctx;
	uint64_t poll_entries; /* between two calls; 0: the most */
};

/* What lived on of a stripe so far, and so what of it does not. */
enum merge_loop_cover {
	COVER_NONE,
	COVER_PUT, /* a put: everything goes, but a tombstone directly below */
	COVER_ALL, /* everything goes */
};

struct merge_loop {
	struct iter *in; /* borrowed, positioned by merge_loop_first() */
	struct merge_loop_options opts;
	bool valid;
	int status;
	struct ikey key; /* of the entry that lives on; until the next call */
	struct cairn_slice value;
	bool new_key;        /* no newer version of its user key lived on */
	uint64_t n_in;       /* entries read */
	uint64_t next_poll;  /* at that many */
	uint64_t n_dropped;  /* entries that do not live on */
	uint64_t n_pinned;   /* kept only because a user snapshot sees them */
	uint64_t n_unmerged; /* keys whose operands could not be applied */

	/* Private: about the user key whose versions are being read. */
	bool have_key;
	struct buf user_key;
	uint64_t trailer; /* of the last version read */
	bool first;       /* that was its first version */
	size_t stripe;    /* of the last version that was not covered */
	enum merge_loop_cover cover; /* in that stripe */
	uint64_t n_kept;             /* of its versions */
	size_t span;                 /* of range_dels, looked at last */

	/* Private: deciding needed a look at what comes next, so the input
	 * stands on an entry that was not yet read. */
	bool ahead;
	struct merge_operands operands; /* newest first */
	size_t next_operand; /* of those that are given out one by one */
	struct buf merged;
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
