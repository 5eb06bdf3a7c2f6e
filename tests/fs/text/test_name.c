/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/name.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "tests/support/runner.h"

#define VECTORS "tests/data/fs-keymap-vectors.tsv"

static int hex_digit(int c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void unhex(const char *s, struct buf *out)
{
	buf_clear(out);
	for (; s[0] != '-' && s[0]; s += 2) {
		uint8_t b = (uint8_t)(hex_digit(s[0]) * 16 + hex_digit(s[1]));

		ck_assert_int_eq(buf_append(out, &b, 1), CAIRN_OK);
	}
}

static FILE *open_vectors(void)
{
	const char *top = getenv("srcdir");
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", top ? top : ".", VECTORS);
	return fopen(path, "r");
}

static void check_pair(struct cairn_slice key, struct cairn_slice path)
{
	struct buf got = { 0 };

	ck_assert_int_eq(name_key_to_path(key, &got), CAIRN_OK);
	ck_assert(slice_eq(buf_slice(&got), path));
	buf_clear(&got);
	ck_assert_int_eq(name_path_to_key(path, &got), CAIRN_OK);
	ck_assert(slice_eq(buf_slice(&got), key));
	buf_fini(&got);
}

START_TEST(every_vector_maps_both_ways)
{
	struct buf key = { 0 }, path = { 0 };
	FILE *f = open_vectors();
	char *line = NULL;
	size_t cap = 0;
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (getline(&line, &cap, f) > 0) {
		char *tab, *tab2;

		if (line[0] == '#')
			continue;
		tab = strchr(line, '\t');
		ck_assert_ptr_nonnull(tab);
		*tab = '\0';
		tab2 = strchr(tab + 1, '\t');
		ck_assert_ptr_nonnull(tab2);
		*tab2 = '\0';
		unhex(line, &key);
		unhex(tab + 1, &path);
		check_pair(buf_slice(&key), buf_slice(&path));
		n++;
	}
	ck_assert_int_ge(n, 57);
	free(line);
	fclose(f);
	buf_fini(&key);
	buf_fini(&path);
}
END_TEST

/* Every name of a path can be one, and leads back to the key. */
static void check_round_trip(struct cairn_slice key)
{
	struct buf path = { 0 };
	const uint8_t *p;
	size_t left;

	ck_assert_int_eq(name_key_to_path(key, &path), CAIRN_OK);
	check_pair(key, buf_slice(&path));
	p = path.data;
	left = path.len;
	for (;;) {
		const uint8_t *slash = memchr(p, '/', left);
		size_t len = slash ? (size_t)(slash - p) : left;

		ck_assert(len > 0 && len <= NAME_LEN_MAX);
		ck_assert(!memchr(p, 0, len));
		ck_assert(!(len == 1 && p[0] == '.'));
		ck_assert(!(len == 2 && p[0] == '.' && p[1] == '.'));
		ck_assert(!(len == 2 && p[0] == '%' && p[1] == '='));
		ck_assert(
			!(len >= 2 && p[len - 2] == '%' && p[len - 1] == '@'));
		if (!slash)
			break;
		p = slash + 1;
		left -= len + 1;
	}
	ck_assert(left < 2 || p[left - 2] != '%' || p[left - 1] != '+');
	buf_fini(&path);
}

static const char alphabet[] = { '%', '+', '=',  '@', '0', '2',
				 '5', '.', '\0', '/', 'a' };
#define N_ALPHABET sizeof(alphabet)

START_TEST(all_short_keys_over_the_special_bytes_round_trip)
{
	for (size_t len = 0; len <= 5; len++) {
		size_t total = 1;

		for (size_t i = 0; i < len; i++)
			total *= N_ALPHABET;
		for (size_t v = 0; v < total; v++) {
			uint8_t key[5];
			size_t rest = v;

			for (size_t i = 0; i < len; i++) {
				key[i] = (uint8_t)alphabet[rest % N_ALPHABET];
				rest /= N_ALPHABET;
			}
			check_round_trip(slice_of(key, len));
		}
	}
}
END_TEST

START_TEST(all_short_names_decode_to_what_encodes_to_them)
{
	for (size_t len = 1; len <= 5; len++) {
		size_t total = 1;

		for (size_t i = 0; i < len; i++)
			total *= N_ALPHABET;
		for (size_t v = 0; v < total; v++) {
			uint8_t bytes[5];
			struct name_bytes b;
			struct name n;
			size_t rest = v;
			enum name_kind kind;

			for (size_t i = 0; i < len; i++) {
				bytes[i] = (uint8_t)alphabet[rest % N_ALPHABET];
				rest /= N_ALPHABET;
			}
			kind = name_decode(slice_of(bytes, len), false, &b);
			if (kind != NAME_PART)
				continue;
			ck_assert_uint_eq(name_encode(slice_of(b.bytes, b.len),
						      false, &n),
					  b.len);
			ck_assert(
				slice_eq(name_slice(&n), slice_of(bytes, len)));
		}
	}
}
END_TEST

START_TEST(random_keys_round_trip_also_around_the_longest_name)
{
	struct rng r;
	uint8_t key[1200];

	rng_init(&r, 20261127);
	for (int round = 0; round < 4000; round++) {
		size_t len = round % 2 ? 225 + rng_below(&r, 60)
				       : rng_below(&r, sizeof(key) + 1);
		uint64_t dull = 1 + rng_below(&r, 400);

		for (size_t i = 0; i < len; i++)
			key[i] = rng_one_in(&r, dull)
					 ? (uint8_t)alphabet[rng_below(
						   &r, N_ALPHABET)]
					 : 'x';
		check_round_trip(slice_of(key, len));
	}
}
END_TEST

static const struct {
	const char *path;
	const char *key; /* NULL: no path of a key */
} paths[] = {
	{ "a/%=", "a" },    { "a/b/%=", "a/b" }, { "a/%/%=", "a/" },
	{ "%=", NULL },     { "%=/a", NULL },    { "a/%=/b", NULL },
	{ "a%@", NULL },    { "a%@/1", NULL },   { "a%+", NULL },
	{ "a%+/b", NULL },  { "%+/b", NULL },    { ".", NULL },
	{ "a/../b", NULL }, { "", NULL },        { "a//b", NULL },
	{ "/a", NULL },     { "a/", NULL },
};

START_TEST(paths_that_are_of_no_key_are_refused)
{
	struct buf key = { 0 };
	int err;

	ck_assert_int_eq(buf_append(&key, "before", 6), CAIRN_OK);
	err = name_path_to_key(slice_str(paths[_i].path), &key);
	if (!paths[_i].key) {
		ck_assert_int_eq(err, CAIRN_EINVAL);
		ck_assert_uint_eq(key.len, 6);
	} else {
		ck_assert_int_eq(err, CAIRN_OK);
		ck_assert(slice_eq(slice_of(key.data + 6, key.len - 6),
				   slice_str(paths[_i].key)));
	}
	buf_fini(&key);
}
END_TEST

START_TEST(a_cut_is_recognised_at_its_place_only)
{
	uint8_t key[600];

	memset(key, 'k', sizeof(key));
	for (size_t at = 0; at <= sizeof(key); at++)
		ck_assert(
			name_is_cut_at(slice_of(key, sizeof(key)), false, at) ==
			(at == 0 || at == 253 || at == 506));
	ck_assert(!name_is_cut_at(slice_of(key, 255), false, 253));
	ck_assert(name_is_cut_at(slice_of(key, 256), false, 253));
}
END_TEST

/* Components and their names at the top of a flat mount, and elsewhere. */
static const struct {
	const char *component, *flat, *other;
} at_top[] = {
	{ ".cairn", "%.cairn", ".cairn" },
	{ "%.cairn", "%%25.cairn", "%.cairn" },
	{ "%%25.cairn", "%%25%2525.cairn", "%%25.cairn" },
	{ "%25.cairn", "%25.cairn", "%25.cairn" },
	{ ".cairn.", ".cairn.", ".cairn." },
	{ ".cair", ".cair", ".cair" },
	{ "cairn", "cairn", "cairn" },
	{ ".", "%.", "%." },
	{ "%.", "%%25.", "%%25." },
};

START_TEST(one_more_component_is_quoted_at_the_top_of_a_flat_mount)
{
	struct cairn_slice c = slice_str(at_top[_i].component);
	struct name_bytes b;
	struct name n;

	for (int flat = 0; flat < 2; flat++) {
		const char *want = flat ? at_top[_i].flat : at_top[_i].other;

		ck_assert_uint_eq(name_encode(c, flat, &n), c.len);
		ck_assert(slice_eq(name_slice(&n), slice_str(want)));
		ck_assert_int_eq(name_decode(name_slice(&n), flat, &b),
				 NAME_PART);
		ck_assert(slice_eq(slice_of(b.bytes, b.len), c));
	}
	ck_assert_int_eq(name_decode(slice_str(".cairn"), true, &b), NAME_BAD);
	ck_assert_int_eq(name_decode(slice_str(".cairn%@"), true, &b),
			 NAME_BAD);
	ck_assert_int_eq(name_decode(slice_str(".cairn%+"), true, &b),
			 NAME_BAD);
}
END_TEST

START_TEST(a_history_name_decodes_to_the_key)
{
	struct name_bytes b;
	struct name n;
	uint8_t key[255];

	memset(key, 'k', sizeof(key));
	ck_assert_uint_eq(name_encode(slice_of(key, 255), false, &n), 255);
	name_make_history(&n);
	ck_assert_uint_eq(n.len, 257);
	ck_assert_int_eq(name_decode(name_slice(&n), false, &b), NAME_HISTORY);
	ck_assert(slice_eq(slice_of(b.bytes, b.len), slice_of(key, 255)));
	ck_assert_int_eq(name_decode(slice_str("%@"), false, &b), NAME_BAD);
	ck_assert_int_eq(name_decode(slice_str(".%@"), false, &b), NAME_BAD);
	ck_assert_int_eq(name_decode(slice_str("%+%@"), false, &b), NAME_BAD);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("name");
	TCase *tc = tcase_create("name");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, every_vector_maps_both_ways);
	tcase_add_test(tc, all_short_keys_over_the_special_bytes_round_trip);
	tcase_add_test(tc, all_short_names_decode_to_what_encodes_to_them);
	tcase_add_test(tc, random_keys_round_trip_also_around_the_longest_name);
	tcase_add_loop_test(tc, paths_that_are_of_no_key_are_refused, 0,
			    sizeof(paths) / sizeof(paths[0]));
	tcase_add_test(tc, a_cut_is_recognised_at_its_place_only);
	tcase_add_loop_test(
		tc, one_more_component_is_quoted_at_the_top_of_a_flat_mount, 0,
		(int)(sizeof(at_top) / sizeof(at_top[0])));
	tcase_add_test(tc, a_history_name_decodes_to_the_key);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
