/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bits of RocksDB's bloom filters. A filter block is an array of cache
 * lines and 5 bytes that say what kind it is (util/bloom_impl.h and
 * table/block_based/filter_policy.cc there):
 *
 *   0xff        all probes of a key in one 64-byte line, by hash64: what is
 *               written since format_version 5, and here
 *   1 to 127    the kind before it, by hash32, with that many probes
 *
 * All others, Ribbon filters among them, are answered with "maybe".
 */
#ifndef CAIRN_TABLE_BLOOM_H
#define CAIRN_TABLE_BLOOM_H

#include "engine/base/buf.h"

#define BLOOM_METADATA_LEN 5

enum bloom_kind {
	BLOOM_ALWAYS, /* may hold any key */
	BLOOM_NEVER,  /* holds no key */
	BLOOM_FAST,
	BLOOM_LEGACY,
};

/* A filter block, opened; borrows its bytes. */
struct bloom {
	enum bloom_kind kind;
	const uint8_t *lines;
	uint32_t n_lines;
	uint32_t line_bits; /* of BLOOM_LEGACY, a power of two */
	uint32_t probes;
};

/* Any bytes are a filter; those that make no sense are BLOOM_ALWAYS. */
void bloom_open(struct bloom *f, struct cairn_slice block);

/* False: key was not added. */
bool bloom_may_contain(const struct bloom *f, struct cairn_slice key);

/*
 * The same in two steps, for many keys: bloom_prefetch() says where to look.
 * hash is hash64 of the key, computed once for all filters; only for
 * BLOOM_FAST.
 */
void bloom_prefetch(const struct bloom *f, uint64_t hash);
bool bloom_may_contain_hash(const struct bloom *f, uint64_t hash);

/* RocksDB's rounding of a number of bits per key; 0: no filter. */
uint32_t bloom_millibits(double bits_per_key);

/*
 * Append the block, of kind BLOOM_FAST, for n keys with the given hash64
 * values. Equal neighbours should have been dropped.
 */
MUST_CHECK int bloom_build(const uint64_t *hashes, size_t n, uint32_t millibits,
			   struct buf *out);

#endif
