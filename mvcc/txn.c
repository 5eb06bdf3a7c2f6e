/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transactions: a list of ops, made into one batch when it is committed.
 *
 * A commit looks at the newest rows of its keys, twice: first without a lock,
 * so that reading them from disk and whatever objects have to write does not
 * hold up others, then under write_mu, where the rows come from the cache. The
 * batch goes to the engine without a sync; then the row cache is brought up to
 * date, and only then is the revision published. The sync comes after the lock
 * is released, so that the commits of several threads share it.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/attr.h"
#include "mvcc/object.h"
#include "mvcc/txn_impl.h"

/* How much memory a commit may leave to the next one. */
#define SPARE_MAX (64u << 10)

/* ---------------------------------------------------------------- building */

int mvcc_txn_new(struct mvcc *m, struct mvcc_txn **out)
{
	struct mvcc_txn *t = malloc(sizeof(*t));

	if (!t)
		return error_nomem();
	*t = (struct mvcc_txn){ .m = m };
	store_use(m);
	*out = t;
	return CAIRN_OK;
}

static void op_fini(struct op *op)
{
	if (op->own_object)
		mvcc_object_free(op->object);
	free(op->own);
}

static void txn_clear(struct mvcc_txn *t)
{
	for (size_t i = 0; i < t->n_ops; i++)
		op_fini(&t->ops[i]);
	for (size_t i = 0; i < t->n_expect; i++)
		free(t->expect[i].own);
	t->n_ops = 0;
	t->n_expect = 0;
	t->origin = NULL;
	t->use_reserve = false;
}

void mvcc_txn_free(struct mvcc_txn *t)
{
	if (!t)
		return;
	txn_clear(t);
	free(t->ops);
	free(t->expect);
	store_unuse(t->m);
	free(t);
}

/* Room for one more of n elements in *array. */
static int reserve_one(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? 2 * *cap : 4;
	void *old, *grown;

	if (n < *cap)
		return CAIRN_OK;
	memcpy(&old, array, sizeof(old));
	grown = realloc(old, want * size);
	if (!grown)
		return error_nomem();
	memcpy(array, &grown, sizeof(grown));
	*cap = want;
	return CAIRN_OK;
}

static struct cairn_slice copy_to(uint8_t **at, struct cairn_slice s)
{
	struct cairn_slice copy = slice_of(*at, s.len);

	if (s.len)
		memcpy(*at, s.data, s.len);
	*at += s.len;
	return copy;
}

/* Append op with copies of its slices; attrs is encoded. */
static int add(struct mvcc_txn *t, const struct op *op,
	       const struct mvcc_attrs *attrs)
{
	struct buf block = { 0 };
	struct op copy = *op;
	uint8_t *at;
	int err = store_check_key(t->m, op->key);

	if (!err && (op->kind == OP_MOVE || op->kind == OP_EXCHANGE))
		err = store_check_key(t->m, op->to);
	if (!err)
		err = attr_encode(&block, attrs);
	if (!err)
		err = reserve_one(&t->ops, t->n_ops, &t->cap_ops,
				  sizeof(t->ops[0]));
	if (err)
		goto out;
	copy.own = malloc(op->key.len + op->to.len + op->value.len + block.len +
			  1);
	if (!copy.own) {
		err = error_nomem();
		goto out;
	}
	at = copy.own;
	copy.key = copy_to(&at, op->key);
	copy.to = copy_to(&at, op->to);
	copy.value = copy_to(&at, op->value);
	copy.attrs = copy_to(&at, buf_slice(&block));
	if (attrs) {
		copy.type = attrs->type;
		copy.has_mtime = attrs->has_mtime;
		copy.mtime_ns = attrs->mtime_ns;
	}
	t->ops[t->n_ops++] = copy;
out:
	buf_fini(&block);
	return err;
}

/* A directory record is an empty value at a key that ends in '/'. */
static int check_dir(struct cairn_slice key, uint64_t size)
{
	if (size == 0 && key.len && key.data[key.len - 1] == '/')
		return CAIRN_OK;
	return error_set(CAIRN_EINVAL, "directory record with a value, or at "
				       "a key that does not end in '/'");
}

