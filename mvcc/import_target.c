/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/import_target.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/env/env.h"
#include "mvcc/store.h"

#define BATCH_BYTES ((size_t)1 << 20)

#define CHUNK_SIZE_DEFAULT (64u << 10)

/* As in store.c; the entry that is the last to be written. */
#define UNFINISHED 0u

static const struct cairn_prefix_extractor prefix = {
	.name = ENC_PREFIX_NAME,
	.prefix_len = enc_prefix_len,
};

/* --------------------------------------------------------------- directory */

static bool may_be_there(const char *name)
{
	return strcmp(name, "lost+found") == 0;
}

/* CAIRN_OK: dir is there and empty; CAIRN_NOT_FOUND: it is not there. */
static int check_empty(struct cairn_env *env, const char *dir)
{
	struct env_names names;
	struct env_stat st;
	int err = env_stat(env, dir, &st);

	if (!err && !st.is_dir)
		err = error_set(CAIRN_EEXIST, "%s: is not a directory", dir);
	if (!err)
		err = env_list(env, dir, &names);
	if (err)
		return err;
	for (size_t i = 0; !err && i < names.n; i++)
		if (!may_be_there(names.names[i]))
			err = error_set(CAIRN_EEXIST,
					"%s: is not empty; an import makes a "
					"new store",
					dir);
	env_names_free(&names);
	return err;
}

/* Of what is not there, or cannot go, nothing needs to be said: the reason why
 * it should go has been. */
static void remove_files(struct import_target *t)
{
	struct env_names names;
	struct buf path = { 0 };

	if (env_list(t->env, t->dir, &names))
		return;
	for (size_t i = 0; i < names.n; i++) {
		buf_clear(&path);
		if (may_be_there(names.names[i]) ||
		    buf_printf(&path, "%s/%s", t->dir, names.names[i]) ||
		    buf_append(&path, "", 1))
			continue;
		(void)!env_unlink(t->env, (const char *)path.data);
	}
	buf_fini(&path);
	env_names_free(&names);
}

/* ------------------------------------------------------------------ opening */

static void target_fini(struct import_target *t)
{
	assert(!t->db);
	cairn_batch_free(t->batch);
	buf_fini(&t->value);
	buf_fini(&t->key);
	free(t->dir);
	memset(t, 0, sizeof(*t));
}

static int add_mark(struct import_target *t, const char *name, uint64_t n)
{
	int err = enc_mark(&t->key, name);

	if (!err)
		err = enc_number(&t->value, n);
	if (!err)
		err = cairn_batch_put(t->batch, buf_slice(&t->key),
				      buf_slice(&t->value));
	return err;
}

static int write_synced(struct import_target *t)
{
	const struct cairn_write_options sync = { .sync = true };
	int err = cairn_write(t->db, &sync, t->batch);

	cairn_batch_clear(t->batch);
	return err;
}

static int open_engine(struct import_target *t,
		       const struct cairn_options *engine)
{
	static const char *const on[] = { "create_if_missing",
					  "error_if_exists" };
	struct cairn_options *o =
		engine ? cairn_options_clone(engine) : cairn_options_new();
	int err = o ? CAIRN_OK : error_nomem();

	for (size_t i = 0; !err && i < 2; i++)
		err = cairn_options_set(o, on[i], "true");
	if (!err) {
		cairn_options_set_env(o, t->env);
		cairn_options_set_prefix_extractor(o, &prefix);
		err = cairn_open(t->dir, o, &t->db);
	}
	cairn_options_free(o);
	return err;
}

static int target_init(struct import_target *t, const char *dir,
		       const struct mvcc_import_options *opts)
{
	t->env = opts->env ? opts->env : env_posix();
	t->chunk_size =
		opts->chunk_size ? opts->chunk_size : CHUNK_SIZE_DEFAULT;
	if (t->chunk_size < ENC_CHUNK_SIZE_MIN ||
	    t->chunk_size > ENC_CHUNK_SIZE_MAX)
		return error_set(
			CAIRN_EINVAL, "chunk size %u; %u to %u are allowed",
			t->chunk_size, ENC_CHUNK_SIZE_MIN, ENC_CHUNK_SIZE_MAX);
	t->time_ns = opts->time_ns ? opts->time_ns
				   : (int64_t)env_now_us(t->env) * 1000;
	t->next_object = 1;
	t->dir = strdup(dir);
	t->batch = cairn_batch_new();
	return t->dir && t->batch ? CAIRN_OK : error_nomem();
}

