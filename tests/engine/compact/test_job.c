/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/job.h"

#include <stdio.h>

#include "engine/compact/output.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "engine/kv/batch.h"
#include "engine/version/filename.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

#define DIR        "/db"
#define TABLES_MAX 16

/* A directory, the tables in it, and what a job is given. */
struct bench {
	struct cairn_env *mem;
	struct cairn_env *env; /* fails on request */
	struct table_cache *tables;
	struct table_stats stats;
	struct table_read_options read;
	struct table_write_options write[CAIRN_LEVELS];
	uint64_t next_number;
	uint64_t snapshots[8];
	bool cancel;
	_Atomic uint64_t bytes_done;
	struct job_context ctx;

	struct version_edit edit; /* tables made by the test */
	struct version *version;  /* of them, by bench_version() */
	struct compaction_plan plan;
	struct file_meta *inputs[2][TABLES_MAX];
	struct job_result result;
};

static uint64_t new_file_number(void *ctx)
{
	struct bench *b = ctx;

	return b->next_number++;
}

static bool cancelled(void *ctx)
{
	struct bench *b = ctx;

	return b->cancel;
}

static void bench_open(struct bench *b)
{
	*b = (struct bench){ .next_number = 1, .snapshots = { 1000 } };
	b->mem = env_mem_new(ENV_MEM_STRICT);
	ck_assert(b->mem);
	b->env = env_fault_new(b->mem);
	ck_assert(b->env);
	ck_assert_int_eq(env_mkdir(b->mem, DIR), CAIRN_OK);
	ck_assert_int_eq(env_sync_dir(b->mem, "/"), CAIRN_OK);
	b->read.stats = &b->stats;
	ck_assert_int_eq(
		table_cache_new(b->env, DIR, 100, &b->read, &b->tables),
		CAIRN_OK);
	for (int l = 0; l < CAIRN_LEVELS; l++)
		b->write[l] = (struct table_write_options){
			.block_size = 64,
			.restart_interval = 4,
			.codec = TABLE_CODEC_NONE,
			.bloom_bits_per_key = 10,
		};
	b->ctx = (struct job_context){
		.env = b->env,
		.dir = DIR,
		.tables = b->tables,
		.level_options = b->write,
		.new_file_number = new_file_number,
		.ctx = b,
		.cancelled = cancelled,
		.snapshots = b->snapshots,
		.n_snapshots = 1,
		.bytes_done = &b->bytes_done,
	};
	b->plan.inputs[0] = b->inputs[0];
	b->plan.inputs[1] = b->inputs[1];
	b->plan.target_file_size = UINT64_MAX;
}

static void bench_close(struct bench *b)
{
	job_result_fini(&b->result);
	version_edit_fini(&b->edit);
	version_unref(b->version);
	table_cache_free(b->tables);
	env_fault_free(b->env);
	env_mem_free(b->mem);
}

/* The snapshots of the text "3 7", and the visible seqno 1000. */
static void bench_snapshots(struct bench *b, uint64_t first, uint64_t second)
{
	b->ctx.n_snapshots = 0;
	if (first)
		b->snapshots[b->ctx.n_snapshots++] = first;
	if (second)
		b->snapshots[b->ctx.n_snapshots++] = second;
	b->ctx.newest_user_snapshot = second ? second : first;
	b->snapshots[b->ctx.n_snapshots++] = 1000;
}

static size_t count_files(struct cairn_env *env)
{
	struct env_names names;
	size_t n;

	ck_assert_int_eq(env_list(env, DIR, &names), CAIRN_OK);
	n = names.n;
	env_names_free(&names);
	return n;
}

/* ---------------------------------------------------------------- tables */

static void write_entry(struct table_writer *w, const struct vector_entry *e)
{
	const struct range_del d = { e->key.user_key, e->value,
				     ikey_seqno(&e->key) };

	if (ikey_kind(&e->key) == KIND_RANGE_DELETE)
		ck_assert_int_eq(table_writer_add_range(w, &d), CAIRN_OK);
	else
		ck_assert_int_eq(table_writer_add(w, &e->key, e->value),
				 CAIRN_OK);
}

/* A table of the entries in text, at the level. Returns its number. */
static uint64_t add_table(struct bench *b, int level, const char *text)
{
	uint64_t number = b->next_number++;
	char *path = filename_table(DIR, number);
	struct table_summary sum;
	struct table_writer *w;
	struct vector v = { 0 };
	struct file_meta *f;
	struct wfile *file;

	vector_parse(&v, text);
	ck_assert_int_eq(env_open_write(b->mem, path, &file), CAIRN_OK);
	ck_assert_int_eq(table_writer_new(file, path, &b->write[level], &w),
			 CAIRN_OK);
	for (size_t i = 0; i < v.n; i++)
		write_entry(w, &v.entries[i]);
	ck_assert_int_eq(table_writer_finish(w, &sum), CAIRN_OK);
	table_writer_free(w);
	ck_assert_int_eq(wfile_sync(file), CAIRN_OK);
	ck_assert_int_eq(wfile_close(file), CAIRN_OK);
	ck_assert_int_eq(file_meta_new(number, sum.size, sum.smallest,
				       sum.largest, sum.smallest_seqno,
				       sum.largest_seqno, &f),
			 CAIRN_OK);
	ck_assert_int_eq(version_edit_add_file(&b->edit, level, f), CAIRN_OK);
	file_meta_unref(f);
	table_summary_fini(&sum);
	vector_fini(&v);
	free(path);
	return number;
}