int mvcc_txn_put(struct mvcc_txn *t, struct cairn_slice key,
		 struct cairn_slice value, const struct mvcc_attrs *attrs)
{
	struct op op = { .kind = OP_PUT, .key = key, .value = value };
	int err = store_check_key(t->m, key);

	if (!err && attrs && attrs->type == MVCC_DIR)
		err = check_dir(key, value.len);
	if (err)
		return err;
	if (value.len <= t->m->chunk_size)
		return add(t, &op, attrs);

	/* Most of it need not wait in memory for the commit. */
	op.value = slice_of(NULL, 0);
	op.own_object = true;
	err = mvcc_object_new(t->m, &op.object);
	if (err)
		return err;
	err = mvcc_object_write(op.object, 0, value.data, value.len);
	if (!err)
		err = add(t, &op, attrs);
	if (err)
		mvcc_object_free(op.object);
	return err;
}

int mvcc_txn_put_object(struct mvcc_txn *t, struct cairn_slice key,
			struct mvcc_object *o, const struct mvcc_attrs *attrs)
{
	const struct op op = { .kind = OP_PUT, .key = key, .object = o };

	return add(t, &op, attrs);
}

int mvcc_txn_set_attrs(struct mvcc_txn *t, struct cairn_slice key,
		       const struct mvcc_attrs *attrs)
{
	const struct op op = { .kind = OP_SET_ATTRS,
			       .key = key,
			       .lease = MVCC_LEASE_KEEP };

	return add(t, &op, attrs);
}

int mvcc_txn_merge(struct mvcc_txn *t, struct cairn_slice key,
		   struct cairn_slice operand)
{
	const struct op op = { .kind = OP_MERGE, .key = key, .value = operand };

	if (t->m->kind->revisions)
		return error_set(CAIRN_EKIND,
				 "a revision store merges no operands");
	return add(t, &op, NULL);
}

int mvcc_txn_delete(struct mvcc_txn *t, struct cairn_slice key)
{
	const struct op op = { .kind = OP_DELETE, .key = key };

	return add(t, &op, NULL);
}

int mvcc_txn_move(struct mvcc_txn *t, struct cairn_slice from,
		  struct cairn_slice to)
{
	const struct op op = { .kind = OP_MOVE, .key = from, .to = to };

	return add(t, &op, NULL);
}

int mvcc_txn_exchange(struct mvcc_txn *t, struct cairn_slice a,
		      struct cairn_slice b)
{
	const struct op op = { .kind = OP_EXCHANGE, .key = a, .to = b };

	return add(t, &op, NULL);
}

int mvcc_txn_set_lease(struct mvcc_txn *t, int64_t lease)
{
	struct op *last = t->n_ops ? &t->ops[t->n_ops - 1] : NULL;
	int err = store_need_revisions(t->m);

	if (err)
		return err;
	if (!last || (last->kind != OP_PUT && last->kind != OP_SET_ATTRS))
		return error_set(CAIRN_EINVAL,
				 "no put or change of attributes to set a "
				 "lease for");
	if (lease < MVCC_LEASE_KEEP)
		return error_set(CAIRN_EINVAL, "lease id %lld is below 0",
				 (long long)lease);
	last->lease = lease;
	return CAIRN_OK;
}

int mvcc_txn_expect(struct mvcc_txn *t, struct cairn_slice key, int64_t main)
{
	struct expectation e = { .main = main };
	int err = store_need_revisions(t->m);

	if (!err)
		err = store_check_key(t->m, key);
	if (!err)
		err = reserve_one(&t->expect, t->n_expect, &t->cap_expect,
				  sizeof(t->expect[0]));
	if (err)
		return err;
	e.own = malloc(key.len);
	if (!e.own)
		return error_nomem();
	memcpy(e.own, key.data, key.len);
	e.key = slice_of(e.own, key.len);
	t->expect[t->n_expect++] = e;
	return CAIRN_OK;
}

void mvcc_txn_use_reserve(struct mvcc_txn *t)
{
	t->use_reserve = true;
}

