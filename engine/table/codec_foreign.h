/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs that RocksDB writes and cairn only reads: zlib, bzip2, lz4. Each is
 * there if its library was when cairn was configured; else CAIRN_ENOTSUP says
 * that this build lacks it.
 *
 * Blocks begin with the uncompressed length as a varint32. Tables of
 * format_version 0 and 1 have none before zlib and bzip2, which are then
 * decompressed once just to count, and a fixed64 before lz4.
 */
#ifndef CAIRN_TABLE_CODEC_FOREIGN_H
#define CAIRN_TABLE_CODEC_FOREIGN_H

#include "engine/table/compress.h"

/* As decompressed_len(), for every codec that is none of enum table_codec;
 * dict has no bytes when there is none. */
MUST_CHECK int foreign_len(const struct stored_block *b,
			   struct cairn_slice dict, size_t *len);

/* As decompress(). */
MUST_CHECK int foreign_decompress(const struct stored_block *b,
				  struct cairn_slice dict, uint8_t *dst,
				  size_t len);

#endif
