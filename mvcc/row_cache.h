/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The newest rows of the keys touched last, by plain key, so that writing a
 * key does not have to look for its row. It remembers tombstones, and also
 * that a key has no row at all (main 0).
 *
 * What it holds about a key is the newest row committed, or nothing. Writers
 * see to that: they are serialised, and after a commit replace the entries of
 * its keys before the revision is published. Readers may add what they found
 * at revision rev only while no commit above rev has begun: the number of the
 * last revision begun is compared under the lock that guards the entry.
 *
 * Beside a row may stand that nothing is below its key: since a certain
 * revision no key that begins with it and '/' is live. The same rules hold:
 * readers add it, and a writer that makes such a key takes it away.
 *
 * Safe for any number of threads: 16 parts, each with a lock, a hash table and
 * a list in order of use.
 */
#ifndef CAIRN_MVCC_ROW_CACHE_H
#define CAIRN_MVCC_ROW_CACHE_H

#include <stdatomic.h>

#include "engine/base/list.h"
#include "engine/base/slice.h"
#include "engine/base/sync.h"

#define ROW_CACHE_PARTS 16u

/* Longer row values are kept without the value proper. */
#define ROW_CACHE_VALUE_MAX 4096u

struct row_cache_part {
	struct mutex mu;
	/* All guarded by mu. */
	struct row_cache_entry **buckets;
	size_t n_buckets; /* a power of two, or 0 before the first entry */
	size_t n;
	size_t bytes;
	struct list lru; /* last used first */
	uint64_t hits;
	uint64_t misses;
};

struct row_cache {
	size_t part_bytes; /* limit of each part */
	struct row_cache_part parts[ROW_CACHE_PARTS];
};

/* A row as the engine keeps it. */
struct cached_row {
	int64_t main; /* 0: the key has no row */
	int32_t sub;
	size_t full_len;          /* of the encoded value */
	struct cairn_slice value; /* its first bytes; all when as long */
	/* Only in answers: nothing is below the key at this revision and later
	 * ones; 0: that is not known. */
	int64_t none_below;
};

void row_cache_init(struct row_cache *c, size_t bytes);
void row_cache_fini(struct row_cache *c);

/*
 * CAIRN_OK and *out, with out->value copied behind a copy of key into *own,
 * which the caller frees; CAIRN_NOT_FOUND; CAIRN_ENOMEM.
 */
MUST_CHECK int row_cache_get(struct row_cache *c, struct cairn_slice key,
			     struct cached_row *out, uint8_t **own);

/* Whether key is there. Counts neither as use nor as a hit. */
bool row_cache_has(struct row_cache *c, struct cairn_slice key);

/* For writers: row is the newest of key. Without memory, key is dropped. */
void row_cache_put(struct row_cache *c, struct cairn_slice key,
		   const struct cached_row *row);

/* For readers: as row_cache_put(), unless *begun is not rev. */
void row_cache_fill(struct row_cache *c, struct cairn_slice key,
		    const struct cached_row *row, const _Atomic int64_t *begun,
		    int64_t rev);

/* For readers: nothing is below key at rev, unless *begun is not rev. Kept only
 * beside a row. */
void row_cache_none_below(struct row_cache *c, struct cairn_slice key,
			  const _Atomic int64_t *begun, int64_t rev);
/* For writers: key is live now, so those that it is below have something. */
void row_cache_made(struct row_cache *c, struct cairn_slice key);

struct row_cache_stats {
	uint64_t hits;
	uint64_t misses;
	uint64_t bytes;
};
void row_cache_stats(struct row_cache *c, struct row_cache_stats *out);

#endif
