/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/version_set.h"

#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "engine/version/filename.h"
#include "engine/wal/writer.h"
#include "tests/support/runner.h"
#include "tests/support/version_text.h"

#define ck_ok(call) ck_assert_msg((call) == CAIRN_OK, "%s", cairn_errmsg())

#define DIR "/db"

/* ------------------------------------------------------------- one database */

struct db {
	struct cairn_env *env;
	struct version_set_options opts;
	struct version_set *vs;
	struct version_set_state state;
};

static void db_begin(struct db *d, struct cairn_env *env)
{
	*d = (struct db){ .env = env };
	d->opts.env = env;
	d->opts.dir = DIR;
	d->opts.max_manifest_size = 64 << 20;
}

static int db_create(struct db *d)
{
	int err;

	ck_ok(version_set_create(&d->opts, &d->vs));
	err = version_set_new_manifest(d->vs, NULL, NULL);
	return err;
}

static void db_close(struct db *d)
{
	version_set_free(d->vs);
	d->vs = NULL;
	version_set_state_fini(&d->state);
}

static int db_recover(struct db *d)
{
	db_close(d);
	return version_set_recover(&d->opts, &d->vs, &d->state);
}

/* Log an edit of added files and install the result. */
static int db_log(struct db *d, const char *files, uint64_t log_number)
{
	struct version_edit e = { 0 };
	struct version *v;
	int err;

	edit_parse(files, &e);
	for (size_t i = 0; i < e.n_added; i++)
		version_set_mark_used(d->vs, e.added[i].meta->number);
	e.has_log_number = log_number != 0;
	e.log_number = log_number;
	err = version_set_log(d->vs, &e, &v);
	if (!err)
		version_set_install(d->vs, v);
	version_edit_fini(&e);
	return err;
}

/* Log the move of a file to another level. */
static int db_move(struct db *d, uint64_t number, int from, int to)
{
	struct version_edit e = { 0 };
	struct version *v;
	int err;

	ck_ok(version_edit_delete_file(&e, from, number));
	ck_ok(version_edit_add_file(
		&e, to, version_file(version_set_current(d->vs), number)));
	err = version_set_log(d->vs, &e, &v);
	if (!err)
		version_set_install(d->vs, v);
	version_edit_fini(&e);
	return err;
}

/* Every level as "L0: 2 1 L1: 3", in the order of the version. */
static void describe(const struct version *v, char *out, size_t cap)
{
	size_t len = 0;

	out[0] = '\0';
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		const struct version_files *l = &v->level[level];

		for (size_t i = 0; i < l->n; i++) {
			if (!i)
				len += (size_t)snprintf(
					out + len, cap - len,
					"%sL%d:", len ? " " : "", level);
			len += (size_t)snprintf(
				out + len, cap - len, " %llu",
				(unsigned long long)l->files[i]->number);
			ck_assert_uint_lt(len, cap);
		}
	}
}

static void check_files_are(const struct db *d, const char *want)
{
	char got[512];

	describe(version_set_current(d->vs), got, sizeof(got));
	ck_assert_str_eq(got, want);
}

static struct cairn_env *new_env(void)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);

	ck_assert_ptr_nonnull(env);
	ck_ok(env_mkdir(env, DIR));
	return env;
}

static void write_file(struct cairn_env *env, const char *name,
		       struct cairn_slice bytes)
{
	char *path = filename_in(DIR, name);
	struct wfile *f;
	int err = env_unlink(env, path);

	ck_assert(err == CAIRN_OK || err == CAIRN_NOT_FOUND);
	ck_ok(env_open_write(env, path, &f));
	ck_ok(wfile_append(f, bytes.data, bytes.len));
	ck_ok(wfile_sync(f));
	ck_ok(wfile_close(f));
	free(path);
}

static struct buf read_manifest(const struct db *d)
{
	char *path = filename_manifest(DIR, version_set_manifest_number(d->vs));
	struct buf b = { 0 };

	ck_ok(env_read_file(d->env, path, 1 << 24, &b));
	free(path);
	return b;
}

/* ------------------------------------------------------------------- basics */

START_TEST(an_empty_directory_holds_no_database)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	ck_assert_int_eq(db_recover(&d), CAIRN_NOT_FOUND);
	ck_assert_ptr_null(d.vs);
	d.opts.dir = "/nowhere";
	ck_assert_int_eq(db_recover(&d), CAIRN_NOT_FOUND);
	env_mem_free(env);
}
END_TEST

