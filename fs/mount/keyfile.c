/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/keyfile.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "fs/mount/rowref.h"
#include "fs/text/xattr.h"

/* Attribute changes of this many keys make one revision at most. */
#define BATCH_MAX 256
/* Values are copied in pieces of this size. */
#define PIECE (64u * 1024)
/* What a deleted file may keep in memory rather than be copied. */
#define DETACH_MIN (1u << 20)
/* What of a value that is in one piece stays in memory after a commit. */
#define WHOLE_KEPT 4096u
/* Looks for room that found nothing to commit. */
#define IDLE_MAX 5
#define NEVER    UINT64_MAX

struct keyfiles {
	struct mvcc *m;
	struct keyfiles_options o;
	_Atomic size_t dirty_bytes; /* of all objects */

	struct mutex mu;
	/* Guarded by mu. */
	struct list dirty; /* of keyfiles, each with a reference */
	size_t reserved;   /* bytes that will be in dirty_bytes soon */
};

struct keyfile {
	struct keyfiles *ks;
	void *owner;
	bool is_file; /* not a directory or a symlink */
	_Atomic unsigned refs;

	struct mutex mu;
	struct cond idle; /* busy became false */

	/* Guarded by mu; key and committed are changed under ks->mu, too. */
	struct cairn_slice key;
	bool committed; /* the key exists in the store */
	bool busy;      /* a thread uses obj, or replaces row */
	bool unlinked;
	bool superseded; /* the row may be older than the store's */
	bool data_dirty;
	bool attrs_dirty;
	bool written; /* more than created or cut to nothing */
	unsigned n_open;
	struct keyfile_stat st;
	struct buf xattrs;
	struct rowref *row; /* NULL: not read yet */

	/* Guarded by busy. */
	struct mvcc_object *obj;
	int64_t lease;  /* of the next commit */
	int64_t base;   /* main of the row that obj continues; 0: of none */
	size_t counted; /* bytes of obj in ks->dirty_bytes */

	/* Guarded by ks->mu. */
	struct list node; /* in ks->dirty, or alone */
	uint64_t data_due;
	uint64_t attrs_due;
};

uint64_t keyfiles_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void wait_begin(const struct keyfiles *ks)
{
	if (ks->o.hooks.wait_begin)
		ks->o.hooks.wait_begin(ks->o.hooks.ctx);
}

static void wait_end(const struct keyfiles *ks)
{
	if (ks->o.hooks.wait_end)
		ks->o.hooks.wait_end(ks->o.hooks.ctx);
}

int keyfiles_new(struct mvcc *m, const struct keyfiles_options *o,
		 struct keyfiles **out)
{
	struct keyfiles *ks = calloc(1, sizeof(*ks));

	if (!ks)
		return error_nomem();
	ks->m = m;
	ks->o = *o;
	mutex_init(&ks->mu);
	list_init(&ks->dirty);
	*out = ks;
	return CAIRN_OK;
}

void keyfiles_free(struct keyfiles *ks)
{
	if (!ks)
		return;
	assert(list_empty(&ks->dirty));
	mutex_fini(&ks->mu);
	free(ks);
}

void keyfile_stat_of_row(const struct mvcc_row *row, struct keyfile_stat *st)
{
	const struct mvcc_attrs *a = &row->attrs;

	*st = (struct keyfile_stat){
		.type = a->type,
		.has_mode = a->has_mode,
		.has_uid = a->has_uid,
		.has_gid = a->has_gid,
		.mode = a->mode,
		.uid = a->uid,
		.gid = a->gid,
		.size = row->size,
		.mtime_ns = a->has_mtime ? a->mtime_ns : row->time_ns,
		.ctime_ns = row->time_ns,
	};
}

static struct mvcc_attrs attrs_of(const struct keyfile_stat *st,
				  struct cairn_slice xattrs)
{
	/* The mtime always: a rename would else renew it. */
	return (struct mvcc_attrs){
		.type = st->type,
		.has_mode = st->has_mode,
		.has_uid = st->has_uid,
		.has_gid = st->has_gid,
		.has_mtime = true,
		.mode = st->mode,
		.uid = st->uid,
		.gid = st->gid,
		.mtime_ns = st->mtime_ns,
		.xattrs = xattrs,
	};
}

/* ------------------------------------------------------------- lifetimes */

static int make(struct keyfiles *ks, void *owner, struct cairn_slice key,
		struct keyfile **out)
{
	struct keyfile *kf = malloc(sizeof(*kf));
	int err;

	if (!kf)
		return error_nomem();
	*kf = (struct keyfile){ .ks = ks, .owner = owner, .refs = 1 };
	err = slice_dup(key, &kf->key);
	if (err) {
		free(kf);
		return err;
	}
	kf->lease = MVCC_LEASE_KEEP;
	kf->data_due = NEVER;
	kf->attrs_due = NEVER;
	mutex_init(&kf->mu);
	cond_init(&kf->idle);
	list_init(&kf->node);
	*out = kf;
	return CAIRN_OK;
}

void keyfile_ref(struct keyfile *kf)
{
	kf->refs++;
}

bool keyfile_has_one_ref(const struct keyfile *kf)
{
	return kf->refs == 1;
}

/* What obj holds in memory now, for the sum over all. */
static void count_dirty(struct keyfile *kf)
{
	size_t now = kf->obj ? mvcc_object_dirty(kf->obj) : 0;

	kf->ks->dirty_bytes += now - kf->counted;
	kf->counted = now;
}

