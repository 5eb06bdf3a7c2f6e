/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the records of a log, legacy and recyclable, and judges how it ends.
 *
 * A log may end in the middle of a record: that is what a crash leaves. Bytes
 * that are no record with a whole record behind them are damage. RocksDB stops
 * silently at both; cairn tells them apart by reading ahead.
 */
#ifndef CAIRN_WAL_READER_H
#define CAIRN_WAL_READER_H

#include "engine/env/env.h"

struct log_reader;

/* How the log ended, once log_reader_next() returned CAIRN_NOT_FOUND. */
enum log_end {
	/* After a whole record, or at zeros of a preallocated file. */
	LOG_END_CLEAN,
	/* In a record cut short or garbled, with nothing whole behind it. */
	LOG_END_TORN,
};

/*
 * Reads from the front of f, which is borrowed. path is for messages, copied.
 * log_number is what recyclable records must carry; others end the log.
 */
MUST_CHECK int log_reader_new(struct rfile *f, const char *path,
			      uint64_t log_number, struct log_reader **out);
void log_reader_free(struct log_reader *r); /* NULL is allowed */

/*
 * CAIRN_OK and the record, which may be empty, valid until the next call;
 * CAIRN_NOT_FOUND at the end; CAIRN_ECORRUPT (path, offset, reason) for damage;
 * CAIRN_ENOTSUP for a compressed log; CAIRN_EIO. After anything but CAIRN_OK
 * the same is returned again. Memory is bounded by the file's size.
 */
MUST_CHECK int log_reader_next(struct log_reader *r,
			       struct cairn_slice *record);

/*
 * Offset in the file of the record last returned; after the end, of the place
 * where records end; after damage, of the bad record.
 */
uint64_t log_reader_offset(const struct log_reader *r);

/* After CAIRN_NOT_FOUND only. */
enum log_end log_reader_end(const struct log_reader *r);

/*
 * Of a torn end: whether bytes are there that are wrong, rather than bytes
 * missing. A process that dies while it appends leaves only the latter.
 */
bool log_reader_garbled(const struct log_reader *r);

#endif
