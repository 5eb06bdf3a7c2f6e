/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/options.h"

#include <stdlib.h>

#include "tests/support/runner.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *name;
	const char *value;
	int want;
	const char *message; /* part of it, when it fails */
} cases[] = {
	{ "create_if_missing", "true", CAIRN_OK, NULL },
	{ "create_if_missing", "false", CAIRN_OK, NULL },
	{ "create_if_missing", "yes", CAIRN_EINVAL, "neither true nor false" },
	{ "create_if_missing", "", CAIRN_EINVAL, "neither true nor false" },
	{ "write_buffer_size", "65536", CAIRN_OK, NULL },
	{ "write_buffer_size", "64K", CAIRN_OK, NULL },
	{ "write_buffer_size", "1G", CAIRN_OK, NULL },
	{ "write_buffer_size", "3G", CAIRN_EINVAL, "2147483648" },
	{ "write_buffer_size", "0", CAIRN_EINVAL, "no size" },
	{ "write_buffer_size", "64k", CAIRN_EINVAL, "no size" },
	{ "write_buffer_size", "64KB", CAIRN_EINVAL, "no size" },
	{ "write_buffer_size", "-1", CAIRN_EINVAL, "no size" },
	{ "write_buffer_size", "", CAIRN_EINVAL, "no size" },
	{ "write_buffer_size", "K", CAIRN_EINVAL, "no size" },
	{ "write_buffer_size", "18446744073709551616", CAIRN_EINVAL, "no" },
	{ "block_cache_size", "16777216T", CAIRN_EINVAL, "no size" },
	{ "block_cache_size", "0", CAIRN_OK, NULL },
	{ "block_cache_size", "1T", CAIRN_OK, NULL },
	{ "max_write_buffers", "2", CAIRN_OK, NULL },
	{ "max_write_buffers", "1", CAIRN_EINVAL, "from 2 to 1000" },
	{ "max_write_buffers", "2K", CAIRN_EINVAL, "no number" },
	{ "max_write_buffers", "4294967298", CAIRN_EINVAL, "no number" },
	{ "bloom_bits_per_key", "10", CAIRN_OK, NULL },
	{ "bloom_bits_per_key", "0", CAIRN_OK, NULL },
	{ "bloom_bits_per_key", "9.5", CAIRN_OK, NULL },
	{ "bloom_bits_per_key", "nan", CAIRN_EINVAL, "no number" },
	{ "bloom_bits_per_key", "1e1", CAIRN_EINVAL, "no number" },
	{ "bloom_bits_per_key", "1.2.3", CAIRN_EINVAL, "no number" },
	{ "bloom_bits_per_key", "101", CAIRN_EINVAL, "no number" },
	{ "compression", "none", CAIRN_OK, NULL },
	{ "compression", "snappy", CAIRN_OK, NULL },
	{ "compression", "zstd", CAIRN_OK, NULL },
	{ "compression", "default", CAIRN_OK, NULL },
	{ "compression", "lz4", CAIRN_EINVAL, "none, snappy, zstd" },
	{ "zstd_level", "1", CAIRN_OK, NULL },
	{ "zstd_level", "23", CAIRN_EINVAL, "from 1 to 22" },
	{ "level_multiplier", "10", CAIRN_OK, NULL },
	{ "write_bufer_size", "1M", CAIRN_EINVAL, "write_buffer_size?" },
	{ "l0_stpo", "1", CAIRN_EINVAL, "l0_stop?" },
	{ "colour", "blue", CAIRN_EINVAL, "unknown option" },
	{ "", "", CAIRN_EINVAL, "unknown option" },
};

START_TEST(a_value_is_taken_or_refused_with_a_reason)
{
	struct cairn_options *o = cairn_options_new();
	int err = cairn_options_set(o, cases[_i].name, cases[_i].value);

	ck_assert_msg(err == cases[_i].want, "%s = \"%s\": %d", cases[_i].name,
		      cases[_i].value, err);
	if (cases[_i].message)
		ck_assert_msg(strstr(cairn_errmsg(), cases[_i].message),
			      "%s = \"%s\": %s", cases[_i].name,
			      cases[_i].value, cairn_errmsg());
	cairn_options_free(o);
}
END_TEST

