/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An env that makes whoever creates a file with a certain suffix wait until the
 * test lets it: to hold a flush or a compaction where it is. Or whoever syncs
 * one, with at_sync.
 */
#ifndef CAIRN_TESTS_SUPPORT_GATE_ENV_H
#define CAIRN_TESTS_SUPPORT_GATE_ENV_H

#include <stdlib.h>

#include "engine/base/sync.h"
#include "engine/env/env.h"
#include "tests/support/check.h"

struct gate_env {
	struct cairn_env base;
	struct env_ops ops;
	struct cairn_env *below;
	const char *suffix;
	bool at_sync; /* to be set before anything is opened */
	struct mutex mu;
	struct cond changed;
	unsigned n_allowed; /* to go through */
	unsigned n_waiting;
	bool open;
};

static inline struct cairn_env *gate_below(struct cairn_env *e)
{
	return ((struct gate_env *)e)->below;
}

static inline int gate_open_read(struct cairn_env *e, const char *path,
				 struct rfile **out)
{
	return env_open_read(gate_below(e), path, out);
}

/* Stand before the gate until it lets one through. */
static inline void gate_wait(struct gate_env *g)
{
	mutex_lock(&g->mu);
	g->n_waiting++;
	cond_broadcast(&g->changed);
	while (!g->open && !g->n_allowed)
		cond_wait(&g->changed, &g->mu);
	if (!g->open)
		g->n_allowed--;
	g->n_waiting--;
	mutex_unlock(&g->mu);
}

struct gate_wfile {
	struct wfile base;
	struct wfile_ops ops;
	struct wfile *below;
	struct gate_env *gate;
};

static inline int gate_append(struct wfile *f, const void *data, size_t len)
{
	return wfile_append(((struct gate_wfile *)f)->below, data, len);
}

static inline int gate_sync(struct wfile *f)
{
	gate_wait(((struct gate_wfile *)f)->gate);
	return wfile_sync(((struct gate_wfile *)f)->below);
}

static inline int gate_preallocate(struct wfile *f, uint64_t len)
{
	return wfile_preallocate(((struct gate_wfile *)f)->below, len);
}

static inline void gate_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	wfile_flush_hint(((struct gate_wfile *)f)->below, off, len);
}

static inline int gate_close(struct wfile *f)
{
	int err = wfile_close(((struct gate_wfile *)f)->below);

	free(f);
	return err;
}

static inline int gate_open_write(struct cairn_env *e, const char *path,
				  struct wfile **out)
{
	struct gate_env *g = (struct gate_env *)e;
	size_t len = strlen(path), end = strlen(g->suffix);
	struct gate_wfile *f;
	int err;

	if (len < end || strcmp(path + len - end, g->suffix) != 0)
		return env_open_write(g->below, path, out);
	if (!g->at_sync) {
		gate_wait(g);
		return env_open_write(g->below, path, out);
	}
	f = calloc(1, sizeof(*f));
	ck_assert_ptr_nonnull(f);
	f->ops = (struct wfile_ops){ gate_append, gate_sync, gate_preallocate,
				     gate_flush_hint, gate_close };
	f->base.ops = &f->ops;
	f->gate = g;
	err = env_open_write(g->below, path, &f->below);
	if (err)
		free(f);
	else
		*out = &f->base;
	return err;
}

static inline int gate_list(struct cairn_env *e, const char *dir,
			    struct env_names *out)
{
	return env_list(gate_below(e), dir, out);
}

static inline int gate_stat(struct cairn_env *e, const char *path,
			    struct env_stat *out)
{
	return env_stat(gate_below(e), path, out);
}

static inline int gate_mkdir(struct cairn_env *e, const char *path)
{
	return env_mkdir(gate_below(e), path);
}

static inline int gate_rename(struct cairn_env *e, const char *from,
			      const char *to)
{
	return env_rename(gate_below(e), from, to);
}

static inline int gate_link(struct cairn_env *e, const char *from,
			    const char *to)
{
	return env_link(gate_below(e), from, to);
}

static inline int gate_unlink(struct cairn_env *e, const char *path)
{
	return env_unlink(gate_below(e), path);
}

static inline int gate_rmdir(struct cairn_env *e, const char *path)
{
	return env_rmdir(gate_below(e), path);
}

static inline int gate_sync_file(struct cairn_env *e, const char *path)
{
	return env_sync_file(gate_below(e), path);
}

static inline int gate_sync_dir(struct cairn_env *e, const char *dir)
{
	return env_sync_dir(gate_below(e), dir);
}

static inline int gate_free_space(struct cairn_env *e, const char *dir,
				  struct env_space *out)
{
	return env_free_space(gate_below(e), dir, out);
}

static inline int gate_lock(struct cairn_env *e, const char *path,
			    const char *note, struct env_lock **out)
{
	return env_lock(gate_below(e), path, note, out);
}

static inline void gate_lock_note(struct cairn_env *e, struct env_lock *l,
				  const char *note)
{
	env_lock_note(gate_below(e), l, note);
}

static inline void gate_unlock(struct cairn_env *e, struct env_lock *l)
{
	env_unlock(gate_below(e), l);
}

static inline int gate_holder(struct cairn_env *e, const char *path,
			      struct cairn_holder *out)
{
	return env_holder(gate_below(e), path, out);
}

static inline uint64_t gate_now_us(struct cairn_env *e)
{
	return env_now_us(gate_below(e));
}

static inline uint64_t gate_mono_us(struct cairn_env *e)
{
	return env_mono_us(gate_below(e));
}

static inline void gate_sleep_us(struct cairn_env *e, uint64_t us)
{
	env_sleep_us(gate_below(e), us);
}

static inline void gate_init(struct gate_env *g, struct cairn_env *below,
			     const char *suffix)
{
	*g = (struct gate_env){
		.ops = { gate_open_read, gate_open_write, gate_list, gate_stat,
			 gate_mkdir, gate_rename, gate_link, gate_unlink,
			 gate_rmdir, gate_sync_file, gate_sync_dir,
			 gate_free_space, gate_lock, gate_lock_note,
			 gate_unlock, gate_holder, gate_now_us, gate_mono_us,
			 gate_sleep_us },
		.below = below,
		.suffix = suffix,
		.open = true,
	};
	g->base.ops = &g->ops;
	mutex_init(&g->mu);
	cond_init(&g->changed);
}

static inline void gate_fini(struct gate_env *g)
{
	cond_fini(&g->changed);
	mutex_fini(&g->mu);
}

static inline void gate_set(struct gate_env *g, bool open)
{
	mutex_lock(&g->mu);
	g->open = open;
	cond_broadcast(&g->changed);
	mutex_unlock(&g->mu);
}

/* Let one through. */
static inline void gate_pass(struct gate_env *g)
{
	mutex_lock(&g->mu);
	g->n_allowed++;
	cond_broadcast(&g->changed);
	mutex_unlock(&g->mu);
}

/* Return when n threads stand before the gate. */
static inline void gate_await(struct gate_env *g, unsigned n)
{
	mutex_lock(&g->mu);
	while (g->n_waiting < n)
		cond_wait(&g->changed, &g->mu);
	mutex_unlock(&g->mu);
}

#endif
