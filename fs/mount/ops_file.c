/* SPDX-License-Identifier: BSD-3-Clause */
/* Open files: opening, reading, writing, and what closing them means. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/mount/eventfile.h"
#include "fs/mount/lastfd.h"
#include "fs/mount/ops_impl.h"
#include "fs/mount/revdir.h"
#include "fs/mount/watchfile.h"
#include "fs/text/errmap.h"

/* The longest command for a trigger. */
#define COMMAND_MAX (64u * 1024)

/* --------------------------------------------------------------- handles */

static void handle_free(struct fs *fs, struct handle *h)
{
	fs_open_remove(fs, &h->open);
	if (h->cached)
		h->i->n_cached--;
	if (h->kf)
		keyfile_unref(h->kf);
	rowref_unref(h->row);
	buf_fini(&h->text);
	if (h->fd >= 0)
		close(h->fd);
	cairn_table_list_free(&h->keep);
	if (h->talk)
		talk_close(h->talk);
	if (h->stream)
		stream_close(h->stream);
	inode_drop_file(fs->inodes, h->i);
	inode_unref(fs->inodes, h->i);
	free(h);
	atomic_fetch_sub_explicit(&fs->counters.open_files, 1,
				  memory_order_relaxed);
}

static int close_file(struct fs *fs, struct handle *h);

/* The mount ends with the file open. */
static void handle_end(struct fs *fs, struct fs_open *o)
{
	struct handle *h = (struct handle *)o;

	close_file(fs, h);
	handle_free(fs, h);
}

static void handle_cancel(struct fs_open *o)
{
	struct handle *h = (struct handle *)o;

	if (h->talk)
		talk_cancel(h->talk);
}

static struct handle *handle_new(struct fs *fs, struct inode *i,
				 enum handle_kind kind)
{
	struct handle *h = malloc(sizeof(*h));

	if (!h)
		return NULL;
	*h = (struct handle){ .kind = kind, .fd = -1, .i = i };
	inode_ref(fs->inodes, i);
	h->open.cancel = handle_cancel;
	fs_open_add(fs, &h->open, handle_end);
	atomic_fetch_add_explicit(&fs->counters.open_files, 1,
				  memory_order_relaxed);
	return h;
}

