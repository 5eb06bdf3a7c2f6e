/* SPDX-License-Identifier: BSD-3-Clause */
/* A revision store on a file system in memory, and short words for its calls.
 */
#ifndef CAIRN_TESTS_MVCC_FIXTURE_H
#define CAIRN_TESTS_MVCC_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/env/env_mem.h"
#include "mvcc/mvcc.h"
#include "tests/support/check.h"

/* Small, so that a few values make a large one. */
#define CHUNK 64u

#define ck_ok(expr)                                                            \
	do {                                                                   \
		int err_ = (expr);                                             \
		ck_assert_msg(err_ == CAIRN_OK, "%s: %d: %s", #expr, err_,     \
			      cairn_errmsg());                                 \
	} while (0)

#define ck_code(expr, want)                                                    \
	do {                                                                   \
		int err_ = (expr);                                             \
		ck_assert_msg(err_ == (want), "%s: %d, not %d: %s", #expr,     \
			      err_, (want), cairn_errmsg());                   \
	} while (0)

struct fixture {
	struct cairn_env *env;
	struct mvcc *m;
};

static inline struct cairn_slice S(const char *s) {
	return slice_str(s);
}

static inline struct cairn_slice
none(void)
{
	return slice_of(NULL, 0);
}

/* Small memtables and tables, compactions only when asked for. */
static inline struct cairn_options *small_options(struct cairn_env *env)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	ck_ok(cairn_options_set(o, "create_if_missing", "true"));
	ck_ok(cairn_options_set(o, "write_buffer_size", "256K"));
	ck_ok(cairn_options_set(o, "target_file_size", "64K"));
	ck_ok(cairn_options_set(o, "base_level_size", "256K"));
	ck_ok(cairn_options_set(o, "block_cache_size", "1M"));
	return o;
}

static inline int store_open_at(struct cairn_env *env, struct mvcc **out)
{
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o, .chunk_size = CHUNK };
	int err = mvcc_open("/db", &mo, out);

	cairn_options_free(o);
	return err;
}

static inline void fixture_init(struct fixture *f)
{
	f->env = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(f->env);
	ck_ok(store_open_at(f->env, &f->m));
}

static inline void fixture_reopen(struct fixture *f)
{
	ck_ok(mvcc_close(f->m));
	ck_ok(store_open_at(f->env, &f->m));
}

static inline void fixture_fini(struct fixture *f)
{
	ck_ok(mvcc_close(f->m));
	env_mem_free(f->env);
}

static inline int64_t put(struct mvcc *m, const char *key, const char *value)
{
	int64_t rev = 0;

	ck_ok(mvcc_put(m, S(key), S(value), NULL, &rev));
	return rev;
}

static inline int64_t del(struct mvcc *m, const char *key)
{
	int64_t rev = 0;

	ck_ok(mvcc_delete(m, S(key), &rev));
	return rev;
}

/* The whole value of a row, NUL-terminated, malloc'ed. */
static inline char *read_row(struct mvcc *m, const struct mvcc_row *row)
{
	char *text = malloc((size_t)row->size + 1);
	size_t got;

	ck_assert_ptr_nonnull(text);
	ck_ok(mvcc_read(m, row, 0, text, (size_t)row->size, &got));
	ck_assert_uint_eq(got, row->size);
	text[got] = '\0';
	return text;
}

/* NULL when the key does not exist; else malloc'ed. */
static inline char *get_at(struct mvcc *m, const char *key, int64_t rev)
{
	struct mvcc_pinned_row r = { 0 };
	char *text;
	int err = mvcc_get(m, S(key), rev, &r);

	if (err == CAIRN_NOT_FOUND)
		return NULL;
	ck_assert_msg(err == CAIRN_OK, "get %s at %lld: %s", key,
		      (long long)rev, cairn_errmsg());
	text = read_row(m, &r.row);
	mvcc_row_release(&r);
	return text;
}

static inline void ck_value(struct mvcc *m, const char *key, int64_t rev,
			    const char *want)
{
	char *got = get_at(m, key, rev);

	if (want)
		ck_assert_msg(got && strcmp(got, want) == 0,
			      "%s at %lld: %s, not %s", key, (long long)rev,
			      got ? got : "nothing", want);
	else
		ck_assert_msg(!got, "%s at %lld: %s, not nothing", key,
			      (long long)rev, got);
	free(got);
}

#define FULL_QUOTA "1M"
/* Values of this length are no large ones then. */
#define FULL_VALUE 4000

/* Put keys fill0000, fill0001, ... with values that do not compress until the
 * quota refuses it; how many there are. */
static inline int fill_store(struct mvcc *m)
{
	char key[16], value[FULL_VALUE];
	uint32_t x = 1;

	for (int n = 0; n < 1000; n++) {
		int err;

		for (size_t i = 0; i < sizeof(value); i++) {
			x = x * 1664525u + 1013904223u;
			value[i] = (char)(x >> 24);
		}
		snprintf(key, sizeof(key), "fill%04d", n);
		err = mvcc_put(m, S(key), slice_of(value, sizeof(value)), NULL,
			       NULL);
		if (!err)
			continue;
		ck_code(err, CAIRN_EDQUOT);
		ck_assert_int_gt(n, 200);
		return n;
	}
	ck_abort_msg("the store does not get full");
}

/* Open again with a quota, and reach it. */
static inline int fixture_fill(struct fixture *f)
{
	struct cairn_options *o = small_options(f->env);
	struct mvcc_options mo = { .engine = o };

	ck_ok(mvcc_close(f->m));
	ck_ok(cairn_options_set(o, "quota", FULL_QUOTA));
	ck_ok(mvcc_open("/db", &mo, &f->m));
	cairn_options_free(o);
	return fill_store(f->m);
}

static inline void flush(struct mvcc *m)
{
	ck_ok(cairn_flush(mvcc_db(m), true));
}

/* Flush, then rewrite everything, with the filter. */
static inline void compact(struct mvcc *m)
{
	flush(m);
	ck_ok(cairn_compact_range(mvcc_db(m), none(), none(), NULL));
}

/* Entries of a table of the encoding, e.g. "k". */
static inline size_t count_entries(struct mvcc *m, const char *table)
{
	char end[2] = { (char)(table[0] + 1), '\0' };
	struct cairn_read_options o = { .lower = S(table), .upper = S(end) };
	struct cairn_iter *it;
	size_t n = 0;

	ck_ok(cairn_iter_new(mvcc_db(m), &o, &it));
	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it))
		n++;
	ck_ok(cairn_iter_status(it));
	cairn_iter_free(it);
	return n;
}

#endif
