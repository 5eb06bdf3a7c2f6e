/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/row_cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"

static struct cairn_slice key_of(int i, char *text, size_t len)
{
	snprintf(text, len, "key-%d", i);
	return slice_str(text);
}

static void put(struct row_cache *c, int i, int64_t main, const char *value)
{
	const struct cached_row row = { .main = main,
					.sub = i,
					.full_len = strlen(value) + 1,
					.value = slice_str(value) };
	char text[32];

	row_cache_put(c, key_of(i, text, sizeof(text)), &row);
}

/* The main of the row of key i; -1 when it is not there. */
static int64_t get(struct row_cache *c, int i, char *value, size_t len)
{
	struct cached_row row;
	uint8_t *own = NULL;
	char text[32];
	int err = row_cache_get(c, key_of(i, text, sizeof(text)), &row, &own);

	if (err == CAIRN_NOT_FOUND)
		return -1;
	ck_assert_int_eq(err, CAIRN_OK);
	ck_assert(memcmp(own, text, strlen(text)) == 0);
	ck_assert_int_eq(row.sub, i);
	ck_assert_uint_eq(row.full_len, row.value.len + 1);
	ck_assert_uint_lt(row.value.len, len);
	memcpy(value, row.value.data, row.value.len);
	value[row.value.len] = '\0';
	free(own);
	return row.main;
}

START_TEST(the_last_row_put_is_what_comes_back)
{
	struct row_cache c;
	char value[64];

	row_cache_init(&c, 1 << 20);
	ck_assert_int_eq(get(&c, 1, value, sizeof(value)), -1);
	for (int i = 0; i < 1000; i++)
		put(&c, i, i + 2, "old");
	for (int i = 0; i < 1000; i += 2)
		put(&c, i, i + 5000, "newer");
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(get(&c, i, value, sizeof(value)),
				 i % 2 ? i + 2 : i + 5000);
		ck_assert_str_eq(value, i % 2 ? "old" : "newer");
	}
	row_cache_fini(&c);
}
END_TEST

START_TEST(memory_is_bounded_and_the_least_used_goes_first)
{
	struct row_cache_stats stats;
	struct row_cache c;
	char value[512], big[400];

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	row_cache_init(&c, 256 << 10);
	put(&c, 0, 1, "kept");
	for (int i = 1; i < 20000; i++) {
		put(&c, i, i, big);
		/* Key 0 is used all the time. */
		ck_assert_int_eq(get(&c, 0, value, sizeof(value)), 1);
		row_cache_stats(&c, &stats);
		ck_assert_uint_le(stats.bytes, (256 << 10) + (64 << 10));
	}
	ck_assert_int_eq(get(&c, 1, value, sizeof(value)), -1);
	ck_assert_int_eq(get(&c, 19999, value, sizeof(value)), 19999);
	row_cache_fini(&c);
}
END_TEST

START_TEST(a_row_too_large_for_a_part_replaces_the_old_one_by_nothing)
{
	static char big[9000];
	struct row_cache c;
	char value[64];

	memset(big, 'x', sizeof(big) - 1);
	row_cache_init(&c, 64 << 10);
	put(&c, 1, 1, "old");
	put(&c, 1, 2, big);
	ck_assert_int_eq(get(&c, 1, value, sizeof(value)), -1);
	row_cache_fini(&c);
}
END_TEST

START_TEST(readers_add_nothing_once_a_commit_has_begun)
{
	const struct cached_row row = {
		.main = 4, .sub = 1, .full_len = 2, .value = slice_str("x")
	};
	_Atomic int64_t begun = 5;
	struct row_cache c;
	char value[64], text[32];

	row_cache_init(&c, 64 << 10);
	row_cache_fill(&c, key_of(1, text, sizeof(text)), &row, &begun, 4);
	ck_assert_int_eq(get(&c, 1, value, sizeof(value)), -1);
	ck_assert(!row_cache_has(&c, slice_str("key-1")));
	row_cache_fill(&c, key_of(1, text, sizeof(text)), &row, &begun, 5);
	ck_assert_int_eq(get(&c, 1, value, sizeof(value)), 4);
	ck_assert(row_cache_has(&c, slice_str("key-1")));
	row_cache_fini(&c);
}
END_TEST

