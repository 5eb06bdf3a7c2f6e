/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers of a store as text: one value per name, and the tables for
 * people. Rendering is pure: collect once, render any number of times, so one
 * reader sees one moment. Names and units: see fs/README.md, "stats".
 */
#ifndef CAIRN_FS_STATS_H
#define CAIRN_FS_STATS_H

#include "engine/base/buf.h"
#include "engine/base/hist.h"
#include "mvcc/mvcc.h"

/* Requests whose latency is shown in stats/latency. */
enum stats_op {
	STATS_LOOKUP,
	STATS_GETATTR,
	STATS_SETATTR,
	STATS_OPEN,
	STATS_READ,
	STATS_WRITE,
	STATS_FLUSH,
	STATS_FSYNC,
	STATS_CREATE,
	STATS_UNLINK,
	STATS_RENAME,
	STATS_READDIR,
	STATS_XATTR,
	STATS_RELEASE, /* nobody waits for it */
	STATS_OTHER,
	STATS_OPS
};

/* As in stats/latency: "lookup". */
const char *stats_op_name(enum stats_op op);

/* Counted by the daemon; all relaxed. Zeroed when there is no mount. */
struct stats_fs_counters {
	_Atomic uint64_t requests;
	_Atomic uint64_t errors;
	_Atomic uint64_t open_files;
	_Atomic uint64_t inodes;
	_Atomic uint64_t slow;
	struct hist op_ns[STATS_OPS];
};

/* One moment of a store. */
struct stats {
	const char *dir; /* borrowed */
	bool revisions;  /* false: a plain store, mvcc then zeroed */
	struct cairn_metrics engine;
	struct mvcc_metrics mvcc;
	uint64_t fs_requests;
	uint64_t fs_errors;
	uint64_t fs_open_files;
	uint64_t fs_inodes;
	uint64_t fs_slow;
	uint64_t latched_us; /* age of the background error; 0: none */
	struct cairn_latency op[STATS_OPS];
	char background_error[1024]; /* "" when none */
	struct cairn_job *jobs;      /* owned */
	size_t n_jobs;
};

/* Of a store of either kind. counters may be NULL. CAIRN_ENOMEM. */
int stats_collect(struct mvcc *m, const char *dir,
		  const struct stats_fs_counters *counters, struct stats *out);
void stats_fini(struct stats *s);

/*
 * The one-value files: names like "cache/hits_total", "version",
 * "revision/current", in the order of stats_name(0), stats_name(1), ... NULL
 * past the end. A name with '/' is a file in a directory.
 */
const char *stats_name(size_t i);
/* Append the value without a newline. CAIRN_NOT_FOUND: no such name. */
int stats_value(const struct stats *s, const char *name, struct buf *out);

/*
 * The files for people and programs: "summary", "all", "json", "metrics",
 * "latency", "compactions", "stalls". stats_text_name(i) lists them, NULL past
 * the end. CAIRN_NOT_FOUND: no such name.
 */
const char *stats_text_name(size_t i);
int stats_text(const struct stats *s, const char *name, struct buf *out);

/*
 * Files of levels/L<n>/: "files", "size_bytes", "target_bytes", "score",
 * "read_amp", "write_amp", "compression", "sublevels", "in_bytes_total",
 * "read_bytes_total", "written_bytes_total", "moved_bytes_total",
 * "ingested_bytes_total", "summary" (lines "name value" of the others).
 * "tables" is stats_tables().
 */
const char *stats_level_name(size_t i);
int stats_level_value(const struct stats *s, int level, const char *name,
		      struct buf *out);
/* levels/summary: the level table of stats/summary. */
int stats_levels(const struct stats *s, struct buf *out);
/* levels/L<n>/tables. */
int stats_tables(struct mvcc *m, int level, struct buf *out);

#endif
