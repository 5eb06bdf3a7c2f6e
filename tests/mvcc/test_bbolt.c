/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/bbolt.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/env/env_mem.h"
#include "tests/fuzz/bytes.h"
#include "tests/mvcc/bbolt_walk.h"
#include "tests/support/runner.h"

#define PATH "/snap/db"

/* Of the files in tests/data/bbolt. */
#define PAGE 1024u

#define ck_ok(expr)                                                            \
	do {                                                                   \
		int err_ = (expr);                                             \
		ck_assert_msg(err_ == CAIRN_OK, "%s: %d: %s", #expr, err_,     \
			      cairn_errmsg());                                 \
	} while (0)

static void load(const char *name, struct buf *out)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/data/bbolt/%s",
		 srcdir ? srcdir : "..", name);
	ck_ok(env_read_file(env_posix(), path, 1 << 20, out));
}

/* Open the bytes as a file and walk all of it. */
static int walk(struct cairn_slice bytes, struct buf *text)
{
	struct bytes_env env = bytes_env_of(bytes);
	struct bbolt_walk w = { .text = text, .items_max = 100000 };
	struct bbolt *b;
	int err = bbolt_open(&env.base, PATH, &b);

	if (err)
		return err;
	err = bbolt_walk(&w, b);
	bbolt_close(b);
	return err;
}

static const char *const files[] = { "empty", "small", "large" };
enum { N_FILES = sizeof(files) / sizeof(files[0]) };

START_TEST(a_file_holds_what_bbolt_says)
{
	struct buf bytes = { 0 }, want = { 0 }, got = { 0 };
	char name[64];

	snprintf(name, sizeof(name), "%s.db", files[_i]);
	load(name, &bytes);
	snprintf(name, sizeof(name), "%s.tsv", files[_i]);
	load(name, &want);
	ck_ok(walk(buf_slice(&bytes), &got));
	ck_assert(slice_eq(buf_slice(&got), buf_slice(&want)));
	buf_fini(&got);
	buf_fini(&want);
	buf_fini(&bytes);
}
END_TEST

START_TEST(it_reads_through_any_env)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct bbolt_walk w = { .items_max = 100000 };
	struct buf bytes = { 0 };
	struct wfile *f;
	struct bbolt *b;

	load("large.db", &bytes);
	ck_ok(env_mkdir(env, "/snap"));
	ck_assert_int_eq(bbolt_open(env, PATH, &b), CAIRN_NOT_FOUND);
	ck_ok(env_open_write(env, PATH, &f));
	ck_ok(wfile_append(f, bytes.data, bytes.len));
	ck_ok(wfile_close(f));
	ck_ok(bbolt_open(env, PATH, &b));
	ck_assert_str_eq(bbolt_path(b), PATH);
	ck_assert_uint_eq(bbolt_info(b)->page_size, PAGE);
	ck_assert_uint_eq(bbolt_info(b)->file_len, bytes.len);
	ck_assert(!bbolt_info(b)->meta_damaged);
	ck_ok(bbolt_walk(&w, b));
	ck_assert_uint_gt(w.items, 600);
	bbolt_close(b);
	env_mem_free(env);
	buf_fini(&bytes);
}
END_TEST

/* Compare what a new position shows with the item that should be there, NULL
 * for none. */
static void ck_seek(struct bbolt_cursor *c, struct cairn_slice key,
		    const struct buf *want)
{
	struct bbolt_item item;
	int err;

	ck_ok(bbolt_cursor_seek(c, key));
	err = bbolt_cursor_next(c, &item);
	ck_assert_int_eq(err, want ? CAIRN_OK : CAIRN_NOT_FOUND);
	if (want)
		ck_assert(slice_eq(item.key, buf_slice(want)));
}

