/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of two neighbouring levels to tables of the lower one. */
#include "engine/compact/job.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/output.h"
#include "engine/kv/merging_iter.h"
#include "engine/version/level_iter.h"

struct compaction {
	/* First, because the filter hands back a pointer to it. */
	struct cairn_compaction_info info;
	const struct job_context *ctx;
	const struct compaction_plan *plan;
	const struct version *version;
	struct version_files
		inputs[2]; /* the plan's, as level_iter takes them */
	/* For exists_below(): the first file of each level that does not lie
	 * wholly before the keys asked about so far. */
	size_t cursor[CAIRN_LEVELS];
};

void job_result_fini(struct job_result *r)
{
	version_edit_fini(&r->edit);
}

/* --------------------------------------------------------- what is outside */

static bool is_input(const struct compaction_plan *p, const struct file_meta *f)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < p->n_inputs[side]; i++)
			if (p->inputs[side][i]->number == f->number)
				return true;
	return false;
}

/* Index of the first file of a sorted level that ends at or after user_key. */
static size_t first_reaching(const struct version_files *level,
			     struct cairn_slice user_key)
{
	struct ikey before_all = { user_key, UINT64_MAX };

	return version_find_file(level, &before_all);
}

/* Called with ascending keys, so the cursors only move forward. */
static bool exists_below(void *ctx, struct cairn_slice user_key)
{
	struct compaction *j = ctx;

	/* Level 0 files lie beside one another, not below. */
	if (j->plan->to_level == 0)
		return true;
	for (int l = j->plan->to_level + 1; l < CAIRN_LEVELS; l++) {
		const struct version_files *level = &j->version->level[l];
		size_t *i = &j->cursor[l];

		while (*i < level->n &&
		       slice_cmp(level->files[*i]->largest_key.user_key,
				 user_key) < 0)
			(*i)++;
		if (*i < level->n &&
		    slice_cmp(level->files[*i]->smallest_key.user_key,
			      user_key) <= 0)
			return true;
	}
	return false;
}

static void init_cursors(struct compaction *j)
{
	for (int l = j->plan->to_level + 1; l < CAIRN_LEVELS; l++)
		j->cursor[l] = first_reaching(&j->version->level[l],
					      j->plan->smallest);
}

/* Whether no level below the output has anything in the range of the job. */
static bool is_bottom(const struct compaction *j)
{
	if (j->plan->to_level == 0)
		return false;
	for (int l = j->plan->to_level + 1; l < CAIRN_LEVELS; l++) {
		const struct version_files *level = &j->version->level[l];

		if (j->cursor[l] < level->n &&
		    file_meta_overlaps(level->files[j->cursor[l]],
				       j->plan->smallest, j->plan->largest))
			return false;
	}
	return true;
}

/* As file_meta_overlaps(), with an exclusive end. */
static bool starts_before(const struct file_meta *f, struct cairn_slice to)
{
	return !to.data || slice_cmp(f->smallest_key.user_key, to) < 0;
}

static bool overlaps_outside(const struct cairn_compaction_info *info,
			     struct cairn_slice from, struct cairn_slice to)
{
	const struct compaction *j = (const struct compaction *)info;
	const struct version_files *level = &j->version->level[0];

	if (from.data && to.data && slice_cmp(from, to) >= 0)
		return false;
	for (size_t i = 0; i < level->n; i++)
		if (starts_before(level->files[i], to) &&
		    file_meta_overlaps(level->files[i], from,
				       (struct cairn_slice){ 0 }) &&
		    !is_input(j->plan, level->files[i]))
			return true;
	for (int l = 1; l < CAIRN_LEVELS; l++) {
		size_t i = 0;

		level = &j->version->level[l];
		if (from.data)
			i = first_reaching(level, from);
		for (; i < level->n && starts_before(level->files[i], to); i++)
			if (!is_input(j->plan, level->files[i]))
				return true;
	}
	return false;
}

#ifndef NDEBUG
/* The order of level 0. */
static bool is_newer(const struct file_meta *a, const struct file_meta *b)
{
	if (a->largest_seqno != b->largest_seqno)
		return a->largest_seqno > b->largest_seqno;
	if (a->smallest_seqno != b->smallest_seqno)
		return a->smallest_seqno > b->smallest_seqno;
	return a->number > b->number;
}
#endif

/*
 * The picker's promise: the inputs are closed. No other file of the output
 * level lies between them, and no other file of the level above holds versions
 * of a key that are older than those of an input; these would otherwise come
 * to lie above newer ones.
 */
static void assert_inputs_closed(const struct compaction *j)
{
#ifndef NDEBUG
	const struct compaction_plan *p = j->plan;
	const struct version_files *from = &j->version->level[p->from_level];
	const struct version_files *to = &j->version->level[p->to_level];

	if (p->to_level > p->from_level)
		for (size_t i = 0; i < to->n; i++)
			assert(!file_meta_overlaps(to->files[i], p->smallest,
						   p->largest) ||
			       is_input(p, to->files[i]));
	for (size_t i = 0; i < from->n; i++) {
		const struct file_meta *f = from->files[i];

		if (is_input(p, f))
			continue;
		for (size_t k = 0; k < p->n_inputs[0]; k++) {
			const struct file_meta *in = p->inputs[0][k];

			assert(!file_meta_overlaps(f, in->smallest_key.user_key,
						   in->largest_key.user_key) ||
			       (p->from_level == 0 && is_newer(f, in)));
		}
	}
#else
	(void)j;
#endif
}

/* ------------------------------------------------------------------ input */

