/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables that RocksDB and LevelDB wrote, in tests/data/golden. Each is read in
 * all ways there are, and what comes out must agree with itself, with what the
 * MANIFEST said of the table (files.tsv), and, where the tables of a directory
 * are all of its data, with its contents (expected.tsv).
 */
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/env/env.h"
#include "engine/table/filter.h"
#include "engine/table/table_priv.h"
#include "tests/support/runner.h"
#include "tests/support/vector_iter.h"

#define PATH_LEN 4096

/* What may be refused, and the word that the message must have. */
static const struct {
	const char *prefix; /* of the directory's name */
	const char *word;
} refusals[] = {
	{ "x-reversecmp", "ReverseBytewiseComparator" },
	{ "x-blob", "blob index" },
	{ "x-widecol", "wide-column" },
	{ "comp-zlib", "zlib" },
	{ "comp-bzip2", "bzip2" },
	{ "comp-lz4", "lz4" },
};

static const char *root(void)
{
	static char path[PATH_LEN];
	const char *golden = getenv("CAIRN_GOLDEN");
	const char *srcdir = getenv("srcdir");

	if (golden)
		return golden;
	snprintf(path, sizeof(path), "%s/tests/data/golden",
		 srcdir ? srcdir : ".");
	return path;
}

/* A file of a golden directory; false when there is none. */
static bool read_text(const char *dir, const char *name, struct buf *out)
{
	char path[PATH_LEN];
	int err;

	ck_assert(snprintf(path, sizeof(path), "%s/%s/%s", root(), dir, name) <
		  PATH_LEN);
	err = env_read_file(env_posix(), path, 1u << 20, out);
	if (err)
		return false;
	ck_assert_int_eq(buf_append(out, "", 1), CAIRN_OK);
	return true;
}

/* What files.tsv says of a table: family, level, number, size, bounds. */
struct file_line {
	uint64_t number;
	const char *smallest;
	const char *largest;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
};

static void hex(struct cairn_slice s, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < s.len; i++)
		ck_assert(!buf_printf(out, "%02x", s.data[i]));
	ck_assert(!buf_append(out, "", 1));
}

static void hex_is(struct cairn_slice s, const char *want)
{
	struct buf b = { 0 };

	hex(s, &b);
	ck_assert_str_eq((const char *)b.data, want);
	buf_fini(&b);
}

static bool refused(const char *dir, int err)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (!strncmp(dir, refusals[i].prefix,
			     strlen(refusals[i].prefix)))
			return err == CAIRN_ENOTSUP &&
			       strstr(cairn_errmsg(), refusals[i].word);
	return false;
}

static size_t fixed3(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len >= 3 ? 3 : SIZE_MAX;
}

static size_t fixed4(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len >= 4 ? 4 : SIZE_MAX;
}

static const struct cairn_prefix_extractor px3 = { "rocksdb.FixedPrefix.3",
						   NULL, fixed3 };
static const struct cairn_prefix_extractor px4 = { "rocksdb.FixedPrefix.4",
						   NULL, fixed4 };

/* The entries from where it stands on. */
static int drain(struct iter *it, struct vector *out)
{
	for (; it->valid; iter_next(it))
		vector_add(out, it->key.user_key, ikey_seqno(&it->key),
			   ikey_kind(&it->key), it->value);
	return it->status;
}

static void same_entry(const struct iter *it, const struct vector *v, size_t i)
{
	ck_assert_int_eq(it->status, CAIRN_OK);
	ck_assert(it->valid == (i < v->n));
	if (i == v->n)
		return;
	ck_assert_int_eq(ikey_cmp(&it->key, &v->entries[i].key), 0);
	ck_assert(slice_eq(it->value, v->entries[i].value));
}

static void walk_back(struct table *t, enum table_scan scan,
		      const struct vector *v)
{
	struct iter *it;
	size_t i = v->n;

	ck_assert(!table_iter_new(t, scan, &it));
	iter_last(it);
	while (i-- > 0) {
		same_entry(it, v, i);
		iter_prev(it);
	}
	ck_assert(!it->valid);
	iter_close(it);
}

/* Seeks for each key and for what is just beside it. */
static void seek_all(struct table *t, enum table_scan scan,
		     const struct vector *v)
{
	struct iter *it;

	ck_assert(!table_iter_new(t, scan, &it));
	for (size_t i = 0; i < v->n; i++) {
		struct ikey k = v->entries[i].key;

		iter_seek_ge(it, &k);
		same_entry(it, v, i);
		iter_seek_lt(it, &k);
		if (i == 0)
			ck_assert(!it->valid && !it->status);
		else
			same_entry(it, v, i - 1);
		/* A deletion without a number is the last there can be. */
		if (k.trailer-- == 0)
			continue;
		iter_seek_ge(it, &k);
		same_entry(it, v, i + 1);
		iter_seek_lt(it, &k);
		same_entry(it, v, i);
	}
	iter_close(it);
}

