/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/bloom.h"

#include <stdio.h>

#include "engine/base/hash.h"
#include "engine/base/rng.h"
#include "engine/table/filter.h"
#include "tests/support/runner.h"

static struct cairn_slice number_key(char *room, size_t cap, unsigned n)
{
	int len = snprintf(room, cap, "key%06u", n);

	return slice_of(room, (size_t)len);
}

START_TEST(three_known_keys_give_the_known_line)
{
	/* From RocksDB's own code (formats, test vectors). */
	static const char want[] =
		"4020000010000000040010000000000000c8010000000000000000060000"
		"000000002000000400000000008000000010000000000000000010800000"
		"00200000ff00060000";
	static const char *const keys[] = { "apple", "banana", "cherry" };
	uint64_t hashes[3];
	struct buf out = { 0 };

	for (int i = 0; i < 3; i++)
		hashes[i] = hash64(keys[i], strlen(keys[i]));
	ck_assert(!bloom_build(hashes, 3, 10000, &out));
	ck_assert_uint_eq(out.len, 64 + BLOOM_METADATA_LEN);
	for (size_t i = 0; i < out.len; i++) {
		char hex[3];

		snprintf(hex, sizeof(hex), "%02x", out.data[i]);
		ck_assert_msg(!memcmp(hex, want + 2 * i, 2), "byte %zu", i);
	}
	buf_fini(&out);
}
END_TEST

static const struct {
	double bits;
	uint32_t millibits;
	unsigned probes;
} rounding[] = {
	{ 0, 0, 0 },         { 0.49, 0, 0 },       { -1, 0, 0 },
	{ 0.5, 1000, 1 },    { 0.99, 1000, 1 },    { 1, 1000, 1 },
	{ 2.08, 2080, 1 },   { 2.09, 2090, 2 },    { 5, 5000, 3 },
	{ 8, 8000, 5 },      { 10, 10000, 6 },     { 10.0704, 10070, 6 },
	{ 12, 12000, 8 },    { 15, 15000, 9 },     { 20, 20000, 11 },
	{ 25.5, 25500, 12 }, { 26, 26000, 11 },    { 50, 50000, 23 },
	{ 60, 60000, 24 },   { 1000, 100000, 24 },
};

START_TEST(bits_per_key_are_rounded_and_probes_chosen_as_in_rocksdb)
{
	uint32_t m = bloom_millibits(rounding[_i].bits);
	struct buf out = { 0 };
	uint64_t hash = 1;

	ck_assert_uint_eq(m, rounding[_i].millibits);
	if (!m)
		return;
	ck_assert(!bloom_build(&hash, 1, m, &out));
	ck_assert_uint_eq(out.data[out.len - 3], rounding[_i].probes);
	buf_fini(&out);
}
END_TEST

START_TEST(no_key_is_ever_denied_and_few_others_pass)
{
	static const unsigned counts[] = { 1, 2, 10, 100, 1000, 10000 };

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		struct filter_builder b;
		struct buf out = { 0 };
		struct bloom f;
		unsigned passed = 0;
		char room[32];

		filter_builder_init(&b, 10, NULL);
		for (unsigned i = 0; i < counts[c]; i++)
			ck_assert(!filter_builder_add(
				&b, number_key(room, sizeof(room), i)));
		ck_assert_uint_eq(filter_builder_entries(&b), counts[c]);
		ck_assert(!filter_builder_finish(&b, &out));
		/* Whole lines, and metadata. */
		ck_assert_uint_eq(out.len,
				  (counts[c] * 10 / 8 + 64) / 64 * 64 + 5);
		bloom_open(&f, buf_slice(&out));
		ck_assert(f.kind == BLOOM_FAST);
		for (unsigned i = 0; i < counts[c]; i++)
			ck_assert(bloom_may_contain(
				&f, number_key(room, sizeof(room), i)));
		for (unsigned i = 0; i < 10000; i++)
			passed += bloom_may_contain(
				&f, number_key(room, sizeof(room), 500000 + i));
		/* About 1 in 100 by design; half lines make small ones worse.
		 */
		ck_assert_uint_lt(passed, 300);
		filter_builder_fini(&b);
		buf_fini(&out);
	}
}
END_TEST

START_TEST(versions_of_one_key_are_added_once)
{
	struct filter_builder b;

	filter_builder_init(&b, 10, NULL);
	for (int i = 0; i < 5; i++)
		ck_assert(!filter_builder_add(&b, slice_str("a")));
	ck_assert(!filter_builder_add(&b, slice_str("b")));
	ck_assert_uint_eq(filter_builder_entries(&b), 2);
	filter_builder_fini(&b);
}
END_TEST

static size_t two(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len >= 2 ? 2 : SIZE_MAX;
}

static const struct cairn_prefix_extractor px = { "two", NULL, two };

