/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/inode.h"

#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/sync.h"
#include "fs/mount/keyfile.h"

#define BUCKETS_MIN 256

/*
 * Two hash tables over the same inodes: by identity, to find them, and by
 * st_ino, to keep that unique: a file renamed away keeps its number, so the
 * next file of the old name must get another one.
 */
struct inodes {
	struct mutex mu;
	struct inode **by_id;
	struct inode **by_ino;
	size_t n_buckets; /* of each; a power of two */
	_Atomic size_t n; /* changed with mu */
};

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t hash_of(enum inode_kind kind, int64_t rev,
			struct cairn_slice id, size_t dir_len)
{
	uint64_t h = hash64(id.data, id.len);

	/* dir_len: "a" + cut "b" is not the directory "ab". */
	h = mix(h + (uint64_t)kind * 0x9e3779b97f4a7c15ull);
	h = mix(h + (uint64_t)rev);
	return mix(h + dir_len);
}

static uint64_t hash_id(const struct inode_id *id)
{
	return hash_of(id->kind, id->rev, id->id, id->dir_len);
}

static bool is_it(const struct inode *i, uint64_t hash,
		  const struct inode_id *id)
{
	return i->hash == hash && !i->gone && i->kind == id->kind &&
	       i->rev == id->rev && i->dir_len == id->dir_len &&
	       slice_eq(i->id, id->id);
}

int inodes_new(struct inodes **out)
{
	struct inodes *t = calloc(1, sizeof(*t));

	if (!t)
		return error_nomem();
	t->n_buckets = BUCKETS_MIN;
	t->by_id = calloc(t->n_buckets, sizeof(struct inode *));
	t->by_ino = calloc(t->n_buckets, sizeof(struct inode *));
	if (!t->by_id || !t->by_ino) {
		free(t->by_id);
		free(t->by_ino);
		free(t);
		return error_nomem();
	}
	mutex_init(&t->mu);
	*out = t;
	return CAIRN_OK;
}

static struct inode **id_bucket(struct inodes *t, uint64_t hash)
{
	return &t->by_id[hash & (t->n_buckets - 1)];
}

static struct inode **ino_bucket(struct inodes *t, uint64_t ino)
{
	return &t->by_ino[ino & (t->n_buckets - 1)];
}

static void link_id(struct inodes *t, struct inode *i)
{
	struct inode **b = id_bucket(t, i->hash);

	i->next_by_id = *b;
	*b = i;
}

static void unlink_id(struct inodes *t, struct inode *i)
{
	struct inode **p = id_bucket(t, i->hash);

	while (*p != i)
		p = &(*p)->next_by_id;
	*p = i->next_by_id;
	i->next_by_id = NULL;
}

static void link_ino(struct inodes *t, struct inode *i)
{
	struct inode **b = ino_bucket(t, i->st_ino);

	i->next_by_ino = *b;
	*b = i;
}

static void unlink_ino(struct inodes *t, struct inode *i)
{
	struct inode **p = ino_bucket(t, i->st_ino);

	while (*p != i)
		p = &(*p)->next_by_ino;
	*p = i->next_by_ino;
}

/* Twice the buckets. Without memory the chains just stay longer. */
static void grow(struct inodes *t)
{
	size_t was = t->n_buckets;
	struct inode **id = calloc(was * 2, sizeof(struct inode *));
	struct inode **ino = calloc(was * 2, sizeof(struct inode *));
	struct inode **old = t->by_ino;

	if (!id || !ino) {
		free(id);
		free(ino);
		return;
	}
	free(t->by_id);
	t->by_id = id;
	t->by_ino = ino;
	t->n_buckets = was * 2;
	for (size_t b = 0; b < was; b++)
		for (struct inode *i = old[b], *next; i; i = next) {
			next = i->next_by_ino;
			link_ino(t, i);
			if (!i->gone)
				link_id(t, i);
		}
	free(old);
}

static void destroy(struct inode *i)
{
	if (i->file)
		keyfile_unref(i->file);
	free((void *)(uintptr_t)i->id.data);
	free(i);
}

void inodes_free(struct inodes *t)
{
	if (!t)
		return;
	for (size_t b = 0; b < t->n_buckets; b++)
		for (struct inode *i = t->by_ino[b], *next; i; i = next) {
			next = i->next_by_ino;
			destroy(i);
		}
	free(t->by_id);
	free(t->by_ino);
	mutex_fini(&t->mu);
	free(t);
}

uint64_t inodes_count(struct inodes *t)
{
	return t->n;
}

static struct inode *find_locked(struct inodes *t, uint64_t hash,
				 const struct inode_id *id)
{
	struct inode *i = *id_bucket(t, hash);

	assert_held(&t->mu);
	while (i && !is_it(i, hash, id))
		i = i->next_by_id;
	return i;
}

/* The first number from hash on that no live inode has. 0 and 1 are the
 * kernel's. */
