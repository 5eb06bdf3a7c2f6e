/* SPDX-License-Identifier: BSD-3-Clause */
/* The first part of a repair: what is there, and what is wrong with it. Changes
 * nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/open_files.h"
#include "engine/db/open_lost.h"
#include "engine/db/recover.h"
#include "engine/db/repair_impl.h"
#include "engine/version/filename.h"
#include "engine/version/manifest.h"
#include "engine/version/manifest_facts.h"

#define CURRENT_LEN_MAX 256

static int tell(struct repair *r, int code, const char *path)
{
	return finder_tell(&r->finder, code, path, NO_PLACE);
}

static void raise(uint64_t *v, uint64_t least)
{
	if (*v < least)
		*v = least;
}

/* ------------------------------------------------------- which tables count */

static int add_known(struct repair *r, int level, struct file_meta *meta)
{
	struct repair_table *t = repair_add_table(r);

	if (!t)
		return CAIRN_ENOMEM;
	t->number = meta->number;
	t->level = level;
	t->meta = file_meta_ref(meta);
	return CAIRN_OK;
}

static int refuse_families(const struct repair *r, const char *name)
{
	return error_set(CAIRN_ENOTSUP,
			 "%s: column family \"%s\" would be lost: it is not "
			 "supported",
			 r->dir, name);
}

/* Take over what a MANIFEST says that could be read as a whole. */
static int trust(struct repair *r, const struct version *v,
		 const struct version_set_state *s)
{
	int err = CAIRN_OK;

	if (s->n_other_families)
		return refuse_families(r, s->other_families[0]);
	r->trusted = true;
	r->leveldb = s->leveldb;
	r->log_number = s->log_number;
	r->min_log_to_keep = s->min_log_to_keep;
	r->prev_log_number = s->prev_log_number;
	for (int level = 0; level < CAIRN_LEVELS; level++)
		for (size_t i = 0; i < v->level[level].n && !err; i++)
			err = add_known(r, level, v->level[level].files[i]);
	return err;
}

/*
 * Look at the logs, and whether the MANIFEST has lost records. What is wrong
 * with a log is told; CAIRN_ECORRUPT: the MANIFEST is not to be trusted.
 */
static int check_records(struct repair *r)
{
	struct cairn_db db;
	struct recovery recovery = { 0 };
	uint64_t least = r->log_number, records = 0;
	size_t failed;
	char *path;
	int err;

	raise(&least, r->min_log_to_keep);
	db_for_check(&db, r->env, r->dir, r->versions);
	err = files_logs(&r->names, least, r->prev_log_number, &r->logs,
			 &r->n_logs);
	if (err)
		return err;
	err = recover_check_logs(&db, r->logs, r->n_logs, &recovery, &failed,
				 &records);
	if (!err)
		return check_lost_records(&db, &r->names, &r->state, r->logs,
					  r->n_logs, &recovery);
	if (err == CAIRN_ENOTSUP || !finding_is_damage(err))
		return err;
	r->logs_bad = true;
	path = filename_wal(r->dir, r->logs[failed]);
	err = path ? tell(r, err, path) : error_nomem();
	free(path);
	return err;
}

