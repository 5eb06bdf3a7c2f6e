/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"

/*
 * Tags of operations (RocksDB's enum ValueType) besides those that are also
 * kinds of internal keys. Those "in family" carry a column family number.
 */
enum batch_tag {
	TAG_FAMILY_DELETE = 0x04,
	TAG_FAMILY_PUT = 0x05,
	TAG_FAMILY_MERGE = 0x06,
	TAG_FAMILY_SINGLE_DELETE = 0x08,
	TAG_BEGIN_PREPARE = 0x09,
	TAG_END_PREPARE = 0x0a,
	TAG_COMMIT = 0x0b,
	TAG_ROLLBACK = 0x0c,
	TAG_NOOP = 0x0d,
	TAG_FAMILY_RANGE_DELETE = 0x0e,
	TAG_FAMILY_BLOB_INDEX = 0x10,
	TAG_BEGIN_PERSISTED_PREPARE = 0x12,
	TAG_BEGIN_UNPREPARE = 0x13,
	TAG_COMMIT_TIMESTAMP = 0x15,
	TAG_FAMILY_ENTITY = 0x17,
};

struct cairn_batch *cairn_batch_new(void)
{
	struct cairn_batch *b = calloc(1, sizeof(*b));

	if (!b) {
		error_nomem();
		return NULL;
	}
	if (buf_reserve(&b->bytes, BATCH_HEADER_LEN)) {
		free(b);
		return NULL;
	}
	cairn_batch_clear(b);
	return b;
}

void cairn_batch_free(struct cairn_batch *b)
{
	if (!b)
		return;
	buf_fini(&b->bytes);
	free(b);
}

void cairn_batch_clear(struct cairn_batch *b)
{
	assert(b->bytes.cap >= BATCH_HEADER_LEN);
	memset(b->bytes.data, 0, BATCH_HEADER_LEN);
	b->bytes.len = BATCH_HEADER_LEN;
	b->count = 0;
	b->has_merge = false;
}

static uint8_t *put_lp(uint8_t *p, struct cairn_slice s)
{
	p = put_varint64(p, s.len);
	if (s.len)
		memcpy(p, s.data, s.len);
	return p + s.len;
}

/* Everything that can fail comes before the first byte is changed. */
static int batch_add(struct cairn_batch *b, uint8_t tag, struct cairn_slice key,
		     const struct cairn_slice *value)
{
	size_t value_len = value ? value->len : 0;
	uint8_t *p;
	int err;

	if (key.len > CAIRN_KEY_MAX)
		return error_set(CAIRN_EINVAL,
				 "key of %zu bytes is longer than %u", key.len,
				 CAIRN_KEY_MAX);
	if (value_len > CAIRN_VALUE_MAX)
		return error_set(CAIRN_EINVAL,
				 "value of %zu bytes is longer than %u",
				 value_len, CAIRN_VALUE_MAX);
	if (b->count == UINT32_MAX)
		return error_set(CAIRN_EINVAL,
				 "batch holds %" PRIu32 " changes already",
				 b->count);
	err = buf_reserve(&b->bytes, 1 + VARINT32_MAX_LEN + key.len +
					     VARINT32_MAX_LEN + value_len);
	if (err)
		return err;

	p = b->bytes.data + b->bytes.len;
	*p++ = tag;
	p = put_lp(p, key);
	if (value)
		p = put_lp(p, *value);
	b->bytes.len = (size_t)(p - b->bytes.data);
	b->count++;
	put_le32(b->bytes.data + 8, b->count);
	return CAIRN_OK;
}

int cairn_batch_put(struct cairn_batch *b, struct cairn_slice key,
		    struct cairn_slice value)
{
	return batch_add(b, KIND_PUT, key, &value);
}

int cairn_batch_delete(struct cairn_batch *b, struct cairn_slice key)
{
	return batch_add(b, KIND_DELETE, key, NULL);
}

