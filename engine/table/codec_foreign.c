/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/codec_foreign.h"

#include <limits.h>
#ifdef HAVE_BZIP2
#include <bzlib.h>
#endif
#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#include "engine/base/error.h"
#include "engine/table/format.h"

enum {
	CODEC_ZLIB = 2,
	CODEC_BZIP2 = 3,
	CODEC_LZ4 = 4,
	CODEC_LZ4HC = 5, /* better compressed, the same to a reader */
};

/* Tables below this do not say how long a block becomes. */
#define VERSION_WITH_LEN 2

/* What a counting run writes to, over and over. */
#define COUNT_LEN 8192

static bool is_lz4(uint8_t codec)
{
	return codec == CODEC_LZ4 || codec == CODEC_LZ4HC;
}

static int not_supported(uint8_t codec)
{
	bool known =
		codec == CODEC_ZLIB || codec == CODEC_BZIP2 || is_lz4(codec);

	return error_set(
		CAIRN_ENOTSUP, "compression %s (%u) is not supported%s",
		codec_name(codec), codec, known ? " by this build" : "");
}

static int malformed(uint8_t codec)
{
	return error_set(CAIRN_ECORRUPT, "%s block is malformed",
			 codec_name(codec));
}

/*
 * Decompress in into dst, or, with dst NULL, only find how long it becomes.
 * *len is the room at dst, and then what was made.
 */
#ifdef HAVE_ZLIB
static int run_zlib(struct cairn_slice in, struct cairn_slice dict,
		    uint8_t *dst, size_t *len)
{
	uint8_t scratch[COUNT_LEN];
	z_stream z = { 0 };
	int state;

	z.next_in = (Bytef *)(uintptr_t)in.data;
	z.avail_in = (uInt)in.len;
	/* Raw deflate. RocksDB's window is 14 bits; a larger one reads both. */
	if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return error_nomem();
	if (dict.len && inflateSetDictionary(&z, dict.data, (uInt)dict.len)) {
		inflateEnd(&z);
		return error_set(CAIRN_ECORRUPT, "zlib: bad dictionary");
	}
	do {
		z.next_out = dst ? dst : scratch;
		z.avail_out = dst ? (uInt)*len : sizeof(scratch);
		state = inflate(&z, dst ? Z_FINISH : Z_NO_FLUSH);
	} while (!dst && state == Z_OK && z.total_out <= BLOCK_LEN_MAX);
	*len = z.total_out;
	inflateEnd(&z);
	if (state == Z_MEM_ERROR)
		return error_nomem();
	return state == Z_STREAM_END && !z.avail_in ? CAIRN_OK
						    : malformed(CODEC_ZLIB);
}
#else
static int run_zlib(struct cairn_slice in, struct cairn_slice dict,
		    uint8_t *dst, size_t *len)
{
	(void)in, (void)dict, (void)dst, (void)len;
	return not_supported(CODEC_ZLIB);
}
#endif

#ifdef HAVE_BZIP2
static int run_bzip2(struct cairn_slice in, uint8_t *dst, size_t *len)
{
	char scratch[COUNT_LEN];
	bz_stream z = { 0 };
	uint64_t total = 0;
	int state;

	z.next_in = (char *)(uintptr_t)in.data;
	z.avail_in = (unsigned)in.len;
	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return error_nomem();
	z.next_out = (char *)dst;
	z.avail_out = dst ? (unsigned)*len : 0;
	do {
		unsigned in_was = z.avail_in;
		unsigned out_was;

		if (!dst) {
			z.next_out = scratch;
			z.avail_out = sizeof(scratch);
		}
		out_was = z.avail_out;
		state = BZ2_bzDecompress(&z);
		total += out_was - z.avail_out;
		/* At the end of either side it says OK and stands still. */
		if (in_was == z.avail_in && out_was == z.avail_out)
			break;
	} while (state == BZ_OK && total <= BLOCK_LEN_MAX);
	BZ2_bzDecompressEnd(&z);
	*len = (size_t)total;
	if (state == BZ_MEM_ERROR)
		return error_nomem();
	return state == BZ_STREAM_END && !z.avail_in ? CAIRN_OK
						     : malformed(CODEC_BZIP2);
}
#else
static int run_bzip2(struct cairn_slice in, uint8_t *dst, size_t *len)
{
	(void)in, (void)dst, (void)len;
	return not_supported(CODEC_BZIP2);
}
#endif

#ifdef HAVE_LZ4
static int run_lz4(struct cairn_slice in, struct cairn_slice dict, uint8_t *dst,
		   size_t *len)
{
	int n;

	if (in.len > INT_MAX || *len > INT_MAX || dict.len > INT_MAX)
		return malformed(CODEC_LZ4);
	n = LZ4_decompress_safe_usingDict(
		(const char *)in.data, (char *)dst, (int)in.len, (int)*len,
		(const char *)dict.data, (int)dict.len);
	if (n < 0)
		return malformed(CODEC_LZ4);
	*len = (size_t)n;
	return CAIRN_OK;
}
#else
static int run_lz4(struct cairn_slice in, struct cairn_slice dict, uint8_t *dst,
		   size_t *len)
{
	(void)in, (void)dict, (void)dst, (void)len;
	return not_supported(CODEC_LZ4);
}
#endif

