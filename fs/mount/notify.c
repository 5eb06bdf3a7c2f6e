/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/notify.h"

#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "fs/mount/fuse.h"
#include "fs/mount/keyfile.h"
#include "fs/text/name.h"

/* Beyond this much waiting, everything is forgotten at once instead. */
#define QUEUE_MAX (4u << 20)

enum item_kind { ITEM_KEY, ITEM_DATA, ITEM_ATTRS };

struct item {
	struct list node;
	enum item_kind kind;
	bool deleted;
	struct inode *i; /* with a reference, unless ITEM_KEY */
	size_t len;
	uint8_t key[];
};

struct notify {
	struct fuse_session *se;
	struct mvcc *m;
	struct inodes *inodes;
	const struct inode *flat_top; /* see notify_start() */
	pthread_t thread;

	struct mutex mu;
	struct cond more;
	struct cond drained;
	/* Guarded by mu. */
	struct list queue;
	size_t bytes;
	uint64_t n_queued;
	uint64_t n_done;
	bool overflow;    /* keys were left out: everything is to be told */
	bool telling_all; /* ... and is being told */
	bool stop;
};

static fuse_ino_t number(const struct notify *n, const struct inode *i)
{
	return i == n->flat_top ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)i;
}

/* That the kernel does not know a name is as good. */
static void tell_name(struct notify *n, const struct inode *dir,
		      const struct name *name)
{
	(void)fuse_lowlevel_notify_inval_entry(
		n->se, number(n, dir), (const char *)name->bytes, name->len);
}

static void tell_data(struct notify *n, struct inode *i)
{
	i->stale = true;
	(void)fuse_lowlevel_notify_inval_inode(n->se, number(n, i), 0, 0);
}

static void tell_attrs(struct notify *n, const struct inode *i)
{
	(void)fuse_lowlevel_notify_inval_inode(n->se, number(n, i), -1, 0);
}

static struct inode *find(struct notify *n, enum inode_kind kind,
			  struct cairn_slice id, size_t dir_len)
{
	struct inode_id want = { kind, 0, id, dir_len };

	return inode_find(n->inodes, &want);
}

static void tell_file(struct notify *n, struct cairn_slice key)
{
	struct inode *i = find(n, INODE_FILE, key, 0);

	if (!i)
		return;
	inode_changed_below(n->inodes, i);
	tell_data(n, i);
	inode_unref(n->inodes, i);
}

/*
 * The directory that the first len bytes of key lead to: told only when it is
 * new to the kernel or gone, since a shell may stand in it.
 */
static struct inode *tell_dir(struct notify *n, struct inode *parent,
			      const struct name *name, struct cairn_slice id,
			      size_t dir_len, bool deleted)
{
	struct inode *i = find(n, INODE_DIR, id, dir_len);

	if (!i || (deleted &&
		   mvcc_any(n->m, 0, id, slice_of(NULL, 0)) == CAIRN_NOT_FOUND))
		tell_name(n, parent, name);
	return i;
}

/* "%=" in the directory that the key also is. */
static void tell_value(struct notify *n, struct cairn_slice key)
{
	static const struct name value = { .bytes = "%=", .len = 2 };
	struct buf id = { 0 };
	struct inode *i;

	if (buf_append(&id, key.data, key.len) || buf_append(&id, "/", 1)) {
		buf_fini(&id);
		return;
	}
	i = find(n, INODE_DIR, buf_slice(&id), id.len);
	if (i)
		tell_name(n, i, &value);
	inode_unref(n->inodes, i);
	buf_fini(&id);
}

/* The last name of a key, in the directory parent. */
static void tell_last(struct notify *n, const struct inode *parent,
		      const struct name *name, const struct item *item)
{
	struct cairn_slice key = slice_of(item->key, item->len);
	struct inode *i = find(n, INODE_FILE, key, 0);

	if (!i || item->deleted)
		tell_name(n, parent, name);
	inode_unref(n->inodes, i);
	tell_file(n, key);
	tell_value(n, key);
}