static void get_all(struct table *t, const struct vector *v)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct vector_entry *e = &v->entries[i];
		struct cairn_pinned value = { 0 };
		uint64_t trailer;
		int err = table_get(t, e->key.user_key, ikey_seqno(&e->key),
				    true, &trailer, &value);

		ck_assert_msg(!err, "%s", cairn_errmsg());
		ck_assert(trailer == e->key.trailer);
		ck_assert(slice_eq(value.value, e->value));
		cairn_pinned_release(&value);
	}
}

/* With every prefix that keys have, seek_prefix_ge finds them. */
static void seek_prefixes(struct table *t, const struct vector *v,
			  const struct cairn_prefix_extractor *px)
{
	struct iter *it;

	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	for (size_t i = 0; i < v->n; i++) {
		const struct ikey *k = &v->entries[i].key;
		size_t len = px->prefix_len(px->ctx, k->user_key);

		if (len == SIZE_MAX)
			continue;
		iter_seek_prefix_ge(it, k, slice_of(k->user_key.data, len));
		same_entry(it, v, i);
	}
	iter_close(it);
}

static int read_table(const char *dir, const char *path, uint64_t number,
		      const struct table_read_options *opts, struct vector *v,
		      struct table **out)
{
	struct rfile *f;
	struct iter *it;
	struct env_stat st;
	int err = env_stat(env_posix(), path, &st);

	ck_assert_msg(!err, "%s", path);
	ck_assert(!env_open_read(env_posix(), path, &f));
	err = table_open(f, path, number, st.size, opts, out);
	if (err)
		return err;
	ck_assert(!table_iter_new(*out, TABLE_SCAN_CACHED, &it));
	iter_first(it);
	err = drain(it, v);
	iter_close(it);
	if (err)
		table_close(*out);
	else if (!err && table_verify(*out))
		ck_abort_msg("%s: %s", dir, cairn_errmsg());
	return err;
}

/* Offsets go up with the keys, from 0 to where the data ends. */
static void check_offsets(struct table *t, const struct vector *v)
{
	uint64_t before = 0, end, at;
	uint8_t above[300];

	if (!v->n)
		return;
	ck_assert_int_eq(table_offset_of(t, slice_of("", 0), &at), CAIRN_OK);
	ck_assert_uint_eq(at, 0);
	/* Above all keys that there are. */
	memset(above, 0xff, sizeof(above));
	ck_assert_int_eq(
		table_offset_of(t, slice_of(above, sizeof(above)), &end),
		CAIRN_OK);
	if (t->props.data_bytes)
		ck_assert_uint_eq(end, t->props.data_bytes);
	ck_assert_uint_le(end, t->source.file_len);
	for (size_t i = 0; i < v->n; i++) {
		ck_assert_int_eq(
			table_offset_of(t, v->entries[i].key.user_key, &at),
			CAIRN_OK);
		ck_assert_uint_ge(at, before);
		ck_assert_uint_lt(at, end);
		before = at;
	}
}

static void check_ways(struct table *t, const struct vector *v,
		       const struct table_read_options *opts)
{
	static const enum table_scan scans[] = { TABLE_SCAN_CACHED,
						 TABLE_SCAN_NO_FILL,
						 TABLE_SCAN_BULK };

	for (size_t i = 0; i < sizeof(scans) / sizeof(scans[0]); i++) {
		struct vector again = { 0 };
		struct iter *it;

		ck_assert(!table_iter_new(t, scans[i], &it));
		iter_first(it);
		ck_assert(!drain(it, &again));
		iter_close(it);
		ck_assert_uint_eq(again.n, v->n);
		for (size_t k = 0; k < v->n; k++)
			ck_assert(!ikey_cmp(&again.entries[k].key,
					    &v->entries[k].key));
		vector_fini(&again);
		walk_back(t, scans[i], v);
		seek_all(t, scans[i], v);
	}
	get_all(t, v);
	check_offsets(t, v);
	seek_prefixes(t, v, opts->prefix);
}

