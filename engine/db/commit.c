/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two locks. c->mu guards the queues and the writers' states and is held for
 * moments only. The log itself (with the memtable that takes writes, and the
 * next sequence number) belongs to the thread that set c->log_taken; it works
 * on it with c->mu let go. Syncing is apart: one thread at a time may sync the
 * log while another adds to it; it has set c->sync_running.
 *
 * A writer lives on its thread's stack. Others touch it only with c->mu held or
 * between the states QUEUED and DONE, and its thread leaves only after it has
 * seen DONE with c->mu held.
 */
#include "engine/db/commit_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/event.h"
#include "engine/db/space.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/work.h"
#include "engine/kv/batch.h"

/* A leader takes more batches along until they have this many bytes: enough to
 * make the cost of a write(2) small, too little to keep the first one waiting.
 */
#define GROUP_BYTES_MAX ((size_t)1 << 20)

/* Disk space for the first log. Memtables need no such care: memory that they
 * have not used yet is none. */
#define LOG_ROOM_FIRST ((size_t)256 << 10)

/*
 * How often to look before sleeping. One look is some 40 to 140 cycles: in all
 * about as long as another thread's write(2) of a small batch takes. To sleep
 * and be woken costs several times that.
 */
#define SPINS 60

enum writer_state {
	WRITER_QUEUED,   /* no number yet */
	WRITER_LOGGED,   /* numbered and in the log, not in the memtable */
	WRITER_APPLYING, /* some thread inserts it */
	WRITER_APPLIED,  /* waits for those before it */
	WRITER_DONE,     /* visible, or failed */
};

struct writer {
	struct list link;      /* in queue, a leader's group, or in_flight */
	struct list sync_link; /* in syncing */
	uint8_t *bytes;        /* the batch; NULL: none */
	size_t len;
	uint32_t count;
	bool sync;
	bool no_slowdown;
	bool disable_wal;
	bool wants_log;         /* not to write, but to have the log */
	struct memtable *large; /* made of the batch; NULL: none */

	uint64_t seqno;
	struct memtable *mem; /* with a writer reference */
	int err;
	bool told;    /* err happened on this thread, which has the message */
	bool syncing; /* a sync is due before it may return */
	enum writer_state state;

