/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * etcd's requests: put, range, delete-range, transactions with nested branches,
 * and compaction, with etcd's checks in etcd's order and etcd's words.
 *
 * A request is one revision at most, and nothing at all when it is refused. Its
 * compares and checks look at the state before it, its operations at what the
 * earlier ones of the same request have done. One key is changed once in it;
 * what etcd refuses as a duplicate key is refused, and so are two cases that it
 * overlooks: a delete of all keys from one on beside a put of such a key, and
 * the deletes of a nested transaction beside the puts of an earlier one.
 *
 * What differs from etcd on purpose: keys are at most MVCC_KEY_MAX bytes long
 * (CAIRN_EINVAL). Rows of equal rank come in ascending order of keys, in both
 * directions. A sort target other than the key without an order is ascending,
 * over all rows, with a limit, too.
 *
 * While the quota of the engine is reached (cairn_check_space()), requests with
 * a put in any branch are refused before anything is done; all others go
 * through, and the quota clears by itself when they have made room: there is no
 * alarm to be disarmed. While the disk is nearly full the result is
 * CAIRN_ENOSPC, which is no refusal of etcd's.
 *
 * Requests need a store with revisions, CAIRN_EKIND otherwise. Any number of
 * threads may make them. Those that change nothing wait for nobody.
 */
#ifndef CAIRN_MVCC_REQUEST_H
#define CAIRN_MVCC_REQUEST_H

#include "mvcc/mvcc.h"

/* ---------------------------------------------------------------- refusals */

/* Why a request was refused. */
enum mvcc_refusal {
	MVCC_REFUSAL_NONE = 0,
	MVCC_REFUSAL_EMPTY_KEY,
	MVCC_REFUSAL_VALUE_GIVEN, /* with ignore_value */
	MVCC_REFUSAL_LEASE_GIVEN, /* with ignore_lease */
	MVCC_REFUSAL_NO_KEY,      /* to keep value or lease of; an empty op */
	MVCC_REFUSAL_NO_LEASE,    /* no such lease */
	MVCC_REFUSAL_LEASE_EXISTS,
	MVCC_REFUSAL_LEASE_TTL, /* too large */
	MVCC_REFUSAL_TOO_MANY_OPS,
	MVCC_REFUSAL_DUPLICATE_KEY,
	MVCC_REFUSAL_TOO_LARGE, /* the request */
	MVCC_REFUSAL_NO_SPACE,  /* the quota */
	MVCC_REFUSAL_COMPACTED, /* the revision asked for */
	MVCC_REFUSAL_FUTURE,    /* the revision asked for */
	MVCC_REFUSAL_SORT,      /* unknown order or target */
};

/* etcd's words and number (a status of gRPC) for a refusal, and the result that
 * the call refused returns. */
const char *mvcc_refusal_text(enum mvcc_refusal r);
int mvcc_refusal_status(enum mvcc_refusal r);
int mvcc_refusal_code(enum mvcc_refusal r);

/* ---------------------------------------------------------------- requests */

/*
 * Keys are chosen by key and end. end empty: the one key. end the one byte 00:
 * all keys >= key. Else all with key <= k < end, which may be none.
 */

struct mvcc_put_request {
	struct cairn_slice key;
	struct cairn_slice value;
	int64_t lease;     /* 0: on none */
	bool prev;         /* answer with the row before */
	bool ignore_value; /* keep the value, and the attributes unless given */
	bool ignore_lease; /* keep the lease */
	const struct mvcc_attrs *attrs; /* NULL: none */
};

enum mvcc_sort_order {
	MVCC_SORT_NONE = 0,
	MVCC_SORT_ASCEND,
	MVCC_SORT_DESCEND,
};

enum mvcc_sort_target {
	MVCC_SORT_KEY = 0,
	MVCC_SORT_VERSION,
	MVCC_SORT_CREATE,
	MVCC_SORT_MOD,
	MVCC_SORT_VALUE,
};

struct mvcc_range_request {
	struct cairn_slice key;
	struct cairn_slice end;
	int64_t limit; /* of rows; <= 0: none */
	int64_t rev;   /* as of; <= 0: now */
	enum mvcc_sort_order order;
	enum mvcc_sort_target target;
	bool keys_only;  /* rows without values */
	bool count_only; /* no rows; neither limit nor bounds count */
	/* The answer's count need not be that of all keys, which have to be
	 * looked at for it, but is that of the keys looked at. For paging. */
	bool no_count;
	/* Only rows within these bounds, inclusive; 0: no bound. */
	int64_t min_mod, max_mod;
	int64_t min_create, max_create;
};

struct mvcc_delete_request {
	struct cairn_slice key;
	struct cairn_slice end;
	bool prev; /* answer with the rows deleted */
};

