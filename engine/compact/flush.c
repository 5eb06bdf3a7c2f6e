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
	};
	struct output_options opts = { .level = 0 };
	struct output_input in = { 0 };
	int err;

	for (size_t i = 0; i < n; i++) {
		in.bytes += memtable_bytes(mems[i]);
		in.entries += memtable_entries(mems[i]);
	}
	err = open_input(mems, n, &in.in);
	if (err)
		return err;
	err = outputs_write(c, &in, &merge, &opts, out);
	iter_close(in.in);
	return err;
}
