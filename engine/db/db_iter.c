/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/db_iter.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/db.h"
#include "engine/db/read_only.h"
#include "engine/db/work.h"
#include "engine/kv/kind.h"
#include "engine/kv/merging_iter.h"
#include "engine/version/level_iter.h"

/* So many versions of one key are passed one by one; then a seek is cheaper
 * (RocksDB's max_sequential_skip_in_iterations). */
#define STEPS_MAX 8

/* --------------------------------------------------------------- results */

static bool end(struct cairn_iter *it, int status)
{
	it->valid = false;
	it->status = status < 0 ? read_only_blame(it->db, status) : status;
	return false;
}

/*
 * Bytes shown, on average, from one sampled read to the next. They differ, so
 * that a rhythm of the reader's does not always meet the same keys.
 */
#define SAMPLE_BYTES (UINT64_C(1) << 20)

static int64_t next_sample(struct cairn_db *db)
{
	uint64_t n = atomic_fetch_add_explicit(&db->read_samples, 1,
					       memory_order_relaxed);

	/* The upper bits of a multiplication by 2^64 / phi: [0, 2 x above). */
	return (int64_t)(n * UINT64_C(0x9e3779b97f4a7c15) >> 43);
}

/*
 * The read cost more than it had to when the key lies within the bounds of
 * files of more than one level: charge the topmost one, and have it compacted
 * when it has been charged often.
 */
__attribute__((noinline)) static void sample_read(struct cairn_iter *it)
{
	const struct version *v = it->state->version;
	struct file_meta *top = NULL;
	struct file_meta *f;
	unsigned n = 0;

	it->sample_left = next_sample(it->db);
	for (size_t i = v->n_sublevels; i-- > 0;) {
		f = version_file_for(&v->sublevel[i], it->key);
		n += f != NULL;
		top = top ? top : f;
	}
	for (int l = 1; l < CAIRN_LEVELS; l++) {
		f = version_file_for(&v->level[l], it->key);
		n += f != NULL;
		top = top ? top : f;
	}
	if (n > 1 && it->db->work && file_meta_charge_read(top))
		work_note_read_often(it->db->work, top);
}

static inline void note_read(struct cairn_iter *it)
{
	it->sample_left -= (int64_t)(it->key.len + it->value.len);
	if (it->sample_left < 0)
		sample_read(it);
}

static bool show_input(struct cairn_iter *it)
{
	it->valid = true;
	it->backward = false;
	it->merged = false;
	it->status = CAIRN_OK;
	it->key = it->in->key.user_key;
	it->value = it->in->value;
	note_read(it);
	return true;
}

static bool show_copies(struct cairn_iter *it)
{
	it->valid = true;
	it->backward = true;
	it->status = CAIRN_OK;
	it->key = buf_slice(&it->key_copy);
	it->value = buf_slice(&it->value_copy);
	note_read(it);
	return true;
}

/* The key in key_copy with what its operands became. */
static bool show_merged(struct cairn_iter *it, bool backward)
{
	it->valid = true;
	it->backward = backward;
	it->merged = true;
	it->status = CAIRN_OK;
	it->key = buf_slice(&it->key_copy);
	it->value = buf_slice(&it->merged_copy);
	note_read(it);
	return true;
}

static int refuse(uint8_t kind)
{
	return kind_refuse(kind, "iterator");
}

static int out_of_order(void)
{
	return error_set(CAIRN_ECORRUPT,
			 "iterator: keys of a table out of order");
}

/* Whether a version counts for this reader. */
static bool is_seen(const struct cairn_iter *it, const struct ikey *k)
{
	uint64_t seqno = ikey_seqno(k);

	return seqno <= it->seqno || (it->has_batch && seqno >= BATCH_SEQNO);
}

/*
 * Go forward to *target, which is behind where the input stands and borrows
 * from key_copy: by steps at first, then by a seek.
 */
static int approach(struct cairn_iter *it, const struct ikey *target,
		    unsigned *steps)
{
	if (++*steps <= STEPS_MAX) {
		iter_next(it->in);
		return CAIRN_OK;
	}
	*steps = 0;
	iter_seek_forward(it->in, target);
	/* A table with its keys in disorder must not send us in circles. */
	if (it->in->valid && ikey_cmp(&it->in->key, target) < 0)
		return out_of_order();
	return CAIRN_OK;
}

