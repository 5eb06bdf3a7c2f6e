/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/view.h"

#include <stdlib.h>

#include "tests/compat/die.h"

static void drop(struct view *v, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		word_unref(v->v[i].key);
		word_unref(v->v[i].value);
	}
	memmove(v->v + from, v->v + to, (v->n - to) * sizeof(*v->v));
	v->n -= to - from;
}

void view_fini(struct view *v)
{
	if (v->n)
		drop(v, 0, v->n);
	free(v->v);
	*v = (struct view){ 0 };
}

void view_copy(struct view *to, const struct view *from)
{
	to->n = to->cap = from->n;
	to->v = must_have(calloc(from->n + 1, sizeof(*to->v)));
	for (size_t i = 0; i < from->n; i++) {
		to->v[i] = from->v[i];
		word_ref(to->v[i].key);
		word_ref(to->v[i].value);
	}
}

size_t view_lower_bound(const struct view *v, struct cairn_slice key)
{
	size_t low = 0, high = v->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slice_cmp(word_slice(v->v[mid].key), key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct entry *view_find(const struct view *v, struct cairn_slice key)
{
	size_t at = view_lower_bound(v, key);

	return at < v->n && slice_eq(word_slice(v->v[at].key), key) ? &v->v[at]
								    : NULL;
}

/* The entry of key, made when it is not there, then with value NULL. */
static struct entry *entry_of(struct view *v, struct cairn_slice key)
{
	size_t at = view_lower_bound(v, key);

	if (at < v->n && slice_eq(word_slice(v->v[at].key), key))
		return &v->v[at];
	if (v->n == v->cap) {
		v->cap = v->cap ? 2 * v->cap : 64;
		v->v = must_have(realloc(v->v, v->cap * sizeof(*v->v)));
	}
	memmove(v->v + at + 1, v->v + at, (v->n - at) * sizeof(*v->v));
	v->v[at] = (struct entry){ .key = word_new(key) };
	v->n++;
	return &v->v[at];
}

void view_put(struct view *v, struct cairn_slice key, struct word *value)
{
	struct entry *e = entry_of(v, key);

	e->once = !e->value;
	word_unref(e->value);
	e->value = word_ref(value);
}

void view_delete(struct view *v, struct cairn_slice key)
{
	size_t at = view_lower_bound(v, key);

	if (at < v->n && slice_eq(word_slice(v->v[at].key), key))
		drop(v, at, at + 1);
}

void view_delete_range(struct view *v, struct cairn_slice start,
		       struct cairn_slice end)
{
	size_t from = view_lower_bound(v, start);
	size_t to = view_lower_bound(v, end);

	if (from < to)
		drop(v, from, to);
}

void view_merge(struct view *v, const struct merge *m, struct cairn_slice key,
		struct cairn_slice operand)
{
	struct entry *e = entry_of(v, key);
	struct buf result = { 0 };

	m->apply(e->value ? word_slice(e->value) : slice_of(NULL, 0), operand,
		 &result);
	word_unref(e->value);
	e->value = word_new(buf_slice(&result));
	e->once = false;
	buf_fini(&result);
}
