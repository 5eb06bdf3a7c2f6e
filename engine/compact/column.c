/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/column.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/intra.h"

/* Files of level 0 that are to go together. */
struct column {
	bool *taken; /* by index in the level */
	size_t n;
	struct range range;
};

static void column_take(const struct picker *p, struct column *c, size_t i)
{
	assert(!c->taken[i]);
	c->taken[i] = true;
	c->n++;
	range_add_file(&c->range, p->v->level[0].files[i]);
}

/*
 * Take every file that is older than a taken one and meets the taken range,
 * until there is none: left above, an older version would hide the newer one
 * that went down. False when a job is at one of them.
 */
static bool column_close(const struct picker *p, struct column *c)
{
	const struct version_files *files = &p->v->level[0];
	bool grew = true;

	while (grew) {
		bool newer_taken = false;

		grew = false;
		for (size_t i = 0; i < files->n; i++) {
			if (c->taken[i]) {
				newer_taken = true;
				continue;
			}
			if (!newer_taken ||
			    !range_meets_file(&c->range, files->files[i]))
				continue;
			if (is_l0_input(files->files[i], p->running))
				return false;
			column_take(p, c, i);
			grew = true;
		}
	}
	return true;
}

/* The plan's levels and inputs. */
static int plan_column(const struct picker *p, const struct column *c,
		       struct compaction_plan *plan)
{
	const struct version_files *files = &p->v->level[0];
	const struct version_files *base = &p->v->level[p->targets.base_level];
	struct run to = run_overlapping(base, &c->range);

	plan->from_level = 0;
	plan->to_level = p->targets.base_level;
	plan->inputs[0] = malloc(c->n * sizeof(*plan->inputs[0]));
	if (!plan->inputs[0])
		return error_nomem();
	for (size_t i = 0; i < files->n; i++)
		if (c->taken[i])
			plan->inputs[0][plan->n_inputs[0]++] =
				file_meta_ref(files->files[i]);
	assert(plan->n_inputs[0] == c->n);
	return copy_run(base, &to, &plan->inputs[1], &plan->n_inputs[1]);
}

static bool drops_any(const struct compaction_plan *drop,
		      const struct version_files *files, const struct run *run)
{
	for (size_t i = run->begin; i < run->end; i++)
		if (plan_has_file(drop, files->files[i]))
			return true;
	return false;
}

static bool column_conflicts(const struct picker *p, const struct column *c)
{
	const struct version_files *base = &p->v->level[p->targets.base_level];
	struct range out = c->range;
	struct run to = run_overlapping(base, &c->range);

	range_add_run(&out, base, &to);
	for (size_t i = 0; i < p->running->n; i++) {
		const struct compaction_plan *q = p->running->plans[i];
		struct range from = plan_from_range(q);
		struct range all = plan_range(q);

		if (q->kind == COMPACT_DROP) {
			/* Of level 0 it is told by is_l0_input(). */
			if (q->from_level == p->targets.base_level &&
			    drops_any(q, base, &to))
				return true;
			continue;
		}
		if (q->from_level == 0 && range_meets(&c->range, &from))
			return true;
		if (q->to_level == p->targets.base_level &&
		    range_meets(&out, &all))
			return true;
		if (q->from_level == p->targets.base_level &&
		    range_meets(&out, &from))
			return true;
	}
	return false;
}

/* Bytes of the base level that the column would rewrite. */
static uint64_t column_base_bytes(const struct picker *p,
				  const struct column *c)
{
	const struct version_files *base = &p->v->level[p->targets.base_level];
	struct run to = run_overlapping(base, &c->range);

	return run_bytes(base, &to);
}

static uint64_t column_bytes(const struct picker *p, const struct column *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < p->v->level[0].n; i++)
		if (c->taken[i])
			bytes += p->v->level[0].files[i]->size;
	return bytes;
}

static void column_copy(struct column *to, const struct column *from, size_t n)
{
	memcpy(to->taken, from->taken, n * sizeof(*to->taken));
	to->n = from->n;
	to->range = from->range;
}

/*
 * Whether wider, which c became by taking one more file, is worth it: what lies
 * within c's range saves merging the same part of the base level once more;
 * else the whole must stay small.
 */
static bool worth_taking(const struct picker *p, const struct column *c,
			 const struct column *wider)
{
	uint64_t limit =
		EXPANSION_FILES * output_size(p, p->targets.base_level);

	if (slice_eq(c->range.smallest, wider->range.smallest) &&
	    slice_eq(c->range.largest, wider->range.largest))
		return true;
	return column_bytes(p, wider) + column_base_bytes(p, wider) <= limit;
}

