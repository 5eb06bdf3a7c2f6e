/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/skiplist.h"

#include <pthread.h>

#include "engine/base/rng.h"
#include "engine/mem/key_index.h"

#include "tests/support/runner.h"

struct fixture {
	struct arena arena;
	struct arena blocks;
	struct skiplist list;
};

static void fixture_init(struct fixture *f, size_t size)
{
	memset(f, 0, sizeof(*f));
	ck_assert_int_eq(arena_init(&f->arena, size), CAIRN_OK);
	ck_assert_int_eq(arena_init(&f->blocks, skiplist_blocks_len(size)),
			 CAIRN_OK);
	ck_assert_int_eq(skiplist_init(&f->list, &f->arena, &f->blocks),
			 CAIRN_OK);
}

static void fixture_fini(struct fixture *f)
{
	arena_fini(&f->blocks);
	arena_fini(&f->arena);
}

static struct ikey node_ikey(const struct skiplist *s, uint32_t node)
{
	const struct skiplist_node *n = skiplist_node(s, node);

	return (struct ikey){ skiplist_node_key(n), skiplist_node_trailer(n) };
}

/* Walk the list both ways: order, links, number of nodes. */
static size_t check_list(const struct skiplist *s)
{
	uint32_t prev = s->head;
	size_t n = 0;

	for (uint32_t at = skiplist_next(s, prev); at != s->head;
	     at = skiplist_next(s, at)) {
		ck_assert_uint_eq(skiplist_prev(s, at), prev);
		if (prev != s->head) {
			struct ikey a = node_ikey(s, prev);
			struct ikey b = node_ikey(s, at);

			ck_assert_int_lt(ikey_cmp(&a, &b), 0);
		}
		prev = at;
		n++;
	}
	ck_assert_uint_eq(skiplist_prev(s, s->head), prev);
	return n;
}

/* Keys that meet every case of the comparison, about one in n twice. */
static size_t random_key(struct rng *rng, uint8_t *key, uint64_t n)
{
	static const uint8_t bytes[] = { 0, 1, 'a', 0x7f, 0x80, 0xff };
	size_t len = rng_below(rng, 26);

	if (rng_one_in(rng, 2)) {
		memcpy(key, "the/same/long/prefix/", 21);
		put_be32(key + 21, (uint32_t)rng_below(rng, n));
		return 25;
	}
	for (size_t i = 0; i < len; i++)
		key[i] = i < 6 ? 0 : bytes[rng_below(rng, sizeof(bytes))];
	return len;
}

START_TEST(an_arena_gives_out_all_it_has_and_no_more)
{
	struct arena a;
	uint32_t last = 0;
	size_t n = 0;

	ck_assert_int_eq(arena_init(&a, 0), CAIRN_EINVAL);
	ck_assert_int_eq(arena_init(&a, ARENA_MAX + 1), CAIRN_EINVAL);
	ck_assert_int_eq(arena_init(&a, 1000), CAIRN_OK);
	for (;;) {
		uint32_t off = arena_alloc(&a, 1 + n % 17);

		if (!off)
			break;
		ck_assert_uint_eq(off % ARENA_ALIGN, 0);
		ck_assert_uint_gt(off, last);
		ck_assert_uint_le(off + 1 + n % 17, 1000);
		memset(a.base + off, 0xee, 1 + n % 17);
		last = off;
		n++;
	}
	/* What did not fit leaves room for what does. */
	ck_assert_uint_le(arena_used(&a), 1000);
	ck_assert_uint_eq(arena_alloc(&a, SIZE_MAX), 0);
	ck_assert_uint_eq(arena_alloc(&a, SIZE_MAX - 7), 0);
	while (arena_alloc(&a, 8))
		;
	ck_assert_uint_eq(arena_used(&a), 1000);
	arena_fini(&a);
	arena_fini(&a);
}
END_TEST

