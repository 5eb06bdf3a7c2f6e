/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a repair leaves, read by RocksDB with paranoid checks: every key by scan
 * and by point lookup, with what a model says, but where the repair said that
 * keys are lost. And the figures of cairn sst against those of sst_dump.
 */
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/rng.h"
#include "engine/env/env.h"
#include "engine/version/filename.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define KEYS      3000
#define MAX_SPANS 64

static char base[64]; /* a folder for directories */
static char dir[80];

struct model {
	uint32_t generation[KEYS]; /* 0: absent */
};

/* A command with one or two paths behind it. */
static void shell(const char *command, const char *a, const char *b)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "%s '%s' %s%s%s", command, a, b ? "'" : "",
		 b ? b : "", b ? "'" : "");
	ck_assert_int_eq(system(cmd), 0);
}

static void make_base(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%.40s/repair-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(base));
	snprintf(dir, sizeof(dir), "%s/db", base);
}

static void remove_base(void)
{
	shell("rm -rf", base, NULL);
}

static size_t key_of(unsigned i, char text[32])
{
	return (size_t)snprintf(text, 32, "key%06u", i);
}

static size_t value_of(unsigned i, uint32_t g, char text[160])
{
	return (size_t)snprintf(text, 160, "%u/%u %.*s", i, g,
				(int)(i * 7 % 90),
				"text of many words, so that blocks are not "
				"too small and values differ in their length");
}

/* --------------------------------------------------------------- made by us */

static struct cairn_options *small(void)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_ptr_nonnull(o);
	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_options_set(o, "write_buffer_size", "64K"));
	must(cairn_options_set(o, "target_file_size", "16K"));
	must(cairn_options_set(o, "base_level_size", "32K"));
	must(cairn_options_set(o, "auto_compactions", "false"));
	must(cairn_options_set(o, "l0_slowdown", "100"));
	must(cairn_options_set(o, "l0_stop", "100"));
	return o;
}

static void put(struct cairn_db *db, struct model *m, unsigned i, uint32_t g)
{
	char key[32], value[160];
	struct cairn_slice k = slice_of(key, key_of(i, key));

	if (g)
		must(cairn_put(db, NULL, k,
			       slice_of(value, value_of(i, g, value))));
	else
		must(cairn_delete(db, NULL, k));
	m->generation[i] = g;
}

/* Tables in level 0 and the last one; what is flushed at last closes it. */
static void make_ours(struct model *m)
{
	static const struct cairn_slice all;
	struct cairn_options *o = small();
	struct cairn_db *db;

	must(cairn_open(dir, o, &db));
	for (unsigned i = 0; i < KEYS; i++)
		put(db, m, i, 1);
	must(cairn_flush(db, true));
	must(cairn_compact_range(db, all, all, NULL));
	for (uint32_t g = 2; g < 5; g++) {
		for (unsigned i = g; i < KEYS; i += g + 2)
			put(db, m, i, i % 7 ? g : 0);
		must(cairn_flush(db, true));
	}
	must(cairn_close(db));
	cairn_options_free(o);
}

/* -------------------------------------------------------- made by RocksDB */

static void no_error(char *err)
{
	ck_assert_msg(!err, "%s", err);
}

static rocksdb_options_t *rocks_options(void)
{
	rocksdb_options_t *o = rocksdb_options_create();

	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_options_set_write_buffer_size(o, 64 << 10);
	rocksdb_options_set_target_file_size_base(o, 16 << 10);
	rocksdb_options_set_max_bytes_for_level_base(o, 32 << 10);
	return o;
}

static void make_theirs(struct model *m)
{
	rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
	rocksdb_options_t *o = rocks_options();
	char *err = NULL;
	rocksdb_t *db = rocksdb_open(o, dir, &err);

	no_error(err);
	for (uint32_t g = 1; g < 5; g++) {
		for (unsigned i = 0; i < KEYS; i += g) {
			char key[32], value[160];
			size_t n = key_of(i, key);
			uint32_t is = g > 1 && i % 7 == 0 ? 0 : g;

			if (is)
				rocksdb_put(db, w, key, n, value,
					    value_of(i, is, value), &err);
			else
				rocksdb_delete(db, w, key, n, &err);
			no_error(err);
			m->generation[i] = is;
		}
	}
	/* What is not yet flushed stays in the log. */
	rocksdb_close(db);
	rocksdb_options_destroy(o);
	rocksdb_writeoptions_destroy(w);
}

/* ----------------------------------------------------------------- checking */

struct span {
	char from[32];
	char to[32];
	bool has_from;
	bool has_to;
};

struct told {
	struct span span[MAX_SPANS];
	size_t n;
};

static int on_found(void *ctx, const struct cairn_finding *f)
{
	struct told *t = ctx;
	struct span *s;

	if (!f->keys_lost)
		return CAIRN_OK;
	ck_assert_uint_lt(t->n, MAX_SPANS);
	s = &t->span[t->n++];
	*s = (struct span){ .has_from = f->from.data, .has_to = f->to.data };
	ck_assert(f->from.len < 32 && f->to.len < 32);
	if (s->has_from)
		memcpy(s->from, f->from.data, f->from.len);
	if (s->has_to)
		memcpy(s->to, f->to.data, f->to.len);
	return CAIRN_OK;
}

