/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations as calls of cairn.h. Each may be repeated when it has failed. */
#include "tests/metamorphic/subject_impl.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/compat/die.h"
#include "tests/metamorphic/model.h"
#include "tests/metamorphic/output.h"

static int ok_if(int err, struct buf *out)
{
	if (!err)
		out_text(out, "ok");
	return err;
}

/* CAIRN_EINVAL and CAIRN_NOT_FOUND are answers. */
static int ok_or_answer(int err, struct buf *out)
{
	if (err == CAIRN_EINVAL)
		out_text(out, "invalid");
	else if (err == CAIRN_NOT_FOUND)
		out_text(out, "none");
	else
		return ok_if(err, out);
	return CAIRN_OK;
}

/* ------------------------------------------------------------------- writes */

static struct cairn_write_options write_options(struct subject *s,
						const struct op *op)
{
	struct cairn_write_options wo = { 0 };

	switch ((int)op->kind) {
	case OP_put_sync:
	case OP_merge_sync:
	case OP_write_sync:
		wo.sync = true;
		break;
	case OP_put_unlogged:
	case OP_write_unlogged:
		wo.disable_wal = true;
		s->unlogged = true;
		break;
	case OP_put_no_wait:
		wo.no_slowdown = true;
		break;
	default:
		break;
	}
	if (s->set.flags & SET_SYNC_ALL && !wo.disable_wal)
		wo.sync = true;
	if (s->set.flags & SET_NO_WAL)
		wo.sync = false;
	return wo;
}

/* A table of what fill() adds, ingested. */
static int ingest_one(struct subject *s, const struct op *op)
{
	struct cairn_options *o = subject_options(s, s->set.settings);
	struct cairn_sst_writer *w = NULL;
	const char *paths[1];
	char path[PATH_LEN];
	int err;

	subject_new_path(s, path);
	paths[0] = path;
	err = cairn_sst_writer_open(path, o, &w);
	if (!err)
		err = cairn_sst_writer_put(w, op_slice(op, 0), op_slice(op, 1));
	if (!err)
		err = cairn_sst_writer_finish(w, NULL);
	cairn_sst_writer_free(w);
	if (!err)
		err = cairn_ingest(s->db, paths, 1, NULL);
	(void)!env_unlink(s->below, path);
	cairn_options_free(o);
	return err;
}

static int run_put(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_write_options wo = write_options(s, op);
	int err;

	if (op->kind == OP_put && s->set.flags & SET_BATCH_AS_TABLE &&
	    rng_one_in(&s->rng, 4))
		return ok_if(ingest_one(s, op), out);
	err = cairn_put(s->db, &wo, op_slice(op, 0), op_slice(op, 1));
	if (err == CAIRN_EBUSY && wo.no_slowdown) {
		wo.no_slowdown = false;
		err = cairn_put(s->db, &wo, op_slice(op, 0), op_slice(op, 1));
	}
	return ok_if(err, out);
}

struct putter {
	pthread_t thread;
	struct subject *s;
	unsigned number;
	unsigned n;
	uint64_t serial;
	bool sync;
	int err;
};

static void *put_many(void *arg)
{
	struct putter *p = arg;
	struct cairn_write_options wo = {
		.sync = p->sync && !(p->s->set.flags & SET_NO_WAL),
	};

	for (unsigned i = 0; i < p->n && !p->err; i++) {
		char key[32], value[64];

		snprintf(key, sizeof(key), "p%u/%02u", p->number, i);
		snprintf(value, sizeof(value), "%llu.%s",
			 (unsigned long long)p->serial, key);
		p->err = cairn_put(p->s->db, &wo, slice_str(key),
				   slice_str(value));
	}
	return NULL;
}

/* Each thread its own keys, so that the order among them makes no difference.
 */
static int run_put_parallel(struct subject *s, const struct op *op,
			    struct buf *out)
{
	unsigned n_threads = (unsigned)(op_number(op, 0) % 4 + 1);
	struct putter putters[4];
	int err = CAIRN_OK;

	for (unsigned t = 0; t < n_threads; t++) {
		putters[t] = (struct putter){
			.s = s,
			.number = t,
			.n = (unsigned)(op_number(op, 1) % 50),
			.serial = op_number(op, 2),
			.sync = t % 2,
		};
		if (pthread_create(&putters[t].thread, NULL, put_many,
				   &putters[t]))
			die("no thread");
	}
	for (unsigned t = 0; t < n_threads; t++) {
		pthread_join(putters[t].thread, NULL);
		err = err ? err : putters[t].err;
	}
	return ok_if(err, out);
}

