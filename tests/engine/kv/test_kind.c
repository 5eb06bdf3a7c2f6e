/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/kind.h"

#include "tests/support/runner.h"

static const struct {
	uint8_t kind;
	int want;
	const char *name;
} cases[] = {
	{ KIND_MERGE, CAIRN_ENOTSUP, "merge operand" },
	{ KIND_BLOB_INDEX, CAIRN_ENOTSUP, "blob index" },
	{ KIND_TIMESTAMPED_DELETE, CAIRN_ENOTSUP, "deletion with timestamp" },
	{ KIND_ENTITY, CAIRN_ENOTSUP, "wide-column entity" },
	{ KIND_RANGE_DELETE, CAIRN_ECORRUPT, "range deletion" },
	{ KIND_LOG_DATA, CAIRN_ECORRUPT, "log data" },
	{ 0x7f, CAIRN_ECORRUPT, "unknown kind" },
};

START_TEST(a_refusal_names_the_kind_and_the_place)
{
	ck_assert_str_eq(kind_name(cases[_i].kind), cases[_i].name);
	ck_assert_int_eq(kind_refuse(cases[_i].kind, "here"), cases[_i].want);
	ck_assert_msg(strncmp(cairn_errmsg(), "here: ", 6) == 0, "%s",
		      cairn_errmsg());
	if (cases[_i].want == CAIRN_ENOTSUP)
		ck_assert_msg(strstr(cairn_errmsg(), cases[_i].name), "%s",
			      cairn_errmsg());
}
END_TEST

static Suite *kind_suite(void)
{
	Suite *s = suite_create("kind");
	TCase *tc = tcase_create("names");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_refusal_names_the_kind_and_the_place, 0,
			    (int)(sizeof(cases) / sizeof(cases[0])));
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(kind_suite());
}
