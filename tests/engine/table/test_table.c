/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables as this library writes them, read back. */
#include "engine/table/table.h"

#include <pthread.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/table/block_cache_pin.h"
#include "engine/table/table_priv.h"
#include "tests/engine/table/table_support.h"
#include "tests/support/runner.h"

/* ---------------------------------------- against a sorted array */

enum shape {
	SHAPE_NUMBERS,  /* as stores have them */
	SHAPE_BINARY,   /* short, all byte values, the empty key */
	SHAPE_VERSIONS, /* few keys, many versions: they straddle blocks */
	SHAPE_LONG,     /* longer than the buffers for keys on the stack */
	N_SHAPES,
};

static size_t make_key(struct rng *r, enum shape shape, uint8_t *key)
{
	size_t len = 0;

	switch (shape) {
	case SHAPE_NUMBERS:
		return (size_t)sprintf((char *)key, "user%010llu",
				       (unsigned long long)rng_below(r, 5000));
	case SHAPE_BINARY:
		len = (size_t)rng_below(r, 6);
		for (size_t i = 0; i < len; i++)
			key[i] = (uint8_t)(rng_below(r, 4) ? rng_below(r, 3)
							   : rng_next(r));
		return len;
	case SHAPE_VERSIONS:
		return (size_t)sprintf((char *)key, "%llu",
				       (unsigned long long)rng_below(r, 8));
	case SHAPE_LONG:
		memset(key, 'x', 1200);
		len = 600 * (size_t)rng_below(r, 2);
		return len +
		       (size_t)sprintf((char *)key + len, "%llu",
				       (unsigned long long)rng_below(r, 500));
	case N_SHAPES:
		break;
	}
	return len;
}

static void random_entries(struct rng *r, enum shape shape, size_t n,
			   struct vector *v)
{
	static const uint8_t kinds[] = { KIND_PUT, KIND_PUT, KIND_DELETE,
					 KIND_SINGLE_DELETE, KIND_MERGE };
	uint8_t key[2048], value[300];

	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < n; i++) {
		size_t len = make_key(r, shape, key);

		for (size_t k = 0; k < 100; k++)
			value[k] = (uint8_t)rng_next(r);
		/* Seqnos are unique, so internal keys are. */
		vector_add(v, slice_of(key, len), n - i, kinds[rng_below(r, 5)],
			   slice_of(value, (size_t)rng_below(r, 300)));
	}
	vector_sort(v);
}

static void same(const struct iter *a, const struct iter *b)
{
	ck_assert_msg(!a->status, "%s", cairn_errmsg());
	ck_assert(a->valid == b->valid);
	if (!a->valid)
		return;
	ck_assert(!ikey_cmp(&a->key, &b->key));
	ck_assert(slice_eq(a->value, b->value));
}

static void random_moves(struct rng *r, enum shape shape, struct iter *it,
			 struct iter *model, int n)
{
	uint8_t key[2048];

	for (int i = 0; i < n; i++) {
		size_t len = make_key(r, shape, key);
		struct ikey k =
			ikey_seek(slice_of(key, len), rng_below(r, 400));

		switch (rng_below(r, 10)) {
		case 8:
		case 9:
			/* Only from before the key. */
			if (!it->valid || ikey_cmp(&it->key, &k) >= 0)
				break;
			iter_seek_forward(it, &k);
			iter_seek_ge(model, &k);
			break;
		case 0:
			iter_first(it);
			iter_first(model);
			break;
		case 1:
			iter_last(it);
			iter_last(model);
			break;
		case 2:
			iter_seek_ge(it, &k);
			iter_seek_ge(model, &k);
			break;
		case 3:
			iter_seek_lt(it, &k);
			iter_seek_lt(model, &k);
			break;
		default:
			for (uint64_t s = rng_below(r, 20); s > 0; s--) {
				if (!it->valid)
					break;
				if (i % 2) {
					iter_next(it);
					iter_next(model);
				} else {
					iter_prev(it);
					iter_prev(model);
				}
				same(it, model);
			}
		}
		same(it, model);
	}
}

/* The newest version of key at or below seqno, or v->n. */
static size_t newest(const struct vector *v, struct cairn_slice key,
		     uint64_t seqno)
{
	size_t i = 0;

	while (i < v->n && (!slice_eq(v->entries[i].key.user_key, key) ||
			    ikey_seqno(&v->entries[i].key) > seqno))
		i++;
	return i;
}