/* Tombstones may reach beyond the bounds of their file, entries may not. */
static void check_line(const struct table *t, const struct vector *v,
		       const struct file_line *line)
{
	const struct range_dels *d = table_range_dels(t);
	size_t n_tombs = d ? d->n_tombs : 0;
	uint64_t min = SEQNO_MAX, max = 0;

	for (size_t i = 0; i < v->n + n_tombs; i++) {
		uint64_t s = i < v->n ? ikey_seqno(&v->entries[i].key)
				      : range_dels_tomb(d, i - v->n).seqno;

		min = s < min ? s : min;
		max = s > max ? s : max;
	}
	ck_assert_uint_eq(table_props(t)->range_deletions, n_tombs);
	ck_assert_uint_eq(table_props(t)->entries,
			  v->n + table_props(t)->range_deletions);
	ck_assert_uint_eq(min, line->smallest_seqno);
	ck_assert_uint_eq(max, line->largest_seqno);
	if (table_props(t)->range_deletions) {
		struct buf b = { 0 };

		for (size_t i = 0; i < v->n; i++) {
			hex(v->entries[i].key.user_key, &b);
			ck_assert_str_ge((const char *)b.data, line->smallest);
			ck_assert_str_le((const char *)b.data, line->largest);
		}
		buf_fini(&b);
		return;
	}
	ck_assert(v->n > 0);
	hex_is(v->entries[0].key.user_key, line->smallest);
	hex_is(v->entries[v->n - 1].key.user_key, line->largest);
}

/* One table with a number of caches. False: refused, as it may be, or deletes
 * what may be in others. */
static bool check_table(const char *dir, const char *path, uint64_t number,
			const struct file_line *line, struct vector *all)
{
	static const size_t capacity[] = { 0, 20000, 8u << 20 };
	struct table_stats stats = { 0 };
	bool deletes = false;

	for (size_t i = 0; i < sizeof(capacity) / sizeof(capacity[0]); i++) {
		struct table_read_options opts = {
			.prefix = i == 1 ? &px3 : &px4,
			.stats = &stats,
			.verify_at_open = i == 2,
			.seqno_known = line != NULL,
			.seqno = line ? line->largest_seqno : 0,
		};
		struct vector v = { 0 };
		struct table *t;
		int err;

		if (capacity[i])
			ck_assert(!block_cache_new(capacity[i], &opts.cache));
		err = read_table(dir, path, number, &opts, &v, &t);
		ck_assert_msg(!err || refused(dir, err), "%s: %d %s", path, err,
			      cairn_errmsg());
		if (!err) {
			ck_assert(table_memory(t) > 0);
			deletes = table_range_dels(t) != NULL;
			check_ways(t, &v, &opts);
			if (line)
				check_line(t, &v, line);
			for (size_t k = 0; i == 0 && k < v.n; k++)
				vector_add(all, v.entries[k].key.user_key,
					   ikey_seqno(&v.entries[k].key),
					   ikey_kind(&v.entries[k].key),
					   v.entries[k].value);
			table_close(t);
		}
		if (opts.cache)
			block_cache_free(opts.cache);
		vector_fini(&v);
		if (err)
			return false;
	}
	ck_assert_uint_eq(stats.corruptions, 0);
	return !deletes;
}

/* The newest version of each key against "KEY TAB VALUE" lines in hex. */
static void check_contents(const struct vector *all, const char *expected)
{
	struct buf h = { 0 };

	for (size_t i = 0; i < all->n; i++) {
		const struct vector_entry *e = &all->entries[i];

		if (i &&
		    slice_eq(e->key.user_key, all->entries[i - 1].key.user_key))
			continue;
		if (ikey_kind(&e->key) != KIND_PUT)
			continue;
		for (int part = 0; part < 2; part++) {
			hex(part ? e->value : e->key.user_key, &h);
			ck_assert(!strncmp(expected, (const char *)h.data,
					   h.len - 1));
			expected += h.len - 1;
			ck_assert(*expected == (part ? '\n' : '\t'));
			expected++;
		}
	}
	ck_assert_str_eq(expected, "");
	buf_fini(&h);
}

static void parse_line(char *text, struct file_line *l)
{
	char *field[8];

	for (size_t i = 0; i < 8; i++) {
		field[i] = strsep(&text, "\t");
		ck_assert_ptr_nonnull(field[i]);
	}
	*l = (struct file_line){
		.number = strtoull(field[2], NULL, 10),
		.smallest = field[4],
		.largest = field[5],
		.smallest_seqno = strtoull(field[6], NULL, 10),
		.largest_seqno = strtoull(field[7], NULL, 10),
	};
}

static void check_listed(const char *dir, char *lines, struct vector *all,
			 bool *complete)
{
	for (char *p = strtok(lines, "\n"); p; p = strtok(NULL, "\n")) {
		struct file_line line;
		char path[PATH_LEN];

		if (*p == '#')
			continue;
		parse_line(p, &line);
		snprintf(path, sizeof(path), "%s/%s/db/%06llu.sst", root(), dir,
			 (unsigned long long)line.number);
		if (!check_table(dir, path, line.number, &line, all))
			*complete = false;
	}
}

