/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct mvcc, private to mvcc/, and finding rows in it.
 *
 * Locks, in the order of taking them:
 *
 *   write_mu     one commit at a time: from looking at rows to publishing
 *   forget_mu    one mvcc_forget() at a time
 *   worker.mu    the background worker (forget.h)
 *   objects_mu   object numbers, open objects, leftovers of dead ones
 *   pins_mu      pinned revisions and the forgotten bound
 *   those of the row cache
 *   leases.mu    deadlines of leases (lease_impl.h)
 *   watch.mu     watchers and the last changes (watch_hub.h)
 *
 * No two of the last six are held together, and none of them during I/O but
 * objects_mu, once in 1024 new objects.
 */
#ifndef CAIRN_MVCC_STORE_H
#define CAIRN_MVCC_STORE_H

#include <stdatomic.h>

#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "mvcc/encode.h"
#include "mvcc/lease_impl.h"
#include "mvcc/plain.h"
#include "mvcc/row_cache.h"
#include "mvcc/watch_hub.h"

#define MVCC_FORMAT 1u

struct pin {
	int64_t rev;
	uint64_t count;
	/* Of a plain store: what a reader at rev sees. */
	struct cairn_snapshot *snapshot;
	uint64_t dirs_seq;
};

struct commit;
struct cursor_ops;

/*
 * What the kinds of store differ in. Everything else (pins, transactions,
 * scans, listings, values being written) is common. The revision store's are in
 * store.c, cursor.c and txn.c, those of the plain store in plain.c.
 */
struct store_kind {
	bool revisions;
	size_t key_min;
	size_t key_max;
	uint64_t value_max;
	/* mvcc_get() of a key that may be one. Without want_value the row's
	 * value may be missing. */
	int (*get)(struct mvcc *m, struct cairn_slice key, int64_t rev,
		   bool want_value, struct mvcc_pinned_row *out);
	/* The first pin of a revision was made, the last one goes; pins_mu is
	 * held. NULL: nothing to do. */
	int (*pin_begin)(struct mvcc *m, struct pin *p);
	void (*pin_end)(struct mvcc *m, struct pin *p);
	/* A key as cursors have it, and what all begin with that start with
	 * key; into out. */
	int (*encode)(struct buf *out, struct cairn_slice key);
	int (*encode_start)(struct buf *out, struct cairn_slice key);
	const struct cursor_ops *cursor;
	/* Make ready what a transaction will need, outside of write_mu, and
	 * commit it, under write_mu. */
	int (*prepare)(const struct mvcc_txn *t);
	int (*commit)(struct commit *c, const struct mvcc_txn *t);
};

extern const struct store_kind store_revision;
extern const struct store_kind store_plain;

struct worker {
	struct mutex mu;
	struct cond wake;
	struct cond idle;
	/* Guarded by mu. */
	pthread_t thread;
	bool running;
	bool stop;
	bool kicked; /* something may have become due */
	bool busy;
	/* All that was due at this horizon is done, but for objects that were
	 * open, if any. */
	_Atomic int64_t swept;
	_Atomic bool skipped;
	/* Only the thread. */
	bool counted; /* objects_ended holds what was there at open */
	int64_t open_rev;
	int64_t count;
};

/* Memory of a commit that has ended; see struct commit. */
struct txn_spare {
	struct cairn_batch *batch; /* empty; NULL: nothing is here */
	struct change *changes;
	size_t cap;
	struct buf rows, key, value, log;
};

struct mvcc {
	const struct store_kind *kind;
	struct cairn_db *db;
	struct cairn_prefix_extractor prefix;
	struct cairn_compaction_filter filter;
	uint32_t chunk_size;
	uint64_t value_max;
	bool read_only;
	/* See object.c; tests make them small. */
	size_t stage_bytes;
	uint64_t empties_some;
	struct mvcc_listener listener;

	struct mutex write_mu;
	int64_t last_time_ns;   /* guarded by write_mu, as the next */
	struct txn_spare spare; /* what the next commit may use */

	/*
	 * The last revision that readers may see. Stored with release after
	 * its batch is in the engine; pairs with the loads of readers.
	 */
	_Atomic int64_t current;
	/* The last revision that a commit has begun to write; see row_cache.h.
	 * Sequentially consistent. */
	_Atomic int64_t begun;

	/* The horizon that the engine was told last; relaxed. */
	_Atomic int64_t collected;

