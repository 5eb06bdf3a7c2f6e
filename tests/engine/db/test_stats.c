/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics, lists of tables, verification, events and the LOG. */
#include <pthread.h>

#include "engine/base/buf.h"
#include "engine/db/db.h"
#include "engine/db/event.h"
#include "tests/support/db_test.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct cairn_metrics metrics_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m;
}

static void begin(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_set(t, "auto_compactions", "false");
	tdb_set(t, "block_cache_size", "1M");
}

static void put_many(struct test_db *t, int n, const char *value)
{
	char key[96];

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%080d", i);
		tdb_put(t, key, value);
	}
}

/* ----------------------------------------------------------------- metrics */

START_TEST(a_new_database_is_all_zero)
{
	struct cairn_metrics m;
	struct test_db t;

	begin(&t);
	tdb_open(&t);
	m = metrics_of(&t);
	ck_assert_uint_eq(m.seqno, 0);
	ck_assert_uint_gt(m.next_file_number, 1);
	ck_assert_uint_eq(m.memtable_count, 1);
	ck_assert_uint_eq(m.memtable_max, 3);
	ck_assert_uint_eq(m.wal_files, 1);
	ck_assert_uint_eq(m.wal_in_bytes, 0);
	ck_assert_uint_eq(m.live_table_bytes, 0);
	ck_assert_uint_eq(m.estimated_entries, 0);
	ck_assert_uint_eq(m.compaction_debt_bytes, 0);
	ck_assert_str_eq(m.stall_cause, "-");
	ck_assert_int_eq(m.background_error, 0);
	ck_assert_uint_eq(m.cache_capacity_bytes, 1 << 20);
	for (int l = 0; l < CAIRN_LEVELS; l++) {
		ck_assert_uint_eq(m.level[l].files, 0);
		ck_assert_str_eq(m.level[l].compression,
				 l < 5 ? "snappy" : "zstd");
	}
	tdb_fini(&t);
}
END_TEST

