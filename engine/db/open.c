/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and closing.
 *
 * Opening for writing makes new files only (tables of what the logs held, a
 * log, OPTIONS, a MANIFEST) and removes them again when anything fails. The
 * moment CURRENT names the new MANIFEST is the moment the directory changes;
 * old files are deleted after it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/memory_limit.h"
#include "engine/db/budget.h"
#include "engine/db/commit.h"
#include "engine/db/event.h"
#include "engine/db/invariants.h"
#include "engine/db/obsolete.h"
#include "engine/db/open_files.h"
#include "engine/db/open_later.h"
#include "engine/db/open_lost.h"
#include "engine/db/read_only.h"
#include "engine/db/recover.h"
#include "engine/db/space.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/upgrade.h"
#include "engine/db/work.h"
#include "engine/table/block_cache.h"
#include "engine/version/filename.h"

#define CURRENT_LEN_MAX 256
/* How often a directory that others write to is read from the start. */
#define READ_TRIES 10

struct opening {
	struct cairn_db *db;
	struct env_names names; /* of the directory, before any change */
	bool is_new;
	struct version_set_state state;
	bool made_lock;     /* there was no LOCK */
	struct buf current; /* contents of CURRENT, before any change */
	struct recovery recovery;
	struct version_edit edit; /* for the new MANIFEST */
	size_t n_upgraded;        /* files in it that were there before */
	bool made_options;
	bool keep_files; /* CURRENT may name the new MANIFEST */
	bool changed;    /* read-only: under us, by another program */
	bool no_space;   /* write nothing; see open_later.h */
};

/* ------------------------------------------------------------- the object */

int db_install_read_state(struct cairn_db *db)
{
	size_t n = db->n_imm + (db->mem ? 1 : 0);
	struct memtable **mems;
	size_t i = 0;
	int err;

	assert_held(&db->mu);
	mems = calloc(n ? n : 1, sizeof(struct memtable *));
	if (!mems)
		return error_nomem();
	if (db->mem)
		mems[i++] = db->mem;
	for (size_t k = db->n_imm; k > 0; k--)
		mems[i++] = db->imm[k - 1];
	err = read_states_install(db->read_states,
				  version_set_current(db->versions), mems, n);
	free(mems);
	return err;
}

void db_readers_changed(struct cairn_db *db)
{
	if (db->obsolete)
		obsolete_wake(db->obsolete);
}

static void db_free(struct cairn_db *db)
{
	if (!db)
		return;
	space_stop(db->space);
	work_free(db->work);
	commit_free(db->commit);
	stall_free(db->stall);
	if (db->read_states)
		read_states_free(db->read_states);
	obsolete_free(db->obsolete);
	db->obsolete = NULL;
	space_free(db->space);
	for (size_t i = 0; i < db->n_imm; i++)
		memtable_unref(db->imm[i]);
	free(db->imm);
	memtable_unref(db->mem);
	if (db->tables)
		table_cache_free(db->tables);
	if (db->cache)
		block_cache_free(db->cache);
	version_set_free(db->versions);
	open_later_free(db);
	events_free(db->events);
	free(db->stats);
	env_unlock(db->env, db->lock);
	mutex_fini(&db->mu);
	mutex_fini(&db->budget_mu);
	options_fini(&db->opts);
	buf_fini(&db->current);
	free(db->dir);
	free(db);
}

static void set_level_write(struct cairn_db *db)
{
	for (int i = 0; i < CAIRN_LEVELS; i++)
		options_table_write(&db->opts, i, &db->level_write[i]);
}

static int db_new(const char *dir, const struct cairn_options *o,
		  struct cairn_db **out)
{
	struct cairn_db *db = calloc(1, sizeof(*db));
	int err;

