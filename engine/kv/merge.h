/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merge operands on their way to a value: gathering them, and asking the
 * operator (struct cairn_merge_operator) to put them together.
 */
#ifndef CAIRN_KV_MERGE_H
#define CAIRN_KV_MERGE_H

#include "engine/base/buf.h"

/* What an operator appends its result to. */
struct cairn_merge_result {
	struct buf *bytes;
};

/*
 * Copies of the operands of one key. A zeroed struct holds none; one that was
 * cleared keeps its memory.
 */
struct merge_operands {
	struct buf bytes;
	struct merge_operand *at;
	struct cairn_slice *list; /* scratch, as many as at */
	size_t n;
	size_t cap;
};

struct merge_operand {
	size_t offset; /* in bytes */
	size_t len;
	uint64_t trailer; /* of its internal key */
};

void merge_operands_fini(struct merge_operands *m);
void merge_operands_clear(struct merge_operands *m);
MUST_CHECK int merge_operands_add(struct merge_operands *m,
				  struct cairn_slice operand, uint64_t trailer);

/* Valid until the next one is added. */
static inline struct cairn_slice
merge_operands_get(const struct merge_operands *m, size_t i)
{
	return slice_of(m->bytes.data + m->at[i].offset, m->at[i].len);
}

/* In which order they were added. */
enum merge_order {
	MERGE_NEWEST_FIRST,
	MERGE_OLDEST_FIRST,
};

/*
 * Apply the operands, at least one, to existing (NULL: there is no value) and
 * put the value into out in place of what was there. CAIRN_ENOMEM, or
 * CAIRN_ECORRUPT, naming the key, when the operator fails or the value is
 * longer than CAIRN_VALUE_MAX. op NULL: CAIRN_ENOTSUP as of merge_refuse().
 */
MUST_CHECK int merge_full(const struct cairn_merge_operator *op,
			  struct cairn_slice key,
			  const struct cairn_slice *existing,
			  struct merge_operands *m, enum merge_order order,
			  struct buf *out);

/*
 * Put the operands, at least two, together to one that does the same.
 * CAIRN_NOT_FOUND when that cannot be done, and they must stay as they are.
 */
MUST_CHECK int merge_partial(const struct cairn_merge_operator *op,
			     struct cairn_slice key, struct merge_operands *m,
			     enum merge_order order, struct buf *out);

/*
 * The failure for meeting a merge operand of key without an operator. wanted
 * is what OPTIONS says, NULL when it says nothing.
 */
int merge_refuse(struct cairn_slice key, const char *wanted);

#endif
