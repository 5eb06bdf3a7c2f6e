/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/bloom.h"

#include <assert.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"

#define LINE_LEN        64u
#define FAST_MARKER     0xffu
#define FAST_PROBES_MAX 30u
#define LEGACY_SEED     0xbc9f1d34u
#define REMIX           0x9e3779b9u

static void open_fast(struct bloom *f, const uint8_t *meta, size_t len)
{
	uint8_t probes = meta[2] & 0x1f;

	/* Sub-implementation 0, lines of 64 bytes, reserved bytes zero. */
	if (meta[1] != 0 || meta[2] >> 5 != 0 || meta[3] || meta[4] ||
	    probes < 1 || probes > FAST_PROBES_MAX)
		return;
	if (len % LINE_LEN || len / LINE_LEN > UINT32_MAX)
		return;
	f->kind = len ? BLOOM_FAST : BLOOM_NEVER;
	f->n_lines = (uint32_t)(len / LINE_LEN);
	f->probes = probes;
}

static void open_legacy(struct bloom *f, const uint8_t *meta, size_t len)
{
	uint32_t n_lines = load_le32(meta + 1);
	size_t line;

	if (n_lines == 0 || len % n_lines)
		return;
	line = len / n_lines;
	if (line == 0 || (line & (line - 1)) || line > UINT32_MAX / 8)
		return;
	f->kind = BLOOM_LEGACY;
	f->n_lines = n_lines;
	f->line_bits = (uint32_t)line * 8;
	f->probes = meta[0];
}

void bloom_open(struct bloom *f, struct cairn_slice block)
{
	const uint8_t *meta;
	size_t len;

	*f = (struct bloom){ .kind = BLOOM_ALWAYS, .lines = block.data };
	if (block.len <= BLOOM_METADATA_LEN) {
		f->kind = BLOOM_NEVER;
		return;
	}
	len = block.len - BLOOM_METADATA_LEN;
	meta = block.data + len;
	if (meta[0] == FAST_MARKER)
		open_fast(f, meta, len);
	else if (meta[0] >= 1 && meta[0] <= 127)
		open_legacy(f, meta, len);
}

static inline size_t fast_line(uint64_t hash, uint32_t n_lines)
{
	return (size_t)(((hash & UINT32_MAX) * n_lines) >> 32) * LINE_LEN;
}

static inline bool fast_may_contain(const struct bloom *f, uint64_t hash)
{
	const uint8_t *line = f->lines + fast_line(hash, f->n_lines);
	uint32_t x = (uint32_t)(hash >> 32);

	for (uint32_t i = 0; i < f->probes; i++, x *= REMIX) {
		uint32_t bit = x >> 23;

		if (!(line[bit >> 3] >> (bit & 7) & 1))
			return false;
	}
	return true;
}

static bool legacy_may_contain(const struct bloom *f, struct cairn_slice key)
{
	uint32_t h = hash32(key.data, key.len, LEGACY_SEED);
	uint32_t delta = h >> 17 | h << 15;
	const uint8_t *line =
		f->lines + (size_t)(h % f->n_lines) * (f->line_bits / 8);

	for (uint32_t i = 0; i < f->probes; i++, h += delta) {
		uint32_t bit = h & (f->line_bits - 1);

		if (!(line[bit >> 3] >> (bit & 7) & 1))
			return false;
	}
	return true;
}

bool bloom_may_contain(const struct bloom *f, struct cairn_slice key)
{
	switch (f->kind) {
	case BLOOM_FAST:
		return fast_may_contain(f, hash64(key.data, key.len));
	case BLOOM_LEGACY:
		return legacy_may_contain(f, key);
	case BLOOM_NEVER:
		return false;
	case BLOOM_ALWAYS:
		break;
	}
	return true;
}

void bloom_prefetch(const struct bloom *f, uint64_t hash)
{
	assert(f->kind == BLOOM_FAST);
	__builtin_prefetch(f->lines + fast_line(hash, f->n_lines));
}

bool bloom_may_contain_hash(const struct bloom *f, uint64_t hash)
{
	assert(f->kind == BLOOM_FAST);
	return fast_may_contain(f, hash);
}

uint32_t bloom_millibits(double bits_per_key)
{
	/* Written so that a NaN gives no filter. */
	if (!(bits_per_key >= 0.5))
		return 0;
	if (bits_per_key < 1.0)
		return 1000;
	if (bits_per_key >= 100.0)
		return 100000;
	return (uint32_t)(bits_per_key * 1000.0 + 0.500001);
}

/* The number with the fewest false positives, by RocksDB's measurements. */
static uint32_t choose_probes(uint32_t millibits)
{
	static const uint32_t up_to[] = { 2080,  3580,  5100,  6640,
					  8300,  10070, 11720, 14001,
					  16050, 18300, 22001, 25501 };

	for (uint32_t i = 0; i < sizeof(up_to) / sizeof(up_to[0]); i++)
		if (millibits <= up_to[i])
			return i + 1;
	return millibits > 50000 ? 24 : (millibits - 1) / 2000 - 1;
}

int bloom_build(const uint64_t *hashes, size_t n, uint32_t millibits,
		struct buf *out)
{
	uint32_t probes = choose_probes(millibits);
	size_t raw, len, n_lines;
	uint8_t *lines, *meta;
	int err;

	assert(millibits > 0);
	if (n > SIZE_MAX / 2 / millibits)
		return error_nomem();
	raw = (n * millibits + 7999) / 8000;
	n_lines = (raw + LINE_LEN - 1) / LINE_LEN;
	if (n_lines > UINT32_MAX / LINE_LEN)
		n_lines = UINT32_MAX / LINE_LEN;
	len = n_lines * LINE_LEN;
	err = buf_reserve(out, len + BLOOM_METADATA_LEN);
	if (err)
		return err;
	lines = out->data + out->len;
	memset(lines, 0, len);
	for (size_t i = 0; i < n; i++) {
		uint8_t *line = lines + fast_line(hashes[i], (uint32_t)n_lines);
		uint32_t x = (uint32_t)(hashes[i] >> 32);

		for (uint32_t k = 0; k < probes; k++, x *= REMIX)
			line[x >> 26] |= (uint8_t)(1u << ((x >> 23) & 7));
	}
	meta = lines + len;
	meta[0] = FAST_MARKER;
	meta[1] = 0;
	meta[2] = (uint8_t)probes;
	meta[3] = 0;
	meta[4] = 0;
	out->len += len + BLOOM_METADATA_LEN;
	return CAIRN_OK;
}
