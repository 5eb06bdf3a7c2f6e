/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/env/env_mem.h"

#include <pthread.h>

#include "engine/base/rng.h"
#include "tests/engine/env/contract.h"

#define SECTOR 512

static struct cairn_env *new_env(enum env_mem_rule rule)
{
	struct cairn_env *e = env_mem_new(rule);

	ck_assert_ptr_nonnull(e);
	return e;
}

static struct cairn_env *contract_begin(char dir[256])
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	snprintf(dir, 256, "/d");
	ck_ok(env_mkdir(e, dir));
	return e;
}

static void contract_end(struct cairn_env *e, const char *dir)
{
	(void)dir;
	env_mem_free(e);
}

static struct cairn_env *cut(struct cairn_env *e, uint64_t seed, unsigned keep)
{
	struct cairn_env *c = env_mem_crash_clone(e, seed, keep);

	ck_assert_ptr_nonnull(c);
	return c;
}

/* What ls and a file look like after a cut that keeps nothing unsynced. */
static void ck_ls_after_cut(struct cairn_env *e, const char *dir,
			    const char *want)
{
	struct cairn_env *c = cut(e, 0, 0);

	ck_ls(c, dir, want);
	env_mem_free(c);
}

static void ck_file_after_cut(struct cairn_env *e, const char *path,
			      const char *want)
{
	struct cairn_env *c = cut(e, 0, 0);

	ck_file(c, path, want);
	env_mem_free(c);
}

static void put_synced(struct cairn_env *e, const char *path, const char *text)
{
	struct wfile *w;

	ck_ok(env_open_write(e, path, &w));
	ck_ok(wfile_append(w, text, strlen(text)));
	ck_ok(wfile_sync(w));
	ck_ok(wfile_close(w));
}

/* ------------------------------------------------------------ strict names */

START_TEST(a_name_is_durable_once_its_directory_was_synced)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	put_synced(e, "/f", "abc");
	ck_ls_after_cut(e, "/", "");
	ck_ok(env_sync_dir(e, "/"));
	ck_file_after_cut(e, "/f", "abc");

	ck_ok(env_unlink(e, "/f"));
	ck_ls(e, "/", "");
	ck_file_after_cut(e, "/f", "abc");
	ck_ok(env_sync_dir(e, "/"));
	ck_ls_after_cut(e, "/", "");
	env_mem_free(e);
}
END_TEST

START_TEST(syncing_another_file_or_directory_does_not_help_a_name)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	ck_ok(env_mkdir(e, "/d"));
	put_synced(e, "/d/f", "abc");
	ck_ok(env_sync_dir(e, "/"));
	ck_ls_after_cut(e, "/", "d ");
	ck_ls_after_cut(e, "/d", "");
	put_synced(e, "/d/g", "abc");
	ck_ls_after_cut(e, "/d", "");
	ck_ok(env_sync_dir(e, "/d"));
	ck_ls_after_cut(e, "/d", "f g ");
	env_mem_free(e);
}
END_TEST

START_TEST(a_directory_needs_its_own_name_to_be_durable)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	ck_ok(env_mkdir(e, "/d"));
	put_synced(e, "/d/f", "abc");
	ck_ok(env_sync_dir(e, "/d"));
	ck_ls_after_cut(e, "/", "");
	ck_ok(env_sync_dir(e, "/"));
	ck_file_after_cut(e, "/d/f", "abc");
	env_mem_free(e);
}
END_TEST

