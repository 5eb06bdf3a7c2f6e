/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what can be read of a damaged log: a record that is whole is returned,
 * whatever lies before it. reader.h, in contrast, ends at the first spot that
 * is not right, because what follows it must not be taken for the next change.
 *
 * Behind a bad fragment reading goes on with the next one of the block if the
 * header tells where that is, else with the next block. Payloads are not looked
 * into: a value may be a log itself.
 */
#ifndef CAIRN_WAL_SALVAGE_H
#define CAIRN_WAL_SALVAGE_H

#include "engine/env/env.h"

struct log_salvage;

/* Bytes that hold no whole record. */
struct log_gap {
	uint64_t offset;
	uint64_t len;
	const char *why; /* NULL: there is no gap */
};

/*
 * Reads f, which is borrowed, from the front. path is for messages, copied.
 * log_number is what recyclable records must carry (others are what the file
 * held before, and end the log); 0: whatever the first one carries.
 */
MUST_CHECK int log_salvage_new(struct rfile *f, const char *path,
			       uint64_t log_number, struct log_salvage **out);
void log_salvage_free(struct log_salvage *s); /* NULL is allowed */

/*
 * CAIRN_OK and the record, valid until the next call; CAIRN_NOT_FOUND at the
 * end; CAIRN_ENOTSUP for a compressed log and for records of newer releases
 * that must not be ignored; CAIRN_EIO, CAIRN_ENOMEM.
 */
MUST_CHECK int log_salvage_next(struct log_salvage *s,
				struct cairn_slice *record);

/* Of the record last returned. */
uint64_t log_salvage_offset(const struct log_salvage *s);

/*
 * What was passed over on the way to the record, or to the end, that the last
 * call returned. A record that the end of the file cuts short is a gap, too:
 * log_salvage_cut() tells it from others.
 */
struct log_gap log_salvage_gap(const struct log_salvage *s);
bool log_salvage_cut(const struct log_salvage *s);

#endif
