/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/block.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/table/block_builder.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

/* The contents of a block with the entries of v. */
static void build(const struct vector *v, uint32_t interval, struct buf *out)
{
	struct block_builder b;
	struct cairn_slice contents;

	block_builder_init(&b, interval);
	for (size_t i = 0; i < v->n; i++) {
		const struct vector_entry *e = &v->entries[i];
		uint8_t trailer[8];

		put_le64(trailer, e->key.trailer);
		ck_assert(!block_builder_add(&b, e->key.user_key,
					     slice_of(trailer, 8), e->value));
	}
	ck_assert(!block_builder_finish(&b, &contents));
	ck_assert(!buf_set(out, contents));
	block_builder_fini(&b);
}

/* How keys of a block may look: they differ early, late, or hardly. */
enum shape {
	SHAPE_SHORT,
	SHAPE_BINARY,
	SHAPE_LONG_PREFIX,
	SHAPE_VERSIONS,
	SHAPE_TAILS,
	N_SHAPES,
};

static size_t make_key(struct rng *r, enum shape shape, uint8_t *key)
{
	size_t len = 0;

	switch (shape) {
	case SHAPE_SHORT:
		len = (size_t)rng_below(r, 5);
		for (size_t i = 0; i < len; i++)
			key[i] = (uint8_t)('a' + rng_below(r, 3));
		break;
	case SHAPE_BINARY:
		len = (size_t)rng_below(r, 20);
		for (size_t i = 0; i < len; i++)
			key[i] = (uint8_t)(rng_below(r, 2) ? 0 : rng_next(r));
		break;
	case SHAPE_LONG_PREFIX:
		memset(key, 'p', 300);
		len = 300 +
		      (size_t)snprintf((char *)key + 300, 20, "%llu",
				       (unsigned long long)rng_below(r, 1000));
		break;
	case SHAPE_VERSIONS:
		len = (size_t)snprintf((char *)key, 20, "k%llu",
				       (unsigned long long)rng_below(r, 3));
		break;
	case SHAPE_TAILS:
		/* Equal for 4 bytes behind the prefix, then different. */
		len = (size_t)snprintf((char *)key, 40, "user%llu-0000%05llu",
				       (unsigned long long)rng_below(r, 2),
				       (unsigned long long)rng_below(r, 500));
		break;
	case N_SHAPES:
		break;
	}
	return len;
}

static void random_entries(struct rng *r, enum shape shape, size_t n,
			   struct vector *v)
{
	uint8_t key[400], value[200] = { 0 };
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		size_t len = make_key(r, shape, key);

		value[0] = (uint8_t)i;
		vector_add(v, slice_of(key, len), 1 + rng_below(r, 1000),
			   KIND_PUT,
			   slice_of(value, (size_t)rng_below(r, 150)));
	}
	vector_sort(v);
	/* Equal internal keys do not occur. */
	for (size_t i = 0; i < v->n; i++) {
		struct vector_entry *e = &v->entries[i];

		if (kept && !ikey_cmp(&v->entries[kept - 1].key, &e->key)) {
			free((void *)(uintptr_t)e->key.user_key.data);
			free((void *)(uintptr_t)e->value.data);
			continue;
		}
		v->entries[kept++] = *e;
	}
	v->n = kept;
}

static void stands_on(const struct block_iter *it, int err,
		      const struct vector *v, size_t i)
{
	if (i >= v->n) {
		ck_assert_int_eq(err, CAIRN_NOT_FOUND);
		return;
	}
	ck_assert_int_eq(err, CAIRN_OK);
	ck_assert(!ikey_cmp(&it->key, &v->entries[i].key));
	ck_assert(slice_eq(it->value, v->entries[i].value));
}

static size_t lower_bound(const struct vector *v, const struct ikey *k)
{
	size_t i = 0;

	while (i < v->n && ikey_cmp(&v->entries[i].key, k) < 0)
		i++;
	return i;
}

static void check_seek(struct block_iter *it, const struct vector *v,
		       const struct ikey *k)
{
	size_t i = lower_bound(v, k);

	stands_on(it, block_iter_seek_ge(it, k), v, i);
	if (i < v->n) {
		stands_on(it, block_iter_next(it), v, i + 1);
		if (i + 1 < v->n)
			stands_on(it, block_iter_prev(it), v, i);
	}
	stands_on(it, block_iter_seek_lt(it, k), v, i ? i - 1 : v->n);
	if (i > 1)
		stands_on(it, block_iter_prev(it), v, i - 2);
}

