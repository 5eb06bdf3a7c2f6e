/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/obsolete.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/budget.h"
#include "engine/db/event.h"
#include "engine/db/space.h"
#include "engine/db/thread.h"

/* How often deleting a file is tried; the next open has another go. */
#define ATTEMPTS_MAX 3

/* What has piled up is gone after so many seconds. */
#define BACKLOG_SECONDS 300
/* How often to look whether the disk has become full meanwhile. */
#define PACE_LOOK_US UINT64_C(500000)

struct doomed {
	enum file_kind kind;
	uint64_t number;
	char *name; /* owned; NULL: by kind and number */
	uint64_t size;
	unsigned attempts;
	bool live;
};

struct doomed_list {
	struct doomed *files;
	size_t n;
	size_t cap;
};

struct obsolete {
	struct cairn_db *db;
	pthread_t thread;

	/* Guarded by db->mu. */
	struct doomed_list zombies; /* tables; sorted by number */
	struct doomed_list queue;   /* to be deleted */
	struct doomed_list running; /* being deleted */
	struct doomed_list unknown; /* of obsolete_edit_unknown() */
	struct doomed_list wals;    /* filled, ascending */
	unsigned n_holds;           /* nothing may be deleted */

	uint64_t next_us; /* of the thread: when the next file may go */

	struct mutex mu; /* a leaf lock */
	/* Guarded by mu. */
	bool look;
	bool stop;
	struct cond changed;
};

static void doomed_add(struct doomed_list *l, const struct doomed *d)
{
	size_t cap = l->cap ? 2 * l->cap : 16;
	struct doomed *p;

	if (l->n == l->cap) {
		p = realloc(l->files, cap * sizeof(*p));
		if (!p) {
			free(d->name);
			return;
		}
		l->files = p;
		l->cap = cap;
	}
	l->files[l->n++] = *d;
}

static int by_number(const void *a, const void *b)
{
	const struct doomed *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static uint64_t list_bytes(const struct doomed_list *l, bool tables)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->n; i++)
		if ((l->files[i].kind == FILE_TABLE) == tables)
			sum += l->files[i].size;
	return sum;
}

/* ----------------------------------------------------------------- what is */

static bool adds(const struct version_edit *edit, uint64_t number)
{
	for (size_t i = 0; i < edit->n_added; i++)
		if (edit->added[i].meta->number == number)
			return true;
	return false;
}

static uint64_t size_in(const struct version *v,
			const struct version_edit_deletion *d)
{
	const struct version_files *level = &v->level[d->level];

	for (size_t i = 0; i < level->n; i++)
		if (level->files[i]->number == d->number)
			return level->files[i]->size;
	return 0;
}

void obsolete_drop_tables(struct obsolete *o, const struct version_edit *edit,
			  const struct version *before)
{
	assert_held(&o->db->mu);
	for (size_t i = 0; i < edit->n_deleted; i++) {
		const struct version_edit_deletion *del = &edit->deleted[i];
		struct doomed d = {
			.kind = FILE_TABLE,
			.number = del->number,
			.size = size_in(before, del),
		};

		/* Moved to another level. */
		if (adds(edit, del->number))
			continue;
		doomed_add(&o->zombies, &d);
	}
	if (o->zombies.n)
		qsort(o->zombies.files, o->zombies.n, sizeof(struct doomed),
		      by_number);
}

void obsolete_edit_unknown(struct obsolete *o, const struct version_edit *edit)
{
	assert_held(&o->db->mu);
	for (size_t i = 0; i < edit->n_added; i++) {
		const struct file_meta *f = edit->added[i].meta;
		struct doomed d = {
			.kind = FILE_TABLE,
			.number = f->number,
			.size = f->size,
		};
		bool moved = false;

		for (size_t k = 0; k < edit->n_deleted; k++)
			moved = moved || edit->deleted[k].number == f->number;
		if (!moved)
			doomed_add(&o->unknown, &d);
	}
}

void obsolete_edit_settled(struct obsolete *o)
{
	assert_held(&o->db->mu);
	for (size_t i = 0; i < o->unknown.n; i++)
		doomed_add(&o->queue, &o->unknown.files[i]);
	o->unknown.n = 0;
	obsolete_wake(o);
}

void obsolete_add(struct obsolete *o, enum file_kind kind, uint64_t number,
		  uint64_t size)
{
	struct doomed d = { .kind = kind, .number = number, .size = size };

	assert_held(&o->db->mu);
	doomed_add(&o->queue, &d);
	obsolete_wake(o);
}

void obsolete_add_named(struct obsolete *o, enum file_kind kind,
			const char *name, uint64_t number, uint64_t size)
{
	struct doomed d = {
		.kind = kind,
		.number = number,
		.name = strdup(name),
		.size = size,
	};

	assert_held(&o->db->mu);
	if (d.name)
		doomed_add(&o->queue, &d);
	obsolete_wake(o);
}

