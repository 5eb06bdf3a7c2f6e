/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/table_revs.h"

#include <stdlib.h>

#include "mvcc/encode.h"
#include "mvcc/table_garbage.h"

/* -------------------------------------------------------------- collecting */

struct table {
	int64_t min;
	int64_t max; /* below min: nothing yet */
	struct table_garbage garbage;
};

static void *begin(void *ctx)
{
	struct table *t = malloc(sizeof(*t));

	(void)ctx;
	/* Without memory the table goes without, which is slower only. */
	if (t)
		*t = (struct table){ .min = INT64_MAX, .max = -1 };
	return t;
}

/* False: an entry that has no revision. */
static bool main_of(struct cairn_slice key, int64_t *main)
{
	struct enc_row row;
	struct enc_chunk chunk;
	int32_t sub;

	*main = 0;
	if (!key.len)
		return false;
	switch (key.data[0]) {
	case ENC_ROW:
		if (!enc_row_parse(key, &row))
			*main = row.main;
		return true;
	case ENC_LOG:
		if (enc_log_key_parse(key, main, &sub))
			*main = 0;
		return true;
	case ENC_CHUNK:
		if (!enc_chunk_parse(key, &chunk))
			*main = chunk.version;
		return true;
	default:
		return false;
	}
}

static void add(void *table, enum cairn_entry_kind kind, struct cairn_slice key,
		struct cairn_slice value)
{
	struct table *t = table;
	int64_t main;

	/* Filters leave out points only. */
	if (kind == CAIRN_ENTRY_RANGE_DELETE || !main_of(key, &main))
		return;
	if (main < t->min)
		t->min = main;
	if (main > t->max)
		t->max = main;
	if (kind == CAIRN_ENTRY_PUT)
		table_garbage_add(&t->garbage, key, value);
}

static int set(struct cairn_table_properties *p, const char *name, int64_t main)
{
	uint8_t value[8];

	put_be64(value, (uint64_t)main);
	return cairn_table_property_set(p, name,
					slice_of(value, sizeof(value)));
}

static int finish(void *table, struct cairn_table_properties *out)
{
	const struct table *t = table;
	int err;

	if (t->max < t->min)
		return CAIRN_OK;
	err = set(out, TABLE_REVS_MIN, t->min);
	if (!err)
		err = set(out, TABLE_REVS_MAX, t->max);
	return err ? err : table_garbage_finish(&t->garbage, out);
}

static void end(void *table)
{
	struct table *t = table;

	table_garbage_fini(&t->garbage);
	free(t);
}

const struct cairn_table_collector table_revs_collector = {
	.name = "cairn.mvcc.revisions",
	.garbage = TABLE_GARBAGE,
	.begin = begin,
	.add = add,
	.finish = finish,
	.end = end,
};

/* --------------------------------------------------------------- filtering */

static bool skip(void *ctx, const struct cairn_table_facts *t)
{
	const struct table_revs *r = ctx;
	struct cairn_slice min;

	return !cairn_table_property(t, TABLE_REVS_MIN, &min) && min.len == 8 &&
	       load_be64(min.data) > (uint64_t)r->rev;
}

const struct cairn_table_filter *
table_revs_at(struct table_revs *t, const struct mvcc *m, int64_t rev)
{
	if (!m->kind->revisions ||
	    rev >= atomic_load_explicit(&m->current, memory_order_relaxed))
		return NULL;
	t->rev = rev;
	t->filter = (struct cairn_table_filter){ .ctx = t, .skip = skip };
	return &t->filter;
}