START_TEST(a_rename_in_one_directory_is_all_or_nothing)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);
	bool before = false, after = false;

	put_synced(e, "/CURRENT", "old");
	put_synced(e, "/tmp", "new");
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(env_rename(e, "/tmp", "/CURRENT"));
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct cairn_env *c = cut(e, seed, 50);
		char names[256], text[256];

		ls(c, "/", names);
		get_file(c, "/CURRENT", text);
		if (strcmp(names, "CURRENT ") == 0) {
			ck_assert_str_eq(text, "new");
			after = true;
		} else {
			ck_assert_str_eq(names, "CURRENT tmp ");
			ck_assert_str_eq(text, "old");
			before = true;
		}
		env_mem_free(c);
	}
	ck_assert(before && after);
	ck_ok(env_sync_dir(e, "/"));
	ck_file_after_cut(e, "/CURRENT", "new");
	ck_ls_after_cut(e, "/", "CURRENT ");
	env_mem_free(e);
}
END_TEST

START_TEST(a_move_between_directories_needs_both_synced)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	ck_ok(env_mkdir(e, "/a"));
	ck_ok(env_mkdir(e, "/b"));
	put_synced(e, "/a/f", "x");
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(env_sync_dir(e, "/a"));
	ck_ok(env_rename(e, "/a/f", "/b/f"));
	ck_ok(env_sync_dir(e, "/b"));
	ck_file_after_cut(e, "/a/f", "x");
	ck_file_after_cut(e, "/b/f", "x");
	ck_ok(env_sync_dir(e, "/a"));
	ck_ls_after_cut(e, "/a", "");
	ck_file_after_cut(e, "/b/f", "x");
	env_mem_free(e);
}
END_TEST

START_TEST(unsynced_changes_of_names_are_kept_independently)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);
	bool seen[8] = { false };

	put_synced(e, "/a", "");
	put_synced(e, "/b", "");
	put_synced(e, "/c", "");
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct cairn_env *c = cut(e, seed, 50);
		char names[256];

		ls(c, "/", names);
		seen[(strchr(names, 'a') != NULL) * 1 +
		     (strchr(names, 'b') != NULL) * 2 +
		     (strchr(names, 'c') != NULL) * 4] = true;
		env_mem_free(c);
	}
	for (int i = 0; i < 8; i++)
		ck_assert_msg(seen[i], "subset %d", i);
	env_mem_free(e);
}
END_TEST

START_TEST(a_half_synced_ring_of_directories_is_freed)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);
	struct cairn_env *c;

	ck_ok(env_mkdir(e, "/A"));
	ck_ok(env_mkdir(e, "/A/B"));
	ck_ok(env_sync_dir(e, "/A"));
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(env_rename(e, "/A/B", "/B"));
	ck_ok(env_rename(e, "/A", "/B/A"));
	/* Only B's sync: durable are /A, A/B and now B/A. */
	ck_ok(env_sync_dir(e, "/B"));
	c = cut(e, 0, 0);
	ck_ls(c, "/A/B/A", "B ");
	env_mem_free(c);
	for (uint64_t seed = 0; seed < 20; seed++)
		env_mem_free(cut(e, seed, 50));
	env_mem_free(e);
}
END_TEST

/* ------------------------------------------------------------ journal names */

START_TEST(any_sync_makes_earlier_names_durable_under_the_journal_rule)
{
	struct cairn_env *e = new_env(ENV_MEM_JOURNAL);

	ck_ok(env_mkdir(e, "/d"));
	put_file(e, "/d/f", "abc");
	ck_ls_after_cut(e, "/", "");
	put_synced(e, "/g", "xyz");
	/* g's sync took all names with it, and no bytes but g's. */
	ck_ls_after_cut(e, "/", "d g ");
	ck_file_after_cut(e, "/d/f", "");
	ck_file_after_cut(e, "/g", "xyz");
	put_file(e, "/h", "");
	ck_ls_after_cut(e, "/", "d g ");
	ck_ok(env_sync_dir(e, "/d"));
	ck_ls_after_cut(e, "/", "d g h ");
	env_mem_free(e);
}
END_TEST

