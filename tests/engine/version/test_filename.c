/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/filename.h"

#include "tests/support/runner.h"

static const struct {
	const char *name;
	enum file_kind kind;
	uint64_t number;
} names[] = {
	{ "CURRENT", FILE_CURRENT, 0 },
	{ "LOCK", FILE_LOCK, 0 },
	{ "IDENTITY", FILE_IDENTITY, 0 },
	{ "LOG", FILE_INFO_LOG, 0 },
	{ "LOG.old", FILE_INFO_LOG, 0 },
	{ "LOG.old.1669513428", FILE_INFO_LOG, 0 },
	{ "MANIFEST-000005", FILE_MANIFEST, 5 },
	{ "MANIFEST-1234567", FILE_MANIFEST, 1234567 },
	{ "000008.log", FILE_WAL, 8 },
	{ "000009.sst", FILE_TABLE, 9 },
	{ "1000000.sst", FILE_TABLE, 1000000 },
	{ "18446744073709551615.sst", FILE_TABLE, UINT64_MAX },
	{ "000011.ldb", FILE_TABLE_LDB, 11 },
	{ "OPTIONS-000007", FILE_OPTIONS, 7 },
	{ "OPTIONS-000007.dbtmp", FILE_TEMP, 7 },
	{ "000012.dbtmp", FILE_TEMP, 12 },
	{ "000013.blob", FILE_BLOB, 13 },

	{ "", FILE_UNKNOWN, 0 },
	{ "CURRENT.dbtmp", FILE_UNKNOWN, 0 },
	{ "CURRENTS", FILE_UNKNOWN, 0 },
	{ "CAIRN-OPTIONS", FILE_UNKNOWN, 0 },
	{ "LOGS", FILE_UNKNOWN, 0 },
	{ "LOG.olden", FILE_UNKNOWN, 0 },
	{ "MANIFEST", FILE_UNKNOWN, 0 },
	{ "MANIFEST-", FILE_UNKNOWN, 0 },
	{ "MANIFEST-5", FILE_UNKNOWN, 0 },
	{ "MANIFEST-00005", FILE_UNKNOWN, 0 },
	{ "MANIFEST-0000005", FILE_UNKNOWN, 0 },
	{ "MANIFEST-000005x", FILE_UNKNOWN, 0 },
	{ "MANIFEST-000005.bak", FILE_UNKNOWN, 0 },
	{ "manifest-000005", FILE_UNKNOWN, 0 },
	{ "OPTIONS-", FILE_UNKNOWN, 0 },
	{ "OPTIONS-000007.bak", FILE_UNKNOWN, 0 },
	{ "9.sst", FILE_UNKNOWN, 0 },
	{ "000009", FILE_UNKNOWN, 0 },
	{ "000009.", FILE_UNKNOWN, 0 },
	{ "000009.sst.bak", FILE_UNKNOWN, 0 },
	{ "000009.SST", FILE_UNKNOWN, 0 },
	{ " 000009.sst", FILE_UNKNOWN, 0 },
	{ "-000009.sst", FILE_UNKNOWN, 0 },
	{ "18446744073709551616.sst", FILE_UNKNOWN, 0 },
	{ "99999999999999999999999.sst", FILE_UNKNOWN, 0 },
	{ ".sst", FILE_UNKNOWN, 0 },
	{ "archive", FILE_UNKNOWN, 0 },
	{ "marker.manifest.000001.MANIFEST-000001", FILE_UNKNOWN, 0 },
};

START_TEST(a_name_has_one_kind_and_number)
{
	uint64_t number = 77;

	ck_assert_msg(filename_parse(names[_i].name, &number) == names[_i].kind,
		      "%s", names[_i].name);
	ck_assert_uint_eq(number, names[_i].number);
}
END_TEST

static void check_made(char *name, const char *want, enum file_kind kind,
		       uint64_t number)
{
	uint64_t got;

	ck_assert_ptr_nonnull(name);
	ck_assert_str_eq(name, want);
	ck_assert_int_eq(filename_parse(name + strlen("/d/"), &got), (int)kind);
	ck_assert_uint_eq(got, number);
	free(name);
}

START_TEST(a_name_that_is_made_is_recognised)
{
	check_made(filename_table("/d", 9), "/d/000009.sst", FILE_TABLE, 9);
	check_made(filename_table_ldb("/d", 9), "/d/000009.ldb", FILE_TABLE_LDB,
		   9);
	check_made(filename_wal("/d", 1234567), "/d/1234567.log", FILE_WAL,
		   1234567);
	check_made(filename_manifest("/d", 1), "/d/MANIFEST-000001",
		   FILE_MANIFEST, 1);
	check_made(filename_options("/d", 3), "/d/OPTIONS-000003", FILE_OPTIONS,
		   3);
	check_made(filename_temp("/d", UINT64_MAX),
		   "/d/18446744073709551615.dbtmp", FILE_TEMP, UINT64_MAX);
	check_made(filename_in("/d", "CURRENT"), "/d/CURRENT", FILE_CURRENT, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("filename");
	TCase *tc = tcase_create("names");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_name_has_one_kind_and_number, 0,
			    sizeof(names) / sizeof(names[0]));
	tcase_add_test(tc, a_name_that_is_made_is_recognised);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
