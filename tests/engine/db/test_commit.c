/* SPDX-License-Identifier: BSD-3-Clause */
/* The write path: order, atomicity, durability, failures of the log. */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/db/db.h"
#include "engine/wal/record.h"
#include "tests/support/db_test.h"
#include "tests/support/gate_env.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct cairn_write_options with_sync = { .sync = true };
static const struct cairn_write_options without_wal = { .disable_wal = true };

static int put_with(struct test_db *t, const struct cairn_write_options *o,
		    const char *key, const char *value)
{
	return cairn_put(t->db, o, slice_str(key), slice_str(value));
}

/* What a process killed now, or a power cut, leaves; opened. */
static void open_clone(struct test_db *t, struct test_db *clone, unsigned keep)
{
	struct cairn_env *mem = env_mem_crash_clone(t->mem, 7, keep);

	ck_assert_ptr_nonnull(mem);
	tdb_init(clone, mem);
	tdb_open(clone);
}

static uint64_t seqno_of(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m.seqno;
}

/* ----------------------------------------------------------------- batches */

START_TEST(later_changes_of_a_batch_win)
{
	struct cairn_batch *b = cairn_batch_new();
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_OK(cairn_batch_put(b, slice_str("a"), slice_str("1")));
	CK_OK(cairn_batch_put(b, slice_str("b"), slice_str("1")));
	CK_OK(cairn_batch_put(b, slice_str("a"), slice_str("2")));
	CK_OK(cairn_batch_delete(b, slice_str("b")));
	CK_OK(cairn_write(t.db, NULL, b));
	ck_assert_uint_eq(seqno_of(&t), 4);
	tdb_expect(&t, "a", "2");
	tdb_expect(&t, "b", NULL);
	/* It can be used again. */
	CK_OK(cairn_write(t.db, &with_sync, b));
	cairn_batch_clear(b);
	CK_OK(cairn_batch_put(b, slice_str("c"), slice_str("3")));
	CK_OK(cairn_write(t.db, NULL, b));
	ck_assert_uint_eq(seqno_of(&t), 9);
	tdb_expect(&t, "c", "3");
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(an_empty_batch_takes_no_number)
{
	struct cairn_batch *b = cairn_batch_new();
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_OK(cairn_write(t.db, NULL, b));
	CK_OK(cairn_write(t.db, &with_sync, b));
	ck_assert_uint_eq(seqno_of(&t), 0);
	cairn_batch_free(b);
	tdb_fini(&t);
}
END_TEST

START_TEST(what_is_over_the_limits_is_refused)
{
	static const char byte[1];
	static const struct cairn_write_options both = { .sync = true,
							 .disable_wal = true };
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	CK_CODE(cairn_put(t.db, NULL, slice_of(byte, CAIRN_KEY_MAX + 1),
			  slice_str("v")),
		CAIRN_EINVAL);
	CK_CODE(cairn_put(t.db, NULL, slice_str("k"),
			  slice_of(byte, (size_t)CAIRN_VALUE_MAX + 1)),
		CAIRN_EINVAL);
	CK_CODE(cairn_delete(t.db, NULL, slice_of(byte, CAIRN_KEY_MAX + 1)),
		CAIRN_EINVAL);
	CK_CODE(put_with(&t, &both, "k", "v"), CAIRN_EINVAL);
	ck_assert_uint_eq(seqno_of(&t), 0);
	tdb_fini(&t);
}
END_TEST

START_TEST(keys_and_values_of_all_sizes_come_back)
{
	static const size_t sizes[] = { 0,    1,    127,   128,   1000, 1023,
					1024, 1025, 16383, 16384, 65535 };
	char *bytes = malloc(300000);
	struct test_db t;

	memset(bytes, 'x', 300000);
	tdb_init(&t, NULL);
	tdb_set(&t, "write_buffer_size", "64K");
	tdb_open(&t);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < N(sizes); i++) {
			struct cairn_slice key = slice_of(bytes, sizes[i]);
			struct cairn_slice value =
				slice_of(bytes, sizes[i] * 4);
			struct cairn_pinned p = { 0 };

			if (pass == 0)
				CK_OK(cairn_put(t.db, NULL, key, value));
			CK_OK(cairn_get(t.db, NULL, key, &p));
			ck_assert(slice_eq(p.value, value));
			cairn_pinned_release(&p);
		}
		tdb_reopen(&t);
	}
	free(bytes);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_batch_larger_than_a_memtable_is_taken)
{
	struct cairn_batch *b = cairn_batch_new();
	char *value = malloc(1 << 20);
	struct test_db t, u;
	char key[16];

	memset(value, 'v', 1 << 20);
	tdb_init(&t, NULL);
	tdb_set(&t, "write_buffer_size", "64K");
	tdb_open(&t);
	tdb_put(&t, "before", "1");
	CK_OK(cairn_batch_put(b, slice_str("big"), slice_of(value, 1 << 20)));
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		CK_OK(cairn_batch_put(b, slice_str(key), slice_str(key)));
	}
	CK_OK(cairn_write(t.db, &with_sync, b));
	tdb_put(&t, "after", "2");
	open_clone(&t, &u, 100);
	for (int i = 0; i < 2; i++) {
		struct test_db *d = i ? &u : &t;
		struct cairn_pinned p = { 0 };

		tdb_expect(d, "before", "1");
		tdb_expect(d, "2999", "2999");
		tdb_expect(d, "after", "2");
		CK_OK(cairn_get(d->db, NULL, slice_str("big"), &p));
		ck_assert_uint_eq(p.value.len, 1 << 20);
		cairn_pinned_release(&p);
	}
	cairn_batch_free(b);
	free(value);
	tdb_fini(&t);
	tdb_fini(&u);
}
END_TEST

