/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of a database: complete or not there, and of one moment. */
#include <pthread.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/db/db.h"
#include "tests/support/db_test.h"
#include "tests/support/gate_env.h"

#define COPY "/backup/copy"

static void expect_message(const char *part)
{
	ck_assert_msg(strstr(cairn_errmsg(), part), "\"%s\" is not in: %s",
		      part, cairn_errmsg());
}

static size_t count_names(struct cairn_env *e, const char *dir)
{
	struct env_names names;
	size_t n;

	CK_OK(env_list(e, dir, &names));
	n = names.n;
	env_names_free(&names);
	return n;
}

static void contents(struct cairn_db *db, struct buf *out)
{
	struct cairn_iter *it;

	buf_clear(out);
	CK_OK(cairn_iter_new(db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		struct cairn_slice k = cairn_iter_key(it);
		struct cairn_slice v = cairn_iter_value(it);
		struct cairn_pinned p = { 0 };

		CK_OK(buf_printf(out, "%.*s=%.*s ", (int)k.len,
				 (const char *)k.data, (int)v.len,
				 (const char *)v.data));
		CK_OK(cairn_get(db, NULL, k, &p));
		ck_assert(slice_eq(p.value, v));
		cairn_pinned_release(&p);
	}
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
}

/* What a database says, opened strictly and for writing. */
static void contents_of(struct cairn_env *e, const char *dir, struct buf *out)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;

	cairn_options_set_env(o, e);
	CK_OK(cairn_options_set(o, "paranoid_checks", "true"));
	CK_OK(cairn_open(dir, o, &db));
	contents(db, out);
	CK_OK(cairn_put(db, NULL, slice_str("written"), slice_str("later")));
	CK_OK(cairn_close(db));
	cairn_options_free(o);
}

static void expect_copy(struct cairn_env *e, const char *want)
{
	struct buf got = { 0 };

	contents_of(e, COPY, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "%.*s, not %s", (int)got.len, (const char *)got.data,
		      want);
	buf_fini(&got);
}

static void expect(struct test_db *t, const char *want)
{
	struct buf got = { 0 };

	contents(t->db, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "%.*s, not %s", (int)got.len, (const char *)got.data,
		      want);
	buf_fini(&got);
}

static void begin(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "auto_compactions", "false");
	CK_OK(env_mkdir(t->mem, "/backup"));
	CK_OK(env_sync_dir(t->mem, "/"));
	tdb_open(t);
}

/* A table in the last level, one in level 0, something in memory. */
static void fill(struct test_db *t)
{
	const struct cairn_slice all = { 0 };

	tdb_put(t, "a", "1");
	tdb_put(t, "b", "2");
	CK_OK(cairn_compact_range(t->db, all, all, NULL));
	tdb_put(t, "c", "3");
	CK_OK(cairn_flush(t->db, true));
	tdb_put(t, "d", "4");
	tdb_delete(t, "a");
}

#define FILLED "b=2 c=3 d=4 "

START_TEST(a_checkpoint_is_a_database_of_its_own)
{
	struct test_db t;

	begin(&t);
	fill(&t);
	CK_OK(cairn_checkpoint(t.db, COPY));
	ck_assert_uint_eq(count_names(t.mem, "/backup"), 1);
	tdb_put(&t, "e", "5");
	expect(&t, FILLED "e=5 ");
	expect_copy(t.mem, FILLED);
	expect_copy(t.mem, FILLED "written=later ");
	expect(&t, FILLED "e=5 ");
	tdb_reopen(&t);
	expect(&t, FILLED "e=5 ");
	tdb_fini(&t);
}
END_TEST

