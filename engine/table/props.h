/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Table properties (formats: RocksDB's table/meta_blocks.cc): an ordinary
 * block of name -> value, names in bytewise order, numbers as varint64 unless
 * noted there.
 */
#ifndef CAIRN_TABLE_PROPS_H
#define CAIRN_TABLE_PROPS_H

#include "engine/table/user_props.h"

enum table_index_type {
	TABLE_INDEX_BINARY = 0,
	TABLE_INDEX_HASH = 1,
	TABLE_INDEX_TWO_LEVEL = 2,
	TABLE_INDEX_FIRST_KEY = 3,
};

/* The column family of a table that is made to be ingested somewhere. */
#define PROPS_FAMILY_UNKNOWN 0x7fffffffu

struct table_props {
	uint64_t entries;   /* point entries and range tombstones */
	uint64_t deletions; /* deletes, single deletes, range tombstones */
	uint64_t merges;
	uint64_t range_deletions;
	uint64_t raw_key_bytes; /* internal keys */
	uint64_t raw_value_bytes;
	uint64_t data_bytes;
	uint64_t index_bytes;
	uint64_t filter_bytes;
	uint64_t data_blocks;
	uint64_t filter_entries;
	/* Data blocks with many tombstones in them: cairn's own, RocksDB hands
	 * it on to its users. */
	uint64_t tombstone_blocks;
	uint64_t creation_time; /* seconds since 1970 */
	uint64_t file_creation_time;
	uint64_t oldest_key_time;

	enum table_index_type index_type;
	bool index_key_is_user_key;
	bool index_value_is_delta;
	bool whole_key_filtering;
	bool prefix_filtering;

	uint64_t family_id; /* of the column family; 0: "default" */

	/* Ingested tables. */
	bool has_external_version;
	uint32_t external_version;
	bool has_global_seqno;
	uint64_t global_seqno;

	/* Owned, NUL-terminated, never NULL; "" when absent. */
	char *comparator;
	char *merge_operator;
	char *prefix_extractor;
	char *filter_policy;
	char *compression;
	char *collectors; /* their names, as "[NAME]" or "[]" */

	/* What the collectors gathered. Decoding leaves them out, all of them,
	 * when they are out of order or far too many. */
	struct cairn_table_properties user;
};

/* Decode the uncompressed contents of a properties block. */
MUST_CHECK int table_props_decode(struct cairn_slice block,
				  struct table_props *out);

/* Encode as a block's contents (restart array included). */
MUST_CHECK int table_props_encode(const struct table_props *p, struct buf *out);

/* Whether much of the table's key space is hardly anything but tombstones. */
bool table_props_is_dense(const struct table_props *p);

/* Frees the strings; safe on a zeroed struct. */
void table_props_fini(struct table_props *p);

#endif
