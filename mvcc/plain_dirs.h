/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The directories of a plain store that no key lies in: there is no place for
 * them on disk, so they live as long as the store is open.
 *
 * A record is there from one point of the set's own count of changes to
 * another. Readers name the point they look from; what ended is kept while a
 * reader may look from before. The caller locks (pins_mu of the store).
 */
#ifndef CAIRN_MVCC_PLAIN_DIRS_H
#define CAIRN_MVCC_PLAIN_DIRS_H

#include "engine/base/buf.h"

/* More are refused: they take memory and nothing else. */
#define PLAIN_DIRS_MAX 65536u

struct plain_dir {
	uint64_t born;
	uint64_t died; /* UINT64_MAX: it is there */
	int64_t time_ns;
	size_t len;
	uint8_t key[]; /* ends in '/' */
};

struct plain_dirs {
	struct plain_dir **list; /* by key, then by birth */
	size_t n;
	size_t cap;
	size_t n_dead;
	uint64_t seq; /* changes so far */
};

void plain_dirs_fini(struct plain_dirs *d);

/* The record of key as of seq; NULL when there is none. */
const struct plain_dir *plain_dirs_find(const struct plain_dirs *d,
					struct cairn_slice key, uint64_t seq);
/* The first record >= key, or the last one < key (data NULL: of all), as of
 * seq. */
const struct plain_dir *plain_dirs_from(const struct plain_dirs *d,
					struct cairn_slice key, uint64_t seq);
const struct plain_dir *plain_dirs_before(const struct plain_dirs *d,
					  struct cairn_slice key, uint64_t seq);

/*
 * Add a record; nothing when it is there. CAIRN_ENOSPC over the limit. Each
 * change adds one to seq.
 */
MUST_CHECK int plain_dirs_add(struct plain_dirs *d, struct cairn_slice key,
			      int64_t time_ns);
/* End a record; nothing when there is none. Readers look from seq_min on. */
void plain_dirs_end(struct plain_dirs *d, struct cairn_slice key,
		    uint64_t seq_min);

static inline struct cairn_slice plain_dir_key(const struct plain_dir *r)
{
	return slice_of(r->key, r->len);
}

#endif
