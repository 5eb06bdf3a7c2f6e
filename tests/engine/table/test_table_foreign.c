/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables as others might write them, and damaged ones. */
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/table/table.h"
#include "tests/engine/table/table_support.h"
#include "tests/support/runner.h"

/* ---------------------------------------------------- other writers */

static void external(struct table_props *p)
{
	p->has_external_version = true;
	p->external_version = 2;
	p->has_global_seqno = true;
	p->global_seqno = 0;
}

static void external_77(struct table_props *p)
{
	external(p);
	p->global_seqno = 77;
}

static void seqno_only(struct table_props *p)
{
	p->has_global_seqno = true;
	p->global_seqno = 77;
}

static void old_external(struct table_props *p)
{
	p->has_external_version = true;
	p->external_version = 1;
}

static const struct {
	const char *name;
	struct meta meta;
	bool known;
	uint64_t seqno; /* of the MANIFEST */
	int want;
	uint64_t becomes;
} ingested[] = {
	{ "number in the MANIFEST", { external, 0, 0, 0, 0 }, true, 77, 0, 77 },
	{ "ingested at 0", { external, 0, 0, 0, 0 }, true, 0, 0, 0 },
	{ "number in the table", { external_77, 0, 0, 0, 0 }, false, 0, 0, 77 },
	{ "in both", { external_77, 0, 0, 0, 0 }, true, 77, 0, 77 },
	{ "in both, not the same",
	  { external_77, 0, 0, 0, 0 },
	  true,
	  78,
	  CAIRN_ECORRUPT,
	  0 },
	{ "patched in", { external, 0, 0, 0, 77 }, true, 77, 0, 77 },
	{ "known to nobody",
	  { external, 0, 0, 0, 0 },
	  false,
	  0,
	  CAIRN_ENOTSUP,
	  0 },
	{ "of a table that is not external",
	  { seqno_only, 0, 0, 0, 0 },
	  true,
	  77,
	  CAIRN_ECORRUPT,
	  0 },
	{ "version 1", { old_external, 0, 0, 0, 0 }, true, 77, 0, 0 },
	{ "an ordinary table", { NULL, 0, 0, 0, 0 }, true, 77, 0, 0 },
};