/* Take newer files along when they meet the column, the oldest first. */
static void column_extend(const struct picker *p, struct column *c,
			  struct column *spare)
{
	const struct version_files *files = &p->v->level[0];
	size_t i = files->n;

	while (i-- > 0) {
		struct file_meta *f = files->files[i];

		if (c->taken[i] || !range_meets_file(&c->range, f) ||
		    is_l0_input(f, p->running))
			continue;
		column_copy(spare, c, files->n);
		column_take(p, spare, i);
		if (!column_close(p, spare) || column_conflicts(p, spare) ||
		    !worth_taking(p, c, spare))
			continue;
		column_copy(c, spare, files->n);
		/* Its range may meet newer files passed over before. */
		i = files->n;
	}
}

static int column_init(struct column *c, size_t n_files)
{
	*c = (struct column){ 0 };
	c->taken = calloc(n_files, sizeof(*c->taken));
	return c->taken ? CAIRN_OK : error_nomem();
}

static void column_clear(struct column *c, size_t n_files)
{
	memset(c->taken, 0, n_files * sizeof(*c->taken));
	c->n = 0;
	c->range = (struct range){ 0 };
}

static size_t index_of(const struct version_files *files,
		       const struct file_meta *f)
{
	size_t i = 0;

	while (files->files[i] != f)
		i++;
	return i;
}

/* Start a column from f; false when a job is in the way. */
static bool column_from_seed(const struct picker *p, const struct file_meta *f,
			     struct column *c)
{
	const struct version_files *files = &p->v->level[0];

	if (is_l0_input(f, p->running))
		return false;
	column_clear(c, files->n);
	column_take(p, c, index_of(files, f));
	return column_close(p, c) && !column_conflicts(p, c);
}

/*
 * Seeds are tried from the highest sublevel down: below such a file the stack
 * is deepest, and taking the whole of it lowers the number of sublevels.
 */
static bool find_column(const struct picker *p, struct column *c)
{
	for (size_t s = p->v->n_sublevels; s-- > 0;) {
		const struct version_files *sub = &p->v->sublevel[s];

		for (size_t i = 0; i < sub->n; i++)
			if (column_from_seed(p, sub->files[i], c))
				return true;
	}
	return false;
}

/*
 * Whether merging the column would rewrite too much of the base level for what
 * it brings: more than a byte pays on its way down one level (RocksDB's rule).
 */
static bool too_dear(const struct picker *p, const struct column *c)
{
	return (double)column_base_bytes(p, c) >
	       p->o->level_multiplier * (double)column_bytes(p, c);
}

int column_pick(const struct picker *p, struct compaction_plan *out)
{
	struct column c = { 0 }, spare = { 0 };
	size_t n = p->v->level[0].n;
	int err;

	if (!n)
		return CAIRN_NOT_FOUND;
	err = column_init(&c, n);
	if (!err)
		err = column_init(&spare, n);
	if (!err && !find_column(p, &c))
		err = CAIRN_NOT_FOUND;
	if (err)
		goto out;
	column_extend(p, &c, &spare);
	if (too_dear(p, &c)) {
		err = intra_pick(p, out);
		if (err != CAIRN_NOT_FOUND)
			goto out;
	}
	err = plan_column(p, &c, out);
	if (!err)
		err = plan_finish(p, out);
out:
	free(c.taken);
	free(spare.taken);
	return err;
}

int column_pick_from(const struct picker *p, const struct file_meta *f,
		     struct compaction_plan *out)
{
	struct column c;
	int err = column_init(&c, p->v->level[0].n);

	if (!err && !column_from_seed(p, f, &c))
		err = CAIRN_NOT_FOUND;
	if (!err)
		err = plan_column(p, &c, out);
	if (!err)
		err = plan_finish(p, out);
	free(c.taken);
	return err;
}

int column_pick_manual(const struct picker *p, struct cairn_slice from,
		       struct cairn_slice to, struct compaction_plan *plan)
{
	const struct version_files *files = &p->v->level[0];
	struct column c;
	bool grew = true;
	int err;

	err = column_init(&c, files->n + 1);
	if (err)
		return err;
	for (size_t i = 0; i < files->n; i++)
		if (file_meta_overlaps(files->files[i], from, to))
			column_take(p, &c, i);
	while (grew) {
		grew = false;
		for (size_t i = 0; i < files->n; i++) {
			if (c.taken[i] ||
			    !range_meets_file(&c.range, files->files[i]))
				continue;
			column_take(p, &c, i);
			grew = true;
		}
	}
	err = c.n ? plan_column(p, &c, plan) : CAIRN_NOT_FOUND;
	free(c.taken);
	return err ? err : plan_finish(p, plan);
}