START_TEST(a_refused_value_leaves_the_old_one)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_int_eq(cairn_options_set(o, "block_size", "8K"), CAIRN_OK);
	ck_assert_int_ne(cairn_options_set(o, "block_size", "8X"), CAIRN_OK);
	ck_assert_uint_eq(o->block_size, 8192);
	cairn_options_free(o);
}
END_TEST

/* Each takes another value than the default, so a wrong offset shows. */
static const struct {
	const char *name;
	const char *value;
} names[] = {
	{ "create_if_missing", "true" },
	{ "error_if_exists", "true" },
	{ "read_only", "true" },
	{ "paranoid_checks", "true" },
	{ "write_buffer_size", "1M" },
	{ "max_write_buffers", "5" },
	{ "block_cache_size", "1M" },
	{ "max_open_files", "77" },
	{ "block_size", "1K" },
	{ "block_restart_interval", "3" },
	{ "bloom_bits_per_key", "3" },
	{ "base_level_size", "1M" },
	{ "level_multiplier", "3" },
	{ "target_file_size", "1M" },
	{ "l0_compaction_trigger", "3" },
	{ "l0_slowdown", "3" },
	{ "l0_stop", "33" },
	{ "compression", "none" },
	{ "zstd_level", "3" },
	{ "max_background_jobs", "3" },
	{ "auto_compactions", "false" },
	{ "bytes_per_sync", "1M" },
	{ "max_manifest_size", "1M" },
	{ "upgrade", "true" },
	{ "point_in_time_recovery", "true" },
	{ "disable_wal", "true" },
	{ "memory_budget", "1M" },
	{ "auto_resume", "false" },
	{ "flush_rate", "1M" },
	{ "compaction_rate", "1M" },
	{ "debt_slowdown", "1M" },
	{ "debt_stop", "1M" },
	{ "quota", "1M" },
	{ "disk_reserve", "1M" },
	{ "delete_rate", "1M" },
	{ "merge_operator", "uint64add" },
};

START_TEST(every_documented_option_changes_something_of_its_own)
{
	struct cairn_options before, after;

	for (size_t i = 0; i < N(names); i++) {
		struct cairn_options *o = cairn_options_new();

		options_init(&before);
		ck_assert_int_eq(memcmp(o, &before, sizeof(before)), 0);
		ck_assert_msg(cairn_options_set(o, names[i].name,
						names[i].value) == CAIRN_OK,
			      "%s", cairn_errmsg());
		after = *o;
		ck_assert_msg(memcmp(&after, &before, sizeof(before)) != 0,
			      "%s changed nothing", names[i].name);
		cairn_options_free(o);
	}
}
END_TEST

START_TEST(booleans_can_be_read_back)
{
	struct cairn_options *o = cairn_options_new();
	bool v = true;

	ck_assert_int_eq(cairn_options_get_bool(o, "read_only", &v), CAIRN_OK);
	ck_assert(!v);
	ck_assert_int_eq(cairn_options_set(o, "read_only", "true"), CAIRN_OK);
	ck_assert_int_eq(cairn_options_get_bool(o, "read_only", &v), CAIRN_OK);
	ck_assert(v);
	ck_assert_int_eq(cairn_options_get_bool(o, "block_size", &v),
			 CAIRN_EINVAL);
	ck_assert_int_eq(cairn_options_get_bool(o, "nonsense", &v),
			 CAIRN_EINVAL);
	cairn_options_free(o);
}
END_TEST

START_TEST(a_clone_has_what_the_original_owns)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_options *c;

	ck_assert_int_eq(cairn_options_set_lock_note(o, "one"), CAIRN_OK);
	ck_assert_int_eq(cairn_options_set_lock_note(o, "mount /x"), CAIRN_OK);
	ck_assert_int_eq(cairn_options_set(o, "block_size", "2K"), CAIRN_OK);
	c = cairn_options_clone(o);
	cairn_options_free(o);
	ck_assert_str_eq(c->lock_note, "mount /x");
	ck_assert_uint_eq(c->block_size, 2048);
	ck_assert_int_eq(cairn_options_set_lock_note(c, NULL), CAIRN_OK);
	ck_assert_ptr_null(c->lock_note);
	cairn_options_free(c);
	cairn_options_free(NULL);
}
END_TEST

