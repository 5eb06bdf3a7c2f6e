/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/version_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "tests/support/runner.h"

#define KEY_MAX 128

static void skip_spaces(const char **s)
{
	while (**s == ' ' || **s == '\t')
		++*s;
}

static uint64_t parse_u64(const char **s)
{
	char *end;
	uint64_t v = strtoull(*s, &end, 10);

	ck_assert_msg(end != *s, "number expected: %.20s", *s);
	*s = end;
	return v;
}

uint64_t parse_bytes(const char **s)
{
	static const char suffixes[] = "KMGT";
	uint64_t v = parse_u64(s);

	for (unsigned i = 0; suffixes[i]; i++) {
		if (**s == suffixes[i]) {
			++*s;
			return v << (10 * (i + 1));
		}
	}
	return v;
}

static void expect(const char **s, char c)
{
	ck_assert_msg(**s == c, "'%c' expected: %.20s", c, *s);
	++*s;
}

/* A user key up to one of the stops, "." being the empty one. */
static size_t parse_key(const char **s, const char *stops, uint8_t *out)
{
	size_t len = strcspn(*s, stops);

	ck_assert_uint_lt(len, KEY_MAX);
	memcpy(out, *s, len);
	*s += len;
	return len == 1 && out[0] == '.' ? 0 : len;
}

/* "40@7" */
static void parse_garbage(const char **s, struct file_meta *f)
{
	struct garbage *g = malloc(sizeof(*g) + sizeof(g->step[0]));

	ck_assert_ptr_nonnull(g);
	g->n = 1;
	g->step[0].bytes = f->size / 100 * parse_u64(s);
	expect(s, '@');
	g->step[0].position = parse_u64(s);
	file_meta_set_garbage(f, g);
}

/* "9:[a-m]#31-40 16M" */
static struct file_meta *parse_file(const char **s)
{
	uint8_t low[KEY_MAX + 8], high[KEY_MAX + 8];
	uint64_t first_seqno = 0, last_seqno = 0;
	uint64_t number, size, high_trailer;
	size_t low_len, high_len;
	struct file_meta *f;
	bool exclusive;

	number = parse_u64(s);
	expect(s, ':');
	expect(s, '[');
	low_len = parse_key(s, "-", low);
	expect(s, '-');
	high_len = parse_key(s, ")]", high);
	exclusive = *(*s)++ == ')';
	if (**s == '#') {
		++*s;
		first_seqno = last_seqno = parse_u64(s);
		if (**s == '-') {
			++*s;
			last_seqno = parse_u64(s);
		}
	}
	skip_spaces(s);
	size = parse_bytes(s);
	put_le64(low + low_len, ikey_pack(last_seqno, KIND_PUT));
	high_trailer = exclusive ? ikey_pack(SEQNO_MAX, KIND_RANGE_DELETE)
				 : ikey_pack(first_seqno, KIND_PUT);
	put_le64(high + high_len, high_trailer);
	ck_assert_int_eq(file_meta_new(number, size, slice_of(low, low_len + 8),
				       slice_of(high, high_len + 8),
				       first_seqno, last_seqno, &f),
			 CAIRN_OK);
	for (;; ++*s) {
		if (**s == '~') {
			f->seqnos_known = false;
		} else if (**s == '=') {
			f->dense = true;
		} else if (**s == '*') {
			f->reads_left = 0;
		} else if (**s == '!') {
			++*s;
			f->entries = 100;
			f->deletions = parse_u64(s);
			--*s;
		} else if (**s == '%') {
			++*s;
			parse_garbage(s, f);
			--*s;
		} else if (**s == '^') {
			++*s;
			f->dead_seqno = parse_u64(s);
			--*s;
		} else {
			break;
		}
	}
	return f;
}

void edit_parse(const char *text, struct version_edit *e)
{
	int level = -1;

	for (;;) {
		struct file_meta *f;

		while (*text == ' ' || *text == '\t' || *text == '\n')
			text++;
		if (!*text)
			return;
		if (*text == 'L') {
			text++;
			level = (int)parse_u64(&text);
			expect(&text, ':');
			continue;
		}
		ck_assert_int_ge(level, 0);
		f = parse_file(&text);
		ck_assert_int_eq(version_edit_add_file(e, level, f), CAIRN_OK);
		file_meta_unref(f);
	}
}

int version_parse(const char *text, struct version **out)
{
	struct version_edit e = { 0 };
	struct version *empty;
	int err;

	edit_parse(text, &e);
	ck_assert_int_eq(version_new(&empty), CAIRN_OK);
	err = version_apply(empty, &e, out);
	version_unref(empty);
	version_edit_fini(&e);
	return err;
}

struct file_meta *version_file(const struct version *v, uint64_t number)
{
	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; i < v->level[level].n; i++)
			if (v->level[level].files[i]->number == number)
				return v->level[level].files[i];
	return NULL;
}
