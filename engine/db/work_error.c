/* SPDX-License-Identifier: BSD-3-Clause */
/* The background error: latching it, refusing writes, and getting over it. */
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/db/commit.h"
#include "engine/db/event.h"
#include "engine/db/open_later.h"
#include "engine/db/stall.h"
#include "engine/db/work_impl.h"

/* Between attempts to recover: at first, and at most. */
#define PAUSE_FIRST_US UINT64_C(100000)
#define PAUSE_MAX_US   UINT64_C(2000000)

static const char *source_name(enum error_source source)
{
	switch (source) {
	case ERROR_OF_COMPACTION:
		return "compaction";
	case ERROR_OF_FLUSH:
		return "flush";
	case ERROR_OF_MANIFEST:
		return "MANIFEST";
	case ERROR_OF_WAL:
		return "WAL";
	}
	return "?";
}

void work_set_error(struct work *w, enum error_severity severity,
		    enum error_source source, int code)
{
	struct cairn_db *db = w->db;
	struct background_error *e = &w->error;
	struct cairn_event ev = {
		.kind = CAIRN_EVENT_BACKGROUND_ERROR,
		.code = code,
		.reason = source_name(source),
		.detail = cairn_errmsg(),
	};

	assert_held(&db->mu);
	if (severity <= e->severity)
		return;
	e->severity = severity;
	e->source = source;
	e->code = code;
	e->since_us = env_now_us(db->env);
	snprintf(e->message, sizeof(e->message), "%s", cairn_errmsg());
	w->error_pause_us = PAUSE_FIRST_US;
	w->error_retry_us = env_mono_us(db->env) + w->error_pause_us;
	atomic_store_explicit(&w->refuse_writes, severity == ERROR_HARD,
			      memory_order_release);
	events_queue(db->events, &ev);
	work_wake(w);
	stall_update(db);
}

static uint64_t age_us(const struct work *w)
{
	uint64_t now = env_now_us(w->db->env);

	/* The wall clock may have been set back. */
	return now > w->error.since_us ? now - w->error.since_us : 0;
}

void work_clear_error(struct work *w)
{
	struct cairn_event ev = {
		.kind = CAIRN_EVENT_RESUMED,
		.reason = source_name(w->error.source),
		.detail = w->error.message,
		.duration_us = age_us(w),
	};

	assert_held(&w->db->mu);
	events_queue(w->db->events, &ev);
	w->error = (struct background_error){ .severity = ERROR_NONE };
	w->compact_failures = 0;
	w->compact_retry_us = 0;
	atomic_store_explicit(&w->refuse_writes, false, memory_order_release);
	work_wake(w);
	stall_update(w->db);
}

const struct background_error *work_error(const struct work *w)
{
	assert_held(&w->db->mu);
	return &w->error;
}

bool work_refuses_writes(const struct work *w)
{
	return atomic_load_explicit(&w->refuse_writes, memory_order_acquire);
}

int work_check_writable(struct work *w)
{
	int err = CAIRN_OK;

	if (!work_refuses_writes(w))
		return CAIRN_OK;
	/* It may be over by now. */
	mutex_lock(&w->db->mu);
	if (w->error.severity == ERROR_HARD)
		err = work_refuse_locked(w);
	mutex_unlock(&w->db->mu);
	return err;
}

int work_refuse_locked(struct work *w)
{
	const struct background_error *e = work_error(w);

	if (e->code == CAIRN_ENOSPC)
		return error_set(CAIRN_ENOSPC,
				 "%s: nothing can be written until there is "
				 "space again: %s",
				 w->db->dir, e->message);
	return error_set(CAIRN_EROFS, "%s: read-only since the %s failed: %s",
			 w->db->dir, source_name(e->source), e->message);
}

int work_refuse(struct work *w)
{
	int err;

	mutex_lock(&w->db->mu);
	err = work_refuse_locked(w);
	mutex_unlock(&w->db->mu);
	return err;
}

/* -------------------------------------------------------------- recovering */

/* Whether trying again without being asked may help and cannot harm. */
static bool heals_alone(const struct work *w)
{
	const struct background_error *e = &w->error;

	if (e->code == CAIRN_ECORRUPT)
		return false;
	if (e->source == ERROR_OF_WAL && !w->db->opts.auto_resume)
		return e->code == CAIRN_ENOSPC;
	return true;
}

/* Give up a broken log. The memtables have all that was acknowledged. mu held,
 * let go meanwhile. */
