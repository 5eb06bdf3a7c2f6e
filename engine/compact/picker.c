/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/picker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/column.h"
#include "engine/compact/plan.h"

/* ------------------------------------------------- levels 1 and below */

/*
 * The inputs at level and level + 1 for a run of files of level. Then more
 * files of level, when they cost nothing at level + 1: they would have to be
 * merged with the same files there later.
 */
static int plan_level(const struct picker *p, int level, struct run from,
		      struct compaction_plan *plan)
{
	const struct version_files *files = &p->v->level[level];
	const struct version_files *next = &p->v->level[level + 1];
	uint64_t limit = EXPANSION_FILES * output_size(p, level + 1);
	struct range r = { 0 };
	struct run to, more, to_more;
	int err;

	run_widen(files, &from);
	range_add_run(&r, files, &from);
	to = run_overlapping(next, &r);
	range_add_run(&r, next, &to);

	more = run_overlapping(files, &r);
	if (more.end - more.begin > from.end - from.begin &&
	    run_bytes(files, &more) + run_bytes(next, &to) <= limit) {
		struct range wide = { 0 };
		struct compaction_plan try = { .from_level = level,
					       .to_level = level + 1 };

		range_add_run(&wide, files, &more);
		to_more = run_overlapping(next, &wide);
		range_add_run(&wide, next, &to_more);
		try.smallest = wide.smallest;
		try.largest = wide.largest;
		try.inputs[0] = files->files + more.begin;
		try.n_inputs[0] = more.end - more.begin;
		if (to_more.begin == to.begin && to_more.end == to.end &&
		    !plan_conflicts(&try, p->running))
			from = more;
	}
	plan->from_level = level;
	plan->to_level = level + 1;
	err = copy_run(files, &from, &plan->inputs[0], &plan->n_inputs[0]);
	if (!err)
		err = copy_run(next, &to, &plan->inputs[1], &plan->n_inputs[1]);
	return err ? err : plan_finish(p, plan);
}

/*
 * Whether a job is about to change f, a file of level, or its surroundings: no
 * plan with f in it could run. The test costs two comparisons per job.
 */
static bool is_busy(const struct file_meta *f, int level,
		    const struct picker_running *running)
{
	for (size_t i = 0; i < running->n; i++) {
		const struct compaction_plan *p = running->plans[i];
		struct range r;

		if (level == p->to_level)
			r = plan_range(p);
		else if (level == p->from_level)
			r = plan_from_range(p);
		else
			continue;
		if (range_meets_file(&r, f))
			return true;
	}
	return false;
}

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

/* Files of level that no job is at, the cheapest first. */
static size_t find_candidates(const struct picker *p, int level,
			      struct candidate *out)
{
	const struct version_files *files = &p->v->level[level];
	const struct version_files *next = &p->v->level[level + 1];
	size_t first = 0;
	size_t n = 0;

	for (size_t i = 0; i < files->n; i++) {
		const struct file_meta *f = files->files[i];
		uint64_t overlap = 0;
		bool busy = is_busy(f, level, p->running);

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

static int pick_level(const struct picker *p, int level,
		      struct compaction_plan *out)
{
	struct candidate *candidates;
	size_t n;
	int err = CAIRN_NOT_FOUND;

	if (!p->v->level[level].n)
		return CAIRN_NOT_FOUND;
	candidates = malloc(p->v->level[level].n * sizeof(*candidates));
	if (!candidates)
		return error_nomem();
	n = find_candidates(p, level, candidates);
	for (size_t i = 0; i < n; i++) {
		struct run seed = { candidates[i].index,
				    candidates[i].index + 1 };

		err = plan_level(p, level, seed, out);
		if (err || !plan_conflicts(out, p->running))
			break;
		compaction_plan_fini(out);
		err = CAIRN_NOT_FOUND;
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

int picker_pick(const struct version *v, const struct picker_options *o,
		const struct picker_running *running,
		struct compaction_plan *out)
{
	struct compaction_plan plan = { 0 };
	int order[CAIRN_LEVELS];
	struct picker p;

	picker_init(&p, v, o, running);
	order_levels(&p.targets, order);
	for (int i = 0; i < CAIRN_LEVELS; i++) {
		int level = order[i];
		int err;

		if (p.targets.score[level] <= 0)
			break;
		err = level ? pick_level(&p, level, &plan)
			    : column_pick(&p, &plan);
		if (err == CAIRN_OK) {
			assert(!plan_conflicts(&plan, running));
			give_reason(&p, &plan);
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

/* Files of a sorted level that meet [from, to], whole user keys. */
static struct run manual_run(const struct version_files *files,
			     struct cairn_slice from, struct cairn_slice to)
{
	struct run run = { 0 };

	while (run.begin < files->n &&
	       !file_meta_overlaps(files->files[run.begin], from, to))
		run.begin++;
	run.end = run.begin;
	while (run.end < files->n &&
	       file_meta_overlaps(files->files[run.end], from, to))
		run.end++;
	run_widen(files, &run);
	return run;
}

static bool is_last_level(const struct version *v, int level)
{
	for (int below = level + 1; below < CAIRN_LEVELS; below++)
		if (v->level[below].n)
			return false;
	return true;
}

static int manual_level(const struct picker *p, int level, bool in_place,
			const struct run *run, struct compaction_plan *plan)
{
	int err;

	if (run->begin == run->end)
		return CAIRN_NOT_FOUND;
	if (!in_place)
		return plan_level(p, level, *run, plan);
	plan->from_level = level;
	plan->to_level = level;
	err = copy_run(&p->v->level[level], run, &plan->inputs[0],
		       &plan->n_inputs[0]);
	return err ? err : plan_finish(p, plan);
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
		run = manual_run(&v->level[level], from, to);
		err = manual_level(&p, level, in_place, &run, &plan);
	}
	if (!err && plan_conflicts(&plan, running))
		err = error_set(CAIRN_EBUSY,
				"a running compaction is at these tables");
	if (err) {
		compaction_plan_fini(&plan);
		return err;
	}
	plan.manual = true;
	snprintf(plan.reason, sizeof(plan.reason), "manual");
	*out = plan;
	return CAIRN_OK;
}
