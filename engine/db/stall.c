/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/stall.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/event.h"
#include "engine/db/space.h"
#include "engine/db/stats.h"
#include "engine/db/work.h"

/*
 * Writers are let through at 1 MB/s just before the stop, and the faster the
 * farther from it, by the square of the distance: compactions need most of the
 * disk then, and a rate well above theirs would only reach the stop.
 */
#define SLOWEST_NS_PER_KIB 1024000.0
/* With one memtable left writers need not come to a halt, only to slow down to
 * about 16 MB/s. */
#define MEMTABLE_PRESSURE 0.25

/* Shorter sleeps are put off: the kernel cannot do them. */
#define SLEEP_MIN_US     1000
#define SLEEP_QUANTUM_US 10000
#define SLEEP_MAX_US     1000000

static const char cause_l0[] = "l0-sublevels";
static const char cause_memtables[] = "memtables";
static const char cause_debt[] = "compaction-debt";

struct stall {
	struct cairn_db *db;

	/* Guarded by db->mu. */
	enum cairn_stall_state state;
	const char *cause;      /* NULL: none */
	const char *last_cause; /* the last one that was not NULL */
	uint64_t debt;          /* of the compactions */
	size_t n_waiting;       /* for a memtable */
	struct cond changed;
	const char *told; /* the cause that listeners know of */
	uint64_t told_us;

	_Atomic size_t n_stopped; /* writers in wait_for_l0() */
	/* What writers look at first; 0: go on. Relaxed: a hint. */
	_Atomic uint64_t ns_per_kib;
	_Atomic bool stopped;

	struct mutex pace_mu; /* a leaf lock */
	uint64_t next_us;     /* when the next writer may go; monotonic */
	uint64_t rest_ns;     /* less than a microsecond, owed */
};

int stall_new(struct cairn_db *db, struct stall **out)
{
	struct stall *s = calloc(1, sizeof(*s));

	if (!s)
		return error_nomem();
	s->db = db;
	cond_init(&s->changed);
	mutex_init(&s->pace_mu);
	*out = s;
	return CAIRN_OK;
}

void stall_free(struct stall *s)
{
	if (!s)
		return;
	cond_fini(&s->changed);
	mutex_fini(&s->pace_mu);
	free(s);
}

/* ----------------------------------------------------------------- judging */

static size_t sublevels(const struct cairn_db *db)
{
	/* Without compactions they would never get fewer. */
	if (!db->opts.auto_compactions)
		return 0;
	return version_set_current(db->versions)->n_sublevels;
}

bool stall_memtable_fits(const struct cairn_db *db)
{
	/* The mutable one, those waiting, and the one to come. */
	return db->n_imm + 2 <= db->opts.max_write_buffers;
}

static uint64_t debt_of(const struct cairn_db *db)
{
	const struct picker_running none = { 0 };
	struct level_targets t;

	if (!db->opts.auto_compactions)
		return 0;
	picker_targets(version_set_current(db->versions), &db->picker, &none,
		       &t);
	return t.debt_bytes;
}

/* Why writers must wait for compactions; NULL: they need not. */
static const char *stop_cause(const struct cairn_db *db)
{
	if (!db->opts.auto_compactions)
		return NULL;
	if (sublevels(db) >= db->opts.l0_stop)
		return cause_l0;
	/* What nobody works at will not get less by waiting. */
	if (db->stall->debt >= db->opts.debt_stop &&
	    work_compactions_due(db->work))
		return cause_debt;
	return NULL;
}

/* How far v is from slow to stop, 0 below slow. */
static double part(double v, double slow, double stop)
{
	if (v < slow)
		return 0;
	return v < stop ? (v - slow) / (stop - slow) : 1;
}

/* 0: no pressure; 1: nearly stopped. */
static double pressure(const struct cairn_db *db, const char **cause)
{
	size_t stop = db->opts.l0_stop;
	size_t slow = db->opts.l0_slowdown < stop ? db->opts.l0_slowdown : stop;
	size_t n = sublevels(db);
	double debt =
		part((double)db->stall->debt, (double)db->opts.debt_slowdown,
		     (double)db->opts.debt_stop);
	double p = 0;

	if (n >= slow) {
		p = (double)(n - slow + 1) / (double)(stop - slow + 1);
		*cause = cause_l0;
	}
	if (p < debt) {
		p = debt;
		*cause = cause_debt;
	}
	if (p < MEMTABLE_PRESSURE && !stall_memtable_fits(db)) {
		p = MEMTABLE_PRESSURE;
		*cause = cause_memtables;
	}
	return p;
}

