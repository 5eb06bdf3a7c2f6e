/* SPDX-License-Identifier: BSD-3-Clause */
/* The log and the memtable that take writes, and replacing them by new ones. */
#include "engine/db/commit_impl.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/budget.h"
#include "engine/db/event.h"
#include "engine/db/obsolete.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/work.h"

/* Of one log's room over that of the one before. */
#define LOG_ROOM_GROWTH 16

static void post_wal_created(struct commit *c)
{
	struct cairn_event e = {
		.kind = CAIRN_EVENT_WAL_CREATED,
		.file_number = db_log_number(c->log),
	};

	events_post(c->db->events, &e);
}

static uint64_t new_file_number(struct cairn_db *db)
{
	uint64_t number;

	mutex_lock(&db->mu);
	number = version_set_new_file_number(db->versions);
	mutex_unlock(&db->mu);
	return number;
}

static int reserve_imm(struct cairn_db *db)
{
	size_t cap = db->imm_cap ? 2 * db->imm_cap : 8;
	struct memtable **p;

	assert_held(&db->mu);
	if (db->n_imm < db->imm_cap)
		return CAIRN_OK;
	p = realloc(db->imm, cap * sizeof(struct memtable *));
	if (!p)
		return error_nomem();
	db->imm = p;
	db->imm_cap = cap;
	return CAIRN_OK;
}

/* Make mem the one that takes writes, in the eyes of readers and of the flush.
 */
static int switch_memtable(struct commit *c, struct memtable *mem)
{
	struct cairn_db *db = c->db;
	struct memtable *old;
	int err;

	mutex_lock(&c->mu);
	mutex_lock(&db->mu);
	old = db->mem;
	err = reserve_imm(db);
	if (!err) {
		db->imm[db->n_imm++] = old;
		db->mem = mem;
		err = db_install_read_state(db);
		if (err) {
			db->mem = old;
			db->n_imm--;
		}
	}
	if (!err) {
		if (c->log)
			obsolete_add_wal(db->obsolete, db_log_number(c->log),
					 db_log_size(c->log));
		/* It is among the filled ones now. */
		atomic_store_explicit(&c->log_size, 0, memory_order_relaxed);
		stall_update(db);
		c->mem = mem;
	}
	mutex_unlock(&db->mu);
	mutex_unlock(&c->mu);
	if (err)
		return err;
	memtable_writer_unref(old);
	work_flush_ready(db->work);
	return CAIRN_OK;
}

/* A database that fills memtables gets logs that are laid out at once. */
static size_t more_log_room(const struct commit *c)
{
	return c->log_room < c->capacity / LOG_ROOM_GROWTH
		       ? LOG_ROOM_GROWTH * c->log_room
		       : c->capacity;
}

/* A memtable that takes writes: one of at least that capacity, or large. */
static int begin_memtable(size_t capacity, struct memtable *large,
			  uint64_t log_number, struct memtable **out)
{
	if (!large)
		return memtable_new(capacity, log_number, out);
	memtable_ref(large);
	memtable_set_log_number(large, log_number);
	*out = large;
	return CAIRN_OK;
}

/* Close the old log, once nobody syncs it. */
static void change_log(struct commit *c, struct db_log *log)
{
	struct db_log *old = c->log;

	mutex_lock(&c->mu);
	while (c->sync_running)
		cond_wait(&c->sync_done, &c->mu);
	c->log = log;
	atomic_store_explicit(&c->log_size, db_log_size(log),
			      memory_order_relaxed);
	mutex_unlock(&c->mu);
	db_log_free(old);
}

/* A new log and a memtable as above, the old log being done with. */
static int rotate(struct commit *c, size_t capacity, struct memtable *large)
{
	struct cairn_db *db = c->db;
	struct memtable *mem = NULL;
	struct db_log *log = NULL;
	struct db_log_start start = {
		.number = new_file_number(db),
		.seqno = c->next_seqno,
		.expected = c->log ? db_log_next_seqno(c->log) : c->next_seqno,
		.room = more_log_room(c),
	};
	int err;

	err = begin_memtable(capacity, large, start.number, &mem);
	if (!err)
		err = db_log_create(db->env, db->dir, &start, &log);
	if (!err)
		err = switch_memtable(c, mem);
	if (err) {
		if (log) {
			mutex_lock(&db->mu);
			obsolete_add(db->obsolete, FILE_WAL, start.number, 0);
			mutex_unlock(&db->mu);
		}
		db_log_free(log);
		memtable_unref(mem);
		return err;
	}
	change_log(c, log);
	c->log_room = start.room;
	c->mem_empty = memtable_bytes(mem);
	post_wal_created(c);
	budget_update(db);
	return CAIRN_OK;
}

/* The log is in an unknown state. Nothing more may be written to it. */
void commit_log_latch(struct commit *c, int err)
{
	struct cairn_db *db = c->db;

	atomic_store_explicit(&c->failed, true, memory_order_relaxed);
	mutex_lock(&db->mu);
	work_set_error(db->work, ERROR_HARD, ERROR_OF_WAL, err);
	stall_update(db);
	mutex_unlock(&db->mu);
}

/* Sync size bytes of l, with c->sync_running set. No locks. */
static int sync_log(struct commit *c, struct db_log *l, uint64_t size)
{
	struct cairn_db *db = c->db;
	uint64_t start;
	int err;

	if (atomic_load_explicit(&c->failed, memory_order_relaxed))
		return work_refuse(db->work);
	if (db_log_synced(l) >= size)
		return CAIRN_OK;
	start = now_ns();
	err = db_log_sync(l, size);
	stats_add(&db->stats->wal_syncs, 1);
	hist_add(&db->sync_ns, now_ns() - start);
	if (err)
		commit_log_latch(c, err);
	return err;
}