START_TEST(what_was_logged_is_recovered)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	ck_assert_uint_eq(version_set_last_seqno(d.vs), 0);
	version_set_advance_seqno(d.vs, 100);
	ck_ok(db_log(&d, "L0: 11:[a-m]#1-50 10", 12));
	ck_ok(db_log(&d, "L0: 13:[c-z]#51-100 20 L6: 14:[a-b] 30", 15));
	ck_ok(db_move(&d, 14, 6, 5));
	version_set_advance_seqno(d.vs, 120);
	version_set_advance_seqno(d.vs, 110);
	ck_ok(db_log(&d, "", 0));
	check_files_are(&d, "L0: 13 11 L5: 14");

	ck_ok(db_recover(&d));
	check_files_are(&d, "L0: 13 11 L5: 14");
	ck_assert_uint_eq(version_set_current(d.vs)->n_sublevels, 2);
	ck_assert_uint_eq(version_set_last_seqno(d.vs), 120);
	ck_assert_uint_eq(version_set_log_number(d.vs), 15);
	ck_assert_uint_eq(version_set_next_file_number(d.vs), 16);
	ck_assert_uint_eq(d.state.log_number, 15);
	ck_assert_uint_eq(d.state.manifest_number, 2);
	ck_assert(!d.state.manifest_torn);
	ck_assert_uint_eq(d.state.n_other_families, 0);
	ck_assert_uint_eq(version_set_current(d.vs)->number, 1);

	/* Going on starts a new MANIFEST, which says the same and more. */
	ck_ok(db_log(&d, "L0: 16:[c-d]#120 20", 17));
	ck_assert_uint_eq(version_set_manifest_number(d.vs), 17);
	ck_ok(db_recover(&d));
	check_files_are(&d, "L0: 16 13 11 L5: 14");
	ck_assert_uint_eq(d.state.manifest_number, 17);
	ck_assert_uint_eq(version_set_log_number(d.vs), 17);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(files_of_leveldb_get_their_seqnos_with_a_new_manifest)
{
	struct cairn_env *env = new_env();
	struct version_edit e = { 0 };
	struct version *v;
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	ck_ok(db_log(&d, "L0: 11:[a-m] 10~ 12:[a-m] 10~", 0));
	ck_ok(db_recover(&d));
	ck_assert(d.state.leveldb);
	version_set_advance_seqno(d.vs, 20);
	edit_parse("L0: 11:[a-m]#1-9 10 12:[a-m]#10-19 10", &e);
	ck_ok(version_edit_delete_file(&e, 0, 11));
	ck_ok(version_edit_delete_file(&e, 0, 12));
	ck_ok(version_set_new_manifest(d.vs, &e, &v));
	version_set_install(d.vs, v);
	version_edit_fini(&e);
	ck_ok(db_recover(&d));
	ck_assert(!d.state.leveldb);
	check_files_are(&d, "L0: 12 11");
	ck_assert_uint_eq(
		version_file(version_set_current(d.vs), 12)->largest_seqno, 19);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(a_seqno_in_a_table_is_never_above_the_last)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	ck_ok(db_log(&d, "L0: 11:[a-m]#1-50 10", 0));
	ck_ok(db_recover(&d));
	ck_assert_uint_eq(version_set_last_seqno(d.vs), 50);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(numbers_are_never_handed_out_twice)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	ck_ok(version_set_create(&d.opts, &d.vs));
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 2);
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 3);
	version_set_mark_used(d.vs, 10);
	version_set_mark_used(d.vs, 7);
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 11);
	ck_ok(version_set_new_manifest(d.vs, NULL, NULL));
	ck_assert_uint_eq(version_set_manifest_number(d.vs), 12);
	ck_ok(db_recover(&d));
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 13);
	/* A crash may leave files of numbers that no edit names. */
	ck_ok(version_set_new_manifest(d.vs, NULL, NULL));
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 15);
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 16);
	ck_ok(db_log(&d, "L1: 5:[a-m] 10", 0));
	ck_assert_uint_eq(version_set_manifest_number(d.vs), 14);
	ck_ok(db_recover(&d));
	ck_assert_uint_eq(version_set_new_file_number(d.vs), 17);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(a_manifest_that_a_crash_left_is_not_overwritten)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	ck_ok(db_recover(&d));
	write_file(env, "MANIFEST-000003", slice_str("old"));
	write_file(env, "MANIFEST-000004", slice_str("old"));
	write_file(env, "000005.dbtmp", slice_str("old"));
	ck_ok(db_log(&d, "L0: 3:[a-m]#1-50 10", 0));
	ck_assert_uint_eq(version_set_manifest_number(d.vs), 5);
	ck_ok(db_recover(&d));
	check_files_are(&d, "L0: 3");
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(a_long_manifest_is_replaced)
{
	struct cairn_env *env = new_env();
	uint64_t first;
	struct db d;
	char text[64];

	db_begin(&d, env);
	d.opts.max_manifest_size = 2000;
	ck_ok(db_create(&d));
	first = version_set_manifest_number(d.vs);
	for (uint64_t i = 0; i < 60; i++) {
		uint64_t manifest = version_set_manifest_number(d.vs);

		snprintf(text, sizeof(text), "L6: %llu:[%03llua-%03llub] 7",
			 (unsigned long long)(1000 + i), (unsigned long long)i,
			 (unsigned long long)i);
		ck_ok(db_log(&d, text, 0));
		if (manifest != version_set_manifest_number(d.vs))
			/* The new one is the snapshot alone. */
			ck_assert_uint_gt(version_set_manifest_bytes(d.vs),
					  40 * i);
		ck_assert_uint_lt(version_set_manifest_bytes(d.vs), 10000);
	}
	ck_assert_uint_gt(version_set_manifest_number(d.vs), first);
	/* One that is mostly snapshot is not: it doubles first. */
	ck_assert_uint_lt(version_set_manifest_number(d.vs), first + 1100);
	ck_ok(db_recover(&d));
	ck_assert_uint_eq(version_set_current(d.vs)->level[6].n, 60);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(a_large_snapshot_is_read_back)
{
	struct cairn_env *env = new_env();
	struct version_edit e = { 0 };
	struct version *v;
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	for (unsigned i = 0; i < 5000; i++) {
		char text[64];

		snprintf(text, sizeof(text), "L6: %u:[%05ua-%05ub] 7", 10 + i,
			 i, i);
		edit_parse(text, &e);
	}
	ck_ok(version_set_log(d.vs, &e, &v));
	version_set_install(d.vs, v);
	version_edit_fini(&e);
	ck_ok(version_set_new_manifest(d.vs, NULL, NULL));
	for (unsigned i = 0; i < 100; i++)
		ck_ok(db_move(&d, 10 + i, 6, 5));
	ck_ok(db_recover(&d));
	ck_assert_uint_eq(version_set_current(d.vs)->level[6].n, 4900);
	ck_assert_uint_eq(version_set_current(d.vs)->level[5].n, 100);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

/* ------------------------------------------------------------ file lifetime */

struct seen {
	uint64_t numbers[64];
	size_t n;
};

static void see(void *ctx, const struct file_meta *f)
{
	struct seen *s = ctx;

	for (size_t i = 0; i < s->n; i++)
		if (s->numbers[i] == f->number)
			return;
	ck_assert_uint_lt(s->n, 64);
	s->numbers[s->n++] = f->number;
}

static bool is_live(struct db *d, uint64_t number)
{
	struct seen s = { 0 };

	version_set_live_files(d->vs, see, &s);
	for (size_t i = 0; i < s.n; i++)
		if (s.numbers[i] == number)
			return true;
	return false;
}

static int db_delete(struct db *d, int level, uint64_t number)
{
	struct version_edit e = { 0 };
	struct version *v;
	int err;

	ck_ok(version_edit_delete_file(&e, level, number));
	err = version_set_log(d->vs, &e, &v);
	if (!err)
		version_set_install(d->vs, v);
	version_edit_fini(&e);
	return err;
}

START_TEST(a_file_lives_as_long_as_a_version_that_somebody_holds)
{
	struct cairn_env *env = new_env();
	struct version *first, *second;
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	ck_ok(db_log(&d, "L1: 11:[a-m] 10 12:[n-z] 10", 0));
	first = version_ref(version_set_current(d.vs));
	ck_ok(db_delete(&d, 1, 11));
	second = version_ref(version_set_current(d.vs));
	ck_ok(db_delete(&d, 1, 12));
	ck_assert_uint_lt(first->number, second->number);
	ck_assert(is_live(&d, 11) && is_live(&d, 12));
	version_unref(first);
	ck_assert(!is_live(&d, 11) && is_live(&d, 12));
	version_unref(second);
	ck_assert(!is_live(&d, 12));
	/* A reader may also outlive the set. */
	first = version_ref(version_set_current(d.vs));
	db_close(&d);
	version_unref(first);
	env_mem_free(env);
}
END_TEST

START_TEST(every_live_file_must_be_there_with_its_size)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	ck_ok(db_log(&d, "L1: 11:[a-m] 5 12:[n-z] 3", 0));
	ck_assert_int_eq(version_set_check_files(d.vs), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "/db/000011.sst"));
	write_file(env, "000011.sst", slice_str("12345"));
	write_file(env, "000012.ldb", slice_str("123"));
	ck_ok(version_set_check_files(d.vs));
	write_file(env, "000011.sst", slice_str("1234"));
	ck_assert_int_eq(version_set_check_files(d.vs), CAIRN_ECORRUPT);
	write_file(env, "000011.sst", slice_str("123456"));
	ck_assert_int_eq(version_set_check_files(d.vs), CAIRN_ECORRUPT);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

/* ----------------------------------------------------------- what goes wrong
 */

static const struct {
	const char *name;
	const char *current; /* NULL: none */
	const char *other;   /* a file beside */
	int want;
	const char *message;
} openings[] = {
	{ "no newline", "MANIFEST-000002", NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "two lines", "MANIFEST-000002\n\n", NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "empty", "", NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "only a newline", "\n", NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "another file", "000002.log\n", NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "a path", "../MANIFEST-000002\n", NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "much too long",
	  "MANIFEST-000002\nMANIFEST-000002\nMANIFEST-000002\nMANIFEST-000002\n"
	  "MANIFEST-000002\n",
	  NULL, CAIRN_ECORRUPT, "CURRENT" },
	{ "a MANIFEST that is not there", "MANIFEST-000077\n", NULL,
	  CAIRN_ECORRUPT, "MANIFEST-000077" },
	{ "no CURRENT, but a table", NULL, "000009.sst", CAIRN_ECORRUPT,
	  "000009.sst" },
	{ "no CURRENT, but LevelDB's table", NULL, "000009.ldb", CAIRN_ECORRUPT,
	  "000009.ldb" },
	{ "Pebble", NULL, "marker.manifest.000001.MANIFEST-000001",
	  CAIRN_ENOTSUP, "Pebble" },
	{ "no CURRENT, but a half made MANIFEST", NULL, "MANIFEST-000001",
	  CAIRN_NOT_FOUND, NULL },
};

START_TEST(a_directory_without_a_good_current_is_refused)
{
	struct cairn_env *env = new_env();
	struct db d;

	db_begin(&d, env);
	if (openings[_i].current)
		write_file(env, "CURRENT", slice_str(openings[_i].current));
	if (openings[_i].other)
		write_file(env, openings[_i].other, slice_str("x"));
	ck_assert_msg(db_recover(&d) == openings[_i].want, "%s: %s",
		      openings[_i].name, cairn_errmsg());
	if (openings[_i].message)
		ck_assert_ptr_nonnull(
			strstr(cairn_errmsg(), openings[_i].message));
	env_mem_free(env);
}
END_TEST

/* A MANIFEST of the given edits; CURRENT names it. */
static void write_edits(struct cairn_env *env, struct version_edit *edits,
			size_t n)
{
	struct log_writer *w;
	struct wfile *f;

	ck_ok(env_open_write(env, DIR "/MANIFEST-000009", &f));
	ck_ok(log_writer_new(f, &w));
	for (size_t i = 0; i < n; i++) {
		struct buf b = { 0 };

		ck_ok(version_edit_encode(&edits[i], &b));
		ck_ok(log_writer_add(w, buf_slice(&b)));
		buf_fini(&b);
	}
	ck_ok(log_writer_close(w));
	write_file(env, "CURRENT", slice_str("MANIFEST-000009\n"));
}

/* Text of edits for the cases below:
 *   "log N" "prev N" "next N" "seq N" "min N" "cmp S" "db S" "fam N" "new S"
 *   "drop" "group N" "del L N" "add L N K" (file of the key K) ";" ends one */
static size_t parse_edits(const char *text, struct version_edit *e, size_t max)
{
	char word[32], arg[64];
	size_t n = 1;
	int len;

	while (sscanf(text, " %31s%n", word, &len) == 1) {
		struct version_edit *at = &e[n - 1];
		unsigned long long a = 0, b = 0;

		text += len;
		if (!strcmp(word, ";")) {
			ck_assert_uint_lt(n, max);
			n++;
			continue;
		}
		if (!strcmp(word, "drop")) {
			at->family_drop = true;
			continue;
		}
		ck_assert_int_eq(sscanf(text, " %63s%n", arg, &len), 1);
		text += len;
		a = strtoull(arg, NULL, 10);
		if (!strcmp(word, "log")) {
			at->has_log_number = true;
			at->log_number = a;
		} else if (!strcmp(word, "prev")) {
			at->has_prev_log_number = true;
			at->prev_log_number = a;
		} else if (!strcmp(word, "next")) {
			at->has_next_file_number = true;
			at->next_file_number = a;
		} else if (!strcmp(word, "seq")) {
			at->has_last_seqno = true;
			at->last_seqno = a;
		} else if (!strcmp(word, "min")) {
			at->has_min_log_to_keep = true;
			at->min_log_to_keep = a;
		} else if (!strcmp(word, "cmp")) {
			at->has_comparator = true;
			at->comparator = strdup(arg);
		} else if (!strcmp(word, "db")) {
			at->db_id = strdup(arg);
		} else if (!strcmp(word, "fam")) {
			at->family = (uint32_t)a;
		} else if (!strcmp(word, "new")) {
			at->has_family_add = true;
			at->family_name = strdup(arg);
		} else if (!strcmp(word, "group")) {
			at->in_atomic_group = true;
			at->group_remaining = (uint32_t)a;
		} else {
			ck_assert_int_eq(sscanf(text, " %llu%n", &b, &len), 1);
			text += len;
			if (!strcmp(word, "del")) {
				ck_ok(version_edit_delete_file(at, (int)a, b));
			} else {
				char file[256];

				ck_assert_str_eq(word, "add");
				ck_assert_int_eq(
					sscanf(text, " %63s%n", arg, &len), 1);
				text += len;
				snprintf(file, sizeof(file),
					 "L%llu: %llu:[%s-%s] 9", a, b, arg,
					 arg);
				edit_parse(file, at);
			}
		}
	}
	return n;
}

#define START "cmp leveldb.BytewiseComparator log 3 next 4 seq 5 ; "

static const struct {
	const char *name;
	const char *edits;
	int want;
	const char *files; /* when it opens */
	const char *message;
} histories[] = {
	{ "the least", "log 0 next 2 seq 0", CAIRN_OK, "", NULL },
	{ "nothing", "", CAIRN_ECORRUPT, NULL, "log number" },
	{ "no log number", "next 2 seq 0", CAIRN_ECORRUPT, NULL, "log number" },
	{ "no next file number", "log 2 seq 0", CAIRN_ECORRUPT, NULL,
	  "next file" },
	{ "no last seqno", "log 2 next 3", CAIRN_ECORRUPT, NULL, "sequence" },
	{ "another order of keys", "cmp reverse log 0 next 2 seq 0",
	  CAIRN_ENOTSUP, NULL, "reverse" },
	{ "files come and go",
	  START "add 0 10 a ; add 0 11 b ; del 0 10 add 1 10 a ; del 0 11",
	  CAIRN_OK, "L1: 10", NULL },
	{ "a file goes twice", START "add 0 10 a ; del 0 10 ; del 0 10",
	  CAIRN_ECORRUPT, NULL, "000010" },
	{ "a file goes from where it is not", START "add 0 10 a ; del 1 10",
	  CAIRN_ECORRUPT, NULL, "000010" },
	{ "a file comes twice", START "add 0 10 a ; add 1 10 a", CAIRN_ECORRUPT,
	  NULL, "000010" },
	{ "a file comes back", START "add 0 10 a ; del 0 10 ; add 2 10 a",
	  CAIRN_OK, "L2: 10", NULL },
	{ "files overlap in the end", START "add 1 10 a ; add 1 11 a",
	  CAIRN_ECORRUPT, NULL, "overlap" },
	{ "files overlap for a while only",
	  START "add 1 10 a ; add 1 11 a ; del 1 10", CAIRN_OK, "L1: 11",
	  NULL },
	{ "another family",
	  START "fam 1 new alpha ; fam 1 add 0 10 a ; add 0 11 b", CAIRN_OK,
	  "L0: 11", NULL },
	{ "a family that is not there", START "fam 1 add 0 10 a",
	  CAIRN_ECORRUPT, NULL, "family 1" },
	{ "a family twice", START "fam 1 new alpha ; fam 1 new beta",
	  CAIRN_ECORRUPT, NULL, "family 1" },
	{ "a family dropped", START "fam 1 new alpha ; fam 1 drop ; add 0 11 b",
	  CAIRN_OK, "L0: 11", NULL },
	{ "a family dropped twice",
	  START "fam 1 new a ; fam 1 drop ; "
		"fam 1 drop",
	  CAIRN_ECORRUPT, NULL, "family 1" },
	{ "another family with another order",
	  START "fam 1 new alpha cmp reverse", CAIRN_OK, "", NULL },
	{ "a group",
	  START "add 0 10 a group 1 ; add 0 11 b group 0 ; add 0 12 c",
	  CAIRN_OK, "L0: 12 11 10", NULL },
	{ "a group that is not finished",
	  START "add 0 10 a ; add 0 11 b group 1", CAIRN_OK, "L0: 10", NULL },
	{ "a group with a stranger", START "add 0 10 a group 1 ; add 0 11 b",
	  CAIRN_ECORRUPT, NULL, "group" },
	{ "a group that counts wrong",
	  START "add 0 10 a group 2 ; add 0 11 b group 0", CAIRN_ECORRUPT, NULL,
	  "group" },
};

START_TEST(a_history_is_replayed_or_refused)
{
	struct version_edit edits[8] = { 0 };
	struct cairn_env *env = new_env();
	size_t n = parse_edits(histories[_i].edits, edits, 8);
	struct db d;
	int err;

	db_begin(&d, env);
	write_edits(env, edits, n);
	err = db_recover(&d);
	ck_assert_msg(err == histories[_i].want, "%s: %d %s",
		      histories[_i].name, err, cairn_errmsg());
	if (!err)
		check_files_are(&d, histories[_i].files);
	if (histories[_i].message) {
		ck_assert_msg(strstr(cairn_errmsg(), histories[_i].message) &&
				      strstr(cairn_errmsg(), "MANIFEST-000009"),
			      "%s", cairn_errmsg());
	}
	db_close(&d);
	for (size_t i = 0; i < n; i++)
		version_edit_fini(&edits[i]);
	env_mem_free(env);
}
END_TEST

START_TEST(recovery_tells_all_it_learned)
{
	struct version_edit edits[8] = { 0 };
	struct cairn_env *env = new_env();
	size_t n = parse_edits(START
			       "db abcd ; fam 1 new alpha ; fam 2 new beta ; "
			       "fam 3 new gamma log 50 ; fam 1 drop ; "
			       "log 20 prev 19 min 18 ; log 19",
			       edits, 8);
	struct db d;

	db_begin(&d, env);
	write_edits(env, edits, n);
	ck_ok(db_recover(&d));
	ck_assert_uint_eq(d.state.n_other_families, 2);
	ck_assert_str_eq(d.state.other_families[0], "gamma");
	ck_assert_str_eq(d.state.other_families[1], "beta");
	ck_assert_str_eq(d.state.db_id, "abcd");
	/* A log number does not go back. */
	ck_assert_uint_eq(d.state.log_number, 20);
	ck_assert_uint_eq(d.state.prev_log_number, 19);
	ck_assert_uint_eq(d.state.min_log_to_keep, 18);
	ck_assert_uint_eq(version_set_next_file_number(d.vs), 51);
	ck_assert(!d.state.leveldb && !d.state.manifest_torn);

	/* All of it is in the next MANIFEST, but not the second WAL. */
	ck_ok(db_log(&d, "L0: 60:[a-b]#1 1", 55));
	ck_ok(db_recover(&d));
	ck_assert_str_eq(d.state.db_id, "abcd");
	ck_assert_uint_eq(d.state.log_number, 55);
	ck_assert_uint_eq(d.state.prev_log_number, 0);
	ck_assert_uint_eq(d.state.min_log_to_keep, 18);
	db_close(&d);
	for (size_t i = 0; i < n; i++)
		version_edit_fini(&edits[i]);
	env_mem_free(env);
}
END_TEST

/* A database with three edits; their ends in the MANIFEST. */
static void make_history(struct db *d, uint64_t ends[3])
{
	ck_ok(db_create(d));
	version_set_advance_seqno(d->vs, 100);
	ck_ok(db_log(d, "L0: 11:[a-m]#1-50 10", 12));
	ends[0] = version_set_manifest_bytes(d->vs);
	ck_ok(db_log(d, "L0: 13:[c-z]#51-100 20", 14));
	ends[1] = version_set_manifest_bytes(d->vs);
	ck_ok(db_move(d, 11, 0, 6));
	ends[2] = version_set_manifest_bytes(d->vs);
}

START_TEST(a_manifest_cut_short_loses_its_last_record_only)
{
	static const char *const files[] = { "", "L0: 11", "L0: 13 11",
					     "L0: 13 L6: 11" };
	struct cairn_env *env = new_env();
	uint64_t ends[3], start;
	struct buf whole;
	struct db d;

	db_begin(&d, env);
	ck_ok(db_create(&d));
	start = version_set_manifest_bytes(d.vs);
	db_close(&d);
	env_mem_free(env);

	env = new_env();
	db_begin(&d, env);
	make_history(&d, ends);
	whole = read_manifest(&d);
	ck_assert_uint_eq(whole.len, ends[2]);
	for (size_t len = 0; len <= whole.len; len++) {
		size_t n = 0;
		int err;

		while (n < 3 && len >= ends[n])
			n++;
		write_file(env, "MANIFEST-000002", slice_of(whole.data, len));
		err = db_recover(&d);
		if (len < start) {
			ck_assert_int_eq(err, CAIRN_ECORRUPT);
			continue;
		}
		ck_assert_msg(err == CAIRN_OK, "%zu: %s", len, cairn_errmsg());
		check_files_are(&d, files[n]);
		ck_assert_msg(d.state.manifest_torn ==
				      (len != start && len != ends[0] &&
				       len != ends[1] && len != ends[2]),
			      "%zu", len);
	}
	/* Going on after a torn tail leaves it behind. */
	write_file(env, "MANIFEST-000002", slice_of(whole.data, whole.len - 1));
	ck_ok(db_recover(&d));
	ck_assert(d.state.manifest_torn);
	ck_ok(db_log(&d, "L0: 20:[a-m]#101 10", 21));
	ck_ok(db_recover(&d));
	ck_assert(!d.state.manifest_torn);
	check_files_are(&d, "L0: 20 13 11");
	buf_fini(&whole);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

/*
 * The disk writes sectors, in any order: the power may go when the last edit
 * lacks one in its middle.
 */
START_TEST(a_sector_that_never_arrived_is_no_damage)
{
	struct cairn_env *env = new_env();
	char text[1700];
	uint64_t ends[3];
	struct buf bytes, cut = { 0 };
	unsigned lost = 0;
	struct db d;

	db_begin(&d, env);
	make_history(&d, ends);
	strcpy(text, "L5:");
	for (int i = 15; i < 27; i++)
		snprintf(text + strlen(text), 130, " %d:[%d%0100d-%dz]#51 9", i,
			 i, 0, i);
	ck_ok(db_log(&d, text, 0));
	bytes = read_manifest(&d);
	for (uint64_t at = ends[2]; at < bytes.len;) {
		uint64_t end = at - at % 512 + 512;

		end = end < bytes.len ? end : bytes.len;
		ck_ok(buf_set(&cut, buf_slice(&bytes)));
		memset(cut.data + at, 0, end - at);
		write_file(env, "MANIFEST-000002", buf_slice(&cut));
		if (end - at > 7) {
			ck_ok(db_recover(&d));
			check_files_are(&d, "L0: 13 L6: 11");
			ck_assert(d.state.manifest_torn);
			lost++;
		}
		at = end;
	}
	ck_assert_uint_ge(lost, 3);
	buf_fini(&bytes);
	buf_fini(&cut);
	db_close(&d);
	env_mem_free(env);
}
END_TEST

START_TEST(a_damaged_manifest_is_never_an_older_state)
{
	struct cairn_env *env = new_env();
	uint64_t ends[3];
	struct buf bytes;
	struct db d;

	db_begin(&d, env);
	make_history(&d, ends);
	bytes = read_manifest(&d);
	for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
		int err;

		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		write_file(env, "MANIFEST-000002", buf_slice(&bytes));
		err = db_recover(&d);
		ck_assert_msg(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP,
			      "bit %zu: %d", bit, err);
		ck_assert_ptr_nonnull(
			strstr(cairn_errmsg(), "MANIFEST-000002"));
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	/* Zeros behind the end are space that was never written ... */
	for (int i = 0; i < 100; i++)
		ck_ok(buf_append(&bytes, "", 1));
	write_file(env, "MANIFEST-000002", buf_slice(&bytes));
	ck_ok(db_recover(&d));
	check_files_are(&d, "L0: 13 L6: 11");
	ck_assert(!d.state.manifest_torn);
	/* ... anything else is not. */
	bytes.data[bytes.len - 1] = 1;
	write_file(env, "MANIFEST-000002", buf_slice(&bytes));
	ck_assert_int_eq(db_recover(&d), CAIRN_ECORRUPT);
	buf_fini(&bytes);
	env_mem_free(env);
}
END_TEST

/* A history in which each step is tried once more when it fails. */
static int run_history(struct db *d, int *failures)
{
	static const char *const steps[] = { "L0: 11:[a-m]#1-50 10",
					     "L0: 13:[c-z]#51-100 20",
					     "L6: 14:[a-b] 30" };
	int err;

	ck_ok(version_set_create(&d->opts, &d->vs));
	err = version_set_new_manifest(d->vs, NULL, NULL);
	if (err) {
		++*failures;
		err = version_set_new_manifest(d->vs, NULL, NULL);
	}
	for (size_t i = 0; !err && i < 3; i++) {
		err = db_log(d, steps[i], 0);
		if (err) {
			++*failures;
			err = db_log(d, steps[i], 0);
		}
	}
	return err;
}

START_TEST(after_one_failing_operation_the_next_try_works)
{
	struct cairn_env *env, *fault;
	struct db d;
	uint64_t hits;
	uint64_t nth = 0;

	do {
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_WRITES,
			.nth = ++nth,
			.code = CAIRN_EIO,
			.partial = nth % 2 == 0,
		};
		int failures = 0;

		env = new_env();
		fault = env_fault_new(env);
		ck_assert_ptr_nonnull(fault);
		env_fault_set(fault, &rule);
		db_begin(&d, fault);
		/* A failing unlink or close need not be a failure. */
		ck_ok(run_history(&d, &failures));
		hits = env_fault_hits(fault);
		ck_assert_int_le(failures, (int)hits);
		check_files_are(&d, "L0: 13 11 L6: 14");
		db_close(&d);

		d.opts.env = env;
		ck_ok(db_recover(&d));
		check_files_are(&d, "L0: 13 11 L6: 14");
		db_close(&d);
		env_fault_free(fault);
		env_mem_free(env);
	} while (hits);
	ck_assert_uint_gt(nth, 10);
}
END_TEST

START_TEST(when_everything_fails_the_last_state_stands)
{
	struct cairn_env *env, *fault;
	struct db d;
	uint64_t hits;
	uint64_t nth = 0;

	do {
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_WRITES,
			.nth = ++nth,
			.sticky = true,
			.code = CAIRN_ENOSPC,
			.partial = nth % 2 == 0,
		};
		int err, again;

		env = new_env();
		fault = env_fault_new(env);
		db_begin(&d, fault);
		ck_ok(db_create(&d));
		ck_ok(db_log(&d, "L0: 11:[a-m]#1-50 10", 0));
		/* A full MANIFEST, so that the next edit starts another. */
		if (nth > 3)
			ck_ok(db_recover(&d));
		env_fault_set(fault, &rule);
		err = db_log(&d, "L0: 13:[c-z]#51-100 20", 0);
		again = err ? db_log(&d, "L0: 13:[c-z]#51-100 20", 0) : 0;
		hits = env_fault_hits(fault);
		if (hits && err) {
			ck_assert_int_eq(err, CAIRN_ENOSPC);
			ck_assert_int_eq(again, CAIRN_ENOSPC);
			check_files_are(&d, "L0: 11");
		}
		db_close(&d);

		/* The failed edit may or may not be there, the rest is. */
		d.opts.env = env;
		ck_ok(db_recover(&d));
		ck_assert_ptr_nonnull(
			version_file(version_set_current(d.vs), 11));
		if (!err)
			check_files_are(&d, "L0: 13 11");
		db_close(&d);
		env_fault_free(fault);
		env_mem_free(env);
	} while (hits || nth <= 3);
	ck_assert_uint_gt(nth, 10);
}
END_TEST

