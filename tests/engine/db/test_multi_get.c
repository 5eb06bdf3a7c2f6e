/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many keys at once, held against one key at a time, whose reads have tests of
 * their own.
 */
#include <pthread.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "engine/db/db.h"
#include "tests/support/db_test.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define NONE     slice_of(NULL, 0)
#define KEYS     300
#define ASK_MAX  200

static struct cairn_slice key_text(char out[16], uint64_t i)
{
	return slice_of(out,
			(size_t)snprintf(out, 16, "key-%03u", (unsigned)i));
}

/* Ask for n random keys, some of which are never there, and the same key twice
 * now and then. */
static void compare(struct test_db *t, const struct cairn_read_options *o,
		    struct rng *r, size_t n)
{
	struct cairn_pinned values[ASK_MAX], one;
	struct cairn_slice keys[ASK_MAX] = { 0 };
	char bytes[ASK_MAX][16];
	int codes[ASK_MAX];
	uint64_t from = rng_below(r, KEYS), span = 1 + rng_below(r, KEYS);

	for (size_t i = 0; i < n; i++) {
		keys[i] = key_text(bytes[i], from + rng_below(r, span));
		values[i] = (struct cairn_pinned){ 0 };
	}
	CK_OK(cairn_multi_get(t->db, o, keys, n, values, codes));
	for (size_t i = 0; i < n; i++) {
		one = (struct cairn_pinned){ 0 };
		ck_assert_int_eq(cairn_get(t->db, o, keys[i], &one), codes[i]);
		ck_assert(slice_eq(one.value, values[i].value));
		ck_assert(codes[i] == CAIRN_OK || !values[i].release);
		cairn_pinned_release(&one);
		cairn_pinned_release(&values[i]);
	}
}

START_TEST(no_keys_have_no_values)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_OK(cairn_multi_get(t.db, NULL, NULL, 0, NULL, NULL));
	tdb_fini(&t);
}
END_TEST

START_TEST(answers_come_in_the_order_of_the_keys)
{
	static const char *const names[] = { "c", "nope", "a", "c", "b", "" };
	static const char *const want[] = { "3", NULL, "1", "3", NULL, "0" };
	struct cairn_pinned values[N(names)] = { 0 };
	struct cairn_slice keys[N(names)];
	int codes[N(names)];
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "b", "2");
	tdb_put(&t, "", "0");
	CK_OK(cairn_flush(t.db, _i > 0));
	tdb_put(&t, "c", "3");
	tdb_delete(&t, "b");
	if (_i > 1)
		CK_OK(cairn_compact_range(t.db, NONE, NONE, NULL));
	for (size_t i = 0; i < N(names); i++)
		keys[i] = slice_str(names[i]);
	CK_OK(cairn_multi_get(t.db, NULL, keys, N(names), values, codes));
	/* They stay where they are. */
	tdb_put(&t, "c", "4");
	CK_OK(cairn_compact_range(t.db, NONE, NONE, NULL));
	for (size_t i = 0; i < N(names); i++) {
		ck_assert_int_eq(codes[i],
				 want[i] ? CAIRN_OK : CAIRN_NOT_FOUND);
		if (want[i])
			ck_assert(
				slice_eq(values[i].value, slice_str(want[i])));
		cairn_pinned_release(&values[i]);
	}
	tdb_fini(&t);
}
END_TEST

/* Two bottom tables with 50 keys each. */
static void two_tables(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "auto_compactions", "false");
	tdb_set(t, "block_size", "256");
	tdb_set(t, "block_cache_size", "0");
	tdb_open(t);
	for (int half = 0; half < 2; half++) {
		for (uint64_t i = 0; i < 50; i++) {
			char key[16];

			key_text(key, 50 * (uint64_t)half + i);
			tdb_put(t, key, "a value that fills the block");
		}
		CK_OK(cairn_flush(t->db, true));
	}
}