int commit_log_sync_shared(struct commit *c)
{
	uint64_t size =
		atomic_load_explicit(&c->log_size, memory_order_acquire);
	struct db_log *log = c->log;
	int err;

	assert(c->sync_running);
	mutex_unlock(&c->mu);
	err = sync_log(c, log, size);
	events_drain(c->db->events);
	mutex_lock(&c->mu);
	return err;
}

int commit_log_sync(struct commit *c)
{
	int err;

	mutex_lock(&c->mu);
	while (c->sync_running)
		cond_wait(&c->sync_done, &c->mu);
	c->sync_running = true;
	mutex_unlock(&c->mu);
	err = sync_log(c, c->log, c->log ? db_log_size(c->log) : 0);
	mutex_lock(&c->mu);
	commit_sync_ended(c);
	mutex_unlock(&c->mu);
	return err;
}

/*
 * The old log is synced before the new one takes anything: of two logs only the
 * last may have lost its end in a power cut.
 */
static int rotate_synced(struct commit *c, size_t capacity,
			 struct memtable *large)
{
	int err = commit_log_sync(c);

	return err ? err : rotate(c, capacity, large);
}

/* Wait until there may be one more memtable. */
static int wait_for_memtable(struct commit *c, bool no_slowdown)
{
	struct cairn_db *db = c->db;
	bool fits;
	int err;

	mutex_lock(&c->mu);
	mutex_lock(&db->mu);
	fits = stall_memtable_fits(db);
	if (!fits && !no_slowdown) {
		c->stalled = true;
		commit_turn_away(c);
	}
	mutex_unlock(&c->mu);
	err = stall_for_memtable(db, no_slowdown);
	mutex_unlock(&db->mu);
	events_drain(db->events);
	if (!fits && !no_slowdown) {
		mutex_lock(&c->mu);
		c->stalled = false;
		mutex_unlock(&c->mu);
	}
	return err;
}

/* The memtable has no room for cost bytes. */
int commit_make_room(struct commit *c, size_t cost, bool no_slowdown)
{
	size_t capacity = cost > c->capacity ? cost : c->capacity;
	int err = wait_for_memtable(c, no_slowdown);

	if (err)
		return err;
	return rotate_synced(c, capacity, NULL);
}

/*
 * An empty memtable, whose log has nothing either, makes way for the large one,
 * which takes the log over: false when it is not like that. Who has batches in
 * flight may still look at the memtable.
 */
static bool replace_empty(struct commit *c, struct memtable *large)
{
	struct cairn_db *db = c->db;
	struct memtable *old = c->mem;
	bool done;

	if (commit_memtable_in_use(c))
		return false;
	mutex_lock(&c->mu);
	mutex_lock(&db->mu);
	done = list_empty(&c->in_flight);
	if (done) {
		memtable_set_log_number(large, memtable_log_number(old));
		db->mem = large;
		done = !db_install_read_state(db);
		if (!done)
			db->mem = old;
	}
	if (done) {
		memtable_ref(large);
		c->mem = large;
		c->mem_empty = memtable_bytes(large);
	}
	mutex_unlock(&db->mu);
	mutex_unlock(&c->mu);
	if (done) {
		memtable_writer_unref(old);
		memtable_unref(old);
	}
	return done;
}

int commit_begin_large(struct commit *c, struct memtable *large,
		       bool no_slowdown)
{
	int err;

	if (replace_empty(c, large))
		return CAIRN_OK;
	err = wait_for_memtable(c, no_slowdown);
	return err ? err : rotate_synced(c, c->capacity, large);
}

int commit_end_large(struct commit *c)
{
	struct cairn_db *db = c->db;
	bool fits;

	mutex_lock(&db->mu);
	fits = stall_memtable_fits(db);
	mutex_unlock(&db->mu);
	return fits ? rotate_synced(c, c->capacity, NULL) : CAIRN_OK;
}

/* ------------------------------------------------------------- for others */

bool commit_memtable_in_use(struct commit *c)
{
	return memtable_bytes(c->mem) > c->mem_empty;
}

int commit_rotate(struct commit *c)
{
	return rotate_synced(c, c->capacity, NULL);
}

int commit_replace_log(struct commit *c)
{
	int err = rotate(c, c->capacity, NULL);

	if (err)
		return err;
	/* A sync of the new log would not say anything about the old one. */
	mutex_lock(&c->mu);
	commit_fail_syncing(c, work_refuse(c->db->work));
	mutex_unlock(&c->mu);
	return CAIRN_OK;
}

void commit_recovered(struct commit *c)
{
	atomic_store_explicit(&c->failed, false, memory_order_relaxed);
}

bool commit_log_failed(struct commit *c)
{
	return !c->log || db_log_failed(c->log);
}

int commit_sync(struct commit *c)
{
	return commit_log_sync(c);
}

uint64_t commit_last_unlogged(struct commit *c)
{
	return c->last_unlogged;
}

uint64_t commit_wal_bytes(struct commit *c)
{
	return atomic_load_explicit(&c->log_size, memory_order_relaxed);
}

void commit_log_position(struct commit *c, uint64_t *number, uint64_t *size)
{
	*number = c->log ? db_log_number(c->log) : 0;
	*size = c->log ? db_log_size(c->log) : 0;
}
