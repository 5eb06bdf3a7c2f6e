/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/skiplist.h"

#include <assert.h>
#include <sched.h>

#include "engine/base/error.h"

/* Versions of a key that are stepped over before a search is cheaper. */
#define NEAR_STEPS_MAX 8

/*
 * Tries for a lock. It is held for some 100 ns, or, if its holder was
 * interrupted, until that one runs again, for which others make room.
 */
#define LOCK_SPINS  100
#define LOCK_YIELDS 1000

#define BLOCK_LEN        40
#define BLOCK_LEAST_USED (BLOCK_LEN / 2)
#define CACHE_LINE_LEN   64

/* Descents that met a change and went astray, before going along the bottom. */
#define DESCENTS_MAX 4

/*
 * A sorted array of nodes or, above the lowest level, of blocks, for which
 * their low nodes stand. Offsets of blocks are those of their own arena.
 */
struct block {
	uint64_t low_prefix; /* of the low node's key; constant */
	uint32_t low;        /* node, in the first block the head; constant */
	uint32_t level;      /* 0 the lowest; constant */
	_Atomic uint32_t lock;
	_Atomic uint32_t next; /* block to the right; 0 at the end */
	_Atomic uint32_t count;
	/* Leading bytes that all keys in the block's range have in common. */
	_Atomic uint32_t shared;
	_Atomic uint64_t part[BLOCK_LEN]; /* the 8 bytes of key behind those */
	_Atomic uint32_t entry[BLOCK_LEN];
};

_Static_assert(sizeof(struct block) == 8 * CACHE_LINE_LEN, "whole lines");
_Static_assert(SKIPLIST_NODE_LEN == 24, "nodes have no padding");

/* A key to compare with nodes. */
struct target {
	uint64_t prefix;
	uint64_t trailer;
	struct cairn_slice key;
};

/* The 8 bytes behind the first skip ones, with zeros behind the end. */
static uint64_t key_part(struct cairn_slice key, uint32_t skip)
{
	if (skip >= key.len)
		return 0;
	slice_advance(&key, skip);
	return skiplist_key_prefix(key);
}

static struct target target_of(const struct ikey *k)
{
	return (struct target){ skiplist_key_prefix(k->user_key), k->trailer,
				k->user_key };
}

/*
 * memcmp() of n > 8 bytes whose first 8 are known to be equal, a word at a
 * time; the last word overlaps the one before.
 */
static int cmp_behind_prefix(const uint8_t *a, const uint8_t *b, size_t n)
{
	uint64_t x, y;

	for (size_t i = 8; i + 8 < n; i += 8) {
		x = load_be64(a + i);
		y = load_be64(b + i);
		if (x != y)
			return x < y ? -1 : 1;
	}
	x = load_be64(a + n - 8);
	y = load_be64(b + n - 8);
	return (x > y) - (x < y);
}

/* Where the prefixes are the same. */
static int cmp_rest(const struct skiplist_node *n, const struct target *t)
{
	size_t len = n->key_len < t->key.len ? n->key_len : t->key.len;
	uint64_t trailer;

	if (len > 8) {
		int c = cmp_behind_prefix(n->bytes, t->key.data, len);

		if (c)
			return c;
	}
	/* Up to 8 bytes and the same prefix: one begins with the other. */
	if (n->key_len != t->key.len)
		return n->key_len < t->key.len ? -1 : 1;
	trailer = skiplist_node_trailer(n);
	return (trailer < t->trailer) - (trailer > t->trailer);
}

/* Whether the node's internal key sorts before the target. Not the head. */
static inline bool before(const struct skiplist *s, uint32_t node,
			  const struct target *t)
{
	const struct skiplist_node *n = skiplist_node(s, node);
	uint64_t prefix = skiplist_node_prefix(n);

	if (prefix != t->prefix)
		return prefix < t->prefix;
	return cmp_rest(n, t) < 0;
}

static bool equals(const struct skiplist *s, uint32_t node,
		   const struct target *t)
{
	const struct skiplist_node *n = skiplist_node(s, node);

	return node != s->head && skiplist_node_trailer(n) == t->trailer &&
	       skiplist_node_has_key(n, t->key);
}

/* ------------------------------------------------------ reading the blocks */

static struct block *block_at(const struct skiplist *s, uint32_t off)
{
	return (struct block *)(void *)(s->blocks->base + off);
}

/* Pairs with the release store in split_insert(). */
static uint32_t next_block(const struct block *b)
{
	return atomic_load_explicit(&b->next, memory_order_acquire);
}

