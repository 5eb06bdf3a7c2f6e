/* SPDX-License-Identifier: BSD-3-Clause */
/* A new store of what another program keeps. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fs/cmd/cmd.h"
#include "fs/cmd/forward.h"
#include "mvcc/import.h"

static const struct cmd_usage usage = {
	.synopsis = "--from etcd [-v] SNAPSHOT DIR",
	.summary = "Make a revision store in DIR, which must be absent or "
		   "empty, of a snapshot of etcd",
	.example = "cairn import --from etcd backup.db /srv/app",
	.min_args = 2,
	.max_args = 2,
};

/* Seconds between two words about how far it is. */
#define PROGRESS_SECS 1

struct progress {
	FILE *out; /* NULL: nobody looks */
	struct timespec last;
	bool shown;
};

static bool show(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!p->out || now.tv_sec - p->last.tv_sec < PROGRESS_SECS)
		return true;
	p->last = now;
	p->shown = true;
	fprintf(p->out, "\r%3" PRIu64 " %%", 100 * done / total);
	fflush(p->out);
	return true;
}

/* The line goes when there is something to say, or nothing more. */
static void show_end(struct progress *p)
{
	if (p->shown)
		fputs("\r     \r", p->out);
}

/*
 * etcd holds a lock on the file that it has open, and writes to it. Where locks
 * are not to be had the reader finds out for itself, or is told by the manual.
 */
static int hold_file(struct cmd *c, const char *path, int *fd)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return cmd_fail(c, EXIT_SYSTEM, "%s: %s", path,
				strerror(errno));
	if (!flock(*fd, LOCK_SH | LOCK_NB) || errno != EWOULDBLOCK)
		return EXIT_YES;
	close(*fd);
	cmd_fail(c, EXIT_BUSY, "%s: in use, by a running etcd it seems", path);
	cmd_hint(c, "etcdctl snapshot save FILE makes a copy that can be "
		    "imported");
	return EXIT_BUSY;
}

static int print_report(struct cmd *c, const struct mvcc_import_report *r)
{
	return cmd_printf(c,
			  "revision %" PRId64 "\n"
			  "oldest %" PRId64 "\n"
			  "rows %" PRIu64 "\n"
			  "tombstones %" PRIu64 "\n"
			  "leases %" PRIu64 "\n"
			  "attached %" PRIu64 "\n"
			  "checksum %s\n",
			  r->current, r->forgotten > 1 ? r->forgotten : 1,
			  r->rows, r->tombstones, r->leases, r->attached,
			  r->checksum ? "verified" : "none");
}

/* What the caller would not expect of an import that worked. */
static void warn(struct cmd *c, const char *path,
		 const struct mvcc_import_report *r)
{
	if (r->snapshot_older)
		cmd_fail(c, EXIT_YES,
			 "%s: one of two meta pages is damaged, or was being "
			 "written: the last commit may be missing",
			 path);
	if (r->users)
		cmd_fail(c, EXIT_YES,
			 "%s: etcd's users and roles are left out; files have "
			 "owners and modes",
			 path);
}

static int import(struct cmd *c, const char *path, const char *dir,
		  bool verbose)
{
	struct progress p = { 0 };
	const struct mvcc_import_options o = { .progress = show, .ctx = &p };
	struct mvcc_import_report report;
	int err;

	if (isatty(fileno(c->err)))
		p.out = c->err;
	clock_gettime(CLOCK_MONOTONIC, &p.last);
	err = mvcc_import_etcd(path, dir, &o, &report);
	show_end(&p);
	if (!err) {
		warn(c, path, &report);
		if (verbose)
			err = print_report(c, &report);
	}
	/* Messages name the snapshot, or files of the store. */
	return err ? cmd_fail_code(c, err, NULL) : EXIT_YES;
}

int cmd_import(struct cmd *c, int argc, char **argv)
{
	const char *from = NULL;
	bool verbose = false;
	const struct cmd_opt opts[] = {
		{ "from", 0, CMD_STRING, &from, "KIND",
		  "what SNAPSHOT is of: etcd" },
		{ "verbose", 'v', CMD_FLAG, &verbose, NULL,
		  "print what was imported" },
		{ 0 },
	};
	int status, n, fd;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (!from || strcmp(from, "etcd") != 0)
		return cmd_fail(c, EXIT_USAGE,
				"--from %s: what can be imported is etcd",
				from ? from : "is missing");
	if (c->in_daemon || forward_is_mount(argv[2]))
		return cmd_fail(c, EXIT_SYSTEM,
				"%s: is a mounted store already", argv[2]);
	status = hold_file(c, argv[1], &fd);
	if (status)
		return status;
	status = import(c, argv[1], argv[2], verbose);
	close(fd);
	return status;
}
