/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The golden directories, damaged: every file cut short at every length, and
 * with a bit flipped in every byte. Each time the directory is opened and read,
 * and there must be an error that names the file, or exactly the contents. The
 * one exception is a torn end of the newest log, whose last record may be gone.
 *
 * Doing all of that takes minutes. CAIRN_DAMAGE=full in the environment does
 * it, with all files above FULL_LEN sampled; a number is how many lengths and
 * how many flips of each file are tried. CAIRN_SEED chooses which. With
 * CAIRN_DAMAGE_ONLY only the directory of that name is walked, so that several
 * processes can share the work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/db/db.h"
#include "engine/env/env_mem.h"
#include "engine/kv/batch.h"
#include "engine/table/format.h"
#include "engine/version/filename.h"
#include "engine/wal/reader.h"
#include "tests/support/alloc_guard.h"
#include "tests/support/bytes_file.h"
#include "tests/support/db_test.h"
#include "tests/support/image_env.h"

#define FULL_LEN ((size_t)64 << 10)
/* The thread sanitizer has little to see in so many short lives. */
#ifdef __SANITIZE_THREAD__
#define SAMPLES_DEFAULT 3
#else
#define SAMPLES_DEFAULT 16
#endif
#define SAMPLES_ABOVE    ((size_t)16 << 10) /* of longer files, of each kind */
#define SECONDS_MAX      10                 /* one case is faster by far */
#define LOG_HEADER       7                  /* of a record */
#define PADDING_MAX      10                 /* shorter than a record's header */
#define REWRITES_PERIOD  97                 /* of cases, in a full run */
#define REWRITES_DEFAULT 8

static struct env_names goldens;

/* Counts of all children. */
struct counts {
	_Atomic uint64_t files;
	_Atomic uint64_t cuts;
	_Atomic uint64_t flips;
	_Atomic uint64_t unread; /* of the above: nobody looks at the file */
	_Atomic uint64_t errors;
	_Atomic uint64_t exact;
	_Atomic uint64_t torn; /* a part of the newest log was gone */
	_Atomic uint64_t invisible;
	_Atomic uint64_t rewrites;
	_Atomic uint64_t rewrites_refused;
};
static struct counts *counts;

static void count(_Atomic uint64_t *c)
{
	atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

/* One kind of damage at one place. */
struct damage {
	bool is_cut;
	size_t at; /* the new length, or the byte that is flipped */
	uint8_t mask;
};

/* Where the record after one of the newest log begins, and its last seqno. */
struct log_record {
	uint64_t next;
	uint64_t seqno;
};

struct walk {
	struct golden golden;
	struct image_env env;
	struct cairn_db *intact; /* NULL: not even that is read */
	struct golden_rows rows; /* what is in it */
	uint64_t seqno;
	/* Of the newest log that has any records. */
	size_t newest_log; /* index of the file, SIZE_MAX: none */
	struct log_record *records;
	size_t n_records;
	uint64_t tables_seqno; /* what is there without that log */
	/* The present case. */
	size_t file;
	struct damage damage;
	struct buf bytes;
};

static const char *case_text(const struct walk *w)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s/%s %s %zu (mask %02x)", w->golden.name,
		 w->golden.files[w->file].name,
		 w->damage.is_cut ? "cut to" : "flipped at", w->damage.at,
		 w->damage.mask);
	return text;
}

/* ----------------------------------------------------------------- reading */

static int open_in(struct cairn_env *env, bool reading, struct cairn_db **out)
{
	struct cairn_options *o = cairn_options_new();
	int err;

	ck_assert_ptr_nonnull(o);
	cairn_options_set_env(o, env);
	CK_OK(cairn_options_set(o, "read_only", reading ? "true" : "false"));
	/* Large enough; clearing memory would be most of the work. */
	CK_OK(cairn_options_set(o, "write_buffer_size", "256K"));
	/* Nothing is written behind our back. */
	CK_OK(cairn_options_set(o, "auto_compactions", "false"));
	err = cairn_open(IMAGE_DIR, o, out);
	cairn_options_free(o);
	return err;
}

static uint64_t seqno_of(struct cairn_db *db)
{
	return atomic_load(&db->visible);
}

