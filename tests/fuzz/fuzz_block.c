/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: the contents of a data block. */
#include "engine/table/block.h"
#include "tests/fuzz/fuzz.h"

#define STACK_KEY_LEN 64

struct keys {
	struct buf *key; /* encoded */
	size_t n;
	bool ascending; /* what a block without damage is */
};

static void keys_fini(struct keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		buf_fini(&k->key[i]);
	free(k->key);
}

static struct ikey decoded(const struct buf *b)
{
	struct ikey k;

	FUZZ_CHECK(ikey_decode(buf_slice(b), &k));
	return k;
}

static void touch(struct cairn_slice value)
{
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < value.len; i++)
		sum = (uint8_t)(sum + value.data[i]);
}

/* Forward, keeping the keys. */
static int walk(struct block_iter *it, struct keys *k)
{
	int err;

	k->ascending = true;
	for (err = block_iter_first(it); !err; err = block_iter_next(it)) {
		struct buf *to = &k->key[k->n];

		*to = (struct buf){ 0 };
		FUZZ_CHECK(!buf_set(to, slice_of(it->buf, it->key_len)));
		touch(it->value);
		if (k->n++ && k->ascending) {
			struct ikey last = decoded(to - 1);

			k->ascending = ikey_cmp(&last, &it->key) < 0;
		}
	}
	return err;
}

static void walk_back(struct block_iter *it, const struct keys *k)
{
	size_t i = k->n;
	int err;

	for (err = block_iter_last(it); !err; err = block_iter_prev(it)) {
		FUZZ_CHECK(i-- > 0);
		FUZZ_CHECK(slice_eq(slice_of(it->buf, it->key_len),
				    buf_slice(&k->key[i])));
	}
	FUZZ_CHECK(err == CAIRN_NOT_FOUND && i == 0);
}

/* Only what is in order can be found, but all can be looked for. */
static void seek_all(struct block_iter *it, const struct keys *k)
{
	for (size_t i = 0; i < k->n; i++) {
		struct ikey key = decoded(&k->key[i]);
		int err = block_iter_seek_ge(it, &key);

		FUZZ_CHECK(!k->ascending || (!err && it->pos == i));
		err = block_iter_seek_lt(it, &key);
		if (k->ascending)
			FUZZ_CHECK(i ? !err && it->pos == i - 1
				     : err == CAIRN_NOT_FOUND);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t stack[STACK_KEY_LEN];
	struct keys k = { 0 };
	struct block_iter it;
	struct block b;
	int err;

	if (block_init(&b, slice_of(data, len)))
		return 0;
	err = block_index(&b);
	if (err) {
		FUZZ_CHECK(err == CAIRN_ECORRUPT);
		block_fini(&b);
		return 0;
	}
	k.key = calloc((size_t)b.n + 1, sizeof(*k.key));
	FUZZ_CHECK(k.key);
	block_iter_init(&it, 0, stack, sizeof(stack));
	block_iter_set(&it, &b);
	err = walk(&it, &k);
	/* Each entry was checked before. */
	FUZZ_CHECK(err == CAIRN_NOT_FOUND && k.n == b.n);
	walk_back(&it, &k);
	if (k.n < 2000)
		seek_all(&it, &k);
	block_iter_fini(&it);
	block_fini(&b);
	keys_fini(&k);
	return 0;
}
