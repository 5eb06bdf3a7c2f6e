/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/hash.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/runner.h"

#define N_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* Computed by RocksDB's own code: hash64 of the bytes 0, 1, 2, ... */
static const struct {
	size_t len;
	uint64_t hash;
} ascending[] = {
	{ 0, 0x5342c3010fe1dd04 },    { 1, 0x7198d737cfe7f386 },
	{ 2, 0x391ee7c983900289 },    { 3, 0xc0360a11b4791b98 },
	{ 4, 0xf28e842dedde83ae },    { 8, 0x223c9d9c7f17db6e },
	{ 9, 0x93557756b5dae4dd },    { 16, 0x4bfe2ff1655e8360 },
	{ 17, 0x6dff1ac96eef2848 },   { 32, 0x05e0c55fd9add145 },
	{ 33, 0x836364faed762c18 },   { 64, 0x85a0b1306d97b7f5 },
	{ 128, 0x7aa5db2c8097080b },  { 129, 0xa06d81743056cebc },
	{ 240, 0xd1253a6dec8c35fc },  { 241, 0xb78df6016a18c222 },
	{ 1024, 0xa63b91fd35ca4f09 }, { 1025, 0x95936fd408f00c5e },
	{ 1100, 0x886fb3663275f0fb },
};

static const struct {
	const char *text;
	uint64_t hash;
} words[] = {
	{ "a", 0x88d868bf607681c7 },
	{ "key", 0x6183011c30348494 },
	{ "foo", 0x2540784d970dde34 },
	{ "key000001", 0xa9af31ad42264e63 },
	{ "hello world", 0xe5f7b82156a07a14 },
};

static const struct {
	const char *text;
	uint32_t with_bc9f1d34;
	uint32_t with_397;
} hash32_words[] = {
	{ "", 0xbc9f1d34, 0x0000018d },
	{ "a", 0x286e9db0, 0x5c8473b1 },
	{ "ab", 0x39aca330, 0xe77f7d03 },
	{ "abc", 0x855d012f, 0x1d9aa392 },
	{ "abcd", 0xb9c83353, 0x0c6f6be9 },
	{ "\xff\xfe\xfd", 0x644d6f00, 0xfc8b11b5 },
	{ "key000001", 0x12360a7d, 0x29753add },
};

START_TEST(hash64_of_ascending_bytes_is_that_of_rocksdb)
{
	uint8_t bytes[1200];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	ck_assert_msg(hash64(bytes, ascending[_i].len) == ascending[_i].hash,
		      "%zu bytes", ascending[_i].len);
}
END_TEST

START_TEST(hash64_of_words_is_that_of_rocksdb)
{
	const char *s = words[_i].text;

	ck_assert_msg(hash64(s, strlen(s)) == words[_i].hash, "%s", s);
}
END_TEST

START_TEST(hash32_is_that_of_leveldb)
{
	const char *s = hash32_words[_i].text;

	ck_assert_msg(hash32(s, strlen(s), 0xbc9f1d34) ==
			      hash32_words[_i].with_bc9f1d34,
		      "%s", s);
	ck_assert_msg(hash32(s, strlen(s), 397) == hash32_words[_i].with_397,
		      "%s", s);
}
END_TEST

/*
 * Exactly sized copies, so that the address sanitizer sees a read outside, at
 * an odd address, so that the undefined-behaviour one sees a misaligned load.
 */
START_TEST(every_length_reads_its_bytes_only_and_every_byte_counts)
{
	for (size_t n = 1; n <= 1300; n += n < 300 ? 1 : 53) {
		uint8_t *block = malloc(n + 1);
		uint8_t *p;
		uint64_t h64;
		uint32_t h32;

		ck_assert_ptr_nonnull(block);
		p = block + 1;
		for (size_t i = 0; i < n; i++)
			p[i] = (uint8_t)(i * 7 + 200);
		h64 = hash64(p, n);
		h32 = hash32(p, n, 1);
		for (size_t i = 0; i < n; i++) {
			p[i] ^= 0x10;
			ck_assert_uint_ne(hash64(p, n), h64);
			ck_assert_uint_ne(hash32(p, n, 1), h32);
			p[i] ^= 0x10;
		}
		ck_assert_uint_eq(hash64(p, n), h64);
		free(block);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hash");
	TCase *t = tcase_create("hash");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, hash64_of_ascending_bytes_is_that_of_rocksdb, 0,
			    N_OF(ascending));
	tcase_add_loop_test(t, hash64_of_words_is_that_of_rocksdb, 0,
			    N_OF(words));
	tcase_add_loop_test(t, hash32_is_that_of_leveldb, 0,
			    N_OF(hash32_words));
	tcase_add_test(t,
		       every_length_reads_its_bytes_only_and_every_byte_counts);
	suite_add_tcase(s, t);
	return run_suite(s);
}
