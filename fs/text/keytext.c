/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/keytext.h"

#include "engine/base/error.h"

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t keytext_utf8(const uint8_t *p, const uint8_t *end)
{
	static const struct {
		uint8_t lead_from, lead_to, second_from, second_to, len;
	} forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (p < end && *p < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (*p < forms[i].lead_from || *p > forms[i].lead_to)
			continue;
		if (end - p < forms[i].len || p[1] < forms[i].second_from ||
		    p[1] > forms[i].second_to)
			return 0;
		for (size_t j = 2; j < forms[i].len; j++)
			if ((p[j] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

int keytext_escape(struct cairn_slice key, struct buf *out)
{
	const uint8_t *p = key.data, *end = p + key.len;
	int err = CAIRN_OK;

	while (p < end && !err) {
		size_t n = keytext_utf8(p, end);

		if (n == 0 || *p < 0x20 || *p == 0x7f || *p == '%') {
			err = buf_printf(out, "%%%02X", *p);
			p++;
		} else {
			err = buf_append(out, p, n);
			p += n;
		}
	}
	return err;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte that two digits make; -1 when they are none. */
static int hex_pair(const char *p)
{
	int high = hex_digit(p[0]);
	int low = high < 0 ? -1 : hex_digit(p[1]);

	return low < 0 ? -1 : high << 4 | low;
}

int keytext_unescape(const char *text, struct buf *key)
{
	int err = CAIRN_OK;

	for (const char *p = text; *p && !err; p++) {
		uint8_t byte = (uint8_t)*p;

		if (*p == '%') {
			int pair = hex_pair(p + 1);

			if (pair < 0)
				return error_set(CAIRN_EINVAL,
						 "%s: %% must be followed by "
						 "two hex digits (%%25 is %%)",
						 text);
			byte = (uint8_t)pair;
			p += 2;
		}
		err = buf_append(key, &byte, 1);
	}
	return err;
}

int keytext_hex(struct cairn_slice bytes, struct buf *out)
{
	static const char digits[] = "0123456789abcdef";
	int err = buf_reserve(out, 2 * bytes.len);

	if (err)
		return err;
	for (size_t i = 0; i < bytes.len; i++) {
		out->data[out->len++] = (uint8_t)digits[bytes.data[i] >> 4];
		out->data[out->len++] = (uint8_t)digits[bytes.data[i] & 15];
	}
	return CAIRN_OK;
}

int keytext_unhex(const char *text, struct buf *bytes)
{
	const char *p = text;
	int err = CAIRN_OK;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		p += 2;
	for (; *p && !err; p += 2) {
		int pair = hex_pair(p);
		uint8_t byte;

		if (pair < 0)
			return error_set(CAIRN_EINVAL,
					 "%s: not pairs of hex digits", text);
		byte = (uint8_t)pair;
		err = buf_append(bytes, &byte, 1);
	}
	return err;
}
