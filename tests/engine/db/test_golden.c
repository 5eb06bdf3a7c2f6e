/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every directory in tests/data/golden, through the public interface: its
 * contents by scan forward, scan in reverse and point lookups against what its
 * producer's own iterator said, its tables against what the MANIFEST states.
 * The folder is read, so a new directory is tested by being there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/db/snapshot.h"
#include "engine/env/env_mem.h"
#include "tests/support/db_test.h"
#include "tests/support/golden.h"

#define N_ABSENT 1000

/* Of the names, set by main() for the loops. */
static struct env_names goldens;

/* So many share a process: the sanitizers take their time to end one. */
#define CHUNK 6

static void each_of_chunk(int chunk, void (*fn)(const char *name))
{
	size_t from = (size_t)chunk * CHUNK;

	for (size_t i = from; i < goldens.n && i < from + CHUNK; i++)
		fn(goldens.names[i]);
}

/* A directory that is refused, and words that the message must have then. */
struct refusal {
	const char *name;
	const char *word;
};

/* What may be refused. One whose meta says so and that is not here must be
 * read. */
static const struct refusal refusals[] = {
#ifndef HAVE_BZIP2
	{ "comp-bzip2", "bzip2 (" },
#endif
#ifndef HAVE_LZ4
	{ "comp-lz4", "lz4 (" },
#endif
#ifndef HAVE_ZLIB
	{ "comp-zlib", "zlib (" },
#endif
	{ "wal-zstd", "compressed log" },
	{ "x-blob", "blob" },
	{ "x-reversecmp", "rocksdb.ReverseBytewiseComparator" },
	{ "x-txn-wal", "two-phase commit" },
	{ "x-widecol", "wide-column" },
};

/*
 * RocksDB silently gives up what follows a damaged record. That is not what
 * was written, so it is refused, with the place.
 */
static const struct refusal damaged[] = {
	{ "torn-middle", "000008.log: offset 3948: record with a wrong "
			 "checksum, but the log goes on at offset 4046" },
};

/* What can only be read: LevelDB's until it is converted, and directories with
 * column families, by the name of one. */
static const struct refusal only_read[] = {
	{ "ldb-", "a LevelDB database" },
	{ "cf-two", "column family \"alpha\"" },
	{ "manifest-tags", "column family \"alpha\"" },
	{ "wal-multi", "column family \"cold\"" },
};

#define WORD_IN(list, name) word_in(list, sizeof(list) / sizeof(*list), name)

/* The words for a directory, NULL when it is not in the list. A name that ends
 * in a dash stands for all that begin so. */
static const char *word_in(const struct refusal *list, size_t n,
			   const char *name)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(list[i].name);

		if (list[i].name[len - 1] == '-'
			    ? !strncmp(name, list[i].name, len)
			    : !strcmp(name, list[i].name))
			return list[i].word;
	}
	return NULL;
}

/* What the refusal of a directory says; NULL for one that must be read. */
static const char *word_of(const char *name)
{
	const char *word = NULL;
	char *reader = golden_meta(name, "reader");

	if (reader && !strcmp(reader, "may_reject_with_clear_error"))
		word = WORD_IN(refusals, name);
	else
		word = WORD_IN(damaged, name);
	free(reader);
	return word;
}

/* The failure is one that the directory may meet. */
static void check_refusal(const char *name, int err)
{
	const char *word = word_of(name);

	ck_assert_msg(err == (WORD_IN(damaged, name) ? CAIRN_ECORRUPT
						     : CAIRN_ENOTSUP),
		      "%s: %s: %s", name, cairn_strerror(err), cairn_errmsg());
	ck_assert_msg(word, "%s must be read: %s", name, cairn_errmsg());
	ck_assert_msg(strstr(cairn_errmsg(), word), "%s: no \"%s\" in: %s",
		      name, word, cairn_errmsg());
}

/* ------------------------------------------------------------ the contents */

