/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a byte that says whether checksums are made right, then a MANIFEST. */
#include "engine/base/error.h"
#include "engine/version/manifest.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/framing.h"

static void check_files(const struct manifest *m)
{
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		const struct version_files *l = &m->version->level[level];

		for (size_t i = 0; i < l->n; i++) {
			FUZZ_CHECK(l->files[i]->number < m->next_file_number);
			FUZZ_CHECK(l->files[i]->largest_seqno <= m->last_seqno);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice bytes;
	uint8_t *copy = framing_copy(data, len, &bytes);
	struct bytes_env env = bytes_env_of(bytes);
	struct manifest m = { 0 };
	int err = manifest_read(&env.base, "/MANIFEST-000005", &m);

	if (err) {
		FUZZ_CHECK(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP);
		FUZZ_CHECK(strstr(cairn_errmsg(), "MANIFEST-000005"));
	} else {
		FUZZ_CHECK(!version_check(m.version));
		check_files(&m);
	}
	manifest_fini(&m);
	free(copy);
	return 0;
}
