/* SPDX-License-Identifier: BSD-3-Clause */
/* Point reads: memtables, then level 0 by sublevel, then the levels below, each
 * newer than the next; the first version found is the answer. */
#include <stdlib.h>
#include <time.h>

#include "engine/base/error.h"
#include "engine/db/db.h"
#include "engine/db/read_only.h"
#include "engine/kv/kind.h"
#include "engine/version/filename.h"

/* Of how many reads of a thread one is timed: reading the clock twice costs
 * about 50 ns. */
#define SAMPLE_PERIOD 64

struct get {
	struct cairn_db *db;
	struct cairn_slice key;
	uint64_t seqno;
	bool fill_cache;
	/* The newest range tombstone that covers key in what was looked at so
	 * far: versions below are deleted, and sources to come have no others.
	 * 0: none. */
	uint64_t cover;
};

static void note_cover(struct get *g, uint64_t seqno)
{
	if (g->cover < seqno)
		g->cover = seqno;
}

static void release_memtable(void *m)
{
	memtable_unref(m);
}

/* f: the table it was found in, NULL for a memtable. */
static int refuse(const struct get *g, const struct file_meta *f, uint8_t kind)
{
	char *path;
	int err;

	if (!f)
		return kind_refuse(kind, "memtable");
	path = filename_table(g->db->dir, f->number);
	err = path ? kind_refuse(kind, path) : error_nomem();
	free(path);
	return err;
}

/*
 * What a version of the key says about it; f as above. Takes value over. This
 * is the place for merge operators: a KIND_MERGE is an operand, and the
 * versions before it have to be looked up until a put, a deletion or the end.
 */
static int answer(const struct get *g, const struct file_meta *f,
		  uint64_t trailer, struct cairn_pinned *value,
		  struct cairn_pinned *out)
{
	uint8_t kind = (uint8_t)trailer;

	switch (kind) {
	case KIND_PUT:
		*out = *value;
		return CAIRN_OK;
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
		cairn_pinned_release(value);
		return CAIRN_NOT_FOUND;
	default:
		cairn_pinned_release(value);
		return refuse(g, f, kind);
	}
}

/* x has no version: whether a range tombstone has ended the search. */
static int none_there(const struct get *g, bool *found)
{
	*found = g->cover != 0;
	return g->cover ? CAIRN_NOT_FOUND : CAIRN_OK;
}

/*
 * Functions called get_from_x set *found when x has a version or a range
 * tombstone; their result is the answer then. Otherwise it is CAIRN_OK, or a
 * failure.
 */
static int get_from_memtable(struct get *g, struct memtable *m, bool *found,
			     struct cairn_pinned *out)
{
	struct cairn_pinned value = { .release = release_memtable, .owner = m };
	uint64_t trailer;
	int err;

	note_cover(g, memtable_cover(m, g->key, g->seqno));
	err = memtable_get(m, g->key, g->seqno, &trailer, &value.value);
	if (!err && trailer >> 8 < g->cover)
		err = CAIRN_NOT_FOUND;
	if (err)
		return err == CAIRN_NOT_FOUND ? none_there(g, found) : err;
	*found = true;
	memtable_ref(m);
	return answer(g, NULL, trailer, &value, out);
}

/*
 * The tombstones of the file count here: it is the one that would hold a
 * version of the key at or below seqno, so the place is within its bounds.
 */
static int get_from_file(struct get *g, const struct file_meta *f, bool *found,
			 struct cairn_pinned *out)
{
	struct cairn_pinned value = { 0 };
	const struct range_dels *dels;
	struct table_ref *ref;
	uint64_t trailer;
	int err;

	err = table_cache_get(g->db->tables, f->number, f->size, &ref);
	if (err)
		return err;
	dels = table_range_dels(table_ref_table(ref));
	if (dels)
		note_cover(g, range_dels_cover(dels, g->key, g->seqno));
	err = table_get(table_ref_table(ref), g->key, g->seqno, g->fill_cache,
			&trailer, &value);
	table_cache_release(g->db->tables, ref);
	if (!err && trailer >> 8 < g->cover) {
		cairn_pinned_release(&value);
		err = CAIRN_NOT_FOUND;
	}
	if (err)
		return err == CAIRN_NOT_FOUND ? none_there(g, found) : err;
	*found = true;
	return answer(g, f, trailer, &value, out);
}

/*
 * At most one file of a sorted run can hold the version: the first that does
 * not end before the place where it would be. This holds as well where two
 * files share a user key, as those of LevelDB may.
 */
static int get_from_run(struct get *g, const struct version_files *run,
			bool *found, struct cairn_pinned *out)
{
	struct ikey target = ikey_seek(g->key, g->seqno);
	size_t i = version_find_file(run, &target);

	if (i == run->n ||
	    slice_cmp(g->key, run->files[i]->smallest_key.user_key) < 0)
		return CAIRN_OK;
	return get_from_file(g, run->files[i], found, out);
}

static int get_from_state(struct get *g, const struct read_state *s,
			  struct cairn_pinned *out)
{
	const struct version *v = s->version;
	bool found = false;
	int err;

	for (size_t i = 0; i < s->n_mems; i++) {
		err = get_from_memtable(g, s->mems[i], &found, out);
		if (err || found)
			return err;
	}
	for (size_t i = v->n_sublevels; i-- > 0;) {
		err = get_from_run(g, &v->sublevel[i], &found, out);
		if (err || found)
			return err;
	}
	for (int l = 1; l < CAIRN_LEVELS; l++) {
		err = get_from_run(g, &v->level[l], &found, out);
		if (err || found)
			return err;
	}
	return CAIRN_NOT_FOUND;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool is_sample(void)
{
	static _Thread_local unsigned n;

	return n++ % SAMPLE_PERIOD == 0;
}

int cairn_get(struct cairn_db *db, const struct cairn_read_options *o,
	      struct cairn_slice key, struct cairn_pinned *out)
{
	const struct cairn_snapshot *snapshot = o ? o->snapshot : NULL;
	struct get g = {
		.db = db,
		.key = key,
		.fill_cache = !(o && o->no_fill_cache),
	};
	uint64_t start = is_sample() ? now_ns() : 0;
	/* The state first, then the seqno: see read_state.h. */
	struct read_state *s = read_state_acquire(db->read_states);
	int err;

	g.seqno = snapshot ? snapshot->seqno
			   : atomic_load_explicit(&db->visible,
						  memory_order_acquire);
	err = get_from_state(&g, s, out);
	read_state_release(db->read_states, s);
	if (start)
		hist_add(&db->get_ns, now_ns() - start);
	return err < 0 ? read_only_blame(db, err) : err;
}
