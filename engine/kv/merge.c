/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/merge.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* Of a key in a message. */
#define KEY_SHOWN_MAX 64

void merge_operands_fini(struct merge_operands *m)
{
	buf_fini(&m->bytes);
	free(m->at);
	free(m->list);
	*m = (struct merge_operands){ 0 };
}

void merge_operands_clear(struct merge_operands *m)
{
	buf_clear(&m->bytes);
	m->n = 0;
}

static int grow(struct merge_operands *m)
{
	size_t cap = m->cap ? 2 * m->cap : 8;
	struct cairn_slice *list;
	struct merge_operand *at;

	at = realloc(m->at, cap * sizeof(*at));
	if (!at)
		return error_nomem();
	m->at = at;
	list = realloc(m->list, cap * sizeof(*list));
	if (!list)
		return error_nomem();
	m->list = list;
	m->cap = cap;
	return CAIRN_OK;
}

int merge_operands_add(struct merge_operands *m, struct cairn_slice operand,
		       uint64_t trailer)
{
	int err = m->n == m->cap ? grow(m) : CAIRN_OK;
	size_t offset = m->bytes.len;

	/* An operand of no bytes needs an address, too. */
	if (!err)
		err = buf_reserve(&m->bytes, operand.len + 1);
	if (!err)
		err = buf_append(&m->bytes, operand.data, operand.len);
	if (err)
		return err;
	m->at[m->n++] = (struct merge_operand){ offset, operand.len, trailer };
	return CAIRN_OK;
}

/* Oldest first. */
static const struct cairn_slice *in_order(struct merge_operands *m,
					  enum merge_order order)
{
	for (size_t i = 0; i < m->n; i++) {
		size_t from = order == MERGE_OLDEST_FIRST ? i : m->n - 1 - i;

		m->list[i] = merge_operands_get(m, from);
	}
	return m->list;
}

/* The key in printable characters, cut short. text has room for
 * 3 * KEY_SHOWN_MAX + 4 bytes. */
static const char *show(struct cairn_slice key, char *text)
{
	static const char digits[] = "0123456789abcdef";
	char *p = text;

	for (size_t i = 0; i < key.len && i < KEY_SHOWN_MAX; i++) {
		uint8_t c = key.data[i];

		if (c > 0x20 && c < 0x7f && c != '%' && c != '"') {
			*p++ = (char)c;
			continue;
		}
		*p++ = '%';
		*p++ = digits[c >> 4];
		*p++ = digits[c & 15];
	}
	if (key.len > KEY_SHOWN_MAX)
		p = (char *)memcpy(p, "...", 3) + 3;
	*p = '\0';
	return text;
}

static int failed(const struct cairn_merge_operator *op, struct cairn_slice key,
		  int code)
{
	char text[3 * KEY_SHOWN_MAX + 4];

	if (code == CAIRN_ENOMEM)
		return error_nomem();
	return error_set(CAIRN_ECORRUPT,
			 "key \"%s\": merge operator %s cannot apply its "
			 "operands",
			 show(key, text), op->name);
}

static int too_long(struct cairn_slice key, size_t len)
{
	char text[3 * KEY_SHOWN_MAX + 4];

	return error_set(CAIRN_ECORRUPT,
			 "key \"%s\": merged value of %zu bytes is longer than "
			 "%u",
			 show(key, text), len, CAIRN_VALUE_MAX);
}

int merge_full(const struct cairn_merge_operator *op, struct cairn_slice key,
	       const struct cairn_slice *existing, struct merge_operands *m,
	       enum merge_order order, struct buf *out)
{
	struct cairn_merge_result result = { out };
	int err;

	assert(m->n > 0);
	if (!op)
		return merge_refuse(key, NULL);
	buf_clear(out);
	err = op->full(op->ctx, key, existing, in_order(m, order), m->n,
		       &result);
	if (err)
		return failed(op, key, err);
	if (out->len > CAIRN_VALUE_MAX)
		return too_long(key, out->len);
	return CAIRN_OK;
}

int merge_partial(const struct cairn_merge_operator *op, struct cairn_slice key,
		  struct merge_operands *m, enum merge_order order,
		  struct buf *out)
{
	struct cairn_merge_result result = { out };
	int err;

	assert(m->n > 1);
	if (!op->partial)
		return CAIRN_NOT_FOUND;
	buf_clear(out);
	err = op->partial(op->ctx, key, in_order(m, order), m->n, &result);
	if (err == CAIRN_ENOMEM)
		return error_nomem();
	return err || out->len > CAIRN_VALUE_MAX ? CAIRN_NOT_FOUND : CAIRN_OK;
}

int merge_refuse(struct cairn_slice key, const char *wanted)
{
	char text[3 * KEY_SHOWN_MAX + 4];

	if (wanted)
		return error_set(
			CAIRN_ENOTSUP,
			"key \"%s\": has merge operands of %s, a merge "
			"operator that is not known here",
			show(key, text), wanted);
	return error_set(CAIRN_ENOTSUP,
			 "key \"%s\": has merge operands, and neither OPTIONS "
			 "nor the option merge_operator names a merge operator",
			 show(key, text));
}

int cairn_merge_append(struct cairn_merge_result *r, const void *data,
		       size_t len)
{
	return buf_append(r->bytes, data, len);
}