static void check_row(const char *name, const struct golden_row *want,
		      struct cairn_slice key, struct cairn_slice value)
{
	ck_assert_msg(slice_eq(key, want->key), "%s: key %.*s, not %.*s", name,
		      (int)key.len, (const char *)key.data, (int)want->key.len,
		      (const char *)want->key.data);
	ck_assert_msg(slice_eq(value, want->value),
		      "%s: the value of %.*s is another", name, (int)key.len,
		      (const char *)key.data);
}

/* The functions return failures of the engine, for the caller to judge. */
static int check_scan(const char *name, struct cairn_db *db,
		      const struct cairn_read_options *o,
		      const struct golden_rows *want, bool forward)
{
	struct cairn_iter *it;
	size_t n = 0;
	bool on;
	int err = cairn_iter_new(db, o, &it);

	if (err)
		return err;
	on = forward ? cairn_iter_first(it) : cairn_iter_last(it);
	while (on) {
		ck_assert_msg(n < want->n, "%s: more keys than %zu", name,
			      want->n);
		check_row(name, &want->row[forward ? n : want->n - 1 - n],
			  cairn_iter_key(it), cairn_iter_value(it));
		n++;
		on = forward ? cairn_iter_next(it) : cairn_iter_prev(it);
	}
	err = cairn_iter_status(it);
	cairn_iter_free(it);
	ck_assert_msg(err || n == want->n, "%s: %zu keys, not %zu", name, n,
		      want->n);
	return err;
}

static int check_key(const char *name, struct cairn_db *db,
		     const struct cairn_read_options *o, struct cairn_slice key,
		     const struct golden_row *want)
{
	struct cairn_pinned p = { 0 };
	int err = cairn_get(db, o, key, &p);

	if (err < 0)
		return err;
	ck_assert_msg((err == CAIRN_OK) == (want != NULL), "%s: %.*s is %s",
		      name, (int)key.len, (const char *)key.data,
		      want ? "not found" : "there");
	if (want)
		check_row(name, want, key, p.value);
	cairn_pinned_release(&p);
	return CAIRN_OK;
}

static int check_present(const char *name, struct cairn_db *db,
			 const struct cairn_read_options *o,
			 const struct golden_rows *want)
{
	for (size_t i = 0; i < want->n; i++) {
		int err =
			check_key(name, db, o, want->row[i].key, &want->row[i]);

		if (err)
			return err;
	}
	return CAIRN_OK;
}

/* A key next to one that is there, or a random one. */
static void near_miss(const struct golden_rows *want, struct rng *rng, size_t i,
		      struct buf *key)
{
	uint8_t random[12];

	buf_clear(key);
	if (want->n && i % 4 != 3) {
		struct cairn_slice k = want->row[i / 4 * 7 % want->n].key;

		ck_assert(!buf_set(key, k));
		if (i % 4 == 0)
			ck_assert(!buf_append(key, "", 1));
		else if (i % 4 == 1 && key->len)
			key->len--;
		else if (key->len)
			key->data[key->len - 1] ^= (uint8_t)(1 + i % 255);
		return;
	}
	for (size_t k = 0; k < sizeof(random); k++)
		random[k] = (uint8_t)rng_next(rng);
	ck_assert(!buf_append(key, random, 1 + i / 4 % sizeof(random)));
}

static int check_absent(const char *name, struct cairn_db *db,
			const struct cairn_read_options *o,
			const struct golden_rows *want)
{
	struct buf key = { 0 };
	struct rng rng;
	size_t n = 0;
	int err = CAIRN_OK;

	rng_init(&rng, 1);
	for (size_t i = 0; !err && n < N_ABSENT; i++) {
		ck_assert_uint_lt(i, 100 * N_ABSENT);
		near_miss(want, &rng, i, &key);
		if (golden_find(want, buf_slice(&key)))
			continue;
		n++;
		err = check_key(name, db, o, buf_slice(&key), NULL);
	}
	buf_fini(&key);
	return err;
}

