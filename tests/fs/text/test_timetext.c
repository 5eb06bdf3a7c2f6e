/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/timetext.h"

#include "tests/support/runner.h"

#define NOW INT64_C(1795432802123456789)

static const struct {
	const char *text;
	int64_t ns; /* -1: no moment */
} moments[] = {
	/* By date -d TEXT +%s%N. */
	{ "2026-11-23T11:05:00Z", INT64_C(1795431900000000000) },
	{ "2026-11-23t11:05:00z", INT64_C(1795431900000000000) },
	{ "2026-11-23T12:05:00+01:00", INT64_C(1795431900000000000) },
	{ "2026-11-23T05:35:00-05:30", INT64_C(1795431900000000000) },
	{ "2026-11-23T11:05:00.25Z", INT64_C(1795431900250000000) },
	{ "2026-11-23T11:05:00.1234567899Z", INT64_C(1795431900123456789) },
	{ "2024-02-29T00:00:00Z", INT64_C(1709164800000000000) },
	{ "1970-01-01T00:00:00Z", 0 },
	{ "@1795431900", INT64_C(1795431900000000000) },
	{ "@1795431900.5", INT64_C(1795431900500000000) },
	{ "@0", 0 },
	{ "10m", NOW - INT64_C(600000000000) },
	{ "2h", NOW - INT64_C(7200000000000) },
	{ "1d", NOW - INT64_C(86400000000000) },
	{ "500ms", NOW - INT64_C(500000000) },
	{ "", -1 },
	{ "10", -1 },
	{ "m", -1 },
	{ "@", -1 },
	{ "@-1", -1 },
	{ "@1x", -1 },
	{ "@1.", -1 },
	{ "@99999999999999999999", -1 },
	{ "@9223372036854775807", -1 },
	{ "9999999999999999d", -1 },
	{ "2023-02-29T00:00:00Z", -1 },
	{ "2026-04-31T00:00:00Z", -1 },
	{ "2026-13-01T00:00:00Z", -1 },
	{ "2026-00-01T00:00:00Z", -1 },
	{ "2026-11-23T24:00:00Z", -1 },
	{ "2026-11-23T11:05:00", -1 },
	{ "2026-11-23T11:05Z", -1 },
	{ "2026-11-23", -1 },
	{ "2026-11-23T11:05:00Zx", -1 },
	{ "2026-11-23T11:05:00.Z", -1 },
	{ "2026-11-23T11:05:00+1:00", -1 },
	{ "1969-12-31T23:59:59Z", -1 },
	{ "latest", -1 },
};

START_TEST(moments_are_what_date_says)
{
	int64_t ns = -1;
	bool is = timetext_moment(slice_str(moments[_i].text), NOW, &ns);

	ck_assert_msg(is == (moments[_i].ns >= 0), "'%s'", moments[_i].text);
	ck_assert_msg(ns == moments[_i].ns, "'%s': %lld", moments[_i].text,
		      (long long)ns);
}
END_TEST

START_TEST(no_beginning_of_a_moment_is_one)
{
	const char *text = "2026-11-23T12:05:00.25+01:00";
	int64_t ns;

	for (size_t n = 0; n < strlen(text); n++)
		ck_assert(!timetext_moment(slice_of(text, n), NOW, &ns));
	ck_assert(!timetext_moment(slice_of("1m\0", 3), NOW, &ns));
	ck_assert(timetext_moment(slice_of("1m\0", 2), NOW, &ns));
}
END_TEST

static const struct {
	const char *text;
	bool need_unit;
	uint64_t us; /* 0: none */
} durations[] = {
	{ "5", false, 5000000 },
	{ "5", true, 0 },
	{ "7us", true, 7 },
	{ "7ms", false, 7000 },
	{ "7s", true, 7000000 },
	{ "2m", true, 120000000 },
	{ "1h", true, UINT64_C(3600000000) },
	{ "7d", true, UINT64_C(604800000000) },
	{ "7w", true, 0 },
	{ "d", true, 0 },
	{ "-1s", true, 0 },
	{ "1 s", true, 0 },
	{ "18446744073709551616us", true, 0 },
	{ "18446744073709551615us", true, UINT64_MAX },
	{ "18446744073709551615ms", true, 0 },
};

START_TEST(durations_have_units)
{
	uint64_t us = 0;

	ck_assert(timetext_duration(durations[_i].text, durations[_i].need_unit,
				    &us) == (durations[_i].us != 0));
	ck_assert_uint_eq(us, durations[_i].us);
}
END_TEST

START_TEST(times_to_live_are_rounded_up)
{
	int64_t ttl = 7;

	ck_assert(!timetext_ttl("1x", &ttl) && ttl == 7);
	ck_assert(timetext_ttl("0", &ttl) && ttl == 0);
	ck_assert(timetext_ttl("30", &ttl) && ttl == 30);
	ck_assert(timetext_ttl("1us", &ttl) && ttl == 1);
	ck_assert(timetext_ttl("1000ms", &ttl) && ttl == 1);
	ck_assert(timetext_ttl("1500ms", &ttl) && ttl == 2);
	ck_assert(timetext_ttl("2m", &ttl) && ttl == 120);
	ck_assert(timetext_ttl("18446744073709551615us", &ttl) &&
		  ttl == INT64_C(18446744073710));
}
END_TEST

#define N(a) ((int)(sizeof(a) / sizeof((a)[0])))

int main(void)
{
	Suite *s = suite_create("timetext");
	TCase *c = tcase_create("times");

	tcase_add_loop_test(c, moments_are_what_date_says, 0, N(moments));
	tcase_add_test(c, no_beginning_of_a_moment_is_one);
	tcase_add_loop_test(c, durations_have_units, 0, N(durations));
	tcase_add_test(c, times_to_live_are_rounded_up);
	suite_add_tcase(s, c);
	return run_suite(s);
}
