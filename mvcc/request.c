/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests, from the first check to the commit.
 *
 * One that may change something runs under write_mu from its compares on, so
 * that the state before it is the newest there is. Values that are too long for
 * a row, and the rows of keys that will be put, are brought to where they are
 * needed before the lock is taken. One that changes nothing pins a revision
 * instead.
 *
 * The branches that are taken are chosen before the first op runs, and
 * remembered in the answers.
 */
#include "mvcc/request.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/attr.h"
#include "mvcc/object.h"
#include "mvcc/request_impl.h"

#define REQUEST_BYTES_MAX ((uint64_t)3 << 19)
#define ANSWER_BYTES_MAX  ((uint64_t)1 << 30)

static int refuse(struct running *r, enum mvcc_refusal why)
{
	return request_refuse(&r->why, why);
}

/* Room for one more in the array at list, of n elements. */
static int reserve(void *list, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? 2 * *cap : 8;
	void *old, *grown;

	if (n < *cap)
		return CAIRN_OK;
	memcpy(&old, list, sizeof(old));
	grown = realloc(old, want * size);
	if (!grown)
		return error_nomem();
	memcpy(list, &grown, sizeof(grown));
	*cap = want;
	return CAIRN_OK;
}

/* --------------------------------------------------------------- compares */

static bool is_so(int order, enum mvcc_compare_result result)
{
	switch (result) {
	case MVCC_COMPARE_EQUAL:
		return order == 0;
	case MVCC_COMPARE_GREATER:
		return order > 0;
	case MVCC_COMPARE_LESS:
		return order < 0;
	case MVCC_COMPARE_NOT_EQUAL:
		return order != 0;
	}
	return false;
}

static int64_t compared(const struct mvcc_row *row, enum mvcc_compare_target t)
{
	switch (t) {
	case MVCC_COMPARE_VERSION:
		return row->version;
	case MVCC_COMPARE_CREATE:
		return row->create_rev;
	case MVCC_COMPARE_MOD:
		return row->main;
	case MVCC_COMPARE_LEASE:
		return row->lease;
	case MVCC_COMPARE_VALUE:
		break;
	}
	return 0;
}

static int compare_row(struct mvcc *m, const struct mvcc_compare *c,
		       const struct mvcc_row *row, bool *holds)
{
	int64_t number;
	int order = 0;
	int err = CAIRN_OK;

	if (c->target == MVCC_COMPARE_VALUE) {
		err = row_value_cmp(m, row, c->value, &order);
	} else {
		number = compared(row, c->target);
		order = (number > c->number) - (number < c->number);
	}
	*holds = is_so(order, c->result);
	return err;
}

static int compare(struct running *r, const struct mvcc_compare *c, bool *holds)
{
	static const struct mvcc_row none = { 0 };
	struct view v = { 0 };
	struct mvcc_row row;
	bool any = false;
	int err = view_init(&v, r, c->key, c->end, r->before, false, false);

	*holds = true;
	while (!err && *holds) {
		err = view_next(&v, &row);
		if (!err)
			err = compare_row(r->m, c, &row, holds);
		any = any || !err;
	}
	view_fini(&v);
	if (err != CAIRN_NOT_FOUND)
		return err;
	if (any)
		return CAIRN_OK;
	*holds = false;
	if (c->target == MVCC_COMPARE_VALUE)
		return CAIRN_OK;
	return compare_row(r->m, c, &none, holds);
}

/* Which branches will be taken, here and in nested transactions. */
static int choose(struct running *r, const struct mvcc_request *q,
		  struct mvcc_answer *a)
{
	const struct mvcc_request *ops;
	bool holds = true;
	size_t n;
	int err = CAIRN_OK;