void mvcc_txn_set_origin(struct mvcc_txn *t, const void *origin)
{
	t->origin = origin;
}

/* ---------------------------------------------------------------- checking */

static int cmp_keys(const void *a, const void *b)
{
	struct cairn_slice x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return slice_cmp(x, y);
}

static int cmp_objects(const void *a, const void *b)
{
	const char *x, *y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

static bool has_two_keys(const struct op *op)
{
	return op->kind == OP_MOVE || op->kind == OP_EXCHANGE;
}

/* No key and no object in two ops. */
static int check_distinct(const struct mvcc_txn *t)
{
	struct cairn_slice *keys;
	struct mvcc_object **objects;
	size_t n = 0, n_objects = 0;
	int err = CAIRN_OK;

	if (t->n_ops == 1 && (!has_two_keys(&t->ops[0]) ||
			      !slice_eq(t->ops[0].key, t->ops[0].to)))
		return CAIRN_OK;
	keys = calloc(2 * t->n_ops + 1, sizeof(*keys));
	objects = calloc(t->n_ops + 1, sizeof(struct mvcc_object *));
	if (!keys || !objects) {
		err = error_nomem();
		goto out;
	}
	for (size_t i = 0; i < t->n_ops; i++) {
		keys[n++] = t->ops[i].key;
		if (has_two_keys(&t->ops[i]))
			keys[n++] = t->ops[i].to;
		if (t->ops[i].object)
			objects[n_objects++] = t->ops[i].object;
	}
	qsort(keys, n, sizeof(*keys), cmp_keys);
	qsort(objects, n_objects, sizeof(struct mvcc_object *), cmp_objects);
	for (size_t i = 1; !err && i < n; i++) {
		if (slice_eq(keys[i - 1], keys[i]))
			err = error_set(CAIRN_EINVAL,
					"a key is in two ops of a "
					"transaction");
	}
	for (size_t i = 1; !err && i < n_objects; i++) {
		if (objects[i - 1] == objects[i])
			err = error_set(CAIRN_EINVAL,
					"a value is put twice in a "
					"transaction");
	}
out:
	free(objects);
	free(keys);
	return err;
}

int txn_warm(struct mvcc *m, struct cairn_slice key)
{
	struct found f = { 0 };
	int err = CAIRN_OK;

	if (!row_cache_has(&m->rows, key))
		err = store_latest(m, key, false, &f);
	found_release(&f);
	return err;
}

static int prepare_object(struct mvcc *m, const struct op *op)
{
	struct found f = { 0 };
	int err = store_latest(m, op->key, false, &f);

	if (!err)
		err = object_prepare(op->object,
				     found_live(&f) ? &f.row : NULL);
	found_release(&f);
	return err;
}

/* What can be done before the lock is taken. */
int txn_prepare_revision(const struct mvcc_txn *t)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < t->n_expect; i++)
		err = txn_warm(t->m, t->expect[i].key);
	for (size_t i = 0; !err && i < t->n_ops; i++) {
		const struct op *op = &t->ops[i];

		if (op->object)
			err = prepare_object(t->m, op);
		else
			err = txn_warm(t->m, op->key);
		if (!err && has_two_keys(op))
			err = txn_warm(t->m, op->to);
	}
	return err;
}

static int check_expectations(const struct mvcc_txn *t)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < t->n_expect; i++) {
		const struct expectation *e = &t->expect[i];
		struct found f = { 0 };
		int64_t main;

		err = store_latest(t->m, e->key, false, &f);
		main = !err && found_live(&f) ? f.row.main : 0;
		if (!err && main != e->main)
			err = error_set(CAIRN_EABORTED,
					"a key is at revision %lld, not %lld",
					(long long)main, (long long)e->main);
		found_release(&f);
	}
	return err;
}

/* ---------------------------------------------------------------- emitting */

static int put(struct commit *c, const struct buf *key, const struct buf *value)
{
	return cairn_batch_put(c->batch, buf_slice(key), buf_slice(value));
}