	if (!db)
		return error_nomem();
	mutex_init(&db->mu);
	mutex_init(&db->budget_mu);
	list_init(&db->snapshots);
	list_init(&db->iterators);
	err = options_copy(o, &db->opts);
	if (err) {
		options_init(&db->opts);
		goto fail;
	}
	budget_fit(&db->opts, memory_limit());
	db->env = o->env ? o->env : env_posix();
	db->opened_us = env_mono_us(db->env);
	db->dir = strdup(dir);
	db->stats = calloc(1, sizeof(*db->stats));
	if (!db->dir || !db->stats) {
		err = error_nomem();
		goto fail;
	}
	options_picker(&db->opts, &db->picker);
	set_level_write(db);
	err = events_new(db->env, dir, &db->opts.listener, &db->events);
	if (err)
		goto fail;
	err = read_states_new(db, &db->read_states);
	if (err)
		goto fail;
	*out = db;
	return CAIRN_OK;
fail:
	db_free(db);
	return err;
}

static int make_caches(struct cairn_db *db)
{
	int err =
		block_cache_new((size_t)db->opts.block_cache_size, &db->cache);

	if (err)
		return err;
	db->cache_capacity = db->opts.block_cache_size;
	db->table_read = (struct table_read_options){
		.cache = db->cache,
		.prefix = db->opts.prefix,
		.merge_operator = db->opts.merge ? db->opts.merge->name : NULL,
		.stats = &db->table_stats,
		.verify_at_open = db->opts.paranoid_checks,
	};
	err = table_cache_new(db->env, db->dir, (size_t)db->opts.max_open_files,
			      &db->table_read, &db->tables);
	return err ? err : files_tell_seqnos(db);
}

/* ------------------------------------------------------ what is there now */

/* Read the names in the directory. One that is not there is empty. When this
 * fails, the names read before stay: what is not among them is taken for ours
 * and removed. */
static int list_dir(struct opening *op)
{
	struct env_names names = { 0 };
	int err = env_list(op->db->env, op->db->dir, &names);

	if (err && err != CAIRN_NOT_FOUND)
		return err;
	env_names_free(&op->names);
	op->names = names;
	return files_check_foreign(op->db->dir, &op->names);
}

/* Whether the options allow to go on with what list_dir() found. */
static int check_wanted(struct opening *op)
{
	const struct cairn_options *o = &op->db->opts;
	const char *dir = op->db->dir;

	op->is_new = !names_have(&op->names, "CURRENT");
	if (!op->is_new && o->error_if_exists)
		return error_set(CAIRN_EEXIST,
				 "%s: there is a database already", dir);
	if (!op->is_new)
		return CAIRN_OK;
	if (!o->create_if_missing || o->read_only)
		return error_set(CAIRN_ENOENT, "%s: there is no database", dir);
	return files_check_empty(op->db->env, dir, &op->names);
}

static int make_dir(struct cairn_db *db)
{
	char *parent;
	int err = env_mkdir(db->env, db->dir);

	if (err == CAIRN_EEXIST)
		return CAIRN_OK;
	if (err)
		return err;
	parent = filename_parent(db->dir);
	if (!parent)
		return error_nomem();
	err = env_sync_dir(db->env, parent);
	free(parent);
	return err;
}

/* Look, lock, look again: the answer may have changed in between. */
static int lock_dir(struct opening *op)
{
	struct cairn_db *db = op->db;
	char *path;
	int err;

	err = list_dir(op);
	if (!err)
		err = check_wanted(op);
	if (!err && op->is_new)
		err = make_dir(db);
	if (err)
		return err;
	path = filename_in(db->dir, "LOCK");
	if (!path)
		return error_nomem();
	op->made_lock = !names_have(&op->names, "LOCK");
	err = env_lock(db->env, path, NULL, &db->lock);
	free(path);
	if (!err)
		err = list_dir(op);
	return err ? err : check_wanted(op);
}

/* What is there that cairn must not write to. */
static int check_state(const struct cairn_db *db,
		       const struct version_set_state *s)
{
	const char *dir = db->dir;

	if (db->opts.read_only)
		return CAIRN_OK;
	if (s->n_other_families)
		return error_set(CAIRN_ENOTSUP,
				 "%s: column family \"%s\" is not supported; "
				 "it can be opened read-only",
				 dir, s->other_families[0]);
	if (s->leveldb && !db->opts.upgrade)
		return error_set(CAIRN_ENOTSUP,
				 "%s: a LevelDB database; it can be opened "
				 "read-only, or converted (upgrade)",
				 dir);
	return CAIRN_OK;
}

