/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A version of a key that several readers share, kept readable while anyone
 * has it.
 */
#ifndef CAIRN_FS_ROWREF_H
#define CAIRN_FS_ROWREF_H

#include <stdatomic.h>

#include "engine/base/slice.h"
#include "mvcc/mvcc.h"

struct rowref {
	_Atomic unsigned refs;
	struct mvcc *m;
	struct mvcc_pinned_row r;
	int64_t pinned; /* revision to unpin at the end; 0: none */
};

/*
 * key as of rev (<= 0: now), pinning the revision when rev > 0. As mvcc_get().
 */
MUST_CHECK int rowref_get(struct mvcc *m, struct cairn_slice key, int64_t rev,
			  struct rowref **out);

/*
 * The row is about to be deleted or replaced: keep what it names by pinning the
 * current revision. One caller at a time.
 */
MUST_CHECK int rowref_keep(struct rowref *r);

struct rowref *rowref_ref(struct rowref *r);
/* NULL is allowed. */
void rowref_unref(struct rowref *r);

#endif
