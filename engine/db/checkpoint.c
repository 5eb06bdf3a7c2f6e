/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A copy of the database as it is at one moment.
 *
 * Memtables are flushed first. Then, with the log taken, the version, the
 * numbers that go with it and the lengths of the logs are written down: that
 * takes no time, and is the moment of the copy. The version keeps its tables on
 * the disk, and the deleter waits, while tables are linked and the logs copied
 * up to those lengths (a link would go on growing with the log). MANIFEST,
 * CURRENT and IDENTITY are made anew. All of it happens in a directory beside
 * the one that is asked for, which is renamed when everything is durable.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/db/commit.h"
#include "engine/db/event.h"
#include "engine/db/obsolete.h"
#include "engine/db/open_files.h"
#include "engine/db/work.h"
#include "engine/version/filename.h"

/* Names for the directory beside that may be taken. */
#define ATTEMPTS_MAX 100

struct checkpoint {
	struct cairn_db *db;
	char *dir;    /* without slashes at the end */
	char *parent; /* what it is in */
	char *tmp;    /* where it is being made; NULL: not begun */
	bool renamed; /* tmp is dir by now */

	struct version_set_image image;
	struct buf logs; /* of struct obsolete_wal */
	size_t n_tables;
	size_t n_copied; /* of those, for want of links */
};

/* -------------------------------------------------------------- the moment */

/* The logs that the image needs. mu held, and the log taken. */
static int list_logs(struct checkpoint *c)
{
	struct obsolete_wal last;
	int err = obsolete_list_wals(c->db->obsolete, &c->logs);

	commit_log_position(c->db->commit, &last.number, &last.size);
	return err ? err : buf_append(&c->logs, &last, sizeof(last));
}

/* From here on obsolete_release() is due. */
static int capture(struct checkpoint *c)
{
	struct cairn_db *db = c->db;
	int err;

	commit_lock_log(db->commit);
	mutex_lock(&db->mu);
	obsolete_hold(db->obsolete);
	work_take_image(db->work, &c->image);
	err = list_logs(c);
	mutex_unlock(&db->mu);
	commit_unlock_log(db->commit);
	return err;
}

static void let_go(struct checkpoint *c)
{
	struct cairn_db *db = c->db;

	version_set_image_fini(&c->image);
	mutex_lock(&db->mu);
	obsolete_release(db->obsolete);
	mutex_unlock(&db->mu);
}

/* --------------------------------------------------------------- the files */

static int link_or_copy(struct checkpoint *c, const char *from, const char *to,
			uint64_t size)
{
	struct cairn_env *env = c->db->env;
	int err = env_link(env, from, to);

	if (!err)
		return CAIRN_OK;
	c->n_copied++;
	return env_copy_file(env, from, to, size);
}

/* A table has the name that RocksDB, or that LevelDB gave it. */
static int add_table(struct checkpoint *c, const struct file_meta *f)
{
	char *(*const names[])(const char *, uint64_t) = { filename_table,
							   filename_table_ldb };
	int err = CAIRN_NOT_FOUND;

	for (size_t i = 0; err == CAIRN_NOT_FOUND && i < 2; i++) {
		char *from = names[i](c->db->dir, f->number);
		char *to = names[i](c->tmp, f->number);
		struct env_stat st;

		err = from && to ? env_stat(c->db->env, from, &st)
				 : error_nomem();
		if (!err)
			err = link_or_copy(c, from, to, f->size);
		free(from);
		free(to);
	}
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ECORRUPT,
				"%s/%06" PRIu64 ".sst: table is missing",
				c->db->dir, f->number);
	c->n_tables++;
	return err;
}

static int add_tables(struct checkpoint *c)
{
	const struct version *v = c->image.version;
	int err = CAIRN_OK;

	for (int i = 0; i < CAIRN_LEVELS; i++)
		for (size_t k = 0; !err && k < v->level[i].n; k++)
			err = add_table(c, v->level[i].files[k]);
	return err;
}

static int add_log(struct checkpoint *c, const struct obsolete_wal *w)
{
	char *from = filename_wal(c->db->dir, w->number);
	char *to = filename_wal(c->tmp, w->number);
	int err = from && to ? env_copy_file(c->db->env, from, to, w->size)
			     : error_nomem();

	free(from);
	free(to);
	return err;
}

static int add_logs(struct checkpoint *c)
{
	size_t n = c->logs.len / sizeof(struct obsolete_wal);
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++) {
		struct obsolete_wal w;

		memcpy(&w, c->logs.data + i * sizeof(w), sizeof(w));
		if (w.number >= c->image.log_number)
			err = add_log(c, &w);
	}
	return err;
}

