/* SPDX-License-Identifier: BSD-3-Clause */
/* The numbers as tables for people, and as lines, JSON and Prometheus text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/stats/stats_table.h"
#include "fs/text/keytext.h"

/* Bytes with a unit in at most six characters: 0, 999, 7.4M, 123G. */
static const char *human(uint64_t bytes, char text[16])
{
	static const char units[] = " KMGTPE";
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 999.5 && u + 2 < sizeof(units)) {
		v /= 1024;
		u++;
	}
	if (u == 0)
		snprintf(text, 16, "%" PRIu64, bytes);
	else
		snprintf(text, 16, v < 99.95 ? "%.1f%c" : "%.0f%c", v,
			 units[u]);
	return text;
}

/* A number with so many decimals, or "-" when it is 0. */
static const char *dash(double v, int decimals, char text[16])
{
	if (v > 0)
		snprintf(text, 16, "%.*f", decimals, v);
	else
		snprintf(text, 16, "-");
	return text;
}

static const char *duration(uint64_t us, char text[32])
{
	uint64_t s = us / 1000000;

	snprintf(text, 32, "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600,
		 s / 60 % 60, s % 60);
	return text;
}

/* ---------------------------------------------------------------- levels */

/* Level -1 is the total. */
static int level_row(int level, const struct cairn_level_metrics *l,
		     double write_amp, uint64_t read_amp, struct buf *out)
{
	char t[9][16], name[16];
	uint64_t written = l->flushed_bytes + l->compacted_bytes;

	if (level < 0)
		snprintf(name, sizeof(name), "total");
	else
		snprintf(name, sizeof(name), "L%d", level);
	if (l->target_bytes)
		human(l->target_bytes, t[1]);
	else
		dash(0, 0, t[1]);
	return buf_printf(
		out, "%-6s%6" PRIu64 "%7s%8s%7s%7s%8s%7s%9s%7s%7s  %s\n", name,
		l->files, human(l->size_bytes, t[0]), t[1],
		dash(l->score, 2, t[2]), human(l->in_bytes, t[3]),
		human(l->moved_bytes, t[4]), human(l->read_bytes, t[5]),
		human(written, t[6]), dash((double)read_amp, 0, t[7]),
		dash(write_amp, 1, t[8]),
		level >= 0 && l->files && *l->compression ? l->compression
							  : "-");
}

int stats_levels(const struct stats *s, struct buf *out)
{
	struct cairn_level_metrics sum = { 0 };
	int err = buf_printf(out, "%-6s%6s%7s%8s%7s%7s%8s%7s%9s%7s%7s  %s\n",
			     "level", "files", "size", "target", "score", "in",
			     "moved", "read", "written", "r-amp", "w-amp",
			     "codec");

	for (int i = 0; i < CAIRN_LEVELS && !err; i++) {
		const struct cairn_level_metrics *l = &s->engine.level[i];

		err = level_row(i, l, stats_level_write_amp(s, i),
				stats_level_read_amp(s, i), out);
		sum.files += l->files;
		sum.size_bytes += l->size_bytes;
		sum.moved_bytes += l->moved_bytes;
		sum.read_bytes += l->read_bytes;
		sum.flushed_bytes += l->flushed_bytes;
		sum.compacted_bytes += l->compacted_bytes;
	}
	/* The log is written before everything else. */
	sum.in_bytes = s->engine.wal_in_bytes;
	sum.flushed_bytes += s->engine.wal_written_bytes;
	if (!err)
		err = level_row(-1, &sum, stats_write_amp(s), stats_read_amp(s),
				out);
	return err;
}

int stats_tables(struct mvcc *m, int level, struct buf *out)
{
	struct cairn_table_list list;
	int err = cairn_tables(mvcc_db(m), level, &list);

	if (err)
		return err;
	err = buf_printf(out, "%-7s %7s %8s %8s  %s\n", "number", "size",
			 "entries", "deletes", "smallest largest state");
	for (size_t i = 0; i < list.n && !err; i++) {
		const struct cairn_table_info *t = &list.tables[i];
		char size[16];

		err = buf_printf(
			out, "%06" PRIu64 "  %7s %8" PRIu64 " %8" PRIu64 "  ",
			t->number, human(t->size_bytes, size), t->entries,
			t->deletions);
		if (!err)
			err = keytext_escape(t->smallest, out);
		if (!err)
			err = buf_append(out, " ", 1);
		if (!err)
			err = keytext_escape(t->largest, out);
		if (!err && t->job)
			err = buf_printf(out, " compacting %" PRIu64 "\n",
					 t->job);
		else if (!err)
			err = buf_append(out, " -\n", 3);
	}
	cairn_table_list_free(&list);
	return err;
}

/* --------------------------------------------------------------- summary */

