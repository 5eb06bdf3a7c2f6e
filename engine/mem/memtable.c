/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/memtable.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"
#include "engine/mem/batch_table.h"
#include "engine/mem/key_index.h"

#define CAPACITY_MAX ((UINT64_C(4) << 30) - (UINT64_C(64) << 10))

/* Steps between versions of a key before a search from the top is cheaper. */
#define VERSION_STEPS_MAX 8

/* How often an iterator tries a step before a search, see there. */
#define STEP_TRIES  2
#define STEP_PERIOD 16

/*
 * One slot of the index for so many bytes: about one for each entry with a
 * value of 100 bytes, at 3 % of the memory.
 */
#define BYTES_PER_SLOT 128
#define SLOTS_MIN      16
#define SLOTS_MAX      ((size_t)1 << 22)

/*
 * So many range tombstones are looked through one by one. A set of them is made
 * when there are more, and made anew when looking through those that have come
 * since has cost as much as SET_COST looks at each tombstone.
 */
#define LOOSE_TOMBS_MAX 16
#define SET_COST        8

/*
 * Range tombstones are in a stack, which is pushed to without a lock; each is a
 * piece of the arena.
 */
struct range_node {
	uint8_t seqno[8]; /* little-endian; pieces are aligned to 4 bytes */
	uint32_t next;    /* older; 0: none */
	uint32_t depth;   /* of the stack from here down */
	uint32_t start_len;
	uint32_t end_len;
	uint8_t bytes[]; /* start, then end */
};

#define RANGE_NODE_LEN offsetof(struct range_node, bytes)

_Static_assert(ARENA_ALIGN == 4, "two bits of a trail are free");
_Static_assert(RANGE_NODE_LEN + ARENA_ALIGN - 1 <= SKIPLIST_NODE_OVERHEAD,
	       "memtable_batch_cost() must bound what a tombstone takes");

/*
 * Space. A batch is let in by its upper bound (memtable_batch_cost()), which
 * stays in pending until it is applied; what it really took is then in the
 * arena's count. At every moment arena use + pending bounds what all batches
 * that were let in will have taken. The blocks of the list come from an arena
 * that is large enough for all cases; what they take is counted when a batch
 * asks to be let in.
 */
struct memtable {
	/* Constant. */
	struct batch_table *batch; /* NULL: not made of one. Else there are no
				    * list, index and arenas. */
	struct skiplist list;
	struct key_index index;
	size_t capacity;
	size_t overhead; /* of the empty table, not part of the capacity */
	struct arena blocks;
	uint64_t log_number;

	_Atomic uint32_t refs;
	_Atomic uint32_t writers;

	/* Set by memtable_retire(), under a reference. */
	_Atomic uint64_t *zombie_bytes;
	uint64_t retired_bytes;

	/* The last range tombstone; 0: there is none. */
	_Atomic uint32_t range_top;

	/* Written once for each batch. */
	_Atomic uint64_t pending;
	_Atomic uint64_t entries;
	_Atomic uint64_t smallest; /* UINT64_MAX when empty */
	_Atomic uint64_t largest;
	_Atomic uint64_t trail; /* of the last batch, packed; see load_trail */

	struct mutex range_mu; /* a leaf lock */
	/* Guarded by range_mu: a set of the tombstones from range_set_top down,
	 * and how many others have been looked at one by one since. */
	struct range_dels *range_set;
	uint32_t range_set_top;
	uint64_t range_looks;

	/* Written for each entry: on a cache line of its own. */
	_Alignas(64) struct arena arena;
};

static size_t slots_for(size_t capacity)
{
	size_t n = SLOTS_MIN;

	while (n < SLOTS_MAX && n < capacity / BYTES_PER_SLOT)
		n *= 2;
	/* Near the end of the address range the capacity goes first. */
	while (n > SLOTS_MIN &&
	       capacity + KEY_INDEX_LEN(n) > ARENA_MAX - 2 * SKIPLIST_HEAD_LEN)
		n /= 2;
	return n;
}

