/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of a table in memory: loaded from the file, pinned in the cache. */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/table/table_priv.h"

/* Blocks up to this length are copied to where their arrays are. */
#define PACK_LEN_MAX (64u << 10)

static void data_block_free(struct cache_value *v)
{
	struct data_block *b = (struct data_block *)v;

	block_fini(&b->block);
	free(b);
}

static void index_block_free(struct cache_value *v)
{
	struct index_block *b = (struct index_block *)v;

	index_fini(&b->index);
	free(b);
}

static void filter_block_free(struct cache_value *v)
{
	free(v);
}

/*
 * Put the contents behind the arrays of a surveyed block, all in one
 * allocation. Not worth copying when the block is large.
 */
static int pack(struct data_block *from, struct data_block **out)
{
	size_t arrays = block_index_bytes(&from->block);
	struct data_block *b = malloc(sizeof(*b) + arrays + from->block.len);
	uint8_t *room;
	int err;

	if (!b)
		return error_nomem();
	*b = *from;
	room = (uint8_t *)(b + 1);
	memcpy(room + arrays, from->block.data, from->block.len);
	err = block_index_at(&b->block, b + 1, room + arrays);
	if (err) {
		free(b);
		return err;
	}
	free(from);
	*out = b;
	return CAIRN_OK;
}

static int load_data(struct table *t, struct block_handle h,
		     struct cache_value **out)
{
	struct data_block *b;
	void *memory;
	size_t len;
	int err = block_read(&t->source, h, NULL, t->dict, sizeof(*b), &memory,
			     &len);

	if (err)
		return err;
	b = memory;
	err = block_init(&b->block, slice_of(b + 1, len));
	if (!err)
		err = block_survey(&b->block);
	if (!err)
		err = len <= PACK_LEN_MAX ? pack(b, &b)
					  : block_index(&b->block);
	if (err) {
		free(b);
		return block_failure(&t->source, h, err);
	}
	b->base.free = data_block_free;
	b->base.bytes = sizeof(*b) + len + block_index_bytes(&b->block);
	*out = &b->base;
	return CAIRN_OK;
}

/* Index parts, like all blocks but those with data, know no dictionary. */
int table_load_index(struct table *t, struct block_handle h,
		     const struct read_window *window, struct index *out)
{
	void *contents;
	size_t len;
	int err = block_read(&t->source, h, window, NULL, 0, &contents, &len);

	if (err)
		return err;
	err = index_decode(slice_of(contents, len), &t->index_format, out);
	free(contents);
	return err ? block_failure(&t->source, h, err) : CAIRN_OK;
}

static int load_index_part(struct table *t, struct block_handle h,
			   struct cache_value **out)
{
	struct index_block *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return error_nomem();
	err = table_load_index(t, h, NULL, &b->index);
	if (err) {
		free(b);
		return err;
	}
	b->base.free = index_block_free;
	b->base.bytes = sizeof(*b) + b->index.bytes;
	*out = &b->base;
	return CAIRN_OK;
}

int table_load_filter(struct table *t, struct block_handle h,
		      const struct read_window *window,
		      struct filter_block **out)
{
	struct filter_block *b;
	void *memory;
	size_t len;
	int err = block_read(&t->source, h, window, NULL, sizeof(*b), &memory,
			     &len);

	if (err)
		return err;
	b = memory;
	bloom_open(&b->bloom, slice_of(b + 1, len));
	b->base.free = filter_block_free;
	b->base.bytes = sizeof(*b) + len;
	*out = b;
	return CAIRN_OK;
}

struct load {
	struct table *table;
	enum cache_kind kind;
	struct block_handle handle;
	bool done;
};

static int load(void *ctx, struct cache_value **out)
{
	struct load *l = ctx;
	struct filter_block *filter;
	int err;

	l->done = true;
	switch (l->kind) {
	case CACHE_DATA:
		return load_data(l->table, l->handle, out);
	case CACHE_INDEX:
		return load_index_part(l->table, l->handle, out);
	case CACHE_FILTER:
		break;
	}
	err = table_load_filter(l->table, l->handle, NULL, &filter);
	if (!err)
		*out = &filter->base;
	return err;
}

int table_pin(struct table *t, enum cache_kind kind, struct block_handle h,
	      _Atomic(struct block_handle_ref *) *slot, bool fill, bool *loaded,
	      struct cache_pin *out)
{
	struct cache_key key = cache_key_of(t->number, kind, h.offset);
	struct load l = { t, kind, h, false };
	struct cache_value *value;
	int err;

	if (t->opts.cache) {
		const struct cache_loader loader = { load, &l };

		err = cache_pin_hint(slot, key, out)
			      ? CAIRN_OK
			      : block_cache_pin(t->opts.cache, key, slot,
						&loader, fill, out);
	} else {
		err = load(&l, &value);
		if (!err)
			*out = (struct cache_pin){ NULL, value };
	}
	if (loaded)
		*loaded = l.done;
	return err;
}

int table_index_part(struct table *t, uint32_t i, bool fill,
		     struct cache_pin *pin, const struct index **out)
{
	int err;

	if (!t->two_level) {
		*out = &t->index;
		return CAIRN_OK;
	}
	err = table_pin(t, CACHE_INDEX, index_handle(&t->index, i),
			&t->index.entry[i].slot, fill, NULL, pin);
	if (!err)
		*out = &((struct index_block *)pin->value)->index;
	return err;
}
