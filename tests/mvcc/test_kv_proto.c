/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/kv_proto.h"

#include <stdlib.h>

#include "tests/support/runner.h"

#define ck_ok(expr) ck_assert_int_eq((expr), CAIRN_OK)

/* A literal's bytes, less its NUL. */
#define B(s)                                                                   \
	{                                                                      \
		(const uint8_t *)(s), sizeof(s) - 1                            \
	}

/* By hand, from the rules of the encoding. */
static const struct {
	const char *name;
	struct kv_proto kv;
	struct cairn_slice bytes;
} known[] = {
	{ "nothing", { .key = B("") }, B("") },
	{ "tombstone", { .key = B("a/b") }, B("\x0a\3a/b") },
	{ "put",
	  { .key = B("k"),
	    .create_rev = 2,
	    .mod_rev = 300,
	    .version = 3,
	    .value = B("hello") },
	  B("\x0a\1k\x10\2\x18\xac\2\x20\3\x2a\5hello") },
	{ "lease, and bytes that are no text",
	  { .key = B("\0\xff"),
	    .create_rev = 1,
	    .mod_rev = 1,
	    .version = 1,
	    .value = B("\0"),
	    .lease = INT64_MAX },
	  B("\x0a\2\0\xff\x10\1\x18\1\x20\1\x2a\1\0"
	    "\x30\xff\xff\xff\xff\xff\xff\xff\xff\x7f") },
	{ "negative numbers take ten bytes",
	  { .key = B("k"), .lease = -1 },
	  B("\x0a\1k\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\1") },
};
enum { N_KNOWN = sizeof(known) / sizeof(known[0]) };

static bool same(const struct kv_proto *a, const struct kv_proto *b)
{
	return slice_eq(a->key, b->key) && slice_eq(a->value, b->value) &&
	       a->create_rev == b->create_rev && a->mod_rev == b->mod_rev &&
	       a->version == b->version && a->lease == b->lease;
}

START_TEST(rows_are_the_bytes_that_etcd_makes)
{
	struct buf got = { 0 };

	ck_ok(buf_append(&got, "<", 1));
	ck_ok(kv_proto_encode(&got, &known[_i].kv));
	ck_assert_msg(got.data[0] == '<' &&
			      slice_eq(slice_of(got.data + 1, got.len - 1),
				       known[_i].bytes),
		      "%s", known[_i].name);
	buf_fini(&got);
}
END_TEST

START_TEST(rows_come_back_as_they_went)
{
	struct kv_proto got = { 0 };

	ck_ok(kv_proto_decode(known[_i].bytes, &got));
	ck_assert_msg(same(&got, &known[_i].kv), "%s", known[_i].name);
}
END_TEST

START_TEST(order_repeats_and_unknown_fields_are_as_protobuf_has_them)
{
	static const struct {
		const char *name;
		struct cairn_slice bytes;
	} cases[] = {
		{ "backwards", B("\x2a\1v\x20\2\x0a\1k") },
		{ "the last of several counts",
		  B("\x0a\4gone\x0a\1k\x20\x09\x20\2\x2a\1v") },
		{ "unknown varint", B("\x0a\1k\x20\2\x38\xac\2\x2a\1v") },
		{ "unknown fixed64",
		  B("\x0a\1k\x20\2\x2a\1v\x39\1\2\3\4\5\6\7\10") },
		{ "unknown bytes", B("\x3a\2xy\x0a\1k\x20\2\x2a\1v") },
		{ "unknown fixed32", B("\x0a\1k\x3d\1\2\3\4\x20\2\x2a\1v") },
		{ "a field number of two bytes",
		  B("\x0a\1k\x20\2\x2a\1v\x80\1\1") },
		{ "a tag with a needless byte", B("\x8a\0\1k\x20\2\x2a\1v") },
	};
	const struct kv_proto want = { .key = B("k"),
				       .version = 2,
				       .value = B("v") };
	struct kv_proto got = { 0 };

	ck_assert_msg(kv_proto_decode(cases[_i].bytes, &got) == CAIRN_OK &&
			      same(&got, &want),
		      "%s", cases[_i].name);
}
END_TEST

