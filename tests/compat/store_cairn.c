/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/compat/die.h"
#include "tests/compat/store.h"

struct ours {
	struct store base;
	struct cairn_db *db;
	struct cairn_options *opts;
	struct cairn_batch *batch;
};

struct our_cursor {
	struct cursor base;
	struct cairn_iter *it;
};

/* --------------------------------------------------------------- opening */

/* Small, so that short runs fill several levels. */
static const struct choice choices[] = {
	{ "paranoid_checks", "true|false" },
	{ "write_buffer_size", "8K|32K|64K|256K|1M" },
	{ "max_write_buffers", "2|3|6" },
	{ "block_cache_size", "0|64K|8M" },
	{ "max_open_files", "10|50|1000" },
	{ "block_size", "64|512|1K|4K|16K" },
	{ "block_restart_interval", "1|2|16|16" },
	{ "bloom_bits_per_key", "0|3|10|10|16" },
	{ "base_level_size", "16K|64K|256K|1M" },
	{ "level_multiplier", "2|4|10" },
	{ "target_file_size", "4K|16K|64K|1M" },
	{ "l0_compaction_trigger", "1|2|4|4|8" },
	{ "compression", "default|none|snappy|zstd" },
	{ "zstd_level", "1|3" },
	{ "max_background_jobs", "1|2|4" },
	{ "auto_compactions", "true|true|true|true|false" },
	{ "bytes_per_sync", "0|4K|512K" },
	{ "max_manifest_size", "1K|16K|64M" },
};

#define N_CHOICES (sizeof(choices) / sizeof(choices[0]))

static void set(struct ours *s, struct cairn_options *o, const char *name,
		const char *value)
{
	must(cairn_options_set(o, name, value), "option");
	settings_add(&s->base, "%s=%s;", name, value);
}

static bool is_store(const char *dir)
{
	char path[PATH_LEN + 16];

	snprintf(path, sizeof(path), "%s/CURRENT", dir);
	return access(path, F_OK) == 0;
}

static struct store *ours_open(const char *dir, const struct wish *w)
{
	struct ours *s = must_have(calloc(1, sizeof(*s)));
	struct cairn_options *o = must_have(cairn_options_new());

	s->opts = o;
	s->base.ops = &cairn_store;
	set(s, o, w->read_only ? "read_only" : "create_if_missing", "true");
	set(s, o, "upgrade", w->upgrade ? "true" : "false");
	for (size_t i = 0; w->rng && i < N_CHOICES; i++) {
		char value[128];

		draw(w->rng, choices[i].values, value);
		set(s, o, choices[i].name, value);
	}
	/* The OPTIONS of a store remember its operator. */
	if (w->merge && !(is_store(dir) && w->rng && rng_one_in(w->rng, 2)))
		set(s, o, "merge_operator", w->merge);
	must(cairn_open(dir, o, &s->db), "open");
	s->batch = must_have(cairn_batch_new());
	return &s->base;
}

static void ours_close(struct store *base)
{
	struct ours *s = (struct ours *)base;

	must(cairn_close(s->db), "close");
	cairn_batch_free(s->batch);
	cairn_options_free(s->opts);
	free(s);
}

/* ---------------------------------------------------------------- writes */

static int put(struct cairn_batch *b, const struct change *c)
{
	return cairn_batch_put(b, c->key, c->value);
}

static int del(struct cairn_batch *b, const struct change *c)
{
	return cairn_batch_delete(b, c->key);
}

static int delete_range(struct cairn_batch *b, const struct change *c)
{
	return cairn_batch_delete_range(b, c->key, c->value);
}

static int single_delete(struct cairn_batch *b, const struct change *c)
{
	return cairn_batch_single_delete(b, c->key);
}

static int merge(struct cairn_batch *b, const struct change *c)
{
	return cairn_batch_merge(b, c->key, c->value);
}

static int (*const kinds[N_CHANGE_KINDS])(struct cairn_batch *b,
					  const struct change *c) = {
	[CHANGE_PUT] = put,
	[CHANGE_DELETE] = del,
	[CHANGE_DELETE_RANGE] = delete_range,
	[CHANGE_SINGLE_DELETE] = single_delete,
	[CHANGE_MERGE] = merge,
};

static void ours_write(struct store *base, const struct changes *c,
		       enum write_mode mode)
{
	struct cairn_write_options wo = {
		.sync = mode == WRITE_SYNCED,
		.disable_wal = mode == WRITE_UNLOGGED,
	};
	struct ours *s = (struct ours *)base;

	cairn_batch_clear(s->batch);
	for (size_t i = 0; i < c->n; i++)
		must(kinds[c->v[i].kind](s->batch, &c->v[i]), "batch");
	must(cairn_write(s->db, &wo, s->batch), "write");
}

/* ----------------------------------------------------------------- reads */

static bool ours_get(struct store *base, void *snapshot, struct cairn_slice key,
		     struct buf *value)
{
	struct cairn_read_options ro = { .snapshot = snapshot };
	struct ours *s = (struct ours *)base;
	struct cairn_pinned got = { 0 };
	int err = cairn_get(s->db, &ro, key, &got);

	if (err == CAIRN_NOT_FOUND)
		return false;
	must(err, "get");
	must(buf_set(value, got.value), "get");
	cairn_pinned_release(&got);
	return true;
}

