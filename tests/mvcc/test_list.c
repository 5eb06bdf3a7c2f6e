/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "engine/base/rng.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_fini(&f);
}

static void mkdir_key(const char *key)
{
	const struct mvcc_attrs dir = { .type = MVCC_DIR };

	ck_ok(mvcc_put(f.m, S(key), none(), &dir, NULL));
}

/* One entry: "[name]" and f for a file, d for a directory, D with a record. */
static int print_entry(struct buf *text, const struct mvcc_entry *e)
{
	return buf_printf(text, "%s[%.*s]%s%s", text->len ? " " : "",
			  (int)e->name.len, (const char *)e->name.data,
			  e->is_file ? "f" : "",
			  e->is_dir ? (e->has_dir_row ? "D" : "d") : "");
}

static void ck_entry_rows(struct cairn_slice dir, const struct mvcc_entry *e)
{
	struct buf key = { 0 };

	ck_ok(buf_append(&key, dir.data, dir.len));
	ck_ok(buf_append(&key, e->name.data, e->name.len));
	if (e->is_file) {
		ck_assert(slice_eq(e->file.key, buf_slice(&key)));
		ck_assert(e->file.attrs.type != MVCC_DIR);
		/* The tests put each key's own name. */
		if (e->file.size < CHUNK)
			ck_assert(slice_eq(e->file.value, buf_slice(&key)));
	}
	ck_ok(buf_append(&key, "/", 1));
	if (e->has_dir_row) {
		ck_assert(slice_eq(e->dir_row.key, buf_slice(&key)));
		ck_assert(e->dir_row.attrs.type == MVCC_DIR);
	}
	buf_fini(&key);
}

