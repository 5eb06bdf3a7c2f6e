/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the MANIFEST knows of a table file. Shared by the versions it is live
 * in and by jobs that read it; immutable but for the fields said otherwise.
 */
#ifndef CAIRN_VERSION_FILE_META_H
#define CAIRN_VERSION_FILE_META_H

#include <stdatomic.h>

#include "engine/kv/ikey.h"
#include "engine/table/garbage.h"

struct file_meta {
	_Atomic uint32_t refs;
	uint64_t number;
	uint64_t size;
	/* Inclusive bounds, encoded internal keys, owned. */
	struct cairn_slice smallest;
	struct cairn_slice largest;
	/* The same, parsed; they borrow from the above. */
	struct ikey smallest_key;
	struct ikey largest_key;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	bool seqnos_known;      /* false: from a LevelDB MANIFEST */
	uint64_t creation_time; /* seconds; 0 unknown */
	uint64_t oldest_ancestor_time;

	/* From the table's properties, 0 until loaded; see
	 * file_meta_set_counts(). */
	_Atomic uint64_t entries;
	_Atomic uint64_t deletions;
	_Atomic uint64_t range_deletions; /* part of both */

	/*
	 * Learned later, for the picker; relaxed.
	 *
	 * dead_seqno: readers at or above it see nothing of the file, for range
	 * tombstones of files above delete all of it; 0: not known. That stays
	 * true as long as the file lives: a tombstone is only dropped where
	 * nothing is left below it.
	 */
	_Atomic uint64_t dead_seqno;
	/* Many of its blocks are mostly tombstones. */
	_Atomic bool dense;
	/* How many more sampled reads that touched other levels as well make it
	 * worth a compaction. */
	_Atomic int64_t reads_left;
	/* What becomes garbage when; owned, NULL until known. Release and
	 * acquire. */
	_Atomic(struct garbage *) garbage;

	/* It was written when what is garbage at this position could be
	 * dropped. Constant once it is in a version. */
	uint64_t garbage_collected;

	/* Guarded by the database mutex: file_meta_weigh_reads() was called. */
	bool reads_weighed;
	/* Guarded by the database mutex: the job the file is an input of. */
	uint64_t job;
};

/* With one reference; bounds are copied and must decode. */
MUST_CHECK int file_meta_new(uint64_t number, uint64_t size,
			     struct cairn_slice smallest,
			     struct cairn_slice largest,
			     uint64_t smallest_seqno, uint64_t largest_seqno,
			     struct file_meta **out);
struct file_meta *file_meta_ref(struct file_meta *f); /* returns f */
void file_meta_unref(struct file_meta *f);            /* NULL is allowed */

/* Who sees entries (acquire) sees the others. */
static inline void file_meta_set_counts(struct file_meta *f, uint64_t entries,
					uint64_t deletions,
					uint64_t range_deletions)
{
	atomic_store_explicit(&f->deletions, deletions, memory_order_relaxed);
	atomic_store_explicit(&f->range_deletions, range_deletions,
			      memory_order_relaxed);
	atomic_store_explicit(&f->entries, entries, memory_order_release);
}

/* A read that cost more for f's being above something else was sampled; true
 * for the one that is the last straw. */
static inline bool file_meta_charge_read(struct file_meta *f)
{
	return atomic_fetch_sub_explicit(&f->reads_left, 1,
					 memory_order_relaxed) == 1;
}

/*
 * Ask for more reads before f is merged into so many bytes below, which would
 * be rewritten with it; once. True when it has had as many.
 */
bool file_meta_weigh_reads(struct file_meta *f, uint64_t bytes_below);

/* As if f had not been read yet. */
void file_meta_forget_reads(struct file_meta *f);

/* Whether so many reads were charged that f should move on. */
static inline bool file_meta_read_often(const struct file_meta *f)
{
	return atomic_load_explicit(&f->reads_left, memory_order_relaxed) <= 0;
}

/* Whether it holds so many tombstones that rewriting it where they can go is
 * worth it. False as long as its counts are not known. */
bool file_meta_has_garbage(const struct file_meta *f);

/* Take over what f's properties say, if nobody has done so yet. */
void file_meta_set_garbage(struct file_meta *f, struct garbage *g);

/* Whether so much of f is garbage at that position that it pays to rewrite it,
 * and that was not yet tried. */
bool file_meta_is_garbage(const struct file_meta *f, uint64_t position);

/* Whether f is worth a second look of the picker (picker.h), garbage apart. */
bool file_meta_is_notable(const struct file_meta *f);

/*
 * Whether the largest bound only says where the file's last range tombstone
 * ends: no entry of f has that user key.
 */
static inline bool file_meta_ends_before_largest(const struct file_meta *f)
{
	return f->largest_key.trailer ==
	       ikey_pack(SEQNO_MAX, KIND_RANGE_DELETE);
}

/* Whether every user key of a is below every user key of b. */
bool file_meta_before(const struct file_meta *a, const struct file_meta *b);

/* Whether the user keys of f meet [from, to]; data NULL means unbounded. */
bool file_meta_overlaps(const struct file_meta *f, struct cairn_slice from,
			struct cairn_slice to);

#endif