static void bench_version(struct bench *b)
{
	struct version *empty;

	ck_assert_int_eq(version_new(&empty), CAIRN_OK);
	ck_assert_msg(version_apply(empty, &b->edit, &b->version) == CAIRN_OK,
		      "%s", cairn_errmsg());
	version_unref(empty);
}

static void plan_input(struct bench *b, int side, struct file_meta *f)
{
	struct compaction_plan *p = &b->plan;

	p->inputs[side][p->n_inputs[side]++] = f;
	p->bytes[side] += f->size;
	if (!p->smallest.data ||
	    slice_cmp(f->smallest_key.user_key, p->smallest) < 0)
		p->smallest = f->smallest_key.user_key;
	if (!p->largest.data ||
	    slice_cmp(f->largest_key.user_key, p->largest) > 0)
		p->largest = f->largest_key.user_key;
}

/* Compact all files of two levels. */
static void plan_levels(struct bench *b, int from, int to)
{
	bench_version(b);
	b->plan.from_level = from;
	b->plan.to_level = to;
	for (size_t i = 0; i < b->version->level[from].n; i++)
		plan_input(b, 0, b->version->level[from].files[i]);
	for (size_t i = 0; from != to && i < b->version->level[to].n; i++)
		plan_input(b, 1, b->version->level[to].files[i]);
}

static int run_plan(struct bench *b, const struct cairn_compaction_filter *f)
{
	struct compaction_options opts = { .version = b->version, .filter = f };

	return compaction_run(&b->ctx, &b->plan, &opts, &b->result);
}

/* The tables that the edit adds, as text: "| " between tables. */
static void format_added(struct bench *b, int level, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < b->result.edit.n_added; i++) {
		const struct version_edit_file *f = &b->result.edit.added[i];
		struct iter *it;

		ck_assert_int_eq(f->level, level);
		if (i)
			ck_assert_int_eq(buf_printf(out, " |"), CAIRN_OK);
		ck_assert_int_eq(table_cache_iter_new(
					 b->tables, f->meta->number,
					 f->meta->size, TABLE_SCAN_CACHED, &it),
				 CAIRN_OK);
		for (iter_first(it); it->valid; iter_next(it))
			vector_format(out, &it->key, it->value);
		ck_assert_int_eq(it->status, CAIRN_OK);
		iter_close(it);
	}
}

static void assert_added(struct bench *b, int level, const char *want)
{
	struct buf got = { 0 };

	format_added(b, level, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "got \"%.*s\", want \"%s\"", (int)got.len,
		      (const char *)got.data, want);
	buf_fini(&got);
}

/* The version that the edit makes of the bench's is sound. */
static void assert_edit_applies(struct bench *b)
{
	struct version *after;

	ck_assert_msg(version_apply(b->version, &b->result.edit, &after) ==
			      CAIRN_OK,
		      "%s", cairn_errmsg());
	ck_assert_int_eq(version_check(after), CAIRN_OK);
	version_unref(after);
}

static void assert_run(struct bench *b, const char *want)
{
	ck_assert_msg(run_plan(b, NULL) == CAIRN_OK, "%s", cairn_errmsg());
	assert_added(b, b->plan.to_level, want);
	ck_assert_uint_eq(b->result.edit.n_deleted,
			  b->plan.n_inputs[0] + b->plan.n_inputs[1]);
	ck_assert_uint_eq(b->result.files_out, b->result.edit.n_added);
	assert_edit_applies(b);
}

/* ------------------------------------------------------ range tombstones */

static int cmp_ranges(const void *a, const void *b)
{
	const struct range_del *x = a, *y = b;
	int c = slice_cmp(x->start, y->start);

	return c ? c : (x->seqno < y->seqno) - (x->seqno > y->seqno);
}

/* The tombstones of a table as "a-c#9", and its bounds. */
static void format_ranges(struct bench *b, const struct file_meta *f,
			  struct buf *out)
{
	const struct range_dels *d;
	struct table_ref *ref;
	struct range_del t[16];

	ck_assert_int_eq(table_cache_get(b->tables, f->number, f->size, &ref),
			 CAIRN_OK);
	d = table_range_dels(table_ref_table(ref));
	if (d) {
		ck_assert_uint_le(d->n_tombs, 16);
		for (size_t i = 0; i < d->n_tombs; i++)
			t[i] = range_dels_tomb(d, i);
		qsort(t, d->n_tombs, sizeof(t[0]), cmp_ranges);
	}
	for (size_t i = 0; d && i < d->n_tombs; i++)
		ck_assert_int_eq(buf_printf(out, " %.*s-%.*s#%llu",
					    (int)t[i].start.len,
					    (const char *)t[i].start.data,
					    (int)t[i].end.len,
					    (const char *)t[i].end.data,
					    (unsigned long long)t[i].seqno),
				 CAIRN_OK);
	ck_assert_uint_eq(f->range_deletions, d ? d->n_tombs : 0);
	table_cache_release(b->tables, ref);
	ck_assert_int_eq(
		buf_printf(out, " {%.*s..%.*s%s",
			   (int)f->smallest_key.user_key.len,
			   (const char *)f->smallest_key.user_key.data,
			   (int)f->largest_key.user_key.len,
			   (const char *)f->largest_key.user_key.data,
			   file_meta_ends_before_largest(f) ? ")" : "}"),
		CAIRN_OK);
}

/* As assert_run(), with tombstones and bounds; ")" is an exclusive end. */
static void assert_ranges(struct bench *b, const char *want)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < b->result.edit.n_added; i++) {
		const struct version_edit_file *f = &b->result.edit.added[i];
		struct iter *it;

		if (i)
			ck_assert_int_eq(buf_printf(&got, " |"), CAIRN_OK);
		ck_assert_int_eq(table_cache_iter_new(
					 b->tables, f->meta->number,
					 f->meta->size, TABLE_SCAN_CACHED, &it),
				 CAIRN_OK);
		for (iter_first(it); it->valid; iter_next(it))
			vector_format(&got, &it->key, it->value);
		iter_close(it);
		format_ranges(b, f->meta, &got);
	}
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "got \"%.*s\", want \"%s\"", (int)got.len,
		      (const char *)got.data, want);
	buf_fini(&got);
}

