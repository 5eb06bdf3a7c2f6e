/* SPDX-License-Identifier: BSD-3-Clause */
/* Compactions, and logging edits. */
#include "engine/db/work.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/event.h"
#include "engine/db/invariants.h"
#include "engine/db/obsolete.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/thread.h"
#include "engine/db/work_impl.h"

/* After a compaction failed: at first and at most. */
#define RETRY_FIRST_US UINT64_C(100000)
#define RETRY_MAX_US   UINT64_C(5000000)
/* Failures in a row after which writers need not wait for compactions. */
#define FAILURES_HOPELESS 4
/* How often to look whether a problem span is over. */
#define PROBLEM_POLL_US UINT64_C(60000000)

void work_wake(struct work *w)
{
	assert_held(&w->db->mu);
	w->pick_due = true;
	cond_broadcast(&w->changed);
	cond_broadcast(&w->done);
}

/* ------------------------------------------------------------ the MANIFEST */

static void take_token(struct work *w)
{
	while (w->token_taken)
		cond_wait(&w->token_free, &w->db->mu);
	w->token_taken = true;
}

static void give_token(struct work *w)
{
	w->token_taken = false;
	cond_signal(&w->token_free);
}

/* A new MANIFEST is in force: nobody will read the one before. */
static void manifest_changed(struct work *w, uint64_t before)
{
	struct cairn_db *db = w->db;
	struct cairn_event e = {
		.kind = CAIRN_EVENT_MANIFEST_CREATED,
		.file_number = version_set_manifest_number(db->versions),
	};

	if (e.file_number == before)
		return;
	obsolete_add(db->obsolete, FILE_MANIFEST, before, 0);
	obsolete_edit_settled(db->obsolete);
	events_queue(db->events, &e);
}

int work_log_edit(struct work *w, struct version_edit *edit)
{
	struct cairn_db *db = w->db;
	struct version *v;
	uint64_t manifest;
	int err;

	assert_held(&db->mu);
	take_token(w);
	manifest = version_set_manifest_number(db->versions);
	version_set_advance_seqno(
		db->versions,
		atomic_load_explicit(&db->visible, memory_order_acquire));
	mutex_unlock(&db->mu);
	err = version_set_log(db->versions, edit, &v);
#ifdef CAIRN_INVARIANTS
	if (!err)
		invariants_assert(db, v, edit);
#endif
	mutex_lock(&db->mu);
	if (err) {
		obsolete_edit_unknown(db->obsolete, edit);
	} else {
		obsolete_drop_tables(db->obsolete, edit,
				     version_set_current(db->versions));
		version_set_install(db->versions, v);
		work_note_edit(w, edit);
		if (edit->has_log_number)
			obsolete_wals_below(db->obsolete, edit->log_number);
		manifest_changed(w, manifest);
	}
	give_token(w);
	return err;
}

int work_new_manifest(struct work *w)
{
	struct cairn_db *db = w->db;
	uint64_t manifest;
	int err;

	assert_held(&db->mu);
	take_token(w);
	manifest = version_set_manifest_number(db->versions);
	mutex_unlock(&db->mu);
	err = version_set_new_manifest(db->versions, NULL, NULL);
	mutex_lock(&db->mu);
	if (!err)
		manifest_changed(w, manifest);
	give_token(w);
	return err;
}

void work_take_image(struct work *w, struct version_set_image *out)
{
	struct cairn_db *db = w->db;

	assert_held(&db->mu);
	take_token(w);
	version_set_advance_seqno(
		db->versions,
		atomic_load_explicit(&db->visible, memory_order_acquire));
	version_set_take_image(db->versions, out);
	give_token(w);
}

void work_install_read_state(struct work *w)
{
	w->install_due = db_install_read_state(w->db) != CAIRN_OK;
	obsolete_wake(w->db->obsolete);
}

void work_post_tables(struct work *w, uint64_t job,
		      const struct version_edit *edit)
{
	for (size_t i = 0; i < edit->n_added; i++) {
		struct cairn_event e = {
			.kind = CAIRN_EVENT_TABLE_CREATED,
			.job = job,
			.file_number = edit->added[i].meta->number,
			.to_level = edit->added[i].level,
			.bytes_out = edit->added[i].meta->size,
		};

		events_queue(w->db->events, &e);
	}
}