START_TEST(a_large_arena_begins_on_a_huge_page)
{
	struct arena a;

	ck_assert_int_eq(arena_init(&a, ((size_t)5 << 20) + 123), CAIRN_OK);
	ck_assert_uint_eq((uintptr_t)a.base % ((uintptr_t)2 << 20), 0);
	a.base[0] = 1;
	a.base[a.size - 1] = 1;
	arena_fini(&a);
}
END_TEST

START_TEST(nodes_compare_as_internal_keys)
{
	struct rng rng;

	rng_init(&rng, 99);
	for (int i = 0; i < 20000; i++) {
		uint8_t a[32], b[32], value[1];
		struct ikey ka = { slice_of(a, random_key(&rng, a, 3)),
				   rng_below(&rng, 3) };
		struct ikey kb = { slice_of(b, random_key(&rng, b, 3)),
				   rng_below(&rng, 3) };
		struct skiplist_splice sp = { 0 };
		struct fixture f;
		uint32_t node;
		int c;

		if (i % 1000 == 0) {
			if (i)
				fixture_fini(&f);
			fixture_init(&f, 1 << 20);
		}
		/* A list of one node: three searches tell the order. */
		f.arena.used = ARENA_ALIGN;
		f.blocks.used = ARENA_ALIGN;
		memset(f.blocks.base, 0, 1024);
		ck_assert_int_eq(skiplist_init(&f.list, &f.arena, &f.blocks),
				 CAIRN_OK);
		ck_assert_int_eq(skiplist_insert(&f.list, &ka,
						 slice_of(value, 0), 0, &sp,
						 &node),
				 CAIRN_OK);
		c = ikey_cmp(&ka, &kb);
		ck_assert_uint_eq(skiplist_seek_ge(&f.list, &kb),
				  c >= 0 ? node : f.list.head);
		ck_assert_uint_eq(skiplist_seek_lt(&f.list, &kb),
				  c < 0 ? node : f.list.head);
		if (i == 19999)
			fixture_fini(&f);
	}
}
END_TEST

enum order { ASCENDING, DESCENDING, RANDOM, N_ORDERS };

/* Orders of insertion, with a splice that is kept and one that is not. */
START_TEST(entries_inserted_in_any_order_are_found)
{
	enum { N = 3000 };
	enum order order = (enum order)(_i / 2);
	bool keep = _i % 2;
	struct skiplist_splice sp = { 0 };
	struct fixture f;
	struct rng rng;
	static bool in[N];

	memset(in, 0, sizeof(in));
	rng_init(&rng, 5);
	fixture_init(&f, 1 << 20);
	for (uint32_t i = 0; i < N; i++) {
		uint8_t key[4], value[4];
		struct ikey k;
		uint32_t id = i, node;

		if (order == DESCENDING)
			id = N - 1 - i;
		else if (order == RANDOM)
			while (in[id = (uint32_t)rng_below(&rng, N)])
				;
		in[id] = true;
		put_be32(key, 2 * id);
		put_be32(value, id);
		k = ikey_make(slice_of(key, 4), i, KIND_PUT);
		if (!keep)
			sp = (struct skiplist_splice){ 0 };
		ck_assert_int_eq(skiplist_insert(&f.list, &k,
						 slice_of(value, 4), 0, &sp,
						 &node),
				 CAIRN_OK);
	}
	ck_assert_uint_eq(check_list(&f.list), N);
	for (uint32_t id = 0; id <= 2 * N; id++) {
		uint8_t key[4];
		struct ikey k;
		uint32_t ge, lt;

		put_be32(key, id);
		k = ikey_seek(slice_of(key, 4), SEQNO_MAX);
		ge = skiplist_seek_ge(&f.list, &k);
		lt = skiplist_seek_lt(&f.list, &k);
		if (id < 2 * N - 1) {
			const struct skiplist_node *n =
				skiplist_node(&f.list, ge);

			ck_assert_uint_eq(
				load_be32(skiplist_node_value(n).data),
				(id + 1) / 2);
		} else {
			ck_assert_uint_eq(ge, f.list.head);
		}
		ck_assert_uint_eq(lt, skiplist_prev(&f.list, ge));
	}
	fixture_fini(&f);
}
END_TEST

