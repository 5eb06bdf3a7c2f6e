/* SPDX-License-Identifier: BSD-3-Clause */
/* Plain stores: the same calls on a database without revisions. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/env/env_fault.h"
#include "mvcc/plain_dirs.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

static struct fixture f;
static struct cairn_env *fault;

static int open_plain_at(struct cairn_env *env, struct mvcc **out)
{
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o,
				   .plain = true,
				   .plain_time_ns = 1234567890,
				   .plain_value_max = 100000 };
	int err;

	ck_ok(cairn_options_set(o, "create_if_missing", "false"));
	err = mvcc_open("/db", &mo, out);
	cairn_options_free(o);
	return err;
}

/* A database with these keys, each its own value. */
static void make_db(struct cairn_env *env, const char *const *keys)
{
	struct cairn_options *o = small_options(env);
	struct cairn_db *db;

	ck_ok(cairn_open("/db", o, &db));
	for (; keys && *keys; keys++)
		ck_ok(cairn_put(db, NULL, S(*keys), S(*keys)));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
}

static void setup(void)
{
	f.env = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(f.env);
	fault = env_fault_new(f.env);
	ck_assert_ptr_nonnull(fault);
	make_db(f.env, NULL);
	ck_ok(open_plain_at(fault, &f.m));
}

static void teardown(void)
{
	ck_ok(mvcc_close(f.m));
	env_fault_free(fault);
	env_mem_free(f.env);
}

static void reopen(void)
{
	ck_ok(mvcc_close(f.m));
	ck_ok(open_plain_at(fault, &f.m));
}

static void make_dir(const char *key)
{
	const struct mvcc_attrs dir = { .type = MVCC_DIR };

	ck_ok(mvcc_put(f.m, S(key), none(), &dir, NULL));
}

/* The keys of the engine itself, each followed by a blank. */
static const char *engine_keys(void)
{
	static struct buf text;
	struct cairn_iter *it;

	buf_clear(&text);
	ck_ok(cairn_iter_new(mvcc_db(f.m), NULL, &it));
	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it)) {
		struct cairn_slice k = cairn_iter_key(it);

		ck_ok(buf_append(&text, k.data, k.len));
		ck_ok(buf_append(&text, " ", 1));
	}
	ck_ok(cairn_iter_status(it));
	cairn_iter_free(it);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

static void print_entry(struct buf *text, const struct mvcc_entry *e)
{
	ck_ok(buf_printf(text, "%s[%.*s]%s%s", text->len ? " " : "",
			 (int)e->name.len, (const char *)e->name.data,
			 e->is_file ? "f" : "",
			 e->is_dir ? (e->has_dir_row ? "D" : "d") : ""));
}

static void list_of(struct mvcc *m, int64_t rev, const char *dir,
		    const char *start, struct buf *text)
{
	struct mvcc_list *l;
	struct mvcc_entry e;
	int err;

	buf_clear(text);
	ck_ok(mvcc_list_new(m, rev, S(dir), S(start), &l));
	while ((err = mvcc_list_next(l, &e)) == CAIRN_OK)
		print_entry(text, &e);
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	mvcc_list_free(l);
	ck_ok(buf_append(text, "", 1));
}

static const char *list(int64_t rev, const char *dir)
{
	static struct buf text;

	list_of(f.m, rev, dir, "", &text);
	return (const char *)text.data;
}

/* Keys of a scan; directory records with a D. */
static void scan_of(struct mvcc *m, const char *from, const char *to,
		    bool reverse, struct buf *text)
{
	struct cairn_slice end = to ? S(to) : none();
	struct mvcc_scan *s;
	struct mvcc_row row;
	int err;

	buf_clear(text);
	ck_ok(mvcc_scan_new(m, 0, S(from), end, reverse, &s));
	while ((err = mvcc_scan_next(s, &row)) == CAIRN_OK)
		ck_ok(buf_printf(text, "%.*s%s=%.*s ", (int)row.key.len,
				 (const char *)row.key.data,
				 row.attrs.type == MVCC_DIR ? "D" : "",
				 (int)row.value.len,
				 (const char *)row.value.data));
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
	ck_ok(buf_append(text, "", 1));
}

