/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/plan.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* The overlap with grandparents that ends an output, in target file sizes:
 * RocksDB's and Pebble's value. */
#define GRANDPARENT_FILES 10

/* A file with a larger share of tombstones, or with a range tombstone, is not
 * moved to where nothing is below it: when it is rewritten they go. */
#define MOVE_TOMBSTONES_MAX 0.1

/* ------------------------------------------------------- ranges and runs */

static void range_add(struct range *r, struct cairn_slice smallest,
		      struct cairn_slice largest)
{
	if (!r->any || slice_cmp(smallest, r->smallest) < 0)
		r->smallest = smallest;
	if (!r->any || slice_cmp(largest, r->largest) > 0)
		r->largest = largest;
	r->any = true;
}

void range_add_file(struct range *r, const struct file_meta *f)
{
	range_add(r, f->smallest_key.user_key, f->largest_key.user_key);
}

void range_add_files(struct range *r, struct file_meta *const *files, size_t n)
{
	for (size_t i = 0; i < n; i++)
		range_add_file(r, files[i]);
}

bool range_meets(const struct range *a, const struct range *b)
{
	return a->any && b->any && slice_cmp(a->smallest, b->largest) <= 0 &&
	       slice_cmp(b->smallest, a->largest) <= 0;
}

bool range_meets_file(const struct range *r, const struct file_meta *f)
{
	return r->any && file_meta_overlaps(f, r->smallest, r->largest);
}

/* Whether two neighbours hold versions of the same user key. */
static bool splits_user_key(const struct version_files *files, size_t left)
{
	return !file_meta_before(files->files[left], files->files[left + 1]);
}

void run_widen(const struct version_files *files, struct run *r)
{
	if (r->begin == r->end)
		return;
	while (r->begin > 0 && splits_user_key(files, r->begin - 1))
		r->begin--;
	while (r->end < files->n && splits_user_key(files, r->end - 1))
		r->end++;
}

struct run run_overlapping(const struct version_files *files,
			   const struct range *r)
{
	struct run run = { 0 };
	struct ikey first;

	if (!r->any)
		return run;
	/* The first file that ends at or behind the range's start. */
	first = ikey_make(r->smallest, SEQNO_MAX, KIND_DELETE);
	run.begin = version_find_file(files, &first);
	run.end = run.begin;
	while (run.end < files->n && range_meets_file(r, files->files[run.end]))
		run.end++;
	run_widen(files, &run);
	return run;
}

void range_add_run(struct range *r, const struct version_files *files,
		   const struct run *run)
{
	range_add_files(r, files->files + run->begin, run->end - run->begin);
}

uint64_t run_bytes(const struct version_files *files, const struct run *run)
{
	uint64_t bytes = 0;

	for (size_t i = run->begin; i < run->end; i++)
		bytes += files->files[i]->size;
	return bytes;
}

/* -------------------------------------------------------------- conflicts */

struct range plan_range(const struct compaction_plan *p)
{
	return (struct range){ true, p->smallest, p->largest };
}

struct range plan_from_range(const struct compaction_plan *p)
{
	struct range r = { 0 };

	if (p->from_level == 0) {
		range_add_files(&r, p->inputs[0], p->n_inputs[0]);
	} else if (p->n_inputs[0]) {
		/* Sorted: the ends are enough. */
		range_add_file(&r, p->inputs[0][0]);
		range_add_file(&r, p->inputs[0][p->n_inputs[0] - 1]);
	}
	return r;
}

/* Whether a reads, at the level that b writes, keys that b writes. */
static bool reads_output(const struct compaction_plan *a,
			 const struct compaction_plan *b)
{
	struct range from, out;

	if (a->from_level != b->to_level)
		return false;
	from = plan_from_range(a);
	out = plan_range(b);
	return range_meets(&from, &out);
}

