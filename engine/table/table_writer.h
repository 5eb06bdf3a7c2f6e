/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Turns entries in ascending internal-key order into a table file: format
 * version 5, XXH3 checksums, one binary-search index, one full bloom filter.
 * Not thread-safe.
 */
#ifndef CAIRN_TABLE_TABLE_WRITER_H
#define CAIRN_TABLE_TABLE_WRITER_H

#include "engine/env/env.h"
#include "engine/kv/range_del.h"
#include "engine/table/props.h"

/* The type byte behind a block. */
enum table_codec {
	TABLE_CODEC_NONE = 0,
	TABLE_CODEC_SNAPPY = 1,
	TABLE_CODEC_ZSTD = 7,
};

struct table_write_options {
	size_t block_size;
	unsigned restart_interval;
	enum table_codec codec;
	int zstd_level;
	double bloom_bits_per_key;                   /* 0: no filter */
	const struct cairn_prefix_extractor *prefix; /* NULL: none */
	const char *merge_operator;                  /* its name, NULL: none */
	const struct cairn_table_collector *collector; /* NULL: none */
	uint64_t bytes_per_sync; /* 0: no writeback hints */
	uint64_t creation_time;  /* seconds since 1970, into the properties */
	/*
	 * To be ingested: of no column family, and with a global sequence
	 * number, which is 0 as long as nobody has given it one. All entries
	 * must have sequence number 0.
	 */
	bool external;
};

struct table_writer;

/*
 * Write to f, which is borrowed: the caller syncs and closes it. opts is
 * copied. path is for messages, copied.
 */
MUST_CHECK int table_writer_new(struct wfile *f, const char *path,
				const struct table_write_options *opts,
				struct table_writer **out);

/* key must be greater than the one before it (asserted). After a failure only
 * table_writer_free() may follow. */
MUST_CHECK int table_writer_add(struct table_writer *w, const struct ikey *key,
				struct cairn_slice value);

/*
 * Add a range tombstone, between any two entries: by ascending start, those of
 * one start by descending seqno (asserted). Readers take them to reach no
 * further than the bounds in the summary.
 */
MUST_CHECK int table_writer_add_range(struct table_writer *w,
				      const struct range_del *d);

/* Bytes written, plus a fair guess for what is still in memory. */
uint64_t table_writer_size(const struct table_writer *w);
uint64_t table_writer_entries(const struct table_writer *w);

/*
 * What finish found; keys are encoded internal keys, malloc'ed. The bounds are
 * RocksDB's: a range tombstone reaches from its start at its own seqno to its
 * end at the highest one, which sorts before all entries of that key.
 */
struct table_summary {
	uint64_t size;
	uint64_t entries; /* range tombstones included, as in deletions */
	uint64_t deletions;
	uint64_t range_deletions;
	bool dense; /* table_props_is_dense() */
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	struct cairn_slice smallest;
	struct cairn_slice largest;
	/* Of the point entries only; no bytes when there are none. */
	struct cairn_slice first_key;
	struct cairn_slice last_key;
};
void table_summary_fini(struct table_summary *s);

/* Write what remains, footer last; at least one entry or tombstone must have
 * been added. */
MUST_CHECK int table_writer_finish(struct table_writer *w,
				   struct table_summary *out);

void table_writer_free(struct table_writer *w); /* NULL is allowed */

#endif
