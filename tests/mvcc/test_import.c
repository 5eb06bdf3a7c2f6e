/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/import.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/env/env_fault.h"
#include "mvcc/forget.h"
#include "mvcc/lease.h"
#include "tests/mvcc/etcd_expect.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

#define SNAPSHOT "/snap.db"
#define DIR      "/new"
#define SUM_LEN  32u

/* Of a test of many imports: what it takes an odd number of, to meet all bits.
 */
#define STRIDE 997u

static const char *data_path(const char *name)
{
	static _Thread_local char path[4096];
	const char *srcdir = getenv("srcdir");

	snprintf(path, sizeof(path), "%s/tests/data/%s", srcdir ? srcdir : "..",
		 name);
	return path;
}

static void load(const char *name, struct buf *out)
{
	ck_ok(env_read_file(env_posix(), data_path(name), 1 << 20, out));
}

static void write_file(struct cairn_env *env, const char *path,
		       struct cairn_slice bytes)
{
	struct wfile *f;
	int err = env_unlink(env, path);

	ck_assert(!err || err == CAIRN_NOT_FOUND);
	ck_ok(env_open_write(env, path, &f));
	ck_ok(wfile_append(f, bytes.data, bytes.len));
	ck_ok(wfile_sync(f));
	ck_ok(wfile_close(f));
	ck_ok(env_sync_dir(env, "/"));
}

/* A file system with a snapshot in it. */
static struct cairn_env *env_with(const char *name)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct buf bytes = { 0 };

	ck_assert_ptr_nonnull(env);
	load(name, &bytes);
	write_file(env, SNAPSHOT, buf_slice(&bytes));
	buf_fini(&bytes);
	return env;
}

static int import(struct cairn_env *env, uint32_t chunk_size,
		  struct mvcc_import_report *report)
{
	struct cairn_options *o = small_options(env);
	struct mvcc_import_report dummy;
	struct mvcc_import_options io = { .env = env,
					  .engine = o,
					  .chunk_size = chunk_size };
	int err =
		mvcc_import_etcd(SNAPSHOT, DIR, &io, report ? report : &dummy);

	cairn_options_free(o);
	return err;
}

/* Without making anything. */
static int open_at(struct cairn_env *env, struct mvcc **out)
{
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o,
				   .chunk_size = CHUNK,
				   .lease = { .manual = true } };
	int err;

	ck_ok(cairn_options_set(o, "create_if_missing", "false"));
	err = mvcc_open(DIR, &mo, out);
	cairn_options_free(o);
	return err;
}

static bool exists(struct cairn_env *env, const char *path)
{
	struct env_stat st;
	int err = env_stat(env, path, &st);

	ck_assert(!err || err == CAIRN_NOT_FOUND);
	return !err;
}

/* --------------------------------------------------------- what is imported */

static const char *const snapshots[] = { "small", "member" };

