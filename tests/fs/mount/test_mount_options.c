/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/mount_options.h"

#include <stddef.h>
#include <string.h>

#include "fs/mount/memory.h"
#include "tests/support/runner.h"

#define AT(field) offsetof(struct mount_options, field)

static const struct {
	const char *text;
	size_t at; /* of a uint64_t */
	uint64_t want;
} numbers[] = {
	{ "memory=64M", AT(memory), 64u << 20 },
	{ "memory=8388608", AT(memory), 8u << 20 },
	{ "memory=1g", AT(memory), 1u << 30 },
	{ "quota=2T", AT(quota), UINT64_C(2) << 40 },
	{ "quota=0", AT(quota), 0 },
	{ "max_value=1K", AT(max_value), 1024 },
	{ "commit=1", AT(commit_us), 1000000 },
	{ "commit=250ms", AT(commit_us), 250000 },
	{ "commit=2m", AT(commit_us), 120000000 },
	{ "slow=10us", AT(slow_us), 10 },
	{ "uid=1000", AT(uid), 1000 },
	{ "gid=7", AT(gid), 7 },
	{ "umask=077", AT(umask), 077 },
	{ "umask=27", AT(umask), 027 },
	{ "threads=3", AT(threads), 3 },
	{ "sync=5s", AT(sync_us), 5000000 },
	{ "history=100", AT(history), 100 },
	{ "history=7d", AT(history_us), UINT64_C(604800000000) },
	{ "history=9,history=all", AT(history), 0 },
	{ "uid=1,uid=2", AT(uid), 2 },
	{ ",,uid=3,", AT(uid), 3 },
};

START_TEST(numbers_sizes_and_times_are_taken)
{
	struct mount_options o;
	uint64_t got;

	mount_options_init(&o);
	ck_assert_msg(!mount_options_parse(&o, numbers[_i].text), "%s: %s",
		      numbers[_i].text, cairn_errmsg());
	memcpy(&got, (const char *)&o + numbers[_i].at, sizeof(got));
	ck_assert_msg(got == numbers[_i].want, "%s gave %llu", numbers[_i].text,
		      (unsigned long long)got);
	mount_options_fini(&o);
}
END_TEST

static const struct {
	const char *text;
	size_t at; /* of a bool */
	bool want;
} flags[] = {
	{ "ro", AT(read_only), true },
	{ "ro,rw", AT(read_only), false },
	{ "allow_other", AT(allow_other), true },
	{ "nonempty", AT(nonempty), true },
	{ "debug", AT(debug), true },
	{ "noexec", AT(noexec), true },
	{ "noexec,exec", AT(noexec), false },
	{ "sync", AT(sync_always), true },
	{ "sync=always", AT(sync_always), true },
	{ "sync=always,sync=fsync", AT(sync_always), false },
	/* What others pass and means nothing here. */
	{ "rw,user,users,owner,group,auto,noauto,nofail,_netdev,defaults,"
	  "noatime,relatime,nodev,nosuid,suid,dev,x-systemd.automount,"
	  "comment=a=b",
	  AT(read_only), false },
};

START_TEST(flags_are_taken)
{
	struct mount_options o;
	bool got;

	mount_options_init(&o);
	ck_assert_msg(!mount_options_parse(&o, flags[_i].text), "%s: %s",
		      flags[_i].text, cairn_errmsg());
	memcpy(&got, (const char *)&o + flags[_i].at, sizeof(got));
	ck_assert_msg(got == flags[_i].want, "%s", flags[_i].text);
	mount_options_fini(&o);
}
END_TEST

