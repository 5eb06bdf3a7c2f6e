/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Getting rid of what nobody can read any more.
 *
 * Rows, log entries and chunks that a newer one hides from every reader are
 * dropped by compactions, through the filter. Chunks of objects that have
 * ended, and chunks written for a commit that never came ("leftovers"), are
 * deleted by a worker thread, a bounded batch at a time. The thread is started
 * when there is something for it to do.
 */
#ifndef CAIRN_MVCC_FORGET_H
#define CAIRN_MVCC_FORGET_H

#include "mvcc/store.h"

/* Chunks of object from index from on, of version 0, that no row shows. Its
 * mark in table 'o' goes with the last of them. */
struct leftover {
	struct list node;
	uint64_t object;
	uint64_t from;
	bool busy; /* being removed, with objects_mu released */
};

/* The compaction filter of m; ctx is m. */
void forget_filter_init(struct mvcc *m);

/* At open: read the marks that a crash left, and start the worker when there is
 * something for it. */
MUST_CHECK int forget_load(struct mvcc *m);

/* Take over l: it is removed in the background, and freed. */
void forget_leftover(struct mvcc *m, struct leftover *l);

/*
 * Remove what is left over of object, and return when it is gone. Before an
 * object is continued, or its old chunks would show up in the new ones' place.
 */
MUST_CHECK int forget_leftover_now(struct mvcc *m, uint64_t object);

/* Readers or the bound have moved: the horizon is this now, -1: there is none.
 * Lets the engine collect what has become garbage. Cheap when it is not new. */
void forget_collect(struct mvcc *m, int64_t horizon);

/* Something may be due: bound or pins have moved, an object has ended. */
void forget_kick(struct mvcc *m);

/* Wait until the worker has nothing to do or cannot do it. For tests. */
void forget_wait_idle(struct mvcc *m);

void forget_init(struct mvcc *m);
/* Returns when the worker has ended. It starts again when kicked. */
void forget_stop(struct mvcc *m);
void forget_fini(struct mvcc *m);

#endif
