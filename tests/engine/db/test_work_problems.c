/* SPDX-License-Identifier: BSD-3-Clause */
/* Damage that compactions meet, and what goes on around it. */
#include <stdatomic.h>

#include "tests/support/db_test.h"

#include "engine/base/buf.h"
#include "engine/db/db.h"
#include "engine/db/work_impl.h"

static const struct cairn_slice open_end;

struct seen {
	atomic_int begun;
	atomic_int ended;
	atomic_int in_file; /* of the last that began */
};

static void on_event(void *ctx, const struct cairn_event *e)
{
	struct seen *s = ctx;

	if (e->kind == CAIRN_EVENT_PROBLEM_SPAN_BEGIN) {
		ck_assert_int_eq(e->code, CAIRN_ECORRUPT);
		ck_assert_ptr_nonnull(e->detail);
		atomic_store(&s->in_file, (int)e->file_number);
		atomic_fetch_add(&s->begun, 1);
	}
	if (e->kind == CAIRN_EVENT_PROBLEM_SPAN_END)
		atomic_fetch_add(&s->ended, 1);
}

static void begin(struct test_db *t, const struct cairn_listener *l)
{
	static const char *const settings[][2] = {
		{ "l0_compaction_trigger", "2" },
		{ "l0_slowdown", "100" },
		{ "l0_stop", "100" },
		{ "base_level_size", "1M" },
		{ "compression", "none" },
		{ "block_cache_size", "0" },
	};

	tdb_init(t, NULL);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		tdb_set(t, settings[i][0], settings[i][1]);
	cairn_options_set_listener(t->opts, l);
	tdb_open(t);
}

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

/* 200 keys with the given first letter. */
static void put_letter(struct test_db *t, char letter, char fill)
{
	char key[32], value[65];

	memset(value, fill, 64);
	value[64] = '\0';
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "%c%04d", letter, i);
		tdb_put(t, key, value);
	}
	CK_OK(cairn_flush(t->db, true));
}

static void expect_letter(struct test_db *t, char letter, char fill)
{
	char key[32], value[65];

	memset(value, fill, 64);
	value[64] = '\0';
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "%c%04d", letter, i);
		tdb_expect(t, key, value);
	}
}

/* The number of the only table of level 6 with keys of that letter. */
static uint64_t table_of(struct test_db *t, char letter, char path[64])
{
	struct cairn_table_list l;
	uint64_t number = 0;

	CK_OK(cairn_tables(t->db, 6, &l));
	for (size_t i = 0; i < l.n; i++)
		if (l.tables[i].smallest.data[0] == letter) {
			ck_assert_uint_eq(number, 0);
			number = l.tables[i].number;
			snprintf(path, 64, "%s", l.tables[i].path);
		}
	cairn_table_list_free(&l);
	ck_assert_uint_ne(number, 0);
	return number;
}

/* Tables of a and of m in level 6, the one of a damaged and found so. */
static uint64_t make_problem(struct test_db *t)
{
	uint64_t number;
	char path[64];

	put_letter(t, 'a', '1');
	CK_OK(cairn_compact_range(t->db, slice_str("a"), slice_str("b"), NULL));
	put_letter(t, 'm', '1');
	CK_OK(cairn_compact_range(t->db, slice_str("m"), slice_str("n"), NULL));
	number = table_of(t, 'a', path);
	CK_OK(env_mem_damage(t->mem, path, 100, 1));
	put_letter(t, 'a', '2');
	put_letter(t, 'a', '3');
	CK_CODE(cairn_wait_idle(t->db), CAIRN_ECORRUPT);
	return number;
}

