/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walking and salvaging single tables: those of the golden directories, whole,
 * bent and cut, and some made here with checksums that are right over contents
 * that are wrong.
 */
#include "engine/table/salvage.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/table/table_writer.h"
#include "engine/version/filename.h"
#include "tests/support/bytes_file.h"
#include "tests/support/golden.h"
#include "tests/support/runner.h"

static struct env_names goldens;

static void must(int err)
{
	ck_assert_msg(err == CAIRN_OK, "%s: %s", cairn_strerror(err),
		      cairn_errmsg());
}

/* Entries in a row, as bytes that can be compared. */
struct seen {
	struct buf entries;
	uint64_t n;
	unsigned damages;
	char first[1024];
	struct walk_block block[64];
	size_t n_blocks;
};

static void seen_fini(struct seen *s)
{
	buf_fini(&s->entries);
}

static void append_entry(struct seen *s, const struct ikey *key,
			 struct cairn_slice value)
{
	must(buf_append_lp(&s->entries, key->user_key));
	must(buf_append_le64(&s->entries, key->trailer));
	must(buf_append_lp(&s->entries, value));
	s->n++;
}

static int on_entry(void *ctx, const struct walk_entry *e)
{
	if (ikey_kind(&e->key) != KIND_RANGE_DELETE)
		append_entry(ctx, &e->key, e->value);
	return CAIRN_OK;
}

static int on_damage(void *ctx, const struct walk_damage *d)
{
	struct seen *s = ctx;

	(void)d;
	if (!s->damages++)
		snprintf(s->first, sizeof(s->first), "%s", cairn_errmsg());
	return CAIRN_OK;
}

static int on_block(void *ctx, const struct walk_block *b)
{
	struct seen *s = ctx;

	if (s->n_blocks < 64)
		s->block[s->n_blocks++] = *b;
	return CAIRN_OK;
}

static struct table_walk *open_walk(struct cairn_slice bytes)
{
	struct table_walk *w;

	must(table_walk_open(bytes_rfile_new(bytes, NULL), "t.sst", bytes.len,
			     NULL, &w));
	return w;
}

static void walk(struct table_walk *w, struct seen *s, struct walk_result *r)
{
	const struct walk_visitor v = {
		.ctx = s,
		.damage = on_damage,
		.block = on_block,
		.entry = on_entry,
	};

	*s = (struct seen){ .n = 0 };
	*r = (struct walk_result){ 0 };
	must(table_walk_run(w, &v, r));
	ck_assert_uint_eq(r->damages, s->damages);
}

/* Everything that can be got out of the bytes. */
static int salvage(struct cairn_slice bytes, struct seen *s)
{
	struct table_walk *w = open_walk(bytes);
	struct salvage_blocks blocks = { 0 };
	struct iter *it = NULL;
	int err = table_salvage_outline(w);

	*s = (struct seen){ .n = 0 };
	if (!err)
		err = table_salvage_blocks(w, &blocks);
	if (!err)
		err = table_salvage_iter(w, &blocks, 0, &it);
	if (!err) {
		for (iter_first(it); it->valid; iter_next(it))
			append_entry(s, &it->key, it->value);
		err = it->status;
	}
	iter_close(it);
	salvage_blocks_fini(&blocks);
	table_walk_close(w);
	return err;
}

static bool is_table(const char *name)
{
	uint64_t number;
	enum file_kind kind = filename_parse(name, &number);

	return kind == FILE_TABLE || kind == FILE_TABLE_LDB;
}

/* Of a golden that can be read: a salvage that knows everything gives what the
 * walk gives; one without the end of the file gives that, too. */
