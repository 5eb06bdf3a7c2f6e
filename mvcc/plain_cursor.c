/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cursor of plain stores: the engine's entries and the directories in
 * memory, merged. Where both have a key, the engine's entry counts.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/cursor.h"

static bool in_bounds(const struct cursor *c, struct cairn_slice key)
{
	return slice_cmp(key, buf_slice(&c->lower)) >= 0 &&
	       (!c->upper.len || slice_cmp(key, buf_slice(&c->upper)) < 0);
}

/* Take over what pick found, when it is in bounds. */
static int take_dir(struct cursor *c, const struct plain_dir *r)
{
	int err;

	c->spot.has_dir = r && in_bounds(c, plain_dir_key(r));
	if (!c->spot.has_dir)
		return CAIRN_OK;
	c->spot.dir_ns = r->time_ns;
	err = buf_set(&c->spot.dir, plain_dir_key(r));
	if (err)
		c->spot.has_dir = false;
	return err;
}

/* The first directory >= key. */
static int dir_from(struct cursor *c, struct cairn_slice key)
{
	struct plain *p = &c->m->plain;
	int err;

	c->spot.has_dir = false;
	if (!atomic_load_explicit(&p->n_dirs, memory_order_acquire))
		return CAIRN_OK;
	if (slice_cmp(key, buf_slice(&c->lower)) < 0)
		key = buf_slice(&c->lower);
	mutex_lock(&c->m->pins_mu);
	err = take_dir(c, plain_dirs_from(&p->dirs, key, c->spot.seq));
	mutex_unlock(&c->m->pins_mu);
	return err;
}

/* The last directory < key; data NULL: the last one. */
static int dir_before(struct cursor *c, struct cairn_slice key)
{
	struct plain *p = &c->m->plain;
	int err;

	c->spot.has_dir = false;
	if (!atomic_load_explicit(&p->n_dirs, memory_order_acquire))
		return CAIRN_OK;
	mutex_lock(&c->m->pins_mu);
	err = take_dir(c, plain_dirs_before(&p->dirs, key, c->spot.seq));
	mutex_unlock(&c->m->pins_mu);
	return err;
}

static int seek(struct cursor *c, struct cairn_slice key)
{
	int err = CAIRN_OK;

	if (!cairn_iter_seek_ge(c->it, key))
		err = cairn_iter_status(c->it);
	return err ? err : dir_from(c, key);
}

/* Whether the next row is the directory rather than the engine's entry. */
static bool dir_is_next(const struct cursor *c)
{
	return c->spot.has_dir &&
	       (!cairn_iter_valid(c->it) ||
		slice_cmp(buf_slice(&c->spot.dir), cairn_iter_key(c->it)) < 0);
}

static int raw(const struct cursor *c, struct cairn_slice *key)
{
	int err;

	if (!cairn_iter_valid(c->it)) {
		err = cairn_iter_status(c->it);
		if (err)
			return err;
		if (!c->spot.has_dir)
			return CAIRN_NOT_FOUND;
	}
	*key = dir_is_next(c) ? buf_slice(&c->spot.dir) : cairn_iter_key(c->it);
	return CAIRN_OK;
}

static int settle(struct cursor *c, struct cairn_slice within)
{
	struct cairn_slice key;
	int err = raw(c, &key);

	if (err)
		return err;
	if (within.len && !slice_starts_with(key, within))
		return CAIRN_NOT_FOUND;
	c->spot.on_dir = dir_is_next(c);
	return buf_set(&c->prefix, key);
}

static int skip(struct cursor *c)
{
	bool dir_passed =
		c->spot.has_dir &&
		slice_cmp(buf_slice(&c->spot.dir), buf_slice(&c->prefix)) <= 0;
	int err = CAIRN_OK;

	if (!c->spot.on_dir && !cairn_iter_next(c->it))
		err = cairn_iter_status(c->it);
	if (err || !dir_passed)
		return err;
	/* The least key behind it. */
	err = buf_set(&c->scratch, buf_slice(&c->spot.dir));
	if (!err)
		err = buf_append(&c->scratch, "", 1);
	return err ? err : dir_from(c, buf_slice(&c->scratch));
}

static int back(struct cursor *c)
{
	struct cairn_slice from = { NULL, 0 };
	struct cairn_slice key;
	bool ok;
	int err;

	if (c->moved)
		from = slice_of(c->prefix.len ? c->prefix.data
					      : (const uint8_t *)"",
				c->prefix.len);
	else if (c->upper.len)
		from = buf_slice(&c->upper);
	ok = c->moved ? cairn_iter_seek_lt(c->it, from)
		      : cairn_iter_last(c->it);
	err = ok ? CAIRN_OK : cairn_iter_status(c->it);
	if (!err)
		err = dir_before(c, from);
	if (err)
		return err;
	if (!ok && !c->spot.has_dir)
		return CAIRN_NOT_FOUND;
	c->moved = true;
	c->spot.on_dir = c->spot.has_dir &&
			 (!ok || slice_cmp(buf_slice(&c->spot.dir),
					   cairn_iter_key(c->it)) > 0);
	key = c->spot.on_dir ? buf_slice(&c->spot.dir) : cairn_iter_key(c->it);
	return buf_set(&c->prefix, key);
}

static int plain_key(const struct cursor *c, struct buf *out)
{
	return buf_set(out, buf_slice(&c->prefix));
}

static int row(const struct cursor *c, struct cairn_slice key,
	       struct mvcc_row *out)
{
	struct mvcc_row r = { .key = key };

	if (c->spot.on_dir) {
		r.attrs.type = MVCC_DIR;
		r.time_ns = c->spot.dir_ns;
	} else {
		r.value = cairn_iter_value(c->it);
		r.size = r.value.len;
		r.time_ns = plain_time(c->m, key);
	}
	*out = r;
	return CAIRN_OK;
}

static int copy_row(const struct cursor *c, struct cairn_slice key,
		    struct found *out)
{
	int err = row(c, key, &out->row);

	if (err)
		return err;
	out->own = malloc(key.len + 1);
	if (!out->own) {
		out->row = (struct mvcc_row){ 0 };
		return error_nomem();
	}
	if (key.len)
		memcpy(out->own, key.data, key.len);
	out->row.key = slice_of(out->own, key.len);
	out->row.value = slice_of(NULL, 0);
	return CAIRN_OK;
}

const struct cursor_ops cursor_plain = {
	.seek = seek,
	.raw = raw,
	.settle = settle,
	.skip = skip,
	.back = back,
	.plain_key = plain_key,
	.row = row,
	.copy_row = copy_row,
};
