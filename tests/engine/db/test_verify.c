/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verifying whole directories: what RocksDB and LevelDB wrote is good, and
 * every flipped bit in it is found, or does not matter.
 */
#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/version/filename.h"
#include "tests/support/db_test.h"
#include "tests/support/golden.h"

/* Spots that are tried in each file; CAIRN_FLIPS in the environment: more. */
#define FLIPS 12

static struct env_names goldens;

static const char *const not_read[] = {
#ifndef HAVE_BZIP2
	"comp-bzip2",
#endif
#ifndef HAVE_LZ4
	"comp-lz4",
#endif
#ifndef HAVE_ZLIB
	"comp-zlib",
#endif
	"wal-zstd",   "x-",
};

static bool is_read(const char *name)
{
	for (size_t i = 0; i < sizeof(not_read) / sizeof(not_read[0]); i++)
		if (!strncmp(name, not_read[i], strlen(not_read[i])))
			return false;
	return true;
}

/* What was found, to be looked at. */
struct found {
	unsigned n;
	unsigned remarks;
	char first[1024];
	char remark[1024];
};

static int on_found(void *ctx, const struct cairn_finding *f)
{
	struct found *p = ctx;

	ck_assert_ptr_nonnull(f->message);
	ck_assert_msg(strstr(f->message, f->path) == f->message,
		      "%s does not begin with %s", f->message, f->path);
	if (!f->code) {
		if (!p->remarks++)
			snprintf(p->remark, sizeof(p->remark), "%s",
				 f->message);
	} else if (!p->n++) {
		snprintf(p->first, sizeof(p->first), "%s", f->message);
	}
	return CAIRN_OK;
}

static int verify(struct cairn_env *env, struct found *found,
		  struct cairn_verify_report *report)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_verify_options v = { .found = on_found, .ctx = found };
	int err;

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	*found = (struct found){ 0 };
	err = cairn_verify(TEST_DIR, o, &v, report);
	cairn_options_free(o);
	return err;
}

static struct cairn_env *env_of(const struct golden *g)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);

	ck_assert_ptr_nonnull(env);
	golden_write(g, env, TEST_DIR);
	return env;
}

