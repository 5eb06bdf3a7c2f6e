/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repair. First everything is looked at, then new tables are written in a
 * directory of their own, then what will be replaced is linked into lost/, and
 * then a new MANIFEST counts. Up to that moment no file that was there has been
 * touched.
 *
 * When the MANIFEST can be read it is trusted: it says which tables count, and
 * where they are. Else all tables there are count, but those that what can be
 * read of MANIFESTs says were deleted, and they are merged by sequence number.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/open_files.h"
#include "engine/db/repair_impl.h"
#include "engine/version/filename.h"

#define TABLES_OPEN   64
#define SAME_NAME_MAX 1000

/* ------------------------------------------------------------ helpers */

struct repair_table *repair_add_table(struct repair *r)
{
	struct repair_table *more =
		realloc(r->tables, (r->n + 1) * sizeof(*more));

	if (!more) {
		(void)error_nomem();
		return NULL;
	}
	r->tables = more;
	more[r->n] = (struct repair_table){ 0 };
	return &more[r->n++];
}

uint64_t repair_new_number(void *ctx)
{
	struct repair *r = ctx;

	return r->next_file_number++;
}

static bool is_cancelled(void *ctx)
{
	const struct repair *r = ctx;

	return r->finder.cancel && *r->finder.cancel;
}

void repair_job(struct repair *r, struct job_context *out)
{
	*out = (struct job_context){
		.env = r->env,
		.dir = r->tmp_dir,
		.tables = r->cache,
		.level_options = r->level_write,
		.new_file_number = repair_new_number,
		.ctx = r,
		.cancelled = is_cancelled,
		.snapshots = &r->snapshot,
		.n_snapshots = 1,
	};
}

void repair_forget_tables(struct repair *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct repair_table *t = &r->tables[i];

		walk_result_fini(&t->found);
		salvage_blocks_fini(&t->blocks);
		file_meta_unref(t->meta);
		free(t->path);
	}
	free(r->tables);
	r->tables = NULL;
	r->n = 0;
}

struct repair_table *repair_table_of(struct repair *r, uint64_t number)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->tables[i].number == number)
			return &r->tables[i];
	return NULL;
}

/* ----------------------------------------------------- the directories */

