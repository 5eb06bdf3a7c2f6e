/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tables say about their revisions, and reads of the past that look into
 * no table that is too new.
 */
#include "mvcc/table_revs.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/env/env_fault.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

/* A store over files whose reads are counted, without a cache of blocks. */
struct counted {
	struct cairn_env *mem;
	struct cairn_env *env;
	struct mvcc *m;
};

static void counted_open(struct counted *c, bool with_filter)
{
	struct cairn_options *o;
	struct mvcc_options mo = { .chunk_size = CHUNK };

	o = small_options(c->env);
	ck_ok(cairn_options_set(o, "block_cache_size", "0"));
	ck_ok(cairn_options_set(o, "auto_compactions", "false"));
	ck_ok(cairn_options_set(o, "bloom_bits_per_key",
				with_filter ? "10" : "0"));
	mo.engine = o;
	ck_ok(mvcc_open("/db", &mo, &c->m));
	cairn_options_free(o);
}

static void counted_init(struct counted *c)
{
	c->mem = env_mem_new(ENV_MEM_STRICT);
	c->env = env_fault_new(c->mem);
	ck_assert(c->mem && c->env);
	counted_open(c, false);
}

static void counted_fini(struct counted *c)
{
	ck_ok(mvcc_close(c->m));
	env_fault_free(c->env);
	env_mem_free(c->mem);
}

/* ---------------------------------------------------------- the properties */

struct revs {
	bool min_set, max_set;
	uint64_t min, max;
};

static int look(void *ctx, const char *name, const char *value)
{
	struct revs *r = ctx;

	if (!strcmp(name, TABLE_REVS_MIN)) {
		r->min_set = true;
		r->min = strtoull(value, NULL, 16);
	} else if (!strcmp(name, TABLE_REVS_MAX)) {
		r->max_set = true;
		r->max = strtoull(value, NULL, 16);
	} else if (!strcmp(name, "rocksdb.property.collectors")) {
		ck_assert_str_eq(value, "[cairn.mvcc.revisions]");
	}
	return CAIRN_OK;
}

/* Of the newest table. */
static struct revs newest_table(struct counted *f)
{
	struct cairn_options *o = small_options(f->env);
	struct revs r = { 0 };
	const struct cairn_sst_visitor v = { .ctx = &r, .property = look };
	struct cairn_table_list l;
	size_t newest = 0;

	ck_ok(cairn_tables(mvcc_db(f->m), -1, &l));
	ck_assert_uint_gt(l.n, 0);
	for (size_t i = 1; i < l.n; i++)
		if (l.tables[i].number > l.tables[newest].number)
			newest = i;
	ck_ok(cairn_sst_visit(l.tables[newest].path, o, &v));
	cairn_table_list_free(&l);
	cairn_options_free(o);
	ck_assert_int_eq(r.min_set, r.max_set);
	return r;
}

START_TEST(a_table_has_the_lowest_and_the_highest_revision_in_it)
{
	struct counted f;
	int64_t first, last;
	struct revs r;

	counted_init(&f);
	flush(f.m);
	first = put(f.m, "a", "1");
	put(f.m, "b", "1");
	last = del(f.m, "a");
	flush(f.m);
	r = newest_table(&f);
	ck_assert(r.min_set);
	ck_assert_uint_eq(r.min, (uint64_t)first);
	ck_assert_uint_eq(r.max, (uint64_t)last);
	first = put(f.m, "c", "1");
	flush(f.m);
	r = newest_table(&f);
	ck_assert_uint_eq(r.min, (uint64_t)first);
	ck_assert_uint_eq(r.max, (uint64_t)first);
	/* Marks have no revision. */
	ck_ok(mvcc_forget(f.m, last));
	flush(f.m);
	r = newest_table(&f);
	ck_assert(!r.min_set);
	counted_fini(&f);
}
END_TEST

/* What the collector makes of one key. */
static const struct {
	const char *name;
	const char *key;
	size_t len;
	enum cairn_entry_kind kind;
	int want; /* -1: it does not count */
} keys[] = {
	{ "a row", "ka\0\1\xff\xff\xff\xff\xff\xff\xff\xf8\xff\xff\xff\xff", 16,
	  CAIRN_ENTRY_PUT, 7 },
	{ "a deleted row",
	  "ka\0\1\xff\xff\xff\xff\xff\xff\xff\xf8\xff\xff\xff\xff", 16,
	  CAIRN_ENTRY_DELETE, 7 },
	{ "a row cut short", "ka\0\1\xff\xff", 6, CAIRN_ENTRY_PUT, 0 },
	{ "a log entry", "r\0\0\0\0\0\0\0\x09\0\0\0\0", 13, CAIRN_ENTRY_PUT,
	  9 },
	{ "a log entry cut short", "r\0\0\0\0\0", 6, CAIRN_ENTRY_PUT, 0 },
	{ "a log entry of no revision", "r\xff\0\0\0\0\0\0\x09\0\0\0\0", 13,
	  CAIRN_ENTRY_PUT, 0 },
	{ "a chunk",
	  "c\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xfa",
	  25, CAIRN_ENTRY_PUT, 5 },
	{ "a chunk that is staged",
	  "c\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xff",
	  25, CAIRN_ENTRY_PUT, 0 },
	{ "a range of log entries", "r\0\0\0\0\0\0\0\1\0\0\0\0", 13,
	  CAIRN_ENTRY_RANGE_DELETE, -1 },
	{ "a mark", "m/compact", 9, CAIRN_ENTRY_PUT, -1 },
	{ "an object's mark", "o\0\0\0\0\0\0\0\1", 9, CAIRN_ENTRY_PUT, -1 },
	{ "no key at all", "", 0, CAIRN_ENTRY_PUT, -1 },
	{ "a key of nobody", "zebra", 5, CAIRN_ENTRY_PUT, -1 },
};

