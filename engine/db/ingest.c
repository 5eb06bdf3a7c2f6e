/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adding finished tables.
 *
 * Everything slow comes first and changes nothing that counts: the tables are
 * looked at, brought into the directory and read. Then the log is taken, so
 * that no batch gets a number, all batches that have one become visible, and
 * the log is synced: what a power cut leaves is to be a prefix with the tables,
 * too. What memtables hold of the same keys is flushed. Each table gets a
 * sequence number of its own, for tables of level 0 must differ in it. The
 * MANIFEST gives it as smallest and largest seqno; the table itself goes on
 * saying 0, so that a linked one need not be written to. The numbers become
 * visible, all at once, when the edit is durable and the new version is the one
 * that reads begin with.
 *
 * A table goes to the deepest level where no level above it has an entry in its
 * range, and that has no file there, nor is about to get one. While the edit is
 * being written, a plan without inputs stands for each table among the running
 * jobs, so that no compaction begins that would write there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/plan.h"
#include "engine/db/commit.h"
#include "engine/db/event.h"
#include "engine/db/ingest_file.h"
#include "engine/db/obsolete.h"
#include "engine/db/space.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/work_impl.h"

/* Attempts to make a read state, and what lies between them: memory that is
 * short for a second is short for good. */
#define STATE_ATTEMPTS 100
#define STATE_PAUSE_US 10000

struct ingest {
	struct cairn_db *db;
	enum cairn_ingest_mode mode;
	struct ingest_file *files;
	size_t n;
	struct ingest_file **sorted; /* the same, by key */

	/* Of the tables in sorted, with the log taken. */
	int *level_limit;  /* the deepest level that comes into question */
	struct job **jobs; /* those that stand for them */
	uint64_t first_seqno;
	struct version_edit edit;
	bool logged; /* the edit may be in the MANIFEST: files belong to it */
};

/* ------------------------------------------------------------- the files */

static int by_smallest(const void *a, const void *b)
{
	const struct ingest_file *x = *(struct ingest_file *const *)a;
	const struct ingest_file *y = *(struct ingest_file *const *)b;

	return slice_cmp(x->smallest_key.user_key, y->smallest_key.user_key);
}

static bool ends_before_largest(const struct ingest_file *f)
{
	return f->largest_key.trailer ==
	       ikey_pack(SEQNO_MAX, KIND_RANGE_DELETE);
}

static int check_apart(struct ingest *in)
{
	qsort(in->sorted, in->n, sizeof(struct ingest_file *), by_smallest);
	for (size_t i = 1; i < in->n; i++) {
		const struct ingest_file *a = in->sorted[i - 1];
		const struct ingest_file *b = in->sorted[i];
		int c = slice_cmp(a->largest_key.user_key,
				  b->smallest_key.user_key);

		if (c > 0 || (c == 0 && !ends_before_largest(a)))
			return error_set(
				CAIRN_EINVAL,
				"%s and %s: their keys overlap; tables "
				"ingested together must not",
				a->path, b->path);
	}
	return CAIRN_OK;
}

/* Nothing below the MANIFEST knows of the files yet. */
static int gather(struct ingest *in)
{
	struct cairn_db *db = in->db;
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < in->n; i++)
		err = ingest_file_look(db, &in->files[i]);
	if (!err)
		err = check_apart(in);
	for (size_t i = 0; !err && i < in->n; i++)
		err = ingest_file_bring(db, in->mode, &in->files[i]);
	if (!err)
		err = env_sync_dir(db->env, db->dir);
	/* The files may have been changed since they were looked at. */
	for (size_t i = 0; !err && i < in->n; i++)
		err = ingest_file_verify(db, &in->files[i]);
	return err ? err : check_apart(in);
}

/* ----------------------------------------------------------------- overlap */

/* Whether an entry that it has is in the range of f; CAIRN_NOT_FOUND: none. */
static int find_entry(struct iter *it, const struct ingest_file *f)
{
	struct ikey first = ikey_seek(f->smallest_key.user_key, SEQNO_MAX);

	iter_seek_ge(it, &first);
	if (!it->valid)
		return it->status ? it->status : CAIRN_NOT_FOUND;
	return slice_cmp(it->key.user_key, f->largest_key.user_key) <= 0
		       ? CAIRN_OK
		       : CAIRN_NOT_FOUND;
}

