/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The child that stands on the merged position is kept outside of a binary
 * heap of the others, whose root is therefore the runner-up: while the child
 * in front stays ahead of it, a step costs one comparison and moves nothing.
 * Most comparisons are settled by the first eight bytes of the user key, kept
 * beside the pointer.
 */
#include "engine/kv/merging_iter.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/kv/range_del.h"

/* So many hidden entries of a child are passed one by one; then a seek is
 * cheaper. */
#define HIDDEN_STEPS_MAX 4

struct child {
	struct iter *it;
	uint64_t prefix; /* of its present user key, as a big-endian number */
};

struct merging_iter {
	struct iter base;
	bool reverse;
	struct child front; /* only when base.valid */
	/* Valid children but the front one; [0] comes next in the direction. */
	struct child *heap;
	size_t n_heap;
	size_t n;
	/* What keeps children from standing where a seek left them: */
	bool prefixed; /* some were sought by prefix and may be nowhere */
	bool unsure;   /* those that ended may go on: bounds have moved */
	bool hides;    /* entries that tombstones cover for readers at seqno */
	bool scoped;   /* and a child may have tombstones here */
	uint64_t seqno;
	struct iter *children[];
};

static struct child child_of(struct iter *it)
{
	return (struct child){ it, key_prefix(it->key.user_key) };
}

/* Whether a comes before b in the present direction. */
static bool child_before(const struct merging_iter *m, const struct child *a,
			 const struct child *b)
{
	int c;

	if (a->prefix != b->prefix)
		return (a->prefix < b->prefix) != m->reverse;
	c = ikey_cmp(&a->it->key, &b->it->key);
	/* The tombstones that end at a boundary count for an entry there. */
	if (c == 0)
		return b->it->boundary && !a->it->boundary;
	return m->reverse ? c > 0 : c < 0;
}

static void heap_sift_down(struct merging_iter *m, size_t i)
{
	struct child moving = m->heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= m->n_heap)
			break;
		if (kid + 1 < m->n_heap &&
		    child_before(m, &m->heap[kid + 1], &m->heap[kid]))
			kid++;
		if (!child_before(m, &m->heap[kid], &moving))
			break;
		m->heap[i] = m->heap[kid];
		i = kid;
	}
	m->heap[i] = moving;
}

static struct child heap_pop(struct merging_iter *m)
{
	struct child root = m->heap[0];

	m->heap[0] = m->heap[--m->n_heap];
	if (m->n_heap > 1)
		heap_sift_down(m, 0);
	return root;
}

static void fail(struct merging_iter *m, int status)
{
	m->base.valid = false;
	m->base.status = status;
}

static void pass_hidden(struct merging_iter *m);

static void show_front(struct merging_iter *m)
{
	if (m->scoped) {
		pass_hidden(m);
		return;
	}
	m->base.valid = true;
	m->base.key = m->front.it->key;
	m->base.value = m->front.it->value;
}

/* All children have just been positioned for the present direction. */
static void rebuild(struct merging_iter *m)
{
	m->base.valid = false;
	m->base.status = CAIRN_OK;
	m->scoped = false;
	m->n_heap = 0;
	for (size_t i = 0; i < m->n; i++) {
		struct iter *it = m->children[i];

		if (it->scope)
			m->scoped = m->hides;
		if (it->valid) {
			m->heap[m->n_heap++] = child_of(it);
		} else if (it->status) {
			fail(m, it->status);
			return;
		}
	}
	if (m->n_heap == 0)
		return;
	for (size_t i = m->n_heap / 2; i-- > 0;)
		heap_sift_down(m, i);
	m->front = heap_pop(m);
	show_front(m);
}

/*
 * The front child has moved in the present direction: find who is in front now.
 * False when nobody is, at the end or after a failure.
 */
static bool find_front(struct merging_iter *m)
{
	struct iter *it = m->front.it;

	if (it->valid) {
		m->front.prefix = key_prefix(it->key.user_key);
		if (m->n_heap && child_before(m, &m->heap[0], &m->front)) {
			struct child was = m->front;

			m->front = m->heap[0];
			m->heap[0] = was;
			heap_sift_down(m, 0);
		}
	} else if (it->status) {
		fail(m, it->status);
		return false;
	} else if (m->n_heap) {
		m->front = heap_pop(m);
	} else {
		m->base.valid = false;
		return false;
	}
	return true;
}

/* The front child has moved one step in the present direction. */
static void advance(struct merging_iter *m)
{
	if (m->front.it->scope)
		m->scoped = m->hides;
	if (find_front(m))
		show_front(m);
}

/* ------------------------------------------------------------ hidden entries
 */

