/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"

#define BUF_CAP_MIN 64

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

int buf_reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : BUF_CAP_MIN;
	uint8_t *data;

	if (more <= b->cap - b->len)
		return CAIRN_OK;
	if (more > SIZE_MAX / 2 - b->len)
		return error_nomem();
	while (cap < b->len + more)
		cap += cap / 2;
	data = realloc(b->data, cap);
	if (!data)
		return error_nomem();
	b->data = data;
	b->cap = cap;
	return CAIRN_OK;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int err = buf_reserve(b, len);

	if (err)
		return err;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return CAIRN_OK;
}

int buf_append_le32(struct buf *b, uint32_t v)
{
	uint8_t bytes[4];

	put_le32(bytes, v);
	return buf_append(b, bytes, sizeof(bytes));
}

int buf_append_le64(struct buf *b, uint64_t v)
{
	uint8_t bytes[8];

	put_le64(bytes, v);
	return buf_append(b, bytes, sizeof(bytes));
}

int buf_append_varint(struct buf *b, uint64_t v)
{
	uint8_t bytes[VARINT64_MAX_LEN];
	uint8_t *end = put_varint64(bytes, v);

	return buf_append(b, bytes, (size_t)(end - bytes));
}

int buf_append_lp(struct buf *b, struct cairn_slice s)
{
	int err;

	if (s.len > UINT32_MAX)
		return error_set(CAIRN_EINVAL,
				 "string of %zu bytes is too long", s.len);
	err = buf_reserve(b, VARINT32_MAX_LEN + s.len);
	if (err)
		return err;
	b->len = (size_t)(put_varint64(b->data + b->len, s.len) - b->data);
	if (s.len)
		memcpy(b->data + b->len, s.data, s.len);
	b->len += s.len;
	return CAIRN_OK;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n, err;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	err = n < 0 ? error_set(CAIRN_EINVAL, "bad format")
		    : buf_reserve(b, (size_t)n + 1);
	if (!err) {
		vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return err;
}

int buf_set(struct buf *b, struct cairn_slice s)
{
	int err;

	/* Grow first, so that a failure leaves the contents. */
	err = s.len > b->len ? buf_reserve(b, s.len - b->len) : CAIRN_OK;
	if (err)
		return err;
	if (s.len)
		memmove(b->data, s.data, s.len);
	b->len = s.len;
	return CAIRN_OK;
}

int slice_dup(struct cairn_slice s, struct cairn_slice *out)
{
	uint8_t *p = malloc(s.len ? s.len : 1);

	if (!p)
		return error_nomem();
	if (s.len)
		memcpy(p, s.data, s.len);
	*out = slice_of(p, s.len);
	return CAIRN_OK;
}
