/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operations of an env on a mem_tree, one at a time. errno values of the
 * tree become results here.
 */
#include "engine/env/env_mem.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/base/sync.h"
#include "engine/env/lock_text.h"
#include "engine/env/mem_tree.h"

/* What env_free_space() tells when there is no capacity. */
#define PLENTY (1ull << 40)

struct mem_env {
	struct cairn_env base;
	enum env_mem_rule rule;

	struct mutex mu;   /* guards all that follows, and every node */
	unsigned refs;     /* the owner, open files and locks */
	uint64_t capacity; /* 0: none */
	struct mem_tree tree;
};

struct env_lock {
	bool noted; /* the text in the file is ours */
	struct mem_env *e;
	struct mem_node *node;
	struct cairn_holder holder;
};

/* A result for the caller, when a missing file is a failure ... */
static int result(int err, const char *what, const char *path)
{
	return err ? error_errno(err, what, path) : CAIRN_OK;
}

/* ... and when it is an answer. */
static int answer(int err, const char *what, const char *path)
{
	if (err == ENOENT || err == ENOTDIR)
		return CAIRN_NOT_FOUND;
	return result(err, what, path);
}

/* ------------------------------------------------------------ the env */

static struct mem_env *mem_env(struct cairn_env *e)
{
	return (struct mem_env *)e;
}

static void mem_destroy(struct mem_env *e)
{
	mem_tree_fini(&e->tree);
	mutex_fini(&e->mu);
	free(e);
}

/* Leave the env, mu held; the last to leave frees it. */
static void mem_leave(struct mem_env *e)
{
	bool last;

	assert_held(&e->mu);
	assert(e->refs > 0);
	last = --e->refs == 0;
	mutex_unlock(&e->mu);
	if (last)
		mem_destroy(e);
}

/* ------------------------------------------------------------ reading */

struct mem_rfile {
	struct rfile base;
	struct mem_env *e;
	struct mem_node *node;
};

static int mem_read(struct rfile *base, uint64_t off, void *dst, size_t len,
		    size_t *got)
{
	struct mem_rfile *f = (struct mem_rfile *)base;
	const struct buf *b = &f->node->bytes;
	size_t n = 0;

	mutex_lock(&f->e->mu);
	if (off < b->len) {
		n = b->len - (size_t)off;
		if (n > len)
			n = len;
		if (n)
			memcpy(dst, b->data + off, n);
	}
	mutex_unlock(&f->e->mu);
	*got = n;
	return CAIRN_OK;
}

static int mem_size(struct rfile *base, uint64_t *size)
{
	struct mem_rfile *f = (struct mem_rfile *)base;

	mutex_lock(&f->e->mu);
	*size = f->node->bytes.len;
	mutex_unlock(&f->e->mu);
	return CAIRN_OK;
}