/* -------------------------------------------------------------- durability */

START_TEST(an_acknowledged_write_survives_a_kill)
{
	struct test_db t, u;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_put(&t, "a", "2");
	open_clone(&t, &u, 100);
	tdb_expect(&u, "a", "2");
	ck_assert_uint_eq(seqno_of(&u), 2);
	tdb_fini(&u);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_synced_write_survives_a_cut_with_all_before_it)
{
	struct test_db t, u;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(tdb_put_sync(&t, "b", "2"));
	tdb_put(&t, "c", "3");
	open_clone(&t, &u, 0);
	tdb_expect(&u, "a", "1");
	tdb_expect(&u, "b", "2");
	tdb_expect(&u, "c", NULL);
	tdb_fini(&u);
	CK_OK(cairn_wal_sync(t.db));
	open_clone(&t, &u, 0);
	tdb_expect(&u, "c", "3");
	tdb_fini(&u);
	tdb_fini(&t);
}
END_TEST

/* No other sync hides what rotation leaves undone: the flush is held. */
START_TEST(a_sync_in_a_new_log_covers_the_old_one_and_its_own_name)
{
	struct gate_env gate;
	struct test_db t, u;

	tdb_init(&t, NULL);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_open(&t);
	gate_set(&gate, false);
	tdb_put(&t, "old", "1");
	CK_OK(cairn_flush(t.db, false));
	gate_await(&gate, 1);
	CK_OK(tdb_put_sync(&t, "new", "2"));
	open_clone(&t, &u, 0);
	tdb_expect(&u, "old", "1");
	tdb_expect(&u, "new", "2");
	tdb_fini(&u);
	gate_set(&gate, true);
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

START_TEST(writes_without_log_are_lost_until_flushed_and_harm_no_others)
{
	struct test_db t, u;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	CK_OK(put_with(&t, &without_wal, "b", "2"));
	tdb_expect(&t, "b", "2");
	tdb_put(&t, "c", "3");
	open_clone(&t, &u, 100);
	tdb_expect(&u, "a", "1");
	tdb_expect(&u, "b", NULL);
	tdb_expect(&u, "c", "3");
	ck_assert_uint_eq(seqno_of(&u), 3);
	tdb_fini(&u);

	/* The gap may also lie between two logs. */
	CK_OK(put_with(&t, &without_wal, "d", "4"));
	CK_OK(cairn_flush(t.db, true));
	CK_OK(put_with(&t, &without_wal, "e", "5"));
	tdb_put(&t, "f", "6");
	open_clone(&t, &u, 0);
	tdb_expect(&u, "b", "2");
	tdb_expect(&u, "d", "4");
	tdb_fini(&u);
	open_clone(&t, &u, 100);
	tdb_expect(&u, "e", NULL);
	tdb_expect(&u, "f", "6");
	tdb_fini(&u);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_gap_between_two_logs_is_no_damage)
{
	struct gate_env gate;
	struct test_db t, u;

	tdb_init(&t, NULL);
	gate_init(&gate, t.env, ".sst");
	cairn_options_set_env(t.opts, &gate.base);
	tdb_open(&t);
	gate_set(&gate, false);
	tdb_put(&t, "a", "1");
	CK_OK(put_with(&t, &without_wal, "b", "2"));
	CK_OK(cairn_flush(t.db, false));
	CK_OK(put_with(&t, &without_wal, "c", "3"));
	tdb_put(&t, "d", "4");
	open_clone(&t, &u, 100);
	tdb_expect(&u, "a", "1");
	tdb_expect(&u, "d", "4");
	ck_assert_uint_eq(seqno_of(&u), 4);
	tdb_fini(&u);
	gate_set(&gate, true);
	tdb_fini(&t);
	gate_fini(&gate);
}
END_TEST

/* ------------------------------------------------------------------ threads */

#define N_THREADS 4
#define N_WRITES  300

struct writer_arg {
	struct test_db *t;
	int id;
};

static void *write_own_keys(void *arg)
{
	struct writer_arg *a = arg;
	char key[32], value[32];

	for (int i = 0; i < N_WRITES; i++) {
		struct cairn_write_options o = {
			.sync = i % 20 == a->id,
			.disable_wal = i % 20 == 7,
		};

		snprintf(key, sizeof(key), "%d-%d", a->id, i);
		snprintf(value, sizeof(value), "%d", i);
		CK_OK(cairn_put(a->t->db, &o, slice_str(key),
				slice_str(value)));
		/* One's own writes are visible at once. */
		if (i % 10 == 0)
			tdb_expect(a->t, key, value);
	}
	return NULL;
}

START_TEST(writers_at_once_all_get_their_numbers_and_their_data)
{
	struct writer_arg args[N_THREADS];
	pthread_t threads[N_THREADS];
	char key[32], value[32];
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_set(&t, "write_buffer_size", "8K");
	tdb_open(&t);
	for (int i = 0; i < N_THREADS; i++) {
		args[i] = (struct writer_arg){ &t, i };
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
						write_own_keys, &args[i]),
				 0);
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(seqno_of(&t), N_THREADS * N_WRITES);
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < N_THREADS; i++)
			for (int k = 0; k < N_WRITES; k++) {
				snprintf(key, sizeof(key), "%d-%d", i, k);
				snprintf(value, sizeof(value), "%d", k);
				tdb_expect(&t, key, value);
			}
		tdb_reopen(&t);
	}
	tdb_fini(&t);
}
END_TEST

