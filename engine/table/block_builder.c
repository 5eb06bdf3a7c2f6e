/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/block_builder.h"

#include <assert.h>

void block_builder_init(struct block_builder *b, uint32_t restart_interval)
{
	assert(restart_interval > 0);
	*b = (struct block_builder){ .restart_interval = restart_interval };
}

void block_builder_fini(struct block_builder *b)
{
	buf_fini(&b->bytes);
	buf_fini(&b->restarts);
	buf_fini(&b->last_key);
}

void block_builder_reset(struct block_builder *b)
{
	buf_clear(&b->bytes);
	buf_clear(&b->restarts);
	buf_clear(&b->last_key);
	b->n = 0;
	b->since_restart = 0;
}

/* How many bytes a and b have in common at the front. */
static size_t common_len(const uint8_t *a, const uint8_t *b, size_t max)
{
	size_t i = 0;

	for (; i + 8 <= max; i += 8) {
		uint64_t diff = load_le64(a + i) ^ load_le64(b + i);

		if (diff)
			return i + (size_t)__builtin_ctzll(diff) / 8;
	}
	while (i < max && a[i] == b[i])
		i++;
	return i;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Of head followed by tail with the key before it. */
static size_t shared_len(const struct block_builder *b, struct cairn_slice head,
			 struct cairn_slice tail)
{
	const struct buf *last = &b->last_key;
	size_t n = common_len(last->data, head.data,
			      min_size(last->len, head.len));

	if (n == head.len)
		n += common_len(last->data + n, tail.data,
				min_size(last->len - n, tail.len));
	return n;
}

/* A restart point here when it is time; whether there is one. */
static int restart(struct block_builder *b, bool *is_restart)
{
	*is_restart = b->n == 0 || b->since_restart >= b->restart_interval;
	if (!*is_restart)
		return CAIRN_OK;
	b->since_restart = 0;
	assert(b->bytes.len <= UINT32_MAX);
	return buf_append_le32(&b->restarts, (uint32_t)b->bytes.len);
}

/* Make last_key head followed by tail, whose first n bytes it has already. */
static int remember(struct block_builder *b, struct cairn_slice head,
		    struct cairn_slice tail, size_t n)
{
	int err;

	b->last_key.len = n;
	err = buf_reserve(&b->last_key, head.len + tail.len - n);
	if (!err && n < head.len) {
		err = buf_append(&b->last_key, head.data + n, head.len - n);
		n = head.len;
	}
	if (!err && n < head.len + tail.len)
		err = buf_append(&b->last_key, tail.data + (n - head.len),
				 head.len + tail.len - n);
	return err;
}

int block_builder_add(struct block_builder *b, struct cairn_slice head,
		      struct cairn_slice tail, struct cairn_slice value)
{
	size_t key_len = head.len + tail.len;
	size_t shared;
	bool is_restart;
	uint8_t *p;
	int err = restart(b, &is_restart);

	if (err)
		return err;
	shared = is_restart ? 0 : shared_len(b, head, tail);
	err = remember(b, head, tail, shared);
	if (!err)
		err = buf_reserve(&b->bytes,
				  block_builder_entry_size(key_len, value.len));
	if (err)
		return err;
	p = b->bytes.data + b->bytes.len;
	p = put_varint64(p, shared);
	p = put_varint64(p, key_len - shared);
	p = put_varint64(p, value.len);
	if (key_len > shared)
		memcpy(p, b->last_key.data + shared, key_len - shared);
	p += key_len - shared;
	if (value.len)
		memcpy(p, value.data, value.len);
	b->bytes.len = (size_t)(p + value.len - b->bytes.data);
	b->n++;
	b->since_restart++;
	return CAIRN_OK;
}

int block_builder_add_bare(struct block_builder *b, struct cairn_slice key,
			   struct cairn_slice value)
{
	bool is_restart;
	int err;

	assert(b->restart_interval == 1);
	err = restart(b, &is_restart);
	if (!err)
		err = buf_append_varint(&b->bytes, 0);
	if (!err)
		err = buf_append_varint(&b->bytes, key.len);
	if (!err)
		err = buf_append(&b->bytes, key.data, key.len);
	if (!err)
		err = buf_append(&b->bytes, value.data, value.len);
	if (err)
		return err;
	b->n++;
	b->since_restart++;
	return CAIRN_OK;
}

size_t block_builder_size(const struct block_builder *b)
{
	/* An empty block has a restart point, too. */
	return b->bytes.len + (b->n ? b->restarts.len : 4) + 4;
}

size_t block_builder_entry_size(size_t key_len, size_t value_len)
{
	return 3 * VARINT32_MAX_LEN + key_len + value_len;
}

int block_builder_finish(struct block_builder *b, struct cairn_slice *contents)
{
	size_t n = b->restarts.len / 4;
	int err = CAIRN_OK;

	if (n == 0) {
		err = buf_append_le32(&b->restarts, 0);
		n = 1;
	}
	if (!err)
		err = buf_append(&b->bytes, b->restarts.data, b->restarts.len);
	if (!err)
		err = buf_append_le32(&b->bytes, (uint32_t)n);
	if (!err)
		*contents = buf_slice(&b->bytes);
	return err;
}
