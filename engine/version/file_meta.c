/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/file_meta.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"

/*
 * A sample stands for a mebibyte read (db_iter.c), which a table less to read
 * makes cheaper by a share; rewriting 16 KiB costs about as much. LevelDB and
 * Pebble count 16 KiB per sample, too, but only of the file itself, be what it
 * is merged into as large as it may.
 */
#define BYTES_PER_READ 16384
#define READS_MIN      100

/* One entry in so many a tombstone (Pebble's share). */
#define GARBAGE_ONE_IN 10

/* Of what is rewritten so much must come free. */
#define COLLECT_PERCENT 30

void file_meta_forget_reads(struct file_meta *f)
{
	uint64_t n = f->size / BYTES_PER_READ;

	f->reads_weighed = false;
	atomic_store_explicit(&f->reads_left,
			      (int64_t)(n > READS_MIN ? n : READS_MIN),
			      memory_order_relaxed);
}

bool file_meta_weigh_reads(struct file_meta *f, uint64_t bytes_below)
{
	if (!f->reads_weighed)
		atomic_fetch_add_explicit(
			&f->reads_left, (int64_t)(bytes_below / BYTES_PER_READ),
			memory_order_relaxed);
	f->reads_weighed = true;
	return file_meta_read_often(f);
}

bool file_meta_has_garbage(const struct file_meta *f)
{
	/* Acquire pairs with file_meta_set_counts(). */
	uint64_t entries =
		atomic_load_explicit(&f->entries, memory_order_acquire);
	uint64_t deletions =
		atomic_load_explicit(&f->deletions, memory_order_relaxed);

	if (!entries)
		return false;
	return atomic_load_explicit(&f->range_deletions,
				    memory_order_relaxed) ||
	       deletions > entries / GARBAGE_ONE_IN;
}

void file_meta_set_garbage(struct file_meta *f, struct garbage *g)
{
	struct garbage *none = NULL;

	if (!atomic_compare_exchange_strong_explicit(&f->garbage, &none, g,
						     memory_order_release,
						     memory_order_relaxed))
		free(g);
}

bool file_meta_is_garbage(const struct file_meta *f, uint64_t position)
{
	uint64_t bytes;

	if (position <= f->garbage_collected)
		return false;
	bytes = garbage_at(
		atomic_load_explicit(&f->garbage, memory_order_acquire),
		position);
	return bytes && bytes >= f->size / 100 * COLLECT_PERCENT;
}

bool file_meta_is_notable(const struct file_meta *f)
{
	return atomic_load_explicit(&f->dead_seqno, memory_order_relaxed) ||
	       atomic_load_explicit(&f->dense, memory_order_relaxed) ||
	       file_meta_read_often(f) || file_meta_has_garbage(f);
}

int file_meta_new(uint64_t number, uint64_t size, struct cairn_slice smallest,
		  struct cairn_slice largest, uint64_t smallest_seqno,
		  uint64_t largest_seqno, struct file_meta **out)
{
	struct ikey low, high;
	struct file_meta *f;
	uint8_t *bytes;

	if (!ikey_decode(smallest, &low) || !ikey_decode(largest, &high))
		return error_set(CAIRN_ECORRUPT,
				 "table %06" PRIu64
				 ": a bound of %zu bytes is no internal key",
				 number,
				 smallest.len < IKEY_TRAILER_LEN ? smallest.len
								 : largest.len);
	if (smallest.len > SIZE_MAX - sizeof(*f) - largest.len)
		return error_nomem();
	/* The bounds lie behind the struct: one allocation per file. */
	f = malloc(sizeof(*f) + smallest.len + largest.len);
	if (!f)
		return error_nomem();
	*f = (struct file_meta){
		.number = number,
		.size = size,
		.smallest_seqno = smallest_seqno,
		.largest_seqno = largest_seqno,
		.seqnos_known = true,
	};
	atomic_init(&f->refs, 1);
	bytes = (uint8_t *)(f + 1);
	memcpy(bytes, smallest.data, smallest.len);
	memcpy(bytes + smallest.len, largest.data, largest.len);
	f->smallest = slice_of(bytes, smallest.len);
	f->largest = slice_of(bytes + smallest.len, largest.len);
	low.user_key.data = f->smallest.data;
	high.user_key.data = f->largest.data;
	f->smallest_key = low;
	f->largest_key = high;
	file_meta_forget_reads(f);
	*out = f;
	return CAIRN_OK;
}

struct file_meta *file_meta_ref(struct file_meta *f)
{
	uint32_t was =
		atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);

	assert(was > 0 && was < UINT32_MAX);
	(void)was;
	return f;
}

void file_meta_unref(struct file_meta *f)
{
	uint32_t was;

	if (!f)
		return;
	/* Release pairs with the acquire of whoever drops the last one. */
	was = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);
	assert(was > 0);
	if (was == 1) {
		free(atomic_load_explicit(&f->garbage, memory_order_relaxed));
		free(f);
	}
}

bool file_meta_before(const struct file_meta *a, const struct file_meta *b)
{
	int c = slice_cmp(a->largest_key.user_key, b->smallest_key.user_key);

	return c < 0 || (c == 0 && file_meta_ends_before_largest(a));
}

bool file_meta_overlaps(const struct file_meta *f, struct cairn_slice from,
			struct cairn_slice to)
{
	int c;

	if (to.data && slice_cmp(f->smallest_key.user_key, to) > 0)
		return false;
	if (!from.data)
		return true;
	c = slice_cmp(f->largest_key.user_key, from);
	return c > 0 || (c == 0 && !file_meta_ends_before_largest(f));
}
