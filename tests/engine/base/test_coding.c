/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/coding.h"

#include "engine/base/rng.h"
#include "tests/support/runner.h"

#define N_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))

START_TEST(fixed_widths_are_little_endian_at_any_address)
{
	uint8_t b[32] = { 0 };

	ck_assert_ptr_eq(put_le16(b + 1, 0x0201), b + 3);
	ck_assert_ptr_eq(put_le32(b + 3, 0x06050403), b + 7);
	ck_assert_ptr_eq(put_le64(b + 7, 0x0e0d0c0b0a090807), b + 15);
	for (uint8_t i = 1; i < 15; i++)
		ck_assert_uint_eq(b[i], i);
	ck_assert_uint_eq(load_le16(b + 1), 0x0201);
	ck_assert_uint_eq(load_le32(b + 3), 0x06050403);
	ck_assert_uint_eq(load_le64(b + 7), 0x0e0d0c0b0a090807);
}
END_TEST

START_TEST(big_endian_bytes_sort_as_their_numbers)
{
	struct rng r;

	rng_init(&r, 1);
	for (int i = 0; i < 1000; i++) {
		uint64_t x = rng_next(&r) >> rng_below(&r, 64);
		uint64_t y = rng_next(&r) >> rng_below(&r, 64);
		uint8_t a[8], b[8];
		int c;

		put_be64(a, x);
		put_be64(b, y);
		c = memcmp(a, b, 8);
		ck_assert_int_eq((c > 0) - (c < 0), (x > y) - (x < y));
		ck_assert_uint_eq(load_be64(a), x);
		put_be32(a, (uint32_t)x);
		ck_assert_uint_eq(load_be32(a), (uint32_t)x);
	}
	{
		uint8_t a[4];

		put_be32(a, 0x01020304);
		ck_assert_mem_eq(a, "\1\2\3\4", 4);
	}
}
END_TEST

static const struct {
	uint64_t value;
	const char *bytes;
	size_t len;
} varints[] = {
	{ 0, "\0", 1 },
	{ 1, "\1", 1 },
	{ 127, "\x7f", 1 },
	{ 128, "\x80\1", 2 },
	{ 300, "\xac\2", 2 },
	{ 16383, "\xff\x7f", 2 },
	{ 16384, "\x80\x80\1", 3 },
	{ UINT32_MAX, "\xff\xff\xff\xff\x0f", 5 },
	{ 1ull << 32, "\x80\x80\x80\x80\x10", 5 },
	{ 1ull << 63, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 10 },
	{ UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10 },
};

START_TEST(a_varint_is_written_as_the_format_says)
{
	uint8_t b[VARINT64_MAX_LEN];
	struct cairn_slice s;
	uint64_t v = 0;

	ck_assert_uint_eq(varint_len(varints[_i].value), varints[_i].len);
	ck_assert_ptr_eq(put_varint64(b, varints[_i].value),
			 b + varints[_i].len);
	ck_assert_mem_eq(b, varints[_i].bytes, varints[_i].len);

	s = slice_of(varints[_i].bytes, varints[_i].len);
	ck_assert(get_varint64(&s, &v));
	ck_assert_uint_eq(v, varints[_i].value);
	ck_assert_uint_eq(s.len, 0);
}
END_TEST

START_TEST(every_truncation_of_a_varint_is_refused)
{
	for (size_t n = 0; n < varints[_i].len; n++) {
		struct cairn_slice s = slice_of(varints[_i].bytes, n);
		struct cairn_slice before = s;
		uint64_t v = 99;
		uint32_t w = 99;

		ck_assert(!get_varint64(&s, &v));
		ck_assert(!get_varint32(&s, &w));
		ck_assert_ptr_eq(s.data, before.data);
		ck_assert_uint_eq(s.len, n);
		ck_assert_uint_eq(v, 99);
		ck_assert_uint_eq(w, 99);
	}
}
END_TEST

