/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches beside those of the real RocksDB: the same calls give the same bytes,
 * savepoints included, and what is read of an indexed one on top of a store is
 * the same. RocksDB's indexed batches know no deleted ranges, so these are left
 * out there.
 */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "engine/kv/batch.h"
#include "tests/compat/scratch.h"
#include "tests/support/runner.h"

#define KEYS 60

static struct rng rng;

static struct cairn_slice random_key(char text[16])
{
	return slice_of(text,
			(size_t)snprintf(text, 16, "k%02u",
					 (unsigned)rng_below(&rng, KEYS)));
}

static struct cairn_slice random_value(uint8_t value[8])
{
	put_le64(value, rng_below(&rng, 1000));
	return slice_of(value, 8);
}

static const char *chars(struct cairn_slice s)
{
	return (const char *)s.data;
}

/* ------------------------------------------------------------------- bytes */

static void same_bytes(rocksdb_writebatch_t *theirs, struct cairn_batch *ours)
{
	const char *data;
	size_t len;

	data = rocksdb_writebatch_data(theirs, &len);
	ck_assert_uint_eq(len, cairn_batch_bytes(ours));
	ck_assert_mem_eq(data, ours->bytes.data, len);
	ck_assert_int_eq(rocksdb_writebatch_count(theirs),
			 (int)cairn_batch_count(ours));
}

static void same_result(const char *error, int err)
{
	ck_assert_int_eq(err, error ? CAIRN_NOT_FOUND : CAIRN_OK);
	free((void *)(uintptr_t)error);
}

static void change_both(rocksdb_writebatch_t *theirs, struct cairn_batch *ours)
{
	char *error = NULL;
	char key[16], end[16];
	uint8_t value[8];
	struct cairn_slice k = random_key(key), e = random_key(end);
	struct cairn_slice v = random_value(value);

	switch (rng_below(&rng, 14)) {
	case 0:
		rocksdb_writebatch_delete(theirs, chars(k), k.len);
		must(cairn_batch_delete(ours, k));
		break;
	case 1:
		rocksdb_writebatch_singledelete(theirs, chars(k), k.len);
		must(cairn_batch_single_delete(ours, k));
		break;
	case 2:
		rocksdb_writebatch_merge(theirs, chars(k), k.len, chars(v),
					 v.len);
		must(cairn_batch_merge(ours, k, v));
		break;
	case 3:
		if (slice_cmp(k, e) >= 0)
			break;
		rocksdb_writebatch_delete_range(theirs, chars(k), k.len,
						chars(e), e.len);
		must(cairn_batch_delete_range(ours, k, e));
		break;
	case 4:
		rocksdb_writebatch_put_log_data(theirs, chars(v), v.len);
		must(cairn_batch_log_data(ours, v));
		break;
	case 5:
	case 6:
		rocksdb_writebatch_set_save_point(theirs);
		must(cairn_batch_set_savepoint(ours));
		break;
	case 7:
		rocksdb_writebatch_rollback_to_save_point(theirs, &error);
		same_result(error, cairn_batch_rollback(ours));
		break;
	case 8:
		rocksdb_writebatch_pop_save_point(theirs, &error);
		same_result(error, cairn_batch_pop_savepoint(ours));
		break;
	case 9:
		if (!rng_one_in(&rng, 10))
			break;
		rocksdb_writebatch_clear(theirs);
		cairn_batch_clear(ours);
		break;
	default:
		rocksdb_writebatch_put(theirs, chars(k), k.len, chars(v),
				       v.len);
		must(cairn_batch_put(ours, k, v));
		break;
	}
}

START_TEST(the_same_calls_give_the_same_bytes)
{
	rocksdb_writebatch_t *theirs = rocksdb_writebatch_create();
	struct cairn_batch *ours =
		_i % 2 ? cairn_batch_new_indexed() : cairn_batch_new();

	rng_init(&rng, 1 + (uint64_t)_i);
	for (int i = 0; i < 2000; i++) {
		change_both(theirs, ours);
		same_bytes(theirs, ours);
	}
	rocksdb_writebatch_destroy(theirs);
	cairn_batch_free(ours);
}
END_TEST

/* ----------------------------------------------------------------- reading */

struct stores {
	char dir[2][SCRATCH_LEN];
	rocksdb_options_t *opts;
	rocksdb_writeoptions_t *wo;
	rocksdb_readoptions_t *ro;
	rocksdb_t *theirs;
	rocksdb_writebatch_wi_t *their_batch;
	struct cairn_db *ours;
	struct cairn_batch *our_batch;
	bool merges;
};

static void fine(char *error)
{
	ck_assert_msg(!error, "%s", error);
}