/* Whether they have an input in common; drop is of one level. */
static bool share_file(const struct compaction_plan *drop,
		       const struct compaction_plan *b)
{
	struct range rd = plan_range(drop);
	struct range rb = plan_range(b);

	if (b->kind == COMPACT_PROBLEM)
		return false;
	if ((drop->from_level != b->from_level &&
	     drop->from_level != b->to_level) ||
	    !range_meets(&rd, &rb))
		return false;
	for (size_t i = 0; i < drop->n_inputs[0]; i++)
		if (plan_has_file(b, drop->inputs[0][i]))
			return true;
	return false;
}

bool compaction_plans_conflict(const struct compaction_plan *a,
			       const struct compaction_plan *b)
{
	struct range ra = plan_range(a);
	struct range rb = plan_range(b);

	/*
	 * Files may vanish beside and between what others read: whoever wants a
	 * key of theirs in the same level needs the file itself.
	 */
	if (a->kind == COMPACT_DROP)
		return share_file(a, b);
	if (b->kind == COMPACT_DROP)
		return share_file(b, a);
	if (a->to_level == b->to_level && range_meets(&ra, &rb))
		return true;
	/* Columns of level 0 may go to two levels when the base level moves. */
	if (a->from_level == b->from_level) {
		ra = plan_from_range(a);
		rb = plan_from_range(b);
		if (range_meets(&ra, &rb))
			return true;
	}
	return reads_output(a, b) || reads_output(b, a);
}

bool plan_conflicts(const struct compaction_plan *p,
		    const struct picker_running *running)
{
	for (size_t i = 0; i < running->n; i++)
		if (compaction_plans_conflict(p, running->plans[i]))
			return true;
	return false;
}

bool plan_has_file(const struct compaction_plan *p, const struct file_meta *f)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < p->n_inputs[side]; i++)
			if (p->inputs[side][i] == f)
				return true;
	return false;
}

