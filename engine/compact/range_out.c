/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/range_out.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"

static int push(struct range_out *r, uint64_t seqno)
{
	if (r->n_next == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 8;
		uint64_t *p = realloc(r->seqnos, cap * sizeof(*p));

		if (!p)
			return error_nomem();
		r->seqnos = p;
		p = realloc(r->next_seqnos, cap * sizeof(*p));
		if (!p)
			return error_nomem();
		r->next_seqnos = p;
		r->cap = cap;
	}
	r->next_seqnos[r->n_next++] = seqno;
	return CAIRN_OK;
}

static bool may_drop(const struct range_out *r, size_t span)
{
	const struct merge_loop_options *o = r->opts;
	const struct cairn_slice *bound = &o->range_dels->bound[span];

	return !o->range_exists_below(o->exists_ctx, bound[0], bound[1]);
}

/* What lives on in the span, into next_seqnos. */
static int collect(struct range_out *r, size_t span)
{
	const struct merge_loop_options *o = r->opts;
	uint64_t limit = SEQNO_MAX;
	int err = CAIRN_OK;

	r->n_next = 0;
	while (!err) {
		uint64_t t = range_dels_newest(o->range_dels, span, limit);
		size_t stripe;

		if (!t)
			break;
		stripe = merge_loop_stripe(o, t);
		if (stripe == 0)
			return may_drop(r, span) ? CAIRN_OK : push(r, t);
		err = push(r, t);
		limit = stripe == o->n_snapshots ? t - 1
						 : o->snapshots[stripe - 1];
	}
	return err;
}

static bool same_as_next(const struct range_out *r)
{
	return r->n == r->n_next && memcmp(r->seqnos, r->next_seqnos,
					   r->n * sizeof(r->seqnos[0])) == 0;
}

int range_out_next(struct range_out *r)
{
	const struct range_dels *d = r->opts->range_dels;
	uint64_t *swap;
	int err;

	r->valid = false;
	if (!d)
		return CAIRN_OK;
	/* next_seqnos is what collect() found in r->span. */
	while (r->span < d->n && !r->n_next) {
		r->span++;
		err = r->span < d->n ? collect(r, r->span) : CAIRN_OK;
		if (err)
			return err;
	}
	if (r->span == d->n)
		return CAIRN_OK;
	swap = r->seqnos;
	r->seqnos = r->next_seqnos;
	r->next_seqnos = swap;
	r->n = r->n_next;
	r->start = d->bound[r->span];
	do {
		r->end = d->bound[++r->span];
		r->n_next = 0;
		err = r->span < d->n ? collect(r, r->span) : CAIRN_OK;
		if (err)
			return err;
	} while (r->span < d->n && same_as_next(r));
	r->valid = true;
	return CAIRN_OK;
}

int range_out_first(struct range_out *r, const struct merge_loop_options *opts)
{
	int err;

	*r = (struct range_out){ .opts = opts };
	if (!opts->range_dels)
		return CAIRN_OK;
	err = collect(r, 0);
	return err ? err : range_out_next(r);
}

void range_out_fini(struct range_out *r)
{
	free(r->seqnos);
	free(r->next_seqnos);
	*r = (struct range_out){ 0 };
}

bool range_out_covers(const struct merge_loop_options *opts,
		      struct cairn_slice smallest, struct cairn_slice largest,
		      uint64_t smallest_seqno, uint64_t largest_seqno)
{
	const struct range_dels *d = opts->range_dels;
	size_t stripe, span;

	if (!d)
		return false;
	stripe = merge_loop_stripe(opts, smallest_seqno);
	if (stripe == opts->n_snapshots)
		return false;
	span = range_dels_find(d, smallest, d->n);
	for (; span < d->n; span++) {
		if (range_dels_newest(d, span, opts->snapshots[stripe]) <=
		    largest_seqno)
			return false;
		if (slice_cmp(largest, d->bound[span + 1]) < 0)
			return true;
	}
	return false;
}