void work_post_unmerged(struct work *w, uint64_t job,
			const struct job_result *r)
{
	char detail[128];
	struct cairn_event e = {
		.kind = CAIRN_EVENT_CORRUPTION,
		.job = job,
		.code = CAIRN_ECORRUPT,
		.reason = "merge operator",
		.detail = detail,
	};

	if (!r->keys_unmerged)
		return;
	snprintf(detail, sizeof(detail),
		 "%llu keys have merge operands that the operator cannot apply",
		 (unsigned long long)r->keys_unmerged);
	events_post(w->db->events, &e);
}

/* -------------------------------------------------------------------- jobs */

/* Whether a job bars others from something. Nothing that comes into level 0 is
 * in the way of what goes out of it. */
static bool has_plan(const struct job *j)
{
	return !j->is_flush && !(j->is_ingest && j->plan.to_level == 0);
}

/*
 * The rules of what may run beside what (picker.h), and that no file is the
 * input of two jobs.
 */
static void assert_no_conflict(const struct work *w, const struct job *j)
{
#ifndef NDEBUG
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < j->plan.n_inputs[side]; i++)
			assert(!j->plan.inputs[side][i]->job);
	list_for_each (pos, &w->jobs) {
		const struct job *k = list_entry(pos, struct job, link);

		assert(!has_plan(j) || !has_plan(k) ||
		       !compaction_plans_conflict(&j->plan, &k->plan));
	}
#else
	(void)w;
	(void)j;
#endif
}

static void mark_inputs(struct job *j, uint64_t id)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < j->plan.n_inputs[side]; i++)
			j->plan.inputs[side][i]->job = id;
}

int job_begin(struct work *w, struct job *j)
{
	struct cairn_db *db = w->db;
	int err;

	assert_held(&db->mu);
	err = snapshots_collect(db, &j->snapshots, &j->newest_user_snapshot);
	if (err)
		return err;
	assert_no_conflict(w, j);
	j->work = w;
	j->id = ++w->last_job;
	j->garbage_position = w->garbage_position;
	j->started_us = env_now_us(db->env);
	j->started_mono_us = env_mono_us(db->env);
	pace_begin(j);
	mark_inputs(j, j->id);
	list_add_tail(&w->jobs, &j->link);
	return CAIRN_OK;
}

void job_end(struct work *w, struct job *j)
{
	assert_held(&w->db->mu);
	mark_inputs(j, 0);
	list_remove(&j->link);
	work_wake(w);
}

static uint64_t new_file_number(void *ctx)
{
	struct job *j = ctx;

	return version_set_new_file_number(j->work->db->versions);
}

static bool is_cancelled(void *ctx)
{
	struct job *j = ctx;

	if (!pace_go_on(j))
		return true;
	if (j->is_flush)
		return false;
	return atomic_load_explicit(&j->work->cancel, memory_order_relaxed) ||
	       (j->manual &&
		work_manual_poll(j->manual,
				 atomic_load_explicit(&j->bytes_done,
						      memory_order_relaxed)));
}

void job_context(struct job *j, struct job_context *out)
{
	struct cairn_db *db = j->work->db;

	*out = (struct job_context){
		.env = db->env,
		.dir = db->dir,
		.tables = db->tables,
		.level_options = db->level_write,
		.new_file_number = new_file_number,
		.ctx = j,
		.cancelled = is_cancelled,
		.snapshots = (const uint64_t *)(const void *)j->snapshots.data,
		.n_snapshots = j->snapshots.len / sizeof(uint64_t),
		.newest_user_snapshot = j->newest_user_snapshot,
		.merge = db->opts.merge,
		.bytes_done = &j->bytes_done,
	};
}

uint64_t work_unflushed_seqno(const struct cairn_db *db)
{
	uint64_t smallest = UINT64_MAX;

	if (db->mem)
		smallest = memtable_smallest_seqno(db->mem);
	for (size_t i = 0; i < db->n_imm; i++) {
		uint64_t v = memtable_smallest_seqno(db->imm[i]);

		smallest = v < smallest ? v : smallest;
	}
	return smallest == UINT64_MAX ? 0 : smallest;
}

int running_plans_new(const struct work *w, bool with_problems,
		      struct running_plans *out)
{
	uint64_t newest_held;
	size_t n = 0;
	int err;

