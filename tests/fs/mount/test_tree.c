/* SPDX-License-Identifier: BSD-3-Clause */
/* The tree of keys and its listings, without a mount. */
#include "fs/mount/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "engine/base/rng.h"
#include "fs/mount/dir.h"
#include "tests/fs/fixture.h"
#include "tests/support/runner.h"

static struct fixture fx;
static struct inodes *inodes;
static struct keyfiles *ks;
static struct tree tree;
static struct inode *top;
static const struct tree_maker me = { 0, 0, 0644 };

static void hold(void *ctx, void *owner)
{
	inode_ref(*(struct inodes **)ctx, owner);
}

static void let_go(void *ctx, void *owner)
{
	inode_drop_file(*(struct inodes **)ctx, owner);
	inode_unref(*(struct inodes **)ctx, owner);
}

static void setup_parts(void)
{
	struct keyfiles_options ko = {
		.commit_us = 5000000,
		.attrs_us = 500000,
		.dirty_max = 1 << 20,
		.value_max = UINT64_C(1) << 40,
		.whole_values = fx.plain,
		.hooks = { .ctx = &inodes, .hold = hold, .let_go = let_go },
	};
	struct tree_options to = { .umask = 022 };
	struct inode_id id = { INODE_DIR, 0, slice_str(""), 0 };

	ck_ok(inodes_new(&inodes));
	ck_ok(keyfiles_new(fx.m, &ko, &ks));
	tree_init(&tree, fx.m, inodes, ks, &to);
	ck_ok(inode_get(inodes, &id, &top));
}

static void setup(void)
{
	fixture_init(&fx);
	setup_parts();
}

static void setup_plain(void)
{
	fixture_init_plain(&fx);
	setup_parts();
}

static void teardown(void)
{
	ck_ok(keyfiles_commit_all(ks, false));
	inode_unref(inodes, top);
	ck_assert_uint_eq(inodes_count(inodes), 0);
	inodes_free(inodes);
	keyfiles_free(ks);
	tree_fini(&tree);
	fixture_fini(&fx);
}

static void put(const char *key, const char *value)
{
	ck_ok(mvcc_put(fx.m, S(key), S(value), NULL, NULL));
}

/* Follow a path from the top: an errno, or *out with a reference. */
static int walk(const char *path, struct inode **out, struct stat *st)
{
	struct inode *at = top, *next;
	int err = 0;

	inode_ref(inodes, at);
	while (*path && !err) {
		size_t len = strcspn(path, "/");

		err = tree_lookup(&tree, at, slice_of(path, len), &next, st);
		inode_unref(inodes, at);
		at = err ? NULL : next;
		path += len;
		path += *path == '/';
	}
	*out = at;
	return err;
}

static void expect_file(const char *path, off_t size)
{
	struct inode *i;
	struct stat st;
	int err = walk(path, &i, &st);

	ck_assert_msg(!err, "%s: errno %d", path, err);
	ck_assert_msg(S_ISREG(st.st_mode) && st.st_size == size,
		      "%s: mode %o, size %lld", path, st.st_mode,
		      (long long)st.st_size);
	inode_unref(inodes, i);
}

static void expect_dir(const char *path)
{
	struct inode *i;
	struct stat st;

	ck_assert_msg(!walk(path, &i, &st), "%s", path);
	ck_assert_msg(S_ISDIR(st.st_mode), "%s", path);
	inode_unref(inodes, i);
}

static void expect_errno(const char *path, int want)
{
	struct inode *i;
	struct stat st;
	int err = walk(path, &i, &st);

	ck_assert_msg(err == want, "%s: errno %d, not %d", path, err, want);
	inode_unref(inodes, i);
}

/* The directory and the last name of a path, for calls that take both. */
struct place {
	struct inode *dir;
	const char *name;
};

static struct place place(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct place p = { top, slash ? slash + 1 : path };
	struct stat st;
	char dir[512];

	if (!slash) {
		inode_ref(inodes, top);
		return p;
	}
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	ck_assert_msg(!walk(dir, &p.dir, &st), "%s", dir);
	return p;
}

#define WITH_PLACE(path, call)                                                 \
	do {                                                                   \
		struct place p = place(path);                                  \
                                                                               \
		err = (call);                                                  \
		inode_unref(inodes, p.dir);                                    \
	} while (0)

