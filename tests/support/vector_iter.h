/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries in an array, and an iterator over them: a source whose contents are
 * spelled out by the test, and the model that other iterators are held against.
 *
 * The text form is "KEY#SEQNO KIND VALUE" without the blanks, entries parted by
 * blanks: kinds are p (put), d (delete), s (single delete), m (merge), r (range
 * delete), ? (a number that is no kind); the value is optional. "a#5px b#3d".
 */
#ifndef CAIRN_TESTS_SUPPORT_VECTOR_ITER_H
#define CAIRN_TESTS_SUPPORT_VECTOR_ITER_H

#include "engine/base/buf.h"
#include "engine/kv/iter.h"

struct vector_entry {
	struct ikey key; /* owned, as the value */
	struct cairn_slice value;
};

struct vector {
	struct vector_entry *entries;
	size_t n;
};

/* A zeroed struct is empty. Failures end the test. */
void vector_fini(struct vector *v);
void vector_add(struct vector *v, struct cairn_slice key, uint64_t seqno,
		uint8_t kind, struct cairn_slice value);
void vector_parse(struct vector *v, const char *text);
/* Into internal-key order; vector_add() and vector_parse() do not sort. */
void vector_sort(struct vector *v);

/* Append an entry in the text form, a blank before it when out is not empty. */
void vector_format(struct buf *out, const struct ikey *key,
		   struct cairn_slice value);

/*
 * v is borrowed and must not change. Key and value are in memory of their own,
 * freed when the iterator moves, so that the address sanitizer sees who keeps
 * them for too long.
 */
struct iter *vector_iter_new(const struct vector *v);

/* Standing on entry i (n: behind the last, as before the first) fails. */
void vector_iter_fail_at(struct iter *it, size_t i, int code);

/* Its filter says of a seek by this prefix, borrowed, that there is none. */
void vector_iter_exclude(struct iter *it, const char *prefix);

/* Positioning calls so far. */
size_t vector_iter_calls(const struct iter *it);

#endif
