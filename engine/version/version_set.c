/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/version_set.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"
#include "engine/version/manifest.h"
#include "engine/wal/writer.h"

/* "MANIFEST-", digits of a 64-bit number, newline. */
#define CURRENT_LEN_MAX 64

/* A MANIFEST below this is not worth starting anew. */
#define ROLL_SIZE_MIN (1u << 20)

/* The first number for files of a new database. */
#define FIRST_FILE_NUMBER 2

struct version_set {
	/* Constant. */
	struct cairn_env *env;
	char *dir;
	uint64_t max_manifest_size;

	/* Relaxed: each is a number of its own, publishing nothing else. */
	_Atomic uint64_t next_file_number;
	_Atomic uint64_t last_seqno;
	_Atomic uint64_t log_number;
	_Atomic uint64_t manifest_number;
	_Atomic uint64_t manifest_bytes;

	/*
	 * Of the one who may log. log is NULL when there is nothing to append
	 * to: the next edit begins a new MANIFEST.
	 */
	struct log_writer *log;
	uint64_t snapshot_bytes; /* the open MANIFEST's at its start */
	uint64_t logged_seqno;   /* last seqno of the last edit */
	uint64_t prev_log_number;
	uint64_t min_log_to_keep;
	char *db_id;

	/*
	 * Guarded by the database mutex for others; who may log is the only
	 * one to change current and may read it without.
	 *
	 * Every installed version is in versions, which holds a reference, so
	 * that files of versions that readers keep are known to be live. A
	 * version with no other reference is taken out when somebody looks.
	 */
	struct version *current;
	struct list versions;
	uint64_t n_installed;
};

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void store(_Atomic uint64_t *v, uint64_t to)
{
	atomic_store_explicit(v, to, memory_order_relaxed);
}

/* Raise v to at least. */
static void raise(_Atomic uint64_t *v, uint64_t least)
{
	uint64_t now = load(v);

	while (now < least && !atomic_compare_exchange_weak_explicit(
				      v, &now, least, memory_order_relaxed,
				      memory_order_relaxed))
		;
}

void version_set_state_fini(struct version_set_state *s)
{
	for (size_t i = 0; i < s->n_other_families; i++)
		free(s->other_families[i]);
	free(s->other_families);
	free(s->db_id);
	free(s->wals);
	*s = (struct version_set_state){ 0 };
}

/* Clearing up after a failure must not replace its message. */
struct message {
	char text[1024];
};

static struct message message_save(void)
{
	struct message m;

	snprintf(m.text, sizeof(m.text), "%s", cairn_errmsg());
	return m;
}

/* What counted was synced, or is being given up: failing is no news. */
static void close_log(struct log_writer *w)
{
	struct message m = message_save();

	if (log_writer_close(w))
		error_set(CAIRN_EIO, "%s", m.text);
}

/* ---------------------------------------------------- creation, recovery */

static int set_new(const struct version_set_options *opts,
		   struct version_set **out)
{
	struct version_set *vs = calloc(1, sizeof(*vs));

	if (!vs)
		return error_nomem();
	list_init(&vs->versions);
	vs->env = opts->env;
	vs->max_manifest_size = opts->max_manifest_size;
	vs->dir = strdup(opts->dir);
	if (!vs->dir) {
		free(vs);
		return error_nomem();
	}
	*out = vs;
	return CAIRN_OK;
}

int version_set_create(const struct version_set_options *opts,
		       struct version_set **out)
{
	struct version_set *vs = NULL;
	struct version *v = NULL;
	int err;

	err = set_new(opts, &vs);
	if (err)
		return err;
	err = version_new(&v);
	if (err) {
		version_set_free(vs);
		return err;
	}
	store(&vs->next_file_number, FIRST_FILE_NUMBER);
	version_set_install(vs, v);
	*out = vs;
	return CAIRN_OK;
}

void version_set_free(struct version_set *vs)
{
	if (!vs)
		return;
	list_for_each_safe (pos, tmp, &vs->versions) {
		list_remove(pos);
		version_unref(list_entry(pos, struct version, held));
	}
	close_log(vs->log);
	free(vs->db_id);
	free(vs->dir);
	free(vs);
}

