/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/revdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/mount/pins.h"
#include "fs/text/errmap.h"
#include "fs/text/timetext.h"

static bool is(struct cairn_slice s, const char *text)
{
	return slice_eq(s, slice_str(text));
}

bool revdir_parse_rev(struct cairn_slice s, int64_t *rev)
{
	int64_t n = 0;

	if (s.len == 0 || s.data[0] == '0')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9' ||
		    n > (INT64_MAX - 9) / 10)
			return false;
		n = n * 10 + (s.data[i] - '0');
	}
	*rev = n;
	return true;
}

/* ----------------------------------------------------------------- lookup */

bool revdir_is_reserved(struct cairn_slice name)
{
	return is(name, "latest") || is(name, "oldest") || is(name, "at");
}

/* Of revs/ itself, or of revs/at/. */
static bool is_at(const struct inode *i)
{
	return i->kind == INODE_REVS && i->id.len;
}

/* The revision that was current at a time in words. */
static int rev_of_time(struct tree *t, struct cairn_slice text, int64_t *rev)
{
	struct timespec now;
	int64_t ns;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!timetext_moment(
		    text, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, &ns))
		return CAIRN_NOT_FOUND;
	return mvcc_rev_at(t->m, ns, rev);
}

/* Below revs/at/. */
static int lookup_time(struct tree *t, struct cairn_slice name,
		       struct inode **out)
{
	struct inode_id id = { .kind = INODE_REV_LINK };
	struct buf path = { 0 };
	int64_t rev;
	int err = rev_of_time(t, name, &rev);

	if (!err)
		err = buf_append(&path, "at/", 3);
	if (!err)
		err = buf_append(&path, name.data, name.len);
	id.id = buf_slice(&path);
	if (!err)
		err = inode_get(t->inodes, &id, out);
	buf_fini(&path);
	/* What is forgotten is not there. */
	return err == CAIRN_EFORGOTTEN ? ENOENT : errmap_errno(err);
}

/* Whether rev can be read: one that is pinned even when it is forgotten. */
static bool is_readable(struct tree *t, int64_t rev)
{
	if (rev > mvcc_current(t->m))
		return false;
	return rev >= mvcc_oldest(t->m) || pins_has(t->pins, rev);
}

static int lookup_rev(struct tree *t, struct cairn_slice name,
		      struct inode **out)
{
	struct inode_id id = { .kind = INODE_REV_LINK };
	int64_t rev;

	if (is(name, "at")) {
		id.kind = INODE_REVS;
		id.id = name;
	} else if (revdir_is_reserved(name) || pins_find(t->pins, name)) {
		id.id = name;
	} else if (revdir_parse_rev(name, &rev) && is_readable(t, rev)) {
		id.kind = INODE_DIR;
		id.rev = rev;
		id.id = slice_str("");
	} else {
		return ENOENT;
	}
	return errmap_errno(inode_get(t->inodes, &id, out));
}

int revdir_names(struct tree *t, struct inode *i, struct buf *out)
{
	static const char *const links[] = { "latest", "oldest" };
	int err = CAIRN_OK;

	/* Any time is there. */
	if (is_at(i))
		return 0;
	for (size_t n = 0; n < 2 && !err; n++)
		err = buf_append_lp(out, slice_str(links[n]));
	return err ? errmap_errno(err) : pins_list(t->pins, out);
}

/* Whether the key has any version at all. */
static int has_history(struct tree *t, struct cairn_slice key)
{
	struct mvcc_history *h;
	struct mvcc_row row;
	int err = mvcc_history_new(t->m, key, &h);

	if (err)
		return err;
	err = mvcc_history_next(h, &row);
	mvcc_history_free(h);
	return err;
}

static int lookup_history(struct tree *t, struct inode *dir,
			  struct cairn_slice name, struct inode **out)
{
	struct inode_id id = { .kind = INODE_HIST_DIR };
	struct buf key = { 0 };
	struct name_bytes b;
	enum name_kind kind =
		name_decode(name, tree_flat_top(t, dir->id.len), &b);
	size_t dir_len = dir->dir_len; /* ids of history/ never change */
	int err;

