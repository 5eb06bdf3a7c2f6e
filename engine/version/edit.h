/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One record of the MANIFEST: what changed from one version to the next
 * (RocksDB's db/version_edit.cc). All tags of 7.8.3 are read; those that
 * cannot be honoured (blob files, several paths) are CAIRN_ENOTSUP, and
 * unknown ones are skipped or refused as their bits say.
 */
#ifndef CAIRN_VERSION_EDIT_H
#define CAIRN_VERSION_EDIT_H

#include "engine/base/buf.h"
#include "engine/version/file_meta.h"

struct version_edit_file {
	int level;
	struct file_meta *meta; /* a reference of the edit's own */
};

struct version_edit_deletion {
	int level;
	uint64_t number;
};

/* RocksDB's note that a log was closed (track_and_verify_wals_in_manifest). */
struct version_edit_wal {
	uint64_t number;
	uint64_t size; /* synced, at least so many bytes; 0: not told */
};

struct version_edit {
	bool has_comparator;
	bool has_log_number;
	bool has_prev_log_number;
	bool has_next_file_number;
	bool has_last_seqno;
	bool has_min_log_to_keep;
	bool has_family_add;
	bool family_drop;
	bool in_atomic_group;
	char *comparator;  /* owned */
	char *family_name; /* owned; of family_add */
	char *db_id;       /* owned; NULL when absent */
	uint32_t family;   /* the column family the edit applies to */
	uint32_t max_family;
	uint32_t group_remaining;
	uint64_t log_number;
	uint64_t prev_log_number;
	uint64_t next_file_number;
	uint64_t last_seqno;
	uint64_t min_log_to_keep;

	struct version_edit_file *added;
	size_t n_added;
	struct version_edit_deletion *deleted;
	size_t n_deleted;
	/* Only decoded: cairn writes none. First come the deletions. */
	uint64_t wals_gone_below;
	struct version_edit_wal *wals;
	size_t n_wals;
};

/* A zeroed struct is an empty edit. fini drops what it owns. */
void version_edit_fini(struct version_edit *e);

/* Takes a reference of its own on meta. */
MUST_CHECK int version_edit_add_file(struct version_edit *e, int level,
				     struct file_meta *meta);
MUST_CHECK int version_edit_delete_file(struct version_edit *e, int level,
					uint64_t number);

/* Append the edit's record to out. */
MUST_CHECK int version_edit_encode(const struct version_edit *e,
				   struct buf *out);

/* e must be empty; on failure it is empty again. */
MUST_CHECK int version_edit_decode(struct cairn_slice record,
				   struct version_edit *e);

#endif
