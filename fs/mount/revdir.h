/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The past as directories: revs/, where every decimal revision is the tree of
 * keys at that time, and history/, where every key is a directory of its
 * versions. Functions return 0 or an errno.
 *
 * A revision that is open stays readable; one that is only remembered by the
 * kernel does not.
 */
#ifndef CAIRN_FS_REVDIR_H
#define CAIRN_FS_REVDIR_H

#include "fs/mount/rowref.h"
#include "fs/mount/tree.h"

/* What name is in one of the kinds INODE_REVS, INODE_HIST_DIR, INODE_HIST_KEY:
 * an inode with a reference. Any path of directories exists below history/,
 * since all keys of one may be deleted. */
int revdir_lookup(struct tree *t, struct inode *dir, struct cairn_slice name,
		  struct inode **out);

/* Attributes of the kinds named here and in history/. */
int revdir_getattr(struct tree *t, struct inode *i, struct stat *st);

/* The target of a link of these kinds, appended to out. */
int revdir_readlink(struct tree *t, struct inode *i, struct buf *out);

/* A version in history/, kept while it is referenced. */
int revdir_row(struct tree *t, struct inode *i, struct rowref **out);

/* The names in history/<key>%@/, each as varint32 length and bytes. */
int revdir_versions(struct tree *t, struct inode *i, struct buf *out);

#endif
