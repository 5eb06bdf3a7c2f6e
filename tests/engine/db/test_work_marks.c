/* SPDX-License-Identifier: BSD-3-Clause */
/* Compactions that single tables ask for, in a whole database. */
#include "tests/support/db_test.h"

#include "engine/base/rng.h"
#include "engine/db/db.h"
#include "engine/db/work.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct cairn_slice open_end;

/* Nothing that the levels need by their size. */
static void begin_with(struct test_db *t, const char *file_size)
{
	static const char *const settings[][2] = {
		{ "l0_compaction_trigger", "1000" },
		{ "l0_slowdown", "2000" },
		{ "l0_stop", "3000" },
		{ "base_level_size", "1G" },
		{ "compression", "none" },
	};

	tdb_init(t, NULL);
	for (size_t i = 0; i < N(settings); i++)
		tdb_set(t, settings[i][0], settings[i][1]);
	tdb_set(t, "target_file_size", file_size);
	tdb_open(t);
}

static void begin(struct test_db *t)
{
	begin_with(t, "16K");
}

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

static const char *key_text(int i, char text[16])
{
	snprintf(text, 16, "k%06d", i);
	return text;
}

/* [from, to), with values of 100 bytes. */
static void put_keys(struct test_db *t, int from, int to, char fill)
{
	char key[16], value[101];

	memset(value, fill, 100);
	value[100] = '\0';
	for (int i = from; i < to; i++)
		tdb_put(t, key_text(i, key), value);
}

static void delete_keys(struct test_db *t, int from, int to)
{
	char key[16];

	for (int i = from; i < to; i++)
		tdb_delete(t, key_text(i, key));
}

static void delete_range(struct test_db *t, int from, int to)
{
	char start[16], end[16];

	CK_OK(cairn_delete_range(t->db, NULL, slice_str(key_text(from, start)),
				 slice_str(key_text(to, end))));
}

static void flush(struct test_db *t)
{
	CK_OK(cairn_flush(t->db, true));
}

static void compact(struct test_db *t)
{
	CK_OK(cairn_compact_range(t->db, open_end, open_end, NULL));
}

static void idle(struct test_db *t)
{
	CK_OK(cairn_wait_idle(t->db));
}

