/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys on the engine, in one of two kinds of store.
 *
 * A revision store has etcd's rules: every change has a revision, the past
 * stays readable until it is forgotten. A plain store is any RocksDB or LevelDB
 * directory: the keys of its tables are the keys, and there is no past. The
 * same calls work both, so that who shows keys need not know the kind; what a
 * plain store has not is said at "Plain stores" below.
 *
 * The store has a current revision, 1 when empty. A transaction that changes
 * something raises it by one; all its changes share that number (main) and
 * count 0, 1, 2 ... within it (sub). A reader at revision R sees, for each key,
 * the newest change with main <= R. Forgetting C makes reads below C
 * impossible and lets compactions drop what only they could see.
 *
 * Results are those of cairn.h, with CAIRN_EFORGOTTEN and CAIRN_EFUTURE for
 * revisions out of reach and CAIRN_EABORTED for expectations that did not
 * hold. Keys are 1 to 16 KiB long (CAIRN_EINVAL otherwise), any bytes.
 *
 * Plain stores. Keys are 0 to CAIRN_KEY_MAX bytes long. Values are in one
 * piece, at most CAIRN_VALUE_MAX bytes, and held in memory while they are
 * written. Revisions count the commits of this process, so that a state can be
 * named: only the present one and what is pinned can be read. Rows have no
 * revision (main, version and create_rev are 0) and no attributes: those given
 * are not kept, but for the mtime, which a bounded memory keeps for the keys
 * changed last, and directory records, which live in memory as long as the
 * store is open and no key lies below them. No symlinks, expectations, history,
 * changes and forgetting (CAIRN_EKIND).
 *
 * Threads. A struct mvcc may be used by any number of threads; transactions,
 * scans, listings and objects by one at a time.
 */
#ifndef CAIRN_MVCC_H
#define CAIRN_MVCC_H

#include "engine/cairn.h"

/* The longest key; the encoded form must fit the engine's limit. */
#define MVCC_KEY_MAX 16384u

/* The largest value and file. */
#define MVCC_VALUE_MAX (UINT64_C(1) << 40)

/* The longest a lease can be granted for, in seconds (lease.h). */
#define MVCC_LEASE_TTL_MAX INT64_C(9000000000)

struct mvcc;

/* How leases are kept; zeroed: as they should be. For tests, mostly. */
struct mvcc_lease_options {
	/* Milliseconds that never go back; NULL: CLOCK_MONOTONIC. Called on
	 * any thread. */
	int64_t (*now_ms)(void *ctx);
	void *ctx;
	/* No thread ends what is due; mvcc_lease_expire_due() does. */
	bool manual;
	/* A lease with more keys than fit in a batch of this many bytes is
	 * ended in several revisions; 0: 64 MiB. */
	size_t batch_bytes;
};

struct mvcc_options {
	/* Engine options, copied, the env among them; NULL: defaults. Their
	 * create_if_missing, read_only and lock note are honoured; prefix
	 * extractor and compaction filter are set by this layer. */
	const struct cairn_options *engine;
	/* Values above this are kept in chunks of this size; 0: 64 KiB. */
	uint32_t chunk_size;
	/* Bytes for remembering the last rows touched; 0: 16 MiB. */
	size_t row_cache_bytes;
	/* Open plain stores, too. */
	bool plain;
	/* When keys of a plain store were changed, as far as nobody knows; ns
	 * since 1970, 0: when it was opened. */
	int64_t plain_time_ns;
	/* The largest value to write to a plain store; 0: CAIRN_VALUE_MAX. */
	uint64_t plain_value_max;
	struct mvcc_lease_options lease;
};

/*
 * Open a store. As cairn_open(), and CAIRN_EKIND when dir holds a plain store
 * and opts does not allow it, CAIRN_ENOTSUP when it is a revision store of a
 * newer format. What is created is a revision store. opts may be NULL. Nothing
 * is scanned: opening takes the same time at any size.
 */
int mvcc_open(const char *dir, const struct mvcc_options *opts,
	      struct mvcc **out);

struct mvcc_mend_report {
	bool revisions;         /* it is a revision store */
	bool history_forgotten; /* how far it went back is not known */
	uint64_t marks;         /* written anew */
	uint64_t log_entries;   /* written anew */
	uint64_t attached;      /* keys put back on their leases */
};

