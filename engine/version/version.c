/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/version.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/l0.h"

int version_new(struct version **out)
{
	struct version *v = calloc(1, sizeof(*v));

	if (!v)
		return error_nomem();
	atomic_init(&v->refs, 1);
	list_init(&v->held);
	*out = v;
	return CAIRN_OK;
}

struct version *version_ref(struct version *v)
{
	uint32_t was =
		atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);

	assert(was > 0 && was < UINT32_MAX);
	(void)was;
	return v;
}

static void version_free(struct version *v)
{
	assert(list_empty(&v->held));
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		struct version_files *files = &v->level[level];

		for (size_t i = 0; i < files->n; i++)
			file_meta_unref(files->files[i]);
		free(files->files);
	}
	l0_sublevels_free(v->sublevel, v->n_sublevels);
	free(v);
}

void version_unref(struct version *v)
{
	uint32_t was;

	if (!v)
		return;
	/* Release pairs with the acquire of whoever drops the last one. */
	was = atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel);
	assert(was > 0);
	if (was == 1)
		version_free(v);
}

/* -------------------------------------------------------------- applying */

/* An edit's files, sorted so that each file of the base is looked up fast. */
struct change {
	struct version_edit_deletion *deleted; /* by level, then number */
	bool *found;                           /* ... in the base */
	uint64_t *added;                       /* numbers, ascending */
	struct version_edit_file *files; /* by level, then level's order */
	const struct version_edit *edit;
};

static int cmp_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int cmp_number(const void *a, const void *b)
{
	return cmp_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

static int cmp_deletion(const void *a, const void *b)
{
	const struct version_edit_deletion *x = a;
	const struct version_edit_deletion *y = b;

	if (x->level != y->level)
		return x->level - y->level;
	return cmp_u64(x->number, y->number);
}

/* The order of the files of one level. */
static int cmp_files(int level, struct file_meta *const *a,
		     struct file_meta *const *b)
{
	int c;

	if (level == 0)
		return l0_newest_first(a, b);
	c = ikey_cmp(&(*a)->smallest_key, &(*b)->smallest_key);
	return c ? c : cmp_u64((*a)->number, (*b)->number);
}

static int cmp_added(const void *a, const void *b)
{
	const struct version_edit_file *x = a;
	const struct version_edit_file *y = b;

	if (x->level != y->level)
		return x->level - y->level;
	return cmp_files(x->level, &x->meta, &y->meta);
}

static void change_fini(struct change *c)
{
	free(c->deleted);
	free(c->found);
	free(c->added);
	free(c->files);
}

static int added_twice(uint64_t number)
{
	return error_set(CAIRN_ECORRUPT, "table %06" PRIu64 " is added twice",
			 number);
}

static int change_init(struct change *c, const struct version_edit *e)
{
	*c = (struct change){ .edit = e };
	/* One more than needed, so that none is no special case. */
	c->deleted = calloc(e->n_deleted + 1, sizeof(*c->deleted));
	c->found = calloc(e->n_deleted + 1, sizeof(*c->found));
	c->added = calloc(e->n_added + 1, sizeof(*c->added));
	c->files = calloc(e->n_added + 1, sizeof(*c->files));
	if (!c->deleted || !c->found || !c->added || !c->files) {
		change_fini(c);
		return error_nomem();
	}
	if (e->n_deleted)
		memcpy(c->deleted, e->deleted,
		       e->n_deleted * sizeof(*e->deleted));
	if (e->n_added)
		memcpy(c->files, e->added, e->n_added * sizeof(*e->added));
	for (size_t i = 0; i < e->n_added; i++)
		c->added[i] = e->added[i].meta->number;
	qsort(c->deleted, e->n_deleted, sizeof(*c->deleted), cmp_deletion);
	qsort(c->files, e->n_added, sizeof(*c->files), cmp_added);
	qsort(c->added, e->n_added, sizeof(*c->added), cmp_number);
	for (size_t i = 1; i < e->n_added; i++) {
		if (c->added[i] == c->added[i - 1]) {
			int err = added_twice(c->added[i]);

			change_fini(c);
			return err;
		}
	}
	return CAIRN_OK;
}

static bool is_deleted(struct change *c, int level, uint64_t number)
{
	struct version_edit_deletion key = { level, number };
	struct version_edit_deletion *d;

	d = bsearch(&key, c->deleted, c->edit->n_deleted, sizeof(key),
		    cmp_deletion);
	if (!d)
		return false;
	c->found[d - c->deleted] = true;
	return true;
}

static bool is_added(const struct change *c, uint64_t number)
{
	return bsearch(&number, c->added, c->edit->n_added, sizeof(number),
		       cmp_number) != NULL;
}

static void append_file(struct version_files *to, struct file_meta *f)
{
	to->files[to->n++] = file_meta_ref(f);
	to->bytes += f->size;
}

/*
 * Merge the files of a level that stay with those that come. first is the
 * index of the level's first file in c->files and moves to the next level's.
 */
static int apply_level(const struct version_files *from, struct change *c,
		       int level, size_t *first, struct version_files *to)
{
	size_t end = *first;
	size_t room;

	while (end < c->edit->n_added && c->files[end].level == level)
		end++;
	room = from->n + (end - *first);
	if (!room)
		return CAIRN_OK;
	to->files = malloc(room * sizeof(*to->files));
	if (!to->files)
		return error_nomem();
	for (size_t i = 0; i < from->n; i++) {
		struct file_meta *f = from->files[i];

		if (is_deleted(c, level, f->number))
			continue;
		if (is_added(c, f->number))
			return added_twice(f->number);
		while (*first < end &&
		       cmp_files(level, &c->files[*first].meta, &f) < 0)
			append_file(to, c->files[(*first)++].meta);
		append_file(to, f);
	}
	while (*first < end)
		append_file(to, c->files[(*first)++].meta);
	return CAIRN_OK;
}

static int check_deletions(const struct change *c)
{
	for (size_t i = 0; i < c->edit->n_deleted; i++)
		if (!c->found[i])
			return error_set(CAIRN_ECORRUPT,
					 "table %06" PRIu64
					 " is deleted from level %d, where it "
					 "is not",
					 c->deleted[i].number,
					 c->deleted[i].level);
	return CAIRN_OK;
}

static int check_level(const struct version *v, int level);

/* Levels that the edit does not touch were checked when they were made. */
static int check_changed(const struct version *v, const struct change *c)
{
	bool changed[CAIRN_LEVELS] = { false };

	for (size_t i = 0; i < c->edit->n_deleted; i++)
		changed[c->deleted[i].level] = true;
	for (size_t i = 0; i < c->edit->n_added; i++)
		changed[c->files[i].level] = true;
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		int err = changed[level] ? check_level(v, level) : CAIRN_OK;

		if (err)
			return err;
	}
	return CAIRN_OK;
}