	if (kind == NAME_BAD || kind == NAME_VALUE)
		return ENOENT;
	err = buf_append(&key, dir->id.data, dir->id.len);
	if (!err)
		err = buf_append(&key, b.bytes, b.len);
	if (!err && key.len > MVCC_KEY_MAX)
		err = CAIRN_NOT_FOUND;
	if (!err && kind != NAME_CUT &&
	    !name_is_cut_at(slice_of(key.data + dir_len, key.len - dir_len),
			    tree_flat_top(t, dir_len), dir->id.len - dir_len))
		err = CAIRN_NOT_FOUND;
	id.dir_len = dir_len;
	if (!err && kind == NAME_PART) {
		err = buf_append(&key, "/", 1);
		id.dir_len = key.len;
	} else if (!err && kind == NAME_HISTORY) {
		id.kind = INODE_HIST_KEY;
		id.dir_len = 0;
		err = key.len ? has_history(t, buf_slice(&key))
			      : CAIRN_NOT_FOUND;
	}
	id.id = buf_slice(&key);
	if (!err)
		err = inode_get(t->inodes, &id, out);
	buf_fini(&key);
	return errmap_errno(err);
}

/*
 * The row that the key got at rev exactly. A version from before the oldest
 * revision is still there when it is what the oldest one shows.
 */
static int version_row(struct tree *t, struct cairn_slice key, int64_t rev,
		       struct rowref **out)
{
	int64_t oldest = mvcc_oldest(t->m);
	struct rowref *r;
	int err = rowref_get(t->m, key, rev > oldest ? rev : oldest, &r);

	if (err)
		return err;
	if (r->r.row.main != rev) {
		rowref_unref(r);
		return CAIRN_NOT_FOUND;
	}
	*out = r;
	return CAIRN_OK;
}

static int has_deletion(struct tree *t, struct cairn_slice key, int64_t rev)
{
	struct mvcc_history *h;
	struct mvcc_row row;
	int err = mvcc_history_new(t->m, key, &h);

	if (err)
		return err;
	do
		err = mvcc_history_next(h, &row);
	while (!err && (row.main != rev || !row.deleted));
	mvcc_history_free(h);
	return err;
}

static int lookup_version(struct tree *t, struct inode *dir,
			  struct cairn_slice name, struct inode **out)
{
	static const char deleted[] = ".deleted";
	size_t suffix = sizeof(deleted) - 1;
	struct inode_id id = { .kind = INODE_HIST_LINK, .id = dir->id };
	struct rowref *r;
	int err = CAIRN_OK;

	if (is(name, "latest"))
		return errmap_errno(inode_get(t->inodes, &id, out));
	id.kind = INODE_HIST_FILE;
	if (name.len > suffix &&
	    memcmp(name.data + name.len - suffix, deleted, suffix) == 0) {
		id.kind = INODE_HIST_DELETED;
		name.len -= suffix;
	}
	if (!revdir_parse_rev(name, &id.rev))
		return ENOENT;
	if (id.kind == INODE_HIST_DELETED) {
		err = has_deletion(t, dir->id, id.rev);
	} else {
		err = version_row(t, dir->id, id.rev, &r);
		if (!err)
			rowref_unref(r);
	}
	if (!err)
		err = inode_get(t->inodes, &id, out);
	return errmap_errno(err);
}

int revdir_lookup(struct tree *t, struct inode *dir, struct cairn_slice name,
		  struct inode **out)
{
	/* The names of keys in history/ have "%@" more. */
	if (name.len > NAME_LEN_MAX + 2 ||
	    (name.len > NAME_LEN_MAX && dir->kind != INODE_HIST_DIR))
		return ENAMETOOLONG;
	if (dir->kind == INODE_REVS)
		return is_at(dir) ? lookup_time(t, name, out)
				  : lookup_rev(t, name, out);
	if (dir->kind == INODE_HIST_DIR)
		return lookup_history(t, dir, name, out);
	return lookup_version(t, dir, name, out);
}

/* ------------------------------------------------------------ attributes */

