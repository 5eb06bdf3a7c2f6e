/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "fs/cmd/cmd.h"
#include "fs/stats/stats.h"

static const struct cmd_usage usage = {
	.synopsis = "[--json | --format F] DIR [NAME...]",
	.summary = "Show the numbers of a store: the summary, or those named",
	.example = "cairn stats /srv/app cache/hit_ratio",
	.min_args = 1,
	.max_args = -1,
};

/* "levels/L4/size_bytes", as the files of a mount are called. */
static int append_level(const struct stats *s, const char *name,
			struct buf *out)
{
	int level, at = 0;

	if (!strcmp(name, "levels/summary"))
		return stats_levels(s, out);
	if (sscanf(name, "levels/L%1d/%n", &level, &at) != 1 || !at ||
	    level < 0 || level >= CAIRN_LEVELS)
		return CAIRN_NOT_FOUND;
	return stats_level_value(s, level, name + at, out);
}

/* What is behind name, ended by a newline. */
static int append(const struct stats *s, const char *name, struct buf *out)
{
	int err = stats_value(s, name, out);

	if (err == CAIRN_NOT_FOUND)
		err = stats_text(s, name, out);
	if (err == CAIRN_NOT_FOUND)
		err = append_level(s, name, out);
	if (!err && (!out->len || out->data[out->len - 1] != '\n'))
		err = buf_append(out, "\n", 1);
	return err;
}

static int show(struct cmd *c, const struct stats *s, const char *format,
		char **names, int n)
{
	struct buf text = { 0 };
	int status = EXIT_YES, err = CAIRN_OK;

	if (n == 0) {
		err = stats_text(s, format, &text);
		if (err == CAIRN_NOT_FOUND)
			status = cmd_fail(c, EXIT_USAGE,
					  "--format %s: no such format; try "
					  "summary, all, json, metrics",
					  format);
	}
	for (int i = 0; i < n && (!err || err == CAIRN_NOT_FOUND); i++) {
		err = append(s, names[i], &text);
		if (err == CAIRN_NOT_FOUND)
			status = cmd_fail(c, EXIT_NO,
					  "%s: no such number; see cairn stats "
					  "--format all",
					  names[i]);
	}
	/* What was found is shown, also when a name was not. */
	if (!err || err == CAIRN_NOT_FOUND)
		err = cmd_write(c, text.data, text.len);
	if (err)
		status = cmd_fail_code(c, err, NULL);
	buf_fini(&text);
	return status;
}

int cmd_stats(struct cmd *c, int argc, char **argv)
{
	const char *format = "summary";
	bool json = false;
	const struct cmd_opt opts[] = {
		{ "json", 0, CMD_FLAG, &json, NULL, "all of them as JSON" },
		{ "format", 0, CMD_STRING, &format, "F",
		  "summary, all, json, metrics, latency, compactions, stalls" },
		{ 0 },
	};
	struct stats s;
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (cmd_open(c, argv[1], CMD_READ, &status))
		return status;
	err = stats_collect(c->m, c->dir, c->counters, &s);
	if (err)
		return cmd_close(c, cmd_fail_code(c, err, c->dir));
	status = show(c, &s, json ? "json" : format, argv + 2, n - 1);
	stats_fini(&s);
	return cmd_close(c, status);
}
