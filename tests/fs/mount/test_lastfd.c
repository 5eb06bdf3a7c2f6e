/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/lastfd.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/runner.h"

START_TEST(a_process_has_the_files_it_has_open)
{
	FILE *f = tmpfile();
	struct stat st;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &st), 0);
	ck_assert(lastfd_may_have(getpid(), st.st_dev, st.st_ino));
	ck_assert(!lastfd_may_have(getpid(), st.st_dev + 1, st.st_ino));
	ck_assert(!lastfd_may_have(getpid(), st.st_dev, st.st_ino + 1));
	fclose(f);
	ck_assert(!lastfd_may_have(getpid(), st.st_dev, st.st_ino));
}
END_TEST

START_TEST(a_copy_of_a_descriptor_counts)
{
	FILE *f = tmpfile();
	struct stat st;
	int copy;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &st), 0);
	copy = dup(fileno(f));
	fclose(f);
	ck_assert(lastfd_may_have(getpid(), st.st_dev, st.st_ino));
	close(copy);
	ck_assert(!lastfd_may_have(getpid(), st.st_dev, st.st_ino));
}
END_TEST

START_TEST(who_cannot_be_looked_at_might_have_anything)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(0);
	ck_assert(lastfd_may_have(0, 1, 1));
	ck_assert(lastfd_may_have(-1, 1, 1));
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ck_assert(lastfd_may_have(child, 1, 1)); /* gone */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lastfd");
	TCase *tc = tcase_create("lastfd");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_process_has_the_files_it_has_open);
	tcase_add_test(tc, a_copy_of_a_descriptor_counts);
	tcase_add_test(tc, who_cannot_be_looked_at_might_have_anything);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
