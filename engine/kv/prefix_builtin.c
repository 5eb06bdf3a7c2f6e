/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/prefix_builtin.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"

static size_t fixed(void *ctx, struct cairn_slice key)
{
	const struct prefix_builtin *p = ctx;

	return key.len < p->len ? SIZE_MAX : p->len;
}

static size_t capped(void *ctx, struct cairn_slice key)
{
	const struct prefix_builtin *p = ctx;

	return key.len < p->len ? key.len : p->len;
}

static const struct {
	const char *before_len;
	size_t (*prefix_len)(void *ctx, struct cairn_slice key);
} known[] = {
	{ "rocksdb.FixedPrefix.", fixed },
	{ "rocksdb.CappedPrefix.", capped },
};

#define N_KNOWN (sizeof(known) / sizeof(known[0]))

/* Decimal, without a needless 0: names are compared as they are. */
static bool parse_len(const char *s, size_t *out)
{
	size_t v = 0;

	if (!isdigit((unsigned char)*s) || (*s == '0' && s[1]))
		return false;
	for (; isdigit((unsigned char)*s); s++) {
		v = v * 10 + (size_t)(*s - '0');
		if (v > CAIRN_KEY_MAX)
			return false;
	}
	*out = v;
	return *s == '\0';
}

int prefix_builtin_new(const char *name, struct prefix_builtin **out)
{
	for (size_t i = 0; i < N_KNOWN; i++) {
		size_t skip = strlen(known[i].before_len);
		struct prefix_builtin *p;
		size_t len;

		if (strncmp(name, known[i].before_len, skip) != 0 ||
		    !parse_len(name + skip, &len))
			continue;
		p = calloc(1, sizeof(*p));
		if (!p)
			return error_nomem();
		snprintf(p->name, sizeof(p->name), "%s", name);
		p->len = len;
		p->px = (struct cairn_prefix_extractor){
			.name = p->name,
			.ctx = p,
			.prefix_len = known[i].prefix_len,
		};
		*out = p;
		return CAIRN_OK;
	}
	return CAIRN_NOT_FOUND;
}

void prefix_builtin_free(struct prefix_builtin *p)
{
	free(p);
}