/* Remove the temporary directory and what is in it. */
static int clear_tmp(struct repair *r)
{
	struct env_names names;
	int err = env_list(r->env, r->tmp_dir, &names);

	if (err == CAIRN_NOT_FOUND)
		return CAIRN_OK;
	for (size_t i = 0; i < (err ? 0 : names.n) && !err; i++) {
		char *path = filename_in(r->tmp_dir, names.names[i]);

		err = path ? env_unlink(r->env, path) : error_nomem();
		if (err == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
		free(path);
		if (err)
			env_names_free(&names);
	}
	if (err)
		return err;
	env_names_free(&names);
	return env_rmdir(r->env, r->tmp_dir);
}

static int make_tmp(struct repair *r)
{
	struct table_read_options read = { .prefix = r->opts.prefix };
	int err = clear_tmp(r);

	if (!err)
		err = env_mkdir(r->env, r->tmp_dir);
	if (!err)
		err = table_cache_new(r->env, r->tmp_dir, TABLES_OPEN, &read,
				      &r->cache);
	for (int i = 0; i < CAIRN_LEVELS; i++) {
		struct table_write_options *w = &r->level_write[i];

		options_table_write(&r->opts, i, w);
		if (r->merge_operator)
			w->merge_operator = r->merge_operator;
	}
	return err;
}

/* Whether two files hold the same. */
static int same_contents(struct repair *r, const char *a, const char *b,
			 bool *same)
{
	struct rfile *f[2] = { NULL, NULL };
	uint8_t bytes[2][4096];
	size_t got[2];
	uint64_t off = 0;
	int err = env_open_read(r->env, a, &f[0]);

	if (!err)
		err = env_open_read(r->env, b, &f[1]);
	*same = true;
	do {
		for (int i = 0; i < 2 && !err; i++)
			err = rfile_read(f[i], off, bytes[i], sizeof(bytes[i]),
					 &got[i]);
		if (err)
			break;
		*same = got[0] == got[1] && !memcmp(bytes[0], bytes[1], got[0]);
		off += got[0];
	} while (*same && got[0] == sizeof(bytes[0]));
	rfile_close(f[0]);
	rfile_close(f[1]);
	return err;
}

/* Copy where there are no hard links. */
static int keep_file(struct repair *r, const char *from, const char *to)
{
	struct env_stat st;
	int err = env_link(r->env, from, to);

	if (err != CAIRN_EIO && err != CAIRN_EACCES && err != CAIRN_ENOTSUP &&
	    err != CAIRN_EINVAL)
		return err;
	err = env_stat(r->env, from, &st);
	return err ? err : env_copy_file(r->env, from, to, st.size);
}

/* Keep a file of the directory in lost/, under its name or one like it. */
static int preserve(struct repair *r, const char *name)
{
	char *from = filename_in(r->dir, name);
	int err = from ? CAIRN_EEXIST : error_nomem();

	for (int i = 0; i < SAME_NAME_MAX && err == CAIRN_EEXIST; i++) {
		struct buf to = { 0 };
		bool same = false;

		err = i ? buf_printf(&to, "%s/%s.%d%c", r->lost_dir, name, i, 0)
			: buf_printf(&to, "%s/%s%c", r->lost_dir, name, 0);
		if (!err)
			err = keep_file(r, from, (char *)to.data);
		/* A repair that was cut short has been here. */
		if (err == CAIRN_EEXIST &&
		    !same_contents(r, from, (char *)to.data, &same) && same)
			err = CAIRN_OK;
		buf_fini(&to);
	}
	free(from);
	return err;
}

/* Whether a file of the directory is replaced, or of no use any more. */
static bool goes(struct repair *r, const char *name)
{
	const struct repair_table *t;
	uint64_t number;

	switch (filename_parse(name, &number)) {
	case FILE_TABLE:
	case FILE_TABLE_LDB:
		t = repair_table_of(r, number);
		return !t || !t->kept;
	case FILE_WAL:
		return r->logs_used;
	case FILE_MANIFEST:
	case FILE_CURRENT:
		return true;
	case FILE_OPTIONS:
		return r->options_bad && number == r->options_number;
	case FILE_UNKNOWN:
	case FILE_LOCK:
	case FILE_IDENTITY:
	case FILE_INFO_LOG:
	case FILE_TEMP:
	case FILE_BLOB:
		break;
	}
	return false;
}

static int preserve_all(struct repair *r)
{
	int err = env_mkdir(r->env, r->lost_dir);

	if (err == CAIRN_EEXIST)
		err = CAIRN_OK;
	for (size_t i = 0; i < r->names.n && !err; i++)
		if (goes(r, r->names.names[i]))
			err = preserve(r, r->names.names[i]);
	if (!err)
		err = env_sync_dir(r->env, r->lost_dir);
	return err ? err : env_sync_dir(r->env, r->dir);
}

/* Bring the new tables where they belong. Nothing names them yet. */
static int move_tables(struct repair *r)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->edit.n_added && !err; i++) {
		uint64_t number = r->edit.added[i].meta->number;
		char *from = filename_table(r->tmp_dir, number);
		char *to = filename_table(r->dir, number);
		struct env_stat st;

		err = from && to ? env_stat(r->env, from, &st) : error_nomem();
		if (!err)
			err = env_rename(r->env, from, to);
		else if (err == CAIRN_NOT_FOUND)
			err = CAIRN_OK; /* it is where it was */
		free(from);
		free(to);
	}
	if (!err)
		err = env_sync_dir(r->env, r->tmp_dir);
	return err ? err : env_sync_dir(r->env, r->dir);
}