/*
 * After cairn_repair() of a directory: bring back what a revision store has
 * besides its rows and may have lost, the marks that make it one, entries of
 * the change log and which keys are on a lease, so that the current revision
 * does not go back and no object number is used twice. All keys are read. A
 * plain store is left as it is. engine may be NULL. Results as of cairn_open().
 */
int mvcc_mend(const char *dir, const struct cairn_options *engine,
	      struct mvcc_mend_report *report);

/* CAIRN_EBUSY, and nothing done, while anything of the store is in use. */
int mvcc_close(struct mvcc *m);

/*
 * The engine below, for flush, compaction, metrics. Owned by the store. Take no
 * snapshots of it: compactions may remove a tombstone that they see and leave
 * what it hides. mvcc_pin() is the way to keep the past.
 */
struct cairn_db *mvcc_db(struct mvcc *m);

/* Whether it is a plain store; how long keys and values may be. */
bool mvcc_is_plain(const struct mvcc *m);
size_t mvcc_key_min(const struct mvcc *m);
size_t mvcc_key_max(const struct mvcc *m);
uint64_t mvcc_value_max(const struct mvcc *m);

/* The last published revision. */
int64_t mvcc_current(const struct mvcc *m);

/* The oldest revision that can be read: what was last forgotten up to, or 1. */
int64_t mvcc_oldest(const struct mvcc *m);

/*
 * The revision that was current at a time (ns since 1970): the last one that
 * was committed by then. Takes a few reads, not a scan. CAIRN_EFORGOTTEN when
 * that one is forgotten, or, at the oldest one, when it can no longer be told;
 * CAIRN_EKIND for a plain store.
 */
int mvcc_rev_at(struct mvcc *m, int64_t time_ns, int64_t *rev);

/* Make every commit so far survive a power cut. */
int mvcc_sync(struct mvcc *m);

/* ------------------------------------------------------------------ rows */

enum mvcc_type {
	MVCC_FILE = 0,
	MVCC_SYMLINK = 1,
	MVCC_DIR = 2, /* the key ends in '/', the value is empty */
};

/* Versioned with the value. Zeroed: a plain file with nothing of its own. */
struct mvcc_attrs {
	enum mvcc_type type;
	bool has_mode;
	bool has_uid;
	bool has_gid;
	bool has_mtime; /* else the mtime is the commit time */
	uint32_t mode;  /* permission bits, 07777 */
	uint32_t uid;
	uint32_t gid;
	int64_t mtime_ns; /* since 1970 */
	/* User xattrs as {varint32 len, name, varint32 len, value}*, in
	 * ascending order of names. */
	struct cairn_slice xattrs;
};

/*
 * One version of a key. Slices borrow from whatever produced the row, as said
 * there.
 */
struct mvcc_row {
	struct cairn_slice key;
	int64_t main; /* etcd: mod_revision */
	int32_t sub;
	bool deleted; /* a tombstone: only key, main, sub, version, time hold */
	int64_t create_rev;
	int64_t version;
	int64_t lease;   /* 0: none */
	int64_t time_ns; /* when it was committed, since 1970 */
	struct mvcc_attrs attrs;
	uint64_t size; /* of the value */
	/* The value when it is kept in the row; data NULL when in chunks, which
	 * are then named by the fields below. */
	struct cairn_slice value;
	uint64_t object; /* 0: not in chunks */
	uint32_t chunk_size;
	uint64_t chunks_high; /* chunks the object ever had */
};

/* A row that owns its bytes. */
struct mvcc_pinned_row {
	struct mvcc_row row;
	struct cairn_pinned pin;
	void *own; /* private */
};
/* Safe on a zeroed struct, and twice. */
void mvcc_row_release(struct mvcc_pinned_row *r);

/*
 * key as of revision rev (<= 0: now). CAIRN_OK, CAIRN_NOT_FOUND when it does
 * not exist then, CAIRN_EFORGOTTEN, CAIRN_EFUTURE.
 */
int mvcc_get(struct mvcc *m, struct cairn_slice key, int64_t rev,
	     struct mvcc_pinned_row *out);