/* What the store itself says of how it is to be used. */
static int adopt_options(struct opening *op)
{
	struct cairn_db *db = op->db;
	struct options_file file = { 0 };
	int err = files_read_options(db->env, db->dir, &op->names, &file);

	if (!err)
		err = options_adopt(&db->opts, &file);
	options_file_fini(&file);
	if (!err)
		set_level_write(db);
	return err;
}

static int load_versions(struct opening *op)
{
	struct cairn_db *db = op->db;
	struct version_set_options opts = {
		.env = db->env,
		.dir = db->dir,
		.max_manifest_size = db->opts.max_manifest_size,
	};
	int err;

	if (op->is_new) {
		err = version_set_create(&opts, &db->versions);
	} else {
		err = version_set_recover(&opts, &db->versions, &op->state);
		if (err == CAIRN_NOT_FOUND)
			err = error_set(CAIRN_ENOENT,
					"%s: there is no database", db->dir);
		if (!err)
			err = check_state(db, &op->state);
		if (!err)
			err = adopt_options(op);
		if (!err)
			err = version_set_check_files(db->versions);
	}
	if (!err)
		version_set_mark_used(db->versions,
				      files_max_number(&op->names));
	return err;
}

/* ----------------------------------------------------------------- replay */

static uint64_t new_file_number(void *ctx)
{
	struct cairn_db *db = ctx;

	return version_set_new_file_number(db->versions);
}

/* Write the memtables of the recovery to a table. */
static int spill(void *ctx)
{
	struct opening *op = ctx;
	struct cairn_db *db = op->db;
	uint64_t snapshot = op->recovery.last_seqno;
	struct job_context job = {
		.env = db->env,
		.dir = db->dir,
		.tables = db->tables,
		.level_options = db->level_write,
		.new_file_number = new_file_number,
		.ctx = db,
		.snapshots = &snapshot,
		.n_snapshots = 1,
		.merge = db->opts.merge,
	};
	struct job_result result = { 0 };
	int err;

	if (!op->recovery.n_mems)
		return CAIRN_OK;
	err = flush_run(&job, op->recovery.mems, op->recovery.n_mems, &result);
	for (size_t i = 0; !err && i < result.edit.n_added; i++)
		err = version_edit_add_file(&op->edit, 0,
					    result.edit.added[i].meta);
	if (!err)
		stats_count_flush(db->stats, &result);
	job_result_fini(&result);
	if (!err)
		recovery_clear(&op->recovery);
	return err;
}

/*
 * Without its last record a MANIFEST tells an older state, which is the newest
 * only if that record was never acknowledged. Then the log of that state is
 * still there: it goes when a later record is durable.
 */
static int check_torn_state(const struct opening *op, const uint64_t *logs,
			    size_t n)
{
	if (!op->state.manifest_torn || op->state.log_number == 0)
		return CAIRN_OK;
	for (size_t i = 0; i < n; i++)
		if (logs[i] == op->state.log_number)
			return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "%s/MANIFEST-%06" PRIu64
			 ": the last record is cut short, and %06" PRIu64
			 ".log, which the state before it needs, is missing",
			 op->db->dir, op->state.manifest_number,
			 op->state.log_number);
}

static int replay(struct opening *op)
{
	struct cairn_db *db = op->db;
	uint64_t least = op->state.log_number;
	uint64_t *logs;
	size_t n;
	int err;

	if (op->state.min_log_to_keep > least)
		least = op->state.min_log_to_keep;
	err = check_lost_logs(db, &op->state, least);
	if (!err)
		err = files_logs(&op->names, least, op->state.prev_log_number,
				 &logs, &n);
	if (err)
		return err;
	err = check_torn_state(op, logs, n);
	if (err) {
		free(logs);
		return err;
	}
	err = recover_logs(db, logs, n,
			   db->opts.read_only || op->no_space ? NULL : spill,
			   op, &op->recovery);
	if (!err) {
		version_set_advance_seqno(db->versions,
					  op->recovery.last_seqno);
		err = check_lost_records(db, &op->names, &op->state, logs, n,
					 &op->recovery);
	}
	free(logs);
	if (err)
		return err;
	atomic_store_explicit(&db->visible,
			      version_set_last_seqno(db->versions),
			      memory_order_release);
	return CAIRN_OK;
}

