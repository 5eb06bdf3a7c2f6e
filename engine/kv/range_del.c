/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/range_del.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* Neighbouring spans that one look for the end of a swath goes through: far
 * enough to save seeks, not so far that the look is dear when made often. */
#define SWATH_SPANS_MAX 64

/* ------------------------------------------------------------------ lists */

void range_del_list_fini(struct range_del_list *l)
{
	buf_fini(&l->keys);
	free(l->place);
	*l = (struct range_del_list){ 0 };
}

static int grow(struct range_del_list *l)
{
	size_t cap = l->cap ? 2 * l->cap : 8;
	struct range_del_place *more;

	if (l->n < l->cap)
		return CAIRN_OK;
	if (cap > SIZE_MAX / sizeof(*more))
		return error_nomem();
	more = realloc(l->place, cap * sizeof(*more));
	if (!more)
		return error_nomem();
	l->place = more;
	l->cap = cap;
	return CAIRN_OK;
}

int range_del_list_add(struct range_del_list *l, const struct range_del *d)
{
	size_t at = l->keys.len;
	int err;

	if (slice_cmp(d->start, d->end) >= 0)
		return CAIRN_OK;
	err = grow(l);
	if (!err)
		err = buf_append(&l->keys, d->start.data, d->start.len);
	if (!err)
		err = buf_append(&l->keys, d->end.data, d->end.len);
	if (err) {
		l->keys.len = at;
		return err;
	}
	l->place[l->n++] = (struct range_del_place){
		.start = at,
		.start_len = d->start.len,
		.end_len = d->end.len,
		.seqno = d->seqno,
	};
	return CAIRN_OK;
}

/* --------------------------------------------------------------- building */

static int cmp_slices(const void *a, const void *b)
{
	return slice_cmp(*(const struct cairn_slice *)a,
			 *(const struct cairn_slice *)b);
}

static int newest_first(const void *a, const void *b)
{
	const struct range_del_span *x = a;
	const struct range_del_span *y = b;

	if (x->seqno != y->seqno)
		return x->seqno < y->seqno ? 1 : -1;
	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to > y->to) - (x->to < y->to);
}

/* Index of a key that is a bound. */
static uint32_t bound_index(const struct range_dels *d, struct cairn_slice key)
{
	const struct cairn_slice *b =
		bsearch(&key, d->bound, d->n + 1, sizeof(key), cmp_slices);

	assert(b);
	return (uint32_t)(b - d->bound);
}

/* The keys of the list, copied, sorted, each once. */
static int make_bounds(struct range_dels *d, const struct range_del_list *l)
{
	size_t n = 0, m = 0;
	uint8_t *keys;

	/* The keys lie behind the array. */
	d->bound = malloc(2 * l->n * sizeof(*d->bound) + l->keys.len);
	if (!d->bound)
		return error_nomem();
	d->memory += 2 * l->n * sizeof(*d->bound) + l->keys.len;
	keys = (uint8_t *)(d->bound + 2 * l->n);
	if (l->keys.len)
		memcpy(keys, l->keys.data, l->keys.len);
	for (size_t i = 0; i < l->n; i++) {
		const struct range_del_place *p = &l->place[i];
		const uint8_t *start = keys + p->start;

		d->bound[n++] = slice_of(start, p->start_len);
		d->bound[n++] = slice_of(start + p->start_len, p->end_len);
	}
	qsort(d->bound, n, sizeof(*d->bound), cmp_slices);
	for (size_t i = 0; i < n; i++)
		if (m == 0 || !slice_eq(d->bound[m - 1], d->bound[i]))
			d->bound[m++] = d->bound[i];
	d->n = m - 1;
	return CAIRN_OK;
}

static int make_tombs(struct range_dels *d, const struct range_del_list *l)
{
	d->tomb = malloc(l->n * sizeof(*d->tomb));
	if (!d->tomb)
		return error_nomem();
	d->memory += l->n * sizeof(*d->tomb);
	for (size_t i = 0; i < l->n; i++) {
		const struct range_del_place *p = &l->place[i];
		const uint8_t *start = l->keys.data + p->start;

		d->tomb[i].from = bound_index(d, slice_of(start, p->start_len));
		d->tomb[i].to = bound_index(
			d, slice_of(start + p->start_len, p->end_len));
		d->tomb[i].seqno = p->seqno;
	}
	d->n_tombs = l->n;
	qsort(d->tomb, d->n_tombs, sizeof(*d->tomb), newest_first);
	return CAIRN_OK;
}

