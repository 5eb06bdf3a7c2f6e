/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/level_iter.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/kv/range_del.h"

struct level_iter {
	struct iter base;
	const struct version_files *files;
	struct level_iter_options opts;
	struct iter *table; /* of files[pos]; NULL: none is open */
	size_t pos;
	/* Set by seek_prefix_ge: files without the prefix end the walk. */
	bool prefix_mode;
	struct buf prefix;
	/* Of the open file; only when base.scope is set. */
	struct range_scope scope;
	struct ikey lower;
};

struct ikey level_lower_bound(const struct version_files *files, size_t i)
{
	struct ikey lower = files->files[i]->smallest_key;

	if (i > 0 && !file_meta_before(files->files[i - 1], files->files[i]))
		return lower;
	lower.trailer = UINT64_MAX;
	return lower;
}

static void show(struct level_iter *l)
{
	l->base.boundary = false;
	l->base.valid = l->table->valid;
	l->base.status = l->table->status;
	l->base.key = l->table->key;
	l->base.value = l->table->value;
}

static void end(struct level_iter *l, int status)
{
	l->base.boundary = false;
	l->base.scope = NULL;
	l->base.valid = false;
	l->base.status = status;
}

/* Stop at an end of the open file. */
static void show_boundary(struct level_iter *l, const struct ikey *place)
{
	l->base.boundary = true;
	l->base.valid = true;
	l->base.status = CAIRN_OK;
	l->base.key = *place;
	l->base.value = slice_of(NULL, 0);
}

/* Show the tombstones of the open file, which is files[pos]. */
static void show_scope(struct level_iter *l)
{
	struct range_scope *of_table = l->table->scope;

	l->base.scope = NULL;
	if (!of_table || !l->opts.range_dels)
		return;
	l->lower = level_lower_bound(l->files, l->pos);
	l->scope = (struct range_scope){
		.set = of_table->set,
		.lower = &l->lower,
		.upper = &l->files->files[l->pos]->largest_key,
	};
	l->base.scope = &l->scope;
}

static bool above_upper(const struct level_iter *l, size_t i)
{
	const struct level_bounds *b = l->opts.bounds;

	return b && b->upper.data &&
	       slice_cmp(l->files->files[i]->smallest_key.user_key, b->upper) >=
		       0;
}

static bool below_lower(const struct level_iter *l, size_t i)
{
	const struct level_bounds *b = l->opts.bounds;

	return b && b->lower.data &&
	       slice_cmp(l->files->files[i]->largest_key.user_key, b->lower) <
		       0;
}

/*
 * Whether file i, whose largest key is at or above *target, may hold keys with
 * target's prefix there: keys with one prefix are adjacent.
 */
static bool may_start_with(const struct level_iter *l, size_t i,
			   const struct ikey *target, struct cairn_slice prefix)
{
	const struct ikey *smallest = &l->files->files[i]->smallest_key;

	return slice_cmp(smallest->user_key, target->user_key) <= 0 ||
	       slice_starts_with(smallest->user_key, prefix);
}

static int open_table(struct level_iter *l, const struct file_meta *f)
{
	const struct cairn_table_facts facts = {
		.number = f->number,
		.size_bytes = f->size,
		.smallest = f->smallest_key.user_key,
		.largest = f->largest_key.user_key,
		.seqnos_known = f->seqnos_known,
		.smallest_seqno = f->smallest_seqno,
		.largest_seqno = f->largest_seqno,
	};

	if (!l->opts.filter)
		return table_cache_iter_new(l->opts.tables, f->number, f->size,
					    l->opts.scan, &l->table);
	return table_cache_filtered_iter_new(l->opts.tables, &facts,
					     l->opts.filter, l->opts.scan,
					     &l->table);
}

/* Make files[i] the open one. False after a failure, which is then shown. */
static bool open_file(struct level_iter *l, size_t i)
{
	int err;

	if (l->table && l->pos == i) {
		show_scope(l);
		return true;
	}
	iter_close(l->table);
	l->table = NULL;
	l->pos = i;
	err = open_table(l, l->files->files[i]);
	if (err) {
		end(l, err);
		return false;
	}
	show_scope(l);
	return true;
}

/*
 * The open table has been positioned: go on to the next while it has no entry,
 * unless it has tombstones. leave: also then.
 */
static void settle_forward(struct level_iter *l, bool leave)
{
	while (!l->table->valid && !l->table->status) {
		size_t i = l->pos + 1;

		if (l->base.scope && !leave) {
			show_boundary(l, l->scope.upper);
			return;
		}
		leave = false;

		if (i >= l->files->n || above_upper(l, i) ||
		    (l->prefix_mode &&
		     !slice_starts_with(
			     l->files->files[i]->smallest_key.user_key,
			     buf_slice(&l->prefix)))) {
			end(l, CAIRN_OK);
			return;
		}
		if (!open_file(l, i))
			return;
		iter_first(l->table);
	}
	show(l);
}

static void settle_backward(struct level_iter *l, bool leave)
{
	while (!l->table->valid && !l->table->status) {
		if (l->base.scope && !leave) {
			show_boundary(l, l->scope.lower);
			return;
		}
		leave = false;
		if (l->pos == 0 || below_lower(l, l->pos - 1)) {
			end(l, CAIRN_OK);
			return;
		}
		if (!open_file(l, l->pos - 1))
			return;
		iter_last(l->table);
	}
	show(l);
}

