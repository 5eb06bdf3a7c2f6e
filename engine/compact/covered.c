/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/covered.h"

#include <stdlib.h>

#include "engine/base/error.h"

/* Of so many tombstones over one span the oldest one that will do is looked
 * for: the older it is, the fewer snapshots it matters for. */
#define STACK_MAX 16

void file_list_fini(struct file_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		file_meta_unref(l->files[i]);
	free(l->files);
	*l = (struct file_list){ 0 };
}

int file_list_add(struct file_list *l, struct file_meta *f)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct file_meta **more =
			realloc(l->files, cap * sizeof(struct file_meta *));

		if (!more)
			return error_nomem();
		l->files = more;
		l->cap = cap;
	}
	l->files[l->n++] = file_meta_ref(f);
	return CAIRN_OK;
}

/* -------------------------------------------------------------- one file */

/* An old tombstone over the span that is above seqno; 0: there is none. */
static uint64_t oldest_above(const struct range_dels *d, size_t span,
			     uint64_t seqno)
{
	uint64_t found = 0;
	uint64_t limit = SEQNO_MAX;

	for (int i = 0; i < STACK_MAX && limit > seqno; i++) {
		uint64_t t = range_dels_newest(d, span, limit);

		if (t <= seqno)
			break;
		found = t;
		limit = t - 1;
	}
	return found;
}

/* Whether all keys of g are before key. */
static bool ends_before(const struct file_meta *g, struct cairn_slice key)
{
	int c = slice_cmp(g->largest_key.user_key, key);

	return c < 0 || (c == 0 && file_meta_ends_before_largest(g));
}

/* From which seqno on g, which begins in the span, is deleted; 0: it is not. */
static uint64_t dead_by(const struct range_dels *d, const struct file_meta *g,
			size_t span)
{
	uint64_t dead = 0;

	for (; span < d->n; span++) {
		uint64_t t = oldest_above(d, span, g->largest_seqno);

		if (!t)
			return 0;
		if (t > dead)
			dead = t;
		if (ends_before(g, d->bound[span + 1]))
			return dead;
	}
	return 0;
}

static int consider(const struct range_dels *d, struct file_meta *g,
		    size_t span, struct file_list *out)
{
	uint64_t was =
		atomic_load_explicit(&g->dead_seqno, memory_order_relaxed);
	uint64_t dead;

	if (!g->seqnos_known)
		return CAIRN_OK;
	dead = dead_by(d, g, span);
	if (!dead || (was && was <= dead))
		return CAIRN_OK;
	/* One thread learns; others only read. */
	atomic_store_explicit(&g->dead_seqno, dead, memory_order_relaxed);
	return file_list_add(out, g);
}

/* ------------------------------------------------------------- one level */

static bool is_gap(const struct range_dels *d, size_t span)
{
	return !range_dels_newest(d, span, SEQNO_MAX);
}

/* The first file of a sorted level that begins at or behind key. */
static size_t first_from(const struct version_files *files,
			 struct cairn_slice key)
{
	struct ikey place = { key, UINT64_MAX };
	size_t i = version_find_file(files, &place);

	while (i < files->n &&
	       slice_cmp(files->files[i]->smallest_key.user_key, key) < 0)
		i++;
	return i;
}

/* Files of a sorted level below f. Spans and files are passed together, with a
 * search wherever one of them has nothing to do with the other. */
static int find_in_level(const struct version_files *files,
			 const struct file_meta *f, const struct range_dels *d,
			 struct file_list *out)
{
	size_t i = first_from(files, f->smallest_key.user_key);
	size_t span = 0;
	int err = CAIRN_OK;

	while (!err && i < files->n) {
		struct file_meta *g = files->files[i];
		struct cairn_slice begin = g->smallest_key.user_key;

		if (!ends_before(g, f->largest_key.user_key) ||
		    slice_cmp(begin, d->bound[d->n]) >= 0)
			break;
		if (slice_cmp(begin, d->bound[0]) < 0) {
			i = first_from(files, d->bound[0]);
			continue;
		}
		span = range_dels_find(d, begin, span);
		if (is_gap(d, span)) {
			i = first_from(files, d->bound[span + 1]);
			continue;
		}
		err = consider(d, g, span, out);
		i++;
	}
	return err;
}

/* Files of level 0 that are older than the one at index. */
static int find_in_level0(const struct version_files *files, size_t index,
			  const struct range_dels *d, struct file_list *out)
{
	const struct file_meta *f = files->files[index];
	int err = CAIRN_OK;

	for (size_t i = index + 1; !err && i < files->n; i++) {
		struct file_meta *g = files->files[i];
		struct cairn_slice begin = g->smallest_key.user_key;
		size_t span;

		if (slice_cmp(begin, f->smallest_key.user_key) < 0 ||
		    !ends_before(g, f->largest_key.user_key))
			continue;
		span = range_dels_find(d, begin, 0);
		if (span < d->n)
			err = consider(d, g, span, out);
	}
	return err;
}

int covered_find(const struct version *v, const struct file_meta *f,
		 const struct range_dels *d, struct file_list *out)
{
	size_t index = 0;
	int level = version_level_of(v, f, &index);
	int err = CAIRN_OK;

	if (level < 0)
		return CAIRN_OK;
	if (level == 0)
		err = find_in_level0(&v->level[0], index, d, out);
	for (level++; !err && level < CAIRN_LEVELS; level++)
		err = find_in_level(&v->level[level], f, d, out);
	return err;
}
