/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Integers as bytes. On disk RocksDB uses little-endian fixed widths and
 * LEB128 varints (7 bits a byte, low group first, bit 7 set means more).
 * Writers return the byte after what they wrote; readers move the slice past
 * what they read and return false, slice unchanged, when it is malformed.
 */
#ifndef CAIRN_BASE_CODING_H
#define CAIRN_BASE_CODING_H

#include "engine/base/slice.h"

#define VARINT32_MAX_LEN 5
#define VARINT64_MAX_LEN 10

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define CODING_LE16(v) __builtin_bswap16(v)
#define CODING_LE32(v) __builtin_bswap32(v)
#define CODING_LE64(v) __builtin_bswap64(v)
#define CODING_BE32(v) (v)
#define CODING_BE64(v) (v)
#else
#define CODING_LE16(v) (v)
#define CODING_LE32(v) (v)
#define CODING_LE64(v) (v)
#define CODING_BE32(v) __builtin_bswap32(v)
#define CODING_BE64(v) __builtin_bswap64(v)
#endif

static inline uint16_t load_le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return CODING_LE16(v);
}

static inline uint32_t load_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return CODING_LE32(v);
}

static inline uint64_t load_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return CODING_LE64(v);
}

static inline uint8_t *put_le16(uint8_t *p, uint16_t v)
{
	v = CODING_LE16(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *put_le32(uint8_t *p, uint32_t v)
{
	v = CODING_LE32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *put_le64(uint8_t *p, uint64_t v)
{
	v = CODING_LE64(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* Big-endian, so that memcmp orders the bytes as numbers: for keys. */
static inline uint32_t load_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return CODING_BE32(v);
}

static inline uint64_t load_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return CODING_BE64(v);
}

static inline uint8_t *put_be32(uint8_t *p, uint32_t v)
{
	v = CODING_BE32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *put_be64(uint8_t *p, uint64_t v)
{
	v = CODING_BE64(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline size_t varint_len(uint64_t v)
{
	size_t n = 1;

	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

/* p must have room for VARINT64_MAX_LEN bytes, or varint_len(v). */
static inline uint8_t *put_varint64(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static inline uint8_t *put_varint32(uint8_t *p, uint32_t v)
{
	return put_varint64(p, v);
}

/*
 * Decode between p and end. NULL when the bytes end early or the value does
 * not fit; else the byte after. The one-byte case is the hot one.
 */
static inline const uint8_t *read_varint64(const uint8_t *p, const uint8_t *end,
					   uint64_t *v)
{
	uint64_t r = 0;

	for (unsigned shift = 0; shift <= 63 && p < end; shift += 7) {
		uint8_t b = *p++;

		if (shift == 63 && b > 1)
			return NULL;
		r |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*v = r;
			return p;
		}
	}
	return NULL;
}

static inline const uint8_t *read_varint32(const uint8_t *p, const uint8_t *end,
					   uint32_t *v)
{
	uint64_t w;

	if (p < end && !(*p & 0x80)) {
		*v = *p;
		return p + 1;
	}
	p = read_varint64(p, end, &w);
	if (!p || w > UINT32_MAX)
		return NULL;
	*v = (uint32_t)w;
	return p;
}

static inline MUST_CHECK bool get_varint64(struct cairn_slice *s, uint64_t *v)
{
	const uint8_t *p = read_varint64(s->data, s->data + s->len, v);

	if (!p)
		return false;
	slice_advance(s, (size_t)(p - s->data));
	return true;
}

static inline MUST_CHECK bool get_varint32(struct cairn_slice *s, uint32_t *v)
{
	const uint8_t *p = read_varint32(s->data, s->data + s->len, v);

	if (!p)
		return false;
	slice_advance(s, (size_t)(p - s->data));
	return true;
}

static inline MUST_CHECK bool get_le32(struct cairn_slice *s, uint32_t *v)
{
	if (s->len < 4)
		return false;
	*v = load_le32(s->data);
	slice_advance(s, 4);
	return true;
}

static inline MUST_CHECK bool get_le64(struct cairn_slice *s, uint64_t *v)
{
	if (s->len < 8)
		return false;
	*v = load_le64(s->data);
	slice_advance(s, 8);
	return true;
}

/* varint32 length, then that many bytes; out borrows from s. */
static inline MUST_CHECK bool get_lp_slice(struct cairn_slice *s,
					   struct cairn_slice *out)
{
	struct cairn_slice rest = *s;
	uint32_t len;

	if (!get_varint32(&rest, &len) || len > rest.len)
		return false;
	*out = slice_of(rest.data, len);
	slice_advance(&rest, len);
	*s = rest;
	return true;
}

#endif
