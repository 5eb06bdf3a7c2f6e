/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal keys: a user key with the sequence number and kind of the change.
 *
 * Inside the engine they travel parsed (struct ikey); tables, file bounds and
 * separators hold them encoded: user key, then fixed64 (seqno << 8 | kind).
 * Order: user key ascending, then trailer descending, so that the newest
 * version of a key comes first.
 */
#ifndef CAIRN_KV_IKEY_H
#define CAIRN_KV_IKEY_H

#include "engine/base/coding.h"

/* Numbers are RocksDB's (db/dbformat.h, enum ValueType). */
enum ikey_kind {
	KIND_DELETE = 0x00,
	KIND_PUT = 0x01,
	KIND_MERGE = 0x02,
	KIND_LOG_DATA = 0x03, /* in batches only */
	KIND_SINGLE_DELETE = 0x07,
	KIND_RANGE_DELETE = 0x0f,       /* range-del blocks and file bounds */
	KIND_BLOB_INDEX = 0x11,         /* refused */
	KIND_TIMESTAMPED_DELETE = 0x14, /* refused */
	KIND_ENTITY = 0x16,             /* refused */
	/* What RocksDB 7.8.3 puts into seek keys and separators. */
	KIND_SEEK = 0x16,
};

#define SEQNO_MAX        ((UINT64_C(1) << 56) - 1)
#define IKEY_TRAILER_LEN 8

struct ikey {
	struct cairn_slice user_key;
	uint64_t trailer;
};

static inline uint64_t ikey_pack(uint64_t seqno, uint8_t kind)
{
	return seqno << 8 | kind;
}

static inline uint64_t ikey_seqno(const struct ikey *k)
{
	return k->trailer >> 8;
}

static inline uint8_t ikey_kind(const struct ikey *k)
{
	return (uint8_t)k->trailer;
}

static inline struct ikey ikey_make(struct cairn_slice user_key, uint64_t seqno,
				    uint8_t kind)
{
	return (struct ikey){ user_key, ikey_pack(seqno, kind) };
}

/* Sorts before every version of user_key that a reader at seqno sees. */
static inline struct ikey ikey_seek(struct cairn_slice user_key, uint64_t seqno)
{
	return (struct ikey){ user_key, seqno << 8 | 0xff };
}

static inline int ikey_cmp(const struct ikey *a, const struct ikey *b)
{
	int c = slice_cmp(a->user_key, b->user_key);

	if (c)
		return c;
	return (a->trailer < b->trailer) - (a->trailer > b->trailer);
}

/* Borrow from encoded bytes; false when they are shorter than a trailer. */
static inline MUST_CHECK bool ikey_decode(struct cairn_slice s,
					  struct ikey *out)
{
	if (s.len < IKEY_TRAILER_LEN)
		return false;
	out->user_key = slice_of(s.data, s.len - IKEY_TRAILER_LEN);
	out->trailer = load_le64(s.data + s.len - IKEY_TRAILER_LEN);
	return true;
}

/*
 * The first eight bytes of a user key as a big-endian number, zeros behind a
 * shorter one: where two differ, so do the keys, and in the same sense.
 */
static inline uint64_t key_prefix(struct cairn_slice key)
{
	uint8_t bytes[8] = { 0 };

	if (key.len >= sizeof(bytes))
		return load_be64(key.data);
	if (key.len)
		memcpy(bytes, key.data, key.len);
	return load_be64(bytes);
}

/* p has room for user key and trailer; returns the byte after. */
static inline uint8_t *ikey_encode(uint8_t *p, const struct ikey *k)
{
	if (k->user_key.len)
		memcpy(p, k->user_key.data, k->user_key.len);
	return put_le64(p + k->user_key.len, k->trailer);
}

#endif
