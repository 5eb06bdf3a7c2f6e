/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/space.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/event.h"
#include "engine/db/obsolete.h"
#include "engine/db/thread.h"
#include "engine/kv/batch.h"

/* The reserve is at most this part of the disk. A small disk needs as much: a
 * memtable or two must be flushed and merged with something. */
#define RESERVE_PART 8
/* The disk is looked at when the log has grown by this part of the reserve. */
#define LOOKS_PER_RESERVE 8
/* Compactions leave this part of the reserve alone. */
#define FLOOR_PART 4
/* Below this part of the disk obsolete files go at once. */
#define SCARCE_PART 20

/* Deletions rarely come alone: so long after the first one room is made. */
#define SETTLE_US UINT64_C(200000)
/* Then not again before so long, nor before several times what it took. */
#define PAUSE_MIN_US UINT64_C(1000000)
#define PAUSE_FACTOR 4

enum {
	REFUSE_QUOTA = 1 << 0,
	REFUSE_DISK = 1 << 1,
};

struct space {
	struct cairn_db *db;
	uint64_t quota;  /* constant; 0: none */
	uint64_t wanted; /* the option disk_reserve; constant */

	/* Relaxed: hints for writers, who look again with mu. */
	_Atomic unsigned refusing;     /* REFUSE_*, changed with mu held */
	_Atomic uint64_t settled;      /* live tables, and filled logs */
	_Atomic uint64_t reserve;      /* what is held back */
	_Atomic uint64_t free;         /* when last looked */
	_Atomic uint64_t looked_bytes; /* log_bytes then; has the log */

	/* Of the thread that makes room; guarded by db->mu. */
	pthread_t thread;
	bool running;
	bool stop;
	bool due;     /* the quota was reached, or something deleted since */
	bool deleted; /* something was, since the thread last began */
	struct cond changed;
	_Bool volatile cancel;
};

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void store(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(v, n, memory_order_relaxed);
}

static bool refuses(const struct space *s, unsigned why)
{
	return atomic_load_explicit(&s->refusing, memory_order_relaxed) & why;
}

/* mu held. */
static void set_refusing(struct space *s, unsigned why, bool on)
{
	unsigned now = atomic_load_explicit(&s->refusing, memory_order_relaxed);

	assert_held(&s->db->mu);
	atomic_store_explicit(&s->refusing, on ? now | why : now & ~why,
			      memory_order_relaxed);
}

uint64_t space_in_use(const struct space *s)
{
	uint64_t log = s->db->commit ? commit_wal_bytes(s->db->commit) : 0;

	return load(&s->settled) + log;
}

void space_state(const struct space *s, struct space_state *out)
{
	*out = (struct space_state){
		.in_use = space_in_use(s),
		.quota = s->quota,
		.quota_reached = refuses(s, REFUSE_QUOTA),
		.disk_low = refuses(s, REFUSE_DISK),
		.reserve = load(&s->reserve),
	};
}

/* ------------------------------------------------------------------ quota */

static bool almost_reached(const struct space *s, uint64_t used)
{
	return used >= s->quota - s->quota / 10;
}

static void post_quota(struct space *s, enum cairn_event_kind kind,
		       uint64_t used)
{
	struct cairn_event e = {
		.kind = kind,
		.bytes_in = used,
		.bytes_out = s->quota,
	};

	events_queue(s->db->events, &e);
}

void space_update(struct cairn_db *db)
{
	struct space *s = db->space;
	const struct version *v = version_set_current(db->versions);
	uint64_t settled = obsolete_wal_bytes(db->obsolete);
	uint64_t used;

	assert_held(&db->mu);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		settled += v->level[i].bytes;
	store(&s->settled, settled);
	if (!refuses(s, REFUSE_QUOTA))
		return;
	used = space_in_use(s);
	if (almost_reached(s, used))
		return;
	set_refusing(s, REFUSE_QUOTA, false);
	post_quota(s, CAIRN_EVENT_QUOTA_CLEARED, used);
}

/* Deletions and overwritten keys may make room. mu held. */
static void want_room(struct space *s)
{
	assert_held(&s->db->mu);
	s->due = true;
	cond_signal(&s->changed);
}

