/* SPDX-License-Identifier: BSD-3-Clause */
/* A memtable made of a batch, against one that the batch was copied into. */
#include "engine/mem/batch_table.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/mem/memtable.h"
#include "tests/support/iter_pair.h"

#define BASE_SEQNO 1000

/* The same batch twice. */
struct pair {
	struct rng rng;
	struct cairn_batch *b;
	struct memtable *copied;
	struct memtable *whole;
};

static void random_key(struct rng *r, char key[32])
{
	static const char *const stems[] = { "", "a", "prefixed-", "prefixed-a",
					     "b\1" };

	snprintf(key, 32, "%s%0*u", stems[rng_below(r, 5)],
		 (int)rng_below(r, 3), (unsigned)rng_below(r, 30));
}

static void add_op(struct pair *p, uint32_t i, bool ranges)
{
	char key[32], end[32], value[200];
	struct cairn_slice k, v;
	int err;

	random_key(&p->rng, key);
	random_key(&p->rng, end);
	snprintf(value, sizeof(value), "%0*u", (int)rng_below(&p->rng, 180), i);
	k = slice_str(key);
	v = slice_str(value);
	switch (rng_below(&p->rng, ranges ? 8 : 7)) {
	case 0:
		err = cairn_batch_delete(p->b, k);
		break;
	case 1:
		err = cairn_batch_single_delete(p->b, k);
		break;
	case 2:
		err = cairn_batch_merge(p->b, k, v);
		break;
	case 3:
		err = cairn_batch_log_data(p->b, v);
		break;
	case 7:
		if (slice_cmp(k, slice_str(end)) >= 0)
			return;
		err = cairn_batch_delete_range(p->b, k, slice_str(end));
		break;
	default:
		err = cairn_batch_put(p->b, k, v);
		break;
	}
	ck_assert_int_eq(err, CAIRN_OK);
}

static void apply(struct memtable *m, struct cairn_slice bytes)
{
	ck_assert(memtable_reserve(
		m, memtable_batch_cost(bytes.len, batch_bytes_count(bytes))));
	ck_assert_int_eq(memtable_apply(m, bytes), CAIRN_OK);
	memtable_writer_unref(m);
}

static void pair_init(struct pair *p, uint64_t seed, bool ranges)
{
	uint32_t n;

	rng_init(&p->rng, seed);
	p->b = cairn_batch_new();
	ck_assert_ptr_nonnull(p->b);
	n = 1 + (uint32_t)rng_below(&p->rng, 900);
	for (uint32_t i = 0; i < n || !cairn_batch_count(p->b); i++)
		add_op(p, i, ranges);
	ck_assert_int_eq(memtable_new(4 << 20, 9, &p->copied), CAIRN_OK);
	ck_assert_int_eq(memtable_new_of_batch(p->b, &p->whole), CAIRN_OK);
	memtable_set_log_number(p->whole, 9);
}

static void pair_apply(struct pair *p)
{
	batch_set_seqno(p->b, BASE_SEQNO);
	apply(p->copied, buf_slice(&p->b->bytes));
	apply(p->whole, buf_slice(&p->b->bytes));
}

static void pair_fini(struct pair *p)
{
	memtable_unref(p->copied);
	memtable_unref(p->whole);
	cairn_batch_free(p->b);
}

static uint64_t random_snapshot(struct pair *p)
{
	return BASE_SEQNO - 3 + rng_below(&p->rng, 1000);
}

static void check_get(struct pair *p)
{
	uint64_t snapshot = random_snapshot(p);
	uint64_t trailer[2] = { 0 };
	struct cairn_slice value[2];
	struct cairn_slice k;
	char key[32];
	int err;

	random_key(&p->rng, key);
	k = slice_str(key);
	err = memtable_get(p->copied, k, snapshot, &trailer[0], &value[0]);
	ck_assert_int_eq(
		memtable_get(p->whole, k, snapshot, &trailer[1], &value[1]),
		err);
	if (!err) {
		ck_assert_uint_eq(trailer[0], trailer[1]);
		ck_assert(slice_eq(value[0], value[1]));
	}
	ck_assert_uint_eq(memtable_cover(p->whole, k, snapshot),
			  memtable_cover(p->copied, k, snapshot));
}

