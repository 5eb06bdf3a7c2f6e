/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"

static const struct cmd_usage usage = {
	.synopsis = "DIR KEY",
	.summary =
		"List the kept revisions of KEY, oldest first: revision, put "
		"or delete, size",
	.example = "cairn history /srv/app users/42",
	.min_args = 2,
	.max_args = 2,
};

static int print_history(struct cmd *c, struct cairn_slice key)
{
	struct mvcc_history *h;
	struct mvcc_row row;
	bool any = false;
	int err = mvcc_history_new(c->m, key, &h);

	if (err)
		return err;
	while (!(err = mvcc_history_next(h, &row))) {
		any = true;
		err = row.deleted
			      ? cmd_printf(c, "%" PRId64 " delete -\n",
					   row.main)
			      : cmd_printf(c, "%" PRId64 " put %" PRIu64 "\n",
					   row.main, row.size);
		if (err)
			break;
	}
	mvcc_history_free(h);
	return err == CAIRN_NOT_FOUND && any ? CAIRN_OK : err;
}

int cmd_history(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	const struct cmd_opt opts[] = {
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	struct buf key = { 0 };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	status = cmd_keys_check(c, &keys, argv + 2, 1);
	if (status || cmd_open(c, argv[1], CMD_READ, &status))
		return status;
	status = cmd_need_revisions(c);
	if (status)
		return cmd_close(c, status);
	err = cmd_key_read(&keys, argv[2], &key);
	if (!err)
		err = print_history(c, buf_slice(&key));
	if (err == CAIRN_NOT_FOUND)
		status = cmd_fail(c, EXIT_NO, "%s: no such key", argv[2]);
	else if (err)
		status = cmd_fail_code(c, err, argv[2]);
	buf_fini(&key);
	return cmd_close(c, status);
}
