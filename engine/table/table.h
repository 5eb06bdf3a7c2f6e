/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open table file (sstable) in RocksDB's block-based format, footer versions
 * 0 to 5. Immutable, so every function may be called by any number of threads.
 *
 * Index, filter and properties are read at open; data blocks when needed, each
 * verified by its checksum when it comes from the disk.
 */
#ifndef CAIRN_TABLE_TABLE_H
#define CAIRN_TABLE_TABLE_H

#include <stdatomic.h>

#include "engine/env/env.h"
#include "engine/kv/iter.h"
#include "engine/kv/range_del.h"
#include "engine/table/block_cache.h"
#include "engine/table/props.h"

struct table;

/* Counters of all tables of one database. */
struct table_stats {
	_Atomic uint64_t filter_checks;
	_Atomic uint64_t filter_negatives;
	_Atomic uint64_t filter_false_positives;
	_Atomic uint64_t corruptions;
};

struct table_read_options {
	struct block_cache *cache;                   /* NULL: none */
	const struct cairn_prefix_extractor *prefix; /* NULL: none */
	const char *merge_operator;                  /* its name, NULL: none */
	struct table_stats *stats;                   /* NULL: not counted */
	/* Read every block and verify it when the table is opened. */
	bool verify_at_open;
	/*
	 * The largest sequence number that the MANIFEST gives the file, if
	 * known. The entries of an ingested table all have it, while the table
	 * says 0; one is refused when neither knows its number.
	 */
	bool seqno_known;
	uint64_t seqno;
	/* Of no database: entries are as stored, whatever number the properties
	 * say that the table was ingested at. */
	bool external;
};

/*
 * Open a table. Takes f over, also on failure. path is for messages, copied.
 * size must be the file's (CAIRN_ECORRUPT otherwise). opts is copied; what it
 * points to must outlive the table.
 * CAIRN_ECORRUPT, CAIRN_ENOTSUP (newer format, foreign comparator, codec that
 * is missing, ...), CAIRN_EIO, CAIRN_ENOMEM.
 */
MUST_CHECK int table_open(struct rfile *f, const char *path,
			  uint64_t file_number, uint64_t size,
			  const struct table_read_options *opts,
			  struct table **out);
void table_close(struct table *t); /* NULL is allowed */

const struct table_props *table_props(const struct table *t);

/* The range tombstones, not cut to any bounds; NULL when there are none. They
 * live as long as the table. */
const struct range_dels *table_range_dels(const struct table *t);

/*
 * The name of the merge operator that the table's operands are for, when it is
 * not the one of the options; else NULL. Reading such an operand is
 * CAIRN_ENOTSUP, but not for bulk scans. Lives as long as the table.
 */
const char *table_foreign_merge(const struct table *t);

/*
 * The newest version of user_key with seqno <= snapshot. CAIRN_OK: *trailer is
 * set and value pinned; CAIRN_NOT_FOUND. The filter is asked first.
 */
MUST_CHECK int table_get(struct table *t, struct cairn_slice user_key,
			 uint64_t snapshot, bool fill_cache, uint64_t *trailer,
			 struct cairn_pinned *value);

/*
 * One of many gets: what to look for, and what table_get() would have given
 * for it. hash is hash64 of the key.
 */
struct table_probe {
	struct cairn_slice user_key;
	uint64_t snapshot;
	uint64_t hash;
	int result;
	uint64_t trailer;
	struct cairn_pinned value;
	uint32_t block; /* private to table_get_many() */
};

#define TABLE_PROBES_MAX 16

/*
 * Up to TABLE_PROBES_MAX gets at once, in ascending order of keys: cheaper than
 * one by one, because neighbours share blocks, and because the memory that the
 * others need is fetched while one is looked at. Each probe has a result of its
 * own.
 */
void table_get_many(struct table *t, bool fill_cache, struct table_probe *probe,
		    size_t n);

/* How an iterator is going to be used. */
enum table_scan {
	TABLE_SCAN_CACHED,  /* blocks go through the cache */
	TABLE_SCAN_NO_FILL, /* look in the cache, add nothing to it */
	TABLE_SCAN_BULK,    /* compaction: as above, with large reads ahead */
};

/* Over the point entries; the tombstones are its scope. The table must stay
 * open while the iterator lives. */
MUST_CHECK int table_iter_new(struct table *t, enum table_scan scan,
			      struct iter **out);

/* The same without any entry: only the tombstones. */
MUST_CHECK int table_tombs_iter_new(struct table *t, struct iter **out);

/*
 * About where in the file the entries from user_key on begin: the offset of the
 * first block that may have one, and behind them all where the data ends. Reads
 * the index only.
 */
MUST_CHECK int table_offset_of(struct table *t, struct cairn_slice user_key,
			       uint64_t *offset);

/* Read and verify every block; CAIRN_ECORRUPT for the first bad one. */
MUST_CHECK int table_verify(struct table *t);

/* Bytes of memory held by the open table besides cached blocks. */
size_t table_memory(const struct table *t);

#endif
