/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/edit.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "tests/support/runner.h"
#include "tests/support/version_text.h"

/* Bytes from hex digits; spaces and text in quotes are allowed. */
static struct buf from_hex(const char *hex)
{
	struct buf b = { 0 };

	while (*hex) {
		unsigned v;
		uint8_t byte;

		if (*hex == ' ') {
			hex++;
		} else if (*hex == '\'') {
			for (hex++; *hex != '\''; hex++)
				ck_assert_int_eq(buf_append(&b, hex, 1),
						 CAIRN_OK);
			hex++;
		} else {
			ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
			byte = (uint8_t)v;
			ck_assert_int_eq(buf_append(&b, &byte, 1), CAIRN_OK);
			hex += 2;
		}
	}
	return b;
}

/* An internal key, length-prefixed: one letter, seqno 1, put. */
#define KEY_A "09 'a' 0101000000000000"
#define KEY_B "09 'b' 0101000000000000"
#define FILE2 "64 00 09 d24a" KEY_A KEY_B "01 02"
#define FILE4 "67 00 09 d24a" KEY_A KEY_B "01 02"

static const struct {
	const char *name;
	const char *hex;
	int want;
} records[] = {
	{ "nothing", "", CAIRN_OK },
	{ "comparator", "01 1a 'leveldb.BytewiseComparator'", CAIRN_OK },
	{ "comparator with a zero byte", "01 02 'a' 00", CAIRN_ECORRUPT },
	{ "comparator cut short", "01 05 'abc'", CAIRN_ECORRUPT },
	{ "numbers", "02 08 09 00 03 0a 04 fa02 0a 08", CAIRN_OK },
	{ "number missing", "02", CAIRN_ECORRUPT },
	{ "log number of 63 bits", "02 ffffffffffffffff7f", CAIRN_ECORRUPT },
	{ "last seqno of 56 bits", "04 ffffffffffffff7f", CAIRN_OK },
	{ "last seqno of 57 bits", "04 808080808080808001", CAIRN_ECORRUPT },
	{ "compaction cursor", "05 01" KEY_A, CAIRN_OK },
	{ "compaction cursor cut short", "05 01 09 'a'", CAIRN_ECORRUPT },
	{ "deleted file", "06 06 09", CAIRN_OK },
	{ "deleted file of level 7", "06 07 09", CAIRN_ENOTSUP },
	{ "LevelDB's new file", "07 00 09 d24a" KEY_A KEY_B, CAIRN_OK },
	{ "new file 2", FILE2, CAIRN_OK },
	{ "new file 2 of level 7", "64 07 09 d24a" KEY_A KEY_B "01 02",
	  CAIRN_ENOTSUP },
	{ "new file number 0", "64 00 00 d24a" KEY_A KEY_B "01 02",
	  CAIRN_ECORRUPT },
	{ "bound shorter than a trailer",
	  "64 00 09 d24a 07 01010000000000" KEY_B "01 02", CAIRN_ECORRUPT },
	{ "bound of the empty user key",
	  "64 00 09 d24a 08 0101000000000000" KEY_B "01 02", CAIRN_OK },
	{ "seqnos the wrong way round", "64 00 09 d24a" KEY_A KEY_B "02 01",
	  CAIRN_ECORRUPT },
	{ "seqnos that RocksDB does not know",
	  "64 00 09 d24a" KEY_A KEY_B "ffffffffffffff7f 00", CAIRN_OK },
	{ "new file 3", "66 00 09 00 d24a" KEY_A KEY_B "01 02", CAIRN_OK },
	{ "new file 3 in another path", "66 00 09 01 d24a" KEY_A KEY_B "01 02",
	  CAIRN_ENOTSUP },
	{ "new file 4", FILE4 "05 01 00 06 01 00 07 00 08 07 'Unknown' 01",
	  CAIRN_OK },
	{ "new file 4 without end", FILE4 "05 01 00", CAIRN_ECORRUPT },
	{ "needs compaction", FILE4 "02 01 01 01", CAIRN_OK },
	{ "min log to keep of a file", FILE4 "03 08 0800000000000000 01",
	  CAIRN_OK },
	{ "min log to keep of a file, short", FILE4 "03 04 08000000 01",
	  CAIRN_ECORRUPT },
	{ "no oldest blob file", FILE4 "04 01 00 01", CAIRN_OK },
	{ "oldest blob file", FILE4 "04 01 05 01", CAIRN_ENOTSUP },
	{ "temperature", FILE4 "09 01 08 01", CAIRN_OK },
	{ "unique id", FILE4 "0c 10 00112233445566778899aabbccddeeff 01",
	  CAIRN_OK },
	{ "epoch number of newer releases", FILE4 "0d 01 07 01", CAIRN_OK },
	{ "the first path", FILE4 "41 01 00 01", CAIRN_OK },
	{ "another path", FILE4 "41 01 02 01", CAIRN_ENOTSUP },
	{ "path id of no length", FILE4 "41 00 01", CAIRN_ECORRUPT },
	{ "a property that must be understood", FILE4 "42 01 00 01",
	  CAIRN_ENOTSUP },
	{ "a property that may be skipped", FILE4 "3f 03 'abc' 01", CAIRN_OK },
	{ "column family after the fields", "02 08 c801 01", CAIRN_OK },
	{ "column family added", "c801 01 c901 05 'alpha'", CAIRN_OK },
	{ "column family dropped", "c801 01 ca01", CAIRN_OK },
	{ "largest column family", "cb01 02", CAIRN_OK },
	{ "atomic group", "ac02 01", CAIRN_OK },
	{ "blob file", "9003 05", CAIRN_ENOTSUP },
	{ "garbage in a blob file", "9103 05", CAIRN_ENOTSUP },
	{ "database id", "8140 04 'abcd'", CAIRN_OK },
	{ "early blob file", "8240 05", CAIRN_ENOTSUP },
	{ "early WAL addition", "8440 05 02 10 01", CAIRN_OK },
	{ "early WAL addition without size", "8440 05 01", CAIRN_OK },
	{ "early WAL addition of nonsense", "8440 05 03 01", CAIRN_ECORRUPT },
	{ "early WAL deletion", "8540 05", CAIRN_OK },
	{ "no timestamps", "8640 00", CAIRN_OK },
	{ "timestamps", "8640 01 05", CAIRN_ENOTSUP },
	{ "WAL addition", "8740 04 05 02 10 01", CAIRN_OK },
	{ "WAL addition without size", "8740 02 05 01", CAIRN_OK },
	{ "WAL addition of nonsense", "8740 03 05 03 01", CAIRN_ECORRUPT },
	{ "WAL addition without end", "8740 03 05 02 10", CAIRN_ECORRUPT },
	{ "WAL addition with more behind it", "8740 03 05 01 01",
	  CAIRN_ECORRUPT },
	{ "WAL deletion", "8840 01 05", CAIRN_OK },
	{ "WAL deletion with more behind it", "8840 02 05 05", CAIRN_ECORRUPT },
	{ "a tag of the future that may be skipped", "ff40 03 'abc'",
	  CAIRN_OK },
	{ "the same without its bytes", "ff40 03 'ab'", CAIRN_ECORRUPT },
	{ "a tag of the future", "0b 01", CAIRN_ENOTSUP },
	{ "tag cut short", "80", CAIRN_ECORRUPT },
	{ "tag of 33 bits", "8080808010", CAIRN_ECORRUPT },
};

