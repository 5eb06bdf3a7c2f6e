/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/lastfd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/*
 * What the kernel remembers of the file, without asking anyone: the file system
 * that would be asked may be this very thread.
 */
static bool is_of(int dir, const char *name, dev_t dev, uint64_t st_ino,
		  bool *known)
{
	struct statx sx;

	if (statx(dir, name, AT_STATX_DONT_SYNC, STATX_INO, &sx))
		return false;
	*known = true;
	return sx.stx_ino == st_ino &&
	       makedev(sx.stx_dev_major, sx.stx_dev_minor) == dev;
}

bool lastfd_may_have(pid_t pid, dev_t dev, uint64_t st_ino)
{
	bool found = false, known = false;
	struct dirent *e;
	char path[64];
	DIR *d;

	if (pid <= 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	d = opendir(path);
	if (!d)
		return true;
	while (!found && (e = readdir(d)))
		if (e->d_name[0] != '.')
			found = is_of(dirfd(d), e->d_name, dev, st_ino, &known);
	closedir(d);
	/* No descriptor at all: the process is ending. */
	return found || !known;
}
