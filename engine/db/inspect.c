/* SPDX-License-Identifier: BSD-3-Clause */
/* Single files, shown: tables, logs, MANIFESTs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/db_log.h"
#include "engine/db/finding.h"
#include "engine/db/options.h"
#include "engine/kv/kind.h"
#include "engine/table/compress.h"
#include "engine/version/filename.h"
#include "engine/version/manifest_facts.h"
#include "engine/wal/salvage.h"

#define NAME_LEN_MAX 256

const char *cairn_entry_kind_name(int kind)
{
	switch (kind) {
	case KIND_DELETE:
		return "delete";
	case KIND_PUT:
		return "put";
	case KIND_MERGE:
		return "merge";
	case KIND_LOG_DATA:
		return "log-data";
	case KIND_SINGLE_DELETE:
		return "single-delete";
	case KIND_RANGE_DELETE:
		return "range-delete";
	case KIND_BLOB_INDEX:
		return "blob-index";
	case KIND_TIMESTAMPED_DELETE:
		return "timestamped-delete";
	case KIND_ENTITY:
		return "entity";
	default:
		return "unknown";
	}
}

static struct cairn_env *env_of(const struct cairn_options *o)
{
	return o && o->env ? o->env : env_posix();
}

/* ------------------------------------------------------------------- tables */

struct sst_visit {
	const struct cairn_sst_visitor *v;
	struct finder finder;
	const char *path;
	struct table_walk *walk;
	uint64_t blocks;
};

