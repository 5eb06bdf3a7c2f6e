/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/output.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"

#define ERRMSG_MAX 1024

struct output_table {
	uint64_t number;
	char *path;
	bool created; /* the file exists and is to be unlinked on failure */
	struct table_summary summary; /* once finished */
	struct garbage *garbage;      /* once checked; NULL: none */
};

struct outputs {
	const struct job_context *ctx;
	struct output_options opts;
	uint64_t now; /* seconds since 1970 */
	struct output_table *tables;
	size_t n;
	uint64_t bytes; /* of the finished ones */

	/* The table being written, the last one of the list. */
	struct wfile *file;
	struct table_writer *writer;
	uint64_t entries; /* range tombstones included */

	size_t grandparent;         /* the first not wholly passed */
	uint64_t grandparent_bytes; /* of those passed by this table */

	/*
	 * Range tombstones to come, and the fragment that has begun but is not
	 * yet in a table, because where the table ends is not known: [start,
	 * end) at each of n_open seqnos; n_open 0: there is none.
	 */
	struct range_out ranges;
	struct cairn_slice open_start;
	struct cairn_slice open_end;
	uint64_t *open_seqnos;
	size_t n_open;
	struct buf cut; /* where open_start may be */
};

static void outputs_init(struct outputs *o, const struct job_context *ctx,
			 const struct output_options *opts)
{
	*o = (struct outputs){ .ctx = ctx, .opts = *opts };
	o->now = env_now_us(ctx->env) / 1000000;
}

static void outputs_fini(struct outputs *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->tables[i].path);
		table_summary_fini(&o->tables[i].summary);
		free(o->tables[i].garbage);
	}
	free(o->tables);
	range_out_fini(&o->ranges);
	free(o->open_seqnos);
	buf_fini(&o->cut);
	*o = (struct outputs){ 0 };
}

/* ------------------------------------------------------------ one table */

