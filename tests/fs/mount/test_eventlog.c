/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/eventlog.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "tests/support/runner.h"

#define TS    "2023-11-14T22:13:20.123Z"
#define TS_US UINT64_C(1700000000123456)
#define HEAD  "{\"ts\":\"" TS "\",\"seq\":1,\"event\":"

static void ok(int err)
{
	ck_assert_msg(err == CAIRN_OK, "%s", cairn_errmsg());
}

static void check_text(const struct buf *b, const char *want)
{
	ck_assert_msg(b->len == strlen(want) && !memcmp(b->data, want, b->len),
		      "got %.*s wanted %s", (int)b->len, (const char *)b->data,
		      want);
}

/* Every kind is told by what it has, and by nothing it does not have. */
static const struct {
	struct cairn_event e;
	const char *line;
} lines[] = {
	{ { .kind = CAIRN_EVENT_OPEN, .duration_us = 9522 },
	  "\"open\",\"seconds\":0.009522}" },
	{ { .kind = CAIRN_EVENT_CLOSE }, "\"close\",\"status\":\"ok\"}" },
	{ { .kind = CAIRN_EVENT_FLUSH_BEGIN,
	    .job = 7,
	    .files_in = 2,
	    .bytes_in = 999 },
	  "\"flush_begin\",\"job\":7,\"memtables\":2,\"bytes\":999}" },
	{ { .kind = CAIRN_EVENT_FLUSH_END,
	    .job = 7,
	    .files_out = 1,
	    .bytes_out = 61551411,
	    .duration_us = 7757000 },
	  "\"flush_end\",\"job\":7,\"status\":\"ok\",\"files_out\":1,"
	  "\"bytes_out\":61551411,\"seconds\":7.757000}" },
	{ { .kind = CAIRN_EVENT_COMPACTION_BEGIN,
	    .job = 813,
	    .to_level = 4,
	    .files_in = 9,
	    .bytes_in = 64172851,
	    .reason = "score 1.00" },
	  "\"compaction_begin\",\"job\":813,\"from\":0,\"to\":4,"
	  "\"reason\":\"score 1.00\",\"files\":9,\"bytes\":64172851}" },
	{ { .kind = CAIRN_EVENT_COMPACTION_END,
	    .job = 813,
	    .to_level = 4,
	    .code = CAIRN_EIO,
	    .detail = "disk \"a\"\n" },
	  "\"compaction_end\",\"job\":813,\"from\":0,\"to\":4,"
	  "\"status\":\"input/output error\",\"seconds\":0.000000,"
	  "\"message\":\"disk \\\"a\\\"\\n\"}" },
	{ { .kind = CAIRN_EVENT_TABLE_CREATED,
	    .job = 3,
	    .file_number = 12,
	    .bytes_out = 5 },
	  "\"table_created\",\"job\":3,\"file\":12,\"level\":0,\"bytes\":5}" },
	{ { .kind = CAIRN_EVENT_TABLE_INGESTED,
	    .file_number = 12,
	    .to_level = 6,
	    .reason = "/a b" },
	  "\"table_ingested\",\"file\":12,\"level\":6,\"path\":\"/a b\","
	  "\"bytes\":0,\"seconds\":0.000000}" },
	{ { .kind = CAIRN_EVENT_TABLE_DELETED, .file_number = 9 },
	  "\"table_deleted\",\"file\":9,\"status\":\"ok\",\"bytes\":0}" },
	{ { .kind = CAIRN_EVENT_WAL_CREATED, .file_number = 9 },
	  "\"wal_created\",\"file\":9}" },
	{ { .kind = CAIRN_EVENT_STALL_BEGIN, .reason = "l0" },
	  "\"stall_begin\",\"cause\":\"l0\"}" },
	{ { .kind = CAIRN_EVENT_STALL_END, .reason = "l0", .duration_us = 1 },
	  "\"stall_end\",\"cause\":\"l0\",\"seconds\":0.000001}" },
	{ { .kind = CAIRN_EVENT_BACKGROUND_ERROR,
	    .code = CAIRN_EIO,
	    .reason = "flush",
	    .detail = "no" },
	  "\"background_error\",\"source\":\"flush\",\"status\":\"input/output "
	  "error\","
	  "\"message\":\"no\"}" },
	{ { .kind = CAIRN_EVENT_PROBLEM_SPAN_END,
	    .file_number = 5,
	    .to_level = 2,
	    .reason = "p" },
	  "\"problem_span_end\",\"file\":5,\"level\":2,\"name\":\"p\"}" },
	{ { .kind = CAIRN_EVENT_QUOTA_REACHED,
	    .bytes_in = 95,
	    .bytes_out = 100 },
	  "\"quota_reached\",\"used\":95,\"quota\":100}" },
	{ { .kind = CAIRN_EVENT_LOW_DISK_OVER, .bytes_in = 7, .bytes_out = 5 },
	  "\"low_disk_over\",\"free\":7,\"reserve\":5}" },
	{ { .kind = CAIRN_EVENT_RESUMED,
	    .reason = "flush",
	    .detail = "no",
	    .duration_us = 1 },
	  "\"resumed\",\"source\":\"flush\",\"seconds\":0.000001,"
	  "\"message\":\"no\"}" },
	{ { .kind = (enum cairn_event_kind)999, .job = 1, .reason = "r" },
	  "\"unknown\",\"job\":1,\"reason\":\"r\",\"status\":\"ok\","
	  "\"seconds\":0.000000}" },
};

