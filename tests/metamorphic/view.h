/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All keys and values at one moment, in an array in order: what the model is
 * made of. Bytes are shared between views.
 */
#ifndef CAIRN_TESTS_METAMORPHIC_VIEW_H
#define CAIRN_TESTS_METAMORPHIC_VIEW_H

#include "tests/metamorphic/history.h"
#include "tests/metamorphic/merge.h"

struct entry {
	struct word *key;
	struct word *value;
	bool once; /* put once since it was new, and not merged */
};

/* Zeroed: empty. */
struct view {
	struct entry *v;
	size_t n;
	size_t cap;
};

void view_fini(struct view *v);
void view_copy(struct view *to, const struct view *from); /* to: empty */

/* Index of the first entry with a key >= key. */
size_t view_lower_bound(const struct view *v, struct cairn_slice key);
/* NULL: not there. */
const struct entry *view_find(const struct view *v, struct cairn_slice key);

void view_put(struct view *v, struct cairn_slice key, struct word *value);
void view_delete(struct view *v, struct cairn_slice key);
/* Those in [start, end). */
void view_delete_range(struct view *v, struct cairn_slice start,
		       struct cairn_slice end);
void view_merge(struct view *v, const struct merge *m, struct cairn_slice key,
		struct cairn_slice operand);

#endif
