/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iterator over a table: a place in the index, the block that is there, and
 * a place in that. With an index in parts the first of these is two places, and
 * a table whose index is whole has one part.
 */
#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/kv/kind.h"
#include "engine/table/table_priv.h"

/* Most keys fit; longer ones are put together on the heap. */
#define INLINE_KEY_LEN 128

/* What bulk scans read at once: enough for a disk, where the system reads ahead
 * in turn, and little beside the memtables when a compaction has many inputs.
 */
#define BULK_LEN (256u << 10)

/* Hints to the system for the others, after some blocks in a row. */
#define AHEAD_AFTER 2
#define AHEAD_MIN   (64u << 10)
#define AHEAD_MAX   (256u << 10)

struct table_iter {
	struct iter base;
	struct table *table;
	enum table_scan scan;
	uint32_t kinds; /* that it shows */

	/* The place in the index; leaf NULL: nowhere. */
	const struct index *leaf;
	struct cache_pin leaf_pin;
	uint32_t part;
	uint32_t i;

	/* The block that is there, if it has been fetched. */
	const struct block *block;
	uint64_t block_offset;
	struct cache_pin pin;
	struct block_iter entry;

	/* Bulk scans: the block, and where its contents are. */
	struct block own;
	struct buf own_bytes;
	struct read_window window;

	/* Other scans: blocks read in a row, and how far hints were given. */
	uint64_t run_end;
	unsigned run;
	uint64_t ahead_end;
	size_t ahead;

	struct range_scope scope; /* only when base.scope is set */
	void (*on_close)(void *ctx);
	void *on_close_ctx;
	uint8_t key[INLINE_KEY_LEN];
};

/* ------------------------------------------------------ the index */

static int go_to_part(struct table_iter *it, uint32_t part)
{
	if (it->leaf && it->part == part)
		return CAIRN_OK;
	it->leaf = NULL;
	cache_pin_release(&it->leaf_pin);
	it->part = part;
	return table_index_part(it->table, part, it->scan == TABLE_SCAN_CACHED,
				&it->leaf_pin, &it->leaf);
}

/* To the first block of a part at or after part. */
static int first_of_parts(struct table_iter *it, uint32_t part)
{
	for (; part < table_index_parts(it->table); part++) {
		int err = go_to_part(it, part);

		if (err)
			return err;
		it->i = 0;
		if (it->leaf->n)
			return CAIRN_OK;
	}
	return CAIRN_NOT_FOUND;
}

/* To the last block of a part before part. */
static int last_of_parts(struct table_iter *it, uint32_t part)
{
	while (part-- > 0) {
		int err = go_to_part(it, part);

		if (err)
			return err;
		if (it->leaf->n) {
			it->i = it->leaf->n - 1;
			return CAIRN_OK;
		}
	}
	return CAIRN_NOT_FOUND;
}

static int next_block(struct table_iter *it)
{
	if (it->i + 1 < it->leaf->n) {
		it->i++;
		return CAIRN_OK;
	}
	return first_of_parts(it, it->part + 1);
}

static int prev_block(struct table_iter *it)
{
	if (it->i > 0) {
		it->i--;
		return CAIRN_OK;
	}
	return last_of_parts(it, it->part);
}

/* To the block that holds *target or would; CAIRN_NOT_FOUND: behind all. */
static int seek_block(struct table_iter *it, const struct ikey *target)
{
	const struct table *t = it->table;
	uint32_t part = t->two_level ? index_seek(&t->index, target) : 0;
	int err;

	if (part >= table_index_parts(t))
		return CAIRN_NOT_FOUND;
	err = go_to_part(it, part);
	if (err)
		return err;
	it->i = index_seek(it->leaf, target);
	return it->i < it->leaf->n ? CAIRN_OK : first_of_parts(it, part + 1);
}

/* ------------------------------------------------------ the block */

static void drop_block(struct table_iter *it)
{
	it->block = NULL;
	cache_pin_release(&it->pin);
	block_fini(&it->own);
}

