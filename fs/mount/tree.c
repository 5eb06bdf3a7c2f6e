/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/tree.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "fs/mount/tree_impl.h"
#include "fs/text/errmap.h"

#define MODE_FILE 0644u
#define MODE_DIR  0755u
#define SPINS     100u

int64_t tree_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void tree_init(struct tree *t, struct mvcc *m, struct inodes *inodes,
	       struct keyfiles *ks, const struct tree_options *o)
{
	*t = (struct tree){ .m = m, .inodes = inodes, .ks = ks, .o = *o };
	t->born_ns = tree_now_ns();
	t->top = tree_plain_dir(t);
	mutex_init(&t->names);
}

void tree_fini(struct tree *t)
{
	mutex_fini(&t->names);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static void wait_begin(const struct tree *t)
{
	if (t->o.wait_begin)
		t->o.wait_begin(t->o.ctx);
}

static void wait_end(const struct tree *t)
{
	if (t->o.wait_end)
		t->o.wait_end(t->o.ctx);
}

/* Names change in microseconds, mostly: less than it takes to sleep and to be
 * woken. */
void tree_lock(struct tree *t)
{
	for (unsigned i = 0; i < SPINS; i++) {
		if (mutex_trylock(&t->names))
			return;
		relax();
	}
	wait_begin(t);
	mutex_lock(&t->names);
	wait_end(t);
}

void tree_unlock(struct tree *t)
{
	mutex_unlock(&t->names);
}

int tree_txn(struct tree *t, struct mvcc_txn **out)
{
	int err = mvcc_txn_new(t->m, out);

	if (!err)
		mvcc_txn_set_origin(*out, t->o.origin);
	return err;
}

int tree_commit(struct tree *t, struct mvcc_txn *txn)
{
	int err;

	wait_begin(t);
	err = mvcc_txn_commit(txn, t->o.sync, NULL);
	wait_end(t);
	return err;
}

void tree_touch(struct inode *dir)
{
	atomic_store_explicit(&dir->changed_ns, tree_now_ns(),
			      memory_order_relaxed);
}

void tree_live(struct tree *t, enum inode_kind kind, struct cairn_slice id,
	       size_t dir_len, struct inode **i, struct keyfile **kf)
{
	struct inode_id want = { kind, 0, id, dir_len };
	struct keyfile_stat st;

	*i = inode_find_file(t->inodes, &want, kf);
	if (!*kf || keyfile_stat(*kf, &st) || !st.unlinked)
		return;
	/* Deleted below while it was open: the name is free of it. */
	keyfile_unref(*kf);
	*kf = NULL;
	inode_hide(t->inodes, *i);
	inode_unref(t->inodes, *i);
	*i = NULL;
}

/* ------------------------------------------------------------ attributes */

struct keyfile_stat tree_plain_dir(const struct tree *t)
{
	return (struct keyfile_stat){ .type = MVCC_DIR,
				      .mtime_ns = t->born_ns,
				      .ctime_ns = t->born_ns };
}

static struct timespec to_timespec(int64_t ns)
{
	int64_t s = ns / 1000000000, rest = ns % 1000000000;

	if (rest < 0) {
		rest += 1000000000;
		s--;
	}
	return (struct timespec){ .tv_sec = s, .tv_nsec = rest };
}

mode_t tree_default_mode(const struct tree *t, enum mvcc_type type)
{
	if (type == MVCC_SYMLINK)
		return 0777;
	return (type == MVCC_DIR ? MODE_DIR : MODE_FILE) & ~t->o.umask;
}

void tree_fill_stat(const struct tree *t, const struct keyfile_stat *ks,
		    uint64_t ino, int64_t changed_ns, struct stat *st)
{
	static const mode_t formats[] = { [MVCC_FILE] = S_IFREG,
					  [MVCC_SYMLINK] = S_IFLNK,
					  [MVCC_DIR] = S_IFDIR };
	int64_t mtime = ks->mtime_ns, ctime_ns = ks->ctime_ns;

	if (changed_ns && changed_ns > mtime) /* 0: none is known */
		mtime = changed_ns;
	if (changed_ns > ctime_ns)
		ctime_ns = changed_ns;
	*st = (struct stat){ .st_ino = ino, .st_blksize = 4096 };
	st->st_mode =
		formats[ks->type] |
		(ks->has_mode ? ks->mode : tree_default_mode(t, ks->type));
	st->st_nlink = ks->unlinked ? 0 : 1;
	st->st_uid = ks->has_uid ? ks->uid : t->o.uid;
	st->st_gid = ks->has_gid ? ks->gid : t->o.gid;
	st->st_size = ks->type == MVCC_DIR ? 4096 : (off_t)ks->size;
	st->st_blocks = (blkcnt_t)((uint64_t)st->st_size / 512 +
				   ((uint64_t)st->st_size % 512 != 0));
	st->st_mtim = to_timespec(mtime);
	st->st_atim = st->st_mtim;
	st->st_ctim = to_timespec(ctime_ns);
}

static int64_t changed_of(struct inode *i)
{
	return atomic_load_explicit(&i->changed_ns, memory_order_relaxed);
}

static int stat_of_key(struct tree *t, struct cairn_slice key, int64_t rev,
		       struct keyfile_stat *out)
{
	struct mvcc_pinned_row row = { 0 };
	int err = mvcc_get(t->m, key, rev, &row);

	if (!err)
		keyfile_stat_of_row(&row.row, out);
	mvcc_row_release(&row);
	return err;
}

/* A directory's attributes: its record, when it has one. */
static int stat_of_dir(struct tree *t, const struct inode_where *w, int64_t rev,
		       struct keyfile_stat *out)
{
	struct keyfile_stat st;
	int err;

	if (w->id.len == 0 && rev == 0) {
		tree_lock(t);
		*out = t->top;
		tree_unlock(t);
		return CAIRN_OK;
	}
	*out = tree_plain_dir(t);
	out->unlinked = w->gone;
	if (w->gone || w->id.len == 0 || w->id.len != w->dir_len)
		return CAIRN_OK;
	err = stat_of_key(t, w->id, rev, &st);
	if (!err && st.type == MVCC_DIR)
		*out = st;
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* What the store says of i, which is not open. */
static int stat_stored(struct tree *t, struct inode *i,
		       const struct inode_where *w, struct keyfile_stat *out)
{
	if (i->kind == INODE_DIR)
		return stat_of_dir(t, w, i->rev, out);
	if (w->gone)
		return CAIRN_EFORGOTTEN; /* removed */
	return stat_of_key(t, w->id, i->rev, out);
}

int tree_getattr(struct tree *t, struct inode *i, struct stat *st)
{
	struct keyfile_stat ks;
	bool settled = false;
	int err = CAIRN_OK;

	while (!settled) {
		struct keyfile *kf = inode_file(t->inodes, i);
		struct inode_where w = { 0 };

		if (kf) {
			err = keyfile_stat(kf, &ks);
			keyfile_unref(kf);
			break;
		}
		err = inode_copy_id(t->inodes, i, &w);
		if (err)
			break;
		err = stat_stored(t, i, &w, &ks);
		/* Or it was of a name that i has lost meanwhile. */
		settled = inode_is_at(t->inodes, i, &w);
		inode_where_fini(&w);
	}
	if (!err)
		tree_fill_stat(t, &ks, i->st_ino, changed_of(i), st);
	return errmap_errno(err);
}

/* --------------------------------------------------------------- targets */

static int fill_target(struct tree *t, const struct inode_where *dir,
		       const struct name_bytes *b, struct tree_target *g)
{
	struct cairn_slice id = dir->id;

	g->dir_len = dir->dir_len;
	g->dir_gone = dir->gone;
	if (g->kind == NAME_VALUE) {
		/* The directory itself: no cut, and no key that cannot be. */
		if (id.len != dir->dir_len || id.len <= mvcc_key_min(t->m))
			return EINVAL;
		id.len--;
		while (g->dir_len &&
		       (g->dir_len > id.len || id.data[g->dir_len - 1] != '/'))
			g->dir_len--;
		return errmap_errno(buf_append(&g->key, id.data, id.len));
	}
	if (id.len + b->len > mvcc_key_max(t->m))
		return ENAMETOOLONG;
	if (buf_append(&g->key, id.data, id.len) ||
	    buf_append(&g->key, b->bytes, b->len))
		return ENOMEM;
	if (g->kind == NAME_PART &&
	    !name_is_cut_at(tree_target_part(g), tree_flat_top(t, g->dir_len),
			    id.len - dir->dir_len))
		return EINVAL;
	return 0;
}

int tree_target(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct tree_target *out)
{
	struct inode_where w = { 0 };
	struct name_bytes b;
	int err;

	*out = (struct tree_target){ .kind = NAME_BAD };
	if (name.len > NAME_LEN_MAX)
		return ENAMETOOLONG;
	err = errmap_errno(inode_copy_id(t->inodes, dir, &w));
	if (err)
		return err;
	out->kind = name_decode(name, tree_flat_top(t, w.id.len), &b);
	if (out->kind == NAME_BAD || out->kind == NAME_HISTORY)
		err = EINVAL;
	else
		err = fill_target(t, &w, &b, out);
	inode_where_fini(&w);
	if (err)
		tree_target_fini(out);
	return err;
}

void tree_target_fini(struct tree_target *g)
{
	buf_fini(&g->key);
}

/* CAIRN_OK when a key that is created and not committed starts with prefix. To
 * be asked before the store: what is committed in between is seen there. */
static int any_created(struct tree *t, struct cairn_slice prefix)
{
	struct buf keys = { 0 };
	int err = keyfiles_created(t->ks, prefix, &keys);
	bool any = keys.len > 0;

	buf_fini(&keys);
	if (err)
		return err;
	return any ? CAIRN_OK : CAIRN_NOT_FOUND;
}

int tree_any_in(struct tree *t, struct cairn_slice dir, bool has_record)
{
	int err = any_created(t, dir);

	if (err != CAIRN_NOT_FOUND)
		return err;
	return mvcc_any(t->m, 0, dir, has_record ? dir : slice_of(NULL, 0));
}

/* Whether a key goes through the cut that key is a part of. */
static int find_cut(struct tree *t, int64_t rev, const struct tree_target *g,
		    struct tree_found *out)
{
	struct cairn_slice part = tree_target_part(g);
	struct mvcc_list *l;
	struct mvcc_entry e;
	int err = rev ? CAIRN_NOT_FOUND : any_created(t, buf_slice(&g->key));

	/* A long name that is created and not committed yet. */
	if (!err) {
		out->dir = true;
		out->dir_st = tree_plain_dir(t);
		return CAIRN_OK;
	}
	if (err == CAIRN_NOT_FOUND)
		err = mvcc_list_new(t->m, rev, tree_target_dir(g), part, &l);
	if (err)
		return err;
	while (!(err = mvcc_list_next(l, &e)) &&
	       slice_starts_with(e.name, part))
		if (name_is_cut_at(e.name, tree_flat_top(t, g->dir_len),
				   part.len)) {
			out->dir = true;
			out->dir_st = tree_plain_dir(t);
			break;
		}
	mvcc_list_free(l);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int find_committed(struct tree *t, int64_t rev,
			  const struct tree_target *g, struct tree_found *out)
{
	struct mvcc_pinned_row a = { 0 }, b = { 0 };
	struct mvcc_entry e;
	int err;

	if (g->kind == NAME_VALUE) {
		err = stat_of_key(t, buf_slice(&g->key), rev, &out->file_st);
		out->file = !err;
		return err;
	}
	err = mvcc_lookup(t->m, rev, tree_target_dir(g), tree_target_part(g),
			  &e, &a, &b);
	if (!err) {
		out->file = e.is_file;
		out->dir = e.is_dir;
		out->has_record = e.has_dir_row;
		out->dir_st = tree_plain_dir(t);
		if (e.is_file)
			keyfile_stat_of_row(&e.file, &out->file_st);
		if (e.has_dir_row)
			keyfile_stat_of_row(&e.dir_row, &out->dir_st);
	}
	mvcc_row_release(&a);
	mvcc_row_release(&b);
	return err;
}

/* What is open, or changed and not committed, says more than the store. */
static int find_live(struct tree *t, const struct tree_target *g,
		     struct tree_found *out)
{
	struct keyfile_stat st;
	struct keyfile *kf;
	struct inode *i;
	int err = CAIRN_OK;

	tree_live(t, INODE_FILE, buf_slice(&g->key), 0, &i, &kf);
	if (kf) {
		err = keyfile_stat(kf, &st);
		if (!err && !st.unlinked) {
			out->file = true;
			out->file_st = st;
		}
		keyfile_unref(kf);
	}
	inode_unref(t->inodes, i);
	return err;
}

int tree_find(struct tree *t, int64_t rev, const struct tree_target *g,
	      struct tree_found *out)
{
	struct tree_found live = { 0 };
	int err;

	*out = (struct tree_found){ 0 };
	if (g->kind == NAME_CUT)
		return errmap_errno(find_cut(t, rev, g, out));
	/* First what is open: what is committed and closed in between is seen
	 * in the store. */
	if (!rev) {
		err = find_live(t, g, &live);
		if (err)
			return errmap_errno(err);
	}
	err = find_committed(t, rev, g, out);
	if (err && err != CAIRN_NOT_FOUND)
		return errmap_errno(err);
	if (live.file) {
		out->file = true;
		out->file_st = live.file_st;
	}
	return 0;
}

int tree_inode_of(struct tree *t, int64_t rev, struct tree_target *g,
		  const struct tree_found *f, struct inode **out)
{
	struct inode_id id = { .kind = INODE_FILE, .rev = rev };

	if (f->dir && g->kind == NAME_PART) {
		if (buf_append(&g->key, "/", 1))
			return ENOMEM;
		id.kind = INODE_DIR;
		id.dir_len = g->key.len;
	} else if (g->kind == NAME_CUT) {
		id.kind = INODE_DIR;
		id.dir_len = g->dir_len;
	}
	id.id = buf_slice(&g->key);
	return errmap_errno(inode_get(t->inodes, &id, out));
}

/* Attributes of a directory may be changed and uncommitted. */
static int live_dir_stat(struct tree *t, struct inode *i,
			 struct keyfile_stat *st)
{
	struct keyfile *kf = inode_file(t->inodes, i);
	int err = CAIRN_OK;

	if (kf) {
		err = keyfile_stat(kf, st);
		keyfile_unref(kf);
	}
	return err;
}

unsigned tree_part(struct cairn_slice key)
{
	return (unsigned)(hash64(key.data, key.len) % TREE_PARTS);
}

struct tree_renames tree_renames(const struct tree *t, struct cairn_slice key)
{
	unsigned part = tree_part(key);

	return (struct tree_renames){ t->renames, t->moves[part], part };
}

static bool renamed_since(const struct tree *t, const struct tree_renames *r)
{
	return r->all & 1 || r->one & 1 || r->all != t->renames ||
	       r->one != t->moves[r->part];
}

int tree_inode(struct tree *t, const struct tree_renames *r,
	       const struct inode_id *id, struct inode **out, bool *open)
{
	int err = inode_get_open(t->inodes, id, out, open);

	if (err)
		return errmap_errno(err);
	if (id->rev || !renamed_since(t, r))
		return 0;
	inode_unref(t->inodes, *out);
	*out = NULL;
	return EAGAIN;
}

/* *r is what tree_renames() was when the key was known. */
static int lookup(struct tree *t, struct inode *dir, struct cairn_slice name,
		  struct tree_renames *r, struct inode **out, struct stat *st)
{
	struct keyfile_stat ks;
	struct tree_target g;
	struct tree_found f;
	struct inode *i = NULL;
	int err = tree_target(t, dir, name, &g);

	*r = tree_renames(t, buf_slice(&g.key));
	if (err)
		return err == EINVAL ? ENOENT : err;
	err = tree_find(t, dir->rev, &g, &f);
	if (!err && !f.file && !f.dir)
		err = ENOENT;
	if (!err)
		err = tree_inode_of(t, dir->rev, &g, &f, &i);
	if (!err) {
		ks = i->kind == INODE_DIR ? f.dir_st : f.file_st;
		if (i->kind == INODE_DIR && i->rev == 0)
			err = errmap_errno(live_dir_stat(t, i, &ks));
	}
	if (!err) {
		tree_fill_stat(t, &ks, i->st_ino, changed_of(i), st);
		*out = i;
		i = NULL;
	}
	inode_unref(t->inodes, i);
	tree_target_fini(&g);
	return err;
}

int tree_lookup(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct inode **out, struct stat *st)
{
	unsigned all = t->renames; /* the directory may be renamed, too */
	struct tree_renames r;
	int err = lookup(t, dir, name, &r, out, st);

	r.all = all;
	if (dir->rev || !renamed_since(t, &r))
		return err;
	/* The inode may have got the id that it should have lost. */
	if (!err)
		inode_unref(t->inodes, *out);
	tree_lock(t);
	err = lookup(t, dir, name, &r, out, st);
	tree_unlock(t);
	return err;
}

/* -------------------------------------------------------------- keyfiles */

/* A directory's record, which may not be there yet, as a keyfile. */
static int load_dir(struct tree *t, struct inode *i,
		    const struct inode_where *w, struct keyfile **out)
{
	struct keyfile_stat st = tree_plain_dir(t);
	int err;

	/* keys/ and cuts have no key that could hold anything. */
	if (w->id.len == 0 || w->id.len != w->dir_len)
		return EPERM;
	err = keyfile_load(t->ks, i, w->id, out);
	if (err == CAIRN_NOT_FOUND)
		return errmap_errno(keyfile_new(t->ks, i, w->id, &st, out));
	if (err)
		return errmap_errno(err);
	err = errmap_errno(keyfile_stat(*out, &st));
	/* The record's key is a file of its own ("a/%"). */
	if (!err && st.type != MVCC_DIR)
		err = EPERM;
	if (err)
		keyfile_unref(*out);
	return err;
}

/* What is now at w. ESTALE: nothing; path lookup then tries again, for the name
 * may be new. */
static int load_at(struct tree *t, struct inode *i, const struct inode_where *w,
		   struct keyfile **out)
{
	int err;

	if (w->gone)
		return ESTALE;
	err = i->kind == INODE_DIR
		      ? load_dir(t, i, w, out)
		      : errmap_errno(keyfile_load(t->ks, i, w->id, out));
	return err == ENOENT ? ESTALE : err;
}

int tree_file_of(struct tree *t, struct inode *i, bool have_names,
		 struct keyfile **out)
{
	for (;;) {
		struct keyfile *kf = inode_file(t->inodes, i);
		struct inode_where w = { 0 };
		bool settled;
		int err;

		if (kf) {
			*out = kf;
			return 0;
		}
		err = errmap_errno(inode_copy_id(t->inodes, i, &w));
		if (err)
			return err;
		err = load_at(t, i, &w, &kf);
		if (err) {
			settled =
				err != ESTALE || inode_is_at(t->inodes, i, &w);
		} else {
			if (!have_names)
				tree_lock(t);
			kf = inode_set_file(t->inodes, i, kf, &w);
			if (!have_names)
				tree_unlock(t);
			settled = kf;
		}
		inode_where_fini(&w);
		if (settled) {
			*out = kf;
			return err;
		}
	}
}

int tree_file(struct tree *t, struct inode *i, struct keyfile **out)
{
	return tree_file_of(t, i, false, out);
}

static void what_differs(const struct tree *t, enum mvcc_type type,
			 struct keyfile_stat *st)
{
	st->has_mode = st->mode != tree_default_mode(t, type);
	st->has_uid = st->uid != t->o.uid;
	st->has_gid = st->gid != t->o.gid;
}

static void set_top(struct tree *t, unsigned mask,
		    const struct keyfile_stat *st)
{
	tree_lock(t);
	if (mask & KEYFILE_MODE) {
		t->top.has_mode = true;
		t->top.mode = st->mode;
	}
	if (mask & KEYFILE_UID) {
		t->top.has_uid = true;
		t->top.uid = st->uid;
	}
	if (mask & KEYFILE_GID) {
		t->top.has_gid = true;
		t->top.gid = st->gid;
	}
	if (mask & KEYFILE_MTIME)
		t->top.mtime_ns = st->mtime_ns;
	tree_unlock(t);
}

/*
 * A plain store has no place for attributes: 0 when what is asked for is what
 * there is, or what a write would do as well.
 */
static int may_set_plain(struct tree *t, struct inode *i, unsigned mask,
			 const struct keyfile_stat *st)
{
	struct stat now;
	int err = tree_getattr(t, i, &now);

	if (err)
		return err;
	if ((mask & KEYFILE_MODE && st->mode != (now.st_mode & 07777)) ||
	    (mask & KEYFILE_UID && st->uid != now.st_uid) ||
	    (mask & KEYFILE_GID && st->gid != now.st_gid))
		return EPERM;
	if (mask & KEYFILE_MTIME && !(mask & KEYFILE_TOUCH) &&
	    st->mtime_ns != (int64_t)now.st_mtim.tv_sec * 1000000000 +
				    now.st_mtim.tv_nsec)
		return EPERM;
	return 0;
}

static int set_plain(struct tree *t, struct inode *i, unsigned mask,
		     const struct keyfile_stat *st)
{
	struct keyfile *kf;
	int err = may_set_plain(t, i, mask, st);

	if (err || !(mask & KEYFILE_TOUCH))
		return err;
	if (i->kind == INODE_DIR) {
		tree_touch(i);
		return 0;
	}
	err = tree_file(t, i, &kf);
	if (err)
		return err;
	keyfile_set_attrs(kf, KEYFILE_MTIME, st);
	keyfile_unref(kf);
	inode_drop_file(t->inodes, i);
	return 0;
}

int tree_set_attrs(struct tree *t, struct inode *i, unsigned mask,
		   const struct keyfile_stat *st)
{
	struct keyfile_stat set = *st, now;
	struct inode_where w = { 0 };
	struct keyfile *kf;
	bool top;
	int err;

	if (mvcc_is_plain(t->m))
		return set_plain(t, i, mask, st);
	/* A time given counts more than one seen. */
	if (i->kind == INODE_DIR && mask & KEYFILE_MTIME)
		atomic_store_explicit(&i->changed_ns, 0, memory_order_relaxed);
	err = errmap_errno(inode_copy_id(t->inodes, i, &w));
	if (err)
		return err;
	top = i->kind == INODE_DIR && w.id.len == 0;
	inode_where_fini(&w);
	if (top) {
		set_top(t, mask, st);
		return 0;
	}
	err = tree_file(t, i, &kf);
	if (err)
		return err;
	err = errmap_errno(keyfile_may_grow(kf));
	if (!err)
		err = errmap_errno(keyfile_stat(kf, &now));
	if (!err) {
		what_differs(t, now.type, &set);
		keyfile_set_attrs(kf, mask, &set);
	}
	keyfile_unref(kf);
	inode_drop_file(t->inodes, i);
	return err;
}

int tree_readlink(struct tree *t, struct inode *i, struct buf *out)
{
	struct mvcc_pinned_row row = { 0 };
	struct inode_where w = { 0 };
	bool settled = false;
	size_t got = 0;
	int err = CAIRN_OK;

	while (!err && !settled) {
		err = inode_copy_id(t->inodes, i, &w);
		if (err)
			break;
		err = mvcc_get(t->m, w.id, i->rev, &row);
		settled =
			err != CAIRN_NOT_FOUND || inode_is_at(t->inodes, i, &w);
		if (!settled)
			err = CAIRN_OK;
		inode_where_fini(&w);
	}
	if (!err && row.row.attrs.type != MVCC_SYMLINK)
		err = CAIRN_EINVAL;
	if (!err)
		err = buf_reserve(out, TREE_LINK_MAX);
	if (!err)
		err = mvcc_read(t->m, &row.row, 0, out->data + out->len,
				TREE_LINK_MAX, &got);
	out->len += got;
	mvcc_row_release(&row);
	return errmap_errno(err);
}
