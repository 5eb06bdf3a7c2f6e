/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking into a batch, against the array of its operations. */
#include "engine/kv/batch_index.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "tests/support/iter_pair.h"
#include "tests/support/vector_iter.h"

#define OPS_MAX 600

/* A batch, and what went into it, in order. */
struct history {
	struct cairn_batch *b;
	struct rng rng;
	struct {
		char key[32];
		char end[32]; /* of a range deletion */
		char value[16];
		uint8_t kind;
	} op[OPS_MAX];
	size_t n;
	size_t save[OPS_MAX];
	size_t n_saves;
};

static void random_key(struct rng *r, char key[32])
{
	/* Common prefixes longer than eight bytes, short keys, the empty one.
	 */
	static const char *const stems[] = { "", "a", "prefixed-", "prefixed-a",
					     "b\1" };
	static const char *const tails[] = { "", "x", "y", "yy" };

	snprintf(key, 32, "%s%s", stems[rng_below(r, 5)],
		 tails[rng_below(r, 4)]);
}

static void history_init(struct history *h, uint64_t seed)
{
	memset(h, 0, sizeof(*h));
	rng_init(&h->rng, seed);
	h->b = cairn_batch_new_indexed();
	ck_assert_ptr_nonnull(h->b);
}

static void add_op(struct history *h)
{
	static const uint8_t kinds[] = { KIND_PUT,     KIND_PUT,
					 KIND_DELETE,  KIND_SINGLE_DELETE,
					 KIND_MERGE,   KIND_RANGE_DELETE,
					 KIND_LOG_DATA };
	uint8_t kind = kinds[rng_below(&h->rng, sizeof(kinds))];
	char key[32], end[32], value[16];
	struct cairn_slice k, e, v;
	int err = CAIRN_EINVAL;

	if (h->n == OPS_MAX)
		return;
	random_key(&h->rng, key);
	random_key(&h->rng, end);
	snprintf(value, sizeof(value), "v%zu", h->n);
	k = slice_str(key);
	e = slice_str(end);
	v = slice_str(value);
	switch (kind) {
	case KIND_PUT:
		err = cairn_batch_put(h->b, k, v);
		break;
	case KIND_DELETE:
		err = cairn_batch_delete(h->b, k);
		break;
	case KIND_SINGLE_DELETE:
		err = cairn_batch_single_delete(h->b, k);
		break;
	case KIND_MERGE:
		err = cairn_batch_merge(h->b, k, v);
		break;
	case KIND_RANGE_DELETE:
		if (slice_cmp(k, e) >= 0)
			return;
		err = cairn_batch_delete_range(h->b, k, e);
		break;
	case KIND_LOG_DATA:
		ck_assert_int_eq(cairn_batch_log_data(h->b, v), CAIRN_OK);
		return;
	default:
		break;
	}
	ck_assert_int_eq(err, CAIRN_OK);
	strcpy(h->op[h->n].key, key);
	strcpy(h->op[h->n].end, end);
	strcpy(h->op[h->n].value, value);
	h->op[h->n].kind = kind;
	h->n++;
}

/* What an iterator over the first n operations is to show. */
static void expect_of(const struct history *h, size_t n, struct vector *v)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t kind = h->op[i].kind;
		bool valued = kind == KIND_PUT || kind == KIND_MERGE;

		if (kind == KIND_RANGE_DELETE)
			continue;
		vector_add(v, slice_str(h->op[i].key), BATCH_SEQNO + i, kind,
			   valued ? slice_str(h->op[i].value)
				  : slice_of("", 0));
	}
	vector_sort(v);
}

static void random_step(struct history *h, struct iter *a, struct iter *b)
{
	struct ikey target;
	char key[32];

	random_key(&h->rng, key);
	target = ikey_seek(slice_str(key), SEQNO_MAX);
	if (rng_one_in(&h->rng, 2))
		target.trailer = ikey_pack(
			BATCH_SEQNO + rng_below(&h->rng, OPS_MAX), KIND_PUT);
	iter_pair_move(&h->rng, a, b, &target);
	iter_pair_same(a, b);
}

static uint64_t model_cover(const struct history *h, size_t n, const char *key)
{
	for (size_t i = n; i-- > 0;)
		if (h->op[i].kind == KIND_RANGE_DELETE &&
		    slice_cmp(slice_str(h->op[i].key), slice_str(key)) <= 0 &&
		    slice_cmp(slice_str(key), slice_str(h->op[i].end)) < 0)
			return BATCH_SEQNO + i;
	return 0;
}