/* The MANIFEST that CURRENT names. */
static int try_current(struct repair *r)
{
	const struct version_set_options opts = { .env = r->env,
						  .dir = r->dir };
	const struct version_set_state *s = &r->state;
	int err = version_set_recover(&opts, &r->versions, &r->state);

	if (err)
		return err;
	err = trust(r, version_set_current(r->versions), s);
	raise(&r->last_seqno, version_set_last_seqno(r->versions));
	raise(&r->next_file_number, version_set_next_file_number(r->versions));
	/* An older state than the last counts only while its log is there. */
	if (!err && s->manifest_torn && s->log_number) {
		char name[64];

		snprintf(name, sizeof(name), "%06" PRIu64 ".log",
			 s->log_number);
		if (!names_have(&r->names, name))
			err = error_set(CAIRN_ECORRUPT,
					"%s/MANIFEST-%06" PRIu64
					": the last record is cut short, and "
					"%s, which the state before it needs, "
					"is missing",
					r->dir, s->manifest_number, name);
	}
	return err ? err : check_records(r);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

/* The numbers of files of a kind, ascending, malloc'ed. */
static int numbers_of(const struct repair *r, enum file_kind kind,
		      uint64_t **out, size_t *n)
{
	uint64_t *numbers = calloc(r->names.n + 1, sizeof(*numbers));
	uint64_t number;

	if (!numbers)
		return error_nomem();
	*n = 0;
	for (size_t i = 0; i < r->names.n; i++)
		if (filename_parse(r->names.names[i], &number) == kind)
			numbers[(*n)++] = number;
	qsort(numbers, *n, sizeof(*numbers), by_value);
	*out = numbers;
	return CAIRN_OK;
}

/* Whether all tables of a version are there, as long as they should be. */
static bool has_files(const struct repair *r, const struct version *v)
{
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		for (size_t i = 0; i < v->level[level].n; i++) {
			const struct file_meta *m = v->level[level].files[i];
			uint64_t size;
			char *path;

			if (table_find(r->env, r->dir, m->number, &path, &size))
				return false;
			free(path);
			if (size != m->size)
				return false;
		}
	}
	return true;
}

/* CURRENT is of no use: the newest MANIFEST that is complete, and whose files
 * are there, is what it named, or was about to. */
static int try_manifest(struct repair *r, uint64_t number)
{
	struct manifest m = { 0 };
	char *path = filename_manifest(r->dir, number);
	int err = path ? manifest_read(r->env, path, &m) : error_nomem();

	if (!err && (m.state.manifest_torn || !has_files(r, m.version)))
		err = error_set(CAIRN_ECORRUPT, "%s: its files are not there",
				path);
	if (!err) {
		err = trust(r, m.version, &m.state);
		raise(&r->last_seqno, m.last_seqno);
		raise(&r->next_file_number, m.next_file_number);
	}
	if (!err)
		err = finder_remark(&r->finder, path,
				    "taken for the MANIFEST that counts");
	manifest_fini(&m);
	free(path);
	return err;
}

static bool is_refusal(int err)
{
	return err && err != CAIRN_ECORRUPT && err != CAIRN_EIO &&
	       err != CAIRN_NOT_FOUND;
}

/* Every table that is there, and was not said to be deleted. */
static int take_all_tables(struct repair *r, const struct manifest_facts *f)
{
	bool rocksdb = false, sst = false, ldb = false;
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->names.n && !err; i++) {
		const struct manifest_fact *fact;
		struct repair_table *t;
		uint64_t number;
		enum file_kind kind =
			filename_parse(r->names.names[i], &number);

		rocksdb |= kind == FILE_IDENTITY || kind == FILE_OPTIONS;
		sst |= kind == FILE_TABLE;
		ldb |= kind == FILE_TABLE_LDB;
		if ((kind != FILE_TABLE && kind != FILE_TABLE_LDB) || !number)
			continue;
		fact = manifest_facts_find(f, number);
		/* One that is being upgraded has two names. */
		if ((fact && !fact->live) || repair_table_of(r, number))
			continue;
		t = repair_add_table(r);
		if (!t)
			return CAIRN_ENOMEM;
		t->number = number;
		if (fact && fact->meta) {
			t->meta = file_meta_ref(fact->meta);
			t->level = fact->level;
		}
	}
	/* Only RocksDB makes those two files. */
	r->leveldb = ldb || (!rocksdb && !sst);
	return err;
}