static int in_memtable(struct memtable *m, const struct ingest_file *f)
{
	struct iter *it;
	int err = memtable_iter_new(m, &it);

	if (err)
		return err;
	if (it->scope &&
	    range_dels_meet(it->scope->set, f->smallest_key.user_key,
			    f->largest_key.user_key))
		err = CAIRN_OK;
	else
		err = find_entry(it, f);
	iter_close(it);
	return err;
}

static int in_memtables(const struct read_state *s, const struct ingest_file *f)
{
	int err = CAIRN_NOT_FOUND;

	for (size_t i = 0; err == CAIRN_NOT_FOUND && i < s->n_mems; i++)
		err = in_memtable(s->mems[i], f);
	return err;
}

/* A range tombstone counts wherever it is. */
static int in_table(struct cairn_db *db, const struct file_meta *t,
		    const struct ingest_file *f)
{
	struct table_ref *ref;
	struct iter *it;
	int err = table_cache_get(db->tables, t->number, t->size, &ref);

	if (err)
		return err;
	if (table_props(table_ref_table(ref))->range_deletions) {
		table_cache_release(db->tables, ref);
		return CAIRN_OK;
	}
	err = table_iter_new(table_ref_table(ref), TABLE_SCAN_NO_FILL, &it);
	if (!err) {
		err = find_entry(it, f);
		iter_close(it);
	}
	table_cache_release(db->tables, ref);
	return err;
}

static int in_level(struct cairn_db *db, const struct version_files *level,
		    const struct ingest_file *f)
{
	int err = CAIRN_NOT_FOUND;

	for (size_t i = 0; err == CAIRN_NOT_FOUND && i < level->n; i++)
		if (file_meta_overlaps(level->files[i],
				       f->smallest_key.user_key,
				       f->largest_key.user_key))
			err = in_table(db, level->files[i], f);
	return err;
}

/* The deepest level with no entry of f's range in it or above it; 0: none. */
static int limit_level(struct cairn_db *db, const struct read_state *s,
		       const struct ingest_file *f, int *limit)
{
	int err = in_memtables(s, f);
	int level = 0;

	while (err == CAIRN_NOT_FOUND && level < CAIRN_LEVELS) {
		err = in_level(db, &s->version->level[level], f);
		if (err == CAIRN_NOT_FOUND)
			level++;
	}
	if (err < 0)
		return err;
	*limit = level > 0 ? level - 1 : 0;
	return CAIRN_OK;
}

/* Whether memtables hold something of the range of any file. */
static int need_flush(const struct ingest *in, bool *need)
{
	struct read_state *s = read_state_ref_current(in->db->read_states);
	int err = CAIRN_NOT_FOUND;

	for (size_t i = 0; err == CAIRN_NOT_FOUND && i < in->n; i++)
		err = in_memtables(s, in->sorted[i]);
	read_state_unref(s);
	*need = err == CAIRN_OK;
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/*
 * Jobs that are running now move entries down only, so what is found here stays
 * true: no level up to the limit gets an entry of f's range.
 */
static int find_limits(struct ingest *in)
{
	struct read_state *s = read_state_ref_current(in->db->read_states);
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < in->n; i++)
		err = limit_level(in->db, s, in->sorted[i],
				  &in->level_limit[i]);
	read_state_unref(s);
	return err;
}

/* ------------------------------------------------------------- the levels */

static bool fits(const struct cairn_db *db, const struct compaction_plan *plan,
		 const struct picker_running *running)
{
	const struct version *v = version_set_current(db->versions);
	const struct range r = plan_range(plan);
	const struct run there = run_overlapping(&v->level[plan->to_level], &r);

	return there.begin == there.end && !plan_conflicts(plan, running);
}

/* Set the levels of a plan that stands for a table. mu held. */
static void choose_level(struct cairn_db *db, int limit, int base_level,
			 const struct picker_running *running,
			 struct compaction_plan *plan)
{
	for (int level = limit; level > 0 && level >= base_level; level--) {
		plan->from_level = plan->to_level = level;
		if (fits(db, plan, running))
			return;
	}
	plan->from_level = plan->to_level = 0;
}