START_TEST(counters_count_what_happened)
{
	struct cairn_metrics m, before;
	struct cairn_snapshot *s;
	struct cairn_iter *it;
	uint64_t sum = 0;
	struct test_db t;

	begin(&t);
	tdb_open(&t);
	put_many(&t, 100, "v");
	m = metrics_of(&t);
	ck_assert_uint_eq(m.seqno, 100);
	ck_assert_uint_eq(m.estimated_entries, 100);
	ck_assert_uint_gt(m.memtable_bytes, 100 * 80);
	/* Header, tag, two lengths, key and value. */
	ck_assert_uint_eq(m.wal_in_bytes, 100 * (12 + 1 + 2 + 80 + 1));
	ck_assert_uint_ge(m.wal_written_bytes, m.wal_in_bytes + 100 * 7);
	ck_assert_uint_eq(m.wal_syncs, 0);
	ck_assert_uint_gt(m.commit.count, 0);
	CK_OK(tdb_put_sync(&t, "a", "b"));
	CK_OK(cairn_wal_sync(t.db));
	m = metrics_of(&t);
	/* The second had nothing to do. */
	ck_assert_uint_eq(m.wal_syncs, 1);
	ck_assert_uint_eq(m.sync.count, 1);
	ck_assert_uint_gt(m.wal_bytes, m.wal_in_bytes);

	CK_OK(cairn_flush(t.db, true));
	put_many(&t, 100, "w");
	CK_OK(cairn_flush(t.db, true));
	m = metrics_of(&t);
	ck_assert_uint_eq(m.flushes, 2);
	ck_assert_uint_eq(m.level[0].files, 2);
	ck_assert_uint_eq(m.level[0].sublevels, 2);
	ck_assert_uint_eq(m.level[0].flushed_bytes, m.flush_bytes);
	ck_assert_uint_eq(m.level[0].size_bytes, m.live_table_bytes);
	ck_assert_uint_eq(m.level[0].in_bytes, m.wal_written_bytes);
	ck_assert_uint_eq(m.estimated_entries, 201);
	ck_assert_uint_ge(m.disk_usage_bytes, m.live_table_bytes);

	before = m;
	CK_OK(cairn_compact_range(t.db, slice_of(NULL, 0), slice_of(NULL, 0),
				  NULL));
	m = metrics_of(&t);
	ck_assert_uint_eq(m.compactions, 1);
	ck_assert_uint_eq(m.level[0].files, 0);
	ck_assert_uint_eq(m.level[6].in_bytes, before.live_table_bytes);
	ck_assert_uint_eq(m.level[6].read_bytes, before.live_table_bytes);
	ck_assert_uint_eq(m.level[6].compacted_bytes, m.live_table_bytes);
	ck_assert_uint_eq(m.estimated_entries, 101);
	for (int l = 0; l < CAIRN_LEVELS; l++)
		sum += m.level[l].size_bytes;
	ck_assert_uint_eq(sum, m.live_table_bytes);

	s = cairn_snapshot_new(t.db);
	CK_OK(cairn_iter_new(t.db, NULL, &it));
	m = metrics_of(&t);
	ck_assert_uint_eq(m.snapshots, 1);
	ck_assert_uint_eq(m.iterators, 1);
	cairn_iter_free(it);
	/* What only the snapshot keeps. */
	put_many(&t, 100, "x");
	tdb_put(&t, "a", "c");
	CK_OK(cairn_compact_range(t.db, slice_of(NULL, 0), slice_of(NULL, 0),
				  NULL));
	ck_assert_uint_ge(metrics_of(&t).snapshot_pinned_keys, 101);
	cairn_snapshot_release(s);
	ck_assert_uint_eq(metrics_of(&t).snapshots, 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(the_entries_of_old_tables_are_learnt_after_opening)
{
	struct test_db t;

	begin(&t);
	tdb_open(&t);
	put_many(&t, 30, "v");
	CK_OK(cairn_flush(t.db, true));
	put_many(&t, 20, "v");
	tdb_reopen(&t);
	while (metrics_of(&t).estimated_entries != 50)
		env_sleep_us(t.mem, 500);
	tdb_fini(&t);
}
END_TEST

START_TEST(counters_of_reads_come_from_the_tables)
{
	struct cairn_metrics m;
	struct test_db t;
	char key[96];

	begin(&t);
	tdb_open(&t);
	put_many(&t, 100, "v");
	CK_OK(cairn_flush(t.db, true));
	/* Inside the table's bounds, so that the filter is asked. */
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "%080d!", i);
		tdb_expect(&t, key, NULL);
	}
	m = metrics_of(&t);
	ck_assert_uint_ge(m.filter_checks, 50);
	ck_assert_uint_gt(m.filter_negatives, 40);
	ck_assert_uint_ge(m.tables_open, 1);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------------ tables */

START_TEST(tables_are_listed_with_their_bounds)
{
	struct cairn_table_list l;
	struct env_stat st;
	struct test_db t;

	begin(&t);
	tdb_open(&t);
	CK_OK(cairn_tables(t.db, -1, &l));
	ck_assert_uint_eq(l.n, 0);
	cairn_table_list_free(&l);
	tdb_put(&t, "a", "1");
	tdb_delete(&t, "m");
	tdb_put(&t, "z", "3");
	CK_OK(cairn_flush(t.db, true));
	CK_OK(cairn_tables(t.db, 0, &l));
	ck_assert_uint_eq(l.n, 1);
	ck_assert_int_eq(l.tables[0].level, 0);
	ck_assert_uint_eq(l.tables[0].entries, 3);
	ck_assert_uint_eq(l.tables[0].deletions, 1);
	ck_assert_uint_eq(l.tables[0].smallest_seqno, 1);
	ck_assert_uint_eq(l.tables[0].largest_seqno, 3);
	ck_assert_uint_eq(l.tables[0].job, 0);
	ck_assert(slice_eq(l.tables[0].smallest, slice_str("a")));
	ck_assert(slice_eq(l.tables[0].largest, slice_str("z")));
	CK_OK(env_stat(t.mem, l.tables[0].path, &st));
	ck_assert_uint_eq(st.size, l.tables[0].size_bytes);

	/* The file stays while the list is held. */
	CK_OK(cairn_compact_range(t.db, slice_of(NULL, 0), slice_of(NULL, 0),
				  NULL));
	tdb_put(&t, "b", "1");
	CK_OK(cairn_flush(t.db, true));
	CK_OK(env_stat(t.mem, l.tables[0].path, &st));
	cairn_table_list_free(&l);
	ck_assert_uint_eq(l.n, 0);
	cairn_table_list_free(&l);
	CK_OK(cairn_tables(t.db, 6, &l));
	ck_assert_uint_eq(l.n, 1);
	cairn_table_list_free(&l);
	CK_OK(cairn_tables(t.db, -1, &l));
	ck_assert_uint_eq(l.n, 2);
	cairn_table_list_free(&l);
	CK_CODE(cairn_tables(t.db, 7, &l), CAIRN_EINVAL);
	CK_CODE(cairn_tables(t.db, -2, &l), CAIRN_EINVAL);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------------- events */

#define MAX_HEARD 256

struct heard {
	pthread_mutex_t mu;
	int n;
	enum cairn_event_kind kinds[MAX_HEARD];
	uint64_t files[MAX_HEARD];
	bool in_order;
	uint64_t last_seq;
	_Atomic int inside;
};

static void hear(void *ctx, const struct cairn_event *e)
{
	struct heard *h = ctx;

	/* One at a time. */
	ck_assert_int_eq(h->inside++, 0);
	pthread_mutex_lock(&h->mu);
	h->in_order = h->in_order && e->seq == h->last_seq + 1 && e->time_us;
	h->last_seq = e->seq;
	if (h->n < MAX_HEARD) {
		h->kinds[h->n] = e->kind;
		h->files[h->n++] = e->file_number;
	}
	pthread_mutex_unlock(&h->mu);
	h->inside--;
}

/* Background threads go on reporting while these look. */
static int count_of(struct heard *h, enum cairn_event_kind kind)
{
	int n = 0;

	pthread_mutex_lock(&h->mu);
	for (int i = 0; i < h->n; i++)
		n += h->kinds[i] == kind;
	pthread_mutex_unlock(&h->mu);
	return n;
}

static int index_of(struct heard *h, enum cairn_event_kind kind)
{
	int at = -1;

	pthread_mutex_lock(&h->mu);
	for (int i = 0; i < h->n && at < 0; i++)
		if (h->kinds[i] == kind)
			at = i;
	pthread_mutex_unlock(&h->mu);
	return at;
}

START_TEST(events_are_numbered_and_delivered_in_order)
{
	struct heard h = { .mu = PTHREAD_MUTEX_INITIALIZER, .in_order = true };
	struct cairn_listener l = { &h, hear };
	struct test_db t;

	begin(&t);
	cairn_options_set_listener(t.opts, &l);
	tdb_open(&t);
	for (int i = 0; i < 3; i++) {
		put_many(&t, 20, "v");
		CK_OK(cairn_flush(t.db, true));
	}
	CK_OK(cairn_compact_range(t.db, slice_of(NULL, 0), slice_of(NULL, 0),
				  NULL));
	tdb_close(&t);
	ck_assert(h.in_order);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_OPEN), 1);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_FLUSH_BEGIN), 3);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_FLUSH_END), 3);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_COMPACTION_BEGIN), 1);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_COMPACTION_END), 1);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_TABLE_CREATED), 4);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_TABLE_DELETED), 3);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_WAL_CREATED), 4);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_WAL_DELETED), 3);
	ck_assert_int_eq(h.kinds[h.n - 1], CAIRN_EVENT_CLOSE);
	ck_assert_int_lt(index_of(&h, CAIRN_EVENT_FLUSH_BEGIN),
			 index_of(&h, CAIRN_EVENT_FLUSH_END));
	ck_assert_int_lt(index_of(&h, CAIRN_EVENT_COMPACTION_BEGIN),
			 index_of(&h, CAIRN_EVENT_COMPACTION_END));
	tdb_fini(&t);
}
END_TEST

