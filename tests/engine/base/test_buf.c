/* SPDX-License-Identifier: BSD-3-Clause */
/* Owned bytes, borrowed bytes, and the message of the last failure. */
#include "engine/base/buf.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"

#define N_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))

static bool holds(const struct buf *b, const void *bytes, size_t len)
{
	return slice_eq(buf_slice(b), slice_of(bytes, len));
}

START_TEST(a_zeroed_buffer_is_empty_and_grows)
{
	struct buf b = { 0 };
	struct rng r;
	uint8_t *model = malloc(200000);
	size_t n = 0;

	ck_assert_ptr_nonnull(model);
	rng_init(&r, 1);
	ck_assert_uint_eq(buf_slice(&b).len, 0);
	ck_assert_int_eq(buf_append(&b, NULL, 0), CAIRN_OK);
	while (n < 150000) {
		size_t more = (size_t)rng_below(&r, 3000);

		for (size_t i = 0; i < more; i++)
			model[n + i] = (uint8_t)rng_next(&r);
		ck_assert_int_eq(buf_append(&b, model + n, more), CAIRN_OK);
		n += more;
		ck_assert(holds(&b, model, n));
	}
	buf_clear(&b);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(buf_append(&b, "x", 1), CAIRN_OK);
	ck_assert(holds(&b, "x", 1));
	buf_fini(&b);
	ck_assert_ptr_null(b.data);
	ck_assert_int_eq(buf_append(&b, "y", 1), CAIRN_OK);
	ck_assert(holds(&b, "y", 1));
	buf_fini(&b);
	free(model);
}
END_TEST

START_TEST(encoded_appends_are_as_coding_writes_them)
{
	struct buf b = { 0 };

	ck_assert_int_eq(buf_append_le32(&b, 0x04030201), CAIRN_OK);
	ck_assert_int_eq(buf_append_le64(&b, 0x0807060504030201), CAIRN_OK);
	ck_assert_int_eq(buf_append_varint(&b, 300), CAIRN_OK);
	ck_assert_int_eq(buf_append_lp(&b, slice_str("abc")), CAIRN_OK);
	ck_assert_int_eq(buf_append_lp(&b, slice_of(NULL, 0)), CAIRN_OK);
	ck_assert(holds(&b,
			"\1\2\3\4\1\2\3\4\5\6\7\10\xac\2\3"
			"abc\0",
			19));
	buf_fini(&b);
}
END_TEST

START_TEST(printf_appends_text_of_any_length_without_its_nul)
{
	struct buf b = { 0 };
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(buf_printf(&b, "%s", ""), CAIRN_OK);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(buf_printf(&b, "%06u.sst", 12u), CAIRN_OK);
	ck_assert(holds(&b, "000012.sst", 10));
	ck_assert_int_eq(buf_printf(&b, "%s", text), CAIRN_OK);
	ck_assert_uint_eq(b.len, 10 + sizeof(text) - 1);
	ck_assert_mem_eq(b.data + 10, text, sizeof(text) - 1);
	buf_fini(&b);
}
END_TEST

START_TEST(set_replaces_also_by_a_part_of_itself)
{
	struct buf b = { 0 };

	ck_assert_int_eq(buf_set(&b, slice_str("0123456789")), CAIRN_OK);
	ck_assert(holds(&b, "0123456789", 10));
	ck_assert_int_eq(buf_set(&b, slice_of(b.data + 2, 5)), CAIRN_OK);
	ck_assert(holds(&b, "23456", 5));
	ck_assert_int_eq(buf_set(&b, slice_of(NULL, 0)), CAIRN_OK);
	ck_assert_uint_eq(b.len, 0);
	buf_fini(&b);
}
END_TEST

START_TEST(a_request_beyond_memory_is_an_error_and_changes_nothing)
{
	struct buf b = { 0 };

	ck_assert_int_eq(buf_append(&b, "abc", 3), CAIRN_OK);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), CAIRN_ENOMEM);
	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX - 2), CAIRN_ENOMEM);
	ck_assert_str_ne(cairn_errmsg(), "");
	ck_assert(holds(&b, "abc", 3));
	buf_fini(&b);
}
END_TEST

START_TEST(a_duplicate_is_a_block_of_its_own)
{
	char bytes[] = "abc";
	struct cairn_slice copy;

	ck_assert_int_eq(slice_dup(slice_of(bytes, 3), &copy), CAIRN_OK);
	bytes[0] = 'x';
	ck_assert(slice_eq(copy, slice_str("abc")));
	free((void *)(uintptr_t)copy.data);
	ck_assert_int_eq(slice_dup(slice_of(NULL, 0), &copy), CAIRN_OK);
	ck_assert_ptr_nonnull(copy.data);
	ck_assert_uint_eq(copy.len, 0);
	free((void *)(uintptr_t)copy.data);
}
END_TEST

static const struct {
	const char *a;
	const char *b;
	int order;
	bool starts;
} pairs[] = {
	{ "", "", 0, true },       { "a", "", 1, true },
	{ "", "a", -1, false },    { "a", "b", -1, false },
	{ "ab", "a", 1, true },    { "a", "ab", -1, false },
	{ "b", "ab", 1, false },   { "\x7f", "\x80", -1, false },
	{ "\xff", "a", 1, false }, { "abc", "abc", 0, true },
};