/* Go down the path of the key as far as the kernel knows it. */
static void tell_key(struct notify *n, const struct item *item)
{
	struct cairn_slice key = slice_of(item->key, item->len);
	struct inode *dir = find(n, INODE_DIR, slice_of(key.data, 0), 0);
	size_t at = 0, dir_len = 0;
	struct name name;

	while (dir) {
		const uint8_t *slash =
			key.len > at ? memchr(key.data + at, '/', key.len - at)
				     : NULL;
		size_t end = slash ? (size_t)(slash - key.data) : key.len;
		size_t take = name_encode(slice_of(key.data + at, end - at),
					  n->flat_top && !at, &name);
		struct inode *next = NULL;

		at += take;
		if (at < end) {
			next = tell_dir(n, dir, &name, slice_of(key.data, at),
					dir_len, item->deleted);
		} else if (slash && end + 1 == key.len) {
			/* A directory's record, or the key "a/" beside it. */
			at = dir_len = end + 1;
			next = tell_dir(n, dir, &name, key, dir_len,
					item->deleted);
			if (next) {
				name_encode(slice_of(NULL, 0), false, &name);
				tell_attrs(n, next);
				tell_last(n, next, &name, item);
			}
			inode_unref(n->inodes, dir);
			dir = next;
			break;
		} else if (slash) {
			at = dir_len = end + 1;
			next = tell_dir(n, dir, &name, slice_of(key.data, at),
					dir_len, item->deleted);
		} else {
			tell_last(n, dir, &name, item);
		}
		inode_unref(n->inodes, dir);
		dir = next;
	}
	inode_unref(n->inodes, dir);
}

/* The name at the top under which i is; with it goes all that is below. */
static void tell_top_name(struct notify *n, struct inode *i)
{
	struct inode_where w;
	const uint8_t *slash;
	struct name name;

	if (inode_copy_id(n->inodes, i, &w))
		return;
	slash = w.id.len ? memchr(w.id.data, '/', w.id.len) : NULL;
	name_encode(slice_of(w.id.data,
			     slash ? (size_t)(slash - w.id.data) : w.id.len),
		    true, &name);
	if (i != n->flat_top)
		tell_name(n, n->flat_top, &name);
	inode_where_fini(&w);
}

/*
 * Too much has changed to tell one by one. Names that the kernel knows to be
 * absent at the top of a flat mount cannot be told: it does not remember them.
 */
static void tell_everything(struct notify *n)
{
	static const struct name keys = { .bytes = "keys", .len = 4 };
	struct inode **list;
	size_t len;

	if (!n->flat_top)
		(void)fuse_lowlevel_notify_inval_entry(n->se, FUSE_ROOT_ID,
						       (const char *)keys.bytes,
						       keys.len);
	if (inodes_below(n->inodes, slice_of(NULL, 0), slice_of(NULL, 0), &list,
			 &len))
		return;
	for (size_t i = 0; i < len; i++) {
		inode_changed_below(n->inodes, list[i]);
		if (n->flat_top)
			tell_top_name(n, list[i]);
		tell_data(n, list[i]);
		inode_unref(n->inodes, list[i]);
	}
	free(list);
}

static void tell(struct notify *n, struct item *item)
{
	switch (item->kind) {
	case ITEM_KEY:
		tell_key(n, item);
		break;
	case ITEM_DATA:
		tell_data(n, item->i);
		break;
	case ITEM_ATTRS:
		tell_attrs(n, item->i);
		break;
	}
	inode_unref(n->inodes, item->i);
	free(item);
}