static const struct {
	const char *name;
	const char *from[3]; /* tables of level 1, ended by NULL */
	const char *to[3];   /* of level 2 */
	const char *below;   /* of level 3; NULL: none */
	uint64_t snapshots[2];
	uint64_t target_size;
	const char *want;
} ranges[] = {
	{ "what is covered goes, the tombstone stays over what may be below",
	  { "b#9p a#7rf" },
	  { "a#1p c#2p e#3p f#4p" },
	  "d#0p",
	  { 0 },
	  0,
	  "b#9p f#4p a-f#7 {a..f}" },
	{ "with nothing below the tombstone goes, too",
	  { "b#9p a#7rf" },
	  { "a#1p c#2p e#3p f#4p" },
	  NULL,
	  { 0 },
	  0,
	  "b#0p f#0p {b..f}" },
	{ "a snapshot keeps what it sees, and the tombstone above it",
	  { "b#9p a#7rf" },
	  { "a#1p c#2p" },
	  NULL,
	  { 5 },
	  0,
	  "a#1p b#9p c#2p a-f#7 {a..f)" },
	{ "of the tombstones of one stripe the newest stays",
	  { "a#8rf a#7rf a#4rf a#2rf" },
	  { NULL },
	  "d#0p",
	  { 5 },
	  0,
	  " a-f#8 a-f#4 {a..f)" },
	{ "fragments of the same tombstones become one again",
	  { "a#8rf c#7rd" },
	  { NULL },
	  "a#0p z#0p",
	  { 0 },
	  0,
	  " a-f#8 {a..f)" },
	{ "what overlaps is written in fragments",
	  { "a#8rd c#7rf" },
	  { NULL },
	  "a#0p z#0p",
	  { 7 },
	  0,
	  " a-c#8 c-d#8 c-d#7 d-f#7 {a..f)" },
	{ "a tombstone is cut where one table ends and the next begins",
	  { "b#9p d#9p f#9p a#7rh" },
	  { NULL },
	  "d#0p",
	  { 0 },
	  1,
	  "b#9p a-d#7 {a..d) | d#9p d-f#7 {d..f) | f#9p f-h#7 {f..h)" },
	{ "a table may end between tombstones",
	  { "a#7rc e#6rg i#5rk" },
	  { NULL },
	  "e#0p",
	  { 0 },
	  1,
	  /* The first and the last have nothing below. */
	  " e-g#6 {e..g)" },
	{ "tables without entries end at the target size as well",
	  { "a#7rc e#6rg i#5rk" },
	  { NULL },
	  "a#0p z#0p",
	  { 0 },
	  1,
	  " a-c#7 {a..c) | e-g#6 {e..g) | i-k#5 {i..k)" },
	{ "a tombstone that begins with the first key of a table is in that "
	  "one",
	  { "b#9p d#9p d#7rf" },
	  { NULL },
	  "d#0p",
	  { 0 },
	  1,
	  "b#9p {b..b} | d#9p d-f#7 {d..f)" },
	{ "unpublished tombstones and entries all live on",
	  { "b#2000p b#1500p a#1800rf a#1200rf a#800rf" },
	  { "b#700p" },
	  "d#0p",
	  { 0 },
	  0,
	  "b#2000p b#1500p a-f#1800 a-f#1200 a-f#800 {a..f)" },
	{ "an entry at the seqno of the tombstone is not deleted",
	  { "b#7p a#7rf" },
	  { NULL },
	  "d#0p",
	  { 0 },
	  0,
	  "b#7p a-f#7 {a..f)" },
	{ "what a tombstone that stays covers keeps its number",
	  { "a#9p a#7rf" },
	  { "c#5p" },
	  NULL,
	  { 6 },
	  0,
	  "a#9p c#5p a-f#7 {a..f)" },
	{ "a tombstone goes in part where something is below in part",
	  { "a#8rf" },
	  { NULL },
	  "d#0p",
	  { 0 },
	  0,
	  " a-f#8 {a..f)" },
};

START_TEST(range_tombstones_do_their_work_and_go)
{
	struct bench b;

	bench_open(&b);
	for (size_t i = 0; ranges[_i].from[i]; i++)
		add_table(&b, 1, ranges[_i].from[i]);
	for (size_t i = 0; ranges[_i].to[i]; i++)
		add_table(&b, 2, ranges[_i].to[i]);
	if (ranges[_i].below)
		add_table(&b, 3, ranges[_i].below);
	bench_snapshots(&b, ranges[_i].snapshots[0], ranges[_i].snapshots[1]);
	plan_levels(&b, 1, 2);
	if (ranges[_i].target_size)
		b.plan.target_file_size = ranges[_i].target_size;
	ck_assert_msg(run_plan(&b, NULL) == CAIRN_OK, "%s: %s", ranges[_i].name,
		      cairn_errmsg());
	assert_ranges(&b, ranges[_i].want);
	assert_edit_applies(&b);
	bench_close(&b);
}
END_TEST

/*
 * The table below that ends, exclusively, where the job begins is not all there
 * is below: the tombstone stays over the one behind it, and would delete a put
 * that has become number 0.
 */