/* -------------------------------------------------------- merge operands */

static int take_operand(struct cairn_iter *it)
{
	return merge_operands_add(&it->operands, it->in->value,
				  it->in->key.trailer);
}

/* existing NULL: there is nothing below the operands. */
static int apply_operands(struct cairn_iter *it,
			  const struct cairn_slice *existing,
			  enum merge_order order)
{
	if (!it->db->opts.merge)
		return merge_refuse(buf_slice(&it->key_copy),
				    it->db->opts.merge_unknown);
	return merge_full(it->db->opts.merge, buf_slice(&it->key_copy),
			  existing, &it->operands, order, &it->merged_copy);
}

/*
 * The input stood on an operand of the key in key_copy and goes on to what is
 * below it. Only between those of a batch and those of the store there may be
 * versions that are not seen.
 */
static int next_operand(struct cairn_iter *it)
{
	unsigned steps = 0;
	struct ikey target;
	int err = CAIRN_OK;

	iter_next(it->in);
	while (it->has_batch && !err && it->in->valid &&
	       !is_seen(it, &it->in->key) &&
	       slice_eq(it->in->key.user_key, buf_slice(&it->key_copy))) {
		target = ikey_seek(buf_slice(&it->key_copy), it->seqno);
		err = approach(it, &target, &steps);
	}
	return err;
}

/*
 * The input stands on the newest visible version of a key, an operand. Take it
 * and those below, and apply them to the value that they end on; merged_copy
 * and key_copy are the entry then. The input stays within the versions of the
 * key, or goes to the next key.
 */
static int merge_forward(struct cairn_iter *it)
{
	int err = buf_set(&it->key_copy, it->in->key.user_key);

	merge_operands_clear(&it->operands);
	while (!err) {
		const struct ikey *k = &it->in->key;

		err = take_operand(it);
		if (err)
			break;
		err = next_operand(it);
		if (err)
			break;
		if (!it->in->valid && it->in->status)
			return it->in->status;
		if (!it->in->valid ||
		    !slice_eq(k->user_key, buf_slice(&it->key_copy)))
			return apply_operands(it, NULL, MERGE_NEWEST_FIRST);
		switch (ikey_kind(k)) {
		case KIND_PUT:
			return apply_operands(it, &it->in->value,
					      MERGE_NEWEST_FIRST);
		case KIND_DELETE:
		case KIND_SINGLE_DELETE:
			return apply_operands(it, NULL, MERGE_NEWEST_FIRST);
		case KIND_MERGE:
			break;
		default:
			return refuse(ikey_kind(k));
		}
	}
	return err;
}

/* ---------------------------------------------------------------- bounds */

static bool at_or_above_upper(const struct cairn_iter *it,
			      struct cairn_slice user_key)
{
	return it->bounds.upper.data &&
	       slice_cmp(user_key, it->bounds.upper) >= 0;
}

static bool below_lower(const struct cairn_iter *it,
			struct cairn_slice user_key)
{
	return it->bounds.lower.data &&
	       slice_cmp(user_key, it->bounds.lower) < 0;
}

/* The length of user_key's prefix; SIZE_MAX: it has none. */
static size_t prefix_len(const struct cairn_iter *it,
			 struct cairn_slice user_key)
{
	const struct cairn_prefix_extractor *px = it->db->opts.prefix;

	return px ? px->prefix_len(px->ctx, user_key) : SIZE_MAX;
}

static bool has_prefix(const struct cairn_iter *it, struct cairn_slice user_key)
{
	return slice_starts_with(user_key, buf_slice(&it->prefix)) &&
	       prefix_len(it, user_key) == it->prefix.len;
}

/* --------------------------------------------------------------- forward */

/* The input stands on a version of the key in key_copy, which is done with. */
static int pass_older(struct cairn_iter *it, unsigned *steps)
{
	struct ikey target = { buf_slice(&it->key_copy), 0 };

	return approach(it, &target, steps);
}

/*
 * The input stands on a version that is newer than what is seen here. Move it
 * on, towards the ones that are not.
 */