	a->kind = q->kind;
	if (q->kind != MVCC_REQUEST_TXN)
		return CAIRN_OK;
	for (size_t i = 0; !err && holds && i < q->txn.n_compares; i++)
		err = compare(r, &q->txn.compares[i], &holds);
	if (err)
		return err;
	a->succeeded = holds;
	ops = holds ? q->txn.success : q->txn.failure;
	n = holds ? q->txn.n_success : q->txn.n_failure;
	a->answers = calloc(n + 1, sizeof(a->answers[0]));
	if (!a->answers)
		return error_nomem();
	a->n_answers = n;
	for (size_t i = 0; !err && i < n; i++)
		err = choose(r, &ops[i], &a->answers[i]);
	return err;
}

static const struct mvcc_request *chosen(const struct mvcc_request *q,
					 const struct mvcc_answer *a)
{
	return a->succeeded ? q->txn.success : q->txn.failure;
}

/* ------------------------------------------- checks on the state before */

static int check_lease(struct running *r, const struct mvcc_put_request *q)
{
	if (!q->lease || lease_known(r->m, q->lease))
		return CAIRN_OK;
	return refuse(r, MVCC_REFUSAL_NO_LEASE);
}

static int check_kept(struct running *r, const struct mvcc_put_request *q)
{
	struct found f = { 0 };
	int err;

	if (!q->ignore_value && !q->ignore_lease)
		return CAIRN_OK;
	err = store_latest(r->m, q->key, false, &f);
	if (!err && !found_live(&f))
		err = refuse(r, MVCC_REFUSAL_NO_KEY);
	found_release(&f);
	return err;
}

/* etcd looks for the lease first, but not in a transaction. */
static int check_put(struct running *r, const struct mvcc_put_request *q,
		     bool nested)
{
	int err = nested ? check_kept(r, q) : check_lease(r, q);

	if (!err)
		err = nested ? check_lease(r, q) : check_kept(r, q);
	return err;
}

/* Keep rev as it is until the request is done. */
static int pin_rev(struct running *r, int64_t rev)
{
	int64_t got;
	int err = reserve(&r->pins, r->n_pins, &r->cap_pins, sizeof(int64_t));

	if (!err)
		err = store_pin(r->m, rev, &got);
	if (err == CAIRN_EFORGOTTEN)
		return refuse(r, MVCC_REFUSAL_COMPACTED);
	if (!err)
		r->pins[r->n_pins++] = rev;
	return err;
}

/* Somebody may keep a forgotten revision pinned: not for everybody to read. */
static int check_rev(struct running *r, int64_t rev)
{
	if (rev > r->before)
		return refuse(r, MVCC_REFUSAL_FUTURE);
	if (rev < atomic_load(&r->m->forgotten))
		return refuse(r, MVCC_REFUSAL_COMPACTED);
	return rev > 0 ? pin_rev(r, rev) : CAIRN_OK;
}

/* Outside of a transaction a negative revision is none at all. */
static int check_range(struct running *r, const struct mvcc_range_request *q,
		       bool nested)
{
	if (nested ? q->rev == 0 : q->rev <= 0)
		return CAIRN_OK;
	return check_rev(r, q->rev);
}

/* All ops of one kind, on the path that is taken. */
static int check_ops(struct running *r, const struct mvcc_request *q,
		     const struct mvcc_answer *a, enum mvcc_request_kind kind,
		     bool nested)
{
	int err = CAIRN_OK;

	if (q->kind == MVCC_REQUEST_TXN) {
		for (size_t i = 0; !err && i < a->n_answers; i++)
			err = check_ops(r, &chosen(q, a)[i], &a->answers[i],
					kind, true);
		return err;
	}
	if (q->kind != kind)
		return CAIRN_OK;
	if (kind == MVCC_REQUEST_PUT)
		return check_put(r, &q->put, nested);
	return check_range(r, &q->range, nested);
}

/* ------------------------------------------------------------------- puts */

static struct staged *staged_value(const struct running *r,
				   const struct mvcc_put_request *q)
{
	for (size_t i = 0; i < r->n_staged; i++) {
		if (r->staged[i].put == q)
			return &r->staged[i];
	}
	return NULL;
}