START_TEST(what_ends_where_the_job_begins_does_not_make_it_the_bottom)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 1, "f#9p");
	add_table(&b, 2, "c#5rk");
	add_table(&b, 3, "a#4rc");
	add_table(&b, 3, "c#1p");
	plan_levels(&b, 1, 2);
	ck_assert_msg(run_plan(&b, NULL) == CAIRN_OK, "%s", cairn_errmsg());
	assert_ranges(&b, "f#9p c-k#5 {c..k)");
	assert_edit_applies(&b);
	bench_close(&b);
}
END_TEST

START_TEST(a_wide_tombstone_is_cut_where_it_overlaps_too_much_below)
{
	struct file_meta *grandparents[4];
	struct bench b;

	bench_open(&b);
	add_table(&b, 1, "a#9rz");
	add_table(&b, 3, "a#1p b#1p");
	add_table(&b, 3, "c#1p d#1p");
	add_table(&b, 3, "e#1p f#1p");
	add_table(&b, 3, "g#1p h#1p");
	plan_levels(&b, 1, 2);
	for (size_t i = 0; i < 4; i++)
		grandparents[i] = b.version->level[3].files[i];
	b.plan.grandparents = grandparents;
	b.plan.n_grandparents = 4;
	b.plan.grandparent_bytes_max = grandparents[0]->size * 3 / 2;
	ck_assert_msg(run_plan(&b, NULL) == CAIRN_OK, "%s", cairn_errmsg());
	assert_ranges(&b, " a-e#9 {a..e) | e-z#9 {e..z)");
	assert_edit_applies(&b);
	bench_close(&b);
}
END_TEST

/* As RocksDB writes them: a tombstone stands unclipped in every table. */
START_TEST(tombstones_count_within_the_bounds_of_their_file)
{
	struct ikey smallest = ikey_make(slice_str("c"), 9, KIND_PUT);
	struct ikey largest =
		ikey_make(slice_str("f"), SEQNO_MAX, KIND_RANGE_DELETE);
	uint8_t low[16], high[16];
	struct version_edit_file *added;
	struct file_meta *f;
	struct bench b;

	bench_open(&b);
	add_table(&b, 1, "c#9p e#9p a#7rz");
	added = &b.edit.added[0];
	ck_assert_int_eq(
		file_meta_new(
			added->meta->number, added->meta->size,
			slice_of(low,
				 (size_t)(ikey_encode(low, &smallest) - low)),
			slice_of(high,
				 (size_t)(ikey_encode(high, &largest) - high)),
			7, 9, &f),
		CAIRN_OK);
	file_meta_unref(added->meta);
	added->meta = f;
	add_table(&b, 2, "b#0p d#0p f#0p");
	add_table(&b, 3, "d#0p");
	plan_levels(&b, 1, 2);
	ck_assert_msg(run_plan(&b, NULL) == CAIRN_OK, "%s", cairn_errmsg());
	assert_ranges(&b, "b#0p c#9p e#9p f#0p c-f#7 {b..f}");
	bench_close(&b);
}
END_TEST

static const struct {
	const char *range;
	uint64_t snapshot;
	bool is_read;
} unread[] = {
	{ "a#9rz", 0, false },
	/* A snapshot sees what is deleted, or does not see it deleted. */
	{ "a#9rz", 1, true },
	{ "a#9rz", 8, true },
	{ "a#9rz", 9, false },
	/* Covered by two, by two with a gap, not to the end. */
	{ "a#9rd d#8rz", 0, false },
	{ "a#9rc d#8rz", 0, true },
	{ "a#9re", 0, true },
	/* Newer than one of the entries only. */
	{ "a#3rz", 0, true },
};

START_TEST(a_table_that_is_deleted_as_a_whole_is_not_read)
{
	struct bench b;
	char *path;

	bench_open(&b);
	add_table(&b, 1, unread[_i].range);
	add_table(&b, 2, "b#2p c#1p e#5p");
	add_table(&b, 3, "b#0p");
	bench_snapshots(&b, unread[_i].snapshot, 0);
	plan_levels(&b, 1, 2);
	path = filename_table(DIR, 2);
	/* The first byte of the first block. */
	ck_assert_int_eq(env_mem_damage(b.mem, path, 0, 0x10), CAIRN_OK);
	ck_assert_int_eq(run_plan(&b, NULL),
			 unread[_i].is_read ? CAIRN_ECORRUPT : CAIRN_OK);
	if (!unread[_i].is_read)
		ck_assert_uint_eq(b.result.edit.n_deleted, 2);
	free(path);
	bench_close(&b);
}
END_TEST

/* ----------------------------------------------------------------- flush */

static struct memtable *memtable_of(const char *text)
{
	struct vector v = { 0 };
	struct memtable *m;

	vector_parse(&v, text);
	ck_assert_int_eq(memtable_new(1 << 20, 1, &m), CAIRN_OK);
	for (size_t i = 0; i < v.n; i++) {
		const struct vector_entry *e = &v.entries[i];
		uint8_t kind = ikey_kind(&e->key);
		struct cairn_batch *b = cairn_batch_new();
		int err = CAIRN_OK;

		ck_assert(b);
		if (kind == KIND_PUT)
			err = cairn_batch_put(b, e->key.user_key, e->value);
		else
			err = cairn_batch_delete(b, e->key.user_key);
		ck_assert_int_eq(err, CAIRN_OK);
		batch_set_seqno(b, ikey_seqno(&e->key));
		ck_assert(memtable_reserve(
			m, memtable_batch_cost(b->bytes.len, 1)));
		ck_assert_int_eq(memtable_apply(m, buf_slice(&b->bytes)),
				 CAIRN_OK);
		memtable_writer_unref(m);
		cairn_batch_free(b);
	}
	memtable_writer_unref(m);
	vector_fini(&v);
	return m;
}