static int do_mkdir(const char *path)
{
	struct tree_maker by = me;
	int err;

	by.mode = 0755;
	WITH_PLACE(path, tree_mkdir(&tree, p.dir, S(p.name), &by));
	return err;
}

static int do_unlink(const char *path)
{
	int err;

	WITH_PLACE(path, tree_unlink(&tree, p.dir, S(p.name)));
	return err;
}

static int do_rmdir(const char *path)
{
	int err;

	WITH_PLACE(path, tree_rmdir(&tree, p.dir, S(p.name)));
	return err;
}

static int do_rename(const char *from, const char *to, enum tree_rename_how how)
{
	struct place a = place(from), b = place(to);
	int err = tree_rename(&tree, a.dir, S(a.name), b.dir, S(b.name), how);

	inode_unref(inodes, a.dir);
	inode_unref(inodes, b.dir);
	return err;
}

/* An open file that is not committed. */
static struct keyfile *do_create(const char *path, struct inode **i)
{
	struct keyfile *kf;
	int err;

	WITH_PLACE(path,
		   tree_create(&tree, p.dir, S(p.name), &me, true, i, &kf));
	ck_assert_int_eq(err, 0);
	keyfile_open(kf);
	return kf;
}

static void do_close(struct inode *i, struct keyfile *kf)
{
	ck_ok(keyfile_close(kf));
	keyfile_unref(kf);
	inode_drop_file(inodes, i);
	inode_unref(inodes, i);
}

/* All names of a directory, each with a newline behind; seeks back now and
 * then when r is given. */
static void list(struct inode *i, struct rng *r, struct buf *out)
{
	struct dir_entry e;
	struct dir *d;
	size_t ends[4096];
	size_t n = 0;
	int err, seeks = 40;

	buf_clear(out);
	ck_assert_int_eq(dir_open_keys(&tree, i, &d), 0);
	while (!(err = dir_peek(d, &e))) {
		ck_assert_uint_lt(n, 4096);
		ck_assert_uint_eq(e.cookie, n + 1);
		ends[n++] = out->len;
		ck_ok(buf_append(out, e.name.data, e.name.len));
		ck_ok(buf_append(out, e.type == DT_DIR ? "/\n" : "\n",
				 e.type == DT_DIR ? 2 : 1));
		dir_take(d);
		if (r && rng_one_in(r, 5))
			ck_assert_int_eq(dir_mark(d), 0);
		if (r && n > 3 && seeks && rng_one_in(r, 10)) {
			size_t back = 1 + rng_below(r, n - 1);

			ck_assert_int_eq(dir_seek(d, back), 0);
			out->len = ends[back];
			n = back;
			seeks--;
		}
	}
	ck_assert_int_eq(err, ENOENT);
	dir_close(d);
}

static void expect_list(const char *path, const char *want)
{
	struct buf got = { 0 };
	struct inode *i;
	struct stat st;

	ck_assert_int_eq(walk(path, &i, &st), 0);
	list(i, NULL, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), S(want)), "%.*s", (int)got.len,
		      (const char *)got.data);
	buf_fini(&got);
	inode_unref(inodes, i);
}

START_TEST(keys_are_files_and_their_prefixes_directories)
{
	put("a", "1");
	put("d/e/f", "22");
	expect_file("a", 1);
	expect_dir("d");
	expect_dir("d/e");
	expect_file("d/e/f", 2);
	expect_errno("b", ENOENT);
	expect_errno("d/x", ENOENT);
	expect_errno("%=", ENOENT);
	expect_errno("x%@", ENOENT);
}
END_TEST

START_TEST(a_key_that_begins_with_a_slash_is_in_a_directory_without_name)
{
	struct inode *i;
	struct keyfile *kf;
	int err;

	expect_errno("%", ENOENT);
	put("/a", "1");
	expect_dir("%");
	expect_file("%/a", 1);
	expect_list("", "./\n../\n%/\n");
	expect_list("%", "./\n../\na\n");
	ck_assert_int_eq(do_rename("%", "d", TREE_RENAME), 0);
	expect_file("d/a", 1);
	ck_assert_int_eq(do_rename("d", "%", TREE_RENAME), 0);
	expect_file("%/a", 1);
	ck_assert_int_eq(do_rename("%/a", "a", TREE_RENAME), 0);
	ck_assert_int_eq(do_rename("a", "%", TREE_RENAME), EISDIR);
	ck_assert_int_eq(do_rmdir("%"), 0);
	/* That is the empty key then, which a plain store may have. */
	if (fx.plain)
		return;
	ck_assert_int_eq(do_rename("a", "%", TREE_RENAME), EINVAL);
	WITH_PLACE("%",
		   tree_create(&tree, p.dir, S(p.name), &me, true, &i, &kf));
	ck_assert_int_eq(err, EINVAL);
}
END_TEST