START_TEST(a_damaged_table_is_left_alone_and_all_else_goes_on)
{
	struct seen seen = { 0 };
	const struct cairn_listener l = { &seen, on_event };
	struct cairn_problem_list p;
	struct test_db t;
	uint64_t number;
	char file[32];

	begin(&t, &l);
	number = make_problem(&t);
	ck_assert_uint_eq(metrics_of(&t).problem_spans, 1);
	CK_OK(cairn_problem_spans(t.db, &p));
	ck_assert_uint_eq(p.n, 1);
	ck_assert_int_eq(p.spans[0].level, 6);
	ck_assert_uint_eq(p.spans[0].file_number, number);
	ck_assert(slice_eq(p.spans[0].smallest, slice_str("a0000")));
	ck_assert(slice_eq(p.spans[0].largest, slice_str("a0199")));
	ck_assert_uint_gt(p.spans[0].left_us, 0);
	snprintf(file, sizeof(file), "%06u", (unsigned)number);
	ck_assert_ptr_nonnull(strstr(p.spans[0].message, file));
	ck_assert_ptr_nonnull(strstr(p.spans[0].name, file));
	cairn_problem_list_free(&p);

	/* The other table is compacted, twice. */
	for (int i = 0; i < 2; i++) {
		uint64_t n = metrics_of(&t).compactions;

		put_letter(&t, 'm', '4');
		put_letter(&t, 'm', '5');
		while (metrics_of(&t).compactions == n)
			env_sleep_us(t.mem, 1000);
	}
	expect_letter(&t, 'm', '5');
	expect_letter(&t, 'a', '3');
	ck_assert_uint_eq(metrics_of(&t).compactions_failed, 1);
	ck_assert_int_eq(atomic_load(&seen.in_file), (int)number);
	ck_assert_int_eq(atomic_load(&seen.ended), 0);
	/* Who asks for it is told, and it is the same problem. */
	CK_CODE(cairn_compact_range(t.db, open_end, open_end, NULL),
		CAIRN_ECORRUPT);
	ck_assert_uint_eq(metrics_of(&t).problem_spans, 1);
	tdb_fini(&t);
	ck_assert_int_eq(atomic_load(&seen.begun), 1);
}
END_TEST

START_TEST(a_problem_is_over_when_its_table_is_dropped)
{
	struct seen seen = { 0 };
	const struct cairn_listener l = { &seen, on_event };
	struct test_db t;

	begin(&t, &l);
	make_problem(&t);
	/* Dropping reads nothing. (The tombstone is narrower than level 0.) */
	CK_OK(cairn_delete_range(t.db, NULL, slice_str("a"), slice_str("b")));
	CK_OK(cairn_flush(t.db, true));
	while (metrics_of(&t).problem_spans)
		env_sleep_us(t.mem, 1000);
	CK_OK(cairn_wait_idle(t.db));
	ck_assert_int_eq(metrics_of(&t).background_error, CAIRN_OK);
	ck_assert_uint_gt(metrics_of(&t).compactions_delete_only, 0);
	expect_letter(&t, 'm', '1');
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	tdb_fini(&t);
	ck_assert_int_eq(atomic_load(&seen.ended), 1);
}
END_TEST

/* The clock of a file system, put forward. */
static _Atomic uint64_t put_forward_us;
static uint64_t (*true_mono_us)(struct cairn_env *e);
static struct env_ops shifted;

static uint64_t shifted_mono_us(struct cairn_env *e)
{
	return true_mono_us(e) + atomic_load(&put_forward_us);
}

START_TEST(after_a_while_it_is_tried_again)
{
	struct seen seen = { 0 };
	const struct cairn_listener l = { &seen, on_event };
	struct test_db t;

	begin(&t, &l);
	tdb_close(&t);
	shifted = *t.env->ops;
	true_mono_us = shifted.mono_us;
	shifted.mono_us = shifted_mono_us;
	t.env->ops = &shifted;
	tdb_open(&t);
	make_problem(&t);
	atomic_store(&put_forward_us, UINT64_C(30000000));
	put_letter(&t, 'x', '1');
	ck_assert_uint_eq(metrics_of(&t).problem_spans, 1);
	ck_assert_int_eq(atomic_load(&seen.ended), 0);
	atomic_store(&put_forward_us, UINT64_C(120000000));
	put_letter(&t, 'x', '2');
	/* It is still damaged. */
	while (atomic_load(&seen.begun) < 2)
		env_sleep_us(t.mem, 1000);
	ck_assert_int_eq(atomic_load(&seen.ended), 1);
	ck_assert_uint_eq(metrics_of(&t).problem_spans, 1);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_problem_is_over_when_the_damage_is_gone)
{
	struct seen seen = { 0 };
	const struct cairn_listener l = { &seen, on_event };
	struct test_db t;
	char path[64];

	begin(&t, &l);
	make_problem(&t);
	table_of(&t, 'a', path);
	CK_OK(env_mem_damage(t.mem, path, 100, 1));
	CK_OK(cairn_compact_range(t.db, open_end, open_end, NULL));
	ck_assert_uint_eq(metrics_of(&t).problem_spans, 0);
	ck_assert_int_eq(metrics_of(&t).background_error, CAIRN_OK);
	CK_OK(cairn_wait_idle(t.db));
	expect_letter(&t, 'a', '3');
	tdb_fini(&t);
	ck_assert_int_eq(atomic_load(&seen.ended), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("work problems");
	TCase *tc = tcase_create("problems");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_damaged_table_is_left_alone_and_all_else_goes_on);
	tcase_add_test(tc, a_problem_is_over_when_its_table_is_dropped);
	tcase_add_test(tc, a_problem_is_over_when_the_damage_is_gone);
	tcase_add_test(tc, after_a_while_it_is_tried_again);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