/* Join the running jobs. mu held. */
static void begin_jobs(struct ingest *in)
{
	struct work *w = in->db->work;

	for (size_t i = 0; i < in->n; i++) {
		struct job *j = in->jobs[i];

		j->work = w;
		j->id = ++w->last_job;
		j->is_ingest = true;
		j->n_files = 1;
		j->bytes = in->sorted[i]->size;
		j->started_us = env_now_us(in->db->env);
		j->started_mono_us = env_mono_us(in->db->env);
		list_add_tail(&w->jobs, &j->link);
	}
}

static void end_jobs(struct ingest *in)
{
	for (size_t i = 0; i < in->n; i++)
		list_remove(&in->jobs[i]->link);
	work_wake(in->db->work);
}

/* mu held. */
static int choose_levels(struct ingest *in)
{
	struct cairn_db *db = in->db;
	struct level_targets targets;
	struct running_plans running;
	int err = running_plans_new(db->work, true, &running);

	if (err)
		return err;
	work_targets(db->work, &targets);
	for (size_t i = 0; i < in->n; i++) {
		struct compaction_plan *plan = &in->jobs[i]->plan;

		plan->smallest = in->sorted[i]->smallest_key.user_key;
		plan->largest = in->sorted[i]->largest_key.user_key;
		choose_level(db, in->level_limit[i], targets.base_level,
			     &running.running, plan);
		snprintf(plan->reason, sizeof(plan->reason), "ingestion");
	}
	running_plans_fini(&running);
	return CAIRN_OK;
}

/* mu held. */
static int make_edit(struct ingest *in)
{
	uint64_t now = env_now_us(in->db->env) / 1000000;
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < in->n; i++) {
		struct file_meta *m;

		err = ingest_file_meta(in->sorted[i], in->first_seqno + i, now,
				       &m);
		if (err)
			break;
		err = version_edit_add_file(&in->edit,
					    in->jobs[i]->plan.to_level, m);
		file_meta_unref(m);
	}
	return err;
}

/* -------------------------------------------------------------- installing */

/* The tables were read with no cache: this is the first it hears of them. */
static int tell_seqnos(struct ingest *in)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < in->n; i++)
		err = table_cache_set_seqno(in->db->tables,
					    in->sorted[i]->number,
					    in->first_seqno + i);
	return err;
}

/*
 * Readers must find the new version before they see the numbers. mu held, let
 * go while waiting.
 */
static int show(struct ingest *in)
{
	struct cairn_db *db = in->db;
	struct work *w = db->work;

	work_install_read_state(w);
	for (int i = 1; w->install_due && i < STATE_ATTEMPTS; i++) {
		cond_wait_us(&w->done, &db->mu, STATE_PAUSE_US);
		if (w->install_due)
			work_install_read_state(w);
	}
	if (w->install_due)
		return error_set(CAIRN_ENOMEM,
				 "%s: the tables are in, but cannot be shown "
				 "for lack of memory",
				 db->dir);
	commit_publish(db->commit, in->first_seqno + in->n - 1);
	return CAIRN_OK;
}

static void post_ingested(struct ingest *in)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct ingest_file *f = in->sorted[i];
		const struct job *j = in->jobs[i];
		struct cairn_event e = {
			.kind = CAIRN_EVENT_TABLE_INGESTED,
			.job = j->id,
			.file_number = f->number,
			.to_level = j->plan.to_level,
			.files_out = 1,
			.bytes_out = f->size,
			.duration_us =
				env_mono_us(in->db->env) - j->started_mono_us,
			.reason = f->path,
		};

		events_queue(in->db->events, &e);
		stats_count_ingested(in->db->stats, j->plan.to_level, f->size);
	}
}

/* Log the edit and make its version current. mu held, let go meanwhile. */
static int log_edit(struct ingest *in)
{
	struct cairn_db *db = in->db;
	int err = choose_levels(in);

	if (!err)
		err = make_edit(in);
	if (err)
		return err;
	begin_jobs(in);
	in->logged = true;
	err = work_log_edit(db->work, &in->edit);
	if (err) {
		work_set_error(db->work, ERROR_HARD, ERROR_OF_MANIFEST, err);
	} else {
		post_ingested(in);
		err = show(in);
		stall_update(db);
	}
	end_jobs(in);
	return err;
}

