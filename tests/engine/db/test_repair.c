/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repair, tried on a database of several levels: each of its files is taken
 * away or damaged, and afterwards every key must have its newest value but
 * those of which the repair said that they are lost.
 */
#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "engine/version/filename.h"
#include "tests/support/db_test.h"
#include "tests/support/golden.h"

#define N_KEYS    1500
#define MAX_SPANS 600

/* Where a value comes from is in it; absent: 0. */
struct model {
	unsigned generation[N_KEYS];
};

/* Keys that may be lost, by what was told. */
struct span {
	char from[64];
	char to[64];
	bool has_from;
	bool has_to;
};

struct told {
	struct span span[MAX_SPANS];
	size_t n;
	unsigned findings;
	char last[1024];
};

static void key_of(unsigned i, char key[32])
{
	snprintf(key, 32, "key%06u", i);
}

static void value_of(unsigned i, unsigned generation, char value[128])
{
	snprintf(value, 128, "key %u, generation %u, %.*s", i, generation,
		 (int)(i * 7 % 60),
		 "and some more text so that values differ in how long they "
		 "are");
}

static void put(struct test_db *t, struct model *m, unsigned i,
		unsigned generation)
{
	char key[32], value[128];

	key_of(i, key);
	value_of(i, generation, value);
	if (generation)
		tdb_put(t, key, value);
	else
		tdb_delete(t, key);
	m->generation[i] = generation;
}

static void set_small(struct test_db *t)
{
	tdb_set(t, "write_buffer_size", "64K");
	tdb_set(t, "target_file_size", "8K");
	tdb_set(t, "base_level_size", "16K");
	tdb_set(t, "block_size", "1K");
	tdb_set(t, "l0_compaction_trigger", "100");
	tdb_set(t, "l0_slowdown", "1000");
	tdb_set(t, "l0_stop", "1000");
	tdb_set(t, "auto_compactions", "false");
}

/* Until only live tables are there. */
static void wait_for_deleter(struct test_db *t)
{
	struct cairn_table_list l;
	size_t n;

	CK_OK(cairn_tables(t->db, -1, &l));
	n = l.n;
	cairn_table_list_free(&l);
	while (tdb_count_files(t, ".sst") > n)
		env_sleep_us(t->env, 1000);
}

/*
 * Tables in the last level, newer ones of the same keys in level 0, and a log
 * that is not flushed. What is returned is the file system after the process
 * has died.
 */
static struct cairn_env *make(struct model *m)
{
	static const struct cairn_slice all;
	struct cairn_env *dead;
	struct test_db t;
	unsigned g = 1;

	tdb_init(&t, NULL);
	set_small(&t);
	tdb_open(&t);
	for (unsigned i = 0; i < N_KEYS; i++)
		put(&t, m, i, g);
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_compact_range(t.db, all, all, NULL));
	for (g = 2; g < 5; g++) {
		for (unsigned i = g; i < N_KEYS; i += 3 + g)
			put(&t, m, i, i % 5 ? g : 0);
		CK_OK(cairn_flush(t.db, true));
	}
	CK_OK(cairn_wait_idle(t.db));
	wait_for_deleter(&t);
	for (unsigned i = 0; i < N_KEYS; i += 6)
		put(&t, m, i, i % 4 ? 5 : 0);
	CK_OK(cairn_wal_sync(t.db));
	/* Says that what is before it was synced: holes there are damage. */
	tdb_put(&t, "the last one", "x");
	dead = env_mem_crash_clone(t.mem, 1, 100);
	ck_assert_ptr_nonnull(dead);
	tdb_fini(&t);
	return dead;
}

static void copy_key(char to[64], struct cairn_slice key, bool *has)
{
	*has = key.data != NULL;
	if (*has) {
		ck_assert_uint_lt(key.len, 64);
		memcpy(to, key.data, key.len);
		to[key.len] = '\0';
	}
}

