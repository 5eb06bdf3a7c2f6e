/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compactions that somebody asked for, on that one's thread: level by level
 * downwards, and each level in pieces, so that what is done stays done, space
 * is given back on the way, and others find gaps.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/work_impl.h"

/* How often to look at the caller's flag while waiting for other jobs. */
#define POLL_US 20000

/* After so many jobs of others it could not pass, no new ones begin. */
#define PATIENCE 3

/* Progress is told about so many times, and not for less than that. */
#define TELLS      100
#define TELL_BYTES 4096

struct manual {
	struct list link; /* in work.manuals */
	struct work *w;
	uint64_t id;
	uint64_t started_us; /* wall clock */
	const struct cairn_compact_options *o;
	/* Files from this number on were written since it began. */
	uint64_t first_new;
	struct buf from; /* what is left of the level begins here */
	struct buf to;
	struct buf next;

	/* For those who look on; relaxed. */
	_Atomic int level;
	_Atomic bool running; /* a step; else it waits */
	_Atomic bool cancelled;
	_Atomic uint64_t bytes_done;
	_Atomic uint64_t bytes_total;

	/* The caller's thread only. */
	uint64_t done_before; /* this step */
	uint64_t tell_at;
};

/* Whether the caller or cairn_cancel_job() wants an end. */
static bool is_cancelled(const struct manual *m)
{
	/* Another thread sets the flag, without a lock. */
	return atomic_load_explicit(&m->cancelled, memory_order_relaxed) ||
	       (m->o->cancel &&
		__atomic_load_n(m->o->cancel, __ATOMIC_RELAXED));
}

/* mu held. */
static int check_going_on(const struct manual *m)
{
	struct work *w = m->w;

	if (w->stop || w->db->closing)
		return error_set(CAIRN_EABORTED, "%s: closing", w->db->dir);
	if (is_cancelled(m))
		return error_set(CAIRN_EABORTED, "compaction was cancelled");
	if (w->error.severity == ERROR_HARD)
		return work_refuse_locked(w);
	return CAIRN_OK;
}

/* ---------------------------------------------------------------- progress */

/* So much of the bytes is done; the total was a guess. */
static void set_done(struct manual *m, uint64_t done)
{
	if (done > atomic_load_explicit(&m->bytes_total, memory_order_relaxed))
		atomic_store_explicit(&m->bytes_total, done,
				      memory_order_relaxed);
	atomic_store_explicit(&m->bytes_done, done, memory_order_relaxed);
}

static void tell(struct manual *m)
{
	const struct cairn_compact_progress p = {
		.job = m->id,
		.level = atomic_load_explicit(&m->level, memory_order_relaxed),
		.bytes_done = atomic_load_explicit(&m->bytes_done,
						   memory_order_relaxed),
		.bytes_total = atomic_load_explicit(&m->bytes_total,
						    memory_order_relaxed),
	};
	uint64_t step = p.bytes_total / TELLS;

	if (!m->o->progress)
		return;
	m->tell_at = p.bytes_done + (step > TELL_BYTES ? step : TELL_BYTES);
	m->o->progress(m->o->ctx, &p);
}

bool work_manual_poll(struct manual *m, uint64_t job_bytes)
{
	set_done(m, m->done_before + job_bytes);
	if (m->done_before + job_bytes >= m->tell_at)
		tell(m);
	return is_cancelled(m);
}

/* Bytes that will be read: what is in the range goes from level to level, and
 * is merged with what is there. mu held. */
static uint64_t estimate(const struct manual *m)
{
	const struct version *v = version_set_current(m->w->db->versions);
	const struct cairn_slice from = m->o->from, to = m->o->to;
	uint64_t arriving = 0, total = 0, size = 0;

	for (int level = 0; level < CAIRN_LEVELS; level++) {
		const struct version_files *files = &v->level[level];
		struct ikey first = { from, UINT64_MAX };
		size_t i = level && from.data ? version_find_file(files, &first)
					      : 0;

		size = 0;
		for (; i < files->n; i++) {
			if (level && to.data &&
			    slice_cmp(files->files[i]->smallest_key.user_key,
				      to) > 0)
				break;
			if (file_meta_overlaps(files->files[i], from, to))
				size += files->files[i]->size;
		}
		if (arriving && size)
			total += arriving + size;
		arriving += size;
	}
	/* All in one level: rewritten there. */
	return total ? total : arriving;
}

/* ------------------------------------------------------------------- steps */