/* How many keys a reader sees, by a scan. */
static int count_keys(struct test_db *t, const struct cairn_snapshot *s)
{
	struct cairn_read_options o = { .snapshot = s };
	struct cairn_iter *it;
	int n = 0;

	CK_OK(cairn_iter_new(t->db, &o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		n++;
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
	return n;
}

static uint64_t dropped(struct test_db *t)
{
	struct cairn_metrics m = metrics_of(t);
	uint64_t n = 0;

	for (int l = 0; l < CAIRN_LEVELS; l++)
		n += m.level[l].dropped_tables;
	return n;
}

/* -------------------------------------------------------------- delete-only
 */

START_TEST(tables_that_a_range_deletion_covers_go_without_being_read)
{
	struct cairn_metrics before, after;
	struct test_db t;

	begin(&t);
	put_keys(&t, 0, 2000, 'a');
	compact(&t);
	before = metrics_of(&t);
	ck_assert_uint_gt(before.level[6].files, 8);
	delete_range(&t, 100, 1900);
	flush(&t);
	idle(&t);
	after = metrics_of(&t);
	ck_assert_uint_eq(after.compactions_delete_only,
			  after.compactions - before.compactions);
	ck_assert_uint_gt(after.compactions_delete_only, 0);
	ck_assert_uint_ge(dropped(&t), before.level[6].files - 4);
	ck_assert_uint_lt(after.level[6].files, 5);
	ck_assert_uint_eq(after.level[6].read_bytes,
			  before.level[6].read_bytes);
	ck_assert_int_eq(count_keys(&t, NULL), 200);
	tdb_reopen(&t);
	ck_assert_int_eq(count_keys(&t, NULL), 200);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_snapshot_keeps_what_it_sees_until_it_goes)
{
	struct cairn_snapshot *s, *later;
	struct test_db t;

	begin(&t);
	put_keys(&t, 0, 2000, 'a');
	compact(&t);
	/* A put that nobody sees may have been zeroed; it is visible to all. */
	s = cairn_snapshot_new(t.db);
	ck_assert_ptr_nonnull(s);
	delete_range(&t, 0, 2000);
	later = cairn_snapshot_new(t.db);
	ck_assert_ptr_nonnull(later);
	put_keys(&t, 500, 600, 'b');
	flush(&t);
	idle(&t);
	ck_assert_uint_eq(dropped(&t), 0);
	ck_assert_int_eq(count_keys(&t, s), 2000);
	ck_assert_int_eq(count_keys(&t, later), 0);
	ck_assert_int_eq(count_keys(&t, NULL), 100);
	cairn_snapshot_release(s);
	idle(&t);
	ck_assert_uint_gt(dropped(&t), 8);
	ck_assert_uint_eq(metrics_of(&t).level[6].files, 0);
	ck_assert_int_eq(count_keys(&t, later), 0);
	ck_assert_int_eq(count_keys(&t, NULL), 100);
	cairn_snapshot_release(later);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_iterator_keeps_what_it_reads)
{
	struct cairn_iter *it;
	struct test_db t;
	int n = 0;

	begin(&t);
	put_keys(&t, 0, 2000, 'a');
	compact(&t);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	ck_assert(cairn_iter_first(it));
	delete_range(&t, 0, 2000);
	flush(&t);
	idle(&t);
	ck_assert_uint_gt(dropped(&t), 8);
	for (bool on = true; on; on = cairn_iter_next(it))
		n++;
	CK_OK(cairn_iter_status(it));
	ck_assert_int_eq(n, 2000);
	cairn_iter_free(it);
	ck_assert_int_eq(count_keys(&t, NULL), 0);
	tdb_fini(&t);
}
END_TEST

/* What lies below a dropped table is older still, and stays deleted. */
START_TEST(what_a_dropped_table_hid_does_not_come_back)
{
	struct test_db t;

	begin(&t);
	tdb_close(&t);
	tdb_set(&t, "auto_compactions", "false");
	tdb_open(&t);
	put_keys(&t, 0, 1000, 'a');
	compact(&t);
	put_keys(&t, 0, 1000, 'b');
	flush(&t);
	delete_keys(&t, 0, 1000);
	flush(&t);
	/* Only the middle one of three sources lies wholly within. */
	put_keys(&t, 2000, 2001, 'c');
	delete_range(&t, 0, 1000);
	flush(&t);
	tdb_close(&t);
	tdb_set(&t, "auto_compactions", "true");
	tdb_open(&t);
	/* Tables are looked into one by one after opening. */
	while (dropped(&t) < 3)
		env_sleep_us(t.mem, 1000);
	idle(&t);
	ck_assert_int_eq(count_keys(&t, NULL), 1);
	compact(&t);
	ck_assert_int_eq(count_keys(&t, NULL), 1);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------- elision-only
 */

START_TEST(tombstones_at_the_bottom_go_when_the_snapshot_goes)
{
	struct cairn_snapshot *s;
	struct test_db t;
	struct cairn_metrics m;

	begin(&t);
	put_keys(&t, 0, 1000, 'a');
	compact(&t);
	s = cairn_snapshot_new(t.db);
	ck_assert_ptr_nonnull(s);
	delete_keys(&t, 0, 500);
	compact(&t);
	idle(&t);
	m = metrics_of(&t);
	ck_assert_uint_eq(m.estimated_entries, 1500);
	ck_assert_uint_eq(m.compactions_elision_only, 0);
	cairn_snapshot_release(s);
	idle(&t);
	m = metrics_of(&t);
	ck_assert_uint_gt(m.compactions_elision_only, 0);
	ck_assert_uint_eq(m.estimated_entries, 500);
	ck_assert_int_eq(count_keys(&t, NULL), 500);
	/* It has come to rest. */
	tdb_reopen(&t);
	env_sleep_us(t.mem, 50000);
	idle(&t);
	ck_assert_uint_eq(metrics_of(&t).compactions, 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(range_tombstones_at_the_bottom_go_too)
{
	struct cairn_snapshot *s;
	struct cairn_table_list l;
	struct test_db t;

	begin(&t);
	put_keys(&t, 0, 1000, 'a');
	compact(&t);
	s = cairn_snapshot_new(t.db);
	ck_assert_ptr_nonnull(s);
	delete_range(&t, 10, 990);
	compact(&t);
	idle(&t);
	ck_assert_int_eq(count_keys(&t, s), 1000);
	cairn_snapshot_release(s);
	idle(&t);
	CK_OK(cairn_tables(t.db, -1, &l));
	for (size_t i = 0; i < l.n; i++)
		ck_assert_uint_eq(l.tables[i].range_deletions, 0);
	cairn_table_list_free(&l);
	ck_assert_uint_eq(metrics_of(&t).estimated_entries, 20);
	ck_assert_int_eq(count_keys(&t, NULL), 20);
	tdb_fini(&t);
}
END_TEST

/* ----------------------------------------------------------------- garbage */

/*
 * An application whose values of one letter are garbage from a position on, the
 * one of the letter. Its filter drops them then, unless it is told not to.
 */
struct letters {
	struct cairn_table_collector collector;
	struct cairn_compaction_filter filter;
	_Atomic char position;
	_Atomic bool refuses;
	_Atomic unsigned begun;
};

static void *letters_begin(void *ctx)
{
	(void)ctx;
	return calloc(26, sizeof(uint64_t));
}

static void letters_add(void *table, enum cairn_entry_kind kind,
			struct cairn_slice key, struct cairn_slice value)
{
	uint64_t *bytes = table;

	if (kind == CAIRN_ENTRY_PUT)
		bytes[value.data[0] - 'a'] += key.len + value.len;
}

static int letters_finish(void *table, struct cairn_table_properties *out)
{
	const uint64_t *bytes = table;
	struct buf value = { 0 };
	uint64_t sum = 0;
	int err;

	for (uint64_t i = 0; i < 26; i++) {
		uint8_t step[16];

		if (!bytes[i])
			continue;
		sum += bytes[i];
		put_be64(step, 'a' + i);
		put_be64(step + 8, sum);
		CK_OK(buf_append(&value, step, 16));
	}
	err = cairn_table_property_set(out, "test.garbage", buf_slice(&value));
	buf_fini(&value);
	return err;
}

static void *filter_begin(void *ctx, const struct cairn_compaction_info *info)
{
	struct letters *l = ctx;

	(void)info;
	l->begun++;
	return l;
}

static bool filter_drop(void *job, struct cairn_slice key,
			struct cairn_slice value)
{
	const struct letters *l = job;

	(void)key;
	return !l->refuses && (char)value.data[0] <= l->position;
}

static void filter_end(void *job)
{
	(void)job;
}

static void letters_open(struct test_db *t, struct letters *l)
{
	*l = (struct letters){
		.collector = { .name = "test.letters",
			       .garbage = "test.garbage",
			       .begin = letters_begin,
			       .add = letters_add,
			       .finish = letters_finish,
			       .end = free },
		.filter = { .name = "test.letters",
			    .ctx = l,
			    .begin = filter_begin,
			    .drop = filter_drop,
			    .end = filter_end },
	};
	begin(t);
	tdb_close(t);
	cairn_options_set_table_collector(t->opts, &l->collector);
	cairn_options_set_compaction_filter(t->opts, &l->filter);
	tdb_open(t);
}

static void letters_pass(struct test_db *t, struct letters *l, char position)
{
	l->position = position;
	cairn_collect_garbage(t->db, (uint64_t)position);
	idle(t);
}

START_TEST(tables_are_rewritten_when_their_garbage_is_due)
{
	struct cairn_metrics before, after;
	struct letters l;
	struct test_db t;

	letters_open(&t, &l);
	put_keys(&t, 0, 1000, 'b');
	put_keys(&t, 1000, 1500, 'c');
	compact(&t);
	put_keys(&t, 3000, 3100, 'b');
	flush(&t);
	idle(&t);
	before = metrics_of(&t);
	letters_pass(&t, &l, 'a');
	ck_assert_uint_eq(metrics_of(&t).compactions, before.compactions);
	letters_pass(&t, &l, 'b');
	after = metrics_of(&t);
	ck_assert_int_eq(count_keys(&t, NULL), 500);
	/* In level 0 as well, and no table that has none of it. */
	ck_assert_uint_eq(after.level[0].files, 0);
	ck_assert_uint_eq(after.compactions_garbage,
			  after.compactions - before.compactions);
	ck_assert_uint_lt(after.level[6].read_bytes -
				  before.level[6].read_bytes,
			  before.level[6].size_bytes * 3 / 4);
	/* What is new is looked at, too. */
	put_keys(&t, 4000, 4100, 'b');
	flush(&t);
	idle(&t);
	ck_assert_int_eq(count_keys(&t, NULL), 500);
	tdb_fini(&t);
}
END_TEST

START_TEST(tables_from_before_the_opening_are_looked_at)
{
	struct letters l;
	struct test_db t;

	letters_open(&t, &l);
	put_keys(&t, 0, 1000, 'b');
	compact(&t);
	tdb_reopen(&t);
	letters_pass(&t, &l, 'b');
	/* They are opened in the background, which nobody waits for. */
	while (count_keys(&t, NULL) || metrics_of(&t).level[6].files)
		env_sleep_us(t.mem, 1000);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_filter_that_leaves_everything_is_asked_once_for_a_position)
{
	struct letters l;
	struct test_db t;
	unsigned begun;
	uint64_t files;

	letters_open(&t, &l);
	put_keys(&t, 0, 1000, 'b');
	compact(&t);
	idle(&t);
	l.refuses = true;
	begun = l.begun;
	files = metrics_of(&t).level[6].files;
	letters_pass(&t, &l, 'b');
	ck_assert_uint_gt(l.begun, begun);
	ck_assert_uint_le(l.begun, begun + files);
	begun = l.begun;
	env_sleep_us(t.mem, 50000);
	idle(&t);
	ck_assert_uint_eq(l.begun, begun);
	/* The same one again says nothing new. */
	letters_pass(&t, &l, 'b');
	ck_assert_uint_eq(l.begun, begun);
	letters_pass(&t, &l, 'c');
	ck_assert_uint_gt(l.begun, begun);
	ck_assert_int_eq(count_keys(&t, NULL), 1000);
	tdb_fini(&t);
}
END_TEST

START_TEST(garbage_that_a_snapshot_sees_waits_until_it_goes)
{
	struct cairn_snapshot *s;
	struct letters l;
	struct test_db t;

	letters_open(&t, &l);
	put_keys(&t, 0, 1000, 'b');
	compact(&t);
	s = cairn_snapshot_new(t.db);
	ck_assert_ptr_nonnull(s);
	letters_pass(&t, &l, 'b');
	ck_assert_uint_eq(metrics_of(&t).compactions_garbage, 0);
	ck_assert_int_eq(count_keys(&t, s), 1000);
	cairn_snapshot_release(s);
	idle(&t);
	ck_assert_uint_eq(metrics_of(&t).level[6].files, 0);
	tdb_fini(&t);
}
END_TEST

/* --------------------------------------------------------------- tombstones
 */

/* Level 0 to level 5 and the rest in level 6, by sizes. */
static void make_two_levels(struct test_db *t)
{
	begin(t);
	put_keys(t, 0, 3000, 'a');
	compact(t);
	tdb_close(t);
	tdb_set(t, "base_level_size", "200K");
	tdb_set(t, "l0_compaction_trigger", "2");
	tdb_open(t);
	idle(t);
}

START_TEST(tables_of_tombstones_find_their_way_down)
{
	struct cairn_metrics m;
	struct test_db t;

	make_two_levels(&t);
	delete_keys(&t, 0, 900);
	flush(&t);
	delete_keys(&t, 0, 900);
	flush(&t);
	idle(&t);
	m = metrics_of(&t);
	ck_assert_uint_gt(m.compactions_tombstones, 0);
	ck_assert_uint_eq(m.level[0].files, 0);
	ck_assert_uint_eq(m.level[5].files, 0);
	ck_assert_uint_eq(m.estimated_entries, 2100);
	ck_assert_int_eq(count_keys(&t, NULL), 2100);
	tdb_fini(&t);
}
END_TEST

/* -------------------------------------------------------------------- reads
 */

static void scan_all(struct test_db *t)
{
	struct cairn_iter *it;

	CK_OK(cairn_iter_new(t->db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		;
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
}

START_TEST(a_table_that_scans_often_pass_is_merged_into_the_next_level)
{
	struct cairn_metrics m;
	struct test_db t;

	begin(&t);
	put_keys(&t, 0, 3000, 'a');
	compact(&t);
	put_keys(&t, 0, 3000, 'b');
	flush(&t);
	idle(&t);
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 1);
	/* A hundred samples of a mebibyte each, give or take. */
	for (int i = 0; i < 1000; i++) {
		scan_all(&t);
		m = metrics_of(&t);
		if (i == 100)
			ck_assert_uint_eq(m.compactions_reads, 0);
		if (m.compactions_reads)
			break;
	}
	idle(&t);
	m = metrics_of(&t);
	ck_assert_uint_gt(m.compactions_reads, 0);
	ck_assert_uint_eq(m.level[0].files, 0);
	ck_assert_int_eq(count_keys(&t, NULL), 3000);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_small_table_is_not_merged_into_a_large_level_for_a_few_scans)
{
	struct test_db t;
	int i = 0;

	begin_with(&t, "1M");
	put_keys(&t, 0, 40000, 'a');
	compact(&t);
	for (int k = 0; k < 40000; k += 15)
		put_keys(&t, k, k + 1, 'b');
	flush(&t);
	idle(&t);
	/* Some 4.5 MB each: a hundred samples would do for the table alone. */
	for (; i < 50; i++)
		scan_all(&t);
	idle(&t);
	ck_assert_uint_eq(metrics_of(&t).compactions_reads, 0);
	for (; i < 200 && !metrics_of(&t).compactions_reads; i++)
		scan_all(&t);
	idle(&t);
	ck_assert_uint_eq(metrics_of(&t).compactions_reads, 1);
	ck_assert_uint_eq(metrics_of(&t).level[0].files, 0);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------------- random
 */

#define KEYS 400

struct model {
	char fill[KEYS]; /* 0: absent */
};

static void check_model(struct test_db *t, const struct cairn_snapshot *s,
			const struct model *m)
{
	struct cairn_read_options o = { .snapshot = s };
	struct cairn_iter *it;
	char key[16];

	CK_OK(cairn_iter_new(t->db, &o, &it));
	cairn_iter_first(it);
	for (int i = 0; i < KEYS; i++) {
		if (!m->fill[i])
			continue;
		ck_assert_msg(cairn_iter_valid(it), "key %d is gone", i);
		key_text(i, key);
		ck_assert_msg(slice_eq(cairn_iter_key(it), slice_str(key)),
			      "%.*s, not %s", (int)cairn_iter_key(it).len,
			      (const char *)cairn_iter_key(it).data, key);
		ck_assert_int_eq(cairn_iter_value(it).data[0], m->fill[i]);
		cairn_iter_next(it);
	}
	ck_assert(!cairn_iter_valid(it));
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
}

/*
 * Everything at once, with snapshots that come and go: nobody ever sees
 * anything but the model. With invariants configured each dropped table is
 * read, too.
 */
START_TEST(random_histories_with_all_kinds_of_compactions)
{
	static struct model now, then[4];
	struct cairn_snapshot *snaps[4] = { 0 };
	struct cairn_metrics m;
	struct test_db t;
	struct rng rng;

	rng_init(&rng, (uint64_t)_i);
	memset(&now, 0, sizeof(now));
	tdb_init(&t, NULL);
	tdb_set(&t, "l0_compaction_trigger", "2");
	tdb_set(&t, "base_level_size", "24K");
	tdb_set(&t, "level_multiplier", "3");
	tdb_set(&t, "target_file_size", "2K");
	tdb_set(&t, "compression", "none");
	tdb_open(&t);
	for (int round = 0; round < 250; round++) {
		int from = (int)rng_below(&rng, KEYS);
		int to = from + 1 + (int)rng_below(&rng, 80);
		int n = (int)rng_below(&rng, 4);

		to = to < KEYS ? to : KEYS;
		switch (rng_below(&rng, 6)) {
		case 0:
			delete_range(&t, from, to);
			memset(now.fill + from, 0, (size_t)(to - from));
			break;
		case 1:
			delete_keys(&t, from, to);
			memset(now.fill + from, 0, (size_t)(to - from));
			break;
		case 2:
			if (snaps[n]) {
				check_model(&t, snaps[n], &then[n]);
				cairn_snapshot_release(snaps[n]);
				snaps[n] = NULL;
			} else {
				snaps[n] = cairn_snapshot_new(t.db);
				ck_assert_ptr_nonnull(snaps[n]);
				then[n] = now;
			}
			break;
		default:
			put_keys(&t, from, to, (char)('a' + round % 26));
			memset(now.fill + from, 'a' + round % 26,
			       (size_t)(to - from));
			break;
		}
		if (rng_one_in(&rng, 3))
			flush(&t);
		if (rng_one_in(&rng, 20))
			check_model(&t, NULL, &now);
	}
	for (int n = 0; n < 4; n++) {
		if (!snaps[n])
			continue;
		check_model(&t, snaps[n], &then[n]);
		cairn_snapshot_release(snaps[n]);
	}
	flush(&t);
	idle(&t);
	check_model(&t, NULL, &now);
	m = metrics_of(&t);
	ck_assert_uint_gt(m.compactions_delete_only, 0);
	ck_assert_uint_gt(m.compactions_elision_only + m.compactions_tombstones,
			  0);
	tdb_reopen(&t);
	check_model(&t, NULL, &now);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("work marks");
	TCase *tc = tcase_create("marks");

	tcase_set_timeout(tc, 60);
	tcase_add_test(
		tc, tables_that_a_range_deletion_covers_go_without_being_read);
	tcase_add_test(tc, a_snapshot_keeps_what_it_sees_until_it_goes);
	tcase_add_test(tc, an_iterator_keeps_what_it_reads);
	tcase_add_test(tc, what_a_dropped_table_hid_does_not_come_back);
	tcase_add_test(tc, tombstones_at_the_bottom_go_when_the_snapshot_goes);
	tcase_add_test(tc, range_tombstones_at_the_bottom_go_too);
	tcase_add_test(tc, tables_are_rewritten_when_their_garbage_is_due);
	tcase_add_test(tc, tables_from_before_the_opening_are_looked_at);
	tcase_add_test(
		tc,
		a_filter_that_leaves_everything_is_asked_once_for_a_position);
	tcase_add_test(tc, garbage_that_a_snapshot_sees_waits_until_it_goes);
	tcase_add_test(tc, tables_of_tombstones_find_their_way_down);
	tcase_add_test(
		tc,
		a_table_that_scans_often_pass_is_merged_into_the_next_level);
	tcase_add_test(
		tc,
		a_small_table_is_not_merged_into_a_large_level_for_a_few_scans);
	tcase_add_loop_test(tc, random_histories_with_all_kinds_of_compactions,
			    0, 4);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
