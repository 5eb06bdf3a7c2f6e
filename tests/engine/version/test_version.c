/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/version.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/version/l0.h"
#include "tests/support/runner.h"
#include "tests/support/version_text.h"

/* The file numbers of a sorted run, "5 6 7". */
static void append_run(char *out, size_t cap, const struct version_files *run)
{
	size_t len = strlen(out);

	for (size_t i = 0; i < run->n; i++) {
		int n = snprintf(out + len, cap - len, "%s%llu", i ? " " : "",
				 (unsigned long long)run->files[i]->number);

		ck_assert(n > 0 && (size_t)n < cap - len);
		len += (size_t)n;
	}
}

/* The sublevels from the oldest on, "1 2 | 3". */
static void print_sublevels(const struct version *v, char *out, size_t cap)
{
	*out = '\0';
	for (size_t i = 0; i < v->n_sublevels; i++) {
		if (i)
			strcat(out, " | ");
		append_run(out, cap, &v->sublevel[i]);
	}
}

static const struct {
	const char *name;
	const char *text;
	const char *l0; /* newest first */
	const char *sublevels;
} stacks[] = {
	{ "nothing", "", "", "" },
	{ "one file", "L0: 1:[a-c]#1-5 1", "1", "1" },
	{ "disjoint files are one sublevel",
	  "L0: 1:[a-c]#1-5 1 2:[d-f]#6-9 1 3:[g-h]#10 1", "3 2 1", "1 2 3" },
	{ "overlapping files stack",
	  "L0: 1:[a-m]#1-5 1 2:[a-m]#6-9 1 3:[a-m]#10-12 1", "3 2 1",
	  "1 | 2 | 3" },
	{ "one shared key is an overlap", "L0: 1:[a-c]#1-5 1 2:[c-f]#6-9 1",
	  "2 1", "1 | 2" },
	{ "but not the end of a range tombstone",
	  "L0: 1:[a-c)#1-5 1 2:[c-f]#6-9 1", "2 1", "1 2" },
	{ "a file goes above the highest older one it meets",
	  "L0: 1:[a-c]#1-2 1 2:[b-d]#3-4 1 3:[x-z]#5-6 1 4:[d-y]#7-8 1 "
	  "5:[a-a]#9 1 6:[e-f]#10 1",
	  "6 5 4 3 2 1", "1 3 | 5 2 | 4 | 6" },
	{ "seqnos order, not numbers", "L0: 9:[a-m]#1-5 1 2:[a-m]#6-9 1", "2 9",
	  "9 | 2" },
	{ "LevelDB's files are ordered by number",
	  "L0: 9:[a-m] 1~ 12:[a-m] 1~ 10:[a-c] 1~", "12 10 9", "9 | 10 | 12" },
	{ "and are older than all others",
	  "L0: 9:[a-m] 1~ 12:[a-m] 1~ 8:[a-c]#3-4 1", "8 12 9", "9 | 12 | 8" },
	{ "the empty key is a key", "L0: 1:[.-.]#1 1 2:[.-a]#2 1", "2 1",
	  "1 | 2" },
};

START_TEST(level_0_is_stacked_by_age)
{
	char l0[256] = "", sub[256];
	struct version *v;

	ck_assert_msg(version_parse(stacks[_i].text, &v) == CAIRN_OK, "%s: %s",
		      stacks[_i].name, cairn_errmsg());
	append_run(l0, sizeof(l0), &v->level[0]);
	print_sublevels(v, sub, sizeof(sub));
	ck_assert_msg(strcmp(l0, stacks[_i].l0) == 0, "%s: %s", stacks[_i].name,
		      l0);
	ck_assert_msg(strcmp(sub, stacks[_i].sublevels) == 0, "%s: %s",
		      stacks[_i].name, sub);
	version_unref(v);
}
END_TEST

