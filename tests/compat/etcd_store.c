/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * etcd_store DIR TSV STEP: whether the store in DIR holds what etcd says in
 * TSV (tests/mvcc/etcd_expect.h); every STEP-th revision is scanned. Then the
 * same once more, after all of it was compacted.
 */
#include "tests/mvcc/etcd_expect.h"
#include "tests/support/runner.h"

static const char *dir, *tsv;
static int64_t step;

START_TEST(the_store_holds_what_etcd_says)
{
	struct mvcc *m;

	expect_ok(mvcc_open(dir, NULL, &m));
	etcd_expect_check(m, tsv, step);
	expect_ok(cairn_compact_range(mvcc_db(m), slice_of(NULL, 0),
				      slice_of(NULL, 0), NULL));
	etcd_expect_check(m, tsv, step);
	expect_ok(mvcc_close(m));
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("etcd_store");
	TCase *tc = tcase_create("etcd_store");

	if (argc != 4) {
		fprintf(stderr, "usage: %s DIR TSV STEP\n", argv[0]);
		return 2;
	}
	dir = argv[1];
	tsv = argv[2];
	step = strtoll(argv[3], NULL, 10);
	if (step < 1)
		step = 1;
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, the_store_holds_what_etcd_says);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
