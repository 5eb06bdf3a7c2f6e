/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a name is. Of a revision store, the row cache may know the file and that
 * there is no directory, or its record; otherwise one iterator looks for both,
 * since the rows of the key are followed by those of the keys that start with
 * it.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/cursor.h"

struct lookup {
	struct mvcc *m;
	int64_t rev;      /* pinned */
	struct buf key;   /* plain: dir + name, and then '/' */
	struct cursor c;  /* made at the first need */
	struct buf below; /* encoded: what all in the directory start with */
	struct mvcc_entry e;
	struct mvcc_pinned_row file, dir_row;
};

static struct cairn_slice file_key(const struct lookup *l)
{
	return slice_of(l->key.data, l->key.len - 1);
}

static bool may_be_key(const struct mvcc *m, struct cairn_slice key)
{
	return key.len >= m->kind->key_min && key.len <= m->kind->key_max;
}

/* row, whose bytes are in l->file, unless it is a directory's record. */
static void take_file(struct lookup *l)
{
	if (l->file.row.attrs.type == MVCC_DIR) {
		mvcc_row_release(&l->file);
		return;
	}
	l->e.is_file = true;
	l->e.file = l->file.row;
}

/* The same of f, which is let go. */
static void take_found(struct lookup *l, struct found *f)
{
	if (!found_live(f)) {
		found_release(f);
		return;
	}
	l->file = (struct mvcc_pinned_row){ .row = f->row, .own = f->own };
	take_file(l);
}

/* f is the row of the directory's key, unless it is nothing; it is let go. */
static void take_record(struct lookup *l, struct found *f)
{
	l->e.is_dir = true;
	if (!f->own || f->row.attrs.type != MVCC_DIR) {
		found_release(f);
		return;
	}
	l->dir_row = (struct mvcc_pinned_row){ .row = f->row, .own = f->own };
	l->e.has_dir_row = true;
	l->e.dir_row = f->row;
}

/* c is on the first key of the directory. */
static int take_dir(struct lookup *l)
{
	struct cairn_slice record = buf_slice(&l->key);
	struct buf plain = { 0 };
	struct found f = { 0 };
	int err = cursor_key(&l->c, &plain);

	if (!err && slice_eq(buf_slice(&plain), record))
		err = cursor_copy_row(&l->c, record, &f);
	if (!err)
		take_record(l, &f);
	buf_fini(&plain);
	return err;
}

/* ------------------------------------------------------------ plain stores */

static int look_plain(struct lookup *l)
{
	struct mvcc *m = l->m;
	struct cairn_slice key = file_key(l);
	struct buf upper = { 0 };
	int err = CAIRN_NOT_FOUND;

	if (may_be_key(m, key))
		err = m->kind->get(m, key, l->rev, false, &l->file);
	if (!err)
		take_file(l);
	if (err < 0 || l->key.len > m->kind->key_max)
		return err;
	err = m->kind->encode_start(&l->below, buf_slice(&l->key));
	if (!err)
		err = buf_set(&upper, buf_slice(&l->below));
	if (!err) {
		upper.data[upper.len - 1]++; /* it ends in '/' */
		err = cursor_init(&l->c, m, l->rev, buf_slice(&l->below),
				  buf_slice(&upper));
	}
	if (!err)
		err = cursor_seek(&l->c, buf_slice(&l->below));
	if (!err)
		err = cursor_settle(&l->c, slice_of(NULL, 0));
	if (!err)
		err = take_dir(l);
	buf_fini(&upper);
	return err;
}

/* --------------------------------------------------------- revision stores */

/* Over the rows of the key and of all that start with it and up to '/'. */
static int open_cursor(struct lookup *l)
{
	struct buf *end = &l->below;
	int err = enc_start(end, file_key(l));

	/* '0' follows '/'. */
	if (!err)
		err = buf_append(end, "0", 1);
	if (!err)
		err = cursor_init(&l->c, l->m, l->rev,
				  slice_of(end->data, end->len - 1),
				  buf_slice(end));
	if (!err)
		end->data[end->len - 1] = '/';
	return err;
}

/* The row of the key, if there is one; the cursor then stands on it or behind.
 */
