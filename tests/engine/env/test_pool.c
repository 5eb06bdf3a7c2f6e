/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/env/pool.h"

#include <signal.h>
#include <stdlib.h>

#include "engine/base/sync.h"
#include "tests/support/runner.h"

static struct pool *new_pool(unsigned n_low)
{
	struct pool *p = NULL;

	ck_assert_msg(pool_new(n_low, &p) == CAIRN_OK, "%s", cairn_errmsg());
	return p;
}

/* A door that jobs wait at, and a count of those that came to it. */
struct gate {
	struct mutex mu;
	struct cond changed;
	int arrived;
	bool open;
};

static void gate_init(struct gate *g)
{
	*g = (struct gate){ 0 };
	mutex_init(&g->mu);
	cond_init(&g->changed);
}

static void gate_fini(struct gate *g)
{
	cond_fini(&g->changed);
	mutex_fini(&g->mu);
}

static void pass_gate(void *arg)
{
	struct gate *g = arg;

	mutex_lock(&g->mu);
	g->arrived++;
	cond_broadcast(&g->changed);
	while (!g->open)
		cond_wait(&g->changed, &g->mu);
	mutex_unlock(&g->mu);
}

static void await_arrival(struct gate *g, int n)
{
	mutex_lock(&g->mu);
	while (g->arrived < n)
		cond_wait(&g->changed, &g->mu);
	mutex_unlock(&g->mu);
}

static void open_gate(struct gate *g)
{
	mutex_lock(&g->mu);
	g->open = true;
	cond_broadcast(&g->changed);
	mutex_unlock(&g->mu);
}

static void add_one(void *arg)
{
	++*(int *)arg;
}

START_TEST(a_pool_starts_and_ends_with_nothing_to_do)
{
	struct pool *p = new_pool((unsigned)_i + 1);

	pool_drain(p);
	ck_assert_uint_eq(pool_queued(p, POOL_HIGH), 0);
	ck_assert_uint_eq(pool_queued(p, POOL_LOW), 0);
	pool_free(p);
	pool_free(NULL);
}
END_TEST

/* One thread: the count needs no lock, and the sanitizer sees that. */
START_TEST(every_job_runs_once_and_is_seen_after_drain)
{
	enum pool_queue q = _i ? POOL_HIGH : POOL_LOW;
	static struct pool_job jobs[1000];
	struct pool *p = new_pool(1);
	int n = 0;

	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < 1000; i++)
			pool_schedule(p, q, &jobs[i], add_one, &n);
		pool_drain(p);
		ck_assert_int_eq(n, round * 1000);
		ck_assert_uint_eq(pool_queued(p, q), 0);
	}
	pool_free(p);
}
END_TEST

struct numbered {
	struct pool_job job;
	int number;
	int *next;
	bool *in_order;
};

static void check_order(void *arg)
{
	struct numbered *j = arg;

	*j->in_order &= j->number == (*j->next)++;
}

START_TEST(one_thread_runs_jobs_in_the_order_they_came)
{
	static struct numbered jobs[500];
	struct pool *p = new_pool(1);
	bool in_order = true;
	int next = 0;

	for (int i = 0; i < 500; i++) {
		jobs[i].number = i;
		jobs[i].next = &next;
		jobs[i].in_order = &in_order;
		pool_schedule(p, POOL_LOW, &jobs[i].job, check_order, &jobs[i]);
	}
	pool_free(p); /* runs what is queued */
	ck_assert_int_eq(next, 500);
	ck_assert(in_order);
}
END_TEST

START_TEST(a_flush_does_not_wait_for_compactions)
{
	struct pool_job low[3] = { 0 }, high = { 0 };
	struct pool *p = new_pool(2);
	struct gate busy, flush;

	gate_init(&busy);
	gate_init(&flush);
	for (int i = 0; i < 3; i++)
		pool_schedule(p, POOL_LOW, &low[i], pass_gate, &busy);
	await_arrival(&busy, 2);
	ck_assert_uint_eq(pool_queued(p, POOL_LOW), 1);
	pool_schedule(p, POOL_HIGH, &high, pass_gate, &flush);
	await_arrival(&flush, 1);
	/* And the other way round: HIGH's thread takes nothing of LOW. */
	ck_assert_int_eq(busy.arrived, 2);
	open_gate(&flush);
	open_gate(&busy);
	pool_drain(p);
	ck_assert_int_eq(busy.arrived, 3);
	pool_free(p);
	gate_fini(&busy);
	gate_fini(&flush);
}
END_TEST

START_TEST(low_jobs_run_on_all_its_threads_at_once)
{
	struct pool_job jobs[4] = { 0 };
	struct pool *p = new_pool(4);
	struct gate g;

	gate_init(&g);
	for (int i = 0; i < 4; i++)
		pool_schedule(p, POOL_LOW, &jobs[i], pass_gate, &g);
	await_arrival(&g, 4); /* none of them has left */
	open_gate(&g);
	pool_free(p);
	gate_fini(&g);
}
END_TEST

