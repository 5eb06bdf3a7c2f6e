/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sorted list of entries in an arena. Any number of threads may insert and
 * read at once; readers take no locks. Nothing is ever removed; all goes with
 * the arena.
 *
 * The list itself is a ring of nodes, doubly linked and lock-free: the head
 * follows the last node and precedes the first, so walking off either end
 * arrives at it.
 *
 * To find the way there are blocks instead of a skiplist's usual towers of
 * links: sorted arrays of nodes with 8 bytes of each one's key, under a tree of
 * such arrays (a B-link tree). Towers cost a cache miss for each node that a
 * search looks at, some ten among 100,000 entries. Here the upper levels stay
 * in the cache, and a block and the node that it leads to are two misses. With
 * towers, seeks took 2.5 times as long and insertions 1.5 times.
 *
 * Blocks are hints. They name a node before the place that is looked for, which
 * is checked, and from there on the links of the ring are followed. So a block
 * may be read while it is changed, and may lack nodes, without any harm but a
 * longer walk.
 *
 * Invariants, at every moment and for every thread:
 *
 *  1. A node is complete (key, value, own links) before the release CAS that
 *     links it; those who load a link, or an entry of a block, with acquire see
 *     it whole. Of its fields only the links change afterwards.
 *  2. Following next, internal keys ascend strictly.
 *  3. A node's prev is its predecessor or, while an insertion just before the
 *     node is between its two CASes, the predecessor before that. So an entry
 *     whose insertion has returned is seen in both directions. Inserters repair
 *     a lagging prev that they meet before they link behind the same node, so
 *     no prev stays behind.
 *  4. Blocks name only nodes that are in the list. What is in a block, and all
 *     that is ever added to it, lies from its low node on and before the low
 *     node of the next block of its level; low never changes.
 *  5. Entries of a lowest block change under its lock, all else in the tree
 *     under that of the tree. Locks are taken in this order; who does not get
 *     one soon leaves his node out of the blocks. A block is reachable from its
 *     left neighbour before its entries vanish there.
 */
#ifndef CAIRN_MEM_SKIPLIST_H
#define CAIRN_MEM_SKIPLIST_H

#include "engine/kv/ikey.h"
#include "engine/mem/arena.h"

/*
 * What an entry takes beside its key and value decides how many fit in a
 * memtable, so how often it is flushed: nodes are as small as they can be, and
 * aligned to 4 bytes.
 */
struct skiplist_node {
	uint8_t trailer[8]; /* little-endian */
	_Atomic uint32_t next;
	_Atomic uint32_t prev;
	uint32_t chain; /* the key index's, see key_index.h */
	uint16_t key_len;
	uint16_t value_len; /* or SKIPLIST_VALUE_LONG */
	uint8_t bytes[];    /* key, then value */
};

/* The length, in 4 bytes, is between key and value. */
#define SKIPLIST_VALUE_LONG     UINT16_MAX
#define SKIPLIST_VALUE_LONG_LEN 4u

#define SKIPLIST_NODE_LEN offsetof(struct skiplist_node, bytes)

/* Arena bytes of a node over key and value, at most. */
#define SKIPLIST_NODE_OVERHEAD                                                 \
	(SKIPLIST_NODE_LEN + SKIPLIST_VALUE_LONG_LEN + ARENA_ALIGN - 1)

/* What an empty list takes of the arena. */
#define SKIPLIST_HEAD_LEN arena_round(SKIPLIST_NODE_LEN)

struct skiplist {
	struct arena *arena;
	uint8_t *base;        /* the arena's */
	struct arena *blocks; /* an arena of their own: they come unasked for */
	uint32_t head;
	uint32_t first;           /* lowest block */
	_Atomic uint32_t root;    /* block */
	_Atomic uint32_t lock;    /* of the tree, see invariant 5 */
	_Atomic uint32_t changes; /* of upper blocks; odd during one */
};

