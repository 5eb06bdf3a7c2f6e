/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the uncompressed contents of one block.
 *
 *   block = entry* | restart[n] fixed32 | footer fixed32
 *   entry = shared varint32 | unshared varint32 | value_len varint32 |
 *           key suffix | value
 *
 * shared is how many bytes an entry's key has in common with the key before
 * it, 0 at the n restart points. Bit 31 of the footer says that a hash index
 * lies between restarts and footer; it is stepped over.
 *
 * There are two ways to read: a cursor that walks any block from the front,
 * and, for data blocks, an iterator that goes both ways and seeks. What the
 * latter needs beside the bytes is worked out once when the block is loaded:
 * where each entry begins, and the 4 bytes of each user key that follow the
 * prefix that all of them share. A seek then is a binary search over small
 * integers without decoding, and the key at any place is put together by
 * walking back over the few entries that it shares bytes with.
 */
#ifndef CAIRN_TABLE_BLOCK_H
#define CAIRN_TABLE_BLOCK_H

#include "engine/base/buf.h"
#include "engine/kv/ikey.h"

/* The parts of a block; entries is what lies before the restart array. */
struct block_layout {
	struct cairn_slice entries;
	const uint8_t *restarts; /* n fixed32, ascending, inside entries */
	uint32_t n_restarts;
};

/* Find the parts and check the restart array. CAIRN_ECORRUPT. */
MUST_CHECK int block_layout_decode(struct cairn_slice contents,
				   struct block_layout *out);

/* Walks a block from its first entry. */
struct block_cursor {
	const uint8_t *p; /* the next entry */
	const uint8_t *limit;
	bool bare; /* entries have no value_len, see below */
	struct buf key;
	struct cairn_slice value; /* borrows from the block */
};

/*
 * bare: delta-coded index values, which have no length of their own. value then
 * reaches to the end of the entries, and the caller, having decoded what it
 * starts with, moves p behind that. contents must outlive the cursor.
 */
MUST_CHECK int block_cursor_init(struct block_cursor *c,
				 struct cairn_slice contents, bool bare);
void block_cursor_fini(struct block_cursor *c); /* safe on a zeroed struct */

/* CAIRN_OK, key and value; CAIRN_NOT_FOUND at the end; CAIRN_ECORRUPT. Whether
 * the entry shared bytes with the one before it goes to *shared unless NULL. */
MUST_CHECK int block_cursor_next(struct block_cursor *c, bool *shared);

/*
 * A data block. The contents are borrowed; block_index() adds what seeking and
 * going backward need. Caches hold many of these: with what is before it in
 * them it makes a cache line.
 */
struct block {
	const uint8_t *data; /* the contents */
	uint32_t len;
	uint32_t limit; /* end of the entries, where the restarts begin */
	uint32_t n_restarts;

	/* After block_survey(). */
	uint32_t n;          /* entries */
	uint32_t common;     /* where bytes are that all user keys begin with */
	uint32_t common_len; /* 0 when there are no entries */
	uint32_t key_len_max; /* of the internal keys */
	bool surveyed;
	bool wide; /* offsets are 32 bits wide, else 16 */

	/* After block_index() or block_index_at(). */
	bool indexed;
	bool owned; /* the arrays are to be freed */
	/* n times 4 bytes of the key after the common ones, big-endian; then n
	 * offsets of the entries. */
	void *arrays;
};

/* CAIRN_ECORRUPT when the restart array is not sound. */
MUST_CHECK int block_init(struct block *b, struct cairn_slice contents);

/* Check every entry and find what all keys share. CAIRN_ECORRUPT. */
MUST_CHECK int block_survey(struct block *b);

/* How long the arrays of a surveyed block are. */
size_t block_index_bytes(const struct block *b);

/*
 * Survey if need be and build the arrays in memory of their own.
 * CAIRN_ECORRUPT, CAIRN_ENOMEM. Does nothing when it has been done.
 */
MUST_CHECK int block_index(struct block *b);

/*
 * Build the arrays of a surveyed block in room, which is the caller's, aligned
 * for uint32_t, and stays. The contents have been copied to p and are read
 * there from now on: side by side a seek finds all of it in fewer pages.
 */
MUST_CHECK int block_index_at(struct block *b, void *room, const uint8_t *p);

void block_fini(struct block *b); /* frees owned arrays, not the contents */

/*
 * Stands on an entry of a block, or nowhere. Positioning functions return
 * CAIRN_OK, CAIRN_NOT_FOUND when there is no such entry, CAIRN_ECORRUPT or
 * CAIRN_ENOMEM; on anything but CAIRN_OK it stands nowhere. key and value are
 * good until the next positioning; value points into the block. All but first
 * and next need an indexed block.
 */
struct block_iter {
	const struct block *block;
	const uint8_t *p; /* the entry after this one */
	uint32_t pos;     /* ordinal of this entry */
	/*
	 * Or'ed into the trailers: the sequence number, shifted, that all
	 * entries of an ingested table have in place of the 0 that is stored.
	 */
	uint64_t seqno_bits;
	struct ikey key;
	struct cairn_slice value;

	uint8_t *buf; /* the internal key */
	size_t key_len;
	size_t buf_cap;
	bool buf_owned;
};

/* buf, of cap bytes, holds keys as long as they fit; borrowed. */
void block_iter_init(struct block_iter *it, uint64_t seqno_bits, uint8_t *buf,
		     size_t cap);
void block_iter_fini(struct block_iter *it);

/* Read b, borrowed, from now on; stands nowhere. */
void block_iter_set(struct block_iter *it, const struct block *b);

MUST_CHECK int block_iter_first(struct block_iter *it);
MUST_CHECK int block_iter_last(struct block_iter *it);
MUST_CHECK int block_iter_seek_ge(struct block_iter *it,
				  const struct ikey *target);
MUST_CHECK int block_iter_seek_lt(struct block_iter *it,
				  const struct ikey *target);
/* Only from an entry. */
MUST_CHECK int block_iter_next(struct block_iter *it);
MUST_CHECK int block_iter_prev(struct block_iter *it);

#endif