START_TEST(a_key_that_is_also_a_prefix_is_in_its_directory)
{
	put("a", "1");
	put("a/b", "22");
	expect_dir("a");
	expect_file("a/%=", 1);
	expect_file("a/b", 2);
	ck_assert_int_eq(do_unlink("a"), EISDIR);
	ck_assert_int_eq(do_unlink("a/b"), 0);
	expect_dir("a"); /* stays: removed through the mount */
	ck_assert_int_eq(do_rmdir("a"), 0);
	expect_file("a", 1);
}
END_TEST

START_TEST(a_directory_stays_when_its_last_key_is_removed)
{
	put("d/e/f", "1");
	ck_assert_int_eq(do_unlink("d/e/f"), 0);
	expect_dir("d/e");
	ck_assert_int_eq(do_rmdir("d"), ENOTEMPTY);
	ck_assert_int_eq(do_rmdir("d/e"), 0);
	expect_dir("d");
	ck_assert_int_eq(do_rmdir("d"), 0);
	expect_errno("d", ENOENT);
	ck_assert_int_eq(do_rmdir("d"), ENOENT);
}
END_TEST

START_TEST(names_that_are_taken_are_refused)
{
	put("f", "1");
	ck_assert_int_eq(do_mkdir("d"), 0);
	ck_assert_int_eq(do_mkdir("d"), EEXIST);
	ck_assert_int_eq(do_mkdir("f"), EEXIST);
	ck_assert_int_eq(do_mkdir("%="), EINVAL);
	ck_assert_int_eq(do_mkdir("x%+"), EINVAL);
	ck_assert_int_eq(do_mkdir("x%@"), EINVAL);
	ck_assert_int_eq(do_mkdir("%"), 0); /* key "/" */
	expect_dir("%");
	ck_assert_int_eq(do_rmdir("f"), ENOTDIR);
}
END_TEST

START_TEST(a_created_file_is_seen_before_it_is_committed)
{
	struct inode *i;
	struct keyfile *kf;

	ck_assert_int_eq(do_mkdir("d"), 0);
	kf = do_create("d/new", &i);
	expect_file("d/new", 0);
	expect_value(fx.m, "d/new", 0, NULL);
	ck_assert_int_eq(do_rmdir("d"), ENOTEMPTY);
	ck_ok(keyfile_write(kf, 0, false, "abc", 3, NULL));
	expect_file("d/new", 3);
	/* A rename of the directory commits what is in it first. */
	ck_assert_int_eq(do_rename("d", "e", TREE_RENAME), 0);
	ck_ok(keyfile_write(kf, 3, false, "def", 3, NULL));
	expect_file("e/new", 6);
	do_close(i, kf);
	expect_value(fx.m, "e/new", 0, "abcdef");
	expect_value(fx.m, "d/new", 0, NULL);
}
END_TEST

START_TEST(an_unlinked_name_can_be_made_again_at_once)
{
	struct inode *a, *b;
	struct keyfile *old = do_create("k", &a), *new;

	ck_ok(keyfile_write(old, 0, false, "old", 3, NULL));
	ck_ok(keyfile_commit(old, false));
	ck_assert_int_eq(do_unlink("k"), 0);
	new = do_create("k", &b);
	ck_assert_ptr_ne(a, b);
	ck_assert_uint_ne(a->st_ino, b->st_ino);
	ck_ok(keyfile_write(new, 0, false, "new", 3, NULL));
	ck_ok(keyfile_write(old, 0, false, "OLD", 3, NULL));
	do_close(a, old);
	do_close(b, new);
	expect_value(fx.m, "k", 0, "new");
}
END_TEST

