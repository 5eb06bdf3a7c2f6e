/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replay of logs that the tests write byte by byte: what is read, what is taken
 * for the end of a log, and what is damage.
 */
#include "engine/db/db_log.h"
#include "engine/kv/batch.h"
#include "engine/version/filename.h"
#include "engine/wal/record.h"
#include "engine/wal/writer.h"
#include "tests/support/db_test.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Logs of the tests have these numbers, beyond what opening makes. */
#define LOG_1 101
#define LOG_2 102

/* ------------------------------------------------------------ writing logs */

/* A log in memory, to be bent before it is stored. */
struct log {
	struct buf bytes;
	struct cairn_env *scratch;
	struct log_writer *w;
	size_t ends[64]; /* of each record */
	size_t n;
};

static void log_begin(struct log *l)
{
	struct wfile *f;

	*l = (struct log){ .scratch = env_mem_new(ENV_MEM_STRICT) };
	CK_OK(env_open_write(l->scratch, "/log", &f));
	CK_OK(log_writer_new(f, &l->w));
}

static void log_record(struct log *l, const void *data, size_t len)
{
	CK_OK(log_writer_add(l->w, slice_of(data, len)));
	ck_assert_uint_lt(l->n, N(l->ends));
	l->ends[l->n++] = (size_t)log_writer_size(l->w);
}

static void log_note(struct log *l, uint64_t seqno, uint64_t synced,
		     uint64_t expected)
{
	struct log_note n = { seqno, synced, expected };
	uint8_t record[LOG_NOTE_RECORD_LEN];

	log_note_encode(&n, record);
	log_record(l, record, sizeof(record));
}

/* Key "kSEQNO" gets value "vSEQNO", padded. */
static void log_put(struct log *l, uint64_t seqno, size_t padding)
{
	struct cairn_batch *b = cairn_batch_new();
	char key[32], value[4096];
	int len;

	snprintf(key, sizeof(key), "k%llu", (unsigned long long)seqno);
	len = snprintf(value, sizeof(value), "v%llu",
		       (unsigned long long)seqno);
	memset(value + len, '.', padding);
	CK_OK(cairn_batch_put(b, slice_str(key),
			      slice_of(value, (size_t)len + padding)));
	batch_set_seqno(b, seqno);
	log_record(l, b->bytes.data, b->bytes.len);
	cairn_batch_free(b);
}

static void log_end(struct log *l)
{
	CK_OK(log_writer_close(l->w));
	CK_OK(env_read_file(l->scratch, "/log", 1 << 24, &l->bytes));
	env_mem_free(l->scratch);
}

static void store(struct test_db *t, uint64_t number, const struct buf *bytes)
{
	char *path = filename_wal(TEST_DIR, number);
	struct wfile *f;
	int err;

	err = env_unlink(t->mem, path);
	ck_assert_int_ge(err, 0);
	CK_OK(env_open_write(t->mem, path, &f));
	CK_OK(wfile_append(f, bytes->data, bytes->len));
	CK_OK(wfile_sync(f));
	CK_OK(wfile_close(f));
	CK_OK(env_sync_dir(t->mem, TEST_DIR));
	free(path);
}

/* A directory without anything to replay. */
static void begin(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_open(t);
	tdb_close(t);
}

/* Keys k1 to kN are there, and not the next one. */
static void expect_first(struct test_db *t, uint64_t n)
{
	char key[32];

	for (uint64_t i = 1; i <= n + 1; i++) {
		struct cairn_pinned p = { 0 };
		int err;

		snprintf(key, sizeof(key), "k%llu", (unsigned long long)i);
		err = cairn_get(t->db, NULL, slice_str(key), &p);
		ck_assert_msg(err == (i <= n ? CAIRN_OK : CAIRN_NOT_FOUND),
			      "%s: %d, of %llu", key, err,
			      (unsigned long long)n);
		if (err)
			continue;
		ck_assert(p.value.len && p.value.data[0] == 'v');
		cairn_pinned_release(&p);
	}
}

