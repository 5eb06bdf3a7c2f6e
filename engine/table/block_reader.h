/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a handle to the verified, uncompressed contents of a block. Messages of
 * failures name file, offset and length.
 */
#ifndef CAIRN_TABLE_BLOCK_READER_H
#define CAIRN_TABLE_BLOCK_READER_H

#include "engine/env/env.h"
#include "engine/table/compress.h"
#include "engine/table/format.h"
#include "engine/table/table.h"

struct block_source {
	struct rfile *file;
	const char *path;
	uint64_t file_len;
	enum table_checksum checksum;
	uint8_t version;              /* format_version of the table */
	struct decompress_pool *pool; /* may be NULL */
	struct table_stats *stats;    /* may be NULL */
};

/* Bytes [off, off + len) of the file, read ahead. All zero is an empty one. */
struct read_window {
	uint64_t off;
	size_t len;
	uint8_t *bytes;
	size_t cap;
};

/* Fill the window from off on with want bytes, less at the end of the file. */
MUST_CHECK int read_window_fill(const struct block_source *s,
				struct read_window *w, uint64_t off,
				size_t want);
void read_window_fini(struct read_window *w);
bool read_window_has(const struct read_window *w, struct block_handle h);

/*
 * The stored bytes of h: in window, which may be NULL, when they are there,
 * else read into scratch, which has room for the block and its trailer. The
 * trailer follows the bytes; block_check() is left to the caller.
 */
MUST_CHECK int block_read_stored(const struct block_source *s,
				 struct block_handle h,
				 const struct read_window *window,
				 uint8_t *scratch, struct stored_block *out);

/*
 * Read the block at h into a new allocation that begins with room bytes for
 * the caller; the contents are the len bytes behind them. dict may be NULL.
 */
MUST_CHECK int block_read(const struct block_source *s, struct block_handle h,
			  const struct read_window *window,
			  const struct block_dict *dict, size_t room,
			  void **memory, size_t *len);

/*
 * The same without an allocation for every block: the contents are in *reuse,
 * or in the window, and good until either changes.
 */
MUST_CHECK int block_read_reusing(const struct block_source *s,
				  struct block_handle h,
				  const struct read_window *window,
				  const struct block_dict *dict,
				  struct buf *reuse,
				  struct cairn_slice *contents);

/*
 * Put file, offset and length before the message of a failure that is about
 * the bytes of the block at h, and count it when it is damage. Returns err.
 */
int block_failure(const struct block_source *s, struct block_handle h, int err);

#endif
