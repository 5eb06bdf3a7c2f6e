/* SPDX-License-Identifier: BSD-3-Clause */
/* Pinned sequence numbers: the list of open snapshots of a database. */
#ifndef CAIRN_DB_SNAPSHOT_H
#define CAIRN_DB_SNAPSHOT_H

#include "engine/base/buf.h"
#include "engine/base/list.h"

struct cairn_snapshot {
	struct list link; /* in db->snapshots, ascending seqno */
	struct cairn_db *db;
	uint64_t seqno;
	uint64_t created_us; /* monotonic */
};

/*
 * The seqnos a job must keep readable, ascending and without repeats, as
 * uint64_t in out: those of the snapshots, and the visible one. *newest_user
 * is the newest explicit snapshot, 0 when there is none. Database mutex held.
 */
MUST_CHECK int snapshots_collect(struct cairn_db *db, struct buf *out,
				 uint64_t *newest_user);

#endif
