/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/model.h"

#include <stdlib.h>

#include "tests/compat/die.h"
#include "tests/metamorphic/output.h"

/* -------------------------------------------------------------------- slots */

static void batch_drop(struct model_batch *b, size_t n)
{
	while (b->n > n) {
		struct model_change *c = &b->v[--b->n];

		word_unref(c->key);
		word_unref(c->value);
	}
}

static void batch_fini(struct model_batch *b)
{
	batch_drop(b, 0);
	free(b->v);
	*b = (struct model_batch){ 0 };
}

static void iter_fini(struct model_iter *it)
{
	view_fini(&it->base);
	view_fini(&it->view);
	word_unref(it->lower);
	word_unref(it->upper);
	word_unref(it->prefix);
	*it = (struct model_iter){ 0 };
}

static void release(struct model *m, uint64_t i)
{
	view_fini(&m->snapshots[i].view);
	m->snapshots[i].used = false;
}

static void unpin(struct model *m, uint64_t i)
{
	word_unref(m->pins[i]);
	m->pins[i] = NULL;
}

/* What must not be there when a store is closed. */
static void let_go(struct model *m)
{
	for (unsigned i = 0; i < N_ITERS; i++)
		iter_fini(&m->iters[i]);
	for (unsigned i = 0; i < N_SNAPSHOTS; i++)
		release(m, i);
	for (unsigned i = 0; i < N_PINS; i++)
		unpin(m, i);
}

void model_init(struct model *m, const char *merge)
{
	*m = (struct model){ .merge = merge_named(merge) };
}

void model_fini(struct model *m)
{
	let_go(m);
	for (unsigned i = 0; i < N_BATCHES; i++)
		batch_fini(&m->batches[i]);
	view_fini(&m->now);
}

/* The state that argument i names; NULL: a snapshot that is not there. */
static const struct view *view_of(const struct model *m, const struct op *op,
				  unsigned i)
{
	uint64_t s = op_number(op, i);

	if (s == UINT64_MAX)
		return &m->now;
	return m->snapshots[s].used ? &m->snapshots[s].view : NULL;
}

static void skip(struct op *op)
{
	op->skip = true;
}

static void ok(struct model *m, struct op *op, struct buf *out)
{
	(void)m;
	(void)op;
	out_text(out, "ok");
}

static void look_up(struct model *m, const struct entry *e, struct buf *out)
{
	m->lookups++;
	if (!e) {
		out_text(out, "none");
		return;
	}
	m->hits++;
	out_bytes(out, word_slice(e->value));
}

static void digest_view(const struct view *v, struct buf *out)
{
	struct digest d = { 0 };

	for (size_t i = 0; i < v->n; i++)
		digest_add(&d, word_slice(v->v[i].key),
			   word_slice(v->v[i].value));
	digest_end(&d, out);
}

/* ------------------------------------------------------------------ changes */

static bool may_single_delete(const struct view *v, struct cairn_slice key)
{
	const struct entry *e = view_find(v, key);

	return e && e->once && key.len && key.data[0] == ONCE_MARK;
}

static void apply(const struct model *m, struct view *v,
		  const struct model_change *c)
{
	struct cairn_slice key = word_slice(c->key);

	switch ((int)c->kind) {
	case OP_batch_put:
		view_put(v, key, c->value);
		break;
	case OP_batch_merge:
		view_merge(v, m->merge, key, word_slice(c->value));
		break;
	case OP_batch_delete_range:
		view_delete_range(v, key, word_slice(c->value));
		break;
	default:
		view_delete(v, key);
	}
}

static void run_put(struct model *m, struct op *op, struct buf *out)
{
	view_put(&m->now, op_slice(op, 0), op->args[1]);
	ok(m, op, out);
}

/* See put_parallel in subject.c. */
static void run_put_parallel(struct model *m, struct op *op, struct buf *out)
{
	uint64_t threads = op_number(op, 0) % 4 + 1;
	uint64_t n = op_number(op, 1) % 50;

	for (uint64_t t = 0; t < threads; t++)
		for (uint64_t i = 0; i < n; i++) {
			char key[32], value[64];
			struct word *w;

			snprintf(key, sizeof(key), "p%u/%02u", (unsigned)t,
				 (unsigned)i);
			snprintf(value, sizeof(value), "%llu.%s",
				 (unsigned long long)op_number(op, 2), key);
			w = word_new(slice_str(value));
			view_put(&m->now, slice_str(key), w);
			word_unref(w);
		}
	ok(m, op, out);
}

