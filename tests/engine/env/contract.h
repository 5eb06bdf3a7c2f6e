/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What env.h promises of every env, as tests. Each program that includes this
 * says how to make its env; add_contract() adds the tests to its suite.
 */
#ifndef CAIRN_TESTS_ENGINE_ENV_CONTRACT_H
#define CAIRN_TESTS_ENGINE_ENV_CONTRACT_H

#include <stdio.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/env/env.h"
#include "tests/support/runner.h"

/* Given by the program: a new env and an empty directory in it ... */
static struct cairn_env *contract_begin(char dir[256]);
/* ... and their end. */
static void contract_end(struct cairn_env *e, const char *dir);

#define ck_ok(call) ck_assert_msg((call) == CAIRN_OK, "%s", cairn_errmsg())

struct paths {
	char at[300];
};

static inline struct paths in(const char *dir, const char *name)
{
	struct paths p;
	int n = snprintf(p.at, sizeof(p.at), "%s/%s", dir, name);

	ck_assert_int_lt(n, (int)sizeof(p.at));
	return p;
}

static inline void put_file(struct cairn_env *e, const char *path,
			    const char *text)
{
	struct wfile *f;

	ck_ok(env_open_write(e, path, &f));
	ck_ok(wfile_append(f, text, strlen(text)));
	ck_ok(wfile_close(f));
}

/* "-" when there is no such file. */
static inline const char *get_file(struct cairn_env *e, const char *path,
				   char text[256])
{
	struct buf b = { 0 };
	int err = env_read_file(e, path, 255, &b);

	if (err == CAIRN_NOT_FOUND)
		return "-";
	ck_ok(err);
	if (b.len)
		memcpy(text, b.data, b.len);
	text[b.len] = '\0';
	buf_fini(&b);
	return text;
}

static inline void ck_file(struct cairn_env *e, const char *path,
			   const char *want)
{
	char text[256];

	ck_assert_str_eq(get_file(e, path, text), want);
}

static inline void ck_names_path(const char *path)
{
	ck_assert_msg(strstr(cairn_errmsg(), path) != NULL, "%s",
		      cairn_errmsg());
}

static inline int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in dir, ascending, with a space behind each. */
static inline const char *ls(struct cairn_env *e, const char *dir,
			     char text[256])
{
	struct env_names l;
	size_t n = 0;

	ck_ok(env_list(e, dir, &l));
	qsort(l.names, l.n, sizeof(*l.names), by_text);
	text[0] = '\0';
	for (size_t i = 0; i < l.n; i++)
		n += (size_t)snprintf(text + n, 256 - n, "%s ", l.names[i]);
	env_names_free(&l);
	ck_assert_ptr_null(l.names);
	return text;
}

static inline void ck_ls(struct cairn_env *e, const char *dir, const char *want)
{
	char text[256];

	ck_assert_str_eq(ls(e, dir, text), want);
}

START_TEST(appended_bytes_are_read_back_at_any_offset)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "f");
	uint8_t *data = malloc(100000), *back = malloc(100000);
	struct wfile *w;
	struct rfile *r;
	uint64_t size = 0;
	size_t got = 0;

	ck_assert(data && back);
	for (size_t i = 0; i < 100000; i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	ck_ok(env_open_write(e, p.at, &w));
	ck_ok(wfile_append(w, NULL, 0));
	for (size_t at = 0, n = 1; at < 100000; at += n, n = n * 3 / 2 + 1) {
		if (n > 100000 - at)
			n = 100000 - at;
		ck_ok(wfile_append(w, data + at, n));
		if (at % 2)
			wfile_flush_hint(w, 0, at);
	}
	/* Visible to others before it is closed. */
	ck_ok(env_open_read(e, p.at, &r));
	ck_ok(rfile_size(r, &size));
	ck_assert_uint_eq(size, 100000);
	ck_ok(wfile_sync(w));
	ck_ok(wfile_sync(w));
	ck_ok(wfile_close(w));

	rfile_prefetch(r, 0, 100000);
	rfile_prefetch(r, UINT64_MAX, 0);
	for (size_t off = 0; off <= 100000; off += 7777) {
		size_t want = 100000 - off < 9999 ? 100000 - off : 9999;

		ck_ok(rfile_read(r, off, back, 9999, &got));
		ck_assert_uint_eq(got, want);
		ck_assert_mem_eq(back, data + off, want);
	}
	ck_ok(rfile_read(r, 99999, back, 100000, &got));
	ck_assert_uint_eq(got, 1);
	rfile_close(r);
	free(data);
	free(back);
	contract_end(e, dir);
}
END_TEST