START_TEST(seeking_finds_each_key_and_each_gap)
{
	static const char *const names[] = { "tree", "bytes", "buckets",
					     "big" };
	struct buf bytes = { 0 }, keys[512] = { { 0 } }, gap = { 0 };
	struct bytes_env env;
	struct bbolt_bucket root, bucket;
	struct bbolt_cursor *c;
	struct bbolt_item item;
	struct bbolt *b;
	size_t n = 0;
	int err;

	load("large.db", &bytes);
	env = bytes_env_of(buf_slice(&bytes));
	ck_ok(bbolt_open(&env.base, PATH, &b));
	root = bbolt_root(b);
	ck_ok(bbolt_bucket_open(&root, slice_str(names[_i]), &bucket));
	ck_ok(bbolt_cursor_new(&bucket, &c));
	while ((err = bbolt_cursor_next(c, &item)) == CAIRN_OK) {
		ck_assert_uint_lt(n, 512);
		ck_ok(buf_set(&keys[n++], item.key));
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_int_eq(bbolt_cursor_next(c, &item), CAIRN_NOT_FOUND);
	ck_seek(c, slice_of(NULL, 0), &keys[0]);
	for (size_t i = 0; i < n; i++) {
		ck_seek(c, buf_slice(&keys[i]), &keys[i]);
		/* The first byte string behind it. */
		ck_ok(buf_set(&gap, buf_slice(&keys[i])));
		ck_ok(buf_append(&gap, "", 1));
		if (i + 1 == n ||
		    !slice_eq(buf_slice(&gap), buf_slice(&keys[i + 1])))
			ck_seek(c, buf_slice(&gap),
				i + 1 < n ? &keys[i + 1] : NULL);
	}
	ck_ok(bbolt_cursor_last(c, &item));
	ck_assert(slice_eq(item.key, buf_slice(&keys[n - 1])));
	ck_assert_int_eq(bbolt_cursor_next(c, &item), CAIRN_NOT_FOUND);
	for (size_t i = 0; i < n; i++)
		buf_fini(&keys[i]);
	buf_fini(&gap);
	bbolt_cursor_free(c);
	bbolt_bucket_release(&bucket);
	bbolt_close(b);
	buf_fini(&bytes);
}
END_TEST

START_TEST(a_bucket_is_found_by_its_name_or_not_at_all)
{
	struct buf bytes = { 0 };
	struct bytes_env env;
	struct bbolt_bucket root, nest, got = { 0 };
	struct bbolt_cursor *c;
	struct bbolt_item item;
	struct bbolt *b;

	load("small.db", &bytes);
	env = bytes_env_of(buf_slice(&bytes));
	ck_ok(bbolt_open(&env.base, PATH, &b));
	root = bbolt_root(b);
	ck_ok(bbolt_bucket_open(&root, slice_str("nest"), &nest));
	ck_assert_int_eq(bbolt_bucket_open(&root, slice_str("nes"), &got),
			 CAIRN_NOT_FOUND);
	ck_assert_int_eq(bbolt_bucket_open(&root, slice_str("zzz"), &got),
			 CAIRN_NOT_FOUND);
	/* "leaf" is a value in it. */
	ck_assert_int_eq(bbolt_bucket_open(&nest, slice_str("leaf"), &got),
			 CAIRN_ECORRUPT);
	ck_ok(bbolt_bucket_open(&root, slice_str("empty"), &got));
	ck_ok(bbolt_cursor_new(&got, &c));
	ck_assert_int_eq(bbolt_cursor_last(c, &item), CAIRN_NOT_FOUND);
	bbolt_cursor_free(c);
	bbolt_bucket_release(&got);
	ck_ok(bbolt_bucket_open(&root, slice_str("inline"), &got));
	ck_assert_uint_eq(got.sequence, 7);
	ck_assert_uint_eq(got.root, 0);
	bbolt_bucket_release(&got);
	bbolt_bucket_release(&nest);
	bbolt_close(b);
	buf_fini(&bytes);
}
END_TEST

/* ------------------------------------------------------------------ damage */

static uint64_t sum(const uint8_t *p, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037);

	while (len--)
		h = (h ^ *p++) * UINT64_C(1099511628211);
	return h;
}

/* Make the checksum of the meta at page i right. */
static void seal(uint8_t *file, unsigned i)
{
	uint8_t *meta = file + i * PAGE + 16;

	put_le64(meta + 56, sum(meta, 56));
}

static uint64_t txid_of(const uint8_t *file, unsigned i)
{
	return load_le64(file + i * PAGE + 16 + 48);
}

/* The failure names the file, and where in it. */
static void ck_corrupt(int err, const char *what)
{
	ck_assert_msg(err == CAIRN_ECORRUPT, "%s: %d", what, err);
	ck_assert_msg(strstr(cairn_errmsg(), PATH ": offset "), "%s: %s", what,
		      cairn_errmsg());
}

