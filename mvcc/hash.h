/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * etcd's HashKV: a checksum of a store's whole history, revision by revision,
 * as far back as it has not been compacted. Two stores, of either kind, that
 * have gone through the same changes have the same.
 *
 * It is the CRC-32C of "key" and, in order of (main, sub), of each change kept:
 * main and sub as 8 bytes big-endian with '_' between them, 't' for a
 * tombstone, and the row as etcd's protobuf message. Kept are all changes up to
 * the revision asked for, but of those at or below the compacted one only what
 * is still to be seen at the revision asked for, or, when nothing is, what was
 * to be seen at the compacted one. So it does not depend on how far the
 * removal of what was compacted has got.
 */
#ifndef CAIRN_MVCC_HASH_H
#define CAIRN_MVCC_HASH_H

#include "mvcc/request.h"

struct mvcc_hash {
	uint32_t hash;
	int64_t rev;         /* the revision hashed */
	int64_t compact_rev; /* -1: nothing was ever compacted */
};

/*
 * The hash at rev, 0 for now. Reads everything that is kept, without holding
 * up anybody, and takes 24 bytes of memory for each key that has not changed
 * since the compacted revision. *refusal (may be NULL): MVCC_REFUSAL_COMPACTED
 * (CAIRN_EFORGOTTEN) for 0 < rev <= the compacted revision,
 * MVCC_REFUSAL_FUTURE (CAIRN_EFUTURE) when rev is not yet written.
 */
int mvcc_hash(struct mvcc *m, int64_t rev, struct mvcc_hash *out,
	      enum mvcc_refusal *refusal);

#endif
