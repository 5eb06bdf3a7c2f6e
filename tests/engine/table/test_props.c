/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/props.h"

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/table/block.h"
#include "engine/table/block_builder.h"
#include "engine/table/props_block.h"
#include "tests/support/runner.h"

static void set(char **to, const char *value)
{
	free(*to);
	*to = strdup(value);
	ck_assert_ptr_nonnull(*to);
}

static void sample(struct table_props *p)
{
	ck_assert(!table_props_init(p));
	p->entries = 1000;
	p->deletions = 17;
	p->merges = 3;
	p->range_deletions = 0;
	p->raw_key_bytes = 24000;
	p->raw_value_bytes = UINT64_C(1) << 40;
	p->data_bytes = 12345;
	p->index_bytes = 777;
	p->filter_bytes = 1253;
	p->data_blocks = 9;
	p->filter_entries = 999;
	p->creation_time = 1700000001;
	p->file_creation_time = 1700000002;
	p->oldest_key_time = 1700000003;
	p->index_type = TABLE_INDEX_TWO_LEVEL;
	p->index_key_is_user_key = true;
	p->index_value_is_delta = true;
	p->whole_key_filtering = true;
	p->prefix_filtering = false;
	set(&p->comparator, "leveldb.BytewiseComparator");
	set(&p->merge_operator, "nullptr");
	set(&p->prefix_extractor, "rocksdb.FixedPrefix.4");
	set(&p->filter_policy, "bloomfilter");
	set(&p->compression, "Snappy");
	set(&p->collectors, "[one]");
	/* Before, between and behind those of RocksDB. */
	ck_assert(!cairn_table_property_set(&p->user, "zoo", slice_str("3")));
	ck_assert(!cairn_table_property_set(&p->user, "app.min",
					    slice_of("\0\1", 2)));
	ck_assert(
		!cairn_table_property_set(&p->user, "rocksdb", slice_str("")));
	ck_assert(!cairn_table_property_set(&p->user, "zoo", slice_str("4")));
}

static void same_user(const struct cairn_table_properties *a,
		      const struct cairn_table_properties *b)
{
	ck_assert_uint_eq(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		ck_assert(
			slice_eq(user_props_name(a, i), user_props_name(b, i)));
		ck_assert(slice_eq(user_props_value(a, i),
				   user_props_value(b, i)));
	}
}

static void same(const struct table_props *a, const struct table_props *b)
{
	ck_assert_uint_eq(a->entries, b->entries);
	ck_assert_uint_eq(a->deletions, b->deletions);
	ck_assert_uint_eq(a->merges, b->merges);
	ck_assert_uint_eq(a->range_deletions, b->range_deletions);
	ck_assert_uint_eq(a->raw_key_bytes, b->raw_key_bytes);
	ck_assert_uint_eq(a->raw_value_bytes, b->raw_value_bytes);
	ck_assert_uint_eq(a->data_bytes, b->data_bytes);
	ck_assert_uint_eq(a->index_bytes, b->index_bytes);
	ck_assert_uint_eq(a->filter_bytes, b->filter_bytes);
	ck_assert_uint_eq(a->data_blocks, b->data_blocks);
	ck_assert_uint_eq(a->filter_entries, b->filter_entries);
	ck_assert_uint_eq(a->creation_time, b->creation_time);
	ck_assert_uint_eq(a->file_creation_time, b->file_creation_time);
	ck_assert_uint_eq(a->oldest_key_time, b->oldest_key_time);
	ck_assert(a->index_type == b->index_type);
	ck_assert(a->index_key_is_user_key == b->index_key_is_user_key);
	ck_assert(a->index_value_is_delta == b->index_value_is_delta);
	ck_assert(a->whole_key_filtering == b->whole_key_filtering);
	ck_assert(a->prefix_filtering == b->prefix_filtering);
	ck_assert(a->has_external_version == b->has_external_version);
	ck_assert_uint_eq(a->external_version, b->external_version);
	ck_assert(a->has_global_seqno == b->has_global_seqno);
	ck_assert_uint_eq(a->global_seqno, b->global_seqno);
	ck_assert_str_eq(a->comparator, b->comparator);
	ck_assert_str_eq(a->merge_operator, b->merge_operator);
	ck_assert_str_eq(a->prefix_extractor, b->prefix_extractor);
	ck_assert_str_eq(a->filter_policy, b->filter_policy);
	ck_assert_str_eq(a->compression, b->compression);
	ck_assert_str_eq(a->collectors, b->collectors);
	same_user(&a->user, &b->user);
}

