/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/keyfile.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "engine/base/rng.h"
#include "mvcc/lease.h"
#include "tests/fs/fixture.h"
#include "tests/support/runner.h"

/* Far enough ahead that everything is due. */
#define LATER (keyfiles_now_us() + UINT64_C(3600000000))
#define MIB   (1u << 20)

static struct fixture fx;
static struct keyfiles *ks;
static _Atomic int n_held;
static bool quota_full;

static void hold(void *ctx, void *owner)
{
	(void)ctx;
	(void)owner;
	n_held++;
}

static void let_go(void *ctx, void *owner)
{
	(void)ctx;
	(void)owner;
	n_held--;
}

/* What is done, once, where a thread may wait long. */
static void (*_Atomic at_wait)(void);

static void wait_begin(void *ctx)
{
	void (*f)(void) = atomic_exchange(&at_wait, NULL);

	(void)ctx;
	if (f)
		f();
}

static int may_grow(void *ctx)
{
	(void)ctx;
	return quota_full ? CAIRN_EDQUOT : CAIRN_OK;
}

static void open_keyfiles(void)
{
	struct keyfiles_options o = {
		.commit_us = 5000000,
		.attrs_us = 500000,
		.dirty_max = MIB,
		.value_max = fx.plain ? MIB : UINT64_C(1) << 40,
		.whole_values = fx.plain,
		.origin = &fx,
		.hooks = { .hold = hold,
			   .let_go = let_go,
			   .wait_begin = wait_begin,
			   .may_grow = may_grow },
	};

	ck_ok(keyfiles_new(fx.m, &o, &ks));
}

static void setup(void)
{
	fixture_init(&fx);
	n_held = 0;
	quota_full = false;
	open_keyfiles();
}

static void setup_plain(void)
{
	fixture_init_plain(&fx);
	n_held = 0;
	quota_full = false;
	open_keyfiles();
}

static void teardown(void)
{
	ck_assert_int_eq(n_held, 0);
	keyfiles_free(ks);
	fixture_fini(&fx);
}

static struct keyfile *create(const char *key)
{
	struct keyfile_stat st = { .type = MVCC_FILE };
	struct keyfile *kf;

	ck_ok(keyfile_new(ks, NULL, S(key), &st, &kf));
	keyfile_open(kf);
	return kf;
}

static struct keyfile *load(const char *key)
{
	struct keyfile *kf;

	ck_ok(keyfile_load(ks, NULL, S(key), &kf));
	keyfile_open(kf);
	return kf;
}

static void done(struct keyfile *kf)
{
	ck_ok(keyfile_close(kf));
	keyfile_unref(kf);
}

static void put(const char *key, const char *value)
{
	ck_ok(mvcc_put(fx.m, S(key), S(value), NULL, NULL));
}

static void write_at(struct keyfile *kf, uint64_t off, const char *text)
{
	ck_ok(keyfile_write(kf, off, false, text, strlen(text), NULL));
}

static void expect(struct keyfile *kf, const char *want)
{
	char got[256];
	size_t len;

	ck_ok(keyfile_read(kf, 0, got, sizeof(got), &len));
	ck_assert_msg(len == strlen(want) && !memcmp(got, want, len),
		      "file is '%.*s', not '%s'", (int)len, got, want);
}

static struct keyfile_stat stat_of(struct keyfile *kf)
{
	struct keyfile_stat st;

	ck_ok(keyfile_stat(kf, &st));
	return st;
}

START_TEST(what_is_written_is_seen_here_and_committed_later)
{
	struct keyfile *kf = create("k");

	write_at(kf, 0, "hello");
	expect(kf, "hello");
	expect_value(fx.m, "k", 0, NULL);
	ck_assert_int_eq(mvcc_current(fx.m), 1);
	ck_ok(keyfile_commit(kf, false));
	ck_assert_int_eq(mvcc_current(fx.m), 2);
	expect_value(fx.m, "k", 0, "hello");
	/* Nothing new: no revision. */
	ck_ok(keyfile_commit(kf, false));
	ck_assert_int_eq(mvcc_current(fx.m), 2);
	done(kf);
}
END_TEST

START_TEST(the_old_value_stays_committed_until_the_new_one_is)
{
	struct keyfile *kf;

	put("k", "old");
	kf = load("k");
	ck_ok(keyfile_truncate(kf, 0));
	expect(kf, "");
	write_at(kf, 0, "new");
	expect_value(fx.m, "k", 0, "old");
	ck_ok(keyfile_commit(kf, true));
	expect_value(fx.m, "k", 0, "new");
	expect_value(fx.m, "k", 2, "old");
	ck_assert_int_eq(mvcc_current(fx.m), 3);
	done(kf);
}
END_TEST

