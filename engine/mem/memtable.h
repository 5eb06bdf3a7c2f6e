/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sorted table in memory that takes writes before they go to a file: a
 * skiplist over an arena of fixed size, addressed by 32-bit offsets.
 *
 * Any number of threads may insert and read at once, without locks. Two
 * counts govern its life: references keep the memory (readers, the read state,
 * the flush queue); writer references say that batches may still be inserted:
 * the commit path holds one while the memtable is the mutable one, plus one
 * per batch in flight. It may be flushed when there are no writer references.
 *
 * A large batch is not copied into an arena, but is a memtable by itself.
 */
#ifndef CAIRN_MEM_MEMTABLE_H
#define CAIRN_MEM_MEMTABLE_H

#include "engine/kv/batch.h"
#include "engine/kv/ikey.h"
#include "engine/kv/iter.h"
#include "engine/kv/range_del.h"

struct memtable;

/*
 * A memtable whose arena holds capacity bytes (at most 4 GiB - 64 KiB), with
 * one reference and one writer reference. log_number is the WAL that its first
 * batch is in.
 */
MUST_CHECK int memtable_new(size_t capacity, uint64_t log_number,
			    struct memtable **out);

/*
 * A memtable of the batch as it is, which must have been made by the functions
 * of cairn.h; the batch may be changed and freed afterwards. It has room for
 * nothing else, and is empty until memtable_reserve(), for that batch, and
 * memtable_apply(), of its bytes with their sequence number.
 */
MUST_CHECK int memtable_new_of_batch(const struct cairn_batch *b,
				     struct memtable **out);
/* For one made by memtable_new_of_batch(), before others see it. */
void memtable_set_log_number(struct memtable *m, uint64_t log_number);
bool memtable_is_batch(const struct memtable *m);

void memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL is allowed */

/*
 * m was flushed: from now until its memory is freed, its bytes are part of
 * *zombie_bytes, which must live as long. Nobody writes to m any more; once.
 */
void memtable_retire(struct memtable *m, _Atomic uint64_t *zombie_bytes);

uint64_t memtable_log_number(const struct memtable *m);

/*
 * Upper bound of the arena bytes that a batch takes: the space to reserve
 * for it, from batch bytes and count.
 */
size_t memtable_batch_cost(size_t batch_bytes, uint32_t count);

/*
 * Reserve cost bytes and take a writer reference, or return false when the
 * arena is too full. One thread at a time (the commit mutex).
 */
bool memtable_reserve(struct memtable *m, size_t cost);

/*
 * Insert the operations of a validated batch whose header holds its sequence
 * number; the i-th counted operation gets seqno + i. Space must have been
 * reserved, so this cannot run out of memory. CAIRN_ECORRUPT for a range that
 * ends before it begins, which is never logged on purpose. Column families
 * other than 0 are skipped but consume their sequence numbers.
 */
MUST_CHECK int memtable_apply(struct memtable *m, struct cairn_slice batch);

void memtable_writer_unref(struct memtable *m);
bool memtable_has_writers(const struct memtable *m);

/*
 * The newest version of user_key with seqno <= snapshot: CAIRN_OK with its
 * trailer and value (which live as long as the memtable), or CAIRN_NOT_FOUND.
 */
int memtable_get(const struct memtable *m, struct cairn_slice user_key,
		 uint64_t snapshot, uint64_t *trailer,
		 struct cairn_slice *value);

/* Fetch what memtable_get() looks at first, for a call that comes soon. */
void memtable_prefetch(const struct memtable *m, struct cairn_slice user_key);

/*
 * The newest range tombstone at or below snapshot that covers user_key: its
 * sequence number, 0 when there is none.
 */
uint64_t memtable_cover(struct memtable *m, struct cairn_slice user_key,
			uint64_t snapshot);

/*
 * All range tombstones, as a set with a reference for the caller; NULL when
 * there are none. Add them to a list. CAIRN_ENOMEM.
 */
MUST_CHECK int memtable_range_dels(struct memtable *m, struct range_dels **out);
MUST_CHECK int memtable_list_range_dels(const struct memtable *m,
					struct range_del_list *l);

/*
 * An iterator over all entries but range tombstones; those of this moment are
 * its scope. Takes a reference.
 */
MUST_CHECK int memtable_iter_new(struct memtable *m, struct iter **out);

/* Bytes of the arena in use, reserved ones included; its whole size. */
size_t memtable_bytes(const struct memtable *m);
size_t memtable_capacity(const struct memtable *m);
uint64_t memtable_entries(const struct memtable *m); /* tombstones included */
uint64_t memtable_range_deletions(const struct memtable *m);
bool memtable_empty(const struct memtable *m);
/* Lowest and highest seqno inserted; only when not empty. */
uint64_t memtable_smallest_seqno(const struct memtable *m);
uint64_t memtable_largest_seqno(const struct memtable *m);

#endif