static void drop_object(struct keyfile *kf)
{
	mvcc_object_free(kf->obj);
	kf->obj = NULL;
	count_dirty(kf);
}

void keyfile_unref(struct keyfile *kf)
{
	if (--kf->refs)
		return;
	assert(list_empty(&kf->node));
	drop_object(kf);
	rowref_unref(kf->row);
	buf_fini(&kf->xattrs);
	free((void *)(uintptr_t)kf->key.data);
	cond_fini(&kf->idle);
	mutex_fini(&kf->mu);
	free(kf);
}

/* Something is uncommitted: put kf on the list. Called with kf->mu. */
static void mark_dirty(struct keyfile *kf)
{
	struct keyfiles *ks = kf->ks;
	uint64_t now = keyfiles_now_us();
	bool first;

	assert_held(&kf->mu);
	mutex_lock(&ks->mu);
	first = list_empty(&kf->node);
	if (first) {
		list_add_tail(&ks->dirty, &kf->node);
		keyfile_ref(kf);
	}
	if (kf->data_dirty && kf->written && kf->data_due == NEVER)
		kf->data_due = now + ks->o.commit_us;
	if (kf->attrs_dirty && kf->attrs_due == NEVER)
		kf->attrs_due = now + ks->o.attrs_us;
	mutex_unlock(&ks->mu);
	if (first && ks->o.hooks.hold)
		ks->o.hooks.hold(ks->o.hooks.ctx, kf->owner);
	if (first && ks->o.hooks.wake)
		ks->o.hooks.wake(ks->o.hooks.ctx);
}

/*
 * Take kf off the list when nothing is uncommitted. Called with kf->mu; true:
 * let_go() is to be called without it.
 */
static bool unmark(struct keyfile *kf)
{
	struct keyfiles *ks = kf->ks;
	bool was;

	assert_held(&kf->mu);
	mutex_lock(&ks->mu);
	if (!kf->data_dirty)
		kf->data_due = NEVER;
	if (!kf->attrs_dirty)
		kf->attrs_due = NEVER;
	was = !list_empty(&kf->node) && !kf->data_dirty && !kf->attrs_dirty;
	if (was)
		list_remove(&kf->node);
	mutex_unlock(&ks->mu);
	return was;
}

static void let_go(struct keyfile *kf)
{
	const struct keyfile_hooks *h = &kf->ks->o.hooks;
	void *owner = kf->owner;

	/* The list's reference first: the owner looks at their number. */
	keyfile_unref(kf);
	if (h->let_go)
		h->let_go(h->ctx, owner);
}

/* ------------------------------------------------------------------ busy */

static void set_attrs_of_row(struct keyfile *kf, const struct mvcc_row *row)
{
	uint64_t size = kf->st.size;

	if (kf->attrs_dirty)
		return;
	keyfile_stat_of_row(row, &kf->st);
	if (kf->data_dirty)
		kf->st.size = size;
	buf_clear(&kf->xattrs);
	/* Without memory the xattrs look absent; they are not lost, since
	 * only attrs_dirty writes them. */
	if (buf_append(&kf->xattrs, row->attrs.xattrs.data,
		       row->attrs.xattrs.len))
		kf->xattrs.len = 0;
}

/*
 * The key was deleted below while somebody has the file open, and its row was
 * not read before: get the one that was deleted, for as long as the past
 * reaches back to it. CAIRN_NOT_FOUND when it does not.
 */
static int load_deleted_row(struct keyfile *kf, struct rowref **out)
{
	struct mvcc_history *h;
	struct mvcc_row row;
	int64_t main = 0;
	int err = mvcc_history_new(kf->ks->m, kf->key, &h);

	if (err)
		return err == CAIRN_EKIND ? CAIRN_NOT_FOUND : err;
	while (!(err = mvcc_history_next(h, &row)))
		if (!row.deleted)
			main = row.main;
	mvcc_history_free(h);
	if (err != CAIRN_NOT_FOUND || !main)
		return err;
	err = rowref_get(kf->ks->m, kf->key, main, out);
	return err == CAIRN_EFORGOTTEN ? CAIRN_NOT_FOUND : err;
}

/*
 * Read the row of now, kf being busy. Deleted below: the old one stays, or is
 * read.
 */
static int load_row(struct keyfile *kf)
{
	struct rowref *row = NULL;
	bool gone = false;
	int err;

	err = rowref_get(kf->ks->m, kf->key, 0, &row);
	if (err == CAIRN_NOT_FOUND) {
		gone = true;
		if (!kf->row)
			err = load_deleted_row(kf, &row);
	}
	if (err && err != CAIRN_NOT_FOUND)
		return err;
	mutex_lock(&kf->mu);
	kf->superseded = false;
	if (row) {
		rowref_unref(kf->row);
		kf->row = row;
		set_attrs_of_row(kf, &row->r.row);
		if (!kf->data_dirty)
			kf->st.size = row->r.row.size;
	}
	if (gone) {
		kf->unlinked = true;
		kf->st.unlinked = true;
	}
	mutex_unlock(&kf->mu);
	return err && !kf->row ? err : CAIRN_OK;
}

static void leave(struct keyfile *kf)
{
	mutex_lock(&kf->mu);
	kf->busy = false;
	cond_broadcast(&kf->idle);
	mutex_unlock(&kf->mu);
}