/*
 * The first child, by age, whose tombstones cover the entry in front; NULL when
 * there is none. *behind: the entry's child is behind it, so that all its
 * entries there are covered, too. Tells whether any child has tombstones.
 */
static struct range_scope *find_cover(struct merging_iter *m, bool *behind)
{
	const struct ikey *key = &m->front.it->key;

	*behind = true;
	m->scoped = false;
	for (size_t i = 0; i < m->n; i++) {
		struct iter *it = m->children[i];

		if (it == m->front.it)
			*behind = false;
		if (!it->scope)
			continue;
		m->scoped = true;
		if (range_scope_cover(it->scope, key, m->seqno) >
		    ikey_seqno(key))
			return it->scope;
	}
	return NULL;
}

static int out_of_order(void)
{
	return error_set(CAIRN_ECORRUPT, "keys of a table out of order");
}

/* Move the front child, which s covers, to where that ends. */
static int seek_past(struct merging_iter *m, struct range_scope *s)
{
	struct iter *it = m->front.it;
	struct ikey to;

	/* A child must not come back to where it was. */
	if (m->reverse) {
		range_scope_to_start(s, it->key.user_key, m->seqno, &to);
		iter_seek_lt(it, &to);
		return it->valid && ikey_cmp(&it->key, &to) >= 0
			       ? out_of_order()
			       : CAIRN_OK;
	}
	if (!range_scope_to_end(s, it->key.user_key, m->seqno, &to)) {
		iter_next(it);
		return CAIRN_OK;
	}
	iter_seek_forward(it, &to);
	return it->valid && ikey_cmp(&it->key, &to) < 0 ? out_of_order()
							: CAIRN_OK;
}

static void step_front(struct merging_iter *m)
{
	if (m->reverse)
		iter_prev(m->front.it);
	else
		iter_next(m->front.it);
}

/*
 * From the entry in front, find one that is not hidden and show it.
 */
static void pass_hidden(struct merging_iter *m)
{
	const struct iter *passing = NULL;
	unsigned steps = 0;

	for (;;) {
		struct iter *it = m->front.it;
		struct range_scope *cover = NULL;
		bool behind = false;
		int err = CAIRN_OK;

		if (!it->boundary) {
			cover = find_cover(m, &behind);
			if (!cover)
				break;
		}
		if (it != passing) {
			passing = it;
			steps = 0;
		}
		if (cover && behind && ++steps > HIDDEN_STEPS_MAX) {
			steps = 0;
			err = seek_past(m, cover);
		} else {
			step_front(m);
		}
		if (err) {
			fail(m, err);
			return;
		}
		if (it->scope)
			m->scoped = true;
		if (!find_front(m))
			return;
	}
	m->base.valid = true;
	m->base.key = m->front.it->key;
	m->base.value = m->front.it->value;
}

/*
 * Children are positioned one after the other, the newest first. What the
 * tombstones of one cover from *target on, those behind it need not look at.
 */
static void raise_target(const struct merging_iter *m, const struct iter *it,
			 struct ikey *target)
{
	struct ikey to;

	if (m->hides && it->scope &&
	    range_scope_cover(it->scope, target, m->seqno) &&
	    range_scope_to_end(it->scope, target->user_key, m->seqno, &to))
		*target = to;
}

/* All children are going to be positioned, whatever they were at. */
static void begin(struct merging_iter *m, bool reverse)
{
	m->reverse = reverse;
	m->prefixed = false;
	m->unsure = false;
}

static void merging_first(struct iter *base)
{
	struct merging_iter *m = (struct merging_iter *)base;

	begin(m, false);
	for (size_t i = 0; i < m->n; i++)
		iter_first(m->children[i]);
	rebuild(m);
}

static void merging_last(struct iter *base)
{
	struct merging_iter *m = (struct merging_iter *)base;

	begin(m, true);
	for (size_t i = 0; i < m->n; i++)
		iter_last(m->children[i]);
	rebuild(m);
}

static void merging_seek_ge(struct iter *base, const struct ikey *target)
{
	struct merging_iter *m = (struct merging_iter *)base;
	struct ikey from = *target;

	begin(m, false);
	for (size_t i = 0; i < m->n; i++) {
		iter_seek_ge(m->children[i], &from);
		raise_target(m, m->children[i], &from);
	}
	rebuild(m);
}

/*
 * Going forward each child stands on its first entry at or above the merged
 * position, so one that is not before the target needs no seek, and one that
 * has ended has nothing there. This holds for all children or, where it does
 * not, none is spared; Pebble once let a child be clever that had not been
 * positioned, and deleted keys came back.
 */