START_TEST(a_flush_merges_memtables_into_one_table)
{
	struct memtable *mems[2];
	struct bench b;
	const struct file_meta *f;

	bench_open(&b);
	mems[0] = memtable_of("b#1p1 a#2p2 c#3p3");
	mems[1] = memtable_of("a#4p4 b#5d d#6p6");
	ck_assert_msg(flush_run(&b.ctx, mems, 2, &b.result) == CAIRN_OK, "%s",
		      cairn_errmsg());
	/* The deletion stays: an older b may be in a table. */
	assert_added(&b, 0, "a#4p4 b#5d c#3p3 d#6p6");
	f = b.result.edit.added[0].meta;
	ck_assert_uint_eq(f->smallest_seqno, 3);
	ck_assert_uint_eq(f->largest_seqno, 6);
	ck_assert_uint_eq(f->entries, 4);
	ck_assert_uint_eq(f->deletions, 1);
	ck_assert_uint_gt(f->creation_time, 0);
	ck_assert_uint_eq(f->oldest_ancestor_time, f->creation_time);
	ck_assert_uint_eq(b.result.entries_in, 6);
	ck_assert_uint_eq(b.result.entries_dropped, 2);
	ck_assert_uint_eq(b.result.bytes_out, f->size);
	ck_assert_uint_eq(b.bytes_done, b.result.bytes_in);
	memtable_unref(mems[0]);
	memtable_unref(mems[1]);
	bench_close(&b);
}
END_TEST

START_TEST(a_flush_keeps_what_snapshots_see)
{
	struct memtable *m = memtable_of("a#1p1 a#2p2 a#3p3 a#4d");
	struct bench b;

	bench_open(&b);
	bench_snapshots(&b, 2, 0);
	ck_assert_int_eq(flush_run(&b.ctx, &m, 1, &b.result), CAIRN_OK);
	assert_added(&b, 0, "a#4d a#2p2");
	ck_assert_uint_eq(b.result.entries_pinned, 1);
	memtable_unref(m);
	bench_close(&b);
}
END_TEST

START_TEST(a_flush_of_nothing_makes_no_table)
{
	struct memtable *m = memtable_of("");
	struct bench b;

	bench_open(&b);
	ck_assert_int_eq(flush_run(&b.ctx, &m, 1, &b.result), CAIRN_OK);
	ck_assert_int_eq(flush_run(&b.ctx, NULL, 0, &b.result), CAIRN_OK);
	ck_assert_uint_eq(b.result.edit.n_added, 0);
	ck_assert_uint_eq(count_files(b.mem), 0);
	memtable_unref(m);
	bench_close(&b);
}
END_TEST

START_TEST(the_tables_of_a_finished_job_survive_a_power_cut)
{
	struct memtable *m = memtable_of("a#1p1 b#2p2");
	const struct file_meta *f;
	struct cairn_env *after;
	struct rfile *file;
	struct table *t;
	struct bench b;
	char *path;

	bench_open(&b);
	ck_assert_int_eq(flush_run(&b.ctx, &m, 1, &b.result), CAIRN_OK);
	f = b.result.edit.added[0].meta;
	path = filename_table(DIR, f->number);
	after = env_mem_crash_clone(b.mem, 1, 0);
	ck_assert_int_eq(env_open_read(after, path, &file), CAIRN_OK);
	ck_assert_int_eq(
		table_open(file, path, f->number, f->size, &b.read, &t),
		CAIRN_OK);
	ck_assert_int_eq(table_verify(t), CAIRN_OK);
	table_close(t);
	env_mem_free(after);
	free(path);
	memtable_unref(m);
	bench_close(&b);
}
END_TEST

/* ------------------------------------------------------------ compaction */

START_TEST(overlapping_tables_of_level_0_are_merged_down)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 0, "a#9p9 c#8d");
	add_table(&b, 0, "a#5p5 b#6p6");
	add_table(&b, 0, "b#3p3 d#4p4");
	add_table(&b, 5, "a#1p1 c#2p2");
	add_table(&b, 5, "d#1p1");
	plan_levels(&b, 0, 5);
	/* Level 6 is empty, so the deletion goes and seqnos become 0. */
	assert_run(&b, "a#0p9 b#0p6 d#0p4");
	ck_assert_uint_eq(b.result.entries_in, 9);
	ck_assert_uint_eq(b.result.entries_dropped, 6);
	ck_assert_uint_eq(b.bytes_done, b.plan.bytes[0] + b.plan.bytes[1]);
	bench_close(&b);
}
END_TEST

START_TEST(tombstones_stay_while_something_may_be_below)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 1, "a#9d b#9d c#9d d#9d e#9d f#9d g#9d h#9p9");
	add_table(&b, 2, "b#5p5 d#5p5");
	/* By their bounds these may hold b to c, and e to e. */
	add_table(&b, 4, "b#2p2 c#1p1");
	add_table(&b, 6, "e#1p1");
	add_table(&b, 6, "g#1p1 i#1p1");
	plan_levels(&b, 1, 2);
	assert_run(&b, "b#9d c#9d e#9d g#9d h#9p9");
	bench_close(&b);
}
END_TEST

START_TEST(levels_beside_the_job_do_not_keep_it_from_being_the_bottom)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 1, "m#9p9 n#8d");
	add_table(&b, 6, "a#1p1 l#1p1");
	add_table(&b, 6, "o#1p1");
	plan_levels(&b, 1, 2);
	assert_run(&b, "m#0p9");
	bench_close(&b);
}
END_TEST

