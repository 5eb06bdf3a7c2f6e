/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/manifest.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/wal/reader.h"
#include "engine/wal/record.h"

/* What a disk writes as a whole. */
#define SECTOR_LEN 512

/* ------------------------------------------------------------ file table */

/* A live file of the default column family; meta NULL: it was deleted. */
struct slot {
	uint64_t number; /* 0: never used */
	int level;
	struct file_meta *meta;
};

/* Open addressing, linear probing; deleted slots go when it grows. */
struct file_table {
	struct slot *slots;
	size_t cap;  /* a power of two, or 0 */
	size_t used; /* deleted slots included */
	size_t live;
};

static void file_table_fini(struct file_table *t)
{
	for (size_t i = 0; i < t->cap; i++)
		file_meta_unref(t->slots[i].meta);
	free(t->slots);
	*t = (struct file_table){ 0 };
}

/* The slot of number, or the one where it would go. */
static struct slot *file_table_find(const struct file_table *t, uint64_t number)
{
	uint64_t h = number * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(h >> 32) & (t->cap - 1);

	while (t->slots[i].number && t->slots[i].number != number)
		i = (i + 1) & (t->cap - 1);
	return &t->slots[i];
}

/* Make room for one more, at most three quarters full. */
static int file_table_reserve(struct file_table *t)
{
	struct file_table bigger = { 0 };

	if (t->cap && t->used + 1 <= t->cap / 4 * 3)
		return CAIRN_OK;
	bigger.cap = 64;
	while (bigger.cap / 2 < t->live + 1)
		bigger.cap *= 2;
	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return error_nomem();
	for (size_t i = 0; i < t->cap; i++) {
		const struct slot *s = &t->slots[i];

		if (s->meta)
			*file_table_find(&bigger, s->number) = *s;
	}
	bigger.live = t->live;
	bigger.used = t->live;
	free(t->slots);
	*t = bigger;
	return CAIRN_OK;
}

static int file_table_add(struct file_table *t,
			  const struct version_edit_file *a)
{
	struct slot *s;
	int err = file_table_reserve(t);

	if (err)
		return err;
	s = file_table_find(t, a->meta->number);
	if (s->meta)
		return error_set(CAIRN_ECORRUPT,
				 "table %06" PRIu64 " is added twice",
				 a->meta->number);
	if (!s->number)
		t->used++;
	t->live++;
	s->number = a->meta->number;
	s->level = a->level;
	s->meta = file_meta_ref(a->meta);
	return CAIRN_OK;
}

static int file_table_delete(struct file_table *t,
			     const struct version_edit_deletion *d)
{
	struct slot *s = t->cap ? file_table_find(t, d->number) : NULL;

	if (!s || !s->meta || s->level != d->level)
		return error_set(CAIRN_ECORRUPT,
				 "table %06" PRIu64
				 " is deleted from level %d, where it is not",
				 d->number, d->level);
	file_meta_unref(s->meta);
	s->meta = NULL;
	t->live--;
	return CAIRN_OK;
}

/* -------------------------------------------------------- column families */

struct family {
	uint32_t id;
	char *name; /* owned */
};

struct families {
	struct family *list;
	size_t n;
};

static void families_fini(struct families *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->list[i].name);
	free(f->list);
	*f = (struct families){ 0 };
}

static struct family *families_find(const struct families *f, uint32_t id)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->list[i].id == id)
			return &f->list[i];
	return NULL;
}

/* Takes the name out of the edit. */
static int families_add(struct families *f, struct version_edit *e)
{
	struct family *list;

	/* The default one is there from the start; naming it is harmless. */
	if (e->family == 0)
		return CAIRN_OK;
	if (families_find(f, e->family))
		return error_set(CAIRN_ECORRUPT,
				 "column family %" PRIu32 " is added twice",
				 e->family);
	list = realloc(f->list, (f->n + 1) * sizeof(*list));
	if (!list)
		return error_nomem();
	f->list = list;
	list[f->n].id = e->family;
	list[f->n].name = e->family_name;
	e->family_name = NULL;
	f->n++;
	return CAIRN_OK;
}

static int families_drop(struct families *f, uint32_t id)
{
	struct family *gone = families_find(f, id);

	if (!gone)
		return error_set(CAIRN_ECORRUPT,
				 "column family %" PRIu32
				 " is dropped, but is not there",
				 id);
	free(gone->name);
	*gone = f->list[--f->n];
	return CAIRN_OK;
}

/* ---------------------------------------------------------------- replay */