int memtable_new(size_t capacity, uint64_t log_number, struct memtable **out)
{
	size_t n_slots = slots_for(capacity);
	struct memtable *m;
	int err;

	if (capacity > CAPACITY_MAX)
		return error_set(
			CAIRN_EINVAL,
			"memtable of %zu bytes is larger than %" PRIu64,
			capacity, CAPACITY_MAX);
	m = aligned_alloc(_Alignof(struct memtable), sizeof(*m));
	if (!m)
		return error_nomem();
	memset(m, 0, sizeof(*m));
	err = arena_init(&m->arena, ARENA_ALIGN + SKIPLIST_HEAD_LEN +
					    KEY_INDEX_LEN(n_slots) + capacity);
	if (err)
		goto fail;
	err = arena_init(&m->blocks, skiplist_blocks_len(capacity));
	if (err)
		goto fail;
	err = skiplist_init(&m->list, &m->arena, &m->blocks);
	if (err)
		goto fail;
	err = key_index_init(&m->index, &m->arena, n_slots);
	if (err)
		goto fail;
	m->capacity = capacity;
	m->overhead = arena_used(&m->arena) + arena_used(&m->blocks);
	m->log_number = log_number;
	atomic_init(&m->refs, 1);
	atomic_init(&m->writers, 1);
	atomic_init(&m->smallest, UINT64_MAX);
	mutex_init(&m->range_mu);
	*out = m;
	return CAIRN_OK;
fail:
	arena_fini(&m->blocks);
	arena_fini(&m->arena);
	free(m);
	return err;
}

int memtable_new_of_batch(const struct cairn_batch *b, struct memtable **out)
{
	struct memtable *m =
		aligned_alloc(_Alignof(struct memtable), sizeof(*m));
	int err;

	if (!m)
		return error_nomem();
	memset(m, 0, sizeof(*m));
	err = batch_table_new(b, &m->batch);
	if (err) {
		free(m);
		return err;
	}
	m->capacity = batch_table_bytes(m->batch);
	atomic_init(&m->refs, 1);
	atomic_init(&m->writers, 1);
	atomic_init(&m->smallest, UINT64_MAX);
	mutex_init(&m->range_mu);
	*out = m;
	return CAIRN_OK;
}

void memtable_set_log_number(struct memtable *m, uint64_t log_number)
{
	assert(m->batch);
	m->log_number = log_number;
}

bool memtable_is_batch(const struct memtable *m)
{
	return m->batch;
}

void memtable_ref(struct memtable *m)
{
	uint32_t old =
		atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);

	assert(old > 0);
	(void)old;
}

void memtable_unref(struct memtable *m)
{
	uint32_t old;

	if (!m)
		return;
	/* Release our uses to the last one, who acquires them all to free. */
	old = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
	assert(old > 0);
	if (old > 1)
		return;
	if (m->zombie_bytes)
		atomic_fetch_sub_explicit(m->zombie_bytes, m->retired_bytes,
					  memory_order_relaxed);
	range_dels_unref(m->range_set);
	mutex_fini(&m->range_mu);
	if (m->batch) {
		batch_table_free(m->batch);
	} else {
		arena_fini(&m->blocks);
		arena_fini(&m->arena);
	}
	free(m);
}

/* What entries and blocks take. */
static uint64_t bytes_used(const struct memtable *m)
{
	return arena_used(&m->arena) + arena_used(&m->blocks) - m->overhead;
}

uint64_t memtable_log_number(const struct memtable *m)
{
	return m->log_number;
}

size_t memtable_batch_cost(size_t batch_bytes, uint32_t count)
{
	/* Keys and values are part of the batch's bytes. */
	return batch_bytes + (size_t)count * SKIPLIST_NODE_OVERHEAD;
}

bool memtable_reserve(struct memtable *m, size_t cost)
{
	/*
	 * pending before what is used: a batch that finishes in between is
	 * then counted twice, not left out. Acquire pairs with the release in
	 * memtable_apply().
	 */
	uint64_t pending =
		atomic_load_explicit(&m->pending, memory_order_acquire);
	uint64_t used = bytes_used(m);

	if (m->batch) {
		if (pending)
			return false;
		/* What is there counts from now on. */
		cost = m->capacity;
	}
	if (cost > m->capacity || used + pending > m->capacity - cost)
		return false;
	atomic_fetch_add_explicit(&m->pending, cost, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->writers, 1, memory_order_relaxed);
	return true;
}