/* Whether a block begins before the target. */
static bool begins_before(const struct skiplist *s, const struct block *b,
			  const struct target *t)
{
	if (b->low == s->head)
		return true;
	if (b->low_prefix != t->prefix)
		return b->low_prefix < t->prefix;
	return cmp_rest(skiplist_node(s, b->low), t) < 0;
}

/* These pair with the release stores in set_entry(). */
static uint64_t part_at(const struct block *b, uint32_t i)
{
	return atomic_load_explicit(&b->part[i], memory_order_acquire);
}

static uint32_t entry_at(const struct block *b, uint32_t i)
{
	return atomic_load_explicit(&b->entry[i], memory_order_acquire);
}

/* The node that an entry stands for. */
static uint32_t node_of_entry(const struct skiplist *s, const struct block *b,
			      uint32_t i)
{
	uint32_t e = entry_at(b, i);

	return b->level ? block_at(s, e)->low : e;
}

/* How many of the first count parts are less than p, or, with_same, not more */
static uint32_t count_parts(const struct block *b, uint32_t count, uint64_t p,
			    bool with_same)
{
	uint32_t lo = 0;

	while (count > 0) {
		uint32_t half = count / 2;
		uint64_t x = part_at(b, lo + half);
		bool right = x < p || (with_same && x == p);

		lo = right ? lo + half + 1 : lo;
		count = right ? count - half - 1 : half;
	}
	return lo;
}

/*
 * How many entries are before t when those from lo on up to hi have the same
 * part as t, and those before lo are.
 */
