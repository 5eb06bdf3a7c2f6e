/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/kv/batch.h"
#include "engine/wal/reader.h"
#include "engine/wal/record.h"
#include "engine/wal/writer.h"

#include "tests/support/runner.h"

/* ------------------------------------------------- files made of memory */

struct mem_wfile {
	struct wfile base;
	struct buf *bytes;
	int appends;
	int syncs;
	bool *closed;
	bool fail_append;
	bool fail_sync;
	bool fail_close;
};

static int mem_append(struct wfile *f, const void *data, size_t len)
{
	struct mem_wfile *m = (struct mem_wfile *)f;

	m->appends++;
	if (m->fail_append)
		return error_set(CAIRN_ENOSPC, "file is full");
	return buf_append(m->bytes, data, len);
}

static int mem_sync(struct wfile *f)
{
	struct mem_wfile *m = (struct mem_wfile *)f;

	m->syncs++;
	return m->fail_sync ? error_set(CAIRN_EIO, "sync broke") : CAIRN_OK;
}

static int mem_close(struct wfile *f)
{
	struct mem_wfile *m = (struct mem_wfile *)f;
	int err =
		m->fail_close ? error_set(CAIRN_EIO, "close broke") : CAIRN_OK;

	if (m->closed)
		*m->closed = true;
	free(m);
	return err;
}

static const struct wfile_ops mem_wfile_ops = {
	.append = mem_append,
	.sync = mem_sync,
	.close = mem_close,
};

static struct mem_wfile *mem_wfile_new(struct buf *bytes)
{
	struct mem_wfile *m = calloc(1, sizeof(*m));

	m->base.ops = &mem_wfile_ops;
	m->bytes = bytes;
	return m;
}

struct mem_rfile {
	struct rfile base;
	struct cairn_slice bytes;
	uint64_t fail_from; /* reads that reach this far fail */
};

static int mem_read(struct rfile *f, uint64_t off, void *dst, size_t len,
		    size_t *got)
{
	const struct mem_rfile *m = (const struct mem_rfile *)f;

	if (off + len > m->fail_from)
		return error_set(CAIRN_EIO, "read broke");
	*got = 0;
	if (off >= m->bytes.len)
		return CAIRN_OK;
	*got = m->bytes.len - off < len ? m->bytes.len - off : len;
	memcpy(dst, m->bytes.data + off, *got);
	return CAIRN_OK;
}

static const struct rfile_ops mem_rfile_ops = { .read = mem_read };

/* ------------------------------------------------------------ what is read */

#define RECORDS_MAX 4096

/* A log read to its end. */
struct seen {
	size_t n;
	uint64_t offsets[RECORDS_MAX];
	struct buf records[RECORDS_MAX];
	int result;
	enum log_end end;
	bool garbled;
	uint64_t end_offset;
};

static struct seen seen;

static void read_log_numbered(struct cairn_slice bytes, uint64_t number)
{
	struct mem_rfile f = { { &mem_rfile_ops }, bytes, UINT64_MAX };
	struct log_reader *r;
	struct cairn_slice record;
	int err;

	seen.n = 0;
	ck_assert_int_eq(log_reader_new(&f.base, "db/000007.log", number, &r),
			 CAIRN_OK);
	while ((err = log_reader_next(r, &record)) == CAIRN_OK) {
		ck_assert_uint_lt(seen.n, RECORDS_MAX);
		seen.offsets[seen.n] = log_reader_offset(r);
		ck_assert_int_eq(buf_set(&seen.records[seen.n], record), 0);
		seen.n++;
	}
	seen.result = err;
	if (err == CAIRN_NOT_FOUND) {
		seen.end = log_reader_end(r);
		seen.garbled = log_reader_garbled(r);
	}
	seen.end_offset = log_reader_offset(r);
	/* What ends a log, ends it for good. */
	ck_assert_int_eq(log_reader_next(r, &record), err);
	if (err < 0) {
		error_set(CAIRN_EIO, "something else");
		ck_assert_int_eq(log_reader_next(r, &record), err);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "db/000007.log"));
	}
	log_reader_free(r);
}

static void read_log(struct cairn_slice bytes)
{
	read_log_numbered(bytes, 7);
}

static void seen_fini(void)
{
	for (size_t i = 0; i < RECORDS_MAX; i++)
		buf_fini(&seen.records[i]);
}