START_TEST(compression_sets_all_levels)
{
	struct cairn_options *o = cairn_options_new();
	struct table_write_options w;

	for (int l = 0; l < CAIRN_LEVELS; l++) {
		options_table_write(o, l, &w);
		ck_assert_int_eq(w.codec,
				 l < 5 ? TABLE_CODEC_SNAPPY : TABLE_CODEC_ZSTD);
	}
	ck_assert_int_eq(cairn_options_set(o, "compression", "zstd"), CAIRN_OK);
	options_table_write(o, 0, &w);
	ck_assert_int_eq(w.codec, TABLE_CODEC_ZSTD);
	cairn_options_free(o);
}
END_TEST

START_TEST(a_trigger_that_is_never_reached_is_refused)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_int_eq(options_check(o), CAIRN_OK);
	ck_assert_int_eq(cairn_options_set(o, "l0_compaction_trigger", "17"),
			 CAIRN_OK);
	ck_assert_int_eq(options_check(o), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "l0_stop (16)"));
	ck_assert_int_eq(cairn_options_set(o, "auto_compactions", "false"),
			 CAIRN_OK);
	ck_assert_int_eq(options_check(o), CAIRN_OK);
	cairn_options_free(o);
}
END_TEST

START_TEST(writers_are_slowed_before_they_are_stopped)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_int_eq(cairn_options_set(o, "debt_slowdown", "2G"), CAIRN_OK);
	ck_assert_int_eq(cairn_options_set(o, "debt_stop", "1G"), CAIRN_OK);
	ck_assert_int_eq(options_check(o), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(),
				     "debt_slowdown (2147483648) is above "
				     "debt_stop (1073741824)"));
	ck_assert_int_eq(cairn_options_set(o, "debt_stop", "2G"), CAIRN_OK);
	ck_assert_int_eq(options_check(o), CAIRN_OK);
	cairn_options_free(o);
}
END_TEST

/* What OPTIONS could not be read again with. */
static const struct {
	const char *name;
	const char *message; /* NULL: it is taken */
} merge_names[] = {
	{ "counter", NULL },
	{ "my.merge-operator_2:v1", NULL },
	{ "", "without a name" },
	{ "two words", "\"two words\": a name has letters" },
	{ "line\n", "a name has letters" },
	{ "a=b", "a name has letters" },
	{ "a#b", "a name has letters" },
	{ "\303\251", "a name has letters" },
};

START_TEST(the_name_of_a_merge_operator_can_be_written_down)
{
	const struct cairn_merge_operator op = {
		.name = merge_names[_i].name,
	};
	struct cairn_options *o = cairn_options_new();
	int err;

	cairn_options_set_merge_operator(o, &op);
	err = options_check(o);
	if (merge_names[_i].message) {
		ck_assert_int_eq(err, CAIRN_EINVAL);
		ck_assert_msg(strstr(cairn_errmsg(), merge_names[_i].message),
			      "%s", cairn_errmsg());
	} else {
		ck_assert_int_eq(err, CAIRN_OK);
	}
	cairn_options_free(o);
}
END_TEST

START_TEST(a_merge_operator_is_known_by_name_or_refused)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_int_eq(cairn_options_set(o, "merge_operator", "uint64add"),
			 CAIRN_OK);
	ck_assert_str_eq(o->merge->name, "UInt64AddOperator");
	ck_assert_int_eq(cairn_options_set(o, "merge_operator", "uint64sub"),
			 CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "\"uint64sub\""));
	ck_assert_str_eq(o->merge->name, "UInt64AddOperator");
	ck_assert_int_eq(cairn_options_set(o, "merge_operator", "default"),
			 CAIRN_OK);
	ck_assert_ptr_null(o->merge);
	cairn_options_free(o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");
	TCase *tc = tcase_create("set");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_value_is_taken_or_refused_with_a_reason, 0,
			    (int)N(cases));
	tcase_add_test(tc, a_refused_value_leaves_the_old_one);
	tcase_add_test(tc,
		       every_documented_option_changes_something_of_its_own);
	tcase_add_test(tc, booleans_can_be_read_back);
	tcase_add_test(tc, a_clone_has_what_the_original_owns);
	tcase_add_test(tc, compression_sets_all_levels);
	tcase_add_test(tc, a_trigger_that_is_never_reached_is_refused);
	tcase_add_test(tc, writers_are_slowed_before_they_are_stopped);
	tcase_add_loop_test(tc,
			    the_name_of_a_merge_operator_can_be_written_down, 0,
			    (int)N(merge_names));
	tcase_add_test(tc, a_merge_operator_is_known_by_name_or_refused);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