START_TEST(a_job_that_drops_everything_only_deletes)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 1, "a#9d b#9d");
	add_table(&b, 2, "a#5p5 b#5p5");
	plan_levels(&b, 1, 2);
	assert_run(&b, "");
	ck_assert_uint_eq(count_files(b.mem), 2);
	bench_close(&b);
}
END_TEST

/* Older files of level 0 lie beside it, and RocksDB knows their order by the
 * numbers. */
START_TEST(within_level_0_tombstones_and_numbers_stay)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 0, "a#1p1 b#2p2");
	add_table(&b, 0, "a#5d c#6p6");
	add_table(&b, 0, "c#8p8 d#7p7");
	bench_version(&b);
	b.plan.from_level = 0;
	b.plan.to_level = 0;
	for (size_t i = 0; i < b.version->level[0].n; i++)
		if (b.version->level[0].files[i]->smallest_seqno > 2)
			plan_input(&b, 0, b.version->level[0].files[i]);
	ck_assert_uint_eq(b.plan.n_inputs[0], 2);
	assert_run(&b, "a#5d c#8p8 d#7p7");
	bench_close(&b);
}
END_TEST

START_TEST(the_last_level_is_rewritten_in_place)
{
	struct bench b;

	bench_open(&b);
	add_table(&b, 6, "a#9d b#9p9");
	add_table(&b, 6, "c#9p9 c#8p8");
	plan_levels(&b, 6, 6);
	assert_run(&b, "b#0p9 c#0p9");
	bench_close(&b);
}
END_TEST

START_TEST(a_key_is_never_split_over_two_tables)
{
	struct bench b;

	bench_open(&b);
	bench_snapshots(&b, 2, 4);
	b.plan.target_file_size = 1;
	add_table(&b, 1, "a#5p5 a#3p3 a#1p1 b#9d");
	add_table(&b, 2, "b#4p4 b#2p2 c#1p1");
	add_table(&b, 3, "a#0p0 z#0p0");
	plan_levels(&b, 1, 2);
	assert_run(&b, "a#5p5 a#3p3 a#1p1 | b#9d b#4p4 b#2p2 | c#1p1");
	bench_close(&b);
}
END_TEST

START_TEST(an_output_ends_at_its_target_size)
{
	struct bench b;
	struct buf text = { 0 };

	bench_open(&b);
	b.plan.target_file_size = 2000;
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(
			buf_printf(&text, "key%03d#%dpa-value-of-some-length ",
				   i, i + 1),
			CAIRN_OK);
	ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
	add_table(&b, 1, (const char *)text.data);
	plan_levels(&b, 1, 2);
	ck_assert_int_eq(run_plan(&b, NULL), CAIRN_OK);
	assert_edit_applies(&b);
	ck_assert_uint_gt(b.result.files_out, 2);
	for (size_t i = 0; i + 1 < b.result.files_out; i++) {
		uint64_t size = b.result.edit.added[i].meta->size;

		/* Index, filter, properties and footer come on top. */
		ck_assert_uint_ge(size, 2000);
		ck_assert_uint_le(size, 5000);
	}
	buf_fini(&text);
	bench_close(&b);
}
END_TEST

START_TEST(an_output_ends_where_it_overlaps_too_much_below)
{
	struct bench b;
	struct file_meta *grandparents[4];

	bench_open(&b);
	add_table(&b, 1, "a#9p c#9p e#9p g#9p i#9p");
	add_table(&b, 3, "a#1p b#1p");
	add_table(&b, 3, "c#1p d#1p");
	add_table(&b, 3, "e#1p f#1p");
	add_table(&b, 3, "g#1p h#1p");
	plan_levels(&b, 1, 2);
	for (size_t i = 0; i < 4; i++)
		grandparents[i] = b.version->level[3].files[i];
	b.plan.grandparents = grandparents;
	b.plan.n_grandparents = 4;
	/* Two passed is too much. */
	b.plan.grandparent_bytes_max = grandparents[0]->size * 3 / 2;
	assert_run(&b, "a#9p c#9p | e#9p g#9p | i#9p");
	bench_close(&b);
}
END_TEST

START_TEST(ages_and_counts_are_handed_on)
{
	struct bench b;
	const struct file_meta *f;

	bench_open(&b);
	add_table(&b, 1, "a#9d b#9p");
	add_table(&b, 2, "c#5p");
	add_table(&b, 6, "a#1p z#1p");
	plan_levels(&b, 1, 2);
	b.version->level[1].files[0]->oldest_ancestor_time = 0;
	b.version->level[2].files[0]->oldest_ancestor_time = 77;
	ck_assert_int_eq(run_plan(&b, NULL), CAIRN_OK);
	f = b.result.edit.added[0].meta;
	ck_assert_uint_eq(f->oldest_ancestor_time, 77);
	ck_assert_uint_eq(f->entries, 3);
	ck_assert_uint_eq(f->deletions, 1);
	bench_close(&b);
}
END_TEST

START_TEST(a_trivial_move_changes_the_level_of_the_file_itself)
{
	struct bench b;
	struct version_edit edit = { 0 };

	bench_open(&b);
	add_table(&b, 1, "a#9p");
	plan_levels(&b, 1, 2);
	b.plan.trivial_move = true;
	ck_assert_int_eq(compaction_move_edit(&b.plan, &edit), CAIRN_OK);
	ck_assert_uint_eq(edit.n_added, 1);
	ck_assert_uint_eq(edit.n_deleted, 1);
	ck_assert_int_eq(edit.added[0].level, 2);
	ck_assert_int_eq(edit.deleted[0].level, 1);
	ck_assert_ptr_eq(edit.added[0].meta, b.version->level[1].files[0]);
	version_edit_fini(&edit);
	bench_close(&b);
}
END_TEST

