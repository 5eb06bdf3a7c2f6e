/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Range tombstones: [start, end) at a sequence number deletes every entry of a
 * key in the range that has a lower one. (An equal number does not count: a
 * tombstone of an ingested table, all of whose entries share one number, does
 * not delete the table's own entries.)
 *
 * A set of them is cut at all starts and ends into spans, which are disjoint
 * and sorted, so that a key is in one span at most. Which tombstones cover a
 * span is kept in a segment tree over the spans, each node with the sequence
 * numbers of the tombstones that cover all of it, newest first. So n tombstones
 * take O(n log n) memory however they are nested, where lists per span could
 * take O(n^2), and the newest one that a snapshot sees is found in O(log^2 n).
 */
#ifndef CAIRN_KV_RANGE_DEL_H
#define CAIRN_KV_RANGE_DEL_H

#include "engine/base/buf.h"
#include "engine/kv/ikey.h"

/* One tombstone; the keys are borrowed. */
struct range_del {
	struct cairn_slice start;
	struct cairn_slice end; /* exclusive */
	uint64_t seqno;
};

/* ------------------------------------------------------------------ lists */

/* Where the keys of a tombstone of a list are, in its bytes. */
struct range_del_place {
	size_t start;
	size_t start_len;
	size_t end_len; /* behind the start */
	uint64_t seqno;
};

/* Tombstones in any order, as they are gathered. Zeroed is empty. */
struct range_del_list {
	struct buf keys;
	struct range_del_place *place;
	size_t n;
	size_t cap;
};

void range_del_list_fini(struct range_del_list *l);

/* Copy one; an empty range is left out. CAIRN_ENOMEM. */
MUST_CHECK int range_del_list_add(struct range_del_list *l,
				  const struct range_del *d);

/* ------------------------------------------------------------------- sets */

/* Immutable and shared. */
struct range_dels {
	_Atomic uint32_t refs;
	size_t n_tombs;
	size_t n; /* spans; span i is [bound[i], bound[i + 1]) */
	struct cairn_slice *bound;
	/* The tree's leaves are nodes n to 2n - 1, the parent of node i is
	 * i / 2, and the list of node i is seqnos[first[i]] up to first[i + 1].
	 */
	size_t *first;
	uint64_t *seqnos;
	/* The tombstones, the newest first: spans [from, to). */
	struct range_del_span {
		uint32_t from;
		uint32_t to;
		uint64_t seqno;
	} * tomb;
	size_t memory;
};

/*
 * Make a set of the list, with one reference; *out is NULL when the list is
 * empty. The list stays the caller's. CAIRN_ENOMEM.
 */
MUST_CHECK int range_dels_new(const struct range_del_list *l,
			      struct range_dels **out);
struct range_dels *range_dels_ref(struct range_dels *d); /* returns d */
void range_dels_unref(struct range_dels *d);             /* NULL is allowed */

/* Add to all sequence numbers, while nobody else has the set. */
void range_dels_shift(struct range_dels *d, uint64_t by);

/* Tombstone i of n_tombs. */
struct range_del range_dels_tomb(const struct range_dels *d, size_t i);

/* The span that key is in; d->n when it is in none. hint: a span to look at
 * first. */
size_t range_dels_find(const struct range_dels *d, struct cairn_slice key,
		       size_t hint);

/*
 * The newest tombstone at or below seqno that covers the span, or the key: its
 * sequence number, 0 when there is none. Entries below that are deleted. (A
 * tombstone at 0, as in a table to be ingested, deletes nothing.)
 */
uint64_t range_dels_newest(const struct range_dels *d, size_t span,
			   uint64_t seqno);
uint64_t range_dels_cover(const struct range_dels *d, struct cairn_slice key,
			  uint64_t seqno);

/* Whether a tombstone has a key from first to last, both included. */
bool range_dels_meet(const struct range_dels *d, struct cairn_slice first,
		     struct cairn_slice last);

/* ----------------------------------------------------------------- scopes */

/*
 * A set as it counts at one place of the tree of tables. The tombstones of a
 * table say nothing of keys outside of the table's bounds: what they deleted
 * there may have been compacted away, and what is there now may have lost its
 * sequence number.
 */
struct range_scope {
	const struct range_dels *set;
	/* Inclusive, as internal keys; NULL: not bounded. */
	const struct ikey *lower;
	const struct ikey *upper;
	bool newest; /* of a batch to be committed: readers at any seqno see it
		      */
	size_t hint; /* the span looked at last */
};

/* As range_dels_cover(). */
uint64_t range_scope_cover(struct range_scope *s, const struct ikey *key,
			   uint64_t seqno);

/*
 * The scope covers user_key for readers at seqno. How far does that reach?
 * Entries from user_key to before *to (end) or from *to on to all of user_key
 * (start) are covered as well, each by some tombstone at or below seqno. It may
 * reach further; to_end() is false when it does not reach behind user_key. *to
 * borrows from the scope.
 */
bool range_scope_to_end(struct range_scope *s, struct cairn_slice user_key,
			uint64_t seqno, struct ikey *to);
void range_scope_to_start(struct range_scope *s, struct cairn_slice user_key,
			  uint64_t seqno, struct ikey *to);

#endif
