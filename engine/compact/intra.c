/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/intra.h"

/* More files than these are not looked at together: the search is quadratic,
 * and level 0 is stopped long before. */
#define FILES_MAX 64

/* Files of level 0 from begin on, newest first, as they are added to. */
struct stack {
	size_t begin;
	size_t n;
	uint64_t bytes;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	size_t depth; /* sublevels that they make by themselves */
	size_t level[FILES_MAX];
};

static void stack_add(const struct version_files *files, struct stack *s)
{
	const struct file_meta *f = files->files[s->begin + s->n];
	struct range r = { 0 };
	size_t level = 1;

	range_add_file(&r, f);
	for (size_t i = 0; i < s->n; i++)
		if (s->level[i] >= level &&
		    range_meets_file(&r, files->files[s->begin + i]))
			level = s->level[i] + 1;
	s->level[s->n] = level;
	if (level > s->depth)
		s->depth = level;
	if (!s->n || f->smallest_seqno < s->smallest_seqno)
		s->smallest_seqno = f->smallest_seqno;
	if (!s->n || f->largest_seqno > s->largest_seqno)
		s->largest_seqno = f->largest_seqno;
	s->bytes += f->size;
	s->n++;
}

static bool is_usable(const struct picker *p, const struct file_meta *f)
{
	uint64_t unflushed = p->running->unflushed_seqno;

	return f->seqnos_known && !is_l0_input(f, p->running) &&
	       (!unflushed || f->largest_seqno < unflushed);
}

/* Whether a file made of the stack keeps the staircase. */
static bool is_apart(const struct version_files *files, const struct stack *s)
{
	size_t end = s->begin + s->n;

	if (s->begin > 0 &&
	    files->files[s->begin - 1]->smallest_seqno <= s->largest_seqno)
		return false;
	return end == files->n ||
	       (files->files[end]->seqnos_known
			? files->files[end]->largest_seqno < s->smallest_seqno
			: true);
}

/* Bytes to be written for each sublevel saved. */
static double price(const struct stack *s)
{
	return (double)s->bytes / (double)(s->depth - 1);
}

/* From the newest usable file on. best, zeroed, stays so when nothing is to be
 * won. */
static void find_best(const struct picker *p, struct stack *best)
{
	const struct version_files *files = &p->v->level[0];
	struct stack s = { 0 };

	while (s.begin < files->n && !is_usable(p, files->files[s.begin]))
		s.begin++;
	while (s.n < FILES_MAX && s.begin + s.n < files->n &&
	       is_usable(p, files->files[s.begin + s.n])) {
		stack_add(files, &s);
		if (s.depth > 1 && is_apart(files, &s) &&
		    (!best->n || price(&s) < price(best)))
			*best = s;
	}
}

int intra_pick(const struct picker *p, struct compaction_plan *out)
{
	struct compaction_plan plan = { .from_level = 0, .to_level = 0 };
	struct stack best = { 0 };
	struct run run;
	int err;

	find_best(p, &best);
	if (!best.n)
		return CAIRN_NOT_FOUND;
	run = (struct run){ best.begin, best.begin + best.n };
	err = copy_run(&p->v->level[0], &run, &plan.inputs[0],
		       &plan.n_inputs[0]);
	if (!err)
		err = plan_finish(p, &plan);
	if (!err && plan_conflicts(&plan, p->running))
		err = CAIRN_NOT_FOUND;
	if (err) {
		compaction_plan_fini(&plan);
		return err;
	}
	*out = plan;
	return CAIRN_OK;
}
