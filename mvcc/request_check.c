/* SPDX-License-Identifier: BSD-3-Clause */
/* What is refused before anything is looked at. */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/request_impl.h"

/* ---------------------------------------------------------------- refusals */

struct refusal {
	const char *text;
	int status; /* of gRPC */
	int code;
};

enum {
	GRPC_OK = 0,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_NOT_FOUND = 5,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
};

static const struct refusal refusals[] = {
	[MVCC_REFUSAL_NONE] = { "", GRPC_OK, CAIRN_OK },
	[MVCC_REFUSAL_EMPTY_KEY] = { "etcdserver: key is not provided",
				     GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
	[MVCC_REFUSAL_VALUE_GIVEN] = { "etcdserver: value is provided",
				       GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
	[MVCC_REFUSAL_LEASE_GIVEN] = { "etcdserver: lease is provided",
				       GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
	[MVCC_REFUSAL_NO_KEY] = { "etcdserver: key not found",
				  GRPC_INVALID_ARGUMENT, CAIRN_NOT_FOUND },
	[MVCC_REFUSAL_NO_LEASE] = { "etcdserver: requested lease not found",
				    GRPC_NOT_FOUND, CAIRN_NOT_FOUND },
	[MVCC_REFUSAL_LEASE_EXISTS] = { "etcdserver: lease already exists",
					GRPC_FAILED_PRECONDITION,
					CAIRN_EEXIST },
	[MVCC_REFUSAL_LEASE_TTL] = { "etcdserver: too large lease TTL",
				     GRPC_OUT_OF_RANGE, CAIRN_EINVAL },
	[MVCC_REFUSAL_TOO_MANY_OPS] = { "etcdserver: too many operations in "
					"txn request",
					GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
	[MVCC_REFUSAL_DUPLICATE_KEY] = { "etcdserver: duplicate key given in "
					 "txn request",
					 GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
	[MVCC_REFUSAL_TOO_LARGE] = { "etcdserver: request is too large",
				     GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
	[MVCC_REFUSAL_NO_SPACE] = { "etcdserver: mvcc: database space exceeded",
				    GRPC_RESOURCE_EXHAUSTED, CAIRN_EDQUOT },
	[MVCC_REFUSAL_COMPACTED] = { "etcdserver: mvcc: required revision has "
				     "been compacted",
				     GRPC_OUT_OF_RANGE, CAIRN_EFORGOTTEN },
	[MVCC_REFUSAL_FUTURE] = { "etcdserver: mvcc: required revision is a "
				  "future revision",
				  GRPC_OUT_OF_RANGE, CAIRN_EFUTURE },
	[MVCC_REFUSAL_SORT] = { "etcdserver: invalid sort option",
				GRPC_INVALID_ARGUMENT, CAIRN_EINVAL },
};

#define N_REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

static const struct refusal *refusal(enum mvcc_refusal r)
{
	return &refusals[(size_t)r < N_REFUSALS ? (size_t)r : 0];
}

const char *mvcc_refusal_text(enum mvcc_refusal r)
{
	return refusal(r)->text;
}

int mvcc_refusal_status(enum mvcc_refusal r)
{
	return refusal(r)->status;
}

int mvcc_refusal_code(enum mvcc_refusal r)
{
	return refusal(r)->code;
}

int request_refuse(enum mvcc_refusal *why, enum mvcc_refusal r)
{
	*why = r;
	return error_set(mvcc_refusal_code(r), "%s", mvcc_refusal_text(r));
}

/* ------------------------------------------------------------ single checks */

static enum mvcc_refusal check_range(const struct mvcc_range_request *q)
{
	if (!q->key.len)
		return MVCC_REFUSAL_EMPTY_KEY;
	if ((unsigned)q->order > MVCC_SORT_DESCEND ||
	    (unsigned)q->target > MVCC_SORT_VALUE)
		return MVCC_REFUSAL_SORT;
	return MVCC_REFUSAL_NONE;
}

static enum mvcc_refusal check_put(const struct mvcc_put_request *q)
{
	if (!q->key.len)
		return MVCC_REFUSAL_EMPTY_KEY;
	if (q->ignore_value && q->value.len)
		return MVCC_REFUSAL_VALUE_GIVEN;
	if (q->ignore_lease && q->lease)
		return MVCC_REFUSAL_LEASE_GIVEN;
	return MVCC_REFUSAL_NONE;
}

static enum mvcc_refusal check_one(const struct mvcc_request *r, size_t room);

static enum mvcc_refusal check_list(const struct mvcc_request *list, size_t n,
				    size_t room)
{
	enum mvcc_refusal why = MVCC_REFUSAL_NONE;

	for (size_t i = 0; !why && i < n; i++)
		why = check_one(&list[i], room);
	return why;
}

/* Each list has room for so many; so deep, too, can nesting go. */
static enum mvcc_refusal check_txn(const struct mvcc_txn_request *q,
				   size_t room)
{
	enum mvcc_refusal why = MVCC_REFUSAL_NONE;
	size_t most = q->n_compares;

	if (most < q->n_success)
		most = q->n_success;
	if (most < q->n_failure)
		most = q->n_failure;
	if (most > room)
		return MVCC_REFUSAL_TOO_MANY_OPS;
	for (size_t i = 0; !why && i < q->n_compares; i++) {
		if (!q->compares[i].key.len)
			why = MVCC_REFUSAL_EMPTY_KEY;
	}
	if (!why)
		why = check_list(q->success, q->n_success, room - most);
	if (!why)
		why = check_list(q->failure, q->n_failure, room - most);
	return why;
}

static enum mvcc_refusal check_one(const struct mvcc_request *r, size_t room)
{
	switch (r->kind) {
	case MVCC_REQUEST_NONE:
		break;
	case MVCC_REQUEST_RANGE:
		return check_range(&r->range);
	case MVCC_REQUEST_PUT:
		return check_put(&r->put);
	case MVCC_REQUEST_DELETE:
		return r->del.key.len ? MVCC_REFUSAL_NONE
				      : MVCC_REFUSAL_EMPTY_KEY;
	case MVCC_REQUEST_TXN:
		return check_txn(&r->txn, room);
	}
	return MVCC_REFUSAL_NO_KEY;
}

/* ----------------------------------------------------------------- overlap */

/* A key that is put, and the op of its list that does so. */
struct put_key {
	struct cairn_slice key;
	size_t item;
};

/* Keys that are deleted: from start on, up to end. */
struct del_keys {
	struct cairn_slice start;
	struct cairn_slice end;
	bool with_end; /* end is deleted, too */
	bool no_end;
	size_t item;
};

/* What a list of ops, with all that is nested in them, changes. */
struct footprint {
	struct put_key *puts;
	size_t n_puts;
	size_t cap_puts;
	struct del_keys *dels;
	size_t n_dels;
	size_t cap_dels;
};

static void footprint_fini(struct footprint *f)
{
	free(f->puts);
	free(f->dels);
}

static int add_put(struct footprint *f, struct cairn_slice key, size_t item)
{
	if (f->n_puts == f->cap_puts) {
		size_t cap = f->cap_puts ? 2 * f->cap_puts : 16;
		struct put_key *p = realloc(f->puts, cap * sizeof(*p));

		if (!p)
			return error_nomem();
		f->puts = p;
		f->cap_puts = cap;
	}
	f->puts[f->n_puts++] = (struct put_key){ .key = key, .item = item };
	return CAIRN_OK;
}

static int add_del(struct footprint *f, const struct del_keys *del)
{
	if (f->n_dels == f->cap_dels) {
		size_t cap = f->cap_dels ? 2 * f->cap_dels : 16;
		struct del_keys *p = realloc(f->dels, cap * sizeof(*p));

		if (!p)
			return error_nomem();
		f->dels = p;
		f->cap_dels = cap;
	}
	f->dels[f->n_dels++] = *del;
	return CAIRN_OK;
}

static int add_delete(struct footprint *f, const struct mvcc_delete_request *q,
		      size_t item)
{
	struct del_keys d = { .start = q->key, .end = q->end, .item = item };

	if (!q->end.len) {
		d.end = q->key;
		d.with_end = true;
	} else if (q->end.len == 1 && q->end.data[0] == 0) {
		d.no_end = true;
	} else if (slice_cmp(q->end, q->key) <= 0) {
		return CAIRN_OK;
	}
	return add_del(f, &d);
}

static int cmp_puts(const void *a, const void *b)
{
	const struct put_key *x = a, *y = b;
	int c = slice_cmp(x->key, y->key);

	return c ? c : (x->item > y->item) - (x->item < y->item);
}

static int cmp_dels(const void *a, const void *b)
{
	const struct del_keys *x = a, *y = b;

	return slice_cmp(x->start, y->start);
}

/* Whether a ends before b does. */
static bool ends_before(const struct del_keys *a, const struct del_keys *b)
{
	int c;

	if (a->no_end || b->no_end)
		return !a->no_end;
	c = slice_cmp(a->end, b->end);
	return c < 0 || (c == 0 && !a->with_end && b->with_end);
}

/* d starts at key or before. */
static bool reaches(const struct del_keys *d, struct cairn_slice key)
{
	int c;

	if (!d || d->no_end)
		return d != NULL;
	c = slice_cmp(key, d->end);
	return c < 0 || (c == 0 && d->with_end);
}

/*
 * Whether one item of the list puts a key that another puts or deletes. Sweeps
 * over keys and deletes in ascending order: of the deletes that have begun only
 * the one that goes furthest counts, and for the item it belongs to the one
 * that goes furthest among the others'.
 */
static bool overlaps(struct footprint *f)
{
	const struct del_keys *far = NULL, *other = NULL;
	size_t d = 0;

	if (f->n_puts)
		qsort(f->puts, f->n_puts, sizeof(f->puts[0]), cmp_puts);
	if (f->n_dels)
		qsort(f->dels, f->n_dels, sizeof(f->dels[0]), cmp_dels);
	for (size_t i = 0; i < f->n_puts; i++) {
		const struct put_key *p = &f->puts[i];

		if (i && p[-1].item != p->item && slice_eq(p[-1].key, p->key))
			return true;
		for (;
		     d < f->n_dels && slice_cmp(f->dels[d].start, p->key) <= 0;
		     d++) {
			const struct del_keys *now = &f->dels[d];

			if (!far || ends_before(far, now)) {
				if (far && far->item != now->item)
					other = far;
				far = now;
			} else if (far->item != now->item &&
				   (!other || ends_before(other, now))) {
				other = now;
			}
		}
		if (reaches(far && far->item != p->item ? far : other, p->key))
			return true;
	}
	return false;
}

static int footprint_of(const struct mvcc_request *list, size_t n,
			struct footprint *out, enum mvcc_refusal *why);

/* Both branches of a nested transaction are one item to its parent: only one of
 * them will be taken. */
static int add_branch(struct footprint *f, const struct mvcc_request *list,
		      size_t n, size_t item, enum mvcc_refusal *why)
{
	struct footprint sub = { 0 };
	int err = footprint_of(list, n, &sub, why);

	for (size_t i = 0; !err && i < sub.n_puts; i++)
		err = add_put(f, sub.puts[i].key, item);
	for (size_t i = 0; !err && i < sub.n_dels; i++) {
		sub.dels[i].item = item;
		err = add_del(f, &sub.dels[i]);
	}
	footprint_fini(&sub);
	return err;
}

static int footprint_of(const struct mvcc_request *list, size_t n,
			struct footprint *out, enum mvcc_refusal *why)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++) {
		const struct mvcc_request *r = &list[i];

		if (r->kind == MVCC_REQUEST_PUT)
			err = add_put(out, r->put.key, i);
		else if (r->kind == MVCC_REQUEST_DELETE)
			err = add_delete(out, &r->del, i);
		if (r->kind != MVCC_REQUEST_TXN)
			continue;
		err = add_branch(out, r->txn.success, r->txn.n_success, i, why);
		if (!err)
			err = add_branch(out, r->txn.failure, r->txn.n_failure,
					 i, why);
	}
	if (!err && overlaps(out))
		err = request_refuse(why, MVCC_REFUSAL_DUPLICATE_KEY);
	return err;
}

static int check_overlap(const struct mvcc_request *list, size_t n,
			 enum mvcc_refusal *why)
{
	struct footprint f = { 0 };
	int err = footprint_of(list, n, &f, why);

	footprint_fini(&f);
	return err;
}

int request_check(const struct mvcc_request *r, enum mvcc_refusal *why)
{
	enum mvcc_refusal no = check_one(r, MVCC_TXN_OPS_MAX);
	int err = no ? request_refuse(why, no) : CAIRN_OK;

	if (err || r->kind != MVCC_REQUEST_TXN)
		return err;
	err = check_overlap(r->txn.success, r->txn.n_success, why);
	if (!err)
		err = check_overlap(r->txn.failure, r->txn.n_failure, why);
	return err;
}

/* -------------------------------------------------------------------- size */

static uint64_t number_size(uint64_t v)
{
	uint64_t n = 1;

	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

/* A field of a message, its tag one byte long; left out when it is empty. */
static uint64_t bytes_field(struct cairn_slice s)
{
	return s.len ? 1 + number_size(s.len) + s.len : 0;
}

static uint64_t number_field(int64_t v)
{
	return v ? 1 + number_size((uint64_t)v) : 0;
}

static uint64_t flag_field(bool v)
{
	return v ? 2 : 0;
}

static uint64_t message_field(uint64_t size)
{
	return 1 + number_size(size) + size;
}

static uint64_t range_size(const struct mvcc_range_request *q)
{
	return bytes_field(q->key) + bytes_field(q->end) +
	       number_field(q->limit) + number_field(q->rev) +
	       number_field(q->order) + number_field(q->target) +
	       flag_field(q->keys_only) + flag_field(q->count_only) +
	       number_field(q->min_mod) + number_field(q->max_mod) +
	       number_field(q->min_create) + number_field(q->max_create);
}

static uint64_t put_size(const struct mvcc_put_request *q)
{
	return bytes_field(q->key) + bytes_field(q->value) +
	       number_field(q->lease) + flag_field(q->prev) +
	       flag_field(q->ignore_value) + flag_field(q->ignore_lease) +
	       (q->attrs ? bytes_field(q->attrs->xattrs) : 0);
}

static uint64_t delete_size(const struct mvcc_delete_request *q)
{
	return bytes_field(q->key) + bytes_field(q->end) + flag_field(q->prev);
}

static uint64_t compare_size(const struct mvcc_compare *c)
{
	uint64_t n = number_field(c->result) + number_field(c->target) +
		     bytes_field(c->key);

	/* The operand is one of several, so it is there when empty, too. */
	if (c->target == MVCC_COMPARE_VALUE)
		n += message_field(c->value.len);
	else
		n += 1 + number_size((uint64_t)c->number);
	/* The number of this field takes two bytes. */
	return n + (c->end.len ? 1 + bytes_field(c->end) : 0);
}

static uint64_t list_size(const struct mvcc_request *list, size_t n)
{
	uint64_t size = 0;

	/* A message that holds a message, in each entry. */
	for (size_t i = 0; i < n; i++)
		size += message_field(message_field(request_size(&list[i])));
	return size;
}

uint64_t request_size(const struct mvcc_request *r)
{
	uint64_t size = 0;

	switch (r->kind) {
	case MVCC_REQUEST_NONE:
		break;
	case MVCC_REQUEST_RANGE:
		return range_size(&r->range);
	case MVCC_REQUEST_PUT:
		return put_size(&r->put);
	case MVCC_REQUEST_DELETE:
		return delete_size(&r->del);
	case MVCC_REQUEST_TXN:
		for (size_t i = 0; i < r->txn.n_compares; i++)
			size += message_field(
				compare_size(&r->txn.compares[i]));
		size += list_size(r->txn.success, r->txn.n_success);
		size += list_size(r->txn.failure, r->txn.n_failure);
		break;
	}
	return size;
}

static bool any_is(const struct mvcc_request *list, size_t n,
		   bool (*is)(const struct mvcc_request *r))
{
	for (size_t i = 0; i < n; i++) {
		if (is(&list[i]))
			return true;
	}
	return false;
}

bool request_puts(const struct mvcc_request *r)
{
	if (r->kind == MVCC_REQUEST_TXN)
		return any_is(r->txn.success, r->txn.n_success, request_puts) ||
		       any_is(r->txn.failure, r->txn.n_failure, request_puts);
	return r->kind == MVCC_REQUEST_PUT;
}

bool request_writes(const struct mvcc_request *r)
{
	if (r->kind == MVCC_REQUEST_TXN)
		return any_is(r->txn.success, r->txn.n_success,
			      request_writes) ||
		       any_is(r->txn.failure, r->txn.n_failure, request_writes);
	return r->kind == MVCC_REQUEST_PUT || r->kind == MVCC_REQUEST_DELETE;
}
