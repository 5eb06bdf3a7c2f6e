/* SPDX-License-Identifier: BSD-3-Clause */
/* Compactions that somebody asked for, on that one's thread. */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/work_impl.h"

/* How often to look at the caller's flag while waiting for other jobs. */
#define POLL_US 20000

/* After so many jobs of others it could not pass, no new ones begin. */
#define PATIENCE 3

struct manual {
	struct work *w;
	struct cairn_slice from;
	struct cairn_slice to;
	const _Bool volatile *cancel;
	/* Files from this number on were written since it began. */
	uint64_t first_new;
};

/* mu held. */
static int check_going_on(const struct manual *m)
{
	struct work *w = m->w;

	if (w->stop || w->db->closing)
		return error_set(CAIRN_EABORTED, "%s: closing", w->db->dir);
	/* Another thread sets it, without a lock. */
	if (m->cancel && __atomic_load_n(m->cancel, __ATOMIC_RELAXED))
		return error_set(CAIRN_EABORTED, "compaction was cancelled");
	if (w->error.severity == ERROR_HARD)
		return work_refuse_locked(w);
	return CAIRN_OK;
}

/* Whether level has files in the range with a number below limit. */
static bool has_files(const struct manual *m, int level, uint64_t limit)
{
	const struct version_files *files =
		&version_set_current(m->w->db->versions)->level[level];

	for (size_t i = 0; i < files->n; i++)
		if (files->files[i]->number < limit &&
		    file_meta_overlaps(files->files[i], m->from, m->to))
			return true;
	return false;
}

static int last_level(const struct manual *m)
{
	const struct version *v = version_set_current(m->w->db->versions);
	int level = CAIRN_LEVELS - 1;

	while (level > 0 && !v->level[level].n)
		level--;
	return level;
}

static int pick(const struct manual *m, int level, bool bottom,
		struct job **out)
{
	struct cairn_db *db = m->w->db;
	struct running_plans running;
	struct job *j = calloc(1, sizeof(*j));
	int err;

	if (!j)
		return error_nomem();
	err = running_plans_new(m->w, false, &running);
	if (!err) {
		err = picker_pick_manual(version_set_current(db->versions),
					 &db->picker, &running.running, level,
					 bottom, m->from, m->to, &j->plan);
		running_plans_fini(&running);
	}
	if (err) {
		free(j);
		return err;
	}
	j->cancel = m->cancel;
	*out = j;
	return CAIRN_OK;
}

/* One job, waiting for those in its way. CAIRN_NOT_FOUND: nothing to do. */
static int step(const struct manual *m, int level, bool bottom)
{
	struct work *w = m->w;
	unsigned waits = 0;
	struct job *j = NULL;
	int err;

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
	return err ? err : work_compact(w, j);
}

/* mu held. */
static int compact_levels(const struct manual *m)
{
	int err = CAIRN_OK;
	int level;

	/*
	 * Level 0 is never the last one for long: its files go down. A step
	 * takes all of a level that is in the range, what the step before it
	 * wrote there included; what comes in later may stay.
	 */
	for (level = 0; !err && (level == 0 || level < last_level(m));
	     level++) {
		if (has_files(m, level, UINT64_MAX))
			err = step(m, level, false);
		/* Others may have taken them. */
		if (err == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
	}
	level = last_level(m);
	while (!err && has_files(m, level, m->first_new))
		err = step(m, level, true);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

int cairn_compact_range(struct cairn_db *db, struct cairn_slice from,
			struct cairn_slice to, const _Bool volatile *cancel)
{
	struct manual m = {
		.w = db->work,
		.from = from,
		.to = to,
		.cancel = cancel,
	};
	int err;

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	if (from.data && to.data && slice_cmp(from, to) >= 0)
		return CAIRN_OK;
	err = cairn_flush(db, true);
	if (err)
		return err;
	mutex_lock(&db->mu);
	m.first_new = version_set_next_file_number(db->versions);
	err = compact_levels(&m);
	mutex_unlock(&db->mu);
	return err;
}
