/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Background work: one thread flushes, max_background_jobs threads compact,
 * manual compactions run on their caller's thread.
 *
 * Also here, because jobs end in it: the MANIFEST token, by which edits are
 * logged one at a time, and the background error.
 *
 *   none -> soft   a compaction failed; it is tried again after a pause, writes
 *                  go on
 *        -> hard   a flush, the MANIFEST or the WAL failed; writes are refused,
 *                  reads go on. After a pause new files are tried, with the
 *                  option auto_resume also in place of a failed WAL; else
 *                  cairn_resume() does it
 */
#ifndef CAIRN_DB_WORK_H
#define CAIRN_DB_WORK_H

#include "engine/db/db.h"

struct work;

/* Starts the threads, which do nothing before work_start(). */
MUST_CHECK int work_new(struct cairn_db *db, struct work **out);
void work_start(struct work *w);
/* End the jobs and the threads, free. NULL is allowed. */
void work_free(struct work *w);

/* CAIRN_OK when something may begin that writes: no background error of the
 * hard kind, and the database is not closing. mu held. */
MUST_CHECK int work_check_usable(struct work *w);

/* Flush all memtables and wait for it, as cairn_flush(), for the one who has
 * the log. */
MUST_CHECK int work_flush_all(struct work *w);

/* A memtable that waits for its flush lost its last writer. No locks. */
void work_flush_ready(struct work *w);

/* A sampled read was the last straw for f (file_meta_charge_read()). No locks.
 */
void work_note_read_often(struct work *w, struct file_meta *f);

/* A snapshot of seqno was released: what it barred may be due. mu held. */
void work_snapshot_gone(struct work *w, uint64_t seqno);

/*
 * Log edit and install the version. mu held; let go for the I/O. On CAIRN_OK
 * the version is current and mu has been held since: the caller goes on to
 * change what belongs to it and calls work_install_read_state(). A failure is
 * for the caller to latch.
 */
MUST_CHECK int work_log_edit(struct work *w, struct version_edit *edit);

/* version_set_take_image(), in one's turn among those who log edits. mu held,
 * let go while waiting. */
void work_take_image(struct work *w, struct version_set_image *out);

/* db_install_read_state(); what finds no memory is tried again later, for the
 * old state is still right, only old. mu held. */
void work_install_read_state(struct work *w);

/* -------------------------------------------------------- background error */

enum error_severity { ERROR_NONE, ERROR_SOFT, ERROR_HARD };
enum error_source {
	ERROR_OF_COMPACTION,
	ERROR_OF_FLUSH,
	ERROR_OF_MANIFEST,
	ERROR_OF_WAL,
};

struct background_error {
	enum error_severity severity;
	enum error_source source;
	int code;
	char message[1024];
	uint64_t since_us; /* wall clock */
};

/*
 * Latch code with this thread's message, unless something as bad is latched
 * already, and wake everybody. mu held; events_drain() later.
 */
void work_set_error(struct work *w, enum error_severity severity,
		    enum error_source source, int code);

/* mu held; borrowed until mu is let go. */
const struct background_error *work_error(const struct work *w);

/* Whether writes are refused. Any thread. */
bool work_refuses_writes(const struct work *w);

/* The lowest number in a memtable; 0: they are empty. mu held. */
uint64_t work_unflushed_seqno(const struct cairn_db *db);

/* Whether a compaction is running, or may be picked. mu held. */
bool work_compactions_due(const struct work *w);

/* CAIRN_OK, or why writes are refused. No locks. */
MUST_CHECK int work_check_writable(struct work *w);

/* Whether waiting for compactions is in vain: they keep failing. mu held. */
bool work_compactions_fail(const struct work *w);

/* While writes are refused: sets the message and returns CAIRN_EROFS, or
 * CAIRN_ENOSPC when it is for want of space. No locks, or mu with _locked. */
int work_refuse(struct work *w);
int work_refuse_locked(struct work *w);

/* ----------------------------------------------------------------- metrics */

struct work_counts {
	uint64_t flush_running;
	uint64_t compactions_running;
	uint64_t in_progress_bytes; /* inputs of running compactions */
	uint64_t written_bytes;     /* by running jobs, not yet installed */
};
/* mu held. */
void work_count(const struct work *w, struct work_counts *out);
/* Targets and scores as the picker sees them now. mu held. */
void work_targets(const struct work *w, struct level_targets *out);

#endif
