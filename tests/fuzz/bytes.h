/* SPDX-License-Identifier: BSD-3-Clause */
/* An input as a file, and as an env that has this one file by any name. */
#ifndef CAIRN_TESTS_FUZZ_BYTES_H
#define CAIRN_TESTS_FUZZ_BYTES_H

#include "engine/env/env.h"
#include "tests/fuzz/fuzz.h"

struct bytes_file {
	struct rfile base;
	struct cairn_slice bytes;
};

struct bytes_env {
	struct cairn_env base;
	struct bytes_file file;
};

static inline int bytes_file_read(struct rfile *f, uint64_t off, void *dst,
				  size_t len, size_t *got)
{
	struct cairn_slice bytes = ((struct bytes_file *)f)->bytes;
	size_t have = off < bytes.len ? bytes.len - (size_t)off : 0;

	*got = len < have ? len : have;
	if (*got)
		memcpy(dst, bytes.data + off, *got);
	return CAIRN_OK;
}

static inline int bytes_file_size(struct rfile *f, uint64_t *size)
{
	*size = ((struct bytes_file *)f)->bytes.len;
	return CAIRN_OK;
}

static inline void bytes_file_prefetch(struct rfile *f, uint64_t off,
				       size_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

/* It lives where the target put it. */
static inline void bytes_file_close(struct rfile *f)
{
	(void)f;
}

static inline struct bytes_file bytes_file_of(struct cairn_slice bytes)
{
	static const struct rfile_ops ops = { bytes_file_read, bytes_file_size,
					      bytes_file_prefetch,
					      bytes_file_close };

	return (struct bytes_file){ { &ops }, bytes };
}

static inline int bytes_env_open(struct cairn_env *e, const char *path,
				 struct rfile **out)
{
	(void)path;
	*out = &((struct bytes_env *)e)->file.base;
	return CAIRN_OK;
}

static inline struct bytes_env bytes_env_of(struct cairn_slice bytes)
{
	static const struct env_ops ops = { .open_read = bytes_env_open };

	return (struct bytes_env){ { &ops }, bytes_file_of(bytes) };
}

#endif
