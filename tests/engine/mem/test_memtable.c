/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/memtable.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "engine/kv/batch.h"

#include "tests/support/runner.h"

static struct memtable *memtable_make(size_t capacity)
{
	struct memtable *m;

	ck_assert_int_eq(memtable_new(capacity, 9, &m), CAIRN_OK);
	return m;
}

/* Reserve, apply and let go, as the commit path does. */
static int write_bytes(struct memtable *m, struct cairn_slice bytes)
{
	size_t cost = memtable_batch_cost(bytes.len, batch_bytes_count(bytes));
	int err;

	ck_assert(memtable_reserve(m, cost));
	err = memtable_apply(m, bytes);
	memtable_writer_unref(m);
	return err;
}

/* One operation as a batch of its own. */
static void write_op(struct memtable *m, uint64_t seqno, uint8_t kind,
		     struct cairn_slice key, struct cairn_slice value)
{
	struct buf b = { 0 };

	ck_assert_int_eq(buf_append_le64(&b, seqno), 0);
	ck_assert_int_eq(buf_append_le32(&b, 1), 0);
	ck_assert_int_eq(buf_append(&b, &kind, 1), 0);
	ck_assert_int_eq(buf_append_lp(&b, key), 0);
	if (kind == KIND_PUT || kind == KIND_MERGE)
		ck_assert_int_eq(buf_append_lp(&b, value), 0);
	ck_assert_int_eq(write_bytes(m, buf_slice(&b)), CAIRN_OK);
	buf_fini(&b);
}

static void check_get(const struct memtable *m, const char *key,
		      uint64_t snapshot, uint64_t want_seqno, uint8_t want_kind,
		      const char *want)
{
	uint64_t trailer;
	struct cairn_slice value;

	ck_assert_int_eq(
		memtable_get(m, slice_str(key), snapshot, &trailer, &value),
		CAIRN_OK);
	ck_assert_uint_eq(trailer, ikey_pack(want_seqno, want_kind));
	ck_assert(slice_eq(value, slice_str(want)));
}

static void check_no_get(const struct memtable *m, const char *key,
			 uint64_t snapshot)
{
	uint64_t trailer = 77;
	struct cairn_slice value = slice_str("untouched");

	ck_assert_int_eq(
		memtable_get(m, slice_str(key), snapshot, &trailer, &value),
		CAIRN_NOT_FOUND);
	ck_assert_uint_eq(trailer, 77);
	ck_assert(slice_eq(value, slice_str("untouched")));
}

START_TEST(a_new_memtable_is_empty)
{
	struct memtable *m = memtable_make(1 << 20);

	ck_assert(memtable_empty(m));
	ck_assert_uint_eq(memtable_entries(m), 0);
	ck_assert_uint_eq(memtable_bytes(m), 0);
	ck_assert_uint_eq(memtable_capacity(m), 1 << 20);
	ck_assert_uint_eq(memtable_log_number(m), 9);
	ck_assert(memtable_has_writers(m));
	memtable_writer_unref(m);
	ck_assert(!memtable_has_writers(m));
	check_no_get(m, "", SEQNO_MAX);
	memtable_ref(m);
	memtable_unref(m);
	memtable_unref(m);
	memtable_unref(NULL);
}
END_TEST

START_TEST(a_capacity_beyond_the_offsets_is_refused)
{
	struct memtable *m = NULL;

	ck_assert_int_eq(memtable_new((UINT64_C(4) << 30) - 65535, 1, &m),
			 CAIRN_EINVAL);
	ck_assert_int_eq(memtable_new(SIZE_MAX, 1, &m), CAIRN_EINVAL);
	ck_assert_ptr_null(m);
	/* The largest, where the address range allows it. */
	if (memtable_new((UINT64_C(4) << 30) - 65536, 1, &m) == CAIRN_OK) {
		write_op(m, 1, KIND_PUT, slice_str("k"), slice_str("v"));
		check_get(m, "k", 1, 1, KIND_PUT, "v");
		ck_assert(memtable_reserve(m, memtable_capacity(m) -
						      memtable_bytes(m)));
		memtable_unref(m);
	}
}
END_TEST

