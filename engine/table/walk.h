/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking through a table file, which may be damaged: all that can be checked
 * is checked, each failure is told, and the walk goes on behind it. For
 * verifying, repairing and showing; table.h is for reading.
 *
 * A walk takes the data blocks in the order of the index. Of a table whose
 * index cannot be read, or not all of it, the blocks are looked for on request
 * (see salvage.h).
 */
#ifndef CAIRN_TABLE_WALK_H
#define CAIRN_TABLE_WALK_H

#include "engine/table/block_reader.h"
#include "engine/table/bloom.h"
#include "engine/table/index.h"
#include "engine/table/props.h"

/* What the MANIFEST says of a file, as far as it is known. */
struct walk_limits {
	bool known;
	struct ikey smallest; /* of point entries; inclusive */
	struct ikey largest;
	bool seqnos_known;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
};

enum walk_kind {
	WALK_DATA,
	WALK_INDEX,
	WALK_FILTER,
	WALK_DICT,
	WALK_RANGE_DEL,
	WALK_PROPS,
	WALK_METAINDEX,
	WALK_FOOTER,
	WALK_OTHER,
};

/* "data block", "index", ... */
const char *walk_kind_name(enum walk_kind kind);

/* A failure, whose message is cairn_errmsg(). */
struct walk_damage {
	int code; /* CAIRN_ECORRUPT, CAIRN_EIO or CAIRN_ENOTSUP */
	enum walk_kind kind;
	bool has_place;
	struct block_handle place;
};

/*
 * User keys of bad data blocks: from the one before them to the one behind
 * them, of which versions may be lost, too. Unknown ends have data NULL.
 */
struct walk_span {
	uint64_t blocks;
	uint64_t bytes;
	struct cairn_slice from;
	struct cairn_slice to;
};

struct walk_block {
	enum walk_kind kind;
	struct block_handle handle;
	uint8_t codec;
	uint64_t raw_len;
	uint64_t entries; /* of data blocks, range tombstones, index blocks */
	struct cairn_slice last_key; /* of data blocks: internal */
	bool bad;
};

struct walk_entry {
	struct ikey key;
	struct cairn_slice value;
	struct block_handle block;
};

/*
 * Each may be NULL. What is not CAIRN_OK ends the walk and is returned by it.
 * Bytes live during the call.
 */
struct walk_visitor {
	void *ctx;
	int (*damage)(void *ctx, const struct walk_damage *d);
	int (*lost)(void *ctx, const struct walk_span *s);
	int (*block)(void *ctx, const struct walk_block *b);
	/* Entries, and range tombstones with the end key as value. */
	int (*entry)(void *ctx, const struct walk_entry *e);
	int (*property)(void *ctx, struct cairn_slice name,
			struct cairn_slice value);
};

/* What was found. Of entries that could be read only. */
struct walk_result {
	uint64_t damages;
	bool misfit;     /* entries are not where the limits say */
	bool unknown;    /* something in it is not supported */
	bool tombs_lost; /* range tombstones cannot be read */
	uint64_t blocks; /* data blocks that the index names */
	uint64_t bad_blocks;
	uint64_t bad_bytes;
	uint64_t entries; /* range tombstones not included */
	uint64_t deletions;
	uint64_t merges;
	uint64_t range_dels;
	uint64_t raw_key_bytes; /* range tombstones included */
	uint64_t raw_value_bytes;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	/* Internal keys; range tombstones included, their ends as bounds. Empty
	 * when there is nothing. */
	struct buf smallest;
	struct buf largest;
};
void walk_result_fini(struct walk_result *r);
/* Widen the bounds to take in *low and *high. CAIRN_ENOMEM. */
MUST_CHECK int walk_result_extend(struct walk_result *r, const struct ikey *low,
				  const struct ikey *high);

struct table_walk;

/*
 * Begin with a file of the given size. f is taken over, also on failure; path
 * is for messages, copied. Reads everything but data blocks; failures are told
 * to v by table_walk_run(). CAIRN_ENOMEM only.
 */
MUST_CHECK int table_walk_open(struct rfile *f, const char *path, uint64_t size,
			       const struct walk_limits *limits,
			       struct table_walk **out);
void table_walk_close(struct table_walk *w); /* NULL is allowed */

/*
 * Look at everything. limits of table_walk_open() count here. out is zeroed
 * before and to be finished in any case. CAIRN_OK also when damage was found.
 */
MUST_CHECK int table_walk_run(struct table_walk *w,
			      const struct walk_visitor *v,
			      struct walk_result *out);

/* For showing. NULL when the footer cannot be read. */
const struct footer *table_walk_footer(const struct table_walk *w);
const struct table_props *table_walk_props(const struct table_walk *w);
bool table_walk_has_props(const struct table_walk *w);
/* Data blocks that the index names; 0 when not all of it could be read. */
uint64_t table_walk_blocks(const struct table_walk *w);
bool table_walk_index_is_whole(const struct table_walk *w);
/* Of another column family than the default one, by its properties. */
bool table_walk_other_family(const struct table_walk *w);
/* An ingested table whose sequence number nobody knows. */
bool table_walk_seqno_unknown(const struct table_walk *w);

#endif
