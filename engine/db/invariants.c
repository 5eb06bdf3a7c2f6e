/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/invariants.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/l0.h"

static int violated(const struct file_meta *f, const char *what)
{
	return error_set(CAIRN_ECORRUPT, "table %06" PRIu64 ": %s", f->number,
			 what);
}

/* ---------------------------------------------------------------- versions */

static int by_number(const void *a, const void *b)
{
	const struct file_meta *const *x = a;
	const struct file_meta *const *y = b;

	return ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

static int check_numbers(struct cairn_db *db, const struct file_meta *f,
			 uint64_t last_seqno)
{
	if (f->number >= version_set_next_file_number(db->versions))
		return violated(f, "its number was not handed out");
	if (!f->seqnos_known)
		return CAIRN_OK;
	if (f->smallest_seqno > f->largest_seqno)
		return violated(f, "its sequence numbers are the wrong way "
				   "round");
	if (f->largest_seqno > last_seqno)
		return violated(f, "its largest sequence number is above the "
				   "last one");
	return CAIRN_OK;
}

static int check_files(struct cairn_db *db, const struct version *v,
		       uint64_t last_seqno)
{
	const struct file_meta **all;
	size_t n = 0;
	int err = CAIRN_OK;

	for (int level = 0; level < CAIRN_LEVELS; level++)
		n += v->level[level].n;
	all = calloc(n ? n : 1, sizeof(*all));
	if (!all)
		return error_nomem();
	n = 0;
	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; i < v->level[level].n; i++)
			all[n++] = v->level[level].files[i];
	qsort(all, n, sizeof(*all), by_number);
	for (size_t i = 0; i < n && !err; i++) {
		err = check_numbers(db, all[i], last_seqno);
		if (!err && i && all[i]->number == all[i - 1]->number)
			err = violated(all[i], "is live twice");
	}
	free(all);
	return err;
}

/* The sublevel that f stands in; n_sublevels when it is in none. */
static size_t sublevel_of(const struct version *v, const struct file_meta *f)
{
	for (size_t s = 0; s < v->n_sublevels; s++)
		for (size_t i = 0; i < v->sublevel[s].n; i++)
			if (v->sublevel[s].files[i] == f)
				return s;
	return v->n_sublevels;
}

static int check_sublevel(const struct version_files *sub)
{
	for (size_t i = 1; i < sub->n; i++)
		if (!file_meta_before(sub->files[i - 1], sub->files[i]))
			return violated(sub->files[i],
					"overlaps one of its sublevel");
	return CAIRN_OK;
}

static int check_sublevels(const struct version *v)
{
	const struct version_files *l0 = &v->level[0];
	size_t total = 0;
	int err = CAIRN_OK;

	for (size_t s = 0; s < v->n_sublevels && !err; s++) {
		total += v->sublevel[s].n;
		err = check_sublevel(&v->sublevel[s]);
	}
	if (!err && total != l0->n)
		err = error_set(CAIRN_ECORRUPT,
				"level 0 has %zu files, its sublevels %zu",
				l0->n, total);
	/* Newest first: what comes later must be lower where they overlap. */
	for (size_t i = 0; i < l0->n && !err; i++) {
		const struct file_meta *f = l0->files[i];
		size_t s = sublevel_of(v, f);

		if (s == v->n_sublevels)
			err = violated(f, "is in no sublevel");
		for (size_t k = i + 1; k < l0->n && !err; k++) {
			const struct file_meta *older = l0->files[k];

			if (!file_meta_before(f, older) &&
			    !file_meta_before(older, f) &&
			    sublevel_of(v, older) >= s)
				err = violated(f, "is not above an older one "
						  "that it overlaps");
		}
	}
	return err;
}

int invariants_of_version(struct cairn_db *db, const struct version *v,
			  uint64_t last_seqno)
{
	int err = version_check(v);

	if (!err)
		err = check_files(db, v, last_seqno);
	if (!err)
		err = check_sublevels(v);
	return err;
}