#define N_SAME 8

struct same_arg {
	struct test_db *t;
	_Atomic bool stop;
	int id;
};

static void *write_same(void *arg)
{
	struct same_arg *a = arg;
	char key[16], value[32];

	for (int i = 0; i < 200; i++) {
		struct cairn_batch *b = cairn_batch_new();

		snprintf(value, sizeof(value), "%d.%d", a->id, i);
		for (int k = 0; k < N_SAME; k++) {
			snprintf(key, sizeof(key), "%d", k);
			CK_OK(cairn_batch_put(b, slice_str(key),
					      slice_str(value)));
		}
		CK_OK(cairn_write(a->t->db, NULL, b));
		cairn_batch_free(b);
	}
	return NULL;
}

/* All keys of a snapshot are from one batch. */
static void *read_same(void *arg)
{
	struct same_arg *a = arg;

	while (!a->stop) {
		struct cairn_snapshot *s = cairn_snapshot_new(a->t->db);
		struct cairn_read_options o = { .snapshot = s };
		char first[16] = "", value[16], key[16];

		for (int k = 0; k < N_SAME; k++) {
			struct cairn_pinned p = { 0 };

			snprintf(key, sizeof(key), "%d", k);
			CK_OK(cairn_get(a->t->db, &o, slice_str(key), &p));
			snprintf(value, sizeof(value), "%.*s", (int)p.value.len,
				 (const char *)p.value.data);
			cairn_pinned_release(&p);
			if (k == 0)
				memcpy(first, value, sizeof(first));
			ck_assert_str_eq(first, value);
		}
		cairn_snapshot_release(s);
	}
	return NULL;
}

START_TEST(a_snapshot_sees_batches_whole)
{
	struct same_arg args[3];
	pthread_t threads[3], reader;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_set(&t, "write_buffer_size", "4K");
	tdb_open(&t);
	for (int i = 0; i < 3; i++)
		args[i] = (struct same_arg){ .t = &t, .id = i };
	write_same(&args[0]);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_same, &args[0]), 0);
	for (int i = 1; i < 3; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, write_same, &args[i]),
			0);
	for (int i = 1; i < 3; i++)
		pthread_join(threads[i], NULL);
	args[0].stop = true;
	pthread_join(reader, NULL);
	tdb_fini(&t);
}
END_TEST

