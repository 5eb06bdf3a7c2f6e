/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/eventlog.h"

#include <stdlib.h>
#include <time.h>

#include "engine/base/error.h"
#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "fs/text/jsontext.h"

struct eventlog {
	struct mutex mu;
	/* Guarded by mu. */
	uint64_t n;       /* events so far: seq of the last one */
	uint64_t time_us; /* of the last one */
	struct list readers;
	/* Event seq is in lines[seq % EVENTLOG_KEPT]; empty when there was no
	 * memory for it. */
	struct buf lines[EVENTLOG_KEPT];
};

struct eventlog_reader {
	struct eventlog *l;
	struct list node;
	uint64_t next; /* seq */
	void (*ready)(void *ctx);
	void *ctx;
};

/* ------------------------------------------------------------------ lines */

/* What of an event is told, and how it is called there. */
enum {
	LEVELS = 1 << 0, /* from, to */
	LEVEL = 1 << 1,  /* to_level alone */
	FILE_NO = 1 << 2,
	OUT = 1 << 3, /* files_out and bytes_out, of what has ended well */
	BYTES = 1 << 4,
	STATUS = 1 << 5,
	SECONDS = 1 << 6,
};

struct shape {
	unsigned fields;
	const char *files_in; /* and bytes */
	const char *reason;
	const char *bytes_in; /* what these two are, when they are no job's */
	const char *bytes_out;
};

static struct shape shape_of(enum cairn_event_kind kind)
{
	switch (kind) {
	case CAIRN_EVENT_OPEN:
		return (struct shape){ .fields = SECONDS };
	case CAIRN_EVENT_CLOSE:
		return (struct shape){ .fields = STATUS };
	case CAIRN_EVENT_FLUSH_BEGIN:
		return (struct shape){ .files_in = "memtables",
				       .reason = "reason" };
	case CAIRN_EVENT_COMPACTION_BEGIN:
		return (struct shape){ .fields = LEVELS,
				       .files_in = "files",
				       .reason = "reason" };
	case CAIRN_EVENT_FLUSH_END:
		return (struct shape){ .fields = STATUS | OUT | SECONDS };
	case CAIRN_EVENT_COMPACTION_END:
		return (struct shape){ .fields = LEVELS | STATUS | OUT |
						 SECONDS };
	case CAIRN_EVENT_TABLE_CREATED:
		return (struct shape){ .fields = FILE_NO | LEVEL | BYTES };
	case CAIRN_EVENT_TABLE_INGESTED:
		return (struct shape){ .fields = FILE_NO | LEVEL | BYTES |
						 SECONDS,
				       .reason = "path" };
	case CAIRN_EVENT_TABLE_DELETED:
	case CAIRN_EVENT_WAL_DELETED:
		return (struct shape){ .fields = FILE_NO | BYTES | STATUS };
	case CAIRN_EVENT_WAL_CREATED:
	case CAIRN_EVENT_MANIFEST_CREATED:
		return (struct shape){ .fields = FILE_NO };
	case CAIRN_EVENT_STALL_BEGIN:
		return (struct shape){ .reason = "cause" };
	case CAIRN_EVENT_STALL_END:
		return (struct shape){ .fields = SECONDS, .reason = "cause" };
	case CAIRN_EVENT_BACKGROUND_ERROR:
	case CAIRN_EVENT_CORRUPTION:
		return (struct shape){ .fields = FILE_NO | STATUS,
				       .reason = "source" };
	case CAIRN_EVENT_PROBLEM_SPAN_BEGIN:
	case CAIRN_EVENT_PROBLEM_SPAN_END:
		return (struct shape){ .fields = FILE_NO | LEVEL,
				       .reason = "name" };
	case CAIRN_EVENT_QUOTA_REACHED:
	case CAIRN_EVENT_QUOTA_CLEARED:
		return (struct shape){ .bytes_in = "used",
				       .bytes_out = "quota" };
	case CAIRN_EVENT_LOW_DISK:
	case CAIRN_EVENT_LOW_DISK_OVER:
		return (struct shape){ .bytes_in = "free",
				       .bytes_out = "reserve" };
	case CAIRN_EVENT_RESUMED:
		return (struct shape){ .fields = SECONDS, .reason = "source" };
	}
	/* A kind of a newer engine: what it may have. */
	return (struct shape){ .fields = FILE_NO | STATUS | SECONDS,
			       .reason = "reason" };
}