static void level_first(struct iter *base)
{
	struct level_iter *l = (struct level_iter *)base;
	const struct level_bounds *b = l->opts.bounds;
	size_t i = 0;

	l->prefix_mode = false;
	if (b && b->lower.data) {
		struct ikey lower = ikey_seek(b->lower, SEQNO_MAX);

		i = version_find_file(l->files, &lower);
	}
	if (i >= l->files->n || above_upper(l, i)) {
		end(l, CAIRN_OK);
		return;
	}
	if (!open_file(l, i))
		return;
	iter_first(l->table);
	settle_forward(l, false);
}

/*
 * The file to look for the last entry below *target in, or n when there is
 * none: files whose smallest key is not below it have nothing.
 */
static size_t find_file_lt(const struct level_iter *l,
			   const struct ikey *target)
{
	size_t i = version_find_file(l->files, target);

	if (i < l->files->n &&
	    ikey_cmp(&l->files->files[i]->smallest_key, target) < 0)
		return i;
	return i > 0 ? i - 1 : l->files->n;
}

static void level_last(struct iter *base)
{
	struct level_iter *l = (struct level_iter *)base;
	const struct level_bounds *b = l->opts.bounds;
	size_t n = l->files->n;
	size_t i = n ? n - 1 : 0;

	l->prefix_mode = false;
	if (b && b->upper.data) {
		struct ikey upper = { b->upper, UINT64_MAX };

		i = find_file_lt(l, &upper);
	}
	if (i >= n || below_lower(l, i)) {
		end(l, CAIRN_OK);
		return;
	}
	if (!open_file(l, i))
		return;
	iter_last(l->table);
	settle_backward(l, false);
}

static void level_seek_ge(struct iter *base, const struct ikey *target)
{
	struct level_iter *l = (struct level_iter *)base;
	size_t i = version_find_file(l->files, target);

	l->prefix_mode = false;
	if (i >= l->files->n || above_upper(l, i)) {
		end(l, CAIRN_OK);
		return;
	}
	if (!open_file(l, i))
		return;
	iter_seek_ge(l->table, target);
	settle_forward(l, false);
}

/* Within the open file the search for a file is saved, and the table may know
 * a shorter way. */
static void level_seek_forward(struct iter *base, const struct ikey *target)
{
	struct level_iter *l = (struct level_iter *)base;

	assert(base->valid);
	if (base->boundary ||
	    ikey_cmp(target, &l->files->files[l->pos]->largest_key) > 0) {
		level_seek_ge(base, target);
		return;
	}
	l->prefix_mode = false;
	iter_seek_forward(l->table, target);
	settle_forward(l, false);
}

static int level_pin(struct iter *base, struct cairn_pinned *out)
{
	struct level_iter *l = (struct level_iter *)base;

	assert(base->valid && !base->boundary);
	return iter_pin(l->table, out);
}

static void level_seek_lt(struct iter *base, const struct ikey *target)
{
	struct level_iter *l = (struct level_iter *)base;
	size_t i = find_file_lt(l, target);

	l->prefix_mode = false;
	if (i >= l->files->n || below_lower(l, i)) {
		end(l, CAIRN_OK);
		return;
	}
	if (!open_file(l, i))
		return;
	iter_seek_lt(l->table, target);
	settle_backward(l, false);
}

static void level_seek_prefix_ge(struct iter *base, const struct ikey *target,
				 struct cairn_slice prefix)
{
	struct level_iter *l = (struct level_iter *)base;
	size_t i = version_find_file(l->files, target);
	int err = buf_set(&l->prefix, prefix);

	if (err) {
		end(l, err);
		return;
	}
	l->prefix_mode = true;
	if (i >= l->files->n || above_upper(l, i) ||
	    !may_start_with(l, i, target, prefix)) {
		end(l, CAIRN_OK);
		return;
	}
	if (!open_file(l, i))
		return;
	iter_seek_prefix_ge(l->table, target, prefix);
	settle_forward(l, false);
}

static void level_next(struct iter *base)
{
	struct level_iter *l = (struct level_iter *)base;

	assert(base->valid);
	if (base->boundary) {
		settle_forward(l, true);
		return;
	}
	iter_next(l->table);
	if (l->table->valid)
		show(l);
	else
		settle_forward(l, false);
}

static void level_prev(struct iter *base)
{
	struct level_iter *l = (struct level_iter *)base;

	assert(base->valid && !l->prefix_mode);
	if (base->boundary) {
		settle_backward(l, true);
		return;
	}
	iter_prev(l->table);
	if (l->table->valid)
		show(l);
	else
		settle_backward(l, false);
}

static void level_close(struct iter *base)
{
	struct level_iter *l = (struct level_iter *)base;

	iter_close(l->table);
	buf_fini(&l->prefix);
	free(l);
}

static const struct iter_ops level_ops = {
	.first = level_first,
	.last = level_last,
	.seek_ge = level_seek_ge,
	.seek_lt = level_seek_lt,
	.seek_prefix_ge = level_seek_prefix_ge,
	.seek_forward = level_seek_forward,
	.pin = level_pin,
	.next = level_next,
	.prev = level_prev,
	.close = level_close,
};

const struct file_meta *level_iter_file(const struct iter *it)
{
	const struct level_iter *l = (const struct level_iter *)it;

	assert(it->ops == &level_ops && l->files->n);
	return l->files->files[l->pos];
}

int level_iter_new(const struct version_files *files,
		   const struct level_iter_options *opts, struct iter **out)
{
	struct level_iter *l = calloc(1, sizeof(*l));

	if (!l)
		return error_nomem();
	l->base.ops = &level_ops;
	l->files = files;
	l->opts = *opts;
	*out = &l->base;
	return CAIRN_OK;
}
