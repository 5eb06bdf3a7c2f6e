/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/special.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/column.h"

/* More than that are dropped by several edits. */
#define DROP_FILES_MAX 1000

/* How many bytes of the next level a byte may drag along: for tombstones what a
 * byte costs on its way down anyway, for reads Pebble's value. */
#define DENSE_WIDTH_MAX 10
#define READS_WIDTH_MAX 35

/* How many files' worth are rewritten at once to be rid of garbage. */
#define GARBAGE_FILES 4

/* ------------------------------------------------------------- of one file */

/* Where f stands in the version; false: it is not live. */
static bool locate(const struct picker *p, const struct file_meta *f,
		   int *level, size_t *index)
{
	*level = version_level_of(p->v, f, index);
	return *level >= 0;
}

/* The first snapshot that sees something at seqno; UINT64_MAX: none does, so
 * that it is not yet published. */
static uint64_t first_snapshot(const struct picker_running *r, uint64_t seqno)
{
	size_t lo = 0, hi = r->n_snapshots;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->snapshots[mid] < seqno)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->n_snapshots ? r->snapshots[lo] : UINT64_MAX;
}

static uint64_t dead_seqno(const struct file_meta *f)
{
	return atomic_load_explicit(&f->dead_seqno, memory_order_relaxed);
}

/* Whether everybody who could see f at all sees it deleted. */
static bool is_dead(const struct picker_running *r, const struct file_meta *f)
{
	uint64_t seen = first_snapshot(r, f->smallest_seqno);

	return f->seqnos_known && dead_seqno(f) && seen != UINT64_MAX &&
	       seen >= dead_seqno(f);
}

/* Whether f is older than every snapshot. */
static bool is_settled(const struct picker_running *r,
		       const struct file_meta *f)
{
	return f->seqnos_known && r->n_snapshots &&
	       f->largest_seqno <= r->snapshots[0];
}

static bool is_garbage(const struct picker_running *r,
		       const struct file_meta *f)
{
	return file_meta_is_garbage(f, r->garbage_position);
}

/* Whether the compaction filter is asked about all of f. What a snapshot sees
 * it may not drop, nor what nobody sees yet. */
static bool is_filtered(const struct picker_running *r,
			const struct file_meta *f)
{
	return f->seqnos_known && r->n_snapshots &&
	       f->largest_seqno <= r->snapshots[r->n_snapshots - 1] &&
	       (!r->newest_held || f->smallest_seqno > r->newest_held);
}

static bool is_dense(const struct file_meta *f)
{
	return atomic_load_explicit(&f->dense, memory_order_relaxed);
}

uint64_t picker_blocked_below(const struct picker_running *r)
{
	uint64_t below = 0;

	for (size_t i = 0; i < r->n_marked; i++) {
		const struct file_meta *f = r->marked[i];
		uint64_t seqno = 0;

		picker_step(r);
		if (dead_seqno(f) && !is_dead(r, f))
			seqno = dead_seqno(f);
		if ((is_dense(f) || file_meta_has_garbage(f)) &&
		    !is_settled(r, f) && f->largest_seqno > seqno)
			seqno = f->largest_seqno;
		if (is_garbage(r, f) && r->newest_held && !is_filtered(r, f) &&
		    r->newest_held >= seqno)
			seqno = r->newest_held + 1;
		if (seqno > below)
			below = seqno;
	}
	return below;
}

/* -------------------------------------------------------------------- drop */

static bool is_in_use(const struct picker *p, const struct file_meta *f)
{
	for (size_t i = 0; i < p->running->n; i++)
		if (p->running->plans[i]->kind != COMPACT_PROBLEM &&
		    plan_has_file(p->running->plans[i], f))
			return true;
	return false;
}

static int by_index(const void *a, const void *b)
{
	const size_t *x = a;
	const size_t *y = b;

	return (*x > *y) - (*x < *y);
}

/* Indices of dead files of the level that the first one found is in. */
static size_t find_dead(const struct picker *p, size_t *index, size_t max,
			int *level)
{
	size_t n = 0;

	for (size_t i = 0; i < p->running->n_marked && n < max; i++) {
		const struct file_meta *f = p->running->marked[i];
		size_t at = 0;
		int l;

		picker_step(p->running);
		if (!is_dead(p->running, f) || !locate(p, f, &l, &at) ||
		    (n && l != *level) || is_in_use(p, f))
			continue;
		*level = l;
		index[n++] = at;
	}
	qsort(index, n, sizeof(*index), by_index);
	return n;
}