static void mem_prefetch(struct rfile *f, uint64_t off, size_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

static void mem_rclose(struct rfile *base)
{
	struct mem_rfile *f = (struct mem_rfile *)base;

	mutex_lock(&f->e->mu);
	mem_node_unuse(&f->e->tree, f->node);
	mem_node_unref(&f->e->tree, f->node);
	mem_leave(f->e);
	free(f);
}

static const struct rfile_ops mem_rfile_ops = {
	.read = mem_read,
	.size = mem_size,
	.prefetch = mem_prefetch,
	.close = mem_rclose,
};

static int mem_open_read(struct cairn_env *base, const char *path,
			 struct rfile **out)
{
	struct mem_env *e = mem_env(base);
	struct mem_rfile *f = malloc(sizeof(*f));
	struct mem_node *n = NULL;
	int err;

	if (!f)
		return error_nomem();
	mutex_lock(&e->mu);
	err = mem_tree_find(&e->tree, path, &n);
	if (!err && n->is_dir)
		err = EISDIR;
	if (!err) {
		f->base.ops = &mem_rfile_ops;
		f->e = e;
		f->node = mem_node_ref(n);
		mem_node_use(&e->tree, n);
		e->refs++;
		*out = &f->base;
		f = NULL;
	}
	mutex_unlock(&e->mu);
	free(f);
	return answer(err, "open", path);
}

/* ------------------------------------------------------------ writing */

struct mem_wfile {
	struct wfile base;
	struct mem_env *e;
	struct mem_node *node;
	char path[];
};

/* What fits is written, as a disk does it. */
static int mem_append(struct wfile *base, const void *data, size_t len)
{
	struct mem_wfile *f = (struct mem_wfile *)base;
	struct mem_env *e = f->e;
	size_t n = len;
	int err;

	mutex_lock(&e->mu);
	if (e->capacity) {
		uint64_t room = e->capacity > e->tree.used
					? e->capacity - e->tree.used
					: 0;

		if (n > room)
			n = (size_t)room;
	}
	err = buf_append(&f->node->bytes, data, n);
	if (!err)
		e->tree.used += n;
	mutex_unlock(&e->mu);
	if (!err && n < len)
		err = error_errno(ENOSPC, "write", f->path);
	return err;
}

/* mu held; 0 or an errno value. */
static int sync_node(struct mem_env *e, struct mem_node *n)
{
	n->synced = n->bytes.len;
	return e->rule == ENV_MEM_JOURNAL ? mem_tree_commit(&e->tree, NULL) : 0;
}

static int mem_sync(struct wfile *base)
{
	struct mem_wfile *f = (struct mem_wfile *)base;
	int err;

	mutex_lock(&f->e->mu);
	err = sync_node(f->e, f->node);
	mutex_unlock(&f->e->mu);
	return result(err, "sync", f->path);
}

/* Only looks whether there is room now; nothing is set aside. */
static int mem_preallocate(struct wfile *base, uint64_t len)
{
	struct mem_wfile *f = (struct mem_wfile *)base;
	struct mem_env *e = f->e;
	int err = 0;

	mutex_lock(&e->mu);
	if (e->capacity && len > f->node->bytes.len &&
	    (e->tree.used >= e->capacity ||
	     len - f->node->bytes.len > e->capacity - e->tree.used))
		err = ENOSPC;
	mutex_unlock(&e->mu);
	return result(err, "preallocate", f->path);
}

static void mem_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

static int mem_wclose(struct wfile *base)
{
	struct mem_wfile *f = (struct mem_wfile *)base;

	mutex_lock(&f->e->mu);
	mem_node_unuse(&f->e->tree, f->node);
	mem_node_unref(&f->e->tree, f->node);
	mem_leave(f->e);
	free(f);
	return CAIRN_OK;
}

static const struct wfile_ops mem_wfile_ops = {
	.append = mem_append,
	.sync = mem_sync,
	.preallocate = mem_preallocate,
	.flush_hint = mem_flush_hint,
	.close = mem_wclose,
};

static int mem_open_write(struct cairn_env *base, const char *path,
			  struct wfile **out)
{
	struct mem_env *e = mem_env(base);
	size_t path_len = strlen(path) + 1;
	struct mem_wfile *f = malloc(sizeof(*f) + path_len);
	struct mem_node *n = NULL;
	int err;

	if (!f)
		return error_nomem();
	memcpy(f->path, path, path_len);
	mutex_lock(&e->mu);
	err = mem_tree_make(&e->tree, path, false, &n);
	if (!err) {
		f->base.ops = &mem_wfile_ops;
		f->e = e;
		f->node = mem_node_ref(n);
		mem_node_use(&e->tree, n);
		e->refs++;
		*out = &f->base;
		f = NULL;
	}
	mutex_unlock(&e->mu);
	free(f);
	return result(err, "create", path);
}

/* ------------------------------------------------------------ directories */

static int copy_names(const struct mem_names *from, struct env_names *out)
{
	struct env_names l = { 0 };

	l.names = calloc(from->n ? from->n : 1, sizeof(*l.names));
	if (!l.names)
		return ENOMEM;
	for (size_t i = 0; i < from->n; i++) {
		l.names[i] = strdup(from->v[i].name);
		if (!l.names[i]) {
			env_names_free(&l);
			return ENOMEM;
		}
		l.n++;
	}
	*out = l;
	return 0;
}

static int mem_list(struct cairn_env *base, const char *path,
		    struct env_names *out)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *dir = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find_dir(&e->tree, path, &dir);
	if (!err)
		err = copy_names(&dir->visible, out);
	mutex_unlock(&e->mu);
	return err == ENOENT ? CAIRN_NOT_FOUND : result(err, "list", path);
}

static int mem_stat(struct cairn_env *base, const char *path,
		    struct env_stat *out)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *n = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find(&e->tree, path, &n);
	if (!err)
		*out = (struct env_stat){ .size = n->bytes.len,
					  .is_dir = n->is_dir };
	mutex_unlock(&e->mu);
	return answer(err, "stat", path);
}

