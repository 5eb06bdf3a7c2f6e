/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Renaming files and directories: a list of moves of keys, which becomes one
 * transaction, and then the same for the inodes that are known.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/mount/rowref.h"
#include "fs/mount/tree_impl.h"
#include "fs/text/errmap.h"

/* One key that goes from one name to another. */
struct move {
	struct cairn_slice from; /* both from malloc */
	struct cairn_slice to;
	struct rowref *row; /* of from */
	bool exchange;      /* to goes to from in turn */
	bool done;          /* as part of another move */
};

/* A change of an inode's id, made ready before the commit. */
struct follow {
	struct inode *i;
	struct keyfile *kf;    /* frozen; NULL: not open */
	struct cairn_slice id; /* from malloc */
	struct cairn_slice key;
	size_t dir_len;
};

struct renaming {
	struct tree *t;
	struct move *moves;
	size_t n, cap;
	struct follow *follows;
	size_t n_follows, follows_cap;
	size_t bytes; /* of keys and values in the transaction */
};

/* One side of it: a file, or a directory with all below. */
struct side {
	struct tree_target g;
	struct tree_found f;
	bool is_dir;
	struct buf prefix; /* of a directory: the key and '/' */
};

/* ----------------------------------------------------------------- moves */

static int grow(void **array, size_t size, size_t n, size_t *cap)
{
	size_t more = *cap ? *cap * 2 : 8;
	void *p;

	if (n < *cap)
		return 0;
	p = realloc(*array, more * size);
	if (!p)
		return ENOMEM;
	*array = p;
	*cap = more;
	return 0;
}

/* from with its first `skip` bytes replaced by head. */
static int replace_head(const struct renaming *r, struct cairn_slice from,
			size_t skip, struct cairn_slice head,
			struct cairn_slice *out)
{
	struct buf b = { 0 };

	if (head.len + from.len - skip > mvcc_key_max(r->t->m))
		return ENAMETOOLONG;
	if (buf_reserve(&b, head.len + from.len - skip + 1) ||
	    buf_append(&b, head.data, head.len) ||
	    buf_append(&b, from.data + skip, from.len - skip)) {
		buf_fini(&b);
		return ENOMEM;
	}
	*out = buf_slice(&b); /* owns the bytes from here */
	return 0;
}

static int add_move(struct renaming *r, struct cairn_slice from, size_t skip,
		    struct cairn_slice head)
{
	struct move m = { 0 };
	int err = grow((void **)&r->moves, sizeof(*r->moves), r->n, &r->cap);

	if (err)
		return err;
	if (r->n >= TREE_RENAME_KEYS_MAX)
		return EXDEV;
	err = replace_head(r, from, skip, head, &m.to);
	if (!err)
		err = errmap_errno(slice_dup(from, &m.from));
	if (!err)
		err = errmap_errno(rowref_get(r->t->m, from, 0, &m.row));
	if (!err) {
		r->bytes += m.from.len + m.to.len +
			    (m.row->r.row.object ? 0 : m.row->r.row.size);
		if (r->bytes > TREE_RENAME_BYTES_MAX)
			err = EXDEV;
	}
	if (err) {
		free((void *)(uintptr_t)m.from.data);
		free((void *)(uintptr_t)m.to.data);
		rowref_unref(m.row);
		return err;
	}
	r->moves[r->n++] = m;
	return 0;
}

static void renaming_fini(struct renaming *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free((void *)(uintptr_t)r->moves[i].from.data);
		free((void *)(uintptr_t)r->moves[i].to.data);
		rowref_unref(r->moves[i].row);
	}
	free(r->moves);
	for (size_t i = 0; i < r->n_follows; i++) {
		if (r->follows[i].kf) {
			keyfile_thaw(r->follows[i].kf);
			keyfile_unref(r->follows[i].kf);
		}
		inode_unref(r->t->inodes, r->follows[i].i);
		free((void *)(uintptr_t)r->follows[i].id.data);
		free((void *)(uintptr_t)r->follows[i].key.data);
	}
	free(r->follows);
}