static int seek_row(struct lookup *l, struct found *out)
{
	bool newest = l->rev == atomic_load(&l->m->current);
	struct cairn_slice raw;
	struct buf prefix = { 0 }, seek = { 0 };
	struct enc_row row;
	int err = enc_prefix(&prefix, file_key(l));

	if (!err)
		err = cursor_seek(&l->c, buf_slice(&l->c.lower));
	if (!err)
		err = cursor_raw(&l->c, &raw);
	if (!err && slice_starts_with(raw, buf_slice(&prefix))) {
		err = enc_row_parse(raw, &row);
		if (!err && row.main > l->rev) {
			err = enc_seek(&seek, buf_slice(&prefix), l->rev);
			if (!err)
				err = cursor_seek(&l->c, buf_slice(&seek));
		}
	}
	if (err == CAIRN_NOT_FOUND)
		err = CAIRN_OK;
	if (!err)
		err = store_take_row(l->m, l->c.it, file_key(l),
				     buf_slice(&prefix), l->rev, newest, out);
	buf_fini(&seek);
	buf_fini(&prefix);
	return err;
}

/* From where the cursor stands, if anywhere. CAIRN_NOT_FOUND: no directory. */
static int seek_dir(struct lookup *l, bool stands)
{
	struct cairn_slice below = buf_slice(&l->below), raw;
	int err = stands ? cursor_raw(&l->c, &raw) : CAIRN_OK;

	if (!err && (!stands || slice_cmp(raw, below) < 0))
		err = cursor_seek(&l->c, below);
	if (!err)
		err = cursor_settle(&l->c, slice_of(NULL, 0));
	if (!err)
		return take_dir(l);
	if (err == CAIRN_NOT_FOUND)
		row_cache_none_below(&l->m->rows, file_key(l), &l->m->begun,
				     l->rev);
	return err;
}

static int look_revision(struct lookup *l)
{
	struct mvcc *m = l->m;
	struct found f = { .none = true };
	bool sought = false;
	int err = open_cursor(l);

	if (!err && may_be_key(m, file_key(l))) {
		err = store_find_cached(m, file_key(l), l->rev, &f);
		sought = err == CAIRN_NOT_FOUND;
		if (sought)
			err = seek_row(l, &f);
	}
	if (err)
		return err;
	take_found(l, &f);
	if (l->key.len > m->kind->key_max)
		return CAIRN_NOT_FOUND;
	return seek_dir(l, sought);
}

/* Whether there is a directory, by the row of its own key, if at all. */
static bool is_dir_known(struct lookup *l, int64_t rev, int *err)
{
	struct found f;

	*err = store_find_cached(l->m, buf_slice(&l->key), rev, &f);
	if (*err < 0)
		return true;
	if (*err || !found_live(&f)) {
		found_release(&f);
		return false;
	}
	take_record(l, &f);
	return true;
}

/*
 * All from memory. False when that is not possible; what is not there any more
 * is not either.
 */
static bool is_known(struct lookup *l, int64_t rev, int *err)
{
	struct mvcc *m = l->m;
	int64_t at = rev > 0 ? rev : atomic_load(&m->current);
	struct found f;

	if (!m->kind->revisions || !may_be_key(m, file_key(l)) ||
	    at < atomic_load(&m->forgotten) || at > atomic_load(&m->current))
		return false;
	*err = store_find_cached(m, file_key(l), at, &f);
	if (*err == CAIRN_NOT_FOUND)
		return false;
	if (*err)
		return true;
	if (!f.none_below && !is_dir_known(l, at, err)) {
		found_release(&f);
		return false;
	}
	take_found(l, &f);
	return true;
}

static int look(struct lookup *l, int64_t rev)
{
	int err;

	if (is_known(l, rev, &err))
		return err;
	err = store_pin(l->m, rev, &l->rev);
	if (err)
		return err;
	err = l->m->kind->revisions ? look_revision(l) : look_plain(l);
	cursor_fini(&l->c);
	mvcc_unpin(l->m, l->rev);
	return err;
}

int mvcc_lookup(struct mvcc *m, int64_t rev, struct cairn_slice dir,
		struct cairn_slice name, struct mvcc_entry *out,
		struct mvcc_pinned_row *a, struct mvcc_pinned_row *b)
{
	struct lookup l = { .m = m, .e = { .name = name } };
	int err = buf_reserve(&l.key, dir.len + name.len + 1);

	if (!err)
		err = buf_append(&l.key, dir.data, dir.len);
	if (!err)
		err = buf_append(&l.key, name.data, name.len);
	if (!err)
		err = buf_append(&l.key, "/", 1);
	if (!err)
		err = look(&l, rev);
	if (err >= 0)
		err = l.e.is_file || l.e.is_dir ? CAIRN_OK : CAIRN_NOT_FOUND;
	if (!err) {
		*out = l.e;
		*a = l.file;
		*b = l.dir_row;
	} else {
		mvcc_row_release(&l.file);
		mvcc_row_release(&l.dir_row);
	}
	buf_fini(&l.below);
	buf_fini(&l.key);
	return err;
}
