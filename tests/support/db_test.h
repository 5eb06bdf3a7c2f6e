/* SPDX-License-Identifier: BSD-3-Clause */
/* A database on a file system in memory that fails on request, for tests. */
#ifndef CAIRN_TESTS_SUPPORT_DB_TEST_H
#define CAIRN_TESTS_SUPPORT_DB_TEST_H

#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/slice.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "tests/support/runner.h"

#define TEST_DIR "/db"

#define CK_OK(expr)                                                            \
	do {                                                                   \
		int ck_err = (expr);                                           \
		ck_assert_msg(ck_err == CAIRN_OK, "%s: %s: %s", #expr,         \
			      cairn_strerror(ck_err), cairn_errmsg());         \
	} while (0)

#define CK_CODE(expr, want)                                                    \
	do {                                                                   \
		int ck_err = (expr);                                           \
		ck_assert_msg(ck_err == (want), "%s: %s, not %s: %s", #expr,   \
			      cairn_strerror(ck_err), cairn_strerror(want),    \
			      cairn_errmsg());                                 \
	} while (0)

struct test_db {
	struct cairn_env *mem;
	struct cairn_env *env; /* of faults, over mem */
	struct cairn_options *opts;
	struct cairn_db *db; /* NULL while closed */
};

static inline void tdb_set(struct test_db *t, const char *name,
			   const char *value)
{
	CK_OK(cairn_options_set(t->opts, name, value));
}

/* The file systems and the options; nothing is opened. mem NULL: a new one. */
static inline void tdb_init(struct test_db *t, struct cairn_env *mem)
{
	t->mem = mem ? mem : env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(t->mem);
	t->env = env_fault_new(t->mem);
	ck_assert_ptr_nonnull(t->env);
	t->opts = cairn_options_new();
	ck_assert_ptr_nonnull(t->opts);
	t->db = NULL;
	cairn_options_set_env(t->opts, t->env);
	tdb_set(t, "create_if_missing", "true");
}

static inline void tdb_open(struct test_db *t)
{
	CK_OK(cairn_open(TEST_DIR, t->opts, &t->db));
}

static inline void tdb_close(struct test_db *t)
{
	CK_OK(cairn_close(t->db));
	t->db = NULL;
}

static inline void tdb_reopen(struct test_db *t)
{
	tdb_close(t);
	tdb_open(t);
}

static inline void tdb_fini(struct test_db *t)
{
	if (t->db)
		tdb_close(t);
	cairn_options_free(t->opts);
	env_fault_free(t->env);
	env_mem_free(t->mem);
}

static inline void tdb_fail(struct test_db *t, unsigned ops, const char *path,
			    uint64_t nth, bool sticky, int code)
{
	struct env_fault_rule rule = {
		.ops = ops,
		.path = path,
		.nth = nth,
		.sticky = sticky,
		.code = code,
	};

	env_fault_set(t->env, &rule);
}

static inline int tdb_try_put(struct test_db *t, const char *key,
			      const char *value)
{
	return cairn_put(t->db, NULL, slice_str(key), slice_str(value));
}

static inline void tdb_put(struct test_db *t, const char *key,
			   const char *value)
{
	CK_OK(tdb_try_put(t, key, value));
}

static inline int tdb_put_sync(struct test_db *t, const char *key,
			       const char *value)
{
	static const struct cairn_write_options sync = { .sync = true };

	return cairn_put(t->db, &sync, slice_str(key), slice_str(value));
}

static inline void tdb_delete(struct test_db *t, const char *key)
{
	CK_OK(cairn_delete(t->db, NULL, slice_str(key)));
}

/* value NULL: there is none. */
static inline void tdb_expect(struct test_db *t, const char *key,
			      const char *value)
{
	struct cairn_pinned p = { 0 };
	int err = cairn_get(t->db, NULL, slice_str(key), &p);

	if (!value) {
		ck_assert_msg(err == CAIRN_NOT_FOUND, "%s is there (%d: %s)",
			      key, err, cairn_errmsg());
		return;
	}
	ck_assert_msg(err == CAIRN_OK, "%s: %s: %s", key, cairn_strerror(err),
		      cairn_errmsg());
	ck_assert_msg(slice_eq(p.value, slice_str(value)), "%s: %.*s, not %s",
		      key, (int)p.value.len, (const char *)p.value.data, value);
	cairn_pinned_release(&p);
}

/* Whether the directory has a file whose name has the given end. */
static inline size_t tdb_count_files(struct test_db *t, const char *end)
{
	struct env_names names;
	size_t n = 0;

	CK_OK(env_list(t->mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++) {
		size_t len = strlen(names.names[i]);

		n += len >= strlen(end) &&
		     strcmp(names.names[i] + len - strlen(end), end) == 0;
	}
	env_names_free(&names);
	return n;
}

/*
 * The keys that an iterator shows, one behind the other, are want: forward, and
 * backward the same ones.
 */
static inline void tdb_expect_keys(struct test_db *t,
				   const struct cairn_read_options *o,
				   const char *want)
{
	struct buf keys = { 0 };
	struct cairn_iter *it;
	size_t left;

	CK_OK(cairn_iter_new(t->db, o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		CK_OK(buf_append(&keys, cairn_iter_key(it).data,
				 cairn_iter_key(it).len));
	CK_OK(cairn_iter_status(it));
	ck_assert_msg(slice_eq(buf_slice(&keys), slice_str(want)),
		      "%.*s, not %s", (int)keys.len, (const char *)keys.data,
		      want);
	left = keys.len;
	for (bool on = cairn_iter_last(it); on; on = cairn_iter_prev(it)) {
		struct cairn_slice key = cairn_iter_key(it);

		ck_assert_uint_ge(left, key.len);
		left -= key.len;
		ck_assert(!memcmp(keys.data + left, key.data, key.len));
	}
	CK_OK(cairn_iter_status(it));
	ck_assert_uint_eq(left, 0);
	cairn_iter_free(it);
	buf_fini(&keys);
}

#endif
