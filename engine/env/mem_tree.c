/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/env/mem_tree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ------------------------------------------------------------ nodes */

struct mem_node *mem_node_new(struct mem_tree *t, bool is_dir)
{
	struct mem_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->id = t->next_id++;
	n->is_dir = is_dir;
	n->refs = 1;
	list_add_tail(&t->nodes, &n->link);
	return n;
}

struct mem_node *mem_node_ref(struct mem_node *n)
{
	n->refs++;
	return n;
}

void mem_node_use(struct mem_tree *t, struct mem_node *n)
{
	if (n->users++ == 0)
		t->used += n->bytes.len;
}

void mem_node_unuse(struct mem_tree *t, struct mem_node *n)
{
	assert(n->users > 0);
	if (--n->users == 0) {
		assert(t->used >= n->bytes.len);
		t->used -= n->bytes.len;
	}
}

/* ------------------------------------------------------------ names */

/* Where name stands, or would. */
static size_t names_at(const struct mem_names *s, const char *name, bool *found)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(s->v[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found = lo < s->n && strcmp(s->v[lo].name, name) == 0;
	return lo;
}

static struct mem_node *names_get(const struct mem_names *s, const char *name)
{
	bool found;
	size_t i = names_at(s, name, &found);

	return found ? s->v[i].node : NULL;
}

int mem_names_reserve(struct mem_names *s)
{
	size_t cap = s->cap ? 2 * s->cap : 8;
	struct mem_entry *v;

	if (s->n < s->cap)
		return 0;
	v = realloc(s->v, cap * sizeof(*v));
	if (!v)
		return ENOMEM;
	s->v = v;
	s->cap = cap;
	return 0;
}

/*
 * Set name to node, or remove it when node is NULL. Room is reserved. Takes
 * over name. Returns what the name stood for, with its reference.
 */
static struct mem_node *names_set(struct mem_names *s, char *name,
				  struct mem_node *node)
{
	struct mem_node *old = NULL;
	bool found;
	size_t i = names_at(s, name, &found);

	if (found) {
		old = s->v[i].node;
		free(s->v[i].name);
	}
	if (node) {
		if (!found) {
			assert(s->n < s->cap);
			memmove(s->v + i + 1, s->v + i,
				(s->n - i) * sizeof(*s->v));
			s->n++;
		}
		s->v[i] = (struct mem_entry){ name, mem_node_ref(node) };
	} else {
		free(name);
		if (found) {
			s->n--;
			memmove(s->v + i, s->v + i + 1,
				(s->n - i) * sizeof(*s->v));
		}
	}
	return old;
}

void mem_set_durable(struct mem_tree *t, struct mem_node *dir, char *name,
		     struct mem_node *node)
{
	struct mem_node *old = names_set(&dir->durable, name, node);

	if (old)
		mem_node_unref(t, old);
}

void mem_set_visible(struct mem_tree *t, struct mem_node *dir, char *name,
		     struct mem_node *node)
{
	struct mem_node *old;

	if (node)
		mem_node_use(t, node);
	old = names_set(&dir->visible, name, node);
	if (old) {
		mem_node_unuse(t, old);
		mem_node_unref(t, old);
	}
}

static void dir_clear(struct mem_tree *t, struct mem_node *dir)
{
	struct mem_names visible = dir->visible;
	struct mem_names durable = dir->durable;

	dir->visible = (struct mem_names){ 0 };
	dir->durable = (struct mem_names){ 0 };
	for (size_t i = 0; i < visible.n; i++) {
		free(visible.v[i].name);
		mem_node_unuse(t, visible.v[i].node);
		mem_node_unref(t, visible.v[i].node);
	}
	for (size_t i = 0; i < durable.n; i++) {
		free(durable.v[i].name);
		mem_node_unref(t, durable.v[i].node);
	}
	free(visible.v);
	free(durable.v);
}

void mem_node_unref(struct mem_tree *t, struct mem_node *n)
{
	assert(n->refs > 0);
	if (--n->refs)
		return;
	assert(!n->users && !n->lock);
	dir_clear(t, n);
	list_remove(&n->link);
	buf_fini(&n->bytes);
	free(n);
}

/* ------------------------------------------------------------ changes */

static void part_fini(struct mem_tree *t, struct mem_part *p)
{
	if (p->node)
		mem_node_unref(t, p->node);
	if (p->dir)
		mem_node_unref(t, p->dir);
	free(p->name);
	*p = (struct mem_part){ 0 };
}

static void change_free(struct mem_tree *t, struct mem_change *c)
{
	if (!c)
		return;
	list_remove(&c->link);
	part_fini(t, &c->part[0]);
	part_fini(t, &c->part[1]);
	free(c);
}

static struct mem_change *change_new(void)
{
	struct mem_change *c = calloc(1, sizeof(*c));

	if (c)
		list_init(&c->link);
	return c;
}

/* Say that name in dir becomes node. Reserves room in the visible set. */
static int change_add(struct mem_change *c, struct mem_node *dir,
		      const char *name, struct mem_node *node)
{
	struct mem_part *p = &c->part[c->part[0].dir ? 1 : 0];
	int err = mem_names_reserve(&dir->visible);

	if (err)
		return err;
	p->name = strdup(name);
	if (!p->name)
		return ENOMEM;
	p->dir = mem_node_ref(dir);
	p->node = node ? mem_node_ref(node) : NULL;
	return 0;
}

/* Make c visible, and remember it until a sync. Takes over c unless it fails,
 * and then nothing is visible of it. */
static int change_apply(struct mem_tree *t, struct mem_change *c)
{
	char *names[2] = { NULL, NULL };

	for (int i = 0; i < 2 && c->part[i].dir; i++) {
		names[i] = strdup(c->part[i].name);
		if (!names[i]) {
			free(names[0]);
			return ENOMEM;
		}
	}
	for (int i = 0; i < 2 && c->part[i].dir; i++)
		mem_set_visible(t, c->part[i].dir, names[i], c->part[i].node);
	list_add_tail(&t->changes, &c->link);
	return 0;
}

static int change_one(struct mem_tree *t, struct mem_node *dir,
		      const char *name, struct mem_node *node)
{
	struct mem_change *c = change_new();
	int err = c ? change_add(c, dir, name, node) : ENOMEM;

	if (!err)
		err = change_apply(t, c);
	if (err)
		change_free(t, c);
	return err;
}

int mem_tree_commit(struct mem_tree *t, const struct mem_node *only)
{
	list_for_each_safe (pos, tmp, &t->changes) {
		struct mem_change *c = list_entry(pos, struct mem_change, link);

		for (int i = 0; i < 2; i++) {
			struct mem_part *p = &c->part[i];
			int err;

			if (!p->dir || (only && p->dir != only))
				continue;
			err = mem_names_reserve(&p->dir->durable);
			if (err)
				return err;
			mem_set_durable(t, p->dir, p->name, p->node);
			p->name = NULL;
			part_fini(t, p);
		}
		if (!c->part[0].dir && !c->part[1].dir)
			change_free(t, c);
	}
	return 0;
}

/* ------------------------------------------------------------ paths */

/* The next component of *path into name: 1, none left: 0, or -errno. */
static int next_name(const char **path, char name[NAME_MAX + 1])
{
	for (;;) {
		const char *p = *path + strspn(*path, "/");
		size_t n = strcspn(p, "/");

		*path = p + n;
		if (n == 0)
			return 0;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, p, n);
		name[n] = '\0';
		if (strcmp(name, "..") == 0)
			return -EINVAL;
		if (strcmp(name, ".") != 0)
			return 1;
	}
}