/* What one insertion tells the next. */
struct trail {
	struct skiplist_splice splice;
	bool overwrote; /* the key was there already */
};

static struct trail load_trail(const struct memtable *m)
{
	/* Acquire: it leads to a node. Offsets leave two low bits free. */
	uint64_t v = atomic_load_explicit(&m->trail, memory_order_acquire);

	return (struct trail){
		.splice = { .last = (uint32_t)v & ~3u,
			    .block = (uint32_t)(v >> 32),
			    .run = v & 1 },
		.overwrote = v & 2,
	};
}

static void store_trail(struct memtable *m, const struct trail *t)
{
	uint32_t low =
		t->splice.last | t->splice.run | (uint32_t)t->overwrote << 1;

	atomic_store_explicit(&m->trail, (uint64_t)t->splice.block << 32 | low,
			      memory_order_release);
}

static int insert(struct memtable *m, const struct ikey *key,
		  struct cairn_slice value, struct trail *trail)
{
	struct index_key k = index_key_of(key->user_key);
	uint32_t near, node;
	bool sure;
	int err;

	/*
	 * A new key needs the search, and the slot's line comes meanwhile; for
	 * an old one the search is for nothing. Expect what was last.
	 */
	key_index_prefetch(&m->index, &k);
	if (!trail->overwrote)
		skiplist_locate(&m->list, key, &trail->splice);
	near = key_index_find(&m->index, &m->list, &k, &sure);
	trail->overwrote = near != 0;
	err = skiplist_insert(&m->list, key, value, near, &trail->splice,
			      &node);
	/* Two batches of a log claim the same sequence number. */
	if (err == CAIRN_EEXIST)
		return error_set(CAIRN_ECORRUPT,
				 "sequence number %" PRIu64
				 " is used twice for one key",
				 ikey_seqno(key));
	if (err)
		return err;
	key_index_add(&m->index, &m->list, &k, node);
	return CAIRN_OK;
}

/* What a batch did, to be added to the counts in one go. */
struct applied {
	uint64_t entries;
	uint64_t smallest;
	uint64_t largest;
};

static void account(struct memtable *m, const struct applied *a)
{
	uint64_t v;

	if (!a->entries)
		return;
	v = atomic_load_explicit(&m->smallest, memory_order_relaxed);
	while (a->smallest < v &&
	       !atomic_compare_exchange_weak_explicit(
		       &m->smallest, &v, a->smallest, memory_order_relaxed,
		       memory_order_relaxed))
		;
	v = atomic_load_explicit(&m->largest, memory_order_relaxed);
	while (a->largest > v &&
	       !atomic_compare_exchange_weak_explicit(
		       &m->largest, &v, a->largest, memory_order_relaxed,
		       memory_order_relaxed))
		;
	atomic_fetch_add_explicit(&m->entries, a->entries,
				  memory_order_relaxed);
}

static struct range_node *range_node(const struct memtable *m, uint32_t off)
{
	return (struct range_node *)(void *)(m->arena.base + off);
}

static struct range_del range_of_node(const struct range_node *n)
{
	return (struct range_del){ slice_of(n->bytes, n->start_len),
				   slice_of(n->bytes + n->start_len,
					    n->end_len),
				   load_le64(n->seqno) };
}

/* Push a tombstone, whose range is not empty. */
static int insert_range(struct memtable *m, const struct range_del *d)
{
	struct range_node *n;
	uint32_t top, off;

	off = arena_alloc(&m->arena,
			  RANGE_NODE_LEN + d->start.len + d->end.len);
	if (!off)
		return error_nomem();
	n = range_node(m, off);
	put_le64(n->seqno, d->seqno);
	n->start_len = (uint32_t)d->start.len;
	n->end_len = (uint32_t)d->end.len;
	if (d->start.len)
		memcpy(n->bytes, d->start.data, d->start.len);
	memcpy(n->bytes + d->start.len, d->end.data, d->end.len);
	/* Acquire for the depth of the one before, release for this one: pairs
	 * with those who load the top. */
	top = atomic_load_explicit(&m->range_top, memory_order_acquire);
	do {
		n->next = top;
		n->depth = top ? range_node(m, top)->depth + 1 : 1;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->range_top, &top, off, memory_order_acq_rel,
		memory_order_acquire));
	return CAIRN_OK;
}