static void run_delete(struct model *m, struct op *op, struct buf *out)
{
	view_delete(&m->now, op_slice(op, 0));
	ok(m, op, out);
}

static void run_delete_range(struct model *m, struct op *op, struct buf *out)
{
	struct cairn_slice start = op_slice(op, 0), end = op_slice(op, 1);

	if (slice_cmp(start, end) > 0) {
		out_text(out, "invalid");
		return;
	}
	view_delete_range(&m->now, start, end);
	ok(m, op, out);
}

static void run_single_delete(struct model *m, struct op *op, struct buf *out)
{
	if (may_single_delete(&m->now, op_slice(op, 0)))
		run_delete(m, op, out);
	else
		skip(op);
}

static void run_merge(struct model *m, struct op *op, struct buf *out)
{
	view_merge(&m->now, m->merge, op_slice(op, 0), op_slice(op, 1));
	ok(m, op, out);
}

/* ------------------------------------------------------------------ batches */

static struct model_batch *batch_of(struct model *m, struct op *op, unsigned i)
{
	struct model_batch *b = &m->batches[op_number(op, i)];

	if (!b->used)
		skip(op);
	return b->used ? b : NULL;
}

static void run_batch(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = &m->batches[op_number(op, 0)];

	batch_fini(b);
	b->used = true;
	b->indexed = op->kind == OP_batch_indexed;
	ok(m, op, out);
}

static void run_batch_free(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);

	if (!b)
		return;
	batch_fini(b);
	ok(m, op, out);
}

static void run_batch_clear(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);

	if (!b)
		return;
	batch_drop(b, 0);
	b->n_savepoints = 0;
	ok(m, op, out);
}

static void run_batch_change(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);
	struct model_change *c;

	if (!b)
		return;
	if (op->kind == OP_batch_delete_range) {
		int order = slice_cmp(op_slice(op, 1), op_slice(op, 2));

		if (order >= 0) {
			out_text(out, order ? "invalid" : "ok");
			return;
		}
	}
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 16;
		b->v = must_have(realloc(b->v, b->cap * sizeof(*b->v)));
	}
	c = &b->v[b->n++];
	c->kind = op->kind;
	c->key = word_ref(op->args[1]);
	c->value = op->n_args > 2 ? word_ref(op->args[2]) : NULL;
	ok(m, op, out);
}

static void run_batch_log_data(struct model *m, struct op *op, struct buf *out)
{
	if (batch_of(m, op, 0))
		ok(m, op, out);
}

static void run_batch_savepoint(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);

	if (!b)
		return;
	if (b->n_savepoints ==
	    sizeof(b->savepoints) / sizeof(b->savepoints[0])) {
		skip(op);
		return;
	}
	b->savepoints[b->n_savepoints++] = b->n;
	ok(m, op, out);
}

static void run_batch_back(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);

	if (!b)
		return;
	if (!b->n_savepoints) {
		out_text(out, "none");
		return;
	}
	b->n_savepoints--;
	if (op->kind == OP_batch_rollback)
		batch_drop(b, b->savepoints[b->n_savepoints]);
	ok(m, op, out);
}

static void run_batch_count(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);

	if (b)
		out_text(out, "%zu", b->n);
}

static void view_with_batch(const struct model *m, const struct view *base,
			    const struct model_batch *b, struct view *out)
{
	view_copy(out, base);
	for (size_t i = 0; i < b->n; i++)
		apply(m, out, &b->v[i]);
}

static void run_write(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);
	bool legal = true;
	struct view after;

	if (!b)
		return;
	view_copy(&after, &m->now);
	for (size_t i = 0; i < b->n && legal; i++) {
		if (b->v[i].kind == OP_batch_single_delete)
			legal = may_single_delete(&after,
						  word_slice(b->v[i].key));
		apply(m, &after, &b->v[i]);
	}
	if (!legal) {
		view_fini(&after);
		skip(op);
		return;
	}
	view_fini(&m->now);
	m->now = after;
	ok(m, op, out);
}

