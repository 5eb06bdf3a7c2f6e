/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How large each level should be and how urgent it is to make it smaller
 * (Pebble's formulas, compaction_picker.go).
 */
#include "engine/compact/plan.h"

/*
 * Level 0 counts double against the base level when the two compete: Pebble's
 * score is 2 x sublevels / trigger.
 */
#define L0_WEIGHT 2.0

/*
 * Files of level 0 per sublevel of the trigger that start a compaction, too.
 * Disjoint files never make a second sublevel, but RocksDB counts files, slows
 * its writers at 20 and stops them at 36.
 */
#define L0_FILES_PER_SUBLEVEL 5

/* A level below an empty one is not infinitely urgent (Pebble's floor). */
#define FILL_MIN 0.01

#define DEBT_MAX 1e18

/* x^(1/n) for x > 0, by bisection: one root is not worth a library. */
static double nth_root(double x, int n)
{
	double lo = 0;
	double hi = x > 1 ? x : 1;

	for (int i = 0; i < 200; i++) {
		double mid = lo + (hi - lo) / 2;
		double power = 1;

		for (int k = 0; k < n; k++)
			power *= mid;
		if (power < x)
			lo = mid;
		else
			hi = mid;
	}
	return lo + (hi - lo) / 2;
}

/* The first level below 0 that has files or is about to get some; 0: none. */
static int first_used_level(const struct version *v,
			    const struct picker_running *running)
{
	int first = 0;

	for (int level = BOTTOM_LEVEL; level > 0; level--)
		if (v->level[level].n)
			first = level;
	for (size_t i = 0; i < running->n; i++) {
		int to = running->plans[i]->to_level;

		if (to > 0 && (!first || to < first))
			first = to;
	}
	return first;
}

static void set_targets(const struct version *v, const struct picker_options *o,
			const struct picker_running *running,
			struct level_targets *t)
{
	int first = first_used_level(v, running);
	double total = (double)version_bytes(v);
	double bottom = total - total / o->level_multiplier;
	double size = bottom;
	double smooth = 1;

	t->base_level = first ? first : BOTTOM_LEVEL;
	if (version_bytes(v) == v->level[0].bytes)
		return; /* nothing below level 0: no targets yet */
	for (int level = BOTTOM_LEVEL - 1; level >= t->base_level; level--)
		size /= o->level_multiplier;
	/* Make room above while the first level would be too large. */
	while (t->base_level > 1 && size > (double)o->base_level_size) {
		t->base_level--;
		size /= o->level_multiplier;
	}
	if (t->base_level < BOTTOM_LEVEL && bottom > 0)
		smooth = nth_root(bottom / (double)o->base_level_size,
				  BOTTOM_LEVEL - t->base_level);
	size = (double)o->base_level_size;
	for (int level = t->base_level; level <= BOTTOM_LEVEL; level++) {
		t->target[level] = (uint64_t)(size + 0.5);
		if (!t->target[level])
			t->target[level] = 1;
		size *= smooth;
	}
}

/* Sizes as they will be when the running jobs are done. */
static void sizes_after(const struct version *v,
			const struct picker_running *running,
			double size[CAIRN_LEVELS])
{
	for (int level = 0; level < CAIRN_LEVELS; level++)
		size[level] = (double)v->level[level].bytes;
	for (size_t i = 0; i < running->n; i++) {
		const struct compaction_plan *p = running->plans[i];

		size[p->from_level] -= (double)p->bytes[0];
		if (p->kind != COMPACT_DROP)
			size[p->to_level] += (double)p->bytes[0];
	}
}

static bool has_waiting_file(const struct version_files *files,
			     const struct picker_running *running)
{
	for (size_t i = 0; i < files->n; i++)
		if (!is_l0_input(files->files[i], running))
			return true;
	return false;
}

/*
 * How full level 0 is: sublevels that no job is about to take away against the
 * trigger, or files against theirs.
 */
static double l0_fill(const struct version *v, const struct picker_options *o,
		      const struct picker_running *running)
{
	double trigger = o->l0_trigger ? (double)o->l0_trigger : 1;
	size_t sublevels = 0;
	size_t files = v->level[0].n;
	double by_depth, by_files;

	for (size_t i = 0; i < v->n_sublevels; i++)
		sublevels += has_waiting_file(&v->sublevel[i], running);
	for (size_t i = 0; i < running->n; i++)
		if (running->plans[i]->from_level == 0)
			files -= running->plans[i]->n_inputs[0];
	by_depth = (double)sublevels / trigger;
	by_files = (double)files / (trigger * L0_FILES_PER_SUBLEVEL);
	return by_depth > by_files ? by_depth : by_files;
}

static double at_least(double v, double min)
{
	return v > min ? v : min;
}

static void set_scores(const struct version *v, const struct picker_options *o,
		       const struct picker_running *running,
		       struct level_targets *t)
{
	double fill[CAIRN_LEVELS] = { 0 };
	double size[CAIRN_LEVELS];

	sizes_after(v, running, size);
	fill[0] = l0_fill(v, o, running);
	for (int level = 1; level <= BOTTOM_LEVEL; level++)
		if (t->target[level])
			fill[level] = size[level] / (double)t->target[level];
	/*
	 * A level is less urgent while the next one is overfull itself: else
	 * data would pile up on the way and be rewritten more often.
	 */
	if (fill[0] >= 1) {
		t->score[0] = L0_WEIGHT * fill[0] /
			      at_least(fill[t->base_level], FILL_MIN);
		if (t->score[0] < 1)
			t->score[0] = 0;
	}
	for (int level = t->base_level; level < BOTTOM_LEVEL; level++)
		if (fill[level] >= 1)
			t->score[level] = fill[level] /
					  at_least(fill[level + 1], FILL_MIN);
}

/* Bytes that must be read and written until every level is in its target. */
static void set_debt(const struct version *v, struct level_targets *t)
{
	double arriving = (double)v->level[0].bytes;
	double debt = 0;

	/* Into an empty level files move without being rewritten. */
	if (arriving > 0 && v->level[t->base_level].n)
		debt = arriving + (double)v->level[t->base_level].bytes;
	for (int level = t->base_level; level < BOTTOM_LEVEL; level++) {
		double size = (double)v->level[level].bytes + arriving;
		double next = (double)v->level[level + 1].bytes;

		if (!t->target[level] || size <= (double)t->target[level])
			break;
		arriving = size - (double)t->target[level];
		if (next > 0)
			debt += arriving * (next / size + 1);
	}
	/* Sizes come from a file: a sum may be beyond any disk. */
	t->debt_bytes = (uint64_t)(debt < DEBT_MAX ? debt : DEBT_MAX);
}

void picker_targets(const struct version *v, const struct picker_options *o,
		    const struct picker_running *running,
		    struct level_targets *out)
{
	*out = (struct level_targets){ 0 };
	set_targets(v, o, running, out);
	set_scores(v, o, running, out);
	set_debt(v, out);
}