START_TEST(a_cancelled_job_never_runs)
{
	struct pool_job first = { 0 }, jobs[3] = { 0 };
	struct pool *p = new_pool(1);
	int n[3] = { 0 };
	struct gate g;

	gate_init(&g);
	pool_schedule(p, POOL_LOW, &first, pass_gate, &g);
	for (int i = 0; i < 3; i++)
		pool_schedule(p, POOL_LOW, &jobs[i], add_one, &n[i]);
	await_arrival(&g, 1);
	ck_assert(!pool_cancel(p, &first)); /* it is running */
	ck_assert(pool_cancel(p, &jobs[1]));
	ck_assert(!pool_cancel(p, &jobs[1]));
	ck_assert_uint_eq(pool_queued(p, POOL_LOW), 2);
	open_gate(&g);
	pool_drain(p);
	ck_assert(n[0] == 1 && n[1] == 0 && n[2] == 1);
	ck_assert(!pool_cancel(p, &jobs[0])); /* it has run */
	pool_schedule(p, POOL_LOW, &jobs[1], add_one, &n[1]);
	pool_free(p);
	ck_assert_int_eq(n[1], 1);
	gate_fini(&g);
}
END_TEST

/* A job that schedules itself again, and at the end one for HIGH. */
struct chain {
	struct pool *p;
	struct pool_job job;
	struct pool_job last;
	int left;
	int done;
};

static void run_chain(void *arg)
{
	struct chain *c = arg;

	if (--c->left)
		pool_schedule(c->p, POOL_LOW, &c->job, run_chain, c);
	else
		pool_schedule(c->p, POOL_HIGH, &c->last, add_one, &c->done);
}

START_TEST(jobs_may_schedule_jobs_also_while_the_pool_ends)
{
	struct chain c = { .left = 100 };

	c.p = new_pool(2);
	pool_schedule(c.p, POOL_LOW, &c.job, run_chain, &c);
	if (_i)
		pool_drain(c.p);
	pool_free(c.p);
	ck_assert_int_eq(c.left, 0);
	ck_assert_int_eq(c.done, 1);
}
END_TEST

static void free_itself(void *arg)
{
	free(arg);
}

START_TEST(a_job_may_free_itself)
{
	struct pool *p = new_pool(2);

	for (int i = 0; i < 200; i++) {
		struct pool_job *job = calloc(1, sizeof(*job));

		ck_assert_ptr_nonnull(job);
		pool_schedule(p, i % 2 ? POOL_HIGH : POOL_LOW, job, free_itself,
			      job);
	}
	pool_free(p);
}
END_TEST

static void read_mask(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, arg);
}

START_TEST(threads_leave_signals_to_others_and_the_caller_as_it_was)
{
	struct pool_job job = { 0 };
	sigset_t in_job, before, after;
	struct pool *p;

	sigemptyset(&in_job);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	p = new_pool(1);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	pool_schedule(p, POOL_HIGH, &job, read_mask, &in_job);
	pool_free(p);
	ck_assert_int_eq(sigismember(&in_job, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&in_job, SIGINT), 1);
	ck_assert_int_eq(sigismember(&after, SIGTERM),
			 sigismember(&before, SIGTERM));
	ck_assert_int_eq(sigismember(&after, SIGTERM), 0);
}
END_TEST

struct scheduler {
	struct pool *p;
	struct pool_job jobs[200];
	_Atomic int ran;
	int cancelled;
};

static void count(void *arg)
{
	_Atomic int *n = arg;

	(*n)++;
}

static void *schedule_and_cancel(void *arg)
{
	struct scheduler *s = arg;

	for (int i = 0; i < 200; i++) {
		pool_schedule(s->p, i % 3 ? POOL_LOW : POOL_HIGH, &s->jobs[i],
			      count, &s->ran);
		if (i % 5 == 4)
			s->cancelled += pool_cancel(s->p, &s->jobs[i - 2]);
		if (i % 50 == 49)
			pool_drain(s->p);
	}
	return NULL;
}

START_TEST(many_threads_may_schedule_cancel_and_drain)
{
	static struct scheduler s[4];
	struct pool *p = new_pool(3);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++) {
		s[i].p = p;
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
						schedule_and_cancel, &s[i]),
				 0);
	}
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	pool_free(p);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(s[i].ran + s[i].cancelled, 200);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pool");
	TCase *t = tcase_create("pool");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_pool_starts_and_ends_with_nothing_to_do, 0, 4);
	tcase_add_loop_test(t, every_job_runs_once_and_is_seen_after_drain, 0,
			    2);
	tcase_add_test(t, one_thread_runs_jobs_in_the_order_they_came);
	tcase_add_test(t, a_flush_does_not_wait_for_compactions);
	tcase_add_test(t, low_jobs_run_on_all_its_threads_at_once);
	tcase_add_test(t, a_cancelled_job_never_runs);
	tcase_add_loop_test(t, jobs_may_schedule_jobs_also_while_the_pool_ends,
			    0, 2);
	tcase_add_test(t, a_job_may_free_itself);
	tcase_add_test(
		t, threads_leave_signals_to_others_and_the_caller_as_it_was);
	tcase_add_test(t, many_threads_may_schedule_cancel_and_drain);
	suite_add_tcase(s, t);
	return run_suite(s);
}
