/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/manifest_facts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/manifest.h"
#include "engine/wal/salvage.h"

static void drop_group(struct manifest_facts *f)
{
	for (size_t i = 0; i < f->n_group; i++)
		version_edit_fini(&f->group[i]);
	free(f->group);
	f->group = NULL;
	f->n_group = 0;
}

void manifest_facts_fini(struct manifest_facts *f)
{
	drop_group(f);
	for (size_t i = 0; i < f->cap; i++)
		file_meta_unref(f->table[i].meta);
	free(f->table);
	free(f->comparator);
	*f = (struct manifest_facts){ 0 };
}

/* The slot of number, or the one where it would go. */
static struct manifest_fact *slot_of(struct manifest_fact *table, size_t cap,
				     uint64_t number)
{
	uint64_t h = number * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(h >> 32) & (cap - 1);

	while (table[i].number && table[i].number != number)
		i = (i + 1) & (cap - 1);
	return &table[i];
}

const struct manifest_fact *manifest_facts_find(const struct manifest_facts *f,
						uint64_t number)
{
	const struct manifest_fact *s;

	if (!f->cap || !number)
		return NULL;
	s = slot_of(f->table, f->cap, number);
	return s->number ? s : NULL;
}

/* The fact about number, made if need be. NULL: no memory. */
static struct manifest_fact *fact_for(struct manifest_facts *f, uint64_t number)
{
	struct manifest_fact *s, *more;
	size_t cap = f->cap ? 2 * f->cap : 64;

	if (f->used + 1 > f->cap / 4 * 3) {
		more = calloc(cap, sizeof(*more));
		if (!more) {
			(void)error_nomem();
			return NULL;
		}
		for (size_t i = 0; i < f->cap; i++)
			if (f->table[i].number)
				*slot_of(more, cap, f->table[i].number) =
					f->table[i];
		free(f->table);
		f->table = more;
		f->cap = cap;
	}
	s = slot_of(f->table, f->cap, number);
	if (!s->number) {
		s->number = number;
		f->used++;
	}
	return s;
}

static void raise(uint64_t *v, uint64_t least)
{
	if (*v < least)
		*v = least;
}

static void take_numbers(struct manifest_facts *f, const struct version_edit *e)
{
	if (e->has_log_number) {
		raise(&f->next_file_number, e->log_number + 1);
		if (!e->family)
			raise(&f->log_number, e->log_number);
	}
	if (e->has_prev_log_number)
		f->prev_log_number = e->prev_log_number;
	if (e->has_next_file_number)
		raise(&f->next_file_number, e->next_file_number);
	if (e->has_last_seqno)
		raise(&f->last_seqno, e->last_seqno);
	if (e->has_min_log_to_keep)
		raise(&f->min_log_to_keep, e->min_log_to_keep);
}

static int apply(struct manifest_facts *f, const struct version_edit *e)
{
	take_numbers(f, e);
	if (e->family)
		f->families = true;
	if (!e->family && e->has_comparator &&
	    strcmp(e->comparator, MANIFEST_COMPARATOR) != 0 && !f->comparator) {
		f->comparator = strdup(e->comparator);
		if (!f->comparator)
			return error_nomem();
	}
	if (e->family)
		return CAIRN_OK;
	for (size_t i = 0; i < e->n_deleted; i++) {
		struct manifest_fact *s = fact_for(f, e->deleted[i].number);

		if (!s)
			return CAIRN_ENOMEM;
		s->live = false;
	}
	for (size_t i = 0; i < e->n_added; i++) {
		struct file_meta *m = e->added[i].meta;
		struct manifest_fact *s = fact_for(f, m->number);

		if (!s)
			return CAIRN_ENOMEM;
		raise(&f->next_file_number, m->number + 1);
		raise(&f->last_seqno, m->largest_seqno);
		f->seqnos_unknown |= !m->seqnos_known;
		file_meta_unref(s->meta);
		s->meta = file_meta_ref(m);
		s->level = e->added[i].level;
		s->live = true;
	}
	return CAIRN_OK;
}

/* Edits of a group count together, when the last one is there. */
static int apply_grouped(struct manifest_facts *f, struct version_edit *e)
{
	struct version_edit *more;
	bool complete;
	int err = CAIRN_OK;

	if (!e->in_atomic_group) {
		f->gaps |= f->n_group != 0;
		drop_group(f);
		return apply(f, e);
	}
	more = realloc(f->group, (f->n_group + 1) * sizeof(*more));
	if (!more)
		return error_nomem();
	f->group = more;
	complete = e->group_remaining == 0;
	more[f->n_group++] = *e;
	*e = (struct version_edit){ 0 };
	for (size_t i = 0; complete && i < f->n_group && !err; i++)
		err = apply(f, &f->group[i]);
	if (complete)
		drop_group(f);
	return err;
}

static int tell(const struct manifest_visitor *v, int code, uint64_t offset)
{
	return v && v->damage ? v->damage(v->ctx, code, offset) : CAIRN_OK;
}

static int take_record(struct manifest_facts *f,
		       const struct manifest_visitor *v, const char *path,
		       uint64_t offset, struct cairn_slice record)
{
	struct version_edit e = { 0 };
	int err = version_edit_decode(record, &e);

	if (err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP) {
		f->gaps = true;
		err = error_set(err, "%s: record at offset %" PRIu64 ": %s",
				path, offset, cairn_errmsg());
		return tell(v, err, offset);
	}
	if (err)
		return err;
	f->records++;
	if (v && v->edit)
		err = v->edit(v->ctx, offset, &e);
	if (!err)
		err = apply_grouped(f, &e);
	version_edit_fini(&e);
	return err;
}

static int take_gap(struct manifest_facts *f, const struct manifest_visitor *v,
		    const char *path, const struct log_salvage *log, bool ended)
{
	struct log_gap gap = log_salvage_gap(log);

	if (!gap.why)
		return CAIRN_OK;
	if (ended && log_salvage_cut(log)) {
		/* What a crash leaves of a record that did not count. */
		f->torn = true;
		return CAIRN_OK;
	}
	f->gaps = true;
	drop_group(f);
	return tell(v,
		    error_set(CAIRN_ECORRUPT,
			      "%s: offset %" PRIu64 ", %" PRIu64 " bytes: %s",
			      path, gap.offset, gap.len, gap.why),
		    gap.offset);
}

int manifest_facts_read(struct cairn_env *env, const char *path,
			const struct manifest_visitor *v,
			struct manifest_facts *out)
{
	struct log_salvage *log = NULL;
	struct cairn_slice record;
	struct rfile *file;
	bool ended = false;
	int err;

	err = env_open_read(env, path, &file);
	if (err)
		return err;
	err = log_salvage_new(file, path, 0, &log);
	while (!err && !ended) {
		err = log_salvage_next(log, &record);
		ended = err == CAIRN_NOT_FOUND;
		if (ended)
			err = CAIRN_OK;
		if (!err)
			err = take_gap(out, v, path, log, ended);
		if (!err && !ended)
			err = take_record(out, v, path, log_salvage_offset(log),
					  record);
	}
	if (err == CAIRN_ENOTSUP) {
		/* A log that cannot be read on: as if it ended here. */
		out->gaps = true;
		err = tell(v, err, log_salvage_offset(log));
	}
	/* A group that was never finished does not count. */
	out->torn |= out->n_group != 0;
	drop_group(out);
	log_salvage_free(log);
	rfile_close(file);
	return err;
}