/* A file as it is, under the same name; nothing when it is not there. */
static int copy_file(struct checkpoint *c, const char *name)
{
	struct cairn_env *env = c->db->env;
	char *from = filename_in(c->db->dir, name);
	char *to = filename_in(c->tmp, name);
	struct env_stat st;
	int err = from && to ? env_stat(env, from, &st) : error_nomem();

	if (!err)
		err = env_copy_file(env, from, to, st.size);
	free(from);
	free(to);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* RocksDB's options, the newest, and cairn's own. */
static int add_options(struct checkpoint *c)
{
	struct env_names names;
	uint64_t newest;
	int err = env_list(c->db->env, c->db->dir, &names);

	if (err)
		return err < 0 ? err
			       : error_set(CAIRN_EIO, "%s: is gone",
					   c->db->dir);
	newest = files_newest_options(&names);
	for (size_t i = 0; !err && i < names.n; i++) {
		uint64_t number;

		if ((filename_parse(names.names[i], &number) == FILE_OPTIONS &&
		     number == newest) ||
		    strcmp(names.names[i], "CAIRN-OPTIONS") == 0)
			err = copy_file(c, names.names[i]);
	}
	env_names_free(&names);
	return err;
}

/* Everything that makes tmp a database, durable: CURRENT comes last, and
 * writing it syncs the directory. */
static int fill(struct checkpoint *c)
{
	struct cairn_db *db = c->db;
	int err = add_tables(c);

	if (!err)
		err = add_logs(c);
	if (!err)
		err = add_options(c);
	if (!err)
		err = files_new_identity(db->env, c->tmp,
					 c->image.next_file_number);
	return err ? err : version_set_write_image(db->env, c->tmp, &c->image);
}

/* ----------------------------------------------------------- the directory */

/* CAIRN_OK: there is nothing of that name. */
static int check_absent(const struct checkpoint *c)
{
	struct env_stat st;
	int err = env_stat(c->db->env, c->dir, &st);

	if (err == CAIRN_NOT_FOUND)
		return CAIRN_OK;
	return err ? err
		   : error_set(CAIRN_EEXIST,
			       "%s: exists already; a checkpoint makes a new "
			       "directory",
			       c->dir);
}

/* A name that no other process or thread is using. */
static int make_tmp(struct checkpoint *c)
{
	uint64_t stamp = env_mono_us(c->db->env);
	int err = CAIRN_EEXIST;

	for (int i = 0; err == CAIRN_EEXIST && i < ATTEMPTS_MAX; i++) {
		char *name;

		if (asprintf(&name, "%s.tmp-%ld-%" PRIu64, c->dir,
			     (long)getpid(), stamp++) < 0)
			return error_nomem();
		err = env_mkdir(c->db->env, name);
		if (err)
			free(name);
		else
			c->tmp = name;
	}
	return err;
}

static int publish(struct checkpoint *c)
{
	struct cairn_env *env = c->db->env;
	int err = check_absent(c);

	if (!err)
		err = env_rename(env, c->tmp, c->dir);
	if (err)
		return err;
	c->renamed = true;
	return env_sync_dir(env, c->parent);
}

/* Remove what was made; the message of the failure stays. */
static void take_back(struct checkpoint *c, int code)
{
	struct cairn_env *env = c->db->env;
	const char *dir = c->renamed ? c->dir : c->tmp;
	struct env_names names;
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	if (env_list(env, dir, &names) == CAIRN_OK) {
		for (size_t i = 0; i < names.n; i++) {
			char *path = filename_in(dir, names.names[i]);

			if (path)
				(void)!env_unlink(env, path);
			free(path);
		}
		env_names_free(&names);
	}
	(void)!env_rmdir(env, dir);
	(void)error_set(code, "%s", why);
}

/* --------------------------------------------------------------- the whole */

static int checkpoint_init(struct checkpoint *c, const char *dir)
{
	size_t len = strlen(dir);

	if (!len)
		return error_set(CAIRN_EINVAL,
				 "a checkpoint needs the name of a directory");
	while (len > 1 && dir[len - 1] == '/')
		len--;
	c->dir = strndup(dir, len);
	if (!c->dir)
		return error_nomem();
	c->parent = filename_parent(c->dir);
	return c->parent ? CAIRN_OK : error_nomem();
}

static void checkpoint_fini(struct checkpoint *c)
{
	buf_fini(&c->logs);
	free(c->tmp);
	free(c->parent);
	free(c->dir);
}

static int build(struct checkpoint *c)
{
	int err = make_tmp(c);

	if (err)
		return err;
	err = capture(c);
	if (!err)
		err = fill(c);
	let_go(c);
	if (!err)
		err = publish(c);
	if (err)
		take_back(c, err);
	return err;
}

int cairn_checkpoint(struct cairn_db *db, const char *dir)
{
	struct checkpoint c = { .db = db };
	int err;

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	err = checkpoint_init(&c, dir);
	if (!err)
		err = check_absent(&c);
	if (!err)
		err = cairn_flush(db, true);
	if (!err)
		err = build(&c);
	if (!err)
		events_log(db->events,
			   "[checkpoint] %s: %zu tables, %zu of them copied",
			   c.dir, c.n_tables, c.n_copied);
	events_drain(db->events);
	checkpoint_fini(&c);
	return err;
}
