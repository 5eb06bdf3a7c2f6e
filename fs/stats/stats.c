/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collecting the numbers, and each as a value of its own. The table values[]
 * is the one place that names them; the text forms are in stats_text.c.
 */
#include "fs/stats/stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "fs/stats/stats_table.h"
#include "fs/text/keytext.h"

#define JOBS_MAX 64

/* --------------------------------------------------------------- collect */

static void collect_counters(const struct stats_fs_counters *c, struct stats *s)
{
	s->fs_requests =
		atomic_load_explicit(&c->requests, memory_order_relaxed);
	s->fs_errors = atomic_load_explicit(&c->errors, memory_order_relaxed);
	s->fs_open_files =
		atomic_load_explicit(&c->open_files, memory_order_relaxed);
	s->fs_inodes = atomic_load_explicit(&c->inodes, memory_order_relaxed);
	s->fs_slow = atomic_load_explicit(&c->slow, memory_order_relaxed);
	for (size_t i = 0; i < STATS_OPS; i++)
		hist_summary(&c->op_ns[i], 1000, &s->op[i]);
}

/* Microseconds since a moment of the wall clock, which may have been set back;
 * 0 for 0. */
static uint64_t age_us(uint64_t then_us)
{
	struct timespec ts;
	uint64_t now_us;

	clock_gettime(CLOCK_REALTIME, &ts);
	now_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	return then_us && now_us > then_us ? now_us - then_us : 0;
}

int stats_collect(struct mvcc *m, const char *dir,
		  const struct stats_fs_counters *counters, struct stats *out)
{
	struct stats s = { .dir = dir, .revisions = !mvcc_is_plain(m) };
	struct cairn_db *db = mvcc_db(m);

	mvcc_metrics_get(m, &s.mvcc);
	s.jobs = calloc(JOBS_MAX, sizeof(*s.jobs));
	if (!s.jobs)
		return error_nomem();
	s.n_jobs = cairn_jobs(db, s.jobs, JOBS_MAX);
	if (s.n_jobs > JOBS_MAX)
		s.n_jobs = JOBS_MAX;
	cairn_metrics_get(db, &s.engine);
	s.latched_us = age_us(s.engine.error_latched_us);
	cairn_background_error(db, s.background_error,
			       sizeof(s.background_error));
	if (counters)
		collect_counters(counters, &s);
	*out = s;
	return CAIRN_OK;
}

void stats_fini(struct stats *s)
{
	free(s->jobs);
	s->jobs = NULL;
	s->n_jobs = 0;
}

/* ------------------------------------------------------------ one number */

static int value_version(const struct stats *s, struct buf *out)
{
	(void)s;
	return buf_printf(out, "%s", cairn_version());
}

static int value_pid(const struct stats *s, struct buf *out)
{
	(void)s;
	return buf_printf(out, "%ld", (long)getpid());
}

/* Escaped as keys are: one line, whatever the path. */
static int value_dir(const struct stats *s, struct buf *out)
{
	return keytext_escape(slice_str(s->dir), out);
}

static int value_kind(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%s", s->revisions ? "revision" : "plain");
}

static int value_health(const struct stats *s, struct buf *out)
{
	if (s->engine.background_error == CAIRN_ENOSPC)
		return buf_printf(out, "full %s", s->background_error);
	if (s->engine.background_error)
		return buf_printf(out, "readonly %s", s->background_error);
	if (s->engine.corruptions)
		return buf_printf(out, "damaged %" PRIu64 " bad blocks met",
				  s->engine.corruptions);
	if (s->engine.quota_reached)
		return buf_printf(out,
				  "full quota reached, %" PRIu64 " of %" PRIu64
				  " bytes in use",
				  s->engine.size_in_use_bytes,
				  s->engine.quota_bytes);
	if (s->engine.disk_low)
		return buf_printf(out,
				  "full disk, %" PRIu64 " bytes free, %" PRIu64
				  " held back",
				  s->engine.disk_free_bytes,
				  s->engine.disk_reserve_bytes);
	if (s->engine.stall_state == CAIRN_STALL_STOPPED)
		return buf_printf(out, "stopped %s", s->engine.stall_cause);
	if (s->engine.stall_state == CAIRN_STALL_SLOW)
		return buf_printf(out, "slow %s", s->engine.stall_cause);
	return buf_printf(out, "ok");
}

static int value_stall_state(const struct stats *s, struct buf *out)
{
	static const char *const names[] = { "none", "slow", "stopped" };

	return buf_printf(out, "%s", names[s->engine.stall_state]);
}

