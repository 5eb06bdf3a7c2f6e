/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/forget.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/chunk.h"
#include "mvcc/object.h"

/* Work that failed is tried again after this, or when kicked. */
#define RETRY_US 10000000u

/* Entries of ended objects read at once. */
#define ENDED_BATCH 64u

/* ------------------------------------------------------------------ filter */

/* One compaction. */
struct filter_job {
	struct mvcc *m;
	const struct cairn_compaction_info *info;
	int64_t horizon;
	struct buf prefix; /* of the last row or chunk */
	bool shadowed;     /* one of this prefix, <= horizon, went before */
	bool broken;       /* no memory: keep everything from here on */
	struct buf end;    /* scratch */
};

static void *filter_begin(void *ctx, const struct cairn_compaction_info *info)
{
	struct mvcc *m = ctx;
	int64_t horizon = store_horizon(m);
	struct filter_job *j;

	if (horizon < 0)
		return NULL;
	j = calloc(1, sizeof(*j));
	if (!j)
		return NULL;
	j->m = m;
	j->info = info;
	j->horizon = horizon;
	return j;
}

static void filter_end(void *job)
{
	struct filter_job *j = job;

	buf_fini(&j->prefix);
	buf_fini(&j->end);
	free(j);
}

/*
 * The newest version <= horizon says "nothing here". It may go when nothing is
 * left for it to hide: this compaction drops the older versions it meets, so
 * what counts is whether others exist outside of it. Not only in the levels
 * below: versions are keys of their own, and a compaction may have moved this
 * one down past older ones, which stayed in a neighbouring file or in level 0.
 * Memtables hold newer versions than any table.
 */
static bool hides_nothing(struct filter_job *j, struct cairn_slice key)
{
	uint8_t *last;

	if (buf_set(&j->end, buf_slice(&j->prefix)))
		return false;
	/* A row's prefix ends in 01; that of a chunk in its index. */
	last = j->end.data + j->end.len - 1;
	while (*last == 0xff)
		*last-- = 0;
	++*last;
	return !j->info->overlaps_outside(j->info, key, buf_slice(&j->end));
}

/* One version of a row or chunk; newer ones come first. */
static bool drop_version(struct filter_job *j, struct cairn_slice key,
			 size_t prefix_len, int64_t version, bool nothing)
{
	struct cairn_slice prefix = slice_of(key.data, prefix_len);

	if (!slice_eq(buf_slice(&j->prefix), prefix)) {
		j->shadowed = false;
		if (buf_set(&j->prefix, prefix)) {
			j->broken = true;
			return false;
		}
	}
	if (version > j->horizon)
		return false;
	if (j->shadowed)
		return true;
	j->shadowed = true;
	return nothing && hides_nothing(j, key);
}

static bool filter_drop(void *job, struct cairn_slice key,
			struct cairn_slice value)
{
	struct filter_job *j = job;
	struct enc_row row;
	struct enc_chunk chunk;
	struct mvcc_change change;

	if (j->broken || !key.len)
		return false;
	/* What is malformed stays for a reader to find. */
	switch (key.data[0]) {
	case ENC_ROW:
		return !enc_row_parse(key, &row) &&
		       drop_version(j, key, row.prefix.len, row.main,
				    enc_is_tombstone(value));
	case ENC_CHUNK:
		return !enc_chunk_parse(key, &chunk) &&
		       drop_version(j, key, ENC_CHUNK_PREFIX, chunk.version,
				    value.len == 0);
	case ENC_LOG:
		/* The entries at the bound keep the current revision known,
		 * and a reader may ask for the changes from there on. */
		return !enc_log_parse(key, value, &change) &&
		       change.main < j->horizon;
	default:
		return false;
	}
}

void forget_filter_init(struct mvcc *m)
{
	m->filter = (struct cairn_compaction_filter){
		.name = "cairn.mvcc.forget",
		.ctx = m,
		.begin = filter_begin,
		.drop = filter_drop,
		.end = filter_end,
	};
}

/* ------------------------------------------------------------------- bound */

