/* SPDX-License-Identifier: BSD-3-Clause */
/* Directories of databases: copied, removed, shown to RocksDB's own tools. */
#ifndef CAIRN_TESTS_COMPAT_DIR_H
#define CAIRN_TESTS_COMPAT_DIR_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_LEN 256

/* A new directory under $TMPDIR or /tmp; its name into path. */
void dir_make_temp(char path[PATH_LEN]);

void dir_remove(const char *path);

void file_copy(const char *from, const char *to);

/*
 * Copy the files of a database as they are, also while it is open and works in
 * the background, as long as nobody writes: what a process would leave that is
 * killed now. Starts over when the MANIFEST changed meanwhile, so that the copy
 * is the state of one moment. to must not exist.
 */
void dir_copy_live(const char *from, const char *to);

/* cairn's own check of a closed database, anybody's: nothing may be wrong. */
void dir_verify(const char *path);

/*
 * RocksDB's tools on a closed database: `ldb checkconsistency`, and with
 * tables `sst_dump --command=verify` of each. False when the tools are not
 * installed; what they object to ends the program.
 */
bool dir_check_with_tools(const char *path, bool tables);

#endif