/* Each with values in one piece and in chunks. */
START_TEST(an_imported_store_holds_what_etcd_says)
{
	const char *name = snapshots[_i / 2];
	struct mvcc_import_report report;
	struct cairn_env *env;
	char db[64], tsv[64];
	struct mvcc *m;

	snprintf(db, sizeof(db), "etcd/%s.db", name);
	snprintf(tsv, sizeof(tsv), "etcd/%s.tsv", name);
	env = env_with(db);
	ck_ok(import(env, _i % 2 ? CHUNK : 0, &report));
	ck_ok(open_at(env, &m));
	ck_assert_int_eq(report.current, mvcc_current(m));
	ck_assert_int_eq(report.checksum, _i / 2 == 0);
	ck_assert_int_eq(report.users, _i / 2 == 1);
	ck_assert(!report.snapshot_older);
	etcd_expect_check(m, data_path(tsv), 1);
	/* What can be read does not depend on what compactions dropped. */
	compact(m);
	forget_wait_idle(m);
	etcd_expect_check(m, data_path(tsv), 1);
	ck_ok(mvcc_close(m));
	ck_ok(open_at(env, &m));
	etcd_expect_check(m, data_path(tsv), 1);
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

START_TEST(an_imported_store_goes_on_where_etcd_stopped)
{
	struct cairn_env *env = env_with("etcd/member.db");
	struct mvcc_pinned_row r = { 0 };
	struct mvcc *m;

	ck_ok(import(env, 0, NULL));
	ck_ok(open_at(env, &m));
	ck_assert_int_eq(put(m, "key", "more"), 10);
	ck_ok(mvcc_get(m, S("key"), 0, &r));
	ck_assert_int_eq(r.row.create_rev, 8);
	ck_assert_int_eq(r.row.version, 2);
	mvcc_row_release(&r);
	ck_assert_int_eq(del(m, "other"), 11);
	ck_assert_int_eq(put(m, "other", "anew"), 12);
	ck_ok(mvcc_get(m, S("other"), 0, &r));
	ck_assert_int_eq(r.row.create_rev, 12);
	mvcc_row_release(&r);
	ck_value(m, "key", 6, "4");
	ck_value(m, "key", 7, NULL);
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

START_TEST(a_tombstone_says_what_version_it_ended)
{
	static const int64_t versions[] = { 1, 2, 3, 4, 5, 5, 1 };
	struct cairn_env *env = env_with("etcd/member.db");
	struct mvcc_history *h;
	struct mvcc_row row;
	struct mvcc *m;
	int err, i = 0;

	ck_ok(import(env, 0, NULL));
	ck_ok(open_at(env, &m));
	ck_ok(mvcc_history_new(m, S("key"), &h));
	while ((err = mvcc_history_next(h, &row)) == CAIRN_OK) {
		ck_assert_int_lt(i, 7);
		ck_assert_int_eq(row.version, versions[i]);
		ck_assert_int_eq(row.deleted, i == 5);
		i++;
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_int_eq(i, 7);
	mvcc_history_free(h);
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

START_TEST(an_imported_lease_ends_the_keys_that_etcd_had_on_it)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct etcd_expect x;
	struct mvcc *m;
	int64_t ttl = 0, rev = 0;

	etcd_expect_load(data_path("etcd/small.tsv"), &x);
	ck_ok(import(env, 0, NULL));
	ck_ok(open_at(env, &m));
	for (size_t i = 0; i < x.n_events; i++)
		expect_apply(&x, &x.events[i]);
	for (size_t i = 0; i < x.n_leases; i++) {
		int64_t id = x.leases[i].id;

		ck_ok(mvcc_lease_keepalive(m, id, &ttl));
		ck_assert_int_eq(ttl, x.leases[i].ttl);
		ck_ok(mvcc_lease_revoke(m, id, &rev));
		for (size_t k = 0; k < x.n_attached; k++) {
			struct expect_row gone = { .key = x.attached[k].key,
						   .deleted = true };

			if (x.attached[k].lease == id)
				expect_apply(&x, &gone);
		}
		expect_scan(m, &x, rev);
	}
	ck_assert_int_eq(rev, x.current + 2);
	ck_ok(mvcc_close(m));
	etcd_expect_fini(&x);
	env_mem_free(env);
}
END_TEST

START_TEST(rows_have_the_time_that_is_asked_for_or_that_of_the_import)
{
	struct cairn_env *env = env_with("etcd/member.db");
	int64_t before = (int64_t)env_now_us(env) * 1000;
	struct mvcc_import_options o = { .env = env,
					 .time_ns = _i ? 123456789 : 0 };
	struct mvcc_import_report report;
	struct mvcc_pinned_row r = { 0 };
	struct mvcc *m;

	ck_ok(mvcc_import_etcd(SNAPSHOT, DIR, &o, &report));
	ck_ok(open_at(env, &m));
	ck_ok(mvcc_get(m, S("key"), 3, &r));
	if (_i)
		ck_assert_int_eq(r.row.time_ns, 123456789);
	else
		ck_assert_int_ge(r.row.time_ns, before);
	mvcc_row_release(&r);
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

START_TEST(chunks_of_values_that_ended_go_when_history_is_forgotten)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct mvcc *m;
	size_t live = 0;

	ck_ok(import(env, CHUNK, NULL));
	ck_ok(open_at(env, &m));
	ck_ok(mvcc_forget(m, mvcc_current(m)));
	forget_wait_idle(m);
	compact(m);
	forget_wait_idle(m);
	for (struct cairn_iter *it = expect_table(m, "k", "l"); it; it = NULL) {
		for (bool on = cairn_iter_first(it); on;
		     on = cairn_iter_next(it)) {
			struct mvcc_row row = { 0 };
			struct enc_row at;

			ck_ok(enc_row_parse(cairn_iter_key(it), &at));
			row.main = at.main;
			ck_ok(enc_row_value_parse(cairn_iter_value(it),
						  cairn_iter_value(it).len,
						  &row, NULL, NULL));
			if (row.object)
				live += enc_chunk_count(row.size, CHUNK);
		}
		cairn_iter_free(it);
	}
	ck_assert_uint_ge(live, 4096 / CHUNK);
	ck_assert_uint_eq(count_entries(m, "c"), live);
	ck_assert_uint_eq(count_entries(m, "e"), 0);
	ck_ok(mvcc_close(m));
	env_mem_free(env);
}
END_TEST

/* Where in a file a byte string is; only for what is there once. */
static uint8_t *find(struct buf *bytes, const char *what)
{
	uint8_t *p = memmem(bytes->data, bytes->len, what, strlen(what));

	ck_assert_ptr_nonnull(p);
	return p + strlen(what);
}

START_TEST(a_compaction_that_etcd_had_begun_counts)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct mvcc_import_report report;
	struct buf bytes = { 0 };
	struct etcd_expect x;
	struct mvcc *m;
	uint8_t *mark;

	load("etcd/small.db", &bytes);
	etcd_expect_load(data_path("etcd/small.tsv"), &x);
	/* Its key is followed by its value. */
	mark = find(&bytes, "scheduledCompactRev");
	ck_assert_int_eq((int64_t)load_be64(mark), x.compact);
	put_be64(mark, (uint64_t)x.compact + 5);
	write_file(env, SNAPSHOT, slice_of(bytes.data, bytes.len - SUM_LEN));
	ck_ok(import(env, 0, &report));
	ck_assert(!report.checksum);
	ck_assert_int_eq(report.forgotten, x.compact + 5);
	ck_ok(open_at(env, &m));
	ck_assert_int_eq(mvcc_oldest(m), x.compact + 5);
	ck_assert_int_eq(mvcc_current(m), x.current);
	compact(m);
	for (size_t i = 0; i < x.n_events; i++)
		expect_apply(&x, &x.events[i]);
	expect_scan(m, &x, x.current);
	ck_ok(mvcc_close(m));
	etcd_expect_fini(&x);
	buf_fini(&bytes);
	env_mem_free(env);
}
END_TEST

/* ------------------------------------------------------------ what is not */

START_TEST(a_directory_that_is_in_use_is_left_alone)
{
	struct cairn_env *env = env_with("etcd/member.db");

	ck_ok(env_mkdir(env, DIR));
	write_file(env, DIR "/mine", S("here"));
	ck_code(import(env, 0, NULL), CAIRN_EEXIST);
	ck_assert(exists(env, DIR "/mine"));
	ck_ok(env_unlink(env, DIR "/mine"));
	ck_ok(env_mkdir(env, DIR "/lost+found"));
	ck_ok(import(env, 0, NULL));
	/* Nor is a store imported into. */
	ck_code(import(env, 0, NULL), CAIRN_EEXIST);
	ck_assert(exists(env, DIR "/CURRENT"));
	ck_assert(exists(env, DIR "/lost+found"));
	env_mem_free(env);
}
END_TEST

START_TEST(what_is_no_snapshot_is_refused_before_anything_is_made)
{
	static const struct {
		const char *name;
		const char *file; /* NULL: none */
		size_t cut;       /* from its end */
		int want;
		const char *says;
	} cases[] = {
		{ "no file", NULL, 0, CAIRN_ENOENT, SNAPSHOT },
		{ "a file of bbolt", "bbolt/small.db", 0, CAIRN_EKIND,
		  "not a snapshot of etcd" },
		{ "text", "etcd/small.tsv", 0, CAIRN_ECORRUPT, "not a data" },
		{ "half a checksum", "etcd/small.db", 16, CAIRN_OK, "" },
		{ "a byte too few", "etcd/small.db", 33, CAIRN_ECORRUPT,
		  "cut short" },
		{ "half of it", "etcd/small.db", 30000, CAIRN_ECORRUPT,
		  "cut short" },
	};
	struct cairn_env *env = env_with("etcd/small.db");
	struct buf bytes = { 0 };
	int err;

	ck_ok(env_unlink(env, SNAPSHOT));
	if (cases[_i].file) {
		load(cases[_i].file, &bytes);
		write_file(env, SNAPSHOT,
			   slice_of(bytes.data, bytes.len - cases[_i].cut));
	}
	err = import(env, 0, NULL);
	ck_assert_msg(err == cases[_i].want, "%s: %d: %s", cases[_i].name, err,
		      cairn_errmsg());
	if (err) {
		ck_assert_msg(strstr(cairn_errmsg(), cases[_i].says), "%s: %s",
			      cases[_i].name, cairn_errmsg());
		ck_assert(!exists(env, DIR));
	}
	buf_fini(&bytes);
	env_mem_free(env);
}
END_TEST

START_TEST(a_snapshot_that_was_bent_anywhere_fails_its_checksum)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct buf bytes = { 0 };

	load("etcd/small.db", &bytes);
	for (size_t bit = 0; bit < 8 * bytes.len; bit += STRIDE) {
		bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		write_file(env, SNAPSHOT, buf_slice(&bytes));
		ck_code(import(env, 0, NULL), CAIRN_ECORRUPT);
		ck_assert(strstr(cairn_errmsg(), SNAPSHOT ": offset "));
		ck_assert(!exists(env, DIR));
		bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_fini(&bytes);
	env_mem_free(env);
}
END_TEST

static void import_bent(struct cairn_env *env, const struct buf *bytes)
{
	struct mvcc *m;
	int err;

	write_file(env, SNAPSHOT, slice_of(bytes->data, bytes->len - SUM_LEN));
	err = import(env, CHUNK, NULL);
	if (!err) {
		ck_ok(open_at(env, &m));
		ck_ok(mvcc_close(m));
		return;
	}
	ck_assert(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP ||
		  err == CAIRN_EKIND);
	ck_assert(strstr(cairn_errmsg(), SNAPSHOT));
	ck_assert(!exists(env, DIR));
}

static void remove_store(struct cairn_env *env)
{
	struct env_names names;
	char path[256];

	if (env_list(env, DIR, &names))
		return;
	for (size_t i = 0; i < names.n; i++) {
		snprintf(path, sizeof(path), DIR "/%s", names.names[i]);
		ck_ok(env_unlink(env, path));
	}
	env_names_free(&names);
	ck_ok(env_rmdir(env, DIR));
}

START_TEST(a_bent_file_without_a_checksum_makes_a_store_or_nothing)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct buf bytes = { 0 };

	load("etcd/small.db", &bytes);
	for (size_t bit = (size_t)_i * STRIDE; bit < 8 * bytes.len;
	     bit += 8 * STRIDE) {
		bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		import_bent(env, &bytes);
		remove_store(env);
		bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_fini(&bytes);
	env_mem_free(env);
}
END_TEST

START_TEST(rows_that_cannot_be_are_refused_by_name_and_place)
{
	/* In the value of revision 9, 0a 05 "other" 10 09 18 09 20 01. */
	static const struct {
		const char *name;
		size_t at; /* behind "other" */
		uint8_t byte;
		const char *says;
	} cases[] = {
		{ "created in the future", 1, 10, "impossible revisions" },
		{ "created at 0", 1, 0, "impossible revisions" },
		{ "of another revision", 3, 8, "impossible revisions" },
		{ "version 0", 5, 0, "impossible revisions" },
		{ "a tag of no type", 0, 0x17, "malformed row" },
	};
	struct cairn_env *env = env_with("etcd/member.db");
	struct buf bytes = { 0 };
	uint8_t *p;

	load("etcd/member.db", &bytes);
	/* Pages that were freed have it, too. */
	for (size_t at = 0;
	     (p = memmem(bytes.data + at, bytes.len - at, "\x0a\x05other", 7));
	     at = (size_t)(p - bytes.data)) {
		p += 7;
		ck_assert(!memcmp(p, "\x10\x09\x18\x09\x20\x01", 6));
		p[cases[_i].at] = cases[_i].byte;
	}
	write_file(env, SNAPSHOT, buf_slice(&bytes));
	ck_code(import(env, 0, NULL), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(), SNAPSHOT ": offset "), "%s: %s",
		      cases[_i].name, cairn_errmsg());
	ck_assert_msg(strstr(cairn_errmsg(), cases[_i].says), "%s: %s",
		      cases[_i].name, cairn_errmsg());
	ck_assert(!exists(env, DIR));
	buf_fini(&bytes);
	env_mem_free(env);
}
END_TEST

/* ----------------------------------------------------- snapshots made here */

#define MADE_PAGE  65536u
#define MADE_ITEMS 8u

struct made_item {
	struct buf key;
	struct buf value;
	bool is_bucket;
};

/* A bucket whose items are given in order of their keys. */
struct made_bucket {
	const char *name;
	struct made_item item[MADE_ITEMS];
	size_t n;
};

/* In order of their names. */
struct made {
	struct made_bucket key, lease, meta;
};

static void append_header(struct buf *out, uint64_t page, uint16_t flags,
			  size_t count)
{
	uint8_t head[16] = { 0 };

	put_le64(head, page);
	put_le16(head + 8, flags);
	put_le16(head + 10, (uint16_t)count);
	ck_ok(buf_append(out, head, sizeof(head)));
}

static void append_element(struct buf *out, bool is_bucket, size_t pos,
			   size_t key_len, size_t value_len)
{
	uint8_t e[16];

	put_le32(e, is_bucket);
	put_le32(e + 4, (uint32_t)pos);
	put_le32(e + 8, (uint32_t)key_len);
	put_le32(e + 12, (uint32_t)value_len);
	ck_ok(buf_append(out, e, sizeof(e)));
}

/* The value of a bucket that lies within its parent. */
static void append_bucket(struct buf *out, const struct made_bucket *b)
{
	size_t pos = 16 * b->n;

	append_header(out, 0, 0, 0); /* no page, sequence 0 */
	append_header(out, 0, 2, b->n);
	for (size_t i = 0; i < b->n; i++) {
		const struct made_item *t = &b->item[i];

		append_element(out, t->is_bucket, pos, t->key.len,
			       t->value.len);
		pos += t->key.len + t->value.len - 16;
	}
	for (size_t i = 0; i < b->n; i++) {
		ck_ok(buf_append(out, b->item[i].key.data, b->item[i].key.len));
		ck_ok(buf_append(out, b->item[i].value.data,
				 b->item[i].value.len));
	}
}

static void append_meta(struct buf *out, uint64_t page)
{
	uint8_t m[64] = { 0 };
	uint64_t h = UINT64_C(14695981039346656037);

	append_header(out, page, 4, 0);
	put_le32(m, 0xed0cdaedu);
	put_le32(m + 4, 2);
	put_le32(m + 8, MADE_PAGE);
	put_le64(m + 16, 2); /* root */
	put_le64(m + 40, 3); /* pages */
	put_le64(m + 48, page);
	for (size_t i = 0; i < 56; i++)
		h = (h ^ m[i]) * UINT64_C(1099511628211);
	put_le64(m + 56, h);
	ck_ok(buf_append(out, m, sizeof(m)));
}

static void pad_to(struct buf *out, size_t len)
{
	ck_assert_uint_le(out->len, len);
	while (out->len < len)
		ck_ok(buf_append(out, "", 1));
}

static void made_file(const struct made *x, struct buf *out)
{
	const struct made_bucket *b[] = { &x->key, &x->lease, &x->meta };
	struct buf value[3] = { { 0 } };
	size_t pos = 16 * 3;

	append_meta(out, 0);
	pad_to(out, MADE_PAGE);
	append_meta(out, 1);
	pad_to(out, 2 * MADE_PAGE);
	append_header(out, 2, 2, 3);
	for (size_t i = 0; i < 3; i++) {
		append_bucket(&value[i], b[i]);
		append_element(out, true, pos, strlen(b[i]->name),
			       value[i].len);
		pos += strlen(b[i]->name) + value[i].len - 16;
	}
	for (size_t i = 0; i < 3; i++) {
		ck_ok(buf_append(out, b[i]->name, strlen(b[i]->name)));
		ck_ok(buf_append(out, value[i].data, value[i].len));
		buf_fini(&value[i]);
	}
	pad_to(out, 3 * MADE_PAGE);
}

static struct made_item *made_item(struct made_bucket *b)
{
	ck_assert_uint_lt(b->n, MADE_ITEMS);
	return &b->item[b->n++];
}

static void append_revision(struct buf *out, uint64_t main, uint64_t sub)
{
	uint8_t k[17];

	put_be64(k, main);
	k[8] = '_';
	put_be64(k + 9, sub);
	ck_ok(buf_append(out, k, sizeof(k)));
}

static void append_field(struct buf *out, uint8_t tag, uint64_t v)
{
	uint8_t at[11], *end;

	at[0] = tag;
	end = put_varint64(at + 1, v);
	ck_ok(buf_append(out, at, (size_t)(end - at)));
}

/* A row as etcd has it: one of these that nothing is wrong with. */
struct made_row {
	uint64_t main, sub;
	bool tombstone, is_bucket;
	size_t key_len;
	uint64_t create, version, lease;
};

static void made_row(struct made *x, const struct made_row *r)
{
	struct made_item *t = made_item(&x->key);

	append_revision(&t->key, r->main, r->sub);
	if (r->tombstone)
		ck_ok(buf_append(&t->key, "t", 1));
	t->is_bucket = r->is_bucket;
	if (r->key_len) {
		append_field(&t->value, 0x0a, r->key_len);
		for (size_t i = 0; i < r->key_len; i++)
			ck_ok(buf_append(&t->value, "k", 1));
	}
	if (r->tombstone)
		return;
	append_field(&t->value, 0x10, r->create);
	append_field(&t->value, 0x18, r->main);
	append_field(&t->value, 0x20, r->version);
	if (r->lease)
		append_field(&t->value, 0x30, r->lease);
}

static void made_init(struct made *x)
{
	static const struct made_row first = {
		.main = 2,
		.key_len = 1,
		.create = 2,
		.version = 1,
	};

	*x = (struct made){ .key.name = "key",
			    .lease.name = "lease",
			    .meta.name = "meta" };
	made_row(x, &first);
}

static void bucket_fini(struct made_bucket *b)
{
	for (size_t i = 0; i < b->n; i++) {
		buf_fini(&b->item[i].key);
		buf_fini(&b->item[i].value);
	}
}

/* Import it, and expect code and words; nothing is left of a failure. */
static void ck_made(struct made *x, const char *what, int code,
		    const char *words)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct buf bytes = { 0 };
	struct mvcc *m;
	int err;

	ck_assert_ptr_nonnull(env);
	made_file(x, &bytes);
	write_file(env, SNAPSHOT, buf_slice(&bytes));
	err = import(env, 0, NULL);
	ck_assert_msg(err == code, "%s: %d: %s", what, err, cairn_errmsg());
	if (err) {
		ck_assert_msg(strstr(cairn_errmsg(), SNAPSHOT ": offset ") &&
				      strstr(cairn_errmsg(), words),
			      "%s: %s", what, cairn_errmsg());
		ck_assert(!exists(env, DIR));
	} else {
		ck_ok(open_at(env, &m));
		ck_value(m, "k", 2, "");
		ck_ok(mvcc_close(m));
	}
	buf_fini(&bytes);
	env_mem_free(env);
	bucket_fini(&x->key);
	bucket_fini(&x->lease);
	bucket_fini(&x->meta);
}

