/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations fail: the k-th one of a workload, once or from then on, of the
 * calling thread or of those in the background, for k = 1, 2, ... until a run
 * ends without. Each time
 *
 *   - who fails says so, and has changed nothing
 *   - what was acknowledged is there, at once and after reopening
 *   - nothing is leaked, and closing works
 *   - when there is memory again writes are taken again
 *
 * By default k goes up in steps; CAIRN_ALLOC=full tries every k.
 */
#include "tests/support/alloc_fail.h"

#include "tests/support/db_test.h"

#define N(array)  (sizeof(array) / sizeof((array)[0]))
#define N_KEYS    40
#define VALUE_MAX 512
/* Of a workload in a mode. */
#define SOME 6

/* "" is a key that is not there. */
struct model {
	char value[N_KEYS][VALUE_MAX];
};

struct run {
	const struct workload *w;
	struct cairn_env *image;
	struct test_db t;
	struct model now;
	/* What it is after the next write, when there is memory again. */
	struct model later;
	bool has_later;
};

struct workload {
	const char *name;
	void (*work)(struct run *r);
	bool opens; /* the work opens the database itself */
	bool empty; /* there is none before */
	int modes;
};

/*
 * Whether a call succeeded. If not then because there was no memory, or, for
 * writes, because there was none before.
 */
static bool ok(int err, const char *what)
{
	if (!err)
		return true;
	must(alloc_fail_hit(), "%s: %s: %s", what, cairn_strerror(err),
	     cairn_errmsg());
	must(err == CAIRN_ENOMEM || err == CAIRN_EROFS ||
		     (err == CAIRN_EIO &&
		      strstr(cairn_errmsg(), "cannot start")),
	     "%s without memory: %s: %s", what, cairn_strerror(err),
	     cairn_errmsg());
	must(strstr(cairn_errmsg(), "memory") ||
		     strstr(cairn_errmsg(), "cannot start"),
	     "%s without memory says: %s", what, cairn_errmsg());
	return false;
}

/* ---------------------------------------------------------------- the model */

static struct cairn_slice key_of(int i, char text[8])
{
	snprintf(text, 8, "key%02d", i);
	return slice_str(text);
}

static struct cairn_slice value_of(int i, int op, char text[VALUE_MAX])
{
	snprintf(text, VALUE_MAX, "%d:%d %0*d", i, op, 20 + i * 7 % 90, op);
	return slice_str(text);
}

static void model_put(struct model *m, int i, const char *value)
{
	snprintf(m->value[i], VALUE_MAX, "%s", value);
}

static void model_merge(struct model *m, int i, const char *operand)
{
	size_t len = strlen(m->value[i]);

	snprintf(m->value[i] + len, VALUE_MAX - len, "%s%s", len ? "," : "",
		 operand);
}

static void model_delete_range(struct model *m, int from, int to)
{
	for (int i = from; i < to; i++)
		m->value[i][0] = '\0';
}

/* Both directions. */
static void check_iter(struct cairn_iter *it, const struct model *m,
		       const char *when)
{
	bool on = cairn_iter_first(it);
	int i;

	for (i = 0; i < N_KEYS; i++) {
		char key[8];

		if (!m->value[i][0])
			continue;
		must(on, "%s: the scan ends before %d", when, i);
		must(slice_eq(cairn_iter_key(it), key_of(i, key)) &&
			     slice_eq(cairn_iter_value(it),
				      slice_str(m->value[i])),
		     "%s: not %s, but %.*s", when, key,
		     (int)cairn_iter_key(it).len, cairn_iter_key(it).data);
		on = cairn_iter_next(it);
	}
	must(!on && !cairn_iter_status(it), "%s: more than there is", when);
	on = cairn_iter_last(it);
	while (i-- > 0) {
		char key[8];

		if (!m->value[i][0])
			continue;
		must(on && slice_eq(cairn_iter_key(it), key_of(i, key)) &&
			     slice_eq(cairn_iter_value(it),
				      slice_str(m->value[i])),
		     "%s: backward, not at %d", when, i);
		on = cairn_iter_prev(it);
	}
	must(!cairn_iter_status(it), "%s: %s", when, cairn_errmsg());
}

/* There is memory for this. */
static void check_db(struct cairn_db *db, const struct model *m,
		     const char *when)
{
	struct cairn_iter *it;

	alloc_fail_pause();
	for (int i = 0; i < N_KEYS; i++) {
		struct cairn_pinned p = { 0 };
		char key[8];
		int err = cairn_get(db, NULL, key_of(i, key), &p);

		must(err == (m->value[i][0] ? CAIRN_OK : CAIRN_NOT_FOUND),
		     "%s: %s: %s: %s", when, key, cairn_strerror(err),
		     err < 0 ? cairn_errmsg() : m->value[i]);
		must(slice_eq(p.value, slice_str(m->value[i])),
		     "%s: %s is %.*s, not %s", when, key, (int)p.value.len,
		     (const char *)p.value.data, m->value[i]);
		cairn_pinned_release(&p);
	}
	must(!cairn_iter_new(db, NULL, &it), "%s: %s", when, cairn_errmsg());
	check_iter(it, m, when);
	cairn_iter_free(it);
	alloc_fail_go_on();
}

