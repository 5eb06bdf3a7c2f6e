/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/ingest_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"

/* RocksDB's; tables of version 1 have no place for a sequence number. */
#define EXTERNAL_VERSION 2

void ingest_file_fini(struct ingest_file *f)
{
	buf_fini(&f->smallest);
	buf_fini(&f->largest);
	free(f->own_path);
	*f = (struct ingest_file){ 0 };
}

/* ----------------------------------------------------------------- looking */

/* at is where the file is read, which messages do not tell. */
static int open_table(struct cairn_db *db, const struct ingest_file *f,
		      const char *at, uint64_t *size, struct table **out)
{
	/* As stored, that is numbered 0, and without any cache. */
	const struct table_read_options opts = { .external = true };
	struct rfile *file;
	int err = env_open_read(db->env, at, &file);

	if (err == CAIRN_NOT_FOUND)
		return error_set(CAIRN_ENOENT, "%s: no such file", f->path);
	if (err)
		return err;
	err = rfile_size(file, size);
	if (err) {
		rfile_close(file);
		return err;
	}
	return table_open(file, f->path, 0, *size, &opts, out);
}

static int check_props(const struct ingest_file *f, const struct table_props *p)
{
	if (!p->has_external_version)
		return error_set(CAIRN_EINVAL,
				 "%s: a table of a database, not one that was "
				 "made to be ingested",
				 f->path);
	if (p->external_version != EXTERNAL_VERSION || !p->has_global_seqno)
		return error_set(CAIRN_ENOTSUP,
				 "%s: an external table of version %u, which "
				 "has no place for a sequence number",
				 f->path, p->external_version);
	if (p->global_seqno)
		return error_set(CAIRN_EINVAL,
				 "%s: has been ingested before, at sequence "
				 "number %" PRIu64
				 ", which was written into it",
				 f->path, p->global_seqno);
	if (p->family_id && p->family_id != PROPS_FAMILY_UNKNOWN)
		return error_set(CAIRN_EINVAL,
				 "%s: made for the column family %" PRIu64
				 "; there is only the default one",
				 f->path, p->family_id);
	if (!p->entries)
		return error_set(CAIRN_EINVAL, "%s: a table without entries",
				 f->path);
	return CAIRN_OK;
}

/* A key into to, which key borrows from. */
static int keep_key(const struct ingest_file *f, const struct ikey *k,
		    struct buf *to, struct ikey *key)
{
	size_t len = k->user_key.len + IKEY_TRAILER_LEN;
	int err;

	if (k->user_key.len > CAIRN_KEY_MAX)
		return error_set(CAIRN_ENOTSUP,
				 "%s: a key of %zu bytes; at most %u are "
				 "supported",
				 f->path, k->user_key.len, CAIRN_KEY_MAX);
	buf_clear(to);
	err = buf_reserve(to, len);
	if (err)
		return err;
	ikey_encode(to->data, k);
	to->len = len;
	return ikey_decode(buf_slice(to), key) ? CAIRN_OK : error_nomem();
}

/* Widen the bounds to k. */
static int take_in(struct ingest_file *f, const struct ikey *k)
{
	int err = CAIRN_OK;

	if (!f->smallest.len || ikey_cmp(k, &f->smallest_key) < 0)
		err = keep_key(f, k, &f->smallest, &f->smallest_key);
	if (!err && (!f->largest.len || ikey_cmp(k, &f->largest_key) > 0))
		err = keep_key(f, k, &f->largest, &f->largest_key);
	return err;
}

static int take_range_dels_in(struct ingest_file *f, const struct range_dels *d)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < d->n_tombs; i++) {
		const struct range_del t = range_dels_tomb(d, i);
		struct ikey k = ikey_make(t.start, t.seqno, KIND_RANGE_DELETE);

		/* Of other entries table_verify() looks at the numbers. */
		if (t.seqno)
			return error_set(CAIRN_ECORRUPT,
					 "%s: a range tombstone of an external "
					 "table is numbered",
					 f->path);
		err = take_in(f, &k);
		k = ikey_make(t.end, SEQNO_MAX, KIND_RANGE_DELETE);
		if (!err)
			err = take_in(f, &k);
	}
	return err;
}

static int take_entries_in(struct ingest_file *f, struct iter *it)
{
	int err;

	iter_first(it);
	if (!it->valid)
		return it->status;
	err = take_in(f, &it->key);
	if (err)
		return err;
	iter_last(it);
	if (!it->valid)
		return it->status ? it->status : CAIRN_OK;
	if (ikey_cmp(&it->key, &f->smallest_key) < 0)
		return error_set(CAIRN_ECORRUPT,
				 "%s: the last key is below the first",
				 f->path);
	return take_in(f, &it->key);
}

