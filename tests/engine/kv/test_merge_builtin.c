/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/merge_builtin.h"

#include "engine/kv/merge.h"
#include "engine/kv/prefix_builtin.h"
#include "tests/support/runner.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *text;
	int want;
	const char *name;
	const char *delimiter;
	const char *written;
} texts[] = {
	{ "uint64add", CAIRN_OK, "UInt64AddOperator", "", "UInt64AddOperator" },
	{ "UInt64AddOperator", CAIRN_OK, "UInt64AddOperator", "",
	  "UInt64AddOperator" },
	{ "{id=UInt64AddOperator;}", CAIRN_OK, "UInt64AddOperator", "",
	  "UInt64AddOperator" },
	{ " { id = uint64add } ", CAIRN_OK, "UInt64AddOperator", "",
	  "UInt64AddOperator" },
	{ "StringAppendOperator", CAIRN_OK, "StringAppendOperator", ",",
	  "{id=StringAppendOperator;delimiter=,;}" },
	{ "stringappendtest", CAIRN_OK, "StringAppendTESTOperator", ",",
	  "{id=StringAppendTESTOperator;delimiter=,;}" },
	{ "{delimiter=ab;id=StringAppendOperator}", CAIRN_OK,
	  "StringAppendOperator", "ab",
	  "{id=StringAppendOperator;delimiter=ab;}" },
	{ "{id=StringAppendOperator;delimiter={x=y};}", CAIRN_OK,
	  "StringAppendOperator", "x=y",
	  "{id=StringAppendOperator;delimiter=x=y;}" },
	{ "{id=StringAppendOperator;delimiter=\\#\\\\\\:;}", CAIRN_OK,
	  "StringAppendOperator",
	  "#\\:", "{id=StringAppendOperator;delimiter=\\#\\\\\\:;}" },
	{ "{id=StringAppendOperator;delimiter=;}", CAIRN_OK,
	  "StringAppendOperator", "", "{id=StringAppendOperator;delimiter=;}" },
	{ "{id=StringAppendOperator;delimiter=\\;;}", CAIRN_EINVAL, NULL, NULL,
	  NULL },
	{ "{id=StringAppendOperator;delimiter=\\n;}", CAIRN_EINVAL, NULL, NULL,
	  NULL },
	{ "{id=StringAppendOperator;x}", CAIRN_EINVAL, NULL, NULL, NULL },
	{ "{id=StringAppendOperator;x=y}", CAIRN_EINVAL, NULL, NULL, NULL },
	{ "{id=UInt64AddOperator;delimiter=,}", CAIRN_EINVAL, NULL, NULL,
	  NULL },
	{ "MaxOperator", CAIRN_NOT_FOUND, NULL, NULL, NULL },
	{ "{id=MaxOperator;}", CAIRN_NOT_FOUND, NULL, NULL, NULL },
	{ "{delimiter=,}", CAIRN_NOT_FOUND, NULL, NULL, NULL },
	{ "{}", CAIRN_NOT_FOUND, NULL, NULL, NULL },
	{ "{", CAIRN_NOT_FOUND, NULL, NULL, NULL },
	{ "", CAIRN_NOT_FOUND, NULL, NULL, NULL },
};

START_TEST(an_operator_is_what_its_text_says)
{
	struct merge_builtin *b = NULL, *again = NULL;
	struct buf written = { 0 };

	ck_assert_int_eq(merge_builtin_new(texts[_i].text, &b), texts[_i].want);
	if (texts[_i].want) {
		ck_assert_ptr_null(b);
		return;
	}
	ck_assert_str_eq(b->op.name, texts[_i].name);
	ck_assert(slice_eq(buf_slice(&b->delimiter),
			   slice_str(texts[_i].delimiter)));
	ck_assert_int_eq(merge_builtin_format(b, &written), CAIRN_OK);
	ck_assert_int_eq(buf_append(&written, "", 1), CAIRN_OK);
	ck_assert_str_eq((char *)written.data, texts[_i].written);
	ck_assert_int_eq(merge_builtin_new((char *)written.data, &again),
			 CAIRN_OK);
	ck_assert_str_eq(again->op.name, b->op.name);
	ck_assert(slice_eq(buf_slice(&again->delimiter),
			   buf_slice(&b->delimiter)));
	merge_builtin_free(again);
	ck_assert_int_eq(merge_builtin_clone(b, &again), CAIRN_OK);
	ck_assert_ptr_eq(again->op.ctx, again);
	ck_assert(slice_eq(buf_slice(&again->delimiter),
			   buf_slice(&b->delimiter)));
	merge_builtin_free(again);
	merge_builtin_free(b);
	buf_fini(&written);
}
END_TEST

START_TEST(every_truncation_and_changed_byte_is_an_operator_or_none)
{
	static const uint8_t bytes[] = "{}=;\\ x";
	char text[128];

	for (size_t i = 0; i < strlen(texts[_i].text); i++) {
		for (size_t k = 0; k < sizeof(bytes); k++) {
			struct merge_builtin *b = NULL;
			int err;

			memset(text, 0, sizeof(text));
			memcpy(text, texts[_i].text, strlen(texts[_i].text));
			text[i] = (char)bytes[k]; /* the last is the NUL */
			err = merge_builtin_new(text, &b);
			ck_assert(err == CAIRN_OK || err == CAIRN_NOT_FOUND ||
				  err == CAIRN_EINVAL);
			merge_builtin_free(b);
		}
	}
}
END_TEST