START_TEST(get_sees_the_newest_version_at_or_below_the_snapshot)
{
	struct memtable *m = memtable_make(1 << 20);

	write_op(m, 10, KIND_PUT, slice_str("k"), slice_str("ten"));
	write_op(m, 20, KIND_DELETE, slice_str("k"), slice_str(""));
	write_op(m, 30, KIND_MERGE, slice_str("k"), slice_str("thirty"));
	write_op(m, 40, KIND_SINGLE_DELETE, slice_str("k"), slice_str(""));
	write_op(m, 50, KIND_PUT, slice_of("k\0", 2), slice_str("other"));
	write_op(m, 60, KIND_PUT, slice_str("j"), slice_str("jay"));

	check_no_get(m, "k", 9);
	check_get(m, "k", 10, 10, KIND_PUT, "ten");
	check_get(m, "k", 19, 10, KIND_PUT, "ten");
	check_get(m, "k", 20, 20, KIND_DELETE, "");
	check_get(m, "k", 29, 20, KIND_DELETE, "");
	check_get(m, "k", 39, 30, KIND_MERGE, "thirty");
	check_get(m, "k", 40, 40, KIND_SINGLE_DELETE, "");
	check_get(m, "k", SEQNO_MAX, 40, KIND_SINGLE_DELETE, "");
	check_no_get(m, "l", SEQNO_MAX);
	check_no_get(m, "", SEQNO_MAX);
	check_get(m, "j", SEQNO_MAX, 60, KIND_PUT, "jay");
	ck_assert_uint_eq(memtable_entries(m), 6);
	ck_assert_uint_eq(memtable_smallest_seqno(m), 10);
	ck_assert_uint_eq(memtable_largest_seqno(m), 60);
	memtable_unref(m);
}
END_TEST

START_TEST(a_snapshot_far_behind_many_versions_sees_its_own)
{
	struct memtable *m = memtable_make(1 << 20);
	char text[32];

	for (uint64_t i = 1; i <= 1000; i++) {
		snprintf(text, sizeof(text), "v%d", (int)i);
		write_op(m, 2 * i, KIND_PUT, slice_str("hot"), slice_str(text));
	}
	check_no_get(m, "hot", 1);
	for (uint64_t i = 2; i <= 2001; i++) {
		snprintf(text, sizeof(text), "v%d", (int)(i / 2));
		check_get(m, "hot", i, i & ~UINT64_C(1), KIND_PUT, text);
	}
	memtable_unref(m);
}
END_TEST

START_TEST(the_operations_of_a_batch_get_ascending_numbers)
{
	struct memtable *m = memtable_make(1 << 20);
	struct cairn_batch *b = cairn_batch_new();

	ck_assert_int_eq(cairn_batch_put(b, slice_str("a"), slice_str("1")), 0);
	ck_assert_int_eq(cairn_batch_put(b, slice_str("a"), slice_str("2")), 0);
	ck_assert_int_eq(cairn_batch_delete(b, slice_str("b")), 0);
	ck_assert_int_eq(
		cairn_batch_put(b, slice_of(NULL, 0), slice_of(NULL, 0)), 0);
	batch_set_seqno(b, 100);
	ck_assert_int_eq(write_bytes(m, buf_slice(&b->bytes)), CAIRN_OK);
	check_get(m, "a", 100, 100, KIND_PUT, "1");
	check_get(m, "a", 101, 101, KIND_PUT, "2");
	check_get(m, "b", 102, 102, KIND_DELETE, "");
	check_no_get(m, "", 102);
	check_get(m, "", 103, 103, KIND_PUT, "");
	ck_assert_uint_eq(memtable_smallest_seqno(m), 100);
	ck_assert_uint_eq(memtable_largest_seqno(m), 103);
	/* The same numbers again are two logs that contradict each other. */
	ck_assert_int_eq(write_bytes(m, buf_slice(&b->bytes)), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "100"));
	cairn_batch_free(b);
	memtable_unref(m);
}
END_TEST