static bool our_move(struct cairn_iter *it, enum move how,
		     struct cairn_slice key)
{
	switch (how) {
	case MOVE_FIRST:
		return cairn_iter_first(it);
	case MOVE_LAST:
		return cairn_iter_last(it);
	case MOVE_NEXT:
		return cairn_iter_next(it);
	case MOVE_PREV:
		return cairn_iter_prev(it);
	case MOVE_SEEK_GE:
		return cairn_iter_seek_ge(it, key);
	case MOVE_SEEK_LT:
		return cairn_iter_seek_lt(it, key);
	case N_MOVES:
		break;
	}
	die("no such move");
}

static bool our_cursor_move(struct cursor *base, enum move how,
			    struct cairn_slice key)
{
	struct our_cursor *c = (struct our_cursor *)base;
	bool on = our_move(c->it, how, key);

	if (on != cairn_iter_valid(c->it))
		die("cairn: %s returns %d, valid %d", move_names[how], on, !on);
	must(cairn_iter_status(c->it), move_names[how]);
	if (on) {
		base->key = cairn_iter_key(c->it);
		base->value = cairn_iter_value(c->it);
	}
	return on;
}

static void our_cursor_free(struct cursor *base)
{
	struct our_cursor *c = (struct our_cursor *)base;

	cairn_iter_free(c->it);
	free(c);
}

static struct cursor *ours_cursor(struct store *base, void *snapshot,
				  const struct bounds *b)
{
	struct our_cursor *c = must_have(calloc(1, sizeof(*c)));
	struct cairn_read_options ro = { .snapshot = snapshot };
	struct ours *s = (struct ours *)base;

	if (b) {
		ro.lower = b->lower;
		ro.upper = b->upper;
	}
	c->base.move = our_cursor_move;
	c->base.free = our_cursor_free;
	must(cairn_iter_new(s->db, &ro, &c->it), "iterator");
	return &c->base;
}

static void *ours_snapshot(struct store *base)
{
	return must_have(cairn_snapshot_new(((struct ours *)base)->db));
}

static void ours_release(struct store *base, void *snapshot)
{
	(void)base;
	cairn_snapshot_release(snapshot);
}

/* ---------------------------------------------------------------- upkeep */

static void ours_flush(struct store *base)
{
	must(cairn_flush(((struct ours *)base)->db, true), "flush");
}

static void ours_compact(struct store *base, const struct bounds *b)
{
	static const struct bounds all;

	b = b ? b : &all;
	must(cairn_compact_range(((struct ours *)base)->db, b->lower, b->upper,
				 NULL),
	     "compact");
}

static void ours_verify(struct store *base)
{
	must(cairn_verify_checksums(((struct ours *)base)->db), "verify");
}

static void ours_checkpoint(struct store *base, const char *dir)
{
	must(cairn_checkpoint(((struct ours *)base)->db, dir), "checkpoint");
}

/* ------------------------------------------------------- external tables */

static int sst_put(struct cairn_sst_writer *w, const struct change *c)
{
	return cairn_sst_writer_put(w, c->key, c->value);
}

static int sst_delete(struct cairn_sst_writer *w, const struct change *c)
{
	return cairn_sst_writer_delete(w, c->key);
}

static int sst_delete_range(struct cairn_sst_writer *w, const struct change *c)
{
	return cairn_sst_writer_delete_range(w, c->key, c->value);
}

static int sst_merge(struct cairn_sst_writer *w, const struct change *c)
{
	return cairn_sst_writer_merge(w, c->key, c->value);
}

static int (*const table_kinds[N_CHANGE_KINDS])(struct cairn_sst_writer *w,
						const struct change *c) = {
	[CHANGE_PUT] = sst_put,
	[CHANGE_DELETE] = sst_delete,
	[CHANGE_DELETE_RANGE] = sst_delete_range,
	[CHANGE_MERGE] = sst_merge,
};

static void ours_table(struct store *base, const char *path,
		       const struct changes *c)
{
	struct ours *s = (struct ours *)base;
	struct cairn_sst_writer *w;

	must(cairn_sst_writer_open(path, s->opts, &w), "table");
	for (size_t i = 0; i < c->n; i++)
		must(table_kinds[c->v[i].kind](w, &c->v[i]), "table");
	must(cairn_sst_writer_finish(w, NULL), "table");
	cairn_sst_writer_free(w);
}

static void ours_ingest(struct store *base, const char *const *paths, size_t n,
			bool move)
{
	const struct cairn_ingest_options io = {
		.mode = move ? CAIRN_INGEST_MOVE : CAIRN_INGEST_COPY,
	};

	must(cairn_ingest(((struct ours *)base)->db, paths, n, &io), "ingest");
}

const struct store_ops cairn_store = {
	.name = "cairn",
	.kinds = (1u << N_CHANGE_KINDS) - 1,
	.open = ours_open,
	.close = ours_close,
	.write = ours_write,
	.get = ours_get,
	.cursor = ours_cursor,
	.snapshot = ours_snapshot,
	.release = ours_release,
	.flush = ours_flush,
	.compact = ours_compact,
	.verify = ours_verify,
	.checkpoint = ours_checkpoint,
	.table = ours_table,
	.ingest = ours_ingest,
};
