/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Appends records to a log. Always legacy framing. Not thread-safe: the commit
 * pipeline and the MANIFEST each have one writer at a time.
 */
#ifndef CAIRN_WAL_WRITER_H
#define CAIRN_WAL_WRITER_H

#include "engine/env/env.h"

struct log_writer;

/* Takes f over on success; it must be empty, and is closed with the writer. */
MUST_CHECK int log_writer_new(struct wfile *f, struct log_writer **out);

/*
 * Frame the record into the writer's buffer, without touching the file.
 * Cannot fail for I/O; CAIRN_ENOMEM leaves the writer unchanged.
 */
MUST_CHECK int log_writer_add(struct log_writer *w, struct cairn_slice record);

/* Hand all that was added to the system, in one write. */
MUST_CHECK int log_writer_flush(struct log_writer *w);

/* Make all that was flushed durable. */
MUST_CHECK int log_writer_sync(struct log_writer *w);

/*
 * The first failure of flush or sync. The tail of the file is unknown after it,
 * so every later call fails with it.
 */
int log_writer_status(const struct log_writer *w);

/* Bytes framed so far, and of those the ones handed to the system. */
uint64_t log_writer_size(const struct log_writer *w);
uint64_t log_writer_flushed(const struct log_writer *w);

/* Flush, close the file, free. NULL is allowed. Does not sync. */
MUST_CHECK int log_writer_close(struct log_writer *w);

#endif
