/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing one block; block.h has the layout. */
#ifndef CAIRN_TABLE_BLOCK_BUILDER_H
#define CAIRN_TABLE_BLOCK_BUILDER_H

#include "engine/base/buf.h"

/* No restart point but the first. */
#define BLOCK_ONE_RESTART UINT32_MAX

struct block_builder {
	uint32_t restart_interval;
	uint32_t since_restart; /* entries */
	uint32_t n;
	struct buf bytes;
	struct buf restarts;
	struct buf last_key;
};

void block_builder_init(struct block_builder *b, uint32_t restart_interval);
void block_builder_fini(struct block_builder *b); /* safe on a zeroed struct */

/*
 * Append an entry whose key is head followed by tail: a user key and its
 * trailer, or a key and nothing. The caller keeps keys ascending. A block
 * must stay below 4 GiB.
 */
MUST_CHECK int block_builder_add(struct block_builder *b,
				 struct cairn_slice head,
				 struct cairn_slice tail,
				 struct cairn_slice value);

/*
 * An index entry of the delta-coded kind, which has no value length. Only with
 * a restart interval of 1, at which every value is a full handle.
 */
MUST_CHECK int block_builder_add_bare(struct block_builder *b,
				      struct cairn_slice key,
				      struct cairn_slice value);

/* Bytes that finish would make it. */
size_t block_builder_size(const struct block_builder *b);
/* What an entry with such lengths adds to it, at most. */
size_t block_builder_entry_size(size_t key_len, size_t value_len);

static inline bool block_builder_empty(const struct block_builder *b)
{
	return b->n == 0;
}

/* The key added last; until the next change. Empty when there is none. */
static inline struct cairn_slice
block_builder_last_key(const struct block_builder *b)
{
	return buf_slice(&b->last_key);
}

/*
 * Append restart array and footer. The contents are good until the next call;
 * then only reset or fini may follow.
 */
MUST_CHECK int block_builder_finish(struct block_builder *b,
				    struct cairn_slice *contents);

/* Start the next block. The last key is forgotten. */
void block_builder_reset(struct block_builder *b);

#endif
