/* SPDX-License-Identifier: BSD-3-Clause */
/* Making and removing files, directories and symlinks. */
#include <errno.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/mount/tree_impl.h"
#include "fs/text/errmap.h"

/* What differs from what a file without attributes shows is kept. */
static struct keyfile_stat made_by(const struct tree *t, enum mvcc_type type,
				   const struct tree_maker *by)
{
	struct keyfile_stat st = { .type = type };
	mode_t mode = by->mode & 07777;

	st.mtime_ns = tree_now_ns();
	st.ctime_ns = st.mtime_ns;
	/* Like file systems that have no owners: shown as everything is. */
	if (mvcc_is_plain(t->m))
		return st;
	st.has_mode =
		type != MVCC_SYMLINK && mode != tree_default_mode(t, type);
	st.mode = st.has_mode ? mode : 0;
	st.has_uid = by->uid != t->o.uid;
	st.uid = st.has_uid ? by->uid : 0;
	st.has_gid = by->gid != t->o.gid;
	st.gid = st.has_gid ? by->gid : 0;
	return st;
}

static struct mvcc_attrs to_attrs(const struct keyfile_stat *st)
{
	return (struct mvcc_attrs){
		.type = st->type,
		.has_mode = st->has_mode,
		.mode = st->mode,
		.has_uid = st->has_uid,
		.uid = st->uid,
		.has_gid = st->has_gid,
		.gid = st->gid,
		.has_mtime = true,
		.mtime_ns = st->mtime_ns,
	};
}

/* Whether a key in [from, to) exists, leaving out except. */
static int any_between(struct tree *t, struct cairn_slice from,
		       struct cairn_slice to, struct cairn_slice except)
{
	struct mvcc_scan *s;
	struct mvcc_row row;
	int err = mvcc_scan_new(t->m, 0, from, to, false, &s);

	if (err)
		return err;
	do
		err = mvcc_scan_next(s, &row);
	while (!err && slice_eq(row.key, except));
	mvcc_scan_free(s);
	return err;
}

/* Whether dir holds anything but key and what starts with except. */
static int any_left(struct tree *t, struct cairn_slice dir,
		    struct cairn_slice key, struct cairn_slice except)
{
	struct cairn_slice end = { 0 }, past = { 0 };
	struct mvcc_pinned_row record = { 0 };
	int err = CAIRN_NOT_FOUND;

	/* Mostly its record, which is in memory: to look for others is to pass
	 * by all that were removed before. */
	if (!mvcc_is_plain(t->m))
		err = mvcc_get(t->m, dir, 0, &record);
	mvcc_row_release(&record);
	if (err != CAIRN_NOT_FOUND)
		return err;
	if (!except.data)
		return mvcc_any(t->m, 0, dir, key);
	err = any_between(t, dir, except, key);
	if (err == CAIRN_NOT_FOUND)
		err = mvcc_prefix_end(dir, &end);
	else
		return err;
	if (!err)
		err = mvcc_prefix_end(except, &past);
	/* Prefixes end in '/', so both have an end. */
	if (!err)
		err = any_between(t, past, end, key);
	free((void *)(uintptr_t)end.data);
	free((void *)(uintptr_t)past.data);
	return err;
}

int tree_keep_parent(struct tree *t, struct mvcc_txn *txn,
		     struct cairn_slice key, struct cairn_slice except)
{
	struct keyfile_stat st = tree_plain_dir(t);
	struct cairn_slice dir = key;
	struct mvcc_attrs a;
	int err;

	/* The directory of a record "a/b/" is "a/". */
	if (dir.len)
		dir.len--;
	while (dir.len && dir.data[dir.len - 1] != '/')
		dir.len--;
	if (dir.len == 0)
		return CAIRN_OK;
	err = any_left(t, dir, key, except);
	if (err != CAIRN_NOT_FOUND)
		return err;
	st.mtime_ns = tree_now_ns();
	a = to_attrs(&st);
	return mvcc_txn_put(txn, dir, slice_of(NULL, 0), &a);
}

/* A new inode for a key that does not exist. */
static int fresh_inode(struct tree *t, struct cairn_slice key,
		       struct inode **out)
{
	struct inode_id id = { INODE_FILE, 0, key, 0 };
	struct keyfile *kf;