/*
 * A range deletion. An empty range counts in the batch but takes no sequence
 * number when RocksDB replays it.
 */
static int apply_range(struct memtable *m, const struct batch_op *op,
		       uint64_t seqno, bool *empty)
{
	const struct range_del d = { op->key, op->value, seqno };
	int c = slice_cmp(op->key, op->value);

	*empty = c == 0;
	if (c > 0)
		return error_set(CAIRN_ECORRUPT,
				 "batch deletes a range that ends before it "
				 "begins");
	return c ? insert_range(m, &d) : CAIRN_OK;
}

/* One operation; *seqno moves on if it takes a number. */
static int apply_op(struct memtable *m, const struct batch_op *op,
		    uint64_t *seqno, struct trail *trail, struct applied *done)
{
	struct ikey key = ikey_make(op->key, *seqno, op->kind);
	bool empty = false;
	int err;

	if (op->kind == KIND_LOG_DATA)
		return CAIRN_OK;
	if (op->family != 0) {
		++*seqno;
		return CAIRN_OK;
	}
	if (op->kind == KIND_RANGE_DELETE)
		err = apply_range(m, op, *seqno, &empty);
	else
		err = insert(m, &key, op->value, trail);
	if (err || empty)
		return err;
	done->entries++;
	if (*seqno < done->smallest)
		done->smallest = *seqno;
	done->largest = *seqno;
	++*seqno;
	return CAIRN_OK;
}

static int apply_whole(struct memtable *m, uint64_t seqno)
{
	uint32_t count = batch_table_count(m->batch);
	const struct applied done = {
		.entries = count,
		.smallest = seqno,
		.largest = seqno + count - 1,
	};

	batch_table_number(m->batch, seqno);
	account(m, &done);
	return CAIRN_OK;
}

