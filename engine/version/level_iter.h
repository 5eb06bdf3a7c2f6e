/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One sorted run of disjoint files (a level, or a sublevel of level 0) as an
 * iterator that opens a file only when it gets there.
 *
 * On request it shows the range tombstones of the file that it is in as its
 * scope, cut to the file's bounds. They cover entries of other sources up to
 * the end of the file (going forward) or back to its beginning, so before it
 * leaves such a file it stops there once more, at a boundary: next or prev then
 * goes on to the neighbour.
 */
#ifndef CAIRN_VERSION_LEVEL_ITER_H
#define CAIRN_VERSION_LEVEL_ITER_H

#include "engine/table/table_cache.h"
#include "engine/version/version.h"

/* User keys outside [lower, upper) are not wanted; data NULL: no bound. */
struct level_bounds {
	struct cairn_slice lower;
	struct cairn_slice upper;
};

struct level_iter_options {
	struct table_cache *tables;
	enum table_scan scan;
	/*
	 * A hint: files outside need not be opened. NULL: none. Borrowed, and
	 * looked at when the iterator moves: after a change an absolute
	 * positioning must come first, or, where the iterator is valid,
	 * seek_forward.
	 */
	const struct level_bounds *bounds;
	bool range_dels; /* show scopes, and stop at boundaries */
	/* Of files that it skips only the scopes are shown. NULL: none.
	 * Borrowed. */
	const struct cairn_table_filter *filter;
};

/*
 * The place in the order of internal keys where the tombstones of files->files
 * [i] begin to count. That is the file's smallest key with all versions that
 * are newer, unless the file before ends in the same user key: then those are
 * there. (The bounds of ingested files may have seqno 0 and thus lie behind the
 * keys that the file's tombstones cover.)
 */
struct ikey level_lower_bound(const struct version_files *files, size_t i);

/* The file that a level_iter is in, or that it failed to open. It must have
 * been positioned. */
const struct file_meta *level_iter_file(const struct iter *it);

/* files is borrowed: the version must be held while the iterator lives. */
MUST_CHECK int level_iter_new(const struct version_files *files,
			      const struct level_iter_options *opts,
			      struct iter **out);

#endif
