/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inodes: what the kernel knows by number.
 *
 * An inode stands for one thing of the mount, told by its kind, its revision
 * (0: now) and its id: the bytes of the key or of the directory's prefix, or a
 * path for the control files. It lives as long as the kernel remembers it
 * (lookup counts), or somebody here refers to it. The number given to the
 * kernel for requests is the address; st_ino is a hash, unique among the live
 * ones, which stays through renames.
 *
 * The table has one lock, the last of the lock order: taken under every other
 * one, and nothing is taken under it.
 */
#ifndef CAIRN_FS_INODE_H
#define CAIRN_FS_INODE_H

#include <stdatomic.h>

#include "engine/base/slice.h"

enum inode_kind {
	INODE_VIRTUAL,      /* README, stats/, levels/, ctl/, the root: ctl.h */
	INODE_DIR,          /* of keys/ (rev 0) or revs/<rev>/ */
	INODE_FILE,         /* a key's value, or a symlink, in these */
	INODE_REVS,         /* revs/ */
	INODE_REV_LINK,     /* revs/latest, revs/oldest */
	INODE_HIST_DIR,     /* a directory of history/ */
	INODE_HIST_KEY,     /* history/<dir>/<key>%@/ */
	INODE_HIST_FILE,    /* a version in it */
	INODE_HIST_DELETED, /* "<rev>.deleted" */
	INODE_HIST_LINK,    /* "latest" */
};

struct keyfile;
struct inodes;

struct inode {
	/* Private to inode.c, under the table's lock. */
	struct inode *next_by_id;
	struct inode *next_by_ino;
	uint64_t hash;
	uint64_t n_lookups;   /* of the kernel */
	uint64_t n_refs;      /* ours */
	bool gone;            /* renamed over or unlinked: not found any more */
	struct keyfile *file; /* see inode_file() */
	uint64_t row_changes; /* see inode_where */

	/* Never change. */
	enum inode_kind kind;
	int64_t rev;
	uint64_t st_ino;

	/*
	 * For the directories of keys: the first dir_len bytes of id are the
	 * prefix up to a '/', what follows is the part of a long component
	 * that "%+" directories stand for. Change with renames, under the
	 * table's lock: see inode_copy_id().
	 */
	struct cairn_slice id;
	size_t dir_len;

	/* The newest change of the names in a directory, nanoseconds. */
	_Atomic int64_t changed_ns;
	/* Open handles whose pages the kernel caches, and whether those it
	 * has may be old. */
	_Atomic unsigned n_cached;
	_Atomic bool stale;
};

struct inode_id {
	enum inode_kind kind;
	int64_t rev;
	struct cairn_slice id;
	size_t dir_len;
};

int inodes_new(struct inodes **out);
/* All handles are gone; forgets what the kernel still remembers. */
void inodes_free(struct inodes *t);
uint64_t inodes_count(struct inodes *t);

/* What st_ino a thing has, or would get if it were looked up now. */
uint64_t inode_number(struct inodes *t, const struct inode_id *id);

/* Found or made, with a reference. CAIRN_ENOMEM. */
MUST_CHECK int inode_get(struct inodes *t, const struct inode_id *id,
			 struct inode **out);
/* The same, and whether it has a keyfile. */
MUST_CHECK int inode_get_open(struct inodes *t, const struct inode_id *id,
			      struct inode **out, bool *open);
/* Found, with a reference, or NULL. */
struct inode *inode_find(struct inodes *t, const struct inode_id *id);
void inode_ref(struct inodes *t, struct inode *i);
/* NULL is allowed. */
void inode_unref(struct inodes *t, struct inode *i);

/* The kernel learned of i once more; or it forgot n times. */
void inode_remember(struct inodes *t, struct inode *i);
void inode_forget(struct inodes *t, struct inode *i, uint64_t n);
/* inode_remember() and inode_unref(): i is the kernel's from here on. */
void inode_hand_over(struct inodes *t, struct inode *i);

/* The id of now in memory of its own; inode_where_fini() frees it. */
struct inode_where {
	struct cairn_slice id;
	size_t dir_len;
	bool gone; /* hidden */
	/* How often its key may have changed without a keyfile that would know:
	 * below, or by one that was dropped. */
	uint64_t row_changes;
};
MUST_CHECK int inode_copy_id(struct inodes *t, struct inode *i,
			     struct inode_where *out);
void inode_where_fini(struct inode_where *w);
/* Whether i still has that id, or is still gone. */
bool inode_is_at(struct inodes *t, struct inode *i,
		 const struct inode_where *w);

/* i is found no more: its name is free for another. */
void inode_hide(struct inodes *t, struct inode *i);

/*
 * Give i another id. Takes over the bytes of id, which come from malloc. What
 * had that id before is hidden.
 */
void inode_rename(struct inodes *t, struct inode *i, struct cairn_slice id,
		  size_t dir_len);

/*
 * The inodes of keys/ whose id is key or starts with prefix, with references,
 * in an array from malloc. CAIRN_ENOMEM.
 */
MUST_CHECK int inodes_below(struct inodes *t, struct cairn_slice prefix,
			    struct cairn_slice key, struct inode ***out,
			    size_t *n);

/*
 * The keyfile of i with a reference, or NULL. inode_set_file() gives it one
 * and takes over a reference, unless there is one already: then that one is
 * returned, referenced, and f is dropped. w: what f was loaded as; when that
 * is not so any more, f is dropped and the result is NULL. inode_drop_file()
 * takes it away again when nobody but the inode refers to it.
 */
struct keyfile *inode_file(struct inodes *t, struct inode *i);
/* inode_find(), and inode_file() of what was found, into *f. */
struct inode *inode_find_file(struct inodes *t, const struct inode_id *id,
			      struct keyfile **f);
struct keyfile *inode_set_file(struct inodes *t, struct inode *i,
			       struct keyfile *f, const struct inode_where *w);
void inode_drop_file(struct inodes *t, struct inode *i);

/* The key of i was changed in the store by somebody else. */
void inode_changed_below(struct inodes *t, struct inode *i);

#endif