START_TEST(a_failure_is_that_of_the_keys_it_meets)
{
	struct cairn_pinned values[100] = { 0 };
	struct cairn_slice keys[100];
	char bytes[100][16];
	int codes[100], failed = 0;
	struct test_db t;
	int err;

	two_tables(&t);
	for (uint64_t i = 0; i < 100; i++)
		keys[i] = key_text(bytes[i], i);
	/* Tables are open; the _i-th block that is read cannot be. */
	CK_OK(cairn_multi_get(t.db, NULL, keys, 100, values, codes));
	for (size_t i = 0; i < 100; i++)
		cairn_pinned_release(&values[i]);
	tdb_fail(&t, ENV_FAULT_READ, ".sst", (uint64_t)_i + 1, false,
		 CAIRN_EIO);
	err = cairn_multi_get(t.db, NULL, keys, 100, values, codes);
	env_fault_set(t.env, NULL);
	ck_assert_int_eq(err, CAIRN_EIO);
	for (size_t i = 0; i < 100; i++) {
		ck_assert(codes[i] == CAIRN_OK || codes[i] == CAIRN_EIO);
		failed += codes[i] == CAIRN_EIO;
		ck_assert(!!values[i].release == !codes[i]);
		cairn_pinned_release(&values[i]);
	}
	/* Those of one block. */
	ck_assert_int_gt(failed, 0);
	ck_assert_int_lt(failed, 20);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_table_that_cannot_be_opened_fails_its_keys_only)
{
	struct cairn_pinned values[100] = { 0 };
	struct cairn_slice keys[100];
	struct cairn_table_list tables;
	char bytes[100][16], path[64] = "";
	int codes[100];
	struct test_db t;

	two_tables(&t);
	CK_OK(cairn_tables(t.db, -1, &tables));
	for (size_t i = 0; i < tables.n; i++)
		if (slice_eq(tables.tables[i].smallest, slice_str("key-000")))
			snprintf(path, sizeof(path), "%s",
				 tables.tables[i].path);
	cairn_table_list_free(&tables);
	ck_assert(*path);
	tdb_close(&t);
	/* From the beginning: opening looks at tables in the background. */
	tdb_fail(&t, ENV_FAULT_OPEN_READ, path, 1, true, CAIRN_EIO);
	tdb_open(&t);
	for (uint64_t i = 0; i < 100; i++)
		keys[i] = key_text(bytes[i], i);
	CK_CODE(cairn_multi_get(t.db, NULL, keys, 100, values, codes),
		CAIRN_EIO);
	env_fault_set(t.env, NULL);
	for (size_t i = 0; i < 100; i++) {
		ck_assert_int_eq(codes[i], i < 50 ? CAIRN_EIO : CAIRN_OK);
		cairn_pinned_release(&values[i]);
	}
	tdb_fini(&t);
}
END_TEST

START_TEST(a_block_is_read_once_for_all_its_keys)
{
	struct cairn_pinned values[100] = { 0 };
	struct cairn_slice keys[100];
	char bytes[100][16];
	int codes[100];
	uint64_t before, many, single;
	struct test_db t;

	two_tables(&t);
	for (uint64_t i = 0; i < 100; i++)
		keys[i] = key_text(bytes[i], i);
	tdb_expect(&t, "key-000", "a value that fills the block");
	tdb_expect(&t, "key-099", "a value that fills the block");
	before = env_fault_count(t.env, ENV_FAULT_READ);
	CK_OK(cairn_multi_get(t.db, NULL, keys, 100, values, codes));
	many = env_fault_count(t.env, ENV_FAULT_READ) - before;
	for (size_t i = 0; i < 100; i++) {
		cairn_pinned_release(&values[i]);
		CK_OK(cairn_get(t.db, NULL, keys[i], &values[i]));
		cairn_pinned_release(&values[i]);
	}
	single = env_fault_count(t.env, ENV_FAULT_READ) - before - many;
	ck_assert_uint_eq(single, 100);
	ck_assert_uint_lt(many, 40);
	tdb_fini(&t);
}
END_TEST

/* -------------------------------------------------------------- histories */

static size_t decade(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len >= 6 ? 6 : SIZE_MAX;
}

static const struct cairn_prefix_extractor decades = {
	.name = "test.decade",
	.prefix_len = decade,
};

static void open_store(struct test_db *t, struct rng *r)
{
	static const char *const settings[][2] = {
		{ "write_buffer_size", "16K" },
		{ "l0_compaction_trigger", "3" },
		{ "base_level_size", "8K" },
		{ "target_file_size", "2K" },
		{ "level_multiplier", "3" },
		{ "block_size", "200" },
		{ "compression", "none" },
		{ "merge_operator", "uint64add" },
	};

	tdb_init(t, NULL);
	for (size_t i = 0; i < N(settings); i++)
		tdb_set(t, settings[i][0], settings[i][1]);
	tdb_set(t, "bloom_bits_per_key", rng_one_in(r, 2) ? "0" : "10");
	if (rng_one_in(r, 3))
		tdb_set(t, "block_cache_size", "0");
	if (rng_one_in(r, 2))
		cairn_options_set_prefix_extractor(t->opts, &decades);
	tdb_open(t);
}

