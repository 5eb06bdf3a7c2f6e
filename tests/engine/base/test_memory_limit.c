/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/memory_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/runner.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static char root[256];

/* Write a file below root, with the directories above it. */
static void put(const char *path, const char *text)
{
	char at[512];
	FILE *f;

	snprintf(at, sizeof(at), "%s%s", root, path);
	for (char *p = at + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(at, 0700);
		*p = '/';
	}
	f = fopen(at, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/cairn-limit-XXXXXX",
		 tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void end(void)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	ck_assert_int_eq(system(command), 0);
}

struct given {
	const char *path;
	const char *text;
};

static const struct {
	const char *name;
	struct given files[5];
	uint64_t limit;
} cases[] = {
	{ "no groups", { { "/x", "" } }, UINT64_MAX },
	{ "unlimited",
	  { { "/proc/self/cgroup", "0::/a\n" },
	    { "/sys/fs/cgroup/a/memory.max", "max\n" } },
	  UINT64_MAX },
	{ "version 2",
	  { { "/proc/self/cgroup", "0::/a/b\n" },
	    { "/sys/fs/cgroup/a/b/memory.max", "134217728\n" } },
	  134217728 },
	{ "version 2, high",
	  { { "/proc/self/cgroup", "0::/a\n" },
	    { "/sys/fs/cgroup/a/memory.max", "134217728\n" },
	    { "/sys/fs/cgroup/a/memory.high", "67108864\n" } },
	  67108864 },
	{ "version 2, of the parent",
	  { { "/proc/self/cgroup", "0::/a/b\n" },
	    { "/sys/fs/cgroup/a/b/memory.max", "max\n" },
	    { "/sys/fs/cgroup/a/memory.max", "1048576\n" } },
	  1048576 },
	{ "version 2, of the root that a container sees",
	  { { "/proc/self/cgroup", "0::/\n" },
	    { "/sys/fs/cgroup/memory.max", "2097152\n" } },
	  2097152 },
	{ "version 1",
	  { { "/proc/self/cgroup", "9:cpu:/c\n7:hugetlb,memory:/d\n" },
	    { "/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "4194304\n" },
	    { "/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "1\n" } },
	  4194304 },
	{ "version 1, where the path is another namespace's",
	  { { "/proc/self/cgroup", "7:memory:/docker/0123\n" },
	    { "/sys/fs/cgroup/memory/memory.limit_in_bytes", "8388608\n" } },
	  8388608 },
	{ "both versions",
	  { { "/proc/self/cgroup", "7:memory:/d\n0::/a\n" },
	    { "/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "4194304\n" },
	    { "/sys/fs/cgroup/a/memory.max", "3145728\n" } },
	  3145728 },
	{ "nonsense",
	  { { "/proc/self/cgroup", "x\n0:\n::\n7:memories:/d\n0::/a" },
	    { "/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "1\n" },
	    { "/sys/fs/cgroup/a/memory.max", "many\n" } },
	  UINT64_MAX },
};

START_TEST(the_least_limit_of_all_groups_counts)
{
	begin();
	for (size_t i = 0; i < N(cases[_i].files); i++)
		if (cases[_i].files[i].path)
			put(cases[_i].files[i].path, cases[_i].files[i].text);
	ck_assert_msg(memory_limit_of_groups(root) == cases[_i].limit, "%s",
		      cases[_i].name);
	end();
}
END_TEST

START_TEST(there_is_a_limit_for_this_process)
{
	ck_assert_uint_gt(memory_limit(), 1u << 20);
	ck_assert_uint_lt(memory_limit(), UINT64_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory_limit");
	TCase *tc = tcase_create("memory_limit");

	tcase_add_loop_test(tc, the_least_limit_of_all_groups_counts, 0,
			    (int)N(cases));
	tcase_add_test(tc, there_is_a_limit_for_this_process);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
