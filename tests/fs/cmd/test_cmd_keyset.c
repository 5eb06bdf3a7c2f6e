/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/cmd_keyset.h"

#include <stdio.h>

#include "tests/support/runner.h"

static bool add(struct keyset *s, const char *text)
{
	bool seen;

	ck_assert_int_eq(keyset_add(s, slice_str(text), &seen), CAIRN_OK);
	return seen;
}

START_TEST(a_key_is_seen_from_the_second_time_on)
{
	struct keyset s = { 0 };

	ck_assert(!add(&s, "a"));
	ck_assert(!add(&s, ""));
	ck_assert(!add(&s, "b"));
	ck_assert(add(&s, "a"));
	ck_assert(add(&s, ""));
	ck_assert(add(&s, "a"));
	keyset_fini(&s);
}
END_TEST

START_TEST(a_cleared_set_is_empty_and_usable)
{
	struct keyset s = { 0 };

	keyset_clear(&s);
	ck_assert(!add(&s, "a"));
	keyset_clear(&s);
	ck_assert(!add(&s, "a"));
	ck_assert(add(&s, "a"));
	keyset_fini(&s);
	ck_assert(!add(&s, "a"));
	keyset_fini(&s);
}
END_TEST

START_TEST(no_key_is_lost_when_the_set_grows)
{
	struct keyset s = { 0 };
	char key[32];

	for (int i = 0; i < 50000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		ck_assert(!add(&s, key));
	}
	for (int i = 0; i < 50000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		ck_assert(add(&s, key));
	}
	keyset_fini(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cmd_keyset");
	TCase *t = tcase_create("cmd_keyset");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_key_is_seen_from_the_second_time_on);
	tcase_add_test(t, a_cleared_set_is_empty_and_usable);
	tcase_add_test(t, no_key_is_lost_when_the_set_grows);
	suite_add_tcase(s, t);
	return run_suite(s);
}
