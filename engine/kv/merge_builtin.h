/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RocksDB's merge operators (utilities/merge_operators): those that a store
 * can name in its OPTIONS and that cairn has, too.
 *
 *   UInt64AddOperator         sum of little-endian 64-bit numbers; what is not
 *                             8 bytes long counts as 0
 *   StringAppendOperator      existing value and operands with a delimiter in
 *   StringAppendTESTOperator  between; the second never merges partially
 */
#ifndef CAIRN_KV_MERGE_BUILTIN_H
#define CAIRN_KV_MERGE_BUILTIN_H

#include "engine/base/buf.h"

struct merge_builtin {
	struct cairn_merge_operator op; /* its ctx is the struct itself */
	struct buf delimiter;
};

/*
 * The operator that text means: a name, one of RocksDB's short ones (uint64add,
 * stringappend, stringappendtest), or {id=NAME;delimiter=TEXT;} as in OPTIONS.
 * CAIRN_NOT_FOUND when it is none of these; CAIRN_EINVAL, saying why, for one
 * of these that is told something it does not know.
 */
MUST_CHECK int merge_builtin_new(const char *text, struct merge_builtin **out);
MUST_CHECK int merge_builtin_clone(const struct merge_builtin *b,
				   struct merge_builtin **out);
void merge_builtin_free(struct merge_builtin *b); /* NULL is allowed */

/* Append what OPTIONS is to say. */
MUST_CHECK int merge_builtin_format(const struct merge_builtin *b,
				    struct buf *out);

/* The name in a text as above, borrowed from it. */
struct cairn_slice merge_text_name(const char *text);

#endif