START_TEST(renames_move_replace_and_refuse)
{
	put("f", "f");
	put("g", "gg");
	put("d/x", "1");
	put("e/y", "2");
	ck_assert_int_eq(do_mkdir("empty"), 0);
	ck_assert_int_eq(do_rename("f", "g", TREE_RENAME_NOREPLACE), EEXIST);
	ck_assert_int_eq(do_rename("f", "g", TREE_RENAME), 0);
	expect_file("g", 1);
	expect_errno("f", ENOENT);
	ck_assert_int_eq(do_rename("f", "h", TREE_RENAME), ENOENT);
	ck_assert_int_eq(do_rename("g", "d", TREE_RENAME), EISDIR);
	ck_assert_int_eq(do_rename("d", "g", TREE_RENAME), ENOTDIR);
	ck_assert_int_eq(do_rename("d", "e", TREE_RENAME), ENOTEMPTY);
	ck_assert_int_eq(do_rename("d", "d/y", TREE_RENAME), EINVAL);
	ck_assert_int_eq(do_rename("d", "empty", TREE_RENAME), 0);
	expect_file("empty/x", 1);
	ck_assert_int_eq(do_rename("g", "x%+", TREE_RENAME), EINVAL);
	/* The last file of a directory leaves the directory. */
	ck_assert_int_eq(do_rename("e/y", "y", TREE_RENAME), 0);
	expect_dir("e");
	/* One revision each: 4 puts, a mkdir, 3 renames. */
	ck_assert_int_eq(mvcc_current(fx.m), 9);
}
END_TEST

START_TEST(an_exchange_swaps_files_and_whole_directories)
{
	put("a/x", "1");
	put("a/s/t", "22");
	put("b/x", "333");
	put("f", "4444");
	ck_assert_int_eq(do_rename("a", "b", TREE_RENAME_EXCHANGE), 0);
	expect_file("b/x", 1);
	expect_file("b/s/t", 2);
	expect_file("a/x", 3);
	expect_errno("a/s", ENOENT);
	ck_assert_int_eq(do_rename("a", "f", TREE_RENAME_EXCHANGE), 0);
	expect_file("a", 4);
	expect_file("f/x", 3);
	ck_assert_int_eq(do_rename("f", "none", TREE_RENAME_EXCHANGE), ENOENT);
	ck_assert_int_eq(do_rename("f/x", "f", TREE_RENAME_EXCHANGE), EINVAL);
}
END_TEST