static void run_batch_get(struct model *m, struct op *op, struct buf *out)
{
	struct model_batch *b = batch_of(m, op, 0);
	const struct view *v = view_of(m, op, 1);
	struct view with = { 0 };

	if (!b || !v) {
		skip(op);
		return;
	}
	if (!b->indexed) {
		out_text(out, "invalid");
		return;
	}
	view_with_batch(m, v, b, &with);
	look_up(m, view_find(&with, op_slice(op, 2)), out);
	view_fini(&with);
}

/* -------------------------------------------------------------------- reads */

static void run_get(struct model *m, struct op *op, struct buf *out)
{
	const struct view *v = view_of(m, op, 0);

	if (v)
		look_up(m, view_find(v, op_slice(op, 1)), out);
	else
		skip(op);
}

static void run_multi_get(struct model *m, struct op *op, struct buf *out)
{
	const struct view *v = view_of(m, op, 0);

	if (!v) {
		skip(op);
		return;
	}
	for (unsigned i = 1; i < op->n_args; i++) {
		look_up(m, view_find(v, op_slice(op, i)), out);
		out_text(out, i + 1 < op->n_args ? "; " : "");
	}
}

static void run_pin(struct model *m, struct op *op, struct buf *out)
{
	const struct entry *e = view_find(&m->now, op_slice(op, 1));
	uint64_t p = op_number(op, 0);

	unpin(m, p);
	look_up(m, e, out);
	if (e)
		m->pins[p] = word_ref(e->value);
}

static void run_pin_iter(struct model *m, struct op *op, struct buf *out)
{
	const struct model_iter *it = &m->iters[op_number(op, 1)];
	uint64_t p = op_number(op, 0);

	if (!it->used || !it->valid) {
		skip(op);
		return;
	}
	unpin(m, p);
	m->pins[p] = word_ref(it->view.v[it->at].value);
	out_bytes(out, word_slice(m->pins[p]));
}

static void run_unpin(struct model *m, struct op *op, struct buf *out)
{
	uint64_t p = op_number(op, 0);

	if (!m->pins[p]) {
		skip(op);
		return;
	}
	out_bytes(out, word_slice(m->pins[p]));
	unpin(m, p);
}

static void run_snapshot(struct model *m, struct op *op, struct buf *out)
{
	uint64_t s = op_number(op, 0);

	release(m, s);
	view_copy(&m->snapshots[s].view, &m->now);
	m->snapshots[s].used = true;
	ok(m, op, out);
}

static void run_release(struct model *m, struct op *op, struct buf *out)
{
	uint64_t s = op_number(op, 0);

	if (!m->snapshots[s].used) {
		skip(op);
		return;
	}
	release(m, s);
	ok(m, op, out);
}

/* ---------------------------------------------------------------- iterators */

static bool inside(const struct word *lower, const struct word *upper,
		   struct cairn_slice key)
{
	return (lower->none || slice_cmp(key, word_slice(lower)) >= 0) &&
	       (upper->none || slice_cmp(key, word_slice(upper)) < 0);
}

static void set_bounds(struct model_iter *it, struct word *lower,
		       struct word *upper)
{
	word_ref(lower);
	word_ref(upper);
	word_unref(it->lower);
	word_unref(it->upper);
	it->lower = lower;
	it->upper = upper;
	it->valid = false;
	word_unref(it->prefix);
	it->prefix = NULL;
}

static void run_iter(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *it = &m->iters[op_number(op, 0)];
	const struct view *v = view_of(m, op, 1);

	if (!v) {
		skip(op);
		return;
	}
	iter_fini(it);
	it->used = true;
	view_copy(&it->view, v);
	set_bounds(it, op->args[2], op->args[3]);
	ok(m, op, out);
}

static void run_batch_iter(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *it = &m->iters[op_number(op, 0)];
	struct model_batch *b = batch_of(m, op, 1);
	const struct view *v = view_of(m, op, 2);

	if (!b || !v) {
		skip(op);
		return;
	}
	if (!b->indexed) {
		out_text(out, "invalid");
		return;
	}
	iter_fini(it);
	it->used = true;
	it->has_batch = true;
	view_copy(&it->base, v);
	view_with_batch(m, v, b, &it->view);
	set_bounds(it, op->args[3], op->args[4]);
	ok(m, op, out);
}

