/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The attributes of a row as bytes: {tag byte, varint32 length, bytes}*, tags
 * ascending, nothing for what has its default. Readers skip tags they do not
 * know, so new attributes need no new format.
 *
 *   1 type   1 byte, enum mvcc_type        4 gid    varint32
 *   2 mode   varint32                      5 mtime  8 bytes little-endian, ns
 *   3 uid    varint32                      6 xattrs as in struct mvcc_attrs
 */
#ifndef CAIRN_MVCC_ATTR_H
#define CAIRN_MVCC_ATTR_H

#include "engine/base/buf.h"
#include "mvcc/mvcc.h"

/* All xattrs of a key together. */
#define ATTR_XATTRS_MAX (1u << 20)

/*
 * Append to out; nothing when attrs is NULL or says nothing. CAIRN_EINVAL for
 * values that cannot be: an unknown type, mode over 07777, xattrs malformed,
 * out of order or too long.
 */
MUST_CHECK int attr_encode(struct buf *out, const struct mvcc_attrs *attrs);

/*
 * xattrs borrows from block. CAIRN_ECORRUPT, out untouched, for bytes that
 * attr_encode(), now or later, does not write.
 */
MUST_CHECK int attr_decode(struct cairn_slice block, struct mvcc_attrs *out);

#endif
