/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/options_file.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "tests/support/runner.h"

#define DB     "[DBOptions]\n"
#define FAMILY "[CFOptions \"default\"]\n"

static const struct {
	const char *name;
	const char *text;
	int want;
	unsigned line; /* in the message; 0: none */
	/* When it is good; NULL: does not say. */
	const char *comparator;
	const char *merge_operator;
	const char *prefix_extractor;
	const char *wal_dir;
} cases[] = {
	{ "the least", DB FAMILY, CAIRN_OK, 0, NULL, NULL, NULL, NULL },
	{ "all that is wanted",
	  "[Version]\n  rocksdb_version=7.8.3\n\n" DB
	  "  wal_dir=/var/wal\n" FAMILY
	  "  comparator=leveldb.BytewiseComparator\n"
	  "  merge_operator={id=StringAppendOperator;delimiter=,;}\n"
	  "  prefix_extractor=rocksdb.FixedPrefix.4\n"
	  "[TableOptions/BlockBasedTable \"default\"]\n  block_size=4096\n",
	  CAIRN_OK, 0, "leveldb.BytewiseComparator",
	  "{id=StringAppendOperator;delimiter=,;}", "rocksdb.FixedPrefix.4",
	  "/var/wal" },
	{ "nothing of it",
	  DB "  wal_dir=\n" FAMILY
	     "merge_operator=nullptr\nprefix_extractor=nullptr\n",
	  CAIRN_OK, 0, NULL, NULL, NULL, NULL },
	{ "another family's settings are not ours",
	  DB FAMILY "[CFOptions \"alpha\"]\n  merge_operator=x\n", CAIRN_OK, 0,
	  NULL, NULL, NULL, NULL },
	{ "comments", "# one\n" DB "  # two\n" FAMILY "comparator=a # three\n",
	  CAIRN_OK, 0, "a", NULL, NULL, NULL },
	{ "escaped characters", DB "wal_dir=/a\\:b\\#c\\\\d\n" FAMILY, CAIRN_OK,
	  0, NULL, NULL, NULL, "/a:b#c\\d" },
	{ "the last of two", DB FAMILY "comparator=a\ncomparator=b\n", CAIRN_OK,
	  0, "b", NULL, NULL, NULL },
	{ "lines that end with CR", "[DBOptions]\r\n" FAMILY "comparator=a\r\n",
	  CAIRN_OK, 0, "a", NULL, NULL, NULL },
	{ "no newline at the end", DB FAMILY "comparator=a", CAIRN_OK, 0, "a",
	  NULL, NULL, NULL },
	{ "values with =", DB FAMILY "merge_operator={a=b;c=d}\n", CAIRN_OK, 0,
	  NULL, "{a=b;c=d}", NULL, NULL },
	{ "settings of the future", DB "new_thing=1\n" FAMILY "other=2\n",
	  CAIRN_OK, 0, NULL, NULL, NULL, NULL },
	{ "no default family", DB, CAIRN_ECORRUPT, 0, NULL, NULL, NULL, NULL },
	{ "two sections of one kind", DB FAMILY DB, CAIRN_ECORRUPT, 3, NULL,
	  NULL, NULL, NULL },
	{ "neither section nor setting", DB FAMILY "what\n", CAIRN_ECORRUPT, 3,
	  NULL, NULL, NULL, NULL },
	{ "a setting without a name", DB "  =1\n" FAMILY, CAIRN_ECORRUPT, 2,
	  NULL, NULL, NULL, NULL },
	{ "a section without end", DB "[CFOptions \"default\"\n",
	  CAIRN_ECORRUPT, 2, NULL, NULL, NULL, NULL },
	{ "a section without a name", DB "[]\n" FAMILY, CAIRN_ECORRUPT, 2, NULL,
	  NULL, NULL, NULL },
	{ "an argument without end", DB "[CFOptions \"default]\n",
	  CAIRN_ECORRUPT, 2, NULL, NULL, NULL, NULL },
	{ "an argument of one quote", DB "[CFOptions \"]\n", CAIRN_ECORRUPT, 2,
	  NULL, NULL, NULL, NULL },
};

static void check_field(const char *name, const char *got, const char *want)
{
	if (!want)
		ck_assert_msg(!got, "%s: %s", name, got);
	else
		ck_assert_msg(got && !strcmp(got, want), "%s: %s", name, got);
}

