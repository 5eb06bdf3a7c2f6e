/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* Paths in /proc/mounts are escaped: four times their length at most. */
#define LINE_MAX_LEN 32768

extern char **environ;

bool mounts_find(const char *mnt, char **type, char **source)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	char *line = malloc(LINE_MAX_LEN);
	struct mntent m;
	bool found = false;

	*type = NULL;
	*source = NULL;
	while (f && line && getmntent_r(f, &m, line, LINE_MAX_LEN)) {
		if (strcmp(m.mnt_dir, mnt) != 0)
			continue;
		/* The last one lies on top. */
		free(*type);
		free(*source);
		*type = strdup(m.mnt_type);
		*source = strdup(m.mnt_fsname);
		found = true;
	}
	free(line);
	if (f)
		endmntent(f);
	return found;
}

static int run_fusermount(const char *mnt, bool lazy)
{
	char prog[] = "fusermount3", u[] = "-u", z[] = "-z", dd[] = "--";
	char *path = strdup(mnt);
	char *argv[] = {
		prog, u, lazy ? z : dd, lazy ? dd : path, lazy ? path : NULL,
		NULL
	};
	posix_spawn_file_actions_t fa;
	int status = 0, err;
	pid_t pid;

	if (!path)
		return ENOMEM;
	err = posix_spawn_file_actions_init(&fa);
	if (err) {
		free(path);
		return err;
	}
	err = posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null",
					       O_WRONLY, 0);
	if (!err)
		err = posix_spawnp(&pid, prog, &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	free(path);
	if (err)
		return err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	/* It only says that it failed; being busy is the usual reason. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

int mounts_unmount(const char *mnt, bool lazy)
{
	if (geteuid() != 0)
		return run_fusermount(mnt, lazy);
	if (umount2(mnt, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return errno;
	return 0;
}