#define GOOD_ROW .key_len = 1, .create = 2, .version = 2

static const struct {
	const char *name;
	struct made_row row;
	int code;
	const char *words;
} made_rows[] = {
	{ "a good one", { .main = 3, GOOD_ROW }, CAIRN_OK, NULL },
	{ "the highest sub revision",
	  { .main = 3, .sub = INT32_MAX, GOOD_ROW },
	  CAIRN_OK,
	  NULL },
	{ "a sub revision above it",
	  { .main = 3, .sub = (uint64_t)INT32_MAX + 1, GOOD_ROW },
	  CAIRN_ECORRUPT,
	  "impossible revision" },
	{ "the last number of all",
	  { .main = INT64_MAX, GOOD_ROW },
	  CAIRN_ECORRUPT,
	  "impossible revision" },
	{ "a negative one",
	  { .main = (uint64_t)INT64_MAX + 1, GOOD_ROW },
	  CAIRN_ECORRUPT,
	  "malformed revision" },
	{ "put and tombstone in one",
	  { .main = 2, .tombstone = true, GOOD_ROW },
	  CAIRN_ECORRUPT,
	  "impossible revision" },
	{ "a bucket",
	  { .main = 3, .is_bucket = true, GOOD_ROW },
	  CAIRN_ECORRUPT,
	  "malformed revision" },
	{ "no key",
	  { .main = 3, .create = 3, .version = 1 },
	  CAIRN_ECORRUPT,
	  "revision without a key" },
	{ "a tombstone of no key",
	  { .main = 3, .tombstone = true },
	  CAIRN_ECORRUPT,
	  "revision without a key" },
	{ "the longest key",
	  { .main = 3, .key_len = MVCC_KEY_MAX, .create = 3, .version = 1 },
	  CAIRN_OK,
	  NULL },
	{ "a key too long",
	  { .main = 3, .key_len = MVCC_KEY_MAX + 1, .create = 3, .version = 1 },
	  CAIRN_ENOTSUP,
	  "revision 3 is of a key of 16385 bytes; at most 16384" },
	{ "a negative lease",
	  { .main = 3, .lease = UINT64_MAX, GOOD_ROW },
	  CAIRN_ENOTSUP,
	  "revision 3 is on lease -1; only positive" },
};

