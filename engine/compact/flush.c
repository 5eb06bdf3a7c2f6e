/* SPDX-License-Identifier: BSD-3-Clause */
/* Memtables to one table of level 0. */
#include "engine/compact/job.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/output.h"
#include "engine/kv/merging_iter.h"

/* Tables of any level may hold what a memtable deletes. */
static bool always_below(void *ctx, struct cairn_slice user_key)
{
	(void)ctx;
	(void)user_key;
	return true;
}

static bool range_always_below(void *ctx, struct cairn_slice start,
			       struct cairn_slice end)
{
	(void)ctx;
	(void)start;
	(void)end;
	return true;
}

/* The range tombstones of all memtables; NULL when there are none. */
static int collect_range_dels(struct memtable *const *mems, size_t n,
			      struct range_dels **out)
{
	struct range_del_list list = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++)
		err = memtable_list_range_dels(mems[i], &list);
	if (!err)
		err = range_dels_new(&list, out);
	range_del_list_fini(&list);
	return err;
}

/* One iterator over memtables, which are given oldest first. */
static int open_input(struct memtable *const *mems, size_t n, struct iter **out)
{
	struct iter **children = calloc(n ? n : 1, sizeof(struct iter *));
	size_t n_open = 0;
	int err = CAIRN_OK;

	if (!children)
		return error_nomem();
	while (n_open < n && !err) {
		err = memtable_iter_new(mems[n - 1 - n_open],
					&children[n_open]);
		if (!err)
			n_open++;
	}
	if (!err) {
		err = merging_iter_new(children, n_open, out);
		n_open = 0; /* taken over, whatever the result */
	}
	while (n_open)
		iter_close(children[--n_open]);
	free(children);
	return err;
}

int flush_run(const struct job_context *c, struct memtable *const *mems,
	      size_t n, struct job_result *out)
{
	struct merge_loop_options merge = {
		.snapshots = c->snapshots,
		.n_snapshots = c->n_snapshots,
		.newest_user_snapshot = c->newest_user_snapshot,
		.exists_below = always_below,
		.range_exists_below = range_always_below,
		.merge = c->merge,
	};
	struct output_options opts = { .level = 0 };
	struct output_input in = { .counted = true };
	struct range_dels *dels = NULL;
	int err;

	for (size_t i = 0; i < n; i++) {
		in.bytes += memtable_bytes(mems[i]);
		in.entries += memtable_entries(mems[i]) -
			      memtable_range_deletions(mems[i]);
	}
	err = collect_range_dels(mems, n, &dels);
	if (err)
		return err;
	merge.range_dels = dels;
	err = open_input(mems, n, &in.in);
	if (!err) {
		err = outputs_write(c, &in, &merge, &opts, out);
		iter_close(in.in);
	}
	range_dels_unref(dels);
	return err;
}