static int replace_log(struct work *w)
{
	struct cairn_db *db = w->db;
	int err = CAIRN_OK;

	mutex_unlock(&db->mu);
	commit_lock_log(db->commit);
	if (commit_log_failed(db->commit))
		err = commit_replace_log(db->commit);
	commit_unlock_log(db->commit);
	mutex_lock(&db->mu);
	return err;
}

static bool all_ready(const struct cairn_db *db)
{
	for (size_t i = 0; i < db->n_imm; i++)
		if (memtable_has_writers(db->imm[i]))
			return false;
	return true;
}

/* Let writes in again, unless the new log failed meanwhile. mu held, let go. */
static int reopen_writes(struct work *w)
{
	struct cairn_db *db = w->db;
	bool failed;

	mutex_unlock(&db->mu);
	commit_lock_log(db->commit);
	failed = commit_log_failed(db->commit);
	if (!failed) {
		commit_recovered(db->commit);
		/* Before a sync of the log can fail again. */
		mutex_lock(&db->mu);
		work_clear_error(w);
		mutex_unlock(&db->mu);
	}
	commit_unlock_log(db->commit);
	mutex_lock(&db->mu);
	return failed ? error_set(CAIRN_EIO, "%s: the new WAL failed, too",
				  db->dir)
		      : CAIRN_OK;
}

static int recover(struct work *w)
{
	struct cairn_db *db = w->db;
	enum error_source source;
	int err = replace_log(w);

	if (err)
		return err;
	/* New batches are refused, and the last ones end by themselves. */
	while (!all_ready(db))
		cond_wait(&w->changed, &db->mu);
	if (db->n_imm) {
		/* The edit also says that the broken log is not needed. */
		err = work_flush(w, db->n_imm, &source);
		if (err)
			return err;
	}
	err = work_new_manifest(w);
	return err ? err : reopen_writes(w);
}

static void wait_to_heal(struct work *w, uint64_t now)
{
	if (!heals_alone(w))
		cond_wait(&w->changed, &w->db->mu);
	else
		cond_wait_us(&w->changed, &w->db->mu, w->error_retry_us - now);
}

void work_heal(struct work *w)
{
	struct cairn_db *db = w->db;
	uint64_t ticket = w->resume_wanted;
	uint64_t now = env_mono_us(db->env);
	int err;

	assert_held(&db->mu);
	if (ticket == w->resume_done &&
	    (!heals_alone(w) || now < w->error_retry_us)) {
		wait_to_heal(w, now);
		return;
	}
	err = recover(w);
	if (!err)
		open_finish(db);
	if (err) {
		snprintf(w->resume_message, sizeof(w->resume_message), "%s",
			 cairn_errmsg());
		w->error_pause_us *= 2;
		if (w->error_pause_us > PAUSE_MAX_US)
			w->error_pause_us = PAUSE_MAX_US;
		w->error_retry_us = env_mono_us(db->env) + w->error_pause_us;
	}
	w->resume_result = err;
	w->resume_done = ticket;
	cond_broadcast(&w->done);
}

int cairn_resume(struct cairn_db *db)
{
	struct work *w = db->work;
	uint64_t ticket;
	int err = CAIRN_OK;

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	mutex_lock(&db->mu);
	if (w->error.severity == ERROR_HARD) {
		ticket = ++w->resume_wanted;
		cond_broadcast(&w->changed);
		while (w->resume_done < ticket && !w->stop &&
		       w->error.severity == ERROR_HARD)
			cond_wait(&w->done, &db->mu);
		if (w->resume_done >= ticket && w->resume_result)
			err = error_set(w->resume_result, "%s",
					w->resume_message);
		else if (w->error.severity == ERROR_HARD)
			err = error_set(CAIRN_EABORTED, "%s: closing", db->dir);
	} else if (w->error.severity == ERROR_SOFT) {
		/* Compactions are tried again at once. */
		work_clear_error(w);
	}
	mutex_unlock(&db->mu);
	events_drain(db->events);
	return err;
}

int cairn_background_error(struct cairn_db *db, char *msg, size_t len)
{
	int code;

	if (msg && len)
		msg[0] = '\0';
	if (!db->work)
		return CAIRN_OK;
	mutex_lock(&db->mu);
	code = db->work->error.code;
	if (msg && len)
		snprintf(msg, len, "%s", db->work->error.message);
	mutex_unlock(&db->mu);
	return code;
}
