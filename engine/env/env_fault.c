/* SPDX-License-Identifier: BSD-3-Clause */
/* Every operation asks check() first, and goes to the env below if it may. */
#include "engine/env/env_fault.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"

#define N_OPS 15

_Static_assert(ENV_FAULT_ALL == (1 << N_OPS) - 1, "a counter for each class");

struct fault_env {
	struct cairn_env base;
	struct cairn_env *below;

	struct mutex mu; /* guards the rest */
	bool armed;
	struct env_fault_rule rule;
	uint64_t seen; /* operations that matched the rule */
	uint64_t hits;
	uint64_t count[N_OPS];
};

static const char *const op_names[N_OPS] = {
	"open",  "read",   "create",         "append",      "sync",
	"close", "rename", "link",           "remove",      "sync directory",
	"list",  "stat",   "make directory", "preallocate", "lock",
};

static struct fault_env *fault_env(struct cairn_env *e)
{
	return (struct fault_env *)e;
}

static bool matches(const struct env_fault_rule *r, unsigned op,
		    const char *path, const char *other)
{
	if (!(r->ops & op))
		return false;
	return !r->path || strstr(path, r->path) ||
	       (other && strstr(other, r->path));
}

/*
 * Count an operation of class op on path (and other, if there are two). When
 * it is to fail: its code, with a message, and *partial as the rule says.
 */
static int check_two(struct fault_env *e, enum env_fault_op op,
		     const char *path, const char *other, bool *partial)
{
	unsigned bit = (unsigned)__builtin_ctz((unsigned)op);
	int code = CAIRN_OK;

	mutex_lock(&e->mu);
	e->count[bit]++;
	if (e->armed && matches(&e->rule, op, path, other)) {
		e->seen++;
		if (e->seen == e->rule.nth ||
		    (e->rule.sticky && e->seen > e->rule.nth)) {
			e->hits++;
			code = e->rule.code;
			*partial = e->rule.partial;
		}
	}
	mutex_unlock(&e->mu);
	if (code)
		error_set(code, "%s: %s: injected failure", path,
			  op_names[bit]);
	return code;
}

static int check(struct fault_env *e, enum env_fault_op op, const char *path)
{
	bool partial;

	return check_two(e, op, path, NULL, &partial);
}

/* ------------------------------------------------------------ reading */

struct fault_rfile {
	struct rfile base;
	struct fault_env *e;
	struct rfile *below;
	char path[];
};

static int fault_read(struct rfile *base, uint64_t off, void *dst, size_t len,
		      size_t *got)
{
	struct fault_rfile *f = (struct fault_rfile *)base;
	int err = check(f->e, ENV_FAULT_READ, f->path);

	return err ? err : rfile_read(f->below, off, dst, len, got);
}

static int fault_size(struct rfile *base, uint64_t *size)
{
	struct fault_rfile *f = (struct fault_rfile *)base;
	int err = check(f->e, ENV_FAULT_STAT, f->path);

	return err ? err : rfile_size(f->below, size);
}

static void fault_prefetch(struct rfile *base, uint64_t off, size_t len)
{
	rfile_prefetch(((struct fault_rfile *)base)->below, off, len);
}

static void fault_rclose(struct rfile *base)
{
	struct fault_rfile *f = (struct fault_rfile *)base;

	rfile_close(f->below);
	free(f);
}

static const struct rfile_ops fault_rfile_ops = {
	.read = fault_read,
	.size = fault_size,
	.prefetch = fault_prefetch,
	.close = fault_rclose,
};

static int fault_open_read(struct cairn_env *base, const char *path,
			   struct rfile **out)
{
	struct fault_env *e = fault_env(base);
	size_t path_len = strlen(path) + 1;
	struct fault_rfile *f;
	int err = check(e, ENV_FAULT_OPEN_READ, path);

	if (err)
		return err;
	f = malloc(sizeof(*f) + path_len);
	if (!f)
		return error_nomem();
	f->base.ops = &fault_rfile_ops;
	f->e = e;
	memcpy(f->path, path, path_len);
	err = env_open_read(e->below, path, &f->below);
	if (err)
		free(f);
	else
		*out = &f->base;
	return err;
}