START_TEST(properties_survive_the_round_trip)
{
	struct table_props p, got;
	struct buf bytes = { 0 };

	sample(&p);
	for (int external = 0; external < 2; external++) {
		p.has_external_version = external;
		p.external_version = external ? 2 : 0;
		p.has_global_seqno = external;
		p.global_seqno = external ? 4711 : 0;
		buf_clear(&bytes);
		ck_assert(!table_props_encode(&p, &bytes));
		ck_assert(!table_props_decode(buf_slice(&bytes), &got));
		same(&p, &got);
		table_props_fini(&got);
	}
	buf_fini(&bytes);
	table_props_fini(&p);
}
END_TEST

START_TEST(names_are_written_in_bytewise_order_with_one_restart)
{
	struct table_props p;
	struct buf bytes = { 0 }, last = { 0 };
	struct block_cursor c;
	size_t n = 0;

	sample(&p);
	p.has_external_version = p.has_global_seqno = true;
	ck_assert(!table_props_encode(&p, &bytes));
	ck_assert_uint_eq(load_le32(bytes.data + bytes.len - 4), 1);
	ck_assert(!block_cursor_init(&c, buf_slice(&bytes), false));
	while (!block_cursor_next(&c, NULL)) {
		if (n++)
			ck_assert(slice_cmp(buf_slice(&last),
					    buf_slice(&c.key)) < 0);
		ck_assert(!buf_set(&last, buf_slice(&c.key)));
	}
	ck_assert_uint_eq(n, 34);
	block_cursor_fini(&c);
	buf_fini(&last);
	buf_fini(&bytes);
	table_props_fini(&p);
}
END_TEST

START_TEST(a_collected_property_is_found_by_its_name)
{
	struct cairn_slice value;
	struct table_props p;

	sample(&p);
	ck_assert_uint_eq(p.user.n, 3);
	ck_assert(!user_props_find(&p.user, slice_str("zoo"), &value));
	ck_assert(slice_eq(value, slice_str("4")));
	ck_assert(!user_props_find(&p.user, slice_str("app.min"), &value));
	ck_assert_uint_eq(value.len, 2);
	ck_assert(!user_props_find(&p.user, slice_str("rocksdb"), &value));
	ck_assert_uint_eq(value.len, 0);
	ck_assert_int_eq(user_props_find(&p.user, slice_str("zo"), &value),
			 CAIRN_NOT_FOUND);
	ck_assert_int_eq(user_props_find(&p.user, slice_str("zz"), &value),
			 CAIRN_NOT_FOUND);
	table_props_fini(&p);
}
END_TEST

START_TEST(a_reserved_name_or_too_much_is_refused)
{
	struct cairn_table_properties u = { 0 };
	size_t len = USER_PROPS_MAX;
	uint8_t *much = calloc(1, len);

	ck_assert_int_eq(
		cairn_table_property_set(&u, "rocksdb.x", slice_str("")),
		CAIRN_EINVAL);
	ck_assert_int_eq(cairn_table_property_set(&u, "", slice_str("")),
			 CAIRN_EINVAL);
	ck_assert_int_eq(cairn_table_property_set(&u, "a", slice_of(much, len)),
			 CAIRN_EINVAL);
	ck_assert_uint_eq(u.n, 0);
	ck_assert(!cairn_table_property_set(&u, "a", slice_of(much, len / 2)));
	ck_assert_int_eq(
		cairn_table_property_set(&u, "b", slice_of(much, len / 2)),
		CAIRN_EINVAL);
	ck_assert_uint_eq(u.n, 1);
	user_props_fini(&u);
	free(much);
}
END_TEST