START_TEST(the_meta_that_counts_is_the_last_good_one)
{
	struct buf bytes = { 0 };
	struct bytes_env env;
	struct bbolt *b;
	unsigned last;
	uint64_t txid[2];

	load("large.db", &bytes);
	env = bytes_env_of(buf_slice(&bytes));
	txid[0] = txid_of(bytes.data, 0);
	txid[1] = txid_of(bytes.data, 1);
	ck_assert_uint_ne(txid[0], txid[1]);
	last = txid[1] > txid[0];
	ck_ok(bbolt_open(&env.base, PATH, &b));
	ck_assert_uint_eq(bbolt_info(b)->txid, txid[last]);
	bbolt_close(b);
	/* Each damaged alone, the page size of the first among it. */
	for (unsigned i = 0; i < 2; i++) {
		bytes.data[i * PAGE + 16 + 8] ^= 1;
		ck_ok(bbolt_open(&env.base, PATH, &b));
		ck_assert_uint_eq(bbolt_info(b)->txid, txid[!i]);
		ck_assert(bbolt_info(b)->meta_damaged);
		bbolt_close(b);
		bytes.data[i * PAGE + 16 + 8] ^= 1;
	}
	bytes.data[16 + 60] ^= 1;
	bytes.data[PAGE + 16 + 60] ^= 1;
	ck_corrupt(bbolt_open(&env.base, PATH, &b), "both");
	buf_fini(&bytes);
}
END_TEST

/* The second meta is found by its page size, if the first is none. */
START_TEST(metas_that_disagree_about_the_page_size_are_not_both_believed)
{
	struct buf bytes = { 0 };
	struct bytes_env env;
	struct bbolt *b;

	load("small.db", &bytes);
	env = bytes_env_of(buf_slice(&bytes));
	put_le32(bytes.data + PAGE + 16 + 8, 2 * PAGE);
	seal(bytes.data, 1);
	ck_ok(bbolt_open(&env.base, PATH, &b));
	ck_assert_uint_eq(bbolt_info(b)->page_size, PAGE);
	ck_assert_uint_eq(bbolt_info(b)->txid, txid_of(bytes.data, 0));
	ck_assert(bbolt_info(b)->meta_damaged);
	bbolt_close(b);
	bytes.data[16 + 60] ^= 1;
	ck_corrupt(bbolt_open(&env.base, PATH, &b), "found at another size");
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "both metas"));
	buf_fini(&bytes);
}
END_TEST

/* From page 2 on, each with one child, the next page. */
START_TEST(a_tree_deeper_than_any_is_refused)
{
	enum { DEPTH = 40 };
	struct buf bytes = { 0 };

	load("small.db", &bytes);
	ck_ok(buf_reserve(&bytes, (2 + DEPTH) * PAGE));
	memset(bytes.data + 2 * PAGE, 0, DEPTH * PAGE);
	bytes.len = (2 + DEPTH) * PAGE;
	for (unsigned i = 0; i < 2; i++) {
		put_le64(bytes.data + i * PAGE + 16 + 16, 2);
		put_le64(bytes.data + i * PAGE + 16 + 40, 2 + DEPTH);
		seal(bytes.data, i);
	}
	for (unsigned i = 0; i < DEPTH; i++) {
		uint8_t *p = bytes.data + (2 + i) * PAGE;

		put_le64(p, 2 + i);
		put_le16(p + 8, i + 1 < DEPTH ? 1 : 2);
		put_le16(p + 10, 1);
		put_le32(p + 16 + (i + 1 < DEPTH ? 0 : 4), 16);
		put_le32(p + 16 + (i + 1 < DEPTH ? 4 : 8), 1);
		if (i + 1 < DEPTH)
			put_le64(p + 16 + 8, 3 + i);
		p[32] = 'k';
	}
	ck_corrupt(walk(buf_slice(&bytes), NULL), "40 levels");
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "more than 32 levels"));
	buf_fini(&bytes);
}
END_TEST