static int value_stall_cause(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%s", s->engine.stall_cause);
}

static int value_background(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%s",
			  *s->background_error ? s->background_error : "none");
}

static int value_quota_reached(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%d", s->engine.quota_reached);
}

static int value_disk_low(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%d", s->engine.disk_low);
}

static int ratio(uint64_t part, uint64_t rest, struct buf *out)
{
	double all = (double)part + (double)rest;

	return buf_printf(out, "%.3f", all > 0 ? (double)part / all : 0.0);
}

static int value_hit_ratio(const struct stats *s, struct buf *out)
{
	return ratio(s->engine.cache_hits, s->engine.cache_misses, out);
}

static int value_read_amp(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%" PRIu64, stats_read_amp(s));
}

static int value_write_amp(const struct stats *s, struct buf *out)
{
	return buf_printf(out, "%.2f", stats_write_amp(s));
}

#define E(field) offsetof(struct stats, engine.field)
#define M(field) offsetof(struct stats, mvcc.field)
#define S(field) offsetof(struct stats, field)

static const struct stats_value values[] = {
	{ "version", STATS_TEXT, 0, value_version, "Version of cairn." },
	{ "pid", STATS_GAUGE_FN, 0, value_pid, "Process id of the daemon." },
	{ "uptime_seconds", STATS_SECONDS, E(uptime_us), NULL,
	  "Seconds since the store was opened." },
	{ "dir", STATS_TEXT, 0, value_dir, "The data directory." },
	{ "kind", STATS_TEXT, 0, value_kind, "Kind of store." },
	{ "health", STATS_TEXT, 0, value_health,
	  "One word, and a reason unless it is ok." },
	{ "revision/current", STATS_I64, M(current), NULL,
	  "The last revision." },
	{ "revision/oldest", STATS_I64, M(oldest), NULL,
	  "The oldest revision that can be read." },
	{ "revision/keys", STATS_U64, M(keys), NULL,
	  "Live keys, an estimate." },
	{ "revision/commits_total", STATS_U64, M(commits), NULL,
	  "Transactions committed." },
	{ "revision/pins", STATS_U64, M(pins), NULL, "Readers of revisions." },
	{ "quota/limit_bytes", STATS_U64, E(quota_bytes), NULL,
	  "Limit on the bytes in use, 0 for none." },
	{ "quota/used_bytes", STATS_U64, E(size_in_use_bytes), NULL,
	  "Bytes of the live tables and of the log that is needed." },
	{ "quota/reached", STATS_GAUGE_FN, 0, value_quota_reached,
	  "1 while puts are refused for the quota." },
	{ "space/log_bytes", STATS_U64, E(wal_bytes), NULL,
	  "Bytes of the log that are still needed." },
	{ "space/tables_bytes", STATS_U64, E(live_table_bytes), NULL,
	  "Bytes of the live tables." },
	{ "disk/usage_bytes", STATS_U64, E(disk_usage_bytes), NULL,
	  "Bytes of all files of the store." },
	{ "disk/free_bytes", STATS_U64, E(disk_free_bytes), NULL,
	  "Free bytes of the file system below." },
	{ "disk/reserve_bytes", STATS_U64, E(disk_reserve_bytes), NULL,
	  "Of these, held back for deletions and compactions." },
	{ "disk/low", STATS_GAUGE_FN, 0, value_disk_low,
	  "1 while puts are refused for want of disk space." },
	{ "memtable/size_bytes", STATS_U64, E(memtable_bytes), NULL,
	  "Bytes in memtables." },
	{ "memtable/count", STATS_U64, E(memtable_count), NULL,
	  "Memtables, the one being written included." },
	{ "memtable/zombie_size_bytes", STATS_U64, E(memtable_zombie_bytes),
	  NULL, "Bytes of flushed memtables that readers hold." },
	{ "wal/files", STATS_U64, E(wal_files), NULL, "Log files." },
	{ "wal/size_bytes", STATS_U64, E(wal_bytes), NULL,
	  "Bytes of the log that are still needed." },
	{ "wal/in_bytes_total", STATS_U64, E(wal_in_bytes), NULL,
	  "Bytes of batches given to the log." },
	{ "wal/written_bytes_total", STATS_U64, E(wal_written_bytes), NULL,
	  "Bytes written to the log, with framing." },
	{ "wal/syncs_total", STATS_U64, E(wal_syncs), NULL,
	  "Times the log was synced." },
	{ "flush/running", STATS_U64, E(flush_running), NULL,
	  "Flushes running." },
	{ "flush/total", STATS_U64, E(flushes), NULL, "Flushes finished." },
	{ "flush/bytes_total", STATS_U64, E(flush_bytes), NULL,
	  "Bytes of tables written by flushes." },
	{ "compaction/running", STATS_U64, E(compactions_running), NULL,
	  "Compactions running." },
	{ "compaction/queued", STATS_U64, E(compactions_queued), NULL,
	  "Levels that are due for a compaction." },
	{ "compaction/debt_bytes", STATS_U64, E(compaction_debt_bytes), NULL,
	  "Bytes to rewrite until every level is in shape." },
	{ "compaction/in_progress_bytes", STATS_U64,
	  E(compaction_in_progress_bytes), NULL,
	  "Input bytes of the running compactions." },
	{ "compaction/total", STATS_U64, E(compactions), NULL,
	  "Compactions finished." },
	{ "compaction/delete_only_total", STATS_U64, E(compactions_delete_only),
	  NULL, "Compactions that only dropped whole tables." },
	{ "compaction/elision_only_total", STATS_U64,
	  E(compactions_elision_only), NULL,
	  "Compactions of tombstones at the bottom." },
	{ "compaction/tombstones_total", STATS_U64, E(compactions_tombstones),
	  NULL, "Compactions of tables of mostly tombstones." },
	{ "compaction/reads_total", STATS_U64, E(compactions_reads), NULL,
	  "Compactions of tables that reads often pass." },
	{ "compaction/garbage_total", STATS_U64, E(compactions_garbage), NULL,
	  "Compactions of tables of much that is forgotten." },
	{ "compaction/manual_total", STATS_U64, E(compactions_manual), NULL,
	  "Compactions that somebody asked for." },
	{ "compaction/failed_total", STATS_U64, E(compactions_failed), NULL,
	  "Compactions failed." },
	{ "compaction/read_amp", STATS_GAUGE_FN, 0, value_read_amp,
	  "Sorted runs that a read may have to look at." },
	{ "compaction/write_amp", STATS_GAUGE_FN, 0, value_write_amp,
	  "Bytes written to the disk per byte of the log." },
	{ "stall/state", STATS_TEXT, 0, value_stall_state,
	  "Writes: none, slow, stopped." },
	{ "stall/cause", STATS_TEXT, 0, value_stall_cause,
	  "Why writes are held back." },
	{ "stall/total", STATS_U64, E(stalls), NULL,
	  "Times that writes were held back." },
	{ "stall/seconds_total", STATS_SECONDS, E(stall_us), NULL,
	  "Seconds that writes were held back." },
	{ "stall/l0_total", STATS_U64, E(stall[CAIRN_STALL_BY_L0].count), NULL,
	  "Of these, for level 0." },
	{ "stall/l0_seconds_total", STATS_SECONDS,
	  E(stall[CAIRN_STALL_BY_L0].us), NULL, "Of these, for level 0." },
	{ "stall/memtables_total", STATS_U64,
	  E(stall[CAIRN_STALL_BY_MEMTABLES].count), NULL,
	  "Of these, for memtables." },
	{ "stall/memtables_seconds_total", STATS_SECONDS,
	  E(stall[CAIRN_STALL_BY_MEMTABLES].us), NULL,
	  "Of these, for memtables." },
	{ "stall/debt_total", STATS_U64, E(stall[CAIRN_STALL_BY_DEBT].count),
	  NULL, "Of these, for compaction debt." },
	{ "stall/debt_seconds_total", STATS_SECONDS,
	  E(stall[CAIRN_STALL_BY_DEBT].us), NULL,
	  "Of these, for compaction debt." },
	{ "memory/budget_bytes", STATS_U64, E(memory_budget_bytes), NULL,
	  "For memtables, open tables and the block cache together." },
	{ "memory/charged_bytes", STATS_U64, E(memory_charged_bytes), NULL,
	  "Of these, for memtables and open tables; the cache has the rest." },
	{ "cache/capacity_bytes", STATS_U64, E(cache_capacity_bytes), NULL,
	  "Size of the block cache." },
	{ "cache/size_bytes", STATS_U64, E(cache_bytes), NULL,
	  "Bytes in the block cache." },
	{ "cache/hits_total", STATS_U64, E(cache_hits), NULL,
	  "Blocks found in the cache." },
	{ "cache/misses_total", STATS_U64, E(cache_misses), NULL,
	  "Blocks read from tables." },
	{ "cache/hit_ratio", STATS_GAUGE_FN, 0, value_hit_ratio,
	  "Hits to hits and misses." },
	{ "filter/checks_total", STATS_U64, E(filter_checks), NULL,
	  "Filters asked." },
	{ "filter/negatives_total", STATS_U64, E(filter_negatives), NULL,
	  "Filters that saved a look into the table." },
	{ "filter/false_positives_total", STATS_U64, E(filter_false_positives),
	  NULL, "Filters that said maybe for nothing." },
	{ "tables/open", STATS_U64, E(tables_open), NULL, "Open table files." },
	{ "tables/zombie_bytes", STATS_U64, E(tables_zombie_bytes), NULL,
	  "Bytes of replaced tables that readers hold." },
	{ "tables/obsolete_bytes", STATS_U64, E(tables_obsolete_bytes), NULL,
	  "Bytes of tables waiting to be deleted." },
	{ "readers/iterators", STATS_U64, E(iterators), NULL,
	  "Open iterators." },
	{ "readers/oldest_seconds", STATS_SECONDS, E(oldest_iterator_us), NULL,
	  "Age of the oldest iterator." },
	{ "readers/snapshots", STATS_U64, E(snapshots), NULL,
	  "Open snapshots." },
	{ "readers/snapshot_pinned_keys", STATS_U64, E(snapshot_pinned_keys),
	  NULL, "Entries kept only because a snapshot sees them." },
	{ "fs/requests_total", STATS_U64, S(fs_requests), NULL,
	  "Requests of the kernel." },
	{ "fs/errors_total", STATS_U64, S(fs_errors), NULL,
	  "Requests answered with an error." },
	{ "fs/open_files", STATS_U64, S(fs_open_files), NULL,
	  "Open files and directories." },
	{ "fs/inodes", STATS_U64, S(fs_inodes), NULL,
	  "Names that the kernel knows." },
	{ "fs/slow_total", STATS_U64, S(fs_slow), NULL,
	  "Requests over the slow= limit." },
	{ "error/background", STATS_TEXT, 0, value_background,
	  "The background error, or none." },
	{ "error/latched_seconds", STATS_SECONDS, S(latched_us), NULL,
	  "Age of the background error." },
	{ "error/corruptions_total", STATS_U64, E(corruptions), NULL,
	  "Damaged blocks met." },
	{ "error/problem_spans", STATS_U64, E(problem_spans), NULL,
	  "Key spans that compactions avoid for damage." },
};

