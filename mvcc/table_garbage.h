/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a table nobody can read once the forgotten bound, and all readers,
 * have passed a revision: versions of rows and chunks with a newer one in the
 * same table, from that one's main on, and log entries, from the next main on.
 * It is what the filter (forget.c) then drops whatever other tables hold.
 * Tables carry it as the property below, in the form that the engine asks for
 * (struct cairn_table_collector).
 */
#ifndef CAIRN_MVCC_TABLE_GARBAGE_H
#define CAIRN_MVCC_TABLE_GARBAGE_H

#include "mvcc/store.h"

#define TABLE_GARBAGE "cairn.mvcc.garbage"

/* A table has about as many revisions as entries. They are gathered in so many
 * buckets of equal width, which make fewer steps of about equal size. */
#define TABLE_GARBAGE_BUCKETS 256
#define TABLE_GARBAGE_STEPS   16

struct table_garbage {
	struct buf prefix; /* of the last row or chunk */
	int64_t newer;     /* its main */
	bool broken;       /* no memory: nothing is told */
	/* From which mains on something is garbage; 0: nothing is. */
	int64_t min, max;
	unsigned shift; /* a bucket has 2^shift mains */
	uint64_t first; /* main >> shift of bucket 0 */
	uint64_t bytes[TABLE_GARBAGE_BUCKETS];
};

/* From main on so many bytes are garbage, in all. */
struct table_garbage_step {
	int64_t main;
	uint64_t bytes;
};

/* The next put of the table, in order of keys. */
void table_garbage_add(struct table_garbage *g, struct cairn_slice key,
		       struct cairn_slice value);
/* How many steps there are; mains are rounded up, never down. */
size_t table_garbage_steps(const struct table_garbage *g,
			   struct table_garbage_step out[TABLE_GARBAGE_STEPS]);
/* Tell the table, unless there is nothing to tell. */
MUST_CHECK int table_garbage_finish(const struct table_garbage *g,
				    struct cairn_table_properties *out);
/* Zeroed is empty. */
void table_garbage_fini(struct table_garbage *g);

#endif