/* Operations after which "z" shows which number came next. */
static const struct {
	const char *op;
	size_t len;
	uint32_t count;
	int result;
	uint64_t z_seqno;
} foreign[] = {
	{ "\x03\x04"
	  "data",
	  6, 1, CAIRN_OK, 7 },
	{ "\x0d", 1, 1, CAIRN_OK, 7 },
	/* Other families are skipped, numbers are not. */
	{ "\x05\x01\x01k\x01v", 6, 2, CAIRN_OK, 8 },
	{ "\x04\x01\x01k", 4, 2, CAIRN_OK, 8 },
	{ "\x0e\x01\x01"
	  "a\x01"
	  "b",
	  6, 2, CAIRN_OK, 8 },
	/* Family 0 in the long form. */
	{ "\x05\x00\x01k\x01v", 6, 2, CAIRN_OK, 8 },
	{ "\x0f\x01"
	  "a\x01"
	  "b",
	  5, 2, CAIRN_OK, 8 },
	{ "\x0e\x00\x01"
	  "a\x01"
	  "b",
	  6, 2, CAIRN_OK, 8 },
	{ "\x0f\x01"
	  "b\x01"
	  "a",
	  5, 2, CAIRN_ECORRUPT, 0 },
	/* An empty range takes no number. */
	{ "\x0f\x01"
	  "a\x01"
	  "a",
	  5, 2, CAIRN_OK, 7 },
	{ "\x09", 1, 1, CAIRN_ENOTSUP, 0 },
	{ "\x16\x01k\x01v", 5, 2, CAIRN_ENOTSUP, 0 },
};

START_TEST(foreign_operations_are_skipped_or_refused)
{
	struct memtable *m = memtable_make(1 << 20);
	struct buf b = { 0 };

	ck_assert_int_eq(buf_append_le64(&b, 7), 0);
	ck_assert_int_eq(buf_append_le32(&b, foreign[_i].count), 0);
	ck_assert_int_eq(buf_append(&b, foreign[_i].op, foreign[_i].len), 0);
	ck_assert_int_eq(buf_append(&b, "\x00\x01z", 3), 0);
	ck_assert_int_eq(write_bytes(m, buf_slice(&b)), foreign[_i].result);
	if (foreign[_i].result)
		check_no_get(m, "z", SEQNO_MAX);
	else
		check_get(m, "z", SEQNO_MAX, foreign[_i].z_seqno, KIND_DELETE,
			  "");
	buf_fini(&b);
	memtable_unref(m);
}
END_TEST

START_TEST(what_is_reserved_is_enough_and_the_rest_is_given_back)
{
	struct memtable *m = memtable_make(200000);
	struct cairn_batch *b = cairn_batch_new();
	struct rng rng;
	uint64_t seqno = 1;
	static uint8_t bytes[300];

	rng_init(&rng, 3);
	for (;;) {
		size_t before = memtable_bytes(m), cost;
		uint32_t n = 1 + (uint32_t)rng_below(&rng, 8);

		cairn_batch_clear(b);
		for (uint32_t i = 0; i < n; i++) {
			size_t len = rng_below(&rng, 40);

			put_be64(bytes, rng_next(&rng));
			ck_assert_int_eq(
				cairn_batch_put(
					b, slice_of(bytes, len),
					slice_of(bytes, rng_below(&rng, 200))),
				0);
		}
		batch_set_seqno(b, seqno);
		cost = memtable_batch_cost(cairn_batch_bytes(b), n);
		if (!memtable_reserve(m, cost))
			break;
		ck_assert_uint_eq(memtable_bytes(m), before + cost);
		ck_assert_int_eq(memtable_apply(m, buf_slice(&b->bytes)),
				 CAIRN_OK);
		memtable_writer_unref(m);
		/* Blocks of the list are not part of it, rare as they are. */
		ck_assert_uint_le(memtable_bytes(m), before + cost + 2048);
		seqno += n;
	}
	ck_assert_uint_gt(memtable_bytes(m), 195000);
	ck_assert_uint_le(memtable_bytes(m), 202048);
	ck_assert_uint_eq(memtable_entries(m), seqno - 1);
	ck_assert(!memtable_reserve(m, 200001));
	ck_assert(!memtable_reserve(m, SIZE_MAX));
	cairn_batch_free(b);
	memtable_unref(m);
}
END_TEST