START_TEST(a_row_is_taken_or_refused_with_its_place)
{
	struct made x;

	made_init(&x);
	made_row(&x, &made_rows[_i].row);
	ck_made(&x, made_rows[_i].name, made_rows[_i].code,
		made_rows[_i].words);
}
END_TEST

static const struct {
	const char *name;
	size_t key_len;
	uint64_t key, id, ttl, remaining;
	int code;
	const char *words;
} made_leases[] = {
	{ "a good one", 8, 7, 7, 60, 0, CAIRN_OK, NULL },
	{ "more left than there was", 8, 7, 7, 60, 90, CAIRN_OK, NULL },
	{ "the longest time", 8, 7, 7, MVCC_LEASE_TTL_MAX, 0, CAIRN_OK, NULL },
	{ "a key of 7 bytes", 7, 7, 7, 60, 0, CAIRN_ECORRUPT,
	  "malformed lease" },
	{ "another id in its value", 8, 7, 8, 60, 0, CAIRN_ECORRUPT,
	  "malformed lease" },
	{ "no id", 8, 0, 0, 60, 0, CAIRN_ECORRUPT, "malformed lease" },
	{ "a negative id", 8, UINT64_MAX, UINT64_MAX, 60, 0, CAIRN_ENOTSUP,
	  "lease -1; only positive ids" },
	{ "no time", 8, 7, 7, 0, 0, CAIRN_ECORRUPT, "impossible ttl" },
	{ "too long a time", 8, 7, 7, MVCC_LEASE_TTL_MAX + 1, 0, CAIRN_ECORRUPT,
	  "impossible ttl" },
	{ "less than nothing left", 8, 7, 7, 60, UINT64_MAX, CAIRN_ECORRUPT,
	  "impossible ttl" },
};

