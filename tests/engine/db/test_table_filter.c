/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Properties that a collector gives to tables, and iterators that leave tables
 * out by them.
 */
#include "engine/base/buf.h"
#include "engine/base/coding.h"
#include "engine/base/rng.h"
#include "engine/db/db.h"
#include "tests/support/db_test.h"

#define NONE     slice_of(NULL, 0)
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------- collecting */

/*
 * Keys end in two digits, their version. Tables know the lowest one, and how
 * many entries of each kind they have.
 */
struct seen {
	int lowest;
	unsigned kind[16];
	bool ascends;
	struct buf last;
};

struct collector {
	struct cairn_table_collector base;
	_Atomic int alive;   /* states */
	_Atomic bool refuse; /* collect nothing */
	bool fail;           /* fail when asked for the result */
};

static int version_of(struct cairn_slice key)
{
	return (key.data[key.len - 2] - '0') * 10 + key.data[key.len - 1] - '0';
}

/* What end() needs of the collector it belongs to. */
struct state {
	struct seen seen;
	struct collector *c;
};

static void *seen_begin(void *ctx)
{
	struct collector *c = ctx;
	struct state *s;

	if (c->refuse)
		return NULL;
	s = calloc(1, sizeof(*s));
	ck_assert_ptr_nonnull(s);
	s->c = c;
	s->seen.lowest = 100;
	s->seen.ascends = true;
	atomic_fetch_add(&c->alive, 1);
	return s;
}

static void seen_add(void *table, enum cairn_entry_kind kind,
		     struct cairn_slice key, struct cairn_slice value)
{
	struct seen *s = &((struct state *)table)->seen;

	(void)value;
	ck_assert_uint_lt(kind, N(s->kind));
	s->kind[kind]++;
	if (kind == CAIRN_ENTRY_RANGE_DELETE)
		return;
	if (version_of(key) < s->lowest)
		s->lowest = version_of(key);
	s->ascends &= slice_cmp(buf_slice(&s->last), key) <= 0;
	CK_OK(buf_set(&s->last, key));
}

static int seen_finish(void *table, struct cairn_table_properties *out)
{
	struct state *state = table;
	struct seen *s = &state->seen;
	char text[64];
	int err;

	if (state->c->fail)
		return CAIRN_EINVAL;
	ck_assert(s->ascends);
	snprintf(text, sizeof(text), "%02d", s->lowest);
	err = cairn_table_property_set(out, "test.lowest", slice_str(text));
	if (err)
		return err;
	snprintf(text, sizeof(text), "%u puts %u deletes %u merges %u ranges",
		 s->kind[CAIRN_ENTRY_PUT], s->kind[CAIRN_ENTRY_DELETE],
		 s->kind[CAIRN_ENTRY_MERGE], s->kind[CAIRN_ENTRY_RANGE_DELETE]);
	return cairn_table_property_set(out, "test.kinds", slice_str(text));
}

static void seen_end(void *table)
{
	struct state *s = table;

	atomic_fetch_sub(&s->c->alive, 1);
	buf_fini(&s->seen.last);
	free(s);
}

static void collector_init(struct collector *c)
{
	*c = (struct collector){
		.base = { .name = "test.seen",
			  .ctx = c,
			  .begin = seen_begin,
			  .add = seen_add,
			  .finish = seen_finish,
			  .end = seen_end },
	};
}

struct store {
	struct test_db t;
	struct collector c;
};

static void store_open(struct store *s)
{
	collector_init(&s->c);
	tdb_init(&s->t, NULL);
	tdb_set(&s->t, "auto_compactions", "false");
	tdb_set(&s->t, "merge_operator", "stringappend");
	cairn_options_set_table_collector(s->t.opts, &s->c.base);
	tdb_open(&s->t);
}

static void store_close(struct store *s)
{
	tdb_fini(&s->t);
	ck_assert_int_eq(s->c.alive, 0);
}

/* ------------------------------------------------------------- the facts */

/* A filter that leaves nothing out but tells what it is shown. */
struct teller {
	struct cairn_table_filter filter;
	struct buf said; /* "LOWEST;KINDS;SMALLEST;LARGEST " per table */
};

