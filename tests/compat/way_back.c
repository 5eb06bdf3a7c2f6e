/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way back to RocksDB, from every path on which cairn writes: what cairn
 * left is checked by RocksDB and its tools, read by it key by key, written on,
 * flushed and compacted, and then read and written on by cairn.
 *
 * A model says what must be there all the time.
 */
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mvcc/mvcc.h"
#include "tests/compat/die.h"
#include "tests/compat/store.h"
#include "tests/support/runner.h"

#define KEYS      3000u
#define VALUE_MAX 300u

/* What key i holds: made of its generation; 0: it is absent. */
struct model {
	uint32_t generation[KEYS];
	uint32_t last;
	struct rng rng;
};

/* What the database said it did. */
struct seen {
	atomic_uint flushes;
	atomic_uint ingested;                 /* tables */
	atomic_uint from_level[CAIRN_LEVELS]; /* compactions, not moves */
	atomic_uint within_l0;
	atomic_uint manual;
	atomic_uint dropped; /* jobs that only deleted tables, or ... */
	atomic_uint elided;  /* only tombstones */
};

struct run {
	char work[PATH_LEN];
	char dir[PATH_LEN];
	struct cairn_options *opts;
	struct cairn_listener listener;
	struct seen seen;
	struct cairn_db *db; /* NULL while closed */
	const char *merge;   /* the operator, NULL: none */
	struct model m;
};

/* ------------------------------------------------------------- the model */

static struct cairn_slice key_of(unsigned i, char text[32])
{
	return slice_of(text, (size_t)snprintf(text, 32, "key%06u", i));
}

static struct cairn_slice value_of(unsigned i, uint32_t generation,
				   char text[VALUE_MAX])
{
	size_t n = (i * 31 + generation * 17) % VALUE_MAX;

	for (size_t j = 0; j < n; j++)
		text[j] = (char)('a' + (i + generation + j / 7) % 26);
	if (n > 2)
		text[n / 2] = ',';
	return slice_of(text, n);
}

/* The rows that must be there, in key order. */
static void model_rows(const struct model *m, struct changes *rows)
{
	char key[32], value[VALUE_MAX];

	for (unsigned i = 0; i < KEYS; i++)
		if (m->generation[i])
			changes_add(rows, CHANGE_PUT, key_of(i, key),
				    value_of(i, m->generation[i], value));
}

static void batch_put(struct model *m, struct changes *c, unsigned i)
{
	char key[32], value[VALUE_MAX];

	m->generation[i] = ++m->last;
	changes_add(c, CHANGE_PUT, key_of(i, key), value_of(i, m->last, value));
}

static void batch_delete(struct model *m, struct changes *c, unsigned i)
{
	char key[32];

	m->generation[i] = 0;
	changes_add(c, CHANGE_DELETE, key_of(i, key), slice_of(NULL, 0));
}

/* n random changes, one in four a delete. */
static void batch_random(struct model *m, struct changes *c, unsigned n)
{
	while (n--) {
		unsigned i = (unsigned)rng_below(&m->rng, KEYS);

		if (rng_one_in(&m->rng, 4))
			batch_delete(m, c, i);
		else
			batch_put(m, c, i);
	}
}

/* ---------------------------------------------------------------- our side */

static void on_event(void *ctx, const struct cairn_event *e)
{
	struct seen *s = ctx;

	if (e->kind == CAIRN_EVENT_FLUSH_END && e->code == CAIRN_OK)
		atomic_fetch_add(&s->flushes, 1);
	if (e->kind == CAIRN_EVENT_TABLE_INGESTED)
		atomic_fetch_add(&s->ingested, 1);
	if (e->kind != CAIRN_EVENT_COMPACTION_END || e->code != CAIRN_OK)
		return;
	if (e->from_level == 0 && e->to_level == 0)
		atomic_fetch_add(&s->within_l0, 1);
	else if (e->bytes_in)
		atomic_fetch_add(&s->from_level[e->from_level], 1);
	if (e->reason && strstr(e->reason, "range tombstones delete all"))
		atomic_fetch_add(&s->dropped, 1);
	if (e->reason && strstr(e->reason, "tombstones at the bottom"))
		atomic_fetch_add(&s->elided, 1);
	if (e->reason && strstr(e->reason, "manual"))
		atomic_fetch_add(&s->manual, 1);
}

static void set(struct run *r, const char *name, const char *value)
{
	must(cairn_options_set(r->opts, name, value), name);
}

static void open_ours(struct run *r)
{
	must(cairn_open(r->dir, r->opts, &r->db), "open");
}

