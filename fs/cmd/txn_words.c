/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/txn_words.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/text/keytext.h"

/* A message shows so much of what it is about. */
#define SHOWN_MAX 40u

struct owned {
	struct owned *next;
	uint8_t bytes[];
};

/* ---------------------------------------------------------------- messages */

int txn_bad(const struct txn_parse *p, size_t at, const char *what)
{
	return error_set(CAIRN_EINVAL, "line %u, column %zu: %s", p->line,
			 at + 1, what);
}

int txn_bad_word(const struct txn_parse *p, const struct txn_word *w,
		 const char *what)
{
	size_t len = w->text.len < SHOWN_MAX ? w->text.len : SHOWN_MAX;
	struct buf shown = { 0 };
	int err = keytext_escape(slice_of(w->text.data, len), &shown);

	if (!err)
		err = error_set(CAIRN_EINVAL, "line %u, column %zu: %.*s: %s",
				p->line, w->at + 1, (int)shown.len,
				shown.len ? (const char *)shown.data : "",
				what);
	buf_fini(&shown);
	return err;
}

int txn_bad_because(const struct txn_parse *p, size_t at, int err)
{
	char why[200];

	if (err != CAIRN_EINVAL)
		return err;
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	return txn_bad(p, at, why);
}

/* ------------------------------------------------------------------- words */

uint8_t *txn_own(struct txn_parse *p, size_t n)
{
	struct owned *o = malloc(sizeof(*o) + n + 1);

	if (!o)
		return NULL;
	o->next = p->out->owned;
	p->out->owned = o;
	o->bytes[n] = '\0';
	return o->bytes;
}

void txn_skip_blanks(struct txn_parse *p)
{
	while (p->at < p->len && txn_is_blank(p->p[p->at]))
		p->at++;
}

int txn_take_until(struct txn_parse *p, size_t end, struct txn_word *w)
{
	size_t n = end - p->at;
	uint8_t *bytes = txn_own(p, n);

	if (!bytes)
		return error_nomem();
	if (n)
		memcpy(bytes, p->p + p->at, n);
	w->text = slice_of(bytes, n);
	return CAIRN_OK;
}

static int digit_value(uint8_t b)
{
	if (b >= '0' && b <= '9')
		return b - '0';
	b |= 0x20;
	return b >= 'a' && b <= 'f' ? b - 'a' + 10 : 16;
}

/* n digits at p->at as a number; false when they are not there. */
static bool take_digits(struct txn_parse *p, unsigned n, int base, uint32_t *v)
{
	*v = 0;
	if (n > p->len - p->at)
		return false;
	for (; n; n--, p->at++) {
		int d = digit_value(p->p[p->at]);

		if (d >= base)
			return false;
		*v = *v * (uint32_t)base + (uint32_t)d;
	}
	return true;
}

/* As UTF-8; returns its length, 0 when it is no code point. */
static size_t put_utf8(uint32_t v, uint8_t *out)
{
	size_t n = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
	static const uint8_t heads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	if (v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	for (size_t i = n - 1; i > 0; i--, v >>= 6)
		out[i] = (uint8_t)(0x80 | (v & 0x3f));
	out[0] = (uint8_t)(heads[n] | v);
	return n;
}

/* What is behind a backslash, at p->at: at most as long as it is written. */
static int take_escape(struct txn_parse *p, uint8_t *out, size_t *n)
{
	static const char letters[] = "abfnrtv\\\"";
	static const char bytes[] = "\a\b\f\n\r\t\v\\\"";
	size_t at = p->at - 1;
	uint8_t b = p->at < p->len ? p->p[p->at] : 0;
	const char *simple = b ? strchr(letters, b) : NULL;
	uint32_t v = 0;
	bool ok = true;

	*n = 1;
	if (simple) {
		p->at++;
		out[0] = (uint8_t)bytes[simple - letters];
		return CAIRN_OK;
	}
	if (b == 'x' || b == 'u' || b == 'U') {
		p->at++;
		ok = take_digits(p, b == 'x' ? 2 : b == 'u' ? 4 : 8, 16, &v);
	} else {
		ok = take_digits(p, 3, 8, &v) && v <= 0xff;
	}
	if (ok && (b == 'u' || b == 'U'))
		*n = put_utf8(v, out);
	else
		out[0] = (uint8_t)v;
	if (!ok || !*n)
		return txn_bad(
			p, at,
			"no such escape: there are \\a \\b \\f \\n \\r \\t "
			"\\v \\\\ \\\" \\xHH \\OOO \\uHHHH \\UHHHHHHHH");
	return CAIRN_OK;
}

/* A string in double quotes; p->at is behind the first of them. */
static int take_quoted(struct txn_parse *p, struct txn_word *w)
{
	size_t end = p->at, n = 0, some;
	uint8_t *bytes;
	int err;

	while (end < p->len && p->p[end] != '"')
		end += p->p[end] == '\\' ? 2 : 1;
	if (end > p->len)
		end = p->len;
	bytes = txn_own(p, end - p->at);
	if (!bytes)
		return error_nomem();
	while (p->at < end) {
		uint8_t b = p->p[p->at++];

		if (b != '\\') {
			bytes[n++] = b;
			continue;
		}
		err = take_escape(p, bytes + n, &some);
		if (err)
			return err;
		n += some;
	}
	if (p->at == p->len)
		return txn_bad(p, w->at, "the string is not closed");
	p->at++;
	bytes[n] = '\0';
	w->text = slice_of(bytes, n);
	return CAIRN_OK;
}

/* A string between two of quote, as it is. */
static int take_verbatim(struct txn_parse *p, uint8_t quote, struct txn_word *w)
{
	const uint8_t *end =
		p->at < p->len ? memchr(p->p + p->at, quote, p->len - p->at)
			       : NULL;
	int err;

	if (!end)
		return txn_bad(p, w->at, "the string is not closed");
	err = txn_take_until(p, (size_t)(end - p->p), w);
	p->at = (size_t)(end - p->p) + 1;
	return err;
}

int txn_take_string(struct txn_parse *p, bool back_quotes, struct txn_word *w)
{
	uint8_t b = p->at < p->len ? p->p[p->at] : 0;

	*w = (struct txn_word){ .at = p->at, .quoted = true };
	if (b != '"' && b != '\'' && !(back_quotes && b == '`'))
		return CAIRN_NOT_FOUND;
	p->at++;
	return b == '"' ? take_quoted(p, w) : take_verbatim(p, b, w);
}

int txn_take_word(struct txn_parse *p, struct txn_word *w)
{
	int err = txn_take_string(p, false, w);
	size_t end = p->at;

	if (err == CAIRN_NOT_FOUND) {
		w->quoted = false;
		while (end < p->len && !txn_is_blank(p->p[end]))
			end++;
		err = txn_take_until(p, end, w);
		p->at = end;
	}
	if (!err && p->at < p->len && !txn_is_blank(p->p[p->at]))
		err = txn_bad(p, p->at, "a blank is missing behind the string");
	return err;
}

void txn_free_owned(struct txn_text *t)
{
	struct owned *o = t->owned;

	while (o) {
		struct owned *next = o->next;

		free(o);
		o = next;
	}
	t->owned = NULL;
}
