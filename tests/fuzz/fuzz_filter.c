/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a filter block. Its own bytes serve as keys. */
#include "engine/table/bloom.h"
#include "engine/table/filter.h"
#include "tests/fuzz/fuzz.h"

#define N_KEYS 64

/* A filter made of the pieces of in denies none of them. */
static void check_made(struct cairn_slice in, size_t piece)
{
	struct filter_builder b;
	struct buf made = { 0 };
	struct bloom f;

	filter_builder_init(&b, 1 + (double)(in.data[0] % 30), NULL);
	for (size_t i = 0; i < N_KEYS && (i + 1) * piece <= in.len; i++)
		FUZZ_CHECK(!filter_builder_add(
			&b, slice_of(in.data + i * piece, piece)));
	FUZZ_CHECK(!filter_builder_finish(&b, &made));
	bloom_open(&f, buf_slice(&made));
	for (size_t i = 0; i < N_KEYS && (i + 1) * piece <= in.len; i++)
		FUZZ_CHECK(bloom_may_contain(
			&f, slice_of(in.data + i * piece, piece)));
	filter_builder_fini(&b);
	buf_fini(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice in = slice_of(data, len);
	struct bloom f;

	bloom_open(&f, in);
	for (size_t n = 0; n <= len && n <= N_KEYS; n++) {
		bool may = bloom_may_contain(&f, slice_of(data, n));

		FUZZ_CHECK(may || f.kind != BLOOM_ALWAYS);
		FUZZ_CHECK(!may || f.kind != BLOOM_NEVER);
	}
	if (len > 4)
		check_made(in, 1 + in.data[1] % 16);
	return 0;
}
