/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/cmd_keyset.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"

#define CAP_MIN 1024

void keyset_fini(struct keyset *s)
{
	free(s->hashes);
	*s = (struct keyset){ 0 };
}

void keyset_clear(struct keyset *s)
{
	if (s->n)
		memset(s->hashes, 0, s->cap * sizeof(*s->hashes));
	s->n = 0;
}

/* Where hash is, or would be. */
static uint64_t *slot_of(const struct keyset *s, uint64_t hash)
{
	size_t i = (size_t)(hash >> 1) & (s->cap - 1);

	while (s->hashes[i] && s->hashes[i] != hash)
		i = (i + 1) & (s->cap - 1);
	return &s->hashes[i];
}

static int grow(struct keyset *s)
{
	struct keyset bigger = { .cap = s->cap ? 2 * s->cap : CAP_MIN,
				 .n = s->n };

	bigger.hashes = calloc(bigger.cap, sizeof(*bigger.hashes));
	if (!bigger.hashes)
		return error_nomem();
	for (size_t i = 0; i < s->cap; i++)
		if (s->hashes[i])
			*slot_of(&bigger, s->hashes[i]) = s->hashes[i];
	free(s->hashes);
	*s = bigger;
	return CAIRN_OK;
}

int keyset_add(struct keyset *s, struct cairn_slice key, bool *seen)
{
	uint64_t hash = hash64(key.data, key.len) | 1, *slot;

	if (2 * (s->n + 1) > s->cap) {
		int err = grow(s);

		if (err)
			return err;
	}
	slot = slot_of(s, hash);
	*seen = *slot == hash;
	s->n += !*seen;
	*slot = hash;
	return CAIRN_OK;
}