static void check_block(struct rng *r, enum shape shape, size_t n,
			uint32_t interval, size_t key_room)
{
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct block_iter it;
	struct block b;
	uint8_t key[400], room[512];
	size_t i;

	random_entries(r, shape, n, &v);
	build(&v, interval, &bytes);
	ck_assert(!block_init(&b, buf_slice(&bytes)));
	block_iter_init(&it, 0, room, key_room);

	/* Without an index first, as a bulk scan reads it. */
	block_iter_set(&it, &b);
	stands_on(&it, block_iter_first(&it), &v, 0);
	for (i = 1; i < v.n; i++)
		stands_on(&it, block_iter_next(&it), &v, i);

	ck_assert_msg(!block_index(&b), "%s", cairn_errmsg());
	ck_assert_uint_eq(b.n, v.n);
	block_iter_set(&it, &b);
	stands_on(&it, block_iter_last(&it), &v, v.n ? v.n - 1 : 0);
	for (i = v.n; i-- > 1;)
		stands_on(&it, block_iter_prev(&it), &v, i - 1);
	if (v.n)
		ck_assert_int_eq(block_iter_prev(&it), CAIRN_NOT_FOUND);
	for (i = 0; i < v.n; i++) {
		struct ikey k = v.entries[i].key;

		check_seek(&it, &v, &k);
		k.trailer++;
		check_seek(&it, &v, &k);
		k.trailer = 0;
		check_seek(&it, &v, &k);
	}
	for (i = 0; i < 50; i++) {
		size_t len =
			make_key(r, (enum shape)rng_below(r, N_SHAPES), key);
		struct ikey k =
			ikey_seek(slice_of(key, len), rng_below(r, 1000));

		check_seek(&it, &v, &k);
	}
	block_iter_fini(&it);
	block_fini(&b);
	buf_fini(&bytes);
	vector_fini(&v);
}

START_TEST(all_ways_to_a_place_lead_there)
{
	static const uint32_t intervals[] = { 1, 3, 16, BLOCK_ONE_RESTART };
	struct rng r;

	rng_init(&r, (uint64_t)_i);
	for (int round = 0; round < 5; round++)
		for (size_t k = 0; k < 4; k++)
			check_block(&r, (enum shape)_i,
				    (size_t)rng_below(&r, 120), intervals[k],
				    round % 2 ? 512 : 0);
	/* Beyond 64 KiB offsets take another width. */
	check_block(&r, (enum shape)_i, 1500, 16, 512);
}
END_TEST

