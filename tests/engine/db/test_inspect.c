/* SPDX-License-Identifier: BSD-3-Clause */
/* Showing single files: what is shown of good ones, and told of bad ones. */
#include "engine/db/db_log.h"
#include "engine/kv/batch.h"
#include "engine/kv/kind.h"
#include "engine/wal/writer.h"
#include "tests/support/db_test.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ---------------------------------------------------------------- what comes
 */

struct seen {
	struct buf text;
	unsigned damages;
	unsigned remarks;
	char first[1024]; /* what was told first */
	int answer;       /* of the entry, record or edit that comes next */
};

static void begin_seen(struct seen *s)
{
	buf_fini(&s->text);
	*s = (struct seen){ .damages = 0 };
}

static int on_found(void *ctx, const struct cairn_finding *f)
{
	struct seen *s = ctx;

	if (!s->damages && !s->remarks)
		snprintf(s->first, sizeof(s->first), "%s", f->message);
	if (f->code)
		s->damages++;
	else
		s->remarks++;
	return CAIRN_OK;
}

static int on_entry(void *ctx, const struct cairn_entry *e)
{
	struct seen *s = ctx;

	CK_OK(buf_printf(&s->text, "%llu %s %.*s=%.*s;",
			 (unsigned long long)e->seqno,
			 cairn_entry_kind_name(e->kind), (int)e->key.len,
			 (const char *)e->key.data, (int)e->value.len,
			 (const char *)e->value.data));
	return s->answer;
}

static int on_record(void *ctx, const struct cairn_wal_record *r)
{
	struct seen *s = ctx;

	CK_OK(buf_printf(&s->text, "%llu+%u%s:", (unsigned long long)r->seqno,
			 (unsigned)r->count, r->note ? " note" : ""));
	return s->answer;
}

static int on_edit(void *ctx, const struct cairn_manifest_edit *e)
{
	struct seen *s = ctx;

	CK_OK(buf_printf(&s->text, "+%zu-%zu;", e->n_added, e->n_deleted));
	return s->answer;
}

static int visit_log(struct test_db *t, struct seen *s)
{
	const struct cairn_wal_visitor v = { .ctx = s,
					     .record = on_record,
					     .entry = on_entry,
					     .found = on_found };

	return cairn_wal_visit("/logs/000007.log", t->opts, &v);
}

static int visit_manifest(struct test_db *t, const char *path, struct seen *s)
{
	const struct cairn_manifest_visitor v = {
		.ctx = s, .edit = on_edit, .state = on_edit, .found = on_found
	};

	return cairn_manifest_visit(path, t->opts, &v);
}

static int visit_table(struct test_db *t, const char *path, struct seen *s)
{
	const struct cairn_sst_visitor v = { .ctx = s,
					     .entry = on_entry,
					     .found = on_found };

	return cairn_sst_visit(path, t->opts, &v);
}

static void ck_text(const struct seen *s, const char *want)
{
	ck_assert_msg(slice_eq(buf_slice(&s->text), slice_str(want)),
		      "%.*s, not %s", (int)s->text.len,
		      (const char *)s->text.data, want);
}

static void ck_told(const struct seen *s, const char *words)
{
	ck_assert_msg(strstr(s->first, words), "%s is not in: %s", words,
		      s->first);
}

static void put_file(struct test_db *t, const char *path, const void *bytes,
		     size_t len)
{
	struct wfile *f;
	int err = env_unlink(t->mem, path);

	ck_assert_int_ge(err, 0);
	CK_OK(env_open_write(t->mem, path, &f));
	CK_OK(wfile_append(f, bytes, len));
	CK_OK(wfile_close(f));
}

static void get_file(struct test_db *t, const char *path, struct buf *out)
{
	buf_clear(out);
	CK_OK(env_read_file(t->mem, path, 1 << 24, out));
}

/* --------------------------------------------------------------------- kinds
 */