/*
 * Whether db holds what the intact database held at seqno, by scan and by
 * point lookups: CAIRN_OK, a failure of db, or CAIRN_NOT_FOUND when it holds
 * something else.
 */
static int compare_scan(const struct walk *w, struct cairn_db *db,
			const struct cairn_read_options *then)
{
	struct cairn_iter *is = NULL, *was = NULL;
	bool same = true;
	int err = cairn_iter_new(db, NULL, &is);

	if (err)
		return err;
	CK_OK(cairn_iter_new(w->intact, then, &was));
	cairn_iter_first(was);
	cairn_iter_first(is);
	while (same && cairn_iter_valid(is)) {
		same = cairn_iter_valid(was) &&
		       slice_eq(cairn_iter_key(is), cairn_iter_key(was)) &&
		       slice_eq(cairn_iter_value(is), cairn_iter_value(was));
		cairn_iter_next(is);
		cairn_iter_next(was);
	}
	err = cairn_iter_status(is);
	if (!err && (!same || cairn_iter_valid(was)))
		err = CAIRN_NOT_FOUND;
	cairn_iter_free(is);
	cairn_iter_free(was);
	return err;
}

static int compare_gets(const struct walk *w, struct cairn_db *db,
			const struct cairn_read_options *then)
{
	for (size_t i = 0; i < w->rows.n; i++) {
		struct cairn_pinned is = { 0 }, was = { 0 };
		struct cairn_slice key = w->rows.row[i].key;
		int err = cairn_get(db, NULL, key, &is);
		bool same;

		if (err < 0)
			return err;
		same = cairn_get(w->intact, then, key, &was) == err &&
		       (err || slice_eq(is.value, was.value));
		cairn_pinned_release(&is);
		cairn_pinned_release(&was);
		if (!same)
			return CAIRN_NOT_FOUND;
	}
	return CAIRN_OK;
}

static int compare(const struct walk *w, struct cairn_db *db, uint64_t seqno)
{
	struct cairn_snapshot at = { .db = w->intact, .seqno = seqno };
	const struct cairn_read_options then = { .snapshot = &at };
	int err = compare_scan(w, db, &then);

	return err ? err : compare_gets(w, db, &then);
}

/* A failure that reading all of db meets. */
static int scan(struct cairn_db *db)
{
	struct cairn_iter *it;
	int err = cairn_iter_new(db, NULL, &it);

	if (err)
		return err;
	for (cairn_iter_first(it); cairn_iter_valid(it); cairn_iter_next(it))
		;
	err = cairn_iter_status(it);
	cairn_iter_free(it);
	return err;
}

/* ----------------------------------------------------------- what may be */

/*
 * The last seqno that a database may have whose newest log ends at offset len:
 * that of the last whole record.
 */
static uint64_t seqno_at(const struct walk *w, uint64_t len)
{
	uint64_t seqno = w->tables_seqno;

	for (size_t i = 0; i < w->n_records && w->records[i].next <= len; i++)
		if (w->records[i].seqno > seqno)
			seqno = w->records[i].seqno;
	return seqno;
}

static bool is_log(const struct golden_file *f)
{
	uint64_t number;

	return filename_parse(f->name, &number) == FILE_WAL;
}

/* Where the first record of the log ends. */
static size_t first_record_end(const struct golden_file *log)
{
	const struct buf *b = &log->bytes;

	return b->len < LOG_HEADER
		       ? b->len
		       : LOG_HEADER + b->data[4] + ((size_t)b->data[5] << 8);
}

/* Whether the damage may show as a database that ends at seqno. */
static bool may_end_at(const struct walk *w, uint64_t seqno)
{
	if (w->intact && seqno == w->seqno)
		return true;
	/* Nothing of a log that is refused was ever read, and here not even the
	 * first record, which is what it is refused for, is left. */
	if (!w->intact && w->damage.is_cut &&
	    is_log(&w->golden.files[w->file]) &&
	    w->damage.at < first_record_end(&w->golden.files[w->file]))
		return true;
	if (w->file != w->newest_log)
		return false;
	/* Between the end of a record and the next may be some padding. */
	if (w->damage.is_cut)
		return seqno == seqno_at(w, w->damage.at) ||
		       seqno == seqno_at(w, w->damage.at + PADDING_MAX);
	/* Only when the flip is in the last one. */
	return w->n_records &&
	       (w->n_records == 1 ||
		w->damage.at >= w->records[w->n_records - 2].next) &&
	       seqno == seqno_at(w, w->records[w->n_records - 1].next - 1);
}