static void tell(struct stall *s)
{
	uint64_t now = env_mono_us(s->db->env);
	const char *cause = s->cause;
	struct cairn_event e = { 0 };

	/* Being slowed a little by the flush is every bulk load's life. */
	if (s->state == CAIRN_STALL_SLOW && cause == cause_memtables)
		cause = NULL;
	if (cause == s->told)
		return;
	if (s->told) {
		e.kind = CAIRN_EVENT_STALL_END;
		e.reason = s->told;
		e.duration_us = now - s->told_us;
		events_queue(s->db->events, &e);
	}
	s->told = cause;
	s->told_us = now;
	if (cause) {
		e.kind = CAIRN_EVENT_STALL_BEGIN;
		e.reason = cause;
		e.duration_us = 0;
		events_queue(s->db->events, &e);
	}
}

void stall_update(struct cairn_db *db)
{
	struct stall *s = db->stall;
	const char *cause = NULL, *stop;
	double p;

	assert_held(&db->mu);
	s->debt = debt_of(db);
	p = pressure(db, &cause);
	stop = stop_cause(db);
	if (stop) {
		s->state = CAIRN_STALL_STOPPED;
		s->cause = stop;
	} else if (s->n_waiting) {
		s->state = CAIRN_STALL_STOPPED;
		s->cause = cause_memtables;
	} else {
		s->state = cause ? CAIRN_STALL_SLOW : CAIRN_STALL_NONE;
		s->cause = cause;
	}
	if (s->cause)
		s->last_cause = s->cause;
	atomic_store_explicit(&s->stopped, stop != NULL, memory_order_relaxed);
	atomic_store_explicit(&s->ns_per_kib,
			      (uint64_t)(SLOWEST_NS_PER_KIB * p * p),
			      memory_order_relaxed);
	tell(s);
	cond_broadcast(&s->changed);
	space_update(db);
}

enum cairn_stall_state stall_state(const struct stall *s, const char **cause)
{
	*cause = s->cause ? s->cause : "-";
	return s->state;
}

size_t stall_n_waiting(const struct stall *s)
{
	if (!s)
		return 0;
	return s->n_waiting +
	       atomic_load_explicit(&s->n_stopped, memory_order_relaxed);
}

/* ----------------------------------------------------------------- waiting */

static int busy(const char *cause)
{
	return error_set(CAIRN_EBUSY, "writers are stalled (%s)", cause);
}

/* Why waiting for background work is in vain; mu held. */
static int give_up(struct cairn_db *db, bool for_compaction)
{
	const struct background_error *e = work_error(db->work);

	if (db->closing)
		return error_set(CAIRN_EABORTED, "%s: closing", db->dir);
	if (e->severity == ERROR_HARD)
		return work_refuse_locked(db->work);
	if (for_compaction && work_compactions_fail(db->work))
		return error_set(e->code,
				 "writers wait for compactions, which fail: %s",
				 e->message);
	return CAIRN_OK;
}

static void count(struct cairn_db *db, uint64_t start_us, const char *cause)
{
	uint64_t us = env_mono_us(db->env) - start_us;
	struct cairn_stall_metrics *m =
		&db->stats->stall[cause == cause_l0 ? CAIRN_STALL_BY_L0
				  : cause == cause_debt
					  ? CAIRN_STALL_BY_DEBT
					  : CAIRN_STALL_BY_MEMTABLES];

	assert_held(&db->mu);
	db->stats->stalls++;
	db->stats->stall_us += us;
	m->count++;
	m->us += us;
}