static void merging_seek_forward(struct iter *base, const struct ikey *target)
{
	struct merging_iter *m = (struct merging_iter *)base;
	struct ikey from = *target;

	if (!base->valid || m->reverse || m->prefixed) {
		merging_seek_ge(base, target);
		return;
	}
	for (size_t i = 0; i < m->n; i++) {
		struct iter *it = m->children[i];

		if (!it->valid) {
			if (m->unsure)
				iter_seek_ge(it, &from);
		} else if (ikey_cmp(&it->key, &from) < 0) {
			iter_seek_forward(it, &from);
		}
		raise_target(m, it, &from);
	}
	m->unsure = false;
	rebuild(m);
}

static void merging_bounds_moved(struct iter *base)
{
	struct merging_iter *m = (struct merging_iter *)base;

	m->unsure = true;
}

static int merging_pin(struct iter *base, struct cairn_pinned *out)
{
	struct merging_iter *m = (struct merging_iter *)base;

	assert(base->valid);
	return iter_pin(m->front.it, out);
}

static void merging_seek_lt(struct iter *base, const struct ikey *target)
{
	struct merging_iter *m = (struct merging_iter *)base;

	begin(m, true);
	for (size_t i = 0; i < m->n; i++)
		iter_seek_lt(m->children[i], target);
	rebuild(m);
}

static void merging_seek_prefix_ge(struct iter *base, const struct ikey *target,
				   struct cairn_slice prefix)
{
	struct merging_iter *m = (struct merging_iter *)base;

	begin(m, false);
	m->prefixed = true;
	for (size_t i = 0; i < m->n; i++)
		iter_seek_prefix_ge(m->children[i], target, prefix);
	rebuild(m);
}

/*
 * Turn round on the present entry: every other child goes to its neighbour of
 * that entry on the other side, whether it had an entry left or not. The front
 * child is last, because the key is in its memory.
 */
static void turn_round(struct merging_iter *m)
{
	struct iter *front = m->front.it;
	struct ikey here = m->base.key;

	m->reverse = !m->reverse;
	for (size_t i = 0; i < m->n; i++) {
		struct iter *it = m->children[i];

		if (it == front)
			continue;
		if (m->reverse)
			iter_seek_lt(it, &here);
		else
			iter_seek_ge(it, &here);
	}
	if (m->reverse)
		iter_prev(front);
	else
		iter_next(front);
	rebuild(m);
}

static void merging_next(struct iter *base)
{
	struct merging_iter *m = (struct merging_iter *)base;

	assert(base->valid);
	if (m->reverse) {
		turn_round(m);
		return;
	}
	iter_next(m->front.it);
	advance(m);
}

static void merging_prev(struct iter *base)
{
	struct merging_iter *m = (struct merging_iter *)base;

	assert(base->valid);
	if (!m->reverse) {
		turn_round(m);
		return;
	}
	iter_prev(m->front.it);
	advance(m);
}

static void merging_close(struct iter *base)
{
	struct merging_iter *m = (struct merging_iter *)base;

	for (size_t i = 0; i < m->n; i++)
		iter_close(m->children[i]);
	free(m->heap);
	free(m);
}

static const struct iter_ops merging_ops = {
	.first = merging_first,
	.last = merging_last,
	.seek_ge = merging_seek_ge,
	.seek_lt = merging_seek_lt,
	.seek_prefix_ge = merging_seek_prefix_ge,
	.seek_forward = merging_seek_forward,
	.bounds_moved = merging_bounds_moved,
	.pin = merging_pin,
	.next = merging_next,
	.prev = merging_prev,
	.close = merging_close,
};

static int new_merging(struct iter **children, size_t n,
		       struct merging_iter **out)
{
	struct merging_iter *m;

	m = calloc(1, sizeof(*m) + n * sizeof(m->children[0]));
	if (m)
		m->heap = malloc((n ? n : 1) * sizeof(m->heap[0]));
	if (!m || !m->heap) {
		for (size_t i = 0; i < n; i++)
			iter_close(children[i]);
		free(m);
		return error_nomem();
	}
	m->base.ops = &merging_ops;
	m->n = n;
	if (n)
		memcpy(m->children, children, n * sizeof(m->children[0]));
	*out = m;
	return CAIRN_OK;
}

int merging_iter_new(struct iter **children, size_t n, struct iter **out)
{
	struct merging_iter *m;
	int err;

	if (n == 1) {
		*out = children[0];
		return CAIRN_OK;
	}
	err = new_merging(children, n, &m);
	if (!err)
		*out = &m->base;
	return err;
}

int merging_iter_new_hiding(struct iter **children, size_t n, uint64_t seqno,
			    struct iter **out)
{
	struct merging_iter *m;
	int err = new_merging(children, n, &m);

	if (err)
		return err;
	m->hides = true;
	m->seqno = seqno;
	*out = &m->base;
	return CAIRN_OK;
}
