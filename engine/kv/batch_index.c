/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes are pieces of one array of words, named by where they begin: the array
 * may move as it grows. The first node is the head, before and behind all.
 */
#include "engine/kv/batch_index.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/kv/merging_iter.h"

#define HEIGHT_MAX 12
#define BRANCHING  4 /* one node in so many is in the next list up, too */
#define HEAD       0

/* So many range deletions are looked through one by one. A set of them is made
 * when there are more, and when looking has cost as much as making one does. */
#define LOOSE_MAX 16
#define SET_COST  8

struct node {
	uint64_t prefix; /* key_prefix() */
	uint32_t key;    /* places in the batch's bytes */
	uint32_t value;
	uint32_t value_len;
	uint32_t number;
	uint16_t key_len;
	uint8_t kind;
	uint8_t height;
	uint32_t prev;  /* in the lowest list */
	uint32_t added; /* the node that was added before; HEAD: none */
	uint32_t next[];
};

_Static_assert(CAIRN_KEY_MAX <= UINT16_MAX, "key lengths are 16 bits");

/* A range deletion; places as above. */
struct range {
	uint32_t start;
	uint32_t end;
	uint16_t start_len;
	uint16_t end_len;
	uint32_t number;
};

struct batch_index {
	uint32_t refs;
	const uint8_t *bytes;      /* the batch's */
	struct batch_block *owned; /* where they are, once the batch let go */
	uint64_t *words;           /* nodes */
	size_t n_words;
	size_t words_cap;
	uint32_t last; /* node added last; HEAD: none */
	struct rng rng;
	struct range *range;
	size_t n_ranges;
	size_t ranges_cap;
	/* A set of the first n_set ranges, and how many others were looked at
	 * since it was made. */
	struct range_dels *set;
	size_t n_set;
	size_t looks;
};

static size_t words_of(unsigned height)
{
	return (sizeof(struct node) + height * sizeof(uint32_t) + 7) / 8;
}

static struct node *node_at(const struct batch_index *x, uint32_t node)
{
	return (struct node *)(void *)(x->words + node);
}

static struct cairn_slice node_key(const struct batch_index *x,
				   const struct node *n)
{
	return slice_of(x->bytes + n->key, n->key_len);
}

static uint64_t node_trailer(const struct node *n)
{
	return ikey_pack(BATCH_SEQNO + n->number, n->kind);
}

/* -------------------------------------------------------------- the object */

static void make_head(struct batch_index *x)
{
	struct node *head = node_at(x, HEAD);

	memset(head, 0, 8 * words_of(HEIGHT_MAX));
	head->height = HEIGHT_MAX;
	x->n_words = words_of(HEIGHT_MAX);
	x->last = HEAD;
}

int batch_index_new(const uint8_t *bytes, struct batch_index **out)
{
	struct batch_index *x = calloc(1, sizeof(*x));

	if (x) {
		x->words_cap = 8 * words_of(HEIGHT_MAX);
		x->words = malloc(x->words_cap * sizeof(x->words[0]));
	}
	if (!x || !x->words) {
		free(x);
		return error_nomem();
	}
	x->refs = 1;
	x->bytes = bytes;
	rng_init(&x->rng, 1);
	make_head(x);
	*out = x;
	return CAIRN_OK;
}

static void unref(struct batch_index *x)
{
	assert(x->refs > 0);
	if (--x->refs)
		return;
	range_dels_unref(x->set);
	batch_block_unref(x->owned);
	free(x->range);
	free(x->words);
	free(x);
}

void batch_index_detach(struct batch_index *x, struct batch_block **block)
{
	assert(!x->owned);
	if (x->refs > 1) {
		x->owned = *block;
		*block = NULL;
	}
	unref(x);
}

bool batch_index_shared(const struct batch_index *x)
{
	return x->refs > 1;
}

void batch_index_moved(struct batch_index *x, const uint8_t *bytes)
{
	x->bytes = bytes;
}

int batch_index_build(struct cairn_slice bytes, struct batch_index **out)
{
	struct batch_reader r;
	struct batch_index *x;
	uint32_t number = 0;
	struct batch_op op;
	int err;

	err = batch_reader_init(&r, bytes);
	if (err)
		return err;
	err = batch_index_new(bytes.data, &x);
	if (err)
		return err;
	while ((err = batch_reader_next(&r, &op)) == CAIRN_OK) {
		if (op.kind == KIND_LOG_DATA)
			continue;
		err = batch_index_reserve(x);
		if (err)
			break;
		batch_index_add(x, &op, number++);
	}
	if (err != CAIRN_NOT_FOUND) {
		unref(x);
		return err;
	}
	*out = x;
	return CAIRN_OK;
}

