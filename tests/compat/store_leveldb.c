/* SPDX-License-Identifier: BSD-3-Clause */
#include <leveldb/c.h>
#include <stdlib.h>

#include "tests/compat/die.h"
#include "tests/compat/store.h"

struct leveldb {
	struct store base;
	leveldb_t *db;
	leveldb_options_t *opts;
	leveldb_filterpolicy_t *filter; /* NULL: none */
	leveldb_readoptions_t *ro;
	leveldb_writeoptions_t *wo[2]; /* by enum write_mode */
};

/* LevelDB has neither bounds nor a way to seek backward: both are here. */
struct leveldb_cursor {
	struct cursor base;
	struct bounds bounds;
	leveldb_readoptions_t *ro;
	leveldb_iterator_t *it;
};

static void check(char *err, const char *what)
{
	if (err)
		die("LevelDB: %s: %s", what, err);
}

static const char *chars(struct cairn_slice s)
{
	return s.data ? (const char *)s.data : "";
}

/* --------------------------------------------------------------- opening */

static int draw_number(struct leveldb *s, struct rng *rng, const char *name,
		       const char *values)
{
	char value[64];

	draw(rng, values, value);
	settings_add(&s->base, "%s=%s;", name, value);
	return atoi(value);
}

static void draw_settings(struct leveldb *s, struct rng *rng)
{
	int bits = draw_number(s, rng, "bloom", "0|10|10|3");

	if (bits) {
		s->filter = leveldb_filterpolicy_create_bloom(bits);
		leveldb_options_set_filter_policy(s->opts, s->filter);
	}
	leveldb_options_set_write_buffer_size(
		s->opts, (size_t)draw_number(s, rng, "write_buffer_size",
					     "65536|65536|131072|524288"));
	leveldb_options_set_max_open_files(
		s->opts, draw_number(s, rng, "max_open_files", "74|1000"));
	leveldb_options_set_block_size(
		s->opts, (size_t)draw_number(s, rng, "block_size",
					     "1024|1024|4096|16384"));
	leveldb_options_set_block_restart_interval(
		s->opts,
		draw_number(s, rng, "block_restart_interval", "1|2|16|16"));
	leveldb_options_set_compression(
		s->opts, draw_number(s, rng, "compression", "0|1"));
}

static struct store *ldb_open(const char *dir, const struct wish *w)
{
	struct leveldb *s = must_have(calloc(1, sizeof(*s)));
	char *err = NULL;

	s->base.ops = &leveldb_store;
	s->opts = leveldb_options_create();
	leveldb_options_set_create_if_missing(s->opts, 1);
	leveldb_options_set_paranoid_checks(s->opts, 1);
	if (w->rng)
		draw_settings(s, w->rng);
	s->db = leveldb_open(s->opts, dir, &err);
	check(err, "open");
	s->ro = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(s->ro, 1);
	for (int i = 0; i < 2; i++)
		s->wo[i] = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(s->wo[WRITE_SYNCED], 1);
	return &s->base;
}

static void ldb_close(struct store *base)
{
	struct leveldb *s = (struct leveldb *)base;

	leveldb_close(s->db);
	leveldb_options_destroy(s->opts);
	if (s->filter)
		leveldb_filterpolicy_destroy(s->filter);
	leveldb_readoptions_destroy(s->ro);
	for (int i = 0; i < 2; i++)
		leveldb_writeoptions_destroy(s->wo[i]);
	free(s);
}

/* ---------------------------------------------------------------- writes */

static void ldb_write(struct store *base, const struct changes *c,
		      enum write_mode mode)
{
	leveldb_writebatch_t *b = leveldb_writebatch_create();
	struct leveldb *s = (struct leveldb *)base;
	char *err = NULL;

	for (size_t i = 0; i < c->n; i++) {
		const struct change *ch = &c->v[i];

		if (ch->kind == CHANGE_PUT)
			leveldb_writebatch_put(b, chars(ch->key), ch->key.len,
					       chars(ch->value), ch->value.len);
		else if (ch->kind == CHANGE_DELETE)
			leveldb_writebatch_delete(b, chars(ch->key),
						  ch->key.len);
		else
			die("LevelDB does not know change %d", (int)ch->kind);
	}
	/* It has no writes beside its log. */
	leveldb_write(s->db,
		      s->wo[mode == WRITE_UNLOGGED ? WRITE_LOGGED : mode], b,
		      &err);
	check(err, "write");
	leveldb_writebatch_destroy(b);
}

/* ----------------------------------------------------------------- reads */

static bool ldb_get(struct store *base, void *snapshot, struct cairn_slice key,
		    struct buf *value)
{
	struct leveldb *s = (struct leveldb *)base;
	char *err = NULL, *got;
	size_t len;

