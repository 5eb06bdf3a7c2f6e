/* SPDX-License-Identifier: BSD-3-Clause */
/* A table that is walked, from within: shared by walk.c and salvage.c. */
#ifndef CAIRN_TABLE_WALK_PRIV_H
#define CAIRN_TABLE_WALK_PRIV_H

#include "engine/table/walk.h"

/* A block that the metaindex or the footer names. */
struct walk_meta {
	bool there;
	struct block_handle handle;
};

/* A failure of table_walk_open(), told later. */
struct walk_note {
	struct walk_damage damage;
	char *message;
};

struct walk_leaf {
	struct block_handle handle;
	bool bad;
	struct index index;
};

struct table_walk {
	struct block_source source;
	char *path;
	struct walk_limits limits;
	struct buf smallest; /* of the limits */
	struct buf largest;

	struct footer footer;
	bool has_footer;
	struct table_props props;
	bool has_props;
	struct buf props_bytes;
	bool other_family;
	bool seqno_unknown;
	bool foreign_order; /* of keys: nothing in it can be judged */
	uint64_t seqno_bits;

	struct walk_meta metaindex;
	struct walk_meta range_del;
	struct walk_meta dict_block;
	struct walk_meta props_block;
	struct walk_meta filter_block;
	bool filter_parted;
	struct block_dict *dict;
	bool dict_bad;

	struct index_format format;
	bool format_guessed;
	bool two_level;
	bool index_bad;   /* whole or in part */
	struct index top; /* of two levels */
	struct block_handle top_handle;
	struct walk_leaf *leaf;
	size_t n_leaves;

	uint8_t *filter; /* a whole one */
	struct bloom bloom;
	struct index filter_parts;

	struct walk_note *notes;
	size_t n_notes;
};

/* Read and check the block at h; contents are in *reuse or in the window. */
MUST_CHECK int table_walk_read(struct table_walk *w, struct read_window *window,
			       struct block_handle h, bool data,
			       struct buf *reuse, struct cairn_slice *contents,
			       uint8_t *codec);

/* Whether a failure to read a block counts as damage of the file. */
static inline bool walk_is_damage(int err)
{
	return err == CAIRN_ECORRUPT || err == CAIRN_EIO ||
	       err == CAIRN_ENOTSUP;
}

/*
 * Read again what the metaindex names, and the index, after another place for
 * them was found. What fails is left out. CAIRN_ENOMEM only.
 */
MUST_CHECK int table_walk_reread_metas(struct table_walk *w);
MUST_CHECK int table_walk_reread_index(struct table_walk *w);

/* Where the data blocks end at the latest. */
uint64_t table_walk_data_end(const struct table_walk *w);

#endif
