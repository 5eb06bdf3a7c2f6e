/* SPDX-License-Identifier: BSD-3-Clause */
/* The table cache is played by this file: it counts what is opened. */
#include "engine/version/level_iter.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/kv/range_del.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

#define FILES_MAX 8
#define NO_FILE   UINT64_MAX

/* The level under test: file i has number i. */
struct level {
	struct vector all;
	struct vector file[FILES_MAX];
	struct file_meta *metas[FILES_MAX];
	struct version_files files;
	struct level_iter_options opts;
	struct level_bounds bounds;
	struct iter *it;
	/* What was opened, as letters: "ab" is file 0, then file 1. */
	char opened[256];
	size_t n_opened;
	uint64_t missing; /* this file cannot be opened */
	uint64_t broken;  /* entry 1 of this file cannot be read */
	struct range_scope scope[FILES_MAX]; /* set NULL: no tombstones */
};

int table_cache_iter_new(struct table_cache *c, uint64_t file_number,
			 uint64_t size, enum table_scan scan, struct iter **out)
{
	struct level *l = (struct level *)c;

	ck_assert_uint_lt(file_number, l->files.n);
	ck_assert_uint_eq(size, 100 + file_number);
	ck_assert_int_eq(scan, TABLE_SCAN_NO_FILL);
	if (l->n_opened < sizeof(l->opened) - 1)
		l->opened[l->n_opened++] = (char)('a' + file_number);
	if (file_number == l->missing)
		return error_set(CAIRN_EIO, "as the test wants");
	*out = vector_iter_new(&l->file[file_number]);
	if (l->scope[file_number].set)
		(*out)->scope = &l->scope[file_number];
	if (file_number == l->broken)
		vector_iter_fail_at(*out, 1, CAIRN_ECORRUPT);
	return CAIRN_OK;
}

/* Skips as the filter says; the tombstones stay. */
int table_cache_filtered_iter_new(struct table_cache *c,
				  const struct cairn_table_facts *facts,
				  const struct cairn_table_filter *filter,
				  enum table_scan scan, struct iter **out)
{
	static const struct vector nothing;
	struct level *l = (struct level *)c;
	int err = table_cache_iter_new(c, facts->number, facts->size_bytes,
				       scan, out);

	if (err || !filter->skip(filter->ctx, facts))
		return err;
	iter_close(*out);
	*out = vector_iter_new(&nothing);
	if (l->scope[facts->number].set)
		(*out)->scope = &l->scope[facts->number];
	return CAIRN_OK;
}

static struct file_meta *meta_of(const struct vector *v, uint64_t number)
{
	const struct ikey *first = &v->entries[0].key;
	const struct ikey *last = &v->entries[v->n - 1].key;
	struct file_meta *f;
	uint8_t smallest[64], largest[64];
	size_t n_smallest = (size_t)(ikey_encode(smallest, first) - smallest);
	size_t n_largest = (size_t)(ikey_encode(largest, last) - largest);

	ck_assert_int_eq(file_meta_new(number, 100 + number,
				       slice_of(smallest, n_smallest),
				       slice_of(largest, n_largest), 0, 0, &f),
			 CAIRN_OK);
	return f;
}

/* Texts of the files in order, ended by NULL. */
static void level_open(struct level *l, const char *const *texts)
{
	l->missing = NO_FILE;
	l->broken = NO_FILE;
	for (size_t i = 0; texts[i]; i++) {
		vector_parse(&l->file[i], texts[i]);
		vector_parse(&l->all, texts[i]);
		l->metas[i] = meta_of(&l->file[i], i);
		l->files.n++;
	}
	l->files.files = l->metas;
	l->opts.tables = (struct table_cache *)l;
	l->opts.scan = TABLE_SCAN_NO_FILL;
	l->opts.bounds = &l->bounds;
	ck_assert_int_eq(level_iter_new(&l->files, &l->opts, &l->it), CAIRN_OK);
}

