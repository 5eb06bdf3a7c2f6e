/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files ops*.c share. */
#ifndef CAIRN_FS_OPS_IMPL_H
#define CAIRN_FS_OPS_IMPL_H

#include "fs/cmd/run.h"
#include "fs/mount/ops.h"
#include "fs/mount/rowref.h"

/* A request being answered: what is counted about it. */
struct op {
	struct fs *fs;
	fuse_req_t req;
	enum stats_op kind;
	uint64_t start_ns;
	bool untold; /* being slow is no event: reading those would never end */
};

struct op op_begin(fuse_req_t req, enum stats_op kind);
/* Count it; the reply was given, with this errno. */
void op_end(const struct op *op, int err);
/* Reply with an errno (or 0) and count it. */
void op_reply_err(const struct op *op, int err);

struct inode *fs_inode(struct fs *fs, fuse_ino_t ino);
fuse_ino_t fs_ino(const struct fs *fs, const struct inode *i);

struct handle;
/* Attributes of anything. h: the open handle, or NULL. */
int fs_getattr(struct fs *fs, struct inode *i, const struct handle *h,
	       struct stat *st);
/* What name in dir is: an inode with a reference, and its attributes. */
int fs_lookup(struct fs *fs, struct inode *dir, struct cairn_slice name,
	      struct inode **out, struct stat *st);
/* How long the kernel may remember i. st is copied. */
void fs_fill_entry(const struct fs *fs, struct inode *i, const struct stat *st,
		   struct fuse_entry_param *e);
double fs_attr_timeout(const struct inode *i);

/* 0 when i is of keys/ and may be changed, else the errno that says why not. */
int fs_may_change(const struct fs *fs, const struct inode *i);
/* The same for a name in dir: whether it may be made, or taken away. */
int fs_may_change_name(struct fs *fs, struct inode *dir, const char *name);

/*
 * Who makes something in dir, a directory of keys/. A directory that is set-gid
 * gives its group to what is made in it, and to directories the bit as well.
 */
struct tree_maker fs_maker(fuse_req_t req, struct inode *dir, mode_t mode,
			   bool is_dir);
/* Who but root writes to i takes the set-uid and set-gid bits off it. */
void fs_drop_privileges(fuse_req_t req, struct inode *i);

/* A buffer of len bytes for a reply, and back. NULL without memory. */
uint8_t *fs_scratch_get(struct fs *fs, size_t len, struct buf *b);
void fs_scratch_put(struct fs *fs, struct buf *b);

/* ---------------------------------------------------------------- handles */

enum handle_kind {
	HANDLE_FILE,  /* of keys/ */
	HANDLE_ROW,   /* of the past */
	HANDLE_TEXT,  /* rendered; or nothing */
	HANDLE_TABLE, /* a table file */
	HANDLE_TRIGGER,
	HANDLE_RUN,
	HANDLE_STREAM, /* watch, events */
};

/* A conversation of ctl/run; outlives its handle while a command answers. */
struct talk;

/* Note an open thing, or that it is closed. */
void fs_open_add(struct fs *fs, struct fs_open *o,
		 void (*end)(struct fs *fs, struct fs_open *o));
void fs_open_remove(struct fs *fs, struct fs_open *o);

struct handle {
	struct fs_open open;
	enum handle_kind kind;
	struct inode *i; /* with a reference */
	bool can_write;
	bool cached; /* counted in i->n_cached */
	bool direct; /* writes pass by the kernel's pages */
	struct keyfile *kf;
	/* Since the last commit through this handle: something was written, or
	 * only made or cut to nothing. */
	_Atomic bool wrote;
	_Atomic bool emptied;
	struct rowref *row;
	struct buf text;
	int64_t text_ns; /* when it was rendered */
	int fd;
	struct cairn_table_list keep;
	struct talk *talk;
	struct stream *stream;
};

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* The operations, by file. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	     struct fuse_pollhandle *ph);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
	      off_t off, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi);

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi);

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 const char *value, size_t size, int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* Of ctl/run: talk.c. */
int talk_open(struct fs *fs, struct talk **out);
int talk_write(struct talk *t, const void *data, size_t len);
/* Up to len bytes; *got 0 at the end. EINTR when req was interrupted. */
int talk_read(struct talk *t, fuse_req_t req, void *dst, size_t len,
	      size_t *got);
/* Let its command end, as the mount does. */
void talk_cancel(struct talk *t);
void talk_close(struct talk *t);

#endif