START_TEST(parts_are_written_over_and_ends_moved)
{
	struct keyfile *kf;
	uint64_t at;

	put("k", "0123456789");
	kf = load("k");
	write_at(kf, 3, "abc");
	expect(kf, "012abc6789");
	ck_ok(keyfile_truncate(kf, 5));
	expect(kf, "012ab");
	ck_ok(keyfile_write(kf, 0, true, "XY", 2, &at));
	ck_assert_uint_eq(at, 5);
	expect(kf, "012abXY");
	ck_assert_uint_eq(stat_of(kf).size, 7);
	ck_ok(keyfile_extend(kf, 3)); /* does not cut */
	ck_assert_uint_eq(stat_of(kf).size, 7);
	ck_ok(keyfile_extend(kf, 10));
	ck_assert_uint_eq(stat_of(kf).size, 10);
	done(kf);
	ck_assert_int_eq(mvcc_current(fx.m), 3);
}
END_TEST

START_TEST(closing_the_last_descriptor_commits)
{
	struct keyfile *kf = create("k");

	keyfile_open(kf); /* a second one */
	write_at(kf, 0, "x");
	ck_ok(keyfile_close(kf));
	expect_value(fx.m, "k", 0, NULL);
	done(kf);
	expect_value(fx.m, "k", 0, "x");
}
END_TEST

START_TEST(a_new_empty_file_is_committed_by_closing_only)
{
	struct keyfile *kf = create("k");

	ck_assert(keyfile_is_dirty(kf));
	ck_assert(keyfiles_tick(ks, LATER));
	expect_value(fx.m, "k", 0, NULL);
	done(kf);
	expect_value(fx.m, "k", 0, "");
}
END_TEST

START_TEST(the_timer_commits_long_writers)
{
	struct keyfile *kf = create("k");

	write_at(kf, 0, "part");
	ck_assert(keyfiles_tick(ks, keyfiles_now_us()));
	expect_value(fx.m, "k", 0, NULL);
	ck_assert(!keyfiles_tick(ks, LATER));
	expect_value(fx.m, "k", 0, "part");
	write_at(kf, 4, "+more");
	keyfiles_tick(ks, LATER);
	expect_value(fx.m, "k", 0, "part+more");
	done(kf);
	ck_assert_int_eq(mvcc_current(fx.m), 3);
}
END_TEST

START_TEST(attributes_of_many_files_are_one_revision)
{
	struct keyfile_stat set = { .has_mode = true, .mode = 0600 };
	struct keyfile *kf[20];
	char key[32];

	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		put(key, "v");
		kf[i] = load(key);
		keyfile_set_attrs(kf[i], KEYFILE_MODE, &set);
		ck_assert_uint_eq(stat_of(kf[i]).mode, 0600);
	}
	ck_assert_int_eq(n_held, 20);
	ck_assert(!keyfiles_tick(ks, LATER));
	ck_assert_int_eq(mvcc_current(fx.m), 22);
	for (int i = 0; i < 20; i++)
		done(kf[i]);
	kf[0] = load("k7");
	ck_assert_uint_eq(stat_of(kf[0]).mode, 0600);
	expect(kf[0], "v");
	done(kf[0]);
}
END_TEST

START_TEST(attributes_of_any_number_of_files_are_committed_at_once)
{
	struct keyfile_stat set = { .has_mode = true, .mode = 0600 };
	static struct keyfile *kf[600];
	char key[32];

	for (int i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		kf[i] = create(key);
		ck_ok(keyfile_commit(kf[i], false));
		keyfile_set_attrs(kf[i], KEYFILE_MODE, &set);
	}
	/* Few revisions, and nothing is left. */
	ck_assert_int_eq(mvcc_current(fx.m), 601);
	ck_assert(!keyfiles_tick(ks, LATER));
	ck_assert_int_eq(mvcc_current(fx.m), 604);
	for (int i = 0; i < 600; i++)
		done(kf[i]);
}
END_TEST