static void *flush_often(void *arg)
{
	struct same_arg *a = arg;

	while (!a->stop)
		CK_OK(cairn_flush(a->t->db, false));
	return NULL;
}

/* A snapshot taken while a flush begins keeps what it can see. */
START_TEST(a_snapshot_during_a_flush_loses_nothing)
{
	struct same_arg a = { .id = 1 };
	char value[16];
	pthread_t thread;
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	a.t = &t;
	tdb_put(&t, "k", "0");
	ck_assert_int_eq(pthread_create(&thread, NULL, flush_often, &a), 0);
	for (int i = 1; i < 300; i++) {
		struct cairn_snapshot *s;
		struct cairn_read_options o = { 0 };
		struct cairn_pinned p = { 0 };

		snprintf(value, sizeof(value), "%d", i);
		tdb_put(&t, "k", value);
		s = cairn_snapshot_new(t.db);
		tdb_put(&t, "k", "newer");
		o.snapshot = s;
		CK_OK(cairn_get(t.db, &o, slice_str("k"), &p));
		ck_assert(slice_eq(p.value, slice_str(value)));
		cairn_pinned_release(&p);
		cairn_snapshot_release(s);
	}
	a.stop = true;
	pthread_join(thread, NULL);
	tdb_fini(&t);
}
END_TEST

struct moment_arg {
	struct test_db *t;
	_Atomic bool *stop;
};

/* Every put has the number after the one before, and that number as value. */
static void *flush_moments(void *arg)
{
	const struct moment_arg *a = arg;

	while (!*a->stop)
		CK_OK(cairn_flush(a->t->db, false));
	return NULL;
}

static void check_moment(struct cairn_db *db, struct cairn_snapshot *s)
{
	struct cairn_read_options o = { .snapshot = s };
	uint64_t seqno = cairn_snapshot_seqno(s);
	struct cairn_pinned p = { 0 };
	char want[24];

	snprintf(want, sizeof(want), "%llu", (unsigned long long)seqno);
	CK_OK(cairn_get(db, &o, slice_str("k"), &p));
	ck_assert_msg(slice_eq(p.value, slice_str(want)), "%.*s at %s",
		      (int)p.value.len, (const char *)p.value.data, want);
	cairn_pinned_release(&p);
}

static void *read_moments(void *arg)
{
	const struct moment_arg *a = arg;

	while (!*a->stop) {
		struct cairn_snapshot *s = cairn_snapshot_new(a->t->db);

		ck_assert_ptr_nonnull(s);
		/* Now, and when a flush that began just before has ended. */
		check_moment(a->t->db, s);
		usleep(100);
		check_moment(a->t->db, s);
		cairn_snapshot_release(s);
	}
	return NULL;
}

/* Whoever writes, flushes and takes the snapshot are three: a flush may begin
 * between any two steps of the others. */
START_TEST(a_snapshot_sees_its_own_moment_whatever_is_flushed)
{
	_Atomic bool stop = false;
	pthread_t flusher, readers[2];
	struct moment_arg a = { .stop = &stop };
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	a.t = &t;
	tdb_put(&t, "k", "1");
	ck_assert_int_eq(pthread_create(&flusher, NULL, flush_moments, &a), 0);
	for (size_t i = 0; i < N(readers); i++)
		ck_assert_int_eq(
			pthread_create(&readers[i], NULL, read_moments, &a), 0);
	for (int i = 2; i < 4000; i++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", i);
		tdb_put(&t, "k", value);
	}
	stop = true;
	pthread_join(flusher, NULL);
	for (size_t i = 0; i < N(readers); i++)
		pthread_join(readers[i], NULL);
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------------ syncs of many writers
 */

/*
 * An env that knows which bytes of the log are durable: those that were there
 * when a sync began that has ended since.
 */
struct tape_env {
	struct gate_env base; /* for what it hands on */
	struct mutex mu;
	struct buf bytes;
	size_t durable;
};

struct tape_file {
	struct wfile base;
	struct wfile *below;
	struct tape_env *env; /* NULL: not the log */
};

static struct tape_file *tape_of(struct wfile *f)
{
	return (struct tape_file *)(void *)f;
}

static int tape_append(struct wfile *f, const void *data, size_t len)
{
	struct tape_env *e = tape_of(f)->env;

	if (e) {
		mutex_lock(&e->mu);
		CK_OK(buf_append(&e->bytes, data, len));
		mutex_unlock(&e->mu);
	}
	return wfile_append(tape_of(f)->below, data, len);
}

static size_t tape_len(struct tape_env *e)
{
	size_t len;

	mutex_lock(&e->mu);
	len = e->bytes.len;
	mutex_unlock(&e->mu);
	return len;
}

static int tape_sync(struct wfile *f)
{
	struct tape_env *e = tape_of(f)->env;
	size_t covered = 0;
	int err;

	if (e)
		covered = tape_len(e);
	err = wfile_sync(tape_of(f)->below);
	if (!e || err)
		return err;
	/* Others have time to write meanwhile, if they may. */
	for (int i = 0; i < 10 && tape_len(e) == covered; i++)
		usleep(100);
	mutex_lock(&e->mu);
	if (e->durable < covered)
		e->durable = covered;
	mutex_unlock(&e->mu);
	return CAIRN_OK;
}

static int tape_preallocate(struct wfile *f, uint64_t len)
{
	return wfile_preallocate(tape_of(f)->below, len);
}

static void tape_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	wfile_flush_hint(tape_of(f)->below, off, len);
}

