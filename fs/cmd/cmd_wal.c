/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"
#include "fs/text/jsontext.h"
#include "fs/text/keytext.h"

static const struct cmd_usage usage = {
	.synopsis = "[--records] FILE...",
	.summary = "Show the operations in logs (WALs) of cairn, RocksDB or "
		   "LevelDB, also damaged ones",
	.example = "cairn wal /srv/app/000013.log",
	.min_args = 1,
	.max_args = -1,
};

struct show {
	struct cmd_findings findings; /* first: the context of cmd_finding() */
	struct cmd *c;
	const struct cmd_key_opts *keys;
	const char *path;
	bool records, json;
	struct buf line;
};

static int on_record(void *ctx, const struct cairn_wal_record *r)
{
	struct show *s = ctx;
	int err;

	buf_clear(&s->line);
	if (s->json) {
		err = buf_printf(&s->line, "{\"file\":");
		if (!err)
			err = jsontext_string(slice_str(s->path), &s->line);
		if (!err)
			err = buf_printf(
				&s->line,
				",\"record\":%" PRIu64 ",\"bytes\":%" PRIu64
				",\"seqno\":%" PRIu64 ",\"count\":%" PRIu32
				"%s}\n",
				r->offset, r->bytes, r->seqno, r->count,
				r->note ? ",\"note\":true" : "");
	} else {
		err = buf_printf(&s->line,
				 "record %" PRIu64 " %" PRIu64 " %" PRIu64
				 " %" PRIu32 "%s\n",
				 r->offset, r->bytes, r->seqno, r->count,
				 r->note ? " note" : "");
	}
	return err ? err : cmd_write(s->c, s->line.data, s->line.len);
}

static int on_entry(void *ctx, const struct cairn_entry *e)
{
	struct show *s = ctx;
	int err = CAIRN_OK;

	buf_clear(&s->line);
	if (s->json) {
		err = buf_printf(&s->line, "{\"file\":");
		if (!err)
			err = jsontext_string(slice_str(s->path), &s->line);
	}
	if (!err)
		err = cmd_entry_text(s->keys, e, s->json, &s->line);
	if (!err)
		err = buf_append(&s->line, s->json ? "}\n" : "\n",
				 s->json ? 2 : 1);
	return err ? err : cmd_write(s->c, s->line.data, s->line.len);
}

int cmd_wal(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct show s = {
		.c = c,
		.keys = &keys,
		.findings = { .c = c, .remarks = true },
	};
	const struct cmd_opt opts[] = {
		{ "records", 0, CMD_FLAG, &s.records, NULL,
		  "a line before each record: offset, bytes, first sequence "
		  "number, operations" },
		{ "json", 0, CMD_FLAG, &s.json, NULL, "objects, one a line" },
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	struct cairn_wal_visitor v = {
		.ctx = &s,
		.entry = on_entry,
		.found = cmd_finding,
	};
	int status, n, worst = EXIT_YES;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (c->in_daemon)
		return cmd_not_in_daemon(c);
	if (s.records)
		v.record = on_record;
	s.findings.json = s.json;
	for (int i = 1; i <= n && !c->out_gone; i++) {
		s.path = argv[i];
		status = cmd_file_status(c, &s.findings,
					 cairn_wal_visit(argv[i], NULL, &v),
					 argv[i]);
		if (status > worst)
			worst = status;
	}
	buf_fini(&s.line);
	return worst;
}
