/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An iterator over the rows of a range that knows which of them a reader at a
 * revision sees: for each key the newest with main <= rev, unless that is a
 * tombstone. It moves over what is in the way by a few steps, then by a seek:
 * at most twice the cost of the better of the two, without statistics.
 */
#ifndef CAIRN_MVCC_CURSOR_H
#define CAIRN_MVCC_CURSOR_H

#include "mvcc/store.h"

struct cursor {
	struct cairn_iter *it;
	int64_t rev;
	struct buf lower, upper; /* bounds of the iterator */
	struct buf prefix;       /* of the key last looked at */
	struct buf scratch;
};

/*
 * Over encoded keys in [lower, upper); the bytes are copied. c is zeroed
 * before. The iterator is made here, so pin rev, or ask store_check_rev()
 * afterwards.
 */
MUST_CHECK int cursor_init(struct cursor *c, struct mvcc *m, int64_t rev,
			   struct cairn_slice lower, struct cairn_slice upper);
/* Safe on a zeroed struct, and twice. */
void cursor_fini(struct cursor *c);

/* Stand on the first entry, visible or not, >= the encoded key. */
MUST_CHECK int cursor_seek(struct cursor *c, struct cairn_slice key);

/* CAIRN_OK and the encoded key stood on, CAIRN_NOT_FOUND at the end. */
MUST_CHECK int cursor_raw(const struct cursor *c, struct cairn_slice *key);

/*
 * From where it stands, go to the first visible row: CAIRN_OK, and its key in
 * *k; CAIRN_NOT_FOUND at the end, or, when within is not empty, at the first
 * key that does not start with within.
 */
MUST_CHECK int cursor_settle(struct cursor *c, struct cairn_slice within,
			     struct enc_row *k);

/* After cursor_settle(): the first entry of the next key, visible or not. */
MUST_CHECK int cursor_skip(struct cursor *c);

#endif
