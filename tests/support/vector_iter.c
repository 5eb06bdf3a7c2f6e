/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/vector_iter.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "tests/support/check.h"

#define NO_FAILURE SIZE_MAX

struct vector_iter {
	struct iter base;
	const struct vector *v;
	size_t pos; /* v->n: on no entry */
	size_t fail_at;
	int fail_code;
	size_t calls;
	uint8_t *copy;
	const char *excluded; /* prefix; NULL: none */
};

static const struct {
	char letter;
	uint8_t kind;
} letters[] = {
	{ 'p', KIND_PUT },           { 'd', KIND_DELETE },
	{ 's', KIND_SINGLE_DELETE }, { 'm', KIND_MERGE },
	{ 'r', KIND_RANGE_DELETE },  { '?', 0x7f },
};

#define N_LETTERS (sizeof(letters) / sizeof(letters[0]))

void vector_fini(struct vector *v)
{
	for (size_t i = 0; i < v->n; i++) {
		free((void *)(uintptr_t)v->entries[i].key.user_key.data);
		free((void *)(uintptr_t)v->entries[i].value.data);
	}
	free(v->entries);
	*v = (struct vector){ 0 };
}

void vector_add(struct vector *v, struct cairn_slice key, uint64_t seqno,
		uint8_t kind, struct cairn_slice value)
{
	struct vector_entry *e;

	/* Grows at powers of two. */
	if ((v->n & (v->n - 1)) == 0) {
		v->entries =
			realloc(v->entries, (v->n ? 2 * v->n : 1) * sizeof(*e));
		ck_assert(v->entries);
	}
	e = &v->entries[v->n++];
	ck_assert_int_eq(slice_dup(key, &e->key.user_key), CAIRN_OK);
	ck_assert_int_eq(slice_dup(value, &e->value), CAIRN_OK);
	e->key.trailer = ikey_pack(seqno, kind);
}

static uint8_t kind_of_letter(char letter)
{
	for (size_t i = 0; i < N_LETTERS; i++)
		if (letters[i].letter == letter)
			return letters[i].kind;
	ck_abort_msg("no kind is called %c", letter);
}

void vector_parse(struct vector *v, const char *text)
{
	while (*text) {
		const char *hash, *stop;
		char *kind;
		uint64_t seqno;

		if (*text == ' ') {
			text++;
			continue;
		}
		stop = text + strcspn(text, " ");
		hash = memchr(text, '#', (size_t)(stop - text));
		ck_assert_msg(hash, "no seqno in \"%s\"", text);
		seqno = strtoull(hash + 1, &kind, 10);
		ck_assert(kind > hash + 1 && kind < stop);
		vector_add(v, slice_of(text, (size_t)(hash - text)), seqno,
			   kind_of_letter(*kind),
			   slice_of(kind + 1, (size_t)(stop - kind - 1)));
		text = stop;
	}
}

static int compare_entries(const void *a, const void *b)
{
	const struct vector_entry *x = a, *y = b;

	return ikey_cmp(&x->key, &y->key);
}

void vector_sort(struct vector *v)
{
	if (v->n)
		qsort(v->entries, v->n, sizeof(v->entries[0]), compare_entries);
}

void vector_format(struct buf *out, const struct ikey *key,
		   struct cairn_slice value)
{
	char letter = '?';
	int err;

	for (size_t i = 0; i < N_LETTERS; i++)
		if (letters[i].kind == ikey_kind(key))
			letter = letters[i].letter;
	err = buf_printf(out, "%s%.*s#%llu%c%.*s", out->len ? " " : "",
			 (int)key->user_key.len,
			 (const char *)key->user_key.data,
			 (unsigned long long)ikey_seqno(key), letter,
			 (int)value.len, (const char *)value.data);
	ck_assert_int_eq(err, CAIRN_OK);
}

/* -------------------------------------------------------------- iterator */

static void stand_on(struct vector_iter *vi, size_t pos)
{
	const struct vector_entry *e;
	size_t key_len;

	free(vi->copy);
	vi->copy = NULL;
	vi->calls++;
	vi->pos = pos;
	vi->base.valid = false;
	vi->base.status = CAIRN_OK;
	if (pos == vi->fail_at) {
		vi->base.status = error_set(vi->fail_code, "as the test wants");
		return;
	}
	if (pos == vi->v->n)
		return;
	e = &vi->v->entries[pos];
	key_len = e->key.user_key.len;
	vi->copy = malloc(key_len + e->value.len + 1);
	ck_assert(vi->copy);
	memcpy(vi->copy, e->key.user_key.data, key_len);
	memcpy(vi->copy + key_len, e->value.data, e->value.len);
	vi->base.key.user_key = slice_of(vi->copy, key_len);
	vi->base.key.trailer = e->key.trailer;
	vi->base.value = slice_of(vi->copy + key_len, e->value.len);
	vi->base.valid = true;
}

/* Index of the first entry >= *target. */
static size_t find(const struct vector *v, const struct ikey *target)
{
	size_t i = 0;

	while (i < v->n && ikey_cmp(&v->entries[i].key, target) < 0)
		i++;
	return i;
}

static void vector_first(struct iter *it)
{
	stand_on((struct vector_iter *)it, 0);
}

static void vector_last(struct iter *it)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	stand_on(vi, vi->v->n ? vi->v->n - 1 : 0);
}

static void vector_seek_ge(struct iter *it, const struct ikey *target)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	stand_on(vi, find(vi->v, target));
}

static void vector_seek_prefix_ge(struct iter *it, const struct ikey *target,
				  struct cairn_slice prefix)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	if (vi->excluded && slice_eq(prefix, slice_str(vi->excluded)))
		stand_on(vi, vi->v->n);
	else
		vector_seek_ge(it, target);
}

static void vector_seek_lt(struct iter *it, const struct ikey *target)
{
	struct vector_iter *vi = (struct vector_iter *)it;
	size_t i = find(vi->v, target);

	stand_on(vi, i ? i - 1 : vi->v->n);
}

static void vector_next(struct iter *it)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	assert(it->valid);
	stand_on(vi, vi->pos + 1);
}

static void vector_prev(struct iter *it)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	assert(it->valid);
	stand_on(vi, vi->pos ? vi->pos - 1 : vi->v->n);
}

static void vector_close(struct iter *it)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	free(vi->copy);
	free(vi);
}

static const struct iter_ops vector_ops = {
	.first = vector_first,
	.last = vector_last,
	.seek_ge = vector_seek_ge,
	.seek_lt = vector_seek_lt,
	.seek_prefix_ge = vector_seek_prefix_ge,
	.next = vector_next,
	.prev = vector_prev,
	.close = vector_close,
};

struct iter *vector_iter_new(const struct vector *v)
{
	struct vector_iter *vi = calloc(1, sizeof(*vi));

	ck_assert(vi);
	vi->base.ops = &vector_ops;
	vi->v = v;
	vi->pos = v->n;
	vi->fail_at = NO_FAILURE;
	return &vi->base;
}

void vector_iter_fail_at(struct iter *it, size_t i, int code)
{
	struct vector_iter *vi = (struct vector_iter *)it;

	vi->fail_at = i;
	vi->fail_code = code;
}

void vector_iter_exclude(struct iter *it, const char *prefix)
{
	((struct vector_iter *)it)->excluded = prefix;
}

size_t vector_iter_calls(const struct iter *it)
{
	return ((const struct vector_iter *)it)->calls;
}