static int run_delete(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_write_options wo = write_options(s, op);

	return ok_if(cairn_delete(s->db, &wo, op_slice(op, 0)), out);
}

/* A deletion of each key that is there. */
static int delete_each(struct subject *s, const struct cairn_write_options *wo,
		       struct cairn_slice start, struct cairn_slice end)
{
	struct cairn_read_options ro = { .lower = start, .upper = end };
	struct cairn_batch *b = must_have(cairn_batch_new());
	struct cairn_iter *it;
	int err = cairn_iter_new(s->db, &ro, &it);

	if (!err) {
		for (bool on = cairn_iter_first(it); on;
		     on = cairn_iter_next(it))
			must(cairn_batch_delete(b, cairn_iter_key(it)),
			     "batch");
		err = cairn_iter_status(it);
		cairn_iter_free(it);
	}
	if (!err)
		err = cairn_write(s->db, wo, b);
	cairn_batch_free(b);
	return err;
}

static int run_delete_range(struct subject *s, const struct op *op,
			    struct buf *out)
{
	struct cairn_slice start = op_slice(op, 0), end = op_slice(op, 1);
	struct cairn_write_options wo = write_options(s, op);

	if (s->set.flags & SET_RANGE_AS_DELETES && slice_cmp(start, end) <= 0)
		return ok_if(delete_each(s, &wo, start, end), out);
	return ok_or_answer(cairn_delete_range(s->db, &wo, start, end), out);
}

static int run_single_delete(struct subject *s, const struct op *op,
			     struct buf *out)
{
	struct cairn_write_options wo = write_options(s, op);

	if (s->set.flags & SET_SINGLE_AS_DELETE)
		return run_delete(s, op, out);
	return ok_if(cairn_single_delete(s->db, &wo, op_slice(op, 0)), out);
}

static int run_merge(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_write_options wo = write_options(s, op);

	return ok_if(cairn_merge(s->db, &wo, op_slice(op, 0), op_slice(op, 1)),
		     out);
}

/* ------------------------------------------------------------------ batches */

static struct cairn_batch *batch_of(struct subject *s, const struct op *op,
				    unsigned i)
{
	return s->batches[op_number(op, i)];
}

static int run_batch(struct subject *s, const struct op *op, struct buf *out)
{
	uint64_t b = op_number(op, 0);

	cairn_batch_free(s->batches[b]);
	s->batches[b] = must_have(op->kind == OP_batch_indexed
					  ? cairn_batch_new_indexed()
					  : cairn_batch_new());
	return ok_if(CAIRN_OK, out);
}

static int run_batch_free(struct subject *s, const struct op *op,
			  struct buf *out)
{
	cairn_batch_free(batch_of(s, op, 0));
	s->batches[op_number(op, 0)] = NULL;
	return ok_if(CAIRN_OK, out);
}

static int run_batch_clear(struct subject *s, const struct op *op,
			   struct buf *out)
{
	cairn_batch_clear(batch_of(s, op, 0));
	return ok_if(CAIRN_OK, out);
}

static int run_batch_put(struct subject *s, const struct op *op,
			 struct buf *out)
{
	return ok_if(cairn_batch_put(batch_of(s, op, 0), op_slice(op, 1),
				     op_slice(op, 2)),
		     out);
}

static int run_batch_delete(struct subject *s, const struct op *op,
			    struct buf *out)
{
	return ok_if(cairn_batch_delete(batch_of(s, op, 0), op_slice(op, 1)),
		     out);
}

static int run_batch_delete_range(struct subject *s, const struct op *op,
				  struct buf *out)
{
	return ok_or_answer(cairn_batch_delete_range(batch_of(s, op, 0),
						     op_slice(op, 1),
						     op_slice(op, 2)),
			    out);
}

static int run_batch_single_delete(struct subject *s, const struct op *op,
				   struct buf *out)
{
	struct cairn_batch *b = batch_of(s, op, 0);

	return ok_if(s->set.flags & SET_SINGLE_AS_DELETE
			     ? cairn_batch_delete(b, op_slice(op, 1))
			     : cairn_batch_single_delete(b, op_slice(op, 1)),
		     out);
}

static int run_batch_merge(struct subject *s, const struct op *op,
			   struct buf *out)
{
	return ok_if(cairn_batch_merge(batch_of(s, op, 0), op_slice(op, 1),
				       op_slice(op, 2)),
		     out);
}

