/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a byte that says whether the checksums of the metas are made right,
 * then a bbolt file. */
#include "tests/fuzz/bytes.h"
#include "tests/mvcc/bbolt_walk.h"

#define META_AT     16u
#define META_LEN    64u
#define META_SUMMED 56u

/* An input may have buckets in each other many times over. */
#define ITEMS_MAX 2000

static void seal(uint8_t *p, size_t len, size_t page)
{
	uint64_t h = UINT64_C(14695981039346656037);

	if (len < META_AT + META_LEN || page > len - META_AT - META_LEN)
		return;
	p += page + META_AT;
	for (size_t i = 0; i < META_SUMMED; i++)
		h = (h ^ p[i]) * UINT64_C(1099511628211);
	put_le64(p + META_SUMMED, h);
}

static void check_error(int err)
{
	FUZZ_CHECK(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP);
	FUZZ_CHECK(strstr(cairn_errmsg(), "/snap/db: "));
	FUZZ_CHECK(err != CAIRN_ECORRUPT || strstr(cairn_errmsg(), "offset "));
}

/* What a walk shows is found by a seek. */
static void check_root(struct bbolt *b)
{
	struct bbolt_bucket root = bbolt_root(b);
	struct bbolt_cursor *walk, *seek;
	struct bbolt_item item, found;
	struct buf last = { 0 };

	FUZZ_CHECK(!bbolt_cursor_new(&root, &walk));
	FUZZ_CHECK(!bbolt_cursor_new(&root, &seek));
	while (bbolt_cursor_next(walk, &item) == CAIRN_OK) {
		FUZZ_CHECK(item.key.len);
		FUZZ_CHECK(slice_cmp(buf_slice(&last), item.key) < 0);
		FUZZ_CHECK(!buf_set(&last, item.key));
		FUZZ_CHECK(!bbolt_cursor_seek(seek, item.key));
		FUZZ_CHECK(!bbolt_cursor_next(seek, &found));
		FUZZ_CHECK(slice_eq(found.key, item.key));
		FUZZ_CHECK(slice_eq(found.value, item.value));
		FUZZ_CHECK(found.at == item.at);
	}
	buf_fini(&last);
	bbolt_cursor_free(seek);
	bbolt_cursor_free(walk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bbolt_walk w = { .items_max = ITEMS_MAX };
	struct cairn_slice in = slice_of(data, len);
	bool sealed = fuzz_byte(&in) & 1;
	uint8_t *copy = malloc(in.len ? in.len : 1);
	struct bytes_env env;
	struct bbolt *b;
	int err;

	FUZZ_CHECK(copy);
	if (in.len)
		memcpy(copy, in.data, in.len);
	if (sealed) {
		seal(copy, in.len, 0);
		seal(copy, in.len, 1024);
	}
	env = bytes_env_of(slice_of(copy, in.len));
	err = bbolt_open(&env.base, "/snap/db", &b);
	if (!err) {
		err = bbolt_walk(&w, b);
		if (err)
			check_error(err);
		check_root(b);
		bbolt_close(b);
	} else {
		check_error(err);
	}
	free(copy);
	return 0;
}
