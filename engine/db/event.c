/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queue. A record holds the event and its strings in one allocation; one
 * that finds no memory is lost before it gets a number, so that the numbers
 * have no gaps.
 */
#include "engine/db/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "engine/version/filename.h"

#define LOG_SIZE_MAX  (UINT64_C(8) << 20)
#define LOG_LINE_MAX  1536
#define LOG_OLD_KEPT  4
#define LOG_OLD_START "LOG.old."

struct record {
	struct list link;
	struct cairn_event event;
	bool text_only; /* event.detail is a line for LOG */
	long thread;
	char strings[];
};

struct events {
	struct cairn_env *env;
	char *dir;
	struct cairn_listener listener;

	struct mutex mu; /* a leaf lock */
	/* Guarded by mu. */
	struct list queue;
	uint64_t n_queued; /* events, so the number of the last one */
	bool draining;
	bool log_wanted; /* a new LOG is to be begun */

	/* The draining thread's. */
	struct wfile *log;
	uint64_t log_size;
};

const char *cairn_event_name(enum cairn_event_kind kind)
{
	switch (kind) {
	case CAIRN_EVENT_OPEN:
		return "open";
	case CAIRN_EVENT_CLOSE:
		return "close";
	case CAIRN_EVENT_FLUSH_BEGIN:
		return "flush_begin";
	case CAIRN_EVENT_FLUSH_END:
		return "flush_end";
	case CAIRN_EVENT_COMPACTION_BEGIN:
		return "compaction_begin";
	case CAIRN_EVENT_COMPACTION_END:
		return "compaction_end";
	case CAIRN_EVENT_TABLE_CREATED:
		return "table_created";
	case CAIRN_EVENT_TABLE_DELETED:
		return "table_deleted";
	case CAIRN_EVENT_WAL_CREATED:
		return "wal_created";
	case CAIRN_EVENT_WAL_DELETED:
		return "wal_deleted";
	case CAIRN_EVENT_MANIFEST_CREATED:
		return "manifest_created";
	case CAIRN_EVENT_STALL_BEGIN:
		return "stall_begin";
	case CAIRN_EVENT_STALL_END:
		return "stall_end";
	case CAIRN_EVENT_TABLE_INGESTED:
		return "table_ingested";
	case CAIRN_EVENT_PROBLEM_SPAN_BEGIN:
		return "problem_span_begin";
	case CAIRN_EVENT_PROBLEM_SPAN_END:
		return "problem_span_end";
	case CAIRN_EVENT_QUOTA_REACHED:
		return "quota_reached";
	case CAIRN_EVENT_QUOTA_CLEARED:
		return "quota_cleared";
	case CAIRN_EVENT_LOW_DISK:
		return "low_disk";
	case CAIRN_EVENT_LOW_DISK_OVER:
		return "low_disk_over";
	case CAIRN_EVENT_RESUMED:
		return "resumed";
	case CAIRN_EVENT_BACKGROUND_ERROR:
		return "background_error";
	case CAIRN_EVENT_CORRUPTION:
		return "corruption";
	}
	return "unknown";
}

int events_new(struct cairn_env *env, const char *dir,
	       const struct cairn_listener *listener, struct events **out)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return error_nomem();
	ev->dir = strdup(dir);
	if (!ev->dir) {
		free(ev);
		return error_nomem();
	}
	ev->env = env;
	ev->listener = *listener;
	mutex_init(&ev->mu);
	list_init(&ev->queue);
	*out = ev;
	return CAIRN_OK;
}

static void close_log(struct events *ev)
{
	/* Nothing depends on it. */
	(void)!wfile_close(ev->log);
	ev->log = NULL;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	events_drain(ev);
	assert(list_empty(&ev->queue));
	close_log(ev);
	mutex_fini(&ev->mu);
	free(ev->dir);
	free(ev);
}

/* --------------------------------------------------------------------- LOG */

static bool is_old_log(const char *name, uint64_t *micros)
{
	char *end;

	if (strncmp(name, LOG_OLD_START, strlen(LOG_OLD_START)) != 0)
		return false;
	name += strlen(LOG_OLD_START);
	if (*name < '0' || *name > '9')
		return false;
	*micros = strtoull(name, &end, 10);
	return *end == '\0';
}

/* Remove the oldest of the old ones until few are left. */
static void remove_old_logs(struct events *ev)
{
	struct env_names names;

	if (env_list(ev->env, ev->dir, &names))
		return;
	for (;;) {
		const char *oldest = NULL;
		uint64_t oldest_micros = 0;
		size_t oldest_at = 0;
		size_t n = 0;
		char *path;

		for (size_t i = 0; i < names.n; i++) {
			uint64_t micros;

			if (!is_old_log(names.names[i], &micros))
				continue;
			n++;
			if (!oldest || micros < oldest_micros) {
				oldest = names.names[i];
				oldest_micros = micros;
				oldest_at = i;
			}
		}
		if (n <= LOG_OLD_KEPT)
			break;
		path = filename_in(ev->dir, oldest);
		if (path)
			(void)!env_unlink(ev->env, path);
		free(path);
		names.names[oldest_at][0] = '\0';
	}
	env_names_free(&names);
}

static char *old_log_path(struct events *ev)
{
	char name[64];

	snprintf(name, sizeof(name), LOG_OLD_START "%llu",
		 (unsigned long long)env_now_us(ev->env));
	return filename_in(ev->dir, name);
}

static void rotate_log(struct events *ev)
{
	char *path = filename_in(ev->dir, "LOG");
	char *old = old_log_path(ev);
	struct env_stat st;

	close_log(ev);
	if (path && old && env_stat(ev->env, path, &st) == CAIRN_OK)
		(void)!env_rename(ev->env, path, old);
	if (path && env_open_write(ev->env, path, &ev->log))
		ev->log = NULL;
	ev->log_size = 0;
	free(old);
	free(path);
	remove_old_logs(ev);
}