static struct model_iter *iter_of(struct model *m, struct op *op, unsigned i)
{
	struct model_iter *it = &m->iters[op_number(op, i)];

	if (!it->used)
		skip(op);
	return it->used ? it : NULL;
}

static void run_batch_refresh(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *it = iter_of(m, op, 0);
	struct model_batch *b = batch_of(m, op, 1);

	if (!it || !b)
		return;
	if (!it->has_batch || !b->indexed) {
		out_text(out, "invalid");
		return;
	}
	view_fini(&it->view);
	view_with_batch(m, &it->base, b, &it->view);
	set_bounds(it, it->lower, it->upper);
	ok(m, op, out);
}

static void run_iter_clone(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *from = iter_of(m, op, 0);
	struct model_iter *to = &m->iters[op_number(op, 1)];
	bool own = op->kind == OP_iter_clone_bounds;

	if (!from || from == to) {
		skip(op);
		return;
	}
	iter_fini(to);
	to->used = true;
	to->has_batch = from->has_batch;
	view_copy(&to->base, &from->base);
	view_copy(&to->view, &from->view);
	set_bounds(to, own ? op->args[2] : from->lower,
		   own ? op->args[3] : from->upper);
	ok(m, op, out);
}

static void run_iter_free(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *it = iter_of(m, op, 0);

	if (!it)
		return;
	iter_fini(it);
	ok(m, op, out);
}

static void run_iter_bounds(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *it = iter_of(m, op, 0);

	if (!it)
		return;
	set_bounds(it, op->args[1], op->args[2]);
	ok(m, op, out);
}

static struct cairn_slice prefix_of(const struct word *key)
{
	return slice_of(key->data, PREFIX_LEN);
}

/* Stand on entry at of the view, when the iterator shows that. */
static void stand(struct model *m, struct model_iter *it, size_t at,
		  struct buf *out)
{
	m->lookups++;
	it->at = at;
	it->valid = at < it->view.n;
	if (it->valid) {
		struct cairn_slice key = word_slice(it->view.v[at].key);

		it->valid = inside(it->lower, it->upper, key) &&
			    (!it->prefix ||
			     slice_starts_with(key, prefix_of(it->prefix)));
	}
	if (!it->valid) {
		out_text(out, "end");
		return;
	}
	m->hits++;
	out_entry(out, word_slice(it->view.v[at].key),
		  word_slice(it->view.v[at].value));
}

static void no_prefix(struct model_iter *it)
{
	word_unref(it->prefix);
	it->prefix = NULL;
}

static void seek_ge(struct model *m, struct model_iter *it,
		    struct cairn_slice key, struct buf *out)
{
	if (!it->lower->none && slice_cmp(key, word_slice(it->lower)) < 0)
		key = word_slice(it->lower);
	stand(m, it, view_lower_bound(&it->view, key), out);
}

static void seek_lt(struct model *m, struct model_iter *it,
		    struct cairn_slice key, struct buf *out)
{
	if (!it->upper->none &&
	    (!key.data || slice_cmp(key, word_slice(it->upper)) > 0))
		key = word_slice(it->upper);
	/* Index -1 is no entry. */
	stand(m, it,
	      (key.data ? view_lower_bound(&it->view, key) : it->view.n) - 1,
	      out);
}

static void run_iter_seek(struct model *m, struct op *op, struct buf *out)
{
	struct model_iter *it = iter_of(m, op, 0);

	if (!it)
		return;
	if (op->kind == OP_iter_last && it->prefix) {
		skip(op);
		return;
	}
	no_prefix(it);
	switch ((int)op->kind) {
	case OP_iter_first:
		seek_ge(m, it, slice_of("", 0), out);
		break;
	case OP_iter_last:
		seek_lt(m, it, slice_of(NULL, 0), out);
		break;
	case OP_iter_seek_ge:
		seek_ge(m, it, op_slice(op, 1), out);
		break;
	default:
		seek_lt(m, it, op_slice(op, 1), out);
	}
}

static void run_iter_seek_prefix(struct model *m, struct op *op,
				 struct buf *out)
{
	struct model_iter *it = iter_of(m, op, 0);

	if (!it)
		return;
	no_prefix(it);
	if (op->args[1]->len < PREFIX_LEN) {
		it->valid = false;
		out_text(out, "invalid");
		return;
	}
	it->prefix = word_ref(op->args[1]);
	seek_ge(m, it, op_slice(op, 1), out);
}

