/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open tables by file number, at most max_open of them (more only while they
 * are in use). Thread-safe. A missing table is opened by one thread while the
 * others that want it wait; a failure to open is not remembered.
 */
#ifndef CAIRN_TABLE_TABLE_CACHE_H
#define CAIRN_TABLE_TABLE_CACHE_H

#include "engine/table/table.h"

struct table_cache;
struct table_ref; /* a table that stays open until released */

/* dir is copied; env and what opts points to must outlive the cache. */
MUST_CHECK int table_cache_new(struct cairn_env *env, const char *dir,
			       size_t max_open,
			       const struct table_read_options *opts,
			       struct table_cache **out);
void table_cache_free(struct table_cache *c); /* nothing may be held */

/*
 * Get the table of a file of the given size: DIR/NNNNNN.sst, and when there is
 * none DIR/NNNNNN.ldb. Release with table_cache_release().
 */
MUST_CHECK int table_cache_get(struct table_cache *c, uint64_t file_number,
			       uint64_t size, struct table_ref **out);
void table_cache_release(struct table_cache *c, struct table_ref *r);
struct table *table_ref_table(struct table_ref *r);

/*
 * Tell the largest sequence number that the MANIFEST gives a file, before the
 * file is first asked for. The entries of an ingested table carry 0 and have
 * that number; such a table is refused (CAIRN_ENOTSUP) when it does not know
 * the number itself and nobody told it. All its entries having one number, only
 * files whose smallest and largest seqno are equal need to be told of.
 * Forgotten by table_cache_evict().
 */
MUST_CHECK int table_cache_set_seqno(struct table_cache *c,
				     uint64_t file_number, uint64_t seqno);

/*
 * As table_iter_new(), holding the table while the iterator lives. closing it
 * releases the table.
 */
MUST_CHECK int table_cache_iter_new(struct table_cache *c, uint64_t file_number,
				    uint64_t size, enum table_scan scan,
				    struct iter **out);

/*
 * The same, but where the filter skips the table, of which facts are given (all
 * but the table itself), only with the tombstones.
 */
MUST_CHECK int
table_cache_filtered_iter_new(struct table_cache *c,
			      const struct cairn_table_facts *facts,
			      const struct cairn_table_filter *filter,
			      enum table_scan scan, struct iter **out);

/* Close the table when nobody holds it (else at the last release) and drop
 * its blocks: the file is going to be deleted. */
void table_cache_evict(struct table_cache *c, uint64_t file_number);

size_t table_cache_open_count(struct table_cache *c);
/* Bytes of index, filter and properties of the open tables. */
size_t table_cache_memory(struct table_cache *c);

#endif