static void assert_same(struct pair *p, struct iter *a, struct iter *b)
{
	struct ikey k;
	char key[32];

	iter_pair_same(a, b);
	ck_assert_int_eq(a->scope != NULL, b->scope != NULL);
	if (!a->scope)
		return;
	random_key(&p->rng, key);
	k = ikey_make(slice_str(key), 5, KIND_PUT);
	ck_assert_uint_eq(range_scope_cover(a->scope, &k, BASE_SEQNO + 200),
			  range_scope_cover(b->scope, &k, BASE_SEQNO + 200));
}

static void step(struct pair *p, struct iter *a, struct iter *b)
{
	struct ikey target;
	char key[32];

	random_key(&p->rng, key);
	target = ikey_seek(slice_str(key), random_snapshot(p));
	iter_pair_move(&p->rng, a, b, &target);
	assert_same(p, a, b);
}

static void check_iters(struct pair *p)
{
	struct iter *a, *b;

	ck_assert_int_eq(memtable_iter_new(p->copied, &a), CAIRN_OK);
	ck_assert_int_eq(memtable_iter_new(p->whole, &b), CAIRN_OK);
	for (int i = 0; i < 1500; i++)
		step(p, a, b);
	iter_first(a);
	iter_first(b);
	assert_same(p, a, b);
	while (a->valid) {
		iter_next(a);
		iter_next(b);
		assert_same(p, a, b);
	}
	iter_close(a);
	iter_close(b);
}

static int cmp_places(const void *a, const void *b)
{
	const struct range_del_place *x = a, *y = b;

	return (x->seqno > y->seqno) - (x->seqno < y->seqno);
}

static void check_ranges(struct pair *p)
{
	struct range_del_list l[2] = { 0 };
	struct memtable *m[2] = { p->copied, p->whole };

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(memtable_list_range_dels(m[i], &l[i]), 0);
		if (l[i].n)
			qsort(l[i].place, l[i].n, sizeof(l[i].place[0]),
			      cmp_places);
	}
	ck_assert_uint_eq(l[0].n, l[1].n);
	for (size_t i = 0; i < l[0].n; i++) {
		const struct range_del_place *x = &l[0].place[i];
		const struct range_del_place *y = &l[1].place[i];

		ck_assert_uint_eq(x->seqno, y->seqno);
		ck_assert_uint_eq(x->start_len, y->start_len);
		ck_assert_uint_eq(x->end_len, y->end_len);
		ck_assert_mem_eq(l[0].keys.data + x->start,
				 l[1].keys.data + y->start,
				 x->start_len + x->end_len);
	}
	range_del_list_fini(&l[0]);
	range_del_list_fini(&l[1]);
}

START_TEST(it_is_read_as_a_copy_would_be)
{
	struct pair p;

	pair_init(&p, 1 + (uint64_t)_i, _i % 2);
	pair_apply(&p);
	ck_assert_uint_eq(memtable_entries(p.whole),
			  memtable_entries(p.copied));
	ck_assert_uint_eq(memtable_range_deletions(p.whole),
			  memtable_range_deletions(p.copied));
	ck_assert_uint_eq(memtable_smallest_seqno(p.whole),
			  memtable_smallest_seqno(p.copied));
	ck_assert_uint_eq(memtable_largest_seqno(p.whole),
			  memtable_largest_seqno(p.copied));
	ck_assert_uint_eq(memtable_log_number(p.whole), 9);
	for (int i = 0; i < 2000; i++)
		check_get(&p);
	check_iters(&p);
	check_ranges(&p);
	pair_fini(&p);
}
END_TEST

