/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What operations have to say, by a model that keeps everything in sorted
 * arrays and knows nothing of tables, logs and levels. Reopening, power cuts
 * and upkeep change nothing in it.
 */
#ifndef CAIRN_TESTS_METAMORPHIC_MODEL_H
#define CAIRN_TESTS_METAMORPHIC_MODEL_H

#include "tests/metamorphic/view.h"

struct model_change {
	enum op_kind kind; /* OP_batch_put and so on */
	struct word *key;
	struct word *value; /* or the end of a range; NULL */
};

struct model_batch {
	bool used;
	bool indexed;
	struct model_change *v;
	size_t n;
	size_t cap;
	size_t savepoints[64];
	unsigned n_savepoints;
};

struct model_iter {
	bool used;
	bool has_batch;
	struct view base; /* without the batch */
	struct view view;
	struct word *lower;
	struct word *upper;
	struct word *prefix; /* the key sought; NULL: not in prefix mode */
	bool valid;
	size_t at;
};

struct model {
	const struct merge *merge;
	struct view now;
	struct model_batch batches[N_BATCHES];
	struct model_iter iters[N_ITERS];
	struct {
		bool used;
		struct view view;
	} snapshots[N_SNAPSHOTS];
	struct word *pins[N_PINS];

	uint64_t done[N_OP_KINDS]; /* that were not skipped */
	uint64_t skipped;
	uint64_t lookups; /* reads of one key or position */
	uint64_t hits;    /* that found something */
};

void model_init(struct model *m, const char *merge);
void model_fini(struct model *m);

/* What op says into out; sets op->skip. */
void model_run(struct model *m, struct op *op, struct buf *out);

/* Bytes that keys of one prefix begin with, those that have one. */
#define PREFIX_LEN 2u

/* Only keys that begin like this are ever deleted by single_delete. */
#define ONCE_MARK '~'

#endif
