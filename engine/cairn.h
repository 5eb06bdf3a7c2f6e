/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cairn: a log-structured key-value store whose files are RocksDB's.
 *
 * This is the whole public interface of the engine. A database is a directory
 * in the format of RocksDB 7.8.3: `ldb` and librocksdb open what cairn writes,
 * cairn opens what they write. Only the default column family and the bytewise
 * key order are supported.
 *
 * Results. Functions return 0 (CAIRN_OK), a positive answer (CAIRN_NOT_FOUND)
 * or a negative failure. Results go through out parameters, which are left
 * untouched on failure. cairn_errmsg() tells the last failure of the calling
 * thread in words: file, offset, cause.
 *
 * Threads. A struct cairn_db and a struct cairn_snapshot may be used by any
 * number of threads at once. A batch, an iterator and an options object belong
 * to one thread at a time.
 *
 * Limits. Keys are at most 65535 bytes (the empty key is legal), values at
 * most 1 GiB; both are checked when a batch is built.
 */
#ifndef CAIRN_H
#define CAIRN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Everything below is exported from libcairn, and nothing else. */
#pragma GCC visibility push(default)

#define CAIRN_KEY_MAX   65535u
#define CAIRN_VALUE_MAX (1u << 30)
#define CAIRN_LEVELS    7

/* ------------------------------------------------------------- results */

enum cairn_code {
	CAIRN_OK = 0,
	CAIRN_NOT_FOUND = 1, /* the key or file is not there; an answer */

	CAIRN_ECORRUPT = -1,  /* bytes on disk are not what they should be */
	CAIRN_EIO = -2,       /* the system refused to read or write */
	CAIRN_ENOSPC = -3,    /* disk full */
	CAIRN_EINVAL = -4,    /* the caller asked for something impossible */
	CAIRN_ENOTSUP = -5,   /* made by something cairn cannot honour */
	CAIRN_EROFS = -6,     /* read-only, by option or after a failure */
	CAIRN_EBUSY = -7,     /* held by another process, or still in use */
	CAIRN_ETIMEDOUT = -8, /* no answer in time */
	CAIRN_EABORTED = -9,  /* cancelled, or a precondition did not hold */
	CAIRN_ENOMEM = -10,   /* no memory */
	CAIRN_EEXIST = -11,   /* already there */
	CAIRN_ENOENT = -12, /* a file or directory that must be there is not */
	CAIRN_EACCES = -13, /* permission denied */
	CAIRN_EDQUOT = -14, /* the store's own size limit */
	CAIRN_EFORGOTTEN = -15, /* that revision is forgotten */
	CAIRN_EFUTURE = -16,    /* that revision is not yet written */
	CAIRN_EKIND = -17,      /* a database, but not of the kind asked for */
};

/* The name of a code in a word or two, e.g. "corruption". Never NULL. */
const char *cairn_strerror(int code);

/*
 * The last failure of this thread in one line without a newline: the object
 * (path, file, offset), what was wrong, the system's word for it. Valid until
 * the next failing call of this thread. "" before the first failure.
 */
const char *cairn_errmsg(void);

/* --------------------------------------------------------------- slices */

/* Borrowed bytes. Who owns them and for how long is said at each use. */
struct cairn_slice {
	const uint8_t *data;
	size_t len;
};

/* Bytes that stay put until released; see cairn_get(). */
struct cairn_pinned {
	struct cairn_slice value;
	void (*release)(void *owner); /* NULL: nothing to release */
	void *owner;
};

/* Give the bytes back. Safe on a zeroed struct, and twice. */
static inline void cairn_pinned_release(struct cairn_pinned *p)
{
	if (p->release)
		p->release(p->owner);
	p->release = NULL;
	p->owner = NULL;
	p->value.data = NULL;
	p->value.len = 0;
}

/* -------------------------------------------------------------- options */

struct cairn_options;
struct cairn_env;

/* Defaults, or NULL when there is no memory. */
struct cairn_options *cairn_options_new(void);
void cairn_options_free(struct cairn_options *o);
struct cairn_options *cairn_options_clone(const struct cairn_options *o);

/*
 * Set an option by name. Sizes take the suffixes K M G T (powers of 1024);
 * booleans are true or false. CAIRN_EINVAL with the nearest name or the
 * allowed values in cairn_errmsg() when the name or the value is not known.
 *
 *   create_if_missing      false  make the directory and an empty database
 *   error_if_exists        false  fail when a database is already there
 *   read_only              false  change not one byte; take no lock
 *   upgrade                false  make a LevelDB directory RocksDB's, so that
 *                                 it can be written to: LevelDB cannot open it
 *                                 any more. Reads every table
 *   paranoid_checks        false  verify every block when a table is opened
 *   point_in_time_recovery false  when a log is damaged in the middle, open
 *                                 with what was written before, as RocksDB
 *                                 does by default, and lose the rest. Else such
 *                                 a database is refused; see cairn_repair()
 *   disable_wal            false  no write goes into the WAL: see
 *                                 struct cairn_write_options
 *   write_buffer_size      16M    memtable size
 *   max_write_buffers      3      memtables in memory before writers wait
 *   block_cache_size       64M    bytes of cached blocks
 *   memory_budget          0      bytes for memtables, open tables and the
 *                                 cache together: the cache gives way to the
 *                                 others, memtables are smaller if they would
 *                                 take more than half, larger batches are
 *                                 refused. 0: what the options above come to,
 *                                 but at most half of what the machine and the
 *                                 control groups of the process allow
 *   max_open_files         1000   table files kept open
 *   block_size             4K     target size of a data block
 *   block_restart_interval 16     keys between restart points
 *   bloom_bits_per_key     10     0 writes no filters
 *   base_level_size        0      target of the first level below level 0;
 *                                 0: that of a full level 0, at least 64M
 *   level_multiplier       10     ratio of the targets of two levels
 *   target_file_size       4M     table size at the base level, doubling
 *                                 with each level down to a cap of 64M
 *   l0_compaction_trigger  4      level 0 sublevels that start a compaction
 *   l0_slowdown            10     sublevels at which writers are slowed
 *   l0_stop                16     sublevels at which writers wait
 *   debt_slowdown          64G    bytes to be compacted until all levels are
 *                                 as they should be, at which writers are
 *                                 slowed
 *   debt_stop              256G   ... and at which they wait
 *   compression            default  none, snappy, zstd for all levels, or
 *                                 default: snappy L0-L4, zstd L5-L6
 *   zstd_level             1      level for zstd
 *   max_background_jobs    2      compactions at once; flushes have a thread
 *                                 of their own
 *   auto_compactions       true   false: only cairn_compact_range()
 *   auto_resume            true   false: after a failure of the WAL, writes
 *                                 wait for cairn_resume(), unless it was a full
 *                                 disk
 *   bytes_per_sync         512K   start writeback of tables after this much
 *   max_manifest_size      64M    start a new MANIFEST beyond this
 *   flush_rate             64M    bytes per second of memtables that a flush
 *                                 writes, or twice what comes in when that is
 *                                 more; full speed when somebody waits for it;
 *                                 0: always
 *   compaction_rate        0      the same for all compactions together, but
 *                                 for what comes in; 0: full speed
 *   quota                  0      limit on the size in use, which is that of
 *                                 live tables and of logs that are needed; 0:
 *                                 none. Puts that do not fit get CAIRN_EDQUOT,
 *                                 deletions do not; see below
 *   disk_reserve           64M    puts get CAIRN_ENOSPC when the disk has less
 *                                 left than this or 1/8 of its size; deletions
 *                                 go on
 *   delete_rate            128M   bytes of obsolete files deleted per second,
 *                                 more when they pile up or when the disk is
 *                                 nearly full; 0: at once
 *   merge_operator         default  uint64add, stringappend,
 *                                 stringappendtest, or as in OPTIONS, e.g.
 *                                 {id=StringAppendOperator;delimiter=|;};
 *                                 default: what the OPTIONS of the store says
 *
 * When nine tenths of the quota are in use and a put was refused, all puts are,
 * until less than nine tenths are in use again. The database flushes and
 * compacts by itself then, to make room of what was replaced, and of what is
 * deleted.
 *
 * The OPTIONS file of a store keeps its merge operator, its prefix extractor
 * and its compression; an option that is set wins over it.
 */