START_TEST(a_table_gives_all_its_entries_without_its_end)
{
	static const char *const unread[] = { "x-", "stale-files" };
	const char *name = goldens.names[_i];
	struct golden g;

	for (size_t i = 0; i < sizeof(unread) / sizeof(unread[0]); i++)
		if (!strncmp(name, unread[i], strlen(unread[i])))
			return;
	golden_load(name, &g);
	for (size_t i = 0; i < g.n; i++) {
		struct buf *b = &g.files[i].bytes;
		struct seen whole, again;
		struct walk_result r;
		struct table_walk *w;
		size_t end = 0;

		if (!is_table(g.files[i].name))
			continue;
		w = open_walk(buf_slice(b));
		walk(w, &whole, &r);
		table_walk_close(w);
		walk_result_fini(&r);
		if (whole.damages) {
			/* A codec that is not built in. */
			ck_assert_msg(strstr(whole.first, "not supported"),
				      "%s: %s", name, whole.first);
			seen_fini(&whole);
			continue;
		}
		must(salvage(buf_slice(b), &again));
		ck_assert(slice_eq(buf_slice(&whole.entries),
				   buf_slice(&again.entries)));
		seen_fini(&again);
		/* Footer first, then all behind the data. */
		for (size_t k = 0; k < whole.n_blocks; k++) {
			const struct walk_block *wb = &whole.block[k];
			size_t to = (size_t)(wb->handle.offset +
					     wb->handle.size + 5);

			if (wb->kind == WALK_DATA && to > end)
				end = to;
		}
		memset(b->data + b->len - 48, 0x5a, 48);
		/* A dictionary is in the metaindex that is found; without
		 * checksums no block can be told from noise. */
		if (strcmp(name, "cksum-none") != 0) {
			must(salvage(buf_slice(b), &again));
			ck_assert_msg(slice_eq(buf_slice(&whole.entries),
					       buf_slice(&again.entries)),
				      "%s/%s: %u of %u entries", name,
				      g.files[i].name, (unsigned)again.n,
				      (unsigned)whole.n);
			seen_fini(&again);
		}
		/* A table of many blocks was not looked at to its end above. */
		if (strncmp(name, "zstd-dict", 9) != 0 &&
		    strcmp(name, "cksum-none") != 0 && whole.n_blocks < 60) {
			memset(b->data + end, 0x5a, b->len - end);
			must(salvage(buf_slice(b), &again));
			ck_assert_msg(slice_eq(buf_slice(&whole.entries),
					       buf_slice(&again.entries)),
				      "%s/%s without its end: %u of %u", name,
				      g.files[i].name, (unsigned)again.n,
				      (unsigned)whole.n);
			seen_fini(&again);
		}
		seen_fini(&whole);
	}
	golden_fini(&g);
}
END_TEST

/* ------------------------------------------------- what names the blocks */

/* The blocks of the index, the one that the footer names among them. */
struct index_blocks {
	struct block_handle handle[256];
	size_t n;
};

static int on_index_block(void *ctx, const struct walk_block *b)
{
	struct index_blocks *x = ctx;

	if (b->kind != WALK_INDEX)
		return CAIRN_OK;
	ck_assert_uint_lt(x->n, 256);
	x->handle[x->n++] = b->handle;
	return CAIRN_OK;
}

static void find_index_blocks(struct cairn_slice bytes, struct index_blocks *x)
{
	const struct walk_visitor v = { .ctx = x, .block = on_index_block };
	struct walk_result r = { 0 };
	struct table_walk *w = open_walk(bytes);

	x->n = 0;
	must(table_walk_run(w, &v, &r));
	table_walk_close(w);
	walk_result_fini(&r);
}

static void spoil(struct buf *b, struct block_handle h)
{
	b->data[h.offset + h.size / 2] ^= 0x10;
}

static void expect_all(const struct buf *b, const struct seen *whole,
		       const char *what, size_t i)
{
	struct seen again;

	must(salvage(buf_slice(b), &again));
	ck_assert_msg(
		slice_eq(buf_slice(&whole->entries), buf_slice(&again.entries)),
		"%s %zu: %u of %u entries", what, i, (unsigned)again.n,
		(unsigned)whole->n);
	seen_fini(&again);
}

static struct block_handle block_of(const struct seen *s, enum walk_kind kind)
{
	for (size_t i = 0; i < s->n_blocks; i++)
		if (s->block[i].kind == kind)
			return s->block[i].handle;
	ck_abort_msg("no such block");
	return (struct block_handle){ 0, 0 };
}

static const char *const parted[] = { "part-index", "part-index-filter",
				      "part-index-filter-fv2" };

