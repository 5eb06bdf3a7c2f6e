/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/jsontext.h"

#include "fs/text/keytext.h"

/* One byte that JSON does not take as it is. */
static int escape(uint8_t b, struct buf *out)
{
	switch (b) {
	case '"':
		return buf_append(out, "\\\"", 2);
	case '\\':
		return buf_append(out, "\\\\", 2);
	case '\n':
		return buf_append(out, "\\n", 2);
	case '\t':
		return buf_append(out, "\\t", 2);
	default:
		return buf_printf(out, "\\u%04x", b);
	}
}

int jsontext_string(struct cairn_slice text, struct buf *out)
{
	const uint8_t *p = text.data, *end = p + text.len;
	int err = buf_append(out, "\"", 1);

	while (p < end && !err) {
		size_t n = keytext_utf8(p, end);

		if (n == 0)
			err = buf_append(out, "\\ufffd", 6);
		else if (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f)
			err = escape(*p, out);
		else
			err = buf_append(out, p, n);
		p += n ? n : 1;
	}
	return err ? err : buf_append(out, "\"", 1);
}

static bool is_utf8(struct cairn_slice s)
{
	const uint8_t *p = s.data, *end = p + s.len;

	while (p < end) {
		size_t n = keytext_utf8(p, end);

		if (n == 0)
			return false;
		p += n;
	}
	return true;
}

static int base64(struct cairn_slice s, struct buf *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+/";
	int err = buf_reserve(out, (s.len + 2) / 3 * 4);

	if (err)
		return err;
	for (size_t i = 0; i < s.len; i += 3) {
		size_t left = s.len - i;
		uint32_t v = (uint32_t)s.data[i] << 16;

		if (left > 1)
			v |= (uint32_t)s.data[i + 1] << 8;
		if (left > 2)
			v |= s.data[i + 2];
		for (unsigned k = 0; k < 4; k++)
			out->data[out->len++] =
				k <= left
					? (uint8_t)
						  digits[v >> (18 - 6 * k) & 63]
					: '=';
	}
	return CAIRN_OK;
}

int jsontext_value(const char *name, struct cairn_slice value, struct buf *out)
{
	int err;

	if (is_utf8(value)) {
		err = buf_printf(out, "\"%s\":", name);
		return err ? err : jsontext_string(value, out);
	}
	err = buf_printf(out, "\"%s_b64\":\"", name);
	if (!err)
		err = base64(value, out);
	return err ? err : buf_append(out, "\"", 1);
}