START_TEST(a_list_without_room_for_blocks_is_slow_but_right)
{
	enum { N = 3000 };
	struct fixture f = { 0 };
	struct skiplist_splice sp = { 0 };
	uint32_t node;

	ck_assert_int_eq(arena_init(&f.arena, 1 << 20), CAIRN_OK);
	ck_assert_int_eq(arena_init(&f.blocks, 64), CAIRN_OK);
	ck_assert_int_eq(skiplist_init(&f.list, &f.arena, &f.blocks),
			 CAIRN_ENOMEM);
	fixture_fini(&f);
	/* One block, some, almost enough, and none left for the level above. */
	ck_assert_int_eq(arena_init(&f.arena, 1 << 20), CAIRN_OK);
	ck_assert_int_eq(arena_init(&f.blocks, 64 + 512 * ((size_t)_i + 1)),
			 CAIRN_OK);
	ck_assert_int_eq(skiplist_init(&f.list, &f.arena, &f.blocks), CAIRN_OK);
	for (uint32_t i = 0; i < N; i++) {
		uint8_t key[4];
		struct ikey k;

		put_be32(key, i * 1103 % N);
		k = ikey_make(slice_of(key, 4), i, KIND_PUT);
		ck_assert_int_eq(skiplist_insert(&f.list, &k, slice_str(""), 0,
						 &sp, &node),
				 CAIRN_OK);
		ck_assert_uint_eq(skiplist_seek_ge(&f.list, &k), node);
	}
	ck_assert_uint_eq(check_list(&f.list), N);
	fixture_fini(&f);
}
END_TEST

START_TEST(an_internal_key_is_taken_once)
{
	struct fixture f;
	uint32_t first = 0, node;

	fixture_init(&f, 1 << 20);
	for (int round = 0; round < 2; round++) {
		for (uint64_t seqno = 1; seqno < 200; seqno++) {
			struct ikey k =
				ikey_make(slice_str("key"), seqno, KIND_PUT);
			struct skiplist_splice sp = { 0 };

			ck_assert_int_eq(skiplist_insert(&f.list, &k,
							 slice_str("v"),
							 seqno % 3 ? first : 0,
							 &sp, &node),
					 round ? CAIRN_EEXIST : CAIRN_OK);
			if (!first)
				first = node;
		}
	}
	ck_assert_uint_eq(check_list(&f.list), 199);
	fixture_fini(&f);
}
END_TEST

/* near is any version of the key, newer or older, close or far. */
START_TEST(versions_are_linked_from_any_other_version)
{
	enum { N = 400 };
	uint32_t nodes[N];
	uint64_t seqnos[N];
	struct skiplist_splice sp = { 0 };
	struct fixture f;
	struct rng rng;

	rng_init(&rng, (uint64_t)_i);
	fixture_init(&f, 1 << 20);
	for (size_t i = 0; i < N; i++) {
		struct ikey k;
		uint32_t near = 0;

		seqnos[i] = i;
		if (_i > 0) {
			/* Two keys, in a random order of versions. */
			seqnos[i] = (i * 149) % N;
		}
		k = ikey_make(slice_str(i % 2 ? "odd" : "even"), seqnos[i],
			      KIND_PUT);
		if (i >= 2)
			near = nodes[rng_below(&rng, i / 2) * 2 + i % 2];
		ck_assert_int_eq(skiplist_insert(&f.list, &k, slice_str(""),
						 near, &sp, &nodes[i]),
				 CAIRN_OK);
	}
	ck_assert_uint_eq(check_list(&f.list), N);
	fixture_fini(&f);
}
END_TEST

