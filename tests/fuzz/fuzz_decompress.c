/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: codec, format_version and length of a dictionary, a byte each; the
 * dictionary; a block as it is stored. */
#include "engine/table/compress.h"
#include "engine/table/format.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice in = slice_of(data, len);
	struct block_dict *dict = NULL;
	struct stored_block b;
	size_t dict_len, n;

	b.codec = fuzz_byte(&in);
	b.version = fuzz_byte(&in) % (FOOTER_VERSION + 1);
	dict_len = fuzz_byte(&in);
	if (dict_len > in.len)
		dict_len = in.len;
	if (dict_len &&
	    block_dict_new(slice_of(in.data, dict_len), &dict) != CAIRN_OK)
		return 0;
	slice_advance(&in, dict_len);
	b.bytes = in;
	if (decompressed_len(&b, dict, &n) == CAIRN_OK) {
		uint8_t *dst = malloc(n ? n : 1);

		FUZZ_CHECK(dst);
		/* All of it is written, as the sanitizer sees. */
		if (decompress(&b, dict, NULL, dst, n) == CAIRN_OK && n)
			FUZZ_CHECK(dst[0] + dst[n - 1] >= 0);
		free(dst);
	}
	block_dict_free(dict);
	return 0;
}
