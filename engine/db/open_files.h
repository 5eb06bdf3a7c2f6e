/* SPDX-License-Identifier: BSD-3-Clause */
/* The files of a directory that opening looks at, makes and removes, besides
 * MANIFEST and logs: OPTIONS, IDENTITY, and what a crash left. */
#ifndef CAIRN_DB_OPEN_FILES_H
#define CAIRN_DB_OPEN_FILES_H

#include "engine/db/db.h"
#include "engine/db/store_options.h"

bool names_have(const struct env_names *names, const char *name);

/* CAIRN_ENOTSUP for directories of Pebble's. */
MUST_CHECK int files_check_foreign(const char *dir,
				   const struct env_names *names);

/*
 * There is no CURRENT, and a database is to be made. CAIRN_ECORRUPT when there
 * are files of one that would be lost: tables, or logs with something in them.
 * What a creation that was cut short left is no reason.
 */
MUST_CHECK int files_check_empty(struct cairn_env *env, const char *dir,
				 const struct env_names *names);

/*
 * Read the newest OPTIONS and refuse what cannot be honoured. out is as it was
 * when there is none.
 */
MUST_CHECK int files_read_options(struct cairn_env *env, const char *dir,
				  const struct env_names *names,
				  struct options_file *out);

/* The highest number of any file. */
uint64_t files_max_number(const struct env_names *names);

/* The numbers of the logs from least on, and that of extra (0: none),
 * ascending, malloc'ed. */
MUST_CHECK int files_logs(const struct env_names *names, uint64_t least,
			  uint64_t extra, uint64_t **out, size_t *n);

/* Write OPTIONS, if it differs from the newest one. */
MUST_CHECK int files_write_options(struct cairn_db *db,
				   const struct env_names *names,
				   uint64_t number, bool *written);

/* Write an IDENTITY that no other database has into dir. */
MUST_CHECK int files_new_identity(struct cairn_env *env, const char *dir,
				  uint64_t tmp_number);

/* The newest OPTIONS, 0: there is none. */
uint64_t files_newest_options(const struct env_names *names);

/* Write IDENTITY, if it is missing; tmp_number names the temporary file. */
MUST_CHECK int files_write_identity(struct cairn_db *db,
				    const struct env_names *names,
				    uint64_t tmp_number);

/*
 * Tell the table cache which sequence number the MANIFEST gives to the tables
 * that may be ingested ones: those of a single number, 0 included.
 */
MUST_CHECK int files_tell_seqnos(struct cairn_db *db);

/*
 * Give what is not needed any more to the deleter: tables that are not live,
 * old logs and MANIFESTs, all but two OPTIONS, temporary files, LevelDB's names
 * of tables that have RocksDB's as well. names is from before anything was
 * written; upgraded: since then all tables have got RocksDB's. No locks.
 */
void files_sweep(struct cairn_db *db, const struct env_names *names,
		 bool new_options, bool upgraded);

/*
 * Leave out of names the tables and the MANIFEST in use: for a sweep that comes
 * after the database has begun to work, when what drops them has them deleted,
 * after their readers.
 */
MUST_CHECK int files_skip_used(struct cairn_db *db, struct env_names *names);

#endif
