/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/optset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/rng.h"

/* A history of some thousand operations fills all levels of such a store. */
#define SMALL                                                                  \
	"write_buffer_size=4K;base_level_size=8K;target_file_size=2K;"         \
	"level_multiplier=2;l0_compaction_trigger=2;block_size=256;"
#define TINY                                                                   \
	"write_buffer_size=1K;base_level_size=1K;target_file_size=1;"          \
	"level_multiplier=2;l0_compaction_trigger=1;block_size=1;"

static const struct {
	const char *name;
	unsigned flags;
	const char *settings;
} sets[] = {
	{ "default", 0, "" },
	{ "small", 0, SMALL },
	{ "tiny", 0, TINY },
	{ "memtable-1k", 0, "write_buffer_size=1K" },
	{ "memtable-8k", 0, "write_buffer_size=8K;max_write_buffers=2" },
	{ "memtables-many", 0, "write_buffer_size=2K;max_write_buffers=8" },
	{ "block-1", 0, SMALL "block_size=1" },
	{ "block-64k", 0, "write_buffer_size=16K;block_size=64K" },
	{ "restart-1", 0, SMALL "block_restart_interval=1" },
	{ "restart-2", 0, SMALL "block_restart_interval=2" },
	{ "restart-all", 0, SMALL "block_restart_interval=65535" },
	{ "no-filter", 0, SMALL "bloom_bits_per_key=0" },
	{ "filter-1", 0, SMALL "bloom_bits_per_key=1" },
	{ "filter-30", 0, SMALL "bloom_bits_per_key=30" },
	{ "no-cache", 0, SMALL "block_cache_size=0" },
	{ "cache-8k", 0, SMALL "block_cache_size=8K" },
	{ "one-open-file", 0, SMALL "max_open_files=1" },
	{ "no-fill", SET_NO_FILL, SMALL "block_cache_size=64K" },
	{ "trigger-1", 0, SMALL "l0_compaction_trigger=1" },
	{ "trigger-12", 0,
	  "write_buffer_size=1K;l0_compaction_trigger=12;l0_slowdown=40;"
	  "l0_stop=60" },
	{ "slowdown", 0, SMALL "l0_slowdown=2;l0_stop=4" },
	{ "base-1", 0, SMALL "base_level_size=1" },
	{ "multiplier-10", 0, SMALL "level_multiplier=10" },
	{ "table-1", 0, SMALL "target_file_size=1" },
	{ "table-1m", 0, SMALL "target_file_size=1M" },
	{ "no-compression", 0, SMALL "compression=none" },
	{ "snappy", 0, SMALL "compression=snappy" },
	{ "zstd", 0, SMALL "compression=zstd" },
	{ "zstd-9", 0, SMALL "compression=zstd;zstd_level=9;block_size=4K" },
	{ "one-job", 0, SMALL "max_background_jobs=1" },
	{ "many-jobs", 0, TINY "max_background_jobs=8" },
	{ "no-compactions", 0, "write_buffer_size=2K;auto_compactions=false" },
	{ "no-upkeep", 0, "write_buffer_size=64M;auto_compactions=false" },
	{ "manifest-1", 0, SMALL "max_manifest_size=1" },
	{ "bytes-per-sync-1", 0, SMALL "bytes_per_sync=1" },
	{ "paranoid", 0, SMALL "paranoid_checks=true" },
	{ "sync-all", SET_SYNC_ALL, SMALL },
	{ "no-wal", SET_NO_WAL, SMALL },
	{ "no-wal-large", SET_NO_WAL, "" },
	{ "no-wal-meddle", SET_NO_WAL | SET_MEDDLE, SMALL },
	{ "no-partial-merge", SET_NO_PARTIAL, SMALL },
	{ "collector", SET_COLLECTOR, SMALL },
	{ "table-filter", SET_COLLECTOR | SET_TABLE_FILTER, SMALL },
	{ "journal", SET_JOURNAL, SMALL },
	{ "journal-tiny", SET_JOURNAL, TINY },
	{ "posix", SET_POSIX, SMALL },
	{ "posix-default", SET_POSIX, "" },
	{ "single-as-delete", SET_SINGLE_AS_DELETE, SMALL },
	{ "range-as-deletes", SET_RANGE_AS_DELETES, SMALL },
	{ "ingest-as-batch", SET_INGEST_AS_BATCH, SMALL },
	{ "batch-as-table", SET_BATCH_AS_TABLE, SMALL },
	{ "gets-one-by-one", SET_GETS_ONE_BY_ONE, SMALL },
	{ "no-prefix", SET_NO_PREFIX, SMALL },
	{ "drift", SET_DRIFT, SMALL },
	{ "drift-meddle", SET_DRIFT | SET_MEDDLE, SMALL },
	{ "meddle", SET_MEDDLE, SMALL },
	{ "meddle-tiny", SET_MEDDLE | SET_JOURNAL, TINY },
	{ "faults", SET_FAULTS, SMALL },
	{ "faults-large", SET_FAULTS, "write_buffer_size=32K" },
	{ "faults-meddle", SET_FAULTS | SET_MEDDLE, TINY },
};

