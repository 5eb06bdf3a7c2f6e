/* SPDX-License-Identifier: BSD-3-Clause */
/* A store that the ops of a trace are played on. */
#ifndef CAIRN_TESTS_MVCC_ETCD_PLAYER_H
#define CAIRN_TESTS_MVCC_ETCD_PLAYER_H

#include "mvcc/watch.h"
#include "tests/mvcc/etcd_trace.h"

/* A watcher that stays open, and what it has told. */
struct player_watch {
	int64_t number;
	json_t *q;
	json_t *events;
	int64_t start; /* where it goes on when it must be made anew */
	struct mvcc_watch *w;
};

struct player {
	struct cairn_env *env; /* in memory */
	struct mvcc *m;
	int64_t now_ms; /* the leases' clock */
	struct player_watch *watches;
	size_t n_watches;
};

void player_init(struct player *p);
void player_fini(struct player *p);

/* Do one op; its answer, a new reference. */
json_t *player_do(struct player *p, const char *op, const json_t *q);

/* Nothing of these may be seen in later answers. */
void player_flush(struct player *p);
void player_compact(struct player *p);
/* killed: the process ends at once, and nothing is closed. */
void player_reopen(struct player *p, bool killed);

#endif
