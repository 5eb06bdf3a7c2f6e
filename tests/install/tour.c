/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each kind of call of the library once, as a program outside of the tree makes
 * it. install_test.sh builds it against an installed copy:
 *
 *	cc tour.c $(pkg-config --cflags --libs cairn)
 *	./a.out DIRECTORY	(which must not exist)
 */
#include <cairn/cairn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(int holds, int line)
{
	if (!holds) {
		fprintf(stderr, "tour.c:%d: %s\n", line, cairn_errmsg());
		exit(1);
	}
}
#define OK(call)   need((call) == CAIRN_OK, __LINE__)
#define TRUE(cond) need((cond), __LINE__)

static struct cairn_slice s(const char *text)
{
	return (struct cairn_slice){ (const uint8_t *)text, strlen(text) };
}

static int same(struct cairn_slice a, const char *b)
{
	return a.len == strlen(b) && !memcmp(a.data, b, a.len);
}

static int holds(struct cairn_db *db, const struct cairn_read_options *o,
		 const char *key, const char *value)
{
	struct cairn_pinned got = { 0 };
	int yes = cairn_get(db, o, s(key), &got) == CAIRN_OK &&
		  same(got.value, value);

	cairn_pinned_release(&got);
	return yes;
}

/* "fruit/" of "fruit/apple". */
static size_t up_to_slash(void *ctx, struct cairn_slice key)
{
	const uint8_t *slash = memchr(key.data, '/', key.len);

	(void)ctx;
	return slash ? (size_t)(slash - key.data) + 1 : SIZE_MAX;
}

static const struct cairn_prefix_extractor by_slash = { .name = "tour.slash",
							.prefix_len =
								up_to_slash };

static void operations(struct cairn_db *db)
{
	const struct cairn_write_options sync = { .sync = true };
	struct cairn_batch *b = cairn_batch_new();
	struct cairn_pinned none = { 0 };

	TRUE(b != NULL);
	OK(cairn_put(db, &sync, s("fruit/apple"), s("red")));
	OK(cairn_put(db, NULL, s("fruit/plum"), s("blue")));
	OK(cairn_merge(db, NULL, s("fruit/apple"), s("green")));
	OK(cairn_delete(db, NULL, s("fruit/plum")));
	OK(cairn_put(db, NULL, s("once"), s("1")));
	OK(cairn_single_delete(db, NULL, s("once")));
	OK(cairn_batch_put(b, s("tree/ash"), s("tall")));
	OK(cairn_batch_put(b, s("tree/elm"), s("old")));
	OK(cairn_batch_put(b, s("tree/oak"), s("strong")));
	OK(cairn_batch_merge(b, s("tree/oak"), s("slow")));
	OK(cairn_batch_delete(b, s("fruit/plum")));
	OK(cairn_batch_delete_range(b, s("tree/a"), s("tree/b")));
	TRUE(cairn_batch_count(b) == 6);
	OK(cairn_write(db, NULL, b));
	OK(cairn_delete_range(db, NULL, s("weed/"), s("weed0")));
	OK(cairn_wal_sync(db));
	TRUE(holds(db, NULL, "fruit/apple", "red,green"));
	TRUE(cairn_get(db, NULL, s("tree/ash"), &none) == CAIRN_NOT_FOUND);
	cairn_batch_free(b);
}

static void batches(struct cairn_db *db)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_pinned got = { 0 };
	struct cairn_iter *it;

	TRUE(b != NULL);
	OK(cairn_batch_merge(b, s("fruit/apple"), s("sweet")));
	OK(cairn_batch_log_data(b, s("by the tour")));
	OK(cairn_batch_set_savepoint(b));
	OK(cairn_batch_delete_range(b, s("tree/"), s("tree0")));
	OK(cairn_batch_iter_new(db, NULL, b, &it));
	OK(cairn_batch_rollback(b));
	TRUE(cairn_batch_pop_savepoint(b) == CAIRN_NOT_FOUND);
	TRUE(cairn_iter_last(it) && same(cairn_iter_key(it), "fruit/apple"));
	OK(cairn_batch_iter_refresh(it, b));
	TRUE(cairn_iter_last(it) && same(cairn_iter_key(it), "tree/oak"));
	cairn_iter_free(it);
	OK(cairn_batch_get(db, NULL, b, s("fruit/apple"), &got));
	TRUE(same(got.value, "red,green,sweet"));
	cairn_batch_clear(b);
	TRUE(same(got.value, "red,green,sweet"));
	cairn_pinned_release(&got);
	cairn_batch_free(b);
}

