/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "fs/cmd/cmd.h"
#include "fs/text/keytext.h"

static const struct cmd_usage usage = {
	.synopsis = "[--format hex] [range options] DIR",
	.summary = "Write all live keys and values in key order: hex key, TAB, "
		   "hex value",
	.example = "cairn dump /srv/app >app.tsv",
	.min_args = 1,
	.max_args = 1,
};

static int dump_row(struct cmd *c, const struct mvcc_row *row, struct buf *line)
{
	int err;

	buf_clear(line);
	err = keytext_hex(row->key, line);
	if (!err)
		err = buf_append(line, "\t", 1);
	if (!err)
		err = cmd_write(c, line->data, line->len);
	if (!err)
		err = cmd_value_write(c, row, CMD_VALUE_HEX);
	return err ? err : cmd_write(c, "\n", 1);
}

static int dump(struct cmd *c, const struct cmd_range *r)
{
	struct buf line = { 0 };
	struct cmd_scan *s;
	struct mvcc_row row;
	int err = cmd_scan_new(c, r, &s);

	if (err)
		return err;
	while (!(err = cmd_scan_next(s, &row)))
		if ((err = dump_row(c, &row, &line)))
			break;
	cmd_scan_free(s);
	buf_fini(&line);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

int cmd_dump(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct cmd_range range = { 0 };
	const char *format = "hex";
	const struct cmd_opt opts[] = {
		{ "format", 0, CMD_STRING, &format, "F", "hex" },
		CMD_RANGE_OPTS(&range),
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (strcmp(format, "hex") != 0)
		return cmd_fail(c, EXIT_USAGE,
				"--format %s: no such format; it can be hex",
				format);
	status = cmd_range_resolve(c, &keys, &range);
	if (status || cmd_open(c, argv[1], CMD_READ, &status))
		goto out;
	err = dump(c, &range);
	if (err)
		status = cmd_fail_code(c, err, c->dir);
	status = cmd_close(c, status);
out:
	cmd_range_fini(&range);
	return status;
}
