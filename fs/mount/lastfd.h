/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a close(2) was the program's last word on a file.
 *
 * Closing any copy of a descriptor reaches the daemon, and shells make copies:
 * `echo x >k` opens k, copies the descriptor to 1, closes the first, and writes
 * only then. Nothing tells the daemon that a copy is left, but /proc does.
 */
#ifndef CAIRN_FS_LASTFD_H
#define CAIRN_FS_LASTFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Whether the process (or thread) has a descriptor of the file with that inode
 * number on that device, or might have: it is ending, or cannot be looked at.
 */
bool lastfd_may_have(pid_t pid, dev_t dev, uint64_t st_ino);

#endif