START_TEST(a_varint32_takes_what_fits_in_32_bits_only)
{
	struct cairn_slice s = slice_of(varints[_i].bytes, varints[_i].len);
	uint32_t v = 99;
	bool fits = varints[_i].value <= UINT32_MAX;

	ck_assert(get_varint32(&s, &v) == fits);
	ck_assert_uint_eq(s.len, fits ? 0 : varints[_i].len);
	ck_assert_uint_eq(v, fits ? varints[_i].value : 99);
}
END_TEST

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
} bad_varints[] = {
	{ "bit 64 set", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\2", 10 },
	{ "eleven bytes", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0", 11 },
	{ "tenth byte goes on", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\0",
	  11 },
};

START_TEST(a_varint_over_64_bits_is_refused)
{
	struct cairn_slice s =
		slice_of(bad_varints[_i].bytes, bad_varints[_i].len);
	uint64_t v = 99;

	ck_assert_msg(!get_varint64(&s, &v), "%s", bad_varints[_i].name);
	ck_assert_uint_eq(s.len, bad_varints[_i].len);
	ck_assert_uint_eq(v, 99);
}
END_TEST

START_TEST(random_values_come_back)
{
	struct rng r;

	rng_init(&r, 2);
	for (int i = 0; i < 20000; i++) {
		uint64_t x = rng_next(&r) >> rng_below(&r, 64);
		uint8_t b[VARINT64_MAX_LEN];
		struct cairn_slice s;
		uint64_t v;
		uint32_t w;

		s = slice_of(b, (size_t)(put_varint64(b, x) - b));
		ck_assert_uint_eq(s.len, varint_len(x));
		ck_assert(get_varint64(&s, &v) && s.len == 0 && v == x);

		s = slice_of(b, (size_t)(put_varint32(b, (uint32_t)x) - b));
		ck_assert_uint_le(s.len, VARINT32_MAX_LEN);
		ck_assert(get_varint32(&s, &w) && w == (uint32_t)x);
	}
}
END_TEST

START_TEST(fixed_readers_stop_at_the_end)
{
	static const uint8_t b[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	for (size_t n = 0; n <= 8; n++) {
		struct cairn_slice s = slice_of(b, n);
		uint64_t v = 0;
		uint32_t w = 0;

		ck_assert(get_le64(&s, &v) == (n == 8));
		ck_assert_uint_eq(s.len, n == 8 ? 0 : n);
		s = slice_of(b, n);
		ck_assert(get_le32(&s, &w) == (n >= 4));
		ck_assert_uint_eq(s.len, n >= 4 ? n - 4 : n);
	}
}
END_TEST

START_TEST(a_length_prefixed_slice_must_lie_inside)
{
	static const char bytes[] = "\3abc\0\2x";
	struct cairn_slice s = slice_of(bytes, 7);
	struct cairn_slice out = slice_str("untouched");

	ck_assert(get_lp_slice(&s, &out));
	ck_assert(slice_eq(out, slice_str("abc")));
	ck_assert_ptr_eq(out.data, bytes + 1);
	ck_assert(get_lp_slice(&s, &out));
	ck_assert_uint_eq(out.len, 0);
	out = slice_str("untouched");
	ck_assert(!get_lp_slice(&s, &out));
	ck_assert_uint_eq(s.len, 2);
	ck_assert(slice_eq(out, slice_str("untouched")));

	/* A length that would wrap when added to a pointer. */
	s = slice_of("\xff\xff\xff\xff\x0f"
		     "abc",
		     8);
	ck_assert(!get_lp_slice(&s, &out));
	ck_assert_uint_eq(s.len, 8);
	for (size_t n = 0; n < 4; n++) {
		s = slice_of(bytes, n);
		ck_assert(!get_lp_slice(&s, &out));
		ck_assert_uint_eq(s.len, n);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("coding");
	TCase *t = tcase_create("coding");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, fixed_widths_are_little_endian_at_any_address);
	tcase_add_test(t, big_endian_bytes_sort_as_their_numbers);
	tcase_add_loop_test(t, a_varint_is_written_as_the_format_says, 0,
			    N_OF(varints));
	tcase_add_loop_test(t, every_truncation_of_a_varint_is_refused, 0,
			    N_OF(varints));
	tcase_add_loop_test(t, a_varint32_takes_what_fits_in_32_bits_only, 0,
			    N_OF(varints));
	tcase_add_loop_test(t, a_varint_over_64_bits_is_refused, 0,
			    N_OF(bad_varints));
	tcase_add_test(t, random_values_come_back);
	tcase_add_test(t, fixed_readers_stop_at_the_end);
	tcase_add_test(t, a_length_prefixed_slice_must_lie_inside);
	suite_add_tcase(s, t);
	return run_suite(s);
}
