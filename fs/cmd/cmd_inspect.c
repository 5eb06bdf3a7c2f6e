/* SPDX-License-Identifier: BSD-3-Clause */
/* What verify, repair, sst, wal and manifest print alike. */
#include <inttypes.h>
#include <string.h>

#include "fs/cmd/cmd.h"
#include "fs/text/jsontext.h"
#include "fs/text/keytext.h"

/* "; keys from A to B unreadable", as far as the ends are known. */
static int keys_text(const struct cairn_finding *f, struct buf *out)
{
	int err = buf_printf(out, "; keys");

	if (!err && f->from.data) {
		err = buf_printf(out, " from ");
		if (!err)
			err = keytext_escape(f->from, out);
	}
	if (!err && f->to.data) {
		err = buf_printf(out, " to ");
		if (!err)
			err = keytext_escape(f->to, out);
	}
	if (!err && !f->from.data && !f->to.data)
		err = buf_printf(out, " nobody knows of");
	return err ? err : buf_printf(out, " unreadable");
}

static int key_field(const char *name, struct cairn_slice key, struct buf *out)
{
	struct buf text = { 0 };
	int err;

	if (!key.data)
		return CAIRN_OK;
	err = keytext_escape(key, &text);
	if (!err)
		err = buf_printf(out, ",\"%s\":", name);
	if (!err)
		err = jsontext_string(buf_slice(&text), out);
	buf_fini(&text);
	return err;
}

/* As JSON it is part of the answer. */
static int print_json(struct cmd *c, const struct cairn_finding *f)
{
	struct buf line = { 0 };
	int err = buf_printf(&line, "{\"finding\":\"%s\",\"path\":",
			     f->code ? cairn_strerror(f->code) : "remark");

	if (!err)
		err = jsontext_string(slice_str(f->path), &line);
	if (!err && f->offset != UINT64_MAX)
		err = buf_printf(&line, ",\"offset\":%" PRIu64, f->offset);
	if (!err)
		err = buf_printf(&line, ",\"message\":");
	if (!err)
		err = jsontext_string(slice_str(f->message), &line);
	if (!err && f->keys_lost)
		err = key_field("from", f->from, &line);
	if (!err && f->keys_lost)
		err = key_field("to", f->to, &line);
	if (!err)
		err = buf_append(&line, "}\n", 2);
	if (!err)
		err = cmd_write(c, line.data, line.len);
	buf_fini(&line);
	return err;
}

int cmd_finding(void *ctx, const struct cairn_finding *f)
{
	struct cmd_findings *p = ctx;
	struct buf keys = { 0 };
	int err = CAIRN_OK;

	if (!f->code && !p->remarks)
		return CAIRN_OK;
	p->n += f->code != CAIRN_OK;
	if (p->json)
		return print_json(p->c, f);
	if (f->keys_lost)
		err = keys_text(f, &keys);
	if (!err)
		(void)cmd_fail(p->c, 0, "%s%.*s%s", f->message, (int)keys.len,
			       keys.len ? (char *)keys.data : "",
			       f->code ? "" : " (a remark)");
	buf_fini(&keys);
	return err;
}

int cmd_key_json(const struct cmd_key_opts *k, struct cairn_slice key,
		 struct buf *out)
{
	struct buf text = { 0 };
	int err = cmd_key_write(k, key, &text);

	if (!err)
		err = jsontext_string(buf_slice(&text), out);
	buf_fini(&text);
	return err;
}

static bool has_value(const struct cairn_entry *e)
{
	const char *name = cairn_entry_kind_name(e->kind);

	return strcmp(name, "delete") != 0 &&
	       strcmp(name, "single-delete") != 0;
}

static int entry_json(const struct cmd_key_opts *k, const struct cairn_entry *e,
		      struct buf *out)
{
	const char *kind = cairn_entry_kind_name(e->kind);
	int err = buf_printf(out, ",\"key\":");

	if (!err)
		err = cmd_key_json(k, e->key, out);
	if (!err)
		err = buf_printf(out, ",\"seqno\":%" PRIu64 ",\"kind\":\"%s\"",
				 e->seqno, kind);
	if (!err && e->family)
		err = buf_printf(out, ",\"family\":%" PRIu32, e->family);
	if (err || !has_value(e))
		return err;
	err = buf_append(out, ",", 1);
	if (!err && !strcmp(kind, "range-delete")) {
		err = buf_printf(out, "\"end\":");
		return err ? err : cmd_key_json(k, e->value, out);
	}
	return err ? err : jsontext_value("value", e->value, out);
}

int cmd_entry_text(const struct cmd_key_opts *k, const struct cairn_entry *e,
		   bool json, struct buf *out)
{
	int err;

	if (json)
		return entry_json(k, e, out);
	err = cmd_key_write(k, e->key, out);
	if (!err)
		err = buf_printf(out, "\t%" PRIu64 "\t%s", e->seqno,
				 cairn_entry_kind_name(e->kind));
	if (!err && e->family)
		err = buf_printf(out, "[%" PRIu32 "]", e->family);
	if (!err && has_value(e))
		err = buf_append(out, "\t", 1);
	if (!err && has_value(e))
		err = cmd_key_write(k, e->value, out);
	return err;
}

int cmd_file_status(struct cmd *c, const struct cmd_findings *f, int err,
		    const char *path)
{
	if (!err)
		return EXIT_YES;
	/* What was found has been said. */
	if (f->n && (err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP))
		return cmd_exit_of(err);
	if (err == CAIRN_NOT_FOUND)
		err = CAIRN_ENOENT;
	return cmd_fail_code(c, err, path);
}

int cmd_not_in_daemon(struct cmd *c)
{
	return cmd_fail(c, EXIT_USAGE, "works on files, not on a mount");
}

int cmd_size_text(uint64_t bytes, struct buf *out)
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	int unit = -1;

	if (bytes < 1024)
		return buf_printf(out, "%" PRIu64, bytes);
	for (; v >= 1023.95 && unit < 5; unit++)
		v /= 1024;
	return buf_printf(out, "%.1f%c", v, units[unit]);
}