void events_open_log(struct events *ev)
{
	mutex_lock(&ev->mu);
	ev->log_wanted = true;
	mutex_unlock(&ev->mu);
	events_drain(ev);
}

/* As RocksDB's: "2022/11/27-03:10:15.123456 140012 TEXT". */
static void write_line(struct events *ev, const struct record *r,
		       const char *text)
{
	time_t seconds = (time_t)(r->event.time_us / 1000000);
	char line[LOG_LINE_MAX + 64];
	struct tm tm = { 0 };
	char when[32];
	int len;

	if (!ev->log)
		return;
	localtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y/%m/%d-%H:%M:%S", &tm);
	len = snprintf(line, sizeof(line) - 1, "%s.%06u %ld %s", when,
		       (unsigned)(r->event.time_us % 1000000), r->thread, text);
	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = (int)sizeof(line) - 2;
	/* A name or a key in a message must not end the line. */
	for (int i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	line[len++] = '\n';
	if (wfile_append(ev->log, line, (size_t)len)) {
		close_log(ev);
		return;
	}
	ev->log_size += (uint64_t)len;
	if (ev->log_size > LOG_SIZE_MAX)
		rotate_log(ev);
}

struct text {
	char s[LOG_LINE_MAX];
	size_t len;
};

static void text_add(struct text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	t->len += (size_t)n;
	if (t->len > sizeof(t->s) - 1)
		t->len = sizeof(t->s) - 1;
}

static void text_add_number(struct text *t, const char *name, uint64_t v)
{
	if (v)
		text_add(t, " %s %llu", name, (unsigned long long)v);
}

static bool has_levels(enum cairn_event_kind kind)
{
	return kind == CAIRN_EVENT_COMPACTION_BEGIN ||
	       kind == CAIRN_EVENT_COMPACTION_END;
}

static void log_event(struct events *ev, const struct record *r)
{
	const struct cairn_event *e = &r->event;
	struct text t = { .len = 0 };

	text_add(&t, "[%s]", cairn_event_name(e->kind));
	text_add_number(&t, "job", e->job);
	text_add_number(&t, "file", e->file_number);
	if (has_levels(e->kind))
		text_add(&t, " L%d->L%d", e->from_level, e->to_level);
	text_add_number(&t, "files_in", (uint64_t)e->files_in);
	text_add_number(&t, "files_out", (uint64_t)e->files_out);
	text_add_number(&t, "bytes_in", e->bytes_in);
	text_add_number(&t, "bytes_out", e->bytes_out);
	text_add_number(&t, "duration_us", e->duration_us);
	if (e->reason)
		text_add(&t, " (%s)", e->reason);
	if (e->code)
		text_add(&t, " %s", cairn_strerror(e->code));
	if (e->detail)
		text_add(&t, ": %s", e->detail);
	write_line(ev, r, t.s);
}

/* ------------------------------------------------------------------- queue */

static char *copy_string(char *to, const char *from, const char **out)
{
	size_t len;

	if (!from) {
		*out = NULL;
		return to;
	}
	len = strlen(from) + 1;
	memcpy(to, from, len);
	*out = to;
	return to + len;
}

static struct record *record_new(const struct cairn_event *e)
{
	size_t len = (e->reason ? strlen(e->reason) + 1 : 0) +
		     (e->detail ? strlen(e->detail) + 1 : 0);
	struct record *r = malloc(sizeof(*r) + len);
	char *p;

	if (!r)
		return NULL;
	r->event = *e;
	r->thread = (long)gettid();
	p = copy_string(r->strings, e->reason, &r->event.reason);
	copy_string(p, e->detail, &r->event.detail);
	return r;
}

static void enqueue(struct events *ev, const struct cairn_event *e,
		    bool text_only)
{
	struct record *r = record_new(e);

	if (!r)
		return;
	r->text_only = text_only;
	mutex_lock(&ev->mu);
	r->event.time_us = env_now_us(ev->env);
	r->event.seq = text_only ? 0 : ++ev->n_queued;
	list_add_tail(&ev->queue, &r->link);
	mutex_unlock(&ev->mu);
}

void events_queue(struct events *ev, const struct cairn_event *e)
{
	enqueue(ev, e, false);
}

void events_log(struct events *ev, const char *fmt, ...)
{
	struct cairn_event e = { 0 };
	char line[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	e.detail = line;
	enqueue(ev, &e, true);
}

static void deliver(struct events *ev, const struct record *r)
{
	if (r->text_only) {
		write_line(ev, r, r->event.detail);
		return;
	}
	log_event(ev, r);
	if (ev->listener.event)
		ev->listener.event(ev->listener.ctx, &r->event);
}

void events_drain(struct events *ev)
{
	mutex_lock(&ev->mu);
	if (ev->draining) {
		mutex_unlock(&ev->mu);
		return;
	}
	ev->draining = true;
	while (!list_empty(&ev->queue) || ev->log_wanted) {
		struct record *r;

		if (ev->log_wanted) {
			ev->log_wanted = false;
			mutex_unlock(&ev->mu);
			rotate_log(ev);
			mutex_lock(&ev->mu);
			continue;
		}
		r = list_entry(ev->queue.next, struct record, link);
		list_remove(&r->link);
		mutex_unlock(&ev->mu);
		deliver(ev, r);
		free(r);
		mutex_lock(&ev->mu);
	}
	ev->draining = false;
	mutex_unlock(&ev->mu);
}

void events_post(struct events *ev, const struct cairn_event *e)
{
	events_queue(ev, e);
	events_drain(ev);
}
