/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/index.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

#define FILE_LEN (UINT64_C(1) << 40)

static const struct {
	const char *a;
	const char *b;
	const char *want;
} separators[] = {
	{ "a", "b", "a" },
	{ "a", "c", "b" },
	{ "a", "bb", "b" },
	{ "abc", "abd", "abc" },
	{ "abcd", "abd", "abce" },
	{ "abcd", "abdx", "abd" },
	{ "abc\xff", "abd", "abc\xff" },
	{ "abc\xff\x01x", "abd", "abc\xff\x02" },
	{ "ab", "abc", "ab" },
	{ "", "a", "" },
	{ "a\xfez", "a\xff", "a\xfe{" },
	{ "user00017999", "user00018000", "user00018" },
};

START_TEST(separators_are_shortened_by_the_rules)
{
	struct cairn_slice a = slice_str(separators[_i].a);
	struct cairn_slice b = slice_str(separators[_i].b);
	struct buf out = { 0 };

	ck_assert(!index_separator(a, b, &out));
	ck_assert_msg(slice_eq(buf_slice(&out), slice_str(separators[_i].want)),
		      "%s %s: %.*s", separators[_i].a, separators[_i].b,
		      (int)out.len, (const char *)out.data);
	ck_assert(slice_cmp(buf_slice(&out), a) >= 0);
	ck_assert(slice_cmp(buf_slice(&out), b) < 0);
	ck_assert(out.len <= a.len);
	buf_fini(&out);
}
END_TEST

START_TEST(a_separator_is_between_its_keys)
{
	struct rng r;

	rng_init(&r, 1);
	for (int i = 0; i < 20000; i++) {
		uint8_t bytes[2][4];
		struct cairn_slice a, b;
		struct buf out = { 0 };

		for (int k = 0; k < 8; k++)
			bytes[k / 4][k % 4] =
				(uint8_t)(0xfd + rng_below(&r, 4));
		a = slice_of(bytes[0], (size_t)rng_below(&r, 5));
		b = slice_of(bytes[1], (size_t)rng_below(&r, 5));
		if (slice_cmp(a, b) >= 0)
			continue;
		ck_assert(!index_separator(a, b, &out));
		ck_assert(slice_cmp(buf_slice(&out), a) >= 0);
		ck_assert(slice_cmp(buf_slice(&out), b) < 0);
		buf_fini(&out);
	}
}
END_TEST

/* An index over one block for each pair of entries: its first and last key. */
static void build(const struct vector *v, struct buf *bytes, bool *user_keys)
{
	struct index_builder b = { 0 };
	struct block_builder out;
	struct cairn_slice contents;

	block_builder_init(&out, 1);
	for (size_t i = 0; i + 1 < v->n; i += 2) {
		struct block_handle h = { i * 1000, 990 };

		ck_assert(!index_builder_add(
			&b, &v->entries[i + 1].key,
			i + 2 < v->n ? &v->entries[i + 2].key : NULL, h));
	}
	ck_assert(!index_builder_finish(&b, &out, &contents, user_keys));
	ck_assert(!buf_set(bytes, contents));
	block_builder_fini(&out);
	index_builder_fini(&b);
}

static void decode(const struct buf *bytes, bool user_keys, struct index *ix)
{
	struct index_format f = { .user_keys = user_keys,
				  .delta = true,
				  .file_len = FILE_LEN };

	ck_assert_msg(!index_decode(buf_slice(bytes), &f, ix), "%s",
		      cairn_errmsg());
}

/* The block that an entry is in, or the one before it in a gap. */
static void check_seek(const struct index *ix, const struct vector *v,
		       const struct ikey *k)
{
	uint32_t i = index_seek(ix, k);

	/* All of the blocks before are below, those after begin above. */
	if (i > 0)
		ck_assert(ikey_cmp(&v->entries[2 * i - 1].key, k) < 0);
	if (i < ix->n) {
		ck_assert(index_compare(ix, i, k) >= 0);
		if (i + 1 < ix->n)
			ck_assert(ikey_cmp(&v->entries[2 * i + 2].key, k) > 0);
	}
	/* From anywhere at or before it. */
	for (uint32_t from = i > 3 ? i - 3 : 0; from <= i; from++)
		ck_assert_uint_eq(index_seek_near(ix, k, from), i);
}