static int pass_unseen(struct cairn_iter *it, unsigned *steps)
{
	struct cairn_slice user_key = it->in->key.user_key;
	struct ikey target;

	if (*steps == 0 || !slice_eq(user_key, buf_slice(&it->key_copy))) {
		int err = buf_set(&it->key_copy, user_key);

		if (err)
			return err;
		*steps = 0;
	}
	target = ikey_seek(buf_slice(&it->key_copy), it->seqno);
	return approach(it, &target, steps);
}

/*
 * The input has come to the first entry at or above upper. A walk of the range
 * that follows begins there. (Without memory for that it is a dearer one.)
 */
static void note_end(struct cairn_iter *it)
{
	if (!it->floor_known && !it->prefix_mode)
		it->floor_known =
			buf_set(&it->floor, it->bounds.upper) == CAIRN_OK;
}

/*
 * Show the first visible entry from where the input stands on. skip: leave out
 * the versions of the key in key_copy.
 */
static bool settle_forward(struct cairn_iter *it, bool skip)
{
	unsigned steps = 0;

	while (it->in->valid) {
		const struct ikey *k = &it->in->key;
		int err;

		if (skip) {
			int c = slice_cmp(k->user_key,
					  buf_slice(&it->key_copy));

			err = c < 0    ? out_of_order()
			      : c == 0 ? pass_older(it, &steps)
				       : CAIRN_OK;
			if (err)
				return end(it, err);
			if (c == 0)
				continue;
			skip = false;
			steps = 0;
		}
		if (at_or_above_upper(it, k->user_key)) {
			note_end(it);
			return end(it, CAIRN_OK);
		}
		if (it->prefix_mode && !has_prefix(it, k->user_key))
			return end(it, CAIRN_OK);
		if (!is_seen(it, k)) {
			err = pass_unseen(it, &steps);
			if (err)
				return end(it, err);
			continue;
		}
		switch (ikey_kind(k)) {
		case KIND_PUT:
			return show_input(it);
		case KIND_DELETE:
		case KIND_SINGLE_DELETE:
			err = buf_set(&it->key_copy, k->user_key);
			if (err)
				return end(it, err);
			skip = true;
			steps = 0;
			break;
		case KIND_MERGE:
			it->floor_known = false;
			err = merge_forward(it);
			return err ? end(it, err) : show_merged(it, false);
		default:
			return end(it, refuse(ikey_kind(k)));
		}
	}
	return end(it, it->in->status);
}

/* -------------------------------------------------------------- backward */

/* What is known of a key whose versions are being passed, oldest first. */
struct newest {
	bool found;
	uint8_t kind;
	bool on_value; /* the operands are on top of value_copy */
	bool merged;   /* they were applied already */
};

/* The input stands on a visible version, the newest so far. */
static int take_version(struct cairn_iter *it, struct newest *n)
{
	uint8_t older = n->found ? n->kind : KIND_DELETE;

	n->found = true;
	n->kind = ikey_kind(&it->in->key);
	if (n->kind == KIND_PUT)
		return buf_set(&it->value_copy, it->in->value);
	if (n->kind != KIND_MERGE)
		return CAIRN_OK;
	if (older != KIND_MERGE) {
		merge_operands_clear(&it->operands);
		n->on_value = older == KIND_PUT;
	}
	return take_operand(it);
}

/* Whether the input stands on a version of the key in key_copy. */
static bool on_key(const struct cairn_iter *it)
{
	return it->in->valid &&
	       slice_eq(it->in->key.user_key, buf_slice(&it->key_copy));
}

/* The key in key_copy has a visible version, or with a batch may have one: find
 * the newest one directly. */
static int seek_newest(struct cairn_iter *it, struct newest *n)
{
	struct cairn_slice user_key = buf_slice(&it->key_copy);
	struct ikey target = ikey_seek(user_key, it->top);

	iter_seek_ge(it->in, &target);
	if (on_key(it) && !is_seen(it, &it->in->key)) {
		target = ikey_seek(user_key, it->seqno);
		iter_seek_ge(it->in, &target);
	}
	if (!it->in->valid && it->in->status)
		return it->in->status;
	if (!on_key(it) && it->has_batch && !n->found)
		return CAIRN_OK;
	if (!on_key(it) || !is_seen(it, &it->in->key))
		return out_of_order();
	if (ikey_kind(&it->in->key) == KIND_MERGE) {
		/* From there on as forward: the newest operand comes first. */
		*n = (struct newest){ true, KIND_MERGE, false, true };
		return merge_forward(it);
	}
	return take_version(it, n);
}