/* A recognisable record: its number all over. */
static void fill(struct buf *b, size_t len, unsigned number)
{
	buf_clear(b);
	ck_assert_int_eq(buf_reserve(b, len), 0);
	for (size_t i = 0; i < len; i++)
		b->data[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
	b->len = len;
}

/* A log of records with these lengths, as our writer makes it. */
static void write_log(struct buf *out, const size_t *lens, size_t n,
		      uint64_t *ends)
{
	struct mem_wfile *f = mem_wfile_new(out);
	struct log_writer *w;
	struct buf record = { 0 };

	buf_clear(out);
	ck_assert_int_eq(log_writer_new(&f->base, &w), CAIRN_OK);
	for (size_t i = 0; i < n; i++) {
		fill(&record, lens[i], (unsigned)i);
		ck_assert_int_eq(log_writer_add(w, buf_slice(&record)),
				 CAIRN_OK);
		if (ends)
			ends[i] = log_writer_size(w);
	}
	ck_assert_int_eq(log_writer_close(w), CAIRN_OK);
	buf_fini(&record);
}

/* The first n records seen are the first n written. */
static void check_prefix(const size_t *lens, size_t n)
{
	struct buf want = { 0 };

	ck_assert_uint_ge(seen.n, n);
	for (size_t i = 0; i < n; i++) {
		fill(&want, lens[i], (unsigned)i);
		ck_assert(slice_eq(buf_slice(&want),
				   buf_slice(&seen.records[i])));
	}
	buf_fini(&want);
}

/* One fragment with a right checksum, of whatever type. */
static void add_fragment(struct buf *b, uint8_t type, const uint32_t *number,
			 struct cairn_slice payload)
{
	uint8_t tail[5] = { type };
	uint8_t head[6];
	size_t n = number ? 5 : 1;
	uint32_t crc;

	if (number)
		put_le32(tail + 1, *number);
	crc = crc32c(tail, n);
	crc = crc32c_extend(crc, payload.data, payload.len);
	put_le32(head, crc32c_mask(crc));
	put_le16(head + 4, (uint16_t)payload.len);
	ck_assert_int_eq(buf_append(b, head, sizeof(head)), 0);
	ck_assert_int_eq(buf_append(b, tail, n), 0);
	ck_assert_int_eq(buf_append(b, payload.data, payload.len), 0);
}

static void add_zeros(struct buf *b, size_t n)
{
	ck_assert_int_eq(buf_reserve(b, n), 0);
	memset(b->data + b->len, 0, n);
	b->len += n;
}

/* ------------------------------------------------------------------ writer */

START_TEST(a_record_is_framed_as_rocksdb_frames_it)
{
	/* The first record of every MANIFEST: the name of the key order. */
	static const char payload[] = "\x01\x1aleveldb.BytewiseComparator";
	static const uint8_t header[] = { 0x56, 0xf9, 0xb8, 0xf8,
					  0x1c, 0x00, 0x01 };
	struct buf out = { 0 };
	struct mem_wfile *f = mem_wfile_new(&out);
	struct log_writer *w;

	ck_assert_int_eq(log_writer_new(&f->base, &w), CAIRN_OK);
	ck_assert_int_eq(log_writer_add(w, slice_str(payload)), CAIRN_OK);
	ck_assert_int_eq(log_writer_close(w), CAIRN_OK);
	ck_assert_uint_eq(out.len, sizeof(header) + sizeof(payload) - 1);
	ck_assert_mem_eq(out.data, header, sizeof(header));
	ck_assert_mem_eq(out.data + sizeof(header), payload,
			 sizeof(payload) - 1);
	buf_fini(&out);
}
END_TEST

START_TEST(a_flush_is_one_write_of_all_that_was_added)
{
	struct buf out = { 0 };
	struct mem_wfile *f = mem_wfile_new(&out);
	struct buf big = { 0 };
	struct log_writer *w;
	bool closed = false;

	f->closed = &closed;
	fill(&big, 100000, 1);
	ck_assert_int_eq(log_writer_new(&f->base, &w), CAIRN_OK);
	ck_assert_int_eq(log_writer_flush(w), CAIRN_OK);
	ck_assert_int_eq(f->appends, 0);
	ck_assert_int_eq(log_writer_add(w, slice_str("abc")), CAIRN_OK);
	ck_assert_int_eq(log_writer_add(w, buf_slice(&big)), CAIRN_OK);
	ck_assert_int_eq(f->appends, 0);
	ck_assert_uint_eq(log_writer_size(w), 10 + 100000 + 4 * 7);
	ck_assert_uint_eq(log_writer_flushed(w), 0);
	ck_assert_int_eq(log_writer_flush(w), CAIRN_OK);
	ck_assert_int_eq(f->appends, 1);
	ck_assert_uint_eq(log_writer_flushed(w), log_writer_size(w));
	ck_assert_uint_eq(out.len, log_writer_size(w));
	ck_assert_int_eq(log_writer_sync(w), CAIRN_OK);
	ck_assert_int_eq(f->syncs, 1);
	ck_assert_int_eq(log_writer_status(w), CAIRN_OK);

	/* Closing flushes. */
	ck_assert_int_eq(log_writer_add(w, slice_str("last")), CAIRN_OK);
	ck_assert_int_eq(log_writer_close(w), CAIRN_OK);
	ck_assert(closed);
	ck_assert_int_eq(log_writer_close(NULL), CAIRN_OK);
	read_log(buf_slice(&out));
	ck_assert_uint_eq(seen.n, 3);
	ck_assert(slice_eq(buf_slice(&seen.records[1]), buf_slice(&big)));
	buf_fini(&big);
	buf_fini(&out);
	seen_fini();
}
END_TEST

START_TEST(a_failed_flush_or_sync_is_final)
{
	struct buf out = { 0 };
	struct mem_wfile *f = mem_wfile_new(&out);
	bool by_sync = _i;
	int want = by_sync ? CAIRN_EIO : CAIRN_ENOSPC;
	struct log_writer *w;

	ck_assert_int_eq(log_writer_new(&f->base, &w), CAIRN_OK);
	ck_assert_int_eq(log_writer_add(w, slice_str("abc")), CAIRN_OK);
	if (by_sync) {
		f->fail_sync = true;
		ck_assert_int_eq(log_writer_flush(w), CAIRN_OK);
		ck_assert_int_eq(log_writer_sync(w), want);
		f->fail_sync = false;
	} else {
		f->fail_append = true;
		ck_assert_int_eq(log_writer_flush(w), want);
		f->fail_append = false;
	}
	f->appends = 0;
	f->syncs = 0;
	error_set(CAIRN_EBUSY, "something else");
	ck_assert_int_eq(log_writer_status(w), want);
	ck_assert_int_eq(log_writer_add(w, slice_str("x")), want);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(),
				     by_sync ? "sync broke" : "file is full"));
	ck_assert_int_eq(log_writer_flush(w), want);
	ck_assert_int_eq(log_writer_sync(w), want);
	ck_assert_int_eq(f->appends, 0);
	ck_assert_int_eq(f->syncs, 0);
	ck_assert_int_eq(log_writer_close(w), want);
	buf_fini(&out);
}
END_TEST

