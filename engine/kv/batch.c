/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/kv/batch_index.h"

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

/* ------------------------------------------------------------------ blocks */

#define BLOCK_MIN 64

struct batch_block *batch_block_ref(struct batch_block *k)
{
	uint32_t was =
		atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);

	assert(was > 0 && was < UINT32_MAX);
	(void)was;
	return k;
}

void batch_block_unref(struct batch_block *k)
{
	uint32_t was;

	if (!k)
		return;
	/* Release pairs with the acquire of whoever drops the last one, and of
	 * block_shared(). */
	was = atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel);
	assert(was > 0);
	if (was == 1)
		free(k);
}

static bool block_shared(const struct batch_block *k)
{
	return k && atomic_load_explicit(&k->refs, memory_order_acquire) > 1;
}

struct batch_block *batch_share(const struct cairn_batch *b)
{
	return b->block ? batch_block_ref(b->block) : NULL;
}

/* A block of cap bytes that begins with those of from. */
static struct batch_block *block_new(struct cairn_slice from, size_t cap)
{
	struct batch_block *k = malloc(sizeof(*k) + cap);

	if (!k) {
		error_nomem();
		return NULL;
	}
	atomic_init(&k->refs, 1);
	memcpy(k->data, from.data, from.len);
	return k;
}

static void set_block(struct cairn_batch *b, struct batch_block *k, size_t cap)
{
	b->block = k;
	b->bytes.data = k ? k->data : b->header;
	b->bytes.cap = k ? cap : sizeof(b->header);
	if (b->index)
		batch_index_moved(b->index, b->bytes.data);
}

/* Make room for more bytes behind the present ones. */
static int reserve(struct cairn_batch *b, size_t more)
{
	size_t cap = b->bytes.cap < BLOCK_MIN ? BLOCK_MIN : b->bytes.cap;
	struct batch_block *k;

	if (more <= b->bytes.cap - b->bytes.len)
		return CAIRN_OK;
	if (more > SIZE_MAX / 4 - b->bytes.len)
		return error_nomem();
	while (cap < b->bytes.len + more)
		cap += cap / 2;
	if (b->block && !block_shared(b->block)) {
		k = realloc(b->block, sizeof(*k) + cap);
		if (!k)
			return error_nomem();
	} else {
		k = block_new(buf_slice(&b->bytes), cap);
		if (!k)
			return CAIRN_ENOMEM;
		batch_block_unref(b->block);
	}
	set_block(b, k, cap);
	return CAIRN_OK;
}

/* -------------------------------------------------------------- the object */

struct cairn_batch *cairn_batch_new(void)
{
	struct cairn_batch *b = calloc(1, sizeof(*b));

	if (!b) {
		error_nomem();
		return NULL;
	}
	cairn_batch_clear(b);
	return b;
}

struct cairn_batch *cairn_batch_new_indexed(void)
{
	struct cairn_batch *b = cairn_batch_new();

	if (b)
		b->indexed = true;
	return b;
}

/* The index leaves the batch; those who look at it keep what they look at. */
static void drop_index(struct cairn_batch *b)
{
	if (!b->index)
		return;
	batch_index_detach(b->index, &b->block);
	b->index = NULL;
}

void cairn_batch_free(struct cairn_batch *b)
{
	if (!b)
		return;
	drop_index(b);
	batch_block_unref(b->block);
	free(b->saves);
	free(b);
}

void cairn_batch_clear(struct cairn_batch *b)
{
	if (b->index && batch_index_shared(b->index))
		drop_index(b);
	else if (b->index)
		batch_index_clear(b->index);
	if (block_shared(b->block)) {
		batch_block_unref(b->block);
		b->block = NULL;
	}
	if (!b->block)
		set_block(b, NULL, 0);
	memset(b->bytes.data, 0, BATCH_HEADER_LEN);
	b->bytes.len = BATCH_HEADER_LEN;
	b->count = 0;
	b->has_merge = false;
	b->n_saves = 0;
}

/* ----------------------------------------------------------------- changes */

static uint8_t *put_lp(uint8_t *p, struct cairn_slice s)
{
	p = put_varint64(p, s.len);
	if (s.len)
		memcpy(p, s.data, s.len);
	return p + s.len;
}

static int check_key(struct cairn_slice key)
{
	if (key.len <= CAIRN_KEY_MAX)
		return CAIRN_OK;
	return error_set(CAIRN_EINVAL, "key of %zu bytes is longer than %u",
			 key.len, CAIRN_KEY_MAX);
}

static int check_value(struct cairn_slice value)
{
	if (value.len <= CAIRN_VALUE_MAX)
		return CAIRN_OK;
	return error_set(CAIRN_EINVAL, "value of %zu bytes is longer than %u",
			 value.len, CAIRN_VALUE_MAX);
}