START_TEST(attributes_go_with_the_next_commit)
{
	struct keyfile_stat set = { .has_uid = true, .uid = 7, .mtime_ns = 42 };
	struct keyfile *kf = create("k");
	struct mvcc_pinned_row row = { 0 };

	write_at(kf, 0, "x");
	keyfile_set_attrs(kf, KEYFILE_UID | KEYFILE_MTIME, &set);
	ck_ok(keyfile_commit(kf, false));
	ck_assert_int_eq(mvcc_current(fx.m), 2);
	ck_ok(mvcc_get(fx.m, S("k"), 0, &row));
	ck_assert(row.row.attrs.has_uid && row.row.attrs.uid == 7);
	ck_assert(row.row.attrs.has_mtime && row.row.attrs.mtime_ns == 42);
	mvcc_row_release(&row);
	/* A write renews the mtime. */
	write_at(kf, 0, "y");
	ck_assert_int_ne(stat_of(kf).mtime_ns, 42);
	done(kf);
}
END_TEST

START_TEST(a_change_of_attributes_keeps_the_mtime)
{
	struct keyfile_stat set = { .has_mode = true, .mode = 0400 };
	struct keyfile *kf;
	int64_t mtime;

	put("k", "v");
	kf = load("k");
	mtime = stat_of(kf).mtime_ns;
	keyfile_set_attrs(kf, KEYFILE_MODE, &set);
	ck_ok(keyfile_commit(kf, false));
	done(kf);
	kf = load("k");
	ck_assert_int_eq(stat_of(kf).mtime_ns, mtime);
	done(kf);
}
END_TEST

START_TEST(xattrs_travel_with_the_key)
{
	struct cairn_slice value = S("it");
	struct buf all = { 0 };
	struct keyfile *kf;

	put("k", "v");
	kf = load("k");
	ck_ok(keyfile_set_xattr(kf, S("user.note"), &value));
	ck_assert_int_eq(keyfile_set_xattr(kf, S("user.other"), NULL),
			 CAIRN_NOT_FOUND);
	ck_ok(keyfile_commit(kf, false));
	done(kf);
	kf = load("k");
	ck_ok(keyfile_xattrs(kf, &all));
	ck_assert_uint_eq(all.len, 1 + 9 + 1 + 2);
	buf_fini(&all);
	done(kf);
}
END_TEST

static int64_t lease_of(const char *key)
{
	struct mvcc_pinned_row r = { 0 };
	int64_t lease;

	ck_ok(mvcc_get(fx.m, S(key), 0, &r));
	lease = r.row.lease;
	mvcc_row_release(&r);
	return lease;
}

START_TEST(a_key_stays_on_its_lease_until_told_otherwise)
{
	struct keyfile_stat st = { .has_mode = true, .mode = 0600 };
	int64_t id = 5, ttl, rev;
	struct keyfile *kf;

	ck_ok(mvcc_lease_grant(fx.m, 3600, &id, &ttl));
	kf = create("k");
	write_at(kf, 0, "one");
	rev = mvcc_current(fx.m);
	ck_ok(keyfile_set_lease(kf, 5));
	/* What was not committed went along. */
	ck_assert_int_eq(mvcc_current(fx.m), rev + 1);
	ck_assert_int_eq(lease_of("k"), 5);
	write_at(kf, 3, " two");
	ck_ok(keyfile_commit(kf, false));
	ck_assert_int_eq(lease_of("k"), 5);
	keyfile_set_attrs(kf, KEYFILE_MODE, &st);
	keyfiles_tick(ks, LATER);
	ck_assert_int_eq(lease_of("k"), 5);

	/* A lease there is none of changes nothing, then or later. */
	ck_assert_int_eq(keyfile_set_lease(kf, 6), CAIRN_NOT_FOUND);
	ck_assert(!stat_of(kf).unlinked);
	keyfiles_tick(ks, LATER);
	ck_assert_int_eq(lease_of("k"), 5);

	ck_ok(keyfile_set_lease(kf, 0));
	ck_assert_int_eq(lease_of("k"), 0);
	ck_ok(keyfile_set_lease(kf, 5));
	expect(kf, "one two");
	ck_ok(mvcc_lease_revoke(fx.m, 5, NULL));
	keyfile_changed_below(kf);
	expect(kf, "one two");
	ck_assert(stat_of(kf).unlinked);
	ck_assert_int_eq(keyfile_set_lease(kf, 0), CAIRN_NOT_FOUND);
	done(kf);
}
END_TEST

START_TEST(an_unlinked_file_keeps_its_bytes_and_is_never_committed)
{
	struct keyfile *kf = create("k");
	bool committed = true;

	write_at(kf, 0, "bytes");
	ck_ok(keyfile_unlink(kf, &committed));
	ck_assert(!committed);
	ck_assert(stat_of(kf).unlinked);
	expect(kf, "bytes");
	write_at(kf, 5, "!");
	expect(kf, "bytes!");
	keyfiles_tick(ks, LATER);
	ck_ok(keyfile_commit(kf, true));
	done(kf);
	expect_value(fx.m, "k", 0, NULL);
	ck_assert_int_eq(mvcc_current(fx.m), 1);
}
END_TEST

