/* SPDX-License-Identifier: BSD-3-Clause */
/* The logs of a repair: every whole record goes into memtables, those into
 * tables. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/db_log.h"
#include "engine/db/repair_impl.h"
#include "engine/version/filename.h"
#include "engine/wal/salvage.h"

/* Memtables to fill before they are written out. */
#define MEMTABLES_MAX 4
#define MEMTABLE_MAX  ((UINT64_C(4) << 30) - (UINT64_C(64) << 10))

struct replay {
	struct repair *r;
	struct memtable *mems[MEMTABLES_MAX];
	size_t n;
	uint64_t last_seqno;
	const char *path;
};

/* A table that flush_run() has made. */
static int add_made(struct repair *r, const struct file_meta *m)
{
	struct finder quiet = { 0 };
	struct repair_table *t = repair_add_table(r);
	int err;

	if (!t)
		return CAIRN_ENOMEM;
	t->number = m->number;
	t->is_new = true;
	t->level = 0;
	err = table_find(r->env, r->tmp_dir, m->number, &t->path, &t->size);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EIO, "%s/%06" PRIu64 ".sst: is missing",
				r->tmp_dir, m->number);
	if (!err)
		err = file_meta_new(m->number, m->size, m->smallest, m->largest,
				    m->smallest_seqno, m->largest_seqno,
				    &t->meta);
	if (err)
		return err;
	t->meta->creation_time = m->creation_time;
	t->meta->oldest_ancestor_time = m->oldest_ancestor_time;
	err = table_check(r->env, t->path, t->size, t->meta, &quiet, &t->found,
			  NULL);
	if (!err && t->found.damages)
		err = error_set(CAIRN_EIO, "%s: cannot be read back", t->path);
	return err;
}

static int spill(struct replay *p)
{
	struct job_result result = { 0 };
	struct job_context job;
	int err;

	if (!p->n)
		return CAIRN_OK;
	p->r->snapshot = p->last_seqno;
	repair_job(p->r, &job);
	err = flush_run(&job, p->mems, p->n, &result);
	for (size_t i = 0; i < result.edit.n_added && !err; i++)
		err = add_made(p->r, result.edit.added[i].meta);
	job_result_fini(&result);
	for (size_t i = 0; i < p->n; i++)
		memtable_unref(p->mems[i]);
	p->n = 0;
	return err;
}

static int add_memtable(struct replay *p, size_t cost)
{
	size_t capacity = (size_t)p->r->opts.write_buffer_size;
	struct memtable *m;
	int err;

	if (p->n == MEMTABLES_MAX) {
		err = spill(p);
		if (err)
			return err;
	}
	if (cost > MEMTABLE_MAX)
		return error_set(CAIRN_ENOTSUP,
				 "batch of %zu bytes is larger than cairn can "
				 "hold",
				 cost);
	if (capacity < cost)
		capacity = cost;
	err = memtable_new(capacity, 0, &m);
	if (err)
		return err;
	memtable_writer_unref(m);
	p->mems[p->n++] = m;
	return CAIRN_OK;
}

static int apply(struct replay *p, struct cairn_slice batch)
{
	size_t cost = memtable_batch_cost(batch.len, batch_bytes_count(batch));
	struct memtable *m = p->n ? p->mems[p->n - 1] : NULL;
	int err;

	if (!m || !memtable_reserve(m, cost)) {
		err = add_memtable(p, cost);
		if (err)
			return err;
		m = p->mems[p->n - 1];
		if (!memtable_reserve(m, cost))
			return error_set(CAIRN_ENOTSUP,
					 "batch of %zu bytes does not fit",
					 batch.len);
	}
	err = memtable_apply(m, batch);
	memtable_writer_unref(m);
	return err;
}

/* Other families are known not to be there; else their changes would be lost.
 */