START_TEST(a_lease_is_taken_or_refused_with_its_place)
{
	struct made_item *t;
	uint8_t id[8];
	struct made x;

	made_init(&x);
	t = made_item(&x.lease);
	put_be64(id, made_leases[_i].key);
	ck_ok(buf_append(&t->key, id, made_leases[_i].key_len));
	append_field(&t->value, 0x08, made_leases[_i].id);
	append_field(&t->value, 0x10, made_leases[_i].ttl);
	append_field(&t->value, 0x18, made_leases[_i].remaining);
	ck_made(&x, made_leases[_i].name, made_leases[_i].code,
		made_leases[_i].words);
}
END_TEST

START_TEST(a_mark_that_is_no_revision_is_refused)
{
	static const struct {
		const char *name;
		uint64_t main;
		size_t cut;
		bool is_bucket;
		int code;
	} marks[] = {
		{ "a good one", 1, 0, false, CAIRN_OK },
		{ "a byte too few", 1, 1, false, CAIRN_ECORRUPT },
		{ "the last number of all", INT64_MAX, 0, false,
		  CAIRN_ECORRUPT },
		{ "a bucket", 1, 0, true, CAIRN_ECORRUPT },
	};
	struct made_item *t;
	struct made x;

	made_init(&x);
	t = made_item(&x.meta);
	ck_ok(buf_set(&t->key, S("finishedCompactRev")));
	append_revision(&t->value, marks[_i].main, 0);
	t->value.len -= marks[_i].cut;
	t->is_bucket = marks[_i].is_bucket;
	ck_made(&x, marks[_i].name, marks[_i].code, "malformed revision");
}
END_TEST

