/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking a directory: each file by itself, and all of them against each
 * other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/open_files.h"
#include "engine/db/open_lost.h"
#include "engine/db/options.h"
#include "engine/db/recover.h"
#include "engine/db/table_check.h"
#include "engine/version/filename.h"
#include "engine/version/manifest_facts.h"

#define CURRENT_LEN_MAX 256
#define OPEN_LOG_TRIES  4

struct live_table {
	int level;
	struct file_meta *meta; /* a reference of our own */
};

struct verify {
	struct cairn_env *env;
	const char *dir;
	struct finder finder;
	struct cairn_verify_report report;
	struct env_names names;
	bool open; /* files come and go */

	struct live_table *tables;
	size_t n;
	/* By the MANIFEST. */
	bool state_known;
	struct version_set *versions;
	struct version_set_state state;
	bool complete; /* tables of other families would be missed */
	uint64_t manifest_number;
	uint64_t log_number;
	uint64_t prev_log_number;
	uint64_t min_log_to_keep;
};

static void verify_fini(struct verify *v)
{
	for (size_t i = 0; i < v->n; i++)
		file_meta_unref(v->tables[i].meta);
	free(v->tables);
	version_set_free(v->versions);
	version_set_state_fini(&v->state);
	env_names_free(&v->names);
}

static int add_table(struct verify *v, int level, struct file_meta *meta)
{
	struct live_table *more =
		realloc(v->tables, (v->n + 1) * sizeof(*more));

	if (!more)
		return error_nomem();
	v->tables = more;
	more[v->n++] = (struct live_table){ level, file_meta_ref(meta) };
	return CAIRN_OK;
}

static int tell(struct verify *v, int code, const char *path)
{
	return finder_tell(&v->finder, code, path, NO_PLACE);
}

/* ----------------------------------------------------------- the MANIFEST */

static int take_version(struct verify *v, const struct version *version)
{
	int err = CAIRN_OK;

	for (int level = 0; level < CAIRN_LEVELS; level++) {
		const struct version_files *l = &version->level[level];

		for (size_t i = 0; i < l->n && !err; i++)
			err = add_table(v, level, l->files[i]);
	}
	return err;
}

static int other_families(struct verify *v, const struct version_set_state *s)
{
	int err = CAIRN_OK;

	v->complete = !s->n_other_families;
	for (size_t i = 0; i < s->n_other_families && !err; i++)
		err = finder_remark(&v->finder, v->dir,
				    "column family \"%s\" is not looked at",
				    s->other_families[i]);
	return err;
}

/* The number of the MANIFEST that CURRENT names, or else of the newest; 0. */
static int manifest_to_read(struct verify *v, uint64_t *number)
{
	char *path = filename_in(v->dir, "CURRENT");
	struct buf text = { 0 };
	int err = path ? env_read_file(v->env, path, CURRENT_LEN_MAX, &text)
		       : error_nomem();

	*number = 0;
	if (!err && text.len && text.data[text.len - 1] == '\n') {
		text.data[text.len - 1] = '\0';
		if (filename_parse((char *)text.data, number) != FILE_MANIFEST)
			*number = 0;
	}
	buf_fini(&text);
	free(path);
	if (err == CAIRN_ENOMEM)
		return err;
	for (size_t i = 0; i < v->names.n && !*number; i++) {
		uint64_t n;

		if (filename_parse(v->names.names[i], &n) == FILE_MANIFEST &&
		    n > *number)
			*number = n;
	}
	return CAIRN_OK;
}

static int facts_damage(void *ctx, int code, uint64_t offset)
{
	struct verify *v = ctx;
	char *path = filename_manifest(v->dir, v->manifest_number);
	int err = path ? finder_tell(&v->finder, code, path, offset)
		       : error_nomem();

	free(path);
	return err;
}

/* What can be learned of a MANIFEST that cannot be used. */
static int take_facts(struct verify *v)
{
	const struct manifest_visitor visitor = { .ctx = v,
						  .damage = facts_damage };
	struct manifest_facts f = { 0 };
	char *path;
	int err = manifest_to_read(v, &v->manifest_number);

	if (err || !v->manifest_number)
		return err;
	path = filename_manifest(v->dir, v->manifest_number);
	err = path ? manifest_facts_read(v->env, path, &visitor, &f)
		   : error_nomem();
	free(path);
	if (err == CAIRN_NOT_FOUND || err == CAIRN_EIO)
		err = CAIRN_OK; /* it has been told of */
	for (size_t i = 0; i < f.cap && !err; i++)
		if (f.table[i].live && f.table[i].meta)
			err = add_table(v, f.table[i].level, f.table[i].meta);
	v->log_number = f.log_number;
	v->min_log_to_keep = f.min_log_to_keep;
	v->prev_log_number = f.prev_log_number;
	manifest_facts_fini(&f);
	return err;
}

