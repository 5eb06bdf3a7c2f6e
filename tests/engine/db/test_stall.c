/* SPDX-License-Identifier: BSD-3-Clause */
/* Writers that are too fast: slowed, stopped, and let go again. */
#include <pthread.h>

#include "engine/db/db.h"
#include "engine/db/stall.h"
#include "tests/support/db_test.h"
#include "tests/support/gate_env.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct cairn_write_options no_slowdown = { .no_slowdown = true };

/* Kinds and reasons of events, in order, as text. */
struct heard {
	pthread_mutex_t mu;
	char text[4096];
};

static void hear(void *ctx, const struct cairn_event *e)
{
	struct heard *h = ctx;
	size_t len;

	if (e->kind != CAIRN_EVENT_STALL_BEGIN &&
	    e->kind != CAIRN_EVENT_STALL_END)
		return;
	pthread_mutex_lock(&h->mu);
	len = strlen(h->text);
	snprintf(h->text + len, sizeof(h->text) - len, "%s(%s) ",
		 cairn_event_name(e->kind), e->reason);
	pthread_mutex_unlock(&h->mu);
}

struct stalled {
	struct test_db t;
	struct gate_env gate;
	struct heard heard;
	struct cairn_listener listener;
};

/* No table can be made while the gate is closed. */
static void begin(struct stalled *s, const char *const settings[][2], size_t n)
{
	s->heard = (struct heard){ .mu = PTHREAD_MUTEX_INITIALIZER };
	s->listener = (struct cairn_listener){ &s->heard, hear };
	tdb_init(&s->t, NULL);
	gate_init(&s->gate, s->t.env, ".sst");
	cairn_options_set_env(s->t.opts, &s->gate.base);
	cairn_options_set_listener(s->t.opts, &s->listener);
	for (size_t i = 0; i < n; i++)
		tdb_set(&s->t, settings[i][0], settings[i][1]);
	tdb_open(&s->t);
}

static void end(struct stalled *s)
{
	gate_set(&s->gate, true);
	tdb_fini(&s->t);
	gate_fini(&s->gate);
}

static struct cairn_metrics metrics_of(struct stalled *s)
{
	struct cairn_metrics m;

	cairn_metrics_get(s->t.db, &m);
	return m;
}

static int put_at_once(struct stalled *s, const char *key)
{
	return cairn_put(s->t.db, &no_slowdown, slice_str(key), slice_str(key));
}

/* A thread that writes until it is told to end or a write fails. */
struct pusher {
	struct stalled *s;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic int n_written;
	int result;
};

static void *push(void *arg)
{
	struct pusher *p = arg;
	char key[32], value[200];

	memset(value, 'x', sizeof(value));
	while (!p->stop && !p->result) {
		snprintf(key, sizeof(key), "%d", p->n_written % 50);
		p->result = cairn_put(p->s->t.db, NULL, slice_str(key),
				      slice_of(value, sizeof(value)));
		if (!p->result)
			p->n_written++;
	}
	return NULL;
}

static void pusher_start(struct pusher *p, struct stalled *s)
{
	*p = (struct pusher){ .s = s };
	ck_assert_int_eq(pthread_create(&p->thread, NULL, push, p), 0);
}

static void await_stopped(struct stalled *s)
{
	while (metrics_of(s).stall_state != CAIRN_STALL_STOPPED)
		env_sleep_us(s->t.mem, 500);
}

static const char *const memtable_settings[][2] = {
	{ "write_buffer_size", "8K" },
	{ "max_write_buffers", "3" },
	{ "auto_compactions", "false" },
};