static bool wants_write(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/*
 * Reading goes through the kernel's pages, which stay from one open to the
 * next; writing alone passes them by, which saves a request and a copy. A
 * descriptor that cannot write needs no FLUSH.
 */
static void set_caching(struct handle *h, struct fuse_file_info *fi)
{
	if ((fi->flags & O_ACCMODE) == O_WRONLY) {
		fi->direct_io = 1;
		h->direct = true;
		return;
	}
	fi->keep_cache = !atomic_exchange(&h->i->stale, false);
	fi->noflush = !wants_write(fi);
	h->cached = true;
	h->i->n_cached++;
}

static int attach_file(struct handle *h, struct keyfile *kf,
		       struct fuse_file_info *fi)
{
	int err = 0;

	h->kf = kf; /* with its reference */
	h->can_write = wants_write(fi);
	keyfile_open(kf);
	if (h->can_write && fi->flags & O_TRUNC) {
		err = errmap_errno(keyfile_truncate(kf, 0));
		h->emptied = true;
		h->i->stale = true;
	}
	set_caching(h, fi);
	return err;
}

static int open_file(struct fs *fs, struct inode *i, struct fuse_file_info *fi,
		     struct handle **out)
{
	struct keyfile_stat st;
	struct keyfile *kf;
	struct handle *h;
	int err = 0;

	if (wants_write(fi))
		err = fs_may_change(fs, i);
	if (!err)
		err = tree_file(&fs->tree, i, &kf);
	if (err)
		return err;
	err = errmap_errno(keyfile_stat(kf, &st));
	if (!err && st.type != MVCC_FILE)
		err = ELOOP;
	h = err ? NULL : handle_new(fs, i, HANDLE_FILE);
	if (!h) {
		keyfile_unref(kf);
		return err ? err : ENOMEM;
	}
	err = attach_file(h, kf, fi);
	*out = h;
	return err;
}

static int open_past(struct fs *fs, struct inode *i, struct fuse_file_info *fi,
		     struct handle **out)
{
	struct inode_where w = { 0 };
	struct handle *h;
	int err;

	if (wants_write(fi))
		return EROFS;
	h = handle_new(fs, i, HANDLE_ROW);
	if (!h)
		return ENOMEM;
	*out = h;
	fi->keep_cache = 1; /* the past does not change */
	fi->noflush = 1;
	if (i->kind == INODE_HIST_FILE)
		return revdir_row(&fs->tree, i, &h->row);
	err = inode_copy_id(fs->inodes, i, &w);
	if (!err)
		err = rowref_get(fs->m, w.id, i->rev, &h->row);
	inode_where_fini(&w);
	return errmap_errno(err);
}

static int64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int open_text(struct fs *fs, struct inode *i, struct fuse_file_info *fi,
		     bool render, struct handle **out)
{
	struct handle *h;

	if (wants_write(fi))
		return EROFS;
	h = handle_new(fs, i, HANDLE_TEXT);
	if (!h)
		return ENOMEM;
	*out = h;
	h->text_ns = wall_ns();
	fi->direct_io = 1;
	fi->noflush = 1;
	return render ? ctl_render(fs->ctl, i->id, true, &h->text) : 0;
}

static int open_table(struct fs *fs, struct inode *i, struct fuse_file_info *fi,
		      struct handle **out)
{
	struct handle *h;

	if (wants_write(fi))
		return EROFS;
	h = handle_new(fs, i, HANDLE_TABLE);
	if (!h)
		return ENOMEM;
	*out = h;
	fi->keep_cache = 1; /* tables do not change */
	fi->noflush = 1;
	return ctl_table_open(fs->ctl, i->id, &h->fd, &h->keep);
}

static int open_stream(struct fs *fs, struct inode *i, bool events,
		       struct fuse_file_info *fi, struct handle **out)
{
	struct stream_source *src;
	struct handle *h;
	int err;

	if (events && wants_write(fi))
		return EROFS;
	if (events && !fs->o.events)
		return ENOENT;
	h = handle_new(fs, i, HANDLE_STREAM);
	if (!h)
		return ENOMEM;
	*out = h;
	fi->direct_io = 1;
	fi->noflush = 1;
	err = events ? eventfile_new(fs->o.events, &src)
		     : watchfile_new(fs, &src);
	return err ? err : stream_open(fs->streams, src, &h->stream);
}

/* The mount may end, and cancel what is open, at the same time. */
static int attach_talk(struct fs *fs, struct handle *h)
{
	struct talk *t;
	int err = talk_open(fs, &t);

	if (err)
		return err;
	mutex_lock(&fs->open_mu);
	h->talk = t;
	mutex_unlock(&fs->open_mu);
	return 0;
}

static int open_virtual(struct fs *fs, struct inode *i,
			struct fuse_file_info *fi, struct handle **out)
{
	enum ctl_type type = ctl_type_of(fs->ctl, i->id);
	struct handle *h;

	switch (type) {
	case CTL_TEXT:
	case CTL_README:
		return open_text(fs, i, fi, true, out);
	case CTL_TABLE:
		return open_table(fs, i, fi, out);
	case CTL_WATCH:
	case CTL_EVENTS:
		return open_stream(fs, i, type == CTL_EVENTS, fi, out);
	case CTL_DIR:
		return EISDIR;
	case CTL_TRIGGER:
	case CTL_RUN:
		break;
	case CTL_NONE:
	default:
		return ENOENT;
	}
	h = handle_new(fs, i, type == CTL_RUN ? HANDLE_RUN : HANDLE_TRIGGER);
	if (!h)
		return ENOMEM;
	*out = h;
	fi->direct_io = 1;
	fi->nonseekable = type == CTL_RUN;
	h->can_write = wants_write(fi);
	/* A conversation takes both; only looking takes none. */
	return type == CTL_RUN && (fi->flags & O_ACCMODE) == O_RDWR
		       ? attach_talk(fs, h)
		       : 0;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_OPEN);
	struct inode *i = fs_inode(op.fs, ino);
	struct handle *h = NULL;
	int err;

	switch (i->kind) {
	case INODE_FILE:
		err = i->rev ? open_past(op.fs, i, fi, &h)
			     : open_file(op.fs, i, fi, &h);
		break;
	case INODE_HIST_FILE:
		err = open_past(op.fs, i, fi, &h);
		break;
	case INODE_HIST_DELETED:
		err = open_text(op.fs, i, fi, false, &h);
		break;
	case INODE_VIRTUAL:
		err = open_virtual(op.fs, i, fi, &h);
		break;
	case INODE_DIR:
	case INODE_REVS:
	case INODE_REV_LINK:
	case INODE_HIST_DIR:
	case INODE_HIST_KEY:
	case INODE_HIST_LINK:
	default:
		err = EISDIR;
		break;
	}
	if (err) {
		if (h && h->kf) {
			/* It is the open that failed. */
			int lost = keyfile_close(h->kf);

			(void)lost;
		}
		if (h)
			handle_free(op.fs, h);
		op_reply_err(&op, err);
		return;
	}
	if (h->emptied)
		fs_drop_privileges(req, i);
	fi->fh = (uint64_t)(uintptr_t)h;
	op_end(&op, 0);
	if (fuse_reply_open(req, fi))
		handle_free(op.fs, h);
}

