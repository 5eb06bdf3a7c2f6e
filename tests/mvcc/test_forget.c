/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/forget.h"

#include <pthread.h>
#include <stdio.h>

#include "engine/base/rng.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/gate_env.h"
#include "tests/support/runner.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_fini(&f);
}

static void large(char text[4 * CHUNK], char byte)
{
	memset(text, byte, 4 * CHUNK - 1);
	text[4 * CHUNK - 1] = '\0';
}

START_TEST(only_a_revision_between_bound_and_current_can_be_forgotten)
{
	put(f.m, "a", "1");
	put(f.m, "a", "2");
	put(f.m, "a", "3");
	ck_code(mvcc_forget(f.m, -1), CAIRN_EINVAL);
	ck_ok(mvcc_forget(f.m, 0));
	ck_code(mvcc_forget(f.m, 0), CAIRN_EFORGOTTEN);
	fixture_reopen(&f);
	ck_assert_int_eq(mvcc_current(f.m), 4);
	ck_code(mvcc_forget(f.m, 0), CAIRN_EFORGOTTEN);
	ck_value(f.m, "a", 2, "1");
	ck_code(mvcc_forget(f.m, 5), CAIRN_EFUTURE);
	ck_assert_int_eq(mvcc_oldest(f.m), 1);
	ck_ok(mvcc_forget(f.m, 1));
	ck_ok(mvcc_forget(f.m, 3));
	ck_code(mvcc_forget(f.m, 3), CAIRN_EFORGOTTEN);
	ck_code(mvcc_forget(f.m, 2), CAIRN_EFORGOTTEN);
	ck_assert_int_eq(mvcc_oldest(f.m), 3);
	fixture_reopen(&f);
	ck_assert_int_eq(mvcc_oldest(f.m), 3);
	ck_assert_int_eq(mvcc_current(f.m), 4);
	ck_ok(mvcc_forget(f.m, 4));
}
END_TEST

START_TEST(forgetting_survives_a_power_cut_with_all_commits_before_it)
{
	struct cairn_env *env;
	struct mvcc *m;

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	ck_ok(mvcc_forget(f.m, 3));
	put(f.m, "a", "3"); /* not synced */
	env = env_mem_crash_clone(f.env, 1, 0);
	ck_assert_ptr_nonnull(env);
	ck_ok(store_open_at(env, &m));
	ck_assert_int_eq(mvcc_oldest(m), 3);
	ck_assert_int_ge(mvcc_current(m), 3);
	ck_value(m, "a", 3, "2");
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

static void *forget_main(void *arg)
{
	ck_ok(mvcc_forget(arg, 2));
	return NULL;
}

/* Making the bound durable takes as long as the disk does. */
START_TEST(puts_do_not_wait_until_the_bound_is_on_the_disk)
{
	struct gate_env gate;
	pthread_t thread;
	struct mvcc *m;

	gate_init(&gate, f.env, ".log");
	gate.at_sync = true;
	ck_ok(mvcc_close(f.m));
	ck_ok(store_open_at(&gate.base, &m));
	put(m, "a", "1");
	gate_set(&gate, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, forget_main, m), 0);
	gate_await(&gate, 1);
	/* Nobody opens the gate meanwhile. */
	put(m, "a", "2");
	ck_value(m, "a", 0, "2");
	ck_value(m, "a", 2, "1");
	/* It is the bound only when it is durable. */
	ck_assert_int_eq(mvcc_oldest(m), 1);
	gate_set(&gate, true);
	pthread_join(thread, NULL);
	ck_assert_int_eq(mvcc_oldest(m), 2);
	ck_ok(mvcc_close(m));
	gate_fini(&gate);
	ck_ok(store_open_at(f.env, &f.m));
}
END_TEST