/*
 * The last records of this MANIFEST add ingested tables. A crash just before
 * they were written leaves the same files.
 */
static bool is_invisible(const struct walk *w)
{
	uint64_t number;

	return !strcmp(w->golden.name, "ingest") && w->damage.is_cut &&
	       filename_parse(w->golden.files[w->file].name, &number) ==
		       FILE_MANIFEST;
}

/* Blocks without checksums hide what happens to them; so does OPTIONS, which
 * says how operands are merged. */
static bool is_unprotected(const struct walk *w)
{
	const struct golden_file *f = &w->golden.files[w->file];
	struct footer footer;
	uint64_t number;

	if (filename_parse(f->name, &number) == FILE_OPTIONS)
		return strstr(w->golden.name, "merge-") != NULL;
	if (filename_parse(f->name, &number) != FILE_TABLE)
		return false;
	return footer_decode(buf_slice(&f->bytes), f->bytes.len, &footer) ==
		       CAIRN_OK &&
	       footer.checksum == TABLE_CHECKSUM_NONE;
}

/*
 * The message names the file, or, for the two files that name others, one that
 * is not there or does not fit, or, for OPTIONS, what is not set.
 */
static bool names_file(const struct walk *w, const char *message)
{
	const char *name = w->golden.files[w->file].name;
	enum file_kind kind;
	uint64_t number;

	if (strstr(message, name))
		return true;
	kind = filename_parse(name, &number);
	/* A whole file without the line with the operator, or with another. */
	if (kind == FILE_OPTIONS)
		return strstr(message, "names a merge operator") ||
		       strstr(message, "operator that is not known here");
	/* A key without a checksum may be wrong only beside those of others, or
	 * one of operands of which nobody knows what to do with them. */
	if (is_unprotected(w))
		return strstr(message, "keys of a table out of order") ||
		       strstr(message, "has merge operands");
	if (kind == FILE_CURRENT)
		return strstr(message, "MANIFEST-");
	return kind == FILE_MANIFEST &&
	       (strstr(message, ".sst") || strstr(message, ".ldb") ||
		strstr(message, ".log"));
}

static void check_error(const struct walk *w, int err)
{
	const char *why = cairn_errmsg();

	ck_assert_msg(err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP,
		      "%s: %s: %s", case_text(w), cairn_strerror(err), why);
	/* One that is refused anyway says so. */
	ck_assert_msg(!w->intact || names_file(w, why), "%s: %s", case_text(w),
		      why);
	count(&counts->errors);
}

/* Read the database that opened, and close it. */
static void check_opened(const struct walk *w, struct cairn_db *db)
{
	uint64_t seqno = seqno_of(db);
	int err = CAIRN_OK;

	if (w->intact)
		err = compare(w, db, seqno);
	else
		err = scan(db);
	if (err < 0) {
		check_error(w, err);
	} else if (is_invisible(w)) {
		count(&counts->invisible);
	} else if (!is_unprotected(w)) {
		ck_assert_msg(may_end_at(w, seqno),
			      "%s: silently ends at %" PRIu64
			      " instead of %" PRIu64,
			      case_text(w), seqno, w->seqno);
		ck_assert_msg(err == CAIRN_OK, "%s: other contents",
			      case_text(w));
		count(w->intact && seqno == w->seqno ? &counts->exact
						     : &counts->torn);
	}
	CK_OK(cairn_close(db));
}

/* ---------------------------------------------------------- opened to write */

static bool is_as_written(struct cairn_env *mem, const char *name,
			  struct cairn_slice bytes)
{
	char path[256];
	struct buf now = { 0 };
	bool same;

	snprintf(path, sizeof(path), IMAGE_DIR "/%s", name);
	same = env_read_file(mem, path, 1u << 24, &now) == CAIRN_OK &&
	       slice_eq(buf_slice(&now), bytes);
	buf_fini(&now);
	return same;
}