static bool torn_log_missing(const struct verify *v,
			     const struct version_set_state *s)
{
	char name[64];

	if (!s->manifest_torn || !s->log_number)
		return false;
	(void)snprintf(name, sizeof(name), "%06" PRIu64 ".log", s->log_number);
	return !names_have(&v->names, name);
}

static int check_manifest(struct verify *v)
{
	const struct version_set_options opts = { .env = v->env,
						  .dir = v->dir };
	const struct version_set_state *s = &v->state;
	char *path = NULL;
	int err = version_set_recover(&opts, &v->versions, &v->state);

	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ECORRUPT, "%s/CURRENT: is missing",
				v->dir);
	if (err) {
		err = tell(v, err, v->dir);
		return err ? err : take_facts(v);
	}
	v->state_known = true;
	v->manifest_number = s->manifest_number;
	v->log_number = s->log_number;
	v->prev_log_number = s->prev_log_number;
	v->min_log_to_keep = s->min_log_to_keep;
	path = filename_manifest(v->dir, s->manifest_number);
	err = path ? CAIRN_OK : error_nomem();
	if (!err && torn_log_missing(v, s))
		err = tell(v,
			   error_set(CAIRN_ECORRUPT,
				     "%s: the last record is cut short, and "
				     "%06" PRIu64 ".log, which the state "
				     "before it needs, is missing",
				     path, s->log_number),
			   path);
	else if (!err && s->manifest_torn)
		err = finder_remark(&v->finder, path,
				    "the last record is cut short");
	if (!err)
		err = other_families(v, s);
	if (!err)
		err = take_version(v, version_set_current(v->versions));
	free(path);
	return err;
}

/* --------------------------------------------------------------- the tables */

static int check_table(struct verify *v, const struct live_table *t)
{
	struct walk_result r = { 0 };
	uint64_t size;
	char *path = NULL;
	int err = table_find(v->env, v->dir, t->meta->number, &path, &size);

	v->report.tables++;
	if (err == CAIRN_NOT_FOUND) {
		v->report.damaged_tables++;
		return table_tell_missing(&v->finder, v->dir, t->meta);
	}
	if (err) {
		v->report.damaged_tables++;
		return tell(v, err, v->dir);
	}
	err = table_check(v->env, path, size, t->meta, &v->finder, &r, NULL);
	v->report.table_bytes += size;
	v->report.blocks += r.blocks;
	v->report.damaged_blocks += r.bad_blocks;
	v->report.entries += r.entries + r.range_dels;
	v->report.damaged_tables += r.damages != 0;
	walk_result_fini(&r);
	free(path);
	return err;
}

static int check_tables(struct verify *v)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < v->n && !err; i++) {
		err = finder_poll(&v->finder);
		if (!err)
			err = check_table(v, &v->tables[i]);
	}
	return err;
}

/* ----------------------------------------------------------------- the logs */

static uint64_t least_log(const struct verify *v)
{
	return v->min_log_to_keep > v->log_number ? v->min_log_to_keep
						  : v->log_number;
}

/* Logs of a state that is not known, by themselves. */
static int check_lone_logs(struct verify *v, const uint64_t *logs, size_t n)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < n && !err; i++) {
		struct recovery r = { 0 };
		struct cairn_db db;
		size_t failed;
		char *path = filename_wal(v->dir, logs[i]);

		db_for_check(&db, v->env, v->dir, NULL);
		err = path ? recover_check_logs(&db, &logs[i], 1, &r, &failed,
						&v->report.log_records)
			   : error_nomem();
		if (err)
			err = tell(v, err, path ? path : v->dir);
		free(path);
	}
	return err;
}

/* Behind a log that cannot be gone past the next ones are looked at. */
static int check_known_logs(struct verify *v, const uint64_t *logs, size_t n)
{
	struct recovery r = { 0 };
	struct cairn_db db;
	size_t failed;
	char *path;
	int err;

	db_for_check(&db, v->env, v->dir, v->versions);
	err = recover_check_logs(&db, logs, n, &r, &failed,
				 &v->report.log_records);
	if (!err) {
		err = check_lost_records(&db, &v->names, &v->state, logs, n,
					 &r);
		return err ? tell(v, err, v->dir) : CAIRN_OK;
	}
	path = filename_wal(v->dir, logs[failed]);
	err = path ? tell(v, err, path) : error_nomem();
	free(path);
	if (err)
		return err;
	return check_lone_logs(v, logs + failed + 1, n - failed - 1);
}