/* ----------------------------------------------------------------- searching
 */

/* A place between nodes. */
struct target {
	uint64_t prefix;
	struct ikey key;
};

static struct target target_of(const struct ikey *key)
{
	return (struct target){ key_prefix(key->user_key), *key };
}

static bool node_before(const struct batch_index *x, uint32_t node,
			const struct target *t)
{
	const struct node *n = node_at(x, node);
	struct ikey key;

	if (n->prefix != t->prefix)
		return n->prefix < t->prefix;
	key = (struct ikey){ node_key(x, n), node_trailer(n) };
	return ikey_cmp(&key, &t->key) < 0;
}

/* The last node before the place in each list; before may be NULL. Returns the
 * one in the lowest. */
static uint32_t find_before(const struct batch_index *x, const struct target *t,
			    uint32_t *before)
{
	uint32_t at = HEAD;

	for (unsigned h = HEIGHT_MAX; h-- > 0;) {
		uint32_t next = node_at(x, at)->next[h];

		while (next != HEAD && node_before(x, next, t)) {
			at = next;
			next = node_at(x, at)->next[h];
		}
		if (before)
			before[h] = at;
	}
	return at;
}

/* ------------------------------------------------------------------ changing
 */

static int reserve_words(struct batch_index *x)
{
	size_t cap = 2 * x->words_cap;
	uint64_t *p;

	if (x->words_cap - x->n_words >= words_of(HEIGHT_MAX))
		return CAIRN_OK;
	/* Nodes are named in 32 bits. */
	if (cap > UINT32_MAX)
		return error_set(CAIRN_EINVAL,
				 "indexed batch has too many changes");
	p = realloc(x->words, cap * sizeof(*p));
	if (!p)
		return error_nomem();
	x->words = p;
	x->words_cap = cap;
	return CAIRN_OK;
}

static int reserve_range(struct batch_index *x)
{
	size_t cap = x->ranges_cap ? 2 * x->ranges_cap : 8;
	struct range *p;

	if (x->n_ranges < x->ranges_cap)
		return CAIRN_OK;
	p = realloc(x->range, cap * sizeof(*p));
	if (!p)
		return error_nomem();
	x->range = p;
	x->ranges_cap = cap;
	return CAIRN_OK;
}

int batch_index_reserve(struct batch_index *x)
{
	int err = reserve_words(x);

	return err ? err : reserve_range(x);
}

static uint32_t place_of(const struct batch_index *x, struct cairn_slice s)
{
	return s.len ? (uint32_t)(s.data - x->bytes) : 0;
}

static void add_range(struct batch_index *x, const struct batch_op *op,
		      uint32_t number)
{
	assert(x->n_ranges < x->ranges_cap);
	x->range[x->n_ranges++] = (struct range){
		.start = place_of(x, op->key),
		.start_len = (uint16_t)op->key.len,
		.end = place_of(x, op->value),
		.end_len = (uint16_t)op->value.len,
		.number = number,
	};
}

static unsigned random_height(struct batch_index *x)
{
	unsigned h = 1;

	while (h < HEIGHT_MAX && rng_one_in(&x->rng, BRANCHING))
		h++;
	return h;
}

void batch_index_add(struct batch_index *x, const struct batch_op *op,
		     uint32_t number)
{
	const struct ikey key =
		ikey_make(op->key, BATCH_SEQNO + number, op->kind);
	const struct target t = target_of(&key);
	unsigned height = random_height(x);
	uint32_t before[HEIGHT_MAX];
	uint32_t node = (uint32_t)x->n_words;
	struct node *n = node_at(x, node);

	if (op->kind == KIND_RANGE_DELETE) {
		add_range(x, op, number);
		return;
	}
	assert(x->words_cap - x->n_words >= words_of(height));
	x->n_words += words_of(height);
	*n = (struct node){
		.prefix = t.prefix,
		.key = place_of(x, op->key),
		.key_len = (uint16_t)op->key.len,
		.value = place_of(x, op->value),
		.value_len = (uint32_t)op->value.len,
		.number = number,
		.kind = op->kind,
		.height = (uint8_t)height,
		.added = x->last,
	};
	x->last = node;
	n->prev = find_before(x, &t, before);
	for (unsigned h = 0; h < height; h++) {
		n->next[h] = node_at(x, before[h])->next[h];
		node_at(x, before[h])->next[h] = node;
	}
	node_at(x, n->next[0])->prev = node;
}

