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
	if (!l->opts.poll_entries ||
	    l->opts.poll_entries > MERGE_LOOP_POLL_ENTRIES)
		l->opts.poll_entries = MERGE_LOOP_POLL_ENTRIES;
}

void merge_loop_fini(struct merge_loop *l)
{
	buf_fini(&l->user_key);
	merge_operands_fini(&l->operands);
	buf_fini(&l->merged);
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
static inline int note_version(struct merge_loop *l, bool *again)
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
		l->cover = COVER_NONE;
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

/* Read the entry that the input stands on. */
static inline int read_entry(struct merge_loop *l, bool *again)
{
	if (l->n_in >= l->next_poll) {
		l->next_poll = l->n_in + l->opts.poll_entries;
		if (l->opts.poll && l->opts.poll(l->opts.poll_ctx, l->n_in))
			return error_set(CAIRN_EABORTED, "job cancelled");
	}
	l->n_in++;
	return note_version(l, again);
}

/* Whether a range tombstone at or below limit deletes k. */
static bool range_deleted(struct merge_loop *l, const struct ikey *k,
			  uint64_t limit)
{
	const struct range_dels *d = l->opts.range_dels;

	if (!d)
		return false;
	l->span = range_dels_find(d, k->user_key, l->span);
	return range_dels_newest(d, l->span, limit) > ikey_seqno(k);
}

/* Whether one deletes what the input stands on for everyone who might look at
 * that stripe. */
static bool range_covered(struct merge_loop *l, size_t stripe)
{
	return l->opts.range_dels && published(l, stripe) &&
	       range_deleted(l, &l->in->key, l->opts.snapshots[stripe]);
}

/* Whether one of the stripe deletes all older versions of the key being read,
 * those of the stripe that are not covered being above it. */
static bool range_ends(struct merge_loop *l, size_t stripe)
{
	struct ikey oldest = { buf_slice(&l->user_key), 0 };

	if (stripe > 0)
		oldest.trailer = ikey_pack(l->opts.snapshots[stripe - 1], 0);
	return range_deleted(l, &oldest, l->opts.snapshots[stripe]);
}

/* Whether the input stands on another version of the key being read. */
static bool at_version(const struct merge_loop *l)
{
	return l->in->valid &&
	       slice_eq(l->in->key.user_key, buf_slice(&l->user_key));
}

/* ... of that stripe, and one that is not deleted with its range. */
static bool at_version_in(struct merge_loop *l, size_t stripe)
{
	return at_version(l) &&
	       stripe_of(l, ikey_seqno(&l->in->key)) == stripe &&
	       !range_covered(l, stripe);
}

/* ------------------------------------------------------------- living on */

static bool exists_below(const struct merge_loop *l)
{
	return l->opts.exists_below(l->opts.exists_ctx,
				    buf_slice(&l->user_key));
}

/* Whether a tombstone of the stripe is needed. */
static bool hides_something(const struct merge_loop *l, size_t stripe)
{
	return stripe > 0 || exists_below(l);
}

/* Whether the filter takes this put, the newest of its stripe. */
static inline bool filtered(const struct merge_loop *l, const struct ikey *k,
			    struct cairn_slice value, bool first, size_t stripe)
{
	if (!l->opts.filter || !first || !published(l, stripe))
		return false;
	/* Seqno 0 is no exception: a put that was zeroed is seen by every
	 * snapshot there is. */
	if (l->opts.newest_user_snapshot &&
	    ikey_seqno(k) <= l->opts.newest_user_snapshot)
		return false;
	return l->opts.filter->drop(l->opts.filter_job, k->user_key, value);
}

/* first: it is the newest version of its key. */
static inline void give_out(struct merge_loop *l, const struct ikey *k,
			    struct cairn_slice value, bool first, size_t stripe)
{
	uint64_t seqno = ikey_seqno(k);

	l->key = *k;
	l->value = value;
	l->new_key = l->n_kept == 0;
	if (ikey_kind(k) == KIND_PUT && stripe == 0 && l->opts.zero_seqnos &&
	    !exists_below(l) && !range_deleted(l, k, SEQNO_MAX))
		l->key.trailer = ikey_pack(0, KIND_PUT);
	if (!first && seqno <= l->opts.newest_user_snapshot)
		l->n_pinned++;
	l->n_kept++;
	l->valid = true;
}

/* ---------------------------------------------------------------- merging */

/* Gather the operands of the stripe from the input's on. It goes behind them.
 */
static int gather(struct merge_loop *l, size_t stripe)
{
	bool again = false;
	int err;

	merge_operands_clear(&l->operands);
	for (;;) {
		err = again ? CAIRN_OK
			    : merge_operands_add(&l->operands, l->in->value,
						 l->in->key.trailer);
		if (err)
			return err;
		l->n_dropped += again;
		iter_next(l->in);
		if (!l->in->valid && l->in->status)
			return l->in->status;
		l->ahead = true;
		if (!at_version_in(l, stripe) ||
		    ikey_kind(&l->in->key) != KIND_MERGE)
			return CAIRN_OK;
		err = read_entry(l, &again);
		if (err)
			return err;
	}
}

/*
 * Apply the operands to what the input stands on, when that is the value that
 * they change, or to nothing, when there is none. CAIRN_NOT_FOUND when it
 * cannot be told yet, or the operator cannot do it.
 */
static int apply(struct merge_loop *l, size_t stripe)
{
	const struct cairn_slice *existing = NULL;
	int err;

	if (at_version_in(l, stripe)) {
		switch (ikey_kind(&l->in->key)) {
		case KIND_PUT:
			existing = &l->in->value;
			break;
		case KIND_DELETE:
		case KIND_SINGLE_DELETE:
			break;
		default:
			return CAIRN_NOT_FOUND;
		}
	} else if (!range_ends(l, stripe) &&
		   (at_version(l) || exists_below(l))) {
		return CAIRN_NOT_FOUND;
	}
	err = merge_full(l->opts.merge, buf_slice(&l->user_key), existing,
			 &l->operands, MERGE_NEWEST_FIRST, &l->merged);
	if (err == CAIRN_ECORRUPT) {
		l->n_unmerged++;
		err = CAIRN_NOT_FOUND;
	}
	return err;
}

/* One of the operands as it was. */
static void give_out_operand(struct merge_loop *l)
{
	const struct merge_operand *o = &l->operands.at[l->next_operand];
	struct ikey k = { buf_slice(&l->user_key), o->trailer };

	give_out(l, &k, merge_operands_get(&l->operands, l->next_operand),
		 l->n_kept == 0, l->stripe);
	l->next_operand++;
}

/* The input stands on the newest operand of its stripe. */
static int judge_operands(struct merge_loop *l, size_t stripe)
{
	uint64_t seqno = ikey_seqno(&l->in->key);
	bool first = l->first;
	struct ikey k;
	int err;

	l->cover = COVER_NONE;
	err = gather(l, stripe);
	if (err)
		return err;
	k = ikey_make(buf_slice(&l->user_key), seqno, KIND_PUT);
	err = apply(l, stripe);
	if (!err) {
		l->cover = COVER_PUT;
	} else if (err == CAIRN_NOT_FOUND && l->operands.n > 1) {
		k.trailer = ikey_pack(seqno, KIND_MERGE);
		err = merge_partial(l->opts.merge, k.user_key, &l->operands,
				    MERGE_NEWEST_FIRST, &l->merged);
	}
	if (err == CAIRN_NOT_FOUND) {
		l->next_operand = 0;
		give_out_operand(l);
		return CAIRN_OK;
	}
	if (err)
		return err;
	l->n_dropped += l->operands.n - 1;
	l->next_operand = l->operands.n;
	if (l->cover == COVER_PUT &&
	    filtered(l, &k, buf_slice(&l->merged), first, stripe))
		l->n_dropped++;
	else
		give_out(l, &k, buf_slice(&l->merged), first, stripe);
	return CAIRN_OK;
}

/* -------------------------------------------------------- single deletions */

/* The version that was read last, as a deletion of the given kind. */
static void give_out_deletion(struct merge_loop *l, uint64_t trailer,
			      bool first, size_t stripe)
{
	struct ikey k = { buf_slice(&l->user_key), trailer };

	l->cover = COVER_ALL;
	if (hides_something(l, stripe))
		give_out(l, &k, slice_of(NULL, 0), first, stripe);
	else
		l->n_dropped++;
}

/* Whether the input stands on a value of the key being read, or what changes
 * one. */
static bool at_value(struct merge_loop *l)
{
	uint8_t kind = ikey_kind(&l->in->key);

	return at_version(l) && (kind == KIND_PUT || kind == KIND_MERGE) &&
	       !range_covered(l, stripe_of(l, ikey_seqno(&l->in->key)));
}

/* The input stands on a put below a single deletion. They vanish, unless
 * another value would come to light. */
static int judge_pair(struct merge_loop *l, uint64_t seqno, bool first,
		      size_t stripe)
{
	bool again = false;
	int err = read_entry(l, &again);

	if (err)
		return err;
	l->n_dropped++;
	iter_next(l->in);
	if (!l->in->valid && l->in->status)
		return l->in->status;
	if (at_value(l))
		give_out_deletion(l, ikey_pack(seqno, KIND_DELETE), first,
				  stripe);
	else
		l->n_dropped++;
	return CAIRN_OK;
}

/* The input stands on a single deletion that nothing hides. */
static int judge_single(struct merge_loop *l, size_t stripe)
{
	uint64_t trailer = l->in->key.trailer;
	bool first = l->first;

	iter_next(l->in);
	if (!l->in->valid && l->in->status)
		return l->in->status;
	l->ahead = true;
	if (at_version_in(l, stripe)) {
		switch (ikey_kind(&l->in->key)) {
		case KIND_PUT:
			return judge_pair(l, trailer >> 8, first, stripe);
		case KIND_DELETE:
		case KIND_SINGLE_DELETE:
			/* That one does the same. */
			l->n_dropped++;
			return CAIRN_OK;
		case KIND_MERGE:
			trailer = ikey_pack(trailer >> 8, KIND_DELETE);
			break;
		default:
			break;
		}
	}
	give_out_deletion(l, trailer, first, stripe);
	return CAIRN_OK;
}

/* --------------------------------------------------------------- the loop */

/*
 * Whether what lived on of the stripe hides the version that the input stands
 * on. A tombstone below a put is not hidden, but it hides all below it.
 */
static bool shadowed(struct merge_loop *l, size_t stripe, uint8_t kind)
{
	if (l->cover == COVER_NONE || stripe != l->stripe)
		return false;
	if (l->cover == COVER_ALL)
		return true;
	if (kind != KIND_PUT && kind != KIND_MERGE)
		return false;
	l->cover = COVER_ALL;
	return true;
}

/* Decide about a version that is published and not hidden. */
static inline int judge_version(struct merge_loop *l, size_t stripe,
				uint8_t kind)
{
	const struct ikey *k = &l->in->key;
	bool keep = true;

	if (l->stripe != stripe)
		l->cover = COVER_NONE;
	l->stripe = stripe;
	switch (kind) {
	case KIND_PUT:
		l->cover = COVER_PUT;
		keep = !filtered(l, k, l->in->value, l->first, stripe);
		break;
	case KIND_DELETE:
		l->cover = COVER_ALL;
		keep = hides_something(l, stripe);
		break;
	case KIND_SINGLE_DELETE:
		return judge_single(l, stripe);
	case KIND_MERGE:
		if (l->opts.merge)
			return judge_operands(l, stripe);
		/* Without its operator it stays on top of what it changes. */
		l->cover = COVER_NONE;
		break;
	default:
		return kind_refuse(kind, "tables to be merged");
	}
	if (keep)
		give_out(l, k, l->in->value, l->first, stripe);
	else
		l->n_dropped++;
	return CAIRN_OK;
}

/* Decide about the entry that the input stands on; valid says whether it, or
 * what it became together with others, lives on. */
static int judge(struct merge_loop *l)
{
	size_t stripe = stripe_of(l, ikey_seqno(&l->in->key));
	uint8_t kind = ikey_kind(&l->in->key);
	bool again = false;
	int err = read_entry(l, &again);

	if (err)
		return err;
	if (again || shadowed(l, stripe, kind) || range_covered(l, stripe)) {
		l->n_dropped++;
		return CAIRN_OK;
	}
	if (published(l, stripe))
		return judge_version(l, stripe, kind);
	l->cover = COVER_NONE;
	switch (kind) {
	case KIND_PUT:
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
	case KIND_MERGE:
		give_out(l, &l->in->key, l->in->value, l->first, stripe);
		return CAIRN_OK;
	default:
		return kind_refuse(kind, "tables to be merged");
	}
}

/* From the entry that the input stands on, go to one that lives on. */
static void settle(struct merge_loop *l)
{
	l->valid = false;
	while (l->in->valid) {
		l->ahead = false;
		l->status = judge(l);
		if (l->status || l->valid)
			return;
		if (!l->ahead)
			iter_next(l->in);
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
	if (l->next_operand < l->operands.n) {
		give_out_operand(l);
		return;
	}
	if (!l->ahead)
		iter_next(l->in);
	settle(l);
}
