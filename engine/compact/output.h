/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables that a job writes: where one ends and the next begins, making
 * them durable, checking them, and taking them back when the job fails.
 *
 * A table ends only between two user keys, once it has reached the target size
 * or overlaps too much of the level below the output (its grandparents), so
 * that compacting it further will not be dear. Range tombstones that reach over
 * the key at which the next table begins are cut in two there: the left table
 * then ends, exclusively, at that key, and the right one begins with it.
 */
#ifndef CAIRN_COMPACT_OUTPUT_H
#define CAIRN_COMPACT_OUTPUT_H

#include "engine/compact/job.h"
#include "engine/compact/range_out.h"

struct output_options {
	int level;
	uint64_t target_size; /* 0: one table, whatever its size */
	struct file_meta *const *grandparents; /* sorted, borrowed */
	size_t n_grandparents;
	uint64_t grandparent_bytes_max; /* 0: no limit */
	/* Seconds since 1970 of the oldest data; 0: now. */
	uint64_t oldest_ancestor_time;
	/* Whose operands the tables hold; NULL: as ctx->level_options says. */
	const char *merge_operator;
};

/* The entries that a job is to read. */
struct output_input {
	struct iter *in;  /* borrowed */
	uint64_t bytes;   /* for progress */
	bool counted;     /* entries is how many there must be */
	uint64_t entries; /* but range tombstones */
};

/*
 * Merge in into tables and add them to out->edit; the counters of out are
 * filled in, too. poll of merge is set here. CAIRN_ECORRUPT when the number of
 * entries read is not what it must be. On failure all files are removed again
 * and cairn_errmsg() tells why.
 */
MUST_CHECK int outputs_write(const struct job_context *c,
			     const struct output_input *in,
			     const struct merge_loop_options *merge,
			     const struct output_options *opts,
			     struct job_result *out);

#endif
