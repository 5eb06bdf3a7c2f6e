/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/merge_loop.h"

#include <assert.h>

#include "engine/base/error.h"
#include "engine/kv/kind.h"

void merge_loop_init(struct merge_loop *l, struct iter *in,
		     const struct merge_loop_options *opts)
{
	assert(opts->n_snapshots > 0);
	*l = (struct merge_loop){ .in = in, .opts = *opts };
}

void merge_loop_fini(struct merge_loop *l)
{
	buf_fini(&l->user_key);
}

size_t merge_loop_stripe(const struct merge_loop_options *o, uint64_t seqno)
{
	size_t lo = 0, hi = o->n_snapshots;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->snapshots[mid] < seqno)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t stripe_of(const struct merge_loop *l, uint64_t seqno)
{
	return merge_loop_stripe(&l->opts, seqno);
}

static bool published(const struct merge_loop *l, size_t stripe)
{
	return stripe < l->opts.n_snapshots;
}

/*
 * Take note of the version that the input stands on. The order of keys comes
 * from tables, so it is checked here and not believed: the table writer relies
 * on it. *again: the very same internal key once more.
 */
static int note_version(struct merge_loop *l, bool *again)
{
	const struct ikey *k = &l->in->key;
	int c, err;

	*again = false;
	c = l->have_key ? slice_cmp(buf_slice(&l->user_key), k->user_key) : -1;
	if (c < 0) {
		err = buf_set(&l->user_key, k->user_key);
		if (err)
			return err;
		l->have_key = true;
		l->first = true;
		l->shadowing = false;
		l->n_kept = 0;
	} else if (c > 0 || k->trailer > l->trailer) {
		return error_set(CAIRN_ECORRUPT,
				 "tables to be merged: keys out of order");
	} else {
		*again = k->trailer == l->trailer;
		l->first = false;
	}
	l->trailer = k->trailer;
	return CAIRN_OK;
}

static bool exists_below(const struct merge_loop *l)
{
	return l->opts.exists_below(l->opts.exists_ctx, l->in->key.user_key);
}

/* Whether a range tombstone at or below limit deletes the version that the
 * input stands on. */
static bool range_deleted(struct merge_loop *l, uint64_t limit)
{
	const struct range_dels *d = l->opts.range_dels;
	const struct ikey *k = &l->in->key;

	if (!d)
		return false;
	l->span = range_dels_find(d, k->user_key, l->span);
	return range_dels_newest(d, l->span, limit) > ikey_seqno(k);
}

/* ... for everyone who might look at that stripe. */
static bool covered(struct merge_loop *l, size_t stripe)
{
	return l->opts.range_dels && published(l, stripe) &&
	       range_deleted(l, l->opts.snapshots[stripe]);
}

/* Whether the filter takes this put, the newest of its stripe. */
static bool filtered(const struct merge_loop *l, size_t stripe)
{
	uint64_t seqno = ikey_seqno(&l->in->key);

	if (!l->opts.filter || !l->first || !published(l, stripe))
		return false;
	/* Seqno 0 is no exception: a put that was zeroed is seen by every
	 * snapshot there is. */
	if (l->opts.newest_user_snapshot &&
	    seqno <= l->opts.newest_user_snapshot)
		return false;
	return l->opts.filter->drop(l->opts.filter_job, l->in->key.user_key,
				    l->in->value);
}

static void give_out(struct merge_loop *l, size_t stripe)
{
	const struct ikey *k = &l->in->key;
	uint64_t seqno = ikey_seqno(k);

	l->key = *k;
	l->value = l->in->value;
	l->new_key = l->n_kept == 0;
	if (ikey_kind(k) == KIND_PUT && stripe == 0 && l->opts.zero_seqnos &&
	    !exists_below(l) && !range_deleted(l, SEQNO_MAX))
		l->key.trailer = ikey_pack(0, KIND_PUT);
	if (!l->first && seqno <= l->opts.newest_user_snapshot)
		l->n_pinned++;
	l->n_kept++;
	l->valid = true;
}

/* Decide about the entry that the input stands on; valid says whether it lives
 * on. */
static int judge(struct merge_loop *l)
{
	size_t stripe = stripe_of(l, ikey_seqno(&l->in->key));
	uint8_t kind = ikey_kind(&l->in->key);
	bool again, keep;
	int err = note_version(l, &again);

	if (err)
		return err;
	if (again || (l->shadowing && stripe == l->stripe) ||
	    covered(l, stripe)) {
		l->n_dropped++;
		return CAIRN_OK;
	}
	switch (kind) {
	case KIND_PUT:
		keep = !filtered(l, stripe);
		break;
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
		keep = stripe > 0 || exists_below(l);
		break;
	case KIND_MERGE:
		/* Without its operator it stays on top of what it changes. */
		keep = true;
		break;
	default:
		return kind_refuse(kind, "tables to be merged");
	}
	l->stripe = stripe;
	l->shadowing = kind != KIND_MERGE && published(l, stripe);
	if (keep)
		give_out(l, stripe);
	else
		l->n_dropped++;
	return CAIRN_OK;
}

/* From the entry that the input stands on, go to one that lives on. */
static void settle(struct merge_loop *l)
{
	l->valid = false;
	for (; l->in->valid; iter_next(l->in)) {
		if (l->n_in % MERGE_LOOP_POLL_ENTRIES == 0 && l->opts.poll &&
		    l->opts.poll(l->opts.poll_ctx, l->n_in)) {
			l->status = error_set(CAIRN_EABORTED, "job cancelled");
			return;
		}
		l->n_in++;
		l->status = judge(l);
		if (l->status || l->valid)
			return;
	}
	l->status = l->in->status;
}

void merge_loop_first(struct merge_loop *l)
{
	iter_first(l->in);
	settle(l);
}

void merge_loop_next(struct merge_loop *l)
{
	assert(l->valid);
	iter_next(l->in);
	settle(l);
}
