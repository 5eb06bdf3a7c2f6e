/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The merge operators that histories are made with: what one operand does to a
 * value, for the model, and how a store is told.
 */
#ifndef CAIRN_TESTS_METAMORPHIC_MERGE_H
#define CAIRN_TESTS_METAMORPHIC_MERGE_H

#include "engine/base/buf.h"

struct merge {
	const char *name;
	/* existing: data NULL: none. */
	void (*apply)(struct cairn_slice existing, struct cairn_slice operand,
		      struct buf *out);
	const char *option; /* of cairn's own; NULL: what follows */
	const struct cairn_merge_operator *op;
	const struct cairn_merge_operator *op_without_partial;
};

#define N_MERGES 3
extern const struct merge merges[N_MERGES];

const struct merge *merge_named(const char *name);

#endif