START_TEST(a_failing_close_is_reported)
{
	struct buf out = { 0 };
	struct mem_wfile *f = mem_wfile_new(&out);
	struct log_writer *w;

	f->fail_close = true;
	ck_assert_int_eq(log_writer_new(&f->base, &w), CAIRN_OK);
	ck_assert_int_eq(log_writer_close(w), CAIRN_EIO);
	buf_fini(&out);
}
END_TEST

/* -------------------------------------------------------------- round trips */

static const size_t lens_small[] = { 20, 0, 13, 1, 33, 7 };
static const size_t lens_large[] = { 30000, 100, 40000, 2700, 5, 70000, 60 };

static const struct {
	const char *name;
	const size_t *lens;
	size_t n;
} logs[] = {
	{ "one block", lens_small, 6 },
	{ "many blocks", lens_large, 7 },
};
#define N_LOGS ((int)(sizeof(logs) / sizeof(logs[0])))

START_TEST(what_was_written_is_read)
{
	struct buf out = { 0 };
	uint64_t ends[8];

	write_log(&out, logs[_i].lens, logs[_i].n, ends);
	read_log(buf_slice(&out));
	ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
	ck_assert_int_eq(seen.end, LOG_END_CLEAN);
	ck_assert_uint_eq(seen.n, logs[_i].n);
	ck_assert_uint_eq(seen.end_offset, out.len);
	check_prefix(logs[_i].lens, seen.n);
	ck_assert_uint_eq(seen.offsets[0], 0);
	buf_fini(&out);
	seen_fini();
}
END_TEST

/* A record that leaves so many bytes in the block, then all kinds behind. */
START_TEST(every_space_left_in_a_block_is_written_and_read)
{
	size_t lens[5] = { RECORD_BLOCK_LEN - RECORD_HEADER_LEN - (size_t)_i, 0,
			   3, RECORD_BLOCK_LEN, 1 };
	struct buf out = { 0 };

	/* Followed by an empty record, and not. */
	for (int skip = 0; skip < 2; skip++) {
		if (skip)
			lens[1] = 1 + (size_t)_i;
		write_log(&out, lens, 5, NULL);
		read_log(buf_slice(&out));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_int_eq(seen.end, LOG_END_CLEAN);
		ck_assert_uint_eq(seen.n, 5);
		check_prefix(lens, 5);
	}
	buf_fini(&out);
	seen_fini();
}
END_TEST

START_TEST(an_empty_file_is_a_log_that_ends_clean)
{
	read_log(slice_of("", 0));
	ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
	ck_assert_int_eq(seen.end, LOG_END_CLEAN);
	ck_assert_uint_eq(seen.n, 0);
	ck_assert_uint_eq(seen.end_offset, 0);
}
END_TEST

/* ----------------------------------------------------------------- damage */

/* Offsets worth trying: all of a small log, the edges of a large one. */
static bool is_interesting(const struct buf *log, const uint64_t *ends,
			   size_t n, size_t off)
{
	size_t in_block = off % RECORD_BLOCK_LEN;

	if (log->len < 1000 || in_block < 12 ||
	    in_block > RECORD_BLOCK_LEN - 12 || off % 4999 == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		if (off + 12 > ends[i] && off < ends[i] + 12)
			return true;
	return false;
}

static size_t whole_records(const uint64_t *ends, size_t n, uint64_t len)
{
	size_t i = 0;

	while (i < n && ends[i] <= len)
		i++;
	return i;
}

START_TEST(a_log_cut_anywhere_gives_the_whole_records_and_is_no_damage)
{
	size_t n = logs[_i].n;
	struct buf out = { 0 };
	uint64_t ends[8];

	write_log(&out, logs[_i].lens, n, ends);
	for (size_t len = 0; len < out.len; len++) {
		size_t whole = whole_records(ends, n, len);
		uint64_t end = whole ? ends[whole - 1] : 0;
		struct cairn_slice pad;

		if (!is_interesting(&out, ends, n, len))
			continue;
		read_log(slice_of(out.data, len));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_uint_eq(seen.n, whole);
		check_prefix(logs[_i].lens, whole);
		/* Padding of a block before the next record is no record. */
		pad = slice_of(out.data + end, len - end);
		while (pad.len && pad.data[0] == 0)
			slice_advance(&pad, 1);
		ck_assert_int_eq(seen.end,
				 pad.len ? LOG_END_TORN : LOG_END_CLEAN);
		ck_assert(!seen.garbled);
		ck_assert_uint_eq(seen.end_offset, end);
	}
	buf_fini(&out);
	seen_fini();
}
END_TEST

/*
 * What may come of a log that was changed in one place: an error, or all
 * records, or those before the place if it reaches into the last record.
 */
static void check_changed(const size_t *lens, const uint64_t *ends, size_t n,
			  size_t from, size_t to)
{
	uint64_t last = n > 1 ? ends[n - 2] : 0;

	if (seen.result == CAIRN_ECORRUPT || seen.result == CAIRN_ENOTSUP) {
		ck_assert_uint_le(seen.n, whole_records(ends, n, to));
		check_prefix(lens, seen.n);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "offset"));
		return;
	}
	ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
	check_prefix(lens, seen.n);
	if (seen.n == n)
		return;
	ck_assert_msg(to > last && seen.n == whole_records(ends, n, from),
		      "change at %zu..%zu is not noticed: %zu records", from,
		      to, seen.n);
}