/*
 * Read len bytes of a row's value at off; *got < len only at its end. The row
 * may be of any revision that is not forgotten, or pinned (mvcc_pin()). Holes
 * read as zeros. Never holds more than a chunk.
 */
int mvcc_read(struct mvcc *m, const struct mvcc_row *row, uint64_t off,
	      void *dst, size_t len, size_t *got);

/*
 * Keep rev readable: nothing that a reader at rev can see is dropped until
 * mvcc_unpin(rev), even if it is forgotten meanwhile. Counted.
 */
int mvcc_pin(struct mvcc *m, int64_t rev);
/* Pin the current revision, which is stored in *rev. */
int mvcc_pin_current(struct mvcc *m, int64_t *rev);
void mvcc_unpin(struct mvcc *m, int64_t rev);

/* ----------------------------------------------------------------- scans */

/*
 * Keys in [from, to) as of rev (<= 0: now), ascending or descending; to.data
 * NULL: to the end. Deleted keys are not shown. Pins rev while it lives.
 */
struct mvcc_scan;
int mvcc_scan_new(struct mvcc *m, int64_t rev, struct cairn_slice from,
		  struct cairn_slice to, bool reverse, struct mvcc_scan **out);
/* CAIRN_OK and *row, which lives until the next call; CAIRN_NOT_FOUND at the
 * end; or a failure. */
int mvcc_scan_next(struct mvcc_scan *s, struct mvcc_row *row);
void mvcc_scan_free(struct mvcc_scan *s);

/*
 * The first key that does not start with prefix but sorts after those that do;
 * malloc'ed into *out, data NULL when there is none. For scans of a prefix.
 */
int mvcc_prefix_end(struct cairn_slice prefix, struct cairn_slice *out);

/* All kept versions of one key, oldest first, tombstones included. */
struct mvcc_history;
int mvcc_history_new(struct mvcc *m, struct cairn_slice key,
		     struct mvcc_history **out);
int mvcc_history_next(struct mvcc_history *h, struct mvcc_row *row);
void mvcc_history_free(struct mvcc_history *h);

/* The changes with from <= main < to, in (main, sub) order. */
struct mvcc_change {
	int64_t main;
	int32_t sub;
	bool deleted;
	struct cairn_slice key;
};
struct mvcc_changes;
int mvcc_changes_new(struct mvcc *m, int64_t from, int64_t to,
		     struct mvcc_changes **out);
int mvcc_changes_next(struct mvcc_changes *c, struct mvcc_change *out);
void mvcc_changes_free(struct mvcc_changes *c);

/*
 * A directory: the distinct parts up to the next '/' of the keys that start
 * with dir (which ends in '/' or is empty), as of rev, in ascending order of
 * names. One or two seeks per name, however much lies below it. Pins rev.
 */
struct mvcc_list;
/* The rows tell sizes and attributes; they may have no value. */
struct mvcc_entry {
	struct cairn_slice name; /* without '/'; may be empty ("dir//x") */
	/* The key dir + name exists and is not a directory record. */
	bool is_file;
	struct mvcc_row file; /* only when is_file */
	/* A key starts with dir + name + '/', directory records included. */
	bool is_dir;
	bool has_dir_row;        /* dir + name + '/' is a directory record */
	struct mvcc_row dir_row; /* only when has_dir_row */
};
/* Names >= start only (empty: all). */
int mvcc_list_new(struct mvcc *m, int64_t rev, struct cairn_slice dir,
		  struct cairn_slice start, struct mvcc_list **out);
/* As mvcc_scan_next(). The record of dir itself is not an entry. */
int mvcc_list_next(struct mvcc_list *l, struct mvcc_entry *out);
void mvcc_list_free(struct mvcc_list *l);

/*
 * What a name is: CAIRN_OK and the entry for dir + name (name without '/'),
 * owned by *a and *b; CAIRN_NOT_FOUND when it is neither file nor directory.
 */
int mvcc_lookup(struct mvcc *m, int64_t rev, struct cairn_slice dir,
		struct cairn_slice name, struct mvcc_entry *out,
		struct mvcc_pinned_row *a, struct mvcc_pinned_row *b);

