/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/attr.h"

#include <stdlib.h>

#include "tests/support/runner.h"

#define ck_ok(expr) ck_assert_int_eq((expr), CAIRN_OK)

/* {4 name, 5 value}, {5 name2, 0} */
#define TWO_XATTRS "\4name\5value\5name2\0"

static struct mvcc_attrs full(void)
{
	return (struct mvcc_attrs){
		.type = MVCC_SYMLINK,
		.has_mode = true,
		.has_uid = true,
		.has_gid = true,
		.has_mtime = true,
		.mode = 07777,
		.uid = UINT32_MAX,
		.gid = 0,
		.mtime_ns = -1,
		.xattrs = slice_of(TWO_XATTRS, sizeof(TWO_XATTRS) - 1),
	};
}

static void ck_same(const struct mvcc_attrs *a, const struct mvcc_attrs *b)
{
	ck_assert_int_eq(a->type, b->type);
	ck_assert(a->has_mode == b->has_mode && a->mode == b->mode);
	ck_assert(a->has_uid == b->has_uid && a->uid == b->uid);
	ck_assert(a->has_gid == b->has_gid && a->gid == b->gid);
	ck_assert(a->has_mtime == b->has_mtime && a->mtime_ns == b->mtime_ns);
	ck_assert(slice_eq(a->xattrs, b->xattrs));
}

START_TEST(attributes_come_back_as_they_went)
{
	struct mvcc_attrs all = full(), got;
	struct buf block = { 0 };

	/* Every subset of what can be there. */
	for (unsigned set = 0; set < 64; set++) {
		struct mvcc_attrs want = { .type = MVCC_FILE };

		if (set & 1)
			want.type = MVCC_DIR;
		if (set & 2) {
			want.has_mode = true;
			want.mode = all.mode;
		}
		if (set & 4) {
			want.has_uid = true;
			want.uid = all.uid;
		}
		if (set & 8)
			want.has_gid = true;
		if (set & 16) {
			want.has_mtime = true;
			want.mtime_ns = all.mtime_ns;
		}
		if (set & 32)
			want.xattrs = all.xattrs;
		buf_clear(&block);
		ck_ok(attr_encode(&block, &want));
		ck_ok(attr_decode(buf_slice(&block), &got));
		ck_same(&got, &want);
	}
	buf_fini(&block);
}
END_TEST

START_TEST(no_attributes_take_no_bytes)
{
	const struct mvcc_attrs none = { .type = MVCC_FILE };
	struct mvcc_attrs got = full();
	struct buf block = { 0 };

	ck_ok(attr_encode(&block, NULL));
	ck_ok(attr_encode(&block, &none));
	ck_assert_uint_eq(block.len, 0);
	ck_ok(attr_decode(slice_of(NULL, 0), &got));
	ck_same(&got, &none);
}
END_TEST

START_TEST(impossible_attributes_are_not_written)
{
	struct buf block = { 0 };
	struct mvcc_attrs a = full();

	a.mode = 010000;
	ck_assert_int_eq(attr_encode(&block, &a), CAIRN_EINVAL);
	a = full();
	a.type = (enum mvcc_type)3;
	ck_assert_int_eq(attr_encode(&block, &a), CAIRN_EINVAL);
	a = full();
	a.xattrs.len--;
	ck_assert_int_eq(attr_encode(&block, &a), CAIRN_EINVAL);
	a.xattrs = slice_str("\1b\1x\1a\1x"); /* out of order */
	ck_assert_int_eq(attr_encode(&block, &a), CAIRN_EINVAL);
	a.xattrs = slice_str("\1a\1x\1a\1x"); /* twice */
	ck_assert_int_eq(attr_encode(&block, &a), CAIRN_EINVAL);
	a.xattrs = slice_of("\0\1x", 3); /* no name */
	ck_assert_int_eq(attr_encode(&block, &a), CAIRN_EINVAL);
	ck_assert_uint_eq(block.len, 0);
	buf_fini(&block);
}
END_TEST

START_TEST(unknown_tags_are_skipped)
{
	const struct mvcc_attrs want = full();
	struct mvcc_attrs got;
	struct buf block = { 0 };

	ck_ok(attr_encode(&block, &want));
	ck_ok(buf_append(&block, "\7\3xyz\x80\0", 7));
	ck_ok(attr_decode(buf_slice(&block), &got));
	ck_same(&got, &want);
	buf_fini(&block);
}
END_TEST

START_TEST(malformed_blocks_are_refused)
{
	static const struct {
		const char *name;
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "tag 0", "\0\0", 2 },
		{ "tag without length", "\1", 1 },
		{ "tags out of order", "\3\1\1\2\1\1", 6 },
		{ "a tag twice", "\3\1\1\3\1\1", 6 },
		{ "unknown type", "\1\1\3", 3 },
		{ "type of two bytes", "\1\2\1\1", 4 },
		{ "mode over 07777", "\2\2\x80\x20", 4 },
		{ "number with bytes behind it", "\3\2\1\1", 4 },
		{ "empty number", "\3\0", 2 },
		{ "mtime of seven bytes", "\5\7\0\0\0\0\0\0\0", 9 },
		{ "xattr without value", "\6\2\1a", 4 },
		{ "length past the end", "\7\x7f", 2 },
	};
	struct mvcc_attrs got = full();
	const struct mvcc_attrs before = got;

	ck_assert_msg(attr_decode(slice_of(cases[_i].bytes, cases[_i].len),
				  &got) == CAIRN_ECORRUPT,
		      "%s", cases[_i].name);
	ck_same(&got, &before);
}
END_TEST

START_TEST(bent_and_cut_blocks_never_read_past_their_end)
{
	const struct mvcc_attrs want = full();
	struct mvcc_attrs got;
	struct buf block = { 0 };

	ck_ok(attr_encode(&block, &want));
	for (size_t n = 0; n <= block.len; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, block.data, n);
		for (size_t bit = 0; bit < 8 * n; bit++) {
			int err;

			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			err = attr_decode(slice_of(copy, n), &got);
			ck_assert(!err || err == CAIRN_ECORRUPT);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		free(copy);
	}
	buf_fini(&block);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("attr");
	TCase *tc = tcase_create("attr");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, attributes_come_back_as_they_went);
	tcase_add_test(tc, no_attributes_take_no_bytes);
	tcase_add_test(tc, impossible_attributes_are_not_written);
	tcase_add_test(tc, unknown_tags_are_skipped);
	tcase_add_loop_test(tc, malformed_blocks_are_refused, 0, 12);
	tcase_add_test(tc, bent_and_cut_blocks_never_read_past_their_end);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
