/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges. By key, rows are answered as they are met. By anything else, what
 * they are sorted by is kept of each, or of the best ones when there is a
 * limit, and the rows are looked up again in the end.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/request_impl.h"

/* Of a value that is compared. */
#define PIECE_BYTES ((size_t)64 << 10)

int running_charge(struct running *r, uint64_t bytes)
{
	if (bytes > r->bytes_left)
		return error_set(CAIRN_EINVAL,
				 "an answer of this size does not fit in "
				 "memory; ask for less with a limit, or take "
				 "the rows one by one");
	r->bytes_left -= bytes;
	return CAIRN_OK;
}

/* ----------------------------------------------------------------- answers */

void mvcc_answer_free(struct mvcc_answer *a)
{
	/* All bytes of a row are behind its key. */
	for (size_t i = 0; i < a->n_rows; i++)
		free((void *)(uintptr_t)a->rows[i].key.data);
	free(a->rows);
	for (size_t i = 0; i < a->n_answers; i++)
		mvcc_answer_free(&a->answers[i]);
	free(a->answers);
	*a = (struct mvcc_answer){ .refusal = a->refusal };
}

static int reserve_row(struct mvcc_answer *a)
{
	size_t cap = a->cap_rows ? 2 * a->cap_rows : 4;
	struct mvcc_row *rows;

	if (a->n_rows < a->cap_rows)
		return CAIRN_OK;
	rows = realloc(a->rows, cap * sizeof(*rows));
	if (!rows)
		return error_nomem();
	a->rows = rows;
	a->cap_rows = cap;
	return CAIRN_OK;
}

static int short_value(void)
{
	return error_set(CAIRN_ECORRUPT, "a value ends before its size");
}

/* A copy of the value of row, behind at. */
static int copy_value(struct mvcc *m, const struct mvcc_row *row, uint8_t *at)
{
	size_t got;
	int err = mvcc_read(m, row, 0, at, (size_t)row->size, &got);

	return !err && got != row->size ? short_value() : err;
}

int answer_add(struct running *r, struct mvcc_answer *a,
	       const struct mvcc_row *row, bool want_value)
{
	struct mvcc_row copy = *row;
	uint64_t value = want_value ? row->size : 0;
	size_t xattrs = row->attrs.xattrs.len;
	uint8_t *own;
	int err = running_charge(r, sizeof(copy) + row->key.len + xattrs);

	if (!err)
		err = running_charge(r, value);
	if (!err)
		err = reserve_row(a);
	if (err)
		return err;
	own = malloc(row->key.len + xattrs + (size_t)value + 1);
	if (!own)
		return error_nomem();
	memcpy(own, row->key.data, row->key.len);
	copy.key = slice_of(own, row->key.len);
	if (xattrs)
		memcpy(own + row->key.len, row->attrs.xattrs.data, xattrs);
	copy.attrs.xattrs = slice_of(own + row->key.len, xattrs);
	copy.value = slice_of(NULL, 0);
	copy.object = 0;
	copy.chunk_size = 0;
	copy.chunks_high = 0;
	if (want_value) {
		copy.value =
			slice_of(own + row->key.len + xattrs, (size_t)value);
		err = copy_value(r->m, row, own + row->key.len + xattrs);
	}
	if (err)
		free(own);
	else
		a->rows[a->n_rows++] = copy;
	return err;
}

int row_value_cmp(struct mvcc *m, const struct mvcc_row *row,
		  struct cairn_slice value, int *out)
{
	uint64_t off = 0;
	uint8_t *piece;
	int err = CAIRN_OK;

	if (row->value.data || !row->object) {
		*out = slice_cmp(row->value, value);
		return CAIRN_OK;
	}
	piece = malloc(PIECE_BYTES);
	if (!piece)
		return error_nomem();
	*out = 0;
	while (!err && !*out && off < row->size && off < value.len) {
		uint64_t left = row->size - off;
		size_t n = PIECE_BYTES, got;

		if (n > left)
			n = (size_t)left;
		if (n > value.len - off)
			n = value.len - (size_t)off;
		err = mvcc_read(m, row, off, piece, n, &got);
		if (!err && got != n)
			err = short_value();
		if (!err)
			*out = memcmp(piece, value.data + off, n);
		off += n;
	}
	if (!*out)
		*out = (row->size > value.len) - (row->size < value.len);
	free(piece);
	return err;
}

/* ----------------------------------------------------------------- sorting */

/* What a row is sorted by. */
struct ranked {
	struct cairn_slice key; /* malloc'ed */
	int64_t number;
	struct cairn_slice value; /* behind the key, as the target is */
	bool descend;             /* the same for all */
};

struct ranking {
	const struct mvcc_range_request *q;
	struct ranked *list;
	size_t n;
	size_t cap;
};

static int cmp_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int c = slice_cmp(x->value, y->value);

	if (!c)
		c = (x->number > y->number) - (x->number < y->number);
	if (c)
		return x->descend ? -c : c;
	return slice_cmp(x->key, y->key);
}

static void drop_ranked(struct running *r, struct ranked *k)
{
	r->bytes_left += sizeof(*k) + k->key.len + k->value.len;
	free((void *)(uintptr_t)k->key.data);
}

static void ranking_fini(struct running *r, struct ranking *g)
{
	for (size_t i = 0; i < g->n; i++)
		drop_ranked(r, &g->list[i]);
	free(g->list);
}

/* Sort, and leave out what the limit does. */
static void ranking_sort(struct running *r, struct ranking *g)
{
	if (g->n > 1)
		qsort(g->list, g->n, sizeof(g->list[0]), cmp_ranked);
	while (g->q->limit > 0 && g->n > (uint64_t)g->q->limit)
		drop_ranked(r, &g->list[--g->n]);
}

