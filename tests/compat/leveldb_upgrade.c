/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Directories that LevelDB wrote, converted: with the conversion cut off at
 * each step, whichever of LevelDB and RocksDB the directory belongs to finds
 * every key in it. And what LevelDB's own repair leaves, which puts tables of
 * all ages side by side, is converted rightly or refused.
 */
#include <leveldb/c.h>
#include <rocksdb/c.h>
#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "tests/compat/dir.h"
#include "tests/support/db_test.h"

#define N_KEYS 2000

/* What the directory holds: key number -> value, 0 for none. */
static unsigned model[N_KEYS];
static char made[PATH_LEN];  /* by LevelDB, as it was */
static char dir[PATH_LEN];   /* a copy to work on */
static char saved[PATH_LEN]; /* CURRENT of it */

static void key_of(unsigned i, char key[16])
{
	snprintf(key, 16, "key%06u", i * 7919 % 100000);
}

/* The i-th key has the bytes of its model. */
static void ck_value(unsigned i, const char *value, size_t len)
{
	char want[300];
	size_t n = (size_t)snprintf(want, sizeof(want), "%u:", model[i]);

	memset(want + n, 'v', 200);
	ck_assert_msg(model[i] != 0, "key %u is back", i);
	ck_assert_uint_eq(len, n + 200);
	ck_assert(!memcmp(value, want, len));
}

/* ---------------------------------------------------------------- LevelDB */

static leveldb_options_t *leveldb_how(void)
{
	leveldb_options_t *o = leveldb_options_create();

	leveldb_options_set_create_if_missing(o, 1);
	leveldb_options_set_write_buffer_size(o, 64 << 10);
	leveldb_options_set_max_file_size(o, 1 << 20);
	return o;
}

static leveldb_t *leveldb_at(const char *path)
{
	leveldb_options_t *o = leveldb_how();
	char *err = NULL;
	leveldb_t *db = leveldb_open(o, path, &err);

	ck_assert_msg(!err, "LevelDB: %s", err);
	leveldb_options_destroy(o);
	return db;
}

static void leveldb_ck_all(const char *path)
{
	leveldb_readoptions_t *ro = leveldb_readoptions_create();
	leveldb_t *db = leveldb_at(path);

	leveldb_readoptions_set_verify_checksums(ro, 1);
	for (unsigned i = 0; i < N_KEYS; i++) {
		char key[16], *value, *err = NULL;
		size_t len;

		key_of(i, key);
		value = leveldb_get(db, ro, key, strlen(key), &len, &err);
		ck_assert_msg(!err, "LevelDB: %s", err);
		if (value)
			ck_value(i, value, len);
		else
			ck_assert_msg(!model[i], "%s is lost", key);
		leveldb_free(value);
	}
	leveldb_readoptions_destroy(ro);
	leveldb_close(db);
}

/* Several levels, level 0 tables, deletions, a log that is not empty. */
static void leveldb_make(const char *path, uint64_t seed)
{
	leveldb_writeoptions_t *wo = leveldb_writeoptions_create();
	leveldb_t *db = leveldb_at(path);
	struct rng r;

	rng_init(&r, seed);
	memset(model, 0, sizeof(model));
	for (unsigned n = 1; n <= 6000; n++) {
		unsigned i = (unsigned)rng_below(&r, N_KEYS);
		char key[16], value[300], *err = NULL;
		size_t len;

		key_of(i, key);
		if (rng_one_in(&r, 5)) {
			model[i] = 0;
			leveldb_delete(db, wo, key, strlen(key), &err);
		} else {
			model[i] = n;
			len = (size_t)snprintf(value, sizeof(value), "%u:", n);
			memset(value + len, 'v', 200);
			leveldb_put(db, wo, key, strlen(key), value, len + 200,
				    &err);
		}
		ck_assert_msg(!err, "LevelDB: %s", err);
	}
	leveldb_writeoptions_destroy(wo);
	leveldb_close(db);
}

/* ---------------------------------------------------------------- RocksDB */

static void rocksdb_ck_all(const char *path)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	rocksdb_t *db;
	char *err = NULL;

	rocksdb_options_set_paranoid_checks(o, 1);
	db = rocksdb_open(o, path, &err);
	ck_assert_msg(!err, "RocksDB: %s", err);
	for (unsigned i = 0; i < N_KEYS; i++) {
		char key[16], *value;
		size_t len;

		key_of(i, key);
		value = rocksdb_get(db, ro, key, strlen(key), &len, &err);
		ck_assert_msg(!err, "RocksDB: %s", err);
		if (value)
			ck_value(i, value, len);
		else
			ck_assert_msg(!model[i], "%s is lost", key);
		rocksdb_free(value);
	}
	rocksdb_compact_range(db, NULL, 0, NULL, 0);
	rocksdb_readoptions_destroy(ro);
	rocksdb_close(db);
	rocksdb_options_destroy(o);
}

/* ------------------------------------------------------------------ cairn */

static int cairn_at(struct cairn_env *env, const char *how,
		    struct cairn_db **db)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	if (env)
		cairn_options_set_env(o, env);
	CK_OK(cairn_options_set(o, "write_buffer_size", "256K"));
	if (how)
		CK_OK(cairn_options_set(o, how, "true"));
	err = cairn_open(dir, o, db);
	cairn_options_free(o);
	return err;
}