static int on_found(void *ctx, const struct cairn_finding *f)
{
	struct told *t = ctx;
	struct span *s;

	t->findings += f->code != CAIRN_OK;
	snprintf(t->last, sizeof(t->last), "%s", f->message);
	if (!f->keys_lost)
		return CAIRN_OK;
	ck_assert_uint_lt(t->n, MAX_SPANS);
	s = &t->span[t->n++];
	copy_key(s->from, f->from, &s->has_from);
	copy_key(s->to, f->to, &s->has_to);
	return CAIRN_OK;
}

static bool may_be_lost(const struct told *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct span *s = &t->span[i];

		if ((!s->has_from || strcmp(key, s->from) >= 0) &&
		    (!s->has_to || strcmp(key, s->to) <= 0))
			return true;
	}
	return false;
}

static int repair(struct cairn_env *env, bool dry_run, struct told *told,
		  struct cairn_repair_report *report)
{
	struct cairn_repair_options ro = {
		.found = on_found,
		.ctx = told,
		.dry_run = dry_run,
	};
	struct test_db t;
	int err;

	*told = (struct told){ 0 };
	tdb_init(&t, env);
	set_small(&t);
	cairn_options_set_env(t.opts, env);
	err = cairn_repair(TEST_DIR, t.opts, &ro, report);
	cairn_options_free(t.opts);
	env_fault_free(t.env);
	return err;
}

/* Every key has its newest value, or may be lost. lost: how many are. */
static unsigned check(struct cairn_env *env, const struct model *m,
		      const struct told *told, const char *what)
{
	struct test_db t;
	unsigned lost = 0;

	tdb_init(&t, env);
	tdb_set(&t, "read_only", "true");
	tdb_set(&t, "paranoid_checks", "true");
	tdb_open(&t);
	for (unsigned i = 0; i < N_KEYS; i++) {
		struct cairn_pinned p = { 0 };
		char key[32], value[128] = "";
		int err;

		key_of(i, key);
		if (m->generation[i])
			value_of(i, m->generation[i], value);
		err = cairn_get(t.db, NULL, slice_str(key), &p);
		ck_assert_msg(err >= 0, "%s: %s: %s", what, key,
			      cairn_errmsg());
		if (err == CAIRN_OK ? !slice_eq(p.value, slice_str(value))
				    : m->generation[i] != 0) {
			ck_assert_msg(may_be_lost(told, key),
				      "%s: %s is %.*s, not %s; told: %s", what,
				      key, (int)p.value.len,
				      p.value.len ? (const char *)p.value.data
						  : "",
				      value, told->last);
			lost++;
		}
		cairn_pinned_release(&p);
	}
	CK_OK(cairn_close(t.db));
	t.db = NULL;
	cairn_options_free(t.opts);
	env_fault_free(t.env);
	return lost;
}

static void check_verified(struct cairn_env *env, const char *what)
{
	struct cairn_options *o = cairn_options_new();
	struct told told = { 0 };
	struct cairn_verify_options v = { .found = on_found, .ctx = &told };
	int err;

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	err = cairn_verify(TEST_DIR, o, &v, NULL);
	ck_assert_msg(err == CAIRN_OK, "%s: %s", what, told.last);
	cairn_options_free(o);
}

/* A second repair finds nothing, and it can be written to. */
static void check_usable(struct cairn_env *env, const char *what)
{
	struct cairn_repair_report report;
	struct told told;
	struct test_db t;

	check_verified(env, what);
	CK_OK(repair(env, false, &told, &report));
	ck_assert_msg(!report.damaged && !told.findings, "%s: %s", what,
		      told.last);
	tdb_init(&t, env);
	set_small(&t);
	tdb_open(&t);
	tdb_put(&t, "a new key", "x");
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_compact_range(t.db, (struct cairn_slice){ 0 },
				  (struct cairn_slice){ 0 }, NULL));
	tdb_expect(&t, "a new key", "x");
	tdb_close(&t);
	cairn_options_free(t.opts);
	env_fault_free(t.env);
}