/* Every version of a key, and what covers it. */
static void check_find(struct history *h)
{
	struct batch_version v;
	char key[32];

	random_key(&h->rng, key);
	ck_assert_uint_eq(batch_cover(h->b, slice_str(key)),
			  model_cover(h, h->n, key));
	batch_find(h->b, slice_str(key), &v);
	for (size_t i = h->n; i-- > 0;) {
		if (h->op[i].kind == KIND_RANGE_DELETE ||
		    strcmp(h->op[i].key, key) != 0)
			continue;
		ck_assert_uint_ne(v.node, 0);
		ck_assert_uint_eq(v.trailer,
				  ikey_pack(BATCH_SEQNO + i, h->op[i].kind));
		if (h->op[i].kind == KIND_PUT || h->op[i].kind == KIND_MERGE)
			ck_assert(slice_eq(v.value, slice_str(h->op[i].value)));
		batch_find_older(h->b, &v);
	}
	ck_assert_uint_eq(v.node, 0);
}

/* An iterator, and the operations as they were when it was made. */
struct reader {
	struct vector v;
	struct iter *got;
	struct iter *want;
	struct history *then; /* its operations only */
};

static void reader_open(struct reader *r, struct history *h)
{
	struct batch_view view;

	*r = (struct reader){ .then = malloc(sizeof(*h)) };
	ck_assert_ptr_nonnull(r->then);
	memcpy(r->then, h, sizeof(*h));
	expect_of(h, h->n, &r->v);
	ck_assert_int_eq(batch_view_init(&view, h->b), CAIRN_OK);
	ck_assert_int_eq(batch_view_iter(&view, &r->got), CAIRN_OK);
	batch_view_fini(&view);
	r->want = vector_iter_new(&r->v);
}

static void reader_close(struct reader *r)
{
	iter_close(r->got);
	iter_close(r->want);
	vector_fini(&r->v);
	free(r->then);
	*r = (struct reader){ 0 };
}

/* The ranges of the view are those of its moment, for readers at any seqno. */
static void check_scope(struct reader *r, struct rng *rng)
{
	uint64_t want;
	struct ikey key;
	char text[32];

	random_key(rng, text);
	want = model_cover(r->then, r->then->n, text);
	key = ikey_make(slice_str(text), 7, KIND_PUT);
	if (!r->got->scope)
		ck_assert_uint_eq(want, 0);
	else
		ck_assert_uint_eq(range_scope_cover(r->got->scope, &key, 7),
				  want);
}

#define READERS 4

