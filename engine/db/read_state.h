/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a read looks at: the memtables and the version of one moment, shared and
 * immutable. Getting it takes no mutex: threads keep a reference in one of a
 * few slots between reads (engine README, "read state").
 *
 * Order matters: take the read state first, then load the visible seqno. The
 * other way round, a compaction in between may have dropped the version that
 * the reader is about to look for.
 */
#ifndef CAIRN_DB_READ_STATE_H
#define CAIRN_DB_READ_STATE_H

#include "engine/mem/memtable.h"
#include "engine/version/version.h"

struct cairn_db;

struct read_state {
	_Atomic uint32_t refs;
	uint64_t generation;
	struct version *version;
	struct memtable **mems; /* newest first */
	size_t n_mems;
	struct cairn_db *db;
};

struct read_states;

MUST_CHECK int read_states_new(struct cairn_db *db, struct read_states **out);
/* Drops the current state and the slots. */
void read_states_free(struct read_states *rs);

/*
 * Make a new state of version and mems (newest first) the current one; takes
 * references of its own. Database mutex held. CAIRN_ENOMEM leaves the old one.
 * States no longer used are dropped. Where a reader drops the last reference
 * of a state, db_readers_changed() is called, which queues deletions: files are
 * never deleted on a reader's thread. It is not called from here, because the
 * mutex is held: who installs looks for obsolete files afterwards anyway.
 */
MUST_CHECK int read_states_install(struct read_states *rs,
				   struct version *version,
				   struct memtable *const *mems, size_t n);

/*
 * For one read: cheap, to be given back by the same thread soon. Both need a
 * state to have been installed.
 */
struct read_state *read_state_acquire(struct read_states *rs);
void read_state_release(struct read_states *rs, struct read_state *s);

/* For iterators: a plain reference that may be held for long. */
struct read_state *read_state_ref_current(struct read_states *rs);
struct read_state *read_state_ref(struct read_state *s); /* returns s */
void read_state_unref(struct read_state *s);

#endif