/* The row's value for the cache: all of it, or what precedes the value. */
static int keep_row(struct commit *c, struct change *ch,
		    const struct mvcc_row *row)
{
	ch->row_off = c->rows.len;
	ch->full_len = c->value.len;
	ch->row_len = c->value.len;
	if (ch->row_len > ROW_CACHE_VALUE_MAX)
		ch->row_len -= row->value.len;
	return buf_append(&c->rows, c->value.data, ch->row_len);
}

int txn_add_change(struct commit *c, struct change **out)
{
	int err =
		reserve_one(&c->changes, c->n, &c->cap, sizeof(c->changes[0]));

	if (err)
		return err;
	*out = &c->changes[c->n];
	**out = (struct change){ 0 };
	return CAIRN_OK;
}

/* Row and log entry of the next change, which takes its key from the lease
 * named. row->main and sub are set. */
static int emit_row(struct commit *c, const struct mvcc_row *row,
		    struct cairn_slice attrs, int64_t from_lease)
{
	struct change *ch;
	int err = txn_add_change(c, &ch);

	if (!err)
		err = lease_move(c, row->key, from_lease, row->lease);
	if (err)
		return err;
	assert(row->deleted || row->object || row->value.len == row->size);
	ch->key = row->key;
	ch->deleted = row->deleted;
	err = enc_row_key(&c->key, row->key, row->main, row->sub);
	if (!err)
		err = enc_row_value(&c->value, row, attrs);
	if (!err)
		err = put(c, &c->key, &c->value);
	if (!err)
		err = keep_row(c, ch, row);
	if (!err)
		err = enc_log_key(&c->key, row->main, row->sub);
	if (!err)
		err = enc_log_value(&c->log, row->deleted, row->key);
	if (!err)
		err = put(c, &c->key, &c->log);
	if (!err)
		c->n++;
	return err;
}

/* The change row ends what prev (may be NULL) named, unless it names it, too.
 */
static int emit_ended(struct commit *c, const struct mvcc_row *row,
		      const struct mvcc_row *prev)
{
	struct enc_ended e = { .main = row->main,
			       .sub = row->sub,
			       .to = UINT64_MAX };
	int err;

	if (!prev || !prev->object || prev->object == row->object)
		return CAIRN_OK;
	e.object = prev->object;
	err = enc_ended(&c->key, &c->value, &e);
	if (!err)
		err = put(c, &c->key, &c->value);
	if (!err)
		c->ended++;
	return err;
}

/* The next change, to key, whose newest row is prev. */
static struct mvcc_row next_row(const struct commit *c, struct cairn_slice key,
				const struct found *prev)
{
	bool live = found_live(prev);

	assert(c->n <= INT32_MAX);
	return (struct mvcc_row){
		.key = key,
		.main = c->main,
		.sub = (int32_t)c->n,
		.create_rev = live ? prev->row.create_rev : c->main,
		.version = live ? prev->row.version + 1 : 1,
		.time_ns = c->time_ns,
	};
}

/* Value and size as another row has them. */
static void take_value(struct mvcc_row *row, const struct mvcc_row *from)
{
	row->size = from->size;
	row->value = from->value;
	row->object = from->object;
	row->chunk_size = from->chunk_size;
	row->chunks_high = from->chunks_high;
}

static const struct mvcc_row *live_row(const struct found *f)
{
	return found_live(f) ? &f->row : NULL;
}

/* The lease of a live row, 0: none. */
static int64_t lease_of(const struct found *f)
{
	return found_live(f) ? f->row.lease : 0;
}

/* The lease of a row that op writes over prev. */
static int choose_lease(const struct commit *c, const struct op *op,
			const struct found *prev, int64_t *out)
{
	*out = op->lease;
	if (op->lease == MVCC_LEASE_KEEP)
		*out = lease_of(prev);
	else if (op->lease)
		return lease_check(c->m, op->lease);
	return CAIRN_OK;
}

