/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/watch_line.h"

#include <inttypes.h>

static int json_line(const struct cmd_key_opts *k, const struct mvcc_row *row,
		     struct buf *out)
{
	int err = buf_printf(out,
			     "{\"rev\":%" PRId64 ",\"sub\":%" PRId32
			     ",\"op\":\"%s\",\"key\":",
			     row->main, row->sub,
			     row->deleted ? "delete" : "put");

	if (!err)
		err = cmd_key_json(k, row->key, out);
	if (!err && !row->deleted)
		err = buf_printf(out,
				 ",\"size\":%" PRIu64 ",\"create_rev\":%" PRId64
				 ",\"version\":%" PRId64,
				 row->size, row->create_rev, row->version);
	if (!err && row->lease)
		err = buf_printf(out, ",\"lease\":%" PRId64, row->lease);
	return err ? err : buf_append(out, "}\n", 2);
}

int watch_line(const struct cmd_key_opts *k, const struct mvcc_event *e,
	       bool json, struct buf *out)
{
	const struct mvcc_row *row = &e->row;
	int err;

	if (json)
		return json_line(k, row, out);
	if (row->deleted)
		err = buf_printf(out, "%" PRId64 " delete - ", row->main);
	else
		err = buf_printf(out, "%" PRId64 " put %" PRIu64 " ", row->main,
				 row->size);
	if (!err)
		err = cmd_key_write(k, row->key, out);
	return err ? err : buf_append(out, "\n", 1);
}

int watch_prefix(struct cairn_slice prefix, struct mvcc_watch_request *r,
		 struct cairn_slice *end)
{
	int err;

	*end = slice_of(NULL, 0);
	err = prefix.len ? mvcc_prefix_end(prefix, end) : CAIRN_OK;
	if (err)
		return err;
	r->key = prefix;
	/* To the last key, unless there are keys behind the prefix. */
	r->end = end->data ? *end : slice_of("", 1);
	return CAIRN_OK;
}
