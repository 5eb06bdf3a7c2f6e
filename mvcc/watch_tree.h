/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges of keys, and which of them a key is in: a treap ordered by where the
 * ranges begin, each node knowing how far the ranges below it reach. Finding k
 * of n ranges takes O(k + log n) steps. Nodes are the caller's, and not moved.
 * Needs its caller's lock.
 */
#ifndef CAIRN_MVCC_WATCH_TREE_H
#define CAIRN_MVCC_WATCH_TREE_H

#include "engine/base/slice.h"

struct watch_node {
	/* The keys in [from, end); end.data NULL: to the last one. Borrowed,
	 * and not to be changed while it is in a tree. */
	struct cairn_slice from;
	struct cairn_slice end;
	/* Private to the tree. */
	struct watch_node *left;
	struct watch_node *right;
	/* Of this node and those below it, the one whose range reaches
	 * furthest. */
	const struct watch_node *reach;
	uint64_t priority; /* at most that of the node above */
};

/* Zeroed: empty. */
struct watch_tree {
	struct watch_node *root;
	uint64_t random;
};

/* n is in no tree. */
void watch_tree_add(struct watch_tree *t, struct watch_node *n);
/* n is in t. */
void watch_tree_remove(struct watch_tree *t, struct watch_node *n);
/* Call hit for each node whose range has key. It must not change the tree. */
void watch_tree_find(const struct watch_tree *t, struct cairn_slice key,
		     void (*hit)(void *ctx, struct watch_node *n), void *ctx);

static inline bool watch_node_has(const struct watch_node *n,
				  struct cairn_slice key)
{
	return slice_cmp(n->from, key) <= 0 &&
	       (!n->end.data || slice_cmp(key, n->end) < 0);
}

#endif