START_TEST(compaction_drops_what_nobody_can_read)
{
	char value[32];

	for (int i = 0; i < 100; i++) {
		snprintf(value, sizeof(value), "%d", i);
		put(f.m, "a", value);
	}
	put(f.m, "b", "1");
	del(f.m, "b");
	compact(f.m);
	/* Nothing is forgotten, nothing may go. */
	ck_assert_uint_eq(count_entries(f.m, "k"), 102);
	ck_ok(mvcc_forget(f.m, 50));
	compact(f.m);
	ck_assert_uint_eq(count_entries(f.m, "k"), 102 - 48);
	ck_value(f.m, "a", 50, "48");
	ck_ok(mvcc_forget(f.m, 103));
	compact(f.m);
	ck_assert_uint_eq(count_entries(f.m, "k"), 1);
	ck_value(f.m, "a", 0, "99");
	ck_value(f.m, "b", 0, NULL);
}
END_TEST

START_TEST(a_pin_keeps_its_revision_readable)
{
	char one[4 * CHUNK], two[4 * CHUNK];

	large(one, '1');
	large(two, '2');
	put(f.m, "a", one);
	put(f.m, "b", "1");
	put(f.m, "a", two);
	del(f.m, "b");
	ck_ok(mvcc_pin(f.m, 3));
	ck_ok(mvcc_forget(f.m, 5));
	forget_wait_idle(f.m);
	compact(f.m);
	ck_value(f.m, "a", 3, one);
	ck_value(f.m, "b", 3, "1");
	ck_code(mvcc_pin(f.m, 4), CAIRN_EFORGOTTEN);
	ck_code(mvcc_pin(f.m, 6), CAIRN_EFUTURE);
	ck_code(mvcc_pin(f.m, 0), CAIRN_EINVAL);
	ck_ok(mvcc_pin(f.m, 3));
	mvcc_unpin(f.m, 3);
	ck_value(f.m, "a", 3, one);
	mvcc_unpin(f.m, 3);
	forget_wait_idle(f.m);
	compact(f.m);
	ck_assert_uint_eq(count_entries(f.m, "k"), 1);
	ck_assert_uint_eq(count_entries(f.m, "c"), 4);
	ck_value(f.m, "a", 0, two);
}
END_TEST

START_TEST(ended_objects_go_when_their_end_is_forgotten)
{
	char v[4 * CHUNK];
	struct mvcc_metrics x;
	struct mvcc_txn *t;

	large(v, 'v');
	put(f.m, "deleted", v);   /* 2 */
	put(f.m, "replaced", v);  /* 3 */
	put(f.m, "overmoved", v); /* 4 */
	put(f.m, "moved", v);     /* 5 */
	ck_assert_uint_eq(count_entries(f.m, "c"), 16);
	del(f.m, "deleted");       /* 6 */
	put(f.m, "replaced", "x"); /* 7 */
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_move(t, S("moved"), S("overmoved")));
	ck_ok(mvcc_txn_commit(t, false, NULL)); /* 8 */
	mvcc_txn_free(t);
	mvcc_metrics_get(f.m, &x);
	ck_assert_uint_eq(x.objects_ended, 3);
	for (int64_t rev = 5; rev <= 8; rev++) {
		ck_ok(mvcc_forget(f.m, rev));
		forget_wait_idle(f.m);
		ck_assert_uint_eq(count_entries(f.m, "c"),
				  (size_t)(16 - 4 * (rev - 5)));
		mvcc_metrics_get(f.m, &x);
		ck_assert_uint_eq(x.objects_ended, (uint64_t)(8 - rev));
	}
	ck_value(f.m, "overmoved", 0, v);
	ck_value(f.m, "replaced", 0, "x");
}
END_TEST

