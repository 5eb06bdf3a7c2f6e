/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads that answer the kernel's requests.
 *
 * Few are fastest: as many as there are cores. But a request may wait for the
 * disk, or for a store that makes its writers wait, and must not keep others
 * from being answered. So whoever may wait says so, and when no thread would
 * be left to take requests, one more is started or woken. Threads too many go
 * to sleep when they have not been needed for a while.
 */
#ifndef CAIRN_FS_WORKERS_H
#define CAIRN_FS_WORKERS_H

struct fuse_session;
struct workers;

/*
 * Start n threads. ended is called once, on one of them, when the session
 * ends by itself (unmounted). 0 or an errno.
 */
int workers_start(struct fuse_session *se, unsigned n, void (*ended)(void *ctx),
		  void *ctx, struct workers **out);

/*
 * The calling thread may wait from here to there. Nests. Does nothing on
 * threads that are not of w.
 */
void workers_wait_begin(struct workers *w);
void workers_wait_end(struct workers *w);

/* Let every thread finish its request, and end it. */
void workers_stop(struct workers *w);
/* After workers_stop(). NULL is allowed. */
void workers_free(struct workers *w);

#endif
