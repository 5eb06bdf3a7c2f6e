/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/format.h"

#include <assert.h>
#include <inttypes.h>

/* Inlined, XXH3 is several times as fast as through the shared library. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"

#define MAGIC_BLOCK_BASED  UINT64_C(0x88e241b785f4cff7)
#define MAGIC_LEGACY       UINT64_C(0xdb4775248b80fb57)
#define MAGIC_PLAIN        UINT64_C(0x8242229663bf9564)
#define MAGIC_LEGACY_PLAIN UINT64_C(0x4f3418eb7a8f13b8)
#define MAGIC_CUCKOO       UINT64_C(0x926789d0c5f17873)
#define MAGIC_PEBBLE       UINT64_C(0xf09faab3f09faab3)
#define FOOTER_HANDLES_LEN 40
#define XXH3_CODEC_FACTOR  0x6b9083d9u

_Static_assert(FOOTER_LEGACY_LEN == FOOTER_HANDLES_LEN + 8, "footer layout");
_Static_assert(FOOTER_LEN == 1 + FOOTER_HANDLES_LEN + 4 + 8, "footer layout");

bool block_handle_fits(struct block_handle h, uint64_t file_len)
{
	/* Subtract from what we know; adding what we read could wrap. */
	return file_len >= BLOCK_TRAILER_LEN &&
	       h.size <= file_len - BLOCK_TRAILER_LEN &&
	       h.offset <= file_len - BLOCK_TRAILER_LEN - h.size &&
	       h.size <= BLOCK_LEN_MAX;
}

int block_handle_decode(struct cairn_slice *in, uint64_t file_len,
			struct block_handle *h)
{
	struct cairn_slice rest = *in;
	struct block_handle got;

	if (!get_varint64(&rest, &got.offset) ||
	    !get_varint64(&rest, &got.size))
		return error_set(CAIRN_ECORRUPT, "block handle is malformed");
	if (!block_handle_fits(got, file_len))
		return error_set(CAIRN_ECORRUPT,
				 "handle names a block at %" PRIu64 ", %" PRIu64
				 " bytes, outside the file",
				 got.offset, got.size);
	*in = rest;
	*h = got;
	return CAIRN_OK;
}

uint8_t *block_handle_encode(uint8_t *p, struct block_handle h)
{
	return put_varint64(put_varint64(p, h.offset), h.size);
}

const char *checksum_name(enum table_checksum type)
{
	static const char *const names[] = { "none", "crc32c", "xxh32", "xxh64",
					     "xxh3" };

	return names[type];
}

/* Unlike the others this one leaves the codec byte out of the hash. */
static uint32_t checksum_xxh3(const uint8_t *stored, size_t len, uint8_t codec)
{
	return (uint32_t)XXH3_64bits(stored, len) ^ codec * XXH3_CODEC_FACTOR;
}

uint32_t block_checksum(enum table_checksum type, const uint8_t *stored,
			size_t len)
{
	switch (type) {
	case TABLE_CHECKSUM_NONE:
		break;
	case TABLE_CHECKSUM_CRC32C:
		return crc32c_mask(crc32c(stored, len + 1));
	case TABLE_CHECKSUM_XXH32:
		return XXH32(stored, len + 1, 0);
	case TABLE_CHECKSUM_XXH64:
		return (uint32_t)XXH64(stored, len + 1, 0);
	case TABLE_CHECKSUM_XXH3:
		return checksum_xxh3(stored, len, stored[len]);
	}
	return 0;
}

void block_trailer_encode(uint8_t codec, const uint8_t *stored, size_t len,
			  uint8_t *trailer)
{
	trailer[0] = codec;
	put_le32(trailer + 1, checksum_xxh3(stored, len, codec));
}