/* What RocksDB 7.8.3 says to the same files. */
static const struct {
	const char *name;
	const char *text;
	int want;
} checks[] = {
	{ "disjoint seqnos", "L0: 1:[a-c]#1-5 1 2:[a-c]#6-9 1", CAIRN_OK },
	{ "overlapping seqnos that fall at both ends",
	  "L0: 1:[a-c]#1-6 1 2:[a-c]#4-9 1", CAIRN_OK },
	{ "nested seqnos", "L0: 1:[a-c]#3-6 1 2:[a-c]#2-9 1", CAIRN_ECORRUPT },
	{ "nested seqnos of disjoint keys", "L0: 1:[a-c]#3-6 1 2:[x-z]#2-9 1",
	  CAIRN_ECORRUPT },
	{ "equal seqnos", "L0: 1:[a-c]#3-6 1 2:[x-z]#3-6 1", CAIRN_ECORRUPT },
	{ "equal smallest seqno", "L0: 1:[a-c]#3-6 1 2:[a-c]#3-9 1",
	  CAIRN_ECORRUPT },
	{ "equal largest seqno", "L0: 1:[a-c]#3-9 1 2:[a-c]#5-9 1", CAIRN_OK },
	{ "an ingested file inside", "L0: 1:[a-c]#7 1 2:[a-c]#5-9 1",
	  CAIRN_OK },
	{ "an ingested file at the upper end", "L0: 1:[a-c]#9 1 2:[a-c]#5-9 1",
	  CAIRN_OK },
	{ "an ingested file at the lower end", "L0: 1:[a-c]#5 1 2:[a-c]#5-9 1",
	  CAIRN_OK },
	{ "ingested files, one above the other",
	  "L0: 1:[a-c]#7 1 2:[a-c]#8 1 3:[a-c]#9 1", CAIRN_OK },
	{ "ingested files of one seqno", "L0: 1:[a-c]#7 1 2:[a-c]#7 1",
	  CAIRN_ECORRUPT },
	{ "files of seqno 0", "L0: 1:[a-c]#0 1 2:[d-e]#0 1", CAIRN_OK },
	{ "a sorted level", "L1: 1:[a-c] 1 2:[d-e] 1 3:[f-g] 1", CAIRN_OK },
	{ "a level that overlaps", "L1: 1:[a-d] 1 2:[c-e] 1", CAIRN_ECORRUPT },
	{ "a level of one key, newer version first",
	  "L3: 1:[a-c]#7-9 1 2:[c-e]#5-6 1", CAIRN_OK },
	{ "a level of one key, older version first",
	  "L3: 1:[a-c]#5-6 1 2:[c-e]#7-9 1", CAIRN_ECORRUPT },
	{ "a level of one key twice", "L3: 1:[a-c]#5 1 2:[c-e]#5 1",
	  CAIRN_ECORRUPT },
	{ "a range tombstone that ends where the next file begins",
	  "L6: 1:[a-c) 1 2:[c-e] 1", CAIRN_OK },
	{ "bounds the wrong way round", "L6: 1:[c-a] 1", CAIRN_ECORRUPT },
	{ "the same in level 0", "L0: 1:[c-a]#1 1", CAIRN_ECORRUPT },
	{ "one file twice", "L1: 1:[a-b] 1 L2: 1:[a-b] 1", CAIRN_ECORRUPT },
	{ "overlap across levels", "L1: 1:[a-z] 1 L2: 2:[a-z] 1", CAIRN_OK },
};

START_TEST(a_version_is_checked_as_rocksdb_does)
{
	struct version *v = NULL;
	int err = version_parse(checks[_i].text, &v);

	ck_assert_msg(err == checks[_i].want, "%s: %d %s", checks[_i].name, err,
		      cairn_errmsg());
	if (!err)
		ck_assert_int_eq(version_check(v), CAIRN_OK);
	version_unref(v);
}
END_TEST

static struct version *parse_ok(const char *text)
{
	struct version *v;

	ck_assert_msg(version_parse(text, &v) == CAIRN_OK, "%s",
		      cairn_errmsg());
	return v;
}

START_TEST(an_edit_takes_out_and_puts_in)
{
	struct version *v = parse_ok("L0: 1:[a-c]#1-5 10 2:[a-c]#6-9 20 "
				     "L1: 3:[a-c] 30 4:[d-f] 40 5:[x-z] 50");
	struct version_edit e = { 0 };
	struct version *w;
	char got[64] = "";

	edit_parse("L1: 7:[g-h] 70 6:[a-b] 60 8:[zz-zzz] 80", &e);
	/* File 5 changes its level as it is. */
	ck_assert_int_eq(version_edit_add_file(&e, 2, version_file(v, 5)),
			 CAIRN_OK);
	ck_assert_int_eq(version_edit_delete_file(&e, 1, 5), CAIRN_OK);
	ck_assert_int_eq(version_edit_delete_file(&e, 1, 3), CAIRN_OK);
	ck_assert_int_eq(version_edit_delete_file(&e, 0, 2), CAIRN_OK);
	ck_assert_int_eq(version_apply(v, &e, &w), CAIRN_OK);
	append_run(got, sizeof(got), &w->level[1]);
	ck_assert_str_eq(got, "6 4 7 8");
	ck_assert_uint_eq(w->level[0].n, 1);
	ck_assert_uint_eq(w->level[0].bytes, 10);
	ck_assert_uint_eq(w->level[1].bytes, 60 + 40 + 70 + 80);
	ck_assert_uint_eq(w->level[2].bytes, 50);
	ck_assert_uint_eq(w->n_sublevels, 1);
	ck_assert_uint_eq(version_bytes(w), 10 + 250 + 50);
	/* The old version is as it was. */
	ck_assert_uint_eq(version_bytes(v), 150);
	ck_assert_uint_eq(version_file(v, 5)->refs, 3);
	version_edit_fini(&e);
	version_unref(v);
	ck_assert_uint_eq(version_file(w, 5)->refs, 1);
	version_unref(w);
}
END_TEST

