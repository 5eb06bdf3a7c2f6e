/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/filter.h"

#include "engine/base/hash.h"

void filter_builder_init(struct filter_builder *b, double bits_per_key,
			 const struct cairn_prefix_extractor *px)
{
	*b = (struct filter_builder){
		.millibits = bloom_millibits(bits_per_key),
		.px = px,
	};
}

void filter_builder_fini(struct filter_builder *b)
{
	buf_fini(&b->hashes);
}

/* Equal neighbours, a key that is its own prefix for one, are added once. */
static int add(struct filter_builder *b, uint64_t hash)
{
	const struct buf *h = &b->hashes;

	if (h->len &&
	    !memcmp(h->data + h->len - sizeof(hash), &hash, sizeof(hash)))
		return CAIRN_OK;
	return buf_append(&b->hashes, &hash, sizeof(hash));
}

int filter_builder_add(struct filter_builder *b, struct cairn_slice user_key)
{
	uint64_t hash;
	size_t len;
	int err;

	if (!b->millibits)
		return CAIRN_OK;
	hash = hash64(user_key.data, user_key.len);
	if (b->any && hash == b->last_key)
		return CAIRN_OK;
	err = add(b, hash);
	if (err)
		return err;
	b->any = true;
	b->last_key = hash;
	if (!b->px)
		return CAIRN_OK;
	len = b->px->prefix_len(b->px->ctx, user_key);
	if (len > user_key.len)
		return CAIRN_OK; /* this key has no prefix */
	hash = hash64(user_key.data, len);
	if (b->any_prefix && hash == b->last_prefix)
		return CAIRN_OK;
	b->any_prefix = true;
	b->last_prefix = hash;
	return add(b, hash);
}

uint64_t filter_builder_entries(const struct filter_builder *b)
{
	return b->hashes.len / sizeof(uint64_t);
}

size_t filter_builder_size(const struct filter_builder *b)
{
	return (size_t)(filter_builder_entries(b) * b->millibits / 8000);
}

int filter_builder_finish(struct filter_builder *b, struct buf *out)
{
	/* The buffer comes from malloc, so it is aligned for its elements. */
	const void *hashes = b->hashes.data;

	return bloom_build(hashes, (size_t)filter_builder_entries(b),
			   b->millibits, out);
}
