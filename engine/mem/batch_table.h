/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A large batch as a memtable: its operations sorted once, keys and values left
 * where they are, in the batch's block. It is made before the batch has its
 * sequence numbers, outside of all locks, and is empty until it gets them.
 */
#ifndef CAIRN_MEM_BATCH_TABLE_H
#define CAIRN_MEM_BATCH_TABLE_H

#include "engine/kv/batch.h"
#include "engine/kv/iter.h"
#include "engine/kv/range_del.h"

struct batch_table;

/*
 * Of the batch as it is; takes a reference of its block. It must have been made
 * by the functions of cairn.h, which let nothing through that would have to be
 * refused here.
 */
MUST_CHECK int batch_table_new(const struct cairn_batch *b,
			       struct batch_table **out);
void batch_table_free(struct batch_table *t); /* NULL is allowed */

/* The first operation has that number. Once, by one thread; readers may be at
 * work. */
void batch_table_number(struct batch_table *t, uint64_t seqno);

/* The number of the first operation; 0: none yet. */
uint64_t batch_table_seqno(const struct batch_table *t);

/* As memtable_get(), memtable_cover() and memtable_list_range_dels(). */
int batch_table_get(const struct batch_table *t, struct cairn_slice user_key,
		    uint64_t snapshot, uint64_t *trailer,
		    struct cairn_slice *value);
uint64_t batch_table_cover(const struct batch_table *t,
			   struct cairn_slice user_key, uint64_t snapshot);
MUST_CHECK int batch_table_list_range_dels(const struct batch_table *t,
					   struct range_del_list *l);

/*
 * As memtable_iter_new(): what is numbered by now. release(ctx) is called when
 * the iterator is closed.
 */
MUST_CHECK int batch_table_iter_new(struct batch_table *t,
				    void (*release)(void *ctx), void *ctx,
				    struct iter **out);

/* The tombstones, a reference for the caller; NULL: none (yet). */
struct range_dels *batch_table_range_dels(const struct batch_table *t);

uint32_t batch_table_count(const struct batch_table *t); /* of operations */
uint64_t batch_table_ranges(const struct batch_table *t);
size_t batch_table_bytes(const struct batch_table *t);

#endif
