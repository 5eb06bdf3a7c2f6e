/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/compat/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/compat/die.h"

const char *const move_names[N_MOVES] = {
	"first", "last", "next", "prev", "seek_ge", "seek_lt",
};

void changes_add(struct changes *c, enum change_kind kind,
		 struct cairn_slice key, struct cairn_slice value)
{
	struct change *ch;

	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		c->v = must_have(realloc(c->v, c->cap * sizeof(*c->v)));
	}
	ch = &c->v[c->n++];
	ch->kind = kind;
	must(slice_dup(key, &ch->key), "copy");
	must(slice_dup(value, &ch->value), "copy");
}

static void change_free(struct change *c)
{
	free((void *)(uintptr_t)c->key.data);
	free((void *)(uintptr_t)c->value.data);
}

void changes_clear(struct changes *c)
{
	while (c->n > 0)
		change_free(&c->v[--c->n]);
}

static int by_key(const void *a, const void *b)
{
	return slice_cmp(((const struct change *)a)->key,
			 ((const struct change *)b)->key);
}

void changes_sort(struct changes *c)
{
	size_t n = 0;

	if (!c->n)
		return;
	qsort(c->v, c->n, sizeof(*c->v), by_key);
	for (size_t i = 0; i < c->n; i++)
		if (n && slice_eq(c->v[n - 1].key, c->v[i].key))
			change_free(&c->v[i]);
		else
			c->v[n++] = c->v[i];
	c->n = n;
}

void changes_fini(struct changes *c)
{
	changes_clear(c);
	free(c->v);
	*c = (struct changes){ 0 };
}

void draw(struct rng *rng, const char *values, char *out)
{
	uint64_t n = 1, i;
	size_t len;

	for (const char *p = values; *p; p++)
		n += *p == '|';
	for (i = rng_below(rng, n); i > 0; i--)
		values = strchr(values, '|') + 1;
	len = strcspn(values, "|");
	memcpy(out, values, len);
	out[len] = '\0';
}

void settings_add(struct store *s, const char *fmt, ...)
{
	size_t used = strlen(s->settings);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->settings + used, SETTINGS_LEN - used, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= SETTINGS_LEN - used)
		die("settings too long: %s", s->settings);
}
