/* SPDX-License-Identifier: BSD-3-Clause */
/* Flushes: memtables become tables of level 0, and their logs obsolete. */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/budget.h"
#include "engine/db/commit.h"
#include "engine/db/event.h"
#include "engine/db/obsolete.h"
#include "engine/db/stall.h"
#include "engine/db/stats.h"
#include "engine/db/work_impl.h"

struct flush {
	struct job job;
	struct memtable **mems; /* with references */
	size_t n;
	uint64_t log_number; /* logs below are not needed afterwards */
	struct job_result result;
};

static void flush_fini(struct flush *f)
{
	for (size_t i = 0; i < f->n; i++)
		memtable_unref(f->mems[i]);
	free(f->mems);
	buf_fini(&f->job.snapshots);
	job_result_fini(&f->result);
}

/* mu held. */
static int flush_init(struct work *w, struct flush *f, size_t n)
{
	struct cairn_db *db = w->db;
	int err;

	*f = (struct flush){ .job = { .is_flush = true, .n_files = n } };
	f->mems = calloc(n, sizeof(struct memtable *));
	if (!f->mems)
		return error_nomem();
	for (; f->n < n; f->n++) {
		struct memtable *m = db->imm[f->n];

		assert(!memtable_has_writers(m));
		memtable_ref(m);
		f->mems[f->n] = m;
		f->job.bytes += memtable_bytes(m);
	}
	f->log_number =
		memtable_log_number(n < db->n_imm ? db->imm[n] : db->mem);
	err = job_begin(w, &f->job);
	if (err)
		flush_fini(f);
	return err;
}

static void post_flush(struct work *w, struct flush *f, int code, bool end)
{
	struct cairn_event e = {
		.kind = end ? CAIRN_EVENT_FLUSH_END : CAIRN_EVENT_FLUSH_BEGIN,
		.job = f->job.id,
		.files_in = (int)f->n,
		.bytes_in = f->job.bytes,
		.code = code,
		.detail = code ? cairn_errmsg() : NULL,
	};

	if (end) {
		e.files_out = (int)f->result.edit.n_added;
		e.bytes_out = f->result.bytes_out;
		e.duration_us =
			env_mono_us(w->db->env) - f->job.started_mono_us;
		if (!code)
			work_post_tables(w, f->job.id, &f->result.edit);
	}
	events_post(w->db->events, &e);
	if (end && !code)
		work_post_unmerged(w, f->job.id, &f->result);
}

/* The table, without mu. */
static int write_table(struct flush *f)
{
	struct job_context ctx;
	size_t n = 0;

	/* What has no entries needs no table. */
	for (size_t i = 0; i < f->n; i++) {
		struct memtable *m = f->mems[i];

		if (memtable_empty(m))
			continue;
		f->mems[i] = f->mems[n];
		f->mems[n++] = m;
	}
	if (!n)
		return CAIRN_OK;
	job_context(&f->job, &ctx);
	return flush_run(&ctx, f->mems, n, &f->result);
}

/* The memtables leave the queue. mu held. */
static void install(struct work *w, struct flush *f)
{
	struct cairn_db *db = w->db;

	for (size_t i = 0; i < f->n; i++) {
		memtable_retire(db->imm[i], &db->memtable_zombie_bytes);
		memtable_unref(db->imm[i]);
	}
	db->n_imm -= f->n;
	memmove(db->imm, db->imm + f->n, db->n_imm * sizeof(struct memtable *));
	w->n_flushed += f->n;
	stats_count_flush(db->stats, &f->result);
	stats_add(&db->pinned_keys, f->result.entries_pinned);
	work_install_read_state(w);
	stall_update(db);
}

int work_flush(struct work *w, size_t n, enum error_source *source)
{
	struct cairn_db *db = w->db;
	struct flush f;
	int err;

	assert_held(&db->mu);
	*source = ERROR_OF_FLUSH;
	err = flush_init(w, &f, n);
	if (err)
		return err;
	mutex_unlock(&db->mu);
	post_flush(w, &f, CAIRN_OK, false);
	err = write_table(&f);
	mutex_lock(&db->mu);
	if (!err) {
		f.result.edit.has_log_number = true;
		f.result.edit.log_number = f.log_number;
		*source = ERROR_OF_MANIFEST;
		err = work_log_edit(w, &f.result.edit);
	}
	if (!err)
		install(w, &f);
	job_end(w, &f.job);
	mutex_unlock(&db->mu);
	post_flush(w, &f, err, true);
	flush_fini(&f);
	budget_update(db);
	mutex_lock(&db->mu);
	return err;
}

/* ---------------------------------------------------------------- counting */

/* The table with the lowest number above the last one whose entries are not
 * known. */
static struct file_meta *next_uncounted(const struct work *w,
					const struct version *v)
{
	struct file_meta *found = NULL;

	for (int l = 0; l < CAIRN_LEVELS; l++)
		for (size_t i = 0; i < v->level[l].n; i++) {
			struct file_meta *f = v->level[l].files[i];

			if (f->number > w->counted_number &&
			    (!found || f->number < found->number) &&
			    !atomic_load_explicit(&f->entries,
						  memory_order_relaxed))
				found = f;
		}
	return found;
}

static void count_table(struct cairn_db *db, struct file_meta *f)
{
	const struct table_props *props;
	const struct range_dels *dels;
	struct garbage *garbage;
	struct table_ref *ref;

	/* Whoever reads the table will hear of what is wrong with it. */
	if (table_cache_get(db->tables, f->number, f->size, &ref))
		return;
	props = table_props(table_ref_table(ref));
	dels = table_range_dels(table_ref_table(ref));
	atomic_store_explicit(&f->dense, table_props_is_dense(props),
			      memory_order_relaxed);
	/* Without memory the garbage waits for another compaction. */
	if (!garbage_of_table(props, db->opts.collector, f->size, &garbage))
		file_meta_set_garbage(f, garbage);
	file_meta_set_counts(f, props->entries, props->deletions,
			     dels ? dels->n_tombs : 0);
	table_cache_release(db->tables, ref);
}