/* Room in bytes and index for one more operation. */
static int make_room(struct cairn_batch *b, size_t payload)
{
	size_t more = 1 + 2 * VARINT32_MAX_LEN + payload;
	int err;

	/* The index counts bytes in 32 bits. */
	if (b->indexed &&
	    (b->bytes.len > UINT32_MAX || more > UINT32_MAX - b->bytes.len))
		return error_set(CAIRN_EINVAL,
				 "indexed batch of %zu bytes has no room for "
				 "%zu more",
				 b->bytes.len, payload);
	err = reserve(b, more);
	if (!err && b->indexed && !b->index)
		err = batch_index_new(b->bytes.data, &b->index);
	if (!err && b->index)
		err = batch_index_reserve(b->index);
	return err;
}

/* Everything that can fail comes before the first byte is changed. */
int batch_add(struct cairn_batch *b, uint8_t kind, struct cairn_slice key,
	      const struct cairn_slice *value)
{
	struct batch_op op = { .kind = kind };
	uint8_t *p;
	int err = check_key(key);

	if (!err && value)
		err = check_value(*value);
	if (err)
		return err;
	if (b->count == UINT32_MAX)
		return error_set(CAIRN_EINVAL,
				 "batch holds %" PRIu32 " changes already",
				 b->count);
	err = make_room(b, key.len + (value ? value->len : 0));
	if (err)
		return err;

	p = b->bytes.data + b->bytes.len;
	*p++ = kind;
	p = put_lp(p, key);
	op.key = slice_of(p - key.len, key.len);
	if (value) {
		p = put_lp(p, *value);
		op.value = slice_of(p - value->len, value->len);
	}
	if (b->index)
		batch_index_add(b->index, &op, b->count);
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

	for (int i = 0; i < 2; i++) {
		int err = check_key(ends[i]);

		if (err)
			return err;
	}
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

int cairn_batch_log_data(struct cairn_batch *b, struct cairn_slice blob)
{
	uint8_t *p;
	int err = check_value(blob);

	if (!err)
		err = reserve(b, 1 + VARINT32_MAX_LEN + blob.len);
	if (err)
		return err;
	p = b->bytes.data + b->bytes.len;
	*p++ = KIND_LOG_DATA;
	p = put_lp(p, blob);
	b->bytes.len = (size_t)(p - b->bytes.data);
	return CAIRN_OK;
}

/* -------------------------------------------------------------- savepoints */

int cairn_batch_set_savepoint(struct cairn_batch *b)
{
	if (b->n_saves == b->saves_cap) {
		size_t cap = b->saves_cap ? 2 * b->saves_cap : 4;
		struct batch_savepoint *p;

		if (cap > SIZE_MAX / sizeof(*p))
			return error_nomem();
		p = realloc(b->saves, cap * sizeof(*p));
		if (!p)
			return error_nomem();
		b->saves = p;
		b->saves_cap = cap;
	}
	b->saves[b->n_saves++] = (struct batch_savepoint){
		.len = b->bytes.len,
		.count = b->count,
		.has_merge = b->has_merge,
	};
	return CAIRN_OK;
}

int cairn_batch_pop_savepoint(struct cairn_batch *b)
{
	if (!b->n_saves)
		return CAIRN_NOT_FOUND;
	b->n_saves--;
	return CAIRN_OK;
}

/*
 * Cut bytes and index back. Where others hold the block, or look at the index,
 * these stay as they are and the batch gets new ones. That can fail, and comes
 * first.
 */
static int cut_back(struct cairn_batch *b, const struct batch_savepoint *s)
{
	bool new_index = b->index && batch_index_shared(b->index);
	bool new_block = new_index || block_shared(b->block);
	size_t cap = s->len < BLOCK_MIN ? BLOCK_MIN : s->len;
	struct batch_index *index = NULL;
	struct batch_block *k = NULL;
	int err = CAIRN_OK;

	if (new_block)
		k = block_new(slice_of(b->bytes.data, s->len), cap);
	if (new_block && !k)
		return CAIRN_ENOMEM;
	if (new_index)
		err = batch_index_build(slice_of(k->data, s->len), &index);
	if (err) {
		batch_block_unref(k);
		return err;
	}

	/* The index finds what it drops by the old bytes. */
	if (new_index) {
		drop_index(b);
		b->index = index;
	} else if (b->index) {
		batch_index_truncate(b->index, s->count);
	}
	if (new_block) {
		batch_block_unref(b->block);
		set_block(b, k, cap);
	}
	b->bytes.len = s->len;
	b->count = s->count;
	b->has_merge = s->has_merge;
	put_le32(b->bytes.data + 8, b->count);
	return CAIRN_OK;
}

int cairn_batch_rollback(struct cairn_batch *b)
{
	const struct batch_savepoint *s;
	int err = CAIRN_OK;

	if (!b->n_saves)
		return CAIRN_NOT_FOUND;
	s = &b->saves[b->n_saves - 1];
	if (s->len < b->bytes.len)
		err = cut_back(b, s);
	if (!err)
		b->n_saves--;
	return err;
}

/* ------------------------------------------------------------- what it has */

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