/* Become the one thread that uses obj and changes row. */
static void enter(struct keyfile *kf)
{
	mutex_lock(&kf->mu);
	if (kf->busy) {
		wait_begin(kf->ks);
		while (kf->busy)
			cond_wait(&kf->idle, &kf->mu);
		wait_end(kf->ks);
	}
	kf->busy = true;
	mutex_unlock(&kf->mu);
}

/* Bring what was changed below up to date, kf being busy. */
static int refresh(struct keyfile *kf)
{
	bool old;

	mutex_lock(&kf->mu);
	old = kf->superseded && !kf->data_dirty && !kf->unlinked;
	mutex_unlock(&kf->mu);
	if (!old)
		return CAIRN_OK;
	drop_object(kf);
	return load_row(kf);
}

int keyfile_new(struct keyfiles *ks, void *owner, struct cairn_slice key,
		const struct keyfile_stat *st, struct keyfile **out)
{
	struct keyfile *kf;
	int err = make(ks, owner, key, &kf);

	if (err)
		return err;
	kf->st = *st;
	kf->st.size = 0;
	kf->is_file = st->type == MVCC_FILE;
	mutex_lock(&kf->mu);
	kf->data_dirty = kf->is_file;
	if (kf->data_dirty)
		mark_dirty(kf);
	mutex_unlock(&kf->mu);
	*out = kf;
	return CAIRN_OK;
}

int keyfile_load(struct keyfiles *ks, void *owner, struct cairn_slice key,
		 struct keyfile **out)
{
	struct keyfile *kf;
	int err = make(ks, owner, key, &kf);

	if (err)
		return err;
	err = rowref_get(ks->m, key, 0, &kf->row);
	if (!err)
		err = buf_append(&kf->xattrs, kf->row->r.row.attrs.xattrs.data,
				 kf->row->r.row.attrs.xattrs.len);
	if (err) {
		keyfile_unref(kf);
		return err;
	}
	kf->committed = true;
	keyfile_stat_of_row(&kf->row->r.row, &kf->st);
	kf->is_file = kf->st.type == MVCC_FILE;
	*out = kf;
	return CAIRN_OK;
}

/* --------------------------------------------------------------- reading */

/* The row, when it shows everything there is; NULL otherwise. */
static struct rowref *current_row(struct keyfile *kf)
{
	struct rowref *row = NULL;

	mutex_lock(&kf->mu);
	if (kf->row && !kf->data_dirty && !kf->superseded)
		row = rowref_ref(kf->row);
	mutex_unlock(&kf->mu);
	return row;
}

static int read_busy(struct keyfile *kf, uint64_t off, void *dst, size_t len,
		     size_t *got)
{
	int err = refresh(kf);

	if (err)
		return err;
	if (kf->data_dirty) {
		*got = 0;
		return kf->obj ? mvcc_object_read(kf->obj, off, dst, len, got)
			       : CAIRN_OK;
	}
	if (!kf->row) {
		err = load_row(kf);
		if (err)
			return err;
	}
	return mvcc_read(kf->ks->m, &kf->row->r.row, off, dst, len, got);
}

int keyfile_read(struct keyfile *kf, uint64_t off, void *dst, size_t len,
		 size_t *got)
{
	struct rowref *row = current_row(kf);
	int err;

	if (row) {
		err = mvcc_read(kf->ks->m, &row->r.row, off, dst, len, got);
		rowref_unref(row);
		return err;
	}
	enter(kf);
	err = read_busy(kf, off, dst, len, got);
	leave(kf);
	return err;
}

int keyfile_stat(struct keyfile *kf, struct keyfile_stat *st)
{
	int err = CAIRN_OK;
	bool old;

	mutex_lock(&kf->mu);
	old = kf->superseded && !kf->data_dirty && !kf->unlinked;
	mutex_unlock(&kf->mu);
	if (old) {
		enter(kf);
		err = refresh(kf);
		leave(kf);
	}
	mutex_lock(&kf->mu);
	*st = kf->st;
	mutex_unlock(&kf->mu);
	return err;
}

/* --------------------------------------------------------------- writing */

/* A new object with the bytes of the row or of the old object, up to max. */
static int copy_object(struct keyfile *kf, uint64_t max,
		       struct mvcc_object **out)
{
	struct mvcc_object *o = NULL;
	uint8_t *piece = malloc(PIECE);
	uint64_t off = 0;
	size_t got = 0;
	int err;

	if (!piece)
		return error_nomem();
	err = mvcc_object_new(kf->ks->m, &o);
	while (!err && off < max) {
		size_t want = max - off < PIECE ? (size_t)(max - off) : PIECE;

		err = kf->obj ? mvcc_object_read(kf->obj, off, piece, want,
						 &got)
			      : mvcc_read(kf->ks->m, &kf->row->r.row, off,
					  piece, want, &got);
		if (!err && got)
			err = mvcc_object_write(o, off, piece, got);
		if (!err && got < want)
			break;
		off += got;
	}
	free(piece);
	if (err)
		mvcc_object_free(o);
	else
		*out = o;
	return err;
}

/*
 * Make obj a value of its own, of which no committed row shows a part: what
 * it was made of is gone, or will be.
 */
static int detach(struct keyfile *kf)
{
	struct mvcc_object *o = NULL;
	int err = copy_object(kf, UINT64_MAX, &o);

	if (err)
		return err;
	drop_object(kf);
	kf->obj = o;
	count_dirty(kf);
	return CAIRN_OK;
}

