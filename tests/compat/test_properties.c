/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Properties that a revision store gives to its tables, as RocksDB's sst_dump
 * shows them; and RocksDB compacts such tables into some that have none, which
 * are read all the same.
 */
#include <rocksdb/c.h>
#include <string.h>

#include "engine/base/slice.h"
#include "mvcc/mvcc.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define KEYS 50

static struct mvcc *store_open(const char *dir)
{
	struct mvcc_options mo = { 0 };
	struct cairn_options *o = cairn_options_new();
	struct mvcc *m;

	ck_assert_ptr_nonnull(o);
	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_options_set(o, "auto_compactions", "false"));
	mo.engine = o;
	must(mvcc_open(dir, &mo, &m));
	cairn_options_free(o);
	return m;
}

/* Revisions 2 to 51, 52 to 101, ... one table each. */
static void fill(const char *dir, int tables)
{
	struct mvcc *m = store_open(dir);

	for (int t = 0; t < tables; t++) {
		for (int i = 0; i < KEYS; i++) {
			char key[16], value[16];
			int64_t rev;

			snprintf(key, sizeof(key), "key-%02d", i);
			snprintf(value, sizeof(value), "%d", t);
			must(mvcc_put(m, slice_str(key), slice_str(value), NULL,
				      &rev));
			ck_assert_int_eq(rev, 2 + t * KEYS + i);
		}
		must(cairn_flush(mvcc_db(m), true));
	}
	must(mvcc_close(m));
}

static void expect_values(const char *dir, int tables)
{
	struct mvcc *m = store_open(dir);

	for (int t = 0; t < tables; t++) {
		struct mvcc_pinned_row row = { 0 };
		char value[16];

		snprintf(value, sizeof(value), "%d", t);
		must(mvcc_get(m, slice_str("key-49"), 1 + (t + 1) * KEYS,
			      &row));
		ck_assert(slice_eq(row.row.value, slice_str(value)));
		mvcc_row_release(&row);
	}
	must(mvcc_close(m));
}

/* Whether a line of what sst_dump says of all tables is this. */
static int count_lines(const char *dir, const char *want)
{
	char cmd[256], line[256];
	int n = 0;
	FILE *p;

	snprintf(cmd, sizeof(cmd),
		 "sst_dump --file='%s' --show_properties --command=none 2>&1",
		 dir);
	p = popen(cmd, "r");
	ck_assert_ptr_nonnull(p);
	while (fgets(line, sizeof(line), p))
		n += strstr(line, want) != NULL;
	ck_assert_int_eq(pclose(p), 0);
	return n;
}

START_TEST(rocksdb_shows_the_revisions_of_a_table)
{
	char dir[SCRATCH_LEN];

	if (system("command -v sst_dump >/dev/null") != 0)
		return;
	scratch_make(dir);
	fill(dir, 2);
	ck_assert_int_eq(
		count_lines(dir, "# cairn.mvcc.min-main: 0x0000000000000002"),
		1);
	ck_assert_int_eq(
		count_lines(dir, "# cairn.mvcc.max-main: 0x0000000000000033"),
		1);
	ck_assert_int_eq(
		count_lines(dir, "# cairn.mvcc.min-main: 0x0000000000000034"),
		1);
	ck_assert_int_eq(
		count_lines(dir, "# cairn.mvcc.max-main: 0x0000000000000065"),
		1);
	scratch_remove(dir);
}
END_TEST

START_TEST(tables_that_rocksdb_compacted_are_read_without)
{
	rocksdb_options_t *o = rocksdb_options_create();
	char dir[SCRATCH_LEN], *err = NULL;
	rocksdb_t *db;

	scratch_make(dir);
	fill(dir, 3);
	expect_values(dir, 3);
	db = rocksdb_open(o, dir, &err);
	ck_assert_msg(!err, "%s", err);
	rocksdb_compact_range(db, NULL, 0, NULL, 0);
	rocksdb_close(db);
	rocksdb_options_destroy(o);
	if (system("command -v sst_dump >/dev/null") == 0)
		ck_assert_int_eq(count_lines(dir, "cairn.mvcc"), 0);
	expect_values(dir, 3);
	scratch_remove(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("properties");
	TCase *tc = tcase_create("rocksdb");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rocksdb_shows_the_revisions_of_a_table);
	tcase_add_test(tc, tables_that_rocksdb_compacted_are_read_without);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
