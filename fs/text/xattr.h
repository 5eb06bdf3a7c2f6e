/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * User attributes of a file as mvcc.h keeps them: {varint32 length, name,
 * varint32 length, value}* in ascending order of names.
 */
#ifndef CAIRN_FS_XATTR_H
#define CAIRN_FS_XATTR_H

#include "engine/base/buf.h"

/* All attributes of a file, encoded. */
#define XATTRS_LEN_MAX (64u * 1024)

/*
 * CAIRN_OK and the value, which borrows from all; CAIRN_NOT_FOUND;
 * CAIRN_ECORRUPT when all is malformed.
 */
MUST_CHECK int xattr_get(struct cairn_slice all, struct cairn_slice name,
			 struct cairn_slice *value);

/* Take the next one off the front of all. CAIRN_NOT_FOUND at the end. */
MUST_CHECK int xattr_next(struct cairn_slice *all, struct cairn_slice *name,
			  struct cairn_slice *value);

/*
 * Set (replacing) or, with value NULL, remove one. CAIRN_NOT_FOUND when the one
 * to remove is not there, CAIRN_ENOSPC over XATTRS_LEN_MAX. all is unchanged
 * on failure.
 */
MUST_CHECK int xattr_set(struct buf *all, struct cairn_slice name,
			 const struct cairn_slice *value);

#endif
