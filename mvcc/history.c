/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/store.h"

/* ----------------------------------------------------------------- one key */

struct mvcc_history {
	struct mvcc *m;
	int64_t pinned;  /* the oldest revision, for the chunks */
	int64_t current; /* when it was made */
	struct cairn_iter *it;
	struct buf lower, upper;
	struct buf key;
	bool started;
};

static int history_init(struct mvcc_history *h, struct cairn_slice key)
{
	struct cairn_read_options opts = { 0 };
	int err = buf_set(&h->key, key);

	if (!err)
		err = enc_prefix(&h->lower, key);
	if (!err)
		err = enc_prefix_next(&h->upper, buf_slice(&h->lower));
	if (err)
		return err;
	h->current = atomic_load(&h->m->current);
	opts.lower = buf_slice(&h->lower);
	opts.upper = buf_slice(&h->upper);
	return cairn_iter_new(h->m->db, &opts, &h->it);
}

int mvcc_history_new(struct mvcc *m, struct cairn_slice key,
		     struct mvcc_history **out)
{
	struct mvcc_history *h;
	int err = store_need_revisions(m);

	if (!err)
		err = store_check_key(m, key);
	if (err)
		return err;
	h = calloc(1, sizeof(*h));
	if (!h)
		return error_nomem();
	h->m = m;
	/* The bound may move between asking for it and pinning it. */
	do
		err = store_pin(m, mvcc_oldest(m), &h->pinned);
	while (err == CAIRN_EFORGOTTEN);
	if (err) {
		free(h);
		return err;
	}
	err = history_init(h, key);
	if (err) {
		mvcc_history_free(h);
		return err;
	}
	*out = h;
	return CAIRN_OK;
}

void mvcc_history_free(struct mvcc_history *h)
{
	if (!h)
		return;
	cairn_iter_free(h->it);
	buf_fini(&h->lower);
	buf_fini(&h->upper);
	buf_fini(&h->key);
	mvcc_unpin(h->m, h->pinned);
	free(h);
}

/*
 * Stand on the oldest version that is shown. Of what is not above the bound
 * that is the newest, unless it is a tombstone: older ones may be there or not,
 * depending on how far compactions have got. Newer versions come first.
 */
static int first_version(struct mvcc_history *h)
{
	struct buf seek = { 0 };
	int err = enc_seek(&seek, buf_slice(&h->lower), h->pinned);

	if (err)
		return err;
	if (!cairn_iter_seek_ge(h->it, buf_slice(&seek))) {
		err = cairn_iter_status(h->it);
		if (!err)
			cairn_iter_last(h->it);
	} else if (enc_is_tombstone(cairn_iter_value(h->it))) {
		cairn_iter_prev(h->it);
	}
	buf_fini(&seek);
	return err;
}

int mvcc_history_next(struct mvcc_history *h, struct mvcc_row *row)
{
	struct mvcc_row r = { .key = buf_slice(&h->key) };
	struct cairn_slice v;
	struct enc_row k;
	int err = CAIRN_OK;

	if (!h->started)
		err = first_version(h);
	else if (cairn_iter_valid(h->it))
		cairn_iter_prev(h->it);
	h->started = true;
	if (err)
		return err;
	if (!cairn_iter_valid(h->it)) {
		err = cairn_iter_status(h->it);
		return err ? err : CAIRN_NOT_FOUND;
	}
	err = enc_row_parse(cairn_iter_key(h->it), &k);
	if (err)
		return err;
	/* Committed, but not yet published when this began. */
	if (k.main > h->current)
		return CAIRN_NOT_FOUND;
	r.main = k.main;
	r.sub = k.sub;
	v = cairn_iter_value(h->it);
	err = enc_row_value_parse(v, v.len, &r, NULL, NULL);
	if (!err)
		*row = r;
	return err;
}

/* ----------------------------------------------------------------- changes */

struct mvcc_changes {
	struct mvcc *m;
	struct cairn_iter *it; /* NULL: the range is empty */
	struct buf lower, upper;
	bool started;
};

static int changes_init(struct mvcc_changes *c, int64_t from, int64_t to)
{
	struct cairn_read_options opts = { 0 };
	int64_t end = atomic_load(&c->m->current) + 1;
	int err;

	if (from < 1)
		from = 1;
	if (to > end)
		to = end;
	if (from >= to)
		return CAIRN_OK;
	err = enc_log_key(&c->lower, from, 0);
	if (!err)
		err = enc_log_key(&c->upper, to, 0);
	if (err)
		return err;
	opts.lower = buf_slice(&c->lower);
	opts.upper = buf_slice(&c->upper);
	err = cairn_iter_new(c->m->db, &opts, &c->it);
	if (err)
		return err;
	/* Asked only now: the iterator does not see what is dropped later. */
	if (atomic_load(&c->m->forgotten) > from)
		return error_set(CAIRN_EFORGOTTEN,
				 "revision %lld is forgotten; the oldest one "
				 "is %lld",
				 (long long)from, (long long)mvcc_oldest(c->m));
	return CAIRN_OK;
}

int mvcc_changes_new(struct mvcc *m, int64_t from, int64_t to,
		     struct mvcc_changes **out)
{
	struct mvcc_changes *c;
	int err = store_need_revisions(m);