void obsolete_add_wal(struct obsolete *o, uint64_t number, uint64_t size)
{
	struct doomed d = { .kind = FILE_WAL, .number = number, .size = size };

	assert_held(&o->db->mu);
	doomed_add(&o->wals, &d);
}

void obsolete_wals_below(struct obsolete *o, uint64_t log_number)
{
	size_t kept = 0;

	assert_held(&o->db->mu);
	for (size_t i = 0; i < o->wals.n; i++) {
		if (o->wals.files[i].number < log_number)
			doomed_add(&o->queue, &o->wals.files[i]);
		else
			o->wals.files[kept++] = o->wals.files[i];
	}
	o->wals.n = kept;
	obsolete_wake(o);
}

int obsolete_list_wals(const struct obsolete *o, struct buf *out)
{
	int err = CAIRN_OK;

	assert_held(&o->db->mu);
	for (size_t i = 0; !err && i < o->wals.n; i++) {
		struct obsolete_wal w = { o->wals.files[i].number,
					  o->wals.files[i].size };

		err = buf_append(out, &w, sizeof(w));
	}
	return err;
}

uint64_t obsolete_wal_bytes(const struct obsolete *o)
{
	assert_held(&o->db->mu);
	return list_bytes(&o->wals, false);
}

void obsolete_hold(struct obsolete *o)
{
	assert_held(&o->db->mu);
	o->n_holds++;
}

void obsolete_release(struct obsolete *o)
{
	assert_held(&o->db->mu);
	assert(o->n_holds > 0);
	o->n_holds--;
	obsolete_wake(o);
}

void obsolete_wake(struct obsolete *o)
{
	mutex_lock(&o->mu);
	o->look = true;
	cond_signal(&o->changed);
	mutex_unlock(&o->mu);
}

void obsolete_count(const struct obsolete *o, struct obsolete_counts *out)
{
	*out = (struct obsolete_counts){
		.wal_files = o->wals.n,
		.wal_bytes = list_bytes(&o->wals, false),
		.zombie_bytes = list_bytes(&o->zombies, true),
		.obsolete_bytes = list_bytes(&o->queue, true) +
				  list_bytes(&o->running, true) +
				  list_bytes(&o->unknown, true),
		.other_bytes = list_bytes(&o->queue, false) +
			       list_bytes(&o->running, false),
	};
}

/* --------------------------------------------------------------- the thread */

static void mark_live(void *ctx, const struct file_meta *f)
{
	struct doomed_list *zombies = ctx;
	struct doomed key = { .number = f->number };
	struct doomed *d = bsearch(&key, zombies->files, zombies->n,
				   sizeof(key), by_number);

	if (d)
		d->live = true;
}

/* Zombies that no version has any more join the queue. */
static void sort_out_zombies(struct obsolete *o)
{
	struct doomed_list *z = &o->zombies;
	size_t kept = 0;

	if (!z->n)
		return;
	for (size_t i = 0; i < z->n; i++)
		z->files[i].live = false;
	version_set_live_files(o->db->versions, mark_live, z);
	for (size_t i = 0; i < z->n; i++) {
		if (z->files[i].live)
			z->files[kept++] = z->files[i];
		else
			doomed_add(&o->queue, &z->files[i]);
	}
	z->n = kept;
}

static char *path_of(const struct obsolete *o, const struct doomed *d)
{
	const char *dir = o->db->dir;

	if (d->name)
		return filename_in(dir, d->name);
	switch (d->kind) {
	case FILE_TABLE:
		return filename_table(dir, d->number);
	case FILE_TABLE_LDB:
		return filename_table_ldb(dir, d->number);
	case FILE_WAL:
		return filename_wal(dir, d->number);
	case FILE_MANIFEST:
		return filename_manifest(dir, d->number);
	case FILE_OPTIONS:
		return filename_options(dir, d->number);
	case FILE_TEMP:
		return filename_temp(dir, d->number);
	case FILE_UNKNOWN:
	case FILE_CURRENT:
	case FILE_LOCK:
	case FILE_IDENTITY:
	case FILE_INFO_LOG:
	case FILE_BLOB:
		break;
	}
	assert(!"a file that is never obsolete");
	return NULL;
}

static int unlink_doomed(struct obsolete *o, const struct doomed *d)
{
	char *path = path_of(o, d);
	int err;

	if (!path)
		return error_nomem();
	err = env_unlink(o->db->env, path);
	free(path);
	if (err != CAIRN_NOT_FOUND || d->kind != FILE_TABLE || d->name)
		return err;
	path = filename_table_ldb(o->db->dir, d->number);
	if (!path)
		return error_nomem();
	err = env_unlink(o->db->env, path);
	free(path);
	return err;
}

