/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/attr.h"

#include "engine/base/error.h"

enum {
	TAG_TYPE = 1,
	TAG_MODE = 2,
	TAG_UID = 3,
	TAG_GID = 4,
	TAG_MTIME = 5,
	TAG_XATTRS = 6,
};

#define MODE_MAX 07777u

/* Names ascending, each once and none empty. */
static bool xattrs_valid(struct cairn_slice in)
{
	struct cairn_slice last = { NULL, 0 };

	while (in.len) {
		struct cairn_slice name, value;

		if (!get_lp_slice(&in, &name) || !get_lp_slice(&in, &value) ||
		    slice_cmp(last, name) >= 0)
			return false;
		last = name;
	}
	return true;
}

static int append_tag(struct buf *out, int tag, const void *data, size_t len)
{
	uint8_t byte = (uint8_t)tag;
	int err = buf_append(out, &byte, 1);

	if (!err)
		err = buf_append_lp(out, slice_of(data, len));
	return err;
}

static int append_number(struct buf *out, int tag, bool has, uint32_t v)
{
	uint8_t bytes[VARINT32_MAX_LEN];
	uint8_t *end = put_varint32(bytes, v);

	return has ? append_tag(out, tag, bytes, (size_t)(end - bytes))
		   : CAIRN_OK;
}

static int append_all(struct buf *out, const struct mvcc_attrs *a)
{
	uint8_t type = (uint8_t)a->type;
	uint8_t mtime[8];
	int err = CAIRN_OK;

	if (a->type != MVCC_FILE)
		err = append_tag(out, TAG_TYPE, &type, 1);
	if (!err)
		err = append_number(out, TAG_MODE, a->has_mode, a->mode);
	if (!err)
		err = append_number(out, TAG_UID, a->has_uid, a->uid);
	if (!err)
		err = append_number(out, TAG_GID, a->has_gid, a->gid);
	if (!err && a->has_mtime) {
		put_le64(mtime, (uint64_t)a->mtime_ns);
		err = append_tag(out, TAG_MTIME, mtime, sizeof(mtime));
	}
	if (!err && a->xattrs.len)
		err = append_tag(out, TAG_XATTRS, a->xattrs.data,
				 a->xattrs.len);
	return err;
}

int attr_encode(struct buf *out, const struct mvcc_attrs *attrs)
{
	size_t len = out->len;
	int err;

	if (!attrs)
		return CAIRN_OK;
	if (attrs->type != MVCC_FILE && attrs->type != MVCC_SYMLINK &&
	    attrs->type != MVCC_DIR)
		return error_set(CAIRN_EINVAL, "attributes: unknown type");
	if (attrs->has_mode && attrs->mode > MODE_MAX)
		return error_set(CAIRN_EINVAL, "attributes: mode over 07777");
	if (attrs->xattrs.len > ATTR_XATTRS_MAX || !xattrs_valid(attrs->xattrs))
		return error_set(CAIRN_EINVAL, "attributes: malformed xattrs");
	err = append_all(out, attrs);
	if (err)
		out->len = len;
	return err;
}

static bool decode_number(struct cairn_slice v, bool *has, uint32_t *out)
{
	*has = true;
	return get_varint32(&v, out) && !v.len;
}

static bool decode_tag(int tag, struct cairn_slice v, struct mvcc_attrs *a)
{
	switch (tag) {
	case TAG_TYPE:
		if (v.len != 1 || v.data[0] > MVCC_DIR)
			return false;
		a->type = (enum mvcc_type)v.data[0];
		return true;
	case TAG_MODE:
		return decode_number(v, &a->has_mode, &a->mode) &&
		       a->mode <= MODE_MAX;
	case TAG_UID:
		return decode_number(v, &a->has_uid, &a->uid);
	case TAG_GID:
		return decode_number(v, &a->has_gid, &a->gid);
	case TAG_MTIME:
		if (v.len != 8)
			return false;
		a->has_mtime = true;
		a->mtime_ns = (int64_t)load_le64(v.data);
		return true;
	case TAG_XATTRS:
		a->xattrs = v;
		return v.len <= ATTR_XATTRS_MAX && xattrs_valid(v);
	default:
		return true;
	}
}

int attr_decode(struct cairn_slice block, struct mvcc_attrs *out)
{
	struct mvcc_attrs a = { .type = MVCC_FILE };
	int last = 0;

	while (block.len) {
		struct cairn_slice v;
		int tag = block.data[0];

		slice_advance(&block, 1);
		if (tag <= last || !get_lp_slice(&block, &v) ||
		    !decode_tag(tag, v, &a))
			return error_set(CAIRN_ECORRUPT,
					 "malformed attributes (tag %d)", tag);
		last = tag;
	}
	*out = a;
	return CAIRN_OK;
}