/* ----------------------------------------------------------------- workload */

static void set_options(struct test_db *t)
{
	tdb_set(t, "merge_operator", "stringappend");
	tdb_set(t, "write_buffer_size", "64K");
	tdb_set(t, "block_size", "256");
	tdb_set(t, "target_file_size", "2K");
	tdb_set(t, "base_level_size", "8K");
	tdb_set(t, "l0_compaction_trigger", "2");
	tdb_set(t, "auto_compactions", "false");
	tdb_set(t, "compression", "zstd");
	tdb_set(t, "max_background_jobs", "1");
	tdb_set(t, "flush_rate", "0");
	tdb_set(t, "delete_rate", "0");
	tdb_set(t, "disk_reserve", "0");
}

static void put(struct run *r, int i, int op)
{
	char key[8], value[VALUE_MAX];
	struct cairn_slice v = value_of(i, op, value);

	if (ok(cairn_put(r->t.db, NULL, key_of(i, key), v), "a put"))
		model_put(&r->now, i, value);
}

static void delete (struct run *r, int i)
{
	char key[8];

	if (ok(cairn_delete(r->t.db, NULL, key_of(i, key)), "a delete"))
		r->now.value[i][0] = '\0';
}

static void merge(struct run *r, int i, const char *operand)
{
	char key[8];

	if (ok(cairn_merge(r->t.db, NULL, key_of(i, key), slice_str(operand)),
	       "a merge"))
		model_merge(&r->now, i, operand);
}

static void delete_range(struct run *r, int from, int to)
{
	char a[8], b[8];

	if (ok(cairn_delete_range(r->t.db, NULL, key_of(from, a),
				  key_of(to, b)),
	       "a range delete"))
		model_delete_range(&r->now, from, to);
}

/* Something of everything: in two levels, a memtable and a log. */
static void prepare(struct run *r)
{
	const struct cairn_slice all = { NULL, 0 };

	for (int i = 0; i < N_KEYS; i++)
		put(r, i, 1);
	delete_range(r, 3, 6);
	CK_OK(cairn_flush(r->t.db, true));
	CK_OK(cairn_compact_range(r->t.db, all, all, NULL));
	for (int i = 0; i < N_KEYS; i += 3)
		put(r, i, 2);
	merge(r, 5, "five");
	merge(r, 7, "seven");
	delete_range(r, 20, 24);
	CK_OK(cairn_flush(r->t.db, true));
	for (int i = 0; i < N_KEYS; i += 7)
		put(r, i, 3);
	merge(r, 7, "and again");
	merge(r, 21, "anew");
	delete_range(r, 30, 32);
	delete (r, 33);
}

static bool open_db(struct run *r)
{
	r->t.db = NULL;
	if (ok(cairn_open(TEST_DIR, r->t.opts, &r->t.db), "opening"))
		return true;
	must(!r->t.db, "a failed open returns something");
	return false;
}

static void close_db(struct run *r)
{
	int err = cairn_close(r->t.db);

	must(err != CAIRN_EBUSY, "closing: %s", cairn_errmsg());
	ok(err, "closing");
	r->t.db = NULL;
}

static void work_open(struct run *r)
{
	if (open_db(r)) {
		check_db(r->t.db, &r->now, "opened");
		close_db(r);
	}
}

static void work_open_read_only(struct run *r)
{
	struct cairn_options *o = cairn_options_clone(r->t.opts);

	if (!o) {
		must(alloc_fail_hit(), "no options");
		return;
	}
	if (ok(cairn_options_set(o, "read_only", "true"), "an option") &&
	    ok(cairn_open(TEST_DIR, o, &r->t.db), "opening")) {
		check_db(r->t.db, &r->now, "read-only");
		close_db(r);
	}
	cairn_options_free(o);
}

static void work_options(struct run *r)
{
	struct cairn_options *o = cairn_options_new(), *copy = NULL;

	(void)r;
	if (!o) {
		must(alloc_fail_hit(), "no options");
		return;
	}
	if (ok(cairn_options_set(o, "merge_operator",
				 "{id=StringAppendOperator;delimiter=|;}"),
	       "an option") &&
	    ok(cairn_options_set_lock_note(o, "a note"), "a note")) {
		copy = cairn_options_clone(o);
		must(copy || alloc_fail_hit(), "no clone");
	}
	ok(cairn_options_set(o, "write_buffer_size", "1M"), "an option");
	cairn_options_free(copy);
	cairn_options_free(o);
}

