/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What single files ask for, whatever the sizes of the levels are. All of it is
 * chosen among the marked files of struct picker_running. Private to picker.c.
 * CAIRN_NOT_FOUND when there is nothing, or jobs are in the way.
 */
#ifndef CAIRN_COMPACT_SPECIAL_H
#define CAIRN_COMPACT_SPECIAL_H

#include "engine/compact/plan.h"

/*
 * Files of one level of which no reader sees anything, because range
 * tombstones above delete all that is in them, their own tombstones included.
 * The tombstones stay: they also hide what is in levels below.
 */
MUST_CHECK int special_pick_drop(const struct picker *p,
				 struct compaction_plan *out);

/*
 * A file with many tombstones and nothing below that they could hide, all of
 * them older than every snapshot: rewritten in its place it has none left.
 */
MUST_CHECK int special_pick_elide(const struct picker *p,
				  struct compaction_plan *out);

/*
 * A file of which much is garbage by now, for the compaction filter: rewritten
 * where it is, in level 0 as well, so that what it costs is known. Its
 * neighbours go along when they ask for the same, lest files get ever smaller.
 */
MUST_CHECK int special_pick_garbage(const struct picker *p,
				    struct compaction_plan *out);

/*
 * A file with blocks of hardly anything but tombstones, which scans have to
 * pass one by one: towards the level where they can go. Not in level 0, which
 * is moved on soon enough.
 */
MUST_CHECK int special_pick_dense(const struct picker *p,
				  struct compaction_plan *out);

/*
 * A file that sampled reads have passed through so often, on their way to the
 * same keys further down, that merging it into the next level pays.
 */
MUST_CHECK int special_pick_reads(const struct picker *p,
				  struct compaction_plan *out);

#endif