	*out = (struct running_plans){ 0 };
	err = snapshots_collect(w->db, &out->snapshots, &newest_held);
	if (err)
		return err;
	list_for_each (pos, &w->jobs)
		n++;
	n += work_problem_plans(w, NULL);
	out->plans =
		malloc((n ? n : 1) * sizeof(const struct compaction_plan *));
	if (!out->plans) {
		buf_fini(&out->snapshots);
		return error_nomem();
	}
	n = 0;
	list_for_each (pos, &w->jobs) {
		const struct job *j = list_entry(pos, struct job, link);

		if (has_plan(j))
			out->plans[n++] = &j->plan;
	}
	if (with_problems)
		n += work_problem_plans(w, out->plans + n);
	out->running = (struct picker_running){
		.plans = out->plans,
		.n = n,
		.snapshots =
			(const uint64_t *)(const void *)out->snapshots.data,
		.n_snapshots = out->snapshots.len / sizeof(uint64_t),
		.newest_held = newest_held,
		.garbage_position = w->garbage_position,
		.marked = w->marked.files,
		.n_marked = w->marked.n,
		.unflushed_seqno = work_unflushed_seqno(w->db),
	};
	return CAIRN_OK;
}

void running_plans_fini(struct running_plans *r)
{
	free(r->plans);
	buf_fini(&r->snapshots);
}

void work_targets(const struct work *w, struct level_targets *out)
{
	const struct picker_running none = { 0 };
	struct running_plans r;
	int err = running_plans_new(w, true, &r);

	picker_targets(version_set_current(w->db->versions), &w->db->picker,
		       err ? &none : &r.running, out);
	if (!err)
		running_plans_fini(&r);
}

void work_count(const struct work *w, struct work_counts *out)
{
	*out = (struct work_counts){ 0 };
	list_for_each (pos, &w->jobs) {
		struct job *j = list_entry(pos, struct job, link);

		out->written_bytes += atomic_load_explicit(
			&j->bytes_done, memory_order_relaxed);
		if (j->is_flush) {
			out->flush_running++;
			continue;
		}
		if (j->is_ingest)
			continue;
		out->compactions_running++;
		out->in_progress_bytes += j->bytes;
	}
}

static void job_free(struct job *j)
{
	if (!j)
		return;
	compaction_plan_fini(&j->plan);
	buf_fini(&j->snapshots);
	free(j);
}

/* -------------------------------------------------------------- compacting */

static void post_compaction(struct work *w, const struct job *j,
			    const struct job_result *r, int code, bool end)
{
	struct cairn_event e = {
		.kind = end ? CAIRN_EVENT_COMPACTION_END
			    : CAIRN_EVENT_COMPACTION_BEGIN,
		.job = j->id,
		.from_level = j->plan.from_level,
		.to_level = j->plan.to_level,
		.files_in = (int)(j->plan.n_inputs[0] + j->plan.n_inputs[1]),
		.bytes_in = j->bytes,
		.reason = j->plan.reason,
		.code = code,
		.detail = code ? cairn_errmsg() : NULL,
	};

	if (end) {
		e.files_out = (int)r->edit.n_added;
		e.bytes_out = r->bytes_out;
		e.duration_us = env_mono_us(w->db->env) - j->started_mono_us;
		if (!code)
			work_post_tables(w, j->id, &r->edit);
	}
	events_post(w->db->events, &e);
	if (end && !code)
		work_post_unmerged(w, j->id, r);
	if (end && code == CAIRN_ECORRUPT) {
		e.kind = CAIRN_EVENT_CORRUPTION;
		events_post(w->db->events, &e);
	}
}

/* The work itself, without mu. */
static int compact(struct work *w, struct job *j, const struct version *v,
		   struct job_result *r)
{
	struct compaction_options opts = {
		.version = v,
		.filter = w->db->opts.filter,
	};
	struct job_context ctx;
	int err;

	if (j->plan.trivial_move)
		return compaction_move_edit(&j->plan, &r->edit);
	job_context(j, &ctx);
	if (j->plan.kind == COMPACT_DROP) {
#ifdef CAIRN_INVARIANTS
		invariants_assert_dead(w->db, v, &j->plan, ctx.snapshots,
				       ctx.n_snapshots);
#endif
		return compaction_drop_edit(&j->plan, &r->edit);
	}
	err = compaction_run(&ctx, &j->plan, &opts, r);
	if (err == CAIRN_EABORTED && j->pace.no_space)
		err = error_set(CAIRN_ENOSPC,
				"%s: a compaction was given up: the last bytes "
				"of the disk are for the log and flushes",
				w->db->dir);
	return err;
}

