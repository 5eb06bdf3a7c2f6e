/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that tell what happens as it does: MNT/watch and MNT/events, as open
 * files.
 *
 * A read gives the lines there are, or waits for one; what waits is a request
 * that is answered later, and takes no thread. Each open file has a source of
 * its own, which poll(2) and O_NONBLOCK work for, too.
 *
 * The file is a stream that can be gone back in only as far as the last read
 * reached: shells and head(1) read more than a line and go back to its end.
 */
#ifndef CAIRN_FS_STREAM_H
#define CAIRN_FS_STREAM_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "fs/mount/fuse.h"

struct fs;
struct op;
struct streams; /* those of a mount, and the thread that answers */
struct stream;

/*
 * Where the lines come from: the first member of what a kind keeps. One thread
 * at a time calls all but on_ready().
 */
struct stream_source {
	const struct stream_kind *kind;
};

struct stream_kind {
	/*
	 * Append the lines there are to text. EAGAIN when there are none, or
	 * another errno that is of this moment only. *end: what reading fails
	 * with for good once the lines are read, 0: nothing.
	 */
	int (*next)(struct stream_source *s, struct buf *text, int *end);
	/*
	 * Call ready(ctx) when there may be lines, with any locks of the source
	 * held; NULL: not any more, and no call is under way on return. Between
	 * next() and this call some may have come.
	 */
	void (*on_ready)(struct stream_source *s, void (*ready)(void *ctx),
			 void *ctx);
	void (*free)(struct stream_source *s);
	/* What is written: a source that begins where it says. EINVAL when it
	 * is not understood. NULL: writing is refused. */
	int (*choose)(struct fs *fs, const char *data, size_t len,
		      struct stream_source **out);
	/* Before lines are given out; may be NULL. */
	void (*before)(struct fs *fs);
};

int streams_new(struct fs *fs, struct streams **out);
/* Reads end from now on, also those that wait. */
void streams_stop(struct streams *all);
/* All are closed. NULL is allowed. */
void streams_free(struct streams *all);

/* Takes over src, also on failure. */
int stream_open(struct streams *all, struct stream_source *src,
		struct stream **out);
/* No request on it is unanswered, or none ever will be. */
void stream_close(struct stream *f);

/* Answer a read, now or later; it counts as done when this returns. */
void stream_read(struct stream *f, const struct op *op, size_t size, off_t off,
		 bool nonblock);
/* Choose where to begin. EBUSY while a read waits, EBADF where nothing can be
 * written, and what choose() says. */
int stream_write(struct stream *f, const char *data, size_t len, off_t off);
/* What poll(2) is to say; takes over ph, which may be NULL. */
unsigned stream_poll(struct stream *f, struct fuse_pollhandle *ph);

#endif
