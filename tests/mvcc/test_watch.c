/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "tests/mvcc/fixture.h"
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

#define ZERO slice_of("", 1)

/* What most tests want: all keys, from revision start on. */
static struct mvcc_watch_request all_from(int64_t start)
{
	return (struct mvcc_watch_request){ .end = ZERO, .start = start };
}

static struct mvcc_watch *watch(const struct mvcc_watch_request *r)
{
	struct mvcc_watch *w = NULL;

	ck_ok(mvcc_watch_new(f.m, r, &w));
	return w;
}

static struct mvcc_watch *watch_all(int64_t start)
{
	const struct mvcc_watch_request r = all_from(start);

	return watch(&r);
}

static struct mvcc_watch *watch_key(const char *key, const char *end)
{
	return watch(&(struct mvcc_watch_request){ S(key), S(end), 0, false,
						   false, false, false, 0, 0 });
}

static void add_value(struct buf *text, const struct mvcc_row *row)
{
	char *value = read_row(f.m, row);

	ck_ok(buf_printf(text, "%.8s", value));
	free(value);
}

static void add_message(struct buf *text, const struct mvcc_watch_message *msg)
{
	if (text->len)
		ck_ok(buf_append(text, " | ", 3));
	if (msg->canceled)
		ck_ok(buf_printf(text, "canceled %lld",
				 (long long)msg->compact_rev));
	else
		ck_ok(buf_printf(text, "%lld%s:", (long long)msg->rev,
				 msg->fragment ? "..." : ""));
	for (size_t i = 0; i < msg->n; i++) {
		const struct mvcc_event *e = &msg->events[i];

		ck_ok(buf_printf(text, " %lld.%d%c%.*s", (long long)e->row.main,
				 (int)e->row.sub, e->row.deleted ? '-' : '+',
				 (int)e->row.key.len,
				 (const char *)e->row.key.data));
		if (!e->row.deleted) {
			ck_ok(buf_append(text, "=", 1));
			add_value(text, &e->row);
		}
		if (e->has_prev) {
			ck_assert(slice_eq(e->prev.key, e->row.key));
			ck_ok(buf_printf(text,
					 "(%lld=", (long long)e->prev.main));
			add_value(text, &e->prev);
			ck_ok(buf_append(text, ")", 1));
		}
	}
}

/*
 * All that w has to tell now, each message as "rev: events": "main.sub+key=
 * value" or "main.sub-key", and behind it "(main=value)" of what was before.
 */
static const char *told(struct mvcc_watch *w)
{
	static struct buf text;
	struct mvcc_watch_message msg;
	int err;

	buf_clear(&text);
	while ((err = mvcc_watch_next(w, 0, &msg)) == CAIRN_OK) {
		bool canceled = msg.canceled;

		add_message(&text, &msg);
		mvcc_watch_message_fini(&msg);
		if (canceled)
			break;
	}
	ck_assert_msg(err == CAIRN_OK || err == CAIRN_NOT_FOUND, "%d: %s", err,
		      cairn_errmsg());
	ck_ok(buf_append(&text, "", 1));
	return (const char *)text.data;
}

/* A transaction of n puts: key0, key1, ... */
static int64_t put_many(const char *key, int n, const char *value)
{
	struct mvcc_txn *t;
	int64_t rev;

	ck_ok(mvcc_txn_new(f.m, &t));
	for (int i = 0; i < n; i++) {
		char k[64];

		snprintf(k, sizeof(k), "%s%d", key, i);
		ck_ok(mvcc_txn_put(t, S(k), S(value), NULL));
	}
	ck_ok(mvcc_txn_commit(t, false, &rev));
	mvcc_txn_free(t);
	return rev;
}

/* ------------------------------------------------------------------ rules */