START_TEST(the_global_seqno_takes_the_place_of_zero)
{
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct block_iter it;
	struct block b;
	struct ikey k;

	vector_parse(&v, "a#0p1 b#0d c#0p3");
	build(&v, 16, &bytes);
	ck_assert(!block_init(&b, buf_slice(&bytes)) && !block_index(&b));
	block_iter_init(&it, ikey_pack(77, 0), NULL, 0);
	block_iter_set(&it, &b);
	k = ikey_seek(slice_str("b"), 77);
	ck_assert(!block_iter_seek_ge(&it, &k));
	ck_assert(it.key.trailer == ikey_pack(77, KIND_DELETE));
	k = ikey_seek(slice_str("b"), 76);
	ck_assert(!block_iter_seek_ge(&it, &k));
	ck_assert(slice_eq(it.key.user_key, slice_str("c")));
	ck_assert(!block_iter_seek_lt(&it, &k));
	ck_assert(slice_eq(it.key.user_key, slice_str("b")));
	block_iter_fini(&it);
	block_fini(&b);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

START_TEST(the_builder_knows_how_long_the_block_will_be)
{
	struct block_builder b;
	struct cairn_slice contents;
	size_t size;
	char key[32];

	block_builder_init(&b, 4);
	for (int round = 0; round < 2; round++) {
		ck_assert(block_builder_empty(&b));
		ck_assert_uint_eq(block_builder_size(&b), 8);
		for (int i = 0; i < 21 * round; i++) {
			snprintf(key, sizeof(key), "key%03d", i);
			ck_assert(!block_builder_add(&b, slice_str(key),
						     slice_of(NULL, 0),
						     slice_str("value")));
			ck_assert(slice_eq(block_builder_last_key(&b),
					   slice_str(key)));
		}
		size = block_builder_size(&b);
		ck_assert(!block_builder_finish(&b, &contents));
		ck_assert_uint_eq(contents.len, size);
		block_builder_reset(&b);
	}
	block_builder_fini(&b);
}
END_TEST

/* Blocks by hand: entries, restarts, footer. */
static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	int want; /* of block_init and block_index together */
} layouts[] = {
	{ "no entry", "\0\0\0\0\1\0\0\0", 8, CAIRN_OK },
	{ "no entry and no restart", "\0\0\0\0", 4, CAIRN_OK },
	{ "one entry", "\0\10\1ttttttttv\0\0\0\0\1\0\0\0", 20, CAIRN_OK },
	{ "hash index of 3 buckets",
	  "\0\10\1ttttttttv\0\0\0\0\377\0\377\3\0\1\0\0\200", 25, CAIRN_OK },
	{ "hash index with more buckets than bytes",
	  "\0\10\1ttttttttv\0\0\0\0\377\0\377\377\0\1\0\0\200", 25,
	  CAIRN_ECORRUPT },
	{ "hash index without its size", "\1\0\0\200", 4, CAIRN_ECORRUPT },
	{ "entries without a restart", "\0\10\1ttttttttv\0\0\0\0", 16,
	  CAIRN_ECORRUPT },
	{ "more restarts than bytes", "\0\0\0\0\2\0\0\0", 8, CAIRN_ECORRUPT },
	{ "restart count that wraps", "\0\0\0\0\1\0\0\100", 8, CAIRN_ECORRUPT },
	{ "first restart not at 0", "\0\10\1ttttttttv\1\0\0\0\1\0\0\0", 20,
	  CAIRN_ECORRUPT },
	{ "restart behind the entries",
	  "\0\10\1ttttttttv\0\0\0\0\14\0\0\0\2\0\0\0", 24, CAIRN_ECORRUPT },
	{ "restarts that do not ascend",
	  "\0\10\1ttttttttv\0\0\0\0\0\0\0\0\2\0\0\0", 24, CAIRN_ECORRUPT },
	{ "restart inside an entry", "\0\10\1ttttttttv\0\0\0\0\5\0\0\0\2\0\0\0",
	  24, CAIRN_ECORRUPT },
	{ "restart at an entry that shares bytes",
	  "\0\11\0atttttttt\1\10\0tttttttu\0\0\0\0\14\0\0\0\2\0\0\0", 35,
	  CAIRN_ECORRUPT },
	{ "first entry shares bytes", "\1\10\1ttttttttv\0\0\0\0\1\0\0\0", 20,
	  CAIRN_ECORRUPT },
	{ "key too short for a trailer", "\0\7\1tttttttv\0\0\0\0\1\0\0\0", 19,
	  CAIRN_ECORRUPT },
	{ "value longer than the block", "\0\10\2ttttttttv\0\0\0\0\1\0\0\0", 20,
	  CAIRN_ECORRUPT },
	{ "key longer than the block",
	  "\0\377\377\377\377\17\0ttt\0\0\0\0\1\0\0\0", 18, CAIRN_ECORRUPT },
	{ "lengths that wrap together",
	  "\0\377\377\377\377\17\377\377\377\377\17tt\0\0\0\0\1\0\0\0", 21,
	  CAIRN_ECORRUPT },
	{ "varint of six bytes", "\0\200\200\200\200\200\0\0\0\0\0\1\0\0\0", 15,
	  CAIRN_ECORRUPT },
	{ "keys out of order",
	  "\0\11\0btttttttt\0\11\0atttttttt\0\0\0\0\1\0\0\0", 32,
	  CAIRN_ECORRUPT },
	{ "too short for a footer", "\0\0\0", 3, CAIRN_ECORRUPT },
	{ "nothing", "", 0, CAIRN_ECORRUPT },
};

START_TEST(blocks_that_are_not_sound_are_refused)
{
	struct block b;
	int err;

	err = block_init(&b, slice_of(layouts[_i].bytes, layouts[_i].len));
	if (!err) {
		err = block_index(&b);
		block_fini(&b);
	}
	ck_assert_msg(err == layouts[_i].want, "%s: %d", layouts[_i].name, err);
}
END_TEST

