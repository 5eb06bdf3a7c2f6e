/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The properties of a table that do not describe the format but what is in the
 * table, RocksDB's "user-collected" ones: gathered by a collector while the
 * table is written, and shown to filters. They share the properties block with
 * the others, whose names begin with "rocksdb.".
 */
#ifndef CAIRN_TABLE_USER_PROPS_H
#define CAIRN_TABLE_USER_PROPS_H

#include "engine/base/buf.h"

/* Of names and values, and what is needed to find them. */
#define USER_PROPS_MAX (4u << 20)

/* Zeroed is empty. */
struct cairn_table_properties {
	struct buf bytes;
	struct user_prop {
		size_t at; /* in bytes: the name, and behind it the value */
		size_t name_len;
		size_t value_len;
	} * prop; /* by name */
	size_t n;
	size_t cap;
};

void user_props_fini(struct cairn_table_properties *u);

/*
 * Add one whose name is above all others'. CAIRN_EINVAL, and nothing is added,
 * when it is not or when there is too much; CAIRN_ENOMEM.
 */
MUST_CHECK int user_props_append(struct cairn_table_properties *u,
				 struct cairn_slice name,
				 struct cairn_slice value);

/* CAIRN_NOT_FOUND; *value lives as long as u is not changed. */
int user_props_find(const struct cairn_table_properties *u,
		    struct cairn_slice name, struct cairn_slice *value);

struct cairn_slice user_props_name(const struct cairn_table_properties *u,
				   size_t i);
struct cairn_slice user_props_value(const struct cairn_table_properties *u,
				    size_t i);

size_t user_props_memory(const struct cairn_table_properties *u);

#endif