START_TEST(it_is_empty_until_it_has_its_numbers)
{
	struct range_del_list l = { 0 };
	struct cairn_slice value;
	struct iter *early, *late;
	struct pair p;
	uint64_t trailer;

	pair_init(&p, 50, true);
	ck_assert_int_eq(cairn_batch_put(p.b, slice_str("zz"), slice_str("v")),
			 0);
	memtable_unref(p.whole);
	ck_assert_int_eq(memtable_new_of_batch(p.b, &p.whole), CAIRN_OK);
	ck_assert(memtable_is_batch(p.whole));
	ck_assert(!memtable_is_batch(p.copied));
	ck_assert(memtable_empty(p.whole));
	ck_assert_uint_eq(memtable_bytes(p.whole), 0);
	ck_assert_int_eq(memtable_get(p.whole, slice_str("zz"), SEQNO_MAX,
				      &trailer, &value),
			 CAIRN_NOT_FOUND);
	ck_assert_uint_eq(memtable_cover(p.whole, slice_str("a"), SEQNO_MAX),
			  0);
	ck_assert_int_eq(memtable_list_range_dels(p.whole, &l), CAIRN_OK);
	ck_assert_uint_eq(l.n, 0);
	ck_assert_int_eq(memtable_iter_new(p.whole, &early), CAIRN_OK);
	pair_apply(&p);
	/* An iterator sees what was there when it was made. */
	ck_assert_ptr_null(early->scope);
	iter_first(early);
	ck_assert(!early->valid);
	iter_last(early);
	ck_assert(!early->valid);
	ck_assert_int_eq(memtable_iter_new(p.whole, &late), CAIRN_OK);
	iter_last(late);
	ck_assert(slice_eq(late->key.user_key, slice_str("zz")));
	ck_assert_uint_gt(memtable_bytes(p.whole), cairn_batch_bytes(p.b));
	iter_close(early);
	pair_fini(&p);
	/* The iterator holds it. */
	iter_prev(late);
	ck_assert(late->valid);
	iter_close(late);
}
END_TEST

START_TEST(it_has_room_for_its_batch_alone)
{
	struct pair p;

	pair_init(&p, 60, true);
	ck_assert(memtable_has_writers(p.whole));
	memtable_writer_unref(p.whole); /* no longer the mutable one */
	ck_assert(memtable_reserve(p.whole, 1));
	ck_assert(!memtable_reserve(p.whole, 1));
	ck_assert(!memtable_reserve(p.whole, 0));
	ck_assert(memtable_has_writers(p.whole));
	memtable_writer_unref(p.whole);
	ck_assert(!memtable_has_writers(p.whole));
	pair_fini(&p);
}
END_TEST

START_TEST(the_batch_may_be_used_for_something_else)
{
	struct pair p;

	pair_init(&p, 70, true);
	pair_apply(&p);
	cairn_batch_clear(p.b);
	for (uint32_t i = 0; i < 2000; i++)
		add_op(&p, i, true);
	for (int i = 0; i < 2000; i++)
		check_get(&p);
	check_iters(&p);
	cairn_batch_free(p.b);
	p.b = NULL;
	check_iters(&p);
	check_ranges(&p);
	pair_fini(&p);
}
END_TEST

START_TEST(ascending_keys_need_no_sorting)
{
	struct pair p = { .b = cairn_batch_new() };
	char key[32];

	rng_init(&p.rng, 1);
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "%05d", i);
		ck_assert_int_eq(
			cairn_batch_put(p.b, slice_str(key), slice_str(key)),
			0);
		if (i == _i)
			ck_assert_int_eq(
				cairn_batch_delete(p.b, slice_str(key)), 0);
	}
	ck_assert_int_eq(memtable_new(4 << 20, 9, &p.copied), CAIRN_OK);
	ck_assert_int_eq(memtable_new_of_batch(p.b, &p.whole), CAIRN_OK);
	pair_apply(&p);
	check_iters(&p);
	pair_fini(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batch_table");
	TCase *tc = tcase_create("batch_table");

	tcase_add_loop_test(tc, it_is_read_as_a_copy_would_be, 0, 20);
	tcase_add_test(tc, it_is_empty_until_it_has_its_numbers);
	tcase_add_test(tc, it_has_room_for_its_batch_alone);
	tcase_add_test(tc, the_batch_may_be_used_for_something_else);
	tcase_add_loop_test(tc, ascending_keys_need_no_sorting, 499, 501);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
