/* SPDX-License-Identifier: BSD-3-Clause */
/* flush, compact, forget. */
#include <stdlib.h>

#include "fs/cmd/cmd.h"
#include "fs/cmd/forget_by.h"
#include "fs/text/timetext.h"

int cmd_flush(struct cmd *c, int argc, char **argv)
{
	static const struct cmd_usage usage = {
		.synopsis = "DIR",
		.summary = "Write what is in memory to tables",
		.example = "cairn flush /srv/app",
		.min_args = 1,
		.max_args = 1,
	};
	const struct cmd_opt opts[] = { CMD_UPGRADE_OPT(c), { 0 } };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (cmd_open(c, argv[1], CMD_WRITE, &status))
		return status;
	err = cairn_flush(mvcc_db(c->m), true);
	if (err)
		status = cmd_fail_code(c, err, c->dir);
	return cmd_close(c, status);
}

int cmd_compact(struct cmd *c, int argc, char **argv)
{
	static const struct cmd_usage usage = {
		.synopsis = "DIR",
		.summary = "Rewrite all tables, freeing the space of what is "
			   "deleted or forgotten",
		.example = "cairn compact /srv/app",
		.min_args = 1,
		.max_args = 1,
	};
	const struct cmd_opt opts[] = { CMD_UPGRADE_OPT(c), { 0 } };
	struct cairn_slice all = { 0 };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (cmd_open(c, argv[1], CMD_WRITE, &status))
		return status;
	err = cairn_compact_range(mvcc_db(c->m), all, all, c->cancel);
	if (err)
		status = cmd_fail_code(c, err, c->dir);
	return cmd_close(c, status);
}

int cmd_forget(struct cmd *c, int argc, char **argv)
{
	static const struct cmd_usage usage = {
		.synopsis = "--before REV | --keep N | --older T DIR",
		.summary = "Drop what only readers of old revisions could see",
		.example = "cairn forget --older 7d /srv/app",
		.min_args = 1,
		.max_args = 1,
	};
	struct forget_by by = { 0 };
	const char *older = NULL;
	const struct cmd_opt opts[] = {
		{ "before", 0, CMD_INT, &by.before, "REV",
		  "revisions below REV become unreadable" },
		{ "keep", 0, CMD_INT, &by.keep, "N",
		  "the last N revisions stay readable" },
		{ "older", 0, CMD_STRING, &older, "T",
		  "what was current since T ago stays readable, as 7d" },
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (older &&
	    (!timetext_duration(older, true, &by.older_us) || !by.older_us))
		return cmd_fail(c, EXIT_USAGE,
				"--older %s: wants a time, as 10m or 7d",
				older);
	if (!!by.before + !!by.keep + !!older != 1)
		return cmd_fail(c, EXIT_USAGE,
				"give one of --before, --keep and --older, "
				"above 0");
	if (cmd_open(c, argv[1], CMD_WRITE, &status))
		return status;
	status = cmd_need_revisions(c);
	if (status)
		return cmd_close(c, status);
	err = forget_by(c->m, &by);
	if (err == CAIRN_NOT_FOUND)
		status = EXIT_NO;
	else if (err)
		status = cmd_fail_code(c, err, c->dir);
	return cmd_close(c, status);
}