START_TEST(a_flipped_bit_is_noticed_wherever_a_record_follows)
{
	size_t n = logs[_i].n;
	struct buf out = { 0 };
	uint64_t ends[8];

	write_log(&out, logs[_i].lens, n, ends);
	for (size_t off = 0; off < out.len; off++) {
		if (!is_interesting(&out, ends, n, off))
			continue;
		for (int bit = 0; bit < 8; bit++) {
			out.data[off] ^= (uint8_t)(1 << bit);
			read_log(buf_slice(&out));
			out.data[off] ^= (uint8_t)(1 << bit);
			check_changed(logs[_i].lens, ends, n, off, off + 1);
		}
	}
	buf_fini(&out);
	seen_fini();
}
END_TEST

static const struct {
	size_t len;
	int fill; /* -1: random */
} spots[] = { { 1, 0 },   { 7, 0 },   { 16, 0 },   { 512, 0 },
	      { 4, 255 }, { 16, -1 }, { 512, -1 }, { 1, -1 } };
#define N_SPOTS (sizeof(spots) / sizeof(spots[0]))

START_TEST(an_overwritten_stretch_is_noticed_wherever_a_record_follows)
{
	size_t n = logs[_i].n;
	struct buf out = { 0 }, bad = { 0 };
	struct rng rng;
	uint64_t ends[8];

	rng_init(&rng, 4711);
	write_log(&out, logs[_i].lens, n, ends);
	for (size_t k = 0; k < N_SPOTS; k++) {
		for (size_t off = 0; off < out.len; off++) {
			size_t to = off + spots[k].len;

			if (!is_interesting(&out, ends, n, off) ||
			    (out.len > 1000 && k % 3 != off % 3))
				continue;
			if (to > out.len)
				to = out.len;
			ck_assert_int_eq(buf_set(&bad, buf_slice(&out)), 0);
			for (size_t i = off; i < to; i++)
				bad.data[i] = spots[k].fill < 0
						      ? (uint8_t)rng_next(&rng)
						      : (uint8_t)spots[k].fill;
			read_log(buf_slice(&bad));
			check_changed(logs[_i].lens, ends, n, off, to);
		}
	}
	buf_fini(&bad);
	buf_fini(&out);
	seen_fini();
}
END_TEST

START_TEST(a_wrong_length_is_noticed_even_in_the_last_record)
{
	static const size_t lens[] = { 20, 300 };
	struct buf out = { 0 };
	uint64_t ends[2];

	write_log(&out, lens, 2, ends);
	for (int bit = 0; bit < 16; bit++) {
		uint8_t *p = out.data + ends[0] + 4 + bit / 8;

		*p ^= (uint8_t)(1 << bit % 8);
		read_log(buf_slice(&out));
		*p ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(seen.result, CAIRN_ECORRUPT);
		ck_assert_uint_eq(seen.n, 1);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(),
					     "offset 27: record with a wrong "
					     "length"));
	}
	buf_fini(&out);
	seen_fini();
}
END_TEST

START_TEST(bytes_appended_to_a_log_change_nothing)
{
	size_t n = logs[_i].n;
	struct buf out = { 0 };
	struct rng rng;
	size_t len;

	rng_init(&rng, 42);
	write_log(&out, logs[_i].lens, n, NULL);
	len = out.len;
	/* Zeros are a proper end, as in a preallocated file; others are not. */
	for (size_t more = 1; more < 100000; more = more * 3 + 1) {
		out.len = len;
		add_zeros(&out, more);
		read_log(buf_slice(&out));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_int_eq(seen.end, LOG_END_CLEAN);
		ck_assert_uint_eq(seen.n, n);
		ck_assert_uint_eq(seen.end_offset, len);

		for (size_t i = len; i < out.len; i++)
			out.data[i] = (uint8_t)(1 + rng_below(&rng, 255));
		read_log(buf_slice(&out));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_int_eq(seen.end, LOG_END_TORN);
		ck_assert_uint_eq(seen.n, n);
		ck_assert_uint_eq(seen.end_offset, len);
	}
	check_prefix(logs[_i].lens, n);
	buf_fini(&out);
	seen_fini();
}
END_TEST

