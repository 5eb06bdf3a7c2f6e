/* SPDX-License-Identifier: BSD-3-Clause */
/* Point reads and snapshots, through the public interface. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "engine/base/slice.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "engine/kv/batch.h"
#include "tests/support/runner.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define DIR      "/db"

/* A database on a file system in memory that fails on request. */
struct store {
	struct cairn_env *mem;
	struct cairn_env *env;
	struct cairn_options *opts;
	struct cairn_db *db;
};

static void store_open(struct store *s)
{
	static const char *const settings[][2] = {
		{ "create_if_missing", "true" },
		{ "auto_compactions", "false" },
		{ "write_buffer_size", "256K" },
		{ "block_size", "64" },
		{ "target_file_size", "512" },
		{ "l0_slowdown", "1000" },
		{ "l0_stop", "1000" },
	};

	s->mem = env_mem_new(ENV_MEM_STRICT);
	ck_assert(s->mem);
	s->env = env_fault_new(s->mem);
	ck_assert(s->env);
	s->opts = cairn_options_new();
	ck_assert(s->opts);
	for (size_t i = 0; i < N(settings); i++)
		ck_assert_int_eq(cairn_options_set(s->opts, settings[i][0],
						   settings[i][1]),
				 CAIRN_OK);
	cairn_options_set_env(s->opts, s->env);
	ck_assert_msg(cairn_open(DIR, s->opts, &s->db) == CAIRN_OK, "%s",
		      cairn_errmsg());
}

static void store_close(struct store *s)
{
	ck_assert_msg(cairn_close(s->db) == CAIRN_OK, "%s", cairn_errmsg());
	cairn_options_free(s->opts);
	env_fault_free(s->env);
	env_mem_free(s->mem);
}

static void put(struct store *s, const char *key, const char *value)
{
	ck_assert_int_eq(
		cairn_put(s->db, NULL, slice_str(key), slice_str(value)),
		CAIRN_OK);
}

static void del(struct store *s, const char *key)
{
	ck_assert_int_eq(cairn_delete(s->db, NULL, slice_str(key)), CAIRN_OK);
}

/* A batch with an operation that the public interface cannot build. */
static void write_op(struct store *s, uint8_t kind, const char *key,
		     const char *value)
{
	struct cairn_batch *b = cairn_batch_new();

	ck_assert(b);
	ck_assert_int_eq(
		value ? cairn_batch_put(b, slice_str(key), slice_str(value))
		      : cairn_batch_delete(b, slice_str(key)),
		CAIRN_OK);
	b->bytes.data[BATCH_HEADER_LEN] = kind;
	ck_assert_int_eq(cairn_write(s->db, NULL, b), CAIRN_OK);
	cairn_batch_free(b);
}

enum place { IN_MEMTABLE, IN_LEVEL0, IN_BOTTOM, N_PLACES };

static void move_to(struct store *s, int place)
{
	struct cairn_slice all = { 0 };

	if (place != IN_MEMTABLE)
		ck_assert_msg(cairn_flush(s->db, true) == CAIRN_OK, "%s",
			      cairn_errmsg());
	if (place == IN_BOTTOM)
		ck_assert_msg(cairn_compact_range(s->db, all, all, NULL) ==
				      CAIRN_OK,
			      "%s", cairn_errmsg());
}

/* want NULL: there must be none. */
static void assert_get(struct store *s, const struct cairn_snapshot *snapshot,
		       const char *key, const char *want)
{
	struct cairn_read_options o = { .snapshot = snapshot };
	struct cairn_pinned got = { 0 };
	int err = cairn_get(s->db, &o, slice_str(key), &got);

	ck_assert_msg(err == (want ? CAIRN_OK : CAIRN_NOT_FOUND),
		      "get \"%s\": %d %s", key, err, cairn_errmsg());
	if (want)
		ck_assert_msg(slice_eq(got.value, slice_str(want)),
			      "get \"%s\": \"%.*s\", want \"%s\"", key,
			      (int)got.value.len, (const char *)got.value.data,
			      want);
	cairn_pinned_release(&got);
}

