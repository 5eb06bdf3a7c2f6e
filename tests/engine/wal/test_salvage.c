/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/wal/salvage.h"

#include "engine/base/crc32c.h"
#include "engine/base/rng.h"
#include "engine/wal/record.h"
#include "engine/wal/writer.h"
#include "tests/support/bytes_file.h"
#include "tests/support/runner.h"

#define MAX_RECORDS 64

static void must(int err)
{
	ck_assert_msg(err == CAIRN_OK, "%s: %s", cairn_strerror(err),
		      cairn_errmsg());
}

/* Record i begins with its number, so that it is known again. */
static void record_of(unsigned i, size_t len, struct buf *out)
{
	buf_clear(out);
	must(buf_reserve(out, len + 4));
	put_le32(out->data, i);
	for (size_t at = 4; at < len; at++)
		out->data[at] = (uint8_t)('a' + at % 11);
	out->len = len;
}

struct log {
	struct bytes_wfile file;
	struct log_writer *w;
	uint64_t begin[MAX_RECORDS + 1]; /* of each record, and the end */
	unsigned n;
};

static void log_make(struct log *l, const size_t *lens, unsigned n)
{
	struct buf rec = { 0 };

	bytes_wfile_init(&l->file);
	l->n = n;
	must(log_writer_new(&l->file.base, &l->w));
	for (unsigned i = 0; i < n; i++) {
		l->begin[i] = log_writer_size(l->w);
		record_of(i, lens[i], &rec);
		must(log_writer_add(l->w, buf_slice(&rec)));
	}
	must(log_writer_flush(l->w));
	l->begin[n] = log_writer_size(l->w);
	buf_fini(&rec);
}

static void log_fini(struct log *l)
{
	must(log_writer_close(l->w));
}

/* What was read: records, and bytes passed over. */
struct got {
	bool have[MAX_RECORDS];
	unsigned n;
	uint64_t gap_bytes;
	unsigned gaps;
	bool cut;
	uint64_t gap_at;
};

static int read_all(struct cairn_slice bytes, const size_t *lens,
		    struct got *got)
{
	struct rfile *f = bytes_rfile_new(bytes, NULL);
	struct log_salvage *s;
	struct cairn_slice rec;
	int err;

	*got = (struct got){ .n = 0 };
	must(log_salvage_new(f, "test.log", 0, &s));
	do {
		struct log_gap gap;

		err = log_salvage_next(s, &rec);
		gap = log_salvage_gap(s);
		if (gap.why) {
			ck_assert_uint_gt(gap.len, 0);
			ck_assert_uint_le(gap.offset + gap.len, bytes.len);
			got->gaps++;
			got->gap_bytes += gap.len;
			got->gap_at = gap.offset;
			got->cut = log_salvage_cut(s);
		}
		if (!err) {
			unsigned i = load_le32(rec.data);
			struct buf want = { 0 };

			ck_assert_uint_lt(i, MAX_RECORDS);
			ck_assert(!got->have[i]);
			record_of(i, lens[i], &want);
			ck_assert(slice_eq(rec, buf_slice(&want)));
			buf_fini(&want);
			got->have[i] = true;
			got->n++;
		}
	} while (!err);
	log_salvage_free(s);
	rfile_close(f);
	return err;
}

static const size_t lens[] = { 20,    100,   7,   40000, 33,  90000, 12,
			       32754, 32755, 500, 20,    300, 4,     8000 };
#define N (sizeof(lens) / sizeof(lens[0]))

START_TEST(a_good_log_is_read_without_gaps)
{
	struct log l;
	struct got got;

	log_make(&l, lens, N);
	ck_assert_int_eq(read_all(buf_slice(&l.file.bytes), lens, &got),
			 CAIRN_NOT_FOUND);
	ck_assert_uint_eq(got.n, N);
	ck_assert_uint_eq(got.gaps, 0);
	log_fini(&l);
}
END_TEST

START_TEST(a_flipped_byte_costs_its_record_and_at_most_its_block)
{
	struct log l;
	struct rng rng;

	log_make(&l, lens, N);
	rng_init(&rng, 7);
	for (unsigned k = 0; k < 200; k++) {
		uint64_t at = rng_below(&rng, l.file.bytes.len);
		uint64_t block = at / RECORD_BLOCK_LEN * RECORD_BLOCK_LEN;
		struct got got;

		l.file.bytes.data[at] ^= 0x20;
		ck_assert_int_eq(read_all(buf_slice(&l.file.bytes), lens, &got),
				 CAIRN_NOT_FOUND);
		for (unsigned i = 0; i < N; i++)
			ck_assert_msg(
				got.have[i] ||
					(l.begin[i + 1] > block &&
					 l.begin[i] < block + RECORD_BLOCK_LEN),
				"byte %u costs record %u", (unsigned)at, i);
		/* Only what fills up a block may be anything. */
		ck_assert_msg(got.n == N || got.gaps, "byte %u", (unsigned)at);
		l.file.bytes.data[at] ^= 0x20;
	}
	log_fini(&l);
}
END_TEST

