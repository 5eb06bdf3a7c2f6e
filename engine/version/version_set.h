/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The current version, and the MANIFEST that makes it durable.
 *
 * One thread at a time may call version_set_log(); all else is guarded by the
 * database mutex, said to be "mu" below. Numbers (next file, last seqno) are
 * atomics and may be read by anyone.
 */
#ifndef CAIRN_VERSION_VERSION_SET_H
#define CAIRN_VERSION_VERSION_SET_H

#include "engine/base/sync.h"
#include "engine/env/env.h"
#include "engine/version/version.h"

struct version_set;

struct version_set_options {
	struct cairn_env *env; /* borrowed, as all here */
	const char *dir;
	uint64_t max_manifest_size; /* start a new one beyond this */
};

/* What recovery learned from the MANIFEST. */
struct version_set_state {
	uint64_t manifest_number;
	uint64_t log_number;      /* WALs below hold nothing unflushed */
	uint64_t prev_log_number; /* LevelDB's second WAL; 0 none */
	uint64_t min_log_to_keep;
	uint64_t next_file_number; /* by the last record */
	uint64_t last_seqno;
	bool manifest_torn; /* its last record or group was cut short */
	/* Live column families besides the default one: names, malloc'ed.
	 * cairn must not write to such a directory. */
	char **other_families;
	size_t n_other_families;
	char *db_id;  /* NULL when the MANIFEST has none */
	bool leveldb; /* written by LevelDB: seqnos of files are not known */
	/* Closed logs that are said to be there, ascending. */
	struct version_edit_wal *wals;
	size_t n_wals;
};
void version_set_state_fini(struct version_set_state *s);

/*
 * Read CURRENT and the MANIFEST it names. CAIRN_NOT_FOUND: no CURRENT, so no
 * database; but CAIRN_ECORRUPT when tables are there, CAIRN_ENOTSUP when it is
 * Pebble's, so that nobody creates a database over them. Checks everything
 * RocksDB checks except that files exist (see version_set_check_files()).
 * Changes nothing on disk.
 */
MUST_CHECK int version_set_recover(const struct version_set_options *opts,
				   struct version_set **out,
				   struct version_set_state *state);

/*
 * For a new database: an empty version, file numbers from 2 on, last seqno 0.
 * Nothing is written before version_set_new_manifest().
 */
MUST_CHECK int version_set_create(const struct version_set_options *opts,
				  struct version_set **out);
void version_set_free(struct version_set *vs); /* NULL is allowed */

/* Every live file exists and has the size the MANIFEST says. */
MUST_CHECK int version_set_check_files(struct version_set *vs);

/*
 * Begin a new MANIFEST: a snapshot of the current version, then edit (NULL:
 * none), synced; CURRENT points to it when this returns CAIRN_OK. On success
 * the edit is applied and *out (may be NULL) is the version to install. On
 * failure the old MANIFEST stands, and a later call makes another.
 *
 * After a failure of this or the next function the edit may nevertheless be on
 * the disk: what it adds and what it deletes must both be kept until a later
 * call succeeds. Only MANIFESTs below version_set_manifest_number() may be
 * deleted: CURRENT may name a newer one that could not be confirmed.
 */
MUST_CHECK int version_set_new_manifest(struct version_set *vs,
					struct version_edit *edit,
					struct version **out);

/*
 * Append edit to the MANIFEST and sync it; next file number and last seqno are
 * filled in. Called without mu, by one thread at a time. *out is the version to
 * install with version_set_install(), with a reference for the caller. On
 * failure nothing is installed, and because the tail of the file is unknown the
 * next call begins a new MANIFEST. A full MANIFEST is replaced here, too.
 */
MUST_CHECK int version_set_log(struct version_set *vs,
			       struct version_edit *edit, struct version **out);

/*
 * The state of one moment, for a database elsewhere: a version, with a
 * reference, and what goes with it. Taken with mu held, and not while another
 * thread is logging: the numbers would be ahead of the version.
 */
struct version_set_image {
	struct version *version;
	uint64_t log_number; /* WALs below are not needed */
	uint64_t last_seqno;
	uint64_t next_file_number;
};
void version_set_take_image(struct version_set *vs,
			    struct version_set_image *out);
/* Drops the reference. Safe on a zeroed struct. */
void version_set_image_fini(struct version_set_image *image);

/*
 * Make MANIFEST and CURRENT of the image in dir, which has none, durable. The
 * database gets no id: it is not the one that the image is from.
 */
MUST_CHECK int version_set_write_image(struct cairn_env *env, const char *dir,
				       const struct version_set_image *image);

/* Make v current; takes the caller's reference over. mu held. */
void version_set_install(struct version_set *vs, struct version *v);

/* The current version, borrowed; ref it to keep it. mu held. */
struct version *version_set_current(struct version_set *vs);

uint64_t version_set_new_file_number(struct version_set *vs);
uint64_t version_set_next_file_number(const struct version_set *vs);
/* Never hand out number or less again. */
void version_set_mark_used(struct version_set *vs, uint64_t number);

uint64_t version_set_last_seqno(const struct version_set *vs);
/* Raise it; lower values are ignored. */
void version_set_advance_seqno(struct version_set *vs, uint64_t seqno);

/* WALs below this are not needed; as of the last edit logged. */
uint64_t version_set_log_number(const struct version_set *vs);
uint64_t version_set_manifest_number(const struct version_set *vs);
uint64_t version_set_manifest_bytes(const struct version_set *vs);

/*
 * Files referenced by any version that is still held (old ones that a reader
 * keeps included), for deciding what is obsolete. Calls fn for each, possibly
 * more than once per file. mu held.
 */
void version_set_live_files(struct version_set *vs,
			    void (*fn)(void *ctx, const struct file_meta *f),
			    void *ctx);

#endif