static void stores_open(struct stores *s, bool merges)
{
	struct cairn_options *o = cairn_options_new();
	char *error = NULL;

	*s = (struct stores){ .merges = merges };
	scratch_make(s->dir[0]);
	scratch_make(s->dir[1]);
	s->opts = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(s->opts, 1);
	rocksdb_options_set_uint64add_merge_operator(s->opts);
	s->wo = rocksdb_writeoptions_create();
	s->ro = rocksdb_readoptions_create();
	s->theirs = rocksdb_open(s->opts, s->dir[0], &error);
	fine(error);
	s->their_batch = rocksdb_writebatch_wi_create(0, 1);
	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_options_set(o, "merge_operator", "uint64add"));
	must(cairn_open(s->dir[1], o, &s->ours));
	cairn_options_free(o);
	s->our_batch = cairn_batch_new_indexed();
}

static void stores_close(struct stores *s)
{
	rocksdb_writebatch_wi_destroy(s->their_batch);
	rocksdb_close(s->theirs);
	rocksdb_readoptions_destroy(s->ro);
	rocksdb_writeoptions_destroy(s->wo);
	rocksdb_options_destroy(s->opts);
	cairn_batch_free(s->our_batch);
	must(cairn_close(s->ours));
	scratch_remove(s->dir[0]);
	scratch_remove(s->dir[1]);
}

static void write_both(struct stores *s)
{
	char *error = NULL;
	char key[16];
	uint8_t value[8];
	struct cairn_slice k = random_key(key), v = random_value(value);

	if (rng_one_in(&rng, 3)) {
		rocksdb_delete(s->theirs, s->wo, chars(k), k.len, &error);
		must(cairn_delete(s->ours, NULL, k));
	} else if (s->merges && rng_one_in(&rng, 2)) {
		rocksdb_merge(s->theirs, s->wo, chars(k), k.len, chars(v),
			      v.len, &error);
		must(cairn_merge(s->ours, NULL, k, v));
	} else {
		rocksdb_put(s->theirs, s->wo, chars(k), k.len, chars(v), v.len,
			    &error);
		must(cairn_put(s->ours, NULL, k, v));
	}
	fine(error);
}

static void change_indexed(struct stores *s)
{
	rocksdb_writebatch_wi_t *b = s->their_batch;
	char *error = NULL;
	char key[16];
	uint8_t value[8];
	struct cairn_slice k = random_key(key), v = random_value(value);

	switch (rng_below(&rng, 10)) {
	case 0:
	case 1:
		rocksdb_writebatch_wi_delete(b, chars(k), k.len);
		must(cairn_batch_delete(s->our_batch, k));
		break;
	case 2:
	case 3:
		if (!s->merges)
			break;
		rocksdb_writebatch_wi_merge(b, chars(k), k.len, chars(v),
					    v.len);
		must(cairn_batch_merge(s->our_batch, k, v));
		break;
	case 4:
		rocksdb_writebatch_wi_set_save_point(b);
		must(cairn_batch_set_savepoint(s->our_batch));
		break;
	case 5:
		rocksdb_writebatch_wi_rollback_to_save_point(b, &error);
		same_result(error, cairn_batch_rollback(s->our_batch));
		break;
	default:
		rocksdb_writebatch_wi_put(b, chars(k), k.len, chars(v), v.len);
		must(cairn_batch_put(s->our_batch, k, v));
		break;
	}
}

static void commit_both(struct stores *s)
{
	char *error = NULL;

	rocksdb_write_writebatch_wi(s->theirs, s->wo, s->their_batch, &error);
	fine(error);
	must(cairn_write(s->ours, NULL, s->our_batch));
	rocksdb_writebatch_wi_clear(s->their_batch);
	cairn_batch_clear(s->our_batch);
}

/* NULL: there is none. To be freed. */
static char *their_value(struct stores *s, struct cairn_slice k, size_t *len)
{
	char *error = NULL;
	char *value = rocksdb_writebatch_wi_get_from_batch_and_db(
		s->their_batch, s->theirs, s->ro, chars(k), k.len, len, &error);

	fine(error);
	return value;
}

static void same_gets(struct stores *s)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct cairn_pinned p = { 0 };
		char key[16];
		char *want;
		size_t len;
		struct cairn_slice k = slice_of(
			key, (size_t)snprintf(key, sizeof(key), "k%02u", i));
		int err = cairn_batch_get(s->ours, NULL, s->our_batch, k, &p);

		want = their_value(s, k, &len);
		if (!want) {
			ck_assert_int_eq(err, CAIRN_NOT_FOUND);
			continue;
		}
		must(err);
		ck_assert(slice_eq(p.value, slice_of(want, len)));
		cairn_pinned_release(&p);
		free(want);
	}
}

/*
 * What RocksDB's iterator shows as the value of a key whose operands are in the
 * batch is no memory of anybody's, in 7.8.3; its get is right.
 */
