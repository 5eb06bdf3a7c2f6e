/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a byte that says whether checksums are made right, then a log. */
#include "engine/base/error.h"
#include "engine/kv/batch.h"
#include "engine/wal/reader.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice bytes, record;
	uint8_t *copy = framing_copy(data, len, &bytes);
	struct bytes_file f = bytes_file_of(bytes);
	struct log_reader *r;
	uint64_t last = 0;
	size_t total = 0;
	int err;

	FUZZ_CHECK(!log_reader_new(&f.base, "log", FRAMING_LOG_NUMBER, &r));
	while (!(err = log_reader_next(r, &record))) {
		FUZZ_CHECK(log_reader_offset(r) >= last);
		last = log_reader_offset(r);
		total += record.len;
		err = batch_validate(record);
		FUZZ_CHECK(err == CAIRN_OK || err == CAIRN_ECORRUPT ||
			   err == CAIRN_ENOTSUP);
	}
	FUZZ_CHECK(total <= bytes.len);
	FUZZ_CHECK(err == CAIRN_NOT_FOUND || err == CAIRN_ECORRUPT ||
		   err == CAIRN_ENOTSUP);
	FUZZ_CHECK(log_reader_offset(r) <= bytes.len);
	/* An end is an end, and a failure stays one. */
	FUZZ_CHECK(log_reader_next(r, &record) == err);
	if (err < 0)
		FUZZ_CHECK(strncmp(cairn_errmsg(), "log", 3) == 0);
	log_reader_free(r);
	free(copy);
	return 0;
}