static int tape_close(struct wfile *f)
{
	int err = wfile_close(tape_of(f)->below);

	free(f);
	return err;
}

static const struct wfile_ops tape_ops = { tape_append, tape_sync,
					   tape_preallocate, tape_flush_hint,
					   tape_close };

static int tape_open_write(struct cairn_env *env, const char *path,
			   struct wfile **out)
{
	struct tape_env *e = (struct tape_env *)(void *)env;
	struct tape_file *f = calloc(1, sizeof(*f));
	size_t len = strlen(path);
	int err;

	ck_assert_ptr_nonnull(f);
	f->base.ops = &tape_ops;
	if (len > 4 && strcmp(path + len - 4, ".log") == 0)
		f->env = e;
	err = env_open_write(e->base.below, path, &f->below);
	if (err)
		free(f);
	else
		*out = &f->base;
	return err;
}

struct sync_arg {
	struct test_db *t;
	struct tape_env *env;
	int id;
};

static void *sync_each(void *arg)
{
	const struct sync_arg *a = arg;
	char key[32];

	for (int i = 0; i < 100; i++) {
		bool durable;

		snprintf(key, sizeof(key), "<%d-%d>", a->id, i);
		CK_OK(put_with(a->t, &with_sync, key, ""));
		mutex_lock(&a->env->mu);
		durable = memmem(a->env->bytes.data, a->env->durable, key,
				 strlen(key));
		mutex_unlock(&a->env->mu);
		ck_assert_msg(durable, "%s", key);
	}
	return NULL;
}

START_TEST(a_writer_waits_for_a_sync_that_began_after_its_write)
{
	struct sync_arg args[N_THREADS];
	pthread_t threads[N_THREADS];
	struct tape_env env = { .durable = 0 };
	struct test_db t;

	tdb_init(&t, NULL);
	gate_init(&env.base, t.env, "");
	env.base.ops.open_write = tape_open_write;
	mutex_init(&env.mu);
	cairn_options_set_env(t.opts, &env.base.base);
	tdb_open(&t);
	for (int i = 0; i < N_THREADS; i++) {
		args[i] = (struct sync_arg){ &t, &env, i };
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, sync_each, &args[i]),
			0);
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	/* No key was looked for that lies in two blocks. */
	ck_assert_uint_lt(env.bytes.len, RECORD_BLOCK_LEN);
	tdb_fini(&t);
	buf_fini(&env.bytes);
	mutex_fini(&env.mu);
	gate_fini(&env.base);
}
END_TEST

/* ------------------------------------------------------------------ failures
 */

static const struct {
	const char *name;
	unsigned op;
	int code;
} log_faults[] = {
	{ "append", ENV_FAULT_APPEND, CAIRN_EIO },
	{ "sync", ENV_FAULT_SYNC, CAIRN_EIO },
};

