/* SPDX-License-Identifier: BSD-3-Clause */
/* Open directories. */
#include <errno.h>
#include <stdlib.h>

#include "fs/mount/dir.h"
#include "fs/mount/ops_impl.h"
#include "fs/mount/revdir.h"
#include "fs/text/errmap.h"

/* An open directory; requests on it come one at a time or not. */
struct dir_handle {
	struct fs_open open;
	struct mutex mu;
	struct dir *d;
};

static struct dir_handle *dir_of(const struct fuse_file_info *fi)
{
	return (struct dir_handle *)(uintptr_t)fi->fh;
}

static int list_names(struct fs *fs, struct inode *i, struct buf *out)
{
	static const char *const keyed[] = { "keys", "revs", "history" };
	size_t n_keyed = mvcc_is_plain(fs->m) ? 1 : 3;
	int err = 0;

	if (i->kind == INODE_HIST_KEY)
		return revdir_versions(&fs->tree, i, out);
	if (i->kind == INODE_REVS)
		return revdir_names(&fs->tree, i, out);
	for (size_t n = fs->o.flat ? 1 : 0;
	     n < n_keyed && !err && i == fs->control; n++)
		err = errmap_errno(buf_append_lp(out, slice_str(keyed[n])));
	return err ? err : ctl_list(fs->ctl, i->id, out);
}

static int open_dir(struct fs *fs, struct inode *i, struct dir **out)
{
	struct buf names = { 0 };
	int err;

	switch (i->kind) {
	case INODE_DIR:
	case INODE_HIST_DIR:
		return dir_open_keys(&fs->tree, i, out);
	case INODE_VIRTUAL:
	case INODE_REVS:
	case INODE_HIST_KEY:
		err = list_names(fs, i, &names);
		if (err) {
			buf_fini(&names);
			return err;
		}
		return dir_open_list(&names, out);
	case INODE_FILE:
	case INODE_REV_LINK:
	case INODE_HIST_FILE:
	case INODE_HIST_DELETED:
	case INODE_HIST_LINK:
	default:
		return ENOTDIR;
	}
}

static void dir_handle_free(struct fs *fs, struct dir_handle *h)
{
	fs_open_remove(fs, &h->open);
	dir_close(h->d);
	mutex_fini(&h->mu);
	free(h);
}

static void dir_handle_end(struct fs *fs, struct fs_open *o)
{
	dir_handle_free(fs, (struct dir_handle *)o);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_READDIR);
	struct inode *i = fs_inode(op.fs, ino);
	struct dir_handle *h = calloc(1, sizeof(*h));
	int err = h ? open_dir(op.fs, i, &h->d) : ENOMEM;

	if (err) {
		free(h);
		op_reply_err(&op, err);
		return;
	}
	mutex_init(&h->mu);
	fs_open_add(op.fs, &h->open, dir_handle_end);
	fi->fh = (uint64_t)(uintptr_t)h;
	op_end(&op, 0);
	if (fuse_reply_open(req, fi))
		dir_handle_free(op.fs, h);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_RELEASE);

	(void)ino;
	dir_handle_free(op.fs, dir_of(fi));
	op_reply_err(&op, 0);
}

/* A reply being filled with entries. */
struct reply {
	const struct op *op;
	struct inode *dir;
	bool plus;
	uint8_t *bytes;
	size_t size;
	size_t used;
};

static bool is_dots(struct cairn_slice name)
{
	return name.data[0] == '.' &&
	       (name.len == 1 || (name.len == 2 && name.data[1] == '.'));
}

/* The number readdir(3) shows; only some programs look at it. */
static uint64_t number_of(struct fs *fs, struct inode *dir,
			  const struct dir_entry *e)
{
	if (is_dots(e->name))
		return dir->st_ino;
	if (e->id.kind == INODE_VIRTUAL)
		return FUSE_ROOT_ID + 1 + e->cookie;
	return inode_number(fs->inodes, &e->id);
}

/*
 * The inode and attributes of an entry. What the open directory knows holds
 * only while nothing has changed since; otherwise look again. 0 with *i NULL
 * when there is nothing to tell the kernel.
 */
static int entry_inode(const struct reply *r, const struct dir *d,
		       const struct dir_entry *e, struct inode **i,
		       struct stat *st)
{
	struct fs *fs = r->op->fs;
	struct inode *dir = r->dir;
	struct tree_renames renames = tree_renames(&fs->tree, e->id.id);
	bool open;
	int err;