/* ---------------------------------------------------------------- filter */

struct filter_log {
	bool begun;
	bool ended;
	bool refuse; /* begin says: not this job */
	struct cairn_compaction_info info;
	struct buf dropped;
};

static void *filter_begin(void *ctx, const struct cairn_compaction_info *info)
{
	struct filter_log *log = ctx;

	log->begun = true;
	log->info = *info;
	/* The inputs are a to f at levels 1 and 2; others: level 0 m to o,
	 * level 1 q to r, level 6 b to c. */
	static const struct {
		const char *from, *to;
		bool want;
	} questions[] = {
		{ "a", "b", false },  { "a", "ba", true },
		{ "b", "c", true },   { "c", "d", true },
		{ "ca", "l", false }, { "a", "z", true },
		{ "l", "m", false },  { "l", "n", true },
		{ "oa", "q", false }, { "oa", "qa", true },
		{ "r", "s", true },   { "ra", NULL, false },
		{ NULL, "b", false }, { NULL, NULL, true },
		{ "n", "n", false },
	};
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		struct cairn_slice from = { 0 }, to = { 0 };

		if (questions[i].from)
			from = slice_str(questions[i].from);
		if (questions[i].to)
			to = slice_str(questions[i].to);
		ck_assert_msg(info->overlaps_outside(info, from, to) ==
				      questions[i].want,
			      "question %zu", i);
	}
	return log->refuse ? NULL : log;
}

static bool filter_drop(void *job, struct cairn_slice key,
			struct cairn_slice value)
{
	struct filter_log *log = job;

	ck_assert(log->begun && !log->ended);
	if (!slice_eq(value, slice_str("old")))
		return false;
	ck_assert_int_eq(buf_append(&log->dropped, key.data, key.len),
			 CAIRN_OK);
	return true;
}

static void filter_end(void *job)
{
	struct filter_log *log = job;

	log->ended = true;
}

START_TEST(the_filter_drops_and_is_told_what_is_outside)
{
	struct filter_log log = { .refuse = _i == 1 };
	struct cairn_compaction_filter f = {
		.name = "test",
		.ctx = &log,
		.begin = filter_begin,
		.drop = filter_drop,
		.end = filter_end,
	};
	struct bench b;

	bench_open(&b);
	bench_snapshots(&b, 3, 0);
	add_table(&b, 0, "m#20p o#20p");
	add_table(&b, 1, "a#9pold b#9pnew d#9pold");
	add_table(&b, 1, "q#9p r#9p");
	add_table(&b, 2, "a#5pold c#3pold f#5pold");
	add_table(&b, 6, "b#1p c#1p");
	bench_version(&b);
	b.plan.from_level = 1;
	b.plan.to_level = 2;
	b.plan.kind = COMPACT_MANUAL;
	plan_input(&b, 0, b.version->level[1].files[0]);
	plan_input(&b, 1, b.version->level[2].files[0]);
	ck_assert_msg(run_plan(&b, &f) == CAIRN_OK, "%s", cairn_errmsg());
	assert_added(&b, 2,
		     log.refuse ? "a#9pold b#9pnew c#3pold d#9pold f#5pold"
				: "b#9pnew c#3pold");
	ck_assert_int_eq(log.ended, !log.refuse);
	ck_assert_int_eq(log.info.output_level, 2);
	ck_assert(log.info.manual);
	if (!log.refuse)
		ck_assert(slice_eq(buf_slice(&log.dropped), slice_str("adf")));
	buf_fini(&log.dropped);
	bench_close(&b);
}
END_TEST

/* -------------------------------------------------------------- failures */

static void plan_several_outputs(struct bench *b)
{
	bench_open(b);
	b->plan.target_file_size = 1;
	add_table(b, 1, "a#9pa-value b#9pa-value");
	add_table(b, 2, "a#5p c#5pa-value");
	add_table(b, 2, "d#5p e#5pa-value");
	plan_levels(b, 1, 2);
}

START_TEST(a_failed_job_leaves_no_file_behind)
{
	static const unsigned ops[] = {
		ENV_FAULT_CREATE, ENV_FAULT_APPEND,   ENV_FAULT_SYNC,
		ENV_FAULT_CLOSE,  ENV_FAULT_SYNC_DIR, ENV_FAULT_OPEN_READ,
		ENV_FAULT_READ,
	};
	struct env_fault_rule rule = {
		.ops = ops[_i],
		.code = CAIRN_EIO,
		.partial = true,
	};

	for (rule.nth = 1;; rule.nth++) {
		struct bench b;
		int err;

		plan_several_outputs(&b);
		env_fault_set(b.env, &rule);
		err = run_plan(&b, NULL);
		if (!env_fault_hits(b.env)) {
			ck_assert_int_eq(err, CAIRN_OK);
			ck_assert_uint_gt(rule.nth, 1);
			bench_close(&b);
			break;
		}
		ck_assert_int_eq(err, CAIRN_EIO);
		ck_assert_uint_gt(strlen(cairn_errmsg()), 0);
		ck_assert_uint_eq(count_files(b.mem), 3);
		/* Tried again, with new numbers, it works. */
		env_fault_set(b.env, NULL);
		job_result_fini(&b.result);
		b.result = (struct job_result){ 0 };
		assert_run(&b, "a#0pa-value | b#0pa-value | c#0pa-value | d#0p "
			       "| e#0pa-value");
		bench_close(&b);
	}
}
END_TEST

