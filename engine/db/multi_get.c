/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Point reads of many keys at one moment. The keys are sorted, so that those in
 * one table, and in one block of it, come together; all of them go through one
 * source before the next older one is looked at.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/db/get_impl.h"
#include "engine/db/read_only.h"

/* One key's search. */
struct lookup {
	struct get g;
	uint64_t hash;
	size_t at; /* in the caller's arrays */
};

/* Those that go on, in order of their keys. */
struct lookups {
	struct lookup *all;
	struct lookup **open;
	size_t n_open;
	struct cairn_pinned *values;
	int *codes;
};

static int by_key(const void *a, const void *b)
{
	const struct lookup *x = *(struct lookup *const *)a;
	const struct lookup *y = *(struct lookup *const *)b;

	return slice_cmp(x->g.key, y->g.key);
}

static void sort(struct lookups *l)
{
	for (size_t i = 1; i < l->n_open; i++)
		if (by_key(&l->open[i - 1], &l->open[i]) > 0) {
			qsort((void *)l->open, l->n_open, sizeof(l->open[0]),
			      by_key);
			return;
		}
}

static int begin(struct lookups *l, const struct get *like,
		 const struct cairn_slice *keys, size_t n)
{
	l->all = calloc(n, sizeof(*l->all));
	l->open = calloc(n, sizeof(struct lookup *));
	if (!l->all || !l->open)
		return error_nomem();
	for (size_t i = 0; i < n; i++) {
		l->all[i] = (struct lookup){
			.g = *like,
			.hash = hash64(keys[i].data, keys[i].len),
			.at = i,
		};
		l->all[i].g.key = keys[i];
		l->open[i] = &l->all[i];
	}
	l->n_open = n;
	sort(l);
	return CAIRN_OK;
}

/* A step of open[i] has this result; NULL takes its place when it was the
 * last one. */
static void settle(struct lookups *l, size_t i, int err, bool found)
{
	struct lookup *k = l->open[i];

	if (!err && !found)
		return;
	l->codes[k->at] = err < 0 ? read_only_blame(k->g.db, err) : err;
	l->open[i] = NULL;
}

static void close_up(struct lookups *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_open; i++)
		if (l->open[i])
			l->open[n++] = l->open[i];
	l->n_open = n;
}

static void ask_memtable(struct lookups *l, struct memtable *m)
{
	if (memtable_empty(m))
		return;
	for (size_t i = 0; i < l->n_open; i++)
		memtable_prefetch(m, l->open[i]->g.key);
	for (size_t i = 0; i < l->n_open; i++) {
		struct lookup *k = l->open[i];
		bool found = false;
		int err =
			get_from_memtable(&k->g, m, &found, &l->values[k->at]);

		settle(l, i, err, found);
	}
	close_up(l);
}

/* ----------------------------------------------------------------- tables */

/* Ask the table about open[from] to open[to - 1]. */
static void ask_table(struct lookups *l, const struct version_files *run,
		      const struct file_meta *f, struct table *t, size_t from,
		      size_t to)
{
	struct table_probe probe[TABLE_PROBES_MAX];

	for (size_t i = from; i < to; i++) {
		const struct lookup *k = l->open[i];

		probe[i - from] = (struct table_probe){
			.user_key = k->g.key,
			.snapshot = k->g.seqno,
			.hash = k->hash,
		};
	}
	table_get_many(t, l->open[from]->g.fill_cache, probe, to - from);
	for (size_t i = from; i < to; i++) {
		struct lookup *k = l->open[i];
		struct cairn_pinned *out = &l->values[k->at];
		bool found = false, more;
		int err = get_take(&k->g, f, t, &probe[i - from], &found, out,
				   &more);

		/* Below an operand the search goes on by itself. */
		if (more)
			err = get_from_run(&k->g, run, &found, out);
		settle(l, i, err, found);
	}
}

static void ask_file(struct lookups *l, const struct version_files *run,
		     const struct file_meta *f, size_t from, size_t to)
{
	struct table_cache *tables = l->open[from]->g.db->tables;
	struct table_ref *ref;
	int err = table_cache_get(tables, f->number, f->size, &ref);

	if (err) {
		for (; from < to; from++)
			settle(l, from, err, false);
		return;
	}
	while (from < to) {
		size_t end = to - from > TABLE_PROBES_MAX
				     ? from + TABLE_PROBES_MAX
				     : to;

		ask_table(l, run, f, table_ref_table(ref), from, end);
		from = end;
	}
	table_cache_release(tables, ref);
}

static struct ikey place_of(const struct lookup *k)
{
	return ikey_seek(k->g.key, k->g.seqno);
}

/* See get_from_run() for which file it is that may have a key. */
static void ask_run(struct lookups *l, const struct version_files *run)
{
	size_t i = 0, end;

	for (; i < l->n_open; i = end) {
		struct ikey place = place_of(l->open[i]);
		size_t file = version_find_file(run, &place);
		const struct file_meta *f;

		if (file == run->n)
			break;
		f = run->files[file];
		end = i + 1;
		if (slice_cmp(l->open[i]->g.key, f->smallest_key.user_key) < 0)
			continue;
		for (; end < l->n_open; end++) {
			place = place_of(l->open[end]);
			if (ikey_cmp(&place, &f->largest_key) > 0)
				break;
		}
		ask_file(l, run, f, i, end);
	}
	close_up(l);
}

static void ask_state(struct lookups *l, const struct read_state *s)
{
	const struct version *v = s->version;

	for (size_t i = 0; i < s->n_mems && l->n_open; i++)
		ask_memtable(l, s->mems[i]);
	for (size_t i = v->n_sublevels; i-- > 0 && l->n_open;)
		ask_run(l, &v->sublevel[i]);
	for (int level = 1; level < CAIRN_LEVELS && l->n_open; level++)
		ask_run(l, &v->level[level]);
	for (size_t i = 0; i < l->n_open; i++) {
		struct lookup *k = l->open[i];

		settle(l, i, get_end(&k->g, &l->values[k->at]), true);
	}
	close_up(l);
}

/* The first failure, if any. */
static int worst(const int *codes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (codes[i] < 0)
			return codes[i];
	return CAIRN_OK;
}

int cairn_multi_get(struct cairn_db *db, const struct cairn_read_options *o,
		    const struct cairn_slice *keys, size_t n,
		    struct cairn_pinned *values, int *codes)
{
	struct lookups l = { .values = values, .codes = codes };
	struct get like = { .db = db, .fill_cache = !(o && o->no_fill_cache) };
	struct read_state *s;
	int err;

	if (n == 0)
		return CAIRN_OK;
	/* The state first, then the seqno: see read_state.h. */
	s = read_state_acquire(db->read_states);
	like.seqno = o && o->snapshot
			     ? o->snapshot->seqno
			     : atomic_load_explicit(&db->visible,
						    memory_order_acquire);
	err = begin(&l, &like, keys, n);
	if (!err)
		ask_state(&l, s);
	for (size_t i = 0; i < n; i++) {
		if (err)
			codes[i] = err;
		else
			get_fini(&l.all[i].g);
	}
	read_state_release(db->read_states, s);
	free((void *)l.open);
	free(l.all);
	return err ? err : worst(codes, n);
}