/*
 * The directory of the last component of path, and that component. "/" has
 * none and gives EEXIST. through, if not NULL, must not be on the way (EINVAL).
 */
static int find_parent(struct mem_tree *t, const char *path,
		       const struct mem_node *through, struct mem_node **dir,
		       char name[NAME_MAX + 1])
{
	struct mem_node *d = t->root;
	char next[NAME_MAX + 1];
	int more = next_name(&path, name);

	if (more == 0)
		return EEXIST;
	while (more > 0) {
		more = next_name(&path, next);
		if (more <= 0)
			break;
		d = names_get(&d->visible, name);
		if (!d)
			return ENOENT;
		if (!d->is_dir)
			return ENOTDIR;
		if (d == through)
			return EINVAL;
		memcpy(name, next, sizeof(next));
	}
	if (more < 0)
		return -more;
	*dir = d;
	return 0;
}

int mem_tree_find(struct mem_tree *t, const char *path, struct mem_node **out)
{
	struct mem_node *n = t->root;
	char name[NAME_MAX + 1];
	int more;

	while ((more = next_name(&path, name)) > 0) {
		if (!n->is_dir)
			return ENOTDIR;
		n = names_get(&n->visible, name);
		if (!n)
			return ENOENT;
	}
	if (more < 0)
		return -more;
	*out = n;
	return 0;
}

int mem_tree_find_dir(struct mem_tree *t, const char *path,
		      struct mem_node **out)
{
	int err = mem_tree_find(t, path, out);

	if (err)
		return err;
	return (*out)->is_dir ? 0 : ENOTDIR;
}

/* ------------------------------------------------------------ operations */

