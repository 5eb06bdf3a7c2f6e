/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/image_env.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "tests/support/check.h"

struct image_file {
	struct rfile base;
	struct cairn_slice bytes;
};

static int file_read(struct rfile *f, uint64_t off, void *dst, size_t len,
		     size_t *got)
{
	struct cairn_slice bytes = ((struct image_file *)f)->bytes;
	size_t have = off < bytes.len ? bytes.len - (size_t)off : 0;

	*got = len < have ? len : have;
	if (*got)
		memcpy(dst, bytes.data + off, *got);
	return CAIRN_OK;
}

static int file_size(struct rfile *f, uint64_t *size)
{
	*size = ((struct image_file *)f)->bytes.len;
	return CAIRN_OK;
}

static void file_prefetch(struct rfile *f, uint64_t off, size_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

static void file_close(struct rfile *f)
{
	free(f);
}

static const struct rfile_ops file_ops = { file_read, file_size, file_prefetch,
					   file_close };

/* The contents of path. false: there is no such file. */
static bool find(struct cairn_env *base, const char *path,
		 struct cairn_slice *out)
{
	struct image_env *e = (struct image_env *)base;
	const char *name = path + strlen(IMAGE_DIR "/");

	if (strncmp(path, IMAGE_DIR "/", strlen(IMAGE_DIR "/")) != 0)
		return false;
	for (size_t i = 0; i < e->golden->n; i++) {
		if (strcmp(name, e->golden->files[i].name) != 0)
			continue;
		*out = i == e->replaced ? e->bytes
					: buf_slice(&e->golden->files[i].bytes);
		e->touched[i] = true;
		return true;
	}
	return false;
}

static int image_open_read(struct cairn_env *e, const char *path,
			   struct rfile **out)
{
	struct cairn_slice bytes;
	struct image_file *f;

	if (!find(e, path, &bytes))
		return CAIRN_NOT_FOUND;
	f = malloc(sizeof(*f));
	if (!f)
		return error_nomem();
	*f = (struct image_file){ { &file_ops }, bytes };
	*out = &f->base;
	return CAIRN_OK;
}

static int image_stat(struct cairn_env *e, const char *path,
		      struct env_stat *out)
{
	struct cairn_slice bytes;

	if (!find(e, path, &bytes))
		return CAIRN_NOT_FOUND;
	*out = (struct env_stat){ .size = bytes.len };
	return CAIRN_OK;
}

static int image_list(struct cairn_env *base, const char *dir,
		      struct env_names *out)
{
	const struct golden *g = ((struct image_env *)base)->golden;

	if (strcmp(dir, IMAGE_DIR) != 0)
		return CAIRN_NOT_FOUND;
	out->names = calloc(g->n ? g->n : 1, sizeof(char *));
	out->n = 0;
	if (!out->names)
		return error_nomem();
	for (size_t i = 0; i < g->n; i++) {
		out->names[i] = strdup(g->files[i].name);
		if (!out->names[i]) {
			env_names_free(out);
			return error_nomem();
		}
		out->n++;
	}
	return CAIRN_OK;
}

static int image_holder(struct cairn_env *e, const char *path,
			struct cairn_holder *out)
{
	(void)e;
	(void)path;
	(void)out;
	return CAIRN_NOT_FOUND;
}

/* A directory that is only read is not written to, by whatever function. */
static int refuse(const char *what, const char *path)
{
	return error_set(CAIRN_EROFS, "%s of %s in a read-only image", what,
			 path);
}

static int image_open_write(struct cairn_env *e, const char *path,
			    struct wfile **out)
{
	(void)e;
	(void)out;
	return refuse("creation", path);
}

static int image_change(struct cairn_env *e, const char *path)
{
	(void)e;
	return refuse("change", path);
}

static int image_move(struct cairn_env *e, const char *from, const char *to)
{
	(void)e;
	(void)to;
	return refuse("move", from);
}

static int image_lock(struct cairn_env *e, const char *path, const char *note,
		      struct env_lock **out)
{
	(void)e;
	(void)note;
	(void)out;
	return refuse("lock", path);
}

static int image_free_space(struct cairn_env *e, const char *dir,
			    struct env_space *out)
{
	(void)e;
	(void)dir;
	*out = (struct env_space){ 0 };
	return CAIRN_OK;
}

static void image_sleep(struct cairn_env *e, uint64_t us)
{
	(void)e;
	(void)us;
}

static uint64_t image_time(struct cairn_env *e)
{
	(void)e;
	return 1;
}

void image_env_init(struct image_env *e, const struct golden *golden)
{
	static const struct env_ops ops = {
		.open_read = image_open_read,
		.open_write = image_open_write,
		.list = image_list,
		.stat = image_stat,
		.mkdir = image_change,
		.rename = image_move,
		.link = image_move,
		.unlink = image_change,
		.sync_dir = image_change,
		.free_space = image_free_space,
		.lock = image_lock,
		.holder = image_holder,
		.now_us = image_time,
		.mono_us = image_time,
		.sleep_us = image_sleep,
	};

	*e = (struct image_env){
		.base = { &ops },
		.golden = golden,
		.replaced = SIZE_MAX,
		.touched = calloc(golden->n + 1, sizeof(bool)),
	};
	ck_assert_ptr_nonnull(e->touched);
}

void image_env_fini(struct image_env *e)
{
	free(e->touched);
	*e = (struct image_env){ 0 };
}