START_TEST(every_kind_of_event_has_a_name)
{
	for (int i = 0; i <= CAIRN_EVENT_CORRUPTION; i++)
		for (int k = 0; k < i; k++)
			ck_assert_str_ne(
				cairn_event_name((enum cairn_event_kind)i),
				cairn_event_name((enum cairn_event_kind)k));
	ck_assert_str_eq(cairn_event_name(CAIRN_EVENT_FLUSH_BEGIN),
			 "flush_begin");
	ck_assert_uint_gt(strlen(cairn_version()), 0);
}
END_TEST

struct poster {
	struct events *ev;
	int n;
};

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < p->n; i++) {
		struct cairn_event e = {
			.kind = CAIRN_EVENT_TABLE_CREATED,
			.file_number = (uint64_t)i + 1,
			.reason = "a reason",
			.detail = "a detail",
		};

		if (i % 3)
			events_post(p->ev, &e);
		else
			events_queue(p->ev, &e);
		events_log(p->ev, "[test] line %d", i);
	}
	return NULL;
}

START_TEST(events_from_many_threads_have_no_gaps)
{
	struct heard h = { .mu = PTHREAD_MUTEX_INITIALIZER, .in_order = true };
	struct cairn_listener l = { &h, hear };
	struct cairn_env *mem = env_mem_new(ENV_MEM_STRICT);
	struct poster p = { NULL, 500 };
	pthread_t threads[3];

	CK_OK(env_mkdir(mem, TEST_DIR));
	CK_OK(events_new(mem, TEST_DIR, &l, &p.ev));
	events_open_log(p.ev);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, post_many, &p), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	events_free(p.ev);
	ck_assert(h.in_order);
	ck_assert_uint_eq(h.last_seq, 1500);
	env_mem_free(mem);
}
END_TEST