static uint64_t size_of(struct cairn_env *env, const char *name)
{
	struct env_stat st;
	char path[256];

	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	CK_OK(env_stat(env, path, &st));
	return st.size;
}

static void read_file(struct cairn_env *env, const char *name, struct buf *out)
{
	char path[256];

	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	CK_OK(env_read_file(env, path, 1u << 24, out));
}

static void replace_file(struct cairn_env *env, const char *name,
			 const uint8_t *bytes, size_t len)
{
	struct wfile *w;
	char path[256];

	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	CK_OK(env_unlink(env, path));
	CK_OK(env_open_write(env, path, &w));
	CK_OK(wfile_append(w, bytes, len));
	CK_OK(wfile_close(w));
}

/* Ways to spoil a file. */
enum way { REMOVE, HALVE, EMPTY, FLIP, FLIP_END, ZERO_MIDDLE, N_WAYS };

static void spoil(struct cairn_env *env, const char *name, enum way way,
		  uint64_t seed)
{
	uint64_t size = size_of(env, name);
	struct buf b = { 0 };
	struct rng rng;
	char path[256];

	rng_init(&rng, seed);
	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	read_file(env, name, &b);
	switch (way) {
	case REMOVE:
		CK_OK(env_unlink(env, path));
		break;
	case HALVE:
		replace_file(env, name, b.data, b.len / 2);
		break;
	case EMPTY:
		replace_file(env, name, (const uint8_t *)"", 0);
		break;
	case FLIP:
		if (size)
			CK_OK(env_mem_damage(env, path, rng_below(&rng, size),
					     0x10));
		break;
	case FLIP_END:
		/* Footer, metaindex, properties, index are here. */
		if (size)
			CK_OK(env_mem_damage(
				env, path,
				size - 1 -
					rng_below(&rng,
						  size < 1500 ? size : 1500),
				0x10));
		break;
	case ZERO_MIDDLE:
		for (size_t i = b.len / 3; i < b.len / 2; i++)
			b.data[i] = 0;
		replace_file(env, name, b.data, b.len);
		break;
	case N_WAYS:
		break;
	}
	buf_fini(&b);
}

/* Which keys a log sets, and how often. */
struct log_keys {
	unsigned n[N_KEYS];
};

static int count_entry(void *ctx, const struct cairn_entry *e)
{
	struct log_keys *k = ctx;
	char text[32] = "";

	if (e->key.len < sizeof(text) &&
	    slice_starts_with(e->key, slice_str("key"))) {
		memcpy(text, e->key.data, e->key.len);
		k->n[strtoul(text + 3, NULL, 10)]++;
	}
	return CAIRN_OK;
}

static void read_log(struct cairn_env *env, const char *name,
		     struct log_keys *out)
{
	const struct cairn_wal_visitor v = { .ctx = out, .entry = count_entry };
	struct cairn_options *o = cairn_options_new();
	char path[256];
	int err;

	*out = (struct log_keys){ { 0 } };
	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	err = cairn_wal_visit(path, o, &v);
	ck_assert_msg(err == CAIRN_OK || err == CAIRN_ECORRUPT ||
			      err == CAIRN_NOT_FOUND,
		      "%s: %s", path, cairn_errmsg());
	cairn_options_free(o);
}

/* Forget what the model knows of keys in records that were whole once. */
static unsigned forget_lost_records(struct cairn_env *was, struct cairn_env *is,
				    const char *name, struct told *told)
{
	struct log_keys before, after;
	unsigned n = 0;

	read_log(was, name, &before);
	read_log(is, name, &after);
	for (unsigned i = 0; i < N_KEYS; i++) {
		struct span *s = &told->span[told->n];

		ck_assert_uint_le(after.n[i], before.n[i]);
		if (after.n[i] == before.n[i])
			continue;
		n++;
		ck_assert_uint_lt(told->n, MAX_SPANS);
		*s = (struct span){ .has_from = true, .has_to = true };
		key_of(i, s->from);
		key_of(i, s->to);
		told->n++;
	}
	return n;
}