#define N_SETS (sizeof(sets) / sizeof(sets[0]))

size_t optset_count(void)
{
	return N_SETS;
}

void optset_at(size_t i, struct optset *out)
{
	*out = (struct optset){ .flags = sets[i].flags };
	snprintf(out->name, sizeof(out->name), "%s", sets[i].name);
	snprintf(out->settings, sizeof(out->settings), "%s", sets[i].settings);
}

/* ------------------------------------------------------------------- random */

static const char *const choices[][2] = {
	{ "write_buffer_size", "1K|1K|2K|4K|16K|64K|16M" },
	{ "max_write_buffers", "2|3|3|6" },
	{ "block_cache_size", "0|4K|64K|8M" },
	{ "max_open_files", "1|3|20|1000" },
	{ "block_size", "1|64|256|1K|4K|64K" },
	{ "block_restart_interval", "1|2|3|16|16|1000" },
	{ "bloom_bits_per_key", "0|1|5|10|10|20" },
	{ "base_level_size", "0|1|1K|4K|16K|256K" },
	{ "level_multiplier", "2|3|10" },
	{ "target_file_size", "1|1K|4K|64K|4M" },
	{ "l0_compaction_trigger", "1|2|4|8" },
	{ "l0_slowdown", "8|10|20" },
	{ "l0_stop", "8|12|24" },
	{ "compression", "default|none|snappy|zstd" },
	{ "zstd_level", "1|3|19" },
	{ "max_background_jobs", "1|2|4" },
	{ "auto_compactions", "true|true|true|true|false" },
	{ "bytes_per_sync", "0|1|4K|512K" },
	{ "max_manifest_size", "1|512|4K|64M" },
	{ "paranoid_checks", "false|false|true" },
};

static const unsigned likely_flags[] = {
	SET_JOURNAL,          SET_NO_PARTIAL,      SET_COLLECTOR,
	SET_TABLE_FILTER,     SET_NO_FILL,         SET_DRIFT,
	SET_MEDDLE,           SET_FAULTS,          SET_SINGLE_AS_DELETE,
	SET_INGEST_AS_BATCH,  SET_GETS_ONE_BY_ONE, SET_NO_PREFIX,
	SET_RANGE_AS_DELETES, SET_BATCH_AS_TABLE,
};

/* One of the values in "a|b|c" appended to the settings. */
static void add_choice(struct rng *rng, const char *name, const char *values,
		       struct optset *out)
{
	size_t used = strlen(out->settings), n = 1;
	const char *v = values;

	for (const char *p = values; *p; p++)
		n += *p == '|';
	for (size_t i = (size_t)rng_below(rng, n); i; i--)
		v = strchr(v, '|') + 1;
	snprintf(out->settings + used, sizeof(out->settings) - used, "%s=%.*s;",
		 name, (int)strcspn(v, "|"), v);
}

void optset_random(uint64_t n, struct optset *out)
{
	struct rng rng;

	rng_init(&rng, n ^ UINT64_C(0x6d657461));
	*out = (struct optset){ .flags = 0 };
	snprintf(out->name, sizeof(out->name), "random-%llu",
		 (unsigned long long)n);
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		add_choice(&rng, choices[i][0], choices[i][1], out);
	for (size_t i = 0; i < sizeof(likely_flags) / sizeof(likely_flags[0]);
	     i++)
		if (rng_one_in(&rng, 5))
			out->flags |= likely_flags[i];
	if (rng_one_in(&rng, 8))
		out->flags |= SET_NO_WAL;
	else if (rng_one_in(&rng, 8))
		out->flags |= SET_SYNC_ALL;
}

bool optset_find(const char *name, struct optset *out)
{
	unsigned long long n;
	char rest;

	for (size_t i = 0; i < N_SETS; i++)
		if (strcmp(sets[i].name, name) == 0) {
			optset_at(i, out);
			return true;
		}
	if (sscanf(name, "random-%llu%c", &n, &rest) != 1)
		return false;
	optset_random(n, out);
	return true;
}
