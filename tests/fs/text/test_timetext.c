/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/timetext.h"

#include "tests/support/runner.h"

static const struct {
	const char *text;
	bool unit_ok; /* also when a unit is asked for */
	uint64_t us;
	int64_t ttl;
} good[] = {
	{ "0", false, 0, 0 },
	{ "5", false, 5000000, 5 },
	{ "1us", true, 1, 1 },
	{ "1500ms", true, 1500000, 2 },
	{ "1000ms", true, 1000000, 1 },
	{ "30s", true, 30000000, 30 },
	{ "010s", true, 10000000, 10 },
	{ "2m", true, 120000000, 120 },
	{ "3h", true, UINT64_C(10800000000), 10800 },
	{ "1d", true, UINT64_C(86400000000), 86400 },
	{ "18446744073709551615us", true, UINT64_MAX, 18446744073710 },
	{ "18446744073709s", true, UINT64_C(18446744073709000000),
	  18446744073709 },
};

static const char *const bad[] = {
	"",
	"s",
	"-1s",
	"+1s",
	" 1s",
	"1 s",
	"1x",
	"1ss",
	"1.5s",
	"1S",
	"1w",
	"18446744073710s",
	"18446744073709551616us",
	"0x10s",
};

START_TEST(times_with_a_unit_are_read)
{
	uint64_t us = 7;
	int64_t ttl = 7;

	ck_assert(timetext_parse(good[_i].text, false, &us));
	ck_assert_uint_eq(us, good[_i].us);
	us = 7;
	ck_assert(timetext_parse(good[_i].text, true, &us) == good[_i].unit_ok);
	ck_assert_uint_eq(us, good[_i].unit_ok ? good[_i].us : 7);
	ck_assert(timetext_parse_ttl(good[_i].text, &ttl));
	ck_assert_int_eq(ttl, good[_i].ttl);
}
END_TEST

START_TEST(what_is_no_time_is_refused)
{
	uint64_t us = 7;
	int64_t ttl = 7;

	ck_assert(!timetext_parse(bad[_i], false, &us));
	ck_assert(!timetext_parse(bad[_i], true, &us));
	ck_assert(!timetext_parse_ttl(bad[_i], &ttl));
	ck_assert(us == 7 && ttl == 7);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("timetext");
	TCase *tc = tcase_create("timetext");

	tcase_add_loop_test(tc, times_with_a_unit_are_read, 0,
			    sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(tc, what_is_no_time_is_refused, 0,
			    sizeof(bad) / sizeof(bad[0]));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