static bool may_be_lost(const struct told *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++)
		if ((!t->span[i].has_from ||
		     strcmp(key, t->span[i].from) >= 0) &&
		    (!t->span[i].has_to || strcmp(key, t->span[i].to) <= 0))
			return true;
	return false;
}

/* A point lookup and what the scan says must agree with the model. */
static void check_key(rocksdb_t *db, const rocksdb_readoptions_t *ro,
		      const struct model *m, unsigned i, const char *scanned,
		      size_t scanned_len, const struct told *told)
{
	char key[32], value[160], *err = NULL;
	size_t len = 0, n = key_of(i, key);
	size_t want =
		m->generation[i] ? value_of(i, m->generation[i], value) : 0;
	char *got = rocksdb_get(db, ro, key, n, &len, &err);

	no_error(err);
	ck_assert_msg(!got == !scanned &&
			      (!got || (len == scanned_len &&
					!memcmp(got, scanned, len))),
		      "%s: a scan and a lookup differ", key);
	if (!got ? want != 0 : len != want || memcmp(got, value, want) != 0)
		ck_assert_msg(may_be_lost(told, key), "%s: is %.*s", key,
			      (int)len, got ? got : "");
	rocksdb_free(got);
}

static void check_with_rocksdb(const struct model *m, const struct told *told)
{
	rocksdb_options_t *o = rocks_options();
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	char *err = NULL;
	rocksdb_t *db;
	rocksdb_iterator_t *it;

	rocksdb_options_set_create_if_missing(o, 0);
	rocksdb_readoptions_set_verify_checksums(ro, 1);
	db = rocksdb_open(o, dir, &err);
	no_error(err);
	it = rocksdb_create_iterator(db, ro);
	rocksdb_iter_seek_to_first(it);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32];
		size_t key_len = key_of(i, key), len, value_len = 0;
		const char *at, *value = NULL;

		if (rocksdb_iter_valid(it)) {
			at = rocksdb_iter_key(it, &len);
			if (len == key_len && !memcmp(at, key, len))
				value = rocksdb_iter_value(it, &value_len);
		}
		check_key(db, ro, m, i, value, value_len, told);
		if (value)
			rocksdb_iter_next(it);
	}
	ck_assert(!rocksdb_iter_valid(it));
	rocksdb_iter_get_error(it, &err);
	no_error(err);
	rocksdb_iter_destroy(it);
	rocksdb_close(db);
	rocksdb_readoptions_destroy(ro);
	rocksdb_options_destroy(o);
}

static void repair(struct told *told)
{
	struct cairn_repair_options ro = { .found = on_found, .ctx = told };
	struct cairn_repair_report report;
	struct cairn_options *o = small();

	*told = (struct told){ 0 };
	must(cairn_repair(dir, o, &ro, &report));
	ck_assert(report.repaired);
	cairn_options_free(o);
}

/* --------------------------------------------------------------------- walk */

enum way { REMOVE, HALVE, NOISE, END, N_WAYS };

static void spoil(const char *name, enum way way, uint64_t seed)
{
	char path[200];
	struct rng rng;
	long size;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (way == REMOVE) {
		ck_assert_int_eq(unlink(path), 0);
		return;
	}
	rng_init(&rng, seed);
	f = fopen(path, "r+b");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
	size = ftell(f);
	if (way == HALVE) {
		ck_assert_int_eq(ftruncate(fileno(f), size / 2), 0);
	} else if (size > 0) {
		/* 40 bytes in the middle, or the last ones. */
		long from = way == END ? size - 40 : size / 2;

		ck_assert_int_eq(fseek(f, from > 0 ? from : 0, SEEK_SET), 0);
		for (int i = 0; i < 40; i++)
			ck_assert_int_ne(fputc((int)rng_below(&rng, 256), f),
					 EOF);
	}
	ck_assert_int_eq(fclose(f), 0);
}

/* Spoil one file after the other, repair, and let RocksDB read. */
static void walk(const struct model *m, enum way way)
{
	struct env_names names;
	char keep[80];

	snprintf(keep, sizeof(keep), "%s/keep", base);
	must(env_list(env_posix(), dir, &names));
	shell("mv", dir, keep);
	for (size_t i = 0; i < names.n; i++) {
		uint64_t number;
		enum file_kind kind = filename_parse(names.names[i], &number);
		struct told told;

		/* Which keys a log loses, other tests look at. */
		if (kind != FILE_TABLE && kind != FILE_MANIFEST &&
		    kind != FILE_CURRENT)
			continue;
		shell("cp -r", keep, dir);
		spoil(names.names[i], way, i);
		repair(&told);
		check_with_rocksdb(m, &told);
		shell("rm -rf", dir, NULL);
	}
	env_names_free(&names);
}

START_TEST(rocksdb_reads_what_is_left_of_ours)
{
	struct model m = { { 0 } };

	make_ours(&m);
	walk(&m, (enum way)_i);
}
END_TEST