/* Results with and without partial merging are the same. */
static const struct {
	const char *operator;
	const char *existing; /* NULL: none */
	const char *operands[4];
	const char *want;
} sums[] = {
	{ "stringappend", NULL, { "a" }, "a" },
	{ "stringappend", NULL, { "" }, "" },
	{ "stringappend", NULL, { "", "" }, "," },
	{ "stringappend", "", { "a" }, ",a" },
	{ "stringappend", "x", { "a", "b", "c", "d" }, "x,a,b,c,d" },
	{ "stringappendtest", NULL, { "a", "b" }, "a,b" },
	{ "stringappendtest", "", { "" }, "," },
	/* 0x30303030303030xx, little-endian */
	{ "uint64add", "10000000", { "1000000" }, "10000000" },
	{ "uint64add",
	  "10000000",
	  { "\1\1\1\1\1\1\1\1", "\1\1\1\1\1\1\1\1" },
	  "32222222" },
	{ "uint64add", "short", { "10000000", "toolong..." }, "10000000" },
	{ "uint64add", NULL, { "10000000" }, "10000000" },
};

START_TEST(operands_are_put_together_as_rocksdb_does)
{
	struct cairn_slice existing, first;
	struct merge_operands m = { 0 };
	struct buf full = { 0 }, part = { 0 };
	struct merge_builtin *b;
	size_t n = 0;
	int err;

	ck_assert_int_eq(merge_builtin_new(sums[_i].operator, & b), CAIRN_OK);
	if (sums[_i].existing)
		existing = slice_str(sums[_i].existing);
	for (; n < 4 && sums[_i].operands[n]; n++)
		ck_assert_int_eq(
			merge_operands_add(&m, slice_str(sums[_i].operands[n]),
					   n),
			CAIRN_OK);
	ck_assert_int_eq(merge_full(&b->op, slice_str("k"),
				    sums[_i].existing ? &existing : NULL, &m,
				    MERGE_OLDEST_FIRST, &full),
			 CAIRN_OK);
	ck_assert_msg(slice_eq(buf_slice(&full), slice_str(sums[_i].want)),
		      "%d: %.*s", _i, (int)full.len, (char *)full.data);
	if (n > 1) {
		err = merge_partial(&b->op, slice_str("k"), &m,
				    MERGE_OLDEST_FIRST, &part);
		ck_assert_int_eq(err,
				 b->op.partial ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (!err) {
			first = buf_slice(&part);
			merge_operands_clear(&m);
			ck_assert_int_eq(merge_operands_add(&m, first, 0),
					 CAIRN_OK);
			ck_assert_int_eq(
				merge_full(&b->op, slice_str("k"),
					   sums[_i].existing ? &existing : NULL,
					   &m, MERGE_NEWEST_FIRST, &full),
				CAIRN_OK);
			ck_assert(slice_eq(buf_slice(&full),
					   slice_str(sums[_i].want)));
		}
	}
	merge_builtin_free(b);
	merge_operands_fini(&m);
	buf_fini(&full);
	buf_fini(&part);
}
END_TEST

static const struct {
	const char *name;
	bool known;
	const char *key;
	size_t prefix; /* SIZE_MAX: none */
} prefixes[] = {
	{ "rocksdb.FixedPrefix.3", true, "abcd", 3 },
	{ "rocksdb.FixedPrefix.3", true, "abc", 3 },
	{ "rocksdb.FixedPrefix.3", true, "ab", SIZE_MAX },
	{ "rocksdb.FixedPrefix.0", true, "", 0 },
	{ "rocksdb.CappedPrefix.3", true, "abcd", 3 },
	{ "rocksdb.CappedPrefix.3", true, "ab", 2 },
	{ "rocksdb.CappedPrefix.65535", true, "ab", 2 },
	{ "rocksdb.CappedPrefix.65536", false, NULL, 0 },
	{ "rocksdb.FixedPrefix.99999999999999999999", false, NULL, 0 },
	{ "rocksdb.FixedPrefix.03", false, NULL, 0 },
	{ "rocksdb.FixedPrefix.", false, NULL, 0 },
	{ "rocksdb.FixedPrefix.3x", false, NULL, 0 },
	{ "rocksdb.FixedPrefix.-3", false, NULL, 0 },
	{ "rocksdb.FixedPrefix", false, NULL, 0 },
	{ "rocksdb.Noop", false, NULL, 0 },
	{ "", false, NULL, 0 },
};

START_TEST(a_prefix_extractor_is_what_its_name_says)
{
	struct prefix_builtin *p = NULL;

	ck_assert_int_eq(prefix_builtin_new(prefixes[_i].name, &p),
			 prefixes[_i].known ? CAIRN_OK : CAIRN_NOT_FOUND);
	if (prefixes[_i].known) {
		ck_assert_str_eq(p->px.name, prefixes[_i].name);
		ck_assert_uint_eq(p->px.prefix_len(p->px.ctx,
						   slice_str(prefixes[_i].key)),
				  prefixes[_i].prefix);
	}
	prefix_builtin_free(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("merge_builtin");
	TCase *tc = tcase_create("merge_builtin");

	tcase_add_loop_test(tc, an_operator_is_what_its_text_says, 0,
			    (int)N(texts));
	tcase_add_loop_test(
		tc, every_truncation_and_changed_byte_is_an_operator_or_none, 0,
		(int)N(texts));
	tcase_add_loop_test(tc, operands_are_put_together_as_rocksdb_does, 0,
			    (int)N(sums));
	tcase_add_loop_test(tc, a_prefix_extractor_is_what_its_name_says, 0,
			    (int)N(prefixes));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