static void unlink_node(struct batch_index *x, uint32_t node)
{
	const struct node *n = node_at(x, node);
	const struct ikey key = { node_key(x, n), node_trailer(n) };
	const struct target t = target_of(&key);
	uint32_t before[HEIGHT_MAX];

	(void)find_before(x, &t, before);
	for (unsigned h = 0; h < n->height; h++) {
		assert(node_at(x, before[h])->next[h] == node);
		node_at(x, before[h])->next[h] = n->next[h];
	}
	node_at(x, n->next[0])->prev = n->prev;
}

static void drop_set(struct batch_index *x)
{
	range_dels_unref(x->set);
	x->set = NULL;
	x->n_set = 0;
	x->looks = 0;
}

void batch_index_truncate(struct batch_index *x, uint32_t count)
{
	assert(x->refs == 1);
	while (x->last != HEAD && node_at(x, x->last)->number >= count) {
		unlink_node(x, x->last);
		x->n_words = x->last;
		x->last = node_at(x, x->last)->added;
	}
	while (x->n_ranges && x->range[x->n_ranges - 1].number >= count)
		x->n_ranges--;
	if (x->n_set > x->n_ranges)
		drop_set(x);
}

void batch_index_clear(struct batch_index *x)
{
	assert(x->refs == 1);
	make_head(x);
	x->n_ranges = 0;
	drop_set(x);
}

/* ---------------------------------------------------------- range deletions */

static struct range_del range_at(const struct batch_index *x, size_t i)
{
	const struct range *r = &x->range[i];

	return (struct range_del){
		.start = slice_of(x->bytes + r->start, r->start_len),
		.end = slice_of(x->bytes + r->end, r->end_len),
		.seqno = BATCH_SEQNO + r->number,
	};
}

/* Have a set of all ranges; there are some. */
static int renew_set(struct batch_index *x)
{
	struct range_del_list l = { 0 };
	struct range_dels *set = NULL;
	int err = CAIRN_OK;

	if (x->n_set == x->n_ranges)
		return CAIRN_OK;
	for (size_t i = 0; !err && i < x->n_ranges; i++) {
		const struct range_del d = range_at(x, i);

		err = range_del_list_add(&l, &d);
	}
	if (!err)
		err = range_dels_new(&l, &set);
	range_del_list_fini(&l);
	if (err)
		return err;
	drop_set(x);
	x->set = set;
	x->n_set = x->n_ranges;
	return CAIRN_OK;
}

uint64_t batch_cover(const struct cairn_batch *b, struct cairn_slice key)
{
	struct batch_index *x = b->index;
	size_t loose;

	if (!x || !x->n_ranges)
		return 0;
	loose = x->n_ranges - x->n_set;
	x->looks += loose;
	/* Without memory for a set, one by one does as well. */
	if (loose > LOOSE_MAX && x->looks / SET_COST > x->n_ranges)
		(void)!renew_set(x);
	for (size_t i = x->n_ranges; i-- > x->n_set;) {
		const struct range_del d = range_at(x, i);

		/* The last one is the newest. */
		if (slice_cmp(d.start, key) <= 0 && slice_cmp(key, d.end) < 0)
			return d.seqno;
	}
	return x->set ? range_dels_cover(x->set, key, SEQNO_MAX) : 0;
}

/* ------------------------------------------------------------------- reading
 */

static void show_version(const struct batch_index *x, uint32_t node,
			 struct cairn_slice key, struct batch_version *v)
{
	const struct node *n = node_at(x, node);

	*v = (struct batch_version){ 0 };
	if (node == HEAD || !slice_eq(node_key(x, n), key))
		return;
	v->node = node;
	v->trailer = node_trailer(n);
	v->value = slice_of(x->bytes + n->value, n->value_len);
}

int batch_refuse_unindexed(void)
{
	return error_set(CAIRN_EINVAL, "batch is not indexed: make it with "
				       "cairn_batch_new_indexed()");
}

void batch_find(const struct cairn_batch *b, struct cairn_slice key,
		struct batch_version *v)
{
	const struct ikey newest = ikey_seek(key, SEQNO_MAX);
	const struct target t = target_of(&newest);
	const struct batch_index *x = b->index;

	*v = (struct batch_version){ 0 };
	if (!x)
		return;
	show_version(x, node_at(x, find_before(x, &t, NULL))->next[0], key, v);
}

void batch_find_older(const struct cairn_batch *b, struct batch_version *v)
{
	const struct batch_index *x = b->index;
	const struct node *n = node_at(x, v->node);

	show_version(x, n->next[0], node_key(x, n), v);
}

/* --------------------------------------------------------------------- views
 */