/* ------------------------------------------------------------------ tables */

/* What is in a table. */
struct census {
	uint64_t points;
	uint64_t deletions;
	uint64_t merges;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	struct buf first; /* encoded internal keys */
	struct buf last;
};

static void census_fini(struct census *c)
{
	buf_fini(&c->first);
	buf_fini(&c->last);
}

static int encode(const struct ikey *key, struct buf *to)
{
	int err = buf_set(to, key->user_key);

	return err ? err : buf_append_le64(to, key->trailer);
}

static int count_entry(struct census *c, const struct file_meta *f,
		       const struct ikey *key)
{
	uint64_t seqno = ikey_seqno(key);
	uint8_t kind = ikey_kind(key);
	struct ikey last;
	int err;

	if (c->points && (!ikey_decode(buf_slice(&c->last), &last) ||
			  ikey_cmp(&last, key) >= 0))
		return violated(f, "its keys are out of order");
	if (!c->points++) {
		c->smallest_seqno = seqno;
		err = encode(key, &c->first);
		if (err)
			return err;
	}
	c->deletions += kind == KIND_DELETE || kind == KIND_SINGLE_DELETE;
	c->merges += kind == KIND_MERGE;
	if (seqno < c->smallest_seqno)
		c->smallest_seqno = seqno;
	if (seqno > c->largest_seqno)
		c->largest_seqno = seqno;
	return encode(key, &c->last);
}

static int take_census(struct cairn_db *db, const struct file_meta *f,
		       struct census *c, bool *unreadable)
{
	struct iter *it;
	int err;

	*unreadable = true;
	err = table_cache_iter_new(db->tables, f->number, f->size,
				   TABLE_SCAN_BULK, &it);
	if (err)
		return err;
	*unreadable = false;
	for (iter_first(it); it->valid && !err; iter_next(it))
		err = count_entry(c, f, &it->key);
	if (!err && it->status) {
		err = it->status;
		*unreadable = true;
	}
	iter_close(it);
	return err;
}

static int check_counts(const struct file_meta *f, const struct table_props *p,
			const struct census *c)
{
	uint64_t entries =
		atomic_load_explicit(&f->entries, memory_order_relaxed);

	/* Tables of LevelDB do not say. */
	if (!p->entries && !p->data_blocks)
		return CAIRN_OK;
	if (p->entries != c->points + p->range_deletions)
		return violated(f, "its properties count other entries");
	if (p->deletions != c->deletions + p->range_deletions)
		return violated(f, "its properties count other deletions");
	if (p->merges != c->merges)
		return violated(f, "its properties count other operands");
	if (entries && entries != p->entries)
		return violated(f, "it is known to have other entries");
	return CAIRN_OK;
}

/* The bounds are those of the entries, but for range tombstones. */
static int check_bounds(const struct file_meta *f, const struct table_props *p,
			const struct census *c)
{
	bool exact = !p->range_deletions;
	struct ikey first, last;

	if (!c->points)
		return exact ? violated(f, "it is empty") : CAIRN_OK;
	if (!ikey_decode(buf_slice(&c->first), &first) ||
	    !ikey_decode(buf_slice(&c->last), &last))
		return violated(f, "its keys are none");
	if (ikey_cmp(&first, &f->smallest_key) < 0 ||
	    ikey_cmp(&last, &f->largest_key) > 0)
		return violated(f, "its keys are out of its bounds");
	if (exact && (ikey_cmp(&first, &f->smallest_key) ||
		      ikey_cmp(&last, &f->largest_key)))
		return violated(f, "its bounds are wider than its keys");
	if (!f->seqnos_known)
		return CAIRN_OK;
	if (c->smallest_seqno < f->smallest_seqno ||
	    c->largest_seqno > f->largest_seqno)
		return violated(f, "it has sequence numbers out of its bounds");
	if (exact && (c->smallest_seqno > f->smallest_seqno ||
		      c->largest_seqno < f->largest_seqno))
		return violated(f, "its sequence numbers do not reach its "
				   "bounds");
	return CAIRN_OK;
}

