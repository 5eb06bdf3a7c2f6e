/* SPDX-License-Identifier: BSD-3-Clause */
/* flush, compact, forget. */
#include <stdlib.h>

#include "fs/cmd/cmd.h"

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
		.synopsis = "--before REV | --keep N DIR",
		.summary = "Drop what only readers of old revisions could see",
		.example = "cairn forget --keep 1000 /srv/app",
		.min_args = 1,
		.max_args = 1,
	};
	int64_t before = 0, keep = 0, rev;
	const struct cmd_opt opts[] = {
		{ "before", 0, CMD_INT, &before, "REV",
		  "revisions below REV become unreadable" },
		{ "keep", 0, CMD_INT, &keep, "N",
		  "the last N revisions stay readable" },
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (!before == !keep)
		return cmd_fail(c, EXIT_USAGE,
				"give either --before or --keep, above 0");
	if (cmd_open(c, argv[1], CMD_WRITE, &status))
		return status;
	status = cmd_need_revisions(c);
	if (status)
		return cmd_close(c, status);
	rev = keep ? mvcc_current(c->m) - keep + 1 : before;
	/* Keeping no less than there is forgets nothing. */
	if (keep && rev <= mvcc_oldest(c->m))
		return cmd_close(c, EXIT_NO);
	err = mvcc_forget(c->m, rev);
	if (err)
		status = cmd_fail_code(c, err, c->dir);
	return cmd_close(c, status);
}
