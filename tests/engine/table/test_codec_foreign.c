/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/codec_foreign.h"

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"

#ifdef HAVE_BZIP2
#include <bzlib.h>
#endif
#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

/* Compress raw to *out, which has room, as RocksDB does. */
struct codec {
	const char *name;
	uint8_t number;
	bool old_len; /* a fixed64 before blocks of format_version 1 */
	void (*run)(struct cairn_slice raw, struct cairn_slice dict,
		    struct buf *out);
};

static uint8_t *room(struct buf *out, size_t len)
{
	ck_assert(!buf_reserve(out, len));
	return out->data + out->len;
}

#ifdef HAVE_ZLIB
static void run_zlib(struct cairn_slice raw, struct cairn_slice dict,
		     struct buf *out)
{
	z_stream z = { 0 };
	size_t max = raw.len + raw.len / 100 + 64;

	ck_assert(!deflateInit2(&z, -1, Z_DEFLATED, -14, 8, 0));
	if (dict.len)
		ck_assert(!deflateSetDictionary(&z, dict.data, (uInt)dict.len));
	z.next_in = (Bytef *)(uintptr_t)raw.data;
	z.avail_in = (uInt)raw.len;
	z.next_out = room(out, max);
	z.avail_out = (uInt)max;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}
#endif

#ifdef HAVE_BZIP2
static void run_bzip2(struct cairn_slice raw, struct cairn_slice dict,
		      struct buf *out)
{
	unsigned len = (unsigned)(raw.len + raw.len / 50 + 600);

	(void)dict;
	ck_assert(!BZ2_bzBuffToBuffCompress((char *)room(out, len), &len,
					    (char *)(uintptr_t)raw.data,
					    (unsigned)raw.len, 1, 0, 0));
	out->len += len;
}
#endif

#ifdef HAVE_LZ4
static void run_lz4(struct cairn_slice raw, struct cairn_slice dict,
		    struct buf *out)
{
	int max = LZ4_compressBound((int)raw.len);
	LZ4_stream_t *s = LZ4_createStream();
	int n;

	ck_assert_ptr_nonnull(s);
	if (dict.len)
		LZ4_loadDict(s, (const char *)dict.data, (int)dict.len);
	n = LZ4_compress_fast_continue(s, (const char *)raw.data,
				       (char *)room(out, (size_t)max),
				       (int)raw.len, max, 1);
	ck_assert(n > 0);
	out->len += (size_t)n;
	LZ4_freeStream(s);
}
#endif

static const struct codec codecs[] = {
#ifdef HAVE_ZLIB
	{ "zlib", 2, false, run_zlib },
#endif
#ifdef HAVE_BZIP2
	{ "bzip2", 3, false, run_bzip2 },
#endif
#ifdef HAVE_LZ4
	{ "lz4", 4, true, run_lz4 },      { "lz4hc", 5, true, run_lz4 },
#endif
	{ NULL, 0, false, NULL },
};

#define N_CODECS (sizeof(codecs) / sizeof(*codecs) - 1)

/* Half of it can be compressed away. */
static void fill(struct buf *raw, size_t len)
{
	struct rng r;

	rng_init(&r, len);
	raw->len = 0;
	room(raw, len);
	for (size_t i = 0; i < len; i++)
		raw->data[i] = (uint8_t)(i % 64 < 32 ? rng_next(&r) : 'x');
	raw->len = len;
}

static void compress_as(const struct codec *c, uint8_t version,
			struct cairn_slice raw, struct cairn_slice dict,
			struct buf *out)
{
	buf_clear(out);
	if (version >= 2)
		ck_assert(!buf_append_varint(out, raw.len));
	else if (c->old_len)
		ck_assert(!buf_append_le64(out, raw.len));
	c->run(raw, dict, out);
}

/* Through the functions that table blocks are read with. */
static int expand(const struct stored_block *b, const struct block_dict *dict,
		  struct buf *out)
{
	size_t len;
	int err = decompressed_len(b, dict, &len);