static const struct {
	const char *name;
	const char *add;
	int level;
	uint64_t number;
} misfits[] = {
	{ "deletes what is not there", "", 1, 9 },
	{ "deletes from the wrong level", "", 2, 3 },
	{ "adds what is there", "L2: 3:[x-z] 1", -1, 0 },
	{ "adds a number twice", "L2: 8:[x-y] 1 L3: 8:[x-y] 1", -1, 0 },
	{ "adds what overlaps", "L1: 8:[b-b] 1", -1, 0 },
};

START_TEST(an_edit_that_does_not_fit_is_corruption)
{
	struct version *v = parse_ok("L1: 3:[a-c] 30 4:[d-f] 40");
	struct version *w = NULL;
	struct version_edit e = { 0 };

	edit_parse(misfits[_i].add, &e);
	if (misfits[_i].level >= 0)
		ck_assert_int_eq(version_edit_delete_file(&e, misfits[_i].level,
							  misfits[_i].number),
				 CAIRN_OK);
	ck_assert_msg(version_apply(v, &e, &w) == CAIRN_ECORRUPT, "%s",
		      misfits[_i].name);
	ck_assert_ptr_null(w);
	version_edit_fini(&e);
	version_unref(v);
}
END_TEST

START_TEST(the_same_deletion_twice_is_one_too_many)
{
	struct version *v = parse_ok("L1: 3:[a-c] 30");
	struct version *w = NULL;
	struct version_edit e = { 0 };

	ck_assert_int_eq(version_edit_delete_file(&e, 1, 3), CAIRN_OK);
	ck_assert_int_eq(version_edit_delete_file(&e, 1, 3), CAIRN_OK);
	ck_assert_int_eq(version_apply(v, &e, &w), CAIRN_ECORRUPT);
	version_edit_fini(&e);
	version_unref(v);
}
END_TEST

static const struct {
	const char *key;
	uint64_t number; /* 0: none */
} lookups[] = {
	{ ".", 0 },  { "a", 0 },   { "b", 1 }, { "c", 1 }, { "d", 1 },
	{ "e", 0 },  { "f", 2 },   { "g", 2 }, { "h", 3 }, { "i", 3 },
	{ "j", 0 },  { "k", 4 },   { "l", 4 }, { "m", 5 }, { "n", 5 },
	{ "na", 0 }, { "zzz", 0 },
};

START_TEST(a_key_is_looked_for_in_one_file)
{
	/* h is the end of a tombstone in 2; l is in 4 and 5. */
	struct version *v = parse_ok("L1: 1:[b-d] 1 2:[f-h) 1 3:[h-i] 1 "
				     "4:[k-l]#5-6 1 5:[l-n]#3-4 1");
	const char *key = strcmp(lookups[_i].key, ".") ? lookups[_i].key : "";
	struct file_meta *f = version_file_for(&v->level[1], slice_str(key));

	ck_assert_msg((f ? f->number : 0) == lookups[_i].number, "%s: %llu",
		      key, (unsigned long long)(f ? f->number : 0));
	version_unref(v);
}
END_TEST

START_TEST(a_file_is_found_by_internal_key)
{
	struct version *v = parse_ok("L1: 1:[b-d]#5 1 2:[f-h)#5 1 "
				     "3:[h-i]#5 1");
	const struct version_files *l = &v->level[1];
	struct ikey k;

	k = ikey_make(slice_str("a"), 7, KIND_PUT);
	ck_assert_uint_eq(version_find_file(l, &k), 0);
	k = ikey_make(slice_str("d"), 5, KIND_PUT);
	ck_assert_uint_eq(version_find_file(l, &k), 0);
	k = ikey_make(slice_str("d"), 4, KIND_PUT);
	ck_assert_uint_eq(version_find_file(l, &k), 1);
	k = ikey_seek(slice_str("h"), 9);
	ck_assert_uint_eq(version_find_file(l, &k), 2);
	k = ikey_seek(slice_str("j"), 9);
	ck_assert_uint_eq(version_find_file(l, &k), 3);
	version_unref(v);
}
END_TEST

