/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of a log whose checksums are made right, so that what is behind them
 * is reached by inputs that know nothing of checksums. */
#ifndef CAIRN_TESTS_FUZZ_FRAMING_H
#define CAIRN_TESTS_FUZZ_FRAMING_H

#include "engine/base/crc32c.h"
#include "engine/wal/record.h"
#include "tests/fuzz/fuzz.h"

static inline bool framing_is_recyclable(uint8_t type)
{
	return type >= RECORD_RECYCLABLE_FULL && type <= RECORD_RECYCLABLE_LAST;
}

/* The number of the log that the targets read. */
#define FRAMING_LOG_NUMBER 4

/* The checksum of every fragment that can be followed from the front, and the
 * log's number in those that have one. */
static inline void framing_repair(uint8_t *p, size_t len)
{
	size_t pos = 0;

	while (len - pos >= RECORD_HEADER_LEN) {
		size_t left = RECORD_BLOCK_LEN - pos % RECORD_BLOCK_LEN;
		size_t n;

		if (left < RECORD_HEADER_LEN) {
			pos += left;
			if (pos > len)
				break;
			continue;
		}
		n = (size_t)load_le16(p + pos + 4) +
		    (framing_is_recyclable(p[pos + 6]) ? RECORD_HEADER_LEN_MAX
						       : RECORD_HEADER_LEN);
		if (n > left || n > len - pos)
			break;
		if (framing_is_recyclable(p[pos + 6]))
			put_le32(p + pos + RECORD_HEADER_LEN,
				 FRAMING_LOG_NUMBER);
		put_le32(p + pos, crc32c_mask(crc32c(p + pos + 6, n - 6)));
		pos += n;
	}
}

/* An input of a byte that says whether to repair, and a log. To be freed. */
static inline uint8_t *framing_copy(const uint8_t *data, size_t len,
				    struct cairn_slice *log)
{
	struct cairn_slice in = slice_of(data, len);
	bool repair = fuzz_byte(&in) & 1;
	uint8_t *p = malloc(in.len ? in.len : 1);

	FUZZ_CHECK(p);
	if (in.len)
		memcpy(p, in.data, in.len);
	if (repair)
		framing_repair(p, in.len);
	*log = slice_of(p, in.len);
	return p;
}

#endif