static int plan_drop(const struct picker *p, int level, const size_t *index,
		     size_t n, struct compaction_plan *plan)
{
	const struct version_files *files = &p->v->level[level];

	plan->kind = COMPACT_DROP;
	plan->from_level = level;
	plan->to_level = level;
	plan->inputs[0] = malloc(n * sizeof(*plan->inputs[0]));
	if (!plan->inputs[0])
		return error_nomem();
	for (size_t i = 0; i < n; i++)
		plan->inputs[0][i] = file_meta_ref(files->files[index[i]]);
	plan->n_inputs[0] = n;
	snprintf(plan->reason, sizeof(plan->reason),
		 "range tombstones delete all of %zu tables", n);
	return plan_finish(p, plan);
}

int special_pick_drop(const struct picker *p, struct compaction_plan *out)
{
	size_t *index;
	int level = 0;
	size_t n;
	int err;

	/* Most of the time nothing is marked at all. */
	if (!p->running->n_marked)
		return CAIRN_NOT_FOUND;
	index = malloc(DROP_FILES_MAX * sizeof(*index));
	if (!index)
		return error_nomem();
	n = find_dead(p, index, DROP_FILES_MAX, &level);
	err = n ? plan_drop(p, level, index, n, out) : CAIRN_NOT_FOUND;
	free(index);
	return err;
}

/* ------------------------------------------------------------------- elide */

/*
 * Whether a level below has a file that begins or ends in the range, its ends
 * included even where they only bound a tombstone: so the job, which decides
 * about each tombstone, sees it as well.
 */
static bool touches_below(const struct picker *p, int level,
			  const struct range *r)
{
	struct ikey first = { r->smallest, UINT64_MAX };

	for (level++; level < CAIRN_LEVELS; level++) {
		const struct version_files *files = &p->v->level[level];
		size_t i = version_find_file(files, &first);

		picker_step(p->running);
		if (i < files->n &&
		    slice_cmp(files->files[i]->smallest_key.user_key,
			      r->largest) <= 0)
			return true;
	}
	return false;
}

/* The files that must be rewritten together with files[index]; false when not
 * all of them may be. */
static bool elidable_run(const struct picker *p, int level, size_t index,
			 struct run *run)
{
	const struct version_files *files = &p->v->level[level];
	struct range r = { 0 };

	*run = (struct run){ index, index + 1 };
	run_widen(files, run);
	for (size_t i = run->begin; i < run->end; i++)
		if (!is_settled(p->running, files->files[i]) ||
		    is_busy(files->files[i], level, p->running))
			return false;
	range_add_run(&r, files, run);
	return !touches_below(p, level, &r);
}

int special_pick_elide(const struct picker *p, struct compaction_plan *out)
{
	for (size_t i = 0; i < p->running->n_marked; i++) {
		const struct file_meta *f = p->running->marked[i];
		struct run run;
		size_t index;
		int level, err;

		picker_step(p->running);
		if (!file_meta_has_garbage(f) || !is_settled(p->running, f) ||
		    !locate(p, f, &level, &index) || level == 0 ||
		    !elidable_run(p, level, index, &run))
			continue;
		out->kind = COMPACT_ELIDE;
		snprintf(out->reason, sizeof(out->reason),
			 "tombstones at the bottom, in L%d", level);
		err = plan_in_place(p, level, &run, out);
		if (err || !plan_conflicts(out, p->running))
			return err;
		compaction_plan_fini(out);
	}
	return CAIRN_NOT_FOUND;
}

/* ----------------------------------------------------------------- garbage */

static bool can_collect(const struct picker *p, int level,
			const struct file_meta *f)
{
	picker_step(p->running);
	return is_garbage(p->running, f) && is_filtered(p->running, f) &&
	       !is_busy(f, level, p->running);
}

/* The run of files around index that can be rewritten in one job. */
static bool garbage_run(const struct picker *p, int level, size_t index,
			struct run *run)
{
	const struct version_files *files = &p->v->level[level];
	uint64_t left = GARBAGE_FILES * output_size(p, level);

