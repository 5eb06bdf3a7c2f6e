/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mounted store: the FUSE session, the threads that serve it, and the one
 * that looks after what has to be done in time (commits of long writers and
 * of attributes, syncs, forgetting).
 */
#ifndef CAIRN_FS_MOUNT_H
#define CAIRN_FS_MOUNT_H

#include "fs/mount/mount_options.h"
#include "mvcc/mvcc.h"

struct eventlog;
struct mount;

/* What is mounted; all borrowed. */
struct mount_store {
	struct mvcc *m;
	const char *dir;         /* absolute */
	struct eventlog *events; /* of its engine */
};

/*
 * Mount a store at mnt (absolute, and borrowed). ended is
 * called on another thread when the mount was taken away from outside. When
 * this returns CAIRN_OK the mount answers. On failure nothing is left mounted.
 */
MUST_CHECK int mount_open(const struct mount_store *s, const char *mnt,
			  const struct mount_options *o,
			  void (*ended)(void *ctx), void *ctx,
			  struct mount **out);

/*
 * Let requests that are being answered end, commit and sync everything,
 * unmount. The failure of the commits; all is released whatever it returns.
 */
MUST_CHECK int mount_close(struct mount *mt);

#endif
