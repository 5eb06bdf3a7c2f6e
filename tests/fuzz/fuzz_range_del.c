/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input: the contents of a block of range tombstones. What the set of them says
 * of every key near them is compared with what the list says.
 */
#include "engine/kv/range_del.h"
#include "engine/table/block.h"
#include "tests/fuzz/fuzz.h"

#define TOMBS_MAX 64

struct tombs {
	struct range_del t[TOMBS_MAX];
	struct buf keys[TOMBS_MAX];
	size_t n;
};

static void add(struct tombs *l, const struct ikey *key, struct cairn_slice end)
{
	struct buf *b = &l->keys[l->n];

	FUZZ_CHECK(!buf_set(b, key->user_key));
	l->t[l->n++] = (struct range_del){ buf_slice(b), end, ikey_seqno(key) };
}

static bool parse(struct cairn_slice in, struct tombs *l)
{
	struct block_cursor c = { 0 };
	int err = block_cursor_init(&c, in, false);

	while (!err && l->n < TOMBS_MAX) {
		struct ikey key;

		err = block_cursor_next(&c, NULL);
		if (!err && ikey_decode(buf_slice(&c.key), &key))
			add(l, &key, c.value);
	}
	block_cursor_fini(&c);
	return l->n > 0;
}

static uint64_t by_list(const struct tombs *l, struct cairn_slice key,
			uint64_t seqno)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < l->n; i++)
		if (slice_cmp(l->t[i].start, key) <= 0 &&
		    slice_cmp(key, l->t[i].end) < 0 && l->t[i].seqno <= seqno &&
		    l->t[i].seqno > newest)
			newest = l->t[i].seqno;
	return newest;
}

static void probe(const struct tombs *l, const struct range_dels *d,
		  struct cairn_slice key)
{
	for (size_t i = 0; i < l->n; i++) {
		uint64_t s = l->t[i].seqno;

		FUZZ_CHECK(range_dels_cover(d, key, s) == by_list(l, key, s));
		if (s)
			FUZZ_CHECK(range_dels_cover(d, key, s - 1) ==
				   by_list(l, key, s - 1));
	}
}

/* A key, one just behind it, and one before it. */
static void probe_near(const struct tombs *l, const struct range_dels *d,
		       struct cairn_slice key)
{
	struct buf b = { 0 };

	probe(l, d, key);
	FUZZ_CHECK(!buf_set(&b, key));
	FUZZ_CHECK(!buf_append(&b, "", 1));
	probe(l, d, buf_slice(&b));
	if (key.len) {
		key.len--;
		probe(l, d, key);
	}
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct range_del_list list = { 0 };
	struct range_dels *d = NULL;
	struct tombs l = { .n = 0 };

	if (parse(slice_of(data, len), &l)) {
		for (size_t i = 0; i < l.n; i++)
			FUZZ_CHECK(!range_del_list_add(&list, &l.t[i]));
		FUZZ_CHECK(!range_dels_new(&list, &d));
		for (size_t i = 0; d && i < l.n; i++) {
			probe_near(&l, d, l.t[i].start);
			probe_near(&l, d, l.t[i].end);
		}
	}
	range_dels_unref(d);
	range_del_list_fini(&list);
	for (size_t i = 0; i < l.n; i++)
		buf_fini(&l.keys[i]);
	return 0;
}
