/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/merge_builtin.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/kv/merge.h"

/* ------------------------------------------------------------ uint64add */

static uint64_t number_of(struct cairn_slice s)
{
	return s.len == 8 ? load_le64(s.data) : 0;
}

static int add_numbers(void *ctx, struct cairn_slice key,
		       const struct cairn_slice *existing,
		       const struct cairn_slice *operands, size_t n,
		       struct cairn_merge_result *out)
{
	uint64_t sum = existing ? number_of(*existing) : 0;
	uint8_t bytes[8];

	(void)ctx;
	(void)key;
	for (size_t i = 0; i < n; i++)
		sum += number_of(operands[i]);
	put_le64(bytes, sum);
	return cairn_merge_append(out, bytes, sizeof(bytes));
}

static int add_partially(void *ctx, struct cairn_slice key,
			 const struct cairn_slice *operands, size_t n,
			 struct cairn_merge_result *out)
{
	return add_numbers(ctx, key, NULL, operands, n, out);
}

/* --------------------------------------------------------- stringappend */

static int join(void *ctx, struct cairn_slice key,
		const struct cairn_slice *existing,
		const struct cairn_slice *operands, size_t n,
		struct cairn_merge_result *out)
{
	const struct merge_builtin *b = ctx;
	int err = CAIRN_OK;

	(void)key;
	if (existing)
		err = cairn_merge_append(out, existing->data, existing->len);
	for (size_t i = 0; i < n && !err; i++) {
		/* Also behind a value of no bytes, which is a value. */
		if (existing || i > 0)
			err = cairn_merge_append(out, b->delimiter.data,
						 b->delimiter.len);
		if (!err)
			err = cairn_merge_append(out, operands[i].data,
						 operands[i].len);
	}
	return err;
}

static int join_partially(void *ctx, struct cairn_slice key,
			  const struct cairn_slice *operands, size_t n,
			  struct cairn_merge_result *out)
{
	return join(ctx, key, NULL, operands, n, out);
}

/* ---------------------------------------------------------------- names */

static const struct known {
	const char *name;
	const char *nick;
	struct cairn_merge_operator op; /* all but ctx */
	bool has_delimiter;
} known[] = {
	{ "UInt64AddOperator",
	  "uint64add",
	  { .full = add_numbers, .partial = add_partially },
	  false },
	{ "StringAppendOperator",
	  "stringappend",
	  { .full = join, .partial = join_partially },
	  true },
	{ "StringAppendTESTOperator",
	  "stringappendtest",
	  { .full = join },
	  true },
};

#define N_KNOWN (sizeof(known) / sizeof(known[0]))

static const struct known *find(struct cairn_slice name)
{
	for (size_t i = 0; i < N_KNOWN; i++)
		if (slice_eq(name, slice_str(known[i].name)) ||
		    slice_eq(name, slice_str(known[i].nick)))
			return &known[i];
	return NULL;
}

static struct cairn_slice trim(struct cairn_slice s)
{
	while (s.len && s.data[0] == ' ')
		slice_advance(&s, 1);
	while (s.len && s.data[s.len - 1] == ' ')
		s.len--;
	return s;
}

/* The inside of {...}; false when text is no such thing. */
static bool braced(struct cairn_slice *text)
{
	if (text->len < 2 || text->data[0] != '{' ||
	    text->data[text->len - 1] != '}')
		return false;
	*text = trim(slice_of(text->data + 1, text->len - 2));
	return true;
}

/*
 * Cut name=value; off the front of rest; false when there is none. A backslash
 * takes the next character with it; a value in braces ends with its brace.
 */
static bool next_setting(struct cairn_slice *rest, struct cairn_slice *name,
			 struct cairn_slice *value)
{
	const uint8_t *eq;
	size_t start, end;
	unsigned depth = 0;

	*rest = trim(*rest);
	eq = rest->len ? memchr(rest->data, '=', rest->len) : NULL;
	if (!eq)
		return false;
	start = (size_t)(eq - rest->data) + 1;
	for (end = start; end < rest->len; end++) {
		uint8_t c = rest->data[end];

		if (c == '\\' && end + 1 < rest->len)
			end++;
		else if (c == '{')
			depth++;
		else if (c == '}' && depth)
			depth--;
		else if (c == ';' && !depth)
			break;
	}
	*name = trim(slice_of(rest->data, start - 1));
	*value = trim(slice_of(rest->data + start, end - start));
	(void)braced(value);
	slice_advance(rest, end < rest->len ? end + 1 : end);
	return true;
}

