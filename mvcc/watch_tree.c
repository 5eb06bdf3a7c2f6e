/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch_tree.h"

#include <assert.h>
#include <stddef.h>

/* Where the range begins, and for those that begin together the address. */
static bool before(const struct watch_node *a, const struct watch_node *b)
{
	int c = slice_cmp(a->from, b->from);

	return c ? c < 0 : (uintptr_t)a < (uintptr_t)b;
}

static bool reaches_further(const struct watch_node *a,
			    const struct watch_node *b)
{
	if (!a->end.data || !b->end.data)
		return !a->end.data;
	return slice_cmp(a->end, b->end) > 0;
}

static void update(struct watch_node *n)
{
	n->reach = n;
	if (n->left && reaches_further(n->left->reach, n->reach))
		n->reach = n->left->reach;
	if (n->right && reaches_further(n->right->reach, n->reach))
		n->reach = n->right->reach;
}

/* xorshift: good enough to keep a treap flat. */
static uint64_t next_random(struct watch_tree *t)
{
	uint64_t x = t->random ? t->random : 0x9e3779b97f4a7c15u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	t->random = x;
	return x;
}

/* What is below n before at, and what is behind it. */
static void split(struct watch_node *n, const struct watch_node *at,
		  struct watch_node **low, struct watch_node **high)
{
	if (!n) {
		*low = NULL;
		*high = NULL;
	} else if (before(n, at)) {
		split(n->right, at, &n->right, high);
		update(n);
		*low = n;
	} else {
		split(n->left, at, low, &n->left);
		update(n);
		*high = n;
	}
}

/* All of low is before all of high. */
static struct watch_node *join(struct watch_node *low, struct watch_node *high)
{
	if (!low || !high)
		return low ? low : high;
	if (low->priority > high->priority) {
		low->right = join(low->right, high);
		update(low);
		return low;
	}
	high->left = join(low, high->left);
	update(high);
	return high;
}

static struct watch_node *add(struct watch_node *at, struct watch_node *n)
{
	if (!at || n->priority > at->priority) {
		split(at, n, &n->left, &n->right);
		update(n);
		return n;
	}
	if (before(n, at))
		at->left = add(at->left, n);
	else
		at->right = add(at->right, n);
	update(at);
	return at;
}

void watch_tree_add(struct watch_tree *t, struct watch_node *n)
{
	n->priority = next_random(t);
	t->root = add(t->root, n);
}

static struct watch_node *take_out(struct watch_node *at, struct watch_node *n)
{
	assert(at);
	if (at == n)
		return join(n->left, n->right);
	if (before(n, at))
		at->left = take_out(at->left, n);
	else
		at->right = take_out(at->right, n);
	update(at);
	return at;
}

void watch_tree_remove(struct watch_tree *t, struct watch_node *n)
{
	t->root = take_out(t->root, n);
	n->left = NULL;
	n->right = NULL;
	n->reach = NULL;
}

static void find(struct watch_node *n, struct cairn_slice key,
		 void (*hit)(void *ctx, struct watch_node *n), void *ctx)
{
	while (n) {
		const struct watch_node *r = n->reach;

		if (r->end.data && slice_cmp(r->end, key) <= 0)
			return;
		find(n->left, key, hit, ctx);
		/* Those on the right begin no earlier. */
		if (slice_cmp(n->from, key) > 0)
			return;
		if (watch_node_has(n, key))
			hit(ctx, n);
		n = n->right;
	}
}

void watch_tree_find(const struct watch_tree *t, struct cairn_slice key,
		     void (*hit)(void *ctx, struct watch_node *n), void *ctx)
{
	find(t->root, key, hit, ctx);
}
