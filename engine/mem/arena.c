/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/arena.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "engine/base/error.h"

#define HUGE_PAGE_LEN ((size_t)2 << 20)

/*
 * Searches touch memory all over the arena: with small pages, translating the
 * addresses costs as much as the cache misses, and filling a fresh arena takes
 * a page fault every 4 KiB. Huge pages need an aligned start, which mmap does
 * not promise, so map more and give back both ends.
 */
static uint8_t *map_huge(size_t len)
{
	size_t spare = HUGE_PAGE_LEN;
	size_t head;
	uint8_t *p = mmap(NULL, len + spare, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return MAP_FAILED;
	head = (HUGE_PAGE_LEN - (uintptr_t)p % HUGE_PAGE_LEN) % HUGE_PAGE_LEN;
	if (head)
		munmap(p, head);
	munmap(p + head + len, spare - head);
	/* A hint: without huge pages all works, only slower. The first one is
	 * left out, so that what is hardly used takes little memory. */
	if (len > HUGE_PAGE_LEN)
		madvise(p + head + HUGE_PAGE_LEN, len - HUGE_PAGE_LEN,
			MADV_HUGEPAGE);
	return p + head;
}

int arena_init(struct arena *a, size_t size)
{
	/* A whole number of pages, as munmap() of a part needs. */
	size_t mapped = (size + 4095) & ~(size_t)4095;
	uint8_t *p;

	if (size < ARENA_ALIGN || size > ARENA_MAX)
		return error_set(CAIRN_EINVAL, "arena of %zu bytes", size);
	if (mapped >= HUGE_PAGE_LEN)
		p = map_huge(mapped);
	else
		p = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return error_set(CAIRN_ENOMEM,
				 "no memory for an arena of %zu bytes", size);
	a->base = p;
	a->size = size;
	a->mapped = mapped;
	atomic_init(&a->used, ARENA_ALIGN);
	return CAIRN_OK;
}

void arena_fini(struct arena *a)
{
	int err;

	if (!a->base)
		return;
	err = munmap(a->base, a->mapped);
	assert(!err);
	(void)err;
	a->base = NULL;
}
