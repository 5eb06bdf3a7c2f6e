/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Revisions that somebody wants to keep, with or without a name: they stay
 * readable, whatever is forgotten, until they are let go or the mount ends.
 * Those without a name are listed in revs/ by number, the others as links.
 * Functions return 0 or an errno.
 */
#ifndef CAIRN_FS_PINS_H
#define CAIRN_FS_PINS_H

#include "engine/base/buf.h"
#include "mvcc/mvcc.h"

struct pins;

int pins_new(struct mvcc *m, struct pins **out);
/* Lets them all go. NULL is allowed. */
void pins_free(struct pins *p);

/*
 * "", "REV", "NAME" or "REV NAME", without REV the current revision. A name is
 * no number, nothing that revs/ has, and has no '/'. EINVAL, EEXIST when it is
 * pinned already, by this name or without one, ENOENT for a revision that is
 * not yet written, ESTALE for one that is forgotten.
 */
int pins_add(struct pins *p, struct cairn_slice text);
/* "REV" or "NAME". ENOENT when it is not pinned so. */
int pins_remove(struct pins *p, struct cairn_slice text);

/* Whether rev is pinned; what name stands for, 0: nothing. */
bool pins_has(struct pins *p, int64_t rev);
int64_t pins_find(struct pins *p, struct cairn_slice name);

/* Append what revs/ shows of them, each as varint32 length and bytes. */
int pins_list(struct pins *p, struct buf *out);

#endif