/* The fewest nodes that together are the spans [from, to); at most two per
 * level of the tree. Returns how many. */
static size_t nodes_of(const struct range_dels *d, size_t from, size_t to,
		       size_t *out)
{
	size_t n = 0;

	for (from += d->n, to += d->n; from < to; from /= 2, to /= 2) {
		if (from & 1)
			out[n++] = from++;
		if (to & 1)
			out[n++] = --to;
	}
	return n;
}

#define NODES_MAX (2 * 8 * sizeof(size_t))

/* Count what comes into each list, then fill them in, the newest first. */
static int make_tree(struct range_dels *d)
{
	size_t n_nodes = 2 * d->n;
	size_t nodes[NODES_MAX];
	size_t total = 0;

	d->first = calloc(n_nodes + 1, sizeof(*d->first));
	if (!d->first)
		return error_nomem();
	for (size_t i = 0; i < d->n_tombs; i++) {
		size_t n = nodes_of(d, d->tomb[i].from, d->tomb[i].to, nodes);

		for (size_t k = 0; k < n; k++)
			d->first[nodes[k]]++;
		total += n;
	}
	d->seqnos = malloc(total * sizeof(*d->seqnos));
	if (!d->seqnos)
		return error_nomem();
	d->memory +=
		(n_nodes + 1) * sizeof(*d->first) + total * sizeof(*d->seqnos);
	/* From counts to ends; filling in from the back makes them starts. */
	for (size_t i = 1; i <= n_nodes; i++)
		d->first[i] += d->first[i - 1];
	for (size_t i = d->n_tombs; i-- > 0;) {
		size_t n = nodes_of(d, d->tomb[i].from, d->tomb[i].to, nodes);

		for (size_t k = 0; k < n; k++)
			d->seqnos[--d->first[nodes[k]]] = d->tomb[i].seqno;
	}
	return CAIRN_OK;
}

static void range_dels_free(struct range_dels *d)
{
	free(d->bound);
	free(d->tomb);
	free(d->first);
	free(d->seqnos);
	free(d);
}

int range_dels_new(const struct range_del_list *l, struct range_dels **out)
{
	struct range_dels *d;
	int err;

	if (!l->n) {
		*out = NULL;
		return CAIRN_OK;
	}
	/* Spans are numbered in 32 bits, and sizes must not wrap. */
	if (l->n > UINT32_MAX / 4)
		return error_nomem();
	d = calloc(1, sizeof(*d));
	if (!d)
		return error_nomem();
	atomic_init(&d->refs, 1);
	d->memory = sizeof(*d);
	err = make_bounds(d, l);
	if (!err)
		err = make_tombs(d, l);
	if (!err)
		err = make_tree(d);
	if (err)
		range_dels_free(d);
	else
		*out = d;
	return err;
}

struct range_dels *range_dels_ref(struct range_dels *d)
{
	uint32_t was =
		atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);

	assert(was > 0 && was < UINT32_MAX);
	(void)was;
	return d;
}

void range_dels_unref(struct range_dels *d)
{
	uint32_t was;

	if (!d)
		return;
	/* Release pairs with the acquire of whoever drops the last one. */
	was = atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel);
	assert(was > 0);
	if (was == 1)
		range_dels_free(d);
}

void range_dels_shift(struct range_dels *d, uint64_t by)
{
	for (size_t i = 0; i < d->n_tombs; i++)
		d->tomb[i].seqno += by;
	for (size_t i = 0; i < d->first[2 * d->n]; i++)
		d->seqnos[i] += by;
}

/* ---------------------------------------------------------------- looking */

struct range_del range_dels_tomb(const struct range_dels *d, size_t i)
{
	const struct range_del_span *t = &d->tomb[i];

	return (struct range_del){ d->bound[t->from], d->bound[t->to],
				   t->seqno };
}