START_TEST(removal_goes_on_after_a_restart)
{
	char v[4 * CHUNK], key[16];
	struct mvcc_metrics x;

	large(v, 'v');
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "%d", i);
		put(f.m, key, v);
		del(f.m, key);
	}
	fixture_reopen(&f);
	forget_wait_idle(f.m);
	mvcc_metrics_get(f.m, &x);
	ck_assert_uint_eq(x.objects_ended, 200);
	ck_ok(mvcc_pin(f.m, 101));
	ck_ok(mvcc_forget(f.m, 401));
	mvcc_unpin(f.m, 101);
	/* Whatever was done until here. */
	fixture_reopen(&f);
	forget_wait_idle(f.m);
	ck_assert_uint_eq(count_entries(f.m, "c"), 0);
	ck_assert_uint_eq(count_entries(f.m, "e"), 0);
	mvcc_metrics_get(f.m, &x);
	ck_assert_uint_eq(x.objects_ended, 0);
}
END_TEST

/* ------------------------------------------------------------------- filter */

/* A compaction that exists only for the filter. */
struct fake_job {
	struct cairn_compaction_info info; /* first */
	bool outside;                      /* what overlaps_outside answers */
	unsigned asked;
	struct buf from, to;
};

static bool answer(const struct cairn_compaction_info *info,
		   struct cairn_slice from, struct cairn_slice to)
{
	struct fake_job *j = (struct fake_job *)(uintptr_t)info;

	j->asked++;
	ck_ok(buf_set(&j->from, from));
	ck_ok(buf_set(&j->to, to));
	return j->outside;
}

static bool drop_row(void *job, const char *key, int64_t main, bool deleted)
{
	struct mvcc_row row = { .main = main,
				.create_rev = main,
				.version = 1,
				.deleted = deleted };
	struct buf k = { 0 }, v = { 0 };
	bool drop;

	ck_ok(enc_row_key(&k, S(key), main, 0));
	ck_ok(enc_row_value(&v, &row, none()));
	drop = f.m->filter.drop(job, buf_slice(&k), buf_slice(&v));
	buf_fini(&v);
	buf_fini(&k);
	return drop;
}

static bool drop_chunk(void *job, uint64_t index, int64_t version,
		       const char *bytes)
{
	const struct enc_chunk c = { 1, index, version };
	uint8_t k[ENC_CHUNK_KEY];

	enc_chunk_key(k, &c);
	return f.m->filter.drop(job, slice_of(k, sizeof(k)), S(bytes));
}

static void commits(int n)
{
	while (n--)
		put(f.m, "x", "x");
}

START_TEST(without_a_bound_nothing_is_filtered)
{
	struct fake_job j = { .info = { .overlaps_outside = answer } };

	commits(10);
	ck_assert_ptr_null(f.m->filter.begin(f.m->filter.ctx, &j.info));
}
END_TEST

START_TEST(the_filter_drops_shadowed_versions_only)
{
	struct fake_job j = { .info = { .overlaps_outside = answer } };
	const char *log = "r\0\0\0\0\0\0\0\5\0\0\0\0";
	void *job;

	commits(20);
	ck_ok(mvcc_forget(f.m, 10));
	job = f.m->filter.begin(f.m->filter.ctx, &j.info);
	ck_assert_ptr_nonnull(job);
	/* Newest first, as a compaction meets them. */
	ck_assert(!drop_chunk(job, 0, 12, "x"));
	ck_assert(!drop_chunk(job, 0, 9, "x"));
	ck_assert(drop_chunk(job, 0, 8, "x"));
	ck_assert(drop_chunk(job, 0, 0, "x"));
	ck_assert(!drop_chunk(job, 1, 0, "x"));
	ck_assert(!drop_row(job, "a", 15, false));
	ck_assert(!drop_row(job, "a", 11, true));
	ck_assert(!drop_row(job, "a", 10, false));
	ck_assert(drop_row(job, "a", 9, true));
	ck_assert(drop_row(job, "a", 3, false));
	ck_assert(!drop_row(job, "ab", 3, false));
	ck_assert(drop_row(job, "ab", 2, false));
	ck_assert(!drop_row(job, "b", 2, false));
	ck_assert(f.m->filter.drop(job, slice_of(log, 13), S("Pa")));
	ck_assert(!f.m->filter.drop(
		job, slice_of("r\0\0\0\0\0\0\0\12\0\0\0\0", 13), S("Pa")));
	/* Everything else stays, and what is malformed. */
	ck_assert(!f.m->filter.drop(job, S("m/compact"), S("12345678")));
	ck_assert(!f.m->filter.drop(job, S("k"), S("")));
	ck_assert(!f.m->filter.drop(job, S(""), S("")));
	ck_assert(!f.m->filter.drop(job, slice_of(log, 12), S("Pa")));
	ck_assert_uint_eq(j.asked, 0);
	f.m->filter.end(job);
}
END_TEST