	if (err)
		return err;
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_nomem();
	c->m = m;
	store_use(m);
	err = changes_init(c, from, to);
	if (err) {
		mvcc_changes_free(c);
		return err;
	}
	*out = c;
	return CAIRN_OK;
}

void mvcc_changes_free(struct mvcc_changes *c)
{
	if (!c)
		return;
	cairn_iter_free(c->it);
	buf_fini(&c->lower);
	buf_fini(&c->upper);
	store_unuse(c->m);
	free(c);
}

int mvcc_changes_next(struct mvcc_changes *c, struct mvcc_change *out)
{
	int err;

	if (!c->it)
		return CAIRN_NOT_FOUND;
	if (!c->started)
		cairn_iter_first(c->it);
	else if (cairn_iter_valid(c->it))
		cairn_iter_next(c->it);
	c->started = true;
	if (!cairn_iter_valid(c->it)) {
		err = cairn_iter_status(c->it);
		return err ? err : CAIRN_NOT_FOUND;
	}
	return enc_log_parse(cairn_iter_key(c->it), cairn_iter_value(c->it),
			     out);
}

/* ------------------------------------------------------------------- times */

/* A search in the log between two revisions, which are pinned. */
struct by_time {
	struct mvcc *m;
	struct cairn_iter *it;
	struct buf key;
};

/* When the change it stands on was committed. CAIRN_NOT_FOUND: its row is a
 * tombstone that a compaction has removed. */
static int time_of_change(struct by_time *b, int64_t *ns)
{
	struct cairn_pinned pin = { 0 };
	struct mvcc_change c;
	struct mvcc_row row = { 0 };
	int err = enc_log_parse(cairn_iter_key(b->it), cairn_iter_value(b->it),
				&c);

	if (!err)
		err = enc_row_key(&b->key, c.key, c.main, c.sub);
	if (!err)
		err = cairn_get(b->m->db, NULL, buf_slice(&b->key), &pin);
	if (!err) {
		row.key = c.key;
		row.main = c.main;
		row.sub = c.sub;
		err = enc_row_value_parse(pin.value, pin.value.len, &row, NULL,
					  NULL);
	}
	if (!err)
		*ns = row.time_ns;
	cairn_pinned_release(&pin);
	return err;
}

/* When rev was committed; CAIRN_NOT_FOUND when nothing tells. */
static int time_of(struct by_time *b, int64_t rev, int64_t *ns)
{
	struct mvcc_change c;
	bool ok;
	int err = enc_log_key(&b->key, rev, 0);

	if (err)
		return err;
	ok = cairn_iter_seek_ge(b->it, buf_slice(&b->key));
	for (; ok; ok = cairn_iter_next(b->it)) {
		err = enc_log_parse(cairn_iter_key(b->it),
				    cairn_iter_value(b->it), &c);
		if (err)
			return err;
		if (c.main != rev)
			return CAIRN_NOT_FOUND;
		err = time_of_change(b, ns);
		if (err != CAIRN_NOT_FOUND)
			return err;
	}
	err = cairn_iter_status(b->it);
	return err ? err : CAIRN_NOT_FOUND;
}

/* The last revision in [low, high] that was committed by time_ns; times never
 * decrease. low is 1 or what is forgotten up to. */
static int search_time(struct by_time *b, int64_t low, int64_t high,
		       int64_t time_ns, int64_t *rev)
{
	int64_t first = low, ns;
	int err = CAIRN_OK;

	while (low < high) {
		int64_t mid = low + (high - low + 1) / 2;

		err = time_of(b, mid, &ns);
		if (err == CAIRN_NOT_FOUND)
			return error_set(CAIRN_ECORRUPT,
					 "revision %lld has no entry in the "
					 "log of changes",
					 (long long)mid);
		if (err)
			return err;
		if (ns <= time_ns)
			low = mid;
		else
			high = mid - 1;
	}
	*rev = low;
	/* Before the first commit of all the store was empty. */
	if (low > first || atomic_load(&b->m->forgotten) < 0)
		return CAIRN_OK;
	err = time_of(b, low, &ns);
	if (!err && ns <= time_ns)
		return CAIRN_OK;
	if (err < 0)
		return err;
	return error_set(CAIRN_EFORGOTTEN,
			 "what was there then is forgotten; the oldest "
			 "revision is %lld",
			 (long long)first);
}

int mvcc_rev_at(struct mvcc *m, int64_t time_ns, int64_t *rev)
{
	const struct cairn_read_options log = { .lower = slice_str("r"),
						.upper = slice_str("s") };
	struct by_time b = { .m = m };
	int64_t low, high;
	int err = store_need_revisions(m);

	if (err)
		return err;
	do
		err = store_pin(m, mvcc_oldest(m), &low);
	while (err == CAIRN_EFORGOTTEN);
	if (err)
		return err;
	high = mvcc_current(m);
	err = cairn_iter_new(m->db, &log, &b.it);
	if (!err)
		err = search_time(&b, low, high, time_ns, rev);
	cairn_iter_free(b.it);
	buf_fini(&b.key);
	mvcc_unpin(m, low);
	return err;
}