START_TEST(a_journal_keeps_changes_of_names_in_order)
{
	struct cairn_env *e = new_env(ENV_MEM_JOURNAL);
	static const char *const prefixes[] = { "",   "a ", "a b ",
						"b ", "c ", "c d " };
	bool seen[6] = { false };

	put_file(e, "/a", "");
	put_file(e, "/b", "");
	ck_ok(env_unlink(e, "/a"));
	ck_ok(env_rename(e, "/b", "/c"));
	put_file(e, "/d", "");
	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct cairn_env *c = cut(e, seed, 50);
		char names[256];
		int i = 0;

		ls(c, "/", names);
		while (i < 6 && strcmp(names, prefixes[i]) != 0)
			i++;
		ck_assert_msg(i < 6, "not a prefix: %s", names);
		seen[i] = true;
		env_mem_free(c);
	}
	for (int i = 0; i < 6; i++)
		ck_assert_msg(seen[i], "never: %s", prefixes[i]);
	env_mem_free(e);
}
END_TEST

/* ------------------------------------------------------------ both rules */

static const enum env_mem_rule rules[] = { ENV_MEM_STRICT, ENV_MEM_JOURNAL };

START_TEST(keeping_nothing_leaves_the_durable_and_all_the_visible)
{
	struct cairn_env *e = new_env(rules[_i]), *c;
	struct wfile *w;
	char text[256];

	ck_ok(env_mkdir(e, "/d"));
	ck_ok(env_open_write(e, "/d/log", &w));
	ck_ok(wfile_append(w, "synced", 6));
	ck_ok(wfile_sync(w));
	ck_ok(env_sync_dir(e, "/d"));
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(wfile_append(w, " and not", 8));
	put_file(e, "/d/new", "new");
	for (uint64_t seed = 0; seed < 50; seed++) {
		c = cut(e, seed, 0);
		ck_ls(c, "/d", "log ");
		ck_file(c, "/d/log", "synced");
		ck_assert_uint_eq(env_mem_bytes(c), 6);
		env_mem_free(c);

		c = cut(e, seed, 100);
		ck_ls(c, "/d", "log new ");
		ck_file(c, "/d/log", "synced and not");
		ck_file(c, "/d/new", "new");
		ck_assert_uint_eq(env_mem_bytes(c), env_mem_bytes(e));
		env_mem_free(c);
	}
	/* The file is still open in the original, and goes on. */
	ck_ok(wfile_append(w, "!", 1));
	ck_ok(wfile_close(w));
	ck_assert_str_eq(get_file(e, "/d/log", text), "synced and not!");
	env_mem_free(e);
}
END_TEST

START_TEST(sectors_are_kept_or_read_as_zeros_behind_the_synced_part)
{
	enum { SYNCED = 700, LEN = 8 * SECTOR + 100 };
	struct cairn_env *e = new_env(rules[_i]);
	bool hole = false, short_end = false, zero_end = false, cut_in = false;
	unsigned kept_count[9] = { 0 };
	static const uint8_t zeros[SECTOR];
	uint8_t data[LEN];
	struct wfile *w;

	for (size_t i = 0; i < LEN; i++)
		data[i] = (uint8_t)(i % 255 + 1); /* never zero */
	ck_ok(env_open_write(e, "/f", &w));
	ck_ok(wfile_append(w, data, SYNCED));
	ck_ok(wfile_sync(w));
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(wfile_append(w, data + SYNCED, LEN - SYNCED));
	ck_ok(wfile_close(w));

	for (uint64_t seed = 0; seed < 400; seed++) {
		struct cairn_env *c = cut(e, seed, 50);
		struct buf b = { 0 };
		bool gap = false;

		ck_ok(env_read_file(c, "/f", LEN, &b));
		ck_assert_uint_ge(b.len, SYNCED);
		ck_assert_mem_eq(b.data, data, SYNCED);
		for (size_t at = SYNCED; at < b.len;) {
			size_t next = (at / SECTOR + 1) * SECTOR;
			bool zero = b.data[at] == 0;

			if (next > b.len)
				next = b.len;
			/* All of the sector, or nothing. */
			ck_assert_int_eq(memcmp(b.data + at,
						zero ? zeros : data + at,
						next - at),
					 0);
			hole |= gap && !zero;
			gap |= zero;
			kept_count[at / SECTOR] += !zero;
			at = next;
		}
		short_end |= b.len < LEN;
		cut_in |= b.len % SECTOR != 0 && b.len != LEN;
		zero_end |= b.data[b.len - 1] == 0;
		buf_fini(&b);
		env_mem_free(c);
	}
	ck_assert(hole && short_end && zero_end && cut_in);
	for (size_t i = SYNCED / SECTOR; i <= LEN / SECTOR; i++)
		ck_assert_msg(kept_count[i] > 40 && kept_count[i] < 300,
			      "sector %zu kept %u times", i, kept_count[i]);
	env_mem_free(e);
}
END_TEST

