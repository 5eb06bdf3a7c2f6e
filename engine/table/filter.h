/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes into a table's filter: the user keys, each once however many
 * versions it has, and with a prefix extractor the prefixes of those that have
 * one, each once per run. The bits are bloom.h's.
 */
#ifndef CAIRN_TABLE_FILTER_H
#define CAIRN_TABLE_FILTER_H

#include "engine/table/bloom.h"

/* The metaindex keys, and the value of the property rocksdb.filter.policy. */
#define FILTER_FULL_KEY        "fullfilter.rocksdb.BuiltinBloomFilter"
#define FILTER_PARTITIONED_KEY "partitionedfilter.rocksdb.BuiltinBloomFilter"
#define FILTER_POLICY_NAME     "bloomfilter"

struct filter_builder {
	uint32_t millibits; /* 0: makes no filter */
	const struct cairn_prefix_extractor *px;
	struct buf hashes; /* uint64_t each */
	bool any;
	uint64_t last_key;
	bool any_prefix;
	uint64_t last_prefix;
};

/* px may be NULL; borrowed. */
void filter_builder_init(struct filter_builder *b, double bits_per_key,
			 const struct cairn_prefix_extractor *px);
void filter_builder_fini(struct filter_builder *b); /* safe when zeroed */

/* Keys come in ascending order, versions of one key in a row. */
MUST_CHECK int filter_builder_add(struct filter_builder *b,
				  struct cairn_slice user_key);

/* How many keys and prefixes have been added. */
uint64_t filter_builder_entries(const struct filter_builder *b);
/* About how long the block is going to be. */
size_t filter_builder_size(const struct filter_builder *b);

/* Append the filter block to out; only when millibits is not 0. */
MUST_CHECK int filter_builder_finish(struct filter_builder *b, struct buf *out);

#endif
