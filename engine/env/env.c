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

#define COPY_LEN ((size_t)256 << 10)

static int copy_bytes(struct rfile *from, const char *from_path,
		      struct wfile *to, uint64_t len)
{
	uint8_t *bytes = malloc(COPY_LEN);
	int err = bytes ? CAIRN_OK : error_nomem();

	for (uint64_t at = 0; !err && at < len;) {
		size_t want =
			len - at < COPY_LEN ? (size_t)(len - at) : COPY_LEN;
		size_t got;

		err = rfile_read(from, at, bytes, want, &got);
		if (!err && got < want)
			err = error_set(CAIRN_ECORRUPT,
					"%s: ends at %llu bytes, %llu expected",
					from_path,
					(unsigned long long)(at + got),
					(unsigned long long)len);
		if (!err)
			err = wfile_append(to, bytes, got);
		at += want;
	}
	free(bytes);
	return err;
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

int env_copy_file(struct cairn_env *e, const char *from, const char *to,
		  uint64_t len)
{
	struct rfile *in;
	struct wfile *out;
	int err, close_err;

	err = env_open_read(e, from, &in);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ENOENT, "%s: no such file", from);
	if (err)
		return err;
	err = env_open_write(e, to, &out);
	if (err) {
		rfile_close(in);
		return err;
	}
	err = copy_bytes(in, from, out, len);
	if (!err)
		err = wfile_sync(out);
	close_err = wfile_close(out);
	rfile_close(in);
	err = err ? err : close_err;
	if (err)
		remove_tmp(e, to, err);
	return err;
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
