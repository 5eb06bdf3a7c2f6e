/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/db/db_log.h"
#include "engine/db/event.h"
#include "engine/version/filename.h"
#include "engine/wal/reader.h"
#include "engine/wal/record.h"

/* Memory to fill before the memtables are written out. */
#define SPILL_BUFFERS 4
#define MEMTABLE_MAX  ((UINT64_C(4) << 30) - (UINT64_C(64) << 10))

struct replay {
	struct cairn_db *db;
	bool only_check;
	struct recovery *out;
	int (*spill)(void *ctx);
	void *ctx;

	bool have_expected;
	uint64_t expected; /* seqno of the next batch */
	uint64_t last_log; /* the log that the batch before it is in */
	/* An earlier log that ended in a torn record, and where. */
	char *torn_path;
	uint64_t torn_offset;

	/* Of the present log. */
	uint64_t number;
	char *path;
	struct rfile *file;
	struct log_reader *reader;
	bool ours;      /* it began with a note */
	bool have_note; /* the last record was one */
	struct log_note note;
	uint64_t n_records;
};

int db_error_at(int code, const char *path, uint64_t offset)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	return error_set(code, "%s: offset %" PRIu64 ": %s", path, offset, why);
}

/* --------------------------------------------------------------- memtables */

void recovery_clear(struct recovery *r)
{
	for (size_t i = 0; i < r->n_mems; i++)
		memtable_unref(r->mems[i]);
	r->n_mems = 0;
	r->mems_bytes = 0;
}

void recovery_fini(struct recovery *r)
{
	recovery_clear(r);
	free(r->mems);
	*r = (struct recovery){ 0 };
}

static int grow_mems(struct recovery *r)
{
	size_t cap = r->mems_cap ? 2 * r->mems_cap : 8;
	struct memtable **p;

	if (r->n_mems < r->mems_cap)
		return CAIRN_OK;
	p = realloc(r->mems, cap * sizeof(struct memtable *));
	if (!p)
		return error_nomem();
	r->mems = p;
	r->mems_cap = cap;
	return CAIRN_OK;
}

/* A memtable that has room for cost bytes, as the last of the list. */
static int add_memtable(struct replay *p, size_t cost)
{
	struct recovery *r = p->out;
	size_t capacity = (size_t)p->db->opts.write_buffer_size;
	struct memtable *m;
	int err;

	if (cost > MEMTABLE_MAX)
		return error_set(CAIRN_ENOTSUP,
				 "batch of %zu bytes is larger than cairn "
				 "can hold",
				 cost);
	if (p->spill && r->mems_bytes >= SPILL_BUFFERS * capacity) {
		err = p->spill(p->ctx);
		if (err)
			return err;
	}
	if (capacity < cost)
		capacity = cost;
	err = grow_mems(r);
	if (err)
		return err;
	err = memtable_new(capacity, 0, &m);
	if (err)
		return err;
	memtable_writer_unref(m);
	r->mems[r->n_mems++] = m;
	r->mems_bytes += capacity;
	return CAIRN_OK;
}

static int apply(struct replay *p, struct cairn_slice batch)
{
	struct recovery *r = p->out;
	size_t cost = memtable_batch_cost(batch.len, batch_bytes_count(batch));
	struct memtable *m;
	int err;

	if (p->only_check)
		return CAIRN_OK;
	if (!r->n_mems || !memtable_reserve(r->mems[r->n_mems - 1], cost)) {
		err = add_memtable(p, cost);
		if (err)
			return err;
		if (!memtable_reserve(r->mems[r->n_mems - 1], cost))
			return error_set(CAIRN_ENOTSUP,
					 "batch of %zu bytes does not fit",
					 batch.len);
	}
	m = r->mems[r->n_mems - 1];
	err = memtable_apply(m, batch);
	memtable_writer_unref(m);
	return err;
}

/* ------------------------------------------------------------------ damage */

/* Whether a record that is a note begins at p. */
static bool note_at(const uint8_t *p, struct log_note *out)
{
	uint32_t crc = crc32c_unmask(load_le32(p));

	return load_le16(p + 4) == LOG_NOTE_RECORD_LEN && p[6] == RECORD_FULL &&
	       crc32c(p + 6, 1 + LOG_NOTE_RECORD_LEN) == crc &&
	       log_note_decode(
		       slice_of(p + RECORD_HEADER_LEN, LOG_NOTE_RECORD_LEN),
		       out);
}

/*
 * Whether a note behind offset says that the bytes at offset were synced. Notes
 * are looked for byte by byte, as nothing else can be relied on there. *answer
 * is false when they were not, or no note was found.
 */
