/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/encode.h"
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

/* Versions as "revision=value", or "revision-" for a deletion. */
static const char *history(const char *key)
{
	static struct buf text;
	struct mvcc_history *h;
	struct mvcc_row row;
	int err;

	buf_clear(&text);
	ck_ok(mvcc_history_new(f.m, S(key), &h));
	while ((err = mvcc_history_next(h, &row)) == CAIRN_OK) {
		ck_assert(slice_eq(row.key, S(key)));
		ck_ok(buf_printf(&text, "%s%lld%s", text.len ? " " : "",
				 (long long)row.main, row.deleted ? "-" : "="));
		if (!row.deleted) {
			char *value = read_row(f.m, &row);

			ck_ok(buf_printf(&text, "%.8s", value));
			free(value);
		}
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_int_eq(mvcc_history_next(h, &row), CAIRN_NOT_FOUND);
	mvcc_history_free(h);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

/* Changes as "main.sub+key" and "main.sub-key". */
static const char *changes(int64_t from, int64_t to)
{
	static struct buf text;
	struct mvcc_changes *c;
	struct mvcc_change ch;
	int err;

	buf_clear(&text);
	ck_ok(mvcc_changes_new(f.m, from, to, &c));
	while ((err = mvcc_changes_next(c, &ch)) == CAIRN_OK)
		ck_ok(buf_printf(&text, "%s%lld.%d%c%.*s", text.len ? " " : "",
				 (long long)ch.main, (int)ch.sub,
				 ch.deleted ? '-' : '+', (int)ch.key.len,
				 (const char *)ch.key.data));
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	mvcc_changes_free(c);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

/* a: 2=1 4=2 5- 7=3; b: 3=x 6- */
static void fill(void)
{
	put(f.m, "a", "1");
	put(f.m, "b", "x");
	put(f.m, "a", "2");
	del(f.m, "a");
	del(f.m, "b");
	put(f.m, "a", "3");
}

START_TEST(a_history_is_oldest_first_with_its_deletions)
{
	fill();
	ck_assert_str_eq(history("a"), "2=1 4=2 5- 7=3");
	ck_assert_str_eq(history("b"), "3=x 6-");
	ck_assert_str_eq(history("none"), "");
	flush(f.m);
	ck_assert_str_eq(history("a"), "2=1 4=2 5- 7=3");
}
END_TEST

START_TEST(a_history_shows_the_same_however_far_removal_has_got)
{
	static const struct {
		int64_t rev;
		const char *a;
		const char *b;
	} cases[] = {
		{ 2, "2=1 4=2 5- 7=3", "3=x 6-" },
		{ 3, "2=1 4=2 5- 7=3", "3=x 6-" },
		{ 4, "4=2 5- 7=3", "3=x 6-" },
		{ 5, "7=3", "3=x 6-" },
		{ 6, "7=3", "" },
		{ 7, "7=3", "" },
	};

	fill();
	ck_ok(mvcc_forget(f.m, cases[_i].rev));
	ck_assert_str_eq(history("a"), cases[_i].a);
	ck_assert_str_eq(history("b"), cases[_i].b);
	compact(f.m);
	ck_assert_str_eq(history("a"), cases[_i].a);
	ck_assert_str_eq(history("b"), cases[_i].b);
	fixture_reopen(&f);
	ck_assert_str_eq(history("a"), cases[_i].a);
	ck_assert_str_eq(history("b"), cases[_i].b);
}
END_TEST

START_TEST(an_open_history_keeps_large_values_readable)
{
	char one[4 * CHUNK], two[4 * CHUNK];
	struct mvcc_history *h;
	struct mvcc_row row;
	char *value;

	memset(one, '1', sizeof(one));
	memset(two, '2', sizeof(two));
	one[sizeof(one) - 1] = two[sizeof(two) - 1] = '\0';
	put(f.m, "a", one);
	put(f.m, "a", two);
	ck_ok(mvcc_history_new(f.m, S("a"), &h));
	put(f.m, "a", "small");
	ck_ok(mvcc_forget(f.m, 4));
	compact(f.m);
	ck_ok(mvcc_history_next(h, &row));
	value = read_row(f.m, &row);
	ck_assert_str_eq(value, one);
	free(value);
	ck_ok(mvcc_history_next(h, &row));
	value = read_row(f.m, &row);
	ck_assert_str_eq(value, two);
	free(value);
	/* It ends where it ended when it was made. */
	ck_assert_int_eq(mvcc_history_next(h, &row), CAIRN_NOT_FOUND);
	mvcc_history_free(h);
}
END_TEST

START_TEST(changes_come_in_the_order_they_were_made)
{
	struct mvcc_txn *t;

	fill();
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_put(t, S("z"), S("1"), NULL));
	ck_ok(mvcc_txn_move(t, S("a"), S("m")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	ck_assert_str_eq(changes(1, 100), "2.0+a 3.0+b 4.0+a 5.0-a 6.0-b "
					  "7.0+a 8.0+z 8.1-a 8.2+m");
	ck_assert_str_eq(changes(4, 6), "4.0+a 5.0-a");
	ck_assert_str_eq(changes(6, 6), "");
	ck_assert_str_eq(changes(6, 2), "");
	ck_assert_str_eq(changes(9, INT64_MAX), "");
	ck_assert_str_eq(changes(8, INT64_MAX), "8.0+z 8.1-a 8.2+m");
}
END_TEST

START_TEST(changes_from_the_bound_on_stay)
{
	struct mvcc_changes *c;

	fill();
	ck_ok(mvcc_forget(f.m, 6));
	for (int round = 0; round < 2; round++) {
		ck_assert_str_eq(changes(6, 100), "6.0-b 7.0+a");
		ck_code(mvcc_changes_new(f.m, 5, 100, &c), CAIRN_EFORGOTTEN);
		compact(f.m);
	}
	/* The log below the bound is gone, and with it most of the rows. */
	ck_assert_uint_eq(count_entries(f.m, "r"), 2);
	ck_assert_uint_eq(count_entries(f.m, "k"), 1);
	/* The current revision is still known when all rows are gone. */
	del(f.m, "a");
	ck_ok(mvcc_forget(f.m, 8));
	compact(f.m);
	ck_assert_uint_eq(count_entries(f.m, "k"), 0);
	fixture_reopen(&f);
	ck_assert_int_eq(mvcc_current(f.m), 8);
	ck_assert_str_eq(changes(8, 100), "8.0-a");
	ck_assert_int_eq(put(f.m, "a", "x"), 9);
}
END_TEST

static int64_t time_of_rev(const char *key, int64_t rev)
{
	struct mvcc_pinned_row r = { 0 };
	int64_t ns;

	ck_ok(mvcc_get(f.m, S(key), rev, &r));
	ck_assert_int_eq(r.row.main, rev);
	ns = r.row.time_ns;
	mvcc_row_release(&r);
	return ns;
}

static int64_t rev_at(int64_t ns)
{
	int64_t rev = 0;

	ck_ok(mvcc_rev_at(f.m, ns, &rev));
	return rev;
}

START_TEST(a_time_tells_the_revision_that_was_current)
{
	enum { N = 60 };
	int64_t ns[N], rev;

	for (int i = 2; i < N; i++) {
		put(f.m, i % 2 ? "a" : "b", "x");
		ns[i] = time_of_rev(i % 2 ? "a" : "b", i);
	}
	for (int round = 0; round < 2; round++) {
		/* Commits may share a time: the last one counts. */
		for (int i = 2; i < N; i++) {
			rev = rev_at(ns[i]);
			ck_assert_int_ge(rev, i);
			ck_assert_int_eq(ns[rev], ns[i]);
			ck_assert(rev == N - 1 || ns[rev + 1] > ns[i]);
			ck_assert_int_lt(rev_at(ns[i] - 1), i);
		}
		ck_assert_int_eq(rev_at(0), 1);
		ck_assert_int_eq(rev_at(INT64_MAX), N - 1);
		fixture_reopen(&f);
	}
	ck_ok(mvcc_forget(f.m, 30));
	compact(f.m);
	ck_assert_int_ge(rev_at(ns[30]), 30);
	ck_code(mvcc_rev_at(f.m, ns[2] - 1, &rev), CAIRN_EFORGOTTEN);
	ck_code(mvcc_rev_at(f.m, 0, &rev), CAIRN_EFORGOTTEN);
	ck_assert_int_eq(rev_at(INT64_MAX), N - 1);
}
END_TEST

/* When the tombstone at the bound is gone nobody knows when it was made. */
START_TEST(a_time_at_a_bound_that_has_no_row_is_not_guessed)
{
	int64_t rev, ns;

	put(f.m, "a", "x");
	del(f.m, "a");
	put(f.m, "b", "y");
	ns = time_of_rev("b", 4);
	ck_ok(mvcc_forget(f.m, 3));
	compact(f.m);
	ck_code(mvcc_rev_at(f.m, ns - 1, &rev), CAIRN_EFORGOTTEN);
	ck_assert_int_eq(rev_at(ns), 4);
}
END_TEST

/* Found by halves: the one in the middle is looked at. */
START_TEST(a_revision_without_an_entry_in_the_log_is_told)
{
	struct buf key = { 0 };
	int64_t rev;

	for (int i = 0; i < 3; i++)
		put(f.m, "a", "x");
	ck_ok(enc_log_key(&key, 3, 0));
	ck_ok(cairn_delete(mvcc_db(f.m), NULL, buf_slice(&key)));
	ck_code(mvcc_rev_at(f.m, 0, &rev), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(
		strstr(cairn_errmsg(), "revision 3 has no entry in the log"));
	buf_fini(&key);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("history");
	TCase *tc = tcase_create("history");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_history_is_oldest_first_with_its_deletions);
	tcase_add_loop_test(
		tc, a_history_shows_the_same_however_far_removal_has_got, 0, 6);
	tcase_add_test(tc, an_open_history_keeps_large_values_readable);
	tcase_add_test(tc, changes_come_in_the_order_they_were_made);
	tcase_add_test(tc, changes_from_the_bound_on_stay);
	tcase_add_test(tc, a_time_tells_the_revision_that_was_current);
	tcase_add_test(tc, a_time_at_a_bound_that_has_no_row_is_not_guessed);
	tcase_add_test(tc, a_revision_without_an_entry_in_the_log_is_told);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
