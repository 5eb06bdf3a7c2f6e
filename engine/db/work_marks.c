/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which files the picker is to look at more closely (special.h). They are
 * marked when an edit brings them in, when their tables have been looked into,
 * when reads have passed through them often, and when garbage is to be
 * collected that they have.
 *
 * A mark that finds no memory is lost: then the file waits for a compaction
 * like any other.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/obsolete.h"
#include "engine/db/work_impl.h"

/* ------------------------------------------------------------------- marks */

/* The index of the first mark with at least that file number. */
static size_t find_mark(const struct work *w, uint64_t number)
{
	size_t lo = 0, hi = w->marked.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->marked.files[mid]->number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void mark(struct work *w, struct file_meta *f)
{
	size_t at = find_mark(w, f->number);
	struct file_meta **files;
	size_t index;

	assert_held(&w->db->mu);
	/* Its mark would never go again. */
	if (version_level_of(version_set_current(w->db->versions), f, &index) <
	    0)
		return;
	if (at < w->marked.n && w->marked.files[at]->number == f->number)
		return;
	if (file_list_add(&w->marked, f))
		return;
	files = w->marked.files;
	memmove(files + at + 1, files + at,
		(w->marked.n - 1 - at) * sizeof(files[0]));
	files[at] = f;
}

static void unmark(struct work *w, uint64_t number)
{
	size_t at = find_mark(w, number);
	struct file_meta **files = w->marked.files;

	if (at == w->marked.n || files[at]->number != number)
		return;
	file_meta_unref(files[at]);
	w->marked.n--;
	memmove(files + at, files + at + 1,
		(w->marked.n - at) * sizeof(files[0]));
}

void work_note_file(struct work *w, struct file_meta *f)
{
	assert_held(&w->db->mu);
	if (!w->db->opts.auto_compactions)
		return;
	if (atomic_load_explicit(&f->entries, memory_order_acquire) &&
	    atomic_load_explicit(&f->range_deletions, memory_order_relaxed) &&
	    !file_list_add(&w->to_learn, f))
		cond_broadcast(&w->changed);
	if (file_meta_is_notable(f) ||
	    file_meta_is_garbage(f, w->garbage_position))
		mark(w, f);
}

void work_note_edit(struct work *w, const struct version_edit *edit)
{
	assert_held(&w->db->mu);
	for (size_t i = 0; i < edit->n_deleted; i++) {
		unmark(w, edit->deleted[i].number);
		work_problem_file_gone(w, edit->deleted[i].number);
	}
	for (size_t i = 0; i < edit->n_added; i++) {
		/* It may have moved; the reads are those of where it was. */
		file_meta_forget_reads(edit->added[i].meta);
		work_note_file(w, edit->added[i].meta);
	}
}

void work_note_read_often(struct work *w, struct file_meta *f)
{
	const struct version *v;

	mutex_lock(&w->db->mu);
	v = version_set_current(w->db->versions);
	if (w->db->opts.auto_compactions &&
	    file_meta_weigh_reads(f, picker_bytes_below(v, f))) {
		mark(w, f);
		work_wake(w);
	}
	mutex_unlock(&w->db->mu);
}

void work_snapshot_gone(struct work *w, uint64_t seqno)
{
	assert_held(&w->db->mu);
	if (seqno < w->blocked_below)
		work_wake(w);
}

void work_marks_fini(struct work *w)
{
	file_list_fini(&w->marked);
	file_list_fini(&w->to_learn);
}

/* ---------------------------------------------------------------- learning */

/* What f's range tombstones delete as a whole. No locks. */
static void learn(struct cairn_db *db, const struct version *v,
		  const struct file_meta *f, struct file_list *found)
{
	const struct range_dels *d;
	struct table_ref *ref;

	/* Whoever reads the table will hear of what is wrong with it, and what
	 * finds no memory is only left where it is. */
	if (table_cache_get(db->tables, f->number, f->size, &ref))
		return;
	d = table_range_dels(table_ref_table(ref));
	if (d)
		(void)!covered_find(v, f, d, found);
	table_cache_release(db->tables, ref);
}

bool work_learn_one(struct work *w)
{
	struct cairn_db *db = w->db;
	struct file_list found = { 0 };
	struct file_meta *f;
	struct version *v;

	assert_held(&db->mu);
	if (!w->started || !w->to_learn.n)
		return false;
	f = w->to_learn.files[w->to_learn.n - 1];
	v = version_ref(version_set_current(db->versions));
	w->learning = true;
	w->to_learn.n--;
	mutex_unlock(&db->mu);
	learn(db, v, f, &found);
	version_unref(v);
	file_meta_unref(f);
	obsolete_wake(db->obsolete);
	mutex_lock(&db->mu);
	w->learning = false;
	for (size_t i = 0; i < found.n; i++)
		mark(w, found.files[i]);
	file_list_fini(&found);
	work_wake(w);
	return true;
}

/* ----------------------------------------------------------------- garbage */

void cairn_collect_garbage(struct cairn_db *db, uint64_t position)
{
	struct work *w = db->work;

	if (!w || !db->opts.auto_compactions)
		return;
	mutex_lock(&db->mu);
	if (position > w->garbage_position) {
		w->garbage_position = position;
		w->garbage_due = true;
		cond_broadcast(&w->changed);
	}
	mutex_unlock(&db->mu);
}

/* Files of v that are garbage. No locks; what finds no memory waits for the
 * next position. */
static void find_garbage(const struct version *v, uint64_t position,
			 struct file_list *found)
{
	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; i < v->level[level].n; i++) {
			struct file_meta *f = v->level[level].files[i];

			if (file_meta_is_garbage(f, position))
				(void)!file_list_add(found, f);
		}
}

static int by_number(const void *a, const void *b)
{
	const struct file_meta *x = *(struct file_meta *const *)a;
	const struct file_meta *y = *(struct file_meta *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

bool work_find_garbage(struct work *w)
{
	struct cairn_db *db = w->db;
	struct file_list found = { 0 };
	uint64_t position = w->garbage_position;
	struct version *v;

	assert_held(&db->mu);
	if (!w->started || !w->garbage_due)
		return false;
	w->garbage_due = false;
	w->learning = true;
	v = version_ref(version_set_current(db->versions));
	mutex_unlock(&db->mu);
	find_garbage(v, position, &found);
	version_unref(v);
	/* Marks are kept in this order. */
	if (found.n)
		qsort(found.files, found.n, sizeof(found.files[0]), by_number);
	obsolete_wake(db->obsolete);
	mutex_lock(&db->mu);
	w->learning = false;
	for (size_t i = 0; i < found.n; i++)
		mark(w, found.files[i]);
	/* Whoever waits until there is nothing left to do as well. */
	work_wake(w);
	file_list_fini(&found);
	return true;
}