/* A file [first, last] of numbered keys. */
static struct file_meta *numbered_file(uint64_t number, uint64_t first,
				       uint64_t last, uint64_t smallest_seqno,
				       uint64_t largest_seqno)
{
	uint8_t low[16], high[16];
	struct file_meta *f;

	put_be64(low, first);
	put_le64(low + 8, ikey_pack(largest_seqno, KIND_PUT));
	put_be64(high, last);
	put_le64(high + 8, ikey_pack(smallest_seqno, KIND_PUT));
	ck_assert_int_eq(file_meta_new(number, 1, slice_of(low, 16),
				       slice_of(high, 16), smallest_seqno,
				       largest_seqno, &f),
			 CAIRN_OK);
	return f;
}

static void add_numbered(struct version_edit *e, int level, uint64_t number,
			 uint64_t first, uint64_t last, uint64_t seqno)
{
	struct file_meta *f =
		numbered_file(number, first, last, seqno, seqno + 9);

	ck_assert_int_eq(version_edit_add_file(e, level, f), CAIRN_OK);
	file_meta_unref(f);
}

/* Apply e, which is emptied; *v is replaced. */
static void apply(struct version **v, struct version_edit *e)
{
	struct version *w;

	ck_assert_msg(version_apply(*v, e, &w) == CAIRN_OK, "%s",
		      cairn_errmsg());
	version_edit_fini(e);
	version_unref(*v);
	*v = w;
}

START_TEST(ten_thousand_files_are_no_trouble)
{
	struct version_edit e = { 0 };
	const uint64_t n = 10000;
	struct version *v;

	ck_assert_int_eq(version_new(&v), CAIRN_OK);
	for (uint64_t i = n; i-- > 0;)
		add_numbered(&e, 6, i + 1, 10 * i, 10 * i + 9, 0);
	apply(&v, &e);
	ck_assert_uint_eq(v->level[6].n, n);
	/* Every second one is replaced. */
	for (uint64_t i = 0; i < n; i += 2) {
		ck_assert_int_eq(version_edit_delete_file(&e, 6, i + 1),
				 CAIRN_OK);
		add_numbered(&e, 6, n + i + 1, 10 * i, 10 * i + 5, 0);
	}
	apply(&v, &e);
	ck_assert_uint_eq(v->level[6].n, n);
	ck_assert_uint_eq(v->level[6].files[4]->number, n + 5);
	ck_assert_uint_eq(v->level[6].files[5]->number, 6);
	/* Single changes, as compactions make them. */
	for (uint64_t i = 0; i < 100; i++) {
		ck_assert_int_eq(version_edit_delete_file(&e, 6, 2 * i + 2),
				 CAIRN_OK);
		apply(&v, &e);
	}
	ck_assert_uint_eq(v->level[6].n, n - 100);
	ck_assert_int_eq(version_check(v), CAIRN_OK);
	version_unref(v);
}
END_TEST

static size_t sublevel_of(const struct version *v, const struct file_meta *f)
{
	for (size_t s = 0; s < v->n_sublevels; s++)
		for (size_t i = 0; i < v->sublevel[s].n; i++)
			if (v->sublevel[s].files[i] == f)
				return s;
	ck_abort_msg("file %llu is in no sublevel",
		     (unsigned long long)f->number);
	return 0;
}

/* By the definition, file by file. */
static void check_sublevels(const struct version *v)
{
	const struct version_files *l0 = &v->level[0];
	size_t total = 0;

	for (size_t s = 0; s < v->n_sublevels; s++) {
		const struct version_files *sub = &v->sublevel[s];

		ck_assert_uint_gt(sub->n, 0);
		ck_assert_uint_eq(sub->bytes, sub->n);
		total += sub->n;
		for (size_t i = 1; i < sub->n; i++)
			ck_assert(file_meta_before(sub->files[i - 1],
						   sub->files[i]));
	}
	ck_assert_uint_eq(total, l0->n);
	for (size_t i = 0; i < l0->n; i++) {
		size_t want = 0;

		for (size_t j = i + 1; j < l0->n; j++) {
			size_t below = sublevel_of(v, l0->files[j]);

			if (!file_meta_before(l0->files[i], l0->files[j]) &&
			    !file_meta_before(l0->files[j], l0->files[i]) &&
			    want < below + 1)
				want = below + 1;
		}
		ck_assert_uint_eq(sublevel_of(v, l0->files[i]), want);
	}
}

