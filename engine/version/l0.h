/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Level 0 as sublevels. Its files overlap; stacked by age, each one step above
 * the highest older file that it overlaps, they fall into sublevels of disjoint
 * files. How many there are is what a read of level 0 costs.
 */
#ifndef CAIRN_VERSION_L0_H
#define CAIRN_VERSION_L0_H

#include "engine/version/version.h"

/* Order of level 0, for qsort of file pointers: the newest first. */
int l0_newest_first(const void *a, const void *b);

/*
 * Arrange level (in the order above) in sublevels, [0] the oldest. The result
 * borrows the files; free it with l0_sublevels_free().
 */
MUST_CHECK int l0_sublevels_new(const struct version_files *level,
				struct version_files **out, size_t *n);
void l0_sublevels_free(struct version_files *sublevel, size_t n);

#endif
