/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One sorted run of disjoint files (a level, or a sublevel of level 0) as an
 * iterator that opens a file only when it gets there.
 */
#ifndef CAIRN_VERSION_LEVEL_ITER_H
#define CAIRN_VERSION_LEVEL_ITER_H

#include "engine/table/table_cache.h"
#include "engine/version/version.h"

struct level_iter_options {
	struct table_cache *tables;
	enum table_scan scan;
	/* Hints: user keys outside [lower, upper) are not wanted, so files
	 * there need not be opened. data NULL: no bound. Borrowed. */
	struct cairn_slice lower;
	struct cairn_slice upper;
};

/* files is borrowed: the version must be held while the iterator lives. */
MUST_CHECK int level_iter_new(const struct version_files *files,
			      const struct level_iter_options *opts,
			      struct iter **out);

#endif