static void close_ours(struct run *r)
{
	must(cairn_close(r->db), "close");
	r->db = NULL;
}

/* Nothing happens by itself unless a test sets it. */
static void run_init(struct run *r)
{
	*r = (struct run){ .m.rng.state = 1 };
	dir_make_temp(r->work);
	snprintf(r->dir, sizeof(r->dir), "%.200s/db", r->work);
	r->opts = must_have(cairn_options_new());
	r->listener =
		(struct cairn_listener){ .ctx = &r->seen, .event = on_event };
	cairn_options_set_listener(r->opts, &r->listener);
	set(r, "create_if_missing", "true");
	set(r, "paranoid_checks", "true");
	set(r, "write_buffer_size", "1M");
	set(r, "target_file_size", "16K");
	set(r, "base_level_size", "64K");
	set(r, "level_multiplier", "4");
	set(r, "auto_compactions", "false");
}

static void run_fini(struct run *r)
{
	cairn_options_free(r->opts);
	dir_remove(r->work);
}

static void write_ours(struct run *r, const struct changes *c)
{
	struct cairn_batch *b = must_have(cairn_batch_new());

	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].kind == CHANGE_PUT)
			must(cairn_batch_put(b, c->v[i].key, c->v[i].value),
			     "put");
		else
			must(cairn_batch_delete(b, c->v[i].key), "delete");
	must(cairn_write(r->db, NULL, b), "write");
	cairn_batch_free(b);
}

/* n random changes, in batches of some. */
static void change(struct run *r, unsigned n)
{
	struct changes c = { 0 };

	for (; n > 0; n -= n < 10 ? n : 10) {
		batch_random(&r->m, &c, n < 10 ? n : 10);
		write_ours(r, &c);
		changes_clear(&c);
	}
	changes_fini(&c);
}

static void put_range(struct run *r, unsigned from, unsigned to)
{
	struct changes c = { 0 };

	for (unsigned i = from; i < to; i++)
		batch_put(&r->m, &c, i);
	write_ours(r, &c);
	changes_fini(&c);
}

static void delete_range_by_key(struct run *r, unsigned from, unsigned to)
{
	struct changes c = { 0 };

	for (unsigned i = from; i < to; i++)
		batch_delete(&r->m, &c, i);
	write_ours(r, &c);
	changes_fini(&c);
}

static void flush(struct run *r)
{
	must(cairn_flush(r->db, true), "flush");
}

static void compact(struct run *r)
{
	const struct cairn_slice all = { 0 };

	must(cairn_compact_range(r->db, all, all, NULL), "compact");
}

/* With compactions on from here. */
static void reopen_with_compactions(struct run *r)
{
	close_ours(r);
	set(r, "auto_compactions", "true");
	set(r, "l0_compaction_trigger", "2");
	open_ours(r);
}

/* All that is in the database, as cairn shows it. */
static void dump(struct cairn_db *db, struct changes *rows)
{
	struct cairn_iter *it;

	must(cairn_iter_new(db, NULL, &it), "iterator");
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		changes_add(rows, CHANGE_PUT, cairn_iter_key(it),
			    cairn_iter_value(it));
	must(cairn_iter_status(it), "scan");
	cairn_iter_free(it);
}

/* ------------------------------------------------------ reading both ways */

/* The rows, all of them and no others: by scans and by lookups. */
static void check_rows(struct store *s, const struct changes *rows)
{
	struct cursor *c = s->ops->cursor(s, NULL, NULL);
	const struct cairn_slice none = { 0 };
	struct buf got = { 0 }, absent = { 0 };
	bool on = c->move(c, MOVE_FIRST, none);

	for (size_t i = 0; i < rows->n; i++) {
		const struct change *row = &rows->v[i];

		if (!on || !slice_eq(c->key, row->key) ||
		    !slice_eq(c->value, row->value))
			die("%s: scan shows %s, not key %s", s->ops->name,
			    on ? shown(c->key) : "the end", shown(row->key));
		if (!s->ops->get(s, NULL, row->key, &got) ||
		    !slice_eq(buf_slice(&got), row->value))
			die("%s: get misses key %s", s->ops->name,
			    shown(row->key));
		must(buf_set(&absent, row->key), "key");
		must(buf_append(&absent, "!", 1), "key");
		if (s->ops->get(s, NULL, buf_slice(&absent), &got))
			die("%s: get finds key %s", s->ops->name,
			    shown(buf_slice(&absent)));
		on = c->move(c, MOVE_NEXT, none);
	}
	if (on)
		die("%s: scan shows %s after the last key", s->ops->name,
		    shown(c->key));
	on = c->move(c, MOVE_LAST, none);
	for (size_t i = rows->n; i-- > 0; on = c->move(c, MOVE_PREV, none))
		if (!on || !slice_eq(c->key, rows->v[i].key))
			die("%s: scan back misses key %s", s->ops->name,
			    shown(rows->v[i].key));
	if (on)
		die("%s: scan back shows %s", s->ops->name, shown(c->key));
	c->free(c);
	buf_fini(&got);
	buf_fini(&absent);
}