/* No MANIFEST can be trusted: gather what all of them say. */
static int take_facts(struct repair *r, const uint64_t *manifests, size_t n)
{
	struct manifest_facts f = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; i < n && !err; i++) {
		char *path = filename_manifest(r->dir, manifests[i]);

		err = path ? manifest_facts_read(r->env, path, NULL, &f)
			   : error_nomem();
		if (err == CAIRN_EIO || err == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
		free(path);
	}
	if (!err && f.comparator)
		err = error_set(CAIRN_ENOTSUP,
				"%s: keys are ordered by \"%s\", which is not "
				"supported",
				r->dir, f.comparator);
	if (!err && f.families)
		err = error_set(CAIRN_ENOTSUP,
				"%s: column families would be lost: they are "
				"not supported",
				r->dir);
	if (!err)
		err = take_all_tables(r, &f);
	raise(&r->last_seqno, f.last_seqno);
	raise(&r->next_file_number, f.next_file_number);
	r->log_number = f.log_number;
	r->min_log_to_keep = f.min_log_to_keep;
	r->prev_log_number = f.prev_log_number;
	r->report.manifest_rebuilt = true;
	manifest_facts_fini(&f);
	return err;
}

/* Start over, knowing that the MANIFEST cannot be trusted. */
static void distrust(struct repair *r)
{
	repair_forget_tables(r);
	free(r->logs);
	r->logs = NULL;
	r->n_logs = 0;
	r->logs_bad = false;
	r->trusted = false;
}

static bool has_current(const struct repair *r)
{
	return names_have(&r->names, "CURRENT");
}

/* Whether CURRENT names a MANIFEST, be it good or bad. */
static bool current_is_sound(const struct repair *r)
{
	char *path = filename_in(r->dir, "CURRENT");
	struct buf text = { 0 };
	uint64_t number;
	bool sound = false;

	if (path && !env_read_file(r->env, path, CURRENT_LEN_MAX, &text) &&
	    text.len && text.data[text.len - 1] == '\n') {
		text.data[text.len - 1] = '\0';
		sound = filename_parse((char *)text.data, &number) ==
				FILE_MANIFEST &&
			names_have(&r->names, (char *)text.data);
	}
	buf_fini(&text);
	free(path);
	return sound;
}

static int find_state(struct repair *r)
{
	uint64_t *manifests;
	size_t n;
	int err = try_current(r);

	if (!err)
		return CAIRN_OK;
	if (is_refusal(err))
		return err;
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ECORRUPT, "%s/CURRENT: is missing",
				r->dir);
	distrust(r);
	r->current_bad = true;
	err = tell(r, err, r->dir);
	if (!err)
		err = numbers_of(r, FILE_MANIFEST, &manifests, &n);
	if (err)
		return err;
	/* The one that counts is known to be bad. */
	if (!has_current(r) || !current_is_sound(r)) {
		for (size_t i = n; i > 0 && !r->trusted && !err; i--) {
			err = try_manifest(r, manifests[i - 1]);
			if (err && !is_refusal(err)) {
				distrust(r);
				err = CAIRN_OK;
			}
		}
	}
	if (!err && !r->trusted)
		err = take_facts(r, manifests, n);
	free(manifests);
	return err;
}

/* ----------------------------------------------- looking at the files */

/* What can be got out of a damaged table takes the place of what was found. */
static int survey(struct repair_table *t, struct table_walk *w)
{
	struct walk_result *f = &t->found;
	uint64_t tombs = f->range_dels;
	struct iter *it;
	int err = table_salvage_iter(w, &t->blocks, 0, &it);

	if (err)
		return err;
	f->entries = 0;
	for (iter_first(it); it->valid; iter_next(it)) {
		uint64_t seqno = ikey_seqno(&it->key);

		if (!f->entries && !tombs) {
			f->smallest_seqno = seqno;
			f->largest_seqno = seqno;
		}
		if (seqno < f->smallest_seqno)
			f->smallest_seqno = seqno;
		raise(&f->largest_seqno, seqno);
		err = walk_result_extend(f, &it->key, &it->key);
		if (err)
			break;
		f->entries++;
	}
	if (!err)
		err = it->status;
	iter_close(it);
	return err;
}