static int run_batch_log_data(struct subject *s, const struct op *op,
			      struct buf *out)
{
	return ok_if(cairn_batch_log_data(batch_of(s, op, 0), op_slice(op, 1)),
		     out);
}

static int run_batch_savepoint(struct subject *s, const struct op *op,
			       struct buf *out)
{
	return ok_if(cairn_batch_set_savepoint(batch_of(s, op, 0)), out);
}

static int run_batch_rollback(struct subject *s, const struct op *op,
			      struct buf *out)
{
	return ok_or_answer(cairn_batch_rollback(batch_of(s, op, 0)), out);
}

static int run_batch_pop(struct subject *s, const struct op *op,
			 struct buf *out)
{
	return ok_or_answer(cairn_batch_pop_savepoint(batch_of(s, op, 0)), out);
}

static int run_batch_count(struct subject *s, const struct op *op,
			   struct buf *out)
{
	out_text(out, "%u", (unsigned)cairn_batch_count(batch_of(s, op, 0)));
	return CAIRN_OK;
}

static int run_write(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_write_options wo = write_options(s, op);

	return ok_if(cairn_write(s->db, &wo, batch_of(s, op, 0)), out);
}

/* -------------------------------------------------------------------- reads */

static bool skip_none(void *ctx, const struct cairn_table_facts *t)
{
	struct cairn_slice value;

	(void)ctx;
	(void)cairn_table_property(t, "test.bytes", &value);
	return false;
}

static const struct cairn_table_filter keep_all = { .skip = skip_none };

/* snapshot, lower and upper: index of the arguments, 0: none. */
static struct cairn_read_options read_options(const struct subject *s,
					      const struct op *op,
					      unsigned snapshot, unsigned lower)
{
	struct cairn_read_options ro = {
		.no_fill_cache = s->set.flags & SET_NO_FILL,
	};
	uint64_t n =
		snapshot < op->n_args ? op_number(op, snapshot) : UINT64_MAX;

	if (s->set.flags & SET_TABLE_FILTER)
		ro.table_filter = &keep_all;
	if (n != UINT64_MAX)
		ro.snapshot = s->snapshots[n];
	if (lower) {
		ro.lower = op_slice(op, lower);
		ro.upper = op_slice(op, lower + 1);
	}
	return ro;
}

static int say_value(int err, struct cairn_pinned *p, struct buf *out)
{
	if (err == CAIRN_NOT_FOUND) {
		out_text(out, "none");
		return CAIRN_OK;
	}
	if (err)
		return err;
	out_bytes(out, p->value);
	cairn_pinned_release(p);
	return CAIRN_OK;
}

static int run_get(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 0, 0);
	struct cairn_pinned p = { 0 };
	int err = cairn_get(s->db, &ro, op_slice(op, 1), &p);

	return say_value(err, &p, out);
}

static int run_multi_get(struct subject *s, const struct op *op,
			 struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 0, 0);
	unsigned n = op->n_args - 1;
	struct cairn_slice *keys = must_have(calloc(n + 1, sizeof(*keys)));
	struct cairn_pinned *values = must_have(calloc(n + 1, sizeof(*values)));
	int *codes = must_have(calloc(n + 1, sizeof(*codes)));
	int err = CAIRN_OK;

	for (unsigned i = 0; i < n; i++)
		keys[i] = op_slice(op, i + 1);
	if (s->set.flags & SET_GETS_ONE_BY_ONE)
		for (unsigned i = 0; i < n; i++)
			codes[i] = cairn_get(s->db, &ro, keys[i], &values[i]);
	else
		err = cairn_multi_get(s->db, &ro, keys, n, values, codes);
	for (unsigned i = 0; i < n; i++) {
		int code = say_value(codes[i], &values[i], out);

		out_text(out, i + 1 < n ? "; " : "");
		err = err ? err : code;
	}
	free(keys);
	free(values);
	free(codes);
	return err;
}

static int run_batch_get(struct subject *s, const struct op *op,
			 struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 1, 0);
	struct cairn_pinned p = { 0 };
	int err = cairn_batch_get(s->db, &ro, batch_of(s, op, 0),
				  op_slice(op, 2), &p);

	if (err == CAIRN_EINVAL)
		return ok_or_answer(err, out);
	return say_value(err, &p, out);
}

static void unpin(struct subject *s, uint64_t p)
{
	if (s->pinned[p])
		cairn_pinned_release(&s->pins[p]);
	s->pinned[p] = false;
}

