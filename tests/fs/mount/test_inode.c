/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/inode.h"

#include <pthread.h>
#include <stdio.h>

#include "engine/base/rng.h"
#include "fs/mount/keyfile.h"
#include "tests/support/runner.h"

/* The table only counts references of keyfiles. */
struct keyfile {
	int refs;
	int freed;
	int changed;
};

void keyfile_ref(struct keyfile *kf)
{
	kf->refs++;
}

void keyfile_unref(struct keyfile *kf)
{
	ck_assert_int_gt(kf->refs, 0);
	if (--kf->refs == 0)
		kf->freed++;
}

bool keyfile_has_one_ref(const struct keyfile *kf)
{
	return kf->refs == 1;
}

void keyfile_changed_below(struct keyfile *kf)
{
	kf->changed++;
}

static struct inodes *table;

static void setup(void)
{
	ck_assert_int_eq(inodes_new(&table), CAIRN_OK);
}

static void teardown(void)
{
	inodes_free(table);
}

static struct inode_id file_id(const char *key)
{
	return (struct inode_id){ INODE_FILE, 0, slice_str(key), 0 };
}

static struct inode *get(const char *key)
{
	struct inode_id id = file_id(key);
	struct inode *i;

	ck_assert_int_eq(inode_get(table, &id, &i), CAIRN_OK);
	return i;
}

static struct inode *find(const char *key)
{
	struct inode_id id = file_id(key);

	return inode_find(table, &id);
}

static struct cairn_slice owned(const char *s)
{
	struct cairn_slice out;

	ck_assert_int_eq(slice_dup(slice_str(s), &out), CAIRN_OK);
	return out;
}

START_TEST(one_thing_is_one_inode)
{
	struct inode *a = get("a"), *b = get("a"), *c = get("b");

	ck_assert_ptr_eq(a, b);
	ck_assert_ptr_ne(a, c);
	ck_assert_uint_eq(inodes_count(table), 2);
	inode_unref(table, a);
	inode_unref(table, b);
	inode_unref(table, c);
	ck_assert_uint_eq(inodes_count(table), 0);
	ck_assert_ptr_null(find("a"));
}
END_TEST

START_TEST(kind_revision_and_split_tell_things_apart)
{
	struct inode_id ids[] = {
		{ INODE_FILE, 0, slice_str("ab"), 0 },
		{ INODE_FILE, 7, slice_str("ab"), 0 },
		{ INODE_HIST_KEY, 0, slice_str("ab"), 0 },
		{ INODE_DIR, 0, slice_str("ab"), 0 },
		{ INODE_DIR, 0, slice_str("ab"), 1 },
		{ INODE_DIR, 0, slice_str("ab"), 2 },
	};
	struct inode *i[6];

	for (size_t n = 0; n < 6; n++)
		ck_assert_int_eq(inode_get(table, &ids[n], &i[n]), CAIRN_OK);
	for (size_t n = 0; n < 6; n++)
		for (size_t m = 0; m < n; m++) {
			ck_assert_ptr_ne(i[n], i[m]);
			ck_assert_uint_ne(i[n]->st_ino, i[m]->st_ino);
		}
	for (size_t n = 0; n < 6; n++)
		inode_unref(table, i[n]);
}
END_TEST

START_TEST(lookups_keep_an_inode_until_all_are_forgotten)
{
	struct inode *a = get("a"), *again;

	for (int n = 0; n < 5; n++)
		inode_remember(table, a);
	inode_unref(table, a);
	inode_forget(table, a, 3);
	again = find("a");
	ck_assert_ptr_eq(again, a);
	inode_forget(table, a, 2); /* still referenced */
	ck_assert_uint_eq(inodes_count(table), 1);
	inode_unref(table, a);
	ck_assert_uint_eq(inodes_count(table), 0);
}
END_TEST

START_TEST(a_rename_keeps_the_inode_and_its_number)
{
	struct inode *a = get("a"), *b;
	uint64_t number = a->st_ino;
	struct inode_where w;

	inode_rename(table, a, owned("b"), 0);
	ck_assert_ptr_null(find("a"));
	b = find("b");
	ck_assert_ptr_eq(a, b);
	ck_assert_uint_eq(a->st_ino, number);
	ck_assert_int_eq(inode_copy_id(table, a, &w), CAIRN_OK);
	ck_assert(slice_eq(w.id, slice_str("b")));
	ck_assert(!w.gone);
	inode_where_fini(&w);
	inode_unref(table, b);
	inode_unref(table, a);
}
END_TEST

