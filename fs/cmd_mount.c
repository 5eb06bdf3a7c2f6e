/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/daemon.h"
#include "fs/mount/mounts.h"

#define TIMEOUT_S 90

static const char help_text[] =
	"usage: cairn mount [-o OPT,...] [--create] [-f] [-r] [-q] DIR MNT\n"
	"Show the store in DIR as files below MNT.\n"
	"\n"
	"options:\n"
	"  -o OPT,...        ro, memory=SIZE, quota=SIZE, "
	"sync=always|fsync|TIME,\n"
	"                    commit=TIME, history=all|N|TIME, uid=, gid=, "
	"umask=,\n"
	"                    allow_other, threads=N, slow=TIME, "
	"max_value=SIZE,\n"
	"                    nonempty, debug, and every option of the engine\n"
	"      --create      make the store when there is none\n"
	"  -f, --foreground  stay in the foreground\n"
	"  -r, --read-only   the same as -o ro\n"
	"      --upgrade     make a LevelDB directory RocksDB's, to write to "
	"it\n"
	"  -d                the same as -o debug -f\n"
	"  -q, --quiet       print nothing when it worked\n"
	"      --timeout N   give up starting after N seconds (90)\n"
	"\n"
	"example: cairn mount --create -o memory=256M /srv/app /mnt/app\n"
	"\n"
	"exit: 0 mounted, 2 usage, 3 system, 4 in use, 5 damage, 6 full,\n"
	"      7 not supported\n";

struct request {
	struct daemon_options d;
	char *dir; /* absolute; malloc'ed */
	char *mnt;
};

