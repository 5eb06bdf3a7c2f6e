/* SPDX-License-Identifier: BSD-3-Clause */
/* What every unit test's main() does. */
#ifndef CAIRN_TESTS_SUPPORT_RUNNER_H
#define CAIRN_TESTS_SUPPORT_RUNNER_H

#include <stdlib.h>
#include <unistd.h>

#include "tests/support/check.h"

/* Longer than any program takes, however busy the machine is. */
#define RUNNER_SECONDS_MAX 1800

/* Run the suite and say what failed; the exit status for main(). Each test in a
 * process of its own. */
static inline int run_suite_apart(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * The same. Under the address sanitizer all tests run in one process, as what
 * it does at the end of each takes longer than most tests: not for programs
 * whose tests leave something behind or end their process. CK_FORK=yes in the
 * environment gives each its own again.
 */
static inline int run_suite(Suite *s)
{
#ifdef __SANITIZE_ADDRESS__
	if (!getenv("CK_FORK")) {
		setenv("CK_FORK", "no", 1);
		/* There is nobody else to end what hangs. */
		alarm(RUNNER_SECONDS_MAX);
	}
#endif
	return run_suite_apart(s);
}

#endif
