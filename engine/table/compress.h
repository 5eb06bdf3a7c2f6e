/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What blocks are compressed with. Snappy blocks are its raw format; zstd ones
 * begin with the uncompressed length as a varint32, whatever the table's
 * format_version. Those are written; codec_foreign.h has what is only read.
 */
#ifndef CAIRN_TABLE_COMPRESS_H
#define CAIRN_TABLE_COMPRESS_H

#include <stdatomic.h>

#include "engine/base/buf.h"
#include "engine/table/table_writer.h"

/* A word for messages ("snappy"); never NULL. */
const char *codec_name(uint8_t codec);

/* The value of the property rocksdb.compression. */
const char *codec_property(enum table_codec codec);

/* Compresses one block after the other. Belongs to one thread. */
struct compressor {
	enum table_codec codec;
	int zstd_level;
	struct ZSTD_CCtx_s *zstd;
	struct buf out;
};

MUST_CHECK int compressor_init(struct compressor *c, enum table_codec codec,
			       int zstd_level);
void compressor_fini(struct compressor *c); /* safe on a zeroed struct */

/*
 * Compress raw. *codec says how the block is to be stored and *stored holds
 * the bytes: raw itself, with TABLE_CODEC_NONE, unless an eighth is saved.
 * *stored lives until the next call.
 */
MUST_CHECK int compressor_run(struct compressor *c, struct cairn_slice raw,
			      uint8_t *codec, struct cairn_slice *stored);

/*
 * Decompression contexts of zstd, about 100 KiB each, kept for the next block
 * instead of being made for each one. All zero is an empty pool. Thread-safe.
 */
#define DECOMPRESS_POOL_SLOTS 4

struct decompress_pool {
	_Atomic(struct ZSTD_DCtx_s *) slot[DECOMPRESS_POOL_SLOTS];
};

void decompress_pool_fini(struct decompress_pool *p);

/* A dictionary for blocks of zstd, trained or raw, zlib and lz4; copied. */
struct block_dict;
MUST_CHECK int block_dict_new(struct cairn_slice bytes,
			      struct block_dict **out);
void block_dict_free(struct block_dict *d);           /* NULL is allowed */
size_t block_dict_memory(const struct block_dict *d); /* NULL is allowed */

/* A block as it is stored in a table of that format_version. */
struct stored_block {
	struct cairn_slice bytes;
	uint8_t codec;
	uint8_t version;
};

/* A length that a block claims is allocated up to here without a question; a
 * larger one when the block was decompressed to nowhere and had it. */
#define DECOMPRESS_TRUST_MAX ((size_t)64 << 20)

/*
 * How many bytes a block decompresses to, by its own word, checked against
 * BLOCK_LEN_MAX and against what so few stored bytes can expand to. dict may
 * be NULL. CAIRN_ECORRUPT, or CAIRN_ENOTSUP naming the codec when it is none
 * of enum table_codec and none of codec_foreign.h.
 */
MUST_CHECK int decompressed_len(const struct stored_block *b,
				const struct block_dict *dict, size_t *len);

/*
 * Decompress to the len bytes at dst; len is what decompressed_len() said.
 * dict and pool may be NULL. CAIRN_ECORRUPT when the bytes are malformed or
 * give another length.
 */
MUST_CHECK int decompress(const struct stored_block *b,
			  const struct block_dict *dict,
			  struct decompress_pool *pool, uint8_t *dst,
			  size_t len);

#endif
