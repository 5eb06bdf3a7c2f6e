/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/format.h"

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"

#define FILE_LEN 1000u

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	int want;
} handles[] = {
	{ "first block of the file", "\0\x5f", 2, CAIRN_OK },
	{ "an empty block", "\5\0", 2, CAIRN_OK },
	{ "up to the last byte", "\x00\xe3\x07", 3, CAIRN_OK },
	{ "trailer past the end", "\x01\xe3\x07", 3, CAIRN_ECORRUPT },
	{ "nothing", "", 0, CAIRN_ECORRUPT },
	{ "size missing", "\5", 1, CAIRN_ECORRUPT },
	{ "size cut short", "\5\x80", 2, CAIRN_ECORRUPT },
	{ "offset too long", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\0", 11,
	  CAIRN_ECORRUPT },
	{ "sum wraps around", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\5", 11,
	  CAIRN_ECORRUPT },
	{ "size wraps around", "\5\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11,
	  CAIRN_ECORRUPT },
};

START_TEST(a_decoded_handle_lies_inside_the_file)
{
	struct cairn_slice in = slice_of(handles[_i].bytes, handles[_i].len);
	struct cairn_slice before = in;
	struct block_handle h = { 7, 7 };

	ck_assert_msg(block_handle_decode(&in, FILE_LEN, &h) ==
			      handles[_i].want,
		      "%s", handles[_i].name);
	if (handles[_i].want) {
		ck_assert(in.data == before.data && in.len == before.len);
		ck_assert(h.offset == 7 && h.size == 7);
	} else {
		ck_assert_uint_eq(in.len, 0);
		ck_assert(block_handle_fits(h, FILE_LEN));
	}
}
END_TEST

START_TEST(a_block_larger_than_any_can_be_is_refused)
{
	struct block_handle h = { 0, BLOCK_LEN_MAX };

	ck_assert(block_handle_fits(h, UINT64_MAX));
	h.size++;
	ck_assert(!block_handle_fits(h, UINT64_MAX));
	ck_assert(!block_handle_fits((struct block_handle){ 0, 0 }, 4));
}
END_TEST

START_TEST(handles_survive_the_round_trip)
{
	struct rng r;

	rng_init(&r, 1);
	for (int i = 0; i < 1000; i++) {
		struct block_handle h = { rng_next(&r) >> 20,
					  rng_next(&r) >> 40 };
		uint8_t bytes[BLOCK_HANDLE_MAX_LEN];
		uint8_t *end = block_handle_encode(bytes, h);
		struct cairn_slice in = slice_of(bytes, (size_t)(end - bytes));
		struct block_handle got;

		ck_assert(!block_handle_decode(&in, UINT64_MAX, &got));
		ck_assert(got.offset == h.offset && got.size == h.size);
	}
}
END_TEST

/* The five bytes "hello" under each codec byte (formats, test vectors). */
static const struct {
	uint8_t codec;
	uint32_t sum[5]; /* by type */
} sums[] = {
	{ 0, { 0, 0x838fa897, 0x76c3f8e8, 0x2fec4e26, 0x5c62dcfd } },
	{ 1, { 0, 0x898e4440, 0xa1fdd613, 0x6d66dbe3, 0x37f25f24 } },
	{ 7, { 0, 0xcb5dff03, 0x60b84af6, 0xe49851e1, 0xac914612 } },
};

START_TEST(checksums_are_those_of_rocksdb)
{
	uint8_t bytes[5 + BLOCK_TRAILER_LEN] = "hello";

	bytes[5] = sums[_i].codec;
	for (unsigned type = 0; type <= TABLE_CHECKSUM_XXH3; type++) {
		enum table_checksum t = (enum table_checksum)type;

		ck_assert_uint_eq(block_checksum(t, bytes, 5),
				  sums[_i].sum[type]);
		put_le32(bytes + 6, sums[_i].sum[type]);
		ck_assert_int_eq(block_check(t, bytes, 5), CAIRN_OK);
		bytes[6] ^= 1;
		ck_assert_int_eq(block_check(t, bytes, 5),
				 type ? CAIRN_ECORRUPT : CAIRN_OK);
		if (type)
			ck_assert_ptr_nonnull(
				strstr(cairn_errmsg(), checksum_name(t)));
	}
	block_trailer_encode(sums[_i].codec, bytes, 5, bytes + 5);
	ck_assert_uint_eq(load_le32(bytes + 6), sums[_i].sum[4]);
	ck_assert_uint_eq(bytes[5], sums[_i].codec);
}
END_TEST