START_TEST(a_record_is_read_or_refused)
{
	struct buf bytes = from_hex(records[_i].hex);
	struct version_edit e = { 0 };
	static const struct version_edit empty;
	int err = version_edit_decode(buf_slice(&bytes), &e);

	ck_assert_msg(err == records[_i].want, "%s: %d %s", records[_i].name,
		      err, cairn_errmsg());
	if (err)
		ck_assert_mem_eq(&e, &empty, sizeof(e));
	version_edit_fini(&e);
	buf_fini(&bytes);
}
END_TEST

/* The second record of a real MANIFEST, but for the file's unique id. */
START_TEST(an_edit_of_rocksdb_is_written_as_it_was_read)
{
	struct buf bytes = from_hex(
		"02 08 09 00 03 0a 04 fa02"
		"67 00 09 d24a 11 'key000000' 0147000000000000 "
		"11 'key000299' 012a010000000000 "
		"01 fa02"
		"05 05 a1d0dbfb06 06 05 a1d0dbfb06 07 00 08 07 'Unknown' 01");
	struct version_edit e = { 0 };
	struct buf again = { 0 };
	const struct file_meta *f;

	ck_assert_int_eq(version_edit_decode(buf_slice(&bytes), &e), CAIRN_OK);
	ck_assert(e.has_log_number && e.log_number == 8);
	ck_assert(e.has_prev_log_number && e.prev_log_number == 0);
	ck_assert(e.has_next_file_number && e.next_file_number == 10);
	ck_assert(e.has_last_seqno && e.last_seqno == 378);
	ck_assert_uint_eq(e.n_added, 1);
	ck_assert_int_eq(e.added[0].level, 0);
	f = e.added[0].meta;
	ck_assert_uint_eq(f->number, 9);
	ck_assert_uint_eq(f->size, 9554);
	ck_assert_uint_eq(f->smallest_seqno, 1);
	ck_assert_uint_eq(f->largest_seqno, 378);
	ck_assert(f->seqnos_known);
	ck_assert_uint_eq(f->creation_time, 1870063649);
	ck_assert_uint_eq(f->oldest_ancestor_time, 1870063649);
	ck_assert(slice_eq(f->largest_key.user_key, slice_str("key000299")));
	ck_assert_uint_eq(ikey_seqno(&f->largest_key), 298);

	ck_assert_int_eq(version_edit_encode(&e, &again), CAIRN_OK);
	ck_assert(slice_eq(buf_slice(&bytes), buf_slice(&again)));
	version_edit_fini(&e);
	buf_fini(&bytes);
	buf_fini(&again);
}
END_TEST