/* Make the result the current version. mu held. */
static int install(struct work *w, struct job *j, struct job_result *r)
{
	struct cairn_db *db = w->db;
	int err;

	/* What the filter left it would leave again. */
	for (size_t i = 0;
	     j->plan.kind == COMPACT_GARBAGE && i < r->edit.n_added; i++)
		r->edit.added[i].meta->garbage_collected = j->garbage_position;
	err = work_log_edit(w, &r->edit);
	if (err) {
		work_set_error(w, ERROR_HARD, ERROR_OF_MANIFEST, err);
		return err;
	}
	if (j->plan.trivial_move) {
		stats_count_move(db->stats, &j->plan);
	} else if (j->plan.kind == COMPACT_DROP) {
		stats_count_drop(db->stats, &j->plan);
	} else {
		stats_count_compaction(db->stats, &j->plan, r);
		stats_add(&db->pinned_keys, r->entries_pinned);
	}
	work_install_read_state(w);
	stall_update(db);
	return CAIRN_OK;
}

bool work_compactions_fail(const struct work *w)
{
	struct work_counts counts;

	assert_held(&w->db->mu);
	work_count(w, &counts);
	return w->error.severity == ERROR_SOFT && !counts.compactions_running &&
	       (w->compact_failures >= FAILURES_HOPELESS ||
		(!list_empty(&w->problems) && !w->pick_due));
}

bool work_compactions_due(const struct work *w)
{
	struct work_counts counts;

	assert_held(&w->db->mu);
	work_count(w, &counts);
	return w->pick_due || counts.compactions_running;
}

/* A compaction of the threads' own ended. avoided: where it failed is a problem
 * span now. */
static void note_result(struct work *w, int err, bool avoided)
{
	uint64_t pause = RETRY_FIRST_US;

	if (!err) {
		w->compact_failures = 0;
		if (w->error.severity == ERROR_SOFT && list_empty(&w->problems))
			work_clear_error(w);
		return;
	}
	if (err == CAIRN_EABORTED)
		return;
	work_set_error(w, ERROR_SOFT, ERROR_OF_COMPACTION, err);
	/* Others than the one that met damage can go on at once. */
	if (avoided)
		return;
	for (unsigned i = 0; i < w->compact_failures && pause < RETRY_MAX_US;
	     i++)
		pause *= 2;
	w->compact_failures++;
	w->compact_retry_us = env_mono_us(w->db->env) + pause;
	stall_update(w->db);
}

int work_compact(struct work *w, struct job *j)
{
	struct cairn_db *db = w->db;
	bool manual = j->plan.kind == COMPACT_MANUAL;
	struct job_result r = { 0 };
	bool avoided;
	struct version *v;
	int err;

	j->bytes = j->plan.bytes[0] + j->plan.bytes[1];
	err = job_begin(w, j);
	if (err) {
		if (!manual)
			note_result(w, err, false);
		job_free(j);
		return err;
	}
	/* Now writers have something to wait for. */
	stall_update(db);
	v = version_ref(version_set_current(db->versions));
	mutex_unlock(&db->mu);
	post_compaction(w, j, NULL, CAIRN_OK, false);
	err = compact(w, j, v, &r);
	mutex_lock(&db->mu);
	if (!err)
		err = install(w, j, &r);
	if (err && err != CAIRN_EABORTED)
		db->stats->compactions_failed++;
	job_end(w, j);
	/* Before another thread picks the same again. */
	avoided = err == CAIRN_ECORRUPT &&
		  work_add_problem(w, j, r.damaged) == CAIRN_OK;
	if (!manual)
		note_result(w, err, avoided);
	mutex_unlock(&db->mu);

	post_compaction(w, j, &r, err, true);
	version_unref(v);
	job_result_fini(&r);
	obsolete_wake(db->obsolete);
	mutex_lock(&db->mu);
	job_free(j);
	return err;
}

static int pick(struct work *w, struct job **out)
{
	struct cairn_db *db = w->db;
	struct running_plans running;
	struct job *j = calloc(1, sizeof(*j));
	int err;

	if (!j)
		return error_nomem();
	err = running_plans_new(w, true, &running);
	if (!err) {
		err = picker_pick(version_set_current(db->versions),
				  &db->picker, &running.running, &j->plan);
		w->blocked_below = picker_blocked_below(&running.running);
		running_plans_fini(&running);
	}
	if (err) {
		free(j);
		return err;
	}
	*out = j;
	return CAIRN_OK;
}

