/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/garbage.h"

#include <stdlib.h>

#include "engine/base/coding.h"
#include "tests/support/runner.h"

#define RAW        1000
#define FILE_BYTES 500

struct step {
	uint64_t position, bytes;
};

static size_t steps_encode(const struct step *s, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++) {
		put_be64(out + 16 * i, s[i].position);
		put_be64(out + 16 * i + 8, s[i].bytes);
	}
	return 16 * n;
}

START_TEST(steps_say_how_much_of_the_file_is_garbage_when)
{
	static const struct step steps[] = { { 3, 100 },
					     { 7, 500 },
					     { UINT64_MAX, 1000 } };
	static const struct {
		uint64_t position, want;
	} asked[] = { { 0, 0 },           { 2, 0 },   { 3, 50 },
		      { 6, 50 },          { 7, 250 }, { UINT64_MAX - 1, 250 },
		      { UINT64_MAX, 500 } };
	uint8_t value[64];
	size_t len = steps_encode(steps, 3, value);
	struct garbage *g;

	ck_assert_int_eq(garbage_new(slice_of(value, len), RAW, FILE_BYTES, &g),
			 CAIRN_OK);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		ck_assert_uint_eq(garbage_at(g, asked[i].position),
				  asked[i].want);
	free(g);
	ck_assert_uint_eq(garbage_at(NULL, UINT64_MAX), 0);
}
END_TEST

static const struct {
	const char *name;
	struct step steps[3];
	size_t n;
} senseless[] = {
	{ "none", { { 0, 0 } }, 0 },
	{ "no position", { { 0, 1 } }, 1 },
	{ "no bytes", { { 1, 0 } }, 1 },
	{ "more than there is", { { 1, RAW + 1 } }, 1 },
	{ "a position twice", { { 1, 1 }, { 1, 2 } }, 2 },
	{ "back", { { 2, 1 }, { 1, 2 } }, 2 },
	{ "the same bytes twice", { { 1, 1 }, { 2, 1 } }, 2 },
	{ "less", { { 1, 2 }, { 2, 3 }, { 3, 1 } }, 3 },
};

START_TEST(what_makes_no_sense_says_nothing)
{
	uint8_t value[64];
	size_t len = steps_encode(senseless[_i].steps, senseless[_i].n, value);
	struct garbage *g;

	ck_assert_int_eq(garbage_new(slice_of(value, len), RAW, FILE_BYTES, &g),
			 CAIRN_OK);
	ck_assert_msg(!g, "%s", senseless[_i].name);
}
END_TEST

START_TEST(a_value_cut_short_says_nothing)
{
	static const struct step steps[] = { { 3, 100 }, { 7, 500 } };
	uint8_t value[64];
	size_t len = steps_encode(steps, 2, value);

	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n + 1);
		struct garbage *g;

		ck_assert_ptr_nonnull(cut);
		memcpy(cut, value, n);
		ck_assert_int_eq(
			garbage_new(slice_of(cut, n), RAW, FILE_BYTES, &g),
			CAIRN_OK);
		ck_assert(n == 16 ? g && g->n == 1 : !g);
		free(g);
		free(cut);
	}
}
END_TEST

START_TEST(more_steps_than_anybody_writes_say_nothing)
{
	static uint8_t value[16 * (GARBAGE_STEPS_MAX + 1)];
	struct garbage *g;

	for (uint64_t i = 0; i <= GARBAGE_STEPS_MAX; i++)
		steps_encode(&(struct step){ i + 1, i + 1 }, 1, value + 16 * i);
	ck_assert_int_eq(garbage_new(slice_of(value, sizeof(value) - 16), RAW,
				     FILE_BYTES, &g),
			 CAIRN_OK);
	ck_assert_ptr_nonnull(g);
	free(g);
	ck_assert_int_eq(garbage_new(slice_of(value, sizeof(value)), RAW,
				     FILE_BYTES, &g),
			 CAIRN_OK);
	ck_assert_ptr_null(g);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("garbage");
	TCase *tc = tcase_create("steps");

	tcase_add_test(tc, steps_say_how_much_of_the_file_is_garbage_when);
	tcase_add_loop_test(tc, what_makes_no_sense_says_nothing, 0,
			    sizeof(senseless) / sizeof(senseless[0]));
	tcase_add_test(tc, a_value_cut_short_says_nothing);
	tcase_add_test(tc, more_steps_than_anybody_writes_say_nothing);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
