/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LevelDB directories: read as they are, and converted when asked for, so that
 * a crash leaves LevelDB's directory or ours.
 */
#include <stdlib.h>

#include "engine/version/filename.h"
#include "tests/support/db_test.h"
#include "tests/support/golden.h"

static const char *const leveldbs[] = { "ldb-bloom", "ldb-log", "ldb-snappy",
					"ldb-tiny" };
#define N_LEVELDBS ((int)(sizeof(leveldbs) / sizeof(leveldbs[0])))
/* Those with several tables take each fifth step. */
#define FIRST_STEPPED 2
#define STEP(i)       ((i) == FIRST_STEPPED ? 5 : 1)

static struct golden g;
static struct golden_rows want;
static struct test_db t;

/* The golden in a file system in memory, durable; has_lock: with LOCK. */
static void load(int i, bool has_lock)
{
	tdb_init(&t, NULL);
	tdb_set(&t, "create_if_missing", "false");
	golden_load(leveldbs[i], &g);
	ck_assert(golden_rows(leveldbs[i], "expected.tsv", &want));
	CK_OK(env_mkdir(t.mem, TEST_DIR));
	for (size_t k = 0; k < g.n; k++) {
		struct wfile *f;
		char path[512];

		if (!has_lock && !strcmp(g.files[k].name, "LOCK"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", TEST_DIR,
			 g.files[k].name);
		CK_OK(env_open_write(t.mem, path, &f));
		CK_OK(wfile_append(f, g.files[k].bytes.data,
				   g.files[k].bytes.len));
		CK_OK(wfile_sync(f));
		CK_OK(wfile_close(f));
	}
	CK_OK(env_sync_dir(t.mem, TEST_DIR));
	CK_OK(env_sync_dir(t.mem, "/"));
}

static void unload(void)
{
	tdb_fini(&t);
	golden_fini(&g);
	golden_rows_fini(&want);
}

static bool has_bytes(struct cairn_env *env, const struct golden_file *f)
{
	struct buf now = { 0 };
	char path[512];
	bool same;

	snprintf(path, sizeof(path), "%s/%s", TEST_DIR, f->name);
	same = env_read_file(env, path, 64 << 20, &now) == CAIRN_OK &&
	       slice_eq(buf_slice(&now), buf_slice(&f->bytes));
	buf_fini(&now);
	return same;
}

/* All that LevelDB looks at is as it was. */
static void ck_leveldb_is_there(struct cairn_env *env)
{
	for (size_t k = 0; k < g.n; k++)
		ck_assert_msg(!strcmp(g.files[k].name, "LOCK") ||
				      has_bytes(env, &g.files[k]),
			      "%s has changed", g.files[k].name);
}

/* ... and nothing else is there. */
static void ck_untouched(struct cairn_env *env, bool has_lock)
{
	struct env_names names;

	ck_leveldb_is_there(env);
	CK_OK(env_list(env, TEST_DIR, &names));
	ck_assert_uint_eq(names.n, g.n - (has_lock ? 0 : 1));
	env_names_free(&names);
}

static const struct golden_file *file_of(const char *name)
{
	for (size_t k = 0; k < g.n; k++)
		if (!strcmp(g.files[k].name, name))
			return &g.files[k];
	return NULL;
}

static void ck_rows(struct cairn_db *db)
{
	struct cairn_iter *it;
	size_t n = 0;

	CK_OK(cairn_iter_new(db, NULL, &it));
	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it)) {
		ck_assert_uint_lt(n, want.n);
		ck_assert(slice_eq(cairn_iter_key(it), want.row[n].key));
		ck_assert(slice_eq(cairn_iter_value(it), want.row[n].value));
		n++;
	}
	CK_OK(cairn_iter_status(it));
	ck_assert_uint_eq(n, want.n);
	cairn_iter_free(it);
	for (size_t i = 0; i < want.n; i++) {
		struct cairn_pinned v = { 0 };

		CK_OK(cairn_get(db, NULL, want.row[i].key, &v));
		ck_assert(slice_eq(v.value, want.row[i].value));
		cairn_pinned_release(&v);
	}
}

static int open_at(struct cairn_env *env, const char *how, struct cairn_db **db)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	cairn_options_set_env(o, env);
	CK_OK(cairn_options_set(o, "write_buffer_size", "64K"));
	CK_OK(cairn_options_set(o, "block_cache_size", "256K"));
	if (how)
		CK_OK(cairn_options_set(o, how, "true"));
	err = cairn_open(TEST_DIR, o, db);
	cairn_options_free(o);
	return err;
}

/* Opens in that way with all there is, and closes. */
static void ck_opens(struct cairn_env *env, const char *how)
{
	struct cairn_db *db;

	CK_OK(open_at(env, how, &db));
	ck_rows(db);
	CK_OK(cairn_close(db));
}

START_TEST(it_is_read_only_as_it_is_and_refused_for_writing_without_a_trace)
{
	for (int has_lock = 0; has_lock < 2; has_lock++) {
		struct cairn_db *db;
		uint64_t writes;

		load(_i, has_lock);
		writes = env_fault_count(t.env, ENV_FAULT_WRITES);
		CK_CODE(open_at(t.env, NULL, &db), CAIRN_ENOTSUP);
		ck_assert_ptr_nonnull(
			strstr(cairn_errmsg(), "a LevelDB database"));
		ck_opens(t.env, "read_only");
		ck_assert_uint_eq(env_fault_count(t.env, ENV_FAULT_WRITES),
				  writes);
		ck_untouched(t.mem, has_lock);
		unload();
	}
}
END_TEST

