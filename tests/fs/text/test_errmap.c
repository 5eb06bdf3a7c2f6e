/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/errmap.h"

#include <errno.h>

#include "engine/cairn.h"
#include "tests/support/runner.h"

static const struct {
	int code;
	int want;
} cases[] = {
	{ CAIRN_OK, 0 },
	{ CAIRN_NOT_FOUND, ENOENT },
	{ CAIRN_ECORRUPT, EIO },
	{ CAIRN_EIO, EIO },
	{ CAIRN_ENOSPC, ENOSPC },
	{ CAIRN_EINVAL, EINVAL },
	{ CAIRN_ENOTSUP, EOPNOTSUPP },
	{ CAIRN_EROFS, EROFS },
	{ CAIRN_EBUSY, EBUSY },
	{ CAIRN_ETIMEDOUT, ETIMEDOUT },
	{ CAIRN_EABORTED, EINTR },
	{ CAIRN_ENOMEM, ENOMEM },
	{ CAIRN_EEXIST, EEXIST },
	{ CAIRN_ENOENT, ENOENT },
	{ CAIRN_EACCES, EACCES },
	{ CAIRN_EDQUOT, EDQUOT },
	{ CAIRN_EFORGOTTEN, ESTALE },
	{ CAIRN_EFUTURE, ENOENT },
	{ CAIRN_EKIND, EOPNOTSUPP },
};

START_TEST(each_code_has_its_errno)
{
	ck_assert_int_eq(errmap_errno(cases[_i].code), cases[_i].want);
}
END_TEST

START_TEST(a_code_nobody_knows_is_an_io_error)
{
	ck_assert_int_eq(errmap_errno(-1000), EIO);
	ck_assert_int_eq(errmap_errno(1000), EIO);
}
END_TEST

START_TEST(no_failure_is_mapped_to_success)
{
	for (int code = CAIRN_EKIND - 20; code < 0; code++)
		ck_assert_int_gt(errmap_errno(code), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("errmap");
	TCase *tc = tcase_create("errmap");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, each_code_has_its_errno, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, a_code_nobody_knows_is_an_io_error);
	tcase_add_test(tc, no_failure_is_mapped_to_success);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