struct replay {
	struct manifest m;
	struct file_table files;
	struct families families;
	bool has_log_number;
	bool has_next_file_number;
	bool has_last_seqno;
	bool rocksdb; /* something that LevelDB does not write was met */
	/* Edits that take effect together. */
	struct version_edit *group;
	size_t n_group;
	uint32_t group_remaining;
};

static void replay_fini(struct replay *r)
{
	for (size_t i = 0; i < r->n_group; i++)
		version_edit_fini(&r->group[i]);
	free(r->group);
	file_table_fini(&r->files);
	families_fini(&r->families);
	manifest_fini(&r->m);
}

static void mark_used(struct replay *r, uint64_t number)
{
	if (r->m.next_file_number <= number)
		r->m.next_file_number = number + 1;
}

/* What an edit says about the database, whichever family it is of. */
static void take_numbers(struct replay *r, struct version_edit *e)
{
	struct version_set_state *s = &r->m.state;

	if (e->has_log_number) {
		r->has_log_number = true;
		mark_used(r, e->log_number);
		/* It never goes back; RocksDB ignores it when it does. */
		if (!e->family && e->log_number > s->log_number)
			s->log_number = e->log_number;
	}
	if (e->has_prev_log_number) {
		mark_used(r, e->prev_log_number);
		s->prev_log_number = e->prev_log_number;
	}
	if (e->has_next_file_number) {
		r->has_next_file_number = true;
		if (r->m.next_file_number < e->next_file_number)
			r->m.next_file_number = e->next_file_number;
	}
	if (e->has_last_seqno) {
		r->has_last_seqno = true;
		if (r->m.last_seqno < e->last_seqno)
			r->m.last_seqno = e->last_seqno;
	}
	if (e->has_min_log_to_keep && s->min_log_to_keep < e->min_log_to_keep)
		s->min_log_to_keep = e->min_log_to_keep;
	if (e->db_id) {
		free(s->db_id);
		s->db_id = e->db_id;
		e->db_id = NULL;
		r->rocksdb = true;
	}
	if (e->has_min_log_to_keep || e->max_family || e->family ||
	    e->has_family_add || e->in_atomic_group)
		r->rocksdb = true;
}

static int take_wal(struct version_set_state *s,
		    const struct version_edit_wal *w)
{
	struct version_edit_wal *wals;
	size_t i = s->n_wals;

	while (i && s->wals[i - 1].number >= w->number)
		i--;
	if (i < s->n_wals && s->wals[i].number == w->number) {
		s->wals[i].size = w->size;
		return CAIRN_OK;
	}
	wals = realloc(s->wals, (s->n_wals + 1) * sizeof(*wals));
	if (!wals)
		return error_nomem();
	memmove(wals + i + 1, wals + i, (s->n_wals - i) * sizeof(*wals));
	wals[i] = *w;
	s->wals = wals;
	s->n_wals++;
	return CAIRN_OK;
}

static int take_wals(struct replay *r, const struct version_edit *e)
{
	struct version_set_state *s = &r->m.state;
	size_t gone = 0;
	int err = CAIRN_OK;

	while (gone < s->n_wals && s->wals[gone].number < e->wals_gone_below)
		gone++;
	if (gone) {
		s->n_wals -= gone;
		memmove(s->wals, s->wals + gone, s->n_wals * sizeof(*s->wals));
	}
	if (e->n_wals)
		r->rocksdb = true;
	for (size_t i = 0; !err && i < e->n_wals; i++)
		err = take_wal(s, &e->wals[i]);
	return err;
}

static int take_files(struct replay *r, const struct version_edit *e)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < e->n_added; i++) {
		mark_used(r, e->added[i].meta->number);
		r->rocksdb |= e->added[i].meta->seqnos_known;
	}
	if (e->family)
		return CAIRN_OK;
	/* Deletions first: a file that changes its level is in both lists. */
	for (size_t i = 0; !err && i < e->n_deleted; i++)
		err = file_table_delete(&r->files, &e->deleted[i]);
	for (size_t i = 0; !err && i < e->n_added; i++)
		err = file_table_add(&r->files, &e->added[i]);
	return err;
}

static int apply_edit(struct replay *r, struct version_edit *e)
{
	int err = CAIRN_OK;

	if (e->has_family_add)
		err = families_add(&r->families, e);
	else if (e->family && !families_find(&r->families, e->family))
		err = error_set(CAIRN_ECORRUPT,
				"column family %" PRIu32 " is not there",
				e->family);
	if (err)
		return err;
	if (e->family_drop) {
		take_numbers(r, e);
		return families_drop(&r->families, e->family);
	}
	if (!e->family && e->has_comparator &&
	    strcmp(e->comparator, MANIFEST_COMPARATOR) != 0)
		return error_set(CAIRN_ENOTSUP,
				 "keys are ordered by \"%s\"; only \"%s\" is "
				 "supported",
				 e->comparator, MANIFEST_COMPARATOR);
	take_numbers(r, e);
	err = take_wals(r, e);
	return err ? err : take_files(r, e);
}

