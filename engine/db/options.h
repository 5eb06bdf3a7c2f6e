/* SPDX-License-Identifier: BSD-3-Clause */
/* Options as the engine uses them; their names and defaults are in cairn.h. */
#ifndef CAIRN_DB_OPTIONS_H
#define CAIRN_DB_OPTIONS_H

#include "engine/compact/picker.h"
#include "engine/kv/merge_builtin.h"
#include "engine/kv/prefix_builtin.h"
#include "engine/table/table_writer.h"

struct cairn_options {
	bool create_if_missing;
	bool error_if_exists;
	bool read_only;
	bool upgrade;
	bool paranoid_checks;
	bool point_in_time_recovery;
	bool auto_compactions;
	bool disable_wal;
	bool auto_resume;
	uint64_t write_buffer_size;
	unsigned max_write_buffers;
	uint64_t block_cache_size;
	uint64_t max_open_files;
	uint64_t memory_budget; /* 0: by budget_fit() */
	bool budget_set;        /* not by budget_fit(), but by the caller */
	uint64_t block_size;
	unsigned block_restart_interval;
	double bloom_bits_per_key;
	uint64_t base_level_size;
	unsigned level_multiplier;
	uint64_t target_file_size;
	unsigned l0_compaction_trigger;
	unsigned l0_slowdown;
	unsigned l0_stop;
	enum table_codec codec[CAIRN_LEVELS];
	bool codec_set; /* not by the defaults */
	int zstd_level;
	unsigned max_background_jobs;
	uint64_t bytes_per_sync;
	uint64_t max_manifest_size;
	uint64_t flush_rate;      /* bytes per second; 0: no matter */
	uint64_t compaction_rate; /* as flush_rate */
	uint64_t debt_slowdown;
	uint64_t debt_stop;
	uint64_t quota;        /* 0: none */
	uint64_t disk_reserve; /* 0: none */
	uint64_t delete_rate;  /* bytes per second; 0: at once */
	char *lock_note;       /* owned; NULL: none */

	/* Owned. An operator of cairn's own; then merge is in it. */
	struct merge_builtin *merge_builtin;
	/* What OPTIONS says of a merge operator, or prefix extractor, that is
	 * not known here and not overridden; NULL: nothing. */
	char *merge_unknown;
	char *prefix_unknown;
	struct prefix_builtin *prefix_builtin; /* as merge_builtin */

	struct cairn_env *env; /* borrowed, as all below; NULL: the real one */
	const struct cairn_prefix_extractor *prefix;
	const struct cairn_merge_operator *merge; /* NULL: none */
	const struct cairn_compaction_filter *filter;
	const struct cairn_table_collector *collector; /* NULL: none */
	struct cairn_listener listener;
};

/* The defaults. */
void options_init(struct cairn_options *o);
/* Copies what from owns; to need not be initialised. */
MUST_CHECK int options_copy(const struct cairn_options *from,
			    struct cairn_options *to);
void options_fini(struct cairn_options *o);

/* CAIRN_EINVAL for settings that contradict one another. */
MUST_CHECK int options_check(const struct cairn_options *o);

/* How tables of level are written. */
void options_table_write(const struct cairn_options *o, int level,
			 struct table_write_options *out);
/* What base_level_size comes to. */
uint64_t options_base_level_size(const struct cairn_options *o);
void options_picker(const struct cairn_options *o, struct picker_options *out);

#endif