static int emit_put(struct commit *c, const struct op *op)
{
	struct found prev = { 0 };
	struct mvcc_row row;
	bool cut = false;
	int err = store_latest(c->m, op->key, false, &prev);

	if (err)
		return err;
	row = next_row(c, op->key, &prev);
	row.value = op->value;
	row.size = op->value.len;
	err = choose_lease(c, op, &prev, &row.lease);
	if (err) {
		found_release(&prev);
		return err;
	}
	if (op->object && !object_prepared(op->object, live_row(&prev))) {
		c->retry = true;
		err = CAIRN_EABORTED;
	} else if (op->object) {
		err = object_emit(op->object, c->batch, &row, &cut);
	}
	if (!err && op->type == MVCC_DIR)
		err = check_dir(op->key, row.size);
	if (!err)
		err = emit_ended(c, &row, live_row(&prev));
	if (!err)
		err = emit_row(c, &row, op->attrs, lease_of(&prev));
	if (!err && cut)
		c->ended++;
	found_release(&prev);
	return err;
}

static int emit_tombstone(struct commit *c, struct cairn_slice key,
			  const struct found *prev)
{
	struct mvcc_row row = next_row(c, key, prev);

	row.deleted = true;
	row.version = prev->row.version;
	return emit_row(c, &row, slice_of(NULL, 0), lease_of(prev));
}

int txn_delete_row(struct commit *c, struct cairn_slice key,
		   const struct found *prev)
{
	const struct mvcc_row none = { .main = c->main, .sub = (int32_t)c->n };
	int err = emit_ended(c, &none, &prev->row);

	return err ? err : emit_tombstone(c, key, prev);
}

static int emit_delete(struct commit *c, const struct op *op)
{
	struct found prev = { 0 };
	int err = store_latest(c->m, op->key, false, &prev);

	if (!err && found_live(&prev))
		err = txn_delete_row(c, op->key, &prev);
	found_release(&prev);
	return err;
}

static int not_there(void)
{
	return error_set(CAIRN_NOT_FOUND, "no such key");
}

static int emit_set_attrs(struct commit *c, const struct op *op)
{
	struct found prev = { 0 };
	struct mvcc_row row;
	int err = store_latest(c->m, op->key, true, &prev);

	if (!err && !found_live(&prev))
		err = not_there();
	if (!err && op->type == MVCC_DIR)
		err = check_dir(op->key, prev.row.size);
	if (!err) {
		row = next_row(c, op->key, &prev);
		take_value(&row, &prev.row);
		err = choose_lease(c, op, &prev, &row.lease);
	}
	if (!err)
		err = emit_row(c, &row, op->attrs, prev.row.lease);
	found_release(&prev);
	return err;
}

/* Put the value of from at key. */
static int emit_moved(struct commit *c, struct cairn_slice key,
		      const struct found *prev, const struct found *from)
{
	struct mvcc_row row = next_row(c, key, prev);

	if (from->row.attrs.type == MVCC_DIR && key.data[key.len - 1] != '/')
		return check_dir(key, 0);
	take_value(&row, &from->row);
	row.lease = from->row.lease;
	return emit_row(c, &row, from->attrs, lease_of(prev));
}

static int emit_move(struct commit *c, const struct op *op)
{
	struct found from = { 0 }, to = { 0 };
	struct mvcc_row moved;
	int err = store_latest(c->m, op->key, true, &from);

	if (!err && !found_live(&from))
		err = not_there();
	if (!err)
		err = store_latest(c->m, op->to, false, &to);
	if (!err)
		err = emit_tombstone(c, op->key, &from);
	if (!err) {
		moved = next_row(c, op->to, &to);
		take_value(&moved, &from.row);
		err = emit_ended(c, &moved, live_row(&to));
	}
	if (!err)
		err = emit_moved(c, op->to, &to, &from);
	found_release(&to);
	found_release(&from);
	return err;
}

static int emit_exchange(struct commit *c, const struct op *op)
{
	struct found a = { 0 }, b = { 0 };
	int err = store_latest(c->m, op->key, true, &a);

	if (!err)
		err = store_latest(c->m, op->to, true, &b);
	if (!err && (!found_live(&a) || !found_live(&b)))
		err = not_there();
	if (!err)
		err = emit_moved(c, op->key, &a, &b);
	if (!err)
		err = emit_moved(c, op->to, &b, &a);
	found_release(&b);
	found_release(&a);
	return err;
}