START_TEST(writers_wait_when_all_memtables_are_full)
{
	struct stalled s;
	struct pusher p;
	int written;

	begin(&s, memtable_settings, N(memtable_settings));
	gate_set(&s.gate, false);
	pusher_start(&p, &s);
	await_stopped(&s);
	ck_assert_str_eq(metrics_of(&s).stall_cause, "memtables");
	ck_assert_uint_eq(metrics_of(&s).memtable_count, 3);
	ck_assert_uint_eq(metrics_of(&s).memtable_max, 3);
	/* Nobody gets through, and nobody else waits who does not want to. */
	written = p.n_written;
	CK_CODE(put_at_once(&s, "k"), CAIRN_EBUSY);
	ck_assert_int_eq(p.n_written, written);
	/* Reads go on. */
	{
		struct cairn_pinned v = { 0 };

		CK_OK(cairn_get(s.t.db, NULL, slice_str("1"), &v));
		cairn_pinned_release(&v);
	}
	gate_set(&s.gate, true);
	while (p.n_written < written + 100)
		env_sleep_us(s.t.mem, 500);
	p.stop = true;
	pthread_join(p.thread, NULL);
	CK_OK(p.result);
	CK_OK(cairn_flush(s.t.db, true));
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_NONE);
	ck_assert_str_eq(metrics_of(&s).stall_cause, "-");
	ck_assert_uint_ge(metrics_of(&s).stalls, 1);
	ck_assert_uint_gt(metrics_of(&s).stall_us, 0);
	end(&s);
	ck_assert_ptr_nonnull(strstr(s.heard.text, "stall_begin(memtables) "
						   "stall_end(memtables)"));
}
END_TEST

START_TEST(a_stalled_writer_hears_of_a_failing_flush)
{
	struct stalled s;
	struct pusher p;

	begin(&s, memtable_settings, N(memtable_settings));
	gate_set(&s.gate, false);
	pusher_start(&p, &s);
	await_stopped(&s);
	tdb_fail(&s.t, ENV_FAULT_CREATE, ".sst", 1, true, CAIRN_EIO);
	gate_set(&s.gate, true);
	pthread_join(p.thread, NULL);
	CK_CODE(p.result, CAIRN_EROFS);
	env_fault_set(s.t.env, NULL);
	CK_OK(cairn_resume(s.t.db));
	tdb_put(&s.t, "again", "works");
	end(&s);
}
END_TEST

START_TEST(a_flush_on_demand_waits_for_room_without_deadlock)
{
	struct stalled s;
	struct pusher p;

	begin(&s, memtable_settings, N(memtable_settings));
	gate_set(&s.gate, false);
	pusher_start(&p, &s);
	await_stopped(&s);
	p.stop = true;
	/* It queues behind the stalled writer, which waits for the gate. */
	gate_pass(&s.gate);
	gate_set(&s.gate, true);
	CK_OK(cairn_flush(s.t.db, true));
	pthread_join(p.thread, NULL);
	CK_OK(p.result);
	end(&s);
}
END_TEST

/* ----------------------------------------------------------------- level 0 */

static const char *const l0_settings[][2] = {
	{ "l0_compaction_trigger", "2" },
	{ "l0_slowdown", "2" },
	{ "l0_stop", "3" },
	{ "write_buffer_size", "64K" },
};

/* One more table with the same keys, so one more sublevel. */
static void add_sublevel(struct stalled *s)
{
	tdb_put(&s->t, "a", "1");
	tdb_put(&s->t, "z", "1");
	gate_pass(&s->gate);
	CK_OK(cairn_flush(s->t.db, true));
}

START_TEST(writers_are_slowed_then_stopped_by_level_0)
{
	struct stalled s;
	struct pusher p;

	begin(&s, l0_settings, N(l0_settings));
	gate_set(&s.gate, false);
	add_sublevel(&s);
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_NONE);
	/* The second begins a compaction, which then stands at the gate. */
	add_sublevel(&s);
	gate_await(&s.gate, 1);
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_SLOW);
	ck_assert_str_eq(metrics_of(&s).stall_cause, "l0-sublevels");
	/* Slow is not stopped: small writes get through. */
	tdb_put(&s.t, "b", "2");
	pusher_start(&p, &s);
	while (p.n_written < 20)
		env_sleep_us(s.t.mem, 500);
	p.stop = true;
	pthread_join(p.thread, NULL);
	CK_OK(p.result);

	/* Both the flush and the compaction are at the gate; let both go, but
	 * fail the compaction's table. */
	gate_set(&s.gate, true);
	CK_OK(cairn_flush(s.t.db, true));
	CK_OK(cairn_wait_idle(s.t.db));
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_NONE);
	end(&s);
	ck_assert_ptr_nonnull(strstr(s.heard.text, "stall_begin(l0-sublevels) "
						   "stall_end(l0-sublevels)"));
}
END_TEST