static int ranking_room(struct running *r, struct ranking *g)
{
	size_t cap = g->cap ? 2 * g->cap : 64;
	struct ranked *list;

	/* Those beyond the limit are many enough to be worth a sort. */
	if (g->n == g->cap && g->q->limit > 0 &&
	    g->n / 2 > (uint64_t)g->q->limit)
		ranking_sort(r, g);
	if (g->n < g->cap)
		return CAIRN_OK;
	list = realloc(g->list, cap * sizeof(*list));
	if (!list)
		return error_nomem();
	g->list = list;
	g->cap = cap;
	return CAIRN_OK;
}

static int64_t target_of(const struct mvcc_row *row, enum mvcc_sort_target t)
{
	switch (t) {
	case MVCC_SORT_VERSION:
		return row->version;
	case MVCC_SORT_CREATE:
		return row->create_rev;
	case MVCC_SORT_MOD:
		return row->main;
	case MVCC_SORT_KEY:
	case MVCC_SORT_VALUE:
		break;
	}
	return 0;
}

static int ranking_add(struct running *r, struct ranking *g,
		       const struct mvcc_row *row)
{
	bool by_value = g->q->target == MVCC_SORT_VALUE;
	uint64_t value = by_value ? row->size : 0;
	struct ranked k = { .number = target_of(row, g->q->target),
			    .descend = g->q->order == MVCC_SORT_DESCEND };
	uint8_t *own;
	int err = ranking_room(r, g);

	if (!err)
		err = running_charge(r, sizeof(k) + row->key.len);
	if (!err)
		err = running_charge(r, value);
	if (err)
		return err;
	own = malloc(row->key.len + (size_t)value + 1);
	if (!own)
		return error_nomem();
	memcpy(own, row->key.data, row->key.len);
	k.key = slice_of(own, row->key.len);
	k.value = slice_of(own + row->key.len, (size_t)value);
	if (by_value)
		err = copy_value(r->m, row, own + row->key.len);
	if (err)
		free(own);
	else
		g->list[g->n++] = k;
	return err;
}

/* ----------------------------------------------------------------- running */

/* A range being answered. */
struct range {
	struct running *r;
	const struct mvcc_range_request *q;
	const struct row_sink *sink;
	struct mvcc_answer *a;
	int64_t rev;
	bool changed;    /* the request's own changes are seen */
	int64_t n_given; /* rows, by the limit */
	struct ranking ranking;
};

static bool within(int64_t v, int64_t min, int64_t max)
{
	return (!max || v <= max) && (!min || v >= min);
}

static int give(struct range *g, const struct mvcc_row *row)
{
	struct mvcc_row shown = *row;

	if (!g->sink)
		return answer_add(g->r, g->a, row, !g->q->keys_only);
	if (g->q->keys_only) {
		shown.value = slice_of(NULL, 0);
		shown.object = 0;
		shown.chunk_size = 0;
		shown.chunks_high = 0;
	}
	return g->sink->fn(g->sink->ctx, &shown);
}

/* One of the keys chosen. *done: the others need not be looked at. */
static int take(struct range *g, const struct mvcc_row *row, bool *done)
{
	const struct mvcc_range_request *q = g->q;

	g->a->count++;
	if (q->count_only || !within(row->main, q->min_mod, q->max_mod) ||
	    !within(row->create_rev, q->min_create, q->max_create))
		return CAIRN_OK;
	if (q->limit > 0 && g->n_given == q->limit) {
		g->a->more = true;
		*done = q->no_count && q->target == MVCC_SORT_KEY;
		if (q->target == MVCC_SORT_KEY)
			return CAIRN_OK;
	} else {
		g->n_given++;
	}
	if (q->target == MVCC_SORT_KEY)
		return give(g, row);
	return ranking_add(g->r, &g->ranking, row);
}

static int give_ranked(struct range *g)
{
	int err = CAIRN_OK;

	ranking_sort(g->r, &g->ranking);
	for (size_t i = 0; !err && i < g->ranking.n; i++) {
		struct view v = { 0 };
		struct mvcc_row row;

		err = view_init(&v, g->r, g->ranking.list[i].key,
				slice_of(NULL, 0), g->rev, g->changed, false);
		if (!err)
			err = view_next(&v, &row);
		if (err == CAIRN_NOT_FOUND)
			err = error_set(CAIRN_ECORRUPT,
					"a row was there and is not any more");
		if (!err)
			err = give(g, &row);
		view_fini(&v);
	}
	return err;
}

int range_run(struct running *r, const struct mvcc_range_request *q,
	      const struct row_sink *sink, struct mvcc_answer *a)
{
	struct range g = { .r = r, .q = q, .sink = sink, .a = a };
	struct view v = { 0 };
	struct mvcc_row row;
	bool done = false;
	int err, end = CAIRN_OK;

	g.changed = q->rev <= 0;
	g.rev = g.changed ? r->before : q->rev;
	g.ranking.q = q;
	a->rev = running_rev(r);
	err = view_init(&v, r, q->key, q->end, g.rev, g.changed,
			q->target == MVCC_SORT_KEY &&
				q->order == MVCC_SORT_DESCEND);
	/* What take() returns may come from outside, and have any value. */
	while (!err && !end && !done) {
		end = view_next(&v, &row);
		if (!end)
			err = take(&g, &row, &done);
	}
	if (!err && end < 0)
		err = end;
	view_fini(&v);
	if (!err)
		err = give_ranked(&g);
	ranking_fini(r, &g.ranking);
	return err;
}