enum mvcc_compare_target {
	MVCC_COMPARE_VERSION = 0,
	MVCC_COMPARE_CREATE,
	MVCC_COMPARE_MOD,
	MVCC_COMPARE_VALUE,
	MVCC_COMPARE_LEASE,
};

enum mvcc_compare_result {
	MVCC_COMPARE_EQUAL = 0,
	MVCC_COMPARE_GREATER,
	MVCC_COMPARE_LESS,
	MVCC_COMPARE_NOT_EQUAL,
};

/*
 * "The target of key is result than number (or value)". Holds when it does for
 * each key chosen. When there is none, numbers are 0, and nothing holds for
 * values.
 */
struct mvcc_compare {
	struct cairn_slice key;
	struct cairn_slice end;
	enum mvcc_compare_target target;
	enum mvcc_compare_result result;
	int64_t number;
	struct cairn_slice value;
};

struct mvcc_request;

/* Entries in each of the lists; a nested transaction may have as many as its
 * parent's longest list leaves. */
#define MVCC_TXN_OPS_MAX 128u

/* If all compares hold, do the ops of success, else those of failure. */
struct mvcc_txn_request {
	const struct mvcc_compare *compares;
	size_t n_compares;
	const struct mvcc_request *success;
	size_t n_success;
	const struct mvcc_request *failure;
	size_t n_failure;
};

enum mvcc_request_kind {
	MVCC_REQUEST_NONE = 0, /* refused */
	MVCC_REQUEST_RANGE,
	MVCC_REQUEST_PUT,
	MVCC_REQUEST_DELETE,
	MVCC_REQUEST_TXN,
};

struct mvcc_request {
	enum mvcc_request_kind kind;
	union {
		struct mvcc_range_request range;
		struct mvcc_put_request put;
		struct mvcc_delete_request del;
		struct mvcc_txn_request txn;
	};
};

struct mvcc_request_options {
	/* The changes survive a power cut when the call returns. */
	bool sync;
	/* A request that changes something may be so large, as etcd encodes it;
	 * 0: 1.5 MiB, as in etcd. */
	uint64_t request_bytes_max;
	/* What an answer, and sorting it, may take of memory; 0: 1 GiB.
	 * CAIRN_EINVAL over it. */
	uint64_t answer_bytes_max;
};

/* ----------------------------------------------------------------- answers */

struct mvcc_answer {
	enum mvcc_request_kind kind;
	/* The current revision, or the one written, when this was answered; 0
	 * in the answer of a nested transaction. */
	int64_t rev;
	/* Range: how many keys there are, before limit and bounds; delete: how
	 * many were deleted. */
	int64_t count;
	bool more;      /* range: the limit has cut off rows */
	bool succeeded; /* txn: all compares held */
	/* Range: the rows. Put and delete: what was there before, if asked for.
	 * Values are complete; data NULL with keys_only, size then tells. */
	struct mvcc_row *rows;
	size_t n_rows;
	size_t cap_rows; /* private */
	/* Txn: one for each op of the branch taken. */
	struct mvcc_answer *answers;
	size_t n_answers;
	/* Why not, after a call that failed because it was refused. */
	enum mvcc_refusal refusal;
};
/* Safe on a zeroed struct, and twice. */
void mvcc_answer_free(struct mvcc_answer *a);

/*
 * Do what is asked for. opts may be NULL. On failure out is zeroed but for
 * refusal. When only the sync fails, the changes are made, but whether they
 * survive a power cut is not known.
 */
int mvcc_request(struct mvcc *m, const struct mvcc_request *r,
		 const struct mvcc_request_options *opts,
		 struct mvcc_answer *out);

/*
 * A range whose rows are given to fn one after the other instead, so that the
 * answer may have any size: unless it is sorted by something else than the key,
 * no more than a row is in memory. A row lives until fn returns; a value in
 * chunks has data NULL and is read by mvcc_read(). What fn returns other than 0
 * ends the range and is returned. Nothing is locked meanwhile.
 */
int mvcc_range(struct mvcc *m, const struct mvcc_range_request *r,
	       const struct mvcc_request_options *opts,
	       int (*fn)(void *ctx, const struct mvcc_row *row), void *ctx,
	       struct mvcc_answer *out);

/*
 * mvcc_forget() in etcd's words. With physical, what only readers below rev
 * could see is gone from the tables on return, as far as no reader needs it;
 * when only that fails rev is forgotten all the same, as mvcc_oldest() tells.
 * *refusal may be NULL.
 */
int mvcc_compact(struct mvcc *m, int64_t rev, bool physical,
		 enum mvcc_refusal *refusal);

#endif
