/* SPDX-License-Identifier: BSD-3-Clause */
/* What txn.c and the commit of plain stores share. */
#ifndef CAIRN_MVCC_TXN_IMPL_H
#define CAIRN_MVCC_TXN_IMPL_H

#include "mvcc/store.h"

enum op_kind {
	OP_PUT,
	OP_MERGE, /* of plain stores */
	OP_DELETE,
	OP_SET_ATTRS,
	OP_MOVE,
	OP_EXCHANGE,
};

struct op {
	enum op_kind kind;
	uint8_t *own; /* what the slices borrow from */
	struct cairn_slice key;
	struct cairn_slice to; /* OP_MOVE, OP_EXCHANGE */
	struct cairn_slice value;
	struct cairn_slice attrs; /* encoded */
	enum mvcc_type type;      /* by attrs, as the next */
	bool has_mtime;
	int64_t mtime_ns;
	int64_t lease; /* of what OP_PUT and OP_SET_ATTRS write */
	struct mvcc_object *object;
	bool own_object;
};

struct expectation {
	uint8_t *own;
	struct cairn_slice key; /* borrows from own */
	int64_t main;
};

struct mvcc_txn {
	struct mvcc *m;
	struct op *ops;
	size_t n_ops;
	size_t cap_ops;
	struct expectation *expect;
	size_t n_expect;
	size_t cap_expect;
	const void *origin;
	bool use_reserve;
};

/* One change of a commit under way. */
struct change {
	struct cairn_slice key;
	bool deleted;
	size_t row_off; /* in commit.rows */
	size_t row_len;
	size_t full_len;
	int64_t time_ns; /* of a plain store */
};

/* A commit under way, on the stack of the committing thread. */
struct commit {
	struct mvcc *m;
	struct cairn_batch *batch;
	int64_t main;
	int64_t time_ns;
	struct change *changes;
	size_t n;
	size_t cap;
	int64_t ended;    /* entries for table 'e' */
	bool retry;       /* failed only because a key of an object changed */
	bool use_reserve; /* whatever it does */
	struct buf rows;  /* encoded values, as the cache will keep them */
	struct buf key;   /* scratch, as the next two */
	struct buf value;
	struct buf log;
};

/* The next change, zeroed; it counts when c->n is raised. */
MUST_CHECK int txn_add_change(struct commit *c, struct change **out);
/* What the listener will be told, from calloc; NULL when there is none. */
MUST_CHECK int txn_list_changes(const struct commit *c,
				struct mvcc_change **out);
/* The engine has the changes: let readers, objects and the listener know. t is
 * NULL for a commit that no transaction made. */
void txn_publish(struct commit *c, const struct mvcc_txn *t,
		 const struct mvcc_change *changes);

/*
 * The parts of a commit, for those that have no struct mvcc_txn. Under
 * write_mu: begin, add changes, finish (nothing happens without changes). Free
 * at any time. c is zeroed but for m.
 */
MUST_CHECK int txn_begin(struct commit *c);
MUST_CHECK int txn_finish(struct commit *c, const struct mvcc_txn *t);
void txn_end(struct commit *c);
/* Free what is kept for the next commit. */
void txn_spare_fini(struct txn_spare *s);
/* Bring the row of key into the cache; without any lock. */
MUST_CHECK int txn_warm(struct mvcc *m, struct cairn_slice key);
/*
 * Add the changes of op, which must stay until the commit. After a put,
 * c->value is the row as it will be kept.
 */
MUST_CHECK int txn_emit(struct commit *c, const struct op *op);
/* Delete key, whose newest row prev is live; key must stay until the commit. */
MUST_CHECK int txn_delete_row(struct commit *c, struct cairn_slice key,
			      const struct found *prev);
/* Hand the batch to the engine. One whose changes, if there are any, are all
 * deletions goes through on a full store, too: a deletion is a put there. */
MUST_CHECK int txn_write(struct commit *c);

/* Of a revision store: store_kind.prepare and commit. */
MUST_CHECK int txn_prepare_revision(const struct mvcc_txn *t);
MUST_CHECK int txn_commit_revision(struct commit *c, const struct mvcc_txn *t);

#endif