__attribute__((format(printf, 2, 3))) static int fail(int status,
						      const char *fmt, ...)
{
	va_list ap;

	fputs("cairn mount: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

/* ---------------------------------------------------------- command line */

enum { OPT_CREATE = 256, OPT_TIMEOUT, OPT_UPGRADE, OPT_HELP };

static const struct option longs[] = {
	{ "create", no_argument, NULL, OPT_CREATE },
	{ "upgrade", no_argument, NULL, OPT_UPGRADE },
	{ "foreground", no_argument, NULL, 'f' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int take_option(struct request *r, int c)
{
	char *end;
	long n;

	switch (c) {
	case 'o':
		if (mount_options_parse(&r->d.mount, optarg))
			return fail(EXIT_USAGE, "%s", cairn_errmsg());
		return -1;
	case OPT_CREATE:
		r->d.create = true;
		return -1;
	case OPT_UPGRADE:
		if (mount_options_parse(&r->d.mount, "upgrade"))
			return fail(EXIT_SYSTEM, "%s", cairn_errmsg());
		return -1;
	case 'd':
		r->d.mount.debug = true;
		return -1;
	case 'f':
		r->d.foreground = true;
		return -1;
	case 'r':
		r->d.mount.read_only = true;
		return -1;
	case 'q':
		r->d.quiet = true;
		return -1;
	case OPT_TIMEOUT:
		n = strtol(optarg, &end, 10);
		if (*end || end == optarg || n < 1 || n > 86400)
			return fail(EXIT_USAGE,
				    "--timeout %s: not a number "
				    "of seconds",
				    optarg);
		r->d.timeout_s = (unsigned)n;
		return -1;
	case 'n':
	case 's':
	case 'v':
	case 't':
		return -1; /* of mount(8): nothing to do */
	case OPT_HELP:
		fputs(help_text, stdout);
		return EXIT_YES;
	default:
		return fail(EXIT_USAGE,
			    "%s: no such option; see cairn mount --help",
			    optopt && optopt < 256
				    ? (char[]){ '-', (char)optopt, 0 }
				    : "command line");
	}
}

/* -1 to go on, or the exit status. */
static int parse(struct request *r, int argc, char **argv)
{
	int c, status;

	optind = 0; /* glibc: forget all of a parse before */
	opterr = 0;
	while ((c = getopt_long(argc, argv, "o:dfrqnsvt:", longs, NULL)) !=
	       -1) {
		if (c == '?' && argv[optind - 1] && !optopt)
			return fail(EXIT_USAGE,
				    "%s: no such option; see cairn mount "
				    "--help",
				    argv[optind - 1]);
		status = take_option(r, c);
		if (status >= 0)
			return status;
	}
	if (argc - optind != 2)
		return fail(EXIT_USAGE,
			    "%s; usage: cairn mount [-o OPT,...] "
			    "[--create] DIR MNT",
			    argc - optind < 2 ? "DIR and MNT are needed"
					      : "too many operands");
	if (r->d.mount.debug)
		r->d.foreground = true;
	if (r->d.create && r->d.mount.read_only)
		return fail(EXIT_USAGE, "--create and ro exclude each other");
	r->d.shown_dir = argv[optind];
	r->d.shown_mnt = argv[optind + 1];
	return -1;
}

/* ------------------------------------------------------------------ paths */

/* The absolute form of a path whose last part may be missing. */
static char *absolute(const char *path)
{
	char *copy, *slash, *parent, *out = NULL;
	size_t len = strlen(path);

	parent = realpath(path, NULL);
	if (parent || errno != ENOENT)
		return parent;
	copy = strdup(path);
	if (!copy)
		return NULL;
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (slash)
		*slash = '\0';
	parent = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
	if (parent && asprintf(&out, "%s/%s", strcmp(parent, "/") ? parent : "",
			       slash ? slash + 1 : copy) < 0)
		out = NULL;
	free(parent);
	free(copy);
	return out;
}

static bool lies_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return !strncmp(path, top, len) &&
	       (path[len] == '/' || path[len] == '\0' || !strcmp(top, "/"));
}

static int check_dir(struct request *r)
{
	struct stat st;

	r->dir = absolute(r->d.shown_dir);
	if (!r->dir)
		return fail(EXIT_SYSTEM, "%s: cannot find it: %s",
			    r->d.shown_dir, strerror(errno));
	if (stat(r->dir, &st)) {
		if (errno == ENOENT && r->d.create)
			return -1;
		fail(EXIT_SYSTEM, "%s: cannot open: %s", r->d.shown_dir,
		     strerror(errno));
		if (errno == ENOENT)
			fputs("hint: --create makes it\n", stderr);
		return EXIT_SYSTEM;
	}
	if (!S_ISDIR(st.st_mode))
		return fail(EXIT_SYSTEM, "%s: cannot open: not a directory",
			    r->d.shown_dir);
	return -1;
}

/* A mount whose daemon died is in the way of its successor: take it away. */
static int clear_dead(struct request *r)
{
	char *type, *source;
	bool found = mounts_find(r->mnt, &type, &source);
	bool ours = found && type && !strcmp(type, MOUNTS_TYPE) && source &&
		    !strcmp(source, r->dir);
	int err = 0;

	if (ours)
		err = mounts_unmount(r->mnt, true);
	if (!ours)
		fail(EXIT_SYSTEM, "%s: a dead mount of %s is in the way: %s",
		     r->d.shown_mnt, source ? source : "something else",
		     strerror(ENOTCONN));
	else if (err)
		fail(EXIT_SYSTEM, "%s: cannot take the dead mount away: %s",
		     r->d.shown_mnt, strerror(err));
	else if (!r->d.quiet)
		fprintf(stderr,
			"cairn mount: %s: took away the dead mount of %s\n",
			r->d.shown_mnt, r->d.shown_dir);
	if (!ours)
		fprintf(stderr, "hint: fusermount3 -u -z %s\n", r->d.shown_mnt);
	free(type);
	free(source);
	return ours && !err ? -1 : EXIT_SYSTEM;
}

/*
 * Whether the daemon behind path is gone. Only a request tells: attributes may
 * be cached, and while the daemon dies requests are aborted rather than
 * refused.
 */
static bool is_dead(const char *path)
{
	DIR *d = opendir(path);

	if (d) {
		closedir(d);
		return false;
	}
	return errno == ENOTCONN || errno == ECONNABORTED;
}

static bool is_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool empty = true;

	while (d && empty && (e = readdir(d)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	if (d)
		closedir(d);
	return empty;
}

static int check_mnt(struct request *r)
{
	struct stat st;
	int status;

	r->mnt = realpath(r->d.shown_mnt, NULL);
	if (!r->mnt)
		return fail(EXIT_SYSTEM, "%s: cannot mount there: %s",
			    r->d.shown_mnt, strerror(errno));
	/* One may lie on another. */
	while (is_dead(r->mnt)) {
		status = clear_dead(r);
		if (status >= 0)
			return status;
	}
	if (stat(r->mnt, &st))
		return fail(EXIT_SYSTEM, "%s: cannot mount there: %s",
			    r->d.shown_mnt, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return fail(EXIT_SYSTEM,
			    "%s: cannot mount there: not a directory",
			    r->d.shown_mnt);
	if (lies_below(r->dir, r->mnt) || lies_below(r->mnt, r->dir))
		return fail(EXIT_USAGE,
			    "%s: cannot mount there: it and %s lie in one "
			    "another",
			    r->d.shown_mnt, r->d.shown_dir);
	if (!r->d.mount.nonempty && !is_empty(r->mnt)) {
		fail(EXIT_SYSTEM, "%s: cannot mount there: not empty",
		     r->d.shown_mnt);
		fputs("hint: -o nonempty hides what is there\n", stderr);
		return EXIT_SYSTEM;
	}
	return -1;
}

static bool users_may_allow_others(void)
{
	FILE *f = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool yes = false;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\r\n")] = '\0';
		yes |= !strcmp(line, "user_allow_other");
	}
	if (f)
		fclose(f);
	return yes;
}

static int check_fuse(const struct request *r)
{
	int fd;

	if (r->d.mount.allow_other && geteuid() != 0 &&
	    !users_may_allow_others()) {
		fail(EXIT_SYSTEM, "-o allow_other: not for you: /etc/fuse.conf "
				  "does not say user_allow_other");
		fputs("hint: root can add the line user_allow_other to it\n",
		      stderr);
		return EXIT_SYSTEM;
	}
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		fail(EXIT_SYSTEM, "/dev/fuse: cannot open: %s",
		     strerror(errno));
		if (errno == ENOENT || errno == ENODEV)
			fputs("hint: modprobe fuse\n", stderr);
		return EXIT_SYSTEM;
	}
	close(fd);
	return -1;
}

/*
 * A holder that is known saves opening anything. One that was killed a moment
 * ago lets go when the system has cleaned up behind it.
 */
static int check_holder(const struct request *r)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	struct cairn_holder *h = malloc(sizeof(*h));
	bool held = !r->d.mount.read_only;
	int status = -1;

	if (!h)
		return fail(EXIT_SYSTEM, "out of memory");
	for (int tries = 20; held && tries > 0; tries--) {
		held = cairn_lock_holder(r->dir, h) == CAIRN_OK;
		if (held)
			nanosleep(&pause, NULL);
	}
	if (held) {
		h->note[strcspn(h->note, "\n")] = '\0';
		status = fail(EXIT_BUSY, "%s: in use by another process%s%s",
			      r->d.shown_dir, *h->note ? ": " : "", h->note);
	}
	free(h);
	return status;
}

int cmd_mount(int argc, char **argv)
{
	struct request r = { 0 };
	int status;

	r.d.timeout_s = TIMEOUT_S;
	mount_options_init(&r.d.mount);
	status = parse(&r, argc, argv);
	if (status < 0)
		status = check_dir(&r);
	if (status < 0)
		status = check_holder(&r);
	if (status < 0)
		status = check_mnt(&r);
	if (status < 0)
		status = check_fuse(&r);
	if (status < 0) {
		r.d.dir = r.dir;
		r.d.mnt = r.mnt;
		status = daemon_run(&r.d);
	}
	free(r.dir);
	free(r.mnt);
	mount_options_fini(&r.d.mount);
	return status;
}
