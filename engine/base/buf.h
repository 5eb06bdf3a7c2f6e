/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that one owner grows. A zeroed struct is an empty buffer. Appending
 * functions return CAIRN_OK or CAIRN_ENOMEM, the buffer then unchanged.
 */
#ifndef CAIRN_BASE_BUF_H
#define CAIRN_BASE_BUF_H

#include "engine/base/coding.h"

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

/* Free the bytes; the buffer is empty and usable again. */
void buf_fini(struct buf *b);

/* Make room for more bytes behind len. */
MUST_CHECK int buf_reserve(struct buf *b, size_t more);

MUST_CHECK int buf_append(struct buf *b, const void *data, size_t len);
MUST_CHECK int buf_append_le32(struct buf *b, uint32_t v);
MUST_CHECK int buf_append_le64(struct buf *b, uint64_t v);
MUST_CHECK int buf_append_varint(struct buf *b, uint64_t v);
/* varint32 length, then the bytes. */
MUST_CHECK int buf_append_lp(struct buf *b, struct cairn_slice s);
/* Text as printf makes it, without its NUL. */
MUST_CHECK int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Replace the contents. */
MUST_CHECK int buf_set(struct buf *b, struct cairn_slice s);

static inline void buf_clear(struct buf *b)
{
	b->len = 0;
}

/* Borrowed; valid until the buffer changes. */
static inline struct cairn_slice buf_slice(const struct buf *b)
{
	return slice_of(b->data, b->len);
}

/* A malloc'ed copy of s in out, at least one byte long. */
MUST_CHECK int slice_dup(struct cairn_slice s, struct cairn_slice *out);

#endif