/* Bytes of 255 and one below it, added to *n. false: the block ends early. */
static bool add_lz4_len(struct cairn_slice *in, uint64_t *n)
{
	uint8_t more;

	do {
		if (!in->len)
			return false;
		more = in->data[0];
		*n += more;
		slice_advance(in, 1);
	} while (more == 255);
	return true;
}

/*
 * Go over a block of lz4 without writing it: sequences of a token, literals,
 * and the offset and length of a match, which the last one lacks.
 */
static bool count_lz4(struct cairn_slice in, size_t *len)
{
	uint64_t total = 0;

	while (in.len) {
		uint64_t literals = in.data[0] >> 4;
		uint64_t match = in.data[0] & 15u;

		slice_advance(&in, 1);
		if (literals == 15 && !add_lz4_len(&in, &literals))
			return false;
		if (literals > in.len)
			return false;
		slice_advance(&in, (size_t)literals);
		total += literals;
		if (!in.len)
			break;
		if (in.len < 2)
			return false;
		slice_advance(&in, 2);
		if (match == 15 && !add_lz4_len(&in, &match))
			return false;
		total += match + 4;
	}
	*len = (size_t)total;
	return total <= BLOCK_LEN_MAX;
}

static int count(const struct stored_block *b, struct cairn_slice in,
		 struct cairn_slice dict, size_t *len)
{
	switch (b->codec) {
	case CODEC_ZLIB:
		return run_zlib(in, dict, NULL, len);
	case CODEC_BZIP2:
		return run_bzip2(in, NULL, len);
	case CODEC_LZ4:
	case CODEC_LZ4HC:
		return count_lz4(in, len) ? CAIRN_OK : malformed(b->codec);
	default:
		return not_supported(b->codec);
	}
}

/* Take the length from the front of in. false: it ends early. */
static bool take_len(const struct stored_block *b, struct cairn_slice *in,
		     uint64_t *len)
{
	uint32_t n;

	if (b->version < VERSION_WITH_LEN)
		return get_le64(in, len);
	if (!get_varint32(in, &n))
		return false;
	*len = n;
	return true;
}

static bool has_len(const struct stored_block *b)
{
	return b->version >= VERSION_WITH_LEN || is_lz4(b->codec);
}

static bool is_built(uint8_t codec)
{
	switch (codec) {
#ifdef HAVE_ZLIB
	case CODEC_ZLIB:
		return true;
#endif
#ifdef HAVE_BZIP2
	case CODEC_BZIP2:
		return true;
#endif
#ifdef HAVE_LZ4
	case CODEC_LZ4:
	case CODEC_LZ4HC:
		return true;
#endif
	default:
		return false;
	}
}

int foreign_len(const struct stored_block *b, struct cairn_slice dict,
		size_t *len)
{
	struct cairn_slice in = b->bytes;
	uint64_t claimed;
	size_t real;
	int err;

	if (!is_built(b->codec))
		return not_supported(b->codec);
	if (!has_len(b))
		return count(b, in, dict, len);
	if (!take_len(b, &in, &claimed))
		return error_set(CAIRN_ECORRUPT, "%s block has no length",
				 codec_name(b->codec));
	if (claimed > DECOMPRESS_TRUST_MAX && claimed <= BLOCK_LEN_MAX) {
		err = count(b, in, dict, &real);
		if (err)
			return err;
		if (claimed == real) {
			*len = real;
			return CAIRN_OK;
		}
	} else if (claimed <= BLOCK_LEN_MAX) {
		*len = (size_t)claimed;
		return CAIRN_OK;
	}
	return error_set(CAIRN_ECORRUPT, "%zu bytes of %s claim to become %llu",
			 b->bytes.len, codec_name(b->codec),
			 (unsigned long long)claimed);
}

int foreign_decompress(const struct stored_block *b, struct cairn_slice dict,
		       uint8_t *dst, size_t len)
{
	struct cairn_slice in = b->bytes;
	uint8_t nothing = 0;
	uint64_t claimed;
	size_t made = len;
	int err;

	if (has_len(b) && !take_len(b, &in, &claimed))
		return malformed(b->codec);
	/* Nowhere means to count: an empty block has a place, too. */
	if (!dst)
		dst = &nothing;
	switch (b->codec) {
	case CODEC_ZLIB:
		err = run_zlib(in, dict, dst, &made);
		break;
	case CODEC_BZIP2:
		err = run_bzip2(in, dst, &made);
		break;
	default:
		err = run_lz4(in, dict, dst, &made);
		break;
	}
	if (!err && made != len)
		err = error_set(CAIRN_ECORRUPT,
				"%s block has %zu bytes, should have %zu",
				codec_name(b->codec), made, len);
	return err;
}
