/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iterator over internal keys that every source of entries implements:
 * memtables, blocks, tables, levels, and the merge of many.
 *
 * Where it stands is in plain fields, so that reading costs no call. After a
 * positioning call either valid is set and key and value are those of the
 * entry, or valid is clear and status tells the end (CAIRN_OK) from a failure.
 * A failure stays until the next absolute positioning (first, last, seek).
 * key and value borrow from the source: they live until the next positioning
 * call or close.
 */
#ifndef CAIRN_KV_ITER_H
#define CAIRN_KV_ITER_H

#include "engine/kv/ikey.h"

struct iter_ops;
struct range_scope;

struct iter {
	const struct iter_ops *ops;
	bool valid;
	int status;
	struct ikey key;
	struct cairn_slice value;
	/*
	 * The range tombstones that the source has for the keys around where it
	 * stands, also when it stands on none; NULL when there are none. A
	 * source whose tombstones change from place to place (level_iter.h)
	 * stops, with boundary set, where those end that it showed so far: key
	 * is then a place and no entry. Both stay as they are until the next
	 * positioning call.
	 */
	struct range_scope *scope;
	bool boundary;
};

struct iter_ops {
	void (*first)(struct iter *it);
	void (*last)(struct iter *it);
	void (*seek_ge)(struct iter *it, const struct ikey *target);
	void (*seek_lt)(struct iter *it, const struct ikey *target);
	/*
	 * As seek_ge, for a caller that only wants keys that start with
	 * prefix, which is target's prefix by the prefix extractor: a source
	 * may say "none" by its filter. NULL: same as seek_ge. Only next may
	 * follow.
	 */
	void (*seek_prefix_ge)(struct iter *it, const struct ikey *target,
			       struct cairn_slice prefix);
	/*
	 * As seek_ge, and only when valid, for a caller who knows that what
	 * lies from *target up to key, if *target is before it, does not
	 * count: a source that is there already may stay where it is, and one
	 * that is near may go by steps. Nothing is remembered from one call to
	 * the next, so there is no hint that could be wrong. NULL: same as
	 * seek_ge.
	 */
	void (*seek_forward)(struct iter *it, const struct ikey *target);
	/*
	 * The bounds that sources below were made with are others now: one that
	 * ended may go on. A positioning call follows. NULL: of no interest.
	 */
	void (*bounds_moved)(struct iter *it);
	/*
	 * Only when valid: keep the bytes of value where they are until *out
	 * is released, wherever the iterator goes. CAIRN_NOT_FOUND: they are
	 * the iterator's own and must be copied. NULL: they always are.
	 */
	int (*pin)(struct iter *it, struct cairn_pinned *out);
	/* Only when valid. */
	void (*next)(struct iter *it);
	void (*prev)(struct iter *it);
	/* Frees the iterator. */
	void (*close)(struct iter *it);
};

static inline void iter_first(struct iter *it)
{
	it->ops->first(it);
}

static inline void iter_last(struct iter *it)
{
	it->ops->last(it);
}

/* First entry >= *target. */
static inline void iter_seek_ge(struct iter *it, const struct ikey *target)
{
	it->ops->seek_ge(it, target);
}

/* Last entry < *target. */
static inline void iter_seek_lt(struct iter *it, const struct ikey *target)
{
	it->ops->seek_lt(it, target);
}

static inline void iter_seek_prefix_ge(struct iter *it,
				       const struct ikey *target,
				       struct cairn_slice prefix)
{
	if (it->ops->seek_prefix_ge)
		it->ops->seek_prefix_ge(it, target, prefix);
	else
		it->ops->seek_ge(it, target);
}

static inline void iter_seek_forward(struct iter *it, const struct ikey *target)
{
	if (it->ops->seek_forward)
		it->ops->seek_forward(it, target);
	else
		it->ops->seek_ge(it, target);
}

static inline void iter_bounds_moved(struct iter *it)
{
	if (it->ops->bounds_moved)
		it->ops->bounds_moved(it);
}

static inline MUST_CHECK int iter_pin(struct iter *it, struct cairn_pinned *out)
{
	return it->ops->pin ? it->ops->pin(it, out) : CAIRN_NOT_FOUND;
}

static inline void iter_next(struct iter *it)
{
	it->ops->next(it);
}

static inline void iter_prev(struct iter *it)
{
	it->ops->prev(it);
}

/* NULL is allowed. */
static inline void iter_close(struct iter *it)
{
	if (it)
		it->ops->close(it);
}

#endif