static uint32_t count_same(const struct skiplist *s, const struct block *b,
			   uint32_t lo, uint32_t hi, const struct target *t)
{
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		uint32_t n = node_of_entry(s, b, mid);

		if (n == s->head || before(s, n, t))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * How many entries of the block are before t, and of how many. Exact when the
 * block does not change meanwhile.
 */
static uint32_t count_before(const struct skiplist *s, const struct block *b,
			     const struct target *t, uint32_t *count)
{
	/* Acquire: so many entries have been set once, at least. */
	uint32_t n = atomic_load_explicit(&b->count, memory_order_acquire);
	uint32_t shared =
		atomic_load_explicit(&b->shared, memory_order_acquire);
	uint64_t part = shared ? key_part(t->key, shared) : t->prefix;
	uint32_t lo = count_parts(b, n, part, false);

	*count = n;
	if (lo == n || part_at(b, lo) != part)
		return lo;
	return count_same(s, b, lo, count_parts(b, n, part, true), t);
}

/*
 * One step from an upper block: to the right if it was split, else down. Only
 * behind the last entry may there be something to the right.
 */
static uint32_t step(const struct skiplist *s, const struct block *b,
		     const struct target *t)
{
	uint32_t count;
	uint32_t i = count_before(s, b, t, &count);

	if (i == count) {
		uint32_t next = next_block(b);

		if (next && begins_before(s, block_at(s, next), t))
			return next;
	}
	return entry_at(b, i ? i - 1 : 0);
}

static uint32_t descend(const struct skiplist *s, const struct target *t,
			uint32_t level)
{
	/* Pairs with the release store in grow(). */
	uint32_t off = atomic_load_explicit(&s->root, memory_order_acquire);
	const struct block *b = block_at(s, off);

	while (b->level > level) {
		off = step(s, b, t);
		b = block_at(s, off);
	}
	return off;
}

/*
 * The lowest block that t belongs to, or one to the left of it: the lists of a
 * level go on to the right, which find_start() does.
 */
static uint32_t find_lowest(const struct skiplist *s, const struct target *t)
{
	for (int i = 0; i < DESCENTS_MAX; i++) {
		uint32_t changes =
			atomic_load_explicit(&s->changes, memory_order_acquire);
		uint32_t off = descend(s, t, 0);

		/* The descent's loads are acquires: this one comes last. */
		if ((changes % 2 == 0 &&
		     atomic_load_explicit(&s->changes, memory_order_relaxed) ==
			     changes) ||
		    begins_before(s, block_at(s, off), t))
			return off;
	}
	return s->first;
}

static void prefetch_block(const struct block *b)
{
	for (size_t l = 0; l < sizeof(*b); l += CACHE_LINE_LEN)
		__builtin_prefetch((const uint8_t *)b + l);
}

/*
 * A node before t, or the head. *block is a lowest block that begins before t,
 * and becomes the one that t belongs to.
 */
static uint32_t find_start(const struct skiplist *s, const struct target *t,
			   uint32_t *block)
{
	const struct block *b = block_at(s, *block);
	uint32_t i, count, n, next;

	for (;;) {
		i = count_before(s, b, t, &count);
		if (i < count)
			break;
		next = next_block(b);
		if (!next || !begins_before(s, block_at(s, next), t))
			break;
		*block = next;
		b = block_at(s, next);
	}
	/* Most likely the one behind t; it is the next to be touched. */
	if (i < count)
		__builtin_prefetch(skiplist_node(s, entry_at(b, i)));
	if (!i)
		return b->low;
	n = entry_at(b, i - 1);
	/* The block may have been changed while we looked. */
	return n == b->low || before(s, n, t) ? n : b->low;
}

/* ----------------------------------------------------- changing the blocks */

static bool try_lock(_Atomic uint32_t *lock)
{
	for (int i = 0; i < LOCK_SPINS + LOCK_YIELDS; i++) {
		uint32_t unlocked = 0;

		if (!atomic_load_explicit(lock, memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(
			    lock, &unlocked, 1, memory_order_acquire,
			    memory_order_relaxed))
			return true;
		if (i >= LOCK_SPINS)
			sched_yield();
	}
	return false;
}

static void unlock(_Atomic uint32_t *lock)
{
	atomic_store_explicit(lock, 0, memory_order_release);
}

static uint32_t block_count(const struct block *b)
{
	return atomic_load_explicit(&b->count, memory_order_relaxed);
}

static void set_count(struct block *b, uint32_t count)
{
	/* Pairs with the acquire in count_before(). */
	atomic_store_explicit(&b->count, count, memory_order_release);
}

/*
 * The entry first: entries move to the right, so who reads meanwhile gets one
 * that is less than its part says, and starts a little further to the left.
 */
static void set_entry(struct block *b, uint32_t i, uint64_t part,
		      uint32_t entry)
{
	atomic_store_explicit(&b->entry[i], entry, memory_order_release);
	atomic_store_explicit(&b->part[i], part, memory_order_release);
}

/* Add an entry for a key to a block that is not full. */
static void insert_entry(const struct skiplist *s, struct block *b,
			 const struct target *t, uint32_t entry)
{
	uint32_t shared =
		atomic_load_explicit(&b->shared, memory_order_relaxed);
	uint32_t count;
	uint32_t pos = count_before(s, b, t, &count);

	assert(count < BLOCK_LEN);
	for (uint32_t i = count; i > pos; i--)
		set_entry(b, i, part_at(b, i - 1), entry_at(b, i - 1));
	set_entry(b, pos, key_part(t->key, shared), entry);
	set_count(b, count + 1);
}

/* All keys from that of one node up to that of another have this in common. */
static uint32_t shared_len(const struct skiplist *s, uint32_t a, uint32_t b)
{
	const struct skiplist_node *x = skiplist_node(s, a);
	const struct skiplist_node *y = skiplist_node(s, b);
	uint32_t max = x->key_len < y->key_len ? x->key_len : y->key_len;
	uint32_t n = 0;

	if (a == s->head)
		return 0;
	while (n < max && x->bytes[n] == y->bytes[n])
		n++;
	return n;
}

/* The range of the block got smaller: let the parts tell more. */
static void sharpen(const struct skiplist *s, struct block *b, uint32_t high)
{
	uint32_t count = block_count(b);
	uint32_t shared = shared_len(s, b->low, high);

	if (shared <= atomic_load_explicit(&b->shared, memory_order_relaxed))
		return;
	atomic_store_explicit(&b->shared, shared, memory_order_release);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = node_of_entry(s, b, i);
		struct cairn_slice key = skiplist_node_key(skiplist_node(s, n));

		atomic_store_explicit(&b->part[i], key_part(key, shared),
				      memory_order_release);
	}
}

/* 0 when there is no room. */
static uint32_t block_new(struct skiplist *s, uint32_t level, uint32_t low)
{
	uint32_t off = arena_alloc(s->blocks, sizeof(struct block));
	struct block *b = block_at(s, off);

	if (!off)
		return 0;
	/* The rest is zero as it comes. */
	b->level = level;
	b->low = low;
	b->low_prefix = skiplist_node_prefix(skiplist_node(s, low));
	return off;
}

/*
 * Add an entry, which stands for node, to a full block, by moving the upper
 * half to a new block. Behind the end of the level nothing is moved and the
 * entry begins the new block: ascending keys leave full blocks. Returns the new
 * block, which, if it is a lowest one, is locked; 0, and nothing done, when
 * there is no room. The tree is locked.
 */
static uint32_t split_insert(struct skiplist *s, struct block *b,
			     const struct target *t, uint32_t node,
			     uint32_t entry)
{
	uint32_t behind = next_block(b);
	uint32_t shared =
		atomic_load_explicit(&b->shared, memory_order_relaxed);
	uint32_t mid = BLOCK_LEN / 2;
	uint32_t count, off;
	struct block *n;

	assert(block_count(b) == BLOCK_LEN);
	if (!behind && count_before(s, b, t, &count) == BLOCK_LEN)
		mid = BLOCK_LEN;
	off = block_new(s, b->level,
			mid < BLOCK_LEN ? node_of_entry(s, b, mid) : node);
	if (!off)
		return 0;
	n = block_at(s, off);
	atomic_init(&n->lock, b->level == 0);
	atomic_init(&n->next, behind);
	atomic_init(&n->shared, shared);
	for (uint32_t i = mid; i < BLOCK_LEN; i++)
		set_entry(n, i - mid, part_at(b, i), entry_at(b, i));
	set_count(n, BLOCK_LEN - mid);
	/* Upper blocks are never empty, not even for a moment. */
	if (mid == BLOCK_LEN)
		insert_entry(s, n, t, entry);
	if (behind)
		sharpen(s, n, block_at(s, behind)->low);

	/* From here on others see it. */
	atomic_store_explicit(&b->next, off, memory_order_release);
	set_count(b, mid);
	sharpen(s, b, n->low);
	if (mid < BLOCK_LEN)
		insert_entry(s, begins_before(s, n, t) ? n : b, t, entry);
	return off;
}

/* A level more, over two blocks. */
static void grow(struct skiplist *s, uint32_t left, uint32_t right)
{
	uint32_t off = block_new(s, block_at(s, left)->level + 1, s->head);
	struct block *b = block_at(s, off);

	if (!off)
		return;
	set_entry(b, 0, 0, left);
	set_entry(b, 1, block_at(s, right)->low_prefix, right);
	set_count(b, 2);
	atomic_store_explicit(&s->root, off, memory_order_release);
}

/*
 * Name a new block in the level above, where this may split blocks in turn.
 * When there is no room it is reached from its left neighbour only. The tree is
 * locked.
 */
static void add_to_tree(struct skiplist *s, uint32_t off)
{
	while (off) {
		const struct block *child = block_at(s, off);
		const struct skiplist_node *low = skiplist_node(s, child->low);
		struct target t = { child->low_prefix,
				    skiplist_node_trailer(low),
				    skiplist_node_key(low) };
		uint32_t root =
			atomic_load_explicit(&s->root, memory_order_relaxed);
		struct block *b;

		if (block_at(s, root)->level == child->level) {
			grow(s, root, off);
			return;
		}
		b = block_at(s, descend(s, &t, child->level + 1));
		if (block_count(b) < BLOCK_LEN) {
			insert_entry(s, b, &t, off);
			return;
		}
		off = split_insert(s, b, &t, child->low, off);
	}
}

/* Lock the lowest block that t belongs to, *off or one to the right of it. */
static struct block *lock_block(struct skiplist *s, const struct target *t,
				uint32_t *off)
{
	for (;;) {
		struct block *b = block_at(s, *off);
		uint32_t next;

		if (!try_lock(&b->lock))
			return NULL;
		next = next_block(b);
		if (!next || !begins_before(s, block_at(s, next), t))
			return b;
		unlock(&b->lock);
		*off = next;
	}
}

/* Name a node of the list in its block, which is *off or to the right of it. */
static void add_to_block(struct skiplist *s, uint32_t node,
			 const struct target *t, uint32_t *off)
{
	struct block *b = lock_block(s, t, off);
	uint32_t half;

	if (!b)
		return;
	if (block_count(b) < BLOCK_LEN) {
		insert_entry(s, b, t, node);
	} else if (try_lock(&s->lock)) {
		half = split_insert(s, b, t, node, node);
		if (half) {
			/* Readers look at changes before and after. */
			atomic_fetch_add_explicit(&s->changes, 1,
						  memory_order_acq_rel);
			add_to_tree(s, half);
			atomic_fetch_add_explicit(&s->changes, 1,
						  memory_order_release);
			unlock(&block_at(s, half)->lock);
		}
		unlock(&s->lock);
	}
	unlock(&b->lock);
}

/* ------------------------------------------------------------------ the list
 */

size_t skiplist_blocks_len(size_t arena_len)
{
	/* Blocks half full of nodes without key or value, and those above. */
	size_t nodes = arena_len / arena_round(SKIPLIST_NODE_LEN) + 1;
	size_t blocks = nodes / BLOCK_LEAST_USED + 1;

	return (blocks + blocks / 16 + 16) * sizeof(struct block);
}

int skiplist_init(struct skiplist *s, struct arena *a, struct arena *blocks)
{
	uint32_t head = arena_alloc(a, SKIPLIST_NODE_LEN);

	/* With the null piece this makes a line, so that blocks begin one. */
	if (!head || !arena_alloc(blocks, CACHE_LINE_LEN - ARENA_ALIGN))
		return error_nomem();
	s->arena = a;
	s->base = a->base;
	s->blocks = blocks;
	s->head = head;
	atomic_init(&skiplist_node(s, head)->next, head);
	atomic_init(&skiplist_node(s, head)->prev, head);
	atomic_init(&s->lock, 0);
	atomic_init(&s->changes, 0);
	s->first = block_new(s, 0, head);
	if (!s->first)
		return error_nomem();
	atomic_init(&s->root, s->first);
	return CAIRN_OK;
}

/* A node that is not linked yet; 0 when there is no room. */
static uint32_t node_new(struct skiplist *s, const struct target *t,
			 struct cairn_slice value)
{
	bool is_long = value.len >= SKIPLIST_VALUE_LONG;
	size_t len = SKIPLIST_NODE_LEN + t->key.len;
	struct skiplist_node *n;
	uint8_t *p;
	uint32_t off;

	/* Each is compared by itself, so that the sum cannot wrap. */
	if (t->key.len > UINT16_MAX || value.len > ARENA_MAX)
		return 0;
	len += value.len + (is_long ? SKIPLIST_VALUE_LONG_LEN : 0);
	off = arena_alloc(s->arena, len);
	if (!off)
		return 0;

	n = skiplist_node(s, off);
	put_le64(n->trailer, t->trailer);
	n->chain = 0;
	n->key_len = (uint16_t)t->key.len;
	n->value_len = is_long ? SKIPLIST_VALUE_LONG : (uint16_t)value.len;
	p = n->bytes;
	if (t->key.len)
		memcpy(p, t->key.data, t->key.len);
	p += t->key.len;
	if (is_long)
		p = put_le32(p, (uint32_t)value.len);
	if (value.len)
		memcpy(p, value.data, value.len);
	return off;
}

/* Find the neighbours of t: walk from *prev, which is before t or the head. */
static void find_neighbours(const struct skiplist *s, const struct target *t,
			    uint32_t *prev, uint32_t *next)
{
	for (;;) {
		uint32_t n = skiplist_next(s, *prev);

		if (n == s->head || !before(s, n, t)) {
			*next = n;
			return;
		}
		*prev = n;
	}
}

/*
 * Link the node between two nodes that were neighbours when they were found, in
 * both directions: invariant 3.
 *
 *      prev ---------> next        1. node points to both
 *           <---------             2. CAS prev->next from next to node
 *           --> node -->           3. CAS next->prev from prev to node
 *           <--      <--
 *
 * Between 2 and 3 next->prev lags. Whoever wants to link between node and next
 * meanwhile does step 3 for us first, because it would otherwise find another
 * value than it expects in its own step 3.
 */
static int link_node(struct skiplist *s, uint32_t node, const struct target *t,
		     uint32_t prev, uint32_t next)
{
	struct skiplist_node *n = skiplist_node(s, node);
	_Atomic uint32_t *back;
	uint32_t seen;

	for (;;) {
		if (equals(s, next, t))
			return error_set(CAIRN_EEXIST,
					 "a version of a key appears twice");
		atomic_store_explicit(&n->prev, prev, memory_order_relaxed);
		atomic_store_explicit(&n->next, next, memory_order_relaxed);

		back = &skiplist_node(s, next)->prev;
		seen = atomic_load_explicit(back, memory_order_acquire);
		if (seen != prev && skiplist_next(s, prev) == next)
			atomic_compare_exchange_strong_explicit(
				back, &seen, prev, memory_order_release,
				memory_order_relaxed);

		seen = next;
		if (atomic_compare_exchange_strong_explicit(
			    &skiplist_node(s, prev)->next, &seen, node,
			    memory_order_release, memory_order_relaxed))
			break;
		find_neighbours(s, t, &prev, &next);
	}
	seen = prev;
	atomic_compare_exchange_strong_explicit(
		back, &seen, node, memory_order_release, memory_order_relaxed);
	return CAIRN_OK;
}

/*
 * A node before t found from a version of the same key, or 0 when it is too
 * far: overwriting a key needs no search. near may be newer or older than t.
 */
static uint32_t before_near(const struct skiplist *s, const struct target *t,
			    uint32_t near)
{
	if (skiplist_node_trailer(skiplist_node(s, near)) > t->trailer)
		return near;
	for (int i = 0; i < NEAR_STEPS_MAX; i++) {
		near = skiplist_prev(s, near);
		if (near == s->head || before(s, near, t))
			return near;
	}
	return 0;
}

/* Whether t belongs right behind what the thread inserted last. */
static bool splice_fits(const struct skiplist *s, const struct target *t,
			const struct skiplist_splice *sp)
{
	uint32_t next;

	if (!sp->run || !before(s, sp->last, t))
		return false;
	next = skiplist_next(s, sp->last);
	return next == s->head || !before(s, next, t);
}

static void locate(const struct skiplist *s, const struct target *t,
		   struct skiplist_splice *sp)
{
	sp->located = true;
	sp->run = splice_fits(s, t, sp);
	if (sp->run)
		return;
	sp->block = find_lowest(s, t);
	prefetch_block(block_at(s, sp->block));
}

void skiplist_locate(const struct skiplist *s, const struct ikey *key,
		     struct skiplist_splice *sp)
{
	struct target t = target_of(key);

	locate(s, &t, sp);
}

/* Link a node found through another version of its key. */
static int insert_behind(struct skiplist *s, uint32_t node,
			 const struct target *t, uint32_t prev)
{
	uint32_t next;

	find_neighbours(s, t, &prev, &next);
	return link_node(s, node, t, prev, next);
}

static int insert_located(struct skiplist *s, uint32_t node,
			  const struct target *t, bool named,
			  struct skiplist_splice *sp)
{
	uint32_t prev = sp->run ? sp->last : find_start(s, t, &sp->block);
	uint32_t next;
	int err;

	find_neighbours(s, t, &prev, &next);
	err = link_node(s, node, t, prev, next);
	if (err)
		return err;
	if (named)
		add_to_block(s, node, t, &sp->block);
	sp->run = prev == sp->last;
	sp->last = node;
	return CAIRN_OK;
}

/*
 * One node in four is named in a block: from there the way to the others is
 * short, and blocks take a quarter of the memory and of the time to change.
 * Which ones is to follow no pattern of the writers.
 */
static bool is_named(uint64_t trailer)
{
	return (trailer * 0x9e3779b97f4a7c15u) >> 62 == 0;
}

int skiplist_insert(struct skiplist *s, const struct ikey *key,
		    struct cairn_slice value, uint32_t near,
		    struct skiplist_splice *sp, uint32_t *node)
{
	struct target t = target_of(key);
	uint32_t prev = 0;
	bool named = is_named(key->trailer);
	uint32_t n = node_new(s, &t, value);
	int err;

	if (!n) {
		sp->located = false;
		return error_nomem();
	}
	if (near && !named)
		prev = before_near(s, &t, near);
	if (!prev && !sp->located)
		locate(s, &t, sp);
	sp->located = false;
	err = prev ? insert_behind(s, n, &t, prev)
		   : insert_located(s, n, &t, named, sp);
	if (err)
		return err;
	*node = n;
	return CAIRN_OK;
}

static void seek(const struct skiplist *s, const struct ikey *key,
		 uint32_t *prev, uint32_t *next)
{
	struct target t = target_of(key);
	uint32_t block = find_lowest(s, &t);

	prefetch_block(block_at(s, block));
	*prev = find_start(s, &t, &block);
	find_neighbours(s, &t, prev, next);
}

uint32_t skiplist_seek_ge(const struct skiplist *s, const struct ikey *key)
{
	uint32_t prev, next;

	seek(s, key, &prev, &next);
	return next;
}

uint32_t skiplist_seek_lt(const struct skiplist *s, const struct ikey *key)
{
	uint32_t prev, next;

	seek(s, key, &prev, &next);
	return prev;
}
