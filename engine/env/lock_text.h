/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in a LOCK file for people and other processes to read: one line,
 * "pid N NOTE since RFC3339-TIME". The lock itself is the system's; the text
 * may be missing, or left over from a process that was killed.
 */
#ifndef CAIRN_ENV_LOCK_TEXT_H
#define CAIRN_ENV_LOCK_TEXT_H

#include "engine/base/buf.h"

/*
 * Append the line, newline included, to out; it fits into cairn_holder.note
 * whatever the note (NULL: none). Control characters become '?'.
 */
MUST_CHECK int lock_text_append(struct buf *out, long pid, const char *note,
				uint64_t now_us);

/* The first line of text, without its newline, into h->note. */
void lock_text_read(struct cairn_slice text, struct cairn_holder *h);

/* CAIRN_EBUSY, with a message saying that h has path. pid <= 0: unknown. */
int lock_text_busy(const char *path, const struct cairn_holder *h);

#endif
