/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Range deletion as the user sees it: by itself, and in long random histories
 * against a model.
 */
#include "tests/support/db_test.h"

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "engine/db/db.h"

/* ----------------------------------------------------------------- the calls
 */

static int delete_range(struct test_db *t, const char *start, const char *end)
{
	return cairn_delete_range(t->db, NULL, slice_str(start),
				  slice_str(end));
}

/* All keys, forward and backward; both must agree. */
static void expect_keys_at(struct test_db *t, const struct cairn_snapshot *snap,
			   const char *want)
{
	const struct cairn_read_options o = { .snapshot = snap };

	tdb_expect_keys(t, &o, want);
}

static void expect_keys(struct test_db *t, const char *want)
{
	expect_keys_at(t, NULL, want);
}

static void compact_all(struct test_db *t)
{
	const struct cairn_slice all = { 0 };

	CK_OK(cairn_compact_range(t->db, all, all, NULL));
}

static void put_letters(struct test_db *t, const char *letters)
{
	char key[2] = { 0 };

	for (; *letters; letters++) {
		key[0] = *letters;
		tdb_put(t, key, "value");
	}
}

START_TEST(a_range_goes_with_its_start_and_without_its_end)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	put_letters(&t, "abcdefg");
	CK_OK(delete_range(&t, "c", "e"));
	tdb_expect(&t, "b", "value");
	tdb_expect(&t, "c", NULL);
	tdb_expect(&t, "d", NULL);
	tdb_expect(&t, "e", "value");
	expect_keys(&t, "abefg");
	tdb_put(&t, "d", "again");
	expect_keys(&t, "abdefg");
	tdb_reopen(&t);
	expect_keys(&t, "abdefg");
	CK_OK(cairn_flush(t.db, true));
	expect_keys(&t, "abdefg");
	compact_all(&t);
	expect_keys(&t, "abdefg");
	tdb_expect(&t, "c", NULL);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_empty_range_is_nothing_and_an_inverted_one_is_refused)
{
	struct cairn_batch *b = cairn_batch_new();
	static char long_key[CAIRN_KEY_MAX + 2];
	struct test_db t;
	uint64_t seqno;

	tdb_init(&t, NULL);
	tdb_open(&t);
	put_letters(&t, "abc");
	seqno = atomic_load(&t.db->visible);
	CK_OK(delete_range(&t, "b", "b"));
	CK_CODE(delete_range(&t, "c", "b"), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "ends before it begins"));
	CK_OK(cairn_batch_delete_range(b, slice_str("b"), slice_str("b")));
	ck_assert_uint_eq(cairn_batch_count(b), 0);
	CK_CODE(cairn_batch_delete_range(b, slice_str("c"), slice_str("b")),
		CAIRN_EINVAL);
	memset(long_key, 'x', CAIRN_KEY_MAX + 1);
	CK_CODE(cairn_batch_delete_range(b, slice_str("c"),
					 slice_str(long_key)),
		CAIRN_EINVAL);
	CK_CODE(delete_range(&t, "c", long_key), CAIRN_EINVAL);
	ck_assert_uint_eq(cairn_batch_count(b), 0);
	CK_OK(cairn_write(t.db, NULL, b));
	ck_assert_uint_eq(atomic_load(&t.db->visible), seqno);
	expect_keys(&t, "abc");
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(nothing_is_deleted_in_a_database_that_is_read_only)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	put_letters(&t, "abc");
	tdb_close(&t);
	tdb_set(&t, "read_only", "true");
	tdb_open(&t);
	CK_CODE(delete_range(&t, "a", "b"), CAIRN_EROFS);
	CK_CODE(delete_range(&t, "a", "a"), CAIRN_EROFS);
	expect_keys(&t, "abc");
	tdb_fini(&t);
}
END_TEST