#define N_VALUES (sizeof(values) / sizeof(values[0]))

const struct stats_value *stats_value_at(size_t i)
{
	return i < N_VALUES ? &values[i] : NULL;
}

int stats_value_print(const struct stats *s, const struct stats_value *v,
		      struct buf *out)
{
	const void *at = (const char *)s + v->offset;
	uint64_t u;
	int64_t i;

	switch (v->kind) {
	case STATS_U64:
		memcpy(&u, at, sizeof(u));
		return buf_printf(out, "%" PRIu64, u);
	case STATS_I64:
		memcpy(&i, at, sizeof(i));
		return buf_printf(out, "%" PRId64, i);
	case STATS_SECONDS:
		memcpy(&u, at, sizeof(u));
		return buf_printf(out, "%" PRIu64 ".%03" PRIu64, u / 1000000,
				  u % 1000000 / 1000);
	case STATS_TEXT:
	case STATS_GAUGE_FN:
		return v->print(s, out);
	}
	return CAIRN_NOT_FOUND;
}

const char *stats_name(size_t i)
{
	return i < N_VALUES ? values[i].name : NULL;
}

int stats_value(const struct stats *s, const char *name, struct buf *out)
{
	for (size_t i = 0; i < N_VALUES; i++)
		if (!strcmp(values[i].name, name))
			return stats_value_print(s, &values[i], out);
	return CAIRN_NOT_FOUND;
}

