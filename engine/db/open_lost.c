/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/open_lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"

struct lost {
	struct cairn_db *db;
	const struct version_set_state *state;
	uint64_t known; /* the last seqno of MANIFEST and logs */
};

/* Whether a log is there that was written to when the last record came. */
static bool has_log_of_state(const struct version_set_state *s,
			     const uint64_t *logs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (logs[i] < s->next_file_number)
			return true;
	return false;
}

/* what: the file that shows it. */
static int lost(const struct lost *l, const char *what, uint64_t seqno)
{
	return error_set(CAIRN_ECORRUPT,
			 "%s/MANIFEST-%06" PRIu64
			 ": its last records are missing: it ends at sequence "
			 "number %" PRIu64 " and does not know what is in %s "
			 "(from %" PRIu64 " on)",
			 l->db->dir, l->state->manifest_number,
			 l->state->last_seqno, what, seqno);
}

static bool is_live(struct cairn_db *db, uint64_t number)
{
	const struct version *v = version_set_current(db->versions);

	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; i < v->level[level].n; i++)
			if (v->level[level].files[i]->number == number)
				return true;
	return false;
}

/* Whether a live table has keys on both sides of user_key. */
static bool is_covered(struct cairn_db *db, struct cairn_slice user_key)
{
	const struct version *v = version_set_current(db->versions);

	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; i < v->level[level].n; i++)
			if (file_meta_overlaps(v->level[level].files[i],
					       user_key, user_key))
				return true;
	return false;
}

/*
 * Whether a table has what nothing else has: an entry above all that is known,
 * or one of a compaction, which may have made its sequence number 0, outside of
 * all tables that a compaction can have read.
 */
static int has_news(const struct lost *l, struct table *t, bool *news,
		    uint64_t *seqno)
{
	bool external = table_props(t)->has_external_version;
	const struct range_dels *d = table_range_dels(t);
	struct iter *it;
	int err = table_iter_new(t, TABLE_SCAN_BULK, &it);

	if (err)
		return err;
	*news = false;
	for (iter_first(it); it->valid && !*news; iter_next(it)) {
		*seqno = ikey_seqno(&it->key);
		*news = *seqno > l->known ||
			(!*seqno && !external &&
			 !is_covered(l->db, it->key.user_key));
	}
	err = it->status;
	iter_close(it);
	for (size_t i = 0; d && i < d->n_tombs && !*news; i++) {
		*seqno = range_dels_tomb(d, i).seqno;
		*news = *seqno > l->known;
	}
	return err;
}

/*
 * Look into a table that the MANIFEST does not know. One that is damaged is
 * what a crash left of a job; it proves nothing.
 */
static int check_table(const struct lost *l, const char *name, uint64_t number)
{
	/* An ingested one has entries of its own: nobody is to look for them.
	 */
	struct table_read_options opts = { .seqno_known = true };
	char *path = filename_in(l->db->dir, name);
	struct rfile *f = NULL;
	struct table *t = NULL;
	struct env_stat st;
	uint64_t seqno = 0;
	bool news = false;
	int err;

	if (!path)
		return error_nomem();
	err = env_stat(l->db->env, path, &st);
	if (!err && !st.is_dir)
		err = env_open_read(l->db->env, path, &f);
	if (!err && f)
		err = table_open(f, path, number, st.size, &opts, &t);
	if (!err && t)
		err = has_news(l, t, &news, &seqno);
	if (!err && news)
		err = lost(l, name, seqno);
	else if (err == CAIRN_ECORRUPT || err > 0)
		err = CAIRN_OK;
	table_close(t);
	free(path);
	return err;
}

static int check_tables(const struct lost *l, const struct env_names *names)
{
	for (size_t i = 0; i < names->n; i++) {
		uint64_t number;
		enum file_kind kind = filename_parse(names->names[i], &number);
		int err;

		if ((kind != FILE_TABLE && kind != FILE_TABLE_LDB) ||
		    is_live(l->db, number))
			continue;
		err = check_table(l, names->names[i], number);
		if (err)
			return err;
	}
	return CAIRN_OK;
}

static int check_log(struct cairn_db *db, uint64_t manifest,
		     const struct version_edit_wal *w)
{
	struct env_stat st = { 0 };
	char name[32], *path;
	int err;

	snprintf(name, sizeof(name), "%06" PRIu64 ".log", w->number);
	path = filename_in(db->dir, name);
	if (!path)
		return error_nomem();
	err = env_stat(db->env, path, &st);
	free(path);
	if (err == CAIRN_NOT_FOUND)
		return error_set(CAIRN_ECORRUPT,
				 "%s/MANIFEST-%06" PRIu64
				 ": %s, which is needed, is missing",
				 db->dir, manifest, name);
	if (!err && st.size < w->size)
		return error_set(CAIRN_ECORRUPT,
				 "%s/%s: has %" PRIu64
				 " bytes; MANIFEST-%06" PRIu64
				 " says that it was closed with %" PRIu64,
				 db->dir, name, st.size, manifest, w->size);
	return err;
}

int check_lost_logs(struct cairn_db *db, const struct version_set_state *state,
		    uint64_t least)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < state->n_wals; i++)
		if (state->wals[i].number >= least)
			err = check_log(db, state->manifest_number,
					&state->wals[i]);
	return err;
}

int check_lost_records(struct cairn_db *db, const struct env_names *names,
		       const struct version_set_state *state,
		       const uint64_t *logs, size_t n, const struct recovery *r)
{
	struct lost l = {
		.db = db,
		.state = state,
		.known = version_set_last_seqno(db->versions),
	};

	if (has_log_of_state(state, logs, n))
		return CAIRN_OK;
	if (r->first_seqno > state->last_seqno + 1) {
		char name[32];

		snprintf(name, sizeof(name), "%06" PRIu64 ".log", r->first_log);
		return lost(&l, name, r->first_seqno);
	}
	return check_tables(&l, names);
}
