/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plain file system in memory on FUSE, to measure a cairn mount by:
 *
 *	memfs DIR
 *
 * It asks the kernel for what a cairn mount asks for (fs/mount: names and
 * attributes that stay known, pages that stay from one open to the next,
 * writing past the pages, truncation as part of opening, names with attributes,
 * no FLUSH where nothing can be written, requests of up to 1 MiB, as many
 * threads), so that both get the same requests for the same work. What is left
 * of a difference in time is what the daemon does for a request. It keeps
 * nothing and checks no permissions.
 *
 * The tree is under one lock, which lookups and listings share; the bytes and
 * attributes of a file are under a lock of its own, which readers share.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/list.h"
#include "fs/mount/fuse.h"

#define DAY          86400.0
#define NAME_LEN_MAX 255u
#define FILE_MAX     (1ull << 30)
/* From linux/fs.h, as renameat2(2) has them. */
#define NOREPLACE 1u
#define EXCHANGE  2u

struct node {
	/* Guarded by tree_lock of struct memfs. */
	struct node *parent; /* NULL when it has no name */
	struct node *next_in_bucket;
	struct list in_dir; /* of its directory, in the order of cookies */
	char *name;
	uint32_t hash;
	uint64_t cookie;
	struct list children;
	uint64_t n_children;
	uint64_t removals; /* of children */

	_Atomic uint64_t n_lookup;
	_Atomic bool stale; /* the kernel's pages of it are */

	pthread_rwlock_t lock;
	/* Guarded by lock; the type of the mode never changes. */
	struct stat st;
	char *bytes; /* of a file; or where a symlink leads */
	size_t room;
};

struct memfs {
	struct fuse_session *se;
	_Atomic bool ending; /* by a signal */
	pthread_rwlock_t tree_lock;
	/* Guarded by tree_lock. */
	struct node **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_nodes;
	uint64_t last_cookie;

	_Atomic uint64_t last_ino;
	struct node root;
};

/* An open directory. */
struct dir_handle {
	pthread_mutex_t mu;
	/* Guarded by mu: where the entry after off is, as long as nothing has
	 * been removed. */
	uint64_t off;
	uint64_t removals;
	struct list *last; /* before it */
};

static struct memfs *memfs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct node *node_of(fuse_req_t req, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &memfs_of(req)->root
				   : (struct node *)(uintptr_t)ino;
}

static void reply(fuse_req_t req, int err)
{
	fuse_reply_err(req, err);
}

/* ----------------------------------------------------------------- nodes */

static void init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	/* Readers that come and come must not keep a writer out. */
	pthread_rwlockattr_setkind_np(
		&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &a);
	pthread_rwlockattr_destroy(&a);
}

static void set_times(struct node *n, bool data)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	n->st.st_ctim = now;
	if (data) {
		n->st.st_mtim = now;
		n->st.st_atim = now;
	}
}

static void init_node(struct memfs *m, struct node *n, mode_t mode)
{
	memset(n, 0, sizeof(*n));
	init_lock(&n->lock);
	list_init(&n->children);
	n->st.st_ino = atomic_fetch_add(&m->last_ino, 1) + 1;
	n->st.st_mode = mode;
	n->st.st_nlink = 1;
	n->st.st_blksize = 4096;
	set_times(n, true);
}

static struct node *new_node(fuse_req_t req, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct node *n = malloc(sizeof(*n));

	if (!n)
		return NULL;
	init_node(memfs_of(req), n, mode);
	n->st.st_uid = ctx->uid;
	n->st.st_gid = ctx->gid;
	return n;
}

static void free_node(struct node *n)
{
	pthread_rwlock_destroy(&n->lock);
	free(n->bytes);
	free(n->name);
	free(n);
}

static void copy_stat(struct node *n, struct stat *st)
{
	pthread_rwlock_rdlock(&n->lock);
	*st = n->st;
	pthread_rwlock_unlock(&n->lock);
	st->st_blocks = (st->st_size + 511) / 512;
}

static void touch(struct node *dir)
{
	pthread_rwlock_wrlock(&dir->lock);
	set_times(dir, true);
	pthread_rwlock_unlock(&dir->lock);
}