/*
 * No CURRENT. Usually there is no database, but to create one over tables
 * whose CURRENT was lost, or in a Pebble directory, would destroy them.
 */
static int check_no_database(struct cairn_env *env, const char *dir)
{
	struct env_names names;
	int err;

	err = env_list(env, dir, &names);
	if (err)
		return err;
	for (size_t i = 0; !err && i < names.n; i++) {
		const char *name = names.names[i];
		uint64_t number;
		enum file_kind kind = filename_parse(name, &number);

		if (slice_starts_with(slice_str(name),
				      slice_str("marker.manifest.")))
			err = error_set(CAIRN_ENOTSUP,
					"%s/%s: a Pebble database; its format "
					"is not supported",
					dir, name);
		else if (kind == FILE_TABLE || kind == FILE_TABLE_LDB)
			err = error_set(CAIRN_ECORRUPT,
					"%s: there are tables (%s), but no "
					"CURRENT",
					dir, name);
	}
	env_names_free(&names);
	return err ? err : CAIRN_NOT_FOUND;
}

/* The number of the MANIFEST that CURRENT names. */
static int read_current(struct cairn_env *env, const char *dir,
			uint64_t *number)
{
	struct buf text = { 0 };
	char name[CURRENT_LEN_MAX];
	char *path = filename_in(dir, "CURRENT");
	int err;

	if (!path)
		return error_nomem();
	err = env_read_file(env, path, sizeof(name), &text);
	if (err == CAIRN_NOT_FOUND)
		err = check_no_database(env, dir);
	if (err)
		goto out;
	if (text.len && text.data[text.len - 1] == '\n') {
		memcpy(name, text.data, text.len - 1);
		name[text.len - 1] = '\0';
		if (strlen(name) == text.len - 1 &&
		    filename_parse(name, number) == FILE_MANIFEST)
			goto out;
	}
	err = error_set(CAIRN_ECORRUPT,
			"%s: the %zu bytes in it are not the name of a "
			"MANIFEST",
			path, text.len);
out:
	buf_fini(&text);
	free(path);
	return err;
}

/*
 * A LevelDB directory without tables has a MANIFEST like RocksDB's. Only
 * RocksDB makes an IDENTITY.
 */
static int check_identity(struct cairn_env *env, const char *dir,
			  struct version_set_state *state, bool any_tables)
{
	struct env_stat st;
	char *path;
	int err;

	if (!state->leveldb || any_tables)
		return CAIRN_OK;
	path = filename_in(dir, "IDENTITY");
	if (!path)
		return error_nomem();
	err = env_stat(env, path, &st);
	free(path);
	if (err == CAIRN_OK)
		state->leveldb = false;
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static bool has_tables(const struct version *v)
{
	for (int level = 0; level < CAIRN_LEVELS; level++)
		if (v->level[level].n)
			return true;
	return false;
}

/* Read what CURRENT names. */
static int read_manifest(const struct version_set_options *opts,
			 struct manifest *out)
{
	struct manifest m = { 0 };
	uint64_t number;
	char *path;
	int err;

	err = read_current(opts->env, opts->dir, &number);
	if (err)
		return err;
	path = filename_manifest(opts->dir, number);
	if (!path)
		return error_nomem();
	err = manifest_read(opts->env, path, &m);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ECORRUPT,
				"%s: CURRENT names it, but it is not there",
				path);
	free(path);
	if (!err)
		err = check_identity(opts->env, opts->dir, &m.state,
				     has_tables(m.version));
	if (err) {
		manifest_fini(&m);
		return err;
	}
	m.state.manifest_number = number;
	m.state.next_file_number = m.next_file_number;
	m.state.last_seqno = m.last_seqno;
	if (m.next_file_number <= number)
		m.next_file_number = number + 1;
	*out = m;
	return CAIRN_OK;
}