START_TEST(a_file_is_read_or_refused)
{
	struct options_file o = { 0 };
	char line[32];
	int err = options_file_parse(slice_str(cases[_i].text),
				     "/db/OPTIONS-000007", &o);

	ck_assert_msg(err == cases[_i].want, "%s: %d %s", cases[_i].name, err,
		      cairn_errmsg());
	if (err) {
		ck_assert_ptr_nonnull(
			strstr(cairn_errmsg(), "/db/OPTIONS-000007"));
		snprintf(line, sizeof(line), "line %u:", cases[_i].line);
		if (cases[_i].line)
			ck_assert_msg(strstr(cairn_errmsg(), line) != NULL,
				      "%s", cairn_errmsg());
		return;
	}
	ck_assert(!o.foreign);
	check_field(cases[_i].name, o.comparator, cases[_i].comparator);
	check_field(cases[_i].name, o.merge_operator, cases[_i].merge_operator);
	check_field(cases[_i].name, o.prefix_extractor,
		    cases[_i].prefix_extractor);
	check_field(cases[_i].name, o.wal_dir, cases[_i].wal_dir);
	options_file_fini(&o);
}
END_TEST

START_TEST(a_file_that_is_not_of_rocksdb_is_as_good_as_absent)
{
	static const char *const texts[] = {
		"",
		"[Version]\n  pebble_version=0.1\n\n[Options]\n  comparer=x\n"
		"[Level \"0\"]\n  block_size=4096\n",
		"no options at all",
		"[DBOptions",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct options_file o = { 0 };

		ck_assert_int_eq(
			options_file_parse(slice_str(texts[i]), "o", &o),
			CAIRN_OK);
		ck_assert(o.foreign && !o.comparator);
		options_file_fini(&o);
	}
}
END_TEST

START_TEST(a_byte_that_is_not_text_is_refused)
{
	static const char text[] = DB FAMILY "comparator=a\0b\n";
	struct options_file o = { 0 };

	ck_assert_int_eq(
		options_file_parse(slice_of(text, sizeof(text) - 1), "o", &o),
		CAIRN_ECORRUPT);
}
END_TEST

static const struct options_file_settings settings = {
	.write_buffer_size = 16 << 20,
	.base_level_size = 64 << 20,
	.level_multiplier = 10,
	.target_file_size = 4 << 20,
	.block_size = 4096,
	.restart_interval = 16,
	.bloom_bits_per_key = 10,
	.compression = { "kSnappyCompression", "kSnappyCompression",
			 "kSnappyCompression", "kSnappyCompression",
			 "kSnappyCompression", "kZSTD", "kZSTD" },
};

START_TEST(what_is_written_can_be_read)
{
	struct options_file o = { 0 };
	struct buf b = { 0 };

	ck_assert_int_eq(options_file_format(&settings, &b), CAIRN_OK);
	ck_assert_int_eq(options_file_parse(buf_slice(&b), "o", &o), CAIRN_OK);
	ck_assert(!o.foreign);
	ck_assert_str_eq(o.comparator, "leveldb.BytewiseComparator");
	ck_assert_ptr_null(o.merge_operator);
	options_file_fini(&o);
	buf_fini(&b);
}
END_TEST

static bool has_line(const struct buf *b, const char *line)
{
	return memmem(b->data, b->len, line, strlen(line)) != NULL;
}

START_TEST(what_belongs_to_the_store_is_written_and_read)
{
	struct options_file_settings s = settings;
	struct options_file o = { 0 };
	struct buf b = { 0 };

	s.merge_operator = "{id=StringAppendOperator;delimiter=\\#;}";
	s.prefix_extractor = "rocksdb.FixedPrefix.4";
	ck_assert_int_eq(options_file_format(&s, &b), CAIRN_OK);
	ck_assert_int_eq(options_file_parse(buf_slice(&b), "o", &o), CAIRN_OK);
	ck_assert_str_eq(o.merge_operator, s.merge_operator);
	ck_assert_str_eq(o.prefix_extractor, s.prefix_extractor);
	ck_assert_str_eq(o.compression, "kSnappyCompression");
	ck_assert_str_eq(o.bottommost_compression, "kZSTD");
	ck_assert_str_eq(o.compression_per_level,
			 "kSnappyCompression:kSnappyCompression:"
			 "kSnappyCompression:kSnappyCompression:"
			 "kSnappyCompression:kZSTD:kZSTD");
	options_file_fini(&o);
	buf_fini(&b);
}
END_TEST

