/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MNT/watch as open files: a line per change, as `cairn watch` prints them.
 *
 * A read gives the lines there are, or waits for one; what waits is a request
 * that is answered later, and takes no thread. Each open file has a watcher of
 * its own, which begins with the next change, or where and with what keys a
 * write says: "REV [PREFIX]", REV 0 for the next change, PREFIX escaped as in
 * the lines. Who wants to go on after an interruption writes the revision
 * behind the last one it has seen. A reader that is so far behind that a part
 * is forgotten gets ESTALE.
 *
 * The file is a stream that can be gone back in only as far as the last read
 * reached: shells and head(1) read more than a line and go back to its end.
 */
#ifndef CAIRN_FS_WATCHFILE_H
#define CAIRN_FS_WATCHFILE_H

#include <stdbool.h>

#include "fs/mount/fuse.h"

struct fs;
struct op;
struct watchfiles; /* those of a mount, and the thread that answers */
struct watchfile;

int watchfiles_new(struct fs *fs, struct watchfiles **out);
/* Reads end from now on, also those that wait. */
void watchfiles_stop(struct watchfiles *all);
/* All are closed. NULL is allowed. */
void watchfiles_free(struct watchfiles *all);

int watchfile_open(struct watchfiles *all, struct watchfile **out);
/* No request on it is unanswered, or none ever will be. */
void watchfile_close(struct watchfile *f);

/* Answer a read, now or later; it counts as done when this returns. */
void watchfile_read(struct watchfile *f, const struct op *op, size_t size,
		    off_t off, bool nonblock);
/* EINVAL for what is not understood, ESTALE when REV is forgotten, EBUSY while
 * a read waits. */
int watchfile_write(struct watchfile *f, const char *data, size_t len,
		    off_t off);
/* What poll(2) is to say; takes over ph, which may be NULL. */
unsigned watchfile_poll(struct watchfile *f, struct fuse_pollhandle *ph);

#endif