START_TEST(what_is_no_bbolt_file_is_refused)
{
	static const struct {
		const char *name;
		size_t at;
		uint32_t value;
		int want;
	} cases[] = {
		{ "magic", 0, 0x12345678, CAIRN_ECORRUPT },
		{ "big-endian", 0, 0xedda0ced, CAIRN_ENOTSUP },
		{ "version 3", 4, 3, CAIRN_ENOTSUP },
		{ "page size 0", 8, 0, CAIRN_ECORRUPT },
		{ "page size that is no power of two", 8, 1025,
		  CAIRN_ECORRUPT },
		{ "page size over 16 MiB", 8, 1u << 25, CAIRN_ECORRUPT },
		{ "root is a meta", 16, 1, CAIRN_ECORRUPT },
		{ "root behind the end", 16, 14, CAIRN_ECORRUPT },
		{ "root far behind the end", 20, 0x80000000, CAIRN_ECORRUPT },
		{ "no pages", 40, 2, CAIRN_ECORRUPT },
		{ "a page too many", 40, 15, CAIRN_ECORRUPT },
		{ "2^63 pages", 44, 0x80000000, CAIRN_ECORRUPT },
	};
	struct buf bytes = { 0 };
	int err;

	load("small.db", &bytes);
	ck_assert_uint_eq(bytes.len, 14 * PAGE);
	for (unsigned i = 0; i < 2; i++) {
		put_le32(bytes.data + i * PAGE + 16 + cases[_i].at,
			 cases[_i].value);
		seal(bytes.data, i);
	}
	err = walk(buf_slice(&bytes), NULL);
	ck_assert_msg(err == cases[_i].want, "%s: %d", cases[_i].name, err);
	ck_assert_msg(strstr(cairn_errmsg(), PATH ": "), "%s: %s",
		      cases[_i].name, cairn_errmsg());
	buf_fini(&bytes);
}
END_TEST

static uint64_t root_page(const uint8_t *file)
{
	unsigned last = txid_of(file, 1) > txid_of(file, 0);

	return load_le64(file + last * PAGE + 16 + 16);
}

/* The page of the bucket that is element i of the root's leaf. */
static uint64_t bucket_page(const uint8_t *file, size_t i, size_t *value_at)
{
	size_t at = root_page(file) * PAGE + 16 + 16 * i;

	*value_at = at + load_le32(file + at + 4) + load_le32(file + at + 8);
	return load_le64(file + *value_at);
}

/* Which of small.db's buckets, in order of names. */
enum { EMPTY, INLINE, NEST, TREE, WIDE };

START_TEST(pages_that_lie_are_refused)
{
	/* On the root page of a bucket, or the value that it is. */
	static const struct {
		const char *name;
		int bucket;
		bool of_value;
		size_t at;
		uint32_t value;
	} cases[] = {
		{ "another id", TREE, false, 0, 5 },
		{ "a meta's flags", TREE, false, 8, 4 },
		{ "branch and leaf", TREE, false, 8, 3 },
		{ "a branch of nothing", TREE, false, 8, 1 },
		{ "more elements than fit", TREE, false, 8, 0x00ff0001 },
		{ "overflow behind the end", TREE, false, 12, 12 },
		{ "overflow of 2^32 - 1", TREE, false, 12, UINT32_MAX },
		{ "pos in the elements", TREE, false, 16, 4 },
		{ "pos behind the page", TREE, false, 16, 1024 },
		{ "pos near 2^32", TREE, false, 16, UINT32_MAX },
		{ "no key", TREE, false, 20, 0 },
		{ "key behind the page", TREE, false, 20, 1024 },
		{ "child is a meta", TREE, false, 24, 1 },
		{ "child behind the end", TREE, false, 24, 14 },
		{ "a child that is a leaf of no flags", WIDE, false, 16, 2 },
		{ "value behind the page", WIDE, false, 28, 1u << 20 },
		{ "value of 2^32 - 1", WIDE, false, 28, UINT32_MAX },
		{ "bucket at a meta", TREE, true, 0, 1 },
		{ "bucket behind the end", TREE, true, 0, 14 },
		{ "bucket far behind the end", TREE, true, 4, 1 },
		{ "a branch in a value", INLINE, true, 16 + 8, 0x00020001 },
		{ "more in a value than fits", INLINE, true, 16 + 8,
		  0xffff0002 },
		{ "pos behind the value", INLINE, true, 16 + 16 + 4, 100 },
	};
	struct buf bytes = { 0 };
	size_t value_at, at;

	load("small.db", &bytes);
	at = bucket_page(bytes.data, (size_t)cases[_i].bucket, &value_at) *
	     PAGE;
	if (cases[_i].of_value)
		at = value_at;
	put_le32(bytes.data + at + cases[_i].at, cases[_i].value);
	ck_corrupt(walk(buf_slice(&bytes), NULL), cases[_i].name);
	buf_fini(&bytes);
}
END_TEST

