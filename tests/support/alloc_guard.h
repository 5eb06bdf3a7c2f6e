/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations above ALLOC_GUARD_MAX fail in a program that includes this, once,
 * so that a length from a file that is believed too early shows as a failure
 * for want of memory. No code of ours needs as much in a test of small files.
 */
#ifndef CAIRN_TESTS_SUPPORT_ALLOC_GUARD_H
#define CAIRN_TESTS_SUPPORT_ALLOC_GUARD_H

#include <stddef.h>

#define ALLOC_GUARD_MAX ((size_t)64 << 20)

#if defined(__SANITIZE_ADDRESS__)

/* The sanitizer has a guard of its own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "max_allocation_size_mb=65:allocator_may_return_null=1";
}

#elif defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *p, size_t len);

void *malloc(size_t len)
{
	return len > ALLOC_GUARD_MAX ? NULL : __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
	return len && n > ALLOC_GUARD_MAX / len ? NULL : __libc_calloc(n, len);
}

void *realloc(void *p, size_t len)
{
	return len > ALLOC_GUARD_MAX ? NULL : __libc_realloc(p, len);
}

#endif

#endif
