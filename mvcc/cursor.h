/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An iterator over the rows of a range that knows which of them a reader at a
 * revision sees. Keys go in and come out as the kind of store encodes them
 * (store_kind.encode); both encodings sort as the keys do.
 *
 * Of a revision store that is for each key the newest row with main <= rev,
 * unless that is a tombstone. The cursor moves over what is in the way by a few
 * steps, then by a seek: at most twice the cost of the better of the two,
 * without statistics. Of a plain store (plain_cursor.c) it is every entry of
 * the engine, and the directories that are in memory only.
 */
#ifndef CAIRN_MVCC_CURSOR_H
#define CAIRN_MVCC_CURSOR_H

#include "mvcc/table_revs.h"

struct cursor {
	struct mvcc *m; /* NULL: not initialised */
	struct cairn_iter *it;
	int64_t rev;
	bool moved;              /* a position was ever asked for */
	struct buf lower, upper; /* bounds of the iterator */
	struct buf prefix;       /* of the key last looked at */
	struct buf scratch;
	struct table_revs revs; /* what the iterator leaves out */
	struct plain_spot spot; /* of a plain store */
};

struct cursor_ops {
	int (*seek)(struct cursor *c, struct cairn_slice key);
	int (*raw)(const struct cursor *c, struct cairn_slice *key);
	int (*settle)(struct cursor *c, struct cairn_slice within);
	int (*skip)(struct cursor *c);
	int (*back)(struct cursor *c);
	int (*plain_key)(const struct cursor *c, struct buf *out);
	int (*row)(const struct cursor *c, struct cairn_slice key,
		   struct mvcc_row *out);
	int (*copy_row)(const struct cursor *c, struct cairn_slice key,
			struct found *out);
};

/*
 * Over encoded keys in [lower, upper), upper.data NULL for no end; the bytes
 * are copied. c is zeroed before. The iterator is made here. rev must be
 * pinned, and stay so.
 */
MUST_CHECK int cursor_init(struct cursor *c, struct mvcc *m, int64_t rev,
			   struct cairn_slice lower, struct cairn_slice upper);
/* Safe on a zeroed struct, and twice. */
void cursor_fini(struct cursor *c);

/* Stand on the first entry, visible or not, >= the encoded key. */
static inline MUST_CHECK int cursor_seek(struct cursor *c,
					 struct cairn_slice key)
{
	return c->m->kind->cursor->seek(c, key);
}

/* CAIRN_OK and the encoded key stood on, CAIRN_NOT_FOUND at the end. */
static inline MUST_CHECK int cursor_raw(const struct cursor *c,
					struct cairn_slice *key)
{
	return c->m->kind->cursor->raw(c, key);
}

/*
 * From where it stands, go to the first visible row: CAIRN_OK; CAIRN_NOT_FOUND
 * at the end, or, when within is not empty, at the first key that does not
 * start with within.
 */
static inline MUST_CHECK int cursor_settle(struct cursor *c,
					   struct cairn_slice within)
{
	return c->m->kind->cursor->settle(c, within);
}

/* After cursor_settle(): the first entry of the next key, visible or not. */
static inline MUST_CHECK int cursor_skip(struct cursor *c)
{
	return c->m->kind->cursor->skip(c);
}

/*
 * Go to the visible row before the one stood on, at first to the last one:
 * CAIRN_OK, or CAIRN_NOT_FOUND. Not to be mixed with the others.
 */
static inline MUST_CHECK int cursor_back(struct cursor *c)
{
	return c->m->kind->cursor->back(c);
}

/* Of the visible row it stands on: the key, into out. */
static inline MUST_CHECK int cursor_key(const struct cursor *c, struct buf *out)
{
	return c->m->kind->cursor->plain_key(c, out);
}

/*
 * The row itself. key is what cursor_key() gave, and what the row borrows its
 * key from; the rest lives until the cursor moves.
 */
static inline MUST_CHECK int
cursor_row(const struct cursor *c, struct cairn_slice key, struct mvcc_row *out)
{
	return c->m->kind->cursor->row(c, key, out);
}

/*
 * The same as bytes of its own; out is zeroed before. What a plain store says
 * about a key comes without the value.
 */
static inline MUST_CHECK int cursor_copy_row(const struct cursor *c,
					     struct cairn_slice key,
					     struct found *out)
{
	return c->m->kind->cursor->copy_row(c, key, out);
}

extern const struct cursor_ops cursor_revision;
extern const struct cursor_ops cursor_plain;

#endif