int batch_check_range(struct cairn_slice start, struct cairn_slice end)
{
	const struct cairn_slice ends[2] = { start, end };

	for (int i = 0; i < 2; i++)
		if (ends[i].len > CAIRN_KEY_MAX)
			return error_set(CAIRN_EINVAL,
					 "key of %zu bytes is longer than %u",
					 ends[i].len, CAIRN_KEY_MAX);
	if (slice_cmp(start, end) > 0)
		return error_set(CAIRN_EINVAL,
				 "range to delete ends before it begins: give "
				 "the smaller key first");
	return CAIRN_OK;
}

int cairn_batch_delete_range(struct cairn_batch *b, struct cairn_slice start,
			     struct cairn_slice end)
{
	int err = batch_check_range(start, end);

	/* RocksDB counts an empty range and gives it no number on replay, so
	 * none is ever logged. */
	if (err || slice_eq(start, end))
		return err;
	return batch_add(b, KIND_RANGE_DELETE, start, &end);
}

int cairn_batch_merge(struct cairn_batch *b, struct cairn_slice key,
		      struct cairn_slice operand)
{
	int err = batch_add(b, KIND_MERGE, key, &operand);

	b->has_merge |= !err;
	return err;
}

int cairn_batch_single_delete(struct cairn_batch *b, struct cairn_slice key)
{
	return batch_add(b, KIND_SINGLE_DELETE, key, NULL);
}

uint32_t cairn_batch_count(const struct cairn_batch *b)
{
	return b->count;
}

size_t cairn_batch_bytes(const struct cairn_batch *b)
{
	return b->bytes.len;
}

void batch_set_seqno(struct cairn_batch *b, uint64_t seqno)
{
	put_le64(b->bytes.data, seqno);
}

int batch_reader_init(struct batch_reader *r, struct cairn_slice bytes)
{
	if (bytes.len < BATCH_HEADER_LEN)
		return error_set(CAIRN_ECORRUPT,
				 "batch of %zu bytes has no header", bytes.len);
	r->rest = slice_of(bytes.data + BATCH_HEADER_LEN,
			   bytes.len - BATCH_HEADER_LEN);
	return CAIRN_OK;
}

/* The body of an operation: which fields follow the tag. */
enum batch_body {
	BODY_KEY,
	BODY_KEY_VALUE,
	BODY_BLOB,
};

static bool read_body(struct cairn_slice *rest, enum batch_body body,
		      struct batch_op *op)
{
	op->key = slice_of(rest->data, 0);
	op->value = slice_of(rest->data, 0);
	if (body == BODY_BLOB)
		return get_lp_slice(rest, &op->value);
	if (!get_lp_slice(rest, &op->key))
		return false;
	return body == BODY_KEY || get_lp_slice(rest, &op->value);
}

/* What to say of a tag that must not be ignored; NULL when it is unknown. */
static const char *refused_tag(uint8_t tag)
{
	switch (tag) {
	case TAG_BEGIN_PREPARE:
	case TAG_END_PREPARE:
	case TAG_COMMIT:
	case TAG_ROLLBACK:
	case TAG_BEGIN_PERSISTED_PREPARE:
	case TAG_BEGIN_UNPREPARE:
	case TAG_COMMIT_TIMESTAMP:
		return "prepared transactions (two-phase commit)";
	case TAG_FAMILY_BLOB_INDEX:
	case KIND_BLOB_INDEX:
		return "values in blob files";
	case KIND_ENTITY:
	case TAG_FAMILY_ENTITY:
		return "wide-column entities";
	default:
		return NULL;
	}
}