START_TEST(slices_order_by_unsigned_bytes_then_length)
{
	struct cairn_slice a = slice_str(pairs[_i].a);
	struct cairn_slice b = slice_str(pairs[_i].b);
	int c = slice_cmp(a, b);

	ck_assert_int_eq((c > 0) - (c < 0), pairs[_i].order);
	c = slice_cmp(b, a);
	ck_assert_int_eq((c > 0) - (c < 0), -pairs[_i].order);
	ck_assert(slice_eq(a, b) == (pairs[_i].order == 0));
	ck_assert(slice_starts_with(a, b) == pairs[_i].starts);
}
END_TEST

START_TEST(null_is_an_empty_slice)
{
	struct cairn_slice none = slice_of(NULL, 0);

	ck_assert_int_eq(slice_cmp(none, none), 0);
	ck_assert_int_lt(slice_cmp(none, slice_str("a")), 0);
	ck_assert(slice_eq(none, slice_str("")));
	ck_assert(slice_starts_with(slice_str("a"), none));
	ck_assert(slice_starts_with(none, none));
}
END_TEST

static const struct {
	int errno_value;
	int code;
} codes[] = {
	{ 0, CAIRN_OK },          { ENOSPC, CAIRN_ENOSPC },
	{ EDQUOT, CAIRN_ENOSPC }, { ENOENT, CAIRN_ENOENT },
	{ EEXIST, CAIRN_EEXIST }, { EACCES, CAIRN_EACCES },
	{ EPERM, CAIRN_EACCES },  { EROFS, CAIRN_EROFS },
	{ ENOMEM, CAIRN_ENOMEM }, { EIO, CAIRN_EIO },
	{ EMFILE, CAIRN_EIO },
};

START_TEST(errno_maps_to_the_code_that_fits)
{
	int code = codes[_i].code;

	ck_assert_int_eq(error_code_of_errno(codes[_i].errno_value), code);
	ck_assert_str_ne(cairn_strerror(code), "unknown");
}
END_TEST

START_TEST(a_message_names_the_path_and_the_cause)
{
	ck_assert_str_eq(cairn_errmsg(), "");
	ck_assert_int_eq(error_errno(ENOSPC, "write", "/d/000007.log"),
			 CAIRN_ENOSPC);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "/d/000007.log"));
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "write"));
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "No space left"));
}
END_TEST

START_TEST(a_message_may_quote_the_one_before_and_is_cut_when_long)
{
	char text[3000];

	ck_assert_int_eq(error_set(CAIRN_EIO, "inner"), CAIRN_EIO);
	ck_assert_int_eq(error_set(CAIRN_EROFS, "outer: %s", cairn_errmsg()),
			 CAIRN_EROFS);
	ck_assert_str_eq(cairn_errmsg(), "outer: inner");

	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(error_set(CAIRN_EIO, "%s", text), CAIRN_EIO);
	ck_assert_uint_eq(strlen(cairn_errmsg()), 1023);
}
END_TEST

static void *fail_elsewhere(void *arg)
{
	bool *clean = arg;

	*clean = cairn_errmsg()[0] == '\0';
	error_set(CAIRN_EIO, "other thread");
	return NULL;
}

START_TEST(each_thread_has_its_own_message)
{
	pthread_t t;
	bool clean = false;

	error_set(CAIRN_EIO, "mine");
	ck_assert_int_eq(pthread_create(&t, NULL, fail_elsewhere, &clean), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert(clean);
	ck_assert_str_eq(cairn_errmsg(), "mine");
}
END_TEST

START_TEST(every_code_has_a_name)
{
	for (int code = CAIRN_EFUTURE; code <= CAIRN_NOT_FOUND; code++)
		ck_assert_str_ne(cairn_strerror(code), "unknown");
	ck_assert_str_eq(cairn_strerror(-1000), "unknown");
	ck_assert_str_eq(cairn_strerror(2), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("buf");
	TCase *t = tcase_create("buf");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_zeroed_buffer_is_empty_and_grows);
	tcase_add_test(t, encoded_appends_are_as_coding_writes_them);
	tcase_add_test(t, printf_appends_text_of_any_length_without_its_nul);
	tcase_add_test(t, set_replaces_also_by_a_part_of_itself);
	tcase_add_test(t,
		       a_request_beyond_memory_is_an_error_and_changes_nothing);
	suite_add_tcase(s, t);

	t = tcase_create("slice");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_duplicate_is_a_block_of_its_own);
	tcase_add_loop_test(t, slices_order_by_unsigned_bytes_then_length, 0,
			    N_OF(pairs));
	tcase_add_test(t, null_is_an_empty_slice);
	suite_add_tcase(s, t);

	t = tcase_create("error");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, errno_maps_to_the_code_that_fits, 0,
			    N_OF(codes));
	tcase_add_test(t, a_message_names_the_path_and_the_cause);
	tcase_add_test(t,
		       a_message_may_quote_the_one_before_and_is_cut_when_long);
	tcase_add_test(t, each_thread_has_its_own_message);
	tcase_add_test(t, every_code_has_a_name);
	suite_add_tcase(s, t);
	return run_suite_apart(s);
}