/* Tell the system what is going to be wanted when blocks come in a row. */
static void hint_ahead(struct table_iter *it, struct block_handle h)
{
	uint64_t end = h.offset + h.size + BLOCK_TRAILER_LEN;

	if (h.offset != it->run_end) {
		it->run = 0;
		it->ahead = AHEAD_MIN;
		it->ahead_end = 0;
	}
	it->run_end = end;
	if (it->run++ < AHEAD_AFTER)
		return;
	if (it->ahead_end < end)
		it->ahead_end = end;
	if (it->ahead_end - end > it->ahead / 4)
		return;
	rfile_prefetch(it->table->source.file, it->ahead_end, it->ahead);
	it->ahead_end += it->ahead;
	if (it->ahead < AHEAD_MAX)
		it->ahead *= 2;
}

static int fetch_cached(struct table_iter *it, struct block_handle h)
{
	bool loaded;
	int err = table_pin(it->table, CACHE_DATA, h,
			    &it->leaf->entry[it->i].slot,
			    it->scan == TABLE_SCAN_CACHED, &loaded, &it->pin);

	if (err)
		return err;
	if (loaded)
		hint_ahead(it, h);
	data_block_prefetch((struct data_block *)it->pin.value);
	it->block = &((struct data_block *)it->pin.value)->block;
	return CAIRN_OK;
}

/*
 * Read on from h when it is not in the window. A scan that goes backward would
 * not profit, so a block before the window is read alone.
 */
static int fetch_bulk(struct table_iter *it, struct block_handle h)
{
	const struct block_source *s = &it->table->source;
	struct cairn_slice contents;
	int err;

	if (!read_window_has(&it->window, h) && h.offset >= it->window.off) {
		size_t want = (size_t)h.size + BLOCK_TRAILER_LEN;

		if (want < BULK_LEN)
			want = BULK_LEN;
		err = read_window_fill(s, &it->window, h.offset, want);
		if (err)
			return err;
	}
	err = block_read_reusing(s, h, &it->window, it->table->dict,
				 &it->own_bytes, &contents);
	if (err)
		return err;
	err = block_init(&it->own, contents);
	if (err)
		return block_failure(s, h, err);
	it->block = &it->own;
	return CAIRN_OK;
}

static struct block_handle here(const struct table_iter *it)
{
	return index_handle(it->leaf, it->i);
}

/* Fetch the block at the place in the index, unless it is there already. */
static int fetch(struct table_iter *it)
{
	struct block_handle h = here(it);
	int err;

	if (it->block && it->block_offset == h.offset)
		return CAIRN_OK;
	drop_block(it);
	err = it->scan == TABLE_SCAN_BULK ? fetch_bulk(it, h)
					  : fetch_cached(it, h);
	if (err)
		return err;
	it->block_offset = h.offset;
	block_iter_set(&it->entry, it->block);
	return CAIRN_OK;
}

/* A failure of a function on the block gets its place in the file. */
static int in_block(const struct table_iter *it, int err)
{
	return err < 0 ? block_failure(&it->table->source, here(it), err) : err;
}

/* Blocks of bulk scans are indexed only when that is needed. */
static int need_index(struct table_iter *it)
{
	return it->block == &it->own ? in_block(it, block_index(&it->own))
				     : CAIRN_OK;
}

/* ---------------------------------------------------- positioning */

/* Show the outcome of a positioning call. */
static void land(struct table_iter *it, int err)
{
	struct iter *b = &it->base;

	if (!err && !table_kind_among(ikey_kind(&it->entry.key), it->kinds))
		err = table_refuse_kind(it->table, ikey_kind(&it->entry.key));
	b->valid = err == CAIRN_OK;
	b->status = err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
	if (!err) {
		b->key = it->entry.key;
		b->value = it->entry.value;
	}
}

/* The first entry of the block at the place in the index or after it. */
static int first_from_here(struct table_iter *it)
{
	int err = fetch(it);

	while (!err) {
		err = block_iter_first(&it->entry);
		if (err != CAIRN_NOT_FOUND)
			return in_block(it, err);
		err = next_block(it);
		if (!err)
			err = fetch(it);
	}
	return err;
}