static int refuse_quota(const struct space *s, uint64_t used)
{
	return error_set(CAIRN_EDQUOT,
			 "%s: quota reached: %llu of %llu bytes are in use; "
			 "delete something, or raise quota",
			 s->db->dir, (unsigned long long)used,
			 (unsigned long long)s->quota);
}

static int check_quota(struct space *s, uint64_t bytes)
{
	uint64_t used;
	int err = CAIRN_OK;

	if (!s->quota)
		return CAIRN_OK;
	mutex_lock(&s->db->mu);
	used = space_in_use(s);
	if (refuses(s, REFUSE_QUOTA)) {
		err = refuse_quota(s, used);
	} else if (used + bytes > s->quota) {
		/* One that is too large for what is left bars no others. */
		if (almost_reached(s, used)) {
			set_refusing(s, REFUSE_QUOTA, true);
			post_quota(s, CAIRN_EVENT_QUOTA_REACHED, used);
			want_room(s);
		}
		err = refuse_quota(s, used);
	}
	mutex_unlock(&s->db->mu);
	return err;
}

/* ------------------------------------------------------------------- disk */

static void post_disk(struct space *s, enum cairn_event_kind kind,
		      uint64_t free)
{
	struct cairn_event e = {
		.kind = kind,
		.bytes_in = free,
		.bytes_out = load(&s->reserve),
	};

	events_queue(s->db->events, &e);
}

void space_look(struct cairn_db *db)
{
	struct space *s = db->space;
	struct env_space now;
	uint64_t reserve;
	bool low;

	/* A system that does not say holds nobody up. */
	if (!s->wanted || env_free_space(db->env, db->dir, &now))
		return;
	reserve = now.total / RESERVE_PART;
	if (reserve > s->wanted)
		reserve = s->wanted;
	store(&s->reserve, reserve);
	store(&s->free, now.free);
	/* Not to and fro at the edge. */
	low = now.free <
	      (refuses(s, REFUSE_DISK) ? reserve + reserve / 4 : reserve);
	if (low == refuses(s, REFUSE_DISK))
		return;
	mutex_lock(&db->mu);
	if (low != refuses(s, REFUSE_DISK)) {
		set_refusing(s, REFUSE_DISK, low);
		post_disk(s,
			  low ? CAIRN_EVENT_LOW_DISK
			      : CAIRN_EVENT_LOW_DISK_OVER,
			  now.free);
	}
	mutex_unlock(&db->mu);
}

void space_log_grown(struct cairn_db *db, uint64_t log_bytes)
{
	struct space *s = db->space;
	uint64_t seen = load(&s->looked_bytes);

	/* A new log begins at the front. */
	if (log_bytes >= seen &&
	    log_bytes - seen < load(&s->reserve) / LOOKS_PER_RESERVE)
		return;
	store(&s->looked_bytes, log_bytes);
	space_look(db);
}

uint64_t space_floor(const struct space *s)
{
	return load(&s->reserve) / FLOOR_PART;
}

bool space_is_scarce(struct cairn_db *db)
{
	uint64_t buffers =
		2 * db->opts.max_write_buffers * db->opts.write_buffer_size;
	struct env_space now;

	if (env_free_space(db->env, db->dir, &now))
		return false;
	return now.free < now.total / SCARCE_PART || now.free < buffers;
}

static int check_disk(struct space *s)
{
	if (!refuses(s, REFUSE_DISK))
		return CAIRN_OK;
	/* Others may have made room, too. */
	space_look(s->db);
	if (!refuses(s, REFUSE_DISK))
		return CAIRN_OK;
	return error_set(CAIRN_ENOSPC,
			 "%s: No space left on device: %llu bytes are free, "
			 "%llu are held back for deletions and compactions "
			 "(disk_reserve)",
			 s->db->dir, (unsigned long long)load(&s->free),
			 (unsigned long long)load(&s->reserve));
}

/* ----------------------------------------------------------------- writers */

/* As far as one can tell without looking closely. */
static bool has_room(const struct space *s, uint64_t bytes)
{
	return !refuses(s, REFUSE_QUOTA | REFUSE_DISK) &&
	       (!s->quota || space_in_use(s) + bytes <= s->quota);
}

int space_check(struct cairn_db *db, uint64_t bytes)
{
	struct space *s = db->space;
	int err;

	if (has_room(s, bytes))
		return CAIRN_OK;
	err = check_quota(s, bytes);
	if (!err)
		err = check_disk(s);
	events_drain(db->events);
	return err;
}

