/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are a test's own bytes: what a decoder is given can then be cut
 * and bent at will, and what a writer wrote can be looked at.
 */
#ifndef CAIRN_TESTS_SUPPORT_BYTES_FILE_H
#define CAIRN_TESTS_SUPPORT_BYTES_FILE_H

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/env/env.h"
#include "tests/support/check.h"

/* Reads from bytes that the test keeps alive. */
struct bytes_rfile {
	struct rfile base;
	struct cairn_slice bytes;
	_Atomic unsigned *reads; /* counted when not NULL */
};

static inline int bytes_read(struct rfile *f, uint64_t off, void *dst,
			     size_t len, size_t *got)
{
	struct bytes_rfile *b = (struct bytes_rfile *)f;
	size_t have = off < b->bytes.len ? b->bytes.len - (size_t)off : 0;

	*got = len < have ? len : have;
	if (*got)
		memcpy(dst, b->bytes.data + off, *got);
	if (b->reads)
		atomic_fetch_add(b->reads, 1);
	return CAIRN_OK;
}

static inline int bytes_size(struct rfile *f, uint64_t *size)
{
	*size = ((struct bytes_rfile *)f)->bytes.len;
	return CAIRN_OK;
}

static inline void bytes_prefetch(struct rfile *f, uint64_t off, size_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

static inline void bytes_close_read(struct rfile *f)
{
	free(f);
}

static inline struct rfile *bytes_rfile_new(struct cairn_slice bytes,
					    _Atomic unsigned *reads)
{
	static const struct rfile_ops ops = { bytes_read, bytes_size,
					      bytes_prefetch,
					      bytes_close_read };
	struct bytes_rfile *b = malloc(sizeof(*b));

	ck_assert_ptr_nonnull(b);
	*b = (struct bytes_rfile){ { &ops }, bytes, reads };
	return &b->base;
}

/* Writes into a buffer; lives in the test's storage. */
struct bytes_wfile {
	struct wfile base;
	struct buf bytes;
	unsigned appends;
	unsigned fail_append; /* the n-th append fails; 0: none does */
	uint64_t hinted;      /* end of what flush_hint was called for */
};

static inline int bytes_append(struct wfile *f, const void *data, size_t len)
{
	struct bytes_wfile *b = (struct bytes_wfile *)f;

	if (++b->appends == b->fail_append)
		return error_set(CAIRN_ENOSPC, "bytes: no space");
	return buf_append(&b->bytes, data, len);
}

static inline int bytes_sync(struct wfile *f)
{
	(void)f;
	return CAIRN_OK;
}

static inline int bytes_preallocate(struct wfile *f, uint64_t len)
{
	(void)f;
	(void)len;
	return CAIRN_OK;
}

static inline void bytes_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	struct bytes_wfile *b = (struct bytes_wfile *)f;

	ck_assert(off == b->hinted);
	b->hinted = off + len;
}

static inline int bytes_close_write(struct wfile *f)
{
	buf_fini(&((struct bytes_wfile *)f)->bytes);
	return CAIRN_OK;
}

static inline void bytes_wfile_init(struct bytes_wfile *b)
{
	static const struct wfile_ops ops = { bytes_append, bytes_sync,
					      bytes_preallocate,
					      bytes_flush_hint,
					      bytes_close_write };

	*b = (struct bytes_wfile){ .base = { &ops } };
}

#endif