START_TEST(a_tombstone_stays_while_older_versions_may_be_elsewhere)
{
	struct fake_job j = { .info = { .overlaps_outside = answer },
			      .outside = _i != 0 };
	struct buf k = { 0 };
	void *job;

	commits(20);
	ck_ok(mvcc_forget(f.m, 10));
	job = f.m->filter.begin(f.m->filter.ctx, &j.info);
	ck_assert_ptr_nonnull(job);
	ck_assert(!drop_row(job, "a", 11, true)); /* above the bound */
	ck_assert_uint_eq(j.asked, 0);
	ck_assert(drop_row(job, "a", 8, true) == !j.outside);
	ck_assert_uint_eq(j.asked, 1);
	/* Asked about itself up to the next key. */
	ck_ok(enc_row_key(&k, S("a"), 8, 0));
	ck_assert(slice_eq(buf_slice(&k), buf_slice(&j.from)));
	ck_ok(enc_prefix(&k, S("a")));
	k.data[k.len - 1] = 2;
	ck_assert(slice_eq(buf_slice(&k), buf_slice(&j.to)));
	/* What it hides in this compaction goes in any case. */
	ck_assert(drop_row(job, "a", 7, false));
	ck_assert(drop_row(job, "a", 5, true));
	ck_assert_uint_eq(j.asked, 1);
	/* Empty chunks are the tombstones of chunks. */
	ck_assert(drop_chunk(job, 0, 8, "") == !j.outside);
	ck_assert(drop_chunk(job, 0, 7, "x"));
	ck_assert(!drop_chunk(job, UINT64_MAX, 8, "x"));
	f.m->filter.end(job);
	buf_fini(&k);
	buf_fini(&j.from);
	buf_fini(&j.to);
}
END_TEST

START_TEST(the_filter_stops_at_the_lowest_pin)
{
	struct fake_job j = { .info = { .overlaps_outside = answer } };
	void *job;

	commits(20);
	ck_ok(mvcc_pin(f.m, 6));
	ck_ok(mvcc_forget(f.m, 10));
	job = f.m->filter.begin(f.m->filter.ctx, &j.info);
	ck_assert_ptr_nonnull(job);
	ck_assert(!drop_row(job, "a", 9, false));
	ck_assert(!drop_row(job, "a", 6, false));
	ck_assert(drop_row(job, "a", 5, false));
	f.m->filter.end(job);
	mvcc_unpin(f.m, 6);
}
END_TEST

/* ------------------------------------------------------- the tombstone hazard
 */

/* Levels so small that a few flushes fill several of them. */
static void reopen_with_many_levels(void)
{
	struct cairn_options *o = small_options(f.env);
	struct mvcc_options mo = { .engine = o, .chunk_size = 4096 };

	ck_ok(mvcc_close(f.m));
	ck_ok(cairn_options_set(o, "base_level_size", "8K"));
	ck_ok(cairn_options_set(o, "level_multiplier", "4"));
	ck_ok(cairn_options_set(o, "target_file_size", "4K"));
	ck_ok(mvcc_open("/db", &mo, &f.m));
	cairn_options_free(o);
}

/* A value that does not compress. */
static void put_noise(struct rng *r, const char *key)
{
	uint8_t noise[900];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)rng_next(r);
	ck_ok(mvcc_put(f.m, S(key), slice_of(noise, sizeof(noise)), NULL,
		       NULL));
}