/* Go before all versions of the key in key_copy. */
static int seek_before(struct cairn_iter *it)
{
	struct ikey before_all = { buf_slice(&it->key_copy), UINT64_MAX };

	iter_seek_lt(it->in, &before_all);
	if (!it->in->valid)
		return it->in->status;
	if (ikey_cmp(&it->in->key, &before_all) >= 0)
		return out_of_order();
	return CAIRN_OK;
}

/*
 * The input stands on the oldest version of a key. Go before all versions of
 * it; key_copy, value_copy and *n tell what was found.
 */
static int collect_backward(struct cairn_iter *it, struct newest *n)
{
	int err = buf_set(&it->key_copy, it->in->key.user_key);

	*n = (struct newest){ 0 };
	for (unsigned steps = 0; !err; steps++) {
		bool visible = is_seen(it, &it->in->key);

		if (steps == STEPS_MAX) {
			/* What follows one that is not seen is not seen either,
			 * but for a batch. */
			if (visible || it->has_batch)
				err = seek_newest(it, n);
			return err ? err : seek_before(it);
		}
		if (visible) {
			err = take_version(it, n);
			if (err)
				return err;
		}
		iter_prev(it->in);
		if (!it->in->valid)
			return it->in->status;
		if (!slice_eq(it->in->key.user_key, buf_slice(&it->key_copy)))
			return CAIRN_OK;
	}
	return err;
}

/* The key in key_copy has operands for its newest visible version. */
static bool show_operands(struct cairn_iter *it, const struct newest *n)
{
	struct cairn_slice value = buf_slice(&it->value_copy);
	int err = CAIRN_OK;

	if (!n->merged)
		err = apply_operands(it, n->on_value ? &value : NULL,
				     MERGE_OLDEST_FIRST);
	return err ? end(it, err) : show_merged(it, true);
}

/* Show the last visible entry from where the input stands back. */
static bool settle_backward(struct cairn_iter *it)
{
	while (it->in->valid) {
		struct newest n;
		int err;

		if (below_lower(it, it->in->key.user_key))
			return end(it, CAIRN_OK);
		err = collect_backward(it, &n);
		if (err)
			return end(it, err);
		if (!n.found)
			continue;
		switch (n.kind) {
		case KIND_PUT:
			return show_copies(it);
		case KIND_DELETE:
		case KIND_SINGLE_DELETE:
			break;
		case KIND_MERGE:
			return show_operands(it, &n);
		default:
			return end(it, refuse(n.kind));
		}
	}
	return end(it, it->in->status);
}

/* ----------------------------------------------------------- positioning */

static bool at_or_above_floor(const struct cairn_iter *it,
			      struct cairn_slice key)
{
	return it->floor_known && slice_cmp(key, buf_slice(&it->floor)) >= 0;
}

static bool seek_forward(struct cairn_iter *it, struct cairn_slice key)
{
	struct ikey target = ikey_seek(key, it->top);
	bool from_here = at_or_above_floor(it, key);
	int err;

	if (at_or_above_upper(it, key)) {
		it->floor_known = false;
		return end(it, CAIRN_OK);
	}
	/* Nothing visible lies between the key and the entry shown. */
	if (from_here && it->valid && slice_cmp(key, it->key) <= 0)
		return true;
	it->floor_known = false;
	if (it->in->valid && (from_here || ikey_cmp(&it->in->key, &target) < 0))
		iter_seek_forward(it->in, &target);
	else
		iter_seek_ge(it->in, &target);
	err = buf_set(&it->floor, key);
	if (err)
		return end(it, err);
	it->floor_known = true;
	return settle_forward(it, false);
}

