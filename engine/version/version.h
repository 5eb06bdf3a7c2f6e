/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An immutable set of live tables, by level. Level 0 files may overlap and are
 * ordered newest first (RocksDB's order: largest seqno, smallest seqno, number,
 * all descending); deeper levels are sorted by key and disjoint.
 *
 * Level 0 is also arranged in sublevels: sublevel 0 is the oldest; files of one
 * sublevel are disjoint and sorted by key; where files overlap the newer one is
 * in a higher sublevel. A read looks at one file per sublevel.
 */
#ifndef CAIRN_VERSION_VERSION_H
#define CAIRN_VERSION_VERSION_H

#include "engine/base/list.h"
#include "engine/version/edit.h"

struct version_files {
	struct file_meta **files;
	size_t n;
	uint64_t bytes;
};

struct version {
	_Atomic uint32_t refs;
	struct version_files level[CAIRN_LEVELS];
	struct version_files *sublevel; /* of level 0; [0] the oldest */
	size_t n_sublevels;
	/* What version_may_have_range_dels() found out, see there. */
	_Atomic int range_dels;
	uint64_t number;  /* 1, 2, 3 ... in order of installation */
	struct list held; /* in the version set's list once installed */
};

/* An empty version with one reference. */
MUST_CHECK int version_new(struct version **out);

/*
 * A new version: base less the deleted files plus the added ones, with one
 * reference. CAIRN_ECORRUPT when the edit deletes a file that is not there,
 * adds one twice, or breaks an invariant below.
 */
MUST_CHECK int version_apply(const struct version *base,
			     const struct version_edit *edit,
			     struct version **out);

struct version *version_ref(struct version *v); /* returns v */
/* The last one drops the references on the files. NULL is allowed. */
void version_unref(struct version *v);

/*
 * Order and disjointness at levels 1 and below as internal keys; at level 0
 * what RocksDB checks on open: in the order above the smallest seqnos strictly
 * descend, but a file with one seqno need only be below its newer neighbour's
 * largest.
 */
MUST_CHECK int version_check(const struct version *v);

/*
 * Index of the first file of a sorted level whose largest key is >= *key;
 * n when there is none.
 */
size_t version_find_file(const struct version_files *files,
			 const struct ikey *key);

/* First file that may hold user_key, or NULL; sorted levels and sublevels. */
struct file_meta *version_file_for(const struct version_files *files,
				   struct cairn_slice user_key);

/* The level of f, and its index there; -1: it is not live in v. */
int version_level_of(const struct version *v, const struct file_meta *f,
		     size_t *index);

/*
 * Whether a table may have range tombstones: false when the properties of all
 * are known and say no. Cheap, also when asked often.
 */
bool version_may_have_range_dels(struct version *v);

uint64_t version_bytes(const struct version *v);

#endif
