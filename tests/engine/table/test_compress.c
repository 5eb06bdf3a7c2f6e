/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/compress.h"

#include <pthread.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"

static const enum table_codec codecs[] = { TABLE_CODEC_SNAPPY,
					   TABLE_CODEC_ZSTD };

/* Half of it can be compressed away. */
static void fill(uint8_t *p, size_t len)
{
	struct rng r;

	rng_init(&r, len);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i % 64 < 32 ? rng_next(&r) : 'x');
}

/* Compress len such bytes into a new buffer. */
static void compressed(enum table_codec codec, size_t len, struct buf *raw,
		       struct buf *out)
{
	struct compressor c;
	struct cairn_slice stored;
	uint8_t type;

	ck_assert(!buf_reserve(raw, len));
	fill(raw->data, len);
	raw->len = len;
	ck_assert(!compressor_init(&c, codec, 1));
	ck_assert(!compressor_run(&c, buf_slice(raw), &type, &stored));
	ck_assert_uint_eq(type, codec);
	ck_assert(stored.len < len - len / 8);
	ck_assert(!buf_set(out, stored));
	compressor_fini(&c);
}

static int expand(uint8_t codec, struct cairn_slice stored,
		  struct decompress_pool *pool, struct buf *out)
{
	const struct stored_block b = { stored, codec, 5 };
	size_t len;
	int err = decompressed_len(&b, NULL, &len);

	if (err)
		return err;
	buf_clear(out);
	ck_assert(!buf_reserve(out, len + 1));
	out->len = len;
	return decompress(&b, NULL, pool, out->data, len);
}

START_TEST(what_was_compressed_comes_back)
{
	static const size_t lens[] = { 300, 4096, 70000, 1u << 20 };
	struct decompress_pool pool = { 0 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct buf raw = { 0 }, stored = { 0 }, again = { 0 };

		compressed(codecs[_i], lens[i], &raw, &stored);
		ck_assert(!expand((uint8_t)codecs[_i], buf_slice(&stored),
				  i % 2 ? &pool : NULL, &again));
		ck_assert(slice_eq(buf_slice(&raw), buf_slice(&again)));
		buf_fini(&raw);
		buf_fini(&stored);
		buf_fini(&again);
	}
	decompress_pool_fini(&pool);
}
END_TEST

START_TEST(blocks_that_save_less_than_an_eighth_stay_raw)
{
	uint8_t bytes[4000];
	struct compressor c;
	struct cairn_slice stored;
	struct rng r;
	uint8_t type;

	rng_init(&r, 5);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rng_next(&r);
	/* A twentieth of it is compressible. */
	memset(bytes, 0, sizeof(bytes) / 20);
	ck_assert(!compressor_init(&c, codecs[_i], 1));
	ck_assert(!compressor_run(&c, slice_of(bytes, sizeof(bytes)), &type,
				  &stored));
	ck_assert_uint_eq(type, TABLE_CODEC_NONE);
	ck_assert(stored.data == bytes && stored.len == sizeof(bytes));
	memset(bytes, 0, sizeof(bytes) / 5);
	ck_assert(!compressor_run(&c, slice_of(bytes, sizeof(bytes)), &type,
				  &stored));
	ck_assert_uint_eq(type, codecs[_i]);
	compressor_fini(&c);
}
END_TEST

static const struct {
	uint8_t codec;
	const char *word;
} foreign[] = {
#ifndef HAVE_ZLIB
	{ 2, "zlib (2) is not supported by this build" },
#endif
#ifndef HAVE_BZIP2
	{ 3, "bzip2 (3) is not supported by this build" },
#endif
#ifndef HAVE_LZ4
	{ 4, "lz4 (4) is not supported by this build" },
	{ 5, "lz4hc (5) is not supported by this build" },
#endif
	{ 6, "xpress" },
	{ 8, "unknown (8)" },
	{ 0x41, "unknown (65)" },
	{ 0xff, "unknown (255)" },
};

START_TEST(other_codecs_are_named)
{
	const struct stored_block b = { slice_str("abcdefgh"),
					foreign[_i].codec, 5 };
	size_t len;

	ck_assert_int_eq(decompressed_len(&b, NULL, &len), CAIRN_ENOTSUP);
	ck_assert_msg(strstr(cairn_errmsg(), foreign[_i].word), "%s",
		      cairn_errmsg());
}
END_TEST

START_TEST(a_length_that_so_few_bytes_cannot_give_is_not_believed)
{
	uint8_t bytes[16] = { 0 };
	struct stored_block b = { slice_of(bytes, sizeof(bytes)),
				  (uint8_t)codecs[_i], 5 };
	size_t len;

	/* One GiB out of 16 bytes, and more than any block may have. */
	put_varint32(bytes, 1u << 30);
	ck_assert_int_eq(decompressed_len(&b, NULL, &len), CAIRN_ECORRUPT);
	put_varint32(bytes, UINT32_MAX);
	ck_assert_int_eq(decompressed_len(&b, NULL, &len), CAIRN_ECORRUPT);
	b.bytes.len = 0;
	ck_assert_int_eq(decompressed_len(&b, NULL, &len), CAIRN_ECORRUPT);
}
END_TEST