START_TEST(a_large_unlinked_file_survives_forgetting)
{
	static uint8_t big[300000];
	struct keyfile *kf = create("k");
	bool committed = false;
	uint8_t back[1000];
	int64_t rev;
	size_t got;

	memset(big, 'b', sizeof(big));
	ck_ok(keyfile_write(kf, 0, false, big, sizeof(big), NULL));
	ck_ok(keyfile_commit(kf, false));
	ck_ok(keyfile_unlink(kf, &committed));
	ck_assert(committed);
	ck_ok(mvcc_delete(fx.m, S("k"), &rev));
	ck_ok(mvcc_forget(fx.m, rev));
	ck_ok(cairn_flush(mvcc_db(fx.m), true));
	ck_ok(cairn_compact_range(mvcc_db(fx.m), slice_of(NULL, 0),
				  slice_of(NULL, 0), NULL));
	ck_ok(keyfile_read(kf, 250000, back, sizeof(back), &got));
	ck_assert_uint_eq(got, sizeof(back));
	ck_assert(!memcmp(back, big, sizeof(back)));
	write_at(kf, 299999, "zz");
	ck_ok(keyfile_read(kf, 299998, back, sizeof(back), &got));
	ck_assert_uint_eq(got, 3);
	ck_assert(!memcmp(back, "bzz", 3));
	done(kf);
}
END_TEST

START_TEST(an_unlink_that_failed_is_undone)
{
	struct keyfile *kf = create("k");
	bool committed;

	write_at(kf, 0, "x");
	ck_ok(keyfile_unlink(kf, &committed));
	keyfile_undo_unlink(kf);
	done(kf);
	expect_value(fx.m, "k", 0, "x");
}
END_TEST