static int last_from_here(struct table_iter *it)
{
	int err = fetch(it);

	while (!err) {
		err = need_index(it);
		if (err)
			return err;
		err = block_iter_last(&it->entry);
		if (err != CAIRN_NOT_FOUND)
			return in_block(it, err);
		err = prev_block(it);
		if (!err)
			err = fetch(it);
	}
	return err;
}

static void table_iter_first(struct iter *base)
{
	struct table_iter *it = (struct table_iter *)base;
	int err = first_of_parts(it, 0);

	land(it, err ? err : first_from_here(it));
}

static void table_iter_last(struct iter *base)
{
	struct table_iter *it = (struct table_iter *)base;
	int err = last_of_parts(it, table_index_parts(it->table));

	land(it, err ? err : last_from_here(it));
}

/* From the block that is there on; it may hold the target as well. */
static int seek_in_block(struct table_iter *it, const struct ikey *target)
{
	int err = fetch(it);

	if (!err)
		err = need_index(it);
	if (err)
		return err;
	err = block_iter_seek_ge(&it->entry, target);
	if (err != CAIRN_NOT_FOUND)
		return in_block(it, err);
	err = next_block(it);
	return err ? err : first_from_here(it);
}

static int seek_ge(struct table_iter *it, const struct ikey *target)
{
	int err = seek_block(it, target);

	return err ? err : seek_in_block(it, target);
}

/* Standing on an entry before *target: mostly it is in this block or the next
 * one, and the index need not be searched. */
static int seek_near(struct table_iter *it, const struct ikey *target)
{
	uint32_t i = index_seek_near(it->leaf, target, it->i);

	if (i == it->leaf->n)
		return seek_ge(it, target);
	it->i = i;
	return seek_in_block(it, target);
}

static int seek_lt(struct table_iter *it, const struct ikey *target)
{
	int err = seek_block(it, target);

	if (err == CAIRN_NOT_FOUND) {
		err = last_of_parts(it, table_index_parts(it->table));
		if (err)
			return err;
	}
	if (!err)
		err = fetch(it);
	if (!err)
		err = need_index(it);
	if (err)
		return err;
	err = block_iter_seek_lt(&it->entry, target);
	if (err != CAIRN_NOT_FOUND)
		return in_block(it, err);
	err = prev_block(it);
	return err ? err : last_from_here(it);
}

static void table_iter_seek_ge(struct iter *base, const struct ikey *target)
{
	struct table_iter *it = (struct table_iter *)base;

	land(it, seek_ge(it, target));
}

static void table_iter_seek_forward(struct iter *base,
				    const struct ikey *target)
{
	struct table_iter *it = (struct table_iter *)base;

	assert(base->valid);
	if (ikey_cmp(&base->key, target) < 0)
		land(it, seek_near(it, target));
}

/*
 * Another pin on the block. A block that no cache holds is the iterator's, and
 * the value must be copied.
 */
static int table_iter_pin(struct iter *base, struct cairn_pinned *out)
{
	struct table_iter *it = (struct table_iter *)base;

	assert(base->valid);
	if (!it->pin.ref)
		return CAIRN_NOT_FOUND;
	cache_pin_again(&it->pin);
	*out = (struct cairn_pinned){ .value = base->value,
				      .release = block_cache_unpin,
				      .owner = it->pin.ref };
	return CAIRN_OK;
}

static void table_iter_seek_lt(struct iter *base, const struct ikey *target)
{
	struct table_iter *it = (struct table_iter *)base;

	land(it, seek_lt(it, target));
}

static void table_iter_seek_prefix_ge(struct iter *base,
				      const struct ikey *target,
				      struct cairn_slice prefix)
{
	struct table_iter *it = (struct table_iter *)base;
	struct table *t = it->table;
	int err = CAIRN_OK;

	if (t->filter.kind != TABLE_FILTER_NONE && t->filter.prefix)
		err = table_filter_check(t, prefix, target,
					 it->scan == TABLE_SCAN_CACHED);
	land(it, err ? err : seek_ge(it, target));
}

