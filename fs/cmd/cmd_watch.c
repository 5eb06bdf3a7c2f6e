/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/cmd/watch_line.h"

/* How often to look whether anybody still listens. */
#define LOOK_US 100000u

static const struct cmd_usage usage = {
	.synopsis = "[--from-rev N] [--count N] [--json] DIR [PREFIX]",
	.summary = "Print a line for every change of a key that starts with "
		   "PREFIX, as it happens:\n"
		   "revision, put or delete, size, key",
	.example = "cairn watch --from-rev 4712 /mnt/app users/",
	.min_args = 1,
	.max_args = 2,
};

struct watch_opts {
	struct cmd_key_opts keys;
	int64_t from;
	int64_t count;
	bool json;
};

/* Print events until *left reaches 0; -1: all there are. */
static int print_events(struct cmd *c, const struct watch_opts *o,
			const struct mvcc_watch_message *msg, int64_t *left)
{
	struct buf line = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; i < msg->n && *left && !err; i++) {
		buf_clear(&line);
		err = watch_line(&o->keys, &msg->events[i], o->json, &line);
		if (!err)
			err = cmd_write(c, line.data, line.len);
		if (*left > 0)
			(*left)--;
	}
	buf_fini(&line);
	return err ? err : cmd_flush_output(c);
}

/* CAIRN_NOT_FOUND: nothing will come any more. */
static int follow(struct cmd *c, struct mvcc_watch *w,
		  const struct watch_opts *o)
{
	int64_t left = o->count ? o->count : -1, next = o->from;
	int err = CAIRN_OK;

	while (left && !err) {
		struct mvcc_watch_message msg;

		err = cmd_check_cancel(c);
		if (err)
			break;
		err = mvcc_watch_next(w, c->in_daemon ? LOOK_US : 0, &msg);
		if (err == CAIRN_NOT_FOUND && c->in_daemon) {
			err = CAIRN_OK;
			continue;
		}
		if (err)
			break;
		if (msg.canceled)
			err = error_set(CAIRN_EFORGOTTEN,
					"revision %" PRId64 " is forgotten; "
					"the oldest one is %" PRId64,
					next, msg.compact_rev);
		else
			err = print_events(c, o, &msg, &left);
		next = msg.rev + 1;
		mvcc_watch_message_fini(&msg);
	}
	return err;
}

static int watch(struct cmd *c, const struct watch_opts *o,
		 struct cairn_slice prefix)
{
	struct mvcc_watch_request r = { .start = o->from };
	struct cairn_slice end;
	struct mvcc_watch *w = NULL;
	int err = watch_prefix(prefix, &r, &end);

	if (!err)
		err = mvcc_watch_new(c->m, &r, &w);
	free((void *)(uintptr_t)end.data);
	if (!err)
		err = follow(c, w, o);
	mvcc_watch_free(w);
	return err;
}

/* Nobody has the store open who could change it: what was kept is told. */
static int nothing_comes(struct cmd *c, const struct watch_opts *o)
{
	int status = o->from && !o->count ? EXIT_YES : EXIT_NO;

	return cmd_fail(c, status, "%s: is not mounted: nothing changes it",
			c->dir);
}

int cmd_watch(struct cmd *c, int argc, char **argv)
{
	struct watch_opts o = { 0 };
	const struct cmd_opt opts[] = {
		{ "from-rev", 0, CMD_INT, &o.from, "N",
		  "what happened from revision N on, first" },
		{ "count", 0, CMD_INT, &o.count, "N",
		  "end after N changes (0: never)" },
		{ "json", 0, CMD_FLAG, &o.json, NULL, "objects, one a line" },
		CMD_KEY_OPTS(&o.keys),
		{ 0 },
	};
	struct buf prefix = { 0 };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	status = cmd_keys_check(c, &o.keys, argv + 2, n - 1);
	if (status || cmd_open(c, argv[1], CMD_READ, &status))
		return status;
	status = cmd_need_revisions(c);
	if (status)
		return cmd_close(c, status);
	err = n == 2 ? cmd_key_read(&o.keys, argv[2], &prefix) : CAIRN_OK;
	if (!err)
		err = watch(c, &o, buf_slice(&prefix));
	buf_fini(&prefix);
	if (err == CAIRN_NOT_FOUND)
		status = nothing_comes(c, &o);
	else if (err)
		status = cmd_fail_code(c, err, NULL);
	return cmd_close(c, status);
}
