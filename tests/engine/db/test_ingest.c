/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables made outside of a database, and adding them to one. */
#include <pthread.h>

#include "engine/base/buf.h"
#include "engine/db/db.h"
#include "engine/table/format.h"
#include "engine/table/table.h"
#include "tests/support/db_test.h"
#include "tests/support/gate_env.h"

#define EXT "/ext"

/* ------------------------------------------------------------ small helpers */

static void expect_message(const char *part)
{
	ck_assert_msg(strstr(cairn_errmsg(), part), "\"%s\" is not in: %s",
		      part, cairn_errmsg());
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "a b " */
/* Without logs, which a thread of its own deletes when their time has come. */
static void names_in(struct cairn_env *e, const char *dir, struct buf *out)
{
	struct env_names names;

	buf_clear(out);
	CK_OK(env_list(e, dir, &names));
	qsort(names.names, names.n, sizeof(char *), by_name);
	for (size_t i = 0; i < names.n; i++)
		if (!strstr(names.names[i], ".log"))
			CK_OK(buf_printf(out, "%s ", names.names[i]));
	env_names_free(&names);
}

static void expect_names(struct cairn_env *e, const char *dir, const char *want)
{
	struct buf got = { 0 };

	names_in(e, dir, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "in %s: %.*s, not %s", dir, (int)got.len,
		      (const char *)got.data, want);
	buf_fini(&got);
}

/*
 * Make a table of text: "a=1 b- c+2 d~f" puts 1 into a, deletes b, merges 2
 * into c and deletes [d, f). o NULL: defaults.
 */
static int write_table(struct cairn_env *e, const struct cairn_options *o,
		       const char *path, const char *text)
{
	struct cairn_options *own = cairn_options_new();
	struct cairn_sst_writer *w;
	char copy[4096], *save = NULL;
	int err;

	ck_assert_ptr_nonnull(own);
	cairn_options_set_env(own, e);
	err = cairn_sst_writer_open(path, o ? o : own, &w);
	cairn_options_free(own);
	if (err)
		return err;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = strtok_r(copy, " ", &save); !err && p;
	     p = strtok_r(NULL, " ", &save)) {
		size_t n = strcspn(p, "=+-~");
		struct cairn_slice key = slice_of(p, n);
		struct cairn_slice value = slice_str(p + n + 1);

		if (p[n] == '=')
			err = cairn_sst_writer_put(w, key, value);
		else if (p[n] == '+')
			err = cairn_sst_writer_merge(w, key, value);
		else if (p[n] == '~')
			err = cairn_sst_writer_delete_range(w, key, value);
		else
			err = cairn_sst_writer_delete(w, key);
	}
	if (!err)
		err = cairn_sst_writer_finish(w, NULL);
	cairn_sst_writer_free(w);
	return err;
}

static void make_table(struct test_db *t, const char *path, const char *text)
{
	CK_OK(write_table(t->mem, NULL, path, text));
}

/* A database, and a directory for tables. */
static void begin(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "auto_compactions", "false");
	CK_OK(env_mkdir(t->mem, EXT));
	CK_OK(env_sync_dir(t->mem, "/"));
	tdb_open(t);
}

static int ingest_as(struct test_db *t, const char *path,
		     enum cairn_ingest_mode mode)
{
	const struct cairn_ingest_options o = { .mode = mode };

	return cairn_ingest(t->db, &path, 1, &o);
}

static int ingest(struct test_db *t, const char *path)
{
	return cairn_ingest(t->db, &path, 1, NULL);
}

/* "0:2 6:1 " for two tables in level 0 and one in 6. */
static void expect_levels(struct test_db *t, const char *want)
{
	struct cairn_metrics m;
	char got[128] = "";
	size_t n = 0;

	cairn_metrics_get(t->db, &m);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		if (m.level[i].files)
			n += (size_t)snprintf(got + n, sizeof(got) - n,
					      "%d:%u ", i,
					      (unsigned)m.level[i].files);
	ck_assert_str_eq(got, want);
}

static void compact(struct test_db *t)
{
	const struct cairn_slice all = { 0 };

	CK_OK(cairn_compact_range(t->db, all, all, NULL));
}

/* Everything as "a=1 b=2 ". */
static void contents(struct cairn_db *db, const struct cairn_snapshot *s,
		     struct buf *out)
{
	const struct cairn_read_options o = { .snapshot = s };
	struct cairn_iter *it;

	buf_clear(out);
	CK_OK(cairn_iter_new(db, &o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		struct cairn_slice k = cairn_iter_key(it);
		struct cairn_slice v = cairn_iter_value(it);
		struct cairn_pinned p = { 0 };

		CK_OK(buf_printf(out, "%.*s=%.*s ", (int)k.len,
				 (const char *)k.data, (int)v.len,
				 (const char *)v.data));
		CK_OK(cairn_get(db, &o, k, &p));
		ck_assert(slice_eq(p.value, v));
		cairn_pinned_release(&p);
	}
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
}

static void expect_at(struct test_db *t, const struct cairn_snapshot *s,
		      const char *want)
{
	struct buf got = { 0 };

	contents(t->db, s, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "%.*s, not %s", (int)got.len, (const char *)got.data,
		      want);
	buf_fini(&got);
}

static void expect(struct test_db *t, const char *want)
{
	expect_at(t, NULL, want);
}

/* ------------------------------------------------------------- the writer */

START_TEST(a_finished_table_says_what_it_holds)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_sst_info info = { 0 };
	struct cairn_sst_writer *w;
	struct test_db t;
	struct env_stat st;
	const struct table_props *p;
	struct table_read_options ro = { .seqno_known = true };
	struct rfile *f;
	struct table *table;