static int check_logs(struct verify *v)
{
	uint64_t *logs;
	size_t n;
	int err = files_logs(&v->names, least_log(v), v->prev_log_number, &logs,
			     &n);

	if (err)
		return err;
	v->report.logs = n;
	err = v->state_known ? check_known_logs(v, logs, n)
			     : check_lone_logs(v, logs, n);
	free(logs);
	return err;
}

/* ------------------------------------------------------------ the directory */

static int by_number(const void *a, const void *b)
{
	const struct live_table *x = a, *y = b;

	return (x->meta->number > y->meta->number) -
	       (x->meta->number < y->meta->number);
}

static bool is_live(const struct verify *v, uint64_t number)
{
	size_t lo = 0, hi = v->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->tables[mid].meta->number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->n && v->tables[lo].meta->number == number;
}

/* What a file is that nothing refers to; NULL when something does. */
static const char *leftover(const struct verify *v, const char *name)
{
	uint64_t number;

	switch (filename_parse(name, &number)) {
	case FILE_TABLE:
	case FILE_TABLE_LDB:
		return is_live(v, number) ? NULL : "no live table";
	case FILE_WAL:
		return number >= least_log(v) || (v->prev_log_number &&
						  number == v->prev_log_number)
			       ? NULL
			       : "a log that is no longer needed";
	case FILE_MANIFEST:
		return number == v->manifest_number
			       ? NULL
			       : "CURRENT names another MANIFEST";
	case FILE_TEMP:
		return "a temporary file";
	case FILE_BLOB:
		return "a blob file, which nothing refers to";
	case FILE_UNKNOWN:
	case FILE_CURRENT:
	case FILE_LOCK:
	case FILE_IDENTITY:
	case FILE_INFO_LOG:
	case FILE_OPTIONS:
		break;
	}
	return NULL;
}

/* A crash leaves such files, and opening removes them. */
static int check_leftovers(struct verify *v)
{
	int err = CAIRN_OK;

	if (!v->state_known || !v->complete)
		return CAIRN_OK;
	if (v->n)
		qsort(v->tables, v->n, sizeof(*v->tables), by_number);
	for (size_t i = 0; i < v->names.n && !err; i++) {
		const char *what = leftover(v, v->names.names[i]);
		char *path;

		if (!what)
			continue;
		path = filename_in(v->dir, v->names.names[i]);
		err = path ? finder_remark(&v->finder, path, "%s", what)
			   : error_nomem();
		free(path);
	}
	return err;
}

static int check_options(struct verify *v)
{
	struct options_file file = { 0 };
	int err = files_read_options(v->env, v->dir, &v->names, &file);

	options_file_fini(&file);
	return err ? tell(v, err, v->dir) : CAIRN_OK;
}