int cairn_options_set(struct cairn_options *o, const char *name,
		      const char *value);
/* The value of a boolean option; CAIRN_EINVAL when name is none. */
int cairn_options_get_bool(const struct cairn_options *o, const char *name,
			   bool *out);

/* The file system and clock; NULL is the real one. Borrowed. */
void cairn_options_set_env(struct cairn_options *o, struct cairn_env *env);

/*
 * What the holder is, written into LOCK beside pid and time so that other
 * processes can say who has the directory ("mount /mnt/app"). Copied.
 */
int cairn_options_set_lock_note(struct cairn_options *o, const char *note);

/*
 * Splits keys into a prefix and the rest, for prefix filters and
 * cairn_iter_seek_prefix_ge(). prefix_len returns the length of key's prefix,
 * or SIZE_MAX when key has none ("out of domain"). It must hold that the
 * prefix of a prefix is itself, and that keys with one prefix are adjacent.
 * The name is recorded in the tables; tables with another name are read
 * without their prefix filters. Borrowed; must outlive the database.
 */
struct cairn_prefix_extractor {
	const char *name;
	void *ctx;
	size_t (*prefix_len)(void *ctx, struct cairn_slice key);
};
void cairn_options_set_prefix_extractor(
	struct cairn_options *o, const struct cairn_prefix_extractor *px);

/*
 * Gives cairn_merge() its meaning: puts a key's value and the operands that
 * were merged into it since together. Operands come oldest first, at least one;
 * existing is NULL when there is no value below them. The result is what
 * cairn_merge_append() appended. An operator must give the same answer whenever
 * it is asked, and is called by many threads at once.
 *
 * full returns CAIRN_OK, CAIRN_ENOMEM, or anything else for operands that make
 * no sense: reading that key is then CAIRN_ECORRUPT, and compactions leave its
 * operands as they are.
 *
 * partial (NULL: never) puts at least two operands together to one operand that
 * does the same as they, whatever the value below them is. Anything but
 * CAIRN_OK: these cannot be put together.
 *
 * The name is recorded in OPTIONS and in the tables: letters, digits and
 * "._-:" only. Tables with operands of another name are refused. Borrowed; must
 * outlive the database.
 */
struct cairn_merge_result;
int cairn_merge_append(struct cairn_merge_result *r, const void *data,
		       size_t len);
struct cairn_merge_operator {
	const char *name;
	void *ctx;
	int (*full)(void *ctx, struct cairn_slice key,
		    const struct cairn_slice *existing,
		    const struct cairn_slice *operands, size_t n,
		    struct cairn_merge_result *out);
	int (*partial)(void *ctx, struct cairn_slice key,
		       const struct cairn_slice *operands, size_t n,
		       struct cairn_merge_result *out);
};
/* In place of the option merge_operator. NULL: back to default. */
void cairn_options_set_merge_operator(struct cairn_options *o,
				      const struct cairn_merge_operator *op);

/*
 * Decides during compaction which entries to drop. begin is called once per
 * job and returns the job's state (NULL: this job is not filtered); drop is
 * called for each live put in ascending key order, on one thread per job; end
 * frees the state. Entries that a snapshot taken with cairn_snapshot_new() can
 * see are not offered. A dropped entry leaves no tombstone: drop only keys
 * that were put once, or whose older versions may safely reappear. Merge
 * operands are not offered, what they became together is.
 * Flushes are not filtered. Borrowed; must outlive the database.
 */
struct cairn_compaction_info {
	int output_level;
	bool manual;
	/*
	 * Whether a table outside this job's inputs, at any level, may hold a
	 * key in [from, to).
	 */
	bool (*overlaps_outside)(const struct cairn_compaction_info *info,
				 struct cairn_slice from,
				 struct cairn_slice to);
};
struct cairn_compaction_filter {
	const char *name;
	void *ctx;
	void *(*begin)(void *ctx, const struct cairn_compaction_info *info);
	bool (*drop)(void *job, struct cairn_slice key,
		     struct cairn_slice value);
	void (*end)(void *job);
};
void cairn_options_set_compaction_filter(
	struct cairn_options *o, const struct cairn_compaction_filter *f);

/* RocksDB's numbers of the kinds of entries that tables have. */
enum cairn_entry_kind {
	CAIRN_ENTRY_DELETE = 0,
	CAIRN_ENTRY_PUT = 1,
	CAIRN_ENTRY_MERGE = 2,
	CAIRN_ENTRY_SINGLE_DELETE = 7,
	CAIRN_ENTRY_RANGE_DELETE = 15, /* its value is where it ends */
};

/*
 * Gathers facts about a table's entries while it is written, by a flush, a
 * compaction, a repair or a struct cairn_sst_writer; they become properties of
 * the table, which RocksDB calls user-collected and shows, and which table
 * filters can ask for (struct cairn_table_filter). A table that RocksDB writes,
 * also when it compacts one of these, has none.
 *
 * begin returns a table's state (NULL: nothing is collected for it). add is
 * called for each entry in ascending key order, deletions and all versions
 * included. Range deletions come as well, in an order of their own. finish
 * tells what was found by cairn_table_property_set(); anything but CAIRN_OK
 * fails the table. end frees the state. One thread at a time per table.
 * Borrowed; must outlive the database.
 *
 * garbage names the property, if any, that tells what of the table becomes
 * garbage: steps of a position and a number of bytes, both 8 bytes big-endian
 * and both ascending, at most 64. From each position on the compaction filter
 * drops so many bytes of the table's keys and values, in all. What a position
 * is the application knows; see cairn_collect_garbage().
 */
