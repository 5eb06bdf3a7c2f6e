/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables made outside of a database. */
#include "engine/db/db.h"
#include "engine/table/table.h"
#include "tests/engine/db/ingest_support.h"

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
	CK_CODE(cairn_sst_writer_delete_range(
			w, slice_str("d"),
			slice_of(long_key, CAIRN_KEY_MAX + 1)),
		CAIRN_EINVAL);
	expect_message(EXT "/a.sst: a range from a key of 1 to one of ");
	CK_CODE(cairn_sst_writer_delete_range(
			w, slice_of(long_key, CAIRN_KEY_MAX + 1),
			slice_str("y")),
		CAIRN_EINVAL);
	CK_CODE(cairn_sst_writer_delete_range(w, slice_str("e"),
					      slice_str("d")),
		CAIRN_EINVAL);
	expect_message(EXT "/a.sst: a range that ends before it begins");
	CK_OK(cairn_sst_writer_put(w, slice_str("c"), slice_str("4")));
	CK_OK(cairn_sst_writer_finish(w, NULL));
	CK_CODE(cairn_sst_writer_put(w, slice_str("d"), slice_str("5")),
		CAIRN_EINVAL);
	expect_message(EXT "/a.sst: finished, or failed earlier");
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

static Suite *suite(void)
{
	Suite *s = suite_create("sst_writer");
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
	return s;
}

int main(void)
{
	return run_suite(suite());
}