static const char *lookup(const char *dir, const char *name)
{
	static struct buf text;
	struct mvcc_pinned_row a = { 0 }, b = { 0 };
	struct mvcc_entry e;
	int err = mvcc_lookup(f.m, 0, S(dir), S(name), &e, &a, &b);

	buf_clear(&text);
	if (!err)
		print_entry(&text, &e);
	else
		ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	mvcc_row_release(&a);
	mvcc_row_release(&b);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

/* ------------------------------------------------------------- the basics */

START_TEST(keys_are_those_of_the_engine)
{
	put(f.m, "a", "1");
	put(f.m, "b/c", "2");
	put(f.m, "", "empty");
	ck_assert_str_eq(engine_keys(), " a b/c ");
	ck_ok(cairn_put(mvcc_db(f.m), NULL, S("z"), S("26")));
	ck_value(f.m, "z", 0, "26");
	ck_value(f.m, "", 0, "empty");
	del(f.m, "a");
	ck_assert_str_eq(engine_keys(), " b/c z ");
	reopen();
	ck_value(f.m, "b/c", 0, "2");
	ck_value(f.m, "a", 0, NULL);
	ck_assert(mvcc_is_plain(f.m));
}
END_TEST

START_TEST(a_store_that_is_not_wanted_plain_is_refused_untouched)
{
	struct cairn_options *o;
	struct mvcc_options mo = { 0 };
	struct mvcc *m;
	uint64_t bytes;

	put(f.m, "k", "v");
	ck_ok(mvcc_close(f.m));
	bytes = env_fault_count(fault, ENV_FAULT_WRITES);
	o = small_options(fault);
	mo.engine = o;
	ck_code(mvcc_open("/db", &mo, &m), CAIRN_EKIND);
	ck_assert_uint_eq(env_fault_count(fault, ENV_FAULT_WRITES), bytes);
	cairn_options_free(o);
	ck_ok(open_plain_at(fault, &f.m));
}
END_TEST

START_TEST(a_revision_store_is_none_even_where_plain_ones_are_welcome)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct mvcc *m;

	ck_ok(store_open_at(env, &m));
	put(m, "k", "v");
	ck_ok(mvcc_close(m));
	ck_ok(open_plain_at(env, &m));
	ck_assert(!mvcc_is_plain(m));
	ck_value(m, "k", 0, "v");
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

START_TEST(tables_of_a_plain_store_have_no_marks_of_revisions)
{
	struct cairn_table_list l;

	put(f.m, "kkk", "v");
	ck_ok(cairn_flush(mvcc_db(f.m), true));
	ck_ok(cairn_compact_range(mvcc_db(f.m), none(), none(), NULL));
	ck_ok(cairn_tables(mvcc_db(f.m), -1, &l));
	ck_assert_uint_eq(l.n, 1);
	for (size_t i = 0; i < l.n; i++) {
		struct buf text = { 0 };

		ck_ok(env_read_file(f.env, l.tables[i].path, 1 << 20, &text));
		ck_assert_ptr_null(
			memmem(text.data, text.len, "cairn.mvcc", 10));
		buf_fini(&text);
	}
	cairn_table_list_free(&l);
}
END_TEST

START_TEST(keys_and_values_have_the_limits_of_the_engine)
{
	static uint8_t key[CAIRN_KEY_MAX + 1];
	static uint8_t value[100001];
	struct mvcc_object *o;

	ck_ok(mvcc_put(f.m, slice_of(key, CAIRN_KEY_MAX), S("v"), NULL, NULL));
	ck_code(mvcc_put(f.m, slice_of(key, CAIRN_KEY_MAX + 1), S("v"), NULL,
			 NULL),
		CAIRN_EINVAL);
	/* That of the options is lower here. */
	ck_ok(mvcc_object_new(f.m, &o));
	ck_ok(mvcc_object_write(o, 0, value, 100000));
	ck_code(mvcc_object_write(o, 100000, value, 1), CAIRN_EINVAL);
	ck_code(mvcc_object_truncate(o, 100001), CAIRN_EINVAL);
	ck_assert_uint_eq(mvcc_object_size(o), 100000);
	mvcc_object_free(o);
}
END_TEST

START_TEST(a_value_being_written_is_committed_as_one_entry)
{
	struct mvcc_pinned_row r = { 0 };
	struct mvcc_object *o;
	struct mvcc_txn *t;
	static char big[90000];
	size_t got;

	memset(big, 'x', sizeof(big));
	ck_ok(mvcc_object_new(f.m, &o));
	ck_ok(mvcc_object_write(o, 5, big, sizeof(big)));
	ck_assert_str_eq(engine_keys(), "");
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_put_object(t, S("k"), o, NULL));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	ck_assert_str_eq(engine_keys(), "k ");
	/* It goes on from there. */
	ck_ok(mvcc_object_write(o, 0, "hello", 5));
	ck_ok(mvcc_object_truncate(o, 7));
	ck_ok(mvcc_txn_put_object(t, S("k"), o, NULL));
	ck_ok(mvcc_txn_commit(t, true, NULL));
	mvcc_txn_free(t);
	mvcc_object_free(o);
	ck_value(f.m, "k", 0, "helloxx");
	ck_ok(mvcc_get(f.m, S("k"), 0, &r));
	ck_ok(mvcc_object_open(f.m, &r.row, &o));
	mvcc_row_release(&r);
	ck_ok(mvcc_object_read(o, 3, big, 9, &got));
	ck_assert(slice_eq(slice_of(big, got), S("loxx")));
	mvcc_object_free(o);
}
END_TEST

