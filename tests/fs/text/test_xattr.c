/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/xattr.h"

#include "tests/support/runner.h"

static int set(struct buf *b, const char *name, const char *value)
{
	struct cairn_slice v = slice_str(value ? value : "");

	return xattr_set(b, slice_str(name), value ? &v : NULL);
}

static void expect(const struct buf *b, const char *name, const char *value)
{
	struct cairn_slice v;
	int err = xattr_get(buf_slice(b), slice_str(name), &v);

	if (!value) {
		ck_assert_int_eq(err, CAIRN_NOT_FOUND);
		return;
	}
	ck_assert_int_eq(err, CAIRN_OK);
	ck_assert(slice_eq(v, slice_str(value)));
}

START_TEST(attributes_are_set_replaced_and_removed)
{
	struct buf b = { 0 };

	ck_assert_int_eq(set(&b, "user.b", "1"), CAIRN_OK);
	ck_assert_int_eq(set(&b, "user.a", "2"), CAIRN_OK);
	ck_assert_int_eq(set(&b, "user.c", ""), CAIRN_OK);
	expect(&b, "user.a", "2");
	expect(&b, "user.b", "1");
	expect(&b, "user.c", "");
	expect(&b, "user.", NULL);
	ck_assert_int_eq(set(&b, "user.b", "three"), CAIRN_OK);
	expect(&b, "user.b", "three");
	ck_assert_int_eq(set(&b, "user.a", NULL), CAIRN_OK);
	expect(&b, "user.a", NULL);
	ck_assert_int_eq(set(&b, "user.a", NULL), CAIRN_NOT_FOUND);
	buf_fini(&b);
}
END_TEST

START_TEST(names_stay_in_order)
{
	static const char *const names[] = { "m", "z", "a", "mm", "b" };
	struct buf b = { 0 };
	struct cairn_slice rest, name, value, last = slice_str("");
	int n = 0;

	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(set(&b, names[i], "v"), CAIRN_OK);
	rest = buf_slice(&b);
	while (!xattr_next(&rest, &name, &value)) {
		ck_assert_int_lt(slice_cmp(last, name), 0);
		last = name;
		n++;
	}
	ck_assert_int_eq(n, 5);
	buf_fini(&b);
}
END_TEST

START_TEST(too_much_is_refused_and_changes_nothing)
{
	static uint8_t big[XATTRS_LEN_MAX];
	struct cairn_slice v = slice_of(big, sizeof(big));
	struct buf b = { 0 };
	size_t len;

	ck_assert_int_eq(set(&b, "a", "1"), CAIRN_OK);
	len = b.len;
	ck_assert_int_eq(xattr_set(&b, slice_str("b"), &v), CAIRN_ENOSPC);
	ck_assert_uint_eq(b.len, len);
	expect(&b, "a", "1");
	buf_fini(&b);
}
END_TEST

START_TEST(every_truncation_is_found_out)
{
	struct buf b = { 0 };
	struct cairn_slice v;

	ck_assert_int_eq(set(&b, "name", "value"), CAIRN_OK);
	for (size_t len = 1; len < b.len; len++) {
		struct buf cut = { 0 };

		ck_assert_int_eq(xattr_get(slice_of(b.data, len),
					   slice_str("other"), &v),
				 CAIRN_ECORRUPT);
		ck_assert_int_eq(buf_append(&cut, b.data, len), CAIRN_OK);
		ck_assert_int_eq(set(&cut, "other", "x"), CAIRN_ECORRUPT);
		ck_assert_uint_eq(cut.len, len);
		buf_fini(&cut);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(flipped_bits_never_lead_outside)
{
	struct buf b = { 0 };

	ck_assert_int_eq(set(&b, "name", "value"), CAIRN_OK);
	ck_assert_int_eq(set(&b, "other", ""), CAIRN_OK);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		struct cairn_slice rest, name, value;

		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		rest = buf_slice(&b);
		while (!xattr_next(&rest, &name, &value)) {
			ck_assert(name.data >= b.data);
			ck_assert(value.data + value.len <= b.data + b.len);
		}
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	buf_fini(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("xattr");
	TCase *tc = tcase_create("xattr");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, attributes_are_set_replaced_and_removed);
	tcase_add_test(tc, names_stay_in_order);
	tcase_add_test(tc, too_much_is_refused_and_changes_nothing);
	tcase_add_test(tc, every_truncation_is_found_out);
	tcase_add_test(tc, flipped_bits_never_lead_outside);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