/* Names that share all but nothing expand; order can be a trap, too. */
START_TEST(collected_properties_that_make_no_sense_are_as_good_as_none)
{
	struct buf name = { 0 }, bytes = { 0 };
	struct cairn_slice contents;
	struct block_builder b;
	struct table_props got;

	block_builder_init(&b, BLOCK_ONE_RESTART);
	if (_i) {
		for (int i = 0; i < 100000; i++)
			ck_assert(!buf_append(&name, "n", 1));
		for (uint8_t i = 0; i < 100; i++) {
			name.data[name.len - 1] = i;
			ck_assert(!block_builder_add(&b, buf_slice(&name),
						     slice_of(NULL, 0),
						     slice_str("v")));
		}
	} else {
		/* The builder does not mind. */
		ck_assert(!block_builder_add(
			&b, slice_str("b"), slice_of(NULL, 0), slice_str("v")));
		ck_assert(!block_builder_add(
			&b, slice_str("a"), slice_of(NULL, 0), slice_str("v")));
	}
	ck_assert(!block_builder_add(&b, slice_str("rocksdb.num.entries"),
				     slice_of(NULL, 0), slice_str("\7")));
	ck_assert(!block_builder_finish(&b, &contents));
	ck_assert(!buf_set(&bytes, contents));
	ck_assert(!table_props_decode(buf_slice(&bytes), &got));
	ck_assert_uint_eq(got.entries, 7);
	ck_assert_uint_eq(got.user.n, 0);
	table_props_fini(&got);
	block_builder_fini(&b);
	buf_fini(&name);
	buf_fini(&bytes);
}
END_TEST

START_TEST(an_absent_filter_policy_is_not_written)
{
	struct table_props p, got;
	struct buf bytes = { 0 };

	sample(&p);
	set(&p.filter_policy, "");
	ck_assert(!table_props_encode(&p, &bytes));
	ck_assert_ptr_null(memmem(bytes.data, bytes.len, "policy", 6));
	ck_assert(!table_props_decode(buf_slice(&bytes), &got));
	ck_assert_str_eq(got.filter_policy, "");
	table_props_fini(&got);
	buf_fini(&bytes);
	table_props_fini(&p);
}
END_TEST

/* A block with one property. */
static void one(const char *name, struct cairn_slice value, struct buf *out)
{
	struct block_builder b;
	struct cairn_slice contents;

	block_builder_init(&b, BLOCK_ONE_RESTART);
	ck_assert(!block_builder_add(&b, slice_str(name), slice_of(NULL, 0),
				     value));
	ck_assert(!block_builder_finish(&b, &contents));
	ck_assert(!buf_set(out, contents));
	block_builder_fini(&b);
}

static const struct {
	const char *name;
	const char *value;
	size_t len;
	int want;
} values[] = {
	{ "rocksdb.num.entries", "\x05", 1, CAIRN_OK },
	{ "rocksdb.num.entries", "", 0, CAIRN_ECORRUPT },
	{ "rocksdb.num.entries", "\x85", 1, CAIRN_ECORRUPT },
	{ "rocksdb.num.entries", "\x05\x05", 2, CAIRN_ECORRUPT },
	{ "rocksdb.index.key.is.user.key", "\x01", 1, CAIRN_OK },
	{ "rocksdb.index.key.is.user.key", "\x02", 1, CAIRN_ECORRUPT },
	{ "rocksdb.index.value.is.delta.encoded", "", 0, CAIRN_ECORRUPT },
	{ "rocksdb.block.based.table.index.type", "\3\0\0\0", 4, CAIRN_OK },
	{ "rocksdb.block.based.table.index.type", "\4\0\0\0", 4,
	  CAIRN_ENOTSUP },
	{ "rocksdb.block.based.table.index.type", "\1", 1, CAIRN_ECORRUPT },
	{ "rocksdb.comparator", "a\0b", 3, CAIRN_ECORRUPT },
	{ "rocksdb.external_sst_file.version", "\2\0\0\0", 4, CAIRN_OK },
	{ "rocksdb.external_sst_file.version", "\2", 1, CAIRN_ECORRUPT },
	{ PROPS_GLOBAL_SEQNO, "\1\2\3\4\5\6\7\0", 8, CAIRN_OK },
	{ PROPS_GLOBAL_SEQNO, "\1\2\3\4\5\6\7\1", 8, CAIRN_ECORRUPT },
	{ PROPS_GLOBAL_SEQNO, "\1\2\3\4\5\6\7", 7, CAIRN_ECORRUPT },
	{ "my.own.property", "anything\0at all", 15, CAIRN_OK },
};

