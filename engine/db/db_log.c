/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/db_log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"
#include "engine/wal/writer.h"

/* Writeback starts after so many bytes, so that the sync at the end of a log
 * has little left to do. */
#define HINT_BYTES (UINT64_C(512) << 10)

struct db_log {
	uint64_t number;
	struct log_writer *writer;
	struct wfile *file; /* borrowed from writer, for hints and syncs */
	/* Bytes known to be durable. Stored with release after the sync, pairs
	 * with whoever says that they are. */
	_Atomic uint64_t synced;
	uint64_t noted;      /* what the last note says of that */
	uint64_t hinted;     /* bytes whose writeback was asked for */
	uint64_t next_seqno; /* of the next batch, if none is left out */
	_Atomic bool failed; /* relaxed: it comes with an error */
};

void log_note_encode(const struct log_note *n, uint8_t *p)
{
	p = put_le64(p, n->seqno);
	p = put_le32(p, 0);
	*p++ = KIND_LOG_DATA;
	*p++ = LOG_NOTE_LEN;
	memcpy(p, LOG_NOTE_MAGIC, LOG_NOTE_MAGIC_LEN);
	p += LOG_NOTE_MAGIC_LEN;
	p = put_le64(p, n->synced);
	put_le64(p, n->expected);
}

bool log_note_decode(struct cairn_slice record, struct log_note *out)
{
	const uint8_t *p = record.data;

	if (record.len != LOG_NOTE_RECORD_LEN || load_le32(p + 8) != 0 ||
	    p[BATCH_HEADER_LEN] != KIND_LOG_DATA ||
	    p[BATCH_HEADER_LEN + 1] != LOG_NOTE_LEN ||
	    memcmp(p + BATCH_HEADER_LEN + 2, LOG_NOTE_MAGIC,
		   LOG_NOTE_MAGIC_LEN) != 0)
		return false;
	out->seqno = load_le64(p);
	p += BATCH_HEADER_LEN + 2 + LOG_NOTE_MAGIC_LEN;
	out->synced = load_le64(p);
	out->expected = load_le64(p + 8);
	return true;
}

static int add_note(struct db_log *l, uint64_t seqno)
{
	struct log_note note = { seqno, db_log_synced(l), l->next_seqno };
	uint8_t record[LOG_NOTE_RECORD_LEN];
	int err;

	log_note_encode(&note, record);
	err = log_writer_add(l->writer, slice_of(record, sizeof(record)));
	if (err)
		return err;
	l->noted = note.synced;
	l->next_seqno = seqno;
	return CAIRN_OK;
}

/* The first note, durable, and the name. */
static int begin(struct db_log *l, uint64_t seqno, struct cairn_env *env,
		 const char *dir)
{
	int err = add_note(l, seqno);

	if (!err)
		err = db_log_flush(l);
	if (!err)
		err = db_log_sync(l, db_log_size(l));
	if (!err)
		err = env_sync_dir(env, dir);
	return err;
}

int db_log_create(struct cairn_env *env, const char *dir,
		  const struct db_log_start *start, struct db_log **out)
{
	struct db_log *l = calloc(1, sizeof(*l));
	char *path = filename_wal(dir, start->number);
	bool created = false;
	int err;

	if (!l || !path) {
		err = error_nomem();
		goto out;
	}
	l->number = start->number;
	l->next_seqno = start->expected;
	err = env_open_write(env, path, &l->file);
	if (err)
		goto out;
	created = true;
	(void)!wfile_preallocate(l->file, start->room);
	err = log_writer_new(l->file, &l->writer);
	if (err) {
		(void)!wfile_close(l->file);
		goto out;
	}
	err = begin(l, start->seqno, env, dir);
	if (err)
		goto out;
	*out = l;
	l = NULL;
	created = false;
out:
	db_log_free(l);
	if (created) {
		/* Of the two failures the first one is told. */
		char why[1024];

		snprintf(why, sizeof(why), "%s", cairn_errmsg());
		(void)!env_unlink(env, path);
		(void)error_set(err, "%s", why);
	}
	free(path);
	return err;
}

void db_log_free(struct db_log *l)
{
	if (!l)
		return;
	/* What must be durable has been synced; a failed log was reported. */
	(void)!log_writer_close(l->writer);
	free(l);
}

int db_log_add(struct db_log *l, struct cairn_slice batch)
{
	uint64_t seqno = batch_bytes_seqno(batch);
	int err;

	assert(seqno >= l->next_seqno);
	if (db_log_synced(l) != l->noted || seqno != l->next_seqno) {
		err = add_note(l, seqno);
		if (err)
			return err;
	}
	err = log_writer_add(l->writer, batch);
	if (err)
		return err;
	l->next_seqno = seqno + batch_bytes_count(batch);
	return CAIRN_OK;
}

static void fail(struct db_log *l)
{
	atomic_store_explicit(&l->failed, true, memory_order_relaxed);
}

int db_log_flush(struct db_log *l)
{
	uint64_t end;
	int err = log_writer_flush(l->writer);

	if (err) {
		fail(l);
		return err;
	}
	end = log_writer_flushed(l->writer);
	if (end - l->hinted >= HINT_BYTES) {
		wfile_flush_hint(l->file, l->hinted, end - l->hinted);
		l->hinted = end;
	}
	return CAIRN_OK;
}

int db_log_sync(struct db_log *l, uint64_t size)
{
	/* Not the writer's business: another thread may be using it. */
	int err = wfile_sync(l->file);

	if (err)
		fail(l);
	else
		atomic_store_explicit(&l->synced, size, memory_order_release);
	return err;
}

bool db_log_failed(const struct db_log *l)
{
	return atomic_load_explicit(&l->failed, memory_order_relaxed);
}

uint64_t db_log_synced(const struct db_log *l)
{
	return atomic_load_explicit(&l->synced, memory_order_acquire);
}

uint64_t db_log_next_seqno(const struct db_log *l)
{
	return l->next_seqno;
}

uint64_t db_log_number(const struct db_log *l)
{
	return l->number;
}

uint64_t db_log_size(const struct db_log *l)
{
	return log_writer_flushed(l->writer);
}