START_TEST(goldens_are_good)
{
	const char *name = goldens.names[_i];
	struct cairn_verify_report r;
	struct found found;
	struct golden g;
	struct cairn_env *env;
	int err;

	golden_load(name, &g);
	env = env_of(&g);
	err = verify(env, &found, &r);
	if (!strcmp(name, "torn-middle")) {
		ck_assert_int_eq(err, CAIRN_ECORRUPT);
		ck_assert_msg(strstr(found.first, "offset 3948"), "%s",
			      found.first);
	} else if (!is_read(name)) {
		ck_assert_msg(err == CAIRN_ENOTSUP, "%s: %d: %s", name, err,
			      found.first);
	} else {
		ck_assert_msg(err == CAIRN_OK, "%s: %d: %s", name, err,
			      found.first);
		ck_assert_uint_eq(r.findings, 0);
		ck_assert_uint_eq(r.damaged_tables, 0);
	}
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

/* ------------------------------------------------------------------- damage */

/* Whether a read-only open shows what the golden holds. CAIRN_ENOTSUP: it
 * cannot be opened anyway. */
static int compare(const struct golden *g, struct cairn_env *env)
{
	struct cairn_options *o = cairn_options_new();
	struct golden_rows want;
	struct cairn_iter *it;
	struct cairn_db *db;
	size_t n = 0;
	int err;

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	CK_OK(cairn_options_set(o, "read_only", "true"));
	err = cairn_open(TEST_DIR, o, &db);
	cairn_options_free(o);
	if (err)
		return err;
	ck_assert(golden_rows(g->name, "expected.tsv", &want));
	CK_OK(cairn_iter_new(db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		if (n >= want.n ||
		    !slice_eq(cairn_iter_key(it), want.row[n].key) ||
		    !slice_eq(cairn_iter_value(it), want.row[n].value))
			break;
		n++;
	}
	err = cairn_iter_status(it);
	if (!err && (cairn_iter_valid(it) || n != want.n))
		err = CAIRN_EABORTED;
	cairn_iter_free(it);
	golden_rows_fini(&want);
	CK_OK(cairn_close(db));
	return err;
}

static int on_record(void *ctx, const struct cairn_wal_record *r)
{
	*(uint64_t *)ctx = r->offset;
	return CAIRN_OK;
}

/* Where the last record of a log begins: what is behind it may be torn. */
static uint64_t last_record(struct cairn_env *env, const char *path)
{
	struct cairn_options *o = cairn_options_new();
	uint64_t offset = 0;
	const struct cairn_wal_visitor v = {
		.ctx = &offset,
		.record = on_record,
	};

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	CK_OK(cairn_wal_visit(path, o, &v));
	cairn_options_free(o);
	return offset;
}

/* Whether a flip at off may go without a word although it changes what is
 * read: the last record of the newest log is as a crash may leave it. */
static bool may_be_torn(const struct golden *g, struct cairn_env *env,
			const struct golden_file *f, uint64_t off)
{
	uint64_t number, other;
	char path[256];

	if (filename_parse(f->name, &number) != FILE_WAL)
		return false;
	for (size_t i = 0; i < g->n; i++)
		if (filename_parse(g->files[i].name, &other) == FILE_WAL &&
		    other > number && g->files[i].bytes.len)
			return false;
	snprintf(path, sizeof(path), TEST_DIR "/%s", f->name);
	return off >= last_record(env, path);
}

static bool is_checked(const char *name)
{
	uint64_t number;

	enum file_kind kind = filename_parse(name, &number);

	return kind == FILE_CURRENT || kind == FILE_MANIFEST ||
	       kind == FILE_TABLE || kind == FILE_TABLE_LDB || kind == FILE_WAL;
}

static void flip(const struct golden *g, struct cairn_env *env,
		 const struct golden_file *f, uint64_t off, uint8_t mask)
{
	struct cairn_env *bent = env_mem_crash_clone(env, 1, 100);
	struct found found;
	char path[256];
	int err;

	ck_assert_ptr_nonnull(bent);
	snprintf(path, sizeof(path), TEST_DIR "/%s", f->name);
	CK_OK(env_mem_damage(bent, path, off, mask));
	err = verify(bent, &found, NULL);
	if (err == CAIRN_OK) {
		err = compare(g, bent);
		ck_assert_msg(err == CAIRN_OK || may_be_torn(g, env, f, off),
			      "%s/%s: bits %02x at %llu are not found, but "
			      "matter: %d: %s",
			      g->name, f->name, mask, (unsigned long long)off,
			      err, cairn_errmsg());
	} else {
		ck_assert_msg(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP,
			      "%s/%s: bits %02x at %llu: %d: %s", g->name,
			      f->name, mask, (unsigned long long)off, err,
			      cairn_errmsg());
		ck_assert_uint_gt(found.n, 0);
	}
	env_mem_free(bent);
}

START_TEST(a_flipped_bit_is_found_or_does_not_matter)
{
	const char *name = goldens.names[_i];
	const char *more = getenv("CAIRN_FLIPS");
	unsigned flips = more ? (unsigned)strtoul(more, NULL, 10) : FLIPS;
	struct cairn_env *env;
	struct golden g;
	struct rng rng;

	/* Without checksums nobody can tell. */
	if (!is_read(name) || !strcmp(name, "torn-middle") ||
	    !strcmp(name, "cksum-none"))
		return;
	golden_load(name, &g);
	env = env_of(&g);
	rng_init(&rng, (uint64_t)_i + 1);
	if (compare(&g, env) == CAIRN_OK) {
		for (size_t i = 0; i < g.n; i++) {
			const struct golden_file *f = &g.files[i];
			size_t len = f->bytes.len;

			if (!is_checked(f->name))
				continue;
			for (unsigned k = 0; len && k < flips; k++)
				flip(&g, env, f, rng_below(&rng, len),
				     (uint8_t)(1u << rng_below(&rng, 8)));
		}
	}
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

static const struct golden_file *file_like(const struct golden *g,
					   const char *end)
{
	for (size_t i = 0; i < g->n; i++) {
		size_t len = strlen(g->files[i].name);

		if (len >= strlen(end) &&
		    !strcmp(g->files[i].name + len - strlen(end), end))
			return &g->files[i];
	}
	ck_abort_msg("%s has no file like %s", g->name, end);
	return NULL;
}

/* Write a file anew with len bytes of it, zeros behind its end. */
static void resize(struct cairn_env *env, const struct golden_file *f,
		   size_t len)
{
	static const uint8_t zeros[64];
	struct wfile *w;
	char path[256];

	snprintf(path, sizeof(path), TEST_DIR "/%s", f->name);
	CK_OK(env_unlink(env, path));
	CK_OK(env_open_write(env, path, &w));
	CK_OK(wfile_append(w, f->bytes.data,
			   len < f->bytes.len ? len : f->bytes.len));
	if (len > f->bytes.len)
		CK_OK(wfile_append(w, zeros, len - f->bytes.len));
	CK_OK(wfile_close(w));
}

START_TEST(a_table_of_another_length_is_found)
{
	static const int changes[] = { -1, -5, -53, -2000, 1, 64 };
	const struct golden_file *f;
	struct found found;
	struct golden g;
	struct cairn_env *env;

	golden_load("fv4", &g);
	f = file_like(&g, ".sst");
	env = env_of(&g);
	resize(env, f, (size_t)((int)f->bytes.len + changes[_i]));
	CK_CODE(verify(env, &found, NULL), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(found.first, "by the MANIFEST"), "%s",
		      found.first);
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

START_TEST(what_is_missing_is_found)
{
	static const struct {
		const char *end;
		const char *word;
	} cases[] = {
		{ "CURRENT", "no CURRENT" },
		{ "MANIFEST-000005", "CURRENT names it, but it is not there" },
		{ ".sst", "the MANIFEST names this table, but it is not" },
	};
	const struct golden_file *f;
	struct cairn_verify_report r;
	struct found found;
	struct golden g;
	struct cairn_env *env;
	char path[256];

	golden_load("fv4", &g);
	f = file_like(&g, cases[_i].end);
	env = env_of(&g);
	snprintf(path, sizeof(path), TEST_DIR "/%s", f->name);
	CK_OK(env_unlink(env, path));
	CK_CODE(verify(env, &found, &r), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(found.first, cases[_i].word), "%s", found.first);
	ck_assert_uint_gt(r.findings, 0);
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

START_TEST(files_that_nobody_refers_to_are_a_remark)
{
	struct found found;
	struct golden g;
	struct cairn_env *env;
	struct wfile *w;

	golden_load("fv4", &g);
	env = env_of(&g);
	CK_OK(env_open_write(env, TEST_DIR "/000777.sst", &w));
	CK_OK(wfile_append(w, "not a table", 11));
	CK_OK(wfile_close(w));
	CK_OK(verify(env, &found, NULL));
	ck_assert_uint_eq(found.remarks, 1);
	ck_assert_str_eq(found.remark, TEST_DIR "/000777.sst: no live table");
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

START_TEST(what_is_no_database_is_said_to_be_none)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct found found;

	ck_assert_ptr_nonnull(env);
	CK_CODE(verify(env, &found, NULL), CAIRN_ENOENT);
	CK_OK(env_mkdir(env, TEST_DIR));
	CK_CODE(verify(env, &found, NULL), CAIRN_ENOENT);
	env_mem_free(env);
}
END_TEST

/* -------------------------------------------------------- our own databases */

static void fill(struct test_db *t, unsigned from, unsigned to)
{
	char key[32], value[128];

	for (unsigned i = from; i < to; i++) {
		snprintf(key, sizeof(key), "key%06u", i * 7919 % 10007);
		snprintf(value, sizeof(value), "value %u of %s, and more", i,
			 key);
		tdb_put(t, key, value);
	}
}

static void make(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "write_buffer_size", "64K");
	tdb_set(t, "target_file_size", "16K");
	tdb_open(t);
	fill(t, 0, 3000);
	tdb_delete(t, "key000003");
}

START_TEST(an_open_database_is_verified_while_it_is_written)
{
	struct found found = { 0 };
	struct cairn_verify_options v = { .found = on_found, .ctx = &found };
	struct cairn_verify_report r;
	struct test_db t;

	make(&t);
	CK_OK(cairn_verify_open(t.db, &v, &r));
	ck_assert_uint_eq(found.n, 0);
	ck_assert_uint_gt(r.log_records, 0);
	fill(&t, 3000, 4000);
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_verify_open(t.db, &v, &r));
	ck_assert_msg(found.n == 0, "%s", found.first);
	ck_assert_uint_gt(r.tables, 0);
	ck_assert_uint_gt(r.entries, 0);
	/* Holding on to the tables it has looked at would keep them for ever.
	 */
	CK_OK(cairn_compact_range(t.db, (struct cairn_slice){ 0 },
				  (struct cairn_slice){ 0 }, NULL));
	CK_OK(cairn_wait_idle(t.db));
	CK_OK(cairn_verify_open(t.db, &v, &r));
	tdb_close(&t);
	CK_OK(verify(t.env, &found, &r));
	ck_assert_uint_eq(found.n, 0);
	ck_assert_uint_eq(found.remarks, 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(damage_in_an_open_database_is_found)
{
	struct found found = { 0 };
	struct cairn_verify_options v = { .found = on_found, .ctx = &found };
	struct cairn_verify_report r;
	struct cairn_table_list l;
	struct test_db t;

	make(&t);
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_tables(t.db, -1, &l));
	ck_assert_uint_gt(l.n, 0);
	CK_OK(env_mem_damage(t.mem, l.tables[0].path, 100, 4));
	cairn_table_list_free(&l);
	CK_CODE(cairn_verify_open(t.db, &v, &r), CAIRN_ECORRUPT);
	ck_assert_uint_eq(r.damaged_tables, 1);
	ck_assert_uint_eq(r.damaged_blocks, 1);
	tdb_fini(&t);
}
END_TEST

static void manifest_path(struct test_db *t, char *path, size_t len)
{
	struct env_names names;

	path[0] = '\0';
	CK_OK(env_list(t->mem, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		if (!strncmp(names.names[i], "MANIFEST-", 9))
			snprintf(path, len, TEST_DIR "/%s", names.names[i]);
	env_names_free(&names);
	ck_assert(path[0]);
}

START_TEST(a_manifest_that_is_bent_or_gone_under_an_open_database_is_found)
{
	struct found found = { 0 };
	struct cairn_verify_options v = { .found = on_found, .ctx = &found };
	struct cairn_verify_report r;
	struct test_db t;
	char path[256];

	make(&t);
	CK_OK(cairn_flush(t.db, true));
	manifest_path(&t, path, sizeof(path));
	CK_OK(env_mem_damage(t.mem, path, 20, 4));
	CK_CODE(cairn_verify_open(t.db, &v, &r), CAIRN_ECORRUPT);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_msg(!strncmp(found.first, path, strlen(path)), "%s",
		      found.first);
	ck_assert_uint_eq(r.damaged_tables, 0);
	CK_OK(env_mem_damage(t.mem, path, 20, 4));
	found = (struct found){ 0 };
	CK_OK(cairn_verify_open(t.db, &v, &r));
	ck_assert_uint_eq(found.n, 0);

	/* By its own name it cannot be read, though the database has it open.
	 */
	tdb_fail(&t, ENV_FAULT_OPEN_READ, "MANIFEST", 1, true, CAIRN_EIO);
	CK_CODE(cairn_verify_open(t.db, &v, &r), CAIRN_ECORRUPT);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_msg(strstr(found.first, path), "%s", found.first);
	env_fault_set(t.env, NULL);
	CK_OK(env_unlink(t.mem, path));
	found = (struct found){ 0 };
	CK_CODE(cairn_verify_open(t.db, &v, &r), CAIRN_ECORRUPT);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_msg(strstr(found.first, path) &&
			      strstr(found.first, "is missing"),
		      "%s", found.first);
	tdb_fini(&t);
}
END_TEST

/* It was cut where a record began that had given up a log. */
START_TEST(a_manifest_without_the_log_it_needs_is_found)
{
	struct buf bytes = { 0 };
	struct found found;
	struct test_db t;
	struct wfile *f;
	char path[256];

	make(&t);
	CK_OK(cairn_flush(t.db, true));
	tdb_close(&t);
	manifest_path(&t, path, sizeof(path));
	CK_OK(env_read_file(t.mem, path, 1 << 24, &bytes));
	CK_OK(env_unlink(t.mem, path));
	CK_OK(env_open_write(t.mem, path, &f));
	CK_OK(wfile_append(f, bytes.data, bytes.len - 1));
	CK_OK(wfile_close(f));
	CK_CODE(verify(t.env, &found, NULL), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(found.first, path) &&
			      strstr(found.first,
				     "the last record is cut short, and ") &&
			      strstr(found.first, ".log, which"),
		      "%s", found.first);
	/* Opening says the same. */
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "is missing"));
	t.db = NULL;
	buf_fini(&bytes);
	tdb_fini(&t);
}
END_TEST

START_TEST(nothing_is_changed_and_no_lock_is_taken)
{
	struct env_names before, after;
	struct found found;
	struct test_db t;

	make(&t);
	CK_CODE(verify(t.env, &found, NULL), CAIRN_EBUSY);
	tdb_close(&t);
	CK_OK(env_unlink(t.mem, TEST_DIR "/LOCK"));
	CK_OK(env_list(t.mem, TEST_DIR, &before));
	/* Whatever would write fails. */
	tdb_fail(&t,
		 ~(unsigned)(ENV_FAULT_OPEN_READ | ENV_FAULT_READ |
			     ENV_FAULT_LIST | ENV_FAULT_STAT | ENV_FAULT_LOCK),
		 NULL, 1, true, CAIRN_EIO);
	CK_OK(verify(t.env, &found, NULL));
	env_fault_set(t.env, NULL);
	CK_OK(env_list(t.mem, TEST_DIR, &after));
	ck_assert_uint_eq(before.n, after.n);
	env_names_free(&before);
	env_names_free(&after);
	tdb_fini(&t);
}
END_TEST

static int stop_at_first(void *ctx, const struct cairn_finding *f)
{
	(void)f;
	++*(unsigned *)ctx;
	return CAIRN_EDQUOT;
}

START_TEST(the_caller_can_end_it)
{
	unsigned n = 0;
	volatile bool cancel = true;
	struct cairn_verify_options v = { .found = stop_at_first, .ctx = &n };
	struct cairn_options *o = cairn_options_new();
	struct cairn_env *env;
	struct golden g;

	ck_assert_ptr_nonnull(o);
	golden_load("fv4", &g);
	env = env_of(&g);
	cairn_options_set_env(o, env);
	CK_OK(env_unlink(env, TEST_DIR "/CURRENT"));
	CK_CODE(cairn_verify(TEST_DIR, o, &v, NULL), CAIRN_EDQUOT);
	ck_assert_uint_eq(n, 1);
	golden_write(&g, env, "/db2");
	v = (struct cairn_verify_options){ .cancel = &cancel };
	CK_CODE(cairn_verify("/db2", o, &v, NULL), CAIRN_EABORTED);
	cairn_options_free(o);
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

START_TEST(a_failing_read_is_told_or_done_again)
{
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_READ | ENV_FAULT_OPEN_READ | ENV_FAULT_LIST |
		       ENV_FAULT_STAT,
		.nth = 1,
		.sticky = true,
		.code = CAIRN_EIO,
	};
	struct found found;
	struct cairn_env *env, *fault;
	struct golden g;
	int err;

	golden_load("fv4", &g);
	env = env_of(&g);
	fault = env_fault_new(env);
	ck_assert_ptr_nonnull(fault);
	for (;; rule.nth++) {
		ck_assert_uint_lt(rule.nth, 1000);
		env_fault_set(fault, &rule);
		err = verify(fault, &found, NULL);
		if (!env_fault_hits(fault))
			break;
		ck_assert_msg(err == CAIRN_EIO || err == CAIRN_ECORRUPT,
			      "operation %u: %d: %s", (unsigned)rule.nth, err,
			      cairn_errmsg());
	}
	CK_OK(err);
	env_fault_free(fault);
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("verify");
	TCase *t = tcase_create("goldens");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, goldens_are_good, 0, (int)goldens.n);
	tcase_add_loop_test(t, a_flipped_bit_is_found_or_does_not_matter, 0,
			    (int)goldens.n);
	suite_add_tcase(s, t);
	t = tcase_create("damage");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_table_of_another_length_is_found, 0, 6);
	tcase_add_loop_test(t, what_is_missing_is_found, 0, 3);
	tcase_add_test(t, files_that_nobody_refers_to_are_a_remark);
	tcase_add_test(t, what_is_no_database_is_said_to_be_none);
	tcase_add_test(t, a_failing_read_is_told_or_done_again);
	suite_add_tcase(s, t);
	t = tcase_create("ours");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_open_database_is_verified_while_it_is_written);
	tcase_add_test(t, damage_in_an_open_database_is_found);
	tcase_add_test(
		t,
		a_manifest_that_is_bent_or_gone_under_an_open_database_is_found);
	tcase_add_test(t, a_manifest_without_the_log_it_needs_is_found);
	tcase_add_test(t, nothing_is_changed_and_no_lock_is_taken);
	tcase_add_test(t, the_caller_can_end_it);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	int status;

	golden_names(&goldens);
	status = run_suite(suite());
	env_names_free(&goldens);
	return status;
}
