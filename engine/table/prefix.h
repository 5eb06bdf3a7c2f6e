/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys as small integers. Sorted keys of one block have a prefix in common; the
 * bytes behind it, read as a big-endian number and filled up with zeros, are in
 * the order of the keys, but for keys that are equal as far as these bytes go.
 */
#ifndef CAIRN_TABLE_PREFIX_H
#define CAIRN_TABLE_PREFIX_H

#include "engine/base/coding.h"

/* Up to 8 bytes of s from skip on; s.len >= skip. */
static inline uint64_t prefix_load64(struct cairn_slice s, size_t skip)
{
	uint8_t pad[8] = { 0 };

	if (s.len - skip >= 8)
		return load_be64(s.data + skip);
	if (s.len > skip)
		memcpy(pad, s.data + skip, s.len - skip);
	return load_be64(pad);
}

static inline uint32_t prefix_load32(struct cairn_slice s, size_t skip)
{
	uint8_t pad[4] = { 0 };

	if (s.len - skip >= 4)
		return load_be32(s.data + skip);
	if (s.len > skip)
		memcpy(pad, s.data + skip, s.len - skip);
	return load_be32(pad);
}

/*
 * Where key stands to all keys that begin with the len bytes at common: below
 * (< 0), above (> 0), or among them (0), and then it begins with them too.
 */
static inline int prefix_compare(struct cairn_slice key, const uint8_t *common,
				 size_t len)
{
	size_t n = key.len < len ? key.len : len;
	int c = n ? memcmp(key.data, common, n) : 0;

	return c ? c : -(key.len < len);
}

#endif