static void level_close(struct level *l)
{
	iter_close(l->it);
	vector_fini(&l->all);
	for (size_t i = 0; i < l->files.n; i++) {
		vector_fini(&l->file[i]);
		file_meta_unref(l->metas[i]);
	}
}

static const char *const four_files[] = {
	"b#9p1 d#3p2", "e#2p3 e#1d g#7p4", "k#9p5", "k#4p6 m#1p7 p#1p8", NULL,
};

static void assert_same(const struct iter *got, const struct iter *want)
{
	ck_assert_int_eq(got->status, want->status);
	ck_assert_int_eq(got->valid, want->valid);
	if (!want->valid)
		return;
	ck_assert_int_eq(ikey_cmp(&got->key, &want->key), 0);
	ck_assert(slice_eq(got->value, want->value));
}

START_TEST(any_walk_over_files_is_that_over_their_entries)
{
	struct level l = { 0 };
	struct iter *model;
	struct rng r;

	rng_init(&r, 5);
	level_open(&l, four_files);
	model = vector_iter_new(&l.all);
	for (int step = 0; step < 5000; step++) {
		uint8_t byte = (uint8_t)('a' + rng_below(&r, 18));
		struct ikey target = ikey_make(slice_of(&byte, 1),
					       rng_below(&r, 10), KIND_PUT);
		uint64_t what = rng_below(&r, model->valid ? 14 : 4);
		bool ahead = model->valid && ikey_cmp(&model->key, &target) < 0;

		if (what == 0) {
			iter_first(l.it);
			iter_first(model);
		} else if (what == 1) {
			iter_last(l.it);
			iter_last(model);
		} else if (what == 2) {
			iter_seek_ge(l.it, &target);
			iter_seek_ge(model, &target);
		} else if (what == 3) {
			iter_seek_lt(l.it, &target);
			iter_seek_lt(model, &target);
		} else if (what >= 12 && ahead) {
			iter_seek_forward(l.it, &target);
			iter_seek_ge(model, &target);
		} else if (what % 2) {
			iter_next(l.it);
			iter_next(model);
		} else {
			iter_prev(l.it);
			iter_prev(model);
		}
		assert_same(l.it, model);
	}
	iter_close(model);
	level_close(&l);
}
END_TEST

static const struct {
	const char *name;
	const char *how; /* f, l, >KEY, <KEY, ^KEY (prefix of one byte) */
	const char *lower;
	const char *upper;
	const char *got; /* the entries of the walk's end, "" for none */
	const char *opened;
} walks[] = {
	{ "first opens the first file", "f", NULL, NULL, "b#9p1", "a" },
	{ "last opens the last file", "l", NULL, NULL, "p#1p8", "d" },
	{ "a seek opens one file", ">f", NULL, NULL, "g#7p4", "b" },
	{ "a seek between files opens the next", ">h", NULL, NULL, "k#9p5",
	  "c" },
	{ "a seek behind all opens none", ">q", NULL, NULL, "", "" },
	{ "a seek back opens one file", "<h", NULL, NULL, "g#7p4", "b" },
	{ "a seek back to a file's start opens the one before", "<e", NULL,
	  NULL, "d#3p2", "a" },
	{ "a seek back before all opens none", "<a", NULL, NULL, "", "" },
	{ "first starts at the lower bound", "f", "h", NULL, "k#9p5", "c" },
	{ "last starts at the upper bound", "l", NULL, "h", "g#7p4", "b" },
	{ "files at the upper bound are not opened", ">h", NULL, "k", "", "" },
	{ "first opens no file above the upper bound", "f", NULL, "b", "", "" },
	{ "last opens no file below the lower bound", "l", "q", NULL, "", "" },
	{ "files below the lower bound are not opened", "<k", "h", NULL, "",
	  "" },
	{ "a prefix seek opens the file it is in", "^f", NULL, NULL, "g#7p4",
	  "b" },
	{ "a prefix seek between files opens none", "^h", NULL, NULL, "", "" },
};