START_TEST(every_kind_has_its_name)
{
	static const struct {
		int kind;
		const char *name;
	} kinds[] = {
		{ KIND_DELETE, "delete" },
		{ KIND_PUT, "put" },
		{ KIND_MERGE, "merge" },
		{ KIND_LOG_DATA, "log-data" },
		{ KIND_SINGLE_DELETE, "single-delete" },
		{ KIND_RANGE_DELETE, "range-delete" },
		{ KIND_BLOB_INDEX, "blob-index" },
		{ KIND_TIMESTAMPED_DELETE, "timestamped-delete" },
		{ KIND_ENTITY, "entity" },
		{ 99, "unknown" },
		{ -1, "unknown" },
	};

	for (size_t i = 0; i < N(kinds); i++)
		ck_assert_str_eq(cairn_entry_kind_name(kinds[i].kind),
				 kinds[i].name);
}
END_TEST

/* ---------------------------------------------------------------------- logs
 */

/* A log with these records, the last one perhaps bent afterwards. */
static void make_log(struct test_db *t, size_t *last)
{
	struct cairn_batch *b = cairn_batch_new();
	struct log_note note = { .seqno = 1, .synced = 0, .expected = 1 };
	uint8_t record[LOG_NOTE_RECORD_LEN];
	struct log_writer *w;
	struct wfile *f;

	tdb_init(t, NULL);
	CK_OK(env_mkdir(t->mem, "/logs"));
	CK_OK(env_open_write(t->mem, "/logs/000007.log", &f));
	CK_OK(log_writer_new(f, &w));
	log_note_encode(&note, record);
	CK_OK(log_writer_add(w, slice_of(record, sizeof(record))));
	CK_OK(cairn_batch_put(b, slice_str("a"), slice_str("1")));
	CK_OK(cairn_batch_merge(b, slice_str("b"), slice_str("2")));
	CK_OK(cairn_batch_single_delete(b, slice_str("c")));
	CK_OK(cairn_batch_delete_range(b, slice_str("d"), slice_str("f")));
	CK_OK(cairn_batch_delete(b, slice_str("h")));
	batch_set_seqno(b, 1);
	CK_OK(log_writer_add(w, buf_slice(&b->bytes)));
	*last = (size_t)log_writer_size(w);
	cairn_batch_clear(b);
	CK_OK(cairn_batch_put(b, slice_str("z"), slice_str("9")));
	batch_set_seqno(b, 6);
	CK_OK(log_writer_add(w, buf_slice(&b->bytes)));
	CK_OK(log_writer_close(w));
	cairn_batch_free(b);
}

#define NOTE_AND_FIRST                                                         \
	"1+0 note:1 log-data =cairnlog;"                                       \
	"1+5:1 put a=1;2 merge b=2;3 single-delete c=;"                        \
	"4 range-delete d=f;5 delete h=;"

START_TEST(a_log_is_shown_record_by_record)
{
	struct seen s = { 0 };
	struct test_db t;
	size_t last;

	make_log(&t, &last);
	CK_OK(visit_log(&t, &s));
	ck_assert_uint_eq(s.damages + s.remarks, 0);
	ck_text(&s, NOTE_AND_FIRST "6+1:6 put z=9;");
	/* Who has seen enough ends it. */
	begin_seen(&s);
	s.answer = CAIRN_EABORTED;
	CK_CODE(visit_log(&t, &s), CAIRN_EABORTED);
	begin_seen(&s);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_log_is_shown_behind_damage_and_up_to_a_torn_end)
{
	struct seen s = { 0 };
	struct buf b = { 0 };
	struct test_db t;
	size_t last;

	make_log(&t, &last);
	get_file(&t, "/logs/000007.log", &b);
	/* A bent record in the middle. */
	CK_OK(env_mem_damage(t.mem, "/logs/000007.log", last - 1, 1));
	CK_CODE(visit_log(&t, &s), CAIRN_ECORRUPT);
	ck_assert_uint_eq(s.damages, 1);
	ck_told(&s, "/logs/000007.log: offset ");
	ck_text(&s, "1+0 note:1 log-data =cairnlog;6+1:6 put z=9;");
	/* The end is torn: a crash leaves that. */
	begin_seen(&s);
	put_file(&t, "/logs/000007.log", b.data, b.len - 1);
	CK_OK(visit_log(&t, &s));
	ck_assert_uint_eq(s.damages, 0);
	ck_assert_uint_eq(s.remarks, 1);
	ck_text(&s, NOTE_AND_FIRST);
	begin_seen(&s);
	buf_fini(&b);
	tdb_fini(&t);
}
END_TEST