int txn_emit(struct commit *c, const struct op *op)
{
	switch (op->kind) {
	case OP_PUT:
		return emit_put(c, op);
	case OP_MERGE:
		break;
	case OP_DELETE:
		return emit_delete(c, op);
	case OP_SET_ATTRS:
		return emit_set_attrs(c, op);
	case OP_MOVE:
		return emit_move(c, op);
	case OP_EXCHANGE:
		return emit_exchange(c, op);
	}
	return error_set(CAIRN_EINVAL, "unknown op");
}

/* -------------------------------------------------------------- committing */

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int txn_list_changes(const struct commit *c, struct mvcc_change **out)
{
	struct mvcc_change *changes;

	*out = NULL;
	if (!c->m->listener.committed)
		return CAIRN_OK;
	changes = malloc(c->n * sizeof(*changes));
	if (!changes)
		return error_nomem();
	for (size_t i = 0; i < c->n; i++) {
		changes[i] = (struct mvcc_change){
			.main = c->main,
			.sub = (int32_t)i,
			.deleted = c->changes[i].deleted,
			.key = c->changes[i].key,
		};
	}
	*out = changes;
	return CAIRN_OK;
}

void txn_publish(struct commit *c, const struct mvcc_txn *t,
		 const struct mvcc_change *changes)
{
	struct mvcc *m = c->m;

	for (size_t i = 0; t && i < t->n_ops; i++) {
		if (t->ops[i].object)
			object_committed(t->ops[i].object, c->main);
	}
	m->last_time_ns = c->time_ns;
	atomic_fetch_add(&m->commits, 1);
	atomic_store(&m->current, c->main);
	if (m->listener.committed)
		m->listener.committed(m->listener.ctx, c->main,
				      t ? t->origin : NULL, changes, c->n);
	watch_publish(c);
}

/* The newest rows are these now. */
static void cache_rows(struct commit *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct change *ch = &c->changes[i];
		struct cached_row row = {
			.main = c->main,
			.sub = (int32_t)i,
			.full_len = ch->full_len,
			.value = slice_of(c->rows.data + ch->row_off,
					  ch->row_len),
		};

		row_cache_put(&c->m->rows, ch->key, &row);
		if (!ch->deleted)
			row_cache_made(&c->m->rows, ch->key);
	}
}

int txn_write(struct commit *c)
{
	struct cairn_write_options o = { .use_reserve = true };

	for (size_t i = 0; i < c->n && !c->use_reserve; i++)
		o.use_reserve = o.use_reserve && c->changes[i].deleted;
	return cairn_write(c->m->db, &o, c->batch);
}

int txn_finish(struct commit *c, const struct mvcc_txn *t)
{
	struct mvcc *m = c->m;
	struct mvcc_change *changes = NULL;
	int err;

	assert_held(&m->write_mu);
	if (!c->n)
		return CAIRN_OK;
	err = txn_list_changes(c, &changes);
	if (err)
		return err;
	/* From here on readers leave the cache alone; see row_cache.h. */
	atomic_store(&m->begun, c->main);
	err = txn_write(c);
	if (err) {
		atomic_store(&m->begun, c->main - 1);
	} else {
		/* The batch is in the engine: nothing can fail any more. */
		cache_rows(c);
		atomic_fetch_add(&m->objects_ended, c->ended);
		txn_publish(c, t, changes);
	}
	free(changes);
	return err;
}

int txn_commit_revision(struct commit *c, const struct mvcc_txn *t)
{
	int err = check_expectations(t);

	for (size_t i = 0; !err && i < t->n_ops; i++)
		err = txn_emit(c, &t->ops[i]);
	return err ? err : txn_finish(c, t);
}

/* Take the memory of a commit before. */
static void take_spare(struct commit *c)
{
	struct txn_spare *s = &c->m->spare;

	c->batch = s->batch;
	c->changes = s->changes;
	c->cap = s->cap;
	c->rows = s->rows;
	c->key = s->key;
	c->value = s->value;
	c->log = s->log;
	*s = (struct txn_spare){ 0 };
}

