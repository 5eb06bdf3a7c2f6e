/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory there is for this process. */
#ifndef CAIRN_BASE_MEMORY_LIMIT_H
#define CAIRN_BASE_MEMORY_LIMIT_H

#include <stdint.h>

/*
 * What this process may use at all: the least of the machine's memory, its
 * limit on address space, and the limits of its control groups and those they
 * are in (version 2: memory.max and memory.high, version 1:
 * memory.limit_in_bytes).
 */
uint64_t memory_limit(void);

/* The limit of the control groups alone, UINT64_MAX: none. root is put before
 * /proc/self/cgroup and /sys/fs/cgroup, for tests; "" is the system. */
uint64_t memory_limit_of_groups(const char *root);

#endif
