/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a record of the MANIFEST. */
#include "engine/version/edit.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct version_edit e = { 0 }, again = { 0 };
	struct buf first = { 0 }, second = { 0 };
	int err = version_edit_decode(slice_of(data, len), &e);

	if (err) {
		FUZZ_CHECK(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP);
		FUZZ_CHECK(!e.n_added && !e.n_deleted && !e.comparator);
		return 0;
	}
	/* What is kept of it stays the same when it is written. */
	FUZZ_CHECK(!version_edit_encode(&e, &first));
	FUZZ_CHECK(!version_edit_decode(buf_slice(&first), &again));
	FUZZ_CHECK(!version_edit_encode(&again, &second));
	FUZZ_CHECK(slice_eq(buf_slice(&first), buf_slice(&second)));
	FUZZ_CHECK(e.n_added == again.n_added &&
		   e.n_deleted == again.n_deleted);
	version_edit_fini(&e);
	version_edit_fini(&again);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