static void run_iter_step(struct model *m, struct op *op, struct buf *out)
{
	bool back = op->kind == OP_iter_prev || op->kind == OP_iter_prev_n;
	struct model_iter *it = iter_of(m, op, 0);
	uint64_t n = op->n_args > 1 ? op_number(op, 1) : 1;

	if (!it)
		return;
	if (!it->valid || (back && it->prefix) || !n) {
		skip(op);
		return;
	}
	for (uint64_t i = 0; i < n && it->valid; i++) {
		out_text(out, i ? "; " : "");
		stand(m, it, back ? it->at - 1 : it->at + 1, out);
	}
}

static void run_scan(struct model *m, struct op *op, struct buf *out)
{
	const struct view *v = view_of(m, op, 0);
	bool back = op->kind == OP_scan_back;
	struct digest d = { 0 };

	if (!v) {
		skip(op);
		return;
	}
	for (size_t i = 0; i < v->n; i++) {
		const struct entry *e = &v->v[back ? v->n - 1 - i : i];
		struct cairn_slice key = word_slice(e->key);

		if (op->kind == OP_scan_prefix
			    ? slice_cmp(key, op_slice(op, 1)) >= 0 &&
				      slice_starts_with(key,
							prefix_of(op->args[1]))
			    : inside(op->args[1], op->args[2], key))
			digest_add(&d, key, word_slice(e->value));
	}
	digest_end(&d, out);
}

static void run_scan_prefix(struct model *m, struct op *op, struct buf *out)
{
	if (op->args[1]->len < PREFIX_LEN)
		skip(op);
	else
		run_scan(m, op, out);
}

/* ------------------------------------------------------------------- upkeep */

static void run_cancel_job(struct model *m, struct op *op, struct buf *out)
{
	(void)m;
	(void)op;
	out_text(out, "none");
}

static void count_open(const struct model *m, unsigned *iters,
		       unsigned *snapshots)
{
	*iters = 0;
	*snapshots = 0;
	for (unsigned i = 0; i < N_ITERS; i++)
		*iters += m->iters[i].used;
	for (unsigned i = 0; i < N_SNAPSHOTS; i++)
		*snapshots += m->snapshots[i].used;
}

static void run_facts(struct model *m, struct op *op, struct buf *out)
{
	unsigned iters, snapshots;

	(void)op;
	count_open(m, &iters, &snapshots);
	out_text(out, "iterators %u snapshots %u", iters, snapshots);
}

static void run_close_busy(struct model *m, struct op *op, struct buf *out)
{
	unsigned iters, snapshots;

	count_open(m, &iters, &snapshots);
	if (iters || snapshots)
		out_text(out, "busy");
	else
		skip(op);
}

static void run_open_twice(struct model *m, struct op *op, struct buf *out)
{
	(void)m;
	(void)op;
	out_text(out, "busy");
}

static void run_closing(struct model *m, struct op *op, struct buf *out)
{
	let_go(m);
	ok(m, op, out);
}

static void run_closing_scan(struct model *m, struct op *op, struct buf *out)
{
	(void)op;
	let_go(m);
	digest_view(&m->now, out);
}

static void run_checkpoint(struct model *m, struct op *op, struct buf *out)
{
	(void)op;
	digest_view(&m->now, out);
}

/* See ingest_parse() in history.c for what the words mean. */
static void run_ingest(struct model *m, struct op *op, struct buf *out)
{
	struct ingest in;

	if (!ingest_parse(op, &in)) {
		skip(op);
		return;
	}
	/* The ranges of a table do not touch its keys, and tables do not
	 * overlap. */
	for (unsigned points = 0; points < 2; points++)
		for (unsigned i = 0; i < in.n; i++) {
			const struct ingest_change *c = &in.v[i];

			if (points != (c->what != 'r'))
				continue;
			if (c->what == 'p')
				view_put(&m->now, word_slice(c->key), c->value);
			else if (c->what == 'd')
				view_delete(&m->now, word_slice(c->key));
			else if (c->what == 'm')
				view_merge(&m->now, m->merge,
					   word_slice(c->key),
					   word_slice(c->value));
			else
				view_delete_range(&m->now, word_slice(c->key),
						  word_slice(c->value));
		}
	ok(m, op, out);
}