/* ---------------------------------------------------------------- writing */

static int read_current(struct opening *op, struct buf *out)
{
	char *path = filename_in(op->db->dir, "CURRENT");
	int err;

	if (!path)
		return error_nomem();
	buf_clear(out);
	err = env_read_file(op->db->env, path, CURRENT_LEN_MAX, out);
	free(path);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* Things that can fail, while nothing has changed yet. */
static int start_parts(struct opening *op)
{
	struct cairn_db *db = op->db;
	uint64_t log_number = version_set_new_file_number(db->versions);
	uint64_t next = version_set_last_seqno(db->versions) + 1;
	int err;

	op->edit.has_log_number = true;
	op->edit.log_number = log_number;
	err = stall_new(db, &db->stall);
	if (!err)
		err = space_new(db, &db->space);
	if (!err)
		err = obsolete_new(db, &db->obsolete);
	if (!err)
		err = work_new(db, &db->work);
	if (!err && op->no_space)
		err = commit_new_without_log(db, next, log_number, &db->commit);
	else if (!err)
		err = commit_new(db, next, log_number, &db->commit);
	return err;
}

static int write_small_files(struct opening *op)
{
	struct cairn_db *db = op->db;
	int err;

	err = files_write_identity(db, &op->names,
				   version_set_new_file_number(db->versions));
	if (err)
		return err;
	return files_write_options(db, &op->names,
				   version_set_new_file_number(db->versions),
				   &op->made_options);
}

/* The step that counts. */
static int write_manifest(struct opening *op)
{
	struct cairn_db *db = op->db;
	struct buf now = { 0 };
	struct version *v;
	char why[1024];
	int err;

	err = version_set_new_manifest(db->versions, &op->edit, &v);
#ifdef CAIRN_INVARIANTS
	if (!err)
		invariants_assert(db, v, &op->edit);
#endif
	if (!err) {
		op->keep_files = true;
		mutex_lock(&db->mu);
		version_set_install(db->versions, v);
		err = db_install_read_state(db);
		stall_update(db);
		mutex_unlock(&db->mu);
		return err;
	}
	/* Pointing CURRENT to it may have failed after it was done. */
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	op->keep_files = read_current(op, &now) ||
			 !slice_eq(buf_slice(&now), buf_slice(&op->current));
	buf_fini(&now);
	return error_set(err, "%s", why);
}

/* Whether opening makes files of that name. */
static bool is_made_here(const char *name)
{
	uint64_t number;

	switch (filename_parse(name, &number)) {
	case FILE_IDENTITY:
	case FILE_MANIFEST:
	case FILE_WAL:
	case FILE_TABLE:
	case FILE_OPTIONS:
	case FILE_TEMP:
		return true;
	case FILE_UNKNOWN:
	case FILE_LOCK:
	case FILE_CURRENT:
	case FILE_INFO_LOG:
	case FILE_TABLE_LDB:
	case FILE_BLOB:
		break;
	}
	return false;
}

/* Remove what was made: all that was not there when the directory had been
 * locked. The message of the failure stays. */
static void take_back(struct opening *op, int code)
{
	struct cairn_db *db = op->db;
	struct env_names now;
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	if (env_list(db->env, db->dir, &now) == CAIRN_OK) {
		for (size_t i = 0; i < now.n; i++) {
			char *path;

			if (!is_made_here(now.names[i]) ||
			    names_have(&op->names, now.names[i]))
				continue;
			path = filename_in(db->dir, now.names[i]);
			if (path)
				(void)!env_unlink(db->env, path);
			free(path);
		}
		env_names_free(&now);
	}
	/* While it is held: whoever opened it meanwhile finds it busy. */
	if (op->made_lock) {
		char *path = filename_in(db->dir, "LOCK");

		if (path)
			(void)!env_unlink(db->env, path);
		free(path);
	}
	(void)error_set(code, "%s", why);
}

static void post_opened(struct opening *op)
{
	struct cairn_db *db = op->db;
	struct cairn_event e = {
		.kind = CAIRN_EVENT_OPEN,
		.duration_us = env_mono_us(db->env) - db->opened_us,
	};

	events_log(db->events, "[open] cairn %s, RocksDB format %s, %s",
		   cairn_version(), CAIRN_ROCKSDB_VERSION, db->dir);
	if (op->state.leveldb && !db->opts.read_only)
		events_log(db->events,
			   "[open] a LevelDB database was converted: %zu "
			   "tables",
			   op->n_upgraded);
	for (size_t i = op->n_upgraded; i < op->edit.n_added; i++) {
		struct cairn_event made = {
			.kind = CAIRN_EVENT_TABLE_CREATED,
			.file_number = op->edit.added[i].meta->number,
			.bytes_out = op->edit.added[i].meta->size,
			.reason = "replay of the logs",
		};

		events_queue(db->events, &made);
	}
	if (op->edit.has_log_number) {
		struct cairn_event made = {
			.kind = CAIRN_EVENT_WAL_CREATED,
			.file_number = op->edit.log_number,
		};

		events_queue(db->events, &made);
		made.kind = CAIRN_EVENT_MANIFEST_CREATED;
		made.file_number = version_set_manifest_number(db->versions);
		events_queue(db->events, &made);
	}
	events_post(db->events, &e);
}

static int open_for_reading(struct opening *op);
static void opening_fini(struct opening *op);

/*
 * A directory without LOCK: making one, and taking it away again, would leave a
 * trace where the open is refused. So see first whether it will be.
 */
static int look_before(struct opening *op)
{
	struct opening probe = { 0 };
	struct cairn_options o;
	int err = list_dir(op);

	if (err || !names_have(&op->names, "CURRENT") ||
	    names_have(&op->names, "LOCK"))
		return err;
	err = options_copy(&op->db->opts, &o);
	if (err)
		return err;
	o.read_only = true;
	o.error_if_exists = false;
	o.listener = (struct cairn_listener){ 0 };
	err = db_new(op->db->dir, &o, &probe.db);
	if (!err)
		err = open_for_reading(&probe);
	if (!err)
		err = check_state(op->db, &probe.state);
	/* Others were there just now: the lock decides. */
	if (probe.changed)
		err = CAIRN_OK;
	if (err) {
		char why[1024];

		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		db_free(probe.db);
		(void)error_set(err, "%s", why);
	} else {
		db_free(probe.db);
	}
	opening_fini(&probe);
	options_fini(&o);
	return err;
}

/* The tables of LevelDB become RocksDB's, when the MANIFEST is written. */
static int upgrade(struct opening *op)
{
	int err;

	if (op->is_new || !op->state.leveldb)
		return CAIRN_OK;
	err = upgrade_read_tables(op->db, &op->edit);
	if (!err)
		err = upgrade_link_tables(op->db, &op->names);
	op->n_upgraded = op->edit.n_added;
	return err;
}

static int open_for_writing(struct opening *op)
{
	struct cairn_db *db = op->db;
	int err = look_before(op);

	if (!err)
		err = lock_dir(op);
	if (!err)
		err = read_current(op, &op->current);
	if (!err)
		err = load_versions(op);
	if (!err)
		err = make_caches(db);
	if (!err)
		err = upgrade(op);
	if (!err)
		err = replay(op);
	if (!err)
		err = spill(op);
	if (!err)
		err = start_parts(op);
	if (!err)
		err = write_small_files(op);
	if (!err)
		err = write_manifest(op);
	if (err) {
		if (!op->keep_files && db->lock)
			take_back(op, err);
		return err;
	}
	space_look(db);
	budget_update(db);
	env_lock_note(db->env, db->lock,
		      db->opts.lock_note ? db->opts.lock_note : "");
	events_open_log(db->events);
	post_opened(op);
	files_sweep(db, &op->names, op->made_options, op->state.leveldb);
	work_start(db->work);
	return CAIRN_OK;
}

/* What was replayed is the database's from now on. */
static int keep_memtables(struct opening *op)
{
	struct cairn_db *db = op->db;
	int err;

	db->imm = op->recovery.mems;
	db->n_imm = op->recovery.n_mems;
	db->imm_cap = op->recovery.mems_cap;
	op->recovery = (struct recovery){ 0 };
	mutex_lock(&db->mu);
	err = db_install_read_state(db);
	mutex_unlock(&db->mu);
	return err;
}

/*
 * There is no space for the files that opening makes: do with those that are
 * there, and refuse writes until there is space. why is what failed.
 */
static int open_without_space(struct opening *op, const char *why)
{
	struct cairn_db *db = op->db;
	int err;

	op->no_space = true;
	err = lock_dir(op);
	if (!err)
		err = load_versions(op);
	if (!err)
		err = make_caches(db);
	if (!err)
		err = replay(op);
	if (!err)
		err = start_parts(op);
	if (!err)
		err = keep_memtables(op);
	if (!err)
		err = open_later_new(db, &op->names);
	if (err)
		return err;
	op->edit.has_log_number = false;
	env_lock_note(db->env, db->lock,
		      db->opts.lock_note ? db->opts.lock_note : "");
	(void)error_set(CAIRN_ENOSPC, "%s", why);
	mutex_lock(&db->mu);
	work_set_error(db->work, ERROR_HARD, ERROR_OF_WAL, CAIRN_ENOSPC);
	mutex_unlock(&db->mu);
	post_opened(op);
	work_start(db->work);
	return CAIRN_OK;
}

/* The outcome of reading the directory, in which files may have changed. */
static int judge_reading(struct opening *op, int err)
{
	char why[1024];
	int now;

	/* What was found at a glance does not depend on other files. */
	if (op->is_new || err == CAIRN_EBUSY || err == CAIRN_ENOMEM)
		return err;
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	now = read_only_check(op->db);
	op->changed = now == CAIRN_EABORTED;
	if (now == CAIRN_EBUSY || op->changed || !err)
		return now;
	return error_set(err, "%s", why);
}

static int open_for_reading(struct opening *op)
{
	struct cairn_db *db = op->db;
	int err = list_dir(op);

	if (!err)
		err = check_wanted(op);
	if (!err)
		err = read_only_begin(db);
	if (!err)
		err = load_versions(op);
	if (!err)
		err = make_caches(db);
	if (!err)
		err = replay(op);
	err = judge_reading(op, err);
	if (err)
		return err;
	err = keep_memtables(op);
	if (!err)
		post_opened(op);
	return err;
}

static void opening_fini(struct opening *op)
{
	env_names_free(&op->names);
	version_set_state_fini(&op->state);
	buf_fini(&op->current);
	recovery_fini(&op->recovery);
	version_edit_fini(&op->edit);
}

/* Whether a failed opening can do without writing. */
static bool can_wait_for_space(const struct opening *op, int err)
{
	return err == CAIRN_ENOSPC && !op->db->opts.read_only && !op->is_new &&
	       !op->state.leveldb && !op->keep_files && op->db->lock;
}

static void give_up(struct opening *op, int err)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	db_free(op->db);
	op->db = NULL;
	(void)error_set(err, "%s", why);
}