START_TEST(reading_behind_the_end_gives_nothing)
{
	static const uint64_t offs[] = { 3,         4,
					 1u << 31,  1ull << 32,
					 INT64_MAX, (uint64_t)INT64_MAX + 1,
					 UINT64_MAX };
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "f");
	struct rfile *r;

	put_file(e, p.at, "abc");
	ck_ok(env_open_read(e, p.at, &r));
	for (size_t i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		uint8_t byte[10];
		size_t got = 99;

		ck_ok(rfile_read(r, offs[i], byte, sizeof(byte), &got));
		ck_assert_uint_eq(got, 0);
	}
	rfile_close(r);
	rfile_close(NULL);
	contract_end(e, dir);
}
END_TEST

START_TEST(what_is_missing_is_not_found)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "f"), below = in(dir, "no/f");
	struct paths under_file = in(dir, "g/f");
	struct rfile *r = NULL;
	struct env_names l;
	struct env_stat st;
	struct cairn_holder h;

	put_file(e, in(dir, "g").at, "");
	ck_assert_int_eq(env_open_read(e, p.at, &r), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_open_read(e, below.at, &r), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_open_read(e, under_file.at, &r), CAIRN_NOT_FOUND);
	ck_assert_ptr_null(r);
	ck_assert_int_eq(env_list(e, p.at, &l), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_stat(e, p.at, &st), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_stat(e, under_file.at, &st), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_unlink(e, p.at), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_unlink(e, below.at), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_holder(e, p.at, &h), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_holder(e, below.at, &h), CAIRN_NOT_FOUND);
	ck_ls(e, dir, "g ");
	contract_end(e, dir);
}
END_TEST

START_TEST(failures_have_their_code_and_name_the_path)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths f = in(dir, "f"), d = in(dir, "d"), g = in(dir, "g");
	struct paths below = in(dir, "no/f");
	struct wfile *w = NULL;
	struct rfile *r = NULL;
	struct env_names l;
	struct env_lock *lock = NULL;
	struct env_space space;

	put_file(e, f.at, "old");
	ck_ok(env_mkdir(e, d.at));

	ck_assert_int_eq(env_open_write(e, f.at, &w), CAIRN_EEXIST);
	ck_names_path(f.at);
	ck_file(e, f.at, "old");
	ck_assert_int_eq(env_open_write(e, d.at, &w), CAIRN_EEXIST);
	ck_assert_int_eq(env_open_write(e, below.at, &w), CAIRN_ENOENT);
	ck_names_path(below.at);
	ck_assert_int_eq(env_open_read(e, d.at, &r), CAIRN_EIO);
	ck_names_path(d.at);
	ck_assert_int_eq(env_mkdir(e, d.at), CAIRN_EEXIST);
	ck_assert_int_eq(env_mkdir(e, f.at), CAIRN_EEXIST);
	ck_names_path(f.at);
	ck_assert_int_eq(env_mkdir(e, below.at), CAIRN_ENOENT);
	ck_assert_int_eq(env_rename(e, g.at, f.at), CAIRN_ENOENT);
	ck_names_path(g.at);
	ck_assert_int_eq(env_rename(e, f.at, below.at), CAIRN_ENOENT);
	ck_assert_int_lt(env_rename(e, f.at, d.at), 0);
	ck_assert_int_lt(env_rename(e, d.at, f.at), 0);
	ck_assert_int_lt(env_rename(e, d.at, in(d.at, "x").at), 0);
	ck_assert_int_eq(env_link(e, f.at, d.at), CAIRN_EEXIST);
	ck_assert_int_eq(env_link(e, g.at, below.at), CAIRN_ENOENT);
	ck_assert_int_lt(env_link(e, d.at, g.at), 0);
	ck_assert_int_lt(env_unlink(e, d.at), 0);
	ck_names_path(d.at);
	ck_assert_int_lt(env_list(e, f.at, &l), 0);
	ck_assert_int_eq(env_sync_dir(e, below.at), CAIRN_ENOENT);
	ck_names_path(below.at);
	ck_assert_int_lt(env_sync_dir(e, f.at), 0);
	ck_assert_int_eq(env_free_space(e, below.at, &space), CAIRN_ENOENT);
	ck_assert_int_eq(env_lock(e, below.at, "", &lock), CAIRN_ENOENT);
	ck_assert_int_lt(env_lock(e, d.at, "", &lock), 0);
	ck_names_path(d.at);
	ck_assert(!w && !r && !lock);
	ck_ls(e, dir, "d f ");
	contract_end(e, dir);
}
END_TEST

