/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking a whole table: every block's checksum, every entry, the order of the
 * keys, that the index separates the blocks and the filter knows the keys, and
 * that there are as many entries and range tombstones as the properties say. Of
 * an external table also that entries are numbered 0 and no user key is there
 * twice.
 */
#include <inttypes.h>

#include "engine/base/error.h"
#include "engine/kv/kind.h"
#include "engine/table/table_priv.h"

#define WINDOW_LEN    (1u << 20)
#define STACK_KEY_LEN 512

struct verifier {
	struct table *t;
	struct read_window window;
	struct buf reuse;
	uint64_t entries;
	struct buf last_key; /* internal key of the entry before */
	bool any;
};

/* As the one who ingests a table relies on it; last is valid if v->any. */
static int check_external(const struct verifier *v, const struct ikey *last,
			  const struct ikey *key)
{
	if (!v->t->props.has_external_version)
		return CAIRN_OK;
	if (ikey_seqno(key) != 0)
		return error_set(CAIRN_ECORRUPT,
				 "an entry of an external table is numbered");
	if (v->any && slice_eq(last->user_key, key->user_key))
		return error_set(CAIRN_ECORRUPT,
				 "a key of an external table is there twice");
	return CAIRN_OK;
}

/* What is wrong with the present entry, next to its neighbours. */
static int check_entry(struct verifier *v, const struct block_iter *it)
{
	struct table *t = v->t;
	struct ikey last = { 0 };
	int err;

	if (v->any && (!ikey_decode(buf_slice(&v->last_key), &last) ||
		       ikey_cmp(&last, &it->key) >= 0))
		return error_set(CAIRN_ECORRUPT, "keys are out of order");
	if (t->filter.kind == TABLE_FILTER_FULL && t->filter.whole &&
	    !bloom_may_contain(&t->filter.full->bloom, it->key.user_key))
		return error_set(CAIRN_ECORRUPT,
				 "the filter denies a key that is there");
	if (!table_kind_among(ikey_kind(&it->key), TABLE_KINDS))
		return kind_refuse(ikey_kind(&it->key), "entry");
	err = check_external(v, &last, &it->key);
	if (!err)
		err = buf_set(&v->last_key, slice_of(it->buf, it->key_len));
	v->any = true;
	v->entries++;
	return err;
}

/* Entry i of leaf, and its block. prev: the separator before it is known. */
static int check_block(struct verifier *v, const struct index *leaf, uint32_t i,
		       struct cairn_slice contents)
{
	uint8_t key[STACK_KEY_LEN];
	struct block_iter it;
	struct block b;
	bool first = true;
	int err = block_init(&b, contents);

	if (err)
		return err;
	/* As stored: separators do not know of global sequence numbers. */
	block_iter_init(&it, 0, key, sizeof(key));
	err = block_index(&b);
	block_iter_set(&it, &b);
	if (!err)
		err = block_iter_first(&it);
	while (!err) {
		if (first && i > 0 && index_compare(leaf, i - 1, &it.key) >= 0)
			err = error_set(CAIRN_ECORRUPT,
					"begins before the separator that "
					"should precede it");
		first = false;
		if (!err)
			err = check_entry(v, &it);
		if (!err)
			err = block_iter_next(&it);
	}
	if (err == CAIRN_NOT_FOUND)
		err = CAIRN_OK;
	/* The iterator stands nowhere, but its key is still the last one's. */
	if (!err && b.n && index_compare(leaf, i, &it.key) < 0)
		err = error_set(CAIRN_ECORRUPT,
				"ends behind its separator in the index");
	block_iter_fini(&it);
	block_fini(&b);
	return err;
}

static int verify_block(struct verifier *v, const struct index *leaf,
			uint32_t i)
{
	const struct block_source *s = &v->t->source;
	struct block_handle h = index_handle(leaf, i);
	size_t want = (size_t)h.size + BLOCK_TRAILER_LEN;
	struct cairn_slice contents;
	int err = CAIRN_OK;

	if (want < WINDOW_LEN)
		want = WINDOW_LEN;
	if (!read_window_has(&v->window, h))
		err = read_window_fill(s, &v->window, h.offset, want);
	if (!err)
		err = block_read_reusing(s, h, &v->window, v->t->dict,
					 &v->reuse, &contents);
	if (err)
		return err;
	err = check_block(v, leaf, i, contents);
	return err ? block_failure(s, h, err) : CAIRN_OK;
}

static int verify_data(struct verifier *v)
{
	int err = CAIRN_OK;

	for (uint32_t p = 0; p < table_index_parts(v->t) && !err; p++) {
		struct cache_pin pin = { NULL, NULL };
		const struct index *leaf = NULL;

		err = table_index_part(v->t, p, false, &pin, &leaf);
		for (uint32_t i = 0; !err && i < leaf->n; i++)
			err = verify_block(v, leaf, i);
		cache_pin_release(&pin);
	}
	return err;
}

/* The parts of a filter are only read; a full one is in memory already. */
static int verify_filter(struct verifier *v)
{
	const struct index *parts = &v->t->filter.parts;
	int err = CAIRN_OK;

	for (uint32_t i = 0; i < parts->n && !err; i++) {
		struct cairn_slice contents;

		err = block_read_reusing(&v->t->source, index_handle(parts, i),
					 &v->window, NULL, &v->reuse,
					 &contents);
	}
	return err;
}

static int verify_count(const struct verifier *v)
{
	const struct table_props *p = &v->t->props;

	if (!v->t->has_props || v->entries == p->entries - p->range_deletions)
		return CAIRN_OK;
	return error_set(
		CAIRN_ECORRUPT, "%s: %" PRIu64 " entries, should be %" PRIu64,
		v->t->path, v->entries, p->entries - p->range_deletions);
}

/* The tombstones themselves were checked when the table was opened. */
static int verify_range_dels(const struct table *t)
{
	if (!t->has_props || t->n_range_dels == t->props.range_deletions)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "%s: %" PRIu64 " range tombstones, should be %" PRIu64,
			 t->path, t->n_range_dels, t->props.range_deletions);
}

int table_verify(struct table *t)
{
	struct verifier v = { .t = t };
	int err = verify_data(&v);

	if (!err)
		err = verify_filter(&v);
	if (!err)
		err = verify_count(&v);
	if (!err)
		err = verify_range_dels(t);
	read_window_fini(&v.window);
	buf_fini(&v.reuse);
	buf_fini(&v.last_key);
	return err;
}