/* Take back what a failed open has left, unless that is somebody else's. */
static void not_opened(struct import_target *t, int code)
{
	struct cairn_holder holder;
	struct buf lock = { 0 };
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	if (t->engine_tried && code != CAIRN_EEXIST && code != CAIRN_EBUSY &&
	    !buf_printf(&lock, "%s/LOCK", t->dir) &&
	    !buf_append(&lock, "", 1) &&
	    env_holder(t->env, (const char *)lock.data, &holder) ==
		    CAIRN_NOT_FOUND)
		remove_files(t);
	buf_fini(&lock);
	if (t->made_dir)
		(void)!env_rmdir(t->env, t->dir);
	target_fini(t);
	(void)error_set(code, "%s", why);
}

int import_target_open(struct import_target *t, const char *dir,
		       const struct mvcc_import_options *opts)
{
	int err = target_init(t, dir, opts);

	if (!err)
		err = check_empty(t->env, t->dir);
	/* The engine makes it, and until it has, what is in it is not ours. */
	if (err == CAIRN_NOT_FOUND) {
		t->made_dir = true;
		err = CAIRN_OK;
	}
	if (!err) {
		t->engine_tried = true;
		err = open_engine(t, opts->engine);
	}
	if (err) {
		not_opened(t, err);
		return err;
	}
	err = add_mark(t, "format", UNFINISHED);
	if (!err)
		err = write_synced(t);
	if (err)
		import_target_abandon(t, err);
	return err;
}

/* ------------------------------------------------------------------ writing */

int import_target_write(struct import_target *t)
{
	const struct cairn_write_options o = { .disable_wal = true };
	int err = CAIRN_OK;

	if (cairn_batch_count(t->batch))
		err = cairn_write(t->db, &o, t->batch);
	cairn_batch_clear(t->batch);
	return err;
}

int import_target_put(struct import_target *t, struct cairn_slice key,
		      struct cairn_slice value)
{
	int err = cairn_batch_put(t->batch, key, value);

	if (!err && cairn_batch_bytes(t->batch) >= BATCH_BYTES)
		err = import_target_write(t);
	return err;
}

/* The value of row into chunks of a new object, as a first commit of it has
 * them. */
static int put_chunks(struct import_target *t, struct mvcc_row *row)
{
	struct enc_chunk c = { .object = t->next_object++,
			       .version = row->main };
	struct cairn_slice rest = row->value;
	uint8_t key[ENC_CHUNK_KEY];
	int err = CAIRN_OK;

	for (; !err && rest.len; c.index++) {
		size_t n = rest.len < t->chunk_size ? rest.len : t->chunk_size;

		enc_chunk_key(key, &c);
		err = import_target_put(t, slice_of(key, sizeof(key)),
					slice_of(rest.data, n));
		slice_advance(&rest, n);
	}
	row->value = slice_of(NULL, 0);
	row->object = c.object;
	row->chunk_size = t->chunk_size;
	row->chunks_high = c.index;
	return err;
}

int import_target_row(struct import_target *t, struct mvcc_row *row)
{
	int err = CAIRN_OK;

	row->time_ns = t->time_ns;
	row->size = row->value.len;
	if (row->size > t->chunk_size)
		err = put_chunks(t, row);
	if (!err)
		err = enc_row_key(&t->key, row->key, row->main, row->sub);
	if (!err)
		err = enc_row_value(&t->value, row, slice_of(NULL, 0));
	if (!err)
		err = import_target_put(t, buf_slice(&t->key),
					buf_slice(&t->value));
	/* What is older has been read for the last time. */
	if (err || row->main < t->forgotten)
		return err;
	err = enc_log_key(&t->key, row->main, row->sub);
	if (!err)
		err = enc_log_value(&t->value, row->deleted, row->key);
	if (!err)
		err = import_target_put(t, buf_slice(&t->key),
					buf_slice(&t->value));
	return err;
}

/* ------------------------------------------------------------------- ending */

/* What makes a revision store of it. */
static int write_marks(struct import_target *t)
{
	int err = CAIRN_OK;

	if (t->forgotten > 0)
		err = add_mark(t, "compact", (uint64_t)t->forgotten);
	if (!err && t->next_object > 1)
		err = add_mark(t, "object", t->next_object);
	if (!err)
		err = add_mark(t, "format", MVCC_FORMAT);
	return err ? err : write_synced(t);
}

int import_target_finish(struct import_target *t)
{
	int err = import_target_write(t);

	if (!err)
		err = cairn_flush(t->db, true);
	if (!err)
		err = write_marks(t);
	if (err)
		return err;
	err = cairn_close(t->db);
	t->db = NULL;
	if (!err)
		target_fini(t);
	return err;
}

void import_target_abandon(struct import_target *t, int code)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	if (t->db)
		(void)!cairn_close(t->db);
	t->db = NULL;
	remove_files(t);
	if (t->made_dir)
		(void)!env_rmdir(t->env, t->dir);
	target_fini(t);
	(void)error_set(code, "%s", why);
}
