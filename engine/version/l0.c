/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/l0.h"

#include <stdlib.h>

#include "engine/base/error.h"

static int descending(uint64_t a, uint64_t b)
{
	return (a < b) - (a > b);
}

int l0_newest_first(const void *a, const void *b)
{
	const struct file_meta *f = *(struct file_meta *const *)a;
	const struct file_meta *g = *(struct file_meta *const *)b;
	int c;

	/*
	 * LevelDB orders level 0 by file number and records no seqnos. Whatever
	 * has seqnos was written after LevelDB left, so it is newer.
	 */
	if (f->seqnos_known != g->seqnos_known)
		return f->seqnos_known ? -1 : 1;
	c = descending(f->largest_seqno, g->largest_seqno);
	if (!c)
		c = descending(f->smallest_seqno, g->smallest_seqno);
	if (!c)
		c = descending(f->number, g->number);
	return c;
}

/* Index of the first file that does not end before f begins. */
static size_t first_not_before(const struct version_files *sub,
			       const struct file_meta *f)
{
	size_t lo = 0;
	size_t hi = sub->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (file_meta_before(sub->files[mid], f))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Whether f overlaps a file of sub; if not, where it belongs. */
static bool overlaps_sublevel(const struct version_files *sub,
			      const struct file_meta *f, size_t *at)
{
	*at = first_not_before(sub, f);
	return *at < sub->n && !file_meta_before(f, sub->files[*at]);
}

static int insert_at(struct version_files *sub, size_t at, struct file_meta *f)
{
	/* Room for a power of two of files: full when n is one. */
	if ((sub->n & (sub->n - 1)) == 0) {
		size_t cap = sub->n ? 2 * sub->n : 1;
		struct file_meta **files;

		files = realloc(sub->files, cap * sizeof(*files));
		if (!files)
			return error_nomem();
		sub->files = files;
	}
	memmove(sub->files + at + 1, sub->files + at,
		(sub->n - at) * sizeof(*sub->files));
	sub->files[at] = f;
	sub->n++;
	sub->bytes += f->size;
	return CAIRN_OK;
}

int l0_sublevels_new(const struct version_files *level,
		     struct version_files **out, size_t *n_out)
{
	struct version_files *sub;
	size_t n = 0;
	int err = CAIRN_OK;

	if (!level->n) {
		*out = NULL;
		*n_out = 0;
		return CAIRN_OK;
	}
	/* At worst each file is a sublevel of its own. */
	sub = calloc(level->n, sizeof(*sub));
	if (!sub)
		return error_nomem();
	for (size_t i = level->n; !err && i-- > 0;) {
		struct file_meta *f = level->files[i];
		size_t at = 0;
		size_t s = n;

		/* Down from the top to the first sublevel in the way. */
		while (s > 0) {
			size_t pos;

			if (overlaps_sublevel(&sub[s - 1], f, &pos))
				break;
			at = pos;
			s--;
		}
		if (s == n) {
			at = 0;
			n++;
		}
		err = insert_at(&sub[s], at, f);
	}
	if (err) {
		l0_sublevels_free(sub, n);
		return err;
	}
	*out = sub;
	*n_out = n;
	return CAIRN_OK;
}

void l0_sublevels_free(struct version_files *sublevel, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(sublevel[i].files);
	free(sublevel);
}
