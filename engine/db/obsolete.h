/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that nobody needs any more, and the thread that deletes them.
 *
 * A table that an edit dropped is first a zombie: readers may still hold a
 * version with it. When no version has it, it is obsolete: its blocks leave the
 * caches and the file is deleted. Logs and MANIFESTs are obsolete at once. All
 * of this happens after the edit that drops them is durable, and never by
 * looking through the directory, except for what a crash left when opening. The
 * option delete_rate spreads it.
 */
#ifndef CAIRN_DB_OBSOLETE_H
#define CAIRN_DB_OBSOLETE_H

#include "engine/db/db.h"
#include "engine/version/filename.h"

struct obsolete;

/* The thread runs from here on. */
MUST_CHECK int obsolete_new(struct cairn_db *db, struct obsolete **out);
/* Delete what is obsolete by now and end the thread. NULL is allowed. */
void obsolete_free(struct obsolete *o);

/* The functions below need mu held. What finds no memory is not remembered: the
 * file stays until the next open finds it. */

/* The tables that edit deletes and does not add elsewhere. */
void obsolete_drop_tables(struct obsolete *o, const struct version_edit *edit,
			  const struct version *before);

/*
 * The tables that edit adds: it failed in a way that leaves open whether it
 * will be found after a crash. Deleted by obsolete_edit_settled(), once a newer
 * MANIFEST is in force.
 */
void obsolete_edit_unknown(struct obsolete *o, const struct version_edit *edit);
void obsolete_edit_settled(struct obsolete *o);

/* A file that is not needed from now on. */
void obsolete_add(struct obsolete *o, enum file_kind kind, uint64_t number,
		  uint64_t size);

/* The same, under a name that number alone does not tell; copied. */
void obsolete_add_named(struct obsolete *o, enum file_kind kind,
			const char *name, uint64_t number, uint64_t size);

/* A log that has been filled; deleted when log_number is beyond it. */
void obsolete_add_wal(struct obsolete *o, uint64_t number, uint64_t size);
void obsolete_wals_below(struct obsolete *o, uint64_t log_number);

/* The numbers and sizes of the filled logs that may still be needed, appended
 * to out as struct obsolete_wal, ascending. */
struct obsolete_wal {
	uint64_t number;
	uint64_t size;
};
MUST_CHECK int obsolete_list_wals(const struct obsolete *o, struct buf *out);

/* Bytes of the filled logs that may still be needed. */
uint64_t obsolete_wal_bytes(const struct obsolete *o);

/* Delete nothing before as many calls of the second as there were of the first.
 */
void obsolete_hold(struct obsolete *o);
void obsolete_release(struct obsolete *o);

/* Let the thread look again. Any locks. */
void obsolete_wake(struct obsolete *o);

struct obsolete_counts {
	uint64_t wal_files; /* filled, and still needed */
	uint64_t wal_bytes;
	uint64_t zombie_bytes;   /* of tables that readers hold */
	uint64_t obsolete_bytes; /* of tables waiting for deletion */
	uint64_t other_bytes;    /* logs and others waiting for deletion */
};
void obsolete_count(const struct obsolete *o, struct obsolete_counts *out);

#endif