int revdir_row(struct tree *t, struct inode *i, struct rowref **out)
{
	return errmap_errno(version_row(t, i->id, i->rev, out));
}

/* "4711" or, when the key is deleted, "4712.deleted". */
static int latest_version(struct tree *t, struct cairn_slice key,
			  struct buf *out)
{
	struct mvcc_pinned_row row = { 0 };
	struct mvcc_history *h;
	struct mvcc_row last;
	int64_t rev = 0;
	int err = mvcc_get(t->m, key, 0, &row);

	if (!err)
		err = buf_printf(out, "%lld", (long long)row.row.main);
	mvcc_row_release(&row);
	if (err != CAIRN_NOT_FOUND)
		return err;
	err = mvcc_history_new(t->m, key, &h);
	if (err)
		return err;
	while (!(err = mvcc_history_next(h, &last)))
		rev = last.main;
	mvcc_history_free(h);
	if (err != CAIRN_NOT_FOUND || !rev)
		return err;
	return buf_printf(out, "%lld.deleted", (long long)rev);
}

/* What a link of revs/ leads to, or 0. */
static int link_rev(struct tree *t, struct cairn_slice id, int64_t *rev)
{
	int err = CAIRN_OK;

	if (is(id, "latest"))
		*rev = mvcc_current(t->m);
	else if (is(id, "oldest"))
		*rev = mvcc_oldest(t->m);
	else if (slice_starts_with(id, slice_str("at/")))
		err = rev_of_time(t, slice_of(id.data + 3, id.len - 3), rev);
	else
		*rev = pins_find(t->pins, id);
	return !err && !*rev ? CAIRN_NOT_FOUND : err;
}

int revdir_readlink(struct tree *t, struct inode *i, struct buf *out)
{
	bool at = slice_starts_with(i->id, slice_str("at/"));
	int64_t rev = 0;
	int err;

	if (i->kind == INODE_HIST_LINK)
		return errmap_errno(latest_version(t, i->id, out));
	err = link_rev(t, i->id, &rev);
	if (err)
		return err == CAIRN_EFORGOTTEN ? ENOENT : errmap_errno(err);
	return errmap_errno(
		buf_printf(out, "%s%lld", at ? "../" : "", (long long)rev));
}

int revdir_getattr(struct tree *t, struct inode *i, struct stat *st)
{
	struct keyfile_stat ks = tree_plain_dir(t);
	struct buf target = { 0 };
	struct rowref *r;
	int err = 0;

	switch (i->kind) {
	case INODE_HIST_FILE:
		err = revdir_row(t, i, &r);
		if (!err) {
			keyfile_stat_of_row(&r->r.row, &ks);
			rowref_unref(r);
		}
		break;
	case INODE_HIST_DELETED:
		ks.type = MVCC_FILE;
		break;
	case INODE_HIST_LINK:
	case INODE_REV_LINK:
		ks.type = MVCC_SYMLINK;
		err = revdir_readlink(t, i, &target);
		ks.size = target.len;
		buf_fini(&target);
		break;
	case INODE_REVS:
	case INODE_HIST_DIR:
	case INODE_HIST_KEY:
	case INODE_VIRTUAL:
	case INODE_DIR:
	case INODE_FILE:
		break;
	}
	if (!err)
		tree_fill_stat(t, &ks, i->st_ino, 0, st);
	return err;
}

int revdir_versions(struct tree *t, struct inode *i, struct buf *out)
{
	struct mvcc_history *h;
	struct mvcc_row row;
	char name[40];
	int err = mvcc_history_new(t->m, i->id, &h);

	if (err)
		return errmap_errno(err);
	while (!(err = mvcc_history_next(h, &row))) {
		snprintf(name, sizeof(name), "%lld%s", (long long)row.main,
			 row.deleted ? ".deleted" : "");
		err = buf_append_lp(out, slice_str(name));
		if (err)
			break;
	}
	mvcc_history_free(h);
	if (err == CAIRN_NOT_FOUND)
		err = buf_append_lp(out, slice_str("latest"));
	return errmap_errno(err);
}