static const char *const debt_settings[][2] = {
	{ "l0_compaction_trigger", "2" },
	{ "l0_slowdown", "100" },
	{ "l0_stop", "100" },
	{ "debt_slowdown", "1" },
	{ "debt_stop", "2" },
};

START_TEST(writers_wait_when_too_much_is_to_be_compacted)
{
	struct stalled s;
	struct cairn_metrics m;
	struct pusher p;

	begin(&s, debt_settings, N(debt_settings));
	/* So that there is a base level; into none files move for nothing. */
	tdb_put(&s.t, "a", "1");
	tdb_put(&s.t, "z", "1");
	CK_OK(cairn_flush(s.t.db, true));
	CK_OK(cairn_compact_range(s.t.db, slice_of(NULL, 0), slice_of(NULL, 0),
				  NULL));
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_NONE);
	gate_set(&s.gate, false);
	add_sublevel(&s);
	add_sublevel(&s);
	gate_await(&s.gate, 1);
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_STOPPED);
	ck_assert_str_eq(metrics_of(&s).stall_cause, "compaction-debt");
	CK_CODE(put_at_once(&s, "a"), CAIRN_EBUSY);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "compaction-debt"));
	pusher_start(&p, &s);
	env_sleep_us(s.t.mem, 5000);
	ck_assert_int_eq(p.n_written, 0);
	gate_set(&s.gate, true);
	while (!p.n_written)
		env_sleep_us(s.t.mem, 500);
	p.stop = true;
	pthread_join(p.thread, NULL);
	CK_OK(p.result);
	m = metrics_of(&s);
	ck_assert_uint_eq(m.stall[CAIRN_STALL_BY_L0].count, 0);
	ck_assert_uint_eq(m.stall[CAIRN_STALL_BY_DEBT].count +
				  m.stall[CAIRN_STALL_BY_MEMTABLES].count,
			  m.stalls);
	ck_assert_uint_eq(m.stall[CAIRN_STALL_BY_DEBT].us +
				  m.stall[CAIRN_STALL_BY_MEMTABLES].us,
			  m.stall_us);
	end(&s);
	ck_assert_ptr_nonnull(strstr(s.heard.text,
				     "stall_begin(compaction-debt) "
				     "stall_end(compaction-debt)"));
}
END_TEST

static const char *const stop_settings[][2] = {
	{ "l0_compaction_trigger", "2" },
	{ "l0_slowdown", "2" },
	{ "l0_stop", "2" },
	{ "write_buffer_size", "64K" },
};

START_TEST(at_the_stop_writers_wait_for_the_compaction)
{
	struct stalled s;
	struct pusher p;

	begin(&s, stop_settings, N(stop_settings));
	gate_set(&s.gate, false);
	add_sublevel(&s);
	add_sublevel(&s);
	gate_await(&s.gate, 1);
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_STOPPED);
	CK_CODE(put_at_once(&s, "k"), CAIRN_EBUSY);
	pusher_start(&p, &s);
	env_sleep_us(s.t.mem, 20000);
	ck_assert_int_eq(p.n_written, 0);
	gate_set(&s.gate, true);
	while (p.n_written < 10)
		env_sleep_us(s.t.mem, 500);
	p.stop = true;
	pthread_join(p.thread, NULL);
	CK_OK(p.result);
	ck_assert_uint_ge(metrics_of(&s).stalls, 1);
	end(&s);
}
END_TEST

static void await_waiting(struct stalled *s)
{
	size_t n = 0;

	while (!n) {
		env_sleep_us(s->t.mem, 500);
		mutex_lock(&s->t.db->mu);
		n = stall_n_waiting(s->t.db->stall);
		mutex_unlock(&s->t.db->mu);
	}
}

