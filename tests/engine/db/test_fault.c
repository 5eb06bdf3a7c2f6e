/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault loops: the k-th operation of a class on a kind of file fails, once or
 * from then on, for k = 1, 2, ... until a run ends without one. Each time the
 * same 200 operations run against a model:
 *
 *   - what fails says so, and names the file
 *   - reads go on; what was acknowledged is there, at once, after a kill and
 *     after reopening; what was synced is there after a power cut
 *   - a database that refuses writes says why, and when the fault is gone it
 *     takes them again without being reopened
 *
 * By default k goes up in steps, so that all of it takes some seconds;
 * CAIRN_FAULT=all tries every k.
 */
#include <stdlib.h>

#include "tests/support/db_test.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define N_KEYS   16
#define N_OPS    200
#define MAYBE    256
/* Where a fault that stays is removed at last. */
#define FAULT_GONE 150

/* An operation is known by its number; -1 is that of a key that is not there.
 */
struct model {
	int acked;
	int maybe[MAYBE]; /* failed, after the acknowledged one */
	int n_maybe;
	/* What a power cut may leave: all since the last sync. */
	int since[MAYBE];
	int n_since;
};

struct run {
	struct test_db t;
	struct model keys[N_KEYS];
	const struct fault *fault;
	uint64_t k;
	bool sticky;
	bool cleared;
	bool hit;
	unsigned n_cuts;
	unsigned n_failed;
};

static const struct fault {
	const char *name;
	unsigned ops;
	const char *path; /* NULL: any */
	int code;
	bool partial; /* short writes; syncs that lose what they should keep */
	unsigned step;
} faults[] = {
	{ "create log", ENV_FAULT_CREATE, ".log", CAIRN_EIO, false, 1 },
	{ "create table", ENV_FAULT_CREATE, ".sst", CAIRN_ENOSPC, false, 2 },
	{ "create table", ENV_FAULT_CREATE, ".sst", CAIRN_EIO, false, 2 },
	{ "create MANIFEST", ENV_FAULT_CREATE, "MANIFEST", CAIRN_EIO, false,
	  1 },
	{ "append log", ENV_FAULT_APPEND, ".log", CAIRN_EIO, true, 17 },
	{ "append log", ENV_FAULT_APPEND, ".log", CAIRN_ENOSPC, true, 31 },
	{ "append table", ENV_FAULT_APPEND, ".sst", CAIRN_ENOSPC, true, 3 },
	{ "append table", ENV_FAULT_APPEND, ".sst", CAIRN_EIO, false, 3 },
	{ "append MANIFEST", ENV_FAULT_APPEND, "MANIFEST", CAIRN_ENOSPC, true,
	  3 },
	{ "append CURRENT", ENV_FAULT_APPEND, ".dbtmp", CAIRN_ENOSPC, true, 1 },
	{ "sync log", ENV_FAULT_SYNC, ".log", CAIRN_EIO, true, 5 },
	{ "sync table", ENV_FAULT_SYNC, ".sst", CAIRN_EIO, true, 2 },
	{ "sync MANIFEST", ENV_FAULT_SYNC, "MANIFEST", CAIRN_EIO, true, 3 },
	{ "sync CURRENT", ENV_FAULT_SYNC, ".dbtmp", CAIRN_EIO, true, 1 },
	{ "sync directory", ENV_FAULT_SYNC_DIR, NULL, CAIRN_EIO, true, 3 },
	{ "close log", ENV_FAULT_CLOSE, ".log", CAIRN_EIO, false, 3 },
	{ "close table", ENV_FAULT_CLOSE, ".sst", CAIRN_EIO, false, 3 },
	{ "rename", ENV_FAULT_RENAME, NULL, CAIRN_EIO, false, 1 },
	{ "unlink", ENV_FAULT_UNLINK, NULL, CAIRN_EIO, false, 7 },
	{ "open table", ENV_FAULT_OPEN_READ, ".sst", CAIRN_EIO, false, 2 },
	{ "open table", ENV_FAULT_OPEN_READ, ".sst", CAIRN_ENOMEM, false, 5 },
	{ "read table", ENV_FAULT_READ, ".sst", CAIRN_EIO, false, 11 },
	{ "read", ENV_FAULT_READ, NULL, CAIRN_ENOMEM, false, 23 },
	{ "stat, list", ENV_FAULT_STAT | ENV_FAULT_LIST, NULL, CAIRN_EIO, false,
	  3 },
	{ "preallocate", ENV_FAULT_PREALLOCATE, NULL, CAIRN_ENOSPC, false, 3 },
	{ "any write", ENV_FAULT_WRITES, NULL, CAIRN_ENOMEM, false, 41 },
};

/* ---------------------------------------------------------------- the model */

static void value_text(char *out, size_t len, int op)
{
	snprintf(out, len, "%d %0*d", op, 40 + op * 7 % 120, op);
}