START_TEST(entries_of_an_ingested_table_have_its_number)
{
	struct table_write_options o = plain_options;
	struct table_read_options ro = { .seqno_known = ingested[_i].known,
					 .seqno = ingested[_i].seqno };
	uint64_t want = ingested[_i].becomes, trailer;
	struct cairn_pinned value = { 0 };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct iter *it;
	struct table *t;
	size_t n = 0;
	int err;

	vector_parse(&v, "a#0p1 b#0d c#0p3 d#0p4 e#0p5");
	o.block_size = 1;
	write_table(&v, &o, &bytes, NULL);
	rewrite_meta(&bytes, &ingested[_i].meta);
	err = open_bytes(buf_slice(&bytes), 1, &ro, &t);
	ck_assert_msg(err == ingested[_i].want, "%s: %d %s", ingested[_i].name,
		      err, cairn_errmsg());
	if (err)
		goto out;
	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	for (iter_first(it); it->valid; iter_next(it), n++)
		ck_assert_uint_eq(ikey_seqno(&it->key), want);
	ck_assert_uint_eq(n, 5);
	for (size_t i = 0; i < v.n; i++) {
		struct cairn_slice u = v.entries[i].key.user_key;
		struct ikey k = ikey_seek(u, want);

		ck_assert(!table_get(t, u, want, true, &trailer, &value));
		ck_assert_uint_eq(trailer >> 8, want);
		cairn_pinned_release(&value);
		iter_seek_ge(it, &k);
		ck_assert(it->valid && slice_eq(it->key.user_key, u));
		if (!want)
			continue;
		ck_assert_int_eq(
			table_get(t, u, want - 1, true, &trailer, &value),
			CAIRN_NOT_FOUND);
		k = ikey_seek(u, want - 1);
		iter_seek_ge(it, &k);
		ck_assert(it->valid == (i + 1 < v.n));
		iter_seek_lt(it, &k);
		ck_assert(it->valid && slice_eq(it->key.user_key, u));
	}
	iter_close(it);
	ck_assert(!table_verify(t));
	table_close(t);
out:
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

static void reverse(struct table_props *p)
{
	free(p->comparator);
	p->comparator = strdup("rocksdb.ReverseBytewiseComparator");
}

static const struct {
	const char *name;
	struct meta meta;
	int want;
	const char *word;
} others[] = {
	{ "another order",
	  { reverse, 0, 0, 0, 0 },
	  CAIRN_ENOTSUP,
	  "test.sst: keys are ordered by rocksdb.ReverseBytewiseComparator" },
	{ "range tombstones",
	  { NULL, "rocksdb.range_del",
	    "\0\11\1a\17\1\0\0\0\0\0\0c\0\0\0\0"
	    "\1\0\0\0",
	    21, 0 },
	  CAIRN_OK,
	  NULL },
	{ "range tombstones that end before they begin",
	  { NULL, "rocksdb.range_del",
	    "\0\11\1d\17\1\0\0\0\0\0\0c\0\0\0\0"
	    "\1\0\0\0",
	    21, 0 },
	  CAIRN_ECORRUPT,
	  "ends before it begins" },
	{ "puts among the range tombstones",
	  { NULL, "rocksdb.range_del",
	    "\0\11\1a\1\1\0\0\0\0\0\0c\0\0\0\0"
	    "\1\0\0\0",
	    21, 0 },
	  CAIRN_ECORRUPT,
	  "no range tombstone" },
	{ "a range-del block without entries",
	  { NULL, "rocksdb.range_del", "\0\0\0\0\1\0\0\0", 8, 0 },
	  CAIRN_OK,
	  NULL },
	{ "a range-del block that is none",
	  { NULL, "rocksdb.range_del", "\0\0\0\0\7\0\0\0", 8, 0 },
	  CAIRN_ECORRUPT,
	  "test.sst: block at " },
	{ "an unknown meta block",
	  { NULL, "somebody.else", "anything", 8, 0 },
	  CAIRN_OK,
	  NULL },
	{ "a filter of another kind",
	  { NULL, "zfullfilter.my.Filter", "anything", 8, 0 },
	  CAIRN_OK,
	  NULL },
	{ "an empty dictionary",
	  { NULL, "rocksdb.compression_dict", "", 0, 0 },
	  CAIRN_OK,
	  NULL },
};

START_TEST(meta_blocks_are_understood_ignored_or_refused)
{
	struct table_read_options ro = { 0 };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;
	int err;

	vector_parse(&v, "a#1p1 b#2d c#3p3");
	write_table(&v, &plain_options, &bytes, NULL);
	rewrite_meta(&bytes, &others[_i].meta);
	err = open_bytes(buf_slice(&bytes), 1, &ro, &t);
	ck_assert_msg(err == others[_i].want, "%s: %d %s", others[_i].name, err,
		      cairn_errmsg());
	if (err)
		ck_assert_msg(strstr(cairn_errmsg(), others[_i].word), "%s",
			      cairn_errmsg());
	else
		table_close(t);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* A range-del block as RocksDB writes it, damaged under a good checksum: what
 * comes of it is the same tombstones, others, or an error; never a crash. */
START_TEST(any_bytes_make_tombstones_or_an_error)
{
	static const uint8_t good[] = "\0\11\1a\17\1\0\0\0\0\0\0c"
				      "\0\11\1b\17\2\0\0\0\0\0\0z"
				      "\0\0\0\0\15\0\0\0\2\0\0\0";
	const size_t len = sizeof(good) - 1;
	uint8_t block[sizeof(good)];
	struct table_read_options ro = { 0 };
	struct buf bytes = { 0 }, changed = { 0 };
	struct vector v = { 0 };

	vector_parse(&v, "a#1p1 b#2d c#3p3");
	write_table(&v, &plain_options, &bytes, NULL);
	for (size_t i = 0; i < len * 9; i++) {
		struct meta m = { NULL, "rocksdb.range_del", (char *)block, len,
				  0 };
		struct table *t;
		int err;

		memcpy(block, good, len);
		/* Each bit, then each truncation. */
		if (i < len * 8)
			block[i / 8] ^= (uint8_t)(1u << i % 8);
		else
			m.extra_len = i - len * 8;
		ck_assert(!buf_set(&changed, buf_slice(&bytes)));
		rewrite_meta(&changed, &m);
		err = open_bytes(buf_slice(&changed), 1, &ro, &t);
		if (err) {
			ck_assert_msg(err == CAIRN_ECORRUPT, "%zu: %d %s", i,
				      err, cairn_errmsg());
			ck_assert(strstr(cairn_errmsg(), "test.sst: "));
			continue;
		}
		if (table_range_dels(t))
			range_dels_cover(table_range_dels(t), slice_str("b"),
					 9);
		table_close(t);
	}
	buf_fini(&changed);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* Keys that share a long prefix would grow without bound. */
START_TEST(tombstones_that_share_too_much_are_damage)
{
	struct meta m = { .extra = "rocksdb.range_del" };
	struct table_read_options ro = { 0 };
	struct buf bytes = { 0 }, block = { 0 };
	struct vector v = { 0 };
	uint8_t key[4000];
	struct table *t;

	vector_parse(&v, "a#1p1");
	write_table(&v, &plain_options, &bytes, NULL);
	memset(key, 'a', sizeof(key));
	put_le64(key + sizeof(key) - 8, 1 << 8 | KIND_RANGE_DELETE);
	ck_assert(!buf_append_varint(&block, 0));
	ck_assert(!buf_append_varint(&block, sizeof(key)));
	ck_assert(!buf_append_varint(&block, 1));
	ck_assert(!buf_append(&block, key, sizeof(key)));
	ck_assert(!buf_append(&block, "z", 1));
	for (int i = 0; i < 1000; i++) {
		ck_assert(!buf_append_varint(&block, sizeof(key)));
		ck_assert(!buf_append(&block, "\0\1z", 3));
	}
	ck_assert(!buf_append(&block, "\0\0\0\0\1\0\0\0", 8));
	m.extra_block = (char *)block.data;
	m.extra_len = block.len;
	rewrite_meta(&bytes, &m);
	ck_assert_int_eq(open_bytes(buf_slice(&bytes), 1, &ro, &t),
			 CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(), "share too much"), "%s",
		      cairn_errmsg());
	buf_fini(&block);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

static const struct {
	uint8_t kind;
	int want;
	const char *word;
} kinds[] = {
	{ KIND_BLOB_INDEX, CAIRN_ENOTSUP, "blob" },
	{ KIND_TIMESTAMPED_DELETE, CAIRN_ENOTSUP, "timestamp" },
	{ KIND_ENTITY, CAIRN_ENOTSUP, "wide-column" },
	{ KIND_RANGE_DELETE, CAIRN_ECORRUPT, "kind" },
	{ 0x7f, CAIRN_ECORRUPT, "kind" },
};

START_TEST(entries_of_other_kinds_are_not_given_out)
{
	struct table_read_options ro = { 0 };
	struct cairn_pinned value = { 0 };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct iter *it;
	struct table *t;
	uint64_t trailer;

	vector_parse(&v, "a#1p1");
	vector_add(&v, slice_str("b"), 2, kinds[_i].kind, slice_str("x"));
	write_table(&v, &plain_options, &bytes, NULL);
	ck_assert(!open_bytes(buf_slice(&bytes), 1, &ro, &t));
	ck_assert(!table_get(t, slice_str("a"), 9, true, &trailer, &value));
	cairn_pinned_release(&value);
	ck_assert_int_eq(
		table_get(t, slice_str("b"), 9, true, &trailer, &value),
		kinds[_i].want);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), kinds[_i].word));
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "test.sst"));
	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	iter_first(it);
	ck_assert(it->valid);
	iter_next(it);
	ck_assert(!it->valid);
	ck_assert_int_eq(it->status, kinds[_i].want);
	iter_first(it);
	ck_assert(it->valid && !it->status);
	iter_close(it);
	table_close(t);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* --------------------------------------------------------------- damage */

