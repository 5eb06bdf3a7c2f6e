/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/table_garbage.h"

#include "mvcc/encode.h"

/* Join the two neighbours that are smallest together, which then count from the
 * later main on: rather too late than too early. */
static void join_two(struct table_garbage *g)
{
	size_t best = 0;

	for (size_t i = 1; i + 1 < g->n; i++)
		if (g->due[i].bytes + g->due[i + 1].bytes <
		    g->due[best].bytes + g->due[best + 1].bytes)
			best = i;
	g->due[best + 1].bytes += g->due[best].bytes;
	g->n--;
	memmove(&g->due[best], &g->due[best + 1],
		(g->n - best) * sizeof(g->due[0]));
}

static void add_due(struct table_garbage *g, int64_t main, uint64_t bytes)
{
	size_t i = g->n;

	while (i && g->due[i - 1].main >= main)
		i--;
	if (i < g->n && g->due[i].main == main) {
		g->due[i].bytes += bytes;
		return;
	}
	memmove(&g->due[i + 1], &g->due[i], (g->n - i) * sizeof(g->due[0]));
	g->due[i] = (struct garbage_due){ main, bytes };
	g->n++;
	if (g->n > TABLE_GARBAGE_STEPS)
		join_two(g);
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

int table_garbage_finish(const struct table_garbage *g,
			 struct cairn_table_properties *out)
{
	uint8_t value[16 * TABLE_GARBAGE_STEPS];
	uint64_t bytes = 0;

	if (g->broken || !g->n)
		return CAIRN_OK;
	for (size_t i = 0; i < g->n; i++) {
		bytes += g->due[i].bytes;
		put_be64(value + 16 * i, (uint64_t)g->due[i].main);
		put_be64(value + 16 * i + 8, bytes);
	}
	return cairn_table_property_set(out, TABLE_GARBAGE,
					slice_of(value, 16 * g->n));
}

void table_garbage_fini(struct table_garbage *g)
{
	buf_fini(&g->prefix);
}