START_TEST(malformed_messages_are_refused)
{
	static const struct {
		const char *name;
		struct cairn_slice bytes;
	} cases[] = {
		{ "field 0", B("\0\1") },
		{ "key as a number", B("\x08\1") },
		{ "version as bytes", B("\x22\1x") },
		{ "a group", B("\x3b\x3c") },
		{ "length past the end", B("\x0a\2k") },
		{ "length near 2^64",
		  B("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1k") },
		{ "number of eleven bytes",
		  B("\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1") },
		{ "number over 64 bits",
		  B("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\2") },
		{ "tag over 32 bits", B("\x80\x80\x80\x80\x80\1\0") },
		{ "unknown fixed64 cut short", B("\x39\1\2\3\4\5\6\7") },
		{ "unknown fixed32 cut short", B("\x3d\1\2\3") },
		{ "tag without a value", B("\x0a\1k\x20") },
	};
	struct kv_proto got = known[2].kv;

	ck_assert_msg(kv_proto_decode(cases[_i].bytes, &got) == CAIRN_ECORRUPT,
		      "%s", cases[_i].name);
	ck_assert(same(&got, &known[2].kv));
}
END_TEST

/* Whatever decodes says nothing but what lies in the bytes given. */
static void ck_inside(struct cairn_slice part, const uint8_t *all, size_t n)
{
	if (!part.len)
		return;
	ck_assert(part.data >= all && part.len <= n &&
		  (size_t)(part.data - all) <= n - part.len);
}

START_TEST(bent_and_cut_messages_never_read_past_their_end)
{
	struct cairn_slice whole = known[_i].bytes;

	for (size_t n = 0; n <= whole.len; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, whole.data, n);
		for (size_t bit = 0; bit <= 8 * n; bit++) {
			struct kv_proto got = { 0 };
			uint8_t mask = (uint8_t)(bit ? 1 << (bit - 1) % 8 : 0);
			size_t at = bit ? (bit - 1) / 8 : 0;
			int err;

			if (mask)
				copy[at] ^= mask;
			err = kv_proto_decode(slice_of(copy, n), &got);
			ck_assert(!err || err == CAIRN_ECORRUPT);
			ck_inside(got.key, copy, n);
			ck_inside(got.value, copy, n);
			if (mask)
				copy[at] ^= mask;
		}
		free(copy);
	}
}
END_TEST

START_TEST(leases_are_read_with_what_later_releases_add)
{
	static const struct {
		const char *name;
		struct cairn_slice bytes;
		struct lease_proto want;
	} cases[] = {
		{ "nothing", B(""), { 0 } },
		{ "granted", B("\x08\x87\1\x10\x3c"), { 135, 60, 0 } },
		{ "checkpointed", B("\x08\1\x10\x3c\x18\x1e"), { 1, 60, 30 } },
		{ "with a field more",
		  B("\x08\1\x10\x3c\x20\5"),
		  { 1, 60, 0 } },
		{ "negative",
		  B("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
		  { -1, 0, 0 } },
	};
	struct cairn_slice whole = cases[_i].bytes;
	struct lease_proto got = { 0 };

	ck_ok(lease_proto_decode(whole, &got));
	ck_assert_msg(got.id == cases[_i].want.id &&
			      got.ttl == cases[_i].want.ttl &&
			      got.remaining == cases[_i].want.remaining,
		      "%s", cases[_i].name);
	for (size_t n = 0; n <= whole.len; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, whole.data, n);
		for (size_t bit = 0; bit < 8 * n; bit++) {
			int err;

			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			err = lease_proto_decode(slice_of(copy, n), &got);
			ck_assert(!err || err == CAIRN_ECORRUPT);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		free(copy);
	}
	ck_assert_int_eq(lease_proto_decode(slice_str("\x0a\1k"), &got),
			 CAIRN_ECORRUPT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kv_proto");
	TCase *tc = tcase_create("kv_proto");

	tcase_add_loop_test(tc, rows_are_the_bytes_that_etcd_makes, 0, N_KNOWN);
	tcase_add_loop_test(tc, rows_come_back_as_they_went, 0, N_KNOWN);
	tcase_add_loop_test(
		tc, order_repeats_and_unknown_fields_are_as_protobuf_has_them,
		0, 8);
	tcase_add_loop_test(tc, malformed_messages_are_refused, 0, 12);
	tcase_add_loop_test(tc, bent_and_cut_messages_never_read_past_their_end,
			    0, N_KNOWN);
	tcase_add_loop_test(tc, leases_are_read_with_what_later_releases_add, 0,
			    5);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