START_TEST(after_a_rename_commits_go_to_the_new_key)
{
	struct cairn_slice to;
	struct mvcc_txn *t;
	struct keyfile *kf = create("a");

	write_at(kf, 0, "1");
	ck_ok(keyfile_freeze(kf));
	ck_ok(mvcc_txn_new(fx.m, &t));
	ck_ok(mvcc_txn_move(t, S("a"), S("b")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	ck_ok(slice_dup(S("b"), &to));
	keyfile_renamed(kf, to);
	keyfile_thaw(kf);
	expect(kf, "1");
	write_at(kf, 1, "2");
	done(kf);
	expect_value(fx.m, "a", 0, NULL);
	expect_value(fx.m, "b", 0, "12");
}
END_TEST

static void *write_and_commit(void *arg)
{
	struct keyfile *kf = arg;

	write_at(kf, 0, "2");
	ck_ok(keyfile_commit(kf, false));
	return NULL;
}

START_TEST(who_writes_during_a_rename_waits_for_the_new_key)
{
	struct timespec moment = { 0, 20000000 };
	struct cairn_slice to;
	struct mvcc_txn *t;
	struct keyfile *kf = create("a");
	pthread_t writer;

	write_at(kf, 0, "11");
	ck_ok(keyfile_freeze(kf));
	expect_value(fx.m, "a", 0, "11");
	ck_ok(mvcc_txn_new(fx.m, &t));
	ck_ok(mvcc_txn_move(t, S("a"), S("b")));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	ck_assert(!pthread_create(&writer, NULL, write_and_commit, kf));
	/* Time enough to go wrong. */
	nanosleep(&moment, NULL);
	ck_ok(slice_dup(S("b"), &to));
	keyfile_renamed(kf, to);
	keyfile_thaw(kf);
	ck_assert(!pthread_join(writer, NULL));
	done(kf);
	expect_value(fx.m, "a", 0, NULL);
	expect_value(fx.m, "b", 0, "21");
}
END_TEST

static pthread_t timer;

static void *tick(void *arg)
{
	(void)arg;
	keyfiles_tick(ks, LATER);
	return NULL;
}

static void start_timer(void)
{
	struct timespec moment = { 0, 20000000 };

	ck_assert(!pthread_create(&timer, NULL, tick, NULL));
	/* Time enough to get as far as it can. */
	nanosleep(&moment, NULL);
}

START_TEST(a_rename_of_many_and_the_timer_do_not_wait_for_each_other)
{
	struct keyfile_stat set = { .has_mode = true, .mode = 0600 };
	struct keyfile *a, *b;

	put("a", "1");
	a = load("a");
	keyfile_set_attrs(a, KEYFILE_MODE, &set);
	b = create("b");
	write_at(b, 0, "2");
	/* While b is committed the timer finds both due. What it does to a must
	 * not last until it has b. */
	at_wait = start_timer;
	ck_ok(keyfile_freeze(b));
	ck_ok(keyfile_freeze(a));
	keyfile_thaw(a);
	keyfile_thaw(b);
	ck_assert(!pthread_join(timer, NULL));
	ck_assert_uint_eq(stat_of(a).mode, 0600);
	done(a);
	done(b);
}
END_TEST

START_TEST(a_change_below_is_seen_by_clean_readers)
{
	struct keyfile *kf;

	put("k", "one");
	kf = load("k");
	expect(kf, "one");
	put("k", "other");
	keyfile_changed_below(kf);
	ck_assert_uint_eq(stat_of(kf).size, 5);
	expect(kf, "other");
	/* Deleted: what is open keeps what it had. */
	ck_ok(mvcc_delete(fx.m, S("k"), NULL));
	keyfile_changed_below(kf);
	ck_assert(stat_of(kf).unlinked);
	expect(kf, "other");
	write_at(kf, 0, "u");
	expect(kf, "uther");
	done(kf);
	expect_value(fx.m, "k", 0, NULL);
}
END_TEST

START_TEST(a_writer_comes_after_a_change_below)
{
	struct keyfile *kf;

	put("k", "one");
	kf = load("k");
	write_at(kf, 0, "ONE");
	put("k", "other");
	keyfile_changed_below(kf);
	expect(kf, "ONE");
	done(kf);
	expect_value(fx.m, "k", 0, "ONE");
	expect_value(fx.m, "k", 3, "other");
}
END_TEST

/* Over more than the memory allowed, in random pieces, against a plain copy. */
START_TEST(large_files_in_random_pieces_match_a_copy)
{
	enum { SIZE = 3 * MIB };
	uint8_t *copy = calloc(1, SIZE), *got = malloc(SIZE);
	struct keyfile *kf = create("k");
	uint64_t size = 0;
	struct rng r;
	size_t n;

	rng_init(&r, (uint64_t)_i);
	for (int step = 0; step < 150; step++) {
		uint64_t off = rng_below(&r, SIZE - 70000);
		size_t len = 1 + rng_below(&r, 70000);

		if (rng_one_in(&r, 20)) {
			ck_ok(keyfile_truncate(kf, off));
			if (off < size)
				memset(copy + off, 0, size - off);
			size = off;
			continue;
		}
		if (rng_one_in(&r, 15)) {
			ck_ok(keyfile_commit(kf, false));
			continue;
		}
		memset(copy + off, step + 1, len);
		ck_ok(keyfile_write(kf, off, false, copy + off, len, NULL));
		size = off + len > size ? off + len : size;
	}
	ck_assert_uint_eq(stat_of(kf).size, size);
	ck_ok(keyfile_read(kf, 0, got, SIZE, &n));
	ck_assert_uint_eq(n, size);
	ck_assert(!memcmp(got, copy, n));
	done(kf);
	kf = load("k");
	ck_ok(keyfile_read(kf, 0, got, SIZE, &n));
	ck_assert_uint_eq(n, size);
	ck_assert(!memcmp(got, copy, n));
	done(kf);
	free(copy);
	free(got);
}
END_TEST

START_TEST(too_much_in_memory_is_committed_early)
{
	static uint8_t piece[65536];
	struct keyfile *kf = create("k");
	int64_t first;

	for (unsigned i = 0; i < 40; i++)
		ck_ok(keyfile_write(kf, (uint64_t)i * sizeof(piece), false,
				    piece, sizeof(piece), NULL));
	ck_ok(keyfile_commit(kf, false));
	first = mvcc_current(fx.m);
	/* Of a value that is shown, the changes have to stay in memory. */
	for (unsigned i = 0; i < 40; i++)
		ck_ok(keyfile_write(kf, (uint64_t)i * sizeof(piece), false, "x",
				    1, NULL));
	ck_assert_int_gt(mvcc_current(fx.m), first);
	done(kf);
}
END_TEST

START_TEST(over_the_limits_nothing_is_written)
{
	struct keyfile *kf = create("k");
	struct cairn_slice value;

	write_at(kf, 0, "x");
	ck_assert_int_eq(
		keyfile_write(kf, UINT64_C(1) << 40, false, "x", 1, NULL),
		CAIRN_EINVAL);
	ck_assert_int_eq(keyfile_truncate(kf, (UINT64_C(1) << 40) + 1),
			 CAIRN_EINVAL);
	quota_full = true;
	ck_assert_int_eq(keyfile_write(kf, 0, false, "y", 1, NULL),
			 CAIRN_EDQUOT);
	ck_assert_int_eq(keyfile_extend(kf, 100), CAIRN_EDQUOT);
	ck_assert_int_eq(keyfile_truncate(kf, 0), CAIRN_EDQUOT);
	value = S("v");
	ck_assert_int_eq(keyfile_set_xattr(kf, S("user.a"), &value),
			 CAIRN_EDQUOT);
	ck_assert_int_eq(keyfile_may_grow(kf), CAIRN_EDQUOT);
	expect(kf, "x");
	done(kf);
}
END_TEST

START_TEST(a_failed_commit_is_told_and_what_was_there_stays)
{
	const struct env_fault_rule rule = { .ops = ENV_FAULT_WRITES,
					     .nth = 1,
					     .sticky = true,
					     .code = CAIRN_EIO };
	struct keyfile *kf, *made;

	put("k", "old");
	kf = load("k");
	made = create("new");
	write_at(kf, 0, "NEW");
	env_fault_set(fx.env, &rule);
	ck_assert_int_lt(keyfile_commit(kf, true), 0);
	expect(kf, "NEW"); /* still there to be tried again */
	ck_assert_int_lt(keyfile_close(kf), 0);
	expect(kf, "old"); /* given up */
	keyfile_unref(kf);
	ck_assert_int_lt(keyfile_close(made), 0);
	ck_assert(stat_of(made).unlinked);
	keyfile_unref(made);
	env_fault_set(fx.env, NULL);
	/* The store is read-only by now, its close may say so. */
	keyfiles_give_up(ks);
	keyfiles_free(ks);
	mvcc_close(fx.m);
	fixture_open(&fx);
	expect_value(fx.m, "k", 0, "old");
	open_keyfiles();
}
END_TEST

START_TEST(created_files_are_listed_until_they_are_committed)
{
	struct keyfile *a = create("d/a"), *b = create("d/b");
	struct keyfile *c = create("c");
	struct buf keys = { 0 };

	ck_ok(keyfiles_created(ks, S("d/"), &keys));
	ck_assert_uint_eq(keys.len, 8);
	buf_clear(&keys);
	ck_ok(keyfile_commit(a, false));
	ck_ok(keyfiles_created(ks, S("d/"), &keys));
	ck_assert_uint_eq(keys.len, 4);
	ck_assert(!memcmp(keys.data, "\3d/b", 4));
	buf_fini(&keys);
	done(a);
	done(b);
	done(c);
}
END_TEST

START_TEST(commit_all_commits_all_in_one_call)
{
	struct keyfile *a = create("a"), *b = create("b");

	write_at(b, 0, "x");
	ck_ok(keyfiles_commit_all(ks, true));
	expect_value(fx.m, "a", 0, "");
	expect_value(fx.m, "b", 0, "x");
	ck_assert(!keyfiles_tick(ks, LATER));
	done(a);
	done(b);
}
END_TEST

struct appender {
	struct keyfile *kf;
	char letter;
};

static void *append_lines(void *arg)
{
	const struct appender *a = arg;
	char line[8];

	memset(line, a->letter, sizeof(line));
	line[7] = '\n';
	for (int i = 0; i < 300; i++) {
		if (keyfile_write(a->kf, 0, true, line, sizeof(line), NULL))
			return arg;
		if (i % 50 == 0 && keyfile_commit(a->kf, false))
			return arg;
	}
	return NULL;
}

START_TEST(appenders_lose_no_line)
{
	struct keyfile *kf = create("log");
	struct appender a[4];
	pthread_t t[4];
	char *all = malloc(4 * 300 * 8);
	int counts[4] = { 0 };
	size_t got;
	void *ret;

	for (int i = 0; i < 4; i++) {
		a[i] = (struct appender){ kf, (char)('a' + i) };
		ck_assert_int_eq(
			pthread_create(&t[i], NULL, append_lines, &a[i]), 0);
	}
	for (int i = 0; i < 50; i++)
		keyfiles_tick(ks, LATER);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(t[i], &ret), 0);
		ck_assert_ptr_null(ret);
	}
	ck_ok(keyfile_read(kf, 0, all, 4 * 300 * 8, &got));
	ck_assert_uint_eq(got, 4 * 300 * 8);
	for (size_t i = 0; i < got; i += 8) {
		ck_assert_int_eq(all[i + 7], '\n');
		ck_assert_int_eq(all[i], all[i + 6]);
		counts[all[i] - 'a']++;
	}
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(counts[i], 300);
	free(all);
	done(kf);
}
END_TEST

