/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys and values of every shape, the same ones for the same seed. */
#ifndef CAIRN_TESTS_COMPAT_KEYS_H
#define CAIRN_TESTS_COMPAT_KEYS_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"

/*
 * n keys, numbered from 0. Number 0 is the empty key; some are random bytes of
 * an alphabet of four, some are thousands of bytes long, most are short text
 * that sorts as the numbers do. A few numbers share a key.
 */
struct keys {
	uint64_t seed;
	unsigned n;
};

/* Whether number i is short text. */
bool keys_is_text(unsigned i);

/* The key of number i into out. */
void keys_get(const struct keys *k, unsigned i, struct buf *out);

/* Any of the keys, now and then something beside them. */
void keys_draw(const struct keys *k, struct rng *rng, struct buf *out);

/*
 * A value: none, short, or rarely up to 300 KB; it can be compressed, and
 * serial makes it differ from all others.
 */
void value_draw(struct rng *rng, uint64_t serial, struct buf *out);

#endif