	for (;;) {
		int err = inode_get(t->inodes, &id, out);

		if (err)
			return errmap_errno(err);
		kf = inode_file(t->inodes, *out);
		if (!kf)
			return 0;
		/* Deleted below while it was open: its inode stays with those
		 * who have it. */
		keyfile_unref(kf);
		inode_hide(t->inodes, *out);
		inode_unref(t->inodes, *out);
	}
}

static int make_file(struct tree *t, struct tree_target *g,
		     const struct tree_maker *by, struct inode **out,
		     struct keyfile **kf)
{
	struct keyfile_stat st = made_by(t, MVCC_FILE, by);
	struct inode *i;
	int err = fresh_inode(t, buf_slice(&g->key), &i);

	if (err)
		return err;
	err = errmap_errno(keyfile_new(t->ks, i, buf_slice(&g->key), &st, kf));
	if (err) {
		inode_unref(t->inodes, i);
		return err;
	}
	*kf = inode_set_file(t->inodes, i, *kf, NULL);
	*out = i;
	return 0;
}

static int open_found(struct tree *t, struct tree_target *g,
		      const struct tree_found *f, struct inode **out,
		      struct keyfile **kf)
{
	struct inode *i;
	int err;

	if (f->file_st.type != MVCC_FILE)
		return EEXIST;
	err = tree_inode_of(t, 0, g, f, &i);
	if (err)
		return err;
	err = tree_file_of(t, i, true, kf);
	if (err)
		inode_unref(t->inodes, i);
	else
		*out = i;
	return err;
}

int tree_create(struct tree *t, struct inode *dir, struct cairn_slice name,
		const struct tree_maker *by, bool excl, struct inode **out,
		struct keyfile **kf)
{
	struct tree_target g;
	struct tree_found f;
	int err = tree_target(t, dir, name, &g);

	if (err)
		return err;
	tree_lock(t);
	err = g.kind == NAME_CUT ? EINVAL : tree_find(t, 0, &g, &f);
	if (!err && g.key.len < mvcc_key_min(t->m) && !f.dir)
		err = EINVAL;
	if (!err && g.dir_gone)
		err = ENOENT;
	else if (!err && f.dir)
		err = excl ? EEXIST : EISDIR;
	else if (!err && f.file)
		err = excl ? EEXIST : open_found(t, &g, &f, out, kf);
	else if (!err) {
		err = make_file(t, &g, by, out, kf);
		if (!err)
			tree_touch(dir);
	}
	tree_unlock(t);
	tree_target_fini(&g);
	return err;
}

/* Put a key that must not exist yet, in a revision of its own. */
static int put_new(struct tree *t, struct cairn_slice key,
		   struct cairn_slice value, const struct keyfile_stat *st)
{
	struct mvcc_attrs a = to_attrs(st);
	struct mvcc_txn *txn;
	int err = tree_txn(t, &txn);

	if (err)
		return err;
	err = mvcc_txn_put(txn, key, value, &a);
	if (!err)
		err = tree_commit(t, txn);
	mvcc_txn_free(txn);
	return err;
}

static int make_key(struct tree *t, struct inode *dir, struct cairn_slice name,
		    struct cairn_slice value, const struct keyfile_stat *st)
{
	bool is_dir = st->type == MVCC_DIR;
	struct tree_target g;
	struct tree_found f;
	int err = tree_target(t, dir, name, &g);

	if (err)
		return err;
	tree_lock(t);
	if (g.kind == NAME_CUT || (is_dir && g.kind == NAME_VALUE) ||
	    (!is_dir && g.key.len < mvcc_key_min(t->m)))
		err = EINVAL;
	else
		err = tree_find(t, 0, &g, &f);
	if (!err && (f.file || f.dir))
		err = EEXIST;
	if (!err && g.dir_gone)
		err = ENOENT;
	if (!err && is_dir)
		err = g.key.len == mvcc_key_max(t->m)
			      ? ENAMETOOLONG
			      : errmap_errno(buf_append(&g.key, "/", 1));
	if (!err)
		err = errmap_errno(put_new(t, buf_slice(&g.key), value, st));
	if (!err)
		tree_touch(dir);
	tree_unlock(t);
	tree_target_fini(&g);
	return err;
}

int tree_mkdir(struct tree *t, struct inode *dir, struct cairn_slice name,
	       const struct tree_maker *by)
{
	struct keyfile_stat st = made_by(t, MVCC_DIR, by);

	return make_key(t, dir, name, slice_of(NULL, 0), &st);
}