START_TEST(a_kept_name_of_an_unsynced_file_may_show_any_length)
{
	struct cairn_env *e = new_env(rules[_i]);
	bool empty = false, part = false, whole = false, absent = false;
	char data[2000];

	memset(data, 'x', sizeof(data) - 1);
	data[sizeof(data) - 1] = '\0';
	put_file(e, "/f", data);
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct cairn_env *c = cut(e, seed, 50);
		struct env_stat st = { 0 };

		if (env_stat(c, "/f", &st) == CAIRN_NOT_FOUND)
			absent = true;
		else if (st.size == 0)
			empty = true;
		else if (st.size < sizeof(data) - 1)
			part = true;
		else
			whole = true;
		env_mem_free(c);
	}
	ck_assert(empty && part && whole && absent);
	env_mem_free(e);
}
END_TEST

/* Everything in e as one text. */
static void dump(struct cairn_env *e, const char *dir, struct buf *out)
{
	struct env_names l;

	ck_ok(env_list(e, dir, &l));
	qsort(l.names, l.n, sizeof(*l.names), by_text);
	for (size_t i = 0; i < l.n; i++) {
		struct paths p = in(dir, l.names[i]);
		struct env_stat st = { 0 };
		struct buf b = { 0 };

		ck_ok(env_stat(e, p.at, &st));
		ck_assert_int_eq(buf_printf(out, "%s %d\n", p.at, st.is_dir),
				 CAIRN_OK);
		if (st.is_dir) {
			dump(e, p.at, out);
			continue;
		}
		ck_ok(env_read_file(e, p.at, 1 << 20, &b));
		ck_assert_int_eq(buf_append_lp(out, buf_slice(&b)), CAIRN_OK);
		buf_fini(&b);
	}
	env_names_free(&l);
}

/* Some random history in which little is synced. */
static struct cairn_env *random_history(enum env_mem_rule rule, uint64_t seed)
{
	struct cairn_env *e = new_env(rule);
	struct rng r;

	rng_init(&r, seed);
	ck_ok(env_mkdir(e, "/0"));
	ck_ok(env_mkdir(e, "/1"));
	for (int i = 0; i < 150; i++) {
		char a[32], b[32];
		struct wfile *w;
		int err;

		snprintf(a, sizeof(a), "/%d/%d", (int)rng_below(&r, 2),
			 (int)rng_below(&r, 12));
		snprintf(b, sizeof(b), "/%d/%d", (int)rng_below(&r, 2),
			 (int)rng_below(&r, 12));
		switch (rng_below(&r, 6)) {
		case 0:
			err = env_rename(e, a, b);
			ck_assert(err == CAIRN_OK || err == CAIRN_ENOENT);
			break;
		case 1:
			err = env_link(e, a, b);
			ck_assert(err != CAIRN_EIO);
			break;
		case 2:
			ck_assert_int_ge(env_unlink(e, a), 0);
			break;
		case 3:
			if (rng_one_in(&r, 3))
				ck_ok(env_sync_dir(e, rng_one_in(&r, 2) ? "/0"
									: "/"));
			break;
		default:
			err = env_open_write(e, a, &w);
			if (err == CAIRN_EEXIST)
				break;
			ck_ok(err);
			for (uint64_t n = rng_below(&r, 5); n > 0; n--) {
				char bytes[700];
				size_t len = (size_t)rng_below(&r, 700);

				memset(bytes, (int)('a' + n), sizeof(bytes));
				ck_ok(wfile_append(w, bytes, len));
				if (rng_one_in(&r, 4))
					ck_ok(wfile_sync(w));
			}
			ck_ok(wfile_close(w));
			break;
		}
	}
	return e;
}

