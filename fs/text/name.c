/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/name.h"

#include "engine/base/error.h"

/* What a cut may take, so that "%+" fits behind it. */
#define CUT_LEN_MAX (NAME_LEN_MAX - 2)

static bool ends_with(struct cairn_slice s, char a, char b)
{
	return s.len >= 2 && s.data[s.len - 2] == a && s.data[s.len - 1] == b;
}

static bool is_dots(struct cairn_slice s)
{
	return s.len >= 1 && s.len <= 2 && s.data[0] == '.' &&
	       s.data[s.len - 1] == '.';
}

static bool is_reserved(struct cairn_slice s)
{
	return (s.len == 2 && ends_with(s, '%', '=')) ||
	       ends_with(s, '%', '+') || ends_with(s, '%', '@');
}

/*
 * Undo the quoting of what follows the leading '%'. False when it is not well
 * formed. dst may be src: it never grows.
 */
static bool unquote(const uint8_t *src, size_t len, uint8_t *dst, size_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (src[i] != '%') {
			dst[n++] = src[i];
			continue;
		}
		if (len - i < 3)
			return false;
		if (src[i + 1] == '2' && src[i + 2] == '5')
			dst[n++] = '%';
		else if (src[i + 1] == '0' && src[i + 2] == '0')
			dst[n++] = 0;
		else
			return false;
		i += 2;
	}
	*out = n;
	return true;
}

/*
 * Whether a component of at most NAME_LEN_MAX bytes cannot stand as it is.
 * What looks like the quoted form of such a one cannot, either; each look
 * inside takes away one leading '%', so this ends.
 */
static bool needs_quoting(struct cairn_slice c, bool flat_top)
{
	uint8_t inner[NAME_LEN_MAX];
	size_t len;

	for (;;) {
		if (c.len == 0 || is_dots(c) || is_reserved(c) ||
		    memchr(c.data, 0, c.len) ||
		    (flat_top && slice_eq(c, slice_str(NAME_CONTROL))))
			return true;
		if (c.data[0] != '%')
			return false;
		if (!unquote(c.data + 1, c.len - 1, inner, &len))
			return false;
		c = slice_of(inner, len);
	}
}

/* encode(c) in out, or false when it is over max bytes. */
static bool encode_whole(struct cairn_slice c, bool flat_top, size_t max,
			 struct name *out)
{
	size_t n = 0;

	if (c.len > max)
		return false;
	if (!needs_quoting(c, flat_top)) {
		memcpy(out->bytes, c.data, c.len);
		out->len = c.len;
		return true;
	}
	out->bytes[n++] = '%';
	for (size_t i = 0; i < c.len; i++) {
		bool special = c.data[i] == '%' || c.data[i] == 0;

		if (n + (special ? 3 : 1) > max)
			return false;
		if (!special) {
			out->bytes[n++] = c.data[i];
			continue;
		}
		memcpy(out->bytes + n, c.data[i] ? "%25" : "%00", 3);
		n += 3;
	}
	out->len = n;
	return true;
}

size_t name_encode(struct cairn_slice c, bool flat_top, struct name *out)
{
	size_t take = c.len < CUT_LEN_MAX ? c.len : CUT_LEN_MAX;

	if (encode_whole(c, flat_top, NAME_LEN_MAX, out))
		return c.len;
	/* One byte always fits. Whether a prefix needs quoting changes from
	 * byte to byte, so only trying tells. */
	while (!encode_whole(slice_of(c.data, take), flat_top, CUT_LEN_MAX,
			     out))
		take--;
	memcpy(out->bytes + out->len, "%+", 2);
	out->len += 2;
	return take;
}

void name_make_history(struct name *n)
{
	memcpy(n->bytes + n->len, "%@", 2);
	n->len += 2;
}

/* A name that is not reserved: what it stands for. */
static bool decode_plain(struct cairn_slice n, bool flat_top,
			 struct name_bytes *out)
{
	if (n.len == 0 || n.len > NAME_LEN_MAX || is_dots(n) ||
	    is_reserved(n) || memchr(n.data, 0, n.len) ||
	    memchr(n.data, '/', n.len) ||
	    (flat_top && slice_eq(n, slice_str(NAME_CONTROL))))
		return false;
	if (n.data[0] == '%' &&
	    unquote(n.data + 1, n.len - 1, out->bytes, &out->len) &&
	    needs_quoting(slice_of(out->bytes, out->len), flat_top))
		return true;
	memcpy(out->bytes, n.data, n.len);
	out->len = n.len;
	return true;
}

