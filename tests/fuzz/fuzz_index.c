/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a byte of flags, then the contents of an index block. */
#include "engine/table/block.h"
#include "engine/table/index.h"
#include "tests/fuzz/fuzz.h"

#define FILE_LEN (UINT64_C(1) << 32)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice in = slice_of(data, len);
	uint8_t flags = fuzz_byte(&in);
	const struct index_format f = {
		.user_keys = flags & 1,
		.delta = flags & 2,
		.first_key = flags & 4,
		.file_len = FILE_LEN,
	};
	struct index ix = { 0 };
	struct ikey low = ikey_make(slice_of(NULL, 0), SEQNO_MAX, 0xff);
	struct ikey probe = ikey_make(in, 1, KIND_PUT);

	if (index_decode(in, &f, &ix))
		return 0;
	FUZZ_CHECK(ix.user_keys == f.user_keys);
	for (uint32_t i = 0; i < ix.n; i++)
		FUZZ_CHECK(block_handle_fits(index_handle(&ix, i), FILE_LEN));
	/* They are in order, so each search ends where comparing says. */
	FUZZ_CHECK(ix.n == 0 || index_seek(&ix, &low) == 0);
	for (size_t n = 0; n <= in.len && n <= 64; n++) {
		uint32_t i;

		probe.user_key.len = n;
		i = index_seek(&ix, &probe);
		FUZZ_CHECK(i <= ix.n);
		FUZZ_CHECK(i == ix.n || index_compare(&ix, i, &probe) >= 0);
		FUZZ_CHECK(i == 0 || index_compare(&ix, i - 1, &probe) < 0);
	}
	index_fini(&ix);
	return 0;
}