START_TEST(a_seed_decides_everything)
{
	int differ = 0;

	for (uint64_t h = 0; h < 10; h++) {
		struct cairn_env *e = random_history(rules[_i], h);
		struct cairn_env *same = random_history(rules[_i], h);

		for (uint64_t seed = 0; seed < 10; seed++) {
			struct buf b[4] = { { 0 } };
			struct cairn_env *c[4] = {
				cut(e, seed, 60),
				cut(e, seed, 60),
				cut(same, seed, 60),
				cut(e, seed + 1000, 60),
			};

			for (int i = 0; i < 4; i++) {
				dump(c[i], "/", &b[i]);
				env_mem_free(c[i]);
			}
			ck_assert(slice_eq(buf_slice(&b[0]), buf_slice(&b[1])));
			ck_assert(slice_eq(buf_slice(&b[0]), buf_slice(&b[2])));
			differ += !slice_eq(buf_slice(&b[0]), buf_slice(&b[3]));
			for (int i = 0; i < 4; i++)
				buf_fini(&b[i]);
		}
		env_mem_free(e);
		env_mem_free(same);
	}
	ck_assert_int_gt(differ, 50);
}
END_TEST

START_TEST(a_clone_is_wholly_durable_and_lives_alone)
{
	for (uint64_t h = 0; h < 20; h++) {
		struct cairn_env *e = random_history(rules[_i], h);
		struct cairn_env *c = cut(e, h, 50), *again;
		struct buf one = { 0 }, two = { 0 };

		dump(c, "/", &one);
		env_mem_free(e);
		again = cut(c, 1, 0);
		dump(again, "/", &two);
		ck_assert(slice_eq(buf_slice(&one), buf_slice(&two)));
		ck_assert_uint_eq(env_mem_bytes(c), env_mem_bytes(again));
		env_mem_free(again);

		/* And it can be worked with, and cut, like any other. */
		put_synced(c, "/after", "cut");
		ck_ok(env_sync_dir(c, "/"));
		ck_file_after_cut(c, "/after", "cut");
		env_mem_free(c);
		buf_fini(&one);
		buf_fini(&two);
	}
}
END_TEST

/* ------------------------------------------------------------ the rest */

START_TEST(a_hard_link_shares_bytes_and_durability)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);
	struct wfile *w;

	ck_ok(env_open_write(e, "/a", &w));
	ck_ok(env_link(e, "/a", "/b"));
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(wfile_append(w, "abc", 3));
	ck_ok(wfile_sync(w));
	ck_file_after_cut(e, "/a", "abc");
	ck_file_after_cut(e, "/b", "abc");
	ck_assert_uint_eq(env_mem_bytes(e), 3);
	ck_ok(env_unlink(e, "/a"));
	ck_ok(env_sync_dir(e, "/"));
	ck_assert_uint_eq(env_mem_bytes(e), 3);
	ck_file_after_cut(e, "/b", "abc");
	ck_ok(env_unlink(e, "/b"));
	ck_assert_uint_eq(env_mem_bytes(e), 3); /* it is still open */
	ck_ok(wfile_close(w));
	ck_assert_uint_eq(env_mem_bytes(e), 0);
	/* Gone for readers, but a cut brings it back. */
	ck_file_after_cut(e, "/b", "abc");
	env_mem_free(e);
}
END_TEST

