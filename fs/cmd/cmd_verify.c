/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"
#include "fs/text/jsontext.h"

static const struct cmd_usage usage = {
	.synopsis = "[-v] [--json] DIR",
	.summary = "Check every file of a store: checksums, order, indexes, "
		   "filters, logs, and that all of it fits together",
	.example = "cairn verify /srv/app",
	.min_args = 1,
	.max_args = 1,
};

static int print_text(struct cmd *c, const struct cairn_verify_report *r)
{
	struct buf line = { 0 };
	int err = buf_printf(&line, "checked %" PRIu64 " table%s, ", r->tables,
			     r->tables == 1 ? "" : "s");

	if (!err)
		err = cmd_size_text(r->table_bytes, &line);
	if (!err)
		err = buf_printf(&line, ", %" PRIu64 " log%s: ", r->logs,
				 r->logs == 1 ? "" : "s");
	if (!err && !r->findings)
		err = buf_printf(&line, "good\n");
	else if (!err)
		err = buf_printf(
			&line,
			"%" PRIu64 " finding%s, %" PRIu64 " table%s damaged\n",
			r->findings, r->findings == 1 ? "" : "s",
			r->damaged_tables, r->damaged_tables == 1 ? "" : "s");
	if (!err)
		err = cmd_write(c, line.data, line.len);
	buf_fini(&line);
	return err;
}

static int print_json(struct cmd *c, const struct cairn_verify_report *r)
{
	return cmd_printf(c,
			  "{\"findings\":%" PRIu64 ",\"tables\":%" PRIu64
			  ",\"damaged_tables\":%" PRIu64
			  ",\"table_bytes\":%" PRIu64 ",\"entries\":%" PRIu64
			  ",\"blocks\":%" PRIu64 ",\"damaged_blocks\":%" PRIu64
			  ",\"logs\":%" PRIu64 ",\"log_records\":%" PRIu64
			  "}\n",
			  r->findings, r->tables, r->damaged_tables,
			  r->table_bytes, r->entries, r->blocks,
			  r->damaged_blocks, r->logs, r->log_records);
}

static int verify(struct cmd *c, const struct cairn_verify_options *vo,
		  struct cairn_verify_report *report)
{
	if (c->in_daemon)
		return cairn_verify_open(mvcc_db(c->m), vo, report);
	return cairn_verify(c->dir, NULL, vo, report);
}

int cmd_verify(struct cmd *c, int argc, char **argv)
{
	struct cmd_findings findings = { .c = c };
	const struct cmd_opt opts[] = {
		{ "json", 0, CMD_FLAG, &findings.json, NULL,
		  "findings and the summary as objects, one a line" },
		{ "verbose", 'v', CMD_FLAG, &findings.remarks, NULL,
		  "remarks, too: files that nothing refers to" },
		{ 0 },
	};
	struct cairn_verify_report r = { 0 };
	struct cairn_verify_options vo = {
		.found = cmd_finding,
		.ctx = &findings,
		.cancel = c->cancel,
	};
	int status, n, err, printed;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (cmd_locate(c, argv[1], &status))
		return status;
	err = verify(c, &vo, &r);
	status = cmd_file_status(c, &findings, err, argv[1]);
	/* Anything else was no check of all there is. */
	if (err && err != CAIRN_ECORRUPT && err != CAIRN_ENOTSUP)
		return status;
	if (err && !findings.n)
		return status;
	printed = findings.json ? print_json(c, &r) : print_text(c, &r);
	if (printed)
		return cmd_fail_code(c, printed, NULL);
	if (err == CAIRN_ECORRUPT && !findings.json)
		cmd_hint(c,
			 "see what a repair keeps: cairn repair --dry-run %s",
			 argv[1]);
	return status;
}