/* Close the keyfile of h: the last chance of what is not committed. */
static int close_file(struct fs *fs, struct handle *h)
{
	struct keyfile_stat st;
	int err;

	if (!h->kf)
		return 0;
	err = keyfile_close(h->kf);
	/* A file that never was committed is gone now. */
	if (err && !keyfile_stat(h->kf, &st) && st.unlinked) {
		inode_hide(fs->inodes, h->i);
		if (fs->notify)
			notify_data(fs->notify, h->i);
	}
	return errmap_errno(err);
}

static void reply_create(const struct op *op, struct inode *i, struct handle *h,
			 struct fuse_file_info *fi)
{
	struct fs *fs = op->fs;
	struct fuse_entry_param e;
	struct stat st;
	int err = fs_getattr(fs, i, h, &st);

	if (err) {
		close_file(fs, h);
		handle_free(fs, h);
		op_reply_err(op, err);
		return;
	}
	fs_fill_entry(fs, i, &st, &e);
	inode_remember(fs->inodes, i);
	fi->fh = (uint64_t)(uintptr_t)h;
	op_end(op, 0);
	if (fuse_reply_create(op->req, &e, fi)) {
		inode_forget(fs->inodes, i, 1);
		close_file(fs, h);
		handle_free(fs, h);
	}
}

static int create(struct fs *fs, struct inode *dir, const char *name,
		  const struct tree_maker *by, struct fuse_file_info *fi,
		  struct inode **i, struct handle **out)
{
	struct keyfile *kf;
	struct handle *h;
	int err = tree_create(&fs->tree, dir, slice_str(name), by,
			      fi->flags & O_EXCL, i, &kf);

	if (err)
		return err;
	h = handle_new(fs, *i, HANDLE_FILE);
	if (!h) {
		keyfile_unref(kf);
		inode_unref(fs->inodes, *i);
		return ENOMEM;
	}
	err = attach_file(h, kf, fi);
	h->emptied = true;
	if (err) {
		close_file(fs, h);
		handle_free(fs, h);
		inode_unref(fs->inodes, *i);
		return err;
	}
	*out = h;
	return 0;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_CREATE);
	struct inode *dir = fs_inode(op.fs, parent), *i;
	struct tree_maker by = fs_maker(req, dir, mode, false);
	struct handle *h;
	int err = fs_may_change_name(op.fs, dir, name);

	if (!err)
		err = create(op.fs, dir, name, &by, fi, &i, &h);
	if (err) {
		op_reply_err(&op, err);
		return;
	}
	reply_create(&op, i, h, fi);
	inode_unref(op.fs->inodes, i);
}

/* A regular file at once: nothing will be closed that could commit it. */
static int make_node(struct fs *fs, struct inode *dir, const char *name,
		     const struct tree_maker *by, struct inode **i)
{
	struct keyfile *kf;
	int err =
		tree_create(&fs->tree, dir, slice_str(name), by, true, i, &kf);

	if (err)
		return err;
	keyfile_open(kf);
	err = errmap_errno(keyfile_close(kf));
	if (err)
		inode_hide(fs->inodes, *i);
	keyfile_unref(kf);
	inode_drop_file(fs->inodes, *i);
	if (err)
		inode_unref(fs->inodes, *i);
	return err;
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev)
{
	struct op op = op_begin(req, STATS_CREATE);
	struct inode *dir = fs_inode(op.fs, parent), *i;
	struct tree_maker by = fs_maker(req, dir, mode, false);
	struct fuse_entry_param e;
	struct stat st;
	int err = fs_may_change_name(op.fs, dir, name);

	(void)rdev;
	if (!err && !S_ISREG(mode))
		err = EPERM;
	if (!err)
		err = make_node(op.fs, dir, name, &by, &i);
	if (!err) {
		err = fs_getattr(op.fs, i, NULL, &st);
		if (err)
			inode_unref(op.fs->inodes, i);
	}
	if (err) {
		op_reply_err(&op, err);
		return;
	}
	fs_fill_entry(op.fs, i, &st, &e);
	inode_remember(op.fs->inodes, i);
	op_end(&op, 0);
	if (fuse_reply_entry(req, &e))
		inode_forget(op.fs->inodes, i, 1);
	inode_unref(op.fs->inodes, i);
}