static void random_keys(struct rng *r, int shape, struct vector *v)
{
	uint8_t key[64];
	size_t n = (size_t)rng_below(r, 200) & ~(size_t)1;

	while (v->n < n) {
		int len = 0;

		if (shape == 0)
			len = snprintf(
				(char *)key, sizeof(key), "user%016llu",
				(unsigned long long)rng_below(r, 1000000));
		else if (shape == 1)
			len = snprintf((char *)key, sizeof(key), "%llu",
				       (unsigned long long)rng_below(r, 6));
		else
			for (len = (int)rng_below(r, 4); len < 12; len++)
				key[len] = (uint8_t)(rng_below(r, 3) - 1);
		vector_add(v, slice_of(key, (size_t)len),
			   1 + rng_next(r) % 1000000, KIND_PUT,
			   slice_of(NULL, 0));
	}
	vector_sort(v);
}

START_TEST(an_index_leads_to_the_block)
{
	struct rng r;

	rng_init(&r, (uint64_t)_i);
	for (int round = 0; round < 60; round++) {
		struct vector v = { 0 };
		struct buf bytes = { 0 };
		struct index ix;
		bool user_keys, straddle = false;

		random_keys(&r, _i, &v);
		build(&v, &bytes, &user_keys);
		for (size_t i = 2; i < v.n; i += 2)
			straddle |= slice_eq(v.entries[i - 1].key.user_key,
					     v.entries[i].key.user_key);
		ck_assert(user_keys == !straddle);
		decode(&bytes, user_keys, &ix);
		ck_assert_uint_eq(ix.n, v.n / 2);
		for (uint32_t i = 0; i < ix.n; i++) {
			ck_assert_uint_eq(index_handle(&ix, i).offset,
					  2000u * i);
			ck_assert_uint_eq(index_handle(&ix, i).size, 990);
			ck_assert(index_compare(&ix, i,
						&v.entries[2 * i + 1].key) >=
				  0);
		}
		for (size_t i = 0; i < v.n; i++) {
			struct ikey k = v.entries[i].key;

			check_seek(&ix, &v, &k);
			/* Between versions user keys cannot tell. */
			if (user_keys)
				continue;
			k.trailer--;
			check_seek(&ix, &v, &k);
			k.trailer += 2;
			check_seek(&ix, &v, &k);
		}
		index_fini(&ix);
		buf_fini(&bytes);
		vector_fini(&v);
	}
}
END_TEST

/* Index blocks of other writers: full values, deltas, first keys. */
START_TEST(delta_coded_handles_follow_from_the_one_before)
{
	/* restart: a -> {0, 100}; then b: size 90, c: size 95. */
	static const char bytes[] = "\0\1a\0\144\1\0\23\1\0\12\0\0\0\0\1\0\0\0";
	struct index_format f = { .user_keys = true,
				  .delta = true,
				  .file_len = FILE_LEN };
	struct index ix;

	/* Keys "a", "a", "a" would be out of order if checked strictly. */
	ck_assert(!index_decode(slice_of(bytes, sizeof(bytes) - 1), &f, &ix));
	ck_assert_uint_eq(ix.n, 3);
	ck_assert_uint_eq(ix.entry[1].offset, 105);
	ck_assert_uint_eq(ix.entry[1].size, 90);
	ck_assert_uint_eq(ix.entry[2].offset, 200);
	ck_assert_uint_eq(ix.entry[2].size, 95);
	index_fini(&ix);
}
END_TEST

START_TEST(full_values_and_first_keys_are_read)
{
	static const char full[] = "\0\1\2a\5\12\0\0\0\0\1\0\0\0";
	static const char first[] = "\0\1\4a\5\12\1z\0\0\0\0\1\0\0\0";
	struct index_format f = { .user_keys = true, .file_len = FILE_LEN };
	struct index ix;

	ck_assert(!index_decode(slice_of(full, sizeof(full) - 1), &f, &ix));
	ck_assert(ix.n == 1 && ix.entry[0].offset == 5 &&
		  ix.entry[0].size == 10);
	index_fini(&ix);
	ck_assert(index_decode(slice_of(first, sizeof(first) - 1), &f, &ix));
	f.first_key = true;
	ck_assert(!index_decode(slice_of(first, sizeof(first) - 1), &f, &ix));
	ck_assert(ix.n == 1 && ix.entry[0].offset == 5);
	index_fini(&ix);
}
END_TEST

