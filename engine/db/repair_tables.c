/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables of a repair: which stay, which are written anew, and where they
 * go.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/compact/output.h"
#include "engine/db/repair_impl.h"

#define LAST_LEVEL (CAIRN_LEVELS - 1)

/* ----------------------------------------------- reading what is left */

/* Tables that do not overlap, read one behind the other. */
struct run {
	struct repair *r;
	const size_t *table; /* indexes into r->tables, by their keys */
	size_t n;
	size_t next;

	/* The one that is being read. */
	struct table_walk *walk;
	struct salvage_blocks own; /* of a table that is whole */
	struct iter *it;
	uint64_t number;
};

static void run_close_table(struct run *n)
{
	iter_close(n->it);
	n->it = NULL;
	salvage_blocks_fini(&n->own);
	table_walk_close(n->walk);
	n->walk = NULL;
}

static int open_walk(struct repair *r, const struct repair_table *t,
		     struct table_walk **out)
{
	struct walk_limits limits;
	struct rfile *f;
	int err = env_open_read(r->env, t->path, &f);

	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EIO, "%s: it was there a moment ago",
				t->path);
	if (err)
		return err;
	table_limits(t->meta, &limits);
	err = table_walk_open(f, t->path, t->size, &limits, out);
	if (!err && t->damaged) {
		err = table_salvage_outline(*out);
		if (err) {
			table_walk_close(*out);
			*out = NULL;
		}
	}
	return err;
}

static int run_open_table(struct run *n)
{
	const struct repair_table *t = &n->r->tables[n->table[n->next++]];
	const struct salvage_blocks *blocks = &t->blocks;
	int err = open_walk(n->r, t, &n->walk);

	if (!err && !t->damaged) {
		err = table_salvage_indexed(n->walk, &n->own);
		blocks = &n->own;
	}
	if (!err)
		err = table_salvage_iter(n->walk, blocks, t->seqno, &n->it);
	if (err)
		return err;
	n->number = t->number;
	iter_first(n->it);
	return n->it->status;
}

/* Go on to a table that has an entry, if the present one has none left. */
static int run_settle(struct run *n)
{
	int err = CAIRN_OK;

	while (!err && (!n->it || !n->it->valid)) {
		if (n->it && n->it->status)
			return n->it->status;
		run_close_table(n);
		if (n->next == n->n)
			return CAIRN_OK;
		err = run_open_table(n);
	}
	return err;
}

static bool run_valid(const struct run *n)
{
	return n->it && n->it->valid;
}

/*
 * All runs as one. Of entries with one internal key, which tables have that a
 * compaction made of others, the one in the newest file counts: they differ
 * only if their sequence number was set to 0.
 */
struct runs {
	struct iter base;
	struct run *run;
	size_t n;
	size_t at;
};

static void runs_show(struct runs *s, int err)
{
	struct run *best = NULL;

	for (size_t i = 0; !err && i < s->n; i++) {
		struct run *n = &s->run[i];
		int c;

		if (!run_valid(n))
			continue;
		c = best ? ikey_cmp(&n->it->key, &best->it->key) : -1;
		if (c < 0 || (!c && n->number > best->number)) {
			best = n;
			s->at = i;
		}
	}
	s->base.valid = !err && best;
	s->base.status = err;
	if (!s->base.valid)
		return;
	s->base.key = best->it->key;
	s->base.value = best->it->value;
}

static void runs_first(struct iter *it)
{
	struct runs *s = (struct runs *)it;
	int err = CAIRN_OK;

	for (size_t i = 0; i < s->n && !err; i++) {
		run_close_table(&s->run[i]);
		s->run[i].next = 0;
		err = run_settle(&s->run[i]);
	}
	runs_show(s, err);
}

/* The others first, while the key is still there. */
static void runs_next(struct iter *it)
{
	struct runs *s = (struct runs *)it;
	int err = CAIRN_OK;

	for (size_t i = 0; i < s->n && !err; i++) {
		struct run *n = &s->run[i];

		if (i == s->at || !run_valid(n) ||
		    ikey_cmp(&n->it->key, &it->key) != 0)
			continue;
		iter_next(n->it);
		err = run_settle(n);
	}
	if (!err) {
		iter_next(s->run[s->at].it);
		err = run_settle(&s->run[s->at]);
	}
	runs_show(s, err);
}

static void runs_none(struct iter *it)
{
	it->valid = false;
	it->status = error_set(CAIRN_ENOTSUP, "repair reads forward only");
}

static void runs_no_seek(struct iter *it, const struct ikey *target)
{
	(void)target;
	runs_none(it);
}