START_TEST(a_sync_by_name_and_a_copy_survive_a_cut)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	put_file(e, "/a", "abc");
	ck_ok(env_sync_dir(e, "/"));
	ck_file_after_cut(e, "/a", "");
	ck_ok(env_sync_file(e, "/a"));
	ck_file_after_cut(e, "/a", "abc");
	ck_ok(env_copy_file(e, "/a", "/b", 3));
	ck_ok(env_sync_dir(e, "/"));
	ck_file_after_cut(e, "/b", "abc");
	ck_ok(env_mkdir(e, "/d"));
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(env_rmdir(e, "/d"));
	ck_ls_after_cut(e, "/", "a b d ");
	ck_ok(env_sync_dir(e, "/"));
	ck_ls_after_cut(e, "/", "a b ");
	env_mem_free(e);
}
END_TEST

START_TEST(a_full_disk_takes_what_fits_and_then_refuses)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT), *c;
	struct env_lock *l = NULL;
	struct wfile *w, *v;
	struct env_space space = { 0 };
	char text[256];

	ck_ok(env_open_write(e, "/f", &w));
	ck_ok(wfile_append(w, "0123456789", 10));
	env_mem_set_capacity(e, 15);
	ck_ok(env_free_space(e, "/", &space));
	ck_assert_uint_eq(space.free, 5);
	ck_assert_uint_eq(space.total, 15);
	ck_assert_int_eq(wfile_preallocate(w, 16), CAIRN_ENOSPC);
	ck_ok(wfile_preallocate(w, 15));
	ck_assert_int_eq(wfile_append(w, "abcdefgh", 8), CAIRN_ENOSPC);
	ck_names_path("/f");
	ck_assert_str_eq(get_file(e, "/f", text), "0123456789abcde");
	ck_assert_int_eq(wfile_append(w, "x", 1), CAIRN_ENOSPC);
	ck_ok(wfile_append(w, "", 0));
	ck_ok(env_open_write(e, "/g", &v));
	ck_assert_int_eq(wfile_append(v, "x", 1), CAIRN_ENOSPC);
	/* Locking must do without. */
	ck_ok(env_lock(e, "/LOCK", "note", &l));
	ck_file(e, "/LOCK", "");
	env_unlock(e, l);

	c = cut(e, 0, 100);
	ck_ok(env_free_space(c, "/", &space));
	ck_assert_uint_eq(space.free, 0);
	env_mem_free(c);

	ck_ok(wfile_close(w));
	ck_ok(env_unlink(e, "/f"));
	ck_ok(env_free_space(e, "/", &space));
	ck_assert_uint_eq(space.free, 15);
	ck_ok(wfile_append(v, "x", 1));
	env_mem_set_capacity(e, 0);
	ck_ok(wfile_append(v, "0123456789abcdef", 16));
	ck_ok(wfile_close(v));
	env_mem_free(e);
}
END_TEST

START_TEST(damage_shows_before_and_after_a_cut)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);

	put_synced(e, "/f", "abc");
	ck_ok(env_sync_dir(e, "/"));
	ck_ok(env_mem_damage(e, "/f", 1, 'b' ^ 'X'));
	ck_file(e, "/f", "aXc");
	ck_file_after_cut(e, "/f", "aXc");
	ck_assert_int_eq(env_mem_damage(e, "/f", 3, 1), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_mem_damage(e, "/g", 0, 1), CAIRN_NOT_FOUND);
	ck_assert_int_eq(env_mem_damage(e, "/", 0, 1), CAIRN_NOT_FOUND);
	env_mem_free(e);
}
END_TEST