static void readers(struct cairn_db *db)
{
	struct cairn_read_options o = { .lower = s("tree/"),
					.upper = s("tree0") };
	struct cairn_iter *it;

	o.snapshot = cairn_snapshot_new(db);
	TRUE(o.snapshot != NULL);
	OK(cairn_put(db, NULL, s("tree/elm"), s("young")));
	TRUE(holds(db, &o, "tree/elm", "old"));
	TRUE(holds(db, NULL, "tree/elm", "young"));
	OK(cairn_iter_new(db, &o, &it));
	TRUE(cairn_iter_first(it) && same(cairn_iter_key(it), "tree/elm"));
	TRUE(cairn_iter_next(it) && same(cairn_iter_value(it), "strong,slow"));
	TRUE(!cairn_iter_next(it) && cairn_iter_status(it) == CAIRN_OK);
	TRUE(cairn_iter_last(it) && same(cairn_iter_key(it), "tree/oak"));
	TRUE(cairn_iter_prev(it) && same(cairn_iter_value(it), "old"));
	TRUE(cairn_iter_seek_ge(it, s("tree/f")) && cairn_iter_valid(it));
	TRUE(cairn_iter_seek_lt(it, s("tree/f")));
	TRUE(cairn_iter_seek_prefix_ge(it, s("tree/elm")));
	cairn_iter_free(it);
	cairn_snapshot_release((struct cairn_snapshot *)o.snapshot);
}

static void files(struct cairn_db *db, const char *table, const char *copy)
{
	const struct cairn_slice all = { 0 };
	const struct cairn_range range = { s("a"), s("z") };
	struct cairn_sst_writer *w;
	struct cairn_problem_list problems;
	struct cairn_table_list tables;
	struct cairn_metrics m;
	struct cairn_db *other;
	uint64_t bytes;

	OK(cairn_flush(db, true));
	OK(cairn_sst_writer_open(table, NULL, &w));
	OK(cairn_sst_writer_put(w, s("fruit/fig"), s("sweet")));
	OK(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	OK(cairn_ingest(db, &table, 1, NULL));
	TRUE(holds(db, NULL, "fruit/fig", "sweet"));
	OK(cairn_compact_range(db, all, all, NULL));
	OK(cairn_compact(db, &(struct cairn_compact_options){ .from = all }));
	TRUE(cairn_cancel_job(db, 1000) == CAIRN_NOT_FOUND);
	OK(cairn_problem_spans(db, &problems));
	TRUE(problems.n == 0);
	cairn_problem_list_free(&problems);
	OK(cairn_wait_idle(db));
	OK(cairn_verify_checksums(db));
	OK(cairn_approximate_sizes(db, &range, 1, &bytes));
	OK(cairn_tables(db, -1, &tables));
	TRUE(tables.n > 0 && bytes > 0);
	cairn_table_list_free(&tables);
	cairn_metrics_get(db, &m);
	TRUE(m.flushes > 0 && m.compactions > 0);
	OK(cairn_checkpoint(db, copy));
	OK(cairn_open(copy, NULL, &other));
	TRUE(holds(other, NULL, "tree/elm", "young"));
	OK(cairn_close(other));
	OK(cairn_verify(copy, NULL, NULL, NULL));
}

int main(int argc, char **argv)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_db *db;
	char table[4096];
	char copy[4096];

	TRUE(argc == 2 && o != NULL);
	snprintf(table, sizeof(table), "%.4000s.sst", argv[1]);
	snprintf(copy, sizeof(copy), "%.4000s.copy", argv[1]);
	OK(cairn_options_set(o, "create_if_missing", "true"));
	OK(cairn_options_set(o, "write_buffer_size", "1M"));
	OK(cairn_options_set(o, "merge_operator", "stringappend"));
	cairn_options_set_prefix_extractor(o, &by_slash);
	TRUE(cairn_options_set(o, "no_such_option", "1") == CAIRN_EINVAL);
	OK(cairn_open(argv[1], o, &db));
	operations(db);
	batches(db);
	readers(db);
	files(db, table, copy);
	OK(cairn_close(db));
	cairn_options_free(o);
	printf("tour: all calls of cairn %s did what they say\n",
	       cairn_version());
	return 0;
}
