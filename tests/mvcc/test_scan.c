/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_fini(&f);
}

/* The keys of a scan, joined by blanks. */
static const char *scan(int64_t rev, struct cairn_slice from,
			struct cairn_slice to, bool reverse)
{
	static struct buf text;
	struct mvcc_scan *s;
	struct mvcc_row row;
	int err;

	buf_clear(&text);
	ck_ok(mvcc_scan_new(f.m, rev, from, to, reverse, &s));
	while ((err = mvcc_scan_next(s, &row)) == CAIRN_OK) {
		if (text.len)
			ck_ok(buf_append(&text, " ", 1));
		ck_ok(buf_append(&text, row.key.data, row.key.len));
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_int_eq(mvcc_scan_next(s, &row), CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

START_TEST(a_scan_shows_the_keys_of_a_range_both_ways)
{
	static const struct {
		const char *from;
		const char *to; /* NULL: none */
		const char *want;
		const char *backwards;
	} cases[] = {
		{ "", NULL, "a aa b c", "c b aa a" },
		{ "a", "b", "a aa", "aa a" },
		{ "aa", "c", "aa b", "b aa" },
		{ "ab", NULL, "b c", "c b" },
		{ "d", NULL, "", "" },
		{ "c", "a", "", "" },
		{ "a", "a", "", "" },
		{ "", "a", "", "" },
		{ "a", "aa", "a", "a" },
	};
	const char *to = cases[_i].to;

	put(f.m, "c", "3");
	put(f.m, "a", "1");
	put(f.m, "b", "2");
	put(f.m, "aa", "4");
	ck_assert_str_eq(scan(0, S(cases[_i].from), to ? S(to) : none(), false),
			 cases[_i].want);
	ck_assert_str_eq(scan(0, S(cases[_i].from), to ? S(to) : none(), true),
			 cases[_i].backwards);
}
END_TEST

START_TEST(a_scan_at_a_revision_shows_what_was_then)
{
	put(f.m, "a", "1"); /* 2 */
	put(f.m, "b", "1"); /* 3 */
	del(f.m, "a");      /* 4 */
	put(f.m, "c", "1"); /* 5 */
	put(f.m, "a", "2"); /* 6 */
	for (int round = 0; round < 2; round++) {
		ck_assert_str_eq(scan(1, none(), none(), false), "");
		ck_assert_str_eq(scan(2, none(), none(), false), "a");
		ck_assert_str_eq(scan(3, none(), none(), true), "b a");
		ck_assert_str_eq(scan(4, none(), none(), false), "b");
		ck_assert_str_eq(scan(5, none(), none(), true), "c b");
		ck_assert_str_eq(scan(6, none(), none(), false), "a b c");
		flush(f.m);
	}
}
END_TEST

START_TEST(many_versions_in_the_way_are_passed_by)
{
	char value[32];

	put(f.m, "a", "first"); /* 2 */
	put(f.m, "b", "first"); /* 3 */
	for (int i = 0; i < 50; i++) {
		snprintf(value, sizeof(value), "%d", i);
		put(f.m, "a", value);
		put(f.m, "b", value);
	}
	del(f.m, "a");
	for (int64_t rev = 3; rev <= 103; rev++) {
		ck_assert_str_eq(scan(rev, none(), none(), false), "a b");
		ck_assert_str_eq(scan(rev, none(), none(), true), "b a");
	}
	ck_assert_str_eq(scan(0, none(), none(), false), "b");
	ck_assert_str_eq(scan(2, none(), none(), false), "a");
}
END_TEST

START_TEST(a_scan_stays_at_its_revision)
{
	struct mvcc_scan *s;
	struct mvcc_row row;
	char *value;

	put(f.m, "a", "1");
	put(f.m, "b", "1");
	ck_ok(mvcc_scan_new(f.m, 0, none(), none(), false, &s));
	put(f.m, "b", "2");
	put(f.m, "c", "2");
	ck_ok(mvcc_forget(f.m, 5));
	ck_ok(mvcc_scan_next(s, &row));
	ck_assert(slice_eq(row.key, S("a")) && slice_eq(row.value, S("1")));
	ck_ok(mvcc_scan_next(s, &row));
	ck_assert_int_eq(row.main, 3);
	value = read_row(f.m, &row);
	ck_assert_str_eq(value, "1");
	free(value);
	ck_assert_int_eq(mvcc_scan_next(s, &row), CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
}
END_TEST

START_TEST(revisions_out_of_reach_cannot_be_scanned)
{
	struct mvcc_scan *s;

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	ck_ok(mvcc_pin(f.m, 2));
	ck_ok(mvcc_forget(f.m, 3));
	ck_code(mvcc_scan_new(f.m, 4, none(), none(), false, &s),
		CAIRN_EFUTURE);
	ck_code(mvcc_scan_new(f.m, 1, none(), none(), false, &s),
		CAIRN_EFORGOTTEN);
	/* Pinned is as good as not forgotten. */
	ck_assert_str_eq(scan(2, none(), none(), false), "a");
	mvcc_unpin(f.m, 2);
	ck_code(mvcc_scan_new(f.m, 2, none(), none(), false, &s),
		CAIRN_EFORGOTTEN);
}
END_TEST

START_TEST(the_end_of_a_prefix_is_the_first_key_behind_it)
{
	static const struct {
		const char *prefix;
		const char *want; /* NULL: none */
	} cases[] = {
		{ "a", "b" },     { "ab", "ac" },       { "a/", "a0" },
		{ "a\xff", "b" }, { "a\xff\xff", "b" }, { "\xff", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cairn_slice got;

		ck_ok(mvcc_prefix_end(S(cases[i].prefix), &got));
		if (cases[i].want)
			ck_assert(slice_eq(got, S(cases[i].want)));
		else
			ck_assert_ptr_null(got.data);
		free((void *)(uintptr_t)got.data);
	}
}
END_TEST

START_TEST(any_tells_whether_a_prefix_has_keys)
{
	put(f.m, "d/", "");  /* 2 */
	put(f.m, "d/x", ""); /* 3 */
	del(f.m, "d/x");     /* 4 */
	ck_ok(mvcc_any(f.m, 0, S("d/"), none()));
	ck_code(mvcc_any(f.m, 0, S("d/"), S("d/")), CAIRN_NOT_FOUND);
	ck_ok(mvcc_any(f.m, 3, S("d/"), S("d/")));
	ck_code(mvcc_any(f.m, 0, S("e"), none()), CAIRN_NOT_FOUND);
	ck_ok(mvcc_any(f.m, 0, none(), none()));
	ck_code(mvcc_any(f.m, 1, none(), none()), CAIRN_NOT_FOUND);
}
END_TEST

START_TEST(keys_of_zeros_and_ones_are_told_apart)
{
	static const struct {
		const char *key;
		size_t len;
	} keys[] = { { "\0", 1 },     { "\0\0", 2 },    { "\0\1", 2 },
		     { "\0\xff", 2 }, { "\1", 1 },      { "\xff", 1 },
		     { "\xff\0", 2 }, { "\xff\xff", 2 } };
	const size_t n = sizeof(keys) / sizeof(keys[0]);
	struct mvcc_scan *s;
	struct mvcc_row row;

	for (size_t i = n; i-- > 0;)
		ck_ok(mvcc_put(f.m, slice_of(keys[i].key, keys[i].len),
			       slice_of(keys[i].key, keys[i].len), NULL, NULL));
	for (size_t from = 0; from < n; from++) {
		ck_ok(mvcc_scan_new(f.m, 0,
				    slice_of(keys[from].key, keys[from].len),
				    none(), false, &s));
		for (size_t i = from; i < n; i++) {
			ck_ok(mvcc_scan_next(s, &row));
			ck_assert(slice_eq(row.key,
					   slice_of(keys[i].key, keys[i].len)));
			ck_assert(slice_eq(row.value, row.key));
		}
		ck_assert_int_eq(mvcc_scan_next(s, &row), CAIRN_NOT_FOUND);
		mvcc_scan_free(s);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scan");
	TCase *tc = tcase_create("scan");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_scan_shows_the_keys_of_a_range_both_ways, 0,
			    9);
	tcase_add_test(tc, a_scan_at_a_revision_shows_what_was_then);
	tcase_add_test(tc, many_versions_in_the_way_are_passed_by);
	tcase_add_test(tc, a_scan_stays_at_its_revision);
	tcase_add_test(tc, revisions_out_of_reach_cannot_be_scanned);
	tcase_add_test(tc, the_end_of_a_prefix_is_the_first_key_behind_it);
	tcase_add_test(tc, any_tells_whether_a_prefix_has_keys);
	tcase_add_test(tc, keys_of_zeros_and_ones_are_told_apart);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
