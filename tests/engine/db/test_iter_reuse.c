/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Iterators that are used for more than one walk: bounds that move, clones,
 * seeks that go on from where the last one ended, values that are kept. By
 * themselves, and in long random histories against a model.
 */
#include <pthread.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "engine/db/db.h"
#include "engine/db/db_iter.h"
#include "tests/support/db_test.h"

#define NONE slice_of(NULL, 0)

static struct cairn_iter *iter_of(struct test_db *t,
				  const struct cairn_read_options *o)
{
	struct cairn_iter *it;

	CK_OK(cairn_iter_new(t->db, o, &it));
	return it;
}

/* The keys from where it stands to the end, each of one letter. */
static void expect_rest(struct cairn_iter *it, const char *want)
{
	struct buf got = { 0 };

	for (; cairn_iter_valid(it); cairn_iter_next(it))
		CK_OK(buf_append(&got, cairn_iter_key(it).data,
				 cairn_iter_key(it).len));
	CK_OK(cairn_iter_status(it));
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "%.*s, not %s", (int)got.len, (char *)got.data, want);
	buf_fini(&got);
}

/* ---------------------------------------------------------------- bounds */

/* a to h, spread over memtable, level 0 and the bottom. */
static void fill(struct test_db *t)
{
	static const char *const third[] = { "adg", "beh", "cf" };
	const struct cairn_slice all = { 0 };

	tdb_init(t, NULL);
	tdb_set(t, "auto_compactions", "false");
	tdb_open(t);
	for (size_t i = 0; i < 3; i++) {
		for (const char *k = third[i]; *k; k++) {
			char key[2] = { *k, '\0' };

			tdb_put(t, key, "1");
		}
		if (i < 2)
			CK_OK(cairn_flush(t->db, true));
		if (i < 1)
			CK_OK(cairn_compact_range(t->db, all, all, NULL));
	}
}

static const struct {
	const char *name;
	const char *first[2]; /* bounds; NULL: none */
	const char *second[2];
	const char *want_first;
	const char *want_second;
} moves[] = {
	{ "on", { "a", "c" }, { "c", "e" }, "ab", "cd" },
	{ "on with a gap", { "a", "c" }, { "f", "h" }, "ab", "fg" },
	{ "on to the end", { "a", "c" }, { "c", NULL }, "ab", "cdefgh" },
	{ "back", { "e", "h" }, { "b", "d" }, "efg", "bc" },
	{ "wider", { "c", "d" }, { "a", "z" }, "c", "abcdefgh" },
	{ "overlapping", { "b", "f" }, { "d", "h" }, "bcde", "defg" },
	{ "off", { "c", "d" }, { NULL, NULL }, "c", "abcdefgh" },
	{ "on after nothing was there", { "x", "z" }, { "b", "c" }, "", "b" },
	{ "to an empty range", { "a", "c" }, { "d", "d" }, "ab", "" },
	{ "on from an empty range", { "c", "c" }, { "c", "e" }, "", "cd" },
	{ "behind everything", { "a", "c" }, { "x", "z" }, "ab", "" },
};

static struct cairn_slice bound(const char *s)
{
	return s ? slice_str(s) : NONE;
}