	*i = NULL;
	if (is_dots(e->name) || e->id.kind != INODE_FILE || !e->has_stat ||
	    dir->kind != INODE_DIR ||
	    (!dir->rev && dir_rev(d) != mvcc_current(fs->m))) {
		if (is_dots(e->name) || dir->kind != INODE_DIR)
			return 0;
		err = fs_lookup(fs, dir, e->name, i, st);
		return err == ENOENT ? 0 : err;
	}
	err = tree_inode(&fs->tree, &renames, &e->id, i, &open);
	/* An open file's attributes are newer than the store's. */
	if (!err && open && !dir->rev) {
		inode_unref(fs->inodes, *i);
		err = EAGAIN;
	}
	if (err == EAGAIN) {
		*i = NULL;
		err = fs_lookup(fs, dir, e->name, i, st);
		return err == ENOENT ? 0 : err;
	}
	if (err)
		return err;
	tree_fill_stat(&fs->tree, &e->st, (*i)->st_ino, 0, st);
	return 0;
}

/* 1 when the entry fits, 0 when the reply is full, or a negative errno. */
static int add_plus(struct reply *r, const struct dir *d,
		    const struct dir_entry *e, const char *name)
{
	struct fs *fs = r->op->fs;
	struct fuse_entry_param p = { 0 };
	struct inode *i;
	struct stat st;
	size_t n;
	int err = entry_inode(r, d, e, &i, &st);

	if (err)
		return -err;
	if (i) {
		fs_fill_entry(fs, i, &st, &p);
	} else {
		p.attr.st_ino = number_of(fs, r->dir, e);
		p.attr.st_mode = (mode_t)e->type << 12;
	}
	n = fuse_add_direntry_plus(r->op->req, (char *)r->bytes + r->used,
				   r->size - r->used, name, &p,
				   (off_t)e->cookie);
	if (n > r->size - r->used) {
		inode_unref(fs->inodes, i);
		return 0;
	}
	if (i)
		inode_hand_over(fs->inodes, i);
	r->used += n;
	return 1;
}

static int add_plain(struct reply *r, const struct dir_entry *e,
		     const char *name)
{
	struct stat st = { 0 };
	size_t n;

	st.st_ino = number_of(r->op->fs, r->dir, e);
	st.st_mode = (mode_t)e->type << 12;
	n = fuse_add_direntry(r->op->req, (char *)r->bytes + r->used,
			      r->size - r->used, name, &st, (off_t)e->cookie);
	if (n > r->size - r->used)
		return 0;
	r->used += n;
	return 1;
}

/* What a name of a plain list is: only asking tells. */
static void find_type(struct fs *fs, struct inode *dir, struct dir_entry *e)
{
	struct inode *i;
	struct stat st;

	if (e->type != 0 || fs_lookup(fs, dir, e->name, &i, &st))
		return;
	e->type = (st.st_mode & S_IFMT) >> 12;
	inode_unref(fs->inodes, i);
}

static int fill(struct reply *r, struct dir *d)
{
	char name[NAME_LEN_MAX + 3];
	struct dir_entry e;
	int err, added;

	while (!(err = dir_peek(d, &e))) {
		memcpy(name, e.name.data, e.name.len);
		name[e.name.len] = '\0';
		find_type(r->op->fs, r->dir, &e);
		added = r->plus ? add_plus(r, d, &e, name)
				: add_plain(r, &e, name);
		if (added < 0)
			return r->used ? 0 : -added;
		if (!added)
			return dir_mark(d);
		dir_take(d);
	}
	return err == ENOENT || r->used ? 0 : err;
}

static void reply_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi, bool plus)
{
	struct op op = op_begin(req, STATS_READDIR);
	struct reply r = { .op = &op,
			   .dir = fs_inode(op.fs, ino),
			   .plus = plus,
			   .size = size };
	struct dir_handle *h = dir_of(fi);
	struct buf b;
	int err;

	r.bytes = fs_scratch_get(op.fs, size, &b);
	if (!r.bytes) {
		op_reply_err(&op, ENOMEM);
		return;
	}
	mutex_lock(&h->mu);
	err = dir_seek(h->d, (uint64_t)off);
	if (!err)
		err = fill(&r, h->d);
	mutex_unlock(&h->mu);
	/* Entries that were added are known to the kernel: they must go out. */
	if (err && !r.used) {
		op_reply_err(&op, err);
	} else {
		fuse_reply_buf(req, (const char *)r.bytes, r.used);
		op_end(&op, 0);
	}
	fs_scratch_put(op.fs, &b);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	reply_dir(req, ino, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	reply_dir(req, ino, size, off, fi, true);
}
