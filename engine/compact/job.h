/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing it: memtables or tables in, tables and a version edit out. Jobs know
 * nothing of the database; what they need is handed to them, and what they
 * made is in the edit, for the caller to log and install. Tables are synced
 * and checked when a job returns CAIRN_OK, the directory is synced too. On
 * failure the outputs are removed.
 */
#ifndef CAIRN_COMPACT_JOB_H
#define CAIRN_COMPACT_JOB_H

#include "engine/compact/picker.h"
#include "engine/mem/memtable.h"
#include "engine/table/table_cache.h"
#include "engine/table/table_writer.h"

/* What every job is given. Borrowed for the job's duration. */
struct job_context {
	struct cairn_env *env;
	const char *dir;
	struct table_cache *tables;
	/* How tables of each level are written. */
	const struct table_write_options *level_options; /* CAIRN_LEVELS */
	/* Reserves a number and keeps the file from being taken for an orphan
	 * until the job's edit is installed or given up. */
	uint64_t (*new_file_number)(void *ctx);
	void *ctx;
	/* Polled every few hundred entries; true ends the job with
	 * CAIRN_EABORTED. May be NULL. */
	bool (*cancelled)(void *ctx);
	/* As in struct merge_loop_options. */
	const uint64_t *snapshots;
	size_t n_snapshots;
	uint64_t newest_user_snapshot;
	const struct cairn_merge_operator *merge; /* NULL: none */
	/* Of the job, for progress; updated as it goes. May be NULL. */
	_Atomic uint64_t *bytes_done;
};

struct job_result {
	struct version_edit edit; /* zeroed before the call */
	uint64_t bytes_in;
	uint64_t bytes_out;
	size_t files_out;
	uint64_t entries_in;
	uint64_t entries_dropped;
	uint64_t entries_pinned;
	uint64_t keys_unmerged; /* whose operands could not be applied */
	/* After CAIRN_ECORRUPT: the input table that is damaged; 0: not known,
	 * as when it is the order of tables that is wrong. */
	uint64_t damaged;
};
void job_result_fini(struct job_result *r);

/*
 * Write memtables (oldest first) to one level 0 table; none when everything in
 * them was shadowed. The edit adds the table; the log number is the caller's.
 */
MUST_CHECK int flush_run(const struct job_context *c,
			 struct memtable *const *mems, size_t n,
			 struct job_result *out);

struct compaction_options {
	const struct version *version;                /* held by the caller */
	const struct cairn_compaction_filter *filter; /* NULL: none */
};

/*
 * Run a plan that is not a trivial move. Outputs end between user keys, at the
 * target size or where the overlap with grandparents grows too large. The edit
 * deletes the inputs and adds the outputs. The number of entries read must be
 * what the inputs' properties say: CAIRN_ECORRUPT otherwise.
 */
MUST_CHECK int compaction_run(const struct job_context *c,
			      const struct compaction_plan *plan,
			      const struct compaction_options *opts,
			      struct job_result *out);

/* The edit of a COMPACT_DROP. */
MUST_CHECK int compaction_drop_edit(const struct compaction_plan *plan,
				    struct version_edit *edit);

/* The edit of a trivial move. */
MUST_CHECK int compaction_move_edit(const struct compaction_plan *plan,
				    struct version_edit *edit);

#endif