int memtable_apply(struct memtable *m, struct cairn_slice batch)
{
	struct trail trail;
	struct applied done = { .smallest = UINT64_MAX };
	struct batch_reader r;
	struct batch_op op;
	uint64_t seqno, cost, old;
	int err;

	err = batch_reader_init(&r, batch);
	if (err)
		return err;
	seqno = batch_bytes_seqno(batch);
	if (m->batch)
		return apply_whole(m, seqno);
	trail = load_trail(m);
	while ((err = batch_reader_next(&r, &op)) == CAIRN_OK) {
		err = apply_op(m, &op, &seqno, &trail, &done);
		if (err)
			break;
	}
	store_trail(m, &trail);
	account(m, &done);
	cost = memtable_batch_cost(batch.len, batch_bytes_count(batch));
	old = atomic_fetch_sub_explicit(&m->pending, cost,
					memory_order_release);
	assert(old >= cost);
	(void)old;
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

void memtable_writer_unref(struct memtable *m)
{
	/* Pairs with the acquire in memtable_has_writers(). */
	uint32_t old =
		atomic_fetch_sub_explicit(&m->writers, 1, memory_order_release);

	assert(old > 0);
	(void)old;
}

bool memtable_has_writers(const struct memtable *m)
{
	return atomic_load_explicit(&m->writers, memory_order_acquire) != 0;
}

/*
 * From one version of a key to the newest one not newer than trailer, by the
 * links between neighbours: 0 when it is too far, the head when there is none.
 */
static uint32_t version_from(const struct memtable *m,
			     const struct index_key *k, uint64_t trailer,
			     uint32_t node)
{
	const struct skiplist *s = &m->list;
	bool found = skiplist_node_trailer(skiplist_node(s, node)) <= trailer;

	for (int i = 0; i < VERSION_STEPS_MAX; i++) {
		uint32_t to =
			found ? skiplist_prev(s, node) : skiplist_next(s, node);
		const struct skiplist_node *n = skiplist_node(s, to);

		if (to == s->head || !skiplist_node_has_key(n, k->key))
			return found ? node : s->head;
		if (found && skiplist_node_trailer(n) > trailer)
			return node;
		node = to;
		if (!found && skiplist_node_trailer(n) <= trailer)
			return node;
	}
	return 0;
}

int memtable_get(const struct memtable *m, struct cairn_slice user_key,
		 uint64_t snapshot, uint64_t *trailer,
		 struct cairn_slice *value)
{
	const struct skiplist *s = &m->list;
	struct ikey target = ikey_seek(user_key, snapshot);
	struct index_key k = index_key_of(user_key);
	const struct skiplist_node *n;
	bool sure;
	uint32_t node;

	if (m->batch)
		return batch_table_get(m->batch, user_key, snapshot, trailer,
				       value);
	node = key_index_find(&m->index, s, &k, &sure);
	if (!node && sure)
		return CAIRN_NOT_FOUND;
	if (node)
		node = version_from(m, &k, target.trailer, node);
	if (!node)
		node = skiplist_seek_ge(s, &target);

	n = skiplist_node(s, node);
	if (node == s->head || !skiplist_node_has_key(n, k.key))
		return CAIRN_NOT_FOUND;
	*trailer = skiplist_node_trailer(n);
	*value = skiplist_node_value(n);
	return CAIRN_OK;
}

void memtable_prefetch(const struct memtable *m, struct cairn_slice user_key)
{
	struct index_key k = index_key_of(user_key);

	key_index_prefetch(&m->index, &k);
}

/* -------------------------------------------------------- range tombstones */

static uint32_t load_range_top(const struct memtable *m)
{
	/* Pairs with insert_range(). */
	return atomic_load_explicit(&m->range_top, memory_order_acquire);
}

/* The newest one that covers the key among those from top down to bottom,
 * which is not looked at. */
static uint64_t cover_one_by_one(const struct memtable *m, uint32_t top,
				 uint32_t bottom, struct cairn_slice user_key,
				 uint64_t snapshot)
{
	uint64_t newest = 0;

	while (top != bottom) {
		const struct range_node *n = range_node(m, top);
		struct range_del d = range_of_node(n);

		if (d.seqno <= snapshot && d.seqno > newest &&
		    slice_cmp(d.start, user_key) <= 0 &&
		    slice_cmp(user_key, d.end) < 0)
			newest = d.seqno;
		top = n->next;
	}
	return newest;
}

static int list_from(const struct memtable *m, uint32_t top,
		     struct range_del_list *l)
{
	while (top) {
		const struct range_node *n = range_node(m, top);
		const struct range_del d = range_of_node(n);
		int err = range_del_list_add(l, &d);

		if (err)
			return err;
		top = n->next;
	}
	return CAIRN_OK;
}

/* Make range_set the set of all tombstones from top down. range_mu held. */
static int renew_set(struct memtable *m, uint32_t top)
{
	struct range_del_list l = { 0 };
	struct range_dels *set = NULL;
	int err = list_from(m, top, &l);

	if (!err)
		err = range_dels_new(&l, &set);
	range_del_list_fini(&l);
	if (err)
		return err;
	range_dels_unref(m->range_set);
	m->range_set = set;
	m->range_set_top = top;
	m->range_looks = 0;
	return CAIRN_OK;
}

uint64_t memtable_cover(struct memtable *m, struct cairn_slice user_key,
			uint64_t snapshot)
{
	uint32_t top = load_range_top(m);
	uint32_t depth, loose, bottom;
	struct range_dels *set;
	uint64_t in_set, newest;

	if (m->batch)
		return batch_table_cover(m->batch, user_key, snapshot);
	if (!top)
		return 0;
	depth = range_node(m, top)->depth;
	if (depth <= LOOSE_TOMBS_MAX)
		return cover_one_by_one(m, top, 0, user_key, snapshot);

	mutex_lock(&m->range_mu);
	bottom = m->range_set_top;
	/* Another thread may have seen a later top and made a set of it. */
	if (bottom && range_node(m, bottom)->depth >= depth)
		top = bottom;
	loose = range_node(m, top)->depth -
		(bottom ? range_node(m, bottom)->depth : 0);
	m->range_looks += loose;
	/* Without memory for a set, one by one does as well. */
	if (loose > LOOSE_TOMBS_MAX &&
	    m->range_looks > (uint64_t)SET_COST * depth)
		(void)renew_set(m, top);
	bottom = m->range_set_top;
	set = m->range_set ? range_dels_ref(m->range_set) : NULL;
	mutex_unlock(&m->range_mu);

	newest = cover_one_by_one(m, top, bottom, user_key, snapshot);
	in_set = set ? range_dels_cover(set, user_key, snapshot) : 0;
	range_dels_unref(set);
	return newest > in_set ? newest : in_set;
}

int memtable_range_dels(struct memtable *m, struct range_dels **out)
{
	uint32_t top = load_range_top(m);
	int err = CAIRN_OK;

	*out = m->batch ? batch_table_range_dels(m->batch) : NULL;
	if (!top)
		return CAIRN_OK;
	mutex_lock(&m->range_mu);
	/* A set of more than what is asked for does no harm: the rest is newer
	 * than what the caller can see. */
	if (!m->range_set_top ||
	    range_node(m, m->range_set_top)->depth < range_node(m, top)->depth)
		err = renew_set(m, top);
	if (!err && m->range_set)
		*out = range_dels_ref(m->range_set);
	mutex_unlock(&m->range_mu);
	return err;
}

int memtable_list_range_dels(const struct memtable *m, struct range_del_list *l)
{
	if (m->batch)
		return batch_table_list_range_dels(m->batch, l);
	return list_from(m, load_range_top(m), l);
}

uint64_t memtable_range_deletions(const struct memtable *m)
{
	uint32_t top = load_range_top(m);

	if (m->batch)
		return batch_table_ranges(m->batch);
	return top ? range_node(m, top)->depth : 0;
}

/* --------------------------------------------------------------- iterators */

struct mem_iter {
	struct iter base;
	struct memtable *m;
	uint32_t node;
	unsigned n_far; /* forward seeks in a row that one step was not for */
	struct range_dels *set; /* NULL: no range tombstones */
	struct range_scope scope;
};

static void mem_iter_at(struct iter *it, uint32_t node)
{
	struct mem_iter *mi = (struct mem_iter *)it;
	const struct skiplist *s = &mi->m->list;
	const struct skiplist_node *n = skiplist_node(s, node);

	mi->node = node;
	it->valid = node != s->head;
	if (!it->valid)
		return;
	it->key.user_key = skiplist_node_key(n);
	it->key.trailer = skiplist_node_trailer(n);
	it->value = skiplist_node_value(n);
}

static void mem_iter_first(struct iter *it)
{
	const struct skiplist *s = &((struct mem_iter *)it)->m->list;

	mem_iter_at(it, skiplist_next(s, s->head));
}

static void mem_iter_last(struct iter *it)
{
	const struct skiplist *s = &((struct mem_iter *)it)->m->list;

	mem_iter_at(it, skiplist_prev(s, s->head));
}

static void mem_iter_seek_ge(struct iter *it, const struct ikey *target)
{
	const struct skiplist *s = &((struct mem_iter *)it)->m->list;

	mem_iter_at(it, skiplist_seek_ge(s, target));
}

/*
 * One step costs a cache miss and a search two or three, so one is tried before
 * a search, but only now and then once it has not helped.
 */
static void mem_iter_seek_forward(struct iter *it, const struct ikey *target)
{
	struct mem_iter *mi = (struct mem_iter *)it;

	assert(it->valid);
	if (ikey_cmp(&it->key, target) >= 0)
		return;
	if (mi->n_far < STEP_TRIES || mi->n_far % STEP_PERIOD == 0) {
		mem_iter_at(it, skiplist_next(&mi->m->list, mi->node));
		if (!it->valid || ikey_cmp(&it->key, target) >= 0) {
			mi->n_far = 0;
			return;
		}
	}
	mi->n_far++;
	mem_iter_seek_ge(it, target);
}

static void release_value(void *m)
{
	memtable_unref(m);
}

static int mem_iter_pin(struct iter *it, struct cairn_pinned *out)
{
	struct mem_iter *mi = (struct mem_iter *)it;

	assert(it->valid);
	memtable_ref(mi->m);
	*out = (struct cairn_pinned){ .value = it->value,
				      .release = release_value,
				      .owner = mi->m };
	return CAIRN_OK;
}

static void mem_iter_seek_lt(struct iter *it, const struct ikey *target)
{
	const struct skiplist *s = &((struct mem_iter *)it)->m->list;

	mem_iter_at(it, skiplist_seek_lt(s, target));
}

static void mem_iter_next(struct iter *it)
{
	struct mem_iter *mi = (struct mem_iter *)it;
	const struct skiplist *s = &mi->m->list;
	uint32_t node = skiplist_next(s, mi->node);

	assert(it->valid);
	/* The one behind, while the caller looks at this one. */
	__builtin_prefetch(skiplist_node(s, skiplist_next(s, node)));
	mem_iter_at(it, node);
}

static void mem_iter_prev(struct iter *it)
{
	struct mem_iter *mi = (struct mem_iter *)it;
	const struct skiplist *s = &mi->m->list;
	uint32_t node = skiplist_prev(s, mi->node);

	assert(it->valid);
	__builtin_prefetch(skiplist_node(s, skiplist_prev(s, node)));
	mem_iter_at(it, node);
}

static void mem_iter_close(struct iter *it)
{
	struct mem_iter *mi = (struct mem_iter *)it;

	range_dels_unref(mi->set);
	memtable_unref(mi->m);
	free(mi);
}

static const struct iter_ops mem_iter_ops = {
	.first = mem_iter_first,
	.last = mem_iter_last,
	.seek_ge = mem_iter_seek_ge,
	.seek_lt = mem_iter_seek_lt,
	.seek_forward = mem_iter_seek_forward,
	.pin = mem_iter_pin,
	.next = mem_iter_next,
	.prev = mem_iter_prev,
	.close = mem_iter_close,
};

static void release_memtable(void *m)
{
	memtable_unref(m);
}

static int batch_iter_new(struct memtable *m, struct iter **out)
{
	int err = batch_table_iter_new(m->batch, release_memtable, m, out);

	if (!err)
		memtable_ref(m);
	return err;
}

int memtable_iter_new(struct memtable *m, struct iter **out)
{
	struct mem_iter *mi;
	int err;

	if (m->batch)
		return batch_iter_new(m, out);
	mi = malloc(sizeof(*mi));
	if (!mi)
		return error_nomem();
	*mi = (struct mem_iter){ 0 };
	err = memtable_range_dels(m, &mi->set);
	if (err) {
		free(mi);
		return err;
	}
	if (mi->set) {
		mi->scope.set = mi->set;
		mi->base.scope = &mi->scope;
	}
	memtable_ref(m);
	mi->base.ops = &mem_iter_ops;
	mi->m = m;
	mi->node = m->list.head;
	*out = &mi->base;
	return CAIRN_OK;
}

size_t memtable_bytes(const struct memtable *m)
{
	uint64_t pending =
		atomic_load_explicit(&m->pending, memory_order_acquire);

	return (size_t)(bytes_used(m) + pending);
}

void memtable_retire(struct memtable *m, _Atomic uint64_t *zombie_bytes)
{
	assert(!m->zombie_bytes);
	m->retired_bytes = memtable_bytes(m);
	m->zombie_bytes = zombie_bytes;
	atomic_fetch_add_explicit(zombie_bytes, m->retired_bytes,
				  memory_order_relaxed);
}

size_t memtable_capacity(const struct memtable *m)
{
	return m->capacity;
}

uint64_t memtable_entries(const struct memtable *m)
{
	return atomic_load_explicit(&m->entries, memory_order_relaxed);
}

bool memtable_empty(const struct memtable *m)
{
	return memtable_entries(m) == 0;
}

uint64_t memtable_smallest_seqno(const struct memtable *m)
{
	return atomic_load_explicit(&m->smallest, memory_order_relaxed);
}

uint64_t memtable_largest_seqno(const struct memtable *m)
{
	return atomic_load_explicit(&m->largest, memory_order_relaxed);
}