int version_apply(const struct version *base, const struct version_edit *edit,
		  struct version **out)
{
	struct version *v = NULL;
	struct change c;
	size_t next = 0;
	int err;

	err = change_init(&c, edit);
	if (err)
		return err;
	err = version_new(&v);
	for (int level = 0; !err && level < CAIRN_LEVELS; level++)
		err = apply_level(&base->level[level], &c, level, &next,
				  &v->level[level]);
	if (!err)
		err = check_deletions(&c);
	if (!err)
		err = check_changed(v, &c);
	if (!err)
		err = l0_sublevels_new(&v->level[0], &v->sublevel,
				       &v->n_sublevels);
	if (!err) {
		*out = v;
		v = NULL;
	}
	version_unref(v);
	change_fini(&c);
	return err;
}

/* -------------------------------------------------------------- checking */

static int check_bounds(const struct file_meta *f, int level)
{
	if (ikey_cmp(&f->smallest_key, &f->largest_key) <= 0)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "table %06" PRIu64
			 " of level %d: its largest key is below its smallest",
			 f->number, level);
}

/* older must come after newer in level 0. */
static int check_l0_pair(const struct file_meta *newer,
			 const struct file_meta *older)
{
	bool ok;

	if (l0_newest_first(&newer, &older) >= 0)
		return error_set(CAIRN_ECORRUPT,
				 "tables %06" PRIu64 " and %06" PRIu64
				 " of level 0 are out of order",
				 newer->number, older->number);
	if (!newer->seqnos_known || !older->seqnos_known)
		return CAIRN_OK;
	if (older->smallest_seqno == older->largest_seqno)
		/* One seqno: RocksDB takes it for an ingested file. */
		ok = older->smallest_seqno == 0 ||
		     older->smallest_seqno < newer->largest_seqno;
	else
		ok = newer->smallest_seqno > older->smallest_seqno;
	if (ok)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "tables %06" PRIu64 " (sequence numbers %" PRIu64
			 " to %" PRIu64 ") and %06" PRIu64 " (%" PRIu64
			 " to %" PRIu64 ") of level 0 are not one above the "
			 "other",
			 newer->number, newer->smallest_seqno,
			 newer->largest_seqno, older->number,
			 older->smallest_seqno, older->largest_seqno);
}