static struct output_table *outputs_grow(struct outputs *o)
{
	struct output_table *more =
		realloc(o->tables, (o->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	o->tables = more;
	more[o->n] = (struct output_table){ 0 };
	return &more[o->n++];
}

static int begin_table(struct outputs *o)
{
	struct table_write_options wo = o->ctx->level_options[o->opts.level];
	struct output_table *t = outputs_grow(o);
	int err;

	if (!t)
		return error_nomem();
	t->number = o->ctx->new_file_number(o->ctx->ctx);
	t->path = filename_table(o->ctx->dir, t->number);
	if (!t->path)
		return error_nomem();
	err = env_open_write(o->ctx->env, t->path, &o->file);
	if (err)
		return err;
	t->created = true;
	wo.creation_time = o->now;
	if (o->opts.merge_operator)
		wo.merge_operator = o->opts.merge_operator;
	o->entries = 0;
	return table_writer_new(o->file, t->path, &wo, &o->writer);
}

/* Write the table out and make its contents durable. */
static int end_table(struct outputs *o)
{
	struct output_table *t = &o->tables[o->n - 1];
	struct wfile *file;
	int err, close_err;

	err = table_writer_finish(o->writer, &t->summary);
	if (err)
		return err;
	table_writer_free(o->writer);
	o->writer = NULL;
	assert(t->summary.entries == o->entries);
	o->bytes += t->summary.size;
	err = wfile_sync(o->file);
	file = o->file;
	o->file = NULL;
	close_err = wfile_close(file);
	return err ? err : close_err;
}

static int ensure_table(struct outputs *o)
{
	return o->writer ? CAIRN_OK : begin_table(o);
}

/* ------------------------------------------------------ range tombstones */

/* Write the open fragment as far as end. */
static int write_open(struct outputs *o, struct cairn_slice end)
{
	int err = ensure_table(o);

	for (size_t i = 0; !err && i < o->n_open; i++) {
		const struct range_del d = { o->open_start, end,
					     o->open_seqnos[i] };

		err = table_writer_add_range(o->writer, &d);
		if (!err)
			o->entries++;
	}
	return err;
}

static int close_open(struct outputs *o)
{
	int err = write_open(o, o->open_end);

	o->n_open = 0;
	return err;
}

/* The present fragment of o->ranges begins; go to the next one there. */
static int open_next(struct outputs *o)
{
	struct range_out *r = &o->ranges;
	uint64_t *seqnos = realloc(o->open_seqnos, r->n * sizeof(*seqnos));

	assert(!o->n_open);
	if (!seqnos)
		return error_nomem();
	memcpy(seqnos, r->seqnos, r->n * sizeof(*seqnos));
	o->open_seqnos = seqnos;
	o->n_open = r->n;
	o->open_start = r->start;
	o->open_end = r->end;
	return range_out_next(r);
}

/* ------------------------------------------------------------- splitting */

/* End the table before user_key, which is behind all that is in it. */
static int cut(struct outputs *o, struct cairn_slice user_key)
{
	int err = CAIRN_OK;

	/* What begins with the key is of the next table as a whole. */
	if (o->n_open && slice_cmp(o->open_start, user_key) < 0) {
		assert(slice_cmp(user_key, o->open_end) < 0);
		err = write_open(o, user_key);
		if (!err)
			err = buf_set(&o->cut, user_key);
		o->open_start = buf_slice(&o->cut);
	}
	if (!err && o->writer)
		err = end_table(o);
	o->grandparent_bytes = 0;
	return err;
}

static bool overlaps_too_much(const struct outputs *o)
{
	return o->opts.grandparent_bytes_max &&
	       o->grandparent_bytes > o->opts.grandparent_bytes_max;
}

/*
 * Move on to user_key among the grandparents. They count for a table when it
 * reaches from at or before them to behind them; the one that a table ends in
 * is cut in two anyway and counts for the next one. A fragment that reaches
 * over many of them is cut before one of them.
 */
static int pass_grandparents(struct outputs *o, struct cairn_slice user_key)
{
	while (o->grandparent < o->opts.n_grandparents) {
		struct file_meta *const *f =
			&o->opts.grandparents[o->grandparent];
		int err;

		if (slice_cmp(user_key, (*f)->largest_key.user_key) <= 0)
			return CAIRN_OK;
		if (o->writer || o->n_open)
			o->grandparent_bytes += (*f)->size;
		o->grandparent++;
		/* The next one begins behind all that there was so far. */
		if (!o->n_open || !overlaps_too_much(o) ||
		    o->grandparent == o->opts.n_grandparents ||
		    slice_cmp(f[1]->smallest_key.user_key, user_key) >= 0 ||
		    slice_cmp(f[0]->largest_key.user_key,
			      f[1]->smallest_key.user_key) >= 0 ||
		    slice_cmp(f[1]->smallest_key.user_key, o->open_end) >= 0)
			continue;
		err = cut(o, f[1]->smallest_key.user_key);
		if (err)
			return err;
	}
	return CAIRN_OK;
}

static bool table_is_full(const struct outputs *o)
{
	if (!o->writer || !o->entries)
		return false;
	return overlaps_too_much(o) ||
	       (o->opts.target_size &&
		table_writer_size(o->writer) >= o->opts.target_size);
}

/* Something begins at user_key, behind all that there was so far: the place
 * for a table to end. */
static int come_to(struct outputs *o, struct cairn_slice user_key)
{
	int err = pass_grandparents(o, user_key);

	if (!err && o->n_open && slice_cmp(o->open_end, user_key) <= 0)
		err = close_open(o);
	if (!err && table_is_full(o))
		err = cut(o, user_key);
	return err;
}

/* Begin the fragments up to and including those that begin at user_key; NULL:
 * all that are left. */
static int begin_ranges(struct outputs *o, const struct cairn_slice *user_key)
{
	int err = CAIRN_OK;

	while (!err && o->ranges.valid &&
	       (!user_key || slice_cmp(o->ranges.start, *user_key) <= 0)) {
		err = come_to(o, o->ranges.start);
		if (!err)
			err = open_next(o);
	}
	return err;
}

/*
 * Add an entry, in ascending order. new_key: its user key is not that of the
 * entry before it, so that a table may end here.
 */
static int outputs_add(struct outputs *o, const struct ikey *key,
		       struct cairn_slice value, bool new_key)
{
	int err = CAIRN_OK;

	if (new_key) {
		err = begin_ranges(o, &key->user_key);
		if (!err)
			err = come_to(o, key->user_key);
	}
	if (!err)
		err = ensure_table(o);
	if (!err)
		err = table_writer_add(o->writer, key, value);
	if (!err)
		o->entries++;
	return err;
}

/* Whatever fragments are left behind the last entry, and the last table. */
static int outputs_end(struct outputs *o)
{
	int err = begin_ranges(o, NULL);

	if (!err && o->n_open)
		err = pass_grandparents(o, o->open_end);
	if (!err && o->n_open)
		err = close_open(o);
	return err || !o->writer ? err : end_table(o);
}

/* -------------------------------------------------------------- checking */

static int unlike(const struct output_table *t, const char *what)
{
	return error_set(CAIRN_ECORRUPT,
			 "%s: read back after writing: %s not as written",
			 t->path, what);
}

/* No bytes: there is no entry to stand on. */
static bool stands_on(const struct iter *it, struct cairn_slice encoded)
{
	struct ikey want;

	if (!encoded.len)
		return !it->valid && !it->status;
	return it->valid && ikey_decode(encoded, &want) &&
	       ikey_cmp(&it->key, &want) == 0;
}

static int check_bounds(struct outputs *o, const struct output_table *t)
{
	/* A bulk scan also shows operands that readers are not given. */
	enum table_scan scan =
		o->opts.merge_operator ? TABLE_SCAN_BULK : TABLE_SCAN_NO_FILL;
	struct iter *it;
	int err = table_cache_iter_new(o->ctx->tables, t->number,
				       t->summary.size, scan, &it);

	if (err)
		return err;
	iter_first(it);
	if (!stands_on(it, t->summary.first_key)) {
		err = it->status ? it->status : unlike(t, "smallest key");
		goto out;
	}
	iter_last(it);
	if (!stands_on(it, t->summary.last_key))
		err = it->status ? it->status : unlike(t, "largest key");
out:
	iter_close(it);
	return err;
}

static uint64_t n_tombs(const struct table *t)
{
	const struct range_dels *d = table_range_dels(t);

	return d ? d->n_tombs : 0;
}

/* What the disk gives back must be what was put there. */
static int check_table(struct outputs *o, struct output_table *t)
{
	struct table_ref *ref;
	const struct table_props *props;
	int err = table_cache_get(o->ctx->tables, t->number, t->summary.size,
				  &ref);

	if (err)
		return err;
	props = table_props(table_ref_table(ref));
	if (props->entries != t->summary.entries)
		err = unlike(t, "number of entries");
	else if (props->deletions != t->summary.deletions)
		err = unlike(t, "number of deletions");
	else if (props->range_deletions != t->summary.range_deletions ||
		 n_tombs(table_ref_table(ref)) != t->summary.range_deletions)
		err = unlike(t, "number of range tombstones");
	else
		err = garbage_of_table(
			props, o->ctx->level_options[o->opts.level].collector,
			t->summary.size, &t->garbage);
	table_cache_release(o->ctx->tables, ref);
	return err ? err : check_bounds(o, t);
}

static int add_to_edit(struct outputs *o, struct output_table *t,
		       struct version_edit *edit)
{
	const struct table_summary *s = &t->summary;
	struct file_meta *f;
	int err = file_meta_new(t->number, s->size, s->smallest, s->largest,
				s->smallest_seqno, s->largest_seqno, &f);

	if (err)
		return err;
	f->creation_time = o->now;
	f->oldest_ancestor_time = o->opts.oldest_ancestor_time
					  ? o->opts.oldest_ancestor_time
					  : o->now;
	atomic_store_explicit(&f->dense, s->dense, memory_order_relaxed);
	file_meta_set_garbage(f, t->garbage);
	t->garbage = NULL;
	file_meta_set_counts(f, s->entries, s->deletions, s->range_deletions);
	err = version_edit_add_file(edit, o->opts.level, f);
	file_meta_unref(f);
	return err;
}

/*
 * Complete the last table, make the names durable, look at every table through
 * the table cache, and add them to the edit.
 */
static int outputs_finish(struct outputs *o, struct version_edit *edit)
{
	int err = outputs_end(o);

	if (!err && o->n)
		err = env_sync_dir(o->ctx->env, o->ctx->dir);
	for (size_t i = 0; i < o->n && !err; i++)
		err = check_table(o, &o->tables[i]);
	for (size_t i = 0; i < o->n && !err; i++)
		err = add_to_edit(o, &o->tables[i], edit);
	return err;
}

/* Remove all files. The message of the failure that led here stays. */
static void outputs_abandon(struct outputs *o)
{
	char cause[ERRMSG_MAX];
	bool failed = false;

	snprintf(cause, sizeof(cause), "%s", cairn_errmsg());
	table_writer_free(o->writer);
	o->writer = NULL;
	if (o->file) {
		failed |= wfile_close(o->file) != CAIRN_OK;
		o->file = NULL;
	}
	for (size_t i = 0; i < o->n; i++) {
		struct output_table *t = &o->tables[i];

		if (!t->created)
			continue;
		table_cache_evict(o->ctx->tables, t->number);
		/* What cannot be unlinked is an orphan that the next open
		 * removes. */
		failed |= env_unlink(o->ctx->env, t->path) != CAIRN_OK;
		t->created = false;
	}
	if (failed)
		(void)error_set(CAIRN_EIO, "%s", cause);
}

/* ------------------------------------------------------------ the whole */

/* About so much is read between two polls, if that is fewer entries than usual.
 */
#define POLL_BYTES ((uint64_t)64 << 10)

struct progress {
	const struct job_context *ctx;
	const struct output_input *in;
};

static void show_progress(const struct progress *p, uint64_t bytes)
{
	if (p->ctx->bytes_done)
		atomic_store_explicit(p->ctx->bytes_done, bytes,
				      memory_order_relaxed);
}

/* Between two polls: not much to write, nor many entries. */
static uint64_t poll_entries(const struct output_input *in)
{
	uint64_t each = in->entries ? in->bytes / in->entries : 0;

	return each ? POLL_BYTES / each + 1 : 0;
}

static bool poll_job(void *ctx, uint64_t n_in)
{
	const struct progress *p = ctx;
	const struct output_input *in = p->in;

	if (in->entries && n_in <= in->entries)
		show_progress(p, (uint64_t)((double)in->bytes * (double)n_in /
					    (double)in->entries));
	return p->ctx->cancelled && p->ctx->cancelled(p->ctx->ctx);
}

static int check_count(const struct output_input *in,
		       const struct merge_loop *l)
{
	if (!in->counted || in->entries == l->n_in)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "job read %llu entries of inputs that hold %llu",
			 (unsigned long long)l->n_in,
			 (unsigned long long)in->entries);
}

static int copy_entries(struct outputs *o, struct merge_loop *l)
{
	int err = range_out_first(&o->ranges, &l->opts);

	if (err)
		return err;
	for (merge_loop_first(l); l->valid; merge_loop_next(l)) {
		err = outputs_add(o, &l->key, l->value, l->new_key);
		if (err)
			return err;
	}
	return l->status;
}

int outputs_write(const struct job_context *c, const struct output_input *in,
		  const struct merge_loop_options *merge,
		  const struct output_options *opts, struct job_result *out)
{
	struct progress progress = { .ctx = c, .in = in };
	struct merge_loop_options mo = *merge;
	struct merge_loop l;
	struct outputs o;
	int err;

	mo.poll = poll_job;
	mo.poll_ctx = &progress;
	mo.poll_entries = poll_entries(in);
	merge_loop_init(&l, in->in, &mo);
	outputs_init(&o, c, opts);
	show_progress(&progress, 0);

	err = copy_entries(&o, &l);
	if (!err)
		err = check_count(in, &l);
	if (!err)
		err = outputs_finish(&o, &out->edit);
	if (err)
		outputs_abandon(&o);
	else
		show_progress(&progress, in->bytes);

	out->bytes_in = in->bytes;
	out->bytes_out = o.bytes;
	out->files_out = o.n;
	out->entries_in = l.n_in;
	out->entries_dropped = l.n_dropped;
	out->entries_pinned = l.n_pinned;
	out->keys_unmerged = l.n_unmerged;
	outputs_fini(&o);
	merge_loop_fini(&l);
	return err;
}