static void check_model(struct store *s, const struct model *m)
{
	struct changes rows = { 0 };
	struct buf got = { 0 };
	char key[32];

	model_rows(m, &rows);
	check_rows(s, &rows);
	for (unsigned i = 0; i < KEYS; i++)
		if (!m->generation[i] &&
		    s->ops->get(s, NULL, key_of(i, key), &got))
			die("%s: key %u is back", s->ops->name, i);
	changes_fini(&rows);
	buf_fini(&got);
}

/* Read all, write, flush, read, compact, read. */
static void visit(const struct store_ops *ops, struct run *r)
{
	const struct wish w = { .merge = r->merge };
	struct store *s = ops->open(r->dir, &w);
	struct model *m = &r->m;
	struct changes c = { 0 };

	ops->verify(s);
	check_model(s, m);
	batch_random(m, &c, 200);
	ops->write(s, &c, WRITE_LOGGED);
	ops->flush(s);
	check_model(s, m);
	ops->compact(s, NULL);
	check_model(s, m);
	changes_clear(&c);
	batch_random(m, &c, 50);
	ops->write(s, &c, WRITE_LOGGED);
	ops->close(s);
	changes_fini(&c);
}

static void way_back(struct run *r)
{
	dir_check_with_tools(r->dir, true);
	visit(&rocksdb_store, r);
	dir_verify(r->dir);
	visit(&cairn_store, r);
	dir_check_with_tools(r->dir, true);
	visit(&rocksdb_store, r);
}

/* ---------------------------------------------------------- paths that write
 */

static void close_after_a_few_changes(struct run *r)
{
	change(r, 500);
}

/* Closing writes tables; what is open has a log. */
static void leave_in_the_log(struct run *r)
{
	char killed[PATH_LEN];

	change(r, 500);
	snprintf(killed, sizeof(killed), "%.200s/killed", r->work);
	dir_copy_live(r->dir, killed);
	close_ours(r);
	strcpy(r->dir, killed);
}

static void leave_in_the_log_after_a_flush(struct run *r)
{
	change(r, 2000);
	flush(r);
	leave_in_the_log(r);
}

static void write_beside_the_log(struct run *r)
{
	const struct cairn_write_options wo = { .disable_wal = true };
	char key[32], value[VALUE_MAX];

	r->m.generation[7] = ++r->m.last;
	must(cairn_put(r->db, &wo, key_of(7, key),
		       value_of(7, r->m.last, value)),
	     "put");
	flush(r);
}

static void flush_once(struct run *r)
{
	change(r, 2000);
	flush(r);
}

static void flush_many_times(struct run *r)
{
	for (int i = 0; i < 12; i++) {
		change(r, 300);
		flush(r);
	}
}

static void compact_level_0_to_the_base_level(struct run *r)
{
	flush_many_times(r);
	reopen_with_compactions(r);
	change(r, 100);
	flush(r);
	must(cairn_wait_idle(r->db), "wait");
}

/* Small flushes over a large base level. */
static void merge_level_0_within_itself(struct run *r)
{
	set(r, "compression", "none");
	set(r, "base_level_size", "64M");
	reopen_with_compactions(r);
	put_range(r, 0, KEYS);
	compact(r);
	for (int i = 0; i < 20; i++) {
		change(r, 3);
		flush(r);
		must(cairn_wait_idle(r->db), "wait");
	}
}

static void move_tables(struct run *r)
{
	struct cairn_metrics m;
	uint64_t moved = 0;

	reopen_with_compactions(r);
	set(r, "base_level_size", "16K");
	for (unsigned i = 0; i < KEYS; i += 100) {
		put_range(r, i, i + 100);
		flush(r);
		must(cairn_wait_idle(r->db), "wait");
	}
	cairn_metrics_get(r->db, &m);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		moved += m.level[i].moved_tables;
	ck_assert_uint_gt(moved, 0);
}

static void compact_deeper_levels(struct run *r)
{
	set(r, "base_level_size", "16K");
	set(r, "level_multiplier", "2");
	set(r, "target_file_size", "4K");
	reopen_with_compactions(r);
	for (int i = 0; i < 40; i++) {
		change(r, 300);
		flush(r);
	}
	must(cairn_wait_idle(r->db), "wait");
}