/*
 * Cut the power just before each operation of an edit. What was synced stays;
 * the edit itself may be there or not.
 */
START_TEST(a_power_cut_in_the_middle_of_an_edit_keeps_the_one_before)
{
	struct cairn_env *env, *fault, *crash;
	struct db d, c;
	uint64_t hits, nth = 0;

	do {
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_WRITES,
			.nth = ++nth,
			.sticky = true,
			.code = CAIRN_EIO,
		};

		env = env_mem_new(_i % 2 ? ENV_MEM_JOURNAL : ENV_MEM_STRICT);
		ck_ok(env_mkdir(env, DIR));
		ck_ok(env_sync_dir(env, "/"));
		fault = env_fault_new(env);
		db_begin(&d, fault);
		ck_ok(db_create(&d));
		ck_ok(db_log(&d, "L0: 11:[a-m]#1-50 10", 0));
		if (_i & 2)
			ck_ok(db_recover(&d));
		env_fault_set(fault, &rule);
		(void)!db_log(&d, "L0: 13:[c-z]#51-100 20", 0);
		hits = env_fault_hits(fault);
		for (uint64_t seed = 0; seed < 20; seed++) {
			int err;

			crash = env_mem_crash_clone(env, seed,
						    (unsigned)seed % 3 * 50);
			db_begin(&c, crash);
			err = db_recover(&c);
			ck_assert_msg(err == CAIRN_OK, "%s", cairn_errmsg());
			ck_assert_ptr_nonnull(
				version_file(version_set_current(c.vs), 11));
			db_close(&c);
			env_mem_free(crash);
		}
		db_close(&d);
		env_fault_free(fault);
		env_mem_free(env);
	} while (hits);
}
END_TEST

