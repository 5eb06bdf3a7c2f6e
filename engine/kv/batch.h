/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A write batch as the bytes of its WAL record (RocksDB's write_batch.cc):
 *
 *   fixed64 sequence number of the first operation | fixed32 count |
 *   { tag, body }*
 *
 * The public struct cairn_batch holds exactly these bytes, so committing copies
 * nothing but the sequence number. They are in a block that others may hold as
 * well, to read what was in it when they took it: pinned values, iterators, a
 * memtable made of the batch. So bytes are only ever added to a block that is
 * shared; who takes some back goes on in another one.
 */
#ifndef CAIRN_KV_BATCH_H
#define CAIRN_KV_BATCH_H

#include <stdatomic.h>

#include "engine/base/buf.h"
#include "engine/kv/ikey.h"

#define BATCH_HEADER_LEN 12

struct batch_index; /* batch_index.h */

struct batch_block {
	_Atomic uint32_t refs;
	uint8_t data[];
};

/* The batch as it was. */
struct batch_savepoint {
	size_t len;
	uint32_t count;
	bool has_merge;
};

struct cairn_batch {
	/* Header included, from creation on. Its memory is that of block. */
	struct buf bytes;
	struct batch_block *block; /* NULL: bytes is header, and nothing more */
	uint8_t header[BATCH_HEADER_LEN];
	uint32_t count; /* as in the header */
	bool has_merge; /* needs a merge operator */
	bool indexed;
	struct batch_index *index; /* NULL: nothing is indexed yet */
	struct batch_savepoint *saves;
	size_t n_saves;
	size_t saves_cap;
};

/* Add a put, delete, merge, single delete or range delete, checked but for the
 * order of a range. value NULL: the kind has none. */
MUST_CHECK int batch_add(struct cairn_batch *b, uint8_t kind,
			 struct cairn_slice key,
			 const struct cairn_slice *value);

/* The block with a reference for the caller; NULL when the batch is empty. */
struct batch_block *batch_share(const struct cairn_batch *b);
struct batch_block *batch_block_ref(struct batch_block *k); /* returns k */
void batch_block_unref(struct batch_block *k); /* NULL is allowed; any thread */

/* Write the sequence number of the first operation into the header. */
void batch_set_seqno(struct cairn_batch *b, uint64_t seqno);

static inline uint64_t batch_bytes_seqno(struct cairn_slice bytes)
{
	return load_le64(bytes.data);
}

static inline uint32_t batch_bytes_count(struct cairn_slice bytes)
{
	return load_le32(bytes.data + 8);
}

/* CAIRN_EINVAL for a key that is too long, or an end before the start. */
MUST_CHECK int batch_check_range(struct cairn_slice start,
				 struct cairn_slice end);

/* One operation of a batch. */
struct batch_op {
	uint8_t kind;    /* enum ikey_kind; KIND_LOG_DATA consumes no seqno */
	uint32_t family; /* column family, 0 the default one */
	struct cairn_slice key;
	struct cairn_slice value; /* put, merge; end key of a range delete */
};

/* Walks the operations of a batch; ops borrow from the bytes. */
struct batch_reader {
	struct cairn_slice rest;
};

/* CAIRN_ECORRUPT when bytes are shorter than a header. */
MUST_CHECK int batch_reader_init(struct batch_reader *r,
				 struct cairn_slice bytes);

/*
 * CAIRN_OK and *op, CAIRN_NOT_FOUND at the end, CAIRN_ECORRUPT for bytes that
 * are no operation, CAIRN_ENOTSUP, naming it, for one that cairn must not
 * ignore: transactions, blob indexes, wide columns. No-ops are skipped.
 */
MUST_CHECK int batch_reader_next(struct batch_reader *r, struct batch_op *op);

/*
 * Check a batch that was read from a log: every operation parses and their
 * number is the header's count. Results as above.
 */
MUST_CHECK int batch_validate(struct cairn_slice bytes);

/* The same, and how many sequence numbers it takes: its count, less the ranges
 * that are empty. */
MUST_CHECK int batch_validate_numbers(struct cairn_slice bytes,
				      uint32_t *numbers);

#endif
