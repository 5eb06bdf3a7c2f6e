/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input: a table file. The seeds are tables of RocksDB and LevelDB, those with
 * a footer that has a checksum type told to have none, so that blocks can be
 * changed and are still read.
 */
#include "engine/base/error.h"
#include "engine/table/table.h"
#include "tests/fuzz/bytes.h"

/* A block of few bytes may hold many entries that share their keys. */
#define ENTRIES_MAX 20000

static void is_failure(int err)
{
	FUZZ_CHECK(err == CAIRN_OK || err == CAIRN_ECORRUPT ||
		   err == CAIRN_ENOTSUP);
	if (err)
		FUZZ_CHECK(strncmp(cairn_errmsg(), "table", 5) == 0);
}

static size_t fixed4(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len >= 4 ? 4 : SIZE_MAX;
}

static void walk(struct table *t, bool forward)
{
	struct iter *it;
	size_t n = 0;
	int err = table_iter_new(t, TABLE_SCAN_BULK, &it);

	is_failure(err);
	if (err)
		return;
	if (forward)
		iter_first(it);
	else
		iter_last(it);
	while (it->valid && n++ < ENTRIES_MAX) {
		if (forward)
			iter_next(it);
		else
			iter_prev(it);
	}
	if (!it->valid)
		is_failure(it->status);
	iter_close(it);
}

/* Look for some of the keys that are there. */
static void look(struct table *t)
{
	struct iter *it, *other;
	size_t n = 0;

	if (table_iter_new(t, TABLE_SCAN_CACHED, &it))
		return;
	if (table_iter_new(t, TABLE_SCAN_CACHED, &other)) {
		iter_close(it);
		return;
	}
	for (iter_first(it); it->valid && n < ENTRIES_MAX; iter_next(it)) {
		struct cairn_pinned value = { 0 };
		uint64_t trailer;

		if (n++ % 7)
			continue;
		if (table_get(t, it->key.user_key, SEQNO_MAX, true, &trailer,
			      &value) == CAIRN_OK)
			cairn_pinned_release(&value);
		iter_seek_ge(other, &it->key);
		iter_seek_lt(other, &it->key);
		if (it->key.user_key.len >= 4)
			iter_seek_prefix_ge(other, &it->key,
					    slice_of(it->key.user_key.data, 4));
	}
	iter_close(other);
	iter_close(it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct cairn_prefix_extractor px = {
		"rocksdb.FixedPrefix.4", NULL, fixed4
	};
	struct bytes_file f = bytes_file_of(slice_of(data, len));
	struct table_read_options opts = { .prefix = &px, .seqno_known = true };
	struct table *t;
	int err;

	FUZZ_CHECK(!block_cache_new(1u << 20, &opts.cache));
	err = table_open(&f.base, "table", 1, len, &opts, &t);
	is_failure(err);
	if (!err) {
		is_failure(table_verify(t));
		walk(t, true);
		walk(t, false);
		look(t);
		table_close(t);
	}
	block_cache_free(opts.cache);
	return 0;
}
