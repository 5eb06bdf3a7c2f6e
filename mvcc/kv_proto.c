/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/kv_proto.h"

#include "engine/base/error.h"

/* Tags: field number << 3 | wire type. */
enum {
	TAG_KEY = 1 << 3 | 2,
	TAG_CREATE = 2 << 3 | 0,
	TAG_MOD = 3 << 3 | 0,
	TAG_VERSION = 4 << 3 | 0,
	TAG_VALUE = 5 << 3 | 2,
	TAG_LEASE = 6 << 3 | 0,
	FIELDS_KNOWN = 6,

	LEASE_ID = 1 << 3 | 0,
	LEASE_TTL = 2 << 3 | 0,
	LEASE_REMAINING = 3 << 3 | 0,
	LEASE_FIELDS_KNOWN = 3,
};

static uint8_t *put_bytes(uint8_t *p, uint8_t tag, struct cairn_slice s)
{
	if (!s.len)
		return p;
	*p++ = tag;
	p = put_varint64(p, s.len);
	memcpy(p, s.data, s.len);
	return p + s.len;
}

static uint8_t *put_number(uint8_t *p, uint8_t tag, int64_t v)
{
	if (!v)
		return p;
	*p++ = tag;
	return put_varint64(p, (uint64_t)v);
}

int kv_proto_encode(struct buf *out, const struct kv_proto *kv)
{
	const size_t heads = FIELDS_KNOWN * (1 + VARINT64_MAX_LEN);
	uint8_t *p;
	int err;

	if (kv->key.len > SIZE_MAX / 4 || kv->value.len > SIZE_MAX / 4)
		return error_nomem();
	err = buf_reserve(out, heads + kv->key.len + kv->value.len);
	if (err)
		return err;
	p = out->data + out->len;
	p = put_bytes(p, TAG_KEY, kv->key);
	p = put_number(p, TAG_CREATE, kv->create_rev);
	p = put_number(p, TAG_MOD, kv->mod_rev);
	p = put_number(p, TAG_VERSION, kv->version);
	p = put_bytes(p, TAG_VALUE, kv->value);
	p = put_number(p, TAG_LEASE, kv->lease);
	out->len = (size_t)(p - out->data);
	return CAIRN_OK;
}

static bool get_bytes(struct cairn_slice *in, struct cairn_slice *out)
{
	uint64_t len;

	if (!get_varint64(in, &len) || len > in->len)
		return false;
	*out = slice_of(in->data, (size_t)len);
	slice_advance(in, (size_t)len);
	return true;
}

static bool get_number(struct cairn_slice *in, int64_t *out)
{
	uint64_t v;

	if (!get_varint64(in, &v))
		return false;
	*out = (int64_t)v;
	return true;
}

/* A field of a later release. Groups are none of etcd's. */
static bool skip(struct cairn_slice *in, uint64_t tag, unsigned known)
{
	struct cairn_slice bytes;
	int64_t number;
	size_t fixed;

	if (tag >> 3 <= known || tag > UINT32_MAX)
		return false;
	switch (tag & 7) {
	case 0:
		return get_number(in, &number);
	case 2:
		return get_bytes(in, &bytes);
	case 1:
	case 5:
		fixed = (tag & 7) == 1 ? 8 : 4;
		if (in->len < fixed)
			return false;
		slice_advance(in, fixed);
		return true;
	default:
		return false;
	}
}

static bool get_field(struct cairn_slice *in, struct kv_proto *kv)
{
	uint64_t tag;

	if (!get_varint64(in, &tag))
		return false;
	switch (tag) {
	case TAG_KEY:
		return get_bytes(in, &kv->key);
	case TAG_CREATE:
		return get_number(in, &kv->create_rev);
	case TAG_MOD:
		return get_number(in, &kv->mod_rev);
	case TAG_VERSION:
		return get_number(in, &kv->version);
	case TAG_VALUE:
		return get_bytes(in, &kv->value);
	case TAG_LEASE:
		return get_number(in, &kv->lease);
	default:
		return skip(in, tag, FIELDS_KNOWN);
	}
}

int kv_proto_decode(struct cairn_slice in, struct kv_proto *out)
{
	struct kv_proto kv = { 0 };
	struct cairn_slice rest = in;

	while (rest.len) {
		size_t at = in.len - rest.len;

		if (!get_field(&rest, &kv))
			return error_set(CAIRN_ECORRUPT,
					 "malformed field at byte %zu of a "
					 "row of %zu bytes",
					 at, in.len);
	}
	*out = kv;
	return CAIRN_OK;
}

static bool get_lease_field(struct cairn_slice *in, struct lease_proto *l)
{
	uint64_t tag;

	if (!get_varint64(in, &tag))
		return false;
	switch (tag) {
	case LEASE_ID:
		return get_number(in, &l->id);
	case LEASE_TTL:
		return get_number(in, &l->ttl);
	case LEASE_REMAINING:
		return get_number(in, &l->remaining);
	default:
		return skip(in, tag, LEASE_FIELDS_KNOWN);
	}
}

int lease_proto_decode(struct cairn_slice in, struct lease_proto *out)
{
	struct lease_proto l = { 0 };
	struct cairn_slice rest = in;

	while (rest.len) {
		size_t at = in.len - rest.len;

		if (!get_lease_field(&rest, &l))
			return error_set(CAIRN_ECORRUPT,
					 "malformed field at byte %zu of a "
					 "lease of %zu bytes",
					 at, in.len);
	}
	*out = l;
	return CAIRN_OK;
}