static void cairn_ck_all(const char *how)
{
	struct cairn_db *db;

	CK_OK(cairn_at(NULL, how, &db));
	for (unsigned i = 0; i < N_KEYS; i++) {
		struct cairn_pinned v = { 0 };
		char key[16];
		int err;

		key_of(i, key);
		err = cairn_get(db, NULL, slice_str(key), &v);
		if (!err)
			ck_value(i, (const char *)v.value.data, v.value.len);
		else
			ck_assert_msg(err == CAIRN_NOT_FOUND && !model[i],
				      "%s: %s", key, cairn_errmsg());
		cairn_pinned_release(&v);
	}
	CK_OK(cairn_close(db));
}

/* ------------------------------------------------------------------ tests */

static bool current_is_old(void)
{
	struct buf now = { 0 };
	char path[PATH_LEN + 16];
	bool old;

	snprintf(path, sizeof(path), "%s/CURRENT", dir);
	CK_OK(env_read_file(env_posix(), path, 1000, &now));
	old = slice_eq(buf_slice(&now), slice_str(saved));
	buf_fini(&now);
	return old;
}

static void save_current(void)
{
	struct buf now = { 0 };
	char path[PATH_LEN + 16];

	snprintf(path, sizeof(path), "%s/CURRENT", dir);
	CK_OK(env_read_file(env_posix(), path, 1000, &now));
	ck_assert_uint_lt(now.len, sizeof(saved));
	memcpy(saved, now.data, now.len);
	saved[now.len] = '\0';
	buf_fini(&now);
}

static void copy(void)
{
	dir_remove(dir);
	dir_copy_live(made, dir);
	save_current();
}

static void setup(void)
{
	dir_make_temp(made);
	dir_make_temp(dir);
}

static void teardown(void)
{
	dir_remove(made);
	dir_remove(dir);
}

START_TEST(a_conversion_that_stops_leaves_it_to_leveldb_or_to_rocksdb)
{
	int theirs = 0, rocksdbs = 0;

	leveldb_make(made, (uint64_t)_i + 1);
	for (uint64_t n = 1;; n += 2) {
		struct cairn_env *env = env_fault_new(env_posix());
		const struct env_fault_rule rule = { .ops = ENV_FAULT_WRITES,
						     .nth = n,
						     .sticky = true,
						     .code = CAIRN_EIO };
		struct cairn_db *db = NULL;
		bool hit;
		int err;

		copy();
		/* From there on nothing is written, as of a process killed. */
		env_fault_set(env, &rule);
		err = cairn_at(env, "upgrade", &db);
		hit = env_fault_hits(env) > 0;
		if (!err)
			err = cairn_close(db);
		env_fault_free(env);
		if (current_is_old()) {
			theirs++;
			leveldb_ck_all(dir);
			cairn_ck_all("upgrade");
		} else {
			rocksdbs++;
			rocksdb_ck_all(dir);
			cairn_ck_all(NULL);
		}
		if (!hit)
			break;
	}
	ck_assert_int_gt(theirs, 5);
	ck_assert_int_gt(rocksdbs, 0);
}
END_TEST

START_TEST(a_converted_directory_goes_on_with_either_program)
{
	leveldb_make(made, (uint64_t)_i + 100);
	copy();
	cairn_ck_all("read_only");
	ck_assert(current_is_old());
	cairn_ck_all("upgrade");
	rocksdb_ck_all(dir);
	cairn_ck_all(NULL);
	(void)dir_check_with_tools(dir, true);
}
END_TEST

START_TEST(what_its_repair_leaves_is_converted_or_refused_whole)
{
	leveldb_options_t *o = leveldb_how();
	struct cairn_db *db;
	char *err = NULL;
	int code;

	leveldb_make(made, (uint64_t)_i + 200);
	copy();
	leveldb_repair_db(o, dir, &err);
	ck_assert_msg(!err, "LevelDB: %s", err);
	leveldb_options_destroy(o);
	/* Sometimes it has compacted some of it. Its lookups cannot be asked,
	 * which after a repair may find old values; its tables have them all.
	 */
	if (_i % 2)
		leveldb_close(leveldb_at(dir));
	save_current();
	code = cairn_at(NULL, "upgrade", &db);
	if (code) {
		ck_assert_int_eq(code, CAIRN_ENOTSUP);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "level 0"));
		ck_assert(current_is_old());
		return;
	}
	CK_OK(cairn_close(db));
	rocksdb_ck_all(dir);
	cairn_ck_all(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("leveldb_upgrade");
	TCase *tc = tcase_create("LevelDB");

	tcase_set_timeout(tc, 240);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
		tc, a_conversion_that_stops_leaves_it_to_leveldb_or_to_rocksdb,
		0, 1);
	tcase_add_loop_test(
		tc, a_converted_directory_goes_on_with_either_program, 0, 3);
	tcase_add_loop_test(
		tc, what_its_repair_leaves_is_converted_or_refused_whole, 0, 4);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