/* ------------------------------------------------------------ writing */

struct fault_wfile {
	struct wfile base;
	struct fault_env *e;
	struct wfile *below;
	bool lost; /* a sync has dropped bytes */
	char path[];
};

static int fault_append(struct wfile *base, const void *data, size_t len)
{
	struct fault_wfile *f = (struct fault_wfile *)base;
	bool partial = false;
	int err = check_two(f->e, ENV_FAULT_APPEND, f->path, NULL, &partial);

	if (!err)
		return wfile_append(f->below, data, len);
	/* What this one returns is worth no more than the failure we report. */
	if (partial && wfile_append(f->below, data, len / 2) != CAIRN_OK)
		err = error_set(err, "%s: append: injected failure", f->path);
	return err;
}

static int fault_sync(struct wfile *base)
{
	struct fault_wfile *f = (struct fault_wfile *)base;
	bool partial = false;
	int err = check_two(f->e, ENV_FAULT_SYNC, f->path, NULL, &partial);

	if (err) {
		f->lost |= partial;
		return err;
	}
	/*
	 * The system has forgotten that these bytes need writing: it reports
	 * success, and they are still not on the disk.
	 */
	return f->lost ? CAIRN_OK : wfile_sync(f->below);
}

static int fault_preallocate(struct wfile *base, uint64_t len)
{
	struct fault_wfile *f = (struct fault_wfile *)base;
	int err = check(f->e, ENV_FAULT_PREALLOCATE, f->path);

	return err ? err : wfile_preallocate(f->below, len);
}

static void fault_flush_hint(struct wfile *base, uint64_t off, uint64_t len)
{
	wfile_flush_hint(((struct fault_wfile *)base)->below, off, len);
}

static int fault_wclose(struct wfile *base)
{
	struct fault_wfile *f = (struct fault_wfile *)base;
	int below = wfile_close(f->below);
	int err = check(f->e, ENV_FAULT_CLOSE, f->path);

	free(f);
	return err ? err : below;
}

static const struct wfile_ops fault_wfile_ops = {
	.append = fault_append,
	.sync = fault_sync,
	.preallocate = fault_preallocate,
	.flush_hint = fault_flush_hint,
	.close = fault_wclose,
};

static int fault_open_write(struct cairn_env *base, const char *path,
			    struct wfile **out)
{
	struct fault_env *e = fault_env(base);
	size_t path_len = strlen(path) + 1;
	struct fault_wfile *f;
	int err = check(e, ENV_FAULT_CREATE, path);

	if (err)
		return err;
	f = malloc(sizeof(*f) + path_len);
	if (!f)
		return error_nomem();
	f->base.ops = &fault_wfile_ops;
	f->e = e;
	f->lost = false;
	memcpy(f->path, path, path_len);
	err = env_open_write(e->below, path, &f->below);
	if (err)
		free(f);
	else
		*out = &f->base;
	return err;
}

/* ------------------------------------------------------------ names */

static int fault_list(struct cairn_env *base, const char *dir,
		      struct env_names *out)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_LIST, dir);

	return err ? err : env_list(e->below, dir, out);
}

static int fault_stat(struct cairn_env *base, const char *path,
		      struct env_stat *out)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_STAT, path);

	return err ? err : env_stat(e->below, path, out);
}

static int fault_mkdir(struct cairn_env *base, const char *path)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_MKDIR, path);

	return err ? err : env_mkdir(e->below, path);
}

static int fault_rename(struct cairn_env *base, const char *from,
			const char *to)
{
	struct fault_env *e = fault_env(base);
	bool partial;
	int err = check_two(e, ENV_FAULT_RENAME, from, to, &partial);

	return err ? err : env_rename(e->below, from, to);
}

static int fault_link(struct cairn_env *base, const char *from, const char *to)
{
	struct fault_env *e = fault_env(base);
	bool partial;
	int err = check_two(e, ENV_FAULT_LINK, from, to, &partial);

	return err ? err : env_link(e->below, from, to);
}