/* Outputs cut their tombstones to what they hold. */
static int check_tombstones(const struct file_meta *f,
			    const struct range_dels *d)
{
	for (size_t i = 0; d && i < d->n_tombs; i++) {
		struct range_del t = range_dels_tomb(d, i);

		if (slice_cmp(t.start, f->smallest_key.user_key) < 0 ||
		    slice_cmp(t.end, f->largest_key.user_key) > 0)
			return violated(f, "a range tombstone is out of its "
					   "bounds");
		if (f->seqnos_known &&
		    (t.seqno < f->smallest_seqno || t.seqno > f->largest_seqno))
			return violated(f, "a range tombstone has a sequence "
					   "number out of its bounds");
	}
	return CAIRN_OK;
}

int invariants_of_table(struct cairn_db *db, const struct file_meta *f,
			bool *unreadable)
{
	struct census c = { 0 };
	const struct table *t;
	struct table_ref *ref;
	int err = take_census(db, f, &c, unreadable);

	if (err)
		goto out;
	err = table_cache_get(db->tables, f->number, f->size, &ref);
	if (err) {
		*unreadable = true;
		goto out;
	}
	t = table_ref_table(ref);
	err = check_counts(f, table_props(t), &c);
	if (!err)
		err = check_bounds(f, table_props(t), &c);
	if (!err)
		err = check_tombstones(f, table_range_dels(t));
	table_cache_release(db->tables, ref);
out:
	census_fini(&c);
	return err;
}

/* ----------------------------------------------------------- dropped files */

/* The tombstones of f, cut to the keys that they count for without doubt. */
static int list_tombstones(struct cairn_db *db, const struct file_meta *f,
			   struct range_del_list *list, bool *unreadable)
{
	const struct range_dels *d;
	struct table_ref *ref;
	int err = table_cache_get(db->tables, f->number, f->size, &ref);

	if (err) {
		*unreadable = true;
		return err;
	}
	d = table_range_dels(table_ref_table(ref));
	for (size_t i = 0; d && !err && i < d->n_tombs; i++) {
		struct range_del t = range_dels_tomb(d, i);

		if (slice_cmp(t.start, f->smallest_key.user_key) < 0)
			t.start = f->smallest_key.user_key;
		if (slice_cmp(t.end, f->largest_key.user_key) > 0)
			t.end = f->largest_key.user_key;
		err = range_del_list_add(list, &t);
	}
	table_cache_release(db->tables, ref);
	return err;
}

/* Those of all files that lie above g and overlap it. */
static int list_above(struct cairn_db *db, const struct version *v, int level,
		      const struct file_meta *g, struct range_del_list *list,
		      bool *unreadable)
{
	int err = CAIRN_OK;

	for (int l = 0; !err && l <= level; l++)
		for (size_t i = 0; !err && i < v->level[l].n; i++) {
			const struct file_meta *f = v->level[l].files[i];

			/* Of level 0 those before it are newer. */
			if (l == level && (l > 0 || f == g))
				break;
			if (!file_meta_before(f, g) && !file_meta_before(g, f))
				err = list_tombstones(db, f, list, unreadable);
		}
	return err;
}

/* Whether a snapshot sees the seqno but not that the span is deleted. */
static bool is_seen(const struct range_dels *d, size_t span, uint64_t seqno,
		    const uint64_t *snapshots, size_t n)
{
	size_t i = 0;

	while (i < n && snapshots[i] < seqno)
		i++;
	/* What nobody sees yet, somebody is about to see. */
	return i == n || !d || span >= d->n ||
	       range_dels_newest(d, span, snapshots[i]) <= seqno;
}