/* Learn the entries of one more table; false when there is nothing to learn. mu
 * held, let go meanwhile. */
static bool count_one(struct work *w)
{
	struct cairn_db *db = w->db;
	struct file_meta *f = NULL;
	struct version *v;
	size_t n_marked;

	if (w->started && w->n_to_count)
		f = next_uncounted(w, version_set_current(db->versions));
	if (!f) {
		if (w->started)
			w->n_to_count = 0;
		return false;
	}
	w->counted_number = f->number;
	file_meta_ref(f);
	w->n_to_count--;
	v = version_ref(version_set_current(db->versions));
	mutex_unlock(&db->mu);
	count_table(db, f);
	version_unref(v);
	obsolete_wake(db->obsolete);
	mutex_lock(&db->mu);
	n_marked = w->marked.n;
	work_note_file(w, f);
	if (w->marked.n > n_marked)
		work_wake(w);
	file_meta_unref(f);
	return true;
}

/* -------------------------------------------------------------- the thread */

/* How many of the oldest memtables have all their entries. */
static size_t n_ready(const struct cairn_db *db)
{
	size_t n = 0;

	while (n < db->n_imm && !memtable_has_writers(db->imm[n]))
		n++;
	return n;
}

void *work_flush_thread(void *arg)
{
	struct work *w = arg;
	struct cairn_db *db = w->db;
	enum error_source source;
	size_t n;
	int err;

	mutex_lock(&db->mu);
	while (!w->stop) {
		n = w->started ? n_ready(db) : 0;
		if (w->error.severity == ERROR_HARD) {
			work_heal(w);
		} else if (n) {
			err = work_flush(w, n, &source);
			if (err)
				work_set_error(w, ERROR_HARD, source, err);
		} else if (w->install_due) {
			work_install_read_state(w);
			if (w->install_due)
				cond_wait_us(&w->changed, &db->mu, 100000);
		} else if (!work_learn_one(w) && !work_find_garbage(w) &&
			   !count_one(w)) {
			cond_wait(&w->changed, &db->mu);
			continue;
		}
		mutex_unlock(&db->mu);
		events_drain(db->events);
		mutex_lock(&db->mu);
	}
	mutex_unlock(&db->mu);
	return NULL;
}

void work_flush_ready(struct work *w)
{
	mutex_lock(&w->db->mu);
	cond_broadcast(&w->changed);
	mutex_unlock(&w->db->mu);
}

/* ---------------------------------------------------------------- on demand */

int work_check_usable(struct work *w)
{
	if (w->error.severity == ERROR_HARD)
		return work_refuse_locked(w);
	if (w->stop || w->db->closing)
		return error_set(CAIRN_EABORTED, "%s: closing", w->db->dir);
	return CAIRN_OK;
}

/*
 * Queue the memtable if it has anything; *target is what n_flushed must reach.
 * Waits while there are too many, which is no stall: whoever asks for a flush
 * expects to wait for one. For the one who has the log.
 */
static int rotate_for_flush(struct work *w, uint64_t *target)
{
	struct cairn_db *db = w->db;
	int err;

	mutex_lock(&db->mu);
	err = work_check_usable(w);
	w->n_flush_waits++;
	while (!err && !stall_memtable_fits(db)) {
		cond_wait(&w->done, &db->mu);
		err = work_check_usable(w);
	}
	w->n_flush_waits--;
	mutex_unlock(&db->mu);
	if (!err && commit_memtable_in_use(db->commit))
		err = commit_rotate(db->commit);
	mutex_lock(&db->mu);
	*target = w->n_flushed + db->n_imm;
	mutex_unlock(&db->mu);
	return err;
}

static int wait_for_flush(struct work *w, uint64_t target)
{
	int err = CAIRN_OK;

	mutex_lock(&w->db->mu);
	w->n_flush_waits++;
	while (!err && w->n_flushed < target) {
		err = work_check_usable(w);
		if (!err)
			cond_wait(&w->done, &w->db->mu);
	}
	w->n_flush_waits--;
	mutex_unlock(&w->db->mu);
	return err;
}

int work_flush_all(struct work *w)
{
	uint64_t target;
	int err = rotate_for_flush(w, &target);

	return err ? err : wait_for_flush(w, target);
}

int cairn_flush(struct cairn_db *db, bool wait)
{
	struct work *w = db->work;
	uint64_t target;
	int err;

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	commit_lock_log(db->commit);
	err = rotate_for_flush(w, &target);
	commit_unlock_log(db->commit);
	return err || !wait ? err : wait_for_flush(w, target);
}

/* Whether anything is running or due. mu held. */
static bool is_busy(const struct work *w)
{
	return w->db->n_imm || !list_empty(&w->jobs) || w->to_learn.n ||
	       w->learning || w->garbage_due ||
	       (w->pick_due && w->db->opts.auto_compactions);
}

int cairn_wait_idle(struct cairn_db *db)
{
	struct work *w = db->work;
	int err = CAIRN_OK;

	if (!w)
		return CAIRN_OK;
	mutex_lock(&db->mu);
	w->n_flush_waits++;
	while (!err) {
		err = work_check_usable(w);
		if (!err && w->error.severity == ERROR_SOFT)
			err = error_set(w->error.code, "compactions fail: %s",
					w->error.message);
		if (err || !is_busy(w))
			break;
		cond_wait(&w->done, &db->mu);
	}
	w->n_flush_waits--;
	mutex_unlock(&db->mu);
	return err;
}