	struct mutex forget_mu;
	struct mutex pins_mu;
	/* Guarded by pins_mu; forgotten is also read without, where it is only
	 * compared, and only grows. */
	_Atomic int64_t forgotten; /* -1: nothing was */
	struct pin *pins;          /* ascending */
	size_t n_pins;
	size_t cap_pins;

	struct mutex objects_mu;
	struct cond leftover_done;
	/* Guarded by objects_mu. */
	uint64_t next_object;
	uint64_t reserved_object; /* numbers below may be used */
	struct list objects;      /* open ones, see object.c */
	struct list leftovers;    /* struct leftover, see forget.h */

	struct worker worker;
	struct leases leases;
	struct watch_hub watch;
	struct row_cache rows;
	struct plain plain; /* of a plain store */

	/* Counters; relaxed. */
	_Atomic uint64_t in_use; /* handles that keep the store open */
	_Atomic uint64_t commits;
	_Atomic uint64_t dirty_bytes;
	_Atomic int64_t objects_ended;
};

/* A row, and the bytes it borrows from. */
struct found {
	struct mvcc_row row;
	struct cairn_slice attrs; /* undecoded */
	bool none;                /* the key has no row, not even a tombstone */
	bool none_below; /* surely no live key starts with it and '/' */
	uint8_t *own;
};

/* Safe on a zeroed struct, and twice. */
void found_release(struct found *f);

static inline bool found_live(const struct found *f)
{
	return !f->none && !f->row.deleted;
}

/*
 * Make f own copies of key and of an encoded row value; full_len as in
 * enc_row_value_parse(). f is zeroed before, and on failure.
 */
MUST_CHECK int found_copy(struct found *f, struct cairn_slice key, int64_t main,
			  int32_t sub, struct cairn_slice value);

/* CAIRN_EINVAL unless key may be a key. */
MUST_CHECK int store_check_key(const struct mvcc *m, struct cairn_slice key);
/* CAIRN_EKIND unless the store keeps revisions. */
MUST_CHECK int store_need_revisions(const struct mvcc *m);

/*
 * Of a revision store, as the next: the newest row of key with main <= rev,
 * tombstones too; rev <= 0: the published one. CAIRN_OK (out->none when there
 * is none), CAIRN_EFORGOTTEN, CAIRN_EFUTURE. Without want_value, row.value may
 * be missing although the row has one.
 */
MUST_CHECK int store_find(struct mvcc *m, struct cairn_slice key, int64_t rev,
			  bool want_value, struct found *out);

/*
 * For a caller that holds write_mu, or can live with an answer that is
 * outdated at once: the newest row of key.
 */
MUST_CHECK int store_latest(struct mvcc *m, struct cairn_slice key,
			    bool want_value, struct found *out);

/*
 * The same from memory alone, without the value and without a look at whether
 * rev is there: CAIRN_NOT_FOUND when nothing is known of the key.
 */
MUST_CHECK int store_find_cached(struct mvcc *m, struct cairn_slice key,
				 int64_t rev, struct found *out);

/*
 * The row of key at rev, on which it stands if there is one; prefix is the
 * encoded key. newest: rev is the published revision.
 */
MUST_CHECK int store_take_row(struct mvcc *m, struct cairn_iter *it,
			      struct cairn_slice key, struct cairn_slice prefix,
			      int64_t rev, bool newest, struct found *out);

/* The row (main, sub) of key, which is known to exist and is pinned. */
MUST_CHECK int store_find_exact(struct mvcc *m, struct cairn_slice key,
				int64_t main, int32_t sub, struct found *out);

/* Pin rev, <= 0 for the published one, which is stored in *resolved. */
MUST_CHECK int store_pin(struct mvcc *m, int64_t rev, int64_t *resolved);

/*
 * CAIRN_OK when rev can be read now, else CAIRN_EFORGOTTEN or CAIRN_EFUTURE.
 * Asked after an iterator was made, the answer holds for what that shows.
 */
MUST_CHECK int store_check_rev(struct mvcc *m, int64_t rev);

/* Compactions may drop what only readers below this revision can see; -1:
 * nothing. At most the forgotten bound, and the lowest pin. */
int64_t store_horizon(struct mvcc *m);

static inline void store_use(struct mvcc *m)
{
	atomic_fetch_add_explicit(&m->in_use, 1, memory_order_relaxed);
}

static inline void store_unuse(struct mvcc *m)
{
	atomic_fetch_sub_explicit(&m->in_use, 1, memory_order_relaxed);
}

#endif