/* What the kernel is told of n; it knows n once more then. */
static void fill_entry(struct node *n, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = (fuse_ino_t)(uintptr_t)n;
	e->attr_timeout = DAY;
	e->entry_timeout = DAY;
	copy_stat(n, &e->attr);
}

/* -------------------------------------------------------------- the tree */

static uint32_t hash_of(const struct node *dir, const char *name)
{
	uint64_t h = (uint64_t)(uintptr_t)dir * 0x9e3779b97f4a7c15u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	return (uint32_t)(h ^ h >> 32);
}

static struct node *find(const struct memfs *m, const struct node *dir,
			 const char *name)
{
	uint32_t hash = hash_of(dir, name);
	struct node *n = m->buckets[hash & (m->n_buckets - 1)];

	while (n && (n->hash != hash || n->parent != dir ||
		     strcmp(n->name, name) != 0))
		n = n->next_in_bucket;
	return n;
}

static void put_in_bucket(struct memfs *m, struct node *n)
{
	struct node **at = &m->buckets[n->hash & (m->n_buckets - 1)];

	n->next_in_bucket = *at;
	*at = n;
}

static void grow(struct memfs *m)
{
	struct node **old = m->buckets, *n, *next;
	size_t n_old = m->n_buckets;
	struct node **buckets = calloc(n_old * 2, sizeof(struct node *));

	if (!buckets)
		return; /* longer chains, then */
	m->buckets = buckets;
	m->n_buckets = n_old * 2;
	for (size_t i = 0; i < n_old; i++)
		for (n = old[i]; n; n = next) {
			next = n->next_in_bucket;
			put_in_bucket(m, n);
		}
	free(old);
}

/* Give n a name, taking over name. */
static void attach(struct memfs *m, struct node *dir, struct node *n,
		   char *name)
{
	if (m->n_nodes >= m->n_buckets)
		grow(m);
	n->parent = dir;
	n->name = name;
	n->hash = hash_of(dir, name);
	n->cookie = ++m->last_cookie;
	list_add_tail(&dir->children, &n->in_dir);
	put_in_bucket(m, n);
	m->n_nodes++;
	dir->n_children++;
	touch(dir);
}

static void detach(struct memfs *m, struct node *n)
{
	struct node **at = &m->buckets[n->hash & (m->n_buckets - 1)];
	struct node *dir = n->parent;

	while (*at != n)
		at = &(*at)->next_in_bucket;
	*at = n->next_in_bucket;
	list_remove(&n->in_dir);
	n->parent = NULL;
	free(n->name);
	n->name = NULL;
	m->n_nodes--;
	dir->n_children--;
	dir->removals++;
	touch(dir);
}

/* Remove its name for good. It ends now or when the kernel has forgotten it. */
static void drop(struct memfs *m, struct node *n)
{
	detach(m, n);
	pthread_rwlock_wrlock(&n->lock);
	n->st.st_nlink = 0;
	set_times(n, false);
	pthread_rwlock_unlock(&n->lock);
	if (!n->n_lookup)
		free_node(n);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct memfs *m = memfs_of(req);
	struct fuse_entry_param e = { .entry_timeout = DAY };
	struct node *n;

	if (strlen(name) > NAME_LEN_MAX) {
		reply(req, ENAMETOOLONG);
		return;
	}
	pthread_rwlock_rdlock(&m->tree_lock);
	n = find(m, node_of(req, parent), name);
	if (n) {
		n->n_lookup++;
		fill_entry(n, &e);
	}
	pthread_rwlock_unlock(&m->tree_lock);
	fuse_reply_entry(req, &e);
}