/* Whatever the bytes are: no crash, and no loop. */
static void read_all_ways(const uint8_t *bytes, size_t len)
{
	/* Exactly as long, so that the sanitizer sees a step too far. */
	uint8_t *copy = malloc(len ? len : 1);
	struct block_cursor c = { 0 };
	struct block_iter it;
	struct block b;
	struct ikey k = ikey_seek(slice_str("key00005"), 9);
	size_t steps = 0;
	int err;

	memcpy(copy, bytes, len);
	for (int bare = 0; bare < 2; bare++) {
		if (!block_cursor_init(&c, slice_of(copy, len), bare == 1))
			while (!block_cursor_next(&c, NULL))
				ck_assert_uint_lt(steps++, 10000);
		block_cursor_fini(&c);
	}
	if (block_init(&b, slice_of(copy, len)))
		goto out;
	block_iter_init(&it, 0, NULL, 0);
	block_iter_set(&it, &b);
	for (err = block_iter_first(&it); !err; err = block_iter_next(&it))
		ck_assert_uint_lt(steps++, 10000);
	if (!block_index(&b)) {
		block_iter_set(&it, &b);
		for (err = block_iter_last(&it); !err;
		     err = block_iter_prev(&it))
			ck_assert_uint_lt(steps++, 10000);
		err = block_iter_seek_ge(&it, &k);
		ck_assert(err == CAIRN_OK || err == CAIRN_NOT_FOUND);
		err = block_iter_seek_lt(&it, &k);
		ck_assert(err == CAIRN_OK || err == CAIRN_NOT_FOUND);
	}
	block_fini(&b);
	block_iter_fini(&it);
out:
	free(copy);
}

static void sample(struct buf *bytes)
{
	struct vector v = { 0 };
	char key[32];

	for (int i = 0; i < 12; i++) {
		snprintf(key, sizeof(key), "key%05d", i);
		vector_add(&v, slice_str(key), 9, KIND_PUT, slice_str("value"));
	}
	build(&v, 4, bytes);
	vector_fini(&v);
}

START_TEST(a_truncated_block_does_no_harm)
{
	struct buf bytes = { 0 };

	sample(&bytes);
	for (size_t n = 0; n <= bytes.len; n++) {
		read_all_ways(bytes.data, n);
		/* The front cut off, the footer whole. */
		read_all_ways(bytes.data + n, bytes.len - n);
	}
	buf_fini(&bytes);
}
END_TEST

START_TEST(flipped_bits_do_no_harm)
{
	struct buf bytes = { 0 };

	sample(&bytes);
	for (size_t bit = 0; bit < bytes.len * 8; bit++) {
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		read_all_ways(bytes.data, bytes.len);
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	buf_fini(&bytes);
}
END_TEST

START_TEST(random_damage_does_no_harm)
{
	struct buf bytes = { 0 };
	struct rng r;

	rng_init(&r, 11);
	for (int i = 0; i < 4000; i++) {
		sample(&bytes);
		for (uint64_t k = rng_below(&r, 6) + 1; k > 0; k--)
			bytes.data[rng_below(&r, bytes.len)] =
				(uint8_t)rng_next(&r);
		read_all_ways(bytes.data, bytes.len);
	}
	buf_fini(&bytes);
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

int main(void)
{
	Suite *s = suite_create("block");
	TCase *tc = tcase_create("block");
	TCase *hostile = tcase_create("hostile");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, all_ways_to_a_place_lead_there, 0, N_SHAPES);
	tcase_add_test(tc, the_global_seqno_takes_the_place_of_zero);
	tcase_add_test(tc, the_builder_knows_how_long_the_block_will_be);
	suite_add_tcase(s, tc);
	tcase_set_timeout(hostile, 60);
	tcase_add_loop_test(hostile, blocks_that_are_not_sound_are_refused, 0,
			    N(layouts));
	tcase_add_test(hostile, a_truncated_block_does_no_harm);
	tcase_add_test(hostile, flipped_bits_do_no_harm);
	tcase_add_test(hostile, random_damage_does_no_harm);
	suite_add_tcase(s, hostile);
	return run_suite(s);
}