START_TEST(a_watcher_is_told_what_happens_from_now_on)
{
	struct mvcc_watch *w;

	put(f.m, "a", "0");
	w = watch_all(0);
	ck_assert_int_eq(mvcc_watch_created(w), 2);
	ck_assert_str_eq(told(w), "");
	put(f.m, "a", "1");
	put(f.m, "b", "2");
	del(f.m, "a");
	ck_assert_str_eq(told(w), "5: 3.0+a=1 4.0+b=2 5.0-a");
	ck_assert_str_eq(told(w), "");
	put(f.m, "a", "3");
	ck_assert_str_eq(told(w), "6: 6.0+a=3");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(a_watcher_can_start_in_the_past)
{
	struct mvcc_watch *w;

	put(f.m, "a", "1");
	put(f.m, "b", "2");
	put(f.m, "a", "3");
	w = watch_all(3);
	ck_assert_int_eq(mvcc_watch_created(w), 4);
	put(f.m, "c", "4");
	ck_assert_str_eq(told(w), "5: 3.0+b=2 4.0+a=3 5.0+c=4");
	mvcc_watch_free(w);
	w = watch_all(1);
	ck_assert_str_eq(told(w), "5: 2.0+a=1 3.0+b=2 4.0+a=3 5.0+c=4");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(a_watcher_of_the_future_is_told_nothing_before)
{
	struct mvcc_watch *w = watch_all(4);

	put(f.m, "a", "2");
	ck_assert_str_eq(told(w), "");
	put(f.m, "a", "3");
	put(f.m, "a", "4");
	ck_assert_str_eq(told(w), "4: 4.0+a=4");
	mvcc_watch_free(w);
	w = watch_all(INT64_MAX);
	put(f.m, "a", "5");
	ck_assert_str_eq(told(w), "");
	mvcc_watch_progress(w);
	ck_assert_str_eq(told(w), "5:");
	mvcc_watch_free(w);
}
END_TEST

static const struct {
	const char *key, *end;
	size_t key_len, end_len;
	const char *told;
} ranges[] = {
	{ "b", "", 1, 0, "6: 3.0+b=v" },
	{ "b", "c", 1, 1, "6: 3.0+b=v 4.0+b!=v 5.0+ba=v" },
	{ "b", "bb", 1, 2, "6: 3.0+b=v 4.0+b!=v 5.0+ba=v" },
	{ "b!", "\0", 2, 1, "6: 4.0+b!=v 5.0+ba=v 6.0+c=v" },
	{ "", "\0", 0, 1, "6: 2.0+a=v 3.0+b=v 4.0+b!=v 5.0+ba=v 6.0+c=v" },
	{ "\0", "b", 1, 1, "6: 2.0+a=v" },
	{ "", "", 0, 0, "" },
	{ "b\0", "", 2, 0, "" },
};

START_TEST(a_watcher_is_told_of_its_range_only)
{
	static const char *const keys[] = { "a", "b", "b!", "ba", "c" };
	const struct cairn_slice key = { (const uint8_t *)ranges[_i].key,
					 ranges[_i].key_len };
	const struct cairn_slice end = { (const uint8_t *)ranges[_i].end,
					 ranges[_i].end_len };
	struct mvcc_watch_request r = { .key = key, .end = end };
	struct mvcc_watch *live = watch(&r), *past;

	for (size_t i = 0; i < 5; i++)
		put(f.m, keys[i], "v");
	r.start = 1;
	past = watch(&r);
	ck_assert_str_eq(told(live), ranges[_i].told);
	ck_assert_str_eq(told(past), ranges[_i].told);
	mvcc_watch_free(past);
	mvcc_watch_free(live);
}
END_TEST

START_TEST(an_empty_range_is_refused_in_etcds_words)
{
	static const char *const ends[] = { "b", "a", "az" };
	struct mvcc_watch *w = NULL;

	for (size_t i = 0; i < 3; i++) {
		const struct mvcc_watch_request r = { .key = S("b"),
						      .end = S(ends[i]) };

		ck_code(mvcc_watch_new(f.m, &r, &w), CAIRN_EINVAL);
		ck_assert_str_eq(cairn_errmsg(),
				 "mvcc: watcher range is empty");
		ck_assert_ptr_null(w);
	}
}
END_TEST

START_TEST(a_negative_start_is_refused)
{
	const struct mvcc_watch_request r = all_from(-1);
	struct mvcc_watch *w = NULL;

	ck_code(mvcc_watch_new(f.m, &r, &w), CAIRN_EINVAL);
	ck_assert_ptr_null(w);
}
END_TEST

START_TEST(filters_leave_out_puts_or_deletes)
{
	struct mvcc_watch_request r = all_from(1);
	struct mvcc_watch *deletes, *puts, *nothing, *live;

	r.no_put = true;
	r.start = 0;
	live = watch(&r);
	put(f.m, "a", "1");
	del(f.m, "a");
	put(f.m, "b", "2");
	ck_assert_str_eq(told(live), "4: 3.0-a");
	r.start = 1;
	deletes = watch(&r);
	r.no_delete = true;
	nothing = watch(&r);
	r.no_put = false;
	puts = watch(&r);
	ck_assert_str_eq(told(deletes), "4: 3.0-a");
	ck_assert_str_eq(told(puts), "4: 2.0+a=1 4.0+b=2");
	ck_assert_str_eq(told(nothing), "");
	/* Not even told how far it is, unless it asks. */
	mvcc_watch_progress(nothing);
	ck_assert_str_eq(told(nothing), "4:");
	mvcc_watch_free(live);
	mvcc_watch_free(deletes);
	mvcc_watch_free(nothing);
	mvcc_watch_free(puts);
}
END_TEST

START_TEST(an_event_has_the_whole_row_and_a_delete_the_key_and_revision)
{
	struct mvcc_attrs attrs = { .has_mode = true, .mode = 0600 };
	struct mvcc_watch *w = watch_all(0);
	struct mvcc_watch_message msg;
	const struct mvcc_row *r;

	put(f.m, "a", "1");
	ck_ok(mvcc_put(f.m, S("a"), S("two"), &attrs, NULL));
	del(f.m, "a");
	ck_ok(mvcc_watch_next(w, 0, &msg));
	ck_assert_uint_eq(msg.n, 3);
	r = &msg.events[1].row;
	ck_assert_int_eq(r->main, 3);
	ck_assert_int_eq(r->create_rev, 2);
	ck_assert_int_eq(r->version, 2);
	ck_assert(r->attrs.has_mode && r->attrs.mode == 0600);
	ck_assert(slice_eq(r->value, S("two")));
	r = &msg.events[2].row;
	ck_assert(r->deleted);
	ck_assert_int_eq(r->main, 4);
	ck_assert_int_eq(r->create_rev, 0);
	ck_assert_int_eq(r->version, 0);
	ck_assert_uint_eq(r->size, 0);
	mvcc_watch_message_fini(&msg);
	mvcc_watch_free(w);
}
END_TEST

START_TEST(what_was_before_is_told_unless_forgotten)
{
	struct mvcc_watch_request r = all_from(1);
	struct mvcc_watch *w;

	r.prev = true;
	put(f.m, "a", "1");
	put(f.m, "a", "2");
	del(f.m, "a");
	put(f.m, "a", "3");
	w = watch(&r);
	ck_assert_str_eq(told(w), "5: 2.0+a=1 3.0+a=2(2=1) 4.0-a(3=2) 5.0+a=3");
	mvcc_watch_free(w);

	/* At the bound itself, what was before is below it. */
	ck_ok(mvcc_forget(f.m, 3));
	r.start = 3;
	w = watch(&r);
	ck_assert_str_eq(told(w), "5: 3.0+a=2 4.0-a(3=2) 5.0+a=3");
	mvcc_watch_free(w);
	/* That somebody else keeps it makes no difference. */
	ck_ok(mvcc_pin(f.m, 4));
	ck_ok(mvcc_forget(f.m, 5));
	r.start = 5;
	w = watch(&r);
	ck_assert_str_eq(told(w), "5: 5.0+a=3");
	mvcc_watch_free(w);
	r.start = 4;
	w = watch(&r);
	ck_assert_str_eq(told(w), "canceled 5");
	mvcc_watch_free(w);
	mvcc_unpin(f.m, 4);
}
END_TEST

START_TEST(a_delete_at_the_bound_is_told)
{
	struct mvcc_watch *w;

	put(f.m, "a", "1");
	del(f.m, "a");
	ck_ok(mvcc_forget(f.m, 3));
	compact(f.m);
	w = watch_all(3);
	ck_assert_str_eq(told(w), "3: 3.0-a");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(a_start_that_is_forgotten_ends_the_watcher)
{
	struct mvcc_watch *w;

	for (int i = 0; i < 5; i++)
		put(f.m, "a", "x");
	ck_ok(mvcc_forget(f.m, 4));
	w = watch_all(3);
	ck_assert_int_eq(mvcc_watch_created(w), 6);
	ck_assert_str_eq(told(w), "canceled 4");
	put(f.m, "a", "y");
	ck_assert_str_eq(told(w), "canceled 4");
	mvcc_watch_free(w);
	w = watch_all(4);
	ck_assert_str_eq(told(w), "7: 4.0+a=x 5.0+a=x 6.0+a=x 7.0+a=y");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(forgetting_ends_who_is_behind_and_nobody_else)
{
	struct mvcc_watch *behind = watch_all(0), *up = watch_all(0);
	struct mvcc_watch *other = watch_key("b", "");

	put(f.m, "a", "1");
	put(f.m, "a", "2");
	ck_assert_str_eq(told(up), "3: 2.0+a=1 3.0+a=2");
	ck_assert_str_eq(told(other), "");
	ck_ok(mvcc_forget(f.m, 3));
	put(f.m, "b", "3");
	ck_assert_str_eq(told(behind), "canceled 3");
	ck_assert_str_eq(told(up), "4: 4.0+b=3");
	ck_assert_str_eq(told(other), "4: 4.0+b=3");
	mvcc_watch_free(behind);
	mvcc_watch_free(up);
	mvcc_watch_free(other);
}
END_TEST

START_TEST(a_canceled_watcher_tells_no_events)
{
	struct mvcc_watch *w = watch_all(0);

	put(f.m, "a", "1");
	mvcc_watch_cancel(w);
	put(f.m, "a", "2");
	ck_assert_str_eq(told(w), "canceled 0");
	ck_assert_str_eq(told(w), "canceled 0");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(progress_comes_behind_the_events_it_covers)
{
	struct mvcc_watch *w = watch_all(0), *b = watch_key("b", "");

	mvcc_watch_progress(w);
	ck_assert_str_eq(told(w), "1:");
	put(f.m, "a", "1");
	mvcc_watch_progress(w);
	mvcc_watch_progress(w);
	put(f.m, "a", "2");
	ck_assert_str_eq(told(w), "3: 2.0+a=1 3.0+a=2 | 3:");
	mvcc_watch_progress(b);
	ck_assert_str_eq(told(b), "3:");
	mvcc_watch_free(w);
	mvcc_watch_free(b);
}
END_TEST

START_TEST(a_quiet_watcher_tells_how_far_it_is)
{
	struct mvcc_watch_request r = { .key = S("b"), .progress_us = 1000 };
	struct mvcc_watch_message msg;
	struct mvcc_watch *w = watch(&r);

	put(f.m, "a", "1");
	ck_ok(mvcc_watch_next(w, MVCC_WATCH_FOREVER, &msg));
	ck_assert_uint_eq(msg.n, 0);
	ck_assert_int_eq(msg.rev, 2);
	ck_assert(!msg.canceled);
	mvcc_watch_message_fini(&msg);
	mvcc_watch_free(w);
}
END_TEST

START_TEST(the_changes_of_a_revision_come_together)
{
	struct mvcc_watch *w = watch_all(0);
	struct mvcc_watch_message msg;

	put_many("a", 3000, "v");
	put_many("b", 2, "v");
	ck_ok(mvcc_watch_next(w, 0, &msg));
	ck_assert_uint_eq(msg.n, 3000);
	ck_assert_int_eq(msg.rev, 2);
	ck_assert(!msg.fragment);
	mvcc_watch_message_fini(&msg);
	ck_assert_str_eq(told(w), "3: 3.0+b0=v 3.1+b1=v");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(a_fragmenting_watcher_gets_them_in_parts)
{
	struct mvcc_watch_request r = all_from(0);
	struct mvcc_watch *live, *past;

	r.fragment = true;
	r.fragment_bytes = 5; /* of 3 each */
	live = watch(&r);
	put_many("a", 5, "v");
	put_many("b", 1, "v");
	put_many("c", 2, "v");
	r.start = 1;
	past = watch(&r);
	ck_assert_str_eq(told(live), "1...: 2.0+a0=v 2.1+a1=v | "
				     "1...: 2.2+a2=v 2.3+a3=v | "
				     "3: 2.4+a4=v 3.0+b0=v | "
				     "4: 4.0+c0=v 4.1+c1=v");
	ck_assert_str_eq(told(past), "1...: 2.0+a0=v 2.1+a1=v | "
				     "1...: 2.2+a2=v 2.3+a3=v | "
				     "3: 2.4+a4=v 3.0+b0=v | "
				     "4: 4.0+c0=v 4.1+c1=v");
	mvcc_watch_free(live);
	mvcc_watch_free(past);
}
END_TEST

START_TEST(large_values_stay_readable_while_their_message_lives)
{
	char big[3 * CHUNK];
	struct mvcc_watch_request r = all_from(0);
	struct mvcc_watch_message msg;
	struct mvcc_watch *w;
	int64_t rev;
	char *text;

	r.prev = true;
	w = watch(&r);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	put(f.m, "a", big);
	big[0] = 'y';
	put(f.m, "a", big);
	ck_ok(mvcc_watch_next(w, 0, &msg));
	ck_assert_uint_eq(msg.n, 2);
	ck_assert_ptr_null(msg.events[0].row.value.data);
	rev = del(f.m, "a");
	ck_ok(mvcc_forget(f.m, rev));
	compact(f.m);
	text = read_row(f.m, &msg.events[1].row);
	ck_assert_str_eq(text, big);
	free(text);
	big[0] = 'x';
	text = read_row(f.m, &msg.events[1].prev);
	ck_assert_str_eq(text, big);
	free(text);
	ck_code(mvcc_close(f.m), CAIRN_EBUSY);
	mvcc_watch_message_fini(&msg);
	mvcc_watch_free(w);
}
END_TEST

START_TEST(events_survive_a_restart)
{
	struct mvcc_watch *w;

	put(f.m, "a", "1");
	put(f.m, "b", "2");
	fixture_reopen(&f);
	put(f.m, "c", "3");
	w = watch_all(2);
	ck_assert_str_eq(told(w), "4: 2.0+a=1 3.0+b=2 4.0+c=3");
	mvcc_watch_free(w);
}
END_TEST

START_TEST(a_plain_store_has_no_watchers)
{
	const struct mvcc_watch_request r = all_from(0);
	struct cairn_options *o = small_options(f.env);
	struct mvcc_options mo = { .engine = o, .plain = true };
	struct cairn_db *db;
	struct mvcc_watch *w;
	struct mvcc *m;

	ck_ok(cairn_open("/plain", o, &db));
	ck_ok(cairn_put(db, NULL, S("a"), S("1")));
	ck_ok(cairn_close(db));
	ck_ok(mvcc_open("/plain", &mo, &m));
	ck_code(mvcc_watch_new(m, &r, &w), CAIRN_EKIND);
	ck_ok(mvcc_close(m));
	cairn_options_free(o);
}
END_TEST

/* ---------------------------------------------------------------- threads */

/* A thread that waits for one message. */
struct listener {
	pthread_t thread;
	struct mvcc_watch *w;
	struct mvcc_watch_message msg;
	int err;
};

static void *listen_main(void *arg)
{
	struct listener *l = arg;

	l->err = mvcc_watch_next(l->w, MVCC_WATCH_FOREVER, &l->msg);
	return NULL;
}

static void listen_begin(struct listener *l, struct mvcc_watch *w)
{
	*l = (struct listener){ .w = w };
	ck_assert(!pthread_create(&l->thread, NULL, listen_main, l));
}

/* The message it got; the caller's to release. */
static struct mvcc_watch_message *listen_end(struct listener *l)
{
	ck_assert(!pthread_join(l->thread, NULL));
	ck_assert_int_eq(l->err, CAIRN_OK);
	return &l->msg;
}

START_TEST(a_commit_wakes_who_waits)
{
	for (int i = 0; i < 100; i++) {
		struct mvcc_watch *w = watch_key("b", "");
		struct mvcc_watch_message *msg;
		struct listener l;
		int64_t rev;

		listen_begin(&l, w);
		if (i % 2)
			sched_yield();
		put(f.m, "a", "x");
		rev = put(f.m, "b", "y");
		msg = listen_end(&l);
		ck_assert_uint_eq(msg->n, 1);
		ck_assert_int_eq(msg->events[0].row.main, rev);
		mvcc_watch_message_fini(msg);
		mvcc_watch_free(w);
	}
}
END_TEST

START_TEST(a_watcher_that_waits_can_be_canceled_and_keeps_the_store_open)
{
	struct mvcc_watch *w = watch_all(0);
	struct mvcc_watch_message *msg;
	struct listener l;

	listen_begin(&l, w);
	ck_code(mvcc_close(f.m), CAIRN_EBUSY);
	mvcc_watch_cancel(w);
	msg = listen_end(&l);
	ck_assert(msg->canceled);
	ck_assert_int_eq(msg->compact_rev, 0);
	mvcc_watch_message_fini(msg);
	mvcc_watch_free(w);
}
END_TEST

START_TEST(a_watcher_that_waits_can_be_asked_how_far_it_is)
{
	struct mvcc_watch *w = watch_key("b", "");
	struct mvcc_watch_message *msg;
	struct listener l;

	put(f.m, "a", "x");
	listen_begin(&l, w);
	mvcc_watch_progress(w);
	msg = listen_end(&l);
	ck_assert_uint_eq(msg->n, 0);
	ck_assert_int_eq(msg->rev, 2);
	mvcc_watch_message_fini(msg);
	mvcc_watch_free(w);
}
END_TEST

START_TEST(waiting_ends_when_the_time_is_up)
{
	struct mvcc_watch *w = watch_all(0);
	struct mvcc_watch_message msg;

	ck_assert_int_eq(mvcc_watch_next(w, 1000, &msg), CAIRN_NOT_FOUND);
	mvcc_watch_free(w);
}
END_TEST

static void count_ready(void *ctx)
{
	++*(unsigned *)ctx;
}

START_TEST(a_change_bothers_only_those_who_watch_its_key)
{
	enum { MANY = 1000 };
	static struct mvcc_watch *w[MANY];
	static unsigned ready[MANY];
	struct mvcc_watch_message msg;

	memset(ready, 0, sizeof(ready));
	for (int i = 0; i < MANY; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		w[i] = watch_key(key, "");
		mvcc_watch_on_ready(w[i], count_ready, &ready[i]);
		ck_assert_int_eq(mvcc_watch_next(w[i], 0, &msg),
				 CAIRN_NOT_FOUND);
	}
	put(f.m, "k17", "x");
	put(f.m, "k17", "y");
	put(f.m, "other", "y");
	del(f.m, "k18");
	for (int i = 0; i < MANY; i++)
		ck_assert_uint_eq(ready[i], i == 17 ? 1 : 0);
	ck_assert_str_eq(told(w[17]), "4: 2.0+k17=x 3.0+k17=y");
	put(f.m, "k17", "z");
	ck_assert_uint_eq(ready[17], 2);
	mvcc_watch_cancel(w[3]);
	ck_assert_uint_eq(ready[3], 1);
	for (int i = 0; i < MANY; i++)
		mvcc_watch_free(w[i]);
	put(f.m, "k17", "z");
	ck_assert_uint_eq(ready[17], 2);
}
END_TEST

/* ------------------------------------------------------- against the log */

/* What was done, as its author knows it. */
struct done {
	int64_t main;
	int32_t sub;
	bool deleted;
	uint8_t key;
	uint32_t value;
	int64_t prev; /* index of the change of this key before, -1: none */
};

#define N_KEYS  40
#define N_DONE  12000
#define N_WATCH 12

static struct done log_of[N_DONE];
/* Entries that watchers may look at. Stored with release after they were
 * written. */
static _Atomic size_t n_done;
static _Atomic bool all_done;

struct random {
	uint64_t x;
};

static unsigned roll(struct random *r, unsigned n)
{
	r->x ^= r->x << 13;
	r->x ^= r->x >> 7;
	r->x ^= r->x << 17;
	return (unsigned)(r->x % n);
}

static void key_text(char out[8], unsigned key)
{
	/* Some are prefixes of others. */
	snprintf(out, 8, key % 3 ? "k%02u" : "k%02u/", key);
}

/* One transaction of 1 to 4 changes. */
static void do_something(struct random *r, int64_t last[N_KEYS])
{
	size_t at = atomic_load(&n_done), n = at;
	unsigned want = 1 + roll(r, 4), first = roll(r, N_KEYS);
	struct mvcc_txn *t;
	int64_t rev;

	ck_ok(mvcc_txn_new(f.m, &t));
	for (unsigned i = 0; i < want; i++) {
		struct done *d = &log_of[n];
		char key[8], value[16];

		d->key = (uint8_t)((first + i * 7) % N_KEYS);
		d->prev = last[d->key];
		d->deleted = roll(r, 4) == 0;
		if (d->deleted && (d->prev < 0 || log_of[d->prev].deleted))
			continue;
		d->sub = (int32_t)(n - at);
		d->value = (uint32_t)n;
		key_text(key, d->key);
		snprintf(value, sizeof(value), "%zu", n);
		if (d->deleted)
			ck_ok(mvcc_txn_delete(t, S(key)));
		else
			ck_ok(mvcc_txn_put(t, S(key), S(value), NULL));
		last[d->key] = (int64_t)n;
		n++;
	}
	if (n > at) {
		rev = mvcc_current(f.m) + 1;
		for (size_t i = at; i < n; i++)
			log_of[i].main = rev;
		/* Before the commit: a watcher may be faster than we are. */
		atomic_store_explicit(&n_done, n, memory_order_release);
		ck_ok(mvcc_txn_commit(t, false, NULL));
		ck_assert_int_eq(mvcc_current(f.m), rev);
	}
	mvcc_txn_free(t);
}

struct follower {
	pthread_t thread;
	struct random r;
	struct mvcc_watch_request q;
	char key[8], end[8];
	int64_t next; /* revision of what it must be told next, or later */
	size_t at;    /* the first entry of the log it was not told of */
	unsigned told, reconnected, behind;
};

static bool is_for(const struct follower *fo, const struct done *d)
{
	char key[8];

	key_text(key, d->key);
	if (d->main < fo->next || (d->deleted ? fo->q.no_delete : fo->q.no_put))
		return false;
	if (slice_cmp(S(key), fo->q.key) < 0)
		return false;
	if (!fo->q.end.len)
		return slice_eq(S(key), fo->q.key);
	return fo->q.end.data[0] == 0 || slice_cmp(S(key), fo->q.end) < 0;
}

/* The entry of the log that is next for it, or NULL. */
static const struct done *expected(struct follower *fo)
{
	size_t n = atomic_load_explicit(&n_done, memory_order_acquire);

	while (fo->at < n && !is_for(fo, &log_of[fo->at]))
		fo->at++;
	return fo->at < n ? &log_of[fo->at] : NULL;
}

static void check_value(const struct mvcc_row *row, const struct done *d)
{
	char value[16], key[8];

	snprintf(value, sizeof(value), "%u", d->value);
	key_text(key, d->key);
	ck_assert(slice_eq(row->key, S(key)));
	ck_assert_int_eq(row->main, d->main);
	if (!d->deleted)
		ck_assert(slice_eq(row->value, S(value)));
}

static void check_event(struct follower *fo, const struct mvcc_event *e)
{
	const struct done *d = expected(fo), *prev;

	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(e->row.main, d->main);
	ck_assert_int_eq(e->row.sub, d->sub);
	ck_assert_int_eq(e->row.deleted, d->deleted);
	check_value(&e->row, d);
	prev = d->prev < 0 || log_of[d->prev].deleted ? NULL : &log_of[d->prev];
	if (e->has_prev) {
		ck_assert(fo->q.prev && prev);
		check_value(&e->prev, prev);
	} else if (fo->q.prev && prev) {
		ck_assert_int_lt(d->main - 1, mvcc_oldest(f.m));
	}
	fo->at++;
	fo->told++;
}

static void check_message(struct follower *fo,
			  const struct mvcc_watch_message *msg)
{
	const struct done *d;

	for (size_t i = 0; i < msg->n; i++)
		check_event(fo, &msg->events[i]);
	/* All up to rev was told, and nothing of a revision is left over. */
	d = expected(fo);
	if (d)
		ck_assert_int_gt(d->main, msg->rev);
	if (d && msg->n && !fo->q.fragment)
		ck_assert_int_ne(d->main, msg->events[msg->n - 1].row.main);
	if (!msg->canceled)
		fo->next = msg->rev + 1;
}

/* Watch until told or tired; false when all is done. */
static bool follow_some(struct follower *fo, struct mvcc_watch *w)
{
	for (unsigned i = roll(&fo->r, 40); i > 0; i--) {
		bool end = atomic_load(&all_done);
		struct mvcc_watch_message msg;
		int err =
			mvcc_watch_next(w, end ? 0 : roll(&fo->r, 2000), &msg);

		if (err == CAIRN_NOT_FOUND && end)
			return false;
		if (err == CAIRN_NOT_FOUND)
			continue;
		ck_ok(err);
		check_message(fo, &msg);
		if (msg.canceled) {
			ck_assert_int_gt(msg.compact_rev, fo->next);
			fo->behind++;
			fo->next = msg.compact_rev;
			mvcc_watch_message_fini(&msg);
			return true;
		}
		/* Hold it for a while, and be slow. */
		for (unsigned n = roll(&fo->r, 30); n > 0; n--)
			sched_yield();
		mvcc_watch_message_fini(&msg);
	}
	return true;
}

static void *follow_main(void *arg)
{
	struct follower *fo = arg;
	bool more = true;

	while (more) {
		struct mvcc_watch *w = NULL;

		fo->q.start = fo->next;
		/* A revision that was told in part begins again. */
		while (fo->at > 0 && log_of[fo->at - 1].main >= fo->next)
			fo->at--;
		ck_ok(mvcc_watch_new(f.m, &fo->q, &w));
		more = follow_some(fo, w);
		mvcc_watch_free(w);
		fo->reconnected++;
	}
	return NULL;
}

static void random_request(struct follower *fo)
{
	struct random *r = &fo->r;
	unsigned kind = roll(r, 4);

	key_text(fo->key, roll(r, N_KEYS));
	key_text(fo->end, roll(r, N_KEYS));
	fo->q.key = S(fo->key);
	if (kind == 0) {
		fo->q.key = none();
		fo->q.end = ZERO;
	} else if (kind == 1) {
		fo->q.end = ZERO;
	} else if (kind == 2 && strcmp(fo->key, fo->end) < 0) {
		fo->q.end = S(fo->end);
	}
	fo->q.no_put = roll(r, 6) == 0;
	fo->q.no_delete = roll(r, 4) == 0;
	fo->q.prev = roll(r, 2);
	fo->q.fragment = roll(r, 3) == 0;
	fo->q.fragment_bytes = 1 + roll(r, 30);
	fo->next = 1 + roll(r, 500);
}

/*
 * A writer, a thread that forgets and flushes, and watchers with any start,
 * range, filter and speed, that come back where they were: each is told what
 * the log holds, but for what was forgotten before it came to ask.
 */
START_TEST(every_watcher_is_told_what_the_log_holds)
{
	static struct follower fo[N_WATCH];
	struct random r = { 0x9e3779b97f4a7c15u + (uint64_t)_i };
	int64_t last[N_KEYS];
	unsigned told = 0;

	memset(fo, 0, sizeof(fo));
	atomic_store(&n_done, 0);
	atomic_store(&all_done, false);
	for (int i = 0; i < N_KEYS; i++)
		last[i] = -1;
	/* Some of it is past before anybody watches. */
	for (int i = 0; i < 200; i++)
		do_something(&r, last);
	for (int i = 0; i < N_WATCH; i++) {
		fo[i].r.x = r.x + (uint64_t)i * 0x2545f4914f6cdd1du;
		random_request(&fo[i]);
		ck_assert(!pthread_create(&fo[i].thread, NULL, follow_main,
					  &fo[i]));
	}
	while (atomic_load(&n_done) + 4 < N_DONE) {
		do_something(&r, last);
		if (roll(&r, 400) == 0) {
			int64_t rev = mvcc_current(f.m) - roll(&r, 300);

			if (rev > mvcc_oldest(f.m))
				ck_ok(mvcc_forget(f.m, rev));
			compact(f.m);
		}
	}
	atomic_store(&all_done, true);
	for (int i = 0; i < N_WATCH; i++) {
		ck_assert(!pthread_join(fo[i].thread, NULL));
		ck_assert_ptr_null(expected(&fo[i]));
		told += fo[i].told;
	}
	ck_assert_uint_gt(told, 1000);
}
END_TEST

/* Further behind than memory reaches, and within it. */
START_TEST(a_slow_watcher_reads_the_log)
{
	enum { REVS = 9000 };
	struct mvcc_watch *slow = watch_all(0), *keys = watch_key("k7", "");
	struct mvcc_watch_message msg;
	int64_t next = 2;
	unsigned messages = 0;

	for (int i = 0; i < REVS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i % 10);
		put(f.m, key, "v");
	}
	while (mvcc_watch_next(slow, 0, &msg) == CAIRN_OK) {
		ck_assert_uint_le(msg.n, 1000);
		for (size_t i = 0; i < msg.n; i++)
			ck_assert_int_eq(msg.events[i].row.main, next++);
		ck_assert_int_eq(msg.rev, next - 1);
		mvcc_watch_message_fini(&msg);
		messages++;
	}
	ck_assert_int_eq(next, REVS + 2);
	ck_assert_uint_eq(messages, 9);
	next = 2 + 7;
	while (mvcc_watch_next(keys, 0, &msg) == CAIRN_OK) {
		for (size_t i = 0; i < msg.n; i++, next += 10)
			ck_assert_int_eq(msg.events[i].row.main, next);
		mvcc_watch_message_fini(&msg);
	}
	ck_assert_int_eq(next, REVS + 2 + 7);
	mvcc_watch_free(slow);
	mvcc_watch_free(keys);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watch");
	TCase *rules = tcase_create("rules");
	TCase *threads = tcase_create("threads");

	/* Many threads on a busy machine. */
	tcase_set_timeout(threads, 60);
	tcase_add_checked_fixture(rules, setup, teardown);
	tcase_add_test(rules, a_watcher_is_told_what_happens_from_now_on);
	tcase_add_test(rules, a_watcher_can_start_in_the_past);
	tcase_add_test(rules, a_watcher_of_the_future_is_told_nothing_before);
	tcase_add_loop_test(rules, a_watcher_is_told_of_its_range_only, 0,
			    sizeof(ranges) / sizeof(ranges[0]));
	tcase_add_test(rules, an_empty_range_is_refused_in_etcds_words);
	tcase_add_test(rules, a_negative_start_is_refused);
	tcase_add_test(rules, filters_leave_out_puts_or_deletes);
	tcase_add_test(
		rules,
		an_event_has_the_whole_row_and_a_delete_the_key_and_revision);
	tcase_add_test(rules, what_was_before_is_told_unless_forgotten);
	tcase_add_test(rules, a_delete_at_the_bound_is_told);
	tcase_add_test(rules, a_start_that_is_forgotten_ends_the_watcher);
	tcase_add_test(rules, forgetting_ends_who_is_behind_and_nobody_else);
	tcase_add_test(rules, a_canceled_watcher_tells_no_events);
	tcase_add_test(rules, progress_comes_behind_the_events_it_covers);
	tcase_add_test(rules, a_quiet_watcher_tells_how_far_it_is);
	tcase_add_test(rules, the_changes_of_a_revision_come_together);
	tcase_add_test(rules, a_fragmenting_watcher_gets_them_in_parts);
	tcase_add_test(rules,
		       large_values_stay_readable_while_their_message_lives);
	tcase_add_test(rules, events_survive_a_restart);
	tcase_add_test(rules, a_plain_store_has_no_watchers);
	suite_add_tcase(s, rules);
	tcase_add_checked_fixture(threads, setup, teardown);
	tcase_add_test(threads, a_commit_wakes_who_waits);
	tcase_add_test(
		threads,
		a_watcher_that_waits_can_be_canceled_and_keeps_the_store_open);
	tcase_add_test(threads,
		       a_watcher_that_waits_can_be_asked_how_far_it_is);
	tcase_add_test(threads, waiting_ends_when_the_time_is_up);
	tcase_add_test(threads, a_change_bothers_only_those_who_watch_its_key);
	tcase_add_loop_test(threads, every_watcher_is_told_what_the_log_holds,
			    0, 2);
	tcase_add_test(threads, a_slow_watcher_reads_the_log);
	suite_add_tcase(s, threads);
	return run_suite(s);
}