static void table_iter_next(struct iter *base)
{
	struct table_iter *it = (struct table_iter *)base;
	int err;

	assert(base->valid);
	err = block_iter_next(&it->entry);
	if (err) {
		if (err == CAIRN_NOT_FOUND) {
			err = next_block(it);
			if (!err)
				err = first_from_here(it);
		} else {
			err = in_block(it, err);
		}
	}
	land(it, err);
}

static void table_iter_prev(struct iter *base)
{
	struct table_iter *it = (struct table_iter *)base;
	int err;

	assert(base->valid);
	err = need_index(it);
	if (!err) {
		err = block_iter_prev(&it->entry);
		if (err == CAIRN_NOT_FOUND) {
			err = prev_block(it);
			if (!err)
				err = last_from_here(it);
		} else {
			err = in_block(it, err);
		}
	}
	land(it, err);
}

static void table_iter_close(struct iter *base)
{
	struct table_iter *it = (struct table_iter *)base;
	void (*on_close)(void *ctx) = it->on_close;
	void *ctx = it->on_close_ctx;

	drop_block(it);
	block_iter_fini(&it->entry);
	cache_pin_release(&it->leaf_pin);
	buf_fini(&it->own_bytes);
	read_window_fini(&it->window);
	free(it);
	if (on_close)
		on_close(ctx);
}

static const struct iter_ops table_iter_ops = {
	.first = table_iter_first,
	.last = table_iter_last,
	.seek_ge = table_iter_seek_ge,
	.seek_lt = table_iter_seek_lt,
	.seek_prefix_ge = table_iter_seek_prefix_ge,
	.seek_forward = table_iter_seek_forward,
	.pin = table_iter_pin,
	.next = table_iter_next,
	.prev = table_iter_prev,
	.close = table_iter_close,
};

/* -------------------------------------------------------- no entries */

static void tombs_iter_end(struct iter *base)
{
	base->valid = false;
	base->status = CAIRN_OK;
}

static void tombs_iter_seek(struct iter *base, const struct ikey *target)
{
	(void)target;
	tombs_iter_end(base);
}

static const struct iter_ops tombs_iter_ops = {
	.first = tombs_iter_end,
	.last = tombs_iter_end,
	.seek_ge = tombs_iter_seek,
	.seek_lt = tombs_iter_seek,
	.next = tombs_iter_end,
	.prev = tombs_iter_end,
	.close = table_iter_close,
};

/* ------------------------------------------------------------- making */

static int new_iter(struct table *t, const struct iter_ops *ops,
		    enum table_scan scan, struct iter **out)
{
	struct table_iter *it = malloc(sizeof(*it));

	if (!it)
		return error_nomem();
	*it = (struct table_iter){
		.base.ops = ops,
		.table = t,
		.scan = scan,
		/* Compactions do not read operands, they move them. */
		.kinds = scan == TABLE_SCAN_BULK ? TABLE_KINDS : t->kinds,
		.ahead = AHEAD_MIN,
	};
	if (t->range_dels) {
		it->scope.set = t->range_dels;
		it->base.scope = &it->scope;
	}
	block_iter_init(&it->entry, t->seqno_bits, it->key, sizeof(it->key));
	*out = &it->base;
	return CAIRN_OK;
}

int table_iter_new(struct table *t, enum table_scan scan, struct iter **out)
{
	return new_iter(t, &table_iter_ops, scan, out);
}

int table_tombs_iter_new(struct table *t, struct iter **out)
{
	return new_iter(t, &tombs_iter_ops, TABLE_SCAN_NO_FILL, out);
}

void table_iter_on_close(struct iter *base, void (*on_close)(void *ctx),
			 void *ctx)
{
	struct table_iter *it = (struct table_iter *)base;

	assert(base->ops == &table_iter_ops || base->ops == &tombs_iter_ops);
	it->on_close = on_close;
	it->on_close_ctx = ctx;
}