/* --------------------------------------------------------- plain stores */

static int write_bytes(struct keyfile *kf, uint64_t off, size_t len)
{
	static char zeros[MIB];

	return keyfile_write(kf, off, false, zeros, len, NULL);
}

START_TEST(a_whole_value_is_not_committed_for_being_large)
{
	struct keyfile *kf = create("k");

	for (unsigned i = 0; i < 8; i++)
		ck_ok(write_bytes(kf, i * MIB / 8, MIB / 8));
	expect_value(fx.m, "k", 0, NULL);
	/* No more fits into memory, and that is the largest one. */
	ck_assert_int_eq(write_bytes(kf, MIB, 1), CAIRN_EINVAL);
	ck_assert_int_eq(keyfile_truncate(kf, MIB + 1), CAIRN_EINVAL);
	ck_assert_int_eq(keyfile_extend(kf, MIB + 1), CAIRN_EINVAL);
	ck_assert_uint_eq(stat_of(kf).size, MIB);
	done(kf);
	kf = load("k");
	ck_assert_uint_eq(stat_of(kf).size, MIB);
	done(kf);
}
END_TEST

START_TEST(the_others_make_room_by_being_committed)
{
	struct keyfile *a = create("a"), *b = create("b");

	ck_ok(write_bytes(a, 0, MIB / 4 * 3));
	expect_value(fx.m, "a", 0, NULL);
	ck_ok(write_bytes(b, 0, MIB / 2));
	ck_assert_int_eq(mvcc_any(fx.m, 0, S("a"), S("")), CAIRN_OK);
	ck_assert_int_eq(mvcc_any(fx.m, 0, S("b"), S("")), CAIRN_NOT_FOUND);
	/* It goes on where it was, and the other one makes room. */
	ck_ok(write_bytes(a, MIB / 4 * 3, MIB / 4));
	ck_assert_uint_eq(stat_of(a).size, MIB);
	ck_assert_uint_eq(stat_of(b).size, MIB / 2);
	done(a);
	done(b);
}
END_TEST