static void make_full(struct version_edit *e)
{
	*e = (struct version_edit){
		.has_comparator = true,
		.has_log_number = true,
		.has_prev_log_number = true,
		.has_next_file_number = true,
		.has_last_seqno = true,
		.has_min_log_to_keep = true,
		.has_family_add = true,
		.family_drop = true,
		.in_atomic_group = true,
		.comparator = strdup("c"),
		.family_name = strdup("alpha"),
		.db_id = strdup("id"),
		.family = 3,
		.max_family = 4,
		.group_remaining = 5,
		.log_number = 300,
		.prev_log_number = 7,
		.next_file_number = 90000,
		.last_seqno = SEQNO_MAX,
		.min_log_to_keep = 299,
	};
	edit_parse("L0: 11:[.-z]#5-9 1000 L6: 12:[aa-zz) 70000 "
		   "L2: 13:[b-c] 12~",
		   e);
	e->added[0].meta->creation_time = 1700000000;
	e->added[0].meta->oldest_ancestor_time = 1600000000;
	ck_assert_int_eq(version_edit_delete_file(e, 0, 8), CAIRN_OK);
	ck_assert_int_eq(version_edit_delete_file(e, 6, 1u << 20), CAIRN_OK);
}

static void check_equal(const struct version_edit *a,
			const struct version_edit *b)
{
	struct buf x = { 0 }, y = { 0 };

	ck_assert_int_eq(version_edit_encode(a, &x), CAIRN_OK);
	ck_assert_int_eq(version_edit_encode(b, &y), CAIRN_OK);
	ck_assert(slice_eq(buf_slice(&x), buf_slice(&y)));
	buf_fini(&x);
	buf_fini(&y);
}

START_TEST(every_field_survives_a_round_trip)
{
	struct version_edit e, got = { 0 };
	struct buf bytes = { 0 };

	make_full(&e);
	ck_assert_int_eq(version_edit_encode(&e, &bytes), CAIRN_OK);
	ck_assert_int_eq(version_edit_decode(buf_slice(&bytes), &got),
			 CAIRN_OK);
	ck_assert_str_eq(got.comparator, "c");
	ck_assert_str_eq(got.family_name, "alpha");
	ck_assert_str_eq(got.db_id, "id");
	ck_assert(got.has_family_add && got.family_drop && got.in_atomic_group);
	ck_assert_uint_eq(got.family, 3);
	ck_assert_uint_eq(got.max_family, 4);
	ck_assert_uint_eq(got.group_remaining, 5);
	ck_assert_uint_eq(got.log_number, 300);
	ck_assert_uint_eq(got.prev_log_number, 7);
	ck_assert_uint_eq(got.next_file_number, 90000);
	ck_assert_uint_eq(got.last_seqno, SEQNO_MAX);
	ck_assert_uint_eq(got.min_log_to_keep, 299);
	ck_assert_uint_eq(got.n_added, 3);
	ck_assert_uint_eq(got.n_deleted, 2);
	ck_assert_int_eq(got.added[1].level, 6);
	ck_assert_uint_eq(got.added[0].meta->creation_time, 1700000000);
	ck_assert_uint_eq(got.added[0].meta->oldest_ancestor_time, 1600000000);
	ck_assert(file_meta_ends_before_largest(got.added[1].meta));
	ck_assert(!got.added[2].meta->seqnos_known);
	ck_assert_uint_eq(got.deleted[1].number, 1u << 20);
	check_equal(&e, &got);
	version_edit_fini(&e);
	version_edit_fini(&got);
	buf_fini(&bytes);
}
END_TEST

