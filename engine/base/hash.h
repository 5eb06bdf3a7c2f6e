/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hashes that RocksDB's formats fix.
 *
 * hash32 is the Murmur-like hash of LevelDB (util/hash.cc): legacy bloom
 * filters and data block hash indexes.
 *
 * hash64 is the XXH3 of xxHash 0.7.2, a preview that RocksDB froze for its
 * filters (format_version 5). It is not the XXH3 of libxxhash 0.8: a filter
 * built with the wrong one loses keys in RocksDB's point lookups and nowhere
 * else.
 */
#ifndef CAIRN_BASE_HASH_H
#define CAIRN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint32_t hash32(const void *data, size_t len, uint32_t seed);
uint64_t hash64(const void *data, size_t len);

#endif
