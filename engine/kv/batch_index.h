/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an indexed batch (cairn_batch_new_indexed()) is read by: its operations
 * in internal-key order, as a skiplist of places in the batch's bytes, and its
 * range deletions.
 *
 * Operation i, of those that are counted, has sequence number BATCH_SEQNO + i.
 * No database gets there, so that a batch is newer than everything that is
 * committed.
 *
 * Operations are only added while somebody but the batch looks at the index. A
 * batch that takes some back then leaves the index to those who look at it, and
 * makes itself another. All of them are of one thread at a time.
 */
#ifndef CAIRN_KV_BATCH_INDEX_H
#define CAIRN_KV_BATCH_INDEX_H

#include "engine/kv/batch.h"
#include "engine/kv/iter.h"
#include "engine/kv/range_del.h"

#define BATCH_SEQNO (SEQNO_MAX - UINT32_MAX)

/* ------------------------------------------------------- for the batch only */

/* An empty index over bytes to come at bytes. */
MUST_CHECK int batch_index_new(const uint8_t *bytes, struct batch_index **out);

/* Of a batch that is there, header included. */
MUST_CHECK int batch_index_build(struct cairn_slice bytes,
				 struct batch_index **out);

/* The batch lets go. Its reference of block, where its bytes are, goes over to
 * those who still look at the index: *block is NULL then. */
void batch_index_detach(struct batch_index *x, struct batch_block **block);
bool batch_index_shared(const struct batch_index *x);

/* The batch's bytes are somewhere else now. */
void batch_index_moved(struct batch_index *x, const uint8_t *bytes);

/* Make room for one operation more. */
MUST_CHECK int batch_index_reserve(struct batch_index *x);
/* Add operation number, the highest so far, whose keys and value are in the
 * batch's bytes. There must be room. */
void batch_index_add(struct batch_index *x, const struct batch_op *op,
		     uint32_t number);

/* Forget operations from number count on, or all. Must not be shared. */
void batch_index_truncate(struct batch_index *x, uint32_t count);
void batch_index_clear(struct batch_index *x);

/* ------------------------------------------------------------ for all others
 */

/* The failure for reading a batch that is not indexed. */
int batch_refuse_unindexed(void);

/* A version of a key; it borrows from the batch's present bytes. */
struct batch_version {
	uint32_t node; /* 0: there is none */
	uint64_t trailer;
	struct cairn_slice value;
};

/* The newest version of the key in the batch, and those below it. */
void batch_find(const struct cairn_batch *b, struct cairn_slice key,
		struct batch_version *v);
void batch_find_older(const struct cairn_batch *b, struct batch_version *v);

/* The newest range deletion that covers the key: its sequence number, or 0. */
uint64_t batch_cover(const struct cairn_batch *b, struct cairn_slice key);

/*
 * A batch as it was at one moment. Zeroed is a view of an empty one. Views of
 * one batch may be copied and dropped by its thread only.
 */
struct batch_view {
	struct batch_index *index; /* with a reference; NULL: empty */
	struct batch_block *block; /* as it was: with the bytes of the view */
	struct range_dels *dels;   /* NULL: none */
	uint32_t count;
};

/* CAIRN_EINVAL: the batch is not indexed. CAIRN_ENOMEM. */
MUST_CHECK int batch_view_init(struct batch_view *v,
			       const struct cairn_batch *b);
void batch_view_copy(struct batch_view *to, const struct batch_view *from);
void batch_view_fini(struct batch_view *v);

/* An iterator over all entries but range deletions, which are its scope. Keys
 * and values are those of the view's block. */
MUST_CHECK int batch_view_iter(const struct batch_view *v, struct iter **out);

#endif
