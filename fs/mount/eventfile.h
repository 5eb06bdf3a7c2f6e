/* SPDX-License-Identifier: BSD-3-Clause */
/* The lines of MNT/events: those of an eventlog, the kept ones first. */
#ifndef CAIRN_FS_EVENTFILE_H
#define CAIRN_FS_EVENTFILE_H

#include "fs/mount/stream.h"

struct eventlog;

int eventfile_new(struct eventlog *l, struct stream_source **out);

#endif