START_TEST(each_file_spoiled_in_each_way_is_repaired)
{
	struct model m = { { 0 } };
	struct cairn_env *dead = make(&m);
	struct env_names names;

	CK_OK(env_list(dead, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.names[i];
		uint64_t number;
		enum file_kind kind = filename_parse(name, &number);
		struct cairn_env *env, *spoiled;
		struct cairn_repair_report report;
		struct told told;
		char what[256];
		unsigned lost;
		int err;

		if (kind != FILE_TABLE && kind != FILE_MANIFEST &&
		    kind != FILE_CURRENT && kind != FILE_WAL)
			continue;
		env = env_mem_crash_clone(dead, 1, 100);
		ck_assert_ptr_nonnull(env);
		spoil(env, name, (enum way)_i, (uint64_t)i);
		snprintf(what, sizeof(what), "%s, way %d", name, _i);
		spoiled = env_mem_crash_clone(env, 1, 100);
		ck_assert_ptr_nonnull(spoiled);
		err = repair(env, false, &told, &report);
		ck_assert_msg(err == CAIRN_OK, "%s: %s", what, cairn_errmsg());
		if (kind == FILE_WAL)
			forget_lost_records(dead, spoiled, name, &told);
		lost = check(env, &m, &told, what);
		/* Only what cannot be known may be lost. */
		if (kind == FILE_MANIFEST || kind == FILE_CURRENT)
			ck_assert_msg(!lost && !report.bytes_lost,
				      "%s: %u lost", what, lost);
		if (kind == FILE_TABLE && _i == FLIP)
			ck_assert_msg(report.blocks_lost <= 1, "%s: %u blocks",
				      what, (unsigned)report.blocks_lost);
		check_usable(env, what);
		env_mem_free(spoiled);
		env_mem_free(env);
	}
	env_names_free(&names);
	env_mem_free(dead);
}
END_TEST

START_TEST(everything_but_tables_and_logs_can_be_lost)
{
	struct model m = { { 0 } };
	struct cairn_env *env = make(&m);
	struct cairn_repair_report report;
	struct env_names names;
	struct told told;

	CK_OK(env_list(env, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++) {
		uint64_t number;
		enum file_kind kind = filename_parse(names.names[i], &number);

		if (kind != FILE_TABLE && kind != FILE_WAL)
			spoil(env, names.names[i], REMOVE, 1);
	}
	env_names_free(&names);
	CK_OK(repair(env, false, &told, &report));
	ck_assert(report.manifest_rebuilt);
	ck_assert(report.repaired);
	ck_assert_uint_eq(check(env, &m, &told, "only data left"), 0);
	check_usable(env, "only data left");
	env_mem_free(env);
}
END_TEST

/* The name of a file of that kind. */
static void name_of(struct cairn_env *env, enum file_kind kind, char name[64])
{
	struct env_names names;
	uint64_t number;

	*name = '\0';
	CK_OK(env_list(env, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++)
		if (filename_parse(names.names[i], &number) == kind)
			snprintf(name, 64, "%s", names.names[i]);
	env_names_free(&names);
	ck_assert(*name);
}

START_TEST(options_that_cannot_be_read_are_told_and_made_again)
{
	static const char bent[] = "[DBOptions]\n"
				   "[CFOptions \"default\"]\n"
				   "  neither this nor that\n";
	struct model m = { { 0 } };
	struct cairn_env *env = make(&m);
	struct cairn_repair_report report;
	struct env_stat st;
	struct told told;
	struct test_db t;
	char name[64], path[128];

	name_of(env, FILE_OPTIONS, name);
	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	replace_file(env, name, (const uint8_t *)bent, sizeof(bent) - 1);
	tdb_init(&t, env);
	set_small(&t);
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(), name) &&
			      strstr(cairn_errmsg(), "line 3: neither a "),
		      "%s", cairn_errmsg());
	cairn_options_free(t.opts);
	env_fault_free(t.env);
	CK_OK(repair(env, true, &told, &report));
	ck_assert(report.damaged);
	CK_OK(env_stat(env, path, &st));
	ck_assert_uint_eq(st.size, sizeof(bent) - 1);
	CK_OK(repair(env, false, &told, &report));
	ck_assert(report.repaired);
	ck_assert_uint_ge(told.findings, 1);
	ck_assert_int_eq(env_stat(env, path, &st), CAIRN_NOT_FOUND);
	ck_assert_uint_eq(check(env, &m, &told, "bent OPTIONS"), 0);
	check_usable(env, "bent OPTIONS");
	env_mem_free(env);
}
END_TEST

/* Without CURRENT the newest MANIFEST that can be trusted counts: not one of
 * which the end is missing. */
START_TEST(a_newer_manifest_that_is_torn_does_not_count)
{
	struct model m = { { 0 } };
	struct cairn_env *env = make(&m);
	struct cairn_repair_report report;
	struct buf b = { 0 };
	struct told told;
	struct wfile *w;
	char name[64];

	name_of(env, FILE_MANIFEST, name);
	read_file(env, name, &b);
	CK_OK(env_open_write(env, TEST_DIR "/MANIFEST-009999", &w));
	CK_OK(wfile_append(w, b.data, b.len - 1));
	CK_OK(wfile_close(w));
	spoil(env, "CURRENT", REMOVE, 1);
	CK_OK(repair(env, false, &told, &report));
	ck_assert(report.repaired);
	ck_assert(!report.manifest_rebuilt);
	ck_assert_uint_eq(report.tables_lost + report.tables_rewritten, 0);
	ck_assert_uint_eq(check(env, &m, &told, "two MANIFESTs"), 0);
	check_usable(env, "two MANIFESTs");
	buf_fini(&b);
	env_mem_free(env);
}
END_TEST

static int on_block(void *ctx, const struct cairn_sst_block *b)
{
	uint64_t *end = ctx;

	if (!strcmp(b->kind, "data"))
		*end = b->offset + b->size + 5;
	return CAIRN_OK;
}

static uint64_t data_end(struct cairn_env *env, const char *name)
{
	uint64_t end = 0;
	const struct cairn_sst_visitor v = { .ctx = &end, .block = on_block };
	struct cairn_options *o = cairn_options_new();
	char path[256];

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	CK_OK(cairn_sst_visit(path, o, &v));
	cairn_options_free(o);
	return end;
}

/* A table's blocks are found without footer, metaindex, properties and index,
 * one of them missing at a time, or all. */
START_TEST(no_key_is_lost_with_the_end_of_a_table)
{
	static const size_t cut[] = { 1, 60, 200, 600, 5000 };
	struct model m = { { 0 } };
	struct cairn_env *dead = make(&m);
	struct env_names names;

	CK_OK(env_list(dead, TEST_DIR, &names));
	for (size_t i = 0; i < names.n; i++) {
		struct cairn_repair_report report;
		struct cairn_env *env;
		struct told told;
		struct buf b = { 0 };
		uint64_t number;
		size_t n = cut[_i];

		if (filename_parse(names.names[i], &number) != FILE_TABLE)
			continue;
		env = env_mem_crash_clone(dead, 1, 100);
		ck_assert_ptr_nonnull(env);
		read_file(env, names.names[i], &b);
		if (n > b.len - data_end(env, names.names[i]))
			n = b.len - data_end(env, names.names[i]);
		memset(b.data + b.len - n, 0xa5, n);
		replace_file(env, names.names[i], b.data, b.len);
		buf_fini(&b);
		CK_OK(repair(env, false, &told, &report));
		ck_assert_uint_gt(told.findings, 0);
		ck_assert_uint_eq(report.tables_rewritten, 1);
		told.n = 0;
		ck_assert_uint_eq(check(env, &m, &told, names.names[i]), 0);
		env_mem_free(env);
	}
	env_names_free(&names);
	env_mem_free(dead);
}
END_TEST

/* --------------------------------------------------------------- goldens */

static struct env_names goldens;

/* What nobody but the MANIFEST knew, or what cannot be repaired. */
static const struct {
	const char *name;
	int code;
} exceptions[] = {
	/* Which values are newer than those of an ingested table. */
	{ "ingest", CAIRN_OK },
	/* How far a tombstone reaches. */
	{ "rangedel-clip", CAIRN_OK },
	/* Which log was no longer needed. */
	{ "stale-files", CAIRN_OK },
	/* A record is lost. */
	{ "torn-middle", CAIRN_OK },
#ifndef HAVE_BZIP2
	{ "comp-bzip2", CAIRN_ENOTSUP },
#endif
#ifndef HAVE_LZ4
	{ "comp-lz4", CAIRN_ENOTSUP },
#endif
#ifndef HAVE_ZLIB
	{ "comp-zlib", CAIRN_ENOTSUP },
#endif
	{ "cf-two", CAIRN_ENOTSUP },
	{ "manifest-tags", CAIRN_ENOTSUP },
	{ "wal-multi", CAIRN_ENOTSUP },
	{ "wal-zstd", CAIRN_ENOTSUP },
	{ "x-", CAIRN_ENOTSUP },
};

/* Whether a golden is an exception; *code is what repairing it returns. */
static bool is_exception(const char *name, int *code)
{
	*code = CAIRN_OK;
	for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]);
	     i++) {
		if (strncmp(name, exceptions[i].name,
			    strlen(exceptions[i].name)) != 0)
			continue;
		*code = exceptions[i].code;
		return true;
	}
	return false;
}

