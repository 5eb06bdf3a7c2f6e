/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A write-ahead log of the database: a file, its writer, and the notes in it.
 *
 * After a power cut the bytes of a log that were not synced may have holes, so
 * that whole records stand behind a bad one. To tell this from damage, cairn
 * writes notes into its logs, as records that hold a batch without operations:
 * a sequence number, count 0, and one LogData item of LOG_NOTE_LEN bytes:
 *
 *   LOG_NOTE_MAGIC
 *   fixed64: how many bytes of this log had been synced
 *   fixed64: the sequence number that would come next had nothing been left
 *            out of the log
 *
 * RocksDB skips LogData. Every log of cairn begins with a note, which is synced
 * before anything follows; others come with the first batch after a sync, and
 * after batches that were kept out of the log. A bad record that a later note
 * says was synced is damage.
 *
 * Not thread-safe: used by the thread that has the log (commit.h). But another
 * one may sync it meanwhile.
 */
#ifndef CAIRN_DB_DB_LOG_H
#define CAIRN_DB_DB_LOG_H

#include "engine/env/env.h"
#include "engine/kv/batch.h"

#define LOG_NOTE_MAGIC     "cairnlog"
#define LOG_NOTE_MAGIC_LEN 8
#define LOG_NOTE_LEN       (LOG_NOTE_MAGIC_LEN + 16)
/* Batch header, tag, length, data. */
#define LOG_NOTE_RECORD_LEN (BATCH_HEADER_LEN + 2 + LOG_NOTE_LEN)

struct log_note {
	uint64_t seqno;    /* of the batch that follows */
	uint64_t synced;   /* bytes */
	uint64_t expected; /* seqno, unless batches were left out */
};

/* p has room for LOG_NOTE_RECORD_LEN bytes. */
void log_note_encode(const struct log_note *n, uint8_t *p);
/* false: the record is no note. */
bool log_note_decode(struct cairn_slice record, struct log_note *out);

struct db_log;

struct db_log_start {
	uint64_t number;
	uint64_t seqno;    /* of the batch that comes next */
	uint64_t expected; /* the same, by the log before */
	size_t room;       /* bytes that the log will probably take */
};

/*
 * Create a log in dir, with its first note; file and name are durable when this
 * returns CAIRN_OK. Else there is no such file, as far as it could be removed
 * again.
 */
MUST_CHECK int db_log_create(struct cairn_env *env, const char *dir,
			     const struct db_log_start *start,
			     struct db_log **out);

/* Close the file. NULL is allowed. */
void db_log_free(struct db_log *l);

/* Frame a batch that has its sequence number, and a note before it if one is
 * due. CAIRN_ENOMEM: the batch is not in the log. */
MUST_CHECK int db_log_add(struct db_log *l, struct cairn_slice batch);

/* Hand what was added to the system. After a failure the log must be replaced:
 * db_log_failed(). */
MUST_CHECK int db_log_flush(struct db_log *l);

/*
 * Make size bytes durable that are known to have been flushed. Failures as
 * above. Any thread, but one at a time, while another adds and flushes.
 */
MUST_CHECK int db_log_sync(struct db_log *l, uint64_t size);

/* Any thread. */
bool db_log_failed(const struct db_log *l);
uint64_t db_log_synced(const struct db_log *l); /* bytes known to be durable */

/* What would come next had nothing been left out. */
uint64_t db_log_next_seqno(const struct db_log *l);
uint64_t db_log_number(const struct db_log *l);
uint64_t db_log_size(const struct db_log *l); /* bytes flushed */

#endif
