/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/pace.h"

#include "engine/db/space.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/work_impl.h"

/* Flushes over writers: memtables must not pile up. */
#define FLUSH_FACTOR 2
/* Shorter sleeps are put off; longer ones are cut to look around. */
#define SLEEP_MIN_US UINT64_C(2000)
#define SLEEP_MAX_US UINT64_C(10000)
/* How much of its input a compaction reads between two looks at the disk, at
 * most and as a part of what it must leave. */
#define LOOK_BYTES_MAX (UINT64_C(1) << 20)
#define LOOK_PART      4

void pace_init(struct pace *p)
{
	mutex_init(&p->mu);
	p->next_us = 0;
}

void pace_fini(struct pace *p)
{
	mutex_fini(&p->mu);
}

static uint64_t written(const struct job *j)
{
	return stats_load(&j->work->db->stats->wal_in_bytes);
}

void pace_begin(struct job *j)
{
	j->pace = (struct job_pace){ .begun_bytes = written(j) };
}

static uint64_t done(struct job *j)
{
	return atomic_load_explicit(&j->bytes_done, memory_order_relaxed);
}

/* ----------------------------------------------------------------- flushes */

static bool flush_is_urgent(const struct job *j)
{
	struct work *w = j->work;
	struct cairn_db *db = w->db;
	const char *cause;
	bool urgent;

	mutex_lock(&db->mu);
	urgent = w->stop || db->closing || w->n_flush_waits ||
		 w->error.severity == ERROR_HARD || db->n_imm > j->n_files ||
		 stall_state(db->stall, &cause) != CAIRN_STALL_NONE;
	mutex_unlock(&db->mu);
	return urgent;
}

/* How far the flush is ahead of its rate, in time. */
static uint64_t flush_ahead_us(struct job *j)
{
	struct cairn_db *db = j->work->db;
	uint64_t age = env_mono_us(db->env) - j->started_mono_us;
	double rate = (double)db->opts.flush_rate / 1e6;
	double incoming = FLUSH_FACTOR *
			  (double)(written(j) - j->pace.begun_bytes) /
			  (double)(age ? age : 1);
	double due;

	if (incoming > rate)
		rate = incoming;
	due = (double)done(j) / rate;
	return due > (double)age ? (uint64_t)due - age : 0;
}

static void pace_flush(struct job *j)
{
	struct cairn_db *db = j->work->db;

	if (!db->opts.flush_rate)
		return;
	for (;;) {
		uint64_t us = flush_ahead_us(j);

		if (us < SLEEP_MIN_US || flush_is_urgent(j))
			return;
		env_sleep_us(db->env, us < SLEEP_MAX_US ? us : SLEEP_MAX_US);
	}
}

/* ------------------------------------------------------------- compactions */

static bool compactions_hurry(struct work *w)
{
	const char *cause;
	bool hurry;

	mutex_lock(&w->db->mu);
	hurry = w->stop ||
		stall_state(w->db->stall, &cause) != CAIRN_STALL_NONE;
	mutex_unlock(&w->db->mu);
	return hurry || atomic_load_explicit(&w->cancel, memory_order_relaxed);
}

static bool is_unwanted(struct job *j)
{
	return j->manual && work_manual_poll(j->manual, done(j));
}

static void pace_compaction(struct job *j)
{
	struct cairn_db *db = j->work->db;
	struct pace *p = &j->work->pace;
	uint64_t rate = db->opts.compaction_rate;
	uint64_t bytes = done(j) - j->pace.seen_bytes;
	uint64_t now = env_mono_us(db->env);
	uint64_t turn;

	j->pace.seen_bytes += bytes;
	if (!rate)
		return;
	mutex_lock(&p->mu);
	turn = p->next_us > now ? p->next_us : now;
	p->next_us = turn + (uint64_t)((double)bytes * 1e6 / (double)rate);
	mutex_unlock(&p->mu);
	while (now + SLEEP_MIN_US < turn && !compactions_hurry(j->work) &&
	       !is_unwanted(j)) {
		uint64_t us = turn - now;

		env_sleep_us(db->env, us < SLEEP_MAX_US ? us : SLEEP_MAX_US);
		now = env_mono_us(db->env);
	}
}

/* Whether the disk has more than what the log and flushes may need. */
static bool has_space(struct job *j)
{
	struct cairn_db *db = j->work->db;
	uint64_t floor = space_floor(db->space);
	uint64_t step = floor / LOOK_PART;
	struct env_space now;

	if (step > LOOK_BYTES_MAX)
		step = LOOK_BYTES_MAX;
	if (!floor || done(j) - j->pace.looked_at < step)
		return true;
	j->pace.looked_at = done(j);
	/* A system that does not say holds nobody up. */
	if (env_free_space(db->env, db->dir, &now))
		return true;
	j->pace.no_space = now.free < floor;
	return !j->pace.no_space;
}

bool pace_go_on(struct job *j)
{
	if (j->is_flush) {
		pace_flush(j);
		return true;
	}
	pace_compaction(j);
	return has_space(j);
}
