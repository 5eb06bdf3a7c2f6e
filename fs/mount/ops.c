/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and attributes; what is shared with the other ops files. */
#include "fs/mount/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/mount/ops_impl.h"
#include "fs/mount/pins.h"
#include "fs/mount/revdir.h"
#include "fs/text/errmap.h"

#define DAY 86400.0
/* A forgotten revision may be seen this much longer. */
#define REV_SECONDS 60.0

#define RENAME_NOREPLACE_FLAG 1u
#define RENAME_EXCHANGE_FLAG  2u

static uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct timespec wall_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

/* -------------------------------------------------------------- requests */

struct op op_begin(fuse_req_t req, enum stats_op kind)
{
	return (struct op){ .fs = fuse_req_userdata(req),
			    .req = req,
			    .kind = kind,
			    .start_ns = mono_ns() };
}

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

static void tell_slow(const struct op *op, uint64_t us)
{
	struct timespec now = wall_now();

	if (op->fs->o.events && !op->untold)
		eventlog_slow(op->fs->o.events, stats_op_name(op->kind),
			      (uint64_t)now.tv_sec * 1000000 +
				      (uint64_t)now.tv_nsec / 1000,
			      us);
}

void op_end(const struct op *op, int err)
{
	struct stats_fs_counters *c = &op->fs->counters;
	uint64_t ns = mono_ns() - op->start_ns;

	count(&c->requests);
	/* That there is no such name or attribute is an answer. */
	if (err && err != ENOENT && err != ENODATA)
		count(&c->errors);
	if (ns / 1000 > op->fs->o.slow_us) {
		count(&c->slow);
		tell_slow(op, ns / 1000);
	}
	hist_add(&c->op_ns[op->kind], ns);
}

void op_reply_err(const struct op *op, int err)
{
	fuse_reply_err(op->req, err);
	op_end(op, err);
}

struct inode *fs_inode(struct fs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs->root : (struct inode *)(uintptr_t)ino;
}

fuse_ino_t fs_ino(const struct fs *fs, const struct inode *i)
{
	return i == fs->root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)i;
}

uint8_t *fs_scratch_get(struct fs *fs, size_t len, struct buf *b)
{
	*b = (struct buf){ 0 };
	mutex_lock(&fs->scratch_mu);
	if (fs->n_scratch)
		*b = fs->scratch[--fs->n_scratch];
	mutex_unlock(&fs->scratch_mu);
	b->len = 0;
	if (buf_reserve(b, len)) {
		buf_fini(b);
		return NULL;
	}
	return b->data;
}

void fs_scratch_put(struct fs *fs, struct buf *b)
{
	mutex_lock(&fs->scratch_mu);
	if (fs->n_scratch < FS_SCRATCH) {
		fs->scratch[fs->n_scratch++] = *b;
		*b = (struct buf){ 0 };
	}
	mutex_unlock(&fs->scratch_mu);
	buf_fini(b);
}

/* ------------------------------------------------------------ attributes */

static bool is_ctl(const struct inode *i)
{
	return i->kind == INODE_VIRTUAL &&
	       (slice_starts_with(i->id, slice_str("ctl")) ||
		slice_eq(i->id, slice_str("watch")));
}

int fs_may_change(const struct fs *fs, const struct inode *i)
{
	if (is_ctl(i) || i == fs->control)
		return EPERM;
	if ((i->kind != INODE_DIR && i->kind != INODE_FILE) || i->rev ||
	    fs->o.read_only)
		return EROFS;
	return 0;
}

static int text_size(struct fs *fs, struct inode *i, const struct handle *h,
		     off_t *size)
{
	struct buf text = { 0 };
	int err = 0;

	if (h) {
		*size = (off_t)h->text.len;
		return 0;
	}
	err = ctl_render(fs->ctl, i->id, false, &text);
	*size = (off_t)text.len;
	buf_fini(&text);
	return err;
}

static int stat_virtual(struct fs *fs, struct inode *i, const struct handle *h,
			struct stat *st)
{
	struct keyfile_stat ks = tree_plain_dir(&fs->tree);
	enum ctl_type type = ctl_type_of(fs->ctl, i->id);
	uint64_t size = 0;
	int err = 0;