static void post_deleted(struct obsolete *o, const struct doomed *d, int code)
{
	struct cairn_event e = {
		.kind = CAIRN_EVENT_TABLE_DELETED,
		.file_number = d->number,
		.bytes_out = d->size,
		.code = code,
		.detail = code ? cairn_errmsg() : NULL,
	};

	if (d->kind == FILE_WAL)
		e.kind = CAIRN_EVENT_WAL_DELETED;
	if (d->kind == FILE_WAL || d->kind == FILE_TABLE ||
	    d->kind == FILE_TABLE_LDB) {
		events_post(o->db->events, &e);
		return;
	}
	if (code)
		events_log(o->db->events, "[delete] %s", cairn_errmsg());
	events_drain(o->db->events);
}

static void delete_one(struct obsolete *o, struct doomed *d)
{
	int err;

	if (d->kind == FILE_TABLE || d->kind == FILE_TABLE_LDB)
		table_cache_evict(o->db->tables, d->number);
	err = unlink_doomed(o, d);
	d->attempts++;
	d->live = err < 0 && d->attempts < ATTEMPTS_MAX;
	/* It was gone already: the end is the same. */
	if (err != CAIRN_NOT_FOUND)
		post_deleted(o, d, err);
}

/*
 * Wait for the next file's turn: deleting much at once keeps some disks and
 * file systems from doing anything else. Nobody waits who needs the space, nor
 * for closing.
 */
static void await_turn(struct obsolete *o, const struct doomed *d,
		       uint64_t backlog)
{
	struct cairn_db *db = o->db;
	uint64_t rate = db->opts.delete_rate;
	uint64_t now = env_mono_us(db->env);
	bool stop = false;

	if (!rate || !d->size)
		return;
	if (backlog / BACKLOG_SECONDS > rate)
		rate = backlog / BACKLOG_SECONDS;
	while (!stop && now < o->next_us && !space_is_scarce(db)) {
		uint64_t us = o->next_us - now;

		mutex_lock(&o->mu);
		if (!o->stop)
			(void)cond_wait_us(&o->changed, &o->mu,
					   us < PACE_LOOK_US ? us
							     : PACE_LOOK_US);
		stop = o->stop;
		mutex_unlock(&o->mu);
		/* The metrics tell what waits from what is held. */
		mutex_lock(&db->mu);
		sort_out_zombies(o);
		mutex_unlock(&db->mu);
		now = env_mono_us(db->env);
	}
	o->next_us = now + (uint64_t)((double)d->size * 1e6 / (double)rate);
}

/* Delete what can be deleted now. */
static void work_off(struct obsolete *o)
{
	struct cairn_db *db = o->db;
	struct doomed_list spare;
	uint64_t backlog;

	mutex_lock(&db->mu);
	if (o->n_holds) {
		mutex_unlock(&db->mu);
		return;
	}
	sort_out_zombies(o);
	spare = o->running;
	o->running = o->queue;
	o->queue = spare;
	o->queue.n = 0;
	mutex_unlock(&db->mu);

	/* Only this thread changes running, so it may be read without mu; what
	 * changes in it (attempts, live) nobody else looks at. */
	backlog =
		list_bytes(&o->running, true) + list_bytes(&o->running, false);
	for (size_t i = 0; i < o->running.n; i++) {
		await_turn(o, &o->running.files[i], backlog);
		delete_one(o, &o->running.files[i]);
	}
	if (o->running.n)
		space_look(db);

	mutex_lock(&db->mu);
	for (size_t i = 0; i < o->running.n; i++) {
		if (o->running.files[i].live)
			doomed_add(&o->queue, &o->running.files[i]);
		else
			free(o->running.files[i].name);
	}
	o->running.n = 0;
	mutex_unlock(&db->mu);
}

static void *run(void *arg)
{
	struct obsolete *o = arg;
	bool stop;

	do {
		mutex_lock(&o->mu);
		while (!o->look && !o->stop)
			cond_wait(&o->changed, &o->mu);
		o->look = false;
		stop = o->stop;
		mutex_unlock(&o->mu);
		work_off(o);
		/* Readers may have let go of memtables. */
		budget_update(o->db);
	} while (!stop);
	return NULL;
}

int obsolete_new(struct cairn_db *db, struct obsolete **out)
{
	struct obsolete *o = calloc(1, sizeof(*o));
	int err;

	if (!o)
		return error_nomem();
	o->db = db;
	mutex_init(&o->mu);
	cond_init(&o->changed);
	/* Set before the thread looks at it. */
	*out = o;
	err = thread_start(&o->thread, run, o);
	if (err) {
		*out = NULL;
		cond_fini(&o->changed);
		mutex_fini(&o->mu);
		free(o);
	}
	return err;
}

void obsolete_free(struct obsolete *o)
{
	if (!o)
		return;
	mutex_lock(&o->mu);
	o->stop = true;
	cond_signal(&o->changed);
	mutex_unlock(&o->mu);
	pthread_join(o->thread, NULL);
	for (size_t i = 0; i < o->queue.n; i++)
		free(o->queue.files[i].name);
	free(o->zombies.files);
	free(o->queue.files);
	free(o->running.files);
	free(o->unknown.files);
	free(o->wals.files);
	cond_fini(&o->changed);
	mutex_fini(&o->mu);
	free(o);
}