START_TEST(the_message_of_a_bad_checksum_has_both_values)
{
	uint8_t bytes[] = { 'h', 'e', 'l', 'l', 'o', 0, 1, 2, 3, 4 };

	ck_assert(block_check(TABLE_CHECKSUM_XXH3, bytes, 5));
	ck_assert_str_eq(cairn_errmsg(), "checksum is 5c62dcfd, should be "
					 "04030201 (xxh3)");
}
END_TEST

static const struct footer sample = {
	.version = 5,
	.checksum = TABLE_CHECKSUM_XXH3,
	.metaindex = { 800, 50 },
	.index = { 500, 295 },
};

static void check_footer(const uint8_t *bytes, int want)
{
	struct footer f;

	ck_assert_int_eq(
		footer_decode(slice_of(bytes, FOOTER_LEN), FILE_LEN, &f), want);
}

START_TEST(a_footer_survives_the_round_trip)
{
	uint8_t bytes[FOOTER_LEN];
	struct footer f;

	footer_encode(&sample, bytes);
	ck_assert(!footer_decode(slice_of(bytes, FOOTER_LEN), FILE_LEN, &f));
	ck_assert_uint_eq(f.version, 5);
	ck_assert_uint_eq(f.len, FOOTER_LEN);
	ck_assert(f.checksum == TABLE_CHECKSUM_XXH3);
	ck_assert(f.metaindex.offset == 800 && f.metaindex.size == 50);
	ck_assert(f.index.offset == 500 && f.index.size == 295);
}
END_TEST

START_TEST(versions_one_to_five_are_read_and_newer_ones_named)
{
	uint8_t bytes[FOOTER_LEN];

	footer_encode(&sample, bytes);
	for (uint32_t v = 0; v < 9; v++) {
		put_le32(bytes + 41, v);
		check_footer(bytes, v == 0  ? CAIRN_ECORRUPT
				    : v > 5 ? CAIRN_ENOTSUP
					    : CAIRN_OK);
	}
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "format_version 8"));
}
END_TEST

START_TEST(unknown_checksum_types_are_refused)
{
	uint8_t bytes[FOOTER_LEN];

	footer_encode(&sample, bytes);
	for (uint8_t type = 0; type < 255; type++) {
		bytes[0] = type;
		check_footer(bytes, type > 4 ? CAIRN_ENOTSUP : CAIRN_OK);
	}
}
END_TEST

static const struct {
	uint64_t magic;
	int want;
	const char *word;
} magics[] = {
	{ UINT64_C(0x8242229663bf9564), CAIRN_ENOTSUP, "plain" },
	{ UINT64_C(0x4f3418eb7a8f13b8), CAIRN_ENOTSUP, "plain" },
	{ UINT64_C(0x926789d0c5f17873), CAIRN_ENOTSUP, "cuckoo" },
	{ UINT64_C(0xf09faab3f09faab3), CAIRN_ENOTSUP, "Pebble" },
	{ 0, CAIRN_ECORRUPT, "magic" },
};

START_TEST(files_of_other_kinds_are_named)
{
	uint8_t bytes[FOOTER_LEN];

	footer_encode(&sample, bytes);
	put_le64(bytes + FOOTER_LEN - 8, magics[_i].magic);
	check_footer(bytes, magics[_i].want);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), magics[_i].word));
}
END_TEST

static void legacy_footer(uint8_t *bytes)
{
	memset(bytes, 0, FOOTER_LEGACY_LEN);
	block_handle_encode(block_handle_encode(bytes, sample.metaindex),
			    sample.index);
	put_le64(bytes + 40, UINT64_C(0xdb4775248b80fb57));
}

