/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/table_check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"

int table_find(struct cairn_env *env, const char *dir, uint64_t number,
	       char **path, uint64_t *size)
{
	struct env_stat st;
	char *p = filename_table(dir, number);
	int err = p ? env_stat(env, p, &st) : error_nomem();

	if (err == CAIRN_NOT_FOUND) {
		free(p);
		p = filename_table_ldb(dir, number);
		err = p ? env_stat(env, p, &st) : error_nomem();
	}
	if (!err && st.is_dir)
		err = CAIRN_NOT_FOUND;
	if (err) {
		free(p);
		return err;
	}
	*path = p;
	*size = st.size;
	return CAIRN_OK;
}

void db_for_check(struct cairn_db *db, struct cairn_env *env, const char *dir,
		  struct version_set *versions)
{
	*db = (struct cairn_db){
		.env = env,
		.dir = (char *)(uintptr_t)dir,
		.versions = versions,
	};
}

void table_limits(const struct file_meta *meta, struct walk_limits *out)
{
	*out = (struct walk_limits){ 0 };
	if (!meta)
		return;
	out->known = true;
	out->smallest = meta->smallest_key;
	out->largest = meta->largest_key;
	out->seqnos_known = meta->seqnos_known;
	out->smallest_seqno = meta->smallest_seqno;
	out->largest_seqno = meta->largest_seqno;
}

int table_tell_all_lost(struct finder *f, const char *path,
			const struct file_meta *meta, const char *what)
{
	const struct cairn_slice none = { 0 };

	return finder_tell_keys(f, path,
				meta ? meta->smallest_key.user_key : none,
				meta ? meta->largest_key.user_key : none, what);
}

int table_tell_missing(struct finder *f, const char *dir,
		       const struct file_meta *meta)
{
	char *path = filename_table(dir, meta->number);
	int err = path ? error_set(CAIRN_ECORRUPT,
				   "%s: the MANIFEST names this table, but it "
				   "is not there",
				   path)
		       : error_nomem();

	err = finder_tell(f, err, path ? path : dir, NO_PLACE);
	if (!err)
		err = table_tell_all_lost(f, path, meta, "is missing");
	free(path);
	return err;
}

struct check {
	struct finder *f;
	const char *path;
	struct table_walk *walk;
};

static int on_damage(void *ctx, const struct walk_damage *d)
{
	struct check *c = ctx;

	return finder_tell(c->f, d->code, c->path,
			   d->has_place ? d->place.offset : NO_PLACE);
}

static int on_lost(void *ctx, const struct walk_span *s)
{
	struct check *c = ctx;

	return finder_tell_lost(c->f, c->path, s, table_walk_blocks(c->walk));
}

static int on_block(void *ctx, const struct walk_block *b)
{
	const struct check *c = ctx;

	(void)b;
	return finder_poll(c->f);
}

/* The file is not as long as the MANIFEST says. */
static int check_size(struct check *c, uint64_t size,
		      const struct file_meta *meta, struct walk_result *r)
{
	int err;

	if (!meta || meta->size == size)
		return CAIRN_OK;
	r->damages++;
	err = error_set(CAIRN_ECORRUPT,
			"%s: %" PRIu64 " bytes long, %" PRIu64
			" by the MANIFEST",
			c->path, size, meta->size);
	return finder_tell(c->f, err, c->path, NO_PLACE);
}

int table_check(struct cairn_env *env, const char *path, uint64_t size,
		const struct file_meta *meta, struct finder *f,
		struct walk_result *r, struct table_walk **walk)
{
	struct check c = { .f = f, .path = path };
	const struct walk_visitor v = {
		.ctx = &c,
		.damage = on_damage,
		.lost = on_lost,
		.block = on_block,
	};
	struct walk_limits limits;
	struct rfile *file;
	int err = check_size(&c, size, meta, r);

	if (err)
		return err;
	err = env_open_read(env, path, &file);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EIO, "%s: it was there a moment ago",
				path);
	if (err) {
		r->damages++;
		err = finder_tell(f, err, path, NO_PLACE);
		return err ? err
			   : table_tell_all_lost(f, path, meta,
						 "cannot be opened");
	}
	table_limits(meta, &limits);
	err = table_walk_open(file, path, size, &limits, &c.walk);
	if (err)
		return err;
	err = table_walk_run(c.walk, &v, r);
	/* Who wants the walk will look for blocks without the index. */
	if (!err && !walk && !table_walk_index_is_whole(c.walk))
		err = table_tell_all_lost(f, path, meta,
					  "its index cannot be read");
	if (!err && walk) {
		*walk = c.walk;
		c.walk = NULL;
	}
	table_walk_close(c.walk);
	return err;
}