START_TEST(prefixes_are_added_once_per_run_and_only_where_there_is_one)
{
	static const char *const keys[] = { "", "a", "aa1", "aa2", "ab", "b" };
	struct filter_builder b;
	struct buf out = { 0 };
	struct bloom f;

	filter_builder_init(&b, 20, &px);
	for (size_t i = 0; i < 6; i++)
		ck_assert(!filter_builder_add(&b, slice_str(keys[i])));
	/* Six keys and "aa"; "ab" is its own prefix. */
	ck_assert_uint_eq(filter_builder_entries(&b), 7);
	ck_assert(!filter_builder_finish(&b, &out));
	bloom_open(&f, buf_slice(&out));
	ck_assert(bloom_may_contain(&f, slice_str("aa")));
	ck_assert(bloom_may_contain(&f, slice_str("ab")));
	ck_assert(!bloom_may_contain(&f, slice_str("ac")));
	filter_builder_fini(&b);
	buf_fini(&out);
}
END_TEST

START_TEST(without_bits_no_filter_is_built)
{
	struct filter_builder b;

	filter_builder_init(&b, 0, NULL);
	ck_assert(!filter_builder_add(&b, slice_str("a")));
	ck_assert_uint_eq(b.millibits, 0);
	ck_assert_uint_eq(filter_builder_entries(&b), 0);
	filter_builder_fini(&b);
}
END_TEST

START_TEST(a_filter_without_keys_is_metadata_and_denies_all)
{
	struct buf out = { 0 };
	struct bloom f;

	ck_assert(!bloom_build(NULL, 0, 10000, &out));
	ck_assert_uint_eq(out.len, BLOOM_METADATA_LEN);
	bloom_open(&f, buf_slice(&out));
	ck_assert(!bloom_may_contain(&f, slice_str("a")));
	buf_fini(&out);
}
END_TEST

/* What is said of "x" by 64 zero bytes and this metadata. */
static const struct {
	const char *name;
	uint8_t meta[BLOOM_METADATA_LEN];
	bool maybe;
} metas[] = {
	{ "new, empty line", { 0xff, 0, 6, 0, 0 }, false },
	{ "zero probes of the old kind", { 0, 1, 0, 0, 0 }, true },
	{ "old, one line", { 6, 1, 0, 0, 0 }, false },
	{ "old, no line", { 6, 0, 0, 0, 0 }, true },
	{ "old, lines of 32 bytes", { 6, 2, 0, 0, 0 }, false },
	{ "old, lines that do not divide", { 6, 3, 0, 0, 0 }, true },
	{ "old, more lines than bytes", { 6, 0, 1, 0, 0 }, true },
	{ "old, most probes", { 127, 1, 0, 0, 0 }, false },
	{ "marker that nobody uses", { 128, 1, 0, 0, 0 }, true },
	{ "ribbon", { 0xfe, 0, 1, 0, 0 }, true },
	{ "another implementation", { 0xff, 1, 6, 0, 0 }, true },
	{ "another line size", { 0xff, 0, 0x26, 0, 0 }, true },
	{ "no probes", { 0xff, 0, 0, 0, 0 }, true },
	{ "too many probes", { 0xff, 0, 31, 0, 0 }, true },
	{ "reserved byte set", { 0xff, 0, 6, 1, 0 }, true },
	{ "the other one", { 0xff, 0, 6, 0, 1 }, true },
};

START_TEST(what_is_not_understood_is_a_maybe)
{
	uint8_t block[64 + BLOOM_METADATA_LEN] = { 0 };
	struct bloom f;

	memcpy(block + 64, metas[_i].meta, BLOOM_METADATA_LEN);
	bloom_open(&f, slice_of(block, sizeof(block)));
	ck_assert_msg(bloom_may_contain(&f, slice_str("x")) == metas[_i].maybe,
		      "%s", metas[_i].name);
}
END_TEST

START_TEST(any_bytes_are_a_filter)
{
	struct rng r;

	rng_init(&r, 3);
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)rng_below(&r, 300);
		uint8_t *block = malloc(len ? len : 1);
		struct bloom f;

		for (size_t k = 0; k < len; k++)
			block[k] = (uint8_t)rng_next(&r);
		if (len >= 5 && i % 2) {
			block[len - 5] = (uint8_t)(i % 4 == 1 ? 0xff : 6);
			block[len - 4] = (uint8_t)(i % 3);
			block[len - 3] &= 0x3f;
			block[len - 2] = block[len - 1] = 0;
		}
		bloom_open(&f, slice_of(block, len));
		bloom_may_contain(&f, slice_str("some key"));
		if (len <= 5)
			ck_assert(f.kind == BLOOM_NEVER);
		free(block);
	}
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

int main(void)
{
	Suite *s = suite_create("bloom");
	TCase *tc = tcase_create("bloom");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, three_known_keys_give_the_known_line);
	tcase_add_loop_test(
		tc, bits_per_key_are_rounded_and_probes_chosen_as_in_rocksdb, 0,
		N(rounding));
	tcase_add_test(tc, no_key_is_ever_denied_and_few_others_pass);
	tcase_add_test(tc, versions_of_one_key_are_added_once);
	tcase_add_test(
		tc,
		prefixes_are_added_once_per_run_and_only_where_there_is_one);
	tcase_add_test(tc, without_bits_no_filter_is_built);
	tcase_add_test(tc, a_filter_without_keys_is_metadata_and_denies_all);
	tcase_add_loop_test(tc, what_is_not_understood_is_a_maybe, 0, N(metas));
	tcase_add_test(tc, any_bytes_are_a_filter);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