static int group_error(const char *what)
{
	return error_set(CAIRN_ECORRUPT, "atomic group of edits: %s", what);
}

/* Keep an edit until its group is complete. Takes the contents of e over. */
static int group_add(struct replay *r, struct version_edit *e)
{
	struct version_edit *group;

	if (r->n_group) {
		if (!e->in_atomic_group)
			return group_error("an edit of none is inside");
		if (e->group_remaining != r->group_remaining - 1)
			return group_error("the countdown is wrong");
	}
	group = realloc(r->group, (r->n_group + 1) * sizeof(*group));
	if (!group)
		return error_nomem();
	r->group = group;
	r->group_remaining = e->group_remaining;
	group[r->n_group++] = *e;
	*e = (struct version_edit){ 0 };
	return CAIRN_OK;
}

static int group_apply(struct replay *r)
{
	int err = CAIRN_OK;

	for (size_t i = 0; i < r->n_group; i++) {
		if (!err)
			err = apply_edit(r, &r->group[i]);
		version_edit_fini(&r->group[i]);
	}
	r->n_group = 0;
	return err;
}

static int replay_record(struct replay *r, struct cairn_slice record)
{
	struct version_edit e = { 0 };
	int err;

	err = version_edit_decode(record, &e);
	if (err)
		return err;
	if (!e.in_atomic_group && !r->n_group) {
		err = apply_edit(r, &e);
	} else {
		err = group_add(r, &e);
		if (!err && r->group_remaining == 0)
			err = group_apply(r);
	}
	version_edit_fini(&e);
	return err;
}

/* ------------------------------------------------------------ how it ends */

/* Whether there are only zeros from off to the end: preallocated space. */
static int is_unwritten(struct rfile *f, uint64_t off, bool *unwritten)
{
	uint8_t bytes[4096];
	size_t got = 0;

	do {
		int err = rfile_read(f, off, bytes, sizeof(bytes), &got);

		if (err)
			return err;
		for (size_t i = 0; i < got; i++) {
			if (bytes[i]) {
				*unwritten = false;
				return CAIRN_OK;
			}
		}
		off += got;
	} while (got == sizeof(bytes));
	*unwritten = true;
	return CAIRN_OK;
}

/*
 * Whether the fragments from off on, the end of the whole records, are the
 * front part of one more: whole ones, then one that the end of the file cuts.
 * The log reader judges a WAL; here only the types that a MANIFEST is made of
 * count, and no wrong byte is let pass.
 */
static int is_cut_short(struct rfile *f, uint64_t off, bool *cut)
{
	uint8_t block[RECORD_BLOCK_LEN];

	for (;;) {
		size_t left = RECORD_BLOCK_LEN - off % RECORD_BLOCK_LEN;
		size_t got, len;
		uint8_t type;
		int err;

		if (left < RECORD_HEADER_LEN) {
			off += left;
			continue;
		}
		err = rfile_read(f, off, block, left, &got);
		if (err)
			return err;
		*cut = true;
		if (got < RECORD_HEADER_LEN)
			return CAIRN_OK;
		len = RECORD_HEADER_LEN + load_le16(block + 4);
		type = block[6];
		if (len <= left && len > got && type >= RECORD_FULL &&
		    type <= RECORD_LAST)
			return CAIRN_OK;
		*cut = false;
		if (len > got ||
		    (type != RECORD_FIRST && type != RECORD_MIDDLE))
			return CAIRN_OK;
		if (crc32c_unmask(load_le32(block)) !=
		    crc32c(block + 6, len - 6))
			return CAIRN_OK;
		off += len;
	}
}

/*
 * Whether a sector, as far as it lies behind off, was never written: the power
 * went while the last record was on its way, and some sectors of it arrived.
 * Shorter pieces than a header may be zeros by chance.
 */
static int has_lost_sector(struct rfile *f, uint64_t off, bool *lost)
{
	uint8_t sector[SECTOR_LEN];
	size_t want, got;

	*lost = false;
	do {
		size_t zeros = 0;
		int err;

		want = SECTOR_LEN - off % SECTOR_LEN;
		err = rfile_read(f, off, sector, want, &got);
		if (err)
			return err;
		while (zeros < got && !sector[zeros])
			zeros++;
		if (zeros == got && got > RECORD_HEADER_LEN)
			*lost = true;
		off += got;
	} while (got == want && !*lost);
	return CAIRN_OK;
}

