/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding tables made outside to a database: what is then read, what is refused.
 */
#include "engine/db/db.h"
#include "engine/table/format.h"
#include "engine/table/table.h"
#include "tests/engine/db/ingest_support.h"

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

static int find_props(void *ctx, const struct cairn_sst_block *b)
{
	if (!strcmp(b->kind, "properties"))
		*(struct cairn_sst_block *)ctx = *b;
	return CAIRN_OK;
}

/* A table in whose properties from was replaced by to, with a checksum that is
 * right. */
static void make_claiming(struct test_db *t, const char *from, const char *to,
			  size_t len)
{
	struct cairn_sst_block props = { 0 };
	const struct cairn_sst_visitor v = { .ctx = &props,
					     .block = find_props };
	struct buf b = { 0 };
	size_t block, size;
	uint8_t *at;

	make_table(t, EXT "/sound", "a=1 b=2");
	CK_OK(cairn_sst_visit(EXT "/sound", t->opts, &v));
	ck_assert_uint_gt(props.size, 0);
	get_file(t->mem, EXT "/sound", &b);
	block = (size_t)props.offset;
	size = (size_t)props.size;
	at = memmem(b.data + block, size, from, len);
	ck_assert_ptr_nonnull(at);
	memcpy(at, to, len);
	block_trailer_encode(0, b.data + block, size, b.data + block + size);
	put_file(t->mem, EXT "/claiming", b.data, b.len);
	buf_fini(&b);
}

#define CLAIM(from, to) (from), (to), sizeof(from) - 1

/* Names are cut at the front where they begin as those before them do. */
static const struct {
	const char *name;
	const char *from, *to;
	size_t len;
	int code;
	const char *message;
} claims[] = {
	{ "nothing", CLAIM("version\2\0", "version\2\0"), CAIRN_OK, "" },
	{ "no place for a number", CLAIM("global_seqno", "global_seqnp"),
	  CAIRN_ENOTSUP, "which has no place for a sequence number" },
	{ "version 1, with a place", CLAIM("version\2\0", "version\1\0"),
	  CAIRN_ECORRUPT, "but is not an external table" },
	{ "version 3", CLAIM("version\2\0", "version\3\0"), CAIRN_ENOTSUP,
	  "an external table of version 3" },
	{ "a number", CLAIM("global_seqno\0", "global_seqno\7"), CAIRN_EINVAL,
	  "has been ingested before, at sequence number 7" },
	{ "no entries", CLAIM("entries\2", "entries\0"), CAIRN_EINVAL,
	  "a table without entries" },
};

START_TEST(a_table_that_claims_what_cannot_be_is_refused)
{
	struct test_db t;
	int err;

	begin(&t);
	make_claiming(&t, claims[_i].from, claims[_i].to, claims[_i].len);
	err = ingest(&t, EXT "/claiming");
	ck_assert_msg(err == claims[_i].code, "%s: %d: %s", claims[_i].name,
		      err, cairn_errmsg());
	if (err) {
		expect_message(EXT "/claiming: ");
		expect_message(claims[_i].message);
		expect(&t, "");
		ck_assert_uint_eq(tdb_count_files(&t, ".sst"), 0);
	} else {
		expect(&t, "a=1 b=2 ");
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
	expect_message(TEST_DIR ": no tables to ingest");
	CK_CODE(ingest_as(&t, path, (enum cairn_ingest_mode)3), CAIRN_EINVAL);
	expect_message("no ingest mode is 3");
	expect(&t, "");
	tdb_close(&t);
	tdb_set(&t, "read_only", "true");
	tdb_set(&t, "create_if_missing", "false");
	tdb_open(&t);
	CK_CODE(cairn_ingest(t.db, &path, 1, NULL), CAIRN_EROFS);
	expect_message(TEST_DIR ": opened read-only");
	/* There is no space to be checked, nor anything to be resumed. */
	CK_CODE(cairn_check_space(t.db), CAIRN_EROFS);
	CK_CODE(cairn_resume(t.db), CAIRN_EROFS);
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

static Suite *suite(void)
{
	Suite *s = suite_create("ingest");
	TCase *tc = tcase_create("ingesting");

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
	tcase_add_loop_test(tc, a_table_that_claims_what_cannot_be_is_refused,
			    0, sizeof(claims) / sizeof(claims[0]));
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
	return s;
}

int main(void)
{
	return run_suite(suite());
}