static const char *list(int64_t rev, const char *dir, const char *start)
{
	static struct buf text;
	struct mvcc_list *l;
	struct mvcc_entry e;
	int err;

	buf_clear(&text);
	ck_ok(mvcc_list_new(f.m, rev, S(dir), S(start), &l));
	while ((err = mvcc_list_next(l, &e)) == CAIRN_OK) {
		ck_entry_rows(S(dir), &e);
		ck_ok(print_entry(&text, &e));
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_int_eq(mvcc_list_next(l, &e), CAIRN_NOT_FOUND);
	mvcc_list_free(l);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

static void put_names(const char *const *keys)
{
	for (; *keys; keys++)
		put(f.m, *keys, *keys);
}

START_TEST(a_listing_shows_each_name_once_in_order_of_names)
{
	static const struct {
		const char *keys[8];
		const char *dir;
		const char *want;
	} cases[] = {
		{ { "a", "b", "c" }, "", "[a]f [b]f [c]f" },
		{ { "a/x", "a/y", "b/z/w" }, "", "[a]d [b]d" },
		{ { "a/x", "a/y", "ab" }, "a/", "[x]f [y]f" },
		/* A file and a directory of one name, with keys between. */
		{ { "a", "a!", "a/x" }, "", "[a]fd [a!]f" },
		{ { "a!", "a/x" }, "", "[a]d [a!]f" },
		{ { "a!/y", "a/x" }, "", "[a]d [a!]d" },
		{ { "a", "a!", "a!/y", "a!!", "a/x" },
		  "",
		  "[a]fd [a!]fd [a!!]f" },
		{ { "a!!", "a!/y", "a/x" }, "", "[a]d [a!]d [a!!]f" },
		{ { "a!x/1", "a!x", "a!", "a/x" }, "", "[a]d [a!]f [a!x]fd" },
		{ { "a-1.c", "a-2.c", "a/x", "a" },
		  "",
		  "[a]fd [a-1.c]f [a-2.c]f" },
		{ { "a-1.c", "a-1/y", "a/x" }, "", "[a]d [a-1]d [a-1.c]f" },
		/* Empty names. */
		{ { "/x", "a" }, "", "[]d [a]f" },
		{ { "//x", "/y" }, "/", "[]d [y]f" },
		{ { "d/", "d/x" }, "d/", "[]f [x]f" },
		{ { "d/", "d//x", "d/y" }, "d/", "[]fd [y]f" },
		{ { "d/", "d/!", "d//x" }, "d/", "[]fd [!]f" },
		{ { "d/!", "d//x" }, "d/", "[]d [!]f" },
		{ { "d/" }, "", "[d]d" },
		{ { "a/x" }, "b/", "" },
	};

	put_names(cases[_i].keys);
	ck_assert_str_eq(list(0, cases[_i].dir, ""), cases[_i].want);
	flush(f.m);
	ck_assert_str_eq(list(0, cases[_i].dir, ""), cases[_i].want);
}
END_TEST

START_TEST(directory_records_show_as_the_directory_they_stand_for)
{
	mkdir_key("d/");
	mkdir_key("d/e/");
	mkdir_key("d!/");
	put(f.m, "d/f", "d/f");
	ck_assert_str_eq(list(0, "", ""), "[d]D [d!]D");
	ck_assert_str_eq(list(0, "d/", ""), "[e]D [f]f");
	ck_assert_str_eq(list(0, "d/e/", ""), "");
	del(f.m, "d/");
	ck_assert_str_eq(list(0, "", ""), "[d]d [d!]D");
	put(f.m, "d", "d");
	mkdir_key("d/");
	ck_assert_str_eq(list(0, "", ""), "[d]fD [d!]D");
}
END_TEST

START_TEST(a_listing_at_a_revision_shows_what_was_then)
{
	put(f.m, "a", "a");     /* 2 */
	put(f.m, "d/x", "d/x"); /* 3 */
	put(f.m, "d/y", "d/y"); /* 4 */
	del(f.m, "d/x");        /* 5 */
	del(f.m, "d/y");        /* 6 */
	put(f.m, "d", "d");     /* 7 */
	ck_assert_str_eq(list(1, "", ""), "");
	ck_assert_str_eq(list(2, "", ""), "[a]f");
	ck_assert_str_eq(list(3, "", ""), "[a]f [d]d");
	ck_assert_str_eq(list(5, "d/", ""), "[y]f");
	ck_assert_str_eq(list(6, "", ""), "[a]f");
	ck_assert_str_eq(list(7, "", ""), "[a]f [d]f");
}
END_TEST

START_TEST(a_listing_can_start_anywhere)
{
	static const char *const keys[] = { "a", "a!",  "a!/y", "a/x",
					    "b", "c/z", NULL };
	static const struct {
		const char *start;
		const char *want;
	} cases[] = {
		{ "a", "[a]fd [a!]fd [b]f [c]d" },
		{ "a!", "[a!]fd [b]f [c]d" },
		{ "a\"", "[b]f [c]d" },
		{ "b", "[b]f [c]d" },
		{ "c", "[c]d" },
		{ "d", "" },
	};

	put_names(keys);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(list(0, "", cases[i].start), cases[i].want);
}
END_TEST

START_TEST(only_directories_can_be_listed)
{
	struct mvcc_list *l;

	ck_code(mvcc_list_new(f.m, 0, S("a"), none(), &l), CAIRN_EINVAL);
	ck_code(mvcc_list_new(f.m, 2, S("a/"), none(), &l), CAIRN_EFUTURE);
}
END_TEST

static const char *lookup(int64_t rev, const char *dir, const char *name)
{
	static struct buf text;
	struct mvcc_pinned_row a = { 0 }, b = { 0 };
	struct mvcc_entry e;
	int err = mvcc_lookup(f.m, rev, S(dir), S(name), &e, &a, &b);

	buf_clear(&text);
	if (!err) {
		ck_entry_rows(S(dir), &e);
		ck_ok(print_entry(&text, &e));
	} else {
		ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	}
	mvcc_row_release(&a);
	mvcc_row_release(&b);
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

START_TEST(a_lookup_says_what_a_name_is)
{
	put(f.m, "a", "a");
	put(f.m, "a/x", "a/x");
	put(f.m, "b/y", "b/y");
	mkdir_key("c/");
	put(f.m, "d/", "d/");
	put(f.m, "//z", "//z");
	ck_assert_str_eq(lookup(0, "", "a"), "[a]fd");
	ck_assert_str_eq(lookup(2, "", "a"), "[a]f");
	ck_assert_str_eq(lookup(0, "", "b"), "[b]d");
	ck_assert_str_eq(lookup(0, "", "c"), "[c]D");
	ck_assert_str_eq(lookup(0, "", "d"), "[d]d");
	ck_assert_str_eq(lookup(0, "", "e"), "");
	ck_assert_str_eq(lookup(0, "a/", "x"), "[x]f");
	ck_assert_str_eq(lookup(0, "d/", ""), "[]f");
	ck_assert_str_eq(lookup(0, "c/", ""), "");
	ck_assert_str_eq(lookup(0, "", ""), "[]d");
	ck_assert_str_eq(lookup(0, "/", ""), "[]d");
	ck_assert_str_eq(lookup(0, "", "b!"), "");
}
END_TEST

/* ------------------------------------------------------ against a set of keys
 */

#define N_SHORT   120 /* strings of up to four bytes of these */
#define N_CHANGES 2000

static void short_key(int n, char out[8])
{
	size_t len = 0;

	for (n++; n; n = (n - 1) / 3)
		out[len++] = "a/!"[(n - 1) % 3];
	out[len] = '\0';
}

/* What a lookup of name in dir must say of the live keys. */
static void expect_lookup(const bool *live, const char *dir, const char *name,
			  char *out, size_t size)
{
	bool is_file = false, is_dir = false;
	char whole[16], key[8];

	snprintf(whole, sizeof(whole), "%s%s", dir, name);
	for (int i = 0; i < N_SHORT; i++) {
		size_t len = strlen(whole);

		short_key(i, key);
		if (!live[i] || strncmp(key, whole, len) != 0)
			continue;
		is_file |= key[len] == '\0';
		is_dir |= key[len] == '/';
	}
	out[0] = '\0';
	if (is_file || is_dir)
		snprintf(out, size, "[%s]%s%s", name, is_file ? "f" : "",
			 is_dir ? "d" : "");
}

START_TEST(a_lookup_is_right_while_keys_come_and_go)
{
	static const char *const dirs[] = { "", "a/", "!/", "/", "a/a/" };
	static const char *const names[] = { "a", "!", "aa", "a!", "!!", "" };
	static bool live[N_CHANGES + 2][N_SHORT];
	struct rng r;
	int64_t now = 1;

	rng_init(&r, 7);
	for (int n = 0; n < N_CHANGES; n++) {
		int k = (int)rng_below(&r, N_SHORT);
		char key[8], want[32];

		short_key(k, key);
		if (live[now][k] || rng_one_in(&r, 3)) {
			memcpy(live[now + 1], live[now], sizeof(live[0]));
			now++;
			live[now][k] = !live[now][k];
			if (live[now][k])
				put(f.m, key, key);
			else
				ck_ok(mvcc_delete(f.m, S(key), NULL));
		}
		for (int i = 0; i < 8; i++) {
			const char *dir = dirs[rng_below(&r, 5)];
			const char *name = names[rng_below(&r, 6)];
			int64_t back = (int64_t)rng_below(&r, 4);
			int64_t rev = back < now ? now - back : now;

			expect_lookup(live[rev], dir, name, want, sizeof(want));
			ck_assert_str_eq(lookup(back ? rev : 0, dir, name),
					 want);
		}
	}
}
END_TEST

/* ------------------------------------------------------- against plain sorting
 */

#define N_KEYS 60

struct tree {
	char keys[N_KEYS][8];
	bool live[N_KEYS];
};

/* What the listing of dir must say, from the set of keys alone. */
static void expect(const struct tree *t, const char *dir, const char *start,
		   struct buf *text)
{
	char names[N_KEYS][8];
	size_t n = 0, dir_len = strlen(dir);

	for (int i = 0; i < N_KEYS; i++) {
		char name[8];
		size_t at = 0;

		if (!t->live[i] || strncmp(t->keys[i], dir, dir_len) != 0)
			continue;
		snprintf(name, sizeof(name), "%s", t->keys[i] + dir_len);
		name[strcspn(name, "/")] = '\0';
		if (strcmp(name, start) < 0)
			continue;
		while (at < n && strcmp(names[at], name) < 0)
			at++;
		if (at < n && strcmp(names[at], name) == 0)
			continue;
		memmove(names[at + 1], names[at], (n - at) * sizeof(names[0]));
		memcpy(names[at], name, sizeof(name));
		n++;
	}
	for (size_t j = 0; j < n; j++) {
		struct mvcc_entry e = { .name = slice_str(names[j]) };
		char key[24];

		snprintf(key, sizeof(key), "%s%s", dir, names[j]);
		for (int i = 0; i < N_KEYS; i++) {
			size_t len = strlen(key);

			if (!t->live[i] || strncmp(t->keys[i], key, len) != 0)
				continue;
			e.is_file |= t->keys[i][len] == '\0';
			e.is_dir |= t->keys[i][len] == '/';
		}
		ck_ok(print_entry(text, &e));
	}
	ck_ok(buf_append(text, "", 1));
}

static void random_tree(struct rng *r, struct tree *t)
{
	static const char bytes[] = "a/!b.";

	for (int i = 0; i < N_KEYS; i++) {
		size_t len = 1 + (size_t)rng_below(r, 6);

		for (size_t j = 0; j < len; j++)
			t->keys[i][j] = bytes[rng_below(r, 5)];
		t->keys[i][len] = '\0';
		t->live[i] = !rng_one_in(r, 3);
		for (int k = 0; k < i; k++)
			if (strcmp(t->keys[k], t->keys[i]) == 0)
				t->live[i] = t->live[k];
		put(f.m, t->keys[i], t->keys[i]);
		if (!t->live[i])
			del(f.m, t->keys[i]);
		if (rng_one_in(r, 20))
			flush(f.m);
	}
}

START_TEST(random_trees_are_listed_like_sorted_keys)
{
	static const char *const dirs[] = { "",   "a/",   "/", "a!/",
					    "//", "b/a/", "./" };
	static const char *const starts[] = { "", "a", "!", "a!", "b.a", ".b" };
	struct buf want = { 0 };
	struct tree t;
	struct rng r;

	rng_init(&r, (uint64_t)_i + 1);
	random_tree(&r, &t);
	for (size_t d = 0; d < sizeof(dirs) / sizeof(dirs[0]); d++) {
		for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]);
		     s++) {
			buf_clear(&want);
			expect(&t, dirs[d], starts[s], &want);
			ck_assert_str_eq(list(0, dirs[d], starts[s]),
					 (const char *)want.data);
		}
	}
	buf_fini(&want);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("list");
	TCase *tc = tcase_create("list");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
		tc, a_listing_shows_each_name_once_in_order_of_names, 0, 19);
	tcase_add_test(tc,
		       directory_records_show_as_the_directory_they_stand_for);
	tcase_add_test(tc, a_listing_at_a_revision_shows_what_was_then);
	tcase_add_test(tc, a_listing_can_start_anywhere);
	tcase_add_test(tc, only_directories_can_be_listed);
	tcase_add_test(tc, a_lookup_says_what_a_name_is);
	tcase_add_test(tc, a_lookup_is_right_while_keys_come_and_go);
	tcase_add_loop_test(tc, random_trees_are_listed_like_sorted_keys, 0,
			    100);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
