/* SPDX-License-Identifier: BSD-3-Clause */
/* One budget for memtables, tables and the cache. */
#include "engine/db/budget.h"

#include "engine/db/options.h"
#include "tests/support/db_test.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define MIB      (UINT64_C(1) << 20)

static const struct {
	uint64_t given, limit;     /* MiB */
	uint64_t cache, buffer;    /* MiB, of 3 memtables */
	uint64_t budget, cache_is; /* MiB, expected */
	uint64_t buffer_is;        /* KiB, expected */
} fits[] = {
	/* Plenty: as the options say. */
	{ 0, 1024, 64, 16, 112, 64, 16384 },
	{ 0, 224, 64, 16, 112, 64, 16384 },
	{ 200, 1024, 64, 16, 200, 64, 16384 },
	/* A control group of 128 MiB. */
	{ 0, 128, 64, 16, 64, 64, 10922 },
	{ 0, 16, 64, 16, 8, 8, 1365 },
	/* Large memtables that leave the cache its half. */
	{ 0, 1 << 20, 8, 64, 200, 8, 65536 },
	{ 60, 1024, 64, 16, 60, 60, 10240 },
	{ 60, 1024, 64, 1, 60, 60, 1024 },
	/* Never too small to work with. */
	{ 0, 1, 64, 16, 0, 0, 85 },
};

START_TEST(the_default_is_what_the_options_say_within_half_of_what_there_is)
{
	struct cairn_options *o = cairn_options_new();

	ck_assert_ptr_nonnull(o);
	o->memory_budget = fits[_i].given * MIB;
	o->block_cache_size = fits[_i].cache * MIB;
	o->write_buffer_size = fits[_i].buffer * MIB;
	o->max_write_buffers = 3;
	budget_fit(o, fits[_i].limit * MIB);
	ck_assert_uint_eq(o->memory_budget / MIB, fits[_i].budget);
	ck_assert_uint_eq(o->block_cache_size / MIB, fits[_i].cache_is);
	ck_assert_uint_eq(o->write_buffer_size / 1024, fits[_i].buffer_is);
	ck_assert(o->budget_set == (fits[_i].given != 0));
	cairn_options_free(o);
}
END_TEST

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

static void begin(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "memory_budget", "8M");
	tdb_set(t, "block_cache_size", "8M");
	tdb_set(t, "write_buffer_size", "1M");
	tdb_set(t, "max_write_buffers", "4");
	tdb_set(t, "auto_compactions", "false");
	tdb_open(t);
}

static void await_charge(struct test_db *t, uint64_t at_most)
{
	while (metrics_of(t).memory_charged_bytes > at_most)
		env_sleep_us(t->mem, 500);
}

START_TEST(the_cache_gives_way_to_memtables_and_gets_it_back)
{
	static char value[100000];
	uint64_t alone, with_held;
	struct cairn_iter *it[3];
	struct test_db t;

	begin(&t);
	alone = metrics_of(&t).cache_capacity_bytes;
	ck_assert_uint_eq(metrics_of(&t).memory_budget_bytes, 8 * MIB);
	ck_assert_uint_ge(metrics_of(&t).memory_charged_bytes, MIB);
	ck_assert_uint_le(alone, 7 * MIB);
	ck_assert_uint_ge(alone, 6 * MIB);
	/* Readers hold what was flushed. */
	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < N(it); i++) {
		for (int k = 0; k < 8; k++)
			CK_OK(cairn_put(t.db, NULL, slice_str("k"),
					slice_of(value, sizeof(value))));
		CK_OK(cairn_iter_new(t.db, NULL, &it[i]));
		CK_OK(cairn_flush(t.db, true));
	}
	with_held = metrics_of(&t).cache_capacity_bytes;
	ck_assert_uint_le(with_held + 2 * MIB, alone);
	ck_assert_uint_ge(with_held, MIB);
	for (size_t i = 0; i < N(it); i++)
		cairn_iter_free(it[i]);
	await_charge(&t, 2 * MIB);
	CK_OK(cairn_flush(t.db, true));
	while (metrics_of(&t).cache_capacity_bytes < alone - MIB / 2)
		env_sleep_us(t.mem, 500);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_batch_beyond_the_budget_is_refused)
{
	char *large = calloc(1, 8 * MIB);
	struct test_db t;

	ck_assert_ptr_nonnull(large);
	begin(&t);
	CK_CODE(cairn_put(t.db, NULL, slice_str("k"), slice_of(large, 8 * MIB)),
		CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "memory_budget"));
	tdb_expect(&t, "k", NULL);
	/* Large, but it fits. */
	CK_OK(cairn_put(t.db, NULL, slice_str("k"), slice_of(large, 3 * MIB)));
	ck_assert_uint_le(metrics_of(&t).cache_capacity_bytes, 5 * MIB);
	free(large);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("budget");
	TCase *tc = tcase_create("budget");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
		tc,
		the_default_is_what_the_options_say_within_half_of_what_there_is,
		0, (int)N(fits));
	tcase_add_test(tc, the_cache_gives_way_to_memtables_and_gets_it_back);
	tcase_add_test(tc, a_batch_beyond_the_budget_is_refused);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