static void go(struct iter *it, const char *how)
{
	struct ikey target = ikey_seek(slice_str(how + 1), SEQNO_MAX);

	switch (how[0]) {
	case 'f':
		iter_first(it);
		break;
	case 'l':
		iter_last(it);
		break;
	case '>':
		iter_seek_ge(it, &target);
		break;
	case '<':
		iter_seek_lt(it, &target);
		break;
	case '^':
		iter_seek_prefix_ge(it, &target, target.user_key);
		break;
	default:
		ck_abort();
	}
}

START_TEST(a_file_is_opened_only_when_needed)
{
	struct level l = { 0 };
	struct buf got = { 0 };

	if (walks[_i].lower)
		l.bounds.lower = slice_str(walks[_i].lower);
	if (walks[_i].upper)
		l.bounds.upper = slice_str(walks[_i].upper);
	level_open(&l, four_files);
	go(l.it, walks[_i].how);
	ck_assert_int_eq(l.it->status, CAIRN_OK);
	if (l.it->valid)
		vector_format(&got, &l.it->key, l.it->value);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(walks[_i].got)),
		      "%s: got %.*s", walks[_i].name, (int)got.len,
		      (const char *)got.data);
	ck_assert_msg(strcmp(l.opened, walks[_i].opened) == 0,
		      "%s: opened \"%s\"", walks[_i].name, l.opened);
	buf_fini(&got);
	level_close(&l);
}
END_TEST

START_TEST(an_open_file_is_not_opened_again)
{
	struct level l = { 0 };

	level_open(&l, four_files);
	go(l.it, ">e");
	go(l.it, ">g");
	go(l.it, "<g");
	iter_next(l.it);
	ck_assert_str_eq(l.opened, "b");
	level_close(&l);
}
END_TEST

START_TEST(a_prefix_walk_ends_with_the_prefix)
{
	static const char *const files[] = { "aa#1p ab#1p", "ac#1p ad#1p",
					     "ba#1p", NULL };
	struct level l = { 0 };
	struct ikey target = ikey_seek(slice_str("ab"), SEQNO_MAX);
	int n = 0;

	level_open(&l, files);
	iter_seek_prefix_ge(l.it, &target, slice_str("a"));
	for (; l.it->valid; iter_next(l.it))
		n++;
	ck_assert_int_eq(l.it->status, CAIRN_OK);
	ck_assert_int_eq(n, 3);
	ck_assert_str_eq(l.opened, "ab");
	/* The next seek is an ordinary one again. */
	iter_seek_ge(l.it, &target);
	for (n = 0; l.it->valid; iter_next(l.it))
		n++;
	ck_assert_int_eq(n, 4);
	level_close(&l);
}
END_TEST

START_TEST(a_seek_forward_leaves_the_prefix)
{
	struct ikey b = ikey_seek(slice_str("b"), SEQNO_MAX);
	struct ikey d = ikey_seek(slice_str("d"), SEQNO_MAX);
	struct level l = { 0 };

	level_open(&l, four_files);
	iter_seek_prefix_ge(l.it, &b, b.user_key);
	ck_assert(l.it->valid);
	iter_seek_forward(l.it, &d);
	ck_assert(slice_eq(l.it->key.user_key, slice_str("d")));
	/* The next file has no key with the prefix, and is gone to. */
	iter_next(l.it);
	ck_assert(l.it->valid);
	ck_assert(slice_eq(l.it->key.user_key, slice_str("e")));
	level_close(&l);
}
END_TEST

static bool skip_one(void *ctx, const struct cairn_table_facts *t)
{
	return t->number == *(uint64_t *)ctx;
}