static int check_contents(const char *name, struct cairn_db *db,
			  const struct cairn_read_options *o,
			  const struct golden_rows *want)
{
	int err = check_scan(name, db, o, want, true);

	if (!err)
		err = check_scan(name, db, o, want, false);
	if (!err)
		err = check_present(name, db, o, want);
	if (!err)
		err = check_absent(name, db, o, want);
	return err;
}

static int check_newest(const char *name, struct cairn_db *db)
{
	struct golden_rows want;
	int err;

	ck_assert_msg(golden_rows(name, "expected.tsv", &want),
		      "%s has no expected.tsv", name);
	err = check_contents(name, db, NULL, &want);
	golden_rows_fini(&want);
	return err;
}

/* The states of before, in goldens that know them. */
static int check_seqnos(const char *name, struct cairn_db *db)
{
	uint64_t *seqnos;
	size_t n = golden_seqnos(name, &seqnos);
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++) {
		/* Nobody held it open, so it is made up. */
		struct cairn_snapshot at = { .db = db, .seqno = seqnos[i] };
		struct cairn_read_options o = { .snapshot = &at };
		struct golden_rows want;
		char file[64];

		snprintf(file, sizeof(file), "expected.seq-%llu.tsv",
			 (unsigned long long)seqnos[i]);
		ck_assert(golden_rows(name, file, &want));
		err = check_contents(name, db, &o, &want);
		golden_rows_fini(&want);
	}
	free(seqnos);
	return err;
}

static void check_last_seqno(const char *name, struct cairn_db *db)
{
	char *last = golden_meta(name, "last_sequence");
	struct cairn_metrics m;
	uint64_t want;

	cairn_metrics_get(db, &m);
	if (last) {
		want = strtoull(last, NULL, 10);
		ck_assert_msg(m.seqno == want,
			      "%s: last sequence number %llu, not %llu", name,
			      (unsigned long long)m.seqno,
			      (unsigned long long)want);
	}
	free(last);
}

/* -------------------------------------------------------------- the tables */

static void put_hex(struct buf *out, struct cairn_slice s)
{
	ck_assert(!buf_append(out, "\t", 1));
	for (size_t i = 0; i < s.len; i++)
		ck_assert(!buf_printf(out, "%02x", s.data[i]));
}

/* As files.tsv has it: a line per table. */
static void describe(const struct cairn_table_info *t, struct buf *out)
{
	buf_clear(out);
	ck_assert(!buf_printf(out, "default\t%d\t%llu\t%llu", t->level,
			      (unsigned long long)t->number,
			      (unsigned long long)t->size_bytes));
	put_hex(out, t->smallest);
	put_hex(out, t->largest);
	ck_assert(!buf_printf(out, "\t%llu\t%llu\n",
			      (unsigned long long)t->smallest_seqno,
			      (unsigned long long)t->largest_seqno));
	ck_assert(!buf_append(out, "", 1));
}

static void check_tables(const char *name, struct cairn_db *db)
{
	struct buf want = { 0 }, line = { 0 };
	struct cairn_table_list list;
	size_t n = 0;

	if (!golden_text(name, "files.tsv", &want))
		return; /* LevelDB's MANIFEST does not say that much */
	CK_OK(cairn_tables(db, -1, &list));
	for (size_t i = 0; i < list.n; i++) {
		describe(&list.tables[i], &line);
		ck_assert_msg(strstr((char *)want.data, (char *)line.data),
			      "%s: files.tsv does not have %s", name,
			      (char *)line.data);
	}
	for (char *p = (char *)want.data; (p = strstr(p, "\ndefault\t")); p++)
		n++;
	ck_assert_msg(n == list.n, "%s: %zu tables, not %zu", name, list.n, n);
	cairn_table_list_free(&list);
	buf_fini(&want);
	buf_fini(&line);
}