static int add_touched(struct running *r, struct touched **out)
{
	int err = reserve(&r->touched, r->n_touched, &r->cap_touched,
			  sizeof(r->touched[0]));

	if (err)
		return err;
	*out = &r->touched[r->n_touched];
	**out = (struct touched){ 0 };
	return CAIRN_OK;
}

/* The row just put, as later ops will see it. */
static int touch_put(struct running *r, const struct mvcc_put_request *q)
{
	struct staged *s = staged_value(r, q);
	struct touched *t;
	int err = add_touched(r, &t);

	if (!err)
		err = found_copy(&t->f, q->key, r->c.main, (int32_t)r->c.n - 1,
				 buf_slice(&r->c.value));
	if (err)
		return err;
	t->key = t->f.row.key;
	/* Chunks of a new value cannot be read before the commit. */
	if (s) {
		t->f.row.value = q->value;
		t->f.row.object = 0;
		s->used = true;
	}
	r->n_touched++;
	r->sorted = false;
	return CAIRN_OK;
}

/* The op of a transaction that a put is; block holds its attributes. */
static int make_op(struct running *r, const struct mvcc_put_request *q,
		   const struct found *prev, struct op *op, struct buf *block)
{
	const struct mvcc_attrs *attrs = q->attrs;
	struct staged *s = staged_value(r, q);
	int err;

	*op = (struct op){ .kind = OP_PUT, .key = q->key, .lease = q->lease };
	if (q->ignore_lease)
		op->lease = found_live(prev) ? prev->row.lease : 0;
	if (s)
		op->object = s->object;
	else
		op->value = q->value;
	if (q->ignore_value) {
		op->kind = OP_SET_ATTRS;
		if (!attrs)
			attrs = &prev->row.attrs;
	}
	err = attr_encode(block, attrs);
	op->attrs = buf_slice(block);
	if (attrs) {
		op->type = attrs->type;
		op->has_mtime = attrs->has_mtime;
		op->mtime_ns = attrs->mtime_ns;
	}
	return err;
}

static int run_put(struct running *r, const struct mvcc_put_request *q,
		   struct mvcc_answer *a)
{
	struct found prev = { 0 };
	struct buf block = { 0 };
	struct op op;
	int err = store_latest(r->m, q->key, q->prev, &prev);

	if (!err && q->prev && found_live(&prev))
		err = answer_add(r, a, &prev.row, true);
	if (!err)
		err = make_op(r, q, &prev, &op, &block);
	if (!err)
		err = txn_emit(&r->c, &op);
	if (!err)
		err = touch_put(r, q);
	a->rev = running_rev(r);
	buf_fini(&block);
	found_release(&prev);
	return err;
}

/* ---------------------------------------------------------------- deletes */

static int delete_row(struct running *r, const struct mvcc_row *row)
{
	struct found f = { .row = *row };
	struct touched *t;
	uint8_t *own;
	int err = add_touched(r, &t);

	if (err)
		return err;
	own = malloc(row->key.len);
	if (!own)
		return error_nomem();
	memcpy(own, row->key.data, row->key.len);
	t->own = own;
	t->key = slice_of(own, row->key.len);
	t->deleted = true;
	f.row.key = t->key;
	r->n_touched++;
	r->sorted = false;
	return txn_delete_row(&r->c, t->key, &f);
}

static int run_delete(struct running *r, const struct mvcc_delete_request *q,
		      struct mvcc_answer *a)
{
	struct view v = { 0 };
	struct mvcc_row row;
	int err = view_init(&v, r, q->key, q->end, r->before, true, false);

