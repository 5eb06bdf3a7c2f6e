/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of the files of a database (RocksDB's file/filename.cc). */
#ifndef CAIRN_VERSION_FILENAME_H
#define CAIRN_VERSION_FILENAME_H

#include "engine/base/slice.h"

enum file_kind {
	FILE_UNKNOWN, /* not ours: never touched */
	FILE_CURRENT,
	FILE_LOCK,
	FILE_IDENTITY,
	FILE_INFO_LOG, /* LOG, LOG.old.* */
	FILE_MANIFEST,
	FILE_WAL,
	FILE_TABLE, /* .sst */
	FILE_TABLE_LDB,
	FILE_OPTIONS,
	FILE_TEMP, /* .dbtmp */
	FILE_BLOB,
};

/* The kind of a name without its directory; *number 0 when it has none. */
enum file_kind filename_parse(const char *name, uint64_t *number);

/* "DIR/NNNNNN.suffix" and so on, malloc'ed; NULL: no memory. */
char *filename_table(const char *dir, uint64_t number);
char *filename_table_ldb(const char *dir, uint64_t number);
char *filename_wal(const char *dir, uint64_t number);
char *filename_manifest(const char *dir, uint64_t number);
char *filename_options(const char *dir, uint64_t number);
char *filename_temp(const char *dir, uint64_t number);
char *filename_in(const char *dir, const char *name);
/* The directory that path is in, "." when path does not say. */
char *filename_parent(const char *path);

#endif