START_TEST(a_file_of_another_size_is_corruption)
{
	struct table_read_options ro = { 0 };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;

	numbered(&v, 10, 10);
	write_table(&v, &plain_options, &bytes, NULL);
	for (size_t size = bytes.len - 3; size < bytes.len + 3; size++)
		ck_assert(size == bytes.len ||
			  table_open(bytes_rfile_new(buf_slice(&bytes), NULL),
				     "test.sst", 1, size, &ro,
				     &t) == CAIRN_ECORRUPT);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* Everything that can be read is what was written, or reading it fails. */
static bool reads_right_or_fails(const struct buf *bytes,
				 const struct vector *v)
{
	struct table_read_options ro = { .prefix = &px_capped };
	struct cairn_pinned value = { 0 };
	struct table *t;
	struct iter *it;
	uint64_t trailer;
	bool failed = false;
	size_t n = 0;
	int err;

	if (open_bytes(buf_slice(bytes), 1, &ro, &t))
		return false;
	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	for (iter_first(it); it->valid; iter_next(it), n++) {
		ck_assert(n < v->n);
		ck_assert(!ikey_cmp(&it->key, &v->entries[n].key));
		ck_assert(slice_eq(it->value, v->entries[n].value));
	}
	failed |= it->status != 0;
	ck_assert(it->status || n == v->n);
	iter_close(it);
	for (size_t i = 0; i < v->n; i += 7) {
		err = table_get(t, v->entries[i].key.user_key, SEQNO_MAX, true,
				&trailer, &value);
		ck_assert(err <= 0);
		failed |= err != 0;
		if (!err)
			ck_assert(slice_eq(value.value, v->entries[i].value));
		cairn_pinned_release(&value);
	}
	failed |= table_verify(t) != 0;
	table_close(t);
	return !failed;
}

static void damage_table(enum table_codec codec, struct vector *v,
			 struct buf *bytes)
{
	struct table_write_options o = plain_options;

	o.block_size = 150;
	o.codec = codec;
	o.prefix = &px_capped;
	numbered(v, 20, 30);
	write_table(v, &o, bytes, NULL);
	ck_assert(reads_right_or_fails(bytes, v));
}

START_TEST(every_truncation_is_noticed)
{
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	size_t len;

	damage_table((enum table_codec)_i, &v, &bytes);
	len = bytes.len;
	for (bytes.len = 0; bytes.len < len; bytes.len++) {
		struct buf copy = { 0 };

		ck_assert(!buf_set(&copy, buf_slice(&bytes)));
		ck_assert(!reads_right_or_fails(&copy, &v));
		buf_fini(&copy);
	}
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

START_TEST(every_flipped_bit_is_noticed_or_does_not_matter)
{
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	size_t unnoticed = 0;

	damage_table((enum table_codec)_i, &v, &bytes);
	for (size_t bit = 0; bit < bytes.len * 8; bit++) {
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (reads_right_or_fails(&bytes, &v)) {
			unnoticed++;
			/* Only the footer has no checksum: its padding, its
			 * version, or no checking of checksums at all. */
			ck_assert_uint_ge(bit / 8, bytes.len - FOOTER_LEN);
		}
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert_uint_lt(unnoticed, FOOTER_LEN * 8);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

START_TEST(messages_name_file_offset_and_checksum_and_damage_is_counted)
{
	struct table_stats stats = { 0 };
	struct table_read_options ro = { .stats = &stats };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;
	struct iter *it;

	numbered(&v, 200, 100);
	write_table(&v, &plain_options, &bytes, NULL);
	bytes.data[5000] ^= 1;
	ck_assert(!open_bytes(buf_slice(&bytes), 1, &ro, &t));
	ck_assert_int_eq(table_verify(t), CAIRN_ECORRUPT);
	ck_assert_msg(!strncmp(cairn_errmsg(), "test.sst: block at 4", 20) &&
			      strstr(cairn_errmsg(), " bytes: checksum is ") &&
			      strstr(cairn_errmsg(), ", should be ") &&
			      strstr(cairn_errmsg(), " (xxh3)"),
		      "%s", cairn_errmsg());
	ck_assert_uint_eq(stats.corruptions, 1);
	/* What is before the damage can be read, and what is behind it. */
	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	iter_first(it);
	while (it->valid)
		iter_next(it);
	ck_assert_int_eq(it->status, CAIRN_ECORRUPT);
	iter_last(it);
	ck_assert(it->valid && !it->status);
	iter_close(it);
	table_close(t);
	ro.verify_at_open = true;
	ck_assert_int_eq(open_bytes(buf_slice(&bytes), 1, &ro, &t),
			 CAIRN_ECORRUPT);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

static TCase *new_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("table_foreign");
	TCase *tc;

	tc = new_case(s, "other writers");
	tcase_add_loop_test(tc, entries_of_an_ingested_table_have_its_number, 0,
			    N(ingested));
	tcase_add_test(tc, any_bytes_make_tombstones_or_an_error);
	tcase_add_test(tc, tombstones_that_share_too_much_are_damage);
	tcase_add_loop_test(tc, meta_blocks_are_understood_ignored_or_refused,
			    0, N(others));
	tcase_add_loop_test(tc, entries_of_other_kinds_are_not_given_out, 0,
			    N(kinds));
	tc = new_case(s, "damage");
	tcase_add_test(tc, a_file_of_another_size_is_corruption);
	tcase_add_loop_test(tc, every_truncation_is_noticed, 0, 2);
	tcase_add_loop_test(tc, every_flipped_bit_is_noticed_or_does_not_matter,
			    0, 2);
	tcase_add_test(
		tc,
		messages_name_file_offset_and_checksum_and_damage_is_counted);
	return run_suite(s);
}