static void work_write(struct run *r)
{
	for (int i = 1; i < 6; i++) {
		put(r, i * 5, 10 + i);
		delete (r, i * 6);
		merge(r, i * 4, "merged");
		delete_range(r, i * 3, i * 3 + 2);
	}
	check_db(r->t.db, &r->now, "written");
}

/* Logs and memtables are changed, flushes and compactions go on. */
static void work_fill(struct run *r)
{
	static const struct cairn_write_options sync = { .sync = true };

	for (int op = 0; op < 30; op++) {
		char value[8000];
		int i = op % N_KEYS, err;

		memset(value, 'a' + op % 26, sizeof(value) - 1);
		for (size_t n = 0; n < sizeof(value); n += 2)
			value[n] = (char)('!' + (n * n + (size_t)op) % 90);
		value[sizeof(value) - 1] = '\0';
		/* Behind all keys of the model's. */
		err = cairn_put(r->t.db, op % 5 ? NULL : &sync,
				slice_str("large"), slice_str(value));
		ok(err, "a large put");
		put(r, i, op);
	}
	alloc_fail_pause();
	/* It may need what cannot be had in the background. */
	if (cairn_delete(r->t.db, NULL, slice_str("large"))) {
		must(alloc_fail_hit(), "a delete: %s", cairn_errmsg());
		alloc_fail_disarm();
		must(!cairn_resume(r->t.db), "resume: %s", cairn_errmsg());
		must(!cairn_delete(r->t.db, NULL, slice_str("large")), "%s",
		     cairn_errmsg());
	}
	alloc_fail_go_on();
}

static void work_wal_sync(struct run *r)
{
	put(r, 1, 20);
	ok(cairn_wal_sync(r->t.db), "a sync");
	put(r, 2, 21);
	ok(cairn_wal_sync(r->t.db), "a sync");
	check_db(r->t.db, &r->now, "synced");
}

/* Three changes, and one taken back. */
static void work_batch(struct run *r)
{
	struct cairn_batch *b = cairn_batch_new();
	struct model m = r->now;
	char key[8], to[8], value[VALUE_MAX];

	if (!b) {
		must(alloc_fail_hit(), "no batch");
		return;
	}
	for (int i = 0; i < N_KEYS; i += 2)
		if (ok(cairn_batch_put(b, key_of(i, key),
				       value_of(i, 30, value)),
		       "a put"))
			model_put(&m, i, value);
	if (ok(cairn_batch_set_savepoint(b), "a savepoint")) {
		ok(cairn_batch_delete(b, key_of(9, key)), "a delete");
		ok(cairn_batch_rollback(b), "a rollback");
	}
	if (ok(cairn_batch_merge(b, key_of(9, key), slice_str("merged")),
	       "a merge"))
		model_merge(&m, 9, "merged");
	if (ok(cairn_batch_delete_range(b, key_of(10, key), key_of(13, to)),
	       "a range"))
		model_delete_range(&m, 10, 13);
	ok(cairn_batch_log_data(b, slice_str("said")), "log data");
	if (ok(cairn_write(r->t.db, NULL, b), "a batch"))
		r->now = m;
	check_db(r->t.db, &r->now, "batch");
	cairn_batch_free(b);
}

static void check_batch_iter(struct cairn_iter *it, const struct model *m)
{
	alloc_fail_pause();
	check_iter(it, m, "batch iterator");
	alloc_fail_go_on();
}

static void work_indexed_batch(struct run *r)
{
	struct cairn_batch *b = cairn_batch_new_indexed();
	struct cairn_iter *it = NULL;
	struct model m = r->now;
	char key[8], to[8], value[VALUE_MAX];

	if (!b) {
		must(alloc_fail_hit(), "no batch");
		return;
	}
	for (int i = 0; i < N_KEYS; i += 4)
		if (ok(cairn_batch_put(b, key_of(i, key),
				       value_of(i, 40, value)),
		       "a put"))
			model_put(&m, i, value);
	if (ok(cairn_batch_merge(b, key_of(7, key), slice_str("merged")),
	       "a merge"))
		model_merge(&m, 7, "merged");
	if (ok(cairn_batch_delete_range(b, key_of(10, key), key_of(13, to)),
	       "a range"))
		model_delete_range(&m, 10, 13);
	for (int i = 0; i < N_KEYS; i++) {
		struct cairn_pinned p = { 0 };
		int err = cairn_batch_get(r->t.db, NULL, b, key_of(i, key), &p);

		if (err == CAIRN_NOT_FOUND)
			must(!m.value[i][0], "%s is not there", key);
		else if (ok(err, "a get"))
			must(slice_eq(p.value, slice_str(m.value[i])), "%s",
			     key);
		cairn_pinned_release(&p);
	}
	if (ok(cairn_batch_iter_new(r->t.db, NULL, b, &it), "an iterator"))
		check_batch_iter(it, &m);
	if (ok(cairn_batch_set_savepoint(b), "a savepoint")) {
		struct model before = m;
		int err;

		if (ok(cairn_batch_delete(b, key_of(8, key)), "a delete"))
			m.value[8][0] = '\0';
		if (it && ok(cairn_batch_iter_refresh(it, b), "a refresh"))
			check_batch_iter(it, &m);
		err = cairn_batch_rollback(b);
		if (ok(err, "a rollback"))
			m = before;
	}
	if (it && ok(cairn_batch_iter_refresh(it, b), "a refresh"))
		check_batch_iter(it, &m);
	if (ok(cairn_write(r->t.db, NULL, b), "a batch"))
		r->now = m;
	cairn_batch_free(b);
	cairn_iter_free(it);
	check_db(r->t.db, &r->now, "batch");
}

