/* SPDX-License-Identifier: BSD-3-Clause */
/* Two iterators that must show the same, moved together at random. */
#ifndef CAIRN_TESTS_SUPPORT_ITER_PAIR_H
#define CAIRN_TESTS_SUPPORT_ITER_PAIR_H

#include "engine/base/rng.h"
#include "engine/kv/iter.h"
#include "tests/support/runner.h"

/* Seeks go to target; more than half of the moves are steps. */
static inline void iter_pair_move(struct rng *r, struct iter *a, struct iter *b,
				  const struct ikey *target)
{
	switch (rng_below(r, a->valid ? 10 : 4)) {
	case 0:
		iter_first(a);
		iter_first(b);
		break;
	case 1:
		iter_last(a);
		iter_last(b);
		break;
	case 2:
		iter_seek_ge(a, target);
		iter_seek_ge(b, target);
		break;
	case 3:
		iter_seek_lt(a, target);
		iter_seek_lt(b, target);
		break;
	case 4:
	case 5:
	case 6:
		iter_next(a);
		iter_next(b);
		break;
	default:
		iter_prev(a);
		iter_prev(b);
		break;
	}
}

static inline void iter_pair_same(const struct iter *a, const struct iter *b)
{
	ck_assert_int_eq(a->status, CAIRN_OK);
	ck_assert_int_eq(b->status, CAIRN_OK);
	ck_assert_int_eq(a->valid, b->valid);
	if (!a->valid)
		return;
	ck_assert_int_eq(ikey_cmp(&a->key, &b->key), 0);
	ck_assert(slice_eq(a->value, b->value));
}

#endif