START_TEST(a_rename_keeps_the_mtime_of_keys_that_have_none)
{
	struct inode *i;
	struct stat before, after;

	put("k", "v");
	ck_assert_int_eq(walk("k", &i, &before), 0);
	inode_unref(inodes, i);
	ck_assert_int_eq(do_rename("k", "l", TREE_RENAME), 0);
	ck_assert_int_eq(walk("l", &i, &after), 0);
	inode_unref(inodes, i);
	ck_assert_int_eq(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
	ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}
END_TEST

START_TEST(a_directory_of_too_many_keys_is_left_to_mv)
{
	struct mvcc_txn *t;
	char key[32];

	ck_ok(mvcc_txn_new(fx.m, &t));
	for (unsigned n = 0; n <= TREE_RENAME_KEYS_MAX; n++) {
		snprintf(key, sizeof(key), "d/%06u", n);
		ck_ok(mvcc_txn_put(t, S(key), S(""), NULL));
	}
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	ck_assert_int_eq(do_rename("d", "e", TREE_RENAME), EXDEV);
	ck_assert_int_eq(do_unlink("d/000000"), 0);
	ck_assert_int_eq(do_rename("d", "e", TREE_RENAME), 0);
	expect_file("e/000001", 0);
}
END_TEST

START_TEST(a_listing_shows_each_name_once_and_in_order)
{
	struct inode *i;
	struct keyfile *kf;

	put("a", "1");
	put("a!", "1");
	put("a/x", "1");
	put("a/y/z", "1");
	put("b//c", "1");
	put("c/", "1");
	kf = do_create("aa", &i);
	expect_list("", "./\n../\na/\na!\naa\nb/\nc/\n");
	expect_list("a", "./\n../\n%=\nx\ny/\n");
	expect_list("b", "./\n../\n%/\n");
	expect_list("c", "./\n../\n%\n");
	do_close(i, kf);
	expect_list("", "./\n../\na/\na!\naa\nb/\nc/\n");
}
END_TEST

START_TEST(listings_survive_seeks_also_with_long_names)
{
	static const uint8_t odd[] = { '%', '+', '=', '@', 0, '.', 'a', '/' };
	struct buf plain = { 0 }, sought = { 0 };
	struct cairn_slice rest;
	struct rng r;
	uint8_t key[600];
	size_t cuts = 0;

	rng_init(&r, (uint64_t)_i);
	for (int n = 0; n < 300; n++) {
		size_t len = 1 + rng_below(&r, 4);

		/* Some around the place where names are cut. */
		if (rng_one_in(&r, 3))
			len = 245 + rng_below(&r, 30);
		memset(key, 'k', sizeof(key));
		for (size_t c = 0; c < 3; c++)
			key[rng_below(&r, len)] =
				odd[rng_below(&r, sizeof(odd))];
		key[len - 1] = (uint8_t)('a' + rng_below(&r, 26));
		ck_ok(mvcc_put(fx.m, slice_of(key, len), S("v"), NULL, NULL));
	}
	list(top, NULL, &plain);
	for (int round = 0; round < 5; round++) {
		list(top, &r, &sought);
		ck_assert(slice_eq(buf_slice(&plain), buf_slice(&sought)));
	}
	/* Each name leads to something of the kind that was listed. */
	rest = buf_slice(&plain);
	slice_advance(&rest, 6); /* "./\n../\n", less one */
	while (rest.len > 1) {
		const uint8_t *end;
		struct inode *i;
		struct stat st;
		size_t len;

		slice_advance(&rest, 1);
		end = memchr(rest.data, '\n', rest.len);
		ck_assert_ptr_nonnull(end);
		len = (size_t)(end - rest.data);
		if (rest.data[len - 1] == '/') {
			ck_assert_int_eq(
				tree_lookup(&tree, top,
					    slice_of(rest.data, len - 1), &i,
					    &st),
				0);
			ck_assert(S_ISDIR(st.st_mode));
			cuts += rest.data[len - 2] == '+';
			list(i, &r, &sought);
			ck_assert_uint_gt(sought.len, 7);
		} else {
			ck_assert_int_eq(tree_lookup(&tree, top,
						     slice_of(rest.data, len),
						     &i, &st),
					 0);
			ck_assert(S_ISREG(st.st_mode));
		}
		inode_unref(inodes, i);
		slice_advance(&rest, len);
	}
	ck_assert_uint_gt(cuts, 0);
	buf_fini(&plain);
	buf_fini(&sought);
}
END_TEST

START_TEST(an_open_listing_does_not_change_and_a_rewound_one_does)
{
	struct dir_entry e;
	struct dir *d;
	int n = 0;

	put("a", "1");
	put("c", "1");
	ck_assert_int_eq(dir_open_keys(&tree, top, &d), 0);
	for (; n < 3; n++) {
		ck_assert_int_eq(dir_peek(d, &e), 0);
		dir_take(d);
	}
	put("b", "1");
	ck_assert_int_eq(dir_peek(d, &e), 0);
	ck_assert(slice_eq(e.name, S("c")));
	ck_assert_int_eq(dir_seek(d, 0), 0);
	ck_assert_int_eq(dir_seek(d, 3), 0);
	ck_assert_int_eq(dir_peek(d, &e), 0);
	ck_assert(slice_eq(e.name, S("b")));
	dir_close(d);
}
END_TEST

/* --------------------------------------------------------- plain stores */

START_TEST(the_empty_key_is_a_file_of_a_plain_store)
{
	struct inode *i;
	struct keyfile *kf;

	put("", "12345");
	expect_file("%", 5);
	put("/x", "1");
	expect_dir("%");
	expect_file("%/%=", 5);
	expect_file("%/x", 1);
	ck_assert_int_eq(mvcc_delete(fx.m, S("/x"), NULL), 0);
	expect_file("%", 5);
	ck_assert_int_eq(tree_unlink(&tree, top, S("%")), 0);
	expect_errno("%", ENOENT);
	ck_assert_int_eq(tree_create(&tree, top, S("%"), &me, true, &i, &kf),
			 0);
	keyfile_open(kf);
	ck_ok(keyfile_close(kf));
	keyfile_unref(kf);
	inode_drop_file(inodes, i);
	inode_unref(inodes, i);
	expect_file("%", 0);
}
END_TEST

static int set_attrs(const char *path, unsigned mask,
		     const struct keyfile_stat *set)
{
	struct inode *i;
	struct stat st;
	int err;

	ck_assert_int_eq(walk(path, &i, &st), 0);
	err = tree_set_attrs(&tree, i, mask, set);
	inode_unref(inodes, i);
	return err;
}

START_TEST(attributes_of_a_plain_store_can_be_set_to_what_they_are_only)
{
	struct keyfile_stat set = { .mode = 0644 };
	struct tree_maker other = { 42, 43, 0600 };
	struct inode *i;
	struct keyfile *kf;
	struct stat st;

	put("f", "1");
	ck_assert_int_eq(walk("f", &i, &st), 0);
	inode_unref(inodes, i);
	set.mtime_ns =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	ck_assert_int_eq(set_attrs("f",
				   KEYFILE_MODE | KEYFILE_UID | KEYFILE_GID |
					   KEYFILE_MTIME,
				   &set),
			 0);
	set.mode = 0600;
	ck_assert_int_eq(set_attrs("f", KEYFILE_MODE, &set), EPERM);
	set.uid = 1;
	ck_assert_int_eq(set_attrs("f", KEYFILE_UID, &set), EPERM);
	set.gid = 1;
	ck_assert_int_eq(set_attrs("f", KEYFILE_GID, &set), EPERM);
	set.mtime_ns++;
	ck_assert_int_eq(set_attrs("f", KEYFILE_MTIME, &set), EPERM);
	/* As a write would do it, and no longer than the memory of it. */
	ck_assert_int_eq(set_attrs("f", KEYFILE_MTIME | KEYFILE_TOUCH, &set),
			 0);
	ck_ok(keyfiles_commit_all(ks, false));
	ck_assert_int_eq(walk("f", &i, &st), 0);
	inode_unref(inodes, i);
	ck_assert_int_eq((int64_t)st.st_mtim.tv_sec * 1000000000 +
				 st.st_mtim.tv_nsec,
			 set.mtime_ns);
	ck_assert_int_eq(tree_symlink(&tree, top, S("l"), S("f"), &me), EPERM);
	/* Who makes a file, and with which mode, is not kept either. */
	ck_assert_int_eq(
		tree_create(&tree, top, S("new"), &other, true, &i, &kf), 0);
	keyfile_open(kf);
	ck_assert_int_eq(tree_getattr(&tree, i, &st), 0);
	ck_assert_int_eq(st.st_mode, S_IFREG | 0644);
	ck_assert_int_eq(st.st_uid, 0);
	ck_ok(keyfile_close(kf));
	keyfile_unref(kf);
	inode_drop_file(inodes, i);
	inode_unref(inodes, i);
}
END_TEST

/* What does not ask for attributes, symlinks or revisions. */
static void add_common(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, keys_are_files_and_their_prefixes_directories);
	tcase_add_test(
		tc,
		a_key_that_begins_with_a_slash_is_in_a_directory_without_name);
	tcase_add_test(tc, a_key_that_is_also_a_prefix_is_in_its_directory);
	tcase_add_test(tc, a_directory_stays_when_its_last_key_is_removed);
	tcase_add_test(tc, names_that_are_taken_are_refused);
	tcase_add_test(tc, a_created_file_is_seen_before_it_is_committed);
	tcase_add_test(tc, an_unlinked_name_can_be_made_again_at_once);
	tcase_add_test(tc, renames_move_replace_and_refuse);
	tcase_add_test(tc, an_exchange_swaps_files_and_whole_directories);
	tcase_add_test(tc, a_rename_keeps_the_mtime_of_keys_that_have_none);
	tcase_add_test(tc, a_directory_of_too_many_keys_is_left_to_mv);
	tcase_add_test(tc, a_listing_shows_each_name_once_and_in_order);
	tcase_add_loop_test(tc, listings_survive_seeks_also_with_long_names, 1,
			    6);
	tcase_add_test(tc,
		       an_open_listing_does_not_change_and_a_rewound_one_does);
}

int main(void)
{
	Suite *s = suite_create("tree");
	TCase *tc = tcase_create("revision store");
	TCase *plain = tcase_create("plain store");

	tcase_add_checked_fixture(tc, setup, teardown);
	add_common(tc);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(plain, setup_plain, teardown);
	add_common(plain);
	tcase_add_test(plain, the_empty_key_is_a_file_of_a_plain_store);
	tcase_add_test(
		plain,
		attributes_of_a_plain_store_can_be_set_to_what_they_are_only);
	suite_add_tcase(s, plain);
	return run_suite(s);
}