static void check_golden(struct cairn_env *env, const char *name)
{
	struct golden_rows want;
	struct cairn_iter *it;
	struct test_db t;
	size_t n = 0;

	ck_assert(golden_rows(name, "expected.tsv", &want));
	tdb_init(&t, env);
	tdb_open(&t);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		ck_assert_msg(
			n < want.n &&
				slice_eq(cairn_iter_key(it), want.row[n].key) &&
				slice_eq(cairn_iter_value(it),
					 want.row[n].value),
			"%s: key %zu is another", name, n);
		n++;
	}
	CK_OK(cairn_iter_status(it));
	ck_assert_msg(n == want.n, "%s: %zu keys, not %zu", name, n, want.n);
	cairn_iter_free(it);
	tdb_close(&t);
	cairn_options_free(t.opts);
	env_fault_free(t.env);
	golden_rows_fini(&want);
}

START_TEST(goldens_are_whole_again_without_their_manifest)
{
	const char *name = goldens.names[_i];
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_repair_options ro = { .upgrade = true };
	struct cairn_repair_report report;
	struct cairn_options *o = cairn_options_new();
	struct golden g;
	bool exception;
	int code, err;

	ck_assert(env && o);
	golden_load(name, &g);
	golden_write(&g, env, TEST_DIR);
	for (size_t i = 0; i < g.n; i++)
		if (!strncmp(g.files[i].name, "MANIFEST", 8) ||
		    !strcmp(g.files[i].name, "CURRENT"))
			spoil(env, g.files[i].name, REMOVE, 1);
	cairn_options_set_env(o, env);
	exception = is_exception(name, &code);
	err = cairn_repair(TEST_DIR, o, &ro, &report);
	ck_assert_msg(err == code, "%s: %d: %s", name, err, cairn_errmsg());
	if (!err) {
		ck_assert(report.manifest_rebuilt);
		check_verified(env, name);
	}
	if (!exception)
		check_golden(env, name);
	cairn_options_free(o);
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

START_TEST(a_leveldb_directory_is_not_converted_unasked)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_options *o = cairn_options_new();
	struct cairn_repair_report report;
	struct golden g;

	ck_assert(env && o);
	golden_load("ldb-snappy", &g);
	golden_write(&g, env, TEST_DIR);
	cairn_options_set_env(o, env);
	CK_OK(cairn_repair(TEST_DIR, o, NULL, &report));
	ck_assert(!report.damaged);
	spoil(env, "CURRENT", REMOVE, 1);
	CK_CODE(cairn_repair(TEST_DIR, o, NULL, &report), CAIRN_ENOTSUP);
	ck_assert(!report.repaired);
	cairn_options_free(o);
	env_mem_free(env);
	golden_fini(&g);
}
END_TEST