static int mem_mkdir(struct cairn_env *base, const char *path)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *n = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_make(&e->tree, path, true, &n);
	mutex_unlock(&e->mu);
	return result(err, "make directory", path);
}

static int mem_rename(struct cairn_env *base, const char *from, const char *to)
{
	struct mem_env *e = mem_env(base);
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_rename(&e->tree, from, to);
	mutex_unlock(&e->mu);
	return result(err, "rename", from);
}

static int mem_link(struct cairn_env *base, const char *from, const char *to)
{
	struct mem_env *e = mem_env(base);
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_link(&e->tree, from, to);
	mutex_unlock(&e->mu);
	return result(err, "link to", to);
}

static int mem_unlink(struct cairn_env *base, const char *path)
{
	struct mem_env *e = mem_env(base);
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_unlink(&e->tree, path);
	mutex_unlock(&e->mu);
	return answer(err, "remove", path);
}

static int mem_rmdir(struct cairn_env *base, const char *path)
{
	struct mem_env *e = mem_env(base);
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_rmdir(&e->tree, path);
	mutex_unlock(&e->mu);
	return answer(err, "remove", path);
}

static int mem_sync_file(struct cairn_env *base, const char *path)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *n = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find(&e->tree, path, &n);
	if (!err && n->is_dir)
		err = EISDIR;
	if (!err)
		err = sync_node(e, n);
	mutex_unlock(&e->mu);
	return answer(err, "sync", path);
}

static int mem_sync_dir(struct cairn_env *base, const char *path)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *dir = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find_dir(&e->tree, path, &dir);
	if (!err)
		err = mem_tree_commit(&e->tree,
				      e->rule == ENV_MEM_JOURNAL ? NULL : dir);
	mutex_unlock(&e->mu);
	return result(err, "sync directory", path);
}

static int mem_free_space(struct cairn_env *base, const char *path,
			  struct env_space *out)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *n = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find(&e->tree, path, &n);
	if (!err) {
		out->total = e->capacity ? e->capacity : PLENTY;
		out->free = !e->capacity ? PLENTY
			    : e->capacity > e->tree.used
				    ? e->capacity - e->tree.used
				    : 0;
	}
	mutex_unlock(&e->mu);
	return result(err, "free space", path);
}

/* ------------------------------------------------------------ locks */

/* Replace the text in a lock file; without, when there is no room for it. */
static void write_lock_text(struct mem_env *e, struct mem_node *n,
			    struct cairn_slice text)
{
	uint64_t rest = e->tree.used - n->bytes.len;

	if (e->capacity && rest + text.len > e->capacity)
		text.len = 0;
	if (buf_set(&n->bytes, text))
		buf_clear(&n->bytes);
	n->synced = 0;
	e->tree.used = rest + n->bytes.len;
}

static int find_or_make(struct mem_env *e, const char *path,
			struct mem_node **out)
{
	int err = mem_tree_find(&e->tree, path, out);

	if (err == ENOENT)
		err = mem_tree_make(&e->tree, path, false, out);
	if (!err && (*out)->is_dir)
		err = EISDIR;
	return err;
}

static void mem_lock_note(struct cairn_env *base, struct env_lock *l,
			  const char *note)
{
	struct mem_env *e = l->e;
	struct buf text = { 0 };

	if (lock_text_append(&text, (long)getpid(), note, env_now_us(base)) ==
	    CAIRN_OK) {
		mutex_lock(&e->mu);
		write_lock_text(e, l->node, buf_slice(&text));
		l->noted = true;
		lock_text_read(buf_slice(&text), &l->holder);
		mutex_unlock(&e->mu);
	}
	buf_fini(&text);
}

static int mem_lock(struct cairn_env *base, const char *path, const char *note,
		    struct env_lock **out)
{
	struct mem_env *e = mem_env(base);
	struct env_lock *l = calloc(1, sizeof(*l));
	struct mem_node *n = NULL;
	int err;

	if (!l)
		return error_nomem();
	l->holder.pid = (long)getpid();
	mutex_lock(&e->mu);
	err = result(find_or_make(e, path, &n), "lock", path);
	if (!err && n->lock)
		err = lock_text_busy(path, &n->lock->holder);
	if (!err) {
		l->e = e;
		l->node = mem_node_ref(n);
		mem_node_use(&e->tree, n);
		n->lock = l;
		e->refs++;
	}
	mutex_unlock(&e->mu);
	if (err) {
		free(l);
		return err;
	}
	if (note)
		mem_lock_note(base, l, note);
	*out = l;
	return CAIRN_OK;
}

