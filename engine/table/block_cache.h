/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Uncompressed blocks of tables, shared by all tables of a database. Sharded;
 * a hit takes the shard's lock for a hash probe and a reference, sets a bit and
 * moves nothing (CLOCK). Pinned blocks are never evicted; capacity counts
 * pinned ones and the bookkeeping. When nothing can be evicted an insert is
 * refused and the caller keeps its block to itself.
 */
#ifndef CAIRN_TABLE_BLOCK_CACHE_H
#define CAIRN_TABLE_BLOCK_CACHE_H

#include "engine/base/slice.h"

struct block_cache;
struct block_handle_ref; /* a pinned entry */

struct block_cache_stats {
	uint64_t capacity;
	uint64_t bytes;
	uint64_t hits;
	uint64_t misses;
};

/* capacity 0: nothing is ever kept. */
MUST_CHECK int block_cache_new(size_t capacity, struct block_cache **out);
void block_cache_free(struct block_cache *c); /* nothing may be pinned */

void block_cache_set_capacity(struct block_cache *c, size_t capacity);
void block_cache_stats(struct block_cache *c, struct block_cache_stats *out);

/* Forget every block of a file that is being deleted. */
void block_cache_evict_file(struct block_cache *c, uint64_t file_number);

#endif