START_TEST(the_copy_of_an_empty_database_is_an_empty_database)
{
	struct test_db t;

	begin(&t);
	CK_OK(cairn_checkpoint(t.db, COPY "///"));
	expect_copy(t.mem, "");
	expect_copy(t.mem, "written=later ");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_copy_has_another_identity_and_no_other_files)
{
	static const char *const wanted[] = { "CURRENT",      "IDENTITY",
					      "OPTIONS",      "MANIFEST",
					      ".log",         ".sst",
					      "CAIRN-OPTIONS" };
	struct buf ours = { 0 }, copys = { 0 };
	struct env_names names;
	struct test_db t;
	struct wfile *w;

	begin(&t);
	fill(&t);
	CK_OK(env_open_write(t.mem, TEST_DIR "/CAIRN-OPTIONS", &w));
	CK_OK(wfile_close(w));
	CK_OK(env_mkdir(t.mem, TEST_DIR "/lost"));
	CK_OK(cairn_checkpoint(t.db, COPY));
	CK_OK(env_list(t.mem, COPY, &names));
	for (size_t i = 0; i < names.n; i++) {
		bool known = false;

		for (size_t k = 0; k < 7; k++)
			known = known || strstr(names.names[i], wanted[k]);
		ck_assert_msg(known, "%s", names.names[i]);
	}
	/* Three tables, and one of each else. */
	ck_assert_uint_eq(names.n, 6 + 3);
	env_names_free(&names);
	CK_OK(env_read_file(t.mem, TEST_DIR "/IDENTITY", 100, &ours));
	CK_OK(env_read_file(t.mem, COPY "/IDENTITY", 100, &copys));
	ck_assert(!slice_eq(buf_slice(&ours), buf_slice(&copys)));
	buf_fini(&ours);
	buf_fini(&copys);
	tdb_fini(&t);
}
END_TEST

/* Change a byte of the only table of dir. */
static void damage_table(struct cairn_env *e, const char *dir)
{
	struct env_names names;
	unsigned n = 0;

	CK_OK(env_list(e, dir, &names));
	for (size_t i = 0; i < names.n; i++) {
		char path[300];

		if (!strstr(names.names[i], ".sst"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, names.names[i]);
		CK_OK(env_mem_damage(e, path, 5, 0xff));
		n++;
	}
	env_names_free(&names);
	ck_assert_uint_eq(n, 1);
}

START_TEST(tables_are_links_where_there_are_links_and_else_copies)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;
	struct test_db t;

	begin(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_checkpoint(t.db, COPY));
	tdb_fail(&t, ENV_FAULT_LINK, NULL, 1, true, CAIRN_EIO);
	CK_OK(cairn_checkpoint(t.db, "/backup/other"));
	env_fault_set(t.env, NULL);
	damage_table(t.mem, TEST_DIR);
	cairn_options_set_env(o, t.mem);
	CK_OK(cairn_open(COPY, o, &db));
	CK_CODE(cairn_verify_checksums(db), CAIRN_ECORRUPT);
	CK_OK(cairn_close(db));
	CK_OK(cairn_open("/backup/other", o, &db));
	CK_OK(cairn_verify_checksums(db));
	CK_OK(cairn_close(db));
	cairn_options_free(o);
	tdb_fini(&t);
}
END_TEST

START_TEST(what_exists_is_refused_and_left_alone)
{
	struct test_db t;
	struct wfile *w;

	begin(&t);
	fill(&t);
	CK_OK(env_mkdir(t.mem, COPY));
	CK_CODE(cairn_checkpoint(t.db, COPY), CAIRN_EEXIST);
	expect_message(COPY);
	CK_CODE(cairn_checkpoint(t.db, COPY "/"), CAIRN_EEXIST);
	CK_CODE(cairn_checkpoint(t.db, TEST_DIR), CAIRN_EEXIST);
	CK_OK(env_open_write(t.mem, "/backup/file", &w));
	CK_OK(wfile_close(w));
	CK_CODE(cairn_checkpoint(t.db, "/backup/file"), CAIRN_EEXIST);
	CK_CODE(cairn_checkpoint(t.db, ""), CAIRN_EINVAL);
	ck_assert_int_lt(cairn_checkpoint(t.db, "/no/where"), 0);
	expect_message("/no/where");
	ck_assert_uint_eq(count_names(t.mem, "/backup"), 2);
	ck_assert_uint_eq(count_names(t.mem, COPY), 0);
	tdb_close(&t);
	tdb_set(&t, "create_if_missing", "false");
	tdb_set(&t, "read_only", "true");
	tdb_open(&t);
	CK_CODE(cairn_checkpoint(t.db, "/backup/new"), CAIRN_EROFS);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_checkpoint_keeps_what_the_database_drops)
{
	const struct cairn_slice all = { 0 };
	struct test_db t;

	begin(&t);
	fill(&t);
	CK_OK(cairn_checkpoint(t.db, COPY));
	tdb_delete(&t, "b");
	tdb_delete(&t, "c");
	CK_OK(cairn_compact_range(t.db, all, all, NULL));
	tdb_reopen(&t);
	expect(&t, "d=4 ");
	expect_copy(t.mem, FILLED);
	tdb_fini(&t);
}
END_TEST