static int summary_head(const struct stats *s, struct buf *out)
{
	char up[32];
	int err = buf_printf(out, "cairn %s  %s  up %s  ", cairn_version(),
			     s->dir, duration(s->engine.uptime_us, up));

	if (!err && s->revisions)
		err = buf_printf(out, "revision %" PRId64 "  ",
				 s->mvcc.current);
	if (!err)
		err = buf_printf(out, "health ");
	if (!err)
		err = stats_value(s, "health", out);
	return err ? err : buf_append(out, "\n", 1);
}

static void percent(uint64_t part, uint64_t rest, char text[16])
{
	double all = (double)part + (double)rest;

	if (all > 0)
		snprintf(text, 16, "%.1f%%", 100 * (double)part / all);
	else
		snprintf(text, 16, "-");
}

static int summary(const struct stats *s, struct buf *out)
{
	static const char *const states[] = { "none", "slow", "stopped" };
	const struct cairn_metrics *e = &s->engine;
	char a[16], b[16], c[16], d[16];
	int err = summary_head(s, out);

	if (!err)
		err = stats_levels(s, out);
	if (!err)
		err = buf_printf(out,
				 "memtables  %" PRIu64 " of %" PRIu64
				 "  %s      wal  %" PRIu64
				 " %s  %s  syncs %" PRIu64 "\n",
				 e->memtable_count, e->memtable_max,
				 human(e->memtable_bytes, a), e->wal_files,
				 e->wal_files == 1 ? "file" : "files",
				 human(e->wal_bytes, b), e->wal_syncs);
	percent(e->cache_hits, e->cache_misses, c);
	percent(e->filter_negatives, e->filter_checks - e->filter_negatives, d);
	if (!err)
		err = buf_printf(out,
				 "cache      %s of %s  hit %s   filter  useful "
				 "%s\n",
				 human(e->cache_bytes, a),
				 human(e->cache_capacity_bytes, b), c, d);
	if (!err)
		err = buf_printf(out,
				 "compaction %" PRIu64 " running, %" PRIu64
				 " queued, debt %s     stalls  %" PRIu64
				 ", %.1fs in all, now %s\n",
				 e->compactions_running, e->compactions_queued,
				 human(e->compaction_debt_bytes, a), e->stalls,
				 (double)e->stall_us / 1e6,
				 states[e->stall_state]);
	if (!err && e->quota_bytes)
		err = buf_printf(out, "quota      %s of %s (%.0f%%)  disk  ",
				 human(e->size_in_use_bytes, a),
				 human(e->quota_bytes, b),
				 100 * (double)e->size_in_use_bytes /
					 (double)e->quota_bytes);
	else if (!err)
		err = buf_printf(out, "disk       ");
	if (!err)
		err = buf_printf(out, "%s used, %s free\n",
				 human(e->disk_usage_bytes, a),
				 human(e->disk_free_bytes, b));
	return err;
}

/* ------------------------------------------------------ lines and JSON */

/* "cache/hits_total" as "cache_hits_total". */
static int flat_name(const char *name, struct buf *out)
{
	size_t at = out->len;
	int err = buf_append(out, name, strlen(name));

	for (; !err && at < out->len; at++)
		if (out->data[at] == '/')
			out->data[at] = '_';
	return err;
}

static int all(const struct stats *s, struct buf *out)
{
	const struct stats_value *v;
	const struct stats_level_field *f;
	int err = CAIRN_OK;

	for (size_t i = 0; (v = stats_value_at(i)) && !err; i++) {
		err = flat_name(v->name, out);
		if (!err)
			err = buf_append(out, " ", 1);
		if (!err)
			err = stats_value_print(s, v, out);
		if (!err)
			err = buf_append(out, "\n", 1);
	}
	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; (f = stats_level_field_at(i)) && !err; i++) {
			err = buf_printf(out, "level_%d_%s ", level, f->name);
			if (!err)
				err = stats_level_print(s, level, f, out);
			if (!err)
				err = buf_append(out, "\n", 1);
		}
	return err;
}

