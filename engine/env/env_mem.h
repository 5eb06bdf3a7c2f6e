/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file system in memory that knows what would survive a power cut. Each file
 * and directory keeps two states: what a reader sees, and what has been made
 * durable by wfile_sync() and env_sync_dir(). Time is the real clock. Safe for
 * any number of threads; locks are per env, so one clone does not see the
 * locks of another.
 */
#ifndef CAIRN_ENV_ENV_MEM_H
#define CAIRN_ENV_ENV_MEM_H

#include "engine/env/env.h"

/* Which names a cut may leave. */
enum env_mem_rule {
	/* A name is durable only once its directory was synced. */
	ENV_MEM_STRICT,
	/* Any sync also makes all earlier name changes durable, in order. */
	ENV_MEM_JOURNAL,
};

/*
 * An empty file system with a root "/", where relative paths start, too.
 * NULL: no memory. Files and locks that are open when it is freed stay usable
 * until they are closed.
 */
struct cairn_env *env_mem_new(enum env_mem_rule rule);
void env_mem_free(struct cairn_env *e);

/*
 * A copy as it may look after the power was cut now: everything durable, and
 * each unsynced 512-byte sector of contents and each unsynced name change kept
 * with keep_percent in 100 (0: only what is durable; 100: all of it). Sector
 * writes of one file are independent; a kept name of a file that was never
 * synced may show any prefix length with zero or written sectors. Decided by
 * seed alone. Files open in e stay usable in e. NULL: no memory.
 */
struct cairn_env *env_mem_crash_clone(struct cairn_env *e, uint64_t seed,
				      unsigned keep_percent);

/* Bytes of all files as readers see them. */
uint64_t env_mem_bytes(struct cairn_env *e);

/* Limit on env_mem_bytes(); writes above it get CAIRN_ENOSPC. 0: none. */
void env_mem_set_capacity(struct cairn_env *e, uint64_t bytes);

/* Flip bits: xor the byte at off of path, durable and visible state alike.
 * CAIRN_NOT_FOUND when there is no such byte. */
int env_mem_damage(struct cairn_env *e, const char *path, uint64_t off,
		   uint8_t mask);

#endif