/* All keys of side a go to the name of side b. */
static int move_side(struct renaming *r, const struct side *a,
		     const struct side *b)
{
	struct cairn_slice prefix = buf_slice(&a->prefix), end = { 0 };
	struct cairn_slice to = buf_slice(&b->prefix);
	struct mvcc_scan *s;
	struct mvcc_row row;
	int err = 0, e;

	/* Of a directory that is a key as well, that key is "%=" in it. */
	if (!a->is_dir || a->f.file) {
		err = add_move(r, buf_slice(&a->g.key), a->g.key.len,
			       buf_slice(&b->g.key));
		if (err == ENOENT && a->is_dir)
			err = 0;
	}
	if (err || !a->is_dir)
		return err;
	err = errmap_errno(mvcc_prefix_end(prefix, &end));
	if (err)
		return err;
	err = errmap_errno(mvcc_scan_new(r->t->m, 0, prefix, end, false, &s));
	free((void *)(uintptr_t)end.data);
	if (err)
		return err;
	while (!err && !(e = mvcc_scan_next(s, &row)))
		err = add_move(r, row.key, prefix.len, to);
	if (!err && e != CAIRN_NOT_FOUND)
		err = errmap_errno(e);
	mvcc_scan_free(s);
	return err;
}

static int cmp_from(const void *a, const void *b)
{
	const struct move *x = a, *y = b;

	return slice_cmp(x->from, y->from);
}

static struct move *find_from(const struct renaming *r, struct cairn_slice key)
{
	struct move want = { .from = key };

	return bsearch(&want, r->moves, r->n, sizeof(want), cmp_from);
}

/* Tell which moves are the two halves of an exchange. */
static void mark_exchanges(struct renaming *r)
{
	qsort(r->moves, r->n, sizeof(*r->moves), cmp_from);
	for (size_t i = 0; i < r->n; i++) {
		struct move *other = find_from(r, r->moves[i].to);

		if (!other || r->moves[i].done)
			continue;
		r->moves[i].exchange = true;
		other->done = true;
	}
}

/*
 * A small value is put anew when its mtime is just that of its commit, which a
 * move would renew.
 */
static int add_to_txn(struct mvcc_txn *txn, const struct move *m)
{
	const struct mvcc_row *row = &m->row->r.row;
	struct mvcc_attrs a = row->attrs;
	int err;

	if (m->done)
		return CAIRN_OK;
	if (m->exchange)
		return mvcc_txn_exchange(txn, m->from, m->to);
	if (row->object || a.has_mtime)
		return mvcc_txn_move(txn, m->from, m->to);
	a.has_mtime = true;
	a.mtime_ns = row->time_ns;
	err = mvcc_txn_put(txn, m->to, row->value, &a);
	if (!err && row->lease)
		err = mvcc_txn_set_lease(txn, row->lease);
	return err ? err : mvcc_txn_delete(txn, m->from);
}

/* --------------------------------------------------------------- inodes */

static int add_follow(struct renaming *r, struct inode *i, size_t skip,
		      struct cairn_slice head)
{
	struct inode_where w = { 0 };
	struct follow f = { .i = i };
	int err = grow((void **)&r->follows, sizeof(*r->follows), r->n_follows,
		       &r->follows_cap);

	if (!err)
		err = errmap_errno(inode_copy_id(r->t->inodes, i, &w));
	if (!err)
		err = replace_head(r, w.id, skip, head, &f.id);
	if (!err)
		err = replace_head(r, w.id, skip, head, &f.key);
	if (!err && i->kind == INODE_DIR)
		f.dir_len = w.dir_len - skip + head.len;
	inode_where_fini(&w);
	if (err) {
		free((void *)(uintptr_t)f.id.data);
		free((void *)(uintptr_t)f.key.data);
		return err;
	}
	r->follows[r->n_follows++] = f; /* with the caller's reference */
	return 0;
}

/* The last one's key moves with all it has, and only then may it change. */
static int freeze_last(struct renaming *r)
{
	struct follow *f = &r->follows[r->n_follows - 1];
	struct keyfile *kf = inode_file(r->t->inodes, f->i);
	int err = CAIRN_OK;

	if (!kf)
		return 0;
	err = keyfile_freeze(kf);
	if (err)
		keyfile_unref(kf);
	else
		f->kf = kf;
	return errmap_errno(err);
}