START_TEST(what_an_import_is_asked_for_must_be_possible)
{
	static const uint32_t sizes[] = { 15, (16u << 20) + 1 };
	struct cairn_env *env = env_with("etcd/member.db");

	for (size_t i = 0; i < 2; i++) {
		ck_code(import(env, sizes[i], NULL), CAIRN_EINVAL);
		ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "16 to 16777216"));
		ck_assert(!exists(env, DIR));
	}
	write_file(env, DIR, S("a file"));
	ck_code(import(env, 0, NULL), CAIRN_EEXIST);
	ck_assert_str_eq(cairn_errmsg(), DIR ": is not a directory");
	ck_assert(exists(env, DIR));
	env_mem_free(env);
}
END_TEST

/* ------------------------------------------------------- halves of imports */

struct watcher {
	struct cairn_env *env;
	uint64_t last;
	uint64_t calls;
	uint64_t stop_at; /* 0: never */
	bool cut;         /* look at what a power cut would leave */
};

/* A database in which there is nothing yet. */
static void ck_nothing(struct cairn_env *env)
{
	struct cairn_options *o = small_options(env);
	struct cairn_iter *it;
	struct cairn_db *db;

	ck_ok(cairn_options_set(o, "read_only", "true"));
	ck_ok(cairn_open(DIR, o, &db));
	ck_ok(cairn_iter_new(db, NULL, &it));
	ck_assert(!cairn_iter_first(it));
	ck_ok(cairn_iter_status(it));
	cairn_iter_free(it);
	ck_ok(cairn_close(db));
	cairn_options_free(o);
}