/* Whether a batch has anything but deletions. */
static bool adds_something(const struct commit_batch *b)
{
	struct batch_reader r;
	struct batch_op op;
	int err = batch_reader_init(&r, slice_of(b->bytes, b->len));

	while (!err) {
		err = batch_reader_next(&r, &op);
		if (!err && (op.kind == KIND_PUT || op.kind == KIND_MERGE))
			return true;
	}
	return false;
}

bool space_may_use_reserve(const struct commit_batch *b)
{
	return b->use_reserve || !adds_something(b);
}

static void note_deletion(struct space *s)
{
	if (!refuses(s, REFUSE_QUOTA))
		return;
	mutex_lock(&s->db->mu);
	s->deleted = true;
	want_room(s);
	mutex_unlock(&s->db->mu);
}

int space_before_write(struct cairn_db *db, const struct commit_batch *b)
{
	struct space *s = db->space;

	if (has_room(s, b->len))
		return CAIRN_OK;
	if (space_may_use_reserve(b)) {
		note_deletion(s);
		return CAIRN_OK;
	}
	return space_check(db, b->len);
}

/* ------------------------------------------------------------- making room */

/* What was deleted or replaced leaves the log and the tables. */
static int make_room(struct cairn_db *db, struct space *s)
{
	const struct cairn_slice all = { NULL, 0 };
	int err = cairn_flush(db, true);

	if (err || !refuses(s, REFUSE_QUOTA) || !db->opts.auto_compactions)
		return err;
	return cairn_compact_range(db, all, all, &s->cancel);
}

static void *run(void *arg)
{
	struct space *s = arg;
	struct cairn_db *db = s->db;
	uint64_t start, took, pause;
	bool after_deletion;
	int err;

	mutex_lock(&db->mu);
	while (!s->stop) {
		if (!s->due || !refuses(s, REFUSE_QUOTA)) {
			cond_wait(&s->changed, &db->mu);
			continue;
		}
		(void)cond_wait_us(&s->changed, &db->mu, SETTLE_US);
		if (s->stop)
			break;
		after_deletion = s->deleted;
		s->due = false;
		s->deleted = false;
		mutex_unlock(&db->mu);
		start = env_mono_us(db->env);
		err = make_room(db, s);
		if (err && err != CAIRN_EABORTED)
			events_log(db->events, "[quota] cannot make room: %s",
				   cairn_errmsg());
		events_drain(db->events);
		took = env_mono_us(db->env) - start;
		pause = took * PAUSE_FACTOR;
		/* What is deleted from now on must not wait for a round that
		 * could not help. */
		if (pause < PAUSE_MIN_US || !after_deletion)
			pause = PAUSE_MIN_US;
		mutex_lock(&db->mu);
		start = env_mono_us(db->env);
		while (!s->stop && env_mono_us(db->env) - start < pause)
			(void)cond_wait_us(&s->changed, &db->mu, pause);
	}
	mutex_unlock(&db->mu);
	return NULL;
}

/* -------------------------------------------------------------- the object */

void space_stop(struct space *s)
{
	if (!s || !s->running)
		return;
	mutex_lock(&s->db->mu);
	s->stop = true;
	__atomic_store_n(&s->cancel, true, __ATOMIC_RELAXED);
	cond_broadcast(&s->changed);
	mutex_unlock(&s->db->mu);
	pthread_join(s->thread, NULL);
	s->running = false;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	space_stop(s);
	cond_fini(&s->changed);
	free(s);
}

int space_new(struct cairn_db *db, struct space **out)
{
	struct space *s = calloc(1, sizeof(*s));
	int err = CAIRN_OK;

	if (!s)
		return error_nomem();
	s->db = db;
	s->quota = db->opts.quota;
	s->wanted = db->opts.disk_reserve;
	cond_init(&s->changed);
	if (s->quota)
		err = thread_start(&s->thread, run, s);
	if (err) {
		space_free(s);
		return err;
	}
	s->running = s->quota != 0;
	*out = s;
	return CAIRN_OK;
}

int cairn_check_space(struct cairn_db *db)
{
	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	return space_check(db, 0);
}
