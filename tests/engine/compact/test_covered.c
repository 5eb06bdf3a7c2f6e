/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/covered.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"
#include "tests/support/version_text.h"

/* "[a-f)#7 [c-d)#9" */
static struct range_dels *dels_parse(const char *text)
{
	struct range_del_list l = { 0 };
	struct range_dels *d = NULL;
	char start[32], end[32];
	unsigned seqno;
	int n;

	while (sscanf(text, " [%31[^-]-%31[^)])#%u%n", start, end, &seqno,
		      &n) == 3) {
		const struct range_del r = { slice_str(start), slice_str(end),
					     seqno };

		ck_assert_int_eq(range_del_list_add(&l, &r), CAIRN_OK);
		text += n;
	}
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(range_dels_new(&l, &d), CAIRN_OK);
	range_del_list_fini(&l);
	return d;
}

/* File 9 has the tombstones. "1@7 2@9": what is dead, from when on. */
static const struct {
	const char *name;
	const char *tree;
	const char *dels;
	const char *want;
} cases[] = {
	{ "a file within a tombstone",
	  "L5: 9:[a-z)#50 1M L6: 1:[b-c]#1-9 1M 2:[x-zz]#1-9 1M", "[a-z)#50",
	  "1@50" },
	{ "in all levels below, in none above",
	  "L3: 7:[b-c]#60 1M L4: 9:[a-z)#50 1M L5: 2:[b-c]#1-9 1M "
	  "L6: 1:[b-c]#1-9 1M",
	  "[a-z)#50", "2@50 1@50" },
	{ "a tombstone ends before its end",
	  "L5: 9:[a-z)#50 1M L6: 1:[b-f]#1-9 1M", "[a-f)#50", "" },
	{ "but so may a file", "L5: 9:[a-z)#50 1M L6: 1:[b-f)#1-9 1M",
	  "[a-f)#50", "1@50" },
	{ "it begins with its start", "L5: 9:[a-z)#50 1M L6: 1:[b-f]#1-9 1M",
	  "[b-z)#50", "1@50" },
	{ "and not before", "L5: 9:[a-z)#50 1M L6: 1:[b-f]#1-9 1M", "[bb-z)#50",
	  "" },
	{ "entries as new as the tombstone live",
	  "L5: 9:[a-z)#50 1M L6: 1:[b-f]#1-50 1M 2:[g-h]#1-49 1M", "[a-z)#50",
	  "2@50" },
	{ "seqnos that are not known may be new",
	  "L5: 9:[a-z)#50 1M L6: 1:[b-f] 1M~", "[a-z)#50", "" },
	{ "tombstones side by side are one",
	  "L5: 9:[a-z)#1-50 1M L6: 1:[b-p]#1-9 1M",
	  "[a-d)#50 [d-k)#40 [k-q)#45", "1@50" },
	{ "with a gap they are not", "L5: 9:[a-z)#1-50 1M L6: 1:[b-p]#1-9 1M",
	  "[a-d)#50 [e-q)#40", "" },
	{ "the oldest that will do counts: fewer snapshots lie before it",
	  "L5: 9:[a-z)#1-50 1M L6: 1:[b-c]#1-9 1M 2:[d-e]#1-30 1M",
	  "[a-z)#50 [a-z)#40 [a-z)#20 [a-z)#8", "1@20 2@40" },
	{ "beyond its file a tombstone says nothing",
	  "L5: 9:[c-m]#50 1M L6: 1:[b-b]#1-9 1M 2:[d-l]#1-9 1M "
	  "3:[m-m]#1-9 1M 4:[n-o]#1-9 1M",
	  "[a-z)#50", "2@50" },
	{ "up to its end when that is a tombstone's",
	  "L5: 9:[c-m)#50 1M L6: 1:[b-c]#1-9 1M 2:[d-m)#1-9 1M", "[a-z)#50",
	  "2@50" },
	{ "of level 0 what is older",
	  "L0: 8:[b-c]#60-61 1M 9:[a-z)#50 1M 2:[b-c]#41-45 1M "
	  "3:[a-zz]#1-9 1M L6: 1:[e-f]#1 1M",
	  "[a-z)#50", "2@50 1@50" },
	{ "many tombstones, few files",
	  "L5: 9:[a-z)#1-50 1M L6: 1:[bb-bc]#1 1M 2:[cd-m]#1 1M "
	  "3:[xc-xd]#1 1M",
	  "[a-b)#50 [ba-bd)#50 [c-d)#50 [e-f)#50 [g-h)#50 [i-j)#50 [x-y)#50",
	  "1@50 3@50" },
	{ "few tombstones, many files",
	  "L5: 9:[a-z)#1-50 1M L6: 1:[aa-ab]#1 1M 2:[b-c]#1 1M 3:[d-e]#1 1M "
	  "4:[f-g]#1 1M 5:[h-i]#1 1M 6:[j-k]#1 1M 7:[l-m]#1 1M",
	  "[a-b)#50 [h-l)#50", "1@50 5@50 6@50" },
	{ "a file that is gone", "L6: 1:[b-c]#1-9 1M", "[a-z)#50", "" },
};

