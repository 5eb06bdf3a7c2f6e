/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters of what the database did; cairn_metrics_get() shows them. */
#ifndef CAIRN_DB_STATS_H
#define CAIRN_DB_STATS_H

#include <stdatomic.h>

#include "engine/compact/job.h"

/* What jobs wrote into a level. */
struct level_stats {
	uint64_t in_bytes;
	uint64_t read_bytes;
	uint64_t flushed_bytes;
	uint64_t compacted_bytes;
	uint64_t moved_tables;
	uint64_t moved_bytes;
	uint64_t ingested_tables;
	uint64_t ingested_bytes;
	uint64_t dropped_tables;
	uint64_t dropped_bytes;
};

struct stats {
	/* Guarded by db->mu. */
	struct level_stats level[CAIRN_LEVELS];
	uint64_t flushes;
	uint64_t flush_bytes;
	uint64_t compactions;
	uint64_t compactions_of[N_COMPACTION_KINDS];
	uint64_t compactions_failed;
	uint64_t stalls;
	uint64_t stall_us;
	struct cairn_stall_metrics stall[CAIRN_STALL_CAUSES];

	/* Relaxed; of the commit path. */
	_Atomic uint64_t wal_in_bytes;
	_Atomic uint64_t wal_written_bytes;
	_Atomic uint64_t wal_syncs;
};

/* Count a job that was installed. db->mu held. */
void stats_count_flush(struct stats *s, const struct job_result *r);
void stats_count_compaction(struct stats *s, const struct compaction_plan *p,
			    const struct job_result *r);
void stats_count_move(struct stats *s, const struct compaction_plan *p);
void stats_count_drop(struct stats *s, const struct compaction_plan *p);
void stats_count_ingested(struct stats *s, int level, uint64_t bytes);

/* Any thread, for relaxed counters. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t stats_load(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