START_TEST(a_new_file_of_an_old_name_has_a_number_of_its_own)
{
	struct inode *a = get("a"), *b;
	struct inode_id id = file_id("a");
	uint64_t expected;

	inode_rename(table, a, owned("b"), 0);
	expected = inode_number(table, &id);
	b = get("a");
	ck_assert_ptr_ne(a, b);
	ck_assert_uint_ne(a->st_ino, b->st_ino);
	ck_assert_uint_eq(b->st_ino, expected);
	inode_unref(table, a);
	inode_unref(table, b);
}
END_TEST

START_TEST(what_is_renamed_over_is_found_no_more)
{
	struct inode *a = get("a"), *b = get("b"), *found;
	struct inode_where w;

	inode_rename(table, a, owned("b"), 0);
	found = find("b");
	ck_assert_ptr_eq(found, a);
	ck_assert_int_eq(inode_copy_id(table, b, &w), CAIRN_OK);
	ck_assert(w.gone);
	inode_where_fini(&w);
	inode_unref(table, found);
	inode_unref(table, a);
	inode_unref(table, b);
	ck_assert_uint_eq(inodes_count(table), 0);
}
END_TEST

START_TEST(an_exchange_of_names_leaves_both_found)
{
	struct inode *a = get("a"), *b = get("b"), *x, *y;

	inode_rename(table, a, owned("b"), 0);
	inode_rename(table, b, owned("a"), 0);
	x = find("a");
	y = find("b");
	ck_assert_ptr_eq(x, b);
	ck_assert_ptr_eq(y, a);
	inode_unref(table, x);
	inode_unref(table, y);
	inode_unref(table, a);
	inode_unref(table, b);
}
END_TEST

START_TEST(a_hidden_inode_lives_on_beside_its_successor)
{
	struct inode *a = get("a"), *b;

	inode_hide(table, a);
	inode_hide(table, a); /* twice is once */
	ck_assert_ptr_null(find("a"));
	b = get("a");
	ck_assert_ptr_ne(a, b);
	ck_assert_uint_ne(a->st_ino, b->st_ino);
	inode_unref(table, a);
	inode_unref(table, b);
}
END_TEST

START_TEST(below_finds_the_subtree_and_the_key_itself)
{
	static const char *const keys[] = { "d", "d/a", "d/b/c", "da", "e" };
	struct inode *i[5], **list;
	struct inode_id dir = { INODE_DIR, 0, slice_str("d/"), 2 };
	struct inode_id past = { INODE_FILE, 9, slice_str("d/a"), 0 };
	struct inode *d, *p;
	size_t n;

	for (size_t k = 0; k < 5; k++)
		i[k] = get(keys[k]);
	ck_assert_int_eq(inode_get(table, &dir, &d), CAIRN_OK);
	ck_assert_int_eq(inode_get(table, &past, &p), CAIRN_OK);
	ck_assert_int_eq(
		inodes_below(table, slice_str("d/"), slice_str("d"), &list, &n),
		CAIRN_OK);
	ck_assert_uint_eq(n, 4); /* d, d/a, d/b/c, and the directory */
	for (size_t k = 0; k < n; k++)
		inode_unref(table, list[k]);
	free(list);
	for (size_t k = 0; k < 5; k++)
		inode_unref(table, i[k]);
	inode_unref(table, d);
	inode_unref(table, p);
}
END_TEST

START_TEST(a_keyfile_goes_when_only_the_inode_has_it)
{
	struct keyfile f = { .refs = 1 }, g = { .refs = 1 };
	struct inode *a = get("a");
	struct keyfile *got = inode_set_file(table, a, &f, NULL);

	ck_assert_ptr_eq(got, &f);
	ck_assert_int_eq(f.refs, 2);
	/* The second one loses. */
	got = inode_set_file(table, a, &g, NULL);
	ck_assert_ptr_eq(got, &f);
	ck_assert_int_eq(g.freed, 1);
	inode_changed_below(table, a);
	ck_assert_int_eq(f.changed, 1);
	inode_drop_file(table, a);
	ck_assert_int_eq(f.refs, 3); /* in use: it stays */
	keyfile_unref(&f);
	keyfile_unref(&f);
	inode_drop_file(table, a);
	ck_assert_int_eq(f.freed, 1);
	ck_assert_ptr_null(inode_file(table, a));
	inode_unref(table, a);
}
END_TEST

/* Set f as loaded at w: whether it was taken. */
static bool set_as_of(struct inode *i, struct keyfile *f, struct inode_where *w)
{
	struct keyfile *got = inode_set_file(table, i, f, w);

	ck_assert(!got || got == f);
	inode_where_fini(w);
	if (!got)
		return false;
	keyfile_unref(got);
	inode_drop_file(table, i);
	return true;
}

static struct inode_where where_of(struct inode *i)
{
	struct inode_where w = { 0 };

	ck_assert_int_eq(inode_copy_id(table, i, &w), CAIRN_OK);
	return w;
}