START_TEST(each_kind_of_key_counts_as_it_should)
{
	const struct cairn_table_collector *c = &table_revs_collector;
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_options *o = small_options(env);
	struct revs r = { 0 };
	const struct cairn_sst_visitor v = { .ctx = &r, .property = look };
	struct cairn_slice key =
		slice_of((const uint8_t *)keys[_i].key, keys[_i].len);
	struct cairn_sst_writer *w;

	cairn_options_set_table_collector(o, c);
	ck_ok(cairn_sst_writer_open("/t.sst", o, &w));
	if (keys[_i].kind == CAIRN_ENTRY_DELETE)
		ck_ok(cairn_sst_writer_delete(w, key));
	else if (keys[_i].kind == CAIRN_ENTRY_RANGE_DELETE)
		ck_ok(cairn_sst_writer_delete_range(w, key, S("s")));
	else
		ck_ok(cairn_sst_writer_put(w, key, S("value")));
	ck_ok(cairn_sst_writer_finish(w, NULL));
	cairn_sst_writer_free(w);
	ck_ok(cairn_sst_visit("/t.sst", o, &v));
	ck_assert_msg(r.min_set == (keys[_i].want >= 0), "%s", keys[_i].name);
	if (keys[_i].want >= 0) {
		ck_assert_msg(r.min == (uint64_t)keys[_i].want, "%s",
			      keys[_i].name);
		ck_assert_uint_eq(r.max, r.min);
	}
	cairn_options_free(o);
	env_mem_free(env);
}
END_TEST

/* ------------------------------------------------------------ skipping */

static uint64_t reads(struct counted *c)
{
	return env_fault_count(c->env, ENV_FAULT_READ);
}

static size_t scan(struct mvcc *m, int64_t rev)
{
	struct mvcc_scan *s;
	struct mvcc_row row;
	size_t n = 0;
	int err;

	ck_ok(mvcc_scan_new(m, rev, none(), none(), false, &s));
	while (!(err = mvcc_scan_next(s, &row)))
		n++;
	ck_code(err, CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
	return n;
}

/* Ten keys that stay, and then many tables of other revisions. */
static int64_t grow(struct counted *c)
{
	char key[16];
	int64_t old = 0;

	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "key-%02d", i);
		old = put(c->m, key, "old");
	}
	flush(c->m);
	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 10; i++) {
			snprintf(key, sizeof(key), "key-%02d%s", i,
				 round % 2 ? "" : "-other");
			put(c->m, key, "new");
		}
		flush(c->m);
	}
	return old;
}

START_TEST(a_read_of_the_past_looks_into_no_table_that_is_newer)
{
	struct counted c;
	uint64_t before, now, then;
	int64_t old;

	counted_init(&c);
	old = grow(&c);
	/* Tables are open after this. */
	ck_assert_uint_eq(scan(c.m, 0), 20);
	before = reads(&c);
	ck_assert_uint_eq(scan(c.m, 0), 20);
	now = reads(&c) - before;
	before = reads(&c);
	ck_assert_uint_eq(scan(c.m, old), 10);
	then = reads(&c) - before;
	ck_assert_uint_ge(now, 13);
	ck_assert_uint_eq(then, 1);
	/* A single key, too; the newest row is not the one. */
	before = reads(&c);
	ck_value(c.m, "key-03", old, "old");
	ck_assert_uint_le(reads(&c) - before, 1);
	ck_value(c.m, "key-03", 0, "new");
	ck_value(c.m, "key-03-other", old, NULL);
	counted_fini(&c);
}
END_TEST