START_TEST(a_full_arena_refuses_and_the_list_stays_whole)
{
	struct skiplist_splice sp = { 0 };
	struct fixture f;
	uint64_t n = 0;
	uint32_t node;
	int err;

	fixture_init(&f, 4000);
	do {
		uint8_t key[8];
		struct ikey k;

		put_be64(key, n * 7919 % 100);
		k = ikey_make(slice_of(key, 8), n, KIND_PUT);
		err = skiplist_insert(&f.list, &k, slice_str("value"), 0, &sp,
				      &node);
		n += !err;
	} while (!err);
	ck_assert_int_eq(err, CAIRN_ENOMEM);
	ck_assert_uint_eq(check_list(&f.list), n);
	ck_assert_uint_gt(n, 40);
	fixture_fini(&f);
}
END_TEST

START_TEST(a_node_takes_no_more_than_its_upper_bound)
{
	struct skiplist_splice sp = { 0 };
	struct fixture f;
	uint32_t node;

	fixture_init(&f, 8 << 20);
	for (uint64_t i = 0; i < 20000; i++) {
		uint8_t bytes[64] = { 0 };
		size_t key_len = 8 + i % 11, value_len = i % 29;
		size_t before = arena_used(&f.arena);
		struct ikey k;

		put_be64(bytes, i);
		k = ikey_make(slice_of(bytes, key_len), i, KIND_PUT);
		ck_assert_int_eq(skiplist_insert(&f.list, &k,
						 slice_of(bytes, value_len), 0,
						 &sp, &node),
				 CAIRN_OK);
		ck_assert_uint_le(arena_used(&f.arena) - before,
				  key_len + value_len + SKIPLIST_NODE_OVERHEAD);
	}
	fixture_fini(&f);
}
END_TEST

/* Two bytes tell the length of most values. */
START_TEST(values_of_any_length_come_back)
{
	static const size_t lens[] = { 0,     1,     65533, 65534,
				       65535, 65536, 65537, 300000 };
	struct skiplist_splice sp = { 0 };
	uint8_t *value = malloc(300000);
	struct fixture f;
	uint32_t node;

	fixture_init(&f, 8 << 20);
	for (size_t key_len = 0; key_len < 10; key_len++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			const uint8_t key[10] = { 'k', 'e', 'y' };
			size_t before = arena_used(&f.arena);
			struct cairn_slice v = slice_of(value, lens[i]);
			struct ikey k = ikey_make(slice_of(key, key_len), i + 1,
						  KIND_PUT);

			memset(value, (int)(i + key_len), lens[i]);
			ck_assert_int_eq(
				skiplist_insert(&f.list, &k, v, 0, &sp, &node),
				CAIRN_OK);
			ck_assert_uint_le(arena_used(&f.arena) - before,
					  key_len + v.len +
						  SKIPLIST_NODE_OVERHEAD);
			node = skiplist_seek_ge(&f.list, &k);
			ck_assert(slice_eq(skiplist_node_value(skiplist_node(
						   &f.list, node)),
					   v));
			ck_assert(slice_eq(
				skiplist_node_key(skiplist_node(&f.list, node)),
				k.user_key));
		}
	fixture_fini(&f);
	free(value);
}
END_TEST

START_TEST(a_key_too_long_for_a_node_is_refused)
{
	struct skiplist_splice sp = { 0 };
	uint8_t *key = calloc(1, 65536);
	struct fixture f;
	struct ikey k;
	uint32_t node;

	fixture_init(&f, 1 << 20);
	k = ikey_make(slice_of(key, 65536), 1, KIND_PUT);
	ck_assert_int_eq(
		skiplist_insert(&f.list, &k, slice_of(key, 1), 0, &sp, &node),
		CAIRN_ENOMEM);
	k = ikey_make(slice_of(key, 65535), 1, KIND_PUT);
	ck_assert_int_eq(
		skiplist_insert(&f.list, &k, slice_of(key, 1), 0, &sp, &node),
		CAIRN_OK);
	ck_assert_int_eq(skiplist_seek_ge(&f.list, &k), node);
	fixture_fini(&f);
	free(key);
}
END_TEST