int tree_symlink(struct tree *t, struct inode *dir, struct cairn_slice name,
		 struct cairn_slice target, const struct tree_maker *by)
{
	struct keyfile_stat st = made_by(t, MVCC_SYMLINK, by);

	if (mvcc_is_plain(t->m))
		return EPERM;
	if (target.len > TREE_LINK_MAX)
		return ENAMETOOLONG;
	return make_key(t, dir, name, target, &st);
}

/* Delete key, keeping its directory. */
static int delete_key(struct tree *t, struct cairn_slice key)
{
	struct mvcc_txn *txn;
	int err = tree_txn(t, &txn);

	if (err)
		return err;
	/* Removing works on a full store, also when it is the last of its
	 * directory. */
	mvcc_txn_use_reserve(txn);
	err = mvcc_txn_delete(txn, key);
	if (!err)
		err = tree_keep_parent(t, txn, key, slice_of(NULL, 0));
	if (!err)
		err = tree_commit(t, txn);
	mvcc_txn_free(txn);
	return err;
}

/* Delete the file or directory record key, with the inode it has. */
static int remove_key(struct tree *t, enum inode_kind kind,
		      struct cairn_slice key, bool exists)
{
	struct keyfile *kf;
	struct inode *i;
	int err = CAIRN_OK;

	tree_live(t, kind, key, kind == INODE_DIR ? key.len : 0, &i, &kf);
	if (kf)
		err = keyfile_unlink(kf, &exists);
	if (!err && exists) {
		err = delete_key(t, key);
		if (err && kf)
			keyfile_undo_unlink(kf);
	}
	if (!err && i)
		inode_hide(t->inodes, i);
	if (kf)
		keyfile_unref(kf);
	inode_unref(t->inodes, i);
	return errmap_errno(err);
}

int tree_unlink(struct tree *t, struct inode *dir, struct cairn_slice name)
{
	struct tree_target g;
	struct tree_found f;
	int err = tree_target(t, dir, name, &g);

	if (err)
		return err == EINVAL ? ENOENT : err;
	tree_lock(t);
	err = tree_find(t, 0, &g, &f);
	if (!err && f.dir)
		err = EISDIR;
	else if (!err && !f.file)
		err = ENOENT;
	if (!err)
		err = remove_key(t, INODE_FILE, buf_slice(&g.key), true);
	if (!err)
		tree_touch(dir);
	tree_unlock(t);
	tree_target_fini(&g);
	return err;
}

/* key is the directory's, with its '/'. */
static int remove_dir(struct tree *t, struct cairn_slice key, bool has_record)
{
	int err = tree_any_in(t, key, has_record);

	if (err == CAIRN_OK)
		return ENOTEMPTY;
	if (err != CAIRN_NOT_FOUND)
		return errmap_errno(err);
	return remove_key(t, INODE_DIR, key, has_record);
}

/* A cut is there as long as a key goes through it, and no longer. */
static int remove_cut(struct tree *t, const struct tree_target *g, bool there)
{
	struct keyfile *kf;
	struct inode *i;

	if (there)
		return ENOTEMPTY;
	tree_live(t, INODE_DIR, buf_slice(&g->key), g->dir_len, &i, &kf);
	if (kf)
		keyfile_unref(kf);
	if (!i)
		return ENOENT;
	inode_hide(t->inodes, i);
	inode_unref(t->inodes, i);
	return 0;
}

int tree_rmdir(struct tree *t, struct inode *dir, struct cairn_slice name)
{
	struct tree_target g;
	struct tree_found f;
	int err = tree_target(t, dir, name, &g);

	if (err)
		return err == EINVAL ? ENOENT : err;
	tree_lock(t);
	err = tree_find(t, 0, &g, &f);
	if (!err && g.kind == NAME_CUT)
		err = remove_cut(t, &g, f.dir);
	else if (!err && !f.dir)
		err = f.file ? ENOTDIR : ENOENT;
	else if (!err && buf_append(&g.key, "/", 1))
		err = ENOMEM;
	else if (!err)
		err = remove_dir(t, buf_slice(&g.key), f.has_record);
	if (!err)
		tree_touch(dir);
	tree_unlock(t);
	tree_target_fini(&g);
	return err;
}
