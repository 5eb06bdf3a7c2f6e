/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/cursor.h"

/* Steps before a seek. A step costs a tenth of a seek, in cached blocks. */
#define STEPS 4

int cursor_init(struct cursor *c, struct mvcc *m, int64_t rev,
		struct cairn_slice lower, struct cairn_slice upper)
{
	struct cairn_read_options opts = { 0 };
	int err = buf_set(&c->lower, lower);

	if (!err && upper.data)
		err = buf_set(&c->upper, upper);
	if (!err) {
		c->m = m;
		c->rev = rev;
		opts.lower = buf_slice(&c->lower);
		opts.upper = buf_slice(&c->upper);
		opts.table_filter = table_revs_at(&c->revs, m, rev);
		err = m->kind->revisions ? CAIRN_OK : plain_spot_init(c, &opts);
	}
	if (!err)
		err = cairn_iter_new(m->db, &opts, &c->it);
	if (err)
		cursor_fini(c);
	return err;
}

void cursor_fini(struct cursor *c)
{
	cairn_iter_free(c->it);
	c->it = NULL;
	c->m = NULL;
	buf_fini(&c->lower);
	buf_fini(&c->upper);
	buf_fini(&c->prefix);
	buf_fini(&c->scratch);
	buf_fini(&c->spot.dir);
}

static int seek(struct cursor *c, struct cairn_slice key)
{
	if (cairn_iter_seek_ge(c->it, key))
		return CAIRN_OK;
	return cairn_iter_status(c->it);
}

static int raw(const struct cursor *c, struct cairn_slice *key)
{
	int err;

	if (!cairn_iter_valid(c->it)) {
		err = cairn_iter_status(c->it);
		return err ? err : CAIRN_NOT_FOUND;
	}
	*key = cairn_iter_key(c->it);
	return CAIRN_OK;
}

static bool on_prefix(const struct cursor *c)
{
	struct cairn_slice k;

	if (!cairn_iter_valid(c->it))
		return false;
	k = cairn_iter_key(c->it);
	return k.len == c->prefix.len + ENC_ROW_TAIL &&
	       slice_starts_with(k, buf_slice(&c->prefix));
}

/* Move to the first entry of the prefix with main <= rev, or behind it. */
static int skip_newer(struct cursor *c)
{
	struct enc_row k;
	int err;

	for (int i = 0; i < STEPS; i++) {
		cairn_iter_next(c->it);
		if (!on_prefix(c))
			return cairn_iter_status(c->it);
		err = enc_row_parse(cairn_iter_key(c->it), &k);
		if (err || k.main <= c->rev)
			return err;
	}
	err = enc_seek(&c->scratch, buf_slice(&c->prefix), c->rev);
	if (!err)
		err = seek(c, buf_slice(&c->scratch));
	return err;
}

static int skip(struct cursor *c)
{
	int err;

	for (int i = 0; i < STEPS; i++) {
		cairn_iter_next(c->it);
		if (!on_prefix(c))
			return cairn_iter_status(c->it);
	}
	err = enc_prefix_next(&c->scratch, buf_slice(&c->prefix));
	if (!err)
		err = seek(c, buf_slice(&c->scratch));
	return err;
}

static int settle(struct cursor *c, struct cairn_slice within)
{
	struct cairn_slice k;
	struct enc_row row;
	int err;

	for (;;) {
		err = raw(c, &k);
		if (err)
			return err;
		if (within.len && !slice_starts_with(k, within))
			return CAIRN_NOT_FOUND;
		err = enc_row_parse(k, &row);
		if (err)
			return err;
		if (!slice_eq(row.prefix, buf_slice(&c->prefix)))
			err = buf_set(&c->prefix, row.prefix);
		if (err)
			return err;
		if (row.main > c->rev)
			err = skip_newer(c);
		else if (enc_is_tombstone(cairn_iter_value(c->it)))
			err = skip(c);
		else
			return CAIRN_OK;
		if (err)
			return err;
	}
}

/* Before the key last looked at lies the oldest entry of the one before. */
static int step_back(struct cursor *c)
{
	struct enc_row k;
	int err;

	if (!cairn_iter_seek_lt(c->it, c->moved ? buf_slice(&c->prefix)
						: buf_slice(&c->upper))) {
		err = cairn_iter_status(c->it);
		return err ? err : CAIRN_NOT_FOUND;
	}
	c->moved = true;
	err = enc_row_parse(cairn_iter_key(c->it), &k);
	if (!err)
		err = buf_set(&c->prefix, k.prefix);
	return err;
}

static int back(struct cursor *c)
{
	int err;

	for (;;) {
		err = step_back(c);
		if (!err)
			err = enc_seek(&c->scratch, buf_slice(&c->prefix),
				       c->rev);
		if (!err)
			err = seek(c, buf_slice(&c->scratch));
		if (err)
			return err;
		/* No entry there: the key was created after rev. */
		if (!cairn_iter_valid(c->it) ||
		    !slice_starts_with(cairn_iter_key(c->it),
				       buf_slice(&c->prefix)))
			continue;
		if (!enc_is_tombstone(cairn_iter_value(c->it)))
			return CAIRN_OK;
	}
}

static int plain_key(const struct cursor *c, struct buf *out)
{
	return enc_plain(buf_slice(&c->prefix), out);
}

static int row(const struct cursor *c, struct cairn_slice key,
	       struct mvcc_row *out)
{
	struct cairn_slice v = cairn_iter_value(c->it);
	struct mvcc_row r = { .key = key };
	struct enc_row k;
	int err = enc_row_parse(cairn_iter_key(c->it), &k);

	if (err)
		return err;
	r.main = k.main;
	r.sub = k.sub;
	err = enc_row_value_parse(v, v.len, &r, NULL, NULL);
	if (!err)
		*out = r;
	return err;
}

static int copy_row(const struct cursor *c, struct cairn_slice key,
		    struct found *out)
{
	struct enc_row k;
	int err = enc_row_parse(cairn_iter_key(c->it), &k);

	return err ? err
		   : found_copy(out, key, k.main, k.sub,
				cairn_iter_value(c->it));
}

const struct cursor_ops cursor_revision = {
	.seek = seek,
	.raw = raw,
	.settle = settle,
	.skip = skip,
	.back = back,
	.plain_key = plain_key,
	.row = row,
	.copy_row = copy_row,
};
