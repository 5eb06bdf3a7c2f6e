/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/cursor.h"

struct mvcc_scan {
	struct mvcc *m;
	int64_t rev; /* pinned */
	bool reverse;
	bool started;
	bool done;
	struct cursor c;
	struct buf key; /* of the last row, plain */
};

int mvcc_prefix_end(struct cairn_slice prefix, struct cairn_slice *out)
{
	uint8_t *last;

	while (prefix.len && prefix.data[prefix.len - 1] == 0xff)
		prefix.len--;
	if (!prefix.len) {
		*out = slice_of(NULL, 0);
		return CAIRN_OK;
	}
	last = malloc(prefix.len);
	if (!last)
		return error_nomem();
	memcpy(last, prefix.data, prefix.len);
	last[prefix.len - 1]++;
	*out = slice_of(last, prefix.len);
	return CAIRN_OK;
}

static int scan_init(struct mvcc_scan *s, struct cairn_slice from,
		     struct cairn_slice to)
{
	const struct store_kind *kind = s->m->kind;
	struct buf lower = { 0 }, upper = { 0 };
	int err = from.len ? kind->encode(&lower, from)
			   : kind->encode_start(&lower, from);

	/* No end: that of the table, or in a plain store none at all. */
	if (!err && to.data)
		err = kind->encode(&upper, to);
	else if (!err && kind->revisions)
		err = buf_append(&upper, "l", 1);
	if (!err && (to.data || kind->revisions) &&
	    slice_cmp(buf_slice(&lower), buf_slice(&upper)) >= 0)
		s->done = true;
	else if (!err)
		err = cursor_init(&s->c, s->m, s->rev, buf_slice(&lower),
				  buf_slice(&upper));
	buf_fini(&upper);
	buf_fini(&lower);
	return err;
}

int mvcc_scan_new(struct mvcc *m, int64_t rev, struct cairn_slice from,
		  struct cairn_slice to, bool reverse, struct mvcc_scan **out)
{
	struct mvcc_scan *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return error_nomem();
	s->m = m;
	s->reverse = reverse;
	err = store_pin(m, rev, &s->rev);
	if (err) {
		free(s);
		return err;
	}
	err = scan_init(s, from, to);
	if (err) {
		mvcc_scan_free(s);
		return err;
	}
	*out = s;
	return CAIRN_OK;
}

void mvcc_scan_free(struct mvcc_scan *s)
{
	if (!s)
		return;
	cursor_fini(&s->c);
	buf_fini(&s->key);
	mvcc_unpin(s->m, s->rev);
	free(s);
}

static int forward(struct mvcc_scan *s)
{
	int err = CAIRN_OK;

	if (s->started)
		err = cursor_skip(&s->c);
	else
		err = cursor_seek(&s->c, buf_slice(&s->c.lower));
	s->started = true;
	if (!err)
		err = cursor_settle(&s->c, slice_of(NULL, 0));
	return err;
}

int mvcc_scan_next(struct mvcc_scan *s, struct mvcc_row *row)
{
	int err;

	if (s->done)
		return CAIRN_NOT_FOUND;
	err = s->reverse ? cursor_back(&s->c) : forward(s);
	if (err == CAIRN_NOT_FOUND) {
		/* Let go of the files it holds. */
		s->done = true;
		cursor_fini(&s->c);
	}
	if (!err)
		err = cursor_key(&s->c, &s->key);
	if (!err)
		err = cursor_row(&s->c, buf_slice(&s->key), row);
	return err;
}

int mvcc_any(struct mvcc *m, int64_t rev, struct cairn_slice prefix,
	     struct cairn_slice except)
{
	struct cairn_slice end = { NULL, 0 };
	struct mvcc_scan *s = NULL;
	struct mvcc_row row;
	int err = mvcc_prefix_end(prefix, &end);

	if (!err)
		err = mvcc_scan_new(m, rev, prefix, end, false, &s);
	if (!err)
		err = mvcc_scan_next(s, &row);
	if (!err && except.data && slice_eq(row.key, except))
		err = mvcc_scan_next(s, &row);
	mvcc_scan_free(s);
	free((void *)(uintptr_t)end.data);
	return err;
}