static int write_bound(struct mvcc *m, int64_t rev)
{
	/* What is forgotten makes room. */
	const struct cairn_write_options o = { .sync = true,
					       .use_reserve = true };
	struct buf k = { 0 }, v = { 0 };
	int err = enc_mark(&k, "compact");

	if (!err)
		err = enc_number(&v, (uint64_t)rev);
	if (!err)
		err = cairn_put(m->db, &o, buf_slice(&k), buf_slice(&v));
	buf_fini(&v);
	buf_fini(&k);
	return err;
}

int mvcc_forget(struct mvcc *m, int64_t rev)
{
	int64_t cur, old;
	int err = store_need_revisions(m);

	if (err)
		return err;
	mutex_lock(&m->forget_mu);
	cur = atomic_load(&m->current);
	old = atomic_load(&m->forgotten);
	if (rev < 0)
		err = error_set(CAIRN_EINVAL, "no revision to forget");
	else if (rev <= old)
		err = error_set(CAIRN_EFORGOTTEN,
				"everything below revision %lld is already "
				"forgotten",
				(long long)old);
	else if (rev > cur)
		err = error_set(CAIRN_EFUTURE,
				"revision %lld is not yet written; the "
				"current one is %lld",
				(long long)rev, (long long)cur);
	else
		/* The sync takes all commits up to rev with it. */
		err = write_bound(m, rev);
	if (!err) {
		mutex_lock(&m->pins_mu);
		atomic_store(&m->forgotten, rev);
		mutex_unlock(&m->pins_mu);
	}
	mutex_unlock(&m->forget_mu);
	if (!err) {
		forget_collect(m, store_horizon(m));
		forget_kick(m);
	}
	return err;
}

void forget_collect(struct mvcc *m, int64_t horizon)
{
	int64_t told =
		atomic_load_explicit(&m->collected, memory_order_relaxed);

	while (horizon > told)
		if (atomic_compare_exchange_weak_explicit(
			    &m->collected, &told, horizon, memory_order_relaxed,
			    memory_order_relaxed)) {
			cairn_collect_garbage(m->db, (uint64_t)horizon);
			return;
		}
}

/* --------------------------------------------------------------- leftovers */

static bool stopping(struct mvcc *m)
{
	bool stop;

	mutex_lock(&m->worker.mu);
	stop = m->worker.stop;
	mutex_unlock(&m->worker.mu);
	return stop;
}

/* l is busy, so it is ours; objects_mu is not held. */
static int remove_chunks_of(struct mvcc *m, const struct leftover *l,
			    bool (*stop)(struct mvcc *m))
{
	struct buf k = { 0 };
	int err = chunk_delete(m, l->object, l->from, UINT64_MAX, 0, stop);

	if (!err)
		err = enc_staged_key(&k, l->object);
	if (!err)
		err = cairn_delete(m->db, NULL, buf_slice(&k));
	buf_fini(&k);
	return err;
}

/* objects_mu is held, released meanwhile, and held again. */
static int remove_leftover(struct mvcc *m, struct leftover *l,
			   bool (*stop)(struct mvcc *m))
{
	int err;

	assert_held(&m->objects_mu);
	l->busy = true;
	mutex_unlock(&m->objects_mu);
	err = remove_chunks_of(m, l, stop);
	mutex_lock(&m->objects_mu);
	l->busy = false;
	if (!err) {
		list_remove(&l->node);
		free(l);
	}
	cond_broadcast(&m->leftover_done);
	return err;
}

static struct leftover *find_leftover(struct mvcc *m, uint64_t object)
{
	assert_held(&m->objects_mu);
	list_for_each (pos, &m->leftovers) {
		struct leftover *l = list_entry(pos, struct leftover, node);

		if (l->object == object)
			return l;
	}
	return NULL;
}

int forget_leftover_now(struct mvcc *m, uint64_t object)
{
	struct leftover *l;
	int err = CAIRN_OK;

	mutex_lock(&m->objects_mu);
	while (!err && (l = find_leftover(m, object)) != NULL) {
		if (l->busy)
			cond_wait(&m->leftover_done, &m->objects_mu);
		else
			err = remove_leftover(m, l, NULL);
	}
	mutex_unlock(&m->objects_mu);
	return err;
}