struct cairn_table_properties;
struct cairn_table_collector {
	const char *name;
	const char *garbage; /* NULL: nothing is known */
	void *ctx;
	void *(*begin)(void *ctx);
	void (*add)(void *table, enum cairn_entry_kind kind,
		    struct cairn_slice key, struct cairn_slice value);
	int (*finish)(void *table, struct cairn_table_properties *out);
	void (*end)(void *table);
};
/* CAIRN_EINVAL for a name that is empty or begins with "rocksdb.", and for more
 * than 4 MiB in all. */
int cairn_table_property_set(struct cairn_table_properties *p, const char *name,
			     struct cairn_slice value);
void cairn_options_set_table_collector(struct cairn_options *o,
				       const struct cairn_table_collector *c);

/* --------------------------------------------------------------- events */

enum cairn_event_kind {
	CAIRN_EVENT_OPEN,
	CAIRN_EVENT_CLOSE,
	CAIRN_EVENT_FLUSH_BEGIN,
	CAIRN_EVENT_FLUSH_END,
	CAIRN_EVENT_COMPACTION_BEGIN,
	CAIRN_EVENT_COMPACTION_END,
	CAIRN_EVENT_TABLE_CREATED,
	CAIRN_EVENT_TABLE_DELETED,
	CAIRN_EVENT_WAL_CREATED,
	CAIRN_EVENT_WAL_DELETED,
	CAIRN_EVENT_MANIFEST_CREATED,
	CAIRN_EVENT_STALL_BEGIN,
	CAIRN_EVENT_STALL_END,
	CAIRN_EVENT_BACKGROUND_ERROR,
	CAIRN_EVENT_CORRUPTION,
	CAIRN_EVENT_TABLE_INGESTED,
	CAIRN_EVENT_PROBLEM_SPAN_BEGIN, /* reason: its name; see */
	CAIRN_EVENT_PROBLEM_SPAN_END,   /* cairn_problem_spans() */
	/* Puts are refused for the quota, and again accepted. bytes_in is the
	 * size in use, bytes_out the quota. */
	CAIRN_EVENT_QUOTA_REACHED,
	CAIRN_EVENT_QUOTA_CLEARED,
	/* The same for the disk. bytes_in is what is free, bytes_out what is
	 * held back. */
	CAIRN_EVENT_LOW_DISK,
	CAIRN_EVENT_LOW_DISK_OVER,
	CAIRN_EVENT_RESUMED, /* writes, after a background error */
};

/*
 * One thing that happened. Fields that do not apply are 0 or NULL. Strings
 * live during the callback only.
 */
struct cairn_event {
	enum cairn_event_kind kind;
	uint64_t time_us; /* wall clock, microseconds since 1970 */
	uint64_t seq;     /* 1, 2, 3 ... per database, no gaps */
	uint64_t job;
	uint64_t file_number;
	int from_level;
	int to_level;
	int files_in;
	int files_out;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t duration_us;
	int code;           /* the result, CAIRN_OK when good */
	const char *reason; /* why a job was chosen, the cause of a stall */
	const char *detail; /* the message of an error */
};

/* The lower-case name of an event kind, e.g. "flush_begin". */
const char *cairn_event_name(enum cairn_event_kind kind);

/* Called without locks held. Must not call back into the database. */
struct cairn_listener {
	void *ctx;
	void (*event)(void *ctx, const struct cairn_event *e);
};
void cairn_options_set_listener(struct cairn_options *o,
				const struct cairn_listener *l);

/* ------------------------------------------------------------- database */

struct cairn_db;

/*
 * Open the database in dir. On any failure nothing in dir has changed, except
 * that with create_if_missing the directory itself may have been made.
 *   CAIRN_ENOENT    no database there (and create_if_missing is off)
 *   CAIRN_EEXIST    there is one, and error_if_exists is on
 *   CAIRN_EBUSY     held by another process or by this one
 *   CAIRN_ECORRUPT  damaged; the message names file and offset
 *   CAIRN_ENOTSUP   needs something cairn does not have, named in the message
 * Options are copied; what they borrow must stay. o may be NULL: defaults.
 */
int cairn_open(const char *dir, const struct cairn_options *o,
	       struct cairn_db **out);

/*
 * Flush, wait for running background work and close; when no table can be
 * written, sync the WAL instead, which is a failure when there are writes that
 * are not in it. CAIRN_EBUSY, and nothing done, while iterators
 * or snapshots are open or writes are stalled. Any other failure is reported
 * after everything was released. All other calls with db must have returned,
 * and none may follow.
 */
int cairn_close(struct cairn_db *db);

/* Who holds dir's LOCK. */
struct cairn_holder {
	long pid;
	char note[4096]; /* contents of LOCK, "" when it has none */
};

/*
 * CAIRN_OK and out filled when another process holds dir, CAIRN_NOT_FOUND when
 * nobody does. Never creates LOCK.
 */
int cairn_lock_holder(const char *dir, struct cairn_holder *out);

/* ---------------------------------------------------------------- writes */

/*
 * What is not in the WAL is in memory only until its memtable is flushed, that
 * is, written to a table that the MANIFEST names, all of it synced. Then a
 * power cut keeps it; before, the death of the process loses it. It is flushed
 * for sure when cairn_flush() with wait, cairn_checkpoint() (there also in the
 * copy) or cairn_close(), called after the write, returns CAIRN_OK; on its own
 * at any time. Memtables are flushed in order. So a store none of whose writes
 * go into the WAL (option disable_wal) is found after a crash as it was at some
 * moment, not before the last cairn_flush(): no write is there without those
 * before it. Where only some writes stay out of the WAL these may be lost, and
 * later ones that are in it not.
 */
struct cairn_write_options {
	bool sync;        /* return after the WAL is on the disk; CAIRN_EINVAL
			   * with disable_wal */
	bool no_slowdown; /* CAIRN_EBUSY rather than wait in a stall */
	bool disable_wal; /* keep out of the WAL, see above; always so with the
			   * option of that name */
	/* Write although the quota is reached or the disk nearly full: for
	 * deletions that a layer above makes of puts. */
	bool use_reserve;
};

/*
 * A list of changes applied all or not at all, in order: later ones win.
 * Building copies keys and values. Functions fail with CAIRN_EINVAL on keys
 * and values over the limits and CAIRN_ENOMEM, and leave the batch as it was.
 */
struct cairn_batch;
struct cairn_batch *cairn_batch_new(void);
void cairn_batch_free(struct cairn_batch *b);
void cairn_batch_clear(struct cairn_batch *b);
int cairn_batch_put(struct cairn_batch *b, struct cairn_slice key,
		    struct cairn_slice value);
int cairn_batch_delete(struct cairn_batch *b, struct cairn_slice key);
/*
 * Delete every key in [start, end), at the cost of one change. Nothing is added
 * when start and end are equal; CAIRN_EINVAL when end comes first.
 */
int cairn_batch_delete_range(struct cairn_batch *b, struct cairn_slice start,
			     struct cairn_slice end);
int cairn_batch_merge(struct cairn_batch *b, struct cairn_slice key,
		      struct cairn_slice operand);
