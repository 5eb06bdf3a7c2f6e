/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What to compact next, and why: pure functions of a version, the jobs that
 * are running and the options. No locks, no I/O, no state.
 *
 * Level targets follow Pebble: the size of the last level sets the target of
 * each level above it, a multiplier apart, up to the first one whose target is
 * at most base_level_size (the base level). Levels between 0 and the base
 * level stay empty.
 *
 * Level 0 goes to the base level in columns (column.c), but while it is small
 * beside the base level its files are merged among themselves (intra.c).
 *
 * Beside what levels ask for by their size there is what single files ask for
 * (special.c): to be dropped, because range tombstones above delete all of
 * them; to be rewritten without their tombstones at the bottom, or without what
 * the compaction filter has come to drop; to be moved on because they are
 * mostly tombstones or because reads pass through them often. Such files are
 * found elsewhere and handed over, so that a pick does not have to look at
 * every file of a tree of terabytes.
 */
#ifndef CAIRN_COMPACT_PICKER_H
#define CAIRN_COMPACT_PICKER_H

#include "engine/version/version.h"

struct picker_options {
	uint64_t base_level_size;
	double level_multiplier;
	uint64_t target_file_size; /* at the base level; doubles per level */
	uint64_t target_file_size_max;
	unsigned l0_trigger; /* sublevels */
};

enum compaction_kind {
	COMPACT_SCORE,   /* a level is over its target */
	COMPACT_DROP,    /* delete-only: the inputs, of one level, just go */
	COMPACT_ELIDE,   /* elision-only: rewritten without their tombstones */
	COMPACT_GARBAGE, /* rewritten without what the filter drops now */
	COMPACT_DENSE,   /* one file of many tombstones moves on */
	COMPACT_READS,   /* one file that reads often pass through moves on */
	COMPACT_MANUAL,  /* somebody asked */
	/* No job: where damage was met. To be left alone like the inputs of
	 * one, except that its files may be dropped, which reads nothing. */
	COMPACT_PROBLEM,
	N_COMPACTION_KINDS
};

/* A chosen or running compaction. Files carry references. */
struct compaction_plan {
	enum compaction_kind kind;
	int from_level;
	int to_level;
	struct file_meta **inputs[2]; /* [0] of from_level, [1] of to_level */
	size_t n_inputs[2];
	uint64_t bytes[2];
	/* Files of to_level + 1 that overlap, sorted: outputs are cut so that
	 * each overlaps few of them. */
	struct file_meta **grandparents;
	size_t n_grandparents;
	uint64_t target_file_size;      /* of outputs; 0: a single one */
	uint64_t grandparent_bytes_max; /* overlap that cuts an output */
	bool trivial_move; /* the single input can change its level as it is */
	double score;
	char reason[64];
	/* Smallest and largest user keys over all inputs; borrowed from them.
	 */
	struct cairn_slice smallest;
	struct cairn_slice largest;
};
void compaction_plan_fini(struct compaction_plan *p);

/* What goes on around the version; all borrowed. */
struct picker_running {
	/* The jobs that are running, and what must be left alone like them. */
	const struct compaction_plan *const *plans;
	size_t n;
	/* Seqnos that must stay readable, ascending, the visible one last;
	 * none: not known, and nothing that depends on them is picked. */
	const uint64_t *snapshots;
	size_t n_snapshots;
	/* The newest one that somebody holds, which may be the visible one; 0:
	 * nobody does. */
	uint64_t newest_held;
	/* As far as the compaction filter drops what tables say becomes
	 * garbage; 0: nothing is known to. */
	uint64_t garbage_position;
	/* Files for which file_meta_is_notable() or file_meta_is_garbage(),
	 * live or not. */
	struct file_meta *const *marked;
	size_t n_marked;
	/* The smallest seqno in a memtable; 0: there is none. A table of level
	 * 0 may be newer than that when it was ingested. */
	uint64_t unflushed_seqno;
	/* Counts the files that are looked at, for tests; NULL: nobody asks. */
	uint64_t *steps;
};

/* One file was looked at. */
static inline void picker_step(const struct picker_running *r)
{
	if (r->steps)
		++*r->steps;
}

struct level_targets {
	int base_level;
	uint64_t target[CAIRN_LEVELS]; /* 0: no target */
	double score[CAIRN_LEVELS];    /* 0: not eligible */
	uint64_t debt_bytes;           /* engine.md: compaction debt */
};

/* Targets and scores of v while the given jobs run. */
void picker_targets(const struct version *v, const struct picker_options *o,
		    const struct picker_running *running,
		    struct level_targets *out);

/* The bytes that merging f, a file of v, into the level that it goes to would
 * rewrite besides f's own. */
uint64_t picker_bytes_below(const struct version *v, const struct file_meta *f);

/*
 * The most urgent compaction that conflicts with no running one: no shared
 * file, disjoint output ranges per output level, and no input range that
 * overlaps a running job's output into that level. What costs next to nothing
 * goes first (COMPACT_DROP), then what levels need, then the rest.
 * CAIRN_NOT_FOUND when there is nothing to do or all that is eligible
 * conflicts.
 */
MUST_CHECK int picker_pick(const struct version *v,
			   const struct picker_options *o,
			   const struct picker_running *running,
			   struct compaction_plan *out);

/*
 * A manual step: compact the files of level that overlap [from, to] (data
 * NULL: unbounded) into the next level that should take them; not all of them
 * when that is too much for one job, but the first ones. Of level 0 always all.
 * With bottom set and level the last non-empty one, rewrites them in place.
 * CAIRN_NOT_FOUND: nothing there. CAIRN_EBUSY: conflicts with a running job;
 * try again when one ends.
 */
MUST_CHECK int
picker_pick_manual(const struct version *v, const struct picker_options *o,
		   const struct picker_running *running, int level, bool bottom,
		   struct cairn_slice from, struct cairn_slice to,
		   struct compaction_plan *out);

/*
 * Snapshots below this seqno are in the way of what marked files ask for: there
 * is something to pick when one of them goes. 0: none is.
 */
uint64_t picker_blocked_below(const struct picker_running *running);

/* "score", "delete-only" ... Never NULL. */
const char *compaction_kind_name(enum compaction_kind kind);

/* Whether a and b may not run at the same time. */
bool compaction_plans_conflict(const struct compaction_plan *a,
			       const struct compaction_plan *b);

#endif
