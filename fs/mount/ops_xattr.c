/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extended attributes: the user's, kept with the value, and user.cairn.*, which
 * tell about the key and are never listed, or copies would carry them along.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "engine/base/error.h"
#include "fs/mount/ops_impl.h"
#include "fs/mount/revdir.h"
#include "fs/text/errmap.h"
#include "fs/text/timetext.h"
#include "fs/text/xattr.h"
#include "mvcc/lease.h"

#define USER_PREFIX   "user."
#define CAIRN_PREFIX  "user.cairn."
#define SYSTEM_PREFIX "system."
#define TTL           "user.cairn.ttl"

static bool has_prefix(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* The row of i; ENODATA when nothing of it is committed. */
static int row_of(struct fs *fs, struct inode *i, struct rowref **out)
{
	struct inode_where w = { 0 };
	int err;

	if (i->kind == INODE_HIST_FILE)
		return revdir_row(&fs->tree, i, out);
	if (i->kind != INODE_FILE && i->kind != INODE_DIR)
		return ENODATA;
	err = inode_copy_id(fs->inodes, i, &w);
	if (!err && (i->kind == INODE_FILE || w.id.len))
		err = rowref_get(fs->m, w.id, i->rev, out);
	else if (!err)
		err = CAIRN_NOT_FOUND;
	inode_where_fini(&w);
	return err == CAIRN_NOT_FOUND ? ENODATA : errmap_errno(err);
}

static int get_key(struct fs *fs, struct inode *i, struct buf *out)
{
	struct inode_where w = { 0 };
	int err;

	if (i->kind == INODE_VIRTUAL || i->kind == INODE_REVS ||
	    i->kind == INODE_REV_LINK)
		return ENODATA;
	err = inode_copy_id(fs->inodes, i, &w);
	if (!err)
		err = buf_append(out, w.id.data, w.id.len);
	inode_where_fini(&w);
	return errmap_errno(err);
}

/* The lease a file is on now; ENODATA when on none. */
static int get_lease(struct fs *fs, struct inode *i,
		     struct mvcc_lease_info *out)
{
	struct rowref *r = NULL;
	int err;

	if (mvcc_is_plain(fs->m) || i->kind != INODE_FILE || i->rev)
		return ENODATA;
	err = row_of(fs, i, &r);
	if (err)
		return err;
	err = r->r.row.lease ? mvcc_lease_get(fs->m, r->r.row.lease, out)
			     : CAIRN_NOT_FOUND;
	rowref_unref(r);
	/* It may have ended this moment. */
	return err == CAIRN_NOT_FOUND ? ENODATA : errmap_errno(err);
}

static int get_lease_text(struct fs *fs, struct inode *i, bool ttl,
			  struct buf *out)
{
	struct mvcc_lease_info info;
	int err = get_lease(fs, i, &info);

	if (err)
		return err;
	err = ttl ? buf_printf(out, "%llds", (long long)info.remaining)
		  : buf_printf(out, "%llx", (unsigned long long)info.id);
	return errmap_errno(err);
}

static int get_about(struct fs *fs, struct inode *i, const char *name,
		     struct buf *out)
{
	struct rowref *r = NULL;
	int64_t n = 0;
	int err;

	name += strlen(CAIRN_PREFIX);
	if (!strcmp(name, "key"))
		return get_key(fs, i, out);
	if (!strcmp(name, "error") && (i == fs->root || i == fs->control))
		return ctl_error_text(fs->ctl, out);
	if (!strcmp(name, "ttl") || !strcmp(name, "lease"))
		return get_lease_text(fs, i, *name == 't', out);
	if (mvcc_is_plain(fs->m) ||
	    (strcmp(name, "rev") && strcmp(name, "create_rev") &&
	     strcmp(name, "version")))
		return ENODATA;
	err = row_of(fs, i, &r);
	if (err)
		return err;
	if (!strcmp(name, "rev"))
		n = r->r.row.main;
	else if (!strcmp(name, "create_rev"))
		n = r->r.row.create_rev;
	else
		n = r->r.row.version;
	rowref_unref(r);
	return errmap_errno(buf_printf(out, "%lld", (long long)n));
}

/* All of the user's attributes of i, encoded. */
static int all_of(struct fs *fs, struct inode *i, struct buf *out)
{
	struct rowref *r;
	struct keyfile *kf = inode_file(fs->inodes, i);
	int err;

	if (kf) {
		err = keyfile_xattrs(kf, out);
		keyfile_unref(kf);
		return errmap_errno(err);
	}
	err = row_of(fs, i, &r);
	if (err)
		return err == ENODATA ? 0 : err;
	err = errmap_errno(buf_append(out, r->r.row.attrs.xattrs.data,
				      r->r.row.attrs.xattrs.len));
	rowref_unref(r);
	return err;
}

static int get_user(struct fs *fs, struct inode *i, const char *name,
		    struct buf *out)
{
	struct buf all = { 0 };
	struct cairn_slice value;
	int err = all_of(fs, i, &all);

	if (!err) {
		err = xattr_get(buf_slice(&all), slice_str(name), &value);
		err = err == CAIRN_NOT_FOUND ? ENODATA : errmap_errno(err);
	}
	if (!err)
		err = errmap_errno(buf_append(out, value.data, value.len));
	buf_fini(&all);
	return err;
}

/* The size when size is 0, else the bytes. */
static void reply_sized(const struct op *op, const struct buf *b, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(op->req, b->len);
	else if (b->len > size) {
		op_reply_err(op, ERANGE);
		return;
	} else
		fuse_reply_buf(op->req, (const char *)b->data, b->len);
	op_end(op, 0);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct op op = op_begin(req, STATS_XATTR);
	struct inode *i = fs_inode(op.fs, ino);
	struct buf b = { 0 };
	int err;

	/* First what the kernel asks before every write. */
	if (has_prefix(name, SYSTEM_PREFIX))
		err = EOPNOTSUPP;
	else if (!has_prefix(name, USER_PREFIX))
		err = ENODATA;
	else if (has_prefix(name, CAIRN_PREFIX))
		err = get_about(op.fs, i, name, &b);
	else
		err = get_user(op.fs, i, name, &b);
	if (err)
		op_reply_err(&op, err);
	else
		reply_sized(&op, &b, size);
	buf_fini(&b);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct op op = op_begin(req, STATS_XATTR);
	struct inode *i = fs_inode(op.fs, ino);
	struct buf all = { 0 }, names = { 0 };
	struct cairn_slice rest, name, value;
	int err = all_of(op.fs, i, &all), more;

	rest = buf_slice(&all);
	while (!err && !(more = xattr_next(&rest, &name, &value))) {
		err = errmap_errno(buf_append(&names, name.data, name.len));
		if (!err)
			err = errmap_errno(buf_append(&names, "", 1));
	}
	if (!err && more != CAIRN_NOT_FOUND)
		err = errmap_errno(more);
	if (err)
		op_reply_err(&op, err);
	else
		reply_sized(&op, &names, size);
	buf_fini(&names);
	buf_fini(&all);
}

static int may_set(struct fs *fs, struct inode *i, const char *name)
{
	int err = fs_may_change(fs, i);

	if (err)
		return err;
	/* An ACL kept as mere bytes would take the place of the mode. */
	if (!has_prefix(name, USER_PREFIX) || mvcc_is_plain(fs->m))
		return EOPNOTSUPP;
	if (!strcmp(name, TTL))
		return i->kind == INODE_FILE ? 0 : EOPNOTSUPP;
	return has_prefix(name, CAIRN_PREFIX) ? EPERM : 0;
}

/* The time to live in value, in seconds. */
static int parse_ttl(const struct cairn_slice *value, int64_t *ttl)
{
	char text[32];

	if (value->len >= sizeof(text))
		return EINVAL;
	memcpy(text, value->data, value->len);
	text[value->len] = '\0';
	/* As of "30s\0", which some programs set. */
	if (strlen(text) + 1 < value->len || !timetext_ttl(text, ttl) ||
	    *ttl <= 0 || *ttl > MVCC_LEASE_TTL_MAX)
		return EINVAL;
	return 0;
}

static int put_on_lease(struct fs *fs, struct inode *i, int64_t id)
{
	struct keyfile *kf;
	int err = tree_file(&fs->tree, i, &kf);

	if (err)
		return err;
	err = errmap_errno(keyfile_set_lease(kf, id));
	keyfile_unref(kf);
	inode_drop_file(fs->inodes, i);
	return err;
}

/* Give the file a lease of its own, or with value NULL take it off its lease.
 */
static int set_ttl(struct fs *fs, struct inode *i,
		   const struct cairn_slice *value, int flags)
{
	struct mvcc_lease_info now;
	int64_t ttl, id = 0;
	int err = value ? parse_ttl(value, &ttl) : 0;

	if (err)
		return err;
	err = get_lease(fs, i, &now);
	if (err && err != ENODATA)
		return err;
	if (err && (!value || flags & XATTR_REPLACE))
		return ENODATA;
	if (!err && flags & XATTR_CREATE)
		return EEXIST;
	if (!value)
		return put_on_lease(fs, i, 0);
	err = errmap_errno(mvcc_lease_grant(fs->m, ttl, &id, &ttl));
	if (err)
		return err;
	err = put_on_lease(fs, i, id);
	if (err)
		(void)mvcc_lease_revoke(fs->m, id, NULL);
	return err;
}

static int set_user(struct fs *fs, struct inode *i, const char *name,
		    const struct cairn_slice *value, int flags)
{
	struct buf now = { 0 };
	struct keyfile *kf;
	int err = 0;

	if (flags & (XATTR_CREATE | XATTR_REPLACE)) {
		err = get_user(fs, i, name, &now);
		buf_fini(&now);
		if (!err && flags & XATTR_CREATE)
			return EEXIST;
		if (err == ENODATA && flags & XATTR_CREATE)
			err = 0;
		if (err)
			return err;
	}
	err = tree_file(&fs->tree, i, &kf);
	if (err)
		return err;
	err = keyfile_set_xattr(kf, slice_str(name), value);
	keyfile_unref(kf);
	inode_drop_file(fs->inodes, i);
	return err == CAIRN_NOT_FOUND ? ENODATA : errmap_errno(err);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 const char *value, size_t size, int flags)
{
	struct op op = op_begin(req, STATS_SETATTR);
	struct inode *i = fs_inode(op.fs, ino);
	struct cairn_slice v = slice_of(value, size);
	int err = may_set(op.fs, i, name);

	if (!err)
		err = strcmp(name, TTL) ? set_user(op.fs, i, name, &v, flags)
					: set_ttl(op.fs, i, &v, flags);
	op_reply_err(&op, err);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct op op = op_begin(req, STATS_SETATTR);
	struct inode *i = fs_inode(op.fs, ino);
	int err = may_set(op.fs, i, name);

	if (!err)
		err = strcmp(name, TTL) ? set_user(op.fs, i, name, NULL, 0)
					: set_ttl(op.fs, i, NULL, 0);
	op_reply_err(&op, err);
}