START_TEST(rocksdb_reads_what_is_left_of_its_own)
{
	struct model m = { { 0 } };

	make_theirs(&m);
	walk(&m, (enum way)_i);
}
END_TEST

START_TEST(a_directory_of_nothing_but_data_is_put_together)
{
	struct model m = { { 0 } };
	struct env_names names;
	struct told told;

	if (_i)
		make_theirs(&m);
	else
		make_ours(&m);
	must(env_list(env_posix(), dir, &names));
	for (size_t i = 0; i < names.n; i++) {
		uint64_t number;
		enum file_kind kind = filename_parse(names.names[i], &number);

		if (kind != FILE_TABLE && kind != FILE_WAL)
			spoil(names.names[i], REMOVE, 0);
	}
	env_names_free(&names);
	repair(&told);
	ck_assert_uint_eq(told.n, 0);
	check_with_rocksdb(&m, &told);
}
END_TEST

/* ------------------------------------------------------------------ figures */

struct figures {
	uint64_t entries;
	uint64_t deletions;
	uint64_t data_blocks;
};

static int on_property(void *ctx, const char *name, const char *value)
{
	struct figures *f = ctx;

	if (!strcmp(name, "rocksdb.num.entries"))
		f->entries += strtoull(value, NULL, 10);
	else if (!strcmp(name, "rocksdb.deleted.keys"))
		f->deletions += strtoull(value, NULL, 10);
	else if (!strcmp(name, "rocksdb.num.data.blocks"))
		f->data_blocks += strtoull(value, NULL, 10);
	return CAIRN_OK;
}

struct counted {
	struct figures props;
	uint64_t entries;
	uint64_t deletions;
	uint64_t data_blocks;
};

static int on_entry(void *ctx, const struct cairn_entry *e)
{
	struct counted *c = ctx;

	c->entries++;
	c->deletions += !strcmp(cairn_entry_kind_name(e->kind), "delete");
	return CAIRN_OK;
}

static int on_block(void *ctx, const struct cairn_sst_block *b)
{
	struct counted *c = ctx;

	c->data_blocks += !strcmp(b->kind, "data");
	return CAIRN_OK;
}

static int on_state(void *ctx, const struct cairn_manifest_edit *s)
{
	*(size_t *)ctx = s->n_added;
	return CAIRN_OK;
}

/* How many live tables RocksDB knows, and what it says of their entries. */
static void rocksdb_figures(size_t *tables, struct figures *f)
{
	rocksdb_options_t *o = rocks_options();
	const rocksdb_livefiles_t *l;
	char *err = NULL;
	rocksdb_t *db;

	db = rocksdb_open_for_read_only(o, dir, 0, &err);
	no_error(err);
	l = rocksdb_livefiles(db);
	*tables = (size_t)rocksdb_livefiles_count(l);
	for (size_t i = 0; i < *tables; i++) {
		f->entries += rocksdb_livefiles_entries(l, (int)i);
		f->deletions += rocksdb_livefiles_deletions(l, (int)i);
	}
	rocksdb_livefiles_destroy(l);
	rocksdb_close(db);
	rocksdb_options_destroy(o);
}

START_TEST(what_is_shown_of_files_is_what_rocksdb_says)
{
	struct figures theirs = { 0 };
	struct counted c = { .entries = 0 };
	const struct cairn_sst_visitor v = {
		.ctx = &c,
		.property = on_property,
		.block = on_block,
		.entry = on_entry,
	};
	size_t tables, state = 0;
	const struct cairn_manifest_visitor mv = { .ctx = &state,
						   .state = on_state };
	struct model m = { { 0 } };
	struct env_names names;

	make_theirs(&m);
	rocksdb_figures(&tables, &theirs);
	ck_assert_uint_gt(tables, 2);
	must(cairn_manifest_visit(dir, NULL, &mv));
	ck_assert_uint_eq(state, tables);
	must(env_list(env_posix(), dir, &names));
	for (size_t i = 0; i < names.n; i++) {
		char path[200];
		uint64_t number;

		if (filename_parse(names.names[i], &number) != FILE_TABLE)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, names.names[i]);
		must(cairn_sst_visit(path, NULL, &v));
	}
	env_names_free(&names);
	ck_assert_uint_eq(c.entries, theirs.entries);
	ck_assert_uint_eq(c.deletions, theirs.deletions);
	ck_assert_uint_eq(c.props.entries, theirs.entries);
	ck_assert_uint_eq(c.props.deletions, theirs.deletions);
	ck_assert_uint_eq(c.props.data_blocks, c.data_blocks);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("repair with rocksdb");
	TCase *t = tcase_create("walk");

	tcase_add_checked_fixture(t, make_base, remove_base);
	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, rocksdb_reads_what_is_left_of_ours, 0, N_WAYS);
	tcase_add_loop_test(t, rocksdb_reads_what_is_left_of_its_own, 0,
			    N_WAYS);
	tcase_add_loop_test(t, a_directory_of_nothing_but_data_is_put_together,
			    0, 2);
	tcase_add_test(t, what_is_shown_of_files_is_what_rocksdb_says);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