START_TEST(a_torn_record_that_holds_a_log_is_not_taken_for_damage)
{
	static const size_t inner_lens[] = { 200, 300, 40000, 10, 400 };
	struct buf inner = { 0 }, out = { 0 };
	struct mem_wfile *f = mem_wfile_new(&out);
	struct log_writer *w;
	uint64_t inner_ends[5];

	write_log(&inner, inner_lens, 5, inner_ends);
	ck_assert_int_eq(log_writer_new(&f->base, &w), CAIRN_OK);
	ck_assert_int_eq(log_writer_add(w, slice_str("first")), CAIRN_OK);
	ck_assert_int_eq(log_writer_add(w, buf_slice(&inner)), CAIRN_OK);
	ck_assert_int_eq(log_writer_close(w), CAIRN_OK);
	for (size_t len = 13; len < out.len; len += 101) {
		/* Where a record of the inner log ends it could be one. */
		if (whole_records(inner_ends, 5, len - 19) !=
		    whole_records(inner_ends, 5, len - 20))
			continue;
		read_log(slice_of(out.data, len));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_int_eq(seen.end, LOG_END_TORN);
		ck_assert_uint_eq(seen.n, 1);
	}
	/* Nor when it is all there, but wrong. */
	for (size_t off = 19; off < out.len; off += 101) {
		if (off % RECORD_BLOCK_LEN < RECORD_HEADER_LEN)
			continue;
		out.data[off] ^= 4;
		read_log(buf_slice(&out));
		out.data[off] ^= 4;
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_int_eq(seen.end, LOG_END_TORN);
		ck_assert(seen.garbled);
		ck_assert_uint_eq(seen.n, 1);
	}
	buf_fini(&inner);
	buf_fini(&out);
	seen_fini();
}
END_TEST

/* ------------------------------------------------------ sequences of pieces */

/* Pieces are "Type:length" of legacy fragments; Z is a block's rest of zeros.
 */
static const struct {
	const char *pieces;
	size_t n;
	int result;
	enum log_end end;
} sequences[] = {
	{ "", 0, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "U:3", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "F:3 M:3 L:3", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "F:0 M:0 L:0", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "U:3 F:3", 1, CAIRN_NOT_FOUND, LOG_END_TORN },
	{ "U:3 F:3 M:3", 1, CAIRN_NOT_FOUND, LOG_END_TORN },
	{ "U:3 F:3 U:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "U:3 F:3 F:3 L:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "U:3 M:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "U:3 L:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "L:0", 0, CAIRN_ECORRUPT, LOG_END_CLEAN },
	/* An empty beginning may be begun again. */
	{ "U:3 F:0 U:3", 2, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "U:3 F:0 F:3 L:3", 2, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "U:3 F:0", 1, CAIRN_NOT_FOUND, LOG_END_TORN },
	/* Zeros: an end, or a hole. */
	{ "U:3 Z", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "U:3 Z Z", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "U:3 Z U:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "U:3 Z Z F:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "Z U:3", 0, CAIRN_ECORRUPT, LOG_END_CLEAN },
	{ "U:3 F:3 Z", 1, CAIRN_NOT_FOUND, LOG_END_TORN },
	{ "U:3 F:3 Z L:3", 1, CAIRN_NOT_FOUND, LOG_END_TORN },
	{ "U:3 F:3 Z L:3 U:3", 1, CAIRN_ECORRUPT, LOG_END_CLEAN },
	/* Types of newer releases: 130 may be skipped, 10 not, X is 119. */
	{ "P:3 U:3 P:9", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "F:3 P:3 L:3", 1, CAIRN_NOT_FOUND, LOG_END_CLEAN },
	{ "T:3 U:3", 0, CAIRN_ENOTSUP, LOG_END_CLEAN },
	{ "U:3 X:3", 1, CAIRN_ENOTSUP, LOG_END_CLEAN },
	{ "C:4 U:3", 0, CAIRN_ENOTSUP, LOG_END_CLEAN },
};
#define N_SEQUENCES ((int)(sizeof(sequences) / sizeof(sequences[0])))

static uint8_t type_of_letter(char c)
{
	static const char letters[] = "UFMLCTXP";
	static const uint8_t types[] = { RECORD_FULL,
					 RECORD_FIRST,
					 RECORD_MIDDLE,
					 RECORD_LAST,
					 RECORD_SET_COMPRESSION,
					 10,
					 119,
					 130 };

	return types[strchr(letters, c) - letters];
}

START_TEST(pieces_make_records_only_in_the_right_order)
{
	const char *p = sequences[_i].pieces;
	struct buf log = { 0 }, payload = { 0 };
	size_t block_rest;

	while (*p) {
		if (*p == 'Z') {
			block_rest =
				RECORD_BLOCK_LEN - log.len % RECORD_BLOCK_LEN;
			add_zeros(&log, block_rest);
			p++;
		} else {
			fill(&payload, (size_t)(p[2] - '0'), 3);
			add_fragment(&log, type_of_letter(*p), NULL,
				     buf_slice(&payload));
			p += 3;
		}
		p += *p == ' ';
	}
	read_log(buf_slice(&log));
	ck_assert_msg(seen.result == sequences[_i].result, "%s: %d",
		      sequences[_i].pieces, seen.result);
	ck_assert_uint_eq(seen.n, sequences[_i].n);
	if (seen.result == CAIRN_NOT_FOUND)
		ck_assert_int_eq(seen.end, sequences[_i].end);
	buf_fini(&payload);
	buf_fini(&log);
	seen_fini();
}
END_TEST