	*run = (struct run){ index, index + 1 };
	if (!can_collect(p, level, files->files[index]))
		return false;
	/* Neighbours in level 0 share keys. */
	if (level == 0)
		return !is_l0_input(files->files[index], p->running);
	left -= left < files->files[index]->size ? left
						 : files->files[index]->size;
	while (run->begin > 0 && files->files[run->begin - 1]->size <= left &&
	       can_collect(p, level, files->files[run->begin - 1]))
		left -= files->files[--run->begin]->size;
	while (run->end < files->n && files->files[run->end]->size <= left &&
	       can_collect(p, level, files->files[run->end]))
		left -= files->files[run->end++]->size;
	run_widen(files, run);
	for (size_t i = run->begin; i < run->end; i++)
		if (is_busy(files->files[i], level, p->running))
			return false;
	return true;
}

int special_pick_garbage(const struct picker *p, struct compaction_plan *out)
{
	for (size_t i = 0; i < p->running->n_marked; i++) {
		const struct file_meta *f = p->running->marked[i];
		struct run run;
		size_t index;
		int level, err;

		picker_step(p->running);
		if (!is_garbage(p->running, f) ||
		    !locate(p, f, &level, &index) ||
		    !garbage_run(p, level, index, &run))
			continue;
		out->kind = COMPACT_GARBAGE;
		snprintf(out->reason, sizeof(out->reason),
			 "L%d table of much that is forgotten", level);
		err = plan_in_place(p, level, &run, out);
		if (err || !plan_conflicts(out, p->running))
			return err;
		compaction_plan_fini(out);
	}
	return CAIRN_NOT_FOUND;
}

/* --------------------------------------------------------- dense and reads */

/* Whether the plan is set and may run; else it is empty again. */
static bool is_good(const struct picker *p, struct compaction_plan *plan,
		    unsigned width)
{
	uint64_t limit = EXPANSION_FILES * output_size(p, plan->to_level);

	if (!plan_conflicts(plan, p->running) && plan->bytes[1] <= limit &&
	    plan->bytes[1] / width <= plan->bytes[0])
		return true;
	compaction_plan_fini(plan);
	return false;
}

static int plan_one(const struct picker *p, int level, size_t index,
		    unsigned width, struct compaction_plan *plan)
{
	struct run seed = { index, index + 1 };
	int err;

	if (is_busy(p->v->level[level].files[index], level, p->running))
		return CAIRN_NOT_FOUND;
	err = level ? plan_level(p, level, seed, plan)
		    : column_pick_from(p, p->v->level[0].files[index], plan);
	if (err)
		return err;
	return is_good(p, plan, width) ? CAIRN_OK : CAIRN_NOT_FOUND;
}

int special_pick_dense(const struct picker *p, struct compaction_plan *out)
{
	for (size_t i = 0; i < p->running->n_marked; i++) {
		const struct file_meta *f = p->running->marked[i];
		size_t index;
		int level, err;

		picker_step(p->running);
		/* While a snapshot sees what they delete nothing is won. */
		if (!is_dense(f) || !is_settled(p->running, f) ||
		    !locate(p, f, &level, &index) || level == 0 ||
		    level == BOTTOM_LEVEL)
			continue;
		err = plan_one(p, level, index, DENSE_WIDTH_MAX, out);
		if (err == CAIRN_OK) {
			out->kind = COMPACT_DENSE;
			snprintf(out->reason, sizeof(out->reason),
				 "L%d table of mostly tombstones", level);
		}
		if (err != CAIRN_NOT_FOUND)
			return err;
		compaction_plan_fini(out);
	}
	return CAIRN_NOT_FOUND;
}

int special_pick_reads(const struct picker *p, struct compaction_plan *out)
{
	for (size_t i = 0; i < p->running->n_marked; i++) {
		const struct file_meta *f = p->running->marked[i];
		size_t index;
		int level, err;

		picker_step(p->running);
		if (!file_meta_read_often(f) || !locate(p, f, &level, &index) ||
		    level == BOTTOM_LEVEL)
			continue;
		err = plan_one(p, level, index, READS_WIDTH_MAX, out);
		/* Written again beside nothing it would be no cheaper. */
		if (!err && (out->n_inputs[1] || out->trivial_move ||
			     out->n_inputs[0] > 1)) {
			out->kind = COMPACT_READS;
			snprintf(out->reason, sizeof(out->reason),
				 "L%d table that reads often pass", level);
			return CAIRN_OK;
		}
		compaction_plan_fini(out);
		if (err && err != CAIRN_NOT_FOUND)
			return err;
	}
	return CAIRN_NOT_FOUND;
}