START_TEST(a_large_length_is_believed_once_it_was_tried)
{
	size_t len = DECOMPRESS_TRUST_MAX + 1000;
	uint8_t *raw = calloc(1, len);
	struct cairn_slice stored;
	struct buf claim = { 0 };
	struct compressor c;
	struct stored_block b;
	size_t got;

	ck_assert_ptr_nonnull(raw);
	ck_assert(!compressor_init(&c, codecs[_i], 1));
	b.version = 5;
	ck_assert(!compressor_run(&c, slice_of(raw, len), &b.codec, &stored));
	ck_assert_uint_eq(b.codec, codecs[_i]);
	ck_assert(!buf_set(&claim, stored));
	b.bytes = buf_slice(&claim);
	ck_assert_int_eq(decompressed_len(&b, NULL, &got), CAIRN_OK);
	ck_assert_uint_eq(got, len);
	/* The same bytes, and a claim that is wrong by one. */
	put_varint64(claim.data, len + 1);
	ck_assert_int_eq(decompressed_len(&b, NULL, &got), CAIRN_ECORRUPT);
	put_varint64(claim.data, len - 1);
	ck_assert_int_eq(decompressed_len(&b, NULL, &got), CAIRN_ECORRUPT);
	put_varint64(claim.data, len);
	b.bytes.len -= 9;
	ck_assert_int_eq(decompressed_len(&b, NULL, &got), CAIRN_ECORRUPT);
	compressor_fini(&c);
	buf_fini(&claim);
	free(raw);
}
END_TEST

START_TEST(truncated_blocks_are_errors)
{
	struct buf raw = { 0 }, stored = { 0 }, again = { 0 };

	compressed(codecs[_i], 1000, &raw, &stored);
	for (size_t n = 0; n < stored.len; n++)
		ck_assert_int_eq(expand((uint8_t)codecs[_i],
					slice_of(stored.data, n), NULL, &again),
				 CAIRN_ECORRUPT);
	buf_fini(&raw);
	buf_fini(&stored);
	buf_fini(&again);
}
END_TEST

START_TEST(flipped_bits_do_no_harm)
{
	struct decompress_pool pool = { 0 };
	struct buf raw = { 0 }, stored = { 0 }, again = { 0 };

	compressed(codecs[_i], 1000, &raw, &stored);
	for (size_t bit = 0; bit < stored.len * 8; bit++) {
		int err;

		stored.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		/* The checksum is what finds these; here they must only not
		 * get out of the buffers. */
		err = expand((uint8_t)codecs[_i], buf_slice(&stored), &pool,
			     &again);
		ck_assert(err == CAIRN_OK || err == CAIRN_ECORRUPT);
		stored.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	/* A pool that saw errors is as good as before. */
	ck_assert(!expand((uint8_t)codecs[_i], buf_slice(&stored), &pool,
			  &again));
	ck_assert(slice_eq(buf_slice(&raw), buf_slice(&again)));
	decompress_pool_fini(&pool);
	buf_fini(&raw);
	buf_fini(&stored);
	buf_fini(&again);
}
END_TEST

struct job {
	struct decompress_pool *pool;
	struct cairn_slice stored;
	struct cairn_slice raw;
};

static void *work(void *arg)
{
	const struct job *j = arg;
	const struct stored_block b = { j->stored, TABLE_CODEC_ZSTD, 5 };
	uint8_t out[1000];
	void *bad = NULL;

	for (int i = 0; i < 200; i++)
		if (decompress(&b, NULL, j->pool, out, sizeof(out)) ||
		    !slice_eq(j->raw, slice_of(out, sizeof(out))))
			bad = arg;
	return bad;
}

START_TEST(threads_share_a_pool)
{
	struct decompress_pool pool = { 0 };
	struct buf raw = { 0 }, stored = { 0 };
	pthread_t thread[6];
	struct job j;

	compressed(TABLE_CODEC_ZSTD, 1000, &raw, &stored);
	j = (struct job){ &pool, buf_slice(&stored), buf_slice(&raw) };
	for (int i = 0; i < 6; i++)
		ck_assert(!pthread_create(&thread[i], NULL, work, &j));
	for (int i = 0; i < 6; i++) {
		void *bad;

		ck_assert(!pthread_join(thread[i], &bad));
		ck_assert_ptr_null(bad);
	}
	decompress_pool_fini(&pool);
	buf_fini(&raw);
	buf_fini(&stored);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("compress");
	TCase *tc = tcase_create("codecs");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_was_compressed_comes_back, 0, 2);
	tcase_add_loop_test(tc, blocks_that_save_less_than_an_eighth_stay_raw,
			    0, 2);
	tcase_add_loop_test(tc, other_codecs_are_named, 0,
			    sizeof(foreign) / sizeof(foreign[0]));
	tcase_add_loop_test(
		tc, a_length_that_so_few_bytes_cannot_give_is_not_believed, 0,
		2);
	tcase_add_loop_test(tc, a_large_length_is_believed_once_it_was_tried, 0,
			    2);
	tcase_add_loop_test(tc, truncated_blocks_are_errors, 0, 2);
	tcase_add_loop_test(tc, flipped_bits_do_no_harm, 0, 2);
	tcase_add_test(tc, threads_share_a_pool);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
