/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of background work, shared by work.c (compactions, the MANIFEST
 * token), work_flush.c, work_manual.c and work_error.c. */
#ifndef CAIRN_DB_WORK_IMPL_H
#define CAIRN_DB_WORK_IMPL_H

#include "engine/compact/covered.h"
#include "engine/compact/job.h"
#include "engine/db/pace.h"
#include "engine/db/work.h"

/* A running flush or compaction, or a table that is being ingested: its plan
 * has no inputs and keeps others from writing where it goes. */
struct job {
	struct list link; /* in work.jobs */
	struct work *work;
	uint64_t id;
	bool is_flush;
	bool is_ingest;
	struct compaction_plan plan; /* of a compaction */
	size_t n_files;              /* memtables of a flush, ingested tables */
	uint64_t bytes;              /* of the input */
	_Atomic uint64_t bytes_done; /* relaxed, for people */
	uint64_t started_us;         /* wall clock */
	uint64_t started_mono_us;
	struct manual *manual;     /* that it is a step of; NULL: none */
	struct job_pace pace;      /* of the job's thread */
	uint64_t garbage_position; /* when it began */

	/* For struct job_context. */
	struct buf snapshots;
	uint64_t newest_user_snapshot;
};

/* All but the atomics and threads is guarded by db->mu. */
struct work {
	struct cairn_db *db;
	pthread_t flush_thread;
	bool have_flush_thread;
	pthread_t *compact_threads;
	unsigned n_compact_threads;

	bool started;
	bool stop;
	_Atomic bool cancel; /* compactions end soon; relaxed */
	struct cond changed; /* something may be due; the threads wait */
	struct cond done;    /* something was done; callers wait */

	struct list jobs; /* running */
	uint64_t last_job;
	bool install_due; /* of the read state */

	/* The MANIFEST token. */
	bool token_taken;
	struct cond token_free;

	/*
	 * Learning the entries of tables that were there when opening: the
	 * number of the last one, and how many more are worth opening for it.
	 */
	uint64_t counted_number;
	uint64_t n_to_count;

	/* Flushes. Memtables are flushed in order, so counting them tells which
	 * are. */
	uint64_t n_flushed;
	unsigned n_flush_waits; /* callers who wait for one */

	struct pace pace;

	/* Compactions. */
	bool pick_due;             /* the picker may find something */
	uint64_t compact_retry_us; /* monotonic; not before */
	unsigned compact_failures; /* in a row */
	struct list manuals;       /* running calls of cairn_compact() */
	unsigned n_manual_urgent;  /* manual ones that found no gap for long */
	struct list problems;      /* where damage was met (work_problems.c) */

	/* Files that ask for something (work_marks.c), by number, live or a
	 * moment ago; and files whose range tombstones have to be looked at. */
	struct file_list marked;
	struct file_list to_learn;
	bool learning;          /* the flush thread looks at files without mu */
	uint64_t blocked_below; /* picker_blocked_below() of the last pick */

	/* How far the compaction filter drops garbage, and whether files have
	 * yet to be looked at for it. */
	uint64_t garbage_position;
	bool garbage_due;

	/* The background error. */
	struct background_error error;
	_Atomic bool refuse_writes; /* release and acquire: with the message */
	uint64_t error_retry_us;    /* monotonic; when to try to recover */
	uint64_t error_pause_us;
	uint64_t resume_wanted; /* tickets of cairn_resume() */
	uint64_t resume_done;
	int resume_result;
	char resume_message[1024];
};

struct manual;

/* The job of a manual compaction has read so many bytes; true: it is to end. No
 * locks. */
bool work_manual_poll(struct manual *m, uint64_t job_bytes);

/* mu held in all of these. */

/* An element of work.manuals, for people. */
void work_show_manual(struct list *link, struct cairn_job *out);

/* A job begins: takes an id, marks its inputs, collects the snapshots. */
MUST_CHECK int job_begin(struct work *w, struct job *j);
/* The opposite, but for freeing what the plan holds. */
void job_end(struct work *w, struct job *j);
void job_context(struct job *j, struct job_context *out);

/*
 * Run the compaction in j->plan from beginning to end: j is finished and freed.
 * Returns its result; failures of the MANIFEST are latched here. mu is let go.
 */
MUST_CHECK int work_compact(struct work *w, struct job *j);

/* What the picker has to know besides the version: running plans and, unless
 * somebody asks for the compaction, problem spans; snapshots; marked files. */
struct running_plans {
	const struct compaction_plan **plans; /* owned */
	struct buf snapshots;
	struct picker_running running;
};
MUST_CHECK int running_plans_new(const struct work *w, bool with_problems,
				 struct running_plans *out);
void running_plans_fini(struct running_plans *r);

/* An edit was installed, or the counts of a table of the current version are
 * known now: whether the picker should look at its files. */
void work_note_edit(struct work *w, const struct version_edit *edit);
void work_note_file(struct work *w, struct file_meta *f);
/* Look at the range tombstones of one more table; false when there is none. mu
 * held, let go meanwhile. */
bool work_learn_one(struct work *w);
/* Mark the files that are garbage by now; false when there is nothing to look
 * for. mu held, let go meanwhile. */
bool work_find_garbage(struct work *w);
void work_marks_fini(struct work *w);

/*
 * A compaction met damage, in the table of that number or, for 0, nobody knows
 * where: leave the place alone for a while. The message of the thread says what
 * it is. CAIRN_ENOMEM.
 */
MUST_CHECK int work_add_problem(struct work *w, const struct job *j,
				uint64_t damaged);
/* End those whose time is up, and those of a table that is no longer live. */
void work_expire_problems(struct work *w);
void work_problem_file_gone(struct work *w, uint64_t number);
/* As plans that nobody may cross; how many. out may be NULL. */
size_t work_problem_plans(const struct work *w,
			  const struct compaction_plan **out);
void work_problems_fini(struct work *w);

/* Something may be due, and something was done. */
void work_wake(struct work *w);

/* A new MANIFEST with the present version. As work_log_edit(). */
MUST_CHECK int work_new_manifest(struct work *w);

/* Recovered, whatever was latched. */
void work_clear_error(struct work *w);

/* What the flush thread does in state hard: waits, or tries to recover. */
void work_heal(struct work *w);

/* Flush the n oldest immutable memtables, which have no writers. What fails is
 * for the caller to latch; *source says where. */
MUST_CHECK int work_flush(struct work *w, size_t n, enum error_source *source);
void *work_flush_thread(void *arg);

/* Tables that an edit added. events_drain() later. */
void work_post_tables(struct work *w, uint64_t job,
		      const struct version_edit *edit);
/* Keys whose merge operands a job had to leave as they are. */
void work_post_unmerged(struct work *w, uint64_t job,
			const struct job_result *r);

#endif
