/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work that a request waits for and that outlives it: when the waiting program
 * is interrupted the request is answered with EINTR and the work goes on, on a
 * thread of its own.
 */
#ifndef CAIRN_FS_JOBS_H
#define CAIRN_FS_JOBS_H

#include <stdbool.h>

#include "fs/mount/fuse.h"

struct jobs;

int jobs_new(struct jobs **out);
/* Let nobody wait any more, and start nothing. */
void jobs_refuse(struct jobs *j);
/* The same, and return when all work has ended. */
void jobs_stop(struct jobs *j);
/* NULL is allowed. */
void jobs_free(struct jobs *j);

/*
 * Run fn(arg) on a thread and return what it returned (0 or an errno). EINTR
 * when req was interrupted and ESHUTDOWN when everything ends; fn then still
 * runs, and arg is its own. Fails before fn was started with *started false,
 * else true.
 */
int jobs_run(struct jobs *j, fuse_req_t req, int (*fn)(void *arg), void *arg,
	     bool *started);

#endif