/* It is nothing, or not finished, and says so; or whole, when all that failed
 * was closing it. */
static void ck_unfinished(struct cairn_env *env)
{
	struct mvcc *m;
	int err = open_at(env, &m);

	if (!err) {
		etcd_expect_check(m, data_path("etcd/small.tsv"), 40);
		ck_ok(mvcc_close(m));
		return;
	}

	if (err == CAIRN_EKIND) {
		ck_nothing(env);
		return;
	}
	ck_assert_msg(err == CAIRN_ENOENT ||
			      (err == CAIRN_ECORRUPT &&
			       strstr(cairn_errmsg(), "import again")),
		      "%d: %s", err, cairn_errmsg());
}

static bool watch(void *ctx, uint64_t done, uint64_t total)
{
	struct watcher *w = ctx;

	ck_assert_uint_le(w->last, done);
	ck_assert_uint_le(done, total);
	w->last = done;
	w->calls++;
	for (unsigned keep = 0; w->cut && keep <= 100; keep += 50) {
		struct cairn_env *left =
			env_mem_crash_clone(w->env, w->calls, keep);

		ck_assert_ptr_nonnull(left);
		ck_unfinished(left);
		env_mem_free(left);
	}
	return w->calls != w->stop_at;
}

static int import_watched(struct watcher *w)
{
	struct cairn_options *o = small_options(w->env);
	struct mvcc_import_options io = { .env = w->env,
					  .engine = o,
					  .chunk_size = CHUNK,
					  .progress = watch,
					  .ctx = w };
	struct mvcc_import_report report;
	int err;

	ck_ok(cairn_options_set(o, "write_buffer_size", "64K"));
	err = mvcc_import_etcd(SNAPSHOT, DIR, &io, &report);
	cairn_options_free(o);
	return err;
}