/* ------------------------------------------------------------------- notes */

START_TEST(a_note_comes_back)
{
	struct log_note n = { 0x22334455667788, 99, 0x02030405060708 };
	uint8_t record[LOG_NOTE_RECORD_LEN];
	struct log_note got = { 0 };

	log_note_encode(&n, record);
	ck_assert(log_note_decode(slice_of(record, sizeof(record)), &got));
	ck_assert_uint_eq(got.seqno, n.seqno);
	ck_assert_uint_eq(got.synced, n.synced);
	ck_assert_uint_eq(got.expected, n.expected);
	/* For RocksDB it is a batch with a remark. */
	CK_OK(batch_validate(slice_of(record, sizeof(record))));
	for (size_t len = 0; len < sizeof(record); len++)
		ck_assert(!log_note_decode(slice_of(record, len), &got));
}
END_TEST

/* ------------------------------------------------------------- whole stories
 */

enum step_kind {
	END,
	LOG,     /* the next log begins */
	NOTE,    /* a: seqno, b: synced, c: expected */
	PUT,     /* a: seqno */
	CUT,     /* the last record loses a bytes */
	FLIP,    /* a bit of record a of this log flips */
	ZERO,    /* record a becomes zeros */
	GARBAGE, /* a bytes of garbage follow */
	ZEROS,   /* a bytes of zeros follow */
};

struct step {
	enum step_kind kind;
	uint64_t a, b, c;
};