/* Whether any key starts with prefix as of rev, not counting the key except
 * (data NULL: none). CAIRN_OK yes, CAIRN_NOT_FOUND no. */
int mvcc_any(struct mvcc *m, int64_t rev, struct cairn_slice prefix,
	     struct cairn_slice except);

/* --------------------------------------------------------- large values */

/*
 * The value of one key while it is being written: random reads and writes,
 * seeing its own writes, with bounded memory. Small values stay in memory.
 * Large ones become chunks; those that no committed row can show (of a new
 * value, or past what the value ever had) go to the engine early, so that a
 * value of any size is committed by one small batch. What would overwrite
 * chunks that a committed row shows is held in memory until commit: the caller
 * watches mvcc_object_dirty() and commits before it grows too large.
 *
 * A crash leaves no trace of an uncommitted object: leftovers are removed at
 * the next open. One object per key at a time; objects must be freed before
 * the store is closed.
 */
struct mvcc_object;

/* An empty new value. */
int mvcc_object_new(struct mvcc *m, struct mvcc_object **out);
/* Continue the value of a committed row (the newest one of its key). When it
 * is in chunks: CAIRN_EABORTED if it is not the newest any more, CAIRN_EBUSY
 * if another object continues it. */
int mvcc_object_open(struct mvcc *m, const struct mvcc_row *row,
		     struct mvcc_object **out);
/* Writing past the end leaves a hole of zeros. CAIRN_EINVAL over
 * MVCC_VALUE_MAX. On failure the object is as before; of more than 1 MiB, a
 * beginning may have been written. */
int mvcc_object_write(struct mvcc_object *o, uint64_t off, const void *data,
		      size_t len);
int mvcc_object_read(struct mvcc_object *o, uint64_t off, void *dst, size_t len,
		     size_t *got);
/* Cut, or extend with zeros. Zero starts a new value. */
int mvcc_object_truncate(struct mvcc_object *o, uint64_t size);
uint64_t mvcc_object_size(const struct mvcc_object *o);
/* Bytes held in memory until commit; whether anything changed since the last
 * commit, or since it was opened. */
size_t mvcc_object_dirty(const struct mvcc_object *o);
bool mvcc_object_changed(const struct mvcc_object *o);
/* Uncommitted changes are lost. NULL is allowed. */
void mvcc_object_free(struct mvcc_object *o);

/* ---------------------------------------------------------- transactions */

/*
 * A list of changes that become one revision, or none of them. Ops are looked
 * at when it is committed. A key may appear in one op only (a move counts for
 * both its keys): CAIRN_EINVAL otherwise. Keys, values and attributes are
 * copied; attrs NULL means none.
 */
struct mvcc_txn;
int mvcc_txn_new(struct mvcc *m, struct mvcc_txn **out);
void mvcc_txn_free(struct mvcc_txn *t);

int mvcc_txn_put(struct mvcc_txn *t, struct cairn_slice key,
		 struct cairn_slice value, const struct mvcc_attrs *attrs);
/* o must stay until the commit; afterwards it continues the committed row. */
int mvcc_txn_put_object(struct mvcc_txn *t, struct cairn_slice key,
			struct mvcc_object *o, const struct mvcc_attrs *attrs);
/* The value of the key's newest row with other attributes. Committing fails
 * with CAIRN_NOT_FOUND when the key does not exist. */
int mvcc_txn_set_attrs(struct mvcc_txn *t, struct cairn_slice key,
		       const struct mvcc_attrs *attrs);
/*
 * The lease of the row that the op added last, a put or set_attrs, will write
 * (lease.h): an id, 0 for none, or MVCC_LEASE_KEEP for the one that the key has
 * by then. Without this a put takes the key off its lease, and set_attrs keeps
 * it. Committing fails with CAIRN_NOT_FOUND when there is no such lease.
 * CAIRN_EKIND in plain stores.
 */
#define MVCC_LEASE_KEEP INT64_C(-1)
int mvcc_txn_set_lease(struct mvcc_txn *t, int64_t lease);
/* Merge operand into the value by the store's merge operator, as cairn_merge()
 * does. Plain stores only. */