static int check_sorted_pair(const struct file_meta *left,
			     const struct file_meta *right, int level)
{
	if (ikey_cmp(&left->largest_key, &right->smallest_key) < 0)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "tables %06" PRIu64 " and %06" PRIu64
			 " of level %d overlap",
			 left->number, right->number, level);
}

static int check_level(const struct version *v, int level)
{
	const struct version_files *files = &v->level[level];
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < files->n; i++) {
		const struct file_meta *f = files->files[i];

		err = check_bounds(f, level);
		if (err || !i)
			continue;
		err = level ? check_sorted_pair(files->files[i - 1], f, level)
			    : check_l0_pair(files->files[i - 1], f);
	}
	return err;
}

int version_check(const struct version *v)
{
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		int err = check_level(v, level);

		if (err)
			return err;
	}
	return CAIRN_OK;
}

/* --------------------------------------------------------------- looking */

size_t version_find_file(const struct version_files *files,
			 const struct ikey *key)
{
	size_t lo = 0;
	size_t hi = files->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (ikey_cmp(&files->files[mid]->largest_key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct file_meta *version_file_for(const struct version_files *files,
				   struct cairn_slice user_key)
{
	/*
	 * Above every entry of the user key, but behind a bound that says
	 * where a range tombstone ends (the largest seqno with a higher kind):
	 * such a file does not hold the key.
	 */
	struct ikey key = ikey_make(user_key, SEQNO_MAX, KIND_DELETE);
	size_t i = version_find_file(files, &key);
	struct file_meta *f;

	if (i == files->n)
		return NULL;
	f = files->files[i];
	return slice_cmp(f->smallest_key.user_key, user_key) <= 0 ? f : NULL;
}

/* What is known of a version's range tombstones. */
enum range_dels_known {
	RANGE_DELS_UNKNOWN, /* yet: not all tables have been opened */
	RANGE_DELS_NONE,
	RANGE_DELS_SOME,
};

static enum range_dels_known look_for_range_dels(const struct version *v)
{
	enum range_dels_known known = RANGE_DELS_NONE;

	for (int level = 0; level < CAIRN_LEVELS; level++) {
		for (size_t i = 0; i < v->level[level].n; i++) {
			const struct file_meta *f = v->level[level].files[i];

			/* Acquire: the entries are stored last. */
			if (!atomic_load_explicit(&f->entries,
						  memory_order_acquire))
				return RANGE_DELS_UNKNOWN;
			if (atomic_load_explicit(&f->range_deletions,
						 memory_order_relaxed))
				known = RANGE_DELS_SOME;
		}
	}
	return known;
}

int version_level_of(const struct version *v, const struct file_meta *f,
		     size_t *index)
{
	for (int level = CAIRN_LEVELS - 1; level > 0; level--) {
		size_t i = version_find_file(&v->level[level], &f->largest_key);

		if (i == v->level[level].n || v->level[level].files[i] != f)
			continue;
		*index = i;
		return level;
	}
	for (size_t i = 0; i < v->level[0].n; i++) {
		if (v->level[0].files[i] != f)
			continue;
		*index = i;
		return 0;
	}
	return -1;
}

bool version_may_have_range_dels(struct version *v)
{
	int known = atomic_load_explicit(&v->range_dels, memory_order_relaxed);

	if (known == RANGE_DELS_UNKNOWN) {
		known = (int)look_for_range_dels(v);
		atomic_store_explicit(&v->range_dels, known,
				      memory_order_relaxed);
	}
	return known != RANGE_DELS_NONE;
}

uint64_t version_bytes(const struct version *v)
{
	uint64_t bytes = 0;

	for (int level = 0; level < CAIRN_LEVELS; level++)
		bytes += v->level[level].bytes;
	return bytes;
}
