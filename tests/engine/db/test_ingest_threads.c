/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding tables to a database beside readers, writers and compactions. */
#include <pthread.h>

#include "engine/db/db.h"
#include "tests/engine/db/ingest_support.h"
#include "tests/support/gate_env.h"

/* A file whose syncs wait at a gate. */
struct gated_file {
	struct wfile base;
	struct wfile *below;
	struct gate_env *gate;
};

static int gated_append(struct wfile *f, const void *data, size_t len)
{
	return wfile_append(((struct gated_file *)f)->below, data, len);
}

static int gated_sync(struct wfile *f)
{
	struct gate_env *g = ((struct gated_file *)f)->gate;

	mutex_lock(&g->mu);
	g->n_waiting++;
	cond_broadcast(&g->changed);
	while (!g->open)
		cond_wait(&g->changed, &g->mu);
	g->n_waiting--;
	mutex_unlock(&g->mu);
	return wfile_sync(((struct gated_file *)f)->below);
}

static int gated_preallocate(struct wfile *f, uint64_t len)
{
	return wfile_preallocate(((struct gated_file *)f)->below, len);
}

static void gated_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	wfile_flush_hint(((struct gated_file *)f)->below, off, len);
}

static int gated_close(struct wfile *f)
{
	int err = wfile_close(((struct gated_file *)f)->below);

	free(f);
	return err;
}

static const struct wfile_ops gated_ops = {
	.append = gated_append,
	.sync = gated_sync,
	.preallocate = gated_preallocate,
	.flush_hint = gated_flush_hint,
	.close = gated_close,
};

/* Tables are created behind one gate, the MANIFEST is synced behind another. */
struct two_gates {
	struct gate_env tables;
	struct gate_env manifest;
	struct test_db t;
};

static int open_behind_gates(struct cairn_env *e, const char *path,
			     struct wfile **out)
{
	struct two_gates *g = (struct two_gates *)e;
	struct gated_file *f;

	if (!strstr(path, "MANIFEST-"))
		return gate_open_write(e, path, out);
	f = calloc(1, sizeof(*f));
	ck_assert_ptr_nonnull(f);
	CK_OK(env_open_write(gate_below(e), path, &f->below));
	f->base.ops = &gated_ops;
	f->gate = &g->manifest;
	*out = &f->base;
	return CAIRN_OK;
}

static void *ingest_m(void *arg)
{
	struct two_gates *g = arg;

	CK_OK(ingest_as(&g->t, EXT "/a", CAIRN_INGEST_LINK));
	return NULL;
}

static void *compact_in_vain(void *arg)
{
	struct two_gates *g = arg;

	CK_CODE(cairn_compact_range(g->t.db, slice_str("a"), slice_str("d"),
				    NULL),
		CAIRN_EIO);
	return NULL;
}

static void *compact_all(void *arg)
{
	const struct cairn_slice all = { 0 };
	struct two_gates *g = arg;

	CK_OK(cairn_compact_range(g->t.db, all, all, NULL));
	return NULL;
}

/*
 * A compaction of a to c runs; one of everything waits for it. A table comes
 * between, and while its edit is being written the first compaction fails. If
 * the second began now, it would write a table from a to z where the new one
 * is about to be.
 */
START_TEST(no_compaction_writes_where_a_table_is_about_to_be)
{
	struct two_gates g;
	pthread_t threads[3];

	begin(&g.t);
	tdb_close(&g.t);
	gate_init(&g.tables, g.t.env, ".sst");
	gate_init(&g.manifest, g.t.env, "");
	g.tables.ops.open_write = open_behind_gates;
	cairn_options_set_env(g.t.opts, &g.tables.base);
	tdb_open(&g.t);
	tdb_put(&g.t, "e", "2");
	tdb_put(&g.t, "z", "2");
	CK_OK(cairn_flush(g.t.db, true));
	for (int i = 0; i < 2; i++) {
		tdb_put(&g.t, "a", "1");
		tdb_put(&g.t, "c", "1");
		CK_OK(cairn_flush(g.t.db, true));
	}
	make_table(&g.t, EXT "/a", "m=3");

	gate_set(&g.tables, false);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, compact_in_vain, &g),
			 0);
	gate_await(&g.tables, 1);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, compact_all, &g), 0);
	env_sleep_us(g.t.mem, 30000);
	gate_set(&g.manifest, false);
	ck_assert_int_eq(pthread_create(&threads[2], NULL, ingest_m, &g), 0);
	gate_await(&g.manifest, 1);
	tdb_fail(&g.t, ENV_FAULT_CREATE, ".sst", 1, false, CAIRN_EIO);
	gate_set(&g.tables, true);
	/* Did it not wait, it would begin at once. */
	env_sleep_us(g.t.mem, 30000);
	gate_set(&g.manifest, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);

	env_fault_set(g.t.env, NULL);
	CK_OK(cairn_background_error(g.t.db, NULL, 0));
	expect(&g.t, "a=1 c=1 e=2 m=3 z=2 ");
	tdb_reopen(&g.t);
	expect(&g.t, "a=1 c=1 e=2 m=3 z=2 ");
	tdb_close(&g.t);
	gate_fini(&g.tables);
	gate_fini(&g.manifest);
	tdb_fini(&g.t);
}
END_TEST