/* --------------------------------------------------------------- reading */

static int read_table(int fd, uint8_t *dst, size_t size, off_t off, size_t *got)
{
	*got = 0;
	while (*got < size) {
		ssize_t n =
			pread(fd, dst + *got, size - *got, off + (off_t)*got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

static int read_into(const struct op *op, struct handle *h, uint8_t *dst,
		     size_t size, off_t off, size_t *got)
{
	*got = 0;
	switch (h->kind) {
	case HANDLE_FILE:
		return errmap_errno(
			keyfile_read(h->kf, (uint64_t)off, dst, size, got));
	case HANDLE_ROW:
		return errmap_errno(mvcc_read(op->fs->m, &h->row->r.row,
					      (uint64_t)off, dst, size, got));
	case HANDLE_TABLE:
		return read_table(h->fd, dst, size, off, got);
	case HANDLE_RUN:
		return h->talk ? talk_read(h->talk, op->req, dst, size, got)
			       : 0;
	case HANDLE_STREAM:
		break; /* answered by itself */
	case HANDLE_TEXT:
	case HANDLE_TRIGGER:
		/* A copy: the reader may close the file, and so free the text,
		 * before the reply is done with here. */
		if ((uint64_t)off < h->text.len) {
			*got = h->text.len - (size_t)off;
			*got = *got < size ? *got : size;
			memcpy(dst, h->text.data + off, *got);
		}
		break;
	}
	return 0;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_READ);
	struct handle *h = handle_of(fi);
	struct buf b;
	size_t got;
	uint8_t *dst;
	int err;

	(void)ino;
	if (h->kind == HANDLE_STREAM) {
		op.untold = true;
		stream_read(h->stream, &op, size, off, fi->flags & O_NONBLOCK);
		return;
	}
	dst = fs_scratch_get(op.fs, size, &b);
	if (!dst) {
		op_reply_err(&op, ENOMEM);
		return;
	}
	err = read_into(&op, h, dst, size, off, &got);
	if (err) {
		op_reply_err(&op, err);
	} else {
		fuse_reply_buf(req, (const char *)dst, got);
		op_end(&op, 0);
	}
	fs_scratch_put(op.fs, &b);
}

void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	     struct fuse_pollhandle *ph)
{
	struct op op = op_begin(req, STATS_OTHER);
	struct handle *h = handle_of(fi);
	unsigned events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;

	(void)ino;
	op.untold = h->kind == HANDLE_STREAM;
	if (h->kind == HANDLE_STREAM)
		events = stream_poll(h->stream, ph);
	else if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, events);
	op_end(&op, 0);
}

/* --------------------------------------------------------------- writing */

struct command {
	struct fs *fs;
	struct inode *i; /* with a reference */
	struct buf text;
};

static int run_command(void *arg)
{
	struct command *c = arg;
	int err = ctl_command(c->fs->ctl, c->i->id, buf_slice(&c->text));

	/* Who wrote it goes on to look at what it changed. */
	notify_drain(c->fs->notify);
	buf_fini(&c->text);
	inode_unref(c->fs->inodes, c->i);
	free(c);
	return err;
}

static int write_command(const struct op *op, struct handle *h,
			 const char *data, size_t size)
{
	struct fs *fs = op->fs;
	struct command *c;
	bool started;
	int err;

	if (size > COMMAND_MAX)
		return EFBIG;
	c = calloc(1, sizeof(*c));
	if (!c)
		return ENOMEM;
	c->fs = fs;
	c->i = h->i;
	inode_ref(fs->inodes, c->i);
	err = errmap_errno(buf_append(&c->text, data, size));
	started = false;
	if (!err) {
		workers_wait_begin(fs->workers);
		err = jobs_run(fs->jobs, op->req, run_command, c, &started);
		workers_wait_end(fs->workers);
	}
	if (!started) {
		buf_fini(&c->text);
		inode_unref(fs->inodes, c->i);
		free(c);
	}
	return err;
}

