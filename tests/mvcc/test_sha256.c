/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/runner.h"

/* sha256sum's answers for what fill() makes, around the block's length. */
static const struct {
	size_t len;
	const char *hex;
} known[] = {
	{ 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b"
	     "7852b855" },
	{ 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a306"
	     "17afa01d" },
	{ 55, "463eb28e72f82e0a96c0a4cc53690c571281131f672aa229e0d45ae5"
	      "9b598b59" },
	{ 56, "da2ae4d6b36748f2a318f23e7ab1dfdf45acdc9d049bd80e59de82a6"
	      "0895f562" },
	{ 57, "2fe741af801cc238602ac0ec6a7b0c3a8a87c7fc7d7f02a3fe03d1c1"
	      "2eac4d8f" },
	{ 63, "29af2686fd53374a36b0846694cc342177e428d1647515f078784d69"
	      "cdb9e488" },
	{ 64, "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1"
	      "d9151108" },
	{ 65, "4bfd2c8b6f1eec7a2afeb48b934ee4b2694182027e6d0fc075074f2f"
	      "abb31781" },
	{ 119, "da18797ed7c3a777f0847f429724a2d8cd5138e6ed2895c3fa1a6d39"
	       "d18f7ec6" },
	{ 120, "f52b23db1fbb6ded89ef42a23ce0c8922c45f25c50b568a93bf1c075"
	       "420bbb7c" },
	{ 127, "92ca0fa6651ee2f97b884b7246a562fa71250fedefe5ebf270d31c54"
	       "6bfea976" },
	{ 128, "471fb943aa23c511f6f72f8d1652d9c880cfa392ad80503120547703"
	       "e56a2be5" },
	{ 1000, "4e4c294b331f7a2099a379bec34b9f9fc03dc46ab465d998f4d683da"
		"53487e6d" },
	{ 65537, "237356e18b503616912abb8ffaed3a72591e397d4ac294c4637917d4"
		 "8a3f529d" },
};
enum { N_KNOWN = sizeof(known) / sizeof(known[0]) };

/* 0, 1 ... 250, 0, 1 ... */
static uint8_t *fill(size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i % 251);
	return p;
}

static void ck_hex(struct sha256 *s, const char *want)
{
	uint8_t got[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	sha256_end(s, got);
	for (size_t i = 0; i < SHA256_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", got[i]);
	ck_assert_str_eq(hex, want);
}

START_TEST(the_sum_is_that_of_sha256sum)
{
	uint8_t *p = fill(known[_i].len);
	struct sha256 s;

	sha256_init(&s);
	sha256_add(&s, p, known[_i].len);
	ck_hex(&s, known[_i].hex);
	free(p);
}
END_TEST

START_TEST(pieces_of_any_length_make_the_same_sum)
{
	size_t len = known[_i].len;
	uint8_t *p = fill(len);

	for (size_t piece = 1; piece < 200; piece += 3) {
		struct sha256 s;

		sha256_init(&s);
		for (size_t at = 0; at < len; at += piece)
			sha256_add(&s, p + at,
				   len - at < piece ? len - at : piece);
		ck_hex(&s, known[_i].hex);
	}
	free(p);
}
END_TEST

START_TEST(the_vectors_of_the_standard_hold)
{
	struct sha256 s;

	sha256_init(&s);
	sha256_add(&s, "abc", 3);
	ck_hex(&s, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
		   "f20015ad");
	sha256_init(&s);
	sha256_add(&s,
		   "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		   56);
	ck_hex(&s, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd4"
		   "19db06c1");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sha256");
	TCase *tc = tcase_create("sha256");

	tcase_add_loop_test(tc, the_sum_is_that_of_sha256sum, 0, N_KNOWN);
	tcase_add_loop_test(tc, pieces_of_any_length_make_the_same_sum, 0,
			    N_KNOWN);
	tcase_add_test(tc, the_vectors_of_the_standard_hold);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
