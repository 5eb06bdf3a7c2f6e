/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct mvcc_object, private to the object files: object_buf.c (chunks in
 * memory and in the engine), object_stage.c (getting chunks to the engine
 * early, and committing), object.c (what callers see).
 */
#ifndef CAIRN_MVCC_OBJECT_IMPL_H
#define CAIRN_MVCC_OBJECT_IMPL_H

#include "mvcc/chunk.h"
#include "mvcc/forget.h"
#include "mvcc/object.h"

/* Longer writes are done in pieces, to bound what they hold. */
#define OBJECT_PIECE_BYTES ((size_t)1 << 20)

/* Changed contents of a chunk; zeros follow the first len bytes. */
struct chunk_buf {
	uint64_t index;
	uint32_t len;
	uint8_t data[]; /* chunk_size bytes */
};

struct mvcc_object {
	struct mvcc *m;
	struct list node; /* in m->objects, guarded by objects_mu */
	/* 0: the value is in small. Changed under objects_mu. */
	uint64_t number;
	uint32_t chunk_size;
	uint64_t size;
	bool changed;
	struct buf small;

	/* Of the committed row of this object; 0 before the first commit. */
	int64_t base_main;
	uint64_t base_size;
	uint64_t base_high;
	/* Chunks below it still have the contents they have in that row. */
	uint64_t low;

	/* Staged chunks lie in [base_high, stage_end). Those from stale_from
	 * on were cut off and must be deleted before the value grows there. */
	uint64_t stage_end;
	uint64_t stale_from;
	struct leftover *mark; /* the entry in table 'o'; NULL: none */

	struct chunk_buf **bufs; /* ascending */
	size_t n_bufs;
	size_t cap_bufs;
	uint64_t last; /* index of the chunk written last */
};

static inline uint64_t object_chunk_count(const struct mvcc_object *o)
{
	return enc_chunk_count(o->size, o->chunk_size);
}

/* ---------------------------------------------------------- object_buf.c */

/* The first buffer with an index >= index. */
size_t object_bufs_index(const struct mvcc_object *o, uint64_t index);
/* NULL when the chunk has no buffer. */
struct chunk_buf *object_bufs_find(const struct mvcc_object *o, uint64_t index);
MUST_CHECK int object_bufs_reserve(struct mvcc_object *o, size_t more);
/* Room was reserved. o owns b from here. */
void object_bufs_insert(struct mvcc_object *o, struct chunk_buf *b);
/* Forget the buffers [from, to). */
void object_bufs_drop(struct mvcc_object *o, size_t from, size_t to);
/* Empty, and not yet of o. NULL: no memory. */
struct chunk_buf *object_buf_new(const struct mvcc_object *o, uint64_t index);

/*
 * What a chunk is now. r is made at the first need (zero it before, fini it
 * afterwards); *out borrows from a buffer or from r.
 */
MUST_CHECK int object_view(const struct mvcc_object *o, struct chunk_reader *r,
			   uint64_t index, struct cairn_slice *out);
/* The same, into b, which is not yet of o. */
MUST_CHECK int object_load(const struct mvcc_object *o, struct chunk_reader *r,
			   struct chunk_buf *b);
MUST_CHECK int object_put_chunk(struct cairn_batch *b,
				const struct mvcc_object *o, uint64_t index,
				int64_t version, struct cairn_slice bytes);

/* -------------------------------------------------------- object_stage.c */

/* Unshown chunks go to the engine when there are too many in memory. */
MUST_CHECK int object_stage_if_many(struct mvcc_object *o);
/* Delete staged chunks that were cut off. */
MUST_CHECK int object_wipe_stale(struct mvcc_object *o);
/* What is staged under the mark will not be committed. */
void object_give_up_mark(struct mvcc_object *o);

/* Nothing of the value is in the engine. */
void object_reset_base(struct mvcc_object *o);
/* From bytes to chunks, all in memory; o is as before on failure. */
MUST_CHECK int object_to_chunks(struct mvcc_object *o);
/* From chunks to bytes, cut to size. */
MUST_CHECK int object_to_small(struct mvcc_object *o, uint64_t size);

#endif
