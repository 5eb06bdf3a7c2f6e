/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A database opened read-only has no lock, so another program may begin to
 * write to the directory at any time. Whoever does that first takes LOCK and
 * then begins a new MANIFEST; by these two it is noticed, so that a state that
 * was read while files changed is not taken for one, and a file that is gone is
 * not called damage.
 */
#ifndef CAIRN_DB_READ_ONLY_H
#define CAIRN_DB_READ_ONLY_H

#include "engine/db/db.h"

/* Remember what is there. CAIRN_EBUSY while another program has the lock. */
MUST_CHECK int read_only_begin(struct cairn_db *db);

/*
 * Whether nobody has written since: CAIRN_OK, CAIRN_EABORTED when somebody has,
 * and CAIRN_EBUSY when somebody is about to.
 */
MUST_CHECK int read_only_check(struct cairn_db *db);

/* A read has failed: code, with a message that says so when another program
 * may be to blame. Of a database that is written to, as it was. */
int read_only_blame(struct cairn_db *db, int code);

#endif
