/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/lease.h"

#include <stdlib.h>
#include <sys/random.h>

#include "engine/base/error.h"
#include "mvcc/txn_impl.h"

#define BATCH_BYTES_DEFAULT ((size_t)64 << 20)

/* ------------------------------------------------------------------ table */

static struct lease **bucket_of(struct leases *ls, int64_t id)
{
	/* Ids are chosen by clients and may be 1, 2, 3 ... */
	uint64_t h = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15);

	return &ls->buckets[(h >> 32) & (ls->n_buckets - 1)];
}

struct lease *lease_find(struct mvcc *m, int64_t id)
{
	struct lease *l;

	if (!m->leases.n)
		return NULL;
	l = *bucket_of(&m->leases, id);
	while (l && l->id != id)
		l = l->next;
	return l;
}

/* Twice as many buckets; both locks are held, or nobody else knows m. */
static int grow_buckets(struct leases *ls)
{
	struct lease **old = ls->buckets;
	size_t n_old = ls->n_buckets;
	size_t n = n_old ? 2 * n_old : 16;
	struct lease **buckets = calloc(n, sizeof(struct lease *));

	if (!buckets)
		return error_nomem();
	ls->buckets = buckets;
	ls->n_buckets = n;
	for (size_t i = 0; i < n_old; i++) {
		struct lease *next;

		for (struct lease *l = old[i]; l; l = next) {
			struct lease **at = bucket_of(ls, l->id);

			next = l->next;
			l->next = *at;
			*at = l;
		}
	}
	free(old);
	return CAIRN_OK;
}

/* Room for one more, so that adding it cannot fail. */
static int reserve(struct leases *ls)
{
	size_t cap = ls->cap_heap ? 2 * ls->cap_heap : 16;
	struct lease **heap;

	if (ls->n == ls->n_buckets && grow_buckets(ls))
		return CAIRN_ENOMEM;
	if (ls->n < ls->cap_heap)
		return CAIRN_OK;
	heap = realloc(ls->heap, cap * sizeof(struct lease *));
	if (!heap)
		return error_nomem();
	ls->heap = heap;
	ls->cap_heap = cap;
	return CAIRN_OK;
}

static void heap_set(struct leases *ls, size_t at, struct lease *l)
{
	ls->heap[at] = l;
	l->heap_at = at;
}

/* The deadline of the lease at this place has changed. */
static void heap_settle(struct leases *ls, size_t at)
{
	struct lease *l = ls->heap[at];

	while (at && ls->heap[(at - 1) / 2]->deadline_ms > l->deadline_ms) {
		heap_set(ls, at, ls->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < ls->n && ls->heap[child + 1]->deadline_ms <
						 ls->heap[child]->deadline_ms)
			child++;
		if (child >= ls->n ||
		    ls->heap[child]->deadline_ms >= l->deadline_ms)
			break;
		heap_set(ls, at, ls->heap[child]);
		at = child;
	}
	heap_set(ls, at, l);
}

void lease_set_deadline(struct mvcc *m, struct lease *l, int64_t deadline_ms)
{
	l->deadline_ms = deadline_ms;
	heap_settle(&m->leases, l->heap_at);
	/* The thread looks again when the first one may have changed. */
	if (l->heap_at == 0)
		cond_signal(&m->leases.wake);
}

/* After reserve(). */
static void lease_add(struct mvcc *m, struct lease *l)
{
	struct leases *ls = &m->leases;
	struct lease **at = bucket_of(ls, l->id);

	l->next = *at;
	*at = l;
	heap_set(ls, ls->n++, l);
	lease_set_deadline(m, l, l->deadline_ms);
}

void lease_drop(struct mvcc *m, struct lease *l)
{
	struct leases *ls = &m->leases;
	struct lease **at = bucket_of(ls, l->id);
	struct lease *last = ls->heap[--ls->n];

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (last != l) {
		heap_set(ls, l->heap_at, last);
		heap_settle(ls, last->heap_at);
	}
	free(l);
}

/* ------------------------------------------------------------------ clock */

