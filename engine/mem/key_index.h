/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds a node of a skiplist by its user key without a search: a hash table
 * whose chains run through the nodes. A point read then costs two or three
 * cache misses instead of one per level and more, and a key that is not there,
 * which is the usual answer of a memtable, mostly one.
 *
 * A chain holds, for each key that was added, at least one of its versions, in
 * no particular order. It is only ever extended at the front; what hangs
 * behind a node never changes. So a reader walks the chain as it was when it
 * loaded the slot, complete for all that was added before.
 *
 * Overwriting the key at the front of a chain replaces it there, since the
 * older version stays reachable through the skiplist; chains grow with the
 * number of keys rather than of versions. Where they grow long nevertheless
 * (crafted keys, two busy keys in one slot) walks end after a few steps and
 * the caller searches the skiplist.
 */
#ifndef CAIRN_MEM_KEY_INDEX_H
#define CAIRN_MEM_KEY_INDEX_H

#include "engine/mem/skiplist.h"

struct key_index {
	_Atomic uint32_t *slots;
	uint64_t mask;
};

/* Bytes of arena for so many slots, a power of two. */
#define KEY_INDEX_LEN(n_slots) ((size_t)(n_slots) * sizeof(uint32_t))

/* The slots come from the arena, which must be fresh. */
MUST_CHECK int key_index_init(struct key_index *x, struct arena *a,
			      size_t n_slots);

/* A key with what is computed of it once. */
struct index_key {
	struct cairn_slice key;
	uint64_t hash;
};

struct index_key index_key_of(struct cairn_slice key);

static inline void key_index_prefetch(const struct key_index *x,
				      const struct index_key *k)
{
	__builtin_prefetch(&x->slots[k->hash & x->mask]);
}

/*
 * A node with that key, near the newest one; 0 when there is none. *sure is
 * cleared when the walk was given up, and 0 means nothing.
 */
uint32_t key_index_find(const struct key_index *x, const struct skiplist *s,
			const struct index_key *k, bool *sure);

/* Add a node that is linked in the skiplist. */
void key_index_add(struct key_index *x, const struct skiplist *s,
		   const struct index_key *k, uint32_t node);

#endif