START_TEST(the_footer_of_leveldb_is_read)
{
	uint8_t bytes[FOOTER_LEGACY_LEN];
	struct footer f;

	legacy_footer(bytes);
	ck_assert(!footer_decode(slice_of(bytes, sizeof(bytes)), FILE_LEN, &f));
	ck_assert_uint_eq(f.version, 0);
	ck_assert_uint_eq(f.len, FOOTER_LEGACY_LEN);
	ck_assert(f.checksum == TABLE_CHECKSUM_CRC32C);
	ck_assert(f.index.offset == 500 && f.index.size == 295);
}
END_TEST

/* A handle that reaches into the footer is out of the file, too. */
START_TEST(blocks_may_not_reach_into_the_footer)
{
	struct footer f = sample;
	uint8_t bytes[FOOTER_LEN];

	f.index = (struct block_handle){ 500, FILE_LEN - FOOTER_LEN - 505 };
	footer_encode(&f, bytes);
	check_footer(bytes, CAIRN_OK);
	f.index.size++;
	footer_encode(&f, bytes);
	check_footer(bytes, CAIRN_ECORRUPT);
}
END_TEST

START_TEST(a_truncated_footer_is_an_error)
{
	uint8_t bytes[FOOTER_LEN], legacy[FOOTER_LEGACY_LEN];
	struct footer f;

	footer_encode(&sample, bytes);
	legacy_footer(legacy);
	for (size_t n = 0; n < FOOTER_LEN; n++) {
		ck_assert(footer_decode(slice_of(bytes, n), n, &f));
		/* And one that lost its front instead. */
		ck_assert(footer_decode(slice_of(bytes + FOOTER_LEN - n, n), n,
					&f));
		if (n < FOOTER_LEGACY_LEN)
			ck_assert(footer_decode(slice_of(legacy, n), n, &f));
	}
}
END_TEST

START_TEST(a_flipped_bit_gives_a_sane_footer_or_an_error)
{
	uint8_t bytes[FOOTER_LEN];
	struct footer f;

	footer_encode(&sample, bytes);
	for (size_t bit = 0; bit < FOOTER_LEN * 8; bit++) {
		int err;

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		err = footer_decode(slice_of(bytes, FOOTER_LEN), FILE_LEN, &f);
		if (!err) {
			ck_assert(block_handle_fits(f.index, FILE_LEN));
			ck_assert(block_handle_fits(f.metaindex, FILE_LEN));
			ck_assert(f.version <= 5 && f.checksum <= 4);
		}
		/* Version and magic number never pass for another. */
		if (bit / 8 >= 45 || (bit / 8 >= 42 && bit / 8 < 45))
			ck_assert(err);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

int main(void)
{
	Suite *s = suite_create("format");
	TCase *tc = tcase_create("handles and checksums");
	TCase *footers = tcase_create("footers");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_decoded_handle_lies_inside_the_file, 0,
			    N(handles));
	tcase_add_test(tc, a_block_larger_than_any_can_be_is_refused);
	tcase_add_test(tc, handles_survive_the_round_trip);
	tcase_add_loop_test(tc, checksums_are_those_of_rocksdb, 0, N(sums));
	tcase_add_test(tc, the_message_of_a_bad_checksum_has_both_values);
	suite_add_tcase(s, tc);
	tcase_set_timeout(footers, 60);
	tcase_add_test(footers, a_footer_survives_the_round_trip);
	tcase_add_test(footers,
		       versions_one_to_five_are_read_and_newer_ones_named);
	tcase_add_test(footers, unknown_checksum_types_are_refused);
	tcase_add_loop_test(footers, files_of_other_kinds_are_named, 0,
			    N(magics));
	tcase_add_test(footers, the_footer_of_leveldb_is_read);
	tcase_add_test(footers, blocks_may_not_reach_into_the_footer);
	tcase_add_test(footers, a_truncated_footer_is_an_error);
	tcase_add_test(footers, a_flipped_bit_gives_a_sane_footer_or_an_error);
	suite_add_tcase(s, footers);
	return run_suite(s);
}
