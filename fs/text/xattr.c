/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/xattr.h"

#include "engine/base/error.h"

int xattr_next(struct cairn_slice *all, struct cairn_slice *name,
	       struct cairn_slice *value)
{
	if (all->len == 0)
		return CAIRN_NOT_FOUND;
	if (!get_lp_slice(all, name) || !get_lp_slice(all, value))
		return error_set(CAIRN_ECORRUPT,
				 "malformed attributes of a file");
	return CAIRN_OK;
}

int xattr_get(struct cairn_slice all, struct cairn_slice name,
	      struct cairn_slice *value)
{
	struct cairn_slice n = { 0 }, v = { 0 };
	int err;

	while (!(err = xattr_next(&all, &n, &v)))
		if (slice_eq(n, name)) {
			*value = v;
			return CAIRN_OK;
		}
	return err;
}

static int append_one(struct buf *b, struct cairn_slice name,
		      struct cairn_slice value)
{
	int err = buf_append_lp(b, name);

	return err ? err : buf_append_lp(b, value);
}

int xattr_set(struct buf *all, struct cairn_slice name,
	      const struct cairn_slice *value)
{
	struct cairn_slice rest = buf_slice(all), n, v;
	struct buf made = { 0 };
	bool found = false, placed = !value;
	int err = CAIRN_OK, more;

	while (!err && !(more = xattr_next(&rest, &n, &v))) {
		int c = slice_cmp(n, name);

		if (!placed && c >= 0) {
			err = append_one(&made, name, *value);
			placed = true;
		}
		found |= c == 0;
		if (!err && c != 0)
			err = append_one(&made, n, v);
	}
	if (!err && more != CAIRN_NOT_FOUND)
		err = more;
	if (!err && !placed)
		err = append_one(&made, name, *value);
	if (!err && !value && !found)
		err = CAIRN_NOT_FOUND;
	if (!err && made.len > XATTRS_LEN_MAX)
		err = error_set(CAIRN_ENOSPC, "too many attributes");
	if (err) {
		buf_fini(&made);
		return err;
	}
	buf_fini(all);
	*all = made;
	return CAIRN_OK;
}