int block_check(enum table_checksum type, const uint8_t *stored, size_t len)
{
	uint32_t is, should;

	if (type == TABLE_CHECKSUM_NONE)
		return CAIRN_OK;
	is = block_checksum(type, stored, len);
	should = load_le32(stored + len + 1);
	if (is == should)
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "checksum is %08" PRIx32 ", should be %08" PRIx32
			 " (%s)",
			 is, should, checksum_name(type));
}

static int refuse_magic(uint64_t magic)
{
	switch (magic) {
	case MAGIC_PLAIN:
	case MAGIC_LEGACY_PLAIN:
		return error_set(CAIRN_ENOTSUP,
				 "a plain table, not a block-based one");
	case MAGIC_CUCKOO:
		return error_set(CAIRN_ENOTSUP,
				 "a cuckoo table, not a block-based one");
	case MAGIC_PEBBLE:
		return error_set(CAIRN_ENOTSUP, "a table of Pebble's own "
						"format");
	default:
		return error_set(
			CAIRN_ECORRUPT,
			"not a table file: magic number is %016" PRIx64, magic);
	}
}

/* The fields around the handles of versions 1 to 5. */
static int decode_versioned(const uint8_t *p, struct footer *f)
{
	uint8_t checksum = p[0];

	f->version = load_le32(p + 1 + FOOTER_HANDLES_LEN);
	f->len = FOOTER_LEN;
	if (f->version == 0)
		return error_set(CAIRN_ECORRUPT,
				 "footer with format_version 0");
	if (f->version > FOOTER_VERSION)
		return error_set(CAIRN_ENOTSUP,
				 "newer format_version %" PRIu32
				 " (up to %d is known)",
				 f->version, FOOTER_VERSION);
	if (checksum > TABLE_CHECKSUM_XXH3)
		return error_set(CAIRN_ENOTSUP, "checksum type %u is not known",
				 checksum);
	f->checksum = (enum table_checksum)checksum;
	return CAIRN_OK;
}

int footer_decode(struct cairn_slice tail, uint64_t file_len,
		  struct footer *out)
{
	struct footer f = { .checksum = TABLE_CHECKSUM_CRC32C,
			    .len = FOOTER_LEGACY_LEN };
	struct cairn_slice handles;
	const uint8_t *end;
	uint64_t magic;
	int err;

	if (tail.len < FOOTER_LEGACY_LEN)
		return error_set(CAIRN_ECORRUPT,
				 "%" PRIu64 " bytes are too few for a table",
				 file_len);
	end = tail.data + tail.len;
	magic = load_le64(end - 8);
	if (magic == MAGIC_LEGACY) {
		handles = slice_of(end - FOOTER_LEGACY_LEN, FOOTER_HANDLES_LEN);
	} else if (magic == MAGIC_BLOCK_BASED) {
		if (tail.len < FOOTER_LEN)
			return error_set(CAIRN_ECORRUPT,
					 "%" PRIu64
					 " bytes are too few for a table",
					 file_len);
		err = decode_versioned(end - FOOTER_LEN, &f);
		if (err)
			return err;
		handles = slice_of(end - FOOTER_LEN + 1, FOOTER_HANDLES_LEN);
	} else {
		return refuse_magic(magic);
	}
	err = block_handle_decode(&handles, file_len - f.len, &f.metaindex);
	if (!err)
		err = block_handle_decode(&handles, file_len - f.len, &f.index);
	if (!err)
		*out = f;
	return err;
}

void footer_encode(const struct footer *f, uint8_t *dst)
{
	uint8_t handles[2 * BLOCK_HANDLE_MAX_LEN] = { 0 };

	assert(f->version >= 1 && f->version <= FOOTER_VERSION);
	_Static_assert(sizeof(handles) == FOOTER_HANDLES_LEN, "footer layout");
	block_handle_encode(block_handle_encode(handles, f->metaindex),
			    f->index);
	*dst++ = (uint8_t)f->checksum;
	memcpy(dst, handles, sizeof(handles));
	dst = put_le32(dst + sizeof(handles), f->version);
	put_le64(dst, MAGIC_BLOCK_BASED);
}