/* Leave the memory to the next commit, unless it is much. */
static void leave_spare(struct commit *c)
{
	struct mvcc *m = c->m;

	assert_held(&m->write_mu);
	if (!c->batch || m->spare.batch ||
	    cairn_batch_bytes(c->batch) > SPARE_MAX ||
	    c->cap * sizeof(*c->changes) + c->rows.cap + c->key.cap +
			    c->value.cap + c->log.cap >
		    SPARE_MAX)
		return;
	cairn_batch_clear(c->batch);
	m->spare = (struct txn_spare){ .batch = c->batch,
				       .changes = c->changes,
				       .cap = c->cap,
				       .rows = c->rows,
				       .key = c->key,
				       .value = c->value,
				       .log = c->log };
	buf_clear(&m->spare.rows);
	*c = (struct commit){ .m = m, .retry = c->retry };
}

int txn_begin(struct commit *c)
{
	struct mvcc *m = c->m;
	int64_t now = now_ns();

	assert_held(&m->write_mu);
	c->main = atomic_load(&m->current) + 1;
	c->time_ns = now > m->last_time_ns ? now : m->last_time_ns;
	take_spare(c);
	if (!c->batch)
		c->batch = cairn_batch_new();
	return c->batch ? CAIRN_OK : error_nomem();
}

void txn_end(struct commit *c)
{
	cairn_batch_free(c->batch);
	free(c->changes);
	buf_fini(&c->rows);
	buf_fini(&c->key);
	buf_fini(&c->value);
	buf_fini(&c->log);
}

void txn_spare_fini(struct txn_spare *s)
{
	struct commit c = { .batch = s->batch,
			    .changes = s->changes,
			    .rows = s->rows,
			    .key = s->key,
			    .value = s->value,
			    .log = s->log };

	txn_end(&c);
}

/*
 * One try. *rev: the revision written, or the current one. *retry: it failed
 * only because something changed between prepare() and the lock.
 */
static int try_commit(const struct mvcc_txn *t, int64_t *rev, bool *retry)
{
	struct commit c = { .m = t->m, .use_reserve = t->use_reserve };
	int err = t->m->kind->prepare(t);

	if (err)
		return err;
	mutex_lock(&t->m->write_mu);
	err = txn_begin(&c);
	if (!err)
		err = t->m->kind->commit(&c, t);
	*rev = atomic_load(&t->m->current);
	leave_spare(&c);
	mutex_unlock(&t->m->write_mu);
	*retry = c.retry;
	txn_end(&c);
	return err;
}

int mvcc_txn_commit(struct mvcc_txn *t, bool sync, int64_t *rev)
{
	bool retry = true;
	int64_t got = 0;
	int err = check_distinct(t);

	if (err)
		return err;
	while (retry) {
		retry = false;
		err = try_commit(t, &got, &retry);
	}
	if (err)
		return err;
	txn_clear(t);
	if (rev)
		*rev = got;
	return sync ? cairn_wal_sync(t->m->db) : CAIRN_OK;
}

static int commit_one(struct mvcc_txn *t, int err, int64_t *rev)
{
	if (!err)
		err = mvcc_txn_commit(t, false, rev);
	mvcc_txn_free(t);
	return err;
}

int mvcc_put(struct mvcc *m, struct cairn_slice key, struct cairn_slice value,
	     const struct mvcc_attrs *attrs, int64_t *rev)
{
	struct mvcc_txn *t = NULL;
	int err = mvcc_txn_new(m, &t);

	if (err)
		return err;
	return commit_one(t, mvcc_txn_put(t, key, value, attrs), rev);
}

int mvcc_delete(struct mvcc *m, struct cairn_slice key, int64_t *rev)
{
	struct mvcc_txn *t = NULL;
	int err = mvcc_txn_new(m, &t);

	if (err)
		return err;
	return commit_one(t, mvcc_txn_delete(t, key), rev);
}