START_TEST(a_good_database_is_left_alone)
{
	struct model m = { { 0 } };
	struct cairn_env *env = make(&m);
	struct env_names before, after;
	struct cairn_repair_report report;
	struct told told;

	CK_OK(env_list(env, TEST_DIR, &before));
	CK_OK(repair(env, false, &told, &report));
	ck_assert(!report.damaged && !report.repaired);
	ck_assert_uint_eq(told.findings, 0);
	CK_OK(env_list(env, TEST_DIR, &after));
	ck_assert_uint_eq(before.n, after.n);
	env_names_free(&before);
	env_names_free(&after);
	env_mem_free(env);
}
END_TEST

/* One table with a bad block in env; its name. */
static void spoil_a_table(struct cairn_env *env, char name[64])
{
	struct env_names names;

	*name = '\0';
	CK_OK(env_list(env, TEST_DIR, &names));
	for (size_t i = 0; i < names.n && !*name; i++) {
		uint64_t number;

		if (filename_parse(names.names[i], &number) == FILE_TABLE)
			snprintf(name, 64, "%s", names.names[i]);
	}
	env_names_free(&names);
	ck_assert(*name);
	spoil(env, name, ZERO_MIDDLE, 1);
}

START_TEST(a_dry_run_changes_nothing)
{
	struct model m = { { 0 } };
	struct cairn_env *env = make(&m);
	struct env_names before, after;
	struct cairn_repair_report dry, wet;
	struct told told;
	char name[64];

	spoil_a_table(env, name);
	CK_OK(env_list(env, TEST_DIR, &before));
	CK_OK(repair(env, true, &told, &dry));
	ck_assert(dry.damaged && dry.repaired);
	ck_assert_uint_gt(told.findings, 0);
	CK_OK(env_list(env, TEST_DIR, &after));
	ck_assert_uint_eq(before.n, after.n);
	env_names_free(&before);
	env_names_free(&after);
	CK_OK(repair(env, false, &told, &wet));
	ck_assert_uint_eq(dry.tables_rewritten, wet.tables_rewritten);
	ck_assert_uint_eq(dry.tables_kept, wet.tables_kept);
	ck_assert_uint_eq(dry.blocks_lost, wet.blocks_lost);
	env_mem_free(env);
}
END_TEST