static int add_number(struct buf *out, const char *name, uint64_t v)
{
	return buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)v);
}

static int add_string(struct buf *out, const char *name, const char *text)
{
	int err = buf_printf(out, ",\"%s\":", name);

	return err ? err : jsontext_string(slice_str(text), out);
}

static int add_seconds(struct buf *out, uint64_t us)
{
	return buf_printf(out, ",\"seconds\":%llu.%06llu",
			  (unsigned long long)(us / 1000000),
			  (unsigned long long)(us % 1000000));
}

/* {"ts":"2026-11-23T10:14:02.113Z" */
static int begin_line(struct buf *out, uint64_t time_us)
{
	time_t s = (time_t)(time_us / 1000000);
	struct tm tm = { 0 };
	char when[40];

	gmtime_r(&s, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	return buf_printf(out, "{\"ts\":\"%s.%03uZ\"", when,
			  (unsigned)(time_us / 1000 % 1000));
}

/* Where it happened. */
static int add_place(struct buf *out, const struct shape *s,
		     const struct cairn_event *e)
{
	int err = e->job ? add_number(out, "job", e->job) : CAIRN_OK;

	if (!err && s->fields & LEVELS)
		err = buf_printf(out, ",\"from\":%d,\"to\":%d", e->from_level,
				 e->to_level);
	if (!err && s->fields & FILE_NO && e->file_number)
		err = add_number(out, "file", e->file_number);
	if (!err && s->fields & LEVEL)
		err = buf_printf(out, ",\"level\":%d", e->to_level);
	if (!err && s->reason && e->reason)
		err = add_string(out, s->reason, e->reason);
	return err;
}

/* How much it is, and how it went. */
static int add_amounts(struct buf *out, const struct shape *s,
		       const struct cairn_event *e)
{
	int err = CAIRN_OK;

	if (s->bytes_in)
		err = add_number(out, s->bytes_in, e->bytes_in);
	if (!err && s->bytes_out)
		err = add_number(out, s->bytes_out, e->bytes_out);
	if (!err && s->files_in)
		err = add_number(out, s->files_in, (uint64_t)e->files_in);
	if (!err && s->files_in)
		err = add_number(out, "bytes", e->bytes_in);
	if (!err && s->fields & STATUS)
		err = add_string(out, "status",
				 e->code ? cairn_strerror(e->code) : "ok");
	if (!err && s->fields & OUT && !e->code)
		err = add_number(out, "files_out", (uint64_t)e->files_out);
	if (!err && s->fields & OUT && !e->code)
		err = add_number(out, "bytes_out", e->bytes_out);
	if (!err && s->fields & BYTES)
		err = add_number(out, "bytes", e->bytes_out);
	if (!err && s->fields & SECONDS)
		err = add_seconds(out, e->duration_us);
	if (!err && e->detail)
		err = add_string(out, "message", e->detail);
	return err;
}

static int make_line(struct buf *out, const struct cairn_event *e, uint64_t seq)
{
	struct shape s = shape_of(e->kind);
	int err = begin_line(out, e->time_us);

	if (!err)
		err = buf_printf(out, ",\"seq\":%llu,\"event\":\"%s\"",
				 (unsigned long long)seq,
				 cairn_event_name(e->kind));
	if (!err)
		err = add_place(out, &s, e);
	if (!err)
		err = add_amounts(out, &s, e);
	return err ? err : buf_append(out, "}\n", 2);
}

static int make_slow_line(struct buf *out, const char *op, uint64_t time_us,
			  uint64_t duration_us, uint64_t seq)
{
	int err = begin_line(out, time_us);

	if (!err)
		err = buf_printf(out,
				 ",\"seq\":%llu,\"event\":\"slow_request\"",
				 (unsigned long long)seq);
	if (!err)
		err = add_string(out, "op", op);
	if (!err)
		err = add_seconds(out, duration_us);
	return err ? err : buf_append(out, "}\n", 2);
}

/* In the place of lines that are not there. */
static int add_dropped(struct buf *out, uint64_t time_us, uint64_t count)
{
	int err = begin_line(out, time_us);

	if (!err)
		err = buf_printf(out,
				 ",\"event\":\"dropped\",\"count\":%llu}\n",
				 (unsigned long long)count);
	return err;
}

/* ---------------------------------------------------------------- writing */

int eventlog_new(struct eventlog **out)
{
	struct eventlog *l = calloc(1, sizeof(*l));

	if (!l)
		return error_nomem();
	mutex_init(&l->mu);
	list_init(&l->readers);
	*out = l;
	return CAIRN_OK;
}

void eventlog_free(struct eventlog *l)
{
	if (!l)
		return;
	assert(list_empty(&l->readers));
	for (size_t i = 0; i < EVENTLOG_KEPT; i++)
		buf_fini(&l->lines[i]);
	mutex_fini(&l->mu);
	free(l);
}

static struct buf *line_of(struct eventlog *l, uint64_t seq)
{
	return &l->lines[seq % EVENTLOG_KEPT];
}

/* The line of the next event, to be made; mu is held until end_add(). */
static struct buf *begin_add(struct eventlog *l, uint64_t time_us)
{
	struct buf *line;

	mutex_lock(&l->mu);
	l->time_us = time_us;
	line = line_of(l, ++l->n);
	/* A long message is not to take its room for ever. */
	buf_fini(line);
	*line = (struct buf){ 0 };
	return line;
}

static void end_add(struct eventlog *l, struct buf *line, int err)
{
	if (err)
		buf_clear(line);
	list_for_each (pos, &l->readers) {
		struct eventlog_reader *r =
			list_entry(pos, struct eventlog_reader, node);

		if (r->ready)
			r->ready(r->ctx);
	}
	mutex_unlock(&l->mu);
}

void eventlog_add(void *ctx, const struct cairn_event *e)
{
	struct eventlog *l = ctx;
	struct buf *line = begin_add(l, e->time_us);

	end_add(l, line, make_line(line, e, l->n));
}

void eventlog_slow(struct eventlog *l, const char *op, uint64_t time_us,
		   uint64_t duration_us)
{
	struct buf *line = begin_add(l, time_us);

	end_add(l, line, make_slow_line(line, op, time_us, duration_us, l->n));
}

/* ---------------------------------------------------------------- reading */

static uint64_t oldest(const struct eventlog *l)
{
	return l->n < EVENTLOG_KEPT ? 1 : l->n - EVENTLOG_KEPT + 1;
}

int eventlog_reader_new(struct eventlog *l, struct eventlog_reader **out)
{
	struct eventlog_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return error_nomem();
	r->l = l;
	mutex_lock(&l->mu);
	r->next = oldest(l);
	list_add_tail(&l->readers, &r->node);
	mutex_unlock(&l->mu);
	*out = r;
	return CAIRN_OK;
}

void eventlog_reader_free(struct eventlog_reader *r)
{
	mutex_lock(&r->l->mu);
	list_remove(&r->node);
	mutex_unlock(&r->l->mu);
	free(r);
}

/* The lines from seq from on. */
static int add_lines(struct eventlog *l, uint64_t from, struct buf *out)
{
	uint64_t dropped = 0;
	int err = CAIRN_OK;

	if (from < oldest(l)) {
		dropped = oldest(l) - from;
		from = oldest(l);
	}
	for (uint64_t seq = from; seq <= l->n && !err; seq++) {
		const struct buf *line = line_of(l, seq);

		if (line->len == 0) {
			dropped++;
			continue;
		}
		if (dropped)
			err = add_dropped(out, l->time_us, dropped);
		dropped = 0;
		if (!err)
			err = buf_append(out, line->data, line->len);
	}
	if (!err && dropped)
		err = add_dropped(out, l->time_us, dropped);
	return err;
}

int eventlog_next(struct eventlog_reader *r, struct buf *out)
{
	struct eventlog *l = r->l;
	size_t was = out->len;
	int err = CAIRN_NOT_FOUND;

	mutex_lock(&l->mu);
	if (r->next <= l->n) {
		err = add_lines(l, r->next, out);
		if (!err)
			r->next = l->n + 1;
	}
	mutex_unlock(&l->mu);
	/* Nothing is lost: it will be tried again. */
	if (err)
		out->len = was;
	return err;
}

void eventlog_on_ready(struct eventlog_reader *r, void (*ready)(void *ctx),
		       void *ctx)
{
	mutex_lock(&r->l->mu);
	r->ready = ready;
	r->ctx = ctx;
	mutex_unlock(&r->l->mu);
}