START_TEST(a_failing_log_makes_the_database_read_only_until_resumed)
{
	struct test_db t, u;
	char message[256];
	uint64_t seqno;

	tdb_init(&t, NULL);
	tdb_set(&t, "auto_resume", "false");
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_fail(&t, log_faults[_i].op, ".log", 1, false, log_faults[_i].code);
	CK_CODE(tdb_put_sync(&t, "b", "2"), CAIRN_EIO);
	/* The fault came once, but nobody may rely on the log any more. */
	CK_CODE(tdb_try_put(&t, "c", "3"), CAIRN_EROFS);
	CK_CODE(tdb_put_sync(&t, "c", "3"), CAIRN_EROFS);
	CK_CODE(cairn_wal_sync(t.db), CAIRN_EROFS);
	CK_CODE(cairn_flush(t.db, true), CAIRN_EROFS);
	CK_CODE(cairn_background_error(t.db, message, sizeof(message)),
		CAIRN_EIO);
	ck_assert_ptr_nonnull(strstr(message, ".log"));
	tdb_expect(&t, "a", "1");
	tdb_expect(&t, "c", NULL);

	seqno = seqno_of(&t);
	CK_OK(cairn_resume(t.db));
	CK_OK(cairn_background_error(t.db, message, sizeof(message)));
	ck_assert_str_eq(message, "");
	CK_OK(tdb_put_sync(&t, "c", "4"));
	/* The failed batch had number 2, and keeps it. */
	ck_assert_uint_ge(seqno_of(&t), 3);
	ck_assert_uint_gt(seqno_of(&t), seqno);
	open_clone(&t, &u, 0);
	tdb_expect(&u, "a", "1");
	tdb_expect(&u, "c", "4");
	tdb_fini(&u);
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	tdb_expect(&t, "c", "4");
	tdb_fini(&t);
}
END_TEST

START_TEST(resume_fails_as_long_as_the_fault_stays)
{
	struct test_db t;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_fail(&t, ENV_FAULT_WRITES, NULL, 1, true, CAIRN_EIO);
	CK_CODE(tdb_put_sync(&t, "b", "2"), CAIRN_EIO);
	for (int i = 0; i < 3; i++) {
		CK_CODE(cairn_resume(t.db), CAIRN_EIO);
		CK_CODE(tdb_try_put(&t, "c", "3"), CAIRN_EROFS);
		tdb_expect(&t, "a", "1");
	}
	env_fault_set(t.env, NULL);
	CK_OK(cairn_resume(t.db));
	tdb_put(&t, "c", "3");
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	tdb_expect(&t, "c", "3");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_log_that_found_no_space_recovers_by_itself)
{
	struct test_db t;
	int err;

	tdb_init(&t, NULL);
	tdb_open(&t);
	tdb_put(&t, "a", "1");
	tdb_fail(&t, ENV_FAULT_APPEND, ".log", 1, false, CAIRN_ENOSPC);
	CK_CODE(tdb_try_put(&t, "b", "2"), CAIRN_ENOSPC);
	do
		err = tdb_try_put(&t, "c", "3");
	while (err == CAIRN_ENOSPC);
	CK_OK(err);
	tdb_reopen(&t);
	tdb_expect(&t, "a", "1");
	tdb_expect(&t, "c", "3");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_log_that_cannot_be_created_fails_one_write_only)
{
	static const unsigned ops[] = { ENV_FAULT_CREATE, ENV_FAULT_APPEND,
					ENV_FAULT_SYNC, ENV_FAULT_SYNC_DIR };
	char key[16];
	int failed;

	for (size_t o = 0; o < N(ops); o++) {
		struct test_db t;

		failed = 0;
		tdb_init(&t, NULL);
		tdb_set(&t, "write_buffer_size", "4K");
		tdb_open(&t);
		/* The log of the first memtable is number 2. */
		for (int i = 0; i < 200; i++) {
			snprintf(key, sizeof(key), "%d", i);
			if (i == 5)
				tdb_fail(&t, ops[o],
					 ops[o] == ENV_FAULT_CREATE ? ".log"
					 : ops[o] == ENV_FAULT_SYNC_DIR
						 ? NULL
						 : "6.log",
					 1, false, CAIRN_EIO);
			if (tdb_try_put(&t, key, key)) {
				failed++;
				if (cairn_background_error(t.db, NULL, 0))
					CK_OK(cairn_resume(t.db));
				CK_OK(tdb_put_sync(&t, key, key));
			}
		}
		ck_assert_int_le(failed, 2);
		env_fault_set(t.env, NULL);
		tdb_reopen(&t);
		for (int i = 0; i < 200; i++) {
			snprintf(key, sizeof(key), "%d", i);
			tdb_expect(&t, key, key);
		}
		tdb_fini(&t);
	}
}
END_TEST

/* ---------------------------------------------------------- syncs and others
 */

/* A database whose log is synced when the test says so. */
struct gated {
	struct test_db t;
	struct gate_env gate;
};

