/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/forward.h"
#include "fs/stats/stats.h"

static const struct cmd_entry commands[] = {
	{ "init", cmd_init, true, "make an empty store" },
	{ "get", cmd_get, true, "write a value to standard output" },
	{ "put", cmd_put, true, "set a value" },
	{ "merge", cmd_merge, false, "merge an operand into a value" },
	{ "del", cmd_del, true, "delete keys" },
	{ "ls", cmd_ls, true, "list keys" },
	{ "history", cmd_history, true, "list the revisions of a key" },
	{ "lease", cmd_lease, false, "let keys end after a time" },
	{ "diff", cmd_diff, true, "list what differs between revisions" },
	{ "watch", cmd_watch, true, "print changes as they happen" },
	{ "txn", cmd_txn, false, "compare, then change, as one revision" },
	{ "dump", cmd_dump, false, "write all keys and values as text" },
	{ "load", cmd_load, false, "set keys from what dump wrote" },
	{ "stats", cmd_stats, true, "show what the store is doing" },
	{ "flush", cmd_flush, false, "write memtables to tables" },
	{ "compact", cmd_compact, false, "rewrite tables, freeing space" },
	{ "forget", cmd_forget, false, "drop old revisions" },
	{ "checkpoint", cmd_checkpoint, false, "copy the store by hard links" },
	{ "ingest", cmd_ingest, false, "add finished tables" },
	{ "import", cmd_import, false, "make a store of another program's" },
	{ "hash", cmd_hash, false, "print a fingerprint, to compare copies" },
	{ "verify", cmd_verify, false, "check every file" },
	{ "repair", cmd_repair, false, "save what can be read of a store" },
	{ "sst", cmd_sst, false, "show table files" },
	{ "wal", cmd_wal, false, "show logs" },
	{ "manifest", cmd_manifest, false, "show MANIFESTs" },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct cmd_entry *cmd_find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

const struct cmd_entry *cmd_at(size_t i)
{
	return i < N_COMMANDS ? &commands[i] : NULL;
}

/* -------------------------------------------------------------- messages */

int cmd_exit_of(int code)
{
	switch (code) {
	case CAIRN_OK:
		return EXIT_YES;
	case CAIRN_NOT_FOUND:
	case CAIRN_EABORTED:
		return EXIT_NO;
	case CAIRN_EINVAL:
		return EXIT_USAGE;
	case CAIRN_EBUSY:
	case CAIRN_ETIMEDOUT:
		return EXIT_BUSY;
	case CAIRN_ECORRUPT:
		return EXIT_DAMAGE;
	case CAIRN_ENOSPC:
	case CAIRN_EDQUOT:
		return EXIT_FULL;
	case CAIRN_ENOTSUP:
	case CAIRN_EKIND:
		return EXIT_NOTSUP;
	case CAIRN_EFORGOTTEN:
	case CAIRN_EFUTURE:
		return EXIT_REVISION;
	default:
		return EXIT_SYSTEM;
	}
}

int cmd_fail(struct cmd *c, int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(c->err, "cairn %s: ", c->name);
	va_start(ap, fmt);
	vfprintf(c->err, fmt, ap);
	va_end(ap);
	fputc('\n', c->err);
	return status;
}

void cmd_hint(struct cmd *c, const char *fmt, ...)
{
	va_list ap;

	fputs("hint: ", c->err);
	va_start(ap, fmt);
	vfprintf(c->err, fmt, ap);
	va_end(ap);
	fputc('\n', c->err);
}

/* Engine messages begin with the path they are about, or one below it. */
static bool begins_with_path(const char *what, const char *path)
{
	size_t len = strlen(path);

	return len && !strncmp(what, path, len) &&
	       (what[len] == ':' || what[len] == '/' || path[len - 1] == '/');
}

int cmd_fail_code(struct cmd *c, int code, const char *object)
{
	const char *what = cairn_errmsg();

	if (c->out_gone)
		return cmd_exit_of(code);
	if (!*what)
		what = cairn_strerror(code);
	if (!object || begins_with_path(what, object))
		return cmd_fail(c, cmd_exit_of(code), "%s", what);
	return cmd_fail(c, cmd_exit_of(code), "%s: %s", object, what);
}

/* --------------------------------------------------------------- streams */

/* EPIPE is no news: a reader that has seen enough went away, as head does. */
static int output_failed(struct cmd *c, int errno_value)
{
	c->out_gone = errno_value == EPIPE;
	return error_set(CAIRN_EIO, "standard output: %s",
			 strerror(errno_value));
}

int cmd_write(struct cmd *c, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (!len)
		return CAIRN_OK;
	if (fwrite(p, 1, len, c->out) != len)
		return output_failed(c, errno);
	c->last_byte = p[len - 1];
	return CAIRN_OK;
}

int cmd_printf(struct cmd *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Values and keys, which may be long, do not come this way. */
	if (len < 0 || (size_t)len >= sizeof(text))
		return error_set(CAIRN_EINVAL, "a line is too long");
	return cmd_write(c, text, (size_t)len);
}

int cmd_flush_output(struct cmd *c)
{
	return fflush(c->out) ? output_failed(c, errno) : CAIRN_OK;
}

int cmd_finish_output(struct cmd *c, int status)
{
	if (!fflush(c->out) && !ferror(c->out))
		return status;
	/* Of a failure before this one the message is out. */
	if (status != EXIT_YES && status != EXIT_NO)
		return status;
	return cmd_fail_code(c, output_failed(c, errno), NULL);
}

int cmd_read(struct cmd *c, void *dst, size_t len, size_t *got)
{
	size_t n = fread(dst, 1, len, c->in);

	if (n < len && ferror(c->in))
		return error_set(CAIRN_EIO, "standard input: %s",
				 strerror(errno));
	*got = n;
	return CAIRN_OK;
}

/* ---------------------------------------------------------------- stores */

static int engine_options(const struct cmd *c, enum cmd_access access,
			  struct cairn_options **out)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	if (!o)
		return error_nomem();
	err = cairn_options_set(o, "read_only",
				access == CMD_READ ? "true" : "false");
	if (!err && c->upgrade)
		err = cairn_options_set(o, "upgrade", "true");
	if (err)
		cairn_options_free(o);
	else
		*out = o;
	return err;
}