static void change(struct history *h)
{
	switch (rng_below(&h->rng, 40)) {
	case 0:
		cairn_batch_clear(h->b);
		h->n = 0;
		h->n_saves = 0;
		break;
	case 1:
	case 2:
	case 3:
		if (h->n_saves < OPS_MAX) {
			ck_assert_int_eq(cairn_batch_set_savepoint(h->b), 0);
			h->save[h->n_saves++] = h->n;
		}
		break;
	case 4:
	case 5:
		ck_assert_int_eq(cairn_batch_rollback(h->b),
				 h->n_saves ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (h->n_saves)
			h->n = h->save[--h->n_saves];
		break;
	case 6:
		ck_assert_int_eq(cairn_batch_pop_savepoint(h->b),
				 h->n_saves ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (h->n_saves)
			h->n_saves--;
		break;
	default:
		for (uint64_t i = rng_below(&h->rng, 8); i-- > 0;)
			add_op(h);
		break;
	}
	ck_assert_uint_eq(cairn_batch_count(h->b), h->n);
	ck_assert_int_eq(batch_validate(buf_slice(&h->b->bytes)), CAIRN_OK);
}

START_TEST(what_an_iterator_sees_does_not_change_with_the_batch)
{
	static struct history h;
	struct reader r[READERS] = { 0 };

	history_init(&h, 100 + (uint64_t)_i);
	for (int step = 0; step < 3000; step++) {
		struct reader *x = &r[rng_below(&h.rng, READERS)];

		change(&h);
		check_find(&h);
		if (!x->got)
			reader_open(x, &h);
		else if (rng_one_in(&h.rng, 12))
			reader_close(x);
		for (size_t i = 0; i < READERS; i++) {
			if (!r[i].got)
				continue;
			check_scope(&r[i], &h.rng);
			random_step(&h, r[i].got, r[i].want);
		}
	}
	/* The batch goes first. */
	cairn_batch_free(h.b);
	for (size_t i = 0; i < READERS; i++) {
		if (!r[i].got)
			continue;
		for (int step = 0; step < 50; step++)
			random_step(&h, r[i].got, r[i].want);
		reader_close(&r[i]);
	}
}
END_TEST

/* Nobody holds anything: what is taken back is taken out of the index. */
START_TEST(an_index_that_nobody_looks_at_is_cut_back_in_place)
{
	static struct history h;
	struct reader r;

	history_init(&h, 200 + (uint64_t)_i);
	for (int step = 0; step < 2000; step++) {
		struct batch_index *index = h.b->index;

		change(&h);
		ck_assert(!index || h.b->index == index);
		check_find(&h);
		if (step % 50)
			continue;
		reader_open(&r, &h);
		for (int i = 0; i < 60; i++)
			random_step(&h, r.got, r.want);
		reader_close(&r);
	}
	cairn_batch_free(h.b);
}
END_TEST

/* More ranges than are looked at one by one. */
START_TEST(many_ranges_are_found_as_few_are)
{
	static struct history h;
	char key[32];

	history_init(&h, 300);
	for (int round = 0; round < 200; round++) {
		if (h.n < OPS_MAX) {
			random_key(&h.rng, h.op[h.n].key);
			random_key(&h.rng, h.op[h.n].end);
			h.op[h.n].kind = KIND_RANGE_DELETE;
			if (slice_cmp(slice_str(h.op[h.n].key),
				      slice_str(h.op[h.n].end)) < 0) {
				ck_assert_int_eq(
					cairn_batch_delete_range(
						h.b, slice_str(h.op[h.n].key),
						slice_str(h.op[h.n].end)),
					0);
				h.n++;
			}
		}
		if (round == 100)
			ck_assert_int_eq(cairn_batch_set_savepoint(h.b), 0);
		for (int i = 0; i < 20; i++) {
			random_key(&h.rng, key);
			ck_assert_uint_eq(batch_cover(h.b, slice_str(key)),
					  model_cover(&h, h.n, key));
		}
	}
	h.n = h.b->saves[0].count;
	ck_assert_int_eq(cairn_batch_rollback(h.b), CAIRN_OK);
	for (int i = 0; i < 100; i++) {
		random_key(&h.rng, key);
		ck_assert_uint_eq(batch_cover(h.b, slice_str(key)),
				  model_cover(&h, h.n, key));
	}
	cairn_batch_free(h.b);
}
END_TEST

START_TEST(keys_and_values_of_any_length_are_found)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	static uint8_t key[CAIRN_KEY_MAX];
	static uint8_t value[1 << 20];
	struct batch_version v;

	memset(value, 'v', sizeof(value));
	ck_assert_int_eq(cairn_batch_put(b, slice_of(key, sizeof(key)),
					 slice_of(value, sizeof(value))),
			 0);
	ck_assert_int_eq(
		cairn_batch_put(b, slice_of(NULL, 0), slice_of(NULL, 0)), 0);
	ck_assert_int_eq(cairn_batch_put(b, slice_of(key, sizeof(key) - 1),
					 slice_str("shorter")),
			 0);
	batch_find(b, slice_of(key, sizeof(key)), &v);
	ck_assert(slice_eq(v.value, slice_of(value, sizeof(value))));
	batch_find(b, slice_of(key, sizeof(key) - 1), &v);
	ck_assert(slice_eq(v.value, slice_str("shorter")));
	batch_find(b, slice_of(NULL, 0), &v);
	ck_assert_uint_ne(v.node, 0);
	ck_assert_uint_eq(v.value.len, 0);
	batch_find(b, slice_of(key, 1), &v);
	ck_assert_uint_eq(v.node, 0);
	cairn_batch_free(b);
}
END_TEST

START_TEST(a_batch_without_an_index_has_no_view)
{
	struct cairn_batch *b = cairn_batch_new();
	struct batch_view view;

	ck_assert_int_eq(batch_view_init(&view, b), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "not indexed"));
	cairn_batch_free(b);
}
END_TEST

START_TEST(an_indexed_batch_is_no_larger_than_its_places)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	size_t len = b->bytes.len;

	b->bytes.len = UINT32_MAX - 20;
	ck_assert_int_eq(cairn_batch_put(b, slice_str("key"),
					 slice_str("value of some length")),
			 CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "no room"));
	b->bytes.len = len;
	cairn_batch_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batch_index");
	TCase *tc = tcase_create("batch_index");

	tcase_add_loop_test(
		tc, what_an_iterator_sees_does_not_change_with_the_batch, 0, 8);
	tcase_add_loop_test(
		tc, an_index_that_nobody_looks_at_is_cut_back_in_place, 0, 4);
	tcase_add_test(tc, many_ranges_are_found_as_few_are);
	tcase_add_test(tc, keys_and_values_of_any_length_are_found);
	tcase_add_test(tc, a_batch_without_an_index_has_no_view);
	tcase_add_test(tc, an_indexed_batch_is_no_larger_than_its_places);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
