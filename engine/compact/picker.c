/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/picker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/column.h"
#include "engine/compact/plan.h"
#include "engine/compact/special.h"

/* ------------------------------------------------- levels 1 and below */

/* A file to start from, and what it would drag along. */
struct candidate {
	size_t index;
	double ratio; /* bytes of overlap per byte of the file */
	uint64_t smallest_seqno;
};

static int cmp_candidate(const void *a, const void *b)
{
	const struct candidate *x = a;
	const struct candidate *y = b;

	if (x->ratio != y->ratio)
		return x->ratio < y->ratio ? -1 : 1;
	/* The oldest first: it has waited longest. */
	if (x->smallest_seqno != y->smallest_seqno)
		return x->smallest_seqno < y->smallest_seqno ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/*
 * Files [begin, end) of level that no job is at, the cheapest first, and how
 * many.
 */
static size_t find_candidates(const struct picker *p, int level,
			      const struct run *window, struct candidate *out)
{
	const struct version_files *files = &p->v->level[level];
	const struct version_files *next = &p->v->level[level + 1];
	struct ikey begin = {
		files->files[window->begin]->smallest_key.user_key, UINT64_MAX
	};
	size_t first = version_find_file(next, &begin);
	size_t n = 0;

	for (size_t i = window->begin; i < window->end; i++) {
		const struct file_meta *f = files->files[i];
		bool busy = is_busy(f, level, p->running);
		uint64_t overlap = 0;

		while (first < next->n &&
		       file_meta_before(next->files[first], f))
			first++;
		for (size_t j = first; !busy && j < next->n; j++) {
			const struct file_meta *g = next->files[j];

			if (file_meta_before(f, g))
				break;
			busy = is_busy(g, level + 1, p->running);
			overlap += g->size;
		}
		if (busy)
			continue;
		out[n].index = i;
		out[n].ratio = (double)overlap / ((double)f->size + 1);
		out[n].smallest_seqno = f->smallest_seqno;
		n++;
	}
	qsort(out, n, sizeof(*out), cmp_candidate);
	return n;
}

/* The first candidate of the window that nothing is in the way of. */
static int pick_in_window(const struct picker *p, int level,
			  const struct run *window,
			  struct candidate *candidates,
			  struct compaction_plan *out)
{
	size_t n = find_candidates(p, level, window, candidates);

	for (size_t i = 0; i < n; i++) {
		struct run seed = { candidates[i].index,
				    candidates[i].index + 1 };
		int err = plan_level(p, level, seed, out);

		if (err || !plan_conflicts(out, p->running))
			return err;
		compaction_plan_fini(out);
	}
	return CAIRN_NOT_FOUND;
}

/*
 * Among so many files there is always a cheap one: of a level with more only a
 * window is looked at, another one in each version. The database mutex is held
 * meanwhile, and a level of a terabyte has tens of thousands of files.
 */
#define WINDOW 1024

static int pick_level(const struct picker *p, int level,
		      struct compaction_plan *out)
{
	size_t n = p->v->level[level].n;
	size_t n_windows = (n + WINDOW - 1) / WINDOW;
	struct candidate *candidates;
	int err = CAIRN_NOT_FOUND;

	if (!n)
		return CAIRN_NOT_FOUND;
	candidates = malloc((n < WINDOW ? n : WINDOW) * sizeof(*candidates));
	if (!candidates)
		return error_nomem();
	for (size_t i = 0; err == CAIRN_NOT_FOUND && i < n_windows; i++) {
		size_t at = (size_t)((p->v->number + i) % n_windows);
		struct run window = { at * WINDOW, (at + 1) * WINDOW };

		if (window.end > n)
			window.end = n;
		err = pick_in_window(p, level, &window, candidates, out);
	}
	free(candidates);
	return err;
}

/* ------------------------------------------------------------ entry points */

/* Levels by falling score; of equals the upper first. */
static void order_levels(const struct level_targets *t, int order[CAIRN_LEVELS])
{
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		int at = level;

		while (at > 0 && t->score[order[at - 1]] < t->score[level]) {
			order[at] = order[at - 1];
			at--;
		}
		order[at] = level;
	}
}

static void give_reason(const struct picker *p, struct compaction_plan *plan)
{
	int level = plan->from_level;

	plan->score = p->targets.score[level];
	if (level == 0)
		snprintf(plan->reason, sizeof(plan->reason),
			 "L0 has %zu sublevels, %zu files, score %.2f",
			 p->v->n_sublevels, p->v->level[0].n, plan->score);
	else
		snprintf(plan->reason, sizeof(plan->reason),
			 "L%d is at %.0f%% of its target, score %.2f", level,
			 100.0 * (double)p->v->level[level].bytes /
				 (double)p->targets.target[level],
			 plan->score);
}

static void picker_init(struct picker *p, const struct version *v,
			const struct picker_options *o,
			const struct picker_running *running)
{
	p->v = v;
	p->o = o;
	p->running = running;
	picker_targets(v, o, running, &p->targets);
}