int version_set_recover(const struct version_set_options *opts,
			struct version_set **out,
			struct version_set_state *state)
{
	struct version_set *vs = NULL;
	struct manifest m;
	int err;

	err = read_manifest(opts, &m);
	if (err)
		return err;
	err = set_new(opts, &vs);
	if (err)
		goto out;
	if (m.state.db_id) {
		vs->db_id = strdup(m.state.db_id);
		if (!vs->db_id) {
			err = error_nomem();
			goto out;
		}
	}
	store(&vs->next_file_number, m.next_file_number);
	store(&vs->last_seqno, m.last_seqno);
	store(&vs->log_number, m.state.log_number);
	store(&vs->manifest_number, m.state.manifest_number);
	store(&vs->manifest_bytes, m.bytes);
	vs->logged_seqno = m.last_seqno;
	vs->prev_log_number = m.state.prev_log_number;
	vs->min_log_to_keep = m.state.min_log_to_keep;
	version_set_install(vs, m.version);
	m.version = NULL;

	*state = m.state;
	m.state = (struct version_set_state){ 0 };
	*out = vs;
	vs = NULL;
out:
	version_set_free(vs);
	manifest_fini(&m);
	return err;
}

/* ----------------------------------------------------------- file checks */

static int check_file(struct version_set *vs, const struct file_meta *f)
{
	char *path = filename_table(vs->dir, f->number);
	char *ldb = filename_table_ldb(vs->dir, f->number);
	const char *found = path;
	struct env_stat st;
	int err;

	if (!path || !ldb) {
		err = error_nomem();
		goto out;
	}
	err = env_stat(vs->env, path, &st);
	if (err == CAIRN_NOT_FOUND) {
		err = env_stat(vs->env, ldb, &st);
		if (!err)
			found = ldb;
	}
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ECORRUPT,
				"%s: the MANIFEST names this table, but it is "
				"not there",
				path);
	else if (!err && (st.is_dir || st.size != f->size))
		err = error_set(CAIRN_ECORRUPT,
				"%s: %" PRIu64 " bytes long, %" PRIu64
				" by the MANIFEST",
				found, st.size, f->size);
out:
	free(path);
	free(ldb);
	return err;
}

int version_set_check_files(struct version_set *vs)
{
	const struct version *v = vs->current;

	for (int level = 0; level < CAIRN_LEVELS; level++) {
		for (size_t i = 0; i < v->level[level].n; i++) {
			int err = check_file(vs, v->level[level].files[i]);

			if (err)
				return err;
		}
	}
	return CAIRN_OK;
}

/* --------------------------------------------------------------- logging */

/* The scalar fields of the MANIFEST as they are once an edit is durable. */
struct numbers {
	uint64_t log_number;
	uint64_t prev_log_number;
	uint64_t min_log_to_keep;
	uint64_t last_seqno;
};

static struct numbers numbers_after(const struct version_set *vs,
				    const struct version_edit *edit)
{
	struct numbers n = {
		.log_number = load(&vs->log_number),
		.prev_log_number = vs->prev_log_number,
		.min_log_to_keep = vs->min_log_to_keep,
		.last_seqno = load(&vs->last_seqno),
	};

	if (n.last_seqno < vs->logged_seqno)
		n.last_seqno = vs->logged_seqno;
	if (!edit)
		return n;
	if (edit->has_log_number) {
		assert(edit->log_number >= n.log_number);
		n.log_number = edit->log_number;
		/* Whoever moves on has also replayed LevelDB's second WAL. */
		n.prev_log_number = 0;
	}
	if (edit->has_prev_log_number)
		n.prev_log_number = edit->prev_log_number;
	if (edit->has_min_log_to_keep &&
	    edit->min_log_to_keep > n.min_log_to_keep)
		n.min_log_to_keep = edit->min_log_to_keep;
	if (edit->has_last_seqno && edit->last_seqno > n.last_seqno)
		n.last_seqno = edit->last_seqno;
	/* Stock readers do not see entries above the last seqno. */
	for (size_t i = 0; i < edit->n_added; i++)
		if (edit->added[i].meta->largest_seqno > n.last_seqno)
			n.last_seqno = edit->added[i].meta->largest_seqno;
	return n;
}

