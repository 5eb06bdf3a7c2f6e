/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch_tree.h"

#include <stdio.h>

#include "tests/support/runner.h"

#define N 400

struct range {
	struct watch_node node;
	char from[4];
	char end[4];
	bool in;
	unsigned hits;
};

static uint64_t seed;

static unsigned roll(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

/* A short key: many are equal, and many are prefixes of others. */
static struct cairn_slice random_key(char buf[4])
{
	size_t len = roll(4);

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)('a' + roll(4));
	return slice_of(buf, len);
}

static void random_range(struct range *r)
{
	r->node.from = random_key(r->from);
	r->node.end = random_key(r->end);
	/* Empty ranges and those without end are among them. */
	if (r->node.end.len == 0)
		r->node.end.data = NULL;
}

static void count_hit(void *ctx, struct watch_node *n)
{
	struct range *all = ctx, *r = (struct range *)(void *)n;

	ck_assert(r >= all && r < all + N);
	r->hits++;
}

/* The tree against looking at every range. */
static void check(const struct watch_tree *t, struct range *all)
{
	char buf[4];
	struct cairn_slice key = random_key(buf);

	for (size_t i = 0; i < N; i++)
		all[i].hits = 0;
	watch_tree_find(t, key, count_hit, all);
	for (size_t i = 0; i < N; i++)
		ck_assert_uint_eq(
			all[i].hits,
			all[i].in && watch_node_has(&all[i].node, key) ? 1 : 0);
}

START_TEST(a_tree_finds_what_looking_at_every_range_finds)
{
	static struct range all[N];
	struct watch_tree t = { 0 };

	seed = 0x1234567u + (uint64_t)_i;
	memset(all, 0, sizeof(all));
	for (unsigned step = 0; step < 5000; step++) {
		struct range *r = &all[roll(N)];

		if (r->in) {
			watch_tree_remove(&t, &r->node);
			r->in = false;
		} else {
			random_range(r);
			watch_tree_add(&t, &r->node);
			r->in = true;
		}
		if (step % 10 == 0)
			check(&t, all);
	}
	for (size_t i = 0; i < N; i++)
		if (all[i].in)
			watch_tree_remove(&t, &all[i].node);
	ck_assert_ptr_null(t.root);
}
END_TEST

static unsigned depth(const struct watch_node *n)
{
	unsigned l, r;

	if (!n)
		return 0;
	l = depth(n->left);
	r = depth(n->right);
	return 1 + (l > r ? l : r);
}

/* The worst orders for a tree that does not look after itself. */
START_TEST(a_tree_stays_flat)
{
	enum { MANY = 20000 };
	static struct watch_node nodes[MANY];
	static char keys[MANY][8];
	struct watch_tree t = { 0 };

	memset(nodes, 0, sizeof(nodes));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%06u", _i ? i : 0);
		nodes[i].from = slice_of(keys[i], 6);
		watch_tree_add(&t, &nodes[i]);
	}
	/* Twice the logarithm is 29; chance makes it some more. */
	ck_assert_uint_lt(depth(t.root), 60);
	for (unsigned i = 0; i < MANY; i++)
		watch_tree_remove(&t, &nodes[i]);
	ck_assert_ptr_null(t.root);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watch_tree");
	TCase *c = tcase_create("tree");

	tcase_add_loop_test(c, a_tree_finds_what_looking_at_every_range_finds,
			    0, 4);
	tcase_add_loop_test(c, a_tree_stays_flat, 0, 2);
	suite_add_tcase(s, c);
	return run_suite(s);
}