/* ---------------------------------------------------------------- levels */

uint64_t stats_level_read_amp(const struct stats *s, int level)
{
	return s->engine.level[level].sublevels;
}

double stats_level_write_amp(const struct stats *s, int level)
{
	const struct cairn_level_metrics *l = &s->engine.level[level];

	if (!l->in_bytes)
		return 0;
	return (double)(l->flushed_bytes + l->compacted_bytes) /
	       (double)l->in_bytes;
}

uint64_t stats_read_amp(const struct stats *s)
{
	uint64_t n = 0;

	for (int i = 0; i < CAIRN_LEVELS; i++)
		n += stats_level_read_amp(s, i);
	return n;
}

/* Ingested tables count as written by whoever made them. */
double stats_write_amp(const struct stats *s)
{
	uint64_t in = s->engine.wal_written_bytes;
	uint64_t written;

	for (int i = 0; i < CAIRN_LEVELS; i++)
		in += s->engine.level[i].ingested_bytes;
	if (!in)
		return 0;
	written = in;
	for (int i = 0; i < CAIRN_LEVELS; i++)
		written += s->engine.level[i].flushed_bytes +
			   s->engine.level[i].compacted_bytes;
	return (double)written / (double)in;
}

static int level_u64(const struct cairn_level_metrics *l, size_t offset,
		     struct buf *out)
{
	uint64_t v;