int cairn_batch_single_delete(struct cairn_batch *b, struct cairn_slice key);
/*
 * Bytes of the caller's own, for those who read the WAL (cairn_wal_visit(),
 * RocksDB's tools): part of the record, no change, takes no sequence number.
 */
int cairn_batch_log_data(struct cairn_batch *b, struct cairn_slice blob);
/* Number of changes, and bytes as they stand in the WAL. */
uint32_t cairn_batch_count(const struct cairn_batch *b);
size_t cairn_batch_bytes(const struct cairn_batch *b);

/*
 * Savepoints are a stack. set puts the batch as it is on it; rollback brings
 * the last one back and takes it off, as if what was added since had never
 * been; pop takes it off and changes nothing. Both are CAIRN_NOT_FOUND when
 * there is none. set is CAIRN_ENOMEM without memory; so is rollback, which then
 * did nothing, and only while iterators over the batch or values read from it
 * are held. cairn_batch_clear() takes off all, cairn_write() none.
 */
int cairn_batch_set_savepoint(struct cairn_batch *b);
int cairn_batch_rollback(struct cairn_batch *b);
int cairn_batch_pop_savepoint(struct cairn_batch *b);

/*
 * A batch that can be read, too, as if it were committed already: see
 * cairn_batch_get() and cairn_batch_iter_new(). Everything else is as above;
 * what is added takes some 40 bytes more memory, and the batch at most 4 GiB
 * (CAIRN_EINVAL).
 */
struct cairn_batch *cairn_batch_new_indexed(void);

/*
 * Commit. When this returns CAIRN_OK the changes are visible to every later
 * read, survive the death of the process, and with o->sync (or a later
 * cairn_wal_sync()) a power cut, together with everything committed before
 * them. o may be NULL. The batch can be cleared and used again. A failure of
 * the WAL makes the database read-only: CAIRN_EROFS from then on, or
 * CAIRN_ENOSPC when it was for want of space, and until there is some.
 */
int cairn_write(struct cairn_db *db, const struct cairn_write_options *o,
		struct cairn_batch *b);
int cairn_put(struct cairn_db *db, const struct cairn_write_options *o,
	      struct cairn_slice key, struct cairn_slice value);
int cairn_delete(struct cairn_db *db, const struct cairn_write_options *o,
		 struct cairn_slice key);
int cairn_delete_range(struct cairn_db *db, const struct cairn_write_options *o,
		       struct cairn_slice start, struct cairn_slice end);

/*
 * Merge operand into the value of key, by the merge operator: as reading and
 * putting would, but without reading. CAIRN_ENOTSUP, and nothing is written,
 * when no merge operator is set; the same holds for a batch with merges.
 */
int cairn_merge(struct cairn_db *db, const struct cairn_write_options *o,
		struct cairn_slice key, struct cairn_slice operand);

/*
 * Delete a key that was put exactly once, and not merged, since it was last
 * deleted or was new. Readers see no difference to cairn_delete(), but deletion
 * and put vanish as soon as a compaction meets both. For other keys, what an
 * older put left may come back.
 */
int cairn_single_delete(struct cairn_db *db,
			const struct cairn_write_options *o,
			struct cairn_slice key);

/*
 * Whether puts are accepted: CAIRN_EDQUOT while the quota is reached,
 * CAIRN_ENOSPC while the disk is nearly full; CAIRN_EROFS in a database that
 * was opened read-only.
 */
int cairn_check_space(struct cairn_db *db);

/* Make everything committed before this call survive a power cut. CAIRN_EINVAL
 * with the option disable_wal. */
int cairn_wal_sync(struct cairn_db *db);

/* ----------------------------------------------------------------- reads */

struct cairn_snapshot;

/* The present state, readable until released. NULL: no memory. */
struct cairn_snapshot *cairn_snapshot_new(struct cairn_db *db);
void cairn_snapshot_release(struct cairn_snapshot *s);
uint64_t cairn_snapshot_seqno(const struct cairn_snapshot *s);

/* What is known of a table without looking at its entries. */
struct cairn_table_facts {
	uint64_t number;
	uint64_t size_bytes;
	/* User keys; range deletions included, so largest may be where one
	 * ends, exclusively. */
	struct cairn_slice smallest;
	struct cairn_slice largest;
	bool seqnos_known;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	const void *table; /* private */
};

/* A property that a collector gave the table: CAIRN_OK, or CAIRN_NOT_FOUND.
 * *value lives during the callback. */
int cairn_table_property(const struct cairn_table_facts *t, const char *name,
			 struct cairn_slice *value);

/*
 * Leaves tables out of an iterator. skip is asked when the iterator comes to a
 * table, on its thread, and must always give the same answer for one table.
 *
 * The entries of a table that is left out are not there for the iterator, and
 * that goes for deletions and newer values, too: what they hid in tables that
 * are not left out comes to light. So this is right only where all that is left
 * out hides nothing that the iterator would then show as being there; as when
 * keys end in a version, and a table has none but versions that are not wanted.
 * Range deletions of the table go on to count, and what is in memtables is
 * always there.
 */
struct cairn_table_filter {
	void *ctx;
	bool (*skip)(void *ctx, const struct cairn_table_facts *t);
};

struct cairn_read_options {
	const struct cairn_snapshot *snapshot; /* NULL: now */
	/* Iterators only: keys in [lower, upper). data NULL: no bound. The
	 * bytes must stay while the iterator lives. */
	struct cairn_slice lower;
	struct cairn_slice upper;
	bool no_fill_cache; /* leave the block cache as it is: for scans */
	/* Iterators only. Borrowed by the iterator, and by clones that take
	 * its options over. NULL: none. */
	const struct cairn_table_filter *table_filter;
};

/*
 * The value of key, without copying it: out->value stays valid until
 * cairn_pinned_release(out), also after the key is overwritten. Release before
 * closing the database. CAIRN_NOT_FOUND when there is none.
 */
int cairn_get(struct cairn_db *db, const struct cairn_read_options *o,
	      struct cairn_slice key, struct cairn_pinned *out);

/*
 * What n calls of cairn_get() at one moment would give: codes[i] is the result
 * for keys[i], and where it is CAIRN_OK values[i] is set and to be released;
 * others are left untouched. Keys may come in any order, and more than once.
 * Cheaper than n calls, the more keys the better, and best when they lie near
 * one another. Returns CAIRN_OK when every key was found or is not there, else
 * the first failure among the codes.
 */
int cairn_multi_get(struct cairn_db *db, const struct cairn_read_options *o,
		    const struct cairn_slice *keys, size_t n,
		    struct cairn_pinned *values, int *codes);

/*
 * Iterators walk a state frozen when they were made. Positioning calls return
 * whether they stand on an entry; when not, cairn_iter_status() tells the end
 * (CAIRN_OK) from a failure, which stays until the next absolute positioning.
 * Key and value are valid until the next positioning call. An open iterator
 * keeps old files and memtables alive: do not hold it for long.
 *
 * seek_prefix_ge goes to the first key >= key that has key's prefix (see
 * cairn_prefix_extractor); it may skip tables by their filters, and next ends
 * where the prefix ends. prev and last are not allowed after it.
 */