static void numbers_commit(struct version_set *vs, const struct numbers *n)
{
	store(&vs->log_number, n->log_number);
	vs->prev_log_number = n->prev_log_number;
	vs->min_log_to_keep = n->min_log_to_keep;
	vs->logged_seqno = n->last_seqno;
}

static void fill_numbers(const struct numbers *n, uint64_t next_file_number,
			 struct version_edit *edit)
{
	edit->has_next_file_number = true;
	edit->next_file_number = next_file_number;
	edit->has_last_seqno = true;
	edit->last_seqno = n->last_seqno;
	if (edit->has_log_number) {
		edit->has_prev_log_number = true;
		edit->prev_log_number = n->prev_log_number;
	}
}

static int add_edit(struct log_writer *w, const struct version_edit *edit)
{
	struct buf record = { 0 };
	int err = version_edit_encode(edit, &record);

	if (!err)
		err = log_writer_add(w, buf_slice(&record));
	buf_fini(&record);
	return err;
}

/* As RocksDB does: who orders the keys first, then all files. */
static int add_snapshot(struct log_writer *w, const struct version *v,
			const struct numbers *n, uint64_t next_file_number,
			char *db_id)
{
	char comparator[] = MANIFEST_COMPARATOR;
	struct version_edit head = {
		.has_comparator = true,
		.comparator = comparator,
		.db_id = db_id,
	};
	struct version_edit files = {
		.has_log_number = true,
		.log_number = n->log_number,
		.has_min_log_to_keep = n->min_log_to_keep != 0,
		.min_log_to_keep = n->min_log_to_keep,
	};
	int err;

	/* head only borrows its strings: it must not be finished. */
	err = add_edit(w, &head);
	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; !err && i < v->level[level].n; i++)
			err = version_edit_add_file(&files, level,
						    v->level[level].files[i]);
	fill_numbers(n, next_file_number, &files);
	if (!err)
		err = add_edit(w, &files);
	version_edit_fini(&files);
	return err;
}

/* Nothing names the file; if it stays it goes with other obsolete ones. */
static void remove_manifest(struct version_set *vs, const char *path)
{
	struct message m = message_save();

	if (env_unlink(vs->env, path))
		error_set(CAIRN_EIO, "%s", m.text);
}

/*
 * A file with a number of its own. A crash can leave a MANIFEST that nothing
 * names; its number is then passed over.
 */
static int create_manifest(struct version_set *vs, uint64_t *number,
			   char **path, struct log_writer **out)
{
	struct wfile *f = NULL;
	char *name;
	int err;

	do {
		*number = version_set_new_file_number(vs);
		name = filename_manifest(vs->dir, *number);
		if (!name)
			return error_nomem();
		err = env_open_write(vs->env, name, &f);
		if (err)
			free(name);
	} while (err == CAIRN_EEXIST);
	if (err)
		return err;
	err = log_writer_new(f, out);
	if (err) {
		if (wfile_close(f)) {
			/* It is empty. */
		}
		remove_manifest(vs, name);
		free(name);
		return err;
	}
	*path = name;
	return CAIRN_OK;
}

/* Point CURRENT to the MANIFEST. */
static int set_current(struct cairn_env *env, const char *dir, uint64_t number)
{
	char *current = filename_in(dir, "CURRENT");
	char *tmp = filename_temp(dir, number);
	struct buf text = { 0 };
	int err;

	err = current && tmp ? CAIRN_OK : error_nomem();
	if (!err)
		err = buf_printf(&text, "MANIFEST-%06" PRIu64 "\n", number);
	if (!err)
		err = env_replace_file(env, dir, tmp, current,
				       buf_slice(&text));
	buf_fini(&text);
	free(current);
	free(tmp);
	return err;
}

