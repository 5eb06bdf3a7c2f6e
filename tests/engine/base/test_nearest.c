/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/nearest.h"

#include "tests/support/runner.h"

static const char *const candidates[] = { "quota", "memory", "sync", "history",
					  "umask", "gid",    "uid" };

static const struct {
	const char *given;
	const char *want;
} cases[] = {
	{ "qouta", "quota" },
	{ "quot", "quota" },
	{ "memmory", "memory" },
	{ "synk", "sync" },
	{ "hsitory", "history" },
	{ "zzz", NULL },
	{ "", NULL },
	{ "xid", "gid" },
	{ "q", NULL },
	{ "unmask", "umask" },
};

START_TEST(the_name_two_edits_away_is_found)
{
	const char *best = NULL;

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++)
		nearest_consider(cases[_i].given, candidates[i], &best);
	ck_assert_pstr_eq(best, cases[_i].want);
}
END_TEST

START_TEST(names_of_any_length_are_safe)
{
	char name[300];
	const char *best = NULL;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	nearest_consider(name, "quota", &best);
	nearest_consider("quota", name, &best);
	ck_assert_ptr_null(best);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nearest");
	TCase *t = tcase_create("nearest");

	tcase_add_loop_test(t, the_name_two_edits_away_is_found, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(t, names_of_any_length_are_safe);
	suite_add_tcase(s, t);
	return run_suite(s);
}