	ks.type = type == CTL_DIR ? MVCC_DIR : MVCC_FILE;
	tree_fill_stat(&fs->tree, &ks, i->st_ino, 0, st);
	st->st_mode &= (mode_t)~07777;
	switch (type) {
	case CTL_DIR:
		st->st_mode |= i == fs->control ? 0755 : 0555;
		break;
	case CTL_TEXT:
		st->st_mtim = h ? (struct timespec){ h->text_ns / 1000000000,
						     h->text_ns % 1000000000 }
				: wall_now();
		st->st_ctim = st->st_mtim;
		err = text_size(fs, i, h, &st->st_size);
		st->st_mode |= 0444;
		break;
	case CTL_README:
		err = text_size(fs, i, h, &st->st_size);
		st->st_mode |= 0444;
		break;
	case CTL_TABLE:
		err = ctl_table_size(fs->ctl, i->id, &size);
		st->st_size = (off_t)size;
		st->st_mode |= 0444;
		break;
	case CTL_TRIGGER:
		st->st_mode |= 0200;
		break;
	case CTL_RUN:
		st->st_mode |= 0600;
		break;
	case CTL_WATCH:
		st->st_mode |= 0644;
		break;
	case CTL_EVENTS:
		st->st_mode |= 0444;
		break;
	case CTL_NONE:
		err = ENOENT;
		break;
	}
	st->st_blocks = (st->st_size + 511) / 512;
	return err;
}

static int stat_open_row(struct fs *fs, struct inode *i, const struct handle *h,
			 struct stat *st)
{
	struct keyfile_stat ks;

	keyfile_stat_of_row(&h->row->r.row, &ks);
	tree_fill_stat(&fs->tree, &ks, i->st_ino, 0, st);
	return 0;
}

int fs_getattr(struct fs *fs, struct inode *i, const struct handle *h,
	       struct stat *st)
{
	if (i->kind == INODE_VIRTUAL)
		return stat_virtual(fs, i, h, st);
	if (h && h->kind == HANDLE_ROW)
		return stat_open_row(fs, i, h, st);
	if (i->kind == INODE_DIR || i->kind == INODE_FILE)
		return tree_getattr(&fs->tree, i, st);
	return revdir_getattr(&fs->tree, i, st);
}

double fs_attr_timeout(const struct inode *i)
{
	switch (i->kind) {
	case INODE_DIR:
	case INODE_FILE:
	case INODE_HIST_FILE:
	case INODE_HIST_DELETED:
		return DAY;
	case INODE_REVS:
	case INODE_HIST_DIR:
	case INODE_HIST_KEY:
		return 1.0;
	case INODE_VIRTUAL:
	case INODE_REV_LINK:
	case INODE_HIST_LINK:
		break;
	}
	return 0;
}

static double entry_timeout(const struct inode *i)
{
	/* The root of a revision, which may be forgotten. */
	if (i->kind == INODE_DIR && i->rev && i->id.len == 0)
		return REV_SECONDS;
	if (i->kind == INODE_VIRTUAL || i->kind == INODE_HIST_KEY ||
	    i->kind == INODE_HIST_FILE || i->kind == INODE_HIST_DELETED)
		return 1.0;
	if (i->kind == INODE_REV_LINK || i->kind == INODE_HIST_LINK)
		return 0;
	return DAY;
}

static double absent_timeout(const struct fs *fs, const struct inode *dir)
{
	/* The top of a flat mount: see tell_everything() of notify.c. */
	return dir->kind == INODE_DIR && dir != fs->root ? DAY : 0;
}

void fs_fill_entry(const struct fs *fs, struct inode *i, const struct stat *st,
		   struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){
		.ino = fs_ino(fs, i),
		.attr = *st,
		.attr_timeout = fs_attr_timeout(i),
		.entry_timeout = entry_timeout(i),
	};
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_GETATTR);
	struct inode *i = fs_inode(op.fs, ino);
	struct stat st;
	int err = fs_getattr(op.fs, i, fi ? handle_of(fi) : NULL, &st);

	if (err) {
		op_reply_err(&op, err);
		return;
	}
	fuse_reply_attr(req, &st, fs_attr_timeout(i));
	op_end(&op, 0);
}