START_TEST(a_table_gives_all_its_entries_without_parts_of_its_index)
{
	struct index_blocks x;
	struct golden g;
	size_t parts = 0;

	golden_load(parted[_i], &g);
	for (size_t i = 0; i < g.n; i++) {
		struct buf *b = &g.files[i].bytes;
		struct walk_result r;
		struct table_walk *w;
		struct seen whole;

		if (!is_table(g.files[i].name))
			continue;
		w = open_walk(buf_slice(b));
		walk(w, &whole, &r);
		ck_assert_uint_eq(whole.damages, 0);
		table_walk_close(w);
		walk_result_fini(&r);
		find_index_blocks(buf_slice(b), &x);
		/* Each alone, and each with the one behind it. */
		for (size_t k = 0; k < x.n; k++) {
			spoil(b, x.handle[k]);
			expect_all(b, &whole, "without part", k);
			if (k + 1 < x.n) {
				spoil(b, x.handle[k + 1]);
				expect_all(b, &whole, "without two from", k);
				spoil(b, x.handle[k + 1]);
			}
			spoil(b, x.handle[k]);
		}
		for (size_t k = 0; k < x.n; k++)
			spoil(b, x.handle[k]);
		expect_all(b, &whole, "without any of", x.n);
		parts += x.n;
		seen_fini(&whole);
	}
	ck_assert_uint_gt(parts, 3);
	golden_fini(&g);
}
END_TEST

static int on_tomb(void *ctx, const struct ikey *start, struct cairn_slice end)
{
	append_entry(ctx, start, end);
	return CAIRN_OK;
}

static void tombs_of(struct cairn_slice bytes, struct seen *s)
{
	struct table_walk *w = open_walk(bytes);

	*s = (struct seen){ .n = 0 };
	must(table_salvage_outline(w));
	must(table_salvage_range_dels(w, 0, on_tomb, s));
	table_walk_close(w);
}

static const char *const ranged[] = { "rangedel", "rangedel-clip",
				      "rangedel-only" };

START_TEST(range_tombstones_are_found_without_what_names_them)
{
	struct golden g;
	uint64_t n = 0;

	golden_load(ranged[_i], &g);
	for (size_t i = 0; i < g.n; i++) {
		struct buf *b = &g.files[i].bytes;
		struct seen whole, again, blocks;
		struct walk_result r;
		struct table_walk *w;

		if (!is_table(g.files[i].name))
			continue;
		tombs_of(buf_slice(b), &whole);
		n += whole.n;
		w = open_walk(buf_slice(b));
		walk(w, &blocks, &r);
		table_walk_close(w);
		walk_result_fini(&r);
		spoil(b, block_of(&blocks, WALK_METAINDEX));
		tombs_of(buf_slice(b), &again);
		ck_assert_msg(slice_eq(buf_slice(&whole.entries),
				       buf_slice(&again.entries)),
			      "%s: %u of %u", g.files[i].name,
			      (unsigned)again.n, (unsigned)whole.n);
		expect_all(b, &blocks, "without a metaindex", i);
		seen_fini(&again);
		spoil(b, block_of(&blocks, WALK_METAINDEX));
		memset(b->data + b->len - 48, 0x5a, 48);
		tombs_of(buf_slice(b), &again);
		ck_assert_msg(slice_eq(buf_slice(&whole.entries),
				       buf_slice(&again.entries)),
			      "%s: %u of %u without footer", g.files[i].name,
			      (unsigned)again.n, (unsigned)whole.n);
		seen_fini(&again);
		seen_fini(&blocks);
		seen_fini(&whole);
	}
	ck_assert_uint_gt(n, 0);
	golden_fini(&g);
}
END_TEST

/* ------------------------------------------------------ tables made here */

static void make(struct bytes_wfile *f, unsigned n)
{
	struct table_write_options o = {
		.block_size = 512,
		.restart_interval = 4,
		.codec = TABLE_CODEC_NONE,
		.bloom_bits_per_key = 10,
	};
	struct table_summary sum = { 0 };
	struct table_writer *w;

	bytes_wfile_init(f);
	must(table_writer_new(&f->base, "t.sst", &o, &w));
	for (unsigned i = 0; i < n; i++) {
		char key[32], value[64];
		struct ikey k;

		snprintf(key, sizeof(key), "key%05u", i);
		snprintf(value, sizeof(value), "value of %u", i);
		k = ikey_make(slice_str(key), 100 + i,
			      i % 5 ? KIND_PUT : KIND_DELETE);
		must(table_writer_add(w, &k, slice_str(i % 5 ? value : "")));
	}
	must(table_writer_finish(w, &sum));
	table_summary_fini(&sum);
	table_writer_free(w);
}