START_TEST(the_info_log_tells_the_story_in_lines)
{
	struct buf text = { 0 };
	struct test_db t;
	const char *s;

	begin(&t);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(cairn_flush(t.db, true));
	tdb_close(&t);
	CK_OK(env_read_file(t.mem, TEST_DIR "/LOG", 1 << 20, &text));
	CK_OK(buf_append(&text, "", 1));
	s = (const char *)text.data;
	ck_assert_ptr_nonnull(strstr(s, "[flush_end] job 1"));
	ck_assert_ptr_nonnull(strstr(s, "[close]"));
	/* 2022/11/27-03:10:15.123456 */
	ck_assert(s[4] == '/' && s[7] == '/' && s[10] == '-' && s[13] == ':' &&
		  s[16] == ':' && s[19] == '.' && s[26] == ' ');
	buf_fini(&text);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_log_that_cannot_be_written_is_done_without)
{
	struct test_db t;

	begin(&t);
	tdb_fail(&t, ENV_FAULT_WRITES, TEST_DIR "/LOG", 1, true, CAIRN_EIO);
	tdb_open(&t);
	put_many(&t, 20, "v");
	CK_OK(cairn_flush(t.db, true));
	tdb_reopen(&t);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------------- verification */

START_TEST(verification_names_every_damaged_table)
{
	struct heard h = { .mu = PTHREAD_MUTEX_INITIALIZER, .in_order = true };
	struct cairn_listener l = { &h, hear };
	struct cairn_table_list tables;
	struct test_db t;

	begin(&t);
	cairn_options_set_listener(t.opts, &l);
	tdb_open(&t);
	CK_OK(cairn_verify_checksums(t.db));
	for (int i = 0; i < 3; i++) {
		put_many(&t, 20, "v");
		CK_OK(cairn_flush(t.db, true));
	}
	CK_OK(cairn_verify_checksums(t.db));
	CK_OK(cairn_tables(t.db, 0, &tables));
	ck_assert_uint_eq(tables.n, 3);
	CK_OK(env_mem_damage(t.mem, tables.tables[0].path, 60, 1));
	CK_OK(env_mem_damage(t.mem, tables.tables[2].path, 60, 1));
	CK_CODE(cairn_verify_checksums(t.db), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), tables.tables[0].path));
	/* A thread that tells of something else may have them to tell, too. */
	while (count_of(&h, CAIRN_EVENT_CORRUPTION) < 2)
		env_sleep_us(t.mem, 100);
	ck_assert_int_eq(count_of(&h, CAIRN_EVENT_CORRUPTION), 2);
	ck_assert_uint_eq(h.files[index_of(&h, CAIRN_EVENT_CORRUPTION)],
			  tables.tables[0].number);
	ck_assert_uint_ge(metrics_of(&t).corruptions, 2);
	cairn_table_list_free(&tables);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stats");
	TCase *tc = tcase_create("metrics");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_new_database_is_all_zero);
	tcase_add_test(tc, counters_count_what_happened);
	tcase_add_test(tc, the_entries_of_old_tables_are_learnt_after_opening);
	tcase_add_test(tc, counters_of_reads_come_from_the_tables);
	tcase_add_test(tc, tables_are_listed_with_their_bounds);
	tcase_add_test(tc, verification_names_every_damaged_table);
	suite_add_tcase(s, tc);

	tc = tcase_create("events");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, events_are_numbered_and_delivered_in_order);
	tcase_add_test(tc, every_kind_of_event_has_a_name);
	tcase_add_test(tc, events_from_many_threads_have_no_gaps);
	tcase_add_test(tc, the_info_log_tells_the_story_in_lines);
	tcase_add_test(tc, a_log_that_cannot_be_written_is_done_without);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