/* Times that do not fit are the first or the last that does: 1677 or 2262. */
static int64_t to_ns(struct timespec ts)
{
	const int64_t most = INT64_MAX / 1000000000 - 1;

	if (ts.tv_sec > most || ts.tv_sec < -most)
		return (ts.tv_sec < 0 ? -most : most) * 1000000000;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int set_size(struct fs *fs, struct inode *i, uint64_t size,
		    struct handle *h)
{
	struct keyfile *kf;
	int err;

	if (i->kind == INODE_DIR)
		return EISDIR;
	if (size > fs->o.value_max)
		return EFBIG;
	if (h && h->kf) {
		err = keyfile_truncate(h->kf, size);
		if (!err)
			h->wrote = true;
		return err == CAIRN_EINVAL ? EFBIG : errmap_errno(err);
	}
	err = tree_file(&fs->tree, i, &kf);
	if (err)
		return err;
	/* By path: no close will follow that could commit it. */
	err = keyfile_truncate(kf, size);
	if (!err)
		err = keyfile_commit(kf, false);
	keyfile_unref(kf);
	inode_drop_file(fs->inodes, i);
	return err == CAIRN_EINVAL ? EFBIG : errmap_errno(err);
}

static int set_attr(struct fs *fs, struct inode *i, const struct stat *attr,
		    int what, struct handle *h)
{
	struct keyfile_stat set = { 0 };
	unsigned mask = 0;
	int err = 0;

	if (what & FUSE_SET_ATTR_SIZE)
		err = set_size(fs, i, (uint64_t)attr->st_size, h);
	if (what & FUSE_SET_ATTR_MODE) {
		mask |= KEYFILE_MODE;
		set.mode = attr->st_mode & 07777;
	}
	if (what & FUSE_SET_ATTR_UID) {
		mask |= KEYFILE_UID;
		set.uid = attr->st_uid;
	}
	if (what & FUSE_SET_ATTR_GID) {
		mask |= KEYFILE_GID;
		set.gid = attr->st_gid;
	}
	if (what & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		mask |= KEYFILE_MTIME;
		if (what & FUSE_SET_ATTR_MTIME_NOW)
			mask |= KEYFILE_TOUCH;
		set.mtime_ns =
			to_ns(what & FUSE_SET_ATTR_MTIME_NOW ? wall_now()
							     : attr->st_mtim);
	}
	if (!err && mask)
		err = tree_set_attrs(&fs->tree, i, mask, &set);
	return err;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int what, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, STATS_SETATTR);
	struct inode *i = fs_inode(op.fs, ino);
	struct handle *h = fi ? handle_of(fi) : NULL;
	int times = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME |
		    FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_ATIME |
		    FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_CTIME;
	struct stat st;
	int err = fs_may_change(op.fs, i);

	/* Shells cut what they write to: nothing to be cut. */
	if (err == EPERM && is_ctl(i) && what & FUSE_SET_ATTR_SIZE &&
	    !(what & ~times))
		err = 0;
	else if (!err)
		err = set_attr(op.fs, i, attr, what, h);
	if (!err && what & FUSE_SET_ATTR_SIZE && i->kind == INODE_FILE)
		fs_drop_privileges(req, i);
	if (!err)
		err = fs_getattr(op.fs, i, h, &st);
	if (err) {
		op_reply_err(&op, err);
		return;
	}
	fuse_reply_attr(req, &st, fs_attr_timeout(i));
	op_end(&op, 0);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct op op = op_begin(req, STATS_OTHER);
	struct inode *i = fs_inode(op.fs, ino);
	struct buf target = { 0 };
	int err;

	if (i->kind == INODE_FILE)
		err = tree_readlink(&op.fs->tree, i, &target);
	else if (i->kind == INODE_REV_LINK || i->kind == INODE_HIST_LINK)
		err = revdir_readlink(&op.fs->tree, i, &target);
	else
		err = EINVAL;
	if (!err && buf_append(&target, "", 1))
		err = ENOMEM;
	if (err) {
		op_reply_err(&op, err);
	} else {
		fuse_reply_readlink(req, (const char *)target.data);
		op_end(&op, 0);
	}
	buf_fini(&target);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct op op = op_begin(req, STATS_OTHER);
	struct inode *i = fs_inode(op.fs, ino);
	struct stat st;
	int err = 0;

	if (mask & W_OK && !is_ctl(i) && fs_may_change(op.fs, i) == EROFS)
		err = EROFS;
	if (!err && mask & X_OK) {
		/* Whoever may come here at all may do all, but nothing makes
		 * a program of a file without an x bit. */
		err = fs_getattr(op.fs, i, NULL, &st);
		if (!err && !(st.st_mode & 0111))
			err = EACCES;
	}
	op_reply_err(&op, err);
}

