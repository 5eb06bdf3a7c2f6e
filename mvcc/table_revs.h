/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which revisions a table has something of. Each table carries the lowest and
 * the highest main of its rows, log entries and chunks, deletions of these
 * included, as the properties below: 8 bytes, big-endian. A chunk that was
 * written ahead of its commit counts as 0, because the commit is not known, and
 * so does what cannot be understood. Marks and lists of what is left to do have
 * no revision and do not count; a table of nothing else has no properties.
 *
 * A read at a revision leaves out the tables whose lowest main is above it. No
 * entry above R matters for R, neither rows nor tombstones nor what deletes
 * them, because main is part of the key. So an old revision is about as cheap
 * to read as it was when it was new. Tables without the properties, of RocksDB
 * or of older times, are looked into.
 */
#ifndef CAIRN_MVCC_TABLE_REVS_H
#define CAIRN_MVCC_TABLE_REVS_H

#include "mvcc/store.h"

#define TABLE_REVS_MIN "cairn.mvcc.min-main"
#define TABLE_REVS_MAX "cairn.mvcc.max-main"

/* Writes them, and what becomes garbage (table_garbage.h); has no state but
 * that of each table. */
extern const struct cairn_table_collector table_revs_collector;

/* A filter, and what it looks for; must stay where it is. */
struct table_revs {
	struct cairn_table_filter filter;
	int64_t rev;
};

/*
 * For read options: the filter for rows and chunks at rev, NULL where it would
 * leave nothing out because rev is the present.
 */
const struct cairn_table_filter *
table_revs_at(struct table_revs *t, const struct mvcc *m, int64_t rev);

#endif