static void compact_by_hand(struct run *r)
{
	flush_many_times(r);
	compact(r);
	change(r, 1000);
	compact(r);
}

static void compact_a_range_by_hand(struct run *r)
{
	char from[32], to[32];

	flush_many_times(r);
	for (unsigned i = 0; i < KEYS; i += 700)
		must(cairn_compact_range(r->db, key_of(i, from),
					 key_of(i + 300, to), NULL),
		     "compact");
	change(r, 500);
}

static void delete_everything(struct run *r)
{
	put_range(r, 0, KEYS);
	flush(r);
	compact(r);
	delete_range_by_key(r, 0, KEYS);
	flush(r);
	compact(r);
}

static void delete_most_and_leave_the_tombstones(struct run *r)
{
	put_range(r, 0, KEYS);
	compact(r);
	delete_range_by_key(r, 3, KEYS - 3);
	flush(r);
}

static void compact_below_snapshots(struct run *r)
{
	struct cairn_snapshot *s[3];

	for (int i = 0; i < 3; i++) {
		change(r, 1000);
		s[i] = must_have(cairn_snapshot_new(r->db));
		flush(r);
	}
	change(r, 1000);
	compact(r);
	for (int i = 0; i < 3; i++)
		cairn_snapshot_release(s[i]);
}

static void write_values_larger_than_the_memtable(struct run *r)
{
	static char big[3 << 20];
	char key[32];

	change(r, 200);
	memset(big, 'x', sizeof(big));
	must(cairn_put(r->db, NULL, key_of(KEYS, key),
		       slice_of(big, sizeof(big))),
	     "put");
	must(cairn_delete(r->db, NULL, key_of(KEYS, key)), "delete");
	change(r, 200);
}

static void roll_the_manifest(struct run *r)
{
	close_ours(r);
	set(r, "max_manifest_size", "1K");
	open_ours(r);
	flush_many_times(r);
}

static void resume_after_an_error(struct run *r)
{
	change(r, 500);
	must(cairn_resume(r->db), "resume");
	change(r, 500);
}

/* Every third key of a range, new values and deletions, in one table. */
static void ingest(struct run *r, unsigned from, unsigned to)
{
	struct cairn_sst_writer *w;
	char key[32], value[VALUE_MAX];
	char path[PATH_LEN];
	const char *paths[] = { path };

	snprintf(path, sizeof(path), "%.200s/in.sst", r->work);
	must(cairn_sst_writer_open(path, r->opts, &w), "table");
	for (unsigned i = from; i < to; i += 3) {
		r->m.generation[i] = i % 4 ? ++r->m.last : 0;
		must(i % 4 ? cairn_sst_writer_put(w, key_of(i, key),
						  value_of(i, r->m.last, value))
			   : cairn_sst_writer_delete(w, key_of(i, key)),
		     "table");
	}
	must(cairn_sst_writer_finish(w, NULL), "table");
	cairn_sst_writer_free(w);
	must(cairn_ingest(r->db, paths, 1, NULL), "ingest");
	ck_assert_int_eq(unlink(path), 0);
}

static void ingest_into_nothing(struct run *r)
{
	ingest(r, 0, KEYS);
}

static void ingest_over_memtable_and_levels(struct run *r)
{
	struct cairn_snapshot *s;

	change(r, 1000);
	compact(r);
	ingest(r, 100, 400);
	change(r, 1000);
	s = must_have(cairn_snapshot_new(r->db));
	ingest(r, 300, 900);
	change(r, 200);
	ingest(r, 0, 50);
	cairn_snapshot_release(s);
}

static void compact_what_was_ingested(struct run *r)
{
	ingest_over_memtable_and_levels(r);
	compact(r);
	ingest(r, 100, 2000);
}

static void checkpoint(struct run *r)
{
	char dir[PATH_LEN];

	change(r, 2000);
	compact(r);
	change(r, 500);
	snprintf(dir, sizeof(dir), "%.200s/checkpoint", r->work);
	must(cairn_checkpoint(r->db, dir), "checkpoint");
	/* The one goes on, and the other is as it was. */
	must(cairn_delete(r->db, NULL, slice_str("key000001")), "delete");
	compact(r);
	close_ours(r);
	strcpy(r->dir, dir);
}

static void delete_range(struct run *r, unsigned from, unsigned to)
{
	char start[32], end[32];

	must(cairn_delete_range(r->db, NULL, key_of(from, start),
				key_of(to, end)),
	     "delete range");
	for (unsigned i = from; i < to; i++)
		r->m.generation[i] = 0;
}