static uint64_t free_number(struct inodes *t, uint64_t hash)
{
	uint64_t ino = hash;

	for (;; ino = mix(ino + 1)) {
		struct inode *i = *ino_bucket(t, ino);

		while (i && i->st_ino != ino)
			i = i->next_by_ino;
		if (!i && ino > 1)
			return ino;
	}
}

uint64_t inode_number(struct inodes *t, const struct inode_id *id)
{
	uint64_t hash = hash_id(id), ino;
	struct inode *i;

	mutex_lock(&t->mu);
	i = find_locked(t, hash, id);
	ino = i ? i->st_ino : free_number(t, hash);
	mutex_unlock(&t->mu);
	return ino;
}

struct inode *inode_find(struct inodes *t, const struct inode_id *id)
{
	uint64_t hash = hash_id(id);
	struct inode *i;

	mutex_lock(&t->mu);
	i = find_locked(t, hash, id);
	if (i)
		i->n_refs++;
	mutex_unlock(&t->mu);
	return i;
}

/* Found, with a reference. */
static bool find_open(struct inodes *t, uint64_t hash,
		      const struct inode_id *id, struct inode **out, bool *open)
{
	struct inode *i;

	mutex_lock(&t->mu);
	i = find_locked(t, hash, id);
	if (i) {
		i->n_refs++;
		*open = i->file;
	}
	mutex_unlock(&t->mu);
	*out = i;
	return i;
}

int inode_get_open(struct inodes *t, const struct inode_id *id,
		   struct inode **out, bool *open)
{
	uint64_t hash = hash_id(id);
	struct inode *i, *made = NULL;
	int err = CAIRN_OK;

	if (find_open(t, hash, id, out, open))
		return CAIRN_OK;
	made = malloc(sizeof(*made));
	if (!made)
		return error_nomem();
	*made = (struct inode){ 0 };
	err = slice_dup(id->id, &made->id);
	if (err) {
		free(made);
		return err;
	}
	mutex_lock(&t->mu);
	i = find_locked(t, hash, id); /* somebody may have been faster */
	if (!i) {
		i = made;
		made = NULL;
		i->kind = id->kind;
		i->rev = id->rev;
		i->dir_len = id->dir_len;
		i->hash = hash;
		i->st_ino = free_number(t, hash);
		if (t->n++ > t->n_buckets)
			grow(t);
		link_id(t, i);
		link_ino(t, i);
	}
	i->n_refs++;
	*open = i->file;
	mutex_unlock(&t->mu);
	if (made)
		destroy(made);
	*out = i;
	return CAIRN_OK;
}

int inode_get(struct inodes *t, const struct inode_id *id, struct inode **out)
{
	bool open;

	return inode_get_open(t, id, out, &open);
}

void inode_ref(struct inodes *t, struct inode *i)
{
	mutex_lock(&t->mu);
	i->n_refs++;
	mutex_unlock(&t->mu);
}

void inode_remember(struct inodes *t, struct inode *i)
{
	mutex_lock(&t->mu);
	i->n_lookups++;
	mutex_unlock(&t->mu);
}

void inode_hand_over(struct inodes *t, struct inode *i)
{
	mutex_lock(&t->mu);
	assert(i->n_refs);
	i->n_lookups++;
	i->n_refs--;
	mutex_unlock(&t->mu);
}

/* Take i out of the table when nobody knows it any more. */
static bool take_dead(struct inodes *t, struct inode *i)
{
	assert_held(&t->mu);
	if (i->n_lookups || i->n_refs)
		return false;
	if (!i->gone)
		unlink_id(t, i);
	unlink_ino(t, i);
	t->n--;
	return true;
}

void inode_unref(struct inodes *t, struct inode *i)
{
	bool dead;

	if (!i)
		return;
	mutex_lock(&t->mu);
	assert(i->n_refs);
	i->n_refs--;
	dead = take_dead(t, i);
	mutex_unlock(&t->mu);
	if (dead)
		destroy(i);
}

void inode_forget(struct inodes *t, struct inode *i, uint64_t n)
{
	bool dead;

	mutex_lock(&t->mu);
	assert(i->n_lookups >= n);
	i->n_lookups -= n;
	dead = take_dead(t, i);
	mutex_unlock(&t->mu);
	if (dead)
		destroy(i);
}

int inode_copy_id(struct inodes *t, struct inode *i, struct inode_where *out)
{
	int err;

	mutex_lock(&t->mu);
	err = slice_dup(i->id, &out->id);
	if (!err) {
		out->dir_len = i->dir_len;
		out->gone = i->gone;
		out->row_changes = i->row_changes;
	}
	mutex_unlock(&t->mu);
	return err;
}

static bool is_at(const struct inode *i, const struct inode_where *w)
{
	return i->gone == w->gone && i->dir_len == w->dir_len &&
	       slice_eq(i->id, w->id);
}

