/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One budget for memtables, open tables and the block cache.
 *
 * Memtables and tables are as large as they have to be; the cache gets what
 * they leave, up to block_cache_size. Memtables are charged with their whole
 * capacity while they take writes, wait, or are held by readers; open tables
 * with what they keep outside of the cache.
 */
#ifndef CAIRN_DB_BUDGET_H
#define CAIRN_DB_BUDGET_H

#include "engine/db/db.h"

/*
 * Set o->memory_budget, when it is 0: to what cache and memtables may take by
 * their own options, but at most half of limit, the memory there is. Then make
 * the memtables smaller if they would take more than half of it.
 */
void budget_fit(struct cairn_options *o, uint64_t limit);

/* Give the cache what is left, after memtables or tables came or went. No
 * locks. */
void budget_update(struct cairn_db *db);

struct budget_use {
	uint64_t memtables;
	uint64_t tables;
};
/* mu held. */
void budget_count(struct cairn_db *db, struct budget_use *out);

#endif
