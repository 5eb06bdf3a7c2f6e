/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/ikey.h"

#include "tests/support/runner.h"

/* In order; each is below all that follow. */
static const struct {
	const char *key;
	size_t len;
	uint64_t seqno;
	uint8_t kind;
} ordered[] = {
	{ "", 0, SEQNO_MAX, KIND_SEEK }, { "", 0, 7, KIND_PUT },
	{ "", 0, 7, KIND_DELETE },       { "", 0, 0, KIND_PUT },
	{ "\0", 1, 3, KIND_PUT },        { "a", 1, 200, KIND_PUT },
	{ "a", 1, 199, KIND_MERGE },     { "a", 1, 1, KIND_DELETE },
	{ "a\0", 2, 5, KIND_PUT },       { "ab", 2, 5, KIND_PUT },
	{ "abcdefghi", 9, 5, KIND_PUT }, { "b", 1, 1, KIND_PUT },
	{ "\x7f", 1, 1, KIND_PUT },      { "\x80", 1, 1, KIND_PUT },
	{ "\xff", 1, 1, KIND_PUT },      { "\xff\xff", 2, 1, KIND_PUT },
};
#define N_ORDERED ((int)(sizeof(ordered) / sizeof(ordered[0])))

static struct ikey ordered_key(int i)
{
	return ikey_make(slice_of(ordered[i].key, ordered[i].len),
			 ordered[i].seqno, ordered[i].kind);
}

static int sign(int c)
{
	return (c > 0) - (c < 0);
}

START_TEST(keys_ascend_and_versions_of_a_key_descend)
{
	struct ikey a = ordered_key(_i);

	for (int j = 0; j < N_ORDERED; j++) {
		struct ikey b = ordered_key(j);

		ck_assert_int_eq(sign(ikey_cmp(&a, &b)), sign(_i - j));
	}
}
END_TEST

START_TEST(a_seek_key_comes_just_before_what_a_snapshot_sees)
{
	struct cairn_slice k = slice_str("key");
	struct ikey seek = ikey_seek(k, 10);
	struct ikey seen = ikey_make(k, 10, KIND_RANGE_DELETE);
	struct ikey unseen = ikey_make(k, 11, KIND_DELETE);

	ck_assert_int_lt(ikey_cmp(&seek, &seen), 0);
	ck_assert_int_gt(ikey_cmp(&seek, &unseen), 0);
}
END_TEST

START_TEST(an_encoded_key_decodes_to_itself)
{
	struct ikey k = ordered_key(_i);
	uint8_t bytes[32];
	uint8_t *end = ikey_encode(bytes, &k);
	struct ikey got;

	ck_assert_uint_eq((size_t)(end - bytes), k.user_key.len + 8);
	ck_assert(ikey_decode(slice_of(bytes, (size_t)(end - bytes)), &got));
	ck_assert_int_eq(ikey_cmp(&k, &got), 0);
	ck_assert_uint_eq(ikey_seqno(&got), ordered[_i].seqno);
	ck_assert_uint_eq(ikey_kind(&got), ordered[_i].kind);
}
END_TEST

START_TEST(fewer_bytes_than_a_trailer_do_not_decode)
{
	static const uint8_t bytes[8] = { 0 };
	struct ikey got;

	ck_assert(!ikey_decode(slice_of(bytes, (size_t)_i), &got));
	ck_assert(ikey_decode(slice_of(bytes, 8), &got));
	ck_assert_uint_eq(got.user_key.len, 0);
}
END_TEST

START_TEST(the_trailer_is_little_endian_with_the_kind_first)
{
	static const uint8_t want[] = { 'k',  KIND_PUT, 0x07, 0x06, 0x05,
					0x04, 0x03,     0x02, 0x01 };
	struct ikey k = ikey_make(slice_str("k"), 0x01020304050607, KIND_PUT);
	uint8_t bytes[sizeof(want)];

	ikey_encode(bytes, &k);
	ck_assert_mem_eq(bytes, want, sizeof(want));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ikey");
	TCase *t = tcase_create("ikey");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, keys_ascend_and_versions_of_a_key_descend, 0,
			    N_ORDERED);
	tcase_add_test(t, a_seek_key_comes_just_before_what_a_snapshot_sees);
	tcase_add_loop_test(t, an_encoded_key_decodes_to_itself, 0, N_ORDERED);
	tcase_add_loop_test(t, fewer_bytes_than_a_trailer_do_not_decode, 0, 8);
	tcase_add_test(t, the_trailer_is_little_endian_with_the_kind_first);
	suite_add_tcase(s, t);
	return run_suite(s);
}
