/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a LevelDB directory RocksDB's, on the way of being opened for writing.
 *
 * LevelDB's MANIFEST does not say which sequence numbers a table holds; RocksDB
 * must know, so every table is read. And it calls tables NNNNNN.ldb, which
 * RocksDB finds for some purposes and not for others; so each gets a second
 * name. Neither changes anything for LevelDB: the directory is its own until
 * CURRENT names the new MANIFEST, and RocksDB's from then on. The old names are
 * removed after that (files_sweep()).
 */
#ifndef CAIRN_DB_UPGRADE_H
#define CAIRN_DB_UPGRADE_H

#include "engine/db/db.h"

/*
 * Read all tables of the current version; edit then replaces each by itself
 * with its numbers known. CAIRN_ECORRUPT for a damaged table, CAIRN_ENOTSUP for
 * level 0 tables that cannot be put into RocksDB's order. Changes no file.
 */
MUST_CHECK int upgrade_read_tables(struct cairn_db *db,
				   struct version_edit *edit);

/* Make the second names. To be undone by removing them. */
MUST_CHECK int upgrade_link_tables(struct cairn_db *db,
				   const struct env_names *names);

#endif