START_TEST(names_are_made_moved_and_removed)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths a = in(dir, "a"), b = in(dir, "b"), c = in(dir, "c");
	struct paths d = in(dir, "d"), da = in(dir, "d/a");
	struct env_stat st = { 0 };
	struct env_space space = { 0 };

	ck_ls(e, dir, "");
	put_file(e, a.at, "one");
	put_file(e, b.at, "two");
	ck_ls(e, dir, "a b ");
	ck_ok(env_rename(e, a.at, b.at));
	ck_ls(e, dir, "b ");
	ck_file(e, b.at, "one");
	ck_ok(env_rename(e, b.at, b.at));
	ck_file(e, b.at, "one");

	ck_ok(env_mkdir(e, d.at));
	ck_ok(env_stat(e, d.at, &st));
	ck_assert(st.is_dir);
	ck_ok(env_stat(e, b.at, &st));
	ck_assert(!st.is_dir);
	ck_assert_uint_eq(st.size, 3);

	ck_ok(env_link(e, b.at, c.at));
	ck_assert_int_eq(env_link(e, b.at, c.at), CAIRN_EEXIST);
	/* Both names lead to one file: a rename between them does nothing. */
	ck_ok(env_rename(e, b.at, c.at));
	ck_ls(e, dir, "b c d ");
	ck_ok(env_unlink(e, b.at));
	ck_file(e, c.at, "one");

	ck_ok(env_rename(e, c.at, da.at));
	ck_ls(e, dir, "d ");
	ck_ls(e, d.at, "a ");
	ck_ok(env_rename(e, d.at, in(dir, "e").at));
	ck_file(e, in(dir, "e/a").at, "one");
	ck_ok(env_sync_dir(e, dir));
	ck_ok(env_free_space(e, dir, &space));
	ck_assert_uint_gt(space.free, 0);
	ck_assert_uint_ge(space.total, space.free);
	ck_ok(env_unlink(e, in(dir, "e/a").at));
	ck_ls(e, in(dir, "e").at, "");
	contract_end(e, dir);
}
END_TEST

START_TEST(only_an_empty_directory_is_removed_as_one)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths d = in(dir, "d"), f = in(dir, "d/f");

	ck_assert_int_eq(env_rmdir(e, d.at), CAIRN_NOT_FOUND);
	ck_ok(env_mkdir(e, d.at));
	put_file(e, f.at, "abc");
	ck_assert_int_lt(env_rmdir(e, d.at), 0);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), d.at));
	ck_assert_int_ne(env_rmdir(e, f.at), CAIRN_OK);
	ck_file(e, f.at, "abc");
	ck_ok(env_unlink(e, f.at));
	ck_ok(env_rmdir(e, d.at));
	ck_ls(e, dir, "");
	contract_end(e, dir);
}
END_TEST

START_TEST(a_file_is_synced_by_its_name_and_copied_up_to_a_length)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths f = in(dir, "f"), g = in(dir, "g");

	ck_assert_int_eq(env_sync_file(e, f.at), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_copy_file(e, f.at, g.at, 1), CAIRN_ENOENT);
	put_file(e, f.at, "abcdef");
	ck_ok(env_sync_file(e, f.at));
	ck_assert_int_lt(env_sync_file(e, dir), 0);
	ck_ok(env_copy_file(e, f.at, g.at, 4));
	ck_file(e, g.at, "abcd");
	ck_assert_int_eq(env_copy_file(e, f.at, g.at, 4), CAIRN_EEXIST);
	ck_file(e, g.at, "abcd");
	ck_ok(env_unlink(e, g.at));
	ck_assert_int_eq(env_copy_file(e, f.at, g.at, 7), CAIRN_ECORRUPT);
	ck_ls(e, dir, "f ");
	contract_end(e, dir);
}
END_TEST