/* A JSON string; bytes that are not UTF-8 become U+FFFD. */
static int json_string(struct cairn_slice text, struct buf *out)
{
	const uint8_t *p = text.data, *end = p + text.len;
	int err = buf_append(out, "\"", 1);

	while (p < end && !err) {
		size_t n = keytext_utf8(p, end);

		if (n == 0) {
			err = buf_append(out, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			err = buf_printf(out, "\\%c", *p);
		} else if (*p < 0x20) {
			err = buf_printf(out, "\\u%04x", *p);
		} else {
			err = buf_append(out, p, n);
		}
		p += n;
	}
	return err ? err : buf_append(out, "\"", 1);
}

static int json_value(const struct stats *s, const struct stats_value *v,
		      struct buf *out)
{
	struct buf text = { 0 };
	int err = stats_value_print(s, v, &text);

	if (!err)
		err = v->kind == STATS_TEXT
			      ? json_string(buf_slice(&text), out)
			      : buf_append(out, text.data, text.len);
	buf_fini(&text);
	return err;
}

/* Length of the group in "group/name", 0 when there is none. */
static size_t group_len(const char *name)
{
	const char *slash = strchr(name, '/');

	return slash ? (size_t)(slash - name) : 0;
}

static int json_groups(const struct stats *s, struct buf *out)
{
	const struct stats_value *v;
	const char *group = "";
	size_t len = 0;
	int err = CAIRN_OK;

	for (size_t i = 0; (v = stats_value_at(i)) && !err; i++) {
		size_t n = group_len(v->name);
		bool same = n == len && !strncmp(group, v->name, n);

		if (!same && len)
			err = buf_append(out, "}", 1);
		if (!err && i)
			err = buf_append(out, ",", 1);
		if (!err && !same && n)
			err = buf_printf(out, "\"%.*s\":{", (int)n, v->name);
		if (!err)
			err = buf_printf(out,
					 "\"%s\":", v->name + (n ? n + 1 : 0));
		if (!err)
			err = json_value(s, v, out);
		group = v->name;
		len = n;
	}
	return !err && len ? buf_append(out, "}", 1) : err;
}

static int json_level(const struct stats *s, int level, struct buf *out)
{
	const struct stats_level_field *f;
	int err = buf_printf(out, "%s\"L%d\":{", level ? "," : "", level);

	for (size_t i = 0; (f = stats_level_field_at(i)) && !err; i++) {
		const char *quote = f->kind == STATS_LEVEL_TEXT ? "\"" : "";

		err = buf_printf(out, "%s\"%s\":%s", i ? "," : "", f->name,
				 quote);
		if (!err)
			err = stats_level_print(s, level, f, out);
		if (!err)
			err = buf_append(out, quote, strlen(quote));
	}
	return err ? err : buf_append(out, "}", 1);
}

static int json(const struct stats *s, struct buf *out)
{
	int err = buf_append(out, "{", 1);

	if (!err)
		err = json_groups(s, out);
	if (!err)
		err = buf_printf(out, ",\"levels\":{");
	for (int i = 0; i < CAIRN_LEVELS && !err; i++)
		err = json_level(s, i, out);
	return err ? err : buf_append(out, "}}\n", 3);
}

/* ------------------------------------------------------------ Prometheus */

static bool is_counter(const char *name)
{
	size_t n = strlen(name);

	return n >= 5 && !strcmp(name + n - 5, "total");
}

static int metric_head(const char *name, const char *help, struct buf *out)
{
	int err = buf_printf(out, "# HELP cairn_");

	if (!err)
		err = flat_name(name, out);
	if (!err)
		err = buf_printf(out, " %s\n# TYPE cairn_", help);
	if (!err)
		err = flat_name(name, out);
	if (!err)
		err = buf_printf(out, " %s\n",
				 is_counter(name) ? "counter" : "gauge");
	return err;
}

static int metric_values(const struct stats *s, struct buf *out)
{
	const struct stats_value *v;
	int err = CAIRN_OK;

	for (size_t i = 0; (v = stats_value_at(i)) && !err; i++) {
		if (v->kind == STATS_TEXT)
			continue;
		err = metric_head(v->name, v->help, out);
		if (!err)
			err = buf_printf(out, "cairn_");
		if (!err)
			err = flat_name(v->name, out);
		if (!err)
			err = buf_append(out, " ", 1);
		if (!err)
			err = stats_value_print(s, v, out);
		if (!err)
			err = buf_append(out, "\n", 1);
	}
	return err;
}

static int metric_levels(const struct stats *s, struct buf *out)
{
	const struct stats_level_field *f;
	char name[64];
	int err = CAIRN_OK;

	for (size_t i = 0; (f = stats_level_field_at(i)) && !err; i++) {
		if (f->kind == STATS_LEVEL_TEXT)
			continue;
		snprintf(name, sizeof(name), "level_%s", f->name);
		err = metric_head(name, f->help, out);
		for (int level = 0; level < CAIRN_LEVELS && !err; level++) {
			err = buf_printf(out, "cairn_%s{level=\"%d\"} ", name,
					 level);
			if (!err)
				err = stats_level_print(s, level, f, out);
			if (!err)
				err = buf_append(out, "\n", 1);
		}
	}
	return err;
}

static int metrics(const struct stats *s, struct buf *out)
{
	int err =
		buf_printf(out,
			   "# HELP cairn_info What is running.\n"
			   "# TYPE cairn_info gauge\n"
			   "cairn_info{version=\"%s\",kind=\"%s\"} 1\n"
			   "# HELP cairn_stall_state Writes: 0 free, 1 slow, "
			   "2 stopped.\n"
			   "# TYPE cairn_stall_state gauge\n"
			   "cairn_stall_state %d\n",
			   cairn_version(), s->revisions ? "revision" : "plain",
			   (int)s->engine.stall_state);

	if (!err)
		err = metric_values(s, out);
	return err ? err : metric_levels(s, out);
}

/* -------------------------------------------------- latency, jobs, stalls */

static int latency_row(const char *name, const struct cairn_latency *l,
		       struct buf *out)
{
	if (!l->count)
		return CAIRN_OK;
	return buf_printf(
		out, "%-8s %9" PRIu64 " %7.1f %7.1f %8.1f %8.1f %8" PRIu64 "\n",
		name, l->count, (double)l->sum_us / (double)l->count, l->p50_us,
		l->p99_us, l->p999_us, l->max_us);
}

const char *stats_op_name(enum stats_op op)
{
	static const char *const names[STATS_OPS] = {
		[STATS_LOOKUP] = "lookup",   [STATS_GETATTR] = "getattr",
		[STATS_SETATTR] = "setattr", [STATS_OPEN] = "open",
		[STATS_READ] = "read",       [STATS_WRITE] = "write",
		[STATS_FLUSH] = "flush",     [STATS_FSYNC] = "fsync",
		[STATS_CREATE] = "create",   [STATS_UNLINK] = "unlink",
		[STATS_RENAME] = "rename",   [STATS_READDIR] = "readdir",
		[STATS_XATTR] = "xattr",     [STATS_RELEASE] = "release",
		[STATS_OTHER] = "other",
	};

	return names[op];
}

static int latency(const struct stats *s, struct buf *out)
{
	int err = buf_printf(out, "%-8s %9s %7s %7s %8s %8s %8s\n", "op",
			     "count", "mean", "p50", "p99", "p999", "max");

	if (!err)
		err = latency_row("get", &s->engine.get, out);
	if (!err)
		err = latency_row("commit", &s->engine.commit, out);
	if (!err)
		err = latency_row("sync", &s->engine.sync, out);
	for (size_t i = 0; i < STATS_OPS && !err; i++)
		err = latency_row(stats_op_name((enum stats_op)i), &s->op[i],
				  out);
	return err;
}

static int compactions(const struct stats *s, struct buf *out)
{
	int err = buf_printf(out, "%-5s %-8s %-4s %-3s %-8s %6s %6s %5s  %s\n",
			     "job", "state", "from", "to", "kind", "files",
			     "size", "done", "reason");

	for (size_t i = 0; i < s->n_jobs && !err; i++) {
		const struct cairn_job *j = &s->jobs[i];
		char from[16] = "mem", to[16], size[16], done[16] = "-";

		if (j->from_level >= 0)
			snprintf(from, sizeof(from), "L%d", j->from_level);
		snprintf(to, sizeof(to), "L%d", j->to_level);
		if (j->running && j->bytes)
			snprintf(done, sizeof(done), "%.0f%%",
				 100 * (double)j->bytes_done /
					 (double)j->bytes);
		err = buf_printf(out,
				 "%-5" PRIu64 " %-8s %-4s %-3s %-8s %6d %6s "
				 "%5s  %s\n",
				 j->job, j->running ? "running" : "queued",
				 from, to, j->kind, j->files,
				 human(j->bytes, size), done, j->reason);
	}
	return err;
}

static int stalls(const struct stats *s, struct buf *out)
{
	static const char *const names[] = {
		"state",           "cause",
		"total",           "seconds_total",
		"l0_total",        "l0_seconds_total",
		"memtables_total", "memtables_seconds_total",
		"debt_total",      "debt_seconds_total",
	};
	int err = CAIRN_OK;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !err; i++) {
		char name[48];

		snprintf(name, sizeof(name), "stall/%s", names[i]);
		err = buf_printf(out, "%s ", names[i]);
		if (!err)
			err = stats_value(s, name, out);
		if (!err)
			err = buf_append(out, "\n", 1);
	}
	return err;
}

static const struct {
	const char *name;
	int (*print)(const struct stats *s, struct buf *out);
} texts[] = {
	{ "summary", summary }, { "all", all },
	{ "json", json },       { "metrics", metrics },
	{ "latency", latency }, { "compactions", compactions },
	{ "stalls", stalls },
};

#define N_TEXTS (sizeof(texts) / sizeof(texts[0]))

const char *stats_text_name(size_t i)
{
	return i < N_TEXTS ? texts[i].name : NULL;
}

int stats_text(const struct stats *s, const char *name, struct buf *out)
{
	for (size_t i = 0; i < N_TEXTS; i++)
		if (!strcmp(texts[i].name, name))
			return texts[i].print(s, out);
	return CAIRN_NOT_FOUND;
}
