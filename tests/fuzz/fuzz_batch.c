/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a write batch, as the payload of a record of the log. */
#include "engine/kv/batch.h"
#include "engine/mem/memtable.h"
#include "tests/fuzz/fuzz.h"

static void check_tombstones(struct memtable *m)
{
	struct range_del_list list = { 0 };
	struct range_dels *d = NULL;

	FUZZ_CHECK(!memtable_list_range_dels(m, &list));
	FUZZ_CHECK(list.n <= memtable_range_deletions(m));
	FUZZ_CHECK(!memtable_range_dels(m, &d));
	FUZZ_CHECK((d == NULL) == (list.n == 0));
	range_dels_unref(d);
	range_del_list_fini(&list);
}

static void check_memtable(struct memtable *m)
{
	struct iter *it;
	uint64_t n = 0;

	FUZZ_CHECK(!memtable_iter_new(m, &it));
	for (iter_first(it); it->valid; iter_next(it)) {
		struct cairn_slice value;
		uint64_t trailer;

		n++;
		FUZZ_CHECK(memtable_get(m, it->key.user_key,
					ikey_seqno(&it->key), &trailer,
					&value) == CAIRN_OK);
		FUZZ_CHECK(trailer == it->key.trailer);
		FUZZ_CHECK(slice_eq(value, it->value));
	}
	FUZZ_CHECK(!it->status);
	FUZZ_CHECK(n + memtable_range_deletions(m) == memtable_entries(m));
	iter_close(it);
	check_tombstones(m);
}

static void apply(struct cairn_slice batch)
{
	size_t cost = memtable_batch_cost(batch.len, batch_bytes_count(batch));
	struct memtable *m;

	FUZZ_CHECK(!memtable_new(cost < 4096 ? 4096 : cost, 1, &m));
	FUZZ_CHECK(memtable_reserve(m, cost));
	if (!memtable_apply(m, batch))
		check_memtable(m);
	memtable_writer_unref(m);
	memtable_writer_unref(m);
	memtable_unref(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice in = slice_of(data, len);
	struct batch_reader r;
	struct batch_op op;
	uint32_t n = 0;
	int err = batch_validate(in);

	FUZZ_CHECK(err == CAIRN_OK || err == CAIRN_ECORRUPT ||
		   err == CAIRN_ENOTSUP);
	if (err)
		return 0;
	FUZZ_CHECK(!batch_reader_init(&r, in));
	while (!(err = batch_reader_next(&r, &op)))
		n += op.kind != KIND_LOG_DATA;
	FUZZ_CHECK(err == CAIRN_NOT_FOUND);
	FUZZ_CHECK(n == batch_bytes_count(in));
	/* Replay refuses what ends above the largest sequence number. */
	if (batch_bytes_seqno(in) <= SEQNO_MAX - n)
		apply(in);
	return 0;
}