/* The first file of level from the cursor on that is older than limit. */
static const struct file_meta *find_file(const struct manual *m, int level,
					 uint64_t limit)
{
	const struct version_files *files =
		&version_set_current(m->w->db->versions)->level[level];
	const struct cairn_slice from = { m->from.data, m->from.len };
	const struct cairn_slice to = { m->to.data, m->to.len };
	struct ikey first = { from, UINT64_MAX };
	size_t i = level && from.data ? version_find_file(files, &first) : 0;

	for (; i < files->n; i++)
		if (files->files[i]->number < limit &&
		    file_meta_overlaps(files->files[i], from, to))
			return files->files[i];
	return NULL;
}

static int last_level(const struct manual *m)
{
	const struct version *v = version_set_current(m->w->db->versions);
	int level = CAIRN_LEVELS - 1;

	while (level > 0 && !v->level[level].n)
		level--;
	return level;
}

/* The place behind the files that the plan takes from its level. */
static int set_next(struct manual *m, const struct compaction_plan *p)
{
	const struct file_meta *last = p->inputs[0][p->n_inputs[0] - 1];
	int err = buf_set(&m->next, last->largest_key.user_key);

	return err ? err : buf_append(&m->next, "", 1);
}

static int pick(struct manual *m, int level, bool bottom, struct job **out)
{
	struct cairn_db *db = m->w->db;
	struct running_plans running;
	struct job *j = calloc(1, sizeof(*j));
	int err;

	if (!j)
		return error_nomem();
	err = running_plans_new(m->w, false, &running);
	if (!err) {
		err = picker_pick_manual(
			version_set_current(db->versions), &db->picker,
			&running.running, level, bottom,
			(struct cairn_slice){ m->from.data, m->from.len },
			(struct cairn_slice){ m->to.data, m->to.len },
			&j->plan);
		running_plans_fini(&running);
	}
	if (!err && level > 0) {
		err = set_next(m, &j->plan);
		if (err)
			compaction_plan_fini(&j->plan);
	}
	if (err) {
		free(j);
		return err;
	}
	j->manual = m;
	*out = j;
	return CAIRN_OK;
}

static int run_job(struct manual *m, struct job *j)
{
	uint64_t bytes = j->plan.bytes[0] + j->plan.bytes[1];
	int err;

	m->done_before =
		atomic_load_explicit(&m->bytes_done, memory_order_relaxed);
	atomic_store_explicit(&m->running, true, memory_order_relaxed);
	err = work_compact(m->w, j);
	atomic_store_explicit(&m->running, false, memory_order_relaxed);
	if (!err)
		set_done(m, m->done_before + bytes);
	return err;
}

/* One job, waiting for those in its way. CAIRN_NOT_FOUND: nothing to do. */
static int step(struct manual *m, int level, bool bottom)
{
	struct work *w = m->w;
	unsigned waits = 0;
	struct job *j = NULL;
	int err;

	atomic_store_explicit(&m->level, level, memory_order_relaxed);
	for (;;) {
		err = check_going_on(m);
		if (!err)
			err = pick(m, level, bottom, &j);
		if (err != CAIRN_EBUSY)
			break;
		if (++waits == PATIENCE)
			w->n_manual_urgent++;
		cond_wait_us(&w->done, &w->db->mu, POLL_US);
	}
	if (waits >= PATIENCE) {
		w->n_manual_urgent--;
		cond_broadcast(&w->changed);
	}
	return err ? err : run_job(m, j);
}

/* What the next steps are for. */
static int set_range(struct manual *m, struct cairn_slice from,
		     struct cairn_slice to)
{
	int err = CAIRN_OK;

	buf_fini(&m->from);
	buf_fini(&m->to);
	/* An empty key is a bound, no key is none. */
	if (from.data)
		err = buf_reserve(&m->from, from.len + 1);
	if (!err && from.data)
		err = buf_set(&m->from, from);
	if (!err && to.data)
		err = buf_reserve(&m->to, to.len + 1);
	if (!err && to.data)
		err = buf_set(&m->to, to);
	return err;
}

/* On to behind what the last step took. */
static void advance(struct manual *m)
{
	struct buf from = m->from;

	m->from = m->next;
	m->next = from;
}

/* All of a level that is in the range goes to the next one; what comes in
 * behind the cursor meanwhile may stay. */
static int compact_level(struct manual *m, int level)
{
	int err = set_range(m, m->o->from, m->o->to);

	while (!err && find_file(m, level, UINT64_MAX)) {
		err = step(m, level, false);
		/* Others may have taken them. */
		if (err == CAIRN_NOT_FOUND)
			return CAIRN_OK;
		/* Level 0 is taken as a whole. */
		if (err || level == 0)
			return err;
		advance(m);
	}
	return err;
}

/* Set the range to old neighbours in a level, from the cursor on; false when
 * there are none. */
