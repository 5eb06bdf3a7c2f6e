/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/keytext.h"

#include "engine/base/rng.h"
#include "tests/support/runner.h"

static const struct {
	const char *key;
	size_t len;
	const char *text;
} pairs[] = {
	{ "", 0, "" },
	{ "users/42", 8, "users/42" },
	{ "100%", 4, "100%25" },
	{ "a\0b", 3, "a%00b" },
	{ "\n\t\x7f", 3, "%0A%09%7F" },
	{ "gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f" },
	{ "\xff\xfe", 2, "%FF%FE" },
	{ "\xc3", 1, "%C3" },
	{ "\xed\xa0\x80", 3, "%ED%A0%80" }, /* a surrogate */
	{ "\xc0\xaf", 2, "%C0%AF" },        /* an overlong '/' */
	{ "\xf0\x9f\xaa\xa8", 4, "\xf0\x9f\xaa\xa8" },
	{ "\xf4\x90\x80\x80", 4, "%F4%90%80%80" }, /* above U+10FFFF */
};

START_TEST(a_key_is_escaped_and_read_back)
{
	struct buf text = { 0 }, key = { 0 };

	ck_assert_int_eq(
		keytext_escape(slice_of(pairs[_i].key, pairs[_i].len), &text),
		CAIRN_OK);
	ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
	ck_assert_str_eq((char *)text.data, pairs[_i].text);
	ck_assert_int_eq(keytext_unescape(pairs[_i].text, &key), CAIRN_OK);
	ck_assert_uint_eq(key.len, pairs[_i].len);
	ck_assert_mem_eq(key.len ? (const char *)key.data : "", pairs[_i].key,
			 key.len);
	buf_fini(&text);
	buf_fini(&key);
}
END_TEST

START_TEST(any_bytes_survive_escaping_and_hex)
{
	struct rng r;

	rng_init(&r, 4711);
	for (int i = 0; i < 20000; i++) {
		struct buf text = { 0 }, back = { 0 };
		uint8_t key[24];
		size_t n = rng_below(&r, sizeof(key));

		for (size_t j = 0; j < n; j++)
			key[j] = (uint8_t)rng_next(&r);
		ck_assert_int_eq(keytext_escape(slice_of(key, n), &text),
				 CAIRN_OK);
		ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
		ck_assert_int_eq(keytext_unescape((char *)text.data, &back),
				 CAIRN_OK);
		ck_assert(slice_eq(buf_slice(&back), slice_of(key, n)));
		buf_clear(&text);
		buf_clear(&back);
		ck_assert_int_eq(keytext_hex(slice_of(key, n), &text),
				 CAIRN_OK);
		ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
		ck_assert_int_eq(keytext_unhex((char *)text.data, &back),
				 CAIRN_OK);
		ck_assert(slice_eq(buf_slice(&back), slice_of(key, n)));
		buf_fini(&text);
		buf_fini(&back);
	}
}
END_TEST

static const char *const bad_escapes[] = { "%", "%4", "a%zz", "%%41" };

START_TEST(a_percent_without_two_digits_is_refused)
{
	struct buf key = { 0 };

	ck_assert_int_eq(keytext_unescape(bad_escapes[_i], &key), CAIRN_EINVAL);
	buf_fini(&key);
}
END_TEST

static const char *const bad_hex[] = { "0", "0x0", "zz", "0x12 4", "12g4" };

START_TEST(odd_or_foreign_hex_is_refused)
{
	struct buf key = { 0 };

	ck_assert_int_eq(keytext_unhex(bad_hex[_i], &key), CAIRN_EINVAL);
	buf_fini(&key);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keytext");
	TCase *t = tcase_create("keytext");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_key_is_escaped_and_read_back, 0,
			    sizeof(pairs) / sizeof(pairs[0]));
	tcase_add_test(t, any_bytes_survive_escaping_and_hex);
	tcase_add_loop_test(t, a_percent_without_two_digits_is_refused, 0,
			    sizeof(bad_escapes) / sizeof(bad_escapes[0]));
	tcase_add_loop_test(t, odd_or_foreign_hex_is_refused, 0,
			    sizeof(bad_hex) / sizeof(bad_hex[0]));
	suite_add_tcase(s, t);
	return run_suite(s);
}