START_TEST(random_level_0s_are_stacked_by_the_definition)
{
	struct version_edit e = { 0 };
	struct version *v;
	struct rng rng;
	uint64_t number = 0;

	rng_init(&rng, (uint64_t)_i);
	ck_assert_int_eq(version_new(&v), CAIRN_OK);
	for (int round = 0; round < 40; round++) {
		const struct version_files *l0 = &v->level[0];
		uint64_t first = rng_below(&rng, 90);

		number++;
		add_numbered(&e, 0, number, first,
			     first + rng_below(&rng, 1 + rng_below(&rng, 60)),
			     10 * number);
		if (l0->n && rng_one_in(&rng, 3)) {
			size_t i = rng_below(&rng, l0->n);

			ck_assert_int_eq(version_edit_delete_file(
						 &e, 0, l0->files[i]->number),
					 CAIRN_OK);
		}
		apply(&v, &e);
		check_sublevels(v);
	}
	version_unref(v);
}
END_TEST

static const struct {
	const char *a;
	const char *b;
	bool before;
} pairs[] = {
	{ "[a-b]", "[c-d]", true },  { "[a-b]", "[b-d]", false },
	{ "[a-b)", "[b-d]", true },  { "[a-b)", "[aa-d]", false },
	{ "[c-d]", "[a-b]", false }, { "[.-.]", "[.-a]", false },
	{ "[.-.]", "[a-b]", true },
};

START_TEST(files_are_before_one_another_by_user_key)
{
	char text[64];
	struct version *v;

	snprintf(text, sizeof(text), "L0: 1:%s#2 1 2:%s#1 1", pairs[_i].a,
		 pairs[_i].b);
	v = parse_ok(text);
	ck_assert_msg(file_meta_before(version_file(v, 1),
				       version_file(v, 2)) == pairs[_i].before,
		      "%s", text);
	version_unref(v);
}
END_TEST

START_TEST(a_file_meets_a_range_at_its_bounds)
{
	struct version *v = parse_ok("L1: 1:[b-d] 1 2:[f-h) 1");
	const struct file_meta *f = version_file(v, 1);
	const struct file_meta *g = version_file(v, 2);
	struct cairn_slice none = { 0 };

	ck_assert(file_meta_overlaps(f, none, none));
	ck_assert(file_meta_overlaps(f, none, slice_str("b")));
	ck_assert(!file_meta_overlaps(f, none, slice_str("a")));
	ck_assert(file_meta_overlaps(f, slice_str("d"), none));
	ck_assert(!file_meta_overlaps(f, slice_str("da"), none));
	ck_assert(file_meta_overlaps(f, slice_str("c"), slice_str("c")));
	ck_assert(file_meta_overlaps(g, slice_str("ga"), none));
	ck_assert(!file_meta_overlaps(g, slice_str("h"), none));
	version_unref(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("version");
	TCase *tc = tcase_create("version");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, level_0_is_stacked_by_age, 0,
			    sizeof(stacks) / sizeof(stacks[0]));
	tcase_add_loop_test(tc, a_version_is_checked_as_rocksdb_does, 0,
			    sizeof(checks) / sizeof(checks[0]));
	tcase_add_test(tc, an_edit_takes_out_and_puts_in);
	tcase_add_loop_test(tc, an_edit_that_does_not_fit_is_corruption, 0,
			    sizeof(misfits) / sizeof(misfits[0]));
	tcase_add_test(tc, the_same_deletion_twice_is_one_too_many);
	tcase_add_loop_test(tc, a_key_is_looked_for_in_one_file, 0,
			    sizeof(lookups) / sizeof(lookups[0]));
	tcase_add_test(tc, a_file_is_found_by_internal_key);
	tcase_add_loop_test(tc, files_are_before_one_another_by_user_key, 0,
			    sizeof(pairs) / sizeof(pairs[0]));
	tcase_add_test(tc, a_file_meets_a_range_at_its_bounds);
	tcase_add_test(tc, ten_thousand_files_are_no_trouble);
	tcase_add_loop_test(tc, random_level_0s_are_stacked_by_the_definition,
			    0, 20);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
