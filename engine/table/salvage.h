/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Getting the entries out of a damaged table: those of every data block that is
 * whole, also of blocks that no index names any more.
 *
 * Without a footer, the metaindex is looked for where it usually is, right in
 * front of it. Without an index, or a part of it, the data blocks lie one
 * behind the other, and where one ends is found by trying: it is where the
 * checksum fits.
 */
#ifndef CAIRN_TABLE_SALVAGE_H
#define CAIRN_TABLE_SALVAGE_H

#include "engine/kv/iter.h"
#include "engine/table/walk.h"

/* Data blocks in the order of their keys, all of them whole. */
struct salvage_blocks {
	struct block_handle *handle;
	size_t n;
	size_t cap;
	enum table_checksum checksum; /* of the table, known or found out */
	/* Bytes of the file that should hold data and could not be used. */
	uint64_t bytes_lost;
};
void salvage_blocks_fini(struct salvage_blocks *b);

/*
 * Replace what could not be read when w was opened (footer, metaindex,
 * properties, index) by what can be found. To be called behind
 * table_walk_run(), which tells what is wrong, and before
 * table_salvage_blocks(). CAIRN_ENOMEM only.
 */
MUST_CHECK int table_salvage_outline(struct table_walk *w);

/* The blocks of a table that is whole, as its index has them. CAIRN_ENOMEM. */
MUST_CHECK int table_salvage_indexed(struct table_walk *w,
				     struct salvage_blocks *out);

/* Find the blocks. CAIRN_ENOMEM; CAIRN_ENOTSUP when the table needs a codec
 * that is not there. */
MUST_CHECK int table_salvage_blocks(struct table_walk *w,
				    struct salvage_blocks *out);

/*
 * An iterator over their entries, for first and next only. seqno replaces the 0
 * of an ingested table's entries when table_walk_seqno_unknown(). Entries out
 * of order and of unknown kinds are left out. w must stay open; blocks is
 * borrowed.
 */
MUST_CHECK int table_salvage_iter(struct table_walk *w,
				  const struct salvage_blocks *blocks,
				  uint64_t seqno, struct iter **out);

/* Range tombstones, as far as they can be read. Same seqno as above. */
MUST_CHECK int table_salvage_range_dels(struct table_walk *w, uint64_t seqno,
					int (*fn)(void *ctx,
						  const struct ikey *start,
						  struct cairn_slice end),
					void *ctx);

#endif
