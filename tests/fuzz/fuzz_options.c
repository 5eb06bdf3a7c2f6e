/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: an OPTIONS file. */
#include "engine/version/options_file.h"
#include "tests/fuzz/fuzz.h"

static void touch(const char *s)
{
	FUZZ_CHECK(!s || strlen(s) < SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct options_file o = { 0 };
	int err = options_file_parse(slice_of(data, len), "OPTIONS", &o);

	if (err) {
		FUZZ_CHECK(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP);
		return 0;
	}
	touch(o.comparator);
	touch(o.merge_operator);
	touch(o.prefix_extractor);
	touch(o.wal_dir);
	options_file_fini(&o);
	return 0;
}