static void forget(struct memfs *m, struct node *n, uint64_t count)
{
	bool last;

	if (n == &m->root)
		return;
	pthread_rwlock_rdlock(&m->tree_lock);
	/* Without a name nobody can come to know it again. */
	last = atomic_fetch_sub(&n->n_lookup, count) == count && !n->parent;
	pthread_rwlock_unlock(&m->tree_lock);
	if (last)
		free_node(n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(memfs_of(req), node_of(req, ino), count);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
			    struct fuse_forget_data *list)
{
	for (size_t i = 0; i < count; i++)
		forget(memfs_of(req), node_of(req, list[i].ino),
		       list[i].nlookup);
	fuse_reply_none(req);
}

/* Make a node, or with open, find one of this name. */
static int make(fuse_req_t req, fuse_ino_t parent, const char *name,
		mode_t mode, bool open, struct node **out,
		struct fuse_entry_param *e)
{
	struct memfs *m = memfs_of(req);
	struct node *dir = node_of(req, parent), *n;
	char *copy = strdup(name);
	int err = 0;

	*out = new_node(req, mode);
	if (!copy || !*out)
		err = ENOMEM;
	else if (strlen(name) > NAME_LEN_MAX)
		err = ENAMETOOLONG;
	if (err)
		goto out;
	pthread_rwlock_wrlock(&m->tree_lock);
	n = find(m, dir, name);
	if (n && (!open || !S_ISREG(n->st.st_mode))) {
		err = EEXIST;
	} else if (n) {
		free_node(*out);
		*out = n;
	} else {
		attach(m, dir, *out, copy);
		copy = NULL;
	}
	if (!err) {
		(*out)->n_lookup++;
		fill_entry(*out, e);
	}
	pthread_rwlock_unlock(&m->tree_lock);
out:
	free(copy);
	if (err && *out)
		free_node(*out);
	return err;
}

static void reply_made(fuse_req_t req, fuse_ino_t parent, const char *name,
		       mode_t mode)
{
	struct fuse_entry_param e;
	struct node *n;
	int err = make(req, parent, name, mode, false, &n, &e);

	if (err)
		reply(req, err);
	else
		fuse_reply_entry(req, &e);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	reply_made(req, parent, name, S_IFDIR | (mode & 07777));
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	(void)rdev;
	if (S_ISREG(mode))
		reply_made(req, parent, name, mode);
	else
		reply(req, EPERM);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		       const char *name)
{
	struct fuse_entry_param e;
	char *copy = strdup(target);
	struct node *n;
	int err = copy ? make(req, parent, name, S_IFLNK | 0777, false, &n, &e)
		       : ENOMEM;

	if (err) {
		free(copy);
		reply(req, err);
		return;
	}
	pthread_rwlock_wrlock(&n->lock);
	n->bytes = copy;
	n->st.st_size = (off_t)strlen(copy);
	e.attr.st_size = n->st.st_size;
	pthread_rwlock_unlock(&n->lock);
	fuse_reply_entry(req, &e);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n = node_of(req, ino);

	pthread_rwlock_rdlock(&n->lock);
	fuse_reply_readlink(req, n->bytes ? n->bytes : "");
	pthread_rwlock_unlock(&n->lock);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name,
			bool dir)
{
	struct memfs *m = memfs_of(req);
	struct node *n;
	int err = 0;

	pthread_rwlock_wrlock(&m->tree_lock);
	n = find(m, node_of(req, parent), name);
	if (!n)
		err = ENOENT;
	else if (S_ISDIR(n->st.st_mode) != dir)
		err = dir ? ENOTDIR : EISDIR;
	else if (n->n_children)
		err = ENOTEMPTY;
	if (!err)
		drop(m, n);
	pthread_rwlock_unlock(&m->tree_lock);
	reply(req, err);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, false);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, true);
}

/* Whether dir is below n. The kernel has looked, but not while we hold it. */
static bool is_below(const struct node *dir, const struct node *n)
{
	while (dir && dir != n)
		dir = dir->parent;
	return dir;
}

static int may_rename(const struct node *from, const struct node *to,
		      const struct node *to_dir, unsigned flags)
{
	if (!from || (flags == EXCHANGE && !to))
		return ENOENT;
	if (flags != 0 && flags != NOREPLACE && flags != EXCHANGE)
		return EINVAL;
	if (to && flags == NOREPLACE)
		return EEXIST;
	if (is_below(to_dir, from))
		return EINVAL;
	if (!to || flags == EXCHANGE)
		return 0;
	if (S_ISDIR(from->st.st_mode) != S_ISDIR(to->st.st_mode))
		return S_ISDIR(to->st.st_mode) ? EISDIR : ENOTDIR;
	return to->n_children ? ENOTEMPTY : 0;
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t to_parent, const char *to_name, unsigned flags)
{
	struct memfs *m = memfs_of(req);
	struct node *dir = node_of(req, parent);
	struct node *to_dir = node_of(req, to_parent), *from, *to;
	char *copy = strdup(to_name), *back = strdup(name);
	int err = copy && back ? 0 : ENOMEM;

	if (!err && strlen(to_name) > NAME_LEN_MAX)
		err = ENAMETOOLONG;
	pthread_rwlock_wrlock(&m->tree_lock);
	from = find(m, dir, name);
	to = find(m, to_dir, to_name);
	if (!err)
		err = may_rename(from, to, to_dir, flags);
	if (!err && from != to) {
		detach(m, from);
		if (to && flags == EXCHANGE) {
			detach(m, to);
			attach(m, dir, to, back);
			back = NULL;
		} else if (to) {
			drop(m, to);
		}
		attach(m, to_dir, from, copy);
		copy = NULL;
	}
	pthread_rwlock_unlock(&m->tree_lock);
	free(copy);
	free(back);
	reply(req, err);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		    const char *name)
{
	(void)ino;
	(void)parent;
	(void)name;
	reply(req, EPERM);
}

