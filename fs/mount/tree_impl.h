/* SPDX-License-Identifier: BSD-3-Clause */
/* What tree.c, tree_change.c and rename.c share. */
#ifndef CAIRN_FS_TREE_IMPL_H
#define CAIRN_FS_TREE_IMPL_H

#include "fs/mount/tree.h"

#define TREE_LINK_MAX 4095u /* bytes of a symlink's target */

/* Now, by the clock on the wall. */
int64_t tree_now_ns(void);
/* Of what says nothing. */
mode_t tree_default_mode(const struct tree *t, enum mvcc_type type);

/* What a name in a directory stands for. */
struct tree_target {
	enum name_kind kind; /* NAME_PART, NAME_CUT or NAME_VALUE */
	struct buf key;      /* the key it is, or for a cut, a part of it */
	size_t dir_len;      /* of key: the directory */
	bool dir_gone;       /* the directory itself is removed */
};

/* EINVAL when the name is of no key, ENAMETOOLONG when the key would be. */
int tree_target(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct tree_target *out);
void tree_target_fini(struct tree_target *g);

static inline struct cairn_slice tree_target_dir(const struct tree_target *g)
{
	return slice_of(g->key.data, g->dir_len);
}

static inline struct cairn_slice tree_target_part(const struct tree_target *g)
{
	return slice_of(g->key.data + g->dir_len, g->key.len - g->dir_len);
}

/* What there is under that name. */
struct tree_found {
	bool file;
	bool dir;
	bool has_record;
	struct keyfile_stat file_st; /* when file */
	struct keyfile_stat dir_st;  /* when dir */
};
/* 0 also when there is nothing. rev 0: now, with what is uncommitted. */
int tree_find(struct tree *t, int64_t rev, const struct tree_target *g,
	      struct tree_found *out);

/* The inode that a found thing is, with a reference; a directory hides the file
 * beside it. */
int tree_inode_of(struct tree *t, int64_t rev, struct tree_target *g,
		  const struct tree_found *f, struct inode **out);
/* The keyfile of i, loaded without names, which the caller may have or not, but
 * becoming i's with names: who renames or removes relies on those it saw. */
int tree_file_of(struct tree *t, struct inode *i, bool have_names,
		 struct keyfile **out);

/* Of tree.moves: where the renames of a file with that key are counted. */
unsigned tree_part(struct cairn_slice key);

void tree_lock(struct tree *t);
void tree_unlock(struct tree *t);

/* A transaction of ours; and its commit. */
int tree_txn(struct tree *t, struct mvcc_txn **out);
int tree_commit(struct tree *t, struct mvcc_txn *txn);

/*
 * When the directory that key lies in would be left without anything, put a
 * record for it. except: a prefix whose keys go away, too (data NULL: none).
 */
int tree_keep_parent(struct tree *t, struct mvcc_txn *txn,
		     struct cairn_slice key, struct cairn_slice except);

/*
 * CAIRN_OK when the directory dir, with its '/', has anything: a key that is
 * created and not committed, or one in the store, leaving out its record.
 */
int tree_any_in(struct tree *t, struct cairn_slice dir, bool has_record);

/* The names in dir changed now. */
void tree_touch(struct inode *dir);

/* The inode of keys/ with that id and its keyfile, referenced, or NULLs. */
void tree_live(struct tree *t, enum inode_kind kind, struct cairn_slice id,
	       size_t dir_len, struct inode **i, struct keyfile **kf);

#endif
