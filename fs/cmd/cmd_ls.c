/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"

static const struct cmd_usage usage = {
	.synopsis = "[-l] [--count] [range options] DIR [PREFIX]",
	.summary = "List keys, one a line",
	.example = "cairn ls -l /srv/app users/",
	.min_args = 1,
	.max_args = 2,
};

/* With -l: size, revision, version, key. */
static int print_key(struct cmd *c, const struct cmd_key_opts *k, bool wide,
		     const struct mvcc_row *row, struct buf *line)
{
	int err = CAIRN_OK;

	buf_clear(line);
	if (wide && !mvcc_is_plain(c->m))
		err = buf_printf(line,
				 "%12" PRIu64 " %10" PRId64 " %6" PRId64 " ",
				 row->size, row->main, row->version);
	else if (wide)
		err = buf_printf(line, "%12" PRIu64 " ", row->size);
	if (!err)
		err = cmd_key_write(k, row->key, line);
	if (!err)
		err = buf_append(line, "\n", 1);
	if (!err)
		err = cmd_write(c, line->data, line->len);
	return err;
}

static int list(struct cmd *c, const struct cmd_key_opts *k,
		const struct cmd_range *r, bool wide, bool count)
{
	struct buf line = { 0 };
	struct cmd_scan *s;
	struct mvcc_row row;
	uint64_t n = 0;
	int err = cmd_scan_new(c, r, &s);

	if (err)
		return err;
	while (!(err = cmd_scan_next(s, &row))) {
		n++;
		if (!count && (err = print_key(c, k, wide, &row, &line)))
			break;
	}
	cmd_scan_free(s);
	buf_fini(&line);
	if (err != CAIRN_NOT_FOUND)
		return err;
	err = count ? cmd_printf(c, "%" PRIu64 "\n", n) : CAIRN_OK;
	return !err && !n ? CAIRN_NOT_FOUND : err;
}

int cmd_ls(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct cmd_range range = { 0 };
	bool wide = false, count = false;
	const struct cmd_opt opts[] = {
		{ "long", 'l', CMD_FLAG, &wide, NULL,
		  "size, revision and version before the key" },
		{ "count", 0, CMD_FLAG, &count, NULL, "only how many" },
		CMD_RANGE_OPTS(&range),
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (n == 2 && range.prefix)
		return cmd_fail(c, EXIT_USAGE, "PREFIX is given twice");
	if (n == 2)
		range.prefix = argv[2];
	status = cmd_range_resolve(c, &keys, &range);
	if (status || cmd_open(c, argv[1], CMD_READ, &status))
		goto out;
	err = list(c, &keys, &range, wide, count);
	if (err == CAIRN_NOT_FOUND)
		status = EXIT_NO;
	else if (err)
		status = cmd_fail_code(c, err, NULL);
	status = cmd_close(c, status);
out:
	cmd_range_fini(&range);
	return status;
}