static int run_pin(struct subject *s, const struct op *op, struct buf *out)
{
	uint64_t p = op_number(op, 0);
	int err;

	unpin(s, p);
	err = cairn_get(s->db, NULL, op_slice(op, 1), &s->pins[p]);
	if (err == CAIRN_NOT_FOUND)
		out_text(out, "none");
	else if (err)
		return err;
	else
		out_bytes(out, s->pins[p].value);
	s->pinned[p] = !err;
	return CAIRN_OK;
}

static int run_pin_iter(struct subject *s, const struct op *op, struct buf *out)
{
	uint64_t p = op_number(op, 0);
	int err;

	unpin(s, p);
	err = cairn_iter_pin_value(s->iters[op_number(op, 1)], &s->pins[p]);
	if (err)
		return err;
	s->pinned[p] = true;
	out_bytes(out, s->pins[p].value);
	return CAIRN_OK;
}

static int run_unpin(struct subject *s, const struct op *op, struct buf *out)
{
	uint64_t p = op_number(op, 0);

	out_bytes(out, s->pins[p].value);
	unpin(s, p);
	return CAIRN_OK;
}

static int run_snapshot(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_snapshot **slot = &s->snapshots[op_number(op, 0)];

	if (*slot)
		cairn_snapshot_release(*slot);
	*slot = must_have(cairn_snapshot_new(s->db));
	return ok_if(CAIRN_OK, out);
}

static int run_release(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_snapshot **slot = &s->snapshots[op_number(op, 0)];

	cairn_snapshot_release(*slot);
	*slot = NULL;
	return ok_if(CAIRN_OK, out);
}

/* ---------------------------------------------------------------- iterators */

/* err is what making it returned. */
static int place(struct subject *s, uint64_t slot, int err,
		 struct cairn_iter *made, struct buf *out)
{
	if (err)
		return ok_or_answer(err, out);
	cairn_iter_free(s->iters[slot]);
	s->iters[slot] = made;
	return ok_if(CAIRN_OK, out);
}

static int run_iter(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 1, 2);
	struct cairn_iter *it = NULL;
	int err = cairn_iter_new(s->db, &ro, &it);

	return place(s, op_number(op, 0), err, it, out);
}

static int run_batch_iter(struct subject *s, const struct op *op,
			  struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 2, 3);
	struct cairn_iter *it = NULL;
	int err = cairn_batch_iter_new(s->db, &ro, batch_of(s, op, 1), &it);

	return place(s, op_number(op, 0), err, it, out);
}

static int run_batch_refresh(struct subject *s, const struct op *op,
			     struct buf *out)
{
	return ok_or_answer(cairn_batch_iter_refresh(s->iters[op_number(op, 0)],
						     batch_of(s, op, 1)),
			    out);
}

static int run_iter_clone(struct subject *s, const struct op *op,
			  struct buf *out)
{
	bool own = op->kind == OP_iter_clone_bounds;
	struct cairn_read_options ro =
		read_options(s, op, UINT32_MAX, own ? 2 : 0);
	struct cairn_iter *it = NULL;
	int err = cairn_iter_clone(s->iters[op_number(op, 0)], own ? &ro : NULL,
				   &it);

	return place(s, op_number(op, 1), err, it, out);
}

static int run_iter_free(struct subject *s, const struct op *op,
			 struct buf *out)
{
	return place(s, op_number(op, 0), CAIRN_OK, NULL, out);
}

static int run_iter_bounds(struct subject *s, const struct op *op,
			   struct buf *out)
{
	cairn_iter_set_bounds(s->iters[op_number(op, 0)], op_slice(op, 1),
			      op_slice(op, 2));
	return ok_if(CAIRN_OK, out);
}

static int say_position(struct cairn_iter *it, bool on, struct buf *out)
{
	int err = cairn_iter_status(it);

	if (on != cairn_iter_valid(it))
		out_text(out, "moved to %d but stands on %d: ", on, !on);
	if (on)
		out_entry(out, cairn_iter_key(it), cairn_iter_value(it));
	else if (!err)
		out_text(out, "end");
	return err;
}

static int run_iter_move(struct subject *s, const struct op *op,
			 struct buf *out)
{
	struct cairn_iter *it = s->iters[op_number(op, 0)];
	bool on = false;
	int err;

	switch ((int)op->kind) {
	case OP_iter_first:
		on = cairn_iter_first(it);
		break;
	case OP_iter_last:
		on = cairn_iter_last(it);
		break;
	case OP_iter_seek_ge:
		on = cairn_iter_seek_ge(it, op_slice(op, 1));
		break;
	case OP_iter_seek_lt:
		on = cairn_iter_seek_lt(it, op_slice(op, 1));
		break;
	default:
		on = cairn_iter_seek_prefix_ge(it, op_slice(op, 1));
		if (on || cairn_iter_status(it) != CAIRN_EINVAL)
			break;
		out_text(out, "invalid");
		return CAIRN_OK;
	}
	err = say_position(it, on, out);
	return err;
}