/* ----------------------------------------------------------------- reading */

static int open_in(struct cairn_env *env, const char *dir, bool read_only,
		   struct cairn_db **out)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	CK_OK(cairn_options_set(o, "read_only", read_only ? "true" : "false"));
	/* Enough, and there are many of them to be cleared. */
	CK_OK(cairn_options_set(o, "write_buffer_size", "1M"));
	err = cairn_open(dir, o, out);
	cairn_options_free(o);
	return err;
}

START_TEST(point_in_time_recovery_reads_up_to_the_damage)
{
	struct cairn_options *o = cairn_options_new();
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	const char *name = damaged[_i].name;
	struct cairn_db *db;
	struct golden g;

	golden_load(name, &g);
	golden_write(&g, env, TEST_DIR);
	cairn_options_set_env(o, env);
	CK_OK(cairn_options_set(o, "point_in_time_recovery", "true"));
	for (int times = 0; times < 2; times++) {
		CK_OK(cairn_open(TEST_DIR, o, &db));
		CK_OK(check_newest(name, db));
		CK_OK(cairn_close(db));
	}
	cairn_options_free(o);
	golden_fini(&g);
	env_mem_free(env);
}
END_TEST

static int read_all(const char *name, struct cairn_db *db)
{
	int err = check_newest(name, db);

	if (!err)
		err = check_seqnos(name, db);
	if (!err) {
		check_last_seqno(name, db);
		check_tables(name, db);
		err = cairn_verify_checksums(db);
	}
	return err;
}

static void read_golden(const char *name)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_db *db;
	struct golden g;
	int err;

	golden_load(name, &g);
	golden_write(&g, env, TEST_DIR);
	err = open_in(env, TEST_DIR, true, &db);
	if (!err) {
		err = read_all(name, db);
		if (err)
			check_refusal(name, err);
		CK_OK(cairn_close(db));
	} else {
		check_refusal(name, err);
	}
	ck_assert_msg(err || !WORD_IN(damaged, name),
		      "%s is read: take it from the list of refusals", name);
	golden_fini(&g);
	env_mem_free(env);
}

START_TEST(a_golden_holds_what_its_producer_said)
{
	each_of_chunk(_i, read_golden);
}
END_TEST

/* --------------------------------------------------- and changing nothing */

struct seen {
	char name[256];
	struct stat st;
	struct buf bytes;
};

struct seen_dir {
	struct stat st;
	struct seen *file;
	size_t n;
};

static int by_seen_name(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->name,
		      ((const struct seen *)b)->name);
}

static void look(const char *dir, struct seen_dir *out)
{
	struct env_names names;

	*out = (struct seen_dir){ 0 };
	CK_OK(env_list(env_posix(), dir, &names));
	out->n = names.n;
	out->file = calloc(names.n + 1, sizeof(*out->file));
	ck_assert_ptr_nonnull(out->file);
	for (size_t i = 0; i < names.n; i++) {
		struct seen *f = &out->file[i];
		char path[4096];

		snprintf(f->name, sizeof(f->name), "%s", names.names[i]);
		snprintf(path, sizeof(path), "%s/%s", dir, f->name);
		ck_assert(!lstat(path, &f->st));
		CK_OK(env_read_file(env_posix(), path, 1u << 24, &f->bytes));
	}
	qsort(out->file, out->n, sizeof(*out->file), by_seen_name);
	ck_assert(!lstat(dir, &out->st));
	env_names_free(&names);
}

static void seen_fini(struct seen_dir *s)
{
	for (size_t i = 0; i < s->n; i++)
		buf_fini(&s->file[i].bytes);
	free(s->file);
}

static void same_stat(const char *name, const struct stat *a,
		      const struct stat *b)
{
	ck_assert_msg(a->st_ino == b->st_ino && a->st_size == b->st_size &&
			      a->st_mode == b->st_mode &&
			      a->st_nlink == b->st_nlink &&
			      a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
			      a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
			      a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
			      a->st_ctim.tv_nsec == b->st_ctim.tv_nsec,
		      "%s was touched", name);
}

