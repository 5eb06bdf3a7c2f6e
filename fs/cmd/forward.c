/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/forward.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/text/keytext.h"
#include "fs/text/name.h"

#define PIECE (64 * 1024)

/* As <linux/magic.h> of newer kernels names it. */
#define FUSE_SUPER_MAGIC 0x65735546

static char *path_below(const char *mount, const char *in, const char *name)
{
	struct buf path = { 0 };

	if (buf_printf(&path, "%s/%s%s%c", mount, in, name, 0)) {
		buf_fini(&path);
		return NULL;
	}
	return (char *)path.data;
}

/*
 * The path of what is no key in a mount, malloc'ed; NULL without memory. Where
 * the mount is flat, keys can have any name but that of the directory it is in.
 */
static char *control_path(const char *mount, const char *name)
{
	static const char flat[] = NAME_CONTROL "/";
	char *path = path_below(mount, flat, name);

	if (!path || !access(path, F_OK))
		return path;
	free(path);
	return path_below(mount, "", name);
}

/* The line that a one-value file of a mount holds, malloc'ed, or NULL. */
static char *read_line(const char *mount, const char *name)
{
	char *path = control_path(mount, name), *line = NULL;
	FILE *f = path ? fopen(path, "re") : NULL;
	size_t cap = 0;

	free(path);
	if (!f)
		return NULL;
	if (getline(&line, &cap, f) < 0) {
		free(line);
		line = NULL;
	}
	fclose(f);
	if (line)
		line[strcspn(line, "\n")] = '\0';
	return line;
}

/* As forward_is_mount(); tells whether it is read-only. */
static bool is_mount(const char *path, bool *read_only)
{
	struct stat top, run;
	struct statvfs vfs;
	struct statfs fs;
	char *p;
	bool yes;

	if (statfs(path, &fs) || fs.f_type != FUSE_SUPER_MAGIC ||
	    statvfs(path, &vfs))
		return false;
	p = control_path(path, "ctl/run");
	/* One device for both, or ctl/run is an ordinary file below a
	 * directory that just looks like a mount. */
	yes = p && !stat(path, &top) && !stat(p, &run) &&
	      top.st_dev == run.st_dev && S_ISREG(run.st_mode);
	*read_only = vfs.f_flag & ST_RDONLY;
	free(p);
	return yes;
}

bool forward_is_mount(const char *path)
{
	bool read_only;

	return is_mount(path, &read_only);
}

/* "pid N mount PATH since TIME": the PATH, malloc'ed; NULL when it has none. */
static char *mount_of_note(const char *note)
{
	const char *from = strstr(note, " mount ");
	const char *to = NULL;

	if (!from)
		return NULL;
	from += strlen(" mount ");
	/* The last " since ": a path may contain one. */
	for (const char *p = from; (p = strstr(p, " since ")); p++)
		to = p;
	return to ? strndup(from, (size_t)(to - from)) : NULL;
}

/*
 * Whether the daemon behind mount is the one that wrote note: another store may
 * be mounted there by now, above it.
 */
static bool is_mount_of(const char *mount, const char *note)
{
	long there = 0, noted = 0;
	char *line;

	if (!forward_is_mount(mount) || sscanf(note, "pid %ld", &noted) != 1)
		return false;
	line = read_line(mount, "stats/pid");
	if (line)
		there = strtol(line, NULL, 10);
	free(line);
	return there > 0 && there == noted;
}

/* Say who has dir: the holder's pid, its name when it can be told, and what it
 * left in LOCK. */
static int held(const char *dir, const struct cairn_holder *h,
		const char *mount)
{
	const char *since = strstr(h->note, " since ");
	char path[64], name[32] = "";
	FILE *f;

	if (mount)
		return error_set(
			CAIRN_EBUSY,
			"%s: in use by the mount at %s, pid %ld, which "
			"does not answer here",
			dir, mount, h->pid);
	snprintf(path, sizeof(path), "/proc/%ld/comm", h->pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(name, sizeof(name), f))
			*name = '\0';
		name[strcspn(name, "\n")] = '\0';
		fclose(f);
	}
	return error_set(CAIRN_EBUSY,
			 "%s: in use by another program, pid %ld%s%s%s%s", dir,
			 h->pid, *name ? " (" : "", name, *name ? ")" : "",
			 since ? since : "");
}

/* Of a mount that is read-only. */
static int find_data(const char *mount, char **data)
{
	char *line = read_line(mount, "stats/dir");
	struct buf path = { 0 };
	int err;

	if (!line)
		return error_set(CAIRN_EIO, "%s: cannot read stats/dir", mount);
	err = keytext_unescape(line, &path);
	if (!err)
		err = buf_append(&path, "", 1);
	free(line);
	if (err) {
		buf_fini(&path);
		return err;
	}
	*data = (char *)path.data;
	return CAIRN_NOT_FOUND;
}

static int find_holder(const char *dir, char **mount)
{
	struct cairn_holder *h = malloc(sizeof(*h));
	char *path;
	int err;

	if (!h)
		return error_nomem();
	err = cairn_lock_holder(dir, h);
	if (!err) {
		path = mount_of_note(h->note);
		if (path && is_mount_of(path, h->note)) {
			*mount = path;
		} else {
			err = held(dir, h, path);
			free(path);
		}
	}
	free(h);
	/* No such directory: opening it will say so better. */
	return err == CAIRN_ENOENT ? CAIRN_NOT_FOUND : err;
}