START_TEST(every_truncation_and_bit_flip_is_survived)
{
	struct version_edit e;
	struct buf bytes = { 0 };
	size_t n;

	make_full(&e);
	ck_assert_int_eq(version_edit_encode(&e, &bytes), CAIRN_OK);
	version_edit_fini(&e);
	n = bytes.len;
	for (size_t i = 0; i <= n; i++) {
		/* A copy of that length, so that reading past it is seen. */
		struct cairn_slice copy;
		int err;

		ck_assert_int_eq(slice_dup(slice_of(bytes.data, i), &copy),
				 CAIRN_OK);
		e = (struct version_edit){ 0 };
		err = version_edit_decode(copy, &e);
		ck_assert(err == CAIRN_OK || err == CAIRN_ECORRUPT);
		version_edit_fini(&e);
		free((void *)(uintptr_t)copy.data);
	}
	for (size_t bit = 0; bit < 8 * n; bit++) {
		struct version_edit again = { 0 };
		struct buf out = { 0 };
		int err;

		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		e = (struct version_edit){ 0 };
		err = version_edit_decode(buf_slice(&bytes), &e);
		ck_assert(err == CAIRN_OK || err == CAIRN_ECORRUPT ||
			  err == CAIRN_ENOTSUP);
		/* What was understood can be written and read again. */
		if (!err) {
			ck_assert_int_eq(version_edit_encode(&e, &out),
					 CAIRN_OK);
			ck_assert_int_eq(
				version_edit_decode(buf_slice(&out), &again),
				CAIRN_OK);
			check_equal(&e, &again);
		}
		version_edit_fini(&again);
		version_edit_fini(&e);
		buf_fini(&out);
		bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	buf_fini(&bytes);
}
END_TEST

START_TEST(unknown_seqnos_are_written_as_leveldb_does)
{
	struct version_edit e = { 0 };
	struct buf bytes = { 0 };

	edit_parse("L0: 9:[a-b] 9554~", &e);
	ck_assert_int_eq(version_edit_encode(&e, &bytes), CAIRN_OK);
	ck_assert_uint_eq(bytes.data[0], 7);
	version_edit_fini(&e);
	e = (struct version_edit){ 0 };
	ck_assert_int_eq(version_edit_decode(buf_slice(&bytes), &e), CAIRN_OK);
	ck_assert(!e.added[0].meta->seqnos_known);
	version_edit_fini(&e);
	buf_fini(&bytes);
}
END_TEST

START_TEST(an_edit_holds_references_of_its_own)
{
	struct version_edit e = { 0 };
	struct file_meta *f;

	edit_parse("L0: 9:[a-b]#1 9554", &e);
	f = file_meta_ref(e.added[0].meta);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(version_edit_add_file(&e, 1, f), CAIRN_OK);
	ck_assert_uint_eq(f->refs, 102);
	version_edit_fini(&e);
	ck_assert_uint_eq(f->refs, 1);
	file_meta_unref(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("edit");
	TCase *tc = tcase_create("records");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_record_is_read_or_refused, 0,
			    sizeof(records) / sizeof(records[0]));
	tcase_add_test(tc, an_edit_of_rocksdb_is_written_as_it_was_read);
	tcase_add_test(tc, every_field_survives_a_round_trip);
	tcase_add_test(tc, every_truncation_and_bit_flip_is_survived);
	tcase_add_test(tc, unknown_seqnos_are_written_as_leveldb_does);
	tcase_add_test(tc, an_edit_holds_references_of_its_own);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