static void same_dir(const struct seen_dir *a, const struct seen_dir *b)
{
	ck_assert_uint_eq(a->n, b->n);
	same_stat("the directory", &a->st, &b->st);
	for (size_t i = 0; i < a->n; i++) {
		ck_assert_str_eq(a->file[i].name, b->file[i].name);
		same_stat(a->file[i].name, &a->file[i].st, &b->file[i].st);
		ck_assert_msg(slice_eq(buf_slice(&a->file[i].bytes),
				       buf_slice(&b->file[i].bytes)),
			      "%s was changed", a->file[i].name);
	}
}

static void remove_dir(const char *dir)
{
	struct env_names names;
	char path[4096];

	CK_OK(env_list(env_posix(), dir, &names));
	for (size_t i = 0; i < names.n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names.names[i]);
		ck_assert(!unlink(path));
	}
	env_names_free(&names);
	ck_assert(!rmdir(dir));
}

static void read_untouched(const char *name)
{
	char top[] = "/tmp/cairn-golden-XXXXXX";
	struct seen_dir before, after;
	struct cairn_db *db;
	struct golden g;
	char dir[64];
	int err;

	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/db", top);
	golden_load(name, &g);
	golden_write(&g, env_posix(), dir);
	look(dir, &before);
	err = open_in(env_posix(), dir, true, &db);
	if (!err) {
		err = check_newest(name, db);
		if (err)
			check_refusal(name, err);
		CK_OK(cairn_close(db));
	} else {
		check_refusal(name, err);
	}
	look(dir, &after);
	same_dir(&before, &after);
	seen_fini(&before);
	seen_fini(&after);
	golden_fini(&g);
	remove_dir(dir);
	ck_assert(!rmdir(top));
}

START_TEST(reading_only_changes_no_byte_name_or_time)
{
	each_of_chunk(_i, read_untouched);
}
END_TEST

/* ----------------------------------------------------------------- writing */

/* The files are those of the golden and no others. */
static void check_untouched(const struct golden *g, struct cairn_env *env)
{
	struct env_names names;

	CK_OK(env_list(env, TEST_DIR, &names));
	ck_assert_msg(names.n == g->n, "%s: %zu files, not %zu", g->name,
		      names.n, g->n);
	env_names_free(&names);
	for (size_t i = 0; i < g->n; i++) {
		struct buf now = { 0 };
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", TEST_DIR,
			 g->files[i].name);
		CK_CODE(env_read_file(env, path, 1u << 24, &now), CAIRN_OK);
		ck_assert_msg(slice_eq(buf_slice(&now),
				       buf_slice(&g->files[i].bytes)),
			      "%s: %s was changed", g->name, g->files[i].name);
		buf_fini(&now);
	}
}

/* Whether a directory that can be read can be written to. */
static bool is_writable(const char *name, int err)
{
	const char *word = WORD_IN(only_read, name);

	if (!word)
		return true;
	ck_assert_msg(err == CAIRN_ENOTSUP && strstr(cairn_errmsg(), word),
		      "%s: no \"%s\" in: %s", name, word, cairn_errmsg());
	return false;
}

static void add_row(struct golden_rows *r, struct cairn_slice key,
		    struct cairn_slice value)
{
	r->row[r->n++] = (struct golden_row){ key, value };
}

/*
 * Overwrite some keys, delete some, and write some behind all others; want
 * becomes what must be there. The keys of want stay what they are.
 */