	if (err)
		return err;
	buf_clear(out);
	room(out, len + 1);
	out->len = len;
	return decompress(b, dict, NULL, out->data, len);
}

static void comes_back(const struct codec *c, uint8_t version, size_t len,
		       struct cairn_slice dict)
{
	struct buf raw = { 0 }, stored = { 0 }, again = { 0 };
	struct block_dict *d = NULL;
	struct stored_block b;
	int err;

	fill(&raw, len);
	if (dict.len)
		ck_assert(!block_dict_new(dict, &d));
	compress_as(c, version, buf_slice(&raw), dict, &stored);
	b = (struct stored_block){ buf_slice(&stored), c->number, version };
	err = expand(&b, d, &again);
	ck_assert_msg(!err, "%s: %s", c->name, cairn_errmsg());
	ck_assert(slice_eq(buf_slice(&raw), buf_slice(&again)));
	block_dict_free(d);
	buf_fini(&raw);
	buf_fini(&stored);
	buf_fini(&again);
}

START_TEST(what_was_compressed_comes_back)
{
	static const size_t lens[] = { 1, 300, 4096, 200000 };
	struct buf dict = { 0 };

	fill(&dict, 300);
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		for (uint8_t version = 0; version <= 5; version++)
			comes_back(&codecs[_i], version, lens[i],
				   slice_of(NULL, 0));
		comes_back(&codecs[_i], 5, lens[i], buf_slice(&dict));
	}
	buf_fini(&dict);
}
END_TEST

START_TEST(truncated_and_bent_blocks_do_no_harm)
{
	struct buf raw = { 0 }, stored = { 0 }, again = { 0 };
	struct stored_block b = { .codec = codecs[_i].number };

	for (uint8_t version = 1; version <= 5; version += 4) {
		b.version = version;
		fill(&raw, 1000);
		compress_as(&codecs[_i], version, buf_slice(&raw),
			    slice_of(NULL, 0), &stored);
		for (size_t n = 0; n < stored.len; n++) {
			b.bytes = slice_of(stored.data, n);
			ck_assert_int_eq(expand(&b, NULL, &again),
					 CAIRN_ECORRUPT);
		}
		b.bytes = buf_slice(&stored);
		for (size_t bit = 0; bit < stored.len * 8; bit++) {
			int err;

			stored.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			/* It is the checksum that finds these. */
			err = expand(&b, NULL, &again);
			ck_assert(err == CAIRN_OK || err == CAIRN_ECORRUPT);
			stored.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
	buf_fini(&raw);
	buf_fini(&stored);
	buf_fini(&again);
}
END_TEST

START_TEST(a_large_length_is_believed_once_it_was_tried)
{
	struct buf raw = { 0 }, stored = { 0 }, again = { 0 };
	struct stored_block b = { .codec = codecs[_i].number, .version = 5 };
	size_t len = DECOMPRESS_TRUST_MAX + 1000;
	size_t got;

	room(&raw, len);
	memset(raw.data, 'x', len);
	raw.len = len;
	compress_as(&codecs[_i], 5, buf_slice(&raw), slice_of(NULL, 0),
		    &stored);
	b.bytes = buf_slice(&stored);
	ck_assert_int_eq(decompressed_len(&b, NULL, &got), CAIRN_OK);
	ck_assert_uint_eq(got, len);
	/* The same bytes, and a claim that is wrong by one. */
	put_varint64(stored.data, len + 1);
	ck_assert_int_eq(decompressed_len(&b, NULL, &got), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(), "claim to become 67109865"), "%s",
		      cairn_errmsg());
	buf_fini(&raw);
	buf_fini(&stored);
	buf_fini(&again);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("codec_foreign");
	TCase *tc = tcase_create("codecs");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_was_compressed_comes_back, 0, N_CODECS);
	tcase_add_loop_test(tc, truncated_and_bent_blocks_do_no_harm, 0,
			    N_CODECS);
	tcase_add_loop_test(tc, a_large_length_is_believed_once_it_was_tried, 0,
			    N_CODECS);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
