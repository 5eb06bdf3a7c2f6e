/* SPDX-License-Identifier: BSD-3-Clause */
/* An open table from within: shared by table*.c. */
#ifndef CAIRN_TABLE_TABLE_PRIV_H
#define CAIRN_TABLE_TABLE_PRIV_H

#include "engine/table/block.h"
#include "engine/table/block_cache_pin.h"
#include "engine/table/block_reader.h"
#include "engine/table/bloom.h"
#include "engine/table/index.h"
#include "engine/table/table.h"

/* The three kinds of blocks that are cached. */
struct data_block {
	struct cache_value base;
	struct block block; /* indexed; arrays and contents follow */
};

struct index_block {
	struct cache_value base;
	struct index index;
};

struct filter_block {
	struct cache_value base;
	struct bloom bloom; /* the bits follow the struct */
};

enum table_filter_kind {
	TABLE_FILTER_NONE,
	TABLE_FILTER_FULL,
	TABLE_FILTER_PARTITIONED,
};

struct table_filter {
	enum table_filter_kind kind;
	bool whole;  /* may be asked about whole keys */
	bool prefix; /* may be asked about prefixes */
	struct filter_block *full;
	struct index parts;
};

struct table {
	struct block_source source;
	char *path;
	uint64_t number;
	struct table_read_options opts;
	struct footer footer;
	struct table_props props;
	bool has_props;
	struct block_dict *dict; /* of the data blocks; may be NULL */
	/* Of the whole table, or, with partitions, of the parts. */
	struct index index;
	struct index_format index_format;
	bool two_level;
	struct table_filter filter;
	uint64_t seqno_bits;           /* see struct block_iter */
	struct range_dels *range_dels; /* NULL: none */
	uint64_t n_range_dels;         /* entries of their block */
	uint32_t kinds;                /* that readers are given */
	size_t memory;
};

/*
 * Pin the block at h, from the cache or from the file. *loaded, unless NULL,
 * says that it was read from the file.
 */
MUST_CHECK int table_pin(struct table *t, enum cache_kind kind,
			 struct block_handle h,
			 _Atomic(struct block_handle_ref *) *slot, bool fill,
			 bool *loaded, struct cache_pin *out);

/* Read an index block, or a part of one; window may be NULL. */
MUST_CHECK int table_load_index(struct table *t, struct block_handle h,
				const struct read_window *window,
				struct index *out);

/* Read a filter, or a part of one; window may be NULL. Freed by base.free. */
MUST_CHECK int table_load_filter(struct table *t, struct block_handle h,
				 const struct read_window *window,
				 struct filter_block **out);

/* The number of index parts; a table without partitions has one. */
static inline uint32_t table_index_parts(const struct table *t)
{
	return t->two_level ? t->index.n : 1;
}

/*
 * Index part i: *out lives as long as pin, which is released by the caller
 * also when it is empty.
 */
MUST_CHECK int table_index_part(struct table *t, uint32_t i, bool fill,
				struct cache_pin *pin,
				const struct index **out);

/*
 * Ask the filter about probe, which is a key or a prefix; where is the key
 * that is looked for. CAIRN_OK: may be there, CAIRN_NOT_FOUND: is not.
 */
MUST_CHECK int table_filter_check(struct table *t, struct cairn_slice probe,
				  const struct ikey *where, bool fill);

/* The kinds of entries that can be given to readers, as bits. */
#define TABLE_KINDS                                                            \
	(1u << KIND_DELETE | 1u << KIND_PUT | 1u << KIND_MERGE |               \
	 1u << KIND_SINGLE_DELETE)

static inline bool table_kind_among(uint8_t kind, uint32_t kinds)
{
	return kind < 32 && kinds >> kind & 1;
}

/* The failure for an entry of a kind that is not among t->kinds. */
int table_refuse_kind(const struct table *t, uint8_t kind);

/*
 * Fetch what a seek reads of a block for certain, its struct and the arrays,
 * at once: one after the other they would be as many cache misses.
 */
static inline void data_block_prefetch(const struct data_block *b)
{
	for (size_t i = 0; i < 6; i++)
		__builtin_prefetch((const uint8_t *)b + i * 64);
}

/* Have on_close(ctx) called when the iterator has been closed. */
void table_iter_on_close(struct iter *it, void (*on_close)(void *ctx),
			 void *ctx);

#endif
