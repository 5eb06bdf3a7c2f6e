/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/memory.h"

#define WRITE_BUFFERS 3u

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t within(uint64_t v, uint64_t min, uint64_t max)
{
	return v < min ? min : v > max ? max : v;
}

struct memory_split memory_split(uint64_t total)
{
	struct memory_split s = { .write_buffers = WRITE_BUFFERS };
	/* For the gaps of the heap, and for requests and compactions under
	 * way, which need the same some MiB under any budget. */
	uint64_t rest = most(total / 16, least(total / 4, 16u << 20));

	s.write_buffer = within(total / 16, 512u << 10, 64u << 20);
	s.row_cache = within(total / 32, 256u << 10, 16u << 20);
	s.dirty = within(total / 32, 1u << 20, 16u << 20);
	s.whole = within(total / 16, 1u << 20, 1u << 30);
	s.block_cache =
		total - rest - s.row_cache - WRITE_BUFFERS * s.write_buffer;
	return s;
}