/* -------------------------------------------------------- recycled log files
 */

/* Records of one length with recyclable headers, padded as RocksDB does. */
static void write_recyclable(struct buf *out, uint32_t number, size_t len,
			     size_t n)
{
	struct buf record = { 0 };

	for (size_t i = 0; i < n; i++) {
		struct cairn_slice rest;
		bool first = true;

		fill(&record, len, (unsigned)i);
		rest = buf_slice(&record);
		do {
			size_t left =
				RECORD_BLOCK_LEN - out->len % RECORD_BLOCK_LEN;
			size_t take;
			bool last;

			if (left < RECORD_HEADER_LEN_MAX) {
				add_zeros(out, left);
				left = RECORD_BLOCK_LEN;
			}
			take = left - RECORD_HEADER_LEN_MAX;
			if (take > rest.len)
				take = rest.len;
			last = take == rest.len;
			add_fragment(out,
				     first ? (last ? RECORD_RECYCLABLE_FULL
						   : RECORD_RECYCLABLE_FIRST)
					   : (last ? RECORD_RECYCLABLE_LAST
						   : RECORD_RECYCLABLE_MIDDLE),
				     &number, slice_of(rest.data, take));
			slice_advance(&rest, take);
			first = false;
		} while (rest.len);
	}
	buf_fini(&record);
}

START_TEST(recyclable_records_are_read)
{
	/* Lengths that leave each number of bytes up to 40 in a block. */
	size_t len = RECORD_BLOCK_LEN - RECORD_HEADER_LEN_MAX - (size_t)_i;
	size_t lens[4] = { len, len, len, len };
	struct buf out = { 0 };

	write_recyclable(&out, 7, len, 4);
	read_log(buf_slice(&out));
	ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
	ck_assert_int_eq(seen.end, LOG_END_CLEAN);
	ck_assert_uint_eq(seen.n, 4);
	check_prefix(lens, 4);
	/* Only the low 32 bits are in the header. */
	read_log_numbered(buf_slice(&out), (UINT64_C(5) << 32) + 7);
	ck_assert_uint_eq(seen.n, 4);
	read_log_numbered(buf_slice(&out), 8);
	ck_assert_uint_eq(seen.n, 0);
	ck_assert_int_eq(seen.end, LOG_END_CLEAN);
	buf_fini(&out);
	seen_fini();
}
END_TEST

/* Write n records over a file that held older ones. */
static void reuse(struct buf *file, const struct buf *old, size_t len, size_t n)
{
	struct buf fresh = { 0 };

	write_recyclable(&fresh, 7, len, n);
	ck_assert_int_eq(buf_set(file, buf_slice(old)), 0);
	ck_assert_uint_le(fresh.len, file->len);
	memcpy(file->data, fresh.data, fresh.len);
	buf_fini(&fresh);
}

START_TEST(what_the_file_held_before_is_not_replayed)
{
	size_t len = (size_t)(_i / 2) + 50;
	struct buf old = { 0 }, file = { 0 };

	/* Older records of either framing, of the same length and others. */
	if (_i % 2) {
		write_recyclable(&old, 3, 60, 500);
	} else {
		size_t old_lens[500];

		for (size_t i = 0; i < 500; i++)
			old_lens[i] = 60;
		write_log(&old, old_lens, 500, NULL);
	}
	for (size_t n = 1; n < 20; n++) {
		reuse(&file, &old, len, n);
		read_log(buf_slice(&file));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_uint_eq(seen.n, n);
	}
	/* Aligned with an old record, the end is a clean one. */
	if (_i % 2) {
		reuse(&file, &old, 60, 30);
		read_log(buf_slice(&file));
		ck_assert_int_eq(seen.result, CAIRN_NOT_FOUND);
		ck_assert_int_eq(seen.end, LOG_END_CLEAN);
		ck_assert_uint_eq(seen.n, 30);
	}
	buf_fini(&file);
	buf_fini(&old);
	seen_fini();
}
END_TEST

START_TEST(damage_in_a_recycled_log_is_noticed_wherever_a_record_follows)
{
	struct buf old = { 0 }, file = { 0 };
	size_t n = 7, len = 60, step = len + RECORD_HEADER_LEN_MAX;

	write_recyclable(&old, 3, _i ? 60 : 47, 200);
	reuse(&file, &old, len, n);
	for (size_t off = 0; off < n * step; off++) {
		for (int bit = 0; bit < 8; bit++) {
			file.data[off] ^= (uint8_t)(1 << bit);
			read_log(buf_slice(&file));
			file.data[off] ^= (uint8_t)(1 << bit);
			ck_assert_uint_eq(seen.n, off / step);
			/* The last record may look torn. */
			if (off / step < n - 1 ||
			    seen.result != CAIRN_NOT_FOUND)
				ck_assert_int_eq(seen.result, CAIRN_ECORRUPT);
		}
	}
	/* A write that never arrived: an old record, whole, among new ones. */
	memcpy(file.data + 4 * step, old.data + 4 * step, step);
	read_log(buf_slice(&file));
	ck_assert_int_eq(seen.result, CAIRN_ECORRUPT);
	ck_assert_uint_eq(seen.n, 4);
	buf_fini(&file);
	buf_fini(&old);
	seen_fini();
}
END_TEST