size_t range_dels_find(const struct range_dels *d, struct cairn_slice key,
		       size_t hint)
{
	size_t lo = 0, hi = d->n + 1;

	if (hint < d->n && slice_cmp(d->bound[hint], key) <= 0) {
		if (slice_cmp(key, d->bound[hint + 1]) < 0)
			return hint;
		lo = hint + 1;
	}
	/* The first bound above key. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(d->bound[mid], key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo == 0 || lo == d->n + 1 ? d->n : lo - 1;
}

/* The first of a list at or below seqno, or 0. */
static uint64_t newest_of(const struct range_dels *d, size_t node,
			  uint64_t seqno)
{
	size_t lo = d->first[node], hi = d->first[node + 1];

	if (lo < hi && d->seqnos[lo] <= seqno)
		return d->seqnos[lo];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (d->seqnos[mid] > seqno)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < d->first[node + 1] ? d->seqnos[lo] : 0;
}

uint64_t range_dels_newest(const struct range_dels *d, size_t span,
			   uint64_t seqno)
{
	uint64_t newest = 0;

	if (span >= d->n)
		return 0;
	for (size_t node = span + d->n; node; node /= 2) {
		uint64_t s = newest_of(d, node, seqno);

		if (newest < s)
			newest = s;
	}
	return newest;
}

uint64_t range_dels_cover(const struct range_dels *d, struct cairn_slice key,
			  uint64_t seqno)
{
	return range_dels_newest(d, range_dels_find(d, key, d->n), seqno);
}

bool range_dels_meet(const struct range_dels *d, struct cairn_slice first,
		     struct cairn_slice last)
{
	for (size_t i = 0; i < d->n_tombs; i++)
		if (slice_cmp(d->bound[d->tomb[i].from], last) <= 0 &&
		    slice_cmp(first, d->bound[d->tomb[i].to]) < 0)
			return true;
	return false;
}

/* ----------------------------------------------------------------- scopes */

static size_t scope_find(struct range_scope *s, struct cairn_slice user_key)
{
	size_t i = range_dels_find(s->set, user_key, s->hint);

	s->hint = i;
	return i;
}

/* What a reader at seqno sees of the scope. */
static uint64_t seen_of(const struct range_scope *s, uint64_t seqno)
{
	return s->newest ? SEQNO_MAX : seqno;
}

uint64_t range_scope_cover(struct range_scope *s, const struct ikey *key,
			   uint64_t seqno)
{
	if ((s->lower && ikey_cmp(key, s->lower) < 0) ||
	    (s->upper && ikey_cmp(key, s->upper) > 0))
		return 0;
	return range_dels_newest(s->set, scope_find(s, key->user_key),
				 seen_of(s, seqno));
}

bool range_scope_to_end(struct range_scope *s, struct cairn_slice user_key,
			uint64_t seqno, struct ikey *to)
{
	const struct range_dels *d = s->set;
	size_t i = scope_find(s, user_key);
	size_t stop = d->n - i < SWATH_SPANS_MAX ? d->n : i + SWATH_SPANS_MAX;
	struct cairn_slice end;

	while (i < stop && range_dels_newest(d, i, seen_of(s, seqno)))
		i++;
	end = d->bound[i];
	/* Of an upper bound that is an entry the older versions are left out,
	 * which is less than could be. */
	if (s->upper && slice_cmp(s->upper->user_key, end) < 0)
		end = s->upper->user_key;
	*to = (struct ikey){ end, UINT64_MAX };
	return slice_cmp(user_key, end) < 0;
}

void range_scope_to_start(struct range_scope *s, struct cairn_slice user_key,
			  uint64_t seqno, struct ikey *to)
{
	const struct range_dels *d = s->set;
	size_t i = scope_find(s, user_key);
	size_t stop = i < SWATH_SPANS_MAX ? 0 : i - SWATH_SPANS_MAX;

	assert(i < d->n);
	while (i > stop && range_dels_newest(d, i - 1, seen_of(s, seqno)))
		i--;
	*to = (struct ikey){ d->bound[i], UINT64_MAX };
	if (s->lower && ikey_cmp(to, s->lower) < 0)
		*to = *s->lower;
}