START_TEST(it_is_rocksdbs_after_an_upgrade)
{
	struct cairn_table_list l;

	load(_i, true);
	tdb_set(&t, "upgrade", "true");
	tdb_open(&t);
	ck_rows(t.db);
	CK_OK(cairn_tables(t.db, -1, &l));
	for (size_t i = 0; i < l.n; i++) {
		ck_assert_uint_gt(l.tables[i].smallest_seqno, 0);
		ck_assert_uint_le(l.tables[i].smallest_seqno,
				  l.tables[i].largest_seqno);
		ck_assert_ptr_nonnull(strstr(l.tables[i].path, ".sst"));
	}
	cairn_table_list_free(&l);
	tdb_close(&t);
	ck_assert_uint_eq(tdb_count_files(&t, ".ldb"), 0);
	ck_assert_uint_eq(tdb_count_files(&t, "CURRENT"), 1);
	tdb_set(&t, "upgrade", "false");
	tdb_open(&t);
	ck_rows(t.db);
	CK_OK(cairn_compact_range(t.db, slice_of(NULL, 0), slice_of(NULL, 0),
				  NULL));
	ck_rows(t.db);
	unload();
}
END_TEST

START_TEST(any_failure_leaves_leveldbs_directory_or_ours)
{
	int failed = 0;

	for (uint64_t n = 1;; n += STEP(_i)) {
		struct cairn_db *db = NULL;
		bool hit;
		int err;

		load(_i, true);
		tdb_fail(&t, ENV_FAULT_ALL & ~(unsigned)ENV_FAULT_LOCK, NULL, n,
			 false, CAIRN_EIO);
		err = open_at(t.env, "upgrade", &db);
		hit = env_fault_hits(t.env) > 0;
		env_fault_set(t.env, NULL);
		if (!err) {
			ck_rows(db);
			CK_OK(cairn_close(db));
		} else {
			failed++;
			if (has_bytes(t.mem, file_of("CURRENT")))
				ck_leveldb_is_there(t.mem);
			ck_opens(t.env, "read_only");
		}
		ck_opens(t.env, "upgrade");
		ck_opens(t.env, NULL);
		unload();
		if (!hit)
			break;
	}
	ck_assert_int_gt(failed, 10);
}
END_TEST

START_TEST(any_crash_leaves_leveldbs_directory_or_ours)
{
	int before = 0, after = 0;

	for (uint64_t n = 1;; n += STEP(_i)) {
		bool hit = false;

		for (unsigned keep = 0; keep <= 100; keep += 100) {
			struct cairn_env *cut;
			struct cairn_db *db = NULL;
			int err;

			load(_i, true);
			tdb_fail(&t, ENV_FAULT_WRITES, NULL, n, true,
				 CAIRN_EIO);
			err = open_at(t.env, "upgrade", &db);
			cut = env_mem_crash_clone(t.mem, n, keep);
			ck_assert_ptr_nonnull(cut);
			hit = env_fault_hits(t.env) > 0;
			env_fault_set(t.env, NULL);
			if (has_bytes(cut, file_of("CURRENT"))) {
				before++;
				ck_leveldb_is_there(cut);
				ck_opens(cut, "read_only");
			} else {
				after++;
				ck_opens(cut, "read_only");
				ck_opens(cut, NULL);
			}
			ck_opens(cut, "upgrade");
			env_mem_free(cut);
			if (!err)
				CK_OK(cairn_close(db));
			unload();
		}
		if (!hit)
			break;
	}
	ck_assert_int_gt(before, 10);
	ck_assert_int_gt(after, 0);
}
END_TEST

START_TEST(a_damaged_table_is_named_and_nothing_changes)
{
	char path[512] = "";
	struct cairn_db *db;
	uint64_t number;

	load(_i, true);
	for (size_t k = 0; k < g.n; k++)
		if (filename_parse(g.files[k].name, &number) == FILE_TABLE_LDB)
			snprintf(path, sizeof(path), "%s/%s", TEST_DIR,
				 g.files[k].name);
	if (*path) {
		CK_OK(env_mem_damage(t.mem, path, 20, 0x10));
		CK_CODE(open_at(t.env, "upgrade", &db), CAIRN_ECORRUPT);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), path));
		CK_OK(env_mem_damage(t.mem, path, 20, 0x10));
		ck_untouched(t.mem, true);
		ck_opens(t.env, "upgrade");
	}
	unload();
}
END_TEST

START_TEST(asking_for_an_upgrade_of_rocksdbs_own_is_no_fault)
{
	tdb_init(&t, NULL);
	tdb_set(&t, "upgrade", "true");
	tdb_open(&t);
	tdb_put(&t, "k", "v");
	tdb_reopen(&t);
	tdb_expect(&t, "k", "v");
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("upgrade");
	TCase *tc = tcase_create("LevelDB");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(
		tc,
		it_is_read_only_as_it_is_and_refused_for_writing_without_a_trace,
		0, N_LEVELDBS);
	tcase_add_loop_test(tc, it_is_rocksdbs_after_an_upgrade, 0, N_LEVELDBS);
	tcase_add_loop_test(tc, any_failure_leaves_leveldbs_directory_or_ours,
			    FIRST_STEPPED, N_LEVELDBS);
	tcase_add_loop_test(tc, any_crash_leaves_leveldbs_directory_or_ours,
			    FIRST_STEPPED, N_LEVELDBS);
	tcase_add_loop_test(tc, a_damaged_table_is_named_and_nothing_changes, 0,
			    N_LEVELDBS);
	tcase_add_test(tc, asking_for_an_upgrade_of_rocksdbs_own_is_no_fault);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
