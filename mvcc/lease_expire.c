/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How leases end: revoked, or by the thread, when their time is up. What
 * deletes their keys is a commit like any other, so readers, the row cache and
 * the listener learn of it as of any other.
 */
#include "mvcc/lease.h"

#include "engine/base/error.h"
#include "mvcc/txn_impl.h"

/* A lease whose end failed is looked at again after this. */
#define RETRY_MS 10000

/* How often it is written down what is left of long leases. */
#define CHECKPOINT_MS 300000

/* Rows brought into the cache before the lock is taken; what does not fit into
 * it would only push out what others need. */
#define WARM_KEYS 16384

/* Of one look at the leases to write down, under the lock. */
#define CHECKPOINT_BUCKETS 16384
#define CHECKPOINT_ROWS    1000

/* ---------------------------------------------------------------- one end */

/* Read the rows of the lease's first keys without holding up others. */
static int warm(struct mvcc *m, int64_t id)
{
	struct lease_keys w = { 0 };
	struct cairn_slice entry;
	int err = lease_keys_begin(&w, m, id);

	for (int i = 0; !err && i < WARM_KEYS; i++) {
		err = lease_keys_next(&w, &entry);
		if (!err)
			err = txn_warm(m, buf_slice(&w.key));
	}
	lease_keys_end(&w);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* Delete the key that w stands on, or only its entry, if that is left over. */
static int end_key(struct commit *c, struct lease_keys *w,
		   struct cairn_slice entry, int64_t id, struct buf *keys)
{
	struct cairn_slice key = buf_slice(&w->key);
	struct found f = { 0 };
	int err = store_latest(c->m, key, false, &f);

	if (!err && found_live(&f) && f.row.lease == id) {
		err = buf_append(keys, key.data, key.len);
		if (!err)
			err = txn_delete_row(c, key, &f);
	} else if (!err) {
		err = cairn_batch_delete(c->batch, entry);
	}
	found_release(&f);
	return err;
}

/* As many keys of the lease as fit; *all: there are no more. Their bytes go to
 * keys. */
static int end_keys(struct commit *c, int64_t id, struct buf *keys, bool *all)
{
	size_t limit = c->m->leases.opts.batch_bytes;
	struct lease_keys w = { 0 };
	struct cairn_slice entry;
	int err = lease_keys_begin(&w, c->m, id);

	*all = false;
	while (!err && cairn_batch_bytes(c->batch) < limit) {
		err = lease_keys_next(&w, &entry);
		if (!err)
			err = end_key(c, &w, entry, id, keys);
	}
	lease_keys_end(&w);
	if (err == CAIRN_NOT_FOUND) {
		*all = true;
		err = CAIRN_OK;
	}
	return err;
}

static int delete_lease(struct commit *c, const struct lease *l)
{
	const struct enc_lease e = { .id = l->id, .ttl = l->ttl };
	int err = enc_lease(&c->key, &c->value, &e);

	return err ? err : cairn_batch_delete(c->batch, buf_slice(&c->key));
}

/* The changes are in the order of the keys: let them borrow from there, now
 * that it does not move any more. */
static void point_changes(struct commit *c, const struct buf *keys)
{
	size_t off = 0;

	for (size_t i = 0; i < c->n; i++) {
		c->changes[i].key.data = keys->data + off;
		off += c->changes[i].key.len;
	}
	assert(off == keys->len);
}

static int commit_end(struct commit *c, const struct lease *l, struct buf *keys,
		      bool *all)
{
	int err = txn_begin(c);

	if (!err)
		err = end_keys(c, l->id, keys, all);
	if (!err && *all)
		err = delete_lease(c, l);
	else if (!err)
		err = lease_put(c->batch, l, l->left, true);
	if (err)
		return err;
	point_changes(c, keys);
	return c->n ? txn_finish(c, NULL) : txn_write(c);
}

/*
 * Delete the keys of l, and l with the last of them: *all. On failure nothing
 * has changed. write_mu is held.
 */
static int end_lease(struct mvcc *m, struct lease *l, bool *all)
{
	struct commit c = { .m = m };
	struct buf keys = { 0 };
	int err;

	assert_held(&m->write_mu);
	err = commit_end(&c, l, &keys, all);
	txn_end(&c);
	buf_fini(&keys);
	if (err)
		return err;
	mutex_lock(&m->leases.mu);
	if (*all) {
		lease_drop(m, l);
	} else {
		l->ending = true;
		/* Whoever began this may not get to its end. */
		lease_set_deadline(m, l, lease_now_ms(m));
	}
	mutex_unlock(&m->leases.mu);
	return CAIRN_OK;
}

int mvcc_lease_revoke(struct mvcc *m, int64_t id, int64_t *rev)
{
	bool all = false, begun = false;
	int64_t now = 0;
	int err = store_need_revisions(m);

	if (!err && m->read_only)
		err = error_set(CAIRN_EROFS, "the store is open read-only");
	while (!err && !all) {
		struct lease *l;

		err = id > 0 ? warm(m, id) : lease_not_found();
		if (err)
			break;
		mutex_lock(&m->write_mu);
		l = lease_find(m, id);
		if (l)
			err = end_lease(m, l, &all);
		else if (begun)
			all = true; /* somebody else has ended it */
		else
			err = lease_not_found();
		now = atomic_load(&m->current);
		mutex_unlock(&m->write_mu);
		begun = true;
	}
	if (!err && rev)
		*rev = now;
	return err;
}

/* ------------------------------------------------------------- checkpoint */

static int64_t left_of(const struct lease *l, int64_t now_ms)
{
	/* Rounded up: it must not end early because of this. */
	return (l->deadline_ms - now_ms + 999) / 1000;
}

static bool is_worth_writing(const struct lease *l, int64_t now_ms)
{
	int64_t written = l->left ? l->left : l->ttl;
	int64_t left = left_of(l, now_ms);

	return !l->ending && left > 0 &&
	       (written - left) * 1000 >= CHECKPOINT_MS;
}

/* The leases of some buckets from *at on; both locks are held. */
static int collect(struct mvcc *m, int64_t now_ms, size_t *at,
		   struct cairn_batch *b)
{
	struct leases *ls = &m->leases;
	size_t end = *at + CHECKPOINT_BUCKETS;
	int err = CAIRN_OK;

	while (*at < end && *at < ls->n_buckets) {
		struct lease *l = ls->buckets[*at];

		for (; l && !err; l = l->next) {
			if (!is_worth_writing(l, now_ms))
				continue;
			/* What keeps it alive from now on has to undo this,
			 * even if it is not written yet. */
			l->left = left_of(l, now_ms);
			err = lease_put(b, l, l->left, false);
		}
		if (err || cairn_batch_count(b) >= CHECKPOINT_ROWS)
			break;
		++*at;
	}
	return err;
}

/* One batch of them, under write_mu, so that none ends meanwhile. */
static int checkpoint_some(struct mvcc *m, int64_t now_ms, size_t *at,
			   bool *done)
{
	/* Leases that there are must go on as they are on a full store. */
	const struct cairn_write_options o = { .use_reserve = true };
	struct cairn_batch *b = cairn_batch_new();
	int err;

	if (!b)
		return error_nomem();
	mutex_lock(&m->write_mu);
	mutex_lock(&m->leases.mu);
	err = collect(m, now_ms, at, b);
	*done = *at >= m->leases.n_buckets;
	mutex_unlock(&m->leases.mu);
	if (!err && cairn_batch_count(b))
		err = cairn_write(m->db, &o, b);
	mutex_unlock(&m->write_mu);
	cairn_batch_free(b);
	return err;
}

/* Write down what is left of long leases, if it is time to. */
static int checkpoint(struct mvcc *m)
{
	struct leases *ls = &m->leases;
	int64_t now = lease_now_ms(m);
	bool done;
	size_t at = 0;
	int err = CAIRN_OK;

	mutex_lock(&ls->mu);
	done = now < ls->checkpoint_ms;
	if (!done)
		ls->checkpoint_ms = now + CHECKPOINT_MS;
	mutex_unlock(&ls->mu);
	while (!err && !done)
		err = checkpoint_some(m, now, &at, &done);
	return err;
}

/* ----------------------------------------------------------------- expiry */

/* The lease due first, if it is; mu is held. */
static struct lease *due(struct mvcc *m, int64_t now_ms)
{
	struct leases *ls = &m->leases;

	assert_held(&ls->mu);
	return ls->n && ls->heap[0]->deadline_ms <= now_ms ? ls->heap[0] : NULL;
}

/* End the lease due first, or some of its keys; write_mu is held. */
static int expire_locked(struct mvcc *m)
{
	int64_t now = lease_now_ms(m);
	struct lease *l;
	bool all;
	int err;

	mutex_lock(&m->leases.mu);
	/* It may have been kept alive since. */
	l = due(m, now);
	if (l)
		l->ending = true;
	mutex_unlock(&m->leases.mu);
	if (!l)
		return CAIRN_OK;
	err = end_lease(m, l, &all);
	if (err) {
		mutex_lock(&m->leases.mu);
		lease_set_deadline(m, l, now + RETRY_MS);
		mutex_unlock(&m->leases.mu);
	}
	return err;
}

/* *id: the lease due first, 0: none. */
static bool next_due(struct mvcc *m, int64_t *id)
{
	int64_t now = lease_now_ms(m);
	struct lease *l;

	mutex_lock(&m->leases.mu);
	l = m->leases.stop ? NULL : due(m, now);
	*id = l ? l->id : 0;
	mutex_unlock(&m->leases.mu);
	return l;
}

int mvcc_lease_expire_due(struct mvcc *m)
{
	int64_t id;
	int first = store_need_revisions(m);

	if (first || m->read_only)
		return first;
	while (next_due(m, &id)) {
		int err;

		/* If it fails, it does so again below. */
		(void)warm(m, id);
		mutex_lock(&m->write_mu);
		err = expire_locked(m);
		mutex_unlock(&m->write_mu);
		/* The others end all the same. */
		first = first ? first : err;
	}
	if (first)
		return first;
	return checkpoint(m);
}

/* ----------------------------------------------------------------- thread */

/* Milliseconds until there is something to do, 0: now; mu is held. */
static int64_t idle_ms(struct mvcc *m)
{
	struct leases *ls = &m->leases;
	int64_t now = lease_now_ms(m);
	int64_t next = ls->heap[0]->deadline_ms;

	if (ls->checkpoint_ms < next)
		next = ls->checkpoint_ms;
	return next > now ? next - now : 0;
}

static void *expire_main(void *arg)
{
	struct mvcc *m = arg;
	struct leases *ls = &m->leases;

	mutex_lock(&ls->mu);
	while (!ls->stop) {
		int64_t ms = ls->n ? idle_ms(m) : 0;

		if (!ls->n) {
			cond_wait(&ls->wake, &ls->mu);
		} else if (ms) {
			(void)cond_wait_us(&ls->wake, &ls->mu,
					   (uint64_t)ms * 1000);
		} else {
			mutex_unlock(&ls->mu);
			/* What failed is due again later. */
			(void)mvcc_lease_expire_due(m);
			mutex_lock(&ls->mu);
		}
	}
	mutex_unlock(&ls->mu);
	return NULL;
}

int lease_start(struct mvcc *m)
{
	struct leases *ls = &m->leases;
	int err = 0;

	if (m->read_only || ls->opts.manual)
		return CAIRN_OK;
	mutex_lock(&ls->mu);
	if (!ls->running) {
		ls->stop = false;
		err = pthread_create(&ls->thread, NULL, expire_main, m);
		ls->running = !err;
	}
	mutex_unlock(&ls->mu);
	return err ? error_errno(err, "starting a thread", "leases") : CAIRN_OK;
}

void lease_stop(struct mvcc *m)
{
	struct leases *ls = &m->leases;
	bool running;

	mutex_lock(&ls->mu);
	running = ls->running;
	ls->stop = running;
	cond_signal(&ls->wake);
	mutex_unlock(&ls->mu);
	if (!running)
		return;
	pthread_join(ls->thread, NULL);
	mutex_lock(&ls->mu);
	ls->running = false;
	ls->stop = false;
	mutex_unlock(&ls->mu);
}