static void tell(struct buf *out, const struct cairn_table_facts *t,
		 const char *name)
{
	struct cairn_slice v = slice_str("-");
	int err = cairn_table_property(t, name, &v);

	ck_assert(err == CAIRN_OK || err == CAIRN_NOT_FOUND);
	CK_OK(buf_printf(out, "%.*s;", (int)v.len, (const char *)v.data));
}

static bool tell_and_keep(void *ctx, const struct cairn_table_facts *t)
{
	struct teller *w = ctx;

	ck_assert_uint_gt(t->number, 0);
	ck_assert_uint_gt(t->size_bytes, 0);
	ck_assert(t->seqnos_known);
	ck_assert_uint_le(t->smallest_seqno, t->largest_seqno);
	tell(&w->said, t, "test.lowest");
	tell(&w->said, t, "test.kinds");
	CK_OK(buf_printf(&w->said, "%.*s;%.*s ", (int)t->smallest.len,
			 (const char *)t->smallest.data, (int)t->largest.len,
			 (const char *)t->largest.data));
	return false;
}

static void expect_tables(struct test_db *t, const char *want)
{
	struct teller w = { .filter = { &w, tell_and_keep } };
	struct cairn_read_options o = { .table_filter = &w.filter };
	struct cairn_iter *it;

	CK_OK(cairn_iter_new(t->db, &o, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		;
	CK_OK(cairn_iter_status(it));
	cairn_iter_free(it);
	ck_assert_msg(slice_eq(buf_slice(&w.said), slice_str(want)),
		      "%.*s, not %s", (int)w.said.len, (char *)w.said.data,
		      want);
	buf_fini(&w.said);
}

static void compact_all(struct test_db *t)
{
	CK_OK(cairn_compact_range(t->db, NONE, NONE, NULL));
}

START_TEST(what_is_written_has_the_properties_that_were_collected)
{
	struct store s;

	store_open(&s);
	tdb_put(&s.t, "a07", "1");
	tdb_put(&s.t, "b05", "1");
	tdb_delete(&s.t, "c03");
	CK_OK(cairn_merge(s.t.db, NULL, slice_str("d09"), slice_str("1")));
	CK_OK(cairn_delete_range(s.t.db, NULL, slice_str("e00"),
				 slice_str("f00")));
	CK_OK(cairn_flush(s.t.db, true));
	expect_tables(&s.t, "03;2 puts 1 deletes 1 merges 1 ranges;a07;f00 ");
	/* A compaction asks anew. */
	compact_all(&s.t);
	expect_tables(&s.t, "05;3 puts 0 deletes 0 merges 0 ranges;a07;d09 ");
	/* So do other opens, without a collector as well. */
	cairn_options_set_table_collector(s.t.opts, NULL);
	tdb_reopen(&s.t);
	expect_tables(&s.t, "05;3 puts 0 deletes 0 merges 0 ranges;a07;d09 ");
	tdb_put(&s.t, "a08", "1");
	compact_all(&s.t);
	expect_tables(&s.t, "-;-;a07;d09 ");
	store_close(&s);
}
END_TEST

START_TEST(an_external_table_brings_its_properties_along)
{
	const char *const path = "/outside.sst";
	struct cairn_sst_writer *w;
	struct store s;

	store_open(&s);
	CK_OK(cairn_sst_writer_open(path, s.t.opts, &w));
	CK_OK(cairn_sst_writer_put(w, slice_str("x21"), slice_str("1")));
	CK_OK(cairn_sst_writer_delete_range(w, slice_str("y00"),
					    slice_str("z00")));
	CK_OK(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	CK_OK(cairn_ingest(s.t.db, &path, 1, NULL));
	expect_tables(&s.t, "21;1 puts 0 deletes 0 merges 1 ranges;x21;z00 ");
	store_close(&s);
}
END_TEST

struct listed {
	bool collectors, lowest;
};

static int look_at_property(void *ctx, const char *name, const char *value)
{
	struct listed *l = ctx;

	if (!strcmp(name, "rocksdb.property.collectors")) {
		ck_assert_str_eq(value, "[test.seen]");
		l->collectors = true;
	}
	if (!strcmp(name, "test.lowest")) {
		ck_assert_str_eq(value, "07");
		l->lowest = true;
	}
	return CAIRN_OK;
}

START_TEST(the_properties_are_among_those_that_are_shown)
{
	struct listed l = { 0 };
	const struct cairn_sst_visitor v = { .ctx = &l,
					     .property = look_at_property };
	struct cairn_table_list tables;
	struct store s;

	store_open(&s);
	tdb_put(&s.t, "a07", "1");
	CK_OK(cairn_flush(s.t.db, true));
	CK_OK(cairn_tables(s.t.db, -1, &tables));
	ck_assert_uint_eq(tables.n, 1);
	CK_OK(cairn_sst_visit(tables.tables[0].path, s.t.opts, &v));
	ck_assert(l.collectors && l.lowest);
	cairn_table_list_free(&tables);
	CK_OK(cairn_verify_checksums(s.t.db));
	store_close(&s);
}
END_TEST

START_TEST(a_collector_may_have_nothing_to_say)
{
	struct store s;

	store_open(&s);
	s.c.refuse = true;
	tdb_put(&s.t, "a07", "1");
	CK_OK(cairn_flush(s.t.db, true));
	expect_tables(&s.t, "-;-;a07;a07 ");
	store_close(&s);
}
END_TEST

START_TEST(a_collector_that_fails_fails_the_table)
{
	struct cairn_sst_writer *w;
	struct store s;

	store_open(&s);
	s.c.fail = true;
	CK_OK(cairn_sst_writer_open("/outside.sst", s.t.opts, &w));
	CK_OK(cairn_sst_writer_put(w, slice_str("x21"), slice_str("1")));
	CK_CODE(cairn_sst_writer_finish(w, NULL), CAIRN_EINVAL);
	cairn_sst_writer_free(w);
	ck_assert_int_eq(s.c.alive, 0);
	s.c.fail = false;
	store_close(&s);
}
END_TEST

/* --------------------------------------------------------------- skipping */

/* Leaves out tables whose lowest version is above. */
struct old_only {
	struct cairn_table_filter filter;
	int version;
	unsigned skipped;
};

static bool skip_newer(void *ctx, const struct cairn_table_facts *t)
{
	struct old_only *f = ctx;
	struct cairn_slice lowest;
	bool skip = !cairn_table_property(t, "test.lowest", &lowest) &&
		    version_of(lowest) > f->version;

	f->skipped += skip;
	return skip;
}

static struct old_only old_only(int version)
{
	return (struct old_only){ .version = version };
}

/* All keys of one letter and a version below, in one walk each way. */
static void expect_keys(struct test_db *t, struct old_only *f, const char *want)
{
	struct cairn_read_options o = { 0 };

	if (f) {
		f->filter = (struct cairn_table_filter){ f, skip_newer };
		o.table_filter = &f->filter;
	}
	tdb_expect_keys(t, &o, want);
}

START_TEST(a_table_that_is_skipped_shows_no_entries)
{
	struct old_only f = old_only(10);
	struct store s;

	store_open(&s);
	tdb_put(&s.t, "a05", "1");
	tdb_put(&s.t, "b20", "1");
	CK_OK(cairn_flush(s.t.db, true));
	tdb_put(&s.t, "c30", "1");
	CK_OK(cairn_flush(s.t.db, true));
	tdb_put(&s.t, "d40", "1");
	expect_keys(&s.t, NULL, "a05b20c30d40");
	/* The memtable is always there. */
	expect_keys(&s.t, &f, "a05b20d40");
	ck_assert_uint_gt(f.skipped, 0);
	store_close(&s);
}
END_TEST

START_TEST(deletions_that_are_skipped_delete_nothing)
{
	struct old_only f = old_only(10);
	struct store s;

	/* The danger that the manual speaks of. */
	store_open(&s);
	tdb_put(&s.t, "a05", "1");
	tdb_put(&s.t, "b20", "1");
	CK_OK(cairn_flush(s.t.db, true));
	compact_all(&s.t);
	tdb_delete(&s.t, "b20");
	CK_OK(cairn_flush(s.t.db, true));
	expect_keys(&s.t, NULL, "a05");
	expect_keys(&s.t, &f, "a05b20");
	store_close(&s);
}
END_TEST

START_TEST(range_deletions_of_a_skipped_table_count)
{
	struct old_only f = old_only(10);
	struct store s;

	store_open(&s);
	tdb_put(&s.t, "a05", "1");
	tdb_put(&s.t, "b20", "1");
	tdb_put(&s.t, "c20", "1");
	tdb_put(&s.t, "e20", "1");
	CK_OK(cairn_flush(s.t.db, true));
	compact_all(&s.t);
	/* Between, before and behind the points of the table. */
	tdb_put(&s.t, "d30", "1");
	CK_OK(cairn_delete_range(s.t.db, NULL, slice_str("b00"),
				 slice_str("c00")));
	CK_OK(cairn_delete_range(s.t.db, NULL, slice_str("e00"),
				 slice_str("f00")));
	CK_OK(cairn_flush(s.t.db, true));
	expect_keys(&s.t, NULL, "a05c20d30");
	expect_keys(&s.t, &f, "a05c20");
	ck_assert_uint_gt(f.skipped, 0);
	store_close(&s);
}
END_TEST

START_TEST(what_is_skipped_is_not_read)
{
	struct old_only f = old_only(10);
	struct cairn_read_options o = { .table_filter = &f.filter };
	struct cairn_iter *it;
	struct store s;
	uint64_t reads;
	int n = 0;

	f.filter = (struct cairn_table_filter){ &f, skip_newer };
	store_open(&s);
	tdb_set(&s.t, "block_cache_size", "0");
	tdb_reopen(&s.t);
	/* 20 tables in a row, every tenth of which is old. */
	for (int i = 0; i < 20; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%02d-%02d", i, i % 10 ? 50 : 5);
		tdb_put(&s.t, key, "1");
		CK_OK(cairn_flush(s.t.db, true));
	}
	/* The first walk opens them. */
	CK_OK(cairn_iter_new(s.t.db, NULL, &it));
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		;
	cairn_iter_free(it);
	CK_OK(cairn_iter_new(s.t.db, &o, &it));
	reads = env_fault_count(s.t.env, ENV_FAULT_READ);
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it))
		n++;
	CK_OK(cairn_iter_status(it));
	ck_assert_int_eq(n, 2);
	ck_assert_uint_eq(env_fault_count(s.t.env, ENV_FAULT_READ) - reads, 2);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

/* ---------------------------------------------------------------- the model
 */

#define LETTERS  60
#define VERSIONS 100

struct model {
	bool there[LETTERS][VERSIONS];
};

static struct cairn_slice versioned(char out[16], int letter, int version)
{
	return slice_of(
		out, (size_t)snprintf(out, 16, "%03d-%02d", letter, version));
}

static void expect_versions(struct cairn_iter *it, const struct model *m,
			    int letter, int below, int version)
{
	char key[16];

	/* All that is at or below version must come, and nothing else that is;
	 * what is above may. */
	for (int i = letter; i < below; i++)
		for (int v = 0; v <= version; v++) {
			if (!m->there[i][v])
				continue;
			while (cairn_iter_valid(it) &&
			       version_of(cairn_iter_key(it)) > version)
				cairn_iter_next(it);
			ck_assert_msg(cairn_iter_valid(it) &&
					      slice_eq(cairn_iter_key(it),
						       versioned(key, i, v)),
				      "%s is missing", key);
			cairn_iter_next(it);
		}
	while (cairn_iter_valid(it) && version_of(cairn_iter_key(it)) > version)
		cairn_iter_next(it);
	CK_OK(cairn_iter_status(it));
	ck_assert(!cairn_iter_valid(it));
}

static void check(struct store *s, const struct model *m, struct rng *r)
{
	struct old_only f = old_only((int)rng_below(r, VERSIONS));
	struct cairn_read_options o = { .table_filter = &f.filter };
	char low[16], high[16];
	struct cairn_iter *it, *clone;
	int from = 0, to = LETTERS;

	f.filter = (struct cairn_table_filter){ &f, skip_newer };
	CK_OK(cairn_iter_new(s->t.db, &o, &it));
	cairn_iter_first(it);
	expect_versions(it, m, 0, LETTERS, f.version);
	for (int i = 0; i < 6; i++) {
		from = (int)rng_below(r, LETTERS);
		to = from + (int)rng_below(r, (uint64_t)(LETTERS - from));
		cairn_iter_set_bounds(it, versioned(low, from, 0),
				      versioned(high, to, 0));
		CK_OK(cairn_iter_clone(it, NULL, &clone));
		cairn_iter_first(it);
		expect_versions(it, m, from, to, f.version);
		cairn_iter_seek_ge(clone, versioned(low, from, 0));
		expect_versions(clone, m, from, to, f.version);
		cairn_iter_free(clone);
	}
	cairn_iter_free(it);
}

static void change(struct store *s, struct model *m, struct rng *r, int newest)
{
	int letter = (int)rng_below(r, LETTERS);
	int version = newest - (int)rng_below(r, 6);
	int end = letter + 1 + (int)rng_below(r, 5);
	char key[16], to[16];

	if (version < 0)
		version = 0;
	switch (rng_below(r, 20)) {
	case 0:
		/* All versions: they count, also where their table does not. */
		if (end > LETTERS)
			end = LETTERS;
		CK_OK(cairn_delete_range(s->t.db, NULL,
					 versioned(key, letter, 0),
					 versioned(to, end, 0)));
		for (; letter < end; letter++)
			memset(m->there[letter], 0, sizeof(m->there[letter]));
		break;
	case 1:
	case 2:
		CK_OK(cairn_delete(s->t.db, NULL,
				   versioned(key, letter, version)));
		m->there[letter][version] = false;
		break;
	default:
		CK_OK(cairn_put(s->t.db, NULL, versioned(key, letter, version),
				slice_str("v")));
		m->there[letter][version] = true;
	}
}

START_TEST(a_filter_by_versions_hides_none_that_are_wanted)
{
	static const char *const settings[][2] = {
		{ "write_buffer_size", "16K" },
		{ "l0_compaction_trigger", "3" },
		{ "base_level_size", "4K" },
		{ "target_file_size", "1K" },
		{ "level_multiplier", "3" },
		{ "block_size", "128" },
	};
	struct model *m = calloc(1, sizeof(*m));
	struct store s;
	struct rng r;

	ck_assert_ptr_nonnull(m);
	rng_init(&r, 70 + (uint64_t)_i);
	collector_init(&s.c);
	tdb_init(&s.t, NULL);
	for (size_t i = 0; i < N(settings); i++)
		tdb_set(&s.t, settings[i][0], settings[i][1]);
	cairn_options_set_table_collector(s.t.opts, &s.c.base);
	tdb_open(&s.t);
	for (int newest = 0; newest < VERSIONS; newest++) {
		/* Tables without the property in between. */
		s.c.refuse = rng_one_in(&r, 5);
		for (uint64_t n = rng_below(&r, 60); n; n--)
			change(&s, m, &r, newest);
		if (rng_one_in(&r, 3))
			CK_OK(cairn_flush(s.t.db, true));
		if (rng_one_in(&r, 30))
			compact_all(&s.t);
		check(&s, m, &r);
	}
	store_close(&s);
	free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table_filter");
	TCase *tc = tcase_create("properties");

	tcase_add_test(tc,
		       what_is_written_has_the_properties_that_were_collected);
	tcase_add_test(tc, an_external_table_brings_its_properties_along);
	tcase_add_test(tc, the_properties_are_among_those_that_are_shown);
	tcase_add_test(tc, a_collector_may_have_nothing_to_say);
	tcase_add_test(tc, a_collector_that_fails_fails_the_table);
	suite_add_tcase(s, tc);

	tc = tcase_create("skipping");
	tcase_add_test(tc, a_table_that_is_skipped_shows_no_entries);
	tcase_add_test(tc, deletions_that_are_skipped_delete_nothing);
	tcase_add_test(tc, range_deletions_of_a_skipped_table_count);
	tcase_add_test(tc, what_is_skipped_is_not_read);
	suite_add_tcase(s, tc);

	tc = tcase_create("model");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_filter_by_versions_hides_none_that_are_wanted,
			    0, 6);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