static void leave_deleted_ranges_in_the_log(struct run *r)
{
	change(r, 2000);
	delete_range(r, 100, 300);
	change(r, 50);
	delete_range(r, 250, 260);
	leave_in_the_log(r);
}

static void flush_deleted_ranges(struct run *r)
{
	put_range(r, 0, KEYS);
	compact(r);
	for (unsigned i = 0; i < KEYS - 50; i += 100) {
		delete_range(r, i, i + 50);
		put_range(r, i + 20, i + 25);
	}
	flush(r);
	delete_range(r, 500, 1500);
	change(r, 100);
	flush(r);
}

static void compact_deleted_ranges_below_snapshots(struct run *r)
{
	struct cairn_snapshot *s;

	flush_deleted_ranges(r);
	s = must_have(cairn_snapshot_new(r->db));
	delete_range(r, 400, 2000);
	change(r, 500);
	compact(r);
	cairn_snapshot_release(s);
}

static void delete_a_range_of_everything(struct run *r)
{
	put_range(r, 0, KEYS);
	compact(r);
	delete_range(r, 0, KEYS);
	flush(r);
}

/* ... but none that levels ask for by their size. */
static void reopen_with_special_compactions(struct run *r)
{
	close_ours(r);
	set(r, "auto_compactions", "true");
	set(r, "l0_compaction_trigger", "100");
	set(r, "l0_slowdown", "200");
	set(r, "l0_stop", "300");
	set(r, "base_level_size", "1G");
	open_ours(r);
}

/* Tables of the last level, deleted with the range they are in. */
static void drop_whole_tables(struct run *r)
{
	reopen_with_special_compactions(r);
	put_range(r, 0, KEYS);
	compact(r);
	delete_range(r, 40, KEYS - 40);
	flush(r);
	must(cairn_wait_idle(r->db), "wait");
	change(r, 100);
}

/* ... of several levels, one after the other as snapshots go. */
static void drop_whole_tables_below_snapshots(struct run *r)
{
	struct cairn_snapshot *s[2];

	reopen_with_special_compactions(r);
	put_range(r, 0, KEYS);
	compact(r);
	put_range(r, 500, 2500);
	flush(r);
	must(cairn_wait_idle(r->db), "wait");
	s[0] = must_have(cairn_snapshot_new(r->db));
	delete_range(r, 300, 2000);
	s[1] = must_have(cairn_snapshot_new(r->db));
	delete_range(r, 1000, KEYS);
	put_range(r, 1500, 1600);
	flush(r);
	for (int i = 0; i < 2; i++) {
		must(cairn_wait_idle(r->db), "wait");
		cairn_snapshot_release(s[i]);
	}
	must(cairn_wait_idle(r->db), "wait");
}

/* Point and range tombstones that a snapshot held at the bottom. */
static void elide_tombstones(struct run *r)
{
	struct cairn_snapshot *s;

	reopen_with_special_compactions(r);
	put_range(r, 0, KEYS);
	compact(r);
	s = must_have(cairn_snapshot_new(r->db));
	delete_range_by_key(r, 0, KEYS / 2);
	delete_range(r, KEYS / 2, KEYS - 100);
	compact(r);
	cairn_snapshot_release(s);
	must(cairn_wait_idle(r->db), "wait");
}

/* Keys that are put once between deletions, and deleted so that a compaction
 * drops both. */
static void delete_singly(struct run *r)
{
	char key[32];

	put_range(r, 0, 1000);
	compact(r);
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 1000; i += 2) {
			must(cairn_single_delete(r->db, NULL, key_of(i, key)),
			     "single delete");
			r->m.generation[i] = 0;
		}
		flush(r);
		if (round == 0)
			for (unsigned i = 0; i < 1000; i += 4)
				put_range(r, i, i + 1);
		else
			compact(r);
	}
}

/* Values put together of two operands, at the comma in their middle. */
static void merge(struct run *r)
{
	char key[32], value[VALUE_MAX];

	close_ours(r);
	r->merge = "stringappend";
	set(r, "merge_operator", r->merge);
	open_ours(r);
	put_range(r, 0, KEYS);
	for (unsigned i = 0; i < KEYS; i++) {
		struct cairn_slice v = value_of(i, r->m.last + 1, value);

		if (v.len < 3)
			continue;
		r->m.generation[i] = ++r->m.last;
		must(cairn_delete(r->db, NULL, key_of(i, key)), "delete");
		must(cairn_merge(r->db, NULL, key_of(i, key),
				 slice_of(v.data, v.len / 2)),
		     "merge");
		if (i == KEYS / 2)
			flush(r);
		slice_advance(&v, v.len / 2 + 1);
		must(cairn_merge(r->db, NULL, key_of(i, key), v), "merge");
	}
}