static void *notify_main(void *arg)
{
	struct notify *n = arg;

	mutex_lock(&n->mu);
	while (!n->stop) {
		struct item *item;
		bool all = n->overflow;

		if (list_empty(&n->queue) && !all) {
			cond_broadcast(&n->drained);
			cond_wait(&n->more, &n->mu);
			continue;
		}
		n->overflow = false;
		n->telling_all = all;
		item = list_empty(&n->queue)
			       ? NULL
			       : list_entry(n->queue.next, struct item, node);
		if (item) {
			list_remove(&item->node);
			n->bytes -= sizeof(*item) + item->len;
		}
		mutex_unlock(&n->mu);
		if (all)
			tell_everything(n);
		if (item)
			tell(n, item);
		mutex_lock(&n->mu);
		n->telling_all = false;
		n->n_done += item ? 1 : 0;
		cond_broadcast(&n->drained);
	}
	cond_broadcast(&n->drained);
	mutex_unlock(&n->mu);
	return NULL;
}

int notify_start(struct fuse_session *se, struct mvcc *m, struct inodes *inodes,
		 const struct inode *flat_top, struct notify **out)
{
	struct notify *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return error_nomem();
	n->se = se;
	n->m = m;
	n->inodes = inodes;
	n->flat_top = flat_top;
	mutex_init(&n->mu);
	cond_init(&n->more);
	cond_init(&n->drained);
	list_init(&n->queue);
	err = pthread_create(&n->thread, NULL, notify_main, n);
	if (err) {
		cond_fini(&n->drained);
		cond_fini(&n->more);
		mutex_fini(&n->mu);
		free(n);
		return error_errno(err, "cannot start a thread", "mount");
	}
	*out = n;
	return CAIRN_OK;
}

void notify_stop(struct notify *n)
{
	if (!n)
		return;
	mutex_lock(&n->mu);
	n->stop = true;
	cond_signal(&n->more);
	mutex_unlock(&n->mu);
	pthread_join(n->thread, NULL);
	list_for_each_safe (pos, next, &n->queue) {
		struct item *item = list_entry(pos, struct item, node);

		inode_unref(n->inodes, item->i);
		free(item);
	}
	cond_fini(&n->drained);
	cond_fini(&n->more);
	mutex_fini(&n->mu);
	free(n);
}

static void push(struct notify *n, enum item_kind kind, struct inode *i,
		 struct cairn_slice key, bool deleted)
{
	struct item *item = malloc(sizeof(*item) + key.len);

	mutex_lock(&n->mu);
	if (item && n->bytes <= QUEUE_MAX && !n->stop) {
		item->kind = kind;
		item->deleted = deleted;
		item->i = i;
		item->len = key.len;
		if (key.len)
			memcpy(item->key, key.data, key.len);
		list_add_tail(&n->queue, &item->node);
		n->bytes += sizeof(*item) + key.len;
		n->n_queued++;
		item = NULL;
		i = NULL;
	} else {
		n->overflow = true;
	}
	cond_signal(&n->more);
	mutex_unlock(&n->mu);
	free(item);
	inode_unref(n->inodes, i);
}

void notify_key(struct notify *n, struct cairn_slice key, bool deleted)
{
	push(n, ITEM_KEY, NULL, key, deleted);
}

void notify_all(struct notify *n)
{
	mutex_lock(&n->mu);
	n->overflow = true;
	cond_signal(&n->more);
	mutex_unlock(&n->mu);
}

void notify_data(struct notify *n, struct inode *i)
{
	inode_ref(n->inodes, i);
	push(n, ITEM_DATA, i, slice_of(NULL, 0), false);
}

void notify_attrs(struct notify *n, struct inode *i)
{
	inode_ref(n->inodes, i);
	push(n, ITEM_ATTRS, i, slice_of(NULL, 0), false);
}

void notify_drain(struct notify *n)
{
	uint64_t want;

	mutex_lock(&n->mu);
	want = n->n_queued;
	while ((n->n_done < want || n->overflow || n->telling_all) && !n->stop)
		cond_wait(&n->drained, &n->mu);
	mutex_unlock(&n->mu);
}
