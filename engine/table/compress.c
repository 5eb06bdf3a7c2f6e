/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/compress.h"

#include <assert.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zstd.h>

#include "engine/base/error.h"
#include "engine/table/codec_foreign.h"
#include "engine/table/format.h"

/* Before zstd's frame format was final; its frames are the same. */
#define CODEC_ZSTD_OLD 0x40

/*
 * More than one stored byte can stand for: snappy's longest copy makes 64
 * bytes out of 3, a block of zstd that repeats a byte 128 KiB out of 4.
 */
#define SNAPPY_RATIO_MAX 64u
#define ZSTD_RATIO_MAX   (1u << 15)

/*
 * Trying a frame takes its window in memory: 64 MiB at most for what is short,
 * zstd's own limit for what is as long as such a frame would be.
 */
#define ZSTD_TRY_WINDOW_LOG 26
#define ZSTD_TRY_LONG       ((size_t)1 << 20)

struct block_dict {
	ZSTD_DDict *ddict;
	struct buf bytes; /* for the others */
};

const char *codec_name(uint8_t codec)
{
	static const char *const names[] = { "none",   "snappy", "zlib",
					     "bzip2",  "lz4",    "lz4hc",
					     "xpress", "zstd" };

	if (codec == CODEC_ZSTD_OLD)
		return "zstd";
	if (codec >= sizeof(names) / sizeof(names[0]))
		return "unknown";
	return names[codec];
}

const char *codec_property(enum table_codec codec)
{
	switch (codec) {
	case TABLE_CODEC_SNAPPY:
		return "Snappy";
	case TABLE_CODEC_ZSTD:
		return "ZSTD";
	case TABLE_CODEC_NONE:
		break;
	}
	return "NoCompression";
}

int compressor_init(struct compressor *c, enum table_codec codec,
		    int zstd_level)
{
	*c = (struct compressor){ .codec = codec, .zstd_level = zstd_level };
	if (codec != TABLE_CODEC_ZSTD)
		return CAIRN_OK;
	c->zstd = ZSTD_createCCtx();
	return c->zstd ? CAIRN_OK : error_nomem();
}

void compressor_fini(struct compressor *c)
{
	ZSTD_freeCCtx(c->zstd);
	buf_fini(&c->out);
	*c = (struct compressor){ 0 };
}

static int run_snappy(struct compressor *c, struct cairn_slice raw)
{
	size_t len = snappy_max_compressed_length(raw.len);
	int err = buf_reserve(&c->out, len);

	if (err)
		return err;
	if (snappy_compress((const char *)raw.data, raw.len,
			    (char *)c->out.data, &len) != SNAPPY_OK)
		return error_set(CAIRN_EINVAL,
				 "snappy cannot compress %zu "
				 "bytes",
				 raw.len);
	c->out.len = len;
	return CAIRN_OK;
}

static int run_zstd(struct compressor *c, struct cairn_slice raw)
{
	size_t bound = ZSTD_compressBound(raw.len);
	size_t n;
	int err = buf_append_varint(&c->out, raw.len);

	if (!err)
		err = buf_reserve(&c->out, bound);
	if (err)
		return err;
	n = ZSTD_compressCCtx(c->zstd, c->out.data + c->out.len, bound,
			      raw.data, raw.len, c->zstd_level);
	if (ZSTD_isError(n))
		return error_set(CAIRN_ENOMEM, "zstd: %s",
				 ZSTD_getErrorName(n));
	c->out.len += n;
	return CAIRN_OK;
}

int compressor_run(struct compressor *c, struct cairn_slice raw, uint8_t *codec,
		   struct cairn_slice *stored)
{
	int err = CAIRN_OK;