	begin(&t);
	cairn_options_set_env(o, t.mem);
	CK_OK(cairn_sst_writer_open(EXT "/a.sst", o, &w));
	CK_OK(cairn_sst_writer_put(w, slice_str(""), slice_str("empty key")));
	CK_OK(cairn_sst_writer_delete(w, slice_str("b")));
	CK_OK(cairn_sst_writer_merge(w, slice_str("c"), slice_str("x")));
	CK_OK(cairn_sst_writer_put(w, slice_str("d"), slice_str("")));
	CK_OK(cairn_sst_writer_finish(w, &info));
	ck_assert_uint_eq(info.entries, 4);
	ck_assert_uint_eq(info.smallest.len, 0);
	ck_assert(slice_eq(info.largest, slice_str("d")));
	CK_OK(env_stat(t.mem, EXT "/a.sst", &st));
	ck_assert_uint_eq(info.size_bytes, st.size);
	cairn_sst_writer_free(w);

	CK_OK(env_open_read(t.mem, EXT "/a.sst", &f));
	CK_OK(table_open(f, "a", 1, st.size, &ro, &table));
	CK_OK(table_verify(table));
	p = table_props(table);
	/* What RocksDB's SstFileWriter says of the same entries. */
	ck_assert_uint_eq(p->entries, 4);
	ck_assert_uint_eq(p->deletions, 1);
	ck_assert_uint_eq(p->merges, 1);
	ck_assert_uint_eq(p->raw_key_bytes, 0 + 1 + 1 + 1 + 4 * 8);
	ck_assert_uint_eq(p->raw_value_bytes, 9 + 0 + 1 + 0);
	ck_assert(p->has_external_version && p->external_version == 2);
	ck_assert(p->has_global_seqno && p->global_seqno == 0);
	ck_assert_uint_eq(p->family_id, 2147483647u);
	table_close(table);
	cairn_options_free(o);
	tdb_fini(&t);
}
END_TEST

static const struct {
	const char *name;
	const char *text;
	int code;
	const char *message;
} bad_orders[] = {
	{ "a key below", "b=1 a=2", CAIRN_EINVAL, "entry 2: its key is not" },
	{ "the same key", "a=1 b=2 b-", CAIRN_EINVAL, "entry 3: its key is" },
	{ "a prefix behind", "ab=1 a=2", CAIRN_EINVAL, "keys must ascend" },
	{ "nothing", "", CAIRN_EINVAL, "nothing was added" },
	{ "a range of nothing", "b~b", CAIRN_EINVAL, "nothing was added" },
	{ "a range backwards", "a=1 c~b", CAIRN_EINVAL, "ends before it" },
};

START_TEST(a_table_that_is_not_finished_leaves_no_file)
{
	struct test_db t;

	begin(&t);
	CK_CODE(write_table(t.mem, NULL, EXT "/a.sst", bad_orders[_i].text),
		bad_orders[_i].code);
	expect_message(bad_orders[_i].message);
	expect_message(EXT "/a.sst");
	expect_names(t.mem, EXT, "");
	tdb_fini(&t);
}
END_TEST

