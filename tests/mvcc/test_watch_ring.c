/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch_ring.h"

#include "mvcc/txn_impl.h"
#include "tests/support/runner.h"

static struct watch_ring ring;

static void setup(void)
{
	ring = (struct watch_ring){ 0 };
	ck_assert_int_eq(watch_ring_start(&ring), CAIRN_OK);
	ring.low = ring.high = 2;
}

static void teardown(void)
{
	watch_ring_stop(&ring);
}

/* A revision of n changes to keys of len bytes. */
static struct watch_block *block(int64_t main, size_t n, size_t len)
{
	struct change *changes = calloc(n, sizeof(*changes));
	uint8_t *key = calloc(1, len + 1);
	struct commit c = { .main = main, .changes = changes, .n = n };
	struct watch_block *b;

	ck_assert(changes && key);
	for (size_t i = 0; i < n; i++) {
		changes[i].key = slice_of(key, len);
		changes[i].deleted = i % 2;
	}
	b = watch_block_new(&c);
	free(key);
	free(changes);
	return b;
}

static void push(int64_t main, size_t n, size_t len)
{
	watch_ring_push(&ring, main, block(main, n, len));
}

START_TEST(a_ring_keeps_the_last_changes_by_number)
{
	for (int64_t main = 2; main < 2 + 5000; main++)
		push(main, 2, 3);
	ck_assert_int_eq(ring.high, 5002);
	ck_assert_int_eq(ring.high - ring.low, WATCH_RING_CHANGES / 2);
	ck_assert_uint_eq(ring.n, WATCH_RING_CHANGES);
}
END_TEST

START_TEST(a_ring_keeps_the_last_changes_by_bytes)
{
	for (int64_t main = 2; main < 2 + 500; main++)
		push(main, 1, 16000);
	ck_assert_uint_le(ring.bytes, WATCH_RING_BYTES);
	ck_assert_uint_gt(ring.bytes, WATCH_RING_BYTES - 17000);
	push(502, 250, 16000);
	ck_assert_int_eq(ring.high, 503);
	ck_assert_uint_le(ring.bytes, WATCH_RING_BYTES);
}
END_TEST

START_TEST(what_is_too_large_for_a_ring_empties_it)
{
	push(2, 1, 1);
	ck_assert_ptr_null(block(3, WATCH_RING_CHANGES + 1, 1));
	ck_assert_ptr_null(block(3, 300, 16384));
	watch_ring_push(&ring, 3, NULL);
	ck_assert_int_eq(ring.low, 4);
	ck_assert_int_eq(ring.high, 4);
	push(4, 1, 1);
	ck_assert_int_eq(ring.low, 4);
	ck_assert_int_eq(ring.high, 5);
}
END_TEST

START_TEST(a_ring_has_no_gaps)
{
	push(2, 1, 1);
	push(4, 1, 1);
	ck_assert_int_eq(ring.low, 4);
	ck_assert_int_eq(ring.high, 5);
	ck_assert_uint_eq(ring.n, 1);
}
END_TEST

START_TEST(blocks_that_were_taken_outlive_the_ring)
{
	struct watch_block *out[8];

	for (int64_t main = 2; main < 12; main++)
		push(main, (size_t)main, 2);
	ck_assert_uint_eq(watch_ring_take(&ring, 1, out, 8), 0);
	ck_assert_uint_eq(watch_ring_take(&ring, 12, out, 8), 0);
	ck_assert_uint_eq(watch_ring_take(&ring, 11, out, 8), 1);
	watch_block_unref(out[0]);
	ck_assert_uint_eq(watch_ring_take(&ring, 3, out, 8), 8);
	watch_ring_push(&ring, 12, NULL);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(out[i]->main, 3 + i);
		ck_assert_uint_eq(out[i]->n, (size_t)(3 + i));
		ck_assert_uint_eq(out[i]->changes[1].key.len, 2);
		ck_assert(out[i]->changes[1].deleted);
		watch_block_unref(out[i]);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watch_ring");
	TCase *c = tcase_create("ring");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_ring_keeps_the_last_changes_by_number);
	tcase_add_test(c, a_ring_keeps_the_last_changes_by_bytes);
	tcase_add_test(c, what_is_too_large_for_a_ring_empties_it);
	tcase_add_test(c, a_ring_has_no_gaps);
	tcase_add_test(c, blocks_that_were_taken_outlive_the_ring);
	suite_add_tcase(s, c);
	return run_suite(s);
}