/* Whether it is a database at all, and nobody changes it. */
static int look(struct verify *v)
{
	struct cairn_holder *holder;
	bool any = false;
	char *path;
	int err = env_list(v->env, v->dir, &v->names);

	if (err == CAIRN_NOT_FOUND)
		return error_set(CAIRN_ENOENT, "%s: no such directory", v->dir);
	if (!err)
		err = files_check_foreign(v->dir, &v->names);
	if (err)
		return err;
	for (size_t i = 0; i < v->names.n && !any; i++) {
		uint64_t number;
		enum file_kind kind =
			filename_parse(v->names.names[i], &number);

		any = kind == FILE_CURRENT || kind == FILE_MANIFEST ||
		      kind == FILE_TABLE || kind == FILE_TABLE_LDB;
	}
	if (!any)
		return error_set(CAIRN_ENOENT, "%s: there is no database",
				 v->dir);
	path = filename_in(v->dir, "LOCK");
	holder = malloc(sizeof(*holder));
	err = path && holder ? env_holder(v->env, path, holder) : error_nomem();
	if (err == CAIRN_OK)
		err = error_set(CAIRN_EBUSY, "%s: held by process %ld", path,
				holder->pid);
	free(holder);
	free(path);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int finish(struct verify *v, int err, struct cairn_verify_report *out)
{
	if (!err)
		err = finder_result(&v->finder, v->dir);
	v->report.findings = v->finder.findings;
	if (out)
		*out = v->report;
	verify_fini(v);
	return err;
}

static void set_options(struct verify *v, const struct cairn_verify_options *o)
{
	v->complete = true;
	if (o)
		v->finder = (struct finder){ .found = o->found,
					     .ctx = o->ctx,
					     .cancel = o->cancel };
}

int cairn_verify(const char *dir, const struct cairn_options *o,
		 const struct cairn_verify_options *vo,
		 struct cairn_verify_report *report)
{
	struct verify v = {
		.env = o && o->env ? o->env : env_posix(),
		.dir = dir,
	};
	int err;

	set_options(&v, vo);
	err = look(&v);
	if (!err)
		err = check_manifest(&v);
	if (!err)
		err = check_options(&v);
	if (!err)
		err = check_tables(&v);
	if (!err)
		err = check_logs(&v);
	if (!err)
		err = check_leftovers(&v);
	return finish(&v, err, report);
}

/* --------------------------------------------------------- an open database */

/* What is appended while a log is read may look like damage, but not again. */
static int check_open_log(struct verify *v, uint64_t number)
{
	struct cairn_db db;
	uint64_t records = 0;
	size_t failed;
	int err = CAIRN_ECORRUPT;

	db_for_check(&db, v->env, v->dir, NULL);
	for (int i = 0; i < OPEN_LOG_TRIES && err == CAIRN_ECORRUPT; i++) {
		struct recovery r = { 0 };

		records = 0;
		err = recover_check_logs(&db, &number, 1, &r, &failed,
					 &records);
	}
	v->report.log_records += records;
	return err;
}

/*
 * Logs that are being written end somewhere in a record, and those that are
 * done with vanish: neither is worth a word.
 */
static int check_open_logs(struct verify *v, struct cairn_db *db)
{
	uint64_t *logs, least;
	size_t n;
	int err;

	mutex_lock(&db->mu);
	least = version_set_log_number(db->versions);
	mutex_unlock(&db->mu);
	err = files_logs(&v->names, least, 0, &logs, &n);
	if (err)
		return err;
	for (size_t i = 0; i < n && !err; i++) {
		struct env_stat st;
		char *path = filename_wal(v->dir, logs[i]);

		v->report.logs++;
		err = path ? check_open_log(v, logs[i]) : error_nomem();
		if (err && path &&
		    env_stat(v->env, path, &st) == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
		else if (err)
			err = tell(v, err, path ? path : v->dir);
		free(path);
	}
	free(logs);
	return err;
}

static int open_manifest_damage(void *ctx, int code, uint64_t offset)
{
	struct verify *v = ctx;

	/* What is being appended now. */
	if (offset >= v->log_number)
		return CAIRN_OK;
	return facts_damage(ctx, code, offset);
}

/* As far as it had been written when the walk began. */
static int check_open_manifest(struct verify *v, struct cairn_db *db)
{
	const struct manifest_visitor visitor = {
		.ctx = v,
		.damage = open_manifest_damage,
	};
	struct manifest_facts f = { 0 };
	char *path;
	int err;

	v->manifest_number = version_set_manifest_number(db->versions);
	v->log_number = version_set_manifest_bytes(db->versions);
	path = filename_manifest(v->dir, v->manifest_number);
	err = path ? manifest_facts_read(v->env, path, &visitor, &f)
		   : error_nomem();
	/* A new one may have taken its place. */
	if (err == CAIRN_NOT_FOUND &&
	    v->manifest_number != version_set_manifest_number(db->versions))
		err = CAIRN_OK;
	else if (err == CAIRN_NOT_FOUND)
		err = tell(v, error_set(CAIRN_ECORRUPT, "%s: is missing", path),
			   path);
	else if (err)
		err = tell(v, err, path ? path : v->dir);
	manifest_facts_fini(&f);
	free(path);
	return err;
}

int cairn_verify_open(struct cairn_db *db,
		      const struct cairn_verify_options *vo,
		      struct cairn_verify_report *report)
{
	struct verify v = { .env = db->env, .dir = db->dir, .open = true };
	struct version *version;
	int err;

	set_options(&v, vo);
	/* While it is held its files stay. */
	mutex_lock(&db->mu);
	version = version_ref(version_set_current(db->versions));
	mutex_unlock(&db->mu);
	err = take_version(&v, version);
	if (!err)
		err = env_list(db->env, db->dir, &v.names);
	if (!err)
		err = check_open_manifest(&v, db);
	if (!err)
		err = check_tables(&v);
	if (!err)
		err = check_open_logs(&v, db);
	version_unref(version);
	db_readers_changed(db);
	return finish(&v, err, report);
}
