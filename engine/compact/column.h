/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Picking in level 0: columns of files to go down to the base level. Private to
 * picker.c.
 *
 * A column may leave newer files behind, never an older one that overlaps it.
 * Columns that do not overlap can go at the same time.
 */
#ifndef CAIRN_COMPACT_COLUMN_H
#define CAIRN_COMPACT_COLUMN_H

#include "engine/compact/plan.h"

/* The column where level 0 is deepest. CAIRN_NOT_FOUND when there is none, or
 * jobs are at all of them. On failure *out is to be finished by the caller. */
MUST_CHECK int column_pick(const struct picker *p, struct compaction_plan *out);

/* The column of f, a file of level 0. As above. */
MUST_CHECK int column_pick_from(const struct picker *p,
				const struct file_meta *f,
				struct compaction_plan *out);

/* All files that meet [from, to] (data NULL: unbounded), or one another. Does
 * not look at running jobs. Otherwise as above. */
MUST_CHECK int column_pick_manual(const struct picker *p,
				  struct cairn_slice from,
				  struct cairn_slice to,
				  struct compaction_plan *out);

#endif