/* Nobody else gets a number meanwhile: the log is taken. */
static int install_locked(struct ingest *in)
{
	struct cairn_db *db = in->db;
	bool flush = false;
	int err;

	mutex_lock(&db->mu);
	err = work_check_usable(db->work);
	mutex_unlock(&db->mu);
	if (err)
		return err;
	commit_drain(db->commit);
	err = commit_sync(db->commit);
	if (!err)
		err = need_flush(in, &flush);
	if (!err && flush)
		err = work_flush_all(db->work);
	if (!err)
		err = find_limits(in);
	if (err)
		return err;
	in->first_seqno = commit_take_seqnos(db->commit, in->n);
	err = tell_seqnos(in);
	if (err)
		return err;
	mutex_lock(&db->mu);
	err = log_edit(in);
	mutex_unlock(&db->mu);
	return err;
}

static int install(struct ingest *in)
{
	struct cairn_db *db = in->db;
	bool flush = false;
	int err = need_flush(in, &flush);

	/* Most of it while writers go on. */
	if (!err && flush)
		err = cairn_flush(db, true);
	if (err)
		return err;
	commit_lock_log(db->commit);
	err = install_locked(in);
	commit_unlock_log(db->commit);
	return err;
}

/* --------------------------------------------------------------- the whole */

static void ingest_fini(struct ingest *in)
{
	for (size_t i = 0; in->jobs && i < in->n; i++)
		free(in->jobs[i]);
	for (size_t i = 0; in->files && i < in->n; i++)
		ingest_file_fini(&in->files[i]);
	version_edit_fini(&in->edit);
	free(in->jobs);
	free(in->level_limit);
	free(in->sorted);
	free(in->files);
}

static int ingest_init(struct ingest *in, const char *const *paths)
{
	in->files = calloc(in->n, sizeof(*in->files));
	in->sorted = calloc(in->n, sizeof(struct ingest_file *));
	in->level_limit = calloc(in->n, sizeof(*in->level_limit));
	in->jobs = calloc(in->n, sizeof(struct job *));
	if (!in->files || !in->sorted || !in->level_limit || !in->jobs)
		return error_nomem();
	for (size_t i = 0; i < in->n; i++) {
		in->files[i].path = paths[i];
		in->sorted[i] = &in->files[i];
		in->jobs[i] = calloc(1, sizeof(struct job));
		if (!in->jobs[i])
			return error_nomem();
	}
	return CAIRN_OK;
}

/* The tables that no edit names. */
static void take_back(struct ingest *in)
{
	for (size_t i = 0; i < in->n; i++) {
		if (in->files[i].own_path)
			table_cache_evict(in->db->tables, in->files[i].number);
		ingest_file_take_back(in->db, &in->files[i]);
	}
}

/* The names that were given: one that stays is no reason to fail now. */
static void drop_sources(struct ingest *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (env_unlink(in->db->env, in->files[i].path) < 0)
			events_log(in->db->events,
				   "[ingest] moved, but the old name stays: %s",
				   cairn_errmsg());
}

static int check_call(struct cairn_db *db, size_t n,
		      const struct cairn_ingest_options *o)
{
	int err;

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	err = work_check_writable(db->work);
	if (err)
		return err;
	if (!n)
		return error_set(CAIRN_EINVAL, "%s: no tables to ingest",
				 db->dir);
	if (o && o->mode != CAIRN_INGEST_COPY && o->mode != CAIRN_INGEST_LINK &&
	    o->mode != CAIRN_INGEST_MOVE)
		return error_set(CAIRN_EINVAL, "no ingest mode is %d",
				 (int)o->mode);
	return CAIRN_OK;
}

static int check_space(const struct ingest *in)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < in->n; i++)
		bytes += in->files[i].size;
	return space_check(in->db, bytes);
}

int cairn_ingest(struct cairn_db *db, const char *const *paths, size_t n,
		 const struct cairn_ingest_options *o)
{
	struct ingest in = {
		.db = db,
		.mode = o ? o->mode : CAIRN_INGEST_COPY,
		.n = n,
	};
	int err = check_call(db, n, o);

	if (err)
		return err;
	err = ingest_init(&in, paths);
	if (!err)
		err = gather(&in);
	if (!err)
		err = check_space(&in);
	if (!err)
		err = install(&in);
	if (err && !in.logged && in.files)
		take_back(&in);
	if (!err && in.mode == CAIRN_INGEST_MOVE)
		drop_sources(&in);
	events_drain(db->events);
	ingest_fini(&in);
	return err;
}
