/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/open_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "engine/base/error.h"
#include "engine/db/obsolete.h"
#include "engine/version/filename.h"

/* A log without batches is a note, and not longer than this. */
#define EMPTY_LOG_MAX   256
#define OPTIONS_LEN_MAX ((size_t)16 << 20)
#define COMPARATOR      "leveldb.BytewiseComparator"
#define UUID_LEN        36

bool names_have(const struct env_names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->names[i], name) == 0)
			return true;
	return false;
}

static uint64_t max_of_kind(const struct env_names *names, enum file_kind kind)
{
	uint64_t max = 0;
	uint64_t number;

	for (size_t i = 0; i < names->n; i++)
		if (filename_parse(names->names[i], &number) == kind &&
		    number > max)
			max = number;
	return max;
}

uint64_t files_max_number(const struct env_names *names)
{
	uint64_t max = 0;
	uint64_t number;

	for (size_t i = 0; i < names->n; i++) {
		/* A number that nothing can follow is made up. */
		if (filename_parse(names->names[i], &number) != FILE_UNKNOWN &&
		    number > max && number < UINT64_MAX / 2)
			max = number;
	}
	return max;
}

/* ---------------------------------------------------------------- checking */

int files_check_foreign(const char *dir, const struct env_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		if (strncmp(names->names[i], "marker.", 7) == 0)
			return error_set(CAIRN_ENOTSUP,
					 "%s/%s: a Pebble database; its format "
					 "is not supported",
					 dir, names->names[i]);
	return CAIRN_OK;
}

/* Whether a log is long enough to have batches. */
static int is_log_in_use(struct cairn_env *env, const char *dir,
			 const char *name, bool *in_use)
{
	char *path = filename_in(dir, name);
	struct env_stat st;
	int err;

	if (!path)
		return error_nomem();
	err = env_stat(env, path, &st);
	free(path);
	if (err)
		return err;
	*in_use = st.size > EMPTY_LOG_MAX;
	return CAIRN_OK;
}

int files_check_empty(struct cairn_env *env, const char *dir,
		      const struct env_names *names)
{
	for (size_t i = 0; i < names->n; i++) {
		const char *name = names->names[i];
		uint64_t number;
		enum file_kind kind = filename_parse(name, &number);
		bool in_use = kind == FILE_TABLE || kind == FILE_TABLE_LDB;

		if (kind == FILE_WAL) {
			int err = is_log_in_use(env, dir, name, &in_use);

			if (err)
				return err;
		}
		if (in_use)
			return error_set(CAIRN_ECORRUPT,
					 "%s: CURRENT is missing, but there is "
					 "%s",
					 dir, name);
	}
	return CAIRN_OK;
}

/* Whether two paths are the same but for slashes at the end. */
static bool same_dir(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);

	while (a_len > 1 && a[a_len - 1] == '/')
		a_len--;
	while (b_len > 1 && b[b_len - 1] == '/')
		b_len--;
	return slice_eq(slice_of(a, a_len), slice_of(b, b_len));
}

static int check_options(const char *dir, const char *path,
			 const struct options_file *o)
{
	if (o->foreign)
		return CAIRN_OK;
	if (o->comparator && strcmp(o->comparator, COMPARATOR) != 0)
		return error_set(CAIRN_ENOTSUP,
				 "%s: comparator %s is not supported", path,
				 o->comparator);
	if (o->wal_dir && *o->wal_dir && !same_dir(o->wal_dir, dir))
		return error_set(CAIRN_ENOTSUP,
				 "%s: logs in another directory (wal_dir %s) "
				 "are not supported",
				 path, o->wal_dir);
	return CAIRN_OK;
}

int files_read_options(struct cairn_env *env, const char *dir,
		       const struct env_names *names, struct options_file *out)
{
	uint64_t number = max_of_kind(names, FILE_OPTIONS);
	struct options_file o = { 0 };
	struct buf text = { 0 };
	char *path;
	int err;

	if (!number)
		return CAIRN_OK;
	path = filename_options(dir, number);
	if (!path)
		return error_nomem();
	err = env_read_file(env, path, OPTIONS_LEN_MAX, &text);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EIO, "%s: it was there a moment ago",
				path);
	/* RocksDB does not sync it: a power cut may have emptied it. */
	if (!err && text.len)
		err = options_file_parse(buf_slice(&text), path, &o);
	if (!err && text.len)
		err = check_options(dir, path, &o);
	if (err)
		options_file_fini(&o);
	else
		*out = o;
	buf_fini(&text);
	free(path);
	return err;
}

/* -------------------------------------------------------------------- logs */