/* More than half a memtable. */
static void work_large_batch(struct run *r)
{
	struct cairn_batch *b = cairn_batch_new();
	struct model m = r->now;
	char key[8], value[VALUE_MAX];

	if (!b) {
		must(alloc_fail_hit(), "no batch");
		return;
	}
	for (int i = 0; i < 1000; i++)
		if (ok(cairn_batch_put(b, key_of(i % N_KEYS, key),
				       value_of(i % N_KEYS, i, value)),
		       "a put"))
			model_put(&m, i % N_KEYS, value);
	if (ok(cairn_write(r->t.db, NULL, b), "a large batch"))
		r->now = m;
	check_db(r->t.db, &r->now, "large batch");
	put(r, 3, 50);
	cairn_batch_free(b);
	ok(cairn_flush(r->t.db, true), "a flush");
}

static void work_no_wal(struct run *r)
{
	static const struct cairn_write_options o = { .disable_wal = true };
	struct model before = r->now;
	char key[8], value[VALUE_MAX];

	for (int i = 0; i < N_KEYS; i += 3) {
		struct cairn_slice v = value_of(i, 60, value);

		if (ok(cairn_put(r->t.db, &o, key_of(i, key), v), "a put"))
			model_put(&r->now, i, value);
	}
	check_db(r->t.db, &r->now, "without WAL");
	/* What could not be flushed may be gone. */
	if (ok(cairn_close(r->t.db), "closing"))
		before = r->now;
	r->t.db = NULL;
	alloc_fail_pause();
	tdb_open(&r->t);
	for (int i = 0; i < N_KEYS; i++) {
		struct cairn_pinned p = { 0 };
		int err = cairn_get(r->t.db, NULL, key_of(i, key), &p);

		if (!err && slice_eq(p.value, slice_str(r->now.value[i])))
			before = r->now;
		cairn_pinned_release(&p);
		if (i % 3 == 0)
			break;
	}
	r->now = before;
	check_db(r->t.db, &r->now, "without WAL, reopened");
	alloc_fail_go_on();
}

static void work_get(struct run *r)
{
	struct cairn_slice keys[N_KEYS];
	struct cairn_pinned values[N_KEYS] = { 0 };
	char text[N_KEYS][8];
	int codes[N_KEYS];

	for (int i = 0; i < N_KEYS; i++) {
		struct cairn_pinned p = { 0 };
		int err = cairn_get(r->t.db, NULL, key_of(i, text[i]), &p);

		keys[i] = slice_str(text[i]);
		if (err == CAIRN_NOT_FOUND)
			must(!r->now.value[i][0], "%s is not there", text[i]);
		else if (ok(err, "a get"))
			must(slice_eq(p.value, slice_str(r->now.value[i])),
			     "%s", text[i]);
		cairn_pinned_release(&p);
	}
	ok(cairn_multi_get(r->t.db, NULL, keys, N_KEYS, values, codes),
	   "many gets");
	for (int i = 0; i < N_KEYS; i++) {
		if (codes[i] == CAIRN_NOT_FOUND)
			must(!r->now.value[i][0], "%s is not there", text[i]);
		else if (ok(codes[i], "one of many gets"))
			must(slice_eq(values[i].value,
				      slice_str(r->now.value[i])),
			     "%s", text[i]);
		cairn_pinned_release(&values[i]);
	}
}