static void random_gets(struct rng *r, enum shape shape, struct table *t,
			const struct vector *v, int n)
{
	uint8_t key[2048];

	for (int i = 0; i < n; i++) {
		size_t len = make_key(r, shape, key);
		uint64_t seqno = rng_below(r, 400), trailer = 0;
		struct cairn_pinned value = { 0 };
		size_t want = newest(v, slice_of(key, len), seqno);
		int err = table_get(t, slice_of(key, len), seqno, i % 3 != 0,
				    &trailer, &value);

		ck_assert_msg(err >= 0, "%s", cairn_errmsg());
		ck_assert(err == (want == v->n ? CAIRN_NOT_FOUND : CAIRN_OK));
		if (!err) {
			ck_assert(trailer == v->entries[want].key.trailer);
			ck_assert(
				slice_eq(value.value, v->entries[want].value));
		}
		cairn_pinned_release(&value);
		cairn_pinned_release(&value);
	}
}

static void check_summary(const struct vector *v, const struct table_summary *s)
{
	struct ikey k;
	uint64_t min = SEQNO_MAX, max = 0;

	for (size_t i = 0; i < v->n; i++) {
		uint64_t seqno = ikey_seqno(&v->entries[i].key);

		min = seqno < min ? seqno : min;
		max = seqno > max ? seqno : max;
	}
	ck_assert_uint_eq(s->entries, v->n);
	ck_assert_uint_eq(s->smallest_seqno, min);
	ck_assert_uint_eq(s->largest_seqno, max);
	ck_assert(ikey_decode(s->smallest, &k));
	ck_assert(!ikey_cmp(&k, &v->entries[0].key));
	ck_assert(ikey_decode(s->largest, &k));
	ck_assert(!ikey_cmp(&k, &v->entries[v->n - 1].key));
}

static void check_table(struct rng *r, enum shape shape, const struct vector *v,
			struct table *t)
{
	static const enum table_scan scans[] = { TABLE_SCAN_CACHED,
						 TABLE_SCAN_NO_FILL,
						 TABLE_SCAN_BULK };

	ck_assert_msg(!table_verify(t), "%s", cairn_errmsg());
	ck_assert_uint_eq(table_props(t)->entries, v->n);
	for (size_t i = 0; i < 3; i++) {
		struct iter *it, *model = vector_iter_new(v);

		ck_assert(!table_iter_new(t, scans[i], &it));
		iter_first(it);
		iter_first(model);
		for (size_t n = 0; n <= v->n; n++) {
			same(it, model);
			if (it->valid) {
				iter_next(it);
				iter_next(model);
			}
		}
		random_moves(r, shape, it, model, 100);
		iter_close(it);
		iter_close(model);
	}
	random_gets(r, shape, t, v, 100);
}

static void random_options(struct rng *r, struct table_write_options *o)
{
	static const size_t block_sizes[] = { 1, 100, 1000, 4096, 100000 };
	static const unsigned intervals[] = { 1, 2, 16, 1000 };
	static const enum table_codec codecs[] = { TABLE_CODEC_NONE,
						   TABLE_CODEC_SNAPPY,
						   TABLE_CODEC_ZSTD };

	*o = plain_options;
	o->block_size = block_sizes[rng_below(r, 5)];
	o->restart_interval = intervals[rng_below(r, 4)];
	o->codec = codecs[rng_below(r, 3)];
	o->bloom_bits_per_key = rng_below(r, 3) ? 10 : 0;
	o->prefix = rng_below(r, 2) ? &px_capped : NULL;
}

START_TEST(a_table_is_what_was_written)
{
	static const size_t capacity[] = { 0, 30000, 8u << 20 };
	struct rng r;

	rng_init(&r, (uint64_t)_i);
	for (int round = 0; round < 12; round++) {
		struct table_read_options ro = { .prefix = &px_capped };
		struct table_write_options wo;
		struct table_summary summary;
		struct vector v = { 0 };
		struct buf bytes = { 0 };
		struct table *t;

		random_entries(&r, (enum shape)_i,
			       1 + (size_t)rng_below(&r, 400), &v);
		random_options(&r, &wo);
		write_table(&v, &wo, &bytes, &summary);
		check_summary(&v, &summary);
		if (round % 4)
			ck_assert(!block_cache_new(capacity[round % 4 - 1],
						   &ro.cache));
		ck_assert_msg(!open_bytes(buf_slice(&bytes), 1, &ro, &t), "%s",
			      cairn_errmsg());
		check_table(&r, (enum shape)_i, &v, t);
		table_close(t);
		if (ro.cache)
			block_cache_free(ro.cache);
		table_summary_fini(&summary);
		buf_fini(&bytes);
		vector_fini(&v);
	}
}
END_TEST