/* Offsets near 4 GiB: only the pages that are used get memory. */
START_TEST(offsets_near_the_end_of_the_range_work)
{
	struct skiplist_splice sp = { 0 };
	struct fixture f;
	uint64_t n = 0;
	uint32_t node = 0;
	int err;

	memset(&f, 0, sizeof(f));
	if (arena_init(&f.arena, ARENA_MAX))
		return; /* no such address range to be had here */
	ck_assert_int_eq(arena_init(&f.blocks, 1 << 20), CAIRN_OK);
	ck_assert_int_eq(skiplist_init(&f.list, &f.arena, &f.blocks), CAIRN_OK);
	ck_assert_uint_ne(arena_alloc(&f.arena, ARENA_MAX - 200000), 0);
	do {
		uint8_t key[8];
		struct ikey k;

		put_be64(key, n * 7919 % 10007);
		k = ikey_make(slice_of(key, 8), n, KIND_PUT);
		err = skiplist_insert(&f.list, &k, slice_str("value"), 0, &sp,
				      &node);
		n += !err;
	} while (!err);
	ck_assert_uint_gt(n, 2000);
	ck_assert_uint_gt(node, UINT32_MAX - 1000);
	ck_assert_uint_eq(check_list(&f.list), n);
	fixture_fini(&f);
}
END_TEST

/* ------------------------------------------------------------ many threads */

enum { WRITERS = 4, PER_WRITER = 4000 };

struct crowd {
	struct fixture f;
	struct key_index index;
	_Atomic uint32_t inserted[WRITERS]; /* of each writer's own keys */
	_Atomic bool done;
	bool hot; /* all write versions of a few keys */
};

struct writer {
	struct crowd *c;
	uint32_t number;
};

#define CROWD_KEY_LEN 16

/* The i-th insertion of a writer: spread over the list, none alike. */
static struct ikey crowd_key(const struct crowd *c, uint32_t writer, uint32_t i,
			     uint8_t *bytes)
{
	uint64_t seqno = (uint64_t)i * WRITERS + writer + 1;

	/* More in common than a prefix holds. */
	memcpy(bytes, "all/of/them/", 12);
	if (c->hot)
		put_be32(bytes + 12, i % 3);
	else
		put_be32(bytes + 12, (i * 2654435761u & ~3u) | writer);
	return ikey_make(slice_of(bytes, CROWD_KEY_LEN), seqno, KIND_PUT);
}

static void *crowd_write(void *arg)
{
	struct writer *w = arg;
	struct crowd *c = w->c;
	struct skiplist_splice sp = { 0 };

	for (uint32_t i = 0; i < PER_WRITER; i++) {
		uint8_t bytes[CROWD_KEY_LEN];
		struct ikey k = crowd_key(c, w->number, i, bytes);
		struct index_key ik = index_key_of(k.user_key);
		bool sure;
		uint32_t near, node;

		near = key_index_find(&c->index, &c->f.list, &ik, &sure);
		ck_assert_int_eq(skiplist_insert(&c->f.list, &k,
						 slice_of(bytes, 4), near, &sp,
						 &node),
				 CAIRN_OK);
		key_index_add(&c->index, &c->f.list, &ik, node);
		atomic_store_explicit(&c->inserted[w->number], i + 1,
				      memory_order_release);
	}
	return NULL;
}