START_TEST(a_power_cut_leaves_a_state_that_was)
{
	static const char *const steps[] = { "L0: 11:[a-m]#1-50 10",
					     "L0: 13:[c-z]#51-100 20",
					     "L6: 14:[a-b] 30" };
	static const char *const after[] = { "L0: 11", "L0: 13 11",
					     "L0: 13 11 L6: 14" };
	enum env_mem_rule rules[] = { ENV_MEM_STRICT, ENV_MEM_JOURNAL };
	struct cairn_env *env = env_mem_new(rules[_i % 2]);
	struct db d, c;

	ck_ok(env_mkdir(env, DIR));
	ck_ok(env_sync_dir(env, "/"));
	db_begin(&d, env);
	d.opts.max_manifest_size = 1;
	ck_ok(db_create(&d));
	for (size_t i = 0; i < 3; i++) {
		ck_ok(db_log(&d, steps[i], 0));
		for (unsigned keep = 0; keep <= 100; keep += 50) {
			struct cairn_env *crash = env_mem_crash_clone(
				env, (uint64_t)_i * 1000 + i, keep);

			db_begin(&c, crash);
			ck_ok(db_recover(&c));
			check_files_are(&c, after[i]);
			db_close(&c);
			env_mem_free(crash);
		}
	}
	db_close(&d);
	env_mem_free(env);
}
END_TEST

