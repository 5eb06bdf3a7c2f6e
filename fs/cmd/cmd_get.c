/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/cmd.h"

static const struct cmd_usage usage = {
	.synopsis = "[--rev N] DIR KEY",
	.summary = "Write the value of KEY to standard output",
	.example = "cairn get /srv/app users/42",
	.min_args = 2,
	.max_args = 2,
};

/*
 * Pinned, or else the chunks of a large value could be replaced and forgotten
 * while it is written.
 */
static int get(struct cmd *c, struct cairn_slice key, int64_t rev)
{
	struct mvcc_pinned_row r = { 0 };
	int err = rev ? mvcc_pin(c->m, rev) : mvcc_pin_current(c->m, &rev);

	if (err)
		return err;
	err = mvcc_get(c->m, key, rev, &r);
	/* A directory in the memory of a mount. */
	if (!err && mvcc_is_plain(c->m) && r.row.attrs.type == MVCC_DIR)
		err = CAIRN_NOT_FOUND;
	if (!err)
		err = cmd_value_write(c, &r.row, CMD_VALUE_BYTES);
	mvcc_row_release(&r);
	mvcc_unpin(c->m, rev);
	return err;
}

/* A prompt right behind the value helps nobody. */
static int end_line(struct cmd *c, int status)
{
	if (status == EXIT_YES && c->out_is_tty && c->last_byte != '\n' &&
	    cmd_write(c, "\n", 1))
		return cmd_fail_code(c, CAIRN_EIO, NULL);
	return status;
}

static int fail_get(struct cmd *c, int err, const char *key)
{
	int status;

	if (err == CAIRN_NOT_FOUND)
		return cmd_fail(c, EXIT_NO, "%s: no such key", key);
	status = cmd_fail_code(c, err, key);
	if (err == CAIRN_EFORGOTTEN)
		cmd_hint(c, "what is kept: cairn history %s %s", c->dir, key);
	return status;
}

int cmd_get(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	int64_t rev = 0;
	const struct cmd_opt opts[] = {
		{ "rev", 0, CMD_INT, &rev, "N", "as of revision N" },
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	struct buf key = { 0 };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	status = cmd_keys_check(c, &keys, argv + 2, 1);
	if (status)
		return status;
	if (cmd_open(c, argv[1], CMD_READ, &status))
		return end_line(c, status);
	if (rev && (status = cmd_need_revisions(c)))
		return cmd_close(c, status);
	err = cmd_key_read(&keys, argv[2], &key);
	if (!err)
		err = get(c, buf_slice(&key), rev);
	buf_fini(&key);
	status = err ? fail_get(c, err, argv[2]) : end_line(c, EXIT_YES);
	return cmd_close(c, status);
}