/*
 * Where a thread inserts, from one insertion to the next: ascending keys need
 * no search then. A zeroed one knows nothing.
 */
struct skiplist_splice {
	uint32_t last;  /* node inserted last */
	uint32_t block; /* lowest one, at or before the place */
	bool run;       /* the last node came right behind the one before */
	bool located;   /* for the skiplist_insert() that comes next */
};

/*
 * Arena bytes for the blocks of a list in an arena of that size, whatever is
 * inserted. Most of it is never touched.
 */
size_t skiplist_blocks_len(size_t arena_len);

/*
 * Make an empty list of nodes in a, which has room for SKIPLIST_HEAD_LEN, and
 * of blocks in blocks, which is fresh. When that one is full the list goes on
 * without new blocks and gets slow.
 */
MUST_CHECK int skiplist_init(struct skiplist *s, struct arena *a,
			     struct arena *blocks);

static inline struct skiplist_node *skiplist_node(const struct skiplist *s,
						  uint32_t off)
{
	return (struct skiplist_node *)(void *)(s->base + off);
}

static inline struct cairn_slice
skiplist_node_key(const struct skiplist_node *n)
{
	return slice_of(n->bytes, n->key_len);
}

static inline struct cairn_slice
skiplist_node_value(const struct skiplist_node *n)
{
	const uint8_t *p = n->bytes + n->key_len;

	if (n->value_len != SKIPLIST_VALUE_LONG)
		return slice_of(p, n->value_len);
	return slice_of(p + SKIPLIST_VALUE_LONG_LEN, load_le32(p));
}

static inline uint64_t skiplist_node_trailer(const struct skiplist_node *n)
{
	return load_le64(n->trailer);
}

/*
 * The first 8 bytes of a key, big-endian, zeros behind a shorter one: many
 * comparisons need nothing else.
 */
static inline uint64_t skiplist_key_prefix(struct cairn_slice key)
{
	uint64_t v = 0;

	if (key.len >= 8)
		return load_be64(key.data);
	for (size_t i = 0; i < key.len; i++)
		v |= (uint64_t)key.data[i] << (56 - 8 * i);
	return v;
}

static inline uint64_t skiplist_node_prefix(const struct skiplist_node *n)
{
	return skiplist_key_prefix(skiplist_node_key(n));
}

static inline bool skiplist_node_has_key(const struct skiplist_node *n,
					 struct cairn_slice key)
{
	return n->key_len == key.len &&
	       (!key.len || memcmp(n->bytes, key.data, key.len) == 0);
}

/*
 * Begin an insertion: find out where, and have the memory come that
 * skiplist_insert() of the same key will touch. May be left out.
 */
void skiplist_locate(const struct skiplist *s, const struct ikey *key,
		     struct skiplist_splice *splice);

/*
 * Copy an entry into the arena and link it. near is a node with the same user
 * key, or 0 when none is known. CAIRN_EEXIST when the list has the same
 * internal key, CAIRN_ENOMEM when the arena has no room for it.
 */
MUST_CHECK int skiplist_insert(struct skiplist *s, const struct ikey *key,
			       struct cairn_slice value, uint32_t near,
			       struct skiplist_splice *splice, uint32_t *node);

/* The first node at or after key, or the head when there is none. */
uint32_t skiplist_seek_ge(const struct skiplist *s, const struct ikey *key);

/* The last node before key, or the head when there is none. */
uint32_t skiplist_seek_lt(const struct skiplist *s, const struct ikey *key);

/* The neighbours of a node; the head is the neighbour of both ends. */
static inline uint32_t skiplist_next(const struct skiplist *s, uint32_t node)
{
	/* Pairs with the release CAS of link_node(), as that of prev. */
	return atomic_load_explicit(&skiplist_node(s, node)->next,
				    memory_order_acquire);
}

static inline uint32_t skiplist_prev(const struct skiplist *s, uint32_t node)
{
	return atomic_load_explicit(&skiplist_node(s, node)->prev,
				    memory_order_acquire);
}

#endif