	/* Changes whenever something was done to it: what its thread looks at
	 * without the lock. Relaxed; it looks again with the lock. */
	_Atomic unsigned changes;
	bool sleeping;
	bool have_cond;
	struct cond cond;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* ----------------------------------------------------------------- waiting */

/* w changed. c->mu held. */
static void wake(struct writer *w)
{
	atomic_fetch_add_explicit(&w->changes, 1, memory_order_relaxed);
	if (w->sleeping)
		cond_signal(&w->cond);
}

static struct writer *head_of(struct list *l)
{
	return list_empty(l) ? NULL : list_entry(l->next, struct writer, link);
}

/* Wait for something to happen to w: looking first if it may be soon. */
static void wait_for_change(struct commit *c, struct writer *w, bool soon)
{
	unsigned seen = atomic_load_explicit(&w->changes, memory_order_relaxed);

	if (soon) {
		mutex_unlock(&c->mu);
		for (int i = 0; i < SPINS; i++) {
			if (atomic_load_explicit(&w->changes,
						 memory_order_relaxed) != seen)
				break;
			relax();
		}
		mutex_lock(&c->mu);
	}
	if (atomic_load_explicit(&w->changes, memory_order_relaxed) != seen)
		return;
	if (!w->have_cond) {
		cond_init(&w->cond);
		w->have_cond = true;
	}
	w->sleeping = true;
	cond_wait(&w->cond, &c->mu);
	w->sleeping = false;
}

/* Whether w's thread may take the log now. c->mu held. */
static bool may_take_log(struct commit *c, const struct writer *w)
{
	const struct writer *head = head_of(&c->queue);

	if (c->log_taken || !head)
		return false;
	return w->wants_log ? head == w : !head->wants_log;
}

/* c->mu held. */
static void give_log_back(struct commit *c)
{
	struct writer *head = head_of(&c->queue);

	assert(c->log_taken);
	c->log_taken = false;
	if (head)
		wake(head);
}

/* Writers that do not want to wait. c->mu held. */
void commit_turn_away(struct commit *c)
{
	snprintf(c->failure, sizeof(c->failure),
		 "writers are stalled: memtables wait to be flushed");
	list_for_each_safe (pos, next, &c->queue) {
		struct writer *w = list_entry(pos, struct writer, link);

		if (!w->no_slowdown)
			continue;
		list_remove(&w->link);
		w->err = CAIRN_EBUSY;
		w->state = WRITER_DONE;
		wake(w);
	}
}

/* ------------------------------------------------------------------ leading */

/*
 * Give w its number, its place in the memtable and in the log's buffer.
 * CAIRN_NOT_FOUND: there is no room in the memtable.
 */
static int number_and_add(struct commit *c, struct writer *w)
{
	int err;

	if (c->failed || work_refuses_writes(c->db->work))
		return work_refuse(c->db->work);
	if (!memtable_reserve(c->mem, memtable_batch_cost(w->len, w->count)))
		return CAIRN_NOT_FOUND;
	w->mem = c->mem;
	w->seqno = c->next_seqno;
	c->next_seqno += w->count;
	put_le64(w->bytes, w->seqno);
	if (w->disable_wal) {
		c->last_unlogged = c->next_seqno - 1;
		return CAIRN_OK;
	}
	err = db_log_add(c->log, slice_of(w->bytes, w->len));
	if (err) {
		memtable_writer_unref(w->mem);
		return err;
	}
	stats_add(&c->db->stats->wal_in_bytes, w->len);
	return CAIRN_OK;
}

/* Those of the group from pos on: back to the front of the queue. */
static void put_back(struct commit *c, struct list *group, struct list *pos)
{
	mutex_lock(&c->mu);
	while (pos != group) {
		struct list *last = group->prev;
		bool done = last == pos;

		list_remove(last);
		list_add_head(&c->queue, last);
		if (done)
			break;
	}
	mutex_unlock(&c->mu);
}

static int flush_log(struct commit *c)
{
	uint64_t before = db_log_size(c->log);
	int err = db_log_flush(c->log);
	uint64_t after = db_log_size(c->log);

	stats_add(&c->db->stats->wal_written_bytes, after - before);
	atomic_store_explicit(&c->log_size, after, memory_order_release);
	if (err)
		commit_log_latch(c, err);
	else
		space_log_grown(c->db, after);
	return err;
}

/* Nobody knows what of the group reached the log. */
static void fail_group(struct list *group, const struct writer *leader, int err)
{
	list_for_each (pos, group) {
		struct writer *w = list_entry(pos, struct writer, link);

		if (w->err)
			continue;
		w->err = err;
		w->told = w == leader;
		if (w->bytes)
			memtable_writer_unref(w->mem);
	}
}

/* Keep this thread's message for those whose batch it is about. */
static void keep_failure(struct commit *c)
{
	mutex_lock(&c->mu);
	snprintf(c->failure, sizeof(c->failure), "%s", cairn_errmsg());
	mutex_unlock(&c->mu);
}

/* A batch that is a memtable by itself. */
static int log_large(struct commit *c, struct writer *w)
{
	int err;

	if (c->failed || work_refuses_writes(c->db->work))
		return work_refuse(c->db->work);
	err = commit_begin_large(c, w->large, w->no_slowdown);
	return err ? err : number_and_add(c, w);
}

/*
 * One of the group. CAIRN_NOT_FOUND: it must wait for the next group, because
 * this one has begun in a memtable that is full now.
 */
static int log_one(struct commit *c, struct list *group, struct writer *w,
		   bool first)
{
	int err = w->large ? CAIRN_NOT_FOUND : number_and_add(c, w);

	if (err != CAIRN_NOT_FOUND || !first)
		return err;
	/* This may take a while, and not all may want to wait. */
	put_back(c, group, w->link.next);
	if (w->large)
		return log_large(c, w);
	err = commit_make_room(c, memtable_batch_cost(w->len, w->count),
			       w->no_slowdown);
	if (err)
		return err;
	err = number_and_add(c, w);
	assert(err != CAIRN_NOT_FOUND);
	return err;
}

/* Step 2 of the top of commit.h, without c->mu. */
static void log_group(struct commit *c, struct list *group,
		      const struct writer *leader)
{
	bool to_flush = false;
	bool first = true;
	int err;

	list_for_each (pos, group) {
		struct writer *w = list_entry(pos, struct writer, link);

		if (!w->bytes)
			continue;
		err = log_one(c, group, w, first);
		if (err == CAIRN_NOT_FOUND) {
			put_back(c, group, pos);
			break;
		}
		if (err) {
			w->err = err;
			w->told = w == leader;
			keep_failure(c);
			continue;
		}
		first = false;
		to_flush = to_flush || !w->disable_wal;
	}
	if (!to_flush)
		return;
	err = flush_log(c);
	if (err) {
		keep_failure(c);
		fail_group(group, leader, err);
	}
}

static void take_group(struct commit *c, struct list *group)
{
	struct writer *w = head_of(&c->queue);
	size_t bytes = 0;

	while (w && !w->wants_log) {
		bytes += w->len;
		if (bytes > GROUP_BYTES_MAX && !list_empty(group))
			break;
		list_remove(&w->link);
		list_add_tail(group, &w->link);
		w = head_of(&c->queue);
	}
}

/* What the leader has done to the group becomes known. c->mu held. */
static void announce_group(struct commit *c, struct list *group)
{
	list_for_each_safe (pos, next, group) {
		struct writer *w = list_entry(pos, struct writer, link);

		list_remove(&w->link);
		if (w->err || !w->bytes) {
			w->state = WRITER_DONE;
		} else {
			w->state = WRITER_LOGGED;
			list_add_tail(&c->in_flight, &w->link);
		}
		if (w->sync && !w->err) {
			w->syncing = true;
			list_add_tail(&c->syncing, &w->sync_link);
		}
		wake(w);
	}
}

static void tell_synced(struct list *group, int err)
{
	list_for_each_safe (pos, next, group) {
		struct writer *w = list_entry(pos, struct writer, sync_link);

		list_remove(&w->sync_link);
		w->syncing = false;
		if (err)
			w->err = err;
		wake(w);
	}
}

void commit_fail_syncing(struct commit *c, int err)
{
	if (list_empty(&c->syncing))
		return;
	snprintf(c->failure, sizeof(c->failure), "%s", cairn_errmsg());
	tell_synced(&c->syncing, err);
}

void commit_sync_ended(struct commit *c)
{
	c->sync_running = false;
	cond_broadcast(&c->sync_done);
	/* One that is not done comes by itself when it is. */
	list_for_each (pos, &c->syncing) {
		struct writer *w = list_entry(pos, struct writer, sync_link);

		if (w->state == WRITER_DONE) {
			wake(w);
			break;
		}
	}
}

/*
 * Sync the log for all in c->syncing: all of them were written before now.
 * c->mu held, let go for the sync.
 */
static void sync_for_all(struct commit *c)
{
	struct list group;
	int err;

	list_init(&group);
	while (!list_empty(&c->syncing)) {
		struct list *first = c->syncing.next;

		list_remove(first);
		list_add_tail(&group, first);
	}
	c->sync_running = true;
	err = commit_log_sync_shared(c);
	if (err) {
		snprintf(c->failure, sizeof(c->failure), "%s", cairn_errmsg());
		/* Theirs is in the same log. */
		commit_fail_syncing(c, err);
	}
	tell_synced(&group, err);
	commit_sync_ended(c);
}

/* c->mu held, let go meanwhile. */
static void lead(struct commit *c, struct writer *self)
{
	struct list group;

	list_init(&group);
	c->log_taken = true;
	take_group(c, &group);
	mutex_unlock(&c->mu);
	log_group(c, &group, self);
	/* So that it is flushed without waiting for the next batch, which will
	 * hear of it if this fails. */
	if (memtable_is_batch(c->mem) && !c->failed)
		(void)!commit_end_large(c);
	if (c->failed)
		events_drain(c->db->events);
	mutex_lock(&c->mu);
	announce_group(c, &group);
	give_log_back(c);
}

/* ---------------------------------------------------- applying, publishing */

/*
 * Make visible what can be. c->mu held. Returns whether a memtable that no
 * longer takes writes lost a writer.
 *
 * A memtable keeps its writers until what they wrote is visible: a flush that
 * began earlier might drop what a snapshot taken in between is to see.
 */
static bool publish(struct commit *c)
{
	struct writer *w = head_of(&c->in_flight);
	bool ready = false;

	while (w && w->state == WRITER_APPLIED) {
		list_remove(&w->link);
		/* Pairs with the acquire in readers: who sees the number sees
		 * the entries. */
		atomic_store_explicit(&c->db->visible, w->seqno + w->count - 1,
				      memory_order_release);
		ready = ready || w->mem != c->mem;
		memtable_writer_unref(w->mem);
		w->state = WRITER_DONE;
		wake(w);
		w = head_of(&c->in_flight);
	}
	if (c->draining && !w)
		cond_signal(&c->drained);
	return ready;
}

/* Insert w, which is LOGGED. c->mu held, let go meanwhile. */
static void apply(struct commit *c, struct writer *w)
{
	bool ready;
	int err;

	w->state = WRITER_APPLYING;
	mutex_unlock(&c->mu);
	err = memtable_apply(w->mem, slice_of(w->bytes, w->len));
	mutex_lock(&c->mu);
	if (err) {
		/* It is in the log, so replay will say the same. */
		w->err = err;
		snprintf(c->failure, sizeof(c->failure), "%s", cairn_errmsg());
	}
	w->state = WRITER_APPLIED;
	ready = publish(c);
	if (!ready)
		return;
	mutex_unlock(&c->mu);
	work_flush_ready(c->db->work);
	mutex_lock(&c->mu);
}

/* The first batch that nobody inserts. c->mu held. */
static struct writer *first_logged(struct commit *c)
{
	list_for_each (pos, &c->in_flight) {
		struct writer *w = list_entry(pos, struct writer, link);

		if (w->state == WRITER_LOGGED)
			return w;
	}
	return NULL;
}

/* Do what there is to do for w, or for those it waits for. */
static void advance(struct commit *c, struct writer *w)
{
	struct writer *other;

	switch (w->state) {
	case WRITER_QUEUED:
		if (may_take_log(c, w))
			lead(c, w);
		else
			wait_for_change(c, w, !c->stalled);
		return;
	case WRITER_LOGGED:
		apply(c, w);
		return;
	case WRITER_APPLYING:
	case WRITER_APPLIED:
		other = first_logged(c);
		if (other)
			apply(c, other);
		else
			wait_for_change(c, w, true);
		return;
	case WRITER_DONE:
		/* A sync takes long: not the business of one who did not ask
		 * for it. */
		if (c->sync_running)
			wait_for_change(c, w, false);
		else
			sync_for_all(c);
		return;
	}
}

static void writer_init(struct writer *w)
{
	*w = (struct writer){ .state = WRITER_QUEUED };
	list_init(&w->sync_link);
}

static int writer_fini(struct writer *w, const char *failure)
{
	if (w->have_cond)
		cond_fini(&w->cond);
	if (w->err && !w->told)
		return error_set(w->err, "%s", failure);
	return w->err;
}

static int run(struct commit *c, struct writer *w)
{
	char failure[sizeof(c->failure)];

	mutex_lock(&c->mu);
	if (c->stalled && w->no_slowdown) {
		mutex_unlock(&c->mu);
		return error_set(CAIRN_EBUSY, "writers are stalled: memtables "
					      "wait to be flushed");
	}
	list_add_tail(&c->queue, &w->link);
	while (w->state != WRITER_DONE || w->syncing)
		advance(c, w);
	if (!w->err || w->told) {
		mutex_unlock(&c->mu);
		return writer_fini(w, "");
	}
	memcpy(failure, c->failure, sizeof(failure));
	mutex_unlock(&c->mu);
	return writer_fini(w, failure);
}

int commit_batch(struct commit *c, const struct commit_batch *b)
{
	struct writer w;

	writer_init(&w);
	w.bytes = b->bytes;
	w.len = b->len;
	w.count = b->count;
	w.sync = b->sync;
	w.no_slowdown = b->no_slowdown;
	w.disable_wal = b->disable_wal;
	w.large = b->large;
	return run(c, &w);
}

/* --------------------------------------------------------------- the object */

/* All but the log. */
static int make(struct cairn_db *db, uint64_t next_seqno, uint64_t log_number,
		struct commit **out)
{
	struct commit *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return error_nomem();
	c->db = db;
	c->next_seqno = next_seqno;
	c->capacity = (size_t)db->opts.write_buffer_size;
	c->log_room =
		c->capacity < LOG_ROOM_FIRST ? c->capacity : LOG_ROOM_FIRST;
	err = memtable_new(c->capacity, log_number, &c->mem);
	if (err) {
		free(c);
		return err;
	}
	mutex_init(&c->mu);
	cond_init(&c->drained);
	cond_init(&c->sync_done);
	list_init(&c->queue);
	list_init(&c->in_flight);
	list_init(&c->syncing);
	c->mem_empty = memtable_bytes(c->mem);
	*out = c;
	return CAIRN_OK;
}

int commit_new(struct cairn_db *db, uint64_t next_seqno, uint64_t log_number,
	       struct commit **out)
{
	struct db_log_start start = {
		.number = log_number,
		.seqno = next_seqno,
		.expected = next_seqno,
	};
	struct commit *c;
	int err = make(db, next_seqno, log_number, &c);