START_TEST(an_import_can_be_given_up_at_any_time)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct watcher w = { .env = env };
	uint64_t calls;

	ck_ok(import_watched(&w));
	calls = w.calls;
	ck_assert_uint_ge(calls, 4);
	ck_assert_uint_eq(w.last, 1000);
	for (uint64_t i = 1; i <= calls; i++) {
		remove_store(env);
		w = (struct watcher){ .env = env, .stop_at = i };
		ck_code(import_watched(&w), CAIRN_EABORTED);
		ck_assert(!exists(env, DIR));
	}
	env_mem_free(env);
}
END_TEST

START_TEST(what_a_power_cut_leaves_of_an_import_does_not_open)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct watcher w = { .env = env, .cut = true };

	ck_ok(import_watched(&w));
	env_mem_free(env);
}
END_TEST

START_TEST(what_an_import_returned_for_survives_a_power_cut)
{
	struct cairn_env *env = env_with("etcd/small.db");
	struct cairn_env *left;
	struct mvcc *m;

	ck_ok(import(env, CHUNK, NULL));
	left = env_mem_crash_clone(env, 1, 0);
	ck_assert_ptr_nonnull(left);
	ck_ok(open_at(left, &m));
	etcd_expect_check(m, data_path("etcd/small.tsv"), 1);
	ck_ok(mvcc_close(m));
	env_mem_free(left);
	env_mem_free(env);
}
END_TEST

/* One operation fails, or from one on all of them do. */
START_TEST(a_failing_file_operation_leaves_no_half_of_a_store)
{
	struct cairn_env *mem = env_with("etcd/small.db");
	struct cairn_env *env = env_fault_new(mem);
	uint64_t n = 1, hits;

	do {
		struct env_fault_rule rule = { .ops = ENV_FAULT_ALL,
					       .nth = n++,
					       .sticky = _i,
					       .partial = _i,
					       .code = CAIRN_EIO };
		struct mvcc *m;
		int err;

		env_fault_set(env, &rule);
		err = import(env, CHUNK, NULL);
		hits = env_fault_hits(env);
		env_fault_set(env, NULL);
		if (err) {
			if (exists(mem, DIR))
				ck_unfinished(mem);
		} else {
			ck_ok(open_at(mem, &m));
			etcd_expect_check(m, data_path("etcd/small.tsv"), 40);
			ck_ok(mvcc_close(m));
		}
		remove_store(mem);
	} while (hits);
	ck_assert_uint_gt(n, 50);
	env_fault_free(env);
	env_mem_free(mem);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("import");
	TCase *tc = tcase_create("import");

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, an_imported_store_holds_what_etcd_says, 0, 4);
	tcase_add_test(tc, an_imported_store_goes_on_where_etcd_stopped);
	tcase_add_test(tc, a_tombstone_says_what_version_it_ended);
	tcase_add_test(tc, an_imported_lease_ends_the_keys_that_etcd_had_on_it);
	tcase_add_loop_test(
		tc, rows_have_the_time_that_is_asked_for_or_that_of_the_import,
		0, 2);
	tcase_add_test(
		tc, chunks_of_values_that_ended_go_when_history_is_forgotten);
	tcase_add_test(tc, a_compaction_that_etcd_had_begun_counts);
	tcase_add_test(tc, a_directory_that_is_in_use_is_left_alone);
	tcase_add_loop_test(
		tc, what_is_no_snapshot_is_refused_before_anything_is_made, 0,
		6);
	tcase_add_test(tc,
		       a_snapshot_that_was_bent_anywhere_fails_its_checksum);
	tcase_add_loop_test(
		tc, a_bent_file_without_a_checksum_makes_a_store_or_nothing, 0,
		4);
	tcase_add_loop_test(
		tc, rows_that_cannot_be_are_refused_by_name_and_place, 0, 5);
	tcase_add_loop_test(tc, a_row_is_taken_or_refused_with_its_place, 0,
			    sizeof(made_rows) / sizeof(made_rows[0]));
	tcase_add_loop_test(tc, a_lease_is_taken_or_refused_with_its_place, 0,
			    sizeof(made_leases) / sizeof(made_leases[0]));
	tcase_add_loop_test(tc, a_mark_that_is_no_revision_is_refused, 0, 4);
	tcase_add_test(tc, what_an_import_is_asked_for_must_be_possible);
	tcase_add_test(tc, an_import_can_be_given_up_at_any_time);
	tcase_add_test(tc, what_a_power_cut_leaves_of_an_import_does_not_open);
	tcase_add_test(tc, what_an_import_returned_for_survives_a_power_cut);
	tcase_add_loop_test(
		tc, a_failing_file_operation_leaves_no_half_of_a_store, 0, 2);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