START_TEST(a_walk_follows_the_bounds_that_were_set)
{
	struct cairn_read_options o = { .lower = bound(moves[_i].first[0]),
					.upper = bound(moves[_i].first[1]) };
	struct cairn_slice lower = bound(moves[_i].second[0]);
	struct cairn_slice upper = bound(moves[_i].second[1]);
	struct cairn_iter *it;
	struct test_db t;

	fill(&t);
	it = iter_of(&t, &o);
	cairn_iter_first(it);
	expect_rest(it, moves[_i].want_first);
	cairn_iter_set_bounds(it, lower, upper);
	ck_assert(!cairn_iter_valid(it));
	CK_OK(cairn_iter_status(it));
	ck_assert(!cairn_iter_next(it) && !cairn_iter_prev(it));
	cairn_iter_first(it);
	expect_rest(it, moves[_i].want_second);
	/* The same by a seek, and once more from the other end. */
	cairn_iter_set_bounds(it, o.lower, o.upper);
	cairn_iter_seek_ge(it, slice_str(""));
	expect_rest(it, moves[_i].want_first);
	cairn_iter_set_bounds(it, lower, upper);
	cairn_iter_last(it);
	for (size_t i = strlen(moves[_i].want_second); i-- > 0;) {
		ck_assert(cairn_iter_valid(it));
		ck_assert_int_eq(cairn_iter_key(it).data[0],
				 moves[_i].want_second[i]);
		cairn_iter_prev(it);
	}
	ck_assert(!cairn_iter_valid(it));
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

/* Counts the absolute seeks of an iterator's input. */
struct counter {
	struct iter base;
	struct iter *under;
	unsigned seeks;
};

static void count_show(struct counter *c)
{
	const struct iter *u = c->under;

	c->base.valid = u->valid;
	c->base.status = u->status;
	c->base.key = u->key;
	c->base.value = u->value;
}

static void count_seek_ge(struct iter *it, const struct ikey *target)
{
	struct counter *c = (struct counter *)it;

	c->seeks++;
	iter_seek_ge(c->under, target);
	count_show(c);
}

static void count_seek_forward(struct iter *it, const struct ikey *target)
{
	struct counter *c = (struct counter *)it;

	iter_seek_forward(c->under, target);
	count_show(c);
}

static void count_bounds_moved(struct iter *it)
{
	iter_bounds_moved(((struct counter *)it)->under);
}

static void count_next(struct iter *it)
{
	struct counter *c = (struct counter *)it;

	iter_next(c->under);
	count_show(c);
}

static void count_close(struct iter *it)
{
	iter_close(((struct counter *)it)->under);
}

/* What forward walks need. */
static const struct iter_ops count_ops = {
	.seek_ge = count_seek_ge,
	.seek_forward = count_seek_forward,
	.bounds_moved = count_bounds_moved,
	.next = count_next,
	.close = count_close,
};

static void count_seeks_of(struct cairn_iter *it, struct counter *c)
{
	*c = (struct counter){ .base.ops = &count_ops, .under = it->in };
	it->in = &c->base;
}

START_TEST(ranges_in_a_row_are_walked_without_a_new_search)
{
	struct cairn_read_options o = { .lower = slice_str("a"),
					.upper = slice_str("b") };
	struct counter count;
	struct cairn_iter *it;
	struct test_db t;

	fill(&t);
	it = iter_of(&t, &o);
	count_seeks_of(it, &count);
	cairn_iter_first(it);
	expect_rest(it, "a");
	ck_assert_uint_eq(count.seeks, 1);
	for (char c = 'b'; c <= 'h'; c++) {
		char lower[2] = { c, '\0' }, upper[2] = { (char)(c + 1), '\0' };

		cairn_iter_set_bounds(it, slice_str(lower), slice_str(upper));
		ck_assert(cairn_iter_first(it));
		expect_rest(it, lower);
	}
	ck_assert_uint_eq(count.seeks, 1);
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

START_TEST(ascending_seeks_search_once)
{
	struct counter count;
	struct cairn_iter *it;
	struct test_db t;

	fill(&t);
	it = iter_of(&t, NULL);
	count_seeks_of(it, &count);
	for (char c = 'a'; c <= 'h'; c++) {
		/* Before the key, the key, and the key again. */
		char key[2] = { (char)(c - 1), '~' };

		cairn_iter_seek_ge(it, slice_of(key, 2));
		ck_assert_int_eq(cairn_iter_key(it).data[0], c);
		key[0] = c;
		cairn_iter_seek_ge(it, slice_of(key, 1));
		ck_assert_int_eq(cairn_iter_key(it).data[0], c);
		cairn_iter_seek_ge(it, slice_of(key, 1));
		ck_assert_int_eq(cairn_iter_key(it).data[0], c);
	}
	ck_assert_uint_eq(count.seeks, 1);
	cairn_iter_seek_ge(it, slice_str("c"));
	expect_rest(it, "cdefgh");
	ck_assert_uint_eq(count.seeks, 2);
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------------------- clones */

START_TEST(a_clone_sees_what_its_original_does)
{
	struct cairn_snapshot *snapshot;
	struct cairn_read_options o = { 0 };
	struct cairn_iter *it, *clone, *other;
	struct test_db t;

	fill(&t);
	snapshot = cairn_snapshot_new(t.db);
	ck_assert_ptr_nonnull(snapshot);
	tdb_put(&t, "x", "later");
	o.snapshot = snapshot;
	o.lower = slice_str("c");
	it = iter_of(&t, &o);
	CK_CODE(cairn_iter_clone(it, &o, &clone), CAIRN_EINVAL);
	cairn_snapshot_release(snapshot);
	for (char c = 'a'; c <= 'h'; c++) {
		char key[2] = { c, '\0' };

		tdb_delete(&t, key);
	}
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_compact_range(t.db, NONE, NONE, NULL));
	cairn_iter_seek_ge(it, slice_str("e"));
	CK_OK(cairn_iter_clone(it, NULL, &clone));
	ck_assert(!cairn_iter_valid(clone));
	o = (struct cairn_read_options){ .upper = slice_str("c") };
	CK_OK(cairn_iter_clone(it, &o, &other));
	cairn_iter_free(it);
	cairn_iter_first(clone);
	expect_rest(clone, "cdefgh");
	cairn_iter_first(other);
	expect_rest(other, "ab");
	CK_CODE(cairn_close(t.db), CAIRN_EBUSY);
	cairn_iter_free(clone);
	cairn_iter_free(other);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_clone_is_an_iterator_of_its_own)
{
	struct cairn_iter *it, *clone;
	struct test_db t;

	fill(&t);
	it = iter_of(&t, NULL);
	ck_assert_uint_eq(t.db->n_iterators, 1);
	CK_OK(cairn_iter_clone(it, NULL, &clone));
	ck_assert_uint_eq(t.db->n_iterators, 2);
	cairn_iter_free(clone);
	cairn_iter_free(it);
	ck_assert_uint_eq(t.db->n_iterators, 0);
	tdb_fini(&t);
}
END_TEST

/* ----------------------------------------------------------------- pins */

START_TEST(a_pinned_value_outlives_iterator_and_table)
{
	struct cairn_pinned pin[3] = { 0 }, none = { 0 };
	struct cairn_iter *it;
	struct test_db t;

	fill(&t);
	it = iter_of(&t, NULL);
	CK_CODE(cairn_iter_pin_value(it, &none), CAIRN_EINVAL);
	ck_assert(!none.release);
	/* Of the bottom, of level 0, of the memtable; a copy going backward. */
	cairn_iter_seek_ge(it, slice_str("a"));
	CK_OK(cairn_iter_pin_value(it, &pin[0]));
	ck_assert(pin[0].value.data == cairn_iter_value(it).data);
	cairn_iter_seek_ge(it, slice_str("c"));
	CK_OK(cairn_iter_pin_value(it, &pin[1]));
	ck_assert(pin[1].value.data == cairn_iter_value(it).data);
	cairn_iter_last(it);
	CK_OK(cairn_iter_pin_value(it, &pin[2]));
	cairn_iter_free(it);
	for (char c = 'a'; c <= 'h'; c++) {
		char key[2] = { c, '\0' };

		tdb_put(&t, key, "2");
	}
	CK_OK(cairn_compact_range(t.db, NONE, NONE, NULL));
	for (size_t i = 0; i < 3; i++) {
		ck_assert(slice_eq(pin[i].value, slice_str("1")));
		cairn_pinned_release(&pin[i]);
	}
	tdb_fini(&t);
}
END_TEST

START_TEST(a_value_is_pinned_also_without_a_cache)
{
	const struct cairn_read_options o = { .no_fill_cache = true };
	struct cairn_pinned pin = { 0 };
	struct cairn_iter *it;
	struct test_db t;

	fill(&t);
	tdb_set(&t, "block_cache_size", "0");
	tdb_reopen(&t);
	it = iter_of(&t, &o);
	ck_assert(cairn_iter_first(it));
	CK_OK(cairn_iter_pin_value(it, &pin));
	cairn_iter_free(it);
	ck_assert(slice_eq(pin.value, slice_str("1")));
	cairn_pinned_release(&pin);
	tdb_fini(&t);
}
END_TEST

/* --------------------------------------------------------------- threads */

#define THREADS 3
#define CROWD   400 /* keys */

struct crowd {
	struct test_db t;
	struct cairn_iter *original;
	_Atomic bool stop;
};

/* All CROWD keys of the first generation, whatever is being written. */
static void walk_clone(struct crowd *c)
{
	struct cairn_iter *it;
	int n = 0;

	CK_OK(cairn_iter_clone(c->original, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		char key[16];

		snprintf(key, sizeof(key), "%06d", n++);
		ck_assert(slice_eq(cairn_iter_key(it), slice_str(key)));
		ck_assert(slice_eq(cairn_iter_value(it), slice_str("0")));
	}
	CK_OK(cairn_iter_status(it));
	ck_assert_int_eq(n, CROWD);
	cairn_iter_free(it);
}

static void *clone_on(void *ctx)
{
	struct crowd *c = ctx;

	while (!atomic_load(&c->stop))
		walk_clone(c);
	return NULL;
}

START_TEST(clones_are_made_and_walked_while_the_original_is_at_work)
{
	pthread_t thread[THREADS];
	struct crowd c = { 0 };

	tdb_init(&c.t, NULL);
	tdb_set(&c.t, "write_buffer_size", "64K");
	tdb_set(&c.t, "l0_compaction_trigger", "2");
	tdb_open(&c.t);
	for (int generation = 0; generation < 6; generation++) {
		for (int i = 0; i < CROWD; i++) {
			char key[16], value[8];

			snprintf(key, sizeof(key), "%06d", i);
			snprintf(value, sizeof(value), "%d", generation);
			tdb_put(&c.t, key, value);
		}
		CK_OK(cairn_flush(c.t.db, generation % 2));
		if (generation == 0) {
			c.original = iter_of(&c.t, NULL);
			for (int i = 0; i < THREADS; i++)
				pthread_create(&thread[i], NULL, clone_on, &c);
		}
		for (int i = 0; i < 2 * CROWD; i++) {
			if (!cairn_iter_valid(c.original))
				cairn_iter_first(c.original);
			ck_assert(slice_eq(cairn_iter_value(c.original),
					   slice_str("0")));
			cairn_iter_next(c.original);
		}
	}
	atomic_store(&c.stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	cairn_iter_free(c.original);
	tdb_fini(&c.t);
}
END_TEST

/* ------------------------------------------------------------- the model */

#define KEYS    200
#define READERS 5
#define STEPS   700
#define PINS    4

struct state {
	uint64_t value[KEYS]; /* 0: absent */
};

/* An iterator, what it sees, and where the model has it. */
struct reader {
	struct cairn_iter *it; /* NULL: none */
	struct state sees;
	int begin, end; /* bounds; -1, KEYS + 1: none */
	char bytes[2][2][16];
	int turn; /* which of bytes the bounds are in */
	int at;   /* KEYS: on nothing */
	bool prefix_mode;
	int prefix_end;
	struct {
		struct cairn_pinned pin;
		uint64_t value;
	} kept[PINS];
};

struct history {
	struct test_db t;
	struct rng rng;
	struct state now;
	struct reader reader[READERS];
};

static struct cairn_slice key_text(char out[16], int i)
{
	return slice_of(out, (size_t)snprintf(out, 16, "key-%03d", i));
}

/* All but the last digit. */
static size_t decade(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len >= 6 ? 6 : SIZE_MAX;
}

static const struct cairn_prefix_extractor decades = {
	.name = "test.decade",
	.prefix_len = decade,
};

static void expect_value(struct cairn_slice got, uint64_t v)
{
	ck_assert_uint_eq(got.len, 8);
	ck_assert_uint_eq(load_le64(got.data), v);
}

static void expect_at(struct reader *r, bool on)
{
	char key[16];

	CK_OK(cairn_iter_status(r->it));
	ck_assert_int_eq(on, r->at < KEYS);
	ck_assert_int_eq(cairn_iter_valid(r->it), r->at < KEYS);
	if (r->at == KEYS)
		return;
	ck_assert_msg(slice_eq(cairn_iter_key(r->it), key_text(key, r->at)),
		      "%.*s, not %s", (int)cairn_iter_key(r->it).len,
		      (const char *)cairn_iter_key(r->it).data, key);
	expect_value(cairn_iter_value(r->it), r->sees.value[r->at]);
}

static int first_from(const struct reader *r, int i)
{
	int end = r->end < KEYS ? r->end : KEYS;

	if (r->prefix_mode && r->prefix_end < end)
		end = r->prefix_end;
	if (i < r->begin)
		i = r->begin;
	while (i < end && !r->sees.value[i])
		i++;
	return i < end ? i : KEYS;
}

static int last_before(const struct reader *r, int i)
{
	if (i > r->end)
		i = r->end;
	if (i > KEYS)
		i = KEYS;
	while (--i >= 0 && i >= r->begin)
		if (r->sees.value[i])
			return i;
	return KEYS;
}

/* Bounds of any kind, often the ones that follow on those there are. */
static void choose_bounds(struct history *h, struct reader *r)
{
	struct rng *rng = &h->rng;

	switch (rng_below(rng, 6)) {
	case 0:
		r->begin = -1;
		r->end = KEYS + 1;
		break;
	case 1:
		r->begin = (int)rng_below(rng, KEYS);
		r->end = KEYS + 1;
		break;
	case 2:
		r->begin = (int)rng_below(rng, KEYS);
		r->end = (int)rng_below(rng, KEYS);
		break;
	default:
		r->begin = r->end < KEYS ? r->end : (int)rng_below(rng, 20);
		r->end = r->begin + (int)rng_below(rng, 30);
	}
}

static void bounds_of(struct reader *r, struct cairn_slice *lower,
		      struct cairn_slice *upper)
{
	r->turn = !r->turn;
	*lower = *upper = NONE;
	if (r->begin >= 0)
		*lower = key_text(r->bytes[r->turn][0], r->begin);
	if (r->end <= KEYS)
		*upper = key_text(r->bytes[r->turn][1], r->end);
}

static void set_bounds(struct history *h, struct reader *r)
{
	struct cairn_slice lower, upper;

	choose_bounds(h, r);
	bounds_of(r, &lower, &upper);
	cairn_iter_set_bounds(r->it, lower, upper);
	/* What was replaced is not looked at any more. */
	memset(r->bytes[!r->turn], '~', sizeof(r->bytes[0]));
	r->prefix_mode = false;
	r->at = KEYS;
	expect_at(r, false);
}

static void drop_reader(struct reader *r)
{
	for (int i = 0; i < PINS; i++)
		cairn_pinned_release(&r->kept[i].pin);
	cairn_iter_free(r->it);
	r->it = NULL;
}

/* A new one on the present, or on what another one sees. */
static void renew_reader(struct history *h, struct reader *r)
{
	struct reader *from = &h->reader[rng_below(&h->rng, READERS)];
	struct cairn_read_options o = { 0 };
	bool clone = from != r && from->it && rng_one_in(&h->rng, 2);

	drop_reader(r);
	r->prefix_mode = false;
	r->begin = -1;
	r->end = KEYS + 1;
	if (rng_one_in(&h->rng, 2))
		choose_bounds(h, r);
	bounds_of(r, &o.lower, &o.upper);
	if (clone) {
		CK_OK(cairn_iter_clone(from->it, &o, &r->it));
		r->sees = from->sees;
	} else {
		CK_OK(cairn_iter_new(h->t.db, &o, &r->it));
		r->sees = h->now;
	}
	r->at = KEYS;
	expect_at(r, false);
}

static void keep(struct history *h, struct reader *r)
{
	size_t i = rng_below(&h->rng, PINS);

	if (r->kept[i].pin.release)
		expect_value(r->kept[i].pin.value, r->kept[i].value);
	cairn_pinned_release(&r->kept[i].pin);
	if (r->at == KEYS)
		return;
	CK_OK(cairn_iter_pin_value(r->it, &r->kept[i].pin));
	r->kept[i].value = r->sees.value[r->at];
}

static void seek_ge(struct reader *r, int to)
{
	char key[16];

	r->prefix_mode = false;
	r->at = first_from(r, to);
	expect_at(r, cairn_iter_seek_ge(r->it, key_text(key, to)));
}

static void seek_prefix(struct reader *r, int to)
{
	char key[16];

	r->prefix_mode = true;
	r->prefix_end = to - to % 10 + 10;
	r->at = first_from(r, to);
	expect_at(r, cairn_iter_seek_prefix_ge(r->it, key_text(key, to)));
}

static void move(struct history *h, struct reader *r)
{
	int to = (int)rng_below(&h->rng, KEYS);
	int near = r->at < KEYS - 8 ? r->at + (int)rng_below(&h->rng, 8) : to;
	char key[16];

	switch (rng_below(&h->rng, 20)) {
	case 0:
		r->prefix_mode = false;
		r->at = first_from(r, 0);
		expect_at(r, cairn_iter_first(r->it));
		break;
	case 1:
		if (r->prefix_mode)
			break;
		r->at = last_before(r, KEYS);
		expect_at(r, cairn_iter_last(r->it));
		break;
	case 2:
	case 3:
		r->prefix_mode = false;
		r->at = last_before(r, to);
		expect_at(r, cairn_iter_seek_lt(r->it, key_text(key, to)));
		break;
	case 4:
	case 5:
		seek_prefix(r, rng_one_in(&h->rng, 2) ? to : near);
		break;
	case 6:
	case 7:
		seek_ge(r, to);
		break;
	case 8:
	case 9:
	case 10:
	case 11:
		seek_ge(r, near);
		break;
	case 12:
		set_bounds(h, r);
		break;
	case 13:
		keep(h, r);
		break;
	case 14:
	case 15:
		if (r->at == KEYS || r->prefix_mode)
			break;
		r->at = last_before(r, r->at);
		expect_at(r, cairn_iter_prev(r->it));
		break;
	default:
		if (r->at == KEYS)
			break;
		r->at = first_from(r, r->at + 1);
		expect_at(r, cairn_iter_next(r->it));
	}
}

static void change(struct history *h, struct cairn_batch *b)
{
	int i = (int)rng_below(&h->rng, KEYS);
	uint64_t v = 1 + rng_below(&h->rng, 1000);
	uint8_t value[8];
	char key[16], end[16];
	struct cairn_slice k = key_text(key, i);
	int to;

	put_le64(value, v);
	switch (rng_below(&h->rng, 16)) {
	case 0:
		to = i + (int)rng_below(&h->rng, 40);
		if (to > KEYS)
			to = KEYS;
		CK_OK(cairn_batch_delete_range(b, k, key_text(end, to)));
		for (; i < to; i++)
			h->now.value[i] = 0;
		break;
	case 1:
	case 2:
	case 3:
		CK_OK(cairn_batch_delete(b, k));
		h->now.value[i] = 0;
		break;
	case 4:
	case 5:
	case 6:
		CK_OK(cairn_batch_merge(b, k, slice_of(value, 8)));
		h->now.value[i] += v;
		break;
	default:
		CK_OK(cairn_batch_put(b, k, slice_of(value, 8)));
		h->now.value[i] = v;
	}
}

static void write_some(struct history *h)
{
	struct cairn_batch *b = cairn_batch_new();

	for (uint64_t n = 1 + rng_below(&h->rng, 12); n; n--)
		change(h, b);
	CK_OK(cairn_write(h->t.db, NULL, b));
	cairn_batch_free(b);
}

static void step(struct history *h)
{
	struct reader *r = &h->reader[rng_below(&h->rng, READERS)];

	switch (rng_below(&h->rng, 40)) {
	case 0:
	case 1:
		CK_OK(cairn_flush(h->t.db, rng_one_in(&h->rng, 2)));
		break;
	case 2:
		if (rng_one_in(&h->rng, 8))
			CK_OK(cairn_compact_range(h->t.db, NONE, NONE, NULL));
		break;
	case 3:
	case 4:
	case 5:
		renew_reader(h, r);
		break;
	default:
		if (rng_one_in(&h->rng, 3))
			write_some(h);
		if (!r->it)
			renew_reader(h, r);
		for (uint64_t n = 5 + rng_below(&h->rng, 40); n; n--)
			move(h, r);
	}
}

static void open_store(struct history *h)
{
	static const char *const settings[][2] = {
		{ "write_buffer_size", "8K" },
		{ "l0_compaction_trigger", "3" },
		{ "base_level_size", "4K" },
		{ "target_file_size", "1K" },
		{ "level_multiplier", "3" },
		{ "block_size", "128" },
		{ "compression", "none" },
		{ "merge_operator", "uint64add" },
	};

	tdb_init(&h->t, NULL);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		tdb_set(&h->t, settings[i][0], settings[i][1]);
	if (rng_one_in(&h->rng, 3))
		tdb_set(&h->t, "block_cache_size", "0");
	cairn_options_set_prefix_extractor(h->t.opts, &decades);
	tdb_open(&h->t);
}

static uint64_t first_seed(void)
{
	const char *seed = getenv("CAIRN_SEED");

	return seed ? strtoull(seed, NULL, 10) : 1;
}

START_TEST(iterators_that_live_on_walk_as_the_model_does)
{
	uint64_t seed = first_seed() + (uint64_t)_i;
	struct history *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	/* Only seen when the test fails. */
	fprintf(stderr, "CAIRN_SEED=%llu\n", (unsigned long long)seed);
	rng_init(&h->rng, seed);
	open_store(h);
	for (int i = 0; i < STEPS; i++)
		step(h);
	for (int i = 0; i < READERS; i++)
		drop_reader(&h->reader[i]);
	tdb_fini(&h->t);
	free(h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iter_reuse");
	TCase *tc = tcase_create("bounds and seeks");

	tcase_add_loop_test(tc, a_walk_follows_the_bounds_that_were_set, 0,
			    (int)(sizeof(moves) / sizeof(moves[0])));
	tcase_add_test(tc, ranges_in_a_row_are_walked_without_a_new_search);
	tcase_add_test(tc, ascending_seeks_search_once);
	suite_add_tcase(s, tc);

	tc = tcase_create("clones and pins");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_clone_sees_what_its_original_does);
	tcase_add_test(tc, a_clone_is_an_iterator_of_its_own);
	tcase_add_test(tc, a_pinned_value_outlives_iterator_and_table);
	tcase_add_test(tc, a_value_is_pinned_also_without_a_cache);
	tcase_add_test(
		tc, clones_are_made_and_walked_while_the_original_is_at_work);
	suite_add_tcase(s, tc);

	tc = tcase_create("model");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(
		tc, iterators_that_live_on_walk_as_the_model_does, 0,
		getenv("CAIRN_HISTORIES") ? atoi(getenv("CAIRN_HISTORIES"))
					  : 6);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