/* A walk that ends early does so with a failure. */
static void walk(struct run *r, struct cairn_iter *it, bool forward)
{
	int i = forward ? -1 : N_KEYS;
	bool on = forward ? cairn_iter_first(it) : cairn_iter_last(it);

	for (;;) {
		char key[8];

		do
			i += forward ? 1 : -1;
		while (i >= 0 && i < N_KEYS && !r->now.value[i][0]);
		if (!on)
			break;
		must(i >= 0 && i < N_KEYS, "too many keys");
		must(slice_eq(cairn_iter_key(it), key_of(i, key)),
		     "not at %s, but at %.*s", key, (int)cairn_iter_key(it).len,
		     cairn_iter_key(it).data);
		must(slice_eq(cairn_iter_value(it), slice_str(r->now.value[i])),
		     "%s has another value", key);
		if (i == 7) {
			struct cairn_pinned p = { 0 };

			if (ok(cairn_iter_pin_value(it, &p), "pinning"))
				must(slice_eq(p.value,
					      slice_str(r->now.value[i])),
				     "another value pinned");
			cairn_pinned_release(&p);
		}
		on = forward ? cairn_iter_next(it) : cairn_iter_prev(it);
	}
	if (ok(cairn_iter_status(it), "a walk"))
		must(i < 0 || i >= N_KEYS, "a walk ends at %d", i);
}

static void seek(struct run *r, struct cairn_iter *it, int i, bool ge)
{
	char key[8], found[8];
	bool on = ge ? cairn_iter_seek_ge(it, key_of(i, key))
		     : cairn_iter_seek_lt(it, key_of(i, key));

	if (!ge)
		i--;
	while (i >= 0 && i < N_KEYS && !r->now.value[i][0])
		i += ge ? 1 : -1;
	if (on)
		must(slice_eq(cairn_iter_key(it), key_of(i, found)),
		     "seeking %s finds not %s", key, found);
	else if (ok(cairn_iter_status(it), "a seek"))
		must(i < 0 || i >= N_KEYS, "seeking %s finds nothing", key);
}

static void work_iter(struct run *r)
{
	struct cairn_iter *it, *copy;
	char lower[8], upper[8];

	if (!ok(cairn_iter_new(r->t.db, NULL, &it), "an iterator"))
		return;
	walk(r, it, true);
	walk(r, it, false);
	for (int i = 0; i < N_KEYS; i += 5) {
		seek(r, it, i, true);
		seek(r, it, N_KEYS - i, false);
	}
	if (ok(cairn_iter_clone(it, NULL, &copy), "a clone")) {
		walk(r, copy, false);
		cairn_iter_free(copy);
	}
	cairn_iter_set_bounds(it, key_of(8, lower), key_of(N_KEYS - 1, upper));
	seek(r, it, 9, true);
	cairn_iter_set_bounds(it, slice_of(NULL, 0), slice_of(NULL, 0));
	walk(r, it, true);
	/* Whatever failed, it works when there is memory. */
	alloc_fail_pause();
	check_iter(it, &r->now, "iterator");
	alloc_fail_go_on();
	cairn_iter_free(it);
}

static void work_snapshot(struct run *r)
{
	struct cairn_snapshot *s = cairn_snapshot_new(r->t.db);
	struct cairn_read_options o = { .snapshot = s };
	struct model then = r->now;
	struct cairn_iter *it;

	if (!s) {
		must(alloc_fail_hit(), "no snapshot");
		return;
	}
	put(r, 3, 70);
	delete_range(r, 10, 15);
	ok(cairn_flush(r->t.db, true), "a flush");
	if (ok(cairn_iter_new(r->t.db, &o, &it), "an iterator")) {
		alloc_fail_pause();
		check_iter(it, &then, "snapshot");
		alloc_fail_go_on();
		cairn_iter_free(it);
	}
	cairn_snapshot_release(s);
	check_db(r->t.db, &r->now, "snapshot");
}

static void work_flush(struct run *r)
{
	ok(cairn_flush(r->t.db, true), "a flush");
	check_db(r->t.db, &r->now, "flushed");
	put(r, 11, 80);
	ok(cairn_flush(r->t.db, true), "a flush");
	check_db(r->t.db, &r->now, "flushed again");
}

static void work_compact(struct run *r)
{
	const struct cairn_slice all = { NULL, 0 };

	ok(cairn_compact_range(r->t.db, all, all, NULL), "a compaction");
	check_db(r->t.db, &r->now, "compacted");
	delete_range(r, 0, 4);
	merge(r, 7, "more");
	ok(cairn_compact_range(r->t.db, all, all, NULL), "a compaction");
	check_db(r->t.db, &r->now, "compacted again");
}

static void work_auto_compact(struct run *r)
{
	struct cairn_metrics m;

	for (int op = 0; op < 4; op++) {
		for (int i = op; i < N_KEYS; i += 2)
			put(r, i, 90 + op);
		ok(cairn_flush(r->t.db, true), "a flush");
	}
	check_db(r->t.db, &r->now, "filled");
	cairn_metrics_get(r->t.db, &m);
}