/* The inodes of a side, frozen. */
static int follow_side(struct renaming *r, const struct side *a,
		       const struct side *b)
{
	struct tree *t = r->t;
	struct cairn_slice key = buf_slice(&a->g.key);
	struct inode **list = NULL;
	struct keyfile *kf;
	size_t n = 0;
	int err = 0;

	if (a->is_dir) {
		err = errmap_errno(inodes_below(
			t->inodes, buf_slice(&a->prefix), key, &list, &n));
	} else {
		list = malloc(sizeof(struct inode *));
		if (!list)
			return ENOMEM;
		tree_live(t, INODE_FILE, key, 0, &list[0], &kf);
		if (kf)
			keyfile_unref(kf);
		n = list[0] ? 1 : 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (!err)
			err = add_follow(r, list[i], key.len,
					 buf_slice(&b->g.key));
		if (err)
			inode_unref(t->inodes, list[i]);
		else
			err = freeze_last(r);
	}
	free(list);
	return err;
}

/* After the commit; nothing here can fail. */
static void follow_all(struct renaming *r)
{
	for (size_t i = 0; i < r->n_follows; i++) {
		struct follow *f = &r->follows[i];

		inode_rename(r->t->inodes, f->i, f->id, f->dir_len);
		f->id = slice_of(NULL, 0);
		if (!f->kf)
			continue;
		keyfile_renamed(f->kf, f->key);
		f->key = slice_of(NULL, 0);
	}
}

/* ------------------------------------------------------------- the whole */

static int look(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct side *s)
{
	int err = tree_target(t, dir, name, &s->g);

	if (err)
		return err;
	if (s->g.kind == NAME_CUT)
		return EINVAL;
	err = tree_find(t, 0, &s->g, &s->f);
	s->is_dir = s->f.dir;
	if (!err && (buf_set(&s->prefix, buf_slice(&s->g.key)) ||
		     buf_append(&s->prefix, "/", 1)))
		err = ENOMEM;
	return err;
}

static void side_fini(struct side *s)
{
	tree_target_fini(&s->g);
	buf_fini(&s->prefix);
}

static bool exists(const struct side *s)
{
	return s->f.file || s->f.dir;
}

static bool lies_in(const struct side *a, const struct side *b)
{
	return b->is_dir &&
	       slice_starts_with(buf_slice(&a->g.key), buf_slice(&b->prefix));
}

static int check(const struct tree *t, const struct side *a,
		 const struct side *b, enum tree_rename_how how)
{
	if (!exists(a) || b->g.dir_gone)
		return ENOENT;
	if (!a->is_dir && b->g.key.len < mvcc_key_min(t->m))
		return b->is_dir ? EISDIR : EINVAL; /* no empty key */
	if (how == TREE_RENAME_NOREPLACE && exists(b))
		return EEXIST;
	if (how == TREE_RENAME_EXCHANGE && !exists(b))
		return ENOENT;
	/* Into itself; and an ancestor cannot be exchanged either. */
	if (lies_in(b, a))
		return EINVAL;
	if (lies_in(a, b))
		return how == TREE_RENAME_EXCHANGE ? EINVAL : ENOTEMPTY;
	/* "a" to "a/%=", of the same key. */
	if (slice_eq(buf_slice(&a->g.key), buf_slice(&b->g.key)))
		return EINVAL;
	if (how == TREE_RENAME_EXCHANGE || !exists(b))
		return 0;
	if (a->is_dir && !b->is_dir)
		return ENOTDIR;
	if (!a->is_dir && b->is_dir)
		return EISDIR;
	return 0;
}

/* What is replaced: a file, or an empty directory. */
struct replaced {
	struct inode *i;
	struct keyfile *kf;
	bool committed; /* must be deleted unless something moves there */
};

static int replace(struct tree *t, const struct side *b, struct replaced *x)
{
	struct cairn_slice id = buf_slice(b->is_dir ? &b->prefix : &b->g.key);
	int err;

	if (!exists(b))
		return 0;
	if (b->is_dir) {
		err = tree_any_in(t, id, b->f.has_record);
		if (err == CAIRN_OK)
			return ENOTEMPTY;
		if (err != CAIRN_NOT_FOUND)
			return errmap_errno(err);
		x->committed = b->f.has_record;
		/* "b/%=" would be replaced unseen. */
		if (b->f.file)
			return ENOTEMPTY;
	}
	tree_live(t, b->is_dir ? INODE_DIR : INODE_FILE, id,
		  b->is_dir ? id.len : 0, &x->i, &x->kf);
	if (!x->kf)
		return 0;
	err = keyfile_unlink(x->kf, &x->committed);
	if (err) {
		keyfile_unref(x->kf);
		x->kf = NULL;
	}
	return errmap_errno(err);
}