/*
 * What is available is what puts may still take: nothing of what is held back,
 * nor anything once they are refused.
 */
static void fill_space(struct fs *fs, struct statvfs *sv)
{
	uint64_t unit = sv->f_frsize, reserve, size, used, left;
	struct cairn_metrics e;

	cairn_metrics_get(mvcc_db(fs->m), &e);
	reserve = (e.disk_reserve_bytes + unit - 1) / unit;
	sv->f_bavail = sv->f_bavail > reserve ? sv->f_bavail - reserve : 0;
	if (e.quota_bytes) {
		size = e.quota_bytes / unit;
		used = (e.size_in_use_bytes + unit - 1) / unit;
		left = size > used ? size - used : 0;
		sv->f_blocks = size;
		sv->f_bfree = left;
		if (sv->f_bavail > left)
			sv->f_bavail = left;
	}
	if (e.quota_reached || e.disk_low)
		sv->f_bavail = 0;
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct op op = op_begin(req, STATS_OTHER);
	struct mvcc_metrics m;
	struct statvfs sv;

	(void)ino;
	if (statvfs(op.fs->dir, &sv)) {
		op_reply_err(&op, errno);
		return;
	}
	fill_space(op.fs, &sv);
	mvcc_metrics_get(op.fs->m, &m);
	sv.f_namemax = NAME_LEN_MAX;
	sv.f_ffree = sv.f_bavail;
	sv.f_favail = sv.f_bavail;
	sv.f_files = m.keys + sv.f_ffree;
	fuse_reply_statfs(req, &sv);
	op_end(&op, 0);
}

/* ----------------------------------------------------------------- names */

static int lookup_virtual(struct fs *fs, struct inode *dir,
			  struct cairn_slice name, struct inode **out)
{
	struct inode_id id = { .kind = INODE_VIRTUAL };
	struct buf path = { 0 };
	int err = CAIRN_OK;

	if (name.len > NAME_LEN_MAX)
		return ENAMETOOLONG;
	if (dir == fs->control) {
		bool past = !mvcc_is_plain(fs->m);

		if (!fs->o.flat && slice_eq(name, slice_str("keys")))
			id.kind = INODE_DIR;
		else if (past && slice_eq(name, slice_str("revs")))
			id.kind = INODE_REVS;
		else if (past && slice_eq(name, slice_str("history")))
			id.kind = INODE_HIST_DIR;
	}
	id.id = slice_str("");
	if (id.kind != INODE_VIRTUAL)
		return errmap_errno(inode_get(fs->inodes, &id, out));
	err = buf_append(&path, dir->id.data, dir->id.len);
	if (!err && path.len)
		err = buf_append(&path, "/", 1);
	if (!err)
		err = buf_append(&path, name.data, name.len);
	id.id = buf_slice(&path);
	if (!err && ctl_type_of(fs->ctl, id.id) == CTL_NONE)
		err = CAIRN_NOT_FOUND;
	if (!err)
		err = inode_get(fs->inodes, &id, out);
	buf_fini(&path);
	return errmap_errno(err);
}

/* Whether it is the name of what a flat mount has beside the keys. */
static bool is_control(const struct fs *fs, const struct inode *dir,
		       struct cairn_slice name)
{
	return fs->o.flat && dir == fs->root &&
	       slice_eq(name, slice_str(NAME_CONTROL));
}

int fs_lookup(struct fs *fs, struct inode *dir, struct cairn_slice name,
	      struct inode **out, struct stat *st)
{
	struct inode *i = NULL;
	int err;