static void flush_operands(struct run *r)
{
	merge(r);
	flush(r);
}

static void compact_operands(struct run *r)
{
	merge(r);
	compact(r);
}

/* Whether the path was taken at all: at least so many of a thing happened. */
enum thing {
	ANYTHING,
	FLUSH,
	INGEST,
	WITHIN_L0,
	FROM_L0,
	FROM_DEEPER,
	MANUAL,
	DROPPED,
	ELIDED
};

static const struct {
	void (*write)(struct run *r);
	enum thing thing;
	unsigned at_least;
} paths[] = {
	{ close_after_a_few_changes, FLUSH, 1 },
	{ leave_in_the_log, ANYTHING, 0 },
	{ leave_in_the_log_after_a_flush, FLUSH, 1 },
	{ write_beside_the_log, FLUSH, 1 },
	{ flush_once, FLUSH, 1 },
	{ flush_many_times, FLUSH, 12 },
	{ compact_level_0_to_the_base_level, FROM_L0, 1 },
	{ merge_level_0_within_itself, WITHIN_L0, 1 },
	{ move_tables, FLUSH, 30 },
	{ compact_deeper_levels, FROM_DEEPER, 1 },
	{ compact_by_hand, MANUAL, 1 },
	{ compact_a_range_by_hand, MANUAL, 1 },
	{ delete_everything, MANUAL, 2 },
	{ delete_most_and_leave_the_tombstones, FLUSH, 2 },
	{ compact_below_snapshots, MANUAL, 1 },
	{ write_values_larger_than_the_memtable, ANYTHING, 0 },
	{ roll_the_manifest, FLUSH, 12 },
	{ resume_after_an_error, FLUSH, 1 },
	{ leave_deleted_ranges_in_the_log, ANYTHING, 0 },
	{ flush_deleted_ranges, FLUSH, 2 },
	{ compact_deleted_ranges_below_snapshots, MANUAL, 1 },
	{ delete_a_range_of_everything, FLUSH, 2 },
	{ drop_whole_tables, DROPPED, 1 },
	{ drop_whole_tables_below_snapshots, DROPPED, 2 },
	{ elide_tombstones, ELIDED, 1 },
	{ delete_singly, MANUAL, 2 },
	{ flush_operands, FLUSH, 2 },
	{ compact_operands, MANUAL, 1 },
	{ ingest_into_nothing, INGEST, 1 },
	{ ingest_over_memtable_and_levels, INGEST, 3 },
	{ compact_what_was_ingested, INGEST, 4 },
	{ checkpoint, ANYTHING, 0 },
};

/* Events may come late, but not after the database is closed. */
static void check_happened(const struct seen *s, enum thing thing,
			   unsigned at_least)
{
	unsigned n = 0;

	switch (thing) {
	case ANYTHING:
		return;
	case FLUSH:
		n = s->flushes;
		break;
	case INGEST:
		n = s->ingested;
		break;
	case WITHIN_L0:
		n = s->within_l0;
		break;
	case FROM_L0:
		n = s->from_level[0];
		break;
	case FROM_DEEPER:
		for (int i = 1; i < CAIRN_LEVELS; i++)
			n += s->from_level[i];
		break;
	case MANUAL:
		n = s->manual;
		break;
	case DROPPED:
		n = s->dropped;
		break;
	case ELIDED:
		n = s->elided;
		break;
	}
	ck_assert_uint_ge(n, at_least);
}

#define N_PATHS ((int)(sizeof(paths) / sizeof(paths[0])))

START_TEST(rocksdb_goes_on_where_cairn_left_and_cairn_where_rocksdb_left)
{
	static struct run r;

	run_init(&r);
	open_ours(&r);
	paths[_i].write(&r);
	if (r.db)
		close_ours(&r);
	check_happened(&r.seen, paths[_i].thing, paths[_i].at_least);
	way_back(&r);
	run_fini(&r);
}
END_TEST

/* ------------------------------------------------------------------ crash */

/* Batch n of the life of a process that will be killed. */
static void crash_batch(struct model *m, struct changes *c, unsigned n)
{
	changes_clear(c);
	batch_random(m, c, 1 + n % 7);
	/* Key 0 counts the batches: each of them puts it once. */
	batch_put(m, c, 0);
}