static void key_name(char *out, size_t len, int key)
{
	snprintf(out, len, "key%02d", key);
}

static void since_add(struct model *m, int op)
{
	ck_assert_int_lt(m->n_since, MAYBE);
	m->since[m->n_since++] = op;
}

static void model_init(struct run *r)
{
	for (int i = 0; i < N_KEYS; i++) {
		r->keys[i] = (struct model){ .acked = -1 };
		since_add(&r->keys[i], -1);
	}
}

static void model_acked(struct run *r, int key, int op)
{
	struct model *m = &r->keys[key];

	m->acked = op;
	m->n_maybe = 0;
	since_add(m, op);
}

static void model_failed(struct run *r, int key, int op)
{
	struct model *m = &r->keys[key];

	ck_assert_int_lt(m->n_maybe, MAYBE);
	m->maybe[m->n_maybe++] = op;
	since_add(m, op);
}

/* Everything acknowledged is durable now. */
static void model_synced(struct run *r)
{
	for (int i = 0; i < N_KEYS; i++) {
		struct model *m = &r->keys[i];

		m->n_since = 0;
		since_add(m, m->acked);
		for (int k = 0; k < m->n_maybe; k++)
			since_add(m, m->maybe[k]);
	}
}

static bool one_of(int v, const int *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i] == v)
			return true;
	return false;
}

/* ----------------------------------------------------------------- checking */

/* The operation that a key's value is from. */
static int read_key(struct cairn_db *db, int key, int *from)
{
	struct cairn_pinned p = { 0 };
	char name[16], value[256], want[256];
	int err;

	key_name(name, sizeof(name), key);
	err = cairn_get(db, NULL, slice_str(name), &p);
	*from = -1;
	if (err)
		return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
	ck_assert_uint_lt(p.value.len, sizeof(value));
	memcpy(value, p.value.data, p.value.len);
	value[p.value.len] = '\0';
	cairn_pinned_release(&p);
	*from = atoi(value);
	value_text(want, sizeof(want), *from);
	ck_assert_str_eq(value, want);
	return CAIRN_OK;
}

/* This thread was told of a failure. */
static void check_message(struct run *r, int err, const char *what)
{
	const char *file = r->fault->path ? r->fault->path : TEST_DIR;

	ck_assert_msg(strstr(cairn_errmsg(), file),
		      "%s %llu: %s failed (%s) and does not name %s: %s",
		      r->fault->name, (unsigned long long)r->k, what,
		      cairn_strerror(err), file, cairn_errmsg());
}

static void check_keys(struct run *r, struct cairn_db *db, bool cut,
		       const char *when)
{
	for (int i = 0; i < N_KEYS; i++) {
		const struct model *m = &r->keys[i];
		int from;

		/* The fault may be one of reading. */
		if (read_key(db, i, &from)) {
			ck_assert(db == r->t.db && !r->cleared);
			check_message(r, CAIRN_EIO, "a get");
			continue;
		}
		ck_assert_msg(cut ? one_of(from, m->since, m->n_since)
				  : from == m->acked || one_of(from, m->maybe,
							       m->n_maybe),
			      "%s %llu%s, %s: key %d is from %d, not %d",
			      r->fault->name, (unsigned long long)r->k,
			      r->sticky ? " and on" : "", when, i, from,
			      m->acked);
	}
}

/* A copy as a kill (keep 100) or a power cut (0) leaves it, on a sound disk. */
static void check_clone(struct run *r, unsigned keep)
{
	struct test_db t;

	tdb_init(&t, env_mem_crash_clone(r->t.mem, r->k, keep));
	tdb_open(&t);
	check_keys(r, t.db, keep == 0, keep ? "killed" : "cut");
	tdb_fini(&t);
}

/* Who refuses writes says so. */
static void check_refusal(struct run *r)
{
	char message[1024] = "";
	int code = CAIRN_OK;

	/* It may be over, or may have been about one call only. */
	if (r->t.db)
		code = cairn_background_error(r->t.db, message,
					      sizeof(message));
	ck_assert((code == CAIRN_OK) == (message[0] == '\0'));
}

static void failed(struct run *r, int err, const char *what)
{
	check_message(r, err, what);
	check_refusal(r);
	if (r->n_failed++)
		return;
	check_clone(r, 100);
	check_clone(r, 0);
}

static void clear_fault(struct run *r)
{
	r->hit = r->hit || env_fault_hits(r->t.env) > 0;
	env_fault_set(r->t.env, NULL);
	r->cleared = true;
}

/* ----------------------------------------------------------------- workload */

static void set_options(struct test_db *t)
{
	tdb_set(t, "write_buffer_size", "4K");
	tdb_set(t, "l0_compaction_trigger", "2");
	tdb_set(t, "target_file_size", "2K");
	tdb_set(t, "base_level_size", "4K");
	tdb_set(t, "max_manifest_size", "2K");
	tdb_set(t, "block_cache_size", "0");
	tdb_set(t, "max_open_files", "2");
}

