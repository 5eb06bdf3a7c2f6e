/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "engine/db/stats.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/budget.h"
#include "engine/db/commit.h"
#include "engine/db/db_iter.h"
#include "engine/db/event.h"
#include "engine/db/obsolete.h"
#include "engine/db/space.h"
#include "engine/db/stall.h"
#include "engine/db/work_impl.h"
#include "engine/table/block_cache.h"
#include "engine/version/filename.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0.0.0"
#endif

const char *cairn_version(void)
{
	return PACKAGE_VERSION;
}

/* ---------------------------------------------------------------- counting */

void stats_count_flush(struct stats *s, const struct job_result *r)
{
	s->flushes++;
	s->flush_bytes += r->bytes_out;
	s->level[0].flushed_bytes += r->bytes_out;
}

void stats_count_compaction(struct stats *s, const struct compaction_plan *p,
			    const struct job_result *r)
{
	struct level_stats *l = &s->level[p->to_level];

	s->compactions++;
	s->compactions_of[p->kind]++;
	if (p->from_level < p->to_level)
		l->in_bytes += p->bytes[0];
	l->read_bytes += p->bytes[0] + p->bytes[1];
	l->compacted_bytes += r->bytes_out;
}

void stats_count_move(struct stats *s, const struct compaction_plan *p)
{
	s->compactions++;
	s->compactions_of[p->kind]++;
	s->level[p->to_level].moved_tables += p->n_inputs[0];
	s->level[p->to_level].moved_bytes += p->bytes[0];
}

void stats_count_drop(struct stats *s, const struct compaction_plan *p)
{
	s->compactions++;
	s->compactions_of[p->kind]++;
	s->level[p->from_level].dropped_tables += p->n_inputs[0];
	s->level[p->from_level].dropped_bytes += p->bytes[0];
}

void stats_count_ingested(struct stats *s, int level, uint64_t bytes)
{
	s->level[level].ingested_tables++;
	s->level[level].ingested_bytes += bytes;
}

/* ----------------------------------------------------------------- metrics */

static const char *codec_name(enum table_codec codec)
{
	switch (codec) {
	case TABLE_CODEC_NONE:
		return "none";
	case TABLE_CODEC_SNAPPY:
		return "snappy";
	case TABLE_CODEC_ZSTD:
		return "zstd";
	}
	return "?";
}