void forget_leftover(struct mvcc *m, struct leftover *l)
{
	l->busy = false;
	mutex_lock(&m->objects_mu);
	list_add_tail(&m->leftovers, &l->node);
	mutex_unlock(&m->objects_mu);
	forget_kick(m);
}

static int remove_leftovers(struct mvcc *m)
{
	int err = CAIRN_OK;

	mutex_lock(&m->objects_mu);
	while (!err) {
		struct leftover *l = NULL;

		list_for_each (pos, &m->leftovers) {
			l = list_entry(pos, struct leftover, node);
			if (!l->busy)
				break;
			l = NULL;
		}
		if (!l)
			break;
		err = remove_leftover(m, l, stopping);
	}
	mutex_unlock(&m->objects_mu);
	return err;
}

static int load_leftover(struct mvcc *m, struct cairn_slice k,
			 struct cairn_slice v)
{
	struct leftover *l;
	uint64_t object, from;
	int err = enc_staged_parse(k, v, &object, &from);

	if (err)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l)
		return error_nomem();
	l->object = object;
	l->from = from;
	mutex_lock(&m->objects_mu);
	list_add_tail(&m->leftovers, &l->node);
	mutex_unlock(&m->objects_mu);
	return CAIRN_OK;
}

int forget_load(struct mvcc *m)
{
	struct cairn_read_options table = { .lower = slice_str("o"),
					    .upper = slice_str("p") };
	struct cairn_iter *it;
	bool due = false;
	int err = cairn_iter_new(m->db, &table, &it);

	if (err)
		return err;
	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it)) {
		err = load_leftover(m, cairn_iter_key(it),
				    cairn_iter_value(it));
		if (err)
			break;
		due = true;
	}
	if (!err)
		err = cairn_iter_status(it);
	cairn_iter_free(it);
	if (err)
		return err;

	table.lower = slice_str("e");
	table.upper = slice_str("f");
	err = cairn_iter_new(m->db, &table, &it);
	if (err)
		return err;
	m->worker.open_rev = atomic_load(&m->current);
	m->worker.counted = !cairn_iter_first(it);
	err = cairn_iter_status(it);
	cairn_iter_free(it);
	if (!err && (due || !m->worker.counted))
		forget_kick(m);
	return err;
}

/* ----------------------------------------------------------- ended objects */

/* The first key behind the entry e. */
static int key_after(struct buf *out, const struct enc_ended *e)
{
	struct buf v = { 0 };
	int err = enc_ended(out, &v, e);

	if (!err)
		err = buf_append(out, "", 1);
	buf_fini(&v);
	return err;
}

/* Entries from key *from on, of revisions up to max; *from moves on. */
static int read_ended(struct mvcc *m, struct buf *from, int64_t max,
		      struct enc_ended *out, size_t *n)
{
	const struct cairn_read_options table = { .lower = slice_str("e"),
						  .upper = slice_str("f") };
	struct cairn_iter *it;
	size_t got = 0;
	int err = cairn_iter_new(m->db, &table, &it);

	if (err)
		return err;
	for (bool ok = cairn_iter_seek_ge(it, buf_slice(from));
	     ok && got < ENDED_BATCH; ok = cairn_iter_next(it)) {
		err = enc_ended_parse(cairn_iter_key(it), cairn_iter_value(it),
				      &out[got]);
		if (err || out[got].main > max)
			break;
		got++;
	}
	if (!err)
		err = cairn_iter_status(it);
	cairn_iter_free(it);
	if (!err && got)
		err = key_after(from, &out[got - 1]);
	if (!err)
		*n = got;
	return err;
}

static int remove_ended(struct mvcc *m, const struct enc_ended *e)
{
	struct buf k = { 0 }, v = { 0 };
	bool open = false;
	int err;

	if (e->to == UINT64_MAX) {
		/* Its handle still reads the chunks; closing it kicks us. */
		mutex_lock(&m->objects_mu);
		open = object_is_open(m, e->object);
		if (open)
			atomic_store(&m->worker.skipped, true);
		mutex_unlock(&m->objects_mu);
	}
	if (open)
		return CAIRN_OK;
	err = chunk_delete(m, e->object, e->from, e->to, e->main - 1, stopping);
	if (!err)
		err = enc_ended(&k, &v, e);
	if (!err)
		err = cairn_delete(m->db, NULL, buf_slice(&k));
	if (!err)
		atomic_fetch_sub(&m->objects_ended, 1);
	buf_fini(&v);
	buf_fini(&k);
	return err;
}

