/* SPDX-License-Identifier: BSD-3-Clause */
/* What a power cut leaves of a tree. */
#include "engine/env/mem_tree.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/rng.h"

#define SECTOR_LEN 512u

struct crash {
	struct mem_tree *to;
	uint64_t seed;
	unsigned keep_percent;
};

/*
 * What a cut leaves of the bytes of a file. Which sectors got to the disk and
 * which length did are two questions; what is inside the length and was not
 * written reads as zeros.
 */
static int crash_bytes(const struct crash *c, const struct mem_node *from,
		       struct mem_node *to)
{
	size_t len = from->bytes.len, end = from->synced;
	struct rng rng;
	int err;

	if (c->keep_percent >= 100)
		end = len;
	err = buf_set(&to->bytes, slice_of(from->bytes.data, end));
	if (err)
		return ENOMEM;
	if (end == len || c->keep_percent == 0)
		goto out;
	if (buf_reserve(&to->bytes, len - end))
		return ENOMEM;
	memset(to->bytes.data + end, 0, len - end);

	/* By node, so that other files do not change what happens to it. */
	rng_init(&rng, c->seed + from->id * 0xd1342543de82ef95ull);
	for (size_t at = end; at < len;) {
		size_t next = at - at % SECTOR_LEN + SECTOR_LEN;

		if (next > len)
			next = len;
		if (rng_below(&rng, 100) < c->keep_percent) {
			memcpy(to->bytes.data + at, from->bytes.data + at,
			       next - at);
			end = next;
		}
		at = next;
	}
	switch (rng_below(&rng, 4)) {
	case 0: /* any */
		end = from->synced +
		      (size_t)rng_below(&rng, len - from->synced + 1);
		break;
	case 1: /* all of it */
		end = len;
		break;
	default: /* up to the last sector that was written */
		break;
	}
	to->bytes.len = end;
out:
	to->synced = to->bytes.len;
	return 0;
}

static int copy_durable(const struct crash *c, const struct mem_node *dir);

/* n after the cut, which keeps a reference until all is done. NULL: ENOMEM. */
static struct mem_node *twin_of(const struct crash *c, struct mem_node *n)
{
	int err;

	if (n->twin)
		return n->twin;
	n->twin = mem_node_new(c->to, n->is_dir);
	if (!n->twin)
		return NULL;
	n->twin->id = n->id;
	/* It has its twin before we descend: there may be rings. */
	err = n->is_dir ? copy_durable(c, n) : crash_bytes(c, n, n->twin);
	return err ? NULL : n->twin;
}

/* Give the twin of dir the twins of what is durable in dir. */
static int copy_durable(const struct crash *c, const struct mem_node *dir)
{
	struct mem_names *names = &dir->twin->durable;

	for (size_t i = 0; i < dir->durable.n; i++) {
		const struct mem_entry *from = &dir->durable.v[i];
		struct mem_node *child = twin_of(c, from->node);
		char *name = strdup(from->name);

		if (!child || !name || mem_names_reserve(names)) {
			free(name);
			return ENOMEM;
		}
		mem_set_durable(c->to, dir->twin, name, child);
	}
	return 0;
}

/* The change was on the disk in time. */
static int keep_change(const struct crash *c, const struct mem_change *change)
{
	for (int i = 0; i < 2; i++) {
		const struct mem_part *p = &change->part[i];
		struct mem_node *dir, *n;
		char *name;

		if (!p->dir)
			continue;
		dir = twin_of(c, p->dir);
		n = p->node ? twin_of(c, p->node) : NULL;
		name = strdup(p->name);
		if (!dir || (p->node && !n) || !name ||
		    mem_names_reserve(&dir->durable)) {
			free(name);
			return ENOMEM;
		}
		mem_set_durable(c->to, dir, name, n);
	}
	return 0;
}

/*
 * Any subset of the changes, or, when they get to the disk in order, the drawn
 * number of them from the beginning.
 */
static int keep_changes(const struct crash *c, const struct mem_tree *from,
			bool in_order)
{
	struct rng rng;
	size_t n = 0;
	int err = 0;

	rng_init(&rng, c->seed);
	list_for_each (pos, &from->changes) {
		bool kept = rng_below(&rng, 100) < c->keep_percent;

		if (in_order)
			n += kept;
		else if (kept && !err)
			err = keep_change(
				c, list_entry(pos, struct mem_change, link));
	}
	list_for_each (pos, &from->changes) {
		if (n == 0 || err)
			break;
		n--;
		err = keep_change(c, list_entry(pos, struct mem_change, link));
	}
	return err;
}

/* After a cut, what is visible is what is durable. */
static int show_durable(struct mem_tree *t)
{
	list_for_each (pos, &t->nodes) {
		struct mem_node *dir = list_entry(pos, struct mem_node, link);

		for (size_t i = 0; i < dir->durable.n; i++) {
			char *name = strdup(dir->durable.v[i].name);

			if (!name || mem_names_reserve(&dir->visible)) {
				free(name);
				return ENOMEM;
			}
			mem_set_visible(t, dir, name, dir->durable.v[i].node);
		}
	}
	return 0;
}

int mem_tree_crash(struct mem_tree *from, bool in_order, uint64_t seed,
		   unsigned keep_percent, struct mem_tree *to)
{
	struct crash c = {
		.to = to,
		.seed = seed,
		.keep_percent = keep_percent,
	};
	int err = 0;

	/* The root that to has is the twin of from's. */
	from->root->twin = mem_node_ref(to->root);
	err = copy_durable(&c, from->root);
	if (!err)
		err = keep_changes(&c, from, in_order);
	if (!err)
		err = show_durable(to);
	list_for_each (pos, &from->nodes) {
		struct mem_node *n = list_entry(pos, struct mem_node, link);

		if (n->twin)
			mem_node_unref(to, n->twin);
		n->twin = NULL;
	}
	to->next_id = from->next_id;
	return err;
}