/* --------------------------------------------------------- hostile and broken
 */

START_TEST(a_failing_read_is_reported_and_stays)
{
	static const size_t lens[] = { 100, 40000, 100 };
	struct mem_rfile f = { { &mem_rfile_ops }, { 0 }, 2 * 32768 };
	struct buf out = { 0 };
	struct log_reader *r;
	struct cairn_slice record;

	write_log(&out, lens, 3, NULL);
	f.bytes = buf_slice(&out);
	f.fail_from = RECORD_BLOCK_LEN + 1;
	ck_assert_int_eq(log_reader_new(&f.base, "x.log", 7, &r), CAIRN_OK);
	ck_assert_int_eq(log_reader_next(r, &record), CAIRN_OK);
	ck_assert_int_eq(log_reader_next(r, &record), CAIRN_EIO);
	f.fail_from = UINT64_MAX;
	ck_assert_int_eq(log_reader_next(r, &record), CAIRN_EIO);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "read broke"));
	log_reader_free(r);
	log_reader_free(NULL);

	/* Also while looking behind a bad record. */
	out.data[20] ^= 1;
	f.fail_from = RECORD_BLOCK_LEN + 1;
	ck_assert_int_eq(log_reader_new(&f.base, "x.log", 7, &r), CAIRN_OK);
	ck_assert_int_lt(log_reader_next(r, &record), 0);
	log_reader_free(r);
	buf_fini(&out);
}
END_TEST

START_TEST(a_log_made_to_be_slow_is_given_up)
{
	struct buf log = { 0 };
	static const uint8_t header[7] = { 1, 2, 3, 4, 0xff, 0x3f, 1 };

	/* Headers everywhere, each with a long payload and a wrong checksum. */
	ck_assert_int_eq(buf_append(&log, "\0\0\0\0\0\0\x77", 7), 0);
	while (log.len < 64 * RECORD_BLOCK_LEN)
		ck_assert_int_eq(buf_append(&log, header, 7 - (size_t)_i), 0);
	read_log(buf_slice(&log));
	ck_assert_uint_eq(seen.n, 0);

	/* Short ones with a wrong checksum, one after the other. */
	buf_clear(&log);
	while (log.len < 64 * RECORD_BLOCK_LEN)
		ck_assert_int_eq(buf_append(&log, "\1\2\3\4\0\0\1", 7), 0);
	read_log(buf_slice(&log));
	ck_assert_uint_eq(seen.n, 0);
	buf_fini(&log);
}
END_TEST

START_TEST(random_bytes_do_no_harm)
{
	struct buf log = { 0 };
	struct rng rng;

	rng_init(&rng, (uint64_t)_i);
	for (int round = 0; round < 50; round++) {
		size_t len = rng_below(&rng, 70000);

		buf_clear(&log);
		ck_assert_int_eq(buf_reserve(&log, len), 0);
		log.len = len;
		for (size_t i = 0; i < len; i++)
			log.data[i] = (uint8_t)rng_below(&rng, 12);
		read_log(buf_slice(&log));
		ck_assert_uint_eq(seen.n, 0);
	}
	buf_fini(&log);
}
END_TEST

/* -------------------------------------------------- logs written by RocksDB */

static const struct {
	const char *name;
	uint64_t number;
	int result;
	enum log_end end;
	bool newest; /* log of the directory */
} goldens[] = {
	{ "crash-open", 8, CAIRN_NOT_FOUND, LOG_END_CLEAN, true },
	{ "torn-crc", 8, CAIRN_NOT_FOUND, LOG_END_TORN, true },
	{ "torn-fragment", 8, CAIRN_NOT_FOUND, LOG_END_TORN, true },
	{ "torn-header", 8, CAIRN_NOT_FOUND, LOG_END_TORN, true },
	{ "torn-middle", 8, CAIRN_ECORRUPT, LOG_END_CLEAN, true },
	{ "torn-payload", 8, CAIRN_NOT_FOUND, LOG_END_TORN, true },
	{ "torn-zeros", 8, CAIRN_NOT_FOUND, LOG_END_CLEAN, true },
	{ "wal-bigrecord", 4, CAIRN_NOT_FOUND, LOG_END_CLEAN, true },
	{ "wal-multi", 4, CAIRN_NOT_FOUND, LOG_END_CLEAN, false },
	{ "wal-multi", 14, CAIRN_NOT_FOUND, LOG_END_CLEAN, true },
	{ "wal-only", 4, CAIRN_NOT_FOUND, LOG_END_CLEAN, true },
	{ "wal-recycled", 14, CAIRN_NOT_FOUND, LOG_END_CLEAN, true },
	{ "wal-zstd", 4, CAIRN_ENOTSUP, LOG_END_CLEAN, true },
};
#define N_GOLDENS ((int)(sizeof(goldens) / sizeof(goldens[0])))