START_TEST(a_bucket_in_itself_is_refused)
{
	struct buf bytes = { 0 };
	size_t value_at;

	load("small.db", &bytes);
	(void)bucket_page(bytes.data, TREE, &value_at);
	put_le64(bytes.data + value_at, root_page(bytes.data));
	ck_corrupt(walk(buf_slice(&bytes), NULL), "cycle of buckets");
	buf_fini(&bytes);
}
END_TEST

START_TEST(a_branch_below_itself_is_refused)
{
	struct buf bytes = { 0 };
	size_t value_at;
	uint64_t page;

	load("small.db", &bytes);
	page = bucket_page(bytes.data, TREE, &value_at);
	put_le64(bytes.data + page * PAGE + 16 + 8, page);
	ck_corrupt(walk(buf_slice(&bytes), NULL), "cycle of branches");
	buf_fini(&bytes);
}
END_TEST

START_TEST(a_child_of_two_parents_is_refused)
{
	struct buf bytes = { 0 };
	size_t value_at;
	uint8_t *p;

	load("small.db", &bytes);
	p = bytes.data + bucket_page(bytes.data, TREE, &value_at) * PAGE + 16;
	put_le64(p + 16 + 8, load_le64(p + 8));
	ck_corrupt(walk(buf_slice(&bytes), NULL), "a page twice");
	/* The other way round its keys are not those of its place. */
	load("small.db", &bytes);
	p = bytes.data + bucket_page(bytes.data, TREE, &value_at) * PAGE + 16;
	put_le64(p + 8, load_le64(p + 16 + 8));
	ck_corrupt(walk(buf_slice(&bytes), NULL), "a page twice");
	buf_fini(&bytes);
}
END_TEST

START_TEST(a_file_cut_short_is_refused)
{
	struct buf bytes = { 0 };

	load("small.db", &bytes);
	for (size_t n = 0; n < bytes.len; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		int err;

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, bytes.data, n);
		err = walk(slice_of(copy, n), NULL);
		/* Without its end a file may be as it was a commit before. */
		if (err || n >= bytes.len - 32)
			ck_corrupt(err, "cut short");
		free(copy);
	}
	buf_fini(&bytes);
}
END_TEST

START_TEST(a_bent_file_is_read_or_refused_but_never_believed)
{
	struct buf bytes = { 0 };

	load("small.db", &bytes);
	for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
		int err;

		bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		err = walk(buf_slice(&bytes), NULL);
		ck_assert(!err || err == CAIRN_ECORRUPT ||
			  err == CAIRN_ENOTSUP);
		if (err == CAIRN_ECORRUPT)
			ck_corrupt(err, "bent");
		bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_fini(&bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bbolt");
	TCase *tc = tcase_create("bbolt");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_file_holds_what_bbolt_says, 0, N_FILES);
	tcase_add_test(tc, it_reads_through_any_env);
	tcase_add_loop_test(tc, seeking_finds_each_key_and_each_gap, 0, 4);
	tcase_add_test(tc, a_bucket_is_found_by_its_name_or_not_at_all);
	tcase_add_test(tc, the_meta_that_counts_is_the_last_good_one);
	tcase_add_test(
		tc,
		metas_that_disagree_about_the_page_size_are_not_both_believed);
	tcase_add_test(tc, a_tree_deeper_than_any_is_refused);
	tcase_add_loop_test(tc, what_is_no_bbolt_file_is_refused, 0, 12);
	tcase_add_loop_test(tc, pages_that_lie_are_refused, 0, 23);
	tcase_add_test(tc, a_bucket_in_itself_is_refused);
	tcase_add_test(tc, a_branch_below_itself_is_refused);
	tcase_add_test(tc, a_child_of_two_parents_is_refused);
	tcase_add_test(tc, a_file_cut_short_is_refused);
	tcase_add_test(tc, a_bent_file_is_read_or_refused_but_never_believed);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