static void runs_close(struct iter *it)
{
	struct runs *s = (struct runs *)it;

	for (size_t i = 0; i < s->n; i++)
		run_close_table(&s->run[i]);
}

static void runs_init(struct runs *s, struct run *run, size_t n)
{
	static const struct iter_ops ops = {
		.first = runs_first,
		.last = runs_none,
		.seek_ge = runs_no_seek,
		.seek_lt = runs_no_seek,
		.next = runs_next,
		.prev = runs_none,
		.close = runs_close,
	};

	*s = (struct runs){ .base.ops = &ops, .run = run, .n = n };
}

/* ----------------------------------------------------------- writing */

/* Nothing is known of what is below. */
static bool always_below(void *ctx, struct cairn_slice user_key)
{
	(void)ctx;
	(void)user_key;
	return true;
}

static bool range_always_below(void *ctx, struct cairn_slice start,
			       struct cairn_slice end)
{
	(void)ctx;
	(void)start;
	(void)end;
	return true;
}

/* The tombstones of one table, cut to where the MANIFEST says that they end to
 * count; behind its last key older versions of that are covered, too. */
struct tomb_list {
	struct range_del_list *list;
	bool cut;
	struct cairn_slice from;
	struct buf to;
};

static int add_tomb(void *ctx, const struct ikey *start, struct cairn_slice end)
{
	struct tomb_list *l = ctx;
	struct range_del d = { start->user_key, end, ikey_seqno(start) };

	if (l->cut && slice_cmp(d.start, l->from) < 0)
		d.start = l->from;
	if (l->cut && slice_cmp(d.end, buf_slice(&l->to)) > 0)
		d.end = buf_slice(&l->to);
	return range_del_list_add(l->list, &d);
}

static int list_tombs(struct repair *r, const struct repair_table *t,
		      struct range_del_list *list)
{
	const struct file_meta *m = t->found.misfit ? NULL : t->meta;
	struct tomb_list l = { .list = list, .cut = m != NULL };
	struct table_walk *w = NULL;
	int err = CAIRN_OK;

	if (!t->found.range_dels)
		return CAIRN_OK;
	if (m) {
		l.from = m->smallest_key.user_key;
		err = buf_set(&l.to, m->largest_key.user_key);
		if (!err && !file_meta_ends_before_largest(m))
			err = buf_append(&l.to, "", 1);
	}
	if (!err)
		err = open_walk(r, t, &w);
	if (!err)
		err = table_salvage_range_dels(w, t->seqno, add_tomb, &l);
	table_walk_close(w);
	buf_fini(&l.to);
	return err;
}

/* Those of n tables; NULL when there are none. */
static int collect_tombs(struct repair *r, const size_t *table, size_t n,
			 struct range_dels **out)
{
	struct range_del_list list = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; i < n && !err; i++)
		err = list_tombs(r, &r->tables[table[i]], &list);
	if (!err)
		err = range_dels_new(&list, out);
	range_del_list_fini(&list);
	return err;
}

/* Write what the runs give to tables of a level; they are in result->edit. */
static int write_tables(struct repair *r, struct runs *in,
			const struct range_dels *tombs, int level,
			uint64_t target_size, struct job_result *result)
{
	struct merge_loop_options merge = {
		.exists_below = always_below,
		.range_exists_below = range_always_below,
		.range_dels = tombs,
	};
	struct output_options opts = { .level = level,
				       .target_size = target_size };
	struct output_input input = { .in = &in->base };
	struct job_context job;

	r->snapshot = r->last_seqno;
	repair_job(r, &job);
	merge.snapshots = job.snapshots;
	merge.n_snapshots = job.n_snapshots;
	return outputs_write(&job, &input, &merge, &opts, result);
}

/*
 * What was written must read well. (That it is what was meant, the job has
 * looked at.)
 */
static int check_made(struct repair *r, const struct file_meta *m)
{
	struct finder quiet = { 0 };
	struct walk_result found = { 0 };
	char *path = NULL;
	uint64_t size;
	int err = table_find(r->env, r->tmp_dir, m->number, &path, &size);

	if (err == CAIRN_NOT_FOUND)
		return error_set(CAIRN_EIO, "%s/%06" PRIu64 ".sst: is missing",
				 r->tmp_dir, m->number);
	if (!err)
		err = table_check(r->env, path, size, m, &quiet, &found, NULL);
	if (!err && found.damages)
		err = error_set(CAIRN_EIO, "%s: cannot be read back", path);
	if (!err)
		r->report.entries_rewritten += found.entries + found.range_dels;
	walk_result_fini(&found);
	free(path);
	return err;
}

