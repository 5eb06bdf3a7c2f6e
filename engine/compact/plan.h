/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the picker share: key ranges, runs of files, the rules of
 * what may run beside what, and the last steps of every plan. Private to the
 * parts of the picker.
 */
#ifndef CAIRN_COMPACT_PLAN_H
#define CAIRN_COMPACT_PLAN_H

#include "engine/compact/picker.h"

#define BOTTOM_LEVEL (CAIRN_LEVELS - 1)

/* Input that may be added for free, in target file sizes: RocksDB's value. */
#define EXPANSION_FILES 25

/*
 * User keys covered, both ends included. An end that only bounds a range
 * tombstone counts as covered: that is more than needed, never less.
 */
struct range {
	bool any; /* false: empty */
	struct cairn_slice smallest;
	struct cairn_slice largest;
};

void range_add_file(struct range *r, const struct file_meta *f);
void range_add_files(struct range *r, struct file_meta *const *files, size_t n);
bool range_meets(const struct range *a, const struct range *b);
bool range_meets_file(const struct range *r, const struct file_meta *f);

/* Files [begin, end) of a sorted level. */
struct run {
	size_t begin;
	size_t end;
};

/*
 * Widen to whole user keys. cairn never splits a user key over two files, but
 * others did: to move only the newer versions down would put them below older
 * ones.
 */
void run_widen(const struct version_files *files, struct run *r);

/* The files of a sorted level that meet the range, whole user keys. */
struct run run_overlapping(const struct version_files *files,
			   const struct range *r);
void range_add_run(struct range *r, const struct version_files *files,
		   const struct run *run);
uint64_t run_bytes(const struct version_files *files, const struct run *run);

/* What all steps of picking look at. */
struct picker {
	const struct version *v;
	const struct picker_options *o;
	const struct picker_running *running;
	struct level_targets targets;
};

/* All inputs of a plan, and those of its upper level. */
struct range plan_range(const struct compaction_plan *p);
struct range plan_from_range(const struct compaction_plan *p);

/* Whether a running job is in the plan's way. Levels, ranges and upper inputs
 * must be set. */
bool plan_conflicts(const struct compaction_plan *p,
		    const struct picker_running *running);

/* Whether f is an input of the plan, on either side. */
bool plan_has_file(const struct compaction_plan *p, const struct file_meta *f);

/*
 * Whether a job is about to change f, a file of level, or its surroundings: no
 * plan with f in it could run. The test costs two comparisons per job.
 */
bool is_busy(const struct file_meta *f, int level,
	     const struct picker_running *running);

/* Whether a job is reading f, a file of level 0. */
bool is_l0_input(const struct file_meta *f,
		 const struct picker_running *running);

/* Whether a level deeper than level has files in the range. */
bool anything_below(const struct picker *p, int level, const struct range *r);

/* The size of the tables that are written to level. */
uint64_t output_size(const struct picker *p, int level);

/* Copy a run into a plan's array, with references. */
MUST_CHECK int copy_run(const struct version_files *files,
			const struct run *run, struct file_meta ***out,
			size_t *n_out);

/*
 * The inputs at level and level + 1 for a run of files of level, and more files
 * of level where they cost nothing.
 */
MUST_CHECK int plan_level(const struct picker *p, int level, struct run from,
			  struct compaction_plan *plan);

/* A run of files of a level, rewritten where they are. */
MUST_CHECK int plan_in_place(const struct picker *p, int level,
			     const struct run *run,
			     struct compaction_plan *plan);

/* Fill in all that follows from levels and inputs. */
MUST_CHECK int plan_finish(const struct picker *p,
			   struct compaction_plan *plan);

#endif
