/* SPDX-License-Identifier: BSD-3-Clause */
/* Helpers for borrowed bytes; the type itself is public (cairn.h). */
#ifndef CAIRN_BASE_SLICE_H
#define CAIRN_BASE_SLICE_H

#include <string.h>

#include "engine/cairn.h"

#define MUST_CHECK __attribute__((warn_unused_result))

static inline struct cairn_slice slice_of(const void *data, size_t len)
{
	return (struct cairn_slice){ .data = data, .len = len };
}

static inline struct cairn_slice slice_str(const char *s)
{
	return slice_of(s, strlen(s));
}

/* Unsigned bytes, the shorter first on a tie: the order of all keys. */
static inline int slice_cmp(struct cairn_slice a, struct cairn_slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	if (c)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_eq(struct cairn_slice a, struct cairn_slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts_with(struct cairn_slice s,
				     struct cairn_slice prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 ||
		memcmp(s.data, prefix.data, prefix.len) == 0);
}

/* Drop n bytes at the front; n <= s->len. */
static inline void slice_advance(struct cairn_slice *s, size_t n)
{
	/* Nothing may be added to NULL, not even nothing. */
	if (n)
		s->data += n;
	s->len -= n;
}

#endif
