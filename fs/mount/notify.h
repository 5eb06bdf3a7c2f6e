/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling the kernel what it remembers wrongly. It is let to remember names and
 * attributes for a day, because changes come through the mount; those that do
 * not (commands run in the daemon) are told from here. From a thread of its
 * own: the kernel may make it wait for locks that a request holds.
 */
#ifndef CAIRN_FS_NOTIFY_H
#define CAIRN_FS_NOTIFY_H

#include "fs/mount/inode.h"
#include "mvcc/mvcc.h"

struct fuse_session;
struct notify;

/* flat_top: keys/ when it is the top of the mount, else NULL. */
int notify_start(struct fuse_session *se, struct mvcc *m, struct inodes *inodes,
		 const struct inode *flat_top, struct notify **out);
/* The session is unmounted. NULL is allowed. */
void notify_stop(struct notify *n);

/* A key was changed by somebody else. Never waits. */
void notify_key(struct notify *n, struct cairn_slice key, bool deleted);
/* Any key may have changed. */
void notify_all(struct notify *n);
/* The cached bytes of i are old; or only its attributes. */
void notify_data(struct notify *n, struct inode *i);
void notify_attrs(struct notify *n, struct inode *i);

/* Return when the kernel was told all that was said before this call. */
void notify_drain(struct notify *n);

#endif