START_TEST(a_failure_to_unlink_does_not_hide_the_cause)
{
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_SYNC_DIR | ENV_FAULT_UNLINK,
		.nth = 1,
		.sticky = true,
		.code = CAIRN_EIO,
	};
	struct bench b;
	char *path;

	plan_several_outputs(&b);
	env_fault_set(b.env, &rule);
	ck_assert_int_eq(run_plan(&b, NULL), CAIRN_EIO);
	path = filename_table(DIR, 4);
	ck_assert_msg(!strstr(cairn_errmsg(), path), "%s", cairn_errmsg());
	free(path);
	bench_close(&b);
}
END_TEST

START_TEST(a_damaged_input_fails_the_job)
{
	struct bench b;
	char *path;

	plan_several_outputs(&b);
	path = filename_table(DIR, 2);
	/* The first byte of the first block. */
	ck_assert_int_eq(env_mem_damage(b.mem, path, 0, 0x10), CAIRN_OK);
	ck_assert_int_eq(run_plan(&b, NULL), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(), "000002"), "%s", cairn_errmsg());
	ck_assert_uint_eq(count_files(b.mem), 3);
	free(path);
	bench_close(&b);
}
END_TEST

START_TEST(a_cancelled_job_leaves_no_file_behind)
{
	struct buf text = { 0 };
	struct bench b;

	bench_open(&b);
	b.plan.target_file_size = 1000;
	for (int i = 0; i < 2000; i++)
		ck_assert_int_eq(buf_printf(&text, "key%04d#9pvalue ", i),
				 CAIRN_OK);
	ck_assert_int_eq(buf_append(&text, "", 1), CAIRN_OK);
	add_table(&b, 1, (const char *)text.data);
	plan_levels(&b, 1, 2);
	b.cancel = true;
	ck_assert_int_eq(run_plan(&b, NULL), CAIRN_EABORTED);
	ck_assert_uint_eq(count_files(b.mem), 1);
	ck_assert_uint_lt(b.bytes_done, b.plan.bytes[0]);
	buf_fini(&text);
	bench_close(&b);
}
END_TEST

START_TEST(entries_that_went_missing_fail_the_job)
{
	struct vector v = { 0 };
	struct merge_loop_options merge = { 0 };
	struct output_options opts = { .level = 2 };
	struct output_input in = { .bytes = 100,
				   .counted = true,
				   .entries = 4 };
	struct bench b;

	bench_open(&b);
	merge.snapshots = b.snapshots;
	merge.n_snapshots = 1;
	vector_parse(&v, "a#9p b#9p c#9p");
	in.in = vector_iter_new(&v);
	ck_assert_int_eq(outputs_write(&b.ctx, &in, &merge, &opts, &b.result),
			 CAIRN_ECORRUPT);
	ck_assert_uint_eq(count_files(b.mem), 0);
	ck_assert_uint_eq(b.result.edit.n_added, 0);
	in.entries = 3;
	ck_assert_int_eq(outputs_write(&b.ctx, &in, &merge, &opts, &b.result),
			 CAIRN_OK);
	ck_assert_uint_eq(count_files(b.mem), 1);
	iter_close(in.in);
	vector_fini(&v);
	bench_close(&b);
}
END_TEST

static Suite *job_suite(void)
{
	Suite *s = suite_create("job");
	TCase *tc = tcase_create("flush");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_flush_merges_memtables_into_one_table);
	tcase_add_test(tc, a_flush_keeps_what_snapshots_see);
	tcase_add_test(tc, a_flush_of_nothing_makes_no_table);
	tcase_add_test(tc, the_tables_of_a_finished_job_survive_a_power_cut);
	suite_add_tcase(s, tc);

	tc = tcase_create("compaction");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, overlapping_tables_of_level_0_are_merged_down);
	tcase_add_test(tc, tombstones_stay_while_something_may_be_below);
	tcase_add_test(
		tc, levels_beside_the_job_do_not_keep_it_from_being_the_bottom);
	tcase_add_test(tc, a_job_that_drops_everything_only_deletes);
	tcase_add_test(tc, within_level_0_tombstones_and_numbers_stay);
	tcase_add_test(tc, the_last_level_is_rewritten_in_place);
	tcase_add_test(tc, a_key_is_never_split_over_two_tables);
	tcase_add_test(tc, an_output_ends_at_its_target_size);
	tcase_add_test(tc, an_output_ends_where_it_overlaps_too_much_below);
	tcase_add_test(tc, ages_and_counts_are_handed_on);
	tcase_add_test(tc, a_trivial_move_changes_the_level_of_the_file_itself);
	tcase_add_loop_test(tc, the_filter_drops_and_is_told_what_is_outside, 0,
			    2);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_failed_job_leaves_no_file_behind, 0, 7);
	tcase_add_test(tc, a_failure_to_unlink_does_not_hide_the_cause);
	tcase_add_test(tc, a_damaged_input_fails_the_job);
	tcase_add_test(tc, a_cancelled_job_leaves_no_file_behind);
	tcase_add_test(tc, entries_that_went_missing_fail_the_job);
	suite_add_tcase(s, tc);
	tc = tcase_create("ranges");
	tcase_add_loop_test(tc, range_tombstones_do_their_work_and_go, 0,
			    (int)(sizeof(ranges) / sizeof(ranges[0])));
	tcase_add_test(
		tc, what_ends_where_the_job_begins_does_not_make_it_the_bottom);
	tcase_add_test(
		tc, a_wide_tombstone_is_cut_where_it_overlaps_too_much_below);
	tcase_add_test(tc, tombstones_count_within_the_bounds_of_their_file);
	tcase_add_loop_test(tc, a_table_that_is_deleted_as_a_whole_is_not_read,
			    0, (int)(sizeof(unread) / sizeof(unread[0])));
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(job_suite());
}