/* A table as it stands, at level. */
static int keep_table(struct repair *r, struct repair_table *t, int level)
{
	const struct walk_result *f = &t->found;
	uint64_t low = f->smallest_seqno, high = f->largest_seqno;
	struct file_meta *m;
	int err;

	if (t->seqno_unknown)
		low = high = t->seqno;
	if (r->trusted && t->meta && t->meta->seqnos_known) {
		m = file_meta_ref(t->meta);
	} else {
		bool meta = r->trusted && t->meta;

		err = file_meta_new(
			t->number, t->size,
			meta ? t->meta->smallest : buf_slice(&f->smallest),
			meta ? t->meta->largest : buf_slice(&f->largest), low,
			high, &m);
		if (err)
			return err;
		if (t->meta) {
			m->creation_time = t->meta->creation_time;
			m->oldest_ancestor_time = t->meta->oldest_ancestor_time;
		}
	}
	err = version_edit_add_file(&r->edit, level, m);
	file_meta_unref(m);
	t->kept = true;
	if (!t->is_new)
		r->report.tables_kept++;
	return err;
}

/* ----------------------------------------------------------- in place */

/* The new table takes the old one's place among those of level 0. */
static int adopt(struct repair *r, const struct repair_table *old,
		 struct job_result *result)
{
	int err = CAIRN_OK;

	assert(result->edit.n_added <= 1);
	for (size_t i = 0; i < result->edit.n_added && !err; i++) {
		struct file_meta *m = result->edit.added[i].meta;

		if (old->meta && old->meta->seqnos_known) {
			m->smallest_seqno = old->meta->smallest_seqno;
			m->largest_seqno = old->meta->largest_seqno;
		}
		err = check_made(r, m);
		if (!err)
			err = version_edit_add_file(&r->edit, old->level, m);
		if (!err)
			err = finder_remark(&r->finder, old->path,
					    "what can be read of it is in "
					    "%06" PRIu64 ".sst now",
					    m->number);
		r->report.tables_rewritten++;
	}
	if (!err && !result->edit.n_added) {
		r->report.tables_lost++;
		err = finder_remark(&r->finder, old->path,
				    "nothing of it can be read");
	}
	return err;
}

static int replace_table(struct repair *r, size_t i)
{
	struct repair_table *t = &r->tables[i];
	struct run run = { .r = r, .table = &i, .n = 1 };
	struct range_dels *tombs = NULL;
	struct job_result result = { 0 };
	struct runs in;
	int err = collect_tombs(r, &i, 1, &tombs);

	if (err)
		return err;
	runs_init(&in, &run, 1);
	err = write_tables(r, &in, tombs, t->level, 0, &result);
	iter_close(&in.base);
	if (!err)
		err = adopt(r, t, &result);
	range_dels_unref(tombs);
	job_result_fini(&result);
	return err;
}

/* Whether the edit makes a version. */
static int check_edit(struct repair *r)
{
	struct version *empty = NULL, *v = NULL;
	int err = version_new(&empty);

	if (!err)
		err = version_apply(empty, &r->edit, &v);
	version_unref(v);
	version_unref(empty);
	return err;
}

int repair_in_place(struct repair *r)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->n && !err; i++) {
		struct repair_table *t = &r->tables[i];

		if (!t->path)
			r->report.tables_lost++;
		else if (t->damaged)
			err = replace_table(r, i);
		else
			err = keep_table(r, t, t->level);
	}
	return err ? err : check_edit(r);
}

/* ------------------------------------------------------------ rebuild */

static bool has_anything(const struct repair_table *t)
{
	return t->path && t->found.smallest.len &&
	       (!t->damaged || t->blocks.n || t->found.range_dels);
}

static struct ikey bound(const struct buf *b)
{
	struct ikey k;
	bool ok = ikey_decode(buf_slice(b), &k);

	assert(ok);
	(void)ok;
	return k;
}

/* By their smallest keys. Tables without anything come last. */
struct by_key {
	const struct repair_table *t;
	size_t i;
};

static int cmp_key(const void *a, const void *b)
{
	const struct by_key *x = a, *y = b;
	struct ikey p = bound(&x->t->found.smallest);
	struct ikey q = bound(&y->t->found.smallest);
	int c = ikey_cmp(&p, &q);

	return c ? c
		 : (x->t->number > y->t->number) -
			       (x->t->number < y->t->number);
}

