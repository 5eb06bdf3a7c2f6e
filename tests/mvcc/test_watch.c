/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "mvcc/watch_ring.h"
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

int main(void)
{
	Suite *s = suite_create("watch");
	TCase *rules = tcase_create("rules");

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
	return run_suite(s);
}
