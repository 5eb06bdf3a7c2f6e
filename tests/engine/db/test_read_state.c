/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/read_state.h"

#include <pthread.h>

#include "engine/db/db.h"
#include "tests/support/runner.h"

#define MEM_BYTES 65536

/* How often a reader dropped the last reference of a state. */
static _Atomic unsigned readers_changed;

void db_readers_changed(struct cairn_db *db)
{
	ck_assert(db);
	atomic_fetch_add(&readers_changed, 1);
}

/* A database as far as read states know it. */
struct fixture {
	struct cairn_db db;
	struct read_states *rs;
	/* The last version installed, raised after read_states_install(). */
	_Atomic uint64_t installed;
	_Atomic bool stop;
};

static void fixture_open(struct fixture *f)
{
	atomic_store(&readers_changed, 0);
	ck_assert_int_eq(read_states_new(&f->db, &f->rs), CAIRN_OK);
}

/* A state of a fresh version of that number and n memtables of that log. */
static void install(struct fixture *f, uint64_t number, size_t n)
{
	struct memtable *mems[4];
	struct version *v;

	ck_assert_int_eq(version_new(&v), CAIRN_OK);
	v->number = number;
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(memtable_new(MEM_BYTES, number, &mems[i]),
				 CAIRN_OK);
	ck_assert_int_eq(read_states_install(f->rs, v, mems, n), CAIRN_OK);
	for (size_t i = 0; i < n; i++) {
		memtable_writer_unref(mems[i]);
		memtable_unref(mems[i]);
	}
	version_unref(v);
	atomic_store(&f->installed, number);
}

static void check_state(const struct read_state *s)
{
	ck_assert_uint_ge(s->version->refs, 1);
	for (size_t i = 0; i < s->n_mems; i++)
		ck_assert_uint_eq(memtable_log_number(s->mems[i]),
				  s->version->number);
}

START_TEST(a_read_sees_what_was_installed_last)
{
	struct fixture f = { 0 };
	struct read_state *s;

	fixture_open(&f);
	for (uint64_t number = 1; number < 20; number++) {
		install(&f, number, number % 4);
		for (int again = 0; again < 3; again++) {
			s = read_state_acquire(f.rs);
			ck_assert_uint_eq(s->version->number, number);
			ck_assert_uint_eq(s->n_mems, number % 4);
			check_state(s);
			read_state_release(f.rs, s);
		}
	}
	/* The slots were emptied by install, on which nobody is told. */
	ck_assert_uint_eq(readers_changed, 0);
	read_states_free(f.rs);
}
END_TEST

START_TEST(an_old_state_lives_until_its_reader_lets_go)
{
	struct fixture f = { 0 };
	struct read_state *held, *acquired, *s;

	fixture_open(&f);
	install(&f, 1, 2);
	held = read_state_ref_current(f.rs);
	acquired = read_state_acquire(f.rs);
	ck_assert_ptr_eq(held, acquired);
	install(&f, 2, 1);
	check_state(held);
	ck_assert_uint_eq(held->version->number, 1);
	s = read_state_acquire(f.rs);
	ck_assert_uint_eq(s->version->number, 2);
	read_state_release(f.rs, s);

	/* An old state must not go into a slot. */
	read_state_release(f.rs, acquired);
	s = read_state_acquire(f.rs);
	ck_assert_uint_eq(s->version->number, 2);
	read_state_release(f.rs, s);
	ck_assert_uint_eq(readers_changed, 0);

	read_state_unref(held);
	ck_assert_uint_eq(readers_changed, 1);
	read_states_free(f.rs);
}
END_TEST

START_TEST(two_reads_of_one_thread_may_overlap)
{
	struct fixture f = { 0 };
	struct read_state *a, *b;

	fixture_open(&f);
	install(&f, 1, 1);
	a = read_state_acquire(f.rs);
	b = read_state_acquire(f.rs);
	ck_assert_ptr_eq(a, b);
	read_state_release(f.rs, a);
	read_state_release(f.rs, b);
	install(&f, 2, 1);
	read_states_free(f.rs);
}
END_TEST

START_TEST(freeing_without_a_state_is_fine)
{
	struct fixture f = { 0 };

	fixture_open(&f);
	read_states_free(f.rs);
	read_states_free(NULL);
}
END_TEST

/* --------------------------------------------------------------- threads */

static void *reader(void *arg)
{
	struct fixture *f = arg;
	uint64_t last = 0;

	while (!atomic_load(&f->stop)) {
		uint64_t at_least = atomic_load(&f->installed);
		struct read_state *s = read_state_acquire(f->rs);

		ck_assert_uint_ge(s->version->number, at_least);
		ck_assert_uint_ge(s->version->number, last);
		last = s->version->number;
		check_state(s);
		read_state_release(f->rs, s);
	}
	return NULL;
}

static void *holder(void *arg)
{
	struct fixture *f = arg;
	struct read_state *held = read_state_ref_current(f->rs);

	while (!atomic_load(&f->stop)) {
		struct read_state *s = read_state_ref_current(f->rs);

		check_state(held);
		ck_assert_uint_ge(s->version->number, held->version->number);
		read_state_unref(held);
		held = s;
	}
	read_state_unref(held);
	return NULL;
}

START_TEST(readers_never_see_an_old_or_a_freed_state)
{
	struct fixture f = { 0 };
	pthread_t thread[6];

	fixture_open(&f);
	install(&f, 1, 1);
	for (size_t i = 0; i < 6; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL,
						i < 4 ? reader : holder, &f),
				 0);
	for (uint64_t number = 2; number < 1500; number++)
		install(&f, number, number % 3);
	atomic_store(&f.stop, true);
	for (size_t i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	/* Whatever is kept now is the current state: all else was let go. */
	install(&f, 1500, 0);
	read_states_free(f.rs);
}
END_TEST

static Suite *read_state_suite(void)
{
	Suite *s = suite_create("read_state");
	TCase *tc = tcase_create("one thread");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_read_sees_what_was_installed_last);
	tcase_add_test(tc, an_old_state_lives_until_its_reader_lets_go);
	tcase_add_test(tc, two_reads_of_one_thread_may_overlap);
	tcase_add_test(tc, freeing_without_a_state_is_fine);
	suite_add_tcase(s, tc);

	tc = tcase_create("threads");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, readers_never_see_an_old_or_a_freed_state);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(read_state_suite());
}
