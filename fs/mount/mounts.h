/* SPDX-License-Identifier: BSD-3-Clause */
/* Mounts as the system lists them, and taking them away. */
#ifndef CAIRN_FS_MOUNTS_H
#define CAIRN_FS_MOUNTS_H

#include <stdbool.h>

/* The type of our mounts in /proc/mounts. */
#define MOUNTS_TYPE "fuse.cairn"

/*
 * Whether something is mounted right at mnt, an absolute path without links.
 * *type and *source, from malloc, tell what; NULL without memory.
 */
bool mounts_find(const char *mnt, char **type, char **source);

/*
 * Unmount mnt, as root or through fusermount3. lazy: also when it is busy or
 * dead. 0 or an errno: EBUSY when it is in use. What fusermount3 prints is
 * dropped.
 */
int mounts_unmount(const char *mnt, bool lazy);

#endif
