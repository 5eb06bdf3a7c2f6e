/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/budget.h"

#include "engine/table/block_cache.h"

/* Memtables smaller than this would be flushed all the time. */
#define WRITE_BUFFER_MIN (UINT64_C(64) << 10)
/* The cache is never smaller than this part of the budget: nothing could be
 * read well without. */
#define CACHE_PART_MIN 8
/* Changes below this part of the budget are not worth the trouble. */
#define CHANGE_PART 64

void budget_fit(struct cairn_options *o, uint64_t limit)
{
	uint64_t buffers = o->max_write_buffers * o->write_buffer_size;
	uint64_t wanted = o->block_cache_size + buffers;
	uint64_t most;

	o->budget_set = o->memory_budget != 0;
	if (!o->budget_set)
		o->memory_budget = wanted < limit / 2 ? wanted : limit / 2;
	if (o->block_cache_size > o->memory_budget)
		o->block_cache_size = o->memory_budget;
	if (wanted <= o->memory_budget)
		return;
	most = o->memory_budget / 2 / o->max_write_buffers;
	if (most < WRITE_BUFFER_MIN)
		most = WRITE_BUFFER_MIN;
	if (o->write_buffer_size > most)
		o->write_buffer_size = most;
}

void budget_count(struct cairn_db *db, struct budget_use *out)
{
	assert_held(&db->mu);
	*out = (struct budget_use){
		.memtables = atomic_load_explicit(&db->memtable_zombie_bytes,
						  memory_order_relaxed),
		.tables = table_cache_memory(db->tables),
	};
	if (db->mem)
		out->memtables += memtable_capacity(db->mem);
	for (size_t i = 0; i < db->n_imm; i++)
		out->memtables += memtable_capacity(db->imm[i]);
}

void budget_update(struct cairn_db *db)
{
	uint64_t budget = db->opts.memory_budget;
	uint64_t least = budget / CACHE_PART_MIN;
	uint64_t charged, left, change;
	struct budget_use use;

	mutex_lock(&db->mu);
	budget_count(db, &use);
	mutex_unlock(&db->mu);
	charged = use.memtables + use.tables;
	left = charged < budget ? budget - charged : 0;
	if (left < least)
		left = least;
	if (left > db->opts.block_cache_size)
		left = db->opts.block_cache_size;

	mutex_lock(&db->budget_mu);
	change = left > db->cache_capacity ? left - db->cache_capacity
					   : db->cache_capacity - left;
	if (change > budget / CHANGE_PART ||
	    (change && left == db->opts.block_cache_size)) {
		db->cache_capacity = left;
		block_cache_set_capacity(db->cache, (size_t)left);
	}
	mutex_unlock(&db->budget_mu);
}