/* ------------------------------------------------- range tombstones */

/* "start-end#seqno" of all, the newest first. */
static void format_tombs(const struct table *t, struct buf *out)
{
	const struct range_dels *d = table_range_dels(t);

	buf_clear(out);
	for (size_t i = 0; d && i < d->n_tombs; i++) {
		struct range_del x = range_dels_tomb(d, i);

		ck_assert(!buf_printf(
			out, "%s%.*s-%.*s#%llu", i ? " " : "", (int)x.start.len,
			(const char *)x.start.data, (int)x.end.len,
			(const char *)x.end.data, (unsigned long long)x.seqno));
	}
}

static void bound_is(struct cairn_slice bound, const char *key, uint64_t seqno,
		     uint8_t kind)
{
	struct ikey k;

	ck_assert(ikey_decode(bound, &k));
	ck_assert(slice_eq(k.user_key, slice_str(key)));
	ck_assert(k.trailer == ikey_pack(seqno, kind));
}

static const struct {
	const char *entries;
	struct {
		const char *start, *end;
		uint64_t seqno;
	} tomb[4];
	const char *want; /* tombstones as read */
	const char *smallest;
	uint64_t smallest_seqno;
	uint8_t smallest_kind;
	const char *largest;
	uint64_t largest_seqno;
	uint8_t largest_kind;
} tombs[] = {
	/* Beyond the entries on both sides. */
	{ "b#9px c#8d",
	  { { "a", "d", 5 }, { "a", "d", 3 }, { "d", "f", 7 } },
	  "d-f#7 a-d#5 a-d#3",
	  "a",
	  5,
	  KIND_RANGE_DELETE,
	  "f",
	  SEQNO_MAX,
	  KIND_RANGE_DELETE },
	/* Within them. */
	{ "a#9px z#8d",
	  { { "b", "c", 5 } },
	  "b-c#5",
	  "a",
	  9,
	  KIND_PUT,
	  "z",
	  8,
	  KIND_DELETE },
	/* To the last entry and not over it. */
	{ "a#9px d#8d",
	  { { "a", "d", 5 } },
	  "a-d#5",
	  "a",
	  9,
	  KIND_PUT,
	  "d",
	  8,
	  KIND_DELETE },
	/* Newer than the entry that it begins with. */
	{ "a#3px d#8d",
	  { { "a", "c", 5 } },
	  "a-c#5",
	  "a",
	  5,
	  KIND_RANGE_DELETE,
	  "d",
	  8,
	  KIND_DELETE },
	/* Nothing else. */
	{ "",
	  { { "b", "c", 5 }, { "e", "f", 2 } },
	  "b-c#5 e-f#2",
	  "b",
	  5,
	  KIND_RANGE_DELETE,
	  "f",
	  SEQNO_MAX,
	  KIND_RANGE_DELETE },
};

