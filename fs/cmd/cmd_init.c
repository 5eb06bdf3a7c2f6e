/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/cmd/forward.h"

static const struct cmd_usage usage = {
	.synopsis = "[--plain] [-o NAME=VALUE,...] DIR",
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

/* The next of NAME=VALUE,NAME=VALUE; a comma between braces is of the value. */
static struct cairn_slice next_setting(const char **list)
{
	const char *start = *list;
	unsigned depth = 0;
	size_t len = 0;

	for (; start[len] && (depth || start[len] != ','); len++) {
		if (start[len] == '{')
			depth++;
		else if (start[len] == '}' && depth)
			depth--;
	}
	*list = start + len + (start[len] == ',');
	return slice_of(start, len);
}

/* Only what the store itself remembers: the rest is for whoever opens it. */
static int set_option(struct cairn_options *o, struct cairn_slice setting)
{
	static const char *const kept[] = { "merge_operator", "compression" };
	char *name = strndup((const char *)setting.data, setting.len);
	char *value = name ? strchr(name, '=') : NULL;
	bool known = false;
	int err;

	if (!name)
		return error_nomem();
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		known |= !strcmp(name, kept[i]);
	if (!value)
		err = error_set(CAIRN_EINVAL, "-o %s: no =VALUE", name);
	else if (!known)
		err = error_set(CAIRN_EINVAL,
				"-o %s: a store keeps only merge_operator and "
				"compression",
				name);
	else
		err = cairn_options_set(o, name, value);
	free(name);
	return err;
}

static int make_plain(const char *dir, const struct cairn_options *o)
{
	struct cairn_db *db;
	int err = cairn_open(dir, o, &db);

	return err ? err : cairn_close(db);
}

static int make(struct cmd *c, const char *dir, bool plain,
		const struct cairn_options *o)
{
	struct mvcc_options mo = { .engine = o };
	int err = check_empty(dir);

	if (err)
		return err;
	return plain ? make_plain(dir, o) : mvcc_open(dir, &mo, &c->m);
}

static int make_options(const char *settings, struct cairn_options **out)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	if (!o)
		return error_nomem();
	err = cairn_options_set(o, "create_if_missing", "true");
	if (!err)
		err = cairn_options_set(o, "error_if_exists", "true");
	while (!err && *settings)
		err = set_option(o, next_setting(&settings));
	if (err)
		cairn_options_free(o);
	else
		*out = o;
	return err;
}

int cmd_init(struct cmd *c, int argc, char **argv)
{
	struct cairn_options *o = NULL;
	const char *settings = "";
	bool plain = false;
	const struct cmd_opt opts[] = {
		{ "plain", 0, CMD_FLAG, &plain, NULL,
		  "table keys are the keys; no revisions" },
		{ "options", 'o', CMD_STRING, &settings, "NAME=VALUE,...",
		  "what the store keeps: merge_operator, compression" },
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (c->in_daemon || forward_is_mount(argv[1]))
		return cmd_fail(c, EXIT_SYSTEM,
				"%s: is a mounted store already", argv[1]);
	err = make_options(settings, &o);
	if (err)
		return cmd_fail_code(c, err, NULL);
	c->dir = argv[1];
	err = make(c, argv[1], plain, o);
	cairn_options_free(o);
	if (err)
		return cmd_fail_code(c, err, argv[1]);
	return cmd_close(c, EXIT_YES);
}