static int fault_unlink(struct cairn_env *base, const char *path)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_UNLINK, path);

	return err ? err : env_unlink(e->below, path);
}

static int fault_rmdir(struct cairn_env *base, const char *path)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_UNLINK, path);

	return err ? err : env_rmdir(e->below, path);
}

static int fault_sync_file(struct cairn_env *base, const char *path)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_SYNC, path);

	return err ? err : env_sync_file(e->below, path);
}

static int fault_sync_dir(struct cairn_env *base, const char *dir)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_SYNC_DIR, dir);

	return err ? err : env_sync_dir(e->below, dir);
}

static int fault_free_space(struct cairn_env *base, const char *dir,
			    struct env_space *out)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_STAT, dir);

	return err ? err : env_free_space(e->below, dir, out);
}

/* ------------------------------------------------------------ the rest */

static int fault_lock(struct cairn_env *base, const char *path,
		      const char *note, struct env_lock **out)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_LOCK, path);

	return err ? err : env_lock(e->below, path, note, out);
}

static void fault_lock_note(struct cairn_env *base, struct env_lock *l,
			    const char *note)
{
	env_lock_note(fault_env(base)->below, l, note);
}

static void fault_unlock(struct cairn_env *base, struct env_lock *l)
{
	env_unlock(fault_env(base)->below, l);
}

static int fault_holder(struct cairn_env *base, const char *path,
			struct cairn_holder *out)
{
	struct fault_env *e = fault_env(base);
	int err = check(e, ENV_FAULT_LOCK, path);

	return err ? err : env_holder(e->below, path, out);
}

static uint64_t fault_now_us(struct cairn_env *base)
{
	return env_now_us(fault_env(base)->below);
}

static uint64_t fault_mono_us(struct cairn_env *base)
{
	return env_mono_us(fault_env(base)->below);
}

static void fault_sleep_us(struct cairn_env *base, uint64_t us)
{
	env_sleep_us(fault_env(base)->below, us);
}

static const struct env_ops fault_ops = {
	.open_read = fault_open_read,
	.open_write = fault_open_write,
	.list = fault_list,
	.stat = fault_stat,
	.mkdir = fault_mkdir,
	.rename = fault_rename,
	.link = fault_link,
	.unlink = fault_unlink,
	.rmdir = fault_rmdir,
	.sync_file = fault_sync_file,
	.sync_dir = fault_sync_dir,
	.free_space = fault_free_space,
	.lock = fault_lock,
	.lock_note = fault_lock_note,
	.unlock = fault_unlock,
	.holder = fault_holder,
	.now_us = fault_now_us,
	.mono_us = fault_mono_us,
	.sleep_us = fault_sleep_us,
};

struct cairn_env *env_fault_new(struct cairn_env *base)
{
	struct fault_env *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.ops = &fault_ops;
	e->below = base;
	mutex_init(&e->mu);
	return &e->base;
}

void env_fault_free(struct cairn_env *base)
{
	if (!base)
		return;
	mutex_fini(&fault_env(base)->mu);
	free(fault_env(base));
}

void env_fault_set(struct cairn_env *base, const struct env_fault_rule *rule)
{
	struct fault_env *e = fault_env(base);

	assert(!rule || (rule->nth > 0 && rule->code));
	mutex_lock(&e->mu);
	e->armed = rule != NULL;
	if (rule)
		e->rule = *rule;
	e->seen = 0;
	e->hits = 0;
	mutex_unlock(&e->mu);
}

uint64_t env_fault_count(struct cairn_env *base, unsigned ops)
{
	struct fault_env *e = fault_env(base);
	uint64_t n = 0;

	mutex_lock(&e->mu);
	for (unsigned i = 0; i < N_OPS; i++)
		n += ops >> i & 1 ? e->count[i] : 0;
	mutex_unlock(&e->mu);
	return n;
}

uint64_t env_fault_hits(struct cairn_env *base)
{
	struct fault_env *e = fault_env(base);
	uint64_t hits;

	mutex_lock(&e->mu);
	hits = e->hits;
	mutex_unlock(&e->mu);
	return hits;
}
