/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must hold after every version edit. Programs configured with
 * --enable-invariants check it and end when it does not hold; it costs a scan
 * of each new table.
 *
 * Of the version: everything version_check() says of levels and of the order
 * of level 0 (RocksDB refuses to open anything else), and
 *
 * - each table stands in one place only, its number was handed out, and its
 *   sequence numbers are in order and not above the last one;
 * - the sublevels of level 0 hold all of its files, each once; inside of one
 *   they are sorted and disjoint, and of two that overlap the newer one is in
 *   the higher.
 *
 * Of each table that came: the file has the size, its entries are in order,
 * inside of the bounds and between the sequence numbers, and reach them; and
 * the properties count what is in it.
 */
#ifndef CAIRN_DB_INVARIANTS_H
#define CAIRN_DB_INVARIANTS_H

#include "engine/compact/picker.h"
#include "engine/db/db.h"

/* Of the version; last_seqno is the MANIFEST's. CAIRN_ECORRUPT and what is
 * wrong; CAIRN_ENOMEM. */
MUST_CHECK int invariants_of_version(struct cairn_db *db,
				     const struct version *v,
				     uint64_t last_seqno);

/*
 * Of the table that f describes. CAIRN_ECORRUPT and what is wrong; the failure
 * when it cannot be read, in which case *unreadable is true.
 */
MUST_CHECK int invariants_of_table(struct cairn_db *db,
				   const struct file_meta *f, bool *unreadable);

/*
 * Of the files that a COMPACT_DROP is about to take out of v: each entry and
 * each tombstone is deleted, for each of the snapshots (ascending, the visible
 * seqno last) that sees it, by a range tombstone of a table above that one sees
 * as well. Results as above.
 */
MUST_CHECK int invariants_of_drop(struct cairn_db *db, const struct version *v,
				  const struct compaction_plan *plan,
				  const uint64_t *snapshots, size_t n,
				  bool *unreadable);

/* The same; ends the program when it does not hold. */
void invariants_assert_dead(struct cairn_db *db, const struct version *v,
			    const struct compaction_plan *plan,
			    const uint64_t *snapshots, size_t n);

/*
 * After edit, as it was logged, made v, and before that is installed: all of
 * the above but the last; ends the program, saying why, when something does not
 * hold. What cannot be read for other reasons is passed over. No locks.
 */
void invariants_assert(struct cairn_db *db, const struct version *v,
		       const struct version_edit *edit);

#endif