struct cairn_iter;
int cairn_iter_new(struct cairn_db *db, const struct cairn_read_options *o,
		   struct cairn_iter **out);
void cairn_iter_free(struct cairn_iter *it);
bool cairn_iter_first(struct cairn_iter *it);
bool cairn_iter_last(struct cairn_iter *it);
bool cairn_iter_seek_ge(struct cairn_iter *it, struct cairn_slice key);
bool cairn_iter_seek_lt(struct cairn_iter *it, struct cairn_slice key);
bool cairn_iter_seek_prefix_ge(struct cairn_iter *it, struct cairn_slice key);
bool cairn_iter_next(struct cairn_iter *it);
bool cairn_iter_prev(struct cairn_iter *it);
/*
 * Other bounds from now on, as in struct cairn_read_options; the bytes must
 * stay as long as they are its bounds. The iterator then stands on nothing and
 * must be positioned. It is not built anew: a seek to
 * where the last one ended, as from [a, b) to [b, c), costs next to nothing.
 */
void cairn_iter_set_bounds(struct cairn_iter *it, struct cairn_slice lower,
			   struct cairn_slice upper);
/*
 * Another iterator over the very same state, whatever has been written and
 * which snapshot has been released since; it stands on nothing. o NULL: bounds
 * and all as those of from now. Else its own; o->snapshot must be NULL
 * (CAIRN_EINVAL). from may be at work in another thread meanwhile, except that
 * it must not be freed, nor, with o NULL, have its bounds set.
 */
int cairn_iter_clone(const struct cairn_iter *from,
		     const struct cairn_read_options *o,
		     struct cairn_iter **out);
bool cairn_iter_valid(const struct cairn_iter *it);
struct cairn_slice cairn_iter_key(const struct cairn_iter *it);
struct cairn_slice cairn_iter_value(const struct cairn_iter *it);
/*
 * The value stood on, valid wherever the iterator goes and when it is freed,
 * until cairn_pinned_release(out). Release before closing the database. Mostly
 * this copies nothing; backward, and where merge operands were applied, it
 * does. CAIRN_EINVAL when the iterator stands on nothing.
 */
int cairn_iter_pin_value(struct cairn_iter *it, struct cairn_pinned *out);
int cairn_iter_status(const struct cairn_iter *it);

/*
 * As cairn_get(), of db as it would be with the changes of b, an indexed batch
 * (CAIRN_EINVAL for another), on top of it: on top of the snapshot when o has
 * one, whatever was committed since. Merge operands of both are put together,
 * ranges deleted in b hide keys of db and earlier ones of b. What is returned
 * stays valid however b changes, and when it is freed.
 */
int cairn_batch_get(struct cairn_db *db, const struct cairn_read_options *o,
		    const struct cairn_batch *b, struct cairn_slice key,
		    struct cairn_pinned *out);

/*
 * As cairn_iter_new(), with b on top. The iterator sees b as it is now and not
 * what is done to it later: b may be changed, rolled back, cleared, committed
 * and freed under it. Both belong to one thread at a time, together.
 *
 * To see b as it is by then, refresh: db stays as it was seen, and the iterator
 * stands nowhere. CAIRN_EINVAL when it was not made by cairn_batch_iter_new().
 * After another failure it is as it was.
 */
int cairn_batch_iter_new(struct cairn_db *db,
			 const struct cairn_read_options *o,
			 const struct cairn_batch *b, struct cairn_iter **out);
int cairn_batch_iter_refresh(struct cairn_iter *it,
			     const struct cairn_batch *b);

/* ---------------------------------------------------------------- upkeep */

/*
 * Write all memtables to tables. With wait, return when they are installed and
 * their logs are no longer needed; this is also the durability point of writes
 * made with disable_wal.
 */
int cairn_flush(struct cairn_db *db, bool wait);

/*
 * Rewrite everything in [from, to) down to the last level, dropping what is
 * deleted. data NULL: from the first key, to the end. Blocks until done; reads
 * and writes go on. Returns CAIRN_EABORTED when *cancel becomes true (cancel
 * may be NULL; it is polled) or the database closes; work so far stays.
 */
int cairn_compact_range(struct cairn_db *db, struct cairn_slice from,
			struct cairn_slice to, const _Bool volatile *cancel);

/*
 * The compaction filter drops more than before: what tables say becomes garbage
 * up to this position (struct cairn_table_collector). Tables that are garbage
 * for 30 % or more are rewritten in the background, when nothing else is more
 * urgent, so that it costs no more than 2.4 bytes written for each that comes
 * free. A table is rewritten once for a position, whatever the filter does.
 * Cheap; positions only grow, lower ones are ignored, and so are all of them
 * when compactions are not automatic. Not remembered when closed.
 */
void cairn_collect_garbage(struct cairn_db *db, uint64_t position);

/* How far a compaction that was asked for has come. */
struct cairn_compact_progress {
	uint64_t job; /* its number, for cairn_cancel_job() */
	int level;    /* that is being brought down */
	uint64_t bytes_done;
	uint64_t bytes_total; /* to be read; first an estimate */
};

struct cairn_compact_options {
	struct cairn_slice from;      /* data NULL: from the first key */
	struct cairn_slice to;        /* data NULL: to the end */
	const _Bool volatile *cancel; /* polled; may be NULL */
	/* Called on the caller's thread now and then, the last time when all is
	 * done. May be NULL. Must not close the database. */
	void (*progress)(void *ctx, const struct cairn_compact_progress *p);
	void *ctx;
};

/*
 * The same with progress. Levels are brought down one after the other, each in
 * pieces: what is done stays done, and disk space for one piece is enough. It
 * is among cairn_jobs() as "manual", beside the compaction that is the present
 * piece. Tables known to be damaged are not avoided: CAIRN_ECORRUPT.
 */
int cairn_compact(struct cairn_db *db, const struct cairn_compact_options *o);

/*
 * End the compaction of that number, which somebody else asked for: its caller
 * gets CAIRN_EABORTED. CAIRN_NOT_FOUND when there is none (any more); those
 * that the database decides on by itself cannot be ended.
 */
int cairn_cancel_job(struct cairn_db *db, uint64_t job);

/* Return when no flush or compaction is running or due. */
int cairn_wait_idle(struct cairn_db *db);

/*
 * After a background error: flush to new files, start a new WAL and MANIFEST,
 * and let writes in again when all of that worked.
 */
int cairn_resume(struct cairn_db *db);

/* The latched background error, CAIRN_OK when there is none. Copies its
 * message into msg (may be NULL), cut at len with a NUL. */
int cairn_background_error(struct cairn_db *db, char *msg, size_t len);

/* ------------------------------------------------------- external tables */

/*
 * A table file that is made outside of any database, to be ingested by
 * cairn_ingest() or by RocksDB. Belongs to one thread at a time.
 */
struct cairn_sst_writer;