START_TEST(a_transaction_is_one_batch)
{
	struct mvcc_txn *t;
	int64_t before = mvcc_current(f.m), rev;

	put(f.m, "a", "1");
	put(f.m, "b", "2");
	put(f.m, "c", "3");
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_move(t, S("a"), S("A")));
	ck_ok(mvcc_txn_exchange(t, S("b"), S("c")));
	ck_ok(mvcc_txn_put(t, S("d"), S("4"), NULL));
	ck_ok(mvcc_txn_delete(t, S("none")));
	ck_ok(mvcc_txn_commit(t, false, &rev));
	ck_assert_int_eq(rev, before + 4);
	ck_assert_str_eq(engine_keys(), "A b c d ");
	ck_value(f.m, "A", 0, "1");
	ck_value(f.m, "b", 0, "3");
	ck_value(f.m, "c", 0, "2");
	/* All or nothing. */
	ck_ok(mvcc_txn_put(t, S("e"), S("5"), NULL));
	ck_ok(mvcc_txn_move(t, S("gone"), S("there")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_NOT_FOUND);
	ck_assert_str_eq(engine_keys(), "A b c d ");
	mvcc_txn_free(t);
}
END_TEST

START_TEST(operands_are_merged_by_the_operator_of_the_store)
{
	struct cairn_options *o = small_options(f.env);
	struct cairn_db *db;
	struct mvcc_txn *t;

	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_merge(t, S("a"), S("1")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_ENOTSUP);
	mvcc_txn_free(t);
	ck_assert_str_eq(engine_keys(), "");
	ck_ok(mvcc_close(f.m));

	/* From now on OPTIONS names it. */
	ck_ok(cairn_options_set(o, "merge_operator", "stringappend"));
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
	ck_ok(open_plain_at(fault, &f.m));
	put(f.m, "a", "1");
	for (int i = 0; i < 2; i++) {
		ck_ok(mvcc_txn_new(f.m, &t));
		ck_ok(mvcc_txn_merge(t, S("a"), S("2")));
		ck_ok(mvcc_txn_merge(t, S("d/b"), S("3")));
		ck_ok(mvcc_txn_commit(t, false, NULL));
		mvcc_txn_free(t);
	}
	ck_value(f.m, "a", 0, "1,2,2");
	ck_value(f.m, "d/b", 0, "3,3");
	ck_assert_str_eq(engine_keys(), "a d/b ");

	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_merge(t, S("a"), S("2")));
	ck_ok(mvcc_txn_put(t, S("a"), S("2"), NULL));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	mvcc_txn_free(t);
}
END_TEST