START_TEST(tables_without_the_properties_are_looked_into)
{
	struct cairn_options *o;
	struct cairn_db *db;
	struct counted c;
	int64_t old;

	/* Rewritten by somebody who knows nothing of revisions. */
	counted_init(&c);
	old = grow(&c);
	ck_ok(mvcc_close(c.m));
	o = small_options(c.env);
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_compact_range(db, none(), none(), NULL));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
	counted_open(&c, true);
	ck_assert_uint_eq(scan(c.m, old), 10);
	ck_assert_uint_eq(scan(c.m, 0), 20);
	ck_value(c.m, "key-03", old, "old");
	/* And so they are beside some that have them. */
	put(c.m, "key-03", "newest");
	flush(c.m);
	ck_value(c.m, "key-03", old, "old");
	ck_value(c.m, "key-03", 0, "newest");
	ck_assert_uint_eq(scan(c.m, old), 10);
	counted_fini(&c);
}
END_TEST

/* ------------------------------------------------------------ the model */

#define KEYS 24
#define REVS 260

struct history {
	struct fixture f;
	struct rng r;
	/* Number of the value at each revision, 0: absent. */
	int value[REVS + 2][KEYS];
	int64_t last; /* 1: nothing was written */
	int64_t oldest;
};

/* Every third value is one of several chunks. */
static void value_text(int v, char *out, size_t size)
{
	int len = v % 3 == 0 ? (int)CHUNK * 2 + v % 100 : 1 + v % 9;

	ck_assert_uint_lt((size_t)len + 12, size);
	snprintf(out, size, "%d-%0*d", v, len, v);
}

static void change(struct history *h)
{
	int key = (int)rng_below(&h->r, KEYS);
	char name[16], text[512];
	int64_t rev;

	snprintf(name, sizeof(name), "d%d/key-%02d", key % 3, key);
	memcpy(h->value[h->last + 1], h->value[h->last], sizeof(h->value[0]));
	if (h->value[h->last][key] && rng_one_in(&h->r, 4)) {
		rev = del(h->f.m, name);
		h->value[h->last + 1][key] = 0;
	} else {
		value_text((int)h->last, text, sizeof(text));
		rev = put(h->f.m, name, text);
		h->value[h->last + 1][key] = (int)h->last;
	}
	ck_assert_int_eq(rev, ++h->last);
}

static void check_scan(struct history *h, int64_t rev)
{
	struct mvcc_scan *s;
	struct mvcc_row row;
	size_t want = 0, n = 0;
	int err;

	for (int i = 0; i < KEYS; i++)
		want += h->value[rev][i] != 0;
	ck_ok(mvcc_scan_new(h->f.m, rev, none(), none(), rng_one_in(&h->r, 2),
			    &s));
	while (!(err = mvcc_scan_next(s, &row)))
		n++;
	ck_code(err, CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
	ck_assert_uint_eq(n, want);
}

static void check(struct history *h)
{
	int64_t rev =
		h->oldest +
		(int64_t)rng_below(&h->r, (uint64_t)(h->last - h->oldest + 1));

	check_scan(h, rev);
	for (int i = 0; i < 6; i++) {
		int key = (int)rng_below(&h->r, KEYS);
		char name[16], text[512];

		snprintf(name, sizeof(name), "d%d/key-%02d", key % 3, key);
		value_text(h->value[rev][key], text, sizeof(text));
		ck_value(h->f.m, name, rev, h->value[rev][key] ? text : NULL);
	}
}

/* As RocksDB would: what it writes has no properties of ours. */
static void rewrite_without(struct history *h)
{
	struct cairn_options *o = small_options(h->f.env);
	struct cairn_db *db;

	ck_ok(mvcc_close(h->f.m));
	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_compact_range(db, none(), none(), NULL));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
	ck_ok(store_open_at(h->f.env, &h->f.m));
}

START_TEST(every_revision_reads_as_it_was)
{
	struct history *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	rng_init(&h->r, 900 + (uint64_t)_i);
	fixture_init(&h->f);
	h->last = h->oldest = 1;
	while (h->last < REVS) {
		change(h);
		switch (rng_below(&h->r, 40)) {
		case 0:
		case 1:
		case 2:
		case 3:
			flush(h->f.m);
			break;
		case 4:
			compact(h->f.m);
			break;
		case 5:
			if (rng_one_in(&h->r, 4))
				rewrite_without(h);
			break;
		case 6:
			if (h->last - h->oldest > 60) {
				h->oldest += 20;
				ck_ok(mvcc_forget(h->f.m, h->oldest));
			}
			break;
		case 7:
			fixture_reopen(&h->f);
			break;
		default:
			break;
		}
		check(h);
	}
	fixture_fini(&h->f);
	free(h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table_revs");
	TCase *tc = tcase_create("properties");

	tcase_add_test(tc,
		       a_table_has_the_lowest_and_the_highest_revision_in_it);
	tcase_add_loop_test(tc, each_kind_of_key_counts_as_it_should, 0,
			    (int)(sizeof(keys) / sizeof(keys[0])));
	suite_add_tcase(s, tc);

	tc = tcase_create("reads");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc,
		       a_read_of_the_past_looks_into_no_table_that_is_newer);
	tcase_add_test(tc, tables_without_the_properties_are_looked_into);
	tcase_add_loop_test(tc, every_revision_reads_as_it_was, 0, 6);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