/* Properties that are varints; what is not listed is shown as it is. */
static bool is_number(const char *name)
{
	static const char *const names[] = {
		"rocksdb.column.family.id",
		"rocksdb.creation.time",
		"rocksdb.data.size",
		"rocksdb.deleted.keys",
		"rocksdb.file.creation.time",
		"rocksdb.filter.size",
		"rocksdb.fixed.key.length",
		"rocksdb.format.version",
		"rocksdb.index.key.is.user.key",
		"rocksdb.index.partitions",
		"rocksdb.index.size",
		"rocksdb.index.value.is.delta.encoded",
		"rocksdb.merge.operands",
		"rocksdb.num.data.blocks",
		"rocksdb.num.entries",
		"rocksdb.num.filter_entries",
		"rocksdb.num.range-deletions",
		"rocksdb.oldest.key.time",
		"rocksdb.original.file.number",
		"rocksdb.raw.key.size",
		"rocksdb.raw.value.size",
		"rocksdb.sample_for_compression.fast.data.size",
		"rocksdb.sample_for_compression.slow.data.size",
		"rocksdb.tail.start.offset",
		"rocksdb.top-level.index.size",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static bool is_fixed(const char *name)
{
	return !strcmp(name, "rocksdb.block.based.table.index.type") ||
	       !strcmp(name, "rocksdb.external_sst_file.version") ||
	       !strcmp(name, "rocksdb.external_sst_file.global_seqno");
}

static bool is_text(struct cairn_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < 0x20 || s.data[i] >= 0x7f)
			return false;
	return true;
}

static int property_text(const char *name, struct cairn_slice value,
			 struct buf *out)
{
	struct cairn_slice rest = value;
	uint64_t number;
	int err = CAIRN_OK;

	buf_clear(out);
	if (is_number(name) && get_varint64(&rest, &number) && !rest.len)
		err = buf_printf(out, "%" PRIu64, number);
	else if (is_fixed(name) && value.len == 4)
		err = buf_printf(out, "%" PRIu32, load_le32(value.data));
	else if (is_fixed(name) && value.len == 8)
		err = buf_printf(out, "%" PRIu64, load_le64(value.data));
	else if (is_text(value))
		err = buf_append(out, value.data, value.len);
	else {
		err = buf_append(out, "0x", 2);
		for (size_t i = 0; i < value.len && !err; i++)
			err = buf_printf(out, "%02x", value.data[i]);
	}
	return err ? err : buf_append(out, "", 1);
}

static int sst_property(void *ctx, struct cairn_slice name,
			struct cairn_slice value)
{
	struct sst_visit *s = ctx;
	struct buf n = { 0 }, text = { 0 };
	int err = buf_append(&n, name.data, name.len);

	if (!err)
		err = buf_append(&n, "", 1);
	if (!err)
		err = property_text((char *)n.data, value, &text);
	if (!err)
		err = s->v->property(s->v->ctx, (char *)n.data,
				     (char *)text.data);
	buf_fini(&n);
	buf_fini(&text);
	return err;
}

static int sst_block(void *ctx, const struct walk_block *b)
{
	static const char *const kinds[] = {
		"data",       "index",     "filter", "dictionary", "range-del",
		"properties", "metaindex", "footer", "other",
	};
	struct sst_visit *s = ctx;
	struct cairn_sst_block out = {
		.kind = kinds[b->kind],
		.offset = b->handle.offset,
		.size = b->handle.size,
		.raw_size = b->raw_len,
		.codec = codec_name(b->codec),
		.entries = b->entries,
		.last_key = b->last_key,
		.damaged = b->bad,
	};

	if (out.last_key.len >= IKEY_TRAILER_LEN)
		out.last_key.len -= IKEY_TRAILER_LEN;
	if (b->kind == WALK_DATA)
		s->blocks++;
	return s->v->block ? s->v->block(s->v->ctx, &out) : CAIRN_OK;
}

static int sst_entry(void *ctx, const struct walk_entry *e)
{
	struct sst_visit *s = ctx;
	struct cairn_entry out = {
		.key = e->key.user_key,
		.value = e->value,
		.seqno = ikey_seqno(&e->key),
		.kind = ikey_kind(&e->key),
		.offset = e->block.offset,
	};

	return s->v->entry(s->v->ctx, &out);
}

static int sst_damage(void *ctx, const struct walk_damage *d)
{
	struct sst_visit *s = ctx;

	return finder_tell(&s->finder, d->code, s->path,
			   d->has_place ? d->place.offset : NO_PLACE);
}

static int sst_lost(void *ctx, const struct walk_span *span)
{
	struct sst_visit *s = ctx;

	return finder_tell_lost(&s->finder, s->path, span,
				table_walk_blocks(s->walk));
}

static int sst_run(struct sst_visit *s, uint64_t size)
{
	const struct footer *f = table_walk_footer(s->walk);
	const struct walk_visitor v = {
		.ctx = s,
		.damage = sst_damage,
		.lost = sst_lost,
		.block = sst_block,
		.entry = s->v->entry ? sst_entry : NULL,
		.property = s->v->property ? sst_property : NULL,
	};
	struct walk_result r = { 0 };
	int err = CAIRN_OK;

	if (s->v->summary && f) {
		struct cairn_sst_summary sum = {
			.size_bytes = size,
			.format_version = f->version,
			.checksum = checksum_name(f->checksum),
		};

		err = s->v->summary(s->v->ctx, &sum);
	}
	if (!err)
		err = table_walk_run(s->walk, &v, &r);
	walk_result_fini(&r);
	return err ? err : finder_result(&s->finder, s->path);
}

/* Open a file to be shown, which is no directory. */
static int open_file(struct cairn_env *env, const char *path, struct rfile **f,
		     uint64_t *size)
{
	struct env_stat st;
	int err = env_stat(env, path, &st);

	if (err == CAIRN_NOT_FOUND)
		return error_set(CAIRN_NOT_FOUND, "%s: no such file", path);
	if (err)
		return err;
	if (st.is_dir)
		return error_set(CAIRN_EINVAL, "%s: is a directory", path);
	err = env_open_read(env, path, f);
	if (err)
		return err;
	err = rfile_size(*f, size);
	if (err)
		rfile_close(*f);
	return err;
}

int cairn_sst_visit(const char *path, const struct cairn_options *o,
		    const struct cairn_sst_visitor *v)
{
	struct sst_visit s = {
		.v = v,
		.path = path,
		.finder = { .found = v->found, .ctx = v->ctx },
	};
	struct rfile *f;
	uint64_t size;
	int err = open_file(env_of(o), path, &f, &size);

	if (err)
		return err;
	err = table_walk_open(f, path, size, NULL, &s.walk);
	if (err)
		return err;
	err = sst_run(&s, size);
	table_walk_close(s.walk);
	return err;
}

/* --------------------------------------------------------------------- logs */

struct wal_visit {
	const struct cairn_wal_visitor *v;
	struct finder finder;
	const char *path;
};

static int wal_entries(struct wal_visit *w, struct cairn_slice record,
		       uint64_t offset)
{
	uint64_t seqno = batch_bytes_seqno(record);
	struct batch_reader r;
	struct batch_op op;
	int err = batch_reader_init(&r, record);

	while (!err) {
		struct cairn_entry e = { .offset = offset };

		err = batch_reader_next(&r, &op);
		if (err)
			break;
		e.key = op.key;
		e.value = op.value;
		e.kind = op.kind;
		e.family = op.family;
		e.seqno = seqno;
		/* Those of no effect are counted, but have no number. */
		if (op.kind != KIND_LOG_DATA &&
		    !(op.kind == KIND_RANGE_DELETE &&
		      slice_eq(op.key, op.value)))
			seqno++;
		err = w->v->entry(w->v->ctx, &e);
		if (err)
			return err;
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int wal_record(struct wal_visit *w, struct cairn_slice record,
		      uint64_t offset)
{
	struct cairn_wal_record out = { .offset = offset, .bytes = record.len };
	struct log_note note;
	char why[1024];
	int err = batch_validate(record);

	if (err) {
		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		err = error_set(err, "%s: offset %" PRIu64 ": %s", w->path,
				offset, why);
		return finder_tell(&w->finder, err, w->path, offset);
	}
	out.seqno = batch_bytes_seqno(record);
	out.count = batch_bytes_count(record);
	out.note = log_note_decode(record, &note);
	if (w->v->record)
		err = w->v->record(w->v->ctx, &out);
	if (!err && w->v->entry)
		err = wal_entries(w, record, offset);
	return err;
}

static int wal_gap(struct wal_visit *w, const struct log_salvage *log,
		   bool ended)
{
	struct log_gap gap = log_salvage_gap(log);
	/* With nothing behind it, it is what a crash leaves. */
	int code = ended ? CAIRN_OK : CAIRN_ECORRUPT;

	if (!gap.why)
		return CAIRN_OK;
	(void)error_set(CAIRN_ECORRUPT,
			"%s: offset %" PRIu64 ", %" PRIu64 " bytes: %s",
			w->path, gap.offset, gap.len, gap.why);
	return finder_tell(&w->finder, code, w->path, gap.offset);
}

/* The number that the name of a log has; 0 when it has none. */
static uint64_t number_of(const char *path)
{
	const char *name = strrchr(path, '/');
	uint64_t number = 0;

	name = name ? name + 1 : path;
	return filename_parse(name, &number) == FILE_WAL ? number : 0;
}

static int wal_run(struct wal_visit *w, struct log_salvage *log)
{
	struct cairn_slice record;
	bool ended = false;
	int err = CAIRN_OK;

	while (!err && !ended) {
		err = log_salvage_next(log, &record);
		ended = err == CAIRN_NOT_FOUND;
		if (err && !ended) {
			ended = true;
			err = finder_tell(&w->finder, err, w->path,
					  log_salvage_offset(log));
			break;
		}
		err = wal_gap(w, log, ended);
		if (!err && !ended)
			err = wal_record(w, record, log_salvage_offset(log));
	}
	return err ? err : finder_result(&w->finder, w->path);
}

int cairn_wal_visit(const char *path, const struct cairn_options *o,
		    const struct cairn_wal_visitor *v)
{
	struct wal_visit w = {
		.v = v,
		.path = path,
		.finder = { .found = v->found, .ctx = v->ctx },
	};
	struct log_salvage *log;
	struct rfile *f;
	uint64_t size;
	int err = open_file(env_of(o), path, &f, &size);

	if (err)
		return err;
	err = log_salvage_new(f, path, number_of(path), &log);
	if (!err) {
		err = wal_run(&w, log);
		log_salvage_free(log);
	}
	rfile_close(f);
	return err;
}

/* ---------------------------------------------------------------- MANIFESTs */

struct manifest_visit {
	const struct cairn_manifest_visitor *v;
	struct finder finder;
	const char *path;
};

static struct cairn_manifest_file file_of(int level, const struct file_meta *m)
{
	return (struct cairn_manifest_file){
		.level = level,
		.number = m->number,
		.size = m->size,
		.smallest = m->smallest_key.user_key,
		.largest = m->largest_key.user_key,
		.smallest_key_seqno = ikey_seqno(&m->smallest_key),
		.largest_key_seqno = ikey_seqno(&m->largest_key),
		.largest_exclusive = file_meta_ends_before_largest(m),
		.seqnos_known = m->seqnos_known,
		.smallest_seqno = m->smallest_seqno,
		.largest_seqno = m->largest_seqno,
	};
}

static uint64_t if_has(bool has, uint64_t value)
{
	return has ? value : UINT64_MAX;
}

static int manifest_edit(void *ctx, uint64_t offset,
			 const struct version_edit *e)
{
	struct manifest_visit *m = ctx;
	struct cairn_manifest_edit out = {
		.offset = offset,
		.comparator = e->comparator,
		.db_id = e->db_id,
		.log_number = if_has(e->has_log_number, e->log_number),
		.prev_log_number =
			if_has(e->has_prev_log_number, e->prev_log_number),
		.min_log_to_keep =
			if_has(e->has_min_log_to_keep, e->min_log_to_keep),
		.next_file_number =
			if_has(e->has_next_file_number, e->next_file_number),
		.last_seqno = if_has(e->has_last_seqno, e->last_seqno),
		.family = e->family,
		.family_added = e->has_family_add ? e->family_name : NULL,
		.family_dropped = e->family_drop,
		.group_remaining =
			if_has(e->in_atomic_group, e->group_remaining),
		.n_added = e->n_added,
		.n_deleted = e->n_deleted,
	};
	struct cairn_manifest_file *files;
	int err;

	if (!m->v->edit)
		return CAIRN_OK;
	files = calloc(e->n_added + e->n_deleted + 1, sizeof(*files));
	if (!files)
		return error_nomem();
	for (size_t i = 0; i < e->n_added; i++)
		files[i] = file_of(e->added[i].level, e->added[i].meta);
	for (size_t i = 0; i < e->n_deleted; i++)
		files[e->n_added + i] = (struct cairn_manifest_file){
			.level = e->deleted[i].level,
			.number = e->deleted[i].number,
		};
	out.added = files;
	out.deleted = files + e->n_added;
	err = m->v->edit(m->v->ctx, &out);
	free(files);
	return err;
}

static int manifest_damage(void *ctx, int code, uint64_t offset)
{
	struct manifest_visit *m = ctx;

	return finder_tell(&m->finder, code, m->path, offset);
}

static int by_level(const void *a, const void *b)
{
	const struct cairn_manifest_file *x = a, *y = b;

	if (x->level != y->level)
		return x->level - y->level;
	return (x->number > y->number) - (x->number < y->number);
}

static int show_state(const struct manifest_visit *m,
		      const struct manifest_facts *f)
{
	struct cairn_manifest_edit out = {
		.offset = UINT64_MAX,
		.comparator = f->comparator,
		.log_number = f->log_number,
		.prev_log_number = f->prev_log_number,
		.min_log_to_keep = f->min_log_to_keep,
		.next_file_number = f->next_file_number,
		.last_seqno = f->last_seqno,
		.group_remaining = UINT64_MAX,
	};
	struct cairn_manifest_file *files = calloc(f->used + 1, sizeof(*files));
	int err;

	if (!files)
		return error_nomem();
	for (size_t i = 0; i < f->cap; i++)
		if (f->table[i].live && f->table[i].meta)
			files[out.n_added++] =
				file_of(f->table[i].level, f->table[i].meta);
	qsort(files, out.n_added, sizeof(*files), by_level);
	out.added = files;
	err = m->v->state(m->v->ctx, &out);
	free(files);
	return err;
}

/* The MANIFEST that CURRENT names, malloc'ed. */
static int follow_current(struct cairn_env *env, const char *dir, char **path)
{
	char *current = filename_in(dir, "CURRENT");
	struct buf text = { 0 };
	uint64_t number;
	int err = current ? CAIRN_OK : error_nomem();

	if (!err)
		err = env_read_file(env, current, NAME_LEN_MAX, &text);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(err, "%s: no such file", current);
	if (!err && text.len && text.data[text.len - 1] == '\n') {
		text.data[text.len - 1] = '\0';
		if (filename_parse((char *)text.data, &number) == FILE_MANIFEST)
			*path = filename_manifest(dir, number);
		else
			err = error_set(CAIRN_ECORRUPT,
					"%s: does not name a MANIFEST",
					current);
	} else if (!err) {
		err = error_set(CAIRN_ECORRUPT, "%s: does not name a MANIFEST",
				current);
	}
	if (!err && !*path)
		err = error_nomem();
	buf_fini(&text);
	free(current);
	return err;
}

int cairn_manifest_visit(const char *path, const struct cairn_options *o,
			 const struct cairn_manifest_visitor *v)
{
	struct cairn_env *env = env_of(o);
	struct manifest_visit m = {
		.v = v,
		.path = path,
		.finder = { .found = v->found, .ctx = v->ctx },
	};
	const struct manifest_visitor visitor = {
		.ctx = &m,
		.edit = manifest_edit,
		.damage = manifest_damage,
	};
	struct manifest_facts facts = { 0 };
	struct env_stat st;
	char *followed = NULL;
	int err = env_stat(env, path, &st);

	/* Of CURRENT following it says so. */
	if (!err && st.is_dir)
		err = follow_current(env, path, &followed);
	else if (err == CAIRN_NOT_FOUND)
		err = error_set(err, "%s: no such file", path);
	if (followed)
		m.path = followed;
	if (!err) {
		err = manifest_facts_read(env, m.path, &visitor, &facts);
		if (err == CAIRN_NOT_FOUND)
			err = error_set(err, "%s: no such file", m.path);
	}
	if (!err && facts.torn)
		err = finder_remark(&m.finder, m.path,
				    "the last record is cut short");
	if (!err && v->state)
		err = show_state(&m, &facts);
	if (!err)
		err = finder_result(&m.finder, m.path);
	manifest_facts_fini(&facts);
	free(followed);
	return err;
}