/* Since which revision it is known that nothing is below the key; 0: not. */
static int64_t none_below(struct row_cache *c, const char *key)
{
	struct cached_row row;
	uint8_t *own = NULL;

	ck_assert_int_eq(row_cache_get(c, slice_str(key), &row, &own),
			 CAIRN_OK);
	free(own);
	return row.none_below;
}

START_TEST(that_nothing_is_below_a_key_is_known_until_something_is)
{
	const struct cached_row row = { .main = 3, .sub = 1 };
	_Atomic int64_t begun = 5;
	struct row_cache c;

	row_cache_init(&c, 64 << 10);
	row_cache_none_below(&c, slice_str("a/b"), &begun, 5);
	ck_assert(!row_cache_has(&c, slice_str("a/b")));
	row_cache_put(&c, slice_str("a/b"), &row);
	ck_assert_int_eq(none_below(&c, "a/b"), 0);
	row_cache_none_below(&c, slice_str("a/b"), &begun, 4);
	ck_assert_int_eq(none_below(&c, "a/b"), 0);
	row_cache_none_below(&c, slice_str("a/b"), &begun, 5);
	ck_assert_int_eq(none_below(&c, "a/b"), 5);
	atomic_store(&begun, 6);
	row_cache_none_below(&c, slice_str("a/b"), &begun, 6);
	ck_assert_int_eq(none_below(&c, "a/b"), 5);

	/* These are not below it. */
	row_cache_put(&c, slice_str("a/b"), &row);
	row_cache_made(&c, slice_str("a/b"));
	row_cache_made(&c, slice_str("a/bc/d"));
	row_cache_made(&c, slice_str("a/b!/d"));
	row_cache_made(&c, slice_str("a/"));
	ck_assert_int_eq(none_below(&c, "a/b"), 5);
	row_cache_made(&c, slice_str("a/b/c/d"));
	ck_assert_int_eq(none_below(&c, "a/b"), 0);
	row_cache_none_below(&c, slice_str("a/b"), &begun, 6);
	row_cache_made(&c, slice_str("a/b/"));
	ck_assert_int_eq(none_below(&c, "a/b"), 0);
	row_cache_fini(&c);
}
END_TEST

struct race {
	struct row_cache c;
	_Atomic int64_t begun;
	_Atomic int64_t current;
	_Atomic bool stop;
};

/* Fills what it "found" at the current revision. */
static void *fill_all_the_time(void *arg)
{
	struct race *r = arg;

	while (!atomic_load(&r->stop)) {
		int64_t rev = atomic_load(&r->current);
		const struct cached_row row = { .main = rev,
						.sub = 1,
						.full_len = 2,
						.value = slice_str("x") };

		row_cache_fill(&r->c, slice_str("key-1"), &row, &r->begun, rev);
	}
	return NULL;
}

START_TEST(a_slow_reader_never_brings_an_old_row_back)
{
	struct race r = { .begun = 1, .current = 1 };
	pthread_t readers[2];
	char value[64];

	row_cache_init(&r.c, 64 << 10);
	for (int i = 0; i < 2; i++)
		ck_assert(!pthread_create(&readers[i], NULL, fill_all_the_time,
					  &r));
	for (int64_t rev = 2; rev < 20000; rev++) {
		int64_t got;

		atomic_store(&r.begun, rev);
		put(&r.c, 1, rev, "x");
		got = get(&r.c, 1, value, sizeof(value));
		ck_assert_msg(got == rev, "%lld at %lld", (long long)got,
			      (long long)rev);
		atomic_store(&r.current, rev);
		got = get(&r.c, 1, value, sizeof(value));
		ck_assert(got == rev);
	}
	atomic_store(&r.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	row_cache_fini(&r.c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("row_cache");
	TCase *tc = tcase_create("row_cache");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_last_row_put_is_what_comes_back);
	tcase_add_test(tc, memory_is_bounded_and_the_least_used_goes_first);
	tcase_add_test(
		tc, a_row_too_large_for_a_part_replaces_the_old_one_by_nothing);
	tcase_add_test(tc, readers_add_nothing_once_a_commit_has_begun);
	tcase_add_test(tc,
		       that_nothing_is_below_a_key_is_known_until_something_is);
	tcase_add_test(tc, a_slow_reader_never_brings_an_old_row_back);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
