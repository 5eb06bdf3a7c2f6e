/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint, ingest: commands that name files besides the store. A command
 * that a mount runs has another working directory than the shell, so the names
 * are made absolute before it is sent there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"

/* The arguments that go to a daemon: what was parsed, written anew. */
struct sent {
	char **argv;
	int argc;
};

static void sent_fini(struct sent *s)
{
	for (int i = 0; i < s->argc; i++)
		free(s->argv[i]);
	free(s->argv);
}

/* Takes arg over; NULL: there was no memory for it. */
static int sent_add(struct sent *s, char *arg)
{
	if (!arg)
		return error_nomem();
	s->argv[s->argc++] = arg;
	return CAIRN_OK;
}

static int sent_add_path(struct sent *s, const char *path)
{
	char *cwd, *whole;

	if (*path == '/')
		return sent_add(s, strdup(path));
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return error_set(CAIRN_EIO, "the working directory: %s",
				 strerror(errno));
	if (asprintf(&whole, "%s/%s", cwd, path) < 0)
		whole = NULL;
	free(cwd);
	return sent_add(s, whole);
}

/* NAME [flag] -- DIR PATHS: operands are DIR and the n paths behind it. */
static int sent_init(struct sent *s, const char *name, const char *flag,
		     char *const *operands, int n)
{
	int err;

	s->argv = calloc((size_t)n + 5, sizeof(char *));
	if (!s->argv)
		return error_nomem();
	err = sent_add(s, strdup(name));
	if (!err && flag)
		err = sent_add(s, strdup(flag));
	if (!err)
		err = sent_add(s, strdup("--"));
	if (!err)
		err = sent_add(s, strdup(operands[0]));
	for (int i = 1; !err && i <= n; i++)
		err = sent_add_path(s, operands[i]);
	return err;
}

/* As cmd_open() for writing. operands are DIR and the n paths behind it. */
static int open_with_paths(struct cmd *c, const char *flag,
			   char *const *operands, int n, int *status)
{
	struct sent s = { 0 };
	int err, ret;

	for (int i = 1; c->in_daemon && i <= n; i++)
		if (operands[i][0] != '/') {
			*status = cmd_fail(c, EXIT_USAGE,
					   "%s: in a mount only absolute paths "
					   "have a meaning",
					   operands[i]);
			return *status;
		}
	err = sent_init(&s, c->name, flag, operands, n);
	if (err) {
		*status = cmd_fail_code(c, err, NULL);
		sent_fini(&s);
		return *status;
	}
	if (!c->in_daemon) {
		c->argc = s.argc;
		c->argv = s.argv;
	}
	ret = cmd_open(c, operands[0], CMD_WRITE, status);
	sent_fini(&s);
	return ret;
}

int cmd_checkpoint(struct cmd *c, int argc, char **argv)
{
	static const struct cmd_usage usage = {
		.synopsis = "DIR NEW",
		.summary = "Make NEW a copy of the store, by hard links where "
			   "that is possible",
		.example = "cairn checkpoint /srv/app /srv/backup/monday",
		.min_args = 2,
		.max_args = 2,
	};
	const struct cmd_opt opts[] = { { 0 } };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (open_with_paths(c, NULL, argv + 1, 1, &status))
		return status;
	err = cairn_checkpoint(mvcc_db(c->m), argv[2]);
	if (err)
		status = cmd_fail_code(c, err, argv[2]);
	return cmd_close(c, status);
}

/* Rows of a revision store are more than key and value. */
static int need_plain(struct cmd *c)
{
	int status;

	if (mvcc_is_plain(c->m))
		return EXIT_YES;
	status = cmd_fail(c, EXIT_NOTSUP,
			  "%s: is a revision store; tables hold keys and "
			  "values of a plain one",
			  c->dir);
	cmd_hint(c, "cairn load sets keys of a revision store");
	return status;
}

int cmd_ingest(struct cmd *c, int argc, char **argv)
{
	static const struct cmd_usage usage = {
		.synopsis = "[--link | --move] DIR FILE.sst...",
		.summary = "Add finished tables, all or none, to a plain store",
		.example = "cairn ingest --move /srv/app part1.sst part2.sst",
		.min_args = 2,
		.max_args = -1,
	};
	bool link = false, move = false;
	const struct cmd_opt opts[] = {
		{ "link", 0, CMD_FLAG, &link, NULL,
		  "make links rather than copies: the files must not change" },
		{ "move", 0, CMD_FLAG, &move, NULL,
		  "the same, and remove the names given" },
		{ 0 },
	};
	struct cairn_ingest_options o = { CAIRN_INGEST_COPY };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (link && move)
		return cmd_fail(c, EXIT_USAGE, "give either --link or --move");
	if (link)
		o.mode = CAIRN_INGEST_LINK;
	if (move)
		o.mode = CAIRN_INGEST_MOVE;
	if (open_with_paths(c,
			    link   ? "--link"
			    : move ? "--move"
				   : NULL,
			    argv + 1, n - 1, &status))
		return status;
	status = need_plain(c);
	if (status)
		return cmd_close(c, status);
	err = cmd_may_grow(c);
	if (!err)
		err = mvcc_ingest(c->m, (const char *const *)(argv + 2),
				  (size_t)n - 1, &o);
	if (err)
		status = cmd_fail_code(c, err, NULL);
	return cmd_close(c, status);
}
