/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of a fixed size that is given out piece by piece and freed all at
 * once. Pieces are named by 32-bit offsets, which halve the links of what is
 * built in it; offset 0 is never given out and serves as null. Any number of
 * threads may allocate at once.
 */
#ifndef CAIRN_MEM_ARENA_H
#define CAIRN_MEM_ARENA_H

#include <stdatomic.h>

#include "engine/base/slice.h"

#define ARENA_ALIGN 4u
#define ARENA_MAX   ((UINT64_C(4) << 30) - ARENA_ALIGN)

struct arena {
	uint8_t *base;
	size_t size;
	size_t mapped;
	/*
	 * Where the next piece begins. Relaxed: pieces are disjoint whatever
	 * the order, and handing one to another thread is the taker's matter.
	 */
	_Atomic uint64_t used;
};

/* size zeroed bytes, at most ARENA_MAX. CAIRN_EINVAL, CAIRN_ENOMEM. */
MUST_CHECK int arena_init(struct arena *a, size_t size);
void arena_fini(struct arena *a);

static inline size_t arena_round(size_t len)
{
	return (len + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

/* An aligned, zeroed piece of len bytes; 0 when there is no room. */
static inline uint32_t arena_alloc(struct arena *a, size_t len)
{
	uint64_t off;

	/* First, so that the sums below cannot wrap. */
	if (len > a->size)
		return 0;
	len = arena_round(len);
	off = atomic_fetch_add_explicit(&a->used, len, memory_order_relaxed);
	if (off + len > a->size) {
		atomic_fetch_sub_explicit(&a->used, len, memory_order_relaxed);
		return 0;
	}
	return (uint32_t)off;
}

/* Bytes given out, the null piece included. */
static inline size_t arena_used(const struct arena *a)
{
	return (size_t)atomic_load_explicit(&a->used, memory_order_relaxed);
}

#endif