static int run_iter_step(struct subject *s, const struct op *op,
			 struct buf *out)
{
	bool back = op->kind == OP_iter_prev || op->kind == OP_iter_prev_n;
	struct cairn_iter *it = s->iters[op_number(op, 0)];
	uint64_t n = op->n_args > 1 ? op_number(op, 1) : 1;
	bool on = true;
	int err = CAIRN_OK;

	for (uint64_t i = 0; i < n && on && !err; i++) {
		out_text(out, i ? "; " : "");
		on = back ? cairn_iter_prev(it) : cairn_iter_next(it);
		err = say_position(it, on, out);
	}
	return err;
}

static int digest_iter(struct cairn_iter *it, bool back, struct digest *d)
{
	for (bool on = back ? cairn_iter_last(it) : cairn_iter_first(it); on;
	     on = back ? cairn_iter_prev(it) : cairn_iter_next(it))
		digest_add(d, cairn_iter_key(it), cairn_iter_value(it));
	return cairn_iter_status(it);
}

static int run_scan(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 0, 1);
	struct digest d = { 0 };
	struct cairn_iter *it;
	int err = cairn_iter_new(s->db, &ro, &it);

	if (err)
		return err;
	err = digest_iter(it, op->kind == OP_scan_back, &d);
	cairn_iter_free(it);
	digest_end(&d, out);
	return err;
}

/* All keys from key on that share its prefix, by ways that must agree. */
static int run_scan_prefix(struct subject *s, const struct op *op,
			   struct buf *out)
{
	struct cairn_read_options ro = read_options(s, op, 0, 0);
	struct cairn_slice key = op_slice(op, 1);
	struct digest d = { 0 };
	struct cairn_iter *it;
	bool on;
	int err;

	err = cairn_iter_new(s->db, &ro, &it);
	if (err)
		return err;
	if (s->set.flags & SET_NO_PREFIX)
		on = cairn_iter_seek_ge(it, key);
	else
		on = cairn_iter_seek_prefix_ge(it, key);
	for (; on && slice_starts_with(cairn_iter_key(it),
				       slice_of(key.data, PREFIX_LEN));
	     on = cairn_iter_next(it))
		digest_add(&d, cairn_iter_key(it), cairn_iter_value(it));
	err = cairn_iter_status(it);
	cairn_iter_free(it);
	digest_end(&d, out);
	return err;
}

int subject_digest(struct subject *s, struct cairn_db *db, struct buf *out)
{
	struct digest d = { 0 };
	struct cairn_iter *it;
	int err = cairn_iter_new(db, NULL, &it);

	(void)s;
	if (err)
		return err;
	err = digest_iter(it, false, &d);
	cairn_iter_free(it);
	digest_end(&d, out);
	return err;
}

/* ------------------------------------------------------------------- upkeep */

static int run_wal_sync(struct subject *s, const struct op *op, struct buf *out)
{
	(void)op;
	return ok_if(s->set.flags & SET_NO_WAL ? CAIRN_OK
					       : cairn_wal_sync(s->db),
		     out);
}

static int run_flush(struct subject *s, const struct op *op, struct buf *out)
{
	bool wait = op->kind == OP_flush;
	int err = cairn_flush(s->db, wait);

	if (!err && wait)
		s->unlogged = false;
	return ok_if(err, out);
}

static int run_compact_range(struct subject *s, const struct op *op,
			     struct buf *out)
{
	return ok_if(cairn_compact_range(s->db, op_slice(op, 0),
					 op_slice(op, 1), NULL),
		     out);
}

struct canceller {
	struct cairn_db *db;
	uint64_t after; /* so many reports of progress; UINT64_MAX: never */
	uint64_t reports;
	bool volatile cancel;
};

/* By its number, or by what is polled. */
static void on_progress(void *ctx, const struct cairn_compact_progress *p)
{
	struct canceller *c = ctx;

	if (c->reports++ < c->after)
		return;
	if (c->after % 2)
		(void)cairn_cancel_job(c->db, p->job);
	else
		c->cancel = true;
}

