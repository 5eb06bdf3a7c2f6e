/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding tables to a database while operations fail and the power goes. */
#include "tests/engine/db/ingest_support.h"

#define BEFORE "b=6 f=0 k=m "
#define AFTER  "a=1 b=2 k=3 x=4 y=5 "

/* One table over level 6 and the memtable, one beside all. */
static const char *const two[] = { EXT "/a", EXT "/b" };

static void begin_two(struct test_db *t)
{
	begin(t);
	tdb_put(t, "b", "6");
	compact(t);
	tdb_put(t, "f", "0");
	CK_OK(cairn_flush(t->db, true));
	tdb_put(t, "k", "m");
	make_table(t, two[0], "a=1 b=2 e~g k=3");
	make_table(t, two[1], "x=4 y=5");
}

static int ingest_two(struct test_db *t, enum cairn_ingest_mode mode)
{
	const struct cairn_ingest_options o = { .mode = mode };

	return cairn_ingest(t->db, two, 2, &o);
}

/* The tables that the MANIFEST knows are all that are there. */
static void expect_no_strays(struct test_db *t)
{
	struct cairn_metrics m;
	size_t n = 0;

	CK_OK(cairn_flush(t->db, true));
	cairn_metrics_get(t->db, &m);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		n += m.level[i].files;
	/* Closing waits for files to be deleted. */
	tdb_close(t);
	ck_assert_uint_eq(tdb_count_files(t, ".sst"), n);
	tdb_open(t);
}

static const unsigned fault_ops[] = {
	ENV_FAULT_OPEN_READ, ENV_FAULT_READ, ENV_FAULT_CREATE,
	ENV_FAULT_APPEND,    ENV_FAULT_SYNC, ENV_FAULT_CLOSE,
	ENV_FAULT_LINK,      ENV_FAULT_STAT, ENV_FAULT_SYNC_DIR,
	ENV_FAULT_UNLINK,    ENV_FAULT_ALL,
};

#define N_FAULT_OPS ((int)(sizeof(fault_ops) / sizeof(fault_ops[0])))

static void flush_strays(struct test_db *t)
{
	/* What a MANIFEST that failed may name is kept until there is another
	 * one; healing makes it. */
	env_fault_set(t->env, NULL);
	CK_OK(cairn_resume(t->db));
	tdb_put(t, "zz", "0");
	CK_OK(cairn_flush(t->db, true));
	CK_OK(cairn_delete(t->db, NULL, slice_str("zz")));
}

/* k-th operation of a class fails, for k = 1, 2, ... until nothing does. */
START_TEST(a_failing_operation_leaves_all_as_it_was)
{
	enum cairn_ingest_mode mode = _i % 3;
	uint64_t k = 0;
	bool hit = true;

	while (hit) {
		struct test_db t;
		int err;

		begin_two(&t);
		tdb_fail(&t, fault_ops[_i / 3], NULL, ++k, false, CAIRN_EIO);
		err = ingest_two(&t, mode);
		hit = env_fault_hits(t.env) > 0;
		flush_strays(&t);
		if (err)
			expect(&t, BEFORE);
		else
			expect(&t, AFTER);
		if (!err && !hit)
			expect_names(t.mem, EXT,
				     mode == CAIRN_INGEST_MOVE ? "" : "a b ");
		if (err)
			expect_names(t.mem, EXT, "a b ");
		expect_no_strays(&t);
		if (err) {
			expect(&t, BEFORE);
			CK_OK(ingest_two(&t, mode));
		}
		expect(&t, AFTER);
		tdb_fini(&t);
		ck_assert_uint_lt(k, 1000);
	}
}
END_TEST

/*
 * All operations from the k-th on fail, as if the process had stopped there,
 * and the power is cut.
 */