/* What a level needs by its score. */
static int pick_score(const struct picker *p, struct compaction_plan *out)
{
	int order[CAIRN_LEVELS];

	order_levels(&p->targets, order);
	for (int i = 0; i < CAIRN_LEVELS; i++) {
		int level = order[i];
		int err;

		if (p->targets.score[level] <= 0)
			break;
		err = level ? pick_level(p, level, out) : column_pick(p, out);
		if (err == CAIRN_OK)
			give_reason(p, out);
		if (err != CAIRN_NOT_FOUND)
			return err;
		compaction_plan_fini(out);
	}
	return CAIRN_NOT_FOUND;
}

uint64_t picker_bytes_below(const struct version *v, const struct file_meta *f)
{
	struct range r = { 0 };
	struct run below;
	size_t index;
	int from = version_level_of(v, f, &index);
	int level = from + 1;

	if (from < 0 || level == CAIRN_LEVELS)
		return 0;
	/* From level 0 it goes to the first that has any. */
	while (from == 0 && !v->level[level].n && level < CAIRN_LEVELS - 1)
		level++;
	range_add_file(&r, f);
	below = run_overlapping(&v->level[level], &r);
	return run_bytes(&v->level[level], &below);
}

int picker_pick(const struct version *v, const struct picker_options *o,
		const struct picker_running *running,
		struct compaction_plan *out)
{
	static int (*const ways[])(const struct picker *p,
				   struct compaction_plan *out) = {
		special_pick_drop,    pick_score,         special_pick_elide,
		special_pick_garbage, special_pick_dense, special_pick_reads,
	};
	struct compaction_plan plan = { 0 };
	struct picker p;

	picker_init(&p, v, o, running);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int err = ways[i](&p, &plan);

		if (err == CAIRN_OK) {
			assert(!plan_conflicts(&plan, running));
			*out = plan;
			return CAIRN_OK;
		}
		compaction_plan_fini(&plan);
		if (err != CAIRN_NOT_FOUND)
			return err;
	}
	return CAIRN_NOT_FOUND;
}

/* ----------------------------------------------------------------- manual */

/* The first file of a sorted level that may meet [from, ...]. */
static size_t manual_begin(const struct version_files *files,
			   struct cairn_slice from)
{
	const struct cairn_slice open_end = { 0 };
	struct ikey first = { from, UINT64_MAX };
	size_t i = from.data ? version_find_file(files, &first) : 0;

	/* One that ends before from, as only a tombstone reaches there. */
	if (i < files->n &&
	    !file_meta_overlaps(files->files[i], from, open_end))
		i++;
	return i;
}

static bool is_last_level(const struct version *v, int level)
{
	for (int below = level + 1; below < CAIRN_LEVELS; below++)
		if (v->level[below].n)
			return false;
	return true;
}

/*
 * The first files of a sorted level that meet [from, to], whole user keys, as
 * many as make a job of the usual size, one at least. in_place: there is
 * nothing to merge them with.
 */
static struct run manual_run(const struct picker *p, int level, bool in_place,
			     struct cairn_slice from, struct cairn_slice to)
{
	const struct version_files *files = &p->v->level[level];
	int to_level = in_place ? level : level + 1;
	uint64_t limit = EXPANSION_FILES * output_size(p, to_level);
	size_t begin = manual_begin(files, from);
	struct run run = { begin, begin };
	struct range r = { 0 };
	uint64_t bytes = 0;

	while (run.end < files->n &&
	       file_meta_overlaps(files->files[run.end], from, to)) {
		uint64_t below = 0;

		range_add_file(&r, files->files[run.end]);
		bytes += files->files[run.end]->size;
		if (!in_place) {
			const struct version_files *next =
				&p->v->level[to_level];
			struct run overlap = run_overlapping(next, &r);

			below = run_bytes(next, &overlap);
		}
		if (bytes + below > limit && run.end > run.begin)
			break;
		run.end++;
	}
	run_widen(files, &run);
	return run;
}

static int manual_level(const struct picker *p, int level, bool in_place,
			const struct run *run, struct compaction_plan *plan)
{
	if (run->begin == run->end)
		return CAIRN_NOT_FOUND;
	return in_place ? plan_in_place(p, level, run, plan)
			: plan_level(p, level, *run, plan);
}

int picker_pick_manual(const struct version *v, const struct picker_options *o,
		       const struct picker_running *running, int level,
		       bool bottom, struct cairn_slice from,
		       struct cairn_slice to, struct compaction_plan *out)
{
	struct compaction_plan plan = { 0 };
	struct picker p;
	struct run run;
	int err;

	assert(level >= 0 && level < CAIRN_LEVELS);
	picker_init(&p, v, o, running);
	if (level == 0) {
		err = column_pick_manual(&p, from, to, &plan);
	} else {
		bool in_place = bottom && is_last_level(v, level);

		if (level == BOTTOM_LEVEL && !in_place)
			return CAIRN_NOT_FOUND;
		run = manual_run(&p, level, in_place, from, to);
		err = manual_level(&p, level, in_place, &run, &plan);
	}
	if (!err && plan_conflicts(&plan, running))
		err = error_set(CAIRN_EBUSY,
				"a running compaction is at these tables");
	if (err) {
		compaction_plan_fini(&plan);
		return err;
	}
	plan.kind = COMPACT_MANUAL;
	snprintf(plan.reason, sizeof(plan.reason), "manual");
	*out = plan;
	return CAIRN_OK;
}
