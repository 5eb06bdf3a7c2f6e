/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The past as directories: revs/, where every decimal revision is the tree of
 * keys at that time and those pinned are listed, revs/at/, where every time is
 * a link to the revision of then, and history/, where every key is a directory
 * of its versions. Functions return 0 or an errno.
 *
 * A revision that is open stays readable; one that is only remembered by the
 * kernel does not.
 */
#ifndef CAIRN_FS_REVDIR_H
#define CAIRN_FS_REVDIR_H

#include "fs/mount/rowref.h"
#include "fs/mount/tree.h"

/* A positive decimal number without leading zeros. */
bool revdir_parse_rev(struct cairn_slice s, int64_t *rev);
/* Names in revs/ that are no revisions: no pin may have them. */
bool revdir_is_reserved(struct cairn_slice name);

/* The names in revs/ or revs/at/, each as varint32 length and bytes. */
int revdir_names(struct tree *t, struct inode *i, struct buf *out);

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
