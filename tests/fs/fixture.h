/* SPDX-License-Identifier: BSD-3-Clause */
/* A store in memory, for the tests of what lies on it. */
#ifndef CAIRN_TESTS_FS_FIXTURE_H
#define CAIRN_TESTS_FS_FIXTURE_H

#include "engine/base/buf.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "mvcc/mvcc.h"
#include "tests/support/check.h"

#define ck_ok(expr)                                                            \
	do {                                                                   \
		int err_ = (expr);                                             \
		ck_assert_msg(err_ == 0, "%s: %d: %s", #expr, err_,            \
			      cairn_errmsg());                                 \
	} while (0)

struct fixture {
	struct cairn_env *mem;
	struct cairn_env *env; /* fails on request */
	struct mvcc *m;
	bool plain;
};

static inline struct cairn_slice S(const char *s) {
	return slice_str(s);
}

static inline void
fixture_open(struct fixture *f)
{
	struct cairn_options *o = cairn_options_new();
	struct mvcc_options mo = { .engine = o, .plain = f->plain };

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, f->env);
	ck_ok(cairn_options_set(o, "create_if_missing",
				f->plain ? "false" : "true"));
	ck_ok(cairn_options_set(o, "block_cache_size", "1M"));
	ck_ok(mvcc_open("/db", &mo, &f->m));
	cairn_options_free(o);
}

static inline void fixture_init(struct fixture *f)
{
	f->mem = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(f->mem);
	f->env = env_fault_new(f->mem);
	ck_assert_ptr_nonnull(f->env);
	f->plain = false;
	fixture_open(f);
}

/* The same with a plain store. */
static inline void fixture_init_plain(struct fixture *f)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;

	f->mem = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(f->mem);
	f->env = env_fault_new(f->mem);
	ck_assert_ptr_nonnull(f->env);
	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, f->env);
	ck_ok(cairn_options_set(o, "create_if_missing", "true"));
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
	f->plain = true;
	fixture_open(f);
}

static inline void fixture_fini(struct fixture *f)
{
	ck_ok(mvcc_close(f->m));
	env_fault_free(f->env);
	env_mem_free(f->mem);
}

/* The committed value of key is want; NULL: it does not exist. */
static inline void expect_value(struct mvcc *m, const char *key, int64_t rev,
				const char *want)
{
	struct mvcc_pinned_row row = { 0 };
	char got[256];
	size_t len = 0;
	int err = mvcc_get(m, S(key), rev, &row);

	if (!want) {
		ck_assert_msg(err == CAIRN_NOT_FOUND, "%s: %d", key, err);
		return;
	}
	ck_ok(err);
	ck_ok(mvcc_read(m, &row.row, 0, got, sizeof(got), &len));
	ck_assert_msg(len == strlen(want) && !memcmp(got, want, len),
		      "%s is '%.*s', not '%s'", key, (int)len, got, want);
	mvcc_row_release(&row);
}

#endif