START_TEST(a_skipped_file_is_passed_in_both_directions)
{
	uint64_t skipped = (uint64_t)_i;
	const struct cairn_table_filter f = { &skipped, skip_one };
	struct vector left = { 0 };
	struct level l = { 0 };
	struct iter *model;

	for (size_t i = 0; i < 4; i++)
		if (i != skipped)
			vector_parse(&left, four_files[i]);
	l.opts.filter = &f;
	level_open(&l, four_files);
	model = vector_iter_new(&left);
	iter_first(l.it);
	for (iter_first(model); model->valid; iter_next(model)) {
		assert_same(l.it, model);
		iter_next(l.it);
	}
	assert_same(l.it, model);
	iter_last(l.it);
	for (iter_last(model); model->valid; iter_prev(model)) {
		assert_same(l.it, model);
		iter_prev(l.it);
	}
	assert_same(l.it, model);
	for (const char *k = "abcdefghijklmnopq"; *k; k++) {
		struct ikey target = ikey_seek(slice_of(k, 1), SEQNO_MAX);

		iter_seek_ge(l.it, &target);
		iter_seek_ge(model, &target);
		assert_same(l.it, model);
		iter_seek_lt(l.it, &target);
		iter_seek_lt(model, &target);
		assert_same(l.it, model);
	}
	iter_close(model);
	vector_fini(&left);
	level_close(&l);
}
END_TEST

START_TEST(a_failure_in_a_file_is_not_the_end_of_the_level)
{
	for (int backward = 0; backward < 2; backward++) {
		for (int open_fails = 0; open_fails < 2; open_fails++) {
			struct level l = { 0 };

			level_open(&l, four_files);
			if (open_fails)
				l.missing = 1;
			else
				l.broken = 1;
			for (go(l.it, backward ? "l" : "f"); l.it->valid;
			     backward ? iter_prev(l.it) : iter_next(l.it))
				;
			ck_assert_int_eq(l.it->status,
					 open_fails ? CAIRN_EIO
						    : CAIRN_ECORRUPT);
			/* And it can be left by an absolute positioning. */
			go(l.it, ">m");
			ck_assert(l.it->valid && l.it->status == CAIRN_OK);
			level_close(&l);
		}
	}
}
END_TEST

/* ------------------------------------------------------ range tombstones */

/* One more file, of entries (may be "") between the bounds given. */
static void add_file(struct level *l, const char *text, struct ikey smallest,
		     struct ikey largest, bool has_tombs)
{
	const struct range_del d = { slice_str("a"), slice_str("z"), 5 };
	struct range_del_list list = { 0 };
	struct range_dels *set;
	uint8_t low[32], high[32];
	size_t i = l->files.n;

	vector_parse(&l->file[i], text);
	ck_assert_int_eq(
		file_meta_new(
			i, 100 + i,
			slice_of(low,
				 (size_t)(ikey_encode(low, &smallest) - low)),
			slice_of(high,
				 (size_t)(ikey_encode(high, &largest) - high)),
			0, 0, &l->metas[i]),
		CAIRN_OK);
	l->files.n++;
	if (!has_tombs)
		return;
	/* As RocksDB writes them, not cut to the bounds. */
	ck_assert_int_eq(range_del_list_add(&list, &d), CAIRN_OK);
	ck_assert_int_eq(range_dels_new(&list, &set), CAIRN_OK);
	l->scope[i].set = set;
	range_del_list_fini(&list);
}

static struct ikey range_end(const char *key)
{
	return ikey_make(slice_str(key), SEQNO_MAX, KIND_RANGE_DELETE);
}

/* Entries and tombstones; tombstones only; entries only. */
static void range_level_open(struct level *l, bool wanted)
{
	l->missing = NO_FILE;
	l->broken = NO_FILE;
	add_file(l, "c#9p d#9p",
		 ikey_make(slice_str("b"), 5, KIND_RANGE_DELETE),
		 range_end("f"), true);
	add_file(l, "", ikey_make(slice_str("f"), 5, KIND_RANGE_DELETE),
		 range_end("j"), true);
	add_file(l, "k#9p m#9p", ikey_make(slice_str("k"), 9, KIND_PUT),
		 ikey_make(slice_str("m"), 9, KIND_PUT), false);
	l->files.files = l->metas;
	l->opts.tables = (struct table_cache *)l;
	l->opts.scan = TABLE_SCAN_NO_FILL;
	l->opts.bounds = &l->bounds;
	l->opts.range_dels = wanted;
	ck_assert_int_eq(level_iter_new(&l->files, &l->opts, &l->it), CAIRN_OK);
}