/* ------------------------------------------- directories of other programs */

static int hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

static bool is_key(struct cairn_slice key, const char *hex)
{
	if (strlen(hex) != 2 * key.len)
		return false;
	for (size_t i = 0; i < key.len; i++)
		if (key.data[i] !=
		    16 * hex_digit(hex[2 * i]) + hex_digit(hex[2 * i + 1]))
			return false;
	return true;
}

/* A line of files.tsv against the version; true when it is of the default
 * column family. */
static bool check_golden_line(const struct version *v, const char *line)
{
	unsigned long long number, size, first, last;
	char family[64], low[256], high[256];
	const struct file_meta *f;
	bool there = false;
	int level;

	ck_assert_int_eq(sscanf(line, "%63s %d %llu %llu %255s %255s %llu %llu",
				family, &level, &number, &size, low, high,
				&first, &last),
			 8);
	if (strcmp(family, "default") != 0)
		return false;
	f = version_file(v, number);
	ck_assert_msg(f != NULL, "%s", line);
	for (size_t i = 0; i < v->level[level].n; i++)
		there |= v->level[level].files[i] == f;
	ck_assert(there);
	ck_assert_uint_eq(f->size, size);
	ck_assert_uint_eq(f->smallest_seqno, first);
	ck_assert_uint_eq(f->largest_seqno, last);
	ck_assert(is_key(f->smallest_key.user_key, low));
	ck_assert(is_key(f->largest_key.user_key, high));
	return true;
}

