/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every key and value of a revision store as bytes, and back. README.md draws
 * them. Keys are built into a struct buf, whose contents they replace; values
 * are decoded in place, the results borrowing from the bytes given.
 *
 * What is read comes from disk and is not trusted: decoders return
 * CAIRN_ECORRUPT, with a message that names the key, and leave out untouched.
 */
#ifndef CAIRN_MVCC_ENCODE_H
#define CAIRN_MVCC_ENCODE_H

#include "engine/base/buf.h"
#include "mvcc/mvcc.h"

/* First byte of a key: the table it is in. */
enum enc_table {
	ENC_ATTACHED = 'a',
	ENC_CHUNK = 'c',
	ENC_ENDED = 'e',
	ENC_ROW = 'k',
	ENC_LEASES = 'l',
	ENC_MARK = 'm',
	ENC_STAGED = 'o',
	ENC_LOG = 'r',
};

#define ENC_PREFIX_NAME "cairn.mvcc.v1"

/* ~main and ~sub behind the prefix of a row key. */
#define ENC_ROW_TAIL 12u
/* 'c' object index, and then ~version. */
#define ENC_CHUNK_PREFIX 17u
#define ENC_CHUNK_KEY    25u

/* Row flags. */
enum {
	ENC_TOMBSTONE = 1 << 0,
	ENC_LEASE = 1 << 1,
	ENC_FRESH = 1 << 2, /* create = main, version = 1, neither stored */
	ENC_ATTRS = 1 << 3,
	ENC_CHUNKS = 1 << 4,
	ENC_FLAGS = (1 << 5) - 1,
};

/* What chunk_size of a row may be. */
#define ENC_CHUNK_SIZE_MIN 16u
#define ENC_CHUNK_SIZE_MAX (16u << 20)

/* ------------------------------------------------------------------ keys */

/* 'k' esc(key): what the rows of all keys that start with key begin with. */
MUST_CHECK int enc_start(struct buf *out, struct cairn_slice key);
/* 'k' esc(key) 00 01: what the rows of key begin with. */
MUST_CHECK int enc_prefix(struct buf *out, struct cairn_slice key);
/* The first byte string behind all rows of the key with this prefix. */
MUST_CHECK int enc_prefix_next(struct buf *out, struct cairn_slice prefix);
/* The row (main, sub) of key. */
MUST_CHECK int enc_row_key(struct buf *out, struct cairn_slice key,
			   int64_t main, int32_t sub);
/* Where the rows with main <= rev begin, given a prefix. */
MUST_CHECK int enc_seek(struct buf *out, struct cairn_slice prefix,
			int64_t rev);

struct enc_row {
	struct cairn_slice prefix; /* borrowed: 'k' esc(key) 00 01 */
	int64_t main;
	int32_t sub;
};
MUST_CHECK int enc_row_parse(struct cairn_slice k, struct enc_row *out);
/* The plain key of a prefix, into out. */
MUST_CHECK int enc_plain(struct cairn_slice prefix, struct buf *out);

/* prefix_len of struct cairn_prefix_extractor; ctx is not used. */
size_t enc_prefix_len(void *ctx, struct cairn_slice key);

MUST_CHECK int enc_mark(struct buf *out, const char *name);

MUST_CHECK int enc_log_key(struct buf *out, int64_t main, int32_t sub);
MUST_CHECK int enc_log_key_parse(struct cairn_slice k, int64_t *main,
				 int32_t *sub);
MUST_CHECK int enc_log_value(struct buf *out, bool deleted,
			     struct cairn_slice key);
MUST_CHECK int enc_log_parse(struct cairn_slice k, struct cairn_slice v,
			     struct mvcc_change *out);

struct enc_chunk {
	uint64_t object;
	uint64_t index;
	int64_t version;
};
/* Fixed length, so there is nothing to fail. */
void enc_chunk_key(uint8_t out[ENC_CHUNK_KEY], const struct enc_chunk *c);
MUST_CHECK int enc_chunk_parse(struct cairn_slice k, struct enc_chunk *out);

/* Chunks written before the first commit that shows them: object -> index. */
MUST_CHECK int enc_staged_key(struct buf *out, uint64_t object);
MUST_CHECK int enc_staged_parse(struct cairn_slice k, struct cairn_slice v,
				uint64_t *object, uint64_t *from);

/*
 * Chunks [from, to) of object, of versions before main, that no reader at main
 * or later sees.
 */
struct enc_ended {
	int64_t main;
	int32_t sub;
	uint64_t object;
	uint64_t from;
	uint64_t to; /* UINT64_MAX: the whole object has ended */
};
MUST_CHECK int enc_ended(struct buf *key, struct buf *value,
			 const struct enc_ended *e);
MUST_CHECK int enc_ended_parse(struct cairn_slice k, struct cairn_slice v,
			       struct enc_ended *out);

/* A lease as it is kept; times in seconds. */
struct enc_lease {
	int64_t id; /* above 0 */
	int64_t ttl;
	int64_t left; /* of ttl, when it was last written down; 0: all of it */
	bool ending;  /* some of its keys are deleted, the others are due */
};
MUST_CHECK int enc_lease(struct buf *key, struct buf *value,
			 const struct enc_lease *l);
MUST_CHECK int enc_lease_parse(struct cairn_slice k, struct cairn_slice v,
			       struct enc_lease *out);

/* What the entries of the keys attached to a lease begin with; the entry of one
 * key. They sort as the keys do, and have no value. */
MUST_CHECK int enc_attached_start(struct buf *out, uint64_t lease);
MUST_CHECK int enc_attached_key(struct buf *out, int64_t lease,
				struct cairn_slice key);
/* The lease and, into key, the plain key. */
MUST_CHECK int enc_attached_parse(struct cairn_slice k, int64_t *lease,
				  struct buf *key);

/* The 8 bytes of marks and staged entries. */
MUST_CHECK int enc_number(struct buf *out, uint64_t v);
MUST_CHECK int enc_number_parse(struct cairn_slice v, uint64_t *out);

/* ------------------------------------------------------------------ rows */

/*
 * The value of a row. Of row, everything counts but key, sub and attrs, which
 * are given as bytes (attr.h), empty for none.
 */
MUST_CHECK int enc_row_value(struct buf *out, const struct mvcc_row *row,
			     struct cairn_slice attrs);

/*
 * Decode v, of which only the first bytes may be given: full_len is the length
 * it has. row->key, main and sub must be set; all else is filled in, value only
 * when v is complete (else its data is NULL). head_len is what comes before the
 * value, attrs the undecoded attributes; both may be NULL.
 */
MUST_CHECK int enc_row_value_parse(struct cairn_slice v, size_t full_len,
				   struct mvcc_row *row,
				   struct cairn_slice *attrs, size_t *head_len);

/* Whether a row value is a tombstone, without decoding it. */
static inline bool enc_is_tombstone(struct cairn_slice v)
{
	return v.len && (v.data[0] & ENC_TOMBSTONE);
}

/* Chunks that a value of size bytes has. */
static inline uint64_t enc_chunk_count(uint64_t size, uint32_t chunk_size)
{
	return size / chunk_size + (size % chunk_size != 0);
}

#endif
