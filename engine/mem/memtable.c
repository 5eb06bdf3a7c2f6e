/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/memtable.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/kv/batch.h"
#include "engine/mem/key_index.h"

#define CAPACITY_MAX ((UINT64_C(4) << 30) - (UINT64_C(64) << 10))

/* Steps between versions of a key before a search from the top is cheaper. */
#define VERSION_STEPS_MAX 8

/*
 * One slot of the index for so many bytes: about one for each entry with a
 * value of 100 bytes, at 3 % of the memory.
 */
#define BYTES_PER_SLOT 128
#define SLOTS_MIN      16
#define SLOTS_MAX      ((size_t)1 << 22)

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
	struct skiplist list;
	struct key_index index;
	size_t capacity;
	size_t overhead; /* of the empty table, not part of the capacity */
	struct arena blocks;
	uint64_t log_number;

	_Atomic uint32_t refs;
	_Atomic uint32_t writers;

	/* Written once for each batch. */
	_Atomic uint64_t pending;
	_Atomic uint64_t entries;
	_Atomic uint64_t smallest; /* UINT64_MAX when empty */
	_Atomic uint64_t largest;
	_Atomic uint64_t trail; /* of the last batch, packed; see load_trail */

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
	*out = m;
	return CAIRN_OK;
fail:
	arena_fini(&m->blocks);
	arena_fini(&m->arena);
	free(m);
	return err;
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
	arena_fini(&m->blocks);
	arena_fini(&m->arena);
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
	/* Acquire: it leads to a node. Offsets leave the low bits free. */
	uint64_t v = atomic_load_explicit(&m->trail, memory_order_acquire);

	return (struct trail){
		.splice = { .last = (uint32_t)v & ~7u,
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

/*
 * One operation; *seqno moves on if it takes a number. An empty range counts
 * in the batch but takes none when RocksDB replays it.
 */
static int apply_op(struct memtable *m, const struct batch_op *op,
		    uint64_t *seqno, struct trail *trail, struct applied *done)
{
	struct ikey key = ikey_make(op->key, *seqno, op->kind);
	int err;

	if (op->kind == KIND_LOG_DATA)
		return CAIRN_OK;
	if (op->family != 0) {
		++*seqno;
		return CAIRN_OK;
	}
	if (op->kind == KIND_RANGE_DELETE) {
		if (slice_eq(op->key, op->value))
			return CAIRN_OK;
		return error_set(CAIRN_ENOTSUP,
				 "batch deletes a range of keys (DeleteRange)");
	}

	err = insert(m, &key, op->value, trail);
	if (err)
		return err;
	done->entries++;
	if (*seqno < done->smallest)
		done->smallest = *seqno;
	done->largest = *seqno;
	++*seqno;
	return CAIRN_OK;
}

int memtable_apply(struct memtable *m, struct cairn_slice batch)
{
	struct trail trail = load_trail(m);
	struct applied done = { .smallest = UINT64_MAX };
	struct batch_reader r;
	struct batch_op op;
	uint64_t seqno, cost, old;
	int err;

	err = batch_reader_init(&r, batch);
	if (err)
		return err;
	seqno = batch_bytes_seqno(batch);
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
	bool found = skiplist_node(s, node)->trailer <= trailer;

	for (int i = 0; i < VERSION_STEPS_MAX; i++) {
		uint32_t to =
			found ? skiplist_prev(s, node) : skiplist_next(s, node);
		const struct skiplist_node *n = skiplist_node(s, to);

		if (to == s->head ||
		    !skiplist_node_has_key(n, k->prefix, k->key))
			return found ? node : s->head;
		if (found && n->trailer > trailer)
			return node;
		node = to;
		if (!found && n->trailer <= trailer)
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
	uint32_t node = key_index_find(&m->index, s, &k, &sure);

	if (!node && sure)
		return CAIRN_NOT_FOUND;
	if (node)
		node = version_from(m, &k, target.trailer, node);
	if (!node)
		node = skiplist_seek_ge(s, &target);

	n = skiplist_node(s, node);
	if (node == s->head || !skiplist_node_has_key(n, k.prefix, k.key))
		return CAIRN_NOT_FOUND;
	*trailer = n->trailer;
	*value = skiplist_node_value(n);
	return CAIRN_OK;
}

struct mem_iter {
	struct iter base;
	struct memtable *m;
	uint32_t node;
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
	it->key.trailer = n->trailer;
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

	memtable_unref(mi->m);
	free(mi);
}

static const struct iter_ops mem_iter_ops = {
	.first = mem_iter_first,
	.last = mem_iter_last,
	.seek_ge = mem_iter_seek_ge,
	.seek_lt = mem_iter_seek_lt,
	.next = mem_iter_next,
	.prev = mem_iter_prev,
	.close = mem_iter_close,
};

int memtable_iter_new(struct memtable *m, struct iter **out)
{
	struct mem_iter *mi = calloc(1, sizeof(*mi));

	if (!mi)
		return error_nomem();
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
