/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a revision store of what another program keeps.
 *
 * From etcd everything in its key space is taken over as it stands: each
 * revision (main, sub) with key, value, create_revision, version and lease,
 * each tombstone, the revision up to which history was compacted, and the
 * leases with their keys. So revisions keep their numbers, reads at any of them
 * that etcd would answer give the same rows, and HashKV is the same. Users,
 * roles, alarms and members are no part of a store and are left out.
 *
 * Two things etcd does not keep. When a revision was committed: all rows get
 * the time of the import, since commit times may not decrease and 1970 would be
 * taken for a date. And what version a key had when it was deleted, if nothing
 * of that generation is left: such a tombstone says 0.
 */
#ifndef CAIRN_MVCC_IMPORT_H
#define CAIRN_MVCC_IMPORT_H

#include "engine/cairn.h"

struct mvcc_import_options {
	/* Where snapshot and store are; NULL: the real file system. */
	struct cairn_env *env;
	/* For the new store, copied, but for env; NULL: defaults. */
	const struct cairn_options *engine;
	/* Values above this are kept in chunks of this size; 0: 64 KiB. */
	uint32_t chunk_size;
	/* The commit time of all rows, ns since 1970; 0: now. */
	int64_t time_ns;
	/* Called after every MiB or so, of total steps done; NULL: nobody asks.
	 * False ends the import with CAIRN_EABORTED. */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

struct mvcc_import_report {
	int64_t current;   /* revision */
	int64_t forgotten; /* all below this revision is; 0: nothing was */
	uint64_t rows;     /* tombstones among them */
	uint64_t tombstones;
	uint64_t leases;
	uint64_t attached;   /* keys on them */
	bool checksum;       /* there was one, and it was right */
	bool snapshot_older; /* a damaged meta page: perhaps not the last commit
			      */
	bool users;          /* etcd had some, which are left out */
};

/*
 * Read a snapshot of etcd (the file that `etcdctl snapshot save` wrote, whose
 * checksum is then verified, or the snap/db of a member that is stopped) into a
 * new store in dir, which must be absent or empty but for lost+found. The store
 * is durable on return.
 *
 *   CAIRN_ENOENT     there is no such snapshot
 *   CAIRN_ECORRUPT   it is damaged; the message names file and offset
 *   CAIRN_EKIND      a file of bbolt, but none of etcd
 *   CAIRN_ENOTSUP    it holds something a store cannot: keys over 16 KiB,
 *                    leases with a negative id
 *   CAIRN_EEXIST     dir is not empty
 *
 * On failure all that was made is removed. A process that dies leaves a
 * directory that does not open as a store, and says why.
 */
int mvcc_import_etcd(const char *snapshot, const char *dir,
		     const struct mvcc_import_options *opts,
		     struct mvcc_import_report *report);

#endif
