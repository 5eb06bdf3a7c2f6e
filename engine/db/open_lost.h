/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a MANIFEST has lost its last records.
 *
 * One that ends with a whole record looks like any other, and one that ends in
 * the middle of a record like that of a crash, which is no loss as long as that
 * record was not acknowledged. But what a record makes unneeded is deleted only
 * after it is durable. So the log that was written to when the last record came
 * is still there, and has all that is not in tables. When every log that is
 * there is newer than the last record, and moreover
 *
 * - the first batch in the logs does not follow the last sequence number of the
 *   MANIFEST, or
 * - a table that it does not know has larger sequence numbers than all the
 * rest,
 *
 * then records are missing, and what they knew of would silently be gone.
 *
 * RocksDB notes closed logs in the MANIFEST when it is told to. One of them
 * that is needed must be there, in the length that is noted.
 */
#ifndef CAIRN_DB_OPEN_LOST_H
#define CAIRN_DB_OPEN_LOST_H

#include "engine/db/recover.h"

/* Before replay. least: the first log that is needed. CAIRN_ECORRUPT, naming
 * MANIFEST and log. No locks. */
MUST_CHECK int check_lost_logs(struct cairn_db *db,
			       const struct version_set_state *state,
			       uint64_t least);

/*
 * After replay of the n logs. CAIRN_ECORRUPT, naming MANIFEST and evidence. No
 * locks.
 */
MUST_CHECK int check_lost_records(struct cairn_db *db,
				  const struct env_names *names,
				  const struct version_set_state *state,
				  const uint64_t *logs, size_t n,
				  const struct recovery *r);

#endif