static void replaced_fini(struct tree *t, struct replaced *x, bool done)
{
	if (x->kf && !done)
		keyfile_undo_unlink(x->kf);
	if (x->i && done)
		inode_hide(t->inodes, x->i);
	if (x->kf)
		keyfile_unref(x->kf);
	inode_unref(t->inodes, x->i);
}

/* Whether one of the moves ends in the directory that key lies in. */
static bool refills(const struct renaming *r, struct cairn_slice key)
{
	struct cairn_slice dir = key;

	while (dir.len && dir.data[dir.len - 1] != '/')
		dir.len--;
	for (size_t i = 0; i < r->n; i++)
		if (slice_starts_with(r->moves[i].to, dir))
			return true;
	return false;
}

static int commit_moves(struct renaming *r, const struct side *a,
			const struct side *b, const struct replaced *x)
{
	struct tree *t = r->t;
	struct cairn_slice record = buf_slice(&b->prefix);
	struct mvcc_txn *txn;
	int err = tree_txn(t, &txn);
	bool record_moves = false;

	if (err)
		return errmap_errno(err);
	for (size_t i = 0; i < r->n && !err; i++) {
		err = add_to_txn(txn, &r->moves[i]);
		record_moves |= slice_eq(r->moves[i].to, record);
	}
	if (!err && b->is_dir && x->committed && !record_moves)
		err = mvcc_txn_delete(txn, record);
	if (!err && !refills(r, buf_slice(&a->g.key)))
		err = tree_keep_parent(t, txn, buf_slice(&a->g.key),
				       a->is_dir ? buf_slice(&a->prefix)
						 : slice_of(NULL, 0));
	if (!err)
		err = tree_commit(t, txn);
	mvcc_txn_free(txn);
	return errmap_errno(err);
}

/* A rename begins or ends. */
static void count_rename(struct tree *t, const struct side *a,
			 const struct side *b)
{
	unsigned from = tree_part(buf_slice(&a->g.key));
	unsigned to = tree_part(buf_slice(&b->g.key));

	if (a->is_dir || b->is_dir) {
		t->renames++;
		return;
	}
	t->moves[from]++;
	if (to != from)
		t->moves[to]++;
}

static int do_rename(struct tree *t, const struct side *a, const struct side *b,
		     enum tree_rename_how how)
{
	struct renaming r = { .t = t };
	struct replaced x = { 0 };
	bool exchange = how == TREE_RENAME_EXCHANGE;
	int err;

	count_rename(t, a, b);
	err = follow_side(&r, a, b);
	if (!err && exchange)
		err = follow_side(&r, b, a);
	if (!err)
		err = move_side(&r, a, b);
	if (!err && exchange)
		err = move_side(&r, b, a);
	if (!err && !exchange)
		err = replace(t, b, &x);
	if (!err) {
		mark_exchanges(&r);
		err = commit_moves(&r, a, b, &x);
	}
	/* First what was there, then what comes. */
	replaced_fini(t, &x, !err);
	if (!err)
		follow_all(&r);
	count_rename(t, a, b);
	renaming_fini(&r);
	return err;
}

int tree_rename(struct tree *t, struct inode *dir, struct cairn_slice name,
		struct inode *to_dir, struct cairn_slice to_name,
		enum tree_rename_how how)
{
	struct side a = { 0 }, b = { 0 };
	int err;

	tree_lock(t);
	err = look(t, dir, name, &a);
	if (err == EINVAL && a.g.kind != NAME_CUT)
		err = ENOENT;
	if (!err)
		err = look(t, to_dir, to_name, &b);
	if (!err)
		err = check(t, &a, &b, how);
	if (!err)
		err = do_rename(t, &a, &b, how);
	if (!err) {
		tree_touch(dir);
		tree_touch(to_dir);
	}
	tree_unlock(t);
	side_fini(&a);
	side_fini(&b);
	return err;
}