static void change(struct run *r, int op)
{
	struct cairn_write_options o = { .sync = op % 7 == 0 };
	int key = op * 5 % N_KEYS;
	bool deletes = op % 6 == 5;
	char name[16], value[256];
	int err;

	key_name(name, sizeof(name), key);
	value_text(value, sizeof(value), op);
	err = deletes ? cairn_delete(r->t.db, &o, slice_str(name))
		      : cairn_put(r->t.db, &o, slice_str(name),
				  slice_str(value));
	if (err) {
		model_failed(r, key, deletes ? -1 : op);
		failed(r, err, "a write");
		return;
	}
	model_acked(r, key, deletes ? -1 : op);
	if (!o.sync)
		return;
	model_synced(r);
	/* The first sync that succeeds after the fault came: in truth? */
	if (env_fault_hits(r->t.env) && !r->n_cuts++)
		check_clone(r, 0);
}

static void look(struct run *r, int op)
{
	int key = op * 3 % N_KEYS, from;
	const struct model *m = &r->keys[key];
	int err = read_key(r->t.db, key, &from);

	if (err) {
		failed(r, err, "a get");
		return;
	}
	ck_assert_msg(from == m->acked || one_of(from, m->maybe, m->n_maybe),
		      "%s %llu: op %d: key %d is from %d, not %d",
		      r->fault->name, (unsigned long long)r->k, op, key, from,
		      m->acked);
}

/* Close and open, and should that fail, again on a sound disk. */
static void reopen(struct run *r)
{
	int err = cairn_close(r->t.db);

	r->t.db = NULL;
	if (err)
		failed(r, err, "closing");
	err = cairn_open(TEST_DIR, r->t.opts, &r->t.db);
	if (err) {
		r->t.db = NULL;
		failed(r, err, "opening");
		clear_fault(r);
		tdb_open(&r->t);
	}
	check_keys(r, r->t.db, false, "reopened");
}

static void note(struct run *r, int err, const char *what)
{
	if (err)
		failed(r, err, what);
}

static void run_op(struct run *r, int op)
{
	const struct cairn_slice all = { NULL, 0 };

	if (op % 40 == 39)
		note(r, cairn_flush(r->t.db, true), "a flush");
	else if (op == 120)
		note(r, cairn_compact_range(r->t.db, all, all, NULL),
		     "a compaction");
	else if (op == 100 && !r->sticky)
		reopen(r);
	else if (op % 3 == 2)
		look(r, op);
	else
		change(r, op);
}

/* The fault is gone: writes must be taken again, without reopening. */
static void check_resumed(struct run *r)
{
	static const struct cairn_write_options sync = { .sync = true };
	char message[1024];

	clear_fault(r);
	CK_OK(cairn_resume(r->t.db));
	CK_OK(cairn_put(r->t.db, &sync, slice_str("again"),
			slice_str("works")));
	model_synced(r);
	ck_assert_int_eq(
		cairn_background_error(r->t.db, message, sizeof(message)),
		CAIRN_OK);
	check_keys(r, r->t.db, false, "resumed");
	check_clone(r, 0);
}

static bool run_with(const struct fault *fault, uint64_t k, bool sticky)
{
	struct env_fault_rule rule = {
		.ops = fault->ops,
		.path = fault->path,
		.nth = k,
		.sticky = sticky,
		.code = fault->code,
		.partial = fault->partial,
	};
	struct run r = { .fault = fault, .k = k, .sticky = sticky };

	model_init(&r);
	tdb_init(&r.t, NULL);
	set_options(&r.t);
	tdb_open(&r.t);
	env_fault_set(r.t.env, &rule);
	for (int op = 0; op < N_OPS; op++) {
		if (op == FAULT_GONE)
			check_resumed(&r);
		run_op(&r, op);
	}
	if (r.t.db)
		reopen(&r);
	tdb_expect(&r.t, "again", "works");
	CK_OK(cairn_verify_checksums(r.t.db));
	tdb_fini(&r.t);
	return r.hit;
}

START_TEST(a_failure_loses_nothing_and_is_got_over)
{
	const char *how = getenv("CAIRN_FAULT");
	bool every = how && strcmp(how, "all") == 0;
	unsigned step = every ? 1 : faults[_i].step;

	uint64_t n = 0;

	for (uint64_t k = 1; run_with(&faults[_i], k, false); k += step)
		n++;
	/* There is such an operation. */
	ck_assert_uint_gt(n, 0);
	for (uint64_t k = 1; run_with(&faults[_i], k, true); k += step)
		/* Later ones differ by where it begins only. */
		if (!every && k > step * 4)
			break;
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fault");
	TCase *tc = tcase_create("fault loops");

	tcase_set_timeout(tc, 1200);
	tcase_add_loop_test(tc, a_failure_loses_nothing_and_is_got_over, 0,
			    (int)N(faults));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