/*
 * A last record that the end of the file cuts, or that lacks a sector, is what
 * a crash while appending leaves, and does not count. Anything else is damage:
 * unlike a WAL, a MANIFEST is synced record by record, and without a record
 * that was acknowledged files would be missing and others come back. Whoever
 * opens the database checks that the files this state needs are there, its log
 * among them, which an acknowledged record would have made obsolete.
 */
static int judge_end(struct replay *r, struct rfile *f, const char *path,
		     const struct log_reader *log)
{
	uint64_t off = log_reader_offset(log);
	bool torn = log_reader_end(log) == LOG_END_TORN;
	bool good;
	int err;

	err = torn ? is_cut_short(f, off, &good) : is_unwritten(f, off, &good);
	if (!err && torn && !good)
		err = has_lost_sector(f, off, &good);
	if (err)
		return err;
	if (!good)
		return error_set(CAIRN_ECORRUPT,
				 "%s: offset %" PRIu64
				 ": the last record is damaged",
				 path, off);
	/* Nor does a group of edits that was never finished. */
	r->m.state.manifest_torn = torn || r->n_group;
	return CAIRN_OK;
}

/* ------------------------------------------------------------- the result */

static int make_version(struct replay *r)
{
	struct version_edit all = { 0 };
	struct version *empty = NULL;
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < r->files.cap; i++) {
		const struct slot *s = &r->files.slots[i];

		if (s->meta)
			err = version_edit_add_file(&all, s->level, s->meta);
	}
	if (!err)
		err = version_new(&empty);
	if (!err)
		err = version_apply(empty, &all, &r->m.version);
	version_unref(empty);
	version_edit_fini(&all);
	return err;
}

static int make_family_names(struct replay *r)
{
	struct version_set_state *s = &r->m.state;

	if (!r->families.n)
		return CAIRN_OK;
	s->other_families = calloc(r->families.n, sizeof(char *));
	if (!s->other_families)
		return error_nomem();
	s->n_other_families = r->families.n;
	for (size_t i = 0; i < r->families.n; i++) {
		s->other_families[i] = r->families.list[i].name;
		r->families.list[i].name = NULL;
	}
	return CAIRN_OK;
}

/* What the live tables say beyond the numbers that were read. */
static void judge_tables(struct replay *r)
{
	bool unknown = false;

	for (size_t i = 0; i < r->files.cap; i++) {
		const struct file_meta *f = r->files.slots[i].meta;

		if (!f)
			continue;
		unknown |= !f->seqnos_known;
		/*
		 * The last seqno is never below one in a table, or new writes
		 * would sort below old ones.
		 */
		if (f->largest_seqno > r->m.last_seqno)
			r->m.last_seqno = f->largest_seqno;
	}
	r->m.state.leveldb = unknown || !r->rocksdb;
}

static int missing(const char *path, const char *what)
{
	return error_set(CAIRN_ECORRUPT, "%s: no record has the %s", path,
			 what);
}

static int finish(struct replay *r, const char *path)
{
	int err;

	if (!r->has_log_number)
		return missing(path, "log number");
	if (!r->has_next_file_number)
		return missing(path, "next file number");
	if (!r->has_last_seqno)
		return missing(path, "last sequence number");
	err = make_version(r);
	if (err == CAIRN_ECORRUPT)
		return error_set(err, "%s: %s", path, cairn_errmsg());
	if (!err)
		err = make_family_names(r);
	if (!err)
		judge_tables(r);
	return err;
}

void manifest_fini(struct manifest *m)
{
	version_unref(m->version);
	version_set_state_fini(&m->state);
	*m = (struct manifest){ 0 };
}

int manifest_read(struct cairn_env *env, const char *path, struct manifest *out)
{
	struct log_reader *log = NULL;
	struct cairn_slice record;
	struct replay r = { 0 };
	struct rfile *f;
	int err;

	err = env_open_read(env, path, &f);
	if (err)
		return err;
	err = rfile_size(f, &r.m.bytes);
	if (!err)
		err = log_reader_new(f, path, 0, &log);
	while (!err) {
		err = log_reader_next(log, &record);
		if (err)
			break;
		err = replay_record(&r, record);
		if (err)
			err = error_set(
				err, "%s: record at offset %" PRIu64 ": %s",
				path, log_reader_offset(log), cairn_errmsg());
	}
	if (err == CAIRN_NOT_FOUND)
		err = judge_end(&r, f, path, log);
	if (!err)
		err = finish(&r, path);
	if (!err) {
		*out = r.m;
		r.m = (struct manifest){ 0 };
	}
	replay_fini(&r);
	log_reader_free(log);
	rfile_close(f);
	return err;
}
