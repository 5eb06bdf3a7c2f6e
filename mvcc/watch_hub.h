/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of a store that watchers hang on, private to mvcc/.
 *
 * A watcher that has told everything is in the tree; a commit takes out those
 * whose ranges it touches and wakes them. One that is not in the tree, because
 * it has something to tell and is slow to do so, costs commits nothing. mu is
 * innermost: nothing else is taken and no I/O is done under it. Without
 * watchers a commit only looks at n.
 */
#ifndef CAIRN_MVCC_WATCH_HUB_H
#define CAIRN_MVCC_WATCH_HUB_H

#include "engine/base/sync.h"
#include "mvcc/watch_ring.h"
#include "mvcc/watch_tree.h"

struct commit;

struct watch_hub {
	/*
	 * Watchers there are; changed under mu. Sequentially consistent, as is
	 * mvcc.current: a commit publishes its revision and then looks here, a
	 * first watcher raises this and then asks for the revision, so that one
	 * of the two sees the other.
	 */
	_Atomic uint64_t n;
	struct mutex mu;
	/* Guarded by mu, and kept up only while there are watchers. */
	int64_t seen; /* the last revision that was put to the watchers */
	struct watch_tree idle;
	struct watch_ring ring;
};

void watch_hub_init(struct watch_hub *h);
void watch_hub_fini(struct watch_hub *h);

/* The revision of c is published: tell the watchers. write_mu is held. */
void watch_publish(struct commit *c);

#endif