START_TEST(an_event_is_a_line_of_json)
{
	struct cairn_event e = lines[_i].e;
	struct eventlog_reader *r;
	struct eventlog *l;
	struct buf got = { 0 };
	char want[512];

	ok(eventlog_new(&l));
	ok(eventlog_reader_new(l, &r));
	ck_assert_int_eq(eventlog_next(r, &got), CAIRN_NOT_FOUND);
	e.time_us = TS_US;
	eventlog_add(l, &e);
	ok(eventlog_next(r, &got));
	snprintf(want, sizeof(want), HEAD "%s\n", lines[_i].line);
	check_text(&got, want);
	ck_assert_int_eq(eventlog_next(r, &got), CAIRN_NOT_FOUND);
	check_text(&got, want);
	buf_fini(&got);
	eventlog_reader_free(r);
	eventlog_free(l);
}
END_TEST

START_TEST(a_slow_request_is_an_event)
{
	struct eventlog_reader *r;
	struct eventlog *l;
	struct buf got = { 0 };

	ok(eventlog_new(&l));
	eventlog_slow(l, "lookup", TS_US, 1234567);
	ok(eventlog_reader_new(l, &r));
	ok(eventlog_next(r, &got));
	check_text(&got, HEAD "\"slow_request\",\"op\":\"lookup\","
			      "\"seconds\":1.234567}\n");
	buf_fini(&got);
	eventlog_reader_free(r);
	eventlog_free(l);
}
END_TEST

static void add_many(struct eventlog *l, unsigned n)
{
	struct cairn_event e = { .kind = CAIRN_EVENT_CLOSE, .time_us = TS_US };

	for (unsigned i = 0; i < n; i++)
		eventlog_add(l, &e);
}

/* The seq of each line, which must follow one another up to last; how many. */
static uint64_t count_to(const struct buf *b, uint64_t last)
{
	const char *p = (const char *)b->data, *end = p + b->len;
	uint64_t n = 0, seq = 0, was = 0;

	while (p < end) {
		if (sscanf(p, "{\"ts\":\"" TS "\",\"seq\":%" SCNu64, &seq) ==
		    1) {
			ck_assert(!was || seq == was + 1);
			was = seq;
			n++;
		}
		p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
	}
	ck_assert_uint_eq(seq, last);
	return n;
}

START_TEST(who_comes_late_gets_the_last_ones)
{
	struct eventlog_reader *r;
	struct eventlog *l;
	struct buf got = { 0 };

	ok(eventlog_new(&l));
	add_many(l, EVENTLOG_KEPT + 500);
	ok(eventlog_reader_new(l, &r));
	ok(eventlog_next(r, &got));
	ck_assert_uint_eq(count_to(&got, EVENTLOG_KEPT + 500), EVENTLOG_KEPT);
	/* That is not called a loss: nobody was there. */
	ck_assert_ptr_null(memmem(got.data, got.len, "dropped", 7));
	buf_fini(&got);
	eventlog_reader_free(r);
	eventlog_free(l);
}
END_TEST

START_TEST(who_is_too_slow_is_told_how_much_is_missing)
{
	struct eventlog_reader *r;
	struct eventlog *l;
	struct buf got = { 0 };
	const char first[] =
		"{\"ts\":\"" TS "\",\"event\":\"dropped\",\"count\":11}\n";

	ok(eventlog_new(&l));
	ok(eventlog_reader_new(l, &r));
	add_many(l, EVENTLOG_KEPT);
	ok(eventlog_next(r, &got));
	ck_assert_uint_eq(count_to(&got, EVENTLOG_KEPT), EVENTLOG_KEPT);
	ck_assert_ptr_null(memmem(got.data, got.len, "dropped", 7));
	buf_clear(&got);
	add_many(l, EVENTLOG_KEPT + 11);
	ok(eventlog_next(r, &got));
	ck_assert_uint_eq(count_to(&got, 2 * EVENTLOG_KEPT + 11),
			  EVENTLOG_KEPT);
	ck_assert_uint_gt(got.len, sizeof(first));
	ck_assert(!memcmp(got.data, first, sizeof(first) - 1));
	buf_fini(&got);
	eventlog_reader_free(r);
	eventlog_free(l);
}
END_TEST

static void count_call(void *ctx)
{
	++*(unsigned *)ctx;
}

START_TEST(who_waits_is_woken_until_it_wants_no_more)
{
	struct eventlog_reader *r[2];
	struct eventlog *l;
	unsigned calls[2] = { 0 };

	ok(eventlog_new(&l));
	for (unsigned i = 0; i < 2; i++) {
		ok(eventlog_reader_new(l, &r[i]));
		eventlog_on_ready(r[i], count_call, &calls[i]);
	}
	add_many(l, 2);
	eventlog_on_ready(r[0], NULL, NULL);
	add_many(l, 3);
	eventlog_reader_free(r[1]);
	add_many(l, 1);
	ck_assert_uint_eq(calls[0], 2);
	ck_assert_uint_eq(calls[1], 5);
	eventlog_reader_free(r[0]);
	eventlog_free(l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("eventlog");
	TCase *tc = tcase_create("eventlog");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, an_event_is_a_line_of_json, 0,
			    (int)(sizeof(lines) / sizeof(lines[0])));
	tcase_add_test(tc, a_slow_request_is_an_event);
	tcase_add_test(tc, who_comes_late_gets_the_last_ones);
	tcase_add_test(tc, who_is_too_slow_is_told_how_much_is_missing);
	tcase_add_test(tc, who_waits_is_woken_until_it_wants_no_more);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