static int look_at(void *ctx, const struct cairn_finding *f)
{
	(void)ctx;
	must(f->code == CAIRN_OK, "found: %s", f->message);
	return CAIRN_OK;
}

static void work_checkpoint(struct run *r)
{
	struct cairn_db *copy;
	int err = cairn_checkpoint(r->t.db, "/copy");

	check_db(r->t.db, &r->now, "copied");
	alloc_fail_pause();
	if (ok(err, "a checkpoint")) {
		must(!cairn_open("/copy", r->t.opts, &copy), "%s",
		     cairn_errmsg());
		check_db(copy, &r->now, "checkpoint");
		must(!cairn_close(copy), "%s", cairn_errmsg());
	} else {
		struct env_stat st;

		err = env_stat(r->t.mem, "/copy", &st);
		must(err == CAIRN_NOT_FOUND, "half a checkpoint");
	}
	alloc_fail_go_on();
}

static bool make_table(struct run *r, const char *path, int from, int to)
{
	struct cairn_sst_writer *w;
	struct cairn_sst_info info;
	char key[8], value[VALUE_MAX];
	int err = cairn_sst_writer_open(path, r->t.opts, &w);

	if (!ok(err, "a writer"))
		return false;
	for (int i = from; !err && i < to; i++)
		err = cairn_sst_writer_put(w, key_of(i, key),
					   value_of(i, 100, value));
	if (!err)
		err = cairn_sst_writer_delete_range(w, key_of(to, key),
						    key_of(to + 2, value));
	if (!err)
		err = cairn_sst_writer_finish(w, &info);
	cairn_sst_writer_free(w);
	return ok(err, "writing a table");
}

static void model_ingest(struct model *m)
{
	char value[VALUE_MAX];

	for (int i = 2; i < 36; i++) {
		value_of(i, 100, value);
		if (i < 9 || i >= 20)
			model_put(m, i, value);
	}
	model_delete_range(m, 9, 11);
	model_delete_range(m, 36, 38);
}

static void work_ingest(struct run *r)
{
	static const struct cairn_ingest_options o = {
		.mode = CAIRN_INGEST_LINK
	};
	static const char *const paths[] = { "/a.sst", "/b.sst" };

	if (!make_table(r, paths[0], 2, 9) || !make_table(r, paths[1], 20, 36))
		return;
	if (ok(cairn_ingest(r->t.db, paths, 2, &o), "ingesting")) {
		model_ingest(&r->now);
	} else if (strstr(cairn_errmsg(), "the tables are in")) {
		/* It says so: they cannot be shown yet. */
		r->later = r->now;
		model_ingest(&r->later);
		r->has_later = true;
	}
	check_db(r->t.db, &r->now, "ingested");
}

static void work_verify(struct run *r)
{
	static const struct cairn_verify_options v = { .found = look_at };
	struct cairn_verify_report report;

	ok(cairn_verify_checksums(r->t.db), "checksums");
	ok(cairn_verify_open(r->t.db, &v, &report), "verifying");
	close_db(r);
	ok(cairn_verify(TEST_DIR, r->t.opts, &v, &report), "verifying");
}

static void work_look(struct run *r)
{
	struct cairn_range range = { .from = slice_str("key00"),
				     .to = slice_str("key30") };
	struct cairn_table_list tables;
	struct cairn_problem_list problems;
	struct cairn_metrics m;
	uint64_t bytes;

	if (ok(cairn_tables(r->t.db, -1, &tables), "tables")) {
		must(tables.n > 1, "too few tables");
		cairn_table_list_free(&tables);
	}
	if (ok(cairn_problem_spans(r->t.db, &problems), "problems"))
		cairn_problem_list_free(&problems);
	ok(cairn_approximate_sizes(r->t.db, &range, 1, &bytes), "sizes");
	cairn_metrics_get(r->t.db, &m);
}

static int count_entry(void *ctx, const struct cairn_entry *e)
{
	(void)e;
	++*(int *)ctx;
	return CAIRN_OK;
}

static int count_edit(void *ctx, const struct cairn_manifest_edit *e)
{
	(void)e;
	++*(int *)ctx;
	return CAIRN_OK;
}