/* Whether it waits for a memtable or for a compaction. */
START_TEST(closing_is_refused_while_a_writer_waits)
{
	struct stalled s;
	struct pusher p;
	int written;

	if (_i)
		begin(&s, stop_settings, N(stop_settings));
	else
		begin(&s, memtable_settings, N(memtable_settings));
	gate_set(&s.gate, false);
	if (_i) {
		add_sublevel(&s);
		add_sublevel(&s);
	}
	pusher_start(&p, &s);
	await_waiting(&s);
	CK_CODE(cairn_close(s.t.db), CAIRN_EBUSY);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "1 writers wait"));
	/* Nothing was done. */
	written = p.n_written;
	gate_set(&s.gate, true);
	while (p.n_written < written + 10)
		env_sleep_us(s.t.mem, 500);
	p.stop = true;
	pthread_join(p.thread, NULL);
	CK_OK(p.result);
	tdb_close(&s.t);
	end(&s);
}
END_TEST

START_TEST(at_the_stop_writers_do_not_wait_for_what_keeps_failing)
{
	struct stalled s;
	struct pusher p;

	begin(&s, stop_settings, N(stop_settings));
	gate_set(&s.gate, false);
	add_sublevel(&s);
	add_sublevel(&s);
	gate_await(&s.gate, 1);
	tdb_fail(&s.t, ENV_FAULT_CREATE, ".sst", 1, true, CAIRN_ENOSPC);
	pusher_start(&p, &s);
	gate_set(&s.gate, true);
	/* Tried a few times first, with pauses. */
	pthread_join(p.thread, NULL);
	CK_CODE(p.result, CAIRN_ENOSPC);
	/* Deletions make room, so they do not wait for it. */
	tdb_delete(&s.t, "a");
	tdb_expect(&s.t, "a", NULL);
	/* Not for one that is trying, either. */
	gate_set(&s.gate, false);
	gate_await(&s.gate, 1);
	CK_CODE(put_at_once(&s, "k"), CAIRN_EBUSY);
	tdb_delete(&s.t, "b");
	tdb_expect(&s.t, "b", NULL);
	gate_set(&s.gate, true);
	env_fault_set(s.t.env, NULL);
	/* It goes on being tried. */
	while (metrics_of(&s).stall_state != CAIRN_STALL_NONE)
		env_sleep_us(s.t.mem, 1000);
	tdb_put(&s.t, "again", "works");
	end(&s);
}
END_TEST

START_TEST(without_automatic_compactions_level_0_stalls_nobody)
{
	struct stalled s;

	begin(&s, stop_settings, N(stop_settings));
	tdb_close(&s.t);
	tdb_set(&s.t, "auto_compactions", "false");
	tdb_open(&s.t);
	for (int i = 0; i < 6; i++)
		add_sublevel(&s);
	ck_assert_uint_eq(metrics_of(&s).level[0].sublevels, 6);
	ck_assert_int_eq(metrics_of(&s).stall_state, CAIRN_STALL_NONE);
	CK_OK(put_at_once(&s, "k"));
	end(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stall");
	TCase *tc = tcase_create("stall");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, writers_wait_when_all_memtables_are_full);
	tcase_add_test(tc, a_stalled_writer_hears_of_a_failing_flush);
	tcase_add_test(tc, a_flush_on_demand_waits_for_room_without_deadlock);
	tcase_add_loop_test(tc, closing_is_refused_while_a_writer_waits, 0, 2);
	tcase_add_test(tc, writers_are_slowed_then_stopped_by_level_0);
	tcase_add_test(tc, at_the_stop_writers_wait_for_the_compaction);
	tcase_add_test(tc, writers_wait_when_too_much_is_to_be_compacted);
	tcase_add_test(tc,
		       at_the_stop_writers_do_not_wait_for_what_keeps_failing);
	tcase_add_test(tc, without_automatic_compactions_level_0_stalls_nobody);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