static int check_families(const struct replay *p, struct cairn_slice batch)
{
	struct batch_reader b;
	struct batch_op op;
	int err = batch_reader_init(&b, batch);

	if (p->r->trusted)
		return err;
	while (!err) {
		err = batch_reader_next(&b, &op);
		if (!err && op.family)
			return error_set(CAIRN_ENOTSUP,
					 "changes column family %" PRIu32
					 ", which is not supported",
					 op.family);
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int at_offset(const struct replay *p, int err, uint64_t offset)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	return error_set(err, "%s: offset %" PRIu64 ": %s", p->path, offset,
			 why);
}

/* One record. Those that repeat what was applied are passed over. */
static int take_record(struct replay *p, struct cairn_slice record,
		       uint64_t offset)
{
	struct log_note note;
	uint64_t seqno;
	int err = batch_validate(record);

	if (!err &&
	    (log_note_decode(record, &note) || !batch_bytes_count(record)))
		return CAIRN_OK;
	if (!err)
		err = check_families(p, record);
	seqno = err ? 0 : batch_bytes_seqno(record);
	if (!err && seqno <= p->last_seqno && p->last_seqno)
		err = error_set(CAIRN_ECORRUPT,
				"batch %" PRIu64 " comes behind %" PRIu64,
				seqno, p->last_seqno);
	if (err == CAIRN_ECORRUPT) {
		p->r->report.bytes_lost += record.len;
		return finder_tell(&p->r->finder, at_offset(p, err, offset),
				   p->path, offset);
	}
	if (!err && !p->r->dry_run)
		err = apply(p, record);
	if (err == CAIRN_ENOTSUP || err == CAIRN_ECORRUPT)
		return at_offset(p, err, offset);
	if (err)
		return err;
	p->last_seqno = seqno + batch_bytes_count(record) - 1;
	p->r->report.log_records++;
	return CAIRN_OK;
}

static int tell_gap(struct replay *p, const struct log_salvage *log, bool ended)
{
	struct log_gap gap = log_salvage_gap(log);

	if (!gap.why)
		return CAIRN_OK;
	(void)error_set(CAIRN_ECORRUPT,
			"%s: offset %" PRIu64 ", %" PRIu64 " bytes: %s",
			p->path, gap.offset, gap.len, gap.why);
	/* With nothing behind it, it is what a crash leaves. */
	if (ended)
		return finder_tell(&p->r->finder, CAIRN_OK, p->path,
				   gap.offset);
	p->r->report.bytes_lost += gap.len;
	return finder_tell(&p->r->finder, CAIRN_ECORRUPT, p->path, gap.offset);
}

static int take_log(struct replay *p, struct log_salvage *log)
{
	struct cairn_slice record;
	bool ended = false;
	int err = CAIRN_OK;

	while (!err && !ended) {
		err = log_salvage_next(log, &record);
		ended = err == CAIRN_NOT_FOUND;
		if (ended)
			err = CAIRN_OK;
		/* What follows cannot be read. */
		if (err == CAIRN_EIO)
			return finder_tell(&p->r->finder, err, p->path,
					   NO_PLACE);
		if (!err)
			err = tell_gap(p, log, ended);
		if (!err && !ended)
			err = take_record(p, record, log_salvage_offset(log));
		if (!err)
			err = finder_poll(&p->r->finder);
	}
	return err;
}

static int replay_log(struct replay *p, uint64_t number)
{
	struct log_salvage *log = NULL;
	struct rfile *f = NULL;
	char *path = filename_wal(p->r->dir, number);
	int err = path ? env_open_read(p->r->env, path, &f) : error_nomem();

	p->path = path;
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EIO, "%s: it was there a moment ago",
				path);
	if (!err)
		err = log_salvage_new(f, path, number, &log);
	if (!err)
		err = take_log(p, log);
	log_salvage_free(log);
	rfile_close(f);
	free(path);
	return err;
}

int repair_logs(struct repair *r)
{
	struct replay p = { .r = r };
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->n_logs && !err; i++)
		err = replay_log(&p, r->logs[i]);
	if (!err)
		err = spill(&p);
	for (size_t i = 0; i < p.n; i++)
		memtable_unref(p.mems[i]);
	if (r->last_seqno < p.last_seqno)
		r->last_seqno = p.last_seqno;
	r->logs_used = true;
	return err;
}
