/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys and ranges of keys of the command line, and walking them. */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/text/keytext.h"
#include "fs/text/name.h"

/* Values are written in pieces of this size. */
#define PIECE (256 * 1024)

int cmd_key_read(const struct cmd_key_opts *k, const char *text,
		 struct buf *key)
{
	struct cairn_slice s = slice_str(text);

	buf_clear(key);
	if (k->hex + k->raw + k->path > 1)
		return error_set(CAIRN_EINVAL,
				 "--hex, --raw and --path exclude each other");
	if (k->hex)
		return keytext_unhex(text, key);
	if (k->raw)
		return buf_append(key, s.data, s.len);
	if (k->path)
		return name_path_to_key(s, key);
	return keytext_unescape(text, key);
}

int cmd_key_write(const struct cmd_key_opts *k, struct cairn_slice key,
		  struct buf *text)
{
	int err;

	if (k->hex) {
		err = buf_append(text, "0x", 2);
		return err ? err : keytext_hex(key, text);
	}
	if (k->raw)
		return buf_append(text, key.data, key.len);
	if (k->path)
		return name_key_to_path(key, text);
	return keytext_escape(key, text);
}

int cmd_keys_check(struct cmd *c, const struct cmd_key_opts *k,
		   char *const *texts, int n)
{
	struct buf key = { 0 };
	int err = CAIRN_OK, i = 0;

	for (; i < n && !err; i++)
		err = cmd_key_read(k, texts[i], &key);
	buf_fini(&key);
	return err ? cmd_fail_code(c, err, texts[i - 1]) : EXIT_YES;
}

static int resolve(const struct cmd_key_opts *k, struct cmd_range *r)
{
	struct buf to = { 0 };
	int err;

	if (r->prefix && (r->from || r->to))
		return error_set(CAIRN_EINVAL,
				 "--prefix excludes --from and --to");
	if (r->prefix) {
		err = cmd_key_read(k, r->prefix, &r->lower);
		if (!err)
			err = mvcc_prefix_end(buf_slice(&r->lower), &r->upper);
		return err;
	}
	err = r->from ? cmd_key_read(k, r->from, &r->lower) : CAIRN_OK;
	if (!err && r->to) {
		err = cmd_key_read(k, r->to, &to);
		if (!err)
			err = slice_dup(buf_slice(&to), &r->upper);
	}
	buf_fini(&to);
	return err;
}

int cmd_range_resolve(struct cmd *c, const struct cmd_key_opts *k,
		      struct cmd_range *r)
{
	int err = resolve(k, r);

	return err ? cmd_fail_code(c, err, NULL) : EXIT_YES;
}

void cmd_range_fini(struct cmd_range *r)
{
	buf_fini(&r->lower);
	free((void *)(uintptr_t)r->upper.data);
	r->upper = slice_of(NULL, 0);
}

struct cmd_scan {
	struct cmd *c;
	struct mvcc_scan *scan;
	int64_t left; /* keys to the limit; -1: none */
};

int cmd_scan_new(struct cmd *c, const struct cmd_range *r,
		 struct cmd_scan **out)
{
	struct cmd_scan *s;
	int err;

	if (r->rev && mvcc_is_plain(c->m))
		return error_set(CAIRN_EKIND,
				 "%s: is a plain store, which keeps no "
				 "revisions",
				 c->dir);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_nomem();
	s->c = c;
	s->left = r->limit ? r->limit : -1;
	err = mvcc_scan_new(c->m, r->rev, buf_slice(&r->lower), r->upper,
			    r->reverse, &s->scan);
	if (err)
		free(s);
	else
		*out = s;
	return err;
}

int cmd_scan_next(struct cmd_scan *s, struct mvcc_row *row)
{
	int err;

	if (s->left == 0)
		return CAIRN_NOT_FOUND;
	err = cmd_check_cancel(s->c);
	if (err)
		return err;
	if (s->left > 0)
		s->left--;
	do
		err = mvcc_scan_next(s->scan, row);
	while (!err && mvcc_is_plain(s->c->m) && row->attrs.type == MVCC_DIR);
	return err;
}

void cmd_scan_free(struct cmd_scan *s)
{
	if (!s)
		return;
	mvcc_scan_free(s->scan);
	free(s);
}

static int write_piece(struct cmd *c, struct cairn_slice piece,
		       enum cmd_value_form form)
{
	struct buf text = { 0 };
	int err = CAIRN_OK;

	if (form == CMD_VALUE_HEX) {
		err = keytext_hex(piece, &text);
		piece = buf_slice(&text);
	}
	if (!err)
		err = cmd_write(c, piece.data, piece.len);
	buf_fini(&text);
	return err;
}

int cmd_value_write(struct cmd *c, const struct mvcc_row *row,
		    enum cmd_value_form form)
{
	uint8_t *piece;
	size_t got;
	int err = CAIRN_OK;

	if (row->value.data || !row->size)
		return write_piece(c, row->value, form);
	piece = malloc(PIECE);
	if (!piece)
		return error_nomem();
	for (uint64_t off = 0; !err && off < row->size; off += got) {
		err = mvcc_read(c->m, row, off, piece, PIECE, &got);
		if (!err && got == 0)
			err = error_set(CAIRN_ECORRUPT,
					"the value ends at %" PRIu64
					" of %" PRIu64 " bytes",
					off, row->size);
		if (!err)
			err = write_piece(c, slice_of(piece, got), form);
	}
	free(piece);
	return err;
}
