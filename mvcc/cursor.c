/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/cursor.h"

/* Steps before a seek. A step costs a tenth of a seek, in cached blocks. */
#define STEPS 4

int cursor_init(struct cursor *c, struct mvcc *m, int64_t rev,
		struct cairn_slice lower, struct cairn_slice upper)
{
	struct cairn_read_options opts = { 0 };
	int err = buf_set(&c->lower, lower);

	if (!err)
		err = buf_set(&c->upper, upper);
	if (!err) {
		c->rev = rev;
		opts.lower = buf_slice(&c->lower);
		opts.upper = buf_slice(&c->upper);
		err = cairn_iter_new(m->db, &opts, &c->it);
	}
	if (err)
		cursor_fini(c);
	return err;
}

void cursor_fini(struct cursor *c)
{
	cairn_iter_free(c->it);
	c->it = NULL;
	buf_fini(&c->lower);
	buf_fini(&c->upper);
	buf_fini(&c->prefix);
	buf_fini(&c->scratch);
}

int cursor_seek(struct cursor *c, struct cairn_slice key)
{
	if (cairn_iter_seek_ge(c->it, key))
		return CAIRN_OK;
	return cairn_iter_status(c->it);
}

int cursor_raw(const struct cursor *c, struct cairn_slice *key)
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
		err = cursor_seek(c, buf_slice(&c->scratch));
	return err;
}

int cursor_skip(struct cursor *c)
{
	int err;

	for (int i = 0; i < STEPS; i++) {
		cairn_iter_next(c->it);
		if (!on_prefix(c))
			return cairn_iter_status(c->it);
	}
	err = enc_prefix_next(&c->scratch, buf_slice(&c->prefix));
	if (!err)
		err = cursor_seek(c, buf_slice(&c->scratch));
	return err;
}

int cursor_settle(struct cursor *c, struct cairn_slice within,
		  struct enc_row *k)
{
	struct cairn_slice raw;
	int err;

	for (;;) {
		err = cursor_raw(c, &raw);
		if (err)
			return err;
		if (within.len && !slice_starts_with(raw, within))
			return CAIRN_NOT_FOUND;
		err = enc_row_parse(raw, k);
		if (err)
			return err;
		if (!slice_eq(k->prefix, buf_slice(&c->prefix)))
			err = buf_set(&c->prefix, k->prefix);
		if (err)
			return err;
		if (k->main > c->rev)
			err = skip_newer(c);
		else if (enc_is_tombstone(cairn_iter_value(c->it)))
			err = cursor_skip(c);
		else
			return CAIRN_OK;
		if (err)
			return err;
	}
}
