/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows as a request sees them: those of the store, and over them what the
 * request has changed already, which is in memory only. Both come in order of
 * keys and are merged.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/request_impl.h"

static int cmp_touched(const void *a, const void *b)
{
	const struct touched *x = a, *y = b;

	return slice_cmp(x->key, y->key);
}

static void sort_touched(struct running *r)
{
	if (!r->sorted && r->n_touched > 1)
		qsort(r->touched, r->n_touched, sizeof(r->touched[0]),
		      cmp_touched);
	r->sorted = true;
}

/* The first entry with a key >= key. */
static size_t touched_from(const struct running *r, struct cairn_slice key)
{
	size_t lo = 0, hi = r->n_touched;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(r->touched[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * A bound that no key can be as long as divides the keys as its beginning does,
 * one byte longer than keys are.
 */
static struct cairn_slice cut_bound(struct cairn_slice bound)
{
	if (bound.len > MVCC_KEY_MAX + 1)
		bound.len = MVCC_KEY_MAX + 1;
	return bound;
}

int view_init(struct view *v, struct running *r, struct cairn_slice key,
	      struct cairn_slice end, int64_t rev, bool changed, bool reverse)
{
	bool no_end = end.len == 1 && end.data[0] == 0;

	v->r = r;
	v->reverse = reverse;
	v->rev = rev;
	if (changed)
		sort_touched(r);
	if (!end.len) {
		v->single = true;
		v->key = key;
		if (!changed)
			return CAIRN_OK;
		v->lo = touched_from(r, key);
		v->hi = v->lo < r->n_touched &&
			slice_eq(r->touched[v->lo].key, key);
		v->hi += v->lo;
		return CAIRN_OK;
	}
	if (!no_end && slice_cmp(end, key) <= 0)
		return CAIRN_OK;
	if (changed) {
		v->lo = touched_from(r, key);
		v->hi = no_end ? r->n_touched : touched_from(r, end);
	}
	return mvcc_scan_new(r->m, rev, cut_bound(key),
			     no_end ? slice_of(NULL, 0) : cut_bound(end),
			     reverse, &v->scan);
}

void view_fini(struct view *v)
{
	mvcc_scan_free(v->scan);
	v->scan = NULL;
	found_release(&v->f);
}

static int next_single(struct view *v, struct mvcc_row *row)
{
	int err;

	if (!v->single || !v->key.data || v->key.len > MVCC_KEY_MAX)
		return CAIRN_NOT_FOUND;
	err = store_find(v->r->m, v->key, v->rev, true, &v->f);
	v->key = slice_of(NULL, 0);
	if (err)
		return err;
	if (!found_live(&v->f))
		return CAIRN_NOT_FOUND;
	*row = v->f.row;
	return CAIRN_OK;
}

/* Have scan stand on a row, unless it is at its end. */
static int look_ahead(struct view *v)
{
	int err;

	if (v->ahead || !v->scan)
		return CAIRN_OK;
	err = mvcc_scan_next(v->scan, &v->row);
	if (err == CAIRN_NOT_FOUND) {
		mvcc_scan_free(v->scan);
		v->scan = NULL;
		return CAIRN_OK;
	}
	v->ahead = !err;
	return err;
}

/* The next of what the request has changed, NULL when the store's row comes
 * before it. A row of the same key is hidden by it. */
static const struct touched *next_touched(struct view *v)
{
	const struct touched *t;
	int c;

	if (v->lo == v->hi)
		return NULL;
	t = &v->r->touched[v->reverse ? v->hi - 1 : v->lo];
	if (v->ahead) {
		c = slice_cmp(v->row.key, t->key);
		if (v->reverse ? c > 0 : c < 0)
			return NULL;
		if (c == 0)
			v->ahead = false;
	}
	if (v->reverse)
		v->hi--;
	else
		v->lo++;
	/* It is the only key there is. */
	v->key = slice_of(NULL, 0);
	return t;
}

int view_next(struct view *v, struct mvcc_row *row)
{
	const struct touched *t;
	int err;

	for (;;) {
		err = look_ahead(v);
		if (err)
			return err;
		t = next_touched(v);
		if (t && t->deleted)
			continue;
		if (t) {
			*row = t->f.row;
			return CAIRN_OK;
		}
		if (!v->ahead)
			return next_single(v, row);
		v->ahead = false;
		*row = v->row;
		return CAIRN_OK;
	}
}