START_TEST(what_cannot_be_committed_leaves_no_room)
{
	struct keyfile *a = create("a"), *b = create("b");
	bool committed;

	ck_ok(write_bytes(a, 0, MIB / 4 * 3));
	ck_ok(keyfile_unlink(a, &committed));
	ck_assert_int_eq(write_bytes(b, 0, MIB / 2), CAIRN_ENOSPC);
	ck_assert_int_eq(keyfile_extend(b, MIB / 2), CAIRN_ENOSPC);
	ck_ok(write_bytes(b, 0, MIB / 4));
	ck_assert_uint_eq(stat_of(b).size, MIB / 4);
	done(a);
	ck_ok(write_bytes(b, 0, MIB / 2));
	done(b);
}
END_TEST

START_TEST(a_commit_that_fails_for_room_is_told)
{
	const struct env_fault_rule rule = { .ops = ENV_FAULT_APPEND,
					     .nth = 1,
					     .sticky = true,
					     .code = CAIRN_EIO };
	struct keyfile *a = create("a"), *b = create("b");

	ck_ok(write_bytes(a, 0, MIB / 4 * 3));
	env_fault_set(fx.env, &rule);
	ck_assert_int_lt(write_bytes(b, 0, MIB / 2), 0);
	env_fault_set(fx.env, NULL);
	ck_ok(cairn_resume(mvcc_db(fx.m)));
	ck_ok(write_bytes(b, 0, MIB / 2));
	done(a);
	done(b);
}
END_TEST

START_TEST(of_a_value_that_is_too_large_the_front_can_be_kept)
{
	static char big[MIB + 100];
	struct keyfile *kf;
	char got[8];
	size_t len;

	memcpy(big, "front", 5);
	ck_ok(mvcc_put(fx.m, S("k"), slice_of(big, sizeof(big)), NULL, NULL));
	kf = load("k");
	ck_assert_uint_eq(stat_of(kf).size, sizeof(big));
	ck_assert_int_eq(write_bytes(kf, 0, 1), CAIRN_EINVAL);
	ck_assert_int_eq(keyfile_truncate(kf, MIB + 50), CAIRN_EINVAL);
	ck_ok(keyfile_truncate(kf, 4));
	ck_ok(keyfile_commit(kf, false));
	ck_ok(keyfile_read(kf, 0, got, sizeof(got), &len));
	ck_assert_uint_eq(len, 4);
	ck_assert(!memcmp(got, "fron", 4));
	done(kf);
	expect_value(fx.m, "k", 0, "fron");
}
END_TEST