static int too_large(void)
{
	return error_set(CAIRN_EINVAL, "over the largest file size");
}

/* An object to write to, with the bytes of now; kf being busy. */
static int need_object(struct keyfile *kf)
{
	int err = refresh(kf);

	if (err || kf->obj)
		return err;
	if (kf->data_dirty || (!kf->row && !kf->committed))
		return mvcc_object_new(kf->ks->m, &kf->obj);
	if (kf->unlinked)
		return kf->row ? detach(kf)
			       : mvcc_object_new(kf->ks->m, &kf->obj);
	/* The newest row, which after a commit has not been read yet. It may
	 * change again before the object has it. */
	for (int tries = 0; tries < 10; tries++) {
		err = load_row(kf);
		if (kf->unlinked)
			return need_object(kf);
		if (!err && kf->ks->o.whole_values &&
		    kf->row->r.row.size > kf->ks->o.value_max)
			return too_large();
		if (!err)
			err = mvcc_object_open(kf->ks->m, &kf->row->r.row,
					       &kf->obj);
		if (err != CAIRN_EABORTED)
			break;
	}
	return err;
}

/* obj has changed, kf being busy. */
static void note_change(struct keyfile *kf, bool written)
{
	count_dirty(kf);
	mutex_lock(&kf->mu);
	kf->st.size = mvcc_object_size(kf->obj);
	kf->st.mtime_ns = wall_ns();
	kf->st.ctime_ns = kf->st.mtime_ns;
	kf->data_dirty = true;
	kf->written |= written;
	if (!kf->unlinked)
		mark_dirty(kf);
	mutex_unlock(&kf->mu);
}

static int commit_busy(struct keyfile *kf, bool sync, bool *gone);

/* Too much is in memory: commit, or for a deleted file, which cannot be
 * committed, make it a value of its own, whose parts can leave memory. */
static int relieve(struct keyfile *kf, bool *gone)
{
	if (kf->ks->dirty_bytes <= kf->ks->o.dirty_max || !kf->counted ||
	    kf->ks->o.whole_values)
		return CAIRN_OK;
	if (kf->unlinked)
		return kf->counted > DETACH_MIN ? detach(kf) : CAIRN_OK;
	return commit_busy(kf, false, gone);
}

static int write_busy(struct keyfile *kf, uint64_t off, bool append,
		      const void *data, size_t len, uint64_t *at, bool *gone)
{
	struct keyfiles *ks = kf->ks;
	int err = need_object(kf);

	if (err)
		return err;
	if (append)
		off = mvcc_object_size(kf->obj);
	if (off > ks->o.value_max || len > ks->o.value_max - off)
		return too_large();
	wait_begin(ks);
	err = mvcc_object_write(kf->obj, off, data, len);
	wait_end(ks);
	if (err)
		return err;
	if (at)
		*at = off;
	note_change(kf, true);
	return relieve(kf, gone);
}

static int commit_others(struct keyfiles *ks, const struct keyfile *kf,
			 size_t *done);

/* Take more of what may be in memory, if it is there. */
static bool try_reserve(struct keyfiles *ks, size_t more, bool *others)
{
	bool ok;

	mutex_lock(&ks->mu);
	*others = ks->reserved != 0;
	ok = ks->dirty_bytes + ks->reserved + more <= ks->o.dirty_max;
	if (ok)
		ks->reserved += more;
	mutex_unlock(&ks->mu);
	return ok;
}

static void unreserve(struct keyfiles *ks, size_t more)
{
	mutex_lock(&ks->mu);
	ks->reserved -= more;
	mutex_unlock(&ks->mu);
}

/*
 * Whole values: have room for more bytes of kf, which is not busy, by
 * committing others. *reserved is to be given back when they are counted.
 */
static int make_room(struct keyfile *kf, uint64_t more, size_t *reserved)
{
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };
	struct keyfiles *ks = kf->ks;
	unsigned idle = 0;
	size_t done;
	bool others;

	*reserved = 0;
	if (!ks->o.whole_values)
		return CAIRN_OK;
	while (!try_reserve(ks, (size_t)more, &others)) {
		int err = commit_others(ks, kf, &done);

		if (err)
			return err;
		/* Others may have committed what we would have. */
		idle = done || others ? 0 : idle + 1;
		/* The rest is of kf itself, and of files that are deleted. */
		if (idle == IDLE_MAX)
			return error_set(CAIRN_ENOSPC,
					 "%zu bytes of open files are in "
					 "memory, of %zu that memory= allows",
					 (size_t)ks->dirty_bytes,
					 ks->o.dirty_max);
		if (done)
			continue;
		wait_begin(ks);
		nanosleep(&pause, NULL);
		wait_end(ks);
	}
	*reserved = (size_t)more;
	return CAIRN_OK;
}

/* Whether a write stays within the largest file, as things are now. */
static bool fits(struct keyfile *kf, uint64_t off, bool append, size_t len)
{
	uint64_t max = kf->ks->o.value_max;

	if (append) {
		mutex_lock(&kf->mu);
		off = kf->st.size;
		mutex_unlock(&kf->mu);
	}
	return off <= max && len <= max - off;
}

int keyfile_may_grow(const struct keyfile *kf)
{
	const struct keyfile_hooks *h = &kf->ks->o.hooks;

	return h->may_grow ? h->may_grow(h->ctx) : CAIRN_OK;
}