START_TEST(the_empty_key_can_be_moved_and_exchanged)
{
	struct mvcc_txn *t;

	put(f.m, "", "1");
	put(f.m, "b", "2");
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_exchange(t, S("b"), S("")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	ck_value(f.m, "", 0, "2");
	ck_ok(mvcc_txn_move(t, S("b"), S("")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	ck_value(f.m, "", 0, "1");
	ck_assert_str_eq(engine_keys(), " ");
	ck_ok(mvcc_txn_put(t, S(""), S("x"), NULL));
	ck_ok(mvcc_txn_move(t, S("b"), S("")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	mvcc_txn_free(t);
}
END_TEST

START_TEST(what_needs_the_past_is_refused)
{
	const struct mvcc_attrs link = { .type = MVCC_SYMLINK };
	struct mvcc_changes *c;
	struct mvcc_history *h;
	struct mvcc_txn *t;

	put(f.m, "k", "v");
	ck_code(mvcc_history_new(f.m, S("k"), &h), CAIRN_EKIND);
	ck_code(mvcc_changes_new(f.m, 1, 9, &c), CAIRN_EKIND);
	ck_code(mvcc_forget(f.m, 1), CAIRN_EKIND);
	ck_code(mvcc_put(f.m, S("l"), S("k"), &link, NULL), CAIRN_EKIND);
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_code(mvcc_txn_expect(t, S("k"), 0), CAIRN_EKIND);
	mvcc_txn_free(t);
}
END_TEST

START_TEST(only_the_present_and_what_is_pinned_can_be_read)
{
	int64_t old, now;

	put(f.m, "k", "1");
	ck_ok(mvcc_pin_current(f.m, &old));
	put(f.m, "k", "2");
	put(f.m, "l", "3");
	now = mvcc_current(f.m);
	ck_value(f.m, "k", old, "1");
	ck_value(f.m, "l", old, NULL);
	ck_value(f.m, "k", now, "2");
	ck_assert_str_eq(list(old, ""), "[k]f");
	ck_assert_str_eq(list(0, ""), "[k]f [l]f");
	ck_code(mvcc_pin(f.m, old + 1), CAIRN_EFORGOTTEN);
	ck_code(mvcc_pin(f.m, now + 1), CAIRN_EFUTURE);
	ck_ok(mvcc_pin(f.m, old));
	mvcc_unpin(f.m, old);
	/* Compactions keep what is pinned. */
	ck_ok(cairn_flush(mvcc_db(f.m), true));
	ck_ok(cairn_compact_range(mvcc_db(f.m), none(), none(), NULL));
	ck_value(f.m, "k", old, "1");
	ck_code(mvcc_close(f.m), CAIRN_EBUSY);
	mvcc_unpin(f.m, old);
	ck_code(mvcc_pin(f.m, old), CAIRN_EFORGOTTEN);
}
END_TEST

START_TEST(rows_have_no_revision_and_the_time_that_is_known)
{
	const struct mvcc_attrs attrs = { .has_mtime = true,
					  .mtime_ns = 42,
					  .has_mode = true,
					  .mode = 0700 };
	struct mvcc_pinned_row r = { 0 };

	ck_ok(cairn_put(mvcc_db(f.m), NULL, S("old"), S("v")));
	ck_ok(mvcc_get(f.m, S("old"), 0, &r));
	ck_assert_int_eq(r.row.time_ns, 1234567890);
	ck_assert_int_eq(r.row.main, 0);
	mvcc_row_release(&r);
	ck_ok(mvcc_put(f.m, S("new"), S("v"), &attrs, NULL));
	ck_ok(mvcc_get(f.m, S("new"), 0, &r));
	ck_assert_int_eq(r.row.time_ns, 42);
	ck_assert(!r.row.attrs.has_mode && !r.row.attrs.has_mtime);
	mvcc_row_release(&r);
}
END_TEST

START_TEST(read_only_changes_nothing)
{
	const struct mvcc_attrs dir = { .type = MVCC_DIR };
	struct cairn_options *o;
	struct mvcc_options mo = { .plain = true };
	struct mvcc *m;
	uint64_t bytes;

	put(f.m, "k", "v");
	ck_ok(mvcc_close(f.m));
	bytes = env_fault_count(fault, ENV_FAULT_WRITES);
	o = small_options(fault);
	ck_ok(cairn_options_set(o, "read_only", "true"));
	mo.engine = o;
	ck_ok(mvcc_open("/db", &mo, &m));
	ck_value(m, "k", 0, "v");
	ck_code(mvcc_put(m, S("k"), S("w"), NULL, NULL), CAIRN_EROFS);
	ck_code(mvcc_put(m, S("d/"), none(), &dir, NULL), CAIRN_EROFS);
	ck_ok(mvcc_close(m));
	cairn_options_free(o);
	ck_assert_uint_eq(env_fault_count(fault, ENV_FAULT_WRITES), bytes);
	ck_ok(open_plain_at(fault, &f.m));
}
END_TEST

/* ------------------------------------------------------------ directories */

START_TEST(a_directory_without_keys_is_in_memory_only)
{
	struct buf text = { 0 };

	make_dir("d/");
	make_dir("d/e/");
	put(f.m, "f", "v");
	ck_assert_str_eq(engine_keys(), "f ");
	ck_assert_str_eq(list(0, ""), "[d]D [f]f");
	ck_assert_str_eq(list(0, "d/"), "[e]D");
	ck_assert_str_eq(lookup("", "d"), "[d]D");
	ck_assert_str_eq(lookup("d/", "e"), "[e]D");
	ck_code(mvcc_any(f.m, 0, S("d/e/"), none()), CAIRN_OK);
	ck_code(mvcc_any(f.m, 0, S("d/e/"), S("d/e/")), CAIRN_NOT_FOUND);
	scan_of(f.m, "", NULL, false, &text);
	ck_assert_str_eq((char *)text.data, "d/D= d/e/D= f=v ");
	scan_of(f.m, "", NULL, true, &text);
	ck_assert_str_eq((char *)text.data, "f=v d/e/D= d/D= ");
	del(f.m, "d/e/");
	ck_assert_str_eq(list(0, "d/"), "");
	ck_assert_str_eq(lookup("", "d"), "[d]D");
	reopen();
	ck_assert_str_eq(list(0, ""), "[f]f");
	buf_fini(&text);
}
END_TEST

START_TEST(a_key_below_takes_the_place_of_a_record)
{
	make_dir("d/");
	make_dir("d/e/");
	make_dir("x/");
	put(f.m, "d/e/k", "v");
	ck_assert_str_eq(list(0, ""), "[d]d [x]D");
	ck_assert_str_eq(list(0, "d/"), "[e]d");
	/* Nobody asked for it to be kept. */
	del(f.m, "d/e/k");
	ck_assert_str_eq(list(0, ""), "[x]D");
	/* The key "x/" is a file in x. */
	put(f.m, "x/", "v");
	ck_assert_str_eq(list(0, "x/"), "[]f");
	make_dir("x/");
	ck_assert_str_eq(list(0, "x/"), "[]f");
	ck_value(f.m, "x/", 0, "v");
}
END_TEST

START_TEST(records_are_moved_and_exchanged_like_keys)
{
	struct mvcc_txn *t;

	make_dir("a/");
	put(f.m, "k/", "v");
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_move(t, S("a/"), S("b/")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	ck_assert_str_eq(list(0, ""), "[b]D [k]d");
	ck_ok(mvcc_txn_exchange(t, S("b/"), S("k/")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	ck_assert_str_eq(list(0, ""), "[b]d [k]D");
	ck_value(f.m, "b/", 0, "v");
	ck_assert_str_eq(engine_keys(), "b/ ");
	ck_ok(mvcc_txn_move(t, S("k/"), S("file")));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	mvcc_txn_free(t);
}
END_TEST

START_TEST(a_pinned_listing_keeps_its_directories)
{
	int64_t rev;

	make_dir("a/");
	make_dir("b/");
	ck_ok(mvcc_pin_current(f.m, &rev));
	del(f.m, "a/");
	make_dir("c/");
	put(f.m, "b/k", "v");
	for (int i = 0; i < 50; i++) {
		make_dir("a/");
		del(f.m, "a/");
	}
	ck_assert_str_eq(list(rev, ""), "[a]D [b]D");
	ck_assert_str_eq(list(0, ""), "[b]d [c]D");
	mvcc_unpin(f.m, rev);
}
END_TEST

START_TEST(a_failed_commit_leaves_the_directories_as_they_were)
{
	const struct env_fault_rule rule = { .ops = ENV_FAULT_APPEND |
						    ENV_FAULT_SYNC,
					     .nth = 1,
					     .sticky = true,
					     .code = CAIRN_EIO };
	const struct mvcc_attrs dir = { .type = MVCC_DIR };
	struct mvcc_txn *t;

	put(f.m, "a/k", "v");
	make_dir("b/");
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_delete(t, S("a/k")));
	ck_ok(mvcc_txn_put(t, S("a/"), none(), &dir));
	ck_ok(mvcc_txn_put(t, S("b/k"), S("v"), NULL));
	env_fault_set(fault, &rule);
	ck_assert_int_lt(mvcc_txn_commit(t, false, NULL), 0);
	env_fault_set(fault, NULL);
	mvcc_txn_free(t);
	ck_assert_str_eq(list(0, ""), "[a]d [b]D");
	ck_value(f.m, "a/k", 0, "v");
	ck_ok(cairn_resume(mvcc_db(f.m)));
}
END_TEST

START_TEST(there_are_only_so_many_directories_without_keys)
{
	struct plain_dirs d = { 0 };
	char key[32];

	for (unsigned i = 0; i < PLAIN_DIRS_MAX; i++) {
		snprintf(key, sizeof(key), "%05u/", i);
		ck_ok(plain_dirs_add(&d, S(key), 0));
	}
	ck_code(plain_dirs_add(&d, S("more/"), 0), CAIRN_ENOSPC);
	ck_ok(plain_dirs_add(&d, S("00007/"), 0));
	plain_dirs_end(&d, S("00007/"), UINT64_MAX);
	ck_ok(plain_dirs_add(&d, S("more/"), 0));
	for (unsigned i = 0; i < PLAIN_DIRS_MAX; i++) {
		snprintf(key, sizeof(key), "%05u/", i);
		plain_dirs_end(&d, S(key), UINT64_MAX);
	}
	ck_assert_uint_lt(d.n, 64);
	ck_assert_ptr_nonnull(plain_dirs_find(&d, S("more/"), d.seq));
	plain_dirs_fini(&d);
}
END_TEST

/* ------------------------------------------------- both kinds are one view */

/* A short string of few letters, so that names meet. */
static void random_key(struct rng *r, char *key)
{
	static const char letters[] = "ab/!0";
	size_t len = 1 + rng_below(r, 7);

	for (size_t i = 0; i < len; i++)
		key[i] = letters[rng_below(r, 5)];
	key[len] = '\0';
}

static void compare(struct mvcc *m, const char *dir, struct rng *r)
{
	struct buf a = { 0 }, b = { 0 };
	char start[16] = "";

	if (rng_below(r, 2))
		random_key(r, start);
	list_of(m, 0, dir, start, &a);
	list_of(f.m, 0, dir, start, &b);
	ck_assert_msg(!strcmp((char *)a.data, (char *)b.data),
		      "list of '%s' from '%s': %s, not %s", dir, start, b.data,
		      a.data);
	for (int back = 0; back < 2; back++) {
		char to[16];

		random_key(r, to);
		scan_of(m, start, back ? to : NULL, back, &a);
		scan_of(f.m, start, back ? to : NULL, back, &b);
		ck_assert_str_eq((char *)a.data, (char *)b.data);
	}
	buf_fini(&a);
	buf_fini(&b);
}

/* A step on both; directories the way the mount makes and keeps them. */
static void random_step(struct mvcc *m, struct rng *r)
{
	char key[16];

	random_key(r, key);
	if (rng_below(r, 3)) {
		put(m, key, key);
		put(f.m, key, key);
	} else {
		del(m, key);
		del(f.m, key);
	}
}

START_TEST(a_plain_store_lists_as_a_revision_store_with_its_keys_does)
{
	uint64_t seed = (uint64_t)_i + 1;
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct mvcc *m;
	struct rng r;
	char dir[24];

	rng_init(&r, seed);
	ck_ok(store_open_at(env, &m));
	for (int i = 0; i < 150; i++) {
		random_step(m, &r);
		random_key(&r, dir);
		strcat(dir, "/");
		compare(m, i % 3 ? "" : dir, &r);
		if (i % 40 == 39)
			ck_ok(cairn_flush(mvcc_db(f.m), true));
	}
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

static struct mvcc_attrs dir_attrs = { .type = MVCC_DIR };

START_TEST(directories_in_memory_list_as_records_do)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct mvcc *m;
	struct rng r;
	char key[24];

	rng_init(&r, (uint64_t)_i + 1000);
	ck_ok(store_open_at(env, &m));
	for (int i = 0; i < 40; i++) {
		random_key(&r, key);
		if (key[strlen(key) - 1] == '/')
			strcat(key, "a");
		put(m, key, key);
		put(f.m, key, key);
	}
	/* A record goes when a key comes below, so there are none of these. */
	for (int i = 0; i < 60; i++) {
		random_key(&r, key);
		strcat(key, "/");
		if (mvcc_any(m, 0, S(key), none()) != CAIRN_NOT_FOUND)
			continue;
		ck_ok(mvcc_put(m, S(key), none(), &dir_attrs, NULL));
		make_dir(key);
		compare(m, "", &r);
	}
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

/* ---------------------------------------------------------------- threads */

static atomic_bool stop;

static void *swap_key_and_record(void *arg)
{
	struct mvcc *m = arg;

	for (int i = 0; i < 400; i++) {
		struct mvcc_txn *t;

		ck_ok(mvcc_txn_new(m, &t));
		ck_ok(mvcc_txn_delete(t, S("d/k")));
		ck_ok(mvcc_txn_put(t, S("d/"), none(), &dir_attrs));
		ck_ok(mvcc_txn_commit(t, false, NULL));
		ck_ok(mvcc_txn_put(t, S("d/k"), S("v"), NULL));
		ck_ok(mvcc_txn_commit(t, false, NULL));
		mvcc_txn_free(t);
	}
	atomic_store(&stop, true);
	return NULL;
}

START_TEST(a_directory_is_never_missing_between_its_last_key_and_its_record)
{
	pthread_t t;

	put(f.m, "d/k", "v");
	atomic_store(&stop, false);
	ck_assert_int_eq(pthread_create(&t, NULL, swap_key_and_record, f.m), 0);
	do {
		ck_assert_str_ne(lookup("", "d"), "");
		ck_code(mvcc_any(f.m, 0, S("d/"), none()), CAIRN_OK);
	} while (!atomic_load(&stop));
	pthread_join(t, NULL);
}
END_TEST

static int make_table(const char *path, const char *key, const char *value)
{
	struct cairn_options *o = small_options(f.env);
	struct cairn_sst_writer *w;

	ck_ok(cairn_sst_writer_open(path, o, &w));
	ck_ok(cairn_sst_writer_put(w, S(key), S(value)));
	ck_ok(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	cairn_options_free(o);
	return CAIRN_OK;
}

static void count_all(void *ctx, int64_t rev, const void *origin,
		      const struct mvcc_change *changes, size_t n)
{
	(void)rev;
	(void)origin;
	ck_assert_ptr_null(changes);
	ck_assert_uint_eq(n, 0);
	++*(unsigned *)ctx;
}

START_TEST(ingesting_is_a_commit_that_may_have_changed_everything)
{
	const char *path = "/table";
	struct mvcc_pinned_row r = { 0 };
	unsigned heard = 0;
	const struct mvcc_listener l = { &heard, count_all };
	int64_t rev, pinned;

	ck_ok(mvcc_put(f.m, S("a"), S("old"), NULL, &rev));
	ck_ok(make_table(path, "a", "new"));
	ck_ok(mvcc_pin_current(f.m, &pinned));
	mvcc_set_listener(f.m, &l);
	ck_code(mvcc_ingest(f.m, &path, 0, NULL), CAIRN_EINVAL);
	ck_assert_uint_eq(heard, 0);
	ck_ok(mvcc_ingest(f.m, &path, 1, NULL));
	ck_assert_uint_eq(heard, 1);
	mvcc_set_listener(f.m, NULL);
	ck_assert_int_eq(mvcc_current(f.m), rev + 1);

	ck_ok(mvcc_get(f.m, S("a"), 0, &r));
	ck_assert(slice_eq(r.row.value, S("new")));
	ck_assert_int_gt(r.row.time_ns, 1234567890);
	mvcc_row_release(&r);
	ck_ok(mvcc_get(f.m, S("a"), pinned, &r));
	ck_assert(slice_eq(r.row.value, S("old")));
	mvcc_row_release(&r);
	mvcc_unpin(f.m, pinned);
	reopen();
	ck_ok(mvcc_get(f.m, S("a"), 0, &r));
	ck_assert(slice_eq(r.row.value, S("new")));
	mvcc_row_release(&r);
}
END_TEST

START_TEST(a_revision_store_takes_no_tables)
{
	struct cairn_options *o = small_options(f.env);
	struct mvcc_options mo = { .engine = o };
	const char *path = "/table";
	struct mvcc *m;

	ck_ok(make_table(path, "a", "1"));
	ck_ok(mvcc_open("/revisions", &mo, &m));
	ck_code(mvcc_ingest(m, &path, 1, NULL), CAIRN_EKIND);
	ck_ok(mvcc_close(m));
	cairn_options_free(o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plain");
	TCase *tc = tcase_create("plain stores");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, keys_are_those_of_the_engine);
	tcase_add_test(tc,
		       a_store_that_is_not_wanted_plain_is_refused_untouched);
	tcase_add_test(
		tc, a_revision_store_is_none_even_where_plain_ones_are_welcome);
	tcase_add_test(tc, tables_of_a_plain_store_have_no_marks_of_revisions);
	tcase_add_test(tc, keys_and_values_have_the_limits_of_the_engine);
	tcase_add_test(tc, a_value_being_written_is_committed_as_one_entry);
	tcase_add_test(tc, a_transaction_is_one_batch);
	tcase_add_test(tc, operands_are_merged_by_the_operator_of_the_store);
	tcase_add_test(tc, the_empty_key_can_be_moved_and_exchanged);
	tcase_add_test(tc, what_needs_the_past_is_refused);
	tcase_add_test(tc, only_the_present_and_what_is_pinned_can_be_read);
	tcase_add_test(tc, rows_have_no_revision_and_the_time_that_is_known);
	tcase_add_test(tc, read_only_changes_nothing);
	tcase_add_test(tc,
		       ingesting_is_a_commit_that_may_have_changed_everything);
	tcase_add_test(tc, a_revision_store_takes_no_tables);
	tcase_add_test(tc, a_directory_without_keys_is_in_memory_only);
	tcase_add_test(tc, a_key_below_takes_the_place_of_a_record);
	tcase_add_test(tc, records_are_moved_and_exchanged_like_keys);
	tcase_add_test(tc, a_pinned_listing_keeps_its_directories);
	tcase_add_test(tc, a_failed_commit_leaves_the_directories_as_they_were);
	tcase_add_test(tc, there_are_only_so_many_directories_without_keys);
	tcase_add_loop_test(
		tc, a_plain_store_lists_as_a_revision_store_with_its_keys_does,
		0, 20);
	tcase_add_loop_test(tc, directories_in_memory_list_as_records_do, 0,
			    10);
	tcase_add_test(
		tc,
		a_directory_is_never_missing_between_its_last_key_and_its_record);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
