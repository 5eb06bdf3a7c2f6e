/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plain stores: the keys of the engine are the keys. Private to mvcc/; what
 * they have and have not is told by mvcc.h.
 *
 * A revision is a number for the state after a commit of this process. A pin
 * makes an engine snapshot of the present one, which the pins of a revision
 * share; without a pin only the present can be read.
 *
 * Directories without keys (plain_dirs.h) and the engine change one after the
 * other. What a commit adds to them is added before the engine is written, and
 * what it ends is ended after that, so that a reader in between finds a
 * directory too many, and never one too few. A pin takes snapshot and point of
 * the directories in one critical section.
 */
#ifndef CAIRN_MVCC_PLAIN_H
#define CAIRN_MVCC_PLAIN_H

#include "engine/base/sync.h"
#include "mvcc/mvcc.h"
#include "mvcc/plain_dirs.h"

struct cursor;

struct plain_time;

struct plain {
	struct mutex times_mu;
	/* Guarded by times_mu: what is known of the keys changed last, and the
	 * time of the others. */
	struct plain_time *times;
	int64_t time_ns;
	/* Guarded by the store's pins_mu; n_dirs tells without whether it is
	 * worth taking. */
	struct plain_dirs dirs;
	_Atomic size_t n_dirs;
};

/* Where a cursor stands besides its iterator. */
struct plain_spot {
	const struct cairn_snapshot *snapshot; /* of the pin */
	uint64_t seq;                          /* as of which dirs are seen */
	/* The next record of dirs, at or behind the position. */
	bool has_dir;
	bool on_dir; /* the row stood on is that, not the engine's entry */
	struct buf dir;
	int64_t dir_ns;
};

MUST_CHECK int plain_init(struct plain *p, int64_t time_ns);
/* Safe on a zeroed struct. */
void plain_fini(struct plain *p);

/* What a cursor whose revision is pinned looks from; fills in o->snapshot. */
MUST_CHECK int plain_spot_init(struct cursor *c, struct cairn_read_options *o);

/* When key was changed, as far as is known. */
int64_t plain_time(struct mvcc *m, struct cairn_slice key);

#endif
