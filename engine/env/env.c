/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be said in terms of any env. */
#include "engine/env/env.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"

void env_names_free(struct env_names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->names[i]);
	free(l->names);
	*l = (struct env_names){ 0 };
}

static int read_all(struct rfile *f, const char *path, size_t max,
		    struct buf *out)
{
	uint64_t size;
	size_t got;
	int err;

	err = rfile_size(f, &size);
	if (err)
		return err;
	if (size > max)
		return error_set(CAIRN_ECORRUPT,
				 "%s: %llu bytes long, at most %zu expected",
				 path, (unsigned long long)size, max);
	err = buf_reserve(out, (size_t)size);
	if (err)
		return err;
	err = rfile_read(f, 0, out->data, (size_t)size, &got);
	if (err)
		return err;
	out->len = got;
	return CAIRN_OK;
}

int env_read_file(struct cairn_env *e, const char *path, size_t max,
		  struct buf *out)
{
	struct buf contents = { 0 };
	struct rfile *f;
	int err;

	err = env_open_read(e, path, &f);
	if (err)
		return err;
	err = read_all(f, path, max, &contents);
	rfile_close(f);
	if (err) {
		buf_fini(&contents);
		return err;
	}
	buf_fini(out);
	*out = contents;
	return CAIRN_OK;
}

static int write_synced(struct cairn_env *e, const char *path,
			struct cairn_slice contents)
{
	struct wfile *f;
	int err, close_err;

	err = env_open_write(e, path, &f);
	if (err)
		return err;
	err = wfile_append(f, contents.data, contents.len);
	if (!err)
		err = wfile_sync(f);
	close_err = wfile_close(f);
	return err ? err : close_err;
}

/* Take tmp away, and keep the message of what went wrong before. */
static void remove_tmp(struct cairn_env *e, const char *tmp, int code)
{
	char message[1024];
	int err;

	snprintf(message, sizeof(message), "%s", cairn_errmsg());
	err = env_unlink(e, tmp);
	if (err < 0)
		error_set(code, "%s", message);
}

int env_replace_file(struct cairn_env *e, const char *dir, const char *tmp,
		     const char *path, struct cairn_slice contents)
{
	int err;

	/* An earlier attempt may have died and left its tmp. */
	err = env_unlink(e, tmp);
	if (err < 0)
		return err;
	err = write_synced(e, tmp, contents);
	if (!err)
		err = env_rename(e, tmp, path);
	if (err) {
		remove_tmp(e, tmp, err);
		return err;
	}
	return env_sync_dir(e, dir);
}