/* Entries that the inputs' properties promise; 0 when one does not say. */
static int count_entries(const struct compaction *j, uint64_t *entries)
{
	struct table_cache *tables = j->ctx->tables;
	bool known = true;

	*entries = 0;
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < j->plan->n_inputs[side]; i++) {
			struct file_meta *f = j->plan->inputs[side][i];
			const struct table_props *props;
			struct table_ref *ref;
			int err = table_cache_get(tables, f->number, f->size,
						  &ref);

			if (err)
				return err;
			props = table_props(table_ref_table(ref));
			known &= props->entries > props->range_deletions;
			*entries += props->entries - props->range_deletions;
			table_cache_release(tables, ref);
		}
	}
	if (!known)
		*entries = 0;
	return CAIRN_OK;
}

/* Level 0 files overlap, so each is a child; children has room for them. */
static int open_level0(const struct compaction *j, struct iter **children,
		       size_t *n)
{
	const struct version_files *in = &j->inputs[0];

	for (size_t i = 0; i < in->n; i++) {
		int err = table_cache_iter_new(
			j->ctx->tables, in->files[i]->number,
			in->files[i]->size, TABLE_SCAN_BULK, &children[*n]);

		if (err)
			return err;
		++*n;
	}
	return CAIRN_OK;
}

static int open_sorted(const struct compaction *j, int side,
		       struct iter **children, size_t *n)
{
	struct level_iter_options opts = {
		.tables = j->ctx->tables,
		.scan = TABLE_SCAN_BULK,
	};
	int err;

	if (j->inputs[side].n == 0)
		return CAIRN_OK;
	err = level_iter_new(&j->inputs[side], &opts, &children[*n]);
	if (!err)
		++*n;
	return err;
}

static int open_input(const struct compaction *j, struct iter **out)
{
	struct iter **children =
		calloc(j->inputs[0].n + 2, sizeof(struct iter *));
	size_t n = 0;
	int err;

	if (!children)
		return error_nomem();
	err = j->plan->from_level == 0 ? open_level0(j, children, &n)
				       : open_sorted(j, 0, children, &n);
	if (!err)
		err = open_sorted(j, 1, children, &n);
	if (!err) {
		err = merging_iter_new(children, n, out);
		n = 0; /* taken over, whatever the result */
	}
	while (n)
		iter_close(children[--n]);
	free(children);
	return err;
}

/* ------------------------------------------------------------------ output */

static uint64_t oldest_ancestor(const struct compaction_plan *p)
{
	uint64_t oldest = 0;

	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < p->n_inputs[side]; i++) {
			uint64_t t = p->inputs[side][i]->oldest_ancestor_time;

			if (t && (!oldest || t < oldest))
				oldest = t;
		}
	}
	return oldest;
}

static int write_tables(struct compaction *j,
			const struct cairn_compaction_filter *filter,
			struct iter *input, uint64_t entries,
			struct job_result *out)
{
	const struct compaction_plan *p = j->plan;
	struct merge_loop_options merge = {
		.snapshots = j->ctx->snapshots,
		.n_snapshots = j->ctx->n_snapshots,
		.newest_user_snapshot = j->ctx->newest_user_snapshot,
		.exists_below = exists_below,
		.exists_ctx = j,
		.zero_seqnos = is_bottom(j),
	};
	struct output_options opts = {
		.level = p->to_level,
		.target_size = p->target_file_size,
		.grandparents = p->grandparents,
		.n_grandparents = p->n_grandparents,
		.grandparent_bytes_max = p->grandparent_bytes_max,
		.oldest_ancestor_time = oldest_ancestor(p),
	};
	struct output_input in = {
		.in = input,
		.bytes = p->bytes[0] + p->bytes[1],
		.entries = entries,
	};
	int err;

	if (filter)
		merge.filter_job = filter->begin(filter->ctx, &j->info);
	if (merge.filter_job)
		merge.filter = filter;
	err = outputs_write(j->ctx, &in, &merge, &opts, out);
	if (merge.filter)
		filter->end(merge.filter_job);
	return err;
}

static int delete_inputs(const struct compaction_plan *p,
			 struct version_edit *edit)
{
	const int levels[2] = { p->from_level, p->to_level };

	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < p->n_inputs[side]; i++) {
			int err = version_edit_delete_file(
				edit, levels[side], p->inputs[side][i]->number);

			if (err)
				return err;
		}
	}
	return CAIRN_OK;
}

int compaction_run(const struct job_context *c,
		   const struct compaction_plan *plan,
		   const struct compaction_options *opts,
		   struct job_result *out)
{
	struct compaction j = {
		.info = { .output_level = plan->to_level,
			  .manual = plan->manual,
			  .overlaps_outside = overlaps_outside },
		.ctx = c,
		.plan = plan,
		.version = opts->version,
	};
	struct iter *input;
	uint64_t entries;
	int err;

	for (int side = 0; side < 2; side++)
		j.inputs[side] = (struct version_files){ plan->inputs[side],
							 plan->n_inputs[side],
							 plan->bytes[side] };
	assert_inputs_closed(&j);
	init_cursors(&j);
	err = count_entries(&j, &entries);
	if (err)
		return err;
	/* The deletions come first: once tables are written nothing but the
	 * caller's installing them may fail. */
	err = delete_inputs(plan, &out->edit);
	if (err)
		return err;
	err = open_input(&j, &input);
	if (err)
		return err;
	err = write_tables(&j, opts->filter, input, entries, out);
	iter_close(input);
	return err;
}

int compaction_move_edit(const struct compaction_plan *plan,
			 struct version_edit *edit)
{
	struct file_meta *f = plan->inputs[0][0];
	int err;

	assert(plan->trivial_move && plan->n_inputs[0] == 1 &&
	       plan->n_inputs[1] == 0);
	err = version_edit_delete_file(edit, plan->from_level, f->number);
	if (err)
		return err;
	return version_edit_add_file(edit, plan->to_level, f);
}
