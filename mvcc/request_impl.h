/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files behind request.h share. */
#ifndef CAIRN_MVCC_REQUEST_IMPL_H
#define CAIRN_MVCC_REQUEST_IMPL_H

#include "mvcc/request.h"
#include "mvcc/txn_impl.h"

/* ------------------------------------------------------- request_check.c */

/*
 * What can be said about a request without looking at the store: empty keys,
 * too many ops, keys in two places.
 */
MUST_CHECK int request_check(const struct mvcc_request *r,
			     enum mvcc_refusal *why);

/* The length of a request as a message of etcd's protocol. */
uint64_t request_size(const struct mvcc_request *r);

/* Whether it holds a put or a delete, in whatever branch. */
bool request_writes(const struct mvcc_request *r);

/* The same for puts alone. */
bool request_puts(const struct mvcc_request *r);

/* Set *why and the message; returns the code that goes with it. */
MUST_CHECK int request_refuse(enum mvcc_refusal *why, enum mvcc_refusal r);

/* --------------------------------------------------------------- running */

/* What a request has done to a key so far. */
struct touched {
	struct cairn_slice key;
	bool deleted;
	struct found f; /* the row put; not when deleted */
	uint8_t *own;   /* the key, when deleted */
};

/* The value of a put that is too long to be kept in the row. */
struct staged {
	const struct mvcc_put_request *put;
	struct mvcc_object *object;
	bool used; /* the put is on the path taken */
};

struct running {
	struct mvcc *m;
	enum mvcc_refusal why;
	/* What the request looks at, pinned or kept current by write_mu; its
	 * changes get the next number. */
	int64_t before;
	bool writes;
	struct commit c;
	/* By key when sorted is set. */
	struct touched *touched;
	size_t n_touched;
	size_t cap_touched;
	bool sorted;
	struct staged *staged;
	size_t n_staged;
	size_t cap_staged;
	/* Pinned for ranges that name a revision. */
	int64_t *pins;
	size_t n_pins;
	size_t cap_pins;
	uint64_t bytes_left; /* of what the answer may take */
};

/* The revision an answer names. */
static inline int64_t running_rev(const struct running *r)
{
	return r->before + (r->c.n ? 1 : 0);
}

/* Take bytes off what the answer may take. CAIRN_EINVAL when it is more. */
MUST_CHECK int running_charge(struct running *r, uint64_t bytes);

/* ------------------------------------------------------- request_view.c */

/*
 * The rows of some keys, as a range or a delete of a request sees them. With
 * changed, those that the request has changed are seen so; it reads at before
 * then.
 */
struct view {
	struct running *r;
	bool reverse;
	bool single;
	struct cairn_slice key; /* when single */
	int64_t rev;
	struct mvcc_scan *scan; /* NULL: nothing to find there */
	/* The row that scan stands on, if it does. */
	bool ahead;
	struct mvcc_row row;
	size_t lo, hi; /* of running.touched, still to be looked at */
	struct found f;
};

/* v is zeroed before. key and end are borrowed while it is initialised, key as
 * long as v lives. */
MUST_CHECK int view_init(struct view *v, struct running *r,
			 struct cairn_slice key, struct cairn_slice end,
			 int64_t rev, bool changed, bool reverse);
/* Safe on a zeroed struct, and twice. */
void view_fini(struct view *v);
/* CAIRN_OK and a row that lives until the next call, CAIRN_NOT_FOUND at the
 * end, or a failure. */
MUST_CHECK int view_next(struct view *v, struct mvcc_row *row);

/* ------------------------------------------------------ request_range.c */

/* Where rows go that are not collected. */
struct row_sink {
	int (*fn)(void *ctx, const struct mvcc_row *row);
	void *ctx;
};

/* Answer a range that has been checked; sink NULL: collect the rows. */
MUST_CHECK int range_run(struct running *r, const struct mvcc_range_request *q,
			 const struct row_sink *sink, struct mvcc_answer *a);

/* Append a copy of row, with all of its value unless it has none to show. */
MUST_CHECK int answer_add(struct running *r, struct mvcc_answer *a,
			  const struct mvcc_row *row, bool want_value);

/* How the value of row compares to value: *out is below, at, or above 0. */
MUST_CHECK int row_value_cmp(struct mvcc *m, const struct mvcc_row *row,
			     struct cairn_slice value, int *out);

#endif
