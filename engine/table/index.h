/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index of a table: for each data block a separator, which is at or after
 * its last key and before the first key of the next one, and its handle.
 *
 * On disk it is a block (block.h), in one of many dialects. In memory it is a
 * flat array, decoded once: of each separator the 8 bytes that follow what all
 * of them have in common are a number, and a search is a binary search over
 * these numbers. Separators are user keys when no two neighbouring blocks share
 * one, else internal keys; that is the same for a whole table.
 */
#ifndef CAIRN_TABLE_INDEX_H
#define CAIRN_TABLE_INDEX_H

#include <stdatomic.h>

#include "engine/kv/ikey.h"
#include "engine/table/block_builder.h"
#include "engine/table/format.h"
#include "engine/table/props.h"

struct block_handle_ref;

/* How to read an index block. */
struct index_format {
	bool user_keys; /* separators are user keys, not internal ones */
	bool delta;     /* values are delta-coded */
	bool first_key; /* values carry the first key of the block, too */
	uint64_t file_len;
};

struct index_entry {
	uint64_t offset; /* the handle */
	uint32_t size;
	uint32_t key_end; /* of the separator, less the prefix, in keys */
	/* Where the block was last seen in the cache. Only a hint. */
	_Atomic(struct block_handle_ref *) slot;
};

struct index {
	uint32_t n;
	bool user_keys;
	uint32_t common_len; /* bytes that all separators begin with */
	uint8_t *common;
	uint64_t *prefix;          /* n: the 8 bytes after them */
	struct index_entry *entry; /* n */
	uint8_t *keys;
	void *memory; /* one allocation for all of the above */
	size_t bytes; /* its size */
};

/*
 * Decode a block's contents, which are not needed afterwards. CAIRN_ECORRUPT
 * also when separators are out of order, CAIRN_ENOMEM.
 */
MUST_CHECK int index_decode(struct cairn_slice contents,
			    const struct index_format *f, struct index *out);
void index_fini(struct index *ix); /* safe on a zeroed struct */

static inline struct block_handle index_handle(const struct index *ix,
					       uint32_t i)
{
	return (struct block_handle){ ix->entry[i].offset, ix->entry[i].size };
}

/*
 * The first entry whose separator is >= *target; n when there is none. The
 * first table entry >= *target is in that block or at the start of the next.
 */
uint32_t index_seek(const struct index *ix, const struct ikey *target);

/*
 * As index_seek(), for a target that is known to be at or behind entry from: it
 * is found without a search when it is that entry or the next one.
 */
uint32_t index_seek_near(const struct index *ix, const struct ikey *target,
			 uint32_t from);

/* How separator i compares with *key: as integers do, < 0, 0, > 0. */
int index_compare(const struct index *ix, uint32_t i, const struct ikey *key);

/* ------------------------------------------------------------- writing */

/*
 * Collects separators until the table is complete, because only then it is
 * known whether user keys are enough.
 */
struct index_builder {
	struct buf entries;
	uint32_t n;
	bool straddle; /* a user key is on both sides of a boundary */
};

void index_builder_fini(struct index_builder *b); /* safe when zeroed */

/*
 * A block has been written at h; its last key is last, and *next, NULL at the
 * end of the table, begins the block after it.
 */
MUST_CHECK int index_builder_add(struct index_builder *b,
				 const struct ikey *last,
				 const struct ikey *next,
				 struct block_handle h);

/* Bytes that the block is going to have, about. */
size_t index_builder_size(const struct index_builder *b);

/*
 * Encode as the contents of an index block with delta-coded values, and say
 * whether its keys are user keys. *contents borrows from out.
 */
MUST_CHECK int index_builder_finish(struct index_builder *b,
				    struct block_builder *out,
				    struct cairn_slice *contents,
				    bool *user_keys);

/*
 * Append to out the shortest user key that is >= a and < b, by RocksDB's
 * rules; a < b.
 */
MUST_CHECK int index_separator(struct cairn_slice a, struct cairn_slice b,
			       struct buf *out);

#endif