/* What the inspecting calls see. */
static void work_inspect(struct run *r)
{
	int n = 0;
	struct cairn_sst_visitor sst = { .ctx = &n,
					 .entry = count_entry,
					 .found = look_at };
	struct cairn_wal_visitor wal = { .ctx = &n,
					 .entry = count_entry,
					 .found = look_at };
	struct cairn_manifest_visitor manifest = { .ctx = &n,
						   .edit = count_edit,
						   .state = count_edit,
						   .found = look_at };
	struct env_names names;

	alloc_fail_pause();
	must(!env_list(r->t.mem, TEST_DIR, &names), "%s", cairn_errmsg());
	alloc_fail_go_on();
	for (size_t i = 0; i < names.n; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", TEST_DIR, names.names[i]);
		n = 0;
		if (strstr(path, ".sst") &&
		    ok(cairn_sst_visit(path, r->t.opts, &sst), "a table"))
			must(n > 0, "%s has no entry", path);
		if (strstr(path, ".log"))
			ok(cairn_wal_visit(path, r->t.opts, &wal), "a log");
	}
	env_names_free(&names);
	n = 0;
	if (ok(cairn_manifest_visit(TEST_DIR, r->t.opts, &manifest),
	       "a MANIFEST"))
		must(n > 1, "%d edits", n);
}

/* The MANIFEST is damaged; repair makes a new one, and is tried again. */
static void work_repair(struct run *r)
{
	static const struct cairn_repair_options o = { .found = NULL };
	struct cairn_repair_report report;
	char path[128] = "";
	struct env_names names;

	alloc_fail_pause();
	must(!env_list(r->t.mem, TEST_DIR, &names), "%s", cairn_errmsg());
	for (size_t i = 0; i < names.n; i++)
		if (strstr(names.names[i], "MANIFEST"))
			snprintf(path, sizeof(path), "%s/%s", TEST_DIR,
				 names.names[i]);
	env_names_free(&names);
	must(!env_mem_damage(r->t.mem, path, 20, 1), "%s", cairn_errmsg());
	alloc_fail_go_on();
	if (!ok(cairn_repair(TEST_DIR, r->t.opts, &o, &report), "repairing")) {
		alloc_fail_pause();
		must(!cairn_repair(TEST_DIR, r->t.opts, &o, &report), "%s",
		     cairn_errmsg());
		alloc_fail_go_on();
	}
}

/* A background error, and how it is got over. */
static void work_resume(struct run *r)
{
	tdb_fail(&r->t, ENV_FAULT_APPEND, ".log", 1, false, CAIRN_EIO);
	alloc_fail_pause();
	must(tdb_try_put(&r->t, "fails", "now") != CAIRN_OK, "no failure");
	alloc_fail_go_on();
	env_fault_set(r->t.env, NULL);
	if (!cairn_resume(r->t.db))
		put(r, 1, 110);
	else
		must(alloc_fail_hit(), "resume: %s", cairn_errmsg());
	check_db(r->t.db, &r->now, "resumed");
}

static void work_close(struct run *r)
{
	put(r, 1, 120);
	close_db(r);
}

/* Remove dir, which has files only, or directories of such. */
static void remove_dir(const char *dir)
{
	struct env_names names;

	must(!env_list(env_posix(), dir, &names), "%s", cairn_errmsg());
	for (size_t i = 0; i < names.n; i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", dir, names.names[i]);
		if (unlink(path))
			remove_dir(path);
	}
	env_names_free(&names);
	must(!rmdir(dir), "%s is left", dir);
}

static void change_real(struct run *r, const char *dir, const char *copy)
{
	r->t.db = NULL;
	if (!ok(cairn_open(dir, r->t.opts, &r->t.db), "opening"))
		return;
	put(r, 1, 130);
	ok(cairn_flush(r->t.db, true), "a flush");
	put(r, 2, 131);
	ok(cairn_wal_sync(r->t.db), "a sync");
	check_db(r->t.db, &r->now, "real files");
	ok(cairn_checkpoint(r->t.db, copy), "a checkpoint");
	close_db(r);
}

/* The files of the system, twice: new, and there already. */
static void work_real_files(struct run *r)
{
	/* Where syncing takes no time, if there is such a place. */
	char shm[] = "/dev/shm/cairn-alloc-XXXXXX";
	char tmp[] = "/tmp/cairn-alloc-XXXXXX";
	char *dir = mkdtemp(shm), db[64], copy[64];

	if (!dir)
		dir = mkdtemp(tmp);
	must(dir != NULL, "no directory can be made in /tmp");
	snprintf(db, sizeof(db), "%s/db", dir);
	cairn_options_set_env(r->t.opts, NULL);
	for (int i = 0; i < 2; i++) {
		snprintf(copy, sizeof(copy), "%s/copy%d", dir, i);
		change_real(r, db, copy);
	}
	alloc_fail_pause();
	must(!cairn_open(db, r->t.opts, &r->t.db), "%s", cairn_errmsg());
	check_db(r->t.db, &r->now, "real files, reopened");
	close_db(r);
	remove_dir(dir);
	cairn_options_set_env(r->t.opts, r->t.env);
	memset(&r->now, 0, sizeof(r->now));
	alloc_fail_go_on();
}

#define MINE ALLOC_FAIL_MODES_MINE
#define ANY  ALLOC_FAIL_MODES