	assert(raw.len <= UINT32_MAX);
	buf_clear(&c->out);
	if (c->codec == TABLE_CODEC_SNAPPY)
		err = run_snappy(c, raw);
	else if (c->codec == TABLE_CODEC_ZSTD)
		err = run_zstd(c, raw);
	if (err)
		return err;
	if (c->codec != TABLE_CODEC_NONE &&
	    c->out.len < raw.len - raw.len / 8) {
		*codec = (uint8_t)c->codec;
		*stored = buf_slice(&c->out);
	} else {
		*codec = TABLE_CODEC_NONE;
		*stored = raw;
	}
	return CAIRN_OK;
}

void decompress_pool_fini(struct decompress_pool *p)
{
	for (size_t i = 0; i < DECOMPRESS_POOL_SLOTS; i++)
		ZSTD_freeDCtx(atomic_exchange(&p->slot[i], NULL));
}

static ZSTD_DCtx *pool_take(struct decompress_pool *p)
{
	for (size_t i = 0; p && i < DECOMPRESS_POOL_SLOTS; i++) {
		ZSTD_DCtx *d;

		/* Look before taking: the exchange costs a cache line. */
		if (!atomic_load_explicit(&p->slot[i], memory_order_relaxed))
			continue;
		/* Acquire pairs with the release of pool_give(). */
		d = atomic_exchange_explicit(&p->slot[i], NULL,
					     memory_order_acquire);
		if (d)
			return d;
	}
	return ZSTD_createDCtx();
}

static void pool_give(struct decompress_pool *p, ZSTD_DCtx *d)
{
	for (size_t i = 0; p && i < DECOMPRESS_POOL_SLOTS; i++) {
		ZSTD_DCtx *none = NULL;

		if (atomic_compare_exchange_strong_explicit(
			    &p->slot[i], &none, d, memory_order_release,
			    memory_order_relaxed))
			return;
	}
	ZSTD_freeDCtx(d);
}

int block_dict_new(struct cairn_slice bytes, struct block_dict **out)
{
	struct block_dict *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return error_nomem();
	err = buf_set(&d->bytes, bytes);
	if (err)
		goto fail;
	d->ddict = ZSTD_createDDict(bytes.data, bytes.len);
	if (!d->ddict) {
		err = error_set(CAIRN_ECORRUPT,
				"dictionary of %zu bytes is not one of zstd's",
				bytes.len);
		goto fail;
	}
	*out = d;
	return CAIRN_OK;
fail:
	block_dict_free(d);
	return err;
}

void block_dict_free(struct block_dict *d)
{
	if (!d)
		return;
	ZSTD_freeDDict(d->ddict);
	buf_fini(&d->bytes);
	free(d);
}

size_t block_dict_memory(const struct block_dict *d)
{
	return d ? sizeof(*d) + d->bytes.cap + ZSTD_sizeof_DDict(d->ddict) : 0;
}

static struct cairn_slice dict_bytes(const struct block_dict *d)
{
	return d ? buf_slice(&d->bytes) : slice_of(NULL, 0);
}

static bool is_zstd(uint8_t codec)
{
	return codec == TABLE_CODEC_ZSTD || codec == CODEC_ZSTD_OLD;
}

static int too_long(const struct stored_block *b, size_t n)
{
	return error_set(CAIRN_ECORRUPT, "%zu bytes of %s claim to become %zu",
			 b->bytes.len, codec_name(b->codec), n);
}

/* Whether the block is in truth as long as it claims. */
static int try_snappy(const struct stored_block *b, size_t n)
{
	if (snappy_validate_compressed_buffer((const char *)b->bytes.data,
					      b->bytes.len) != SNAPPY_OK)
		return too_long(b, n);
	return CAIRN_OK;
}

