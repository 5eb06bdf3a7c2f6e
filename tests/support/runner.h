/* SPDX-License-Identifier: BSD-3-Clause */
/* What every unit test's main() does. */
#ifndef CAIRN_TESTS_SUPPORT_RUNNER_H
#define CAIRN_TESTS_SUPPORT_RUNNER_H

#include <check.h>
#include <stdlib.h>

/* Run the suite and say what failed; the exit status for main(). */
static inline int run_suite(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