static int open_later(const char *dir, const struct cairn_options *o,
		      struct cairn_db **out)
{
	struct opening op = { 0 };
	char why[1024];
	int err;

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	err = db_new(dir, o, &op.db);
	if (err)
		return err;
	err = open_without_space(&op, why);
	if (err)
		give_up(&op, err);
	else
		*out = op.db;
	opening_fini(&op);
	return err;
}

static int open_once(const char *dir, const struct cairn_options *o,
		     bool *changed, struct cairn_db **out)
{
	struct opening op = { 0 };
	bool later;
	int err = db_new(dir, o, &op.db);

	if (err)
		return err;
	err = o->read_only ? open_for_reading(&op) : open_for_writing(&op);
	later = can_wait_for_space(&op, err);
	if (err)
		give_up(&op, err);
	else
		*out = op.db;
	*changed = op.changed;
	opening_fini(&op);
	return later ? open_later(dir, o, out) : err;
}

int cairn_open(const char *dir, const struct cairn_options *o,
	       struct cairn_db **out)
{
	struct cairn_options defaults;
	bool changed = true;
	int err;

	if (!o) {
		options_init(&defaults);
		o = &defaults;
	}
	err = options_check(o);
	for (int tries = 0; !err && changed && tries < READ_TRIES; tries++) {
		err = open_once(dir, o, &changed, out);
		if (err == CAIRN_EABORTED && changed && tries + 1 < READ_TRIES)
			err = CAIRN_OK;
		else
			changed = false;
	}
	return err == CAIRN_EABORTED
		       ? error_set(CAIRN_EBUSY,
				   "%s: other programs write to it, time and "
				   "again",
				   dir)
		       : err;
}

