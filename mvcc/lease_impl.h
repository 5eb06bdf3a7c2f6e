/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leases inside mvcc/. lease.h tells what they do.
 *
 * In memory there is a table of all leases, without their keys: those are found
 * in table 'a' when they are asked for. A key is attached to a lease if and
 * only if its newest row names the lease and there is an entry in 'a'; the
 * batch that writes the row writes the entry. An entry alone, left by a repair
 * or by a program that knows no leases, means nothing.
 *
 * A lease appears and goes under write_mu and leases.mu, so either is enough to
 * look whether it is there. leases.mu alone guards deadlines, so that keeping a
 * lease alive waits for no commit. It is taken last: no other lock is taken,
 * and no I/O done, while it is held.
 */
#ifndef CAIRN_MVCC_LEASE_IMPL_H
#define CAIRN_MVCC_LEASE_IMPL_H

#include "engine/base/buf.h"
#include "engine/base/sync.h"
#include "mvcc/mvcc.h"

struct commit;

struct lease {
	struct lease *next; /* in its bucket */
	int64_t id;
	int64_t ttl; /* seconds */
	/* Guarded by leases.mu. */
	int64_t deadline_ms;
	size_t heap_at;
	/* Changed under both locks, as the next. As written down (struct
	 * enc_lease). */
	int64_t left;
	/* Its keys are being deleted: nobody can attach one or keep it alive
	 * any more. */
	bool ending;
};

struct leases {
	struct mutex mu;
	struct cond wake;
	/* Set at open. */
	struct mvcc_lease_options opts;
	/* Guarded as told above. */
	struct lease **buckets; /* a power of two, or none */
	size_t n_buckets;
	size_t n;
	/* Guarded by mu. */
	struct lease **heap; /* n of them, the one due first in front */
	size_t cap_heap;
	int64_t checkpoint_ms; /* when to write down what is left next */
	pthread_t thread;
	bool running;
	bool stop;
};

/* ------------------------------------------------------- under write_mu */

/* Whether a key may be attached to lease id. */
bool lease_known(struct mvcc *m, int64_t id);

/* CAIRN_NOT_FOUND, in etcd's words, unless lease_known(). */
MUST_CHECK int lease_check(struct mvcc *m, int64_t id);

/*
 * Add to c->batch what moves key from lease `from` to lease `to`; 0 stands for
 * none. Nothing when they are the same.
 */
MUST_CHECK int lease_move(struct commit *c, struct cairn_slice key,
			  int64_t from, int64_t to);

/* --------------------------------------------------------------- a store's */

void lease_init(struct mvcc *m, const struct mvcc_lease_options *opts);
/* At open: the leases of the store, which are all due one ttl from now. */
MUST_CHECK int lease_load(struct mvcc *m);
/* Have a thread that ends what is due, unless there may be none. */
int lease_start(struct mvcc *m);
/* Returns when the thread has ended. */
void lease_stop(struct mvcc *m);
void lease_fini(struct mvcc *m);

/* --------------------------------------------- lease.c and lease_expire.c */

int64_t lease_now_ms(struct mvcc *m);
/* The lease id, NULL when there is none; either lock is held. */
struct lease *lease_find(struct mvcc *m, int64_t id);
/* Take l out, and free it; both locks are held. */
void lease_drop(struct mvcc *m, struct lease *l);
/* leases.mu is held. */
void lease_set_deadline(struct mvcc *m, struct lease *l, int64_t deadline_ms);
/* Add to b what writes l down, with other values; write_mu is held. */
MUST_CHECK int lease_put(struct cairn_batch *b, const struct lease *l,
			 int64_t left, bool ending);
/* CAIRN_NOT_FOUND, in etcd's words. */
int lease_not_found(void);

/* The entries of a lease in table 'a', ascending. Safe to end when zeroed. */
struct lease_keys {
	struct cairn_iter *it;
	struct buf end; /* what its iterator borrows, as the next */
	struct buf start;
	bool begun;
	struct buf key; /* the plain key stood on */
};
MUST_CHECK int lease_keys_begin(struct lease_keys *w, struct mvcc *m,
				int64_t id);
/* CAIRN_OK, w->key and the entry as the engine has it, which lives until the
 * next call; CAIRN_NOT_FOUND at the end; or a failure. */
MUST_CHECK int lease_keys_next(struct lease_keys *w, struct cairn_slice *entry);
void lease_keys_end(struct lease_keys *w);

#endif