/*
 * Blocks that no index names: are there all? The table should hold what the
 * MANIFEST says, and no byte between the blocks should be left over.
 */
static bool has_all_blocks(const struct repair_table *t)
{
	struct ikey low, high;

	if (t->blocks.bytes_lost || !t->blocks.n)
		return false;
	if (!t->meta || file_meta_ends_before_largest(t->meta))
		return true;
	return ikey_decode(buf_slice(&t->found.smallest), &low) &&
	       ikey_decode(buf_slice(&t->found.largest), &high) &&
	       ikey_cmp(&low, &t->meta->smallest_key) <= 0 &&
	       ikey_cmp(&high, &t->meta->largest_key) >= 0;
}

static int salvage(struct repair *r, struct repair_table *t,
		   struct table_walk *w)
{
	uint64_t had = t->found.blocks - t->found.bad_blocks;
	bool whole = table_walk_index_is_whole(w);
	int err = table_salvage_outline(w);

	if (!err)
		err = table_salvage_blocks(w, &t->blocks);
	if (!err)
		err = survey(t, w);
	if (err)
		return err;
	r->report.blocks_lost += t->found.bad_blocks;
	r->report.bytes_lost += t->blocks.bytes_lost;
	if (t->blocks.n > had)
		err = finder_remark(&r->finder, t->path,
				    "%zu blocks were found without the index",
				    t->blocks.n - had);
	if (!err && t->blocks.bytes_lost)
		err = finder_remark(&r->finder, t->path,
				    "%" PRIu64 " bytes of data are lost",
				    t->blocks.bytes_lost);
	if (!err && !whole && !has_all_blocks(t))
		err = table_tell_all_lost(&r->finder, t->path, t->meta,
					  "not all of it could be found");
	if (!err && t->found.tombs_lost)
		err = finder_remark(&r->finder, t->path,
				    "range tombstones are lost: what they "
				    "deleted may come back");
	return err;
}

static int look_at_table(struct repair *r, struct repair_table *t)
{
	struct table_walk *w = NULL;
	int err = table_find(r->env, r->dir, t->number, &t->path, &t->size);

	if (err == CAIRN_NOT_FOUND)
		return table_tell_missing(&r->finder, r->dir, t->meta);
	if (err)
		return err;
	t->ldb = strcmp(t->path + strlen(t->path) - 4, ".ldb") == 0;
	err = table_check(r->env, t->path, t->size, t->meta, &r->finder,
			  &t->found, &w);
	if (err || !w)
		goto out;
	if (table_walk_other_family(w))
		err = refuse_families(r, "of the tables");
	else if (t->found.unknown)
		err = error_set(CAIRN_ENOTSUP,
				"%s: holds something that is not supported",
				t->path);
	if (!err && t->found.merges && !r->merge_operator) {
		r->merge_operator = strdup(table_walk_props(w)->merge_operator);
		err = r->merge_operator ? CAIRN_OK : error_nomem();
	}
	t->damaged = t->found.damages != 0;
	t->seqno_unknown = table_walk_seqno_unknown(w);
	if (!err && t->damaged)
		err = salvage(r, t, w);
	/* The MANIFEST knows where range tombstones end to count. */
	if (!err && !r->trusted && t->meta && t->found.range_dels &&
	    !t->found.misfit) {
		err = buf_set(&t->found.smallest, t->meta->smallest);
		if (!err)
			err = buf_set(&t->found.largest, t->meta->largest);
	}
out:
	/* A file that could not even be opened is as good as missing. */
	if (!err && !w)
		t->damaged = true;
	table_walk_close(w);
	return err;
}