START_TEST(an_entry_out_of_order_is_as_if_it_had_not_been_tried)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_sst_writer *w;
	struct test_db t;
	uint8_t *long_key = calloc(1, CAIRN_KEY_MAX + 1);

	begin(&t);
	cairn_options_set_env(o, t.mem);
	CK_OK(cairn_sst_writer_open(EXT "/a.sst", o, &w));
	CK_OK(cairn_sst_writer_put(w, slice_str("b"), slice_str("1")));
	CK_CODE(cairn_sst_writer_put(w, slice_str("a"), slice_str("2")),
		CAIRN_EINVAL);
	memset(long_key, 'x', CAIRN_KEY_MAX + 1);
	CK_CODE(cairn_sst_writer_put(w, slice_of(long_key, CAIRN_KEY_MAX + 1),
				     slice_str("3")),
		CAIRN_EINVAL);
	CK_OK(cairn_sst_writer_put(w, slice_str("c"), slice_str("4")));
	CK_OK(cairn_sst_writer_finish(w, NULL));
	CK_CODE(cairn_sst_writer_put(w, slice_str("d"), slice_str("5")),
		CAIRN_EINVAL);
	CK_CODE(cairn_sst_writer_finish(w, NULL), CAIRN_EINVAL);
	cairn_sst_writer_free(w);
	CK_OK(ingest(&t, EXT "/a.sst"));
	expect(&t, "b=1 c=4 ");
	free(long_key);
	cairn_options_free(o);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_existing_file_is_left_alone)
{
	struct test_db t;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1");
	CK_CODE(write_table(t.mem, NULL, EXT "/a.sst", "b=2"), CAIRN_EEXIST);
	CK_OK(ingest(&t, EXT "/a.sst"));
	expect(&t, "a=1 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_writer_survives_any_failure_and_leaves_a_whole_table_or_none)
{
	struct test_db t;
	uint64_t k = 0;
	int err;

	begin(&t);
	do {
		tdb_fail(&t, ENV_FAULT_WRITES, EXT, ++k, false, CAIRN_EIO);
		err = write_table(t.env, t.opts, EXT "/a.sst", "a=1 b=2");
		if (err)
			expect_names(t.mem, EXT, "");
	} while (err);
	env_fault_set(t.env, NULL);
	ck_assert_uint_gt(k, 3);
	CK_OK(ingest(&t, EXT "/a.sst"));
	expect(&t, "a=1 b=2 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_finished_table_survives_a_power_cut)
{
	struct cairn_env *after;
	struct test_db t, u;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1 b=2");
	after = env_mem_crash_clone(t.mem, 1, 0);
	ck_assert_ptr_nonnull(after);
	tdb_init(&u, after);
	tdb_open(&u);
	CK_OK(ingest(&u, EXT "/a.sst"));
	expect(&u, "a=1 b=2 ");
	tdb_fini(&u);
	tdb_fini(&t);
}
END_TEST

/* --------------------------------------------------------------- ingesting */

START_TEST(a_table_is_there_at_once_and_after_reopening)
{
	struct cairn_metrics m;
	struct test_db t;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1 b=2 c=3");
	CK_OK(ingest(&t, EXT "/a.sst"));
	expect(&t, "a=1 b=2 c=3 ");
	expect_levels(&t, "6:1 ");
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 1);
	ck_assert_uint_eq(m.level[6].ingested_tables, 1);
	ck_assert_uint_gt(m.level[6].ingested_bytes, 0);
	tdb_reopen(&t);
	expect(&t, "a=1 b=2 c=3 ");
	tdb_put(&t, "b", "4");
	expect(&t, "a=1 b=4 c=3 ");
	tdb_reopen(&t);
	compact(&t);
	expect(&t, "a=1 b=4 c=3 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(ingested_entries_are_newer_than_all_before_and_older_than_all_after)
{
	struct test_db t;

	begin(&t);
	tdb_put(&t, "a", "old");
	tdb_put(&t, "c", "old");
	make_table(&t, EXT "/a.sst", "a=new b=new c-");
	CK_OK(ingest(&t, EXT "/a.sst"));
	expect(&t, "a=new b=new ");
	tdb_put(&t, "b", "newer");
	tdb_put(&t, "c", "newer");
	expect(&t, "a=new b=newer c=newer ");
	make_table(&t, EXT "/b.sst", "b=newest");
	CK_OK(ingest(&t, EXT "/b.sst"));
	expect(&t, "a=new b=newest c=newer ");
	tdb_reopen(&t);
	expect(&t, "a=new b=newest c=newer ");
	compact(&t);
	expect(&t, "a=new b=newest c=newer ");
	tdb_reopen(&t);
	expect(&t, "a=new b=newest c=newer ");
	tdb_fini(&t);
}
END_TEST

START_TEST(merge_operands_go_on_with_what_was_there_before)
{
	const char *paths[] = { EXT "/m1", EXT "/m2" };
	struct cairn_snapshot *s;
	struct test_db t;

	begin(&t);
	tdb_close(&t);
	tdb_set(&t, "merge_operator", "stringappend");
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "c", "1");
	compact(&t);
	CK_OK(write_table(t.mem, t.opts, paths[0], "a+2 b+2 c-"));
	CK_OK(write_table(t.mem, t.opts, paths[1], "a+3 b+3 c+3"));
	CK_OK(ingest(&t, paths[0]));
	expect(&t, "a=1,2 b=2 ");
	s = cairn_snapshot_new(t.db);
	CK_OK(ingest(&t, paths[1]));
	CK_OK(cairn_merge(t.db, NULL, slice_str("b"), slice_str("4")));
	expect(&t, "a=1,2,3 b=2,3,4 c=3 ");
	compact(&t);
	expect(&t, "a=1,2,3 b=2,3,4 c=3 ");
	expect_at(&t, s, "a=1,2 b=2 ");
	cairn_snapshot_release(s);
	compact(&t);
	tdb_reopen(&t);
	expect(&t, "a=1,2,3 b=2,3,4 c=3 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(tables_of_one_call_are_all_there_or_not_at_all)
{
	const char *paths[] = { EXT "/c.sst", EXT "/a.sst", EXT "/b.sst" };
	struct test_db t;

	begin(&t);
	tdb_put(&t, "b", "old");
	make_table(&t, paths[0], "x=1 y=2");
	make_table(&t, paths[1], "a=3 c=4");
	CK_CODE(cairn_ingest(t.db, paths, 3, NULL), CAIRN_ENOENT);
	expect_message(EXT "/b.sst");
	expect(&t, "b=old ");
	make_table(&t, paths[2], "d=5 w=6");
	CK_OK(cairn_ingest(t.db, paths, 3, NULL));
	expect(&t, "a=3 b=old c=4 d=5 w=6 x=1 y=2 ");
	tdb_reopen(&t);
	expect(&t, "a=3 b=old c=4 d=5 w=6 x=1 y=2 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(snapshots_and_iterators_do_not_see_what_comes_after_them)
{
	struct cairn_snapshot *s;
	struct cairn_iter *it;
	struct test_db t;

	begin(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	compact(&t);
	s = cairn_snapshot_new(t.db);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	make_table(&t, EXT "/a.sst", "a=2 b=2");
	CK_OK(ingest(&t, EXT "/a.sst"));
	make_table(&t, EXT "/b.sst", "x=3");
	CK_OK(ingest(&t, EXT "/b.sst"));
	expect(&t, "a=2 b=2 x=3 ");
	expect_at(&t, s, "a=1 ");
	compact(&t);
	expect_at(&t, s, "a=1 ");
	ck_assert(cairn_iter_first(it));
	ck_assert(slice_eq(cairn_iter_value(it), slice_str("1")));
	ck_assert(!cairn_iter_next(it));
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
	cairn_snapshot_release(s);
	tdb_fini(&t);
}
END_TEST

/* Level 6 has c to e, level 0 m and p, the memtable t; then a table comes. */
static const struct {
	const char *name;
	const char *text;
	const char *levels;
	const char *want;
} places[] = {
	{ "beside all", "a=1 b=1", "0:1 6:2 ", "a=1 b=1 c=6 e=6 m=0 p=0 t=m " },
	/* Levels between 0 and the base level, which is 6, stay empty. */
	{ "in a gap of level 6", "d=1", "0:2 6:1 ",
	  "c=6 d=1 e=6 m=0 p=0 t=m " },
	{ "over level 6", "c=1", "0:2 6:1 ", "c=1 e=6 m=0 p=0 t=m " },
	{ "in a gap of level 0", "n=1", "0:1 6:2 ",
	  "c=6 e=6 m=0 n=1 p=0 t=m " },
	{ "over level 0", "l=1 m=1", "0:2 6:1 ", "c=6 e=6 l=1 m=1 p=0 t=m " },
	{ "beside the memtable", "s=1", "0:1 6:2 ",
	  "c=6 e=6 m=0 p=0 s=1 t=m " },
	{ "over the memtable", "t=1 u=1", "0:3 6:1 ",
	  "c=6 e=6 m=0 p=0 t=1 u=1 " },
	{ "across the memtable", "s=1 u=1", "0:3 6:1 ",
	  "c=6 e=6 m=0 p=0 s=1 t=m u=1 " },
	{ "deletions", "c- m- t-", "0:3 6:1 ", "e=6 p=0 " },
	{ "a range over all", "a~z", "0:3 6:1 ", "" },
	{ "a range beside its own keys", "c~z m=1 t=1", "0:3 6:1 ",
	  "m=1 t=1 " },
	{ "ranges in any order", "x=1 n~z a~d b~c", "0:3 6:1 ",
	  "e=6 m=0 x=1 " },
	{ "a range up to a key", "d~e", "0:2 6:1 ", "c=6 e=6 m=0 p=0 t=m " },
	{ "a range over nothing", "n~o", "0:1 6:2 ", "c=6 e=6 m=0 p=0 t=m " },
};

START_TEST(a_table_goes_as_deep_as_nothing_of_its_keys_is_above)
{
	struct test_db t;

	begin(&t);
	tdb_put(&t, "c", "6");
	tdb_put(&t, "e", "6");
	compact(&t);
	tdb_put(&t, "m", "0");
	tdb_put(&t, "p", "0");
	CK_OK(cairn_flush(t.db, true));
	tdb_put(&t, "t", "m");
	expect_levels(&t, "0:1 6:1 ");
	make_table(&t, EXT "/a.sst", places[_i].text);
	CK_OK(ingest(&t, EXT "/a.sst"));
	expect_levels(&t, places[_i].levels);
	expect(&t, places[_i].want);
	tdb_reopen(&t);
	expect(&t, places[_i].want);
	compact(&t);
	expect(&t, places[_i].want);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_copied_table_is_another_file)
{
	struct test_db t;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1 b=2");
	CK_OK(ingest_as(&t, EXT "/a.sst", CAIRN_INGEST_COPY));
	expect_names(t.mem, EXT, "a.sst ");
	for (uint64_t i = 0; i < 50; i++)
		CK_OK(env_mem_damage(t.mem, EXT "/a.sst", i, 0xff));
	tdb_reopen(&t);
	expect(&t, "a=1 b=2 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_linked_table_is_the_same_file_and_keeps_its_name)
{
	struct test_db t;
	uint64_t bytes;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1 b=2");
	bytes = env_mem_bytes(t.mem);
	CK_OK(ingest_as(&t, EXT "/a.sst", CAIRN_INGEST_LINK));
	expect_names(t.mem, EXT, "a.sst ");
	/* A record of the MANIFEST, and of LOG; no second table. */
	ck_assert_uint_lt(env_mem_bytes(t.mem) - bytes, 700);
	expect(&t, "a=1 b=2 ");
	CK_CODE(ingest_as(&t, EXT "/a.sst", 7), CAIRN_EINVAL);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_moved_table_has_no_other_name_and_stays_when_that_fails)
{
	struct test_db t;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1 b=2");
	CK_OK(ingest_as(&t, EXT "/a.sst", CAIRN_INGEST_MOVE));
	expect_names(t.mem, EXT, "");
	make_table(&t, EXT "/b.sst", "b=3");
	tdb_fail(&t, ENV_FAULT_UNLINK, EXT, 1, false, CAIRN_EIO);
	CK_OK(ingest_as(&t, EXT "/b.sst", CAIRN_INGEST_MOVE));
	env_fault_set(t.env, NULL);
	expect_names(t.mem, EXT, "b.sst ");
	expect(&t, "a=1 b=3 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(what_cannot_be_linked_is_copied)
{
	struct test_db t;

	begin(&t);
	make_table(&t, EXT "/a.sst", "a=1 b=2");
	tdb_fail(&t, ENV_FAULT_LINK, NULL, 1, true, CAIRN_EIO);
	CK_OK(ingest_as(&t, EXT "/a.sst", CAIRN_INGEST_MOVE));
	env_fault_set(t.env, NULL);
	expect_names(t.mem, EXT, "");
	tdb_reopen(&t);
	expect(&t, "a=1 b=2 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(the_number_of_a_file_that_is_in_the_way_is_passed_over)
{
	struct cairn_metrics m;
	struct test_db t;
	struct wfile *w;
	char path[64];

	begin(&t);
	cairn_metrics_get(t.db, &m);
	snprintf(path, sizeof(path), TEST_DIR "/%06u.sst",
		 (unsigned)m.next_file_number);
	CK_OK(env_open_write(t.mem, path, &w));
	CK_OK(wfile_close(w));
	make_table(&t, EXT "/a.sst", "a=1");
	CK_OK(ingest_as(&t, EXT "/a.sst", CAIRN_INGEST_LINK));
	make_table(&t, EXT "/b.sst", "b=2");
	CK_OK(ingest(&t, EXT "/b.sst"));
	tdb_reopen(&t);
	expect(&t, "a=1 b=2 ");
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------------------- refusing */

static void put_file(struct cairn_env *e, const char *path, const void *bytes,
		     size_t len)
{
	struct wfile *w;

	CK_OK(env_open_write(e, path, &w));
	CK_OK(wfile_append(w, bytes, len));
	CK_OK(wfile_close(w));
}

static void get_file(struct cairn_env *e, const char *path, struct buf *out)
{
	CK_OK(env_read_file(e, path, 1 << 20, out));
}

static void make_text(struct test_db *t)
{
	char text[5000];

	memset(text, 'x', sizeof(text));
	put_file(t->mem, EXT "/bad", text, sizeof(text));
}

static void make_short(struct test_db *t)
{
	put_file(t->mem, EXT "/bad", "xyz", 3);
}

static void make_cut(struct test_db *t)
{
	struct buf b = { 0 };

	make_table(t, EXT "/whole", "a=1 b=2 c=3");
	get_file(t->mem, EXT "/whole", &b);
	put_file(t->mem, EXT "/bad", b.data, b.len - 1);
	buf_fini(&b);
}

static void make_directory(struct test_db *t)
{
	CK_OK(env_mkdir(t->mem, EXT "/bad"));
}

static void make_ours(struct test_db *t)
{
	struct env_names names;
	struct buf b = { 0 };
	char path[300];

	tdb_put(t, "z", "0");
	CK_OK(cairn_flush(t->db, true));
	CK_OK(env_list(t->mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		if (strstr(names.names[i], ".sst")) {
			snprintf(path, sizeof(path), TEST_DIR "/%s",
				 names.names[i]);
			get_file(t->mem, path, &b);
		}
	env_names_free(&names);
	put_file(t->mem, EXT "/bad", b.data, b.len);
	buf_fini(&b);
}

static void make_nothing(struct test_db *t)
{
	(void)t;
}

static const struct {
	const char *name;
	void (*make)(struct test_db *t);
	int code;
	const char *message;
} refusals[] = {
	{ "text", make_text, CAIRN_ECORRUPT, EXT "/bad" },
	{ "three bytes", make_short, CAIRN_ECORRUPT, EXT "/bad" },
	{ "a table cut short", make_cut, CAIRN_ECORRUPT, EXT "/bad" },
	{ "a directory", make_directory, CAIRN_EIO, EXT "/bad" },
	{ "a table of a database", make_ours, CAIRN_EINVAL,
	  "not one that was made to be ingested" },
	{ "no file", make_nothing, CAIRN_ENOENT, EXT "/bad: no such file" },
};

/* The good table goes the whole way until the bad one is met. */
START_TEST(what_cannot_be_ingested_is_named_and_nothing_changes)
{
	const char *paths[] = { EXT "/good", EXT "/bad" };
	struct buf before = { 0 }, after = { 0 }, state = { 0 }, now = { 0 };
	struct test_db t;

	begin(&t);
	tdb_put(&t, "k", "1");
	make_table(&t, EXT "/good", "m=1");
	refusals[_i].make(&t);
	names_in(t.mem, TEST_DIR, &before);
	contents(t.db, NULL, &state);
	CK_CODE(cairn_ingest(t.db, paths, 2, NULL), refusals[_i].code);
	expect_message(refusals[_i].message);
	names_in(t.mem, TEST_DIR, &after);
	contents(t.db, NULL, &now);
	ck_assert(slice_eq(buf_slice(&before), buf_slice(&after)));
	ck_assert(slice_eq(buf_slice(&state), buf_slice(&now)));
	tdb_put(&t, "l", "1");
	buf_fini(&before);
	buf_fini(&after);
	buf_fini(&state);
	buf_fini(&now);
	tdb_fini(&t);
}
END_TEST

static const struct {
	const char *name;
	const char *first;
	const char *second;
	bool overlap;
} pairs[] = {
	{ "one inside", "a=1 z=1", "c=1 d=1", true },
	{ "meeting in a key", "a=1 c=1", "c=1 d=1", true },
	{ "the same", "a=1", "a=1", true },
	{ "given in falling order", "c=1 d=1", "a=1 c=1", true },
	{ "a range across", "a~c", "b=1", true },
	{ "ranges", "a~c", "b~d", true },
	{ "a range up to it", "a~c", "c=1 d=1", false },
	{ "a range behind it", "a=1 c=1", "c~d", true },
	{ "side by side", "a=1 b=1", "c=1 d=1", false },
	{ "side by side, falling", "c=1 d=1", "a=1 b=1", false },
};

START_TEST(tables_of_one_call_must_not_overlap)
{
	const char *paths[] = { EXT "/a", EXT "/b" };
	struct test_db t;

	begin(&t);
	make_table(&t, paths[0], pairs[_i].first);
	make_table(&t, paths[1], pairs[_i].second);
	if (!pairs[_i].overlap) {
		CK_OK(cairn_ingest(t.db, paths, 2, NULL));
	} else {
		CK_CODE(cairn_ingest(t.db, paths, 2, NULL), CAIRN_EINVAL);
		expect_message(EXT "/a");
		expect_message(EXT "/b");
		expect(&t, "");
	}
	tdb_fini(&t);
}
END_TEST

/*
 * A table of one block, in which the bytes of from were replaced by to, with
 * the right checksum: what only a faulty program can have written.
 */
static void make_forged(struct test_db *t, const char *from, size_t len,
			const char *to)
{
	struct cairn_options *o = cairn_options_new();
	const struct table_read_options ro = { .seqno_known = true };
	struct buf b = { 0 };
	struct rfile *f;
	struct table *table;
	size_t block;
	uint8_t *at;

	cairn_options_set_env(o, t->mem);
	CK_OK(cairn_options_set(o, "compression", "none"));
	CK_OK(cairn_options_set(o, "bloom_bits_per_key", "0"));
	CK_OK(write_table(t->mem, o, EXT "/sound", "aa=1 ee=2 kk=3 qq=4 zz=5"));
	get_file(t->mem, EXT "/sound", &b);
	CK_OK(env_open_read(t->mem, EXT "/sound", &f));
	CK_OK(table_open(f, "sound", 1, b.len, &ro, &table));
	block = (size_t)table_props(table)->data_bytes - BLOCK_TRAILER_LEN;
	table_close(table);
	at = memmem(b.data, block, from, len);
	ck_assert_ptr_nonnull(at);
	memcpy(at, to, len);
	block_trailer_encode(0, b.data, block, b.data + block);
	put_file(t->mem, EXT "/forged", b.data, b.len);
	buf_fini(&b);
	cairn_options_free(o);
}

static const struct {
	const char *name;
	const char *from;
	const char *to;
	int code;
	const char *message;
} forgeries[] = {
	{ "nothing", "kk\1\0", "kk\1\0", CAIRN_OK, "" },
	{ "a key out of order", "kk\1\0", "bb\1\0", CAIRN_ECORRUPT,
	  "out of order" },
	{ "a key twice", "kk\1\0", "ee\0\0", CAIRN_ECORRUPT, "there twice" },
	{ "an entry with a number", "kk\1\0", "kk\1\7", CAIRN_ECORRUPT,
	  "is numbered" },
	{ "a kind that is not known", "kk\1\0", "kk\21\0", CAIRN_ENOTSUP,
	  "blob" },
};

START_TEST(a_table_that_follows_no_rules_is_refused)
{
	struct test_db t;
	int err;

	begin(&t);
	make_forged(&t, forgeries[_i].from, 4, forgeries[_i].to);
	err = ingest(&t, EXT "/forged");
	ck_assert_msg(err == forgeries[_i].code, "%s: %d: %s",
		      forgeries[_i].name, err, cairn_errmsg());
	if (err) {
		expect_message(EXT "/forged");
		expect_message(forgeries[_i].message);
		expect(&t, "");
		ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 0);
	} else {
		expect(&t, "aa=1 ee=2 kk=3 qq=4 zz=5 ");
	}
	tdb_fini(&t);
}
END_TEST

/* Neither the ends nor the index show it. */
START_TEST(damage_in_the_middle_of_a_table_is_found)
{
	struct cairn_options *o = cairn_options_new();
	char text[4000] = "";
	struct env_stat st;
	struct test_db t;
	size_t len = 0;

	begin(&t);
	for (int i = 0; i < 200; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"key%03d=value%d ", i, i);
	cairn_options_set_env(o, t.mem);
	CK_OK(cairn_options_set(o, "block_size", "128"));
	CK_OK(write_table(t.mem, o, EXT "/a", text));
	CK_OK(env_stat(t.mem, EXT "/a", &st));
	CK_OK(env_mem_damage(t.mem, EXT "/a", st.size / 4, 1));
	CK_CODE(ingest(&t, EXT "/a"), CAIRN_ECORRUPT);
	expect_message(EXT "/a");
	ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 0);
	CK_OK(env_mem_damage(t.mem, EXT "/a", st.size / 4, 1));
	CK_OK(ingest(&t, EXT "/a"));
	cairn_options_free(o);
	tdb_fini(&t);
}
END_TEST

START_TEST(no_tables_and_a_database_opened_for_reading_are_refused)
{
	const char *path = EXT "/a";
	struct test_db t;

	begin(&t);
	make_table(&t, path, "a=1");
	CK_CODE(cairn_ingest(t.db, &path, 0, NULL), CAIRN_EINVAL);
	tdb_close(&t);
	tdb_set(&t, "read_only", "true");
	tdb_set(&t, "create_if_missing", "false");
	tdb_open(&t);
	CK_CODE(cairn_ingest(t.db, &path, 1, NULL), CAIRN_EROFS);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_table_is_ingested_twice_as_any_change_is_made_twice)
{
	struct test_db t;

	begin(&t);
	make_table(&t, EXT "/a", "a=1");
	CK_OK(ingest_as(&t, EXT "/a", CAIRN_INGEST_LINK));
	tdb_put(&t, "a", "2");
	CK_OK(ingest_as(&t, EXT "/a", CAIRN_INGEST_LINK));
	expect(&t, "a=1 ");
	tdb_reopen(&t);
	compact(&t);
	expect(&t, "a=1 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(range_tombstones_in_the_way_are_older_than_what_comes)
{
	const struct cairn_slice all = { 0 };
	struct cairn_snapshot *s;
	struct test_db t;

	begin(&t);
	tdb_put(&t, "b", "1");
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_delete_range(t.db, NULL, slice_str("a"), slice_str("m")));
	s = cairn_snapshot_new(t.db);
	/* The tombstone is in the memtable. */
	make_table(&t, EXT "/a", "c=2");
	CK_OK(ingest(&t, EXT "/a"));
	expect(&t, "c=2 ");
	/* And now in a table of level 0. */
	make_table(&t, EXT "/b", "d=3 x~z");
	CK_OK(ingest(&t, EXT "/b"));
	expect_levels(&t, "0:4 ");
	tdb_put(&t, "y", "4");
	expect(&t, "c=2 d=3 y=4 ");
	expect_at(&t, s, "");
	CK_OK(cairn_compact_range(t.db, all, all, NULL));
	expect(&t, "c=2 d=3 y=4 ");
	expect_at(&t, s, "");
	cairn_snapshot_release(s);
	tdb_reopen(&t);
	expect(&t, "c=2 d=3 y=4 ");
	tdb_fini(&t);
}
END_TEST

/* Every byte once: the table is refused, or what it says is right. */
START_TEST(a_damaged_table_is_refused_or_read_right)
{
	struct test_db t;
	struct buf b = { 0 };
	unsigned refused = 0, whole = 0;

	begin(&t);
	tdb_put(&t, "e", "0");
	make_table(&t, EXT "/a", "a=1 b=2 c- d=4 e~h");
	get_file(t.mem, EXT "/a", &b);
	for (size_t i = 0; i < b.len; i++) {
		struct buf got = { 0 };
		int err;

		b.data[i] = (uint8_t)(b.data[i] ^ (1u << (i % 8)));
		put_file(t.mem, EXT "/b", b.data, b.len);
		b.data[i] = (uint8_t)(b.data[i] ^ (1u << (i % 8)));
		err = ingest(&t, EXT "/b");
		CK_OK(env_unlink(t.mem, EXT "/b"));
		if (err) {
			refused++;
			ck_assert_msg(
				err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP ||
					err == CAIRN_EINVAL,
				"byte %zu: %d %s", i, err, cairn_errmsg());
			continue;
		}
		whole++;
		contents(t.db, NULL, &got);
		ck_assert_msg(
			slice_eq(buf_slice(&got), slice_str("a=1 b=2 d=4 ")),
			"byte %zu: %.*s", i, (int)got.len,
			(const char *)got.data);
		buf_fini(&got);
	}
	/* The padding of the footer is all that nobody reads. */
	ck_assert_uint_gt(refused, 10 * whole);
	expect_names(t.mem, EXT, "a ");
	buf_fini(&b);
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------- failures, power cuts */

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

/* ------------------------------------------------------------- concurrency */

/* A file whose syncs wait at a gate. */
struct gated_file {
	struct wfile base;
	struct wfile *below;
	struct gate_env *gate;
};

static int gated_append(struct wfile *f, const void *data, size_t len)
{
	return wfile_append(((struct gated_file *)f)->below, data, len);
}

static int gated_sync(struct wfile *f)
{
	struct gate_env *g = ((struct gated_file *)f)->gate;

	mutex_lock(&g->mu);
	g->n_waiting++;
	cond_broadcast(&g->changed);
	while (!g->open)
		cond_wait(&g->changed, &g->mu);
	g->n_waiting--;
	mutex_unlock(&g->mu);
	return wfile_sync(((struct gated_file *)f)->below);
}

static int gated_preallocate(struct wfile *f, uint64_t len)
{
	return wfile_preallocate(((struct gated_file *)f)->below, len);
}

static void gated_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	wfile_flush_hint(((struct gated_file *)f)->below, off, len);
}

static int gated_close(struct wfile *f)
{
	int err = wfile_close(((struct gated_file *)f)->below);

	free(f);
	return err;
}

static const struct wfile_ops gated_ops = {
	.append = gated_append,
	.sync = gated_sync,
	.preallocate = gated_preallocate,
	.flush_hint = gated_flush_hint,
	.close = gated_close,
};

/* Tables are created behind one gate, the MANIFEST is synced behind another. */
struct two_gates {
	struct gate_env tables;
	struct gate_env manifest;
	struct test_db t;
};

static int open_behind_gates(struct cairn_env *e, const char *path,
			     struct wfile **out)
{
	struct two_gates *g = (struct two_gates *)e;
	struct gated_file *f;

	if (!strstr(path, "MANIFEST-"))
		return gate_open_write(e, path, out);
	f = calloc(1, sizeof(*f));
	ck_assert_ptr_nonnull(f);
	CK_OK(env_open_write(gate_below(e), path, &f->below));
	f->base.ops = &gated_ops;
	f->gate = &g->manifest;
	*out = &f->base;
	return CAIRN_OK;
}

static void *ingest_m(void *arg)
{
	struct two_gates *g = arg;

	CK_OK(ingest_as(&g->t, EXT "/a", CAIRN_INGEST_LINK));
	return NULL;
}

static void *compact_in_vain(void *arg)
{
	struct two_gates *g = arg;

	CK_CODE(cairn_compact_range(g->t.db, slice_str("a"), slice_str("d"),
				    NULL),
		CAIRN_EIO);
	return NULL;
}

static void *compact_all(void *arg)
{
	const struct cairn_slice all = { 0 };
	struct two_gates *g = arg;

	CK_OK(cairn_compact_range(g->t.db, all, all, NULL));
	return NULL;
}

/*
 * A compaction of a to c runs; one of everything waits for it. A table comes
 * between, and while its edit is being written the first compaction fails. If
 * the second began now, it would write a table from a to z where the new one
 * is about to be.
 */
START_TEST(no_compaction_writes_where_a_table_is_about_to_be)
{
	struct two_gates g;
	pthread_t threads[3];

	begin(&g.t);
	tdb_close(&g.t);
	gate_init(&g.tables, g.t.env, ".sst");
	gate_init(&g.manifest, g.t.env, "");
	g.tables.ops.open_write = open_behind_gates;
	cairn_options_set_env(g.t.opts, &g.tables.base);
	tdb_open(&g.t);
	tdb_put(&g.t, "e", "2");
	tdb_put(&g.t, "z", "2");
	CK_OK(cairn_flush(g.t.db, true));
	for (int i = 0; i < 2; i++) {
		tdb_put(&g.t, "a", "1");
		tdb_put(&g.t, "c", "1");
		CK_OK(cairn_flush(g.t.db, true));
	}
	make_table(&g.t, EXT "/a", "m=3");

	gate_set(&g.tables, false);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, compact_in_vain, &g),
			 0);
	gate_await(&g.tables, 1);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, compact_all, &g), 0);
	env_sleep_us(g.t.mem, 30000);
	gate_set(&g.manifest, false);
	ck_assert_int_eq(pthread_create(&threads[2], NULL, ingest_m, &g), 0);
	gate_await(&g.manifest, 1);
	tdb_fail(&g.t, ENV_FAULT_CREATE, ".sst", 1, false, CAIRN_EIO);
	gate_set(&g.tables, true);
	/* Did it not wait, it would begin at once. */
	env_sleep_us(g.t.mem, 30000);
	gate_set(&g.manifest, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);

	env_fault_set(g.t.env, NULL);
	CK_OK(cairn_background_error(g.t.db, NULL, 0));
	expect(&g.t, "a=1 c=1 e=2 m=3 z=2 ");
	tdb_reopen(&g.t);
	expect(&g.t, "a=1 c=1 e=2 m=3 z=2 ");
	tdb_close(&g.t);
	gate_fini(&g.tables);
	gate_fini(&g.manifest);
	tdb_fini(&g.t);
}
END_TEST

#define N_ROUNDS 40
#define N_KEYS   16

struct race {
	struct test_db t;
	_Atomic bool stop;
	_Atomic unsigned n_reads;
};

/* All keys have one value at any time: that of a batch or of a table. */
static void *race_reader(void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		struct cairn_snapshot *s = cairn_snapshot_new(r->t.db);
		const struct cairn_read_options o = { .snapshot = s };
		char first[32] = "";

		ck_assert_ptr_nonnull(s);
		for (int i = 0; i < N_KEYS; i++) {
			struct cairn_pinned p = { 0 };
			char key[8];
			int err;

			snprintf(key, sizeof(key), "k%02d", i);
			err = cairn_get(r->t.db, &o, slice_str(key), &p);
			if (err == CAIRN_NOT_FOUND) {
				ck_assert_str_eq(first, "");
				continue;
			}
			CK_OK(err);
			if (i == 0)
				snprintf(first, sizeof(first), "%.*s",
					 (int)p.value.len,
					 (const char *)p.value.data);
			ck_assert_msg(slice_eq(p.value, slice_str(first)),
				      "key %d: %.*s, not %s", i,
				      (int)p.value.len,
				      (const char *)p.value.data, first);
			cairn_pinned_release(&p);
		}
		cairn_snapshot_release(s);
		r->n_reads++;
	}
	return NULL;
}

static void *race_writer(void *arg)
{
	struct race *r = arg;

	for (unsigned n = 0; !r->stop; n++) {
		struct cairn_batch *b = cairn_batch_new();
		char key[8], value[32];

		snprintf(value, sizeof(value), "batch %u", n);
		for (int i = 0; i < N_KEYS; i++) {
			snprintf(key, sizeof(key), "k%02d", i);
			CK_OK(cairn_batch_put(b, slice_str(key),
					      slice_str(value)));
		}
		CK_OK(cairn_write(r->t.db, NULL, b));
		cairn_batch_free(b);
	}
	return NULL;
}

START_TEST(readers_see_a_table_whole_beside_writers_and_compactions)
{
	struct race r = { .stop = false };
	pthread_t reader, writer;

	tdb_init(&r.t, NULL);
	tdb_set(&r.t, "write_buffer_size", "16K");
	tdb_set(&r.t, "l0_compaction_trigger", "2");
	tdb_set(&r.t, "base_level_size", "8K");
	tdb_set(&r.t, "target_file_size", "4K");
	CK_OK(env_mkdir(r.t.mem, EXT));
	tdb_open(&r.t);
	ck_assert_int_eq(pthread_create(&reader, NULL, race_reader, &r), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, race_writer, &r), 0);
	/* On a busy machine the reader may be late. */
	for (int n = 0; n < N_ROUNDS || r.n_reads < N_ROUNDS; n++) {
		char text[N_KEYS * 24] = "";
		size_t len = 0;

		for (int i = 0; i < N_KEYS; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"k%02d=table%d ", i, n);
		make_table(&r.t, EXT "/a", text);
		CK_OK(ingest_as(&r.t, EXT "/a", CAIRN_INGEST_MOVE));
	}
	r.stop = true;
	pthread_join(reader, NULL);
	pthread_join(writer, NULL);
	CK_OK(cairn_wait_idle(r.t.db));
	tdb_reopen(&r.t);
	CK_OK(cairn_verify_checksums(r.t.db));
	tdb_fini(&r.t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ingest");
	TCase *tc = tcase_create("writer");

	tcase_add_test(tc, a_finished_table_says_what_it_holds);
	tcase_add_loop_test(tc, a_table_that_is_not_finished_leaves_no_file, 0,
			    sizeof(bad_orders) / sizeof(bad_orders[0]));
	tcase_add_test(tc,
		       an_entry_out_of_order_is_as_if_it_had_not_been_tried);
	tcase_add_test(tc, an_existing_file_is_left_alone);
	tcase_add_test(
		tc,
		a_writer_survives_any_failure_and_leaves_a_whole_table_or_none);
	tcase_add_test(tc, a_finished_table_survives_a_power_cut);
	suite_add_tcase(s, tc);

	tc = tcase_create("ingesting");
	tcase_add_test(tc, a_table_is_there_at_once_and_after_reopening);
	tcase_add_test(
		tc,
		ingested_entries_are_newer_than_all_before_and_older_than_all_after);
	tcase_add_test(tc, merge_operands_go_on_with_what_was_there_before);
	tcase_add_test(tc, tables_of_one_call_are_all_there_or_not_at_all);
	tcase_add_test(
		tc, snapshots_and_iterators_do_not_see_what_comes_after_them);
	tcase_add_loop_test(
		tc, a_table_goes_as_deep_as_nothing_of_its_keys_is_above, 0,
		sizeof(places) / sizeof(places[0]));
	tcase_add_test(tc, a_copied_table_is_another_file);
	tcase_add_test(tc, a_linked_table_is_the_same_file_and_keeps_its_name);
	tcase_add_test(
		tc, a_moved_table_has_no_other_name_and_stays_when_that_fails);
	tcase_add_test(tc, what_cannot_be_linked_is_copied);
	tcase_add_test(tc,
		       the_number_of_a_file_that_is_in_the_way_is_passed_over);
	suite_add_tcase(s, tc);

	tc = tcase_create("refusing");
	tcase_add_loop_test(
		tc, what_cannot_be_ingested_is_named_and_nothing_changes, 0,
		sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_loop_test(tc, a_table_that_follows_no_rules_is_refused, 0,
			    sizeof(forgeries) / sizeof(forgeries[0]));
	tcase_add_test(tc, damage_in_the_middle_of_a_table_is_found);
	tcase_add_loop_test(tc, tables_of_one_call_must_not_overlap, 0,
			    sizeof(pairs) / sizeof(pairs[0]));
	tcase_add_test(tc,
		       no_tables_and_a_database_opened_for_reading_are_refused);
	tcase_add_test(tc,
		       a_table_is_ingested_twice_as_any_change_is_made_twice);
	tcase_add_test(tc,
		       range_tombstones_in_the_way_are_older_than_what_comes);
	tcase_add_test(tc, a_damaged_table_is_refused_or_read_right);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
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

	tc = tcase_create("concurrency");
	tcase_add_test(tc, no_compaction_writes_where_a_table_is_about_to_be);
	tcase_add_test(
		tc, readers_see_a_table_whole_beside_writers_and_compactions);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