/* ----------------------------------------------------------------- dispatch */

static void (*const runs[N_OP_KINDS])(struct model *m, struct op *op,
				      struct buf *out) = {
	[OP_put] = run_put,
	[OP_put_sync] = run_put,
	[OP_put_unlogged] = run_put,
	[OP_put_no_wait] = run_put,
	[OP_put_parallel] = run_put_parallel,
	[OP_delete] = run_delete,
	[OP_delete_range] = run_delete_range,
	[OP_single_delete] = run_single_delete,
	[OP_merge] = run_merge,
	[OP_merge_sync] = run_merge,
	[OP_batch] = run_batch,
	[OP_batch_indexed] = run_batch,
	[OP_batch_free] = run_batch_free,
	[OP_batch_clear] = run_batch_clear,
	[OP_batch_put] = run_batch_change,
	[OP_batch_delete] = run_batch_change,
	[OP_batch_delete_range] = run_batch_change,
	[OP_batch_single_delete] = run_batch_change,
	[OP_batch_merge] = run_batch_change,
	[OP_batch_log_data] = run_batch_log_data,
	[OP_batch_savepoint] = run_batch_savepoint,
	[OP_batch_rollback] = run_batch_back,
	[OP_batch_pop] = run_batch_back,
	[OP_batch_count] = run_batch_count,
	[OP_batch_get] = run_batch_get,
	[OP_batch_iter] = run_batch_iter,
	[OP_batch_refresh] = run_batch_refresh,
	[OP_write] = run_write,
	[OP_write_sync] = run_write,
	[OP_write_unlogged] = run_write,
	[OP_get] = run_get,
	[OP_multi_get] = run_multi_get,
	[OP_pin] = run_pin,
	[OP_pin_iter] = run_pin_iter,
	[OP_unpin] = run_unpin,
	[OP_snapshot] = run_snapshot,
	[OP_release] = run_release,
	[OP_iter] = run_iter,
	[OP_iter_clone] = run_iter_clone,
	[OP_iter_clone_bounds] = run_iter_clone,
	[OP_iter_free] = run_iter_free,
	[OP_iter_bounds] = run_iter_bounds,
	[OP_iter_first] = run_iter_seek,
	[OP_iter_last] = run_iter_seek,
	[OP_iter_seek_ge] = run_iter_seek,
	[OP_iter_seek_lt] = run_iter_seek,
	[OP_iter_seek_prefix] = run_iter_seek_prefix,
	[OP_iter_next] = run_iter_step,
	[OP_iter_prev] = run_iter_step,
	[OP_iter_next_n] = run_iter_step,
	[OP_iter_prev_n] = run_iter_step,
	[OP_scan] = run_scan,
	[OP_scan_back] = run_scan,
	[OP_scan_prefix] = run_scan_prefix,
	[OP_wal_sync] = ok,
	[OP_flush] = ok,
	[OP_flush_async] = ok,
	[OP_compact_range] = ok,
	[OP_compact] = ok,
	[OP_compact_cancel] = ok,
	[OP_cancel_job] = run_cancel_job,
	[OP_wait_idle] = ok,
	[OP_resume] = ok,
	[OP_sizes] = ok,
	[OP_facts] = run_facts,
	[OP_checksums] = ok,
	[OP_verify_open] = ok,
	[OP_verify_closed] = run_closing,
	[OP_repair] = run_closing,
	[OP_ingest] = run_ingest,
	[OP_checkpoint] = run_checkpoint,
	[OP_checkpoint_switch] = run_closing,
	[OP_close_busy] = run_close_busy,
	[OP_open_twice] = run_open_twice,
	[OP_reopen] = run_closing,
	[OP_reopen_read_only] = run_closing_scan,
	[OP_reopen_other] = run_closing_scan,
	[OP_fault] = ok,
	[OP_kill] = run_closing_scan,
	[OP_cut] = run_closing_scan,
	[OP_cut_twice] = run_closing_scan,
};

void model_run(struct model *m, struct op *op, struct buf *out)
{
	op->skip = false;
	runs[op->kind](m, op, out);
	if (op->skip) {
		m->skipped++;
		out_text(out, "skipped");
	} else {
		m->done[op->kind]++;
	}
}
