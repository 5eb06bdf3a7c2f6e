/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The outer shape of a table file: blocks, each with a trailer, found by
 * handles, and a footer of fixed size at the end from which all is reached.
 *
 *   block:   stored bytes | codec u8 | checksum fixed32
 *   footer:  version 0:    metaindex handle, index handle, zeros to 40 bytes |
 *                          magic fixed64
 *            version 1-5:  checksum type u8 | handles, zeros to 40 bytes |
 *                          version fixed32 | magic fixed64
 */
#ifndef CAIRN_TABLE_FORMAT_H
#define CAIRN_TABLE_FORMAT_H

#include "engine/base/coding.h"

/* Codec (1 byte) and checksum (4 bytes) after every block. */
#define BLOCK_TRAILER_LEN    5
#define BLOCK_HANDLE_MAX_LEN (2 * VARINT64_MAX_LEN)

#define FOOTER_LEN        53
#define FOOTER_LEGACY_LEN 48
#define FOOTER_VERSION    5 /* what is written, and the newest that is read */

/* The name of the block of range tombstones in the metaindex. */
#define RANGE_DEL_KEY "rocksdb.range_del"

/*
 * No block is larger, stored or decompressed: one entry with the largest key
 * and value, and what other writers may have put around it.
 */
#define BLOCK_LEN_MAX ((size_t)CAIRN_VALUE_MAX + (1u << 20))

/*
 * Where a block lies in its table file. size leaves out the trailer.
 *
 * Handles are read from disk and not trusted: one that block_handle_decode()
 * returns lies, trailer included, inside a file of the given length.
 */
struct block_handle {
	uint64_t offset;
	uint64_t size;
};

/*
 * Whether a block at h, trailer included, lies inside a file of file_len
 * bytes and is no larger than BLOCK_LEN_MAX.
 */
bool block_handle_fits(struct block_handle h, uint64_t file_len);

/*
 * Read a handle from the front of in and move in past it. CAIRN_ECORRUPT,
 * with in and h unchanged, when in ends early or the handle does not fit.
 */
MUST_CHECK int block_handle_decode(struct cairn_slice *in, uint64_t file_len,
				   struct block_handle *h);

/* p has room for BLOCK_HANDLE_MAX_LEN bytes; returns the byte after. */
uint8_t *block_handle_encode(uint8_t *p, struct block_handle h);

/* Numbers are those of the footer. */
enum table_checksum {
	TABLE_CHECKSUM_NONE = 0,
	TABLE_CHECKSUM_CRC32C = 1,
	TABLE_CHECKSUM_XXH32 = 2,
	TABLE_CHECKSUM_XXH64 = 3,
	TABLE_CHECKSUM_XXH3 = 4,
};

/* "none", "crc32c", "xxh32", "xxh64", "xxh3". */
const char *checksum_name(enum table_checksum type);

/*
 * The checksum of a block of len bytes at stored, as its trailer holds it.
 * stored[len] must be the codec byte, which all of them cover.
 */
uint32_t block_checksum(enum table_checksum type, const uint8_t *stored,
			size_t len);

/*
 * The trailer of a block as it is written: BLOCK_TRAILER_LEN bytes with a
 * checksum of the type TABLE_CHECKSUM_WRITTEN.
 */
#define TABLE_CHECKSUM_WRITTEN TABLE_CHECKSUM_XXH3
void block_trailer_encode(uint8_t codec, const uint8_t *stored, size_t len,
			  uint8_t *trailer);

/*
 * Compare the trailer at stored + len with the block. CAIRN_ECORRUPT with both
 * values in the message. Blocks without checksums always pass.
 */
MUST_CHECK int block_check(enum table_checksum type, const uint8_t *stored,
			   size_t len);

struct footer {
	uint32_t version; /* 0 to 5 */
	enum table_checksum checksum;
	struct block_handle metaindex;
	struct block_handle index;
	size_t len; /* of the footer itself */
};

/*
 * tail is the end of a file of file_len bytes, FOOTER_LEN bytes or the whole
 * file when that is shorter; more is allowed. CAIRN_ECORRUPT for what is no
 * table, CAIRN_ENOTSUP for other kinds of tables and for newer ones.
 */
MUST_CHECK int footer_decode(struct cairn_slice tail, uint64_t file_len,
			     struct footer *out);

/* Write FOOTER_LEN bytes; version is one of 1 to 5. */
void footer_encode(const struct footer *f, uint8_t *dst);

#endif