/*
 * A put at the bottom and its tombstone above it: the tombstone must not go
 * before what it hides.
 */
START_TEST(a_deleted_key_stays_away_when_only_the_top_is_compacted)
{
	struct cairn_metrics x;
	char key[16];
	struct rng r;

	rng_init(&r, 1);
	reopen_with_many_levels();
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "%03d", i);
		put_noise(&r, key);
	}
	put(f.m, "150-k", "old");
	compact(f.m);
	del(f.m, "150-k");
	ck_ok(mvcc_forget(f.m, mvcc_current(f.m)));
	/* Flush after flush, until compactions start by themselves. */
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "%03d", 140 + i % 20);
		put_noise(&r, key);
		flush(f.m);
		ck_ok(cairn_wait_idle(mvcc_db(f.m)));
		ck_value(f.m, "150-k", 0, NULL);
	}
	cairn_metrics_get(mvcc_db(f.m), &x);
	ck_assert_uint_gt(x.compactions, 5);
	ck_value(f.m, "150-k", mvcc_oldest(f.m), NULL);
	fixture_reopen(&f);
	ck_value(f.m, "150-k", 0, NULL);
}
END_TEST

/* Ranges rewritten at random while compactions run by themselves. */
START_TEST(no_order_of_compactions_brings_a_deleted_key_back)
{
	char key[16], from[16], to[16];
	bool live[100] = { false };
	struct rng r;

	rng_init(&r, (uint64_t)_i + 1);
	reopen_with_many_levels();
	for (int step = 0; step < 1500; step++) {
		int k = (int)rng_below(&r, 100);
		int64_t cur = mvcc_current(f.m);

		snprintf(key, sizeof(key), "%02d", k);
		switch (rng_below(&r, 40)) {
		case 0:
			if (mvcc_oldest(f.m) < cur)
				ck_ok(mvcc_forget(f.m, cur));
			break;
		case 1:
			snprintf(from, sizeof(from), "k%02d", k);
			snprintf(to, sizeof(to), "k%02d", k + 3);
			ck_ok(cairn_compact_range(mvcc_db(f.m), S(from), S(to),
						  NULL));
			break;
		case 2:
		case 3:
			flush(f.m);
			break;
		default:
			live[k] = rng_one_in(&r, 2);
			if (live[k])
				put_noise(&r, key);
			else
				del(f.m, key);
			break;
		}
	}
	for (int round = 0; round < 2; round++) {
		for (int k = 0; k < 100; k++) {
			char *got;

			snprintf(key, sizeof(key), "%02d", k);
			got = get_at(f.m, key, 0);
			ck_assert_int_eq(got != NULL, live[k]);
			free(got);
		}
		fixture_reopen(&f);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("forget");
	TCase *tc = tcase_create("forget");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(
		tc, only_a_revision_between_bound_and_current_can_be_forgotten);
	tcase_add_test(
		tc, forgetting_survives_a_power_cut_with_all_commits_before_it);
	tcase_add_test(tc, puts_do_not_wait_until_the_bound_is_on_the_disk);
	tcase_add_test(tc, compaction_drops_what_nobody_can_read);
	tcase_add_test(tc, a_pin_keeps_its_revision_readable);
	tcase_add_test(tc, ended_objects_go_when_their_end_is_forgotten);
	tcase_add_test(tc, removal_goes_on_after_a_restart);
	tcase_add_test(tc, without_a_bound_nothing_is_filtered);
	tcase_add_test(tc, the_filter_drops_shadowed_versions_only);
	tcase_add_loop_test(
		tc, a_tombstone_stays_while_older_versions_may_be_elsewhere, 0,
		2);
	tcase_add_test(tc, the_filter_stops_at_the_lowest_pin);
	tcase_add_test(tc,
		       a_deleted_key_stays_away_when_only_the_top_is_compacted);
	tcase_add_loop_test(
		tc, no_order_of_compactions_brings_a_deleted_key_back, 0, 20);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