START_TEST(files_that_are_deleted_as_a_whole_are_found)
{
	struct range_dels *d = dels_parse(cases[_i].dels);
	struct file_list found = { 0 };
	char got[256] = "";
	struct file_meta *f;
	struct version *v, *other;

	ck_assert_msg(version_parse(cases[_i].tree, &v) == CAIRN_OK, "%s",
		      cairn_errmsg());
	ck_assert_int_eq(version_parse("L5: 9:[a-z]#50 1M", &other), CAIRN_OK);
	f = version_file(v, 9);
	if (!f)
		f = version_file(other, 9);
	ck_assert_int_eq(covered_find(v, f, d, &found), CAIRN_OK);
	for (size_t i = 0; i < found.n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got),
			 "%s%llu@%llu", i ? " " : "",
			 (unsigned long long)found.files[i]->number,
			 (unsigned long long)found.files[i]->dead_seqno);
	ck_assert_msg(!strcmp(got, cases[_i].want), "%s: %s", cases[_i].name,
		      got);
	/* Once is enough. */
	file_list_fini(&found);
	ck_assert_int_eq(covered_find(v, f, d, &found), CAIRN_OK);
	ck_assert_uint_eq(found.n, 0);
	file_list_fini(&found);
	range_dels_unref(d);
	version_unref(v);
	version_unref(other);
}
END_TEST

/* Keys 00 to 99, one file per key or few, against the plain definition. */
#define KEYS 100

struct tomb {
	unsigned start;
	unsigned end;
	unsigned seqno;
};

/* Whether each key of the file is deleted; from which seqno on, if so. */
static unsigned expected(const struct tomb *t, size_t n, unsigned low,
			 unsigned high, unsigned largest)
{
	unsigned dead = 0;

	for (unsigned key = low; key <= high; key++) {
		unsigned best = 0;

		for (size_t i = 0; i < n; i++)
			if (t[i].start <= key && key < t[i].end &&
			    t[i].seqno > largest &&
			    (!best || t[i].seqno < best))
				best = t[i].seqno;
		if (!best)
			return 0;
		if (best > dead)
			dead = best;
	}
	return dead;
}

/* A tombstone ends before a key, so ranges between two keys count as well: a
 * file that ends with a key needs a tombstone that reaches behind it. */
START_TEST(what_is_found_is_what_is_deleted)
{
	struct rng rng;

	rng_init(&rng, (uint64_t)_i);
	for (int round = 0; round < 200; round++) {
		char tree[4096] = "L5: 99:[00-999)#1000 1M L6:";
		char text[1024] = "";
		struct tomb tombs[8];
		unsigned low[KEYS], high[KEYS], largest[KEYS], n = 0;
		size_t n_tombs = 1 + rng_below(&rng, 8);
		struct file_list found = { 0 };
		struct range_dels *d;
		struct version *v;

		for (size_t i = 0; i < n_tombs; i++) {
			unsigned start = (unsigned)rng_below(&rng, 90);

			tombs[i] = (struct tomb){
				start,
				start + 1 + (unsigned)rng_below(&rng, 40),
				10 + (unsigned)rng_below(&rng, 50),
			};
			snprintf(text + strlen(text),
				 sizeof(text) - strlen(text), " [%02u-%02u)#%u",
				 start, tombs[i].end < KEYS ? tombs[i].end : 99,
				 tombs[i].seqno);
			if (tombs[i].end >= KEYS)
				tombs[i].end = 99;
		}
		for (unsigned key = 0; key < KEYS - 10; n++) {
			low[n] = key + (unsigned)rng_below(&rng, 3);
			high[n] = low[n] + (unsigned)rng_below(&rng, 7);
			largest[n] = 1 + (unsigned)rng_below(&rng, 40);
			snprintf(tree + strlen(tree),
				 sizeof(tree) - strlen(tree),
				 " %u:[%02u-%02u]#1-%u 1M", n + 1, low[n],
				 high[n], largest[n]);
			key = high[n] + 1;
		}
		d = dels_parse(text);
		ck_assert_msg(version_parse(tree, &v) == CAIRN_OK, "%s",
			      cairn_errmsg());
		ck_assert_int_eq(
			covered_find(v, version_file(v, 99), d, &found),
			CAIRN_OK);
		for (unsigned i = 0; i < n; i++) {
			unsigned want = expected(tombs, n_tombs, low[i],
						 high[i], largest[i]);

			ck_assert_msg(version_file(v, i + 1)->dead_seqno ==
					      want,
				      "%s /%s: %u is not %u", tree, text, i + 1,
				      want);
		}
		file_list_fini(&found);
		range_dels_unref(d);
		version_unref(v);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("covered");
	TCase *tc = tcase_create("covered");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, files_that_are_deleted_as_a_whole_are_found, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_loop_test(tc, what_is_found_is_what_is_deleted, 0, 5);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
