/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as RocksDB and
 * LevelDB frame their logs and seal their blocks with.
 */
#ifndef CAIRN_BASE_CRC32C_H
#define CAIRN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what crc stands for followed by data. crc = 0 starts anew. */
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len);

/* The same without the CRC instructions of the processor, for comparison. */
uint32_t crc32c_extend_table(uint32_t crc, const void *data, size_t len);

static inline uint32_t crc32c(const void *data, size_t len)
{
	return crc32c_extend(0, data, len);
}

/* CRC of A followed by B, from those of A and of B, and the length of B. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);

/*
 * A CRC stored beside the bytes it covers is masked, because the CRC of a
 * string with its own CRC inside is a constant.
 */
static inline uint32_t crc32c_mask(uint32_t crc)
{
	return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static inline uint32_t crc32c_unmask(uint32_t masked)
{
	uint32_t rot = masked - 0xa282ead8u;

	return (rot >> 17) | (rot << 15);
}

#endif