/* Everything whose insertion has returned is found, either way. */
static void crowd_look(struct crowd *c, struct rng *rng)
{
	const struct skiplist *s = &c->f.list;
	uint32_t writer = (uint32_t)rng_below(rng, WRITERS);
	uint32_t n = atomic_load_explicit(&c->inserted[writer],
					  memory_order_acquire);
	uint32_t node, other;
	struct index_key ik;
	uint8_t bytes[CROWD_KEY_LEN];
	struct ikey k, got;
	bool sure;

	if (!n)
		return;
	k = crowd_key(c, writer, (uint32_t)rng_below(rng, n), bytes);
	node = skiplist_seek_ge(s, &k);
	ck_assert_uint_ne(node, s->head);
	got = node_ikey(s, node);
	ck_assert_int_eq(ikey_cmp(&k, &got), 0);

	ik = index_key_of(k.user_key);
	other = key_index_find(&c->index, s, &ik, &sure);
	ck_assert(other || !sure);
	if (other)
		ck_assert(slice_eq(node_ikey(s, other).user_key, k.user_key));

	/* A step to the side and what lies there is in order. */
	other = skiplist_prev(s, node);
	if (other != s->head) {
		struct ikey before = node_ikey(s, other);

		ck_assert_int_lt(ikey_cmp(&before, &k), 0);
	}
	/* Walking on from any earlier node must come by. */
	while (other != node) {
		other = skiplist_next(s, other);
		ck_assert(other != s->head || node == s->head);
	}
}

static void *crowd_read(void *arg)
{
	struct writer *w = arg;
	struct crowd *c = w->c;
	const struct skiplist *s = &c->f.list;
	struct rng rng;
	bool done;

	rng_init(&rng, w->number);
	do {
		uint32_t at = s->head;
		struct ikey last = { 0 };
		bool have = false;
		size_t n = 0, backward = w->number % 2;
		size_t least = 0;

		done = atomic_load_explicit(&c->done, memory_order_acquire);
		for (int i = 0; i < WRITERS; i++)
			least += atomic_load_explicit(&c->inserted[i],
						      memory_order_acquire);
		for (;;) {
			struct ikey k;

			at = backward ? skiplist_prev(s, at)
				      : skiplist_next(s, at);
			if (at == s->head)
				break;
			k = node_ikey(s, at);
			if (have && backward)
				ck_assert_int_lt(ikey_cmp(&k, &last), 0);
			else if (have)
				ck_assert_int_gt(ikey_cmp(&k, &last), 0);
			last = k;
			have = true;
			n++;
		}
		ck_assert_uint_ge(n, least);
		for (int i = 0; i < 50; i++)
			crowd_look(c, &rng);
	} while (!done);
	return NULL;
}

