/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slowing writers down when flushes and compactions fall behind.
 *
 * Between l0_slowdown and l0_stop sublevels of level 0, between debt_slowdown
 * and debt_stop bytes to be compacted, and when only one more memtable may be
 * filled, writers sleep: the nearer to the stop, the longer for each byte. At
 * the stops, or with max_write_buffers memtables, they wait until a flush or
 * compaction is done.
 */
#ifndef CAIRN_DB_STALL_H
#define CAIRN_DB_STALL_H

#include "engine/db/db.h"

struct stall;

MUST_CHECK int stall_new(struct cairn_db *db, struct stall **out);
void stall_free(struct stall *s); /* NULL is allowed */

/*
 * What a writer of that many bytes does first, without locks: sleeps or waits
 * if it must. CAIRN_EBUSY when it would have to and no_slowdown is set;
 * CAIRN_EROFS, CAIRN_EABORTED and the error of failing compactions when waiting
 * is in vain. makes_room: what it deletes is what compactions that find no
 * space need, so it does not wait for them.
 */
MUST_CHECK int stall_before_write(struct cairn_db *db, size_t bytes,
				  bool no_slowdown, bool makes_room);

/*
 * Wait until one more memtable may be begun. Same results; mu held, let go
 * while waiting.
 */
MUST_CHECK int stall_for_memtable(struct cairn_db *db, bool no_slowdown);

/* Whether a memtable may be begun without waiting. mu held. */
bool stall_memtable_fits(const struct cairn_db *db);

/*
 * Judge anew, the quota as well, after the version, the immutable memtables,
 * the background error or db->closing changed, and wake who waits. mu held;
 * events_drain() later.
 */
void stall_update(struct cairn_db *db);

/* For the metrics; mu held. "-" when nothing is stalled. */
enum cairn_stall_state stall_state(const struct stall *s, const char **cause);

/* How many calls wait for memtables or compactions. mu held; NULL is allowed.
 */
size_t stall_n_waiting(const struct stall *s);

#endif