/* A file that holds v, durable, its name included. */
static int write_manifest(struct version_set *vs, const struct version *v,
			  const struct numbers *n, uint64_t *number,
			  struct log_writer **out)
{
	struct log_writer *w = NULL;
	char *path = NULL;
	int err;

	err = create_manifest(vs, number, &path, &w);
	if (err)
		return err;
	err = add_snapshot(w, v, n, load(&vs->next_file_number), vs->db_id);
	if (!err)
		err = log_writer_flush(w);
	if (!err)
		err = log_writer_sync(w);
	if (!err)
		err = env_sync_dir(vs->env, vs->dir);
	if (!err) {
		*out = w;
		w = NULL;
	}
	close_log(w);
	if (err)
		remove_manifest(vs, path);
	free(path);
	return err;
}

/* What edit makes of the current version; edit NULL: the same. */
static int next_version(struct version_set *vs, const struct version_edit *edit,
			struct version **out)
{
	if (edit)
		return version_apply(vs->current, edit, out);
	*out = version_ref(vs->current);
	return CAIRN_OK;
}

int version_set_new_manifest(struct version_set *vs, struct version_edit *edit,
			     struct version **out)
{
	struct numbers n = numbers_after(vs, edit);
	struct version *v = NULL;
	struct log_writer *w = NULL;
	uint64_t number;
	int err;

	err = next_version(vs, edit, &v);
	if (!err)
		err = write_manifest(vs, v, &n, &number, &w);
	if (!err) {
		/*
		 * When this fails CURRENT may name either file. Both are good,
		 * and both are kept.
		 */
		err = set_current(vs->env, vs->dir, number);
	}
	if (err) {
		close_log(w);
		version_unref(v);
		return err;
	}
	if (edit)
		fill_numbers(&n, load(&vs->next_file_number), edit);
	close_log(vs->log);
	vs->log = w;
	vs->snapshot_bytes = log_writer_size(w);
	store(&vs->manifest_number, number);
	store(&vs->manifest_bytes, vs->snapshot_bytes);
	numbers_commit(vs, &n);
	if (out)
		*out = v;
	else
		version_unref(v);
	return CAIRN_OK;
}

/*
 * Whether the MANIFEST is long enough to start anew: beyond the limit, or
 * mostly history. One that is little more than a snapshot is left alone, or
 * every edit of a large database would write all of it.
 */
static bool is_full(const struct version_set *vs)
{
	uint64_t limit = 4 * vs->snapshot_bytes;

	if (limit < ROLL_SIZE_MIN)
		limit = ROLL_SIZE_MIN;
	if (limit > vs->max_manifest_size)
		limit = vs->max_manifest_size;
	if (limit < 2 * vs->snapshot_bytes)
		limit = 2 * vs->snapshot_bytes;
	return log_writer_size(vs->log) >= limit;
}

static int append_edit(struct version_set *vs, const struct version_edit *edit)
{
	int err = add_edit(vs->log, edit);

	if (!err)
		err = log_writer_flush(vs->log);
	if (!err)
		err = log_writer_sync(vs->log);
	return err;
}

int version_set_log(struct version_set *vs, struct version_edit *edit,
		    struct version **out)
{
	struct numbers n;
	struct version *v;
	int err;

	if (!vs->log || is_full(vs))
		return version_set_new_manifest(vs, edit, out);
	err = version_apply(vs->current, edit, &v);
	if (err)
		return err;
	n = numbers_after(vs, edit);
	fill_numbers(&n, load(&vs->next_file_number), edit);
	err = append_edit(vs, edit);
	if (err) {
		/* How the file ends now is anybody's guess. */
		close_log(vs->log);
		vs->log = NULL;
		version_unref(v);
		return err;
	}
	store(&vs->manifest_bytes, log_writer_size(vs->log));
	numbers_commit(vs, &n);
	*out = v;
	return CAIRN_OK;
}

/* --------------------------------------------------------- elsewhere */

void version_set_take_image(struct version_set *vs,
			    struct version_set_image *out)
{
	const struct numbers n = numbers_after(vs, NULL);