START_TEST(many_threads_insert_and_read_at_once)
{
	pthread_t writers[WRITERS], readers[2];
	struct writer w[WRITERS];
	static struct crowd c;

	memset(&c, 0, sizeof(c));
	c.hot = _i;
	fixture_init(&c.f, 4 << 20);
	/* Few slots, so that chains meet. */
	ck_assert_int_eq(key_index_init(&c.index, &c.f.arena, 4096), 0);
	for (uint32_t i = 0; i < WRITERS; i++)
		w[i] = (struct writer){ &c, i };
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(
			pthread_create(&readers[i], NULL, crowd_read, &w[i]),
			0);
	for (size_t i = 0; i < WRITERS; i++)
		ck_assert_int_eq(
			pthread_create(&writers[i], NULL, crowd_write, &w[i]),
			0);
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store_explicit(&c.done, true, memory_order_release);
	for (size_t i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	ck_assert_uint_eq(check_list(&c.f.list), WRITERS * PER_WRITER);
	fixture_fini(&c.f);
}
END_TEST

/* ---------------------------------------------------------------- the index */

START_TEST(the_index_finds_every_key_or_says_it_is_not_sure)
{
	enum { N = 2000 };
	/* From one slot, where chains are long, to plenty. */
	size_t n_slots = (size_t)1 << (2 * _i);
	struct skiplist_splice sp = { 0 };
	struct key_index index;
	struct fixture f;
	struct rng rng;
	uint32_t node;
	int unsure = 0;

	rng_init(&rng, 1);
	fixture_init(&f, 2 << 20);
	ck_assert_int_eq(key_index_init(&index, &f.arena, n_slots), CAIRN_OK);
	for (uint64_t i = 0; i < N; i++) {
		uint8_t bytes[8];
		struct ikey k;
		struct index_key ik;

		put_be64(bytes, rng_below(&rng, N / 4) * 2);
		k = ikey_make(slice_of(bytes, 8), i, KIND_PUT);
		ik = index_key_of(k.user_key);
		ck_assert_int_eq(skiplist_insert(&f.list, &k, slice_str("v"), 0,
						 &sp, &node),
				 CAIRN_OK);
		key_index_add(&index, &f.list, &ik, node);
	}
	for (uint64_t i = 0; i < N / 2; i++) {
		uint8_t bytes[8];
		struct ikey k;
		struct index_key ik;
		const struct skiplist_node *n;
		bool there, sure;

		put_be64(bytes, i);
		k = ikey_seek(slice_of(bytes, 8), SEQNO_MAX);
		ik = index_key_of(k.user_key);
		n = skiplist_node(&f.list, skiplist_seek_ge(&f.list, &k));
		there = skiplist_node_has_key(n, ik.key);
		node = key_index_find(&index, &f.list, &ik, &sure);
		unsure += !sure;
		if (node)
			ck_assert(slice_eq(node_ikey(&f.list, node).user_key,
					   k.user_key));
		else
			ck_assert(!there || !sure);
	}
	if (n_slots >= 1024)
		ck_assert_int_eq(unsure, 0);
	fixture_fini(&f);
}
END_TEST

START_TEST(overwriting_one_key_keeps_its_chain_short)
{
	struct skiplist_splice sp = { 0 };
	struct index_key hot = index_key_of(slice_str("hot"));
	struct index_key cold = index_key_of(slice_str("cold"));
	struct key_index index;
	struct fixture f;
	uint32_t node;
	bool sure;

	fixture_init(&f, 2 << 20);
	ck_assert_int_eq(key_index_init(&index, &f.arena, 1), CAIRN_OK);
	for (uint64_t i = 0; i < 1000; i++) {
		const struct index_key *ik = i ? &hot : &cold;
		struct ikey k = ikey_make(ik->key, i, KIND_PUT);

		ck_assert_int_eq(skiplist_insert(&f.list, &k, slice_str("v"), 0,
						 &sp, &node),
				 CAIRN_OK);
		key_index_add(&index, &f.list, ik, node);
		ck_assert_uint_eq(key_index_find(&index, &f.list, ik, &sure),
				  node);
	}
	node = key_index_find(&index, &f.list, &cold, &sure);
	ck_assert(sure);
	ck_assert_uint_ne(node, 0);
	fixture_fini(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("skiplist");
	TCase *t = tcase_create("arena");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_arena_gives_out_all_it_has_and_no_more);
	tcase_add_test(t, a_large_arena_begins_on_a_huge_page);
	suite_add_tcase(s, t);

	t = tcase_create("list");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, nodes_compare_as_internal_keys);
	tcase_add_loop_test(t, entries_inserted_in_any_order_are_found, 0,
			    2 * N_ORDERS);
	tcase_add_loop_test(t, a_list_without_room_for_blocks_is_slow_but_right,
			    0, 6);
	tcase_add_test(t, an_internal_key_is_taken_once);
	tcase_add_loop_test(t, versions_are_linked_from_any_other_version, 0,
			    8);
	tcase_add_test(t, a_full_arena_refuses_and_the_list_stays_whole);
	tcase_add_test(t, a_node_takes_no_more_than_its_upper_bound);
	tcase_add_test(t, values_of_any_length_come_back);
	tcase_add_test(t, a_key_too_long_for_a_node_is_refused);
	tcase_add_test(t, offsets_near_the_end_of_the_range_work);
	suite_add_tcase(s, t);

	t = tcase_create("threads");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, many_threads_insert_and_read_at_once, 0, 2);
	suite_add_tcase(s, t);

	t = tcase_create("index");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, the_index_finds_every_key_or_says_it_is_not_sure,
			    0, 7);
	tcase_add_test(t, overwriting_one_key_keeps_its_chain_short);
	suite_add_tcase(s, t);
	return run_suite(s);
}
