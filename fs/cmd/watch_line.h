/* SPDX-License-Identifier: BSD-3-Clause */
/* A change as a line of text: what `cairn watch` prints, and MNT/watch. */
#ifndef CAIRN_FS_WATCH_LINE_H
#define CAIRN_FS_WATCH_LINE_H

#include "fs/cmd/cmd.h"
#include "mvcc/watch.h"

/*
 * Append "REV put SIZE KEY" or "REV delete - KEY"; with json an object that
 * also has sub, create_rev, version and, unless it is 0, lease.
 */
MUST_CHECK int watch_line(const struct cmd_key_opts *k,
			  const struct mvcc_event *e, bool json,
			  struct buf *out);

/* A watch of the keys that start with prefix; end is to be freed. */
MUST_CHECK int watch_prefix(struct cairn_slice prefix,
			    struct mvcc_watch_request *r,
			    struct cairn_slice *end);

#endif