static uint64_t age_us(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static void add_memtable(const struct memtable *m, struct cairn_metrics *out)
{
	out->memtable_bytes += memtable_bytes(m);
	out->memtable_count++;
	out->estimated_entries += memtable_entries(m);
}

/* What follows fills in parts of out, with mu held. */

static void get_levels(struct cairn_db *db, struct cairn_metrics *out)
{
	const struct version *v = version_set_current(db->versions);
	struct level_targets targets = { 0 };

	if (db->work)
		work_targets(db->work, &targets);
	out->compaction_debt_bytes = targets.debt_bytes;
	for (int i = 0; i < CAIRN_LEVELS; i++) {
		struct cairn_level_metrics *l = &out->level[i];
		const struct level_stats *s = &db->stats->level[i];
		const struct version_files *files = &v->level[i];

		l->files = files->n;
		l->size_bytes = files->bytes;
		l->target_bytes = targets.target[i];
		l->score = targets.score[i];
		l->sublevels = i == 0 ? v->n_sublevels : files->n > 0;
		l->in_bytes = s->in_bytes;
		l->read_bytes = s->read_bytes;
		l->flushed_bytes = s->flushed_bytes;
		l->compacted_bytes = s->compacted_bytes;
		l->moved_tables = s->moved_tables;
		l->moved_bytes = s->moved_bytes;
		l->ingested_tables = s->ingested_tables;
		l->ingested_bytes = s->ingested_bytes;
		l->dropped_tables = s->dropped_tables;
		l->dropped_bytes = s->dropped_bytes;
		snprintf(l->compression, sizeof(l->compression), "%s",
			 codec_name(db->level_write[i].codec));
		out->live_table_bytes += files->bytes;
		if (targets.score[i] >= 1)
			out->compactions_queued++;
		for (size_t k = 0; k < files->n; k++)
			out->estimated_entries +=
				atomic_load_explicit(&files->files[k]->entries,
						     memory_order_relaxed);
	}
	out->level[0].in_bytes = stats_load(&db->stats->wal_written_bytes);
}

static void get_readers(struct cairn_db *db, uint64_t now,
			struct cairn_metrics *out)
{
	out->iterators = db->n_iterators;
	if (!list_empty(&db->iterators)) {
		const struct cairn_iter *it =
			list_entry(db->iterators.next, struct cairn_iter, link);

		out->oldest_iterator_us = age_us(now, it->created_us);
	}
	list_for_each (pos, &db->snapshots)
		out->snapshots++;
}

static void get_jobs(struct cairn_db *db, struct cairn_metrics *out)
{
	const struct background_error *e = work_error(db->work);
	struct obsolete_counts files;
	struct space_state space;
	struct work_counts work;
	const char *cause;

	work_count(db->work, &work);
	out->flush_running = work.flush_running;
	out->compactions_running = work.compactions_running;
	out->compaction_in_progress_bytes = work.in_progress_bytes;

	obsolete_count(db->obsolete, &files);
	out->wal_bytes = files.wal_bytes + commit_wal_bytes(db->commit);
	out->wal_files = files.wal_files + 1;
	out->memtable_zombie_bytes = atomic_load_explicit(
		&db->memtable_zombie_bytes, memory_order_relaxed);
	out->tables_zombie_bytes = files.zombie_bytes;
	out->tables_obsolete_bytes = files.obsolete_bytes;
	out->disk_usage_bytes = out->wal_bytes + files.zombie_bytes +
				files.obsolete_bytes + files.other_bytes +
				work.written_bytes;

	space_state(db->space, &space);
	out->quota_bytes = space.quota;
	out->size_in_use_bytes = space.in_use;
	out->quota_reached = space.quota_reached;
	out->disk_low = space.disk_low;
	out->disk_reserve_bytes = space.reserve;

	out->stall_state = stall_state(db->stall, &cause);
	snprintf(out->stall_cause, sizeof(out->stall_cause), "%s", cause);
	out->background_error = e->code;
	out->problem_spans = work_problem_plans(db->work, NULL);
	out->error_latched_us = e->since_us;
}

static void get_guarded(struct cairn_db *db, uint64_t now,
			struct cairn_metrics *out)
{
	const struct stats *s = db->stats;
	struct budget_use use;

	if (db->mem)
		add_memtable(db->mem, out);
	for (size_t i = 0; i < db->n_imm; i++)
		add_memtable(db->imm[i], out);
	get_levels(db, out);
	get_readers(db, now, out);
	snprintf(out->stall_cause, sizeof(out->stall_cause), "-");
	out->size_in_use_bytes = out->live_table_bytes;
	if (db->work)
		get_jobs(db, out);
	budget_count(db, &use);
	out->memory_budget_bytes = db->opts.memory_budget;
	out->memory_charged_bytes = use.memtables + use.tables;
	out->flushes = s->flushes;
	out->flush_bytes = s->flush_bytes;
	out->compactions = s->compactions;
	out->compactions_delete_only = s->compactions_of[COMPACT_DROP];
	out->compactions_elision_only = s->compactions_of[COMPACT_ELIDE];
	out->compactions_tombstones = s->compactions_of[COMPACT_DENSE];
	out->compactions_reads = s->compactions_of[COMPACT_READS];
	out->compactions_garbage = s->compactions_of[COMPACT_GARBAGE];
	out->compactions_manual = s->compactions_of[COMPACT_MANUAL];
	out->compactions_failed = s->compactions_failed;
	out->stalls = s->stalls;
	out->stall_us = s->stall_us;
	memcpy(out->stall, s->stall, sizeof(out->stall));
}

static void get_tables(struct cairn_db *db, struct cairn_metrics *out)
{
	struct block_cache_stats cache;

	block_cache_stats(db->cache, &cache);
	out->cache_capacity_bytes = cache.capacity;
	out->cache_bytes = cache.bytes;
	out->cache_hits = cache.hits;
	out->cache_misses = cache.misses;
	out->filter_checks = stats_load(&db->table_stats.filter_checks);
	out->filter_negatives = stats_load(&db->table_stats.filter_negatives);
	out->filter_false_positives =
		stats_load(&db->table_stats.filter_false_positives);
	out->corruptions = stats_load(&db->table_stats.corruptions);
	out->tables_open = table_cache_open_count(db->tables);
}

void cairn_metrics_get(struct cairn_db *db, struct cairn_metrics *out)
{
	uint64_t now = env_mono_us(db->env);
	struct env_space disk;

	memset(out, 0, sizeof(*out));
	if (db->space) {
		space_look(db);
		events_drain(db->events);
	}
	out->memtable_max = db->opts.max_write_buffers;
	mutex_lock(&db->mu);
	get_guarded(db, now, out);
	mutex_unlock(&db->mu);

	out->seqno = atomic_load_explicit(&db->visible, memory_order_acquire);
	out->next_file_number = version_set_next_file_number(db->versions);
	out->disk_usage_bytes += out->live_table_bytes +
				 version_set_manifest_bytes(db->versions);
	/* 0 when the system does not say. */
	if (!env_free_space(db->env, db->dir, &disk))
		out->disk_free_bytes = disk.free;
	out->wal_in_bytes = stats_load(&db->stats->wal_in_bytes);
	out->wal_written_bytes = stats_load(&db->stats->wal_written_bytes);
	out->wal_syncs = stats_load(&db->stats->wal_syncs);
	out->snapshot_pinned_keys = stats_load(&db->pinned_keys);
	get_tables(db, out);
	out->uptime_us = age_us(now, db->opened_us);
	hist_summary(&db->get_ns, 1000, &out->get);
	hist_summary(&db->commit_ns, 1000, &out->commit);
	hist_summary(&db->sync_ns, 1000, &out->sync);
}

/* -------------------------------------------------------------------- jobs */

static const char *job_kind(const struct job *j)
{
	if (j->is_flush)
		return "flush";
	if (j->is_ingest)
		return "ingest";
	if (j->plan.trivial_move)
		return "move";
	if (j->plan.kind == COMPACT_SCORE || j->plan.kind == COMPACT_MANUAL)
		return "compaction";
	return compaction_kind_name(j->plan.kind);
}

static void describe_job(struct job *j, struct cairn_job *out)
{
	*out = (struct cairn_job){
		.job = j->id,
		.running = true,
		.from_level = j->is_flush ? -1 : j->plan.from_level,
		.to_level = j->is_flush ? 0 : j->plan.to_level,
		.files = (int)(j->n_files + j->plan.n_inputs[0] +
			       j->plan.n_inputs[1]),
		.bytes = j->bytes,
		.bytes_done = atomic_load_explicit(&j->bytes_done,
						   memory_order_relaxed),
		.started_us = j->started_us,
	};
	snprintf(out->kind, sizeof(out->kind), "%s", job_kind(j));
	snprintf(out->reason, sizeof(out->reason), "%s",
		 j->is_flush ? "memtable full or flush asked for"
			     : j->plan.reason);
}

size_t cairn_jobs(struct cairn_db *db, struct cairn_job *out, size_t n)
{
	size_t found = 0;

	if (!db->work)
		return 0;
	mutex_lock(&db->mu);
	list_for_each (pos, &db->work->jobs) {
		if (found < n)
			describe_job(list_entry(pos, struct job, link),
				     &out[found]);
		found++;
	}
	list_for_each (pos, &db->work->manuals) {
		if (found < n)
			work_show_manual(pos, &out[found]);
		found++;
	}
	mutex_unlock(&db->mu);
	return found;
}

/* ------------------------------------------------------------------ tables */

static size_t count_tables(const struct version *v, int level)
{
	size_t n = 0;

	for (int i = 0; i < CAIRN_LEVELS; i++)
		if (level < 0 || level == i)
			n += v->level[i].n;
	return n;
}

static int describe_table(struct cairn_db *db, int level, struct file_meta *f,
			  struct cairn_table_info *out)
{
	char *path = filename_table(db->dir, f->number);

	if (!path)
		return error_nomem();
	*out = (struct cairn_table_info){
		.level = level,
		.number = f->number,
		.size_bytes = f->size,
		.entries =
			atomic_load_explicit(&f->entries, memory_order_relaxed),
		.deletions = atomic_load_explicit(&f->deletions,
						  memory_order_relaxed),
		.range_deletions = atomic_load_explicit(&f->range_deletions,
							memory_order_relaxed),
		.smallest_seqno = f->smallest_seqno,
		.largest_seqno = f->largest_seqno,
		/* They live as long as the version, so as the list. */
		.smallest = f->smallest_key.user_key,
		.largest = f->largest_key.user_key,
		.path = path,
	};
	mutex_lock(&db->mu);
	out->job = f->job;
	mutex_unlock(&db->mu);
	return CAIRN_OK;
}

int cairn_tables(struct cairn_db *db, int level, struct cairn_table_list *out)
{
	struct cairn_table_list list = { 0 };
	struct read_state *state;
	int err = CAIRN_OK;
	size_t n;

	if (level < -1 || level >= CAIRN_LEVELS)
		return error_set(CAIRN_EINVAL, "there is no level %d", level);
	state = read_state_ref_current(db->read_states);
	list.owner = state;
	n = count_tables(state->version, level);
	list.tables = calloc(n ? n : 1, sizeof(*list.tables));
	if (!list.tables)
		err = error_nomem();
	for (int i = 0; !err && i < CAIRN_LEVELS; i++) {
		const struct version_files *files = &state->version->level[i];

		for (size_t k = 0; !err && k < files->n; k++) {
			if (level >= 0 && level != i)
				break;
			err = describe_table(db, i, files->files[k],
					     &list.tables[list.n]);
			if (!err)
				list.n++;
		}
	}
	if (err) {
		cairn_table_list_free(&list);
		return err;
	}
	*out = list;
	return CAIRN_OK;
}

void cairn_table_list_free(struct cairn_table_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free((void *)(uintptr_t)l->tables[i].path);
	free(l->tables);
	if (l->owner)
		read_state_unref(l->owner);
	*l = (struct cairn_table_list){ 0 };
}

static int verify_table(struct cairn_db *db, const struct file_meta *f)
{
	struct cairn_event e = {
		.kind = CAIRN_EVENT_CORRUPTION,
		.file_number = f->number,
		.reason = "verify",
	};
	struct table_ref *ref;
	int err;

	err = table_cache_get(db->tables, f->number, f->size, &ref);
	if (!err) {
		err = table_verify(table_ref_table(ref));
		table_cache_release(db->tables, ref);
	}
	if (err == CAIRN_ECORRUPT) {
		e.code = err;
		e.detail = cairn_errmsg();
		events_post(db->events, &e);
	}
	return err;
}

int cairn_verify_checksums(struct cairn_db *db)
{
	struct read_state *state = read_state_ref_current(db->read_states);
	char message[1024];
	int first = CAIRN_OK;

	/* All of them, so that the events name every damaged table; the result
	 * is that of the first. */
	for (int i = 0; i < CAIRN_LEVELS; i++) {
		const struct version_files *files = &state->version->level[i];

		for (size_t k = 0; k < files->n; k++) {
			int err = verify_table(db, files->files[k]);

			if (!err || first)
				continue;
			first = err;
			snprintf(message, sizeof(message), "%s",
				 cairn_errmsg());
		}
	}
	read_state_unref(state);
	return first ? error_set(first, "%s", message) : CAIRN_OK;
}