int mvcc_txn_merge(struct mvcc_txn *t, struct cairn_slice key,
		   struct cairn_slice operand);
/* Deleting what does not exist is no change and no error. */
int mvcc_txn_delete(struct mvcc_txn *t, struct cairn_slice key);
/*
 * Delete from and put its value, attributes and lease at to, replacing what is
 * there. Chunks are not copied. Committing fails with CAIRN_NOT_FOUND when from
 * does not exist.
 */
int mvcc_txn_move(struct mvcc_txn *t, struct cairn_slice from,
		  struct cairn_slice to);
/*
 * Give a the value, attributes and lease of b, and b those of a. Chunks are not
 * copied. Committing fails with CAIRN_NOT_FOUND unless both exist.
 */
int mvcc_txn_exchange(struct mvcc_txn *t, struct cairn_slice a,
		      struct cairn_slice b);
/*
 * Commit only if key's mod_revision is main (0: the key does not exist), else
 * CAIRN_EABORTED.
 */
int mvcc_txn_expect(struct mvcc_txn *t, struct cairn_slice key, int64_t main);
/*
 * Commit although the store is full, as deletions do without this: for what
 * makes room on the whole. Otherwise a transaction that writes anything then
 * fails with CAIRN_EDQUOT or CAIRN_ENOSPC, see cairn_check_space().
 */
void mvcc_txn_use_reserve(struct mvcc_txn *t);
/* Shown to the listener, so that it knows its own changes. */
void mvcc_txn_set_origin(struct mvcc_txn *t, const void *origin);

/*
 * Commit. *rev (may be NULL) is the revision written, or the current one when
 * nothing changed. With sync, the commit survives a power cut on return;
 * without, the death of the process. The transaction is then empty and can be
 * used again; after a failure it is as before and nothing has changed. One
 * failure is different: when only the sync fails, the changes are made and the
 * transaction is empty, but whether they survive a power cut is not known.
 */
int mvcc_txn_commit(struct mvcc_txn *t, bool sync, int64_t *rev);

/* One-op transactions. */
int mvcc_put(struct mvcc *m, struct cairn_slice key, struct cairn_slice value,
	     const struct mvcc_attrs *attrs, int64_t *rev);
int mvcc_delete(struct mvcc *m, struct cairn_slice key, int64_t *rev);

/*
 * cairn_ingest(), for a plain store; CAIRN_EKIND for a revision store, whose
 * rows are more than keys and values. It is one commit; the keys count as
 * changed now, and so may any other key.
 */
int mvcc_ingest(struct mvcc *m, const char *const *paths, size_t n,
		const struct cairn_ingest_options *o);

/*
 * Called for each committed transaction after it is readable, in order of
 * revisions, on the committing thread, and before any watcher (watch.h) tells.
 * n 0: more keys changed than can be listed, all of them perhaps. Must not call
 * back into the store's write path. One listener; set before other threads use
 * the store.
 */
struct mvcc_listener {
	void *ctx;
	void (*committed)(void *ctx, int64_t rev, const void *origin,
			  const struct mvcc_change *changes, size_t n);
};
void mvcc_set_listener(struct mvcc *m, const struct mvcc_listener *l);

/* ---------------------------------------------------------------- forget */

/*
 * Forget everything that only readers below rev could see (etcd: compact).
 * Durable on return; space comes back as compactions run. CAIRN_EFORGOTTEN when
 * rev <= mvcc_oldest() and something was forgotten before, CAIRN_EFUTURE when
 * it is above the current revision. 0 forgets nothing, but can be asked for
 * only once, as with etcd.
 */
int mvcc_forget(struct mvcc *m, int64_t rev);

struct mvcc_metrics {
	int64_t current;
	int64_t oldest;
	uint64_t keys;    /* an estimate of the live keys */
	uint64_t commits; /* since open */
	uint64_t row_cache_hits;
	uint64_t row_cache_misses;
	uint64_t pins;
	int64_t oldest_pin;     /* revision; 0: none */
	uint64_t objects_ended; /* waiting for their chunks to be removed */
	uint64_t memory_bytes;  /* row cache and dirty objects */
};
void mvcc_metrics_get(struct mvcc *m, struct mvcc_metrics *out);

#endif
