/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening on a full disk. What the logs hold stays in memory, nothing is
 * written, and the background error is that of the WAL; when there is space
 * again, recovering from it makes the files that opening could not make, and
 * this is the rest of it.
 */
#ifndef CAIRN_DB_OPEN_LATER_H
#define CAIRN_DB_OPEN_LATER_H

#include "engine/db/open_files.h"

struct open_later;

/* Takes the names in the directory. No locks; nothing runs yet. */
MUST_CHECK int open_later_new(struct cairn_db *db, struct env_names *names);
void open_later_free(struct cairn_db *db);

/* Whether opening has still to be finished: nothing has been written. mu held.
 */
bool open_is_unfinished(struct cairn_db *db);

/* Writes are possible: write the small files, delete what is not needed. Does
 * nothing in a database that was opened as usual. mu held, let go meanwhile. */
void open_finish(struct cairn_db *db);

#endif