START_TEST(values_are_checked_and_messages_name_the_property)
{
	struct table_props p;
	struct buf bytes = { 0 };
	int err;

	one(values[_i].name, slice_of(values[_i].value, values[_i].len),
	    &bytes);
	err = table_props_decode(buf_slice(&bytes), &p);
	ck_assert_int_eq(err, values[_i].want);
	if (err)
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), values[_i].name));
	else
		table_props_fini(&p);
	buf_fini(&bytes);
}
END_TEST

START_TEST(absent_properties_have_rocksdbs_meaning)
{
	struct table_props p;

	ck_assert(!table_props_decode(slice_of("\0\0\0\0\1\0\0\0", 8), &p));
	ck_assert(p.index_type == TABLE_INDEX_BINARY);
	ck_assert(!p.index_key_is_user_key && !p.index_value_is_delta);
	ck_assert(p.whole_key_filtering && p.prefix_filtering);
	ck_assert(!p.has_external_version && !p.has_global_seqno);
	ck_assert_str_eq(p.comparator, "");
	table_props_fini(&p);
}
END_TEST

START_TEST(the_global_seqno_is_found_in_the_bytes)
{
	struct table_props p;
	struct buf bytes = { 0 };
	size_t at;

	sample(&p);
	ck_assert(!table_props_encode(&p, &bytes));
	ck_assert_int_eq(props_find_global_seqno(buf_slice(&bytes), &at),
			 CAIRN_NOT_FOUND);
	p.has_global_seqno = true;
	p.global_seqno = 0x0102030405;
	buf_clear(&bytes);
	ck_assert(!table_props_encode(&p, &bytes));
	ck_assert(!props_find_global_seqno(buf_slice(&bytes), &at));
	ck_assert_uint_eq(load_le64(bytes.data + at), p.global_seqno);
	buf_fini(&bytes);
	table_props_fini(&p);
}
END_TEST

static void decode(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct table_props p;
	size_t at;

	memcpy(copy, bytes, len);
	if (!table_props_decode(slice_of(copy, len), &p))
		table_props_fini(&p);
	if (!props_find_global_seqno(slice_of(copy, len), &at))
		ck_assert(at + 8 <= len);
	free(copy);
}

START_TEST(damaged_blocks_do_no_harm)
{
	struct table_props p;
	struct buf bytes = { 0 };

	sample(&p);
	p.has_external_version = p.has_global_seqno = true;
	ck_assert(!table_props_encode(&p, &bytes));
	for (size_t n = 0; n < bytes.len; n++)
		decode(bytes.data, n);
	for (size_t bit = 0; bit < bytes.len * 8; bit++) {
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		decode(bytes.data, bytes.len);
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	buf_fini(&bytes);
	table_props_fini(&p);
}
END_TEST

START_TEST(a_zeroed_struct_can_be_finished)
{
	struct table_props p = { 0 };

	table_props_fini(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("props");
	TCase *tc = tcase_create("props");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, properties_survive_the_round_trip);
	tcase_add_test(tc,
		       names_are_written_in_bytewise_order_with_one_restart);
	tcase_add_test(tc, a_collected_property_is_found_by_its_name);
	tcase_add_test(tc, a_reserved_name_or_too_much_is_refused);
	tcase_add_loop_test(
		tc, collected_properties_that_make_no_sense_are_as_good_as_none,
		0, 2);
	tcase_add_test(tc, an_absent_filter_policy_is_not_written);
	tcase_add_loop_test(tc,
			    values_are_checked_and_messages_name_the_property,
			    0, sizeof(values) / sizeof(values[0]));
	tcase_add_test(tc, absent_properties_have_rocksdbs_meaning);
	tcase_add_test(tc, the_global_seqno_is_found_in_the_bytes);
	tcase_add_test(tc, damaged_blocks_do_no_harm);
	tcase_add_test(tc, a_zeroed_struct_can_be_finished);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