static void same_entry(struct stores *s, const rocksdb_iterator_t *theirs,
		       const struct cairn_iter *ours)
{
	const char *data;
	char *value;
	size_t len;

	must(cairn_iter_status(ours));
	ck_assert_int_eq(rocksdb_iter_valid(theirs), cairn_iter_valid(ours));
	if (!cairn_iter_valid(ours))
		return;
	data = rocksdb_iter_key(theirs, &len);
	ck_assert(slice_eq(cairn_iter_key(ours), slice_of(data, len)));
	value = their_value(s, cairn_iter_key(ours), &len);
	ck_assert_ptr_nonnull(value);
	ck_assert(slice_eq(cairn_iter_value(ours), slice_of(value, len)));
	free(value);
	if (s->merges)
		return;
	data = rocksdb_iter_value(theirs, &len);
	ck_assert(slice_eq(cairn_iter_value(ours), slice_of(data, len)));
}

static void same_walks(struct stores *s)
{
	rocksdb_iterator_t *theirs =
		rocksdb_writebatch_wi_create_iterator_with_base(
			s->their_batch,
			rocksdb_create_iterator(s->theirs, s->ro));
	struct cairn_iter *ours;

	must(cairn_batch_iter_new(s->ours, NULL, s->our_batch, &ours));
	for (int i = 0; i < 100; i++) {
		char key[16];
		struct cairn_slice k = random_key(key);

		switch (rng_below(&rng, cairn_iter_valid(ours) ? 8 : 3)) {
		case 0:
			rocksdb_iter_seek_to_first(theirs);
			(void)cairn_iter_first(ours);
			break;
		case 1:
			rocksdb_iter_seek_to_last(theirs);
			(void)cairn_iter_last(ours);
			break;
		case 2:
			rocksdb_iter_seek(theirs, chars(k), k.len);
			(void)cairn_iter_seek_ge(ours, k);
			break;
		case 3:
		case 4:
			rocksdb_iter_prev(theirs);
			(void)cairn_iter_prev(ours);
			break;
		default:
			rocksdb_iter_next(theirs);
			(void)cairn_iter_next(ours);
			break;
		}
		same_entry(s, theirs, ours);
	}
	rocksdb_iter_destroy(theirs);
	cairn_iter_free(ours);
}

START_TEST(an_indexed_batch_on_top_of_a_store_reads_the_same)
{
	struct stores s;

	rng_init(&rng, 100 + (uint64_t)_i);
	stores_open(&s, _i % 2);
	for (int i = 0; i < 400; i++) {
		if (rng_one_in(&rng, 3))
			write_both(&s);
		else
			change_indexed(&s);
		if (rng_one_in(&rng, 8))
			same_gets(&s);
		if (rng_one_in(&rng, 8))
			same_walks(&s);
		if (rng_one_in(&rng, 40))
			commit_both(&s);
	}
	stores_close(&s);
}
END_TEST

/* Log data by itself is a record that RocksDB replays, too. */
START_TEST(rocksdb_passes_over_log_data_in_a_log)
{
	struct cairn_options *o = cairn_options_new();
	rocksdb_options_t *opts = rocksdb_options_create();
	rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
	struct cairn_batch *b = cairn_batch_new();
	char dir[SCRATCH_LEN], copy[SCRATCH_LEN + 8];
	char cmd[3 * SCRATCH_LEN];
	struct cairn_db *db;
	rocksdb_t *theirs;
	char *error = NULL, *value;
	size_t len;

	scratch_make(dir);
	must(cairn_options_set(o, "create_if_missing", "true"));
	must(cairn_open(dir, o, &db));
	must(cairn_put(db, NULL, slice_str("a"), slice_str("1")));
	must(cairn_batch_log_data(b, slice_str("blob")));
	must(cairn_write(db, NULL, b));
	must(cairn_put(db, NULL, slice_str("b"), slice_str("2")));
	must(cairn_write(db, NULL, b));
	/* As it is in the middle, its log and all. */
	snprintf(copy, sizeof(copy), "%s.copy", dir);
	snprintf(cmd, sizeof(cmd), "cp -r '%s' '%s'", dir, copy);
	ck_assert_int_eq(system(cmd), 0);
	must(cairn_close(db));

	theirs = rocksdb_open(opts, copy, &error);
	fine(error);
	value = rocksdb_get(theirs, ro, "a", 1, &len, &error);
	ck_assert(value && len == 1 && *value == '1');
	free(value);
	value = rocksdb_get(theirs, ro, "b", 1, &len, &error);
	ck_assert(value && len == 1 && *value == '2');
	free(value);
	rocksdb_close(theirs);
	rocksdb_options_destroy(opts);
	rocksdb_readoptions_destroy(ro);
	cairn_batch_free(b);
	cairn_options_free(o);
	scratch_remove(dir);
	scratch_remove(copy);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batch beside rocksdb");
	TCase *tc = tcase_create("batch");

	tcase_add_loop_test(tc, the_same_calls_give_the_same_bytes, 0, 6);
	tcase_add_loop_test(
		tc, an_indexed_batch_on_top_of_a_store_reads_the_same, 0, 8);
	tcase_add_test(tc, rocksdb_passes_over_log_data_in_a_log);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
