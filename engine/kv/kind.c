/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/kind.h"

#include "engine/base/error.h"

static const struct {
	uint8_t kind;
	bool known; /* to RocksDB, as an entry of a table's data blocks */
	const char *name;
} kinds[] = {
	{ KIND_DELETE, true, "deletion" },
	{ KIND_PUT, true, "put" },
	{ KIND_MERGE, true, "merge operand" },
	{ KIND_LOG_DATA, false, "log data" },
	{ KIND_SINGLE_DELETE, true, "single deletion" },
	{ KIND_RANGE_DELETE, false, "range deletion" },
	{ KIND_BLOB_INDEX, true, "blob index" },
	{ KIND_TIMESTAMPED_DELETE, true, "deletion with timestamp" },
	{ KIND_ENTITY, true, "wide-column entity" },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

const char *kind_name(uint8_t kind)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "unknown kind";
}

int kind_refuse(uint8_t kind, const char *where)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (kinds[i].kind == kind && kinds[i].known)
			return error_set(CAIRN_ENOTSUP,
					 "%s: entry is a %s (kind 0x%02x), "
					 "which cairn cannot read",
					 where, kinds[i].name, kind);
	return error_set(CAIRN_ECORRUPT,
			 "%s: entry of kind 0x%02x, which no table may hold",
			 where, kind);
}