START_TEST(get_sees_the_newest_version_wherever_it_is)
{
	struct store s = { 0 };

	store_open(&s);
	assert_get(&s, NULL, "a", NULL);
	put(&s, "a", "1");
	put(&s, "b", "1");
	put(&s, "c", "1");
	put(&s, "", "empty");
	put(&s, "e", "");
	move_to(&s, _i % N_PLACES);
	put(&s, "a", "2");
	del(&s, "b");
	move_to(&s, _i / N_PLACES);
	put(&s, "a", "3");
	put(&s, "d", "3");
	for (int place = 0; place < N_PLACES; place++) {
		assert_get(&s, NULL, "a", "3");
		assert_get(&s, NULL, "b", NULL);
		assert_get(&s, NULL, "c", "1");
		assert_get(&s, NULL, "d", "3");
		assert_get(&s, NULL, "e", "");
		assert_get(&s, NULL, "", "empty");
		assert_get(&s, NULL, "aa", NULL);
		assert_get(&s, NULL, "zzz", NULL);
		move_to(&s, place);
	}
	store_close(&s);
}
END_TEST

START_TEST(get_sees_what_its_snapshot_saw)
{
	struct cairn_snapshot *snap[4];
	struct store s = { 0 };

	store_open(&s);
	snap[0] = cairn_snapshot_new(s.db);
	put(&s, "a", "1");
	snap[1] = cairn_snapshot_new(s.db);
	move_to(&s, _i % N_PLACES);
	put(&s, "a", "2");
	del(&s, "a");
	snap[2] = cairn_snapshot_new(s.db);
	put(&s, "a", "3");
	snap[3] = cairn_snapshot_new(s.db);
	ck_assert_uint_lt(cairn_snapshot_seqno(snap[0]),
			  cairn_snapshot_seqno(snap[1]));
	move_to(&s, _i / N_PLACES);
	put(&s, "a", "4");
	for (int place = 0; place < N_PLACES; place++) {
		assert_get(&s, snap[0], "a", NULL);
		assert_get(&s, snap[1], "a", "1");
		assert_get(&s, snap[2], "a", NULL);
		assert_get(&s, snap[3], "a", "3");
		assert_get(&s, NULL, "a", "4");
		move_to(&s, place);
	}
	ck_assert_int_eq(cairn_close(s.db), CAIRN_EBUSY);
	for (int i = 0; i < 4; i++)
		cairn_snapshot_release(snap[i]);
	cairn_snapshot_release(NULL);
	assert_get(&s, NULL, "a", "4");
	store_close(&s);
}
END_TEST

START_TEST(a_pinned_value_outlives_what_it_was_read_from)
{
	struct cairn_pinned got = { 0 };
	struct store s = { 0 };

	store_open(&s);
	put(&s, "a", "the first value");
	move_to(&s, _i);
	ck_assert_int_eq(cairn_get(s.db, NULL, slice_str("a"), &got), CAIRN_OK);
	put(&s, "a", "2");
	move_to(&s, IN_BOTTOM);
	put(&s, "a", "3");
	move_to(&s, IN_BOTTOM);
	ck_assert(slice_eq(got.value, slice_str("the first value")));
	cairn_pinned_release(&got);
	cairn_pinned_release(&got);
	store_close(&s);
}
END_TEST

START_TEST(a_miss_leaves_the_result_alone)
{
	struct cairn_pinned got = { .value = { NULL, 42 } };
	struct store s = { 0 };

	store_open(&s);
	put(&s, "a", "1");
	del(&s, "a");
	move_to(&s, _i);
	ck_assert_int_eq(cairn_get(s.db, NULL, slice_str("a"), &got),
			 CAIRN_NOT_FOUND);
	ck_assert_uint_eq(got.value.len, 42);
	store_close(&s);
}
END_TEST

START_TEST(a_single_deletion_reads_as_a_deletion)
{
	struct store s = { 0 };

	store_open(&s);
	put(&s, "a", "1");
	move_to(&s, _i);
	write_op(&s, KIND_SINGLE_DELETE, "a", NULL);
	assert_get(&s, NULL, "a", NULL);
	move_to(&s, _i);
	assert_get(&s, NULL, "a", NULL);
	store_close(&s);
}
END_TEST

START_TEST(a_merge_operand_is_refused_by_name)
{
	struct cairn_pinned got = { 0 };
	struct store s = { 0 };

	store_open(&s);
	put(&s, "a", "1");
	write_op(&s, KIND_MERGE, "a", "2");
	move_to(&s, _i);
	ck_assert_int_eq(cairn_get(s.db, NULL, slice_str("a"), &got),
			 CAIRN_ENOTSUP);
	ck_assert_msg(strstr(cairn_errmsg(), "merge"), "%s", cairn_errmsg());
	put(&s, "a", "3");
	assert_get(&s, NULL, "a", "3");
	store_close(&s);
}
END_TEST