#define N_ROUNDS 40
#define N_KEYS   16

struct race {
	struct test_db t;
	_Atomic bool stop;
	_Atomic unsigned n_reads;
};

/* All keys have one value at any time: that of a batch or of a table. */
static void *race_reader(void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		struct cairn_snapshot *s = cairn_snapshot_new(r->t.db);
		const struct cairn_read_options o = { .snapshot = s };
		char first[32] = "";

		ck_assert_ptr_nonnull(s);
		for (int i = 0; i < N_KEYS; i++) {
			struct cairn_pinned p = { 0 };
			char key[8];
			int err;

			snprintf(key, sizeof(key), "k%02d", i);
			err = cairn_get(r->t.db, &o, slice_str(key), &p);
			if (err == CAIRN_NOT_FOUND) {
				ck_assert_str_eq(first, "");
				continue;
			}
			CK_OK(err);
			if (i == 0)
				snprintf(first, sizeof(first), "%.*s",
					 (int)p.value.len,
					 (const char *)p.value.data);
			ck_assert_msg(slice_eq(p.value, slice_str(first)),
				      "key %d: %.*s, not %s", i,
				      (int)p.value.len,
				      (const char *)p.value.data, first);
			cairn_pinned_release(&p);
		}
		cairn_snapshot_release(s);
		r->n_reads++;
	}
	return NULL;
}

static void *race_writer(void *arg)
{
	struct race *r = arg;

	for (unsigned n = 0; !r->stop; n++) {
		struct cairn_batch *b = cairn_batch_new();
		char key[8], value[32];

		snprintf(value, sizeof(value), "batch %u", n);
		for (int i = 0; i < N_KEYS; i++) {
			snprintf(key, sizeof(key), "k%02d", i);
			CK_OK(cairn_batch_put(b, slice_str(key),
					      slice_str(value)));
		}
		CK_OK(cairn_write(r->t.db, NULL, b));
		cairn_batch_free(b);
	}
	return NULL;
}

START_TEST(readers_see_a_table_whole_beside_writers_and_compactions)
{
	struct race r = { .stop = false };
	pthread_t reader, writer;

	tdb_init(&r.t, NULL);
	tdb_set(&r.t, "write_buffer_size", "16K");
	tdb_set(&r.t, "l0_compaction_trigger", "2");
	tdb_set(&r.t, "base_level_size", "8K");
	tdb_set(&r.t, "target_file_size", "4K");
	CK_OK(env_mkdir(r.t.mem, EXT));
	tdb_open(&r.t);
	ck_assert_int_eq(pthread_create(&reader, NULL, race_reader, &r), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, race_writer, &r), 0);
	/* On a busy machine the reader may be late. */
	for (int n = 0; n < N_ROUNDS || r.n_reads < N_ROUNDS; n++) {
		char text[N_KEYS * 24] = "";
		size_t len = 0;

		for (int i = 0; i < N_KEYS; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"k%02d=table%d ", i, n);
		make_table(&r.t, EXT "/a", text);
		CK_OK(ingest_as(&r.t, EXT "/a", CAIRN_INGEST_MOVE));
	}
	r.stop = true;
	pthread_join(reader, NULL);
	pthread_join(writer, NULL);
	CK_OK(cairn_wait_idle(r.t.db));
	tdb_reopen(&r.t);
	CK_OK(cairn_verify_checksums(r.t.db));
	tdb_fini(&r.t);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ingest_threads");
	TCase *tc = tcase_create("concurrency");

	tcase_add_test(tc, no_compaction_writes_where_a_table_is_about_to_be);
	tcase_add_test(
		tc, readers_see_a_table_whole_beside_writers_and_compactions);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
