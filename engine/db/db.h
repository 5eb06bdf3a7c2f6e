/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The database object, private to engine/db. Its parts:
 *
 *   open, open_files    open, create, close   recover    replay of logs
 *   write               writes as called      db_log     a log and its notes
 *   commit, commit_log  the write path        stall      slowing writers down
 *   get, multi_get      point reads           db_iter    the user's iterator
 *   read_state          what a read looks at  snapshot   pinned seqnos
 *   work, work_*        background jobs       obsolete   deleting files
 *   stats               counters, metrics     event      what happened
 *   sst_writer          tables for elsewhere  ingest, ingest_file   ... and
 *                                                                   back
 *   checkpoint          copies                sizes      of ranges
 *   space               quota, disk space      open_later on a full disk
 *   budget              memory                 pace       of background jobs
 *   open_lost           a MANIFEST cut short  invariants after every edit
 *
 * Locks, in the order of taking them: commit mutex (commit_impl.h) > mu > leaf
 * locks (cache shards, table cache, read states, events, the deleter's, the
 * pacing of writers). No file I/O under mu. Two things are held over I/O and
 * are no mutexes: the log (commit.h), and the MANIFEST token (work.c), by which
 * version_set_log() is called. Who has the log may wait for a flush, so who has
 * the token never waits for the log.
 */
#ifndef CAIRN_DB_DB_H
#define CAIRN_DB_DB_H

#include <stdatomic.h>

#include "engine/base/hist.h"
#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "engine/db/options.h"
#include "engine/db/read_state.h"
#include "engine/db/snapshot.h"
#include "engine/table/table_cache.h"
#include "engine/version/version_set.h"

struct commit;     /* commit.h */
struct work;       /* work.h */
struct stall;      /* stall.h */
struct space;      /* space.h */
struct obsolete;   /* obsolete.h */
struct stats;      /* stats.h */
struct events;     /* event.h */
struct open_later; /* open_later.h */

struct cairn_db {
	/* Constant after open. */
	char *dir;
	struct cairn_env *env;
	struct cairn_options opts; /* a private copy */
	struct env_lock *lock;     /* NULL when read-only */
	struct buf current;        /* CURRENT when it was opened read-only */
	struct block_cache *cache;
	struct table_cache *tables;
	struct table_read_options table_read;
	struct table_write_options level_write[CAIRN_LEVELS];
	struct picker_options picker;
	uint64_t opened_us;    /* monotonic */
	struct commit *commit; /* NULL when read-only, as the next four */
	struct work *work;
	struct stall *stall;
	struct space *space;
	struct obsolete *obsolete;
	struct stats *stats;
	struct events *events;
	struct read_states *read_states;

	/*
	 * The last published seqno: reads without a snapshot see everything up
	 * to and including it. Stored with release by the commit path after the
	 * batch is in the memtable, loaded with acquire by readers after they
	 * have their read state.
	 */
	_Atomic uint64_t visible;

	struct mutex mu;
	/* Guarded by mu. */
	struct open_later *later; /* NULL: opening was finished */
	struct version_set *versions;
	struct memtable *mem;  /* takes writes; NULL when read-only */
	struct memtable **imm; /* waiting for flush, oldest first */
	size_t n_imm;
	size_t imm_cap;
	struct list snapshots; /* of struct cairn_snapshot */
	struct list iterators; /* of struct cairn_iter, oldest first */
	size_t n_iterators;
	bool closing;

	struct mutex budget_mu;  /* a leaf lock */
	uint64_t cache_capacity; /* guarded by budget_mu; see budget.h */

	/* Counters; relaxed. */
	_Atomic uint64_t memtable_zombie_bytes;
	struct table_stats table_stats;
	struct hist get_ns;
	struct hist commit_ns;
	struct hist sync_ns;
	_Atomic uint64_t pinned_keys;
	_Atomic uint64_t read_samples; /* of iterators */
};

/* A failed point in one line, for messages: "PATH: offset N: WHAT IT WAS". Sets
 * the thread's message to that and returns code. */
int db_error_at(int code, const char *path, uint64_t offset);

/*
 * Called when a reader let go of the last reference of an old read state: files
 * may have become obsolete. Any thread, mu not held; only wakes the deleter.
 */
void db_readers_changed(struct cairn_db *db);

/*
 * Rebuild the read state from db->mem, db->imm and the current version, after
 * one of them changed. mu held.
 */
MUST_CHECK int db_install_read_state(struct cairn_db *db);

#endif
