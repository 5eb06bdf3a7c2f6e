/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: the contents of a properties block. */
#include "engine/table/props_block.h"
#include "tests/fuzz/fuzz.h"

static void same(const struct table_props *a, const struct table_props *b)
{
	FUZZ_CHECK(a->entries == b->entries && a->deletions == b->deletions &&
		   a->merges == b->merges &&
		   a->range_deletions == b->range_deletions);
	FUZZ_CHECK(a->raw_key_bytes == b->raw_key_bytes &&
		   a->raw_value_bytes == b->raw_value_bytes &&
		   a->data_bytes == b->data_bytes &&
		   a->data_blocks == b->data_blocks);
	FUZZ_CHECK(a->index_type == b->index_type &&
		   a->index_key_is_user_key == b->index_key_is_user_key &&
		   a->index_value_is_delta == b->index_value_is_delta);
	FUZZ_CHECK(a->whole_key_filtering == b->whole_key_filtering &&
		   a->prefix_filtering == b->prefix_filtering);
	FUZZ_CHECK(a->has_global_seqno == b->has_global_seqno &&
		   a->global_seqno == b->global_seqno &&
		   a->external_version == b->external_version);
	FUZZ_CHECK(!strcmp(a->comparator, b->comparator) &&
		   !strcmp(a->merge_operator, b->merge_operator) &&
		   !strcmp(a->prefix_extractor, b->prefix_extractor) &&
		   !strcmp(a->filter_policy, b->filter_policy) &&
		   !strcmp(a->compression, b->compression) &&
		   !strcmp(a->collectors, b->collectors));
	FUZZ_CHECK(a->user.n == b->user.n);
	for (size_t i = 0; i < a->user.n; i++)
		FUZZ_CHECK(slice_eq(user_props_name(&a->user, i),
				    user_props_name(&b->user, i)) &&
			   slice_eq(user_props_value(&a->user, i),
				    user_props_value(&b->user, i)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cairn_slice in = slice_of(data, len);
	struct table_props p, again;
	struct buf encoded = { 0 };
	size_t at;

	if (!props_find_global_seqno(in, &at))
		FUZZ_CHECK(at <= len && len - at >= 8);
	if (table_props_decode(in, &p))
		return 0;
	FUZZ_CHECK(!table_props_encode(&p, &encoded));
	FUZZ_CHECK(!table_props_decode(buf_slice(&encoded), &again));
	same(&p, &again);
	table_props_fini(&p);
	table_props_fini(&again);
	buf_fini(&encoded);
	return 0;
}