	switch (dir->kind) {
	case INODE_DIR:
		if (!is_control(fs, dir, name))
			return tree_lookup(&fs->tree, dir, name, out, st);
		i = fs->control;
		inode_ref(fs->inodes, i);
		err = 0;
		break;
	case INODE_VIRTUAL:
		err = lookup_virtual(fs, dir, name, &i);
		break;
	case INODE_REVS:
	case INODE_HIST_DIR:
	case INODE_HIST_KEY:
		err = revdir_lookup(&fs->tree, dir, name, &i);
		break;
	case INODE_FILE:
	case INODE_REV_LINK:
	case INODE_HIST_FILE:
	case INODE_HIST_DELETED:
	case INODE_HIST_LINK:
	default:
		return ENOTDIR;
	}
	if (!err)
		err = fs_getattr(fs, i, NULL, st);
	if (err)
		inode_unref(fs->inodes, i);
	else
		*out = i;
	return err;
}

static void update_inodes(struct fs *fs)
{
	atomic_store_explicit(&fs->counters.inodes, inodes_count(fs->inodes),
			      memory_order_relaxed);
}

/* Reply with i, taking over the reference. */
static void reply_entry(const struct op *op, struct inode *i,
			const struct stat *st)
{
	struct fs *fs = op->fs;
	struct fuse_entry_param e;

	fs_fill_entry(fs, i, st, &e);
	inode_hand_over(fs->inodes, i);
	/* Nobody waits any more: then the kernel did not learn of it. */
	if (fuse_reply_entry(op->req, &e))
		inode_forget(fs->inodes, i, 1);
	update_inodes(fs);
	op_end(op, 0);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, STATS_LOOKUP);
	struct inode *dir = fs_inode(op.fs, parent), *i;
	struct fuse_entry_param absent = { 0 };
	struct stat st;
	int err = fs_lookup(op.fs, dir, slice_str(name), &i, &st);

	if (!err) {
		reply_entry(&op, i, &st);
		return;
	}
	absent.entry_timeout = absent_timeout(op.fs, dir);
	if (err == ENOENT && absent.entry_timeout > 0) {
		/* "There is none", to be remembered. */
		fuse_reply_entry(req, &absent);
		op_end(&op, err);
		return;
	}
	op_reply_err(&op, err);
}

static void forget_one(struct fs *fs, fuse_ino_t ino, uint64_t n)
{
	if (ino != FUSE_ROOT_ID)
		inode_forget(fs->inodes, fs_inode(fs, ino), n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct fs *fs = fuse_req_userdata(req);

	forget_one(fs, ino, n);
	update_inodes(fs);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t n,
			    struct fuse_forget_data *list)
{
	struct fs *fs = fuse_req_userdata(req);

	for (size_t i = 0; i < n; i++)
		forget_one(fs, list[i].ino, list[i].nlookup);
	update_inodes(fs);
	fuse_reply_none(req);
}

int fs_may_change_name(struct fs *fs, struct inode *dir, const char *name)
{
	int err = fs_may_change(fs, dir);

	if (!err && strlen(name) > NAME_LEN_MAX)
		err = ENAMETOOLONG;
	if (!err && dir->kind != INODE_DIR)
		err = ENOTDIR;
	if (!err && is_control(fs, dir, slice_str(name)))
		err = EPERM;
	return err;
}

struct tree_maker fs_maker(fuse_req_t req, struct inode *dir, mode_t mode,
			   bool is_dir)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct tree_maker by = { ctx->uid, ctx->gid, mode };
	struct fs *fs = fuse_req_userdata(req);
	struct stat st;

	if (dir->kind != INODE_DIR || mvcc_is_plain(fs->m) ||
	    tree_getattr(&fs->tree, dir, &st) || !(st.st_mode & S_ISGID))
		return by;
	by.gid = st.st_gid;
	if (is_dir)
		by.mode |= S_ISGID;
	return by;
}

void fs_drop_privileges(fuse_req_t req, struct inode *i)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct fs *fs = fuse_req_userdata(req);
	struct keyfile_stat set = { 0 };
	struct stat st;
	mode_t drop = S_ISUID;

	if (ctx->uid == 0 || tree_getattr(&fs->tree, i, &st))
		return;
	/* Without the x bit it lends nothing, and its own group keeps it. */
	if (st.st_mode & S_IXGRP || ctx->gid != st.st_gid)
		drop |= S_ISGID;
	if (!(st.st_mode & drop))
		return;
	set.mode = st.st_mode & 07777 & ~drop;
	/* Told before the write is answered, and at once: for attributes alone
	 * the kernel takes no lock that a request holds. */
	if (!tree_set_attrs(&fs->tree, i, KEYFILE_MODE, &set))
		(void)fuse_lowlevel_notify_inval_inode(fs->se, fs_ino(fs, i),
						       -1, 0);
}