static bool seek_backward(struct cairn_iter *it, struct cairn_slice key)
{
	struct ikey before_all = { key, UINT64_MAX };

	it->floor_known = false;
	iter_seek_lt(it->in, &before_all);
	return settle_backward(it);
}

bool cairn_iter_first(struct cairn_iter *it)
{
	it->prefix_mode = false;
	if (it->bounds.lower.data)
		return seek_forward(it, it->bounds.lower);
	it->floor_known = false;
	iter_first(it->in);
	return settle_forward(it, false);
}

bool cairn_iter_last(struct cairn_iter *it)
{
	if (it->prefix_mode)
		return end(it, error_set(CAIRN_EINVAL,
					 "iterator: last in prefix mode"));
	if (it->bounds.upper.data)
		return seek_backward(it, it->bounds.upper);
	it->floor_known = false;
	iter_last(it->in);
	return settle_backward(it);
}

bool cairn_iter_seek_ge(struct cairn_iter *it, struct cairn_slice key)
{
	it->prefix_mode = false;
	return seek_forward(it, below_lower(it, key) ? it->bounds.lower : key);
}

bool cairn_iter_seek_lt(struct cairn_iter *it, struct cairn_slice key)
{
	it->prefix_mode = false;
	return seek_backward(it, at_or_above_upper(it, key) ? it->bounds.upper
							    : key);
}

bool cairn_iter_seek_prefix_ge(struct cairn_iter *it, struct cairn_slice key)
{
	size_t len = prefix_len(it, key);
	struct ikey target;
	int err;

	it->prefix_mode = false;
	it->floor_known = false;
	if (len == SIZE_MAX || len > key.len)
		return end(it, error_set(CAIRN_EINVAL,
					 "iterator: key has no prefix"));
	err = buf_set(&it->prefix, slice_of(key.data, len));
	if (err)
		return end(it, err);
	it->prefix_mode = true;
	if (below_lower(it, key))
		key = it->bounds.lower;
	if (at_or_above_upper(it, key) || !has_prefix(it, key))
		return end(it, CAIRN_OK);
	target = ikey_seek(key, it->top);
	iter_seek_prefix_ge(it->in, &target, buf_slice(&it->prefix));
	return settle_forward(it, false);
}

bool cairn_iter_next(struct cairn_iter *it)
{
	struct ikey behind_all;
	int err;

	if (!it->valid)
		return false;
	it->floor_known = false;
	if (it->backward) {
		behind_all = (struct ikey){ it->key, 0 };
		iter_seek_ge(it->in, &behind_all);
		return settle_forward(it, true);
	}
	if (it->merged)
		return settle_forward(it, true);
	/* A put whose seqno was zeroed has no older versions to be skipped. */
	if (ikey_seqno(&it->in->key) == 0) {
		iter_next(it->in);
		return settle_forward(it, false);
	}
	err = buf_set(&it->key_copy, it->key);
	if (err)
		return end(it, err);
	iter_next(it->in);
	return settle_forward(it, true);
}

bool cairn_iter_prev(struct cairn_iter *it)
{
	int err;

	if (!it->valid)
		return false;
	if (it->prefix_mode)
		return end(it, error_set(CAIRN_EINVAL,
					 "iterator: prev in prefix mode"));
	if (it->backward)
		return settle_backward(it);
	err = it->merged ? CAIRN_OK : buf_set(&it->key_copy, it->key);
	if (err)
		return end(it, err);
	return seek_backward(it, buf_slice(&it->key_copy));
}

void cairn_iter_set_bounds(struct cairn_iter *it, struct cairn_slice lower,
			   struct cairn_slice upper)
{
	it->bounds = (struct level_bounds){ lower, upper };
	it->prefix_mode = false;
	iter_bounds_moved(it->in);
	end(it, CAIRN_OK);
}

bool cairn_iter_valid(const struct cairn_iter *it)
{
	return it->valid;
}

struct cairn_slice cairn_iter_key(const struct cairn_iter *it)
{
	return it->key;
}

struct cairn_slice cairn_iter_value(const struct cairn_iter *it)
{
	return it->value;
}

int cairn_iter_status(const struct cairn_iter *it)
{
	return it->status;
}