START_TEST(tombstones_come_back_and_widen_the_bounds)
{
	struct table_read_options ro = { .verify_at_open = true };
	struct bytes_wfile f;
	struct table_writer *w;
	struct table_summary s;
	struct vector v = { 0 };
	struct buf got = { 0 };
	struct iter *it;
	struct table *t;
	uint64_t n = 0;

	bytes_wfile_init(&f);
	ck_assert(!table_writer_new(&f.base, "new.sst", &plain_options, &w));
	vector_parse(&v, tombs[_i].entries);
	for (; tombs[_i].tomb[n].start; n++) {
		const struct range_del d = {
			slice_str(tombs[_i].tomb[n].start),
			slice_str(tombs[_i].tomb[n].end),
			tombs[_i].tomb[n].seqno,
		};

		ck_assert(!table_writer_add_range(w, &d));
	}
	for (size_t i = 0; i < v.n; i++)
		ck_assert(!table_writer_add(w, &v.entries[i].key,
					    v.entries[i].value));
	ck_assert_uint_eq(table_writer_entries(w), v.n + n);
	ck_assert(!table_writer_finish(w, &s));
	table_writer_free(w);
	ck_assert_uint_eq(s.entries, v.n + n);
	ck_assert_uint_eq(s.range_deletions, n);
	bound_is(s.smallest, tombs[_i].smallest, tombs[_i].smallest_seqno,
		 tombs[_i].smallest_kind);
	bound_is(s.largest, tombs[_i].largest, tombs[_i].largest_seqno,
		 tombs[_i].largest_kind);
	ck_assert_int_eq(s.first_key.len != 0, v.n != 0);

	ck_assert_msg(!open_bytes(buf_slice(&f.bytes), 1, &ro, &t), "%s",
		      cairn_errmsg());
	format_tombs(t, &got);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(tombs[_i].want)),
		      "%.*s", (int)got.len, (const char *)got.data);
	ck_assert_uint_eq(table_props(t)->range_deletions, n);
	ck_assert_uint_eq(table_props(t)->entries, v.n + n);
	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	ck_assert(it->scope && it->scope->set == table_range_dels(t));
	n = 0;
	for (iter_first(it); it->valid; iter_next(it))
		n++;
	ck_assert_int_eq(it->status, CAIRN_OK);
	ck_assert_uint_eq(n, v.n);
	iter_last(it);
	ck_assert_int_eq(it->valid, v.n != 0);
	iter_close(it);
	table_close(t);
	table_summary_fini(&s);
	ck_assert(!wfile_close(&f.base));
	buf_fini(&got);
	vector_fini(&v);
}
END_TEST

/* ------------------------------------------------------- properties */