static void range_level_close(struct level *l)
{
	for (size_t i = 0; i < l->files.n; i++)
		range_dels_unref(
			(struct range_dels *)(uintptr_t)l->scope[i].set);
	level_close(l);
}

/* Where it stands, boundaries in brackets, and the keys of the alphabet that
 * its scope covers. */
static void note_place(struct iter *it, struct buf *out)
{
	uint8_t first = 0, last = 0;

	if (!it->valid) {
		ck_assert_ptr_null(it->scope);
		return;
	}
	ck_assert_int_eq(buf_printf(out, it->boundary ? " [%.*s]" : " %.*s",
				    (int)it->key.user_key.len,
				    (const char *)it->key.user_key.data),
			 CAIRN_OK);
	if (!it->scope)
		return;
	for (uint8_t c = 'a'; c <= 'z'; c++) {
		struct ikey k = ikey_make(slice_of(&c, 1), 1, KIND_PUT);

		if (!range_scope_cover(it->scope, &k, 9))
			continue;
		first = first ? first : c;
		last = c;
	}
	ck_assert_int_eq(buf_printf(out, ":%c%c", first, last), CAIRN_OK);
}

static void assert_places(struct level *l, bool forward, const char *want)
{
	struct buf got = { 0 };

	if (forward)
		iter_first(l->it);
	else
		iter_last(l->it);
	while (l->it->valid) {
		note_place(l->it, &got);
		if (forward)
			iter_next(l->it);
		else
			iter_prev(l->it);
	}
	note_place(l->it, &got);
	ck_assert_int_eq(l->it->status, CAIRN_OK);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)), "%.*s",
		      (int)got.len, (const char *)got.data);
	buf_fini(&got);
}

START_TEST(a_file_with_tombstones_is_left_by_way_of_its_boundary)
{
	struct level l = { 0 };

	range_level_open(&l, true);
	assert_places(&l, true, " c:be d:be [f]:be [j]:fi k m");
	assert_places(&l, false, " m k [f]:fi d:be c:be [b]:be");
	range_level_close(&l);
}
END_TEST

START_TEST(boundaries_are_shown_on_request_only)
{
	struct level l = { 0 };

	range_level_open(&l, false);
	assert_places(&l, true, " c d k m");
	assert_places(&l, false, " m k d c");
	range_level_close(&l);
}
END_TEST

static const struct {
	const char *key;
	bool forward;
	const char *want;
} range_seeks[] = {
	{ "a", true, " c:be" },    { "d", true, " d:be" },
	{ "e", true, " [f]:be" },  { "g", true, " [j]:fi" },
	{ "j", true, " [j]:fi" },  { "jj", true, " k" },
	{ "n", true, "" },         { "z", false, " m" },
	{ "k", false, " [f]:fi" }, { "h", false, " [f]:fi" },
	{ "f", false, " d:be" },   { "c", false, " [b]:be" },
	{ "b", false, "" },
};

START_TEST(a_seek_into_a_file_with_tombstones_stays_in_it)
{
	struct ikey target = { slice_str(range_seeks[_i].key), UINT64_MAX };
	struct buf got = { 0 };
	struct level l = { 0 };

	range_level_open(&l, true);
	if (range_seeks[_i].forward)
		iter_seek_ge(l.it, &target);
	else
		iter_seek_lt(l.it, &target);
	note_place(l.it, &got);
	ck_assert_msg(
		slice_eq(buf_slice(&got), slice_str(range_seeks[_i].want)),
		"%s: %.*s", range_seeks[_i].key, (int)got.len,
		(const char *)got.data);
	buf_fini(&got);
	range_level_close(&l);
}
END_TEST