static const struct {
	const char *name;
	int want;
	bool torn;
	bool leveldb;
	const char *families;
} goldens[] = {
	{ "empty", CAIRN_OK, false, false, "" },
	{ "levels", CAIRN_OK, false, false, "" },
	{ "ingest", CAIRN_OK, false, false, "" },
	{ "rangedel-clip", CAIRN_OK, false, false, "" },
	{ "manifest-rolled", CAIRN_OK, false, false, "" },
	{ "manifest-tags", CAIRN_OK, false, false, "alpha" },
	{ "manifest-torn", CAIRN_OK, true, false, "" },
	{ "cf-two", CAIRN_OK, false, false, "alpha beta" },
	{ "ldb-tiny", CAIRN_OK, false, true, "" },
	{ "ldb-log", CAIRN_OK, false, true, "" },
	{ "x-blob", CAIRN_ENOTSUP, false, false, "" },
	{ "x-reversecmp", CAIRN_ENOTSUP, false, false, "" },
};

START_TEST(the_manifests_of_rocksdb_and_leveldb_are_understood)
{
	const char *srcdir = getenv("srcdir") ? getenv("srcdir") : ".";
	char dir[512], path[600], line[1024], families[128] = "";
	size_t n_files = 0, n_live = 0;
	struct db d;
	FILE *f;
	int err;

	snprintf(dir, sizeof(dir), "%s/tests/data/golden/%s/db", srcdir,
		 goldens[_i].name);
	db_begin(&d, env_posix());
	d.opts.dir = dir;
	err = db_recover(&d);
	ck_assert_msg(err == goldens[_i].want, "%s: %d %s", goldens[_i].name,
		      err, cairn_errmsg());
	if (err)
		return;
	ck_ok(version_check(version_set_current(d.vs)));
	ck_ok(version_set_check_files(d.vs));
	ck_assert_int_eq(d.state.manifest_torn, goldens[_i].torn);
	ck_assert_int_eq(d.state.leveldb, goldens[_i].leveldb);
	for (size_t i = 0; i < d.state.n_other_families; i++) {
		if (i)
			strcat(families, " ");
		strcat(families, d.state.other_families[i]);
	}
	ck_assert_str_eq(families, goldens[_i].families);

	snprintf(path, sizeof(path), "%s/../files.tsv", dir);
	f = fopen(path, "r");
	if (f) {
		while (fgets(line, sizeof(line), f))
			if (line[0] != '#')
				n_files += check_golden_line(
					version_set_current(d.vs), line);
		fclose(f);
		for (int level = 0; level < CAIRN_LEVELS; level++)
			n_live += version_set_current(d.vs)->level[level].n;
		ck_assert_uint_eq(n_files, n_live);
	}
	db_close(&d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("version_set");
	TCase *tc = tcase_create("version_set");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, an_empty_directory_holds_no_database);
	tcase_add_test(tc, what_was_logged_is_recovered);
	tcase_add_test(tc,
		       files_of_leveldb_get_their_seqnos_with_a_new_manifest);
	tcase_add_test(tc, a_seqno_in_a_table_is_never_above_the_last);
	tcase_add_test(tc, numbers_are_never_handed_out_twice);
	tcase_add_test(tc, a_manifest_that_a_crash_left_is_not_overwritten);
	tcase_add_test(tc, a_long_manifest_is_replaced);
	tcase_add_test(tc, a_large_snapshot_is_read_back);
	tcase_add_test(tc,
		       a_file_lives_as_long_as_a_version_that_somebody_holds);
	tcase_add_test(tc, every_live_file_must_be_there_with_its_size);
	tcase_add_loop_test(tc, a_directory_without_a_good_current_is_refused,
			    0, sizeof(openings) / sizeof(openings[0]));
	tcase_add_loop_test(tc, a_history_is_replayed_or_refused, 0,
			    sizeof(histories) / sizeof(histories[0]));
	tcase_add_test(tc, recovery_tells_all_it_learned);
	tcase_add_test(tc, a_manifest_cut_short_loses_its_last_record_only);
	tcase_add_test(tc, a_sector_that_never_arrived_is_no_damage);
	tcase_add_test(tc, a_damaged_manifest_is_never_an_older_state);
	tcase_add_test(tc, after_one_failing_operation_the_next_try_works);
	tcase_add_test(tc, when_everything_fails_the_last_state_stands);
	tcase_add_loop_test(
		tc, a_power_cut_in_the_middle_of_an_edit_keeps_the_one_before,
		0, 4);
	tcase_add_loop_test(tc, a_power_cut_leaves_a_state_that_was, 0, 10);
	tcase_add_loop_test(tc,
			    the_manifests_of_rocksdb_and_leveldb_are_understood,
			    0, sizeof(goldens) / sizeof(goldens[0]));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