START_TEST(in_a_batch_a_range_takes_what_comes_before_it)
{
	struct cairn_batch *b = cairn_batch_new();
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	put_letters(&t, "a");
	CK_OK(cairn_batch_put(b, slice_str("b"), slice_str("before")));
	CK_OK(cairn_batch_delete_range(b, slice_str("a"), slice_str("d")));
	CK_OK(cairn_batch_put(b, slice_str("c"), slice_str("after")));
	ck_assert_uint_eq(cairn_batch_count(b), 3);
	CK_OK(cairn_write(t.db, NULL, b));
	for (int i = 0; i < 4; i++) {
		expect_keys(&t, "c");
		tdb_expect(&t, "c", "after");
		if (i == 0)
			tdb_reopen(&t);
		else if (i == 1)
			CK_OK(cairn_flush(t.db, true));
		else
			compact_all(&t);
	}
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_snapshot_keeps_what_is_deleted_later)
{
	struct cairn_snapshot *s;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	put_letters(&t, "abcd");
	s = cairn_snapshot_new(t.db);
	CK_OK(delete_range(&t, "a", "c"));
	for (int i = 0; i < 3; i++) {
		expect_keys(&t, "cd");
		expect_keys_at(&t, s, "abcd");
		if (i == 0)
			CK_OK(cairn_flush(t.db, true));
		else
			compact_all(&t);
	}
	cairn_snapshot_release(s);
	compact_all(&t);
	expect_keys(&t, "cd");
	tdb_fini(&t);
}
END_TEST

static uint64_t n_tables(struct test_db *t, uint64_t *range_deletions)
{
	struct cairn_table_list l;
	uint64_t n;

	*range_deletions = 0;
	CK_OK(cairn_tables(t->db, -1, &l));
	for (size_t i = 0; i < l.n; i++)
		*range_deletions += l.tables[i].range_deletions;
	n = l.n;
	cairn_table_list_free(&l);
	return n;
}

START_TEST(at_the_bottom_nothing_of_it_is_left)
{
	struct test_db t;
	uint64_t ranges;

	tdb_init(&t, NULL);
	/* Else the table below would be dropped at once. */
	tdb_set(&t, "auto_compactions", "false");
	tdb_open(&t);
	put_letters(&t, "abcdefgh");
	compact_all(&t);
	CK_OK(delete_range(&t, "a", "z"));
	CK_OK(cairn_flush(t.db, true));
	ck_assert_uint_eq(n_tables(&t, &ranges), 2);
	ck_assert_uint_eq(ranges, 1);
	expect_keys(&t, "");
	compact_all(&t);
	ck_assert_uint_eq(n_tables(&t, &ranges), 0);
	expect_keys(&t, "");
	tdb_fini(&t);
}
END_TEST

/* More tombstones than are looked at one by one, in a memtable that changes
 * between reads. */
START_TEST(many_ranges_in_a_memtable_are_seen_at_once)
{
	struct test_db t;
	char key[16], end[16];

	tdb_init(&t, NULL);
	tdb_open(&t);
	for (int i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "%04d", i);
		tdb_put(&t, key, "value");
	}
	for (int i = 0; i < 300; i++) {
		int at = i * 7 % 300 * 2;

		snprintf(key, sizeof(key), "%04d", at);
		snprintf(end, sizeof(end), "%04d", at + 1);
		CK_OK(delete_range(&t, key, end));
		tdb_expect(&t, key, NULL);
		tdb_expect(&t, end, "value");
		tdb_expect(&t, "0001", "value");
	}
	for (int i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "%04d", i);
		tdb_expect(&t, key, i % 2 ? "value" : NULL);
	}
	tdb_fini(&t);
}
END_TEST

/* A wide swath below a range is passed over without being read. */
START_TEST(what_a_range_covers_is_not_read)
{
	struct cairn_metrics before, after;
	struct cairn_iter *it;
	struct test_db t;
	char key[16];

	tdb_init(&t, NULL);
	tdb_set(&t, "block_size", "256");
	tdb_set(&t, "auto_compactions", "false");
	tdb_open(&t);
	for (int i = 0; i < 4000; i++) {
		snprintf(key, sizeof(key), "%05d", i);
		tdb_put(&t, key, "a value of some length");
	}
	compact_all(&t);
	CK_OK(delete_range(&t, "00010", "03990"));
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	cairn_metrics_get(t.db, &before);
	ck_assert(cairn_iter_seek_ge(it, slice_str("00009")));
	ck_assert(cairn_iter_next(it));
	ck_assert(slice_eq(cairn_iter_key(it), slice_str("03990")));
	ck_assert(cairn_iter_prev(it));
	ck_assert(slice_eq(cairn_iter_key(it), slice_str("00009")));
	ck_assert(cairn_iter_seek_ge(it, slice_str("02000")));
	ck_assert(slice_eq(cairn_iter_key(it), slice_str("03990")));
	ck_assert(cairn_iter_seek_lt(it, slice_str("02000")));
	ck_assert(slice_eq(cairn_iter_key(it), slice_str("00009")));
	cairn_metrics_get(t.db, &after);
	ck_assert_uint_lt(after.cache_hits + after.cache_misses,
			  before.cache_hits + before.cache_misses + 30);
	cairn_iter_free(it);
	tdb_fini(&t);
}
END_TEST