static void sample(struct buf *bytes)
{
	struct vector v = { 0 };
	char key[32];
	bool user_keys;

	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "key%05d", i * 37);
		vector_add(&v, slice_str(key), 5, KIND_PUT, slice_of(NULL, 0));
	}
	build(&v, bytes, &user_keys);
	vector_fini(&v);
}

/* All dialects; an index that comes out is one that can be searched. */
static void decode_all(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct ikey k = ikey_seek(slice_str("key00100"), 7);

	memcpy(copy, bytes, len);
	for (int dialect = 0; dialect < 8; dialect++) {
		struct index_format f = { .user_keys = dialect & 1,
					  .delta = dialect & 2,
					  .first_key = dialect & 4,
					  .file_len = 20000 };
		struct index ix;

		if (index_decode(slice_of(copy, len), &f, &ix))
			continue;
		ck_assert_uint_le(index_seek(&ix, &k), ix.n);
		for (uint32_t i = 0; i < ix.n; i++)
			ck_assert(
				block_handle_fits(index_handle(&ix, i), 20000));
		index_fini(&ix);
	}
	free(copy);
}

START_TEST(damaged_indexes_do_no_harm)
{
	struct buf bytes = { 0 };
	struct rng r;

	sample(&bytes);
	for (size_t n = 0; n < bytes.len; n++)
		decode_all(bytes.data, n);
	for (size_t bit = 0; bit < bytes.len * 8; bit++) {
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		decode_all(bytes.data, bytes.len);
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	rng_init(&r, 5);
	for (int i = 0; i < 2000; i++) {
		sample(&bytes);
		for (int k = 0; k < 4; k++)
			bytes.data[rng_below(&r, bytes.len)] =
				(uint8_t)rng_next(&r);
		decode_all(bytes.data, bytes.len);
	}
	buf_fini(&bytes);
}
END_TEST

START_TEST(separators_out_of_order_are_corruption)
{
	static const char bytes[] = "\0\1\2b\0\1\0\1\2a\6\1\0\0\0\0\1\0\0\0";
	struct index_format f = { .user_keys = true, .file_len = FILE_LEN };
	struct index ix;

	ck_assert_int_eq(
		index_decode(slice_of(bytes, sizeof(bytes) - 1), &f, &ix),
		CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "order"));
}
END_TEST

START_TEST(keys_that_grow_without_end_are_not_believed)
{
	struct index_format f = { .user_keys = true, .file_len = FILE_LEN };
	struct buf b = { 0 };
	struct index ix;

	/* One key of 60000 bytes, and then thousands that are the same. */
	ck_assert(!buf_append_varint(&b, 0));
	ck_assert(!buf_append_varint(&b, 60000));
	ck_assert(!buf_append_varint(&b, 2));
	ck_assert(!buf_reserve(&b, 60000));
	memset(b.data + b.len, 'k', 60000);
	b.len += 60000;
	ck_assert(!buf_append(&b, "\0\1", 2));
	for (int i = 0; i < 20000; i++) {
		ck_assert(!buf_append_varint(&b, 60000));
		ck_assert(!buf_append(&b, "\0\2\0\1", 4));
	}
	ck_assert(!buf_append(&b, "\0\0\0\0\1\0\0\0", 8));
	ck_assert_int_eq(index_decode(buf_slice(&b), &f, &ix), CAIRN_ECORRUPT);
	buf_fini(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("index");
	TCase *tc = tcase_create("index");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, separators_are_shortened_by_the_rules, 0,
			    sizeof(separators) / sizeof(separators[0]));
	tcase_add_test(tc, a_separator_is_between_its_keys);
	tcase_add_loop_test(tc, an_index_leads_to_the_block, 0, 3);
	tcase_add_test(tc, delta_coded_handles_follow_from_the_one_before);
	tcase_add_test(tc, full_values_and_first_keys_are_read);
	tcase_add_test(tc, damaged_indexes_do_no_harm);
	tcase_add_test(tc, separators_out_of_order_are_corruption);
	tcase_add_test(tc, keys_that_grow_without_end_are_not_believed);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
