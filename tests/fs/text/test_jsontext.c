/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/jsontext.h"

#include "tests/support/runner.h"

#define BYTES(s) s, sizeof(s) - 1

static const struct {
	const char *bytes;
	size_t len;
	const char *want;
} strings[] = {
	{ BYTES(""), "\"\"" },
	{ BYTES("plain text"), "\"plain text\"" },
	{ BYTES("\"\\"), "\"\\\"\\\\\"" },
	{ BYTES("a\nb\tc\r\0d\x7f"), "\"a\\nb\\tc\\u000d\\u0000d\\u007f\"" },
	{ BYTES("\xc3\xa4\xe2\x82\xac"), "\"\xc3\xa4\xe2\x82\xac\"" },
	{ BYTES("a\xff\xc3"), "\"a\\ufffd\\ufffd\"" },
};

START_TEST(strings_are_what_json_takes)
{
	struct buf out = { 0 };

	ck_assert(!jsontext_string(slice_of(strings[_i].bytes, strings[_i].len),
				   &out));
	ck_assert_msg(slice_eq(buf_slice(&out), slice_str(strings[_i].want)),
		      "%.*s, not %s", (int)out.len, (const char *)out.data,
		      strings[_i].want);
	buf_fini(&out);
}
END_TEST

/* RFC 4648, and what is text. */
static const struct {
	const char *bytes;
	size_t len;
	const char *want;
} values[] = {
	{ BYTES(""), "\"v\":\"\"" },
	{ BYTES("text\n"), "\"v\":\"text\\n\"" },
	{ BYTES("\xff"), "\"v_b64\":\"/w==\"" },
	{ BYTES("\xff\xfe"), "\"v_b64\":\"//4=\"" },
	{ BYTES("\xff\xfe\xfd"), "\"v_b64\":\"//79\"" },
	{ BYTES("foob\x80"), "\"v_b64\":\"Zm9vYoA=\"" },
};

START_TEST(values_are_text_or_base64)
{
	struct buf out = { 0 };

	ck_assert(!jsontext_value(
		"v", slice_of(values[_i].bytes, values[_i].len), &out));
	ck_assert_msg(slice_eq(buf_slice(&out), slice_str(values[_i].want)),
		      "%.*s, not %s", (int)out.len, (const char *)out.data,
		      values[_i].want);
	buf_fini(&out);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("jsontext");
	TCase *t = tcase_create("jsontext");

	tcase_add_loop_test(t, strings_are_what_json_takes, 0,
			    sizeof(strings) / sizeof(strings[0]));
	tcase_add_loop_test(t, values_are_text_or_base64, 0,
			    sizeof(values) / sizeof(values[0]));
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