int mem_tree_init(struct mem_tree *t)
{
	*t = (struct mem_tree){ 0 };
	list_init(&t->nodes);
	list_init(&t->changes);
	t->root = mem_node_new(t, true);
	return t->root ? 0 : ENOMEM;
}

void mem_tree_fini(struct mem_tree *t)
{
	/* Clones of half-synced renames may hold rings: empty, then free. */
	list_for_each_safe (pos, tmp, &t->changes) {
		change_free(t, list_entry(pos, struct mem_change, link));
	}
	list_for_each (pos, &t->nodes) {
		mem_node_ref(list_entry(pos, struct mem_node, link));
	}
	if (t->root)
		mem_node_unref(t, t->root);
	list_for_each (pos, &t->nodes) {
		dir_clear(t, list_entry(pos, struct mem_node, link));
	}
	while (!list_empty(&t->nodes)) {
		struct mem_node *n =
			list_entry(t->nodes.next, struct mem_node, link);

		assert(n->refs == 1);
		mem_node_unref(t, n);
	}
	assert(t->used == 0);
}

int mem_tree_make(struct mem_tree *t, const char *path, bool is_dir,
		  struct mem_node **out)
{
	char name[NAME_MAX + 1];
	struct mem_node *dir = NULL, *n;
	int err = find_parent(t, path, NULL, &dir, name);

	if (err)
		return err;
	if (names_get(&dir->visible, name))
		return EEXIST;
	n = mem_node_new(t, is_dir);
	if (!n)
		return ENOMEM;
	err = change_one(t, dir, name, n);
	if (!err)
		*out = n;
	mem_node_unref(t, n); /* its name keeps it */
	return err;
}

/* May old, found at the new name, give way to n? */
static int may_replace(const struct mem_node *n, const struct mem_node *old)
{
	if (n->is_dir && !old->is_dir)
		return ENOTDIR;
	if (!n->is_dir && old->is_dir)
		return EISDIR;
	return old->is_dir && old->visible.n ? ENOTEMPTY : 0;
}

int mem_tree_rename(struct mem_tree *t, const char *from, const char *to)
{
	char from_name[NAME_MAX + 1], to_name[NAME_MAX + 1];
	struct mem_node *from_dir = NULL, *to_dir = NULL, *n, *old;
	struct mem_change *c;
	int err;

	err = find_parent(t, from, NULL, &from_dir, from_name);
	if (err)
		return err;
	n = names_get(&from_dir->visible, from_name);
	if (!n)
		return ENOENT;
	err = find_parent(t, to, n, &to_dir, to_name);
	if (err)
		return err;
	old = names_get(&to_dir->visible, to_name);
	if (old == n)
		return 0; /* POSIX: two links to one file both stay */
	err = old ? may_replace(n, old) : 0;
	if (err)
		return err;

	c = change_new();
	err = c ? change_add(c, from_dir, from_name, NULL) : ENOMEM;
	if (!err)
		err = change_add(c, to_dir, to_name, n);
	if (!err)
		err = change_apply(t, c);
	if (err)
		change_free(t, c);
	return err;
}

int mem_tree_link(struct mem_tree *t, const char *from, const char *to)
{
	char name[NAME_MAX + 1];
	struct mem_node *n = NULL, *dir = NULL;
	int err = mem_tree_find(t, from, &n);

	if (err)
		return err;
	if (n->is_dir)
		return EPERM;
	err = find_parent(t, to, NULL, &dir, name);
	if (err)
		return err;
	if (names_get(&dir->visible, name))
		return EEXIST;
	return change_one(t, dir, name, n);
}

/* The name, its directory and what it stands for. */
static int find_name(struct mem_tree *t, const char *path,
		     struct mem_node **dir, char name[NAME_MAX + 1],
		     struct mem_node **out)
{
	int err = find_parent(t, path, NULL, dir, name);

	if (err)
		return err;
	*out = names_get(&(*dir)->visible, name);
	return *out ? 0 : ENOENT;
}

int mem_tree_unlink(struct mem_tree *t, const char *path)
{
	char name[NAME_MAX + 1];
	struct mem_node *dir = NULL, *n = NULL;
	int err = find_name(t, path, &dir, name, &n);

	if (err)
		return err;
	return n->is_dir ? EISDIR : change_one(t, dir, name, NULL);
}

int mem_tree_rmdir(struct mem_tree *t, const char *path)
{
	char name[NAME_MAX + 1];
	struct mem_node *dir = NULL, *n = NULL;
	int err = find_name(t, path, &dir, name, &n);

	if (err)
		return err;
	if (!n->is_dir)
		return ENOTDIR;
	return n->visible.n ? ENOTEMPTY : change_one(t, dir, name, NULL);
}