static void check_unchanged(const struct walk *w, struct cairn_env *mem)
{
	struct env_names names;

	CK_OK(env_list(mem, IMAGE_DIR, &names));
	ck_assert_msg(names.n == w->golden.n, "%s: %zu files, not %zu",
		      case_text(w), names.n, w->golden.n);
	env_names_free(&names);
	for (size_t i = 0; i < w->golden.n; i++) {
		const struct golden_file *f = &w->golden.files[i];

		ck_assert_msg(
			is_as_written(mem, f->name,
				      buf_slice(i == w->file ? &w->bytes
							     : &f->bytes)),
			"%s: a refused open changed %s", case_text(w), f->name);
	}
}

static void check_rewrite(struct walk *w)
{
	struct cairn_env *mem = env_mem_new(ENV_MEM_STRICT);
	struct buf *file = &w->golden.files[w->file].bytes;
	struct buf good = *file;
	struct cairn_db *db;
	int err;

	*file = w->bytes;
	golden_write(&w->golden, mem, IMAGE_DIR);
	*file = good;
	count(&counts->rewrites);
	err = open_in(mem, false, &db);
	if (err) {
		count(&counts->rewrites_refused);
		check_unchanged(w, mem);
	} else {
		if (w->intact)
			check_opened(w, db);
		else
			CK_OK(cairn_close(db));
		/* And once more, from what it made of it. */
		CK_OK(open_in(mem, true, &db));
		if (w->intact)
			check_opened(w, db);
		else
			CK_OK(cairn_close(db));
	}
	env_mem_free(mem);
}

/* ----------------------------------------------------------------- the walk */

static void try_damage(struct walk *w, struct damage d, bool rewrite)
{
	const struct buf *file = &w->golden.files[w->file].bytes;
	struct cairn_db *db;
	int err;

	w->damage = d;
	ck_assert(!buf_set(&w->bytes, buf_slice(file)));
	if (d.is_cut)
		w->bytes.len = d.at;
	else
		w->bytes.data[d.at] ^= d.mask;
	w->env.replaced = w->file;
	w->env.bytes = buf_slice(&w->bytes);
	count(d.is_cut ? &counts->cuts : &counts->flips);
	alarm(SECONDS_MAX);
	err = open_in(&w->env.base, true, &db);
	if (err)
		check_error(w, err);
	else
		check_opened(w, db);
	if (rewrite)
		check_rewrite(w);
	alarm(0);
	w->env.replaced = SIZE_MAX;
}

/* How many places of a kind are tried in a file of len bytes; 0: all. */
static size_t samples_of(size_t len, size_t wanted)
{
	if (wanted)
		return wanted < len ? wanted : 0;
	return len > FULL_LEN ? SAMPLES_ABOVE : 0;
}

static void walk_file(struct walk *w, struct rng *rng, size_t wanted)
{
	size_t len = w->golden.files[w->file].bytes.len;
	size_t n = samples_of(len, wanted);
	size_t period =
		wanted ? 1 + wanted / REWRITES_DEFAULT : REWRITES_PERIOD;

	count(&counts->files);
	for (size_t i = 0; i < (n ? n : len); i++) {
		struct damage cut = { .is_cut = true,
				      .at = n ? rng_below(rng, len) : i };
		struct damage flip = {
			.at = n ? rng_below(rng, len) : i,
			.mask = (uint8_t)(1u << rng_below(rng, 8)),
		};
		bool rewrite = rng_below(rng, period) == 0;

		try_damage(w, cut, rewrite);
		try_damage(w, flip, rewrite);
	}
}

/* Nobody looks at the file, so its bytes do not matter; one look at that. */
static void walk_unread(struct walk *w, size_t wanted)
{
	size_t len = w->golden.files[w->file].bytes.len;
	size_t n = samples_of(len, wanted);

	count(&counts->files);
	if (!len)
		return;
	w->env.touched[w->file] = false;
	try_damage(w, (struct damage){ .is_cut = true, .at = len / 2 }, true);
	try_damage(w, (struct damage){ .at = len / 2, .mask = 1 }, true);
	ck_assert(!w->env.touched[w->file]);
	counts->cuts += (n ? n : len) - 1;
	counts->flips += (n ? n : len) - 1;
	counts->unread += 2 * (n ? n : len);
}