/*
 * Begin the file at path, which must not exist (CAIRN_EEXIST). Of the options
 * (NULL: defaults) those about blocks, filters and compression apply, the last
 * of these as for the last level, and those set by cairn_options_set_env() and
 * cairn_options_set_prefix_extractor(), which are borrowed.
 */
int cairn_sst_writer_open(const char *path, const struct cairn_options *o,
			  struct cairn_sst_writer **out);

/*
 * Add a change, in ascending order of keys and each key once: CAIRN_EINVAL for
 * one that is out of order or over the limits, and nothing was added. After any
 * other failure only cairn_sst_writer_free() may follow. Ranges come in any
 * order, at any time, and do not delete keys that the table itself puts.
 */
int cairn_sst_writer_put(struct cairn_sst_writer *w, struct cairn_slice key,
			 struct cairn_slice value);
int cairn_sst_writer_delete(struct cairn_sst_writer *w, struct cairn_slice key);
int cairn_sst_writer_merge(struct cairn_sst_writer *w, struct cairn_slice key,
			   struct cairn_slice operand);

int cairn_sst_writer_delete_range(struct cairn_sst_writer *w,
				  struct cairn_slice start,
				  struct cairn_slice end);

/* What a finished table holds; the keys live as long as the writer. largest is
 * the end of a range that ends behind all keys. */
struct cairn_sst_info {
	uint64_t size_bytes;
	uint64_t entries; /* ranges included */
	struct cairn_slice smallest;
	struct cairn_slice largest;
};

/*
 * Complete the file and make it durable, its name included. CAIRN_EINVAL when
 * nothing was added. info may be NULL. Only cairn_sst_writer_free() may follow.
 */
int cairn_sst_writer_finish(struct cairn_sst_writer *w,
			    struct cairn_sst_info *info);

/* Unless it was finished the file is removed. NULL is allowed. */
void cairn_sst_writer_free(struct cairn_sst_writer *w);

enum cairn_ingest_mode {
	CAIRN_INGEST_COPY, /* the files stay and are nobody's but the caller's
			    */
	CAIRN_INGEST_LINK, /* a second name is made: the file must not change */
	CAIRN_INGEST_MOVE, /* the same, and the name given goes in the end */
};

struct cairn_ingest_options {
	/* Where the file system has no links, or is another, files are copied
	 * all the same. */
	enum cairn_ingest_mode mode;
};

/*
 * Add n tables, made by cairn_sst_writer_open() or RocksDB's SstFileWriter, in
 * one step: as if all their changes were written now, in one batch. Their keys
 * must not overlap. Every table is read and checked; what cannot be ingested is
 * named in the message, and then nothing has changed:
 *   CAIRN_ENOENT    no such file
 *   CAIRN_ECORRUPT  no table, damaged, or keys that do not ascend
 *   CAIRN_ENOTSUP   another comparator, codec, or kind of entry
 *   CAIRN_EINVAL    no files, two that overlap, an empty table, one that was
 *                   not made to be ingested or has been ingested already
 * When CAIRN_OK is returned all of it is durable. A failure to write the
 * MANIFEST leaves open whether a crash before cairn_resume() finds the tables,
 * all or none. o may be NULL: copy. Writers wait while the tables are put in
 * place, also for a flush where memtables have keys of the same range.
 */
int cairn_ingest(struct cairn_db *db, const char *const *paths, size_t n,
		 const struct cairn_ingest_options *o);

/*
 * Make dir, which must not exist (CAIRN_EEXIST), a database of its own with the
 * state of one moment of this call: everything committed before it, and no
 * change without those committed before it. Tables are hard links where dir is
 * on the same file system, else copies. Memtables are flushed first. dir
 * appears complete and durable or, on any failure, not at all. Until it does,
 * its files are in a directory beside it, called like it with ".tmp" and more
 * behind; a crash may leave that.
 */
int cairn_checkpoint(struct cairn_db *db, const char *dir);

/* Keys in [from, to); data NULL: from the first key, to the end. */
struct cairn_range {
	struct cairn_slice from;
	struct cairn_slice to;
};

/*
 * Roughly how many bytes of tables each of n ranges takes, old versions and
 * tombstones included, to within a block or two per table that a range begins
 * or ends in. What is only in memtables does not count. Reads no data.
 */
int cairn_approximate_sizes(struct cairn_db *db,
			    const struct cairn_range *ranges, size_t n,
			    uint64_t *bytes);

/* --------------------------------------------------------------- metrics */

struct cairn_level_metrics {
	uint64_t files;
	uint64_t size_bytes;
	uint64_t target_bytes; /* 0: no target */
	double score;          /* 0: not eligible */
	uint64_t sublevels;
	uint64_t in_bytes; /* L0: WAL bytes; else input from levels above */
	uint64_t read_bytes;
	uint64_t flushed_bytes;
	uint64_t compacted_bytes;
	uint64_t moved_tables;
	uint64_t moved_bytes;
	uint64_t ingested_tables;
	uint64_t ingested_bytes;
	/* Without being read, since range deletions left nothing of them. */
	uint64_t dropped_tables;
	uint64_t dropped_bytes;
	char compression[8];
};

enum cairn_stall_state {
	CAIRN_STALL_NONE,
	CAIRN_STALL_SLOW,
	CAIRN_STALL_STOPPED,
};

/* Why writers slept or waited. */
enum cairn_stall_cause {
	CAIRN_STALL_BY_L0,        /* "l0-sublevels" */
	CAIRN_STALL_BY_MEMTABLES, /* "memtables" */
	CAIRN_STALL_BY_DEBT,      /* "compaction-debt" */
	CAIRN_STALL_CAUSES
};

struct cairn_stall_metrics {
	uint64_t count;
	uint64_t us;
};

/* A latency distribution in microseconds since open. */
struct cairn_latency {
	uint64_t count;
	uint64_t sum_us;
	double p50_us;
	double p99_us;
	double p999_us;
	uint64_t max_us;
};

/* One moment of the database. Counters (_total in the view) never go down. */
struct cairn_metrics {
	struct cairn_level_metrics level[CAIRN_LEVELS];
	uint64_t seqno; /* last visible sequence number */
	uint64_t next_file_number;

	uint64_t memtable_bytes;
	uint64_t memtable_count;
	uint64_t memtable_max;
	uint64_t memtable_zombie_bytes; /* flushed, held by readers */

	uint64_t wal_files;
	uint64_t wal_bytes;
	uint64_t wal_in_bytes;
	uint64_t wal_written_bytes;
	uint64_t wal_syncs;

	uint64_t flushes;
	uint64_t flush_running;
	uint64_t flush_bytes;

	uint64_t compactions; /* of any kind; these are part of it: */
	uint64_t compactions_delete_only;
	uint64_t compactions_elision_only; /* of tombstones at the bottom */
	uint64_t compactions_tombstones;   /* tables of many tombstones */
	uint64_t compactions_reads;        /* tables that reads often pass */
	uint64_t compactions_garbage;      /* cairn_collect_garbage() */
	uint64_t compactions_manual;
	uint64_t compactions_running;
	uint64_t compactions_queued;
	uint64_t compactions_failed;
	uint64_t compaction_debt_bytes;
	uint64_t compaction_in_progress_bytes;

