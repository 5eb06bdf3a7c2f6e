/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of a transaction that is being gathered. A transaction takes a key
 * once only: who meets one again commits what there is first.
 */
#ifndef CAIRN_FS_CMD_KEYSET_H
#define CAIRN_FS_CMD_KEYSET_H

#include "engine/base/slice.h"

/* A zeroed struct is an empty set. */
struct keyset {
	uint64_t *hashes; /* open addressing; 0: free */
	size_t cap;       /* a power of two */
	size_t n;
};

void keyset_fini(struct keyset *s);
void keyset_clear(struct keyset *s);

/*
 * Add key. *seen tells whether it may have been there: never false when it was;
 * true for one key in 10^13 that was not. CAIRN_ENOMEM.
 */
MUST_CHECK int keyset_add(struct keyset *s, struct cairn_slice key, bool *seen);

#endif
