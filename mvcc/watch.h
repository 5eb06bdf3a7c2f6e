/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watching keys change, by etcd's rules.
 *
 * A watcher is a range, filters, and the revision it has got to; it holds
 * nothing else between calls. Who does not call mvcc_watch_next() costs the
 * memory of that, pins nothing, and delays nobody. Who does gets every change
 * of the range from the start revision on: in order of (main, sub), each once,
 * no gap between the past and the present, all changes of a revision together.
 * Who was interrupted goes on with a new watcher from the revision behind the
 * last one that was told (mvcc_watch_message.rev + 1).
 *
 * Recent changes are kept in memory, while anybody watches; a watcher that is
 * further behind reads the log. A watcher that waits is woken by changes of its
 * own range only.
 *
 * Threads. One thread at a time may be in mvcc_watch_next() of a watcher. Any
 * thread may cancel it or ask for its progress. Watchers and messages are to be
 * freed before the store is closed.
 */
#ifndef CAIRN_MVCC_WATCH_H
#define CAIRN_MVCC_WATCH_H

#include "mvcc/mvcc.h"

struct mvcc_watch;

/* Copied. Zeroed: the key 00 from now on. */
struct mvcc_watch_request {
	struct cairn_slice key; /* empty: the smallest key, one byte 00 */
	/* Empty: the single key; the one byte 00: key and all behind it; else
	 * the keys in [key, end). */
	struct cairn_slice end;
	int64_t start;  /* revision of the first change; 0: the next one */
	bool no_put;    /* leave out puts */
	bool no_delete; /* leave out deletes */
	bool prev;      /* tell what was there before */
	/* The changes of a revision may come in several messages. */
	bool fragment;
	size_t fragment_bytes; /* how long they may become; 0: 1.5 MiB */
	/* Tell how far the watcher is when it has told nothing for so long; 0:
	 * never. etcd does so after 10 minutes. */
	uint64_t progress_us;
};

/*
 * CAIRN_OK; CAIRN_EINVAL for a range that is empty (the message is etcd's) and
 * a start below 0; CAIRN_EKIND for a plain store. A start that is forgotten is
 * told by the first message, one in the future is waited for.
 */
int mvcc_watch_new(struct mvcc *m, const struct mvcc_watch_request *r,
		   struct mvcc_watch **out);
/* Not while a thread is in mvcc_watch_next(). NULL is allowed. */
void mvcc_watch_free(struct mvcc_watch *w);

/* The current revision when it was made: that of etcd's `created`. */
int64_t mvcc_watch_created(const struct mvcc_watch *w);

struct mvcc_event {
	/* A put with its row, or, when row.deleted, a key and the revision of
	 * its deletion. As everywhere, large values are not in the row. */
	struct mvcc_row row;
	/* What was visible at row.main - 1; not there when nothing was, nobody
	 * asked, or that revision is forgotten. */
	bool has_prev;
	struct mvcc_row prev;
	void *own[2]; /* private */
};

/*
 * What a watcher has to say: events, or that it has ended, or, without either,
 * how far it is.
 */
struct mvcc_watch_message {
	/* All changes up to this revision have been told, with these. */
	int64_t rev;
	bool canceled; /* it has ended, and tells nothing more */
	/* Ended because it was behind what is forgotten: the oldest revision
	 * that is not. Else 0. */
	int64_t compact_rev;
	/* More changes of the last revision follow. */
	bool fragment;
	const struct mvcc_event *events;
	size_t n;
	/* Private. */
	struct mvcc *m;
	int64_t pinned; /* for values in chunks; 0: nothing */
	struct mvcc_event *own;
	size_t cap;
};
/* Safe on a zeroed struct, and twice. */
void mvcc_watch_message_fini(struct mvcc_watch_message *msg);

#define MVCC_WATCH_FOREVER UINT64_MAX

/*
 * The next message, waiting at most timeout_us for something to tell; reading
 * the log counts as no waiting. CAIRN_OK and *msg, which is the caller's;
 * CAIRN_NOT_FOUND when the time is up; or a failure, after which the watcher is
 * as before. A message has about 1,000 events or 1 MiB at most, unless a single
 * revision has more.
 */
int mvcc_watch_next(struct mvcc_watch *w, uint64_t timeout_us,
		    struct mvcc_watch_message *msg);

/* End it: the next message says so, and whoever waits for one gets it. */
void mvcc_watch_cancel(struct mvcc_watch *w);

/* Ask for a message without events as soon as the watcher is up to date. */
void mvcc_watch_progress(struct mvcc_watch *w);

/*
 * Have fn called when mvcc_watch_next(), which has returned CAIRN_NOT_FOUND,
 * has something to tell again; progress_us counts only while somebody waits. fn
 * runs on the thread that commits (or cancels, or asks), with locks held: it
 * must do no more than wake somebody up, and call nothing of the store. Not
 * while a thread is in mvcc_watch_next(); after mvcc_watch_free() it is not
 * called.
 */
void mvcc_watch_on_ready(struct mvcc_watch *w, void (*fn)(void *ctx),
			 void *ctx);

#endif
