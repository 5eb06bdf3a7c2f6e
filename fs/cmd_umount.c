/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/cmd/cmd.h"
#include "fs/mount/mounts.h"

#define WAIT_S        60
#define HOLDERS_SHOWN 8

static const char help_text[] =
	"usage: cairn umount [--force] [--wait N] MNT\n"
	"End a mount: commit and sync what is open, and return when the "
	"daemon\n"
	"is gone.\n"
	"\n"
	"options:\n"
	"      --force   take it away although it is in use\n"
	"      --wait N  wait at most N seconds for the daemon (60)\n"
	"\n"
	"example: cairn umount /mnt/app\n"
	"\n"
	"exit: 0 gone, 2 usage, 3 no mount there, or the system refused,\n"
	"      4 in use, or the daemon is not gone in time\n";

struct request {
	const char *shown;
	bool force;
	long wait_s;
};

/* -1 to go on, or the exit status. */
static int parse(struct request *r, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "wait", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char *end;
	int c;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "f", longs, NULL)) != -1) {
		if (c == 'f') {
			r->force = true;
		} else if (c == 'w') {
			r->wait_s = strtol(optarg, &end, 10);
			if (*end || end == optarg || r->wait_s < 0) {
				fprintf(stderr,
					"cairn umount: --wait %s: not a number "
					"of seconds\n",
					optarg);
				return EXIT_USAGE;
			}
		} else if (c == 'h') {
			fputs(help_text, stdout);
			return EXIT_YES;
		} else {
			fprintf(stderr,
				"cairn umount: %s: no such option; see cairn "
				"umount --help\n",
				argv[optind - 1]);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1) {
		fputs("cairn umount: one MNT is needed; usage: cairn umount "
		      "[--force] [--wait N] MNT\n",
		      stderr);
		return EXIT_USAGE;
	}
	r->shown = argv[optind];
	return -1;
}

/* ---------------------------------------------------------- who is in it */

static bool link_is_below(const char *link, const char *mnt)
{
	char target[PATH_MAX];
	size_t len = strlen(mnt);
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return !strncmp(target, mnt, len) &&
	       (target[len] == '/' || target[len] == '\0');
}

static bool has_file_below(const char *pid, const char *mnt)
{
	static const char *const links[] = { "cwd", "root", "exe" };
	char path[PATH_MAX];
	struct dirent *e;
	bool found = false;
	DIR *d;

	for (size_t i = 0; i < 3 && !found; i++) {
		snprintf(path, sizeof(path), "/proc/%.32s/%s", pid, links[i]);
		found = link_is_below(path, mnt);
	}
	snprintf(path, sizeof(path), "/proc/%.32s/fd", pid);
	d = found ? NULL : opendir(path);
	while (d && !found && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%.32s/fd/%.32s", pid,
			 e->d_name);
		found = link_is_below(path, mnt);
	}
	if (d)
		closedir(d);
	return found;
}

static void print_holder(const char *pid)
{
	char path[64], name[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.32s/comm", pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(name, sizeof(name), f))
			name[0] = '\0';
		fclose(f);
	}
	name[strcspn(name, "\n")] = '\0';
	fprintf(stderr, " %s (%s)", pid, name);
}

static void print_holders(const char *mnt)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0;

	while (d && n < HOLDERS_SHOWN && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]) ||
		    !has_file_below(e->d_name, mnt))
			continue;
		if (n++ == 0)
			fputs("cairn umount: used by", stderr);
		print_holder(e->d_name);
	}
	if (n)
		fputc('\n', stderr);
	if (d)
		closedir(d);
}

/* ------------------------------------------------------------ the unmount */

/* Until nobody holds the store in dir. */
static int wait_for_end(const struct request *r, const char *dir)
{
	struct cairn_holder *h = malloc(sizeof(*h));
	const struct timespec pause = { .tv_nsec = 2000000 };
	struct timespec start, now;
	int status = EXIT_YES;

	if (!h)
		return EXIT_SYSTEM;
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (cairn_lock_holder(dir, h) == CAIRN_OK) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= r->wait_s) {
			fprintf(stderr,
				"cairn umount: %s: unmounted, but the daemon, "
				"pid %ld, is still at work\n",
				r->shown, h->pid);
			status = EXIT_BUSY;
			break;
		}
		nanosleep(&pause, NULL);
	}
	free(h);
	return status;
}

static int tell(const struct request *r, const char *mnt, int err)
{
	fprintf(stderr, "cairn umount: %s: cannot unmount: %s\n", r->shown,
		strerror(err));
	if (err != EBUSY)
		return EXIT_SYSTEM;
	print_holders(mnt);
	fprintf(stderr, "hint: cairn umount --force %s\n", r->shown);
	return EXIT_BUSY;
}

static int end_mount(const struct request *r, const char *mnt)
{
	char *type, *source;
	int status = EXIT_SYSTEM, err;

	if (!mounts_find(mnt, &type, &source) || !type || !source ||
	    strcmp(type, MOUNTS_TYPE) != 0) {
		fprintf(stderr, "cairn umount: %s: no store is mounted there\n",
			r->shown);
	} else {
		err = mounts_unmount(mnt, r->force);
		status = err ? tell(r, mnt, err) : wait_for_end(r, source);
	}
	free(type);
	free(source);
	return status;
}

int cmd_umount(int argc, char **argv)
{
	struct request r = { .wait_s = WAIT_S };
	char *mnt;
	int status = parse(&r, argc, argv);

	if (status >= 0)
		return status;
	mnt = realpath(r.shown, NULL);
	if (!mnt) {
		fprintf(stderr, "cairn umount: %s: cannot find it: %s\n",
			r.shown, strerror(errno));
		return EXIT_SYSTEM;
	}
	status = end_mount(&r, mnt);
	free(mnt);
	return status;
}