/* Bounds have the number that the entries are given. */
static void set_seqno(struct buf *bound, uint64_t seqno)
{
	struct ikey k;

	if (ikey_decode(buf_slice(bound), &k) && !ikey_seqno(&k))
		put_le64(bound->data + k.user_key.len,
			 ikey_pack(seqno, ikey_kind(&k)));
}

/*
 * Ingested tables whose number is not known were ingested behind what was
 * flushed before: file numbers tell, as well as they can.
 */
static int guess_seqnos(struct repair *r)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->n && !err; i++) {
		struct repair_table *t = &r->tables[i];

		for (size_t k = 0; t->seqno_unknown && k < r->n; k++) {
			const struct repair_table *o = &r->tables[k];

			if (!o->seqno_unknown && o->number < t->number &&
			    o->path)
				raise(&t->seqno, o->found.largest_seqno);
		}
		if (!t->seqno_unknown)
			continue;
		set_seqno(&t->found.smallest, t->seqno);
		set_seqno(&t->found.largest, t->seqno);
		t->found.smallest_seqno = t->seqno;
		t->found.largest_seqno = t->seqno;
		raise(&r->last_seqno, t->seqno);
		err = finder_remark(
			&r->finder, t->path,
			"an ingested table, of which only the "
			"MANIFEST knew what it is newer than: taken "
			"to be of sequence number %" PRIu64,
			t->seqno);
	}
	return err;
}

static int look_at_tables(struct repair *r, bool *misfit)
{
	int err = CAIRN_OK;

	*misfit = false;
	for (size_t i = 0; i < r->n && !err; i++) {
		err = finder_poll(&r->finder);
		if (!err)
			err = look_at_table(r, &r->tables[i]);
		*misfit |= r->tables[i].found.misfit;
		raise(&r->last_seqno, r->tables[i].found.largest_seqno);
	}
	return err ? err : guess_seqnos(r);
}

/* The logs that count, unless they are known. */
static int look_at_logs(struct repair *r)
{
	uint64_t least = r->log_number;

	/* That has been done. */
	if (r->logs)
		return CAIRN_OK;
	raise(&least, r->min_log_to_keep);
	/* Without a version nobody can say whether they are good. */
	r->logs_bad = true;
	return files_logs(&r->names, least, r->prev_log_number, &r->logs,
			  &r->n_logs);
}

static int look_at_options(struct repair *r)
{
	struct options_file file = { 0 };
	uint64_t *numbers;
	size_t n;
	int err = files_read_options(r->env, r->dir, &r->names, &file);

	/* New tables are to be like the others. */
	if (!err)
		err = options_adopt(&r->opts, &file);
	options_file_fini(&file);
	if (!err || err == CAIRN_ENOTSUP || !finding_is_damage(err))
		return err;
	r->options_bad = true;
	err = tell(r, err, r->dir);
	if (!err)
		err = numbers_of(r, FILE_OPTIONS, &numbers, &n);
	if (err)
		return err;
	r->options_number = n ? numbers[n - 1] : 0;
	free(numbers);
	return CAIRN_OK;
}

bool repair_is_wrong(const struct repair *r)
{
	bool wrong = r->current_bad || r->options_bad || r->logs_bad;

	for (size_t i = 0; i < r->n && !wrong; i++)
		wrong = r->tables[i].damaged || !r->tables[i].path;
	return wrong;
}

void repair_distrust_places(struct repair *r)
{
	r->trusted = false;
	r->report.manifest_rebuilt = true;
}

int repair_look(struct repair *r)
{
	bool misfit;
	int err = find_state(r);

	if (!err)
		err = look_at_options(r);
	if (!err)
		err = look_at_tables(r, &misfit);
	if (!err)
		err = look_at_logs(r);
	if (!err && misfit && r->trusted)
		repair_distrust_places(r);
	raise(&r->next_file_number, files_max_number(&r->names) + 1);
	if (r->next_file_number < 2)
		r->next_file_number = 2;
	return err;
}