bool inode_is_at(struct inodes *t, struct inode *i, const struct inode_where *w)
{
	bool at;

	mutex_lock(&t->mu);
	at = is_at(i, w);
	mutex_unlock(&t->mu);
	return at;
}

void inode_where_fini(struct inode_where *w)
{
	free((void *)(uintptr_t)w->id.data);
	w->id = slice_of(NULL, 0);
}

static void hide_locked(struct inodes *t, struct inode *i)
{
	assert_held(&t->mu);
	if (i->gone)
		return;
	unlink_id(t, i);
	i->gone = true;
}

void inode_hide(struct inodes *t, struct inode *i)
{
	mutex_lock(&t->mu);
	hide_locked(t, i);
	mutex_unlock(&t->mu);
}

void inode_rename(struct inodes *t, struct inode *i, struct cairn_slice id,
		  size_t dir_len)
{
	struct inode_id to = { i->kind, i->rev, id, dir_len };
	uint64_t hash = hash_id(&to);
	struct cairn_slice was;
	struct inode *other;

	mutex_lock(&t->mu);
	other = find_locked(t, hash, &to);
	if (other && other != i)
		hide_locked(t, other);
	if (!i->gone)
		unlink_id(t, i);
	was = i->id;
	i->id = id;
	i->dir_len = dir_len;
	i->hash = hash;
	i->gone = false;
	link_id(t, i);
	mutex_unlock(&t->mu);
	free((void *)(uintptr_t)was.data);
}

static bool is_below(const struct inode *i, struct cairn_slice prefix,
		     struct cairn_slice key)
{
	return (i->kind == INODE_DIR || i->kind == INODE_FILE) && i->rev == 0 &&
	       !i->gone &&
	       (slice_starts_with(i->id, prefix) ||
		(i->kind == INODE_FILE && slice_eq(i->id, key)));
}

int inodes_below(struct inodes *t, struct cairn_slice prefix,
		 struct cairn_slice key, struct inode ***out, size_t *n)
{
	struct inode **list = NULL, **more;
	size_t len = 0, cap = 0;
	int err = CAIRN_OK;

	mutex_lock(&t->mu);
	for (size_t b = 0; b < t->n_buckets && !err; b++)
		for (struct inode *i = t->by_ino[b]; i && !err;
		     i = i->next_by_ino) {
			if (!is_below(i, prefix, key))
				continue;
			if (len == cap) {
				cap = cap ? cap * 2 : 16;
				more = realloc(list,
					       cap * sizeof(struct inode *));
				if (!more) {
					err = error_nomem();
					break;
				}
				list = more;
			}
			i->n_refs++;
			list[len++] = i;
		}
	mutex_unlock(&t->mu);
	if (err) {
		while (len)
			inode_unref(t, list[--len]);
		free(list);
		return err;
	}
	*out = list;
	*n = len;
	return CAIRN_OK;
}

struct keyfile *inode_file(struct inodes *t, struct inode *i)
{
	struct keyfile *f;

	mutex_lock(&t->mu);
	f = i->file;
	if (f)
		keyfile_ref(f);
	mutex_unlock(&t->mu);
	return f;
}

struct inode *inode_find_file(struct inodes *t, const struct inode_id *id,
			      struct keyfile **f)
{
	uint64_t hash = hash_id(id);
	struct inode *i;

	mutex_lock(&t->mu);
	i = find_locked(t, hash, id);
	if (i)
		i->n_refs++;
	*f = i ? i->file : NULL;
	if (*f)
		keyfile_ref(*f);
	mutex_unlock(&t->mu);
	return i;
}

struct keyfile *inode_set_file(struct inodes *t, struct inode *i,
			       struct keyfile *f, const struct inode_where *w)
{
	struct keyfile *lost = NULL;

	mutex_lock(&t->mu);
	if (i->file) {
		lost = f;
		f = i->file;
	} else if (w && (!is_at(i, w) || i->row_changes != w->row_changes)) {
		lost = f;
		f = NULL;
	} else {
		i->file = f;
	}
	if (f)
		keyfile_ref(f);
	mutex_unlock(&t->mu);
	if (lost)
		keyfile_unref(lost);
	return f;
}

void inode_drop_file(struct inodes *t, struct inode *i)
{
	struct keyfile *f = NULL;

	mutex_lock(&t->mu);
	if (i->file && keyfile_has_one_ref(i->file)) {
		f = i->file;
		i->file = NULL;
		i->row_changes++;
	}
	mutex_unlock(&t->mu);
	if (f)
		keyfile_unref(f);
}

void inode_changed_below(struct inodes *t, struct inode *i)
{
	struct keyfile *f;

	mutex_lock(&t->mu);
	i->row_changes++;
	f = i->file;
	if (f)
		keyfile_ref(f);
	mutex_unlock(&t->mu);
	if (!f)
		return;
	keyfile_changed_below(f);
	keyfile_unref(f);
}