START_TEST(an_empty_memtable_takes_a_batch_that_costs_its_whole_capacity)
{
	struct cairn_batch *b = cairn_batch_new();
	struct memtable *m;
	size_t cost;

	for (uint32_t i = 0; i < 100; i++) {
		uint8_t key[4];

		put_be32(key, i);
		ck_assert_int_eq(
			cairn_batch_put(b, slice_of(key, 4), slice_str("v")),
			0);
	}
	batch_set_seqno(b, 1);
	cost = memtable_batch_cost(cairn_batch_bytes(b), 100);
	m = memtable_make(cost);
	ck_assert_int_eq(write_bytes(m, buf_slice(&b->bytes)), CAIRN_OK);
	ck_assert_uint_eq(memtable_entries(m), 100);
	memtable_unref(m);
	m = memtable_make(cost - 1);
	ck_assert(!memtable_reserve(m, cost));
	memtable_unref(m);
	m = memtable_make(0);
	ck_assert(!memtable_reserve(m, 1));
	memtable_unref(m);
	cairn_batch_free(b);
}
END_TEST

/* ---------------------------------------------------------------- iterators */

/* Keys that meet every case of the comparison, few enough to collide. */
static size_t random_key(struct rng *rng, uint8_t *key)
{
	size_t len = rng_below(rng, 5);

	if (rng_one_in(rng, 3))
		len += 9;
	memset(key, 'x', 16);
	for (size_t i = 0; i < len; i++)
		if (i < 2 || i > 8)
			key[i] = (uint8_t)('a' + rng_below(rng, 3));
	return len;
}

enum { MODEL_MAX = 2000 };

struct model_entry {
	uint8_t bytes[16];
	struct ikey key;
	uint32_t value;
};

static int model_cmp(const void *a, const void *b)
{
	const struct model_entry *x = a, *y = b;
	/* Sorting moves the bytes, so the keys' own pointers do not hold. */
	struct ikey kx = { slice_of(x->bytes, x->key.user_key.len),
			   x->key.trailer };
	struct ikey ky = { slice_of(y->bytes, y->key.user_key.len),
			   y->key.trailer };

	return ikey_cmp(&kx, &ky);
}

static struct model_entry model[MODEL_MAX];

/* A memtable of random entries, and the sorted model of it. */
static struct memtable *make_random(uint64_t seed)
{
	static const uint8_t kinds[] = { KIND_PUT, KIND_DELETE, KIND_MERGE,
					 KIND_SINGLE_DELETE };
	struct memtable *m = memtable_make(1 << 20);
	struct rng rng;

	rng_init(&rng, seed);
	for (size_t i = 0; i < MODEL_MAX; i++) {
		struct model_entry *e = &model[i];
		size_t len = random_key(&rng, e->bytes);
		uint8_t kind = kinds[rng_below(&rng, 4)];
		uint8_t value[4];

		e->value = (uint32_t)i;
		put_le32(value, e->value);
		e->key = ikey_make(slice_of(e->bytes, len), i + 1, kind);
		write_op(m, i + 1, kind, e->key.user_key, slice_of(value, 4));
	}
	qsort(model, MODEL_MAX, sizeof(model[0]), model_cmp);
	/* The keys moved with the entries. */
	for (size_t i = 0; i < MODEL_MAX; i++)
		model[i].key.user_key.data = model[i].bytes;
	return m;
}

static void check_at(const struct iter *it, size_t i)
{
	ck_assert_int_eq(it->status, CAIRN_OK);
	if (i >= MODEL_MAX) {
		ck_assert(!it->valid);
		return;
	}
	ck_assert(it->valid);
	ck_assert_int_eq(ikey_cmp(&it->key, &model[i].key), 0);
	if (ikey_kind(&it->key) == KIND_PUT ||
	    ikey_kind(&it->key) == KIND_MERGE)
		ck_assert_uint_eq(load_le32(it->value.data), model[i].value);
	else
		ck_assert_uint_eq(it->value.len, 0);
}

