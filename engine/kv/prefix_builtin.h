/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RocksDB's prefix extractors (util/slice.cc) that a store can name in its
 * OPTIONS:
 *
 *   rocksdb.FixedPrefix.N   the first N bytes; shorter keys have no prefix
 *   rocksdb.CappedPrefix.N  the first N bytes, or all there are
 */
#ifndef CAIRN_KV_PREFIX_BUILTIN_H
#define CAIRN_KV_PREFIX_BUILTIN_H

#include "engine/base/slice.h"

struct prefix_builtin {
	struct cairn_prefix_extractor px; /* its ctx is the struct itself */
	char name[40];
	size_t len;
};

/* CAIRN_NOT_FOUND when name is none of the above. */
MUST_CHECK int prefix_builtin_new(const char *name,
				  struct prefix_builtin **out);
void prefix_builtin_free(struct prefix_builtin *p); /* NULL is allowed */

#endif