static void ingest(struct test_db *t, const char *key)
{
	const char *path = "/external.sst";
	struct cairn_sst_writer *w;

	CK_OK(cairn_sst_writer_open(path, t->opts, &w));
	CK_OK(cairn_sst_writer_put(w, slice_str(key), slice_str("ingested")));
	CK_OK(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	CK_OK(cairn_ingest(t->db, &path, 1, NULL));
	CK_OK(env_unlink(t->mem, path));
}

START_TEST(what_is_ingested_into_a_deleted_range_is_there)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	put_letters(&t, "abc");
	compact_all(&t);
	/* The tombstone in the memtable, then in a table. */
	CK_OK(delete_range(&t, "a", "z"));
	ingest(&t, "m");
	expect_keys(&t, "m");
	tdb_expect(&t, "m", "ingested");
	CK_OK(cairn_flush(t.db, true));
	ingest(&t, "p");
	expect_keys(&t, "mp");
	tdb_reopen(&t);
	expect_keys(&t, "mp");
	compact_all(&t);
	expect_keys(&t, "mp");
	tdb_expect(&t, "p", "ingested");
	CK_OK(delete_range(&t, "n", "q"));
	expect_keys(&t, "m");
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------- the model */

#define KEYS  160
#define SNAPS 6
#define STEPS 900

struct state {
	int value[KEYS]; /* 0: absent */
};

struct history {
	struct test_db t;
	struct rng rng;
	struct state now;
	int last; /* value given last */
	struct {
		struct cairn_snapshot *snap; /* NULL: none */
		struct state state;
	} snaps[SNAPS];
};

static size_t key_text(char out[16], int i)
{
	return (size_t)snprintf(out, 16, "k%03d", i);
}

static size_t value_text(char out[128], int v)
{
	return (size_t)snprintf(out, 128, "%d %0*d", v, 10 + v % 90, v);
}

static void expect_value(struct cairn_slice got, int v)
{
	char text[128];
	size_t len = value_text(text, v);

	ck_assert_msg(slice_eq(got, slice_of(text, len)), "%.*s, not %s",
		      (int)got.len, (const char *)got.data, text);
}

static void check_gets(struct history *h, const struct cairn_snapshot *snap,
		       const struct state *s)
{
	struct cairn_read_options o = { .snapshot = snap };

	for (int i = 0; i < KEYS; i++) {
		struct cairn_pinned p = { 0 };
		char key[16];
		size_t len = key_text(key, i);
		int err = cairn_get(h->t.db, &o, slice_of(key, len), &p);

		if (!s->value[i]) {
			ck_assert_msg(err == CAIRN_NOT_FOUND, "%s: %d, %s", key,
				      err, cairn_errmsg());
			continue;
		}
		ck_assert_msg(!err, "%s: %d, %s", key, err, cairn_errmsg());
		expect_value(p.value, s->value[i]);
		cairn_pinned_release(&p);
	}
}

/* The next key at or after i, or at or before it; outside when there is none.
 */
static int forward_from(const struct state *s, int i, int end)
{
	while (i < end && !s->value[i])
		i++;
	return i < end ? i : KEYS;
}

static int backward_from(const struct state *s, int i, int begin)
{
	while (i >= begin && !s->value[i])
		i--;
	return i >= begin ? i : KEYS;
}

static void expect_at(struct cairn_iter *it, bool on, const struct state *s,
		      int i)
{
	char key[16];
	size_t len;

	CK_OK(cairn_iter_status(it));
	ck_assert_int_eq(on, i < KEYS);
	ck_assert_int_eq(cairn_iter_valid(it), i < KEYS);
	if (i == KEYS)
		return;
	len = key_text(key, i);
	ck_assert_msg(slice_eq(cairn_iter_key(it), slice_of(key, len)),
		      "%.*s, not %s", (int)cairn_iter_key(it).len,
		      (const char *)cairn_iter_key(it).data, key);
	expect_value(cairn_iter_value(it), s->value[i]);
}

/* From end to end both ways, and jumping about with turns. */
static void check_iter(struct history *h, const struct cairn_snapshot *snap,
		       const struct state *s, bool bounded)
{
	struct cairn_read_options o = { .snapshot = snap };
	char low[16], high[16], key[16];
	int begin = 0, end = KEYS, at;
	struct cairn_iter *it;

	if (bounded) {
		begin = (int)rng_below(&h->rng, KEYS);
		end = begin + (int)rng_below(&h->rng, (uint64_t)(KEYS - begin));
		o.lower = slice_of(low, key_text(low, begin));
		o.upper = slice_of(high, key_text(high, end));
	}
	CK_OK(cairn_iter_new(h->t.db, &o, &it));
	at = forward_from(s, begin, end);
	expect_at(it, cairn_iter_first(it), s, at);
	while (at < KEYS) {
		at = forward_from(s, at + 1, end);
		expect_at(it, cairn_iter_next(it), s, at);
	}
	at = backward_from(s, end - 1, begin);
	expect_at(it, cairn_iter_last(it), s, at);
	while (at < KEYS) {
		at = backward_from(s, at - 1, begin);
		expect_at(it, cairn_iter_prev(it), s, at);
	}
	for (int n = 0; n < 40; n++) {
		int to = (int)rng_below(&h->rng, KEYS);
		struct cairn_slice k = slice_of(key, key_text(key, to));

		if (rng_one_in(&h->rng, 2)) {
			at = forward_from(s, to < begin ? begin : to, end);
			expect_at(it, cairn_iter_seek_ge(it, k), s, at);
		} else {
			at = backward_from(s, to > end ? end - 1 : to - 1,
					   begin);
			expect_at(it, cairn_iter_seek_lt(it, k), s, at);
		}
		for (int m = 0; at < KEYS && m < 6; m++) {
			if (rng_one_in(&h->rng, 2)) {
				at = forward_from(s, at + 1, end);
				expect_at(it, cairn_iter_next(it), s, at);
			} else {
				at = backward_from(s, at - 1, begin);
				expect_at(it, cairn_iter_prev(it), s, at);
			}
		}
	}
	cairn_iter_free(it);
}

static void check_all(struct history *h)
{
	check_gets(h, NULL, &h->now);
	check_iter(h, NULL, &h->now, false);
	check_iter(h, NULL, &h->now, true);
	for (int i = 0; i < SNAPS; i++) {
		if (!h->snaps[i].snap)
			continue;
		check_gets(h, h->snaps[i].snap, &h->snaps[i].state);
		check_iter(h, h->snaps[i].snap, &h->snaps[i].state, false);
		check_iter(h, h->snaps[i].snap, &h->snaps[i].state, true);
	}
}

/* One change, into the batch and the model. */
static void change(struct history *h, struct cairn_batch *b)
{
	uint64_t what = rng_below(&h->rng, 12);
	int i = (int)rng_below(&h->rng, KEYS);
	char key[16], end[16], value[128];
	struct cairn_slice k = slice_of(key, key_text(key, i));

	if (what < 2) {
		/* Mostly narrow, sometimes all. */
		uint64_t most = rng_one_in(&h->rng, 8) ? KEYS : 20;
		int to = i + (int)rng_below(&h->rng, most);

		if (to > KEYS)
			to = KEYS;
		CK_OK(cairn_batch_delete_range(
			b, k, slice_of(end, key_text(end, to))));
		for (; i < to; i++)
			h->now.value[i] = 0;
	} else if (what < 4) {
		CK_OK(cairn_batch_delete(b, k));
		h->now.value[i] = 0;
	} else {
		h->now.value[i] = ++h->last;
		CK_OK(cairn_batch_put(
			b, k, slice_of(value, value_text(value, h->last))));
	}
}

static void write_some(struct history *h)
{
	struct cairn_batch *b = cairn_batch_new();
	uint64_t n = 1 + rng_below(&h->rng, rng_one_in(&h->rng, 10) ? 60 : 4);

	while (n--)
		change(h, b);
	CK_OK(cairn_write(h->t.db, NULL, b));
	cairn_batch_free(b);
}

static void drop_snapshot(struct history *h, int i)
{
	cairn_snapshot_release(h->snaps[i].snap);
	h->snaps[i].snap = NULL;
}

static void toggle_snapshot(struct history *h)
{
	int i = (int)rng_below(&h->rng, SNAPS);

	if (h->snaps[i].snap) {
		drop_snapshot(h, i);
		return;
	}
	h->snaps[i].snap = cairn_snapshot_new(h->t.db);
	ck_assert_ptr_nonnull(h->snaps[i].snap);
	h->snaps[i].state = h->now;
}

static void compact_some(struct history *h)
{
	int i = (int)rng_below(&h->rng, KEYS);
	int to = i + (int)rng_below(&h->rng, KEYS);
	char from[16], end[16];

	CK_OK(cairn_compact_range(h->t.db, slice_of(from, key_text(from, i)),
				  slice_of(end, key_text(end, to)), NULL));
}

static void step(struct history *h)
{
	switch (rng_below(&h->rng, 60)) {
	case 0:
	case 1:
		CK_OK(cairn_flush(h->t.db, true));
		break;
	case 2:
		compact_some(h);
		break;
	case 3:
		if (rng_one_in(&h->rng, 4))
			compact_all(&h->t);
		break;
	case 4:
		CK_OK(cairn_wait_idle(h->t.db));
		break;
	case 5:
		if (!rng_one_in(&h->rng, 3))
			break;
		for (int i = 0; i < SNAPS; i++)
			drop_snapshot(h, i);
		tdb_reopen(&h->t);
		break;
	case 6:
	case 7:
	case 8:
		toggle_snapshot(h);
		break;
	case 9:
	case 10:
		check_all(h);
		break;
	default:
		write_some(h);
		break;
	}
}

static void small_options(struct history *h)
{
	static const char *const settings[][2] = {
		{ "write_buffer_size", "8K" }, { "l0_compaction_trigger", "2" },
		{ "base_level_size", "4K" },   { "target_file_size", "2K" },
		{ "level_multiplier", "3" },   { "block_size", "256" },
		{ "compression", "none" },
	};
	static const char *const bits[] = { "0", "10" };

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		tdb_set(&h->t, settings[i][0], settings[i][1]);
	tdb_set(&h->t, "bloom_bits_per_key", bits[rng_below(&h->rng, 2)]);
	if (rng_one_in(&h->rng, 4))
		tdb_set(&h->t, "auto_compactions", "false");
	if (rng_one_in(&h->rng, 4))
		tdb_set(&h->t, "l0_stop", "64");
}

static uint64_t first_seed(void)
{
	const char *seed = getenv("CAIRN_SEED");

	return seed ? strtoull(seed, NULL, 10) : 1;
}

START_TEST(a_random_history_reads_as_the_model_does)
{
	uint64_t seed = first_seed() + (uint64_t)_i;
	struct history *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	/* Only seen when the test fails. */
	fprintf(stderr, "CAIRN_SEED=%llu\n", (unsigned long long)seed);
	rng_init(&h->rng, seed);
	tdb_init(&h->t, NULL);
	small_options(h);
	tdb_open(&h->t);
	for (int i = 0; i < STEPS; i++)
		step(h);
	check_all(h);
	for (int i = 0; i < SNAPS; i++)
		drop_snapshot(h, i);
	CK_OK(cairn_verify_checksums(h->t.db));
	tdb_fini(&h->t);
	free(h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("range_del");
	TCase *calls = tcase_create("calls");
	TCase *model = tcase_create("model");

	tcase_add_test(calls, a_range_goes_with_its_start_and_without_its_end);
	tcase_add_test(
		calls,
		an_empty_range_is_nothing_and_an_inverted_one_is_refused);
	tcase_add_test(calls,
		       nothing_is_deleted_in_a_database_that_is_read_only);
	tcase_add_test(calls, in_a_batch_a_range_takes_what_comes_before_it);
	tcase_add_test(calls, a_snapshot_keeps_what_is_deleted_later);
	tcase_add_test(calls, at_the_bottom_nothing_of_it_is_left);
	tcase_add_test(calls, many_ranges_in_a_memtable_are_seen_at_once);
	tcase_add_test(calls, what_a_range_covers_is_not_read);
	tcase_add_test(calls, what_is_ingested_into_a_deleted_range_is_there);
	suite_add_tcase(s, calls);
	tcase_set_timeout(model, 120);
	tcase_add_loop_test(model, a_random_history_reads_as_the_model_does, 0,
			    getenv("CAIRN_HISTORIES")
				    ? atoi(getenv("CAIRN_HISTORIES"))
				    : 6);
	suite_add_tcase(s, model);
	return run_suite(s);
}
