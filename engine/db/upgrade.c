/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/upgrade.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/open_files.h"
#include "engine/version/filename.h"

/* What reading a table tells. */
struct contents {
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	bool any;
};

static int bad_bounds(const struct cairn_db *db, const struct file_meta *f)
{
	return error_set(CAIRN_ECORRUPT,
			 "%s/%06" PRIu64 ".ldb: its first and last key are not "
			 "those that the MANIFEST has",
			 db->dir, f->number);
}

static int read_all(const struct cairn_db *db, const struct file_meta *f,
		    struct iter *it, struct contents *out)
{
	struct contents c = { .smallest_seqno = SEQNO_MAX };

	iter_first(it);
	if (it->valid && ikey_cmp(&it->key, &f->smallest_key) != 0)
		return bad_bounds(db, f);
	while (it->valid) {
		uint64_t seqno = ikey_seqno(&it->key);

		if (seqno < c.smallest_seqno)
			c.smallest_seqno = seqno;
		if (seqno > c.largest_seqno)
			c.largest_seqno = seqno;
		c.any = true;
		iter_next(it);
	}
	if (it->status)
		return it->status;
	iter_last(it);
	if (!c.any || !it->valid || ikey_cmp(&it->key, &f->largest_key) != 0)
		return it->status ? it->status : bad_bounds(db, f);
	*out = c;
	return CAIRN_OK;
}

static int read_table(struct cairn_db *db, int level, struct file_meta *f,
		      struct version_edit *edit)
{
	struct file_meta *known = NULL;
	struct iter *it = NULL;
	struct contents c = { 0 };
	int err = table_cache_iter_new(db->tables, f->number, f->size,
				       TABLE_SCAN_BULK, &it);

	if (!err)
		err = read_all(db, f, it, &c);
	if (it)
		iter_close(it);
	if (!err)
		err = file_meta_new(f->number, f->size, f->smallest, f->largest,
				    c.smallest_seqno, c.largest_seqno, &known);
	if (!err)
		err = version_edit_delete_file(edit, level, f->number);
	if (!err)
		err = version_edit_add_file(edit, level, known);
	if (!err)
		version_set_advance_seqno(db->versions, c.largest_seqno);
	file_meta_unref(known);
	return err;
}

/*
 * Where two tables of level 0 share keys, all that is in one must be newer than
 * all that is in the other: reading stops at the first of them that has the
 * key. RocksDB's check alone lets ranges of sequence numbers overlap.
 */
static int check_level0(const struct version *v)
{
	const struct version_files *l0 = &v->level[0];

	for (size_t i = 0; i < l0->n; i++)
		for (size_t k = i + 1; k < l0->n; k++) {
			const struct file_meta *a = l0->files[i];
			const struct file_meta *b = l0->files[k];

			if (a->smallest_seqno > b->largest_seqno ||
			    file_meta_before(a, b) || file_meta_before(b, a))
				continue;
			return error_set(CAIRN_ECORRUPT,
					 "tables %06" PRIu64 " and %06" PRIu64
					 " of level 0 share keys, and neither "
					 "is newer than the other",
					 a->number, b->number);
		}
	return CAIRN_OK;
}

int upgrade_read_tables(struct cairn_db *db, struct version_edit *edit)
{
	const struct version *v = version_set_current(db->versions);
	struct version *result = NULL;
	int err = CAIRN_OK;

	for (int level = 0; !err && level < CAIRN_LEVELS; level++)
		for (size_t i = 0; !err && i < v->level[level].n; i++)
			err = read_table(db, level, v->level[level].files[i],
					 edit);
	if (err)
		return err;
	/* LevelDB's repair puts all tables into level 0 as they are. */
	err = version_apply(v, edit, &result);
	if (!err)
		err = check_level0(result);
	version_unref(result);
	if (err == CAIRN_ECORRUPT) {
		char why[512];

		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		err = error_set(CAIRN_ENOTSUP,
				"%s: cannot become RocksDB's: %s; a compaction "
				"of all keys by LevelDB helps",
				db->dir, why);
	}
	return err;
}

static int link_table(struct cairn_db *db, const struct env_names *names,
		      uint64_t number)
{
	char *from = filename_table_ldb(db->dir, number);
	char *to = filename_table(db->dir, number);
	int err;

	if (!from || !to)
		err = error_nomem();
	else if (!names_have(names, strrchr(from, '/') + 1))
		err = CAIRN_OK; /* an early LevelDB called it so itself */
	else
		err = env_link(db->env, from, to);
	/* By an attempt that did not get to its end. */
	if (err == CAIRN_EEXIST)
		err = CAIRN_OK;
	free(from);
	free(to);
	return err;
}

int upgrade_link_tables(struct cairn_db *db, const struct env_names *names)
{
	const struct version *v = version_set_current(db->versions);
	int err = CAIRN_OK;

	for (int level = 0; !err && level < CAIRN_LEVELS; level++)
		for (size_t i = 0; !err && i < v->level[level].n; i++)
			err = link_table(db, names,
					 v->level[level].files[i]->number);
	return err;
}