int keyfile_write(struct keyfile *kf, uint64_t off, bool append,
		  const void *data, size_t len, uint64_t *at)
{
	size_t reserved;
	bool gone = false;
	int err = keyfile_may_grow(kf);

	if (!err && !fits(kf, off, append, len))
		err = too_large();
	if (!err)
		err = make_room(kf, len, &reserved);
	if (err)
		return err;
	enter(kf);
	err = write_busy(kf, off, append, data, len, at, &gone);
	unreserve(kf->ks, reserved);
	leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

/* Cut to nothing: the bytes of before need not be looked at. */
static int empty_busy(struct keyfile *kf)
{
	struct mvcc_object *o;
	int err;

	if (kf->obj)
		return mvcc_object_truncate(kf->obj, 0);
	err = mvcc_object_new(kf->ks->m, &o);
	if (!err)
		kf->obj = o;
	return err;
}

/* As need_object(); of a value that is over the limit, the first size bytes. */
static int need_front(struct keyfile *kf, uint64_t size)
{
	struct mvcc_object *o = NULL;
	int err = refresh(kf);

	if (!err && !kf->obj && !kf->data_dirty && !kf->unlinked && !kf->row &&
	    kf->committed)
		err = load_row(kf);
	if (err)
		return err;
	if (!kf->ks->o.whole_values || kf->obj || kf->data_dirty ||
	    kf->unlinked || !kf->row ||
	    kf->row->r.row.size <= kf->ks->o.value_max)
		return need_object(kf);
	err = copy_object(kf, size, &o);
	if (!err)
		kf->obj = o;
	return err;
}

static int resize(struct keyfile *kf, uint64_t size, bool only_up)
{
	size_t reserved;
	uint64_t now;
	int err;

	if (size > kf->ks->o.value_max)
		return too_large();
	mutex_lock(&kf->mu);
	now = kf->st.size;
	mutex_unlock(&kf->mu);
	err = make_room(kf, size > now ? size - now : 0, &reserved);
	if (err)
		return err;
	enter(kf);
	if (size == 0 && !only_up) {
		err = empty_busy(kf);
	} else {
		err = need_front(kf, size);
		if (!err && (!only_up || size > mvcc_object_size(kf->obj)))
			err = mvcc_object_truncate(kf->obj, size);
	}
	if (!err)
		note_change(kf, size > 0);
	unreserve(kf->ks, reserved);
	leave(kf);
	return err;
}

int keyfile_truncate(struct keyfile *kf, uint64_t size)
{
	int err = keyfile_may_grow(kf);

	return err ? err : resize(kf, size, false);
}

int keyfile_extend(struct keyfile *kf, uint64_t size)
{
	int err = keyfile_may_grow(kf);

	return err ? err : resize(kf, size, true);
}

/* --------------------------------------------------------------- commits */

/* What one commit is made of: attributes change under mu while it runs. */
struct snapshot {
	bool data;
	bool attrs;
	struct keyfile_stat st;
	struct buf xattrs;
};

/* False when there is nothing to commit. */
static bool take_snapshot(struct keyfile *kf, struct snapshot *s, int *err)
{
	*err = CAIRN_OK;
	mutex_lock(&kf->mu);
	s->data = kf->data_dirty;
	s->attrs = kf->attrs_dirty;
	s->st = kf->st;
	if (kf->unlinked || (!s->data && !s->attrs)) {
		mutex_unlock(&kf->mu);
		return false;
	}
	*err = buf_set(&s->xattrs, buf_slice(&kf->xattrs));
	if (!*err) {
		kf->data_dirty = false;
		kf->attrs_dirty = false;
	}
	mutex_unlock(&kf->mu);
	return !*err;
}

static int add_to_txn(struct keyfile *kf, struct mvcc_txn *t,
		      const struct snapshot *s)
{
	struct mvcc_attrs a = attrs_of(&s->st, buf_slice(&s->xattrs));
	int err;

	/* Attributes were taken before the store was full. */
	if (!s->data && kf->committed)
		mvcc_txn_use_reserve(t);
	if (!s->data && kf->committed)
		err = mvcc_txn_set_attrs(t, kf->key, &a);
	else if (!kf->obj)
		err = mvcc_txn_put(t, kf->key, slice_of(NULL, 0), &a);
	else
		err = mvcc_txn_put_object(t, kf->key, kf->obj, &a);
	if (err || mvcc_is_plain(kf->ks->m))
		return err;
	return mvcc_txn_set_lease(t, kf->lease);
}

static int run_txn(struct keyfile *kf, const struct snapshot *s, bool sync)
{
	struct keyfiles *ks = kf->ks;
	struct mvcc_txn *t;
	int err = mvcc_txn_new(ks->m, &t);

	if (err)
		return err;
	mvcc_txn_set_origin(t, ks->o.origin);
	err = add_to_txn(kf, t, s);
	if (!err)
		err = mvcc_txn_commit(t, sync || ks->o.sync, NULL);
	mvcc_txn_free(t);
	return err;
}

/*
 * The outcome of a commit. The row is read again when somebody wants it. True:
 * let_go() is to be called.
 */
static bool finish(struct keyfile *kf, const struct snapshot *s, int err)
{
	bool gone;

	mutex_lock(&kf->mu);
	if (err) {
		kf->data_dirty |= s->data;
		kf->attrs_dirty |= s->attrs;
		/* Not again at once. */
		mutex_lock(&kf->ks->mu);
		kf->data_due = NEVER;
		kf->attrs_due = NEVER;
		mutex_unlock(&kf->ks->mu);
		mark_dirty(kf);
		mutex_unlock(&kf->mu);
		return false;
	}
	mutex_lock(&kf->ks->mu);
	kf->committed = true;
	mutex_unlock(&kf->ks->mu);
	rowref_unref(kf->row);
	kf->row = NULL;
	kf->superseded = false;
	kf->written = false;
	/* Not to be kept when its row is the last but one now, nor while
	 * others need the memory. */
	if (!s->data || kf->ks->dirty_bytes > kf->ks->o.dirty_max / 2 ||
	    (kf->ks->o.whole_values && kf->counted > WHOLE_KEPT))
		drop_object(kf);
	gone = unmark(kf);
	mutex_unlock(&kf->mu);
	return gone;
}

/* Commit, kf being busy. *gone: let_go() is to be called after leave(). */
static int commit_busy(struct keyfile *kf, bool sync, bool *gone)
{
	struct snapshot s = { .xattrs = { 0 } };
	int err;

	if (!take_snapshot(kf, &s, &err))
		return err;
	wait_begin(kf->ks);
	err = run_txn(kf, &s, sync);
	if (err == CAIRN_NOT_FOUND && !s.data && kf->lease <= 0) {
		/* Deleted by somebody else: nothing has these attributes. */
		mutex_lock(&kf->mu);
		kf->unlinked = true;
		kf->st.unlinked = true;
		*gone = unmark(kf);
		mutex_unlock(&kf->mu);
		err = CAIRN_OK;
	} else {
		*gone = finish(kf, &s, err);
	}
	wait_end(kf->ks);
	count_dirty(kf);
	buf_fini(&s.xattrs);
	return err;
}

int keyfile_commit(struct keyfile *kf, bool sync)
{
	bool gone = false;
	int err;

	enter(kf);
	err = commit_busy(kf, sync, &gone);
	leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

int keyfile_set_lease(struct keyfile *kf, int64_t id)
{
	bool gone = false;
	int err = CAIRN_OK;

	enter(kf);
	mutex_lock(&kf->mu);
	if (!kf->unlinked) {
		/* So that there is something to commit. */
		kf->attrs_dirty = true;
		mark_dirty(kf);
	}
	mutex_unlock(&kf->mu);
	kf->lease = id;
	err = commit_busy(kf, false, &gone);
	kf->lease = MVCC_LEASE_KEEP;
	if (!err && kf->unlinked)
		err = error_set(CAIRN_NOT_FOUND, "the file was deleted");
	leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

bool keyfile_is_dirty(struct keyfile *kf)
{
	bool dirty;

	mutex_lock(&kf->mu);
	dirty = kf->data_dirty && !kf->unlinked;
	mutex_unlock(&kf->mu);
	return dirty;
}

void keyfile_open(struct keyfile *kf)
{
	mutex_lock(&kf->mu);
	kf->n_open++;
	mutex_unlock(&kf->mu);
}

/* Forget what is not committed. */
static bool discard_busy(struct keyfile *kf)
{
	bool gone;

	drop_object(kf);
	mutex_lock(&kf->mu);
	kf->data_dirty = false;
	kf->attrs_dirty = false;
	kf->written = false;
	if (kf->committed) {
		kf->superseded = true; /* read everything anew */
	} else {
		kf->unlinked = true;
		kf->st.unlinked = true;
	}
	gone = unmark(kf);
	mutex_unlock(&kf->mu);
	return gone;
}

int keyfile_close(struct keyfile *kf)
{
	bool last, gone = false;
	int err = CAIRN_OK;

	mutex_lock(&kf->mu);
	last = --kf->n_open == 0;
	mutex_unlock(&kf->mu);
	if (!last)
		return CAIRN_OK;
	enter(kf);
	/* Opened again meanwhile: then it is not the last one. */
	mutex_lock(&kf->mu);
	last = kf->n_open == 0;
	mutex_unlock(&kf->mu);
	if (last && kf->data_dirty && !kf->unlinked) {
		err = commit_busy(kf, false, &gone);
		if (err)
			gone = discard_busy(kf);
	}
	if (last && !kf->data_dirty)
		drop_object(kf);
	leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

/* ------------------------------------------------------------ attributes */

void keyfile_set_attrs(struct keyfile *kf, unsigned mask,
		       const struct keyfile_stat *st)
{
	mutex_lock(&kf->mu);
	if (mask & KEYFILE_MODE) {
		kf->st.has_mode = st->has_mode;
		kf->st.mode = st->mode;
	}
	if (mask & KEYFILE_UID) {
		kf->st.has_uid = st->has_uid;
		kf->st.uid = st->uid;
	}
	if (mask & KEYFILE_GID) {
		kf->st.has_gid = st->has_gid;
		kf->st.gid = st->gid;
	}
	if (mask & KEYFILE_MTIME)
		kf->st.mtime_ns = st->mtime_ns;
	kf->st.ctime_ns = wall_ns();
	kf->attrs_dirty = true;
	if (!kf->unlinked)
		mark_dirty(kf);
	mutex_unlock(&kf->mu);
}

int keyfile_xattrs(struct keyfile *kf, struct buf *out)
{
	int err;

	mutex_lock(&kf->mu);
	err = buf_append(out, kf->xattrs.data, kf->xattrs.len);
	mutex_unlock(&kf->mu);
	return err;
}

int keyfile_set_xattr(struct keyfile *kf, struct cairn_slice name,
		      const struct cairn_slice *value)
{
	int err = keyfile_may_grow(kf);

	if (err)
		return err;
	mutex_lock(&kf->mu);
	err = xattr_set(&kf->xattrs, name, value);
	if (!err) {
		kf->st.ctime_ns = wall_ns();
		kf->attrs_dirty = true;
		if (!kf->unlinked)
			mark_dirty(kf);
	}
	mutex_unlock(&kf->mu);
	return err;
}

/* ------------------------------------------------------ names that change */

int keyfile_unlink(struct keyfile *kf, bool *was_committed)
{
	bool gone = false, committed;
	int err = CAIRN_OK;

	enter(kf);
	committed = kf->committed && !kf->unlinked;
	if (committed && !kf->row)
		err = load_row(kf);
	if (!err && committed)
		err = rowref_keep(kf->row);
	if (!err) {
		mutex_lock(&kf->mu);
		kf->unlinked = true;
		kf->st.unlinked = true;
		/* Off the list, although dirty: nobody shall commit it. */
		mutex_lock(&kf->ks->mu);
		gone = !list_empty(&kf->node);
		list_remove(&kf->node);
		mutex_unlock(&kf->ks->mu);
		mutex_unlock(&kf->mu);
		*was_committed = committed;
	}
	leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

void keyfile_undo_unlink(struct keyfile *kf)
{
	enter(kf);
	mutex_lock(&kf->mu);
	kf->unlinked = false;
	kf->st.unlinked = false;
	if (kf->data_dirty || kf->attrs_dirty)
		mark_dirty(kf);
	mutex_unlock(&kf->mu);
	leave(kf);
}

int keyfile_freeze(struct keyfile *kf)
{
	bool gone = false;
	int err;

	enter(kf);
	err = commit_busy(kf, false, &gone);
	if (err)
		leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

void keyfile_thaw(struct keyfile *kf)
{
	leave(kf);
}

void keyfile_renamed(struct keyfile *kf, struct cairn_slice key)
{
	struct cairn_slice was;

	assert(kf->busy);
	/* Its row has another key and revision now. */
	if (!kf->data_dirty)
		drop_object(kf);
	mutex_lock(&kf->mu);
	if (!kf->unlinked) {
		rowref_unref(kf->row);
		kf->row = NULL;
	}
	mutex_lock(&kf->ks->mu);
	was = kf->key;
	kf->key = key;
	mutex_unlock(&kf->ks->mu);
	mutex_unlock(&kf->mu);
	free((void *)(uintptr_t)was.data);
}

void keyfile_changed_below(struct keyfile *kf)
{
	mutex_lock(&kf->mu);
	kf->superseded = true;
	mutex_unlock(&kf->mu);
}

/* --------------------------------------------------------- all of them */

int keyfiles_created(struct keyfiles *ks, struct cairn_slice prefix,
		     struct buf *out)
{
	int err = CAIRN_OK;

	mutex_lock(&ks->mu);
	list_for_each (pos, &ks->dirty) {
		const struct keyfile *kf =
			list_entry(pos, struct keyfile, node);

		if (!err && !kf->committed && kf->is_file &&
		    slice_starts_with(kf->key, prefix))
			err = buf_append_lp(out, kf->key);
	}
	mutex_unlock(&ks->mu);
	return err;
}

/* The first n keyfiles of the list that are due, with references. */
static size_t collect_due(struct keyfiles *ks, uint64_t now,
			  struct keyfile **out, size_t n)
{
	size_t found = 0;

	mutex_lock(&ks->mu);
	list_for_each (pos, &ks->dirty) {
		struct keyfile *kf = list_entry(pos, struct keyfile, node);

		if (found == n)
			break;
		if (kf->data_due <= now || kf->attrs_due <= now) {
			keyfile_ref(kf);
			out[found++] = kf;
		}
	}
	mutex_unlock(&ks->mu);
	return found;
}

/* Become busy without waiting. */
static bool try_enter(struct keyfile *kf)
{
	bool free_now;

	mutex_lock(&kf->mu);
	free_now = !kf->busy;
	if (free_now)
		kf->busy = true;
	mutex_unlock(&kf->mu);
	return free_now;
}

/* A failure is told to whoever closes or syncs; it will be tried again. */
static void try_commit(struct keyfile *kf)
{
	int err = keyfile_commit(kf, false);

	(void)err;
}

/* A set of keyfiles whose attributes go into one transaction. */
struct batch {
	struct mvcc_txn *txn;
	struct keyfile *kf[BATCH_MAX];
	struct snapshot s[BATCH_MAX];
	size_t n;
};

/* Whether kf went into the batch; it is then busy. */
static bool join_batch(struct batch *b, struct keyfile *kf)
{
	struct snapshot *s = &b->s[b->n];
	int err;

	if (!try_enter(kf))
		return false;
	/* Without the data these wait for its commit. */
	if (kf->data_dirty || !take_snapshot(kf, s, &err)) {
		leave(kf);
		return false;
	}
	if (add_to_txn(kf, b->txn, s)) {
		(void)finish(kf, s, CAIRN_ENOMEM);
		buf_fini(&s->xattrs);
		leave(kf);
		return false;
	}
	b->kf[b->n++] = kf;
	return true;
}

static void end_batch(struct batch *b, const struct keyfiles *ks)
{
	int err = b->n ? mvcc_txn_commit(b->txn, ks->o.sync, NULL) : CAIRN_OK;

	for (size_t i = 0; i < b->n; i++) {
		struct keyfile *kf = b->kf[i];
		bool gone = finish(kf, &b->s[i], err);

		leave(kf);
		if (gone)
			let_go(kf);
		buf_fini(&b->s[i].xattrs);
	}
	/* One of them may be to blame: let each try alone. */
	for (size_t i = 0; err && i < b->n; i++)
		try_commit(b->kf[i]);
}

static bool has_data_due(struct keyfile *kf, uint64_t now)
{
	bool due;

	mutex_lock(&kf->ks->mu);
	due = kf->data_due <= now;
	mutex_unlock(&kf->ks->mu);
	return due;
}

/*
 * Commit some of what is due. True when there may be more of it: not when
 * first, the first of those of the time before, is among them still.
 */
static bool commit_due(struct keyfiles *ks, uint64_t now,
		       const struct keyfile **first)
{
	struct keyfile *due[BATCH_MAX];
	struct batch *b = calloc(1, sizeof(*b));
	size_t n = 0;
	bool more;

	if (b && !mvcc_txn_new(ks->m, &b->txn)) {
		mvcc_txn_set_origin(b->txn, ks->o.origin);
		n = collect_due(ks, now, due, BATCH_MAX);
		/* First those that may have to be waited for, and only then
		 * any that stay busy: see keyfile_freeze(). */
		for (size_t i = 0; i < n; i++)
			if (has_data_due(due[i], now))
				try_commit(due[i]);
		for (size_t i = 0; i < n; i++)
			(void)join_batch(b, due[i]);
		end_batch(b, ks);
		mvcc_txn_free(b->txn);
	}
	free(b);
	more = n == BATCH_MAX && due[0] != *first;
	*first = n ? due[0] : NULL;
	for (size_t i = 0; i < n; i++)
		keyfile_unref(due[i]);
	return more;
}

bool keyfiles_tick(struct keyfiles *ks, uint64_t now_us)
{
	const struct keyfile *first = NULL;
	bool more;

	while (commit_due(ks, now_us, &first))
		;
	mutex_lock(&ks->mu);
	more = !list_empty(&ks->dirty);
	mutex_unlock(&ks->mu);
	return more;
}

/* All that are dirty, each with a reference; NULL without memory. */
static struct keyfile **list_dirty(struct keyfiles *ks, size_t *n)
{
	struct keyfile **all;
	size_t cap = 0;

	*n = 0;
	mutex_lock(&ks->mu);
	list_for_each (pos, &ks->dirty)
		cap++;
	all = calloc(cap + 1, sizeof(struct keyfile *));
	if (all)
		list_for_each (pos, &ks->dirty) {
			all[*n] = list_entry(pos, struct keyfile, node);
			keyfile_ref(all[(*n)++]);
		}
	mutex_unlock(&ks->mu);
	return all;
}

/* Commit kf, unless it is only made or cut to nothing so far. CAIRN_NOT_FOUND:
 * there was nothing to commit. */
static int commit_written(struct keyfile *kf)
{
	bool gone = false, written;
	int err = CAIRN_NOT_FOUND;

	enter(kf);
	mutex_lock(&kf->mu);
	written = kf->data_dirty && kf->written && !kf->unlinked;
	mutex_unlock(&kf->mu);
	if (written)
		err = commit_busy(kf, false, &gone);
	leave(kf);
	if (gone)
		let_go(kf);
	return err;
}

/* To have their bytes out of memory. *done: how many were committed. The first
 * failure, which whoever closes the file is told again. */
static int commit_others(struct keyfiles *ks, const struct keyfile *kf,
			 size_t *done)
{
	int err = CAIRN_OK;
	size_t n;
	struct keyfile **all = list_dirty(ks, &n);

	*done = 0;
	for (size_t i = 0; i < n; i++) {
		int e = all[i] == kf ? CAIRN_NOT_FOUND : commit_written(all[i]);

		if (!e)
			(*done)++;
		else if (e < 0 && !err)
			err = e;
		keyfile_unref(all[i]);
	}
	if (!all)
		err = error_nomem();
	free(all);
	return err;
}

int keyfiles_commit_all(struct keyfiles *ks, bool sync)
{
	size_t n;
	struct keyfile **all = list_dirty(ks, &n);
	int err = all ? CAIRN_OK : error_nomem(), e;

	for (size_t i = 0; i < n; i++) {
		e = keyfile_commit(all[i], false);
		if (e && !err)
			err = e;
		keyfile_unref(all[i]);
	}
	free(all);
	e = sync ? mvcc_sync(ks->m) : CAIRN_OK;
	return err ? err : e;
}

void keyfiles_give_up(struct keyfiles *ks)
{
	for (;;) {
		struct keyfile *kf = NULL;
		bool gone;

		mutex_lock(&ks->mu);
		if (!list_empty(&ks->dirty)) {
			kf = list_entry(ks->dirty.next, struct keyfile, node);
			keyfile_ref(kf);
		}
		mutex_unlock(&ks->mu);
		if (!kf)
			return;
		enter(kf);
		gone = discard_busy(kf);
		leave(kf);
		if (gone)
			let_go(kf);
		keyfile_unref(kf);
	}
}