static const struct workload workloads[] = {
	{ "options", work_options, false, false, MINE },
	{ "open new", work_open, true, true, ANY },
	{ "open", work_open, true, false, ANY },
	{ "open read-only", work_open_read_only, true, false, ANY },
	{ "write", work_write, false, false, MINE },
	{ "fill", work_fill, false, false, ANY },
	{ "wal sync", work_wal_sync, false, false, MINE },
	{ "batch", work_batch, false, false, MINE },
	{ "indexed batch", work_indexed_batch, false, false, MINE },
	{ "large batch", work_large_batch, false, false, ANY },
	{ "no wal", work_no_wal, false, false, ANY },
	{ "get", work_get, false, false, MINE },
	{ "iterator", work_iter, false, false, MINE },
	{ "snapshot", work_snapshot, false, false, ANY },
	{ "flush", work_flush, false, false, ANY },
	{ "compaction", work_compact, false, false, ANY },
	{ "auto compaction", work_auto_compact, false, false, ANY },
	{ "checkpoint", work_checkpoint, false, false, ANY },
	{ "ingest", work_ingest, false, false, ANY },
	{ "verify", work_verify, false, false, MINE },
	{ "tables", work_look, false, false, MINE },
	{ "inspect", work_inspect, true, false, MINE },
	{ "repair", work_repair, true, false, ANY },
	{ "resume", work_resume, false, false, ANY },
	{ "close", work_close, false, false, ANY },
	{ "real files", work_real_files, true, true, MINE },
};

/* A thread in the background may tell of its failure later than all others. */
static void write_again(struct cairn_db *db)
{
	static const struct cairn_write_options sync = { .sync = true };
	int err, tries = 0;

	do {
		CK_OK(cairn_resume(db));
		err = cairn_put(db, &sync, slice_str("zzz"),
				slice_str("works"));
		if (!err)
			err = cairn_delete(db, NULL, slice_str("zzz"));
		if (!err)
			err = cairn_flush(db, true);
	} while (err == CAIRN_EROFS && ++tries < 3);
	CK_OK(err);
	CK_OK(cairn_background_error(db, NULL, 0));
}

/* When there is memory again. */
static void recover(struct run *r)
{
	if (r->t.db) {
		check_db(r->t.db, &r->now, "afterwards");
		if (r->has_later)
			r->now = r->later;
		write_again(r->t.db);
		/* A compaction that failed is tried again later. */
		ok(cairn_wait_idle(r->t.db), "becoming idle");
		tdb_close(&r->t);
	}
	tdb_open(&r->t);
	check_db(r->t.db, &r->now, "reopened");
	put(r, 1, 999);
	CK_OK(cairn_verify_checksums(r->t.db));
	tdb_reopen(&r->t);
	check_db(r->t.db, &r->now, "reopened again");
}

static void run_once(void *ctx)
{
	struct run *r = ctx;
	struct model before = r->now;
	int64_t live = alloc_fail_live();

	tdb_init(&r->t,
		 r->image ? env_mem_crash_clone(r->image, 1, 100) : NULL);
	set_options(&r->t);
	if (strcmp(r->w->name, "auto compaction") == 0)
		tdb_set(&r->t, "auto_compactions", "true");
	if (!r->w->opens)
		tdb_open(&r->t);
	alloc_fail_arm();
	r->w->work(r);
	alloc_fail_disarm();
	recover(r);
	tdb_fini(&r->t);
	r->now = before;
	live = alloc_fail_live() - live;
	must(live == 0, "%lld allocations are not freed", (long long)live);
}

static void loop(const struct workload *w, int mode)
{
	struct run r = { .w = w };

	if (!w->empty) {
		struct test_db t;

		tdb_init(&r.t, NULL);
		set_options(&r.t);
		tdb_open(&r.t);
		prepare(&r);
		/* As after a kill. */
		r.image = env_mem_crash_clone(r.t.mem, 1, 100);
		ck_assert_ptr_nonnull(r.image);
		t = r.t;
		tdb_fini(&t);
	}
	alloc_fail_loop(w->name, mode, SOME, run_once, &r);
	if (r.image)
		env_mem_free(r.image);
}

START_TEST(without_memory_nothing_is_lost_leaked_or_half_done)
{
	loop(&workloads[_i / ALLOC_FAIL_MODES], _i % ALLOC_FAIL_MODES);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc");

	for (size_t i = 0; i < N(workloads); i++) {
		TCase *tc = tcase_create(workloads[i].name);
		int first = (int)i * ALLOC_FAIL_MODES;

		tcase_set_timeout(tc, 1800);
		tcase_add_loop_test(
			tc, without_memory_nothing_is_lost_leaked_or_half_done,
			first, first + workloads[i].modes);
		suite_add_tcase(s, tc);
	}
	return run_suite(s);
}