/* The input stands on the entry shown, so its memory can be kept as it is. */
static int pin_input(struct cairn_iter *it, struct cairn_pinned *out)
{
	return it->backward || it->merged ? CAIRN_NOT_FOUND
					  : iter_pin(it->in, out);
}

int cairn_iter_pin_value(struct cairn_iter *it, struct cairn_pinned *out)
{
	uint8_t *copy;
	int err;

	if (!it->valid)
		return error_set(CAIRN_EINVAL,
				 "iterator: no value, it is on no entry");
	err = pin_input(it, out);
	if (err != CAIRN_NOT_FOUND)
		return err;
	copy = malloc(it->value.len + 1);
	if (!copy)
		return error_nomem();
	if (it->value.len)
		memcpy(copy, it->value.data, it->value.len);
	*out = (struct cairn_pinned){ .value = slice_of(copy, it->value.len),
				      .release = free,
				      .owner = copy };
	return CAIRN_OK;
}

/* --------------------------------------------------------------- opening */

static int add_run(const struct level_iter_options *opts,
		   const struct version_files *run, struct iter **children,
		   size_t *n)
{
	int err;

	if (run->n == 0)
		return CAIRN_OK;
	err = level_iter_new(run, opts, &children[*n]);
	if (!err)
		++*n;
	return err;
}

/* Whether there may be range tombstones in any source. */
static bool may_hide(const struct read_state *s)
{
	for (size_t i = 0; i < s->n_mems; i++)
		if (memtable_range_deletions(s->mems[i]))
			return true;
	return version_may_have_range_dels(s->version);
}

/* The sources, newest first; children has room for all. */
static int open_children(const struct cairn_iter *it,
			 const struct batch_view *batch, bool hides,
			 struct iter **children, size_t *n)
{
	const struct read_state *s = it->state;
	const struct version *v = s->version;
	struct level_iter_options opts = {
		.tables = it->db->tables,
		.scan = it->fill_cache ? TABLE_SCAN_CACHED : TABLE_SCAN_NO_FILL,
		.bounds = &it->bounds,
		.filter = it->filter,
		.range_dels = hides,
	};
	int err = CAIRN_OK;

	if (batch->count) {
		err = batch_view_iter(batch, &children[*n]);
		if (!err)
			++*n;
	}
	for (size_t i = 0; i < s->n_mems && !err; i++) {
		if (memtable_empty(s->mems[i]))
			continue;
		err = memtable_iter_new(s->mems[i], &children[*n]);
		if (!err)
			++*n;
	}
	for (size_t i = v->n_sublevels; i-- > 0 && !err;)
		err = add_run(&opts, &v->sublevel[i], children, n);
	for (int l = 1; l < CAIRN_LEVELS && !err; l++)
		err = add_run(&opts, &v->level[l], children, n);
	return err;
}

/* batch: what it->batch is, or is to be. *out is made anew. */
static int open_input(const struct cairn_iter *it,
		      const struct batch_view *batch, struct iter **out)
{
	size_t max = 1 + it->state->n_mems + it->state->version->n_sublevels +
		     CAIRN_LEVELS;
	struct iter **children = malloc(max * sizeof(struct iter *));
	bool hides = batch->dels || may_hide(it->state);
	size_t n = 0;
	int err;

	if (!children)
		return error_nomem();
	err = open_children(it, batch, hides, children, &n);
	if (!err) {
		err = hides ? merging_iter_new_hiding(children, n, it->seqno,
						      out)
			    : merging_iter_new(children, n, out);
		n = 0; /* taken over, whatever the result */
	}
	while (n)
		iter_close(children[--n]);
	free(children);
	return err;
}

static void release(struct cairn_iter *it)
{
	iter_close(it->in);
	if (it->state)
		read_state_unref(it->state);
	batch_view_fini(&it->batch);
	buf_fini(&it->key_copy);
	buf_fini(&it->value_copy);
	buf_fini(&it->prefix);
	buf_fini(&it->floor);
	merge_operands_fini(&it->operands);
	buf_fini(&it->merged_copy);
}

static void take_options(struct cairn_iter *it,
			 const struct cairn_read_options *o)
{
	it->bounds = (struct level_bounds){ o->lower, o->upper };
	it->fill_cache = !o->no_fill_cache;
	it->filter = o->table_filter;
}

