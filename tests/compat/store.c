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

void changes_clear(struct changes *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free((void *)(uintptr_t)c->v[i].key.data);
		free((void *)(uintptr_t)c->v[i].value.data);
	}
	c->n = 0;
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