START_TEST(an_open_file_outlives_its_name)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "f"), q = in(dir, "g");
	struct wfile *w;
	struct rfile *r;
	uint8_t bytes[10];
	size_t got = 0;

	ck_ok(env_open_write(e, p.at, &w));
	ck_ok(wfile_append(w, "abc", 3));
	ck_ok(env_open_read(e, p.at, &r));
	ck_ok(env_unlink(e, p.at));
	put_file(e, p.at, "another");
	put_file(e, q.at, "third");
	ck_ok(env_rename(e, q.at, p.at));
	ck_ok(wfile_append(w, "def", 3));
	ck_ok(wfile_sync(w));
	ck_ok(wfile_close(w));
	ck_ok(rfile_read(r, 0, bytes, sizeof(bytes), &got));
	ck_assert_uint_eq(got, 6);
	ck_assert_mem_eq(bytes, "abcdef", 6);
	rfile_close(r);
	ck_file(e, p.at, "third");
	ck_ok(wfile_close(NULL));
	contract_end(e, dir);
}
END_TEST

START_TEST(preallocating_does_not_change_the_size)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "f");
	struct env_stat st = { 0 };
	struct wfile *w;

	ck_ok(env_open_write(e, p.at, &w));
	(void)wfile_preallocate(w, 0);
	(void)wfile_preallocate(w, 1 << 20);
	(void)wfile_preallocate(w, 1 << 10);
	ck_ok(wfile_append(w, "abc", 3));
	ck_ok(env_stat(e, p.at, &st));
	ck_assert_uint_eq(st.size, 3);
	ck_ok(wfile_sync(w));
	ck_ok(wfile_close(w));
	ck_file(e, p.at, "abc");
	contract_end(e, dir);
}
END_TEST

START_TEST(a_lock_excludes_and_says_who_has_it)
{
	char dir[256], text[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "LOCK"), q = in(dir, ".//LOCK");
	struct cairn_holder h = { 0 };
	struct env_lock *l = NULL, *again = NULL;
	char pid[32];

	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	ck_assert_int_eq(env_holder(e, p.at, &h), CAIRN_NOT_FOUND);
	ck_ls(e, dir, "");
	ck_ok(env_lock(e, p.at, "mount /mnt/a\nb", &l));
	ck_ls(e, dir, "LOCK ");
	ck_assert_int_eq(env_lock(e, p.at, "other", &again), CAIRN_EBUSY);
	ck_names_path(p.at);
	ck_names_path(pid);
	ck_names_path("mount /mnt/a?b since 20");
	ck_assert_int_eq(env_lock(e, q.at, "other", &again), CAIRN_EBUSY);
	ck_ok(env_link(e, p.at, in(dir, "link").at));
	ck_assert_int_eq(env_lock(e, in(dir, "link").at, "", &again),
			 CAIRN_EBUSY);
	ck_assert_ptr_null(again);

	ck_ok(env_holder(e, q.at, &h));
	ck_assert_int_eq(h.pid, getpid());
	snprintf(text, sizeof(text), "pid %s mount /mnt/a?b since ", pid);
	ck_assert_int_eq(strncmp(h.note, text, strlen(text)), 0);
	ck_assert_uint_eq(strlen(h.note),
			  strlen(text) + strlen("2000-01-01T00:00:00Z"));
	ck_assert_int_eq(h.note[strlen(h.note) - 1], 'Z');

	env_unlock(e, l);
	env_unlock(e, NULL);
	ck_assert_int_eq(env_holder(e, p.at, &h), CAIRN_NOT_FOUND);
	ck_file(e, p.at, "");
	ck_ok(env_lock(e, p.at, "", &l));
	ck_ok(env_holder(e, p.at, &h));
	snprintf(text, sizeof(text), "pid %s since ", pid);
	ck_assert_int_eq(strncmp(h.note, text, strlen(text)), 0);
	env_unlock(e, l);
	contract_end(e, dir);
}
END_TEST

START_TEST(a_lock_without_a_note_leaves_the_contents)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "LOCK");
	struct cairn_holder h = { 0 };
	struct env_lock *l = NULL;
	struct wfile *f;

	ck_ok(env_open_write(e, p.at, &f));
	ck_ok(wfile_append(f, "old text", 8));
	ck_ok(wfile_close(f));
	ck_ok(env_lock(e, p.at, NULL, &l));
	ck_ok(env_holder(e, p.at, &h));
	ck_assert_int_eq(h.pid, getpid());
	env_unlock(e, l);
	ck_file(e, p.at, "old text");

	ck_ok(env_lock(e, p.at, NULL, &l));
	env_lock_note(e, l, "mount /mnt/a");
	ck_ok(env_holder(e, p.at, &h));
	ck_assert_ptr_nonnull(strstr(h.note, " mount /mnt/a since "));
	env_unlock(e, l);
	ck_file(e, p.at, "");
	contract_end(e, dir);
}
END_TEST