	/* LevelDB's second WAL goes with the first edit after opening. */
	assert(!n.prev_log_number);
	*out = (struct version_set_image){
		.version = version_ref(vs->current),
		.log_number = n.log_number,
		.last_seqno = n.last_seqno,
		.next_file_number = load(&vs->next_file_number),
	};
}

void version_set_image_fini(struct version_set_image *image)
{
	version_unref(image->version);
	image->version = NULL;
}

static int write_image(struct wfile *f, const struct version_set_image *image)
{
	const struct numbers n = {
		.log_number = image->log_number,
		.last_seqno = image->last_seqno,
	};
	struct log_writer *w;
	int err = log_writer_new(f, &w);

	if (err) {
		(void)!wfile_close(f);
		return err;
	}
	/* The MANIFEST itself has the number that was next. */
	err = add_snapshot(w, image->version, &n, image->next_file_number + 1,
			   NULL);
	if (!err)
		err = log_writer_flush(w);
	if (!err)
		err = log_writer_sync(w);
	if (err)
		close_log(w);
	else
		err = log_writer_close(w);
	return err;
}

int version_set_write_image(struct cairn_env *env, const char *dir,
			    const struct version_set_image *image)
{
	char *path = filename_manifest(dir, image->next_file_number);
	struct wfile *f;
	int err = path ? env_open_write(env, path, &f) : error_nomem();

	if (!err)
		err = write_image(f, image);
	free(path);
	/* Makes the MANIFEST's name durable, too. */
	return err ? err : set_current(env, dir, image->next_file_number);
}

/* -------------------------------------------------------------- versions */

/* Let go of versions that only this list still knows. */
static void sweep(struct version_set *vs)
{
	list_for_each_safe (pos, tmp, &vs->versions) {
		struct version *v = list_entry(pos, struct version, held);

		/*
		 * Nobody can take a new reference on an old version without
		 * having one. Acquire pairs with the release of the last
		 * reader's version_unref().
		 */
		if (v == vs->current ||
		    atomic_load_explicit(&v->refs, memory_order_acquire) > 1)
			continue;
		list_remove(pos);
		version_unref(v);
	}
}

void version_set_install(struct version_set *vs, struct version *v)
{
	/* A new MANIFEST without an edit returns the current one. */
	if (v == vs->current) {
		version_unref(v);
		return;
	}
	v->number = ++vs->n_installed;
	list_add_tail(&vs->versions, &v->held);
	vs->current = v;
	sweep(vs);
}

struct version *version_set_current(struct version_set *vs)
{
	return vs->current;
}

void version_set_live_files(struct version_set *vs,
			    void (*fn)(void *ctx, const struct file_meta *f),
			    void *ctx)
{
	sweep(vs);
	list_for_each (pos, &vs->versions) {
		const struct version *v = list_entry(pos, struct version, held);

		for (int level = 0; level < CAIRN_LEVELS; level++)
			for (size_t i = 0; i < v->level[level].n; i++)
				fn(ctx, v->level[level].files[i]);
	}
}

/* --------------------------------------------------------------- numbers */

uint64_t version_set_new_file_number(struct version_set *vs)
{
	return atomic_fetch_add_explicit(&vs->next_file_number, 1,
					 memory_order_relaxed);
}

uint64_t version_set_next_file_number(const struct version_set *vs)
{
	return load(&vs->next_file_number);
}

void version_set_mark_used(struct version_set *vs, uint64_t number)
{
	raise(&vs->next_file_number, number + 1);
}

uint64_t version_set_last_seqno(const struct version_set *vs)
{
	return load(&vs->last_seqno);
}

void version_set_advance_seqno(struct version_set *vs, uint64_t seqno)
{
	raise(&vs->last_seqno, seqno);
}

uint64_t version_set_log_number(const struct version_set *vs)
{
	return load(&vs->log_number);
}

uint64_t version_set_manifest_number(const struct version_set *vs)
{
	return load(&vs->manifest_number);
}

uint64_t version_set_manifest_bytes(const struct version_set *vs)
{
	return load(&vs->manifest_bytes);
}