/* Renew the checksum of a block, whatever is in it now. */
static void seal(struct bytes_wfile *f, struct block_handle h)
{
	uint8_t *p = f->bytes.data + h.offset;

	block_trailer_encode(p[h.size], p, (size_t)h.size, p + h.size);
}

/* Bend the table with bend(), and expect the words. */
static void expect(void (*bend)(struct bytes_wfile *f, const struct seen *s),
		   const char *words)
{
	struct bytes_wfile f;
	struct table_walk *w;
	struct walk_result r;
	struct seen s;

	make(&f, 200);
	w = open_walk(buf_slice(&f.bytes));
	walk(w, &s, &r);
	ck_assert_uint_eq(s.damages, 0);
	ck_assert_uint_eq(s.n, 200);
	table_walk_close(w);
	walk_result_fini(&r);
	bend(&f, &s);
	seen_fini(&s);
	w = open_walk(buf_slice(&f.bytes));
	walk(w, &s, &r);
	ck_assert_msg(s.damages && strstr(s.first, words), "%u: %s", s.damages,
		      s.first);
	table_walk_close(w);
	walk_result_fini(&r);
	seen_fini(&s);
	must(wfile_close(&f.base));
}

static void no_bits(struct bytes_wfile *f, const struct seen *s)
{
	struct block_handle h = block_of(s, WALK_FILTER);

	memset(f->bytes.data + h.offset, 0, (size_t)h.size - 5);
	seal(f, h);
}

/* The first key of the second block, made smaller than all before it. */
static void small_key(struct bytes_wfile *f, const struct seen *s)
{
	ck_assert(s->block[1].kind == WALK_DATA);
	f->bytes.data[s->block[1].handle.offset + 3] = 'a';
	seal(f, s->block[1].handle);
}

static void odd_kind(struct bytes_wfile *f, const struct seen *s)
{
	/* Three lengths, the key, then the trailer, the kind in front. */
	size_t at = (size_t)s->block[0].handle.offset + 3 + 8;

	ck_assert_uint_eq(f->bytes.data[at], KIND_DELETE);
	f->bytes.data[at] = 0x63;
	seal(f, s->block[0].handle);
}

static void highest_seqno(struct bytes_wfile *f, const struct seen *s)
{
	size_t at = (size_t)s->block[0].handle.offset + 3 + 9;

	memset(f->bytes.data + at, 0xff, 7);
	seal(f, s->block[0].handle);
}

static void wrong_count(struct bytes_wfile *f, const struct seen *s)
{
	struct block_handle h = block_of(s, WALK_PROPS);
	uint8_t *p = f->bytes.data + h.offset;
	size_t len = strlen("entries");

	/* The first such name is that of all entries. */
	while (memcmp(p, "entries", len) != 0)
		p++;
	p[len] ^= 1;
	seal(f, h);
}

static void bad_block(struct bytes_wfile *f, const struct seen *s)
{
	f->bytes.data[s->block[2].handle.offset + 9] ^= 1;
}

static void bad_restarts(struct bytes_wfile *f, const struct seen *s)
{
	struct block_handle h = s->block[2].handle;

	put_le32(f->bytes.data + h.offset + h.size - 4, 0x00ffffff);
	seal(f, h);
}

static const struct {
	void (*bend)(struct bytes_wfile *f, const struct seen *s);
	const char *words;
} cases[] = {
	{ no_bits, "the filter denies a key that is there" },
	{ small_key, "begins before the separator" },
	{ odd_kind, "entry of kind 0x63, which no table may hold" },
	{ highest_seqno, "sequence number 72057594037927935" },
	{ wrong_count, "200 entries, by the properties" },
	{ bad_block, "checksum is" },
	{ bad_restarts, "restart points do not fit" },
};