/* The moment that counts. */
static int write_manifest(struct repair *r)
{
	const struct version_set_options opts = {
		.env = r->env,
		.dir = r->dir,
		.max_manifest_size = r->opts.max_manifest_size,
	};
	struct version_set *vs;
	int err = version_set_create(&opts, &vs);

	if (err)
		return err;
	version_set_mark_used(vs, r->next_file_number - 1);
	version_set_advance_seqno(vs, r->last_seqno);
	r->edit.has_log_number = true;
	r->edit.log_number =
		r->logs_used ? version_set_new_file_number(vs) : r->log_number;
	if (!r->logs_used) {
		r->edit.has_prev_log_number = true;
		r->edit.prev_log_number = r->prev_log_number;
		r->edit.has_min_log_to_keep = r->min_log_to_keep != 0;
		r->edit.min_log_to_keep = r->min_log_to_keep;
	}
	err = version_set_new_manifest(vs, &r->edit, NULL);
	version_set_free(vs);
	return err;
}

/* What was replaced is in lost/, and need not stay. */
static int remove_replaced(struct repair *r)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->names.n && !err; i++) {
		char *path;

		/* CURRENT is the new one by now. */
		if (!goes(r, r->names.names[i]) ||
		    !strcmp(r->names.names[i], "CURRENT"))
			continue;
		path = filename_in(r->dir, r->names.names[i]);
		err = path ? env_unlink(r->env, path) : error_nomem();
		free(path);
	}
	return err ? err : env_sync_dir(r->env, r->dir);
}

/* RocksDB looks for tables by this name first, and sometimes only. */
static int rename_ldb(struct repair *r)
{
	bool any = false;
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->n && !err; i++) {
		const struct repair_table *t = &r->tables[i];
		char *to;

		if (!t->ldb || !t->kept)
			continue;
		to = filename_table(r->dir, t->number);
		err = to ? env_rename(r->env, t->path, to) : error_nomem();
		free(to);
		any = true;
	}
	return err || !any ? err : env_sync_dir(r->env, r->dir);
}

/* --------------------------------------------------------------- the whole */

static int make_tables(struct repair *r)
{
	int err = CAIRN_OK;

	if (r->logs_bad || !r->trusted)
		err = repair_logs(r);
	if (!err && r->trusted) {
		err = repair_in_place(r);
		if (err != CAIRN_ECORRUPT)
			return err;
		/* The levels are not as they should be. */
		repair_distrust_places(r);
		version_edit_fini(&r->edit);
		r->edit = (struct version_edit){ 0 };
		r->report.tables_kept = r->report.tables_lost = 0;
		r->report.tables_rewritten = 0;
		r->report.entries_rewritten = 0;
		for (size_t i = 0; i < r->n; i++)
			r->tables[i].kept = false;
		err = r->logs_used ? CAIRN_OK : repair_logs(r);
	}
	return err ? err : repair_rebuild(r);
}

/* A copy of what is going to be, for who only wants to know. */
static int only_count(struct repair *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct repair_table *t = &r->tables[i];

		if (!t->path || (t->damaged && !t->blocks.n))
			r->report.tables_lost++;
		else if (t->damaged)
			r->report.tables_rewritten++;
		else
			r->report.tables_kept++;
	}
	return r->logs_bad || !r->trusted ? repair_logs(r) : CAIRN_OK;
}

static int commit(struct repair *r)
{
	int err = preserve_all(r);

	if (!err)
		err = move_tables(r);
	if (!err)
		err = write_manifest(r);
	if (!err)
		err = remove_replaced(r);
	if (!err)
		err = rename_ldb(r);
	return err;
}

static int check_upgrade(const struct repair *r)
{
	if (!r->leveldb || r->upgrade)
		return CAIRN_OK;
	return error_set(CAIRN_ENOTSUP,
			 "%s: a LevelDB database; repairing it makes it one of "
			 "RocksDB, which must be asked for",
			 r->dir);
}

static int run(struct repair *r)
{
	int err = repair_look(r);

	if (err)
		return err;
	r->report.damaged = repair_is_wrong(r);
	if (!r->report.damaged) {
		r->report.tables_kept = r->n;
		return CAIRN_OK;
	}
	err = check_upgrade(r);
	if (err)
		return err;
	r->report.repaired = true;
	if (r->dry_run)
		return only_count(r);
	err = make_tmp(r);
	if (!err)
		err = make_tables(r);
	if (!err)
		err = commit(r);
	return err;
}