START_TEST(an_iterator_walks_both_ways)
{
	struct memtable *m = make_random(1);
	struct iter *it;
	size_t i = 0;

	ck_assert_int_eq(memtable_iter_new(m, &it), CAIRN_OK);
	ck_assert(!it->valid);
	/* The iterator keeps the memory. */
	memtable_unref(m);
	for (iter_first(it); it->valid; iter_next(it))
		check_at(it, i++);
	ck_assert_uint_eq(i, MODEL_MAX);
	for (iter_last(it); it->valid; iter_prev(it))
		check_at(it, --i);
	ck_assert_uint_eq(i, 0);
	/* Zigzag. */
	iter_first(it);
	for (size_t k = 0; k + 2 < MODEL_MAX; k++) {
		iter_next(it);
		iter_next(it);
		check_at(it, k + 2);
		iter_prev(it);
		check_at(it, k + 1);
	}
	iter_close(it);
	iter_close(NULL);
}
END_TEST

START_TEST(an_iterator_seeks_to_every_place)
{
	struct memtable *m = make_random(2);
	struct iter *it;
	struct rng rng;

	rng_init(&rng, 8);
	ck_assert_int_eq(memtable_iter_new(m, &it), CAIRN_OK);
	for (int round = 0; round < 5000; round++) {
		uint8_t bytes[16];
		struct ikey k = { slice_of(bytes, random_key(&rng, bytes)),
				  rng_below(&rng, MODEL_MAX << 8) };
		size_t lo = 0, hi = MODEL_MAX;

		if (round % 2)
			k = model[rng_below(&rng, MODEL_MAX)].key;
		while (lo < hi) {
			size_t mid = (lo + hi) / 2;

			if (ikey_cmp(&model[mid].key, &k) < 0)
				lo = mid + 1;
			else
				hi = mid;
		}
		iter_seek_ge(it, &k);
		check_at(it, lo);
		iter_seek_prefix_ge(it, &k, slice_of(bytes, 0));
		check_at(it, lo);
		iter_seek_lt(it, &k);
		check_at(it, lo ? lo - 1 : MODEL_MAX);
		/* From one before, and from further away. */
		for (uint64_t n = rng_below(&rng, 3); n && it->valid; n--)
			iter_prev(it);
		if (it->valid) {
			iter_seek_forward(it, &k);
			check_at(it, lo);
		}
	}
	iter_close(it);
	memtable_unref(m);
}
END_TEST

