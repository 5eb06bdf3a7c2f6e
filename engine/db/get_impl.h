/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for one key, from the newest source to the oldest; what get.c and
 * multi_get.c share. A search is over when *found is set, or after a failure;
 * else the next older source comes, and get_end() after the last one.
 */
#ifndef CAIRN_DB_GET_IMPL_H
#define CAIRN_DB_GET_IMPL_H

#include "engine/db/db.h"
#include "engine/kv/merge.h"

struct get {
	struct cairn_db *db;
	struct cairn_slice key;
	uint64_t seqno; /* versions above are not looked at (any more) */
	bool fill_cache;
	/* Merge operands on top of the value that is looked for, newest first;
	 * NULL as long as there is none. */
	struct merge_operands *operands;
	/* The newest range tombstone that covers key in what was looked at so
	 * far: versions below are deleted, and sources to come have no others.
	 * 0: none. */
	uint64_t cover;
};

/*
 * Functions called get_from_x set *found when x has a version that answers, or
 * a range tombstone; their result is the answer then. Otherwise it is CAIRN_OK,
 * or a failure.
 */
MUST_CHECK int get_from_memtable(struct get *g, struct memtable *m, bool *found,
				 struct cairn_pinned *out);
MUST_CHECK int get_from_run(struct get *g, const struct version_files *run,
			    bool *found, struct cairn_pinned *out);

/*
 * As get_from_x, of a table, t of the file f, that was already asked: p has
 * what it said, and is taken over. *more: an operand was taken, and older
 * versions are to be looked for in the same run.
 */
MUST_CHECK int get_take(struct get *g, const struct file_meta *f,
			struct table *t, struct table_probe *p, bool *found,
			struct cairn_pinned *out, bool *more);

/* The answer when there are no more sources. */
MUST_CHECK int get_end(struct get *g, struct cairn_pinned *out);

void get_fini(struct get *g);

#endif