/* Two files that share a user key, as old versions of RocksDB left them. */
START_TEST(tombstones_of_a_shared_key_count_between_its_versions)
{
	struct ikey eight = ikey_make(slice_str("c"), 8, KIND_PUT);
	struct ikey seven = ikey_make(slice_str("c"), 7, KIND_PUT);
	struct ikey one = ikey_make(slice_str("c"), 1, KIND_PUT);
	struct level l = { 0 };

	l.missing = NO_FILE;
	l.broken = NO_FILE;
	add_file(&l, "b#9p c#8p", ikey_make(slice_str("b"), 9, KIND_PUT), eight,
		 true);
	add_file(&l, "c#7p", seven, range_end("f"), true);
	l.files.files = l.metas;
	ck_assert(level_lower_bound(&l.files, 0).trailer == UINT64_MAX);
	ck_assert(level_lower_bound(&l.files, 1).trailer == seven.trailer);
	l.opts.tables = (struct table_cache *)&l;
	l.opts.scan = TABLE_SCAN_NO_FILL;
	l.opts.range_dels = true;
	ck_assert_int_eq(level_iter_new(&l.files, &l.opts, &l.it), CAIRN_OK);
	iter_first(l.it);
	/* c#1 is older than all of c in the first file, so not its matter. */
	ck_assert_uint_eq(range_scope_cover(l.it->scope, &one, 9), 0);
	ck_assert_uint_eq(range_scope_cover(l.it->scope, &eight, 9), 5);
	iter_last(l.it);
	ck_assert_uint_eq(range_scope_cover(l.it->scope, &one, 9), 5);
	ck_assert_uint_eq(range_scope_cover(l.it->scope, &eight, 9), 0);
	range_level_close(&l);
}
END_TEST

START_TEST(a_level_without_files_is_empty)
{
	static const char *const none[] = { NULL };
	struct level l = { 0 };

	level_open(&l, none);
	for (int i = 0; i < 5; i++) {
		static const char *const hows[] = { "f", "l", ">a", "<a",
						    "^a" };

		go(l.it, hows[i]);
		ck_assert(!l.it->valid && l.it->status == CAIRN_OK);
	}
	level_close(&l);
}
END_TEST

static Suite *level_iter_suite(void)
{
	Suite *s = suite_create("level_iter");
	TCase *tc = tcase_create("walks");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, any_walk_over_files_is_that_over_their_entries);
	tcase_add_test(tc, a_level_without_files_is_empty);
	tcase_add_test(tc, a_prefix_walk_ends_with_the_prefix);
	tcase_add_test(tc, a_seek_forward_leaves_the_prefix);
	tcase_add_loop_test(tc, a_skipped_file_is_passed_in_both_directions, 0,
			    4);
	suite_add_tcase(s, tc);

	tc = tcase_create("files");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_file_is_opened_only_when_needed, 0,
			    (int)(sizeof(walks) / sizeof(walks[0])));
	tcase_add_test(tc, an_open_file_is_not_opened_again);
	tcase_add_test(tc, a_failure_in_a_file_is_not_the_end_of_the_level);
	suite_add_tcase(s, tc);
	{
		TCase *ranges = tcase_create("ranges");

		tcase_add_test(
			ranges,
			a_file_with_tombstones_is_left_by_way_of_its_boundary);
		tcase_add_test(ranges, boundaries_are_shown_on_request_only);
		tcase_add_loop_test(
			ranges, a_seek_into_a_file_with_tombstones_stays_in_it,
			0, sizeof(range_seeks) / sizeof(range_seeks[0]));
		tcase_add_test(
			ranges,
			tombstones_of_a_shared_key_count_between_its_versions);
		suite_add_tcase(s, ranges);
	}
	return s;
}

int main(void)
{
	return run_suite(level_iter_suite());
}