/* LevelDB directories have no files.tsv; all their tables are live. */
static void check_unlisted(const char *dir, const struct env_names *names,
			   struct vector *all, bool *complete)
{
	for (size_t i = 0; i < names->n; i++) {
		char path[PATH_LEN];

		if (!strstr(names->names[i], ".ldb"))
			continue;
		snprintf(path, sizeof(path), "%s/%s/db/%s", root(), dir,
			 names->names[i]);
		if (!check_table(dir, path, strtoull(names->names[i], NULL, 10),
				 NULL, all))
			*complete = false;
	}
}

/* Whether nothing is in logs only: then tables alone make up the contents. */
static bool logs_are_empty(const char *dir, const struct env_names *names)
{
	for (size_t i = 0; i < names->n; i++) {
		char path[PATH_LEN];
		struct env_stat st;

		if (!strstr(names->names[i], ".log"))
			continue;
		snprintf(path, sizeof(path), "%s/%s/db/%s", root(), dir,
			 names->names[i]);
		ck_assert(!env_stat(env_posix(), path, &st));
		if (st.size)
			return false;
	}
	return true;
}

static void check_dir(const char *dir)
{
	struct env_names names;
	char path[PATH_LEN];
	struct buf files = { 0 }, expected = { 0 };
	struct vector all = { 0 };
	bool complete;

	snprintf(path, sizeof(path), "%s/%s/db", root(), dir);
	if (env_list(env_posix(), path, &names))
		return; /* a README beside the directories */
	complete = logs_are_empty(dir, &names) && !strstr(dir, "cf-");
	if (read_text(dir, "files.tsv", &files))
		check_listed(dir, (char *)files.data, &all, &complete);
	else
		check_unlisted(dir, &names, &all, &complete);
	vector_sort(&all);
	if (complete && read_text(dir, "expected.tsv", &expected))
		check_contents(&all, (const char *)expected.data);
	if (getenv("CAIRN_VERBOSE"))
		printf("%s: %zu entries%s\n", dir, all.n,
		       complete ? ", complete" : "");
	vector_fini(&all);
	buf_fini(&files);
	buf_fini(&expected);
	env_names_free(&names);
}

START_TEST(tables_of_other_programs_are_read_exactly)
{
	struct env_names names;

	ck_assert_msg(!env_list(env_posix(), root(), &names), "%s",
		      cairn_errmsg());
	for (size_t i = 0; i < names.n; i++)
		check_dir(names.names[i]);
	env_names_free(&names);
}
END_TEST

/* Tables whose filters are of the kind that is written here, too. */
static const struct {
	const char *path;
	double bits_per_key;
	const struct cairn_prefix_extractor *px;
} filters[] = {
	{ "cksum-none/db/000009.sst", 10, NULL },
	{ "cksum-xxhash/db/000011.sst", 10, NULL },
	{ "prefix-fixed4-whole/db/000009.sst", 10, &px4 },
};

START_TEST(filters_are_made_bit_for_bit_as_rocksdb_makes_them)
{
	struct table_read_options opts = { .prefix = filters[_i].px };
	const struct filter_block *theirs;
	struct filter_builder b;
	struct vector v = { 0 };
	struct buf ours = { 0 };
	char path[PATH_LEN];
	struct table *t;

	snprintf(path, sizeof(path), "%s/%s", root(), filters[_i].path);
	ck_assert(!read_table("", path, 1, &opts, &v, &t));
	filter_builder_init(&b, filters[_i].bits_per_key, filters[_i].px);
	for (size_t i = 0; i < v.n; i++)
		ck_assert(!filter_builder_add(&b, v.entries[i].key.user_key));
	ck_assert(!filter_builder_finish(&b, &ours));
	ck_assert_uint_eq(table_props(t)->filter_entries,
			  filter_builder_entries(&b));
	theirs = t->filter.full;
	ck_assert(slice_eq(
		buf_slice(&ours),
		slice_of(theirs + 1, theirs->base.bytes - sizeof(*theirs))));
	filter_builder_fini(&b);
	buf_fini(&ours);
	table_close(t);
	vector_fini(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table_golden");
	TCase *tc = tcase_create("golden");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, tables_of_other_programs_are_read_exactly);
	tcase_add_loop_test(tc,
			    filters_are_made_bit_for_bit_as_rocksdb_makes_them,
			    0, sizeof(filters) / sizeof(filters[0]));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
