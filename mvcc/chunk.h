/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks of large values: reading one as of a revision, and deleting ranges of
 * them. What they mean is object.h's business.
 */
#ifndef CAIRN_MVCC_CHUNK_H
#define CAIRN_MVCC_CHUNK_H

#include "mvcc/table_revs.h"

/*
 * Reads chunks of one object. Made once for several: the iterator is reused.
 * Shows what was committed to the engine before it was made.
 */
struct chunk_reader {
	struct cairn_iter *it;
	struct table_revs revs; /* what the iterator leaves out */
	uint64_t object;
	uint32_t chunk_size;
};

/* Versions above version_max will not be asked for. r must stay where it is. */
MUST_CHECK int chunk_reader_init(struct chunk_reader *r, struct mvcc *m,
				 uint64_t object, uint32_t chunk_size,
				 int64_t version_max);
void chunk_reader_fini(struct chunk_reader *r);

/*
 * The newest version <= version of chunk index. *out borrows until the next
 * call, and is empty when there is none; it may be shorter than chunk_size,
 * zeros follow. CAIRN_ECORRUPT when longer.
 */
MUST_CHECK int chunk_reader_get(struct chunk_reader *r, uint64_t index,
				int64_t version, struct cairn_slice *out);

/*
 * The first index >= *index and < end that has a version <= version, stored in
 * *index; end when there is none.
 */
MUST_CHECK int chunk_reader_next(struct chunk_reader *r, uint64_t end,
				 int64_t version, uint64_t *index);

/*
 * Delete the chunks [from, to) of object whose version is at most version_max,
 * in batches. *stop (may be NULL) is polled between them: CAIRN_EABORTED. Done
 * twice it does no harm.
 */
MUST_CHECK int chunk_delete(struct mvcc *m, uint64_t object, uint64_t from,
			    uint64_t to, int64_t version_max,
			    bool (*stop)(struct mvcc *m));

#endif