	if (err)
		return err;
	start.room = c->log_room;
	err = db_log_create(db->env, db->dir, &start, &c->log);
	if (err) {
		memtable_unref(c->mem);
		commit_free(c);
		return err;
	}
	atomic_store_explicit(&c->log_size, db_log_size(c->log),
			      memory_order_relaxed);
	mutex_lock(&db->mu);
	db->mem = c->mem;
	mutex_unlock(&db->mu);
	*out = c;
	return CAIRN_OK;
}

int commit_new_without_log(struct cairn_db *db, uint64_t next_seqno,
			   uint64_t log_number, struct commit **out)
{
	struct commit *c;
	int err = make(db, next_seqno, log_number, &c);

	if (err)
		return err;
	atomic_store_explicit(&c->failed, true, memory_order_relaxed);
	mutex_lock(&db->mu);
	db->mem = c->mem;
	mutex_unlock(&db->mu);
	*out = c;
	return CAIRN_OK;
}

void commit_free(struct commit *c)
{
	if (!c)
		return;
	assert(list_empty(&c->queue));
	assert(list_empty(&c->in_flight));
	db_log_free(c->log);
	cond_fini(&c->sync_done);
	cond_fini(&c->drained);
	mutex_fini(&c->mu);
	free(c);
}

/* -------------------------------------------------------- having the log */

void commit_lock_log(struct commit *c)
{
	struct writer w;

	writer_init(&w);
	w.wants_log = true;
	mutex_lock(&c->mu);
	list_add_tail(&c->queue, &w.link);
	while (!may_take_log(c, &w))
		wait_for_change(c, &w, false);
	list_remove(&w.link);
	c->log_taken = true;
	mutex_unlock(&c->mu);
	(void)writer_fini(&w, "");
}

void commit_unlock_log(struct commit *c)
{
	mutex_lock(&c->mu);
	give_log_back(c);
	mutex_unlock(&c->mu);
	events_drain(c->db->events);
}

void commit_drain(struct commit *c)
{
	mutex_lock(&c->mu);
	assert(c->log_taken);
	c->draining = true;
	while (!list_empty(&c->in_flight))
		cond_wait(&c->drained, &c->mu);
	c->draining = false;
	mutex_unlock(&c->mu);
}

uint64_t commit_take_seqnos(struct commit *c, uint64_t n)
{
	uint64_t first = c->next_seqno;

	c->next_seqno += n;
	return first;
}

void commit_publish(struct commit *c, uint64_t last)
{
	/* As commit_drain() left it: who has the log may look. */
	assert(c->log_taken && list_empty(&c->in_flight));
	assert(last < c->next_seqno);
	assert(last >
	       atomic_load_explicit(&c->db->visible, memory_order_relaxed));
	/* Pairs with the acquire in readers: who sees the number sees the
	 * version that has what it stands for. */
	atomic_store_explicit(&c->db->visible, last, memory_order_release);
}