START_TEST(ingested_tables_are_copied_with_their_numbers)
{
	const char *path = "/backup/table";
	struct cairn_sst_writer *w;
	struct test_db t;

	begin(&t);
	fill(&t);
	CK_OK(cairn_sst_writer_open(path, t.opts, &w));
	CK_OK(cairn_sst_writer_put(w, slice_str("b"), slice_str("9")));
	CK_OK(cairn_sst_writer_put(w, slice_str("d"), slice_str("9")));
	CK_OK(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	CK_OK(cairn_ingest(t.db, &path, 1, NULL));
	tdb_put(&t, "d", "10");
	CK_OK(cairn_checkpoint(t.db, COPY));
	expect_copy(t.mem, "b=9 c=3 d=10 ");
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------- failures, power cuts */

static const unsigned fault_ops[] = {
	ENV_FAULT_OPEN_READ, ENV_FAULT_READ,     ENV_FAULT_CREATE,
	ENV_FAULT_APPEND,    ENV_FAULT_SYNC,     ENV_FAULT_CLOSE,
	ENV_FAULT_RENAME,    ENV_FAULT_SYNC_DIR, ENV_FAULT_MKDIR,
	ENV_FAULT_STAT,      ENV_FAULT_LIST,     ENV_FAULT_LINK,
};

#define N_FAULT_OPS ((int)(sizeof(fault_ops) / sizeof(fault_ops[0])))

START_TEST(after_a_failing_operation_there_is_no_copy_and_nothing_of_one)
{
	uint64_t k = 0;
	bool hit = true;

	while (hit) {
		struct test_db t;
		int err;

		begin(&t);
		fill(&t);
		tdb_fail(&t, fault_ops[_i], NULL, ++k, false, CAIRN_EIO);
		err = cairn_checkpoint(t.db, COPY);
		hit = env_fault_hits(t.env) > 0;
		env_fault_set(t.env, NULL);
		if (err) {
			ck_assert_msg(count_names(t.mem, "/backup") == 0,
				      "k %u: %s", (unsigned)k, cairn_errmsg());
			CK_OK(cairn_resume(t.db));
			expect(&t, FILLED);
			CK_OK(cairn_checkpoint(t.db, COPY));
		}
		expect_copy(t.mem, FILLED);
		tdb_put(&t, "e", "5");
		tdb_reopen(&t);
		expect(&t, FILLED "e=5 ");
		tdb_fini(&t);
		ck_assert_uint_lt(k, 1000);
	}
}
END_TEST

START_TEST(after_a_power_cut_at_any_operation_the_copy_is_whole_or_absent)
{
	static const unsigned keep[] = { 0, 30, 70, 100 };
	unsigned n_there = 0, n_absent = 0;
	uint64_t k = 0;
	bool hit = true;

	while (hit) {
		struct test_db t;
		int err;

		begin(&t);
		fill(&t);
		tdb_fail(&t, ENV_FAULT_ALL, NULL, ++k, true, CAIRN_EIO);
		err = cairn_checkpoint(t.db, COPY);
		hit = env_fault_hits(t.env) > 0;
		for (unsigned i = 0; i < 4; i++) {
			struct cairn_env *e =
				env_mem_crash_clone(t.mem, k * 4 + i, keep[i]);
			struct env_stat st;

			ck_assert_ptr_nonnull(e);
			if (env_stat(e, COPY, &st) == CAIRN_OK) {
				n_there++;
				expect_copy(e, FILLED);
			} else {
				n_absent++;
				ck_assert_int_ne(err, CAIRN_OK);
			}
			env_mem_free(e);
		}
		env_fault_set(t.env, NULL);
		(void)!cairn_resume(t.db);
		expect(&t, FILLED);
		tdb_fini(&t);
		ck_assert_uint_lt(k, 1000);
	}
	ck_assert_uint_gt(n_absent, 20);
	ck_assert_uint_gt(n_there, 3);
}
END_TEST

/* ------------------------------------------------------------- concurrency */

#define N_COPIES 12

struct race {
	struct test_db t;
	_Atomic bool stop;
	_Atomic unsigned done; /* batches that were committed */
};

static void *race_writer(void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		unsigned n = r->done + 1;
		char value[300];

		/* Two keys, one batch after the other. */
		snprintf(value, sizeof(value), "%u%*s", n, (int)(n % 200), "");
		tdb_put(&r->t, n % 2 ? "odd" : "even", value);
		r->done = n;
	}
	return NULL;
}

static unsigned number_of(struct cairn_db *db, const char *key)
{
	struct cairn_pinned p = { 0 };
	char text[16];
	int err = cairn_get(db, NULL, slice_str(key), &p);

	if (err == CAIRN_NOT_FOUND)
		return 0;
	CK_OK(err);
	snprintf(text, sizeof(text), "%.*s",
		 (int)(p.value.len < 12 ? p.value.len : 12),
		 (const char *)p.value.data);
	cairn_pinned_release(&p);
	return (unsigned)strtoul(text, NULL, 10);
}

/* It has all that was committed before, and a prefix of the rest. */
START_TEST(a_copy_is_of_one_moment_while_others_write)
{
	struct race r = { .stop = false };
	pthread_t writer;

	begin(&r.t);
	tdb_close(&r.t);
	tdb_set(&r.t, "write_buffer_size", "16K");
	tdb_set(&r.t, "auto_compactions", "true");
	tdb_set(&r.t, "l0_compaction_trigger", "2");
	tdb_open(&r.t);
	ck_assert_int_eq(pthread_create(&writer, NULL, race_writer, &r), 0);
	while (r.done < 2)
		env_sleep_us(r.t.mem, 100);
	for (int i = 0; i < N_COPIES; i++) {
		struct cairn_options *o = cairn_options_new();
		char dir[64];
		struct cairn_db *db;
		unsigned before = r.done, after, odd, even;

		snprintf(dir, sizeof(dir), "/backup/%d", i);
		CK_OK(cairn_checkpoint(r.t.db, dir));
		after = r.done;
		cairn_options_set_env(o, r.t.mem);
		CK_OK(cairn_open(dir, o, &db));
		odd = number_of(db, "odd");
		even = number_of(db, "even");
		CK_OK(cairn_close(db));
		cairn_options_free(o);
		ck_assert_msg(odd + 1 == even || even + 1 == odd,
			      "copy %d: %u and %u", i, odd, even);
		ck_assert_uint_ge(odd > even ? odd : even, before);
		ck_assert_uint_le(odd > even ? odd : even, after + 1);
	}
	r.stop = true;
	pthread_join(writer, NULL);
	tdb_fini(&r.t);
}
END_TEST

/* Whoever links a table for the copy, before its logs, waits at the gate. */
static int gate_copied_table(struct cairn_env *e, const char *from,
			     const char *to)
{
	if (strstr(to, "/backup/"))
		gate_wait((struct gate_env *)e);
	return env_link(gate_below(e), from, to);
}

static void *make_copy(void *arg)
{
	CK_OK(cairn_checkpoint(arg, COPY));
	return NULL;
}

START_TEST(logs_that_become_obsolete_meanwhile_stay_for_the_copy)
{
	struct gate_env gate;
	struct test_db t;
	pthread_t copier;

	begin(&t);
	tdb_close(&t);
	gate_init(&gate, t.env, ".none");
	gate.ops.link = gate_copied_table;
	cairn_options_set_env(t.opts, &gate.base);
	tdb_open(&t);
	fill(&t);
	gate_set(&gate, false);
	ck_assert_int_eq(pthread_create(&copier, NULL, make_copy, t.db), 0);
	gate_await(&gate, 1);
	for (int i = 0; i < 3; i++) {
		tdb_put(&t, "e", "5");
		CK_OK(cairn_flush(t.db, true));
	}
	/* Were they deleted, it would be soon. */
	for (int i = 0; i < 100 && tdb_count_files(&t, ".log") > 1; i++)
		usleep(1000);
	gate_set(&gate, true);
	pthread_join(copier, NULL);
	expect_copy(t.mem, FILLED);
	tdb_reopen(&t);
	/* A thread of its own deletes what is left over. */
	for (int i = 0; i < 20000 && tdb_count_files(&t, ".log") > 1; i++)
		usleep(1000);
	ck_assert_uint_eq(tdb_count_files(&t, ".log"), 1);
	tdb_close(&t);
	gate_fini(&gate);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------------- sizes */

static uint64_t size_of(struct test_db *t, const char *from, const char *to)
{
	struct cairn_range r = {
		.from = from ? slice_str(from) : (struct cairn_slice){ 0 },
		.to = to ? slice_str(to) : (struct cairn_slice){ 0 },
	};
	uint64_t bytes = 99;

	CK_OK(cairn_approximate_sizes(t->db, &r, 1, &bytes));
	return bytes;
}

START_TEST(the_size_of_a_range_is_its_share_of_the_tables)
{
	const struct cairn_slice all = { 0 };
	struct cairn_metrics m;
	struct test_db t;
	uint64_t whole, half, third, sum = 0;

	begin(&t);
	tdb_close(&t);
	tdb_set(&t, "compression", "none");
	tdb_set(&t, "target_file_size", "64K");
	tdb_open(&t);
	ck_assert_uint_eq(size_of(&t, NULL, NULL), 0);
	for (int i = 0; i < 3000; i++) {
		char key[16], value[101];

		snprintf(key, sizeof(key), "key%04d", i);
		memset(value, 'a' + i % 26, 100);
		value[100] = '\0';
		tdb_put(&t, key, value);
	}
	CK_OK(cairn_flush(t.db, true));
	for (int round = 0; round < 2; round++) {
		cairn_metrics_get(t.db, &m);
		whole = size_of(&t, NULL, NULL);
		ck_assert_uint_eq(whole, m.live_table_bytes);
		half = size_of(&t, NULL, "key1500");
		ck_assert_uint_gt(half, whole * 45 / 100);
		ck_assert_uint_lt(half, whole * 52 / 100);
		third = size_of(&t, "key1000", "key2000");
		ck_assert_uint_gt(third, whole * 30 / 100);
		ck_assert_uint_lt(third, whole * 36 / 100);
		sum = size_of(&t, NULL, "key0700") +
		      size_of(&t, "key0700", "key2900") +
		      size_of(&t, "key2900", NULL);
		ck_assert_uint_eq(sum, whole);
		ck_assert_uint_lt(size_of(&t, "key0100", "key0101"), 9000);
		ck_assert_uint_eq(size_of(&t, "key2", "key1"), 0);
		ck_assert_uint_eq(size_of(&t, "key1", "key1"), 0);
		ck_assert_uint_eq(size_of(&t, NULL, "a"), 0);
		ck_assert_uint_eq(size_of(&t, "z", NULL), 0);
		CK_OK(cairn_compact_range(t.db, all, all, NULL));
	}
	tdb_fini(&t);
}
END_TEST

START_TEST(sizes_that_cannot_be_told_are_a_failure_and_left_alone)
{
	struct cairn_range r[2] = {
		{ .to = slice_str("b") },
		{ .from = slice_str("b") },
	};
	uint64_t bytes[2] = { 7, 8 };
	struct test_db t;

	begin(&t);
	fill(&t);
	tdb_close(&t);
	tdb_fail(&t, ENV_FAULT_OPEN_READ, ".sst", 1, true, CAIRN_EIO);
	tdb_open(&t);
	ck_assert_int_lt(cairn_approximate_sizes(t.db, r, 2, bytes), 0);
	env_fault_set(t.env, NULL);
	ck_assert_uint_eq(bytes[0], 7);
	ck_assert_uint_eq(bytes[1], 8);
	CK_OK(cairn_approximate_sizes(t.db, r, 0, NULL));
	CK_OK(cairn_approximate_sizes(t.db, r, 2, bytes));
	ck_assert_uint_gt(bytes[1], 0);
	tdb_fini(&t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("checkpoint");
	TCase *tc = tcase_create("checkpoint");

	tcase_add_test(tc, a_checkpoint_is_a_database_of_its_own);
	tcase_add_test(tc, the_copy_of_an_empty_database_is_an_empty_database);
	tcase_add_test(tc, a_copy_has_another_identity_and_no_other_files);
	tcase_add_test(tc,
		       tables_are_links_where_there_are_links_and_else_copies);
	tcase_add_test(tc, what_exists_is_refused_and_left_alone);
	tcase_add_test(tc, a_checkpoint_keeps_what_the_database_drops);
	tcase_add_test(tc, ingested_tables_are_copied_with_their_numbers);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_add_loop_test(
		tc,
		after_a_failing_operation_there_is_no_copy_and_nothing_of_one,
		0, N_FAULT_OPS);
	tcase_add_test(
		tc,
		after_a_power_cut_at_any_operation_the_copy_is_whole_or_absent);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);

	tc = tcase_create("concurrency");
	tcase_add_test(tc, a_copy_is_of_one_moment_while_others_write);
	tcase_add_test(tc,
		       logs_that_become_obsolete_meanwhile_stay_for_the_copy);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);

	tc = tcase_create("sizes");
	tcase_add_test(tc, the_size_of_a_range_is_its_share_of_the_tables);
	tcase_add_test(tc,
		       sizes_that_cannot_be_told_are_a_failure_and_left_alone);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