/* Says through fd how far it came, until it is killed. */
static _Noreturn void live_until_killed(struct run *r, int fd)
{
	struct changes c = { 0 };

	set(r, "write_buffer_size", "16K");
	set(r, "auto_compactions", "true");
	set(r, "l0_compaction_trigger", "2");
	open_ours(r);
	for (unsigned n = 0;; n++) {
		crash_batch(&r->m, &c, n);
		write_ours(r, &c);
		if (write(fd, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

/* Kill it when it has acknowledged at least n batches; how many it had. */
static unsigned kill_after(struct run *r, unsigned n)
{
	unsigned last = 0;
	int fds[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(fds[0]);
		live_until_killed(r, fds[1]);
	}
	close(fds[1]);
	while (last < n)
		ck_assert_int_eq(read(fds[0], &last, sizeof(last)),
				 sizeof(last));
	kill(pid, SIGKILL);
	while (read(fds[0], &last, sizeof(last)) == sizeof(last))
		;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(fds[0]);
	return last + 1;
}

/*
 * The model as of the acknowledged batches, or one more: the last of all may
 * have been written and not told.
 */
static void follow(struct run *r, struct store *s, unsigned acknowledged)
{
	char key[32], value[VALUE_MAX];
	struct changes c = { 0 };
	struct buf got = { 0 };

	for (unsigned n = 0; n < acknowledged; n++)
		crash_batch(&r->m, &c, n);
	ck_assert(s->ops->get(s, NULL, key_of(0, key), &got));
	if (!slice_eq(buf_slice(&got), value_of(0, r->m.generation[0], value)))
		crash_batch(&r->m, &c, acknowledged);
	changes_fini(&c);
	buf_fini(&got);
	check_model(s, &r->m);
}

static const struct {
	const struct store_ops *first; /* who comes upon it */
	unsigned batches;
} crashes[] = {
	{ &rocksdb_store, 10 },   { &cairn_store, 10 },
	{ &rocksdb_store, 900 },  { &cairn_store, 900 },
	{ &rocksdb_store, 2500 }, { &cairn_store, 2500 },
};

START_TEST(what_a_killed_process_committed_is_there_for_both)
{
	static struct run r;
	unsigned acknowledged;
	struct store *s;

	run_init(&r);
	acknowledged = kill_after(&r, crashes[_i].batches);
	s = crashes[_i].first->open(r.dir, &(struct wish){ 0 });
	follow(&r, s, acknowledged);
	crashes[_i].first->close(s);
	way_back(&r);
	run_fini(&r);
}
END_TEST

/* ----------------------------------------------------------------- repair */

/* Paths of the files whose names begin or end so; how many. */
static size_t find_files(const struct run *r, const char *part,
			 char names[][PATH_LEN + 64], size_t max)
{
	DIR *d = opendir(r->dir);
	struct dirent *e;
	size_t n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) && n < max)
		if (strstr(e->d_name, part))
			snprintf(names[n++], PATH_LEN + 64, "%s/%s", r->dir,
				 e->d_name);
	closedir(d);
	return n;
}

static void repair(struct run *r, struct cairn_repair_report *report)
{
	must(cairn_repair(r->dir, NULL, NULL, report), "repair");
	ck_assert(report->damaged && report->repaired);
}

START_TEST(a_store_without_its_manifest_is_repaired_for_both)
{
	struct cairn_repair_report report;
	char names[2][PATH_LEN + 64];
	static struct run r;

	run_init(&r);
	open_ours(&r);
	/* One sorted run: no older table that could count again. */
	change(&r, 3000);
	compact(&r);
	close_ours(&r);
	ck_assert_uint_eq(find_files(&r, "MANIFEST", names, 2), 1);
	ck_assert_int_eq(unlink(names[0]), 0);
	repair(&r, &report);
	ck_assert(report.manifest_rebuilt);
	way_back(&r);
	run_fini(&r);
}
END_TEST

static void flip_a_byte(const char *path)
{
	FILE *f = fopen(path, "r+b");
	int c;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 100, SEEK_SET), 0);
	c = fgetc(f);
	ck_assert_int_eq(fseek(f, 100, SEEK_SET), 0);
	ck_assert_int_ne(fputc(c ^ 1, f), EOF);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(what_is_left_of_a_damaged_table_is_there_for_both)
{
	struct cairn_repair_report report;
	char names[64][PATH_LEN + 64];
	struct changes rows = { 0 };
	static struct run r;
	struct store *s;

	run_init(&r);
	set(&r, "block_size", "512");
	open_ours(&r);
	put_range(&r, 0, KEYS);
	compact(&r);
	close_ours(&r);
	ck_assert_uint_gt(find_files(&r, ".sst", names, 64), 0);
	flip_a_byte(names[0]);
	repair(&r, &report);
	ck_assert_uint_gt(report.blocks_lost, 0);

	open_ours(&r);
	dump(r.db, &rows);
	close_ours(&r);
	ck_assert_uint_lt(rows.n, KEYS);
	ck_assert_uint_gt(rows.n, KEYS - 300);
	dir_check_with_tools(r.dir, true);
	s = rocksdb_store.open(r.dir, &(struct wish){ 0 });
	check_rows(s, &rows);
	s->ops->compact(s, NULL);
	check_rows(s, &rows);
	s->ops->close(s);
	changes_fini(&rows);
	run_fini(&r);
}
END_TEST

/* --------------------------------------------------------------- revisions */

static void open_revisions(struct run *r, struct mvcc **m)
{
	const struct mvcc_options mo = { .engine = r->opts, .chunk_size = 512 };

	must(mvcc_open(r->dir, &mo, m), "open");
}

/* Ten generations of a hundred keys, some values in chunks. */
static int64_t write_revisions(struct mvcc *m)
{
	static char value[3000];
	int64_t rev = 0;
	char key[32];

	for (unsigned g = 0; g < 10; g++)
		for (unsigned i = 0; i < 100; i++) {
			size_t len = i % 10 == 0 ? sizeof(value) : 40;

			memset(value, 'a' + (int)g, sizeof(value));
			if (i % 17 == 3 && g % 3 == 2)
				must(mvcc_delete(m, key_of(i, key), &rev),
				     "delete");
			else
				must(mvcc_put(m, key_of(i, key),
					      slice_of(value, len), NULL, &rev),
				     "put");
		}
	return rev;
}

static void check_revision(struct mvcc *m, int64_t rev, unsigned generation)
{
	struct mvcc_pinned_row row = { 0 };
	char key[32], first;
	size_t got;

	for (unsigned i = 0; i < 100; i++) {
		int err = mvcc_get(m, key_of(i, key), rev, &row);

		if (i % 17 == 3 && generation % 3 == 2) {
			ck_assert_int_eq(err, CAIRN_NOT_FOUND);
			continue;
		}
		must(err, "get");
		must(mvcc_read(m, &row.row, 0, &first, 1, &got), "read");
		ck_assert_int_eq(first, 'a' + (int)generation);
		mvcc_row_release(&row);
	}
}

START_TEST(rocksdb_reads_and_rewrites_what_forgetting_left)
{
	struct changes before = { 0 }, rows = { 0 };
	static struct run r;
	struct mvcc *m;
	struct store *s;
	int64_t last;

	run_init(&r);
	open_revisions(&r, &m);
	last = write_revisions(m);
	must(cairn_flush(mvcc_db(m), true), "flush");
	dump(mvcc_db(m), &before);
	must(mvcc_forget(m, last - 150), "forget");
	r.db = mvcc_db(m);
	compact(&r);
	r.db = NULL;
	dump(mvcc_db(m), &rows);
	/* The filter has dropped what only the forgotten could see. */
	ck_assert_uint_lt(rows.n, before.n / 2);
	must(mvcc_close(m), "close");

	dir_check_with_tools(r.dir, true);
	s = rocksdb_store.open(r.dir, &(struct wish){ 0 });
	check_rows(s, &rows);
	/* The same again is another version of every key. */
	s->ops->write(s, &rows, WRITE_LOGGED);
	s->ops->flush(s);
	s->ops->compact(s, NULL);
	check_rows(s, &rows);
	s->ops->close(s);

	open_revisions(&r, &m);
	ck_assert_int_eq(mvcc_current(m), last);
	ck_assert_int_eq(mvcc_oldest(m), last - 150);
	check_revision(m, 0, 9);
	check_revision(m, last - 100, 8);
	must(mvcc_close(m), "close");
	changes_fini(&before);
	changes_fini(&rows);
	run_fini(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("way back");
	TCase *t = tcase_create("paths");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(
		t,
		rocksdb_goes_on_where_cairn_left_and_cairn_where_rocksdb_left,
		0, N_PATHS);
	suite_add_tcase(s, t);
	t = tcase_create("crash");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t,
			    what_a_killed_process_committed_is_there_for_both,
			    0, (int)(sizeof(crashes) / sizeof(crashes[0])));
	suite_add_tcase(s, t);
	t = tcase_create("repair");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, a_store_without_its_manifest_is_repaired_for_both);
	tcase_add_test(t, what_is_left_of_a_damaged_table_is_there_for_both);
	suite_add_tcase(s, t);
	t = tcase_create("revisions");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, rocksdb_reads_and_rewrites_what_forgetting_left);
	suite_add_tcase(s, t);
	return run_suite(s);
}