/* For the entries of revisions up to max, in order. */
static int each_ended(struct mvcc *m, int64_t max,
		      int (*fn)(struct mvcc *m, const struct enc_ended *e))
{
	struct enc_ended e[ENDED_BATCH];
	struct buf from = { 0 };
	size_t n = 1;
	int err = buf_append(&from, "e", 1);

	while (!err && n) {
		err = read_ended(m, &from, max, e, &n);
		for (size_t i = 0; !err && i < n; i++)
			err = fn(m, &e[i]);
		if (!err && stopping(m))
			err = CAIRN_EABORTED;
	}
	buf_fini(&from);
	return err;
}

static int count_one(struct mvcc *m, const struct enc_ended *e)
{
	(void)e;
	m->worker.count++;
	return CAIRN_OK;
}

/* ------------------------------------------------------------------ worker */

static int work(struct mvcc *m)
{
	struct worker *w = &m->worker;
	int64_t horizon;
	int err = CAIRN_OK;

	if (!w->counted) {
		/* Later ones are counted by the commits that make them. */
		w->count = 0;
		err = each_ended(m, w->open_rev, count_one);
		w->counted = !err;
		if (!err)
			atomic_fetch_add(&m->objects_ended, w->count);
	}
	if (!err)
		err = remove_leftovers(m);
	horizon = store_horizon(m);
	atomic_store(&w->skipped, false);
	if (!err && horizon > 0)
		err = each_ended(m, horizon, remove_ended);
	if (!err)
		atomic_store(&w->swept, horizon);
	return err;
}

static void *worker_main(void *arg)
{
	struct mvcc *m = arg;
	struct worker *w = &m->worker;
	bool failed = false;

	mutex_lock(&w->mu);
	while (!w->stop) {
		if (!w->kicked) {
			w->busy = false;
			cond_broadcast(&w->idle);
			if (!failed)
				cond_wait(&w->wake, &w->mu);
			else if (!cond_wait_us(&w->wake, &w->mu, RETRY_US))
				w->kicked = true;
			continue;
		}
		w->kicked = false;
		w->busy = true;
		mutex_unlock(&w->mu);
		failed = work(m) != CAIRN_OK;
		mutex_lock(&w->mu);
	}
	w->busy = false;
	cond_broadcast(&w->idle);
	mutex_unlock(&w->mu);
	return NULL;
}

void forget_kick(struct mvcc *m)
{
	struct worker *w = &m->worker;

	if (m->read_only)
		return;
	mutex_lock(&w->mu);
	w->kicked = true;
	/* Without a thread the work waits for the next kick. */
	if (!w->running)
		w->running = !pthread_create(&w->thread, NULL, worker_main, m);
	cond_signal(&w->wake);
	mutex_unlock(&w->mu);
}

void forget_wait_idle(struct mvcc *m)
{
	struct worker *w = &m->worker;

	mutex_lock(&w->mu);
	while (w->running && (w->kicked || w->busy))
		cond_wait(&w->idle, &w->mu);
	mutex_unlock(&w->mu);
}

void forget_init(struct mvcc *m)
{
	mutex_init(&m->worker.mu);
	cond_init(&m->worker.wake);
	cond_init(&m->worker.idle);
	m->worker.counted = true;
}

void forget_stop(struct mvcc *m)
{
	struct worker *w = &m->worker;
	bool running;

	mutex_lock(&w->mu);
	running = w->running;
	w->stop = running;
	cond_signal(&w->wake);
	mutex_unlock(&w->mu);
	if (!running)
		return;
	pthread_join(w->thread, NULL);
	mutex_lock(&w->mu);
	w->running = false;
	w->stop = false;
	mutex_unlock(&w->mu);
}

void forget_fini(struct mvcc *m)
{
	list_for_each_safe (pos, tmp, &m->leftovers)
		free(list_entry(pos, struct leftover, node));
	cond_fini(&m->worker.idle);
	cond_fini(&m->worker.wake);
	mutex_fini(&m->worker.mu);
}
