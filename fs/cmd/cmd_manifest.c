/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"
#include "fs/text/jsontext.h"
#include "fs/text/keytext.h"

static const struct cmd_usage usage = {
	.synopsis = "[--state] FILE|DIR...",
	.summary = "Show the edits in MANIFEST files, and what they come to; "
		   "also damaged ones",
	.example = "cairn manifest --state /srv/app",
	.min_args = 1,
	.max_args = -1,
};

struct show {
	struct cmd_findings findings; /* first: the context of cmd_finding() */
	struct cmd *c;
	const struct cmd_key_opts *keys;
	const char *path;
	bool json;
	struct buf line;
};

static int add_number(struct show *s, const char *name, uint64_t v)
{
	if (v == UINT64_MAX)
		return CAIRN_OK;
	return s->json ? buf_printf(&s->line, ",\"%s\":%" PRIu64, name, v)
		       : buf_printf(&s->line, " %s %" PRIu64, name, v);
}

static int add_string(struct show *s, const char *name, const char *v)
{
	int err;

	if (!v)
		return CAIRN_OK;
	if (!s->json) {
		err = buf_printf(&s->line, " %s ", name);
		return err ? err : keytext_escape(slice_str(v), &s->line);
	}
	err = buf_printf(&s->line, ",\"%s\":", name);
	return err ? err : jsontext_string(slice_str(v), &s->line);
}

static int add_key(struct show *s, const char *name, struct cairn_slice key,
		   uint64_t seqno)
{
	int err;

	if (s->json) {
		err = buf_printf(&s->line, ",\"%s\":", name);
		if (!err)
			err = cmd_key_json(s->keys, key, &s->line);
		return err;
	}
	err = buf_append(&s->line, " ", 1);
	if (!err)
		err = cmd_key_write(s->keys, key, &s->line);
	return err ? err : buf_printf(&s->line, "@%" PRIu64, seqno);
}

/* A line that begins with what; JSON names the file. */
static int begin(struct show *s, const char *what)
{
	int err;

	buf_clear(&s->line);
	if (!s->json)
		return buf_printf(&s->line, "%s", what);
	err = buf_printf(&s->line, "{\"file\":");
	if (!err)
		err = jsontext_string(slice_str(s->path), &s->line);
	return err ? err : buf_printf(&s->line, ",\"line\":\"%s\"", what);
}

static int end(struct show *s, int err)
{
	if (!err)
		err = buf_append(&s->line, s->json ? "}\n" : "\n",
				 s->json ? 2 : 1);
	return err ? err : cmd_write(s->c, s->line.data, s->line.len);
}

static int put_file(struct show *s, const char *what,
		    const struct cairn_manifest_file *f, bool bounds)
{
	int err = begin(s, what);

	if (!err)
		err = s->json ? buf_printf(&s->line,
					   ",\"level\":%d,\"number\":%" PRIu64,
					   f->level, f->number)
			      : buf_printf(&s->line, " L%d %06" PRIu64,
					   f->level, f->number);
	if (!err && bounds)
		err = s->json ? buf_printf(&s->line, ",\"size_bytes\":%" PRIu64,
					   f->size)
			      : buf_printf(&s->line, " %" PRIu64, f->size);
	if (!err && bounds && f->seqnos_known)
		err = s->json ? buf_printf(&s->line,
					   ",\"smallest_seqno\":%" PRIu64
					   ",\"largest_seqno\":%" PRIu64,
					   f->smallest_seqno, f->largest_seqno)
			      : buf_printf(&s->line, " %" PRIu64 "-%" PRIu64,
					   f->smallest_seqno, f->largest_seqno);
	else if (!err && bounds && !s->json)
		err = buf_printf(&s->line, " -");
	if (!err && bounds)
		err = add_key(s, "smallest", f->smallest,
			      f->smallest_key_seqno);
	if (!err && bounds)
		err = add_key(s, "largest", f->largest, f->largest_key_seqno);
	if (!err && bounds && f->largest_exclusive)
		err = buf_printf(&s->line, "%s",
				 s->json ? ",\"largest_exclusive\":true"
					 : " exclusive");
	return end(s, err);
}

/* The numbers of an edit or a state, then its files. */
static int put_edit(struct show *s, const char *what,
		    const struct cairn_manifest_edit *e)
{
	int err = begin(s, what);

	if (!err && e->offset != UINT64_MAX)
		err = add_number(s, "offset", e->offset);
	if (!err)
		err = add_string(s, "comparator", e->comparator);
	if (!err)
		err = add_string(s, "db_id", e->db_id);
	if (!err)
		err = add_number(s, "log_number", e->log_number);
	if (!err)
		err = add_number(s, "prev_log_number", e->prev_log_number);
	if (!err)
		err = add_number(s, "min_log_to_keep", e->min_log_to_keep);
	if (!err)
		err = add_number(s, "next_file_number", e->next_file_number);
	if (!err)
		err = add_number(s, "last_seqno", e->last_seqno);
	if (!err && (e->family || e->family_added || e->family_dropped))
		err = add_number(s, "family", e->family);
	if (!err)
		err = add_string(s, "family_added", e->family_added);
	if (!err && e->family_dropped)
		err = s->json ? buf_printf(&s->line, ",\"family_dropped\":true")
			      : buf_printf(&s->line, " family_dropped");
	if (!err)
		err = add_number(s, "group_remaining", e->group_remaining);
	err = end(s, err);
	for (size_t i = 0; i < e->n_deleted && !err; i++)
		err = put_file(s, "deleted", &e->deleted[i], false);
	for (size_t i = 0; i < e->n_added && !err; i++)
		err = put_file(s, e->offset == UINT64_MAX ? "live" : "added",
			       &e->added[i], true);
	return err;
}

static int on_edit(void *ctx, const struct cairn_manifest_edit *e)
{
	return put_edit(ctx, "edit", e);
}

static int on_state(void *ctx, const struct cairn_manifest_edit *e)
{
	return put_edit(ctx, "state", e);
}

int cmd_manifest(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct show s = {
		.c = c,
		.keys = &keys,
		.findings = { .c = c, .remarks = true },
	};
	bool state = false;
	const struct cmd_opt opts[] = {
		{ "state", 0, CMD_FLAG, &state, NULL,
		  "only what all edits come to" },
		{ "json", 0, CMD_FLAG, &s.json, NULL, "objects, one a line" },
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	struct cairn_manifest_visitor v = {
		.ctx = &s,
		.edit = on_edit,
		.state = on_state,
		.found = cmd_finding,
	};
	int status, n, worst = EXIT_YES;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (c->in_daemon)
		return cmd_not_in_daemon(c);
	if (state)
		v.edit = NULL;
	s.findings.json = s.json;
	for (int i = 1; i <= n && !c->out_gone; i++) {
		s.path = argv[i];
		status = cmd_file_status(
			c, &s.findings, cairn_manifest_visit(argv[i], NULL, &v),
			argv[i]);
		if (status > worst)
			worst = status;
	}
	buf_fini(&s.line);
	return worst;
}