static int write_file(struct fs *fs, struct handle *h, const char *data,
		      size_t size, off_t off, const struct fuse_file_info *fi)
{
	/* Pages that the kernel writes back know their place; append is for
	 * write(2), whose offset may be older than another's append. */
	bool append = fi->flags & O_APPEND && !fi->writepage;
	uint64_t at;
	int err;

	if ((uint64_t)off > fs->o.value_max ||
	    size > fs->o.value_max - (uint64_t)off)
		return EFBIG;
	err = keyfile_write(h->kf, (uint64_t)off, append, data, size, &at);
	if (err)
		return err == CAIRN_EINVAL ? EFBIG : errmap_errno(err);
	h->wrote = true;
	if (h->direct || at != (uint64_t)off) {
		h->i->stale = true;
		if (h->i->n_cached)
			notify_data(fs->notify, h->i);
	}
	return 0;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
	      off_t off, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_WRITE);
	struct handle *h = handle_of(fi);
	int err = EBADF;

	(void)ino;
	if (h->kind == HANDLE_FILE)
		err = write_file(op.fs, h, data, size, off, fi);
	else if (h->kind == HANDLE_TRIGGER)
		err = write_command(&op, h, data, size);
	else if (h->kind == HANDLE_RUN && h->talk)
		err = talk_write(h->talk, data, size);
	else if (h->kind == HANDLE_STREAM)
		err = stream_write(h->stream, data, size, off);
	if (err) {
		op_reply_err(&op, err);
		return;
	}
	if (h->kind == HANDLE_FILE && !fi->writepage)
		fs_drop_privileges(req, h->i);
	fuse_reply_write(req, size);
	op_end(&op, 0);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_OTHER);
	struct handle *h = handle_of(fi);
	uint64_t max = op.fs->o.value_max;
	int err = 0;

	(void)ino;
	if (mode)
		err = EOPNOTSUPP;
	else if (h->kind != HANDLE_FILE || !h->can_write)
		err = EBADF;
	else if ((uint64_t)off > max || (uint64_t)len > max - (uint64_t)off)
		err = EFBIG;
	if (!err) {
		err = keyfile_extend(h->kf, (uint64_t)off + (uint64_t)len);
		err = err == CAIRN_EINVAL ? EFBIG : errmap_errno(err);
		h->wrote = true;
		fs_drop_privileges(req, h->i);
	}
	op_reply_err(&op, err);
}

/* --------------------------------------------------------------- closing */

/*
 * A copy of the descriptor was closed. What was written through it is now a
 * revision. A file only made or cut to nothing so far is one, too, unless the
 * program still has another copy to write to: then the end of that one decides.
 */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_FLUSH);
	struct handle *h = handle_of(fi);
	bool commit = false;
	int err = 0;

	(void)ino;
	if (h->kf && h->can_write) {
		commit = atomic_exchange(&h->wrote, false);
		if (!commit && h->emptied && keyfile_is_dirty(h->kf))
			commit = !lastfd_may_have(fuse_req_ctx(req)->pid,
						  op.fs->dev, h->i->st_ino);
	}
	if (commit) {
		h->emptied = false;
		err = errmap_errno(keyfile_commit(h->kf, false));
	}
	op_reply_err(&op, err);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_RELEASE);
	struct handle *h = handle_of(fi);
	int err = 0;

	(void)ino;
	if (h->kf && (h->wrote || h->emptied))
		err = errmap_errno(keyfile_commit(h->kf, false));
	/* Both failures were told by close(2), or nobody is there to hear. */
	if (close_file(op.fs, h) || err)
		err = EIO;
	handle_free(op.fs, h);
	fuse_reply_err(req, 0);
	op_end(&op, err);
}

static int sync_now(struct fs *fs)
{
	int err;

	workers_wait_begin(fs->workers);
	err = mvcc_sync(fs->m);
	workers_wait_end(fs->workers);
	return errmap_errno(err);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_FSYNC);
	struct handle *h = handle_of(fi);
	int err = 0;

	(void)ino;
	(void)datasync;
	if (h->kf) {
		h->wrote = false;
		h->emptied = false;
		err = errmap_errno(keyfile_commit(h->kf, false));
		/* One sync may serve many: not as part of the commit. */
		if (!err)
			err = sync_now(op.fs);
	}
	op_reply_err(&op, err);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_FSYNC);
	struct inode *i = fs_inode(op.fs, ino);
	struct keyfile *kf;
	int err = 0;

	(void)datasync;
	(void)fi;
	if (i->kind == INODE_DIR && !i->rev && !op.fs->o.read_only) {
		kf = inode_file(op.fs->inodes, i);
		if (kf) {
			err = errmap_errno(keyfile_commit(kf, false));
			keyfile_unref(kf);
		}
		if (!err)
			err = sync_now(op.fs);
	}
	op_reply_err(&op, err);
}