static int by_value(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

int files_logs(const struct env_names *names, uint64_t least, uint64_t extra,
	       uint64_t **out, size_t *n)
{
	uint64_t *numbers = calloc(names->n + 1, sizeof(*numbers));
	size_t found = 0;
	uint64_t number;

	if (!numbers)
		return error_nomem();
	for (size_t i = 0; i < names->n; i++)
		if (filename_parse(names->names[i], &number) == FILE_WAL &&
		    (number >= least || (extra && number == extra)))
			numbers[found++] = number;
	qsort(numbers, found, sizeof(*numbers), by_value);
	*out = numbers;
	*n = found;
	return CAIRN_OK;
}

/* ----------------------------------------------------------------- writing */

/* Whether the newest OPTIONS says the same already. */
static int is_written(struct cairn_db *db, const struct env_names *names,
		      struct cairn_slice text, bool *same)
{
	uint64_t number = max_of_kind(names, FILE_OPTIONS);
	struct buf old = { 0 };
	char *path;
	int err;

	*same = false;
	if (!number)
		return CAIRN_OK;
	path = filename_options(db->dir, number);
	if (!path)
		return error_nomem();
	err = env_read_file(db->env, path, OPTIONS_LEN_MAX, &old);
	if (!err)
		*same = slice_eq(buf_slice(&old), text);
	buf_fini(&old);
	free(path);
	return err < 0 ? err : CAIRN_OK;
}

/* Write path anew; takes it over. */
static int write_file(struct cairn_env *env, const char *dir, char *path,
		      uint64_t tmp_number, struct cairn_slice text)
{
	char *tmp = filename_temp(dir, tmp_number);
	int err;

	if (path && tmp)
		err = env_replace_file(env, dir, tmp, path, text);
	else
		err = error_nomem();
	free(tmp);
	free(path);
	return err;
}

int files_write_options(struct cairn_db *db, const struct env_names *names,
			uint64_t number, bool *written)
{
	struct buf text = { 0 };
	bool same = false;
	int err;

	err = options_to_file(&db->opts, &text);
	if (!err)
		err = is_written(db, names, buf_slice(&text), &same);
	if (!err && !same)
		err = write_file(db->env, db->dir,
				 filename_options(db->dir, number), number,
				 buf_slice(&text));
	buf_fini(&text);
	*written = !err && !same;
	return err;
}

/* A random UUID (RFC 4122, version 4). */
static int make_uuid(char out[UUID_LEN + 1])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return error_set(CAIRN_EIO, "the system gives no random bytes");
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(out, UUID_LEN + 1,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x%02x%02x%02x%02x",
		 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
		 b[10], b[11], b[12], b[13], b[14], b[15]);
	return CAIRN_OK;
}

int files_new_identity(struct cairn_env *env, const char *dir,
		       uint64_t tmp_number)
{
	char uuid[UUID_LEN + 1];
	int err = make_uuid(uuid);

	if (err)
		return err;
	return write_file(env, dir, filename_in(dir, "IDENTITY"), tmp_number,
			  slice_of(uuid, UUID_LEN));
}

int files_write_identity(struct cairn_db *db, const struct env_names *names,
			 uint64_t tmp_number)
{
	if (names_have(names, "IDENTITY"))
		return CAIRN_OK;
	return files_new_identity(db->env, db->dir, tmp_number);
}

uint64_t files_newest_options(const struct env_names *names)
{
	return max_of_kind(names, FILE_OPTIONS);
}

/* -------------------------------------------------------- ingested tables */