/* How long until a compaction may be picked; 0: now; UINT64_MAX: not before
 * something changes. */
static uint64_t pause_us(const struct work *w)
{
	uint64_t now = env_mono_us(w->db->env);

	if (!w->started || !w->db->opts.auto_compactions || !w->pick_due ||
	    w->error.severity == ERROR_HARD)
		return UINT64_MAX;
	/* Not at the price of stalling the writers. */
	if (w->n_manual_urgent &&
	    version_set_current(w->db->versions)->n_sublevels <
		    w->db->opts.l0_slowdown)
		return UINT64_MAX;
	return now < w->compact_retry_us ? w->compact_retry_us - now : 0;
}

static void *compact_thread(void *arg)
{
	struct work *w = arg;
	struct cairn_db *db = w->db;
	struct job *j = NULL;
	uint64_t pause;
	int err;

	mutex_lock(&db->mu);
	while (!w->stop) {
		work_expire_problems(w);
		pause = pause_us(w);
		if (pause == UINT64_MAX && list_empty(&w->problems)) {
			cond_wait(&w->changed, &db->mu);
			continue;
		}
		if (pause) {
			cond_wait_us(&w->changed, &db->mu,
				     pause < PROBLEM_POLL_US ? pause
							     : PROBLEM_POLL_US);
			continue;
		}
		err = pick(w, &j);
		if (err == CAIRN_NOT_FOUND) {
			w->pick_due = false;
			stall_update(db);
			cond_broadcast(&w->done);
			continue;
		}
		if (err)
			note_result(w, err, false);
		else
			(void)!work_compact(w, j);
		mutex_unlock(&db->mu);
		events_drain(db->events);
		mutex_lock(&db->mu);
	}
	mutex_unlock(&db->mu);
	return NULL;
}

/* -------------------------------------------------------------- the object */

static int start_threads(struct work *w)
{
	int err = thread_start(&w->flush_thread, work_flush_thread, w);

	if (err)
		return err;
	w->have_flush_thread = true;
	while (!err && w->n_compact_threads < w->db->opts.max_background_jobs) {
		err = thread_start(&w->compact_threads[w->n_compact_threads],
				   compact_thread, w);
		if (!err)
			w->n_compact_threads++;
	}
	return err;
}

static void stop_threads(struct work *w)
{
	struct cairn_db *db = w->db;

	mutex_lock(&db->mu);
	w->stop = true;
	atomic_store_explicit(&w->cancel, true, memory_order_relaxed);
	work_wake(w);
	mutex_unlock(&db->mu);
	if (w->have_flush_thread)
		pthread_join(w->flush_thread, NULL);
	for (unsigned i = 0; i < w->n_compact_threads; i++)
		pthread_join(w->compact_threads[i], NULL);
	/* Manual ones, on their callers' threads. */
	mutex_lock(&db->mu);
	while (!list_empty(&w->jobs) || !list_empty(&w->manuals))
		cond_wait(&w->done, &db->mu);
	mutex_unlock(&db->mu);
}

static void destroy(struct work *w)
{
	work_problems_fini(w);
	work_marks_fini(w);
	cond_fini(&w->changed);
	cond_fini(&w->done);
	cond_fini(&w->token_free);
	pace_fini(&w->pace);
	free(w->compact_threads);
	free(w);
}

int work_new(struct cairn_db *db, struct work **out)
{
	struct work *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return error_nomem();
	w->compact_threads =
		calloc(db->opts.max_background_jobs, sizeof(pthread_t));
	if (!w->compact_threads) {
		free(w);
		return error_nomem();
	}
	w->db = db;
	pace_init(&w->pace);
	w->pick_due = true;
	/* Not at the price of those that are read. */
	w->n_to_count = db->opts.max_open_files / 2;
	list_init(&w->jobs);
	list_init(&w->problems);
	list_init(&w->manuals);
	cond_init(&w->changed);
	cond_init(&w->done);
	cond_init(&w->token_free);
	err = start_threads(w);
	if (err) {
		char why[256];

		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		stop_threads(w);
		destroy(w);
		return error_set(err, "%s", why);
	}
	*out = w;
	return CAIRN_OK;
}

void work_start(struct work *w)
{
	mutex_lock(&w->db->mu);
	w->started = true;
	work_wake(w);
	mutex_unlock(&w->db->mu);
}

void work_free(struct work *w)
{
	if (!w)
		return;
	stop_threads(w);
	destroy(w);
}