/* The kind and body that tag announces, and whether a family comes first. */
static bool known_tag(uint8_t tag, uint8_t *kind, enum batch_body *body,
		      bool *has_family)
{
	*has_family = false;
	*body = BODY_KEY;
	switch (tag) {
	case TAG_FAMILY_DELETE:
		*has_family = true;
		*kind = KIND_DELETE;
		return true;
	case TAG_FAMILY_SINGLE_DELETE:
		*has_family = true;
		*kind = KIND_SINGLE_DELETE;
		return true;
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
		*kind = tag;
		return true;
	default:
		break;
	}

	*body = BODY_KEY_VALUE;
	switch (tag) {
	case TAG_FAMILY_PUT:
		*has_family = true;
		*kind = KIND_PUT;
		return true;
	case TAG_FAMILY_MERGE:
		*has_family = true;
		*kind = KIND_MERGE;
		return true;
	case TAG_FAMILY_RANGE_DELETE:
		*has_family = true;
		*kind = KIND_RANGE_DELETE;
		return true;
	case KIND_PUT:
	case KIND_MERGE:
	case KIND_RANGE_DELETE:
		*kind = tag;
		return true;
	case KIND_LOG_DATA:
		*body = BODY_BLOB;
		*kind = tag;
		return true;
	default:
		return false;
	}
}

static int bad_tag(uint8_t tag)
{
	const char *refused = refused_tag(tag);

	if (refused)
		return error_set(CAIRN_ENOTSUP, "batch uses %s (tag 0x%02x)",
				 refused, tag);
	return error_set(CAIRN_ECORRUPT, "batch has unknown tag 0x%02x", tag);
}

int batch_reader_next(struct batch_reader *r, struct batch_op *op)
{
	struct cairn_slice rest = r->rest;
	struct batch_op got = { 0 };
	enum batch_body body;
	bool has_family;
	uint8_t tag;

	do {
		if (!rest.len) {
			r->rest = rest;
			return CAIRN_NOT_FOUND;
		}
		tag = rest.data[0];
		slice_advance(&rest, 1);
	} while (tag == TAG_NOOP);

	/* Most operations of most batches. */
	if (tag == KIND_PUT) {
		got.kind = KIND_PUT;
		body = BODY_KEY_VALUE;
		has_family = false;
	} else if (!known_tag(tag, &got.kind, &body, &has_family)) {
		return bad_tag(tag);
	}
	if ((has_family && !get_varint32(&rest, &got.family)) ||
	    !read_body(&rest, body, &got))
		return error_set(CAIRN_ECORRUPT,
				 "batch ends inside an operation (tag 0x%02x)",
				 tag);
	r->rest = rest;
	*op = got;
	return CAIRN_OK;
}

int batch_validate(struct cairn_slice bytes)
{
	uint32_t numbers;

	return batch_validate_numbers(bytes, &numbers);
}

/* RocksDB gives an empty range of the default family no number on replay. */
static bool takes_no_number(const struct batch_op *op)
{
	return op->kind == KIND_RANGE_DELETE && op->family == 0 &&
	       slice_eq(op->key, op->value);
}

int batch_validate_numbers(struct cairn_slice bytes, uint32_t *numbers)
{
	struct batch_reader r;
	struct batch_op op;
	uint64_t counted = 0, unnumbered = 0;
	uint64_t seqno;
	int err;

	err = batch_reader_init(&r, bytes);
	if (err)
		return err;
	while ((err = batch_reader_next(&r, &op)) == CAIRN_OK) {
		if (op.kind != KIND_LOG_DATA)
			counted++;
		unnumbered += takes_no_number(&op);
	}
	if (err != CAIRN_NOT_FOUND)
		return err;
	if (counted != batch_bytes_count(bytes))
		return error_set(CAIRN_ECORRUPT,
				 "batch counts %" PRIu32 " changes but holds "
				 "%" PRIu64,
				 batch_bytes_count(bytes), counted);
	/* Numbers are 56 bits, and the highest one is kept for bounds. */
	seqno = batch_bytes_seqno(bytes);
	if (seqno > SEQNO_MAX - counted)
		return error_set(CAIRN_ECORRUPT,
				 "batch has sequence number %" PRIu64, seqno);
	*numbers = (uint32_t)(counted - unnumbered);
	return CAIRN_OK;
}
