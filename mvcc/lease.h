/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leases: a time to live that keys share. The rules are etcd's.
 *
 * A lease is granted for some seconds, and lives that long again whenever it is
 * kept alive. When its time is up, or it is revoked, all keys attached to it
 * are deleted, in ascending order and in one revision, together with the lease
 * itself; a lease without keys goes without a revision. It never ends before
 * its deadline, and soon after it: at once when nothing else is being written.
 *
 * A key is attached to at most one lease, the one its newest row names. A put
 * decides anew; deleting the key takes it off; a move takes the lease along.
 * Rows of the past go on naming leases that are gone.
 *
 * Leases and attachments survive a restart. The time in between does not count:
 * the deadline is then one ttl away again, but for what was written down as
 * used up, every five minutes, of leases that live longer than that.
 *
 * Memory: about 100 bytes per lease, none per key. What deletes the keys of a
 * lease is one batch, held in memory. A lease with more keys than fit in 64 MiB
 * of it (some 300,000 of usual length) is ended by several revisions one after
 * the other, each with the next of its keys; nobody can attach keys to it
 * meanwhile, and a restart in between goes on.
 *
 * Results are those of mvcc.h; CAIRN_EKIND in a plain store, CAIRN_EROFS in one
 * opened read-only, where leases can be looked at and do not end.
 */
#ifndef CAIRN_MVCC_LEASE_H
#define CAIRN_MVCC_LEASE_H

#include "mvcc/mvcc.h"

/* A shorter time is raised to this, in seconds. */
#define MVCC_LEASE_TTL_MIN 2

/*
 * Grant a lease for ttl seconds; what it was really granted for goes to
 * *granted. *id 0: an id is chosen. *granted and *id are untouched on failure.
 * CAIRN_EINVAL for a ttl above MVCC_LEASE_TTL_MAX and for an id below 0,
 * CAIRN_EEXIST when there is a lease id, CAIRN_EDQUOT while the quota is
 * reached, when leases can still be kept alive and end; the messages are
 * etcd's. As a commit, it survives the death of the process, and mvcc_sync()
 * makes it survive a power cut.
 */
int mvcc_lease_grant(struct mvcc *m, int64_t ttl, int64_t *id,
		     int64_t *granted);

/*
 * Put the deadline one ttl from now. *ttl is 0, and nothing done, when there is
 * no such lease or its time is up.
 */
int mvcc_lease_keepalive(struct mvcc *m, int64_t id, int64_t *ttl);

/*
 * End the lease now. *rev (may be NULL): the last revision of its deletes, the
 * current one when there were none. CAIRN_NOT_FOUND when there is no such
 * lease.
 */
int mvcc_lease_revoke(struct mvcc *m, int64_t id, int64_t *rev);

struct mvcc_lease_info {
	int64_t id;
	int64_t granted;   /* seconds */
	int64_t remaining; /* seconds, rounded down; 0: it is about to end */
};

/* CAIRN_NOT_FOUND when there is no such lease. */
int mvcc_lease_get(struct mvcc *m, int64_t id, struct mvcc_lease_info *out);

/*
 * Call fn for each key attached to lease id, ascending; key is valid during the
 * call, which may use the store for reading. What fn returns other than 0 ends
 * the walk and is returned. A lease that does not exist has no keys.
 */
int mvcc_lease_keys(struct mvcc *m, int64_t id,
		    int (*fn)(void *ctx, struct cairn_slice key), void *ctx);

/* All leases, ascending by id, in memory that the caller frees. */
int mvcc_lease_list(struct mvcc *m, struct mvcc_lease_info **out, size_t *n);

/*
 * End the leases whose time is up. There is no need to call this unless the
 * store was opened with lease.manual.
 */
int mvcc_lease_expire_due(struct mvcc *m);

#endif