int forward_find_mount(const char *dir, char **mount, char **data)
{
	bool read_only;

	*data = NULL;
	if (!is_mount(dir, &read_only))
		return find_holder(dir, mount);
	if (read_only)
		return find_data(dir, data);
	*mount = strdup(dir);
	return *mount ? CAIRN_OK : error_nomem();
}

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---------------------------------------------------------- conversation */

/* The answer, read in large pieces. */
struct answer {
	int fd;
	struct cmd *c;
	size_t at; /* piece[at, len) is not yet looked at */
	size_t len;
	uint8_t piece[PIECE];
};

static int cut_short(void)
{
	return error_set(CAIRN_EIO, "the answer was cut short");
}

/* At most max bytes of the answer, at least one; they live until the next call.
 */
static int take_some(struct answer *a, size_t max, struct cairn_slice *out)
{
	ssize_t n;

	if (a->at == a->len) {
		/* What is there is to be seen before more is waited for. */
		int err = cmd_flush_output(a->c);

		if (err)
			return err;
		do
			n = read(a->fd, a->piece, sizeof(a->piece));
		while (n < 0 && errno == EINTR);
		if (n < 0 && (errno == ESHUTDOWN || errno == ENOTCONN ||
			      errno == ECONNABORTED))
			return error_set(CAIRN_EIO, "the mount has ended");
		if (n < 0)
			return error_set(CAIRN_EIO,
					 "cannot read the answer: %s",
					 strerror(errno));
		if (n == 0)
			return cut_short();
		a->at = 0;
		a->len = (size_t)n;
	}
	if (max > a->len - a->at)
		max = a->len - a->at;
	*out = slice_of(a->piece + a->at, max);
	a->at += max;
	return CAIRN_OK;
}

static int take_exactly(struct answer *a, uint8_t *dst, size_t len)
{
	struct cairn_slice some;

	while (len) {
		int err = take_some(a, len, &some);

		if (err)
			return err;
		memcpy(dst, some.data, some.len);
		dst += some.len;
		len -= some.len;
	}
	return CAIRN_OK;
}

/* Pass len bytes of the answer on. */
static int pass_on(struct cmd *c, struct answer *a, uint32_t len, bool to_err)
{
	struct cairn_slice some;
	int err = CAIRN_OK;

	while (len && !err) {
		err = take_some(a, len, &some);
		if (err)
			break;
		len -= (uint32_t)some.len;
		/* Nobody can be told that messages do not arrive. */
		if (to_err)
			(void)fwrite(some.data, 1, some.len, c->err);
		else
			err = cmd_write(c, some.data, some.len);
	}
	return err;
}

/* The answer's frames to where they belong. */
static int receive(struct cmd *c, struct answer *a, int *status)
{
	for (;;) {
		uint8_t head[5];
		uint32_t len;
		int err = take_exactly(a, head, sizeof(head));

		if (err)
			return err;
		len = load_le32(head + 1);
		if (head[0] == 'x' && len == 1) {
			err = take_exactly(a, head, 1);
			*status = head[0];
			return err;
		}
		if (head[0] != 'o' && head[0] != 'e')
			return error_set(CAIRN_EIO,
					 "the answer makes no sense");
		err = pass_on(c, a, len, head[0] == 'e');
		if (err)
			return err;
	}
}

static int send_failed(int errno_value)
{
	return error_set(error_code_of_errno(errno_value), "cannot send: %s",
			 strerror(errno_value));
}

static int send_head(struct cmd *c, int fd)
{
	struct buf head = { 0 };
	int err = buf_printf(&head, "%d%c", c->argc, 0);

	for (int i = 0; i < c->argc && !err; i++)
		err = buf_append(&head, c->argv[i], strlen(c->argv[i]) + 1);
	if (!err && write_all(fd, head.data, head.len))
		err = send_failed(errno);
	buf_fini(&head);
	return err;
}

/*
 * On failure the answer must not be asked for: asking tells the command that
 * its input is complete.
 */
static int send_input(struct cmd *c, int fd)
{
	uint8_t *piece = malloc(PIECE);
	size_t n;
	int err;

	if (!piece)
		return error_nomem();
	while (!(err = cmd_read(c, piece, PIECE, &n)) && n > 0) {
		if (!write_all(fd, piece, n))
			continue;
		/* The command has ended and wants no more: it will say why. */
		if (errno != EINVAL)
			err = send_failed(errno);
		break;
	}
	free(piece);
	return err;
}

static int converse(struct cmd *c, int fd, int *status)
{
	struct answer *a;
	int err = send_head(c, fd);

	if (!err && c->reads_input)
		err = send_input(c, fd);
	if (err)
		return err;
	a = malloc(sizeof(*a));
	if (!a)
		return error_nomem();
	a->fd = fd;
	a->c = c;
	a->at = a->len = 0;
	err = receive(c, a, status);
	free(a);
	return err;
}

int forward_command(struct cmd *c, const char *mount)
{
	char *path = control_path(mount, "ctl/run");
	int status = EXIT_SYSTEM, fd = -1, err;

	if (path) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		err = fd < 0 ? error_errno(errno, "cannot open", path)
			     : converse(c, fd, &status);
	} else {
		err = error_nomem();
	}
	if (err)
		status = cmd_fail_code(c, err, mount);
	if (fd >= 0)
		close(fd);
	free(path);
	return status;
}