static void reply_made(const struct op *op, struct inode *dir, const char *name,
		       int err)
{
	struct inode *i;
	struct stat st;

	if (!err)
		err = fs_lookup(op->fs, dir, slice_str(name), &i, &st);
	if (err)
		op_reply_err(op, err);
	else
		reply_entry(op, i, &st);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	struct op op = op_begin(req, STATS_CREATE);
	struct inode *dir = fs_inode(op.fs, parent);
	struct tree_maker by = fs_maker(req, dir, mode, true);
	int err = fs_may_change_name(op.fs, dir, name);

	if (!err)
		err = tree_mkdir(&op.fs->tree, dir, slice_str(name), &by);
	reply_made(&op, dir, name, err);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		       const char *name)
{
	struct op op = op_begin(req, STATS_CREATE);
	struct inode *dir = fs_inode(op.fs, parent);
	struct tree_maker by = fs_maker(req, dir, 0777, false);
	int err = fs_may_change_name(op.fs, dir, name);

	if (!err)
		err = tree_symlink(&op.fs->tree, dir, slice_str(name),
				   slice_str(target), &by);
	reply_made(&op, dir, name, err);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, STATS_UNLINK);
	struct inode *dir = fs_inode(op.fs, parent);
	int err = fs_may_change_name(op.fs, dir, name);

	if (!err)
		err = tree_unlink(&op.fs->tree, dir, slice_str(name));
	op_reply_err(&op, err);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, STATS_UNLINK);
	struct inode *dir = fs_inode(op.fs, parent);
	int err = fs_may_change_name(op.fs, dir, name);

	if (!err)
		err = tree_rmdir(&op.fs->tree, dir, slice_str(name));
	op_reply_err(&op, err);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t to_parent, const char *to_name,
		      unsigned int flags)
{
	struct op op = op_begin(req, STATS_RENAME);
	struct inode *dir = fs_inode(op.fs, parent);
	struct inode *to = fs_inode(op.fs, to_parent);
	enum tree_rename_how how = TREE_RENAME;
	int err = fs_may_change_name(op.fs, dir, name);

	if (!err)
		err = fs_may_change_name(op.fs, to, to_name);
	if (flags == RENAME_NOREPLACE_FLAG)
		how = TREE_RENAME_NOREPLACE;
	else if (flags == RENAME_EXCHANGE_FLAG)
		how = TREE_RENAME_EXCHANGE;
	else if (flags && !err)
		err = EINVAL;
	if (!err)
		err = tree_rename(&op.fs->tree, dir, slice_str(name), to,
				  slice_str(to_name), how);
	op_reply_err(&op, err);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		    const char *name)
{
	struct op op = op_begin(req, STATS_OTHER);
	int err = fs_may_change_name(op.fs, fs_inode(op.fs, parent), name);

	(void)ino;
	op_reply_err(&op, err ? err : EPERM);
}

/* -------------------------------------------------------------- the mount */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Cutting is part of opening: the empty value is never committed
	 * on its own. */
	conn->want |= conn->capable & FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want |= conn->capable &
		      (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
		       FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
	/* Who changes bytes behind the kernel's back says so (notify.h);
	 * a new mtime alone must not throw them away. */
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE);
	conn->max_write = 1u << 20;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.access = op_access,
	.poll = op_poll,
};

static void hold_inode(void *ctx, void *owner)
{
	struct fs *fs = ctx;

	inode_ref(fs->inodes, owner);
}

static void let_inode_go(void *ctx, void *owner)
{
	struct fs *fs = ctx;

	inode_drop_file(fs->inodes, owner);
	inode_unref(fs->inodes, owner);
}

static void wait_begin(void *ctx)
{
	struct fs *fs = ctx;

	if (fs->workers)
		workers_wait_begin(fs->workers);
}

static void wait_end(void *ctx)
{
	struct fs *fs = ctx;

	if (fs->workers)
		workers_wait_end(fs->workers);
}

static void wake(void *ctx)
{
	struct fs *fs = ctx;

	if (fs->wake)
		fs->wake(fs->wake_ctx);
}

static int may_grow(void *ctx)
{
	struct fs *fs = ctx;

	return cairn_check_space(mvcc_db(fs->m));
}