static int check_dead_entries(struct cairn_db *db, const struct file_meta *g,
			      const struct range_dels *d,
			      const uint64_t *snapshots, size_t n,
			      bool *unreadable)
{
	size_t span = 0;
	struct iter *it;
	int err = table_cache_iter_new(db->tables, g->number, g->size,
				       TABLE_SCAN_BULK, &it);

	if (err) {
		*unreadable = true;
		return err;
	}
	for (iter_first(it); it->valid && !err; iter_next(it)) {
		if (d)
			span = range_dels_find(d, it->key.user_key, span);
		if (is_seen(d, span, ikey_seqno(&it->key), snapshots, n))
			err = violated(g, "is dropped with an entry that is "
					  "not deleted");
	}
	if (!err && it->status) {
		*unreadable = true;
		err = it->status;
	}
	iter_close(it);
	return err;
}

static int check_dead_ranges(struct cairn_db *db, const struct file_meta *g,
			     const struct range_dels *d,
			     const uint64_t *snapshots, size_t n,
			     bool *unreadable)
{
	struct range_del_list own = { 0 };
	struct range_dels *set = NULL;
	int err = list_tombstones(db, g, &own, unreadable);

	if (!err)
		err = range_dels_new(&own, &set);
	for (size_t i = 0; !err && set && i < set->n_tombs; i++) {
		struct range_del t = range_dels_tomb(set, i);
		size_t span = d ? range_dels_find(d, t.start, 0) : 0;

		for (;; span++) {
			if (is_seen(d, span, t.seqno, snapshots, n)) {
				err = violated(g, "is dropped with a range "
						  "tombstone that counts");
				break;
			}
			if (slice_cmp(t.end, d->bound[span + 1]) <= 0)
				break;
		}
	}
	range_dels_unref(set);
	range_del_list_fini(&own);
	return err;
}

int invariants_of_drop(struct cairn_db *db, const struct version *v,
		       const struct compaction_plan *plan,
		       const uint64_t *snapshots, size_t n, bool *unreadable)
{
	int err = CAIRN_OK;

	*unreadable = false;
	for (size_t i = 0; !err && i < plan->n_inputs[0]; i++) {
		const struct file_meta *g = plan->inputs[0][i];
		struct range_del_list list = { 0 };
		struct range_dels *d = NULL;

		err = list_above(db, v, plan->from_level, g, &list, unreadable);
		if (!err)
			err = range_dels_new(&list, &d);
		if (!err)
			err = check_dead_entries(db, g, d, snapshots, n,
						 unreadable);
		if (!err)
			err = check_dead_ranges(db, g, d, snapshots, n,
						unreadable);
		range_dels_unref(d);
		range_del_list_fini(&list);
	}
	return err;
}

/* -------------------------------------------------------------- every edit */

static void end(struct cairn_db *db)
{
	fprintf(stderr, "%s: invariant violated: %s\n", db->dir,
		cairn_errmsg());
	abort();
}

void invariants_assert_dead(struct cairn_db *db, const struct version *v,
			    const struct compaction_plan *plan,
			    const uint64_t *snapshots, size_t n)
{
	bool unreadable;

	if (invariants_of_drop(db, v, plan, snapshots, n, &unreadable) ==
		    CAIRN_ECORRUPT &&
	    !unreadable)
		end(db);
}

static bool is_moved(const struct version_edit *edit, uint64_t number)
{
	for (size_t i = 0; i < edit->n_deleted; i++)
		if (edit->deleted[i].number == number)
			return true;
	return false;
}

void invariants_assert(struct cairn_db *db, const struct version *v,
		       const struct version_edit *edit)
{
	bool unreadable;

	if (invariants_of_version(db, v, edit->last_seqno) == CAIRN_ECORRUPT)
		end(db);
	for (size_t i = 0; i < edit->n_added; i++) {
		const struct file_meta *f = edit->added[i].meta;

		if (!is_moved(edit, f->number) &&
		    invariants_of_table(db, f, &unreadable) == CAIRN_ECORRUPT &&
		    !unreadable)
			end(db);
	}
}