START_TEST(contents_that_are_wrong_are_told)
{
	expect(cases[_i].bend, cases[_i].words);
}
END_TEST

START_TEST(a_walk_checks_the_limits)
{
	static const struct {
		const char *smallest;
		uint64_t smallest_seqno;
		bool good;
	} limits[] = {
		{ "key00000", 100, true },
		{ "key00001", 100, false },
		{ "key00000", 101, false },
	};
	struct walk_limits l = {
		.known = true,
		.smallest = ikey_make(slice_str(limits[_i].smallest), 200,
				      KIND_PUT),
		.largest = ikey_make(slice_str("key00199"), 0, KIND_DELETE),
		.seqnos_known = true,
		.smallest_seqno = limits[_i].smallest_seqno,
		.largest_seqno = 299,
	};
	struct bytes_wfile f;
	struct table_walk *w;
	struct walk_result r;
	struct seen s;

	make(&f, 200);
	must(table_walk_open(bytes_rfile_new(buf_slice(&f.bytes), NULL),
			     "t.sst", f.bytes.len, &l, &w));
	walk(w, &s, &r);
	ck_assert_msg((s.damages == 0) == limits[_i].good, "%s", s.first);
	ck_assert(r.misfit == !limits[_i].good);
	table_walk_close(w);
	walk_result_fini(&r);
	seen_fini(&s);
	must(wfile_close(&f.base));
}
END_TEST

/* Whatever the bytes are: no crash, and no entry that was not there. */
START_TEST(noise_never_makes_entries_up)
{
	struct bytes_wfile f;
	struct seen whole;
	struct rng rng;

	make(&f, 120);
	must(salvage(buf_slice(&f.bytes), &whole));
	ck_assert_uint_eq(whole.n, 120);
	rng_init(&rng, 3);
	for (unsigned k = 0; k < 40; k++) {
		struct buf copy = { 0 };
		struct seen s;
		size_t len = f.bytes.len;
		int err;

		must(buf_set(&copy, buf_slice(&f.bytes)));
		/* Bent at some places, and often cut. */
		for (unsigned i = 0; i < 1 + k % 9; i++)
			copy.data[rng_below(&rng, len)] ^=
				(uint8_t)(1 + rng_below(&rng, 255));
		if (k % 3 == 0)
			copy.len = rng_below(&rng, len);
		err = salvage(buf_slice(&copy), &s);
		ck_assert_msg(err == CAIRN_OK || err == CAIRN_ENOTSUP, "%s",
			      cairn_errmsg());
		ck_assert_uint_le(s.n, whole.n);
		/* Each entry in turn is one of the whole. */
		if (!err) {
			const uint8_t *p = whole.entries.data;
			struct cairn_slice rest = buf_slice(&s.entries);

			while (rest.len) {
				struct cairn_slice e = rest, key, value;
				size_t n;

				ck_assert(get_lp_slice(&rest, &key));
				slice_advance(&rest, 8);
				ck_assert(get_lp_slice(&rest, &value));
				n = e.len - rest.len;
				while (memcmp(p, e.data, n) != 0) {
					p++;
					ck_assert(p + n <=
						  whole.entries.data +
							  whole.entries.len);
				}
			}
		}
		seen_fini(&s);
		buf_fini(&copy);
	}
	seen_fini(&whole);
	must(wfile_close(&f.base));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("table walk and salvage");
	TCase *t = tcase_create("goldens");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_table_gives_all_its_entries_without_its_end, 0,
			    (int)goldens.n);
	tcase_add_loop_test(
		t, a_table_gives_all_its_entries_without_parts_of_its_index, 0,
		sizeof(parted) / sizeof(parted[0]));
	tcase_add_loop_test(t,
			    range_tombstones_are_found_without_what_names_them,
			    0, sizeof(ranged) / sizeof(ranged[0]));
	suite_add_tcase(s, t);
	t = tcase_create("made here");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, contents_that_are_wrong_are_told, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_loop_test(t, a_walk_checks_the_limits, 0, 3);
	tcase_add_test(t, noise_never_makes_entries_up);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	int status;

	golden_names(&goldens);
	status = run_suite(suite());
	env_names_free(&goldens);
	return status;
}