/* -------------------------------------------------------------- beginnings */

/* What is in a log: where records end, and at which seqno. */
static void read_records(struct walk *w, const struct golden_file *f)
{
	struct rfile *file = bytes_rfile_new(buf_slice(&f->bytes), NULL);
	struct cairn_slice record;
	struct log_reader *log;
	uint64_t number;

	ck_assert(filename_parse(f->name, &number) == FILE_WAL);
	CK_OK(log_reader_new(file, f->name, number, &log));
	w->n_records = 0;
	free(w->records);
	w->records = calloc(f->bytes.len / 7 + 1, sizeof(*w->records));
	ck_assert_ptr_nonnull(w->records);
	while (log_reader_next(log, &record) == CAIRN_OK) {
		if (w->n_records && !w->records[w->n_records - 1].next)
			w->records[w->n_records - 1].next =
				log_reader_offset(log);
		if (batch_validate(record) || !batch_bytes_count(record))
			continue;
		w->records[w->n_records++].seqno = batch_bytes_seqno(record) +
						   batch_bytes_count(record) -
						   1;
	}
	/* Now the offset is where records end. */
	if (w->n_records && !w->records[w->n_records - 1].next)
		w->records[w->n_records - 1].next = log_reader_offset(log);
	log_reader_free(log);
	rfile_close(file);
}

static void find_newest_log(struct walk *w)
{
	w->newest_log = SIZE_MAX;
	for (size_t i = w->golden.n; i-- > 0 && w->newest_log == SIZE_MAX;) {
		if (!is_log(&w->golden.files[i]))
			continue;
		read_records(w, &w->golden.files[i]);
		if (w->n_records)
			w->newest_log = i;
	}
}

/* What is there when the newest log is empty. */
static uint64_t seqno_without_log(struct walk *w)
{
	struct cairn_db *db;
	uint64_t seqno;

	if (w->newest_log == SIZE_MAX)
		return w->seqno;
	w->env.replaced = w->newest_log;
	w->env.bytes = slice_of(NULL, 0);
	if (open_in(&w->env.base, true, &db))
		return 0;
	seqno = seqno_of(db);
	CK_OK(cairn_close(db));
	w->env.replaced = SIZE_MAX;
	return seqno;
}

static void walk_init(struct walk *w, const char *name)
{
	int err;

	*w = (struct walk){ 0 };
	golden_load(name, &w->golden);
	image_env_init(&w->env, &w->golden);
	find_newest_log(w);
	err = open_in(&w->env.base, true, &w->intact);
	ck_assert(golden_rows(name, "expected.tsv", &w->rows));
	if (!err) {
		w->seqno = seqno_of(w->intact);
		err = compare(w, w->intact, w->seqno);
		if (err) {
			CK_OK(cairn_close(w->intact));
			w->intact = NULL;
		}
	} else {
		w->intact = NULL;
	}
	w->tables_seqno = seqno_without_log(w);
}

static void walk_fini(struct walk *w)
{
	if (w->intact)
		CK_OK(cairn_close(w->intact));
	free(w->records);
	buf_fini(&w->bytes);
	golden_rows_fini(&w->rows);
	image_env_fini(&w->env);
	golden_fini(&w->golden);
}

START_TEST(damage_is_an_error_or_does_no_harm)
{
	const char *how = getenv("CAIRN_DAMAGE");
	const char *seed = getenv("CAIRN_SEED");
	const char *only = getenv("CAIRN_DAMAGE_ONLY");
	size_t wanted = SAMPLES_DEFAULT;
	struct walk w;
	struct rng rng;
	bool *touched;

	if (only && strcmp(only, goldens.names[_i]) != 0)
		return;
	if (how)
		wanted = strcmp(how, "full") != 0 ? strtoul(how, NULL, 10) : 0;
	rng_init(&rng, seed ? strtoull(seed, NULL, 10) : 1);
	walk_init(&w, goldens.names[_i]);
	touched = calloc(w.golden.n + 1, sizeof(*touched));
	ck_assert_ptr_nonnull(touched);
	memcpy(touched, w.env.touched, w.golden.n * sizeof(*touched));
	memset(w.env.touched, 0, w.golden.n * sizeof(*touched));
	for (w.file = 0; w.file < w.golden.n; w.file++) {
		if (touched[w.file])
			walk_file(&w, &rng, wanted);
		else
			walk_unread(&w, wanted);
	}
	free(touched);
	walk_fini(&w);
}
END_TEST

