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
	/* The plan's, as level_iter takes them, but those that need not be
	 * read. */
	struct version_files inputs[2];
	struct merge_loop_options merge;
	struct range_dels *range_dels; /* of all inputs; NULL: none */
	uint64_t entries;              /* to be read */
	bool counted;                  /* all tables say how many they have */
	/* For exists_below(): the first file of each level that does not lie
	 * wholly before the keys asked about so far. */
	size_t cursor[CAIRN_LEVELS];
	/* What is read, while it is read, and the files of those that are of
	 * one file; NULL: a level_iter. */
	struct iter **children;
	const struct file_meta **child_file;
	size_t n_children;
	uint64_t damaged; /* as in struct job_result */
	/* Another merge operator than ours has operands in the inputs: they
	 * stay as they are, and under its name. NULL: none has. */
	char *foreign_merge;
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

static bool range_exists_below(void *ctx, struct cairn_slice start,
			       struct cairn_slice end)
{
	const struct compaction *j = ctx;

	if (j->plan->to_level == 0)
		return true;
	for (int l = j->plan->to_level + 1; l < CAIRN_LEVELS; l++) {
		const struct version_files *level = &j->version->level[l];
		size_t i = first_reaching(level, start);

		if (i < level->n &&
		    slice_cmp(level->files[i]->smallest_key.user_key, end) < 0)
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

/*
 * Whether no level below the output has anything in the range of the job. A
 * file that ends, exclusively, where the job begins counts, too: there may be
 * another behind it, and where range_exists_below() lets a tombstone stay no
 * put may become number 0, which it would delete.
 */
static bool is_bottom(const struct compaction *j)
{
	if (j->plan->to_level == 0)
		return false;
	for (int l = j->plan->to_level + 1; l < CAIRN_LEVELS; l++) {
		const struct version_files *level = &j->version->level[l];
		size_t i = j->cursor[l];

		if (i < level->n &&
		    slice_cmp(level->files[i]->smallest_key.user_key,
			      j->plan->largest) <= 0)
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

/* Whether f lies before all inputs, or behind all of them. */
static bool lies_outside(const struct compaction_plan *p,
			 const struct file_meta *f)
{
	bool before = true, behind = true;

	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < p->n_inputs[side]; i++) {
			before &= file_meta_before(f, p->inputs[side][i]);
			behind &= file_meta_before(p->inputs[side][i], f);
		}
	return before || behind;
}

/* Whether the job stays in level 0, and f is older than all of its inputs. */
static bool is_beside(const struct compaction_plan *p,
		      const struct file_meta *f)
{
	if (p->from_level != 0 || p->to_level != 0)
		return false;
	for (size_t i = 0; i < p->n_inputs[0]; i++)
		if (!is_newer(p->inputs[0][i], f))
			return false;
	return true;
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
			assert(is_input(p, to->files[i]) ||
			       lies_outside(p, to->files[i]));
	for (size_t i = 0; i < from->n; i++) {
		const struct file_meta *f = from->files[i];

		if (is_input(p, f))
			continue;
		for (size_t k = 0; k < p->n_inputs[0]; k++) {
			const struct file_meta *in = p->inputs[0][k];

			assert(file_meta_before(f, in) ||
			       file_meta_before(in, f) ||
			       (p->from_level == 0 && is_newer(f, in)) ||
			       is_beside(p, f));
		}
	}
#else
	(void)j;
#endif
}

/* ------------------------------------------------------------------ input */

/*
 * The tombstones of an input, cut to its bounds. Where a file ends with an
 * entry of a user key the versions left in the next file are older and covered
 * as well, so it is cut behind the key.
 */
static int list_range_dels(const struct file_meta *f,
			   const struct range_dels *d,
			   struct range_del_list *list)
{
	const struct cairn_slice smallest = f->smallest_key.user_key;
	struct cairn_slice largest;
	struct buf end = { 0 };
	int err = buf_set(&end, f->largest_key.user_key);

	if (!err && !file_meta_ends_before_largest(f))
		err = buf_append(&end, "", 1);
	largest = buf_slice(&end);
	for (size_t i = 0; !err && i < d->n_tombs; i++) {
		struct range_del t = range_dels_tomb(d, i);

		if (slice_cmp(t.start, smallest) < 0)
			t.start = smallest;
		if (slice_cmp(t.end, largest) > 0)
			t.end = largest;
		err = range_del_list_add(list, &t);
	}
	buf_fini(&end);
	return err;
}

static int visit_input(struct compaction *j, const struct file_meta *f,
		       int (*visit)(struct compaction *j,
				    const struct file_meta *f,
				    const struct table *t, void *ctx),
		       void *ctx)
{
	struct table_ref *ref;
	int err = table_cache_get(j->ctx->tables, f->number, f->size, &ref);

	if (err == CAIRN_ECORRUPT)
		j->damaged = f->number;
	if (err)
		return err;
	err = visit(j, f, table_ref_table(ref), ctx);
	table_cache_release(j->ctx->tables, ref);
	return err;
}

static int visit_for_range_dels(struct compaction *j, const struct file_meta *f,
				const struct table *t, void *ctx)
{
	const struct range_dels *d = table_range_dels(t);

	(void)j;
	return d ? list_range_dels(f, d, ctx) : CAIRN_OK;
}

static int note_foreign_merge(struct compaction *j, const struct table *t)
{
	const char *name = table_foreign_merge(t);

	if (!name || j->foreign_merge)
		return CAIRN_OK;
	j->foreign_merge = strdup(name);
	return j->foreign_merge ? CAIRN_OK : error_nomem();
}

static int visit_for_entries(struct compaction *j, const struct file_meta *f,
			     const struct table *t, void *ctx)
{
	const struct table_props *p = table_props(t);
	bool known = p->entries && p->entries >= p->range_deletions;

	(void)f;
	(void)ctx;
	j->counted = j->counted && known;
	if (known)
		j->entries += p->entries - p->range_deletions;
	return note_foreign_merge(j, t);
}

static int collect_range_dels(struct compaction *j)
{
	struct range_del_list list = { 0 };
	int err = CAIRN_OK;

	for (int side = 0; side < 2; side++)
		for (size_t i = 0; !err && i < j->plan->n_inputs[side]; i++)
			err = visit_input(j, j->plan->inputs[side][i],
					  visit_for_range_dels, &list);
	if (!err)
		err = range_dels_new(&list, &j->range_dels);
	range_del_list_fini(&list);
	j->merge.range_dels = j->range_dels;
	return err;
}

/*
 * Find the inputs to be read, and how many entries their properties promise.
 * Those of which nothing can live on go without being looked at.
 */
static int select_inputs(struct compaction *j)
{
	const struct compaction_plan *p = j->plan;
	int err = CAIRN_OK;

	j->counted = true;
	for (int side = 0; !err && side < 2; side++) {
		struct version_files *in = &j->inputs[side];

		in->files = calloc(p->n_inputs[side] + 1, sizeof(*in->files));
		if (!in->files)
			return error_nomem();
		for (size_t i = 0; !err && i < p->n_inputs[side]; i++) {
			struct file_meta *f = p->inputs[side][i];

			if (f->seqnos_known &&
			    range_out_covers(
				    &j->merge, f->smallest_key.user_key,
				    f->largest_key.user_key, f->smallest_seqno,
				    f->largest_seqno))
				continue;
			in->files[in->n++] = f;
			in->bytes += f->size;
			err = visit_input(j, f, visit_for_entries, NULL);
		}
	}
	if (j->foreign_merge)
		j->merge.merge = NULL;
	return err;
}

/* Level 0 files overlap, so each is a child; children has room for them. */
static int open_level0(struct compaction *j)
{
	const struct version_files *in = &j->inputs[0];

	for (size_t i = 0; i < in->n; i++) {
		const struct file_meta *f = in->files[i];
		int err = table_cache_iter_new(j->ctx->tables, f->number,
					       f->size, TABLE_SCAN_BULK,
					       &j->children[j->n_children]);

		if (err == CAIRN_ECORRUPT)
			j->damaged = f->number;
		if (err)
			return err;
		j->child_file[j->n_children++] = f;
	}
	return CAIRN_OK;
}

static int open_sorted(struct compaction *j, int side)
{
	struct level_iter_options opts = {
		.tables = j->ctx->tables,
		.scan = TABLE_SCAN_BULK,
	};
	int err;

	if (j->inputs[side].n == 0)
		return CAIRN_OK;
	err = level_iter_new(&j->inputs[side], &opts,
			     &j->children[j->n_children]);
	if (!err)
		j->n_children++;
	return err;
}

static int open_input(struct compaction *j, struct iter **out)
{
	size_t max = j->inputs[0].n + 2;
	int err;

	j->children = calloc(max, sizeof(struct iter *));
	j->child_file = calloc(max, sizeof(const struct file_meta *));
	if (!j->children || !j->child_file)
		return error_nomem();
	err = j->plan->from_level == 0 ? open_level0(j) : open_sorted(j, 0);
	if (!err)
		err = open_sorted(j, 1);
	if (!err) {
		size_t n = j->n_children;

		/* They are taken over, whatever the result. */
		j->n_children = 0;
		err = merging_iter_new(j->children, n, out);
		if (!err)
			j->n_children = n;
		return err;
	}
	while (j->n_children)
		iter_close(j->children[--j->n_children]);
	return err;
}

/* The input ended with CAIRN_ECORRUPT: which table is to blame? */
static void find_damaged(struct compaction *j)
{
	for (size_t i = 0; i < j->n_children; i++) {
		const struct file_meta *f = j->child_file[i];

		if (j->children[i]->status != CAIRN_ECORRUPT)
			continue;
		j->damaged =
			f ? f->number : level_iter_file(j->children[i])->number;
		return;
	}
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
			struct iter *input, struct job_result *out)
{
	const struct compaction_plan *p = j->plan;
	struct output_options opts = {
		.level = p->to_level,
		.target_size = p->target_file_size,
		.grandparents = p->grandparents,
		.n_grandparents = p->n_grandparents,
		.grandparent_bytes_max = p->grandparent_bytes_max,
		.oldest_ancestor_time = oldest_ancestor(p),
		.merge_operator = j->foreign_merge,
	};
	struct output_input in = {
		.in = input,
		.bytes = p->bytes[0] + p->bytes[1],
		.counted = j->counted,
		.entries = j->entries,
	};
	int err;

	if (filter)
		j->merge.filter_job = filter->begin(filter->ctx, &j->info);
	if (j->merge.filter_job)
		j->merge.filter = filter;
	err = outputs_write(j->ctx, &in, &j->merge, &opts, out);
	if (j->merge.filter)
		filter->end(j->merge.filter_job);
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
			  .manual = plan->kind == COMPACT_MANUAL,
			  .overlaps_outside = overlaps_outside },
		.ctx = c,
		.plan = plan,
		.version = opts->version,
	};
	struct iter *input;
	int err;

	assert_inputs_closed(&j);
	init_cursors(&j);
	j.merge = (struct merge_loop_options){
		.snapshots = c->snapshots,
		.n_snapshots = c->n_snapshots,
		.newest_user_snapshot = c->newest_user_snapshot,
		.exists_below = exists_below,
		.range_exists_below = range_exists_below,
		.exists_ctx = &j,
		.merge = c->merge,
		.zero_seqnos = is_bottom(&j),
	};
	err = collect_range_dels(&j);
	if (!err)
		err = select_inputs(&j);
	/* The deletions come first: once tables are written nothing but the
	 * caller's installing them may fail. */
	if (!err)
		err = delete_inputs(plan, &out->edit);
	if (!err)
		err = open_input(&j, &input);
	if (!err) {
		err = write_tables(&j, opts->filter, input, out);
		if (err == CAIRN_ECORRUPT)
			find_damaged(&j);
		iter_close(input);
	}
	out->damaged = j.damaged;
	free(j.children);
	free(j.child_file);
	range_dels_unref(j.range_dels);
	free(j.foreign_merge);
	for (int side = 0; side < 2; side++)
		free(j.inputs[side].files);
	return err;
}

int compaction_drop_edit(const struct compaction_plan *plan,
			 struct version_edit *edit)
{
	assert(plan->kind == COMPACT_DROP && plan->n_inputs[1] == 0);
	return delete_inputs(plan, edit);
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