/* Records that are whole, and no batches. */
START_TEST(what_is_no_batch_is_told_and_passed_over)
{
	static const char *const words[] = { "batch of 5 bytes has no header",
					     "tag 0x7f" };
	struct seen s = { 0 };
	struct test_db t;

	for (int i = 0; i < 2; i++) {
		uint8_t record[BATCH_HEADER_LEN + 1] = { 0 };
		struct cairn_batch *b = cairn_batch_new();
		struct log_writer *w;
		struct wfile *f;

		tdb_init(&t, NULL);
		CK_OK(env_mkdir(t.mem, "/logs"));
		CK_OK(env_open_write(t.mem, "/logs/000007.log", &f));
		CK_OK(log_writer_new(f, &w));
		put_le32(record + 8, 1);
		record[BATCH_HEADER_LEN] = 0x7f;
		CK_OK(log_writer_add(w,
				     slice_of(record, i ? sizeof(record) : 5)));
		CK_OK(cairn_batch_put(b, slice_str("a"), slice_str("1")));
		batch_set_seqno(b, 3);
		CK_OK(log_writer_add(w, buf_slice(&b->bytes)));
		CK_OK(log_writer_close(w));
		cairn_batch_free(b);
		begin_seen(&s);
		CK_CODE(visit_log(&t, &s), CAIRN_ECORRUPT);
		ck_assert_uint_eq(s.damages, 1);
		ck_told(&s, "/logs/000007.log: offset 0: ");
		ck_told(&s, words[i]);
		ck_text(&s, "3+1:3 put a=1;");
		tdb_fini(&t);
	}
	begin_seen(&s);
}
END_TEST

START_TEST(a_log_that_cannot_be_read_on_is_told)
{
	struct seen s = { 0 };
	struct test_db t;
	size_t last;

	make_log(&t, &last);
	tdb_fail(&t, ENV_FAULT_READ, "000007.log", 1, true, CAIRN_EIO);
	CK_CODE(visit_log(&t, &s), CAIRN_ECORRUPT);
	ck_assert_uint_eq(s.damages, 1);
	ck_told(&s, "/logs/000007.log");
	ck_text(&s, "");
	begin_seen(&s);
	tdb_fini(&t);
}
END_TEST

/* ----------------------------------------------------------------- MANIFESTs
 */

static void make_db(struct test_db *t)
{
	tdb_init(t, NULL);
	tdb_open(t);
	tdb_put(t, "a", "1");
	tdb_close(t);
}

static const struct {
	const char *name;
	const char *text;
	int code;
	const char *words;
} currents[] = {
	{ "empty", "", CAIRN_ECORRUPT, "CURRENT: does not name a MANIFEST" },
	{ "without an end of line", "MANIFEST-000001", CAIRN_ECORRUPT,
	  "CURRENT: does not name a MANIFEST" },
	{ "another file", "000001.log\n", CAIRN_ECORRUPT,
	  "CURRENT: does not name a MANIFEST" },
	{ "somewhere else", "../MANIFEST-000001\n", CAIRN_ECORRUPT,
	  "CURRENT: does not name a MANIFEST" },
	{ "one that is not there", "MANIFEST-999999\n", CAIRN_NOT_FOUND,
	  "/db/MANIFEST-999999: no such file" },
	{ NULL, NULL, CAIRN_NOT_FOUND, "/db/CURRENT: no such file" },
};

START_TEST(current_is_followed_or_the_reason_why_not_is_told)
{
	struct seen s = { 0 };
	struct test_db t;

	make_db(&t);
	CK_OK(visit_manifest(&t, TEST_DIR, &s));
	ck_assert_uint_gt(s.text.len, 0);
	begin_seen(&s);
	if (currents[_i].text)
		put_file(&t, TEST_DIR "/CURRENT", currents[_i].text,
			 strlen(currents[_i].text));
	else
		CK_OK(env_unlink(t.mem, TEST_DIR "/CURRENT"));
	CK_CODE(visit_manifest(&t, TEST_DIR, &s), currents[_i].code);
	ck_assert_msg(strstr(cairn_errmsg(), currents[_i].words), "%s",
		      cairn_errmsg());
	ck_text(&s, "");
	begin_seen(&s);
	tdb_fini(&t);
}
END_TEST

