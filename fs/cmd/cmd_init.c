/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/cmd/forward.h"

static const struct cmd_usage usage = {
	.synopsis = "[--plain] DIR",
	.summary = "Make an empty store in DIR, which must be absent or empty",
	.example = "cairn init /srv/app",
	.min_args = 1,
	.max_args = 1,
};

/*
 * A store among other files is nearly always a mistyped path. That there is a
 * store already is left for the engine to say.
 */
static int check_empty(const char *dir)
{
	const struct dirent *e;
	DIR *d = opendir(dir);
	bool other = false, store = false;
	int err;

	if (!d)
		return errno == ENOENT ? CAIRN_OK
				       : error_errno(errno, "cannot list", dir);
	errno = 0;
	while ((e = readdir(d))) {
		store |= !strcmp(e->d_name, "CURRENT");
		other |= strcmp(e->d_name, ".") != 0 &&
			 strcmp(e->d_name, "..") != 0 &&
			 strcmp(e->d_name, "lost+found") != 0;
		errno = 0;
	}
	err = errno ? error_errno(errno, "cannot list", dir) : CAIRN_OK;
	closedir(d);
	if (!err && other && !store)
		err = error_set(CAIRN_EEXIST,
				"%s: not empty, and holds no store", dir);
	return err;
}

static int make_plain(const char *dir, const struct cairn_options *o)
{
	struct cairn_db *db;
	int err = cairn_open(dir, o, &db);

	return err ? err : cairn_close(db);
}

static int make(struct cmd *c, const char *dir, bool plain)
{
	struct cairn_options *o = cairn_options_new();
	struct mvcc_options mo = { .engine = o };
	int err;

	if (!o)
		return error_nomem();
	err = cairn_options_set(o, "create_if_missing", "true");
	if (!err)
		err = cairn_options_set(o, "error_if_exists", "true");
	if (!err)
		err = plain ? make_plain(dir, o) : mvcc_open(dir, &mo, &c->m);
	cairn_options_free(o);
	return err;
}

int cmd_init(struct cmd *c, int argc, char **argv)
{
	bool plain = false;
	const struct cmd_opt opts[] = {
		{ "plain", 0, CMD_FLAG, &plain, NULL,
		  "table keys are the keys; no revisions" },
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (c->in_daemon || forward_is_mount(argv[1]))
		return cmd_fail(c, EXIT_SYSTEM,
				"%s: is a mounted store already", argv[1]);
	c->dir = argv[1];
	err = check_empty(argv[1]);
	if (!err)
		err = make(c, argv[1], plain);
	if (err)
		return cmd_fail_code(c, err, argv[1]);
	return cmd_close(c, EXIT_YES);
}