/* ------------------------------------------------------------ attributes */

static void reply_attr(fuse_req_t req, struct node *n)
{
	struct stat st;

	copy_stat(n, &st);
	fuse_reply_attr(req, &st, DAY);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	(void)fi;
	reply_attr(req, node_of(req, ino));
}

/* Make room for size bytes. Called with n->lock. */
static int reserve(struct node *n, size_t size)
{
	size_t room = n->room ? n->room : 128;
	char *p;

	if (size <= n->room)
		return 0;
	if (size > FILE_MAX)
		return EFBIG;
	while (room < size)
		room *= 2;
	p = realloc(n->bytes, room);
	if (!p)
		return ENOMEM;
	n->bytes = p;
	n->room = room;
	return 0;
}

/* Called with n->lock. */
static int resize(struct node *n, off_t size)
{
	int err = reserve(n, (size_t)size);

	if (err)
		return err;
	if (size > n->st.st_size)
		memset(n->bytes + n->st.st_size, 0,
		       (size_t)(size - n->st.st_size));
	n->st.st_size = size;
	set_times(n, true);
	return 0;
}

static void set_mtime(struct node *n, const struct stat *attr, int what)
{
	if (what & FUSE_SET_ATTR_MTIME_NOW)
		set_times(n, true);
	else if (what & FUSE_SET_ATTR_MTIME)
		n->st.st_mtim = attr->st_mtim;
	n->st.st_atim = n->st.st_mtim;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int what, struct fuse_file_info *fi)
{
	struct node *n = node_of(req, ino);
	int err = 0;

	(void)fi;
	pthread_rwlock_wrlock(&n->lock);
	if (what & FUSE_SET_ATTR_SIZE)
		err = resize(n, attr->st_size);
	set_times(n, false);
	if (what & FUSE_SET_ATTR_MODE)
		n->st.st_mode =
			(n->st.st_mode & S_IFMT) | (attr->st_mode & 07777);
	if (what & FUSE_SET_ATTR_UID)
		n->st.st_uid = attr->st_uid;
	if (what & FUSE_SET_ATTR_GID)
		n->st.st_gid = attr->st_gid;
	if (what & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		set_mtime(n, attr, what);
	pthread_rwlock_unlock(&n->lock);
	if (err)
		reply(req, err);
	else
		reply_attr(req, n);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct node *n = node_of(req, ino);
	struct stat st;

	copy_stat(n, &st);
	/* Without an x bit it is no program, not even for root. */
	reply(req, mask & X_OK && !(st.st_mode & 0111) ? EACCES : 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs sv = { .f_bsize = 4096,
			      .f_frsize = 4096,
			      .f_blocks = 1u << 22,
			      .f_bfree = 1u << 21,
			      .f_bavail = 1u << 21,
			      .f_files = 1u << 22,
			      .f_ffree = 1u << 21,
			      .f_favail = 1u << 21,
			      .f_namemax = NAME_LEN_MAX };

	(void)ino;
	fuse_reply_statfs(req, &sv);
}

/* Not ENOSYS: the kernel would never ask again, and a cairn mount is asked. */
static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			size_t size)
{
	(void)ino;
	(void)size;
	reply(req, !strncmp(name, "system.", 7) ? EOPNOTSUPP : ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	(void)ino;
	if (size)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_xattr(req, 0);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t size, int flags)
{
	(void)ino;
	(void)name;
	(void)value;
	(void)size;
	(void)flags;
	reply(req, EOPNOTSUPP);
}

/* ----------------------------------------------------------------- files */

/* As set_caching() of fs/mount/ops_file.c has it. */
static void set_caching(struct node *n, struct fuse_file_info *fi)
{
	int mode = fi->flags & O_ACCMODE;

	if (mode == O_WRONLY) {
		fi->direct_io = 1;
		return;
	}
	fi->keep_cache = !atomic_exchange(&n->stale, false);
	fi->noflush = mode == O_RDONLY;
}

static int open_node(struct node *n, struct fuse_file_info *fi)
{
	int err = 0;

	if (fi->flags & O_TRUNC && (fi->flags & O_ACCMODE) != O_RDONLY) {
		pthread_rwlock_wrlock(&n->lock);
		err = resize(n, 0);
		pthread_rwlock_unlock(&n->lock);
		n->stale = true;
	}
	if (!err)
		set_caching(n, fi);
	return err;
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	struct memfs *m = memfs_of(req);
	struct fuse_entry_param e;
	struct node *n;
	int err = make(req, parent, name, S_IFREG | (mode & 07777),
		       !(fi->flags & O_EXCL), &n, &e);

	if (err) {
		reply(req, err);
		return;
	}
	err = open_node(n, fi);
	if (err) {
		forget(m, n, 1);
		reply(req, err);
		return;
	}
	copy_stat(n, &e.attr);
	fuse_reply_create(req, &e, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int err = open_node(node_of(req, ino), fi);

	if (err)
		reply(req, err);
	else
		fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct node *n = node_of(req, ino);
	size_t len = 0;

	(void)fi;
	pthread_rwlock_rdlock(&n->lock);
	if (off < n->st.st_size)
		len = (size_t)(n->st.st_size - off);
	if (len > size)
		len = size;
	fuse_reply_buf(req, len ? n->bytes + off : NULL, len);
	pthread_rwlock_unlock(&n->lock);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node *n = node_of(req, ino);
	int err = 0;

	pthread_rwlock_wrlock(&n->lock);
	if (fi->flags & O_APPEND && !fi->writepage)
		off = n->st.st_size;
	err = reserve(n, (size_t)off + size);
	if (!err && off > n->st.st_size)
		memset(n->bytes + n->st.st_size, 0,
		       (size_t)(off - n->st.st_size));
	if (!err) {
		memcpy(n->bytes + off, data, size);
		if (off + (off_t)size > n->st.st_size)
			n->st.st_size = off + (off_t)size;
		set_times(n, true);
	}
	pthread_rwlock_unlock(&n->lock);
	/* Who has the file open at the same time is not told: nothing that is
	 * measured needs it. */
	if ((fi->flags & O_ACCMODE) == O_WRONLY)
		n->stale = true;
	if (err)
		reply(req, err);
	else
		fuse_reply_write(req, size);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		     struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	reply(req, 0);
}

/* ----------------------------------------------------------- directories */

static void op_opendir(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct dir_handle *h = calloc(1, sizeof(*h));

	(void)ino;
	if (!h) {
		reply(req, ENOMEM);
		return;
	}
	pthread_mutex_init(&h->mu, NULL);
	fi->fh = (uint64_t)(uintptr_t)h;
	fuse_reply_open(req, fi);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	struct dir_handle *h = (struct dir_handle *)(uintptr_t)fi->fh;

	(void)ino;
	pthread_mutex_destroy(&h->mu);
	free(h);
	reply(req, 0);
}

/* The last entry up to off, or the head of the list. */
static struct list *entry_at(struct dir_handle *h, struct node *dir,
			     uint64_t off)
{
	struct list *at = &dir->children;

	if (h->last && h->off == off && h->removals == dir->removals)
		return h->last;
	list_for_each (pos, &dir->children) {
		if (list_entry(pos, struct node, in_dir)->cookie > off)
			break;
		at = pos;
	}
	return at;
}

static size_t add_entry(fuse_req_t req, bool plus, struct node *n, char *dst,
			size_t room)
{
	struct fuse_entry_param e;
	size_t len;

	fill_entry(n, &e);
	if (!plus)
		return fuse_add_direntry(req, dst, room, n->name, &e.attr,
					 (off_t)n->cookie);
	len = fuse_add_direntry_plus(req, dst, room, n->name, &e,
				     (off_t)n->cookie);
	if (len <= room)
		n->n_lookup++;
	return len;
}

static void reply_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi, bool plus)
{
	struct dir_handle *h = (struct dir_handle *)(uintptr_t)fi->fh;
	struct memfs *m = memfs_of(req);
	struct node *dir = node_of(req, ino);
	char *bytes = malloc(size);
	size_t used = 0;
	struct list *at;

	if (!bytes) {
		reply(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&h->mu);
	pthread_rwlock_rdlock(&m->tree_lock);
	at = entry_at(h, dir, (uint64_t)off);
	h->off = (uint64_t)off;
	while (at->next != &dir->children) {
		struct node *n = list_entry(at->next, struct node, in_dir);
		size_t len = add_entry(req, plus, n, bytes + used, size - used);

		if (len > size - used)
			break;
		used += len;
		at = at->next;
		h->off = n->cookie;
	}
	h->last = at;
	h->removals = dir->removals;
	pthread_rwlock_unlock(&m->tree_lock);
	pthread_mutex_unlock(&h->mu);
	fuse_reply_buf(req, bytes, used);
	free(bytes);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	reply_dir(req, ino, size, off, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t off, struct fuse_file_info *fi)
{
	reply_dir(req, ino, size, off, fi, true);
}

/* ------------------------------------------------------------- the mount */

/* As op_init() of fs/mount/ops.c has it. */
static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable &
		      (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS |
		       FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
		       FUSE_CAP_ASYNC_READ);
	conn->want &=
		~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
			    FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_write = 1u << 20;
	conn->time_gran = 1;
}

static const struct fuse_lowlevel_ops ops = {
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
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsync,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.access = op_access,
};

/* The threads of a cairn mount: as many as cores, from two to eight. */
static unsigned worker_count(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 2 ? 2 : cores > 8 ? 8 : (unsigned)cores;
}

static void *worker_main(void *arg)
{
	struct fuse_session *se = arg;
	struct fuse_buf buf = { 0 };

	while (!fuse_session_exited(se)) {
		int n = fuse_session_receive_buf(se, &buf);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(se, &buf);
	}
	free(buf.mem);
	return NULL;
}

/* A signal ends it, whether or not somebody is in there. */
static void *signal_main(void *arg)
{
	struct memfs *m = arg;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigwait(&set, &sig);
	m->ending = true;
	fuse_session_unmount(m->se);
	_exit(0);
}

static int serve(struct memfs *m)
{
	pthread_t workers[8], signals;
	unsigned n = worker_count(), started = 0;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&signals, NULL, signal_main, m))
		return 1;
	pthread_detach(signals);
	while (started < n &&
	       !pthread_create(&workers[started], NULL, worker_main, m->se))
		started++;
	for (unsigned i = 0; i < started; i++)
		pthread_join(workers[i], NULL);
	while (m->ending)
		pause(); /* the other thread ends us */
	return started == n ? 0 : 1;
}

static int run(struct memfs *m, const char *dir)
{
	char name[] = "memfs", opts[] = "-osubtype=memfs,fsname=memfs";
	char *argv[] = { name, opts, NULL };
	struct fuse_args args = { .argc = 2, .argv = argv };
	int status = 1;

	m->n_buckets = 1024;
	m->buckets = calloc(m->n_buckets, sizeof(struct node *));
	if (!m->buckets) {
		fprintf(stderr, "memfs: out of memory\n");
		return 1;
	}
	init_lock(&m->tree_lock);
	init_node(m, &m->root, S_IFDIR | 0755);
	m->root.st.st_uid = getuid();
	m->root.st.st_gid = getgid();
	m->se = fuse_session_new(&args, &ops, sizeof(ops), m);
	if (m->se && !fuse_session_mount(m->se, dir)) {
		status = serve(m);
		fuse_session_unmount(m->se);
	}
	if (m->se)
		fuse_session_destroy(m->se);
	fuse_opt_free_args(&args);
	free(m->buckets);
	return status;
}

int main(int argc, char **argv)
{
	struct memfs m = { 0 };

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: memfs DIR\n");
		return 2;
	}
	return run(&m, argv[1]);
}
