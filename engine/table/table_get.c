/* SPDX-License-Identifier: BSD-3-Clause */
/* Point reads: the filter, the index, and one block. */
#include "engine/base/error.h"
#include "engine/table/table_priv.h"

/* Keys up to this length are put together on the stack. */
#define STACK_KEY_LEN 512

static int ask_part(struct table *t, struct cairn_slice probe,
		    const struct ikey *where, bool fill)
{
	struct index *parts = &t->filter.parts;
	uint32_t i = index_seek(parts, where);
	struct cache_pin pin = { NULL, NULL };
	bool maybe;
	int err;

	if (parts->n == 0)
		return CAIRN_OK;
	/* Keys beyond the last separator are in the last part. */
	if (i == parts->n)
		i--;
	err = table_pin(t, CACHE_FILTER, index_handle(parts, i),
			&parts->entry[i].slot, fill, NULL, &pin);
	if (err)
		return err;
	maybe = bloom_may_contain(&((struct filter_block *)pin.value)->bloom,
				  probe);
	cache_pin_release(&pin);
	return maybe ? CAIRN_OK : CAIRN_NOT_FOUND;
}

static inline void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

int table_filter_check(struct table *t, struct cairn_slice probe,
		       const struct ikey *where, bool fill)
{
	struct table_stats *stats = t->opts.stats;
	int err = CAIRN_OK;

	if (t->filter.kind == TABLE_FILTER_FULL)
		err = bloom_may_contain(&t->filter.full->bloom, probe)
			      ? CAIRN_OK
			      : CAIRN_NOT_FOUND;
	else
		err = ask_part(t, probe, where, fill);
	if (stats) {
		count(&stats->filter_checks);
		if (err == CAIRN_NOT_FOUND)
			count(&stats->filter_negatives);
	}
	return err;
}

/* Ask whatever the filter knows of a key; *asked: it knew something. */
static int filter_key(struct table *t, const struct ikey *target, bool fill,
		      bool *asked)
{
	const struct cairn_prefix_extractor *px = t->opts.prefix;
	struct cairn_slice probe = target->user_key;

	*asked = false;
	if (t->filter.kind == TABLE_FILTER_NONE)
		return CAIRN_OK;
	if (!t->filter.whole) {
		size_t len;

		if (!t->filter.prefix)
			return CAIRN_OK;
		len = px->prefix_len(px->ctx, probe);
		if (len > probe.len)
			return CAIRN_OK; /* has none, and was not added */
		probe.len = len;
	}
	*asked = true;
	return table_filter_check(t, probe, target, fill);
}

/* Look into the one block that can hold the target's user key. */
static int get_in_block(struct table *t, const struct index *leaf, uint32_t i,
			const struct ikey *target, bool fill, uint64_t *trailer,
			struct cairn_pinned *value)
{
	struct block_handle h = index_handle(leaf, i);
	struct cache_pin pin = { NULL, NULL };
	uint8_t key[STACK_KEY_LEN];
	struct block_iter it;
	int err = table_pin(t, CACHE_DATA, h, &leaf->entry[i].slot, fill, NULL,
			    &pin);

	if (err)
		return err;
	data_block_prefetch((struct data_block *)pin.value);
	block_iter_init(&it, t->seqno_bits, key, sizeof(key));
	block_iter_set(&it, &((struct data_block *)pin.value)->block);
	err = block_iter_seek_ge(&it, target);
	if (err < 0)
		err = block_failure(&t->source, h, err);
	else if (!err && !slice_eq(it.key.user_key, target->user_key))
		err = CAIRN_NOT_FOUND;
	else if (!err && !table_kind_among(ikey_kind(&it.key), t->kinds))
		err = table_refuse_kind(t, ikey_kind(&it.key));
	if (!err) {
		*trailer = it.key.trailer;
		value->value = it.value;
		if (pin.ref) {
			value->release = block_cache_unpin;
			value->owner = pin.ref;
		} else {
			value->release = block_cache_free_value;
			value->owner = pin.value;
		}
		pin = (struct cache_pin){ NULL, NULL }; /* value has it */
	}
	block_iter_fini(&it);
	cache_pin_release(&pin);
	return err;
}

static int get_by_index(struct table *t, const struct ikey *target, bool fill,
			uint64_t *trailer, struct cairn_pinned *value)
{
	const struct index *leaf = NULL;
	struct cache_pin pin = { NULL, NULL };
	uint32_t part = 0, i;
	int err;

	if (t->two_level) {
		part = index_seek(&t->index, target);
		if (part == t->index.n)
			return CAIRN_NOT_FOUND;
	}
	err = table_index_part(t, part, fill, &pin, &leaf);
	if (err)
		return err;
	i = index_seek(leaf, target);
	err = i < leaf->n
		      ? get_in_block(t, leaf, i, target, fill, trailer, value)
		      : CAIRN_NOT_FOUND;
	cache_pin_release(&pin);
	return err;
}

int table_get(struct table *t, struct cairn_slice user_key, uint64_t snapshot,
	      bool fill_cache, uint64_t *trailer, struct cairn_pinned *value)
{
	struct ikey target = ikey_seek(user_key, snapshot);
	bool asked;
	int err = filter_key(t, &target, fill_cache, &asked);

	if (err)
		return err;
	err = get_by_index(t, &target, fill_cache, trailer, value);
	if (err == CAIRN_NOT_FOUND && asked && t->opts.stats)
		count(&t->opts.stats->filter_false_positives);
	return err;
}

/* Behind the last data block: what follows is not data. */
static uint64_t data_end(const struct table *t)
{
	uint64_t end = t->props.data_bytes;

	/* A number from the file: it may be anything, or missing. */
	return end && end < t->source.file_len ? end : t->source.file_len;
}

int table_offset_of(struct table *t, struct cairn_slice user_key,
		    uint64_t *offset)
{
	struct ikey target = ikey_seek(user_key, SEQNO_MAX);
	const struct index *leaf = NULL;
	struct cache_pin pin = { NULL, NULL };
	uint32_t part = 0, i;
	int err;

	if (t->two_level) {
		part = index_seek(&t->index, &target);
		if (part == t->index.n) {
			*offset = data_end(t);
			return CAIRN_OK;
		}
	}
	err = table_index_part(t, part, true, &pin, &leaf);
	if (err)
		return err;
	i = index_seek(leaf, &target);
	*offset = i < leaf->n ? index_handle(leaf, i).offset : data_end(t);
	cache_pin_release(&pin);
	return CAIRN_OK;
}