static void change(struct test_db *t, struct rng *r)
{
	uint64_t i = rng_below(r, KEYS);
	uint8_t value[8];
	char key[16], end[16];
	struct cairn_slice k = key_text(key, i);

	put_le64(value, 1 + rng_below(r, 1000));
	switch (rng_below(r, 20)) {
	case 0:
		CK_OK(cairn_delete_range(t->db, NULL, k,
					 key_text(end, i + rng_below(r, 40))));
		break;
	case 1:
	case 2:
	case 3:
		CK_OK(cairn_delete(t->db, NULL, k));
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		CK_OK(cairn_merge(t->db, NULL, k, slice_of(value, 8)));
		break;
	default:
		CK_OK(cairn_put(t->db, NULL, k, slice_of(value, 8)));
	}
}

START_TEST(many_keys_read_as_one_by_one_in_any_history)
{
	struct cairn_read_options o = { 0 };
	struct test_db t;
	struct rng r;

	rng_init(&r, 300 + (uint64_t)_i);
	open_store(&t, &r);
	for (int step = 0; step < 150; step++) {
		for (uint64_t n = rng_below(&r, 60); n; n--)
			change(&t, &r);
		if (rng_one_in(&r, 5))
			CK_OK(cairn_flush(t.db, true));
		if (rng_one_in(&r, 50))
			CK_OK(cairn_compact_range(t.db, NONE, NONE, NULL));
		if (rng_one_in(&r, 10)) {
			cairn_snapshot_release(
				(struct cairn_snapshot *)(uintptr_t)o.snapshot);
			o.snapshot = cairn_snapshot_new(t.db);
		}
		o.no_fill_cache = rng_one_in(&r, 2);
		compare(&t, &o, &r, rng_below(&r, ASK_MAX));
		compare(&t, NULL, &r, rng_below(&r, 20));
	}
	cairn_snapshot_release((struct cairn_snapshot *)(uintptr_t)o.snapshot);
	tdb_fini(&t);
}
END_TEST

/* ---------------------------------------------------------------- threads */

#define CROWD 64

struct crowd {
	struct test_db t;
	_Atomic bool stop;
};

/* All keys are written in one batch, so one moment shows one value. */
static void *read_all(void *ctx)
{
	struct cairn_pinned values[CROWD] = { 0 };
	struct cairn_slice keys[CROWD];
	char bytes[CROWD][16];
	struct crowd *c = ctx;
	int codes[CROWD];

	for (uint64_t i = 0; i < CROWD; i++)
		keys[i] = key_text(bytes[i], (i * 37) % CROWD);
	while (!atomic_load(&c->stop)) {
		CK_OK(cairn_multi_get(c->t.db, NULL, keys, CROWD, values,
				      codes));
		for (size_t i = 0; i < CROWD; i++) {
			ck_assert_int_eq(codes[i], CAIRN_OK);
			ck_assert(slice_eq(values[i].value, values[0].value));
		}
		for (size_t i = 0; i < CROWD; i++)
			cairn_pinned_release(&values[i]);
	}
	return NULL;
}

START_TEST(all_keys_are_of_one_moment)
{
	struct cairn_batch *b = cairn_batch_new();
	struct crowd c = { 0 };
	pthread_t thread[2];

	tdb_init(&c.t, NULL);
	tdb_set(&c.t, "write_buffer_size", "64K");
	tdb_set(&c.t, "l0_compaction_trigger", "2");
	tdb_open(&c.t);
	for (int round = 0; round < 120; round++) {
		cairn_batch_clear(b);
		for (uint64_t i = 0; i < CROWD; i++) {
			char key[16], value[16];

			snprintf(value, sizeof(value), "%d", round);
			CK_OK(cairn_batch_put(b, key_text(key, i),
					      slice_str(value)));
		}
		CK_OK(cairn_write(c.t.db, NULL, b));
		if (round % 10 == 0)
			CK_OK(cairn_flush(c.t.db, true));
		for (int i = 0; round == 0 && i < 2; i++)
			pthread_create(&thread[i], NULL, read_all, &c);
	}
	atomic_store(&c.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	cairn_batch_free(b);
	tdb_fini(&c.t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("multi_get");
	TCase *tc = tcase_create("calls");

	tcase_add_test(tc, no_keys_have_no_values);
	tcase_add_loop_test(tc, answers_come_in_the_order_of_the_keys, 0, 3);
	tcase_add_loop_test(tc, a_failure_is_that_of_the_keys_it_meets, 0, 12);
	tcase_add_test(tc, a_table_that_cannot_be_opened_fails_its_keys_only);
	tcase_add_test(tc, a_block_is_read_once_for_all_its_keys);
	suite_add_tcase(s, tc);

	tc = tcase_create("histories");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, many_keys_read_as_one_by_one_in_any_history, 0,
			    getenv("CAIRN_HISTORIES")
				    ? atoi(getenv("CAIRN_HISTORIES"))
				    : 6);
	tcase_add_test(tc, all_keys_are_of_one_moment);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