	while (!err) {
		err = view_next(&v, &row);
		if (!err && q->prev)
			err = answer_add(r, a, &row, true);
		if (!err)
			err = delete_row(r, &row);
		if (!err)
			a->count++;
	}
	view_fini(&v);
	a->rev = running_rev(r);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* ---------------------------------------------------------------- running */

static int run(struct running *r, const struct mvcc_request *q,
	       const struct row_sink *sink, struct mvcc_answer *a)
{
	int err = CAIRN_OK;

	switch (q->kind) {
	case MVCC_REQUEST_NONE:
		break;
	case MVCC_REQUEST_RANGE:
		return range_run(r, &q->range, sink, a);
	case MVCC_REQUEST_PUT:
		return run_put(r, &q->put, a);
	case MVCC_REQUEST_DELETE:
		return run_delete(r, &q->del, a);
	case MVCC_REQUEST_TXN:
		for (size_t i = 0; !err && i < a->n_answers; i++)
			err = run(r, &chosen(q, a)[i], sink, &a->answers[i]);
		return err;
	}
	return error_set(CAIRN_EINVAL, "unknown request");
}

/* From the compares on; what before stands for is settled. */
static int run_at(struct running *r, const struct mvcc_request *q,
		  const struct row_sink *sink, struct mvcc_answer *a)
{
	int err = choose(r, q, a);

	if (!err && r->writes)
		err = check_ops(r, q, a, MVCC_REQUEST_PUT, false);
	if (!err)
		err = check_ops(r, q, a, MVCC_REQUEST_RANGE, false);
	if (!err)
		err = run(r, q, sink, a);
	a->rev = running_rev(r);
	return err;
}

static int read_only(struct running *r, const struct mvcc_request *q,
		     const struct row_sink *sink, struct mvcc_answer *a)
{
	int err = store_pin(r->m, 0, &r->before);

	if (err)
		return err;
	err = run_at(r, q, sink, a);
	mvcc_unpin(r->m, r->before);
	return err;
}

/* ------------------------------------------------------------- preparing */

/* A long value goes to the engine before anybody has to wait for it. */
static int stage(struct running *r, const struct mvcc_put_request *q)
{
	struct mvcc_object *o = NULL;
	int err = reserve(&r->staged, r->n_staged, &r->cap_staged,
			  sizeof(r->staged[0]));

	if (!err)
		err = mvcc_object_new(r->m, &o);
	if (!err)
		err = mvcc_object_write(o, 0, q->value.data, q->value.len);
	if (!err)
		err = object_prepare(o, NULL);
	if (err) {
		mvcc_object_free(o);
		return err;
	}
	r->staged[r->n_staged++] = (struct staged){ .put = q, .object = o };
	return CAIRN_OK;
}

static int prepare_list(struct running *r, const struct mvcc_request *list,
			size_t n);

static int prepare(struct running *r, const struct mvcc_request *q)
{
	int err = CAIRN_OK;

	if (q->kind == MVCC_REQUEST_PUT) {
		err = store_check_key(r->m, q->put.key);
		if (!err)
			err = txn_warm(r->m, q->put.key);
		if (!err && q->put.value.len > r->m->chunk_size)
			err = stage(r, &q->put);
	} else if (q->kind == MVCC_REQUEST_TXN) {
		err = prepare_list(r, q->txn.success, q->txn.n_success);
		if (!err)
			err = prepare_list(r, q->txn.failure, q->txn.n_failure);
	}
	return err;
}

static int prepare_list(struct running *r, const struct mvcc_request *list,
			size_t n)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++)
		err = prepare(r, &list[i]);
	return err;
}

/* The changes are in the engine: what was staged for them belongs to rows. */
static void committed(struct running *r)
{
	for (size_t i = 0; i < r->n_staged; i++) {
		if (r->staged[i].used)
			object_committed(r->staged[i].object, r->c.main);
	}
}

/* Under write_mu. */
static int read_write(struct running *r, const struct mvcc_request *q,
		      struct mvcc_answer *a)
{
	int err = txn_begin(&r->c);

	r->before = atomic_load(&r->m->current);
	if (!err)
		err = run_at(r, q, NULL, a);
	if (!err)
		err = txn_finish(&r->c, NULL);
	if (!err && r->c.n)
		committed(r);
	return err;
}