START_TEST(a_wrong_checksum_costs_one_record_only)
{
	struct log l;
	struct got got;

	log_make(&l, lens, 3);
	l.file.bytes.data[l.begin[1] + 50] ^= 1;
	ck_assert_int_eq(read_all(buf_slice(&l.file.bytes), lens, &got),
			 CAIRN_NOT_FOUND);
	ck_assert(got.have[0] && !got.have[1] && got.have[2]);
	ck_assert_uint_eq(got.gap_at, l.begin[1]);
	ck_assert_uint_eq(got.gap_bytes, l.begin[2] - l.begin[1]);
	ck_assert(!got.cut);
	log_fini(&l);
}
END_TEST

START_TEST(a_log_cut_anywhere_has_all_records_before_the_cut)
{
	struct log l;

	log_make(&l, lens, N);
	for (size_t len = 0; len < l.file.bytes.len;
	     len += len % RECORD_BLOCK_LEN < 20 ? 1 : 1499) {
		struct got got;

		ck_assert_int_eq(
			read_all(slice_of(l.file.bytes.data, len), lens, &got),
			CAIRN_NOT_FOUND);
		for (unsigned i = 0; i < N; i++)
			ck_assert(got.have[i] == (l.begin[i + 1] <= len) ||
				  /* Padding behind a record is none of it. */
				  (got.have[i] &&
				   l.begin[i + 1] - len < RECORD_HEADER_LEN));
		if (got.gaps)
			ck_assert(got.cut);
	}
	log_fini(&l);
}
END_TEST

START_TEST(zeros_at_the_end_are_no_gap_but_before_a_record_they_are)
{
	static const uint8_t zeros[100];
	struct log l;
	struct got got;

	log_make(&l, lens, N);
	must(buf_append(&l.file.bytes, zeros, sizeof(zeros)));
	ck_assert_int_eq(read_all(buf_slice(&l.file.bytes), lens, &got),
			 CAIRN_NOT_FOUND);
	ck_assert_uint_eq(got.n, N);
	ck_assert_uint_eq(got.gaps, 0);
	memset(l.file.bytes.data, 0, RECORD_BLOCK_LEN);
	ck_assert_int_eq(read_all(buf_slice(&l.file.bytes), lens, &got),
			 CAIRN_NOT_FOUND);
	ck_assert_uint_gt(got.n, 0);
	ck_assert_uint_eq(got.gaps, 1);
	ck_assert_uint_eq(got.gap_at, 0);
	log_fini(&l);
}
END_TEST

static void append_recyclable(struct buf *b, uint32_t number, const char *text)
{
	size_t len = strlen(text);
	uint8_t head[RECORD_HEADER_LEN_MAX];
	uint32_t crc;

	put_le16(head + 4, (uint16_t)len);
	head[6] = RECORD_RECYCLABLE_FULL;
	put_le32(head + 7, number);
	crc = crc32c_extend(crc32c(head + 6, 5), text, len);
	put_le32(head, crc32c_mask(crc));
	must(buf_append(b, head, sizeof(head)));
	must(buf_append(b, text, len));
}

START_TEST(records_of_another_use_of_the_file_end_it)
{
	struct buf b = { 0 };
	struct rfile *f;
	struct log_salvage *s;
	struct cairn_slice rec;

	append_recyclable(&b, 9, "first");
	append_recyclable(&b, 9, "second");
	append_recyclable(&b, 5, "of before");
	f = bytes_rfile_new(buf_slice(&b), NULL);
	must(log_salvage_new(f, "test.log", _i ? 9 : 0, &s));
	must(log_salvage_next(s, &rec));
	ck_assert(slice_eq(rec, slice_str("first")));
	must(log_salvage_next(s, &rec));
	ck_assert_int_eq(log_salvage_next(s, &rec), CAIRN_NOT_FOUND);
	ck_assert_ptr_null(log_salvage_gap(s).why);
	ck_assert_int_eq(log_salvage_next(s, &rec), CAIRN_NOT_FOUND);
	log_salvage_free(s);
	rfile_close(f);
	buf_fini(&b);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("log salvage");
	TCase *t = tcase_create("log salvage");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_good_log_is_read_without_gaps);
	tcase_add_test(t,
		       a_flipped_byte_costs_its_record_and_at_most_its_block);
	tcase_add_test(t, a_wrong_checksum_costs_one_record_only);
	tcase_add_test(t, a_log_cut_anywhere_has_all_records_before_the_cut);
	tcase_add_test(
		t, zeros_at_the_end_are_no_gap_but_before_a_record_they_are);
	tcase_add_loop_test(t, records_of_another_use_of_the_file_end_it, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