int batch_view_init(struct batch_view *v, const struct cairn_batch *b)
{
	int err;

	if (!b->indexed)
		return batch_refuse_unindexed();
	*v = (struct batch_view){ 0 };
	if (!b->count)
		return CAIRN_OK;
	if (b->index->n_ranges) {
		err = renew_set(b->index);
		if (err)
			return err;
		v->dels = range_dels_ref(b->index->set);
	}
	v->index = b->index;
	v->index->refs++;
	v->block = batch_share(b);
	v->count = b->count;
	return CAIRN_OK;
}

void batch_view_copy(struct batch_view *to, const struct batch_view *from)
{
	*to = *from;
	if (to->index)
		to->index->refs++;
	if (to->block)
		batch_block_ref(to->block);
	if (to->dels)
		range_dels_ref(to->dels);
}

void batch_view_fini(struct batch_view *v)
{
	if (v->index)
		unref(v->index);
	batch_block_unref(v->block);
	range_dels_unref(v->dels);
	*v = (struct batch_view){ 0 };
}

struct view_iter {
	struct iter base;
	struct batch_view view;
	struct range_scope scope;
	uint32_t node;
};

/* Whether the view has the node, which may have been added later. */
static bool in_view(const struct view_iter *vi, uint32_t node)
{
	return node_at(vi->view.index, node)->number < vi->view.count;
}

static void stand_at(struct view_iter *vi, uint32_t node)
{
	const struct node *n = node_at(vi->view.index, node);
	const uint8_t *bytes = vi->view.block->data;

	vi->node = node;
	vi->base.valid = node != HEAD;
	if (node == HEAD)
		return;
	vi->base.key.user_key = slice_of(bytes + n->key, n->key_len);
	vi->base.key.trailer = node_trailer(n);
	vi->base.value = slice_of(bytes + n->value, n->value_len);
}

static void go_forward(struct view_iter *vi, uint32_t node)
{
	while (node != HEAD && !in_view(vi, node))
		node = node_at(vi->view.index, node)->next[0];
	stand_at(vi, node);
}

static void go_backward(struct view_iter *vi, uint32_t node)
{
	while (node != HEAD && !in_view(vi, node))
		node = node_at(vi->view.index, node)->prev;
	stand_at(vi, node);
}

static void view_first(struct iter *it)
{
	struct view_iter *vi = (struct view_iter *)it;

	go_forward(vi, node_at(vi->view.index, HEAD)->next[0]);
}

static void view_last(struct iter *it)
{
	struct view_iter *vi = (struct view_iter *)it;

	go_backward(vi, node_at(vi->view.index, HEAD)->prev);
}

static void view_seek_ge(struct iter *it, const struct ikey *target)
{
	struct view_iter *vi = (struct view_iter *)it;
	const struct target t = target_of(target);
	uint32_t before = find_before(vi->view.index, &t, NULL);

	go_forward(vi, node_at(vi->view.index, before)->next[0]);
}

static void view_seek_lt(struct iter *it, const struct ikey *target)
{
	struct view_iter *vi = (struct view_iter *)it;
	const struct target t = target_of(target);

	go_backward(vi, find_before(vi->view.index, &t, NULL));
}

static void view_next(struct iter *it)
{
	struct view_iter *vi = (struct view_iter *)it;

	assert(it->valid);
	go_forward(vi, node_at(vi->view.index, vi->node)->next[0]);
}

static void view_prev(struct iter *it)
{
	struct view_iter *vi = (struct view_iter *)it;

	assert(it->valid);
	go_backward(vi, node_at(vi->view.index, vi->node)->prev);
}

static void view_close(struct iter *it)
{
	struct view_iter *vi = (struct view_iter *)it;

	batch_view_fini(&vi->view);
	free(vi);
}

static const struct iter_ops view_ops = {
	.first = view_first,
	.last = view_last,
	.seek_ge = view_seek_ge,
	.seek_lt = view_seek_lt,
	.next = view_next,
	.prev = view_prev,
	.close = view_close,
};

int batch_view_iter(const struct batch_view *v, struct iter **out)
{
	struct view_iter *vi;

	if (!v->index)
		return merging_iter_new(NULL, 0, out);
	vi = calloc(1, sizeof(*vi));
	if (!vi)
		return error_nomem();
	batch_view_copy(&vi->view, v);
	vi->base.ops = &view_ops;
	if (v->dels) {
		vi->scope.set = v->dels;
		vi->scope.newest = true;
		vi->base.scope = &vi->scope;
	}
	*out = &vi->base;
	return CAIRN_OK;
}
