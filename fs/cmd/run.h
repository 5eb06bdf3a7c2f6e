/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Running commands of the tool inside the daemon that has the store open:
 * ctl/run. A handle is a conversation. The client writes a request and then
 * reads the answer until the end; both are streams of any length.
 *
 * Request: the number of arguments in decimal and the arguments, the name of
 * the command first, each ended by NUL; then the command's standard input, to
 * the first read. By hand: printf '3\0get\0.\0motd\0'.
 * Answer: frames of type byte, fixed32 length, bytes: 'o' standard output, 'e'
 * standard error, and last 'x' with one byte, the exit status.
 *
 * A client that goes away before it has read anything has not finished its
 * request: the command's input then ends with an error, never as if it were
 * complete. One that goes away later ends a command that is still at work.
 */
#ifndef CAIRN_FS_RUN_H
#define CAIRN_FS_RUN_H

#include "mvcc/mvcc.h"

struct run; /* one conversation, on the daemon's side */

struct stats_fs_counters; /* stats.h; may be NULL */
int run_open(struct mvcc *m, const char *dir,
	     const struct stats_fs_counters *counters, struct run **out);

/*
 * A part of the request. CAIRN_EINVAL once an answer was read, for a command
 * that is not known, and when the command has ended without wanting more: the
 * answer tells then. May block while the command takes in its input. SIGPIPE
 * must be ignored.
 */
int run_write(struct run *r, const void *data, size_t len);

/*
 * Up to len bytes of the answer; *got 0 at its end. Blocks until there are
 * some: call it on a thread that may wait. CAIRN_EBUSY during run_write().
 */
int run_read(struct run *r, void *dst, size_t len, size_t *got);

/* Let the command end soon, because nobody waits for it any more. Also during
 * the others. */
void run_cancel(struct run *r);

/* Ends the command when it still runs. Not during the others. NULL is allowed.
 */
void run_close(struct run *r);

#endif