START_TEST(a_power_cut_at_any_operation_leaves_all_tables_or_none)
{
	static const unsigned keep[] = { 0, 30, 70, 100 };
	enum cairn_ingest_mode mode = _i;
	uint64_t k = 0;
	bool hit = true;
	unsigned n_before = 0, n_after = 0;

	while (hit) {
		struct test_db t;
		int err;

		begin_two(&t);
		tdb_fail(&t, ENV_FAULT_ALL, NULL, ++k, true, CAIRN_EIO);
		err = ingest_two(&t, mode);
		hit = env_fault_hits(t.env) > 0;
		for (unsigned i = 0; i < 4; i++) {
			struct test_db u;
			struct buf got = { 0 };

			tdb_init(&u, env_mem_crash_clone(t.mem, k * 4 + i,
							 keep[i]));
			tdb_set(&u, "paranoid_checks", "true");
			tdb_set(&u, "auto_compactions", "false");
			tdb_open(&u);
			contents(u.db, NULL, &got);
			if (slice_eq(buf_slice(&got), slice_str(AFTER))) {
				n_after++;
			} else {
				/* What was not synced may be gone. */
				ck_assert_msg(
					slice_eq(buf_slice(&got),
						 slice_str(BEFORE)) ||
						slice_eq(buf_slice(&got),
							 slice_str("b=6 f=0 ")),
					"k %u: %.*s", (unsigned)k, (int)got.len,
					(const char *)got.data);
				ck_assert_msg(err != CAIRN_OK,
					      "k %u: ingested, and gone",
					      (unsigned)k);
				n_before++;
			}
			expect_no_strays(&u);
			buf_fini(&got);
			tdb_fini(&u);
		}
		env_fault_set(t.env, NULL);
		(void)!cairn_resume(t.db);
		tdb_fini(&t);
		ck_assert_uint_lt(k, 1000);
	}
	ck_assert_uint_gt(n_before, 20);
	ck_assert_uint_gt(n_after, 3);
}
END_TEST

/* Whoever made the table may not have waited for the disk. */
START_TEST(a_table_that_nobody_synced_survives_once_it_is_ingested)
{
	const char *path = EXT "/unsynced";
	struct buf b = { 0 };
	struct test_db t, u;

	begin(&t);
	make_table(&t, EXT "/a", "a=1 b=2");
	get_file(t.mem, EXT "/a", &b);
	put_file(t.mem, path, b.data, b.len);
	CK_OK(ingest_as(&t, path, (enum cairn_ingest_mode)_i));
	tdb_init(&u, env_mem_crash_clone(t.mem, 1, 0));
	tdb_open(&u);
	expect(&u, "a=1 b=2 ");
	tdb_fini(&u);
	buf_fini(&b);
	tdb_fini(&t);
}
END_TEST

START_TEST(unsynced_writes_before_an_ingestion_survive_with_it)
{
	struct test_db t, u;

	begin(&t);
	tdb_put(&t, "a", "1");
	make_table(&t, EXT "/a", "x=1");
	CK_OK(ingest(&t, EXT "/a"));
	tdb_put(&t, "b", "lost");
	tdb_init(&u, env_mem_crash_clone(t.mem, 1, 0));
	tdb_open(&u);
	expect(&u, "a=1 x=1 ");
	tdb_put(&u, "c", "3");
	tdb_reopen(&u);
	expect(&u, "a=1 c=3 x=1 ");
	tdb_fini(&u);
	tdb_fini(&t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ingest_faults");
	TCase *tc = tcase_create("failures");

	tcase_add_loop_test(tc, a_failing_operation_leaves_all_as_it_was, 0,
			    3 * N_FAULT_OPS);
	tcase_add_loop_test(
		tc, a_power_cut_at_any_operation_leaves_all_tables_or_none, 0,
		3);
	tcase_add_loop_test(
		tc, a_table_that_nobody_synced_survives_once_it_is_ingested, 0,
		3);
	tcase_add_test(tc, unsynced_writes_before_an_ingestion_survive_with_it);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
