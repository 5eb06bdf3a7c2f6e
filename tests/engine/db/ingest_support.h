/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables made outside of a database, for tests of making and of adding them. */
#ifndef CAIRN_TESTS_DB_INGEST_SUPPORT_H
#define CAIRN_TESTS_DB_INGEST_SUPPORT_H

#include <stdlib.h>

#include "engine/base/buf.h"
#include "tests/support/db_test.h"

/* Where they are made. */
#define EXT "/ext"

static inline void expect_message(const char *part)
{
	ck_assert_msg(strstr(cairn_errmsg(), part), "\"%s\" is not in: %s",
		      part, cairn_errmsg());
}

static inline int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The names in dir as "a b ", without logs, which a thread of its own deletes
 * when their time has come.
 */
static inline void names_in(struct cairn_env *e, const char *dir,
			    struct buf *out)
{
	struct env_names names;

	buf_clear(out);
	CK_OK(env_list(e, dir, &names));
	qsort(names.names, names.n, sizeof(char *), by_name);
	for (size_t i = 0; i < names.n; i++)
		if (!strstr(names.names[i], ".log"))
			CK_OK(buf_printf(out, "%s ", names.names[i]));
	env_names_free(&names);
}

static inline void expect_names(struct cairn_env *e, const char *dir,
				const char *want)
{
	struct buf got = { 0 };

	names_in(e, dir, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "in %s: %.*s, not %s", dir, (int)got.len,
		      (const char *)got.data, want);
	buf_fini(&got);
}

/*
 * Make a table of text: "a=1 b- c+2 d~f" puts 1 into a, deletes b, merges 2
 * into c and deletes [d, f). o NULL: defaults.
 */
static inline int write_table(struct cairn_env *e,
			      const struct cairn_options *o, const char *path,
			      const char *text)
{
	struct cairn_options *own = cairn_options_new();
	struct cairn_sst_writer *w;
	char copy[4096], *save = NULL;
	int err;

	ck_assert_ptr_nonnull(own);
	cairn_options_set_env(own, e);
	err = cairn_sst_writer_open(path, o ? o : own, &w);
	cairn_options_free(own);
	if (err)
		return err;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = strtok_r(copy, " ", &save); !err && p;
	     p = strtok_r(NULL, " ", &save)) {
		size_t n = strcspn(p, "=+-~");
		struct cairn_slice key = slice_of(p, n);
		struct cairn_slice value = slice_str(p + n + 1);

		if (p[n] == '=')
			err = cairn_sst_writer_put(w, key, value);
		else if (p[n] == '+')
			err = cairn_sst_writer_merge(w, key, value);
		else if (p[n] == '~')
			err = cairn_sst_writer_delete_range(w, key, value);
		else
			err = cairn_sst_writer_delete(w, key);
	}
	if (!err)
		err = cairn_sst_writer_finish(w, NULL);
	cairn_sst_writer_free(w);
	return err;
}

static inline void make_table(struct test_db *t, const char *path,
			      const char *text)
{
	CK_OK(write_table(t->mem, NULL, path, text));
}

/* A database, and a directory for tables. */
static inline void begin(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "auto_compactions", "false");
	CK_OK(env_mkdir(t->mem, EXT));
	CK_OK(env_sync_dir(t->mem, "/"));
	tdb_open(t);
}

static inline int ingest_as(struct test_db *t, const char *path,
			    enum cairn_ingest_mode mode)
{
	const struct cairn_ingest_options o = { .mode = mode };

	return cairn_ingest(t->db, &path, 1, &o);
}

static inline int ingest(struct test_db *t, const char *path)
{
	return cairn_ingest(t->db, &path, 1, NULL);
}

/* "0:2 6:1 " for two tables in level 0 and one in 6. */
static inline void expect_levels(struct test_db *t, const char *want)
{
	struct cairn_metrics m;
	char got[128] = "";
	size_t n = 0;

	cairn_metrics_get(t->db, &m);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		if (m.level[i].files)
			n += (size_t)snprintf(got + n, sizeof(got) - n,
					      "%d:%u ", i,
					      (unsigned)m.level[i].files);
	ck_assert_str_eq(got, want);
}

static inline void compact(struct test_db *t)
{
	const struct cairn_slice all = { 0 };

	CK_OK(cairn_compact_range(t->db, all, all, NULL));
}

/* Everything as "a=1 b=2 ". */
static inline void contents(struct cairn_db *db, const struct cairn_snapshot *s,
			    struct buf *out)
{
	const struct cairn_read_options o = { .snapshot = s };
	struct cairn_iter *it;

	buf_clear(out);
	CK_OK(cairn_iter_new(db, &o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		struct cairn_slice k = cairn_iter_key(it);
		struct cairn_slice v = cairn_iter_value(it);
		struct cairn_pinned p = { 0 };

		CK_OK(buf_printf(out, "%.*s=%.*s ", (int)k.len,
				 (const char *)k.data, (int)v.len,
				 (const char *)v.data));
		CK_OK(cairn_get(db, &o, k, &p));
		ck_assert(slice_eq(p.value, v));
		cairn_pinned_release(&p);
	}
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
}

static inline void expect_at(struct test_db *t, const struct cairn_snapshot *s,
			     const char *want)
{
	struct buf got = { 0 };

	contents(t->db, s, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "%.*s, not %s", (int)got.len, (const char *)got.data,
		      want);
	buf_fini(&got);
}

static inline void expect(struct test_db *t, const char *want)
{
	expect_at(t, NULL, want);
}

static inline void put_file(struct cairn_env *e, const char *path,
			    const void *bytes, size_t len)
{
	struct wfile *w;

	CK_OK(env_open_write(e, path, &w));
	CK_OK(wfile_append(w, bytes, len));
	CK_OK(wfile_close(w));
}

static inline void get_file(struct cairn_env *e, const char *path,
			    struct buf *out)
{
	CK_OK(env_read_file(e, path, 1 << 20, out));
}

#endif
