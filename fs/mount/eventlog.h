/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engine did, as lines: one JSON object for each event, in the order
 * they happened, of which the last EVENTLOG_KEPT are kept for who comes later.
 *
 *   {"ts":"2026-11-23T10:14:02.113Z","seq":9120,"event":"flush_end","job":813,
 *    "status":"ok","files_out":1,"bytes_out":61551411,"seconds":0.512}
 *
 * ts, seq and event come first, then job where there is one. seq counts from 1
 * without gaps. A reader that is so far behind that lines are not kept any more
 * gets {"ts":...,"event":"dropped","count":N} in their place.
 */
#ifndef CAIRN_FS_EVENTLOG_H
#define CAIRN_FS_EVENTLOG_H

#include "engine/base/buf.h"
#include "engine/cairn.h"

#define EVENTLOG_KEPT 1024u

struct eventlog;
struct eventlog_reader;

MUST_CHECK int eventlog_new(struct eventlog **out);
/* All readers are gone. NULL is allowed. */
void eventlog_free(struct eventlog *l);

/* For cairn_listener.event: ctx is the eventlog. An event that finds no memory
 * is counted as dropped. */
void eventlog_add(void *ctx, const struct cairn_event *e);
/* A request took longer than it should. time_us: since 1970. */
void eventlog_slow(struct eventlog *l, const char *op, uint64_t time_us,
		   uint64_t duration_us);

/* Begins with the oldest line that is kept. */
MUST_CHECK int eventlog_reader_new(struct eventlog *l,
				   struct eventlog_reader **out);
void eventlog_reader_free(struct eventlog_reader *r);
/* Append all lines that r has not seen. CAIRN_NOT_FOUND: there are none. */
MUST_CHECK int eventlog_next(struct eventlog_reader *r, struct buf *out);
/* Call ready(ctx), with a lock held, when lines were added; NULL: not any more,
 * and no call is under way on return. */
void eventlog_on_ready(struct eventlog_reader *r, void (*ready)(void *ctx),
		       void *ctx);

#endif
