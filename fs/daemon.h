/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process behind a mount. It forks before it opens the store (threads do
 * not survive a fork), and the parent stays until the mount answers or has
 * failed, so that the exit status of `cairn mount` tells which.
 */
#ifndef CAIRN_FS_DAEMON_H
#define CAIRN_FS_DAEMON_H

#include "fs/mount/mount_options.h"

struct daemon_options {
	const char *dir; /* absolute, as mnt */
	const char *mnt;
	const char *shown_dir; /* as the user gave them, for messages */
	const char *shown_mnt;
	struct mount_options mount;
	bool create;     /* the store, when there is none */
	bool foreground; /* no fork */
	bool quiet;
	unsigned timeout_s; /* of the start */
};

/*
 * Mount, and with foreground, serve until it ends. Messages go to stderr, the
 * line about the success to stdout if that is a terminal. Returns the exit
 * status (cmd.h).
 */
int daemon_run(const struct daemon_options *o);

#endif