static const struct {
	const char *text;
	const char *says;
} refused[] = {
	{ "qouta=8G", "-o qouta=8G: no such option; did you mean quota=8G?" },
	{ "memroy=1G", "did you mean memory=1G?" },
	{ "ROO", "-o ROO: " },
	{ "alow_other", "did you mean allow_other?" },
	{ "memory", "wants a size" },
	{ "memory=", "wants a size" },
	{ "memory=1X", "wants a size" },
	{ "memory=1GG", "wants a size" },
	{ "memory=-1", "wants a size" },
	{ "memory=1M", "wants a size" },
	{ "memory=99999999999999999999", "wants a size" },
	{ "memory=99999999T", "wants a size" },
	{ "uid=root", "wants a number" },
	{ "uid=4294967295", "wants a number" },
	{ "umask=9", "wants an octal" },
	{ "umask=1777", "wants an octal" },
	{ "commit=0", "wants a time" },
	{ "commit=5x", "wants a time" },
	{ "commit=s", "wants a time" },
	{ "threads=0", "wants a number" },
	{ "history=0", "wants all" },
	{ "history=-3", "wants all" },
	{ "history=", "wants all" },
	{ "sync=often", "wants always" },
	{ "sync=0", "wants always" },
	{ "ro=1", "takes no value" },
	{ "uid=1,nonsuch_option_of_any_kind", "-o nonsuch_option_of_any_kind" },
};

START_TEST(wrong_options_are_named_with_what_was_meant)
{
	struct mount_options o;

	mount_options_init(&o);
	ck_assert_int_eq(mount_options_parse(&o, refused[_i].text),
			 CAIRN_EINVAL);
	ck_assert_msg(strstr(cairn_errmsg(), refused[_i].says), "%s: %s",
		      refused[_i].text, cairn_errmsg());
	mount_options_fini(&o);
}
END_TEST

START_TEST(an_overlong_name_is_refused)
{
	struct mount_options o;
	char text[5000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	mount_options_init(&o);
	ck_assert_int_eq(mount_options_parse(&o, text), CAIRN_EINVAL);
	mount_options_fini(&o);
}
END_TEST

START_TEST(engine_options_are_checked_and_applied)
{
	struct cairn_options *engine = cairn_options_new();
	struct mount_options o;
	size_t rows = 0;

	mount_options_init(&o);
	ck_assert_int_eq(mount_options_parse(&o, "block_size=8K,memory=64M,"
						 "compression=zstd"),
			 CAIRN_OK);
	ck_assert_int_eq(mount_options_parse(&o, "block_size=lots"),
			 CAIRN_EINVAL);
	ck_assert_int_eq(mount_options_parse(&o, "block_sise=8K"),
			 CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "block_size"));
	ck_assert_int_eq(mount_options_apply(&o, engine, &rows), CAIRN_OK);
	ck_assert_uint_eq(rows, 2u << 20);
	cairn_options_free(engine);
	mount_options_fini(&o);
}
END_TEST

START_TEST(the_shares_of_memory_add_up)
{
	for (uint64_t total = MEMORY_MIN; total < UINT64_C(1) << 40;
	     total = total * 3 / 2 + 1) {
		struct memory_split s = memory_split(total);

		uint64_t used = s.block_cache + s.row_cache +
				s.write_buffers * s.write_buffer;

		ck_assert_uint_le(used, total - total / 16);
		ck_assert_uint_ge(used, total - total / 4);
		if (total >= 256u << 20)
			ck_assert_uint_eq(used, total - total / 16);
		ck_assert_uint_le(s.dirty, 16u << 20);
		ck_assert_uint_ge(s.write_buffer, 512u << 10);
		ck_assert_uint_ge(s.block_cache, total / 4);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mount_options");
	TCase *tc = tcase_create("mount_options");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, numbers_sizes_and_times_are_taken, 0,
			    sizeof(numbers) / sizeof(numbers[0]));
	tcase_add_loop_test(tc, flags_are_taken, 0,
			    sizeof(flags) / sizeof(flags[0]));
	tcase_add_loop_test(tc, wrong_options_are_named_with_what_was_meant, 0,
			    sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(tc, an_overlong_name_is_refused);
	tcase_add_test(tc, engine_options_are_checked_and_applied);
	tcase_add_test(tc, the_shares_of_memory_add_up);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