static void mem_unlock(struct cairn_env *base, struct env_lock *l)
{
	struct mem_env *e = l->e;

	(void)base;
	mutex_lock(&e->mu);
	assert(l->node->lock == l);
	l->node->lock = NULL;
	if (l->noted)
		write_lock_text(e, l->node, slice_of(NULL, 0));
	mem_node_unuse(&e->tree, l->node);
	mem_node_unref(&e->tree, l->node);
	mem_leave(e);
	free(l);
}

static int mem_holder(struct cairn_env *base, const char *path,
		      struct cairn_holder *out)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *n = NULL;
	bool held = false;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find(&e->tree, path, &n);
	if (!err && n->lock) {
		*out = n->lock->holder;
		held = true;
	}
	mutex_unlock(&e->mu);
	if (!err && !held)
		return CAIRN_NOT_FOUND;
	return answer(err, "find lock holder", path);
}

/* ------------------------------------------------------------ time */

static uint64_t mem_now_us(struct cairn_env *e)
{
	(void)e;
	return env_now_us(env_posix());
}

static uint64_t mem_mono_us(struct cairn_env *e)
{
	(void)e;
	return env_mono_us(env_posix());
}

static void mem_sleep_us(struct cairn_env *e, uint64_t us)
{
	(void)e;
	env_sleep_us(env_posix(), us);
}

static const struct env_ops mem_ops = {
	.open_read = mem_open_read,
	.open_write = mem_open_write,
	.list = mem_list,
	.stat = mem_stat,
	.mkdir = mem_mkdir,
	.rename = mem_rename,
	.link = mem_link,
	.unlink = mem_unlink,
	.rmdir = mem_rmdir,
	.sync_file = mem_sync_file,
	.sync_dir = mem_sync_dir,
	.free_space = mem_free_space,
	.lock = mem_lock,
	.lock_note = mem_lock_note,
	.unlock = mem_unlock,
	.holder = mem_holder,
	.now_us = mem_now_us,
	.mono_us = mem_mono_us,
	.sleep_us = mem_sleep_us,
};

struct cairn_env *env_mem_new(enum env_mem_rule rule)
{
	struct mem_env *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.ops = &mem_ops;
	e->rule = rule;
	e->refs = 1;
	mutex_init(&e->mu);
	if (mem_tree_init(&e->tree)) {
		mem_destroy(e);
		return NULL;
	}
	return &e->base;
}

void env_mem_free(struct cairn_env *base)
{
	if (!base)
		return;
	mutex_lock(&mem_env(base)->mu);
	mem_leave(mem_env(base));
}

/* ------------------------------------------------------------ for tests */

struct cairn_env *env_mem_crash_clone(struct cairn_env *base, uint64_t seed,
				      unsigned keep_percent)
{
	struct mem_env *e = mem_env(base);
	struct cairn_env *clone = env_mem_new(e->rule);
	struct mem_env *to;
	int err;

	if (!clone)
		return NULL;
	/* Nobody else knows the clone, so its mutex is not needed. */
	to = mem_env(clone);
	mutex_lock(&e->mu);
	to->capacity = e->capacity;
	err = mem_tree_crash(&e->tree, e->rule == ENV_MEM_JOURNAL, seed,
			     keep_percent, &to->tree);
	mutex_unlock(&e->mu);
	if (err) {
		env_mem_free(clone);
		return NULL;
	}
	return clone;
}

uint64_t env_mem_bytes(struct cairn_env *base)
{
	struct mem_env *e = mem_env(base);
	uint64_t used;

	mutex_lock(&e->mu);
	used = e->tree.used;
	mutex_unlock(&e->mu);
	return used;
}

void env_mem_set_capacity(struct cairn_env *base, uint64_t bytes)
{
	struct mem_env *e = mem_env(base);

	mutex_lock(&e->mu);
	e->capacity = bytes;
	mutex_unlock(&e->mu);
}

int env_mem_damage(struct cairn_env *base, const char *path, uint64_t off,
		   uint8_t mask)
{
	struct mem_env *e = mem_env(base);
	struct mem_node *n = NULL;
	int err;

	mutex_lock(&e->mu);
	err = mem_tree_find(&e->tree, path, &n);
	if (!err && off >= n->bytes.len)
		err = ENOENT;
	if (!err)
		n->bytes.data[off] ^= mask;
	mutex_unlock(&e->mu);
	return answer(err, "damage", path);
}