static int run_compact(struct subject *s, const struct op *op, struct buf *out)
{
	struct canceller c = {
		.db = s->db,
		.after = op->n_args > 2 ? op_number(op, 2) : UINT64_MAX,
	};
	struct cairn_compact_options co = {
		.from = op_slice(op, 0),
		.to = op_slice(op, 1),
		.cancel = &c.cancel,
		.progress = on_progress,
		.ctx = &c,
	};
	int err = cairn_compact(s->db, &co);

	if (err == CAIRN_EABORTED && op->kind == OP_compact_cancel)
		err = CAIRN_OK;
	return ok_if(err, out);
}

static int run_cancel_job(struct subject *s, const struct op *op,
			  struct buf *out)
{
	return ok_or_answer(cairn_cancel_job(s->db, op_number(op, 0)), out);
}

static int run_wait_idle(struct subject *s, const struct op *op,
			 struct buf *out)
{
	(void)op;
	return ok_if(cairn_wait_idle(s->db), out);
}

static int run_resume(struct subject *s, const struct op *op, struct buf *out)
{
	(void)op;
	return ok_if(cairn_resume(s->db), out);
}

static int run_sizes(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_range ranges[2] = {
		{ op_slice(op, 0), op_slice(op, 1) },
	};
	uint64_t bytes[2];

	return ok_if(cairn_approximate_sizes(s->db, ranges, 2, bytes), out);
}

static int run_facts(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_metrics metrics;
	struct cairn_problem_list problems;
	struct cairn_table_list tables;
	struct cairn_job jobs[8];
	int err;

	(void)op;
	(void)cairn_jobs(s->db, jobs, 8);
	err = cairn_tables(s->db, -1, &tables);
	if (err)
		return err;
	cairn_table_list_free(&tables);
	err = cairn_problem_spans(s->db, &problems);
	if (err)
		return err;
	cairn_problem_list_free(&problems);
	cairn_metrics_get(s->db, &metrics);
	out_text(out, "iterators %u snapshots %u", (unsigned)metrics.iterators,
		 (unsigned)metrics.snapshots);
	return CAIRN_OK;
}

static int run_checksums(struct subject *s, const struct op *op,
			 struct buf *out)
{
	(void)op;
	return ok_if(cairn_verify_checksums(s->db), out);
}

struct findings {
	char first[256];
};

static int on_finding(void *ctx, const struct cairn_finding *f)
{
	struct findings *found = ctx;

	if (f->code && !found->first[0])
		snprintf(found->first, sizeof(found->first), "%s", f->message);
	return CAIRN_OK;
}

/* What verification found, in place of only that it did. */
static int say_findings(struct subject *s, int err,
			const struct findings *found, struct buf *out)
{
	/* What cannot be read is a finding, too. */
	if (err == CAIRN_ECORRUPT && !s->armed) {
		out_text(out, "%s", found->first);
		return CAIRN_OK;
	}
	return ok_if(err, out);
}

static int run_verify_open(struct subject *s, const struct op *op,
			   struct buf *out)
{
	struct findings found = { 0 };
	struct cairn_verify_options vo = { .found = on_finding, .ctx = &found };

	(void)op;
	return say_findings(s, cairn_verify_open(s->db, &vo, NULL), &found,
			    out);
}

static int run_verify_closed(struct subject *s, const struct op *op,
			     struct buf *out)
{
	struct cairn_options *o = subject_options(s, "");
	struct findings found = { 0 };
	struct cairn_verify_options vo = { .found = on_finding, .ctx = &found };
	int err = subject_close(s);

	(void)op;
	if (!err)
		err = say_findings(s, cairn_verify(s->dir, o, &vo, NULL),
				   &found, out);
	cairn_options_free(o);
	return err ? err : subject_open(s);
}

static int run_repair(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_options *o = subject_options(s, "");
	struct findings found = { 0 };
	struct cairn_repair_options ro = { .found = on_finding, .ctx = &found };
	struct cairn_repair_report report = { 0 };
	int err = subject_close(s);

	(void)op;
	if (!err)
		err = cairn_repair(s->dir, o, &ro, &report);
	cairn_options_free(o);
	if (err)
		return err;
	if (report.damaged)
		out_text(out, "damaged: %s", found.first);
	else
		out_text(out, "ok");
	return subject_open(s);
}

/* ---------------------------------------------------------- external tables */

static int write_change(struct cairn_sst_writer *w,
			const struct ingest_change *c)
{
	struct cairn_slice key = word_slice(c->key);

	switch (c->what) {
	case 'p':
		return cairn_sst_writer_put(w, key, word_slice(c->value));
	case 'd':
		return cairn_sst_writer_delete(w, key);
	case 'm':
		return cairn_sst_writer_merge(w, key, word_slice(c->value));
	default:
		return cairn_sst_writer_delete_range(w, key,
						     word_slice(c->value));
	}
}

