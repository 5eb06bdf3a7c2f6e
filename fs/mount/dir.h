/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open directory: its entries in order, each with a cookie that stays good
 * while names come and go.
 *
 * Directories of keys are listed as of the moment they were opened (or rewound)
 * by walking the store, a seek or two per name. The cookie is the number of the
 * entry; where each reply to the kernel ended is remembered, so that going back
 * to a cookie is a new walk from the nearest such place. Files created and not
 * committed are merged in. All other directories are short lists.
 *
 * Functions return 0 or an errno. One thread at a time.
 */
#ifndef CAIRN_FS_DIR_H
#define CAIRN_FS_DIR_H

#include "fs/mount/tree.h"

struct dir_entry {
	struct cairn_slice name; /* valid until the next call */
	/* What it is, to be looked up or made; id is valid as name is. For
	 * entries of other than keys only the name holds, and kind
	 * INODE_VIRTUAL. */
	struct inode_id id;
	unsigned type; /* DT_*; DT_UNKNOWN: look it up */
	bool has_stat; /* st is what it was when dir was opened */
	struct keyfile_stat st;
	uint64_t cookie; /* of the entry behind this one */
};

struct dir;

/* A directory of keys/, revs/<rev>/ or history/. */
int dir_open_keys(struct tree *t, struct inode *i, struct dir **out);
/* Of the names in list (varint32 length and bytes each), which is taken over.
 */
int dir_open_list(struct buf *list, struct dir **out);
void dir_close(struct dir *d);

/* The revision that is listed, 0 for a plain list. */
int64_t dir_rev(const struct dir *d);

/* Go to a cookie; 0 is the start, with the names of now. */
int dir_seek(struct dir *d, uint64_t cookie);
/* The entry here. ENOENT at the end. "." and ".." are among them. */
int dir_peek(struct dir *d, struct dir_entry *out);
/* On to the next one. */
void dir_take(struct dir *d);
/* A reply ends here: remember the place. */
int dir_mark(struct dir *d);

#endif