static int find_bounds(struct table *t, struct ingest_file *f)
{
	const struct range_dels *d = table_range_dels(t);
	struct iter *it;
	int err = table_iter_new(t, TABLE_SCAN_NO_FILL, &it);

	if (err)
		return err;
	buf_clear(&f->smallest);
	buf_clear(&f->largest);
	err = take_entries_in(f, it);
	iter_close(it);
	if (!err && d)
		err = take_range_dels_in(f, d);
	f->range_deletions = d ? d->n_tombs : 0;
	if (!err && !f->smallest.len)
		err = error_set(CAIRN_ECORRUPT,
				"%s: no entries, though it counts some",
				f->path);
	return err;
}

static int look_at(struct cairn_db *db, struct ingest_file *f, const char *at,
		   bool whole)
{
	const struct table_props *p;
	struct table *t;
	int err = open_table(db, f, at, &f->size, &t);

	if (err)
		return err;
	p = table_props(t);
	err = check_props(f, p);
	if (!err)
		err = find_bounds(t, f);
	if (!err && whole)
		err = table_verify(t);
	f->entries = p->entries;
	f->deletions = p->deletions;
	f->creation_time = p->creation_time;
	table_close(t);
	return err;
}

int ingest_file_look(struct cairn_db *db, struct ingest_file *f)
{
	return look_at(db, f, f->path, false);
}

int ingest_file_verify(struct cairn_db *db, struct ingest_file *f)
{
	return look_at(db, f, f->own_path, true);
}

/* ---------------------------------------------------------------- bringing */

/* A second name for the file. The one who wrote it may not have synced it. */
static int link_file(struct cairn_db *db, const struct ingest_file *f,
		     const char *to)
{
	int err = env_link(db->env, f->path, to);

	if (err)
		return err;
	err = env_sync_file(db->env, to);
	if (!err)
		return CAIRN_OK;
	if (env_unlink(db->env, to))
		return error_set(err < 0 ? err : CAIRN_EIO,
				 "%s: cannot be synced", to);
	return err < 0 ? err : error_set(CAIRN_EIO, "%s: is gone again", to);
}

static int bring_to(struct cairn_db *db, enum cairn_ingest_mode mode,
		    const struct ingest_file *f, const char *to)
{
	struct env_stat st;
	int err;

	if (mode != CAIRN_INGEST_COPY) {
		err = link_file(db, f, to);
		/* What cannot be linked may be copied, except that a taken name
		 * is a matter of the name. */
		if (!err || err == CAIRN_EEXIST)
			return err;
	}
	err = env_stat(db->env, f->path, &st);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ENOENT, "%s: no such file", f->path);
	return err ? err : env_copy_file(db->env, f->path, to, st.size);
}

int ingest_file_bring(struct cairn_db *db, enum cairn_ingest_mode mode,
		      struct ingest_file *f)
{
	int err;

	/* A number may have been used by a file that a crash left. */
	do {
		free(f->own_path);
		f->number = version_set_new_file_number(db->versions);
		f->own_path = filename_table(db->dir, f->number);
		err = f->own_path ? bring_to(db, mode, f, f->own_path)
				  : error_nomem();
	} while (err == CAIRN_EEXIST);
	if (err) {
		free(f->own_path);
		f->own_path = NULL;
	}
	return err;
}

void ingest_file_take_back(struct cairn_db *db, struct ingest_file *f)
{
	char why[1024];

	if (!f->own_path)
		return;
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	/* What cannot be removed now goes when the database is opened. */
	if (env_unlink(db->env, f->own_path))
		(void)error_set(CAIRN_EIO, "%s", why);
	free(f->own_path);
	f->own_path = NULL;
}

/* ------------------------------------------------------------ the MANIFEST */

/* The bound with seqno in place of 0; the end of a range tombstone is none of
 * an entry. */
static int number_bound(const struct ikey *key, uint64_t seqno, struct buf *out)
{
	struct ikey k = *key;
	int err = buf_reserve(out, k.user_key.len + IKEY_TRAILER_LEN);

	if (err)
		return err;
	if (ikey_seqno(&k) == 0)
		k.trailer = ikey_pack(seqno, ikey_kind(&k));
	ikey_encode(out->data, &k);
	out->len = k.user_key.len + IKEY_TRAILER_LEN;
	return CAIRN_OK;
}

int ingest_file_meta(const struct ingest_file *f, uint64_t seqno, uint64_t now,
		     struct file_meta **out)
{
	struct buf low = { 0 }, high = { 0 };
	int err = number_bound(&f->smallest_key, seqno, &low);

	if (!err)
		err = number_bound(&f->largest_key, seqno, &high);
	if (!err)
		err = file_meta_new(f->number, f->size, buf_slice(&low),
				    buf_slice(&high), seqno, seqno, out);
	if (!err) {
		struct file_meta *m = *out;

		m->creation_time = now;
		m->oldest_ancestor_time =
			f->creation_time ? f->creation_time : now;
		file_meta_set_counts(m, f->entries, f->deletions,
				     f->range_deletions);
	}
	buf_fini(&low);
	buf_fini(&high);
	return err;
}