START_TEST(a_clone_knows_no_locks)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT), *c;
	struct env_lock *l = NULL, *m = NULL;
	struct cairn_holder h;

	ck_ok(env_lock(e, "/LOCK", "one", &l));
	ck_ok(env_sync_dir(e, "/"));
	c = cut(e, 0, 100);
	ck_assert_int_eq(env_holder(c, "/LOCK", &h), CAIRN_NOT_FOUND);
	ck_ok(env_lock(c, "/LOCK", "two", &m));
	ck_assert_int_eq(env_lock(e, "/LOCK", "three", &l), CAIRN_EBUSY);
	env_unlock(c, m);
	env_unlock(e, l);
	env_mem_free(c);
	env_mem_free(e);
}
END_TEST

START_TEST(files_and_locks_outlive_the_env)
{
	struct cairn_env *e = new_env(ENV_MEM_JOURNAL);
	const struct env_ops *ops = e->ops;
	struct env_lock *l = NULL;
	struct wfile *w;
	struct rfile *r;
	char bytes[4];
	size_t got = 0;

	ck_ok(env_open_write(e, "/f", &w));
	ck_ok(env_open_read(e, "/f", &r));
	ck_ok(env_lock(e, "/LOCK", "", &l));
	env_mem_free(e);
	env_mem_free(NULL);
	ck_ok(wfile_append(w, "abc", 3));
	ck_ok(wfile_sync(w));
	ck_ok(rfile_read(r, 0, bytes, 4, &got));
	ck_assert_uint_eq(got, 3);
	rfile_close(r);
	ops->unlock(NULL, l);
	ck_ok(wfile_close(w));
}
END_TEST

START_TEST(odd_paths_lead_to_the_same_file_or_nowhere)
{
	struct cairn_env *e = new_env(ENV_MEM_STRICT);
	char name[300];
	struct wfile *w = NULL;
	struct env_stat st = { 0 };

	ck_ok(env_mkdir(e, "d"));
	put_file(e, "d/f", "x");
	ck_file(e, "//d/./f", "x");
	ck_file(e, "./d//f", "x");
	ck_ok(env_stat(e, "/d/", &st));
	ck_assert(st.is_dir);
	ck_ok(env_stat(e, "/", &st));
	ck_ok(env_stat(e, "", &st));
	ck_assert_int_lt(env_stat(e, "/d/../d", &st), 0);
	ck_assert_int_eq(env_mkdir(e, "/"), CAIRN_EEXIST);
	ck_assert_int_lt(env_unlink(e, "/"), 0);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_lt(env_open_write(e, name, &w), 0);
	name[255] = '\0';
	put_file(e, name, "y");
	ck_file(e, name, "y");
	env_mem_free(e);
}
END_TEST

struct racer {
	struct cairn_env *e;
	int id;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	char path[32], to[32];

	for (int i = 0; i < 200; i++) {
		struct cairn_env *c;
		struct wfile *w;
		char text[256];

		snprintf(path, sizeof(path), "/%d-%d", r->id, i);
		snprintf(to, sizeof(to), "/%d", r->id);
		if (env_open_write(r->e, path, &w) ||
		    wfile_append(w, path, strlen(path)) || wfile_sync(w) ||
		    wfile_close(w) || env_rename(r->e, path, to) ||
		    env_sync_dir(r->e, "/") ||
		    strcmp(get_file(r->e, to, text), path) != 0)
			return NULL;
		if (i % 20)
			continue;
		c = env_mem_crash_clone(r->e, (uint64_t)i, 50);
		if (!c || strcmp(get_file(c, to, text), path) != 0)
			return NULL;
		env_mem_free(c);
	}
	return r;
}

