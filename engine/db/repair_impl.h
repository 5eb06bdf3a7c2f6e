/* SPDX-License-Identifier: BSD-3-Clause */
/* A repair from within: shared by repair*.c. */
#ifndef CAIRN_DB_REPAIR_IMPL_H
#define CAIRN_DB_REPAIR_IMPL_H

#include "engine/compact/job.h"
#include "engine/db/options.h"
#include "engine/db/table_check.h"
#include "engine/table/salvage.h"
#include "engine/version/version_set.h"

/* Where new tables are written until they count. */
#define REPAIR_TMP_DIR  "repair.tmp"
#define REPAIR_LOST_DIR "lost"

/* A table that was there, or one that was made of the logs. */
struct repair_table {
	uint64_t number;
	char *path; /* NULL: it is missing */
	uint64_t size;
	int level;              /* by the MANIFEST */
	struct file_meta *meta; /* by the MANIFEST; NULL: not known */
	bool is_new;            /* in the temporary directory */
	bool ldb;

	struct walk_result found;
	bool damaged;
	bool kept; /* stays as it is */
	/* Of a damaged one. */
	struct salvage_blocks blocks;
	/* What an ingested table has in place of 0, when nobody says. */
	bool seqno_unknown;
	uint64_t seqno;
};

struct repair {
	struct cairn_env *env;
	const char *dir;
	struct cairn_options opts; /* a copy */
	bool dry_run;
	bool upgrade;
	struct finder finder;
	struct cairn_repair_report report;

	struct env_lock *lock;
	bool made_lock;
	struct env_names names;
	char *tmp_dir;
	char *lost_dir;

	/* What is known. */
	struct version_set *versions; /* of a MANIFEST that CURRENT names */
	struct version_set_state state;
	bool trusted; /* the MANIFEST says which tables count, and where */
	bool leveldb;
	bool current_bad;
	bool options_bad;
	bool logs_bad;
	uint64_t options_number; /* of the bad one */
	uint64_t last_seqno;
	uint64_t next_file_number;
	uint64_t log_number;
	uint64_t min_log_to_keep;
	uint64_t prev_log_number;
	uint64_t *logs; /* that count, ascending */
	size_t n_logs;

	struct repair_table *tables;
	size_t n;

	/* What is made. */
	bool logs_used;            /* they are in tables now */
	struct table_cache *cache; /* of the temporary directory */
	struct table_write_options level_write[CAIRN_LEVELS];
	uint64_t snapshot;
	struct version_edit edit;
	char *merge_operator; /* of the operands in the tables; NULL: none */
};

/*
 * repair_look.c: find out which tables and logs count, and what is wrong with
 * them. CAIRN_ENOTSUP for what must not be lost and cannot be kept.
 */
MUST_CHECK int repair_look(struct repair *r);
bool repair_is_wrong(const struct repair *r);

/* What keys are where contradicts the MANIFEST: only the list of tables that
 * count is taken from it. */
void repair_distrust_places(struct repair *r);

void repair_forget_tables(struct repair *r);
/* The table of that number, NULL: none. */
struct repair_table *repair_table_of(struct repair *r, uint64_t number);
/* A table more at the end of the list; NULL: no memory. */
struct repair_table *repair_add_table(struct repair *r);

uint64_t repair_new_number(void *r);

/* A job context for what is written. */
void repair_job(struct repair *r, struct job_context *out);

/* repair_logs.c: bring the logs into new tables of the list. */
MUST_CHECK int repair_logs(struct repair *r);

/*
 * repair_tables.c: fill in the edit.
 * With a MANIFEST that is trusted: tables keep their levels, damaged ones are
 * replaced by what can be read of them. CAIRN_ECORRUPT when the result would
 * not be in order: the MANIFEST must not be trusted.
 */
MUST_CHECK int repair_in_place(struct repair *r);

/*
 * Without: everything into the last level. Tables whose keys overlap with those
 * of others are merged with them, by sequence number.
 */
MUST_CHECK int repair_rebuild(struct repair *r);

#endif