struct cairn_slice merge_text_name(const char *text)
{
	struct cairn_slice s = trim(slice_str(text));
	struct cairn_slice name, value;

	if (!braced(&s))
		return s;
	while (next_setting(&s, &name, &value))
		if (slice_eq(name, slice_str("id")))
			return value;
	return slice_of(NULL, 0);
}

/* RocksDB's UnescapeOptionString() */
static int unescape(struct cairn_slice s, struct buf *out)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < s.len && !err; i++) {
		uint8_t c = s.data[i];

		if (c == '\\' && i + 1 < s.len) {
			c = s.data[++i];
			c = c == 'n' ? '\n' : c == 'r' ? '\r' : c;
		}
		err = buf_append(out, &c, 1);
	}
	return err;
}

/* What RocksDB 7.8.3 takes for the end of something, however it is escaped. */
static bool can_be_written(struct cairn_slice delimiter)
{
	for (size_t i = 0; i < delimiter.len; i++)
		if (!delimiter.data[i] || strchr(";{}\n\r", delimiter.data[i]))
			return false;
	return slice_eq(trim(delimiter), delimiter);
}

static int set_delimiter(struct merge_builtin *b, struct cairn_slice value)
{
	int err;

	buf_clear(&b->delimiter);
	err = unescape(value, &b->delimiter);
	if (!err && !can_be_written(buf_slice(&b->delimiter)))
		err = error_set(CAIRN_EINVAL,
				"merge operator %s: a delimiter has no braces, "
				"semicolons, ends of lines, or blanks at its "
				"ends",
				b->op.name);
	return err;
}

static int configure(struct merge_builtin *b, const struct known *k,
		     struct cairn_slice settings)
{
	struct cairn_slice name, value;
	int err = CAIRN_OK;

	while (!err && settings.len) {
		if (!next_setting(&settings, &name, &value))
			return error_set(CAIRN_EINVAL,
					 "merge operator %s: \"%.*s\" is no "
					 "setting",
					 k->name, (int)settings.len,
					 (const char *)settings.data);
		if (slice_eq(name, slice_str("id")))
			continue;
		if (k->has_delimiter && slice_eq(name, slice_str("delimiter")))
			err = set_delimiter(b, value);
		else
			err = error_set(CAIRN_EINVAL,
					"merge operator %s has no setting "
					"\"%.*s\"",
					k->name, (int)name.len,
					(const char *)name.data);
	}
	return err;
}

int merge_builtin_new(const char *text, struct merge_builtin **out)
{
	const struct known *k = find(merge_text_name(text));
	struct cairn_slice settings = trim(slice_str(text));
	struct merge_builtin *b;
	int err = CAIRN_OK;

	if (!k)
		return CAIRN_NOT_FOUND;
	b = calloc(1, sizeof(*b));
	if (!b)
		return error_nomem();
	b->op = k->op;
	b->op.name = k->name;
	b->op.ctx = b;
	if (k->has_delimiter)
		err = buf_append(&b->delimiter, ",", 1);
	if (!err && braced(&settings))
		err = configure(b, k, settings);
	if (err) {
		merge_builtin_free(b);
		return err;
	}
	*out = b;
	return CAIRN_OK;
}

int merge_builtin_clone(const struct merge_builtin *b,
			struct merge_builtin **out)
{
	struct merge_builtin *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return error_nomem();
	c->op = b->op;
	c->op.ctx = c;
	err = buf_set(&c->delimiter, buf_slice(&b->delimiter));
	if (err) {
		merge_builtin_free(c);
		return err;
	}
	*out = c;
	return CAIRN_OK;
}

void merge_builtin_free(struct merge_builtin *b)
{
	if (!b)
		return;
	buf_fini(&b->delimiter);
	free(b);
}

int merge_builtin_format(const struct merge_builtin *b, struct buf *out)
{
	const struct known *k = find(slice_str(b->op.name));
	int err;

	if (!k->has_delimiter)
		return buf_printf(out, "%s", k->name);
	err = buf_printf(out, "{id=%s;delimiter=", k->name);
	for (size_t i = 0; i < b->delimiter.len && !err; i++) {
		uint8_t c = b->delimiter.data[i];

		/* RocksDB's isSpecialChar() */
		if (c == '\\' || c == '#' || c == ':')
			err = buf_append(out, "\\", 1);
		if (!err)
			err = buf_append(out, &c, 1);
	}
	return err ? err : buf_printf(out, ";}");
}