/* Take the lock; a dry run only asks who has it. */
static int lock_dir(struct repair *r)
{
	char *path = filename_in(r->dir, "LOCK");
	struct cairn_holder *h = malloc(sizeof(*h));
	int err = path && h ? CAIRN_OK : error_nomem();

	if (!err && !r->dry_run) {
		r->made_lock = !names_have(&r->names, "LOCK");
		err = env_lock(r->env, path, "repair", &r->lock);
	} else if (!err) {
		err = env_holder(r->env, path, h);
		if (err == CAIRN_OK)
			err = error_set(CAIRN_EBUSY, "%s: held by process %ld",
					path, h->pid);
		else if (err == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
	}
	free(h);
	free(path);
	return err;
}

static int list_dir(struct repair *r)
{
	bool any = false;
	int err;

	env_names_free(&r->names);
	r->names = (struct env_names){ 0 };
	err = env_list(r->env, r->dir, &r->names);
	if (err) {
		r->names = (struct env_names){ 0 };
		if (err == CAIRN_NOT_FOUND)
			err = error_set(CAIRN_ENOENT, "%s: no such directory",
					r->dir);
		return err;
	}
	err = files_check_foreign(r->dir, &r->names);
	for (size_t i = 0; i < r->names.n && !any; i++) {
		uint64_t number;
		enum file_kind kind =
			filename_parse(r->names.names[i], &number);

		any = kind == FILE_CURRENT || kind == FILE_MANIFEST ||
		      kind == FILE_TABLE || kind == FILE_TABLE_LDB ||
		      kind == FILE_WAL;
	}
	if (!err && !any)
		err = error_set(CAIRN_ENOENT, "%s: there is no database",
				r->dir);
	return err;
}

/* Clearing up must not replace the message of a failure. */
static void repair_fini(struct repair *r)
{
	char why[1024];
	char *path;

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	if (r->cache)
		table_cache_free(r->cache);
	if (r->lock && r->tmp_dir)
		(void)!clear_tmp(r);
	if (r->lock && r->made_lock && !r->report.repaired) {
		path = filename_in(r->dir, "LOCK");
		if (path)
			(void)!env_unlink(r->env, path);
		free(path);
	}
	env_unlock(r->env, r->lock);
	version_edit_fini(&r->edit);
	repair_forget_tables(r);
	free(r->logs);
	free(r->merge_operator);
	version_set_free(r->versions);
	version_set_state_fini(&r->state);
	env_names_free(&r->names);
	free(r->tmp_dir);
	free(r->lost_dir);
	options_fini(&r->opts);
	(void)error_set(CAIRN_OK, "%s", why);
}

static int set_options(struct repair *r, const struct cairn_options *o,
		       const struct cairn_repair_options *ro)
{
	int err = CAIRN_OK;

	options_init(&r->opts);
	if (o)
		err = options_copy(o, &r->opts);
	if (err) {
		options_init(&r->opts);
		return err;
	}
	r->env = r->opts.env ? r->opts.env : env_posix();
	if (ro) {
		r->dry_run = ro->dry_run;
		r->upgrade = ro->upgrade;
		r->finder.found = ro->found;
		r->finder.ctx = ro->ctx;
		r->finder.cancel = ro->cancel;
	}
	r->tmp_dir = filename_in(r->dir, REPAIR_TMP_DIR);
	r->lost_dir = filename_in(r->dir, REPAIR_LOST_DIR);
	return r->tmp_dir && r->lost_dir ? CAIRN_OK : error_nomem();
}

int cairn_repair(const char *dir, const struct cairn_options *o,
		 const struct cairn_repair_options *ro,
		 struct cairn_repair_report *report)
{
	struct repair r = { .dir = dir };
	int err = set_options(&r, o, ro);

	if (!err)
		err = list_dir(&r);
	if (!err)
		err = lock_dir(&r);
	/* What was there before the lock may have changed. */
	if (!err)
		err = list_dir(&r);
	if (!err && !r.dry_run)
		err = clear_tmp(&r);
	if (!err)
		err = run(&r);
	if (err)
		r.report.repaired = false;
	if (report)
		*report = r.report;
	repair_fini(&r);
	return err;
}
