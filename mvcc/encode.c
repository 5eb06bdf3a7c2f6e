/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/encode.h"

#include "engine/base/error.h"
#include "mvcc/attr.h"

/* ------------------------------------------------------------------ keys */

static int corrupt(const char *what, struct cairn_slice k)
{
	char hex[65];
	size_t n = k.len < 32 ? k.len : 32;

	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = "0123456789abcdef"[k.data[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[k.data[i] & 15];
	}
	hex[2 * n] = '\0';
	return error_set(CAIRN_ECORRUPT, "%s (key %s%s, %zu bytes)", what, hex,
			 n < k.len ? "..." : "", k.len);
}

/* Each byte 00 becomes 00 FF. */
static int append_escaped(struct buf *out, struct cairn_slice key)
{
	uint8_t *p;
	int err = buf_reserve(out, 2 * key.len);

	if (err)
		return err;
	p = out->data + out->len;
	while (key.len) {
		const uint8_t *zero = memchr(key.data, 0, key.len);
		size_t n = zero ? (size_t)(zero - key.data) + 1 : key.len;

		memcpy(p, key.data, n);
		p += n;
		if (zero)
			*p++ = 0xff;
		slice_advance(&key, n);
	}
	out->len = (size_t)(p - out->data);
	return CAIRN_OK;
}

int enc_start(struct buf *out, struct cairn_slice key)
{
	const uint8_t table = ENC_ROW;
	int err;

	buf_clear(out);
	err = buf_append(out, &table, 1);
	return err ? err : append_escaped(out, key);
}

static int append_tail(struct buf *out, int64_t main, uint32_t inverted_sub)
{
	int err = buf_reserve(out, ENC_ROW_TAIL);

	if (err)
		return err;
	put_be64(out->data + out->len, ~(uint64_t)main);
	put_be32(out->data + out->len + 8, inverted_sub);
	out->len += ENC_ROW_TAIL;
	return CAIRN_OK;
}

int enc_prefix(struct buf *out, struct cairn_slice key)
{
	int err = enc_start(out, key);

	if (!err)
		err = buf_append(out, "\0\1", 2);
	return err;
}

int enc_prefix_next(struct buf *out, struct cairn_slice prefix)
{
	int err = buf_set(out, prefix);

	if (err)
		return err;
	out->data[out->len - 1] = 2;
	return CAIRN_OK;
}

int enc_row_key(struct buf *out, struct cairn_slice key, int64_t main,
		int32_t sub)
{
	int err = enc_prefix(out, key);

	if (!err)
		err = append_tail(out, main, ~(uint32_t)sub);
	return err;
}

int enc_seek(struct buf *out, struct cairn_slice prefix, int64_t rev)
{
	int err = buf_set(out, prefix);

	/* Every ~sub is above zero: the newest of main = rev comes first. */
	if (!err)
		err = append_tail(out, rev, 0);
	return err;
}

int enc_row_parse(struct cairn_slice k, struct enc_row *out)
{
	const uint8_t *tail;
	uint64_t main;
	uint32_t sub;

	/* 'k', a key of at least one byte, 00 01, the tail. */
	if (k.len < 4 + ENC_ROW_TAIL || k.data[0] != ENC_ROW)
		return corrupt("not a row key", k);
	tail = k.data + k.len - ENC_ROW_TAIL;
	if (tail[-2] != 0 || tail[-1] != 1)
		return corrupt("row key without its terminator", k);
	main = ~load_be64(tail);
	sub = ~load_be32(tail + 8);
	if (main == 0 || main > INT64_MAX || sub > INT32_MAX)
		return corrupt("row key with an impossible revision", k);
	out->prefix = slice_of(k.data, k.len - ENC_ROW_TAIL);
	out->main = (int64_t)main;
	out->sub = (int32_t)sub;
	return CAIRN_OK;
}

int enc_plain(struct cairn_slice prefix, struct buf *out)
{
	struct cairn_slice in = prefix;
	int err;

	buf_clear(out);
	err = buf_reserve(out, prefix.len);
	if (err)
		return err;
	if (in.len < 4 || in.data[0] != ENC_ROW)
		return corrupt("not a row key", prefix);
	slice_advance(&in, 1);
	for (;;) {
		const uint8_t *zero = memchr(in.data, 0, in.len);
		size_t n;

		if (!zero || zero + 1 == in.data + in.len)
			return corrupt("row key without its terminator",
				       prefix);
		n = (size_t)(zero - in.data);
		memcpy(out->data + out->len, in.data, n);
		out->len += n;
		slice_advance(&in, n + 2);
		if (zero[1] == 1)
			break;
		if (zero[1] != 0xff)
			return corrupt("row key with a bad escape", prefix);
		out->data[out->len++] = 0;
	}
	if (in.len || !out->len || out->len > MVCC_KEY_MAX)
		return corrupt("row key of a bad length", prefix);
	return CAIRN_OK;
}

/*
 * The terminator is looked for from the front: the prefix of a prefix must be
 * itself, so cutting 12 bytes off will not do, and ~main may hold 00 01, so
 * neither will searching from the back.
 */
size_t enc_prefix_len(void *ctx, struct cairn_slice key)
{
	const uint8_t *end = key.data + key.len;
	const uint8_t *p = key.data + 1;

	(void)ctx;
	if (key.len && key.data[0] == ENC_CHUNK)
		return key.len >= ENC_CHUNK_PREFIX ? ENC_CHUNK_PREFIX
						   : SIZE_MAX;
	if (!key.len || key.data[0] != ENC_ROW)
		return SIZE_MAX;
	while (p < end) {
		p = memchr(p, 0, (size_t)(end - p));
		if (!p || p + 1 == end)
			break;
		if (p[1] == 1)
			return (size_t)(p + 2 - key.data);
		if (p[1] != 0xff)
			break;
		p += 2;
	}
	return SIZE_MAX;
}

int enc_mark(struct buf *out, const char *name)
{
	buf_clear(out);
	return buf_printf(out, "m/%s", name);
}

/* A table byte and two numbers: log entries and ended objects. */
static int revision_key(struct buf *out, enum enc_table table, int64_t main,
			int32_t sub)
{
	int err;

	buf_clear(out);
	err = buf_reserve(out, 13);
	if (err)
		return err;
	out->data[0] = (uint8_t)table;
	put_be64(out->data + 1, (uint64_t)main);
	put_be32(out->data + 9, (uint32_t)sub);
	out->len = 13;
	return CAIRN_OK;
}

static bool revision_key_parse(struct cairn_slice k, enum enc_table table,
			       int64_t *main, int32_t *sub)
{
	uint64_t m;
	uint32_t s;

	if (k.len != 13 || k.data[0] != table)
		return false;
	m = load_be64(k.data + 1);
	s = load_be32(k.data + 9);
	if (m == 0 || m > INT64_MAX || s > INT32_MAX)
		return false;
	*main = (int64_t)m;
	*sub = (int32_t)s;
	return true;
}

int enc_log_key(struct buf *out, int64_t main, int32_t sub)
{
	return revision_key(out, ENC_LOG, main, sub);
}

int enc_log_value(struct buf *out, bool deleted, struct cairn_slice key)
{
	int err;

	buf_clear(out);
	err = buf_append(out, deleted ? "D" : "P", 1);
	if (!err)
		err = buf_append(out, key.data, key.len);
	return err;
}

int enc_log_key_parse(struct cairn_slice k, int64_t *main, int32_t *sub)
{
	return revision_key_parse(k, ENC_LOG, main, sub)
		       ? CAIRN_OK
		       : corrupt("malformed log key", k);
}

int enc_log_parse(struct cairn_slice k, struct cairn_slice v,
		  struct mvcc_change *out)
{
	struct mvcc_change c;

	if (enc_log_key_parse(k, &c.main, &c.sub))
		return CAIRN_ECORRUPT;
	if (v.len < 2 || v.len > 1 + MVCC_KEY_MAX ||
	    (v.data[0] != 'P' && v.data[0] != 'D'))
		return corrupt("malformed log entry", k);
	c.deleted = v.data[0] == 'D';
	c.key = slice_of(v.data + 1, v.len - 1);
	*out = c;
	return CAIRN_OK;
}

void enc_chunk_key(uint8_t out[ENC_CHUNK_KEY], const struct enc_chunk *c)
{
	out[0] = ENC_CHUNK;
	put_be64(out + 1, c->object);
	put_be64(out + 9, c->index);
	put_be64(out + 17, ~(uint64_t)c->version);
}

int enc_chunk_parse(struct cairn_slice k, struct enc_chunk *out)
{
	uint64_t version;

	if (k.len != ENC_CHUNK_KEY || k.data[0] != ENC_CHUNK)
		return corrupt("malformed chunk key", k);
	version = ~load_be64(k.data + 17);
	if (version > INT64_MAX)
		return corrupt("chunk key with an impossible version", k);
	out->object = load_be64(k.data + 1);
	out->index = load_be64(k.data + 9);
	out->version = (int64_t)version;
	return CAIRN_OK;
}

int enc_staged_key(struct buf *out, uint64_t object)
{
	int err;

	buf_clear(out);
	err = buf_reserve(out, 9);
	if (err)
		return err;
	out->data[0] = ENC_STAGED;
	put_be64(out->data + 1, object);
	out->len = 9;
	return CAIRN_OK;
}

int enc_staged_parse(struct cairn_slice k, struct cairn_slice v,
		     uint64_t *object, uint64_t *from)
{
	if (k.len != 9 || k.data[0] != ENC_STAGED || v.len != 8)
		return corrupt("malformed entry of staged chunks", k);
	*object = load_be64(k.data + 1);
	*from = load_be64(v.data);
	return CAIRN_OK;
}

int enc_ended(struct buf *key, struct buf *value, const struct enc_ended *e)
{
	int err = revision_key(key, ENC_ENDED, e->main, e->sub);

	if (err)
		return err;
	buf_clear(value);
	err = buf_reserve(value, 24);
	if (err)
		return err;
	put_be64(value->data, e->object);
	put_be64(value->data + 8, e->from);
	put_be64(value->data + 16, e->to);
	value->len = 24;
	return CAIRN_OK;
}

int enc_ended_parse(struct cairn_slice k, struct cairn_slice v,
		    struct enc_ended *out)
{
	struct enc_ended e;

	if (!revision_key_parse(k, ENC_ENDED, &e.main, &e.sub) || v.len != 24)
		return corrupt("malformed entry of an ended object", k);
	e.object = load_be64(v.data);
	e.from = load_be64(v.data + 8);
	e.to = load_be64(v.data + 16);
	*out = e;
	return CAIRN_OK;
}

/* A table byte and the number of a lease. */
static int lease_key(struct buf *out, enum enc_table table, uint64_t lease)
{
	int err;

	buf_clear(out);
	err = buf_reserve(out, 9);
	if (err)
		return err;
	out->data[0] = (uint8_t)table;
	put_be64(out->data + 1, lease);
	out->len = 9;
	return CAIRN_OK;
}

int enc_lease(struct buf *key, struct buf *value, const struct enc_lease *l)
{
	int err = lease_key(key, ENC_LEASES, (uint64_t)l->id);

	if (err)
		return err;
	buf_clear(value);
	err = buf_reserve(value, 17);
	if (err)
		return err;
	value->data[0] = l->ending;
	put_be64(value->data + 1, (uint64_t)l->ttl);
	put_be64(value->data + 9, (uint64_t)l->left);
	value->len = 17;
	return CAIRN_OK;
}

int enc_lease_parse(struct cairn_slice k, struct cairn_slice v,
		    struct enc_lease *out)
{
	uint64_t id, ttl, left;

	if (k.len != 9 || k.data[0] != ENC_LEASES || v.len != 17 ||
	    v.data[0] > 1)
		return corrupt("malformed lease", k);
	id = load_be64(k.data + 1);
	ttl = load_be64(v.data + 1);
	left = load_be64(v.data + 9);
	if (id == 0 || id > INT64_MAX || ttl == 0 || ttl > MVCC_LEASE_TTL_MAX ||
	    left > ttl)
		return corrupt("lease with an impossible number", k);
	*out = (struct enc_lease){ .id = (int64_t)id,
				   .ttl = (int64_t)ttl,
				   .left = (int64_t)left,
				   .ending = v.data[0] };
	return CAIRN_OK;
}

int enc_attached_start(struct buf *out, uint64_t lease)
{
	return lease_key(out, ENC_ATTACHED, lease);
}

int enc_attached_key(struct buf *out, int64_t lease, struct cairn_slice key)
{
	int err = lease_key(out, ENC_ATTACHED, (uint64_t)lease);

	return err ? err : append_escaped(out, key);
}

int enc_attached_parse(struct cairn_slice k, int64_t *lease, struct buf *key)
{
	struct cairn_slice in = k;
	uint64_t id;
	int err;

	if (k.len < 10 || k.data[0] != ENC_ATTACHED)
		return corrupt("malformed entry of a key on a lease", k);
	id = load_be64(k.data + 1);
	if (id == 0 || id > INT64_MAX)
		return corrupt("key on an impossible lease", k);
	buf_clear(key);
	err = buf_reserve(key, k.len);
	if (err)
		return err;
	slice_advance(&in, 9);
	while (in.len) {
		const uint8_t *zero = memchr(in.data, 0, in.len);
		size_t n = zero ? (size_t)(zero - in.data) + 1 : in.len;

		memcpy(key->data + key->len, in.data, n);
		key->len += n;
		slice_advance(&in, n);
		if (!zero)
			break;
		if (!in.len || in.data[0] != 0xff)
			return corrupt("key on a lease with a bad escape", k);
		slice_advance(&in, 1);
	}
	if (key->len > MVCC_KEY_MAX)
		return corrupt("key on a lease of a bad length", k);
	*lease = (int64_t)id;
	return CAIRN_OK;
}

int enc_number(struct buf *out, uint64_t v)
{
	int err;

	buf_clear(out);
	err = buf_reserve(out, 8);
	if (err)
		return err;
	put_be64(out->data, v);
	out->len = 8;
	return CAIRN_OK;
}

int enc_number_parse(struct cairn_slice v, uint64_t *out)
{
	if (v.len != 8)
		return error_set(CAIRN_ECORRUPT,
				 "a mark of %zu bytes where 8 are due", v.len);
	*out = load_be64(v.data);
	return CAIRN_OK;
}

/* ------------------------------------------------------------------ rows */

static int append_counts(struct buf *out, const struct mvcc_row *row)
{
	int err =
		buf_append_varint(out, (uint64_t)(row->main - row->create_rev));

	if (!err)
		err = buf_append_varint(out, (uint64_t)row->version);
	return err;
}

static int append_chunks(struct buf *out, const struct mvcc_row *row)
{
	int err = buf_append_varint(out, row->object);

	if (!err)
		err = buf_append_varint(out, row->size);
	if (!err)
		err = buf_append_varint(out, row->chunk_size);
	if (!err)
		err = buf_append_varint(out, row->chunks_high);
	return err;
}

int enc_row_value(struct buf *out, const struct mvcc_row *row,
		  struct cairn_slice attrs)
{
	bool fresh = row->create_rev == row->main && row->version == 1;
	uint8_t flags = 0;
	int err;

	if (row->deleted)
		flags = ENC_TOMBSTONE;
	else
		flags = (uint8_t)((row->lease ? ENC_LEASE : 0) |
				  (fresh ? ENC_FRESH : 0) |
				  (attrs.len ? ENC_ATTRS : 0) |
				  (row->object ? ENC_CHUNKS : 0));
	buf_clear(out);
	err = buf_append(out, &flags, 1);
	if (!err)
		err = buf_append_le64(out, (uint64_t)row->time_ns);
	if (!err && row->deleted)
		return buf_append_varint(out, (uint64_t)row->version);
	if (!err && !fresh)
		err = append_counts(out, row);
	if (!err && row->lease)
		err = buf_append_varint(out, (uint64_t)row->lease);
	if (!err && attrs.len)
		err = buf_append_lp(out, attrs);
	if (!err && row->object)
		err = append_chunks(out, row);
	else if (!err)
		err = buf_append(out, row->value.data, row->value.len);
	return err;
}

/* A varint that is a non-negative int64. */
static bool get_int64(struct cairn_slice *in, int64_t *out)
{
	uint64_t v;

	if (!get_varint64(in, &v) || v > INT64_MAX)
		return false;
	*out = (int64_t)v;
	return true;
}

static bool get_counts(struct cairn_slice *in, bool fresh, struct mvcc_row *r)
{
	int64_t age;

	if (fresh) {
		r->create_rev = r->main;
		r->version = 1;
		return true;
	}
	if (!get_int64(in, &age) || !get_int64(in, &r->version) ||
	    age >= r->main || r->version < 1)
		return false;
	r->create_rev = r->main - age;
	return true;
}

static bool get_chunks(struct cairn_slice *in, struct mvcc_row *r)
{
	return get_varint64(in, &r->object) && get_varint64(in, &r->size) &&
	       get_varint32(in, &r->chunk_size) &&
	       get_varint64(in, &r->chunks_high) && !in->len && r->object &&
	       r->size <= MVCC_VALUE_MAX &&
	       r->chunk_size >= ENC_CHUNK_SIZE_MIN &&
	       r->chunk_size <= ENC_CHUNK_SIZE_MAX &&
	       r->chunks_high >= enc_chunk_count(r->size, r->chunk_size);
}

int enc_row_value_parse(struct cairn_slice v, size_t full_len,
			struct mvcc_row *row, struct cairn_slice *attrs,
			size_t *head_len)
{
	struct mvcc_row r = { .key = row->key,
			      .main = row->main,
			      .sub = row->sub };
	struct cairn_slice in = v;
	struct cairn_slice block = { NULL, 0 };
	uint64_t time_ns;
	uint8_t flags;
	int err;

	if (!in.len || in.len > full_len || (in.data[0] & ~ENC_FLAGS))
		return corrupt("row with unknown flags", row->key);
	flags = in.data[0];
	slice_advance(&in, 1);
	if (!get_le64(&in, &time_ns))
		return corrupt("row cut short", row->key);
	r.time_ns = (int64_t)time_ns;
	if (flags & ENC_TOMBSTONE) {
		r.deleted = true;
		if (flags != ENC_TOMBSTONE || !get_int64(&in, &r.version) ||
		    in.len || v.len != full_len)
			return corrupt("malformed tombstone", row->key);
		goto done;
	}
	if (!get_counts(&in, flags & ENC_FRESH, &r) ||
	    ((flags & ENC_LEASE) && (!get_int64(&in, &r.lease) || !r.lease)) ||
	    ((flags & ENC_ATTRS) && !get_lp_slice(&in, &block)))
		return corrupt("malformed row", row->key);
	err = attr_decode(block, &r.attrs);
	if (err)
		return err;
	if (flags & ENC_CHUNKS) {
		if (!get_chunks(&in, &r) || v.len != full_len)
			return corrupt("malformed row of chunks", row->key);
		goto done;
	}
	r.size = full_len - (v.len - in.len);
	if (v.len == full_len)
		r.value = in;
done:
	if (head_len)
		*head_len = (size_t)(in.data - v.data);
	if (attrs)
		*attrs = block;
	*row = r;
	return CAIRN_OK;
}
