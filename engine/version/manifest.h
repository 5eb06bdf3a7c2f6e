/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a MANIFEST from its first edit to its last. Private to version_set.
 *
 * Edits are not applied one by one, which would copy all files for each: they
 * are gathered in a table by file number, and one version is made at the end.
 */
#ifndef CAIRN_VERSION_MANIFEST_H
#define CAIRN_VERSION_MANIFEST_H

#include "engine/env/env.h"
#include "engine/version/version_set.h"

#define MANIFEST_COMPARATOR "leveldb.BytewiseComparator"

struct manifest {
	struct version *version;
	uint64_t next_file_number;      /* above every number met */
	uint64_t last_seqno;            /* at least that of every live table */
	uint64_t bytes;                 /* of the file */
	struct version_set_state state; /* manifest_number is the caller's */
};
void manifest_fini(struct manifest *m);

/*
 * Replay the file. leveldb in the state is set when nothing in it is
 * RocksDB's. CAIRN_NOT_FOUND: no such file.
 */
MUST_CHECK int manifest_read(struct cairn_env *env, const char *path,
			     struct manifest *out);

#endif