void fs_open_add(struct fs *fs, struct fs_open *o,
		 void (*end)(struct fs *fs, struct fs_open *o))
{
	o->end = end;
	mutex_lock(&fs->open_mu);
	list_add_tail(&fs->open, &o->node);
	mutex_unlock(&fs->open_mu);
}

void fs_open_remove(struct fs *fs, struct fs_open *o)
{
	mutex_lock(&fs->open_mu);
	list_remove(&o->node);
	mutex_unlock(&fs->open_mu);
}

static int init_parts(struct fs *fs)
{
	struct keyfiles_options ko = {
		.commit_us = fs->o.commit_us,
		.attrs_us = 500000,
		.dirty_max = fs->o.dirty_max,
		.value_max = fs->o.value_max,
		.whole_values = fs->o.whole_values,
		.sync = fs->o.sync,
		.origin = fs,
		.hooks = { .ctx = fs,
			   .hold = hold_inode,
			   .let_go = let_inode_go,
			   .wait_begin = wait_begin,
			   .wait_end = wait_end,
			   .wake = wake,
			   .may_grow = may_grow },
	};
	struct inode_id control = { .kind = INODE_VIRTUAL,
				    .id = slice_str("") };
	struct inode_id keys = { .kind = INODE_DIR, .id = slice_str("") };
	struct ctl_options co = { .m = fs->m,
				  .dir = fs->dir,
				  .counters = &fs->counters,
				  .flat = fs->o.flat };
	int err = inodes_new(&fs->inodes);

	if (!err)
		err = keyfiles_new(fs->m, &ko, &fs->ks);
	if (!err)
		err = inode_get(fs->inodes, &control, &fs->control);
	if (!err)
		err = inode_get(fs->inodes, fs->o.flat ? &keys : &control,
				&fs->root);
	if (!err && pins_new(fs->m, &fs->pins))
		err = error_nomem();
	co.ks = fs->ks;
	co.pins = fs->pins;
	if (!err && ctl_new(&co, &fs->ctl))
		err = error_nomem();
	if (!err && streams_new(fs, &fs->streams))
		err = error_nomem();
	if (!err && jobs_new(&fs->jobs))
		err = error_nomem();
	return err;
}

int fs_init(struct fs *fs, struct mvcc *m, const char *dir,
	    const struct fs_options *o)
{
	struct tree_options to = { .uid = o->uid,
				   .gid = o->gid,
				   .umask = o->umask,
				   .sync = o->sync,
				   .flat = o->flat,
				   .origin = fs,
				   .ctx = fs,
				   .wait_begin = wait_begin,
				   .wait_end = wait_end };
	int err;

	memset(fs, 0, sizeof(*fs));
	fs->m = m;
	fs->dir = dir;
	fs->o = *o;
	mutex_init(&fs->open_mu);
	list_init(&fs->open);
	mutex_init(&fs->scratch_mu);
	err = init_parts(fs);
	tree_init(&fs->tree, m, fs->inodes, fs->ks, &to);
	fs->tree.pins = fs->pins;
	if (err)
		fs_fini(fs);
	return err;
}

void fs_cancel_all(struct fs *fs)
{
	mutex_lock(&fs->open_mu);
	list_for_each (pos, &fs->open) {
		struct fs_open *o = list_entry(pos, struct fs_open, node);

		if (o->cancel)
			o->cancel(o);
	}
	mutex_unlock(&fs->open_mu);
}

void fs_close_all(struct fs *fs)
{
	list_for_each_safe (pos, next, &fs->open) {
		struct fs_open *o = list_entry(pos, struct fs_open, node);

		o->end(fs, o);
	}
}

void fs_fini(struct fs *fs)
{
	fs_close_all(fs);
	if (fs->ks)
		keyfiles_give_up(fs->ks);
	streams_free(fs->streams);
	jobs_free(fs->jobs);
	ctl_free(fs->ctl);
	pins_free(fs->pins);
	inodes_free(fs->inodes);
	keyfiles_free(fs->ks);
	tree_fini(&fs->tree);
	while (fs->n_scratch)
		buf_fini(&fs->scratch[--fs->n_scratch]);
	mutex_fini(&fs->scratch_mu);
	mutex_fini(&fs->open_mu);
}