static int find_old(struct manual *m, int level, bool *found)
{
	const struct version_files *files =
		&version_set_current(m->w->db->versions)->level[level];
	const struct file_meta *f = find_file(m, level, m->first_new);
	const struct file_meta *last = f;
	size_t i;
	int err;

	*found = f != NULL;
	if (!f)
		return CAIRN_OK;
	i = version_find_file(files, &f->largest_key);
	for (; i < files->n && files->files[i]->number < m->first_new &&
	       file_meta_overlaps(files->files[i], m->o->from, m->o->to);
	     i++)
		last = files->files[i];
	err = set_range(m, f->smallest_key.user_key,
			last->largest_key.user_key);
	return err;
}

/* What is left of the last level that was not rewritten yet. */
static int compact_bottom(struct manual *m, int level)
{
	bool found = false;
	int err = set_range(m, m->o->from, m->o->to);

	if (level == 0)
		return err;
	if (!err)
		err = find_old(m, level, &found);
	while (!err && found) {
		err = step(m, level, true);
		if (err)
			break;
		advance(m);
		buf_fini(&m->to);
		if (m->o->to.data)
			err = buf_reserve(&m->to, m->o->to.len + 1);
		if (!err && m->o->to.data)
			err = buf_set(&m->to, m->o->to);
		if (!err)
			err = find_old(m, level, &found);
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* mu held. */
static int compact_levels(struct manual *m)
{
	int err = CAIRN_OK;

	/* Level 0 is never the last one for long: its files go down. */
	for (int level = 0; !err && (level == 0 || level < last_level(m));
	     level++)
		err = compact_level(m, level);
	return err ? err : compact_bottom(m, last_level(m));
}

/* ------------------------------------------------------------------- calls */

static void manual_begin(struct manual *m)
{
	struct work *w = m->w;

	mutex_lock(&w->db->mu);
	m->id = ++w->last_job;
	m->started_us = env_now_us(w->db->env);
	list_add_tail(&w->manuals, &m->link);
	mutex_unlock(&w->db->mu);
}

/* After this the database may be closed. */
static void manual_end(struct manual *m)
{
	struct work *w = m->w;

	mutex_lock(&w->db->mu);
	list_remove(&m->link);
	cond_broadcast(&w->done);
	mutex_unlock(&w->db->mu);
	buf_fini(&m->from);
	buf_fini(&m->to);
	buf_fini(&m->next);
}

int cairn_compact(struct cairn_db *db, const struct cairn_compact_options *o)
{
	struct manual m = { .w = db->work, .o = o };
	int err;

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	if (o->from.data && o->to.data && slice_cmp(o->from, o->to) >= 0)
		return CAIRN_OK;
	manual_begin(&m);
	err = cairn_flush(db, true);
	if (!err) {
		mutex_lock(&db->mu);
		m.first_new = version_set_next_file_number(db->versions);
		atomic_store_explicit(&m.bytes_total, estimate(&m),
				      memory_order_relaxed);
		err = compact_levels(&m);
		mutex_unlock(&db->mu);
	}
	if (!err) {
		/* What was estimated and not there to be done is done. */
		set_done(&m, atomic_load_explicit(&m.bytes_total,
						  memory_order_relaxed));
		tell(&m);
	}
	manual_end(&m);
	return err;
}

int cairn_compact_range(struct cairn_db *db, struct cairn_slice from,
			struct cairn_slice to, const _Bool volatile *cancel)
{
	const struct cairn_compact_options o = { .from = from,
						 .to = to,
						 .cancel = cancel };

	return cairn_compact(db, &o);
}

int cairn_cancel_job(struct cairn_db *db, uint64_t job)
{
	int err = CAIRN_NOT_FOUND;

	if (!db->work)
		return CAIRN_NOT_FOUND;
	mutex_lock(&db->mu);
	list_for_each (pos, &db->work->manuals) {
		struct manual *m = list_entry(pos, struct manual, link);

		if (m->id != job)
			continue;
		atomic_store_explicit(&m->cancelled, true,
				      memory_order_relaxed);
		cond_broadcast(&db->work->done);
		err = CAIRN_OK;
	}
	mutex_unlock(&db->mu);
	return err;
}

void work_show_manual(struct list *link, struct cairn_job *out)
{
	const struct manual *m = list_entry(link, struct manual, link);

	*out = (struct cairn_job){
		.job = m->id,
		.running =
			atomic_load_explicit(&m->running, memory_order_relaxed),
		.from_level =
			atomic_load_explicit(&m->level, memory_order_relaxed),
		.to_level = last_level(m),
		.bytes = atomic_load_explicit(&m->bytes_total,
					      memory_order_relaxed),
		.bytes_done = atomic_load_explicit(&m->bytes_done,
						   memory_order_relaxed),
		.started_us = m->started_us,
		.kind = "manual",
		.reason = "asked for",
	};
}
