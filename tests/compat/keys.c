/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/compat/keys.h"

#include "tests/compat/die.h"

#define LONG_KEY_MAX 9000

/* Bytes that come before, among and after the letters, and end a varint. */
static const uint8_t alphabet[4] = { 0x00, 'k', 0x80, 0xff };

static void binary_key(struct rng *r, struct buf *out)
{
	size_t n = 1 + rng_below(r, 10);

	for (size_t i = 0; i < n; i++)
		must(buf_append(out, &alphabet[rng_below(r, 4)], 1), "key");
}

static void long_key(struct rng *r, unsigned i, struct buf *out)
{
	size_t n = 200 + rng_below(r, LONG_KEY_MAX);

	must(buf_printf(out, "long%06u", i / 100), "key");
	while (out->len < n)
		must(buf_printf(out, "/%u", i), "key");
}

bool keys_is_text(unsigned i)
{
	return i > 0 && i % 10 != 1 && i % 100 != 2;
}

void keys_get(const struct keys *k, unsigned i, struct buf *out)
{
	struct rng r;

	buf_clear(out);
	rng_init(&r, k->seed * UINT64_C(0x100000001b3) + i);
	if (i == 0)
		return;
	if (i % 10 == 1)
		binary_key(&r, out);
	else if (i % 100 == 2)
		long_key(&r, i, out);
	else
		must(buf_printf(out, "key%06u", i), "key");
}

void keys_draw(const struct keys *k, struct rng *rng, struct buf *out)
{
	uint8_t extra;

	keys_get(k, (unsigned)rng_below(rng, k->n), out);
	switch (rng_below(rng, 20)) {
	case 0: /* right behind, or in a gap */
		extra = alphabet[rng_below(rng, 4)];
		must(buf_append(out, &extra, 1), "key");
		break;
	case 1: /* before it */
		out->len -= rng_below(rng, out->len + 1);
		break;
	default:
		break;
	}
}

static size_t value_len(struct rng *rng)
{
	uint64_t r = rng_below(rng, 2000);

	if (r < 100)
		return 0;
	if (r < 300)
		return 8;
	if (r < 1700)
		return rng_below(rng, 120);
	if (r < 1960)
		return rng_below(rng, 2000);
	if (r < 1997)
		return rng_below(rng, 12000);
	return rng_below(rng, 300000);
}

void value_draw(struct rng *rng, uint64_t serial, struct buf *out)
{
	size_t n = value_len(rng);
	uint64_t word = rng_next(rng);

	buf_clear(out);
	must(buf_append_le64(out, serial), "value");
	while (out->len < n) {
		/* Runs of one word, parted by fresh ones. */
		if (rng_one_in(rng, 4))
			word = rng_next(rng);
		must(buf_append_le64(out, word), "value");
	}
	out->len = n;
}