static const struct {
	const char *name;
	struct step steps[16];
	int want;
	uint64_t n_keys;     /* k1..kN are there */
	const char *message; /* part of it */
} stories[] = {
	{ "nothing", { { END, 0, 0, 0 } }, CAIRN_OK, 0, NULL },
	{ "an empty file",
	  { { LOG, 0, 0, 0 }, { END, 0, 0, 0 } },
	  CAIRN_OK,
	  0,
	  NULL },
	{ "RocksDB's, whole",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  3,
	  NULL },
	{ "RocksDB's, with writes that had no log",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { PUT, 5, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  2,
	  NULL },
	{ "RocksDB's, numbers missing between logs",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000102.log: begins with batch 3, and 000101.log ends before batch "
	  "2" },
	{ "RocksDB's, numbers going back",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000101.log: offset" },
	{ "RocksDB's, numbers going back in the next log",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000102.log: offset 0" },
	{ "last record cut short",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "last record garbled",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { FLIP, 1, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "zeros of a preallocated file",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { ZEROS, 5000, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "garbage at the end",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { GARBAGE, 50, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "RocksDB's, a record in the middle garbled",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { FLIP, 1, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000101.log: offset" },
	{ "cut short, and a later log with more",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 3, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000101.log: offset" },
	{ "cut short, and an empty later log",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 3, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "cut short, then written on from there",
	  { { LOG, 0, 0, 0 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 3, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  3,
	  NULL },

	{ "ours, whole",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { NOTE, 3, 90, 3 },
	    { PUT, 3, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { NOTE, 4, 0, 4 },
	    { PUT, 4, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  4,
	  NULL },
	{ "ours, nothing but notes",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  0,
	  NULL },
	{ "ours, a hole in what was not synced",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { ZERO, 2, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, a garbled record in what was not synced",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { FLIP, 2, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, a hole behind what was synced",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { NOTE, 2, 52, 2 },
	    { PUT, 2, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { ZERO, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, a hole in what was synced",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { NOTE, 3, 200, 3 },
	    { PUT, 3, 0, 0 },
	    { ZERO, 1, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000101.log: offset 45" },
	{ "ours, a garbled record in what was synced",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { NOTE, 3, 200, 3 },
	    { FLIP, 1, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000101.log: offset 45" },
	{ "ours, whole records missing",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { PUT, 4, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, whole records missing of what was synced",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 3, 0, 0 },
	    { NOTE, 4, 300, 4 },
	    { PUT, 4, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "batch 3 comes where 2 should" },
	{ "ours, numbers left out on purpose",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { NOTE, 9, 0, 3 },
	    { PUT, 9, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  2,
	  NULL },
	{ "ours, two notes for one gap",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { NOTE, 5, 0, 2 },
	    { NOTE, 9, 0, 5 },
	    { PUT, 9, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, a note for another gap",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { NOTE, 9, 0, 4 },
	    { PUT, 9, 0, 0 },
	    { NOTE, 10, 300, 10 },
	    { PUT, 10, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "batch 9 comes where 2 should" },
	{ "ours, numbers left out between two logs",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { NOTE, 7, 0, 2 },
	    { PUT, 7, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, the first log lost its end at a record",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { NOTE, 3, 0, 3 },
	    { PUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000102.log" },
	{ "ours, the first log lost its end in a record",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 2, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { NOTE, 3, 0, 3 },
	    { PUT, 3, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_ECORRUPT,
	  0,
	  "000101.log: offset" },
	{ "ours, lost its end, and the next log has no batch",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 2, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { NOTE, 3, 0, 3 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  1,
	  NULL },
	{ "ours, written on by RocksDB",
	  { { LOG, 0, 0, 0 },
	    { NOTE, 1, 0, 1 },
	    { PUT, 1, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { CUT, 2, 0, 0 },
	    { LOG, 0, 0, 0 },
	    { PUT, 2, 0, 0 },
	    { END, 0, 0, 0 } },
	  CAIRN_OK,
	  2,
	  NULL },
};

static void bend(struct log *l, const struct step *s)
{
	size_t begins = s->a && s->a <= l->n ? l->ends[s->a - 1] : 0;
	uint8_t byte = s->kind == GARBAGE ? 0xa5 : 0;

	switch (s->kind) {
	case CUT:
		l->bytes.len -= (size_t)s->a;
		break;
	case FLIP:
		l->bytes.data[begins + RECORD_HEADER_LEN + 13] ^= 4;
		break;
	case ZERO:
		memset(l->bytes.data + begins, 0, l->ends[s->a] - begins);
		break;
	case GARBAGE:
	case ZEROS:
		for (uint64_t i = 0; i < s->a; i++)
			CK_OK(buf_append(&l->bytes, &byte, 1));
		break;
	case END:
	case LOG:
	case NOTE:
	case PUT:
		break;
	}
}

/* The log that begins at steps; returns what follows it. */
static const struct step *write_log(struct test_db *t, const struct step *s,
				    uint64_t number)
{
	const struct step *first = s;
	struct log l;

	log_begin(&l);
	for (; s->kind != END && s->kind != LOG; s++) {
		if (s->kind == NOTE)
			log_note(&l, s->a, s->b, s->c);
		else if (s->kind == PUT)
			log_put(&l, s->a, 20);
	}
	log_end(&l);
	for (s = first; s->kind != END && s->kind != LOG; s++)
		bend(&l, s);
	store(t, number, &l.bytes);
	buf_fini(&l.bytes);
	return s;
}

START_TEST(logs_are_replayed_cut_or_refused)
{
	const struct step *s = stories[_i].steps;
	uint64_t number = LOG_1;
	struct test_db t;
	int err;

	begin(&t);
	while (s->kind == LOG)
		s = write_log(&t, s + 1, number++);
	/* Reading only must come to the same verdict. */
	tdb_set(&t, "read_only", "true");
	err = cairn_open(TEST_DIR, t.opts, &t.db);
	ck_assert_msg(err == stories[_i].want, "%s, read-only: %d: %s",
		      stories[_i].name, err, cairn_errmsg());
	if (!err)
		tdb_close(&t);
	tdb_set(&t, "read_only", "false");

	err = cairn_open(TEST_DIR, t.opts, &t.db);
	ck_assert_msg(err == stories[_i].want, "%s: %d: %s", stories[_i].name,
		      err, cairn_errmsg());
	if (err) {
		t.db = NULL;
		ck_assert_msg(strstr(cairn_errmsg(), stories[_i].message),
			      "%s: %s", stories[_i].name, cairn_errmsg());
		/* Nothing was thrown away: it is refused again. */
		CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), err);
		t.db = NULL;
	} else {
		expect_first(&t, stories[_i].n_keys);
		tdb_reopen(&t);
		expect_first(&t, stories[_i].n_keys);
	}
	tdb_fini(&t);
}
END_TEST

/* ------------------------------------------------- every cut, every flipped
 * bit */

/* Whether k1..kN are there for some N; how many. */
static uint64_t count_first(struct test_db *t, uint64_t max)
{
	struct cairn_pinned p = { 0 };
	char key[32];
	uint64_t n = 0;

	for (uint64_t i = 1; i <= max; i++) {
		char want[16];
		int len = snprintf(want, sizeof(want), "v%llu",
				   (unsigned long long)i);
		int err;

		snprintf(key, sizeof(key), "k%llu", (unsigned long long)i);
		err = cairn_get(t->db, NULL, slice_str(key), &p);
		if (err == CAIRN_NOT_FOUND)
			continue;
		CK_OK(err);
		ck_assert_msg(n == i - 1, "%s without those before", key);
		ck_assert_int_eq(memcmp(p.value.data, want, (size_t)len), 0);
		cairn_pinned_release(&p);
		n = i;
	}
	return n;
}

static void make_log(struct log *l, bool ours)
{
	log_begin(l);
	if (ours)
		log_note(l, 1, 0, 1);
	log_put(l, 1, 10);
	log_put(l, 2, 0);
	log_put(l, 3, 30);
	if (ours)
		log_note(l, 4, l->ends[l->n - 1], 4);
	log_put(l, 4, 5);
	log_end(l);
}

START_TEST(every_truncation_leaves_a_prefix)
{
	struct test_db t;
	struct log l;
	size_t whole;

	begin(&t);
	make_log(&l, _i == 1);
	whole = l.bytes.len;
	tdb_set(&t, "read_only", "true");
	for (size_t len = 0; len <= whole; len++) {
		uint64_t want = 0, records = 0;

		l.bytes.len = len;
		store(&t, LOG_1, &l.bytes);
		for (size_t i = 0; i < l.n; i++)
			records += len >= l.ends[i];
		if (_i == 0)
			want = records;
		else
			want = records < 2   ? 0
			       : records < 6 ? (records > 4 ? 3 : records - 1)
					     : 4;
		tdb_open(&t);
		ck_assert_uint_eq(count_first(&t, 4), want);
		tdb_close(&t);
	}
	buf_fini(&l.bytes);
	tdb_fini(&t);
}
END_TEST

START_TEST(no_flipped_bit_gives_a_wrong_value_or_a_hole)
{
	unsigned n_refused = 0, n_short = 0;
	struct test_db t;
	struct log l;

	begin(&t);
	make_log(&l, _i == 1);
	tdb_set(&t, "read_only", "true");
	for (size_t bit = 0; bit < 8 * l.bytes.len; bit++) {
		int err;

		l.bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		store(&t, LOG_1, &l.bytes);
		err = cairn_open(TEST_DIR, t.opts, &t.db);
		if (err) {
			ck_assert_msg(err == CAIRN_ECORRUPT, "%d: %s", err,
				      cairn_errmsg());
			ck_assert_ptr_nonnull(
				strstr(cairn_errmsg(), "000101.log"));
			t.db = NULL;
			n_refused++;
		} else {
			/* Only what was not said to be synced may go. */
			uint64_t n = count_first(&t, 4);

			ck_assert_msg(n == 3, "bit %zu: %llu", bit,
				      (unsigned long long)n);
			n_short++;
			tdb_close(&t);
		}
		l.bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* The last record of all, and in our log the note before it. */
	ck_assert_uint_gt(n_refused, 3 * n_short / 2);
	ck_assert_uint_gt(n_short, 0);
	buf_fini(&l.bytes);
	tdb_fini(&t);
}
END_TEST

/* --------------------------------------------------------------------- rest */

START_TEST(batches_that_cannot_be_honoured_are_refused_by_place)
{
	static const struct {
		const char *name;
		const char *op;
		size_t len;
		int want;
	} ops[] = {
		{ "count too high", "\1\1k\1v", 5, CAIRN_ECORRUPT },
		{ "no such operation", "\x7f\1k", 3, CAIRN_ECORRUPT },
		{ "prepared transaction", "\x09", 1, CAIRN_ENOTSUP },
		{ "key beyond the end", "\1\x7fk", 3, CAIRN_ECORRUPT },
	};

	for (size_t i = 0; i < N(ops); i++) {
		uint8_t record[64];
		struct test_db t;
		struct log l;
		uint8_t *p;

		begin(&t);
		log_begin(&l);
		log_put(&l, 1, 0);
		p = put_le64(record, 2);
		p = put_le32(p, 2);
		memcpy(p, ops[i].op, ops[i].len);
		log_record(&l, record, BATCH_HEADER_LEN + ops[i].len);
		log_put(&l, 4, 0);
		log_end(&l);
		store(&t, LOG_1, &l.bytes);
		CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), ops[i].want);
		t.db = NULL;
		ck_assert_msg(strstr(cairn_errmsg(), "000101.log: offset"),
			      "%s: %s", ops[i].name, cairn_errmsg());
		buf_fini(&l.bytes);
		tdb_fini(&t);
	}
}
END_TEST

/* In logs of RocksDB: what is in tables need not be in a log. */
START_TEST(numbers_between_two_logs_are_lost_unless_tables_have_them)
{
	static const struct {
		uint64_t next;
		bool good;
	} cases[] = { { 4, true }, { 5, false } };

	for (size_t i = 0; i < N(cases); i++) {
		struct log first, second;
		struct test_db t;

		tdb_init(&t, NULL);
		tdb_open(&t);
		for (int k = 1; k <= 3; k++) {
			char key[8], value[8];

			snprintf(key, sizeof(key), "k%d", k);
			snprintf(value, sizeof(value), "v%d", k);
			tdb_put(&t, key, value);
		}
		tdb_close(&t);
		log_begin(&first);
		log_put(&first, 1, 0);
		log_end(&first);
		store(&t, LOG_1, &first.bytes);
		log_begin(&second);
		log_put(&second, cases[i].next, 0);
		log_end(&second);
		store(&t, LOG_2, &second.bytes);
		/* A table of it would be beside the one that is there. */
		tdb_set(&t, "read_only", "true");
		if (cases[i].good) {
			tdb_open(&t);
			expect_first(&t, 4);
			tdb_close(&t);
		} else {
			CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db),
				CAIRN_ECORRUPT);
			t.db = NULL;
			ck_assert_msg(strstr(cairn_errmsg(),
					     "000102.log: begins with batch 5, "
					     "and 000101.log ends before "
					     "batch 2"),
				      "%s", cairn_errmsg());
		}
		buf_fini(&first.bytes);
		buf_fini(&second.bytes);
		tdb_fini(&t);
	}
}
END_TEST

START_TEST(numbers_end_before_the_last_one)
{
	static const struct {
		uint64_t seqno;
		int want;
	} cases[] = {
		{ SEQNO_MAX - 1, CAIRN_OK },
		{ SEQNO_MAX + 1, CAIRN_ECORRUPT },
		{ UINT64_MAX, CAIRN_ECORRUPT },
	};

	for (size_t i = 0; i < N(cases); i++) {
		struct test_db t;
		struct log l;

		begin(&t);
		log_begin(&l);
		log_put(&l, cases[i].seqno, 0);
		log_end(&l);
		store(&t, LOG_1, &l.bytes);
		tdb_set(&t, "read_only", "true");
		CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), cases[i].want);
		if (cases[i].want) {
			t.db = NULL;
			ck_assert_msg(strstr(cairn_errmsg(),
					     "000101.log: offset 0: "),
				      "%s", cairn_errmsg());
		}
		buf_fini(&l.bytes);
		tdb_fini(&t);
	}
}
END_TEST

START_TEST(logs_below_the_log_number_are_not_replayed)
{
	struct cairn_metrics m;
	struct test_db t;
	struct log l;

	/* Number 1 is below what the database's MANIFEST says. */
	begin(&t);
	log_begin(&l);
	log_put(&l, 1, 0);
	log_end(&l);
	store(&t, 1, &l.bytes);
	tdb_open(&t);
	tdb_expect(&t, "k1", NULL);
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 0);
	tdb_close(&t);
	ck_assert_uint_eq(tdb_count_files(&t, "000001.log"), 0);
	buf_fini(&l.bytes);
	tdb_fini(&t);
}
END_TEST

START_TEST(numbers_go_on_behind_what_was_replayed)
{
	struct cairn_metrics m;
	struct test_db t;
	struct log l;

	begin(&t);
	log_begin(&l);
	log_put(&l, 41, 0);
	log_put(&l, 42, 0);
	log_end(&l);
	store(&t, LOG_1, &l.bytes);
	tdb_open(&t);
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 42);
	ck_assert_uint_gt(m.next_file_number, LOG_1);
	tdb_put(&t, "a", "b");
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 43);
	tdb_reopen(&t);
	tdb_expect(&t, "k42", "v42");
	tdb_expect(&t, "a", "b");
	buf_fini(&l.bytes);
	tdb_fini(&t);
}
END_TEST

/* [start, end) as RocksDB logs it, which does not look at it first. */
static void log_range(struct log *l, uint64_t seqno, char start, char end)
{
	uint8_t record[BATCH_HEADER_LEN + 5] = { 0 };

	put_le64(record, seqno);
	put_le32(record + 8, 1);
	record[12] = KIND_RANGE_DELETE;
	record[13] = 1;
	record[14] = (uint8_t)start;
	record[15] = 1;
	record[16] = (uint8_t)end;
	log_record(l, record, sizeof(record));
}

START_TEST(an_empty_range_has_a_number_in_its_log_and_none_in_the_next)
{
	struct cairn_metrics m;
	struct test_db t;
	struct log l;

	begin(&t);
	log_begin(&l);
	log_put(&l, 1, 0);
	log_range(&l, 2, 'x', 'x');
	log_put(&l, 3, 0);
	log_range(&l, 4, 'x', 'x');
	log_end(&l);
	store(&t, LOG_1, &l.bytes);
	buf_fini(&l.bytes);
	/* Whoever replays that goes on with 4. */
	log_begin(&l);
	log_put(&l, 4, 0);
	log_end(&l);
	store(&t, LOG_2, &l.bytes);
	buf_fini(&l.bytes);

	tdb_open(&t);
	tdb_expect(&t, "k1", "v1");
	tdb_expect(&t, "k3", "v3");
	tdb_expect(&t, "k4", "v4");
	cairn_metrics_get(t.db, &m);
	ck_assert_uint_eq(m.seqno, 4);
	tdb_fini(&t);
}
END_TEST

/* ... and leaves out numbers of writes that were not logged. */
START_TEST(numbers_may_be_left_out_behind_an_empty_range)
{
	struct test_db t;
	struct log l;

	begin(&t);
	log_begin(&l);
	log_put(&l, 1, 0);
	log_range(&l, 2, 'x', 'x');
	log_end(&l);
	store(&t, LOG_1, &l.bytes);
	buf_fini(&l.bytes);
	log_begin(&l);
	log_note(&l, 10, 0, 2);
	log_put(&l, 10, 0);
	log_end(&l);
	store(&t, LOG_2, &l.bytes);
	buf_fini(&l.bytes);

	tdb_open(&t);
	tdb_expect(&t, "k1", "v1");
	tdb_expect(&t, "k10", "v10");
	tdb_fini(&t);
}
END_TEST

START_TEST(a_range_in_a_log_is_deleted_and_an_inverted_one_is_damage)
{
	struct test_db t;
	struct log l;

	begin(&t);
	log_begin(&l);
	log_put(&l, 1, 0);
	log_range(&l, 2, 'k', 'l');
	log_put(&l, 3, 0);
	log_end(&l);
	store(&t, LOG_1, &l.bytes);
	buf_fini(&l.bytes);
	tdb_open(&t);
	tdb_expect(&t, "k1", NULL);
	tdb_expect(&t, "k3", "v3");
	tdb_close(&t);

	log_begin(&l);
	log_range(&l, 4, 'l', 'k');
	log_end(&l);
	store(&t, 900, &l.bytes);
	buf_fini(&l.bytes);
	CK_CODE(cairn_open(TEST_DIR, t.opts, &t.db), CAIRN_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "000900.log: offset 0: "));
	tdb_fini(&t);
}
END_TEST

START_TEST(more_than_fits_into_memory_is_written_out_on_the_way)
{
	struct test_db t, u;
	char key[16], value[200];
	struct cairn_metrics m;

	tdb_init(&t, NULL);
	tdb_open(&t);
	memset(value, 'x', sizeof(value));
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "%d", i);
		CK_OK(cairn_put(t.db, NULL, slice_str(key),
				slice_of(value, sizeof(value))));
	}
	tdb_init(&u, env_mem_crash_clone(t.mem, 1, 100));
	tdb_fini(&t);
	tdb_set(&u, "write_buffer_size", "4K");
	tdb_set(&u, "auto_compactions", "false");
	tdb_open(&u);
	cairn_metrics_get(u.db, &m);
	ck_assert_uint_gt(m.level[0].files, 2);
	for (int i = 0; i < 300; i++) {
		struct cairn_pinned p = { 0 };

		snprintf(key, sizeof(key), "%d", i);
		CK_OK(cairn_get(u.db, NULL, slice_str(key), &p));
		cairn_pinned_release(&p);
	}
	tdb_reopen(&u);
	tdb_fini(&u);
}
END_TEST

/* Memtables may have become smaller since it was written. */
START_TEST(a_batch_larger_than_a_memtable_is_replayed)
{
	struct test_db t, u;
	char value[20001];

	tdb_init(&t, NULL);
	tdb_open(&t);
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	tdb_put(&t, "a", "before");
	tdb_put(&t, "b", value);
	tdb_put(&t, "c", "after");
	tdb_init(&u, env_mem_crash_clone(t.mem, 1, 100));
	tdb_fini(&t);
	tdb_set(&u, "write_buffer_size", "4K");
	tdb_open(&u);
	tdb_expect(&u, "a", "before");
	tdb_expect(&u, "b", value);
	tdb_expect(&u, "c", "after");
	tdb_fini(&u);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("recover");
	TCase *tc = tcase_create("recover");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_note_comes_back);
	tcase_add_loop_test(tc, logs_are_replayed_cut_or_refused, 0,
			    (int)N(stories));
	tcase_add_loop_test(tc, every_truncation_leaves_a_prefix, 0, 2);
	tcase_add_loop_test(tc, no_flipped_bit_gives_a_wrong_value_or_a_hole, 0,
			    2);
	tcase_add_test(tc,
		       batches_that_cannot_be_honoured_are_refused_by_place);
	tcase_add_test(tc, logs_below_the_log_number_are_not_replayed);
	tcase_add_test(
		tc, numbers_between_two_logs_are_lost_unless_tables_have_them);
	tcase_add_test(tc, numbers_end_before_the_last_one);
	tcase_add_test(tc, numbers_go_on_behind_what_was_replayed);
	tcase_add_test(tc,
		       more_than_fits_into_memory_is_written_out_on_the_way);
	tcase_add_test(tc, a_batch_larger_than_a_memtable_is_replayed);
	tcase_add_test(
		tc,
		an_empty_range_has_a_number_in_its_log_and_none_in_the_next);
	tcase_add_test(tc, numbers_may_be_left_out_behind_an_empty_range);
	tcase_add_test(
		tc, a_range_in_a_log_is_deleted_and_an_inverted_one_is_damage);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