enum name_kind name_decode(struct cairn_slice n, bool flat_top,
			   struct name_bytes *out)
{
	enum name_kind kind = NAME_PART;

	out->len = 0;
	if (n.len == 2 && ends_with(n, '%', '='))
		return NAME_VALUE;
	if (ends_with(n, '%', '+'))
		kind = NAME_CUT;
	else if (ends_with(n, '%', '@'))
		kind = NAME_HISTORY;
	if (kind != NAME_PART)
		n.len -= 2;
	if ((kind == NAME_CUT && n.len > CUT_LEN_MAX) ||
	    !decode_plain(n, flat_top, out)) {
		out->len = 0;
		return NAME_BAD;
	}
	return kind;
}

bool name_is_cut_at(struct cairn_slice c, bool flat_top, size_t cut_len)
{
	struct name n;
	size_t done = 0;

	while (done < cut_len) {
		size_t take = name_encode(slice_of(c.data + done, c.len - done),
					  flat_top && !done, &n);

		if (take == c.len - done)
			return false;
		done += take;
	}
	return done == cut_len;
}

/* The names of one component, '/' between them. */
static int append_component(struct cairn_slice c, struct buf *out)
{
	struct name n;
	int err;

	for (;;) {
		size_t take = name_encode(c, false, &n);

		err = buf_append(out, n.bytes, n.len);
		if (err || take == c.len)
			return err;
		slice_advance(&c, take);
		err = buf_append(out, "/", 1);
		if (err)
			return err;
	}
}

int name_key_to_path(struct cairn_slice key, struct buf *out)
{
	size_t was = out->len;
	int err;

	for (;;) {
		const uint8_t *slash =
			key.len ? memchr(key.data, '/', key.len) : NULL;
		size_t len = slash ? (size_t)(slash - key.data) : key.len;

		err = append_component(slice_of(key.data, len), out);
		if (err || !slash)
			break;
		err = buf_append(out, "/", 1);
		if (err)
			break;
		slice_advance(&key, len + 1);
	}
	if (err)
		out->len = was;
	return err;
}

static int bad_path(void)
{
	return error_set(CAIRN_EINVAL, "not the path of a key");
}

/*
 * Names with cuts before them: start is where their component began in out,
 * bounds the ends of the cuts so far.
 */
static int close_component(struct cairn_slice c, const struct buf *cuts)
{
	for (size_t i = 0; i < cuts->len; i += 4)
		if (!name_is_cut_at(c, false, load_le32(cuts->data + i)))
			return bad_path();
	return CAIRN_OK;
}

static int path_to_key(struct cairn_slice path, struct buf *key,
		       struct buf *cuts)
{
	size_t start = key->len, first = key->len;
	struct name_bytes b;
	int err = CAIRN_OK;

	while (!err) {
		const uint8_t *slash =
			path.len ? memchr(path.data, '/', path.len) : NULL;
		size_t len = slash ? (size_t)(slash - path.data) : path.len;
		enum name_kind kind =
			name_decode(slice_of(path.data, len), false, &b);

		if (kind == NAME_VALUE && !slash && !cuts->len &&
		    key->len > first) {
			key->len--; /* the '/' of the directory it is */
			return CAIRN_OK;
		}
		if (kind != NAME_PART && kind != NAME_CUT)
			return bad_path();
		err = buf_append(key, b.bytes, b.len);
		if (!err && kind == NAME_CUT)
			err = slash ? buf_append_le32(
					      cuts,
					      (uint32_t)(key->len - start))
				    : bad_path();
		if (!err && kind == NAME_PART) {
			err = close_component(
				slice_of(key->data + start, key->len - start),
				cuts);
			buf_clear(cuts);
			if (err || !slash)
				return err;
			err = buf_append(key, "/", 1);
			start = key->len;
		}
		if (slash)
			slice_advance(&path, len + 1);
	}
	return err;
}

int name_path_to_key(struct cairn_slice path, struct buf *out)
{
	struct buf cuts = { 0 };
	size_t was = out->len;
	int err = path_to_key(path, out, &cuts);

	buf_fini(&cuts);
	if (err)
		out->len = was;
	return err;
}
