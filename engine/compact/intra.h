/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compactions within level 0. A merge into the base level rewrites what is
 * there; when level 0 is small beside that, its files had better be merged into
 * fewer ones until together they are worth it.
 *
 * RocksDB wants the seqno intervals of level 0 to be a staircase: ordered by
 * their largest, their smallest must be in the same order. So the inputs are
 * neighbours in that order, the output is one file, and neither the files
 * beside them nor a memtable may hold seqnos within the inputs' interval.
 */
#ifndef CAIRN_COMPACT_INTRA_H
#define CAIRN_COMPACT_INTRA_H

#include "engine/compact/plan.h"

/* The run of files that saves most sublevels for its bytes; CAIRN_NOT_FOUND
 * when there is none, or a running job is in the way. */
MUST_CHECK int intra_pick(const struct picker *p, struct compaction_plan *out);

#endif