static void golden_path(char *path, const char *name, const char *file)
{
	const char *srcdir = getenv("srcdir");

	snprintf(path, PATH_MAX, "%s/tests/data/golden/%s/%s",
		 srcdir ? srcdir : ".", name, file);
}

static void load(struct buf *out, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t bytes[4096];
	size_t n;

	ck_assert_msg(f != NULL, "%s", path);
	buf_clear(out);
	while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
		ck_assert_int_eq(buf_append(out, bytes, n), 0);
	fclose(f);
}

/* last_sequence of the golden's meta file. */
static uint64_t golden_last_seqno(const char *name)
{
	char path[PATH_MAX];
	struct buf meta = { 0 };
	const char *p;
	uint64_t v;

	golden_path(path, name, "meta");
	load(&meta, path);
	ck_assert_int_eq(buf_append(&meta, "", 1), 0);
	p = strstr((const char *)meta.data, "last_sequence=");
	ck_assert_ptr_nonnull(p);
	v = strtoull(p + strlen("last_sequence="), NULL, 10);
	buf_fini(&meta);
	return v;
}

START_TEST(logs_of_rocksdb_end_as_they_should)
{
	char file[32], path[PATH_MAX];
	struct buf log = { 0 };
	uint64_t next = 0;

	snprintf(file, sizeof(file), "db/%06llu.log",
		 (unsigned long long)goldens[_i].number);
	golden_path(path, goldens[_i].name, file);
	load(&log, path);
	read_log_numbered(buf_slice(&log), goldens[_i].number);
	ck_assert_msg(seen.result == goldens[_i].result, "%s: %d %s",
		      goldens[_i].name, seen.result, cairn_errmsg());
	if (seen.result == CAIRN_NOT_FOUND)
		ck_assert_int_eq(seen.end, goldens[_i].end);
	else if (seen.result == CAIRN_ENOTSUP)
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "compressed"));

	for (size_t i = 0; i < seen.n; i++) {
		struct cairn_slice b = buf_slice(&seen.records[i]);

		ck_assert_int_eq(batch_validate(b), CAIRN_OK);
		if (next)
			ck_assert_uint_eq(batch_bytes_seqno(b), next);
		next = batch_bytes_seqno(b) + batch_bytes_count(b);
	}
	if (seen.result != CAIRN_ENOTSUP) {
		ck_assert_uint_gt(seen.n, 0);
		/* Of the live log what RocksDB replays, and no more. */
		if (goldens[_i].newest)
			ck_assert_uint_eq(next - 1,
					  golden_last_seqno(goldens[_i].name));
	}
	buf_fini(&log);
	seen_fini();
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, 180);
	suite_add_tcase(s, t);
	return t;
}

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = add_case(s, "writer");

	tcase_add_test(t, a_record_is_framed_as_rocksdb_frames_it);
	tcase_add_test(t, a_flush_is_one_write_of_all_that_was_added);
	tcase_add_loop_test(t, a_failed_flush_or_sync_is_final, 0, 2);
	tcase_add_test(t, a_failing_close_is_reported);

	t = add_case(s, "round trip");
	tcase_add_loop_test(t, what_was_written_is_read, 0, N_LOGS);
	tcase_add_loop_test(t, every_space_left_in_a_block_is_written_and_read,
			    0, 24);
	tcase_add_test(t, an_empty_file_is_a_log_that_ends_clean);

	t = add_case(s, "damage");
	tcase_add_loop_test(
		t, a_log_cut_anywhere_gives_the_whole_records_and_is_no_damage,
		0, N_LOGS);
	tcase_add_loop_test(t,
			    a_flipped_bit_is_noticed_wherever_a_record_follows,
			    0, N_LOGS);
	tcase_add_loop_test(
		t, an_overwritten_stretch_is_noticed_wherever_a_record_follows,
		0, N_LOGS);
	tcase_add_test(t, a_wrong_length_is_noticed_even_in_the_last_record);
	tcase_add_loop_test(t, bytes_appended_to_a_log_change_nothing, 0,
			    N_LOGS);
	tcase_add_test(t,
		       a_torn_record_that_holds_a_log_is_not_taken_for_damage);

	t = add_case(s, "pieces");
	tcase_add_loop_test(t, pieces_make_records_only_in_the_right_order, 0,
			    N_SEQUENCES);

	t = add_case(s, "recycled");
	tcase_add_loop_test(t, recyclable_records_are_read, 0, 40);
	tcase_add_loop_test(t, what_the_file_held_before_is_not_replayed, 0,
			    40);
	tcase_add_loop_test(
		t,
		damage_in_a_recycled_log_is_noticed_wherever_a_record_follows,
		0, 2);

	t = add_case(s, "hostile");
	tcase_add_test(t, a_failing_read_is_reported_and_stays);
	tcase_add_loop_test(t, a_log_made_to_be_slow_is_given_up, 1, 2);
	tcase_add_loop_test(t, random_bytes_do_no_harm, 0, 4);

	t = add_case(s, "golden");
	tcase_add_loop_test(t, logs_of_rocksdb_end_as_they_should, 0,
			    N_GOLDENS);
	return run_suite(s);
}
