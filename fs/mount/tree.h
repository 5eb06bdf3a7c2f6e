/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys as a tree of files: keys/, which can be changed, and the same as of
 * a revision below revs/.
 *
 * Functions return 0 or an errno. Changes of names are made one after the
 * other, under one lock, so that what was looked at is still so when it is
 * committed.
 */
#ifndef CAIRN_FS_TREE_H
#define CAIRN_FS_TREE_H

#include <sys/stat.h>

#include "engine/base/sync.h"
#include "fs/mount/inode.h"
#include "fs/mount/keyfile.h"
#include "fs/text/name.h"

/* Renaming a directory of more keys or bytes than this is left to mv. */
#define TREE_RENAME_KEYS_MAX  10000u
#define TREE_RENAME_BYTES_MAX (64u << 20)

struct pins;

struct tree_options {
	uid_t uid; /* of files that say nothing */
	gid_t gid;
	mode_t umask;
	bool sync; /* changes wait for the disk */
	bool flat; /* keys/ is the top of the mount: see name.h */
	const void *origin;
	/* Around what may take long; may be NULL. */
	void *ctx;
	void (*wait_begin)(void *ctx);
	void (*wait_end)(void *ctx);
};

#define TREE_PARTS 64u /* of keys, by hash */

/* What may give an inode a key that it had, or has not yet. */
struct tree_renames {
	unsigned all;
	unsigned one;
	unsigned part; /* of the key */
};

struct tree {
	struct mvcc *m;
	struct inodes *inodes;
	struct keyfiles *ks;
	struct tree_options o;
	struct pins *pins; /* of whoever made the tree; for revs/ */
	int64_t born_ns;
	struct mutex names; /* one change of names at a time */
	/* Renames begun plus renames ended: odd during one. Who finds an inode
	 * without names looks whether it was the same before and after. Of a
	 * file it is told to those who look for its old or its new key, or one
	 * of the same part; of a directory, to all. */
	_Atomic unsigned renames;
	_Atomic unsigned moves[TREE_PARTS];
	/* Attributes of keys/ itself, for as long as it is mounted: no key
	 * could hold them. Guarded by names. */
	struct keyfile_stat top;
};

void tree_init(struct tree *t, struct mvcc *m, struct inodes *inodes,
	       struct keyfiles *ks, const struct tree_options *o);
void tree_fini(struct tree *t);

/* flat_top of name.h in the directory whose id, or prefix, has len bytes. */
static inline bool tree_flat_top(const struct tree *t, size_t len)
{
	return t->o.flat && len == 0;
}

/* Who makes something, and how. */
struct tree_maker {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/*
 * The name in directory dir: an inode with a reference, and its attributes.
 */
int tree_lookup(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct inode **out, struct stat *st);

/*
 * The inode with that id, with a reference, of an entry of a directory. EAGAIN:
 * it was renamed after tree_renames() of its key was r, so that the id may be
 * of the past.
 * *open: it has a keyfile.
 */
struct tree_renames tree_renames(const struct tree *t, struct cairn_slice key);
int tree_inode(struct tree *t, const struct tree_renames *r,
	       const struct inode_id *id, struct inode **out, bool *open);

int tree_getattr(struct tree *t, struct inode *i, struct stat *st);

/* st for attributes as keyfile.h tells them. changed_ns: of a directory. */
void tree_fill_stat(const struct tree *t, const struct keyfile_stat *ks,
		    uint64_t ino, int64_t changed_ns, struct stat *st);
/* What a directory without a record looks like. */
struct keyfile_stat tree_plain_dir(const struct tree *t);

/* The keyfile of a file or directory of keys/, with a reference. */
int tree_file(struct tree *t, struct inode *i, struct keyfile **out);

/*
 * The file name in dir for writing, made when it does not exist (EEXIST with
 * excl when it does): its inode and keyfile, with references. It is committed
 * by the caller, or by closing it.
 */
int tree_create(struct tree *t, struct inode *dir, struct cairn_slice name,
		const struct tree_maker *by, bool excl, struct inode **out,
		struct keyfile **kf);
int tree_mkdir(struct tree *t, struct inode *dir, struct cairn_slice name,
	       const struct tree_maker *by);
int tree_symlink(struct tree *t, struct inode *dir, struct cairn_slice name,
		 struct cairn_slice target, const struct tree_maker *by);
int tree_unlink(struct tree *t, struct inode *dir, struct cairn_slice name);
int tree_rmdir(struct tree *t, struct inode *dir, struct cairn_slice name);

enum tree_rename_how {
	TREE_RENAME,
	TREE_RENAME_NOREPLACE,
	TREE_RENAME_EXCHANGE,
};
int tree_rename(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct inode *to_dir, struct cairn_slice to_name,
		enum tree_rename_how how);

/*
 * Set what mask (KEYFILE_*) names from st; the has_ fields are found here.
 * EPERM when a plain store would have to keep it.
 */
int tree_set_attrs(struct tree *t, struct inode *i, unsigned mask,
		   const struct keyfile_stat *st);

/* The target of a symlink, appended to out. */
int tree_readlink(struct tree *t, struct inode *i, struct buf *out);

#endif