START_TEST(properties_tell_what_is_in_the_table)
{
	struct table_write_options o = plain_options;
	struct table_read_options ro = { 0 };
	const struct table_props *p;
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;

	vector_parse(&v, "a#9phello a#8d b#7sx b#6phello c#5m+1 d#4p");
	o.codec = TABLE_CODEC_SNAPPY;
	o.prefix = &px_fixed;
	write_table(&v, &o, &bytes, NULL);
	ck_assert(!open_bytes(buf_slice(&bytes), 1, &ro, &t));
	p = table_props(t);
	ck_assert_uint_eq(p->entries, 6);
	ck_assert_uint_eq(p->deletions, 2);
	ck_assert_uint_eq(p->merges, 1);
	ck_assert_uint_eq(p->range_deletions, 0);
	ck_assert_uint_eq(p->raw_key_bytes, 6 * 9);
	ck_assert_uint_eq(p->raw_value_bytes, 5 + 1 + 5 + 2);
	ck_assert_uint_eq(p->data_blocks, 1);
	ck_assert_uint_eq(p->filter_entries, 4);
	ck_assert_uint_eq(p->filter_bytes, 69);
	ck_assert_uint_eq(p->creation_time, 1700000000);
	ck_assert(p->index_key_is_user_key && p->index_value_is_delta);
	ck_assert(p->whole_key_filtering && p->prefix_filtering);
	ck_assert_str_eq(p->compression, "Snappy");
	ck_assert_str_eq(p->comparator, "leveldb.BytewiseComparator");
	ck_assert_str_eq(p->merge_operator, "nullptr");
	ck_assert_str_eq(p->prefix_extractor, "rocksdb.FixedPrefix.2");
	ck_assert_str_eq(p->filter_policy, "bloomfilter");
	ck_assert_uint_gt(table_memory(t), sizeof(struct table));
	table_close(t);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* ------------------------------------------------------- the writer */

START_TEST(data_goes_to_the_file_in_large_pieces_with_hints)
{
	struct table_write_options o = plain_options;
	struct table_summary s;
	struct table_writer *w;
	struct bytes_wfile f;
	struct vector v = { 0 };

	numbered(&v, 3000, 1000);
	o.bytes_per_sync = 512u << 10;
	bytes_wfile_init(&f);
	ck_assert(!table_writer_new(&f.base, "new.sst", &o, &w));
	for (size_t i = 0; i < v.n; i++) {
		uint64_t size = table_writer_size(w);

		ck_assert(!table_writer_add(w, &v.entries[i].key,
					    v.entries[i].value));
		ck_assert_uint_ge(table_writer_size(w) + 8192, size);
	}
	ck_assert(!table_writer_finish(w, &s));
	ck_assert_uint_le(f.appends, s.size / (250u << 10) + 2);
	ck_assert_uint_gt(f.hinted, s.size / 2);
	table_summary_fini(&s);
	table_writer_free(w);
	ck_assert(!wfile_close(&f.base));
	vector_fini(&v);
}
END_TEST

START_TEST(a_failing_write_is_reported_wherever_it_happens)
{
	struct vector v = { 0 };
	bool done = false;

	numbered(&v, 900, 1000);
	for (unsigned k = 1; !done; k++) {
		struct table_writer *w;
		struct table_summary s;
		struct bytes_wfile f;
		int err = CAIRN_OK;

		bytes_wfile_init(&f);
		f.fail_append = k;
		ck_assert(!table_writer_new(&f.base, "new.sst", &plain_options,
					    &w));
		for (size_t i = 0; i < v.n && !err; i++)
			err = table_writer_add(w, &v.entries[i].key,
					       v.entries[i].value);
		if (!err)
			err = table_writer_finish(w, &s);
		done = f.appends < k;
		ck_assert_int_eq(err, done ? CAIRN_OK : CAIRN_ENOSPC);
		if (!err)
			table_summary_fini(&s);
		table_writer_free(w);
		ck_assert(!wfile_close(&f.base));
		ck_assert_uint_lt(k, 100);
	}
	vector_fini(&v);
}
END_TEST

START_TEST(values_larger_than_all_buffers_come_back)
{
	static const enum table_codec codecs[] = { TABLE_CODEC_NONE,
						   TABLE_CODEC_SNAPPY,
						   TABLE_CODEC_ZSTD };
	struct table_write_options o = plain_options;
	struct table_read_options ro = { 0 };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct iter *it;
	struct table *t;

	numbered(&v, 3, 3u << 20);
	numbered(&v, 0, 0);
	o.codec = codecs[_i];
	write_table(&v, &o, &bytes, NULL);
	ck_assert(!block_cache_new(1u << 20, &ro.cache));
	ck_assert(!open_bytes(buf_slice(&bytes), 1, &ro, &t));
	ck_assert_uint_eq(table_props(t)->data_blocks, 3);
	for (int scan = 0; scan < 3; scan++) {
		size_t n = 0;

		ck_assert(!table_iter_new(t, (enum table_scan)scan, &it));
		for (iter_first(it); it->valid; iter_next(it))
			ck_assert(slice_eq(it->value, v.entries[n++].value));
		ck_assert(!it->status && n == 3);
		for (iter_last(it); it->valid; iter_prev(it))
			ck_assert(slice_eq(it->value, v.entries[--n].value));
		ck_assert(!it->status && n == 0);
		iter_close(it);
	}
	ck_assert(!table_verify(t));
	table_close(t);
	block_cache_free(ro.cache);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* -------------------------------------------------- caches and filters */

START_TEST(a_pinned_value_outlives_eviction_and_the_table)
{
	struct table_read_options ro = { 0 };
	struct cairn_pinned value[2] = { { .owner = NULL } };
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;
	uint64_t trailer;

	numbered(&v, 100, 500);
	write_table(&v, &plain_options, &bytes, NULL);
	for (int cached = 0; cached < 2; cached++) {
		ck_assert(!block_cache_new(cached ? 1u << 20 : 0, &ro.cache));
		ck_assert(!open_bytes(buf_slice(&bytes), 1, &ro, &t));
		for (int i = 0; i < 2; i++)
			ck_assert(!table_get(t, slice_str("key00042"), 99, true,
					     &trailer, &value[i]));
		table_close(t);
		block_cache_evict_file(ro.cache, 1);
		block_cache_set_capacity(ro.cache, 0);
		for (int i = 0; i < 2; i++) {
			ck_assert(
				slice_eq(value[i].value, v.entries[42].value));
			cairn_pinned_release(&value[i]);
		}
		block_cache_free(ro.cache);
	}
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

START_TEST(blocks_are_read_once_when_they_fit_the_cache)
{
	struct table_read_options ro = { 0 };
	struct cairn_pinned value = { 0 };
	_Atomic unsigned reads = 0;
	struct block_cache_stats st;
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct iter *it;
	struct table *t;
	uint64_t trailer;
	unsigned opened;

	numbered(&v, 1000, 500);
	write_table(&v, &plain_options, &bytes, NULL);
	ck_assert(!block_cache_new(4u << 20, &ro.cache));
	ck_assert(!table_open(bytes_rfile_new(buf_slice(&bytes), &reads),
			      "test.sst", 1, bytes.len, &ro, &t));
	opened = reads;
	/* The tail in one read; the rest of this table's meta is in it. */
	ck_assert_uint_eq(opened, 1);
	ck_assert(!table_iter_new(t, TABLE_SCAN_NO_FILL, &it));
	for (int round = 0; round < 2; round++)
		for (iter_first(it); it->valid; iter_next(it))
			;
	iter_close(it);
	ck_assert_uint_eq(reads, opened + 2 * table_props(t)->data_blocks);
	opened = reads;
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < v.n; i++) {
			ck_assert(!table_get(t, v.entries[i].key.user_key, 5000,
					     true, &trailer, &value));
			cairn_pinned_release(&value);
		}
	ck_assert_uint_eq(reads, opened + table_props(t)->data_blocks);
	block_cache_stats(ro.cache, &st);
	ck_assert_uint_eq(st.misses, 3 * table_props(t)->data_blocks);
	ck_assert_uint_eq(st.hits, 2000 - table_props(t)->data_blocks);
	/* In bulk a few reads are enough, and the cache is left alone. */
	opened = reads;
	ck_assert(!table_iter_new(t, TABLE_SCAN_BULK, &it));
	for (iter_first(it); it->valid; iter_next(it))
		;
	iter_close(it);
	ck_assert_uint_le(reads, opened + 2);
	table_close(t);
	block_cache_free(ro.cache);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

START_TEST(the_filter_spares_reads_and_is_counted)
{
	struct table_read_options ro = { 0 };
	struct table_stats stats = { 0 };
	struct cairn_pinned value = { 0 };
	_Atomic unsigned reads = 0;
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;
	uint64_t trailer;
	unsigned opened;

	numbered(&v, 1000, 50);
	write_table(&v, &plain_options, &bytes, NULL);
	ro.stats = &stats;
	ck_assert(!table_open(bytes_rfile_new(buf_slice(&bytes), &reads),
			      "test.sst", 1, bytes.len, &ro, &t));
	opened = reads;
	for (int i = 0; i < 1000; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key%05dx", i);
		ck_assert_int_eq(table_get(t, slice_str(key), 5000, true,
					   &trailer, &value),
				 CAIRN_NOT_FOUND);
	}
	ck_assert_uint_eq(stats.filter_checks, 1000);
	ck_assert_uint_gt(stats.filter_negatives, 950);
	ck_assert_uint_eq(stats.filter_negatives + stats.filter_false_positives,
			  1000);
	ck_assert_uint_le(reads - opened, stats.filter_false_positives);
	table_close(t);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* Whether a seek with the prefix of key was cut short by the filter. */
static bool filtered(const struct buf *bytes,
		     const struct cairn_prefix_extractor *px, const char *key)
{
	struct table_read_options ro = { .prefix = px };
	struct table_stats stats = { 0 };
	struct ikey k = ikey_seek(slice_str(key), SEQNO_MAX);
	struct iter *it;
	struct table *t;
	bool none;

	ro.stats = &stats;
	ck_assert(!open_bytes(buf_slice(bytes), 1, &ro, &t));
	ck_assert(!table_iter_new(t, TABLE_SCAN_CACHED, &it));
	iter_seek_prefix_ge(it, &k, slice_of(key, 2));
	ck_assert(!it->status);
	none = !it->valid && stats.filter_negatives == 1;
	iter_close(it);
	table_close(t);
	return none;
}

START_TEST(prefix_filters_are_asked_only_under_their_own_name)
{
	struct table_write_options o = plain_options;
	struct vector v = { 0 };
	struct buf bytes = { 0 };

	vector_parse(&v, "aa1#1p aa2#2p bb1#3p zz#4p");
	o.prefix = &px_fixed;
	o.bloom_bits_per_key = 50; /* no false positives here */
	write_table(&v, &o, &bytes, NULL);
	ck_assert(filtered(&bytes, &px_fixed, "cc1"));
	ck_assert(!filtered(&bytes, &px_fixed, "bb0"));
	ck_assert(!filtered(&bytes, &px_capped, "cc1"));
	ck_assert(!filtered(&bytes, NULL, "cc1"));
	o.prefix = NULL;
	write_table(&v, &o, &bytes, NULL);
	ck_assert(!filtered(&bytes, &px_fixed, "cc1"));
	o.prefix = &px_fixed;
	o.bloom_bits_per_key = 0;
	write_table(&v, &o, &bytes, NULL);
	ck_assert(!filtered(&bytes, &px_fixed, "cc1"));
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

/* -------------------------------------------------------------- threads */

#define THREADS 4

struct reader {
	struct table *t;
	const struct vector *v;
	uint64_t seed;
};

static void *read_much(void *arg)
{
	struct reader *k = arg;
	struct rng r;

	rng_init(&r, k->seed);
	for (int i = 0; i < 3000; i++) {
		const struct vector_entry *e =
			&k->v->entries[rng_below(&r, k->v->n)];
		struct cairn_pinned value = { 0 };
		uint64_t trailer;
		struct iter *it;

		if (table_get(k->t, e->key.user_key, SEQNO_MAX, i % 5 != 0,
			      &trailer, &value) ||
		    !slice_eq(value.value, e->value))
			return arg;
		cairn_pinned_release(&value);
		if (i % 20)
			continue;
		if (table_iter_new(k->t, (enum table_scan)(i / 20 % 3), &it))
			return arg;
		iter_seek_ge(it, &e->key);
		for (int n = 0; it->valid && n < 50; n++)
			iter_next(it);
		if (it->status)
			return arg;
		iter_close(it);
	}
	return NULL;
}

START_TEST(threads_read_one_table_through_a_small_cache)
{
	struct table_stats stats = { 0 };
	struct table_read_options ro = { .stats = &stats };
	struct table_write_options o = plain_options;
	struct reader k[THREADS];
	pthread_t thread[THREADS];
	struct vector v = { 0 };
	struct buf bytes = { 0 };
	struct table *t;

	numbered(&v, 2000, 100);
	o.codec = TABLE_CODEC_ZSTD;
	write_table(&v, &o, &bytes, NULL);
	ck_assert(!block_cache_new(60000, &ro.cache));
	ck_assert(!open_bytes(buf_slice(&bytes), 1, &ro, &t));
	for (int i = 0; i < THREADS; i++) {
		k[i] = (struct reader){ t, &v, (uint64_t)i };
		ck_assert(!pthread_create(&thread[i], NULL, read_much, &k[i]));
	}
	for (int i = 0; i < THREADS; i++) {
		void *bad;

		ck_assert(!pthread_join(thread[i], &bad));
		ck_assert_ptr_null(bad);
	}
	ck_assert_uint_eq(stats.filter_checks, THREADS * 3000);
	table_close(t);
	block_cache_free(ro.cache);
	buf_fini(&bytes);
	vector_fini(&v);
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

static TCase *new_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("table");
	TCase *tc = new_case(s, "round trip");

	tcase_add_loop_test(tc, a_table_is_what_was_written, 0, N_SHAPES);
	tcase_add_loop_test(tc, tombstones_come_back_and_widen_the_bounds, 0,
			    (int)(sizeof(tombs) / sizeof(tombs[0])));
	tcase_add_test(tc, properties_tell_what_is_in_the_table);
	tc = new_case(s, "writer");
	tcase_add_test(tc, data_goes_to_the_file_in_large_pieces_with_hints);
	tcase_add_test(tc, a_failing_write_is_reported_wherever_it_happens);
	tcase_add_loop_test(tc, values_larger_than_all_buffers_come_back, 0, 3);
	tc = new_case(s, "caches and filters");
	tcase_add_test(tc, a_pinned_value_outlives_eviction_and_the_table);
	tcase_add_test(tc, blocks_are_read_once_when_they_fit_the_cache);
	tcase_add_test(tc, the_filter_spares_reads_and_is_counted);
	tcase_add_test(tc, prefix_filters_are_asked_only_under_their_own_name);
	tc = new_case(s, "threads");
	tcase_add_test(tc, threads_read_one_table_through_a_small_cache);
	return run_suite(s);
}