int stall_for_memtable(struct cairn_db *db, bool no_slowdown)
{
	struct stall *s = db->stall;
	uint64_t start = env_mono_us(db->env);
	bool waited = false;
	int err;

	assert_held(&db->mu);
	for (;;) {
		err = give_up(db, false);
		if (err || stall_memtable_fits(db))
			break;
		if (no_slowdown) {
			err = busy(cause_memtables);
			break;
		}
		if (!waited) {
			waited = true;
			s->n_waiting++;
			stall_update(db);
		}
		cond_wait(&s->changed, &db->mu);
	}
	if (waited) {
		s->n_waiting--;
		count(db, start, cause_memtables);
		stall_update(db);
	}
	return err;
}

/* Compactions find no space; mu held. */
static bool lacks_space(const struct cairn_db *db)
{
	const struct background_error *e = work_error(db->work);

	return e->severity == ERROR_SOFT && e->code == CAIRN_ENOSPC;
}

static int wait_for_compactions(struct cairn_db *db, bool no_slowdown,
				bool makes_room)
{
	struct stall *s = db->stall;
	uint64_t start = env_mono_us(db->env);
	const char *waited = NULL, *cause;
	int err;

	atomic_fetch_add_explicit(&s->n_stopped, 1, memory_order_relaxed);
	mutex_lock(&db->mu);
	for (;;) {
		cause = stop_cause(db);
		err = CAIRN_OK;
		if (makes_room && lacks_space(db))
			break;
		err = give_up(db, true);
		if (err || !cause)
			break;
		if (no_slowdown) {
			err = busy(cause);
			break;
		}
		waited = cause;
		cond_wait(&s->changed, &db->mu);
	}
	if (waited)
		count(db, start, waited);
	mutex_unlock(&db->mu);
	atomic_fetch_sub_explicit(&s->n_stopped, 1, memory_order_relaxed);
	return err;
}

/*
 * How long a writer of so many bytes must sleep, now being the time. All share
 * one rate: each begins when those before it have had their time.
 */
static uint64_t take_turn(struct stall *s, size_t bytes, uint64_t ns_per_kib,
			  uint64_t now, bool only_look)
{
	uint64_t wait;

	mutex_lock(&s->pace_mu);
	if (s->next_us < now)
		s->next_us = now;
	wait = s->next_us - now;
	if (!only_look || wait < SLEEP_MIN_US) {
		/* At most a few times 10^15: no overflow. */
		s->rest_ns += (uint64_t)bytes * ns_per_kib / 1024;
		s->next_us += s->rest_ns / 1000;
		s->rest_ns %= 1000;
		if (s->next_us - now > SLEEP_MAX_US)
			s->next_us = now + SLEEP_MAX_US;
	}
	mutex_unlock(&s->pace_mu);
	return wait;
}

static int slow_down(struct cairn_db *db, size_t bytes, uint64_t ns_per_kib,
		     bool no_slowdown)
{
	struct stall *s = db->stall;
	uint64_t start = env_mono_us(db->env);
	uint64_t left = take_turn(s, bytes, ns_per_kib, start, no_slowdown);

	if (left < SLEEP_MIN_US)
		return CAIRN_OK;
	if (no_slowdown)
		return busy("slowed down");
	while (left &&
	       atomic_load_explicit(&s->ns_per_kib, memory_order_relaxed)) {
		uint64_t us = left < SLEEP_QUANTUM_US ? left : SLEEP_QUANTUM_US;

		env_sleep_us(db->env, us);
		left -= us;
	}
	mutex_lock(&db->mu);
	count(db, start, s->last_cause);
	mutex_unlock(&db->mu);
	return CAIRN_OK;
}

int stall_before_write(struct cairn_db *db, size_t bytes, bool no_slowdown,
		       bool makes_room)
{
	struct stall *s = db->stall;
	uint64_t ns_per_kib =
		atomic_load_explicit(&s->ns_per_kib, memory_order_relaxed);
	int err;

	if (!ns_per_kib)
		return CAIRN_OK;
	if (atomic_load_explicit(&s->stopped, memory_order_relaxed)) {
		err = wait_for_compactions(db, no_slowdown, makes_room);
		if (err)
			return err;
		ns_per_kib = atomic_load_explicit(&s->ns_per_kib,
						  memory_order_relaxed);
		if (!ns_per_kib)
			return CAIRN_OK;
	}
	return slow_down(db, bytes, ns_per_kib, no_slowdown);
}