START_TEST(get_agrees_with_the_model_at_every_snapshot)
{
	struct memtable *m = make_random(3);
	struct rng rng;

	rng_init(&rng, 9);
	for (int round = 0; round < 20000; round++) {
		uint8_t bytes[16];
		struct cairn_slice key =
			slice_of(bytes, random_key(&rng, bytes));
		uint64_t snapshot = rng_below(&rng, MODEL_MAX + 2);
		const struct model_entry *want = NULL;
		uint64_t trailer;
		struct cairn_slice value;
		size_t lo = 0, hi = MODEL_MAX;
		struct ikey k = ikey_seek(key, snapshot);

		while (lo < hi) {
			size_t mid = (lo + hi) / 2;

			if (ikey_cmp(&model[mid].key, &k) < 0)
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo < MODEL_MAX && slice_eq(model[lo].key.user_key, key))
			want = &model[lo];
		ck_assert_int_eq(
			memtable_get(m, key, snapshot, &trailer, &value),
			want ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (want)
			ck_assert_uint_eq(trailer, want->key.trailer);
	}
	memtable_unref(m);
}
END_TEST

/* ------------------------------------------------------------------- threads
 */

enum { WRITERS = 2, BATCHES = 1500, BATCH_LEN = 3 };

struct crowd {
	struct memtable *m;
	pthread_mutex_t commit; /* as in the commit path: reserve and number */
	uint64_t next_seqno;
	_Atomic uint64_t applied[WRITERS]; /* first seqno of the last batch */
	_Atomic bool done;
};

struct worker {
	struct crowd *c;
	uint32_t number;
};

/* Each batch writes its number to the writer's own key and to two others. */
static void *crowd_write(void *arg)
{
	struct worker *w = arg;
	struct crowd *c = w->c;
	struct cairn_batch *b = cairn_batch_new();

	for (uint32_t i = 0; i < BATCHES; i++) {
		uint8_t own[5] = { 'o', 0, 0, 0, (uint8_t)w->number };
		uint8_t other[5] = { 'x' };
		uint8_t value[4];
		uint64_t seqno;

		put_be32(value, i);
		put_be32(other + 1, i * 2654435761u + w->number);
		cairn_batch_clear(b);
		ck_assert_int_eq(cairn_batch_put(b, slice_of(own, 5),
						 slice_of(value, 4)),
				 0);
		ck_assert_int_eq(cairn_batch_put(b, slice_of(other, 5),
						 slice_of(value, 4)),
				 0);
		ck_assert_int_eq(cairn_batch_delete(b, slice_str("shared")), 0);

		pthread_mutex_lock(&c->commit);
		seqno = c->next_seqno;
		c->next_seqno += BATCH_LEN;
		ck_assert(memtable_reserve(
			c->m,
			memtable_batch_cost(cairn_batch_bytes(b), BATCH_LEN)));
		pthread_mutex_unlock(&c->commit);

		batch_set_seqno(b, seqno);
		ck_assert_int_eq(memtable_apply(c->m, buf_slice(&b->bytes)),
				 CAIRN_OK);
		memtable_writer_unref(c->m);
		atomic_store_explicit(&c->applied[w->number], seqno,
				      memory_order_release);
	}
	cairn_batch_free(b);
	return NULL;
}

static void *crowd_read(void *arg)
{
	struct worker *w = arg;
	struct crowd *c = w->c;
	struct rng rng;

	rng_init(&rng, w->number);
	while (!atomic_load_explicit(&c->done, memory_order_acquire)) {
		uint32_t who = (uint32_t)rng_below(&rng, WRITERS);
		uint8_t own[5] = { 'o', 0, 0, 0, (uint8_t)who };
		uint64_t seqno = atomic_load_explicit(&c->applied[who],
						      memory_order_acquire);
		uint64_t trailer;
		struct cairn_slice value;

		if (!seqno)
			continue;
		/* Exactly that version, whatever goes on beside. */
		ck_assert_int_eq(memtable_get(c->m, slice_of(own, 5), seqno,
					      &trailer, &value),
				 CAIRN_OK);
		ck_assert_uint_eq(trailer, ikey_pack(seqno, KIND_PUT));
		ck_assert_int_eq(memtable_get(c->m, slice_str("shared"),
					      seqno + 2, &trailer, &value),
				 CAIRN_OK);
		ck_assert_uint_eq(trailer, ikey_pack(seqno + 2, KIND_DELETE));
	}
	return NULL;
}

START_TEST(what_was_applied_is_read_while_others_write)
{
	pthread_t writers[WRITERS], reader;
	struct worker w[WRITERS];
	static struct crowd c;

	c = (struct crowd){ .m = memtable_make(4 << 20), .next_seqno = 1 };
	pthread_mutex_init(&c.commit, NULL);
	for (uint32_t i = 0; i < WRITERS; i++)
		w[i] = (struct worker){ &c, i };
	ck_assert_int_eq(pthread_create(&reader, NULL, crowd_read, &w[0]), 0);
	for (uint32_t i = 0; i < WRITERS; i++)
		ck_assert_int_eq(
			pthread_create(&writers[i], NULL, crowd_write, &w[i]),
			0);
	for (uint32_t i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store_explicit(&c.done, true, memory_order_release);
	pthread_join(reader, NULL);

	memtable_writer_unref(c.m);
	ck_assert(!memtable_has_writers(c.m));
	ck_assert_uint_eq(memtable_entries(c.m), WRITERS * BATCHES * BATCH_LEN);
	ck_assert_uint_eq(memtable_smallest_seqno(c.m), 1);
	ck_assert_uint_eq(memtable_largest_seqno(c.m), c.next_seqno - 1);
	memtable_unref(c.m);
	pthread_mutex_destroy(&c.commit);
}
END_TEST

/* -------------------------------------------------------- range tombstones */

#define RANGE_WRITERS 2
#define RANGES        300 /* of each writer */

struct range_crowd {
	struct memtable *m;
	pthread_mutex_t commit;
	uint64_t next_seqno;
	_Atomic uint64_t visible[RANGE_WRITERS];
	_Atomic bool done;
};

struct range_worker {
	struct range_crowd *c;
	uint32_t number;
};

static void apply_ranges(struct range_crowd *c, struct cairn_batch *b,
			 uint64_t *seqno)
{
	pthread_mutex_lock(&c->commit);
	*seqno = c->next_seqno;
	c->next_seqno += b->count;
	ck_assert(memtable_reserve(
		c->m, memtable_batch_cost(cairn_batch_bytes(b), b->count)));
	pthread_mutex_unlock(&c->commit);
	batch_set_seqno(b, *seqno);
	ck_assert_int_eq(memtable_apply(c->m, buf_slice(&b->bytes)), CAIRN_OK);
	memtable_writer_unref(c->m);
}

/* Each deletes ranges of its own letter, again and again. */
static void *range_write(void *arg)
{
	struct range_worker *w = arg;
	struct range_crowd *c = w->c;
	struct cairn_batch *b = cairn_batch_new();

	for (int i = 0; i < RANGES; i++) {
		char start[16], end[16];
		uint64_t seqno;

		snprintf(start, sizeof(start), "%c%04d", (int)('a' + w->number),
			 i % 50);
		snprintf(end, sizeof(end), "%c%04d", (int)('a' + w->number),
			 i % 50 + 1 + i % 7);
		cairn_batch_clear(b);
		ck_assert_int_eq(cairn_batch_delete_range(b, slice_str(start),
							  slice_str(end)),
				 CAIRN_OK);
		apply_ranges(c, b, &seqno);
		atomic_store_explicit(&c->visible[w->number],
				      seqno << 16 | (uint64_t)i,
				      memory_order_release);
	}
	cairn_batch_free(b);
	return NULL;
}

static void *range_read(void *arg)
{
	struct range_crowd *c = arg;
	struct rng rng;

	rng_init(&rng, 1);
	while (!atomic_load_explicit(&c->done, memory_order_acquire)) {
		uint32_t who = (uint32_t)rng_below(&rng, RANGE_WRITERS);
		uint64_t v = atomic_load_explicit(&c->visible[who],
						  memory_order_acquire);
		struct range_dels *set;
		char key[16];

		if (!v)
			continue;
		snprintf(key, sizeof(key), "%c%04d", (int)('a' + who),
			 (int)(v & 0xffff) % 50);
		/* At its own number the range is the newest one there. */
		ck_assert_uint_eq(memtable_cover(c->m, slice_str(key), v >> 16),
				  v >> 16);
		if (!rng_one_in(&rng, 8))
			continue;
		ck_assert_int_eq(memtable_range_dels(c->m, &set), CAIRN_OK);
		ck_assert_uint_eq(
			range_dels_cover(set, slice_str(key), v >> 16),
			v >> 16);
		range_dels_unref(set);
	}
	return NULL;
}

START_TEST(ranges_are_seen_by_all_while_others_come)
{
	struct range_worker w[RANGE_WRITERS];
	pthread_t writers[RANGE_WRITERS], readers[2];
	static struct range_crowd c;
	struct range_del_list l = { 0 };

	c = (struct range_crowd){ .m = memtable_make(1 << 20),
				  .next_seqno = 1 };
	pthread_mutex_init(&c.commit, NULL);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
			pthread_create(&readers[i], NULL, range_read, &c), 0);
	for (uint32_t i = 0; i < RANGE_WRITERS; i++) {
		w[i] = (struct range_worker){ &c, i };
		ck_assert_int_eq(
			pthread_create(&writers[i], NULL, range_write, &w[i]),
			0);
	}
	for (uint32_t i = 0; i < RANGE_WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store_explicit(&c.done, true, memory_order_release);
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);

	memtable_writer_unref(c.m);
	ck_assert_uint_eq(memtable_entries(c.m), RANGE_WRITERS * RANGES);
	ck_assert_uint_eq(memtable_range_deletions(c.m),
			  RANGE_WRITERS * RANGES);
	ck_assert(!memtable_empty(c.m));
	ck_assert_uint_eq(memtable_smallest_seqno(c.m), 1);
	ck_assert_uint_eq(memtable_largest_seqno(c.m), RANGE_WRITERS * RANGES);
	ck_assert_int_eq(memtable_list_range_dels(c.m, &l), CAIRN_OK);
	ck_assert_uint_eq(l.n, RANGE_WRITERS * RANGES);
	range_del_list_fini(&l);
	memtable_unref(c.m);
	pthread_mutex_destroy(&c.commit);
}
END_TEST

/* Few, and more than are looked at one by one; with reads in between, which is
 * when sets are made. */
START_TEST(cover_is_the_newest_range_at_or_below_the_snapshot)
{
	static uint8_t from[400], to[400];
	struct range_crowd c = { .m = memtable_make(1 << 20), .next_seqno = 1 };
	struct cairn_batch *b = cairn_batch_new();
	struct rng rng;

	rng_init(&rng, (uint64_t)_i);
	pthread_mutex_init(&c.commit, NULL);
	ck_assert_uint_eq(memtable_cover(c.m, slice_str("k"), SEQNO_MAX), 0);
	for (uint64_t n = 0; n < 400; n++) {
		uint64_t seqno;

		from[n] = (uint8_t)rng_below(&rng, 200);
		to[n] = (uint8_t)(from[n] + 1 + rng_below(&rng, 20));
		cairn_batch_clear(b);
		ck_assert_int_eq(cairn_batch_delete_range(b,
							  slice_of(&from[n], 1),
							  slice_of(&to[n], 1)),
				 CAIRN_OK);
		apply_ranges(&c, b, &seqno);
		ck_assert_uint_eq(seqno, n + 1);
		for (int reads = 0; reads < 20; reads++) {
			uint8_t key = (uint8_t)rng_below(&rng, 230);
			uint64_t snapshot = rng_below(&rng, n + 3), want = 0;

			for (uint64_t i = 0; i <= n; i++)
				if (i + 1 <= snapshot && from[i] <= key &&
				    key < to[i])
					want = i + 1;
			ck_assert_uint_eq(memtable_cover(c.m, slice_of(&key, 1),
							 snapshot),
					  want);
		}
	}
	memtable_writer_unref(c.m);
	memtable_unref(c.m);
	cairn_batch_free(b);
	pthread_mutex_destroy(&c.commit);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memtable");
	TCase *t = tcase_create("memtable");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_new_memtable_is_empty);
	tcase_add_test(t, a_capacity_beyond_the_offsets_is_refused);
	tcase_add_test(t, get_sees_the_newest_version_at_or_below_the_snapshot);
	tcase_add_test(t, a_snapshot_far_behind_many_versions_sees_its_own);
	tcase_add_test(t, the_operations_of_a_batch_get_ascending_numbers);
	tcase_add_loop_test(t, foreign_operations_are_skipped_or_refused, 0,
			    (int)(sizeof(foreign) / sizeof(foreign[0])));
	tcase_add_test(t,
		       what_is_reserved_is_enough_and_the_rest_is_given_back);
	tcase_add_test(
		t,
		an_empty_memtable_takes_a_batch_that_costs_its_whole_capacity);
	suite_add_tcase(s, t);

	t = tcase_create("ranges");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(
		t, cover_is_the_newest_range_at_or_below_the_snapshot, 0, 4);
	suite_add_tcase(s, t);

	t = tcase_create("iterator");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_iterator_walks_both_ways);
	tcase_add_test(t, an_iterator_seeks_to_every_place);
	tcase_add_test(t, get_agrees_with_the_model_at_every_snapshot);
	suite_add_tcase(s, t);

	t = tcase_create("threads");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, what_was_applied_is_read_while_others_write);
	tcase_add_test(t, ranges_are_seen_by_all_while_others_come);
	suite_add_tcase(s, t);
	return run_suite(s);
}