START_TEST(rocksdb_is_told_what_keeps_the_shape_of_the_tree)
{
	struct options_file_settings s = settings;
	struct buf b = { 0 };

	ck_assert_int_eq(options_file_format(&s, &b), CAIRN_OK);
	ck_assert(has_line(&b, "\n  rocksdb_version=7.8.3\n"));
	ck_assert(has_line(&b, "\n[DBOptions]\n"));
	ck_assert(has_line(&b,
			   "\n  level_compaction_dynamic_level_bytes=true\n"));
	ck_assert(has_line(&b, "\n  max_bytes_for_level_base=67108864\n"));
	ck_assert(has_line(&b, "\n  target_file_size_base=4194304\n"));
	ck_assert(has_line(&b, "\n  compression_per_level=kSnappyCompression:"
			       "kSnappyCompression:kSnappyCompression:"
			       "kSnappyCompression:kSnappyCompression:"
			       "kZSTD:kZSTD\n"));
	ck_assert(has_line(&b, "\n  filter_policy=bloomfilter:10:false\n"));
	buf_clear(&b);
	s.bloom_bits_per_key = 9.5;
	ck_assert_int_eq(options_file_format(&s, &b), CAIRN_OK);
	ck_assert(has_line(&b, "\n  filter_policy=bloomfilter:9.5:false\n"));
	buf_clear(&b);
	s.bloom_bits_per_key = 0;
	ck_assert_int_eq(options_file_format(&s, &b), CAIRN_OK);
	ck_assert(has_line(&b, "\n  filter_policy=nullptr\n"));
	buf_fini(&b);
}
END_TEST

START_TEST(every_truncation_and_changed_byte_is_survived)
{
	struct buf b = { 0 };

	ck_assert_int_eq(options_file_format(&settings, &b), CAIRN_OK);
	for (size_t i = 0; i < b.len; i++) {
		static const uint8_t bytes[] = { 0,   '\n', '[', ']',
						 '"', '=',  '#', '\\' };
		uint8_t was = b.data[i];

		for (size_t k = 0; k <= sizeof(bytes); k++) {
			struct options_file o = { 0 };
			size_t len = k < sizeof(bytes) ? b.len : i;
			int err;

			b.data[i] = k < sizeof(bytes) ? bytes[k] : was;
			err = options_file_parse(slice_of(b.data, len), "o",
						 &o);
			ck_assert(err == CAIRN_OK || err == CAIRN_ECORRUPT);
			options_file_fini(&o);
		}
		b.data[i] = was;
	}
	buf_fini(&b);
}
END_TEST

/* The file that RocksDB wrote beside golden data. */
START_TEST(rocksdbs_own_file_is_read)
{
	const char *srcdir = getenv("srcdir") ? getenv("srcdir") : ".";
	struct options_file o = { 0 };
	char path[512], text[20000];
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path),
		 "%s/tests/data/golden/levels/db/OPTIONS-000007", srcdir);
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s", path);
	len = fread(text, 1, sizeof(text), f);
	fclose(f);
	ck_assert_int_eq(options_file_parse(slice_of(text, len), path, &o),
			 CAIRN_OK);
	ck_assert_str_eq(o.comparator, "leveldb.BytewiseComparator");
	ck_assert(!o.merge_operator && !o.prefix_extractor && !o.wal_dir);
	options_file_fini(&o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options_file");
	TCase *tc = tcase_create("options_file");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_file_is_read_or_refused, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, a_file_that_is_not_of_rocksdb_is_as_good_as_absent);
	tcase_add_test(tc, a_byte_that_is_not_text_is_refused);
	tcase_add_test(tc, what_is_written_can_be_read);
	tcase_add_test(tc, what_belongs_to_the_store_is_written_and_read);
	tcase_add_test(tc, rocksdb_is_told_what_keeps_the_shape_of_the_tree);
	tcase_add_test(tc, every_truncation_and_changed_byte_is_survived);
	tcase_add_test(tc, rocksdbs_own_file_is_read);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
