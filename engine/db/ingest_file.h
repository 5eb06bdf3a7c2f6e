/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An external table on its way into the database: looked at where it is,
 * brought into the directory under a number of its own, and read from there.
 */
#ifndef CAIRN_DB_INGEST_FILE_H
#define CAIRN_DB_INGEST_FILE_H

#include "engine/db/db.h"

struct ingest_file {
	const char *path; /* as given, borrowed; in all messages */
	uint64_t size;
	uint64_t entries;
	uint64_t deletions;
	uint64_t range_deletions;
	uint64_t creation_time; /* seconds; 0: the table does not say */

	/* Bounds, encoded internal keys, but for their numbers as the MANIFEST
	 * will have them; and parsed, borrowing. */
	struct buf smallest;
	struct buf largest;
	struct ikey smallest_key;
	struct ikey largest_key;

	/* Once it is in the directory. */
	uint64_t number;
	char *own_path; /* NULL: it is not */
};

void ingest_file_fini(struct ingest_file *f);

/*
 * Whether the table at f->path can be ingested, as far as its end and its
 * properties tell; fills in what is above but for number and own_path. Results
 * as of cairn_ingest().
 */
MUST_CHECK int ingest_file_look(struct cairn_db *db, struct ingest_file *f);

/*
 * Link or copy it into the directory. Its contents are durable then, but not
 * its name.
 */
MUST_CHECK int ingest_file_bring(struct cairn_db *db,
				 enum cairn_ingest_mode mode,
				 struct ingest_file *f);

/* Look at what was brought, and read all of it. */
MUST_CHECK int ingest_file_verify(struct cairn_db *db, struct ingest_file *f);

/* Remove what was brought. The message of the failure before stays. */
void ingest_file_take_back(struct cairn_db *db, struct ingest_file *f);

/* What the MANIFEST is to say of it when all its entries have seqno. */
MUST_CHECK int ingest_file_meta(const struct ingest_file *f, uint64_t seqno,
				uint64_t now, struct file_meta **out);

#endif