static void gated_open(struct gated *g)
{
	tdb_init(&g->t, NULL);
	gate_init(&g->gate, g->t.env, ".log");
	g->gate.at_sync = true;
	cairn_options_set_env(g->t.opts, &g->gate.base);
	tdb_open(&g->t);
	tdb_put(&g->t, "first", "1");
	gate_set(&g->gate, false);
}

static void gated_close(struct gated *g)
{
	tdb_fini(&g->t);
	gate_fini(&g->gate);
}

struct sync_put {
	struct test_db *t;
	pthread_t thread;
	char key[16];
	int err;
};

static void *sync_put_main(void *arg)
{
	struct sync_put *p = arg;

	p->err = put_with(p->t, &with_sync, p->key, "1");
	return NULL;
}

/* Returns when the key can be read, so that what is left is the sync. */
static void sync_put_start(struct sync_put *p, struct test_db *t, int id)
{
	struct cairn_pinned v = { 0 };

	p->t = t;
	snprintf(p->key, sizeof(p->key), "sync%d", id);
	ck_assert_int_eq(pthread_create(&p->thread, NULL, sync_put_main, p), 0);
	while (cairn_get(t->db, NULL, slice_str(p->key), &v))
		env_sleep_us(t->mem, 100);
	cairn_pinned_release(&v);
}

static int sync_put_join(struct sync_put *p)
{
	pthread_join(p->thread, NULL);
	return p->err;
}

static uint64_t wal_syncs(struct test_db *t)
{
	struct cairn_metrics m;

	cairn_metrics_get(t->db, &m);
	return m.wal_syncs;
}

START_TEST(who_wants_no_sync_does_not_wait_for_that_of_another)
{
	struct sync_put p;
	struct gated g;
	char key[16];

	gated_open(&g);
	sync_put_start(&p, &g.t, 0);
	gate_await(&g.gate, 1);
	/* Nobody opens the gate meanwhile. */
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		tdb_put(&g.t, key, "1");
		tdb_expect(&g.t, key, "1");
	}
	gate_set(&g.gate, true);
	CK_OK(sync_put_join(&p));
	gated_close(&g);
}
END_TEST

START_TEST(who_comes_during_a_sync_shares_the_next_one)
{
	struct sync_put p[8];
	struct test_db u;
	struct gated g;
	uint64_t syncs;

	gated_open(&g);
	syncs = wal_syncs(&g.t);
	sync_put_start(&p[0], &g.t, 0);
	gate_await(&g.gate, 1);
	for (int i = 1; i < 8; i++)
		sync_put_start(&p[i], &g.t, i);
	gate_pass(&g.gate);
	CK_OK(sync_put_join(&p[0]));
	gate_await(&g.gate, 1);
	/* It says what was there when it began, no more. */
	open_clone(&g.t, &u, 0);
	tdb_expect(&u, "sync0", "1");
	tdb_fini(&u);
	gate_set(&g.gate, true);
	for (int i = 1; i < 8; i++)
		CK_OK(sync_put_join(&p[i]));
	ck_assert_uint_eq(wal_syncs(&g.t), syncs + 2);
	open_clone(&g.t, &u, 0);
	for (int i = 0; i < 8; i++)
		tdb_expect(&u, p[i].key, "1");
	tdb_fini(&u);
	gated_close(&g);
}
END_TEST

static void *flush_main(void *arg)
{
	struct gated *g = arg;

	CK_OK(cairn_flush(g->t.db, true));
	return NULL;
}

START_TEST(a_log_is_kept_until_its_sync_has_ended)
{
	struct sync_put p[2];
	pthread_t flusher;
	struct test_db u;
	struct gated g;

	gated_open(&g);
	sync_put_start(&p[0], &g.t, 0);
	gate_await(&g.gate, 1);
	sync_put_start(&p[1], &g.t, 1);
	ck_assert_int_eq(pthread_create(&flusher, NULL, flush_main, &g), 0);
	/* It waits for the log, or for the sync; either is right. */
	env_sleep_us(g.t.mem, 20000);
	gate_set(&g.gate, true);
	CK_OK(sync_put_join(&p[0]));
	CK_OK(sync_put_join(&p[1]));
	pthread_join(flusher, NULL);
	open_clone(&g.t, &u, 0);
	tdb_expect(&u, "sync0", "1");
	tdb_expect(&u, "sync1", "1");
	tdb_fini(&u);
	gated_close(&g);
}
END_TEST

