/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files and directories of env_mem, and what of them is durable.
 *
 * Files are only ever appended to, so what is durable of one is a prefix of
 * what is visible: a length is enough. A directory has two sets of names, the
 * visible and the durable one. Changes of names that are not yet durable stand
 * in one list in the order in which they were made; a commit moves some or all
 * from the list into the durable sets, and a crash draws which of the rest it
 * takes.
 *
 * A rename is one change as long as no commit has made a half of it durable,
 * which only a rename from one directory to another can suffer.
 *
 * Functions return 0 or an errno value. A tree has no lock of its own.
 */
#ifndef CAIRN_ENV_MEM_TREE_H
#define CAIRN_ENV_MEM_TREE_H

#include <limits.h>

#include "engine/base/buf.h"
#include "engine/base/list.h"

struct mem_node;

struct mem_entry {
	char *name;
	struct mem_node *node; /* holds a reference */
};

/* Names of a directory, ascending. */
struct mem_names {
	struct mem_entry *v;
	size_t n;
	size_t cap;
};

/* A file or directory: an inode. */
struct mem_node {
	struct list link; /* in mem_tree.nodes */
	uint64_t id;      /* in order of creation; twins share it */
	unsigned refs;
	bool is_dir;
	struct mem_node *twin; /* in the tree that mem_tree_crash() makes */

	/* Of directories. */
	struct mem_names visible;
	struct mem_names durable;

	/* Of files. */
	struct buf bytes;
	size_t synced; /* how much of bytes survives a cut */
	struct env_lock *lock;
	unsigned users; /* visible names and open handles */
};

/* One name set to a node, or removed (node NULL). */
struct mem_part {
	struct mem_node *dir; /* NULL: durable by now */
	char *name;
	struct mem_node *node;
};

struct mem_change {
	struct list link; /* in mem_tree.changes */
	struct mem_part part[2];
};

struct mem_tree {
	uint64_t next_id;
	uint64_t used; /* bytes of all files that have users */
	struct mem_node *root;
	struct list nodes;
	struct list changes;
};

/* An empty root. After a failure only mem_tree_fini() may follow. */
MUST_CHECK int mem_tree_init(struct mem_tree *t);
void mem_tree_fini(struct mem_tree *t);

/*
 * Turn paths into nodes. Relative ones start at the root; ".." is EINVAL. The
 * nodes come without a reference.
 */
MUST_CHECK int mem_tree_find(struct mem_tree *t, const char *path,
			     struct mem_node **out);
MUST_CHECK int mem_tree_find_dir(struct mem_tree *t, const char *path,
				 struct mem_node **out);
MUST_CHECK int mem_tree_make(struct mem_tree *t, const char *path, bool is_dir,
			     struct mem_node **out);

/* Change names, as the system calls do. */
MUST_CHECK int mem_tree_rename(struct mem_tree *t, const char *from,
			       const char *to);
MUST_CHECK int mem_tree_link(struct mem_tree *t, const char *from,
			     const char *to);
MUST_CHECK int mem_tree_unlink(struct mem_tree *t, const char *path);
MUST_CHECK int mem_tree_rmdir(struct mem_tree *t, const char *path);

/* Make the changes in one directory (NULL: in all) durable, in order. */
MUST_CHECK int mem_tree_commit(struct mem_tree *t, const struct mem_node *only);

/*
 * Make to, which is initialized and empty, what a cut now may leave of from:
 * see env_mem_crash_clone(). in_order: the changes that are kept are the first
 * ones. After a failure to can only be finished.
 */
MUST_CHECK int mem_tree_crash(struct mem_tree *from, bool in_order,
			      uint64_t seed, unsigned keep_percent,
			      struct mem_tree *to);

/* A handle holds a reference, and uses the node as long as it is open. */
struct mem_node *mem_node_ref(struct mem_node *n);
void mem_node_unref(struct mem_tree *t, struct mem_node *n);
void mem_node_use(struct mem_tree *t, struct mem_node *n);
void mem_node_unuse(struct mem_tree *t, struct mem_node *n);

/* For mem_tree_crash(). */

/* A node without a name, with one reference; NULL: no memory. */
struct mem_node *mem_node_new(struct mem_tree *t, bool is_dir);

/* Room for one more name. */
MUST_CHECK int mem_names_reserve(struct mem_names *s);

/* Set name, which is taken over, to node (NULL: remove it); room is reserved.
 */
void mem_set_durable(struct mem_tree *t, struct mem_node *dir, char *name,
		     struct mem_node *node);
void mem_set_visible(struct mem_tree *t, struct mem_node *dir, char *name,
		     struct mem_node *node);

#endif