static int was_synced(struct replay *p, uint64_t offset, bool *answer)
{
	const size_t note_len = RECORD_HEADER_LEN + LOG_NOTE_RECORD_LEN;
	size_t size = (size_t)1 << 20;
	uint8_t *bytes = malloc(size);
	size_t got = size;
	int err = CAIRN_OK;

	*answer = false;
	if (!bytes)
		return error_nomem();
	/* Pieces overlap by what a note takes. */
	for (uint64_t at = offset; !*answer && got == size;
	     at += size - note_len) {
		struct log_note n;

		err = rfile_read(p->file, at, bytes, size, &got);
		if (err)
			break;
		for (size_t i = 0; i + note_len <= got && !*answer; i++)
			*answer = bytes[i + 6] == RECORD_FULL &&
				  note_at(bytes + i, &n) && n.synced > offset;
	}
	free(bytes);
	return err;
}

/* The log is broken at offset; code and message tell how. CAIRN_NOT_FOUND: it
 * may end there. */
static int judge_damage(struct replay *p, int code, uint64_t offset)
{
	char why[1024];
	bool synced;
	int err;

	if (!p->ours)
		return code;
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	err = was_synced(p, offset, &synced);
	if (err)
		return err;
	return synced ? error_set(code, "%s", why) : CAIRN_NOT_FOUND;
}

static int set_torn(struct replay *p, uint64_t offset)
{
	if (p->torn_path)
		return CAIRN_OK; /* the first one counts */
	p->torn_path = strdup(p->path);
	if (!p->torn_path)
		return error_nomem();
	p->torn_offset = offset;
	return CAIRN_OK;
}

static int damaged_before(const struct replay *p)
{
	return error_set(CAIRN_ECORRUPT,
			 "%s: offset %" PRIu64 ": record cut short or garbled, "
			 "but later writes are in %s",
			 p->torn_path, p->torn_offset, p->path);
}

/* Whether the tables hold the numbers in [from, to): an ingested table takes
 * one, and what was written without a log was flushed. */
static bool tables_have(struct cairn_db *db, uint64_t from, uint64_t to)
{
	const struct version *v = version_set_current(db->versions);
	bool found = true;

	while (from < to && found) {
		found = false;
		for (int level = 0; level < CAIRN_LEVELS; level++) {
			for (size_t i = 0; i < v->level[level].n; i++) {
				const struct file_meta *f =
					v->level[level].files[i];

				if (f->smallest_seqno > from ||
				    f->largest_seqno < from)
					continue;
				from = f->largest_seqno + 1;
				found = true;
			}
		}
	}
	return found;
}

/*
 * A log of RocksDB begins behind the number that should follow. Inside of a log
 * such numbers went to writes without one; here the end of the log before may
 * have been cut off.
 */
static int check_between_logs(struct replay *p, uint64_t seqno)
{
	if (tables_have(p->db, p->expected, seqno))
		return CAIRN_OK;
	return error_set(CAIRN_ECORRUPT,
			 "%s: begins with batch %" PRIu64 ", and %06" PRIu64
			 ".log ends before batch %" PRIu64,
			 p->path, seqno, p->last_log, p->expected);
}

/* ----------------------------------------------------------------- batches */

/*
 * Whether a batch of that seqno may come now. CAIRN_NOT_FOUND: the log ended
 * before it, because something in between was lost.
 */
static int check_seqno(struct replay *p, uint64_t seqno)
{
	uint64_t offset = log_reader_offset(p->reader);
	uint64_t expected = p->expected;
	/* Empty ranges at the end of a log took numbers from those that came
	 * with them, and none from those that came after a recovery. */
	uint64_t replayed = p->out->last_seqno + 1;
	bool strict = p->ours;
	int err;

	if (!p->have_expected)
		return CAIRN_OK;
	/* What was left out on purpose is in the note before the batch. */
	if (p->have_note && p->note.seqno == seqno &&
	    (p->note.expected == expected || p->note.expected == replayed))
		expected = seqno;
	if (seqno == expected || seqno == replayed) {
		/* Written after recovery from the torn end. */
		free(p->torn_path);
		p->torn_path = NULL;
		return CAIRN_OK;
	}
	if (p->torn_path)
		return damaged_before(p);
	if (seqno > expected && !strict)
		return p->n_records ? CAIRN_OK : check_between_logs(p, seqno);
	err = error_set(CAIRN_ECORRUPT,
			"%s: offset %" PRIu64 ": batch %" PRIu64
			" comes where %" PRIu64 " should",
			p->path, offset, seqno, expected);
	return seqno > expected && p->n_records ? judge_damage(p, err, offset)
						: err;
}