static int write_table(const char *path, const struct cairn_options *o,
		       const struct ingest *in, unsigned table)
{
	struct cairn_sst_writer *w;
	int err = cairn_sst_writer_open(path, o, &w);

	if (err)
		return err;
	for (unsigned i = 0; i < in->n && !err; i++)
		if (in->v[i].table == table)
			err = write_change(w, &in->v[i]);
	if (!err)
		err = cairn_sst_writer_finish(w, NULL);
	cairn_sst_writer_free(w);
	return err;
}

static int batch_change(struct cairn_batch *b, const struct ingest_change *c)
{
	struct cairn_slice key = word_slice(c->key);

	switch (c->what) {
	case 'p':
		return cairn_batch_put(b, key, word_slice(c->value));
	case 'd':
		return cairn_batch_delete(b, key);
	case 'm':
		return cairn_batch_merge(b, key, word_slice(c->value));
	default:
		return cairn_batch_delete_range(b, key, word_slice(c->value));
	}
}

static int write_as_batch(struct subject *s, const struct ingest *in)
{
	struct cairn_batch *b = must_have(cairn_batch_new());
	int err;

	for (unsigned points = 0; points < 2; points++)
		for (unsigned i = 0; i < in->n; i++)
			if (points == (in->v[i].what != 'r'))
				must(batch_change(b, &in->v[i]), "batch");
	err = cairn_write(s->db, NULL, b);
	cairn_batch_free(b);
	return err;
}

static int run_ingest(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_ingest_options io = {
		.mode = (enum cairn_ingest_mode)(op_number(op, 0) % 3),
	};
	char paths[INGEST_TABLES][PATH_LEN];
	const char *names[INGEST_TABLES];
	struct cairn_options *o;
	struct ingest in;
	int err = CAIRN_OK;

	if (!ingest_parse(op, &in))
		return CAIRN_EINVAL;
	if (s->set.flags & SET_INGEST_AS_BATCH)
		return ok_if(write_as_batch(s, &in), out);
	o = subject_options(s, s->set.settings);
	for (unsigned i = 0; i < in.n_tables; i++) {
		subject_new_path(s, paths[i]);
		names[i] = paths[i];
	}
	for (unsigned i = 0; i < in.n_tables && !err; i++)
		err = write_table(paths[i], o, &in, i);
	if (!err)
		err = cairn_ingest(s->db, names, in.n_tables, &io);
	for (unsigned i = 0; i < in.n_tables; i++)
		(void)!env_unlink(s->below, paths[i]);
	cairn_options_free(o);
	return ok_if(err, out);
}

/* ------------------------------------------------------- opening and closing
 */

/* Everything in the store of dir, opened with these settings. */
static int digest_dir(struct subject *s, const char *dir, const char *settings,
		      bool read_only, bool work, struct buf *out)
{
	struct cairn_options *o = subject_options(s, settings);
	static const struct cairn_slice none;
	struct cairn_db *db = NULL;
	int err = CAIRN_OK, closed;

	if (read_only)
		must(cairn_options_set(o, "read_only", "true"), "option");
	must(cairn_options_set(o, "create_if_missing", "false"), "option");
	err = cairn_open(dir, o, &db);
	cairn_options_free(o);
	if (err)
		return err;
	if (work)
		err = cairn_compact_range(db, none, none, NULL);
	if (!err)
		err = subject_digest(s, db, out);
	closed = cairn_close(db);
	if (closed && !s->faulty)
		err = closed;
	return err;
}

static int run_checkpoint(struct subject *s, const struct op *op,
			  struct buf *out)
{
	char dir[PATH_LEN];
	int err;

	(void)op;
	subject_new_path(s, dir);
	err = cairn_checkpoint(s->db, dir);
	if (err)
		return err;
	err = digest_dir(s, dir, s->set.settings, false, true, out);
	subject_remove(s, dir);
	return err;
}

static int run_checkpoint_switch(struct subject *s, const struct op *op,
				 struct buf *out)
{
	(void)op;
	return ok_if(subject_switch(s), out);
}

static int run_close_busy(struct subject *s, const struct op *op,
			  struct buf *out)
{
	int err = cairn_close(s->db);

	(void)op;
	if (err != CAIRN_EBUSY)
		die("closed although something is open: %s",
		    cairn_strerror(err));
	out_text(out, "busy");
	return CAIRN_OK;
}

