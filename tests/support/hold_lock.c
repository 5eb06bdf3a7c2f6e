/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hold_lock FILE COMMAND...: run a command while the lock on FILE is held as
 * RocksDB holds LOCK, and end with its exit status. The command does not have
 * the lock: such locks are not passed on by fork(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "hold_lock: %s: %s\n", what, strerror(errno));
	return 125;
}

int main(int argc, char **argv)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd, status;
	pid_t child;

	if (argc < 3) {
		fputs("usage: hold_lock FILE COMMAND...\n", stderr);
		return 125;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_SETLK, &lock))
		return fail(argv[1]);
	child = fork();
	if (child < 0)
		return fail("fork");
	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(fail(argv[2]));
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return fail("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