/* Make what it says into an iterator; it is freed after a failure. */
static int open_iter(struct cairn_iter *it, struct cairn_iter **out)
{
	struct cairn_db *db = it->db;
	int err = open_input(it, &it->batch, &it->in);

	/* Of many short scans as many bytes are sampled as of a long one. */
	it->sample_left = next_sample(db) / 2;
	if (err) {
		release(it);
		free(it);
		return err;
	}
	mutex_lock(&db->mu);
	it->created_us = env_mono_us(db->env);
	list_add_tail(&db->iterators, &it->link);
	db->n_iterators++;
	mutex_unlock(&db->mu);
	*out = it;
	return CAIRN_OK;
}

/* b may be NULL. */
static int iter_new(struct cairn_db *db, const struct cairn_read_options *o,
		    const struct cairn_batch *b, struct cairn_iter **out)
{
	const struct cairn_read_options defaults = { 0 };
	struct cairn_iter *it = malloc(sizeof(*it));
	int err = CAIRN_OK;

	if (!it)
		return error_nomem();
	*it = (struct cairn_iter){ 0 };
	if (b)
		err = batch_view_init(&it->batch, b);
	if (err) {
		free(it);
		return err;
	}
	if (!o)
		o = &defaults;
	it->db = db;
	take_options(it, o);
	/* The state first, then the seqno: see read_state.h. */
	it->state = read_state_ref_current(db->read_states);
	it->seqno = o->snapshot ? o->snapshot->seqno
				: atomic_load_explicit(&db->visible,
						       memory_order_acquire);
	it->top = b ? SEQNO_MAX : it->seqno;
	it->has_batch = b;
	return open_iter(it, out);
}

int cairn_iter_new(struct cairn_db *db, const struct cairn_read_options *o,
		   struct cairn_iter **out)
{
	return iter_new(db, o, NULL, out);
}

int cairn_batch_iter_new(struct cairn_db *db,
			 const struct cairn_read_options *o,
			 const struct cairn_batch *b, struct cairn_iter **out)
{
	return iter_new(db, o, b, out);
}

int cairn_batch_iter_refresh(struct cairn_iter *it, const struct cairn_batch *b)
{
	struct batch_view batch;
	struct iter *in;
	int err;

	if (!it->has_batch)
		return error_set(CAIRN_EINVAL,
				 "iterator: made without a batch");
	err = batch_view_init(&batch, b);
	if (err)
		return err;
	err = open_input(it, &batch, &in);
	if (err) {
		batch_view_fini(&batch);
		return err;
	}
	iter_close(it->in);
	batch_view_fini(&it->batch);
	it->in = in;
	it->batch = batch;
	it->prefix_mode = false;
	it->floor_known = false;
	(void)end(it, CAIRN_OK);
	return CAIRN_OK;
}

int cairn_iter_clone(const struct cairn_iter *from,
		     const struct cairn_read_options *o,
		     struct cairn_iter **out)
{
	struct cairn_iter *it;

	if (o && o->snapshot)
		return error_set(CAIRN_EINVAL,
				 "iterator: a clone sees what its original "
				 "does; it takes no snapshot");
	it = calloc(1, sizeof(*it));
	if (!it)
		return error_nomem();
	/* Of from only what positioning does not change: see cairn.h. */
	it->db = from->db;
	it->state = read_state_ref(from->state);
	it->seqno = from->seqno;
	it->top = from->top;
	it->has_batch = from->has_batch;
	batch_view_copy(&it->batch, &from->batch);
	if (o) {
		take_options(it, o);
	} else {
		it->bounds = from->bounds;
		it->fill_cache = from->fill_cache;
		it->filter = from->filter;
	}
	return open_iter(it, out);
}

void cairn_iter_free(struct cairn_iter *it)
{
	struct cairn_db *db;

	if (!it)
		return;
	db = it->db;
	release(it);
	/* Last: from then on the database may be closed. */
	mutex_lock(&db->mu);
	list_remove(&it->link);
	db->n_iterators--;
	mutex_unlock(&db->mu);
	free(it);
}