	leveldb_readoptions_set_snapshot(s->ro, snapshot);
	got = leveldb_get(s->db, s->ro, chars(key), key.len, &len, &err);
	check(err, "get");
	if (!got)
		return false;
	must(buf_set(value, slice_of(got, len)), "get");
	leveldb_free(got);
	return true;
}

static void seek_lt(leveldb_iterator_t *it, struct cairn_slice key)
{
	leveldb_iter_seek(it, chars(key), key.len);
	if (leveldb_iter_valid(it))
		leveldb_iter_prev(it);
	else
		leveldb_iter_seek_to_last(it);
}

static void move(struct leveldb_cursor *c, enum move how,
		 struct cairn_slice key)
{
	const struct cairn_slice lower = c->bounds.lower;
	const struct cairn_slice upper = c->bounds.upper;

	switch (how) {
	case MOVE_FIRST:
		leveldb_iter_seek(c->it, chars(lower), lower.len);
		break;
	case MOVE_LAST:
		if (upper.data)
			seek_lt(c->it, upper);
		else
			leveldb_iter_seek_to_last(c->it);
		break;
	case MOVE_NEXT:
		leveldb_iter_next(c->it);
		break;
	case MOVE_PREV:
		leveldb_iter_prev(c->it);
		break;
	case MOVE_SEEK_GE:
		if (lower.data && slice_cmp(key, lower) < 0)
			key = lower;
		leveldb_iter_seek(c->it, chars(key), key.len);
		break;
	case MOVE_SEEK_LT:
		if (upper.data && slice_cmp(key, upper) > 0)
			key = upper;
		seek_lt(c->it, key);
		break;
	case N_MOVES:
		die("no such move");
	}
}

static bool ldb_cursor_move(struct cursor *base, enum move how,
			    struct cairn_slice key)
{
	struct leveldb_cursor *c = (struct leveldb_cursor *)base;
	char *err = NULL;
	const char *data;
	size_t len;

	move(c, how, key);
	leveldb_iter_get_error(c->it, &err);
	check(err, move_names[how]);
	if (!leveldb_iter_valid(c->it))
		return false;
	data = leveldb_iter_key(c->it, &len);
	base->key = slice_of(data, len);
	data = leveldb_iter_value(c->it, &len);
	base->value = slice_of(data, len);
	return !(c->bounds.lower.data &&
		 slice_cmp(base->key, c->bounds.lower) < 0) &&
	       !(c->bounds.upper.data &&
		 slice_cmp(base->key, c->bounds.upper) >= 0);
}

static void ldb_cursor_free(struct cursor *base)
{
	struct leveldb_cursor *c = (struct leveldb_cursor *)base;

	leveldb_iter_destroy(c->it);
	leveldb_readoptions_destroy(c->ro);
	free(c);
}

static struct cursor *ldb_cursor(struct store *base, void *snapshot,
				 const struct bounds *b)
{
	struct leveldb_cursor *c = must_have(calloc(1, sizeof(*c)));
	struct leveldb *s = (struct leveldb *)base;

	c->base.move = ldb_cursor_move;
	c->base.free = ldb_cursor_free;
	if (b)
		c->bounds = *b;
	c->ro = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(c->ro, 1);
	leveldb_readoptions_set_snapshot(c->ro, snapshot);
	c->it = leveldb_create_iterator(s->db, c->ro);
	return &c->base;
}

static void *ldb_snapshot(struct store *base)
{
	const leveldb_snapshot_t *snap =
		leveldb_create_snapshot(((struct leveldb *)base)->db);

	return must_have((void *)(uintptr_t)snap);
}

static void ldb_release(struct store *base, void *snapshot)
{
	leveldb_release_snapshot(((struct leveldb *)base)->db, snapshot);
}

/* ---------------------------------------------------------------- upkeep */

static void ldb_compact(struct store *base, const struct bounds *b)
{
	static const struct bounds all;

	b = b ? b : &all;
	leveldb_compact_range(((struct leveldb *)base)->db,
			      (const char *)b->lower.data, b->lower.len,
			      (const char *)b->upper.data, b->upper.len);
}

/* It flushes what overlaps a range to be compacted, and nothing else. */
static void ldb_flush(struct store *base)
{
	const struct bounds first = {
		.lower = { (const uint8_t *)"", 0 },
		.upper = { (const uint8_t *)"", 0 },
	};

	ldb_compact(base, &first);
}

static void ldb_verify(struct store *base)
{
	(void)base;
}

const struct store_ops leveldb_store = {
	.name = "LevelDB",
	.kinds = 1u << CHANGE_PUT | 1u << CHANGE_DELETE,
	.open = ldb_open,
	.close = ldb_close,
	.write = ldb_write,
	.get = ldb_get,
	.cursor = ldb_cursor,
	.snapshot = ldb_snapshot,
	.release = ldb_release,
	.flush = ldb_flush,
	.compact = ldb_compact,
	.verify = ldb_verify,
};