/* ------------------------------------------------------------------- close */

static int check_unused(struct cairn_db *db)
{
	size_t n_snapshots = 0;
	size_t n_iterators, n_writers;

	mutex_lock(&db->mu);
	n_writers = stall_n_waiting(db->stall);
	n_iterators = db->n_iterators;
	list_for_each (pos, &db->snapshots)
		n_snapshots++;
	mutex_unlock(&db->mu);
	if (n_iterators || n_snapshots)
		return error_set(CAIRN_EBUSY,
				 "%s: %zu iterators and %zu snapshots are open",
				 db->dir, n_iterators, n_snapshots);
	/* The caller's mistake, but one that would be hard to find. */
	if (n_writers)
		return error_set(CAIRN_EBUSY, "%s: %zu writers wait", db->dir,
				 n_writers);
	return CAIRN_OK;
}

/*
 * Leave nothing in the log, so that nothing need be replayed, and nothing is
 * lost if the log is damaged while the database is closed. When there is no
 * room for a table the log does, for what is in it.
 */
static int save(struct cairn_db *db)
{
	bool unfinished;
	uint64_t unlogged, unflushed;
	char why[1024];
	int flushed, err;

	mutex_lock(&db->mu);
	unfinished = open_is_unfinished(db) && work_refuses_writes(db->work);
	mutex_unlock(&db->mu);
	/* Nothing was written since. */
	if (unfinished)
		return CAIRN_OK;
	flushed = cairn_flush(db, true);
	if (!flushed)
		return CAIRN_OK;
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	commit_lock_log(db->commit);
	err = commit_sync(db->commit);
	unlogged = commit_last_unlogged(db->commit);
	commit_unlock_log(db->commit);
	mutex_lock(&db->mu);
	unflushed = work_unflushed_seqno(db);
	mutex_unlock(&db->mu);
	if (!err && unflushed && unflushed <= unlogged)
		err = error_set(flushed, "writes without a WAL are lost: %s",
				why);
	return err;
}

int cairn_close(struct cairn_db *db)
{
	struct cairn_event e = { .kind = CAIRN_EVENT_CLOSE };
	char why[1024];
	int err = check_unused(db);

	if (err)
		return err;
	if (!db->opts.read_only) {
		space_stop(db->space);
		err = save(db);
		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		mutex_lock(&db->mu);
		db->closing = true;
		stall_update(db);
		mutex_unlock(&db->mu);
		work_free(db->work);
		db->work = NULL;
		obsolete_free(db->obsolete);
		db->obsolete = NULL;
	}
	e.code = err;
	events_post(db->events, &e);
	db_free(db);
	return err ? error_set(err, "%s", why) : CAIRN_OK;
}

int cairn_lock_holder(const char *dir, struct cairn_holder *out)
{
	char *path = filename_in(dir, "LOCK");
	int err;

	if (!path)
		return error_nomem();
	err = env_holder(env_posix(), path, out);
	free(path);
	return err;
}
