/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wraps another env and fails on request. Each operation belongs to a class;
 * a rule says which occurrence of which classes fails, and how. A failing
 * operation does nothing below, except that close still closes. Size and free
 * space are in the class STAT, the lock and its holder in LOCK, removing a
 * directory in UNLINK; hints, unlock and time never fail and are not counted.
 * Operations on an open file match a rule's path by the name it was opened
 * with, rename and link by either name.
 *
 * When a failing sync loses its bytes, the env below is not told of this sync
 * nor of any later one of that file object, which then report success: bytes
 * that were not synced before stay unsynced for good, as in a kernel that took
 * the pages for clean. Over env_mem, a crash clone then shows the loss.
 */
#ifndef CAIRN_ENV_ENV_FAULT_H
#define CAIRN_ENV_ENV_FAULT_H

#include "engine/env/env.h"

enum env_fault_op {
	ENV_FAULT_OPEN_READ = 1 << 0,
	ENV_FAULT_READ = 1 << 1,
	ENV_FAULT_CREATE = 1 << 2,
	ENV_FAULT_APPEND = 1 << 3,
	ENV_FAULT_SYNC = 1 << 4,
	ENV_FAULT_CLOSE = 1 << 5,
	ENV_FAULT_RENAME = 1 << 6,
	ENV_FAULT_LINK = 1 << 7,
	ENV_FAULT_UNLINK = 1 << 8,
	ENV_FAULT_SYNC_DIR = 1 << 9,
	ENV_FAULT_LIST = 1 << 10,
	ENV_FAULT_STAT = 1 << 11,
	ENV_FAULT_MKDIR = 1 << 12,
	ENV_FAULT_PREALLOCATE = 1 << 13,
	ENV_FAULT_LOCK = 1 << 14,
	ENV_FAULT_ALL = (1 << 15) - 1,
	/* Those that change something. */
	ENV_FAULT_WRITES = ENV_FAULT_CREATE | ENV_FAULT_APPEND |
			   ENV_FAULT_SYNC | ENV_FAULT_CLOSE | ENV_FAULT_RENAME |
			   ENV_FAULT_LINK | ENV_FAULT_UNLINK |
			   ENV_FAULT_SYNC_DIR | ENV_FAULT_MKDIR |
			   ENV_FAULT_PREALLOCATE,
};

struct env_fault_rule {
	unsigned ops;     /* a set of env_fault_op */
	const char *path; /* substring of the path; NULL: any. Borrowed */
	uint64_t nth;     /* the n-th matching operation fails, from 1 on */
	bool sticky;      /* ... and all matching ones after it */
	int code;         /* what it returns, e.g. CAIRN_EIO */
	bool partial;     /* a failing append writes half before it fails; a
			   * failing sync loses what it should have synced */
};

/* base is borrowed. NULL: no memory. Close its files before freeing it. */
struct cairn_env *env_fault_new(struct cairn_env *base);
void env_fault_free(struct cairn_env *e);

/* Replace the rule and restart its count; NULL: nothing fails. */
void env_fault_set(struct cairn_env *e, const struct env_fault_rule *rule);

/* Operations of the given classes since env_fault_new(). */
uint64_t env_fault_count(struct cairn_env *e, unsigned ops);

/* How often the present rule has made something fail. */
uint64_t env_fault_hits(struct cairn_env *e);

#endif