static int by_number(const void *a, const void *b)
{
	const struct file_meta *x = *(struct file_meta *const *)a;
	const struct file_meta *y = *(struct file_meta *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

int files_tell_seqnos(struct cairn_db *db)
{
	const struct version *v = version_set_current(db->versions);
	struct file_meta **files;
	size_t room = 1, n = 0;
	int err = CAIRN_OK;

	for (int i = 0; i < CAIRN_LEVELS; i++)
		room += v->level[i].n;
	files = calloc(room, sizeof(struct file_meta *));
	if (!files)
		return error_nomem();
	for (int i = 0; i < CAIRN_LEVELS; i++)
		for (size_t k = 0; k < v->level[i].n; k++) {
			struct file_meta *f = v->level[i].files[k];

			if (f->seqnos_known &&
			    f->smallest_seqno == f->largest_seqno)
				files[n++] = f;
		}
	/* In ascending order each goes to the end of the cache's list. */
	qsort(files, n, sizeof(struct file_meta *), by_number);
	for (size_t i = 0; i < n && !err; i++)
		err = table_cache_set_seqno(db->tables, files[i]->number,
					    files[i]->largest_seqno);
	free(files);
	return err;
}

/* ---------------------------------------------------------------- removing */

/* What the database needs. */
struct needed {
	uint64_t *tables; /* of the current version, sorted */
	size_t n_tables;
	uint64_t log; /* this one and those after it */
	uint64_t manifest;
	uint64_t options; /* as log */
};

/* All but options. */
static int needed_init(struct cairn_db *db, struct needed *out)
{
	const struct version *v;
	size_t n = 0;

	*out = (struct needed){ 0 };
	mutex_lock(&db->mu);
	v = version_set_current(db->versions);
	out->log = version_set_log_number(db->versions);
	out->manifest = version_set_manifest_number(db->versions);
	for (int i = 0; i < CAIRN_LEVELS; i++)
		n += v->level[i].n;
	out->tables = calloc(n ? n : 1, sizeof(*out->tables));
	for (int i = 0; out->tables && i < CAIRN_LEVELS; i++)
		for (size_t k = 0; k < v->level[i].n; k++)
			out->tables[out->n_tables++] =
				v->level[i].files[k]->number;
	mutex_unlock(&db->mu);
	if (!out->tables)
		return error_nomem();
	qsort(out->tables, out->n_tables, sizeof(*out->tables), by_value);
	return CAIRN_OK;
}

static bool has_table(const struct needed *o, uint64_t number)
{
	return bsearch(&number, o->tables, o->n_tables, sizeof(*o->tables),
		       by_value) != NULL;
}

static bool is_needed(const struct needed *o, enum file_kind kind,
		      uint64_t number)
{
	switch (kind) {
	case FILE_TABLE:
	case FILE_TABLE_LDB:
		return has_table(o, number);
	case FILE_WAL:
		return number >= o->log;
	case FILE_MANIFEST:
		return number == o->manifest;
	case FILE_OPTIONS:
		return number >= o->options;
	case FILE_TEMP:
		return false;
	case FILE_UNKNOWN:
	case FILE_CURRENT:
	case FILE_LOCK:
	case FILE_IDENTITY:
	case FILE_INFO_LOG:
	case FILE_BLOB:
		break;
	}
	return true;
}

/* The second highest number of OPTIONS, 0 when there are fewer. */
static uint64_t second_options(const struct env_names *names)
{
	uint64_t max = max_of_kind(names, FILE_OPTIONS);
	uint64_t second = 0;
	uint64_t number;

	for (size_t i = 0; i < names->n; i++)
		if (filename_parse(names->names[i], &number) == FILE_OPTIONS &&
		    number > second && number < max)
			second = number;
	return second;
}

static void doom(struct cairn_db *db, enum file_kind kind, const char *name,
		 uint64_t number)
{
	char *path = filename_in(db->dir, name);
	struct env_stat st;

	/* Something that only has the name of ours. */
	if (path && env_stat(db->env, path, &st) == CAIRN_OK && !st.is_dir) {
		mutex_lock(&db->mu);
		obsolete_add_named(db->obsolete, kind, name, number, st.size);
		mutex_unlock(&db->mu);
	}
	free(path);
}

/* Whether table number is there under the name that counts. */
static bool has_table_name(const struct env_names *names, uint64_t number)
{
	char name[32];

	snprintf(name, sizeof(name), "%06" PRIu64 ".sst", number);
	return names_have(names, name);
}

void files_sweep(struct cairn_db *db, const struct env_names *names,
		 bool new_options, bool upgraded)
{
	struct needed needed;

	/* Without memory the next open has another go. */
	if (needed_init(db, &needed))
		return;
	needed.options = new_options ? max_of_kind(names, FILE_OPTIONS)
				     : second_options(names);
	for (size_t i = 0; i < names->n; i++) {
		const char *name = names->names[i];
		uint64_t number;
		enum file_kind kind = filename_parse(name, &number);

		if (!is_needed(&needed, kind, number) ||
		    (kind == FILE_TABLE_LDB &&
		     (upgraded || has_table_name(names, number))))
			doom(db, kind, name, number);
	}
	free(needed.tables);
}

int files_skip_used(struct cairn_db *db, struct env_names *names)
{
	struct needed needed;
	uint64_t number;
	size_t kept = 0;
	int err = needed_init(db, &needed);

	for (size_t i = 0; !err && i < names->n; i++) {
		char *name = names->names[i];
		enum file_kind kind = filename_parse(name, &number);

		if ((kind == FILE_TABLE || kind == FILE_MANIFEST) &&
		    is_needed(&needed, kind, number))
			free(name);
		else
			names->names[kept++] = name;
	}
	if (!err)
		names->n = kept;
	free(needed.tables);
	return err;
}
