/* SPDX-License-Identifier: BSD-3-Clause */
/* A directory of a test's own, and calls that must succeed. */
#ifndef CAIRN_TESTS_COMPAT_SCRATCH_H
#define CAIRN_TESTS_COMPAT_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/cairn.h"
#include "tests/support/check.h"

#define SCRATCH_LEN 64

static inline void scratch_make(char dir[SCRATCH_LEN])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, SCRATCH_LEN, "%.40s/compat-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void scratch_remove(const char *dir)
{
	char cmd[SCRATCH_LEN + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static inline void must(int err)
{
	ck_assert_msg(err == CAIRN_OK, "%s: %s", cairn_strerror(err),
		      cairn_errmsg());
}

#endif