static void change(struct cairn_db *db, struct golden_rows *want,
		   char tail[20][32])
{
	struct golden_rows now = { 0 };

	now.row = calloc(want->n + 20, sizeof(*now.row));
	ck_assert_ptr_nonnull(now.row);
	for (size_t i = 0; i < want->n; i++) {
		struct golden_row *row = &want->row[i];

		if (i % 5 == 1) {
			row->value = slice_str("changed by cairn");
			CK_OK(cairn_put(db, NULL, row->key, row->value));
		} else if (i % 7 == 2) {
			CK_OK(cairn_delete(db, NULL, row->key));
			continue;
		}
		add_row(&now, row->key, row->value);
	}
	for (int i = 0; i < 20; i++) {
		/* Behind every key of a golden but those of binary. */
		snprintf(tail[i], 32,
			 "\377\377\377\377\377\377\377\377\377\377"
			 "\377\377\377\377\377\377\377\377\377\377%02d",
			 i);
		CK_OK(cairn_put(db, NULL, slice_str(tail[i]),
				slice_str("new")));
		add_row(&now, slice_str(tail[i]), slice_str("new"));
	}
	free(want->row);
	want->row = now.row;
	want->n = now.n;
}

static void rewrite(const char *name, struct cairn_env *env,
		    struct cairn_db *db)
{
	const struct cairn_slice all = { NULL, 0 };
	struct golden_rows want;
	char tail[20][32];

	ck_assert(golden_rows(name, "expected.tsv", &want));
	CK_OK(check_contents(name, db, NULL, &want));
	change(db, &want, tail);
	CK_OK(check_scan(name, db, NULL, &want, true));
	CK_OK(check_present(name, db, NULL, &want));
	CK_OK(cairn_flush(db, true));
	CK_OK(check_scan(name, db, NULL, &want, false));
	CK_OK(check_present(name, db, NULL, &want));
	CK_OK(cairn_close(db));
	CK_OK(open_in(env, TEST_DIR, false, &db));
	CK_OK(check_contents(name, db, NULL, &want));
	CK_OK(cairn_compact_range(db, all, all, NULL));
	CK_OK(check_scan(name, db, NULL, &want, true));
	CK_OK(check_present(name, db, NULL, &want));
	CK_OK(cairn_verify_checksums(db));
	CK_OK(cairn_close(db));
	CK_OK(open_in(env, TEST_DIR, true, &db));
	CK_OK(check_contents(name, db, NULL, &want));
	CK_OK(cairn_close(db));
	golden_rows_fini(&want);
}

static void write_golden(const char *name)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_db *db;
	struct golden g;
	int err;

	golden_load(name, &g);
	golden_write(&g, env, TEST_DIR);
	err = open_in(env, TEST_DIR, false, &db);
	if (!is_writable(name, err)) {
		check_untouched(&g, env);
	} else if (err) {
		check_refusal(name, err);
		check_untouched(&g, env);
	} else if (word_of(name)) {
		/* It is its tables that cannot be read. */
		err = check_newest(name, db);
		if (err)
			check_refusal(name, err);
		CK_OK(cairn_close(db));
	} else {
		rewrite(name, env, db);
	}
	golden_fini(&g);
	env_mem_free(env);
}

START_TEST(a_copy_can_be_written_to_or_stays_as_it_is)
{
	each_of_chunk(_i, write_golden);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("golden");
	TCase *tc = tcase_create("each");
	int n_chunks, status;

	/* Huge pages would be cleared for the little that is used of them. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	golden_names(&goldens);
	n_chunks = (int)((goldens.n + CHUNK - 1) / CHUNK);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_golden_holds_what_its_producer_said, 0,
			    n_chunks);
	tcase_add_loop_test(tc, point_in_time_recovery_reads_up_to_the_damage,
			    0, (int)(sizeof(damaged) / sizeof(*damaged)));
	tcase_add_loop_test(tc, reading_only_changes_no_byte_name_or_time, 0,
			    n_chunks);
	tcase_add_loop_test(tc, a_copy_can_be_written_to_or_stays_as_it_is, 0,
			    n_chunks);
	suite_add_tcase(s, tc);
	status = run_suite(s);
	env_names_free(&goldens);
	return status;
}