static void running_fini(struct running *r)
{
	txn_end(&r->c);
	for (size_t i = 0; i < r->n_touched; i++) {
		found_release(&r->touched[i].f);
		free(r->touched[i].own);
	}
	free(r->touched);
	for (size_t i = 0; i < r->n_staged; i++)
		mvcc_object_free(r->staged[i].object);
	free(r->staged);
	for (size_t i = 0; i < r->n_pins; i++)
		mvcc_unpin(r->m, r->pins[i]);
	free(r->pins);
}

static int check_size(struct running *r, const struct mvcc_request *q,
		      const struct mvcc_request_options *opts)
{
	uint64_t max = opts->request_bytes_max;

	if (!r->writes || request_size(q) <= (max ? max : REQUEST_BYTES_MAX))
		return CAIRN_OK;
	return refuse(r, MVCC_REFUSAL_TOO_LARGE);
}

static int request(struct mvcc *m, const struct mvcc_request *q,
		   const struct mvcc_request_options *opts,
		   const struct row_sink *sink, struct mvcc_answer *out)
{
	static const struct mvcc_request_options defaults = { 0 };
	struct running r = { .m = m, .c.m = m };
	struct mvcc_answer a = { 0 };
	int err = store_need_revisions(m);

	if (!opts)
		opts = &defaults;
	r.bytes_left = opts->answer_bytes_max ? opts->answer_bytes_max
					      : ANSWER_BYTES_MAX;
	if (!err)
		err = request_check(q, &r.why);
	/* How deep it is nested has a limit now. */
	r.writes = !err && request_writes(q);
	if (!err)
		err = check_size(&r, q, opts);
	/* Whatever branch it takes, as in etcd. */
	if (!err && r.writes && request_puts(q))
		err = cairn_check_space(m->db);
	if (!err && !r.writes) {
		err = read_only(&r, q, sink, &a);
	} else if (!err) {
		err = prepare(&r, q);
		mutex_lock(&m->write_mu);
		if (!err)
			err = read_write(&r, q, &a);
		mutex_unlock(&m->write_mu);
	}
	if (err == CAIRN_EDQUOT)
		err = refuse(&r, MVCC_REFUSAL_NO_SPACE);
	running_fini(&r);
	if (!err && r.writes && opts->sync)
		err = cairn_wal_sync(m->db);
	if (err)
		mvcc_answer_free(&a);
	a.refusal = r.why;
	*out = a;
	return err;
}

int mvcc_request(struct mvcc *m, const struct mvcc_request *r,
		 const struct mvcc_request_options *opts,
		 struct mvcc_answer *out)
{
	return request(m, r, opts, NULL, out);
}

int mvcc_range(struct mvcc *m, const struct mvcc_range_request *r,
	       const struct mvcc_request_options *opts,
	       int (*fn)(void *ctx, const struct mvcc_row *row), void *ctx,
	       struct mvcc_answer *out)
{
	const struct mvcc_request q = { .kind = MVCC_REQUEST_RANGE,
					.range = *r };
	const struct row_sink sink = { .fn = fn, .ctx = ctx };

	return request(m, &q, opts, &sink, out);
}

/* ----------------------------------------------------------------- compact */

int mvcc_compact(struct mvcc *m, int64_t rev, bool physical,
		 enum mvcc_refusal *refusal)
{
	enum mvcc_refusal why = MVCC_REFUSAL_NONE;
	int err = store_need_revisions(m);

	if (!err)
		err = rev < 0 ? CAIRN_EFORGOTTEN : mvcc_forget(m, rev);
	if (err == CAIRN_EFORGOTTEN)
		err = request_refuse(&why, MVCC_REFUSAL_COMPACTED);
	else if (err == CAIRN_EFUTURE)
		err = request_refuse(&why, MVCC_REFUSAL_FUTURE);
	if (!err && physical)
		err = cairn_compact_range(m->db, slice_of(NULL, 0),
					  slice_of(NULL, 0), NULL);
	if (refusal)
		*refusal = why;
	return err;
}
