/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/table_garbage.h"

#include "mvcc/encode.h"

/* Two buckets become one. */
static void coarsen(struct table_garbage *g)
{
	for (size_t i = 0; i < TABLE_GARBAGE_BUCKETS; i++) {
		uint64_t bytes = g->bytes[i];

		g->bytes[i] = 0;
		g->bytes[((g->first + i) >> 1) - (g->first >> 1)] += bytes;
	}
	g->first >>= 1;
	g->shift++;
}

/* Have buckets from min to max. */
static void make_room(struct table_garbage *g)
{
	uint64_t lowest, ahead;

	while (((uint64_t)g->max >> g->shift) -
		       ((uint64_t)g->min >> g->shift) >=
	       TABLE_GARBAGE_BUCKETS)
		coarsen(g);
	lowest = (uint64_t)g->min >> g->shift;
	if (lowest >= g->first)
		return;
	ahead = g->first - lowest;
	/* What is pushed out is empty: it lies behind max. */
	if (ahead < TABLE_GARBAGE_BUCKETS)
		memmove(g->bytes + ahead, g->bytes,
			(TABLE_GARBAGE_BUCKETS - ahead) * sizeof(g->bytes[0]));
	else
		ahead = TABLE_GARBAGE_BUCKETS;
	memset(g->bytes, 0, ahead * sizeof(g->bytes[0]));
	g->first = lowest;
}

static void add_due(struct table_garbage *g, int64_t main, uint64_t bytes)
{
	if (!g->max) {
		g->first = (uint64_t)main;
		g->min = g->max = main;
	}
	if (main < g->min)
		g->min = main;
	if (main > g->max)
		g->max = main;
	make_room(g);
	g->bytes[((uint64_t)main >> g->shift) - g->first] += bytes;
}

/* One version of a row or chunk; newer ones come first. */
static void add_version(struct table_garbage *g, struct cairn_slice key,
			size_t prefix_len, int64_t main, uint64_t bytes)
{
	struct cairn_slice prefix = slice_of(key.data, prefix_len);

	if (slice_eq(buf_slice(&g->prefix), prefix)) {
		if (g->newer > 0)
			add_due(g, g->newer, bytes);
	} else if (buf_set(&g->prefix, prefix)) {
		g->broken = true;
	}
	g->newer = main;
}

void table_garbage_add(struct table_garbage *g, struct cairn_slice key,
		       struct cairn_slice value)
{
	uint64_t bytes = (uint64_t)key.len + value.len;
	struct mvcc_change change;
	struct enc_chunk chunk;
	struct enc_row row;

	if (g->broken || !key.len)
		return;
	switch (key.data[0]) {
	case ENC_ROW:
		if (!enc_row_parse(key, &row))
			add_version(g, key, row.prefix.len, row.main, bytes);
		break;
	case ENC_CHUNK:
		if (!enc_chunk_parse(key, &chunk))
			add_version(g, key, ENC_CHUNK_PREFIX, chunk.version,
				    bytes);
		break;
	case ENC_LOG:
		/* The entries of the bound stay. */
		if (!enc_log_parse(key, value, &change) &&
		    change.main < INT64_MAX)
			add_due(g, change.main + 1, bytes);
		break;
	default:
		break;
	}
}

size_t table_garbage_steps(const struct table_garbage *g,
			   struct table_garbage_step out[TABLE_GARBAGE_STEPS])
{
	uint64_t all = 0, sum = 0, told = 0;
	size_t n = 0;

	for (size_t i = 0; i < TABLE_GARBAGE_BUCKETS; i++)
		all += g->bytes[i];
	for (size_t i = 0; sum < all; i++) {
		uint64_t last = ((g->first + i + 1) << g->shift) - 1;

		sum += g->bytes[i];
		/* At least so much for each, so that there are no more. */
		if (sum < all && sum - told < all / TABLE_GARBAGE_STEPS + 1)
			continue;
		if (last > (uint64_t)g->max)
			last = (uint64_t)g->max;
		out[n++] = (struct table_garbage_step){ (int64_t)last, sum };
		told = sum;
	}
	return n;
}

int table_garbage_finish(const struct table_garbage *g,
			 struct cairn_table_properties *out)
{
	struct table_garbage_step steps[TABLE_GARBAGE_STEPS];
	uint8_t value[16 * TABLE_GARBAGE_STEPS];
	size_t n = g->broken ? 0 : table_garbage_steps(g, steps);

	for (size_t i = 0; i < n; i++) {
		put_be64(value + 16 * i, (uint64_t)steps[i].main);
		put_be64(value + 16 * i + 8, steps[i].bytes);
	}
	return n ? cairn_table_property_set(out, TABLE_GARBAGE,
					    slice_of(value, 16 * n))
		 : CAIRN_OK;
}

void table_garbage_fini(struct table_garbage *g)
{
	buf_fini(&g->prefix);
}