	enum cairn_stall_state stall_state;
	char stall_cause[32]; /* "-" when none */
	uint64_t stalls;
	uint64_t stall_us;
	struct cairn_stall_metrics stall[CAIRN_STALL_CAUSES]; /* their parts */

	uint64_t memory_budget_bytes;
	uint64_t memory_charged_bytes; /* memtables and open tables */
	uint64_t cache_capacity_bytes;
	uint64_t cache_bytes;
	uint64_t cache_hits;
	uint64_t cache_misses;
	uint64_t filter_checks;
	uint64_t filter_negatives;
	uint64_t filter_false_positives;

	uint64_t tables_open;
	uint64_t tables_zombie_bytes;
	uint64_t tables_obsolete_bytes;

	uint64_t iterators;
	uint64_t oldest_iterator_us;
	uint64_t snapshots;
	uint64_t snapshot_pinned_keys;

	uint64_t live_table_bytes;  /* tables of the current version */
	uint64_t disk_usage_bytes;  /* every file of the database */
	uint64_t disk_free_bytes;   /* of the file system below */
	uint64_t estimated_entries; /* in tables and memtables */

	uint64_t quota_bytes;        /* 0: none */
	uint64_t size_in_use_bytes;  /* what the quota limits */
	bool quota_reached;          /* puts are refused */
	bool disk_low;               /* puts are refused */
	uint64_t disk_reserve_bytes; /* of disk_free_bytes */

	int background_error; /* a cairn_code */
	uint64_t corruptions;
	uint64_t problem_spans;    /* see cairn_problem_spans() */
	uint64_t error_latched_us; /* wall clock; 0: none */
	uint64_t uptime_us;

	struct cairn_latency get;
	struct cairn_latency commit;
	struct cairn_latency sync;
};

/* Takes the database mutex for a copy only; never waits for I/O. */
void cairn_metrics_get(struct cairn_db *db, struct cairn_metrics *out);

/* One running or queued background job, for people. */
struct cairn_job {
	uint64_t job;
	bool running;
	int from_level; /* -1: a flush */
	int to_level;
	int files;
	uint64_t bytes;
	uint64_t bytes_done;
	uint64_t started_us; /* wall clock */
	char kind[16];
	char reason[64];
};

/* At most n jobs into out; returns how many there are. */
size_t cairn_jobs(struct cairn_db *db, struct cairn_job *out, size_t n);

/* One live table. Keys are user keys, owned by the list. */
struct cairn_table_info {
	int level;
	uint64_t number;
	uint64_t size_bytes;
	uint64_t entries;         /* 0: not yet known */
	uint64_t deletions;       /* 0: not yet known; as range_deletions */
	uint64_t range_deletions; /* part of both */
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	uint64_t job; /* the compaction it is in, 0: none */
	struct cairn_slice smallest;
	struct cairn_slice largest;
	const char *path; /* of the file */
};
struct cairn_table_list {
	struct cairn_table_info *tables;
	size_t n;
	void *owner; /* private */
};

/*
 * The tables of one level, or of all for level -1, in level then file order.
 * While the list is held the files stay on disk. Free with
 * cairn_table_list_free() before closing.
 */
int cairn_tables(struct cairn_db *db, int level, struct cairn_table_list *out);
void cairn_table_list_free(struct cairn_table_list *l);

/*
 * A span of keys that compactions leave alone in one level, because a table
 * there turned out to be damaged. It ends when the table is gone, and after a
 * minute, when it is tried again. Reads and all other compactions go on.
 */
struct cairn_problem_span {
	char name[32]; /* of the level and the table, "L5-000012" */
	int level;
	uint64_t file_number;        /* 0: one of several, in level and below */
	struct cairn_slice smallest; /* user keys, both included */
	struct cairn_slice largest;
	uint64_t since_us;   /* wall clock */
	uint64_t left_us;    /* until it is tried again */
	const char *message; /* what was wrong, with file and offset */
};
struct cairn_problem_list {
	struct cairn_problem_span *spans;
	size_t n;
};

/* Those of this moment, as copies. Free with cairn_problem_list_free(). */
int cairn_problem_spans(struct cairn_db *db, struct cairn_problem_list *out);
void cairn_problem_list_free(struct cairn_problem_list *l);

/* Verify every block of every live table. */
int cairn_verify_checksums(struct cairn_db *db);

/* --------------------------------------------- looking inside, damage */

/*
 * Something that is wrong with a database, or worth a remark. Strings and
 * slices live during the callback only.
 */
struct cairn_finding {
	/* CAIRN_ECORRUPT: damage. CAIRN_EIO: the system could not read.
	 * CAIRN_ENOTSUP: something that cairn cannot judge. CAIRN_OK: a remark;
	 * all is well. */
	int code;
	const char *message; /* one line: file, place, what */
	const char *path;    /* of the file */
	uint64_t offset;     /* in the file; UINT64_MAX: of no place */
	/*
	 * Whether entries cannot be read for it, and of which keys: some of
	 * those from from to to, both included; an end that is not known has
	 * data NULL.
	 */
	bool keys_lost;
	struct cairn_slice from;
	struct cairn_slice to;
};

/* Returns CAIRN_OK to go on; anything else ends the work, which returns it. */
typedef int cairn_found_fn(void *ctx, const struct cairn_finding *f);

struct cairn_verify_options {
	cairn_found_fn *found; /* may be NULL */
	void *ctx;
	const bool volatile *cancel; /* polled; may be NULL */
};

struct cairn_verify_report {
	uint64_t findings; /* remarks are none */
	uint64_t tables;
	uint64_t damaged_tables;
	uint64_t table_bytes;
	uint64_t entries; /* range tombstones included */
	uint64_t blocks;
	uint64_t damaged_blocks;
	uint64_t logs;
	uint64_t log_records;
};

/*
 * Check everything in a directory against everything: CURRENT, the MANIFEST,
 * OPTIONS; every block of every table, the order of its keys, its index, its
 * filter, its properties, and what the MANIFEST says of it; every record of
 * every log. Goes on behind what is wrong. Directories of RocksDB and LevelDB
 * are checked as they are. Changes not a byte and takes no lock. Of the options
 * only the env counts; o may be NULL. report may be NULL.
 *   CAIRN_OK        nothing is wrong
 *   CAIRN_ECORRUPT  something is, and was told to v->found
 *   CAIRN_ENOENT    no database there
 *   CAIRN_ENOTSUP   not a database that cairn can read, or one that needs
 *                   something cairn does not have; the latter was told
 *   CAIRN_EBUSY     held by another process
 *   CAIRN_EABORTED  *v->cancel became true
 */
int cairn_verify(const char *dir, const struct cairn_options *o,
		 const struct cairn_verify_options *v,
		 struct cairn_verify_report *report);