/* Whether the tables share no user key, a being the one that begins first. */
static bool is_before(const struct repair_table *a,
		      const struct repair_table *b)
{
	struct ikey end = bound(&a->found.largest);
	struct ikey begin = bound(&b->found.smallest);
	int c = slice_cmp(end.user_key, begin.user_key);

	return c < 0 ||
	       (!c && end.trailer == ikey_pack(SEQNO_MAX, KIND_RANGE_DELETE));
}

/*
 * Distribute the tables of a cluster, which come by their keys, to runs: each
 * to the first whose last table ends before it. run and list have n places.
 */
static int make_runs(struct repair *r, const size_t *table, size_t n,
		     struct run *run, size_t *list, size_t *n_runs)
{
	size_t *last = calloc(n, sizeof(*last)); /* of each run */
	size_t *of = calloc(n, sizeof(*of));     /* the run of each table */
	size_t used = 0, at = 0;

	if (!last || !of) {
		free(last);
		free(of);
		return error_nomem();
	}
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < used &&
		       !is_before(&r->tables[last[k]], &r->tables[table[i]]))
			k++;
		used += k == used;
		last[k] = table[i];
		of[i] = k;
		run[k].n++;
	}
	for (size_t k = 0; k < used; k++) {
		run[k].r = r;
		run[k].table = list + at;
		for (size_t i = 0; i < n; i++)
			if (of[i] == k)
				list[at++] = table[i];
	}
	*n_runs = used;
	free(last);
	free(of);
	return CAIRN_OK;
}

static int merge_into_edit(struct repair *r, struct runs *in,
			   const struct range_dels *tombs)
{
	struct job_result result = { 0 };
	int err = write_tables(r, in, tombs, LAST_LEVEL,
			       r->opts.target_file_size, &result);

	for (size_t i = 0; i < result.edit.n_added && !err; i++) {
		struct file_meta *m = result.edit.added[i].meta;

		err = check_made(r, m);
		if (!err)
			err = version_edit_add_file(&r->edit, LAST_LEVEL, m);
	}
	job_result_fini(&result);
	return err;
}

static int merge_cluster(struct repair *r, const size_t *table, size_t n)
{
	struct run *run = calloc(n, sizeof(*run));
	size_t *list = calloc(n, sizeof(*list));
	struct range_dels *tombs = NULL;
	struct runs in;
	size_t n_runs = 0;
	int err = run && list ? CAIRN_OK : error_nomem();

	if (!err)
		err = collect_tombs(r, table, n, &tombs);
	if (!err)
		err = make_runs(r, table, n, run, list, &n_runs);
	if (!err) {
		runs_init(&in, run, n_runs);
		err = merge_into_edit(r, &in, tombs);
		iter_close(&in.base);
	}
	for (size_t i = 0; i < n && !err; i++)
		r->report.tables_rewritten += !r->tables[table[i]].is_new;
	range_dels_unref(tombs);
	free(run);
	free(list);
	return err;
}

/* Tables order[0..n) overlap, each with one before it at least. */
static int take_cluster(struct repair *r, const struct by_key *order, size_t n)
{
	struct repair_table *t = &r->tables[order[0].i];
	size_t *table;
	int err;

	if (n == 1 && !t->damaged)
		return keep_table(r, t, LAST_LEVEL);
	table = calloc(n, sizeof(*table));
	if (!table)
		return error_nomem();
	for (size_t i = 0; i < n; i++)
		table[i] = order[i].i;
	err = merge_cluster(r, table, n);
	free(table);
	return err;
}

int repair_rebuild(struct repair *r)
{
	struct by_key *order = calloc(r->n + 1, sizeof(*order));
	size_t n = 0, from = 0;
	int err = order ? CAIRN_OK : error_nomem();

	for (size_t i = 0; i < r->n && !err; i++) {
		if (has_anything(&r->tables[i]))
			order[n++] = (struct by_key){ &r->tables[i], i };
		else if (!r->tables[i].is_new)
			r->report.tables_lost++;
	}
	if (n)
		qsort(order, n, sizeof(*order), cmp_key);
	while (from < n && !err) {
		const struct repair_table *last = order[from].t;
		size_t to = from + 1;

		/* last is the one of the cluster that ends last. */
		while (to < n && !is_before(last, order[to].t)) {
			struct ikey a = bound(&last->found.largest);
			struct ikey b = bound(&order[to].t->found.largest);

			if (ikey_cmp(&b, &a) > 0)
				last = order[to].t;
			to++;
		}
		err = take_cluster(r, order + from, to - from);
		from = to;
	}
	free(order);
	return err ? err : check_edit(r);
}