int64_t lease_now_ms(struct mvcc *m)
{
	const struct mvcc_lease_options *o = &m->leases.opts;
	struct timespec ts;

	if (o->now_ms)
		return o->now_ms(o->ctx);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------ for writers */

int lease_not_found(void)
{
	return error_set(CAIRN_NOT_FOUND,
			 "etcdserver: requested lease not found");
}

static int no_space(void)
{
	return error_set(CAIRN_EDQUOT,
			 "etcdserver: mvcc: database space exceeded");
}

bool lease_known(struct mvcc *m, int64_t id)
{
	struct lease *l;

	assert_held(&m->write_mu);
	l = lease_find(m, id);
	return l && !l->ending;
}

int lease_check(struct mvcc *m, int64_t id)
{
	return lease_known(m, id) ? CAIRN_OK : lease_not_found();
}

int lease_move(struct commit *c, struct cairn_slice key, int64_t from,
	       int64_t to)
{
	int err = CAIRN_OK;

	assert_held(&c->m->write_mu);
	if (from == to)
		return CAIRN_OK;
	if (from) {
		err = enc_attached_key(&c->key, from, key);
		if (!err)
			err = cairn_batch_delete(c->batch, buf_slice(&c->key));
	}
	if (!err && to) {
		err = enc_attached_key(&c->key, to, key);
		if (!err)
			err = cairn_batch_put(c->batch, buf_slice(&c->key),
					      slice_of(NULL, 0));
	}
	return err;
}

int lease_put(struct cairn_batch *b, const struct lease *l, int64_t left,
	      bool ending)
{
	const struct enc_lease e = {
		.id = l->id, .ttl = l->ttl, .left = left, .ending = ending
	};
	struct buf k = { 0 }, v = { 0 };
	int err = enc_lease(&k, &v, &e);

	if (!err)
		err = cairn_batch_put(b, buf_slice(&k), buf_slice(&v));
	buf_fini(&v);
	buf_fini(&k);
	return err;
}

/* Write l down on its own, with nothing used up; is_new: not on a full store.
 */
static int write_alone(struct mvcc *m, const struct lease *l, bool is_new)
{
	const struct cairn_write_options o = { .use_reserve = !is_new };
	struct cairn_batch *b = cairn_batch_new();
	int err = b ? lease_put(b, l, 0, false) : error_nomem();

	assert_held(&m->write_mu);
	if (!err)
		err = cairn_write(m->db, &o, b);
	cairn_batch_free(b);
	return err == CAIRN_EDQUOT ? no_space() : err;
}

/* ------------------------------------------------------------------- keys */

int lease_keys_begin(struct lease_keys *w, struct mvcc *m, int64_t id)
{
	struct cairn_read_options o = { 0 };
	int err;

	memset(w, 0, sizeof(*w));
	err = enc_attached_start(&w->start, (uint64_t)id);
	if (!err)
		err = enc_attached_start(&w->end, (uint64_t)id + 1);
	if (!err) {
		o.lower = buf_slice(&w->start);
		o.upper = buf_slice(&w->end);
		err = cairn_iter_new(m->db, &o, &w->it);
	}
	if (err)
		lease_keys_end(w);
	return err;
}

int lease_keys_next(struct lease_keys *w, struct cairn_slice *entry)
{
	bool on = w->begun ? cairn_iter_next(w->it) : cairn_iter_first(w->it);
	int64_t id;
	int err;

	w->begun = true;
	if (!on) {
		err = cairn_iter_status(w->it);
		return err ? err : CAIRN_NOT_FOUND;
	}
	*entry = cairn_iter_key(w->it);
	return enc_attached_parse(*entry, &id, &w->key);
}

void lease_keys_end(struct lease_keys *w)
{
	cairn_iter_free(w->it);
	buf_fini(&w->start);
	buf_fini(&w->end);
	buf_fini(&w->key);
	memset(w, 0, sizeof(*w));
}

/* ------------------------------------------------------------------ grant */

static int need_writable(const struct mvcc *m)
{
	int err = store_need_revisions(m);

	if (!err && m->read_only)
		err = error_set(CAIRN_EROFS, "the store is open read-only");
	return err;
}

/* An id that is not in use; write_mu is held. */
static int choose_id(struct mvcc *m, int64_t *out)
{
	uint64_t id;

	do {
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return error_set(CAIRN_EIO,
					 "the system gives no random number");
		id &= INT64_MAX;
	} while (!id || lease_find(m, (int64_t)id));
	*out = (int64_t)id;
	return CAIRN_OK;
}

/* write_mu is held; l is taken over when it goes well. */
static int grant_locked(struct mvcc *m, struct lease *l)
{
	int err = CAIRN_OK;

	if (l->id && lease_find(m, l->id))
		return error_set(CAIRN_EEXIST,
				 "etcdserver: lease already exists");
	if (!l->id)
		err = choose_id(m, &l->id);
	if (err)
		return err;
	mutex_lock(&m->leases.mu);
	err = reserve(&m->leases);
	mutex_unlock(&m->leases.mu);
	if (!err)
		err = write_alone(m, l, true);
	if (err)
		return err;
	mutex_lock(&m->leases.mu);
	l->deadline_ms = lease_now_ms(m) + l->ttl * 1000;
	lease_add(m, l);
	mutex_unlock(&m->leases.mu);
	return CAIRN_OK;
}

int mvcc_lease_grant(struct mvcc *m, int64_t ttl, int64_t *id, int64_t *granted)
{
	struct lease *l;
	int64_t got_id, got_ttl;
	int err = need_writable(m);

	if (!err)
		err = lease_start(m);
	if (err)
		return err;
	if (ttl > MVCC_LEASE_TTL_MAX)
		return error_set(CAIRN_EINVAL,
				 "etcdserver: too large lease TTL");
	if (*id < 0)
		return error_set(CAIRN_EINVAL, "lease id %lld is below 0",
				 (long long)*id);
	l = calloc(1, sizeof(*l));
	if (!l)
		return error_nomem();
	l->id = *id;
	l->ttl = ttl < MVCC_LEASE_TTL_MIN ? MVCC_LEASE_TTL_MIN : ttl;
	got_ttl = l->ttl;
	mutex_lock(&m->write_mu);
	err = grant_locked(m, l);
	/* Without write_mu it may end at any time. */
	got_id = l->id;
	mutex_unlock(&m->write_mu);
	if (err) {
		free(l);
		return err;
	}
	*id = got_id;
	*granted = got_ttl;
	return CAIRN_OK;
}

/* -------------------------------------------------------------- keepalive */

enum kept { KEPT, KEPT_NONE, KEPT_WRITE };

/* unless_used: not when the row says that some of the ttl is used up. */
static enum kept keep(struct mvcc *m, int64_t id, bool unless_used,
		      int64_t *ttl)
{
	int64_t now = lease_now_ms(m);
	struct lease *l;
	enum kept kept = KEPT;

	mutex_lock(&m->leases.mu);
	l = lease_find(m, id);
	if (!l || l->ending || now >= l->deadline_ms) {
		kept = KEPT_NONE;
	} else if (unless_used && l->left) {
		kept = KEPT_WRITE;
	} else {
		*ttl = l->ttl;
		lease_set_deadline(m, l, now + l->ttl * 1000);
	}
	mutex_unlock(&m->leases.mu);
	return kept;
}

/* Forget what is written down as used up, or a restart would end the lease
 * before the deadline that is now promised. */
static int keep_written(struct mvcc *m, int64_t id, int64_t *ttl)
{
	struct lease *l;
	int err = CAIRN_OK;

	mutex_lock(&m->write_mu);
	l = lease_find(m, id);
	if (l && (l->ending || !l->left))
		l = NULL;
	if (l)
		err = write_alone(m, l, false);
	if (l && !err) {
		mutex_lock(&m->leases.mu);
		l->left = 0;
		mutex_unlock(&m->leases.mu);
	}
	if (!err && keep(m, id, false, ttl) != KEPT)
		*ttl = 0;
	mutex_unlock(&m->write_mu);
	return err;
}

int mvcc_lease_keepalive(struct mvcc *m, int64_t id, int64_t *ttl)
{
	int64_t got = 0;
	int err = need_writable(m);

	if (!err && keep(m, id, true, &got) == KEPT_WRITE)
		err = keep_written(m, id, &got);
	if (!err)
		*ttl = got;
	return err;
}

/* ---------------------------------------------------------------- looking */

static struct mvcc_lease_info info_of(const struct lease *l, int64_t now_ms)
{
	int64_t left = l->ending ? 0 : (l->deadline_ms - now_ms) / 1000;

	return (struct mvcc_lease_info){ .id = l->id,
					 .granted = l->ttl,
					 .remaining = left > 0 ? left : 0 };
}

int mvcc_lease_get(struct mvcc *m, int64_t id, struct mvcc_lease_info *out)
{
	int64_t now = lease_now_ms(m);
	struct lease *l;
	int err = store_need_revisions(m);

	if (err)
		return err;
	mutex_lock(&m->leases.mu);
	l = lease_find(m, id);
	if (l)
		*out = info_of(l, now);
	mutex_unlock(&m->leases.mu);
	return l ? CAIRN_OK : lease_not_found();
}

/* Whether the newest row of key names the lease. */
static int is_attached(struct mvcc *m, struct cairn_slice key, int64_t id,
		       bool *attached)
{
	struct found f = { 0 };
	int err = store_latest(m, key, false, &f);

	*attached = !err && found_live(&f) && f.row.lease == id;
	found_release(&f);
	return err;
}

int mvcc_lease_keys(struct mvcc *m, int64_t id,
		    int (*fn)(void *ctx, struct cairn_slice key), void *ctx)
{
	struct lease_keys w = { 0 };
	struct cairn_slice entry;
	bool attached;
	int err = store_need_revisions(m);

	if (err || id <= 0)
		return err;
	err = lease_keys_begin(&w, m, id);
	while (!err) {
		err = lease_keys_next(&w, &entry);
		if (!err)
			err = is_attached(m, buf_slice(&w.key), id, &attached);
		if (!err && attached)
			err = fn(ctx, buf_slice(&w.key));
	}
	lease_keys_end(&w);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int cmp_ids(const void *a, const void *b)
{
	const struct mvcc_lease_info *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int mvcc_lease_list(struct mvcc *m, struct mvcc_lease_info **out, size_t *n)
{
	struct leases *ls = &m->leases;
	int64_t now = lease_now_ms(m);
	struct mvcc_lease_info *all;
	int err = store_need_revisions(m);

	if (err)
		return err;
	mutex_lock(&ls->mu);
	all = calloc(ls->n + 1, sizeof(*all));
	if (all) {
		*n = ls->n;
		for (size_t i = 0; i < ls->n; i++)
			all[i] = info_of(ls->heap[i], now);
	}
	mutex_unlock(&ls->mu);
	if (!all)
		return error_nomem();
	qsort(all, *n, sizeof(*all), cmp_ids);
	*out = all;
	return CAIRN_OK;
}

/* ------------------------------------------------------------------- open */

void lease_init(struct mvcc *m, const struct mvcc_lease_options *opts)
{
	struct leases *ls = &m->leases;

	ls->opts = *opts;
	if (!ls->opts.batch_bytes)
		ls->opts.batch_bytes = BATCH_BYTES_DEFAULT;
	mutex_init(&ls->mu);
	cond_init(&ls->wake);
}

static int load_one(struct mvcc *m, struct cairn_slice k, struct cairn_slice v,
		    int64_t now_ms)
{
	struct enc_lease e;
	struct lease *l;
	int err = enc_lease_parse(k, v, &e);

	if (!err)
		err = reserve(&m->leases);
	if (err)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l)
		return error_nomem();
	l->id = e.id;
	l->ttl = e.ttl;
	l->left = e.left;
	l->ending = e.ending;
	l->deadline_ms = now_ms + (e.left ? e.left : e.ttl) * 1000;
	if (e.ending)
		l->deadline_ms = now_ms;
	lease_add(m, l);
	return CAIRN_OK;
}

int lease_load(struct mvcc *m)
{
	const struct cairn_read_options table = { .lower = slice_str("l"),
						  .upper = slice_str("m") };
	int64_t now = lease_now_ms(m);
	struct cairn_iter *it;
	int err = cairn_iter_new(m->db, &table, &it);

	if (err)
		return err;
	/* Nobody else knows m yet: no locks. */
	for (bool ok = cairn_iter_first(it); ok && !err;
	     ok = cairn_iter_next(it))
		err = load_one(m, cairn_iter_key(it), cairn_iter_value(it),
			       now);
	if (!err)
		err = cairn_iter_status(it);
	cairn_iter_free(it);
	return err;
}

void lease_fini(struct mvcc *m)
{
	struct leases *ls = &m->leases;

	for (size_t i = 0; i < ls->n; i++)
		free(ls->heap[i]);
	free(ls->heap);
	free(ls->buckets);
	cond_fini(&ls->wake);
	mutex_fini(&ls->mu);
}