bool is_busy(const struct file_meta *f, int level,
	     const struct picker_running *running)
{
	picker_step(running);
	for (size_t i = 0; i < running->n; i++) {
		const struct compaction_plan *p = running->plans[i];
		struct range r;

		if (p->kind == COMPACT_DROP) {
			/* Nothing but the files themselves. */
			if (level == p->from_level && plan_has_file(p, f))
				return true;
			continue;
		}
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

bool is_l0_input(const struct file_meta *f,
		 const struct picker_running *running)
{
	for (size_t i = 0; i < running->n; i++)
		if (running->plans[i]->from_level == 0 &&
		    plan_has_file(running->plans[i], f))
			return true;
	return false;
}

/* ---------------------------------------------------------- making a plan */

const char *compaction_kind_name(enum compaction_kind kind)
{
	static const char *const names[N_COMPACTION_KINDS] = {
		[COMPACT_SCORE] = "score",
		[COMPACT_DROP] = "delete-only",
		[COMPACT_ELIDE] = "elision-only",
		[COMPACT_GARBAGE] = "garbage",
		[COMPACT_DENSE] = "tombstones",
		[COMPACT_READS] = "reads",
		[COMPACT_MANUAL] = "manual",
		[COMPACT_PROBLEM] = "problem",
	};

	assert(kind < N_COMPACTION_KINDS);
	return names[kind];
}

void compaction_plan_fini(struct compaction_plan *p)
{
	for (int which = 0; which < 2; which++) {
		for (size_t i = 0; i < p->n_inputs[which]; i++)
			file_meta_unref(p->inputs[which][i]);
		free(p->inputs[which]);
	}
	for (size_t i = 0; i < p->n_grandparents; i++)
		file_meta_unref(p->grandparents[i]);
	free(p->grandparents);
	*p = (struct compaction_plan){ 0 };
}

uint64_t output_size(const struct picker *p, int level)
{
	uint64_t size = p->o->target_file_size;

	for (int i = p->targets.base_level; i < level; i++) {
		if (size >= p->o->target_file_size_max / 2)
			return p->o->target_file_size_max;
		size *= 2;
	}
	return size;
}

static int copy_files(struct file_meta *const *files, size_t n,
		      struct file_meta ***out, size_t *n_out)
{
	struct file_meta **copy;

	if (!n)
		return CAIRN_OK;
	copy = malloc(n * sizeof(*copy));
	if (!copy)
		return error_nomem();
	for (size_t i = 0; i < n; i++)
		copy[i] = file_meta_ref(files[i]);
	*out = copy;
	*n_out = n;
	return CAIRN_OK;
}

int copy_run(const struct version_files *files, const struct run *run,
	     struct file_meta ***out, size_t *n_out)
{
	return copy_files(files->files + run->begin, run->end - run->begin, out,
			  n_out);
}

bool anything_below(const struct picker *p, int level, const struct range *r)
{
	for (level++; level < CAIRN_LEVELS; level++) {
		struct run run = run_overlapping(&p->v->level[level], r);

		if (run.begin != run.end)
			return true;
	}
	return false;
}

/* Whether the single input may change its level as it is. */
static bool can_move(const struct picker *p, const struct compaction_plan *plan,
		     const struct range *r)
{
	uint64_t overlap = 0;
	uint64_t entries, deletions, ranges;

	if (plan->n_inputs[0] != 1 || plan->n_inputs[1] ||
	    plan->from_level == plan->to_level)
		return false;
	/* It would cost a large compaction later. */
	for (size_t i = 0; i < plan->n_grandparents; i++)
		overlap += plan->grandparents[i]->size;
	if (overlap > plan->grandparent_bytes_max)
		return false;
	/* Tombstones with nothing below would stay for good. */
	entries = atomic_load_explicit(&plan->inputs[0][0]->entries,
				       memory_order_relaxed);
	deletions = atomic_load_explicit(&plan->inputs[0][0]->deletions,
					 memory_order_relaxed);
	ranges = atomic_load_explicit(&plan->inputs[0][0]->range_deletions,
				      memory_order_relaxed);
	return (!ranges &&
		(double)deletions <= MOVE_TOMBSTONES_MAX * (double)entries) ||
	       anything_below(p, plan->to_level, r);
}

/* More files of level, when they cost nothing at level + 1, are taken along:
 * they would have to be merged with the same files there later. */
int plan_level(const struct picker *p, int level, struct run from,
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

int plan_in_place(const struct picker *p, int level, const struct run *run,
		  struct compaction_plan *plan)
{
	int err;

	plan->from_level = level;
	plan->to_level = level;
	err = copy_run(&p->v->level[level], run, &plan->inputs[0],
		       &plan->n_inputs[0]);
	return err ? err : plan_finish(p, plan);
}

int plan_finish(const struct picker *p, struct compaction_plan *plan)
{
	struct range r = { 0 };
	int err = CAIRN_OK;

	for (int which = 0; which < 2; which++) {
		range_add_files(&r, plan->inputs[which], plan->n_inputs[which]);
		plan->bytes[which] = 0;
		for (size_t i = 0; i < plan->n_inputs[which]; i++)
			plan->bytes[which] += plan->inputs[which][i]->size;
	}
	assert(r.any);
	plan->smallest = r.smallest;
	plan->largest = r.largest;
	/* Files of level 0 that share seqnos would break the staircase. */
	if (plan->to_level == 0 || plan->kind == COMPACT_DROP)
		return CAIRN_OK;
	plan->target_file_size = output_size(p, plan->to_level);
	plan->grandparent_bytes_max =
		GRANDPARENT_FILES * plan->target_file_size;
	if (plan->to_level < BOTTOM_LEVEL) {
		const struct version_files *below =
			&p->v->level[plan->to_level + 1];
		struct run run = run_overlapping(below, &r);

		err = copy_run(below, &run, &plan->grandparents,
			       &plan->n_grandparents);
	}
	if (!err)
		plan->trivial_move = can_move(p, plan, &r);
	return err;
}
