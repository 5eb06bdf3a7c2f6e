/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: fixed64 length of the file, then its end. */
#include "engine/table/format.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice in = slice_of(data, len);
	struct footer f, again;
	uint8_t bytes[FOOTER_LEN];
	uint64_t file_len;

	if (!get_le64(&in, &file_len))
		return 0;
	/* The end of a file is no longer than the file. */
	if (file_len < in.len)
		file_len = in.len;
	if (footer_decode(in, file_len, &f))
		return 0;
	FUZZ_CHECK(f.version <= FOOTER_VERSION);
	FUZZ_CHECK(f.checksum <= TABLE_CHECKSUM_XXH3);
	FUZZ_CHECK(f.len <= in.len);
	FUZZ_CHECK(block_handle_fits(f.index, file_len - f.len));
	FUZZ_CHECK(block_handle_fits(f.metaindex, file_len - f.len));
	if (f.version) {
		footer_encode(&f, bytes);
		FUZZ_CHECK(!footer_decode(slice_of(bytes, sizeof(bytes)),
					  file_len, &again));
		FUZZ_CHECK(again.index.offset == f.index.offset &&
			   again.index.size == f.index.size &&
			   again.metaindex.offset == f.metaindex.offset &&
			   again.metaindex.size == f.metaindex.size &&
			   again.version == f.version &&
			   again.checksum == f.checksum);
	}
	return 0;
}
