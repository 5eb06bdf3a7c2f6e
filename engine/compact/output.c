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
	uint64_t entries;

	size_t grandparent;         /* the first not wholly passed */
	uint64_t grandparent_bytes; /* of those passed by this table */
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
	}
	free(o->tables);
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

/* ------------------------------------------------------------- splitting */

/*
 * Move on to user_key among the grandparents. They count for a table when it
 * reaches from at or before them to behind them; the one that a table ends in
 * is cut in two anyway and counts for the next one.
 */
static void pass_grandparents(struct outputs *o, struct cairn_slice user_key)
{
	while (o->grandparent < o->opts.n_grandparents) {
		const struct file_meta *f =
			o->opts.grandparents[o->grandparent];

		if (slice_cmp(user_key, f->largest_key.user_key) <= 0)
			return;
		if (o->writer)
			o->grandparent_bytes += f->size;
		o->grandparent++;
	}
}

static bool table_is_full(const struct outputs *o)
{
	if (o->opts.grandparent_bytes_max &&
	    o->grandparent_bytes > o->opts.grandparent_bytes_max)
		return true;
	return o->opts.target_size &&
	       table_writer_size(o->writer) >= o->opts.target_size;
}

/*
 * Add an entry, in ascending order. new_key: its user key is not that of the
 * entry before it, so that a table may end here.
 */
static int outputs_add(struct outputs *o, const struct ikey *key,
		       struct cairn_slice value, bool new_key)
{
	int err;

	if (new_key) {
		pass_grandparents(o, key->user_key);
		if (o->writer && table_is_full(o)) {
			err = end_table(o);
			if (err)
				return err;
			o->grandparent_bytes = 0;
		}
	}
	if (!o->writer) {
		err = begin_table(o);
		if (err)
			return err;
	}
	err = table_writer_add(o->writer, key, value);
	if (!err)
		o->entries++;
	return err;
}

/* -------------------------------------------------------------- checking */

static int unlike(const struct output_table *t, const char *what)
{
	return error_set(CAIRN_ECORRUPT,
			 "%s: read back after writing: %s not as written",
			 t->path, what);
}

static bool stands_on(const struct iter *it, struct cairn_slice encoded)
{
	struct ikey want;

	return it->valid && ikey_decode(encoded, &want) &&
	       ikey_cmp(&it->key, &want) == 0;
}

static int check_bounds(struct outputs *o, const struct output_table *t)
{
	struct iter *it;
	int err =
		table_cache_iter_new(o->ctx->tables, t->number, t->summary.size,
				     TABLE_SCAN_NO_FILL, &it);

	if (err)
		return err;
	iter_first(it);
	if (!stands_on(it, t->summary.smallest)) {
		err = it->status ? it->status : unlike(t, "smallest key");
		goto out;
	}
	iter_last(it);
	if (!stands_on(it, t->summary.largest))
		err = it->status ? it->status : unlike(t, "largest key");
out:
	iter_close(it);
	return err;
}

/* What the disk gives back must be what was put there. */
static int check_table(struct outputs *o, const struct output_table *t)
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
	table_cache_release(o->ctx->tables, ref);
	return err ? err : check_bounds(o, t);
}

static int add_to_edit(struct outputs *o, const struct output_table *t,
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
	atomic_store_explicit(&f->entries, s->entries, memory_order_relaxed);
	atomic_store_explicit(&f->deletions, s->deletions,
			      memory_order_relaxed);
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
	int err = o->writer ? end_table(o) : CAIRN_OK;

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
	if (in->entries == 0 || in->entries == l->n_in)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "job read %llu entries of inputs that hold %llu",
			 (unsigned long long)l->n_in,
			 (unsigned long long)in->entries);
}

static int copy_entries(struct outputs *o, struct merge_loop *l)
{
	int err;

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
	outputs_fini(&o);
	merge_loop_fini(&l);
	return err;
}
