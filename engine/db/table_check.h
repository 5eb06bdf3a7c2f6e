/* SPDX-License-Identifier: BSD-3-Clause */
/* One table of a database, checked by its walk; for verify.c and repair.c. */
#ifndef CAIRN_DB_TABLE_CHECK_H
#define CAIRN_DB_TABLE_CHECK_H

#include "engine/db/db.h"
#include "engine/db/finding.h"
#include "engine/env/env.h"
#include "engine/version/file_meta.h"

/*
 * The path of a table, malloc'ed: DIR/N.sst, or DIR/N.ldb when that is there
 * instead. CAIRN_NOT_FOUND when neither is. *size is the file's.
 */
MUST_CHECK int table_find(struct cairn_env *env, const char *dir,
			  uint64_t number, char **path, uint64_t *size);

/* What the MANIFEST says of a table; meta may be NULL. */
void table_limits(const struct file_meta *meta, struct walk_limits *out);

/* Tell that all keys between a table's bounds may be lost; meta may be NULL. */
MUST_CHECK int table_tell_all_lost(struct finder *f, const char *path,
				   const struct file_meta *meta,
				   const char *what);

/* Tell that a table that the MANIFEST names cannot be found. */
MUST_CHECK int table_tell_missing(struct finder *f, const char *dir,
				  const struct file_meta *meta);

/*
 * Walk a table and tell what is wrong with it. meta NULL: nothing is known of
 * it. *walk may be NULL; else it is the walk, to be closed, NULL on failure.
 * *r is zeroed before and to be finished in any case. CAIRN_OK whatever was
 * found, unless the finder says otherwise.
 */
MUST_CHECK int table_check(struct cairn_env *env, const char *path,
			   uint64_t size, const struct file_meta *meta,
			   struct finder *f, struct walk_result *r,
			   struct table_walk **walk);

/*
 * What recover_check_logs() and check_lost_records() need of a database that is
 * not open. All is borrowed; nothing is to be freed.
 */
void db_for_check(struct cairn_db *db, struct cairn_env *env, const char *dir,
		  struct version_set *versions);

#endif