/*
 * The same for a database that is open: the tables of this moment, and what is
 * written of MANIFEST and logs. Reads and writes go on.
 */
int cairn_verify_open(struct cairn_db *db, const struct cairn_verify_options *v,
		      struct cairn_verify_report *report);

struct cairn_repair_options {
	cairn_found_fn *found; /* what is wrong, and what is done; may be NULL
				*/
	void *ctx;
	const bool volatile *cancel; /* polled; may be NULL */
	bool dry_run;                /* look only */
	/* Make a RocksDB directory of one of LevelDB's. Without, such a
	 * directory is CAIRN_ENOTSUP when there is something to repair. */
	bool upgrade;
};

struct cairn_repair_report {
	bool damaged;          /* something was wrong */
	bool repaired;         /* files were changed (with dry_run: would be) */
	bool manifest_rebuilt; /* which tables count was not known for sure */
	uint64_t tables_kept;  /* as they are */
	uint64_t tables_rewritten; /* of what could be read */
	uint64_t tables_lost;      /* nothing of them could be read, or found */
	uint64_t entries_rewritten;
	uint64_t blocks_lost;
	uint64_t bytes_lost;  /* of tables and logs */
	uint64_t log_records; /* brought into tables */
};

/*
 * Make a database of what can be read of one. What cannot be read is told to
 * r->found, with the keys that are lost where they can be told; so are tables
 * that are missing.
 *
 * A table with bad blocks is replaced by one without them. Logs are brought
 * into tables, whole records behind damage included. When the MANIFEST is lost
 * or damaged, tables take their place by the sequence numbers of their entries,
 * so that the newest value wins; but a table that a compaction had replaced,
 * and that was not yet deleted, then counts again: deleted keys of it can come
 * back. So they can when a tombstone is in a block that is lost. And range
 * tombstones of RocksDB may then reach further than they should: only the
 * MANIFEST knew where they end to count.
 *
 * Nothing that was there is destroyed: replaced files are moved to the
 * subdirectory lost/. Until the moment the new MANIFEST counts everything
 * stays as it was, whenever the work is cut off; after it, a second call finds
 * nothing to do. When nothing is wrong nothing is changed.
 *
 * CAIRN_OK whatever was lost: see the report. CAIRN_ENOENT when there is
 * nothing of a database, CAIRN_ENOTSUP when something is there that must not
 * be lost but that cairn cannot keep (other column families, prepared
 * transactions, codecs that are missing), CAIRN_EBUSY when it is in use.
 */
int cairn_repair(const char *dir, const struct cairn_options *o,
		 const struct cairn_repair_options *r,
		 struct cairn_repair_report *report);

/* One entry of a table or operation of a log. */
struct cairn_entry {
	struct cairn_slice key;
	struct cairn_slice value; /* end key of a range deletion */
	uint64_t seqno;
	int kind;        /* enum cairn_entry_kind, or another of RocksDB's */
	uint32_t family; /* column family; of logs only */
	uint64_t offset; /* of the block or record */
};

/* "put", "delete", "merge", "single-delete", "range-delete", ... */
const char *cairn_entry_kind_name(int kind);

struct cairn_sst_summary {
	uint64_t size_bytes;
	uint32_t format_version;
	const char *checksum; /* "crc32c", ... */
};

struct cairn_sst_block {
	const char *kind; /* "data", "index", "filter", ... */
	uint64_t offset;
	uint64_t size;     /* stored, without its trailer of 5 bytes */
	uint64_t raw_size; /* uncompressed; 0: not known */
	const char *codec; /* "none", "snappy", ... */
	uint64_t entries;
	struct cairn_slice last_key; /* of a data block */
	bool damaged;
};

/*
 * Looking through a table file. Members may be NULL; what is not CAIRN_OK ends
 * it. Calls come in the order of the members, those of entries and blocks
 * mixed.
 */
struct cairn_sst_visitor {
	void *ctx;
	int (*summary)(void *ctx, const struct cairn_sst_summary *s);
	/* value is text. */
	int (*property)(void *ctx, const char *name, const char *value);
	int (*block)(void *ctx, const struct cairn_sst_block *b);
	int (*entry)(void *ctx, const struct cairn_entry *e);
	cairn_found_fn *found;
};

/*
 * Visit a table file of RocksDB, LevelDB or cairn by itself, also a damaged
 * one. CAIRN_ECORRUPT when damage was told to found; CAIRN_NOT_FOUND when there
 * is no such file. Entries of an ingested table show the number that is stored.
 */
int cairn_sst_visit(const char *path, const struct cairn_options *o,
		    const struct cairn_sst_visitor *v);

struct cairn_wal_record {
	uint64_t offset;
	uint64_t bytes;
	uint64_t seqno; /* of the first operation */
	uint32_t count;
	bool note; /* says what was synced, and changes nothing */
};

struct cairn_wal_visitor {
	void *ctx;
	int (*record)(void *ctx, const struct cairn_wal_record *r);
	int (*entry)(void *ctx, const struct cairn_entry *e);
	cairn_found_fn *found;
};

/*
 * Visit every whole record of a log, also behind damage. Results as above. A
 * bad last record is a remark: a crash leaves such.
 */
int cairn_wal_visit(const char *path, const struct cairn_options *o,
		    const struct cairn_wal_visitor *v);

struct cairn_manifest_file {
	int level;
	uint64_t number;
	/* Not known of a deleted file: */
	uint64_t size;
	struct cairn_slice smallest; /* user keys */
	struct cairn_slice largest;
	uint64_t smallest_key_seqno;
	uint64_t largest_key_seqno;
	bool largest_exclusive; /* where a range deletion ends */
	bool seqnos_known;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
};

/* One record of a MANIFEST, or the state after all of them. Numbers that are
 * not in it are UINT64_MAX, strings NULL. */
struct cairn_manifest_edit {
	uint64_t offset;
	const char *comparator;
	const char *db_id;
	uint64_t log_number;
	uint64_t prev_log_number;
	uint64_t min_log_to_keep;
	uint64_t next_file_number;
	uint64_t last_seqno;
	uint32_t family; /* that it is about; 0: the default one */
	const char *family_added;
	bool family_dropped;
	uint64_t group_remaining;
	const struct cairn_manifest_file *added;
	size_t n_added;
	const struct cairn_manifest_file *deleted;
	size_t n_deleted;
};

struct cairn_manifest_visitor {
	void *ctx;
	int (*edit)(void *ctx, const struct cairn_manifest_edit *e);
	/* At the end: the live tables of the default family, by level and then
	 * number, as added. */
	int (*state)(void *ctx, const struct cairn_manifest_edit *s);
	cairn_found_fn *found;
};

/* Visit every record of a MANIFEST; path may be a directory, whose CURRENT is
 * followed. Results as above. */
int cairn_manifest_visit(const char *path, const struct cairn_options *o,
			 const struct cairn_manifest_visitor *v);

/* RocksDB's version whose files cairn writes, and cairn's own. */
#define CAIRN_ROCKSDB_VERSION "7.8.3"
const char *cairn_version(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