START_TEST(a_keyfile_of_the_past_is_not_taken)
{
	struct keyfile f[6];
	struct inode *a = get("a");
	struct inode_where w, v;

	for (size_t k = 0; k < 6; k++)
		f[k] = (struct keyfile){ .refs = 1 };
	w = where_of(a);
	v = where_of(a);
	ck_assert(set_as_of(a, &f[0], &w));
	/* What f[0] committed is unknown to who loaded before. */
	ck_assert(!set_as_of(a, &f[1], &v));
	w = where_of(a);
	inode_changed_below(table, a);
	ck_assert(!set_as_of(a, &f[2], &w));
	w = where_of(a);
	inode_rename(table, a, owned("b"), 0);
	ck_assert(!inode_is_at(table, a, &w));
	ck_assert(!set_as_of(a, &f[3], &w));
	w = where_of(a);
	ck_assert(inode_is_at(table, a, &w));
	inode_hide(table, a);
	ck_assert(!inode_is_at(table, a, &w));
	ck_assert(!set_as_of(a, &f[4], &w));
	w = where_of(a);
	ck_assert(set_as_of(a, &f[5], &w));
	for (size_t k = 0; k < 6; k++)
		ck_assert_int_eq(f[k].freed, 1);
	inode_unref(table, a);
}
END_TEST

START_TEST(the_table_forgets_what_the_kernel_never_did)
{
	struct keyfile f = { .refs = 1 };
	struct inode *a = get("a");

	inode_remember(table, a);
	keyfile_unref(inode_set_file(table, a, &f, NULL));
	inode_unref(table, a);
	inodes_free(table);
	ck_assert_int_eq(f.freed, 1);
	ck_assert_int_eq(inodes_new(&table), CAIRN_OK);
}
END_TEST

START_TEST(thousands_of_inodes_stay_apart)
{
	enum { N = 5000 };
	static struct inode *all[N];
	char key[32];

	for (int n = 0; n < N; n++) {
		snprintf(key, sizeof(key), "k/%d", n);
		all[n] = get(key);
	}
	ck_assert_uint_eq(inodes_count(table), N);
	for (int n = 0; n < N; n++) {
		struct inode *i;

		snprintf(key, sizeof(key), "k/%d", n);
		i = find(key);
		ck_assert_ptr_eq(i, all[n]);
		inode_unref(table, i);
	}
	for (int n = 0; n < N; n++)
		inode_unref(table, all[n]);
	ck_assert_uint_eq(inodes_count(table), 0);
}
END_TEST

static void *churn(void *arg)
{
	struct rng r;
	char key[16];

	rng_init(&r, *(uint64_t *)arg);
	for (int n = 0; n < 5000; n++) {
		struct inode_id id;
		struct inode *i;

		snprintf(key, sizeof(key), "%u", (unsigned)rng_below(&r, 20));
		id = file_id(key);
		if (inode_get(table, &id, &i))
			return arg;
		inode_remember(table, i);
		if (rng_one_in(&r, 3))
			inode_hide(table, i);
		inode_unref(table, i);
		inode_forget(table, i, 1);
	}
	return NULL;
}

START_TEST(many_threads_leave_nothing_behind)
{
	pthread_t t[4];
	uint64_t seed[4] = { 1, 2, 3, 4 };
	void *ret;

	for (int n = 0; n < 4; n++)
		ck_assert_int_eq(pthread_create(&t[n], NULL, churn, &seed[n]),
				 0);
	for (int n = 0; n < 4; n++) {
		ck_assert_int_eq(pthread_join(t[n], &ret), 0);
		ck_assert_ptr_null(ret);
	}
	ck_assert_uint_eq(inodes_count(table), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inode");
	TCase *tc = tcase_create("inode");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_thing_is_one_inode);
	tcase_add_test(tc, kind_revision_and_split_tell_things_apart);
	tcase_add_test(tc, lookups_keep_an_inode_until_all_are_forgotten);
	tcase_add_test(tc, a_rename_keeps_the_inode_and_its_number);
	tcase_add_test(tc, a_new_file_of_an_old_name_has_a_number_of_its_own);
	tcase_add_test(tc, what_is_renamed_over_is_found_no_more);
	tcase_add_test(tc, an_exchange_of_names_leaves_both_found);
	tcase_add_test(tc, a_hidden_inode_lives_on_beside_its_successor);
	tcase_add_test(tc, below_finds_the_subtree_and_the_key_itself);
	tcase_add_test(tc, a_keyfile_goes_when_only_the_inode_has_it);
	tcase_add_test(tc, a_keyfile_of_the_past_is_not_taken);
	tcase_add_test(tc, the_table_forgets_what_the_kernel_never_did);
	tcase_add_test(tc, thousands_of_inodes_stay_apart);
	tcase_add_test(tc, many_threads_leave_nothing_behind);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