START_TEST(a_read_error_is_never_a_miss)
{
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_READ | ENV_FAULT_OPEN_READ,
		.path = ".sst",
		.nth = (uint64_t)_i + 1,
		.sticky = true,
		.code = CAIRN_EIO,
	};
	struct store s = { 0 };
	int failed = 0;

	store_open(&s);
	for (int i = 0; i < 50; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key%03d", i);
		put(&s, key, "a value that fills the block soon enough");
	}
	move_to(&s, _i % 2 ? IN_BOTTOM : IN_LEVEL0);
	env_fault_set(s.env, &rule);
	for (int i = 0; i < 50; i++) {
		struct cairn_read_options o = { .no_fill_cache = true };
		struct cairn_pinned got = { 0 };
		char key[16];
		int err;

		snprintf(key, sizeof(key), "key%03d", i);
		err = cairn_get(s.db, &o, slice_str(key), &got);
		ck_assert(err == CAIRN_OK || err == CAIRN_EIO);
		failed += err != CAIRN_OK;
		cairn_pinned_release(&got);
	}
	ck_assert_int_eq(failed > 0, env_fault_hits(s.env) > 0);
	env_fault_set(s.env, NULL);
	assert_get(&s, NULL, "key007",
		   "a value that fills the block soon enough");
	store_close(&s);
}
END_TEST

/* --------------------------------------------------------------- threads */

struct race {
	struct store s;
	_Atomic uint64_t written; /* the last value put, raised after it */
	_Atomic bool stop;
};

/* Values only grow: neither a get nor a snapshot may see an old one. */
static void *racing_reader(void *arg)
{
	struct race *r = arg;

	while (!atomic_load(&r->stop)) {
		struct cairn_snapshot *snapshot = NULL;
		struct cairn_read_options o = { 0 };
		uint64_t at_least = atomic_load(&r->written);
		uint64_t value;

		for (int round = 0; round < 3; round++) {
			struct cairn_pinned got = { 0 };

			ck_assert_int_eq(
				cairn_get(r->s.db, &o, slice_str("k"), &got),
				CAIRN_OK);
			value = load_le64(got.value.data);
			ck_assert_uint_ge(value, at_least);
			cairn_pinned_release(&got);
			if (!snapshot)
				snapshot = cairn_snapshot_new(r->s.db);
			o.snapshot = snapshot;
			at_least = value;
		}
		cairn_snapshot_release(snapshot);
	}
	return NULL;
}

START_TEST(no_read_misses_a_write_during_flushes_and_compactions)
{
	struct cairn_slice all = { 0 };
	struct race r = { 0 };
	pthread_t thread[3];

	store_open(&r.s);
	for (uint64_t v = 0; v < 600; v++) {
		uint8_t bytes[8];

		put_le64(bytes, v);
		ck_assert_int_eq(cairn_put(r.s.db, NULL, slice_str("k"),
					   slice_of(bytes, sizeof(bytes))),
				 CAIRN_OK);
		atomic_store(&r.written, v);
		if (v == 0)
			for (size_t i = 0; i < N(thread); i++)
				ck_assert_int_eq(
					pthread_create(&thread[i], NULL,
						       racing_reader, &r),
					0);
		if (v % 5 == 4)
			ck_assert_int_eq(cairn_flush(r.s.db, v % 2), CAIRN_OK);
		if (v % 50 == 49)
			ck_assert_int_eq(
				cairn_compact_range(r.s.db, all, all, NULL),
				CAIRN_OK);
	}
	atomic_store(&r.stop, true);
	for (size_t i = 0; i < N(thread); i++)
		pthread_join(thread[i], NULL);
	store_close(&r.s);
}
END_TEST

static Suite *get_suite(void)
{
	Suite *s = suite_create("get");
	TCase *tc = tcase_create("values");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, get_sees_the_newest_version_wherever_it_is, 0,
			    N_PLACES * N_PLACES);
	tcase_add_loop_test(tc, get_sees_what_its_snapshot_saw, 0,
			    N_PLACES * N_PLACES);
	tcase_add_loop_test(tc, a_pinned_value_outlives_what_it_was_read_from,
			    0, N_PLACES);
	tcase_add_loop_test(tc, a_miss_leaves_the_result_alone, 0, N_PLACES);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_single_deletion_reads_as_a_deletion, 0,
			    N_PLACES);
	tcase_add_loop_test(tc, a_merge_operand_is_refused_by_name, 0,
			    N_PLACES);
	tcase_add_loop_test(tc, a_read_error_is_never_a_miss, 0, 20);
	suite_add_tcase(s, tc);

	tc = tcase_create("threads");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc,
		       no_read_misses_a_write_during_flushes_and_compactions);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(get_suite());
}