START_TEST(threads_may_share_an_env)
{
	struct cairn_env *e = new_env(rules[_i]);
	struct racer r[4];
	pthread_t t[4];

	for (int i = 0; i < 4; i++) {
		r[i] = (struct racer){ e, i };
		ck_assert_int_eq(pthread_create(&t[i], NULL, race, &r[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		void *done = NULL;

		ck_assert_int_eq(pthread_join(t[i], &done), 0);
		ck_assert_ptr_eq(done, &r[i]);
	}
	ck_ls(e, "/", "0 1 2 3 ");
	env_mem_free(e);
}
END_TEST

START_TEST(a_replaced_file_is_the_old_or_the_new_at_every_cut)
{
	struct cairn_env *e = new_env(rules[_i]);
	int n_old = 0, n_new = 0;

	ck_ok(env_replace_file(e, "/", "/tmp", "/f", slice_str("old")));
	ck_file_after_cut(e, "/f", "old");
	/* By hand, cut after each step. */
	for (int step = 0; step < 5; step++) {
		struct wfile *w;

		for (uint64_t seed = 0; seed < 40; seed++) {
			struct cairn_env *c = cut(e, seed, 50);
			char text[256];

			get_file(c, "/f", text);
			if (strcmp(text, "old") == 0)
				n_old++;
			else if (strcmp(text, "new") == 0)
				n_new++;
			else
				ck_abort_msg("step %d: %s", step, text);
			env_mem_free(c);
		}
		if (step == 0) {
			ck_ok(env_open_write(e, "/tmp", &w));
			ck_ok(wfile_append(w, "new", 3));
			ck_ok(wfile_sync(w));
			ck_ok(wfile_close(w));
		} else if (step == 1) {
			ck_ok(env_rename(e, "/tmp", "/f"));
		} else if (step == 2) {
			ck_ok(env_sync_dir(e, "/"));
		}
	}
	ck_assert(n_old > 80 && n_new > 80);
	ck_file_after_cut(e, "/f", "new");
	env_mem_free(e);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("env_mem");
	TCase *t = tcase_create("strict");

	add_contract(s);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_name_is_durable_once_its_directory_was_synced);
	tcase_add_test(t,
		       syncing_another_file_or_directory_does_not_help_a_name);
	tcase_add_test(t, a_directory_needs_its_own_name_to_be_durable);
	tcase_add_test(t, a_rename_in_one_directory_is_all_or_nothing);
	tcase_add_test(t, a_move_between_directories_needs_both_synced);
	tcase_add_test(t, unsynced_changes_of_names_are_kept_independently);
	tcase_add_test(t, a_half_synced_ring_of_directories_is_freed);
	suite_add_tcase(s, t);

	t = tcase_create("journal");
	tcase_set_timeout(t, 60);
	tcase_add_test(
		t, any_sync_makes_earlier_names_durable_under_the_journal_rule);
	tcase_add_test(t, a_journal_keeps_changes_of_names_in_order);
	suite_add_tcase(s, t);

	t = tcase_create("both rules");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(
		t, keeping_nothing_leaves_the_durable_and_all_the_visible, 0,
		2);
	tcase_add_loop_test(
		t, sectors_are_kept_or_read_as_zeros_behind_the_synced_part, 0,
		2);
	tcase_add_loop_test(
		t, a_kept_name_of_an_unsynced_file_may_show_any_length, 0, 2);
	tcase_add_loop_test(t, a_seed_decides_everything, 0, 2);
	tcase_add_loop_test(t, a_clone_is_wholly_durable_and_lives_alone, 0, 2);
	tcase_add_loop_test(
		t, a_replaced_file_is_the_old_or_the_new_at_every_cut, 0, 2);
	tcase_add_loop_test(t, threads_may_share_an_env, 0, 2);
	suite_add_tcase(s, t);

	t = tcase_create("the rest");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_hard_link_shares_bytes_and_durability);
	tcase_add_test(t, a_sync_by_name_and_a_copy_survive_a_cut);
	tcase_add_test(t, a_full_disk_takes_what_fits_and_then_refuses);
	tcase_add_test(t, damage_shows_before_and_after_a_cut);
	tcase_add_test(t, a_clone_knows_no_locks);
	tcase_add_test(t, files_and_locks_outlive_the_env);
	tcase_add_test(t, odd_paths_lead_to_the_same_file_or_nowhere);
	suite_add_tcase(s, t);
	return run_suite(s);
}
