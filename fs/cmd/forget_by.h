/* SPDX-License-Identifier: BSD-3-Clause */
/* Forgetting by what people say: a revision, a number of them, an age. */
#ifndef CAIRN_FS_FORGET_BY_H
#define CAIRN_FS_FORGET_BY_H

#include "engine/base/slice.h"
#include "mvcc/mvcc.h"

/* One of them, the others 0. */
struct forget_by {
	int64_t before;    /* revisions below this */
	int64_t keep;      /* all but the last so many */
	uint64_t older_us; /* what was not current any more so long ago */
};

/*
 * mvcc_forget(); CAIRN_NOT_FOUND when there is nothing to forget by number or
 * age.
 */
MUST_CHECK int forget_by(struct mvcc *m, const struct forget_by *by);

#endif