#define N_WRITERS 4

static void *write_much(void *arg)
{
	struct keyfile *kf = arg;

	for (unsigned i = 0; i < 40; i++)
		ck_ok(write_bytes(kf, i * (MIB / 64), MIB / 64));
	return NULL;
}

START_TEST(many_writers_share_what_is_there)
{
	pthread_t t[N_WRITERS];
	struct keyfile *kf[N_WRITERS];
	char key[8];

	for (unsigned i = 0; i < N_WRITERS; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		kf[i] = create(key);
		ck_assert_int_eq(pthread_create(&t[i], NULL, write_much, kf[i]),
				 0);
	}
	for (unsigned i = 0; i < N_WRITERS; i++) {
		pthread_join(t[i], NULL);
		ck_assert_uint_eq(stat_of(kf[i]).size, MIB / 64 * 40);
		done(kf[i]);
	}
}
END_TEST

/* What both kinds of store do. */
static void add_common(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_is_written_is_seen_here_and_committed_later);
	tcase_add_test(tc, parts_are_written_over_and_ends_moved);
	tcase_add_test(tc, closing_the_last_descriptor_commits);
	tcase_add_test(tc, a_new_empty_file_is_committed_by_closing_only);
	tcase_add_test(tc, the_timer_commits_long_writers);
	tcase_add_test(tc,
		       an_unlinked_file_keeps_its_bytes_and_is_never_committed);
	tcase_add_test(tc, an_unlink_that_failed_is_undone);
	tcase_add_test(tc, after_a_rename_commits_go_to_the_new_key);
	tcase_add_test(tc, who_writes_during_a_rename_waits_for_the_new_key);
	tcase_add_test(
		tc, a_rename_of_many_and_the_timer_do_not_wait_for_each_other);
	tcase_add_test(tc, a_change_below_is_seen_by_clean_readers);
	tcase_add_test(tc, a_failed_commit_is_told_and_what_was_there_stays);
	tcase_add_test(tc, created_files_are_listed_until_they_are_committed);
	tcase_add_test(tc, commit_all_commits_all_in_one_call);
	tcase_add_test(tc, appenders_lose_no_line);
}

int main(void)
{
	Suite *s = suite_create("keyfile");
	TCase *tc = tcase_create("revision store");
	TCase *plain = tcase_create("plain store");

	tcase_add_checked_fixture(tc, setup, teardown);
	add_common(tc);
	tcase_add_test(tc, the_old_value_stays_committed_until_the_new_one_is);
	tcase_add_test(tc, a_writer_comes_after_a_change_below);
	tcase_add_test(tc, attributes_of_many_files_are_one_revision);
	tcase_add_test(tc,
		       attributes_of_any_number_of_files_are_committed_at_once);
	tcase_add_test(tc, attributes_go_with_the_next_commit);
	tcase_add_test(tc, a_change_of_attributes_keeps_the_mtime);
	tcase_add_test(tc, xattrs_travel_with_the_key);
	tcase_add_test(tc, a_key_stays_on_its_lease_until_told_otherwise);
	tcase_add_test(tc, a_large_unlinked_file_survives_forgetting);
	tcase_add_loop_test(tc, large_files_in_random_pieces_match_a_copy, 1,
			    5);
	tcase_add_test(tc, too_much_in_memory_is_committed_early);
	tcase_add_test(tc, over_the_limits_nothing_is_written);
	suite_add_tcase(s, tc);

	tcase_add_checked_fixture(plain, setup_plain, teardown);
	add_common(plain);
	tcase_add_test(plain, a_whole_value_is_not_committed_for_being_large);
	tcase_add_test(plain, the_others_make_room_by_being_committed);
	tcase_add_test(plain, what_cannot_be_committed_leaves_no_room);
	tcase_add_test(plain, a_commit_that_fails_for_room_is_told);
	tcase_add_test(plain,
		       of_a_value_that_is_too_large_the_front_can_be_kept);
	tcase_add_test(plain, many_writers_share_what_is_there);
	suite_add_tcase(s, plain);
	return run_suite(s);
}