/* The same for the frame of a zstd block. */
static int try_zstd(const struct stored_block *b, struct cairn_slice frame,
		    const struct block_dict *dict, size_t n)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer in = { frame.data, frame.len, 0 };
	size_t room = ZSTD_DStreamOutSize();
	uint8_t *nowhere = malloc(room);
	size_t total = 0;
	size_t state = 1;
	int err = d && nowhere ? CAIRN_OK : error_nomem();

	if (!err && dict && ZSTD_isError(ZSTD_DCtx_refDDict(d, dict->ddict)))
		err = error_nomem();
	if (!err && frame.len < ZSTD_TRY_LONG &&
	    ZSTD_isError(ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax,
						ZSTD_TRY_WINDOW_LOG)))
		err = error_nomem();
	while (!err && state && total <= n) {
		ZSTD_outBuffer out = { nowhere, room, 0 };

		state = ZSTD_decompressStream(d, &out, &in);
		total += out.pos;
		/* In the middle of the frame, but nothing more comes. */
		if (ZSTD_isError(state) || (!out.pos && in.pos == in.size))
			break;
	}
	if (!err && (state || total != n))
		err = too_long(b, n);
	free(nowhere);
	ZSTD_freeDCtx(d);
	return err;
}

int decompressed_len(const struct stored_block *b,
		     const struct block_dict *dict, size_t *len)
{
	struct cairn_slice rest = b->bytes;
	uint32_t n32;
	size_t n, ratio;
	int err = CAIRN_OK;

	if (b->codec == TABLE_CODEC_NONE) {
		*len = b->bytes.len;
		return CAIRN_OK;
	}
	if (b->codec == TABLE_CODEC_SNAPPY) {
		ratio = SNAPPY_RATIO_MAX;
		if (snappy_uncompressed_length((const char *)rest.data,
					       rest.len, &n) != SNAPPY_OK)
			return error_set(CAIRN_ECORRUPT,
					 "snappy block has no length");
	} else if (is_zstd(b->codec)) {
		ratio = ZSTD_RATIO_MAX;
		if (!get_varint32(&rest, &n32))
			return error_set(CAIRN_ECORRUPT,
					 "zstd block has no length");
		n = n32;
	} else {
		return foreign_len(b, dict_bytes(dict), len);
	}
	if (n > BLOCK_LEN_MAX || n / ratio > b->bytes.len)
		return too_long(b, n);
	if (n > DECOMPRESS_TRUST_MAX)
		err = is_zstd(b->codec) ? try_zstd(b, rest, dict, n)
					: try_snappy(b, n);
	if (!err)
		*len = n;
	return err;
}

static int decompress_zstd(struct cairn_slice frame,
			   const struct block_dict *dict,
			   struct decompress_pool *pool, uint8_t *dst,
			   size_t len)
{
	ZSTD_DCtx *d = pool_take(pool);
	size_t n;

	if (!d)
		return error_nomem();
	if (dict)
		n = ZSTD_decompress_usingDDict(d, dst, len, frame.data,
					       frame.len, dict->ddict);
	else
		n = ZSTD_decompressDCtx(d, dst, len, frame.data, frame.len);
	pool_give(pool, d);
	if (ZSTD_isError(n))
		return error_set(CAIRN_ECORRUPT, "zstd: %s",
				 ZSTD_getErrorName(n));
	if (n != len)
		return error_set(CAIRN_ECORRUPT,
				 "zstd block has %zu bytes, should have %zu", n,
				 len);
	return CAIRN_OK;
}

int decompress(const struct stored_block *b, const struct block_dict *dict,
	       struct decompress_pool *pool, uint8_t *dst, size_t len)
{
	struct cairn_slice stored = b->bytes;
	size_t got = len;
	uint32_t prefix;

	if (b->codec == TABLE_CODEC_NONE) {
		if (len)
			memcpy(dst, stored.data, len);
		return CAIRN_OK;
	}
	if (b->codec == TABLE_CODEC_SNAPPY) {
		if (snappy_uncompress((const char *)stored.data, stored.len,
				      (char *)dst, &got) != SNAPPY_OK ||
		    got != len)
			return error_set(CAIRN_ECORRUPT,
					 "snappy block is malformed");
		return CAIRN_OK;
	}
	if (!is_zstd(b->codec))
		return foreign_decompress(b, dict_bytes(dict), dst, len);
	if (!get_varint32(&stored, &prefix))
		return error_set(CAIRN_ECORRUPT, "zstd block has no length");
	return decompress_zstd(stored, dict, pool, dst, len);
}