	memcpy(&v, (const char *)l + offset, sizeof(v));
	return buf_printf(out, "%" PRIu64, v);
}

#define L(field) offsetof(struct cairn_level_metrics, field)

static const struct stats_level_field level_fields[] = {
	{ "files", STATS_LEVEL_U64, L(files), "Tables in the level." },
	{ "size_bytes", STATS_LEVEL_U64, L(size_bytes),
	  "Bytes of the tables in the level." },
	{ "target_bytes", STATS_LEVEL_U64, L(target_bytes),
	  "Size above which the level is compacted." },
	{ "score", STATS_LEVEL_SCORE, 0, "Urgency of a compaction." },
	{ "read_amp", STATS_LEVEL_U64, L(sublevels),
	  "Sorted runs of the level." },
	{ "write_amp", STATS_LEVEL_WRITE_AMP, 0,
	  "Bytes written into the level per byte that came in." },
	{ "compression", STATS_LEVEL_TEXT, L(compression),
	  "Codec of new tables." },
	{ "sublevels", STATS_LEVEL_U64, L(sublevels),
	  "Sorted runs of the level." },
	{ "in_bytes_total", STATS_LEVEL_U64, L(in_bytes),
	  "Bytes that came in from above." },
	{ "read_bytes_total", STATS_LEVEL_U64, L(read_bytes),
	  "Bytes read by compactions into the level." },
	{ "written_bytes_total", STATS_LEVEL_WRITTEN, 0,
	  "Bytes written into the level." },
	{ "moved_bytes_total", STATS_LEVEL_U64, L(moved_bytes),
	  "Bytes of tables moved into the level as they were." },
	{ "ingested_bytes_total", STATS_LEVEL_U64, L(ingested_bytes),
	  "Bytes of tables ingested into the level." },
};

#define N_LEVEL_FIELDS (sizeof(level_fields) / sizeof(level_fields[0]))

const struct stats_level_field *stats_level_field_at(size_t i)
{
	return i < N_LEVEL_FIELDS ? &level_fields[i] : NULL;
}

int stats_level_print(const struct stats *s, int level,
		      const struct stats_level_field *f, struct buf *out)
{
	const struct cairn_level_metrics *l = &s->engine.level[level];

	switch (f->kind) {
	case STATS_LEVEL_U64:
		return level_u64(l, f->offset, out);
	case STATS_LEVEL_SCORE:
		return buf_printf(out, "%.2f", l->score);
	case STATS_LEVEL_WRITE_AMP:
		return buf_printf(out, "%.2f", stats_level_write_amp(s, level));
	case STATS_LEVEL_WRITTEN:
		return buf_printf(out, "%" PRIu64,
				  l->flushed_bytes + l->compacted_bytes);
	case STATS_LEVEL_TEXT:
		return buf_printf(out, "%s",
				  *l->compression ? l->compression : "-");
	}
	return CAIRN_NOT_FOUND;
}

const char *stats_level_name(size_t i)
{
	if (i < N_LEVEL_FIELDS)
		return level_fields[i].name;
	return i == N_LEVEL_FIELDS ? "summary" : NULL;
}

static int level_summary(const struct stats *s, int level, struct buf *out)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < N_LEVEL_FIELDS && !err; i++) {
		err = buf_printf(out, "%s ", level_fields[i].name);
		if (!err)
			err = stats_level_print(s, level, &level_fields[i],
						out);
		if (!err)
			err = buf_append(out, "\n", 1);
	}
	return err;
}

int stats_level_value(const struct stats *s, int level, const char *name,
		      struct buf *out)
{
	if (!strcmp(name, "summary"))
		return level_summary(s, level, out);
	for (size_t i = 0; i < N_LEVEL_FIELDS; i++)
		if (!strcmp(level_fields[i].name, name))
			return stats_level_print(s, level, &level_fields[i],
						 out);
	return CAIRN_NOT_FOUND;
}