/* What no checksum covers, but another file tells. */
static const struct {
	const char *golden;
	const char *file;
	struct damage damage;
	const char *message;
} told[] = {
	/* Without its last records, that of an open log among them. */
	{ "manifest-tags",
	  "MANIFEST-000005",
	  { .is_cut = true, .at = 696 },
	  "MANIFEST-000005: 000013.log, which is needed, is missing" },
	{ "ingest",
	  "000013.sst",
	  { .at = 1546, .mask = 0x20 },
	  "000013.sst: ingested at sequence number 8192, the MANIFEST says 0" },
};

static void walk_find(struct walk *w, const char *file)
{
	while (w->file < w->golden.n &&
	       strcmp(w->golden.files[w->file].name, file) != 0)
		w->file++;
	ck_assert_uint_lt(w->file, w->golden.n);
}

START_TEST(damage_is_told_by_another_file)
{
	struct walk w;
	uint64_t errors = counts->errors;

	walk_init(&w, told[_i].golden);
	walk_find(&w, told[_i].file);
	try_damage(&w, told[_i].damage, false);
	ck_assert_uint_eq(counts->errors, errors + 1);
	ck_assert_msg(strstr(cairn_errmsg(), told[_i].message), "%s",
		      cairn_errmsg());
	walk_fini(&w);
}
END_TEST

START_TEST(a_closed_log_has_the_length_that_is_noted)
{
	struct cairn_env *mem = env_mem_new(ENV_MEM_STRICT);
	struct cairn_db *db;
	struct wfile *log;
	struct walk w;

	walk_init(&w, told[0].golden);
	walk_find(&w, told[0].file);
	w.golden.files[w.file].bytes.len = told[0].damage.at;
	golden_write(&w.golden, mem, IMAGE_DIR);
	CK_OK(env_open_write(mem, IMAGE_DIR "/000013.log", &log));
	CK_OK(wfile_append(log, "short", 5));
	CK_OK(wfile_close(log));
	ck_assert_int_eq(open_in(mem, true, &db), CAIRN_ECORRUPT);
	ck_assert_msg(strstr(cairn_errmsg(),
			     "000013.log: has 5 bytes; MANIFEST-000005 says "
			     "that it was closed with 4120"),
		      "%s", cairn_errmsg());
	walk_fini(&w);
	env_mem_free(mem);
}
END_TEST

static void print_counts(void)
{
	printf("damage: %" PRIu64 " files, %" PRIu64 " truncations, %" PRIu64
	       " flips (%" PRIu64 " in files that nobody reads): %" PRIu64
	       " errors, %" PRIu64 " exact, %" PRIu64
	       " with a torn end of the newest log, %" PRIu64
	       " as before an ingestion; opened to write %" PRIu64
	       ", refused %" PRIu64 "\n",
	       counts->files, counts->cuts, counts->flips, counts->unread,
	       counts->errors, counts->exact, counts->torn, counts->invisible,
	       counts->rewrites, counts->rewrites_refused);
	printf("count damaged-spots %" PRIu64 "\n",
	       counts->cuts + counts->flips);
}

int main(void)
{
	Suite *s = suite_create("damage");
	TCase *tc = tcase_create("goldens");
	int status;

	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	/* Nor are huge pages wanted for a moment. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	golden_names(&goldens);
	tcase_set_timeout(tc, 0);
	tcase_add_loop_test(tc, damage_is_an_error_or_does_no_harm, 0,
			    (int)goldens.n);
	tcase_add_loop_test(tc, damage_is_told_by_another_file, 0,
			    (int)(sizeof(told) / sizeof(told[0])));
	tcase_add_test(tc, a_closed_log_has_the_length_that_is_noted);
	suite_add_tcase(s, tc);
	status = run_suite(s);
	print_counts();
	env_names_free(&goldens);
	return status;
}