START_TEST(what_is_replaced_is_kept_in_lost)
{
	struct model m = { { 0 } };
	struct cairn_env *env = make(&m);
	struct buf was = { 0 }, is = { 0 };
	struct cairn_repair_report report;
	struct told told;
	char name[64], lost[128];

	spoil_a_table(env, name);
	read_file(env, name, &was);
	CK_OK(repair(env, false, &told, &report));
	snprintf(lost, sizeof(lost), "lost/%s", name);
	read_file(env, lost, &is);
	ck_assert(slice_eq(buf_slice(&was), buf_slice(&is)));
	buf_fini(&was);
	buf_fini(&is);
	env_mem_free(env);
}
END_TEST

/*
 * Fail each operation in turn, and let the power go right after: another repair
 * comes to the same.
 */
static void interrupt(bool power, unsigned keep, bool no_manifest)
{
	struct model m = { { 0 } };
	struct cairn_env *dead = make(&m);
	struct env_names names;
	uint64_t nth = 1, hits = 1;
	char name[64];

	spoil_a_table(dead, name);
	CK_OK(env_list(dead, TEST_DIR, &names));
	for (size_t i = 0; i < names.n && no_manifest; i++)
		if (!strncmp(names.names[i], "MANIFEST", 8))
			spoil(dead, names.names[i], REMOVE, 1);
	env_names_free(&names);
	/* The whole of it is durable to begin with. */
	CK_OK(env_sync_dir(dead, TEST_DIR));
	for (; hits; nth += 1 + nth / 8) {
		struct cairn_env *env = env_mem_crash_clone(dead, 1, 100);
		struct cairn_env *fault = env_fault_new(env), *after = env;
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_WRITES &
			       ~(unsigned)ENV_FAULT_PREALLOCATE,
			.nth = nth,
			.sticky = true,
			.code = CAIRN_EIO,
		};
		struct cairn_repair_report report;
		struct told told, first;
		char what[64];
		int err;

		ck_assert(env && fault);
		CK_OK(repair(env, true, &first, &report));
		env_fault_set(fault, &rule);
		err = repair(fault, false, &told, &report);
		hits = env_fault_hits(fault);
		ck_assert_msg(!hits || err < 0 || report.repaired,
			      "operation %u: %d", (unsigned)nth, err);
		if (power) {
			after = env_mem_crash_clone(env, nth, keep);
			ck_assert_ptr_nonnull(after);
		}
		snprintf(what, sizeof(what), "operation %u", (unsigned)nth);
		err = repair(after, false, &told, &report);
		ck_assert_msg(err == CAIRN_OK, "%s: %s", what, cairn_errmsg());
		check(after, &m, &first, what);
		check_verified(after, what);
		if (after != env)
			env_mem_free(after);
		env_fault_free(fault);
		env_mem_free(env);
	}
	ck_assert_uint_gt(nth, 20);
	env_mem_free(dead);
}

