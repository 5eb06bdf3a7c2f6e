/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/crc32c.h"

#include <string.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"

#define N_BYTES 20000

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
	struct rng r;

	rng_init(&r, seed);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rng_next(&r);
}

/* The definition: one bit at a time. */
static uint32_t crc_by_bits(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

/* From RFC 3720, B.4, and the check value of the CRC catalogue. */
static const struct {
	const char *name;
	uint8_t first;
	int step;
	size_t len;
	uint32_t crc;
} vectors[] = {
	{ "empty", 0, 0, 0, 0x00000000u },
	{ "32 zeros", 0, 0, 32, 0x8a9136aau },
	{ "32 ones", 0xff, 0, 32, 0x62a8ab43u },
	{ "ascending", 0, 1, 32, 0x46dd794eu },
	{ "descending", 31, -1, 32, 0x113fdb5cu },
	{ "123456789", '1', 1, 9, 0xe3069283u },
};

START_TEST(published_vectors_come_out)
{
	uint8_t bytes[32];

	for (size_t i = 0; i < vectors[_i].len; i++)
		bytes[i] = (uint8_t)(vectors[_i].first +
				     (int)i * vectors[_i].step);
	ck_assert_msg(crc32c(bytes, vectors[_i].len) == vectors[_i].crc, "%s",
		      vectors[_i].name);
	ck_assert_msg(crc32c_extend_table(0, bytes, vectors[_i].len) ==
			      vectors[_i].crc,
		      "%s", vectors[_i].name);
}
END_TEST

START_TEST(a_stored_crc_is_masked)
{
	ck_assert_uint_eq(crc32c_mask(0xe3069283u), 0xc78ab0e5u);
	ck_assert_uint_eq(crc32c_unmask(0xc78ab0e5u), 0xe3069283u);
	for (uint32_t c = 1; c; c <<= 1)
		ck_assert_uint_eq(crc32c_unmask(crc32c_mask(c)), c);
}
END_TEST

/* Lengths around each stride of the fast version, at each alignment. */
START_TEST(every_length_and_alignment_agrees_with_the_definition)
{
	static const size_t lens[] = { 1007, 1008,  1009,  1015,  1016,
				       2016, 3000,  4031,  4032,  4033,
				       4040, 4096,  4101,  5040,  8064,
				       8192, 12096, 16384, 19000, N_BYTES - 8 };
	static uint8_t bytes[N_BYTES];

	fill(bytes, sizeof(bytes), 1);
	for (size_t n = 0; n < 300; n++) {
		const uint8_t *p = bytes + n % 8;
		uint32_t want = crc_by_bits(7, p, n);

		ck_assert_uint_eq(crc32c_extend(7, p, n), want);
		ck_assert_uint_eq(crc32c_extend_table(7, p, n), want);
	}
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (size_t at = 0; at < 8; at++) {
			const uint8_t *p = bytes + at;
			uint32_t want = crc_by_bits(0, p, lens[i]);

			ck_assert_uint_eq(crc32c(p, lens[i]), want);
			ck_assert_uint_eq(crc32c_extend_table(0, p, lens[i]),
					  want);
		}
	}
}
END_TEST

START_TEST(extending_piecewise_equals_the_whole)
{
	static uint8_t bytes[N_BYTES];
	struct rng r;

	fill(bytes, sizeof(bytes), 2);
	rng_init(&r, 3);
	for (int round = 0; round < 200; round++) {
		uint32_t whole = crc32c(bytes, sizeof(bytes));
		uint32_t crc = 0;
		size_t at = 0;

		while (at < sizeof(bytes)) {
			size_t n = (size_t)rng_below(&r, 6000);

			if (n > sizeof(bytes) - at)
				n = sizeof(bytes) - at;
			crc = crc32c_extend(crc, bytes + at, n);
			at += n;
		}
		ck_assert_uint_eq(crc, whole);
	}
}
END_TEST

START_TEST(crcs_of_two_pieces_combine)
{
	static uint8_t bytes[N_BYTES];
	struct rng r;

	fill(bytes, sizeof(bytes), 4);
	rng_init(&r, 5);
	for (int round = 0; round < 500; round++) {
		size_t n = (size_t)rng_below(&r, sizeof(bytes) + 1);
		size_t cut = (size_t)rng_below(&r, n + 1);
		uint32_t a = crc32c(bytes, cut);
		uint32_t b = crc32c(bytes + cut, n - cut);

		ck_assert_uint_eq(crc32c_combine(a, b, n - cut),
				  crc32c(bytes, n));
	}
	ck_assert_uint_eq(crc32c_combine(0x12345678u, 0, 0), 0x12345678u);
	ck_assert_uint_eq(crc32c_combine(0, 0x12345678u, 99), 0x12345678u);
}
END_TEST

START_TEST(combining_works_for_lengths_beyond_32_bits)
{
	uint32_t zeros = crc32c("\0", 1);
	uint32_t a = crc32c("abc", 3);

	/* Double the run of zeros up to 2^40 bytes, then append it in two. */
	for (unsigned bit = 0; bit < 40; bit++)
		zeros = crc32c_combine(zeros, zeros, 1ull << bit);
	ck_assert_uint_eq(
		crc32c_combine(crc32c_combine(a, zeros, 1ull << 40), zeros,
			       1ull << 40),
		crc32c_combine(a, crc32c_combine(zeros, zeros, 1ull << 40),
			       1ull << 41));
}
END_TEST

START_TEST(every_single_bit_flip_changes_the_crc)
{
	uint8_t bytes[100];
	uint32_t good;

	fill(bytes, sizeof(bytes), 6);
	good = crc32c(bytes, sizeof(bytes));
	for (size_t i = 0; i < 8 * sizeof(bytes); i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		ck_assert_uint_ne(crc32c(bytes, sizeof(bytes)), good);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("crc32c");
	TCase *t = tcase_create("crc32c");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, published_vectors_come_out, 0,
			    (int)(sizeof(vectors) / sizeof(vectors[0])));
	tcase_add_test(t, a_stored_crc_is_masked);
	tcase_add_test(t,
		       every_length_and_alignment_agrees_with_the_definition);
	tcase_add_test(t, extending_piecewise_equals_the_whole);
	tcase_add_test(t, crcs_of_two_pieces_combine);
	tcase_add_test(t, combining_works_for_lengths_beyond_32_bits);
	tcase_add_test(t, every_single_bit_flip_changes_the_crc);
	suite_add_tcase(s, t);
	return run_suite(s);
}