/* Where the logs begin, counting what is known to be in none. */
static void note_first(struct replay *p, uint64_t seqno)
{
	if (p->have_expected)
		return;
	p->out->first_log = p->number;
	p->out->first_seqno = seqno;
	if (p->have_note && p->note.seqno == seqno && p->note.expected < seqno)
		p->out->first_seqno = p->note.expected;
}

/* One record of the present log. */
static int replay_record(struct replay *p, struct cairn_slice record)
{
	uint64_t offset = log_reader_offset(p->reader);
	struct log_note note;
	uint32_t numbers;
	uint64_t seqno;
	int err;

	err = batch_validate_numbers(record, &numbers);
	if (err)
		return db_error_at(err, p->path, offset);
	if (log_note_decode(record, &note)) {
		p->ours = p->ours || offset == 0;
		/* Two in a row: one gap. */
		if (p->have_note && p->note.seqno == note.expected)
			note.expected = p->note.expected;
		p->note = note;
		p->have_note = true;
		return CAIRN_OK;
	}
	/* Nothing but remarks. */
	if (!batch_bytes_count(record))
		return CAIRN_OK;
	seqno = batch_bytes_seqno(record);
	if (seqno + batch_bytes_count(record) - 1 > SEQNO_MAX ||
	    seqno > SEQNO_MAX) {
		error_set(CAIRN_ECORRUPT, "sequence number %" PRIu64, seqno);
		return db_error_at(CAIRN_ECORRUPT, p->path, offset);
	}
	err = check_seqno(p, seqno);
	if (err)
		return err;
	note_first(p, seqno);
	p->have_note = false;
	err = apply(p, record);
	if (err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP)
		return db_error_at(err, p->path, offset);
	if (err)
		return err;
	p->n_records++;
	p->have_expected = true;
	p->expected = seqno + batch_bytes_count(record);
	p->last_log = p->number;
	if (numbers)
		p->out->last_seqno = seqno + numbers - 1;
	return CAIRN_OK;
}

/* ------------------------------------------------------------------- a log */

static int open_log(struct replay *p, uint64_t number)
{
	int err;

	p->ours = false;
	p->have_note = false;
	p->n_records = 0;
	p->number = number;
	p->path = filename_wal(p->db->dir, number);
	if (!p->path)
		return error_nomem();
	err = env_open_read(p->db->env, p->path, &p->file);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EIO, "%s: it was there a moment ago",
				p->path);
	if (err)
		return err;
	return log_reader_new(p->file, p->path, number, &p->reader);
}

static void close_log(struct replay *p)
{
	log_reader_free(p->reader);
	rfile_close(p->file);
	free(p->path);
	p->reader = NULL;
	p->file = NULL;
	p->path = NULL;
}

static int replay_log(struct replay *p)
{
	struct cairn_slice record;
	uint64_t offset;
	int err;

	for (;;) {
		err = log_reader_next(p->reader, &record);
		if (err)
			break;
		err = replay_record(p, record);
		if (err == CAIRN_NOT_FOUND)
			return set_torn(p, log_reader_offset(p->reader));
		if (err)
			return err;
	}
	offset = log_reader_offset(p->reader);
	if (err == CAIRN_NOT_FOUND)
		return log_reader_end(p->reader) == LOG_END_TORN
			       ? set_torn(p, offset)
			       : CAIRN_OK;
	if (err == CAIRN_ECORRUPT)
		err = judge_damage(p, err, offset);
	return err == CAIRN_NOT_FOUND ? set_torn(p, offset) : err;
}

int recover_check_logs(struct cairn_db *db, const uint64_t *numbers, size_t n,
		       struct recovery *r, size_t *failed, uint64_t *n_records)
{
	struct replay p = { .db = db, .only_check = true, .out = r };
	int err = CAIRN_OK;

	for (*failed = 0; *failed < n; ++*failed) {
		err = open_log(&p, numbers[*failed]);
		if (!err)
			err = replay_log(&p);
		*n_records += p.n_records;
		close_log(&p);
		if (err)
			break;
	}
	free(p.torn_path);
	return err;
}

int recover_logs(struct cairn_db *db, const uint64_t *numbers, size_t n,
		 int (*spill)(void *ctx), void *ctx, struct recovery *r)
{
	struct replay p = {
		.db = db,
		.out = r,
		.spill = spill,
		.ctx = ctx,
	};
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < n; i++) {
		err = open_log(&p, numbers[i]);
		if (!err)
			err = replay_log(&p);
		close_log(&p);
	}
	if (err == CAIRN_ECORRUPT && db->opts.point_in_time_recovery) {
		events_log(db->events, "%s; what was written later is lost",
			   cairn_errmsg());
		err = CAIRN_OK;
	}
	free(p.torn_path);
	return err;
}