START_TEST(a_torn_manifest_is_a_remark_and_a_bent_one_damage)
{
	struct seen s = { 0 };
	struct buf whole = { 0 }, b = { 0 };
	char path[256], torn[256];
	struct test_db t;

	make_db(&t);
	get_file(&t, TEST_DIR "/CURRENT", &b);
	snprintf(path, sizeof(path), TEST_DIR "/%.*s", (int)b.len - 1,
		 (const char *)b.data);
	CK_OK(visit_manifest(&t, path, &s));
	ck_assert_uint_eq(s.damages + s.remarks, 0);
	CK_OK(buf_set(&whole, buf_slice(&s.text)));
	get_file(&t, path, &b);
	snprintf(torn, sizeof(torn), "/MANIFEST-000099");
	put_file(&t, torn, b.data, b.len - 1);
	begin_seen(&s);
	CK_OK(visit_manifest(&t, torn, &s));
	ck_assert_uint_eq(s.damages, 0);
	ck_assert_uint_eq(s.remarks, 1);
	ck_told(&s, "/MANIFEST-000099: the last record is cut short");
	ck_assert_uint_lt(s.text.len, whole.len);
	begin_seen(&s);
	b.data[10] ^= 1;
	put_file(&t, torn, b.data, b.len);
	CK_CODE(visit_manifest(&t, torn, &s), CAIRN_ECORRUPT);
	ck_assert_uint_ge(s.damages, 1);
	ck_told(&s, "/MANIFEST-000099: offset ");
	begin_seen(&s);
	s.answer = CAIRN_EABORTED;
	CK_CODE(visit_manifest(&t, path, &s), CAIRN_EABORTED);
	begin_seen(&s);
	buf_fini(&whole);
	buf_fini(&b);
	tdb_fini(&t);
}
END_TEST

/* -------------------------------------------------------------------- tables
 */

START_TEST(what_is_no_file_is_not_shown)
{
	const struct cairn_wal_visitor wal = { 0 };
	struct seen s = { 0 };
	struct test_db t;

	make_db(&t);
	CK_CODE(visit_table(&t, "/none.sst", &s), CAIRN_NOT_FOUND);
	ck_assert_str_eq(cairn_errmsg(), "/none.sst: no such file");
	CK_CODE(visit_table(&t, TEST_DIR, &s), CAIRN_EINVAL);
	ck_assert_str_eq(cairn_errmsg(), TEST_DIR ": is a directory");
	CK_CODE(cairn_wal_visit("/none.log", t.opts, &wal), CAIRN_NOT_FOUND);
	ck_assert_str_eq(cairn_errmsg(), "/none.log: no such file");
	CK_CODE(cairn_wal_visit(TEST_DIR, t.opts, &wal), CAIRN_EINVAL);
	CK_CODE(visit_manifest(&t, "/none", &s), CAIRN_NOT_FOUND);
	ck_assert_str_eq(cairn_errmsg(), "/none: no such file");
	/* Each operation that looks at a file fails once. */
	for (unsigned op = ENV_FAULT_OPEN_READ; op <= ENV_FAULT_STAT;
	     op <<= 1) {
		if (op != ENV_FAULT_OPEN_READ && op != ENV_FAULT_STAT)
			continue;
		for (uint64_t n = 1;; n++) {
			int err;

			tdb_fail(&t, op, "LOCK", n, false, CAIRN_EIO);
			err = visit_table(&t, TEST_DIR "/LOCK", &s);
			if (!env_fault_hits(t.env))
				break;
			ck_assert_int_eq(err, CAIRN_EIO);
			ck_assert_ptr_nonnull(
				strstr(cairn_errmsg(), TEST_DIR "/LOCK"));
		}
	}
	begin_seen(&s);
	tdb_fini(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inspect");
	TCase *tc = tcase_create("inspect");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, every_kind_has_its_name);
	tcase_add_test(tc, a_log_is_shown_record_by_record);
	tcase_add_test(tc, a_log_is_shown_behind_damage_and_up_to_a_torn_end);
	tcase_add_test(tc, what_is_no_batch_is_told_and_passed_over);
	tcase_add_test(tc, a_log_that_cannot_be_read_on_is_told);
	tcase_add_loop_test(tc,
			    current_is_followed_or_the_reason_why_not_is_told,
			    0, (int)N(currents));
	tcase_add_test(tc, a_torn_manifest_is_a_remark_and_a_bent_one_damage);
	tcase_add_test(tc, what_is_no_file_is_not_shown);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