START_TEST(a_failed_sync_fails_all_who_wait_for_one)
{
	struct sync_put p[4];
	struct gated g;

	gated_open(&g);
	sync_put_start(&p[0], &g.t, 0);
	gate_await(&g.gate, 1);
	for (int i = 1; i < 4; i++)
		sync_put_start(&p[i], &g.t, i);
	tdb_fail(&g.t, ENV_FAULT_SYNC, ".log", 1, false, CAIRN_EIO);
	gate_set(&g.gate, true);
	for (int i = 0; i < 4; i++)
		CK_CODE(sync_put_join(&p[i]), CAIRN_EIO);
	CK_CODE(tdb_try_put(&g.t, "a", "1"), CAIRN_EROFS);
	CK_OK(cairn_resume(g.t.db));
	CK_OK(tdb_put_sync(&g.t, "a", "1"));
	tdb_reopen(&g.t);
	tdb_expect(&g.t, "a", "1");
	tdb_expect(&g.t, "first", "1");
	gated_close(&g);
}
END_TEST

/* Everybody in a group hears of it, and nobody waits for ever. */
static void *write_until_refused(void *arg)
{
	struct writer_arg *a = arg;
	char key[32];

	for (int i = 0;; i++) {
		snprintf(key, sizeof(key), "%d-%d", a->id, i);
		if (put_with(a->t, i % 2 ? &with_sync : NULL, key, key))
			return NULL;
	}
}

START_TEST(all_writers_hear_of_a_failing_log)
{
	struct writer_arg args[N_THREADS];
	pthread_t threads[N_THREADS];

	for (uint64_t k = 5; k < 60; k += 9) {
		struct test_db t;

		tdb_init(&t, NULL);
		tdb_open(&t);
		tdb_fail(&t, ENV_FAULT_APPEND | ENV_FAULT_SYNC, ".log", k, true,
			 CAIRN_EIO);
		for (int i = 0; i < N_THREADS; i++) {
			args[i] = (struct writer_arg){ &t, i };
			ck_assert_int_eq(pthread_create(&threads[i], NULL,
							write_until_refused,
							&args[i]),
					 0);
		}
		for (int i = 0; i < N_THREADS; i++)
			pthread_join(threads[i], NULL);
		env_fault_set(t.env, NULL);
		CK_OK(cairn_resume(t.db));
		tdb_put(&t, "x", "y");
		tdb_fini(&t);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("commit");
	TCase *tc = tcase_create("batches");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, later_changes_of_a_batch_win);
	tcase_add_test(tc, an_empty_batch_takes_no_number);
	tcase_add_test(tc, what_is_over_the_limits_is_refused);
	tcase_add_test(tc, keys_and_values_of_all_sizes_come_back);
	tcase_add_test(tc, a_batch_larger_than_a_memtable_is_taken);
	suite_add_tcase(s, tc);

	tc = tcase_create("durability");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_acknowledged_write_survives_a_kill);
	tcase_add_test(tc, a_synced_write_survives_a_cut_with_all_before_it);
	tcase_add_test(tc,
		       a_sync_in_a_new_log_covers_the_old_one_and_its_own_name);
	tcase_add_test(
		tc,
		writes_without_log_are_lost_until_flushed_and_harm_no_others);
	tcase_add_test(tc, a_gap_between_two_logs_is_no_damage);
	suite_add_tcase(s, tc);

	tc = tcase_create("threads");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc,
		       writers_at_once_all_get_their_numbers_and_their_data);
	tcase_add_test(tc, a_snapshot_sees_batches_whole);
	tcase_add_test(tc, a_snapshot_during_a_flush_loses_nothing);
	tcase_add_test(tc, a_snapshot_sees_its_own_moment_whatever_is_flushed);
	tcase_add_test(tc,
		       a_writer_waits_for_a_sync_that_began_after_its_write);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
		tc, a_failing_log_makes_the_database_read_only_until_resumed, 0,
		(int)N(log_faults));
	tcase_add_test(tc, resume_fails_as_long_as_the_fault_stays);
	tcase_add_test(tc, a_log_that_found_no_space_recovers_by_itself);
	tcase_add_test(tc, a_log_that_cannot_be_created_fails_one_write_only);
	tcase_add_test(tc, who_wants_no_sync_does_not_wait_for_that_of_another);
	tcase_add_test(tc, who_comes_during_a_sync_shares_the_next_one);
	tcase_add_test(tc, a_log_is_kept_until_its_sync_has_ended);
	tcase_add_test(tc, a_failed_sync_fails_all_who_wait_for_one);
	tcase_add_test(tc, all_writers_hear_of_a_failing_log);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