static int run_open_twice(struct subject *s, const struct op *op,
			  struct buf *out)
{
	struct cairn_options *o = subject_options(s, s->set.settings);
	struct cairn_db *db;
	int err = cairn_open(s->dir, o, &db);

	(void)op;
	cairn_options_free(o);
	if (!err)
		die("opened a second time");
	if (err != CAIRN_EBUSY)
		return err;
	out_text(out, "busy");
	return CAIRN_OK;
}

static int run_reopen(struct subject *s, const struct op *op, struct buf *out)
{
	(void)op;
	return ok_if(subject_reopen(s), out);
}

static int run_reopen_read_only(struct subject *s, const struct op *op,
				struct buf *out)
{
	int err = subject_close(s);

	(void)op;
	if (!err)
		err = digest_dir(s, s->dir, s->set.settings, true, false, out);
	return err ? err : subject_open(s);
}

static int run_reopen_other(struct subject *s, const struct op *op,
			    struct buf *out)
{
	struct optset other;
	int err = subject_close(s);

	optset_random(op_number(op, 0), &other);
	if (!err)
		err = digest_dir(s, s->dir, other.settings, false,
				 op_number(op, 0) % 2, out);
	return err ? err : subject_open(s);
}

static int run_fault(struct subject *s, const struct op *op, struct buf *out)
{
	subject_arm(s, op_number(op, 0), op_number(op, 1), op_number(op, 2));
	return ok_if(CAIRN_OK, out);
}

static int run_kill(struct subject *s, const struct op *op, struct buf *out)
{
	int err = subject_kill(s);

	(void)op;
	return err ? err : subject_digest(s, s->db, out);
}

static int run_cut(struct subject *s, const struct op *op, struct buf *out)
{
	uint64_t again = op->n_args > 2 ? op_number(op, 2) : UINT64_MAX;
	int err = subject_cut(s, op_number(op, 0), op_number(op, 1), again);

	return err ? err : subject_digest(s, s->db, out);
}

int (*const subject_ops[N_OP_KINDS])(struct subject *s, const struct op *op,
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
	[OP_batch_put] = run_batch_put,
	[OP_batch_delete] = run_batch_delete,
	[OP_batch_delete_range] = run_batch_delete_range,
	[OP_batch_single_delete] = run_batch_single_delete,
	[OP_batch_merge] = run_batch_merge,
	[OP_batch_log_data] = run_batch_log_data,
	[OP_batch_savepoint] = run_batch_savepoint,
	[OP_batch_rollback] = run_batch_rollback,
	[OP_batch_pop] = run_batch_pop,
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
	[OP_iter_first] = run_iter_move,
	[OP_iter_last] = run_iter_move,
	[OP_iter_seek_ge] = run_iter_move,
	[OP_iter_seek_lt] = run_iter_move,
	[OP_iter_seek_prefix] = run_iter_move,
	[OP_iter_next] = run_iter_step,
	[OP_iter_prev] = run_iter_step,
	[OP_iter_next_n] = run_iter_step,
	[OP_iter_prev_n] = run_iter_step,
	[OP_scan] = run_scan,
	[OP_scan_back] = run_scan,
	[OP_scan_prefix] = run_scan_prefix,
	[OP_wal_sync] = run_wal_sync,
	[OP_flush] = run_flush,
	[OP_flush_async] = run_flush,
	[OP_compact_range] = run_compact_range,
	[OP_compact] = run_compact,
	[OP_compact_cancel] = run_compact,
	[OP_cancel_job] = run_cancel_job,
	[OP_wait_idle] = run_wait_idle,
	[OP_resume] = run_resume,
	[OP_sizes] = run_sizes,
	[OP_facts] = run_facts,
	[OP_checksums] = run_checksums,
	[OP_verify_open] = run_verify_open,
	[OP_verify_closed] = run_verify_closed,
	[OP_repair] = run_repair,
	[OP_ingest] = run_ingest,
	[OP_checkpoint] = run_checkpoint,
	[OP_checkpoint_switch] = run_checkpoint_switch,
	[OP_close_busy] = run_close_busy,
	[OP_open_twice] = run_open_twice,
	[OP_reopen] = run_reopen,
	[OP_reopen_read_only] = run_reopen_read_only,
	[OP_reopen_other] = run_reopen_other,
	[OP_fault] = run_fault,
	[OP_kill] = run_kill,
	[OP_cut] = run_cut,
	[OP_cut_twice] = run_cut,
};