START_TEST(a_failing_repair_can_be_repeated)
{
	interrupt(false, 0, _i);
}
END_TEST

START_TEST(a_repair_cut_off_by_the_power_can_be_repeated)
{
	interrupt(true, _i % 2 ? 50 : 0, _i / 2);
}
END_TEST

START_TEST(a_database_in_use_is_refused)
{
	struct cairn_repair_options ro = { .dry_run = _i };
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_CODE(cairn_repair(TEST_DIR, t.opts, &ro, NULL), CAIRN_EBUSY);
	tdb_fini(&t);
}
END_TEST

START_TEST(what_is_no_database_is_refused)
{
	struct test_db t;

	tdb_init(&t, NULL);
	CK_CODE(cairn_repair(TEST_DIR, t.opts, NULL, NULL), CAIRN_ENOENT);
	CK_OK(env_mkdir(t.mem, TEST_DIR));
	CK_CODE(cairn_repair(TEST_DIR, t.opts, NULL, NULL), CAIRN_ENOENT);
	ck_assert_uint_eq(tdb_count_files(&t, ""), 0);
	tdb_fini(&t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("repair");
	TCase *t = tcase_create("walk");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_file_spoiled_in_each_way_is_repaired, 0,
			    N_WAYS);
	tcase_add_test(t, everything_but_tables_and_logs_can_be_lost);
	tcase_add_test(t, options_that_cannot_be_read_are_told_and_made_again);
	tcase_add_test(t, a_newer_manifest_that_is_torn_does_not_count);
	tcase_add_loop_test(t, no_key_is_lost_with_the_end_of_a_table, 0, 5);
	suite_add_tcase(s, t);
	t = tcase_create("goldens");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, goldens_are_whole_again_without_their_manifest,
			    0, (int)goldens.n);
	tcase_add_test(t, a_leveldb_directory_is_not_converted_unasked);
	suite_add_tcase(s, t);
	t = tcase_create("care");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_good_database_is_left_alone);
	tcase_add_test(t, a_dry_run_changes_nothing);
	tcase_add_test(t, what_is_replaced_is_kept_in_lost);
	tcase_add_loop_test(t, a_failing_repair_can_be_repeated, 0, 2);
	tcase_add_loop_test(t, a_repair_cut_off_by_the_power_can_be_repeated, 0,
			    4);
	tcase_add_loop_test(t, a_database_in_use_is_refused, 0, 2);
	tcase_add_test(t, what_is_no_database_is_refused);
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