START_TEST(a_note_of_any_length_fits)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "LOCK");
	struct cairn_holder h = { 0 };
	struct env_lock *l = NULL;
	char note[10000];

	memset(note, 'n', sizeof(note) - 1);
	note[sizeof(note) - 1] = '\0';
	ck_ok(env_lock(e, p.at, note, &l));
	ck_ok(env_holder(e, p.at, &h));
	ck_assert_uint_gt(strlen(h.note), 3900);
	ck_assert_int_eq(h.note[strlen(h.note) - 1], 'Z');
	env_unlock(e, l);
	contract_end(e, dir);
}
END_TEST

START_TEST(a_whole_file_is_read_up_to_a_limit)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "f");
	struct buf b = { 0 };

	ck_assert_int_eq(buf_append(&b, "before", 6), CAIRN_OK);
	ck_assert_int_eq(env_read_file(e, p.at, 10, &b), CAIRN_NOT_FOUND);
	put_file(e, p.at, "0123456789");
	ck_assert_int_eq(env_read_file(e, p.at, 9, &b), CAIRN_ECORRUPT);
	ck_names_path(p.at);
	ck_assert(slice_eq(buf_slice(&b), slice_str("before")));
	ck_ok(env_read_file(e, p.at, 10, &b));
	ck_assert(slice_eq(buf_slice(&b), slice_str("0123456789")));
	put_file(e, in(dir, "empty").at, "");
	ck_ok(env_read_file(e, in(dir, "empty").at, 10, &b));
	ck_assert_uint_eq(b.len, 0);
	buf_fini(&b);
	contract_end(e, dir);
}
END_TEST

START_TEST(a_file_is_replaced_whole)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	struct paths p = in(dir, "CURRENT"), tmp = in(dir, "000001.dbtmp");

	ck_ok(env_replace_file(e, dir, tmp.at, p.at, slice_str("one\n")));
	ck_file(e, p.at, "one\n");
	put_file(e, tmp.at, "left by an attempt that died");
	ck_ok(env_replace_file(e, dir, tmp.at, p.at, slice_str("two\n")));
	ck_file(e, p.at, "two\n");
	ck_ls(e, dir, "CURRENT ");
	ck_assert_int_lt(env_replace_file(e, dir, tmp.at,
					  in(dir, "no/CURRENT").at,
					  slice_str("three\n")),
			 0);
	ck_ls(e, dir, "CURRENT ");
	contract_end(e, dir);
}
END_TEST

START_TEST(time_goes_on)
{
	char dir[256];
	struct cairn_env *e = contract_begin(dir);
	uint64_t a = env_mono_us(e), b;

	env_sleep_us(e, 1500);
	env_sleep_us(e, 0);
	b = env_mono_us(e);
	ck_assert_uint_ge(b, a + 1500);
	/* Later than 2020: microseconds, and since 1970. */
	ck_assert_uint_gt(env_now_us(e), 1577836800000000ull);
	contract_end(e, dir);
}
END_TEST

static inline void add_contract(Suite *s)
{
	TCase *t = tcase_create("contract");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, appended_bytes_are_read_back_at_any_offset);
	tcase_add_test(t, reading_behind_the_end_gives_nothing);
	tcase_add_test(t, what_is_missing_is_not_found);
	tcase_add_test(t, failures_have_their_code_and_name_the_path);
	tcase_add_test(t, names_are_made_moved_and_removed);
	tcase_add_test(t, only_an_empty_directory_is_removed_as_one);
	tcase_add_test(t,
		       a_file_is_synced_by_its_name_and_copied_up_to_a_length);
	tcase_add_test(t, an_open_file_outlives_its_name);
	tcase_add_test(t, preallocating_does_not_change_the_size);
	tcase_add_test(t, a_lock_excludes_and_says_who_has_it);
	tcase_add_test(t, a_lock_without_a_note_leaves_the_contents);
	tcase_add_test(t, a_note_of_any_length_fits);
	tcase_add_test(t, a_whole_file_is_read_up_to_a_limit);
	tcase_add_test(t, a_file_is_replaced_whole);
	tcase_add_test(t, time_goes_on);
	suite_add_tcase(s, t);
}

#endif