static int open_here(struct cmd *c, const char *dir, enum cmd_access access)
{
	struct mvcc_options mo = { .plain = true };
	struct cairn_options *o = NULL;
	int err;

	err = engine_options(c, access, &o);
	if (err)
		return err;
	mo.engine = o;
	err = mvcc_open(dir, &mo, &c->m);
	cairn_options_free(o);
	if (!err)
		c->dir = dir;
	return err;
}

/* CAIRN_OK: open; or in a mount, then *mount is malloc'ed. */
static int find_and_open(struct cmd *c, const char *dir, enum cmd_access access,
			 char **mount)
{
	int err = forward_find_mount(dir, mount, &c->own_dir);

	if (err != CAIRN_NOT_FOUND)
		return err;
	if (c->own_dir && access != CMD_READ)
		return error_set(CAIRN_EROFS, "%s: mounted read-only", dir);
	return open_here(c, c->own_dir ? c->own_dir : dir, access);
}

int cmd_open(struct cmd *c, const char *dir, enum cmd_access access,
	     int *status)
{
	char *mount = NULL;
	int err;

	*status = EXIT_YES;
	if (c->in_daemon)
		return 0;
	err = find_and_open(c, dir, access, &mount);
	if (err == CAIRN_EBUSY) {
		/* Somebody may have come between the look and the opening: who
		 * it is, or that it is a mount, a second look tells. */
		free(c->own_dir);
		err = find_and_open(c, dir, access, &mount);
	}
	if (!err && !mount)
		return 0;
	if (!err) {
		*status = forward_command(c, mount);
		free(mount);
		return -1;
	}
	*status = cmd_fail_code(c, err, dir);
	if (err == CAIRN_ENOENT)
		cmd_hint(c, "to make a store there: cairn init %s", dir);
	if (err == CAIRN_ENOTSUP && strstr(cairn_errmsg(), "(upgrade)"))
		cmd_hint(c, "--upgrade converts it, and LevelDB cannot open it "
			    "any more");
	if (err == CAIRN_EBUSY)
		cmd_hint(c, "a store in use can be worked only through a cairn "
			    "mount of it");
	return *status;
}

int cmd_locate(struct cmd *c, const char *dir, int *status)
{
	char *mount = NULL;
	int err;

	*status = EXIT_YES;
	if (c->in_daemon)
		return 0;
	err = forward_find_mount(dir, &mount, &c->own_dir);
	if (err == CAIRN_NOT_FOUND) {
		c->dir = c->own_dir ? c->own_dir : dir;
		return 0;
	}
	if (!err) {
		*status = forward_command(c, mount);
		free(mount);
		return -1;
	}
	*status = cmd_fail_code(c, err, dir);
	if (err == CAIRN_EBUSY)
		cmd_hint(c, "a store in use can be worked only through a cairn "
			    "mount of it");
	return *status;
}

int cmd_close(struct cmd *c, int status)
{
	int err = CAIRN_OK;

	if (c->in_daemon)
		return status;
	err = mvcc_close(c->m);
	c->m = NULL;
	if (err && status == EXIT_YES)
		status = cmd_fail_code(c, err, c->dir);
	return status;
}

int cmd_may_grow(struct cmd *c)
{
	return cairn_check_space(mvcc_db(c->m));
}

int cmd_check_cancel(const struct cmd *c)
{
	if (c->cancel && __atomic_load_n(c->cancel, __ATOMIC_RELAXED))
		return error_set(CAIRN_EABORTED, "interrupted");
	return CAIRN_OK;
}

int cmd_need_revisions(struct cmd *c)
{
	if (!mvcc_is_plain(c->m))
		return EXIT_YES;
	return cmd_fail(c, EXIT_NOTSUP,
			"%s: is a plain store, which keeps no revisions",
			c->dir);
}

int cmd_need_plain(struct cmd *c)
{
	if (mvcc_is_plain(c->m))
		return EXIT_YES;
	return cmd_fail(c, EXIT_NOTSUP,
			"%s: is a revision store; this works on plain ones",
			c->dir);
}
